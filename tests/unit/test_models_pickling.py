"""Bundles' pickles: the same content gives the same bytes, and nothing foreign is run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.errors import ForeignPickle, UnfitBundle
from lockstep.models.pickling import pickled, unpickled
from support.models import make_bundle, samples

ROOT = Path(__file__).resolve().parents[2]
FRESH = """
from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from support.models import make_bundle
print(sha256_of(bundle_bytes(make_bundle())))
"""


def lightgbm() -> Any:
    module = pytest.importorskip("lightgbm")
    return module.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, random_state=1)


def xgboost() -> Any:
    module = pytest.importorskip("xgboost")
    return module.XGBClassifier(n_estimators=5, n_jobs=1, random_state=1)


FAMILIES: dict[str, Callable[[], Any]] = {
    "random_forest": lambda: RandomForestClassifier(5, random_state=1),
    "extra_trees": lambda: ExtraTreesClassifier(5, random_state=1),
    "hist_gradient_boosting": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=1),
    "logistic": lambda: Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
    "calibrated": lambda: CalibratedClassifierCV(
        RandomForestClassifier(5, random_state=1), method="isotonic", cv=3, n_jobs=1
    ),
    "sigmoid": lambda: CalibratedClassifierCV(
        HistGradientBoostingClassifier(max_iter=3, random_state=1), method="sigmoid", cv=3, ensemble=False
    ),
    "lightgbm": lightgbm,
    "xgboost": xgboost,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_comes_back_and_gives_the_same_bytes(family: str) -> None:
    _, features, target = samples()
    model = FAMILIES[family]().fit(features, target)
    content = pickled(model)
    assert pickled(FAMILIES[family]().fit(features, target)) == content
    assert pickled(pickle.loads(pickle.dumps(model))) == content
    again = unpickled(content, "model")
    assert again.predict_proba(features).tobytes() == model.predict_proba(features).tobytes()
    assert pickled(again) == content


def test_another_process_and_hash_seed_give_the_same_bytes() -> None:
    # Objects of the first process share strings with its constants; those of the second do not.
    here = bundle_bytes(make_bundle())
    bundle = make_bundle()
    assert bundle_bytes(replace(bundle, pipeline=pickle.loads(pickle.dumps(bundle.pipeline)))) == here
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == sha256_of(here), done.stderr


def test_other_content_gives_other_bytes() -> None:
    assert bundle_bytes(make_bundle()) != bundle_bytes(make_bundle(threshold=0.56))


def test_equal_values_need_not_be_one_object() -> None:
    name, other = "a long name", "".join(["a long", " name"])
    record = np.dtype([("left", "i8"), ("flag", "u1")], align=True)
    one = {"x": (name, 1), "y": [name, (name, 1)], "d": [np.zeros(2, record), np.zeros(2, record)]}
    two = {
        "x": (name, 1),
        "y": [other, (other, 1)],
        "d": [np.zeros(2, record), np.zeros(2, record.newbyteorder("="))],
    }
    assert pickled(one) == pickled(two)
    assert pickled((1, 2)) != pickled((1, 2.0))
    assert pickled([(1, True), (1, 1.0)]) != pickled([(1, True), (1, True)])


def test_padding_of_records_does_not_count() -> None:
    record = np.dtype([("left", "i8"), ("flag", "u1")], align=True)
    clean = np.zeros(3, record)
    dirty = np.frombuffer(b"\x00" * 9 + b"\xaa" * 7 + b"\x00" * 32, record)
    assert pickled(clean) == pickled(dirty)


def test_sets_are_written_in_order() -> None:
    names = ["alpha", "beta", "gamma", "delta"]
    assert pickled(set(names)) == pickled(set(reversed(names)))
    assert unpickled(pickled(frozenset(names)), "set") == frozenset(names)


def test_arrays_of_objects_come_back() -> None:
    values = np.array(["a", 1, None], dtype=object)
    assert unpickled(pickled(values), "array").tolist() == values.tolist()


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("must-not-be-made",))


class HarmfulByName:
    def __reduce__(self) -> tuple[Any, ...]:
        return (getattr, ("", "join"))


@pytest.mark.parametrize("value", [Harmful(), HarmfulByName(), np.array([Harmful()], dtype=object)],
                         ids=["command", "getattr", "in an array"])  # fmt: skip
def test_foreign_content_is_refused_and_not_run(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForeignPickle, match=r"x\.joblib: holds .*which no bundle may hold"):
        unpickled(pickled(value), "x.joblib")
    assert list(tmp_path.iterdir()) == []
    # Without the restriction it would have been run.
    if isinstance(value, Harmful):
        pickle.loads(pickle.dumps(value))
        assert [path.name for path in tmp_path.iterdir()] == ["must-not-be-made"]


def test_functions_of_allowed_packages_are_refused() -> None:
    with pytest.raises(ForeignPickle, match=r"sklearn\.datasets"):
        unpickled(b"\x80\x04csklearn.datasets\nload_iris\n.", "x")


def test_plain_documents_hold_no_objects() -> None:
    assert unpickled(pickled({"a": [1.0, np.arange(3)]}), "x", plain=True)["a"][1].tolist() == [0, 1, 2]
    with pytest.raises(ForeignPickle, match="sklearn"):
        unpickled(pickled(StandardScaler()), "x", plain=True)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickled({"a": 1})[:-3], pickled(np.arange(100))[:-50]]
)
def test_what_is_no_pickle_is_refused(content: bytes) -> None:
    with pytest.raises(ForeignPickle, match="no bundle of Lockstep"):
        unpickled(content, "x")


def test_what_cannot_be_pickled_is_refused_in_one_line() -> None:
    with pytest.raises(UnfitBundle, match="use functions and classes of modules"):
        pickled([lambda: 1])


def test_patch_releases_are_read_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickled(StandardScaler().fit(np.zeros((2, 1))))
    monkeypatch.setattr("sklearn.base.__version__", "1.0.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        unpickled(content, "x")
