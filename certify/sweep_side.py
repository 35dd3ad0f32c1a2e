"""The compiled sweep beside the research run: fills and equity of one instrument, compared bit for bit."""

from __future__ import annotations

from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.monitoring.parity import EngineStep, ParityComparison, compare
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import NAMES
from lockstep.strategy.matching import NO_FILL, STOP_FILL
from lockstep.strategy.records import STOP, TARGET, OrderRecord
from lockstep.strategy.veto import Veto
from research.backtest.result import BacktestResult, steps_of
from research.sweep import kernels
from research.sweep.inputs import Chances
from research.sweep.run import Trace, trace

_NOT_KEPT = 0.0


def compare_with_sweep(
    result: BacktestResult,
    config: StrategyConfig,
    history: History,
    symbol: str,
    *,
    span: DateRange,
    veto: Veto | None,
) -> ParityComparison:
    """Compare the fills and the equity at every bar; what a sweep does not keep is not compared."""
    chances = None if veto is None else Chances.of(veto, config, history, symbol)
    traced = trace(config, history, symbol, span=span, chances=chances)
    research = [_reduced(step) for step in steps_of(result)]
    return compare(research, _sweep_steps(result, traced), ())


def _reduced(step: EngineStep) -> EngineStep:
    """Return a research step with what a sweep keeps of it: completed orders, equity."""
    fills = tuple(_reduced_order(each) for each in step.orders or () if each.status == "completed")
    equity = step.mark[3] if step.mark else _NOT_KEPT
    return EngineStep(
        symbol=step.symbol, stamp=step.stamp, orders=fills, mark=(_NOT_KEPT, _NOT_KEPT, _NOT_KEPT, equity)
    )


def _reduced_order(order: OrderRecord) -> OrderRecord:
    return _fill(order.symbol, order.stamp, order.quantity, order.price, order.reason)


def _fill(symbol: str, stamp: int, quantity: float, price: float, reason: str) -> OrderRecord:
    return OrderRecord(
        symbol=symbol, reference=0, decision=0, intent="", reason=reason, status="completed", stamp=stamp,
        quantity=quantity, price=price, commission=_NOT_KEPT, slippage=_NOT_KEPT,
    )  # fmt: skip


def _sweep_steps(result: BacktestResult, traced: Trace) -> list[EngineStep]:
    ends = result.bars.end.tolist()
    fills: dict[int, list[OrderRecord]] = {}
    for fill in traced.fills:
        row = int(fill[kernels.FILL_BAR])
        quantity, price = float(fill[kernels.FILL_QUANTITY]), float(fill[kernels.FILL_PRICE])
        fills.setdefault(row, []).append(_fill(result.symbol, ends[row], quantity, price, _reason(fill)))
    return [
        EngineStep(
            symbol=result.symbol,
            stamp=end,
            orders=tuple(fills.get(row, ())),
            mark=(_NOT_KEPT, _NOT_KEPT, _NOT_KEPT, equity),
        )
        for row, (end, equity) in enumerate(zip(ends, traced.equity.tolist(), strict=True))
    ]


def _reason(fill: object) -> str:
    kind = int(fill[kernels.FILL_KIND])  # type: ignore[index]
    if kind == NO_FILL:
        return NAMES[int(fill[kernels.FILL_CODE])]  # type: ignore[index]
    return STOP if kind == STOP_FILL else TARGET
