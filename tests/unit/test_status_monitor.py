"""What a monitor said of a desk: in its status, `/health` and `/metrics`, never as the engine's health."""

from __future__ import annotations

import io
import json
import math
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lockstep.errors import MonitorError
from lockstep.live.risk.switches import Switches
from lockstep.live.status.health import HealthServer
from lockstep.live.status.monitor import (
    THRESHOLD,
    MonitorFile,
    MonitorSummary,
    RaisedAlarm,
    ReportedDrift,
    monitor_file,
    read_monitor,
    read_monitor_or_fault,
    write_monitor,
)
from lockstep.live.status.status import Status, read_status, status_table, to_json, write_status
from lockstep.live.status.watcher import Watcher
from lockstep.monitoring.alerts import Alerts

SECOND = 10**9
DAY = 86_400 * SECOND
NOW = 1_709_737_200 * SECOND  # 2024-03-06T15:00:00Z
FALLEN = "ALARM COMP@v3: win rate 48.1% over 79 outcomes since about 2024-03-02. Stop new entries."
ALARM = RaisedAlarm("COMP win_rate", "ALARM", "alert", NOW - 4 * DAY, NOW - DAY, FALLEN)
WATCH = RaisedAlarm("SPX ic", "WATCH", "watch", NOW - 9 * DAY, NOW - DAY, "WATCH SPX@v1: look at the curves.")
BROKEN = ReportedDrift("SPX", "alert", "SPX: rsi_14 is 4,210, declared up to 100, for two sessions")
DRIFT = ReportedDrift("COMP", "warning", "drift, warning: rsi_14 (level); look at its chart")
SUMMARY = MonitorSummary(
    written=NOW - 3_600 * SECOND,
    frontier=NOW - DAY,
    stale_after=93_600.0,
    alarms=(ALARM, WATCH),
    drift=(DRIFT,),
    references={"COMP": "", "SPX": "the bundle has no monitoring reference; validate it again"},
    notes=("bars of COMP end at 2024-03-04, before the journal; fetch them",),
    outcomes={"taken": 1_234, "vetoed": 3, "open": 0},
    wealth=3.25,
)
QUIET = replace(SUMMARY, alarms=(), drift=(), references={"COMP": ""}, notes=())
STATUS = Status(mode="paper", state="running", epoch=1, started=NOW, heartbeat=NOW)
UNREADABLE = [
    "", "[]", "{}", "null", "{" * 9_000, json.dumps({"schema": 2}),
    '{"schema": 1, "written": 1, "stale_after": 1, "new": 1}',
    '{"schema": 1, "written": "soon", "stale_after": 1}', '{"schema": 1, "written": NaN, "stale_after": 1}',
    '{"schema": 1, "written": 1, "stale_after": 1, "alarms": [["COMP"]]}',
]  # fmt: skip


def shown(status: Status, now: int = NOW) -> str:
    screen = io.StringIO()
    Console(width=300, file=screen).print(status_table(status, now, stale_seconds=1e9))
    return screen.getvalue()


def row(text: str, name: str) -> str | None:
    """Return the text of one row of a status, with the lines that follow it; None without the row."""
    found = [line for line in text.splitlines() if line.startswith(f"{name}  ")]
    return found[0].removeprefix(name).strip() if found else None


def colours(status: Status, now: int = NOW) -> dict[str, bool]:
    """Return whether each row of a status is red."""
    screen = io.StringIO()
    console = Console(width=300, file=screen, force_terminal=True, color_system="standard")
    console.print(status_table(status, now, stale_seconds=1e9))
    lines = screen.getvalue().splitlines()
    return {line.split("\x1b[0m")[0].removeprefix("\x1b[1m").strip(): "\x1b[31m" in line for line in lines}


# --- the file ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = monitor_file(tmp_path / "status.json")
    assert read_monitor(path) is None
    for each in (SUMMARY, QUIET):
        write_monitor(path, each)
        assert read_monitor(path) == each
    assert [each.name for each in tmp_path.iterdir()] == ["monitor.json"]


@pytest.mark.parametrize("wealth", [math.nan, math.inf])
def test_a_wealth_that_is_no_number_is_written_as_none(tmp_path: Path, wealth: float) -> None:
    path = tmp_path / "monitor.json"
    write_monitor(path, replace(SUMMARY, wealth=wealth))
    assert json.loads(path.read_text())["wealth"] is None
    found = read_monitor(path)
    assert found is not None
    assert math.isnan(found.wealth)


def test_a_summary_that_cannot_be_written_is_one_line_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "monitor.json"
    with pytest.raises(MonitorError, match=r"cannot be written: No such file") as error:
        write_monitor(tmp_path / "nowhere" / "monitor.json", SUMMARY)
    assert str(error.value).count("\n") == 0
    write_monitor(path, QUIET)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_monitor(path, replace(SUMMARY, stale_after=math.nan))
    assert read_monitor(path) == QUIET


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_hides_neither_the_status_nor_that_the_desk_was_watched(
    tmp_path: Path, text: str
) -> None:
    write_status(tmp_path / "status.json", STATUS)
    (tmp_path / "monitor.json").write_text(text)
    assert read_monitor(tmp_path / "monitor.json") is None
    found = read_status(tmp_path / "status.json")
    assert replace(found, monitor_fault="") == STATUS
    assert "run the monitor" in (row(shown(found), "monitor") or "")
    assert colours(found)["monitor"]
    assert found.attention(NOW, stale_seconds=60.0) == found.monitor_fault
    assert json.loads(to_json(found, NOW))["monitor"] == {"fault": found.monitor_fault, "stale": True}


def test_a_folder_in_its_place_is_a_fault_too(tmp_path: Path) -> None:
    (tmp_path / "monitor.json").mkdir()
    assert read_monitor_or_fault(tmp_path / "monitor.json")[1].startswith("monitor.json cannot be read")


# --- the table --------------------------------------------------------------------------------------------


def test_nothing_is_shown_of_a_desk_that_nobody_watches(tmp_path: Path) -> None:
    write_status(tmp_path / "status.json", STATUS)
    found = read_status(tmp_path / "status.json")
    assert found == STATUS
    assert not any(name in shown(found) for name in ("alarms", "drift", "monitor", "no reference"))
    assert "monitor" not in json.loads(to_json(found, NOW))
    assert found.attention(NOW, stale_seconds=60.0) is None


def test_it_is_read_beside_the_status_and_shown(tmp_path: Path) -> None:
    write_status(tmp_path / "status.json", STATUS)
    write_monitor(tmp_path / "monitor.json", SUMMARY)
    found = read_status(tmp_path / "status.json")
    assert found.monitor == SUMMARY
    text = shown(found)
    assert row(text, "alarms") == f"COMP win_rate: {FALLEN}"
    assert row(text, "watches") == "SPX ic: WATCH SPX@v1: look at the curves."
    assert row(text, "drift") == f"COMP: {DRIFT.sentence}"
    assert row(text, "no reference") == "SPX: the bundle has no monitoring reference; validate it again"
    assert row(text, "monitor notes") == SUMMARY.notes[0]
    assert row(text, "monitor") == (
        "last run 1 h ago; outcomes known to 2024-03-05T15:00:00Z; 1,234 taken, 3 vetoed; "
        "mean wealth 3.25 of 20"
    )
    red = colours(found)
    assert [red[name] for name in ("verdict", "alarms", "watches", "drift", "monitor")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    told = json.loads(to_json(found, NOW))["monitor"]
    assert (told["stale"], told["age"], told["alarms"][0]["place"]) == (False, 3_600.0, "COMP win_rate")


def test_a_broken_feature_is_red_and_apart_from_drift() -> None:
    status = replace(STATUS, monitor=replace(QUIET, drift=(DRIFT, BROKEN)))
    assert row(shown(status), "broken features") == f"SPX: {BROKEN.sentence}"
    assert row(shown(status), "drift") == f"COMP: {DRIFT.sentence}"
    red = colours(status)
    assert (red["broken features"], red["drift"]) == (True, False)


def test_the_first_run_of_a_monitor_knows_no_outcome() -> None:
    new = MonitorSummary(written=NOW, stale_after=60.0)
    assert row(shown(replace(STATUS, monitor=new)), "monitor") == "last run 0 s ago; no outcome is known yet"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (93_601, "stale: last run 1 d ago"),
        (3 * 86_400 + 5, "stale: last run 3 d ago"),
        (-93_601, "stale: its run is 1 d ahead"),
        (93_600, None),
        (-93_600, None),
    ],
)
def test_a_monitor_that_does_not_run_any_more_is_red(seconds: int, words: str | None) -> None:
    status = replace(STATUS, monitor=replace(QUIET, written=NOW - seconds * SECOND))
    assert status.monitor is not None
    assert status.monitor.is_stale(NOW) is (words is not None)
    assert colours(status)["monitor"] is (words is not None)
    assert status.attention(NOW, stale_seconds=1e9) == (words and f"monitor {words}")
    if words:
        assert row(shown(status), "monitor") == words


def test_the_threshold_is_that_of_the_desks_alarm() -> None:
    assert THRESHOLD == 20.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"alarms": (ALARM,)}, "ALARM of the model: COMP win_rate"),
        ({"alarms": (WATCH,)}, None),
        ({"drift": (DRIFT,)}, None),
        ({"drift": (DRIFT, BROKEN, BROKEN)}, "broken features: SPX"),
        ({"drift": (BROKEN,), "alarms": (ALARM,)}, "ALARM of the model: COMP win_rate"),
        ({"notes": SUMMARY.notes, "references": SUMMARY.references}, None),
    ],
)
def test_an_alarm_is_a_reason_to_look_and_a_watch_or_drift_is_none(
    changes: dict[str, Any], why: str | None
) -> None:
    status = replace(STATUS, monitor=replace(QUIET, **changes))
    assert status.attention(NOW, stale_seconds=1e9) == why
    assert (row(shown(status), "verdict") == "fine") is (why is None)
    assert status.trouble(NOW, stale_seconds=1e9) is None


def test_what_the_engine_suffers_from_comes_first() -> None:
    status = replace(STATUS, state="stopped", detail="disk full", monitor=SUMMARY)
    assert status.attention(NOW, stale_seconds=60.0) == "stopped: disk full"


# --- the file, asked often ------------------------------------------------------------------------------


class Counted:
    """Counts how often the file is really read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        read = Path.read_bytes

        def counted(path: Path) -> bytes:
            self.reads += path.name == "monitor.json"
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", counted)


def test_it_is_looked_at_every_two_seconds_and_read_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, time, counted = tmp_path / "monitor.json", [0.0], Counted(monkeypatch)
    file = MonitorFile(path, clock=lambda: time[0])
    assert file.look() == (None, "")
    write_monitor(path, QUIET)
    time[0] = 1.9
    assert file.look() == (None, "")
    time[0] = 2.0
    assert file.look() == (QUIET, "")
    reads = counted.reads
    for second in range(4, 200):
        time[0] = float(second)
        assert file.look() == (QUIET, "")
    assert counted.reads == reads
    write_monitor(path, SUMMARY)
    time[0] += 2.0
    assert file.look() == (SUMMARY, "")
    assert counted.reads == reads + 1


# --- HTTP -------------------------------------------------------------------------------------------------


class Desk:
    """A watcher with its `/health`, as an engine has them, with clocks that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.file = folder / "monitor.json"
        self.watcher = Watcher(
            folder / "status.json",
            mode="paper",
            epoch=1,
            started=NOW,
            alerts=Alerts([]),
            switches=Switches(kill_file=folder / "KILL", halt_file=folder / "HALT"),
        )
        self.watcher._monitor = MonitorFile(self.file, clock=lambda: self.seconds)
        self.seconds = 0.0
        self.watcher.change("running", "")
        self.watcher.beat(now=NOW)
        self.server = HealthServer(0, lambda: self.watcher.status, lambda: self.now, stale_seconds=60.0)

    def get(self, path: str) -> tuple[int, str]:
        """Ask two seconds later."""
        self.seconds += 2.0
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def health(self) -> tuple[int, Any]:
        code, text = self.get("/health")
        return code, json.loads(text)

    def gauges(self) -> dict[str, float]:
        code, text = self.get("/metrics")
        assert code == 200
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
        return {name: value for name, value in values.items() if is_of_monitor(name)}


def is_of_monitor(name: str) -> bool:
    return name.startswith(("lockstep_monitor", "lockstep_alarms{", "lockstep_drift{"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.server.start()
    yield desk
    desk.server.stop()


def test_health_follows_the_file_and_stays_the_engines_own(desk: Desk) -> None:
    assert desk.health() == (200, {"healthy": True, "trouble": None})
    assert desk.gauges() == {}

    write_monitor(desk.file, SUMMARY)
    code, body = desk.health()
    assert (code, body["healthy"], body["trouble"]) == (200, True, None)
    assert (body["monitor"]["stale"], body["monitor"]["alarms"][0]["sentence"]) == (False, FALLEN)
    assert desk.gauges() == {
        "lockstep_monitor_age_seconds": 3_600.0, "lockstep_monitor_stale": 0.0,
        "lockstep_monitor_wealth": 3.25,
        'lockstep_alarms{level="ALARM"}': 1.0, 'lockstep_alarms{level="WATCH"}': 1.0,
        'lockstep_drift{severity="warning"}': 1.0, 'lockstep_drift{severity="investigation"}': 0.0,
        'lockstep_drift{severity="watch"}': 0.0, 'lockstep_drift{severity="alert"}': 0.0,
    }  # fmt: skip

    write_monitor(desk.file, QUIET)
    assert desk.health()[1]["monitor"]["alarms"] == []
    assert desk.gauges()['lockstep_alarms{level="ALARM"}'] == 0.0

    desk.file.write_text("{")
    assert desk.health() == (200, {
        "healthy": True, "trouble": None, "monitor": {
            "fault": "monitor.json cannot be read; run the monitor, which replaces it", "stale": True,
        },
    })  # fmt: skip
    assert desk.gauges() == {"lockstep_monitor_stale": 1.0}

    desk.file.unlink()
    assert desk.health() == (200, {"healthy": True, "trouble": None})
    assert desk.gauges() == {}


def test_a_stale_monitor_is_told_of_and_the_engine_is_up(desk: Desk) -> None:
    write_monitor(desk.file, replace(SUMMARY, written=NOW - 3 * DAY))
    code, body = desk.health()
    assert (code, body["healthy"], body["monitor"]["stale"]) == (200, True, True)
    assert desk.gauges()["lockstep_monitor_stale"] == 1.0
    assert "lockstep_up 1.0" in desk.get("/metrics")[1].splitlines()


def test_an_engine_that_is_down_is_503_whatever_the_monitor_says(desk: Desk) -> None:
    write_monitor(desk.file, QUIET)
    desk.watcher.end("stopped", "disk full", NOW)
    code, body = desk.health()
    assert (code, body["trouble"], body["monitor"]["stale"]) == (503, "stopped: disk full", False)


def test_the_engine_writes_nothing_of_it(desk: Desk, tmp_path: Path) -> None:
    write_monitor(desk.file, SUMMARY)
    assert desk.health()[1]["monitor"]["wealth"] == 3.25
    desk.watcher.beat(now=NOW + 5 * SECOND)
    assert "monitor" not in json.loads((tmp_path / "status.json").read_text())
    assert read_status(tmp_path / "status.json").monitor == SUMMARY


def test_the_measured_risk_is_in_the_metrics_and_not_in_the_status(desk: Desk, tmp_path: Path) -> None:
    assert "value_at_risk" not in desk.get("/metrics")[1]
    content = {
        "schema": 1, "kind": "desk", "as_of": "2026-01-02", "stamp": NOW, "method": "filtered",
        "levels": {"filtered": {"99": {"var": 7_300.0, "es": 8_400.25}}}, "positions": {"ES": 1.0},
        "reserved": {},
    }  # fmt: skip
    (tmp_path / "risk.json").write_text(json.dumps(content))
    lines = desk.get("/metrics")[1].splitlines()
    for line in (
        'lockstep_value_at_risk_usd{level="99"} 7300.0',
        'lockstep_expected_shortfall_usd{level="99"} 8400.25',
        "lockstep_risk_stale 1.0",
    ):  # fmt: skip
        assert line in lines
    desk.watcher.beat(now=NOW + 5 * SECOND)
    assert "7300" not in (tmp_path / "status.json").read_text()


def test_many_may_ask_while_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "monitor.json"
    write_monitor(path, QUIET)
    time = [0.0]

    def clock() -> float:
        time[0] += 2.0
        return time[0]

    file, found = MonitorFile(path, clock=clock), []

    def ask(look: Callable[[], tuple[MonitorSummary | None, str]]) -> None:
        found.extend(look() for _ in range(200))

    threads = [threading.Thread(target=ask, args=(file.look,)) for _ in range(4)]
    for each in threads:
        each.start()
    for turn in range(50):
        write_monitor(path, SUMMARY if turn % 2 else QUIET)
    for each in threads:
        each.join()
    assert len(found) == 800
    assert all(fault == "" and each in (QUIET, SUMMARY) for each, fault in found)
    assert file.look() == (SUMMARY, "")
