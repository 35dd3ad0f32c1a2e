"""The outcome join: every signal once, through swap, epoch, restart, refusal, flatten; profits exact."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lockstep.live.journal import Journal
from lockstep.live.messages import LaneRecord, LaneState, SetRecord
from lockstep.live.risk.switches import Switches
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.monitoring.outcomes import SignalOutcome
from lockstep.strategy.decision import ENTRIES, REFUSED, SIZE_ZERO, VETO
from lockstep.strategy.matching import POSITION, opening_account
from lockstep.strategy.records import ENTRY
from research.training.config import TrainingConfig
from research.training.dataset import build_dataset
from support import desks, papers
from support.watching import WatchedDesk, watched_desk

WARM, SETS = papers.WARM, papers.SETS


def lanes_of(desk: WatchedDesk) -> list[tuple[int, LaneRecord]]:
    with Journal.open(desk.journal, readonly=True) as journal:
        rows = [row for epoch in journal.epochs() for row in journal.entries(epoch.number)]
    return [(row.release.stamp, lane) for row in rows if isinstance(row, SetRecord) for lane in row.lanes]


def wanted_signals(desk: WatchedDesk) -> Counter[tuple[str, int, str]]:
    """Return every decision that wanted to enter, straight from the journal."""
    return Counter(
        (lane.symbol, stamp, lane.bundle)
        for stamp, lane in lanes_of(desk)
        if lane.code in ENTRIES or lane.code in (VETO, SIZE_ZERO) or lane.code >= REFUSED
    )


def round_trip_profits(desk: WatchedDesk) -> list[float]:
    """Return the net profit of each position that the orders of the journal opened and closed, by hand."""
    found, entry = [], None
    for _, lane in lanes_of(desk):
        multiplier = load_instruments().instrument(lane.symbol).multiplier
        for order in lane.orders:
            if order.status != "completed":
                continue
            if order.intent == ENTRY:
                entry = order
            else:
                assert entry is not None
                gross = (order.price - entry.price) * entry.quantity * multiplier
                found.append(gross - entry.commission - order.commission)
                entry = None
    return found


def outcomes(desk: WatchedDesk) -> tuple[SignalOutcome, ...]:
    return desk.report().outcomes


def require_whole(desk: WatchedDesk) -> Counter[str]:
    """Every signal once, every profit to the cent; return how many there are of each state."""
    found = outcomes(desk)
    assert Counter(each.key for each in found) == wanted_signals(desk)
    traded = sorted(each.pnl for each in found if each.state in ("taken", "censored") and each.exit)
    assert traded == pytest.approx(sorted(round_trip_profits(desk)), abs=0.005)
    return Counter(each.state for each in found)


def test_a_desk_on_paper(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    states = require_whole(desk)
    assert states["taken"] > 10
    assert states["vetoed"] > 40
    assert all(each.side in (1, -1) for each in outcomes(desk) if each.is_final)
    for each in outcomes(desk):
        if each.state in ("taken", "vetoed"):
            assert each.decision < each.entry <= each.exit
            assert not math.isnan(each.following)


def test_vetoed_outcomes_are_the_training_labels(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    model = desk.models()[0]
    papers.traded(desk.folder, model, name="live.db")
    desk.run()
    training = TrainingConfig.model_validate(
        {"symbol": "COMP", "strategy": model.config, "features": {"ids": list(model.bundle.feature_ids)}}
    )
    data = build_dataset(training, desks.history(WARM + SETS))
    labels = {
        int(decision): (float(pnl), int(target), int(leave), float(side))
        for decision, pnl, target, leave, side in zip(
            data.decision, data.net_pnl, data.target, data.exit, data.side, strict=True
        )
    }
    vetoed = [each for each in outcomes(desk) if each.state == "vetoed"]
    assert len(vetoed) > 40
    for each in vetoed:
        assert labels[each.decision] == (each.pnl, int(each.won), each.exit, float(each.side))
    # Trades that were taken have the same label where nothing came between: the control of the join itself.
    taken = [each for each in outcomes(desk) if each.state == "taken"]
    assert all(labels[each.decision][0] == pytest.approx(each.pnl, abs=0.005) for each in taken)


def stopped_in_position(folder: Path, desk: WatchedDesk, model: TradedModel) -> int:
    """Return after how many sets a position is open over the next bar, without a waiting order."""
    whole = watched_desk(folder / "whole", reference=False)
    papers.traded(whole.folder, model, name="live.db")
    rows = [lane for _, lane in lanes_of(whole)]
    for number, (lane, after) in enumerate(pairwise(rows), start=1):
        held = lane.state.account[POSITION] and lane.state.waiting is None and after.state.account[POSITION]
        if held and number > 5:
            return number
    raise AssertionError("never in a position")


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_a_swap(tmp_path: Path, policy: str) -> None:
    desk = watched_desk(tmp_path, 0, 3, reference=False)
    old, new = desk.models()

    def outside(_: Journal) -> desks.FakeOutside:
        world = desks.FakeOutside(models={each.bundle.sha256: each for each in (old, new)})
        world.production = {"COMP": (new.bundle.version, new.bundle.sha256)}
        return world

    stop = stopped_in_position(tmp_path, desk, old)
    papers.traded(desk.folder, old, name="live.db", policies={"COMP": policy}, stop_after=stop)
    desk.run()
    papers.traded(desk.folder, old, name="live.db", policies={"COMP": policy}, outside=outside)
    desk.run()
    states = require_whole(desk)
    bundles = {each.bundle for each in outcomes(desk)}
    assert bundles == {old.bundle.sha256, new.bundle.sha256}
    assert [row["version"] for row in desk.rows("swaps")] == ["v1", "v2"]
    censored = [each.reason for each in outcomes(desk) if each.state == "censored"]
    # The rules of both versions are the same, so that an adopted trade is still the old one's.
    assert censored == (["left for handover"] if policy == "flatten" else [])
    assert states["taken"] > 5


def test_an_entry_of_a_superseded_version_is_censored(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, 0, 3, reference=False)
    old, new = desk.models()
    whole = watched_desk(tmp_path / "whole", reference=False)
    papers.traded(whole.folder, old, name="live.db")
    stop = next(n for n, (_, lane) in enumerate(lanes_of(whole), 1) if lane.code in ENTRIES)
    world = desks.FakeOutside(models={each.bundle.sha256: each for each in (old, new)})
    papers.traded(desk.folder, old, name="live.db", stop_after=stop)
    world.production = {"COMP": (new.bundle.version, new.bundle.sha256)}
    papers.traded(desk.folder, old, name="live.db", outside=lambda _: world)
    desk.run()
    require_whole(desk)
    first = next(each for each in outcomes(desk) if each.state not in ("vetoed", "taken"))
    assert first.state == "censored"
    assert first.reason.startswith("withdrawn")


def test_refused_by_the_gateway(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    limits = desks.OPEN_LIMITS.model_copy(update={"max_contracts": 0.5})
    papers.traded(desk.folder, desk.models()[0], name="live.db", limits=limits)
    desk.run()
    states = require_whole(desk)
    assert states["refused"] > 5
    assert states["taken"] == 0
    reasons = {each.reason for each in outcomes(desk) if each.state == "refused"}
    assert reasons == {"refused: position"}


def test_halt_ends_a_trade_that_is_censored(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    model = desk.models()[0]
    stop = stopped_in_position(tmp_path, desk, model)
    papers.traded(desk.folder, model, name="live.db", stop_after=stop)
    (desk.folder / "HALT").touch()
    switches = Switches(kill_file=desk.folder / "KILL", halt_file=desk.folder / "HALT", flatten=True)
    with Journal.open(desk.journal) as journal:
        engine = desks.engine(
            desk.folder, {"COMP": model}, journal, desks.history(WARM + SETS), warm=WARM, flatten=True,
            epoch=journal.newest_epoch(), outside=desks.FakeOutside(halt="test"),
        )  # fmt: skip
        engine._setup.gateway._switches = switches
        engine.run()
    desk.run()
    require_whole(desk)
    censored = [each for each in outcomes(desk) if each.state == "censored"]
    assert [each.reason for each in censored] == ["left for halt"]
    assert not math.isnan(censored[0].pnl)


def second_epoch(desk: WatchedDesk, model: TradedModel, **changes: Any) -> None:
    """Begin a second epoch behind the last bar set, and trade the bars that are left."""
    whole = desks.history(WARM + SETS)
    with Journal.open(desk.journal) as journal:
        epoch = journal.newest_epoch()
        last = journal.last_set()
        assert epoch is not None
        assert last is not None
        seen = {key: int((bars.end <= last.release.stamp).sum()) for key, bars in whole.bars.items()}
        begun = {
            "number": epoch.number + 1, "reason": "test", "states": {"COMP": last.lanes[0].state},
            "warmup": {key: desks.kept(whole, key)[:count] for key, count in seen.items()},
        }  # fmt: skip
        journal.begin_epoch(replace(epoch, **{**begun, **changes}))
    left = {key: bars.rows(seen[key], len(bars)) for key, bars in whole.bars.items()}
    papers.traded(desk.folder, model, replace(whole, bars=left), name="live.db")


def test_a_position_goes_on_in_a_second_epoch(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    model = desk.models()[0]
    stop = stopped_in_position(tmp_path, desk, model)
    papers.traded(desk.folder, model, name="live.db", stop_after=stop)
    desk.run()
    second_epoch(desk, model)
    desk.run()
    states = require_whole(desk)
    assert (states["censored"], states["refused"]) == (0, 0)
    assert {row["epoch"] for row in desk.rows("outcomes")} == {1, 2}


def test_a_position_that_a_second_epoch_begins_without_is_censored(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    model = desk.models()[0]
    stop = stopped_in_position(tmp_path, desk, model)
    papers.traded(desk.folder, model, name="live.db", stop_after=stop)
    flat = {"COMP": LaneState(account=opening_account(model.config.capital))}
    second_epoch(desk, model, states=flat)
    desk.run()
    censored = [each for each in outcomes(desk) if each.state == "censored"]
    assert [each.reason for each in censored] == ["epoch 2 began without it"]
    assert math.isnan(censored[0].pnl)


def test_restarts_join_nothing_twice(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    for stop in (1, 7, 20, 33, None):
        more: dict[str, Any] = {} if stop is None else {"stop_after": stop}
        papers.traded(desk.folder, desk.models()[0], name="live.db", **more)
        desk.run()
    require_whole(desk)


def test_what_is_not_joined_is_noticed(tmp_path: Path) -> None:
    """Negative control of `require_whole`: a missing signal, and a profit that is off by a cent."""
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    spoilt: tuple[Callable[[Any], Any], ...] = (
        lambda c: c.execute("DELETE FROM outcomes WHERE decision = (SELECT min(decision) FROM outcomes)"),
        lambda c: c.execute("UPDATE outcomes SET pnl = pnl + .01 WHERE state = 'taken'"),
    )
    for change in spoilt:
        with sqlite3.connect(desk.database) as connection:
            change(connection)
        with pytest.raises(AssertionError):
            require_whole(desk)
        desk.run(rebuild=True)
        require_whole(desk)


def test_two_bundles_that_decided_on_the_same_bars_are_two_signals(tmp_path: Path) -> None:
    """A second epoch that goes over the bars of the first one, with another version."""
    desk = watched_desk(tmp_path, 0, 3, reference=False)
    old, new = desk.models()
    papers.traded(desk.folder, old, name="live.db", stop_after=60)
    with Journal.open(desk.journal) as journal:
        journal.begin_epoch(desks.first_epoch({"COMP": new}, desks.history(WARM + SETS), WARM))
    papers.traded(desk.folder, new, name="live.db", stop_after=60)
    desk.run()
    require_whole(desk)
    decided = Counter(each.decision for each in outcomes(desk))
    assert max(decided.values()) == 2, "the same bar, once for each bundle"
    assert {each.bundle for each in outcomes(desk)} == {old.bundle.sha256, new.bundle.sha256}
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before


def test_a_vetoed_trade_that_is_stopped_out_on_the_bar_of_its_entry(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path, reference=False)
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    desk.run()
    at_once = [each for each in outcomes(desk) if each.state == "vetoed" and each.exit == each.entry]
    assert at_once
    assert all(each.pnl < 0.0 for each in at_once), "its stop"
    waiting = [each for each in outcomes(desk) if each.state == "unsettled"]
    last = desk.rows("sessions")[-20]["stamp"]
    assert all(each.decision > last for each in waiting), "only the newest wait for bars"
