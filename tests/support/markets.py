"""Sessions, stamps and files for tests of market data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import BAR_COLUMNS, Bars
from lockstep.market.config import load_instruments
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe

BOOK = load_instruments()
CME: Session = BOOK.session_named("CME")
NYSE: Session = BOOK.session_named("NYSE")
GRAINS: Session = BOOK.session_named("GRAINS")
CRYPTO: Session = BOOK.session_named("CRYPTO")

MINUTE = 60_000_000_000
ONE_MINUTE = Timeframe.parse("1min")
FIFTEEN = Timeframe.parse("15min")
HOURLY = Timeframe.parse("1h")

NEW_YORK = "America/New_York"


def utc(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Return wall-clock `text` ("2024-03-08 16:00") in `zone` as UTC nanoseconds."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp()) * 1_000_000_000


def stamps(texts: Sequence[str], zone: str = NEW_YORK) -> NDArray[np.int64]:
    return np.array([utc(text, zone) for text in texts], dtype=np.int64)


def local(end: NDArray[np.int64], zone: str = NEW_YORK) -> list[str]:
    """Return UTC nanoseconds as wall-clock text in `zone`."""
    moments = (datetime.fromtimestamp(int(stamp) / 1e9, ZoneInfo(zone)) for stamp in end)
    return [moment.strftime("%Y-%m-%d %H:%M") for moment in moments]


def random_bars(end: NDArray[np.int64], timeframe: Timeframe, symbol: str = "ES", seed: int = 7) -> Bars:
    """Return bars at `end` with random prices and fractional volumes."""
    draw = np.random.default_rng(seed)
    close = 100 + np.cumsum(draw.normal(size=end.size))
    open_ = close + draw.normal(size=end.size)
    high = np.maximum(open_, close) + draw.random(end.size)
    low = np.minimum(open_, close) - draw.random(end.size)
    volume = draw.random(end.size) * 10
    columns = dict(zip(BAR_COLUMNS, (open_, high, low, close, volume), strict=True))
    return Bars(symbol=symbol, timeframe=timeframe, end=end, **columns)


def random_ticks(stamp: NDArray[np.int64], symbol: str = "ES", seed: int = 7) -> Ticks:
    draw = np.random.default_rng(seed)
    return Ticks(
        symbol=symbol,
        stamp=stamp,
        price=100 + np.cumsum(draw.normal(size=stamp.size)),
        volume=draw.random(stamp.size),
    )


def minutes(first: str, last: str, zone: str = NEW_YORK) -> NDArray[np.int64]:
    """Return every minute's end from `first` to `last`, both included."""
    return np.arange(utc(first, zone), utc(last, zone) + MINUTE, MINUTE, dtype=np.int64)


def concatenated(parts: Sequence[Bars]) -> dict[str, NDArray[np.generic]]:
    """Return end and values of all parts, one behind the other."""
    names = ("end", *BAR_COLUMNS)
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def assert_same_bits(one: dict[str, NDArray[np.generic]], other: dict[str, NDArray[np.generic]]) -> None:
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), f"{name} differs"


DAILY_HEADER = "datetime,Open,High,Low,Close,volume,openinterest"
DAILY_ROWS = (
    "2018-12-03,100,102,99,101,1000,5",
    "2018-12-04,101,103,100,102,1100,5",
    "2018-12-06,102,104,101,103,1200,5",
    "2018-12-07,103,105,102,104,1300,5",
)


def write_daily(folder: Path, *rows: str, header: str = DAILY_HEADER, symbol: str = "ES") -> Path:
    """Write `futures_daily/<symbol>_bt.csv` below `folder` and return its path."""
    path = folder / "futures_daily" / f"{symbol}_bt.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join((header, *rows, "")))
    return path
