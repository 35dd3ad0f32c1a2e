"""Lengths of training and test windows: bars, days, months or years.

Walk-forward: train on the past, test on what follows, step ahead, repeat.

Source: Pardo (2008), The Evaluation and Optimization of Trading Strategies, chapter 11; the purge of open
labels at the boundary: López de Prado (2018), Advances in Financial Machine Learning, section 7.4.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Integers
from research.splits.labels import Labels

DAY = 86_400_000_000_000
_SPELLING = re.compile(r"(\d+)\s*([bdmy]?)")
_MONTHS = {"m": 1, "y": 12}


@dataclass(frozen=True)
class WindowLength:
    """A positive length in one unit: `b` bars, `d` days of 24 hours, `m` or `y` calendar months or years."""

    length: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the span spelled as `4y`, `6m`, `90d`, `250b`, or `90` for days; ConfigError otherwise."""
        found = _SPELLING.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0:
            raise ConfigError(f"span {text!r}: need a positive number and b, d, m or y, such as 4y or 90d")
        return cls(int(found[1]), found[2] or "d")

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"

    @property
    def in_bars(self) -> bool:
        """Whether the span counts bars, not time."""
        return self.unit == "b"

    def after(self, position: int, times: int = 1) -> int:
        """Return `position` + `times` spans: a bar number for bars, else UTC nanoseconds.

        Calendar spans keep the day of the month, or take the month's last day where it is shorter; many
        years are added at once, so that a 29 February does not move all later windows.
        """
        count = self.length * times
        if self.in_bars:
            return position + count
        if self.unit == "d":
            return position + count * DAY
        return _plus_months(position, count * _MONTHS[self.unit])


def _plus_months(stamp: int, months: int) -> int:
    start = _month_start(stamp)
    days, time_of_day = divmod(stamp - _nanoseconds(start), DAY)
    target = start + np.timedelta64(months, "M")
    last_day = (_nanoseconds(target + np.timedelta64(1, "M")) - _nanoseconds(target)) // DAY - 1
    return _nanoseconds(target) + min(days, last_day) * DAY + time_of_day


def _month_start(stamp: int) -> np.datetime64:
    month: np.datetime64 = np.datetime64(stamp, "ns").astype("datetime64[M]")
    return month


def _nanoseconds(month: np.datetime64) -> int:
    return int(month.astype("datetime64[ns]").astype(np.int64))


Split = tuple[Integers, Integers]


@dataclass(frozen=True, kw_only=True)
class FoldWindow:
    """One step: train on [train_start, test_start), test on [test_start, test_end).

    UTC nanoseconds, or bar numbers where the spans count bars.
    """

    train_start: int
    test_start: int
    test_end: int


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkForward:
    """A rolling or anchored walk-forward over ordered samples. Follows scikit-learn's splitters.

    train, test, step   spans, all in bars or all in calendar units. A step below the test span makes test
                        windows that overlap: their results must not be strung together
    anchored            the training window keeps its start and grows, instead of rolling
    least               (0, 1]: a last test window that the data covers by less than this part is dropped,
                        any other is cut where the data ends
    labels              what `split` divides; needed for calendar spans, see `on`

    ConfigError where units are mixed or `least` is outside its range.
    """

    train: WindowLength
    test: WindowLength
    step: WindowLength
    anchored: bool = False
    least: float = 0.5
    labels: Labels | None = None

    def __post_init__(self) -> None:
        if len({span.in_bars for span in (self.train, self.test, self.step)}) > 1:
            raise ConfigError(f"walk-forward {self}: bars and calendar units do not mix; use one kind")
        if not 0 < self.least <= 1:
            raise ConfigError(f"walk-forward {self}: least {self.least}: must be above 0 and at most 1")

    @classmethod
    def parse(cls, text: str, *, anchored: bool = False) -> Self:
        """Return the walk-forward spelled train/test/step, such as `4y/1y/1y` or `365/90/30` (days).

        Without a step it moves on by the test span. ConfigError for any other spelling.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3):
            raise ConfigError(f"walk-forward {text!r}: need train/test/step, such as 4y/1y/1y or 365/90/30")
        spans = [WindowLength.parse(part) for part in parts]
        return cls(train=spans[0], test=spans[1], step=spans[-1], anchored=anchored)

    def __str__(self) -> str:
        return f"{self.train}/{self.test}/{self.step}{' anchored' if self.anchored else ''}"

    def on(self, start: Any, end: Any = None) -> Self:
        """Return this walk-forward bound to samples with label intervals [start, end], see `Labels`.

        Calendar spans take both as UTC nanoseconds (or datetime64).
        """
        return replace(self, labels=Labels.of(start, end))

    def windows(self, first: int, stop: int) -> list[FoldWindow]:
        """Return the windows within [first, stop), earliest first.

        `first` and `stop` are UTC nanoseconds, or bar numbers; dates of a sweep go in here. ConfigError where
        not even one training and one test window fit.
        """
        found = list(self._windows(first, stop))
        if not found:
            raise ConfigError(
                f"walk-forward {self}: data from {self._spelled(first)} to {self._spelled(stop)} is too "
                "short for one training and one test window; shorten the spans"
            )
        return found

    def _windows(self, first: int, stop: int) -> Iterator[FoldWindow]:
        number = 0
        while True:
            start = self.step.after(first, number)
            test_start = self.train.after(start)
            test_end = self.test.after(test_start)
            if stop - test_start < self.least * (test_end - test_start):
                return
            train_start = first if self.anchored else start
            yield FoldWindow(train_start=train_start, test_start=test_start, test_end=min(test_end, stop))
            number += 1

    def _spelled(self, position: int) -> str:
        return f"bar {position}" if self.train.in_bars else str(np.datetime64(position, "ns").astype("M8[D]"))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of windows over the labels, or over the rows of `X` where spans count bars."""
        return len(self.windows(*self._extent(X)))

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield (train, test) for each window: positions of samples, int64, rising.

        Training samples whose label is not known before the first test sample starts are purged. `X` is read
        for its length only. DataError where a window holds no sample to train or to test on, or where `X`
        and the labels differ in length; ConfigError as in `windows`.
        """
        extent = self._extent(X)
        labels = self.labels or Labels.of(np.arange(extent[1], dtype=np.int64))
        place = np.arange(labels.size, dtype=np.int64) if self.train.in_bars else labels.start
        for window in self.windows(*extent):
            test = np.flatnonzero((place >= window.test_start) & (place < window.test_end))
            train = np.flatnonzero((place >= window.train_start) & (place < window.test_start))
            if test.size:
                train = train[labels.end[train] < labels.start[test[0]]]
            if not train.size or not test.size:
                raise DataError(
                    f"walk-forward {self}: test from {self._spelled(window.test_start)}: {train.size} "
                    f"training and {test.size} test samples: need at least one each; widen the spans"
                )
            yield train, test

    def _extent(self, X: Any) -> tuple[int, int]:
        """Return (first, stop). Calendar windows begin at midnight UTC of the first sample's day."""
        if self.labels is not None:
            self.labels.require_length(X)
        if self.train.in_bars:
            return 0, self._rows(X)
        if self.labels is None or not self.labels.size:
            raise ConfigError(
                f"walk-forward {self}: calendar spans need stamps; bind them with .on(start, end)"
            )
        start = self.labels.start
        return int(start[0]) // DAY * DAY, (int(start[-1]) // DAY + 1) * DAY

    def _rows(self, X: Any) -> int:
        if self.labels is not None:
            return self.labels.size
        if X is None:
            raise ConfigError(f"walk-forward {self}: nothing to split; pass X or bind labels with .on(...)")
        return len(X)
