"""Telling people: alerts to the desk's sinks, each until it was delivered, and the summary of the status."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lockstep.errors import AlertFailed
from lockstep.live.config import LiveConfig
from lockstep.live.status.monitor import (
    MonitorSummary,
    RaisedAlarm,
    ReportedDrift,
    monitor_file,
    write_monitor,
)
from lockstep.monitoring.alerts import (
    Alert,
    AlertRate,
    Kind,
    LogSink,
    LogSinkSettings,
    Sink,
    Throttle,
)
from lockstep.secrets import Secrets
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.report import MonitorReport

_KINDS: dict[str, Kind] = {"alert": "alarm", "warning": "drift", "investigation": "investigation"}


class News(NamedTuple):
    """Something to tell once. subject: names it for good; kind, sentence: of the alert."""

    subject: str
    kind: Kind
    sentence: str


def news_of(report: MonitorReport) -> Iterator[News]:
    """Yield what holds now and people should hear of: alarms, drift, broken features, bad input."""
    for alarm in report.raised:
        kind: Kind = "alarm" if alarm.level == "ALARM" else "watch"
        yield News(f"{alarm.level} {alarm.place} {alarm.raised}", kind, alarm.sentence)
    for row in report.drift:
        if row["severity"] in _KINDS:
            subject = f"{row['kind']} {row['lane']} {row['bundle']} {row['since']}"
            yield News(subject, _KINDS[row["severity"]], row["sentence"])
    for note in report.notes:
        yield News(f"note {note}", "monitor", note)


def tell(
    database: MonitorDatabase, news: Sequence[News], sinks: Sequence[Sink], rate: AlertRate, *, now: int
) -> list[str]:
    """Send what was not delivered yet; return what could not be, one line each.

    News count as delivered when every sink took them; they are sent again with the next run otherwise, and
    once more after a kill between the two: better twice than never.
    """
    known = {row["subject"] for row in database.rows("deliveries")}
    failed = []
    for alert, subjects in _limited([each for each in news if each.subject not in known], rate, now):
        try:
            for sink in sinks:
                sink.send(alert)
        except AlertFailed as failure:
            failed.append(f"alert not delivered, the next run tries again: {failure}")
            continue
        with database.step():
            told = {"kind": alert.kind, "delivered": now}
            database.put("deliveries", ({**told, "subject": each} for each in subjects))
    return failed


def _limited(news: Sequence[News], rate: AlertRate, now: int) -> Iterator[tuple[Alert, list[str]]]:
    """Yield alerts with the subjects that they stand for: beyond a kind's burst, the last with a count."""
    throttle, held = Throttle(rate), defaultdict[Kind, list[str]](list)
    for each in news:
        alert = throttle.admit(Alert(each.kind, each.sentence, now))
        if alert is None:
            held[each.kind].append(each.subject)
        else:
            yield alert, [each.subject]
    for alert in throttle.rest():
        yield alert, held[alert.kind]


def sinks_of(config: MonitoringConfig, desk: LiveConfig) -> list[Sink]:
    """Return the log and the declared sinks; LiveError where a secret is missing."""
    secrets = Secrets(os.environ)
    others = (each for each in config.alerts_of(desk).sinks if not isinstance(each, LogSinkSettings))
    return [LogSink(), *(each.sink(secrets.read) for each in others)]


def summary_of(report: MonitorReport, *, stale_after: float) -> MonitorSummary:
    """Return what the status and `/health` show of a report."""
    shown = [row for row in report.drift if row["severity"]]
    desk = [each["alarm"] for each in report.wealth if each["place"] == "desk"]
    named = {"notice": "watch"}
    return MonitorSummary(
        written=report.written,
        frontier=report.frontier,
        stale_after=stale_after,
        alarms=tuple(
            RaisedAlarm(
                place=each.place, level=each.level, severity=each.severity, since=each.since,
                raised=each.raised, sentence=each.sentence,
            )
            for each in report.raised
        ),
        drift=tuple(
            ReportedDrift(row["lane"], named.get(row["severity"], row["severity"]), row["sentence"])
            for row in shown
        ),
        references=report.references,
        notes=report.notes,
        outcomes=report.counts(),
        wealth=desk[-1] if desk else float("nan"),
    )  # fmt: skip


def write_summary(report: MonitorReport, config: MonitoringConfig, desk: LiveConfig) -> None:
    """Put the summary beside the desk's status file; MonitorError where it cannot be written."""
    write_monitor(monitor_file(desk.status), summary_of(report, stale_after=config.stale_after))
