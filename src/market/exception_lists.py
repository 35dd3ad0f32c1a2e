"""Lists of exceptions to a calendar: `exceptions.csv`, which session templates name."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError
from lockstep.settings import suggestion

CLOSED = "closed"
FROM = "from"
_COLUMNS = ["list", "date", "open", "close", "why"]


def with_listed(session: object, path: Path, where: str) -> object:
    """Return the entry of a session with the list that its `exceptions` name written out.

    `exceptions: grains` takes the list `grains` of the CSV at `path`; a mapping takes it under the key
    `from`, and its own dates replace those of the list. ConfigError where there is no such list.
    """
    if not isinstance(session, Mapping) or "exceptions" not in session:
        return session
    declared = session["exceptions"]
    name = declared.get(FROM) if isinstance(declared, Mapping) else declared
    if not isinstance(name, str):
        return session
    lists = read_lists(path)
    if name not in lists:
        raise ConfigError(f"{where}.exceptions {name!r}: no such list{suggestion(name, lists)}")
    own = {day: entry for day, entry in declared.items() if day != FROM} if declared is not name else {}
    return {**session, "exceptions": {**lists[name], **own}}


@functools.cache
def read_lists(path: Path) -> dict[str, dict[date, dict[str, Any]]]:
    """Return the exceptions of a CSV by list and date, in the form of a template's `exceptions`.

    Columns list, date, open, close, why; lines that begin with # are comments; close `closed`: no session.
    ConfigError on the first line that is wrong.
    """
    found: dict[str, dict[date, dict[str, Any]]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(line for line in lines if not line.startswith("#"))
        if next(rows, None) != _COLUMNS:
            raise ConfigError(f"{path}: the header must be {','.join(_COLUMNS)}")
        for row in rows:
            name, day, entry = _exception(path, row)
            if day in found.setdefault(name, {}):
                raise ConfigError(f"{path}: {name} {day}: occurs twice; give it once")
            found[name][day] = entry
    return found


def _exception(path: Path, row: list[str]) -> tuple[str, date, dict[str, Any]]:
    try:
        name, day, opens, closes, _ = row
        moment = date.fromisoformat(day)
    except ValueError as error:
        rule = "write list,YYYY-MM-DD,open,close,why"
        raise ConfigError(f"{path}: {','.join(row)}: {error}; {rule}") from error
    if closes == CLOSED:
        return name, moment, {"closed": True}
    hours = {"open": opens, "close": closes}
    return name, moment, {key: value for key, value in hours.items() if value}
