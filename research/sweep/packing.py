"""Specs as arrays: variants of a family with `Signals`, packed so that compiled loops can read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.config import StrategyConfig, ids_read_by
from lockstep.strategy.decision import FILTER_COLUMN, FILTER_SLOTS
from lockstep.strategy.family import Family, family_of
from research.sweep.inputs import Inputs
from research.sweep.signals import BLOCK, SIGNALS, WAITING, WORD, Places, Words, evaluate_programs, words_of
from research.sweep.variants import Integers, Variants, combinations

# Shared fields that put ids into the vector, beside the family's own.
_READING = ("filters", "stop", "target", "size", "features")


class Ragged(NamedTuple):
    """Arrays of V specs behind each other in `content`, that of spec v from `at[v]` to `at[v + 1]`."""

    content: NDArray[Any]
    at: Places

    @classmethod
    def of(cls, parts: Sequence[Any], kind: type) -> Self:
        """Put arrays behind each other."""
        at = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(each) for each in parts], out=at[1:])
        return cls(np.fromiter(chain.from_iterable(parts), dtype=kind, count=int(at[-1])), at)

    def part(self, first: int, last: int) -> Self:
        """Return those of the specs first <= v < last."""
        at = self.at[first : last + 1]
        return type(self)(self.content[at[0] : at[-1]], at - at[0])

    def take(self, rows: Integers) -> Self:
        """Return those at `rows`, which may come more than once."""
        begins, lengths = self.at[rows], np.diff(self.at)[rows]
        at = np.zeros(rows.size + 1, dtype=np.int64)
        np.cumsum(lengths, out=at[1:])
        places = np.arange(at[-1]) + np.repeat(begins - at[:-1], lengths)
        return type(self)(self.content[places], at)


@dataclass(frozen=True, kw_only=True)
class Specs:
    """V specs as arrays.

    rules     as of `decide`, with the programs; bounds: int64 (V, 5), where these begin and end
    columns   rows of the features that hold the spec's vector
    filters   as of `decide`
    read      columns of the vector that the search for entries reads
    sizing    float64 (V, SIZING), see `sizing.contracts`; exits: float64 (V, 6), see `sizing.entry_order`
    """

    rules: Ragged
    bounds: Places
    columns: Ragged
    filters: Ragged
    read: Ragged
    sizing: Floats
    exits: Floats

    def __len__(self) -> int:
        return len(self.sizing)

    @classmethod
    def of(
        cls, configs: Sequence[StrategyConfig], market: Market, row: dict[str, int], threshold: float
    ) -> Self:
        """Pack configurations of one family; `row` says where the features of each id are.

        Each part is made once for all configurations that are equal in what it depends on.
        """
        if len(configs) == 1:
            return cls._of_one(configs[0], market, row, threshold)
        variants = Variants.of(configs)
        family = family_of(variants[0])
        signals = family.signals
        assert signals is not None
        vector, vectors = by_vector(variants)
        rule, rules = _made(variants.different(_rule_fields(family)), lambda each: (
            variants[each].rules(market.session, threshold)
        ))  # fmt: skip
        filter_, filters = _made(_within(variants, ("filters",), vector), lambda each: (
            variants[each].filter_rules()
        ))  # fmt: skip
        size, sizes = _made(_within(variants, ("size", "capital"), vector), lambda each: (
            variants[each].sizing_rules(market.instrument)
        ))  # fmt: skip
        exit_, exits = _made(_within(variants, ("stop", "target"), vector), lambda each: (
            variants[each].exit_rules()
        ))  # fmt: skip
        asked = [signals.reads(each) for each in rules]
        numbers: dict[tuple[int, ...], int] = {}
        ask = np.array([numbers.setdefault(each, len(numbers)) for each in asked], dtype=np.int64)[rule]
        read, some = combinations(((filter_, len(filters)), (ask, len(numbers))), variants.size)
        reads = [(*filters[filter_[each]][FILTER_COLUMN::FILTER_SLOTS], *asked[rule[each]]) for each in some]
        columns = [[row[each] for each in variants[first].feature_ids] for first in vectors.tolist()]
        return cls(
            rules=Ragged.of(rules, np.float64).take(rule),
            bounds=np.array([signals.programs(each) for each in rules], dtype=np.int64)[rule],
            columns=Ragged.of(columns, np.int64).take(vector),
            filters=Ragged.of(filters, np.float64).take(filter_),
            read=Ragged.of(reads, np.int64).take(read),
            sizing=np.array(sizes, dtype=np.float64)[size],
            exits=np.array(exits, dtype=np.float64)[exit_],
        )

    @classmethod
    def _of_one(cls, config: StrategyConfig, market: Market, row: dict[str, int], threshold: float) -> Self:
        """Pack one configuration: what many share need not be looked for."""
        signals = family_of(config).signals
        assert signals is not None
        rules, filters = config.rules(market.session, threshold), config.filter_rules()
        reads = (*filters[FILTER_COLUMN::FILTER_SLOTS], *signals.reads(rules))
        return cls(
            rules=Ragged.of([rules], np.float64),
            bounds=np.array([signals.programs(rules)], dtype=np.int64),
            columns=Ragged.of([[row[each] for each in config.feature_ids]], np.int64),
            filters=Ragged.of([filters], np.float64),
            read=Ragged.of([reads], np.int64),
            sizing=np.array([config.sizing_rules(market.instrument)], dtype=np.float64),
            exits=np.array([config.exit_rules()], dtype=np.float64),
        )

    def part(self, first: int, last: int) -> Self:
        """Return the specs first <= v < last."""
        parts: dict[str, Any] = {}
        for each in fields(self):
            whole = getattr(self, each.name)
            parts[each.name] = whole.part(first, last) if isinstance(whole, Ragged) else whole[first:last]
        return type(self)(**parts)

    def signals(self, inputs: Inputs) -> Words:
        """Return what their programs say at every bar, uint64 (V, 5, words)."""
        found = np.empty((len(self), SIGNALS, words_of(len(inputs.bars))), dtype=np.uint64)
        waiting, score = np.empty((WAITING, BLOCK), np.uint64), np.zeros(BLOCK * WORD)
        evaluate_programs(
            *self.rules, self.bounds, *self.columns, inputs.values, inputs.present, waiting, score, found
        )
        return found

    @property
    def traded(self) -> tuple[Any, ...]:
        """What the loops read beside the signals, in their order, and room for a vector."""
        return (*self.rules, *self.columns, *self.filters, *self.read, self.sizing, self.exits, self.room)

    @property
    def room(self) -> Floats:
        """Room for the longest vector."""
        return np.zeros(int(np.diff(self.columns.at).max()))


def by_vector(variants: Variants) -> tuple[Integers, Integers]:
    """Number the vectors of variants of one family: equal numbers, equal `feature_ids`.

    Returns the number of each variant's, int64 (V,), and for each number a variant that has it.

    What a vector holds is asked of each part of a configuration: there are few different parts, even where
    all variants are different.
    """
    own, rows = variants.different(family_of(variants[0]).layout)
    columns = [_numbered([variants[row].signal_ids for row in rows.tolist()], own)]
    for field in _READING:
        ids = [_read_by(field, value) for value in variants.values[field]]
        columns.append(_numbered(ids, variants.places.get(field, np.zeros(variants.size, dtype=np.int64))))
    return combinations(columns, variants.size)


def _read_by(field: str, value: Any) -> tuple[str, ...]:
    return tuple(each.feature for each in value) if field == "filters" else ids_read_by(value)


def _numbered(ids: Sequence[tuple[str, ...]], places: Integers) -> tuple[Integers, int]:
    """Return the number of what stands at each place, equal for equal ids, and how many there are."""
    numbers: dict[tuple[str, ...], int] = {}
    number = np.array([numbers.setdefault(each, len(numbers)) for each in ids], dtype=np.int64)
    return number[places], len(numbers)


def _rule_fields(family: Family) -> tuple[str, ...]:
    """Return the fields that the rules of `decide` are made of."""
    return tuple(dict.fromkeys((*family.entry, *family.exit, *family.layout, "window", "max_bars")))


def _within(variants: Variants, fields: tuple[str, ...], vector: Integers) -> tuple[Integers, Integers]:
    """Number the combinations of some fields and vectors: in each, an id has another column."""
    number, rows = variants.different(fields)
    return combinations(((number, rows.size), (vector, int(vector.max()) + 1)), variants.size)


def _made(found: tuple[Integers, Integers], make: Callable[[int], Any]) -> tuple[Integers, list[Any]]:
    """Return the number of each variant's, and what is made of the one variant of each number."""
    number, rows = found
    return number, [make(row) for row in rows.tolist()]
