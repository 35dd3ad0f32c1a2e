"""Small histories written out by hand, and a run of the real engine over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.sessions import Session, SessionTemplate
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.veto import Veto
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest

CME = Session(
    SessionTemplate(name="CME", calendar="CMES", timezone="America/New_York", open="18:00", close="17:00")
)
NYSE = Session(
    SessionTemplate(
        name="NYSE", calendar="XNYS", timezone="America/New_York", open="09:30", close="16:00", grid="clock"
    )
)
ES = Instrument(symbol="ES", multiplier=50.0, tick_size=0.25, session="CME")
SPY = Instrument(symbol="SPY", multiplier=1.0, tick_size=0.01, session="NYSE", commission=0.0)

Row = Sequence[float]


def make_bars(
    rows: Sequence[Row], end: Any, *, symbol: str = "ES", timeframe: Timeframe = DAILY, volume: float = 1000.0
) -> Bars:
    """Return bars from (open, high, low, close) rows and their ends (anything numpy reads as stamps, UTC)."""
    prices = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Bars(
        symbol=symbol,
        timeframe=timeframe,
        end=np.array(end, dtype="M8[ns]").astype(np.int64),
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.full(len(prices), volume),
    )


def daily_bars(rows: Sequence[Row], *, first: str = "2024-01-08", symbol: str = "ES") -> Bars:
    """Return daily bars on consecutive CME sessions from `first`."""
    start = np.datetime64(first, "D")
    dates = CME.scheduled_dates(start, start + np.timedelta64(3 * len(rows) + 10, "D"))[: len(rows)]
    return make_bars(rows, CME.nominal_close(dates).view("M8[ns]"), symbol=symbol)


def history_of(bars: Bars, instrument: Instrument = ES, session: Session = CME) -> History:
    """Return a history of one series."""
    market = Market(instrument=instrument, session=session)
    return History(bars={SeriesKey(bars.symbol, bars.timeframe): bars}, markets={bars.symbol: market})


def backtest(
    bars: Bars,
    *,
    instrument: Instrument = ES,
    session: Session = CME,
    veto: Veto | None = None,
    span: DateRange | None = None,
    **settings: Any,
) -> BacktestResult:
    """Run `IbsConfig(**settings)` over `bars` through the real engine."""
    config = IbsConfig.model_validate({"name": "scenario", "timeframe": str(bars.timeframe), **settings})
    history = history_of(bars, instrument, session)
    return run_backtest(config, history, bars.symbol, span=span, veto=veto)
