"""Records of an engine as DataFrames; bars are named by their end (UTC), amounts are USD, prices points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.market.bars import Bars, Floats
from lockstep.market.finding import RowSpan
from lockstep.strategy.decision import kind_of
from research.backtest.records import RunRecords, TextCodes

_NEVER = np.iinfo(np.int64).min


def equity_frame(records: RunRecords, dates: NDArray[np.datetime64]) -> pd.DataFrame:
    """Return one row per bar, indexed by `end`: session_date, close, position (contracts), cash, equity."""
    marks = pd.DataFrame(records.marks, columns=["close", "position", "cash", "equity"], index=_ends(records))
    marks.insert(0, "session_date", dates.astype("datetime64[s]"))
    return marks


def decisions_frame(records: RunRecords) -> pd.DataFrame:
    """Return one row per bar, indexed by `end`: kind, reason, code, probability."""
    columns = {
        "kind": _kinds(records.codes).array(),
        "reason": records.reason.array(),
        "code": records.codes,
        "probability": records.probabilities,
    }
    return pd.DataFrame(columns, index=_ends(records))


def _kinds(codes: NDArray[np.int64]) -> TextCodes:
    """Return what each decision does; there are few codes, and each is looked up once."""
    kinds = TextCodes.of(map(kind_of, range(int(codes.max(initial=-1)) + 1)))
    return TextCodes(kinds.codes[codes], kinds.names)


def reasons_frame(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return how often each reason occurred: kind, reason, count; most frequent first."""
    counted = decisions.groupby(["kind", "reason"]).size().rename("count").reset_index()
    return counted.sort_values(["count", "kind", "reason"], ascending=[False, True, True], ignore_index=True)


def features_frame(records: RunRecords, ids: Sequence[str]) -> pd.DataFrame:
    """Return the vector frozen at each decision, indexed by `end`, one column per id."""
    return pd.DataFrame(records.vectors, index=_ends(records), columns=list(ids))


def orders_frame(records: RunRecords) -> pd.DataFrame:
    """Return one row per state of an order: the fields of `OrderRecord`, references counted from 1."""
    orders = records.orders
    columns: dict[str, Any] = {
        name: column.array() if isinstance(column, TextCodes) else column
        for name, column in orders.columns.items()
    }
    references = orders["reference"]
    if references.size:
        columns["reference"] = references - references.min() + 1
    return pd.DataFrame(columns | {name: _times(orders[name]) for name in ("decision", "stamp")})


def trades_frame(
    records: RunRecords,
    bars: Bars,
    multiplier: float,
    marks: Mapping[str, Sequence[RowSpan]] | None = None,
) -> pd.DataFrame:
    """Return one row per trade, from flat to flat, in order of entry.

    marks               places by name (`hole`, `jump`): pairs of UTC nanoseconds

    trade_id            symbol and decision stamp
    gross_pnl, net_pnl  before and after commission; slippage is in the prices, slippage_cost says how much
    return_fraction     price move in the trade's favour over |entry price|
    mae, mfe            largest move against and for the trade, from the extremes of its bars, both >= 0
    status              `closed`, or `open` at the last bar
    spans               names of the marks that a trade lasts over, from decision to exit: "hole, jump"
    """
    trade = records.trades
    side, exits = np.sign(trade["quantity"]), trade["exit_stamp"]
    move = trade["exit_price"] - trade["entry_price"]
    gross = move * trade["quantity"] * multiplier
    against, favour = _excursions(bars, trade["entry_stamp"], exits, trade["entry_price"], side)
    scale = np.abs(trade["quantity"]) * multiplier
    return pd.DataFrame(
        {
            "trade_id": [
                f"{symbol}-{_compact(stamp)}"
                for symbol, stamp in zip(trade.text("symbol").texts(), trade["decision"], strict=True)
            ],
            "symbol": trade.text("symbol").array(),
            "side": side.astype(np.int64),
            "quantity": np.abs(trade["quantity"]),
            "decision_end": _times(trade["decision"]),
            "entry_end": _times(trade["entry_stamp"]),
            "entry_price": trade["entry_price"],
            "exit_decision_end": _times(trade["exit_decision"]),
            "exit_end": _times(exits),
            "exit_price": trade["exit_price"],
            "exit_reason": trade.text("exit_reason").array(),
            "bars_held": trade["bars_held"],
            "probability": trade["probability"],
            "gross_pnl": gross,
            "commission": trade["commission"],
            "slippage_cost": trade["slippage"],
            "net_pnl": gross - trade["commission"],
            "return_fraction": move * side / np.abs(trade["entry_price"]),
            "mae": against * scale,
            "mfe": favour * scale,
            "status": np.where(exits > 0, "closed", "open").astype(object),
            "spans": _spanned(trade["decision"], exits, marks or {}),
        }
    )


def _spanned(
    decisions: NDArray[np.int64], exits: NDArray[np.int64], marks: Mapping[str, Sequence[RowSpan]]
) -> NDArray[Any]:
    """Return which marks each trade lasts over, named in order, as text (n,); open trades last for ever."""
    until = np.where(exits > 0, exits, np.iinfo(np.int64).max)
    named = np.full(decisions.size, "", dtype=object)
    for name, spans in sorted(marks.items()):
        over = np.zeros(decisions.size, dtype=np.bool_)
        for start, end in spans:
            over |= (decisions <= start) & (until >= end)
        for row in np.flatnonzero(over):
            named[row] = f"{named[row]}, {name}" if named[row] else name
    return named


def _excursions(
    bars: Bars, entries: NDArray[Any], exits: NDArray[Any], prices: Floats, sides: Floats
) -> tuple[Floats, Floats]:
    """Return the largest moves against and for each trade, in points; open ones end with the bars."""
    against, favour = np.zeros(len(entries)), np.zeros(len(entries))
    firsts = np.searchsorted(bars.end, entries)
    stops = np.where(exits > 0, np.searchsorted(bars.end, exits, side="right"), len(bars))
    for row, (first, stop) in enumerate(zip(firsts, stops, strict=True)):
        down = prices[row] - bars.low[first:stop].min()
        up = bars.high[first:stop].max() - prices[row]
        against[row], favour[row] = (down, up) if sides[row] > 0 else (up, down)
    return np.maximum(against, 0.0), np.maximum(favour, 0.0)


def _ends(records: RunRecords) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(records.stamps, tz="UTC", name="end")


def _times(stamps: NDArray[Any]) -> pd.DatetimeIndex:
    """Return UTC times; 0 means never."""
    numbers = stamps.astype(np.int64)
    return pd.DatetimeIndex(np.where(numbers == 0, _NEVER, numbers), tz="UTC")


def _compact(stamp: int) -> str:
    minute = np.datetime_as_string(np.datetime64(int(stamp), "ns"), unit="m")
    return str(minute).replace("-", "").replace(":", "") + "Z"
