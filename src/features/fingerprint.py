"""Fingerprints: a hash of everything that defines the values of a feature id."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from lockstep.compiled import python_source
from lockstep.errors import FeatureError
from lockstep.features.feature_id import FeatureId, Term

_CONSTANTS = (bool, int, float, str)


def fingerprint(feature_id: FeatureId) -> str:
    """Return the SHA-256 (hex) of an id's definition.

    It covers the normalised source (comments, docstrings, names of the file and layout do not matter) of
    the kernel, of every kernel it calls and of every constant these read, with parameters, lookback and
    inputs. Qualifiers are part of the id and hashed with it.
    """
    digest = hashlib.sha256(str(feature_id).encode())
    for term in feature_id.terms:
        digest.update(_definition(term).encode())
    return digest.hexdigest()


def _definition(term: Term) -> str:
    parts = [
        str(term.parameters),
        str(term.lookback),
        ",".join(term.feature.inputs),
        *(f"{name}={text}" for name, text in sorted(reachable(term.feature.compute).items())),
    ]
    return "\n".join(parts)


def reachable(function: Callable[..., Any]) -> dict[str, str]:
    """Return normalised sources and constants that `function` depends on, by qualified name."""
    found: dict[str, str] = {}
    waiting = [python_source(function)]
    while waiting:
        current = waiting.pop()
        name = f"{current.__module__}.{current.__qualname__}"
        if name in found:
            continue
        found[name] = normalised_source(current)
        for global_name in sorted(_global_names(current.__code__)):
            value = current.__globals__.get(global_name)
            if isinstance(value, _CONSTANTS) or _is_constant_tuple(value):
                found[f"{current.__module__}:{global_name}"] = repr(value)
            elif isinstance(python_source(value) if callable(value) else None, FunctionType):
                waiting.append(python_source(value))  # type: ignore[arg-type]
    return found


def _global_names(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_global_names, nested))


def _is_constant_tuple(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, _CONSTANTS) for item in value)


def normalised_source(function: Callable[..., Any]) -> str:
    """Return the source without decorators, docstring, annotations, comments and layout.

    FeatureError where the source cannot be read, as for functions typed into a bare interpreter.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError as error:
        raise FeatureError(f"{function.__qualname__}: its source cannot be read; put it in a file") from error
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise FeatureError(f"{function.__qualname__}: features are written with def, not lambda")
    definition.decorator_list = []
    definition.returns = None
    for argument in ast.walk(definition.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    return ast.unparse(definition)
