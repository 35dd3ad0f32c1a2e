"""What an engine writes down: decisions, orders and trades of one instrument."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Protocol

from lockstep.market.bars import Floats

ENTRY, EXIT, STOP, TARGET = "entry", "exit", "stop", "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """One order in one state; stamps are bar ends (UTC ns), prices in points, costs in USD.

    decision   stamp of the decision that caused it; a trade's id is (symbol, its entry's decision)
    price      level of a stop or target, fill price when completed; NaN for a waiting market order
    """

    symbol: str
    reference: int
    decision: int
    intent: str
    reason: str
    status: str
    stamp: int
    quantity: float
    price: float
    commission: float
    slippage: float


@dataclass(slots=True, kw_only=True)
class TradeRecord:
    """One trade from flat to flat, or still open where `exit_stamp` is 0."""

    symbol: str
    decision: int
    quantity: float
    entry_stamp: int
    entry_price: float
    probability: float
    commission: float
    slippage: float
    exit_decision: int = 0
    exit_stamp: int = 0
    exit_price: float = float("nan")
    exit_reason: str = ""
    bars_held: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """Every field by name; `TradeRecord(**fields)` makes the same record."""
        return dict(zip(_TRADE_FIELDS, _trade_values(self), strict=True))


_TRADE_FIELDS = tuple(field.name for field in fields(TradeRecord))
_trade_values = attrgetter(*_TRADE_FIELDS)


class Recorder(Protocol):
    """Where a strategy reports; research keeps it in memory, live journals it."""

    def decision(self, stamp: int, values: Floats, probability: float, code: int, reason: str) -> None:
        """Report the decision at a bar, with the vector frozen for it and the code in words."""

    def order(self, record: OrderRecord) -> None:
        """Report an order that changed its state."""

    def trade(self, record: TradeRecord) -> None:
        """Report a trade when it opens; the record is completed in place when it closes."""

    def mark(self, stamp: int, price: float, position: float, cash: float, equity: float) -> None:
        """Report the account at the close of a bar."""


@dataclass
class MemoryRecorder:
    """Keeps everything in lists, one entry per report."""

    stamps: list[int] = field(default_factory=list)
    vectors: list[Floats] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    orders: list[OrderRecord] = field(default_factory=list)
    trades: list[TradeRecord] = field(default_factory=list)
    marks: list[tuple[int, float, float, float, float]] = field(default_factory=list)

    def decision(self, stamp: int, values: Floats, probability: float, code: int, reason: str) -> None:
        """Keep a decision."""
        self.stamps.append(stamp)
        self.vectors.append(values)
        self.probabilities.append(probability)
        self.codes.append(code)
        self.reasons.append(reason)

    def order(self, record: OrderRecord) -> None:
        """Keep an order state."""
        self.orders.append(record)

    def trade(self, record: TradeRecord) -> None:
        """Keep a trade."""
        self.trades.append(record)

    def mark(self, stamp: int, price: float, position: float, cash: float, equity: float) -> None:
        """Keep an account mark."""
        self.marks.append((stamp, price, position, cash, equity))
