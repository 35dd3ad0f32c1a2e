"""Plain JSON as text: what is read back equals what was written, NaN and infinities included.

Those are spelled NaN and Infinity, as Python's json reads them; strict JSON has no word for them.
"""

from __future__ import annotations

import json
from typing import Any

from lockstep.errors import JournalError

_encode = json.JSONEncoder(separators=(",", ":")).encode
_LEAVES = (str, int, float, type(None))


def text_of(value: object, where: str) -> str:
    """Return plain JSON as text; JournalError naming the place where a value is not plain JSON."""
    _require_plain(value, where)
    return _encode(value)


def value_of(text: str) -> Any:
    """Return what `text_of` was given."""
    return json.loads(text)


def _require_plain(value: object, where: str) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise JournalError(f"{where}: the key {name!r} is no text; the journal keeps plain JSON")
            _require_plain(each, f"{where}.{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _require_plain(each, f"{where}[{number}]")
    elif not isinstance(value, _LEAVES):
        kind = type(value).__name__
        raise JournalError(
            f"{where}: {value!r} is a {kind}; the journal keeps plain JSON: dict, list, str, int, float, None"
        )
