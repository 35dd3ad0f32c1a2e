"""`/health` and `/metrics` over HTTP, to this machine only."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from lockstep.errors import LiveError
from lockstep.live.loopback import LoopbackHandler, LoopbackServer
from lockstep.live.status.monitor import ALARM, SEVERITIES, WATCH, MonitorSummary
from lockstep.live.status.risk import RiskSummary
from lockstep.live.status.status import Status

_LAST_ANSWERS = 1.0  # seconds that answers may take at a stop

_RISKS = (("value_at_risk", "Value at risk"), ("expected_shortfall", "Expected shortfall"))

Look = Callable[[], Status]
Clock = Callable[[], int]


class StatusCollector(Collector):
    """The status as Prometheus metrics, taken anew at every scrape."""

    def __init__(self, look: Look, clock: Clock, *, stale_seconds: float) -> None:
        self._look = look
        self._clock = clock
        self._stale_seconds = stale_seconds

    def collect(self) -> Iterable[Metric]:
        """Yield one family per number."""
        status, now = self._look(), self._clock()
        healthy = status.trouble(now, stale_seconds=self._stale_seconds) is None
        yield _gauge("up", "1 while running with a fresh heartbeat", float(healthy))
        yield _gauge("heartbeat_age_seconds", "Seconds since the heartbeat", status.age(now))
        yield _gauge("kill_switch", "1 while on", float(status.kill_switch is not None))
        yield _gauge("halt", "1 while on", float(status.halt is not None))
        yield _gauge("unknown_orders", "Orders to be resolved", float(len(status.unknown_orders)))
        yield _gauge("quarantined_bars", "Bars to be decided about", float(len(status.quarantined)))
        yield _gauge("cold_windows", "Windows that are not full", float(len(status.cold_windows)))
        yield _gauges("position_contracts", "Signed contracts", "symbol", status.positions)
        yield _gauges("profit_today_usd", "Since the last session close", "symbol", status.profit_today)
        yield _gauges("queue_length", "What waits", "queue", status.queues)
        yield _counters("alerts", "Alerts by fate", "fate", status.alerts)
        yield _counters("events", "What the engine counts", "name", status.counters)
        yield _counters("faults", "Unexpected errors that a thread survived", "thread", status.faults)
        yield from risk_metrics(status.risk, bool(status.risk_doubts))
        yield from monitor_metrics(status.monitor, status.monitor_fault, now)


def risk_metrics(summary: RiskSummary | None, doubtful: bool) -> Iterable[Metric]:
    """Yield the risk of the next session as it was last measured; nothing where it never was."""
    if summary is None:
        return
    for at, (name, text) in enumerate(_RISKS):
        values = {level: both[at] for level, both in summary.levels.items()}
        yield _gauges(
            f"{name}_usd", f"{text} of the next session, by confidence in per cent", "level", values
        )
    yield _gauge("risk_stale", "1 where positions or bars are others than were measured", float(doubtful))


def monitor_metrics(summary: MonitorSummary | None, fault: str, now: int) -> Iterable[Metric]:
    """Yield what a monitor of the desk said, nothing where none ever ran.

    fault   why its summary cannot be read; the desk then counts as not watched
    """
    if summary is None and not fault:
        return
    stale = summary is None or summary.is_stale(now)
    yield _gauge("monitor_stale", "1 while nobody watches the desk that was watched", float(stale))
    if summary is None:
        return
    levels = Counter(each.level for each in summary.alarms)
    severities = Counter(each.severity for each in summary.drift)
    yield _gauge("monitor_age_seconds", "Seconds since the monitor ran", summary.age(now))
    yield _gauge("monitor_wealth", "Mean wealth of the streams; ALARM at 20, NaN: none", summary.wealth)
    yield _gauges("alarms", "Not acknowledged", "level", {level: levels[level] for level in (ALARM, WATCH)})
    yield _gauges("drift", "Findings", "severity", {each: severities[each] for each in SEVERITIES})


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lockstep_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Any) -> Metric:
    return _labelled(GaugeMetricFamily(f"lockstep_{name}", text, labels=[label]), values)


def _counters(name: str, text: str, label: str, values: Any) -> Metric:
    return _labelled(CounterMetricFamily(f"lockstep_{name}", text, labels=[label]), values)


def _labelled(family: Any, values: Any) -> Metric:
    for name, value in values.items():
        family.add_metric([name], value)
    return family  # type: ignore[no-any-return]


def _health(status: Status, now: int, stale_seconds: float) -> dict[str, Any]:
    """Return the body of `/health`; `monitor` is in it where one watches the desk, and changes no verdict."""
    trouble, monitor = status.trouble(now, stale_seconds=stale_seconds), status.monitor_report(now)
    return {
        "healthy": trouble is None,
        "trouble": trouble,
        **({} if monitor is None else {"monitor": monitor}),
    }


class HealthServer:
    """Answers `/health` (200, or 503 with the reason) and `/metrics` on the loopback address.

    Both report the engine's health and, apart from it, what a monitor said of the model: an alarm of the
    model is no reason to restart the engine.
    """

    def __init__(self, port: int, look: Look, clock: Clock, *, stale_seconds: float) -> None:
        """Bind `port` (0: any free one, see `port`); LiveError where it is taken."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(look, clock, stale_seconds=stale_seconds))
        handler = type("Handler", (_Handler,), {
            "answer": staticmethod(lambda: _health(look(), clock(), stale_seconds)),
            "registry": registry,
        })  # fmt: skip
        try:
            self._server = LoopbackServer(port, handler)
        except OSError as error:
            raise LiveError(f"health: port {port}: {error.strerror}; choose another in live.yml") from error
        self._thread = threading.Thread(target=self._server.serve, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.close(_LAST_ANSWERS, serving=self._thread.is_alive())


class _Handler(LoopbackHandler):
    answer: Callable[[], Mapping[str, Any]]
    registry: CollectorRegistry

    def do_GET(self) -> None:
        self.server.received(self.connection)
        if self.path == "/metrics":
            self.send(HTTPStatus.OK, generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4)
        elif self.path == "/health":
            answer = self.answer()
            status = HTTPStatus.OK if answer["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
            self.send(status, json.dumps(answer).encode(), "application/json")
        else:
            self.send(HTTPStatus.NOT_FOUND, b"there are /health and /metrics\n", "text/plain")
