"""Rate limits of alerts: one token bucket per kind, and repeats joined by group; what is held is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

_MINUTE = 60_000_000_000
_MOST_GROUPS = 1_000
_OTHERS = "others"

Kind = Literal[
    "entry", "exit", "stop", "refusal", "stale_feed", "restart", "mismatch", "daily_summary",
    "unknown_order", "swap", "implausible", "bars", "fault", "reconciliation", "clock",
]  # fmt: skip


class Alert(NamedTuple):
    """Something that a person should know. time: UTC ns."""

    kind: Kind
    text: str
    time: int


class AlertRate(BaseModel):
    """How many alerts of a kind may come at once, and per minute in the long run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
