"""`ReportData`: what a tear sheet shows, as DataFrames; checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.metrics import SESSIONS_PER_YEAR

Floats = NDArray[np.float64]

EQUITY_COLUMNS = ("session_date", "close", "equity", "position", "cash")
TRADE_COLUMNS = (
    "trade_id",
    "side",
    "quantity",
    "decision_end",
    "entry_end",
    "entry_price",
    "exit_end",
    "exit_price",
    "exit_reason",
    "bars_held",
    "gross_pnl",
    "commission",
    "slippage_cost",
    "net_pnl",
    "status",
)
REASON_COLUMNS = ("reason", "kind", "count")
FEATURE_COLUMNS = ("ibs",)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """One run, ready to be drawn. Amounts are USD.

    title, symbol, instrument_name, timeframe   texts of the header (`1d`, `1h`, ...)
    proxy_of     symbol that a price index stands in for, or None; shown as a warning
    capital      > 0: the notional capital that returns and sizes refer to
    equity       one row per bar, indexed by `end` (UTC): session_date, close, equity, position, cash
    trades       one row per trade, see TRADE_COLUMNS: side +1 or -1, stamps UTC (`exit_end` NaT while open),
                 net_pnl = gross_pnl - commission (slippage is in the prices; `slippage_cost` says how much),
                 status `closed` or `open`
    reasons      reason, kind (`entry`, `exit`, `no_trade`, `hold`), count
    features     indexed by `end`: `ibs` of every bar, NaN where it is not known
    metrics      measures by the names of `lockstep.metrics.Performance`; None or NaN where undefined
    provenance   label -> hash, version or seed
    config_yaml  the strategy's config
    notes        sentences for the reader, in order
    sessions_per_year   the factor `metrics` were annualised with: 252, or 365 for markets that never close

    DataError where a column is missing, there are no bars, the index holds no UTC stamps, or capital is not
    positive.
    """

    title: str
    symbol: str
    instrument_name: str
    proxy_of: str | None
    timeframe: str
    capital: float
    equity: pd.DataFrame
    trades: pd.DataFrame
    reasons: pd.DataFrame
    features: pd.DataFrame
    metrics: Mapping[str, float | int | None]
    provenance: Mapping[str, str]
    config_yaml: str
    notes: Sequence[str]
    sessions_per_year: float = SESSIONS_PER_YEAR

    def __post_init__(self) -> None:
        _require("equity", self.equity, EQUITY_COLUMNS)
        _require("trades", self.trades, TRADE_COLUMNS)
        _require("reasons", self.reasons, REASON_COLUMNS)
        _require("features", self.features, FEATURE_COLUMNS)
        if not self.capital > 0:
            raise DataError(f"report of {self.symbol}: capital {self.capital}: must be positive")
        if self.equity.empty:
            raise DataError(f"report of {self.symbol}: no bars: a tear sheet needs at least one")
        if not isinstance(self.equity.index, pd.DatetimeIndex) or self.equity.index.tz is None:
            raise DataError(f"report of {self.symbol}: equity index: must be bar ends in UTC")

    @property
    def is_daily(self) -> bool:
        """Whether a bar is one session."""
        return self.timeframe == "1d"

    @property
    def session_dates(self) -> NDArray[np.datetime64]:
        """Session date of each bar, datetime64[D] (bars,)."""
        return np.asarray(self.equity["session_date"].to_numpy(), dtype="datetime64[D]")

    @property
    def closed(self) -> pd.DataFrame:
        """Trades that have ended."""
        return self.trades[self.trades["status"] == "closed"]

    @property
    def open_trades(self) -> int:
        """Number of trades still open after the last bar."""
        return len(self.trades) - len(self.closed)


def floats(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column as float64 (rows,), missing values as NaN, whatever type an empty frame gave it."""
    return np.asarray(frame[column].to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _require(name: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"report, {name}: no column {', '.join(missing)}: needed are {', '.join(columns)}")
