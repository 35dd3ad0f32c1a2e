"""The gateway's rules a second time, by other code: an order goes when, and only when, they allow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lockstep.live.brokers.protocol import Message
from lockstep.live.events import Event
from lockstep.live.messages import SetRecord
from simulation.facts import Facts, Order
from simulation.invariants import Invariant
from simulation.models import RECIPES
from simulation.venues import SECOND

_GRAIN = 1e-9


class Obeyed(Invariant):
    name = "limits and switches"
    sentence = "limits and switches are obeyed, and nothing is refused that they allow"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._limits = facts.life.desk.limits
        self._ordered: dict[str, list[int]] = {}
        self._marks: dict[str, tuple[int, float, float]] = {}

    def committed(self, entry: SetRecord | Event) -> None:
        if isinstance(entry, SetRecord):
            self._decided()
            for lane in entry.lanes:
                self._marked(lane.symbol, entry.release.stamp, lane.mark[3])
        elif entry.kind == "rejected":
            self._turned_back(entry)
        elif entry.kind == "withdrawn":
            self._withdrawn(entry)
        elif entry.kind == "leave_now":
            self._leaves(entry)

    def submitted(self, order_id: str, message: Message) -> None:
        order = self.facts.orders.get(order_id)
        if order is None:
            return
        broken = [*self._switches(order), *(self._conditions(order, self.facts.now) if order.opens else ())]
        if broken:
            self.fail(f"{order_id} leaves against {', '.join(broken)}")

    def _decided(self) -> None:
        """Judge the orders of a set one after the other: each sees the ones before it."""
        taken: dict[str, float] = {}
        for order in self.facts.fresh:
            broken = self._broken(order, taken)
            if order.refused is None and broken:
                self.fail(f"{order.symbol} {order.intent} is let through against {', '.join(broken)}")
            if order.refused is not None:
                self._require_reason(order, *order.refused, broken)
                continue
            place = self.facts.venues[order.symbol]
            date = place.date(place.next_open(order.decision))
            self._ordered.setdefault(order.symbol, []).append(date)
            if order.opens:
                taken[order.symbol] = order.quantity

    def _require_reason(self, order: Order, rule: str, detail: str, broken: list[str]) -> None:
        if rule not in broken:
            what = f"{order.symbol} {order.intent} {order.quantity:+g}"
            self.fail(f"{what} is refused by {rule} ({detail}), which allows it")

    def _turned_back(self, event: Event) -> None:
        """Judge why an order that waited was not sent."""
        order = self.facts.orders.get(event.order_id)
        rule, _, detail = str(getattr(event, "detail", "")).partition(": ")
        if order is None or order.noted or rule not in _RULES:
            return
        broken = [*self._switches(order), *(self._conditions(order, self.facts.now) if order.opens else ())]
        self._require_reason(order, rule, detail, broken)

    def _withdrawn(self, event: Event) -> None:
        """Judge why an order that waited was taken back."""
        order = self.facts.orders.get(event.order_id)
        if order is None:
            self.fail(f"{event.order_id} is withdrawn, and nobody decided it")
        elif order.opens and not self.facts.superseded(order.symbol, order.bundle):
            self.fail(f"{order.order_id} is withdrawn, and its model is not superseded")
        elif not order.opens and not self._closed_meanwhile(order.symbol):
            self.fail(f"{order.order_id} is withdrawn, and its position is open")

    def _closed_meanwhile(self, symbol: str) -> bool:
        fills = (each.order for each in self.facts.unbooked if each.symbol == symbol)
        return any(order != "market" for order in fills)

    def _leaves(self, event: Event) -> None:
        """An exit without a bar needs HALT with flatten, and closes what is held."""
        held = self.facts.held.get(event.symbol, 0.0)
        if not (self.facts.halted and self.facts.life.desk.flatten):
            self.fail(f"{event.symbol} leaves without a bar, and HALT does not ask for it")
        if event.quantity != -held:
            self.fail(f"{event.symbol} leaves with {event.quantity:+g}, it holds {held:+g}")

    def _broken(self, order: Order, taken: Mapping[str, float]) -> list[str]:
        found = list(self._switches(order))
        if self._rolled_out(order) is not None:
            found.append("rollout")
        if order.opens:
            due = self._due(order)
            found += self._conditions(order, due)
            found += self._room(order, due, taken)
        return found

    def _due(self, order: Order) -> int:
        moment = max(self.facts.now, order.decision)
        return self.facts.venues[order.symbol].next_open(moment)

    def _switches(self, order: Order) -> Iterator[str]:
        if self.facts.halted and (order.opens or not self.facts.life.desk.flatten):
            yield "halt"
        if self.facts.killed and order.opens and self.facts.mode == "live":
            yield "kill_switch"

    def _rolled_out(self, order: Order) -> str | None:
        """Return why the roll-out's share of a size is none; the strategy's size is what was refused."""
        if not order.opens or self.facts.mode != "live" or self.facts.fraction == 1.0:
            return None
        if order.refused is None or order.refused[0] != "rollout":
            return None
        step = self.facts.venues[order.symbol].market.instrument.size_step
        steps = abs(order.quantity) * self.facts.fraction / step
        return None if steps >= 1.0 - _GRAIN else "rollout"

    def _conditions(self, order: Order, due: int) -> Iterator[str]:
        """Yield what forbids an entry whenever it is asked: now, for a moment at which it would be sent."""
        venue, now = self.facts.venues[order.symbol], max(self.facts.now, order.decision)
        if self.facts.superseded(order.symbol, order.bundle):
            yield "superseded"
        if order.symbol in self.facts.unknown():
            yield "unknown_order"
        if self.facts.unreconciled(order.symbol, self.facts.seen):
            yield "unreconciled"
        if self.facts.clock_in_doubt():
            yield "clock"
        if not venue.is_open(due):
            yield "market_hours"
        end, close = self.facts.closes[order.symbol]
        stale = self._limits["stale_seconds"] * SECOND
        if end - now > stale or venue.open_time(end, now) > stale:
            yield "stale_data"
        if abs(close - order.reference) > self._collar(order):
            yield "price_collar"
        if self._profit(due) <= -self._limits["max_daily_loss"]:
            yield "daily_loss"

    def _collar(self, order: Order) -> float:
        told = self._limits["collar"]
        if "ticks" in told:
            return float(told["ticks"] * self.facts.venues[order.symbol].market.instrument.tick_size)
        return abs(order.reference) * float(told["percent"]) / 100.0

    def _marked(self, symbol: str, stamp: int, equity: float) -> None:
        """Keep the equity before the newest session date, and the newest one."""
        date = self.facts.venues[symbol].date(stamp)
        begun = self.facts.capital(symbol)
        before, start, newest = self._marks.get(symbol, (-1, begun, begun))
        self._marks[symbol] = (date, start if date == before else newest, equity)

    def _profit(self, due: int) -> float:
        total = 0.0
        for symbol, (date, start, newest) in self._marks.items():
            if date == self.facts.venues[symbol].date(due):
                total += newest - start
        return total

    def _room(self, order: Order, due: int, taken: Mapping[str, float]) -> Iterator[str]:
        """Yield what forbids an entry beside what is held and on its way."""
        date = self.facts.venues[order.symbol].date(due)
        if self._ordered.get(order.symbol, []).count(date) >= self._limits["max_orders_per_day"]:
            yield "orders_per_day"
        sizes = {
            symbol: self._held(symbol, order.decision) + taken.get(symbol, 0.0)
            for symbol in self.facts.venues
        }
        sizes[order.symbol] += order.quantity
        most = self._limits.get("by_symbol", {}).get(order.symbol, self._limits["max_contracts"])
        if abs(sizes[order.symbol]) > most + _GRAIN:
            yield "position"
        if sum(map(abs, sizes.values())) > self._limits["max_total_contracts"] + _GRAIN:
            yield "total_position"
        worth = {symbol: self._worth(symbol, size) for symbol, size in sizes.items()}
        if worth[order.symbol] > self._limits.get("max_notional", float("inf")):
            yield "notional"
        if sum(worth.values()) > self._limits.get("max_total_notional", float("inf")):
            yield "total_notional"

    def _held(self, symbol: str, decision: int) -> float:
        """Return contracts that are held or were on their way before the set that ended at `decision`."""
        waiting = self.facts.waiting.get(symbol)
        older = waiting is not None and waiting.opens and waiting.decision < decision
        return self.facts.held.get(symbol, 0.0) + (waiting.quantity if older and waiting else 0.0)

    def _worth(self, symbol: str, contracts: float) -> float:
        if contracts == 0.0:
            return 0.0
        if symbol not in self.facts.closes:
            return float("inf")
        multiplier = self.facts.venues[symbol].market.instrument.multiplier
        return abs(contracts * self.facts.closes[symbol][1]) * multiplier


_RULES = frozenset(
    (
        "halt", "kill_switch", "superseded", "unknown_order", "unreconciled", "clock", "market_hours",
        "stale_data", "price_collar", "daily_loss",
    )
)  # fmt: skip


class SendsSomething(Invariant):
    name = "a stage sends something"
    sentence = (
        "a desk does not start in a stage of the roll-out whose share of a fixed size is less than a unit"
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._moved = False
        self._fixed = {each.symbol for each in facts.life.traders if "size" not in RECIPES[each.model].rules}

    def committed(self, entry: SetRecord | Event) -> None:
        if not isinstance(entry, SetRecord):
            self._moved = self._moved or entry.kind in ("rollout", "swap")
            return
        for order in self.facts.fresh:
            if not self._moved and order.symbol in self._fixed and order.refused is not None:
                if order.refused[0] == "rollout":
                    self.fail(f"{order.symbol}: {order.refused[1]}, and the desk has started in this stage")


RULES: Mapping[str, type[Invariant]] = {each.name: each for each in (Obeyed, SendsSomething)}
