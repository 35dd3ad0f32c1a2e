"""Ranges of dates: where variants are trained, where one is chosen, and what stays sealed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Self

import numpy as np
from pydantic import model_validator

from lockstep.errors import ExperimentError
from lockstep.market.dates import DateRange
from lockstep.settings import Settings
from research.splits.walk_forward import WalkForward

_TRAINING_SHARE = 2 / 3


class Split(Settings):
    """Where variants are trained, where one of them is chosen, and the hold-out that promotion opens once.

    The three follow each other and share no day.
    """

    train: DateRange
    validation: DateRange
    holdout: DateRange | None = None

    @model_validator(mode="after")
    def _apart_and_in_order(self) -> Self:
        named = [("train", self.train), ("test (validation)", self.validation)]
        named += [("hold-out", self.holdout)] if self.holdout else []
        for (first_name, first), (next_name, following) in itertools.pairwise(named):
            if first.overlaps(following):
                raise ValueError(
                    f"{first_name} {first} and {next_name} {following} overlap: what is chosen on seen days "
                    "proves nothing; start the second after the end of the first"
                )
            if following.start < first.start:
                raise ValueError(f"{next_name} {following} lies before {first_name} {first}: swap them")
        return self

    @property
    def searched(self) -> DateRange:
        """From the first day of training to the last of validation."""
        return DateRange(start=self.train.start, end=self.validation.end)


class TrainTestWindow(Settings):
    """One pair of ranges: variants are trained on the one and tested on the other."""

    train: DateRange
    test: DateRange


def windows(
    split: Split, walk_forward: str | None = None, *, anchored: bool = False
) -> tuple[TrainTestWindow, ...]:
    """Return the one window of a split, or those of a walk-forward from its first to its last searched day.

    `walk_forward` is spelled train/test/step, such as `4y/1y/1y`, or `365/90/30` in days. ExperimentError
    for spans in bars (a window is a range of dates); ConfigError for another spelling or too few days.
    """
    if walk_forward is None:
        return (TrainTestWindow(train=split.train, test=split.validation),)
    forward = WalkForward.parse(walk_forward, anchored=anchored)
    if forward.train.in_bars:
        raise ExperimentError(f"walk-forward {walk_forward!r}: windows of a search are dates; use y, m or d")
    searched = split.searched
    found = forward.windows(_midnight(searched.start), _midnight(searched.end + timedelta(days=1)))
    return tuple(
        TrainTestWindow(
            train=_dates(each.train_start, each.test_start), test=_dates(each.test_start, each.test_end)
        )
        for each in found
    )


def training_end(first: date, last: date) -> date:
    """Return the last day that a search trains on where no dates are given: two thirds of the way.

    >>> training_end(date(2010, 1, 1), date(2012, 12, 31)).isoformat()
    '2011-12-31'
    """
    return first + timedelta(days=int((last - first).days * _TRAINING_SHARE) - 1)


def consecutive(found: Sequence[TrainTestWindow]) -> list[tuple[int, str]]:
    """Return (window, part) pairs whose ranges follow each other without sharing a day.

    The first training range and every test range after it: the history over which a search chose.
    """
    ranges = [(0, "train")]
    covered = found[0].train.end
    for number, window in enumerate(found):
        if window.test.start > covered:
            ranges.append((number, "test"))
            covered = window.test.end
    return ranges


def _midnight(day: date) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))


def _dates(first: int, stop: int) -> DateRange:
    """Return the dates of [first, stop), UTC nanoseconds."""
    start, end = np.array([first, stop - 1], dtype="datetime64[ns]").astype("datetime64[D]").tolist()
    return DateRange(start=start, end=end)
