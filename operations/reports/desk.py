"""A desk as an account, from its journal alone: what every lane was worth, what was filled, at what cost.

The journal is only read. Where a desk begins a new epoch, its accounts go on as its states say; what a lane
made is the sum of changes of its worth, so that an epoch that began with other money is no profit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lockstep.errors import LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.journal.reader import JournalReader
from lockstep.live.messages import Epoch, LaneState, Mode
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from lockstep.market.timeframe import Timeframe
from lockstep.metrics import SESSIONS_PER_YEAR, Floats
from lockstep.strategy.matching import CASH, POSITION
from operations.desk_risk import series_of_lanes
from operations.reports.account import AccountRecord, FilledOrders
from research.report.data import (
    COSTS,
    PRICES,
    REASON_COLUMNS,
    TRADE_COLUMNS,
    TRADES,
    Benchmark,
    ReportData,
)

_MARKS = """
    SELECT epoch, sets.stamp AS stamp, symbol, bundle, mark_price AS price, mark_position AS position,
           mark_cash AS cash, mark_equity AS equity
    FROM decisions JOIN sets USING (sequence) JOIN entries USING (sequence)
    WHERE epoch IN ({epochs}) ORDER BY sequence, place
"""
_FILLS = """
    SELECT symbol, stamp, decision, intent, reason, quantity, price, commission, slippage
    FROM orders JOIN entries USING (sequence)
    WHERE status = 'completed' AND epoch IN ({epochs}) ORDER BY sequence, lane, place
"""

_HASHES = ("code", "config", "lock", "portfolio", "instruments", "machine")


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneSessions:
    """What one lane made in S sessions, USD; the last one may still go on where its bars are shorter.

    dates     datetime64[D] (S,), rising; pnl: float64 (S,); bundles: (S,), SHA-256 that decided last in each
    capital   that of the portfolio, else what it was worth when it began; sessions_per_year: its market's
    timeframe   of its bars
    """

    dates: Dates
    pnl: Floats
    bundles: tuple[str, ...]
    capital: float
    sessions_per_year: float
    timeframe: Timeframe


@dataclass(frozen=True, kw_only=True, eq=False)
class DeskAccount:
    """What a journal says of a desk.

    record   of all its lanes together, a row per session; lanes: of each, by name
    mode     of the epochs that were read; bundles: SHA-256 that decided last, by lane
    """

    record: AccountRecord
    lanes: Mapping[str, LaneSessions]
    mode: Mode
    bundles: Mapping[str, str]


@dataclass
class _Lane:
    """One lane while its rows are read: what it was worth at each stamp, its fills, its closed trades."""

    stamps: list[int] = field(default_factory=list)
    profit: list[float] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    begun: float = math.nan
    last: Mapping[str, Any] | None = None
    epoch: int = 0
    total: float = 0.0


def account_of_desk(config: LiveConfig, benchmark: str = "", mode: Mode | None = None) -> DeskAccount:
    """Return the account of a desk, over all epochs of one mode.

    benchmark   lane whose instrument is shown beside it; empty: the first by name
    mode        None: that of the newest epoch

    LiveError where the journal has no decision of that mode or no such lane; JournalError where it cannot be
    read.
    """
    book = load_instruments()
    with Journal.open(config.journal, readonly=True) as journal:
        epochs = journal.epochs()
        if not epochs:
            raise LiveError(f"journal {config.journal}: has no epoch yet; let the engine run")
        mode = mode or epochs[-1].mode
        chosen = [each for each in epochs if each.mode == mode]
        numbers = ", ".join(str(each.number) for each in chosen)
        lanes = _lanes(journal.records(_MARKS.format(epochs=numbers)), chosen)
        if not lanes:
            raise LiveError(f"journal {config.journal}: has no decision in mode {mode}; let the engine run")
        keys = series_of_lanes(journal, sorted(lanes))
        fills = journal.records(_FILLS.format(epochs=numbers))
        bundles = dict(_bundles(journal))
    dates = {
        name: book.market(traded_symbol(name)).session.dates(
            np.array(lane.stamps, dtype=np.int64), keys[name].timeframe
        )
        for name, lane in lanes.items()
    }
    beside = benchmark or min(lanes)
    if beside not in lanes:
        raise LiveError(f"benchmark {beside!r}: no lane of the desk; it has {', '.join(sorted(lanes))}")
    capital = _capital(chosen, lanes)
    left_out = len(epochs) - len(chosen)
    notes = [f"{left_out} epochs of another mode than {mode} are left out."] if left_out else []
    data = ReportData(
        title=_name(config, sorted(lanes)),
        symbol=", ".join(sorted(lanes)),
        instrument_name=f"mode {mode}",
        proxy_of=None,
        timeframe="1d",
        capital=capital,
        equity=_equity(lanes, dates, capital),
        trades=_trades(fills, lanes, book),
        reasons=pd.DataFrame([], columns=list(REASON_COLUMNS)),
        features=pd.DataFrame({"none": []}),
        metrics={},
        provenance={"journal": str(config.journal.name), "epochs": numbers, **_hashes(chosen[-1])},
        config_yaml="",
        notes=notes,
        sessions_per_year=_sessions_per_year(sorted(lanes), book),
        benchmark=_benchmark(beside, lanes[beside], dates[beside]),
        known=frozenset((TRADES, PRICES, COSTS)),
    )
    return DeskAccount(
        record=AccountRecord(data=data, fills=_filled(fills, book)),
        lanes={
            name: _sessions(lane, dates[name], chosen[-1], book.market(traded_symbol(name)), keys[name])
            for name, lane in sorted(lanes.items())
        },
        mode=mode,
        bundles=bundles,
    )


def _sessions(lane: _Lane, dates: Dates, epoch: Epoch, market: Market, key: SeriesKey) -> LaneSessions:
    days = dates.astype("datetime64[D]")
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    return LaneSessions(
        dates=days[last],
        pnl=np.diff(np.array(lane.profit)[last], prepend=0.0),
        bundles=tuple(lane.bundles[at] for at in last),
        capital=_capital([epoch], {"": lane}),
        sessions_per_year=float(market.session.template.sessions_per_year),
        timeframe=key.timeframe,
    )


def _name(config: LiveConfig, lanes: Sequence[str]) -> str:
    portfolio = config.traded_portfolio() if config.portfolio is not None else None
    return portfolio.name if portfolio is not None else f"Desk of {', '.join(lanes)}"


def _hashes(epoch: Epoch) -> dict[str, str]:
    return {f"{name} of epoch {epoch.number}": epoch.hashes[name] for name in _HASHES if name in epoch.hashes}


def _capital(epochs: Sequence[Epoch], lanes: Mapping[str, _Lane]) -> float:
    """Return the capital of the portfolio, else what the lanes were worth when they began."""
    if epochs[-1].portfolio is not None:
        return float(epochs[-1].portfolio.content["capital"])
    return math.fsum(each.begun for each in lanes.values())


def _sessions_per_year(lanes: Sequence[str], book: InstrumentBook) -> float:
    found = {book.market(traded_symbol(each)).session.template.sessions_per_year for each in lanes}
    return float(found.pop()) if len(found) == 1 else SESSIONS_PER_YEAR


def _bundles(journal: JournalReader) -> list[tuple[str, str]]:
    query = "SELECT symbol, bundle, max(sequence) FROM decisions GROUP BY symbol ORDER BY symbol"
    return [(symbol, bundle) for symbol, bundle, _ in journal.select(query)]


def _lanes(rows: Sequence[Mapping[str, Any]], epochs: Sequence[Epoch]) -> dict[str, _Lane]:
    """Return what each lane had made by each of its decisions, in money."""
    states = {each.number: each.states for each in epochs}
    lanes: dict[str, _Lane] = {}
    for row in rows:
        name = row["symbol"]
        lane = lanes.setdefault(name, _Lane())
        if lane.last is None or lane.epoch != row["epoch"]:
            before = _opening(states[row["epoch"]].get(name), lane.last, row)
            lane.begun = before if lane.last is None else lane.begun
        else:
            before = float(lane.last["equity"])
        lane.total += row["equity"] - before
        lane.epoch, lane.last = row["epoch"], row
        lane.stamps.append(row["stamp"])
        lane.profit.append(lane.total)
        lane.prices.append(row["price"])
        lane.positions.append(row["position"])
        lane.bundles.append(row["bundle"])
    return lanes


def _opening(state: LaneState | None, last: Mapping[str, Any] | None, row: Mapping[str, Any]) -> float:
    """Return what a lane was worth when an epoch began: at the last mark before it, where it goes on."""
    if state is None:
        return float(row["equity"])
    cash, position = float(state.account[CASH]), float(state.account[POSITION])
    if last is not None and (cash, position) == (last["cash"], last["position"]):
        return float(last["equity"])
    # A position that was taken over without a mark before it is counted from its first mark on.
    return cash if position == 0.0 else float(row["equity"])


def _equity(lanes: Mapping[str, _Lane], dates: Mapping[str, Any], capital: float) -> pd.DataFrame:
    """Return a row per session: what all lanes had made by then, on top of the capital."""
    parts = []
    for name, lane in lanes.items():
        frame = pd.DataFrame(
            {
                "day": dates[name].astype("datetime64[D]").astype("datetime64[s]"),
                "stamp": lane.stamps, "profit": lane.profit, "position": lane.positions, "lane": name,
            }
        )  # fmt: skip
        parts.append(frame.drop_duplicates("day", keep="last"))
    last = pd.concat(parts, ignore_index=True)
    table = last.pivot_table(index="day", columns="lane", values=["profit", "position"], aggfunc="last")
    table = table.sort_index().ffill().fillna(0.0)
    stamps = last.groupby("day")["stamp"].max().sort_index().to_numpy(dtype=np.int64)
    names = sorted(lanes)
    equity = capital + table["profit"][names].to_numpy(dtype=np.float64).sum(axis=1)
    position = np.abs(table["position"][names].to_numpy(dtype=np.float64)).sum(axis=1)
    return pd.DataFrame(
        {"session_date": table.index.to_numpy(), "equity": equity, "position": position},
        index=pd.DatetimeIndex(stamps, tz="UTC", name="end"),
    )


def _filled(fills: Sequence[Mapping[str, Any]], book: InstrumentBook) -> list[FilledOrders]:
    by_lane: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for fill in fills:
        by_lane[fill["symbol"]].append(fill)
    return [
        FilledOrders(
            stamps=np.array([each["stamp"] for each in mine], dtype=np.int64),
            points=np.array([abs(each["quantity"] * each["price"]) for each in mine], dtype=np.float64),
            multiplier=float(book.market(traded_symbol(name)).instrument.multiplier),
        )
        for name, mine in sorted(by_lane.items())
    ]


def _trades(
    fills: Sequence[Mapping[str, Any]], lanes: Mapping[str, _Lane], book: InstrumentBook
) -> pd.DataFrame:
    """Return a row per trade from flat to flat, as a run folder has them, in order of entry."""
    found = sorted(_closed(fills, lanes, book), key=lambda row: (row["entry_end"], row["symbol"]))
    frame = pd.DataFrame(found, columns=["symbol", *TRADE_COLUMNS])
    for name in ("decision_end", "entry_end", "exit_end"):
        frame[name] = pd.to_datetime(frame[name], utc=True, unit="ns")
    return frame


def _closed(
    fills: Sequence[Mapping[str, Any]], lanes: Mapping[str, _Lane], book: InstrumentBook
) -> Iterator[dict[str, Any]]:
    entries: dict[str, Mapping[str, Any]] = {}
    for fill in fills:
        name = fill["symbol"]
        if fill["intent"] == "entry":
            entries[name] = fill
        elif name in entries:
            yield _trade(name, entries.pop(name), fill, lanes[name], book)
    for name, entry in entries.items():
        yield _trade(name, entry, None, lanes[name], book)


def _trade(
    name: str, entry: Mapping[str, Any], exit: Mapping[str, Any] | None, lane: _Lane, book: InstrumentBook
) -> dict[str, Any]:
    multiplier = float(book.market(traded_symbol(name)).instrument.multiplier)
    ends = [entry] if exit is None else [entry, exit]
    commission = math.fsum(each["commission"] for each in ends)
    gross = math.nan if exit is None else (exit["price"] - entry["price"]) * entry["quantity"] * multiplier
    stamps = np.array(lane.stamps, dtype=np.int64)
    until = stamps[-1] if exit is None else exit["stamp"]
    return {
        "symbol": name,
        "trade_id": f"{name}-{entry['decision']}",
        "side": 1 if entry["quantity"] > 0 else -1,
        "quantity": abs(entry["quantity"]),
        "decision_end": entry["decision"],
        "entry_end": entry["stamp"],
        "entry_price": entry["price"],
        "exit_end": None if exit is None else exit["stamp"],
        "exit_price": math.nan if exit is None else exit["price"],
        "exit_reason": "" if exit is None else exit["reason"],
        "bars_held": float(np.searchsorted(stamps, until) - np.searchsorted(stamps, entry["stamp"])),
        "gross_pnl": gross,
        "commission": commission,
        "slippage_cost": math.fsum(each["slippage"] for each in ends),
        "net_pnl": gross - commission,
        "status": "open" if exit is None else "closed",
    }


def _benchmark(name: str, lane: _Lane, dates: Any) -> Benchmark | None:
    """Return the instrument of a lane, bought and held; None where a mark is not positive."""
    days = dates.astype("datetime64[D]")
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    level = np.array(lane.prices, dtype=np.float64)[last]
    if not (np.isfinite(level) & (level > 0)).all() or (np.diff(days[last].astype(np.int64)) <= 0).any():
        return None
    return Benchmark(name=f"{name} bought and held", dates=days[last], level=level)
