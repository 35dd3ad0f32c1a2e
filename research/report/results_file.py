"""Results of another program, from a file or from pandas: a series by date, or a list of trades.

What a column means is read from its name, in the spellings of quantstats, pyfolio, vectorbt, backtesting.py,
Backtrader, zipline, MetaTrader, NinjaTrader and TradingView. What could mean two things is refused, with the
option that says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lockstep.errors import DataError
from lockstep.metrics import Dates
from research.report.data import Floats
from research.report.results_cells import dates_of, numbers_of
from research.utils.text_cells import read_cells

Kind = Literal["returns", "equity", "pnl", "trades"]
Unit = Literal["fraction", "percent"]

_DATE = ("", "unnamed0", "index", "date", "datetime", "time", "timestamp", "day", "month", "period", "asof")
_SERIES: dict[Kind, tuple[str, ...]] = {
    "returns": (
        "return", "returns", "ret", "rets", "dailyreturn", "dailyreturns", "strategy", "strategyreturn",
        "strategyreturns", "portfolioreturn", "portfolioreturns", "netreturn", "netreturns", "change",
        "timereturn", "monthlyreturn", "monthlyreturns", "simplereturn", "simplereturns",
    ),
    "equity": (
        "equity", "value", "nav", "balance", "portfoliovalue", "totalvalue", "accountvalue", "endingvalue",
        "netliquidation", "equitycurve", "close", "adjclose", "price", "level", "growth", "wealth",
    ),
    "pnl": ("pnl", "pl", "profit", "netprofit", "netpnl", "dailypnl", "profitloss", "realizedpnl"),
}  # fmt: skip
_ENTRY = (
    "entry", "entrytime", "entrydate", "entrydatetime", "entrytimestamp", "entryindex", "opentime",
    "opendate",
    "opentimestamp", "opened", "dateopened", "datein", "entryend", "timein", "buydate", "opendt", "timeopen",
)  # fmt: skip
_EXIT = (
    "exit", "exittime", "exitdate", "exitdatetime", "exittimestamp", "exitindex", "closetime", "closedate",
    "closetimestamp", "closed", "dateclosed", "dateout", "exitend", "timeout", "selldate", "closedt",
    "timeclose",
)  # fmt: skip
_PROFIT = (
    "netpnl", "pnlnet", "pnlcomm", "netprofit", "netpl", "pnl", "profit", "pl", "profitloss", "realizedpnl",
)  # fmt: skip
_FEES = ("commission", "commissions", "fee", "fees", "entryfees", "exitfees", "cost", "costs")
_SIDE = ("side", "direction", "dir", "type", "marketpos", "marketposition", "longshort", "position")
_EXTRAS = {"mae": "mae", "mfe": "mfe"}
# Yearly volatility between which a fraction and a percentage can both be meant.
_SURELY_FRACTION, _SURELY_PERCENT = 0.5, 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Results of another program, rising by date.

    source    name for messages
    kind      what `values` are: `returns` as fractions, `equity` levels, `pnl` amounts, or `trades`
    dates     datetime64[ns] (n,); values float64 (n,); for trades those of the exits, and their net results
    trades    entry, exit, side (+1, -1, NaN), pnl, fees (NaN where not known), for kind `trades`
    unused    names of columns that nothing was taken from
    """

    source: str
    kind: Kind
    dates: Dates
    values: Floats
    trades: pd.DataFrame | None = None
    unused: tuple[str, ...] = ()


def results_of(
    given: object,
    *,
    kind: Kind | None = None,
    unit: Unit | None = None,
    date_format: str | None = None,
    column: str | None = None,
) -> Results:
    """Return what `given` holds: the path of a CSV file, a pandas Series by date, or a DataFrame.

    kind, unit, column   what the file does not say: see `Results`; the unit of returns; the column's name
    date_format          as for strptime, where day and month could be mistaken for each other

    DataError, one line, where something is missing, not a number, or could mean two things.
    """
    if isinstance(given, (str, Path)):
        source, frame = Path(given).name, _read(Path(given))
    elif isinstance(given, pd.Series):
        source = "series"
        name = "value" if given.name is None else str(given.name)
        frame = given.rename(name).rename_axis("date").reset_index()
        if given.name is None:
            column = column or "value"
            kind = kind or guessed_kind(given.to_numpy(dtype=np.float64), source)
    elif isinstance(given, pd.DataFrame):
        source, frame = "frame", _with_index(given)
    else:
        raise DataError(
            f"{type(given).__name__}: not results: pass a path, a pandas Series by date or a DataFrame"
        )
    names = {_plain(name): str(name) for name in reversed(list(frame.columns))}
    if frame.empty:
        raise DataError(f"{source}: no rows: needed are dates and returns, equity or trades")
    if kind == "trades" or (kind is None and column is None and _has_trades(names)):
        return _trades(source, _paired(frame, names), date_format)
    return _series(source, frame, names, kind, unit, date_format, column)


def _plain(name: object) -> str:
    """`Exit Timestamp` and `exit_timestamp` are one name; units in brackets are no part of it."""
    text = re.sub(r"\[.*?\]|\(.*?\)|\b(usd|eur|gbp|jpy|usdt)\b", "", str(name).lower())
    return re.sub(r"[^a-z0-9]", "", text.replace("percent", "").replace("pct", ""))


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index() if isinstance(frame.index, pd.DatetimeIndex) else frame


def _read(path: Path) -> pd.DataFrame:
    """Return the cells of a CSV file, two columns or more."""
    frame = read_cells(path)
    if frame.shape[1] < 2:
        raise DataError(
            f"{path.name}: at most one column: needed are a date and a value, separated by commas"
        )
    return frame


def _has_trades(names: dict[str, str]) -> bool:
    """Entry and exit by column, or TradingView's two rows to a trade."""
    return bool(_first(names, _EXIT) and _first(names, _PROFIT)) or _is_paired(names)


def _is_paired(names: dict[str, str]) -> bool:
    return "type" in names and bool(_first(names, ("trade", "tradenumber"))) and "exittime" not in names


def _first(names: dict[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _paired(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Return TradingView's list, an `Entry long` and an `Exit long` row to a trade, as one row a trade."""
    if not _is_paired(names) or _first(names, _EXIT):
        return frame
    number, kind = _first(names, ("trade", "tradenumber")), frame[names["type"]].astype(str).str.lower()
    entries, exits = (frame[kind.str.startswith(word)].set_index(number) for word in ("entry", "exit"))
    when = _first(names, ("dateandtime", "datetime", "date", "time"))
    if when is None or entries.index.has_duplicates or exits.index.has_duplicates:
        raise DataError("list of trades: each trade needs one Entry row and one Exit row, with their dates")
    exits = exits.rename(columns={when: "exit time"})
    return exits.join(entries[when].rename("entry time")).reset_index()


def _series(
    source: str,
    frame: pd.DataFrame,
    names: dict[str, str],
    kind: Kind | None,
    unit: Unit | None,
    date_format: str | None,
    column: str | None,
) -> Results:
    date = _first(names, _DATE)
    if date is None:
        raise DataError(f"{source}: no date among its columns {_listed(frame)}: name one `date`")
    found, name = _value_column(source, frame, names, date, kind, column)
    dates, values = dates_of(source, frame[date], date_format), numbers_of(source, name, frame[name])
    dates, values = _rising(source, dates, values)
    kind = kind or found or guessed_kind(values, source)
    if kind == "returns":
        says_percent = _says_percent(name, frame[name])
        values = _fractions(source, values, dates, unit or ("percent" if says_percent else None))
    if kind == "equity" and not (values > 0).all():
        at = int(np.argmin(values > 0))
        raise DataError(
            f"{source}: equity {values[at]:g} on {_day(dates[at])}: an account that is lost has no returns"
        )
    unused = tuple(str(each) for each in frame.columns if each not in (date, name))
    return Results(source=source, kind=kind, dates=dates, values=values, unused=unused)


def _value_column(
    source: str, frame: pd.DataFrame, names: dict[str, str], date: str, kind: Kind | None, column: str | None
) -> tuple[Kind | None, str]:
    if column is not None:
        if column not in frame.columns:
            raise DataError(f"{source}: no column {column}: there are {_listed(frame)}")
        return _kind_named(_plain(column)), column
    others = [str(each) for each in frame.columns if each != date]
    kinds: tuple[Kind, ...] = ("returns", "equity", "pnl") if kind is None else (kind,)
    for each in kinds:
        known = [names[name] for name in _SERIES[each] if name in names]
        if len(known) == 1:
            return each, known[0]
        if len(known) > 1:
            raise DataError(f"{source}: columns {', '.join(known)}: which one is meant? Say --column NAME")
    if len(others) == 1:
        return kind, others[0]
    raise DataError(
        f"{source}: columns {_listed(frame)}: none is named returns, equity, pnl, or entry, exit and pnl of "
        "trades: add --column NAME and --kind"
    )


def _kind_named(name: str) -> Kind | None:
    return next((kind for kind, spellings in _SERIES.items() if name in spellings), None)


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(str(each) or "(no name)" for each in frame.columns)


def guessed_kind(values: Floats, source: str) -> Kind:
    """Return `returns` or `equity` for a series without a name; DataError where it could be either."""
    known = values[np.isfinite(values)]
    if known.size and (known <= 0).any():
        return "returns"
    steps = np.abs(np.diff(known) / known[:-1])
    if known.size > 1 and known.min() > 0.5 and float(np.median(steps)) < 0.2:
        return "equity"
    raise DataError(f"{source}: returns or equity? Its values fit both: add --kind returns or --kind equity")


def _says_percent(name: str, cells: pd.Series) -> bool:
    marked = cells.astype(str).str.contains("%") if cells.dtype.kind not in "fiu" else pd.Series([False])
    return bool(marked.any()) or "%" in name or "percent" in name.lower() or "pct" in name.lower()


def _fractions(source: str, values: Floats, dates: Dates, unit: Unit | None) -> Floats:
    """Return returns as fractions; DataError where nothing says what they are and both units fit."""
    if unit is None:
        years = max(float((dates[-1] - dates[0]) / np.timedelta64(1, "D")) / 365.25, 1e-9)
        yearly = float(np.std(values)) * (values.size / years) ** 0.5
        if yearly > _SURELY_FRACTION:
            likely = "percent" if yearly > _SURELY_PERCENT else "either"
            raise DataError(
                f"{source}: returns that vary by {100 * yearly:.0f}% a year if they are fractions, and by "
                f"{yearly:.2f}% if they are percentages ({likely} is likely): add --unit percent or fraction"
            )
    values = values / 100.0 if unit == "percent" else values
    if (values < -1.0).any():
        at = int(np.argmax(values < -1.0))
        raise DataError(
            f"{source}: return {100 * values[at]:.4g}% on {_day(dates[at])}: no account loses more than all "
            "it has; if these are percentages, add --unit percent; if amounts, --kind pnl --capital AMOUNT"
        )
    return values


def _day(stamp: np.datetime64) -> str:
    return str(stamp.astype("datetime64[D]"))


def _rising(source: str, dates: Dates, values: Floats) -> tuple[Dates, Floats]:
    """Return both with rising dates: a file may be newest first, but no other order, and no date twice."""
    if dates.size > 1 and dates[0] > dates[-1]:
        dates, values = dates[::-1], values[::-1]
    known = np.isfinite(values)
    dates, values = dates[known], values[known]
    if dates.size < 3:
        raise DataError(f"{source}: {dates.size} values: a tear sheet needs at least 3")
    falls = np.flatnonzero(np.diff(dates) <= np.timedelta64(0, "ns"))
    if falls.size:
        at = int(falls[0])
        rule = "twice" if dates[at] == dates[at + 1] else f"after {_day(dates[at])}"
        raise DataError(f"{source}: date {_day(dates[at + 1])} {rule}: dates must rise, or fall throughout")
    return dates, values


def _trades(source: str, frame: pd.DataFrame, date_format: str | None) -> Results:
    names = {_plain(name): str(name) for name in reversed(list(frame.columns))}
    entry, exit_, profit = (_first(names, wanted) for wanted in (_ENTRY, _EXIT, _PROFIT))
    if exit_ is None or profit is None:
        missing = "exit time" if exit_ is None else "pnl"
        raise DataError(
            f"{source}: no column {missing} among {_listed(frame)}: a trade needs its exit and its result"
        )
    is_open = frame[exit_].astype(str).str.strip().str.lower().isin(("", "nan", "nat", "none", "open"))
    ended = frame[~is_open]
    if ended.empty:
        raise DataError(f"{source}: no trade has an exit: a tear sheet needs closed trades")
    fees = [names[name] for name in _FEES if name in names]
    side = next((names[name] for name in _SIDE if name in names), _first(names, ("size", "quantity", "qty")))
    columns = {
        "entry": dates_of(source, ended[entry], date_format) if entry else pd.NaT,
        "exit": dates_of(source, ended[exit_], date_format),
        "side": _sides(ended[side]) if side else np.nan,
        "pnl": numbers_of(source, profit, ended[profit]),
        "fees": sum(np.abs(numbers_of(source, each, ended[each])) for each in fees) if fees else np.nan,
        **{
            name: np.abs(numbers_of(source, names[name], ended[names[name]]))
            for name in _EXTRAS
            if name in names and "%" not in names[name]
        },
    }
    table = pd.DataFrame(columns, index=range(len(ended)))
    if not np.isfinite(table["pnl"]).all():
        row = int(np.argmax(~np.isfinite(table["pnl"].to_numpy())))
        raise DataError(f"{source}, row {row + 2}: {profit} {ended[profit].iloc[row]!r}: not a number")
    if entry and (table["entry"] > table["exit"]).any():
        row = int(np.argmax((table["entry"] > table["exit"]).to_numpy()))
        raise DataError(
            f"{source}, row {row + 2}: exit before its entry: are the columns {entry} and {exit_} right?"
        )
    table = table.sort_values(["exit", "entry"], kind="stable", ignore_index=True)
    used = {entry, exit_, profit, side, *fees}
    return Results(
        source=source,
        kind="trades",
        dates=table["exit"].to_numpy(),
        values=table["pnl"].to_numpy(dtype=np.float64),
        trades=table,
        unused=tuple(str(each) for each in frame.columns if each not in used),
    )


def _sides(cells: pd.Series) -> Floats:
    """Return +1, -1 or NaN: from words such as `Long`, `exit short`, `buy`, `S`, or from a signed size."""
    if cells.dtype.kind not in "fiu":
        texts = cells.astype(str).str.strip().str.lower()
        words = {"long": 1.0, "buy": 1.0, "l": 1.0, "short": -1.0, "sell": -1.0, "s": -1.0}
        named = texts.str.replace(r"^(entry|exit)\s+", "", regex=True).map(words)
        if named.notna().all():
            return np.asarray(named.to_numpy(dtype=np.float64))
        cells = pd.to_numeric(texts, errors="coerce")
    size = cells.to_numpy(dtype=np.float64)
    # Sizes without a sign do not say which side they were.
    return (
        np.sign(size) if (size < 0).any() or np.isin(size, (-1.0, 1.0)).all() else np.full(size.size, np.nan)
    )
