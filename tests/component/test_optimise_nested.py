"""The choice of a method is judged out of sample: nothing that is tested was seen, and the rule is inside."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, sharpe
from research.optimise import nested as module
from research.optimise.methods import CONTROLS, METHODS, LaneRisk, scaled
from research.optimise.nested import RULE, NestedDesign, choose, nested, simplest
from research.statistics.bootstrap import sharpe_error

NAMES = ("CL", "ES", "GC")
DESIGN = NestedDesign(target=1_000.0, first=300, year=100, groups=6, resamples=60)


def risk_of(seed: int, sessions: int = 720) -> LaneRisk:
    """The loudest lane earns at first and loses later, so that it depends on the range what is chosen."""
    pnl = np.random.default_rng(seed).normal(size=(sessions, 3))
    pnl[:, 2] += np.where(np.arange(sessions) < 420, 0.4, -0.4)
    return LaneRisk.of(pnl * [100.0, 200.0, 800.0], NAMES)


@pytest.fixture(scope="module")
def judged() -> module.NestedResult:
    result = nested(risk_of(1), DESIGN)
    assert len(set(result.chosen[:4])) > 1
    assert len(set(result.chosen[4:])) > 1
    return result


def test_every_row_is_the_next_range_with_the_units_of_its_training_part(
    judged: module.NestedResult,
) -> None:
    """A slow walk-forward, spelled out: trained on all sessions up to five before the test."""
    risk = risk_of(1)
    for name, method in {**METHODS, **CONTROLS}.items():
        slow = []
        for begin in (300, 400, 500, 600):
            seen = LaneRisk.of(risk.pnl[: begin - 5], NAMES)
            slow.append(risk.pnl[begin : begin + 100] @ scaled(method(seen), seen.covariance, 1_000.0))
        np.testing.assert_allclose(judged.walk_forward[name], np.concatenate(slow))
    np.testing.assert_array_equal(judged.sessions, np.arange(300, 700))


def test_paths_cover_every_session_once_with_units_of_other_groups(judged: module.NestedResult) -> None:
    """Groups 0 and 1 of six are the first split: tested with what sessions 245 to 719 give."""
    risk = risk_of(1)
    seen = LaneRisk.of(risk.pnl[245:], NAMES)
    for name, method in METHODS.items():
        assert judged.paths[name].shape == (5, 720)
        expected = risk.pnl[:240] @ scaled(method(seen), seen.covariance, 1_000.0)
        np.testing.assert_allclose(judged.paths[name][0, :240], expected)


def test_the_rule_is_made_again_in_each_training_part(judged: module.NestedResult) -> None:
    risk = risk_of(1)
    assert len(judged.chosen) == 4 + 15
    first = risk.pnl[245:]
    assert judged.chosen[4] == choose(LaneRisk.of(first, NAMES), DESIGN, np.arange(245, 720)).name
    np.testing.assert_array_equal(judged.paths[RULE][0, :240], judged.paths[judged.chosen[4]][0, :240])
    for number, begin in enumerate((300, 400, 500, 600)):
        inside = choose(LaneRisk.of(risk.pnl[: begin - 5], NAMES), DESIGN).name
        assert judged.chosen[number] == inside
        part = slice(100 * number, 100 * number + 100)
        np.testing.assert_array_equal(judged.walk_forward[RULE][part], judged.walk_forward[inside][part])


def test_the_choice_is_that_of_the_table(judged: module.NestedResult) -> None:
    assert judged.choice == choose(risk_of(1), DESIGN)
    assert list(judged.choice.ratios) == list(METHODS)
    assert judged.choice.ratios == {name: sharpe(judged.walk_forward[name]) for name in METHODS}
    best = judged.walk_forward[judged.choice.best]
    assert judged.choice.error == sharpe_error(best, resamples=60, seed=0)


def test_results_are_the_same_again(judged: module.NestedResult) -> None:
    again = nested(risk_of(1), DESIGN)
    assert again.chosen == judged.chosen
    for name, paths in judged.paths.items():
        assert again.paths[name].tobytes() == paths.tobytes()


def leaks(risk: LaneRisk, design: NestedDesign) -> list[int]:
    """Return the tests of the walk-forward whose *units* change when they and what follows are other P&L."""
    found = []
    for number, (train, test) in enumerate(design.walk_forward(np.arange(risk.pnl.shape[0])).split()):
        other = risk.pnl.copy()
        other[test[0] - design.embargo :] *= -3.0
        changed = dataclasses.replace(risk, pnl=other)
        # Equal units earn -3 times as much in the other test; what differs was learned.
        pairs = [module._applied(each, design, train, test) for each in (risk, changed)]
        if any(not np.allclose(pairs[0][name] * -3.0, pairs[1][name]) for name in METHODS):
            found.append(number)
    return found


def test_no_unit_and_no_choice_depends_on_what_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    risk = risk_of(2)
    assert leaks(risk, DESIGN) == []
    before = nested(risk, DESIGN).chosen[3]
    other = risk.pnl.copy()
    other[595:] = other[595:, ::-1] * 5.0
    assert nested(LaneRisk.of(other, NAMES), DESIGN).chosen[3] == before
    # The control: units that are made from all sessions.
    monkeypatch.setattr(module, "_part", lambda whole, rows: LaneRisk.of(whole.pnl, NAMES))
    assert leaks(risk, DESIGN) == [0, 1, 2, 3]


@pytest.mark.parametrize("embargo", [0, 5, 20])
def test_nobody_trains_within_the_embargo_of_a_test(embargo: int) -> None:
    """Also inside a training part that has holes: sessions are told by their number in the whole history."""
    design = dataclasses.replace(DESIGN, embargo=embargo)
    everything = np.arange(720)
    for train, test in design.combinations(everything).split():
        gaps = np.abs(train[:, None] - test[None, :]).min()
        assert gaps == embargo + 1
        for inner, tested in design.walk_forward(train).split():
            assert train[inner].max() + embargo < train[tested].min()


def test_a_short_range_is_walked_from_its_middle() -> None:
    train, test = next(iter(DESIGN.walk_forward(np.arange(400)).split()))
    assert (train[-1], test[0]) == (194, 200)


def streams(*means: float, noise: float = 1.0) -> dict[str, Floats]:
    common = np.random.default_rng(0).normal(size=2_000) * noise
    common -= common.mean()
    return dict(zip(("equal_risk", "erc", "hrp"), (common + mean for mean in means), strict=True))


@pytest.mark.parametrize(
    ("means", "name", "best"),
    [
        ((0.0, 0.0, 0.0), "equal_risk", "equal_risk"),
        ((0.0, 0.01, 0.02), "equal_risk", "hrp"),
        ((0.0, 0.02, 0.03), "erc", "hrp"),
        ((0.0, 0.02, 0.2), "hrp", "hrp"),
        ((0.1, 0.0, 0.02), "equal_risk", "equal_risk"),
    ],
)
def test_the_simplest_within_one_error_of_the_best(means: tuple[float, ...], name: str, best: str) -> None:
    """Of 2,000 independent sessions the error is 1 / sqrt(2,000) = .0224."""
    choice = simplest(streams(*means), resamples=800, seed=1)
    assert (choice.name, choice.best) == (name, best)
    assert choice.error == pytest.approx(2_000**-0.5, rel=0.1)


def test_the_error_is_that_of_the_best_and_of_its_own_blocks() -> None:
    """P&L in runs of ten makes the best doubtful, and the simple one is kept."""
    found = streams(0.0, 0.0, 0.05)
    assert simplest(found, resamples=400, seed=1).name == "hrp"
    runs = {name: np.repeat(each[::10], 10) for name, each in found.items()}
    assert simplest(runs, resamples=400, seed=1).name == "equal_risk"


def test_the_error_is_not_that_of_the_simple_method() -> None:
    """The best is dependent in time and doubtful, the simple one is not: it is kept; and the reverse."""
    random = np.random.default_rng(6)
    plain, runs = random.normal(size=2_000), np.repeat(random.normal(size=100), 20)
    plain, runs = plain - plain.mean(), runs - runs.mean()
    doubtful = simplest({"equal_risk": plain, "erc": runs + 0.06}, resamples=400, seed=1)
    assert (doubtful.name, doubtful.best) == ("equal_risk", "erc")
    certain = simplest({"equal_risk": runs, "erc": plain + 0.06}, resamples=400, seed=1)
    assert (certain.name, certain.best) == ("erc", "erc")


def test_a_skill_that_a_method_can_use_is_written() -> None:
    """The rule is no way to always write the default: lanes of which one alone is quiet and earns."""
    random = np.random.default_rng(4)
    common = random.normal(size=(2_520, 1))
    pnl = random.normal(size=(2_520, 3)) * [0.2, 1.0, 1.0] + common * [0.0, 3.0, 3.0]
    pnl[:, 0] += 0.03
    pnl[:, 1:] -= 0.03
    grouped = LaneRisk.of(pnl * 500.0, NAMES, ((0, 1), (2,)))
    assert choose(grouped, NestedDesign(target=1_000.0)).name != "equal_risk"


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match="method erc: no Sharpe ratio"):
        simplest({**streams(0.0, 0.0, 0.0), "erc": np.ones(2_000)}, resamples=10, seed=0)
    still = risk_of(0).pnl
    still[:200, 1] = 0.0
    late = LaneRisk.of(still, NAMES)
    with pytest.raises(DataError, match="lane ES: its P&L does not move in 195 sessions"):
        choose(late, dataclasses.replace(DESIGN, first=200))
    with pytest.raises(DataError, match="P&L of the lanes: 5 rows: need at least 8"):
        choose(risk_of(0, sessions=20), dataclasses.replace(DESIGN, year=10))
    with pytest.raises(ConfigError, match="too short for one training and one test window"):
        choose(risk_of(0, sessions=20), DESIGN)
    with pytest.raises(ConfigError, match="ranges must be positive"):
        NestedDesign(target=1.0, year=0)
    with pytest.raises(ConfigError, match="ranges must be positive"):
        NestedDesign(target=1.0, embargo=-1)
