"""Many combinations at once, without an object for each: checked and named by what they are made of.

A combination is valid where each of its fields is, and where those fields agree of which a rule speaks
together. So a grid of 160,000 is checked by the values of its fields, of which there are a hundred.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.strategy.ibs_decision import IbsConfig
from research.experiments.variants import EVALUATION_DIGITS, VariantSpace
from research.sweep_configs import Integers, Variants, combinations

Texts = NDArray[np.object_]

# Fields of which one rule of the configuration speaks together; all other rules are about one field.
RELATED = (("timeframe", "window", "auto_close"), ("direction", "entry", "short_entry"))


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


def draw(space: VariantSpace, numbers: Sequence[int]) -> Drawn:
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
    digest = hashlib.sha256(f"{variants.kind.__name__} ".encode())
    return [
        _continued(digest, text).hexdigest() for text in _joined(_fields(variants), variants.size, "{", "}")
    ]


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
    while left:
        related = next((each for each in RELATED if left[0] in each), (left[0],))
        fields = tuple(field for field in left if field in related)
        left = [field for field in left if field not in related]
        yield fields


def _different(field: str, configs: Sequence[IbsConfig | None]) -> tuple[list[Any], Integers]:
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
    """Yield the JSON of the fields that `config_hash` is made of, those that vary for every variant."""
    for number, field in enumerate(sorted(set(variants.values) - {"name"})):
        yield f"{', ' if number else ''}{json.dumps(field)}: "
        spelled = [_json(variants, field, value) for value in variants.values[field]]
        yield (
            np.array(spelled, dtype=object)[variants.places[field]]
            if field in variants.places
            else spelled[0]
        )


def _json(variants: Variants, field: str, value: Any) -> str:
    config = variants.kind.model_construct(**{field: value})
    return json.dumps(config.model_dump(mode="json", include={field})[field], sort_keys=True)


def _joined(parts: Iterable[str | Texts], count: int, begin: str, end: str) -> Texts:
    """Join texts of which some are the same for all."""
    whole: Texts = np.full(count, begin, dtype=object)
    for part in (*parts, end):
        whole = whole + part
    return whole


def _continued(digest: Any, text: str) -> Any:
    further = digest.copy()
    further.update(text.encode())
    return further
