"""Who may see what, and what is said where there is too little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import TrainingError
from research.training.dataset import Dataset
from research.training.scheme import divide, embargo_of, inner_splits
from support.training import DAY, invented, invented_config


def test_development_ends_before_the_hold_out_begins() -> None:
    dataset, config = invented(), invented_config()
    scheme = divide(config, dataset)
    start = int(np.datetime64("2012-10-01", "ns").astype(np.int64))
    assert (dataset.exit[scheme.development] + embargo_of(config) < start).all()
    assert (dataset.decision[scheme.hold_out] >= start).all()
    purged = len(dataset) - scheme.development.size - scheme.hold_out.size
    assert purged > 0
    without = invented_config(validation={**config.validation.model_dump(), "embargo_days": 0})
    assert divide(without, dataset).development.size > scheme.development.size


def test_windows_stay_in_the_development_part_and_are_purged() -> None:
    dataset = invented(held=20)
    scheme = divide(invented_config(), dataset)
    assert len(scheme.windows) >= 3
    for train, test in scheme.windows:
        assert set(train) | set(test) <= set(scheme.development)
        assert dataset.exit[train].max() < dataset.decision[test[0]]


def test_a_share_is_of_the_days() -> None:
    scheme = divide(invented_config(hold_out={"share": 0.25}), invented())
    assert scheme.hold_out.size == pytest.approx(60, abs=1)


def test_an_anchored_window_keeps_its_start() -> None:
    config = invented_config()
    anchored = invented_config(validation={**config.validation.model_dump(), "anchored": True})
    trains = [train for train, _ in divide(anchored, invented()).windows]
    assert {int(train[0]) for train in trains} == {0}
    assert [train.size for train in trains] == sorted({train.size for train in trains})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hold_out": {"start": "2009-01-01"}}, "hold-out from 2009-01-01 overlaps all of the training"),
        ({"hold_out": {"start": "2010-01-06"}}, r"development part \(empty\): 0 samples"),
        ({"hold_out": {"start": "2020-01-01"}}, "hold-out from 2020-01-01 is empty"),
        ({"hold_out": {"start": "2010-06-01"}}, r"29 samples for 4 groups of at least 10: 40 would do"),
        ({"validation": {"walk_forward": "1y/1y/6m"}}, "test windows overlap"),
        (
            {"validation": {"groups": 12, "walk_forward": "1y/6m/6m"}},
            r"73 samples for 12 groups .*take 7 groups",
        ),
        ({"validation": {"walk_forward": "1y/2d/2d"}}, "0 test samples.*there are 199 samples"),
    ],
)
def test_what_does_not_fit_is_said_with_numbers(changes: dict[str, Any], message: str) -> None:
    data = {"data": {"end": "2018-12-31"}}
    with pytest.raises(TrainingError, match=message):
        divide(invented_config(**data, **changes), invented())


def one_class(dataset: Dataset, rows: slice) -> Dataset:
    target = dataset.target.copy()
    target[rows] = 1
    return replace(dataset, target=target)


def test_a_fold_of_one_class_is_named() -> None:
    with pytest.raises(TrainingError, match=r"here, inner split \d+, training: all \d+ samples won"):
        inner_splits(invented_config(), one_class(invented(), slice(0, 230)), "here")


def test_a_test_of_one_class_matters_to_ranks_only() -> None:
    dataset = one_class(invented(), slice(0, 80))
    six = {"groups": 6, "test_groups": 2}
    assert len(inner_splits(invented_config(validation=six), dataset, "here")) == 15
    ranks = invented_config(validation=six, search={"objective": "roc_auc"})
    with pytest.raises(TrainingError, match="inner split 0, test: all 80 samples won"):
        inner_splits(ranks, dataset, "here")


def test_labels_that_cover_all_are_refused() -> None:
    dataset = invented()
    endless = replace(dataset, exit=np.full(len(dataset), dataset.exit[-1] + 900 * DAY))
    with pytest.raises(TrainingError, match="here: split 0: no training sample is left"):
        inner_splits(invented_config(), endless, "here")
