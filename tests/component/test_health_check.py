"""The weekly look: what each lane shows, what is a reason to look and what is none."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockstep.errors import LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.models.evidence import CERTIFICATE, VALIDATION
from lockstep.models.manifest import Evidence
from lockstep.models.store import ModelStore
from operations.reports.cli import LOOK_AT_IT, health_app
from operations.reports.health import WEEK, DeskHealth, health_of
from operations.watch.cli import acknowledge
from operations.watch.database import MonitorDatabase
from support import papers
from support.watching import WatchedDesk, watched_desk

STALE = 93_600.0
NS = 1_000_000_000


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk that has traded, whose monitor raised an ALARM."""
    desk = watched_desk(tmp_path_factory.mktemp("health"))
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    return desk


@pytest.fixture
def desk(watched: WatchedDesk, tmp_path: Path) -> Callable[..., DeskHealth]:
    """Return the health of a copy of that desk, after a change of its folder, so much later, seconds."""
    folder = tmp_path / "copy"
    shutil.copytree(watched.folder, folder)
    papers.config(folder)
    config = LiveConfig.load(folder / "live.yml")

    def health(
        *changes: Callable[[Path], object], later: float = 60.0, monitor: str = "monitor.db"
    ) -> DeskHealth:
        for change in changes:
            change(folder)
        database = folder / monitor if monitor else None
        return health_of(config, database, stale_after=STALE, now=watched.now + int(later * NS))

    return health


def with_evidence(passed: bool = True, days: int = 10) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        store = ModelStore(folder / "store")
        sha = store.manifest().entry("COMP", "v1").sha256
        issued = datetime.fromtimestamp(2_000_000_000, UTC) - timedelta(days=days)
        for kind in (VALIDATION, CERTIFICATE):
            found = Evidence(kind=kind, passed=passed, bundle_sha256=sha, issued=issued)
            store.attach("COMP", "v1", found, by="me", now=issued)

    return change


def acknowledged(folder: Path) -> None:
    with MonitorDatabase.open(folder / "monitor.db") as database:
        acknowledge(database, "desk", by="me", reason="looked at it", now=1)


def test_an_alarm_is_a_reason_to_look(desk: Callable[..., DeskHealth]) -> None:
    found = desk(with_evidence())
    (lane,) = found.lanes
    assert (lane.lane, lane.version, lane.reference) == ("COMP", "v1", "")
    assert any(each.startswith("ALARM COMP ") for each in lane.alarms)
    assert lane.wealth >= 20.0
    assert (round(lane.validation), round(lane.certificate)) == (10, 10)
    assert found.needs_a_look
    assert any("is not acknowledged" in line for line in found.lines())


def test_nothing_to_look_at(desk: Callable[..., DeskHealth]) -> None:
    found = desk(with_evidence(), acknowledged)
    assert list(found.lines()) == []
    assert not found.needs_a_look
    assert found.table(everything=False).rows == []
    assert found.table(everything=True).cells("lane") == ["COMP"]


def test_the_week_ends_where_outcomes_are_known(
    desk: Callable[..., DeskHealth], watched: WatchedDesk
) -> None:
    found, outcomes = desk(), watched.report().outcomes
    begin = found.until - WEEK
    mine = [each for each in outcomes if each.decision > begin]
    assert sum(found.lanes[0].outcomes.values()) == len(mine)
    assert len(mine) < len(outcomes)


@pytest.mark.parametrize("passed", [False, None])
def test_evidence_that_is_missing_or_did_not_pass(
    desk: Callable[..., DeskHealth], passed: bool | None
) -> None:
    found = desk(acknowledged) if passed is None else desk(with_evidence(passed), acknowledged)
    assert math.isnan(found.lanes[0].validation)
    assert list(found.lines()) == [
        "COMP: no validation of v1 that passed", "COMP: no certificate of v1 that passed"
    ]  # fmt: skip


def test_a_monitor_that_is_stale_absent_or_of_another_kind(desk: Callable[..., DeskHealth]) -> None:
    stale = desk(with_evidence(), acknowledged, later=STALE + 61)
    assert next(iter(stale.lines())).startswith("the monitor is stale: it last ran at 2033-05-18")
    assert "nobody watches the desk: no monitor is configured" in desk(monitor="").watched
    assert "none.db: there is no such file" in desk(monitor="none.db").watched
    assert "live.db: is no database of a monitor" in desk(monitor="live.db").watched
    assert desk(monitor="").lanes[0].outcomes == {}


def test_a_reference_that_is_missing(tmp_path: Path) -> None:
    bare = watched_desk(tmp_path / "bare", reference=False)
    papers.traded(bare.folder, bare.models()[0], name="live.db")
    bare.run()
    config = LiveConfig.load(bare.folder / "live.yml")
    found = health_of(config, bare.database, stale_after=STALE, now=bare.now)
    assert any("no reference, its alarms are off" in line for line in found.lines())


def test_a_bundle_that_the_store_does_not_know(desk: Callable[..., DeskHealth]) -> None:
    def emptied(folder: Path) -> None:
        shutil.rmtree(folder / "store")
        (folder / "store").mkdir()

    found = desk(acknowledged, emptied)
    assert found.lanes[0].version == ""
    assert any("the store does not know its bundle" in line for line in found.lines())


def test_json_has_no_nan(desk: Callable[..., DeskHealth]) -> None:
    told = json.loads(json.dumps(desk(acknowledged).plain(), allow_nan=False))
    assert told["lanes"][0]["validation"] is None
    assert told["needs_a_look"] is True


def test_the_command(watched: WatchedDesk) -> None:
    arguments = ["--monitoring", str(watched.config)]
    shown = CliRunner().invoke(health_app, [*arguments, "--all"], env={"COLUMNS": "200"})
    assert shown.exit_code == LOOK_AT_IT
    assert "COMP" in shown.output
    told = json.loads(CliRunner().invoke(health_app, [*arguments, "--json"]).output)
    # The clock of this monitor is years ahead of ours.
    assert told["watched"].startswith("the monitor is stale")


def test_an_empty_journal_is_refused(tmp_path: Path) -> None:
    config = LiveConfig.load(papers.config(tmp_path))
    with Journal.open(config.journal):
        pass
    with pytest.raises(LiveError, match="has no decision yet; let the engine run"):
        health_of(config, None, stale_after=STALE, now=1)


def test_a_table_without_lanes_is_empty() -> None:
    none = DeskHealth(until=0, watched="", desk=(), lanes=())
    assert (none.needs_a_look, list(replace(none, desk=("ALARM",)).lines())) == (False, ["ALARM"])
