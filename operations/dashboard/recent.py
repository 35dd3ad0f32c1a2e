"""The newest entries of a journal for the desk page: short queries, each bounded by one newest sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from lockstep.errors import LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.events import EventRow, OrderEvent, RolloutMoved
from lockstep.live.journal.reader import JournalReader
from lockstep.live.journal.rows import read_event, value_of
from lockstep.live.journal.schema import select
from lockstep.live.operator.open_orders import WITHDRAWN, OrderStep, last_steps
from lockstep.live.risk.rollout import Rollout, RolloutStep, stage

SHOWN = 15
"""Rows of each table of newest things."""
_ORDERS = 500  # order events that are looked through for orders that have not ended
_BAR_ENTRIES = 500  # entries that are looked through for the newest bar of each series
_ENDED = WITHDRAWN | {"filled"}
_LANE = """
    SELECT stamp, symbol, bundle, reason, probability, mark_price, mark_position, mark_cash, mark_equity,
           entry_price, stop, target, waiting, bars_held
    FROM decisions JOIN sets USING (sequence)
    WHERE symbol = ? AND sequence >= ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1
"""
_FILLS = """
    SELECT sequence, stamp, symbol, intent, reason, quantity, price, commission, slippage
    FROM orders WHERE status = 'completed' AND sequence >= ? AND sequence <= ?
    ORDER BY sequence DESC, lane, place DESC LIMIT ?
"""
_DECISIONS = """
    SELECT sequence, stamp, symbol, bundle, code, reason, probability, mark_price, mark_position
    FROM decisions JOIN sets USING (sequence) WHERE sequence >= ? AND sequence <= ?
    ORDER BY sequence DESC, place LIMIT ?
"""
_EVENTS = """
    SELECT sequence, time, kind, symbol, content FROM events
    WHERE sequence <= ? ORDER BY sequence DESC LIMIT ?
"""

Record = Mapping[str, Any]
_LANE_NAMES = (
    "stamp", "reason", "probability", "mark_price", "mark_cash", "mark_equity", "entry_price", "stop",
    "target", "waiting",
)  # fmt: skip
_NEVER: Record = dict.fromkeys(_LANE_NAMES) | {"bundle": "", "mark_position": 0.0, "bars_held": 0}


@dataclass(frozen=True, kw_only=True)
class RecentEntries:
    """The end of a journal; stamps UTC ns, USD, signed contracts, None for NaN.

    epoch      number, mode, reason, started and first entry of the newest epoch; None in a new journal
    last       sequence that bounds all of this
    sets       whether the epoch has a bar set
    lanes      newest decision of each lane of the epoch, as it was at the start where it has none
    working    orders that left the house and have not ended, by order id
    fills, decisions, events   the newest ones, newest first
    last_bars  end of the newest bar by series, of those that came lately
    rollout    the recorded stage in words
    """

    epoch: Record | None
    last: int
    sets: bool
    lanes: tuple[Record, ...]
    working: Mapping[str, OrderStep]
    fills: tuple[Record, ...]
    decisions: tuple[Record, ...]
    events: tuple[Record, ...]
    last_bars: Mapping[str, int]
    rollout: str


def read_recent(journal: JournalReader, live: LiveConfig) -> RecentEntries:
    """Return the end of a desk's journal; JournalError where it cannot be read."""
    epochs = journal.records(
        "SELECT number, mode, reason, started, first FROM epochs ORDER BY number DESC LIMIT 1"
    )
    epoch = epochs[0] if epochs else None
    last = journal.select("SELECT max(sequence) FROM entries")[0][0] or 0
    first = epoch["first"] if epoch else 1
    return RecentEntries(
        epoch=epoch,
        last=last,
        sets=bool(journal.select("SELECT 1 FROM sets WHERE sequence BETWEEN ? AND ? LIMIT 1", first, last)),
        lanes=_lanes(journal, [each.symbol for each in live.instruments], epoch, last) if epoch else (),
        working=_working(journal, first, last),
        fills=tuple(journal.records(_FILLS, 1, last, SHOWN)),
        decisions=tuple(journal.records(_DECISIONS, first, last, SHOWN)),
        events=tuple(
            {**row, "content": value_of(row["content"])} for row in journal.records(_EVENTS, last, SHOWN)
        ),
        last_bars=_last_bars(journal, last),
        rollout=_rollout(journal, live.rollout),
    )


def _lanes(journal: JournalReader, traded: Sequence[str], epoch: Record, last: int) -> tuple[Record, ...]:
    """Return where the lanes of an epoch are, and those that are configured and were never in it."""
    begun = {
        row["symbol"]: row
        for row in journal.records(
            "SELECT symbol, position AS mark_position, cash AS mark_cash, cash AS mark_equity, entry_price,"
            " stop, target, waiting, bars_held FROM states WHERE epoch = ?",
            epoch["number"],
        )
    }
    found = []
    for symbol in sorted({*begun, *traded}):
        decided = journal.records(_LANE, symbol, epoch["first"], last)
        row = decided[0] if decided else {**_NEVER, "symbol": symbol, **begun.get(symbol, {})}
        found.append({**row, "waiting": row["waiting"] and value_of(row["waiting"])})
    return tuple(found)


def _working(journal: JournalReader, first: int, last: int) -> Mapping[str, OrderStep]:
    kinds: tuple[type[EventRow], ...] = get_args(OrderEvent)
    marks = ", ".join("?" * len(kinds))
    rows = journal.select(
        select(
            "events",
            f"WHERE sequence >= ? AND sequence <= ? AND kind IN ({marks}) ORDER BY sequence DESC LIMIT ?",
        ),
        first, last, *(each.kind for each in kinds), _ORDERS,
    )  # fmt: skip
    steps = last_steps(map(read_event, reversed(rows)))
    return {order: step for order, step in steps.items() if step.state not in _ENDED}


def _last_bars(journal: JournalReader, last: int) -> Mapping[str, int]:
    rows = journal.select(
        "SELECT symbol || ':' || timeframe AS series, max(end) FROM bars"
        " WHERE sequence > ? AND sequence <= ? GROUP BY series ORDER BY series",
        last - _BAR_ENTRIES,
        last,
    )
    return dict(rows)


def _rollout(journal: JournalReader, rollout: Rollout) -> str:
    steps = [RolloutStep.of(each) for each in journal.events(RolloutMoved)]
    try:
        index, present = stage(rollout, steps)
    except LiveError as error:
        return str(error)
    return f"stage {index + 1} of {len(rollout.stages)}: {present.spelled}"
