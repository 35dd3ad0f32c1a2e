"""Features of a running desk: which sessions are looked at, and what a feature that says nothing does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from operations.watch import rows
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.lane_features import look_at_features
from operations.watch.monitor import Monitor
from support import papers
from support.watching import WatchedDesk, watched_desk

SETS = papers.SETS
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk that traded 120 sets and was watched once."""
    desk = watched_desk(tmp_path_factory.mktemp("desk"))
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    return desk


def test_a_running_session_is_not_looked_at(traded: WatchedDesk, tmp_path: Path) -> None:
    """Its last decision is known when it is over, or another one has begun."""
    monitor = Monitor(MonitoringConfig.load(traded.config))
    looked: list[list[str]] = []
    with MonitorDatabase.open(tmp_path / "monitor.db") as database:
        read = monitor._read(database)
        *_, newest = found = rows.sessions(database)
        # As on an hourly desk, an hour before the close.
        running = {**vars(newest), "stamp": newest.stamp - HOUR, "vector": found[0].vector}
        for row in (running, running, vars(newest), vars(newest)):
            with database.step():
                database.put("sessions", [row])
                look_at_features(database, monitor._reference, monitor._parts.models, read.history)
            looked.append([each["session"] for each in database.rows("drift", "kind = 'features'")])
        told = database.rows("drift", "kind = 'features'")
    days = [each.session for each in found]
    assert looked == [days[:-1], days[:-1], days, days]
    assert told == traded.rows("drift", "kind = 'features'"), "and with the vector of its last decision"


def test_the_running_month_is_not_judged(traded: WatchedDesk) -> None:
    days = [each["session"] for each in traded.rows("sessions")]
    ends = [day for day, after in pairwise(days) if day[:7] != after[:7]]
    judged = [each["session"] for each in traded.rows("drift", "kind = 'decay'")]
    assert len(judged) > 3
    assert set(judged) <= set(ends)
    assert max(judged)[:7] < days[-1][:7]
