"""`Life`: everything that happens to one desk, as a value that fits into a small file.

A life is drawn from a seed, shortened when it ends badly, and stored as a history. Whoever runs it twice gets
the same bytes: nothing is drawn while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from lockstep.live.handover import Policy
from lockstep.live.messages import Mode

FORMAT = 1
Prices = tuple[float, float, float, float]
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class Incident(NamedTuple):
    """Something that happens beside the ordinary day: when (UTC ns), of which kind, and its particulars."""

    time: int
    kind: str
    told: Mapping[str, Any]


class Trader(NamedTuple):
    """One traded instrument: its bars (`1d`, `4h`), the version it begins with, its handover policy."""

    symbol: str
    timeframe: str
    model: str
    handover: Policy = "manage_out"

    @property
    def series(self) -> str:
        """The traded series, `ES:1d`."""
        return f"{self.symbol}:{self.timeframe}"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """How the desk is configured.

    limits     as in live.yml; grace, expire   seconds; fraction   of the size that mode live sends
    reports    how fills are told in mode live: by a `statement`, or by `hand`
    attention  seconds until the operator looks at an order that is UNKNOWN, or reports a fill by hand
    positions  how positions are confirmed in mode live: by a `file`, by the `fills` told, by `hand`
    memory     bars per series that are kept; status   whether the status file is written for real
    rereads    whether a restart reads all bars again that are not journaled, as of a file; else they are
               posted until they are answered
    """

    mode: Mode
    limits: Mapping[str, Any]
    grace: float = 5.0
    expire: float = 3_600.0
    flatten: bool = False
    fraction: float = 1.0
    reports: str = "statement"
    attention: float = 600.0
    positions: str = "file"
    memory: int = 20
    rereads: bool = True
    status: bool = False


@dataclass(frozen=True, kw_only=True)
class Life:
    """The life of one desk.

    traders     what is traded; bars   by series and end (UTC ns): (open, high, low, close), warm-up included
    begins      UTC ns: bars that end at or before it warm up; ends   when the desk is stopped for good
    incidents   in the order of their times
    """

    seed: int
    desk: Desk
    traders: tuple[Trader, ...]
    begins: int
    ends: int
    bars: Mapping[str, Mapping[int, Prices]]
    incidents: tuple[Incident, ...] = ()
    note: str = ""
    finds: tuple[str, ...] = field(default=())

    @property
    def days(self) -> int:
        """On how many days a bar of a traded series comes: the desk-days of this life."""
        ends = {_day(end) for each in self.traders for end in self.bars[each.series] if end > self.begins}
        return len(ends)

    def without(self, *, incidents: Sequence[Incident]) -> Life:
        """Return the life with these incidents only."""
        return replace(self, incidents=tuple(incidents))

    def to_json(self) -> str:
        """Return the life as JSON that `from_json` reads back: times in ISO, a line per bar and incident."""
        content = {
            "format": FORMAT,
            "seed": self.seed,
            "note": self.note,
            "finds": list(self.finds),
            "desk": vars(self.desk),
            "traders": [each._asdict() for each in self.traders],
            "begins": iso(self.begins),
            "ends": iso(self.ends),
        }
        bars = {
            series: _lines([json.dumps([iso(end), *prices]) for end, prices in kept.items()])
            for series, kept in self.bars.items()
        }
        incidents = [json.dumps([iso(each.time), each.kind, dict(each.told)]) for each in self.incidents]
        head = json.dumps(content, indent=1)[:-2]
        series = ",\n".join(f'  "{name}": {rows}' for name, rows in bars.items())
        return f'{head},\n "bars": {{\n{series}\n }},\n "incidents": {_lines(incidents)}\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the life that `to_json` wrote; ValueError where it is of another format."""
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"history of format {content['format']}, this simulator reads {FORMAT}")
        return cls(
            seed=content["seed"],
            note=content["note"],
            finds=tuple(content["finds"]),
            desk=Desk(**content["desk"]),
            traders=tuple(Trader(**each) for each in content["traders"]),
            begins=stamp(content["begins"]),
            ends=stamp(content["ends"]),
            bars={
                series: {stamp(end): (opened, high, low, close) for end, opened, high, low, close in rows}
                for series, rows in content["bars"].items()
            },
            incidents=tuple(Incident(stamp(time), kind, told) for time, kind, told in content["incidents"]),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a stored history."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def _lines(rows: Sequence[str]) -> str:
    return "[\n   " + ",\n   ".join(rows) + "\n  ]" if rows else "[]"


def _day(moment: int) -> int:
    return moment // (86_400 * 1_000_000_000)


def iso(moment: int) -> str:
    """Return a moment (UTC ns, whole microseconds) as ISO text."""
    return (_EPOCH + moment // 1_000 * _MICROSECOND).isoformat().replace("+00:00", "Z")


def stamp(text: str) -> int:
    """Return the moment that `iso` wrote."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND * 1_000
