"""Probability of backtest overfitting over all that a family's searches kept on the same dates.

A winner is the best of all variants that were tried, however many experiments they were spread over: it is
ranked among all of them. Each range of an experiment is kept in blocks of whole weeks since 1970, a power of
two of them, cut where the range begins and ends. Blocks of several experiments are joined between dates at
which all of them begin one; what is not wholly inside each of them is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from research.experiments.kept_returns import common_variants, even_groups
from research.experiments.plan import Plan
from research.experiments.store import KeptReturns, Record, Store
from research.ledger.append_only import LedgerRow, MaximumRow
from research.ledger.counting import within
from research.ledger.ledger import Ledger
from research.ledger.tables import PARTS, Experiment, ExperimentRun
from research.splits.ranges import consecutive
from research.statistics.pbo import BlockMoments, Overfitting, distinct_rows, overfitting

_Days = NDArray[np.int64]

_LEAST_BLOCKS = 4
# Divisions into halves x trials; 12,870 divisions of 16 blocks are all there are.
_PBO_CELLS = 100_000_000
_DIVISIONS = (200, 13_000)
# More variants than these are thinned evenly: 400,000 take 200 MB.
_MOST = 400_000
# Calendars of one family's instruments differ by a holiday here and there.
_COVERED = 0.95
_DAYS_A_WEEK = 7
# Days from a Monday to 1 January 1970.
_EPOCH_WEEKDAY = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """The blocks of one experiment on one symbol over the history that it searched, by rising date.

    dated      False where an earlier version wrote them: they then divide each range, at days unknown
    first      int64 (S,): first day of each, since 1970; stop: the day after its last
    sessions   float64 (S,), none of them 0
    where      (window, part, block) of each; variants   int64 (n,): those that succeeded in every window
    """

    experiment: int
    symbol: str
    dated: bool
    first: _Days
    stop: _Days
    sessions: Floats
    where: tuple[tuple[int, int, int], ...]
    variants: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, experiment: int, plan: Plan, symbol: str) -> Outline | None:
        """Return the blocks of an experiment; None where there are none of one of its windows."""
        heads = store.outlines(experiment, symbol)
        if len(heads) < len(plan.windows):
            return None
        rows = [
            row
            for window, name in consecutive(plan.windows)
            for row in _rows(heads[window], window, PARTS.index(name), getattr(plan.windows[window], name))
        ]
        first, stop, sessions, *where = zip(*rows, strict=True)
        return cls(
            experiment=experiment,
            symbol=symbol,
            dated=all(each.calendar is not None for each in heads),
            first=np.array(first, dtype=np.int64),
            stop=np.array(stop, dtype=np.int64),
            sessions=np.array(sessions, dtype=np.float64),
            where=tuple(zip(*where, strict=True)),
            variants=common_variants(heads),
        )

    @property
    def edges(self) -> _Days:
        """The days at which a block begins, or the one before has ended: int64, rising."""
        return np.union1d(self.first, self.stop)

    def counted(self, edges: _Days) -> Floats:
        """Return the sessions between neighbours of `edges` (E,), which are some of its own: (E - 1,)."""
        place, inside = self._places(edges)
        return _summed(place[inside], self.sessions[inside], edges.size - 1)

    def moments(self, store: Store, edges: _Days, group: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return sums and sums of squares, float64 (G, n, 2), and sessions (G,), of groups of stretches.

        group   int64 (E - 1,): the group of each stretch between neighbours of `edges`, -1 for none
        """
        place, inside = self._places(edges)
        mine = np.where(inside, group[place], -1)
        total = np.zeros((int(group.max()) + 1, self.variants.size, 2))
        for window in {each[0] for each in self.where}:
            kept = store.returns(self.experiment, self.symbol, window)
            blocks = kept.blocks
            assert blocks is not None
            rows: Any = slice(None)
            if kept.variants.size > self.variants.size:
                rows = np.searchsorted(kept.variants, self.variants)
            for (of, part, block), to in zip(self.where, mine.tolist(), strict=True):
                if of == window and to >= 0:
                    total[to] += blocks[rows, part, block]
        return total, _summed(mine[mine >= 0], self.sessions[mine >= 0], len(total))

    def _places(self, edges: _Days) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the stretch of each block, and whether there is one that it lies in."""
        place = np.searchsorted(edges, self.first, side="right") - 1
        inside = (place >= 0) & (self.stop <= edges[-1])
        return np.clip(place, 0, edges.size - 2), inside


def _rows(head: KeptReturns, window: int, part: int, dates: DateRange) -> Iterator[tuple[int, ...]]:
    """Yield first day, day after the last, sessions and place of the blocks of a range that have sessions."""
    start, end = _day(dates.start), _day(dates.end) + 1
    for block, sessions in enumerate(head.sessions[part].astype(np.int64).tolist()):
        if head.calendar is None:
            # Sixteenths of days rather than days, so that sixteen blocks differ in the shortest range.
            first, stop = (16 * start + (end - start) * number for number in (block, block + 1))
        else:
            weeks, number = head.calendar[part].tolist()
            monday = (number + block) * weeks * _DAYS_A_WEEK - _EPOCH_WEEKDAY
            first, stop = max(monday, start), min(monday + weeks * _DAYS_A_WEEK, end)
        if sessions:
            yield first, stop, sessions, window, part, block


def _summed(place: NDArray[np.int64], values: Floats, size: int) -> Floats:
    return np.bincount(place, values, size).astype(np.float64)


def _day(day: date) -> int:
    return int(np.datetime64(day, "D").astype(np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyOverfitting:
    """What CSCV found over a family.

    found      None for a single variant, or for too few sessions
    variants   different ones that were ranked; searches   that they are from
    apart      variants of other searches that share too few days with this one, or whose blocks have no dates
    gone       trials that the ledger counts, and whose blocks were deleted with their experiments
    """

    found: Overfitting | None
    variants: int
    searches: int
    apart: int
    gone: int

    @property
    def probability(self) -> float | None:
        """PBO, [0, 1]; None where it was not measured, or where most of what was tried is gone."""
        return None if self.found is None or self.gone > self.variants else self.found.probability


def family_overfitting(
    store: Store, ledger: Ledger, record: Record, symbol: str, family: str
) -> FamilyOverfitting:
    """Run CSCV over the variants of an experiment on a symbol and all others' on its family and dates.

    Variants that did the same in all blocks are one.
    """
    own = Outline.of(store, record.id, record.plan, symbol)
    assert own is not None
    dates = record.plan.split.searched
    wanted = sorted(_searches(ledger, family, dates) - {(record.id, symbol)})
    plans = store.plans({number for number, _ in wanted})
    there = [(number, of) for number, of in wanted if number in plans]
    outlines = [Outline.of(store, number, plans[number], of) for number, of in there]
    dated = [each for each in outlines if each is not None and each.dated and own.dated]
    chosen, edges = _aligned(own, dated)
    apart = sum(len(plans[number].numbers) for number, _ in there)
    apart -= sum(len(plans[each.experiment].numbers) for each in chosen[1:])
    group = _groups(chosen, edges)
    gone = _gone(ledger, family, dates)
    if group is None:
        return FamilyOverfitting(
            found=None, variants=own.variants.size, searches=len(chosen), apart=apart, gone=gone
        )
    pooled, counts = _pooled(store, chosen, edges, group)
    return FamilyOverfitting(
        found=_overfitting(pooled, counts),
        variants=pooled.shape[1],
        searches=len(chosen),
        apart=apart,
        gone=gone,
    )


def _searches(ledger: Ledger, family: str, dates: DateRange) -> set[tuple[int, str]]:
    """Return the experiments and symbols that were searched on a family over dates that overlap these."""
    families = ledger.relatives(family)
    with ledger.database.read() as connection:
        return {
            (row.experiment_id, row.symbol)
            for model in (LedgerRow, MaximumRow)
            for row in connection.execute(
                select(model.experiment_id, model.symbol)
                .where(within(model, families, dates), model.experiment_id.is_not(None))
                .distinct()
            )
        }


def _gone(ledger: Ledger, family: str, dates: DateRange) -> int:
    """Return how many trials of deleted experiments the ledger counts, which no other one evaluated again."""
    deleted = (
        within(LedgerRow, ledger.relatives(family), dates),
        LedgerRow.experiment_id.is_not(None),
        LedgerRow.experiment_id.not_in(select(Experiment.id)),
    )
    with ledger.database.read() as connection:
        if not connection.scalar(select(LedgerRow.id).where(*deleted).limit(1)):
            return 0
        there = select(ExperimentRun.evaluation)
        wanted = select(func.count()).where(*deleted, LedgerRow.evaluation.not_in(there))
        return connection.scalar(wanted) or 0


def _aligned(own: Outline, others: Sequence[Outline]) -> tuple[list[Outline], _Days]:
    """Return the outlines that can be joined, and the days between which they are.

    Those with the most days in common come first. One that would leave fewer than half of the blocks, or of
    the days, of the judged search is left out: one that merely touches its dates must not blind the test.
    """
    chosen, edges = [own], own.edges
    enough = max(_LEAST_BLOCKS, _size(_groups(chosen, edges)) // 2)

    def order(other: Outline) -> tuple[int, bytes, int, str]:
        common = min(own.stop[-1], other.stop[-1]) - max(own.first[0], other.first[0])
        return -int(common), other.edges.tobytes(), other.experiment, other.symbol

    for each in sorted(others, key=order):
        fewer = np.intersect1d(edges, each.edges, assume_unique=True)
        if fewer.size <= enough or _size(_groups([*chosen, each], fewer)) < enough:
            continue
        inside = own.counted(fewer)[_covered([*chosen, each], fewer)].sum()
        if inside >= own.sessions.sum() / 2:
            chosen.append(each)
            edges = fewer
    return chosen, edges


def _size(group: NDArray[np.int64] | None) -> int:
    return 0 if group is None else int(group.max()) + 1


def _covered(outlines: Sequence[Outline], edges: _Days) -> NDArray[np.int64]:
    """Return the stretches between `edges` that lie wholly inside every outline: int64, rising."""
    counts = np.array([each.counted(edges) for each in outlines])
    most = counts.max(axis=0)
    return np.flatnonzero((most > 0) & (counts >= _COVERED * most).all(axis=0))


def _groups(chosen: Sequence[Outline], edges: _Days) -> NDArray[np.int64] | None:
    """Return the group of each stretch, -1 for none: an even number of similar ones; None for too few."""
    stretches = _covered(chosen, edges)
    if stretches.size < _LEAST_BLOCKS:
        return None
    group = np.full(edges.size - 1, -1, dtype=np.int64)
    group[stretches] = even_groups(chosen[0].counted(edges)[stretches])
    return group if _size(group) >= _LEAST_BLOCKS else None


def _pooled(
    store: Store, chosen: Sequence[Outline], edges: _Days, group: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return sums and squares, float64 (G, n, 2), of all different variants, and sessions (G,).

    Where an instrument has a session more or less than the judged one, its sums are scaled to as many.
    """
    each_of = max(1, -(-sum(each.variants.size for each in chosen) // _MOST))
    counts = np.ones(0)
    found = []
    for outline in chosen:
        moments, sessions = outline.moments(store, edges, group)
        counts = counts if counts.size else sessions
        moments *= (counts / sessions)[:, None, None]
        # By rising values: which ones are taken does not depend on the order of the searches.
        found.append(_different(moments)[:, ::each_of])
    if len(found) == 1:
        return found[0], counts
    return _different(np.concatenate(found, axis=1)), counts


def _different(moments: Floats) -> Floats:
    rows = np.ascontiguousarray(moments.transpose(1, 0, 2)).reshape(moments.shape[1], -1)
    return moments[:, distinct_rows(rows.view(np.int64))]


# Divisions of 100,000 variants take seconds, and every search of a family's night is ranked among the same.
_KEPT = 8
_known: dict[str, Overfitting] = {}


def _overfitting(pooled: Floats, counts: Floats) -> Overfitting | None:
    """Run CSCV, once for equal numbers."""
    if pooled.shape[1] < 2:
        return None
    least, many = _DIVISIONS
    most = max(least, min(many, _PBO_CELLS // pooled.shape[1]))
    digest = hashlib.sha256(f"{most} {pooled.shape} {counts.tobytes().hex()}".encode())
    digest.update(np.ascontiguousarray(pooled).data)
    name = digest.hexdigest()
    if name not in _known:
        moments = BlockMoments(sums=pooled[:, :, 0], squares=pooled[:, :, 1], counts=counts)
        found = overfitting(moments, most=most)
        if len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[name] = found
    return _known[name]
