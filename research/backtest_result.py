"""`BacktestResult`: what a backtest did, for notebooks and reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.market.bars import Bars
from lockstep.market.history import Market
from lockstep.market.quality import assess
from lockstep.metrics import summary
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.records import MemoryRecorder
from research import record_frames
from research.report.data import ReportData
from research.run_folder import write_run


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """A finished run on one instrument; the frames are described in `record_frames.py`."""

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
    def model(self) -> Mapping[str, Any] | None:
        """The bundle whose veto was asked, as the provenance names it; None where there was none."""
        return self.provenance.get("model")

    @property
    def label(self) -> str:
        """The symbol, and the version whose veto was asked: `ES`, `ES v3`."""
        return self.symbol if self.model is None else f"{self.symbol} {self.model['version']}"

    @property
    def name(self) -> str:
        """Symbol, config name, version and the first digits of the run hash: names the run's folder."""
        version = [] if self.model is None else [self.model["version"]]
        return "-".join((self.symbol, self.config.name, *version, self.provenance["run_hash"][:10]))

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Per bar: session_date, close, position, cash, equity."""
        dates = self.market.session.dates(self.bars.end, self.bars.timeframe)
        return record_frames.equity_frame(self.records, dates)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """Per bar: kind (entry, exit, hold, no_trade), reason, code, probability."""
        return record_frames.decisions_frame(self.records)

    @cached_property
    def reasons(self) -> pd.DataFrame:
        """How often each reason occurred: kind, reason, count."""
        return record_frames.reasons_frame(self.decisions)

    @cached_property
    def features(self) -> pd.DataFrame:
        """The vector frozen at each decision, one column per id."""
        return record_frames.features_frame(self.records, self.vector_ids)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """Every state of every order."""
        return record_frames.orders_frame(self.records)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Per trade: prices, reasons, results, costs, excursions."""
        return record_frames.trades_frame(self.records, self.bars, self.market.instrument.multiplier)

    @property
    def sessions_per_year(self) -> float:
        """How many sessions annualise the measures."""
        return self.market.session.template.sessions_per_year

    @cached_property
    def metrics(self) -> dict[str, float | int]:
        """All measures of `lockstep.metrics.Performance`, on the configured capital."""
        closed = self.trades[self.trades["status"] == "closed"]
        return summary(
            equity=self.equity["equity"].to_numpy(),
            session=self.equity["session_date"].to_numpy().astype("datetime64[D]"),
            trade_pnl=closed["net_pnl"].to_numpy(dtype=np.float64),
            trade_bars_held=closed["bars_held"].to_numpy(dtype=np.float64),
            position=self.equity["position"].to_numpy(),
            traded_notional=self._traded_notional(),
            capital=self.config.capital,
            sessions_per_year=self.sessions_per_year,
        )

    def _traded_notional(self) -> float:
        filled = self.orders[self.orders["status"] == "completed"]
        notional = (filled["quantity"].abs() * filled["price"].abs()).sum()
        return float(notional * self.market.instrument.multiplier)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        notes = [] if self.model is None else list(_model_notes(self.symbol, self.model))
        if self.config.execution == "close":
            notes.append(
                "Fills at the close of the signal bar: for comparison with the literature, cannot be traded."
            )
        if self.market.instrument.proxy_of:
            notes.append(
                f"{self.symbol} is an index, priced with the costs of {self.market.instrument.proxy_of}; "
                "it stands in for a tradable series and is not one."
            )
        if self.bars.adjustment != "none":
            notes.append(
                f"Prices of {self.symbol} are adjusted by {self.bars.adjustment}: levels differ from what "
                "was quoted, and so does whatever is in percent of them, like stops and returns."
            )
        stale = [
            each for each in assess(self.bars, self.market.session).findings if each.kind == "stale_open"
        ]
        if stale:
            where = ", ".join(f"{each.where} ({each.count})" for each in stale)
            notes.append(
                f"Many opens of {self.symbol} equal the previous close, and a fill at the open is then a "
                f"fill at the close: {where}."
            )
        return notes

    def report_data(self) -> ReportData:
        """Return what the tear sheet shows."""
        instrument = self.market.instrument
        return ReportData(
            title=self.config.name if self.model is None else f"{self.config.name} · {self.model['version']}",
            symbol=self.symbol,
            instrument_name=instrument.name or instrument.symbol,
            proxy_of=instrument.proxy_of,
            timeframe=self.config.timeframe,
            capital=self.config.capital,
            sessions_per_year=self.sessions_per_year,
            equity=self.equity,
            trades=self.trades,
            reasons=self.reasons,
            features=self.features.iloc[:, :1].set_axis(["ibs"], axis="columns"),
            metrics=self.metrics,
            provenance=_flat({name: value for name, value in self.provenance.items() if name != "config"}),
            config_yaml=self.config.to_yaml(defaults=True),
            notes=self.notes,
            multiplier=instrument.multiplier,
        )

    def save(self, folder: Path) -> Path:
        """Write the run folder below `folder` and return it; see `run_folder.py`."""
        frames = {
            "trades": self.trades,
            "orders": self.orders,
            "equity": self.equity,
            "features": self.features,
            "reasons": self.decisions,
        }
        return write_run(folder / self.name, frames, self.metrics, self.provenance, self.report_data())


def _model_notes(symbol: str, model: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Entries pass the veto of {symbol} {model['version']}: a probability of at least "
        f"{model['threshold']:.2f}."
    )
    if model["fitted_on"]:
        yield (
            f"{symbol} {model['version']} was fitted on {' to '.join(model['fitted_on'])}: what it does "
            "there is in sample and says nothing about its worth."
        )
    if model["hold_out"]:
        yield f"The hold-out of {symbol} {model['version']} is {' to '.join(model['hold_out'])}."


def _flat(content: dict[str, Any]) -> dict[str, str]:
    """Return nested entries as `outer: inner`."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{name}: {inner}": text for inner, text in _flat(value).items()}
        else:
            flat[name] = str(value)
    return flat
