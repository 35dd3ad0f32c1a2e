"""Stamps of a data file to UTC nanoseconds: formats, epochs, offsets, time zones and daylight saving."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Flags, Stamps
from lockstep.market.reading.faults import Faults
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
Half = tuple[list[str], NDArray[np.integer[Any]]]
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
    elif pa.types.is_struct(column.type):
        stamps, aware = _from_pair(column, source.stamp_format)
    else:
        stamps, aware = _from_text(column, source.stamp_format)
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


def _from_pair(column: Any, form: str | None) -> tuple[Dates, Flags]:
    """Return what `_from_text` returns for dates and times (two columns of categories) joined by a blank."""
    import pyarrow as pa
    import pyarrow.compute as pc

    day, time = (column.chunk(0).field(i) for i in range(2))
    halves = [
        (each.dictionary.to_pylist(), each.indices.to_numpy(zero_copy_only=False)) for each in (day, time)
    ]
    apart = _reads_apart(form) if form is not None else _is_iso(halves[0][0], halves[1][0])
    if apart and not day.null_count and not time.null_count and not any(" " in each for each in halves[0][0]):
        stamps = _combined(halves[0], halves[1], form or "ISO8601")
        if not np.isnat(stamps).any():
            return stamps, np.zeros(stamps.size, dtype=np.bool_)
    joined = pc.binary_join_element_wise(day.cast(pa.string()), time.cast(pa.string()), " ")
    return _from_text(pa.chunked_array([joined]), form)


def _is_iso(days: list[str], times: list[str]) -> bool:
    """Whether all dates and all times of day are those of ISO 8601, without an offset."""
    dates = all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", each) for each in days)
    return dates and all(re.fullmatch(r"\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?", each) for each in times)


def _from_text(column: Any, form: str | None) -> tuple[Dates, Flags]:
    """Return stamps of text, or of characters in equal numbers, see `_parsed`."""
    import pyarrow as pa

    if form is not None and _reads_apart(form) and len(column) >= _WORTH_SPLITTING:
        halves = _halves(column)
        stamps = None if halves is None else _combined(*halves, form)
        if stamps is not None and not np.isnat(stamps).any():
            return stamps, np.zeros(stamps.size, dtype=np.bool_)
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    text = column.cast(pa.string())
    stamps, aware = _read_text(text, form)
    late = _late(text, np.isnat(stamps))
    if late:
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
    stamps = _as_written(text.to_pandas(), form)
    unread = np.isnat(stamps)
    if form.endswith("%S") and unread.any():
        stamps[unread] = _as_written(text.to_pandas()[unread], f"{form}.%f")
    return stamps


def _reads_apart(form: str) -> bool:
    """Whether a format is a date, one blank and a time without an offset: each reads without the other."""
    day, blank, time = form.partition(" ")
    of_day, of_time = (set(re.findall(r"%(.)", part)) for part in (day, time))
    return bool(blank) and " " not in time and of_time <= set("HMSf") and not of_day & set("HMSfIpzZ")


def _combined(days: Half, times: Half, form: str) -> Dates:
    """Return what `_as_written` returns for each date with its time; each date and time is read once."""
    import pandas as pd

    dates = _as_written(pd.Series([f"{each} {times[0][0]}" for each in days[0]]), form)
    clocks = _as_written(pd.Series([f"{days[0][0]} {each}" for each in times[0]]), form)
    stamps: Dates = dates[days[1]]
    stamps += (clocks - dates[0])[times[1]]
    return stamps


def _halves(column: Any) -> tuple[Half, Half] | None:
    """Return what is before and after the one blank of stamps of one length; None for any others."""
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    cells = None if whole.null_count or not len(whole) else _cells(whole)
    if cells is None:
        return None
    blanks = np.flatnonzero(cells[0] == ord(" "))
    if blanks.size != 1 or not 0 < blanks[0] < cells.shape[1] - 1:
        return None
    at = int(blanks[0])
    if any((cells[:, i] == ord(" ")).any() != (i == at) for i in range(cells.shape[1])):
        return None
    if not (cells[:, at] == ord(" ")).all():
        return None
    return _encoded(cells[:, :at]), _encoded(cells[:, at + 1 :])


def _cells(whole: Any) -> NDArray[np.uint8] | None:
    """Return the characters (n, width) of texts of one length without copying them, or None."""
    import pyarrow as pa

    if pa.types.is_fixed_size_binary(whole.type):
        width, begin = whole.type.byte_width, whole.offset
        characters = np.frombuffer(whole.buffers()[1], dtype=np.uint8)
        return characters[begin * width : (begin + len(whole)) * width].reshape(-1, width)
    if not isinstance(whole, pa.StringArray):
        return None
    _, offsets, values = whole.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[whole.offset : whole.offset + len(whole) + 1]
    width = int(ends[1] - ends[0])
    if not width or not (np.diff(ends) == width).all():
        return None
    return np.frombuffer(values, dtype=np.uint8)[ends[0] : ends[-1]].reshape(-1, width)


def _encoded(cells: NDArray[np.uint8]) -> Half:
    """Return the texts that occur among rows of characters (n, width), and which one each row is."""
    import pyarrow as pa

    kind = pa.binary(cells.shape[1])
    fixed = pa.FixedSizeBinaryArray.from_buffers(kind, len(cells), [None, pa.py_buffer(cells.tobytes())])
    found = fixed.dictionary_encode()
    return [each.decode() for each in found.dictionary.to_pylist()], found.indices.to_numpy()


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
    early = np.array(naive.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").asi8)
    late = early.copy()
    odd = np.flatnonzero(early == _NAT)
    early[odd] = _to_utc(naive[odd], timezone, first=True)
    late[odd] = _to_utc(naive[odd], timezone, first=False)
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
