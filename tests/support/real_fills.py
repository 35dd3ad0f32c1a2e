"""A desk in mode live whose broker reports fills so many ticks worse than the cost model."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.live.events import Event, OrderAcknowledged, OrderSent
from lockstep.live.journal import Journal
from lockstep.models.store import ModelStore
from support import desks, papers
from support.events import an_event
from support.papers import COMP, SETS, WARM
from support.watching import WatchedDesk, watched_desk

TICK = 0.25


class Reporting(desks.FakeOutside):
    """Reports each acknowledged order as filled at the next open, so many ticks worse than the model.

    ticks   of every fill, or of the number of that fill, from 0
    stops   report each entry's stop as filled, too, an hour after its first bar
    """

    def __init__(
        self, journal: Journal, ticks: float | Callable[[int], float], *, stops: bool = False
    ) -> None:
        super().__init__()
        self.journal, self.stops, self.filled = journal, stops, 0
        self.ticks = ticks if callable(ticks) else lambda _: ticks
        self.stopped: set[int] = set()
        self.seen: set[str] = set()
        self.opens = {end: values[0] for end, values in desks.kept(desks.history(WARM + SETS + 1), COMP)}

    def commands(self) -> Sequence[Event]:
        events = list(self.journal.events(OrderSent, OrderAcknowledged))
        sent = {each.order_id: each.message for each in events if each.kind == "send"}
        new = [
            each.order_id for each in events if each.kind == "acknowledged" and each.order_id not in self.seen
        ]
        self.seen.update(new)
        return [*(self._fill(order_id, sent[order_id]["quantity"]) for order_id in new), *self._stop()]

    def done(self, events: Sequence[Event]) -> None: ...

    def worse(self) -> float:
        self.filled += 1
        return self.ticks(self.filled - 1)

    def _stop(self) -> list[Event]:
        last = self.journal.last_set() if self.stops else None
        state = last.lanes[0].state if last else None
        if last is None or state is None or state.trade is None or state.waiting is not None:
            return []
        if state.trade["decision"] in self.stopped:
            return []
        self.stopped.add(state.trade["decision"])
        position, _, level, *_ = state.account
        order_id = f"1-live-COMP-{state.trade['decision']}-entry-1"
        content = {
            "command": f"stop {order_id}", "fill_id": f"stop {order_id}", "order_id": order_id,
            "symbol": "COMP", "order": "stop", "quantity": -position, "commission": 1.25,
            "price": level - np.sign(position) * TICK * (1 + self.worse()),
            "stamp": last.release.stamp + 3_600_000_000_000,
        }  # fmt: skip
        return [an_event("fill", symbol="COMP", content=content)]

    def _fill(self, order_id: str, quantity: float) -> Event:
        decision = int(order_id.split("-")[-3])
        following = min(end for end in self.opens if end > decision)
        price = self.opens[following] + np.sign(quantity) * TICK * (1 + self.worse())
        content = {
            "command": order_id, "fill_id": order_id, "order_id": order_id, "symbol": "COMP",
            "order": "market", "quantity": quantity, "price": price, "commission": 2.0,
            "stamp": following - 1,
        }  # fmt: skip
        return an_event("fill", symbol="COMP", content=content)


def live(
    folder: Path,
    store: ModelStore,
    ticks: float | Callable[[int], float],
    *,
    stops: bool = False,
    **setup: Any,
) -> Path:
    """Return the journal of a live desk of COMP."""
    return papers.traded(
        folder, papers.models(store)[0], name="live.db", mode="live", broker=papers.Broker(), expire=10**18,
        outside=lambda journal: Reporting(journal, ticks, stops=stops), **setup,
    )  # fmt: skip


def uneven(number: int) -> float:
    """Return by how many ticks a fill is worse: none, one, a better one, four, and again."""
    return (0.0, 1.0, -1.0, 4.0)[number % 4]


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lockstep-live-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    desk = watched_desk(folder)
    live(folder, desk.store, uneven, stops=True)
    desk.run()
    return folder


def live_desk(folder: Path) -> WatchedDesk:
    """Return a desk in mode live of 120 sessions, watched; some of its reported fills are worse."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    papers.config(folder)
    desk = WatchedDesk(folder, ModelStore(folder / "store"))
    desk.config.write_text(yaml.safe_dump({"desk": str(folder / "live.yml"), "database": str(desk.database)}))
    return desk
