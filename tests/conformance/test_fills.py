"""A broker that reports its fills, from its server to the journal: none is lost, none booked twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import LiveError
from lockstep.live.brokers.fills import PolledFills
from lockstep.live.brokers.protocol import OnFill
from lockstep.live.codec import content_of
from lockstep.live.events import Event, FillReported, OrderSent, OrderUnknown
from lockstep.live.journal import Journal
from lockstep.live.messages import ReportedFill, SendResult, SetRecord
from lockstep.live.outside import BrokerFills
from support import desks
from support.http_faults import Behaviour, FaultServer, answer

ROOT = Path(__file__).resolve().parents[2]
BARS = 10
_SYMBOLS = {"NQ-1": "COMP", "MNQ-1": "MCOMP"}
FILL = ReportedFill("f-1", "1-live-COMP-5-entry-1", "COMP", "market", 1.0, 2_000.0, 2.5, 7)


class Venue:
    """The broker's side: executes every order once that arrives, in parts where it can."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.arrived: Counter[str] = Counter()
        self.executions: list[dict[str, Any]] = []

    def choose(self, request: tuple[str, Any]) -> Behaviour:
        _, asked = request
        with self._lock:
            if "id" not in asked:
                return answer(200, {"executions": list(self.executions), "positions": {}})
            self.arrived[asked["id"]] += 1
            self._execute(asked["id"], _SYMBOLS[asked["account"]], asked["quantity"])
        return answer(200, {"success": True})

    def _execute(self, order_id: str, symbol: str, quantity: float) -> None:
        parts = (quantity / 4, quantity * 3 / 4)
        for number, part in enumerate(parts):
            fill = ReportedFill(
                f"{order_id}.{number}", order_id, symbol, "market", part, 2_000.0 + number, 1.0, 7
            )
            self.executions.append({**fill._asdict(), "done": number == 1})


def traded(folder: Path, *how: str) -> list[tuple[Venue, list[SetRecord], list[Event], int]]:
    """Run desks to their end; return venue, sets and events of the journal, and how many processes died."""
    venues = {each: Venue() for each in how}
    with ExitStack() as stack:
        for each, venue in venues.items():
            (folder / each).mkdir()
            server = stack.enter_context(FaultServer(choose=venue.choose))
            (folder / each / "url").write_text(server.url)
            (folder / each / "url").chmod(0o600)
        driver, desks_ = ROOT / "tests/support/fill_driver.py", [f"{folder / each}:{each}" for each in how]
        paths = os.pathsep.join((str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
        done = subprocess.run(
            [sys.executable, str(driver), str(BARS), *desks_], env={**os.environ, "PYTHONPATH": paths},
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        (venues[each], *journaled(folder / each / "live.db"), int(died))
        for each, died in zip(how, done.stdout.split(), strict=True)
    ]


def journaled(path: Path) -> tuple[list[SetRecord], list[Event]]:
    with Journal.open(path, readonly=True) as journal:
        entries = list(journal.entries(1))
    sets = [each for each in entries if isinstance(each, SetRecord)]
    return sets, [each for each in entries if isinstance(each, Event)]


def decided(sets: Sequence[SetRecord]) -> list[str]:
    return [repr(replace(each, sequence=0)) for each in sets]


def test_kill_9_between_a_fill_and_its_journal_loses_none_and_books_none_twice(tmp_path: Path) -> None:
    whole, dying, small = traded(tmp_path, "never", "killed", "small")
    venue, sets, events, died = whole
    killed_venue, killed_sets, killed_events, killed = dying
    fills = [content_of(event) for event in events if event.kind == "fill"]
    assert (died, len(fills) > 2) == (0, True)
    assert killed >= 2 * len(fills), "every fill met a death before it was journaled and one after"
    assert decided(killed_sets) == decided(sets)
    small_venue, small_sets, small_events, small_died = small
    assert small_died == killed
    assert [row.lanes[0].reason for row in small_sets] == [row.lanes[0].reason for row in sets]
    assert [row.lanes[0].mark[1] * 10 for row in small_sets] == [row.lanes[0].mark[1] for row in sets]
    assert {each["symbol"] for each in small_venue.executions} == {"MCOMP"}
    for found, told in ((venue, events), (killed_venue, killed_events), (small_venue, small_events)):
        ids = [event.fill_id for event in told if event.kind == "fill"]
        assert len(ids) == len(set(ids)), "booked twice"
        assert {event.order_id for event in told if event.kind == "fill"} == set(found.arrived)
        assert set(found.arrived.values()) == {1}, "an order is sent once"
    assert [event.quantity for event in killed_events if event.kind == "fill"] == [
        fill["quantity"] for fill in fills
    ]
    assert not [event for event in killed_events if event.kind == "bad_command"]
    orders = [order for each in sets for order in each.lanes[0].orders if order.status == "completed"]
    assert {(order.price, order.commission) for order in orders} == {(2_000.75, 2.0)}, "real prices and costs"


def test_a_fill_settles_an_order_of_which_nobody_knew(tmp_path: Path) -> None:
    """The sender timed out, the broker fills: what filled was placed. Without the fill entries stop."""

    class Silent:
        name, waiting, faults = "silent", 0, 0

        def check(self, protected: Any) -> None: ...

        def message(self, intent: Any) -> dict[str, Any]:
            return {"quantity": intent.quantity}

        def start(self, on_result: Any) -> None:
            self._on_result = on_result

        def submit(self, intent: Any, message: Any) -> None:
            self._on_result(SendResult(intent.order_id, "unknown", "timed out", 1))

        def stop(self, timeout: float) -> None: ...

    class Reporting(desks.FakeOutside):
        def commands(self) -> list[Event]:
            sent = {each.order_id: each.message for each in journal.events if isinstance(each, OrderSent)}
            unknown = {each.order_id for each in journal.events if isinstance(each, OrderUnknown)}
            filled = {each.order_id for each in journal.events if isinstance(each, FillReported)}
            for order_id in unknown - filled:
                quantity = sent[order_id]["quantity"]
                source.report(FILL._replace(fill_id=order_id, order_id=order_id, quantity=quantity))
            return fills.read()

        def done(self, events: Any) -> None:
            fills.done(events)

    journal, source = desks.MemoryJournal(), Pushing()
    fills = BrokerFills(source, seen=(), since=0)
    fills.start(lambda: None)
    bars, models = desks.history(440), {"COMP": desks.model(threshold=0.0)}
    epoch = desks.first_epoch(models, bars, 400, mode="live")
    found = {}
    for outside in (Reporting(), None):
        journal.rows.clear()
        running = desks.engine(
            tmp_path, models, journal, bars, warm=400, epoch=epoch, broker=Silent(), outside=outside,
            expire=10**18,
        )  # fmt: skip
        running.run()
        found[outside is not None] = (sum(e.kind == "send" for e in journal.events), running.unknown_orders)
    assert found[True][0] > 3
    assert found[True][1] == ()
    assert found[False][0] == 1
    assert len(found[False][1]) == 1


class Pushing:
    """A source that reports what a test says."""

    trouble = ""

    def start(self, on_fill: OnFill, *, since: int) -> None:
        self.report, self.since = on_fill, since

    def stop(self) -> None: ...


def test_each_fill_is_handed_over_until_it_is_journaled_and_once() -> None:
    woken: list[int] = []
    source = Pushing()
    fills = BrokerFills(source, seen=("f-0",), since=3)
    fills.start(lambda: woken.append(1))
    for fill_id in ("f-0", "f-1", "f-2", "f-1"):
        source.report(FILL._replace(fill_id=fill_id))
    assert source.since == 3
    first, second = fills.read()
    assert [event.fill_id for event in fills.read()] == ["f-1", "f-2"]
    assert (first.kind, first.symbol, len(woken)) == ("fill", "COMP", 2)
    fills.done([first])
    source.report(FILL)
    assert fills.read() == [second]


@pytest.mark.parametrize("wrong", [{"price": float("nan")}, {"kind": "limit"}, {"quantity": float("inf")}])
def test_a_report_that_cannot_be_right_is_a_bad_command_and_no_fill(wrong: dict[str, Any]) -> None:
    source = Pushing()
    fills = BrokerFills(source, seen=(), since=0)
    fills.start(lambda: None)
    source.report(FILL._replace(**wrong))
    (event,) = fills.read()
    assert event.kind == "bad_command"
    assert "f-1" in event.error
    fills.done([event])
    assert fills.read() == []


def test_a_source_that_asks_survives_everything(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[ReportedFill] = []
    there, answers = threading.Event(), iter([LiveError("the server is down"), ZeroDivisionError(), [FILL]])
    troubles: list[str] = []

    def ask(since: int) -> list[ReportedFill]:
        troubles.append(source.trouble)
        found = next(answers, [])
        if isinstance(found, Exception):
            raise found
        return found

    source = PolledFills(ask, seconds=0.001)
    source.start(lambda fill: (heard.append(fill), there.set()), since=0)
    assert there.wait(5)
    source.stop()
    assert heard == [FILL]
    assert troubles[:3] == ["", "the server is down", "an unexpected ZeroDivisionError; see the log"]
    assert source.trouble == ""
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    with pytest.raises(LiveError, match="started before"):
        source.start(heard.append, since=0)
