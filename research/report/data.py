"""`ReportData`: what a tear sheet shows, as DataFrames; checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.metrics import SESSIONS_PER_YEAR, Annual, Dates, Drawdown

Floats = NDArray[np.float64]

DEEPEST = 10
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

BARS, TRADES, PRICES, COSTS, RECORD = "bars", "trades", "prices", "costs", "record"
EVERYTHING = frozenset((BARS, TRADES, PRICES, COSTS, RECORD))


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What a strategy is compared with: a level, such as a price or an index, at session dates.

    name    for the reader
    dates   datetime64[D] (m,), rising; level   float64 (m,), > 0

    DataError where dates do not rise or a level is not positive.
    """

    name: str
    dates: Dates
    level: Floats

    def __post_init__(self) -> None:
        if not self.dates.size or (np.diff(self.dates.astype(np.int64)) <= 0).any():
            raise DataError(f"benchmark {self.name}: dates must rise and not be empty")
        if not (np.isfinite(self.level) & (self.level > 0)).all():
            raise DataError(f"benchmark {self.name}: a level is not positive: needed is a price or an index")

    def at(self, dates: Dates) -> Floats:
        """Return the last level on or before each of `dates` (n,); NaN outside of the benchmark's own."""
        place = np.searchsorted(self.dates, dates, side="right") - 1
        known = (place >= 0) & (dates <= self.dates[-1])
        return np.where(known, self.level[np.maximum(place, 0)], np.nan)


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
    features     indexed by `end`: the strategy's signal at every bar, its first column, NaN where not known
    metrics      measures by the names of `lockstep.metrics.Performance`; None or NaN where undefined
    provenance   label -> hash, version or seed
    config_yaml  the strategy's config
    notes        sentences for the reader, in order; the page shows them first
    sessions_per_year   of this market: 252, or 365 for markets that never close
    multiplier   USD per point of one contract; None where it is not known
    in_points    whether prices were moved at rolls, so that fractions of them say nothing
    benchmark    what the run is compared with; None: the instrument itself, bought and held
    out_of_sample   (first, last) session dates that the strategy was not chosen on
    trials       how many variants the strategy was chosen from, >= 1; None where it is not known
    compounded   whether each period's return is on the equity before it, and not on `capital`
    period       what a return covers: `session`, `day`, `week`, `month` ...
    regimes      float64 (bars,), the feature `regime` at every bar, NaN where unknown; None: not known
    known        which parts the report has: BARS (close and position per bar), TRADES, PRICES (of trades),
                 COSTS, RECORD (reasons, features, config); what is not known is left off the page

    `trades` may have a column `spans`: what a trade lay across, such as `hole`, or an empty text.

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
    multiplier: float | None = None
    in_points: bool = False
    benchmark: Benchmark | None = None
    out_of_sample: Sequence[tuple[np.datetime64, np.datetime64]] = ()
    trials: float | None = None
    compounded: bool = False
    period: str = "session"
    regimes: Floats | None = None
    known: frozenset[str] = EVERYTHING

    def __post_init__(self) -> None:
        _require("equity", self.equity, EQUITY_COLUMNS if BARS in self.known else ("session_date", "equity"))
        _require("trades", self.trades, TRADE_COLUMNS)
        _require("reasons", self.reasons, REASON_COLUMNS)
        if not self.features.shape[1]:
            raise DataError(f"report of {self.symbol}: features: has no column; give the signal's")
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

    @cached_property
    def session_dates(self) -> NDArray[np.datetime64]:
        """Session date of each bar, datetime64[D] (bars,)."""
        return np.asarray(self.equity["session_date"].to_numpy(), dtype="datetime64[D]")

    @cached_property
    def session_ends(self) -> NDArray[np.intp]:
        """Last bar of each session, (sessions,), rising; DataError where session dates fall."""
        ordinals = metrics.session_ordinals(self.session_dates)
        return np.append(np.flatnonzero(np.diff(ordinals)), ordinals.size - 1)

    @cached_property
    def curve(self) -> Floats:
        """Capital, then the equity after each bar, float64 (bars + 1,)."""
        return metrics.curve_from(self.capital, floats(self.equity, "equity"))

    @cached_property
    def declines(self) -> list[Drawdown]:
        """The ten deepest drawdowns of `curve`, deepest first: relative to their high where it compounds."""
        return metrics.deepest_drawdowns(self.curve, DEEPEST, by_fraction=self.compounded)

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row per session: date, equity after it, return (see `compounded`)."""
        equity = floats(self.equity, "equity")[self.session_ends]
        curve = metrics.curve_from(self.capital, equity)
        with np.errstate(divide="ignore", invalid="ignore"):
            returns = np.diff(curve) / (curve[:-1] if self.compounded else self.capital)
        return pd.DataFrame(
            {"date": self.session_dates[self.session_ends], "equity": equity, "return": returns}
        )

    @property
    def dates(self) -> Dates:
        """Session dates, datetime64[D] (sessions,), rising."""
        return np.asarray(self.sessions["date"].to_numpy(), dtype="datetime64[D]")

    @cached_property
    def scale(self) -> Annual:
        """How long the run is, and what annualises its ratios."""
        return metrics.time_scale(self.dates, len(self.sessions), self.sessions_per_year)

    @cached_property
    def beside(self) -> Benchmark | None:
        """The benchmark: the one that was given, or the instrument; None where its price is not positive."""
        if self.benchmark is not None or BARS not in self.known:
            return self.benchmark
        close = floats(self.equity, "close")[self.session_ends]
        if not (np.isfinite(close) & (close > 0)).all():
            return None
        return Benchmark(name=f"{self.symbol} bought and held", dates=self.dates, level=close)

    def bars_at(self, stamps: pd.Series) -> NDArray[np.intp]:
        """Return the bar in which each of `stamps` lies, (n,): it ends then or next; NaT: the last bar."""
        ends = pd.DatetimeIndex(self.equity.index).as_unit("ns").asi8
        wanted = pd.DatetimeIndex(pd.to_datetime(stamps, utc=True)).as_unit("ns")
        place = np.searchsorted(ends, wanted.asi8)
        return np.where(wanted.isna(), len(ends) - 1, np.minimum(place, len(ends) - 1)).astype(np.intp)

    @cached_property
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
