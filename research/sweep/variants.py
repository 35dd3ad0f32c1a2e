"""Very many configurations without very many objects: the values that occur, and which of them each has.

Variants of a strategy as arrays: what they share once, those of one shape side by side.

The shape of a configuration is what its rules read: the ids of its vector, whether there is a stop, a
target, a window, a longest hold, and so on. Slots that are absent in all variants of a shape become
literals in the generated loop, so that the compiler drops the code that would read them.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.decision import FAMILY, MAX_BARS
from lockstep.strategy.family import family_of
from research.sweep.kernels import NO_FILTER

Integers = NDArray[np.int64]

# Codes of combinations are numbered anew before they could leave 64 bits.
_LARGE = 2**31


@dataclass(frozen=True, kw_only=True, eq=False)
class Variants(Sequence[StrategyConfig]):
    """V configurations of one kind as a sequence; `variants[v]` makes the object.

    values   per field of the configuration: the different values that occur, all of them valid
    places   int64 (V,) per field with several values: which of them each variant has
    """

    kind: type[StrategyConfig]
    size: int
    values: Mapping[str, Sequence[Any]]
    places: Mapping[str, Integers]

    @classmethod
    def of(cls, configs: Sequence[StrategyConfig]) -> Self:
        """Return at least one configuration in this form; what is in it already comes back as it is."""
        if isinstance(configs, cls):
            return configs
        values: dict[str, list[Any]] = {}
        places: dict[str, Integers] = {}
        for field in type(configs[0]).model_fields:
            given = [*map(attrgetter(field), configs)]
            values[field] = given[:1]
            # Most fields are one object for all: it need not be hashed and compared.
            if len({*map(id, given)}) > 1:
                numbers: dict[Any, int] = {}
                found = [numbers.setdefault(each, len(numbers)) for each in given]
                values[field] = list(numbers)
                if len(numbers) > 1:
                    places[field] = np.array(found, dtype=np.int64)
        return cls(kind=type(configs[0]), size=len(configs), values=values, places=places)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> StrategyConfig: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> StrategyConfig | Self:
        if isinstance(index, slice):
            return self.take(np.arange(self.size)[index])
        if not 0 <= index < self.size:
            raise IndexError(index)
        places = self.places
        content = {
            field: values[places[field][index]] if field in places else values[0]
            for field, values in self.values.items()
        }
        # The values were validated, and together they were too: nothing is left to be looked at.
        return self.kind.model_construct(**content)

    def take(self, rows: Integers) -> Self:
        """Return the variants at `rows`."""
        places = {field: place[rows] for field, place in self.places.items()}
        return type(self)(kind=self.kind, size=rows.size, values=self.values, places=places)

    def different(self, fields: Sequence[str]) -> tuple[Integers, Integers]:
        """Number the combinations of the values of some fields.

        Returns the number of each variant's, int64 (V,), and for each number a variant that has it.
        """
        varied = [field for field in fields if field in self.places]
        columns = [(self.places[field], len(self.values[field])) for field in varied]
        return combinations(columns, self.size)


def combinations(columns: Iterable[tuple[Integers, int]], count: int) -> tuple[Integers, Integers]:
    """Number the rows of columns of places: equal rows get equal numbers.

    columns   int64 (count,) each, with the number of different places in it

    Returns the number of each row, int64 (count,), and for each number a row that has it.
    """
    code = np.zeros(count, dtype=np.int64)
    for places, size in columns:
        code = code * size + places
        if code.max(initial=0) > _LARGE:
            code = np.unique(code, return_inverse=True)[1]
    _, rows, numbers = np.unique(code, return_index=True, return_inverse=True)
    return numbers, rows


Parts = tuple[tuple[float, ...], ...]
Slots = tuple[tuple[str | None, ...], ...]

# How absent numbers are spelled in the generated loop.
_LITERALS = (None, "NAN", "INF", "-INF")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the generated loop for a group of variants depends on.

    family        name of the variants' family; code: its fingerprint and module: a compiled
                  loop never has older rules, and it imports that module
    width         ids of the vector
    entry, exit   per number of `entry_parts` and `exit_parts`: a literal, or None where it varies
    """

    family: str
    code: str
    width: int
    at_close: bool
    always_open: bool
    entry: Slots
    exit: Slots

    @property
    def name(self) -> str:
        """Return a short name that is the same for equal shapes."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class VariantGroup:
    """Variants that share ids, clock and shape, those of equal exit rules beside each other.

    config             any one of them
    positions          int64 (V,): where the variants stand in the list that was asked for
    entry_parameters   float64 (E, a): different entry rules; entry_of: int64 (V,), which one a variant has
    exit_parameters    float64 (X, b): different exit rules; exit_of: int64 (V,), rising
    """

    config: StrategyConfig
    shape: Shape
    positions: Integers
    entry_parameters: Floats
    entry_of: Integers
    exit_parameters: Floats
    exit_of: Integers


def entry_parts(config: StrategyConfig, market: Market, threshold: float) -> Parts:
    """Return what `decide` reads while flat: rules with NaN for those of exits, and filters."""
    rules = config.rules(market.session, threshold)
    rules[_exit_slots(config)] = math.nan
    return tuple(rules.tolist()), tuple(config.filter_rules().tolist()) or NO_FILTER


def exit_parts(config: StrategyConfig, market: Market) -> Parts:
    """Return what `hold` reads: rules with NaN for those of entries, sizing, stop and target."""
    rules = config.rules(market.session)
    masked = np.full(rules.size, math.nan)
    slots = _exit_slots(config)
    masked[slots] = rules[slots]
    return tuple(masked.tolist()), config.sizing_rules(market.instrument), config.exit_rules()


def _exit_slots(config: StrategyConfig) -> list[int]:
    """Return the slots of the rules that `decide` reads with a position; without one it reads all others."""
    return [MAX_BARS, *(FAMILY + slot for slot in config.exit_slots)]


_Grouped = tuple[Market, bool, float, list[VariantGroup]]
# A search sweeps the same variants over one range after another. Gone with the variants.
_grouped: weakref.WeakKeyDictionary[Variants, _Grouped] = weakref.WeakKeyDictionary()


def group_variants(
    configs: Sequence[StrategyConfig], market: Market, *, always_open: bool, threshold: float = ACCEPT_ALL
) -> list[VariantGroup]:
    """Return the variants in groups of one shape; of the same `Variants` they are found once.

    always_open   every bar is in session; then only a window or an auto-close reads the clock
    """
    variants = Variants.of(configs)
    known = _grouped.get(variants)
    if known is not None and known[0] is market and known[1:3] == (always_open, threshold):
        return known[3]
    found = _groups(variants, market, always_open, threshold)
    _grouped[variants] = (market, always_open, threshold, found)
    return found


def _groups(variants: Variants, market: Market, always_open: bool, threshold: float) -> list[VariantGroup]:
    family = family_of(variants[0])
    found = []
    for rows in _by_layout(variants, family.layout_fields):
        some = variants.take(rows)
        entry_of, entry_rows = some.different(family.entry_fields)
        exit_of, exit_rows = some.different(family.exit_fields)
        entries = _Stage.of([entry_parts(some[row], market, threshold) for row in entry_rows.tolist()])
        exits = _Stage.of([exit_parts(some[row], market) for row in exit_rows.tolist()])
        kind = entries.kind[entry_of] * len(exits.slots) + exits.kind[exit_of]
        for number in np.unique(kind).tolist():
            members = np.flatnonzero(kind == number)
            order = members[np.lexsort((entry_of[members], exit_of[members]))]
            first, second = divmod(number, len(exits.slots))
            config = some[int(order[0])]
            shape = Shape(
                family=family.name,
                code=f"{family.fingerprint} in {family.config.__module__}",
                width=len(config.feature_ids),
                at_close=config.execution == "close",
                always_open=always_open and config.window is None and config.auto_close is None,
                entry=entries.slots[first],
                exit=exits.slots[second],
            )
            entry_there, entry_places = np.unique(entry_of[order], return_inverse=True)
            exit_there, exit_places = np.unique(exit_of[order], return_inverse=True)
            found.append(
                VariantGroup(
                    config=config,
                    shape=shape,
                    positions=rows[order],
                    entry_parameters=entries.numbers[entry_there],
                    entry_of=entry_places,
                    exit_parameters=exits.numbers[exit_there],
                    exit_of=exit_places,
                )
            )
    return found


def _by_layout(variants: Variants, fields: Sequence[str]) -> Iterator[Integers]:
    """Yield the rows of variants that read the same columns and clock, sized in the same way."""
    place, rows = variants.different(fields)
    numbers: dict[object, int] = {}
    layout = [numbers.setdefault(_layout(variants[row]), len(numbers)) for row in rows.tolist()]
    of_variant = np.array(layout)[place]
    for number in numbers.values():
        yield np.flatnonzero(of_variant == number)


def _layout(config: StrategyConfig) -> object:
    return (
        config.feature_ids, config.auto_close, config.window is None, config.execution, config.capital,
        repr(config.max_age), len(config.filters), config.size.kind, len(config.family_rules),
        config.exit_slots,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Different rules of one stage: numbers, float64 (n, slots), and of which kind of `slots` each is."""

    numbers: Floats
    kind: Integers
    slots: list[Slots]

    @classmethod
    def of(cls, parts: list[Parts]) -> Self:
        numbers = np.array([[*chain.from_iterable(each)] for each in parts], dtype=np.float64)
        absent = np.isnan(numbers) + 2 * np.isposinf(numbers) + 3 * np.isneginf(numbers)
        kinds: dict[bytes, int] = {}
        kind = [kinds.setdefault(codes.tobytes(), len(kinds)) for codes in absent.astype(np.uint8)]
        lengths = [len(part) for part in parts[0]]
        slots = [_cut([_LITERALS[code] for code in codes], lengths) for codes in kinds]
        return cls(numbers=numbers, kind=np.array(kind, dtype=np.int64), slots=slots)


def _cut(slots: list[str | None], lengths: list[int]) -> Slots:
    each = iter(slots)
    return tuple(tuple(islice(each, length)) for length in lengths)
