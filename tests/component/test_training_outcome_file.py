"""Files of a run's folder: what they hold comes back, and nothing in them is run."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from lockstep.errors import TrainingError, UnfitBundle
from lockstep.models.pickling import pickled, unpickled
from research.training.outcome_file import attempt_bytes, attempt_of, outcome_bytes, outcome_of
from research.training.run import OUTCOME, load_outcome
from research.training.search import SearchAttempt
from research.training.steps import StepFolder
from research.training.stopping import Stopped
from support.hostile import CRAFTED
from support.training import small_outcome


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or hasattr(one, "steps")


def test_an_outcome_comes_back_as_it_was(tmp_path: Path) -> None:
    outcome = small_outcome()
    content = outcome_bytes(outcome)
    (tmp_path / OUTCOME).write_bytes(content)
    found = load_outcome(tmp_path)
    assert same(outcome, found)
    features = outcome.dataset.features
    expected = outcome.pipeline.predict_proba(features)
    assert found.pipeline.predict_proba(features).tobytes() == expected.tobytes()
    assert outcome_bytes(found) == content
    assert joblib.load(io.BytesIO(content))["format"] == "lockstep training outcome"


def test_a_step_comes_back_whether_it_failed_or_not() -> None:
    step = small_outcome().steps[1]
    for attempt in (
        SearchAttempt(parameters=step.parameters, step=step),
        SearchAttempt(
            parameters={"x": 0.25, "kind": None}, step=None, error="ValueError: Input contains infinity"
        ),
        SearchAttempt(parameters={"x": 0.25}, step=None, stopped=Stopped(scores=np.array([-0.7, -0.71]))),
    ):
        found = attempt_of(attempt_bytes(attempt), "step")
        assert same(attempt, found)
        assert attempt_bytes(found) == attempt_bytes(attempt)


def test_files_of_a_version_that_stopped_no_step_are_read() -> None:
    outcome = small_outcome()
    for content, read, expected in (
        (attempt_bytes(SearchAttempt(parameters={}, step=outcome.steps[0])), attempt_of, None),
        (outcome_bytes(replace(outcome, stopped=7)), outcome_of, 0),
    ):
        document = unpickled(content, "file")
        assert isinstance(document, dict)
        del document["stopped"]
        assert read(pickled(document), "file").stopped == expected  # type: ignore[operator]


def test_stopped_steps_are_no_failed_ones() -> None:
    assert SearchAttempt(parameters={}, step=None).failed
    assert not SearchAttempt(parameters={}, step=None, stopped=Stopped(scores=np.zeros(5))).failed


def test_what_no_bundle_could_hold_is_not_kept() -> None:
    from sklearn.naive_bayes import GaussianNB

    with pytest.raises(UnfitBundle, match="GaussianNB"):
        outcome_bytes(replace(small_outcome(), pipeline=GaussianNB()))


@pytest.mark.parametrize("compress", [0, 3])
def test_what_an_older_lockstep_pickled_is_one_line_and_not_run(tmp_path: Path, compress: int) -> None:
    joblib.dump(small_outcome(), tmp_path / OUTCOME, compress=compress)
    with pytest.raises(
        TrainingError, match=r"outcome\.joblib: damaged, or written by .*train the model again$"
    ) as told:
        load_outcome(tmp_path)
    assert "\n" not in str(told.value)
    joblib.dump(SearchAttempt(parameters={}, step=None), tmp_path / "final-0000.joblib", compress=compress)
    with pytest.raises(TrainingError, match="delete the file, and the step will be repeated"):
        StepFolder(tmp_path, lambda search, attempt: None).recall("final", 0)


def test_a_command_in_a_step_is_not_run_by_resume(tmp_path: Path) -> None:
    (tmp_path / "final-0000.joblib").write_bytes(CRAFTED["a command"])
    with pytest.raises(TrainingError, match=r"holds os\.system, which no file of Lockstep may hold"):
        StepFolder(tmp_path, lambda search, attempt: None).recall("final", 0)


@pytest.mark.parametrize("name", [OUTCOME, "final-0000.joblib"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    run.mkdir()
    elsewhere.write_bytes(outcome_bytes(small_outcome()))
    (run / name).symlink_to(elsewhere)
    with pytest.raises(TrainingError, match="is a symbolic link; put the file itself there"):
        load_outcome(run) if name == OUTCOME else StepFolder(run, lambda *_: None).recall("final", 0)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(document: dict[str, Any]) -> None:
        *names, last = path.split(".")
        found: Any = document
        for name in names:
            found = found[int(name)] if name.isdigit() else found[name]
        found[last] = value

    return spoil


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another schema": (put("schema", 1), "no lockstep training outcome of schema 2"),
    "another form": (put("format", "lockstep search step"), "no lockstep training outcome"),
    "a configuration of two symbols": (put("config.symbol", ["SPX", "ES"]), "symbol"),
    "a field of another type": (put("threshold", "0.5"), "threshold is of another type"),
    "a truth as a number": (put("seed", True), "seed is of another type"),
    "an array of another type": (put("dataset.target", np.zeros(240)), "target is of another type"),
    "a shorter column": (put("dataset.weight", np.ones(3)), "columns are of different lengths"),
    "fewer features": (put("dataset.features", np.zeros((240, 1))), "columns are of different lengths"),
    "rows that are not there": (put("hold_out", np.array([240])), "rows beyond the 240 samples"),
    "rows before the first": (put("windows.0.train", np.array([-1])), "rows beyond the 240 samples"),
    "a name that is none": (put("selected", [1]), "names must be a list of text"),
    "a step of nothing": (put("steps", [{}]), "'number'"),
    "a pipeline that is none": (
        put("pipeline", {"class": "os.system", "params": {}, "fitted": {}}),
        "os.system",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_an_outcome_that_does_not_hold_together_is_refused(how: str) -> None:
    spoil, message = SPOILT[how]
    document = unpickled(outcome_bytes(small_outcome()), "x")
    spoil(document)
    with pytest.raises(TrainingError, match=message) as refused:
        outcome_of(pickled(document), "x")
    assert "\n" not in str(refused.value)
