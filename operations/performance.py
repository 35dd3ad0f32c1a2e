"""What feeds the performance store: candidates in shadow, lanes of a desk, winners of experiments.

Everything is worked out from what is kept elsewhere (scored sessions on bars as first seen, the journal, the
bars of an experiment), so that it can be asked for every night: a period gets its row once, when it is over.
What a candidate earned before it was registered is written with the registration, see `contenders.enrol`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from lockstep.errors import LockstepError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import Mode
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats
from lockstep.models.store import ModelStore
from operations.contenders import Contender, measured_as, of_experiment
from operations.reports.desk import DeskAccount, LaneSessions, account_of_desk
from operations.reports.health import version_of
from research.experiments.execution import Lab
from research.experiments.service import finished, same_data
from research.ledger.candidates import ForwardCandidate, candidates, sessions_of
from research.ledger.first_seen import seen_bars
from research.ledger.ledger import Ledger
from research.ledger.performance import (
    MeasuredStrategy,
    SessionResults,
    StoredPeriods,
    periods_of,
    read,
    store,
)

_LONGEST_ACCOUNT = 64


@dataclass(frozen=True, kw_only=True)
class PerformancePass:
    """What one call of `store_periods` did; troubles: a line for each that could not be measured."""

    stored: tuple[StoredPeriods, ...]
    troubles: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What a person should know of it, a line each."""
        new = sum(each.new for each in self.stored)
        found = [f"performance: {new:,} periods stored"] if new else []
        found += [
            f"{each.subject.name} ({each.subject.mode}): {each.changed:,} stored periods would come out "
            "otherwise now, and stay as they are"
            for each in self.stored
            if each.changed
        ]
        return [*found, *self.troubles]


def store_periods(
    lab: Lab, *, now: datetime, desk: LiveConfig | None = None, experiments: Sequence[int] = ()
) -> PerformancePass:
    """Store every period that is complete and has no row yet; one that fails does not stop the others.

    desk          whose lanes are measured too, each mode of its journal
    experiments   finished ones, whose winners are measured on their test ranges

    Asked again, it writes nothing: candidates without a new session are not even run.
    """
    stored: list[StoredPeriods] = []
    troubles: list[str] = []

    def collect(what: str, found: Iterator[StoredPeriods]) -> None:
        try:
            stored.extend(found)
        except LockstepError as error:
            troubles.append(f"performance of {what}: {error}")

    for each in candidates(lab.ledger):
        collect(each.name, _of_candidate(lab.ledger, each, now))
    if desk is not None:
        collect(f"the desk of {desk.journal.name}", _of_desk(lab.ledger, desk, now))
    for number in experiments:
        collect(f"experiment {number}", _of_winner(lab, number, now))
    return PerformancePass(stored=tuple(stored), troubles=tuple(troubles))


def _of_candidate(ledger: Ledger, candidate: ForwardCandidate, now: datetime) -> Iterator[StoredPeriods]:
    """Store what a candidate earned in its scored sessions: those that began after its registration."""
    scored, _ = sessions_of(ledger, candidate)
    subject = measured_as(candidate, "shadow")
    if not scored.size or _newest_day(ledger, subject) == scored[-1]:
        return
    book = load_instruments()
    contender = Contender.of_candidate(candidate)
    history = History(
        bars={key: seen_bars(ledger, key) for key in contender.keys(book)}, markets=book.markets
    )
    found = contender.results(history, DateRange.of(str(scored[0]), str(scored[-1])))
    yield store(ledger, subject, periods_of(found), source={"bars": "first seen"}, now=now)


def _newest_day(ledger: Ledger, subject: MeasuredStrategy) -> np.datetime64 | None:
    whose = {"strategy": subject.strategy, "symbol": subject.symbol, "account": subject.account}
    days = read(ledger, **whose, mode=subject.mode, period="day")
    return np.datetime64(days[-1].last_date) if days else None


def _of_desk(ledger: Ledger, desk: LiveConfig, now: datetime) -> Iterator[StoredPeriods]:
    """Store what each bundle of each lane earned, from the account that `lockstep report` shows."""
    book, manifest = load_instruments(), ModelStore(desk.store).manifest()
    accounts = [account_of_desk(desk, mode=mode) for mode in _modes(desk)]
    for account in accounts:
        for lane, sessions in account.lanes.items():
            newest = max(each.lanes[lane].dates[-1] for each in accounts if lane in each.lanes)
            whole = sessions.dates if sessions.timeframe.is_session else sessions.dates[:-1]
            for bundle in dict.fromkeys(sessions.bundles[: whole.size]):
                version, _ = version_of(manifest, lane, bundle)
                subject = MeasuredStrategy(
                    strategy=bundle,
                    name=f"{lane} {version or bundle[:12]}",
                    symbol=lane,
                    mode=account.mode,
                    account=account_name(desk.journal),
                )
                found = periods_of(_results(account, lane, sessions, whole, bundle, book), newest=newest)
                yield store(ledger, subject, found, source={"journal": desk.journal.name}, now=now)


def _modes(desk: LiveConfig) -> list[Mode]:
    """Return the modes in which a desk has decided anything."""
    with Journal.open(desk.journal, readonly=True) as journal:
        query = "SELECT DISTINCT epoch FROM entries JOIN decisions USING (sequence)"
        decided = {number for (number,) in journal.select(query)}
        there = {each.mode for each in journal.epochs() if each.number in decided}
    return [mode for mode in get_args(Mode) if mode in there]


def account_name(journal: Path) -> str:
    """Return what tells desks apart: folder and name of the journal, whatever its lanes and portfolio are."""
    return "/".join(journal.resolve().with_suffix("").parts[-2:])[-_LONGEST_ACCOUNT:]


def _results(
    account: DeskAccount, lane: str, sessions: LaneSessions, whole: Dates, bundle: str, book: InstrumentBook
) -> SessionResults:
    """Return the sessions in which a bundle decided last, and the trades that ended in them."""
    mine = np.array(sessions.bundles[: whole.size]) == bundle
    ended, pnl = _closed(account, lane, book)
    within = np.isin(ended, whole[mine])
    return SessionResults(
        dates=whole[mine],
        pnl=sessions.pnl[: whole.size][mine],
        capital=sessions.capital,
        sessions_per_year=sessions.sessions_per_year,
        ended=ended[within],
        trade_pnl=pnl[within],
    )


def _closed(account: DeskAccount, lane: str, book: InstrumentBook) -> tuple[Dates, Floats]:
    """Return the sessions in which the trades of a lane ended, and their results."""
    trades = account.record.data.closed
    mine = trades[trades["symbol"] == lane]
    ends = pd.DatetimeIndex(mine["exit_end"]).as_unit("ns").asi8
    market = book.market(traded_symbol(lane))
    dates = market.session.dates(ends, account.lanes[lane].timeframe).astype("datetime64[D]")
    return dates, mine["net_pnl"].to_numpy(dtype=np.float64)


def _of_winner(lab: Lab, number: int, now: datetime) -> Iterator[StoredPeriods]:
    """Store what the winner of an experiment earned on its test range, on each symbol."""
    record = finished(lab, number)
    data = same_data(lab, record)
    for symbol in record.plan.symbols:
        origin, history = of_experiment(lab, number, symbol), data(symbol).history
        contender = origin.contender
        found = periods_of(contender.results(history, origin.span), newest=contender.last_complete(history))
        subject = MeasuredStrategy(
            strategy=contender.hash,
            name=contender.config.name,
            symbol=symbol,
            mode="backtest",
            account=f"experiment {number}",
        )
        yield store(lab.ledger, subject, found, source={"test": str(origin.span)}, now=now)
