"""Very many configurations without very many objects: the values that occur, and which of them each has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from lockstep.strategy.ibs_decision import IbsConfig

Integers = NDArray[np.int64]

# Codes of combinations are numbered anew before they could leave 64 bits.
_LARGE = 2**31


@dataclass(frozen=True, kw_only=True, eq=False)
class Variants(Sequence[IbsConfig]):
    """V configurations of one kind as a sequence; `variants[v]` makes the object.

    values   per field of the configuration: the different values that occur, all of them valid
    places   int64 (V,) per field with several values: which of them each variant has
    """

    kind: type[IbsConfig]
    size: int
    values: Mapping[str, Sequence[Any]]
    places: Mapping[str, Integers]

    @classmethod
    def of(cls, configs: Sequence[IbsConfig]) -> Self:
        """Return at least one configuration in this form; what is in it already comes back as it is."""
        if isinstance(configs, cls):
            return configs
        values: dict[str, list[Any]] = {}
        places: dict[str, Integers] = {}
        for field in type(configs[0]).model_fields:
            numbers: dict[Any, int] = {}
            found = [numbers.setdefault(getattr(config, field), len(numbers)) for config in configs]
            values[field] = list(numbers)
            if len(numbers) > 1:
                places[field] = np.array(found, dtype=np.int64)
        return cls(kind=type(configs[0]), size=len(configs), values=values, places=places)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> IbsConfig: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> IbsConfig | Self:
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
