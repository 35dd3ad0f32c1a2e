"""Half of the signals each: what cannot be replayed, such as slippage and execution, is compared on a desk.

A lane of the desk's portfolio that is an arm (`split: {test: NAME, arm: champion}`) enters on this arm's
signals alone; the coordinator refuses the others in every engine alike, see `lockstep.portfolio.split`.
Whoever reads the journal asks the same function again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.errors import ExperimentError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.outside import version_with
from lockstep.market.bars import Flags, Stamps
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from lockstep.market.timeframe import Timeframe
from lockstep.models.store import ModelStore, load_bundle
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.split import CHALLENGER, CHAMPION, challenger_signals
from operations.ab.arms import of_results
from operations.ab.book import ARMS, AbTest, ArmSessions
from operations.reports.desk import DeskAccount, account_of_desk
from research.ledger.performance import SessionResults


def split_decisions(
    test: str, symbol: str, decisions: Stamps, timeframe: Timeframe, *, book: InstrumentBook | None = None
) -> Mapping[str, Stamps]:
    """Return the decisions of each arm, in their order.

    decisions   int64 (n,): stamps of the bars that were decided on, UTC ns; timeframe   of these bars
    """
    stamps, traded = np.asarray(decisions, dtype=np.int64), traded_symbol(symbol)
    session = (book or load_instruments()).market(traded).session
    challenger = challenger_signals(test, traded, session, timeframe, stamps)
    return {CHAMPION: stamps[~challenger], CHALLENGER: stamps[challenger]}


def lanes_of_arms(portfolio: PortfolioConfig | None, test: str, symbol: str) -> dict[str, str]:
    """Return the name of the lane of `symbol` by the arm of the test that it is; empty where none is."""
    found: dict[str, str] = {}
    for name in portfolio.names if portfolio is not None else ():
        split = portfolio.lane(name).split if portfolio is not None else None
        if split is not None and split.test == test and traded_symbol(name) == symbol:
            found[split.arm] = name
    return found


def shared(test: AbTest) -> Mapping[str, ArmSessions]:
    """Return the sessions of both arms by what their desks' journals say that they filled.

    A trade belongs to the arm of its entry's decision and to the session in which it ended, net of what was
    paid. Trades that were decided before the test began, or before a desk split its signals, count for
    nobody, and neither does the newest session of a journal, which may go on.

    ExperimentError where a desk has no lane of the test's symbol or lacks an arm, where a lane took a signal
    of the other arm, or traded what is not the arm that was frozen, or where arms differ in size; LiveError
    or JournalError where there is no journal.
    """
    desks = {path: _Desk(Path(path), test) for path in dict.fromkeys(test.terms.desk_of(arm) for arm in ARMS)}
    sizes = {arm: desks[test.terms.desk_of(arm)].size(arm) for arm in ARMS}
    if sizes[CHAMPION] != sizes[CHALLENGER]:
        raise ExperimentError(
            f"A/B test {test.name}: the champion trades {sizes[CHAMPION]}, the challenger "
            f"{sizes[CHALLENGER]}: give both the same, or the larger one wins by its size"
        )
    whole = [each.whole for each in desks.values()]
    sessions = functools.reduce(np.intersect1d, whole)
    return {arm: desks[test.terms.desk_of(arm)].results(arm, sessions) for arm in ARMS}


@dataclass(frozen=True)
class _Desk:
    """One desk that trades an arm of a test, or both."""

    path: Path
    test: AbTest

    @functools.cached_property
    def config(self) -> LiveConfig:
        return LiveConfig.load(self.path)

    @functools.cached_property
    def account(self) -> DeskAccount:
        found = account_of_desk(self.config)
        names = {traded_symbol(each) for each in found.lanes}
        if self.test.terms.symbol not in names:
            raise self._error(
                f"the desk of {self.path} trades {', '.join(found.lanes)}, not {self.test.terms.symbol}; "
                "name another desk"
            )
        return found

    @functools.cached_property
    def lanes(self) -> dict[str, str]:
        """Its lanes by the arms that they are; empty: one lane, whose receiver shares the signals."""
        terms = self.test.terms
        if terms.by_receiver:
            if terms.symbol not in self.account.lanes:
                raise self._error(
                    f"{self.path} has no lane named {terms.symbol}; split by its engine instead"
                )
            return {}
        found = lanes_of_arms(self.config.traded_portfolio(), self.test.name, terms.symbol)
        for arm in ARMS:
            if terms.desk_of(arm) == str(self.path) and arm not in found:
                raise self._error(
                    f"no lane of {self.path} is its {arm}; give one of {terms.symbol} in its portfolio "
                    f"`split: {{test: {self.test.name}, arm: {arm}}}`, then `lockstep journal new-epoch`"
                )
        return found

    def size(self, arm: str) -> str:
        """Return what the lane of an arm trades, in words; empty where one lane trades both."""
        portfolio = self.config.traded_portfolio()
        if not self.lanes or portfolio is None:
            return ""
        lane = portfolio.lane(self.lanes[arm])
        if lane.units is not None:
            return f"{lane.units:g} units"
        return f"a weight of {lane.weight:g} of {portfolio.capital:,.0f} USD"

    @functools.cached_property
    def began(self) -> int:
        """UTC ns: only what was decided later counts."""
        if not self.lanes:
            return self.test.stamp
        with Journal.open(self.config.journal, readonly=True) as journal:
            for epoch in journal.epochs():
                if epoch.mode != self.account.mode or epoch.portfolio is None:
                    continue
                traded = PortfolioConfig.model_validate(dict(epoch.portfolio.content))
                if lanes_of_arms(traded, self.test.name, self.test.terms.symbol) == self.lanes:
                    query = "SELECT min(stamp) FROM sets JOIN entries USING (sequence) WHERE epoch = ?"
                    ((first,),) = journal.select(query, epoch.number)
                    if first is not None:
                        return max(self.test.stamp, int(first) - 1)
        raise self._error(
            f"the journal of {self.path} has no bar since its portfolio splits the signals; let it run"
        )

    @property
    def whole(self) -> Dates:
        """Sessions that count, datetime64[D], rising."""
        dates = self.account.record.data.session_dates.astype("datetime64[D]")
        begun = np.datetime64(self.began, "ns").astype("datetime64[D]")
        found: Dates = dates[(dates > begun) & (dates < dates[-1])]
        return found

    def results(self, arm: str, sessions: Dates) -> ArmSessions:
        data, lane = self.account.record.data, self.lanes.get(arm, self.test.terms.symbol)
        trades = data.closed
        trades = trades[trades["symbol"] == lane]
        decided = trades["decision_end"].dt.as_unit("ns").astype("int64").to_numpy()
        ended = data.session_dates.astype("datetime64[D]")[data.bars_at(trades["exit_end"])]
        since = decided > self.began
        of_arm = self._of_arm(arm, decided)
        if self.lanes:
            self._require_its_own(arm, lane, trades[since & ~of_arm])
            self._require_frozen(arm, lane, sessions)
        mine = since & of_arm & np.isin(ended, sessions)
        found = SessionResults(
            dates=sessions, pnl=np.zeros(sessions.size), capital=self.test.terms.capital,
            sessions_per_year=data.sessions_per_year, ended=ended[mine],
            trade_pnl=trades["net_pnl"].to_numpy(dtype=np.float64)[mine],
        )  # fmt: skip
        return of_results(found, realised=True)

    def _of_arm(self, arm: str, decided: Stamps) -> Flags:
        terms = self.test.terms
        mine = split_decisions(self.test.name, terms.symbol, decided, terms.bars)[arm]
        found: Flags = np.isin(decided, mine)
        return found

    def _require_its_own(self, arm: str, lane: str, others: pd.DataFrame) -> None:
        if len(others):
            first = others["decision_end"].iloc[0]
            raise self._error(
                f"{lane} of {self.path} is the {arm} and took the signal of {first}, which is the other "
                "arm's; its journal is of an engine that did not split the signals"
            )

    def _require_frozen(self, arm: str, lane: str, sessions: Dates) -> None:
        terms, traded = self.test.terms, self.account.lanes[lane]
        frozen = terms.champion if arm == CHAMPION else terms.challenger
        counted = np.isin(traded.dates, sessions)
        for sha in sorted(
            {each for each, is_counted in zip(traded.bundles, counted, strict=True) if is_counted}
        ):
            hash = sha if frozen.kind == "model" else self._strategy_of(sha)
            if hash != frozen.hash:
                raise self._error(
                    f"{lane} of {self.path} traded {hash[:12]}, and the {arm} is {frozen.name}, "
                    f"{frozen.hash[:12]}; stop the test, or let the desk trade what is tested"
                )

    def _strategy_of(self, sha256: str) -> str:
        """Return the hash of the configuration that a bundle trades."""
        symbol, store = self.test.terms.symbol, ModelStore(self.config.store)
        bundle = load_bundle(symbol, version_with(store.manifest(), symbol, sha256), store=store)
        return str(bundle.strategy["config_hash"])

    def _error(self, what: str) -> ExperimentError:
        return ExperimentError(f"A/B test {self.test.name}: {what}")
