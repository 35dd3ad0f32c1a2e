"""The gate, check by check, and what it lets through: noise, families of noise, a planted edge."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from lockstep.errors import ConfigError
from lockstep.metrics import Floats, sharpe
from research.statistics.gate import GateEvidence, GateLimits, GateVerdict, hold_out_p_limit, judge
from research.statistics.maximum import RunningMaximum, p_value, sketch_of, z_of
from research.statistics.pbo import BlockMoments, overfitting
from research.statistics.sharpe import SharpeSample

GOOD: dict[str, Any] = {
    "train_sharpe": 1.5, "test_sharpe": 1.2, "trials": 1_100, "variants": 100, "pbo": 0.1, "p_value": 0.03,
}  # fmt: skip
YEAR = 252.0


def outcome(limits: GateLimits | None = None, **changed: Any) -> list[str]:
    return [check.name for check in judge(GateEvidence(**(GOOD | changed)), limits).refusals]


def test_good_evidence_passes_every_check() -> None:
    verdict = judge(GateEvidence(**GOOD))
    assert verdict.passed
    assert [check.name for check in verdict.checks] == [
        "Sharpe gap", "Sharpe ratio kept", "test Sharpe", "PBO", "maximum test", "fresh evidence",
    ]  # fmt: skip
    assert str(verdict) == "passed all 5 checks"
    assert all(check.sentence.isprintable() and check.sentence for check in verdict.checks)


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"train_sharpe": 4.0, "test_sharpe": 3.0}, []),
        ({"train_sharpe": 4.0, "test_sharpe": 2.99}, ["Sharpe gap"]),
        ({"train_sharpe": 1.0, "test_sharpe": 0.7}, []),
        ({"train_sharpe": 1.0, "test_sharpe": 0.69}, ["Sharpe ratio kept"]),
        ({"train_sharpe": 1.0, "test_sharpe": 2.5}, []),
        ({"train_sharpe": -0.2, "test_sharpe": 0.1}, []),
        ({"train_sharpe": 0.0, "test_sharpe": 0.0}, ["test Sharpe"]),
        ({"train_sharpe": -0.2, "test_sharpe": -0.1}, ["test Sharpe"]),
        ({"train_sharpe": 0.5, "test_sharpe": -0.1}, ["Sharpe ratio kept", "test Sharpe"]),
        ({"pbo": 0.49}, []),
        ({"pbo": 0.50}, ["PBO"]),
        ({"p_value": 0.05}, []),
        ({"p_value": 0.0501}, ["maximum test"]),
        ({"dsr": 0.0}, []),
        ({"pbo": None}, ["PBO"]),
        ({"pbo": None, "variants": 1}, ["PBO"]),
        ({"pbo": None, "variants": 1, "trials": 1}, []),
        ({"pbo": math.nan}, ["PBO"]),
        ({"p_value": math.nan}, ["maximum test"]),
        ({"train_sharpe": math.nan}, ["Sharpe gap", "Sharpe ratio kept"]),
        ({"test_sharpe": math.nan}, ["Sharpe gap", "Sharpe ratio kept", "test Sharpe"]),
        (
            {"train_sharpe": -1.0, "test_sharpe": math.nan},
            ["Sharpe gap", "Sharpe ratio kept", "test Sharpe"],
        ),
        ({"train_sharpe": math.inf}, ["Sharpe gap", "Sharpe ratio kept"]),
    ],
)
def test_the_limits(changed: dict[str, Any], refused: list[str]) -> None:
    assert outcome(**changed) == refused


def test_other_limits_are_used() -> None:
    assert outcome(GateLimits(max_sharpe_gap=0.2)) == ["Sharpe gap"]
    assert outcome(GateLimits(min_sharpe_ratio=0.9)) == ["Sharpe ratio kept"]
    assert outcome(GateLimits(min_test_sharpe=1.2)) == ["test Sharpe"]
    assert outcome(GateLimits(max_pbo=0.1)) == ["PBO"]
    assert outcome(GateLimits(min_dsr=0.98)) == ["maximum test"]


def test_a_refusal_says_why() -> None:
    verdict = judge(GateEvidence(**(GOOD | {"pbo": 0.62, "p_value": math.nan})))
    assert str(verdict) == (
        "choosing the best of 100 variants fails out of sample with a probability of 62%; "
        "it must be below 50%; maximum test was not measured"
    )


def test_pbo_says_whose_blocks_it_has_and_which_are_gone() -> None:
    (found,) = judge(GateEvidence(**(GOOD | {"pbo": 0.62, "pooled": 700, "gone": 3}))).refusals
    assert found.sentence == (
        "choosing the best of 700 variants fails out of sample with a probability of 62%; it must be below "
        "50% (the blocks of 3 trials are gone with their experiments)"
    )
    (found,) = judge(GateEvidence(**(GOOD | {"pbo": None, "variants": 1, "gone": 599}))).refusals
    assert found.sentence == (
        "PBO was not measured: the blocks of 599 trials are gone with their experiments"
    )


class TestSearchesThatLearn:
    def test_the_maximum_test_does_not_apply_and_nothing_else_passes_by_itself(self) -> None:
        verdict = judge(GateEvidence(**(GOOD | {"searched": "adaptive"})))
        assert [check.name for check in verdict.applicable] == [
            "Sharpe gap", "Sharpe ratio kept", "test Sharpe", "PBO", "fresh evidence",
        ]  # fmt: skip
        assert str(verdict) == (
            "the search learned from earlier results: it needs a null replay, forward evidence, or a "
            "hold-out that nobody has seen"
        )
        assert verdict.awaits_hold_out
        assert not judge(GateEvidence(**(GOOD | {"searched": "adaptive", "pbo": 0.9}))).awaits_hold_out
        assert not judge(GateEvidence(**GOOD)).awaits_hold_out

    @pytest.mark.parametrize(
        ("fresh", "passed"),
        [
            ({"replay_p": 0.05}, True),
            ({"replay_p": 0.051}, False),
            ({"replay_p": math.nan}, False),
            ({"forward": 1.0}, True),
            ({"forward": 0.99}, False),
            ({"forward": math.nan}, False),
            ({"hold_out_p": 0.03}, True),
            ({"hold_out_p": 0.031}, False),
            ({"hold_out_p": math.nan}, False),
            ({"hold_out_p": 0.03, "hold_out_look": 2}, False),
            ({"hold_out_p": 0.0075, "hold_out_look": 2}, True),
            ({"replay_p": 0.5, "hold_out_p": 0.5, "forward": 2.0}, True),
            ({"replay_p": 0.5, "hold_out_p": 0.5, "forward": 0.0}, False),
        ],
    )
    def test_one_of_three_is_enough(self, fresh: dict[str, Any], passed: bool) -> None:
        refused = outcome(searched="adaptive", p_value=math.nan, **fresh)
        assert refused == ([] if passed else ["fresh evidence"])

    def test_a_refusal_names_all_that_was_not_enough(self) -> None:
        given = {"searched": "adaptive", "replay_p": 0.2, "forward": 0.5, "hold_out_p": 0.1}
        (found,) = judge(GateEvidence(**(GOOD | given))).refusals
        for each in ("probability of 20%", "0.50 times", "look 1 at the hold-out", "at most 3%"):
            assert each in found.sentence

    def test_fresh_evidence_does_not_excuse_a_declared_search(self) -> None:
        assert outcome(p_value=0.2, replay_p=0.01, forward=9.0, hold_out_p=0.001) == ["maximum test"]


class TestHoldOut:
    def test_all_looks_together_keep_the_size(self) -> None:
        limits = [hold_out_p_limit(look) for look in range(1, 20_001)]
        assert sum(limits) == pytest.approx(0.05, abs=2e-6)
        assert sum(limits) < 0.05
        assert hold_out_p_limit(2) == pytest.approx(0.0076, abs=1e-5)
        assert hold_out_p_limit(50) < 2e-5
        assert all(later < earlier for earlier, later in itertools.pairwise(limits))

    def test_wrong_arguments(self) -> None:
        with pytest.raises(ConfigError, match="look 0"):
            hold_out_p_limit(0)
        with pytest.raises(ConfigError, match="size 1"):
            hold_out_p_limit(1, size=1.0)


def test_a_verdict_without_checks_has_not_passed() -> None:
    assert not GateVerdict(checks=()).passed
    assert str(GateVerdict(checks=())) == "nothing was checked"


def test_wrong_evidence_and_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match="trials 99: not even the 100 judged"):
        GateEvidence(**(GOOD | {"trials": 99}))
    with pytest.raises(ConfigError, match="variants 0"):
        GateEvidence(**(GOOD | {"variants": 0}))
    with pytest.raises(ConfigError, match=r"pbo 1\.5"):
        GateEvidence(**(GOOD | {"pbo": 1.5}))
    with pytest.raises(ConfigError, match=r"dsr -0\.1"):
        GateEvidence(**(GOOD | {"dsr": -0.1}))
    with pytest.raises(ConfigError, match="p_value 2"):
        GateEvidence(**(GOOD | {"p_value": 2.0}))
    with pytest.raises(ConfigError, match="forward -1"):
        GateEvidence(**(GOOD | {"forward": -1.0}))
    with pytest.raises(ConfigError, match="searched 'honestly'"):
        GateEvidence(**(GOOD | {"searched": "honestly"}))
    with pytest.raises(ValidationError, match="Extra inputs"):
        GateLimits(max_gap=2.0)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="less than 1"):
        GateLimits(min_dsr=1.0)
    with pytest.raises(ValidationError, match="frozen"):
        GateLimits().max_pbo = 0.9  # type: ignore[misc]


class Search(NamedTuple):
    """What the checks say of the winner of one simulated search."""

    passed: bool
    tested: bool
    alone: bool


def search(returns: Floats, train: int) -> Search:
    """Choose the best trial on the first `train` rows and judge it with the rest."""
    inside, outside = returns[:train], returns[train:]
    ratios = inside.mean(axis=0) / inside.std(axis=0, ddof=1)
    best = int(ratios.argmax())
    z = z_of(SharpeSample.of(inside[:, best]))
    days = np.datetime64("2011-01-01") + np.arange(train)
    everyone, one = RunningMaximum(), RunningMaximum()
    sketches = sketch_of((inside - inside.mean(axis=0)).T, days)
    everyone.add(sketches)
    one.add(sketches[[best]])
    several = returns.shape[1] > 1
    evidence = GateEvidence(
        train_sharpe=sharpe(inside[:, best], YEAR),
        test_sharpe=sharpe(outside[:, best], YEAR),
        trials=returns.shape[1],
        variants=returns.shape[1],
        pbo=overfitting(BlockMoments.of(inside, 8)).probability if several else None,
        p_value=p_value(z, everyone.draws),
    )
    least = GateLimits().min_dsr
    return Search(
        passed=judge(evidence).passed,
        tested=evidence.p_value <= 1 - least,
        alone=p_value(z, one.draws) <= 1 - least,
    )


@functools.cache
def simulate(
    runs: int, families: int, each: int, correlation: float, *, edge: float = 0.0, periods: int = 1000
) -> dict[str, float]:
    """Shares of `runs` searches among noise, with a planted annual Sharpe ratio in the first trial."""
    random = np.random.default_rng(20)
    found = []
    # Many small products: threads would only wait for each other.
    with threadpool_limits(1):
        for _ in range(runs):
            common = np.repeat(random.normal(size=(periods, families)), each, axis=1)
            own = random.normal(size=(periods, families * each))
            returns = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
            returns[:, 0] += edge / math.sqrt(YEAR)
            found.append(search(returns, int(0.7 * periods)))
    columns = zip(Search._fields, zip(*found, strict=True), strict=True)
    return {name: float(np.mean(values)) for name, values in columns}


STATED = 1 - GateLimits().min_dsr


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("runs", "families", "each", "correlation"),
    [(400, 1, 1, 0.0), (200, 40, 1, 0.0), (200, 5, 8, 0.9), (200, 1, 40, 0.9)],
    ids=["one trial", "independent trials", "families", "one grid"],
)
def test_noise_passes_at_the_stated_rate_and_no_more(
    runs: int, families: int, each: int, correlation: float
) -> None:
    found = simulate(runs, families, each, correlation)
    tolerance = 3 * math.sqrt(STATED * (1 - STATED) / runs)
    assert found["tested"] <= STATED + tolerance
    assert found["passed"] <= found["tested"]
    assert found["passed"] <= 0.02


def test_the_simulation_catches_a_gate_that_tests_the_best_alone() -> None:
    """Negative control: judging the best of forty as if it were the only one passes most noise."""
    assert simulate(200, 40, 1, 0.0)["alone"] > 0.5


def test_the_simulation_catches_a_gate_that_takes_a_grid_for_one_trial() -> None:
    """Negative control: a tight grid moves together, and its best passes too often all the same."""
    found = simulate(200, 1, 40, 0.9)
    assert found["alone"] > STATED + 3 * math.sqrt(STATED * (1 - STATED) / 200)


def test_one_trial_without_skill_passes_at_exactly_the_stated_rate() -> None:
    assert simulate(400, 1, 1, 0.0)["tested"] == pytest.approx(STATED, abs=0.033)


def test_a_planted_edge_passes() -> None:
    found = simulate(100, 40, 1, 0.0, edge=3.0, periods=4000)
    assert found["tested"] > 0.98
    assert found["passed"] > 0.9
