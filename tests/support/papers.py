"""A desk in mode paper that has traded: its store, its configuration and its journal, made once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.messages import OrderIntent, SendResult, SetRecord, Values
from lockstep.live.operator.commands import Mailbox
from lockstep.live.traded import TradedModel
from lockstep.market.bars import BAR_COLUMNS
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore, load_bundle
from support import desks
from support.models import RECORD
from support.processes import ROOT, python

WARM, SETS = 400, 120
COMP, SPX = SeriesKey("COMP", DAILY), SeriesKey("SPX", DAILY)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
START, END = "2016-01-04", "2016-03-31"


def store(folder: Path, *seeds: int, **model: Any) -> ModelStore:
    """Return a store with a version of COMP per seed, the first of them in production."""
    folder.mkdir(parents=True, exist_ok=True)
    found = ModelStore(folder)
    for seed in seeds or (0,):
        found.register(desks.bundle("COMP", seed=seed, **model), record=RECORD, by="me", now=NOW)
    found.promote("COMP", "v1", by="me", now=NOW, reason="test", force=True)
    return found


def config(folder: Path, **changes: object) -> Path:
    """Write a configuration of a desk in `folder` and return it."""
    paths = {name: str(folder / name) for name in ("mailbox", "KILL", "HALT", "status.json", "live.db")}
    content = {
        "mode": "paper",
        "store": str(folder / "store"),
        "journal": paths["live.db"],
        "status": paths["status.json"],
        "mailbox": paths["mailbox"],
        "instruments": [{"symbol": "COMP"}],
        "feeds": [{"kind": "replay", "start": START, "end": END}],
        "grace": 0,
        "limits": {
            "max_contracts": 100,
            "max_total_contracts": 100,
            "max_orders_per_day": 100,
            "max_daily_loss": 1e9,
            "collar": {"percent": 50.0},
            "stale_seconds": 1e9,
        },
        "switches": {"kill_file": paths["KILL"], "halt_file": paths["HALT"]},
    }
    path = folder / "live.yml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project."""
    return python(ROOT / "scripts" / script, *arguments)


def models(found: ModelStore) -> list[TradedModel]:
    """Return every version of COMP in a store, ready to trade."""
    versions = found.manifest().model("COMP").versions
    return [TradedModel.of(load_bundle("COMP", version, store=found)) for version in versions]


def traded(
    folder: Path,
    model: TradedModel,
    bars: History | None = None,
    *,
    name: str = "paper.db",
    mode: str = "paper",
    outside: Callable[[Journal], desks.FakeOutside] | None = None,
    others: Sequence[TradedModel] = (),
    **setup: Any,
) -> Path:
    """Run a desk of COMP over `bars` (the embedded ones by default) into a journal, or go on with it.

    others   models of further instruments of the same desk
    """
    given, desk = bars or desks.history(WARM + SETS), {each.bundle.symbol: each for each in (model, *others)}
    path = folder / name
    with Journal.open(path) as journal:
        epoch = journal.newest_epoch()
        if epoch is None:
            epoch = desks.first_epoch(desk, given, WARM, mode=mode)
            journal.begin_epoch(epoch)
        world = outside(journal) if outside else None
        desks.engine(folder, desk, journal, given, warm=WARM, epoch=epoch, outside=world, **setup).run()
    return path


def altered(key: SeriesKey, row: int, change: Callable[[Values], Values] | None) -> History:
    """Return the bars of the desk with one bar of a series changed, or never delivered."""
    bars = desks.history(WARM + SETS)
    series = bars.bars[key]
    rows = [values for _, values in desks.kept(bars, key)]
    ends = series.end.tolist()
    if change is None:
        del rows[row], ends[row]
    else:
        rows[row] = change(rows[row])
    columns = {
        name: np.array(values) for name, values in zip(BAR_COLUMNS, zip(*rows, strict=True), strict=True)
    }
    spoilt = replace(series, end=np.array(ends, dtype=np.int64), **columns)
    return replace(bars, bars={**bars.bars, key: spoilt})


def rewritten(path: Path, target: Path, change: Callable[[SetRecord], SetRecord]) -> Path:
    """Write a journal of one epoch anew, every bar set changed by `change`: what a faulty engine leaves."""
    with Journal.open(path, readonly=True) as found, Journal.open(target) as journal:
        (epoch,) = found.epochs()
        journal.begin_epoch(epoch)
        for entry in found.entries(epoch.number):
            if isinstance(entry, SetRecord):
                journal.append_set(change(entry))
            else:
                journal.append(entry)
    return target


def with_lane(record: SetRecord, **changes: Any) -> SetRecord:
    """Return a bar set whose one lane is changed."""
    (lane,) = record.lanes
    return replace(record, lanes=(replace(lane, **changes),))


class Broker:
    """Acknowledges everything."""

    name, waiting, faults, takes_net = "fake", 0, 0, False

    def check(self, protected: Any) -> None: ...

    def message(self, intent: OrderIntent) -> Message:
        return {"quantity": intent.quantity}

    def start(self, on_result: OnResult) -> None:
        self.on_result = on_result

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self.on_result(SendResult(intent.order_id, "acknowledged", "", 1))

    def stop(self, timeout: float) -> None: ...


class Posted(desks.FakeOutside):
    """An outside that hears what the operator's scripts post."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._mailbox = Mailbox(folder)

    def commands(self) -> Sequence[Event]:
        return self._mailbox.read()

    def done(self, events: Sequence[Event]) -> None:
        self._mailbox.done(events)
