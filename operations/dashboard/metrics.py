"""`/metrics` of the dashboard: what status file and monitor say, also while no engine runs to be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lockstep.errors import LiveError
from lockstep.live.status.health import StatusCollector, monitor_metrics, risk_metrics
from lockstep.live.status.monitor import monitor_file, read_monitor_or_fault
from lockstep.live.status.risk import read_risk, risk_file
from lockstep.live.status.status import read_status


class DeskCollector(Collector):
    """The files of a desk as Prometheus metrics, of the names that the engine's own have.

    `lockstep_status_readable` is 0 where the engine never wrote its status, or another version did; what the
    monitor said, and the risk that was measured, are there all the same.
    """

    def __init__(self, status: Path, clock: Callable[[], int], *, stale_seconds: float) -> None:
        self._path = status
        self._clock = clock
        self._stale_seconds = stale_seconds

    def collect(self) -> Iterable[Metric]:
        """Yield one family per number."""
        try:
            status = read_status(self._path)
        except LiveError:
            yield _readable(0.0)
            # Whether the numbers hold is said by positions, which are not known.
            yield from risk_metrics(read_risk(risk_file(self._path)), doubtful=True)
            yield from monitor_metrics(*read_monitor_or_fault(monitor_file(self._path)), self._clock())
            return
        yield _readable(1.0)
        yield from StatusCollector(lambda: status, self._clock, stale_seconds=self._stale_seconds).collect()


def metrics_text(status: Path, clock: Callable[[], int], *, stale_seconds: float) -> bytes:
    """Return the present metrics as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DeskCollector(status, clock, stale_seconds=stale_seconds))
    return generate_latest(registry)


def _readable(value: float) -> Metric:
    return GaugeMetricFamily("lockstep_status_readable", "1 while the status can be read", value=value)
