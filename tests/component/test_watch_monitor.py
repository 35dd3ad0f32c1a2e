"""A monitor that is killed, run often or once, rebuilt, acknowledged: the same rows, byte for byte."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, LiveError, LockstepError, MonitorError
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.market.history import History
from lockstep.strategy.records import OrderRecord
from operations.watch import monitor as monitor_module
from operations.watch.cli import acknowledge
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase, only_monitor
from operations.watch.monitor import Monitor
from operations.watch.streams import DESK
from support import desks, papers
from support.watching import WatchedDesk, watched_desk

WARM, SETS = papers.WARM, papers.SETS


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk that traded 120 sets and was watched once."""
    desk = watched_desk(tmp_path_factory.mktemp("desk"))
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    return desk


def beside(desk: WatchedDesk, name: str) -> WatchedDesk:
    """Return the same desk with a database of its own, which is empty."""
    text = desk.config.read_text(encoding="utf-8").replace("monitor.db", f"{name}.db")
    config = desk.folder / f"{name}.yml"
    config.write_text(text, encoding="utf-8")
    return _Beside(desk.folder, desk.store, name)


class _Beside(WatchedDesk):
    def __init__(self, folder: Path, store: Any, name: str) -> None:
        super().__init__(folder, store)
        self._name = name

    @property
    def config(self) -> Path:
        return self.folder / f"{self._name}.yml"

    @property
    def database(self) -> Path:
        return self.folder / f"{self._name}.db"


def test_order_and_number_of_looks_change_nothing(tmp_path: Path) -> None:
    often = watched_desk(tmp_path)
    for stop in (1, 3, 17, 40, 41, None):
        more: dict[str, Any] = {} if stop is None else {"stop_after": stop}
        papers.traded(often.folder, often.models()[0], name="live.db", **more)
        often.run()
        often.run()
    once = beside(often, "once")
    once.run()
    assert once.digest() == often.digest()
    often.run(rebuild=True)
    assert once.digest() == often.digest()
    assert len(once.rows("wealth")) > 60
    assert {row["place"] for row in once.rows("wealth")} >= {"COMP win_rate", "COMP ic", DESK}


def test_a_changed_row_changes_the_digest(traded: WatchedDesk) -> None:
    """Negative control: what the equalities above compare."""
    desk = beside(traded, "changed")
    shutil.copy(traded.database, desk.database)
    assert desk.digest() == traded.digest()
    with MonitorDatabase.open(desk.database) as database, database.step():
        row = database.rows("outcomes")[3]
        database.put("outcomes", [{**row, "pnl": np.nextafter(row["pnl"], np.inf)}])
    assert desk.digest() != traded.digest()


def killed_after(desk: WatchedDesk, writes: int) -> bool:
    """Run the monitor in a process that is killed before its next write; return whether it was."""
    child = os.fork()
    if child == 0:
        left = writes
        original = MonitorDatabase.put

        def put(self: MonitorDatabase, *arguments: Any) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            original(self, *arguments)

        MonitorDatabase.put = put  # type: ignore[method-assign]
        try:
            desk.run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_between_any_two_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.watch.reading._STEP", 40)
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    kept = beside(desk, "kept")
    writes = 0
    while killed_after(kept, writes):
        # Every run goes on from what the killed ones left, and gets at least one write further.
        writes += 1
        if writes % 4 == 0:
            fresh = beside(desk, "fresh")
            fresh.database.unlink(missing_ok=True)
            assert killed_after(fresh, writes)
            fresh.run()
            assert fresh.digest() == desk.digest()
    assert writes > 12
    kept.run()
    assert kept.digest() == desk.digest()


def test_a_frozen_model_is_watched_by_its_reference(traded: WatchedDesk) -> None:
    report = traded.report()
    assert report.references == {"COMP": ""}
    places = [each["place"] for each in report.standings]
    assert places == ["COMP calibration", "COMP ic", "COMP pnl", "COMP win_rate"]
    wins = next(each for each in report.standings if each["stream"] == "win_rate")
    assert wins["outcomes"] == report.counts()["taken"]
    assert {row["kind"] for row in report.drift} == {"features", "regime", "decay"}
    assert len(traded.rows("drift", "kind = 'features'")) == SETS


def test_without_a_reference_outcomes_go_on_and_alarms_are_off(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    report = desk.report()
    assert report.counts()["taken"] > 10
    assert (report.standings, report.alarms) == ((), ())
    (line,) = [each for each in report.lines() if "no reference" in each]
    assert line.startswith("COMP: no reference, its alarms are off: ")
    assert line.endswith("lockstep validate COMP --version v1")


def fallen(desk: WatchedDesk) -> None:
    """Trade the desk's 120 sets with every exit twenty points worse: nothing wins any more."""
    source = papers.traded(desk.folder, desk.models()[0], name="healthy.db")

    def worse(order: OrderRecord) -> OrderRecord:
        if order.intent == "entry" or order.status != "completed":
            return order
        return replace(order, price=order.price + np.copysign(40.0, order.quantity))

    def change(row: SetRecord) -> SetRecord:
        (lane,) = row.lanes
        return papers.with_lane(row, orders=tuple(map(worse, lane.orders)))

    papers.rewritten(source, desk.journal, change)


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk whose trades all lose: ten years of it would not look so on a healthy one."""
    desk = watched_desk(tmp_path_factory.mktemp("fallen"), threshold=0.35)
    fallen(desk)
    desk.run()
    return desk


def test_a_fall_is_an_alarm_in_one_sentence(alarmed: WatchedDesk) -> None:
    raised = {(each.place, each.level): each for each in alarmed.report().raised}
    alarm = raised["COMP win_rate", "ALARM"]
    assert alarm.severity == "alert"
    assert "COMP@v1: win rate 0.0% over" in alarm.sentence
    assert "against the floor of" in alarm.sentence
    assert alarm.sentence.endswith(
        'See deploy/runbooks/alarm-win-rate.md; to acknowledge: lockstep monitor ack "COMP win_rate".'
    )
    assert alarmed.report().is_alarmed


def test_a_healthy_desk_raises_no_such_alarm(traded: WatchedDesk) -> None:
    """Negative control of the one above: the same journal without the fall."""
    places = {(each.place, each.level) for each in traded.report().raised}
    assert ("COMP win_rate", "ALARM") not in places
    assert ("COMP pnl", "ALARM") not in places


def test_an_acknowledgement_ends_it_and_survives_a_rebuild(alarmed: WatchedDesk) -> None:
    desk = beside(alarmed, "noted")
    desk.run()
    with MonitorDatabase.open(desk.database) as database:
        for place in ("COMP win_rate", "COMP pnl"):
            acknowledge(database, place, by="me", reason="fills of a bad day", now=desk.now)
        with pytest.raises(MonitorError, match="has raised nothing that is not acknowledged"):
            acknowledge(database, "COMP pnl", by="me", reason="again", now=desk.now)
        with pytest.raises(MonitorError, match="needs a reason"):
            acknowledge(database, DESK, by="me", reason=" ", now=desk.now)
    told = desk.rows("alarms")
    desk.run()
    assert desk.rows("alarms") == told
    assert not any(each.place == "COMP win_rate" for each in desk.report().raised)
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before
    wins = next(each for each in desk.report().standings if each["place"] == "COMP win_rate")
    assert wins["alarm"] == 0.0
    with MonitorDatabase.open(desk.database) as database:
        if any(each.place == DESK for each in desk.report().raised):
            acknowledge(database, DESK, by="me", reason="all of it", now=desk.now)
    desk.run()
    assert desk.report().raised == ()


def corrected_bars(monkeypatch: pytest.MonkeyPatch, stamp: int, change: float) -> None:
    """Let the files say something else about COMP from a bar on."""
    original = monitor_module.settled_bars

    def settled(*arguments: Any) -> History:
        found = original(*arguments)
        bars = found.bars[papers.COMP]
        later = bars.end == stamp
        columns = {name: getattr(bars, name) + change * later for name in ("open", "high", "low", "close")}
        return replace(found, bars={**found.bars, papers.COMP: replace(bars, **columns)})

    monkeypatch.setattr(monitor_module, "settled_bars", settled)


def test_bars_that_are_corrected_after_settlement_append_a_correction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    first = {row["decision"]: row for row in desk.rows("outcomes")}
    vetoed = next(
        row for row in desk.rows("outcomes") if row["state"] == "vetoed" and row["exit"] > row["entry"]
    )
    corrected_bars(monkeypatch, vetoed["exit"], 3.0)
    desk.run()
    rows = desk.rows("corrections")
    assert vetoed["decision"] in {row["decision"] for row in rows}
    assert {row["decision"]: row for row in desk.rows("outcomes")} == first, "nothing is rewritten"
    shown = {each.decision: each for each in desk.report().outcomes}
    for row in rows:
        if first[row["decision"]]["state"] == "vetoed":
            assert shown[row["decision"]].pnl == row["pnl"] != first[row["decision"]]["pnl"]
    assert any("bars were corrected after the signal" in note for note in desk.report().notes)
    before = desk.digest()
    desk.run()
    desk.run(rebuild=True)
    assert desk.digest() == before, "one correction is one row, and a rebuild keeps it"


def test_bars_after_the_newest_decision_say_nothing(tmp_path: Path) -> None:
    """The files go on for years: what a desk has not lived through settles none of its signals."""
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db", stop_after=60)
    desk.run()
    newest = desk.rows("sessions")[-1]["stamp"]
    waiting = [row for row in desk.rows("outcomes") if row["state"] == "unsettled"]
    assert waiting
    assert max(row["exit"] for row in desk.rows("outcomes")) <= newest
    assert max(row["exit"] for row in desk.rows("settled")) <= newest
    at_the_end = [row for row in desk.rows("outcomes") if row["decision"] == newest]
    assert all(row["following"] is None for row in at_the_end)
    assert max(row["session"] for row in desk.rows("drift")) <= desk.rows("sessions")[-1]["session"]


def test_a_unit_error_is_found_by_the_range_check(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    source = papers.traded(desk.folder, desk.models()[0], name="healthy.db")
    ids = desk.models()[0].plan.ids
    begun = 60

    def change(row: SetRecord) -> SetRecord:
        (lane,) = row.lanes
        if row.sequence < begun:
            return row
        values = np.frombuffer(lane.vector, dtype="<f8").copy()
        values[ids.index("zscore_20")] *= 100.0
        return papers.with_lane(row, vector=values.tobytes())

    papers.rewritten(source, desk.journal, change)
    desk.run()
    broken = min(desk.rows("drift", "verdict = 'broken'"), key=lambda row: row["session"])
    assert broken["severity"] == "alert"
    assert broken["feature"] == "zscore_20"
    assert "outside" in broken["sentence"]
    assert "deploy/runbooks/broken-feature.md" in broken["sentence"]
    sessions = [row["session"] for row in desk.rows("sessions")]
    assert sessions.index(broken["session"]) - (begun - 2) <= 3, "within three sessions"


def test_an_unchanged_journal_has_no_broken_feature(traded: WatchedDesk) -> None:
    assert not [row for row in traded.report().drift if row["severity"] == "alert"]


# Bad input


def test_an_empty_journal(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    model = desk.models()[0]
    with Journal.open(desk.journal) as journal:
        journal.begin_epoch(desks.first_epoch({"COMP": model}, desks.history(WARM), WARM))
    with pytest.raises(LiveError, match="has no decision yet; let the engine run"):
        desk.run()


def test_two_monitors_at_once(traded: WatchedDesk) -> None:
    with (
        only_monitor(traded.database),
        pytest.raises(MonitorError, match="another monitor is running"),
        only_monitor(traded.database),
    ):
        pass


def test_a_clock_that_fell_back(traded: WatchedDesk) -> None:
    desk = beside(traded, "clock")
    desk.run()
    desk.now -= 10**12
    with pytest.raises(MonitorError, match="the clock fell back"):
        desk.run()


def test_another_journal_under_the_same_name(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db", stop_after=30)
    desk.run()
    for path in desk.folder.glob("live.db*"):
        path.unlink()
    papers.traded(desk.folder, desk.models()[0], desks.history(WARM + 60), name="live.db", mode="shadow")
    before = desk.digest()
    with pytest.raises(MonitorError, match="is not the one that was read before"):
        desk.run()
    assert desk.digest() == before, "nothing is half written"
    desk.run(rebuild=True)


def test_bars_that_end_before_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    original = monitor_module.settled_bars
    last = int(desks.history(WARM + 60).bars[papers.COMP].end[-1])

    def short(*arguments: Any) -> History:
        found = original(*arguments)
        bars = {key: each.rows(0, int((each.end <= last).sum())) for key, each in found.bars.items()}
        return replace(found, bars=bars)

    monkeypatch.setattr(monitor_module, "settled_bars", short)
    passed = desk.run()
    assert last <= passed.frontier < desk.rows("sessions")[-1]["stamp"]
    (note,) = [each for each in desk.report().notes if "settled bars" in each]
    assert "before the journal" in note
    assert "give newer files" in note
    monkeypatch.setattr(monitor_module, "settled_bars", original)
    assert desk.run().frontier == desk.rows("sessions")[-1]["stamp"]
    once = beside(desk, "once")
    once.run()
    assert once.digest() == desk.digest(), "late files change nothing in the end"


def test_modes_are_not_mixed(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    model, whole = desk.models()[0], desks.history(WARM + SETS)
    papers.traded(desk.folder, model, name="live.db", stop_after=60)
    desk.run()
    paper = len(desk.rows("wealth"))
    assert paper
    with Journal.open(desk.journal) as journal:
        epoch, last = journal.newest_epoch(), journal.last_set()
        assert epoch is not None
        assert last is not None
        seen = {key: int((bars.end <= last.release.stamp).sum()) for key, bars in whole.bars.items()}
        warm = {key: desks.kept(whole, key)[:count] for key, count in seen.items()}
        state = {"COMP": last.lanes[0].state}
        journal.begin_epoch(replace(epoch, number=2, mode="shadow", states=state, warmup=warm))
    left = {key: bars.rows(seen[key], len(bars)) for key, bars in whole.bars.items()}
    papers.traded(desk.folder, model, replace(whole, bars=left), name="live.db", mode="shadow")
    desk.run()
    report = desk.report()
    assert "epoch 1 is of another mode than shadow; streams begin with epoch 2" in report.notes
    first = min(row["stamp"] for row in desk.rows("swaps", "epoch = 2"))
    assert all(point["time"] >= first for point in report.wealth)


def test_a_bundle_that_is_gone(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db", stop_after=20)
    shutil.rmtree(desk.store.folder)
    desk.store.folder.mkdir()
    with pytest.raises(LockstepError) as refusal:
        desk.run()
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_monitors(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db", stop_after=5)
    desk.database.write_text("notes of mine" * 100, encoding="utf-8")
    with pytest.raises(MonitorError, match=r"monitor\.db: "):
        desk.run()
    shutil.copy(desk.journal, desk.database)
    with pytest.raises(MonitorError, match="is no database of a monitor"):
        desk.run()


def test_probabilities_that_are_none(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    source = papers.traded(desk.folder, desk.models()[0], name="healthy.db")
    strange = iter([0.0, 1.0, 1.5, float("nan")] * SETS)

    def change(row: SetRecord) -> SetRecord:
        (lane,) = row.lanes
        return row if np.isnan(lane.probability) else papers.with_lane(row, probability=next(strange))

    papers.rewritten(source, desk.journal, change)
    desk.run()
    notes = desk.report().notes
    assert any("probabilities outside [0, 1], the first 1.5" in note for note in notes)
    assert any("vetoes without a probability" in note for note in notes)
    assert next(e for e in desk.report().standings if e["stream"] == "calibration")["outcomes"] > 5


def test_the_configuration_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    desk.config.write_text("desk: live.yml\ndatabase: m.db\nevrey: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="evrey"):
        Monitor(MonitoringConfig.load(desk.config))
