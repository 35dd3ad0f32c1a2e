"""`/metrics` of the dashboard, and the Grafana board that asks for all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockstep.live.status.monitor import MonitorSummary, RaisedAlarm, ReportedDrift, write_monitor
from operations.dashboard.metrics import metrics_text
from support.dashboards import NOW, running
from support.processes import ROOT

BOARD = ROOT / "deploy" / "grafana" / "lockstep.json"


def exported(folder: Path, now: int = NOW) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples by name, each by the values of its labels."""
    text = metrics_text(folder / "status.json", lambda: now, stale_seconds=60.0).decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A desk of which everything is known that a metric says."""
    running(
        tmp_path, NOW, alerts={"sent": 3}, counters={"sets": 120}, faults={"feed": 1}, queues={"outbox": 2},
        unknown_orders=("a", "b"),
    )  # fmt: skip
    summary = MonitorSummary(
        written=NOW, stale_after=60.0, wealth=3.5,
        alarms=(RaisedAlarm("COMP pnl", "ALARM", "alert", 0, 0, "fell"),),
        drift=(ReportedDrift("COMP", "warning", "moved"),),
    )  # fmt: skip
    write_monitor(tmp_path / "monitor.json", summary)
    write_risk(tmp_path)
    return tmp_path


def write_risk(folder: Path, size: float = 1.0) -> None:
    """Write what a risk measurement of a desk leaves, of so many contracts of COMP."""
    levels = {"95": {"var": 4_100.5, "es": 5_200.0}, "99": {"var": 7_300.0, "es": 8_400.25}}
    content = {
        "schema": 1, "kind": "desk", "as_of": "2027-01-15", "stamp": NOW, "method": "filtered",
        "levels": {"filtered": levels}, "positions": {"COMP": size}, "reserved": {},
    }  # fmt: skip
    (folder / "risk.json").write_text(json.dumps(content))


def queried(board: dict[str, Any]) -> set[str]:
    """Return the metrics that a board asks for."""
    texts = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return {name for text in texts for name in re.findall(r"lockstep_\w+", text)}


def test_the_board_asks_for_every_metric_and_for_no_other(folder: Path) -> None:
    known = {name for name in exported(folder) if not name.endswith("_created")}
    assert len(known) > 15
    assert queried(json.loads(BOARD.read_text())) == known


def test_panels_have_places_and_names_of_their_own() -> None:
    board = json.loads(BOARD.read_text())
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }  # fmt: skip
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
    for name in ("id", "title"):
        values = [panel[name] for panel in board["panels"]]
        assert len(set(values)) == len(values)


def test_what_the_desk_says_is_exported(folder: Path) -> None:
    found = exported(folder)
    assert found["lockstep_up"][()] == 1.0
    assert found["lockstep_unknown_orders"][()] == 2.0
    assert found["lockstep_alarms"] == {("ALARM",): 1.0, ("WATCH",): 0.0}
    assert found["lockstep_drift"][("warning",)] == 1.0
    assert found["lockstep_monitor_wealth"][()] == 3.5
    later = exported(folder, NOW + 300 * 10**9)
    assert (later["lockstep_up"][()], later["lockstep_monitor_stale"][()]) == (0.0, 1.0)


def test_the_measured_risk_is_exported_and_whether_it_holds(folder: Path) -> None:
    found = exported(folder)
    assert found["lockstep_value_at_risk_usd"] == {("95",): 4_100.5, ("99",): 7_300.0}
    assert found["lockstep_expected_shortfall_usd"] == {("95",): 5_200.0, ("99",): 8_400.25}
    assert found["lockstep_risk_stale"][()] == 0.0
    write_risk(folder, size=2.0)
    assert exported(folder)["lockstep_risk_stale"][()] == 1.0, "the desk holds 1"
    (folder / "status.json").unlink()
    write_risk(folder)
    without = exported(folder)
    assert without["lockstep_value_at_risk_usd"][("99",)] == 7_300.0
    assert without["lockstep_risk_stale"][()] == 1.0, "nobody knows what is held"
    for spoilt in ("{", None):
        if spoilt is None:
            (folder / "risk.json").unlink()
        else:
            (folder / "risk.json").write_text(spoilt)
        assert not [name for name in exported(folder) if "risk" in name or "shortfall" in name]


def test_the_monitor_is_exported_where_no_engine_left_a_status(folder: Path) -> None:
    (folder / "status.json").unlink()
    found = exported(folder)
    assert found["lockstep_status_readable"][()] == 0.0
    assert found["lockstep_alarms"][("ALARM",)] == 1.0
    assert "lockstep_up" not in found
    (folder / "monitor.json").write_text("{")
    assert exported(folder)["lockstep_monitor_stale"][()] == 1.0
    for name in ("monitor.json", "risk.json"):
        (folder / name).unlink()
    assert set(exported(folder)) == {"lockstep_status_readable"}
