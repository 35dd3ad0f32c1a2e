"""Who may see what: the sealed hold-out, the outer walk-forward, the inner purged combinations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lockstep.errors import DataError, TrainingError
from lockstep.metrics import Integers
from research.training.config import TrainingConfig
from research.training.dataset import Dataset
from research.training.pipeline import require_both_classes
from research.validation.labels import Labels
from research.validation.purged import CombinatorialPurgedCV
from research.validation.spans import DAY

# With fewer samples in a group of the inner combinations a score says nothing.
LEAST_PER_GROUP = 10

Window = tuple[Integers, Integers]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scheme:
    """Rows of the dataset, int64, rising.

    development   before the hold-out; labels, and the embargo after them, end before it begins
    hold_out      the sealed end
    windows       (train, test) of the outer walk-forward over the development part
    """

    development: Integers
    hold_out: Integers
    windows: tuple[Window, ...]


def embargo_of(config: TrainingConfig) -> int:
    """Return the embargo in nanoseconds."""
    return round(config.validation.embargo_days * DAY)


def divide(config: TrainingConfig, dataset: Dataset) -> Scheme:
    """Return the scheme of a training run.

    TrainingError, saying how many samples there are and what would do, where some part has too few, where
    the hold-out leaves nothing before it or holds nothing, and where test windows overlap.
    """
    development, hold_out = _sealed(config, dataset)
    _require_enough(config, development.size, f"development part {_dates(dataset, development)}")
    windows = tuple(_outer(config, dataset, development))
    for number, (train, _) in enumerate(windows):
        _require_enough(config, train.size, f"window {number}, training {_dates(dataset, train)}")
    return Scheme(development=development, hold_out=hold_out, windows=windows)


def inner(config: TrainingConfig, labels: Labels) -> CombinatorialPurgedCV:
    """Return the inner cross-validation of some training samples."""
    settings = config.validation
    return CombinatorialPurgedCV(
        settings.groups,
        settings.test_groups,
        start=labels.start,
        end=labels.end,
        embargo=embargo_of(config),
    )


def inner_splits(config: TrainingConfig, dataset: Dataset, what: str) -> list[Window]:
    """Return (train, test) of the inner splits of a training set; TrainingError where one has one class."""
    cross_validation = inner(config, dataset.labels)
    try:
        splits = list(cross_validation.split())
    except DataError as error:
        raise TrainingError(f"{what}: {error}") from error
    for number, (train, test) in enumerate(splits):
        require_both_classes(dataset.target[train], f"{what}, inner split {number}, training")
        if config.search.objective != "log_loss":
            require_both_classes(dataset.target[test], f"{what}, inner split {number}, test")
    return splits


def _sealed(config: TrainingConfig, dataset: Dataset) -> tuple[Integers, Integers]:
    first, last = int(dataset.decision[0]), int(dataset.decision[-1])
    settings = config.hold_out
    if settings.start is not None:
        start = int(np.datetime64(settings.start, "ns").astype(np.int64))
    else:
        start = int(last - (settings.share or 0.0) * (last - first)) // DAY * DAY
    found = f"signals are there from {_day(first)} to {_day(last)}"
    if start <= first:
        raise TrainingError(
            f"{config.symbol}: hold-out from {_day(start)} overlaps all of the training: {found}; "
            "let it start later"
        )
    if start > last:
        raise TrainingError(f"{config.symbol}: hold-out from {_day(start)} is empty: {found}; start earlier")
    known = dataset.exit + embargo_of(config) < start
    return np.flatnonzero((dataset.decision < start) & known), np.flatnonzero(dataset.decision >= start)


def _outer(config: TrainingConfig, dataset: Dataset, development: Integers) -> list[Window]:
    forward = config.validation.outer.on(dataset.decision[development], dataset.exit[development])
    try:
        found = [(development[train], development[test]) for train, test in forward.split()]
    except DataError as error:
        raise TrainingError(
            f"{config.symbol}: {error}; there are {development.size} samples before the hold-out"
        ) from error
    for (_, earlier), (_, later) in pairwise(found):
        if later[0] <= earlier[-1]:
            raise TrainingError(
                f"{config.symbol}: walk-forward {forward}: test windows overlap, so that their trades would "
                "count twice; step by at least the test span"
            )
    return found


def _require_enough(config: TrainingConfig, count: int, what: str) -> None:
    groups = config.validation.groups
    need = groups * LEAST_PER_GROUP
    if count >= need:
        return
    possible = count // LEAST_PER_GROUP
    fewer = f"take {possible} groups, " if possible > config.validation.test_groups + 1 else ""
    longer = math.ceil(10 * need / max(count, 1)) / 10
    raise TrainingError(
        f"{config.symbol}: {what}: {count} samples for {groups} groups of at least {LEAST_PER_GROUP}: {need} "
        f"would do; {fewer}make the training span {longer:g} times as long, widen the entry, or name "
        "features that need fewer bars before the first vector"
    )


def _dates(dataset: Dataset, rows: Integers) -> str:
    if not rows.size:
        return "(empty)"
    return f"{_day(int(dataset.decision[rows[0]]))} to {_day(int(dataset.decision[rows[-1]]))}"


def _day(stamp: int) -> str:
    return str(np.datetime64(stamp, "ns").astype("datetime64[D]"))
