"""The variants of a search: numbered, made when they are needed, never all at once.

Many combinations at once, without an object for each: checked and named by what they are made of.

A combination is valid where each of its fields is, and where those fields agree of which a rule speaks
together. So a grid of 160,000 is checked by the values of its fields, of which there are a hundred.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError
from lockstep.settings import validated
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import family_of
from research.experiments.paths import Content, placed
from research.sweep.variants import Integers, Variants, combinations

Parameters = dict[str, Any]
EVALUATION_DIGITS = 32


@dataclass(frozen=True)
class Variant:
    """One combination: its values by path as JSON, and its configuration.

    `config` is None where no valid configuration has these values; `error` says why.
    """

    number: int
    parameters: str
    config: StrategyConfig | None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class VariantSpace:
    """All combinations of the values of some paths over a base configuration.

    A combination has the number that it has in the product of the values, the last path varying fastest;
    the number says everything, so that a search can be resumed from the numbers that are missing. Spaces are
    equal where base and values are written alike.
    """

    base: StrategyConfig
    values: Mapping[str, Sequence[Any]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VariantSpace) and self._written == other._written

    def __hash__(self) -> int:
        return hash(self._written)

    @functools.cached_property
    def _written(self) -> tuple[type[StrategyConfig], str, tuple[tuple[str, ...], ...]]:
        return type(self.base), self.base.model_dump_json(), tuple(self.spelled.values())

    @functools.cached_property
    def _content(self) -> Content:
        return self.base.model_dump()

    @functools.cached_property
    def paths_by_field(self) -> dict[str, tuple[str, ...]]:
        """The paths that lead into each field that varies."""
        fields = dict.fromkeys(path.partition(".")[0] for path in self.values)
        return {
            field: tuple(path for path in self.values if path.partition(".")[0] == field) for field in fields
        }

    @functools.cached_property
    def _known_fields(self) -> dict[str, Any]:
        """Contents of fields that were made before: a field takes few values, combinations are many."""
        return {}

    @functools.cached_property
    def spelled(self) -> dict[str, tuple[str, ...]]:
        """By path, each of its values with it as JSON."""
        return {
            path: tuple(f"{json.dumps(path)}: {json.dumps(value)}" for value in values)
            for path, values in self.values.items()
        }

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(len(each) for each in self.values.values())

    def places(self, number: int) -> dict[str, int]:
        """Return the place of each path's value in its list, in the order of the paths."""
        found = []
        for path, values in reversed(list(self.values.items())):
            number, place = divmod(number, len(values))
            found.append((path, place))
        return dict(reversed(found))

    def number(self, places: Mapping[str, int]) -> int:
        """Return the combination with these places of all paths."""
        number = 0
        for path, values in self.values.items():
            number = number * len(values) + places[path]
        return number

    def variant(self, number: int) -> Variant:
        """Return a combination with its configuration, or with the rule that it breaks."""
        places = self.places(number)
        spelled = ", ".join(self.spelled[path][place] for path, place in places.items())
        try:
            config = validated(type(self.base), self._placed(places), where=f"variant {number}")
        except ConfigError as error:
            return Variant(number, f"{{{spelled}}}", None, str(error))
        return Variant(number, f"{{{spelled}}}", config)

    def config(self, places: Mapping[str, int]) -> StrategyConfig | None:
        """Return the base with the values at these places, or None where a rule forbids them."""
        try:
            return validated(type(self.base), self._placed(places), where="variant")
        except ConfigError:
            return None

    def _placed(self, places: Mapping[str, int]) -> Content:
        fields = (field for field, paths in self.paths_by_field.items() if paths[0] in places)
        return {**self._content, **{field: self.content_at(field, places) for field in fields}}

    def content_at(self, field: str, places: Mapping[str, int]) -> Any:
        """Return the content of a field with the values of its paths at these places, valid or not."""
        paths = self.paths_by_field[field]
        key = field + "".join(f" {places[path]}" for path in paths)
        if key not in self._known_fields:
            values = {path: self.values[path][places[path]] for path in paths}
            self._known_fields[key] = placed(self._content, values)[field]
        return self._known_fields[key]

    def readers(self, numbers: Sequence[int]) -> Iterator[StrategyConfig]:
        """Yield configurations that together read every feature that the combinations `numbers` read.

        Numeric values do not change what is read, so that one of them stands for all of its path; where
        that one breaks a rule together with others, every combination is looked at.
        """
        few = {path: values[:1] if _all_numbers(values) else values for path, values in self.values.items()}
        small = VariantSpace(base=self.base, values=few)
        found = [small.variant(number).config for number in range(small.size)]
        if None in found:
            found = [self.variant(number).config for number in numbers]
        yield from (config for config in found if config is not None)

    def sample(self, count: int, seed: int) -> list[int]:
        """Return the numbers of `count` different combinations, drawn with `seed`, rising.

        All of them where there are no more.
        """
        return sorted(random.Random(seed).sample(range(self.size), min(count, self.size)))

    def part(self, skip: int, count: int, seed: int) -> list[int]:
        """Return the numbers of `count` combinations after the first `skip` of a seeded order, rising.

        Fewer, or none, at the end of the space. Parts of one order share no combination.
        """
        order = np.random.default_rng(seed).permutation(self.size)
        return sorted(order[skip : skip + count].tolist())


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def evaluation_id(where: str, content: str) -> str:
    """Return the name of one evaluation, 32 hex digits: equal for equal code, configuration and data.

    where     names code, data and dates
    content   hash of the configuration; where there is no valid one, that of the base and the parameters
    """
    return hashlib.sha256(f"{where}\n{content}".encode()).hexdigest()[:EVALUATION_DIGITS]


def pieces(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield `numbers` in pieces of at most `size`."""
    yield from (numbers[first : first + size] for first in range(0, len(numbers), size))


def spelled(value: object) -> str:
    """Return a parameter's value as a person would write it."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return f"{value:.10g}" if isinstance(value, float) else json.dumps(value)


Texts = NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Combinations of a space.

    numbers      int64 (n,)
    parameters   (n,) their values by path, as JSON
    rows         int64 (m,): which of them have a valid configuration; configs: those
    errors       by row: the rule that a combination breaks
    """

    numbers: Integers
    parameters: Texts
    rows: Integers
    configs: Variants
    errors: Mapping[int, str]


def draw(space: VariantSpace, numbers: Sequence[int] | Integers) -> Drawn:
    """Return the combinations of these numbers, equal to `space.variant` of each."""
    wanted = np.asarray(numbers, dtype=np.int64)
    places = _places(space, wanted)
    values = {field: [getattr(space.base, field)] for field in type(space.base).model_fields}
    found: dict[str, Integers] = {}
    valid = np.ones(wanted.size, dtype=np.bool_)
    for fields in _together(space):
        paths = [path for field in fields for path in space.paths_by_field[field]]
        number, rows = combinations(((places[path], len(space.values[path])) for path in paths), wanted.size)
        configs = [space.config({path: int(places[path][row]) for path in paths}) for row in rows.tolist()]
        valid &= np.array([config is not None for config in configs])[number]
        for field in fields:
            values[field], place = _different(field, configs)
            found[field] = place[number]
    rows = np.flatnonzero(valid)
    broken = ((row, space.variant(int(wanted[row])).error) for row in np.flatnonzero(~valid).tolist())
    return Drawn(
        numbers=wanted,
        parameters=_parameters(space, places),
        rows=rows,
        configs=Variants(
            kind=type(space.base),
            size=rows.size,
            values=values,
            places={field: place[rows] for field, place in found.items()},
        ),
        errors={row: error for row, error in broken if error is not None},
    )


def config_hashes(variants: Variants) -> list[str]:
    """Return the `config_hash` of every variant."""
    digest = variants.kind.hash_begun()
    parts = ("{", *_fields(variants), "}", *_meanings(variants))
    return [_continued(digest, text).hexdigest() for text in _joined(parts, variants.size, "", "")]


def contents(drawn: Drawn, base_hash: str) -> tuple[Texts, Texts]:
    """Return what tells the combinations drawn apart, and their `config_hash`, None without a configuration.

    base_hash   of the base configuration: beside it, the parameters of a combination that is not valid
    """
    hashes: Texts = np.full(drawn.numbers.size, None, dtype=object)
    hashes[drawn.rows] = config_hashes(drawn.configs)
    found = base_hash + drawn.parameters
    found[drawn.rows] = hashes[drawn.rows]
    return found, hashes


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedCombinations:
    """Combinations of a space with their names, see `contents`."""

    drawn: Drawn
    contents: Texts
    hashes: Texts


# A night searches one space on a symbol after another, 100,000 combinations in batches of 40,000.
_AT_HAND = 3


def named_combinations(space: VariantSpace, numbers: Sequence[int], base_hash: str) -> NamedCombinations:
    """Return the combinations of these numbers with their names; those that were asked for last are at hand.

    They do not depend on bars: a search on another symbol has the same.
    """
    return _named(space, np.asarray(numbers, dtype=np.int64).tobytes(), base_hash)


@functools.lru_cache(maxsize=_AT_HAND)
def _named(space: VariantSpace, numbers: bytes, base_hash: str) -> NamedCombinations:
    drawn = draw(space, np.frombuffer(numbers, dtype=np.int64))
    named, hashes = contents(drawn, base_hash)
    return NamedCombinations(drawn=drawn, contents=named, hashes=hashes)


def evaluation_ids(where: str, contents: Sequence[str]) -> list[str]:
    """Return `variants.evaluation_id` of each of `contents`."""
    digest = hashlib.sha256(f"{where}\n".encode())
    return [_continued(digest, content).hexdigest()[:EVALUATION_DIGITS] for content in contents]


def _places(space: VariantSpace, numbers: Integers) -> dict[str, Integers]:
    """Return, by path, the places of the values of all combinations in their lists."""
    sizes = [len(values) for values in space.values.values()]
    return dict(zip(space.values, np.unravel_index(numbers, sizes), strict=True))


def _together(space: VariantSpace) -> Iterator[tuple[str, ...]]:
    """Yield the fields that vary, those beside each other that have to agree."""
    left = list(space.paths_by_field)
    groups = family_of(space.base).related_fields
    while left:
        related = next((each for each in groups if left[0] in each), (left[0],))
        fields = tuple(field for field in left if field in related)
        left = [field for field in left if field not in related]
        yield fields


def _different(field: str, configs: Sequence[StrategyConfig | None]) -> tuple[list[Any], Integers]:
    """Return the values of a field that occur, and which of them each configuration has, 0 without one."""
    numbers: dict[Any, int] = {}
    places = [
        0 if config is None else numbers.setdefault(getattr(config, field), len(numbers))
        for config in configs
    ]
    return list(numbers), np.array(places, dtype=np.int64)


def _parameters(space: VariantSpace, places: Mapping[str, Integers]) -> Texts:
    spelled = [np.array(space.spelled[path], dtype=object)[place] for path, place in places.items()]
    count = next(iter(places.values())).size
    return _joined([each for text in spelled for each in (", ", text)][1:], count, "{", "}")


def _fields(variants: Variants) -> Iterator[str | Texts]:
    """Yield the JSON of the fields that `config_hash` reads as written, those that vary for every variant."""
    meant = variants.kind.meant_fields()
    fields = [field for field in variants.kind.hashed_fields() if field not in meant]
    for number, field in enumerate(fields):
        if number:
            yield ", "
        spelled = [variants.kind.spelled(field, value) for value in variants.values[field]]
        yield (
            np.array(spelled, dtype=object)[variants.places[field]]
            if field in variants.places
            else spelled[0]
        )


def _meanings(variants: Variants) -> Iterator[Texts]:
    """Yield what `config_hash` reads of fields by their meaning, then of the vector, for every variant."""
    columns, known = [], list[list[frozenset[str]]]()
    for group in variants.kind.meant_together():
        places, rows = variants.different(group)
        some = [variants[row] for row in rows.tolist()]
        found = [variants.kind.meaning_of({field: getattr(each, field) for field in group}) for each in some]
        yield np.array([text for text, _ in found], dtype=object)[places]
        numbers: dict[frozenset[str], int] = {}
        of_row = np.array([numbers.setdefault(ids, len(numbers)) for _, ids in found], dtype=np.int64)
        columns.append((of_row[places], len(numbers)))
        known.append(list(numbers))
    places, rows = combinations(columns, variants.size)
    read = (
        frozenset[str]().union(*(sets[place[row]] for sets, (place, _) in zip(known, columns, strict=True)))
        for row in rows.tolist()
    )
    yield np.array([variants.kind.spelled_ids(ids) for ids in read], dtype=object)[places]


def _joined(parts: Iterable[str | Texts], count: int, begin: str, end: str) -> Texts:
    """Join texts of which some are the same for all."""
    columns, same = [], begin
    for part in (*parts, end):
        if isinstance(part, str):
            same += part
        else:
            columns += [itertools.repeat(same, count), part.tolist()]
            same = ""
    texts = map("".join, zip(*columns, itertools.repeat(same, count), strict=True))
    return np.fromiter(texts, dtype=object, count=count)


def _continued(digest: Any, text: str) -> Any:
    further = digest.copy()
    further.update(text.encode())
    return further
