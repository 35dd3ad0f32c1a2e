"""The one count of what was tried on a market: for experiments and models alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from research.ledger.append_only import EffectiveRow, LedgerRow, MaximumRow, SpaceRow
from research.ledger.tables import ExperimentRun
from research.statistics.maximum import effective, joined


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """All trials on a family and its relatives over dates that overlap some range.

    families   the family, then its relatives
    trials     all; of these, drawn: in searches whose maximum is known; searches: how many made them
    without    m: trials that no maximum is known of, for the formula p' = 1 - (1 - p) Phi(z)^m; of a search
               that an earlier version settled, only the share that it found independent
    draws      float64 (1000,): in each draw, the greatest z of all trials that are `drawn`; None for none
    best       their greatest z; NaN for none
    declared, adaptive   searches that were declared before any result, and those that were not
    """

    families: tuple[str, ...]
    trials: int
    drawn: int
    without: float
    searches: int
    draws: Floats | None
    best: float
    declared: int
    adaptive: int

    @property
    def independent(self) -> float:
        """How many independent trials they amount to; shown, and never judged by."""
        return self.without + (0.0 if self.draws is None else effective(self.draws))


def counted(connection: Connection, families: Sequence[str], dates: DateRange) -> Counted:
    """Count the trials on some families over dates that overlap `dates`; see `Counted`."""
    which = within(LedgerRow, families, dates)
    groups = _groups(connection, which)
    maxima = _maxima(connection, families, dates, {number for number, _ in groups if number is not None})
    known = {(row.experiment_id, row.symbol) for row in maxima}
    rest = groups
    if groups.keys() & known:
        # What such a search evaluated again stands in the ledger under the search that did it first.
        again = select(ExperimentRun.evaluation).where(
            ExperimentRun.experiment_id.in_({number for number, _ in known})
        )
        rest = {key: count for key, count in groups.items() if key not in known}
        rest = rest and _groups(connection, and_(which, LedgerRow.evaluation.not_in(again)))
    shares = _shares(connection)
    spaces = connection.execute(
        select(SpaceRow.declared, func.count())
        .where(within(SpaceRow, families, dates))
        .group_by(SpaceRow.declared)
    ).all()
    by_kind = {int(declared): count for declared, count in spaces}
    return Counted(
        families=tuple(families),
        trials=sum(groups.values()),
        drawn=sum(row.trials for row in maxima),
        without=float(sum(count * shares.get(key, 1.0) for key, count in rest.items() if key not in known)),
        searches=_searches(connection, which),
        draws=joined(*(np.frombuffer(row.draws, "<f8") for row in maxima)) if maxima else None,
        best=max((row.best for row in maxima), default=float("nan")),
        declared=by_kind.get(1, 0),
        adaptive=by_kind.get(0, 0),
    )


def within(model: Any, families: Sequence[str], dates: DateRange) -> ColumnElement[bool]:
    """Return what is true of a row of these families whose dates share a day with `dates`."""
    return and_(model.family.in_(families), model.first_date <= dates.end, model.last_date >= dates.start)


def _groups(connection: Connection, which: ColumnElement[bool]) -> dict[tuple[int | None, str], int]:
    rows = connection.execute(
        select(LedgerRow.experiment_id, LedgerRow.symbol, func.count())
        .where(which)
        .group_by(LedgerRow.experiment_id, LedgerRow.symbol)
    )
    return {(number, symbol): count for number, symbol, count in rows}


def _maxima(
    connection: Connection, families: Sequence[str], dates: DateRange, experiments: set[int]
) -> Sequence[Any]:
    """Return the maxima over these dates, and those of the experiments that are counted.

    A maximum has the dates of its test ranges, a trial those of the whole search.
    """
    counts = and_(MaximumRow.family.in_(families), MaximumRow.experiment_id.in_(experiments))
    return connection.execute(
        select(MaximumRow.__table__)
        .where(or_(within(MaximumRow, families, dates), counts))
        .order_by(MaximumRow.id)
    ).all()


def _shares(connection: Connection) -> dict[tuple[int | None, str], float]:
    """Return the share of independent trials by search and symbol, where an earlier version settled it."""
    return {
        (row.experiment_id, row.symbol): min(1.0, row.effective / row.trials)
        for row in connection.execute(select(EffectiveRow.__table__))
    }


def _searches(connection: Connection, which: ColumnElement[bool]) -> int:
    """Return how many experiments there were, with one for each other kind of trials."""
    rows = connection.execute(select(LedgerRow.experiment_id, LedgerRow.kind).where(which).distinct())
    return len({kind if number is None else number for number, kind in rows})
