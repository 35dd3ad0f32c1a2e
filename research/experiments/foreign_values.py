"""The values of one parameter as other tools write them.

Backtrader (`range(10, 31)`), vectorbt and numpy (`np.arange(...)`), optuna (`{low, high, step}`), Weights &
Biases (`{values: [...]}`), freqtrade (`IntParameter(10, 30)`).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import yaml

DIGITS = 10

_BOUNDS = (
    ("start", "low", "min", "from", "begin", "lower"),
    ("stop", "high", "max", "to", "end", "upper"),
    ("step", "q", "by", "increment"),
    ("num", "count", "n", "steps", "points"),
)
_KINDS = ("type", "distribution", "dtype", "log")
_CALL = re.compile(r"(?:np\.|numpy\.)?(range|arange|linspace)\((.*)\)|(\w*Parameter)\((.*)\)", re.DOTALL)
_NUMBERS = re.compile(r"[-+.\deE]+(\s*,\s*[-+.\deE]+)+")
# A range without a step gets as many values: few enough to look at, and said.
_VALUES = 5


def translated(value: Any) -> tuple[Any, str | None]:
    """Return values as a grid has them, and what was changed: None where they were so already."""
    if isinstance(value, str) and (called := _CALL.fullmatch(value.strip())):
        try:
            return _called(called[1] or called[3], *_arguments(called[2] or called[4] or ""))
        except (ValueError, SyntaxError, TypeError, IndexError):
            return value, "is a call that cannot be read; list its values"
    if isinstance(value, str) and _NUMBERS.fullmatch(value.strip()):
        return [yaml.safe_load(each) for each in value.split(",")], ""
    if not isinstance(value, Mapping):
        return value, None
    keys = {str(key).lower(): each for key, each in value.items()}
    for name in ("values", "choices", "options", "value"):
        if name in keys and not {"start", "stop"} <= set(keys):
            found = keys[name]
            if isinstance(found, Mapping | str):
                return translated(found)[0], ""
            return (found if isinstance(found, list) else [found]), ""
    low, high, step, count = (first_of(keys, names) for names in _BOUNDS)
    misspelled = set(keys).difference(*_BOUNDS, _KINDS)
    if not _is_number(low) or not _is_number(high) or misspelled or set(keys) <= {"start", "stop", "step"}:
        return value, None
    if isinstance(count, int):
        return _spaced(low, high, count), ""
    whole = str(first_of(keys, _KINDS)).lower().startswith("int")
    return _stepped(low, high, 1 if whole and step is None else step)


def first_of(content: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the value of the first of `names` that `content` has, or None."""
    return next((content[name] for name in names if name in content), None)


def _called(function: str, positional: list[Any], named: dict[str, Any]) -> tuple[Any, str | None]:
    if function in ("CategoricalParameter", "BooleanParameter"):
        return (list(positional[0]) if positional else [True, False]), ""
    if function.endswith("Parameter"):
        low, high = positional[0], positional[1]
        decimals = named.get("decimals", 3 if function == "DecimalParameter" else None)
        step = 1 if function == "IntParameter" else None
        if step is None and decimals is not None and (high - low) * 10**decimals <= 10 * _VALUES:
            step = round(0.1**decimals, DIGITS)
        return _stepped(low, high, step)
    if function == "linspace":
        return _spaced(positional[0], positional[1], int(named.get("num", (*positional, 50)[2]))), ""
    first, stop, step = {1: (0, *positional, 1), 2: (*positional, 1)}.get(len(positional), tuple(positional))
    # Python's ranges leave their stop out, a grid's includes it.
    count = math.ceil(round((stop - first) / step, DIGITS))
    last = round(first + (count - 1) * step, DIGITS)
    return {"start": first, "stop": last, "step": step}, f"{function} excludes its stop, a grid includes it"


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    call = ast.parse(f"f({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    named = {
        each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg in ("num", "decimals")
    }
    return [ast.literal_eval(each) for each in call.args], {str(key): value for key, value in named.items()}


def _stepped(low: Any, high: Any, step: Any) -> tuple[Any, str]:
    if _is_number(step) and step > 0:
        return {"start": low, "stop": high, "step": step}, ""
    if low == high:
        return [low], ""
    return _spaced(low, high, _VALUES), f"no step was given: {_VALUES} values"


def _spaced(low: float, high: float, count: int) -> list[float]:
    if count < 2:
        return [low]
    return [round(low + (high - low) * place / (count - 1), DIGITS) for place in range(count)]


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
