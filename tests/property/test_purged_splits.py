"""Nothing that trains has seen the test: for any label intervals, groups and embargo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Integers
from research.splits.labels import Labels, Mask
from research.splits.purged import CombinatorialPurgedCV, PurgedKFold
from research.splits.walk_forward import WalkForward, WindowLength

Splitter = PurgedKFold | CombinatorialPurgedCV


@st.composite
def labels(draw: st.DrawFn) -> tuple[Integers, Integers]:
    size = draw(st.integers(8, 40))
    gaps = draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))
    lengths = draw(st.lists(st.integers(0, 25), min_size=size, max_size=size))
    start = np.cumsum(np.array(gaps, dtype=np.int64)) + draw(st.integers(-50, 50))
    return start, start + np.array(lengths, dtype=np.int64)


def seen(start: Integers, end: Integers, test: Integers, embargo: int) -> Mask:
    """Which samples share a moment with any test label, extended by the embargo: pair by pair."""
    out = np.zeros(start.size, dtype=np.bool_)
    for sample in range(start.size):
        for other in test:
            out[sample] |= start[sample] <= end[other] + embargo and end[sample] >= start[other]
    return out


def assert_purged(splitter: Splitter, start: Integers, end: Integers, embargo: int) -> None:
    """Training and purged samples are exactly those that did not and did see the test."""
    tested = [np.concatenate([splitter.groups[each] for each in group]) for group in splitter.test_groups()]
    splits = splitter.split(np.empty((start.size, 1)))
    for expected in tested:
        unseen = ~seen(start, end, expected, embargo)
        unseen[expected] = False
        if not unseen.any():
            with pytest.raises(DataError, match="no training sample is left"):
                next(splits)
            return
        train, test = next(splits)
        np.testing.assert_array_equal(test, expected)
        np.testing.assert_array_equal(train, np.flatnonzero(unseen))


@given(labels(), st.integers(2, 8), st.integers(0, 20))
def test_no_training_label_overlaps_a_test_label_or_its_embargo(
    intervals: tuple[Integers, Integers], groups: int, embargo: int
) -> None:
    start, end = intervals
    assert_purged(PurgedKFold(groups, start=start, end=end, embargo=embargo), start, end, embargo)


@given(labels(), st.sampled_from([(3, 2), (4, 2), (5, 3), (6, 2)]), st.integers(0, 20))
def test_the_same_holds_for_every_combination(
    intervals: tuple[Integers, Integers], shape: tuple[int, int], embargo: int
) -> None:
    start, end = intervals
    splitter = CombinatorialPurgedCV(*shape, start=start, end=end, embargo=embargo)
    assert_purged(splitter, start, end, embargo)


@given(labels(), st.integers(2, 8))
def test_every_sample_is_tested_once(intervals: tuple[Integers, Integers], groups: int) -> None:
    start, end = intervals
    folds = PurgedKFold(groups, start=start, end=end).groups
    np.testing.assert_array_equal(np.concatenate(folds), np.arange(start.size))


@given(
    labels(), st.integers(2, 10), st.integers(1, 8), st.integers(1, 8), st.booleans(), st.sampled_from("bd")
)
def test_walk_forward_trains_on_nothing_known_after_the_test_begins(
    intervals: tuple[Integers, Integers], train: int, test: int, step: int, anchored: bool, unit: str
) -> None:
    start, end = intervals
    scale = 1 if unit == "b" else 86_400_000_000_000 // 2
    spans = [WindowLength(length, unit) for length in (train, test, step)]
    walk = WalkForward(train=spans[0], test=spans[1], step=spans[2], anchored=anchored)
    walk = walk.on(start * scale, end * scale)
    try:
        splits = list(walk.split())
    except (ConfigError, DataError):
        return
    for training, testing in splits:
        assert end[training].max() < start[testing].min()
        assert training.max() < testing.min()


def _ignores_embargo(self: Splitter, tested: tuple[int, ...]) -> Mask:
    kept = np.ones(self.labels.size, dtype=np.bool_)
    for group in tested:
        members = self.groups[group]
        kept &= ~self.labels.overlap(self.labels.start[members[0]], self.labels.end[members].max())
    return kept


def _looks_at_the_last_end_only(self: Splitter, tested: tuple[int, ...]) -> Mask:
    kept = np.ones(self.labels.size, dtype=np.bool_)
    for group in tested:
        members = self.groups[group]
        high = self.labels.end[members[-1]] + self.embargo
        kept &= ~self.labels.overlap(self.labels.start[members[0]], high)
    return kept


def _drops_test_samples_only(self: Splitter, tested: tuple[int, ...]) -> Mask:
    kept = np.ones(self.labels.size, dtype=np.bool_)
    for group in tested:
        kept[self.groups[group]] = False
    return kept


def _purges_too_much(self: Splitter, tested: tuple[int, ...]) -> Mask:
    kept = np.ones(self.labels.size, dtype=np.bool_)
    low, high = self.groups[tested[0]][0], self.groups[tested[-1]][-1]
    return kept & ~self.labels.overlap(
        self.labels.start[low], self.labels.end[: high + 1].max() + self.embargo
    )


@pytest.mark.parametrize(
    "mutant",
    [_ignores_embargo, _looks_at_the_last_end_only, _drops_test_samples_only, _purges_too_much],
)
def test_the_check_catches_a_wrong_purge(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., Mask]
) -> None:
    start = np.arange(40, dtype=np.int64)
    end = start + np.where(start % 7 == 4, 9, 2)
    splitter = CombinatorialPurgedCV(5, 2, start=start, end=end, embargo=3)
    assert_purged(splitter, start, end, 3)
    monkeypatch.setattr(CombinatorialPurgedCV, "_kept", mutant)
    with pytest.raises(AssertionError):
        assert_purged(splitter, start, end, 3)


def test_overlap_counts_both_ends() -> None:
    intervals = Labels.of([0, 1, 2, 3], [0, 2, 2, 5])
    np.testing.assert_array_equal(intervals.overlap(2, 3), [False, True, True, True])
