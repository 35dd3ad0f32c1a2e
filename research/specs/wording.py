"""Conditions in words, as a person would say them, and as lines of a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.strategy.config import Filter
from lockstep.strategy.specs.conditions import AllOf, Comparison, ModelVeto, NotOf, comparisons, parts_of
from lockstep.strategy.specs.program import NormalForm, Within, normal_form

_WORDS = {"below": "is below", "at_most": "is at most", "above": "is above", "at_least": "is at least"}
_OPPOSITE = {"below": "at_least", "at_least": "below", "above": "at_most", "at_most": "above"}
_MOST_INLINE = 3


@dataclass(frozen=True, kw_only=True)
class Line:
    """One condition of a tree: a comparison, or a group whose parts follow one level deeper.

    depth   0 for the whole tree
    text    `rsi_2 is below 10`, or for a group `all of these:`
    form    the same without `not`, as it is evaluated
    """

    depth: int
    text: str
    form: NormalForm
    is_group: bool


def lines(condition: Any, *, negated: bool = False, depth: int = 0) -> Iterator[Line]:
    """Yield a condition and its parts, each before those within it; none of None.

    `not` is resolved, as it is where the spec trades: `not (rsi_2 is below 10)` is `rsi_2 is at least 10`.

    >>> [each.text for each in lines(NotOf(part=Comparison(id="rsi_2", below=10)))]
    ['rsi_2 is at least 10']
    """
    if condition is None:
        return
    if isinstance(condition, NotOf):
        yield from lines(condition.part, negated=not negated, depth=depth)
        return
    form = normal_form(condition, negated=negated)
    if isinstance(condition, Comparison):
        text = comparison_words(condition, negated=negated)
        yield Line(depth=depth, text=text, form=form, is_group=False)
        return
    parts = parts_of(condition)
    if len(parts) > 1:
        text = "all of these:" if _is_and(condition, negated) else "at least one of these:"
        yield Line(depth=depth, text=text, form=form, is_group=True)
    for part in parts:
        yield from lines(part, negated=negated, depth=depth + (len(parts) > 1))


def _is_and(condition: Any, negated: bool) -> bool:
    return isinstance(condition, AllOf) is not negated


def comparison_words(said: Comparison, *, negated: bool = False) -> str:
    """Return one comparison, or its opposite, in words.

    >>> comparison_words(Comparison(id="month", between=(5, 10)), negated=True)
    'month is below 5 or above 10'
    """
    relation = said.relation
    if relation == "between":
        low, high = map(number_words, said.constants)
        return f"{said.id} is below {low} or above {high}" if negated else f"{said.id} is {low} to {high}"
    if relation == "equals":
        return f"{said.id} is {'not ' if negated else ''}{number_words(said.constants[0])}"
    if negated:
        relation = _OPPOSITE[relation]
    return f"{said.id} {_WORDS[relation]} {said.other or number_words(said.constants[0])}"


def number_words(value: float) -> str:
    """Return a constant as a person writes it: `10`, `0.05`, `1000000`.

    >>> number_words(10.0), number_words(0.05), number_words(1e6)
    ('10', '0.05', '1000000')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def filter_line(said: Filter) -> Line:
    """Return a filter as a condition."""
    low, high = said.bounds
    if said.min is not None and said.max is not None:
        text = f"{said.feature} is {number_words(low)} to {number_words(high)}"
    elif said.min is not None:
        text = f"{said.feature} is at least {number_words(low)}"
    else:
        text = f"{said.feature} is at most {number_words(high)}"
    return Line(depth=0, text=text, form=Within(said.feature, low, high), is_group=False)


def veto_line(said: ModelVeto) -> Line:
    """Return what a veto asks for as a condition."""
    text = f"{said.id} is at least {number_words(said.at_least)}"
    return Line(depth=0, text=text, form=Within(said.id, said.at_least, float("inf")), is_group=False)


def phrase(condition: Any) -> str | None:
    """Return a condition within a sentence, None where it is better shown as a list.

    >>> dip, trend = Comparison(id="rsi_2", below=10), Comparison(id="ret_5", above=0)
    >>> phrase(AllOf(all=(dip, trend)))
    'rsi_2 is below 10 and ret_5 is above 0'
    """
    found = list(lines(condition))
    if sum(1 for _ in comparisons(condition)) > _MOST_INLINE or sum(each.is_group for each in found) > 1:
        return None
    word = "or" if found[0].text.startswith("at least") and found[0].is_group else "and"
    return joined([each.text for each in found if not each.is_group], word)


def joined(parts: Sequence[str], word: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`.

    >>> joined(["a", "b", "c"], "or")
    'a, b or c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
