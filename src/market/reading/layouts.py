"""Vendors' file layouts: the presets behind a source's `like`, as data.

A preset holds keys of `Source`: `always`, and those for `intraday` or `daily` files alone. What the vendor
does not fix (the broker's time zone, the symbol, the session) is left to the entry, which may override any
key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BY_NUMBER = {"datetime": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}
_DATE_AND_TIME = {"datetime": [1, 2], "open": 3, "high": 4, "low": 5, "close": 6, "volume": 7}
_IN_BRACKETS = {name: f"<{name.upper()}>" for name in ("open", "high", "low", "close")}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # MetaTrader 5, symbol window "Bars", export. Stamps are the broker's server time.
    "mt5": {
        "always": {"separator": "\t", "columns": _IN_BRACKETS | {"volume": "<TICKVOL>"}},
        "intraday": {
            "stamp": "open", "stamp_format": "%Y.%m.%d %H:%M:%S",
            "columns": {"datetime": ["<DATE>", "<TIME>"]},
        },
        "daily": {"stamp_format": "%Y.%m.%d", "columns": {"datetime": "<DATE>"}},
    },
    # MetaTrader 4, history centre, export.
    "mt4": {
        "always": {"header": False, "columns": _DATE_AND_TIME},
        "intraday": {"stamp": "open", "stamp_format": "%Y.%m.%d %H:%M"},
        "daily": {"stamp_format": "%Y.%m.%d", "columns": {"datetime": 1}},
    },
    # NinjaTrader 8, historical data window, export: end of bar, UTC.
    "ninjatrader": {
        "always": {
            "file": "{symbol}.Last", "suffix": ".txt", "separator": ";", "header": False,
            "columns": BY_NUMBER,
        },
        "intraday": {"stamp": "close", "stamp_format": "%Y%m%d %H%M%S", "timezone": "UTC"},
        "daily": {"stamp_format": "%Y%m%d"},
    },
    # TradeStation, data window, save: end of bar, exchange or local time as set there.
    "tradestation": {
        "always": {"suffix": ".txt"},
        "intraday": {
            "stamp": "close", "stamp_format": "%m/%d/%Y %H:%M",
            "columns": {"datetime": ["Date", "Time"], "volume": ["Up", "Down"]},
        },
        "daily": {"stamp_format": "%m/%d/%Y", "columns": {"datetime": "Date", "volume": "Vol"}},
    },
    # Sierra Chart, "export bar and study data to text file": start of bar, the chart's time zone.
    "sierra": {
        "always": {"suffix": ".txt", "columns": {"close": "Last"}},
        "intraday": {
            "stamp": "open", "stamp_format": "%Y/%m/%d %H:%M:%S", "columns": {"datetime": ["Date", "Time"]},
        },
        "daily": {"stamp_format": "%Y/%m/%d", "columns": {"datetime": "Date"}},
    },
    # Databento, schema ohlcv-*, CSV with pretty_ts and pretty_px, or the frame of `to_df` as parquet.
    "databento": {
        "always": {"columns": {"datetime": "ts_event"}, "timezone": "UTC"},
        "intraday": {"stamp": "open"},
        "daily": {},
    },
    # The same without the pretty options: nanoseconds, and prices in units of 1e-9.
    "databento_raw": {
        "always": {"columns": {"datetime": "ts_event"}, "timezone": "UTC", "epoch": "ns", "scale": 1e-9},
        "intraday": {"stamp": "open"},
        "daily": {},
    },
    # yfinance, `history().to_csv()` or `download().to_csv()`, and Yahoo's own download: the reader knows the
    # three header lines.
    "yahoo": {"always": {}, "intraday": {"stamp": "open"}, "daily": {}},
    # Kibot, New York time.
    "kibot": {
        "always": {"suffix": ".txt", "header": False, "timezone": "America/New_York"},
        "intraday": {"stamp": "open", "stamp_format": "%m/%d/%Y %H:%M", "columns": _DATE_AND_TIME},
        "daily": {"stamp_format": "%m/%d/%Y", "columns": BY_NUMBER},
    },
    # FirstRate Data, New York time, files without a header.
    "firstrate": {
        "always": {"suffix": ".txt", "header": False, "timezone": "America/New_York", "columns": BY_NUMBER},
        "intraday": {"stamp": "open"},
        "daily": {},
    },
    # Interactive Brokers by ib_async: `util.df(bars).to_csv()`.
    "ib": {"always": {"columns": {"datetime": "date"}}, "intraday": {"stamp": "open"}, "daily": {}},
    # Investing.com, American edition, newest first: "Date","Price","Open","High","Low","Vol.","Change %".
    "investing": {
        "always": {
            "columns": {"datetime": "Date", "close": "Price", "volume": "Vol."}, "thousands": ",",
            "stamp_format": "%m/%d/%Y", "order": "any",
        },
        "intraday": {},
        "daily": {},
    },
    # Stooq, bulk files: <TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,…; say yourself what an intraday stamp means.
    "stooq": {
        "always": {"suffix": ".txt", "columns": _IN_BRACKETS | {"volume": "<VOL>"}},
        "intraday": {"stamp_format": "%Y%m%d %H%M%S", "columns": {"datetime": ["<DATE>", "<TIME>"]}},
        "daily": {"stamp_format": "%Y%m%d", "columns": {"datetime": "<DATE>"}},
    },
    # TradingView, "export chart data", UNIX timestamps.
    "tradingview": {
        "always": {"columns": {"datetime": "time"}, "epoch": "s", "timezone": "UTC"},
        "intraday": {"stamp": "open"},
        "daily": {},
    },
    # Nasdaq.com, historical quotes, newest first: Date,Close/Last,Volume,Open,High,Low.
    "nasdaq": {
        "always": {
            "columns": {"close": "Close/Last"}, "stamp_format": "%m/%d/%Y", "order": "any", "thousands": ",",
        },
        "intraday": {},
        "daily": {},
    },
    # data.binance.vision, klines; from 2025 on spot files count microseconds: `epoch: us`.
    "binance": {
        "always": {"header": False, "columns": BY_NUMBER, "epoch": "ms", "timezone": "UTC"},
        "intraday": {"stamp": "open"},
        "daily": {},
    },
    # Dukascopy, historical data export in GMT.
    "dukascopy": {
        "always": {"columns": {"datetime": "Gmt time"}, "timezone": "UTC"},
        "intraday": {"stamp": "open", "stamp_format": "%d.%m.%Y %H:%M:%S.%f"},
        "daily": {"stamp_format": "%d.%m.%Y"},
    },
}  # fmt: skip

# How other tools call our columns, for the answer to a file in which one of ours is missing.
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "datetime": (
        "time", "date time", "date_time", "ts_event", "ts", "gmt time", "local time", "utc time", "stamp",
        "<date>", "open time", "open_time", "dt", "day",
    ),
    "open": ("o", "<open>", "opening", "first", "open price"),
    "high": ("h", "<high>", "max"),
    "low": ("l", "<low>", "min"),
    "close": (
        "last", "c", "<close>", "close/last", "settle", "settlement", "price", "closing", "adj close",
    ),
    "volume": (
        "vol", "v", "vol.", "<vol>", "<tickvol>", "tick volume", "tick_volume", "total volume", "qty", "up",
        "totalvolume", "shares",
    ),
    "price": ("close", "trade price", "trade_price", "px", "p"),
}  # fmt: skip

# Columns that say which instrument, moment or kind of bar a row is. One that varies and is not used would mix
# what does not belong together.
TELLING = frozenset(
    (
        "time", "hour", "minute", "time of day", "bar time", "timezone", "tz", "utc offset", "gmtoffset",
        "symbol", "ticker", "instrument", "instrument id", "instrument name", "security", "security id",
        "asset", "contract", "contract id", "contract month", "contract code", "raw symbol", "local symbol",
        "root", "product", "isin", "cusip", "figi", "ric", "con id", "conid", "pair", "name", "code",
        "currency",
        "expiry", "expiration", "expiration date", "maturity", "delivery month",
        "interval", "timeframe", "period", "per", "resolution", "frequency", "bar size", "barsize",
        "bar type", "granularity", "rtype", "record type", "data type", "price type", "what to show",
        "adjustment",
    )
)  # fmt: skip


def plain(name: str) -> str:
    """Return a column name as `TELLING` writes it: lower case, without brackets, blanks for underscores."""
    return " ".join(name.strip().strip("<>[]#").lower().replace("_", " ").replace("-", " ").split())


def with_preset(values: Mapping[str, Any], *, daily: bool) -> dict[str, Any]:
    """Return the keys of an entry over those of the preset that its `like` names; KeyError where none is.

    `columns` is merged name by name; every other key of the entry replaces the preset's, and takes away what
    it contradicts: an `epoch` the `stamp_format`, `volume: none` the column of the volume, a header the
    numbers of columns.
    """
    preset = PRESETS[str(values["like"])]
    layout: dict[str, Any] = {"stamp": "session_date"} if daily else {}
    columns: dict[str, Any] = {}
    for layer in (preset["always"], preset["daily" if daily else "intraday"]):
        layout |= layer
        columns |= layer.get("columns", {})
    if values.get("epoch") is not None:
        layout.pop("stamp_format", None)
    if values.get("stamp_format") is not None:
        layout.pop("epoch", None)
    if values.get("volume") is not None:
        columns.pop("volume", None)
    if values.get("header", False) and not layout.get("header", True):
        columns = {}
    declared = values.get("columns", {})
    merged = {**layout, **values}
    # What is no mapping is left for the model to refuse.
    merged["columns"] = {**columns, **declared} if isinstance(declared, Mapping) else declared
    return merged
