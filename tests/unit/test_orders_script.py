"""What the operator says of orders: `lockstep.live.operator.open_orders`, `orders_cli`, `rollout_cli`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import LiveError, LockstepError
from lockstep.live.events import Event, OrderSent
from lockstep.live.journal import Journal
from lockstep.live.journal.opening import WriterLock
from lockstep.live.messages import LaneState
from lockstep.live.operator.commands import FillCommand, Mailbox, RolloutCommand, waiting
from lockstep.live.operator.journal_cli import iso
from lockstep.live.operator.open_orders import OrderName, Standing, last_steps, require_unknown
from lockstep.live.operator.orders_cli import app as orders
from lockstep.live.operator.rollout_cli import app as rollout
from lockstep.models.store import ModelStore
from lockstep.monitoring.evidence import sealed
from lockstep.strategy.config import FixedSize, RiskSize
from lockstep.strategy.lane import WaitingOrder
from support import desks, journals, papers
from support.events import an_event
from support.journals import START
from support.models import RECORD

DECIDED = START
ENTRY = f"1-live-ES-{DECIDED}-entry-1"
EXIT = f"1-live-ES-{DECIDED}-exit-1"
DAY = 86_400_000_000_000
TEN = FixedSize(contracts=10)
WAITING = WaitingOrder(
    terms=(2.0, 0.01, 0.0, math.nan, math.nan), decision=DECIDED, intent="entry", reason="enter long",
    probability=0.6, order_id=ENTRY,
)  # fmt: skip
FLAT = LaneState(account=(0.0, math.nan, math.nan, math.nan, 100_000.0))
LONG = LaneState(
    account=(2.0, 5_000.0, 4_950.0, math.nan, 100_000.0), trade={"decision": DECIDED}, bars_held=1
)


def fill(**changes: Any) -> FillCommand:
    told: dict[str, Any] = {
        "fill_id": "f", "order_id": ENTRY, "symbol": "ES", "quantity": 2.0, "price": 5_000.0,
        "commission": 2.5, "stamp": DECIDED + 1,
    }  # fmt: skip
    return FillCommand(**(told | changes))


def event(kind: str, time: int = 0, **content: Any) -> Event:
    return an_event(kind, symbol="ES", time=time, content={"order_id": ENTRY, **content})


# What an account expects


def test_an_entry_a_stop_and_the_flat_account_behind_them() -> None:
    entered = Standing.of("ES", replace(FLAT, waiting=WAITING)).after(fill())
    assert (entered.position, entered.entry, entered.protective) == (2.0, DECIDED, {"stop"})
    stopped = entered.after(fill(order="stop", quantity=-2.0))
    assert (stopped.position, stopped.protective, stopped.waiting) == (0.0, frozenset(), None)


def test_a_part_of_an_entry_is_a_fill_and_an_exit_closes_all_of_it() -> None:
    assert Standing.of("ES", replace(FLAT, waiting=WAITING)).after(fill(quantity=1.0)).position == 1.0
    leaving = f"1-live-ES-{DECIDED + 5}-exit-1"
    order = replace(WAITING, terms=(-2.0, *[math.nan] * 4), intent="exit", order_id=leaving)
    held = Standing.of("ES", replace(LONG, waiting=order))
    assert held.after(fill(order_id=leaving, quantity=-2.0)) == Standing(symbol="ES")
    with pytest.raises(LiveError, match="closes the position; report the sum"):
        held.after(fill(order_id=leaving, quantity=-1.0))


@pytest.mark.parametrize(
    ("state", "changes", "message"),
    [
        (FLAT, {}, "of ES no order waits for one"),
        (replace(FLAT, waiting=WAITING), {"order_id": f"1-live-ES-{DECIDED}-entry-2"}, "entry-1 waits"),
        (replace(FLAT, waiting=WAITING), {"quantity": -2.0}, r"a fill of -2, the order is \+2"),
        (replace(FLAT, waiting=WAITING), {"quantity": 3.0}, r"a fill of \+3, the order is \+2"),
        (replace(FLAT, waiting=WAITING), {"quantity": 0.0}, "quantity 0"),
        (replace(FLAT, waiting=WAITING), {"symbol": "NQ"}, "is not an order of NQ"),
        (replace(FLAT, waiting=WAITING), {"order_id": "x"}, "no order id"),
        (LONG, {"order": "target", "quantity": -2.0}, "protected by stop"),
        (LONG, {"order": "stop", "quantity": 2.0}, "must close all of it"),
        (LONG, {"order": "stop", "quantity": -2.0, "order_id": EXIT}, "no stop of it is at work"),
        (FLAT, {"order": "stop", "quantity": -2.0}, "protected by nothing"),
    ],
)
def test_a_fill_that_the_engine_could_not_book_is_refused(
    state: LaneState, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LiveError, match=message):
        Standing.of("ES", state).after(fill(**changes))


@pytest.mark.parametrize("event", [event("rejected"), event("resolved", outcome="not_placed")])
def test_a_withdrawn_order_has_no_fill_to_come(event: Event) -> None:
    gone = Standing.of("ES", replace(FLAT, waiting=WAITING), [event])
    with pytest.raises(LiveError, match="no order waits"):
        gone.after(fill())


def test_an_order_that_was_placed_may_still_fill() -> None:
    there = Standing.of("ES", replace(FLAT, waiting=WAITING), [event("resolved", outcome="placed")])
    assert there.after(fill()).position == 2.0


def test_order_ids_may_hold_symbols_with_dashes() -> None:
    assert OrderName.parse("3-live-BTC-USD-1709737200000000000-exit-1") == OrderName(
        "BTC-USD", 1_709_737_200_000_000_000, "exit"
    )


def test_only_an_unknown_order_is_resolved() -> None:
    steps = last_steps([event("send"), event("unknown", detail="timed out")])
    require_unknown(steps, ENTRY)
    assert steps[ENTRY].detail == "timed out"
    for kind, message in (("send", "is being sent"), ("acknowledged", "not UNKNOWN but acknowledged")):
        with pytest.raises(LiveError, match=message):
            require_unknown(last_steps([event(kind)]), ENTRY)
    with pytest.raises(LiveError, match=f"UNKNOWN are: {ENTRY}"):
        require_unknown(steps, ENTRY.replace("ES", "NQ"))


# The commands


def desk(folder: Path, *events: Event, state: LaneState = FLAT, mode: str = "live", **changes: Any) -> Path:
    """Return the configuration of a desk with one ES lane in `state`, followed by events."""
    config = papers.config(folder, instruments=[{"symbol": "ES"}], **changes)
    with Journal.open(folder / "live.db") as journal:
        journal.begin_epoch(journals.epoch(symbols=("ES",), mode=mode, states={"ES": state}))
        if events:
            journal.append(*events)
    return config


def call(app: Any, *arguments: object) -> tuple[int, str]:
    """Run a command; its output, or the refusal."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    refused = isinstance(result.exception, LockstepError)
    return (2, str(result.exception)) if refused else (result.exit_code, result.output)


def report(config: Path, **changes: object) -> tuple[int, str]:
    options = {
        "order-id": ENTRY, "symbol": "ES", "quantity": 2, "price": 5_000.25, "commission": 2.5,
        "time": "2023-11-15T00:00:00Z", **changes,
    }  # fmt: skip
    named = [part for name, value in options.items() for part in (f"--{name}", value)]
    return call(orders, "fill", "--config", config, *named)


def test_a_fill_is_posted_once_and_in_the_order_of_its_time(tmp_path: Path) -> None:
    config = desk(tmp_path, state=replace(FLAT, waiting=WAITING))
    code, said = report(config)
    assert (code, "NO ENGINE IS RUNNING" in said) == (0, True)
    again = report(config)
    assert again == (0, f"{ENTRY}: this fill was reported before; nothing is done\n")
    code, said = report(config, order="stop", quantity=-2)
    assert code == 0, said
    posted = waiting(tmp_path / "mailbox")
    assert [command.order for _, command in posted if isinstance(command, FillCommand)] == ["market", "stop"]
    assert [event.kind for event in Mailbox(tmp_path / "mailbox").read()] == ["fill", "fill"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": "2023-11-15T00:00:00"}, "has no offset"),
        ({"time": "yesterday"}, "write it like 2026-03-06T14:10:03Z"),
        ({"time": "2023-11-14T00:00:00Z"}, "must be between the decision"),
        ({"time": "2199-11-14T00:00:00Z"}, "must be between the decision"),
        ({"time": "2999-11-14T00:00:00Z"}, "centuries away"),
        ({"symbol": "NQ"}, "is not traded by this desk; it trades ES"),
        ({"order-id": ENTRY.replace("entry-1", "entry-9")}, "has no fill to come"),
        ({"price": "nan"}, "price"),
    ],
)
def test_a_wrong_report_is_refused_and_nothing_is_posted(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    config = desk(tmp_path, state=replace(FLAT, waiting=WAITING))
    code, said = report(config, **changes)
    assert code == 2
    assert message in said
    assert "\n" not in said.strip()
    assert waiting(tmp_path / "mailbox") == []


def test_modes_that_simulate_take_no_fill(tmp_path: Path) -> None:
    code, said = report(desk(tmp_path, state=replace(FLAT, waiting=WAITING), mode="shadow"))
    assert (code, "mode shadow simulates its fills" in said) == (2, True)


def test_an_older_fill_behind_a_posted_one_is_refused(tmp_path: Path) -> None:
    config = desk(tmp_path, state=replace(FLAT, waiting=WAITING))
    assert report(config, time="2023-11-16T00:00:00Z")[0] == 0
    code, said = report(config, order="stop", quantity=-2, time="2023-11-15T12:00:00Z")
    assert (code, "report the oldest first" in said) == (2, True)


def test_a_journaled_fill_is_known(tmp_path: Path) -> None:
    told = {**fill(fill_id="b-17").model_dump(exclude={"kind"}), "command": "statement-b-17"}
    booked = an_event("fill", symbol="ES", content=told)
    config = desk(tmp_path, booked, state=replace(FLAT, waiting=WAITING))
    assert report(config, **{"fill-id": "b-17"})[1].endswith("nothing is done\n")
    code, said = report(config, **{"fill-id": "b-18"})
    assert (code, "no order waits" in said) == (2, True), "the statement and the operator report it both"


def test_resolving_says_whether_an_engine_takes_it(tmp_path: Path) -> None:
    config = desk(tmp_path, event("send"), event("unknown", detail="timed out"))
    arguments = ("resolve", ENTRY, "--outcome", "placed", "--config", config)
    lock = WriterLock(tmp_path / "live.db")
    code, said = call(orders, *arguments, "--reason", "asked the broker")
    lock.release()
    assert (code, "an engine is running" in said, "report its fill" in said) == (0, True, True)
    code, said = call(orders, *arguments, "--reason", "again")
    assert (code, "in the mailbox already" in said) == (2, True)
    ((_, command),) = waiting(tmp_path / "mailbox")
    assert command.model_dump() == {
        "kind": "resolved", "order_id": ENTRY, "outcome": "placed", "reason": "asked the broker",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "reason", "message"),
    [
        ((), "seen", "the journal has none of this id"),
        ((event("send"),), "seen", "is being sent"),
        ((event("send"), event("unknown"), event("resolved", outcome="placed")), "seen", "but placed"),
        ((event("send"), event("unknown")), " ", "no reason"),
    ],
)
def test_what_is_not_unknown_is_not_resolved(
    tmp_path: Path, events: tuple[Event, ...], reason: str, message: str
) -> None:
    config = desk(tmp_path, *events)
    code, said = call(
        orders, "resolve", ENTRY, "--outcome", "not_placed", "--reason", reason, "--config", config
    )
    assert (code, message in said) == (2, True), said
    assert waiting(tmp_path / "mailbox") == []


def test_the_list_shows_unknown_orders_first_and_what_waits(tmp_path: Path) -> None:
    other = ENTRY.replace("entry", "exit")
    config = desk(
        tmp_path, event("acknowledged", order_id=other), event("unknown", detail="timed out"), state=LONG
    )
    Mailbox(tmp_path / "mailbox").post(fill(order="stop", quantity=-1.0), name="fill-x")
    code, said = call(orders, "list", "--config", config)
    assert (code, "ES  unclear: order" in said, "must close all of it" in said) == (0, True, True)
    (tmp_path / "mailbox" / "fill-x.json").unlink()
    Mailbox(tmp_path / "mailbox").post(
        RolloutCommand(stage=1, fraction=0.1, comparison="", reason="x"), name="r"
    )
    code, said = call(orders, "list", "--config", config)
    lines = said.splitlines()
    assert code == 0
    assert lines[4].split() == ["in", "mailbox", "r"]
    assert lines[0] == "epoch 1 (live); engine is not running"
    assert lines[1].split() == ["UNKNOWN", ENTRY, "timed", "out"]
    assert lines[2].split() == ["acknowledged", other]
    assert lines[3].split() == ["position", "ES", "+2", "stop"]


def test_the_list_shows_orders_that_have_not_left(tmp_path: Path) -> None:
    config = desk(tmp_path, state=replace(FLAT, waiting=WAITING))
    assert report(config)[0] == 0
    told = json.loads(call(orders, "list", "--json", "--config", config)[1])
    assert told["orders"] == [], "its fill is in the mailbox"
    assert told["positions"] == [{"symbol": "ES", "position": 2.0, "note": "stop"}]
    assert len(told["posted"]) == 1
    (tmp_path / "mailbox" / f"{told['posted'][0]}.json").unlink()
    (order,) = json.loads(call(orders, "list", "--json", "--config", config)[1])["orders"]
    assert (order["order_id"], order["state"]) == (ENTRY, "waiting")


def test_the_engine_books_what_was_reported(tmp_path: Path) -> None:
    """From the acknowledged entry over its fill to its stop, as the runbook says it."""
    (model,) = papers.models(papers.store(tmp_path / "store", 0))
    config, journal = papers.config(tmp_path), tmp_path / "live.db"

    def run(sets: int) -> None:
        papers.traded(
            tmp_path, model, name="live.db", mode="live", broker=papers.Broker(), expire=10**18,
            stop_after=sets, outside=lambda _: papers.Posted(tmp_path / "mailbox"),
        )  # fmt: skip

    def listed() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(call(orders, "list", "--json", "--config", config)[1])
        return told

    states = []
    while "acknowledged" not in states:
        run(1)
        states = [each["state"] for each in listed()["orders"]]
        assert states in ([], ["waiting"], ["acknowledged"])
    (order_id,) = (each["order_id"] for each in listed()["orders"])
    with Journal.open(journal, readonly=True) as opened:
        last = opened.last_set()
        (sent,) = opened.events(OrderSent)
    assert last is not None
    quantity, moment = sent.message["quantity"], iso(last.release.stamp + 1)
    told = {"order-id": order_id, "symbol": "COMP", "quantity": quantity, "price": 2_000.0, "time": moment}
    assert report(config, **told)[0] == 0
    run(1)
    (position,) = listed()["positions"]
    assert (position["position"], position["note"], listed()["posted"]) == (quantity, "stop", [])
    code, said = report(config, **told | {"order": "stop", "quantity": -quantity, "price": 1_980.0})
    assert code == 0, said
    run(1)
    assert listed()["positions"] == []


def test_an_empty_journal_and_none_are_refused(tmp_path: Path) -> None:
    config = papers.config(tmp_path)
    assert call(orders, "list", "--config", config)[0] == 2
    Journal.open(tmp_path / "live.db").close()
    code, said = call(orders, "list", "--config", config)
    assert (code, "no epoch yet" in said) == (2, True)


def test_the_mailbox_is_emptied_once_and_sets_nonsense_aside(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, seen=["a-known"])
    for name in ("a-known", "b-new"):
        mailbox.post(fill(fill_id=name), name=name)
    (tmp_path / "c-bad.json").write_text('{"kind": "sell everything"}')
    events = mailbox.read()
    assert [each.kind for each in events] == ["fill", "bad_command"]
    assert "known are fill, resolved, rollout" in events[1].error
    assert (tmp_path / "c-bad.rejected").exists()
    mailbox.done(events[:1])
    assert waiting(tmp_path) == []
    assert mailbox.read() == []


# Positions


def reconcile(config: Path, position: float, reason: str = "the broker's screen, AB") -> tuple[int, str]:
    return call(
        orders,
        "reconcile",
        "--symbol",
        "COMP",
        "--position",
        position,
        "--reason",
        reason,
        "--config",
        config,
    )


def test_a_position_is_confirmed_to_a_running_engine(tmp_path: Path) -> None:
    config = live_desk(tmp_path, mode="live")
    code, said = reconcile(config, 0)
    assert (code, "no engine is running; confirm its position after the start" in said) == (2, True)
    lock = WriterLock(tmp_path / "live.db")
    try:
        before = time.time_ns()
        code, said = reconcile(config, 0)
        assert (code, "the broker holds +0, the engine +0, which agrees" in said) == (0, True)
        code, said = reconcile(config, -2)
        assert (code, "and nothing is opened until both agree" in said) == (0, True)
        assert reconcile(config, 0, reason=" ")[1].startswith("COMP: no reason")
    finally:
        lock.release()
    commands = [command for _, command in waiting(tmp_path / "mailbox")]
    assert [(each.kind, each.symbol, each.position) for each in commands] == [
        ("reconcile", "COMP", 0.0),
        ("reconcile", "COMP", -2.0),
    ]
    assert all(before <= each.stamp <= time.time_ns() for each in commands)


def test_a_simulated_position_has_no_other_side(tmp_path: Path) -> None:
    code, said = reconcile(live_desk(tmp_path), 0)
    assert (code, "mode shadow simulates its positions" in said) == (2, True)


# The roll-out


def live_desk(folder: Path, *steps: Event, days: int = 40, mode: str = "shadow", size: Any = TEN) -> Path:
    """Return a desk whose roll-out began so many days ago, and a store with a version in production."""
    papers.store(folder / "store", size=size)
    config = papers.config(folder)
    begun = time.time_ns() - days * DAY
    with Journal.open(folder / "live.db") as journal:
        journal.begin_epoch(journals.epoch(symbols=("COMP",), mode=mode, started=begun))
        if steps:
            journal.append(*steps)
    return config


def step_to(stage: int, days: int = 0) -> Event:
    content = {
        "command": "c", "stage": stage, "fraction": 0.1, "comparison": "a" * 64, "reason": "as planned",
    }  # fmt: skip
    return an_event("rollout", time=time.time_ns() - days * DAY, content=content)


def comparison(folder: Path, **changes: Any) -> Path:
    sha = ModelStore(folder / "store").manifest().entry("COMP", "v1").sha256
    content: dict[str, Any] = {
        "kind": "paper comparison", "schema": 1, "passed": True, "time": time.time_ns(),
        "bundles": {"COMP": [sha]},
    }  # fmt: skip
    path = folder / "comparison.json"
    path.write_text(sealed({**content, **changes}), encoding="utf-8")
    return path


def advance(config: Path, path: Path, reason: str = "as planned, AB") -> tuple[int, str]:
    return call(rollout, "advance", "--comparison", path, "--reason", reason, "--config", config)


def test_a_passed_comparison_advances_the_roll_out(tmp_path: Path) -> None:
    config, path = live_desk(tmp_path), comparison(tmp_path)
    code, said = advance(config, path)
    assert code == 0, said
    assert "stage 2 of 4, live with 10% of the size" in said
    ((_, command),) = waiting(tmp_path / "mailbox")
    assert isinstance(command, RolloutCommand)
    assert (command.stage, command.fraction) == (1, 0.1)
    assert command.comparison == json.loads(path.read_text())["digest"]
    code, said = advance(config, path)
    assert (code, "waits in the mailbox already" in said) == (2, True)


@pytest.mark.parametrize(
    ("desk_changes", "changes", "message"),
    [
        ({}, {"passed": False}, "did not pass"),
        ({}, {"bundles": {"COMP": ["0" * 64]}}, "is not about COMP v1"),
        ({}, {"time": 1}, "no paper comparison of this stage"),
        ({}, {"kind": "something"}, "is no paper comparison of schema 1"),
        ({"days": 3}, {}, "day 4; the next stage begins on day 8"),
        ({"mode": "paper"}, {}, "knows mode paper only"),
    ],
)
def test_what_stops_an_advance(
    tmp_path: Path, desk_changes: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    config = live_desk(tmp_path, **desk_changes)
    code, said = advance(config, comparison(tmp_path, **changes))
    assert (code, message in said) == (2, True), said
    assert waiting(tmp_path / "mailbox") == []


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            FixedSize(contracts=9),
            "stage 2 is live with 10% of the size; COMP usually trades 9 contracts, and that share is less "
            "than its step of 1",
        ),
        (RiskSize(kind="risk", risk=0.01), "COMP: too few bars to know its size"),
    ],
)
def test_a_stage_that_would_send_nothing_is_not_advanced_to(tmp_path: Path, size: Any, message: str) -> None:
    config = live_desk(tmp_path, size=size)
    code, said = advance(config, comparison(tmp_path))
    assert (code, message in said) == (2, True), said
    assert waiting(tmp_path / "mailbox") == []


def test_an_edited_comparison_is_refused(tmp_path: Path) -> None:
    config, path = live_desk(tmp_path), comparison(tmp_path, passed=False)
    path.write_text(path.read_text().replace('"passed": false', '"passed": true'))
    code, said = advance(config, path)
    assert (code, "was changed after it was written" in said) == (2, True)
    for broken in (tmp_path / "absent.json", tmp_path / "live.yml"):
        assert advance(config, broken)[0] == 2


def test_a_promotion_is_watched_first_and_a_reason_is_asked_for(tmp_path: Path) -> None:
    config, path = live_desk(tmp_path), comparison(tmp_path)
    assert advance(config, path, reason=" ")[1].startswith("roll-out: no reason")
    store, now = ModelStore(tmp_path / "store"), datetime.now(UTC)
    store.register(desks.bundle("COMP", seed=1, size=TEN), record=RECORD, by="me", now=now)
    store.promote("COMP", "v2", by="me", now=now, reason="better", force=True)
    assert "is not about COMP v2" in advance(config, path)[1]
    found = store.manifest().entry("COMP", "v2").sha256
    code, said = advance(config, comparison(tmp_path, bundles={"COMP": [found]}))
    assert (code, "promoted less than 7 days ago" in said) == (2, True)
    assert "watch  a model was promoted" in call(rollout, "show", "--config", config)[1]


def test_a_step_back_to_shadow_lets_nothing_leave(tmp_path: Path) -> None:
    config = live_desk(tmp_path, step_to(1))
    code, said = call(rollout, "step-back", "--reason", "fills are bad", "--config", config)
    assert code == 0, said
    assert "until then every entry is refused" in said
    ((_, command),) = waiting(tmp_path / "mailbox")
    assert isinstance(command, RolloutCommand)
    assert (command.stage, command.fraction) == (0, 0.0)


def test_the_first_stage_has_none_before_it(tmp_path: Path) -> None:
    code, said = call(rollout, "step-back", "--reason", "x", "--config", live_desk(tmp_path))
    assert (code, "the first stage" in said) == (2, True)


def test_show_tells_stage_day_and_steps(tmp_path: Path) -> None:
    config = live_desk(tmp_path, step_to(1), days=10)
    code, said = call(rollout, "show", "--config", config)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == "stage  2 of 4, live with 10% of the size"
    assert lines[1] == "day    11"
    assert lines[2] == "next   live with 50% of the size, from day 15"
    assert lines[4].endswith("to stage 2: as planned (aaaaaaaaaaaa)")
    told = json.loads(call(rollout, "show", "--json", "--config", config)[1])
    assert [step["stage"] for step in told["steps"]] == [2]


def test_show_before_it_has_begun_and_at_its_end(tmp_path: Path) -> None:
    config = live_desk(tmp_path, step_to(3), mode="paper")
    said = call(rollout, "show", "--config", config)[1]
    assert "day    not begun" in said
    assert "next   none" in said
