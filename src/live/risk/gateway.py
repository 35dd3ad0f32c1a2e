"""The gate of the desk: builds what the gateway must know, and repeats recorded answers in a replay.

The order gateway: the one place that every order passes before it may leave the house.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from lockstep.errors import LiveError
from lockstep.live.conditions import Doubts
from lockstep.live.events import Event, OrderRefused, OrderSuppressed
from lockstep.live.messages import Mode, OrderIntent, Refusal, Release, Values, symbol_of
from lockstep.live.risk.limits import CONDITIONS, ROOM, Context, Limits, Markets, Rule
from lockstep.live.risk.session_day import SessionDays
from lockstep.live.risk.switches import Switches
from lockstep.market.history import Market, SeriesKey
from lockstep.market.open_hours import next_open
from lockstep.market.sessions import Session

__all__ = ["Context", "Gateway"]


Rules = tuple[tuple[str, Rule], ...]
Verdict = tuple[str, str] | None


class Gateway:
    """Reviews orders. Pure but for the switches, whose files it reads at every order.

    Exits pass whatever the limits and the kill switch say: only HALT without `flatten`, and an id that
    was let through before, stop them. The kill switch refuses in mode `live` alone; paper and shadow go
    on simulating, and `suppressed` tells what it would have refused. All else holds in every mode.
    """

    def __init__(self, *, limits: Limits, switches: Switches, mode: Mode, markets: Markets) -> None:
        """Take the market of every traded symbol; the first thread that asks for a review owns it."""
        self._limits = limits
        self._switches = switches
        self._mode = mode
        self._markets = dict(markets)
        self._owner: int | None = None

    def review(self, intent: OrderIntent, context: Context) -> Refusal | None:
        """Return why the order may not go, or None.

        LiveError where a second thread asks: two reviews at once could both see room for one order.
        """
        self._require_one_thread()
        if intent.order_id in context.reviewed:
            return Refusal(intent.order_id, "duplicate", "an order with this id was let through before")
        return _refusal(intent, self._switched(intent) or self._limited(intent, context, CONDITIONS + ROOM))

    def release(self, intent: OrderIntent, context: Context) -> Refusal | None:
        """Return why an order that was let through, and waited for the open, may not leave now, or None.

        What may have changed meanwhile is looked at again, with the context of now: switches, UNKNOWN
        orders, market hours, age of the data, price and the day's loss. Its room it has.
        """
        self._require_one_thread()
        return _refusal(intent, self._switched(intent) or self._limited(intent, context, CONDITIONS))

    def suppressed(self, intent: OrderIntent) -> Refusal | None:
        """Return what the kill switch would refuse in mode `live`; for paper and shadow to report."""
        return _refusal(intent, self._killed(intent))

    def _switched(self, intent: OrderIntent) -> Verdict:
        halted = self._switches.halt()
        if halted and (intent.opens or not self._switches.flatten):
            return "halt", halted
        return self._killed(intent) if self._mode == "live" else None

    def _killed(self, intent: OrderIntent) -> Verdict:
        reason = self._switches.kill_switch() if intent.opens else None
        return ("kill_switch", reason) if reason else None

    def _limited(self, intent: OrderIntent, context: Context, rules: Rules) -> Verdict:
        for name, rule in rules if intent.opens else ():
            detail = rule(intent, context, self._limits, self._markets)
            if detail:
                return name, detail
        return None

    def _require_one_thread(self) -> None:
        self._owner = self._owner or threading.get_ident()
        if self._owner != threading.get_ident():
            raise LiveError("gateway: orders are reviewed by the engine's thread alone; hand them to it")


def _refusal(intent: OrderIntent, verdict: Verdict) -> Refusal | None:
    return Refusal(intent.order_id, *verdict) if verdict else None


class DeskGate:
    """Reviews each order with the desk as it stands.

    refusals     of the present set; suppressed   what the kill switch would have refused in mode live

    traded      the traded series; markets; equity: the accounts at the start, USD. All are by symbol, those
                of an ensemble's members by the names of their lanes
    exposure    asked for the signed contracts held, and those of entries on the way, likewise
    now         the moment of a review, UTC ns
    doubts      asked what stands against opening risk at a moment
    day         whose dates are the days of profits, None: those of each instrument's session
    """

    def __init__(
        self,
        gateway: Gateway,
        markets: Mapping[str, Market],
        *,
        traded: Mapping[str, SeriesKey],
        equity: Mapping[str, float],
        exposure: Callable[[], tuple[Mapping[str, float], Mapping[str, float]]],
        doubts: Callable[[int], Doubts],
        now: Callable[[], int],
        day: Session | None = None,
    ) -> None:
        self._gateway = gateway
        self._markets = markets
        sessions = {name: each.session for name, each in markets.items()}
        self._days = SessionDays(sessions, equity=equity)
        self._profits = SessionDays({name: day or each for name, each in sessions.items()}, equity=equity)
        self._traded = dict(traded)
        self._exposure = exposure
        self._doubts = doubts
        self._now = now
        self._recorded: dict[str, Refusal] | None = None
        self._reviewed: set[str] = set()
        self._bars: dict[str, tuple[int, Values]] = {}
        self.refusals: list[Refusal] = []
        self.suppressed: list[Refusal] = []

    def begin(self, release: Release, recorded: Iterable[Event] | None) -> None:
        """Begin a set; in a replay, `recorded` holds the refusals that were given then."""
        self.refusals, self.suppressed = [], []
        self._bars |= {
            name: (release.stamp, release.bars[key])
            for name, key in self._traded.items()
            if key in release.bars
        }
        self._recorded = None if recorded is None else _refusals(recorded)

    @property
    def events(self) -> tuple[Event, ...]:
        """The refusals of the present set, and what was suppressed, as it journals them."""
        return (
            *(OrderRefused(symbol=symbol_of(each.order_id), **each._asdict()) for each in self.refusals),
            *(OrderSuppressed(symbol=symbol_of(each.order_id), **each._asdict()) for each in self.suppressed),
        )

    def marked(self, symbol: str, stamp: int, equity: float) -> None:
        """Take an account's equity, USD, at the close of a bar."""
        self._profits.marked(symbol, stamp, equity)

    def review(self, intent: OrderIntent) -> Refusal | None:
        """Return why the order must not go, or None; a recorded answer is given again, not found anew."""
        replayed = self._recorded is not None
        now = intent.decision if replayed else max(self._now(), intent.decision)
        due = next_open(self._markets[intent.symbol].session, now)
        if self._recorded is not None:
            refusal = self._recorded.get(intent.order_id)
        else:
            refusal = self._gateway.review(intent, self._context(now, due))
            self._note_suppressed(intent)
        if refusal is not None:
            self.refusals.append(refusal)
            return refusal
        # By the decision and not by the clock, which is another one when a restart asks again.
        self._days.ordered(intent.symbol, next_open(self._markets[intent.symbol].session, intent.decision))
        self._reviewed.add(intent.order_id)
        return None

    def release(self, intent: OrderIntent) -> Refusal | None:
        """Return why an order that waited for the open must not leave now, or None.

        A net order is refused with the first of its parts that is.
        """
        now = self._now()
        context = self._context(now, now)
        refusals = (self._gateway.release(each, context) for each in intent.parts or (intent,))
        return next((each for each in refusals if each is not None), None)

    def _note_suppressed(self, intent: OrderIntent) -> None:
        """Keep what the kill switch would refuse in mode live, where the simulation goes on."""
        would = self._gateway.suppressed(intent)
        if would is not None:
            self.suppressed.append(would)

    def _context(self, now: int, due: int) -> Context:
        positions, pending = self._exposure()
        return Context(
            now=now,
            due=due,
            positions=positions,
            pending=pending,
            last_bars=self._bars,
            orders_today={symbol: self._days.orders(symbol, due) for symbol in self._markets},
            profit_today=self.profits(due),
            reviewed=self._reviewed,
            **self._doubts(now),
        )

    def profits(self, moment: int) -> dict[str, float]:
        """Return the USD made in the session day of `moment`, by symbol."""
        return {symbol: self._profits.profit(symbol, moment) for symbol in self._markets}


def _refusals(events: Iterable[Event]) -> dict[str, Refusal]:
    told = (event for event in events if isinstance(event, OrderRefused))
    return {each.order_id: Refusal(each.order_id, each.rule, each.detail) for each in told}
