"""CSCV against a slow and obvious version, and its limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers, sharpe
from research.statistics import pbo
from research.statistics.pbo import (
    BlockMoments,
    count_ranks,
    distinct_by,
    distinct_rows,
    overfitting,
    ratios_of_halves,
    sums_to_ratios,
)


def slow_logits(returns: Floats, blocks: int) -> list[float]:
    """CSCV as the paper tells it, on the returns themselves."""
    parts = np.array_split(np.arange(returns.shape[0]), blocks)
    out = []
    for half in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[block] for block in half])
        outside = np.setdiff1d(np.arange(returns.shape[0]), inside)
        best = int(np.argmax([sharpe(trial[inside]) for trial in returns.T]))
        there = [sharpe(trial[outside]) for trial in returns.T]
        rank = 1 + sum(value < there[best] for value in there)
        share = rank / (len(there) + 1)
        out.append(math.log(share / (1 - share)))
    return out


@pytest.mark.parametrize("periods", [60, 67])
def test_logits_equal_the_slow_version(periods: int) -> None:
    returns = np.random.default_rng(0).normal(0.02, 1.0, size=(periods, 7))
    found = overfitting(BlockMoments.of(returns, 6))
    np.testing.assert_allclose(found.logits, slow_logits(returns, 6), atol=1e-12)
    assert found.probability == np.mean(found.logits <= 0)
    assert found.standard_error == 0.0


def test_moments_say_as_much_as_returns() -> None:
    returns = np.random.default_rng(1).normal(size=(103, 5))
    moments = BlockMoments.of(returns, 4)
    assert moments.counts.tolist() == [26.0, 26.0, 26.0, 25.0]
    whole = moments.sharpe(np.ones((1, 4)))[0]
    np.testing.assert_allclose(whole, [sharpe(trial) for trial in returns.T], rtol=1e-12)
    again = BlockMoments(sums=moments.sums, squares=moments.squares, counts=moments.counts)
    np.testing.assert_array_equal(overfitting(again).logits, overfitting(moments).logits)


def test_small_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = BlockMoments.of(np.random.default_rng(2).normal(size=(80, 6)), 8)
    whole = overfitting(moments)
    monkeypatch.setattr(pbo, "_CELLS", 17)
    np.testing.assert_array_equal(overfitting(moments).logits, whole.logits)


def test_ties_share_their_ranks() -> None:
    one = np.random.default_rng(3).normal(size=(40, 1))
    found = overfitting(BlockMoments.of(np.repeat(one, 5, axis=1), 4))
    np.testing.assert_array_equal(found.logits, 0.0)
    assert found.probability == 1.0
    assert (found.chosen == 0).all()


def rounded(returns: Floats, blocks: int) -> BlockMoments:
    """Return the moments as they are kept: in single precision."""
    exact = BlockMoments.of(returns, blocks)
    sums, squares = (each.astype(np.float32).astype(np.float64) for each in (exact.sums, exact.squares))
    return BlockMoments(sums=sums, squares=squares, counts=exact.counts)


def test_ties_within_rounding_share_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial and the same one at another scale: only the digits that are not kept tell them apart."""
    one = np.random.default_rng(3).normal(0.05, 1.0, size=(160, 1))
    moments = rounded(one * np.array([1.0, 3.1, 0.37, 1.7, 0.11]), 8)
    np.testing.assert_array_equal(overfitting(moments).logits, 0.0)
    monkeypatch.setattr(pbo, "_NOISE", 0.0)
    assert np.abs(overfitting(moments).logits).max() > 0.5


def test_the_order_of_trials_does_not_matter() -> None:
    """Several that are equal in one half and differ in the other: neither comes first."""
    random = np.random.default_rng(8)
    returns = np.repeat(random.normal(0.1, 1.0, size=(80, 1)), 4, axis=1)
    returns[40:] += random.normal(size=(40, 4))
    found = [overfitting(BlockMoments.of(returns[:, order], 4)) for order in itertools.permutations(range(4))]
    for each in found[1:]:
        np.testing.assert_allclose(each.logits, found[0].logits, atol=1e-12)
        np.testing.assert_allclose(each.out_of_sample, found[0].out_of_sample, atol=1e-12)
    assert len({round(float(each), 9) for each in found[0].out_of_sample}) == 6


def test_trials_that_never_trade_have_the_ratio_zero() -> None:
    returns = np.random.default_rng(4).normal(size=(40, 3))
    returns[:, 1] = 0.0
    returns[:, 2] = 0.1
    found = BlockMoments.of(returns, 4).sharpe(np.ones((1, 4)))[0]
    assert found[1:].tolist() == [0.0, 0.0]
    idle = overfitting(BlockMoments.of(np.zeros((40, 3)), 4))
    assert idle.probability_of_loss == 0.0
    assert math.isnan(idle.slope)


def test_random_divisions_come_near_all_of_them() -> None:
    returns = np.random.default_rng(5).normal(size=(640, 30))
    moments = BlockMoments.of(returns, 16)
    complete = overfitting(moments)
    assert complete.logits.size == 12_870
    sampled = overfitting(moments, most=3000, seed=1)
    assert sampled.logits.size == 3000
    p = complete.probability
    assert sampled.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 3000), rel=0.1)
    assert abs(sampled.probability - p) < 4 * sampled.standard_error
    np.testing.assert_array_equal(sampled.logits, overfitting(moments, most=3000, seed=1).logits)
    assert not np.array_equal(sampled.logits, overfitting(moments, most=3000, seed=2).logits)


def test_performance_degrades_along_the_least_squares_line() -> None:
    found = overfitting(BlockMoments.of(np.random.default_rng(6).normal(size=(200, 10)), 8))
    slope, intercept = np.polyfit(found.in_sample, found.out_of_sample, 1)
    assert found.slope == pytest.approx(slope)
    assert found.intercept == pytest.approx(intercept)
    assert found.r_squared == pytest.approx(np.corrcoef(found.in_sample, found.out_of_sample)[0, 1] ** 2)
    # What one half has too much of, the other lacks: the choice costs.
    assert found.slope < 0
    assert found.probability_of_loss == np.mean(found.out_of_sample < 0)


def test_a_flat_line_explains_nothing() -> None:
    assert pbo._line(np.array([1.0, 2.0]), np.array([3.0, 3.0])) == (0.0, 3.0, 0.0)


def test_wrong_input_is_refused() -> None:
    good = BlockMoments.of(np.random.default_rng(0).normal(size=(20, 3)), 4)
    with pytest.raises(ConfigError, match="divisions 0"):
        overfitting(good, most=0)
    with pytest.raises(ConfigError, match="blocks 0"):
        BlockMoments.of(np.zeros((20, 3)), 0)
    with pytest.raises(DataError, match="5 blocks: need an even number"):
        BlockMoments.of(np.zeros((20, 3)), 5)
    with pytest.raises(DataError, match="2 blocks: need an even number"):
        BlockMoments.of(np.zeros((20, 3)), 2)
    with pytest.raises(DataError, match="1 trials"):
        BlockMoments.of(np.zeros((20, 1)), 4)
    with pytest.raises(DataError, match="3 rows: need at least 4"):
        BlockMoments.of(np.zeros((3, 2)), 4)
    with pytest.raises(DataError, match=r"need \(S, n\), \(S, n\) and \(S,\)"):
        BlockMoments(sums=good.sums, squares=good.squares[:2], counts=good.counts)
    with pytest.raises(DataError, match="every block needs a return"):
        BlockMoments(sums=good.sums, squares=good.squares, counts=np.array([5.0, 5.0, 0.0, 5.0]))


tables = arrays(np.int64, st.tuples(st.integers(1, 60), st.integers(1, 6)), elements=st.integers(-2, 2))


def assert_kinds(table: Integers) -> None:
    found = table[distinct_rows(table)]
    assert np.array_equal(np.unique(found, axis=0), np.unique(table, axis=0))
    assert len(found) == len(np.unique(found, axis=0))


@given(table=tables)
def test_a_row_of_each_kind(table: Integers) -> None:
    assert_kinds(table)


@given(table=tables)
def test_the_order_of_the_rows_does_not_matter(table: Integers) -> None:
    narrow = table[:, :4]
    backward = np.ascontiguousarray(narrow[::-1])
    assert np.array_equal(narrow[distinct_rows(narrow)], backward[distinct_rows(backward)])


def test_rows_that_share_a_digest_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbo, "_digests", lambda numbers: np.zeros(len(numbers), dtype=np.uint64))
    assert_kinds(np.random.default_rng(0).integers(0, 3, (50, 3)))


@given(table=tables)
def test_a_row_of_each_kind_by_keys(table: Integers) -> None:
    """Keys say which rows may be copies; where they say too much, the rows themselves decide."""
    for keys in (table, table.sum(axis=1, keepdims=True), np.zeros_like(table[:, :1])):
        found = table[distinct_by(keys, table)]
        assert np.array_equal(np.unique(found, axis=0), np.unique(table, axis=0))
        assert len(found) == len(np.unique(found, axis=0))


@pytest.mark.parametrize("blocks", [4, 6, 14, 16])
def test_halves_are_the_sums_of_their_blocks_in_order(blocks: int) -> None:
    random = np.random.default_rng(blocks)
    moments = BlockMoments.of(random.normal(0.1, 1.0, size=(200, 700)), blocks)
    halves = pbo._random_halves(blocks, 9, 1)
    inside, outside = np.empty((2, 9, 700))
    ratios_of_halves(halves, moments.sums, moments.squares, moments.counts, inside, outside)
    for chosen, found in ((halves, inside), (1.0 - halves, outside)):
        for row, ratios in zip(chosen, found, strict=True):
            expected, squares, count = np.zeros(700), np.zeros(700), 0.0
            for block in np.flatnonzero(row):
                expected += moments.sums[block]
                squares += moments.squares[block]
                count += moments.counts[block]
            sums_to_ratios(expected, squares, count)
            assert ratios.tobytes() == expected.tobytes()
        np.testing.assert_allclose(found, moments.sharpe(chosen), rtol=1e-9, atol=1e-12)
    # The control: another order of more than two blocks is another rounding.
    backward = moments.sums[::-1].copy(), moments.squares[::-1].copy(), moments.counts[::-1].copy()
    ratios_of_halves(halves[:, ::-1].copy(), *backward, outside, np.empty_like(inside))
    assert (outside.tobytes() != inside.tobytes()) == (blocks > 4)


def test_ranks_are_counted_as_by_comparison() -> None:
    random = np.random.default_rng(1)
    inside, outside = random.integers(0, 9, (2, 5, 400)) / 8.0
    best, reached = inside.max(axis=1), outside[:, 7]
    counts = np.empty((5, 3), dtype=np.int64)
    count_ranks(inside, outside, best, reached, 0.126, counts)
    assert counts[:, 0].tolist() == (outside < reached[:, None] - 0.126).sum(axis=1).tolist()
    assert counts[:, 1].tolist() == (outside <= reached[:, None] + 0.126).sum(axis=1).tolist()
    assert counts[:, 2].tolist() == (inside >= best[:, None] - 0.126).sum(axis=1).tolist()


def test_more_rows_than_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbo, "_ROWS", 7)
    assert_kinds(np.random.default_rng(0).integers(0, 2, (50, 3)))
