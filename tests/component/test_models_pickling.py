"""Files of plain values: the same content gives the same bytes, and nothing in a foreign one is run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from lockstep.errors import BundleRefused, ForeignPickle, TrainingError, UnfitBundle
from lockstep.models import pickle_machine
from lockstep.models.bundle import Bundle, bundle_bytes, bundle_of
from lockstep.models.content import sha256_of
from lockstep.models.pickling import pickled, unpickled
from research.training.outcome_file import attempt_of, outcome_of
from support.first_pickles import first_file, first_pickle
from support.fuzzing import fuzz, harmless
from support.hostile import ACTING, CRAFTED, MISLEADING
from support.models import make_bundle

ROOT = Path(__file__).resolve().parents[2]
FRESH = """
from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from support.models import make_bundle
print(sha256_of(bundle_bytes(make_bundle())))
"""
DOCUMENT: dict[str, Any] = {
    "nothing": None,
    "numbers": [0, -1, 2**31 - 1, 2**31, -(2**31), -(2**200), 1.5, -0.0, float("inf"), True, False],
    "text": ["", "ü", "a" * 300],
    "bytes": [b"", b"\x00\xff"],
    "nested": {"empty": {}, "list": [[]]},
    "matrix": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "swapped": np.arange(3, dtype=">u2"),
    "empty": np.zeros((0, 8), dtype=np.uint32),
    "single": np.array(7, dtype=np.uint8),
    "flags": np.array([True, False]),
}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            one.shape == other.shape and one.dtype.newbyteorder("=") == other.dtype and (one == other).all()
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def test_a_document_comes_back_and_joblib_reads_it() -> None:
    content = pickled(DOCUMENT)
    assert same(DOCUMENT, unpickled(content, "x"))
    assert same(DOCUMENT, joblib.load(io.BytesIO(content)))
    assert pickled(unpickled(content, "x")) == content
    assert pickled({"a": 1}) != pickled({"a": 1.0})
    assert pickled({"a": 1}) != pickled({"a": True})
    found = unpickled(content, "x")["matrix"]
    found[0, 0] = 9.0
    assert found.flags.owndata


def test_equal_values_need_not_be_one_object() -> None:
    name, other = "a long name", "".join(["a long", " name"])
    assert pickled({"x": [name, name]}) == pickled({"x": [name, other]})


def test_another_process_and_hash_seed_give_the_same_bytes() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == sha256_of(bundle_bytes(make_bundle())), done.stderr
    assert bundle_bytes(make_bundle()) != bundle_bytes(make_bundle(threshold=0.56))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "key 1: must be text"),
        ({"a": (1, 2)}, "a tuple is no plain value"),
        ({"a": np.float64(1)}, "a float64 is no plain value"),
        ({"a": {1, 2}}, "a set is no plain value"),
        ({"a": np.array(["a", None], dtype=object)}, "array of object"),
        ({"a": np.zeros(2, [("left", "i8")])}, "arrays of numbers only"),
        ({"a": np.array(["a"])}, "arrays of numbers only"),
        ({"a": "\ud800"}, "surrogates not allowed"),
        ({"a": 2**300}, "too big"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_not_written(value: Any, message: str) -> None:
    with pytest.raises(UnfitBundle, match=message):
        pickled(value)
    deep: Any = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(UnfitBundle, match="nested deeper than 64 levels"):
        pickled(deep)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_pickle_is_refused_wherever_it_is(bundle: Bundle, name: str) -> None:
    content = CRAFTED[name]
    for file in (content, first_file(bundle, content)):
        with harmless(), pytest.raises(BundleRefused) as refused:
            bundle_of(file, "ES_v1.joblib", symbol="ES")
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500
    for read in (attempt_of, outcome_of):
        with (
            harmless(),
            pytest.raises(TrainingError, match="x: damaged, or written by another") as told,
        ):
            read(content, "x")
        assert "\n" not in str(told.value)


@pytest.mark.no_cover
def test_there_are_enough_and_the_hook_would_notice() -> None:
    assert len(CRAFTED) == len(ACTING) + len(MISLEADING) >= 50
    # In a process of its own `pickle` runs them, and the hook that watches the readers says what they do.
    command = [sys.executable, "-m", "support.fuzzing", "acting"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    seen = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(seen) == set(ACTING), done.stderr
    assert [name for name, what in seen.items() if what.startswith("nothing")] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CRAFTED["a command"], r"x: holds os\.system, which no file of Lockstep may hold; train the model"),
        (CRAFTED["a command through three modules"], r"holds sklearn\.utils\.fixes\.platform\.os\.system"),
        (CRAFTED["an array with objects"], "holds an array of O8"),
        (CRAFTED["twenty thousand lists"], "nested deeper than 64 levels"),
        (CRAFTED["an array of 10**15"], r"an array of shape \(1000000000000000,\)"),
        (pickled({"a": 1})[:-3], "4 bytes are announced, 3 are left"),
        (b"\x80\x04e.", "damaged before byte 3"),
        (pickled({"a": np.arange(100)})[:-50], "is longer than the file"),
        (pickled({"a": 1}) + b".", "unfinished or too early"),
        (first_pickle({"a": {"b": np.arange(3)}})[:-1], "damaged"),
    ],
)
def test_a_refusal_says_what_was_found(content: bytes, message: str) -> None:
    with pytest.raises(ForeignPickle, match=message):
        unpickled(content, "x")


def test_a_file_may_not_grow_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = ["a" * 100]
    with pytest.raises(ForeignPickle, match="a value is there twice"):
        unpickled(first_pickle([shared, shared]), "x")
    text = "a" * 100
    assert unpickled(first_pickle([text, text]), "x") == [text, text]
    monkeypatch.setattr(pickle_machine, "_MOST_STEPS", 1000)
    with pytest.raises(ForeignPickle, match="more than 1000 instructions"):
        unpickled(b"\x80\x04](" + b"]" * 1000 + b"e.", "x")
    assert len(unpickled(b"\x80\x04](" + b"]" * 990 + b"e.", "x")) == 990


def test_flags_hold_no_other_bytes() -> None:
    content = pickled({"a": np.array([True, False, True])})
    assert content.endswith(b"\x01\x00\x01u.")
    with pytest.raises(ForeignPickle, match="an array of truth values holds other bytes"):
        unpickled(content[:-5] + b"\x01\x02\x01u.", "x")


@pytest.mark.no_cover
def test_no_damaged_file_does_anything_but_being_refused() -> None:
    found = fuzz(500, seed=20261128)
    assert (found["violations"], found["deaths"]) == ([], [])
    assert found["refused"] + found["accepted"] == 500
    # Most mutations are seen; those that are not leave a bundle that can be used.
    assert found["refused"] > 350
    assert found["accepted"] > 10
