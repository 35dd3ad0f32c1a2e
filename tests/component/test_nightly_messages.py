"""Messages of a night: to every sink once, again where one refused it, and never where nobody knows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import AlertFailed, LiveError
from lockstep.monitoring.alerts import Alert
from operations.nightly import telling
from operations.nightly.context import REGISTERED, NightContext
from operations.nightly.night import NightHistory
from operations.nightly.steps import decide, report
from support.nights import nights

MESSAGE = "message of dips registered, night 2014-06-30"


class Death(BaseException):
    """A process that dies here."""


@dataclass
class Channel:
    """Settings and sink in one; `answer` is what it says to a message: nothing, or an error."""

    kind: str
    sent: list[str] = field(default_factory=list)
    answer: BaseException | None = None
    missing: str = ""

    def sink(self, secret: Any) -> Channel:
        if self.missing:
            raise LiveError(self.missing)
        return self

    def send(self, alert: Alert) -> None:
        if self.answer is not None:
            raise self.answer
        self.sent.append(alert.text)


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Channel]:
    found = {"log": Channel("log"), "discord": Channel("discord")}
    monkeypatch.setattr(telling, "sinks_of", lambda alerts: found)
    return found


def context(folder: Path, night: str = "2014-06-30") -> NightContext:
    """Return a night in which a winner was registered."""
    found = replace(nights(folder).context, night=night)
    content = {"name": "dips", "experiment": 1}
    found.effects.once(night, REGISTERED, "hash COMP", content, lambda: "dips")
    return found


def start(folder: Path, number: int, night: str = "2014-06-30") -> tuple[Any, list[Any]]:
    """Decide and report as a start does; returns what the page is made of, and the keys of both steps."""
    found = context(folder, night)
    keys: list[Any] = []
    for step in (decide, report):
        keys.append(step.ingredients(found, {}))
        out = folder / f"{step.__name__.rpartition('.')[2]}-{number}"
        out.mkdir()
        step.work(found, {}, out)
    return json.loads((folder / f"report-{number}" / "report.json").read_text()), keys


def test_what_a_sink_refused_is_sent_again_to_it_alone(tmp_path: Path, sinks: dict[str, Channel]) -> None:
    channel = sinks["discord"]
    channel.answer = AlertFailed("no answer")
    line = f"{MESSAGE}: not delivered by discord: no answer; the next start sends it again"
    shown, first = start(tmp_path, 1)
    assert shown["undelivered"] == [line]
    assert shown["unknown"] == []
    assert shown["troubles"][-1] == (
        "1 message not delivered by discord: no answer; the next start tries again"
    )
    assert nights(tmp_path).nothing_new == ""
    text = (tmp_path / "report-1" / "report.html").read_text()
    assert text.count("not delivered by discord: no answer") == 2, (
        "among what to look at first, and in its card"
    )
    _, second = start(tmp_path, 2)
    assert second != first, "nothing would send it again"
    channel.answer = None
    shown, _ = start(tmp_path, 3)
    assert shown["undelivered"] == []
    assert (len(channel.sent), len(sinks["log"].sent)) == (1, 1)
    _, keys = start(tmp_path, 4)
    assert (keys[0], len(channel.sent)) == (first[0], 1)


def test_a_later_night_sends_what_an_earlier_one_could_not(tmp_path: Path, sinks: dict[str, Channel]) -> None:
    sinks["discord"].answer = AlertFailed("no answer")
    start(tmp_path, 1)
    sinks["discord"].answer = None
    found = nights(tmp_path).context
    out = tmp_path / "later"
    out.mkdir()
    decide.work(found, {}, out)
    assert [each.split(",")[0] for each in sinks["discord"].sent] == [
        "2014-06-30 dips registered for forward evidence"
    ]


@pytest.mark.parametrize("fate", [Death(), AlertFailed("no answer in 5 s", perhaps=True)])
def test_where_nobody_knows_it_is_not_sent_again_and_named_once(
    tmp_path: Path, sinks: dict[str, Channel], fate: BaseException
) -> None:
    sinks["discord"].answer = fate
    try:
        start(tmp_path, 1)
    except Death:
        (tmp_path / "decide-1").rename(tmp_path / "killed")
    sinks["discord"].answer = None
    shown, _ = start(tmp_path, 2)
    line = f"{MESSAGE}: nobody knows whether discord took it; it is not sent again"
    assert (shown["unknown"], shown["undelivered"]) == ([line], [])
    assert (sinks["discord"].sent, len(sinks["log"].sent)) == ([], 1)


def test_the_status_names_what_is_open(tmp_path: Path, sinks: dict[str, Channel]) -> None:
    sinks["discord"].answer = AlertFailed("no answer")
    start(tmp_path, 1)
    made = nights(tmp_path)
    history = NightHistory(config=made.config, ledger=made.ledger, recorded=())
    (line,) = history.open
    assert "not delivered by discord: no answer" in line


def test_a_missing_secret_is_a_refusal_of_that_sink_and_no_other(
    tmp_path: Path, sinks: dict[str, Channel]
) -> None:
    sinks["discord"].missing = "Discord webhook: no DISCORD_WEBHOOK_URL"
    shown, _ = start(tmp_path, 1)
    assert "not delivered by discord: Discord webhook: no DISCORD_WEBHOOK_URL" in shown["undelivered"][0]
    assert len(sinks["log"].sent) == 1


def test_a_sink_that_is_declared_later_hears_of_later_messages_alone(
    tmp_path: Path, sinks: dict[str, Channel]
) -> None:
    start(tmp_path, 1)
    sinks["pager"] = Channel("pager")
    start(tmp_path, 2)
    assert sinks["pager"].sent == []
    sinks["discord"].answer = AlertFailed("no answer")
    start(tmp_path, 3, "2014-07-01")
    del sinks["discord"]
    shown, _ = start(tmp_path, 4, "2014-07-01")
    assert shown["undelivered"] == []
