"""What one lane reports between two bar sets, gathered into the journal's record of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lockstep.errors import LiveError
from lockstep.live.messages import LaneRecord, LaneState
from lockstep.market.bars import Floats
from lockstep.strategy.records import OrderRecord, TradeRecord


@dataclass
class LaneRecorder:
    """A `Recorder` that keeps what was reported since the last `take`."""

    symbol: str
    bundle: str
    _decision: tuple[bytes, float, int, str] | None = None
    _mark: tuple[float, float, float, float] | None = None
    _orders: list[OrderRecord] = field(default_factory=list)

    def decision(self, stamp: int, values: Floats, probability: float, code: int, reason: str) -> None:
        """Keep the decision of this set."""
        raw = np.ascontiguousarray(values, dtype="<f8").tobytes()
        self._decision = (raw, probability, code, reason)

    def order(self, record: OrderRecord) -> None:
        """Keep an order state; Backtrader's running numbers differ between processes and are left out."""
        self._orders.append(
            OrderRecord(
                symbol=record.symbol,
                reference=0,
                decision=record.decision,
                intent=record.intent,
                reason=record.reason,
                status=record.status,
                stamp=record.stamp,
                quantity=record.quantity,
                price=record.price,
                commission=record.commission,
                slippage=record.slippage,
            )
        )

    def trade(self, record: TradeRecord) -> None:
        """Nothing to keep: the open trade is part of the lane's state."""

    def mark(self, stamp: int, price: float, position: float, cash: float, equity: float) -> None:
        """Keep the account at the close of this set."""
        self._mark = (price, position, cash, equity)

    def take(self, state: LaneState) -> LaneRecord | None:
        """Return what was reported since the lane's last bar, None where it had no bar now.

        What became of orders meanwhile, a reported fill or a withdrawal, goes with its next bar.
        """
        if self._decision is None and self._mark is None:
            return None
        if self._decision is None or self._mark is None:
            raise LiveError(f"{self.symbol}: a mark without a decision; stop and read the journal")
        vector, probability, code, reason = self._decision
        taken = LaneRecord(
            symbol=self.symbol,
            bundle=self.bundle,
            vector=vector,
            probability=probability,
            code=code,
            reason=reason,
            orders=tuple(self._orders),
            mark=self._mark,
            state=state,
        )
        self._decision, self._mark, self._orders = None, None, []
        return taken
