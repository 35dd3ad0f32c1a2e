"""The status as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.text import Text

from lockstep.live.status import SECOND, Status
from lockstep.tables import TextTable, prose


def status_table(status: Status, now: int, *, stale_seconds: float) -> TextTable:
    """Return the status at `now` (UTC ns): trouble first, then state, positions and counts."""
    table = TextTable("", prose(""), head=False)
    for name, value, alarming in _rows(status, now, stale_seconds):
        if value:
            table.add_row(Text(name, style="bold"), Text(value, style="red" if alarming else ""))
    return table


def _rows(status: Status, now: int, stale_seconds: float) -> Iterator[tuple[str, str, bool]]:
    trouble = status.trouble(now, stale_seconds=stale_seconds)
    yield "verdict", trouble or "fine", trouble is not None
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


def _pairs(values: Mapping[str, object], separator: str = ", ") -> str:
    return separator.join(f"{name} {value}" for name, value in values.items())


def _moment(stamp: int) -> str:
    return datetime.fromtimestamp(stamp / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
