"""Records of an engine as DataFrames; bars are named by their end (UTC), amounts are USD, prices points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.market.bars import Bars, Floats
from lockstep.market.quality.finding import RowSpan
from lockstep.strategy.decision import kind_of
from research.backtest.records import RunRecords, TextCodes, dense

_NEVER, _FOREVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
# Of `2012-03-04T14:30`: all but the dashes and the colon.
_LETTERS = [place for place, letter in enumerate("2012-03-04T14:30") if letter not in "-:"]


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


def reasons_frame(records: RunRecords) -> pd.DataFrame:
    """Return how often each reason occurred: kind, reason, count; most frequent first."""
    kinds, names = _kinds(records.codes), records.reason_names
    places = kinds.codes.astype(np.int64) * len(names) + records.reasons
    counts = np.bincount(places, minlength=len(kinds.names) * len(names))
    found = [
        (-int(counts[place]), kinds.names[place // len(names)], names[place % len(names)])
        for place in np.flatnonzero(counts)
    ]
    table = [(kind, reason, -count) for count, kind, reason in sorted(found)]
    return pd.DataFrame(table, columns=["kind", "reason", "count"])


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
    # Backtrader counts those of all lanes and of all runs of a process together.
    columns["reference"] = dense(orders["reference"])
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
    return_fraction     price move in the trade's favour over |entry price|; NaN for an entry at 0, which an
                        adjusted series may reach: no fraction of nothing says what was won
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
            "trade_id": _trade_ids(trade.text("symbol"), trade["decision"]),
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
            "return_fraction": _fractions(move * side, trade["entry_price"]),
            "mae": against * scale,
            "mfe": favour * scale,
            "status": TextCodes((exits <= 0).astype(np.int8), ("closed", "open")).array(),
            "spans": _spanned(trade["decision"], exits, marks or {}),
        }
    )


def _fractions(moves: Floats, prices: Floats) -> Floats:
    """Return moves over the size of prices, NaN where a price is 0."""
    found = np.full(len(moves), np.nan)
    np.divide(moves, np.abs(prices), out=found, where=prices != 0.0)
    return found


def _trade_ids(symbols: TextCodes, decisions: NDArray[np.int64]) -> pd.api.extensions.ExtensionArray:
    """Return `ES-20120304T1430Z`, the symbol and the minute of each decision."""
    minutes = np.datetime_as_string(decisions.view("M8[ns]"), unit="m").astype("U16")
    letters = minutes.view("U1").reshape(-1, 16)[:, _LETTERS]
    compact = np.ascontiguousarray(letters).view(f"U{len(_LETTERS)}").ravel()
    heads = np.array([f"{name}-" for name in symbols.names] or [""])[symbols.codes]
    return pd.array(np.strings.add(np.strings.add(heads, compact), "Z").astype(object), dtype="str")


def _spanned(
    decisions: NDArray[np.int64], exits: NDArray[np.int64], marks: Mapping[str, Sequence[RowSpan]]
) -> pd.api.extensions.ExtensionArray:
    """Return which marks each trade lasts over, named in order, as text (n,); open trades last for ever."""
    until = np.where(exits > 0, exits, _FOREVER)
    named = np.full(decisions.size, "", dtype=object)
    for name, spans in sorted(marks.items()):
        for row in np.flatnonzero(_lasts_over(decisions, until, spans)):
            named[row] = f"{named[row]}, {name}" if named[row] else name
    return pd.array(named, dtype="str")


def _lasts_over(
    decisions: NDArray[np.int64], until: NDArray[np.int64], spans: Sequence[RowSpan]
) -> NDArray[np.bool_]:
    """Return which trades lie across one of the spans at least, bool (n,)."""
    starts, ends = np.array(sorted(spans), dtype=np.int64).reshape(-1, 2).T
    # Of all spans that begin after a decision, the one that ends first is the easiest to last over.
    earliest = np.append(np.minimum.accumulate(ends[::-1])[::-1], _FOREVER)
    following = np.searchsorted(starts, decisions)
    return np.asarray((following < starts.size) & (until >= earliest[following]))


def _excursions(
    bars: Bars, entries: NDArray[Any], exits: NDArray[Any], prices: Floats, sides: Floats
) -> tuple[Floats, Floats]:
    """Return the largest moves against and for each trade, in points; open ones end with the bars."""
    firsts = np.searchsorted(bars.end, entries)
    stops = np.where(exits > 0, np.searchsorted(bars.end, exits, side="right"), len(bars))
    # Every other stretch is that of a trade; behind the last bar stands one that belongs to none.
    stretches = np.column_stack((firsts, stops)).ravel()
    lows, highs = (np.append(column, column[-1:]) for column in (bars.low, bars.high))
    down = prices - np.minimum.reduceat(lows, stretches)[::2] if firsts.size else prices
    up = np.maximum.reduceat(highs, stretches)[::2] - prices if firsts.size else prices
    against, favour = np.where(sides > 0, down, up), np.where(sides > 0, up, down)
    return np.maximum(against, 0.0), np.maximum(favour, 0.0)


def _ends(records: RunRecords) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(records.stamps, tz="UTC", name="end")


def _times(stamps: NDArray[Any]) -> pd.DatetimeIndex:
    """Return UTC times; 0 means never."""
    numbers = stamps.astype(np.int64)
    return pd.DatetimeIndex(np.where(numbers == 0, _NEVER, numbers), tz="UTC")
