"""The gate of the desk: builds what the gateway must know, and repeats recorded answers in a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lockstep.live.conditions import Doubts
from lockstep.live.context import Context
from lockstep.live.gateway import Gateway
from lockstep.live.market_hours import next_open
from lockstep.live.messages import Event, OrderIntent, Refusal, Release, Values, symbol_of
from lockstep.live.session_day import SessionDays
from lockstep.market.history import Market, SeriesKey


class DeskGate:
    """Reviews each order with the desk as it stands.

    refusals     of the present set; suppressed   what the kill switch would have refused in mode live

    traded      the traded series; markets   of their symbols; equity   their accounts at the start, USD
    exposure    asked for the signed contracts held, and those of entries on the way, by symbol
    now         the moment of a review, UTC ns
    doubts      asked what stands against opening risk at a moment
    """

    def __init__(
        self,
        gateway: Gateway,
        markets: Mapping[str, Market],
        *,
        traded: Iterable[SeriesKey],
        equity: Mapping[str, float],
        exposure: Callable[[], tuple[Mapping[str, float], Mapping[str, float]]],
        doubts: Callable[[int], Doubts],
        now: Callable[[], int],
    ) -> None:
        self._gateway = gateway
        self._markets = markets
        self._days = SessionDays({name: each.session for name, each in markets.items()}, equity=equity)
        self._traded = frozenset(traded)
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
            key.symbol: (release.stamp, values) for key, values in release.bars.items() if key in self._traded
        }
        self._recorded = None if recorded is None else _refusals(recorded)

    @property
    def events(self) -> tuple[Event, ...]:
        """The refusals of the present set, and what was suppressed, as it journals them."""
        found = [("refusal", each) for each in self.refusals]
        found += [("suppressed", each) for each in self.suppressed]
        return tuple(
            Event(kind=kind, symbol=symbol_of(each.order_id), content=each._asdict()) for kind, each in found
        )

    def marked(self, symbol: str, stamp: int, equity: float) -> None:
        """Take an account's equity, USD, at the close of a bar."""
        self._days.marked(symbol, stamp, equity)

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
        """Return why an order that waited for the open must not leave now, or None."""
        now = self._now()
        return self._gateway.release(intent, self._context(now, now))

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
        return {symbol: self._days.profit(symbol, moment) for symbol in self._markets}


def _refusals(events: Iterable[Event]) -> dict[str, Refusal]:
    told = (event.content for event in events if event.kind == "refusal")
    return {each["order_id"]: Refusal(each["order_id"], each["rule"], each["detail"]) for each in told}
