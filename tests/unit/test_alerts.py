from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lockstep.errors import AlertFailed, ConfigError
from lockstep.monitoring import alerts as module
from lockstep.monitoring.alerts import SEVERITY, Alert, AlertRate, Alerts, LogSink, Throttle
from lockstep.monitoring.discord import DiscordSink
from support.http_faults import ENDLESS, FaultServer, answer, drop, garbage, hang

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
RATE = AlertRate(burst=2, per_minute=1.0)


def alert(text: str = "ES +1", time: int = 0, kind: module.Kind = "entry") -> Alert:
    return Alert(kind, text, time)


# --- the rate -----------------------------------------------------------------------------------------


def test_a_burst_passes_and_the_next_one_says_how_many_were_held_back() -> None:
    throttle = Throttle(RATE)
    seen = [throttle.admit(alert(str(i), i)) for i in range(17)]
    assert [each and each.text for each in seen] == ["0", "1", *[None] * 15]
    later = throttle.admit(alert("17", MINUTE + 16))
    assert later is not None
    assert later.text == "17 (and 15 more)"
    assert throttle.admit(alert("18", MINUTE + 17)) is None


def test_kinds_do_not_starve_each_other() -> None:
    throttle = Throttle(RATE)
    for i in range(9):
        throttle.admit(alert(time=i, kind="refusal"))
    assert throttle.admit(alert(time=9, kind="unknown_order")) is not None


def test_what_was_held_back_comes_when_its_time_has_come() -> None:
    throttle = Throttle(RATE)
    for i in range(5):
        throttle.admit(alert(str(i), i))
    assert throttle.overdue(MINUTE // 2) == []
    assert [each.text for each in throttle.overdue(MINUTE + 5)] == ["4 (and 2 more)"]
    assert throttle.overdue(5 * MINUTE) == []
    assert throttle.rest() == []


def test_the_end_tells_what_is_left() -> None:
    throttle = Throttle(RATE)
    for i in range(3):
        throttle.admit(alert(str(i), 0))
    assert [each.text for each in throttle.rest()] == ["2"]


@given(st.lists(st.integers(-5, 90).map(lambda seconds: seconds * SECOND), max_size=60))
def test_never_faster_than_the_rate_and_nothing_uncounted(steps: list[int]) -> None:
    throttle, now, told, forward = Throttle(RATE), 0, 0, 0
    admitted = 0
    for step in steps:
        now, forward = now + step, forward + max(step, 0)
        passed = throttle.admit(alert("x", now))
        if passed:
            admitted += 1
            told += 1 + int(passed.text.partition("(and ")[2].partition(" ")[0] or 0)
    assert admitted <= RATE.burst + RATE.per_minute * forward / MINUTE
    told += sum(1 + int(each.text.partition("(and ")[2].partition(" ")[0] or 0) for each in throttle.rest())
    assert told == len(steps)


# --- the thread ---------------------------------------------------------------------------------------


class ListSink:
    name = "list"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, alert: Alert) -> None:
        self.texts.append(alert.text)


class StuckSink(ListSink):
    """Takes an alert and does not come back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def send(self, alert: Alert) -> None:
        self.entered.set()
        self.let_go.wait()
        super().send(alert)


@pytest.fixture
def stuck() -> Iterator[StuckSink]:
    sink = StuckSink()
    yield sink
    sink.let_go.set()


def test_every_sink_gets_every_alert_and_stop_flushes() -> None:
    one, other = ListSink(), ListSink()
    alerts = Alerts([one, other], RATE)
    alerts.start()
    for i in range(5):
        alerts.post(alert(str(i), i))
    alerts.tick(MINUTE + 5)
    alerts.post(alert("last", MINUTE + 6))
    alerts.stop(5.0)
    assert one.texts == other.texts == ["0", "1", "4 (and 2 more)", "last"]
    assert alerts.counts == {"sent": 8, "failed": 0, "broken": 0, "dropped": 0}


def test_a_stuck_sink_blocks_nobody_and_what_is_too_much_is_counted(stuck: StuckSink) -> None:
    alerts = Alerts([stuck], AlertRate(burst=100), capacity=2)
    alerts.start()
    alerts.post(alert())
    stuck.entered.wait()
    for _ in range(5):
        alerts.post(alert())
    assert alerts.counts["dropped"] == 3
    alerts.stop(0.01)
    alerts.post(alert())
    assert alerts.counts == {"sent": 0, "failed": 0, "broken": 0, "dropped": 6}


def test_alerts_that_were_never_started_are_counted() -> None:
    alerts = Alerts([ListSink()])
    alerts.post(alert())
    alerts.stop(1.0)
    assert alerts.counts == {"sent": 0, "failed": 0, "broken": 0, "dropped": 1}


def test_the_log_shouts_when_somebody_has_to_act(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LogSink().send(alert("bought"))
    LogSink().send(alert("what became of it?", kind="unknown_order"))
    assert [(each.levelname, each.kind) for each in caplog.records] == [  # type: ignore[attr-defined]
        ("INFO", "entry"),
        ("WARNING", "unknown_order"),
    ]


def test_every_kind_has_one_severity() -> None:
    assert sorted(SEVERITY) == sorted(get_args(module.Kind))
    assert set(SEVERITY.values()) == set(get_args(module.Severity))


@pytest.mark.parametrize(
    ("kind", "head", "level"),
    [
        ("alarm", "alert: alarm", "WARNING"),
        ("watch", "warning: watch", "WARNING"),
        ("drift", "warning: drift", "WARNING"),
        ("investigation", "investigation", "WARNING"),
        ("monitor", "warning: monitor", "WARNING"),
        ("retraining", "warning: retraining", "WARNING"),
        ("daily_summary", "daily summary", "INFO"),
    ],
)
def test_what_a_monitor_says_goes_out_with_its_severity(
    kind: module.Kind, head: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with FaultServer(answer(204, b"")) as server:
        DiscordSink(SecretStr(server.url)).send(alert("COMP", kind=kind))
        assert [body["content"] for _, body in server.requests] == [f"**{head}** COMP"]
    LogSink().send(alert("COMP", kind=kind))
    assert [each.levelname for each in caplog.records if each.name == "lockstep.alerts"] == [level]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class BrokenSink(ListSink):
    """Raises what no sink may raise."""

    name = "broken"

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error

    def send(self, alert: Alert) -> None:
        if self.error is not None:
            raise self.error
        super().send(alert)


@pytest.mark.parametrize("error", [ZeroDivisionError(), UnicodeError("ü"), SystemExit(1)])
def test_the_thread_survives_a_broken_sink_and_tells_the_others_once(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy = BrokenSink(error), ListSink()
    alerts = Alerts([broken, healthy], AlertRate(burst=9))
    alerts.start()
    for text in "ab":
        alerts.post(alert(text))
    wait_until(lambda: alerts.counts["sent"] == 3)
    broken.error = None
    alerts.post(alert("c"))
    wait_until(lambda: alerts.counts["sent"] == 5)
    broken.error = error
    alerts.post(alert("d"))
    alerts.stop(5.0)
    told = f"alerts: sink broken is broken ({type(error).__name__}); its alerts are lost"
    assert healthy.texts == [told, "a", "b", "c", told, "d"]
    assert broken.texts == ["c"]
    assert alerts.counts == {"sent": 7, "failed": 0, "broken": 3, "dropped": 0}
    assert [each.levelname for each in caplog.records] == ["ERROR"] * 3


def test_two_broken_sinks_do_not_tell_each_other() -> None:
    alerts = Alerts([BrokenSink(ZeroDivisionError()), BrokenSink(KeyError())])
    alerts.start()
    alerts.post(alert())
    alerts.stop(5.0)
    assert alerts.counts == {"sent": 0, "failed": 0, "broken": 2, "dropped": 0}


def test_an_alert_is_scrubbed_before_any_sink_sees_it() -> None:
    sink = ListSink()
    alerts = Alerts([sink], scrub=lambda text: text.replace("s3cr3t", "*"))
    alerts.start()
    alerts.post(alert("it said s3cr3t"))
    alerts.stop(5.0)
    assert sink.texts == ["it said *"]


# --- discord ------------------------------------------------------------------------------------------


def sent_to(server: FaultServer, *texts: str, timeout: float = 10.0) -> dict[str, int]:
    alerts = Alerts([DiscordSink(SecretStr(server.url), seconds=timeout)], AlertRate(burst=9))
    alerts.start()
    for text in texts:
        alerts.post(alert(text, kind="stale_feed"))
    alerts.stop(10.0)
    return dict(alerts.counts)


def test_discord_gets_the_text_and_mentions_nobody() -> None:
    with FaultServer(answer(200, {"id": "1"})) as server:
        assert sent_to(server, "ES @everyone " + "x" * 3000)["sent"] == 1
        path, body = server.requests[0]
    assert path.startswith("/hook/s3cr3t-passw0rd")
    assert body["content"].startswith("**alert: stale feed** ES @\u200beveryone xxx")
    assert len(body["content"]) <= 2000
    assert body["allowed_mentions"] == {"parse": []}


def test_an_empty_answer_is_a_success() -> None:
    with FaultServer(answer(204, b"")) as server:
        assert sent_to(server, "a")["sent"] == 1


def test_a_429_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(429, {}, {"Retry-After": "0.01"})
    with FaultServer(asked, answer(200, {}), asked, asked, answer(200, {})) as server:
        assert sent_to(server, "a", "b", "c") == {"sent": 2, "failed": 1, "broken": 0, "dropped": 0}
        assert [body["content"][-1] for _, body in server.requests] == ["a", "a", "b", "b", "c"]


def test_a_wait_ends_when_the_engine_stops() -> None:
    with FaultServer(answer(429, {}, {"Retry-After": "1000"})) as server:
        alerts = Alerts([DiscordSink(SecretStr(server.url))])
        alerts.start()
        alerts.post(alert())
        server.wait_for(1)
        alerts.stop(0.05)
        alerts._thread.join(5.0)
        assert alerts.counts["failed"] == 1
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [answer(500), answer(404), drop, garbage, hang],
    ids=["500", "404", "drop", "garbage", "hang"],
)
def test_a_dead_webhook_costs_a_count_and_no_secret(
    behaviour: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with FaultServer(behaviour) as server:  # type: ignore[arg-type]
        counts = sent_to(server, "a", "b", timeout=0.1)
    assert counts == {"sent": 0, "failed": 2, "broken": 0, "dropped": 0}
    assert "alert not delivered by discord" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize("what", list(ENDLESS))
def test_an_answer_without_end_holds_up_nobody(what: str) -> None:
    """Requests counted seconds between two bytes: a drip kept the thread for ever."""
    behaviour, kind = ENDLESS[what]
    began = time.monotonic()
    with FaultServer(behaviour) as server:
        counts = sent_to(server, "a", timeout=0.2)
    assert time.monotonic() - began < 0.7
    assert counts["sent" if kind == "answered" else "failed"] == 1


def test_a_refused_connection_is_a_failure() -> None:
    with FaultServer(listening=False) as server:
        sink = DiscordSink(SecretStr(server.url))
        with pytest.raises(AlertFailed, match=r"^no connection: ConnectionRefusedError") as failure:
            sink.send(alert())
    assert failure.value.retry_after is None
    assert "s3cr3t" not in repr(vars(sink)) + str(failure.value)


def test_a_text_that_is_cut_says_so() -> None:
    with FaultServer(answer(204, b"")) as server:
        for length in (3000, 1800):
            DiscordSink(SecretStr(server.url)).send(alert("x" * length))
        cut, whole = (body["content"] for _, body in server.requests)
    assert len(cut) == 1900
    assert cut.endswith("x … [cut]")
    assert whole.endswith("x")


def posted(text: str) -> str:
    with FaultServer(answer(204, b"")) as server:
        DiscordSink(SecretStr(server.url)).send(alert(text, kind="bars"))
        return str(server.requests[0][1]["content"]).removeprefix("**alert: bars** ")


@pytest.mark.parametrize(
    "tail", [" (and 14 more)", " (and 3 more, ES 1h to NQ 1h)", " (and 3 more, a to b) (and 1,014 more)"]
)
def test_the_count_of_what_was_held_back_survives_the_cut(tail: str) -> None:
    cut = posted("first difference at ES " + "x" * 5000 + tail)
    assert cut.startswith("first difference at ES xxx")
    assert cut.endswith(f"x … [cut]{tail}")
    assert len(cut) <= 1900
    assert posted(f"no bar of ES{tail}") == f"no bar of ES{tail}"


def test_what_only_looks_like_a_count_is_cut_like_any_text() -> None:
    assert posted("x" * 1900 + " (and 2 more) or fewer").endswith("x … [cut]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("6E_bt *and* ~x~ `y` ||z||", r"6E\_bt \*and\* \~x\~ \`y\` \|\|z\|\|"),
        ("[gains](https://evil.example)", "\\[gains\\](https:\\//evil.example)"),
        ("see http://evil.example now", "see http:\\//evil.example now"),
        ("@everyone and <@123> <#7>", "@\u200beveryone and \\<@\u200b123\\> \\<#7\\>"),
        ("# title\n- one\n12. two\n> three", "\\# title\n\\- one\n12\\. two\n\\> three"),
        ("low -1.5, high +2 at 09:30", "low -1.5, high +2 at 09:30"),
        ("C:\\data", "C:\\\\data"),
    ],
)  # fmt: skip
def test_a_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert posted(text) == shown


def test_no_escape_and_no_character_is_torn_apart() -> None:
    """Discord may count units of UTF-16; a backslash alone at the end would escape the mark of the cut."""
    for first in range(4):
        cut = posted("y" * first + "*" * 3000)
        body = cut.removesuffix(" … [cut]")
        assert set(body[first:].replace("\\*", "")) == set()
        faces = posted("y" * first + "😀" * 3000)
        assert len(faces.encode("utf-16-le")) // 2 <= 1900
        assert set(faces.removesuffix(" … [cut]")) <= {"y", "😀"}


@pytest.mark.parametrize(
    ("value", "wait"),
    [("2", 2.0), ("0.5", 0.5), ("-3", 1.0), ("nan", 1.0), ("soon", 1.0), (None, 1.0), ("9" * 400, math.inf)],
)
def test_how_long_a_429_wants_us_to_wait(value: str | None, wait: float) -> None:
    with FaultServer(answer(429, {}, {"Retry-After": value} if value else {})) as server:
        with pytest.raises(AlertFailed) as failure:
            DiscordSink(SecretStr(server.url)).send(alert())
    assert failure.value.retry_after == wait


class _Impatient(threading.Event):
    """An event on which waiting takes no time; keeps how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


@pytest.mark.parametrize("value", ["86400", "9" * 400])
def test_a_429_costs_a_known_time_whatever_it_asks_for(value: str) -> None:
    with FaultServer(answer(429, {}, {"Retry-After": value})) as server:
        alerts = Alerts([DiscordSink(SecretStr(server.url))])
        alerts._hurry = impatient = _Impatient()
        alerts.start()
        alerts.post(alert())
        alerts.stop(10.0)
    assert impatient.waits == [30.0]
    assert (len(server.requests), alerts.counts["failed"]) == (2, 1)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://example.com/hook/s3cr3t-passw0rdü", "outside ASCII"),
        ("https://example.com/hook/s3cr3t passw0rd", "a space"),
        ("https://example.com:99999/hook/s3cr3t-passw0rd", "cannot be read"),
        ("http://localhost:/hook#s3cr3t-passw0rd", "fragment"),
    ],
)
def test_an_address_that_would_kill_the_thread_is_refused_at_the_start(url: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Discord webhook: its URL .*{fault}") as refused:
        DiscordSink(SecretStr(url))
    assert "s3cr3t" not in str(refused.value)


def test_plain_http_is_refused_without_showing_the_address() -> None:
    with pytest.raises(ConfigError, match="must begin with https") as refused:
        DiscordSink(SecretStr("http://example.com/s3cr3t"))
    assert "s3cr3t" not in str(refused.value)
