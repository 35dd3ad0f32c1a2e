"""What the stamps of an unknown data file probably are: form, zone, meaning, and the length of the bars."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lockstep.errors import DataError
from lockstep.market.reading.table import Table

SAMPLE = 2_000
"""Rows that are looked at; only which of day and month comes first is looked for in all of them."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]|$)")
_OFFSET = re.compile(r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$")
_EPOCHS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_DAYS = (
    "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%m.%d.%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%m/%d/%y", "%d/%m/%y", "%y/%m/%d", "%m-%d-%y", "%d-%m-%y", "%y-%m-%d", "%d.%m.%y", "%y.%m.%d",
    "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%B %d, %Y", "%d %B %Y", "%Y-%m-%d",
)  # fmt: skip
_TIMES = ("", "%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H%M%S", "%H%M", "%I:%M:%S %p", "%I:%M %p")
_JOINTS = (" ", "T", ", ", "")


class Question(NamedTuple):
    """What a file leaves open.

    key       what the answer is for, a key of `known`
    text      the question, one line
    choices   what may be answered, with what each means; empty: any text
    likely    what the file speaks for, or ""
    """

    key: str
    text: str
    choices: Mapping[str, str] = {}
    likely: str = ""


class OpenQuestion(Exception):
    """A question stops the guessing."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.text)
        self.question = question


class Stamps(NamedTuple):
    """The stamps of a file as text, or as the moments that parquet holds; aware: with an offset from UTC."""

    texts: list[str]
    typed: list[datetime] | None = None
    aware: bool = False


def stamps_of(table: Table, names: Sequence[str]) -> Stamps:
    """Return the stamps of a table, which may be in several columns."""
    import pyarrow as pa

    columns = [table.column(name) for name in names]
    if pa.types.is_temporal(columns[0].type):
        first = [_naive(each) for each in columns[0].slice(0, SAMPLE).to_pandas() if each is not None]
        return Stamps([], first, getattr(columns[0].type, "tz", None) is not None)
    texts = [column.cast(pa.string()).to_pylist() for column in columns]
    joined = [" ".join(filter(None, parts)) for parts in zip(*texts, strict=True)]
    return Stamps(joined, aware=all(_OFFSET.search(each) for each in joined[:SAMPLE]))


def moments_of(
    table: Table, stamps: Stamps, known: Mapping[str, str], keys: dict[str, Any]
) -> list[datetime]:
    """Return the wall-clock stamps of the first rows, and write how the file writes them."""
    if stamps.typed is not None:
        return stamps.typed
    first = stamps.texts[:SAMPLE]
    if known.get("stamp_format"):
        keys["stamp_format"] = known["stamp_format"]
        return _read(first, known["stamp_format"]) or _unreadable(table, first)
    if all(_ISO.match(stamp) for stamp in first):
        return [
            datetime.fromisoformat(stamp.replace("Z", "+00:00")).replace(tzinfo=None)
            for stamp in first[:SAMPLE]
        ]
    unit = known.get("epoch") or _epoch(first)
    if unit is not None:
        keys["epoch"] = unit
        scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        return [
            datetime.fromtimestamp(int(float(stamp)) / scale, UTC).replace(tzinfo=None) for stamp in first
        ]
    forms = {form: moments for form in _forms(first[0]) if (moments := _read(first, form))}
    distinct: dict[tuple[datetime, ...], str] = {}
    for form, moments in forms.items():
        distinct.setdefault(tuple(moments), form)
    fitting = [
        form for form in distinct.values() if len(distinct) == 1 or _read(_days_in(stamps.texts, form), form)
    ]
    if not fitting:
        _unreadable(table, first)
    if len(fitting) > 1:
        raise OpenQuestion(_which_form(first, {form: forms[form] for form in fitting}))
    keys["stamp_format"] = fitting[0]
    return forms[fitting[0]]


def _naive(value: Any) -> datetime:
    moment = datetime(value.year, value.month, value.day)
    if hasattr(value, "hour"):
        moment += timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    return moment


def _epoch(stamps: list[str]) -> str | None:
    """Return the unit of numbers that are moments since 1970 and not in the future, or None."""
    lengths = {len(stamp.partition(".")[0]) for stamp in stamps if stamp.replace(".", "", 1).isdigit()}
    if len(lengths) != 1 or not all(stamp.replace(".", "", 1).isdigit() for stamp in stamps):
        return None
    length = lengths.pop()
    seconds = int(stamps[0].partition(".")[0]) // 10 ** (length - 10) if length >= 10 else 0
    return _EPOCHS.get(length) if seconds < datetime.now(UTC).timestamp() + 86_400 else None


def _forms(stamp: str) -> Iterator[str]:
    """Yield the strptime formats that one stamp could have."""
    zones = ("", " %z", "%z", " GMT%z", " UTC%z") if re.search(r"[+-]\d{2}:?\d{2}$|Z$", stamp) else ("",)
    for day, time, zone in itertools.product(_DAYS, _TIMES, zones):
        for joint in _JOINTS if time else ("",):
            form = f"{day}{joint}{time}{zone}"
            moments = _read([stamp], form)
            # The parser is lenient where digits follow each other: what it read must be what is written.
            if moments and (zone or _same(moments[0].strftime(form), stamp)):
                yield form


def _same(text: str, other: str) -> bool:
    """Whether two stamps differ in leading zeros, in what is shorter than a millisecond and in case only."""
    first, second = (
        re.sub(r"(?<!\d)0+(?=\d)|(?<=\.\d)0+$|(?<=\.\d\d)0+$|(?<=\.\d{3})0+$", "", each)
        for each in (text, other)
    )
    return first.lower() == second.lower()


def _read(stamps: Iterable[str], form: str) -> list[datetime] | None:
    """Return the wall clock of stamps in a format; None where one has another."""
    try:
        return [datetime.strptime(stamp, form).replace(tzinfo=None) for stamp in stamps]
    except ValueError:
        return None


def _days_in(stamps: list[str], form: str) -> list[str]:
    """Return one stamp of each day in the file."""
    width = len(datetime(2000, 12, 28).strftime(form.partition("%H")[0].partition("%I")[0]).rstrip(" T,"))
    return list({stamp[:width]: stamp for stamp in stamps}.values())


def _unreadable(table: Table, stamps: list[str]) -> Any:
    raise DataError(f"{table.source}: stamp {stamps[0]!r}: of no form that is known; give --stamp-format")


def _which_form(stamps: list[str], forms: Mapping[str, list[datetime]]) -> Question:
    rising = [form for form, moments in forms.items() if moments == sorted(moments)]
    means = {form: f"{stamps[0]} is {moments[0]:%A, %-d %B %Y}" for form, moments in forms.items()}
    return Question(
        "stamp_format",
        "Days and months can be read in more than one way. Which one is right?",
        means,
        likely=rising[0] if len(rising) == 1 else "",
    )


def timeframe_of(names: Mapping[str, Any], moments: list[datetime]) -> str:
    """Return the timeframe by the usual distance of two neighbouring stamps."""
    if "price" in names:
        return "tick"
    gaps = Counter(abs(later - before) for before, later in itertools.pairwise(moments) if later != before)
    if not gaps:
        raise OpenQuestion(
            Question("timeframe", "One bar tells no timeframe. Which one is it (1min, 1h, 1d)?")
        )
    gap = gaps.most_common(1)[0][0]
    if gap >= timedelta(days=1):
        if gap > timedelta(days=4):
            raise DataError(
                f"bars are {gap.days} days apart: the longest that can be used are daily ones, 1d"
            )
        return "1d"
    minutes, rest = divmod(int(gap.total_seconds()), 60)
    if rest or not minutes:
        raise DataError(f"bars are {gap.total_seconds():g} seconds apart: the shortest are of one minute")
    hours, rest = divmod(minutes, 60)
    return f"{minutes}min" if rest else f"{hours}h"


def falls(moments: list[datetime]) -> bool:
    """Whether the newest row comes first."""
    return len(moments) > 1 and moments[0] > moments[-1]


def write_meaning(stamps: Stamps, known: Mapping[str, str], keys: dict[str, Any]) -> None:
    """Write what a stamp means and in which zone it is; both are asked for, since no file says it."""
    if keys["timeframe"] == "1d":
        keys["stamp"] = "session_date"
    elif keys["timeframe"] == "tick":
        keys["stamp"] = "trade"
    if known.get("timezone"):
        keys["timezone"] = known["timezone"]
    elif "epoch" in keys:
        keys["timezone"] = "UTC"
    elif (keys.get("stamp") == "session_date") == (stamps.aware or "%z" in keys.get("stamp_format", "")):
        text = "In which time zone are the stamps (America/New_York, America/Chicago, UTC …)?"
        raise OpenQuestion(Question("timezone", text))
    if "stamp" not in keys:
        if not known.get("stamp"):
            choices = {"open": "when the bar begins", "close": "when it is complete"}
            raise OpenQuestion(Question("stamp", "What does a stamp say?", choices))
        keys["stamp"] = known["stamp"]
