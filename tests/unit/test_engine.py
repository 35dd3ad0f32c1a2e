"""`build_cerebro` and the simulated broker: Backtrader's traps are closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from lockstep.errors import StrategyError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.timeframe import Timeframe
from lockstep.strategy.backtrader.broker import SimulatedBroker
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import BarsFeed, bars_feed
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.ibs_strategy import IbsStrategy
from lockstep.strategy.lane import Lane
from lockstep.strategy.matching import NO_ORDER
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import vector_ids
from support.scenarios import CME, ES, daily_bars, history_of

NQ = Instrument(symbol="NQ", multiplier=20.0, tick_size=0.25, session="CME")
CONFIG = IbsConfig.model_validate(
    {
        "name": "engine",
        "direction": "both",
        "stop": {"percent": 0.7},
        "target": {"percent": 1.0},
        "max_bars": 4,
    }
)


def walk(
    seed: int, n: int = 200, *, level: float = 1000.0, first: str = "2023-01-03", symbol: str = "ES"
) -> Bars:
    """A seeded random walk on the tick grid."""
    random = np.random.default_rng(seed)
    close = np.round((level + np.cumsum(random.normal(0, 4, n))) * 4) / 4
    opened = np.round((close + random.normal(0, 3, n)) * 4) / 4
    high = np.maximum(opened, close) + np.round(random.random(n) * 12) / 4
    low = np.minimum(opened, close) - np.round(random.random(n) * 12) / 4
    return daily_bars(np.column_stack([opened, high, low, close]).tolist(), first=first, symbol=symbol)


def lane(bars: Bars, instrument: Instrument, config: IbsConfig = CONFIG, **changes: Any) -> Lane:
    history = history_of(bars, instrument)
    plan = default_registry().plan(vector_ids(config, None), SeriesKey(bars.symbol, bars.timeframe))
    return Lane(
        **{
            "feed": bars_feed(bars),
            "market": Market(instrument=instrument, session=CME),
            "config": config,
            "source": BatchFeatures(plan, history),
            "clock": SessionClock(CME, bars.timeframe),
            "recorder": MemoryRecorder(),
            **changes,
        }
    )


def outcome(each: Lane) -> tuple[list[Any], ...]:
    """What a lane recorded; order references are numbered per process and left out."""
    recorder = each.recorder
    assert isinstance(recorder, MemoryRecorder)
    orders = [replace(order, reference=0) for order in recorder.orders]
    return (recorder.codes, recorder.marks, recorder.trades, orders)


def run(*lanes: Lane, live: bool = False) -> list[tuple[list[Any], ...]]:
    build_cerebro(lanes, IbsStrategy, live=live).run()
    return [outcome(each) for each in lanes]


def test_stepping_live_equals_the_preloaded_run() -> None:
    preloaded, stepped = run(lane(walk(1), ES)), run(lane(walk(1), ES), live=True)
    assert preloaded == stepped
    assert len(preloaded[0][2]) > 20


def test_a_rerun_is_identical() -> None:
    assert run(lane(walk(2), ES)) == run(lane(walk(2), ES))


@pytest.mark.parametrize("live", [False, True])
def test_the_order_of_feeds_does_not_matter(live: bool) -> None:
    """PARITY 12: instruments are found by name; each trades as if it were alone."""
    es, nq = walk(3), walk(4, symbol="NQ", level=4000.0)
    alone = [run(lane(es, ES), live=live)[0], run(lane(nq, NQ), live=live)[0]]
    assert run(lane(es, ES), lane(nq, NQ), live=live) == alone
    assert run(lane(nq, NQ), lane(es, ES), live=live) == alone[::-1]


@pytest.mark.parametrize("live", [False, True])
def test_a_short_or_late_feed_does_not_stop_or_delay_the_other(live: bool) -> None:
    es = walk(5, 120)
    short = walk(6, 40, symbol="NQ", level=4000.0)
    late = walk(6, 40, symbol="NQ", level=4000.0, first="2023-04-03")
    alone = run(lane(es, ES), live=live)[0]
    for other in (short, late):
        both = run(lane(es, ES), lane(other, NQ), live=live)
        assert both[0] == alone
        assert len(both[1][0]) == 40


def test_backtrader_trades_agree_with_the_records() -> None:
    class Watching(IbsStrategy):
        def notify_trade(self, trade: Any) -> None:
            if trade.isclosed:
                closed.append((trade.pnl, trade.pnlcomm))

    closed: list[tuple[float, float]] = []
    each = lane(walk(7), ES)
    build_cerebro([each], Watching).run()
    trades = [trade for trade in outcome(each)[2] if trade.exit_stamp]
    ours = [((t.exit_price - t.entry_price) * t.quantity * ES.multiplier, t.commission) for t in trades]
    assert [pnl for pnl, _ in closed] == [pnl for pnl, _ in ours]
    assert [pnlcomm for _, pnlcomm in closed] == pytest.approx([pnl - fee for pnl, fee in ours])
    assert len(ours) > 20


@pytest.mark.parametrize("live", [False, True])
def test_backtraders_own_books_are_kept_where_something_reads_them(live: bool) -> None:
    """An analyzer, or a hook of a subclass; what Lockstep records is the same with and without them."""

    class Hooked(IbsStrategy):
        def notify_cashvalue(self, cash: float, value: float) -> None:
            told.append(value)

    told: list[float] = []
    plain, analysed, hooked = (lane(walk(7), ES) for _ in range(3))
    build_cerebro([plain], IbsStrategy, live=live).run()
    cerebro = build_cerebro([analysed], IbsStrategy, live=live)
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    (strategy,) = cerebro.run()
    build_cerebro([hooked], Hooked, live=live).run()
    assert outcome(analysed) == outcome(hooked) == outcome(plain)
    closed = [trade for trade in outcome(plain)[2] if trade.exit_stamp]
    assert strategy.analyzers.trades.get_analysis().total.closed == len(closed) > 20
    assert len(told) == len(outcome(plain)[0])


def test_every_order_ends_completed_or_cancelled_but_those_of_the_last_bar() -> None:
    each = lane(walk(8), ES)
    build_cerebro([each], IbsStrategy).run()
    recorder = each.recorder
    assert isinstance(recorder, MemoryRecorder)
    last = {order.reference: order for order in recorder.orders}
    waiting = [order for order in last.values() if order.status == "accepted"]
    position = recorder.marks[-1][2]
    assert len(waiting) <= 2 if position else len(waiting) <= 1


def test_account_and_position_as_backtrader_shows_them() -> None:
    each, broker = lane(walk(9), ES), SimulatedBroker()
    build_cerebro([each], IbsStrategy, broker=broker).run()
    stamp, _, position, cash, equity = each.recorder.marks[-1]  # type: ignore[attr-defined]
    assert stamp == each.feed.stamp()
    assert broker.getposition(each.feed).size == position
    assert broker.getcash() == cash
    assert broker.getvalue() == broker.getvalue([each.feed]) == equity


def hourly(bars: Bars) -> Bars:
    return replace(bars, timeframe=Timeframe.parse("1h"))


def test_contradictions_are_refused() -> None:
    es = walk(1)
    with pytest.raises(StrategyError, match="nothing to trade"):
        build_cerebro([], IbsStrategy)
    with pytest.raises(StrategyError, match="ES: two lanes trade it"):
        build_cerebro([lane(es, ES), lane(es, ES)], IbsStrategy)
    with pytest.raises(StrategyError, match="lane has the feed of ES"):
        build_cerebro([lane(walk(1, symbol="NQ"), NQ, feed=bars_feed(es))], IbsStrategy)
    with pytest.raises(StrategyError, match=r"ES: feed has \(timeframe, compression\)"):
        build_cerebro([lane(es, ES, feed=bars_feed(hourly(es)))], IbsStrategy)
    closing = CONFIG.replaced(execution="close")
    with pytest.raises(StrategyError, match="only next_open may trade"):
        build_cerebro([lane(es, ES, closing)], IbsStrategy, live=True)


def test_a_feed_without_timeframe_is_refused() -> None:
    """PARITY 12: Backtrader's default would call an hourly feed daily, or the other way round."""
    es = walk(1)
    feed = BarsFeed(bars=es, name="ES", timeframe=bt.TimeFrame.Minutes)
    with pytest.raises(StrategyError, match="feed has"):
        build_cerebro([lane(es, ES, feed=feed)], IbsStrategy)


def test_a_vector_in_another_order_is_refused() -> None:
    es = walk(1)
    plan = default_registry().plan(("rsi_2", "ibs"), SeriesKey("ES", es.timeframe))
    wrong = lane(es, ES, source=BatchFeatures(plan, history_of(es)))
    with pytest.raises(StrategyError, match="is not"):
        build_cerebro([wrong], IbsStrategy).run()


class Meddling(IbsStrategy):
    """Does what a strategy must not do, once, on its third bar."""

    action = "twice"

    def next(self) -> None:
        super().next()
        if len(self._feed) == 3:
            getattr(self, self.action)()

    def twice(self) -> None:
        for _ in range(2):
            self._submit((1.0, *NO_ORDER[1:]), decision=0, intent="entry", code=2, probability=1.0)

    def limit(self) -> None:
        self.buy(data=self._feed, size=1, exectype=bt.Order.Limit, terms=NO_ORDER)

    def cancel_stop(self) -> None:
        self.broker.cancel(bt.order.SellOrder(owner=self, data=self._feed, size=1, exectype=bt.Order.Stop))

    def change_mind(self) -> None:
        if self.broker._books[self._feed].working is not None:
            self.broker.cancel(self.broker._books[self._feed].working)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("twice", "still working; one at a time"),
        ("limit", "orders are market orders"),
        ("cancel_stop", "not a waiting market order"),
    ],
)
def test_the_broker_refuses_orders_outside_the_rules(
    monkeypatch: pytest.MonkeyPatch, action: str, message: str
) -> None:
    monkeypatch.setattr(Meddling, "action", action)
    with pytest.raises(StrategyError, match=message):
        build_cerebro([lane(walk(1), ES)], Meddling).run()


def test_an_order_can_be_withdrawn_on_the_bar_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """PARITY 27: with Backtrader's own broker and `checksubmit` on, it could not."""
    monkeypatch.setattr(Meddling, "action", "change_mind")
    rows = (
        [(101.0, 102.0, 100.0, 101.0)] * 2
        + [(100.0, 104.0, 100.0, 100.5)]
        + [(101.0, 102.0, 100.0, 101.0)] * 3
    )
    each = lane(daily_bars(rows), ES)
    build_cerebro([each], Meddling).run()
    codes, _, trades, orders = outcome(each)
    assert trades == []
    assert [order.status for order in orders] == ["accepted", "canceled"]
    assert codes.count(2) == 1


def test_a_rejected_order_is_an_error() -> None:
    each = lane(walk(1), ES)
    cerebro = build_cerebro([each], IbsStrategy)
    strategy = cerebro.run()[0]
    order = bt.order.BuyOrder(owner=strategy, data=each.feed, size=1, exectype=bt.Order.Market)
    order.status = bt.Order.Margin
    with pytest.raises(StrategyError, match="is Margin"):
        strategy.notify_order(order)
    order.status = bt.Order.Submitted
    strategy.notify_order(order)


def test_a_fill_without_a_trade_is_an_error() -> None:
    each = lane(walk(1), ES)
    strategy = build_cerebro([each], IbsStrategy).run()[0]
    strategy._trade = None
    order = bt.order.SellOrder(owner=strategy, data=each.feed, size=1, exectype=bt.Order.Market)
    order.addinfo(
        decision=0, intent="exit", reason="signal", stamp=1, price=1.0, commission=0.0, slippage=0.0
    )
    order.completed()
    with pytest.raises(StrategyError, match="closes what was not opened"):
        strategy.notify_order(order)


def test_history_without_the_series_is_refused() -> None:
    es = walk(1)
    plan = default_registry().plan(("ibs@NQ",), SeriesKey("ES", es.timeframe))
    with pytest.raises(Exception, match="no bars of NQ:1d: loaded are ES:1d"):
        BatchFeatures(plan, History(bars={SeriesKey("ES", es.timeframe): es}, markets={}))
