"""Half of the signals each: what cannot be replayed, such as slippage and execution, is compared on a desk.

The arm of a signal is a function of the test's name, the symbol, the session and the decision alone, see
`lockstep.monitoring.ab.arm_of`: whoever executes asks it, and whoever reads the journal asks it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lockstep.errors import ExperimentError
from lockstep.live.config import LiveConfig
from lockstep.market.bars import Stamps
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.market.timeframe import Timeframe
from lockstep.portfolio.split import arm_of
from operations.ab.arms import of_results
from operations.ab.book import ARMS, AbTest, ArmSessions
from operations.reports.desk import account_of_desk
from research.ledger.performance import SessionResults


def split_decisions(
    test: str, symbol: str, decisions: Stamps, timeframe: Timeframe, *, book: InstrumentBook | None = None
) -> Mapping[str, Stamps]:
    """Return the decisions of each arm, in their order.

    decisions   int64 (n,): stamps of the bars that were decided on, UTC ns; timeframe   of these bars
    """
    stamps = np.asarray(decisions, dtype=np.int64)
    session = (book or load_instruments()).market(traded_symbol(symbol)).session
    dates = session.dates(stamps, timeframe)
    arms = np.array(
        [arm_of(test, symbol, str(day), stamp) for day, stamp in zip(dates, stamps.tolist(), strict=True)],
        dtype=object,
    )
    return {arm: stamps[arms == arm] for arm in ARMS}


def shared(test: AbTest) -> Mapping[str, ArmSessions]:
    """Return the sessions of both arms by what a desk's journal says that it filled.

    A trade belongs to the arm of its entry's decision and to the session in which it ended, net of what was
    paid; trades that were decided before the test began count for nobody, and neither does the journal's
    newest session, which may go on. ExperimentError where the desk has no lane of the test's symbol;
    LiveError or JournalError where there is no journal.
    """
    terms = test.terms
    account = account_of_desk(LiveConfig.load(Path(terms.desk)))
    if terms.symbol not in account.lanes:
        raise ExperimentError(
            f"A/B test {test.name}: the desk of {terms.desk} trades {', '.join(account.lanes)}, not "
            f"{terms.symbol}; name another desk"
        )
    data = account.record.data
    began = np.datetime64(test.stamp, "ns").astype("datetime64[D]")
    dates = data.session_dates.astype("datetime64[D]")
    whole = dates[(dates > began) & (dates < dates[-1])]
    trades = data.closed
    trades = trades[trades["symbol"] == terms.symbol]
    decided = trades["decision_end"].dt.as_unit("ns").astype("int64").to_numpy()
    ended = dates[data.bars_at(trades["exit_end"])]
    mine = (decided > test.stamp) & np.isin(ended, whole)
    split = split_decisions(test.name, terms.symbol, decided[mine], terms.bars)
    pnl = trades["net_pnl"].to_numpy(dtype=np.float64)
    found = {}
    for arm in ARMS:
        of_arm = mine & np.isin(decided, split[arm])
        found[arm] = of_results(
            SessionResults(
                dates=whole, pnl=np.zeros(whole.size), capital=terms.capital,
                sessions_per_year=data.sessions_per_year, ended=ended[of_arm], trade_pnl=pnl[of_arm],
            ),
            realised=True,
        )  # fmt: skip
    return found
