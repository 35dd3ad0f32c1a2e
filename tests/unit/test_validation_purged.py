"""Purged folds and combinatorial paths, against an independent library and by hand."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from research.splits.purged import CombinatorialPurgedCV, PurgedKFold


@pytest.fixture(scope="module")
def oracle() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("skfolio.model_selection")


@pytest.mark.parametrize("shape", [(6, 2), (8, 4), (10, 2), (10, 8)])
@pytest.mark.parametrize(("length", "embargo"), [(0, 0), (2, 0), (0, 3), (3, 2)])
def test_splits_and_paths_equal_skfolio(
    oracle: Any, shape: tuple[int, int], length: int, embargo: int
) -> None:
    start = np.arange(120)
    ours = CombinatorialPurgedCV(*shape, start=start, end=start + length, embargo=embargo)
    theirs = oracle.CombinatorialPurgedCV(*shape, purged_size=length, embargo_size=embargo)
    assert ours.get_n_splits() == theirs.get_n_splits()
    assert ours.n_paths == theirs.n_test_paths
    np.testing.assert_array_equal(ours.paths().T, theirs.recombined_paths)
    for (train, test), (expected, groups) in zip(
        ours.split(start[:, None]), theirs.split(start[:, None]), strict=True
    ):
        np.testing.assert_array_equal(train, expected)
        np.testing.assert_array_equal(test, np.concatenate(groups))


def test_a_fold_by_hand() -> None:
    start = np.arange(9)
    folds = list(PurgedKFold(3, start=start, end=start + 1, embargo=1).split(start))
    assert [train.tolist() for train, _ in folds] == [[5, 6, 7, 8], [0, 1, 8], [0, 1, 2, 3, 4]]
    assert [test.tolist() for _, test in folds] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_without_ends_nothing_is_purged() -> None:
    folds = list(PurgedKFold(2, start=np.arange(4), end=None).split())
    assert [train.tolist() for train, _ in folds] == [[2, 3], [0, 1]]


def test_each_path_is_a_complete_history_from_the_right_splits() -> None:
    start = np.arange(25)
    splitter = CombinatorialPurgedCV(6, 3, start=start, end=start)
    splits = list(splitter.split(start))
    # A value names its split and its sample, so that any mix-up shows.
    values = [1000.0 * number + test for number, (_, test) in enumerate(splits)]
    histories = splitter.along_paths(values)
    assert histories.shape == (10, 25)
    np.testing.assert_array_equal(histories % 1000, np.tile(start, (10, 1)))
    used = {(int(value) // 1000, int(value) % 1000) for value in histories.ravel()}
    assert len(used) == histories.size
    for path, feeding in enumerate(splitter.paths()):
        for group, number in enumerate(feeding):
            assert set(histories[path, splitter.groups[group]] // 1000) == {number}


def test_it_serves_scikit_learn() -> None:
    dummy = pytest.importorskip("sklearn.dummy")
    selection = pytest.importorskip("sklearn.model_selection")
    y = np.arange(12.0)
    splitter = PurgedKFold(3, start=np.arange(12), end=np.arange(12) + 1)
    scores = selection.cross_val_score(dummy.DummyRegressor(), y[:, None], y, cv=splitter)
    assert scores.shape == (3,)


def test_wrong_arguments_are_refused() -> None:
    start = np.arange(10)
    with pytest.raises(ConfigError, match="groups 1: must be between 2 and the 10 samples"):
        PurgedKFold(1, start=start, end=start)
    with pytest.raises(ConfigError, match="groups 11"):
        PurgedKFold(11, start=start, end=start)
    with pytest.raises(ConfigError, match="embargo -1"):
        PurgedKFold(2, start=start, end=start, embargo=-1)
    with pytest.raises(ConfigError, match="n_test 4"):
        CombinatorialPurgedCV(4, 4, start=start, end=start)
    with pytest.raises(DataError, match="9 samples, 10 label intervals"):
        next(PurgedKFold(2, start=start, end=start).split(np.zeros(9)))
    with pytest.raises(DataError, match="split 0: no training sample is left"):
        next(PurgedKFold(2, start=start, end=start + 99).split())
    with pytest.raises(DataError, match="one value per test sample"):
        CombinatorialPurgedCV(4, 2, start=start, end=start).along_paths([np.zeros(1)])


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(DataError, match="2 starts, 3 ends"):
        PurgedKFold(2, start=[1, 2], end=[1, 2, 3])
    with pytest.raises(DataError, match="sample 1: 1: start falls"):
        PurgedKFold(2, start=[2, 1], end=[2, 2])
    with pytest.raises(DataError, match="sample 1: 1: ends before it starts"):
        PurgedKFold(2, start=[1, 2], end=[1, 1])
    with pytest.raises(DataError, match="float64 with 1 dimensions: need int64 stamps"):
        PurgedKFold(2, start=[1.5, 2.5], end=None)
    with pytest.raises(DataError, match="with 2 dimensions"):
        PurgedKFold(2, start=[[1], [2]], end=None)
