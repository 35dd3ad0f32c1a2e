"""`Watcher`: turns what the engine committed into a status, alerts, counters and log lines."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.errors import DataError
from lockstep.live.codec import content_of
from lockstep.live.events import (
    BarIrregular,
    BarJudged,
    ClockJudged,
    CommandRefused,
    EngineStarted,
    EngineStopped,
    Event,
    ExitWithoutBar,
    ModelSwapped,
    OrderRefused,
    OrderRejected,
    OrderUnknown,
    OrderWithdrawn,
    PortfolioResumed,
    PositionDiffers,
    SwapPending,
)
from lockstep.live.messages import Irregularity, LaneRecord, Mode, SetRecord, iso
from lockstep.live.plausible import AGREE
from lockstep.live.quarantine import irregularity_of
from lockstep.live.risk.switches import Switches
from lockstep.live.status.monitor import MonitorFile, monitor_file
from lockstep.live.status.risk import read_risk, risk_file
from lockstep.live.status.status import SECOND, State, Status, write_status
from lockstep.monitoring.alerts import Alert, Alerts, Coalescer, Kind
from lockstep.portfolio.state import CoordinatorState
from lockstep.strategy.decision import kind_of
from lockstep.strategy.records import STOP

_LOGGER = logging.getLogger("lockstep.live")
_DAY = 86_400 * SECOND
_LOOK = 50  # bar sets of a replay between two looks at the clock
_KINDS: Mapping[type[Event], Kind] = {
    EngineStarted: "restart",
    EngineStopped: "stop",
    OrderUnknown: "unknown_order",
    OrderRefused: "refusal",
    OrderRejected: "refusal",
    OrderWithdrawn: "refusal",
    CommandRefused: "refusal",
    ModelSwapped: "swap",
    SwapPending: "swap",
    BarJudged: "implausible",
    ExitWithoutBar: "exit",
    PortfolioResumed: "portfolio",
    PositionDiffers: "reconciliation",
}
_IRREGULAR: Mapping[str, Kind] = {
    "implausible": "implausible",
    "missing": "stale_feed",
    "gap": "stale_feed",
    "late": "stale_feed",
    "silent": "stale_feed",
}

Look = Callable[[], Mapping[str, Any]]


class Watcher:
    """Keeps the status of a running desk. It only writes files and posts alerts, which never block.

    path         of the status file; look   returns fields of `Status` that the engine knows at that moment
    bars_every   ns within which irregular bars of one kind and series make one alert
    scrubbed     returns plain JSON, or tuples of it, without secrets
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: Mode,
        epoch: int,
        started: int,
        alerts: Alerts,
        switches: Switches,
        bars_every: int = 300 * SECOND,
        scrubbed: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self._path = path
        self._scrubbed = scrubbed
        self._alerts = alerts
        self._switches = switches
        self._look: Look = dict
        self._counters: Counter[str] = Counter()
        self._last_bars: dict[str, int] = {}
        self._positions: dict[str, float] = {}
        self._equity: dict[str, float] = {}
        self._evening: dict[str, float] = {}
        self._portfolio: CoordinatorState | None = None
        self._day = 0
        self._written = 0
        self._now = started
        self._irregular_bars = Coalescer(bars_every)
        self._recorded = self._replayed = 0
        self._monitor = MonitorFile(monitor_file(path))
        self._status = Status(mode=mode, state="starting", epoch=epoch, started=started, heartbeat=started)

    @property
    def status(self) -> Status:
        """The present status, with what monitor and risk measurement said last; any thread may ask."""
        monitor, fault = self._monitor.look()
        risk = read_risk(risk_file(self._path))
        return replace(self._status, risk=risk, monitor=monitor, monitor_fault=fault)

    def watch(self, look: Look) -> None:
        """Ask `look` for what only the engine knows."""
        self._look = look

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        """Take a committed set; what is replayed was told before and makes no alert."""
        self._last_bars |= {str(key): record.release.stamp for key in record.release.bars}
        self._counters["sets replayed" if replayed else "sets"] += 1
        for each in record.release.irregularities:
            self._irregular(each, replayed=replayed)
        for lane in record.lanes:
            self._lane(lane, record.release.stamp, replayed=replayed)
        if record.settled is not None:
            self._settled(record.settled.state, replayed=replayed)
        for event in record.events:
            self.happened(replace(event, time=record.release.stamp), replayed=replayed)

    def _irregular(self, found: Irregularity, *, replayed: bool) -> None:
        """Count a bar, and alert unless one of its kind and series was told of just now."""
        self._counters[found.kind] += 1
        if replayed:
            return
        group = f"{found.kind} {found.key}{AGREE if AGREE in found.detail else ''}"
        alert = Alert(_IRREGULAR.get(found.kind, "bars"), irregular_text(found), self._now)
        passed = self._irregular_bars.add(group, alert, where=_moment(found))
        if passed is not None:
            self._alerts.post(passed)

    def _lane(self, lane: LaneRecord, stamp: int, *, replayed: bool) -> None:
        self._positions[lane.symbol] = lane.mark[1]
        self._summarise(stamp, replayed=replayed)
        self._equity[lane.symbol] = lane.mark[3]
        self._counters[kind_of(lane.code)] += 1
        for order in lane.orders:
            if order.status != "completed":
                continue
            self._counters["fills"] += 1
            kind: Kind = "stop" if order.intent == STOP else "entry" if order.intent == "entry" else "exit"
            if not replayed:
                text = f"{lane.symbol}: {order.intent} {order.quantity:g} at {order.price:g} ({order.reason})"
                self._alert(kind, text, stamp)

    def _settled(self, state: CoordinatorState, *, replayed: bool) -> None:
        """Tell when the portfolio begins to stop entries or to make sizes smaller, and when that ends."""
        before, self._portfolio = self._portfolio, state
        if replayed or before is None:
            return
        equity = f"equity {state.equity:,.2f} USD, drawdown {state.drawdown:.2%}"
        told = [
            (
                state.halted,
                before.halted,
                f"HALTED, nothing is entered until lockstep portfolio resume: {equity}",
            ),
            (state.stopped, before.stopped, f"a loss has ended entries for today: {equity}"),
            (state.tier > before.tier, False, f"new sizes are smaller, tier {state.tier}: {equity}"),
            (state.tier < before.tier, False, f"new sizes are larger again, tier {state.tier}: {equity}"),
        ]
        for now, already, text in told:
            if now and not already:
                self._alert("portfolio", text, state.stamp)

    def _summarise(self, stamp: int, *, replayed: bool) -> None:
        """Tell once a day (UTC) what the day before made."""
        day = stamp // _DAY
        if day == self._day:
            return
        made = sum(self._equity.values()) - sum(self._evening.values())
        if self._day and self._evening and not replayed:
            held = ", ".join(f"{name} {size:g}" for name, size in self._positions.items() if size) or "flat"
            self._alert("daily_summary", f"{made:+,.2f} USD; {held}", stamp)
        self._day, self._evening = day, dict(self._equity)

    def happened(self, event: Event, *, replayed: bool) -> None:
        """Take a committed event."""
        self._counters[event.kind] += 1
        if isinstance(event, BarIrregular):
            self._irregular(irregularity_of(event), replayed=replayed)
            return
        if replayed:
            return
        content = content_of(event)
        _LOGGER.info("%s %s", event.kind, event.symbol, extra={"content": content})
        if isinstance(event, EngineStarted):
            self.change("running", "")
        kind = _KINDS.get(type(event))
        if isinstance(event, ClockJudged) and not event.good:
            kind = "clock"
        if kind is not None:
            told = ", ".join(f"{name} {value}" for name, value in content.items())
            self._alert(kind, f"{event.kind} {event.symbol} {told}".strip(), event.time)

    def beat(self, *, now: int) -> None:
        """Write the status when the last one is a second old; send what was held back and may go."""
        self._now = now
        for alert in self._irregular_bars.due(now):
            self._alerts.post(alert)
        if now - self._written >= SECOND or self._status.state != "running":
            self._write(now)
        self._alerts.tick(now)

    def replaying(self, sets: int, now: int) -> None:
        """Note that a journal of so many bar sets is being replayed."""
        self._recorded, self._replayed = sets, 0
        self.change("replaying", f"bar set 0 of {sets:,}")
        self._write(now)

    def replayed(self, clock: Callable[[], int]) -> None:
        """Count a bar set of the replay, and write about once a second how far it is."""
        self._replayed += 1
        if self._replayed % _LOOK == 0 and clock() - self._written >= SECOND:
            self.change("replaying", f"bar set {self._replayed:,} of {self._recorded:,}")
            self._write(clock())

    def change(self, state: State, detail: str) -> None:
        """Note what the engine is doing now."""
        self._status = replace(self._status, state=state, detail=self._scrubbed(detail))

    def end(self, state: State, detail: str, now: int) -> None:
        """Write the last status, and send the alerts that were held back."""
        for alert in self._irregular_bars.rest():
            self._alerts.post(alert)
        self.change(state, detail)
        self._write(now)

    def _write(self, now: int) -> None:
        self._written = now
        fields = {
            "positions": dict(self._positions),
            "last_bars": dict(self._last_bars),
            "kill_switch": self._switches.kill_switch(),
            "halt": self._switches.halt(),
            "alerts": self._alerts.counts,
            "counters": dict(self._counters),
            **self._look(),
        }
        self._tell_faults(fields.get("faults", {}), now)
        if fields.get("fills") and not self._status.fills:
            self._alert("fault", f"fills: nothing is heard from the broker: {fields['fills']}", now)
        self._status = replace(self._status, heartbeat=now, **self._scrubbed(fields))
        try:
            write_status(self._path, self._status)
        except DataError as error:
            self._counters["status not written"] += 1
            _LOGGER.error("status: %s", error)

    def _tell_faults(self, faults: Mapping[str, int], now: int) -> None:
        """Raise an alert where a thread has survived an unexpected error since the last status."""
        for thread, count in faults.items():
            if count > self._status.faults.get(thread, 0):
                self._alert("fault", f"{thread}: {count} unexpected errors so far, see the log", now)

    def _alert(self, kind: Kind, text: str, time: int) -> None:
        self._alerts.post(Alert(kind, text, time))


def irregular_text(found: Irregularity) -> str:
    """Return what an operator is told about an irregular bar."""
    told = f"{found.kind} bar {found.key} {_moment(found)}".rstrip()
    if found.kind != "implausible":
        return f"{told}: {found.detail}"
    return (
        f"{told}: {found.detail}. It is quarantined, and nothing is decided on it. If the price is right: "
        f"lockstep data bars accept {found.key} {_moment(found)}; if not: reject it, or send the correct bar"
    )


def _moment(found: Irregularity) -> str:
    return iso(found.end) if found.end else ""
