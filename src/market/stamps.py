"""Stamps of a data file to UTC nanoseconds: formats, offsets, time zones and daylight saving."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.market.bars import Flags, Stamps
from lockstep.market.faults import Faults
from lockstep.market.schedule import DAY
from lockstep.market.sessions import Dates
from lockstep.market.source import Source

COLUMN = "datetime"
MISMATCH = "wrong timeframe"

_ISO = r"^\d{4}-\d{2}-\d{2}([T ]|$)"
_OFFSET = r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
_FIRST, _LAST = np.datetime64("1700", "us"), np.datetime64("2250", "us")
_NEVER = np.datetime64("NaT", "ns")
_NAT = np.iinfo(np.int64).min


def utc_stamps(column: Any, source: Source, faults: Faults) -> Stamps:
    """Return the stamps of a column as int64 (n,), UTC nanoseconds; broken rows go to `faults`, 0 there.

    A session date becomes midnight UTC of that date.
    """
    wall, aware = _parsed(column, source, faults)
    if source.stamp == "session_date":
        faults.add(aware, COLUMN, "a session date has no offset from UTC; declare what the stamps mean")
        rule = f"{MISMATCH}: 1d is declared, and a session date has no time of day"
        faults.add(wall % DAY != 0, COLUMN, rule)
        return wall
    if source.timezone is None:
        rule = "has no offset from UTC, and the source declares no timezone; declare it in instruments.yml"
        faults.add(~aware, COLUMN, rule)
        return wall
    return np.where(aware, wall, _localised(wall, ~aware & faults.good, source.timezone, faults))


def _parsed(column: Any, source: Source, faults: Faults) -> tuple[Stamps, Flags]:
    """Return nanoseconds as written (UTC where an offset is given), and which rows have an offset."""
    import pyarrow as pa

    form = source.stamp_format or "2024-01-31 15:30:00 (ISO 8601)"
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        aware = np.full(len(column), getattr(column.type, "tz", None) is not None)
        stamps = _as_written(column.to_pandas(), None)
    else:
        stamps, aware = _from_text(column.cast(pa.string()), source.stamp_format)
    bad = np.isnat(stamps)
    faults.add(bad, COLUMN, f"must be a stamp in the form {form}, from 1700 to 2249")
    return np.where(bad, np.datetime64(0, "ns"), stamps).astype(np.int64), aware


def _from_text(text: Any, form: str | None) -> tuple[Dates, Flags]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if form is not None:
        return _as_written(text.to_pandas(), form), np.zeros(len(text), dtype=np.bool_)
    iso = pc.fill_null(pc.match_substring_regex(text, _ISO), False)
    aware = np.asarray(pc.fill_null(pc.match_substring_regex(text, _OFFSET), False))
    series = pc.if_else(iso, text, pa.scalar(None, pa.string())).to_pandas()
    if aware.all() or not aware.any():
        return _as_written(series, "ISO8601"), aware
    # One call does not take stamps with and without an offset.
    stamps = np.full(aware.size, _NEVER)
    stamps[aware] = _as_written(series[aware], "ISO8601")
    stamps[~aware] = _as_written(series[~aware], "ISO8601")
    return stamps, aware


def _as_written(series: Any, form: str | None) -> Dates:
    """Return datetime64[ns] (n,): the wall clock of naive stamps, UTC of others; NaT for unusable ones."""
    import pandas as pd

    stamps = pd.to_datetime(series, format=form, errors="coerce", utc=True).dt.tz_localize(None).to_numpy()
    # Nanoseconds do not reach as far as the unit that they are read in.
    usable = (stamps >= _FIRST) & (stamps < _LAST)
    found = np.full(stamps.size, _NEVER)
    found[usable] = stamps[usable]
    return found


def _localised(wall: Stamps, rows: Flags, timezone: str, faults: Faults) -> Stamps:
    """Return UTC nanoseconds of naive stamps in `rows` (mask) of `wall`; the others are left as they are.

    A wall-clock time that daylight saving skips is refused. In an hour that occurs twice, the order of
    the file decides: all before the stamps fall back (or repeat) is the first, what follows the second
    occurrence; without a fall it is not known which one is meant, and refused.
    """
    import pandas as pd

    naive = pd.DatetimeIndex(np.where(rows, wall, 0).view("M8[ns]"))
    early = _to_utc(naive, timezone, first=True)
    late = _to_utc(naive, timezone, first=False)
    skipped, twice = rows & (early == _NAT), rows & (early != late)
    faults.add(skipped, COLUMN, f"does not exist in {timezone}: daylight saving skips it")
    second, unknown = _second_occurrence(wall, twice)
    rule = f"occurs twice in {timezone} (daylight saving ends); give stamps in UTC or with an offset"
    faults.add(unknown, COLUMN, rule)
    utc = np.where(second, late, early)
    return np.where(rows & ~skipped, utc, wall)


def _to_utc(naive: Any, timezone: str, *, first: bool) -> Stamps:
    ambiguous = np.full(len(naive), first)
    aware = naive.tz_localize(timezone, ambiguous=ambiguous, nonexistent="NaT")
    return np.asarray(aware.asi8)


def _second_occurrence(wall: Stamps, twice: Flags) -> tuple[Flags, Flags]:
    """Return which rows of repeated hours are in the second occurrence, and which cannot be told."""
    second, unknown = np.zeros(wall.size, dtype=np.bool_), np.zeros(wall.size, dtype=np.bool_)
    rows = np.flatnonzero(twice)
    for night in np.split(rows, np.flatnonzero(np.diff(wall[rows] // DAY)) + 1):
        falls = np.flatnonzero(np.diff(wall[night]) <= 0)
        if falls.size:
            second[night[falls[0] + 1 :]] = True
        else:
            unknown[night] = True
    return second, unknown
