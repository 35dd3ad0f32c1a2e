"""Stamps of a data file to UTC nanoseconds: formats, epochs, offsets, time zones and daylight saving."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from lockstep.market.bars import Flags, Stamps
from lockstep.market.faults import Faults
from lockstep.market.schedule import DAY
from lockstep.market.sessions import Dates
from lockstep.market.source import STAMP as COLUMN
from lockstep.market.source import Source

MISMATCH = "wrong timeframe"
MALFORMED = "must be a stamp in the form"

_ISO = r"^\d{4}-\d{2}-\d{2}([T ]|$)"
_OFFSET = r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
_HAS_OFFSET = re.compile(_OFFSET)
# The end of a day, written as its 24th hour.
_MIDNIGHT = re.compile(r"(?<=[T \t,])24(?=:00(:00([.,]0+)?)?(?![\d:])|00(00)?(?!\d))")
_FIRST, _LAST = np.datetime64("1700", "us"), np.datetime64("2250", "us")
_NEVER = np.datetime64("NaT", "ns")
_NAT = np.iinfo(np.int64).min
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Below this many rows, splitting stamps into dates and times of day costs more than it saves.
_WORTH_SPLITTING = 4096


def has_offset(text: str) -> bool:
    """Whether a stamp in ISO 8601 says its offset from UTC."""
    return _HAS_OFFSET.search(text) is not None


def utc_stamps(column: Any, source: Source, faults: Faults) -> Stamps:
    """Return the stamps of a column as int64 (n,), UTC nanoseconds; broken rows go to `faults`, 0 there.

    A session date becomes midnight UTC of that date.
    """
    wall, aware = _parsed(column, source, faults)
    if source.stamp == "session_date":
        return _session_dates(wall, aware, source, faults)
    if aware.all():
        return wall
    if source.timezone is None:
        rule = "has no offset from UTC, and the source declares no timezone; declare it in instruments.yml"
        faults.add(~aware, COLUMN, rule)
        return wall
    if source.timezone == "UTC":
        return wall
    return np.where(aware, wall, _localised(wall, ~aware & faults.good, source, faults))


def _session_dates(wall: Stamps, aware: Flags, source: Source, faults: Faults) -> Stamps:
    """Return midnight UTC of each date; a stamp with an offset is midnight in the declared zone."""
    if aware.any():
        if source.timezone is None:
            rule = "a session date has no offset from UTC; declare what the stamps mean, or their timezone"
            faults.add(aware, COLUMN, rule)
            return wall
        wall = np.where(aware, _wall_clock(wall, source.timezone), wall)
    rule = f"{MISMATCH}: 1d is declared, and a session date has no time of day"
    faults.add(~aware & (wall % DAY != 0), COLUMN, rule)
    zone = f"{rule}: this is not midnight in {source.timezone}"
    faults.add(aware & (wall % DAY != 0), COLUMN, zone)
    return wall


def _wall_clock(utc: Stamps, timezone: str) -> Stamps:
    import pandas as pd

    moments = pd.DatetimeIndex(utc.view("M8[ns]")).tz_localize("UTC").tz_convert(timezone)
    return np.asarray(moments.tz_localize(None).asi8)


def _parsed(column: Any, source: Source, faults: Faults) -> tuple[Stamps, Flags]:
    """Return nanoseconds as written (UTC where an offset is given), and which rows have an offset."""
    import pyarrow as pa

    form = source.stamp_format or "2024-01-31 15:30:00 (ISO 8601)"
    if source.epoch is not None:
        form = f"of a number: {source.epoch} since 1970"
        stamps, aware = _from_epoch(column, source.epoch)
    elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        aware = np.full(len(column), getattr(column.type, "tz", None) is not None)
        stamps = _from_typed(column)
    else:
        stamps, aware = _from_text(column.cast(pa.string()), source.stamp_format)
    bad = np.isnat(stamps)
    if bad.any():
        faults.add(bad, COLUMN, f"{MALFORMED} {form}, from 1700 to 2249")
        stamps = np.where(bad, np.datetime64(0, "ns"), stamps)
    return stamps.view(np.int64), aware


def _from_typed(column: Any) -> Dates:
    """Return datetime64[ns] (n,) of a column of moments or dates; NaT for unusable ones."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns" and column.null_count == 0:
        moments = column.cast(pa.timestamp("ns")).to_numpy()
        return _usable(moments)
    return _as_written(column.to_pandas(), None)


def _usable(stamps: Dates) -> Dates:
    """Return the stamps as datetime64[ns], NaT for those that our range does not hold."""
    # Nanoseconds do not reach as far as the unit that they are read in.
    usable = (stamps >= _FIRST) & (stamps < _LAST)
    if usable.all():
        return stamps.astype("M8[ns]")
    found = np.full(stamps.size, _NEVER)
    found[usable] = stamps[usable]
    return found


def _from_epoch(column: Any, unit: str) -> tuple[Dates, Flags]:
    """Return datetime64[ns] (n,) of counts since 1970 UTC, to the nanosecond; NaT for what is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        text = column.cast(pa.string())
        good = pc.fill_null(pc.match_substring_regex(text, r"^-?\d{1,19}(\.\d{1,9})?$"), False)
        text = pc.if_else(good, text, pa.scalar(None, pa.string()))
        whole = pc.replace_substring_regex(text, r"\..*$", "")
        whole = pc.if_else(pc.less_equal(pc.utf8_length(whole), 18), whole, _within_int64(whole))
        rest = pc.utf8_rpad(pc.replace_substring_regex(text, r"^-?\d*\.?", ""), 9, "0")
        part = np.asarray(pc.fill_null(rest.cast(pa.int64()), 0).to_numpy()) * _UNITS[unit] // 10**9
        sign = np.where(np.asarray(pc.fill_null(pc.starts_with(text, "-"), False)), -1, 1)
        column = whole.cast(pa.int64())
    else:
        part, sign = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    known = np.asarray(column.is_valid())
    count = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy())
    known &= (count >= _FIRST.astype("M8[ns]").astype(np.int64) // _UNITS[unit]) & (
        count < _LAST.astype("M8[ns]").astype(np.int64) // _UNITS[unit]
    )
    stamps = (np.where(known, count, 0) * _UNITS[unit] + sign * part).view("M8[ns]")
    return np.where(known, stamps, _NEVER), np.ones(known.size, dtype=np.bool_)


def _within_int64(digits: Any) -> Any:
    """Return numbers of 19 digits that surely fit into 64 bits, null for the others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.match_substring_regex(digits, r"^-?[1-8]"), digits, pa.scalar(None, pa.string()))


def _from_text(text: Any, form: str | None) -> tuple[Dates, Flags]:
    stamps, aware = _read_text(text, form)
    late = _late(text, np.isnat(stamps))
    if late:
        import pyarrow as pa

        rows = np.fromiter(late, dtype=np.int64)
        again, with_offset = _read_text(pa.chunked_array([list(late.values())]), form)
        stamps[rows] = again + np.timedelta64(1, "D")
        aware[rows] = with_offset
    return stamps, aware


def _late(text: Any, unread: Flags) -> dict[int, str]:
    """Return the unread stamps at 24:00 with 00:00 in its place, by row."""
    found = {}
    for row in np.flatnonzero(unread):
        stamp = text[row].as_py() or ""
        if _MIDNIGHT.search(stamp):
            found[int(row)] = _MIDNIGHT.sub("00", stamp, count=1)
    return found


def _read_text(text: Any, form: str | None) -> tuple[Dates, Flags]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if form is not None:
        # An offset that the format reads is in the result.
        aware = np.full(len(text), "%z" in form.replace("%%", "") or "%Z" in form.replace("%%", ""))
        return _in_form(text, form), aware
    iso = pc.fill_null(pc.match_substring_regex(text, _ISO), False)
    aware = np.array(pc.fill_null(pc.match_substring_regex(text, _OFFSET), False))
    series = pc.if_else(iso, text, pa.scalar(None, pa.string())).to_pandas()
    if aware.all() or not aware.any():
        return _as_written(series, "ISO8601"), aware
    # One call does not take stamps with and without an offset.
    stamps = np.full(aware.size, _NEVER)
    stamps[aware] = _as_written(series[aware], "ISO8601")
    stamps[~aware] = _as_written(series[~aware], "ISO8601")
    return stamps, aware


def _in_form(text: Any, form: str) -> Dates:
    """Return datetime64[ns] (n,) of stamps in a strptime format; seconds may have a fraction."""
    stamps = _split_form(text, form) if len(text) >= _WORTH_SPLITTING else None
    if stamps is None:
        stamps = _as_written(text.to_pandas(), form)
    unread = np.isnat(stamps)
    if form.endswith("%S") and unread.any():
        stamps[unread] = _as_written(text.to_pandas()[unread], f"{form}.%f")
    return stamps


def _split_form(text: Any, form: str) -> Dates | None:
    """Return what `_as_written` returns, from each date and each time of day read once; None where it cannot.

    A format of a date, one blank and a time without an offset reads the two independently.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    day, blank, time = form.partition(" ")
    of_time = set(re.findall(r"%(.)", time))
    if (
        not blank
        or " " in time
        or not of_time <= set("HMSf")
        or set(re.findall(r"%(.)", day)) & set("HMSfIp")
    ):
        return None
    if not pc.all(pc.equal(pc.count_substring(text, " "), 1)).as_py():
        return None
    # Stamps are cut at the blank; all of one length are cut by position, which is much faster.
    parts = pc.split_pattern(text, " ").combine_chunks()
    flat = parts.flatten()
    days = flat.take(pa.array(np.arange(0, len(flat), 2))).dictionary_encode()
    times = flat.take(pa.array(np.arange(1, len(flat), 2))).dictionary_encode()
    if len(days.dictionary) + len(times.dictionary) > len(text):
        return None
    some_day, some_time = days.dictionary[0].as_py(), times.dictionary[0].as_py()
    dates = _as_written((days.dictionary.to_pandas() + " " + some_time), form)
    clocks = _as_written((some_day + " " + times.dictionary.to_pandas()), form)
    if np.isnat(dates[0]) or np.isnat(clocks[0]):
        return None
    since = clocks - dates[0]
    stamps: Dates = dates[days.indices.to_numpy()] + since[times.indices.to_numpy()]
    return stamps


def _as_written(series: Any, form: str | None) -> Dates:
    """Return datetime64[ns] (n,): the wall clock of naive stamps, UTC of others; NaT for unusable ones."""
    import pandas as pd

    stamps = pd.to_datetime(series, format=form, errors="coerce", utc=True).dt.tz_localize(None).to_numpy()
    return _usable(stamps)


def _localised(wall: Stamps, rows: Flags, source: Source, faults: Faults) -> Stamps:
    """Return UTC nanoseconds of naive stamps in `rows` (mask) of `wall`; the others are left as they are.

    A wall-clock time that daylight saving skips is refused. In an hour that occurs twice, the order of
    the file decides: all before the stamps fall back (or repeat) is the first, what follows the second
    occurrence; without a fall it is not known which one is meant, and refused.
    """
    import pandas as pd

    timezone = source.timezone
    assert timezone is not None, "stamps without a zone are refused before"
    naive = pd.DatetimeIndex(np.where(rows, wall, 0).view("M8[ns]"))
    early = _to_utc(naive, timezone, first=True)
    late = _to_utc(naive, timezone, first=False)
    skipped, twice = rows & (early == _NAT), rows & (early != late)
    faults.add(skipped, COLUMN, f"does not exist in {timezone}: daylight saving skips it")
    second, unknown = _second_occurrence(wall, twice, in_order=source.order == "rising")
    rule = f"occurs twice in {timezone} (daylight saving ends); give stamps in UTC or with an offset"
    faults.add(unknown, COLUMN, rule)
    utc = np.where(second, late, early)
    return np.where(rows & ~skipped, utc, wall)


def _to_utc(naive: Any, timezone: str, *, first: bool) -> Stamps:
    ambiguous = np.full(len(naive), first)
    aware = naive.tz_localize(timezone, ambiguous=ambiguous, nonexistent="NaT")
    return np.asarray(aware.asi8)


def newest_first(stamps: Stamps) -> bool:
    """Whether most stamps fall."""
    steps = np.diff(stamps)
    return bool(np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0))


def _second_occurrence(wall: Stamps, twice: Flags, *, in_order: bool) -> tuple[Flags, Flags]:
    """Return which rows of repeated hours are in the second occurrence, and which cannot be told.

    in_order   whether the file promises to rise; otherwise it may also fall, and a night that does neither
               cannot be told
    """
    second, unknown = np.zeros(wall.size, dtype=np.bool_), np.zeros(wall.size, dtype=np.bool_)
    rows = np.flatnonzero(twice)
    if not in_order and newest_first(wall):
        rows = rows[::-1]
    for night in np.split(rows, np.flatnonzero(np.diff(wall[rows] // DAY)) + 1):
        falls = np.flatnonzero(np.diff(wall[night]) <= 0)
        if falls.size and (in_order or falls.size == 1):
            second[night[falls[0] + 1 :]] = True
        else:
            unknown[night] = True
    return second, unknown
