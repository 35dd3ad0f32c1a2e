"""What the parts of the live engine tell each other. Messages are values: nobody changes one.

Stamps are ends of bars and moments, int64 UTC nanoseconds; bars are (open, high, low, close, volume).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from lockstep.live.events import Event
from lockstep.live.units import SmallerUnit
from lockstep.market.history import SeriesKey
from lockstep.portfolio.state import CoordinatorState, SettledSet
from lockstep.strategy.lane import LaneState
from lockstep.strategy.matching import Order
from lockstep.strategy.records import OrderRecord

__all__ = [
    "Arrival", "Epoch", "EpochPortfolio", "Irregularity", "LaneRecord", "LaneState", "Mode", "OrderIntent",
    "Refusal", "Release", "ReportedFill", "SendResult", "SetRecord", "Values", "Wanted", "iso", "symbol_of",
]  # fmt: skip

Values = tuple[float, ...]
Mode = Literal["paper", "shadow", "live"]


class Arrival(NamedTuple):
    """One completed bar as a feed delivered it, at `received`.

    >>> from lockstep.market import DAILY, SeriesKey
    >>> end = 1_709_931_600_000_000_000
    >>> values = (10.0, 12.0, 9.0, 11.0, 5.0)
    >>> bar = Arrival(SeriesKey("ES", DAILY), end, values, end + 2_000_000_000, "my feed")
    >>> str(bar.key), bar.values[3]
    ('ES:1d', 11.0)
    """

    key: SeriesKey
    end: int
    values: Values
    received: int
    origin: str


class Irregularity(NamedTuple):
    """A bar that was recorded and not traded on, or one that never came.

    kind   `bad` (breaks a rule of bars), `implausible` (quarantined: outside of the band), `duplicate` (same
           values again), `corrected` (other values for a stamp that was released), `late` (its set was
           released without it), `out_of_order`, `missing` (not there when the grace ended), `gap` (the
           calendar expected bars before this one), `outside` (delivered; no session of the calendar has it),
           `silent` (a scheduled bar has not come, and none after it)
    end    of the bar; 0 where its stamp could not be read
    """

    kind: str
    key: SeriesKey
    end: int
    values: Values | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """A whole bar set as the synchroniser let it through.

    bars   what completed at `stamp`; late   bars of context series with earlier stamps that came after
           their set, and quarantined bars of any series that the operator accepted after it: they enter
           the windows before this set, so that a hole is not for ever
    """

    stamp: int
    bars: Mapping[SeriesKey, Values]
    late: tuple[Arrival, ...] = ()
    irregularities: tuple[Irregularity, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OrderIntent:
    """A market order that the strategy wants, before anything is sent.

    order_id    epoch, mode, symbol, decision stamp, intent, sequence: the same after every restart
    intent      `entry`, `exit` or `net`; quantity signed, in contracts
    parts       the orders of an ensemble's members that a net order is made of; see `netting.py`
    unit        in which it leaves the house, None for contracts of the instrument itself; see `leaving`
    reference   close of the decision bar, points; terms   see `matching.py`: distances of stop and target

    >>> from lockstep.strategy.matching import NO_ORDER
    >>> intent = OrderIntent(
    ...     order_id="1-live-ES-17-entry-1", symbol="ES", intent="entry", quantity=2.0, reference=5000.0,
    ...     terms=NO_ORDER, decision=1_709_931_600_000_000_000, reason="ibs", probability=0.62, version="v3")
    >>> intent.opens
    True
    """

    order_id: str
    symbol: str
    intent: str
    quantity: float
    reference: float
    terms: Order
    decision: int
    reason: str
    probability: float
    version: str
    unit: SmallerUnit | None = None
    parts: tuple[OrderIntent, ...] = ()

    @property
    def opens(self) -> bool:
        """Whether it opens or adds to a position: a net order as soon as one of its parts does."""
        return self.intent == "entry" or any(each.opens for each in self.parts)

    @property
    def leaving(self) -> OrderIntent:
        """The order as a broker is given it: symbol and contracts of its unit, everything else the same."""
        if self.unit is None:
            return self
        quantity = self.unit.count(self.quantity)
        terms = (quantity, *self.terms[1:])
        return replace(self, symbol=self.unit.symbol, quantity=quantity, terms=terms, unit=None)


class Refusal(NamedTuple):
    """An order that the gateway did not let through, and why."""

    order_id: str
    rule: str
    detail: str


class ReportedFill(NamedTuple):
    """A fill reported by a fill source: a broker, a statement, or the operator.

    kind   `market`, `stop` or `target`; quantity signed; price in points; commission and slippage in USD

    >>> stamp = 1_709_931_600_000_000_000
    >>> fill = ReportedFill("F1", "1-live-ES-17-entry-1", "ES", "market", 2.0, 5000.25, 2.5, stamp)
    >>> fill.quantity * fill.price
    10000.5
    """

    fill_id: str
    order_id: str
    symbol: str
    kind: str
    quantity: float
    price: float
    commission: float
    stamp: int


class SendResult(NamedTuple):
    """The outcome of a message to a broker.

    outcome   `acknowledged`, `rejected` (final: no order was placed), `unknown` (it may have been placed)

    >>> SendResult("1-live-ES-17-entry-1", "unknown", "no answer within 15 s", attempts=1).outcome
    'unknown'
    """

    order_id: str
    outcome: Literal["acknowledged", "rejected", "unknown"]
    detail: str
    attempts: int


class Wanted(NamedTuple):
    """The version that a desk is to trade; `absence` says why there is none, and is empty otherwise."""

    version: str = ""
    sha256: str = ""
    absence: str = ""


@dataclass(frozen=True, kw_only=True)
class LaneRecord:
    """What one instrument did at a bar set. vector: raw float64, little endian."""

    symbol: str
    bundle: str
    vector: bytes
    probability: float
    code: int
    reason: str
    orders: tuple[OrderRecord, ...]
    mark: tuple[float, float, float, float]
    state: LaneState


@dataclass(frozen=True, kw_only=True)
class SetRecord:
    """One bar set with all that followed from it: one transaction of the journal.

    settled   what the portfolio decided, None without one and where no traded instrument had a bar
    """

    release: Release
    lanes: tuple[LaneRecord, ...]
    events: tuple[Event, ...] = ()
    settled: SettledSet | None = None
    sequence: int = 0


class EpochPortfolio(NamedTuple):
    """The portfolio of an epoch: what its file says, as plain JSON, and its state at the start."""

    content: Mapping[str, Any]
    state: CoordinatorState


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A stretch of the journal in which code and configuration did not change.

    hashes   `code`, `config`, `lock`; bundles   symbol -> SHA-256 at the start
    warmup   bars by series that filled the windows before the first set, oldest first
    states   symbol -> state at the start, flat accounts in a first epoch
    portfolio   None: every instrument trades alone
    """

    number: int
    mode: Mode
    reason: str
    started: int
    hashes: Mapping[str, str]
    bundles: Mapping[str, str]
    warmup: Mapping[SeriesKey, tuple[tuple[int, Values], ...]]
    states: Mapping[str, LaneState]
    portfolio: EpochPortfolio | None = None


def iso(moment: int) -> str:
    """Return UTC nanoseconds as ISO 8601, with fractions of a second only where there are some."""
    exact = np.datetime64(moment, "ns")
    return f"{exact if moment % 1_000_000_000 else exact.astype('datetime64[s]')}Z"


def symbol_of(order_id: str) -> str:
    """Return the symbol in an order id; symbols may hold dashes themselves (BTC-USD)."""
    return "-".join(order_id.split("-")[2:-3])
