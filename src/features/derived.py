"""Derived columns: ids whose value is made of other ids' values at the same bar, as a model's answer is.

What makes them lives above this package, under the prefix of their ids, and is loaded when such an id is
asked for: `model:COMP@v3#3f2a9c1b04de` is answered by `lockstep.models`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lockstep.errors import FeatureError
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey

if TYPE_CHECKING:
    from lockstep.features.feature_registry import FeatureRegistry

# The package that answers ids of a prefix, by its function `derived_column(text, registry)`.
_ANSWERED_BY = {"model:": "lockstep.models"}


class DerivedColumn(Protocol):
    """A column that is computed row by row from a vector of other ids.

    base        the series that unqualified inputs are of, whatever is traded
    inputs      ids in the order of the columns that `answers` reads; none of them is derived
    low, high   inclusive range of the value
    definition  hash of everything that defines the answers beside the inputs
    trained     dates whose bars the answers were fitted on; None where nothing was fitted, or nobody knows
    """

    @property
    def base(self) -> SeriesKey:
        """Series of the inputs."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Ids of the inputs."""

    @property
    def low(self) -> float:
        """Smallest value."""

    @property
    def high(self) -> float:
        """Largest value."""

    @property
    def definition(self) -> str:
        """SHA-256 (hex)."""

    @property
    def trained(self) -> DateRange | None:
        """Dates on which the answers are in sample."""

    def describe(self) -> str:
        """Return what a reader needs to know, in a few lines."""

    def answers(self, rows: Floats) -> Floats:
        """Return the values, float64 (n,), of rows float64 (n, inputs) without NaN.

        A row's value has the same bits whether it is asked alone or among others.
        """


def is_derived(text: str) -> bool:
    """Whether an id is that of a derived column, well spelled or not."""
    return any(part.startswith(tuple(_ANSWERED_BY)) for part in text.split("*"))


def derived_column(text: str, registry: FeatureRegistry) -> DerivedColumn:
    """Return the column of an id; FeatureError, saying what was meant, where there is none."""
    for prefix, package in _ANSWERED_BY.items():
        if text.startswith(prefix):
            found: DerivedColumn = import_module(package).derived_column(text, registry)
            return found
    raise FeatureError(f"feature id {text!r}: a model's column is no factor of a product; list both ids")


def answers_of(text: str, column: DerivedColumn, inputs: Floats) -> Floats:
    """Return the values of a column, float64 (...), of inputs float64 (..., k): NaN where one is NaN.

    FeatureError where an answer lies outside the declared range, or there are not as many as rows.
    """
    rows = inputs.reshape(-1, inputs.shape[-1])
    complete = ~np.isnan(rows).any(axis=1)
    values = np.full(len(rows), np.nan)
    if complete.any():
        found = np.asarray(column.answers(np.ascontiguousarray(rows[complete])), dtype=np.float64)
        if found.shape != (np.count_nonzero(complete),):
            raise FeatureError(f"{text}: answers of shape {found.shape} to {np.count_nonzero(complete)} rows")
        within = (found >= column.low) & (found <= column.high)
        if not within.all():
            raise FeatureError(
                f"{text}: answered {float(found[~within][0])!r}, outside {column.low:g} to {column.high:g}; "
                "validate the bundle again"
            )
        values[complete] = found
    return values.reshape(inputs.shape[:-1])
