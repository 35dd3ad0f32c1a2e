"""Journals and their content, made up; and equality of messages to the last bit."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.live.events import Event
from lockstep.live.journal import schema
from lockstep.live.messages import (
    Arrival,
    Epoch,
    Irregularity,
    LaneRecord,
    LaneState,
    Release,
    SetRecord,
    Values,
)
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.portfolio.state import CoordinatorState, LaneRoom, ProposalRecord, SettledSet
from lockstep.strategy.lane import WaitingOrder
from lockstep.strategy.records import OrderRecord
from support.events import an_event

HOUR = 3_600_000_000_000
START = 1_700_000_400_000_000_000
SYMBOLS = ("ES", "NQ", "GC", "CL")
HOURLY = Timeframe(60)
FLAT = LaneState(account=(0.0, math.nan, math.nan, math.nan, 100_000.0))


def key(symbol: str, timeframe: Timeframe = HOURLY) -> SeriesKey:
    return SeriesKey(symbol, timeframe)


def bar(number: int) -> Values:
    """Return a bar that is another one for every number."""
    base = 5000.0 + 0.25 * (number % 400)
    return (base, base + 2.5, base - 1.75, base + 0.1 + number / 7, 1000.0 + number)


def epoch(*, symbols: tuple[str, ...] = SYMBOLS, warm: int = 3, **changes: Any) -> Epoch:
    """Return an epoch with flat accounts and `warm` bars of each series before START."""
    ends = [START - HOUR * each for each in range(warm, 0, -1)]
    content: dict[str, Any] = {
        "number": 0,
        "mode": "paper",
        "reason": "first",
        "started": START,
        "hashes": {"code": "c" * 64, "config": "d" * 64},
        "bundles": dict.fromkeys(symbols, "b" * 64),
        "warmup": {key(each): tuple((end, bar(end // HOUR)) for end in ends) for each in symbols},
        "states": dict.fromkeys(symbols, FLAT),
    }
    return Epoch(**{**content, **changes})


def order(symbol: str, number: int, **changes: Any) -> OrderRecord:
    content: dict[str, Any] = {
        "symbol": symbol,
        "reference": 0,
        "decision": START + HOUR * number,
        "intent": "entry",
        "reason": "long",
        "status": "accepted",
        "stamp": START + HOUR * number,
        "quantity": 2.0,
        "price": math.nan,
        "commission": 0.0,
        "slippage": 0.0,
    }
    return OrderRecord(**{**content, **changes})


def lane(symbol: str, number: int, *, features: int = 40, **changes: Any) -> LaneRecord:
    """Return what a lane did at its set `number`: every eighth waits for an entry, every third holds."""
    vector = [math.sin(number + each) for each in range(features)]
    close = bar(number)[3]
    waits, holds = number % 8 == 0, number % 8 in (1, 2, 3)
    waiting = WaitingOrder(
        terms=(2.0, 0.01, math.nan, math.nan, 40.0),
        decision=START + HOUR * number,
        intent="entry",
        reason="long",
        probability=0.61,
        order_id=f"1-paper-{symbol}-{START + HOUR * number}-entry-1",
    )
    trade = {"symbol": symbol, "decision": START, "quantity": 2.0, "probability": math.nan}
    position = 2.0 if holds else 0.0
    account = (position, close - 3.0, close - 50.0, math.nan, 100_012.5) if holds else FLAT.account
    content: dict[str, Any] = {
        "symbol": symbol,
        "bundle": "b" * 64,
        "vector": struct.pack(f"<{features}d", *vector),
        "probability": 0.61 if waits else math.nan,
        "code": 7,
        "reason": "hold" if holds else "filter rsi_2",
        "orders": (order(symbol, number),) if waits else (),
        "mark": (close, position, 100_012.5, 100_012.5 + 0.1 * number),
        "state": LaneState(
            account=account,
            waiting=waiting if waits else None,
            trade=trade if holds else None,
            bars_held=number % 8 if holds else 0,
        ),
    }
    return LaneRecord(**{**content, **changes})


def bar_set(
    number: int, *, symbols: tuple[str, ...] = SYMBOLS, features: int = 40, events: tuple[Event, ...] = ()
) -> SetRecord:
    """Return the bar set `number` hours after START with one lane per symbol."""
    stamp = START + HOUR * number
    return SetRecord(
        release=Release(stamp=stamp, bars={key(each): bar(number) for each in symbols}),
        lanes=tuple(lane(each, number, features=features) for each in symbols),
        events=events,
    )


def settled_set(number: int) -> SetRecord:
    """Return a bar set of a portfolio, with an admitted and a refused proposal and numbers of every kind."""
    plain = bar_set(number, symbols=("ES", "NQ"), features=3)
    stamp = plain.release.stamp
    lanes = (
        LaneRoom(symbol="ES", close=5_000.25, risk=math.nan, room=2.0, leaving=False),
        LaneRoom(symbol="NQ", close=math.nan, risk=0.1 + 0.2, room=-0.0, leaving=True),
    )
    state = CoordinatorState(
        stamp=stamp, day=19_000 + number, baseline=1e5 / 3.0, equity=1e5 / 7.0, high=-math.inf, tier=1,
        drawdown=0.1 * number, stopped=True, halted=False, reserve=-0.1,
        peaks=((18_999, 1e5 + 0.1), (19_000, 1e5)), lanes=lanes,
    )  # fmt: skip
    first = ProposalRecord(
        symbol="NQ",
        stamp=stamp,
        place=0,
        side=-1.0,
        base=3.0,
        scale=0.5,
        quantity=-1.0,
        rule="",
        margin=math.nan,
        equity=state.equity,
    )
    second = dataclasses.replace(first, symbol="ES", place=1, quantity=0.0, rule="gross", margin=0.1)
    return dataclasses.replace(plain, settled=SettledSet(state=state, proposals=(first, second)))


def irregular_set(number: int) -> SetRecord:
    """Return a bar set with a late bar, irregularities, and events of its own."""
    plain = bar_set(number, symbols=("ES", "NQ"), features=3)
    late = Arrival(key("ES", DAILY), START - HOUR, bar(1), START + 5, "tail")
    bad = (1.0, math.nan, -0.0, math.inf, 0.0)
    odd = (
        Irregularity("late", key("ES", DAILY), START - HOUR, bar(1), "its set went without it"),
        Irregularity("missing", key("GC"), plain.release.stamp, None, ""),
        Irregularity("bad", key("CL"), plain.release.stamp, bad, "low > high"),
    )
    release = dataclasses.replace(plain.release, late=(late,), irregularities=odd)
    refusal = an_event("refusal", symbol="ES", time=START, content={"order_id": "x", "rule": "kill switch"})
    return dataclasses.replace(plain, release=release, events=(refusal, an_event("stop")))


def exactly(value: object) -> object:
    """Return a value in which equal means equal to the last bit, all NaNs alike; sequences do not count."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {each.name: exactly(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return type(value).__name__, told | ({"sequence": 0} if "sequence" in told else {})
    if isinstance(value, Mapping):
        return {name: exactly(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value).__name__, [exactly(each) for each in value]
    if isinstance(value, float):
        return "nan" if value != value else value.hex()
    return value


def tampered(path: Path, *statements: str) -> None:
    """Change a journal as nobody should."""
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA foreign_keys = OFF")
        for table in schema.COLUMNS:
            for verb in ("UPDATE", "DELETE"):
                other.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
        for statement in statements:
            assert other.execute(statement).rowcount != 0
    other.close()
