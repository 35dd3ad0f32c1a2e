"""`Feature`: a pure function of its last `lookback` bars, and the decorator that declares one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockstep.compiled import kernel, python_source
from lockstep.errors import FeatureError
from lockstep.features.inputs import INPUT_COLUMNS, PAIR_SUFFIX

Parameters = tuple[int | float, ...]
MAX_LOOKBACK = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Feature:
    """A feature: its compiled kernel and what is declared about it.

    compute      compiled kernel: (window per input, then one scalar per parameter) -> float
    inputs       names of the input columns, in the order of `compute`'s arguments
    parameters   parameter name -> smallest allowed value; whole numbers unless `decimal` names them
    low, high    declared inclusive range of the value
    nan          when the value is NaN although every input is finite; "never" for most
    shift_invariant   adding a constant to all prices leaves the value as it is
    scale_invariant   multiplying all prices by a positive constant leaves the value as it is
    examples     one or more ids' parameter tuples, used by tests, documents and fingerprints

    >>> from lockstep.features import FeatureRegistry
    >>> rsi = next(each for each in FeatureRegistry() if each.name == "rsi")
    >>> rsi.lookback((2,)), rsi.low, rsi.high
    (41, 0, 100)
    """

    name: str
    family: str
    compute: Callable[..., float]
    inputs: tuple[str, ...]
    parameters: Mapping[str, float]
    decimal: frozenset[str]
    lookback_rule: int | Callable[..., int]
    low: float
    high: float
    nan: str
    shift_invariant: bool
    scale_invariant: bool
    examples: tuple[Parameters, ...]
    check: Callable[..., str | None] | None = None
    documentation: str = field(default="", repr=False)

    @property
    def needs_pair(self) -> bool:
        """Whether an input comes from the pair instrument, where a bar may be missing."""
        return any(name.endswith(PAIR_SUFFIX) for name in self.inputs)

    @property
    def is_price_level(self) -> bool:
        """Whether the value follows the level of prices; models may not use such a feature."""
        return not (self.shift_invariant or self.scale_invariant)

    def lookback(self, parameters: Parameters) -> int:
        """Return how many bars, the present one included, the value depends on."""
        rule = self.lookback_rule
        bars = rule if isinstance(rule, int) else int(rule(*parameters))
        if not 1 <= bars <= MAX_LOOKBACK:
            raise FeatureError(f"{self.spell(parameters)}: lookback {bars}: must be 1 to {MAX_LOOKBACK} bars")
        return bars

    def spell(self, parameters: Parameters) -> str:
        """Return the canonical id: the name, then each parameter behind an underscore."""
        return "_".join((self.name, *(format_parameter(value) for value in parameters)))

    def validate(self, parameters: Parameters) -> None:
        """Raise FeatureError unless `parameters` fit the declaration."""
        spelled = self.spell(parameters)
        if len(parameters) != len(self.parameters):
            wanted = "_".join((self.name, *(f"<{name}>" for name in self.parameters)))
            raise FeatureError(
                f"{spelled}: {self.name} takes {len(self.parameters)} parameters: write {wanted}, "
                f"for example {self.spell(self.examples[0])}"
            )
        for (name, smallest), value in zip(self.parameters.items(), parameters, strict=True):
            if name not in self.decimal and not isinstance(value, int):
                raise FeatureError(f"{spelled}: {name} = {value}: must be a whole number")
            if value < smallest:
                raise FeatureError(f"{spelled}: {name} = {value}: must be at least {smallest:g}")
        reason = self.check(*parameters) if self.check else None
        if reason:
            raise FeatureError(f"{spelled}: {reason}")
        self.lookback(parameters)

    def arguments(self, parameters: Parameters) -> Parameters:
        """Return the parameters typed as the kernel takes them (one compilation for all values)."""
        return tuple(
            float(value) if name in self.decimal else value
            for name, value in zip(self.parameters, parameters, strict=True)
        )


def format_parameter(value: int | float) -> str:
    """Return the one spelling of a parameter: `14`, `0.02`, `2` (never `2.0`)."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def feature(
    *,
    lookback: int | Callable[..., int],
    range: tuple[float, float] = (-math.inf, math.inf),
    nan: str = "never",
    shift_invariant: bool = False,
    scale_invariant: bool = False,
    minimum: Mapping[str, float] | None = None,
    check: Callable[..., str | None] | None = None,
    examples: tuple[Parameters, ...] = (),
    family: str | None = None,
) -> Callable[[Callable[..., float]], Feature]:
    """Declare a feature; see `Feature` for the meaning of the arguments.

    The function's argument names are its input columns (`close`, `close_pair`, `minute_of_session`, see
    `inputs.py`); all other arguments are parameters and become part of the id, in order. A parameter
    annotated `float` may be a decimal. `lookback` may be a function of the parameters; `minimum` holds
    the smallest value of parameters for which 1 is too small. The function sees windows of exactly
    `lookback` finite values, oldest first.
    """

    def declare(function: Callable[..., float]) -> Feature:
        source = python_source(function)
        arguments = inspect.signature(source).parameters
        inputs = tuple(name for name in arguments if name in INPUT_COLUMNS)
        parameters = [name for name in arguments if name not in INPUT_COLUMNS]
        name = source.__name__
        if not inputs or list(arguments) != [*inputs, *parameters]:
            raise FeatureError(f"feature {name}: arguments are input columns first, then parameters")
        if not source.__doc__:
            raise FeatureError(f"feature {name}: needs a docstring: definition, range, source")
        decimal = frozenset(p for p in parameters if arguments[p].annotation in (float, "float"))
        declared = Feature(
            name=name,
            family=family or source.__module__.rpartition(".")[2],
            compute=kernel(source),
            inputs=inputs,
            parameters={p: (minimum or {}).get(p, 0 if p in decimal else 1) for p in parameters},
            decimal=decimal,
            lookback_rule=lookback,
            low=range[0],
            high=range[1],
            nan=nan,
            shift_invariant=shift_invariant,
            scale_invariant=scale_invariant,
            examples=examples or ((),),
            check=check,
            documentation=inspect.cleandoc(source.__doc__),
        )
        for example in declared.examples:
            declared.validate(example)
        return declared

    return declare


def kernel_source(declared: Feature) -> Callable[..., Any]:
    """Return the Python function behind a feature, for tests that run it uncompiled."""
    return python_source(declared.compute)
