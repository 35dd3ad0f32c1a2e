"""Evidence as a JSON file that carries the hash of its content: an edited one is noticed.

It is no signature: whoever can write the file can seal it anew. It tells what was found from what somebody
changed by hand, and names a report for good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError, ParityError
from lockstep.identity import json_digest
from lockstep.settings import read_json

DIGEST = "digest"


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of plain JSON without its digest; NaN is refused (ValueError)."""
    rest = {name: value for name, value in content.items() if name != DIGEST}
    return json_digest(rest, allow_nan=False)


def sealed(content: Mapping[str, Any]) -> str:
    """Return plain JSON as text, with its digest."""
    return json.dumps({**content, DIGEST: digest_of(content)}, indent=2, allow_nan=False) + "\n"


def read_sealed(path: Path, *, kind: str, schema: int) -> dict[str, Any]:
    """Return the content of a sealed file.

    ParityError where it cannot be read, is of another `kind` or `schema`, or was changed since it was sealed.
    """
    content: dict[str, Any]
    try:
        content = read_json(path)
    except ConfigError as error:
        raise ParityError(f"{error}; give the JSON file of the report") from error
    written = content.get("schema") if isinstance(content, dict) else None
    if type(written) is not int or (content.get("kind"), written) != (kind, schema):
        raise ParityError(f"{path}: is no {kind} of schema {schema}; create it again with this version")
    if content.get(DIGEST) != digest_of(content):
        raise ParityError(f"{path}: was changed after it was written; create it again")
    return content
