"""Fills that a real broker reported, beside what `match` gives on the settled bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from certify.recording import Frame
from lockstep.live.events import FillReported
from lockstep.live.units import SmallerUnit
from lockstep.market.bars import Bars
from lockstep.market.history import History
from lockstep.market.instrument import Instrument, traded_symbol
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import IN_SESSION
from lockstep.strategy.matching import Account, Bar
from lockstep.strategy.records import OrderRecord
from research.paper.residuals import MARKET, Residual, market_model, protective_model, residual


@dataclass
class FillAuditor:
    """Pairs the completed orders of one instrument with the reports behind them; a frame at a time.

    bars    settled, of the traded series
    units   every declared instrument: a fill in a smaller unit is judged in that unit's contracts and costs
    """

    instrument: Instrument
    bars: Bars
    clock: SessionClock
    units: Mapping[str, Instrument] = field(default_factory=dict)
    _levels: dict[tuple[int, str], float] = field(default_factory=dict)
    _account: Account | None = None

    def take(self, frame: Frame) -> Iterator[Residual]:
        """Yield the residuals of the fills that were booked with this bar."""
        reports = list(frame.fills)
        self._account = self._account or frame.before.account
        for order in frame.record.orders:
            if order.status == "accepted" and order.intent in ("stop", "target"):
                self._levels[order.decision, order.intent] = order.price
            if order.status != "completed" or not reports:
                continue
            yield from self._judged(order, reports.pop(0))
        self._account = frame.record.state.account

    def _judged(self, order: OrderRecord, report: FillReported) -> Iterator[Residual]:
        sold = self.instrument if report.unit is None else self.units[report.unit]
        model, touched = self._model(order, report, sold)
        if model is not None:
            quantity = report.quantity
            if sold is not self.instrument:
                quantity = SmallerUnit.between(self.instrument, sold).count(quantity)
            yield residual(
                sold, stamp=report.stamp, order=report.order, quantity=quantity,
                price=report.price, model=model, commission=report.commission, touched=touched,
            )  # fmt: skip
        if order.intent == "entry":
            self._account = (order.quantity, order.price, np.nan, np.nan, 0.0)

    def _model(self, order: OrderRecord, report: FillReported, sold: Instrument) -> tuple[float | None, bool]:
        """Return what the model fills the order at; None where the bar is not settled yet."""
        if report.order == MARKET:
            bar = self._first_open_bar(order.decision)
            return (None if bar is None else market_model(order.quantity, bar, sold)), True
        bar = self._bar(int(np.searchsorted(self.bars.end, report.stamp)))
        if bar is None:
            return None, False
        account, level = self._protected(order)
        return protective_model(report.order, account, level, bar, sold)

    def _protected(self, order: OrderRecord) -> tuple[Account, float]:
        """Return the account with its levels, as they were before the fill, and the level that filled."""
        position, entry, stop, target, cash = self._account or (0.0, np.nan, np.nan, np.nan, 0.0)
        stop = self._levels.get((order.decision, "stop"), stop)
        target = self._levels.get((order.decision, "target"), target)
        account = (position, entry, stop, target, cash)
        return account, stop if order.intent == "stop" else target

    def _first_open_bar(self, decision: int) -> Bar | None:
        row = int(np.searchsorted(self.bars.end, decision, side="right"))
        while row < len(self.bars) and not self.clock.at(int(self.bars.end[row]))[IN_SESSION]:
            row += 1
        return self._bar(row)

    def _bar(self, row: int) -> Bar | None:
        if row >= len(self.bars):
            return None
        bars = self.bars
        return (float(bars.open[row]), float(bars.high[row]), float(bars.low[row]), float(bars.close[row]))


@dataclass
class FillAudit:
    """Pairs the fills of every lane of a journal, frame after frame, with what settled bars say."""

    settled: History
    units: Mapping[str, Instrument]
    _auditors: dict[str, FillAuditor] = field(default_factory=dict)

    def take(self, frame: Frame) -> Iterator[Residual]:
        """Yield the residuals of the fills that were booked with this bar."""
        lane = frame.record.symbol
        if lane not in self._auditors:
            market, config = self.settled.markets[traded_symbol(lane)], frame.model.config
            self._auditors[lane] = FillAuditor(
                instrument=market.instrument,
                bars=self.settled.series(frame.model.key),
                clock=SessionClock.of(market, config),
                units=self.units,
            )
        yield from self._auditors[lane].take(frame)
