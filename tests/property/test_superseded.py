"""No superseded model ever opens risk: manifests, kills, policies and modes are drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockstep.live.engine import Engine
from lockstep.live.events import Event
from lockstep.live.handover import Handover
from lockstep.live.messages import OrderIntent, SendResult, SetRecord, Wanted
from lockstep.live.operator.open_orders import last_steps
from support import desks, papers
from support.events import an_event

WARM, BARS = 400, 45
MODELS = [desks.model(seed=seed, threshold=0.0, version=f"v{seed + 1}") for seed in range(3)]
VERSIONS = {each.bundle.sha256: each.bundle.version for each in MODELS}
STATES = [
    *(Wanted(version, sha256) for sha256, version in VERSIONS.items()),
    Wanted("v8", "8" * 64),
    Wanted(absence="no version is in production"),
]
WEEK = 7 * 86_400_000_000_000


class Killed(Exception):
    """The process died here."""


@dataclass
class Dying(desks.MemoryJournal):
    """A journal whose process dies at drawn writes, before or after them; afterwards it takes nothing."""

    draw: random.Random = field(default_factory=random.Random)
    dead: bool = False

    def append_set(self, record: SetRecord) -> int:
        return self._around(lambda: super(Dying, self).append_set(record))

    def append(self, *events: Event) -> tuple[int, ...]:
        return self._around(lambda: super(Dying, self).append(*events))

    def _around(self, write: Callable[[], Any]) -> Any:
        fate = self.draw.random()
        self.dead = self.dead or fate < 0.02
        if self.dead:
            raise Killed
        result = write()
        if fate > 0.98:
            self.dead = True
            raise Killed
        return result


class Life(desks.FakeOutside):
    """A manifest that changes at any moment between two effects; orders at the broker fill at some time.

    log   the manifest's states, each with the number of journal rows at which it began
    """

    def __init__(self, journal: Dying, draw: random.Random, mode: str) -> None:
        super().__init__(models={each.bundle.sha256: each for each in MODELS})
        self.journal, self.draw, self.mode = journal, draw, mode
        self.log = [(0, STATES[0])]

    def change(self) -> None:
        if self.draw.random() < 0.05:
            self.log.append((len(self.journal.rows), self.draw.choice(STATES)))

    def wanted(self) -> dict[str, Wanted]:
        return {"COMP": self.log[-1][1]}

    def commands(self) -> Sequence[Event]:
        self.change()
        if self.mode != "live":
            return []
        steps = last_steps(self.journal.events)
        sent = {each.order_id: each.message for each in self.journal.events if each.kind == "send"}
        return [
            _resolved(order_id, self.draw.choice(["placed", "not_placed"]))
            if step.state == "unknown"
            else _fill(order_id, sent[order_id]["quantity"])
            for order_id, step in steps.items()
            if step.state in ("unknown", "acknowledged", "placed") and self.draw.random() < 0.5
        ]

    def done(self, events: Sequence[Event]) -> None:
        pass

    def at(self, row: int) -> Wanted:
        return [state for since, state in self.log if since <= row][-1]


def _fill(order_id: str, quantity: float) -> Event:
    content = {
        "command": order_id, "fill_id": order_id, "order_id": order_id, "symbol": "COMP", "order": "market",
        "quantity": quantity, "price": 2_000.0, "commission": 2.5, "stamp": 0,
    }  # fmt: skip
    return an_event("fill", symbol="COMP", content=content)


def _resolved(order_id: str, outcome: str) -> Event:
    content = {"command": f"r-{order_id}", "order_id": order_id, "outcome": outcome, "reason": "looked"}
    return an_event("resolved", content=content)


class Broker(papers.Broker):
    """Acknowledges most orders, rejects some."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw

    def message(self, intent: OrderIntent) -> dict[str, Any]:
        return {"quantity": intent.quantity, "version": intent.version, "intent": intent.intent}

    def submit(self, intent: OrderIntent, message: Any) -> None:
        outcome = "acknowledged" if self.draw.random() < 0.8 else "rejected"
        self.on_result(SendResult(intent.order_id, outcome, "", 1))  # type: ignore[arg-type]


def live_through(folder: Path, policy: str, mode: Any, seed: int) -> tuple[Dying, Life]:
    """Run a desk over its bars, restarted after every kill, and return what it wrote and what was wanted."""
    draw = random.Random(seed)
    journal = Dying(draw=draw)
    life, bars = Life(journal, draw, mode), desks.history(WARM + BARS)
    while len(journal.sets) < BARS:
        journal.dead = False
        epoch = desks.first_epoch({"COMP": MODELS[0]}, bars, WARM, mode=mode)
        engine = desks.engine(
            folder, {"COMP": MODELS[0]}, journal, bars, warm=WARM, epoch=epoch, outside=life, expire=WEEK,
            policies={"COMP": policy}, broker=None if mode == "paper" else Broker(draw),
        )  # fmt: skip
        _change_while_waiting(engine, life)
        try:
            engine.run()
        except Killed:
            continue
    return journal, life


def _change_while_waiting(engine: Engine, life: Life) -> None:
    source = engine._setup.source
    waited = source.next

    def next_set(until: int | None) -> Any:
        release = waited(until)
        life.change()
        return release

    source.next = next_set  # type: ignore[method-assign]


def opened(journal: Dying, mode: str) -> Iterator[tuple[int, str]]:
    """Yield (row, deciding version) wherever risk was opened: an order let through, one sent, or a fill."""
    decided: dict[int, str] = {}
    for number, row in enumerate(journal.rows):
        if isinstance(row, Event):
            if row.kind == "send" and row.message["intent"] == "entry" and mode == "live":
                yield number, row.message["version"]
            continue
        (lane,) = row.lanes
        decided[row.release.stamp] = VERSIONS[lane.bundle]
        for order in lane.orders:
            fresh = order.status == "accepted" and order.decision == row.release.stamp
            filled = order.status == "completed" and mode != "live"
            if order.intent == "entry" and (fresh or filled):
                yield number, decided[order.decision]


def faults(journal: Dying, life: Life, mode: str) -> list[tuple[int, str, str]]:
    return [
        (row, version, life.at(row).version)
        for row, version in opened(journal, mode)
        if version != life.at(row).version
    ]


SEEDS = 2
POLICIES = ("adopt", "manage_out", "flatten")


@pytest.mark.parametrize("mode", ["paper", "shadow", "live"])
def test_no_superseded_model_opens_risk(tmp_path: Path, mode: str) -> None:
    entered: set[str] = set()
    for number, policy in enumerate(POLICIES * SEEDS):
        journal, life = live_through(tmp_path, policy, mode, number)
        assert faults(journal, life, mode) == [], f"{policy}, seed {number}"
        entered |= {version for _, version in opened(journal, mode)}
    assert len(entered) == 3, "every version that can trade did, when it was wanted"


def _not_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Handover, "superseded", property(lambda self: dict.fromkeys(self.candidates, "")))


def _not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_take_back_entry", lambda self, seat: None)


@pytest.mark.parametrize("planted", [_not_refused, _not_withdrawn])
def test_a_superseded_model_that_goes_on_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """PARITY 36, the mutants: the old model's entries are let through, or those that wait are kept."""
    planted(monkeypatch)
    assert any(faults(*live_through(tmp_path, "manage_out", "paper", seed), "paper") for seed in range(6))
