"""Alerts to people: rate-limited, sent by a thread of their own, never blocking, never fatal."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from lockstep.monitoring.errors import AlertFailed
from lockstep.monitoring.throttle import Alert, AlertRate, Kind, Throttle
from lockstep.plugs import PlugSettings, ReadSecret

__all__ = ["Alert", "AlertRate", "Alerts", "Kind", "LogSink", "LogSinkSettings", "Sink", "SinkSettings"]

_LOGGER = logging.getLogger("lockstep.alerts")
_LONGEST_WAIT = 30.0
_URGENT: frozenset[Kind] = frozenset(
    (
        "mismatch",
        "unknown_order",
        "stale_feed",
        "stop",
        "implausible",
        "bars",
        "fault",
        "reconciliation",
        "clock",
    )
)


class Sink(Protocol):
    """Where alerts go."""

    name: str

    def send(self, alert: Alert) -> None:
        """Deliver one alert within some seconds; AlertFailed where it cannot."""


class SinkSettings(PlugSettings):
    """An entry of `alerts.sinks` in live.yml; a subclass fixes `kind` and adds the sink's own keys."""

    @abstractmethod
    def sink(self, secret: ReadSecret) -> Sink:
        """Return the sink; ConfigError or LiveError where it cannot be made as declared."""


class LogSinkSettings(SinkSettings):
    """The log of the process. A desk always has it."""

    kind: Literal["log"] = "log"

    def sink(self, secret: ReadSecret) -> LogSink:
        """See `SinkSettings`."""
        return LogSink()


class LogSink:
    """Writes alerts to the log."""

    name = "log"

    def send(self, alert: Alert) -> None:
        """Write one alert."""
        level = logging.WARNING if alert.kind in _URGENT else logging.INFO
        _LOGGER.log(level, alert.text, extra={"kind": alert.kind})


class Alerts:
    """Takes alerts without waiting and hands them to every sink, scrubbed.

    Alerts are dropped and counted when `capacity` of them wait. A sink that fails costs a count. One that
    raises what it must not is broken: that is counted, logged, and told to the other sinks once, until it
    works again. The thread survives either.

    scrub   cuts secrets out of a text
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        rate: AlertRate | None = None,
        *,
        capacity: int = 256,
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._sinks = tuple(sinks)
        self._scrub = scrub
        self._broken: set[str] = set()
        self._throttle = Throttle(rate or AlertRate())
        self._capacity = capacity
        self._queue: deque[Alert] = deque()
        self._changed = threading.Condition()
        self._closed = True
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._counts = {"sent": 0, "failed": 0, "broken": 0, "dropped": 0}

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many were `sent`, `failed`, `broken` (these per sink) and `dropped`."""
        return dict(self._counts)

    def start(self) -> None:
        """Begin sending."""
        self._closed = False
        self._thread.start()

    def post(self, alert: Alert) -> None:
        """Send an alert soon, unless its kind has spoken too often."""
        admitted = self._throttle.admit(alert._replace(text=self._scrub(alert.text)))
        self._enqueue([admitted] if admitted else [])

    def tick(self, now: int) -> None:
        """Send what was held back and may go at `now` (UTC ns); call it now and then."""
        self._enqueue(self._throttle.overdue(now))

    def stop(self, timeout: float) -> None:
        """Send what waits, for at most `timeout` seconds; what is left is counted as dropped."""
        self._enqueue(self._throttle.rest())
        with self._changed:
            was_running, self._closed = not self._closed, True
            self._changed.notify()
        if was_running:
            self._thread.join(timeout)
        self._hurry.set()
        with self._changed:
            self._counts["dropped"] += len(self._queue)
            self._queue.clear()

    def _enqueue(self, alerts: Iterable[Alert]) -> None:
        with self._changed:
            for alert in alerts:
                if self._closed or len(self._queue) >= self._capacity:
                    self._counts["dropped"] += 1
                else:
                    self._queue.append(alert)
            self._changed.notify()

    def _run(self) -> None:
        while (alert := self._next()) is not None:
            for sink in self._sinks:
                self._deliver(sink, alert)

    def _next(self) -> Alert | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return self._queue.popleft() if self._queue else None

    def _deliver(self, sink: Sink, alert: Alert) -> None:
        try:
            self._send(sink, alert)
        except AlertFailed as failure:
            self._counts["failed"] += 1
            _LOGGER.warning("alert not delivered by %s: %s", sink.name, failure)
        except BaseException as error:
            self._counts["broken"] += 1
            _LOGGER.exception("sink %s is broken", sink.name)
            self._tell_others(sink, error, alert.time)
        else:
            self._counts["sent"] += 1
            self._broken.discard(sink.name)

    def _send(self, sink: Sink, alert: Alert) -> None:
        """Hand an alert to a sink; once more after the time that it asked for."""
        try:
            sink.send(alert)
        except AlertFailed as failure:
            if failure.retry_after is None or self._hurry.wait(min(failure.retry_after, _LONGEST_WAIT)):
                raise
            sink.send(alert)

    def _tell_others(self, broken: Sink, error: BaseException, time: int) -> None:
        if broken.name in self._broken:
            return
        self._broken.add(broken.name)
        text = f"alerts: sink {broken.name} is broken ({type(error).__name__}); its alerts are lost"
        for sink in self._sinks:
            if sink.name not in self._broken:
                self._deliver(sink, Alert("fault", text, time))
