"""The search: it learns where to look, goes on where it was, and counts what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import StoreFailure, TrainingError
from research.training.config import SearchSettings
from research.training.estimators import Dimension, Parameters
from research.training.outcome import SearchStep
from research.training.search import Diary, SearchAttempt, SearchListener, bayesian_search
from research.training.steps import StepFolder
from research.training.stopping import Hopeless, never

SPACE = {"x": Dimension(real=(-2.0, 2.0)), "kind": Dimension(choice=("good", "bad"))}


def step(number: int, parameters: Parameters, hopeless: Hopeless = never) -> SearchStep:
    """Score a hill at x = 0.7 on the good side."""
    score = -((parameters["x"] - 0.7) ** 2) - (parameters["kind"] == "bad")
    return SearchStep(
        number=number,
        parameters=parameters,
        score=score,
        split_scores=np.array([score]),
        threshold=0.5,
        probabilities=np.zeros(1),
        seconds=0.0,
    )


def searched(trial: Any = step, *, trials: int = 12, diary: Diary | None = None, **settings: Any) -> Any:
    search = SearchSettings(initial=4, **settings)
    return bayesian_search(
        "toy", SPACE, search, trial, trials=trials, seed=5, diary=diary or Diary(), listener=SearchListener()
    )


def points(steps: tuple[SearchStep, ...]) -> list[Parameters]:
    return [dict(each.parameters) for each in steps]


@pytest.mark.no_cover
@pytest.mark.parametrize("surrogate", ["gp", "forest"])
def test_it_finds_the_hill(surrogate: str) -> None:
    steps = searched(trials=20, surrogate=surrogate)
    best = max(steps, key=lambda each: each.score)
    assert best.score > -0.05
    assert best.parameters["kind"] == "good"
    assert np.mean([each.score for each in steps[10:]]) > np.mean([each.score for each in steps[:4]])


def test_the_same_seed_gives_the_same_points() -> None:
    assert points(searched()) == points(searched())


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    counted: list[str] = []
    folder = StepFolder(tmp_path / "steps", lambda search, attempt: counted.append(search))

    def killed(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep:
        if number == 7:
            raise KeyboardInterrupt
        return step(number, parameters)

    with pytest.raises(KeyboardInterrupt):
        searched(killed, diary=folder)
    assert folder.finished == len(counted) == 7
    fresh: list[int] = []

    def remembered(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep:
        fresh.append(number)
        return step(number, parameters)

    assert points(searched(remembered, diary=folder)) == points(searched())
    assert fresh == [7, 8, 9, 10, 11]
    folder.forget()
    assert folder.finished == 0


def test_steps_of_another_run_are_refused(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path, lambda search, attempt: None)
    folder.keep("toy", 0, SearchAttempt(parameters={"x": 0.0, "kind": "good"}, step=None))
    with pytest.raises(TrainingError, match=r"search toy, step 0: was .*train without --resume"):
        searched(diary=folder)


def test_a_damaged_step_is_named(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path, lambda search, attempt: None)
    searched(trials=1, diary=folder)
    (path,) = tmp_path.glob("*.joblib")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(TrainingError, match=r"toy-0000.joblib: damaged, .*delete the file"):
        searched(trials=1, diary=folder)


def test_a_full_disk_stops_it_and_leaves_no_half_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StepFolder(tmp_path, lambda search, attempt: None)
    searched(trials=2, diary=folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreFailure, match="No space left on device"):
        searched(trials=4, diary=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy-0000.joblib", "toy-0001.joblib"]


def test_numerical_trouble_is_a_failed_step_that_counts(tmp_path: Path) -> None:
    kept: list[SearchAttempt] = []
    folder = StepFolder(tmp_path, lambda search, attempt: kept.append(attempt))

    def fragile(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep:
        if number in (1, 5):
            raise ValueError("Input contains\n infinity")
        return step(number, parameters)

    steps = searched(fragile, diary=folder)
    assert [each.number for each in steps] == [0, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [each.error for each in kept if each.step is None] == ["ValueError: Input contains infinity"] * 2
    assert points(searched(fragile, diary=folder)) == points(steps)


def test_mistakes_of_the_program_are_not_failed_steps() -> None:
    def mistaken(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        searched(mistaken)


def test_where_all_fail_the_first_reason_is_told() -> None:
    def overflowing(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep:
        raise FloatingPointError(f"overflow {number}")

    with pytest.raises(
        TrainingError, match="all 3 steps failed, the first with: FloatingPointError: overflow 0"
    ):
        searched(overflowing, trials=3)
