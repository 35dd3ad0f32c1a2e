"""The A/B tests of the ledger: what was decided at creation, the sessions of both arms, how each test ended.

Rows are only ever added, see `append_only.py`: a plan is not changed once its test has begun, a session is
written once, and a test ends once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from lockstep.market.sessions import Dates
from lockstep.market.timeframe import Timeframe
from lockstep.metrics import Integers
from lockstep.monitoring.ab import AbMode, AbPlan
from lockstep.portfolio.split import CHALLENGER, CHAMPION
from research.ledger.ab_tables import AbEventRow, AbSessionRow, AbTestRow
from research.ledger.chain import append, append_rows, table_of
from research.ledger.ledger import Ledger

STOPPED = "stopped"
ARMS = (CHAMPION, CHALLENGER)


@dataclass(frozen=True, kw_only=True)
class AbArm:
    """One arm as it was frozen.

    name      what people call it; origin   how it was named: a file, a version, a candidate
    kind      `strategy` or `model`, as of a candidate; hash   its identity
    content   what it takes to trade it again, JSON
    sharpe, exposure, trades_a_year   over the history at creation: annual Sharpe ratio, mean signed exposure
    """

    name: str
    origin: str
    kind: str
    hash: str
    content: Mapping[str, Any]
    sharpe: float
    exposure: float
    trades_a_year: float


@dataclass(frozen=True, kw_only=True)
class AbTerms:
    """All that is decided before the first session.

    sigma        deviation of a session's paired difference over history, > 0, a fraction of the capital
    timeframe    of the bars that both decide on; capital   USD, of both
    desk         live.yml of the desk whose signals are split, else empty
    challenger_desk   of the one that trades the challenger, where that is another one
    by_receiver  whether its engine takes every signal, and whoever receives its orders asks `arm_of`
    correlation  of the arms' sessions over history; history   its first and last session
    """

    name: str
    symbol: str
    champion: AbArm
    challenger: AbArm
    plan: AbPlan
    sigma: float
    capital: float
    correlation: float
    history: tuple[str, str]
    timeframe: str
    desk: str = ""
    challenger_desk: str = ""
    by_receiver: bool = False

    @property
    def bars(self) -> Timeframe:
        """The timeframe, parsed."""
        return Timeframe.parse(self.timeframe)

    def desk_of(self, arm: str) -> str:
        """Return the live.yml of the desk that trades an arm of split signals."""
        return (self.challenger_desk if arm == CHALLENGER else "") or self.desk

    @property
    def mode(self) -> AbMode:
        """How signals are shared."""
        return self.plan.mode


@dataclass(frozen=True, kw_only=True)
class AbEnding:
    """How a test ended: `won`, `lost`, `futile`, `stopped`, at which session, and what was known then.

    evidence   the bound of the mean difference that is nearest to 0, in deviations, as it stood then; of a
               test that was not won or lost, the mean difference
    """

    kind: str
    session: date
    evidence: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class AbTest:
    """A test that was created. stamp   UTC nanoseconds: only sessions that begin later count."""

    id: int
    terms: AbTerms
    stamp: int
    recorded: str
    ending: AbEnding | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.terms.name

    @property
    def status(self) -> str:
        """`running`, or how it ended."""
        return "running" if self.ending is None else self.ending.kind


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmSessions:
    """The sessions of one arm, T of them.

    dates     datetime64[D] (T,), rising; results   float64 (T,), fractions of the capital
    trades, won   int64 (T,): that ended in each session, and those of them with a net gain
    """

    dates: Dates
    results: Floats
    trades: Integers
    won: Integers

    def after(self, last: np.datetime64) -> ArmSessions:
        """Return the sessions that come later."""
        return self._chosen(np.flatnonzero(self.dates > last))

    def first(self, count: int) -> ArmSessions:
        """Return the first `count` sessions."""
        return self._chosen(np.arange(min(count, self.dates.size)))

    def _chosen(self, rows: Integers) -> ArmSessions:
        return ArmSessions(
            dates=self.dates[rows], results=self.results[rows], trades=self.trades[rows], won=self.won[rows]
        )


def create(ledger: Ledger, terms: AbTerms, *, now: datetime) -> AbTest:
    """Write a test down before its first session; ExperimentError where its name is taken."""
    row = {
        "name": terms.name,
        "symbol": terms.symbol,
        "content": json.dumps(_content(terms), sort_keys=True),
        "stamp": int(np.datetime64(now.replace(tzinfo=None), "ns").astype(np.int64)),
        "recorded": now.isoformat(timespec="seconds"),
    }
    with ledger.database.write() as connection:
        known = _tests(connection)
        for each in known:
            if each.name == terms.name:
                raise ExperimentError(
                    f"A/B test {terms.name}: is taken, since {each.recorded[:10]}; choose another name"
                )
            if each.ending is None and _same(each.terms, terms):
                raise ExperimentError(
                    f"A/B test {terms.name}: {each.name} compares the same arms and is running; a second one "
                    "would be a second chance to be wrong"
                )
        (number,) = append(connection, AbTestRow, [row])
        return next(each for each in _tests(connection) if each.id == number)


def _same(one: AbTerms, other: AbTerms) -> bool:
    arms = (frozenset((each.champion.hash, each.challenger.hash)) for each in (one, other))
    first, second = arms
    return one.symbol == other.symbol and one.mode is other.mode is AbMode.REPLAY and first == second


def ab_tests(ledger: Ledger) -> list[AbTest]:
    """Return all tests, oldest first."""
    with ledger.database.read() as connection:
        return _tests(connection)


def ab_test_named(ledger: Ledger, name: str) -> AbTest:
    """Return a test; ExperimentError, naming those there are, where there is none."""
    known = ab_tests(ledger)
    for each in known:
        if each.name == name:
            return each
    there = ", ".join(each.name for each in known[-5:]) or "none"
    raise ExperimentError(f"A/B test {name}: was not created; there is {there} (`lockstep ab status`)")


def sessions_of_arm(ledger: Ledger, test: AbTest, arm: str) -> ArmSessions:
    """Return the sessions of one arm that are written, in order."""
    table = table_of(AbSessionRow)
    wanted = select(table.c.session, table.c.result, table.c.trades, table.c.won).where(
        table.c.test_id == test.id, table.c.arm == arm
    )
    with ledger.database.read() as connection:
        rows = connection.execute(wanted.order_by(table.c.session)).all()
    return ArmSessions(
        dates=np.array([row.session for row in rows], dtype="datetime64[D]"),
        results=np.array([row.result for row in rows], dtype=np.float64),
        trades=np.array([row.trades for row in rows], dtype=np.int64),
        won=np.array([row.won for row in rows], dtype=np.int64),
    )


def write_sessions(
    ledger: Ledger, test: AbTest, found: Mapping[str, ArmSessions], *, now: datetime
) -> Sequence[date]:
    """Write the sessions of both arms that are not written yet, all or none, and return them.

    ExperimentError where the arms have other sessions than one another, or a session that was written would
    come out otherwise now: code or configuration is not what the test began with.
    """
    champion, challenger = (found[arm] for arm in ARMS)
    if not np.array_equal(champion.dates, challenger.dates):
        raise ExperimentError(f"A/B test {test.name}: its arms have different sessions; compare them by hand")
    rows: list[tuple[Any, ...]] = []
    fresh: list[date] = []
    seen = now.isoformat(timespec="seconds")
    for arm in ARMS:
        before = sessions_of_arm(ledger, test, arm)
        _require_same(test, arm, before, found[arm])
        new = found[arm].after(before.dates[-1] if before.dates.size else np.datetime64("1900-01-01"))
        fresh = new.dates.tolist()
        values = zip(fresh, new.results.tolist(), new.trades.tolist(), new.won.tolist(), strict=True)
        rows += [(test.id, arm, *each, seen) for each in values]
    columns = ("test_id", "arm", "session", "result", "trades", "won", "recorded")
    with ledger.database.write() as connection:
        append_rows(connection, AbSessionRow, columns, rows)
    return fresh


def _require_same(test: AbTest, arm: str, before: ArmSessions, now: ArmSessions) -> None:
    _, old, new = np.intersect1d(before.dates, now.dates, return_indices=True)
    if old.size < before.dates.size:
        gone = np.setdiff1d(before.dates, now.dates)[0]
        raise ExperimentError(
            f"A/B test {test.name}: session {gone} of the {arm} was counted and is not there now; name the "
            "journal or database that it came from"
        )
    moved = np.flatnonzero(before.results[old] != now.results[new])
    if moved.size:
        at = int(moved[0])
        raise ExperimentError(
            f"A/B test {test.name}: session {before.dates[old][at]} of the {arm} was "
            f"{before.results[old][at]:+.4%} and would be {now.results[new][at]:+.4%} now: code or "
            "configuration changed; restore it, or stop this test and create another"
        )


def end(ledger: Ledger, test: AbTest, ending: AbEnding, *, now: datetime) -> None:
    """Write how a test ended; ExperimentError where it has ended already."""
    row = {
        "test_id": test.id,
        "kind": ending.kind,
        "session": ending.session,
        "evidence": ending.evidence,
        "reason": ending.reason,
        "recorded": now.isoformat(timespec="seconds"),
    }
    with ledger.database.write() as connection:
        present = next(each for each in _tests(connection) if each.id == test.id)
        require_running(present)
        append(connection, AbEventRow, [row])


def require_running(test: AbTest) -> None:
    """Raise ExperimentError where a test has ended."""
    found = test.ending
    if found is not None:
        raise ExperimentError(
            f"A/B test {test.name}: ended on {found.session}, {found.kind}: {found.reason}; create another "
            "one to go on"
        )


def _tests(connection: Connection) -> list[AbTest]:
    table, told = table_of(AbTestRow), table_of(AbEventRow)
    endings = {
        row.test_id: AbEnding(kind=row.kind, session=row.session, evidence=row.evidence, reason=row.reason)
        for row in connection.execute(select(told).order_by(told.c.id.desc()))
    }
    return [
        AbTest(
            id=row.id,
            terms=_terms(row.name, row.symbol, json.loads(row.content)),
            stamp=row.stamp,
            recorded=row.recorded,
            ending=endings.get(row.id),
        )
        for row in connection.execute(select(table).order_by(table.c.id))
    ]


def _content(terms: AbTerms) -> dict[str, Any]:
    """Return what a row keeps of the terms: plain JSON, infinite years as null."""
    content = asdict(terms)
    del content["name"], content["symbol"]
    if not terms.desk:
        del content["by_receiver"]
    if not terms.challenger_desk:
        del content["challenger_desk"]
    plan = content["plan"]
    plan["needed_years"] = None if np.isinf(plan["needed_years"]) else plan["needed_years"]
    return content


def _terms(name: str, symbol: str, content: dict[str, Any]) -> AbTerms:
    plan = dict(content["plan"])
    plan["mode"] = AbMode(plan["mode"])
    plan["power_by_year"] = tuple(plan["power_by_year"])
    if plan["needed_years"] is None:
        plan["needed_years"] = np.inf
    numbers = ("sigma", "capital", "correlation", "timeframe", "desk")
    return AbTerms(
        name=name,
        symbol=symbol,
        champion=AbArm(**content[CHAMPION]),
        challenger=AbArm(**content[CHALLENGER]),
        plan=AbPlan(**plan),
        history=tuple(content["history"]),
        # Tests of earlier versions, when no engine asked.
        by_receiver=content.get("by_receiver", bool(content["desk"])),
        challenger_desk=content.get("challenger_desk", ""),
        **{each: content[each] for each in numbers},
    )
