"""Equal rows of large tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import silhouette_score

from lockstep.metrics import Integers
from research.statistics import trials as distinct
from research.statistics.trial_clusters import _mean_silhouette
from research.statistics.trials import distinct_rows

tables = arrays(np.int64, st.tuples(st.integers(1, 60), st.integers(1, 6)), elements=st.integers(-2, 2))


def assert_kinds(table: Integers) -> None:
    rows, kinds = distinct_rows(table)
    assert (table[rows][kinds] == table).all()
    assert rows.size == np.unique(table, axis=0).shape[0]


@given(table=tables)
def test_a_row_of_each_kind(table: Integers) -> None:
    assert_kinds(table)


@given(table=tables)
def test_the_order_of_the_rows_does_not_matter(table: Integers) -> None:
    narrow = table[:, :4]
    forward, _ = distinct_rows(narrow)
    backward, _ = distinct_rows(np.ascontiguousarray(narrow[::-1]))
    assert (narrow[forward] == narrow[::-1][backward]).all()


def test_rows_that_share_a_digest_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_digests", lambda numbers: np.zeros(len(numbers), dtype=np.uint64))
    assert_kinds(np.random.default_rng(0).integers(0, 3, (50, 3)))


def test_more_rows_than_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_ROWS", 7)
    assert_kinds(np.random.default_rng(0).integers(0, 2, (50, 3)))


@given(seed=st.integers(0, 1_000), count=st.integers(2, 9))
def test_silhouettes_are_those_of_scikit_learn(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate((np.arange(count), random.integers(0, count, 40)))
    points = random.normal(size=(labels.size, 3)) + labels[:, None] * random.choice([0.0, 0.5])
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = silhouette_score(distance, labels, metric="precomputed")
    assert _mean_silhouette(distance, labels) == pytest.approx(expected, abs=1e-12)
