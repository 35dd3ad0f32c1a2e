"""What our own researchers compose: a few tests of an entry, a side, a longest hold, a stop.

A draft is a spec of a simple form. It is written with constants of four digits, and read back from the spec
of any trial that has this form: so a researcher needs no memory but the session's.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from research.agents.proposal import CatalogueEntry, Proposal, StrategyKind
from research.zoo.model_spec import ModelSpec

HOLDS = (1, 2, 3, 5, 10)
STOPS = (0.0, 1.5, 3.0)
"""Multiples of `atr_14`; 0 is no stop."""

MOST_TESTS = 4
_DIGITS = 4
_SIDES = {"long": "long_entry", "short": "short_entry"}


class EntryTest(NamedTuple):
    """One test of an entry: `above` or at most the constant at `place` of the id's ladder."""

    id: str
    above: bool
    place: int


class Draft(NamedTuple):
    """A spec of a simple form: all `tests` open a position to `side`, which is held `hold` bars at most.

    stop   multiples of `atr_14`, 0 for none
    """

    side: str
    tests: tuple[EntryTest, ...]
    hold: int = 2
    stop: float = 0.0

    @property
    def ids(self) -> tuple[str, ...]:
        """What its tests read."""
        return tuple(each.id for each in self.tests)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for drafts that differ in the order of their tests only."""
        return (self.side, frozenset(self.tests), self.hold, self.stop)


def rounded(value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a constant of at most four significant digits within a range that such a constant can be in.

    >>> rounded(0.123456), rounded(99.999, high=100), rounded(-1234567.0)
    (0.1235, 100.0, -1235000.0)
    """
    found = float(f"{value:.{_DIGITS}g}")
    if found < low or found > high:
        step = 10.0 ** (math.floor(math.log10(abs(value) or 1.0)) - _DIGITS + 1)
        found = float(f"{value + (step if found < low else -step):.{_DIGITS}g}")
    return min(max(found, low), high)


@dataclass(frozen=True)
class Ladders:
    """The constants that each id may be compared with, rising, each once."""

    steps: Mapping[str, tuple[float, ...]]
    families: Mapping[str, str]

    @classmethod
    def of(cls, catalogue: Iterable[CatalogueEntry], models: Mapping[str, tuple[float, ...]]) -> Self:
        """Return those of the features' quantiles, and of models by the id under which they are read."""
        steps = {each.id: _rising(each) for each in catalogue}
        families = {each.id: each.family for each in catalogue}
        return cls({**steps, **models}, {**families, **dict.fromkeys(models, "model")})

    def spec(self, draft: Draft) -> dict[str, Any]:
        """Return a draft as fields of a spec."""
        tests = [
            {"id": each.id, "above" if each.above else "at_most": self.steps[each.id][each.place]}
            for each in draft.tests
        ]
        found: dict[str, Any] = {
            _SIDES[draft.side]: tests[0] if len(tests) == 1 else {"all": tests},
            "max_bars": draft.hold,
        }
        if draft.stop:
            found["stop"] = {"atr": draft.stop}
        return found

    def read(self, spec: Mapping[str, Any]) -> Draft | None:
        """Return the draft that was written so, None where a spec has another form or other constants."""
        side = next((each for each, entry in _SIDES.items() if entry in spec), "")
        if not side or not set(spec) <= {_SIDES[side], "max_bars", "stop"}:
            return None
        entry, stop = spec[_SIDES[side]], spec.get("stop")
        if not isinstance(entry, Mapping) or not isinstance(spec.get("max_bars"), int):
            return None
        parts = entry.get("all", (entry,))
        if not isinstance(parts, list | tuple):
            return None
        tests = [self._test(each) for each in parts]
        if not tests or any(each is None for each in tests):
            return None
        distance = (
            0.0 if stop is None else stop.get("atr", math.nan) if isinstance(stop, Mapping) else math.nan
        )
        if not (isinstance(distance, float | int) and distance == distance):
            return None
        known = tuple(each for each in tests if each is not None)
        return Draft(side, known, spec["max_bars"], float(distance))

    def _test(self, part: Any) -> EntryTest | None:
        if not isinstance(part, Mapping) or len(part) != 2:
            return None
        name, value = part.get("id"), part.get("above", part.get("at_most"))
        steps = self.steps.get(name) if isinstance(name, str) else None
        if name is None or steps is None or not isinstance(value, float | int):
            return None
        place = bisect_left(steps, value)
        if place == len(steps) or steps[place] != value:
            return None
        return EntryTest(name, "above" in part, place)

    def low(self, feature_id: str, share: int = 2) -> EntryTest:
        """Return the test for values up to a step, counted from the lowest: usually the 20 % quantile."""
        return EntryTest(feature_id, False, min(share, max(0, len(self.steps[feature_id]) - 2)))

    def high(self, feature_id: str, share: int = 2) -> EntryTest:
        """Return the test for values above a step, counted from the highest."""
        return EntryTest(feature_id, True, max(0, len(self.steps[feature_id]) - 1 - share))

    def words(self, test: EntryTest) -> str:
        """Return a test in words."""
        return f"{test.id} {'above' if test.above else 'at most'} {self.steps[test.id][test.place]:g}"


def _rising(entry: CatalogueEntry) -> tuple[float, ...]:
    return tuple(sorted({rounded(each, entry.low, entry.high) for each in entry.quantiles}))


def in_words(ladders: Ladders, draft: Draft) -> str:
    """Return a draft as a sentence.

    >>> entry = CatalogueEntry(id="ibs", family="price_bar", low=0.0, high=1.0, document="",
    ...                        quantiles=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    >>> ladders = Ladders.of([entry], {})
    >>> in_words(ladders, Draft("long", (ladders.low("ibs"),)))
    'long where ibs at most 0.3, for up to 2 bars'
    """
    stop = f", stop at {draft.stop:g} ATR" if draft.stop else ""
    where = " and ".join(ladders.words(each) for each in draft.tests)
    return f"{draft.side} where {where}, for up to {draft.hold} bar{'s' if draft.hold > 1 else ''}{stop}"


@dataclass(frozen=True, kw_only=True)
class Idea:
    """A draft with where it comes from; fields as of `Proposal`."""

    draft: Draft
    move: str
    parents: tuple[int, ...] = ()
    change: str = ""
    because: str = ""
    models: Mapping[str, ModelSpec] = field(default_factory=dict)

    def proposal(self, ladders: Ladders, kind: StrategyKind) -> Proposal:
        """Return it as a proposal."""
        read = {each.removeprefix("model:") for each in self.draft.ids if each.startswith("model:")}
        text = in_words(ladders, self.draft)
        return Proposal(
            spec=ladders.spec(self.draft),
            models={alias: self.models[alias] for alias in sorted(read)},
            kind=kind,
            move=self.move,
            rationale=f"{text}: {self.because}" if self.because else text,
            parents=self.parents,
            change=self.change,
        )


def drawn(ladders: Ladders, ids: Sequence[str], random: np.random.Generator, *, tests: int) -> Draft:
    """Return a draft drawn evenly: ids, sides, steps, hold; half of them without a stop."""
    chosen = random.permutation(len(ids))[:tests]
    found = []
    for number in chosen.tolist():
        share = int(random.integers(0, 5))
        make = ladders.high if random.random() < 0.5 else ladders.low
        found.append(make(ids[number], share))
    stop = STOPS[int(random.integers(1, len(STOPS)))] if random.random() < 0.5 else 0.0
    side = "long" if random.random() < 0.5 else "short"
    return Draft(side, tuple(found), HOLDS[int(random.integers(len(HOLDS)))], stop)


def neighbours(draft: Draft, ladders: Ladders) -> list[tuple[Draft, str]]:
    """Return what one small step makes of a draft, each with what changed: a constant, the hold, the stop."""
    found = []
    for number, each in enumerate(draft.tests):
        for place in (each.place - 1, each.place + 1):
            if not 0 <= place < len(ladders.steps[each.id]) - (not each.above):
                continue
            moved = each._replace(place=place)
            tests = (*draft.tests[:number], moved, *draft.tests[number + 1 :])
            found.append((draft._replace(tests=tests), f"{ladders.words(moved)} in place of its neighbour"))
    for values, name, words in ((HOLDS, "hold", "holds up to {} bars"), (STOPS, "stop", "stop at {} ATR")):
        now = getattr(draft, name)
        for other in _beside(values, now):
            found.append((draft._replace(**{name: other}), words.format(f"{other:g}")))
    return found


def _beside(values: Sequence[Any], now: Any) -> list[Any]:
    if now not in values:
        return [values[0]]
    place = values.index(now)
    return [values[each] for each in (place - 1, place + 1) if 0 <= each < len(values)]
