"""The law of a search, and what was decided under it: limits, hold-outs, doors to sealed dates, verdicts.

The first search over a family and dates sets limits and hold-out; what later ones used is written beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from lockstep.market.dates import DateRange
from research.ledger.append_only import LawRow, LookRow, VerdictRow
from research.ledger.chain import append
from research.ledger.counting import within

REFUSED, FORCED, PROMOTED, GUARD = "refused", "forced", "promoted", "guard"
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Law:
    """Under which limits a search began. `holdout` is None where no dates were sealed."""

    family: str
    dates: DateRange
    limits: Mapping[str, float]
    holdout: DateRange | None
    experiment_id: int | None
    recorded: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was decided about a promotion.

    kind      `refused`, `forced`, `promoted`; `guard`: guards of append-only tables had to be made again
    subject   name of the strategy, or SHA-256 of the bundle; of a guard, the names of those that were missing
    limits    values that were used, by name; reason: of who forced it
    """

    kind: str
    subject: str
    families: tuple[str, ...] = ()
    limits: Mapping[str, float]
    refusals: tuple[str, ...] = ()
    reason: str = ""
    experiment_id: int | None = None
    recorded: str = ""


def enact(connection: Connection, law: Law, *, now: datetime) -> None:
    """Write the law of a search down as it begins; of an experiment, once for each family."""
    if law.experiment_id is not None:
        same = (LawRow.experiment_id == law.experiment_id, LawRow.family == law.family)
        if connection.scalar(select(LawRow.id).where(*same)) is not None:
            return
    row = {
        "family": law.family,
        "first_date": law.dates.start,
        "last_date": law.dates.end,
        "holdout_first": law.holdout.start if law.holdout else None,
        "holdout_last": law.holdout.end if law.holdout else None,
        "limits": json.dumps(dict(law.limits), sort_keys=True),
        "experiment_id": law.experiment_id,
        "recorded": now.isoformat(timespec="seconds"),
    }
    append(connection, LawRow, [row])


def laws(connection: Connection, families: Sequence[str], dates: DateRange) -> list[Law]:
    """Return the laws of all searches on the families whose dates share a day with these, oldest first.

    The dates of a search are those it searched and those it sealed.
    """
    held = and_(
        LawRow.family.in_(families),
        LawRow.holdout_first <= dates.end,
        LawRow.holdout_last >= dates.start,
    )
    rows = connection.execute(
        select(LawRow.__table__).where(or_(within(LawRow, families, dates), held)).order_by(LawRow.id)
    )
    return [
        Law(
            family=row.family,
            dates=DateRange(start=row.first_date, end=row.last_date),
            limits=json.loads(row.limits),
            holdout=_holdout(row),
            experiment_id=row.experiment_id,
            recorded=row.recorded,
        )
        for row in rows
    ]


def sealed(
    connection: Connection, families: Sequence[str], dates: DateRange, also: Sequence[DateRange] = ()
) -> tuple[DateRange, ...]:
    """Return the days within `dates` that a search on the families sealed, as ranges that share no day.

    also   sealed too: the hold-out of a version that was registered before there was a law

    What was looked at as a hold-out was one: so the ledger knows those of earlier versions.
    """
    ranges = [law.holdout for law in laws(connection, families, dates) if law.holdout is not None]
    opened = connection.execute(
        select(LookRow.first_date, LookRow.last_date).where(within(LookRow, families, dates)).distinct()
    )
    ranges += [DateRange(start=first, end=last) for first, last in opened]
    return tuple(_joined([*ranges, *also], dates))


def _joined(ranges: Sequence[DateRange], within: DateRange) -> Iterator[DateRange]:
    start = end = None
    for each in sorted(ranges, key=lambda known: known.start):
        first, last = max(each.start, within.start), min(each.end, within.end)
        if first > last:
            continue
        if start is None or end is None:
            start, end = first, last
        elif first <= end + _DAY:
            end = max(end, last)
        else:
            yield DateRange(start=start, end=end)
            start, end = first, last
    if start is not None and end is not None:
        yield DateRange(start=start, end=end)


def _holdout(row: Row[Any]) -> DateRange | None:
    if row.holdout_first is None:
        return None
    return DateRange(start=row.holdout_first, end=row.holdout_last)


def look(
    connection: Connection,
    families: Sequence[str],
    symbol: str,
    dates: DateRange,
    *,
    purpose: str,
    now: datetime,
    experiment_id: int | None = None,
) -> int:
    """Record a look at a hold-out; returns which it is of the families' looks at these days, from 1."""
    row = {
        "family": families[0],
        "symbol": symbol,
        "first_date": dates.start,
        "last_date": dates.end,
        "experiment_id": experiment_id,
        "purpose": purpose,
        "recorded": now.isoformat(timespec="seconds"),
    }
    append(connection, LookRow, [row])
    return connection.scalar(select(func.count()).where(within(LookRow, families, dates))) or 0


def pronounce(connection: Connection, verdict: Verdict, *, now: datetime) -> None:
    """Write a verdict down."""
    row = {
        "kind": verdict.kind,
        "subject": verdict.subject,
        "experiment_id": verdict.experiment_id,
        "families": json.dumps(verdict.families),
        "limits": json.dumps(dict(verdict.limits), sort_keys=True),
        "refusals": json.dumps(verdict.refusals),
        "reason": verdict.reason,
        "recorded": now.isoformat(timespec="seconds"),
    }
    append(connection, VerdictRow, [row])


def verdicts(connection: Connection, kind: str | None = None) -> list[Verdict]:
    """Return all verdicts, or those of one kind, oldest first."""
    query = select(VerdictRow.__table__).order_by(VerdictRow.id)
    rows = connection.execute(query if kind is None else query.where(VerdictRow.kind == kind))
    return [
        Verdict(
            kind=row.kind,
            subject=row.subject,
            families=tuple(json.loads(row.families)),
            limits=json.loads(row.limits),
            refusals=tuple(json.loads(row.refusals)),
            reason=row.reason,
            experiment_id=row.experiment_id,
            recorded=row.recorded,
        )
        for row in rows
    ]
