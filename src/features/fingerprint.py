"""Fingerprints: a hash of everything that defines the values of a feature id."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from lockstep.compiled import python_source
from lockstep.errors import FeatureError
from lockstep.features.driver import drive_modifiers
from lockstep.features.feature_id import FeatureId, Term

_CONSTANTS = (bool, int, float, str)
_PROJECT = ("lockstep", "research")


def fingerprint(feature_id: FeatureId) -> str:
    """Return the SHA-256 (hex) of an id's definition.

    It covers the normalised source (comments, docstrings, names of the file and layout do not matter) of
    the kernel, of every kernel it calls and of every constant these read, with parameters, lookback and
    inputs; where the id has a rank or a lag, of their kernel too. Modifiers and qualifiers are part of the id
    and hashed with it. Of a derived column it covers its definition, as the hash of a model's bundle, and the
    fingerprints of its inputs.
    """
    digest = hashlib.sha256(str(feature_id).encode())
    if feature_id.column is not None:
        for part in (feature_id.column.definition, *map(fingerprint, feature_id.inputs)):
            digest.update(part.encode())
        return digest.hexdigest()
    for term in feature_id.terms:
        digest.update(_definition(term).encode())
    return digest.hexdigest()


def _definition(term: Term) -> str:
    found = reachable(term.feature.compute)
    if term != term.plain:
        found |= reachable(drive_modifiers)
    parts = [
        str(term.parameters),
        str(term.lookback),
        ",".join(term.feature.inputs),
        *sorted(f"{name}={text}" for (_, name), text in found.items()),
    ]
    return "\n".join(parts)


def reachable(function: Callable[..., Any]) -> dict[tuple[str, str], str]:
    """Return normalised sources and constants that `function` depends on, by (module, name).

    FeatureError where it reads something whose content cannot be told: an array, a list, a module of the
    project. Numbers, strings, tuples of them and functions that are imported by name can.
    """
    found: dict[tuple[str, str], str] = {}
    waiting = [python_source(function)]
    while waiting:
        current = waiting.pop()
        key = (current.__module__, current.__qualname__)
        if key in found:
            continue
        found[key] = normalised_source(current)
        for name, value in sorted(_surroundings(current).items()):
            if isinstance(value, _CONSTANTS) or _is_constant_tuple(value):
                found[current.__module__, f"{current.__qualname__}:{name}"] = repr(value)
            elif isinstance(python_source(value) if callable(value) else None, FunctionType):
                waiting.append(python_source(value))  # type: ignore[arg-type]
            elif not _is_foreign(value):
                raise FeatureError(
                    f"{current.__qualname__} reads {name}, {type(value).__name__}: its content cannot be "
                    "fingerprinted; use numbers, tuples and functions imported by name"
                )
    return found


def _surroundings(function: Callable[..., Any]) -> dict[str, object]:
    """Return what the function reads from its module and from functions around it."""
    scope = function.__globals__
    found = {name: scope[name] for name in _global_names(function.__code__) if name in scope}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return found | {name: cell.cell_contents for name, cell in cells}


def _is_foreign(value: object) -> bool:
    """Whether a value belongs to a library, whose version is part of the environment, not of the feature."""
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] not in _PROJECT
    return callable(value)


def _global_names(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_global_names, nested))


def _is_constant_tuple(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, _CONSTANTS) for item in value)


def normalised_source(function: Callable[..., Any]) -> str:
    """Return the source without decorators, docstring, annotations, comments and layout.

    FeatureError where the source cannot be read, as for functions typed into a bare interpreter.
    """
    name, unreadable = (
        function.__name__,
        f"{function.__qualname__}: its source cannot be read; put it in a file",
    )
    if name == "<lambda>":
        raise FeatureError(f"{function.__qualname__}: features are written with def, not lambda")
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except OSError as error:
        raise FeatureError(unreadable) from error
    # From Python 3.13 on, what was typed may come with the text of `python -c` as its source.
    if not isinstance(definition, ast.FunctionDef) or definition.name != name:
        raise FeatureError(unreadable)
    definition.decorator_list = []
    definition.returns = None
    for argument in ast.walk(definition.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    return ast.unparse(definition)
