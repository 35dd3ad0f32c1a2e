"""Each entry's hash covers the one before it: a row that was edited, lost or added shows.

It is made of the rows as they are stored, so that it can be made again from the file alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

Row = tuple[Any, ...]

ORIGIN = b""
"""What stands before the first epoch."""

_encode = json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode


def link(previous: bytes, rows: object) -> bytes:
    """Return SHA-256 over the previous hash and the rows of an entry as JSON; bytes are spelled in hex."""
    return hashlib.sha256(previous + _encode(rows).encode()).digest()
