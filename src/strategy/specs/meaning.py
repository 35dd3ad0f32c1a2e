"""What a spec means, however it is written: by this, and not by their spelling, two specs are told apart.

Of a value it matters only in which place it lies among the constants that it is compared with; of two ids
that are compared with each other, which is greater. So a condition is a function of places, and a function
has one decision diagram: variables in the order of their names, neighbouring places that lead to the same
answer merged, a variable that changes nothing left out. Two spellings of a condition have the same diagram,
and the hash is over that.

An entry needs a complete vector, so that `x < 5 or x >= 5` is always true there. An exit is judged by those
values that are there: every variable has one more place, missing, at which all its comparisons are false.

What is not seen: that a feature has whole numbers only, that it keeps to its range, and what follows for
three ids from how two and two of them compare. Such spellings count as two, which is the safe side.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lockstep.strategy.specs.conditions import SCORE, Weight
from lockstep.strategy.specs.program import (
    ALWAYS,
    NEVER,
    Junction,
    NormalForm,
    Ordering,
    Within,
    ids_of,
    leaves,
    normal_form,
)

MOST_STEPS = 20_000
"""A diagram that takes more steps is not looked for: such a condition counts as it is written, sorted."""

_KNOWN = 16_384

Gate = tuple[Literal["long", "short", "both"], Within]
"""What an entry to one side, or to both, needs beside its condition."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What conditions mean.

    digest   SHA-256 (hex): equal for equal meaning
    forms    the conditions in normal form, without what never matters
    ids      the feature ids that these read
    idle     of each condition why no value changes what comes of it, "" where one does
    """

    digest: str
    forms: tuple[NormalForm, ...]
    ids: frozenset[str]
    idle: tuple[str, ...]


@functools.lru_cache(maxsize=_KNOWN)
def entry_meaning(long: Any, short: Any, score: tuple[Weight, ...], gates: tuple[Gate, ...]) -> Meaning:
    """Return what the conditions of both entries mean; where both are true at a bar, neither is taken.

    gates   have a say in the digest alone: an id that only they make idle is read, and needed, as before

    >>> from lockstep.strategy.specs.conditions import Comparison, NotOf
    >>> below, above = Comparison(id="rsi_2", below=10), NotOf(part=Comparison(id="rsi_2", at_least=10))
    >>> entry_meaning(below, None, (), ()).digest == entry_meaning(above, None, (), ()).digest
    True
    """
    forms = [_resolved(tree, score) for tree in (long, short)]
    needed = [
        Junction("and", tuple(form for side, form in gates if side in (name, "both")))
        for name in ("long", "short")
    ]
    diagrams = _Diagrams((*forms, *needed), complete=True)
    try:
        said = [diagrams.of(form) for form in forms]
        alone = [diagrams.unless(said[0], said[1]), diagrams.unless(said[1], said[0])]
    except OverflowError:
        return _as_written([*forms, *needed], forms, score)
    kept = diagrams.kept(alone)
    if len(kept) < len(diagrams.variables):
        forms = [_without(form, kept, _at_lowest) for form in forms]
    try:
        gated = [diagrams.both(root, diagrams.of(more)) for root, more in zip(alone, needed, strict=True)]
        text = diagrams.text(gated)
        kept = diagrams.kept(gated)
    except OverflowError:
        text = "\n".join(map(_sorted, (*forms, *needed)))
    beside = [_IDLE_BESIDE if root == _FALSE else "" for root in alone]
    idle = [_IDLE.get(root, other) for root, other in zip(said, beside, strict=True)]
    return _meaning(text, forms, score, (SCORE,) in kept, idle)


@functools.lru_cache(maxsize=_KNOWN)
def exit_meaning(tree: Any, score: tuple[Weight, ...]) -> Meaning:
    """Return what the condition of an exit means.

    >>> from lockstep.strategy.specs.conditions import AnyOf, Comparison
    >>> there = AnyOf(any=(Comparison(id="ibs", below=0.5), Comparison(id="ibs", at_least=0.5)))
    >>> exit_meaning(there, ()).ids, entry_meaning(there, None, (), ()).ids
    (frozenset({'ibs'}), frozenset())
    """
    form = _resolved(tree, score)
    diagrams = _Diagrams((form,), complete=False)
    try:
        root = diagrams.of(form)
    except OverflowError:
        return _as_written([form], [form], score)
    text, kept = diagrams.text([root]), diagrams.kept([root])
    if len(kept) < len(diagrams.variables):
        form = _without(form, kept, lambda _: False)
    return _meaning(text, [form], score, (SCORE,) in kept, [_IDLE.get(root, "")])


def canonical_score(score: Sequence[Weight]) -> tuple[Weight, ...]:
    """Return the weights in the order in which they are summed up: by id, without those that are 0.

    >>> score = (Weight(id="rsi_2", weight=1), Weight(id="ibs", weight=2), Weight(id="hour", weight=0))
    >>> [each.id for each in canonical_score(score)]
    ['ibs', 'rsi_2']
    """
    return tuple(sorted((each for each in score if each.weight != 0.0), key=lambda each: each.id))


def _meaning(
    text: str, forms: Sequence[NormalForm], score: Sequence[Weight], scored: bool, idle: Sequence[str]
) -> Meaning:
    weights = canonical_score(score)
    if scored:
        text += "".join(f"\n{each.id} {each.weight}" for each in weights)
    return Meaning(
        digest=hashlib.sha256(text.encode()).hexdigest(),
        forms=tuple(forms),
        ids=frozenset[str]().union(*(ids_of(form, weights) for form in forms)),
        idle=tuple(idle),
    )


def _as_written(
    content: Sequence[NormalForm], forms: Sequence[NormalForm], score: Sequence[Weight]
) -> Meaning:
    """Return what stands there as its own meaning: two spellings may count as two."""
    scored = any(_variable(leaf) == (SCORE,) for form in forms for leaf in leaves(form))
    return _meaning("\n".join(map(_sorted, content)), forms, score, scored, [""] * len(forms))


def _sorted(form: NormalForm) -> str:
    """Return a normal form as text, the parts of each `and` and `or` sorted, each once."""
    if isinstance(form, Junction):
        return f"{form.connective}({', '.join(sorted({_sorted(part) for part in form.parts}))})"
    if isinstance(form, Within):
        return repr((form.id, form.low + 0.0, form.high + 0.0))
    return repr((form.left, form.right, form.or_equal))


def _resolved(tree: Any, score: Sequence[Weight]) -> NormalForm:
    """Return a condition in normal form, NEVER for none; a score without weights is 0."""
    if tree is None:
        return NEVER
    form = normal_form(tree)
    if any(each.weight != 0.0 for each in score):
        return form
    return _folded(form, lambda leaf: _is_within(leaf, 0.0) if _variable(leaf) == (SCORE,) else None)


def _is_within(leaf: Within | Ordering, value: float) -> bool:
    return isinstance(leaf, Within) and leaf.low <= value <= leaf.high


def _at_lowest(leaf: Within | Ordering) -> bool:
    """Return what a comparison says where its variable lies in the lowest place."""
    return leaf.left < leaf.right if isinstance(leaf, Ordering) else leaf.low == -math.inf


def _without(form: NormalForm, kept: set[Variable], value: Callable[[Within | Ordering], bool]) -> NormalForm:
    """Return a form in which the comparisons of variables that are not `kept` have any value."""
    return _folded(form, lambda leaf: None if _variable(leaf) in kept else value(leaf))


def _folded(form: NormalForm, value: Callable[[Within | Ordering], bool | None]) -> NormalForm:
    """Return a form in which comparisons have values; None leaves one as it is."""
    if not isinstance(form, Junction):
        known = value(form)
        return form if known is None else ALWAYS if known else NEVER
    neutral, absorbing = (ALWAYS, NEVER) if form.connective == "and" else (NEVER, ALWAYS)
    parts = [part for each in form.parts if (part := _folded(each, value)) != neutral]
    if absorbing in parts:
        return absorbing
    return parts[0] if len(parts) == 1 else Junction(form.connective, tuple(parts)) if parts else neutral


Variable = tuple[str, ...]


def _variable(leaf: Within | Ordering) -> Variable:
    """Return what a comparison is about: an id, the score, or two ids of which one is the greater."""
    if isinstance(leaf, Within):
        return (leaf.id,)
    return (leaf.left, leaf.right) if leaf.left < leaf.right else (leaf.right, leaf.left)


_Node = tuple[int, tuple[float, ...], tuple[int, ...]]
# Where a variable lies decides which diagram follows: the variable as its place in the order of all; the
# least value of each place but the lowest; what follows place by place, and before that, where values may be
# missing, what follows there.

_FALSE, _TRUE = 0, 1
_AND, _OR, _UNLESS = range(3)
_IDLE = {_TRUE: "is true whatever the values", _FALSE: "is never true, whatever the values"}
_IDLE_BESIDE = "is true only where the other entry is too, and then neither is taken"
# The three places of two ids that are compared: less, equal, greater.
_EQUAL, _GREATER = 0.0, 1.0
# More nodes than there are steps.
_MANY = 1 << 20


class _Diagrams:
    """The decision diagrams of some conditions, by number: equal functions have equal numbers.

    complete   nothing is missing
    """

    def __init__(self, forms: Iterable[NormalForm], *, complete: bool) -> None:
        self.variables = sorted({_variable(leaf) for form in forms for leaf in leaves(form)})
        # Of what follows a node, where the lowest place is.
        self._lowest = 0 if complete else 1
        self._order = {variable: place for place, variable in enumerate(self.variables)}
        end: _Node = (len(self.variables), (), ())
        self._nodes = [end, end]
        self._numbers: dict[_Node, int] = {}
        self._joined: dict[int, int] = {}

    def of(self, form: NormalForm) -> int:
        """Return the diagram of a form."""
        if not isinstance(form, Junction):
            return self._leaf(form)
        operation, found = (_AND, _TRUE) if form.connective == "and" else (_OR, _FALSE)
        for part in form.parts:
            found = self._join(operation, found, self.of(part))
        return found

    def both(self, one: int, other: int) -> int:
        """Return the diagram of one and the other."""
        return self._join(_AND, one, other)

    def unless(self, one: int, other: int) -> int:
        """Return the diagram of one and not the other."""
        return self._join(_UNLESS, one, other)

    def _leaf(self, leaf: Within | Ordering) -> int:
        variable = _variable(leaf)
        if isinstance(leaf, Within):
            lowest = leaf.low == -math.inf
            # No -0.0: it is equal to 0.0 and written differently.
            starts = [] if lowest else [leaf.low + 0.0]
            if leaf.high < math.inf:
                starts.append(math.nextafter(leaf.high, math.inf) + 0.0)
        else:
            lowest = leaf.left < leaf.right
            starts = [_GREATER if lowest is leaf.or_equal else _EQUAL]
        inside = [_TRUE if lowest is (place % 2 == 0) else _FALSE for place in range(len(starts) + 1)]
        return self._node(self._order[variable], tuple(starts), [_FALSE] * self._lowest + inside)

    def _node(self, variable: int, starts: tuple[float, ...], branches: list[int]) -> int:
        lowest = self._lowest
        last = branches[lowest]
        if branches.count(last) == len(branches):
            return last
        kept, following = [], branches[: lowest + 1]
        for start, branch in zip(starts, branches[lowest + 1 :], strict=True):
            if branch != last:
                last = branch
                kept.append(start)
                following.append(branch)
        node = (variable, tuple(kept), tuple(following))
        number = self._numbers.setdefault(node, len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append(node)
        return number

    def _join(self, operation: int, one: int, other: int) -> int:
        if one == other:
            return _FALSE if operation == _UNLESS else one
        if operation == _UNLESS:
            if one == _FALSE or other == _TRUE:
                return _FALSE
            if other == _FALSE:
                return one
        else:
            if one > other:
                one, other = other, one
            if one <= _TRUE:
                return other if (one == _TRUE) is (operation == _AND) else one
        key = (operation * _MANY + one) * _MANY + other
        found = self._joined.get(key)
        if found is None:
            if len(self._joined) >= MOST_STEPS:
                raise OverflowError(f"a diagram takes more than {MOST_STEPS:,} steps")
            found = self._joined[key] = self._by_places(operation, one, other)
        return found

    def _by_places(self, operation: int, one: int, other: int) -> int:
        variable, starts, branches = self._nodes[one]
        second, others, following = self._nodes[other]
        join = self._join
        if variable < second:
            return self._node(variable, starts, [join(operation, each, other) for each in branches])
        if variable > second:
            return self._node(second, others, [join(operation, one, each) for each in following])
        if starts != others:
            finer = sorted({*starts, *others})
            branches, following = (
                self._spread(starts, branches, finer),
                self._spread(others, following, finer),
            )
            starts = tuple(finer)
        pairs = zip(branches, following, strict=True)
        return self._node(variable, starts, [join(operation, *pair) for pair in pairs])

    def _spread(
        self, starts: Sequence[float], branches: Sequence[int], finer: Sequence[float]
    ) -> tuple[int, ...]:
        """Return the branches of a node over finer places."""
        lowest, place = self._lowest, 0
        found = list(branches[: lowest + 1])
        for start in finer:
            if place < len(starts) and starts[place] == start:
                place += 1
            found.append(branches[lowest + place])
        return tuple(found)

    def kept(self, roots: Sequence[int]) -> set[Variable]:
        """Return the variables that matter in some diagrams."""
        return {self.variables[each] for each in {self._nodes[number][0] for number in self._within(roots)}}

    def text(self, roots: Sequence[int]) -> str:
        """Return some diagrams as text, the same whatever else is known."""
        numbers = self._within(roots)
        place = {_FALSE: 0, _TRUE: 1, **{number: at for at, number in enumerate(numbers, start=2)}}
        heads: dict[tuple[int, tuple[float, ...]], str] = {}
        lines = [str([place[root] for root in roots])]
        for number in numbers:
            variable, starts, branches = self._nodes[number]
            head = heads.get((variable, starts))
            if head is None:
                head = heads[variable, starts] = f"{self.variables[variable]} {starts}"
            lines.append(f"{head} {[place[each] for each in branches]}")
        return "\n".join(lines)

    def _within(self, roots: Sequence[int]) -> list[int]:
        """Return every node of some diagrams once, in an order that they alone decide."""
        found = list(dict.fromkeys(each for each in roots if each > _TRUE))
        seen = {_FALSE, _TRUE, *found}
        # Longer while it is gone through.
        for number in found:
            for each in self._nodes[number][2]:
                if each not in seen:
                    seen.add(each)
                    found.append(each)
        return found
