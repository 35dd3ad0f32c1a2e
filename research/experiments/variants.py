"""The variants of a search: numbered, made when they are needed, never all at once."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.errors import ConfigError
from lockstep.market.validation import validated
from lockstep.strategy.ibs_decision import IbsConfig
from research.experiments.paths import Content, placed

Parameters = dict[str, Any]
EVALUATION_DIGITS = 32


@dataclass(frozen=True)
class Variant:
    """One combination: its values by path as JSON, and its configuration.

    `config` is None where no valid configuration has these values; `error` says why.
    """

    number: int
    parameters: str
    config: IbsConfig | None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class VariantSpace:
    """All combinations of the values of some paths over a base configuration.

    A combination has the number that it has in the product of the values, the last path varying fastest;
    the number says everything, so that a search can be resumed from the numbers that are missing.
    """

    base: IbsConfig
    values: Mapping[str, Sequence[Any]]

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

    def variant(self, number: int) -> Variant:
        """Return a combination with its configuration, or with the rule that it breaks."""
        places = self.places(number)
        spelled = ", ".join(self.spelled[path][place] for path, place in places.items())
        try:
            config = validated(type(self.base), self._placed(places), where=f"variant {number}")
        except ConfigError as error:
            return Variant(number, f"{{{spelled}}}", None, str(error))
        return Variant(number, f"{{{spelled}}}", config)

    def config(self, places: Mapping[str, int]) -> IbsConfig | None:
        """Return the base with the values at these places, or None where a rule forbids them."""
        try:
            return validated(type(self.base), self._placed(places), where="variant")
        except ConfigError:
            return None

    def _placed(self, places: Mapping[str, int]) -> Content:
        fields = (field for field, paths in self.paths_by_field.items() if paths[0] in places)
        return {**self._content, **{field: self._field(field, places) for field in fields}}

    def _field(self, field: str, places: Mapping[str, int]) -> Any:
        paths = self.paths_by_field[field]
        key = field + "".join(f" {places[path]}" for path in paths)
        if key not in self._known_fields:
            values = {path: self.values[path][places[path]] for path in paths}
            self._known_fields[key] = placed(self._content, values)[field]
        return self._known_fields[key]

    def readers(self, numbers: Sequence[int]) -> Iterator[IbsConfig]:
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
