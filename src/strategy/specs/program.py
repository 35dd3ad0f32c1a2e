"""Programs: conditions as flat numbers, and the compiled code that evaluates them.

A condition is first brought into normal form: `not` is resolved, every comparison with constants becomes an
inclusive interval of float64, and only `and` and `or` are left. Then it is written in postfix order, four
numbers each instruction:

    WITHIN   column, low, high     low <= value <= high
    LESS     column, other         value < other value
    AT_MOST  column, other         value <= other value
    ADD      column, weight        adds weight x value to the score, which begins at 0
    SCORE    -, low, high          low <= score <= high; the next score begins at 0
    AND, OR                        of the last two answers

NaN fails every comparison. There is no instruction that negates: `not (x > 5)` would be true of NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lockstep.compiled import kernel, uncounted
from lockstep.market.bars import Floats
from lockstep.strategy.specs.conditions import SCORE as SCORE_NAME
from lockstep.strategy.specs.conditions import AllOf, Comparison, NotOf, Weight, parts_of

WITHIN, LESS, AT_MOST, ADD, SCORE, AND, OR = range(7)
INSTRUCTION = 4

Connective = Literal["and", "or"]


@dataclass(frozen=True, slots=True)
class Within:
    """low <= value of `id` <= high, both float64 and inclusive."""

    id: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ordering:
    """The value of `left` is below that of `right`; with `or_equal` also equal to it."""

    left: str
    right: str
    or_equal: bool


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of its parts; without any it is ALWAYS or NEVER, which are parts of nothing."""

    connective: Connective
    parts: tuple[NormalForm, ...]


NormalForm = Within | Ordering | Junction
"""A condition without `not`."""

ALWAYS = Junction("and", ())
NEVER = Junction("or", ())


def normal_form(condition: Any, *, negated: bool = False) -> NormalForm:
    """Return a condition, or its opposite, without `not`.

    >>> from lockstep.strategy.specs.conditions import Comparison, NotOf
    >>> normal_form(NotOf(part=Comparison(id="rsi_2", below=10)))
    Within(id='rsi_2', low=10.0, high=inf)
    """
    if isinstance(condition, NotOf):
        return normal_form(condition.part, negated=not negated)
    if isinstance(condition, Comparison):
        return _opposite(condition) if negated else _comparison(condition)
    is_and = isinstance(condition, AllOf) is not negated
    parts = tuple(normal_form(part, negated=negated) for part in parts_of(condition))
    return Junction("and" if is_and else "or", parts) if len(parts) > 1 else parts[0]


def _above(value: float) -> float:
    return math.nextafter(value, math.inf)


def _below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def _comparison(said: Comparison) -> NormalForm:
    relation, other = said.relation, said.other
    if other is not None:
        left, right = (said.id, other) if relation in ("below", "at_most") else (other, said.id)
        return Ordering(left, right, relation in ("at_most", "at_least"))
    low, high = said.constants[0], said.constants[-1]
    bounds = {
        "below": (-math.inf, _below(high)),
        "at_most": (-math.inf, high),
        "above": (_above(low), math.inf),
        "at_least": (low, math.inf),
        "between": (low, high),
        "equals": (low, high),
    }
    return Within(said.id, *bounds[relation])


def _opposite(said: Comparison) -> NormalForm:
    found = _comparison(said)
    if isinstance(found, Ordering):
        return Ordering(found.right, found.left, not found.or_equal)
    assert isinstance(found, Within)
    outside = []
    if found.low > -math.inf:
        outside.append(Within(found.id, -math.inf, _below(found.low)))
    if found.high < math.inf:
        outside.append(Within(found.id, _above(found.high), math.inf))
    return Junction("or", tuple(outside)) if len(outside) > 1 else outside[0]


def leaves(form: NormalForm | None) -> Iterator[Within | Ordering]:
    """Yield the comparisons of a normal form; none of None."""
    if isinstance(form, Junction):
        for part in form.parts:
            yield from leaves(part)
    elif form is not None:
        yield form


def ids_of(form: NormalForm | None, score: Sequence[Weight]) -> set[str]:
    """Return the feature ids that a normal form reads, those of the score where it asks for it."""
    named: set[str] = set()
    for leaf in leaves(form):
        named |= {leaf.id} if isinstance(leaf, Within) else {leaf.left, leaf.right}
    if SCORE_NAME in named:
        named = (named - {SCORE_NAME}) | {each.id for each in score}
    return named


def program(form: NormalForm | None, column: Mapping[str, int], score: Sequence[Weight]) -> tuple[float, ...]:
    """Return the instructions of a normal form, four numbers each; none, which are never true, of NEVER.

    column   place of each id in the vector
    """
    return tuple(float(number) for each in _instructions(form, column, score) for number in each)


def _instructions(
    form: NormalForm | None, column: Mapping[str, int], score: Sequence[Weight]
) -> Iterator[tuple[float, float, float, float]]:
    if form == ALWAYS:
        # The sum of nothing is a number.
        yield (SCORE, 0, -math.inf, math.inf)
    elif isinstance(form, Junction):
        for place, part in enumerate(form.parts):
            yield from _instructions(part, column, score)
            if place:
                yield (AND if form.connective == "and" else OR, 0, 0, 0)
    elif isinstance(form, Ordering):
        yield (AT_MOST if form.or_equal else LESS, column[form.left], column[form.right], 0)
    elif isinstance(form, Within) and form.id == SCORE_NAME:
        for each in score:
            yield (ADD, column[each.id], each.weight, 0)
        yield (SCORE, 0, form.low, form.high)
    elif isinstance(form, Within):
        yield (WITHIN, column[form.id], form.low, form.high)


@kernel
def satisfies(op: int, value: float, other: float, low: float, high: float) -> bool:
    """Return what a comparison says of a value; NaN is never within, below or equal to anything."""
    if op == LESS:
        return value < other
    if op == AT_MOST:
        return value <= other
    return low <= value <= high


@uncounted
def holds(values: Floats, rules: Floats, start: int, stop: int) -> bool:
    """Return whether the program in rules[start:stop] is true of a vector; an empty one never is.

    The answers of which AND and OR take the last two are the bits of one whole number.
    """
    answers, total = 0, 0.0
    for at in range(start, stop, INSTRUCTION):
        op = int(rules[at])
        if op == AND:
            answers = (answers >> 1) & (answers | -2)
        elif op == OR:
            answers = (answers >> 1) | (answers & 1)
        elif op == ADD:
            total += rules[at + 2] * values[int(rules[at + 1])]
        elif op == SCORE:
            answers = (answers << 1) | satisfies(WITHIN, total, 0.0, rules[at + 2], rules[at + 3])
            total = 0.0
        elif op == WITHIN:
            value = values[int(rules[at + 1])]
            answers = (answers << 1) | satisfies(WITHIN, value, 0.0, rules[at + 2], rules[at + 3])
        else:
            value, other = values[int(rules[at + 1])], values[int(rules[at + 2])]
            answers = (answers << 1) | satisfies(op, value, other, 0.0, 0.0)
    return (answers & 1) == 1
