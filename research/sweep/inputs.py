"""Session dates and clock readings of a history, worked out once however often it is swept.

What all variants of a sweep read: bars, sessions, clock readings and features, computed once.

A model's veto in the sweep: its answers at every bar, computed before the loop.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.continuous import levels
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.rolls import Rolls
from lockstep.market.sessions import Dates, Session
from lockstep.market.timeframe import Timeframe
from lockstep.metrics import Annual, market_returns, time_scale
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.decision import IN_SESSION
from lockstep.strategy.matching import CLOSE, MULTIPLIER, Costs
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.statistics.maximum import SKETCH, date_hash
from research.sweep.account import BLOCKS
from research.sweep.signals import WORD, Words, present_of, words_of
from research.sweep.variants import VariantGroup, group_variants

# Days from a Monday to 1 January 1970.
_EPOCH_WEEKDAY = 3
_DAYS_A_WEEK = 7


@dataclass(frozen=True, kw_only=True, eq=False)
class CalendarBlocks:
    """Sessions grouped by date, at most 16 blocks of equal weeks, and at least 9 over 9 weeks or more.

    weeks    of a block, a power of two: coarser blocks are unions of finer ones, whatever their spans
    first    number of the first block, counted from the Monday before 1 January 1970
    edges    int64 (17,): first session of each block, and the number of sessions; some blocks may be empty
    """

    weeks: int
    first: int
    edges: Stamps

    @classmethod
    def of(cls, days: Dates) -> Self:
        """Return the blocks of sessions on these dates, datetime64[D] (S,), rising.

        >>> found = CalendarBlocks.of(np.arange("2024-01-01", "2024-12-31", dtype="M8[D]"))
        >>> found.weeks, found.first, found.edges[:4].tolist(), found.edges[-1]
        (4, 704, [0, 14, 42, 70], np.int64(365))
        """
        week = (days.astype("datetime64[D]").astype(np.int64) + _EPOCH_WEEKDAY) // _DAYS_A_WEEK
        weeks = 1
        while week[-1] // weeks - week[0] // weeks >= BLOCKS:
            weeks *= 2
        block = week // weeks
        edges = np.searchsorted(block, block[0] + np.arange(BLOCKS + 1)).astype(np.int64)
        return cls(weeks=weeks, first=int(block[0]), edges=edges)


def in_points(bars: Bars) -> bool:
    """Whether a price says nothing of what a contract is worth: one is not positive, or rolls moved them all.

    Exposure is then counted in contracts and what it earns in points; elsewhere in money and in fractions.
    """
    adjusted = bars.adjustment == "difference" or bars.rolls is not None
    return adjusted or not bool((bars.low > 0.0).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What no configuration changes: n bars of a series in their S sessions, and what the sums need of them.

    rows     of the series; unit: USD per point
    prices   float64 (n, 4): open, high, low, close
    days     datetime64[D] (S,): dates of the sessions; scale: their years, and what annualises
    blocks   time blocks of the sessions; ones: float64 (256,), the sketch of 1 over them

    The others are as of `Inputs`.
    """

    rows: slice
    unit: float
    prices: Floats
    session: Stamps
    marks: Floats
    exposure: Floats
    market: Floats
    bucket: Stamps
    sign: Floats
    days: Dates
    scale: Annual
    blocks: CalendarBlocks
    ones: Floats

    @classmethod
    def of(cls, bars: Bars, session: Session, dates: Dates, rows: slice, unit: float) -> Self:
        """Work it out for some rows of bars, all of which are on session `dates`."""
        dates = dates[rows]
        begins = dates[1:] != dates[:-1]
        prices = np.column_stack([each[rows] for each in (bars.open, bars.high, bars.low, bars.close)])
        lasts = np.append(np.flatnonzero(begins), len(dates) - 1)
        days, marks = dates[lasts], prices[lasts, CLOSE]
        points = in_points(bars)
        worth = np.ones(len(dates)) if points else prices[:, CLOSE]
        bucket, sign = date_hash(days)
        return cls(
            rows=rows,
            unit=unit,
            prices=prices,
            session=np.concatenate(([0], np.cumsum(begins))).astype(np.int64),
            marks=marks,
            exposure=np.concatenate(([0.0], np.cumsum(worth * unit))),
            market=_market(bars, rows, lasts, points),
            bucket=bucket,
            sign=sign,
            days=days,
            scale=time_scale(dates, days.size, float(session.template.sessions_per_year)),
            blocks=CalendarBlocks.of(days),
            ones=np.bincount(bucket, sign, SKETCH).astype(np.float64),
        )


def _market(bars: Bars, rows: slice, lasts: Stamps, points: bool) -> Floats:
    """Return what one unit of exposure earned in each session; over a roll, what its contracts did."""
    seen = levels(bars)
    return market_returns(seen.close[rows][lasts], float(seen.open[rows][0]), points)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calendar:
    """Bars of one series on a session: `dates`, datetime64[D] (n,), are their session dates.

    last   at most one: the ground of the last sweep, since many go over the same one
    """

    ends: Stamps
    timeframe: Timeframe
    session: Session
    dates: Dates
    rolls: Rolls | None = None
    last: list[Ground] = field(default_factory=list)
    _known: dict[tuple[str | None, bool], Floats] = field(default_factory=dict)

    def readings(self, auto_close: str | None, *, at_close: bool = False) -> Floats:
        """Return the clock readings at every bar, float64 (n, 3), see `SessionClock`."""
        asked = (auto_close, at_close)
        if asked not in self._known:
            clock = SessionClock(self.session, self.timeframe, auto_close, self.rolls, at_close=at_close)
            self._known[asked] = clock.readings(self.ends)
        return self._known[asked]

    def ground(self, bars: Bars, rows: slice, unit: float) -> Ground:
        """Return the ground of some rows of its bars."""
        for known in self.last:
            if known.rows == rows and known.unit == unit:
                return known
        found = Ground.of(bars, self.session, self.dates, rows, unit)
        self.last[:] = [found]
        return found


# Gone with the bars: nothing here keeps them.
_calendars: weakref.WeakKeyDictionary[Bars, Calendar] = weakref.WeakKeyDictionary()


def calendar_of(bars: Bars, session: Session) -> Calendar:
    """Return the calendar of `bars` on `session`."""
    known = _calendars.get(bars)
    if known is None or known.session is not session:
        dates = session.dates(bars.end, bars.timeframe)
        known = Calendar(
            ends=bars.end, timeframe=bars.timeframe, session=session, dates=dates, rolls=bars.rolls
        )
        _calendars[bars] = known
    return known


Config = TypeVar("Config", bound=StrategyConfig)


@dataclass(frozen=True, kw_only=True)
class Chances:
    """What a model answers at each bar of a history.

    probability   float64 (n,), one per bar of the traded series, the whole history; NaN vetoes
    threshold     an entry needs at least this
    feature_ids   what the model reads: a vector in which one of them is missing is not traded
    """

    probability: Floats
    threshold: float
    feature_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        veto: Veto,
        config: StrategyConfig,
        history: History,
        symbol: str,
        registry: FeatureRegistry | None = None,
    ) -> Self:
        """Ask the model of `veto` at every bar whose vector is complete; elsewhere NaN.

        In one call where that gives the same bits, else bar by bar, as an engine asks.
        """
        plan = (registry or default_registry()).plan(vector_ids(config, veto), SeriesKey(symbol, config.bars))
        matrix = BatchFeatures(plan, history, max_age=config.max_age.limits).matrix
        complete = ~np.isnan(matrix).any(axis=1)
        columns = [plan.ids.index(each) for each in veto.feature_ids]
        probability = np.full(len(matrix), np.nan)
        if complete.any():
            read = np.ascontiguousarray(matrix[complete][:, columns])
            asked = [read] if veto.in_batches else [read[row : row + 1] for row in range(len(read))]
            probability[complete] = np.concatenate(
                [np.asarray(veto.model.predict_proba(each), dtype=np.float64)[:, 1] for each in asked]
            )
        return cls(probability=probability, threshold=veto.threshold, feature_ids=veto.feature_ids)

    @classmethod
    def at(
        cls, rows: Sequence[int] | np.ndarray, values: Floats, *, bars: int, threshold: float,
        feature_ids: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """Take answers that are known at some `rows` of `bars` bars only, those of a model's test samples."""
        probability = np.full(bars, np.nan)
        probability[np.asarray(rows, dtype=np.int64)] = values
        return cls(probability=probability, threshold=threshold, feature_ids=feature_ids)

    def widened(self, config: Config) -> Config:
        """Return `config` with a vector that also holds what the model reads, as `ParityStrategy` has it."""
        return config.replaced(features=tuple(dict.fromkeys((*config.features, *self.feature_ids))))

    def over(self, rows: slice, bars: int) -> Floats:
        """Return the answers at the traded rows; ConfigError where they are of another history."""
        if self.probability.shape != (bars,):
            raise ConfigError(
                f"probabilities of shape {self.probability.shape} for {bars} bars: one per bar of the history"
            )
        return np.ascontiguousarray(self.probability[rows])


# Ids of specs whose features are computed at once.
_AT_A_TIME = 32


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Decision vectors moved in a circle, by whole sessions, against bars and clock that stay as they are.

    sessions   a session gets the vectors of the one that is so many earlier: bar k those of bar k, none where
               that session is shorter
    within     the sessions that make the circle; the others keep their own
    """

    sessions: int
    within: DateRange = field(default_factory=DateRange)

    def moved(self, matrix: Floats, dates: Dates) -> Floats:
        """Return the vectors, float64 (n, ids), of bars on session dates datetime64[D] (n,), moved.

        >>> Shift(sessions=1).moved(np.array([[1.0], [2.0], [3.0]]), np.arange(3).astype("M8[D]")).ravel()
        array([3., 1., 2.])
        """
        circle = self.within.rows(dates, "a shift")
        firsts = circle.start + np.flatnonzero(np.diff(dates[circle].astype(np.int64), prepend=-(2**40)))
        lengths = np.diff(np.append(firsts, circle.stop))
        origin = np.roll(np.arange(firsts.size), self.sessions)
        place = np.arange(circle.start, circle.stop) - np.repeat(firsts, lengths)
        rows = np.repeat(firsts[origin], lengths) + place
        there = place < np.repeat(lengths[origin], lengths)
        moved = matrix.copy()
        moved[circle] = np.where(there[:, None], matrix[np.where(there, rows, 0)], np.nan)
        return moved


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the loops read of n bars in S sessions; plain arrays, so that a cluster can be sent them once.

    values        float64 (n, ids): the decision vectors; for specs (ids, n and up to 63 more), the columns
    present       uint64 (ids, words): where the columns of specs are numbers; (0, 0) without specs
    probability   float64 (n,) of a model, or (1,) without one
    clock         float64 (n, 3): readings, see `SessionClock`
    bars          float64 (n, 4): open, high, low, close
    session       int64 (n,): ordinal of each bar's session; marks: float64 (S,), the last close of each
    exposure      float64 (n + 1,): USD that a contract was worth at the bars before, summed up
    edges         int64 (17,): first session of each time block, and S
    market        float64 (S,): what one unit of exposure earned
    bucket, sign  (S,): place in the sketch and sign there of each session
    """

    values: Floats
    present: Words
    probability: Floats
    clock: Floats
    bars: Floats
    session: Stamps
    marks: Floats
    exposure: Floats
    edges: Stamps
    market: Floats
    bucket: Stamps
    sign: Floats
    costs: Costs

    @property
    def seen_while_flat(self) -> tuple[Floats, Floats, Floats]:
        """What the search for entries reads."""
        return self.values, self.probability, self.clock

    @property
    def seen_in_position(self) -> tuple[Floats, Floats, Floats, Costs]:
        """What carrying out an entry reads."""
        return self.values, self.clock, self.bars, self.costs


_NONE = np.empty((0, 0), dtype=np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """What specs know: for each id its values, float64 (ids, n and up to 63 more), NaN behind the bars.

    present   uint64 (ids, words): where they are numbers
    """

    values: Floats
    present: Words


class Prepared:
    """Bars, sessions and features of one sweep over the rows of `span`."""

    def __init__(
        self,
        history: History,
        symbol: str,
        config: StrategyConfig,
        span: DateRange,
        registry: FeatureRegistry,
        shift: Shift | None = None,
    ) -> None:
        self._shift = shift
        self._history = history
        self._registry = registry
        self._key = SeriesKey(symbol, config.bars)
        self._market = history.markets[symbol]
        bars = history.series(self._key)
        self._calendar = calendar_of(bars, self._market.session)
        rows = span.rows(self._calendar.dates, bars.source)
        self.ground = self._calendar.ground(bars, rows, self._market.instrument.costs[MULTIPLIER])
        self.bars = len(self.ground.prices)

    @property
    def market(self) -> Market:
        """The traded instrument with its session."""
        return self._market

    @property
    def always_open(self) -> bool:
        """Whether every bar is in session, and no roll is a reason to look at the clock."""
        return self._calendar.rolls is None and bool(
            self._calendar.readings(None)[self.ground.rows, IN_SESSION].all()
        )

    @property
    def ends(self) -> Stamps:
        """Ends of the bars, UTC ns."""
        return self._calendar.ends[self.ground.rows]

    def readings(self, config: StrategyConfig) -> Floats:
        """Return the clock of a configuration at every bar, float64 (n, 3)."""
        at_close = config.execution == "close"
        return self._calendar.readings(config.auto_close, at_close=at_close)[self.ground.rows]

    def groups(self, configs: Sequence[StrategyConfig], threshold: float = ACCEPT_ALL) -> list[VariantGroup]:
        """Return the variants by the loop that they run in."""
        return group_variants(configs, self._market, always_open=self.always_open, threshold=threshold)

    def inputs(self, config: StrategyConfig, chances: Chances | None = None) -> Inputs:
        """Return what the variants of a group read, of which `config` is one."""
        return self.read(np.ascontiguousarray(self._vectors(config.feature_ids, config)), config, chances)

    def columns(self, ids: Sequence[str], config: StrategyConfig) -> Columns:
        """Return what specs with the age limits of `config` know.

        Some ids at a time, so that little else is in memory.
        """
        values = np.full((len(ids), words_of(self.bars) * WORD), np.nan)
        for first in range(0, len(ids), _AT_A_TIME):
            some = ids[first : first + _AT_A_TIME]
            values[first : first + len(some), : self.bars] = self._vectors(some, config).T
        return Columns(values=values, present=present_of(values))

    def _vectors(self, ids: Sequence[str], config: StrategyConfig) -> Floats:
        plan = self._registry.plan(ids, self._key)
        matrix = BatchFeatures(plan, self._history, max_age=config.max_age.limits).matrix
        if self._shift is not None:
            matrix = self._shift.moved(matrix, self._calendar.dates)
        return matrix[self.ground.rows]

    def read(self, found: Floats | Columns, config: StrategyConfig, chances: Chances | None = None) -> Inputs:
        """Return what the loops read, with these values and the clock of `config`."""
        columns = found if isinstance(found, Columns) else Columns(values=found, present=_NONE)
        return Inputs(
            values=columns.values,
            present=columns.present,
            probability=chances.over(self.ground.rows, len(self._calendar.ends)) if chances else np.ones(1),
            clock=self.readings(config),
            bars=self.ground.prices,
            session=self.ground.session,
            marks=self.ground.marks,
            exposure=self.ground.exposure,
            edges=self.ground.blocks.edges,
            market=self.ground.market,
            bucket=self.ground.bucket,
            sign=self.ground.sign,
            costs=self._market.instrument.costs,
        )
