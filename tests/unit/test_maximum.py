"""The maximum of all trials: sketches by date, draws without an order, p-values, step-down and display."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from lockstep.errors import ConfigError, DataError
from research.statistics import maximum
from research.statistics.maximum import (
    DRAWS,
    SKETCH,
    RunningMaximum,
    centred,
    date_hash,
    effective,
    joined,
    p_value,
    sketch_of,
    survivors,
    z_of,
    z_of_blocks,
    z_of_sums,
)
from research.statistics.sharpe import SharpeSample

Floats = NDArray[np.float64]

DAYS = np.arange("2001-01-01", "2011-01-01", dtype="M8[D]")


def drawn(*sketches: Floats) -> Floats:
    running = RunningMaximum()
    for each in sketches:
        running.add(each)
    return running.draws


def trials(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, SKETCH))


class TestSketch:
    def test_place_and_sign_depend_on_the_date_alone(self) -> None:
        bucket, sign = date_hash(DAYS)
        later, again = date_hash(DAYS[700:])
        assert np.array_equal(bucket[700:], later)
        assert np.array_equal(sign[700:], again)
        assert np.array_equal(date_hash(DAYS.astype("M8[ns]"))[0], bucket)

    def test_places_and_signs_are_spread_evenly_and_independently(self) -> None:
        days = np.arange("1950-01-01", "2050-01-01", dtype="M8[D]")
        bucket, sign = date_hash(days)
        expected = days.size / SKETCH
        counts = np.bincount(bucket, minlength=SKETCH)
        # Chi-square with 255 degrees of freedom: mean 255, deviation 22.6.
        assert 255 - 4 * 22.6 < ((counts - expected) ** 2 / expected).sum() < 255 + 4 * 22.6
        assert abs(sign.mean()) < 4 / math.sqrt(days.size)
        assert abs((sign[1:] * sign[:-1]).mean()) < 4 / math.sqrt(days.size)
        assert abs((bucket[1:] == bucket[:-1]).mean() - 1 / SKETCH) < 4 * math.sqrt(1 / SKETCH / days.size)

    def test_days_of_a_block_share_them(self) -> None:
        bucket, sign = date_hash(DAYS, block=7)
        week = DAYS.astype(int) // 7
        assert np.unique(np.column_stack((week, bucket, sign)), axis=0).shape[0] == np.unique(week).size
        with pytest.raises(ConfigError, match="block of 0 days: must be at least 1"):
            date_hash(DAYS, block=0)

    def test_products_estimate_correlations_with_the_stated_error(self) -> None:
        random = np.random.default_rng(4)
        returns = random.standard_normal((60, DAYS.size)) + random.standard_normal(DAYS.size)
        found = sketch_of(returns, DAYS)
        lengths = np.sqrt((returns**2).sum(axis=1))
        error = ((found @ found.T - returns @ returns.T) / np.outer(lengths, lengths))[np.triu_indices(60, 1)]
        assert abs(error.mean()) < 0.05
        assert 0.6 * math.sqrt(1 / SKETCH) < error.std() < math.sqrt(2 / SKETCH)

    def test_ranges_add_up_and_are_centred_together(self) -> None:
        returns = np.random.default_rng(5).normal(0.3, 1.0, (4, DAYS.size))
        parts = [slice(0, 900), slice(900, 2_000), slice(2_000, DAYS.size)]
        raw = sum(sketch_of(returns[:, part], DAYS[part]) for part in parts)
        ones = sum(sketch_of(np.ones((1, DAYS[part].size)), DAYS[part])[0] for part in parts)
        expected = sketch_of(returns - returns.mean(axis=1, keepdims=True), DAYS)
        assert centred(raw, returns.sum(axis=1), DAYS.size, ones) == pytest.approx(expected, abs=1e-9)

    def test_what_rounding_leaves_is_nothing(self) -> None:
        same = np.full((2, DAYS.size), 0.1)
        same[1, 5] += 1e-6
        ones = sketch_of(np.ones((1, DAYS.size)), DAYS)[0]
        found = centred(sketch_of(same, DAYS), same.sum(axis=1), DAYS.size, ones)
        assert not found[0].any()
        assert found[1].any(), "a small return is not rounding"

    def test_rounding_is_told_from_small_returns_as_by_the_whole_rule(self) -> None:
        """Squares of what was taken are worked out for few rows: the rule is the same as for all."""
        random = np.random.default_rng(6)
        ones = random.standard_normal(SKETCH)
        sums = random.standard_normal(3_000)
        size = 10.0 ** random.uniform(-13.0, -11.0, (3_000, 1))
        raw = (
            sums[:, None] * ones + size * np.linalg.norm(ones) * random.standard_normal((3_000, SKETCH)) / 16
        )
        taken = sums[:, None] * ones
        left = raw - taken
        noise = (left**2).sum(axis=1) <= 1e-24 * (taken**2).sum(axis=1)
        found = centred(raw, sums, 1.0, ones)
        assert 100 < noise.sum() < 2_900
        assert np.array_equal(~found.any(axis=1), noise)
        assert found[~noise].tobytes() == left[~noise].tobytes()


class TestRunningMaximum:
    def test_neither_order_nor_division_nor_threads_change_a_bit(self) -> None:
        rows = trials(1_100)
        whole = drawn(rows)
        order = np.random.default_rng(1).permutation(len(rows))
        assert drawn(rows[order]).tobytes() == whole.tobytes()
        assert drawn(*np.array_split(rows, 41)).tobytes() == whole.tobytes()
        assert drawn(*(rows[[number]] for number in range(40)), rows[40:]).tobytes() == whole.tobytes()
        assert drawn(np.asfortranarray(rows)).tobytes() == whole.tobytes()
        for threads in (1, 2, 3):
            with threadpool_limits(threads):
                assert drawn(rows).tobytes() == whole.tobytes()

    def test_a_product_of_any_shape_would(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Negative control: rows one by one are multiplied by another routine."""
        rows = trials(300)
        whole = drawn(rows)
        monkeypatch.setattr(maximum, "_ROWS", 1)
        assert drawn(rows).tobytes() != whole.tobytes()

    def test_it_is_the_greatest_product_of_directions(self) -> None:
        rows = trials(700)
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        expected = (units @ maximum._directions()).max(axis=0)
        assert drawn(rows) == pytest.approx(np.maximum(expected, 0.0), abs=1e-12)

    def test_trials_that_single_precision_cannot_tell_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is left out as too small is never the greatest, of near copies either."""
        random = np.random.default_rng(3)
        rows = trials(8)[random.integers(0, 8, 2_000)]
        rows *= 1.0 + 1e-7 * random.standard_normal(rows.shape)
        units = [maximum._at_length_one(rows[first : first + 128]) for first in range(0, len(rows), 128)]
        padded = [np.concatenate((each, np.zeros((128 - len(each), SKETCH)))) for each in units]
        expected = np.max([(each @ maximum._directions()).max(axis=0) for each in padded], axis=0)
        assert drawn(rows).tobytes() == np.maximum(expected, 0.0).tobytes()
        # The control: without any doubt about it, single precision does leave out the greatest.
        monkeypatch.setattr(maximum, "_doubt", lambda: np.zeros(DRAWS, dtype=np.float32))
        assert drawn(rows).tobytes() != np.maximum(expected, 0.0).tobytes()

    def test_the_stated_doubt_covers_single_precision(self) -> None:
        rows = maximum._at_length_one(trials(2_000, 7))
        exact = rows @ maximum._directions()
        rough = rows.astype(np.float32) @ maximum._rough_directions()
        error = np.abs(rough - exact).max(axis=0)
        assert (2.0 * error < maximum._doubt()).all()
        assert (maximum._doubt() < 1e-3).all(), "or nothing would be left out"

    def test_scale_copies_and_idle_trials_change_nothing(self) -> None:
        rows = trials(50)
        whole = drawn(rows)
        assert drawn(rows * 2.0**-300, rows * 2.0**300, rows).tobytes() == whole.tobytes()
        assert drawn(np.zeros((9, SKETCH)), rows, np.zeros((600, SKETCH))).tobytes() == whole.tobytes()
        assert drawn(np.zeros((9, SKETCH))).max() == 0.0
        assert drawn(np.zeros((0, SKETCH))).max() == 0.0

    def test_trials_are_counted_and_holes_refused(self) -> None:
        running = RunningMaximum()
        running.add(trials(5))
        running.add(trials(7))
        assert running.trials == 12
        with pytest.raises(DataError, match=r"sketches\[0, 0\]: nan"):
            running.add(np.full((1, SKETCH), np.nan))

    def test_searches_join_as_if_they_were_one(self) -> None:
        first, second = trials(40, 1), trials(60, 2)
        both = drawn(first, second)
        assert joined(drawn(first), drawn(second)).tobytes() == both.tobytes()
        assert joined(drawn(second), drawn(first), drawn(first)).tobytes() == both.tobytes()
        assert not joined().any()
        with pytest.raises(DataError, match=r"draws of shape \(3,\): need \(1000,\)"):
            joined(np.zeros(3))


class TestPValue:
    def test_it_counts_the_draws_at_or_above(self) -> None:
        draws = np.arange(DRAWS) / 100.0
        assert p_value(9.0, draws) == (1 + 100) / 1001
        assert p_value(-1.0, draws) == 1.0
        assert p_value(99.0, draws) == 1 / 1001
        assert math.isnan(p_value(math.nan, draws))

    def test_trials_without_a_sketch_are_taken_as_independent(self) -> None:
        """Known exactly: m + 1 independent trials reach z with probability 1 - Phi(z)^(m + 1)."""
        draws, z = drawn(trials(1)), 2.4
        for more in (1, 10, 1_000):
            exact = 1.0 - NormalDist().cdf(z) ** (more + 1)
            assert p_value(z, draws, unsketched=more) == pytest.approx(exact, abs=0.012)
        assert p_value(z, draws, unsketched=10) > p_value(z, draws)
        with pytest.raises(ConfigError, match="unsketched trials -1: must not be negative"):
            p_value(z, draws, unsketched=-1)

    def test_ratio_in_standard_errors(self) -> None:
        sample = SharpeSample(ratio=0.1, periods=401, skew=-0.5, kurtosis=6.0)
        unit = 1 + 0.5 * 0.1 + 5 / 4 * 0.1**2
        assert z_of(sample) == pytest.approx(0.1 / math.sqrt(unit / 400))
        assert math.isnan(z_of(SharpeSample(ratio=math.nan, periods=9)))

    def test_ratio_over_blocks(self) -> None:
        returns = np.random.default_rng(3).normal(0.1, 1.0, (3, DAYS.size))
        returns[2] = 0.0
        one = z_of_blocks(returns, DAYS, 1)
        plain = returns[:2].mean(axis=1) / returns[:2].std(axis=1, ddof=1) * math.sqrt(DAYS.size)
        assert one[:2] == pytest.approx(plain, rel=0.01), "of 3,652 blocks, nearly normal"
        assert z_of_blocks(-returns, DAYS, 1)[:2] == pytest.approx(-one[:2], rel=1e-12)
        assert math.isnan(one[2])
        week = DAYS.astype(int) // 7
        rest = returns[0] - returns[0].mean()
        sums = np.array([rest[week == number].sum() for number in np.unique(week)])
        scale = math.sqrt((sums**2).sum() * sums.size / (sums.size - 1))
        same = norm.isf(student.sf(returns[0].sum() / scale, sums.size - 1))
        assert z_of_blocks(returns, DAYS, 7)[0] == pytest.approx(same, rel=1e-9)


class TestSurvivors:
    def test_those_that_pass_make_room_for_the_rest(self) -> None:
        """Many trials with skill hide one that passes only when they are gone."""
        skilled, quiet = trials(3_000, 1), trials(20, 2)
        rows = np.concatenate((skilled, quiet))
        z = np.concatenate((np.full(3_000, 6.0), [3.5, math.nan], np.full(18, 1.0)))
        draws = drawn(rows)
        assert p_value(3.5, draws) > 0.05
        assert p_value(3.5, drawn(quiet)) <= 0.05

        def pieces() -> list[Floats]:
            return np.array_split(rows, 7)

        assert survivors(z, pieces, draws).tolist() == list(range(3_001))
        assert survivors(z, pieces, draws, size=0.0).tolist() == []
        assert survivors(np.full(20, 9.0), lambda: [quiet], drawn(quiet)).size == 20

    def test_first_step_is_the_test_of_the_maximum(self) -> None:
        rows = trials(200)
        draws = drawn(rows)
        z = np.linspace(2.0, 4.5, 200)
        passed = survivors(z, lambda: [rows], draws)
        first = {number for number in range(200) if p_value(float(z[number]), draws) <= 0.05}
        assert first
        assert first <= set(passed.tolist())


class TestEffective:
    @pytest.mark.parametrize("count", [1, 2, 7, 40, 400])
    def test_independent_trials_are_counted(self, count: int) -> None:
        rows = np.linalg.qr(trials(SKETCH).T)[0].T[:count] if count <= SKETCH else trials(count)
        assert effective(drawn(rows)) == pytest.approx(count, rel=0.1)

    def test_copies_are_one_and_nothing_is_one(self) -> None:
        assert effective(drawn(np.repeat(trials(1), 500, axis=0))) == pytest.approx(1.0, abs=0.05)
        assert effective(np.zeros(DRAWS)) == 1.0


def test_a_few_lucky_trades_are_no_certainty() -> None:
    """Nine trades in three years, without skill: the best of 20,000 is no further out than normal ones are.

    The control is the error at the observed ratio alone, which their skew takes to nothing.
    """
    random = np.random.default_rng(1)
    trials, sessions, trades = 20_000, 756, 9
    gains = 0.01 * random.standard_t(4, (trials, trades))
    sums = np.stack([(gains**power).sum(axis=1) for power in (1, 2, 3, 4)], axis=1)
    least = float(norm.ppf(0.999 ** (1 / trials)))
    assert np.nanmax(z_of_sums(sums, sessions)) < least
    plain = []
    for each in gains[np.argsort(sums[:, 0])[-50:]]:
        sample = SharpeSample.of(np.concatenate([each, np.zeros(sessions - trades)]))
        plain.append(sample.ratio / sample.standard_error)
        assert z_of(sample) < least
    assert max(plain) > least
