"""Configuration files into frozen models, with one line that says what is wrong."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar, get_args

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from lockstep.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """What is declared of something: frozen, and a key that is not known is refused.

    >>> class Stop(Settings):
    ...     percent: float
    >>> Stop(percent=1.0).percent
    1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Grown(Settings):
    """A model of which hashes and files of earlier versions exist.

    Fields in `LATER` came afterwards. While one holds its default it is not written, so that what an earlier
    version wrote still has the same content and the same hash.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        fields = type(self).model_fields
        same = {
            name
            for name in self.LATER
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in content.items() if name not in same}


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the nearest known name, or all names where none is near."""
    names = sorted(known)
    upper = {candidate.upper(): candidate for candidate in names}
    near = difflib.get_close_matches(name.upper(), upper, n=1)
    return f"; did you mean {upper[near[0]]!r}?" if near else f"; known are {', '.join(names) or 'none'}"


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; ConfigError where it cannot be read, or gives a key twice."""
    return parse_yaml(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of YAML; ConfigError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {_reason(error)}") from error


def parse_yaml(content: bytes, path: Path) -> Any:
    """Return what the bytes of a YAML file say; ConfigError, naming `path`, as `read_yaml` raises it."""
    try:
        return yaml.load(content.decode(), _StrictLoader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {_reason(error)}") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice: the first value would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1 and key != "<<":
                raise ValueError(f"line {node.start_mark.line + 1}: key {key!r} occurs twice; give it once")
        return super().construct_mapping(node, deep)


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    ConfigError, without a place, for what JSON does not know or two readers could take differently: a key
    that occurs twice, NaN, infinite numbers, numbers of thousands of digits, deeper nesting than ours.
    """
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_keys_once)
        _require_flat(found)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is no JSON that can be used: {_reason(error)}") from error
    return found


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; ConfigError where it cannot be read, see `parse_json`."""
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


_DEEPEST = 40


def _require_flat(value: Any) -> None:
    """ValueError where containers are nested too deeply; what validates or prints them would recurse."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise ValueError(f"more than {_DEEPEST} levels of lists and objects")


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:60]!r} occurs twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _reason(error: BaseException) -> str:
    """Return one line, and no digits by the thousand."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number has thousands of digits" if "integer string conversion" in text else text


def _version(value: object) -> object:
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


SchemaVersion = Annotated[int, BeforeValidator(_version), Field(ge=1)]
"""The version of a file's schema: a whole number, and not `true`, which equals 1."""


# What a message shows of content that is nested or long.
_SHOWN_LEVELS, _SHOWN_PARTS = 4, 24


def shown(value: object, levels: int = _SHOWN_LEVELS) -> str:
    """Return a value as YAML would write it on one line, for a message: ISO dates, no Python.

    What is nested deeper than `levels`, and what follows the first parts of a long list, is left out.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        entries = (f"{name}: {shown(each, levels - 1)}" for name, each in value.items())
        return f"{{{_some(entries, levels)}}}"
    if isinstance(value, Iterable):
        return f"[{_some((shown(each, levels - 1) for each in value), levels)}]"
    return value.__name__ if isinstance(value, type) else str(value)


def _some(parts: Iterable[str], levels: int) -> str:
    if levels <= 0:
        return "…"
    first = list(islice(parts, _SHOWN_PARTS + 1))
    return ", ".join(first if len(first) <= _SHOWN_PARTS else [*first[:_SHOWN_PARTS], "…"])


def validated(model: type[Model], values: object, *, where: str) -> Model:
    """Return `values` as a model; ConfigError naming the first wrong entry, and the nearest known key."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{where}: {shown(values)}: expected a mapping with {', '.join(model.model_fields)}"
        )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problem(model, error)}") from error


def first_problem(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first wrong entry in one sentence: its place, its value, the rule, the nearest known key."""
    problems = error.errors(include_url=False)
    # A misspelled key often shows as a missing one too; the misspelling is what to mend.
    first = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    place = ".".join(str(part) for part in first["loc"] if not _is_tag(part)) or "entry"
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}{suggestion(str(first['loc'][-1]), _field_names(model))}"
    if first["type"] == "missing":
        return f"key {place!r} is missing; add it"
    given, rule = first["input"], first["msg"].removeprefix("Value error, ")
    rule = _EXPECTED.get(first["type"], "{rule}").format(rule=rule, **first.get("ctx", {}))
    if isinstance(given, Mapping | BaseModel) and (first["type"] == "value_error" or not first["loc"]):
        # The rule is about entries of it, and names them.
        return f"{place}: {rule}" if first["loc"] else rule
    return f"{place} {shown(given)}: {rule}"


def _is_tag(part: object) -> bool:
    """Whether a part of a place names an alternative, `(all)`, and no key of the file."""
    return isinstance(part, str) and part.startswith("(")


# Where pydantic speaks of Python's types.
_EXPECTED = {
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "finite_number": "expected a finite number",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "union_tag_invalid": "the value of {discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "needs a key {discriminator}",
}


def _field_names(model: type[BaseModel]) -> set[str]:
    """Return what the fields of a model, and of the models in its fields, are called in a file."""
    names: set[str] = set()
    seen, waiting = {model}, [model]
    while waiting:
        for name, info in waiting.pop().model_fields.items():
            names.add(info.alias or name)
            nested = [each for each in _models_in(info.annotation) if each not in seen]
            seen.update(nested)
            waiting += nested
    return names


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
