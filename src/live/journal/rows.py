"""Messages as rows of the journal and back: what is read equals what was written, bit for bit.

Plain JSON as text: what is read back equals what was written, NaN and infinities included.

Those are spelled NaN and Infinity, as Python's json reads them; strict JSON has no word for them.
"""

from __future__ import annotations

import functools
import json
import marshal
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from lockstep.errors import JournalError
from lockstep.live.codec import content_of, event_of
from lockstep.live.events import Event
from lockstep.live.journal.chain import Row
from lockstep.live.messages import (
    Arrival,
    Epoch,
    EpochPortfolio,
    Irregularity,
    LaneRecord,
    LaneState,
    Release,
    SetRecord,
    Values,
)
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.portfolio.state import CoordinatorState, LaneRoom, ProposalRecord, SettledSet
from lockstep.strategy.lane import WaitingOrder
from lockstep.strategy.matching import Account
from lockstep.strategy.records import OrderRecord

_encode = json.JSONEncoder(separators=(",", ":")).encode
_LEAVES = (str, int, float, type(None))


def text_of(value: object, where: str) -> str:
    """Return plain JSON as text; JournalError naming the place where a value is not plain JSON."""
    _require_plain(value, where)
    return _encode(value)


def value_of(text: str) -> Any:
    """Return what `text_of` was given."""
    return json.loads(text)


def _require_plain(value: object, where: str) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise JournalError(f"{where}: the key {name!r} is no text; the journal keeps plain JSON")
            _require_plain(each, f"{where}.{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _require_plain(each, f"{where}[{number}]")
    elif not isinstance(value, _LEAVES):
        kind = type(value).__name__
        raise JournalError(
            f"{where}: {value!r} is a {kind}; the journal keeps plain JSON: dict, list, str, int, float, None"
        )


FIRST = 4
"""Column of an epoch that holds the sequence of its first entry."""


class SetRows(NamedTuple):
    """The rows of one bar set, by table, without its events; columns as in `schema.COLUMNS`."""

    head: Row
    bars: Sequence[Row]
    irregularities: Sequence[Row]
    decisions: Sequence[Row]
    orders: Sequence[Row]
    settlements: Sequence[Row] = ()
    proposals: Sequence[Row] = ()

    @property
    def hashed(self) -> Row:
        """What the hash is made of: without a portfolio what it was before there were any."""
        return tuple(self) if self.settlements else tuple(self[:-2])


class EpochRows(NamedTuple):
    """The rows of the start of an epoch; `head` without the hash."""

    head: Row
    warmup: Sequence[Row]
    states: Sequence[Row]
    coordinators: Sequence[Row] = ()

    @property
    def hashed(self) -> Row:
        """See `SetRows.hashed`."""
        return tuple(self) if self.coordinators else tuple(self[:-1])


_PLAIN = slice(2, -3)
"""Columns of a decision that are stored as they are: all but places, waiting order, open trade, bars held."""
_BY_VALUE = 2
"""The newest version of marshal that does not spell which objects are shared."""
_ROOM = tuple(LaneRoom.__dataclass_fields__)


class StoredSet:
    """A bar set as it is stored: its bars and events are read, its lanes only where they are asked for.

    decode   returns the whole set; JournalError where its rows cannot be understood
    """

    def __init__(self, rows: SetRows, events: Iterable[Row], decode: Callable[[], SetRecord]) -> None:
        self._rows = rows
        self._decode = decode
        self.release = _release(rows)
        self.events = tuple(map(read_event, events))

    def tells(self, record: SetRecord) -> bool:
        """Return whether the stored lanes, and what the portfolio decided, are these, in every bit.

        False may also mean that the same is spelled in another way, for example by an older version.
        """
        told = (
            list(map(_told, record.lanes)),
            [
                (number, place, *_order_row(order))
                for number, lane in enumerate(record.lanes)
                for place, order in enumerate(lane.orders)
            ],
            *settled_rows(self._rows.head[0], record.settled),
        )
        try:
            stored = (
                [(row[_PLAIN], _said(row[-3]), _said(row[-2]), row[-1]) for row in self._rows.decisions],
                [row[1:] for row in self._rows.orders],
                list(self._rows.settlements),
                list(self._rows.proposals),
            )
            # Equal bytes mean equal values: floats are spelled bit by bit and apart from whole numbers.
            return marshal.dumps(stored, _BY_VALUE) == marshal.dumps(told, _BY_VALUE)
        except ValueError:
            return False

    @property
    def record(self) -> SetRecord:
        """The whole set."""
        return self._decode()


def stored_set(record: SetRecord) -> StoredSet:
    """Return a bar set as a journal would store it."""
    sequence = record.sequence
    events = [event_row(number, sequence, each) for number, each in enumerate(record.events, sequence + 1)]
    return StoredSet(set_rows(sequence, record), events, lambda: record)


def _told(lane: LaneRecord) -> Row:
    """Return what a row says of a lane, the texts of its state not yet written."""
    waiting, trade = lane.state.waiting, lane.state.trade
    return (
        _plain_row(lane),
        None if waiting is None else _waiting_fields(waiting),
        trade,
        lane.state.bars_held,
    )


@functools.lru_cache(maxsize=64)
def _said(text: str | None) -> Any:
    """Return what a text of a state spells; a bar mostly repeats the open trade of the one before."""
    return None if text is None else value_of(text)


def set_rows(sequence: int, record: SetRecord) -> SetRows:
    """Return the rows of a bar set."""
    release = record.release
    settlements, proposals = settled_rows(sequence, record.settled)
    return SetRows(
        head=(sequence, release.stamp),
        bars=_bar_rows(sequence, release),
        irregularities=[
            (sequence, place, *_irregularity_row(each)) for place, each in enumerate(release.irregularities)
        ],
        decisions=[(sequence, place, *_lane_row(lane)) for place, lane in enumerate(record.lanes)],
        orders=[
            (sequence, number, place, *_order_row(order))
            for number, lane in enumerate(record.lanes)
            for place, order in enumerate(lane.orders)
        ],
        settlements=settlements,
        proposals=proposals,
    )


def read_set(rows: SetRows, events: Iterable[Row]) -> SetRecord:
    """Return the bar set that `set_rows` and `event_row` were given, with its sequence."""
    orders: dict[int, list[OrderRecord]] = {}
    for row in rows.orders:
        orders.setdefault(row[1], []).append(_order(row[3:]))
    return SetRecord(
        release=_release(rows),
        lanes=tuple(_lane(row[2:], orders.get(row[1], ())) for row in rows.decisions),
        events=tuple(read_event(row) for row in events),
        settled=_settled(rows),
        sequence=rows.head[0],
    )


def settled_rows(sequence: int, settled: SettledSet | None) -> tuple[list[Row], list[Row]]:
    """Return the rows of what a portfolio decided in a set: its state, and its proposals by rank."""
    if settled is None:
        return [], []
    return [(sequence, *_coordinator_row(settled.state))], [
        (sequence, place, each.symbol, *_numbers((each.side, each.base, each.scale, each.quantity)),
         each.rule, _number(each.margin))
        for place, each in enumerate(settled.proposals)
    ]  # fmt: skip


def _settled(rows: SetRows) -> SettledSet | None:
    if not rows.settlements:
        return None
    state = _coordinator(rows.settlements[0][1:])
    proposals = []
    for row in rows.proposals:
        side, base, scale, quantity, margin = numbers((*row[3:7], row[8]))
        proposals.append(
            ProposalRecord(
                symbol=row[2], stamp=state.stamp, place=row[1], side=side, base=base, scale=scale,
                quantity=quantity, rule=row[7], margin=margin, equity=state.equity,
            )
        )  # fmt: skip
    return SettledSet(state=state, proposals=tuple(proposals))


def _coordinator_row(state: CoordinatorState) -> Row:
    where = "state of the coordinator"
    peaks = text_of([[day, high] for day, high in state.peaks], where)
    lanes = text_of([[*vars(each).values()] for each in state.lanes], where)
    return (
        state.stamp, state.day, *_numbers((state.baseline, state.equity, state.high)), state.tier,
        _number(state.drawdown), int(state.stopped), int(state.halted), _number(state.reserve), peaks, lanes,
    )  # fmt: skip


def _coordinator(row: Row) -> CoordinatorState:
    stamp, day, baseline, equity, high, tier, drawdown, stopped, halted, reserve, peaks, lanes = row
    baseline, equity, high, drawdown, reserve = numbers((baseline, equity, high, drawdown, reserve))
    return CoordinatorState(
        stamp=stamp, day=day, baseline=baseline, equity=equity, high=high, tier=tier, drawdown=drawdown,
        stopped=bool(stopped), halted=bool(halted), reserve=reserve,
        peaks=tuple((when, each) for when, each in value_of(peaks)),
        lanes=tuple(LaneRoom(**dict(zip(_ROOM, each, strict=True))) for each in value_of(lanes)),
    )  # fmt: skip


def event_row(sequence: int, in_set: int | None, event: Event) -> Row:
    """Return the row of an event; `in_set` is the sequence of the bar set that it came with."""
    content = text_of(content_of(event), f"event {event.kind}")
    return (sequence, in_set, event.kind, event.symbol, event.time, content)


def read_event(row: Row) -> Event:
    """Return the event that `event_row` was given, with its sequence."""
    sequence, _, kind, symbol, time, content = row
    return event_of(kind, value_of(content), symbol=symbol, time=time, sequence=sequence)


def epoch_rows(number: int, first: int, epoch: Epoch) -> EpochRows:
    """Return the rows of an epoch that has `number` and whose first entry will be `first`."""
    hashes = text_of(dict(epoch.hashes), "hashes of the epoch")
    bundles = text_of(dict(epoch.bundles), "bundles of the epoch")
    series = text_of([list(_series(key)) for key in epoch.warmup], "series of the epoch")
    warmup = [
        (number, *_series(key), end, *_numbers(values))
        for key, bars in epoch.warmup.items()
        for end, values in bars
    ]
    return EpochRows(
        head=(number, epoch.mode, epoch.reason, epoch.started, first, hashes, bundles, series),
        # In the order of the primary key, in which they are read and hashed.
        warmup=sorted(warmup, key=lambda row: row[:4]),
        states=[(number, symbol, *_state_row(state)) for symbol, state in sorted(epoch.states.items())],
        coordinators=[
            (number, text_of(dict(each.content), "portfolio of the epoch"), *_coordinator_row(each.state))
            for each in ([epoch.portfolio] if epoch.portfolio else [])
        ],
    )


def read_epoch(rows: EpochRows) -> Epoch:
    """Return the epoch that `epoch_rows` was given, with its number."""
    number, mode, reason, started, _, hashes, bundles, series = rows.head
    warmup: dict[SeriesKey, list[tuple[int, Values]]] = {series_key(*names): [] for names in value_of(series)}
    for row in rows.warmup:
        warmup[series_key(row[1], row[2])].append((row[3], numbers(row[4:])))
    return Epoch(
        number=number,
        mode=mode,
        reason=reason,
        started=started,
        hashes=value_of(hashes),
        bundles=value_of(bundles),
        warmup={key: tuple(bars) for key, bars in warmup.items()},
        states={row[1]: read_state(row[2:]) for row in rows.states},
        portfolio=next(
            (EpochPortfolio(value_of(row[1]), _coordinator(row[2:])) for row in rows.coordinators), None
        ),
    )


@functools.cache
def series_key(symbol: str, timeframe: str) -> SeriesKey:
    """Return the key of a series as its columns name it."""
    return SeriesKey(symbol, Timeframe.parse(timeframe))


def numbers(stored: Sequence[float | None]) -> Values:
    """Return stored numbers as floats, NULL as NaN."""
    return tuple([math.nan if value is None else value for value in stored])


def _series(key: SeriesKey) -> tuple[str, str]:
    return key.symbol, str(key.timeframe)


def _number(value: float) -> float | None:
    return float(value) if value == value else None


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [float(value) if value == value else None for value in values]


def _bar_rows(sequence: int, release: Release) -> list[Row]:
    """Return the bars of the set, then those that came late, which alone say when they came."""
    rows: list[Row] = [
        (sequence, place, *_series(key), release.stamp, *_numbers(values), None, None)
        for place, (key, values) in enumerate(release.bars.items())
    ]
    for place, (key, end, values, received, origin) in enumerate(release.late, start=len(rows)):
        rows.append((sequence, place, *_series(key), end, *_numbers(values), received, origin))
    return rows


def _release(rows: SetRows) -> Release:
    bars: dict[SeriesKey, Values] = {}
    late = []
    for row in rows.bars:
        key, end, values, received, origin = series_key(row[2], row[3]), row[4], numbers(row[5:10]), *row[10:]
        if received is None:
            bars[key] = values
        else:
            late.append(Arrival(key, end, values, received, origin))
    return Release(
        stamp=rows.head[1],
        bars=bars,
        late=tuple(late),
        irregularities=tuple(_irregularity(row[2:]) for row in rows.irregularities),
    )


def _irregularity_row(each: Irregularity) -> Row:
    bar = None if each.values is None else text_of(list(map(float, each.values)), each.kind)
    return (each.kind, *_series(each.key), each.end, bar, each.detail)


def _irregularity(row: Row) -> Irregularity:
    kind, symbol, timeframe, end, bar, detail = row
    values = None if bar is None else tuple(value_of(bar))
    return Irregularity(kind, series_key(symbol, timeframe), end, values, detail)


def _lane_row(lane: LaneRecord) -> Row:
    return (*_plain_row(lane), *_texts(lane.state), lane.state.bars_held)


def _plain_row(lane: LaneRecord) -> Row:
    return (
        lane.symbol,
        lane.bundle,
        lane.vector,
        _number(lane.probability),
        lane.code,
        lane.reason,
        *_numbers((*lane.mark, *lane.state.account)),
    )


def _lane(row: Row, orders: Iterable[OrderRecord]) -> LaneRecord:
    symbol, bundle, vector, probability, code, reason, price, position, cash, equity = row[:10]
    return LaneRecord(
        symbol=symbol,
        bundle=bundle,
        vector=vector,
        probability=math.nan if probability is None else probability,
        code=code,
        reason=reason,
        orders=tuple(orders),
        mark=cast(tuple[float, float, float, float], numbers((price, position, cash, equity))),
        state=read_state(row[10:]),
    )


def _state_row(state: LaneState) -> Row:
    return (*_numbers(state.account), *_texts(state), state.bars_held)


def _texts(state: LaneState) -> tuple[str | None, str | None]:
    """Return the waiting order and the open trade as text."""
    waiting, trade = state.waiting, state.trade
    return (
        None if waiting is None else text_of(_waiting_fields(waiting), "waiting order"),
        None if trade is None else text_of(dict(trade), "open trade"),
    )


def _waiting_fields(waiting: WaitingOrder) -> dict[str, Any]:
    return {**vars(waiting), "terms": list(waiting.terms)}


def read_state(row: Row) -> LaneState:
    """Return the state of a lane from its eight columns."""
    *account, waiting, trade, bars_held = row
    order = None
    if waiting is not None:
        fields = value_of(waiting)
        order = WaitingOrder(**{**fields, "terms": tuple(fields["terms"])})
    return LaneState(
        account=cast(Account, numbers(account)),
        waiting=order,
        trade=None if trade is None else value_of(trade),
        bars_held=bars_held,
    )


def _order_row(order: OrderRecord) -> Row:
    return (
        order.symbol,
        order.reference,
        order.decision,
        order.intent,
        order.reason,
        order.status,
        order.stamp,
        *_numbers((order.quantity, order.price, order.commission, order.slippage)),
    )


def _order(row: Row) -> OrderRecord:
    symbol, reference, decision, intent, reason, status, stamp, *amounts = row
    quantity, price, commission, slippage = numbers(amounts)
    return OrderRecord(
        symbol=symbol,
        reference=reference,
        decision=decision,
        intent=intent,
        reason=reason,
        status=status,
        stamp=stamp,
        quantity=quantity,
        price=price,
        commission=commission,
        slippage=slippage,
    )
