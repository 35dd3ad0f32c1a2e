"""What a frozen history says about drift: which features are slow, and how far off each of its years was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field
from scipy import stats

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.distances import LEAST_VALUES, rolling_ks
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.settings import Settings

LEVEL, INNOVATIONS, MISSING = "level", "innovations", "missing"
# A rank needs a year, and another one to compare it with.
LEAST_YEARS, FEWEST_YEARS = 2, 9
# The deviation that a year's peak is presumed to have before any year is seen, and for how many years it
# counts. Without it a feature that never moved would be infinitely far off at its first step.
_PRESUMED = {LEVEL: 0.05, INNOVATIONS: 0.05, MISSING: 0.01}
_PRESUMED_YEARS = 2.0


class DriftSettings(Settings):
    """Lengths in sessions: of a window, and of a year."""

    window: int = Field(default=60, ge=LEAST_VALUES)
    year: int = Field(default=252, ge=60)


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftColumn:
    """A feature seen one way, and the years of history.

    place       of the feature among the history's ids
    slope, level   innovations are x(t) - slope x(t - 1) - level
    slow        whether a window of its level holds less than one independent value
    reference   sorted values of all history, float64 (m,); empty for `missing`
    peaks       largest distance of each year from the rest of history, oldest first, float64 (years,)
    """

    feature: str
    place: int
    what: str
    slope: float
    level: float
    slow: bool
    reference: Floats
    peaks: Floats

    def values(self, rows: Floats) -> Floats:
        """Return what is watched, float64 (n,), of rows (n, ids); the first innovation is NaN."""
        x: Floats = rows[:, self.place]
        if self.what == MISSING:
            return np.asarray(np.isnan(x), dtype=np.float64)
        if self.what == INNOVATIONS:
            return innovations(x, self.slope, self.level)
        return x

    def distances(self, values: Floats, reference: Floats, window: int) -> Floats:
        """Return the distance of each window, float64 (n - window + 1,)."""
        if self.what != MISSING:
            return rolling_ks(values, reference, window)
        if values.size < window:
            return np.empty(0)
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        return np.asarray(windows.mean(axis=1), dtype=np.float64)

    def rank(self, peak: float) -> float:
        """Return the rank of a running year, 1 the furthest; ties by midranks, NaN: no peak or no years."""
        if math.isnan(peak) or not self.peaks.size:
            return math.nan
        return float(stats.rankdata(-np.append(self.peaks, peak), method="average")[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftBaseline:
    """A history, and how far off each of its years was from all the others; made by `of`.

    columns   one for each feature and way to see it, in the order of the history's ids
    years     Y of the warning stream: those that all its features have
    """

    history: FeatureHistory
    settings: DriftSettings
    columns: tuple[DriftColumn, ...]
    years: int

    @classmethod
    def of(cls, history: FeatureHistory, settings: DriftSettings | None = None) -> DriftBaseline:
        """Measure a history; DataError where it is empty.

        Years are blocks of 252 sessions counted back from its end; what remains in front, at least 60
        sessions, belongs to the reference alone. A feature without two years of its own has no rank. The
        stream has the features with nine years or more, or, where none has, those with the most; their years
        are those of the shortest. A slow feature's level is ranked but not in the stream: a window holds less
        than one independent value of it, and years that wander are not interchangeable. Its innovations are.
        """
        if not len(history):
            raise DataError("drift: the history has no session; freeze one when the model is validated")
        chosen = settings or DriftSettings()
        columns = tuple(
            column for place in range(len(history.ids)) for column in _columns_of(history, place, chosen)
        )
        counts = [each.peaks.size for each in columns if each.peaks.size]
        enough = [each for each in counts if each >= FEWEST_YEARS] or [max(counts, default=0)]
        return cls(history=history, settings=chosen, columns=columns, years=min(enough))

    @cached_property
    def highest(self) -> float:
        """The largest score of any year of history; NaN where there is no stream."""
        found = [
            _score(column, float(peaks[year]), np.delete(peaks, year))
            for column in self.columns
            if self.streamed(column)
            for peaks in [column.peaks[-self.years :]]
            for year in range(self.years)
        ]
        return max(found, default=math.nan)

    def streamed(self, column: DriftColumn) -> bool:
        """Whether a column is in the warning stream."""
        wanders = column.slow and column.what == LEVEL
        return 0 < self.years <= column.peaks.size and not wanders

    def values(self, rows: Floats) -> Floats:
        """Return what is watched in sessions, float64 (n, columns), of rows (n, ids)."""
        return np.column_stack([column.values(rows) for column in self.columns])

    def distances(self, rows: Floats) -> Floats:
        """Return the distances of all windows of rows (n, ids) but the first, float64 (n - window, columns).

        The first row only precedes the first innovation.
        """
        window = self.settings.window
        return np.column_stack(
            [column.distances(column.values(rows)[1:], column.reference, window) for column in self.columns]
        )


def at_the_end(baseline: DriftBaseline, rows: Floats) -> Floats:
    """Return the distance of the last window, float64 (columns,), NaN before there is a whole one."""
    found = baseline.distances(rows[-baseline.settings.window - 1 :])
    return found[-1] if found.size else np.full(len(baseline.columns), math.nan)


def scores(baseline: DriftBaseline, peaks: Floats) -> Floats:
    """Return the score of a running year's peaks (columns,), float64 (columns,); NaN outside the stream."""
    return np.array(
        [
            _score(column, float(peak), column.peaks[-baseline.years :])
            if baseline.streamed(column)
            else math.nan
            for column, peak in zip(baseline.columns, peaks, strict=True)
        ]
    )


def _score(column: DriftColumn, peak: float, others: Floats) -> float:
    """Return how many deviations of the other years a peak lies above their mean.

    Every year, the running one too, is measured by years that do not contain it, so that none is at home.
    """
    centre = float(others.mean())
    squares = float(((others - centre) ** 2).sum()) + _PRESUMED_YEARS * _PRESUMED[column.what] ** 2
    return (peak - centre) / math.sqrt(squares / (others.size - 1 + _PRESUMED_YEARS))


def innovations(values: Floats, slope: float, level: float) -> Floats:
    """Return x(t) - slope x(t - 1) - level, float64 (n,), the first NaN."""
    before = np.concatenate(([math.nan], values[:-1]))
    return values - slope * before - level


def first_order(values: Any) -> tuple[float, float]:
    """Return slope and level of the regression of x(t) on x(t - 1); slope 0 for a series that does not vary.

    Pairs with a missing value are left out.

    >>> slope, level = first_order(0.5 ** np.arange(30))
    >>> round(slope, 6), round(level, 6) + 0.0
    (0.5, 0.0)
    """
    x = np.asarray(values, dtype=np.float64)
    pairs = np.column_stack((x[:-1], x[1:]))
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < LEAST_VALUES or np.ptp(pairs[:, 0]) == 0.0 or np.ptp(pairs[:, 1]) == 0.0:
        return 0.0, 0.0
    means = pairs.mean(axis=0)
    early, late = (pairs - means).T
    slope = float((early * late).sum() / (early**2).sum())
    return slope, float(means[1] - slope * means[0])


def _columns_of(history: FeatureHistory, place: int, settings: DriftSettings) -> Sequence[DriftColumn]:
    seen = np.flatnonzero(~np.isnan(history.values[:, place]))
    rows = history.values[seen[0] if seen.size else len(history) :]
    slope, level = first_order(rows[:, place])
    # (1 + slope) / (1 - slope) values of a first-order autoregression tell as much as one independent value.
    slow = slope * (settings.window + 1) > settings.window - 1
    ways = [LEVEL, *([INNOVATIONS] if slow else []), *([] if history.gaps else [MISSING])]
    found = []
    for what in ways:
        bare = DriftColumn(
            feature=history.ids[place], place=place, what=what, slope=slope, level=level, slow=slow,
            reference=np.empty(0), peaks=np.empty(0),
        )  # fmt: skip
        values = bare.values(rows)
        reference = np.sort(values[~np.isnan(values)]) if what != MISSING else np.empty(0)
        found.append(replace(bare, reference=reference, peaks=_peaks(bare, values, settings)))
    return found


def _peaks(column: DriftColumn, values: Floats, settings: DriftSettings) -> Floats:
    """Return the largest distance of each year from all sessions that its windows do not touch."""
    window, year = settings.window, settings.year
    years = max(0, (values.size - window) // year)
    if years < LEAST_YEARS:
        return np.empty(0)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    known = ~np.isnan(ordered)
    found = np.empty(years)
    for number in range(years):
        stop = values.size - year * (years - 1 - number)
        start = stop - year - (window - 1)
        reference = ordered[known & ((order < start) | (order >= stop))]
        distances = column.distances(values[start:stop], reference, window)
        # A year without enough values for any window was not seen to be off.
        found[number] = np.fmax.reduce(distances, initial=0.0)
    return found
