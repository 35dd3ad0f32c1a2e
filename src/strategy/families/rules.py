"""The rules family: strategies as typed specs, conditions over feature ids for entries and exits.

What may be said is in `specs/conditions.py`, how it is evaluated in `specs/program.py`.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lockstep.compiled import uncounted
from lockstep.errors import FeatureError
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Floats
from lockstep.strategy.config import Filter, StrategyConfig, ids_read_by
from lockstep.strategy.decision import (
    AMBIGUOUS,
    CLEAR,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_SIGNAL,
    FAMILY,
    HOLD,
    IN_SESSION,
    MISSING,
    NO_SIGNAL,
    OUTSIDE_SESSION,
    SIDE,
    THRESHOLD,
    VETO,
    Clock,
    Holding,
    entry_gate,
    timed_exit,
)
from lockstep.strategy.family import Family, Signals, register
from lockstep.strategy.specs.conditions import (
    MAX_BYTES,
    MAX_COMPARISONS,
    MAX_IDS,
    MAX_WEIGHTS,
    SCORE,
    Comparison,
    ModelVeto,
    Tree,
    Weight,
    comparisons,
)
from lockstep.strategy.specs.meaning import Gate, canonical_score, entry_meaning, exit_meaning
from lockstep.strategy.specs.program import Within, holds, program

# What is read with a position, then what is read while flat; the programs follow: exits, then entries.
LONG_EXIT_STOP = FAMILY
SHORT_EXIT_STOP = FAMILY + 1
EXIT_WIDTH = FAMILY + 2
ENTRY_START = FAMILY + 3
LONG_ENTRY_STOP = FAMILY + 4
SHORT_ENTRY_STOP = FAMILY + 5
ENTRY_WIDTH = FAMILY + 6
VETO_COLUMN = FAMILY + 7
VETO_LOW = FAMILY + 8
PROGRAMS = FAMILY + 9
_EXIT_HEADER = (LONG_EXIT_STOP, SHORT_EXIT_STOP, EXIT_WIDTH)


class RulesConfig(StrategyConfig):
    """A spec: conditions for entries and exits, beside what all families share (`StrategyConfig`).

    long_entry, short_entry   conditions of an entry; where both are true at a bar, neither is taken
    long_exit, short_exit     conditions of an exit, beside stop, target, longest hold and auto-close
    score   at most 8 weighted ids; `id: score` in a condition names their weighted sum
    veto    an id, usually a model's probability, and the least value of it that an entry needs

    An entry needs every id of the vector; an exit is judged by those values that are there.

    >>> dip, strong = {"id": "rsi_2", "below": 10}, {"id": "ibs", "above": 0.8}
    >>> config = RulesConfig(name="dip", long_entry=dip, long_exit=strong)
    >>> config.feature_ids
    ('ibs', 'rsi_2')
    """

    family: Literal["rules"] = "rules"
    long_entry: Tree | None = None
    long_exit: Tree | None = None
    short_entry: Tree | None = None
    short_exit: Tree | None = None
    score: Annotated[tuple[Weight, ...], Field(max_length=MAX_WEIGHTS)] = ()
    veto: ModelVeto | None = None

    @model_validator(mode="after")
    def _can_be_traded(self) -> Self:
        if self.long_entry is None and self.short_entry is None:
            raise ValueError("gives no entry; give long_entry, short_entry or both")
        ends = self.stop or self.target or self.max_bars or self.auto_close
        for side, entry, leave in (
            ("long", self.long_entry, self.long_exit),
            ("short", self.short_entry, self.short_exit),
        ):
            if entry is None and leave is not None:
                raise ValueError(f"{side}_exit without {side}_entry; give {side}_entry, or drop it")
            if entry is not None and leave is None and not ends:
                raise ValueError(
                    f"{side}_entry: nothing would ever close the position; give {side}_exit, stop, target, "
                    "max_bars or auto_close"
                )
            count = sum(1 for tree in (entry, leave) for _ in comparisons(tree))
            if count > MAX_COMPARISONS:
                raise ValueError(
                    f"{side}_entry and {side}_exit: {count} comparisons; at most {MAX_COMPARISONS} a side, "
                    "make it simpler"
                )
        return self

    @model_validator(mode="after")
    def _score_is_whole(self) -> Self:
        named = [each.id for each in self.score]
        if twice := [each for each in named if named.count(each) > 1]:
            raise ValueError(f"score: {twice[0]} has two weights; give one")
        if SCORE in named:
            raise ValueError("score: a score cannot be part of itself; name feature ids")
        asked = any(SCORE in each.operands for each in self._comparisons())
        if asked and not named:
            raise ValueError("a condition asks for the score, and score is empty; give ids and weights")
        if named and not asked:
            raise ValueError("score: no condition asks for it; compare `id: score`, or drop it")
        return self

    @model_validator(mode="after")
    def _is_small(self) -> Self:
        if len(self.written_ids) > MAX_IDS:
            raise ValueError(f"reads {len(self.written_ids)} ids; at most {MAX_IDS}, make it simpler")
        size = len(json.dumps(self.model_dump(mode="json")))
        if size > MAX_BYTES:
            raise ValueError(f"is {size:,} bytes long; at most {MAX_BYTES:,}, make it simpler")
        return self

    @model_validator(mode="after")
    def _constants_can_occur(self) -> Self:
        for each in self._comparisons():
            _require_reachable(each.id, each.constants)
        if self.veto is not None:
            _require_reachable(self.veto.id, (self.veto.at_least,))
        return self

    @model_validator(mode="after")
    def _conditions_say_something(self) -> Self:
        entries = entry_meaning(self.long_entry, self.short_entry, self.score, ())
        leave = (exit_meaning(tree, self.score).idle[0] for tree in (self.long_exit, self.short_exit))
        names = ("long_entry", "short_entry", "long_exit", "short_exit")
        for name, idle in zip(names, (*entries.idle, *leave), strict=True):
            if idle and getattr(self, name) is not None:
                raise ValueError(f"{name} {idle}; correct it, or drop it")
        return self

    def _comparisons(self) -> list[Comparison]:
        trees = (self.long_entry, self.long_exit, self.short_entry, self.short_exit)
        return [each for tree in trees for each in comparisons(tree)]

    @property
    def written_ids(self) -> tuple[str, ...]:
        """Every id that a condition, the score or the veto names, sorted, whether it matters or not."""
        named = {each for comparison in self._comparisons() for each in comparison.operands} - {SCORE}
        named |= {each.id for each in self.score}
        return tuple(sorted(named if self.veto is None else {*named, self.veto.id}))

    @property
    def signal_ids(self) -> tuple[str, ...]:
        """The ids of the conditions, sorted, then that of the veto; without those that never matter.

        In `any: [{id: rsi_2, below: 10}, {id: rsi_2, at_least: 10}]`, as an entry, rsi_2 never does.
        """
        return self._compiled.ids

    @property
    def family_rules(self) -> tuple[float, ...]:
        """The slots from FAMILY on: the header, then the programs of exits and entries."""
        return self._compiled.rules

    @property
    def exit_slots(self) -> tuple[int, ...]:
        """The header of the exits and their programs."""
        return self._compiled.exit_slots

    @property
    def _compiled(self) -> CompiledSpec:
        return _compile(
            self.long_entry, self.long_exit, self.short_entry, self.short_exit, self.score, self.veto
        )

    @classmethod
    def meant_fields(cls) -> frozenset[str]:
        """Return the conditions, those of filters too, and further ids: only which there are matters."""
        return frozenset((*_CONDITIONS, "filters", "features"))

    @classmethod
    def meant_together(cls) -> tuple[tuple[str, ...], ...]:
        """Return what makes entries, what makes each exit, and what else the vector holds."""
        return (_ENTERS, *_LEAVES, *((field,) for field in ("stop", "target", "size", "features")))

    @classmethod
    def meaning_of(cls, values: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
        """Return what the values of a group of `meant_together` say, and the ids that they read."""
        if "filters" in values:
            return _entries(*(values[field] for field in _ENTERS))
        if "score" in values:
            tree, score = values.values()
            found = exit_meaning(tree, score)
            return f"\n{found.digest}", found.ids
        (value,) = values.values()
        return "", frozenset(ids_read_by(value))


@functools.lru_cache(maxsize=4096)
def _entries(
    long: Any, short: Any, score: tuple[Weight, ...], filters: tuple[Filter, ...], veto: ModelVeto | None
) -> tuple[str, frozenset[str]]:
    """Return the meaning of entries as text, and the ids that they read.

    A filter is one more condition, whatever order they are in, and so is the veto.
    """
    gates: list[Gate] = [(each.side, Within(each.feature, *each.bounds)) for each in filters]
    ids = {each.feature for each in filters}
    if veto is not None:
        gates.append(("both", Within(veto.id, veto.at_least, math.inf)))
        ids.add(veto.id)
    found = entry_meaning(long, short, score, tuple(gates))
    return f"\n{found.digest}", found.ids | ids


def _require_reachable(feature_id: str, constants: tuple[float, ...]) -> None:
    """Raise ValueError where a constant lies outside the declared range of its id."""
    try:
        parsed = default_registry().parse(feature_id)
    except FeatureError:
        return  # A feature of a registry of one's own, or none: the plan says so, with the nearest name.
    low, high = parsed.low, parsed.high
    for value in constants:
        if not low <= value <= high:
            raise ValueError(
                f"condition on {feature_id}: {value:g} is outside its range, {low:g} to {high:g}; correct it"
            )


@dataclass(frozen=True, kw_only=True)
class CompiledSpec:
    """A spec as `decide` reads it; fields as the properties of `RulesConfig`."""

    ids: tuple[str, ...]
    rules: tuple[float, ...]
    exit_slots: tuple[int, ...]


@functools.lru_cache(maxsize=4096)
def _compile(
    long_entry: Any, long_exit: Any, short_entry: Any, short_exit: Any,
    score: tuple[Weight, ...], veto: ModelVeto | None,
) -> CompiledSpec:  # fmt: skip
    meanings = (
        exit_meaning(long_exit, score), exit_meaning(short_exit, score),
        entry_meaning(long_entry, short_entry, score, ()),
    )  # fmt: skip
    signals = sorted(frozenset[str]().union(*(each.ids for each in meanings)))
    ids = tuple(dict.fromkeys((*signals, *(() if veto is None else (veto.id,)))))
    column = {each: place for place, each in enumerate(ids)}
    weights = canonical_score(score)
    programs = [program(form, column, weights) for each in meanings for form in each.forms]
    stops, at = [], PROGRAMS
    for each in programs:
        at += len(each)
        stops.append(at)
    long_exit_stop, short_exit_stop, long_entry_stop, short_entry_stop = map(float, stops)
    width = float(len(signals))
    header = (
        long_exit_stop, short_exit_stop, width,
        short_exit_stop, long_entry_stop, short_entry_stop, width,
        0.0 if veto is None else float(column[veto.id]),
        -math.inf if veto is None else veto.at_least,
    )  # fmt: skip
    slots = (*_EXIT_HEADER, *range(PROGRAMS, stops[1]))
    return CompiledSpec(
        ids=ids,
        rules=(*header, *(number for each in programs for number in each)),
        exit_slots=tuple(slot - FAMILY for slot in slots),
    )


@uncounted
def first_missing(values: Floats, width: int) -> int:
    """Return the first of `width` columns that is NaN, `width` where none is."""
    column = 0
    while column < width and not math.isnan(values[column]):
        column += 1
    return column


@uncounted
def program_bounds(rules: Floats) -> tuple[int, int, int, int, int]:
    """Return where the programs begin: long exit, short exit, long entry, short entry; and where they end."""
    return (
        PROGRAMS,
        int(rules[LONG_EXIT_STOP]),
        int(rules[SHORT_EXIT_STOP]),
        int(rules[LONG_ENTRY_STOP]),
        int(rules[SHORT_ENTRY_STOP]),
    )


def veto_column(rules: Floats) -> tuple[int, ...]:
    """Return the column of the veto, nothing without one."""
    return (int(rules[VETO_COLUMN]),) if rules[VETO_LOW] > -math.inf else ()


@uncounted
def leave(signal: bool, clock: Clock, holding: Holding, rules: Floats) -> int:
    """Return the decision with a position, HOLD for none; `signal` says what the exit's conditions do."""
    if clock[IN_SESSION] == 0.0:
        return OUTSIDE_SESSION
    if signal:
        return EXIT_SIGNAL
    due = timed_exit(clock, holding, rules)
    return HOLD if due == CLEAR else due


@uncounted
def enter(
    long: bool, short: bool, values: Floats, probability: float, clock: Clock, rules: Floats, filters: Floats
) -> int:
    """Return the decision while flat, where `long` and `short` say what the conditions of the entries do."""
    if clock[IN_SESSION] == 0.0:
        return OUTSIDE_SESSION
    width = int(rules[ENTRY_WIDTH])
    missing = first_missing(values, width)
    if missing < width:
        return MISSING + missing
    if long and short:
        return AMBIGUOUS
    if not (long or short):
        return NO_SIGNAL
    side = 1.0 if long else -1.0
    reason = entry_gate(values, side, clock, rules, filters)
    if reason != CLEAR:
        return reason
    # An absent veto asks column 0 for at least -inf, which entry_gate has found to be a number.
    if not values[int(rules[VETO_COLUMN])] >= rules[VETO_LOW]:
        return VETO
    if not probability >= rules[THRESHOLD]:
        return VETO
    return ENTER_LONG if long else ENTER_SHORT


@uncounted
def decide(
    values: Floats, probability: float, clock: Clock, holding: Holding, rules: Floats, filters: Floats
) -> int:
    """Return the decision at a completed bar; arguments and codes as in `decision.py`."""
    if holding[SIDE] != 0.0:
        first, last = PROGRAMS, int(rules[LONG_EXIT_STOP])
        if holding[SIDE] < 0.0:
            first, last = last, int(rules[SHORT_EXIT_STOP])
        code = leave(holds(values, rules, first, last), clock, holding, rules)
        width = int(rules[EXIT_WIDTH])
        missing = first_missing(values, width)
        return MISSING + missing if code == HOLD and missing < width else code
    middle = int(rules[LONG_ENTRY_STOP])
    long = holds(values, rules, int(rules[ENTRY_START]), middle)
    short = holds(values, rules, middle, int(rules[SHORT_ENTRY_STOP]))
    return enter(long, short, values, probability, clock, rules, filters)


_CONDITIONS = ("long_entry", "long_exit", "short_entry", "short_exit", "score", "veto")
_ENTERS = ("long_entry", "short_entry", "score", "filters", "veto")
_LEAVES = (("long_exit", "score"), ("short_exit", "score"))

RULES = register(
    Family(
        config=RulesConfig,
        decide=decide,
        signals=Signals(programs=program_bounds, enter=enter, leave=leave, reads=veto_column),
        # Every condition has a say in which column an id has: none changes one stage alone.
        entry=_CONDITIONS,
        exit=_CONDITIONS,
        layout=_CONDITIONS,
        related=((*_CONDITIONS, "stop", "target", "max_bars", "auto_close"),),
        needed={
            "long_entry": {"id": "ibs", "at_most": 0.2},
            "long_exit": {"id": "ibs", "at_least": 0.8},
            "short_entry": {"id": "ibs", "above": 0.9},
            "short_exit": {"any": [{"id": "score", "below": -0.4}, {"id": "ibs", "below": 0.3}]},
            "score": [{"id": "ibs", "weight": -1}, {"id": "rsi_2", "weight": 0.01}],
        },
        typical={
            "long_entry": (
                {"id": "ibs", "at_most": 0.2},
                {"all": [{"id": "rsi_2", "below": 20}, {"not": {"id": "ibs", "above": 0.6}}]},
            ),
            "long_exit": (
                {"id": "ibs", "at_least": 0.8},
                {"any": [{"id": "rsi_2", "above": 70}, {"id": "ibs", "between": [0.7, 0.9]}]},
            ),
            "short_entry": ({"id": "ibs", "above": 0.9}, {"id": "rsi_2", "above": "rsi_14"}),
            "short_exit": (
                {"any": [{"id": "score", "below": -0.4}, {"id": "ibs", "below": 0.3}]},
                {"id": "score", "below": -0.2},
            ),
            "score": (
                [{"id": "ibs", "weight": -1}, {"id": "rsi_2", "weight": 0.01}],
                [{"id": "rsi_2", "weight": 0.02}],
            ),
            "long_entry.at_most": (0.1, 0.2, 0.3),
            "long_exit.at_least": (0.5, 0.65, 0.8),
            "veto": (None, {"id": "volume_pctile_20", "at_least": 0.3}),
        },
    )
)
"""Typed specs."""
