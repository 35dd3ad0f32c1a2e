"""`BacktestResult`: what a backtest did, as DataFrames for notebooks and as a folder of files."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.market.bars import Bars
from lockstep.market.history import Market
from lockstep.metrics import SESSIONS_PER_YEAR, summary
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import kind_of
from lockstep.strategy.records import MemoryRecorder, OrderRecord, TradeRecord
from research.report.data import ReportData
from research.report.tearsheet import write_tearsheet

_CALENDAR_DAYS = 365
_STAMPS = ("decision", "stamp", "entry_stamp", "exit_decision", "exit_stamp")


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """A finished run on one instrument.

    All stamps in the frames are UTC; a bar is named by its end. Amounts are USD, prices points.
    """

    config: StrategyConfig
    market: Market
    bars: Bars
    records: MemoryRecorder
    vector_ids: tuple[str, ...]
    provenance: dict[str, Any]

    @property
    def symbol(self) -> str:
        """The traded symbol."""
        return self.market.instrument.symbol

    @property
    def name(self) -> str:
        """Symbol, config name and the first digits of the run hash: names the run's folder."""
        return f"{self.symbol}-{self.config.name}-{self.provenance['run_hash'][:10]}"

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Per bar, indexed by `end`: session_date, close, position (contracts), cash, equity."""
        marks = pd.DataFrame(self.records.marks, columns=["end", "close", "position", "cash", "equity"])
        dates = self.market.session.dates(self.bars.end, self.bars.timeframe)
        marks.insert(1, "session_date", dates.astype("datetime64[s]"))
        return _indexed(marks)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """Per bar, indexed by `end`: kind (entry, exit, hold, no_trade), reason, code, probability."""
        records = self.records
        return _indexed(
            pd.DataFrame(
                {
                    "end": records.stamps,
                    "kind": [kind_of(code) for code in records.codes],
                    "reason": records.reasons,
                    "code": records.codes,
                    "probability": records.probabilities,
                }
            )
        )

    @cached_property
    def reasons(self) -> pd.DataFrame:
        """How often each reason occurred: kind, reason, count; most frequent first."""
        counted = self.decisions.groupby(["kind", "reason"]).size().rename("count").reset_index()
        return counted.sort_values(["count", "kind", "reason"], ascending=[False, True, True], ignore_index=True)

    @cached_property
    def features(self) -> pd.DataFrame:
        """The vector frozen at each decision, indexed by `end`, one column per id."""
        values = np.array(self.records.vectors).reshape(len(self.records.vectors), len(self.vector_ids))
        index = pd.DatetimeIndex(self.records.stamps, tz="UTC", name="end")
        return pd.DataFrame(values, index=index, columns=list(self.vector_ids))

    @cached_property
    def orders(self) -> pd.DataFrame:
        """Every state of every order: the fields of `OrderRecord`."""
        fields = list(OrderRecord.__dataclass_fields__)
        orders = pd.DataFrame([asdict(record) for record in self.records.orders], columns=fields)
        first = int(orders["reference"].min()) if len(orders) else 0
        orders["reference"] = orders["reference"].astype(np.int64) - first + 1
        return _with_times(orders)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Per trade, from flat to flat, in order of entry; status is `closed`, or `open` at the last bar.

        trade_id            symbol and decision stamp
        gross_pnl, net_pnl  USD before and after commission; slippage is in the prices (slippage_cost says how much)
        return_fraction     price move in the trade's favour over |entry price|
        mae, mfe            largest move against and for the trade in USD, from bar extremes while it was open
        """
        fields = list(TradeRecord.__dataclass_fields__)
        trades = pd.DataFrame([asdict(record) for record in self.records.trades], columns=fields)
        multiplier = self.market.instrument.multiplier
        move = trades["exit_price"] - trades["entry_price"]
        side = np.sign(trades["quantity"])
        frame = pd.DataFrame(
            {
                "trade_id": [f"{self.symbol}-{_compact(stamp)}" for stamp in trades["decision"]],
                "symbol": self.symbol,
                "side": side.astype(np.int64),
                "quantity": trades["quantity"].abs(),
                "decision_end": trades["decision"],
                "entry_end": trades["entry_stamp"],
                "entry_price": trades["entry_price"],
                "exit_decision_end": trades["exit_decision"],
                "exit_end": trades["exit_stamp"],
                "exit_price": trades["exit_price"],
                "exit_reason": trades["exit_reason"],
                "bars_held": trades["bars_held"],
                "probability": trades["probability"],
                "gross_pnl": move * trades["quantity"] * multiplier,
                "commission": trades["commission"],
                "slippage_cost": trades["slippage"],
                "net_pnl": move * trades["quantity"] * multiplier - trades["commission"],
                "return_fraction": move * side / trades["entry_price"].abs(),
                "status": np.where(trades["exit_stamp"] > 0, "closed", "open"),
            }
        )
        frame[["mae", "mfe"]] = self._excursions(frame)
        return _with_times(frame, [name for name in frame if name.endswith("_end")])

    def _excursions(self, trades: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return (k, 2): largest move against and for each trade, USD, both >= 0."""
        extremes = np.zeros((len(trades), 2))
        last = int(self.bars.end[-1])
        for row, trade in enumerate(trades.itertuples()):
            first = np.searchsorted(self.bars.end, trade.entry_end)
            stop = np.searchsorted(self.bars.end, trade.exit_end or last, side="right")
            low, high = self.bars.low[first:stop].min(), self.bars.high[first:stop].max()
            moves = (trade.entry_price - low, high - trade.entry_price)
            against, favour = moves if trade.side > 0 else moves[::-1]
            scale = trade.quantity * self.market.instrument.multiplier
            extremes[row] = max(against, 0.0) * scale, max(favour, 0.0) * scale
        return extremes

    @cached_property
    def metrics(self) -> dict[str, float | int]:
        """All measures of `lockstep.metrics.Performance`, on the configured capital."""
        closed = self.trades[self.trades["status"] == "closed"]
        return summary(
            equity=self.equity["equity"].to_numpy(),
            session=self.equity["session_date"].to_numpy().astype("datetime64[D]").astype(np.int64),
            trade_pnl=closed["net_pnl"].to_numpy(),
            trade_bars_held=closed["bars_held"].to_numpy(dtype=np.float64),
            position=self.equity["position"].to_numpy(),
            traded_notional=self._traded_notional(),
            capital=self.config.capital,
            sessions_per_year=self._sessions_per_year(),
        )

    def _traded_notional(self) -> float:
        filled = self.orders[self.orders["status"] == "completed"]
        notional = (filled["quantity"].abs() * filled["price"].abs()).sum()
        return float(notional * self.market.instrument.multiplier)

    def _sessions_per_year(self) -> float:
        every_day = self.market.session.template.calendar == "24/7"
        return _CALENDAR_DAYS if every_day else SESSIONS_PER_YEAR

    def report_data(self) -> ReportData:
        """Return what the tear sheet shows."""
        instrument = self.market.instrument
        return ReportData(
            title=self.config.name,
            symbol=self.symbol,
            instrument_name=instrument.name or instrument.symbol,
            proxy_of=instrument.proxy_of,
            timeframe=self.config.timeframe,
            capital=self.config.capital,
            sessions_per_year=self._sessions_per_year(),
            equity=self.equity,
            trades=self.trades,
            reasons=self.reasons,
            features=self.features.iloc[:, :1].set_axis(["ibs"], axis="columns"),
            metrics=self.metrics,
            provenance=_flat({name: value for name, value in self.provenance.items() if name != "config"}),
            config_yaml=self.config.to_yaml(defaults=True),
            notes=self._notes(),
        )

    def _notes(self) -> list[str]:
        notes = []
        if self.config.execution == "close":
            notes.append("Fills at the close of the signal bar: for comparison with the literature, cannot be traded.")
        if self.market.instrument.proxy_of:
            notes.append(
                f"{self.symbol} is an index, priced with the costs of {self.market.instrument.proxy_of}; "
                "it stands in for a tradable series and is not one."
            )
        return notes

    def save(self, folder: Path) -> Path:
        """Write the run folder below `folder` and return it.

        Equal inputs give byte-identical files. The folder appears complete or not at all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / self.name
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
        try:
            self._write(temporary)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        final.chmod(0o755)
        return final

    def _write(self, folder: Path) -> None:
        frames = {
            "trades": self.trades,
            "orders": self.orders,
            "equity": self.equity,
            "features": self.features,
            "reasons": self.decisions,
        }
        for name, frame in frames.items():
            frame.to_parquet(folder / f"{name}.parquet")
        _write_json(folder / "metrics.json", {name: _finite(value) for name, value in self.metrics.items()})
        _write_json(folder / "provenance.json", self.provenance)
        write_tearsheet(self.report_data(), folder / "tearsheet.html")


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    ends = pd.DatetimeIndex(frame.pop("end").to_numpy(dtype=np.int64), tz="UTC", name="end")
    return frame.set_index(ends)


def _with_times(frame: pd.DataFrame, names: list[str] | None = None) -> pd.DataFrame:
    """Turn columns of nanoseconds into UTC times; 0 means never."""
    for name in names or [name for name in _STAMPS if name in frame]:
        stamps = frame[name].to_numpy(dtype=np.int64)
        frame[name] = pd.to_datetime(np.where(stamps == 0, np.iinfo(np.int64).min, stamps), utc=True)
    return frame


def _compact(stamp: int) -> str:
    return str(np.datetime_as_string(np.datetime64(stamp, "ns"), unit="m")).replace("-", "").replace(":", "") + "Z"


def _finite(value: float) -> float | int | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _flat(content: dict[str, Any]) -> dict[str, str]:
    """Return nested entries as `outer: inner`."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{name}: {inner}": text for inner, text in _flat(value).items()}
        else:
            flat[name] = str(value)
    return flat


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")
