"""What a monitor of the desk last said, as the status and `/health` show it: alarms, drift, and its age."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lockstep.errors import ConfigError, MonitorError
from lockstep.files import replace_file
from lockstep.live.messages import iso
from lockstep.monitoring.wealth import ALPHA
from lockstep.settings import parse_json

FILE = "monitor.json"
SCHEMA = 1
THRESHOLD = 1.0 / ALPHA
"""The mean wealth of a desk at which its ALARM is raised: one false one in as many years, at most."""
ALARM, WATCH = "ALARM", "WATCH"
ALERT = "alert"
SEVERITIES = (ALERT, "warning", "investigation", "watch")
_SECOND = 1_000_000_000
_DAY, _HOUR, _MINUTE = 86_400.0, 3_600.0, 60.0
_LOOK_EVERY = 2.0  # seconds

Row = tuple[str, str, bool]
"""A row of the status: its name, its text, and whether it is shown in red."""


class RaisedAlarm(NamedTuple):
    """An alarm that nobody has acknowledged.

    place      that `lockstep monitor ack` takes, such as "COMP win_rate"; level: ALARM or WATCH
    severity   such as `alert`; sentence   what fell, since when, what to do
    since, raised   UTC ns by the time of bars: the estimated change, and when it was seen
    """

    place: str
    level: str
    severity: str
    since: int
    raised: int
    sentence: str


class ReportedDrift(NamedTuple):
    """A finding about the inputs or probabilities of a lane.

    severity   one of `SEVERITIES`; `alert`: a feature is broken, the model decides on nonsense
    """

    lane: str
    severity: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class MonitorSummary:
    """A desk as its monitor last saw it.

    written      when it ran, UTC ns by the clock on the wall
    frontier     UTC ns of bars up to which outcomes are known; 0: none
    stale_after  seconds after which the summary is too old to be trusted
    alarms       that nobody has acknowledged; drift: findings that hold now
    references   by lane: why its alarms are off, empty where they are on
    notes        sentences about bad input that was found
    outcomes     number of signals by state, such as `taken`
    wealth       mean wealth of the desk's streams, see `THRESHOLD`; NaN while there are none

    >>> summary = MonitorSummary(written=0, stale_after=3_600.0)
    >>> summary.is_stale(1_800 * 10**9), summary.is_stale(7_200 * 10**9)
    (False, True)
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    written: int
    frontier: int = 0
    stale_after: float
    alarms: tuple[RaisedAlarm, ...] = ()
    drift: tuple[ReportedDrift, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    wealth: float = math.nan

    def age(self, now: int) -> float:
        """Return the seconds since the monitor ran; negative when the clock fell back."""
        return (now - self.written) / _SECOND

    def is_stale(self, now: int) -> bool:
        """Return whether the monitor has not run for longer than it should, or the clock is that far back."""
        return abs(self.age(now)) > self.stale_after

    def attention(self, now: int) -> str | None:
        """Return why somebody should look, or None.

        That is: an unacknowledged ALARM, a broken feature, or a monitor that is stale. WATCH and drift are no
        reason: both are raised on healthy desks too often to end a command in failure.
        """
        raised = [each.place for each in self.alarms if each.level == ALARM]
        if raised:
            return f"ALARM of the model: {', '.join(raised)}"
        broken = [each.lane for each in self.drift if each.severity == ALERT]
        if broken:
            return f"broken features: {', '.join(dict.fromkeys(broken))}"
        return f"monitor {self._staleness(now)}" if self.is_stale(now) else None

    def rows(self, now: int) -> Iterator[Row]:
        """Yield what the table of a status shows at `now` (UTC ns); rows without text are left out there."""
        for name, wanted in (("alarms", True), ("watches", False)):
            found = [
                f"{each.place}: {each.sentence}" for each in self.alarms if (each.level == ALARM) is wanted
            ]
            yield name, "\n".join(found), wanted
        for name, wanted in (("broken features", True), ("drift", False)):
            found = [
                f"{each.lane}: {each.sentence}" for each in self.drift if (each.severity == ALERT) is wanted
            ]
            yield name, "\n".join(found), wanted
        off = [f"{lane}: {why}" for lane, why in sorted(self.references.items()) if why]
        yield "no reference", "\n".join(off), False
        stale = self.is_stale(now)
        yield "monitor", self._staleness(now) if stale else self._run(now), stale
        yield "monitor notes", "\n".join(self.notes), False

    def report(self, now: int) -> dict[str, Any]:
        """Return the summary as plain JSON, with its age in seconds and whether it is `stale`."""
        return {**_content(self), "age": round(self.age(now), 1), "stale": self.is_stale(now)}

    def _staleness(self, now: int) -> str:
        age = self.age(now)
        return f"stale: last run {_span(age)} ago" if age >= 0 else f"stale: its run is {_span(-age)} ahead"

    def _run(self, now: int) -> str:
        known = f"outcomes known to {iso(self.frontier)}" if self.frontier else "no outcome is known yet"
        counted = ", ".join(f"{count:,} {state}" for state, count in self.outcomes.items() if count)
        wealth = "" if math.isnan(self.wealth) else f"mean wealth {self.wealth:.2f} of {THRESHOLD:g}"
        ran = f"last run {_span(max(0.0, self.age(now)))} ago"
        return "; ".join(filter(None, (ran, known, counted, wealth)))


_SUMMARY = TypeAdapter(MonitorSummary)


def _span(seconds: float) -> str:
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _content(summary: MonitorSummary) -> dict[str, Any]:
    values = {each.name: getattr(summary, each.name) for each in fields(summary)}
    return {
        **values,
        "alarms": [each._asdict() for each in summary.alarms],
        "drift": [each._asdict() for each in summary.drift],
        "references": dict(summary.references),
        "notes": list(summary.notes),
        "outcomes": dict(summary.outcomes),
        "wealth": summary.wealth if math.isfinite(summary.wealth) else None,
    }


def monitor_file(status: Path) -> Path:
    """Return where the summary of a desk's monitor is, seen from its status file."""
    return status.with_name(FILE)


def write_monitor(path: Path, summary: MonitorSummary) -> None:
    """Replace a summary at once; MonitorError where it cannot be written."""
    text = json.dumps({"schema": SCHEMA, **_content(summary)}, indent=2, allow_nan=False) + "\n"
    replace_file(path, text, durable=False, error=MonitorError)


def read_monitor(path: Path) -> MonitorSummary | None:
    """Return what a monitor last wrote; None where there is nothing that this version can read.

    The status is looked at in an emergency: a file that cannot be read does not keep it from being shown.
    """
    return read_monitor_or_fault(path)[0]


def read_monitor_or_fault(path: Path) -> tuple[MonitorSummary | None, str]:
    """Return a summary, or None with what is wrong with the file; nothing is wrong where none exists.

    A desk whose summary has become unreadable must not look like one that nobody watches.
    """
    try:
        content = parse_json(path.read_bytes())
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            return None, f"{path.name} is of another version; run the monitor of this one"
        if content.get("wealth", 0.0) is None:
            content["wealth"] = math.nan
        return _SUMMARY.validate_python(content), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ConfigError, ValidationError):
        return None, f"{path.name} cannot be read; run the monitor, which replaces it"


class MonitorFile:
    """The summary beside a status file for a process that is asked often: it is read only when it changed.

    It looks at the file at most every two seconds. Any number of threads may ask.

    clock   seconds, never going back
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = -math.inf
        self._mark: tuple[int, ...] | None = None
        self._found: tuple[MonitorSummary | None, str] = (None, "")

    def look(self) -> tuple[MonitorSummary | None, str]:
        """Return what `read_monitor_or_fault` would, as of at most two seconds ago."""
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            mark = self._marked()
            if mark != self._mark:
                self._found = read_monitor_or_fault(self._path)
                self._mark = mark
        return self._found

    def _marked(self) -> tuple[int, ...] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return (error.errno or 0,)
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
