"""Conditions: a boolean tree over feature ids, as YAML and as frozen models.

    {id: rsi_2, below: 10}                       below, at_most, above, at_least: a number or another id
    {id: month, between: [5, 10]}                inclusive
    {id: weekday, equals: 0}
    {all: [...]}   {any: [...]}   {not: ...}

A missing value (NaN) makes a comparison false, whichever way it is written: `not` is resolved into the
opposite comparison before anything is evaluated. No condition knows the position, so that each is a column
over the bars.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from lockstep.settings import Settings, shown

MAX_LEVELS = 6
MAX_COMPARISONS = 12
MAX_IDS = 16
MAX_WEIGHTS = 8
MAX_BYTES = 16_000
DIGITS = 4

SCORE = "score"
"""Names the weighted sum of a spec where a comparison names an id."""

_RELATIONS = ("below", "at_most", "above", "at_least")
_GROUPS = ("all", "any", "not")
# A tree that is this large is refused before it is looked at any closer.
_MOST_NODES = 200


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


def _few_digits(value: float) -> float:
    if float(f"{value:.{DIGITS}g}") != value:
        raise ValueError(f"give at most {DIGITS} significant digits: {value:.{DIGITS}g}")
    return value


Constant = Annotated[
    float, Field(allow_inf_nan=False), BeforeValidator(_no_switch), AfterValidator(_few_digits)
]
"""A finite number of at most four significant digits."""


def _is_no_number(text: str) -> str:
    """Return an id; ValueError for a number that YAML took for text, such as 1e-3."""
    try:
        value = float(text)
    except ValueError:
        return text
    plain = f"{value:f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0.001"
    raise ValueError(f"is read as text; write a plain number without quotes, such as {plain}")


def _number_or_id(value: object) -> str:
    return "id" if isinstance(value, str) else "number"


Operand = Annotated[
    Annotated[Constant, Tag("(number)")] | Annotated[str, AfterValidator(_is_no_number), Tag("(id)")],
    Discriminator(lambda value: f"({_number_or_id(value)})"),
]


class Comparison(Settings):
    """A value at a bar against a constant, two constants or another value at the same bar.

    id         a feature id, or `score`
    below, at_most, above, at_least   a constant or a feature id: <, <=, >, >=
    between    two constants, both inclusive; equals: one

    Exactly one of them is given.

    >>> Comparison(id="rsi_2", below=10).operands
    ('rsi_2',)
    """

    id: str
    below: Operand | None = None
    at_most: Operand | None = None
    above: Operand | None = None
    at_least: Operand | None = None
    between: tuple[Constant, Constant] | None = None
    equals: Constant | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        said = [name for name in (*_RELATIONS, "between", "equals") if getattr(self, name) is not None]
        if len(said) != 1:
            found = f"{said[0]} and {said[1]} are given" if said else "says nothing"
            raise ValueError(
                f"condition on {self.id}: {found}; give one of {', '.join(_RELATIONS)}, between, equals"
            )
        if self.between is not None and not self.between[0] <= self.between[1]:
            raise ValueError(
                f"condition on {self.id}: between {shown(self.between)}: the first must be <= the second"
            )
        if self.other is not None and SCORE in self.operands:
            raise ValueError(f"condition on {self.id}: a score is compared with constants only")
        if self.other == self.id:
            raise ValueError(f"condition on {self.id}: compares it with itself; name another id")
        return self

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        return {name: _plain(value) for name, value in content.items() if value is not None}

    @property
    def relation(self) -> str:
        """Name of the field that is given."""
        return next(name for name in (*_RELATIONS, "between", "equals") if getattr(self, name) is not None)

    @property
    def other(self) -> str | None:
        """The id that it is compared with, None for constants."""
        value = getattr(self, self.relation)
        return value if isinstance(value, str) else None

    @property
    def constants(self) -> tuple[float, ...]:
        """The constants that it is compared with."""
        value = getattr(self, self.relation)
        if isinstance(value, str):
            return ()
        return value if isinstance(value, tuple) else (value,)

    @property
    def operands(self) -> tuple[str, ...]:
        """The ids that it reads."""
        return (self.id,) if self.other is None else (self.id, self.other)


def _plain(value: Any) -> Any:
    """Return 10 for 10.0, as a person writes it."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


class AllOf(Settings):
    """True where every part is."""

    all: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AnyOf(Settings):
    """True where at least one part is."""

    any: Annotated[tuple[Condition, ...], Field(min_length=1)]


class NotOf(Settings):
    """True where the opposite of `part` is: `not (x < 5)` is `x >= 5`, and false where x is missing."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    part: Annotated[Condition, Field(alias="not")]

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # By its name or by its alias, as whoever writes asks for.
        (part,) = write(self).values()
        return {"not": part}


def _kind(value: object) -> str | None:
    if isinstance(value, AllOf | AnyOf | NotOf | Comparison):
        kinds = {AllOf: "all", AnyOf: "any", NotOf: "not", Comparison: "comparison"}
        return f"({kinds[type(value)]})"
    if not isinstance(value, Mapping):
        return "(comparison)"
    return next((f"({name})" for name in _GROUPS if name in value), "(comparison)")


Condition = Annotated[
    Annotated[AllOf, Tag("(all)")]
    | Annotated[AnyOf, Tag("(any)")]
    | Annotated[NotOf, Tag("(not)")]
    | Annotated[Comparison, Tag("(comparison)")],
    Discriminator(_kind),
]
"""A comparison, or all, any, not of conditions."""

for _group in (AllOf, AnyOf, NotOf):
    _group.model_rebuild()


def _small(value: object) -> object:
    """Return the content of a condition; ValueError where it is nested too deeply or without end."""
    level, count = [value], 0
    for depth in range(MAX_LEVELS + 2):
        parts = []
        for each in level:
            count += 1
            if count > _MOST_NODES:
                raise ValueError(f"more than {MAX_COMPARISONS} comparisons; make it simpler")
            _require_one(each)
            parts += list(_parts(each))
        if not parts:
            return value
        if depth == MAX_LEVELS:
            raise ValueError(f"nested deeper than {MAX_LEVELS} levels of all, any, not; make it flatter")
        level = parts
    return value


def _require_one(value: object) -> None:
    """Raise ValueError where a condition says several things side by side."""
    if isinstance(value, Mapping):
        said = [name for name in (*_GROUPS, "id") if name in value]
        if len(said) > 1:
            raise ValueError(
                f"{said[0]} and {said[1]} side by side; put one into the other, such as all: [{{any: …}}, …]"
            )


def _parts(value: object) -> Iterator[object]:
    """Yield what a group holds, of content that nobody has validated."""
    if isinstance(value, AllOf | AnyOf | NotOf):
        yield from parts_of(value)
    elif isinstance(value, Mapping):
        for name in _GROUPS:
            inner = value.get(name)
            if isinstance(inner, Mapping | Comparison | AllOf | AnyOf | NotOf):
                yield inner
            elif isinstance(inner, list | tuple):
                yield from inner


Tree = Annotated[Condition, BeforeValidator(_small)]
"""A whole condition: at most six levels."""


class Weight(Settings):
    """One part of a score: `weight` times the value of a feature id."""

    id: str
    weight: Constant

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: _plain(value) for name, value in write(self).items()}


class ModelVeto(Settings):
    """An entry needs the value of `id`, usually a model's probability, to be at least this."""

    id: str
    at_least: Constant

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: _plain(value) for name, value in write(self).items()}


def parts_of(condition: AllOf | AnyOf | NotOf) -> tuple[Any, ...]:
    """Return the conditions that a group is made of."""
    if isinstance(condition, AllOf):
        return condition.all
    return condition.any if isinstance(condition, AnyOf) else (condition.part,)


def comparisons(condition: Any) -> Iterator[Comparison]:
    """Yield every comparison of a condition, in the order in which it is written; none of None."""
    if isinstance(condition, Comparison):
        yield condition
    elif condition is not None:
        for part in parts_of(condition):
            yield from comparisons(part)
