"""`ModelSpec`: what is asked of the zoo, without saying how good it is or which version answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lockstep.identity import json_digest
from lockstep.settings import Settings

_MOST = 2_000

Task = Literal["direction", "return", "volatility", "regime"]
"""Labels on every bar over the next `horizon` bars: whether the close is higher, by how much in ATR, the
log of the realised range, whether it is above its median so far (turbulent)."""


class ModelSpec(Settings):
    """A model of the zoo.

    horizon       bars ahead, 1 to 20
    features      feature ids, sorted, each once
    estimator     of `research/training/estimators.py`; a task with a value takes its regressor
    parameters    the estimator's own, whole: what is not given has the library's default; numbers of trees,
                  rounds and leaves are at most 2,000
    members       of an ensemble that differs by seed, 1 to 8; more than 1 where the seed makes a difference
    label         which of the task's labels, see `labels.py`; "" is the task's usual one

    >>> ModelSpec(task="volatility", features=("ibs", "atr_14")).name
    'volatility_h1'
    """

    task: Task
    horizon: Annotated[int, Field(ge=1, le=20)] = 1
    features: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    estimator: str = "hist_gradient_boosting"
    parameters: Mapping[str, bool | int | float | str | None] = {}
    members: Annotated[int, Field(ge=1, le=8)] = 1
    label: str = ""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError("features: an id is listed twice; list each once")
        # Loads the libraries of all estimators, which a spec does without.
        from research.training.estimators import ESTIMATORS

        estimator = ESTIMATORS[self.estimator]
        for name, value in self.parameters.items():
            if isinstance(value, int | float) and not abs(value) <= _MOST:
                raise ValueError(f"parameters: {name} {value}: must be a number up to {_MOST:,}")
        if self.members > 1 and not estimator.drawn(self.parameters):
            raise ValueError(
                f"members {self.members}: {self.estimator} gives the same model for every seed with these "
                "parameters; leave members at 1, or let each tree see a part of the columns or rows"
            )
        return self

    @property
    def name(self) -> str:
        """Name of its slot in the manifest, shared by all that answer the same question."""
        return f"{self.task}_h{self.horizon}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the question and the way to answer it; the order of features does not matter."""
        content = self.model_dump(mode="json") | {"features": sorted(self.features)}
        return json_digest(content)
