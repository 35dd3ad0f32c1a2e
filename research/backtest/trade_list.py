"""A trade list of another program: one row per trade, columns by their usual names or as declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.errors import DataError
from lockstep.metrics import Floats
from lockstep.settings import suggestion
from research.utils.text_cells import read_cells

# What each role is called by Backtrader's and backtesting.py's users, vectorbt, zipline, MetaTrader and
# NinjaTrader, by our own run folders, and in notebooks; without case, spaces and signs.
NAMES: Mapping[str, tuple[str, ...]] = {
    "entry": (
        "entry", "entrytime", "entrydate", "entrydatetime", "entrytimestamp", "entryend", "opentime",
        "opendate", "opentimestamp", "opened", "dtopen", "datein", "timein", "buydate", "date", "datetime",
        "time",
    ),
    "exit": (
        "exit", "exittime", "exitdate", "exitdatetime", "exittimestamp", "exitend", "closetime", "closedate",
        "closetimestamp", "closed", "dtclose", "dateout", "timeout", "selldate",
    ),
    "entry_price": (
        "entryprice", "openprice", "priceopen", "avgentryprice", "pricein", "buyprice", "entrypx", "price",
        "open",
    ),
    "exit_price": (
        "exitprice", "closeprice", "priceclose", "avgexitprice", "priceout", "sellprice", "exitpx",
    ),
    "quantity": ("quantity", "qty", "size", "contracts", "shares", "units", "volume", "lots"),
    "side": ("side", "direction", "dir", "type", "marketpos", "marketposition", "longshort", "position"),
    "cost": ("commission", "commissions", "cost", "costs", "fee", "fees", "comm"),
    "net_pnl": ("netpnl", "pnlnet", "pnlcomm", "netprofit", "netpl", "pnl", "profit", "pl", "profitloss"),
}  # fmt: skip
_LONG, _SHORT = frozenset(("long", "buy", "l", "b", "1", "+1")), frozenset(("short", "sell", "s", "-1"))
_OFFSET = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")


@dataclass(frozen=True, kw_only=True, eq=False)
class TradeList:
    """n trades, rising by entry; float64 (n,) columns are NaN where the list does not say.

    entry, exit   datetime64[ns] (n,), NaT where unknown: UTC where `clock`, else the wall clock as written
    side          +1 or -1
    quantity      above 0
    clock         whether the stamps are moments, with a zone that they name or that was declared
    used          role -> column
    """

    source: str
    entry: Any
    exit: Any
    side: Floats
    quantity: Floats
    entry_price: Floats
    exit_price: Floats
    cost: Floats
    net_pnl: Floats
    clock: bool
    used: Mapping[str, str]

    def __len__(self) -> int:
        return int(self.entry.size)


def read_trades(
    path: Path, *, timezone: str | None = None, columns: Mapping[str, str] | None = None
) -> TradeList:
    """Return the trades of a CSV file.

    timezone   IANA name of the zone of stamps that name none; None: they are read as dates
    columns    role -> column, where the usual names do not say it; see `NAMES` for the roles

    DataError, one line, where the file cannot be read, a role or column is unknown, the entry is missing or a
    cell is no date or number.
    """
    frame = read_cells(path)
    used = _used(path, frame, columns or {})
    stamps = {role: _stamps(path, frame, used.get(role), timezone) for role in ("entry", "exit")}
    numbers = {
        role: _numbers(path, frame, used.get(role))
        for role in ("entry_price", "exit_price", "quantity", "cost", "net_pnl")
    }
    side = _sides(path, frame, used.get("side"), numbers["quantity"])
    order = np.argsort(stamps["entry"], kind="stable")
    return TradeList(
        source=path.name,
        entry=stamps["entry"][order],
        exit=stamps["exit"][order],
        side=side[order],
        quantity=np.abs(numbers["quantity"])[order],
        **{role: numbers[role][order] for role in ("entry_price", "exit_price", "net_pnl")},
        cost=np.abs(numbers["cost"])[order],
        clock=timezone is not None or _named_zone(frame[used["entry"]]),
        used=used,
    )


def _used(path: Path, frame: pd.DataFrame, declared: Mapping[str, str]) -> dict[str, str]:
    for role, column in declared.items():
        if role not in NAMES:
            raise DataError(f"{path}: role {role!r}{suggestion(role, NAMES)}")
        if column not in frame.columns:
            raise DataError(f"{path}: column {column!r}{suggestion(column, map(str, frame.columns))}")
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): str(name) for name in reversed(list(frame.columns))}
    used = dict(declared)
    for role, names in NAMES.items():
        found = next((plain[name] for name in names if name in plain), None)
        if found is not None and role not in used and found not in used.values():
            used[role] = found
    if "entry" not in used:
        raise DataError(
            f"{path}: no column with the entry time; the columns are {', '.join(map(str, frame.columns))}; "
            "name it: --column entry=NAME"
        )
    return used


def _named_zone(cells: pd.Series) -> bool:
    return len(cells) > 0 and bool(_OFFSET.search(str(cells.iloc[0]).strip()[10:]))


def _stamps(path: Path, frame: pd.DataFrame, column: str | None, timezone: str | None) -> Any:
    if column is None:
        return np.full(len(frame), np.datetime64("NaT", "ns"))
    texts = frame[column].str.strip()
    known = ~texts.str.lower().isin(("", "nan", "nat", "none", "open"))
    zoned = _named_zone(texts[known])
    compact = bool(known.any()) and texts[known].str.fullmatch(r"\d{8}").all()
    parsed = pd.to_datetime(
        texts.where(known), format="%Y%m%d" if compact else "ISO8601", errors="coerce", utc=zoned
    )
    wrong = np.flatnonzero((parsed.isna() & known).to_numpy())
    if wrong.size:
        row = int(wrong[0])
        raise DataError(
            f"{path}, row {row + 2}: {column} {texts.iloc[row]!r}: no date like 2016-01-04 or time like "
            "2016-01-04 15:00; write it so"
        )
    stamps = pd.DatetimeIndex(parsed)
    if timezone is not None and not zoned:
        try:
            stamps = stamps.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
        except (KeyError, ValueError) as error:
            raise DataError(
                f"--timezone {timezone}: unknown; use an IANA name like America/New_York"
            ) from error
    naive = stamps.tz_convert("UTC").tz_localize(None) if stamps.tz is not None else stamps
    return np.asarray(naive.as_unit("ns").to_numpy())


def _numbers(path: Path, frame: pd.DataFrame, column: str | None) -> Floats:
    if column is None:
        return np.full(len(frame), np.nan)
    texts = frame[column].str.strip().str.replace(r"[$€\s]", "", regex=True)
    texts = texts.str.replace(r"^\((.*)\)$", r"-\1", regex=True)
    grouped = texts.str.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
    texts = texts.where(~grouped, texts.str.replace(",", ""))
    values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(values) & ~texts.str.lower().isin(("", "nan", "none")).to_numpy())
    if wrong.size:
        row = int(wrong[0])
        cell = frame[column].iloc[row]
        raise DataError(f"{path}, row {row + 2}: {column} {cell!r}: no number; correct the cell")
    return values


def _sides(path: Path, frame: pd.DataFrame, column: str | None, quantity: Floats) -> Floats:
    """Return +1, -1 or NaN: from words or signs of the side, else from a signed quantity."""
    if column is not None:
        texts = frame[column].str.strip().str.lower().str.removesuffix(".0")
        sides = np.where(texts.isin(_LONG), 1.0, np.where(texts.isin(_SHORT), -1.0, np.nan))
        if np.isnan(sides).any():
            row = int(np.flatnonzero(np.isnan(sides))[0])
            raise DataError(
                f"{path}, row {row + 2}: {column} {frame[column].iloc[row]!r}: neither long nor short; write "
                "long, short, buy, sell, 1 or -1"
            )
        return sides
    return np.sign(quantity) if (quantity < 0).any() else np.full(len(frame), np.nan)
