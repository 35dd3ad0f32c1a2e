"""The grid file: which parameters take which values, on which symbols and dates, within which limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lockstep.market.dates import DateRange
from lockstep.settings import Settings, read_yaml, shown, validated
from lockstep.strategy.config import DEFAULT_FAMILY
from lockstep.strategy.family import Family, family_named
from research.experiments.foreign import require_native
from research.statistics.gate import GateLimits

SELECTABLE = ("sharpe", "cagr", "sortino", "calmar")
SelectBy = Literal["sharpe", "cagr", "sortino", "calmar"]
_DECIMALS = 10


class Steps(Settings):
    """Values from `start` to `stop`, both inclusive, `step` apart."""

    start: float
    stop: float
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.start <= self.stop < math.inf:
            raise ValueError(f"start {self.start:g} to stop {self.stop:g}: must increase; swap them")
        return self

    def values(self) -> tuple[float, ...]:
        """Return the values, rounded so that 0.1 + 2 x 0.1 is 0.3; whole numbers where all three are."""
        # The tolerance keeps a stop that is a whole number of steps away.
        count = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        found = [round(self.start + number * self.step, _DECIMALS) for number in range(count)]
        whole = all(each.is_integer() for each in (self.start, self.stop, self.step))
        return tuple(int(each) for each in found) if whole else tuple(found)


def _spelled_out(value: Any) -> Any:
    """Replace `{start, stop, step}` by its values, and a single value by a list of it."""
    if isinstance(value, Mapping) and {"start", "stop"} <= set(value):
        return Steps.model_validate(value).values()
    return value if isinstance(value, list | tuple) else (value,)


def _different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("no value: give at least one")
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"value {shown(value)} occurs twice; drop one")
    return values


Values = Annotated[tuple[Any, ...], BeforeValidator(_spelled_out), AfterValidator(_different)]


class SplitDates(Settings):
    """The `split:` block; each range may come from the command line instead."""

    train: DateRange | None = None
    validation: DateRange | None = None
    holdout: DateRange | None = None


class Grid(Settings):
    """A grid file.

    symbols      what to trade, one account each; a variant's score is its mean over all of them
    parameters   dotted path -> list of values, or {start, stop, step}
    split        train, validation and hold-out ranges of session dates
    select_by    measure on the validation range by which the winner is chosen
    top          how many winners are run again in Backtrader before a result is shown
    limits       what a winner must keep to at promotion
    """

    symbols: tuple[str, ...] = ()
    parameters: dict[str, Values]
    split: SplitDates = SplitDates()
    select_by: SelectBy = "sharpe"
    top: Annotated[int, Field(ge=1, le=100)] = 5
    limits: GateLimits = GateLimits()

    @model_validator(mode="after")
    def _varies_something(self) -> Self:
        if not self.parameters:
            raise ValueError("parameters is empty: give at least one path with its values")
        return self

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(len(values) for values in self.parameters.values())

    @classmethod
    def load(cls, path: Path, family: Family | None = None) -> Self:
        """Read a YAML file; ConfigError names the entry that is wrong and the nearest known key.

        family   of the strategies whose parameters it varies; the default one where none is given

        ForeignGrid, with the translated block as its hint, where it is written as other tools want it.
        """
        content = read_yaml(path)
        require_native(content, str(path), family or family_named(DEFAULT_FAMILY, where=str(path)))
        return validated(cls, content, where=str(path))
