"""Bad input that a running desk may have: one clear line each, and nothing else of the desk changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import LockstepError
from lockstep.live.events import Event, FillReported
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.monitoring.drift_baseline import LEVEL
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.frozen import FrozenReference
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from support import desks, papers
from support.real_fills import Reporting
from support.references import attach_reference
from support.watching import WatchedDesk, reference_of, watched_desk

WARM, SETS = papers.WARM, papers.SETS


def first_bar() -> int:
    return int(desks.history(WARM + 1).bars[papers.COMP].end[-1])


def notes(desk: WatchedDesk, words: str) -> list[str]:
    found = [each for each in desk.report().notes if words in each]
    assert all("\n" not in each for each in found)
    return found


# Fills


class Twice(Reporting):
    """Reports its third fill again, a bar later: `changed` says as what."""

    def __init__(self, journal: Journal, changed: dict[str, Any]) -> None:
        super().__init__(journal, 0.0)
        self.changed, self.held, self.again = changed, [], 0

    def commands(self) -> Sequence[Event]:
        due, self.held = self.held, []
        found = list(super().commands())
        if found and self.filled == 3 and not self.again:
            self.again = 1
            self.held = [replace(found[0], **{**self.changed})]  # type: ignore[type-var]
        return [*due, *found]


def live(folder: Path, outside: Callable[[Journal], desks.FakeOutside]) -> WatchedDesk:
    desk = watched_desk(folder)
    papers.traded(
        desk.folder, desk.models()[0], name="live.db", mode="live", broker=papers.Broker(), expire=10**18,
        outside=outside,
    )  # fmt: skip
    desk.run()
    return desk


@pytest.mark.parametrize("price", [0.0, 25.0])
def test_a_fill_that_is_reported_again_or_corrected_is_refused_and_mentioned(
    tmp_path: Path, price: float
) -> None:
    """The account was booked with the first report: what it earned is what its trades say."""

    def again(journal: Journal) -> desks.FakeOutside:
        return Twice(journal, {"command": "broker-again", "fill_id": "again", "price": 1_800.0 + price})

    desk = live(tmp_path / "twice", again)
    plain = live(tmp_path / "once", lambda journal: Reporting(journal, 0.0))
    (note,) = notes(desk, "again")
    assert note.startswith("broker-again: order 1-live-COMP-")
    assert "has no fill to come" in note
    assert desk.rows("fills") == plain.rows("fills")
    drop = ("sequence",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in desk.rows("outcomes")] == [
        {k: v for k, v in row.items() if k not in drop} for row in plain.rows("outcomes")
    ]
    assert notes(plain, "fill") == []


class NoExit(Reporting):
    """A broker that reports no exit any more after its sixth fill: the last trade stays open."""

    def commands(self) -> Sequence[Event]:
        return [
            each
            for each in super().commands()
            if self.filled <= 6 or (isinstance(each, FillReported) and "-entry-" in each.order_id)
        ]


def test_a_trade_that_stays_open_for_ever(tmp_path: Path) -> None:
    desk = live(tmp_path, lambda journal: NoExit(journal, 0.0))
    counts = desk.report().counts()
    assert counts["open"] == 1
    (note,) = notes(desk, "no outcome for")
    assert "COMP: one signal has had no outcome for 60 sessions, the oldest of " in note
    assert "(its position is open); look at its orders and bars" in note
    assert desk.report().frontier == desk.rows("sessions")[-1]["stamp"], "it holds up no other lane"


# Months without trades


def refused_from(folder: Path, number: int) -> WatchedDesk:
    """A desk whose gateway refuses every order from one bar set on."""
    desk = watched_desk(folder)
    model = desk.models()[0]
    if number:
        papers.traded(desk.folder, model, name="live.db", stop_after=number)
    limits = desks.OPEN_LIMITS.model_copy(update={"max_contracts": 0.5})
    papers.traded(desk.folder, model, name="live.db", limits=limits)
    desk.run()
    return desk


def test_a_month_without_a_trade(tmp_path: Path) -> None:
    desk = refused_from(tmp_path, 40)
    (note,) = notes(desk, "no trade")
    last = max(row["exit"] for row in desk.rows("outcomes", "state = 'taken'"))
    day = str(np.datetime64(last, "ns"))[:10]
    assert note == f"COMP: no trade has ended since {day}; its streams wait for one"


def test_a_desk_that_has_never_had_a_trade(tmp_path: Path) -> None:
    desk = refused_from(tmp_path, 0)
    (note,) = notes(desk, "no trade")
    assert note.startswith("COMP: no trade has ended since its first signal of 2009-08-")
    assert desk.report().counts()["taken"] == 0


# Features


def with_feature(desk: WatchedDesk, name: str, value: float, begun: int = 2) -> None:
    """Let a feature be one value in every vector from an entry of the journal on."""
    source = papers.traded(desk.folder, desk.models()[0], name="healthy.db")
    place = desk.models()[0].plan.ids.index(name)

    def change(row: SetRecord) -> SetRecord:
        (lane,) = row.lanes
        if row.sequence < begun:
            return row
        values = np.frombuffer(lane.vector, dtype="<f8").copy()
        values[place] = value
        return papers.with_lane(row, vector=values.tobytes())

    papers.rewritten(source, desk.journal, change)


def frozen_otherwise(desk: WatchedDesk, change: Callable[[FeatureHistory], FeatureHistory]) -> None:
    """Attach a reference whose history of features is another one."""
    (model,) = desk.models()
    found = reference_of(model, before=first_bar())
    assert found.features is not None
    parts = {name: getattr(found, name) for name in FrozenReference.__dataclass_fields__}
    made = FrozenReference(**{**parts, "features": change(found.features)})
    attach_reference(desk.store, "COMP", model.bundle.version, made)


def longer(history: FeatureHistory) -> FeatureHistory:
    """Return a history of eleven years: stretches of its own sessions before it, so that it has a rate."""
    random, stretch = np.random.default_rng(7), 60
    begun = random.integers(0, len(history) - stretch, 46)
    values = [history.values[each : each + stretch] for each in begun]
    count = stretch * begun.size
    before = np.busday_offset(history.sessions[0], np.arange(-count, 0))
    return FeatureHistory(
        ids=history.ids, sessions=np.concatenate((before, history.sessions)),
        values=np.concatenate((*values, history.values)), low=history.low, high=history.high,
    )  # fmt: skip


def column(history: FeatureHistory, name: str, value: float) -> FeatureHistory:
    values = history.values.copy()
    values[:, history.ids.index(name)] = value
    return FeatureHistory(
        ids=history.ids, sessions=history.sessions, values=values, low=history.low, high=history.high
    )


def features(desk: WatchedDesk) -> list[dict[str, Any]]:
    return desk.rows("drift", "kind = 'features'")


def test_a_feature_that_is_nan_throughout(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    frozen_otherwise(desk, longer)
    with_feature(desk, "zscore_20", float("nan"))
    desk.run()
    newest = features(desk)[-1]
    assert (newest["verdict"], newest["feature"], newest["severity"]) == ("warning", "zscore_20", "warning")
    assert "zscore_20 (missing" in newest["sentence"]
    assert not desk.rows("drift", "verdict = 'broken'"), "what is missing is not out of range"


def reading(desk: WatchedDesk, name: str) -> dict[str, Any]:
    """Return the newest reading of a feature's level."""
    with MonitorDatabase.open(desk.database, readonly=True) as database:
        found = rows.state(database, "readings COMP")["features"]
    (mine,) = [each for each in found if (each["feature"], each["what"]) == (name, LEVEL)]
    return dict(mine)


def test_a_feature_that_became_constant(tmp_path: Path) -> None:
    """A feed that hangs: every value is possible, and all of them together are not."""
    desk = watched_desk(tmp_path)
    frozen_otherwise(desk, longer)
    with_feature(desk, "zscore_20", 0.5)
    desk.run()
    assert features(desk)[-1]["verdict"] == "warning"
    found = reading(desk, "zscore_20")
    assert found["rank"] == 1.0
    assert found["distance"] > 0.4
    assert not desk.rows("drift", "verdict = 'broken'")


def test_a_feature_that_always_was_constant_is_quiet_until_it_moves(tmp_path: Path) -> None:
    still, moved = watched_desk(tmp_path / "still"), watched_desk(tmp_path / "moved")
    for desk in (still, moved):
        frozen_otherwise(desk, lambda history: column(longer(history), "zscore_20", 3.0))
    with_feature(still, "zscore_20", 3.0)
    papers.traded(moved.folder, moved.models()[0], name="live.db")
    for desk in (still, moved):
        desk.run()
    assert (reading(still, "zscore_20")["distance"], reading(moved, "zscore_20")["distance"]) == (0.0, 1.0)
    assert "zscore_20" not in {row["feature"] for row in features(still) if row["severity"]}
    assert "zscore_20" in {row["feature"] for row in features(moved) if row["severity"]}


def test_a_feature_that_always_was_missing_has_no_rank(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    frozen_otherwise(desk, lambda history: column(longer(history), "zscore_20", float("nan")))
    with_feature(desk, "zscore_20", float("nan"))
    desk.run()
    assert reading(desk, "zscore_20")["note"].startswith("less than two years of history: no rank")
    assert "zscore_20" not in {row["feature"] for row in features(desk) if row["severity"]}
    assert features(desk)[-1]["years"] > 9, "it disturbs no other feature"


def test_a_feature_that_the_reference_does_not_know(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)

    def fewer(history: FeatureHistory) -> FeatureHistory:
        kept = [place for place, name in enumerate(history.ids) if name != "zscore_20"]
        return FeatureHistory(
            ids=tuple(history.ids[each] for each in kept), sessions=history.sessions,
            values=history.values[:, kept], low=history.low[kept], high=history.high[kept],
        )  # fmt: skip

    frozen_otherwise(desk, fewer)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    (note,) = notes(desk, "zscore_20")
    assert "drift" in note
    assert features(desk) == []
    assert [each["outcomes"] > 0 for each in desk.report().standings] == [True] * 4, "alarms go on"


# References


def edited(path: Path) -> None:
    content = json.loads(path.read_text())
    content["history_end"] = "2020-01-01"
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (edited, "is not the file that was attached"),
        (Path.unlink, "No such file or directory; restore the file, or validate v1 again"),
    ],
)
def test_a_reference_that_was_edited_or_lost(tmp_path: Path, spoil: Any, words: str) -> None:
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    spoil(desk.store.folder / "reports" / "COMP_v1-reference.json")
    desk.run()
    (line,) = [each for each in desk.report().lines() if "no reference" in each]
    assert line.startswith("COMP: no reference, its alarms are off: ")
    assert words in line
    assert desk.report().standings == ()
    assert desk.report().counts()["taken"] > 10


def test_the_reference_of_another_bundle(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, 0, 3)
    first, second = desk.models()
    attach_reference(desk.store, "COMP", "v1", reference_of(second, before=first_bar()))
    papers.traded(desk.folder, first, name="live.db")
    desk.run()
    (line,) = [each for each in desk.report().lines() if "no reference" in each]
    mine, other = first.bundle.sha256[:12], second.bundle.sha256[:12]
    assert f"is the reference of bundle {other}, not of {mine}; validate the bundle that trades" in line
    assert desk.report().standings == ()


@pytest.mark.parametrize("every_pass", [False, True])
def test_a_reference_that_comes_later_counts_from_the_beginning(tmp_path: Path, every_pass: bool) -> None:
    """Also for a monitor that keeps running, and for what it had looked at without one."""
    desk = watched_desk(tmp_path, reference=False)
    (model,) = desk.models()
    papers.traded(desk.folder, model, name="live.db", stop_after=60)
    passed = desk.staying() if every_pass else desk.run
    passed()
    assert desk.report().standings == ()
    attach_reference(desk.store, "COMP", "v1", reference_of(model, before=first_bar()))
    papers.traded(desk.folder, model, name="live.db")
    passed()
    assert len(desk.report().standings) == 4
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before
    assert len(features(desk)) == SETS


def test_a_reference_that_is_lost_and_restored_leaves_no_trace(tmp_path: Path) -> None:
    """Also for a monitor that keeps running, without a new bar."""
    desk = watched_desk(tmp_path)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    whole = desk.digest()
    path = desk.store.folder / "reports" / "COMP_v1-reference.json"
    content = path.read_bytes()
    path.unlink()
    passed = desk.staying()
    passed()
    assert desk.report().standings == ()
    assert features(desk) == []
    lost = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == lost
    path.write_bytes(content)
    passed()
    assert len(desk.report().standings) == 4
    assert desk.digest() == whole


def test_epochs_that_go_back_over_the_same_bars(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, 0, 3)
    old, new = desk.models()
    papers.traded(desk.folder, old, name="live.db", stop_after=60)
    desk.run()
    with Journal.open(desk.journal) as journal:
        journal.begin_epoch(desks.first_epoch({"COMP": new}, desks.history(WARM + SETS), WARM))
    papers.traded(desk.folder, new, name="live.db", stop_after=80)
    desk.run()
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before


def test_refusals_are_one_line(tmp_path: Path) -> None:
    """A monitor whose desk, journal or database is not what it should be."""
    desk = watched_desk(tmp_path, reference=False)
    with pytest.raises(LockstepError) as refusal:
        desk.run()
    assert "\n" not in str(refusal.value)
