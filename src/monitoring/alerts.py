"""Alerts to people: rate-limited, sent by a thread of their own, never blocking, never fatal.

Rate limits of alerts: one token bucket per kind, and repeats joined by group; what is held is counted.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field

from lockstep.errors import AlertFailed
from lockstep.plugs import PlugSettings, ReadSecret
from lockstep.settings import Settings

__all__ = [
    "SEVERITY", "Alert", "AlertRate", "Alerts", "Kind", "LogSink", "LogSinkSettings", "Severity", "Sink",
    "SinkSettings",
]  # fmt: skip


_MINUTE = 60_000_000_000
_MOST_GROUPS = 1_000
_OTHERS = "others"

Kind = Literal[
    "entry", "exit", "stop", "refusal", "stale_feed", "restart", "mismatch", "daily_summary",
    "unknown_order", "swap", "implausible", "bars", "fault", "reconciliation", "clock",
    "portfolio", "alarm", "watch", "drift", "investigation", "monitor", "retraining",
]  # fmt: skip
Severity = Literal["alert", "warning", "investigation", "notice"]

SEVERITY: Mapping[Kind, Severity] = {
    **dict.fromkeys((
        "mismatch", "unknown_order", "stale_feed", "stop", "implausible", "bars", "fault", "reconciliation",
        "clock", "portfolio", "alarm",
    ), "alert"),
    **dict.fromkeys(("watch", "drift", "monitor", "retraining"), "warning"),
    "investigation": "investigation",
    **dict.fromkeys(("entry", "exit", "refusal", "restart", "daily_summary", "swap"), "notice"),
}  # fmt: skip
"""How much a kind matters. alert: act now; warning: look at it today; investigation: nothing is known to be
wrong, find out; notice: nothing to do.

Those of a monitor: `alarm`, a win rate, a P&L, a calibration or an information coefficient has fallen;
`watch`, one of them may have; `drift`, a feature has moved; `investigation`, probabilities have; `monitor`,
the desk is not watched, or watched with bad input. `retraining`: a challenger waits for a
person, a retraining failed, or a promotion was taken back."""


class Alert(NamedTuple):
    """A message for the operator. time: UTC ns.

    >>> Alert("fault", "the sender went on", 1_709_931_600_000_000_000).text
    'the sender went on'
    """

    kind: Kind
    text: str
    time: int

    @property
    def head(self) -> str:
        """The kind in words, after its severity where that is more than a notice.

        >>> Alert("stale_feed", "no bar", 0).head, Alert("swap", "v3", 0).head
        ('alert: stale feed', 'swap')
        """
        severity, name = SEVERITY[self.kind], self.kind.replace("_", " ")
        return name if severity in ("notice", name) else f"{severity}: {name}"


class AlertRate(Settings):
    """How many alerts of a kind may come at once, and per minute in the long run."""

    burst: Annotated[int, Field(ge=1)] = 5
    per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated: int
    held: Alert | None = None
    count: int = 0


class Throttle:
    """Lets alerts through at `rate` per kind. Pure: time comes with the alerts; it may jump backwards."""

    def __init__(self, rate: AlertRate) -> None:
        self._rate = rate
        self._buckets: dict[Kind, _Bucket] = {}

    def admit(self, alert: Alert) -> Alert | None:
        """Return the alert, with how many of its kind were held back before; None holds this one back."""
        bucket = self._bucket(alert.kind, alert.time)
        if bucket.tokens < 1.0:
            bucket.held, bucket.count = alert, bucket.count + 1
            return None
        return self._spend(bucket, alert, bucket.count)

    def overdue(self, now: int) -> list[Alert]:
        """Return, for each kind that may speak again, the newest alert that was held back."""
        buckets = [self._bucket(kind, now) for kind in self._buckets]
        ready = [bucket for bucket in buckets if bucket.tokens >= 1.0]
        return [self._spend(each, each.held, each.count - 1) for each in ready if each.held]

    def rest(self) -> list[Alert]:
        """Return the newest held-back alert of each kind, whatever the rate: for the end."""
        return [self._spend(each, each.held, each.count - 1) for each in self._buckets.values() if each.held]

    def _bucket(self, kind: Kind, now: int) -> _Bucket:
        """Return the bucket of `kind`, filled for the time that has passed."""
        bucket = self._buckets.setdefault(kind, _Bucket(float(self._rate.burst), now))
        gained = max(0, now - bucket.updated) / _MINUTE * self._rate.per_minute
        bucket.tokens, bucket.updated = min(bucket.tokens + gained, float(self._rate.burst)), now
        return bucket

    @staticmethod
    def _spend(bucket: _Bucket, alert: Alert, more: int) -> Alert:
        bucket.tokens, bucket.held, bucket.count = bucket.tokens - 1.0, None, 0
        return alert._replace(text=f"{alert.text} (and {more} more)") if more else alert


@dataclass(slots=True)
class _Group:
    opened: int
    held: Alert | None = None
    count: int = 0
    first: str = ""
    last: str = ""


class Coalescer:
    """Joins alerts that repeat: the first of a group goes at once, those of the next `interval` ns as one.

    Pure: time comes with the calls; it may jump backwards. Groups beyond a thousand count as one.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._groups: dict[str, _Group] = {}

    def add(self, group: str, alert: Alert, *, where: str = "") -> Alert | None:
        """Return the alert if it may go; None holds it back. `where` names its subject, for the count."""
        if group not in self._groups and len(self._groups) >= _MOST_GROUPS:
            group = _OTHERS
        known = self._groups.get(group)
        if known is None:
            self._groups[group] = _Group(alert.time)
            return alert
        known.held, known.count = alert, known.count + 1
        known.first, known.last = known.first or where, where
        return None

    def due(self, now: int) -> list[Alert]:
        """Return what was held back by groups whose interval is over; silent groups are forgotten."""
        over = [name for name, each in self._groups.items() if self._is_over(each, now)]
        found = [_joined(self._groups[name]) for name in over]
        for name, alert in zip(over, found, strict=True):
            if alert is None:
                del self._groups[name]
            else:
                self._groups[name] = _Group(now)
        return [alert for alert in found if alert is not None]

    def rest(self) -> list[Alert]:
        """Return what is held back, for the end."""
        found = [_joined(each) for each in self._groups.values()]
        self._groups.clear()
        return [alert for alert in found if alert is not None]

    def _is_over(self, group: _Group, now: int) -> bool:
        return not group.opened <= now < group.opened + self._interval


def _joined(group: _Group) -> Alert | None:
    """Return the newest alert of a group, with how many more there were, and the first and last of them."""
    if group.held is None or group.count == 1:
        return group.held
    span = f", {group.first} to {group.last}" if group.first else ""
    return group.held._replace(text=f"{group.held.text} (and {group.count - 1} more{span})")


_LOGGER = logging.getLogger("lockstep.alerts")
_LONGEST_WAIT = 30.0


class Sink(Protocol):
    """A destination for alerts.

    >>> from lockstep.monitoring.alerts import LogSink
    >>> LogSink().name
    'log'
    """

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
        level = logging.INFO if SEVERITY[alert.kind] == "notice" else logging.WARNING
        # A lone surrogate cannot be written as UTF-8: the line would be lost.
        text = alert.text.encode("utf-8", "backslashreplace").decode()
        _LOGGER.log(level, text, extra={"kind": alert.kind})


class Alerts:
    """Accepts alerts without blocking and passes them, scrubbed, to every sink from its own thread.

    Alerts are dropped and counted when `capacity` of them wait. A sink that fails costs a count. One that
    raises an undeclared exception is broken: that is counted, logged, and reported to the other sinks once,
    until it works again. The thread survives both.

    scrub   removes secrets from a text

    >>> class Pager:
    ...     name = "pager"
    ...     def __init__(self):
    ...         self.sent = []
    ...     def send(self, alert):
    ...         self.sent.append(alert.text)
    >>> pager = Pager()
    >>> alerts = Alerts([pager])
    >>> alerts.start()
    >>> alerts.post(Alert("fault", "the feed ended", 1_709_931_600_000_000_000))
    >>> alerts.stop(timeout=5.0)
    >>> pager.sent
    ['the feed ended']
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
