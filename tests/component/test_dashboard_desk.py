"""The desk page: what it shows of a journal, a status and a monitor, and what it says where they are not."""

from __future__ import annotations

import math
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lockstep.live.journal import Journal, opening
from lockstep.live.status.monitor import MonitorSummary, RaisedAlarm, write_monitor
from lockstep.live.status.status import write_status
from operations.dashboard import account
from operations.dashboard.account import DeskProfit, ProfitReader
from operations.dashboard.pages.desk import POINTS, DeskReader
from research.report import page as kit
from research.report.thinning import thin
from support import dashboards, papers
from support.dashboards import NOW, commit, running, served, shown, sources_of, traded_desk
from support.watching import WatchedDesk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    found = traded_desk(tmp_path_factory.mktemp("desk"))
    running(found.folder, NOW)
    return found


@pytest.fixture
def other(tmp_path: Path) -> WatchedDesk:
    """A desk of its own, for a test that spoils it."""
    return traded_desk(tmp_path)


def test_the_desk_shows_what_its_journal_says(desk: WatchedDesk) -> None:
    text = shown(desk.folder)
    known = dashboards.marks(desk.journal)
    first, last = known[0][1], known[-1][1]
    assert kit.usd(last - first) in text
    assert kit.usd(-194.8, 2) in text, "the open position"
    assert "2,198.25" in text, "its stop"
    assert "running" in text
    assert "enter long" in text
    assert "veto" in text
    view = DeskReader().view(sources_of(desk.folder), NOW)
    assert view.profit is not None
    assert view.profit.profit.tolist() == [equity - first for _, equity in known]
    days, gains = view.profit.by_day()
    assert math.fsum(gains) == pytest.approx(last - first)
    assert len(days) == 120
    peak = np.maximum.accumulate(np.array([equity for _, equity in known]))
    assert view.profit.drawdowns.max() == pytest.approx((peak - [equity for _, equity in known]).max())
    assert view.trades is not None
    taken = [each for each in desk.rows("outcomes") if each["state"] == "taken"]
    assert len(view.trades) == len(taken)
    assert view.record["COMP"]["won"] == sum(each["pnl"] > 0 for each in taken)


def test_what_is_read_piece_by_piece_is_what_is_read_at_once(
    other: WatchedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.open(other.journal, readonly=True) as journal:
        whole = ProfitReader().read(journal, 122)
        monkeypatch.setattr(account, "_PIECE", 7)
        bit = ProfitReader()
        for last in (1, 2, 30, 31, 122, 122):
            found = bit.read(journal, last)
        assert found.profit.tolist() == whole.profit.tolist()
        assert bit.read(journal, 60).profit.size == 59, "restored from a backup: shorter, and read anew"


def test_the_chart_is_bounded_and_keeps_its_extremes() -> None:
    values = np.random.default_rng(7).normal(size=60_000).cumsum()
    kept = thin(values, POINTS)
    assert kept.size <= POINTS
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()
    profit = DeskProfit(stamps=np.arange(3), profit=np.array([-5.0, 2.0, 1.0]), lanes={})
    assert profit.drawdowns.tolist() == [5.0, 0.0, 1.0]


def test_an_alarm_a_switch_and_an_unknown_order_are_not_overlooked(other: WatchedDesk) -> None:
    running(
        other.folder, NOW, unknown_orders=("1-live-COMP-1264194000000000000-entry-1",),
        quarantined=("COMP:1d 2026-01-02",), faults={"feed": 2}, clock="5 s off",
    )  # fmt: skip
    sentence = "ALARM COMP@v1: win rate fell. <script>alert(1)</script>"
    alarm = RaisedAlarm("COMP win_rate", "ALARM", "alert", 0, NOW, sentence)
    write_monitor(
        other.folder / "monitor.json", MonitorSummary(written=NOW, stale_after=60.0, alarms=(alarm,))
    )
    (other.folder / "KILL").write_text("broker is down\n")
    text = shown(other.folder)
    for each in ("Look: ALARM of the model: COMP win_rate", "KILL SWITCH ON", "broker is down", "UNKNOWN",
                 "1 bars in quarantine", "feed 2", "5 s off", "ALARM COMP@v1: win rate fell."):  # fmt: skip
        assert each in text, each
    assert "<script>alert" not in text
    assert "stale" in shown(other.folder, NOW + 30 * 10**9 + 60 * 10**9), "the monitor"


def test_a_healthy_desk_has_nothing_to_say(other: WatchedDesk) -> None:
    running(other.folder, NOW)
    write_monitor(other.folder / "monitor.json", MonitorSummary(written=NOW, stale_after=60.0))
    text = shown(other.folder)
    assert "Look:" not in text
    assert "What there is to say" not in text
    assert "No alarm, no drift, no bad input." in text


# Pages that say so


def test_an_engine_that_is_stopped_or_silent_is_said(other: WatchedDesk) -> None:
    running(other.folder, NOW, state="stopped", detail="asked to")
    assert "The engine is not running (stopped: asked to)." in shown(other.folder)
    running(other.folder, NOW)
    assert "stale: last heartbeat 300 s ago" in shown(other.folder, NOW + 300 * 10**9)
    assert "The engine is not running" not in shown(other.folder)


def test_a_new_epoch_is_said(other: WatchedDesk) -> None:
    from lockstep.live.journal.continuation import continued

    with Journal.open(other.journal) as journal:
        journal.begin_epoch(continued(journal, reason="a new limit", now=NOW, hashes={"code": "1"}))
    text = shown(other.folder)
    assert "Epoch 2 began at 2027-01-15 08:00 (a new limit) and has no bar set yet" in text
    assert "+1" in text, "the position that it began with"


def test_a_journal_that_is_absent_is_said_and_the_rest_is_shown(other: WatchedDesk) -> None:
    running(other.folder, NOW)
    for each in other.folder.glob("live.db*"):
        each.unlink()
    text = shown(other.folder)
    assert "there is none: check the path; the live engine creates it" in text
    assert "heartbeat 0 s ago" in text
    with Journal.open(other.journal):
        pass
    assert "The journal has no epoch yet" in shown(other.folder)


@pytest.mark.parametrize(
    ("version", "words"), [(0, "open it for writing once"), (99, "written by a newer Lockstep")]
)
def test_a_journal_of_another_schema_is_said(other: WatchedDesk, version: int, words: str) -> None:
    with closing(sqlite3.connect(other.journal)) as writer:
        writer.execute(f"PRAGMA user_version = {version}")
    assert words in shown(other.folder)


def test_a_journal_of_the_first_schema_is_shown(other: WatchedDesk) -> None:
    with closing(sqlite3.connect(other.journal)) as writer:
        for table in ("proposals", "settlements", "coordinators"):
            writer.execute(f"DROP TABLE {table}")
        writer.execute("PRAGMA user_version = 1")
    assert "2,198.25" in shown(other.folder)


def test_a_damaged_and_a_locked_journal_are_said(other: WatchedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(other.journal, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("BEGIN EXCLUSIVE")
        assert "another program keeps it locked" in shown(other.folder)
        writer.execute("ROLLBACK")
    assert "2,198.25" in shown(other.folder)
    other.journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)
    assert "restore as in docs/journal.md" in shown(other.folder)


def test_what_lies_beside_the_journal_may_be_unreadable(other: WatchedDesk) -> None:
    (other.folder / "status.json").write_text("{")
    (other.folder / "monitor.json").write_text("{")
    other.database.write_bytes(b"no database")
    (other.folder / "store" / "manifest.json").write_text("{")
    text = shown(other.folder)
    for each in ("is no status file", "monitor.db", "manifest.json", "2,198.25"):
        assert each in text, each


def test_a_page_can_be_asked_for_while_the_desk_trades(other: WatchedDesk) -> None:
    """Readers in threads, a writer in another: all of them get whole pages."""
    errors: list[BaseException] = []
    with served(sources_of(other.folder)) as dashboard:

        def look() -> None:
            try:
                for _ in range(5):
                    assert "Profit so far" in dashboard.pieces()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=look) for _ in range(3)]
        for each in threads:
            each.start()
        for _ in range(20):
            commit(other.journal)
        for each in threads:
            each.join(60)
    assert errors == []


def test_status_of_another_version_is_a_sentence(other: WatchedDesk) -> None:
    write_status(other.folder / "status.json", running(other.folder, NOW))
    path = other.folder / "status.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))
    assert "not a status of schema 1" in shown(other.folder)
    assert papers.COMP.symbol in shown(other.folder)
