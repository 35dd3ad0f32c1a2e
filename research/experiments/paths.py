"""Dotted parameter paths: `entry.high`, `stop.percent`, `filters.0.max`, `max_bars`.

A path leads through the fields of a configuration; the two numbers of a range are `low` and `high`, the
parts of a list, such as the filters of the base configuration, are counted from 0. Into a condition it leads
as the base has it: `long_entry.all.0.below`, `short_entry.not.between.high`.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from lockstep.errors import ExperimentError
from lockstep.settings import suggestion
from lockstep.strategy.config import StrategyConfig

_BOUNDS = ("low", "high")
# One experiment is about one family and one timeframe, and a variant is named by its parameters.
_FIXED = ("name", "family", "timeframe")

Content = dict[str, Any]


def known_paths(base: StrategyConfig) -> tuple[str, ...]:
    """Return every path that a grid on `base` may vary, sorted."""
    found = _paths_of(type(base), "", base.model_dump())
    return tuple(sorted({path for path in found if path not in _FIXED}))


def require_known(paths: Mapping[str, object], base: StrategyConfig, *, where: str) -> None:
    """Raise ExperimentError, with the nearest known path, where a path leads nowhere."""
    known = known_paths(base)
    for path in paths:
        if path in _FIXED:
            raise ExperimentError(f"{where}: {path} cannot vary within an experiment; make one for each")
        if path not in known:
            raise ExperimentError(f"{where}: unknown parameter path {path!r}{suggestion(path, known)}")


def placed(base: Content, values: Mapping[str, Any]) -> Content:
    """Return the content of a configuration with `values` at their paths; both are left as they are.

    A stop or target that ends up with neither percent nor atr is none, so that a grid can say
    `stop.percent: [null, 1.0]`.
    """
    fields = {path.partition(".")[0] for path in values}
    content = {**base, **{field: copy.deepcopy(base[field]) for field in fields}}
    for path, value in values.items():
        _put(content, path, copy.deepcopy(value))
    return {**content, **{field: _none_if_unsaid(content[field]) for field in fields}}


def value_at(content: Content, path: str) -> Any:
    """Return what stands at a path of a configuration's content; None where a part on the way is None."""
    node: Any = content
    for part in path.split("."):
        if node is None:
            return None
        node = node[_key(node, part)] if isinstance(node, list | tuple) else node.get(part)
    return node


def _paths_of(model: type[BaseModel], before: str, content: Any) -> Iterator[str]:
    """Yield the paths of a model's fields; `content` is what the base has there, None for nothing."""
    for name, info in model.model_fields.items():
        path, value = f"{before}{name}", (content or {}).get(name)
        kinds = list(_kinds(info.annotation))
        yield path
        if any(_holds_itself(kind) for kind in kinds):
            yield from _paths_in(value, path)
            continue
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _paths_of(kind, f"{path}.", value)
            elif get_origin(kind) is tuple:
                yield from _tuple_paths(get_args(kind), path, value)


def _tuple_paths(members: tuple[Any, ...], path: str, value: Any) -> Iterator[str]:
    if len(members) == len(_BOUNDS) and members[-1] is not Ellipsis:
        yield from (f"{path}.{bound}" for bound in _BOUNDS)
    elif isinstance(members[0], type) and issubclass(members[0], BaseModel):
        for number, part in enumerate(value or ()):
            yield f"{path}.{number}"
            yield from _paths_of(members[0], f"{path}.{number}.", part)


def _paths_in(value: Any, path: str) -> Iterator[str]:
    """Yield the paths below `path` in content whose form the base decides: a tree of conditions."""
    parts: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        parts = value
    elif isinstance(value, list | tuple):
        numbers = not any(isinstance(each, Mapping) for each in value)
        parts = dict(zip(_BOUNDS, value, strict=True)) if numbers else dict(enumerate(value))
    for name, part in parts.items():
        yield f"{path}.{name}"
        yield from _paths_in(part, f"{path}.{name}")


@functools.cache
def _holds_itself(kind: Any) -> bool:
    """Whether a model has fields of its own kind, however deep: its content is a tree."""
    seen: set[Any] = set()
    waiting = list(_models_below(kind))
    while waiting:
        found = waiting.pop()
        if found is kind:
            return True
        if found not in seen:
            seen.add(found)
            waiting += _models_below(found)
    return False


def _models_below(kind: Any) -> Iterator[Any]:
    """Yield the models that stand in the fields of a model, those within tuples too."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return
    for info in kind.model_fields.values():
        for each in _kinds(info.annotation):
            members = get_args(each) if get_origin(each) is tuple else (each,)
            for member in members:
                yield from (part for part in _kinds(member) if isinstance(part, type))


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation, annotations about them left out."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    else:
        yield annotation


def _put(content: Content, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node: Any = content
    for part in parents:
        key = _key(node, part)
        if isinstance(node[key], tuple):
            node[key] = list(node[key])
        elif node[key] is None:
            node[key] = {}
        node = node[key]
    node[_key(node, last)] = value


def _key(node: Any, part: str) -> Any:
    if isinstance(node, dict):
        return part
    return _BOUNDS.index(part) if part in _BOUNDS else int(part)


def _none_if_unsaid(value: Any) -> Any:
    if not isinstance(value, dict) or "percent" not in value:
        return value
    return value if value["percent"] is not None or value.get("atr") is not None else None
