"""`BacktestResult`: what a backtest did, for notebooks and reports.

A backtest as steps of a parity comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.history import Market
from lockstep.market.instrument import traded_symbol
from lockstep.market.quality import QualityReport, assess
from lockstep.metrics import summary
from lockstep.monitoring.parity import EngineStep
from lockstep.strategy.config import REGIME_ID, StrategyConfig
from lockstep.strategy.records import OrderRecord
from research.backtest import frames as record_frames
from research.backtest.provenance import ReadFile, with_quality
from research.backtest.records import RunRecords

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from research.report.data import ReportData


# What trades are marked with, and the findings that it stands for.
_MARKS = {
    "hole": ("missing_session", "hole", "early_end", "late_start"),
    "jump": ("jump", "scale", "spike", "print"),
}
# The configuration has a place of its own on the page, and the page is the same whichever engine ran.
_NOT_SHOWN = ("config", "engine")
# Every trade that ends after the ruin, however late it began.
_RUIN, _FOREVER = "ruin", int(np.iinfo(np.int64).max)


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """A finished run on one instrument; the frames are described in `frames.py`.

    In a notebook it shows itself; `plot()` draws equity and drawdown, `save()` writes the run folder.

    >>> from lockstep import backtest
    >>> result = backtest("ibs_baseline", "COMP", start="2018-01-02")
    >>> len(result.equity), result.trades["status"].iloc[0]
    (251, 'closed')
    """

    config: StrategyConfig
    market: Market
    bars: Bars
    records: RunRecords
    vector_ids: tuple[str, ...]
    provenance: dict[str, Any]
    files: tuple[ReadFile, ...] = ()

    @property
    def symbol(self) -> str:
        """The traded symbol."""
        return self.market.instrument.symbol

    @property
    def engine(self) -> str:
        """Which engine ran: `backtrader` or `compiled`."""
        return str(self.provenance["engine"])

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
        return record_frames.reasons_frame(self.records)

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
        multiplier = self.market.instrument.multiplier
        marks = {
            name: [span for each in self.quality.findings if each.kind in kinds for span in each.spans]
            for name, kinds in _MARKS.items()
        }
        if self.ruined_at is not None:
            marks[_RUIN] = [(_FOREVER, self.ruined_at)]
        return record_frames.trades_frame(self.records, self.bars, multiplier, marks)

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames of the run folder by the name of their file; `reasons` are the decisions."""
        return {
            "trades": self.trades,
            "orders": self.orders,
            "equity": self.equity,
            "features": self.features,
            "reasons": self.decisions,
        }

    @cached_property
    def quality(self) -> QualityReport:
        """What is suspicious in the traded bars."""
        return assess(self.bars, self.market.session, self.market.instrument)

    @cached_property
    def ruined_at(self) -> int | None:
        """The end of the first bar at which the account held nothing or less (UTC ns), or None."""
        gone = np.flatnonzero(self.equity["equity"].to_numpy() <= 0.0)
        return int(self.bars.end[gone[0]]) if gone.size else None

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
            traded_notional=self.traded_notional,
            capital=self.config.capital,
            sessions_per_year=self.sessions_per_year,
        )

    @property
    def traded_notional(self) -> float:
        """Notional value of all fills, both sides, USD."""
        filled = self.orders[self.orders["status"] == "completed"]
        notional = (filled["quantity"].abs() * filled["price"].abs()).sum()
        return float(notional * self.market.instrument.multiplier)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        ruin = [] if self.ruined_at is None else [self._ruin(self.ruined_at)]
        return [*ruin, *self.caveats]

    @cached_property
    def caveats(self) -> list[str]:
        """What a reader must know of model, fills and bars."""
        traded = traded_symbol(self.symbol)
        notes = [] if self.model is None else list(_model_notes(self.symbol, self.model))
        if self.config.execution == "close":
            notes.append(
                "Fills at the close of the signal bar: for comparison with the literature, cannot be traded."
            )
        if self.market.instrument.proxy_of:
            notes.append(
                f"{traded} is an index, priced with the costs of {self.market.instrument.proxy_of}; "
                "it approximates a tradable series, but cannot be traded."
            )
        if self.bars.adjustment != "none":
            notes.append(
                f"Prices of {traded} are adjusted by {self.bars.adjustment}: levels differ from what "
                "was quoted, and so does whatever is in percent of them, like stops and returns."
            )
        return [*notes, *self._quality_notes()]

    def _ruin(self, stamp: int) -> str:
        row = int(np.searchsorted(self.bars.end, stamp))
        date, equity = self.equity["session_date"].iloc[row], self.equity["equity"].iloc[row]
        return (
            f"The account is ruined on {date:%Y-%m-%d}: its equity is {equity:,.0f} USD, of "
            f"{self.config.capital:,.0f} at the start. Nothing that is shown after that day could have been "
            "traded."
        )

    def _quality_notes(self) -> Iterator[str]:
        stale = self.quality.of_kind("stale_open")
        if stale:
            where = ", ".join(f"{each.where} ({each.count})" for each in stale)
            yield (
                f"Many opens of {traded_symbol(self.symbol)} equal the previous close, and a fill at the "
                f"open is then a fill at the close: {where}."
            )
        others = [each for each in self.quality.findings if each.kind != "stale_open"]
        for each in sorted(others, key=lambda each: each.severity == "note"):
            yield f"{traded_symbol(self.symbol)} {self.bars.timeframe}: {each.sentence}."
        marks = self.trades["spans"]
        doubtful = [each for each in marks.unique() if {*each.split(", ")} & {*_MARKS}]
        marked = self.trades[marks.isin(doubtful)]
        if len(marked):
            trades = f"{len(marked)} of {len(self.trades)} trades"
            made = f"{marked['net_pnl'].sum():,.0f} USD"
            yield f"{trades} last over a hole or a jump; together they made {made}."
        for file in self.files:
            yield from file.sentences

    @cached_property
    def regimes(self) -> NDArray[np.float64]:
        """The market regime at every bar, float64 (bars,): the one that sizes read, else `REGIME_ID`.

        One that no size reads is worked out on the traded bars: NaN until its window is full.
        """
        by = self.config.size.by_regime
        if by is not None:
            return np.asarray(self.features[by.feature].to_numpy(), dtype=np.float64)
        return default_registry().calculate(REGIME_ID, self.bars)

    def report_data(self) -> ReportData:
        """Return what the tear sheet shows."""
        from research.report.data import ReportData

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
            features=self.features.iloc[:, :1],
            metrics=self.metrics,
            provenance=flat(
                {name: value for name, value in self.provenance.items() if name not in _NOT_SHOWN}
            ),
            config_yaml=self.config.to_yaml(defaults=True),
            notes=self.notes,
            multiplier=instrument.multiplier,
            in_points=self.bars.adjustment == "difference",
            out_of_sample=_out_of_sample(self.model, self.equity["session_date"]),
            regimes=self.regimes,
        )

    def plot(self) -> go.Figure:
        """Return equity and drawdown."""
        from research.report import views
        from research.report.figures_account import equity_and_drawdown

        return views.on_paper(equity_and_drawdown(self.report_data()))

    def _repr_html_(self) -> str:
        from research.report import views

        return views.tear_sheet(self.report_data())

    def save(
        self, folder: Path | str, report: ReportData | None = None, *, shared_js: Path | None = None
    ) -> Path:
        """Write the run folder below `folder` and return it; see `folder.py`.

        report      what the tear sheet shows; None: `report_data()`, without a benchmark of one's own
        shared_js   folder of the plotting library for many pages; None: the page holds it
        """
        from research.backtest.folder import write_run

        recorded = with_quality(self.provenance, self.quality.findings, self.files)
        shown = self.report_data() if report is None else report
        return write_run(
            Path(folder) / self.name, self.frames, self.metrics, recorded, shown, shared_js=shared_js
        )


def _out_of_sample(
    model: Mapping[str, Any] | None, dates: pd.Series
) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the sessions after those that the model was fitted on: the tear sheet shades them."""
    if model is None or not model["fitted_on"]:
        return []
    sessions = dates.to_numpy().astype("datetime64[D]")
    later = sessions[sessions > np.datetime64(model["fitted_on"][1], "D")]
    return [(later[0], later[-1])] if later.size else []


def _model_notes(symbol: str, model: Mapping[str, Any]) -> Iterator[str]:
    if model["threshold"] is None:
        yield f"{symbol} {model['version']} has no model: every entry of its strategy is sent."
    else:
        yield (
            f"Entries pass the veto of {symbol} {model['version']}: a probability of at least "
            f"{model['threshold']:.2f}."
        )
    if model["fitted_on"]:
        yield (
            f"{symbol} {model['version']} was fitted on {' to '.join(model['fitted_on'])}: results "
            "there are in sample and say nothing about its worth."
        )
    if model["hold_out"]:
        yield f"The hold-out of {symbol} {model['version']} is {' to '.join(model['hold_out'])}."


def flat(content: dict[str, Any]) -> dict[str, str]:
    """Return nested entries as `outer: inner`."""
    found: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= {f"{name}: {inner}": text for inner, text in flat(value).items()}
        else:
            found[name] = str(value)
    return found


def steps_of(result: BacktestResult) -> list[EngineStep]:
    """Return one step per traded bar; see `lockstep.monitoring.parity`."""
    records = result.records
    orders: dict[int, list[OrderRecord]] = {}
    for order in records.orders:
        orders.setdefault(order.stamp, []).append(order)
    columns = result.bars.columns().values()
    bars = zip(*(column.tolist() for column in columns), strict=True)
    rows = zip(
        records.stamps.tolist(), bars, np.ascontiguousarray(records.vectors, dtype="<f8"),
        records.probabilities.tolist(), records.codes.tolist(), records.reason.texts(),
        records.marks.tolist(), strict=True,
    )  # fmt: skip
    return [
        EngineStep(
            symbol=result.symbol,
            stamp=stamp,
            bar=bar,
            vector=vector.tobytes(),
            probability=probability,
            code=code,
            reason=reason,
            orders=tuple(orders.get(stamp, ())),
            mark=(mark[0], mark[1], mark[2], mark[3]),
        )
        for stamp, bar, vector, probability, code, reason, mark in rows
    ]
