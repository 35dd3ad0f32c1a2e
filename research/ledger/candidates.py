"""Candidates that wait for forward evidence: registered within a yearly budget, scored once per session.

Searching is free; only a registration costs. It freezes what is judged and by what it is measured, and spends
a share of the year's error budget that nothing gives back: not a retirement, not another name, not a deleted
file. Rows are only ever added, see `append_only.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, func, select

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.sessions import Dates
from lockstep.monitoring.eprocess import FULL, PER_YEAR, PILOT, e_process, promotion_threshold, weight
from research.ledger.append_only import CandidateEventRow, CandidateRow, ForwardRow, LedgerRow
from research.ledger.chain import append, append_rows, table_of
from research.ledger.ledger import Ledger
from research.ledger.tables import ExperimentRun
from research.statistics.regimes import RegimeResult

Kind = Literal["strategy", "model"]
Searched = Literal["declared", "adaptive"]

PILOTED, FULL_SIZE = "pilot", "full"
RETIRED, AT_RISK, WITHDRAWN = "retired", "risk", "withdrawn"
BY_HAND = "retired by hand"
"""What people read for `WITHDRAWN`."""
ENDINGS = (RETIRED, AT_RISK, WITHDRAWN)
ALLOWED = {PILOTED: PILOT, FULL_SIZE: FULL}
"""False promotions that a year's registrations may expect, by the size that they are promoted to."""


@dataclass(frozen=True, kw_only=True)
class CandidateTerms:
    """What is frozen when a candidate is registered.

    hash        `config_hash` of a strategy, SHA-256 of a bundle
    content     what is needed to trade it again: the configuration, or where the bundle is; JSON
    sigma       deviation of a session's residual result over history, > 0; a fraction of the capital
    beta        mean signed exposure over history
    trials      K, None where nothing bounds the search; p_value of history, None where it says nothing
    e_history   what history is worth, once; champion: hash of what it is compared with, None for zero
    """

    name: str
    kind: Kind
    symbol: str
    family: str
    hash: str
    content: Mapping[str, Any]
    sigma: float
    beta: float
    searched: Searched
    e_history: float = 1.0
    trials: int | None = None
    p_value: float | None = None
    champion: str | None = None

    @property
    def regimes(self) -> tuple[RegimeResult, ...] | None:
        """What its history came to in each market regime; None where that was not kept."""
        kept = self.content.get("regimes")
        return None if kept is None else tuple(RegimeResult.of_plain(each) for each in kept)


@dataclass(frozen=True, kw_only=True)
class ForwardEvent:
    """What became of a candidate at a session, and the evidence that it had then."""

    kind: str
    session: date
    evidence: float
    reason: str

    @property
    def in_words(self) -> str:
        """The kind, as people read it: `pilot`, `full`, `retired`, `risk`, `retired by hand`."""
        return BY_HAND if self.kind == WITHDRAWN else self.kind


@dataclass(frozen=True, kw_only=True)
class ForwardCandidate(CandidateTerms):
    """A registered candidate.

    stamp    UTC nanoseconds: only sessions that begin later count; weight: its share of the `year`'s budget
    events   what became of it, oldest first
    """

    id: int
    stamp: int
    year: int
    weight: float
    recorded: str
    events: tuple[ForwardEvent, ...] = field(default=())

    def event(self, kind: str) -> ForwardEvent | None:
        """Return the event of a kind; None where it did not happen."""
        return next((each for each in self.events if each.kind == kind), None)

    @property
    def ended(self) -> bool:
        """Whether it was retired, by a rule or by hand."""
        return any(self.event(kind) for kind in ENDINGS)

    @property
    def status(self) -> str:
        """`waiting`, or the newest event in words."""
        return self.events[-1].in_words if self.events else "waiting"

    def threshold(self, size: str) -> float:
        """Return what history x forward evidence must reach for `pilot` or `full` size."""
        return promotion_threshold(self.weight, ALLOWED[size])

    def evidence(self, residuals: Floats) -> Floats:
        """Return history x forward evidence after each session, float64 (T,)."""
        return self.e_history * e_process(residuals)


def register(
    ledger: Ledger, registration: CandidateTerms, *, now: datetime, per_year: int | None = None,
    along: Callable[[Connection, ForwardCandidate], None] | None = None,
) -> ForwardCandidate:  # fmt: skip
    """Register a candidate, which spends a share of the year's budget; nothing is written if refused.

    per_year   most registrations of the year; the first of a year decides for all, `PER_YEAR` by default
    along      writes what belongs to it, in the same transaction

    ExperimentError where the budget is spent, another number was decided for the year, the name is taken, or
    the same thing is registered already and not ended.
    """
    with ledger.database.write() as connection:
        known = _candidates(connection)
        _require_new(registration, known)
        this_year = [each.weight for each in known if each.year == now.year]
        share = weight(this_year, per_year=_per_year(this_year, per_year, now.year))
        if share == 0.0:
            raise ExperimentError(
                f"candidate {registration.name}: all {len(this_year)} registrations of {now.year} are spent, "
                "and nothing gives one back; wait for the next year, or register one ensemble of the best"
            )
        row = {
            **{name: getattr(registration, name) for name in _FROZEN},
            "content": json.dumps(dict(registration.content), sort_keys=True),
            "stamp": int(np.datetime64(now.replace(tzinfo=None), "ns").astype(np.int64)),
            "year": now.year,
            "weight": share,
            "recorded": now.isoformat(timespec="seconds"),
        }
        (number,) = append(connection, CandidateRow, [row])
        found = next(each for each in _candidates(connection) if each.id == number)
        if along is not None:
            along(connection, found)
        return found


_FROZEN = (
    "name", "kind", "symbol", "family", "hash", "sigma", "beta", "searched", "trials", "p_value", "e_history",
    "champion",
)  # fmt: skip


def _require_new(registration: CandidateTerms, known: Sequence[ForwardCandidate]) -> None:
    for each in known:
        if each.name == registration.name:
            raise ExperimentError(
                f"candidate {registration.name}: is taken, since {each.recorded[:10]}; choose another name"
            )
        if (each.hash, each.symbol) == (registration.hash, registration.symbol) and not each.ended:
            raise ExperimentError(
                f"candidate {registration.name}: is {each.name}, registered {each.recorded[:10]}, whose "
                "evidence goes on; a second registration would only spend budget"
            )


def _per_year(spent: Sequence[float], wanted: int | None, year: int) -> int:
    decided = round(1.0 / spent[0]) if spent else None
    if wanted is not None and decided not in (None, wanted):
        raise ExperimentError(
            f"--per-year {wanted}: the first registration of {year} decided on {decided}; change it next year"
        )
    return wanted or decided or PER_YEAR


def candidates(ledger: Ledger) -> list[ForwardCandidate]:
    """Return all candidates, oldest first."""
    with ledger.database.read() as connection:
        return _candidates(connection)


def candidate_named(ledger: Ledger, name: str) -> ForwardCandidate:
    """Return a candidate; ExperimentError, naming those there are, where there is none."""
    known = candidates(ledger)
    for each in known:
        if each.name == name:
            return each
    there = ", ".join(each.name for each in known[-5:]) or "none"
    raise ExperimentError(
        f"candidate {name}: is not registered; there is {there} (`lockstep candidates list`)"
    )


def sessions_of(ledger: Ledger, candidate: ForwardCandidate) -> tuple[Dates, Floats]:
    """Return the scored sessions, datetime64[D] (T,), rising, and residuals over sigma, float64 (T,)."""
    table = table_of(ForwardRow)
    wanted = select(table.c.session, table.c.residual).where(table.c.candidate_id == candidate.id)
    with ledger.database.read() as connection:
        rows = connection.execute(wanted.order_by(table.c.session)).all()
    dates = np.array([row.session for row in rows], dtype="datetime64[D]")
    return dates, np.array([row.residual for row in rows], dtype=np.float64)


def score(
    ledger: Ledger, candidate: ForwardCandidate, dates: Dates, residuals: Floats, *, now: datetime
) -> Sequence[date]:
    """Write the sessions that have no score yet, all or none, and return them.

    ExperimentError where a session that was scored would have another result now: code or configuration is
    not what was registered, and evidence of two things is evidence of none.
    """
    known, before = sessions_of(ledger, candidate)
    _, old, new = np.intersect1d(known, dates, return_indices=True)
    moved = np.flatnonzero(before[old] != residuals[new])
    if moved.size:
        at = int(moved[0])
        raise ExperimentError(
            f"candidate {candidate.name}: session {known[old][at]} was scored {before[old][at]:+.4f} and "
            f"would be {residuals[new][at]:+.4f} now: code or configuration changed; restore it, or register "
            "what it is now"
        )
    later = known[-1] if known.size else np.datetime64("1900-01-01")
    fresh = dates > later
    found: list[date] = dates[fresh].tolist()
    seen = now.isoformat(timespec="seconds")
    rows = [
        (candidate.id, day, float(value), seen) for day, value in zip(found, residuals[fresh], strict=True)
    ]
    with ledger.database.write() as connection:
        append_rows(connection, ForwardRow, ("candidate_id", "session", "residual", "recorded"), rows)
    return found


def happened(
    ledger: Ledger, candidate: ForwardCandidate, events: Iterable[ForwardEvent], *, now: datetime
) -> None:
    """Write what became of a candidate."""
    rows = [
        {
            "candidate_id": candidate.id,
            "kind": each.kind,
            "session": each.session,
            "evidence": each.evidence,
            "reason": each.reason,
            "recorded": now.isoformat(timespec="seconds"),
        }
        for each in events
    ]
    with ledger.database.write() as connection:
        append(connection, CandidateEventRow, rows)


def promoted_to(ledger: Ledger, hash: str, symbol: str) -> str | None:
    """Return the size that forward evidence allows what has this hash: `pilot`, `full`, or None.

    None also for what was retired since.
    """
    for each in reversed(candidates(ledger)):
        if each.hash == hash and each.symbol == symbol and not each.ended:
            return next((size for size in (FULL_SIZE, PILOTED) if each.event(size)), None)
    return None


def forward_multiple(ledger: Ledger, hash: str, symbol: str) -> float | None:
    """Return the most that forward evidence reached, as a multiple of what a pilot needs; None without any.

    None where nothing with this hash is registered for the symbol, no session of it was scored yet, or it was
    retired. Whoever reached 1 once is promoted, whatever came after: a later loss is for the
    rules of retirement.
    """
    for each in reversed(candidates(ledger)):
        if each.hash == hash and each.symbol == symbol and not each.ended:
            residuals = sessions_of(ledger, each)[1]
            if residuals.size:
                return float(each.evidence(residuals).max()) / each.threshold(PILOTED)
    return None


def trials_since(ledger: Ledger, family: str, dates: DateRange, config_hash: str) -> int:
    """Return K, the trials that the luck in a candidate's history is bounded by, >= 1.

    All trials on the family and dates since the registration that preceded the candidate's *own first
    evaluation*. Counted from the newest registration, the second best of an old search would cost nothing.
    """
    with ledger.database.read() as connection:
        own = select(ExperimentRun.evaluation).where(ExperimentRun.config_hash == config_hash)
        first = connection.scalar(select(func.min(LedgerRow.recorded)).where(LedgerRow.evaluation.in_(own)))
        before = select(func.max(CandidateRow.recorded)).where(CandidateRow.recorded < (first or ""))
        since = connection.scalar(before) or ""
        families = ledger.relatives(family)
        counted = select(func.count()).where(
            LedgerRow.family.in_(families),
            LedgerRow.first_date <= dates.end,
            LedgerRow.last_date >= dates.start,
            LedgerRow.recorded > since,
        )
        return max(1, connection.scalar(counted) or 0)


def _candidates(connection: Connection) -> list[ForwardCandidate]:
    table, told = table_of(CandidateRow), table_of(CandidateEventRow)
    events: dict[int, list[ForwardEvent]] = {}
    for row in connection.execute(select(told).order_by(told.c.id)):
        events.setdefault(row.candidate_id, []).append(
            ForwardEvent(kind=row.kind, session=row.session, evidence=row.evidence, reason=row.reason)
        )
    return [
        ForwardCandidate(
            **{name: value for name, value in row._mapping.items() if name not in ("content", "id")},
            id=row.id,
            content=json.loads(row.content),
            events=tuple(events.get(row.id, ())),
        )
        for row in connection.execute(select(table).order_by(table.c.id))
    ]
