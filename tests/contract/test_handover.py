"""A model that takes over at a bar boundary: what happens to an open position, also after a crash."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from lockstep.live.engine import Engine
from lockstep.live.handover import Handover
from lockstep.live.messages import SetRecord, Wanted
from lockstep.live.risk.switches import Switches
from lockstep.live.traded import TradedModel
from lockstep.strategy.records import OrderRecord
from support import desks

WARM = 400
OLD = desks.model()
NEW = desks.model(seed=3, threshold=0.4, version="v2")


def world(*models: TradedModel) -> desks.FakeOutside:
    return desks.FakeOutside(models={each.bundle.sha256: each for each in models})


def promoted(outside: desks.FakeOutside, model: TradedModel = NEW) -> None:
    outside.production = {"COMP": (model.bundle.version, model.bundle.sha256)}


def in_position(row: SetRecord) -> bool:
    return bool(row.lanes) and row.lanes[0].state.account[0] != 0.0


def run(
    folder: Path, policy: str, journal: desks.MemoryJournal, outside: desks.FakeOutside, **setup: object
) -> desks.Engine:
    engine = desks.engine(
        folder,
        {"COMP": OLD},
        journal,
        desks.history(WARM + 150),
        warm=WARM,
        outside=outside,
        policies={"COMP": policy},
        **setup,
    )
    engine.run()
    return engine


def until_in_position(folder: Path, policy: str) -> desks.MemoryJournal:
    """Return a journal whose last set left a position open over the next bar, without an order waiting."""
    whole = desks.MemoryJournal()
    run(folder, policy, whole, world())
    held = (
        number
        for number, (row, after) in enumerate(zip(whole.sets, whole.sets[1:], strict=False), start=1)
        if in_position(row) and row.lanes[0].state.waiting is None and in_position(after)
    )
    journal = desks.MemoryJournal()
    run(folder, policy, journal, world(), stop_after=next(held))
    return journal


def kinds(journal: desks.MemoryJournal) -> list[str]:
    return [event.kind for event in journal.events]


def versions(journal: desks.MemoryJournal) -> list[str]:
    return [row.lanes[0].bundle for row in journal.sets]


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_a_promotion_while_in_position(tmp_path: Path, policy: str) -> None:
    journal = until_in_position(tmp_path, policy)
    decided = len(journal.sets)
    outside = world(OLD, NEW)
    promoted(outside)
    run(tmp_path, policy, journal, outside)
    after = journal.sets[decided:]
    first_new = versions(journal).index(NEW.bundle.sha256) - decided
    if policy == "adopt":
        assert first_new == 0
        assert in_position(journal.sets[decided - 1])
    else:
        assert first_new > 0
        assert not in_position(after[first_new - 1])
        assert all(in_position(row) for row in after[: first_new - 1])
    if policy == "flatten":
        assert after[0].lanes[0].reason == "handover"
        assert first_new == 2
    assert set(versions(journal)[decided + first_new :]) == {NEW.bundle.sha256}


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_a_crash_in_the_middle_of_a_handover_changes_nothing(tmp_path: Path, policy: str) -> None:
    start = until_in_position(tmp_path, policy)
    whole, pieces = desks.MemoryJournal(list(start.rows)), desks.MemoryJournal(list(start.rows))
    outside = world(OLD, NEW)
    promoted(outside)
    run(tmp_path, policy, whole, outside)
    while len(pieces.sets) < len(whole.sets):
        run(tmp_path, policy, pieces, outside, stop_after=3)
    plain = [[repr(replace(row, sequence=0)) for row in each.sets] for each in (whole, pieces)]
    assert plain[0] == plain[1]
    assert kinds(pieces).count("swap") == 1


def test_a_version_without_a_model_takes_over_and_a_rollback_takes_it_back(tmp_path: Path) -> None:
    journal, bare = until_in_position(tmp_path, "manage_out"), desks.bare(version="v2")
    begun = len(journal.sets)
    outside = world(OLD, bare)
    promoted(outside, bare)
    run(tmp_path, "manage_out", journal, outside, stop_after=60)
    promoted(outside, OLD)
    run(tmp_path, "manage_out", journal, outside)
    order = list(dict.fromkeys(versions(journal)[begun:]))
    assert order == [OLD.bundle.sha256, bare.bundle.sha256]
    assert versions(journal)[-1] == OLD.bundle.sha256
    own = [row.lanes[0] for row in journal.sets if row.lanes[0].bundle == bare.bundle.sha256]
    assert any(lane.reason.startswith("enter") for lane in own)
    assert all(math.isnan(lane.probability) for lane in own)
    assert kinds(journal).count("swap") == 2


def test_a_version_whose_windows_are_not_there_is_pending(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    outside = world(OLD, NEW)
    outside.on_look = lambda: promoted(outside)
    engine = run(tmp_path, "adopt", journal, outside, memory=15)
    assert "begin a new epoch" in engine.handover.candidates["COMP"].obstacle
    assert set(versions(journal)) == {OLD.bundle.sha256}
    assert kinds(journal).count("swap_pending") == 1


def test_a_version_that_cannot_be_loaded_is_pending_until_the_manifest_changes(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    outside = world(OLD)
    looks = iter(range(1_000))

    def look() -> None:
        promoted(outside, NEW if next(looks) < 5 else OLD)

    outside.on_look = look
    engine = run(tmp_path, "adopt", journal, outside, stop_after=20)
    assert engine.handover.candidates == {}
    assert [each for each in kinds(journal) if each.startswith("swap")] == ["swap_pending", "swap_withdrawn"]


def until_an_entry_waits(folder: Path, **setup: object) -> desks.MemoryJournal:
    """Return a journal whose last set decided an entry that waits for the next open."""
    whole = desks.MemoryJournal()
    run(folder, "manage_out", whole, world(), **setup)
    entered = (n for n, row in enumerate(whole.sets, 1) if row.lanes[0].reason.startswith("enter"))
    journal = desks.MemoryJournal()
    run(folder, "manage_out", journal, world(), stop_after=next(entered), **setup)
    return journal


def entries(rows: list[SetRecord], status: str, model: TradedModel = OLD) -> list[OrderRecord]:
    """Return entries of a version's decisions that reached a state."""
    decided = {row.release.stamp for row in rows if row.lanes[0].bundle == model.bundle.sha256}
    orders = (order for row in rows for order in row.lanes[0].orders)
    return [o for o in orders if (o.intent, o.status) == ("entry", status) and o.decision in decided]


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_an_entry_that_waits_for_the_open_is_withdrawn(tmp_path: Path, policy: str) -> None:
    journal = until_an_entry_waits(tmp_path)
    decided, outside = len(journal.sets), world(OLD, NEW)
    promoted(outside)
    run(tmp_path, policy, journal, outside)
    assert kinds(journal)[-5:-1] == ["start", "swap_pending", "withdrawn", "swap"]
    assert [o.status for o in journal.sets[decided].lanes[0].orders][:1] == ["canceled"]
    assert not in_position(journal.sets[decided])
    assert set(versions(journal)[decided:]) == {NEW.bundle.sha256}


def until_before_a_reentry(folder: Path) -> desks.MemoryJournal:
    """Return a journal that ends in a position whose exit fills on a bar that decides the next entry."""
    whole = desks.MemoryJournal()
    run(folder, "manage_out", whole, world())
    for number, row in enumerate(whole.sets):
        states = {(order.intent, order.status) for order in row.lanes[0].orders}
        if {("exit", "completed"), ("entry", "accepted")} <= states and in_position(whole.sets[number - 2]):
            break
    journal = desks.MemoryJournal()
    run(folder, "manage_out", journal, world(), stop_after=number - 1)
    return journal


def test_the_old_model_opens_nothing_while_the_new_one_waits_for_it_to_leave(tmp_path: Path) -> None:
    """PARITY 36. It entered six times over eleven sessions: on the bar of its exit it had the next order."""
    journal = until_before_a_reentry(tmp_path)
    decided, outside = len(journal.sets), world(OLD, NEW)
    promoted(outside)
    run(tmp_path, "manage_out", journal, outside)
    swapped = versions(journal).index(NEW.bundle.sha256)
    assert swapped == decided + 2
    assert entries(journal.sets[decided:swapped], "accepted") == []
    assert [event.rule for event in journal.sets[swapped - 1].events] == ["superseded"]
    assert entries(journal.sets[decided:], "completed", NEW)


@pytest.mark.parametrize(
    ("production", "words"),
    [
        (Wanted("v9", "9" * 64), "v9: COMP 999"),
        (Wanted(absence="no version is in production"), "no version is in production; v1 opens nothing more"),
    ],
    ids=["not loadable", "none"],
)
def test_an_obstacle_does_not_let_the_old_model_in_again(
    tmp_path: Path, production: Wanted, words: str
) -> None:
    journal, outside = until_an_entry_waits(tmp_path), world(OLD)
    decided = len(journal.sets)
    outside.production = {"COMP": production}
    engine = run(tmp_path, "manage_out", journal, outside)
    after = journal.sets[decided:]
    assert engine.handover.superseded["COMP"].startswith(words)
    assert entries(after, "accepted") == entries(after, "completed") == []
    refused = {event.rule for row in after for event in row.events}
    assert refused == {"superseded"}
    assert kinds(journal).count("withdrawn") == 1
    again = desks.MemoryJournal(list(journal.rows))
    run(tmp_path, "manage_out", again, outside, stop_after=0)
    assert kinds(again)[-2:] == ["start", "stop"], "a restart repeats the refusals, and finds nothing new"
    outside.production = {"COMP": (OLD.bundle.version, OLD.bundle.sha256)}
    assert run(tmp_path, "manage_out", again, outside).handover.superseded == {}


def test_a_bundle_that_comes_back_takes_over(tmp_path: Path) -> None:
    """The obstacle is looked at again, without a change of the manifest."""
    journal, outside = desks.MemoryJournal(), world(OLD)
    outside.on_look = lambda: promoted(outside)
    run(tmp_path, "manage_out", journal, outside, stop_after=10)
    outside.models[NEW.bundle.sha256] = NEW
    run(tmp_path, "manage_out", journal, outside, stop_after=10)
    assert versions(journal)[-1] == NEW.bundle.sha256
    assert kinds(journal).count("swap_pending") == 1


def test_an_order_restored_by_a_new_epoch_is_withdrawn_before_the_first_bar(tmp_path: Path) -> None:
    journal, outside = until_an_entry_waits(tmp_path), world(OLD, NEW)
    states = {"COMP": journal.sets[-1].lanes[0].state}
    bars, fresh, count = desks.history(WARM + 150), desks.MemoryJournal(), WARM + len(journal.sets)
    epoch = desks.first_epoch({"COMP": OLD}, bars, count, states=states)
    promoted(outside)
    run(tmp_path, "manage_out", fresh, outside, epoch=epoch, stop_after=3)
    assert kinds(fresh)[:4] == ["start", "swap_pending", "withdrawn", "swap"]
    assert not any(in_position(row) for row in fresh.sets[:1])


class OldRules:
    """The engine of before: a candidate stops neither the entries of the old model nor those that wait."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Handover, "superseded", property(lambda self: {}))
        patch.setattr(Engine, "_take_back_entry", lambda self, seat: None)


def test_a_journal_of_before_is_replayed_and_obeys_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, outside = desks.MemoryJournal(), world(OLD)
    outside.production = {"COMP": ("v9", "9" * 64)}
    with monkeypatch.context() as patch:
        OldRules(patch)
        run(tmp_path, "manage_out", journal, outside, stop_after=60)
    assert len(entries(journal.sets, "completed")) > 3
    engine = run(tmp_path, "manage_out", journal, outside)
    assert engine.replayed == 60
    assert entries(journal.sets[60:], "accepted") == []


def test_rollback_is_a_swap_too(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    outside = world(OLD, NEW)
    promoted(outside)
    run(tmp_path, "adopt", journal, outside, stop_after=10)
    promoted(outside, OLD)
    run(tmp_path, "adopt", journal, outside, stop_after=10)
    found = versions(journal)
    back = found.index(OLD.bundle.sha256)
    assert set(found[:back]) == {NEW.bundle.sha256}
    assert set(found[back:]) == {OLD.bundle.sha256}
    assert back == 10, "a position is adopted, and an entry that waited is withdrawn"


@pytest.mark.parametrize("flatten", [True, False])
def test_halt_closes_positions_only_if_the_configuration_says_so(tmp_path: Path, flatten: bool) -> None:
    journal = until_in_position(tmp_path, "adopt")
    decided = len(journal.sets)
    (tmp_path / "HALT").write_text("looks wrong")
    engine = desks.engine(
        tmp_path,
        {"COMP": OLD},
        journal,
        desks.history(WARM + 150),
        warm=WARM,
        outside=desks.FakeOutside(halt="HALT exists"),
        flatten=flatten,
    )
    engine._setup.gateway._switches = Switches(
        kill_file=tmp_path / "KILL", halt_file=tmp_path / "HALT", flatten=flatten
    )
    engine.run()
    after = journal.sets[decided:]
    entered = [
        o for row in after for o in row.lanes[0].orders if o.intent == "entry" and o.status == "completed"
    ]
    assert entered == []
    if flatten:
        assert after[0].lanes[0].reason == "halt"
        assert not in_position(after[1])
    else:
        refused = [event.rule for row in after for event in row.events]
        assert set(refused) == {"halt"}
