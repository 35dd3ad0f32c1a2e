"""A run folder as an account: its frames as they are, its measures as its `metrics.json` has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lockstep.errors import ConfigError, DataError
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.metrics import SESSIONS_PER_YEAR
from operations.reports.account import AccountRecord, FilledOrders
from research.report.data import BARS, COSTS, PRICES, REASON_COLUMNS, TRADES, Benchmark, ReportData

_SECONDS_A_DAY = 86_400.0
_NEEDED = ("metrics.json", "provenance.json", "equity.parquet")
_OF_A_LANE = ("trades.parquet", "orders.parquet", "equity.parquet", "provenance.json")


def account_of_run(folder: Path) -> AccountRecord:
    """Return the account of a run folder, of a strategy or of a portfolio.

    DataError where a file of it is missing or cannot be read, or where its frames do not give the measures
    that its metrics.json has, to the last bit.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run folder; name one that a backtest wrote")
    _require(folder, _NEEDED)
    provenance = _json(folder / "provenance.json")
    record = (
        _of_portfolio(folder, provenance) if "portfolio" in provenance else _of_strategy(folder, provenance)
    )
    _require_same(folder, record.measured(), _json(folder / "metrics.json"))
    return record


def _of_strategy(folder: Path, provenance: Mapping[str, Any]) -> AccountRecord:
    _require(folder, _OF_A_LANE)
    instrument, config = provenance["instrument"], provenance["config"]
    model = provenance.get("model")
    data = ReportData(
        title=config["name"] if model is None else f"{config['name']} · {model['version']}",
        symbol=provenance["symbol"],
        instrument_name=instrument.get("name") or provenance["symbol"],
        proxy_of=instrument.get("proxy_of"),
        timeframe=provenance["timeframe"],
        capital=float(config["capital"]),
        equity=_frame(folder / "equity.parquet"),
        trades=_frame(folder / "trades.parquet"),
        reasons=pd.DataFrame([], columns=list(REASON_COLUMNS)),
        features=pd.DataFrame({"none": []}),
        metrics={},
        provenance=_hashes(provenance),
        config_yaml="",
        notes=_notes(provenance),
        sessions_per_year=_sessions_per_year(instrument["session"]),
        multiplier=float(instrument["multiplier"]),
        known=frozenset((BARS, TRADES, PRICES, COSTS)),
    )
    return AccountRecord(data=data, fills=[_fills(folder, instrument)])


def _of_portfolio(folder: Path, provenance: Mapping[str, Any]) -> AccountRecord:
    portfolio = provenance["portfolio"]
    lanes = {name: folder / "lanes" / name for name in provenance["lanes"]}
    for lane in lanes.values():
        _require(lane, _OF_A_LANE)
    told = {name: _json(lane / "provenance.json") for name, lane in lanes.items()}
    trades = pd.concat([_frame(lane / "trades.parquet") for lane in lanes.values()], ignore_index=True)
    held = (trades["exit_end"] - trades["entry_end"]).dt.total_seconds() / _SECONDS_A_DAY
    trades = trades.assign(bars_held=held).sort_values(["entry_end", "symbol"], kind="stable")
    data = ReportData(
        title=portfolio["name"],
        symbol=", ".join(lanes),
        instrument_name="portfolio",
        proxy_of=None,
        timeframe="1d",
        capital=float(portfolio["capital"]),
        equity=_frame(folder / "equity.parquet"),
        trades=trades.reset_index(drop=True),
        reasons=pd.DataFrame([], columns=list(REASON_COLUMNS)),
        features=pd.DataFrame({"none": []}),
        metrics={},
        provenance=_hashes(provenance),
        config_yaml="",
        notes=[note for each in told.values() for note in _notes(each)],
        sessions_per_year=_sessions_per_year(portfolio["day"]),
        benchmark=_first_lane(next(iter(lanes.items()))),
        known=frozenset((TRADES, PRICES, COSTS)),
    )
    fills = [_fills(lane, told[name]["instrument"]) for name, lane in lanes.items()]
    return AccountRecord(data=data, fills=fills)


def _first_lane(lane: tuple[str, Path]) -> Benchmark | None:
    """Return the first lane's instrument, bought and held; None where a close is not positive."""
    symbol, folder = lane
    bars = _frame(folder / "equity.parquet")
    closes = bars.groupby("session_date")["close"].last()
    if not (closes > 0).all():
        return None
    return Benchmark(
        name=f"{symbol} bought and held",
        dates=closes.index.to_numpy().astype("datetime64[D]"),
        level=closes.to_numpy(dtype=np.float64),
    )


def _fills(folder: Path, instrument: Mapping[str, Any]) -> FilledOrders:
    orders = _frame(folder / "orders.parquet")
    filled = orders[orders["status"] == "completed"]
    return FilledOrders(
        stamps=pd.DatetimeIndex(filled["stamp"]).as_unit("ns").asi8,
        points=(filled["quantity"].abs() * filled["price"].abs()).to_numpy(dtype=np.float64),
        multiplier=float(instrument["multiplier"]),
    )


def _sessions_per_year(session: str) -> float:
    """Return how many sessions a year has where it is declared, else the usual number."""
    try:
        book: InstrumentBook = load_instruments()
        return float(book.session_named(session).template.sessions_per_year)
    except ConfigError:
        return SESSIONS_PER_YEAR


def _hashes(provenance: Mapping[str, Any]) -> dict[str, str]:
    names = ("run_hash", "code_hash", "config_hash", "portfolio_hash", "first_bar", "last_bar")
    return {name.replace("_", " "): str(provenance[name]) for name in names if name in provenance}


def _notes(provenance: Mapping[str, Any]) -> list[str]:
    symbol, proxy = provenance["symbol"], provenance["instrument"].get("proxy_of")
    notes = []
    if proxy:
        notes.append(
            f"{symbol} is an index, priced with the costs of {proxy}; it approximates a tradable series, but "
            "cannot be traded."
        )
    return [*notes, *(f"{symbol}: {each['sentence']}." for each in provenance.get("findings", ()))]


def _require(folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {', '.join(missing)} is missing: the folder is incomplete; run the backtest again"
        )


def _require_same(folder: Path, found: Mapping[str, float], stored: Mapping[str, Any]) -> None:
    for name, value in found.items():
        known = stored.get(name, math.nan)
        if not (value == known or (known is None and not math.isfinite(value))):
            raise DataError(
                f"{folder}: {name}: its frames give {value!r}, metrics.json says {known!r}; a file was "
                "changed: run the backtest again"
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run the backtest again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}, needed is an object; run the backtest again")
    return found


def _frame(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}; run the backtest again") from error
