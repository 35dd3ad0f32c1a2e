"""`build_cerebro`: the one way to assemble Backtrader, for research and live."""

from __future__ import annotations

from collections.abc import Sequence

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.strategy.admission import Admissions
from lockstep.strategy.backtrader.broker import SimulatedBroker
from lockstep.strategy.backtrader.closing import ClosingStrategy
from lockstep.strategy.backtrader.feed import StampedFeed, backtrader_timeframe
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.lane import Lane


class Stepper(bt.Cerebro):
    """Cerebro that does not merge by time what comes as whole bar sets."""

    def _runnext(self, runstrats: Sequence[ParityStrategy]) -> None:
        """Step the feeds, then the broker, then the strategies, as Backtrader does, until the feeds end."""
        whole_sets = all(isinstance(feed, StampedFeed) and feed.in_step for feed in self.datas)
        if not whole_sets or self._timers or self._timerscheat or self.runwriters:
            super()._runnext(runstrats)
            return
        while not self._event_stop:
            stepped = [feed.next() for feed in self.datas]
            if None not in stepped and True not in stepped:
                return
            self._brokernotify()
            if True in stepped:
                for strategy in runstrats:
                    strategy._next()


def build_cerebro(
    lanes: Sequence[Lane],
    strategy: type[ParityStrategy] = ParityStrategy,
    *,
    live: bool = False,
    broker: SimulatedBroker | None = None,
    admissions: Admissions | None = None,
) -> bt.Cerebro:
    """Return a Cerebro that trades `lanes`, ready to run.

    Each lane has a feed, an account and a strategy object of its own, found by symbol and never by
    position. `live` steps bar by bar without preloading and refuses `execution: close`; everything else
    is the same. `strategy` may be a subclass with hooks of its own. StrategyError where lanes contradict
    each other.

    admissions   answers the entries of all lanes of a bar set at once; lanes come in its order. None: each
                 lane enters as it decides
    """
    _check(lanes, live)
    if admissions is not None:
        _check_order(lanes, admissions.symbols)
    broker = broker or SimulatedBroker()
    cerebro = Stepper(
        stdstats=False, preload=not live, runonce=not live, live=live, exactbars=False, cheat_on_open=False
    )
    cerebro.setbroker(broker)
    for lane in lanes:
        cerebro.adddata(lane.feed, name=lane.market.instrument.symbol)
        broker.open_book(
            lane.feed,
            lane.market.instrument,
            lane.clock,
            cash=lane.config.capital,
            at_close=lane.config.execution == "close",
        )
        cerebro.addstrategy(strategy, lane=lane, admissions=admissions)
    if admissions is not None:
        cerebro.addstrategy(ClosingStrategy, admissions=admissions)
    return cerebro


def _check(lanes: Sequence[Lane], live: bool) -> None:
    symbols = [lane.market.instrument.symbol for lane in lanes]
    for lane, symbol in zip(lanes, symbols, strict=True):
        if symbols.count(symbol) > 1:
            raise StrategyError(f"{symbol}: two lanes trade it; one account per instrument")
        declared = (lane.feed.p.timeframe, lane.feed.p.compression)
        if declared != backtrader_timeframe(lane.config.bars):
            raise StrategyError(
                f"{symbol}: feed has (timeframe, compression) {declared}, the config {lane.config.timeframe}"
            )
        if lane.feed.p.name != symbol:
            raise StrategyError(f"{symbol}: its lane has the feed of {lane.feed.p.name}")
        if live and lane.config.execution != "next_open":
            raise StrategyError(
                f"{symbol}: execution {lane.config.execution} is for research; only next_open may trade"
            )
    if not lanes:
        raise StrategyError("nothing to trade: give at least one lane")


def _check_order(lanes: Sequence[Lane], symbols: tuple[str, ...]) -> None:
    """Sums of money depend on the order in which they are added: it is one, by symbol."""
    given = tuple(lane.market.instrument.symbol for lane in lanes)
    if given != symbols or given != tuple(sorted(given)):
        raise StrategyError(
            f"lanes {', '.join(given)} against {', '.join(symbols)}: entries are admitted in the order of "
            "the symbols; give the lanes sorted by symbol"
        )
    for lane, symbol in zip(lanes, given, strict=True):
        if lane.config.execution == "close":
            raise StrategyError(
                f"{symbol}: execution close fills before anybody can admit the entry; a portfolio trades "
                "next_open"
            )
