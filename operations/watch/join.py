"""The outcome join: what a journal says of each signal, one bar set after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lockstep.errors import MonitorError
from lockstep.live.events import (
    CommandRefused,
    Event,
    ModelSwapped,
    OrderRejected,
    OrderResolved,
    OrderUnknown,
    OrderWithdrawn,
)
from lockstep.live.messages import Epoch, LaneRecord, SetRecord
from lockstep.live.traded import TradedModel
from lockstep.market.config import InstrumentBook
from lockstep.market.instrument import traded_symbol
from lockstep.models.manifest import Version
from lockstep.monitoring.outcomes import SignalKey, SignalOutcome
from lockstep.strategy.decision import (
    ENTER_LONG,
    ENTRIES,
    EXIT_DAILY_LOSS,
    EXIT_HALT,
    EXIT_HANDOVER,
    NAMES,
    ORDER_WAITING,
    REFUSED,
    SIZE_ZERO,
    VETO,
)
from lockstep.strategy.matching import POSITION
from lockstep.strategy.records import ENTRY, OrderRecord

FILLS = "waits for its entry to fill"
HELD = "its position is open"
FOLLOWED = "waits for settled bars up to the end of its round trip"
# An exit for one of these reasons is not the strategy's own: what it would have earned is not known.
_FOREIGN = frozenset(NAMES[code] for code in (EXIT_HANDOVER, EXIT_HALT, EXIT_DAILY_LOSS))


@dataclass(frozen=True, kw_only=True)
class JoinedSignal:
    """A signal with where it was found. version: of the bundle; sequence: of the bar set that decided it."""

    outcome: SignalOutcome
    version: str
    epoch: int
    mode: str
    sequence: int


@dataclass(frozen=True, kw_only=True)
class LaneSession:
    """What one lane did last in one session; see the table `sessions`.

    session    ISO date; vector: raw float64, little endian, in the order of the bundle's decision ids
    probability  of the session's last signal, NaN without one; asked: signals of the session
    """

    lane: str
    session: str
    bundle: str
    stamp: int
    vector: bytes
    close: float
    equity: float
    position: float
    probability: float
    asked: int


@dataclass(frozen=True, kw_only=True)
class LaneSwap:
    """From which decision on a bundle trades a lane in one mode, UTC ns."""

    lane: str
    stamp: int
    bundle: str
    version: str
    epoch: int


@dataclass
class LaneCursor:
    """What is carried from one bar set of a lane to the next.

    bundle, mode   that decided last
    waiting, held  decision of the signal whose entry waits, or whose position is open, 0 for none
    signal_bundle  of that signal
    commission     of the entry that filled, in the account's money
    """

    bundle: str = ""
    mode: str = ""
    waiting: int = 0
    held: int = 0
    signal_bundle: str = ""
    commission: float = 0.0


@dataclass
class Joined:
    """What was read: signals by key, sessions by lane and date, swaps. Later ones replace earlier ones."""

    signals: dict[SignalKey, JoinedSignal] = field(default_factory=dict)
    sessions: dict[tuple[str, str], LaneSession] = field(default_factory=dict)
    swaps: list[LaneSwap] = field(default_factory=list)
    oddities: list[tuple[str, str]] = field(default_factory=list)


class OutcomeJoin:
    """Reads bar sets and events in the order of the journal; `joined` is what they said.

    models      every bundle that trades, by SHA-256; versions: of each of them, by SHA-256
    known, known_session   return what was read in an earlier run, by key; None: nothing
    cursors     of lanes, as an earlier run left them; told: why orders were taken back, by lane and decision
    """

    def __init__(
        self,
        models: Mapping[str, TradedModel],
        versions: Mapping[str, Version],
        book: InstrumentBook,
        *,
        known: Callable[[SignalKey], JoinedSignal | None] = lambda _: None,
        known_session: Callable[[tuple[str, str]], LaneSession | None] = lambda _: None,
        cursors: Mapping[str, LaneCursor] | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        self._models = models
        self._versions = versions
        self._book = book
        self._known = known
        self._known_session = known_session
        self._epoch = 0
        self._mode = ""
        self.cursors = dict(cursors or {})
        self.told = dict(told or {})
        self.joined = Joined()

    def begin(self, epoch: Epoch, *, first: bool) -> None:
        """Take an epoch; `first` where its first entry follows, so that what it begins with is looked at."""
        self._epoch, self._mode = epoch.number, epoch.mode
        if not first:
            return
        for lane, cursor in self.cursors.items():
            state = epoch.states.get(lane)
            why = f"epoch {epoch.number} began without it"
            if cursor.held and (state is None or not state.account[POSITION]):
                self._end(lane, cursor, "censored", why)
                cursor.held = 0
            if cursor.waiting and (state is None or state.waiting is None):
                self._ended_waiting(lane, cursor, "refused", why)

    def happened(self, event: Event) -> None:
        """Take an event that came between bar sets, or with one."""
        match event:
            case OrderRejected():
                self._tell(event, f"the broker rejected it: {event.detail}")
            case OrderUnknown():
                self._tell(event, f"state UNKNOWN: {event.detail}")
            case OrderResolved(outcome="not_placed"):
                self._tell(event, f"it was not placed: {event.reason}")
            case OrderWithdrawn():
                self._tell(event, f"withdrawn: {event.rule}")
            case ModelSwapped():
                self._swapped(event)
            case CommandRefused():
                self.joined.oddities.append(("commands", f"{event.command}: {event.error}"))
            case _:
                pass

    def take(self, row: SetRecord) -> None:
        """Take a bar set with the events that came with it."""
        for event in row.events:
            self.happened(event)
        stamp = row.release.stamp
        for record in row.lanes:
            self.cursors.setdefault(record.symbol, LaneCursor())
            # What became of earlier decisions comes first: a stop may have filled, and a new entry follow.
            for order in (each for each in record.orders if each.decision != stamp):
                self._ordered(record, order)
            self._decided(record, row)
            for order in (each for each in record.orders if each.decision == stamp):
                self._ordered(record, order)
            self._session(record, row)

    def forget(self) -> None:
        """Begin a new `joined`: what was read is kept elsewhere."""
        self.joined = Joined()

    def _tell(self, event: OrderRejected | OrderUnknown | OrderResolved | OrderWithdrawn, why: str) -> None:
        decision = event.order_id.split("-")[-3]
        self.told[f"{event.symbol} {decision}"] = why

    def _swapped(self, event: ModelSwapped) -> None:
        cursor = self.cursors.get(event.symbol)
        if cursor is None or not cursor.held:
            return
        before, after = (self._model(sha) for sha in (event.from_sha256, event.to_sha256))
        if event.policy == "adopt" and before.config != after.config:
            key = _adoption(event.symbol, cursor.held)
            self.told[key] = f"{event.to_version} adopted its position with other rules"

    def _model(self, sha: str) -> TradedModel:
        if sha not in self._models:
            raise MonitorError(f"bundle {sha[:12]}…: traded, and is not in the store; restore it")
        return self._models[sha]

    def _decided(self, record: LaneRecord, row: SetRecord) -> None:
        stamp, lane = row.release.stamp, record.symbol
        cursor = self.cursors[lane]
        version = self._versions.get(record.bundle, "")
        if (cursor.bundle, cursor.mode) != (record.bundle, self._mode):
            self.joined.swaps.append(
                LaneSwap(lane=lane, stamp=stamp, bundle=record.bundle, version=version, epoch=self._epoch)
            )
            cursor.bundle, cursor.mode = record.bundle, self._mode
        found = signal_of(record, stamp, _side(record, row))
        if found is None:
            return
        self.joined.signals[found.key] = JoinedSignal(
            outcome=found, version=version, epoch=self._epoch, mode=self._mode, sequence=row.sequence
        )
        if record.code in ENTRIES:
            cursor.waiting, cursor.signal_bundle = stamp, record.bundle

    def _ordered(self, record: LaneRecord, order: OrderRecord) -> None:
        cursor = self.cursors[record.symbol]
        if order.intent == ENTRY:
            if order.decision != cursor.waiting:
                return
            if order.status == "completed":
                self._opened(record.symbol, cursor, order)
            elif order.status == "canceled":
                self._taken_back(record.symbol, cursor, order)
        elif order.status == "completed":
            self._closed(record.symbol, cursor, order)

    def _opened(self, lane: str, cursor: LaneCursor, order: OrderRecord) -> None:
        self._change(
            lane, cursor.waiting, cursor.signal_bundle,
            state="open", reason=HELD, entry=order.stamp, quantity=order.quantity, entry_price=order.price,
        )  # fmt: skip
        cursor.held, cursor.waiting, cursor.commission = cursor.waiting, 0, order.commission

    def _taken_back(self, lane: str, cursor: LaneCursor, order: OrderRecord) -> None:
        why = self.told.pop(f"{lane} {order.decision}", "")
        superseded = why.startswith("withdrawn")
        text = why or (order.reason if order.reason.startswith("refused") else "its order was taken back")
        self._ended_waiting(lane, cursor, "censored" if superseded else "refused", text)

    def _ended_waiting(self, lane: str, cursor: LaneCursor, state: str, reason: str) -> None:
        self._change(lane, cursor.waiting, cursor.signal_bundle, state=state, reason=reason)
        cursor.waiting = 0

    def _closed(self, lane: str, cursor: LaneCursor, order: OrderRecord) -> None:
        if not cursor.held:
            self.joined.oddities.append(
                (
                    lane,
                    f"{lane}: an exit filled whose entry is not in this journal; its profit is in no outcome",
                )
            )
            return
        self.told.pop(f"{lane} {cursor.held}", None)
        adopted = self.told.pop(_adoption(lane, cursor.held), "")
        foreign = f"left for {order.reason}" if order.reason in _FOREIGN else adopted
        known = self._row(lane, cursor.held, cursor.signal_bundle)
        multiplier = self._book.market(traded_symbol(lane)).instrument.multiplier
        entered = known.outcome
        gross = (order.price - entered.entry_price) * entered.quantity * multiplier
        self._change(
            lane, cursor.held, cursor.signal_bundle,
            state="censored" if foreign else "taken", reason=foreign, exit=order.stamp,
            exit_price=order.price, pnl=gross - cursor.commission - order.commission,
        )  # fmt: skip
        cursor.held = 0

    def _end(self, lane: str, cursor: LaneCursor, state: str, reason: str) -> None:
        self._change(lane, cursor.held, cursor.signal_bundle, state=state, reason=reason)

    def _change(self, lane: str, decision: int, bundle: str, **fields: Any) -> None:
        row = self._row(lane, decision, bundle)
        self.joined.signals[SignalKey(lane, decision, bundle)] = replace(
            row, outcome=replace(row.outcome, **fields)
        )

    def _row(self, lane: str, decision: int, bundle: str) -> JoinedSignal:
        key = SignalKey(lane, decision, bundle)
        found = self.joined.signals.get(key) or self._known(key)
        if found is None:
            raise MonitorError(
                f"{lane}: the signal of {decision} is not known; rebuild the monitor's database"
            )
        return found

    def _session(self, record: LaneRecord, row: SetRecord) -> None:
        market = self._book.market(traded_symbol(record.symbol))
        frame = self._model(record.bundle).config.bars
        day = str(market.session.dates(np.array([row.release.stamp]), frame)[0])[:10]
        key = (record.symbol, day)
        before = self.joined.sessions.get(key) or self._known_session(key)
        is_asked = not math.isnan(record.probability)
        probability = record.probability if is_asked else before.probability if before else math.nan
        price, position, _, equity = record.mark
        self.joined.sessions[key] = LaneSession(
            lane=record.symbol, session=day, bundle=record.bundle, stamp=row.release.stamp,
            vector=record.vector, close=price, equity=equity, position=position, probability=probability,
            asked=(before.asked if before else 0) + is_asked,
        )  # fmt: skip


def _adoption(lane: str, decision: int) -> str:
    return f"adopted {lane} {decision}"


def signal_of(record: LaneRecord, stamp: int, side: int) -> SignalOutcome | None:
    """Return the signal of a decision as it is before its outcome; None where there is none.

    side   of the proposal that the portfolio answered, 0 where it is not known
    """
    code, asked = record.code, not math.isnan(record.probability)
    if code in ENTRIES:
        state, reason = "unsettled", FILLS
        side = 1 if code == ENTER_LONG else -1
    elif code == VETO:
        state, reason = "unsettled", FOLLOWED
    elif code >= REFUSED or code == SIZE_ZERO or (code == ORDER_WAITING and asked):
        state, reason = "refused", record.reason
    else:
        return None
    return SignalOutcome(
        lane=record.symbol, decision=stamp, bundle=record.bundle, side=side, probability=record.probability,
        state=state, reason=reason,  # type: ignore[arg-type]
    )  # fmt: skip


def _side(record: LaneRecord, row: SetRecord) -> int:
    proposals = row.settled.proposals if row.settled else ()
    return next((int(each.side) for each in proposals if each.symbol == record.symbol), 0)
