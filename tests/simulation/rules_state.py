"""Invariants about what the desk holds: positions, equity, replay, bars, secrets, and that it goes on."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lockstep.errors import ConfigError, JournalError, ModelError, ReplayMismatch
from lockstep.live.codec import content_of
from lockstep.live.events import BarIrregular, BarJudged, Event, FillReported
from lockstep.live.journal import Journal
from lockstep.live.messages import Arrival, LaneRecord, Release, SetRecord, Values
from lockstep.monitoring.alerts import Alert
from lockstep.strategy.matching import POSITION
from lockstep.strategy.records import OrderRecord
from simulation.broker import SECRET
from simulation.facts import Facts, Order
from simulation.incidents import VOLUME
from simulation.invariants import Invariant
from simulation.ledger import Books, differs
from simulation.life import iso, stamp
from simulation.run import Run
from simulation.venues import SECOND

_ACCOUNTED_WITHIN = 120 * SECOND
_TOLD_WITHIN = 301 * SECOND
_TOLD = frozenset(("unknown", "rejected", "withdrawn", "bad_command", "swap_pending", "unreconciled"))
Brought = tuple[str, int, Values]


class Positions(Invariant):
    name = "position is booked fills"
    sentence = "a position is the sum of its fills, each of which is journaled and booked once"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._held: dict[str, float] = {}
        self._told: dict[str, list[tuple[float, float]]] = {}
        self._ids: set[str] = set()

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for lane in entry.lanes:
                self._lane(lane)
        elif isinstance(entry, FillReported):
            if entry.fill_id in self._ids:
                self.fail(f"fill {entry.fill_id} is journaled a second time")
            self._ids.add(entry.fill_id)
            self._told.setdefault(entry.symbol, []).append((entry.quantity, entry.price))

    def _lane(self, lane: LaneRecord) -> None:
        for order in lane.orders:
            if order.status == "completed":
                self._completed(lane.symbol, order)
        if self._told.get(lane.symbol):
            self.fail(f"{lane.symbol}: the reported fills {self._told[lane.symbol]} are not booked")
        held = self._held.get(lane.symbol, 0.0)
        if lane.state.account[POSITION] != held or lane.mark[1] != held:
            self.fail(f"{lane.symbol} holds {lane.state.account[POSITION]:+g}, its fills are {held:+g}")

    def _completed(self, symbol: str, order: OrderRecord) -> None:
        self._held[symbol] = self._held.get(symbol, 0.0) + order.quantity
        if self.facts.mode != "live":
            return
        told = self._told.get(symbol, [])
        if not told or told.pop(0) != (order.quantity, order.price):
            self.fail(f"{symbol}: {order.quantity:+g} at {order.price:.10g} is booked and was not reported")


class Equity(Invariant):
    name = "equity to the cent"
    sentence = "cash and equity are what an independent ledger makes of fills, costs and multipliers"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._books = Books()

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for lane in entry.lanes:
                self._lane(lane, entry)

    def _lane(self, lane: LaneRecord, record: SetRecord) -> None:
        instrument = self.facts.venues[lane.symbol].market.instrument
        ledger = self._books.open(lane.symbol, self.facts.capital(lane.symbol), instrument.multiplier)
        for order in lane.orders:
            if order.status == "completed":
                ledger.fill(order.quantity, order.price, self._fee(lane.symbol, order))
                self._require_price(order, record)
        price, _, cash, equity = lane.mark
        if differs(ledger.equity(price), equity):
            self.fail(f"{lane.symbol}: equity {equity:.4f}, by its fills {float(ledger.equity(price)):.4f}")
        if ledger.realised is not None and differs(ledger.realised, cash):
            self.fail(f"{lane.symbol}: cash {cash:.4f}, by its fills {float(ledger.realised):.4f}")

    def _fee(self, symbol: str, order: OrderRecord) -> float:
        """Return what the fill costs by the instrument's terms, or as it was reported."""
        if self.facts.mode == "live":
            return order.commission
        terms = self.facts.venues[symbol].market.instrument
        value = abs(order.quantity * order.price) * terms.multiplier
        usual = terms.commission * abs(order.quantity) + terms.commission_basis_points / 10_000 * value
        return max(usual, terms.commission_minimum)

    def _require_price(self, order: OrderRecord, record: SetRecord) -> None:
        """In a simulation a market order pays the open and the slippage; no other fill is outside the bar."""
        if self.facts.mode == "live":
            return
        key = self.facts.series[order.symbol]
        opened, high, low, *_ = record.release.bars[key]
        instrument = self.facts.venues[order.symbol].market.instrument
        slippage = instrument.slippage_ticks * instrument.tick_size
        side = 1.0 if order.quantity > 0.0 else -1.0
        grain = instrument.tick_size / 1_000
        if order.intent in ("entry", "exit"):
            if abs(order.price - (opened + side * slippage)) > grain:
                self.fail(f"{order.symbol}: filled at {order.price:.10g}, the bar opened at {opened:.10g}")
        elif not low - slippage - grain <= order.price <= high + slippage + grain:
            self.fail(
                f"{order.symbol}: {order.intent} at {order.price:.10g}, outside {low:.10g} to {high:.10g}"
            )


class Replays(Invariant):
    name = "what is journaled replays"
    sentence = "a restart reproduces the journal, and stands where the engine before it stood"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._fresh = False

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord) or entry.kind != "start":
            return
        self._fresh = True
        if entry.replayed != self.facts.sets:
            self.fail(f"{entry.replayed} sets are replayed, {self.facts.sets} are journaled")

    def idle(self) -> None:
        if not self._fresh or self.facts.run is None or self.facts.run.engine is None:
            return
        self._fresh = False
        for symbol, strategy in self.facts.run.engine.strategies.items():
            recorded, state = self.facts.states.get(symbol), strategy.state
            if recorded is None:
                continue
            before = (recorded.account, recorded.trade, recorded.bars_held)
            after = (state.account, state.trade, state.bars_held)
            if self.facts.shown[symbol] and repr(before) != repr(after):
                self.fail(f"{symbol} stands at {after} after a restart, journaled is {before}")
            if state.account[POSITION] != self.facts.held[symbol]:
                held = self.facts.held[symbol]
                self.fail(f"{symbol} holds {state.account[POSITION]:+g} after a restart, not {held:+g}")

    def ended(self, run: Run, how: str) -> None:
        self._fresh = False
        if isinstance(run.error, ReplayMismatch):
            self.fail(str(run.error))

    def finished(self) -> None:
        run = self.facts.run
        if run is None:
            return
        with Journal.open(run.world.journal_path, readonly=True) as journal:
            found = journal.verify()
        if found:
            self.fail(f"the journal is not whole: {found[0]}")


class GoesOn(Invariant):
    name = "goes on"
    sentence = "the engine ends only when it is told to, is killed, or the disk is full"

    def ended(self, run: Run, how: str) -> None:
        if run.error is None or isinstance(run.error, ReplayMismatch):
            return
        full = isinstance(run.error, JournalError) and run.world.disk is not None
        unsent = isinstance(run.error, ConfigError) and str(run.error).startswith("roll-out: stage 1 ")
        unloaded = isinstance(run.error, ModelError) and run.epoch is None
        if not (full or unsent or unloaded):
            self.fail(f"{type(run.error).__name__} in {_place(run.error)}: {run.error}")


def _place(error: Exception) -> str:
    """Return the function that raised, as `module.function`."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(innermost.filename).stem}.{innermost.name}"


class BarsAccounted(Invariant):
    name = "every bar accounted for"
    sentence = "every bar ends in one release or one irregularity; late and accepted ones in both"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._open: Counter[Brought] = Counter()
        self._since: dict[Brought, int] = {}
        self._late: Counter[Brought] = Counter()
        self._quarantined: dict[Brought, None] = {}
        self._accepted: dict[str, int] = {}

    def begun(self, run: Run) -> None:
        self._open.clear()
        self._since.clear()
        self._late.clear()

    def offered(self, arrival: Arrival) -> None:
        what = (str(arrival.key), arrival.end, arrival.values)
        self._open[what] += 1
        self._since[what] = self.facts.now

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            self._released(entry.release)
        elif isinstance(entry, BarIrregular) and entry.values is not None:
            self._ends(entry.problem, (entry.key, entry.end, entry.values))
        elif isinstance(entry, BarJudged) and entry.decision == "accept":
            series, end = entry.key, entry.end
            self._accepted[series] = min(end, self._accepted.get(series, end))

    def _released(self, release: Release) -> None:
        for each in release.irregularities:
            if each.values is not None:
                self._ends(each.kind, (str(each.key), each.end, each.values))
        for late in release.late:
            what = (str(late.key), late.end, late.values)
            if self._late[what]:
                self._late[what] -= 1
            else:
                self._by_decision("comes late", what)
        for key, values in release.bars.items():
            what = (str(key), release.stamp, values)
            if self._is_accepted(what) or not self._open[what]:
                self._by_decision("is released", what)
            else:
                self._ends("released", what)

    def _is_accepted(self, what: Brought) -> bool:
        series, end, _ = what
        return what in self._quarantined and end >= self._accepted.get(series, end + 1)

    def _by_decision(self, how: str, what: Brought) -> None:
        """A bar that comes without having been brought was quarantined, and the operator accepted it."""
        if not self._is_accepted(what):
            series, end, values = what
            self.fail(f"the bar {series} {iso(end)} {values} {how} once more than it came")
        del self._quarantined[what]

    def _ends(self, how: str, what: Brought) -> None:
        if how == "outside":
            return
        self._open[what] -= 1
        if self._open[what] < 0:
            series, end, values = what
            self.fail(f"the bar {series} {iso(end)} {values} is {how} once more than it came")
        if how == "late":
            self._late[what] += 1
        elif how == "implausible":
            self._quarantined[what] = None

    def idle(self) -> None:
        now, patience = self.facts.now, _ACCOUNTED_WITHIN + 3 * int(self.facts.life.desk.grace * SECOND)
        for (series, end, values), count in self._open.items():
            if count and now - self._since[series, end, values] > patience:
                self.fail(f"the bar {series} {iso(end)} {values} came, and is neither released nor reported")


class OnCalendar(Invariant):
    name = "decides on scheduled bars"
    sentence = "a bar that the calendar does not have triggers no order, unless the operator says that it was"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._accepted: dict[str, int] = {}

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for order in self.facts.fresh:
                self._require(order)
        elif isinstance(entry, BarJudged) and entry.decision == "accept":
            series, end = entry.key, entry.end
            self._accepted[series] = min(end, self._accepted.get(series, end))

    def _require(self, order: Order) -> None:
        key, end = self.facts.series[order.symbol], order.decision
        accepted = end >= self._accepted.get(str(key), end + 1)
        if not accepted and not self.facts.venues[order.symbol].scheduled(key.timeframe, end):
            self.fail(f"{order.symbol} {order.intent} is decided on a bar of {iso(end)}")


class OnlyPlausible(Invariant):
    name = "only plausible bars"
    sentence = (
        "an absurd bar is not traded on until the operator accepts it, and the right one is taken in time"
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._absurd: dict[Brought, Values] = {}
        self._accepted: dict[str, int] = {}
        for each in facts.life.incidents:
            if each.kind == "absurd bar":
                series, end = each.told["series"], stamp(each.told["end"])
                true = facts.life.bars.get(series, {}).get(end)
                if true is not None and end > facts.life.begins:
                    self._absurd[series, end, (*each.told["values"], VOLUME)] = (*true, VOLUME)
        self._others: set[tuple[str, int]] = set()

    def offered(self, arrival: Arrival) -> None:
        what = (str(arrival.key), arrival.end, arrival.values)
        if what not in self._absurd and arrival.values != self._right(what[0], what[1]):
            self._others.add(what[:2])

    def _right(self, series: str, end: int) -> Values | None:
        for (name, moment, _), right in self._absurd.items():
            if (name, moment) == (series, end):
                return right
        return None

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for key, values in entry.release.bars.items():
                self._require(str(key), entry.release.stamp, values)
            for each in entry.release.irregularities:
                self._refused(each.kind, (str(each.key), each.end, each.values or ()), each.detail)
        elif isinstance(entry, BarIrregular):
            self._refused(entry.problem, (entry.key, entry.end, entry.values or ()), entry.detail)
        elif isinstance(entry, BarJudged) and entry.decision == "accept":
            series, end = entry.key, entry.end
            self._accepted[series] = min(end, self._accepted.get(series, end))

    def _require(self, series: str, end: int, values: Values) -> None:
        if (series, end, values) in self._absurd and end < self._accepted.get(series, end + 1):
            self.fail(f"the bar {series} {iso(end)} {values} is traded on")

    def _refused(self, kind: str, what: Brought, detail: str) -> None:
        """The right bar behind an absurd one is no correction, unless a third version stands between them."""
        series, end, values = what
        right = kind == "corrected" and values == self._right(series, end)
        if right and (series, end) not in self._others and end < self._accepted.get(series, end + 1):
            self.fail(f"the right bar {series} {iso(end)} is refused behind an absurd one: {detail}")


class NoSecrets(Invariant):
    name = "no secret is written down"
    sentence = "nothing that a server echoes brings the webhook's address into journal or alerts"

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, Event) and SECRET in json.dumps(content_of(entry)):
            self.fail(f"the journal's {entry.kind} holds the webhook's token")

    def alert_posted(self, alert: Alert) -> None:
        if SECRET in alert.text:
            self.fail(f"an alert of kind {alert.kind} holds the webhook's token")

    def finished(self) -> None:
        run = self.facts.run
        if run is None:
            return
        for path in sorted(run.world.folder.glob("*")):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                self.fail(f"{path.name} holds the webhook's token")


class Alerted(Invariant):
    name = "people are told"
    sentence = (
        "what is irregular about bars, orders and positions becomes an alert, joined with others or not"
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._bars: dict[str, int] = {}
        self._rest: dict[str, int] = {}

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            for each in entry.release.irregularities:
                self._bars.setdefault(f"{each.kind} bar {each.key}", self.facts.now)
        elif isinstance(entry, BarIrregular):
            self._bars.setdefault(f"{entry.problem} bar {entry.key}", self.facts.now)
        elif entry.kind in _TOLD:
            self._rest.setdefault(f"{entry.kind} {entry.symbol}".strip(), self.facts.now)

    def alert_posted(self, alert: Alert) -> None:
        for waiting in (self._bars, self._rest):
            for text in [text for text in waiting if alert.text.startswith(text)]:
                del waiting[text]

    def idle(self) -> None:
        for text in self._rest:
            self.fail(f"nobody is told: {text}")
        for text, since in self._bars.items():
            if self.facts.seen - since > _TOLD_WITHIN:
                self.fail(f"nobody is told: {text}")

    def ended(self, run: Run, how: str) -> None:
        self._bars.clear()
        self._rest.clear()


RULES: Mapping[str, type[Invariant]] = {
    each.name: each
    for each in (
        Positions,
        Equity,
        Replays,
        GoesOn,
        BarsAccounted,
        OnCalendar,
        OnlyPlausible,
        NoSecrets,
        Alerted,
    )
}
