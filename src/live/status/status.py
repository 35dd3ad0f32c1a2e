"""`Status`: what the engine is doing, in a file that anybody may read.

The status as a table for people.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError
from rich.text import Text

from lockstep.errors import ConfigError, DataError, LiveError
from lockstep.files import replace_file
from lockstep.live.messages import Mode
from lockstep.live.status.monitor import MonitorSummary, Row, monitor_file, read_monitor_or_fault
from lockstep.live.status.risk import RiskSummary, read_risk, risk_file
from lockstep.settings import parse_json
from lockstep.tables import TextTable, prose

SCHEMA = 1
SECOND = 1_000_000_000

State = Literal["starting", "replaying", "running", "stopped", "mismatch"]


class ColdWindow(NamedTuple):
    """A feature window that is not full: no trade of `symbol` until `seen` is `needed` (bars)."""

    symbol: str
    feature: str
    seen: int
    needed: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """The engine at one moment; stamps UTC ns, USD, signed contracts, symbols or series as keys.

    detail          what the state is about: the first difference of a mismatch, why it stopped
    versions        of the models that trade; pinned   those that live.yml pins, and what is in production
    pending_swaps   why another version waits
    cold_windows    windows that are not full; last_bars   end of the newest bar by series
    quarantined     implausible bars that wait for the operator, series and stamp
    unreconciled    positions that were not found to be the broker's; clock   why it is not to be trusted
    fills           why the broker's fills cannot be heard at the moment
    portfolio       equity, drawdown (fraction of the capital), scale of new sizes, and whether entries are
                    stopped or halted (1.0); empty without one
    kill_switch, halt   the reason while on, else None
    alerts          counts of `Alerts`; counters   sets, orders, refusals by rule and what else is counted
    risk            what was last measured of the desk; None where nothing was. It is read beside the
                    status file; the engine does not write it
    monitor         what watches the desk said last, likewise read beside it; None where nothing does, or
                    where its file is unreadable: then monitor_fault says so
    queues          what waits, by queue; faults   unexpected errors that a thread survived, by thread
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    mode: Mode
    state: State
    epoch: int
    started: int
    heartbeat: int
    detail: str = ""
    rollout: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    pending_swaps: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[str, float] = field(default_factory=dict)
    profit_today: Mapping[str, float] = field(default_factory=dict)
    portfolio: Mapping[str, float] = field(default_factory=dict)
    cold_windows: tuple[ColdWindow, ...] = ()
    last_bars: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[str, ...] = ()
    queues: Mapping[str, int] = field(default_factory=dict)
    kill_switch: str | None = None
    halt: str | None = None
    unknown_orders: tuple[str, ...] = ()
    unreconciled: Mapping[str, str] = field(default_factory=dict)
    clock: str = ""
    fills: str = ""
    alerts: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    risk: RiskSummary | None = None
    monitor: MonitorSummary | None = None
    monitor_fault: str = ""
    schema: int = SCHEMA

    @property
    def risk_doubts(self) -> list[str]:
        """Why the measured risk may no longer hold, one sentence each; none where nothing was measured."""
        newest = max(self.last_bars.values(), default=0)
        return self.risk.doubts(self.positions, newest) if self.risk is not None else []

    def age(self, now: int) -> float:
        """Return the seconds since the heartbeat; negative when the clock fell back."""
        return (now - self.heartbeat) / SECOND

    def trouble(self, now: int, *, stale_seconds: float) -> str | None:
        """Return why the engine is not well, or None: not running, or no heartbeat for `stale_seconds`.

        The engine's health is its own: what a monitor says of the model is in `attention`.
        """
        if self.state in ("stopped", "mismatch"):
            return f"{self.state}: {self.detail}" if self.detail else self.state
        if abs(self.age(now)) > stale_seconds:
            return f"stale: last heartbeat {self.age(now):.0f} s ago"
        return None

    def attention(self, now: int, *, stale_seconds: float) -> str | None:
        """Return why somebody should look, or None: `trouble`, or what `MonitorSummary.attention` says."""
        trouble = self.trouble(now, stale_seconds=stale_seconds)
        if trouble is not None:
            return trouble
        return self.monitor_fault or (None if self.monitor is None else self.monitor.attention(now))

    def monitor_report(self, now: int) -> dict[str, Any] | None:
        """Return what the monitor said as plain JSON, None where nothing watches the desk."""
        if self.monitor_fault:
            return {"fault": self.monitor_fault, "stale": True}
        return None if self.monitor is None else self.monitor.report(now)


_STATUS = TypeAdapter(Status)


def to_json(status: Status, now: int | None = None) -> str:
    """Return the status as one JSON object.

    now   UTC ns, for the age of what is read beside it; None: as of its heartbeat
    """
    return json.dumps(_plain(status, status.heartbeat if now is None else now), indent=2) + "\n"


def _plain(status: Status, now: int) -> dict[str, Any]:
    values = {each.name: getattr(status, each.name) for each in dataclasses.fields(status)}
    windows = [window._asdict() for window in status.cold_windows]
    risk = values.pop("risk")
    told = {} if risk is None else {"risk": {**dataclasses.asdict(risk), "doubts": status.risk_doubts}}
    del values["monitor"], values["monitor_fault"]
    monitor = status.monitor_report(now)
    return {**values, "cold_windows": windows, **told, **({} if monitor is None else {"monitor": monitor})}


def write_status(path: Path, status: Status) -> None:
    """Replace the status file at once, and beat; DataError where it cannot be written."""
    replace_file(path, to_json(status), durable=False, error=DataError)
    beat(path, status.heartbeat)


def beat(path: Path, now: int) -> None:
    """Write the heartbeat beside the status file: cheap enough for every second."""
    replace_file(heartbeat_file(path), f"{now}\n", durable=False, error=DataError)


def heartbeat_file(path: Path) -> Path:
    """Return where the heartbeat of a status file is."""
    return path.with_suffix(".heartbeat")


def read_status(path: Path) -> Status:
    """Return what the engine last wrote; LiveError without a file.

    Heartbeat, risk and what a monitor said come from the files beside it.
    """
    try:
        content = parse_json(path.read_bytes())
        if not isinstance(content, dict) or _schema(content) != SCHEMA:
            raise LiveError(f"{path}: not a status of schema {SCHEMA}; use the version that runs")
        status = _STATUS.validate_python(content)
    except OSError as error:
        raise LiveError(f"{path}: {error.strerror}: no status; is the engine started?") from error
    except (ConfigError, ValidationError) as error:
        raise LiveError(f"{path}: is no status file; give the one that the engine writes") from error
    monitor, fault = read_monitor_or_fault(monitor_file(path))
    return dataclasses.replace(
        status,
        heartbeat=max(status.heartbeat, _heartbeat(path)),
        risk=read_risk(risk_file(path)),
        monitor=monitor,
        monitor_fault=fault,
    )


def _schema(content: Mapping[str, Any]) -> int:
    written = content.get("schema")
    return written if type(written) is int else 0


def _heartbeat(path: Path) -> int:
    try:
        return int(heartbeat_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def status_table(status: Status, now: int, *, stale_seconds: float) -> TextTable:
    """Return the status at `now` (UTC ns): trouble first, then state, positions and counts."""
    table = TextTable("", prose(""), head=False)
    for name, value, alarming in _rows(status, now, stale_seconds):
        if value:
            table.add_row(Text(name, style="bold"), Text(value, style="red" if alarming else ""))
    return table


def _rows(status: Status, now: int, stale_seconds: float) -> Iterator[Row]:
    trouble = status.trouble(now, stale_seconds=stale_seconds)
    attention = status.attention(now, stale_seconds=stale_seconds)
    yield "verdict", attention or "fine", attention is not None
    yield "mode", f"{status.mode}, {status.state}, epoch {status.epoch}", False
    yield "doing", status.detail if status.state in ("starting", "replaying") else "", False
    yield "roll-out", status.rollout, False
    yield "heartbeat", f"{status.age(now):.1f} s ago", trouble is not None
    yield "started", _moment(status.started), False
    yield "kill switch", status.kill_switch or "off", status.kill_switch is not None
    yield "HALT", status.halt or "off", status.halt is not None
    yield "unknown orders", "\n".join(status.unknown_orders), True
    yield "unreconciled", _pairs(status.unreconciled, "\n"), True
    yield "clock", status.clock, True
    yield "fills", status.fills, True
    yield "versions", _pairs(status.versions), False
    yield "pinned", _pairs(status.pinned, "\n"), False
    yield "pending swaps", _pairs(status.pending_swaps, "\n"), True
    yield (
        "positions",
        _pairs({name: f"{value:+g}" for name, value in status.positions.items()}) or "flat",
        False,
    )
    yield (
        "profit today",
        _pairs({name: f"{value:+,.2f} USD" for name, value in status.profit_today.items()}),
        False,
    )
    yield from _portfolio_row(status.portfolio)
    yield from _risk_row(status)
    yield "monitor", status.monitor_fault, True
    if status.monitor is not None:
        yield from status.monitor.rows(now)
    yield (
        "cold windows",
        "\n".join(f"{w.symbol} {w.feature}: {w.seen} of {w.needed} bars" for w in status.cold_windows),
        True,
    )
    yield "quarantined", "\n".join(status.quarantined), True
    yield "last bars", _pairs({name: _moment(end) for name, end in status.last_bars.items()}, "\n"), False
    yield "queues", _pairs(status.queues), False
    yield "alerts", _pairs(status.alerts), False
    yield "faults", _pairs({name: count for name, count in status.faults.items() if count}), True
    yield "counters", _pairs(status.counters), False


def _portfolio_row(told: Mapping[str, float]) -> Iterator[Row]:
    if not told:
        return
    text = f"equity {told['equity']:,.2f} USD, drawdown {told['drawdown']:.2%}"
    if told["scale"] != 1.0:
        text += f", new sizes x {told['scale']:g}"
    stops = [
        sentence
        for name, sentence in (("stopped", "no entry today any more"), ("halted", "HALTED: no entry"))
        if told[name]
    ]
    yield "portfolio", ", ".join([text, *stops]), bool(stops)


def _risk_row(status: Status) -> Iterator[Row]:
    if status.risk is None:
        return
    doubts = status.risk_doubts
    old = f"; measure again, it is out of date: {', '.join(doubts)}" if doubts else ""
    yield "risk", f"{status.risk.text}{old}", bool(doubts)


def _pairs(values: Mapping[str, object], separator: str = ", ") -> str:
    return separator.join(f"{name} {value}" for name, value in values.items())


def _moment(stamp: int) -> str:
    return datetime.fromtimestamp(stamp / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
