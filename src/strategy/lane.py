"""A lane: one traded instrument with everything that its strategy works with, and what it carries on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.features.plan import FeatureSource
from lockstep.market.history import Market
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import HOLD
from lockstep.strategy.matching import Account, Order
from lockstep.strategy.records import Recorder
from lockstep.strategy.veto import Veto


@dataclass(frozen=True, kw_only=True)
class WaitingOrder:
    """A market order that was sent and has not filled; terms as in `matching.py`.

    order_id   under which it left the house, empty where orders do not leave
    """

    terms: Order
    decision: int
    intent: str
    reason: str
    probability: float
    order_id: str = ""


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """Everything that a traded instrument carries from one bar to the next.

    account     see `matching.py`
    trade       the fields of the open `TradeRecord`, or None
    bars_held   of the open trade at the close of this bar, 0 when flat
    """

    account: Account
    waiting: WaitingOrder | None = None
    trade: Mapping[str, Any] | None = None
    bars_held: int = 0


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One traded instrument, with everything its strategy needs.

    feed      the Backtrader feed of its bars
    source    feature vectors; its ids are `config.feature_ids`, then those that only the model reads
    clock     session readings; the broker reads the same
    recorder  where decisions, orders, trades and marks are reported
    veto      the model, or None
    factor    what the amount of the strategy's sizes is multiplied by, 1 where it trades alone
    state     state of an earlier engine; None: start flat with the configured capital
    required  code of the exit that an earlier engine required of the open position, HOLD for none
    on_bar    called with the number of bars seen, for progress displays

    >>> from lockstep.features import BatchFeatures, FeatureRegistry
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.strategy import build_cerebro
    >>> from lockstep.strategy.clock import SessionClock
    >>> from lockstep.strategy.family import strategy_of
    >>> from lockstep.strategy.backtrader.feed import bars_feed
    >>> from lockstep.strategy.records import MemoryRecorder
    >>> from lockstep.market.loader import load_history
    >>> history = load_history("COMP", start="2018-01-02")
    >>> key, config = SeriesKey("COMP", DAILY), strategy_of({"name": "ibs"}, where="example")
    >>> bars, market, recorder = history.series(key), history.markets["COMP"], MemoryRecorder()
    >>> lane = Lane(
    ...     feed=bars_feed(bars), market=market, config=config, clock=SessionClock(market.session, DAILY),
    ...     source=BatchFeatures(FeatureRegistry().plan(config.feature_ids, key), history), recorder=recorder)
    >>> _ = build_cerebro([lane]).run()
    >>> len(recorder.stamps) == bars.end.size
    True
    """

    feed: Any
    market: Market
    config: StrategyConfig
    source: FeatureSource
    clock: SessionClock
    recorder: Recorder
    veto: Veto | None = None
    factor: float = 1.0
    state: LaneState | None = None
    required: int = HOLD
    on_bar: Callable[[int], None] | None = None
