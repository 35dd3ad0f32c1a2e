"""Configuration files into frozen models, with one line that says what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from lockstep.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the nearest known name, or all names where none is near."""
    names = sorted(known)
    upper = {candidate.upper(): candidate for candidate in names}
    near = difflib.get_close_matches(name.upper(), upper, n=1)
    return f"; did you mean {upper[near[0]]!r}?" if near else f"; known are {', '.join(names) or 'none'}"


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; ConfigError where it cannot be read as one."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as YAML: {reason}") from error


def validated(model: type[Model], values: object, *, where: str) -> Model:
    """Return `values` as a model; ConfigError naming the first wrong entry, and the nearest known key."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {values!r}: expected a mapping with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_problem(model, error)}") from error


def _first_problem(model: type[BaseModel], error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # A misspelled key often shows as a missing one too; the misspelling is what to mend.
    first = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    place = ".".join(str(part) for part in first["loc"]) or "entry"
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}{suggestion(str(first['loc'][-1]), _field_names(model))}"
    if first["type"] == "missing":
        return f"key {place!r} is missing; add it"
    return f"{place} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"


def _field_names(model: type[BaseModel]) -> set[str]:
    """Return the field names of a model and of the models in its fields."""
    names = set(model.model_fields)
    for info in model.model_fields.values():
        names.update(*(_field_names(nested) for nested in _models_in(info.annotation)))
    return names


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
