"""Recorded vectors and bars beside settled ones: what differs, by how much, and of what kind it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from certify.recording import Frame
from certify.series import settled_rows
from lockstep.features.columns import pair_key
from lockstep.features.plan import FeaturePlan
from lockstep.live.messages import Epoch, Release, Values
from lockstep.live.operator.journal_cli import iso
from lockstep.market.bars import Floats
from lockstep.market.history import History, SeriesKey
from lockstep.monitoring.parity import WARM_UP
from lockstep.settings import Settings

_FOREVER = 2**62
CORRECTED, LATE, CODE = "corrected bar", "late or missing bar", "code"


class Cause(NamedTuple):
    """Why a value differs: the kind, and the bar behind it as `SPX:1d (pair) at 2009-07-23T20:00:00Z`."""

    kind: str
    bar: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.bar}" if self.bar else self.kind


class FeatureSkew(Settings):
    """One feature, recorded against settled.

    kinds     how many of the differences are of which kind; largest   absolute difference, 0 where one is NaN
    first     the earliest difference in words
    """

    feature: str
    compared: int
    different: int
    kinds: dict[str, int]
    largest: float
    first: str


class SeriesSkew(Settings):
    """One series of bars: how many came, came late, were corrected since, never came, or are not settled.

    corrected   includes bars that filled the windows before the first set
    first       the earliest bar that was corrected, never came, or is not settled
    """

    series: str
    bars: int
    late: int
    corrected: int
    missing: int
    unsettled: int
    first: str


@dataclass
class FeatureTally:
    """Counts of one feature while a journal is read."""

    compared: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    largest: float = 0.0
    first: str = ""

    def add(self, cause: Cause, stamp: int, recorded: float, settled: float) -> None:
        """Count a difference."""
        self.kinds[cause.kind] += 1
        apart = abs(recorded - settled)
        self.largest = max(self.largest, 0.0 if math.isnan(apart) else apart)
        self.first = self.first or f"{iso(stamp)}: {recorded!r} recorded, {settled!r} settled ({cause})"

    def skew(self, feature: str) -> FeatureSkew:
        """Return the counts."""
        different = sum(self.kinds.values())
        return FeatureSkew(
            feature=feature, compared=self.compared, different=different,
            kinds=dict(sorted(self.kinds.items())), largest=self.largest, first=self.first,
        )  # fmt: skip


def unequal(recorded: Floats, settled: Floats) -> list[int]:
    """Return the columns whose bits differ; NaN equals NaN."""
    same = (recorded.view(np.int64) == settled.view(np.int64)) | (np.isnan(recorded) & np.isnan(settled))
    return [int(column) for column in np.flatnonzero(~same)]


def cause_of(frame: Frame, column: int, recorded: float, own: float, settled: History) -> Cause:
    """Return why a recorded value is not the settled one.

    own   the value that today's code makes of the bars as they were recorded
    """
    if unequal(np.array([recorded]), np.array([own])):
        return Cause(CODE)
    windows = _reads(frame.model.plan, column, settled)
    causes = [_window_cause(frame, key, bars, settled) for key, bars in windows]
    for kind in (WARM_UP, LATE, CORRECTED):
        for cause in causes:
            if cause is not None and cause.kind == kind:
                return cause
    # The windows agree by now: a bar came after the set that needed it, and its place stays empty.
    return Cause(LATE)


def _reads(plan: FeaturePlan, column: int, settled: History) -> Iterator[tuple[SeriesKey, int]]:
    """Yield the series behind an id with the bars that it looks back."""
    for position in plan.factors[column]:
        key, term = plan.series(position), plan.terms[position]
        yield key, term.lookback
        if term.feature.needs_pair:
            yield pair_key(settled.markets, key), term.lookback


def _window_cause(frame: Frame, key: SeriesKey, bars: int, settled: History) -> Cause | None:
    ours = dict(sorted(frame.memory.bars.get(key, ()))[-bars:])
    theirs = dict(settled_rows(settled, key, 0, frame.stamp)[-bars:])
    if ours.keys() == theirs.keys():
        corrected = [end for end, values in ours.items() if theirs[end] != values]
        return Cause(CORRECTED, f"{frame.labels[key]} at {iso(min(corrected))}") if corrected else None
    first = min(ours, default=frame.stamp)
    if len(ours) < bars and {end for end in theirs if end >= first} == ours.keys():
        return Cause(WARM_UP)
    absent = {end for end in ours.keys() ^ theirs.keys() if end >= max(first, min(theirs, default=first))}
    return Cause(LATE, f"{frame.labels[key]} at {iso(min(absent))}" if absent else "")


class BarTally:
    """Recorded bars beside settled ones, series by series."""

    def __init__(self, settled: History) -> None:
        self._settled = {key: dict(settled_rows(settled, key, 0, _FOREVER)) for key in settled.bars}
        self._warm: dict[SeriesKey, dict[int, Values]] = {}
        self._seen: dict[SeriesKey, dict[int, Values]] = {key: {} for key in settled.bars}
        self._late: Counter[SeriesKey] = Counter()
        self._span: tuple[int, int] | None = None

    def begin(self, epoch: Epoch) -> None:
        """Take the bars that filled the windows of an epoch."""
        for key, kept in epoch.warmup.items():
            self._warm.setdefault(key, {}).update(kept)

    def take(self, release: Release) -> None:
        """Take the bars of a set."""
        self._span = (self._span[0] if self._span else release.stamp, release.stamp)
        for key, values in release.bars.items():
            self._seen.setdefault(key, {})[release.stamp] = values
        for late in release.late:
            self._seen.setdefault(late.key, {})[late.end] = late.values
            self._late[late.key] += 1

    def skews(self) -> tuple[SeriesSkew, ...]:
        """Return one row per series that has recorded or settled bars between the first set and the last."""
        return tuple(self._skew(key, seen) for key, seen in sorted(self._seen.items()))

    def _skew(self, key: SeriesKey, seen: Mapping[int, Values]) -> SeriesSkew:
        settled = self._settled.get(key, {})
        first, last = self._span or (0, -1)
        came = {**self._warm.get(key, {}), **seen}
        corrected = [end for end, values in came.items() if end in settled and settled[end] != values]
        missing = [end for end in settled if first <= end <= last and end not in came]
        unsettled = [end for end in seen if end not in settled]
        odd = min((*corrected, *missing, *unsettled), default=None)
        return SeriesSkew(
            series=str(key), bars=len(seen), late=self._late[key], corrected=len(corrected),
            missing=len(missing), unsettled=len(unsettled), first="" if odd is None else iso(odd),
        )  # fmt: skip
