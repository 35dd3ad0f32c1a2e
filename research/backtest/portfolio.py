"""Run several strategies as one account: `run_portfolio`, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lockstep.errors import ConfigError
from lockstep.files import replacing_folder
from lockstep.floats import require_exact, require_still_exact
from lockstep.identity import PORTFOLIOS, code_hash, json_digest
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.metrics import summary
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.session_changes import SessionCloses
from lockstep.portfolio.state import ProposalRecord
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.sizing import FIXED, MODE, STEP
from lockstep.strategy.veto import Veto
from lockstep.tables import TextTable, number
from research.backtest.folder import finite, write_json
from research.backtest.portfolio_engine import PortfolioRun
from research.backtest.provenance import ReadFile, by_engine
from research.backtest.records import SetMarks
from research.backtest.result import BacktestResult, flat
from research.backtest.run import BACKTRADER, COMPILED, Engine, InstrumentRun, engine_for

if TYPE_CHECKING:
    from research.report.portfolio_data import PortfolioSheet

_PROPOSALS = tuple(ProposalRecord.__dataclass_fields__)
_DAY = "datetime64[D]"
_SECONDS_A_DAY = 86_400
# The file has a place of its own on the page, and the page is the same whichever engine ran.
_NOT_SHOWN = ("portfolio", "engine")


@dataclass(frozen=True, kw_only=True)
class PortfolioMember:
    """What one lane of a portfolio trades: its strategy on its history.

    model   names the bundle of `veto` in the provenance; files: those that the bars were read from
    """

    strategy: StrategyConfig
    history: History
    veto: Veto | None = None
    model: Mapping[str, Any] | None = None
    files: Sequence[ReadFile] = ()

    @property
    def content_hash(self) -> str:
        """The bundle's SHA-256, or the configuration's hash where there is no bundle."""
        return str(self.model["sha256"]) if self.model is not None else self.strategy.config_hash


@dataclass(frozen=True, kw_only=True)
class PortfolioResult:
    """A finished run of a portfolio.

    lanes       as of single runs, by symbol
    equity      per bar set: stamp (UTC), session_date, equity (USD), drawdown (fraction of the capital),
                scale, stopped, halted
    proposals   per proposal, see `ProposalRecord`; `rule` is empty where it was admitted
    sessions_per_year   of the account's days
    members     what the lanes traded, with their histories
    """

    config: PortfolioConfig
    lanes: Mapping[str, BacktestResult]
    equity: pd.DataFrame
    proposals: pd.DataFrame
    provenance: Mapping[str, Any]
    sessions_per_year: float
    members: Mapping[str, PortfolioMember] = field(repr=False)

    @property
    def engine(self) -> Engine:
        """Which engine ran: `backtrader` or `compiled`."""
        engine: Engine = self.provenance["engine"]
        return engine

    @property
    def name(self) -> str:
        """Name of the portfolio and the first digits of its run's hash: names the folder."""
        return f"{self.config.name}-{self.provenance['run_hash'][:10]}"

    @cached_property
    def refusals(self) -> dict[str, int]:
        """How many proposals each rule refused; rules that refused none are left out."""
        refused = self.proposals["rule"][self.proposals["rule"] != ""]
        return {str(rule): int(count) for rule, count in refused.value_counts(sort=True).items()}

    @property
    def net_profit(self) -> float:
        """Equity after the last set less the capital, USD."""
        return float(self.equity["equity"].iloc[-1]) - self.config.capital

    @property
    def max_drawdown(self) -> float:
        """Deepest fall of the equity below its highest before, capital included, fraction of the capital."""
        equity = self.equity["equity"].to_numpy()
        highest = np.maximum.accumulate(np.concatenate([[self.config.capital], equity]))[1:]
        return float(np.max(highest - equity) / self.config.capital)

    @property
    def halted_on(self) -> np.datetime64 | None:
        """Session date of the set from which nothing was entered any more, or None."""
        halted = self.equity[self.equity["halted"]]
        return None if halted.empty else np.datetime64(halted["session_date"].iloc[0], "D")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Trades of all lanes as of single runs, by their entries; `bars_held` in days, as bars differ."""
        found = pd.concat([each.trades for each in self.lanes.values()], ignore_index=True)
        held = (found["exit_end"] - found["entry_end"]).dt.total_seconds() / _SECONDS_A_DAY
        ordered = found.assign(bars_held=held).sort_values(["entry_end", "symbol"], kind="stable")
        return ordered.reset_index(drop=True)

    @cached_property
    def metrics(self) -> dict[str, float | int]:
        """All measures of `lockstep.metrics.Performance` of the account, holding times in days."""
        closed = self.trades[self.trades["status"] == "closed"]
        return summary(
            equity=self.equity["equity"].to_numpy(),
            session=self.equity["session_date"].to_numpy().astype(_DAY),
            trade_pnl=closed["net_pnl"].to_numpy(dtype=np.float64),
            trade_bars_held=closed["bars_held"].to_numpy(dtype=np.float64),
            position=np.full(len(self.equity), math.nan),
            traded_notional=sum(each.traded_notional for each in self.lanes.values()),
            capital=self.config.capital,
            sessions_per_year=self.sessions_per_year,
        )

    @property
    def reserved(self) -> dict[str, float]:
        """Contracts, signed, of entries admitted at the last bar of their lane, which wait to fill."""
        admitted = self.proposals[self.proposals["rule"] == ""]
        found = {}
        for symbol, lane in self.lanes.items():
            last = lane.equity.index[-1].value
            mine = admitted[(admitted["symbol"] == symbol) & (admitted["stamp"] == last)]
            if len(mine):
                found[symbol] = float(np.asarray(mine["quantity"])[-1])
        return found

    @cached_property
    def closes(self) -> dict[str, SessionCloses]:
        """The last close of every session of each lane, bars before the run included, none after it."""
        last = np.datetime64(self.equity["session_date"].iloc[-1], "D")
        found = {}
        for symbol, each in self.members.items():
            key = SeriesKey(traded_symbol(symbol), each.strategy.bars)
            found[symbol] = SessionCloses.of(each.history, key).until(last)
        return found

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing the numbers, most of it of the lanes' bars and models."""
        notes = [note for each in self.lanes.values() for note in each.caveats]
        if (self.equity["equity"] <= 0.0).any():
            notes.insert(0, "The account is ruined: nothing after that day could have been traded.")
        return list(dict.fromkeys(notes))

    def sheet(self) -> PortfolioSheet:
        """Return what the portfolio's page shows."""
        from research.report.data import COSTS, REASON_COLUMNS, TRADES, ReportData
        from research.report.portfolio_data import LaneSheet, PortfolioSheet

        shown = {
            name: value for name, value in self.provenance.items() if name not in ("portfolio", "engine")
        }
        account = ReportData(
            title=f"Portfolio of {len(self.lanes)} lanes" if len(self.lanes) > 1 else "Portfolio of one lane",
            symbol=self.config.name,
            instrument_name=", ".join(self.lanes),
            proxy_of=None,
            timeframe="sets",
            capital=self.config.capital,
            equity=self.equity,
            trades=self.trades,
            reasons=pd.DataFrame(columns=list(REASON_COLUMNS)),
            features=pd.DataFrame(columns=["signal"]),
            metrics=self.metrics,
            provenance=flat(shown),
            config_yaml=self.config.to_yaml(),
            notes=self.notes,
            sessions_per_year=self.sessions_per_year,
            known=frozenset((TRADES, COSTS)),
        )
        lanes = [
            LaneSheet(
                symbol=symbol,
                strategy=each.config.name
                if each.model is None
                else f"{each.config.name} {each.model['version']}",
                capital=each.config.capital,
                multiplier=each.market.instrument.multiplier,
                equity=each.equity,
                trades=each.trades,
            )
            for symbol, each in self.lanes.items()
        ]
        return PortfolioSheet(
            account=account, lanes=lanes, proposals=self.proposals, closes=self.closes, reserved=self.reserved
        )

    def save(self, folder: Path | str, *, shared_js: Path | None = None) -> Path:
        """Write the portfolio's folder below `folder` and return it, complete or not at all.

        equity.parquet, proposals.parquet, metrics.json, provenance.json, tearsheet.html, and in
        `lanes/<SYMBOL>` trades, orders, equity, features and reasons of each lane. Equal runs leave equal
        bytes. `shared_js` is a folder of the plotting library for many pages; None: the page holds it.
        """
        from research.report.portfolio_page import write_portfolio_page

        final = Path(folder) / self.name
        with replacing_folder(final) as temporary:
            self.equity.to_parquet(temporary / "equity.parquet")
            self.proposals.to_parquet(temporary / "proposals.parquet")
            write_json(temporary / "metrics.json", finite(self.metrics))
            write_json(temporary / "provenance.json", self.provenance)
            page = temporary / "tearsheet.html"
            write_portfolio_page(self.sheet(), page, shared_js=shared_js)
            for symbol, each in self.lanes.items():
                lane = temporary / "lanes" / symbol
                lane.mkdir(parents=True)
                for name, frame in each.frames.items():
                    frame.to_parquet(lane / f"{name}.parquet")
                write_json(lane / "provenance.json", each.provenance)
        return final


def run_portfolio(
    config: PortfolioConfig,
    members: Mapping[str, PortfolioMember],
    book: InstrumentBook,
    *,
    span: DateRange | None = None,
    seed: int = 0,
    engine: Engine | None = BACKTRADER,
    verify: bool = False,
) -> PortfolioResult:
    """Trade a portfolio over history and return what happened.

    members   by the names of the lanes, one for each; span: session dates that are traded; seed: recorded
    engine    `compiled` gives the same result many times faster; None: by the bars of all lanes
    verify    run the other engine, too: EngineMismatch, with the first difference, unless it agrees

    ConfigError where a strategy does not fit its lane, or where a lane's capital is too small for one step of
    its instrument.
    """
    require_exact()
    if set(members) != set(config.names):
        raise ConfigError(
            f"portfolio {config.name}: strategies for {', '.join(sorted(members))}, lanes are "
            f"{', '.join(config.names)}; give one for each"
        )
    runs, terms = {}, []
    for symbol in config.names:
        each = members[symbol]
        runs[symbol] = InstrumentRun.of(each.strategy, each.history, symbol, span=span, veto=each.veto)
        terms.append(LaneTerms.of(config, runs[symbol].market, each.strategy, each.veto))
        _require_a_step(config, terms[-1], runs[symbol])
    run = PortfolioRun(
        config=config, runs=runs, terms=terms, calendar=book.session_named(config.day), span=span
    )
    chosen = engine_for(engine, run.bars)
    records = run.records(chosen)
    if verify:
        run.require_agreement(records, chosen)
    elif chosen == COMPILED:
        run.require_one_account(records)
    require_still_exact()
    hashes = {
        "portfolio_hash": config.portfolio_hash,
        "identity": config.identity(
            {symbol: each.content_hash for symbol, each in members.items()}, book.digest(config.symbols, ())
        ),
    }
    results = {
        symbol: each.result(
            records.lanes[symbol], chosen, seed=seed, model=members[symbol].model,
            files=members[symbol].files, portfolio=hashes,
        )
        for symbol, each in runs.items()
    }  # fmt: skip
    content = {
        "portfolio": config.model_dump(mode="json"),
        **hashes,
        "code_hash": code_hash(PORTFOLIOS),
        "lanes": {symbol: each.provenance["run_hash"] for symbol, each in results.items()},
    }
    return PortfolioResult(
        config=config,
        lanes=results,
        equity=_equity_frame(records.marks),
        proposals=pd.DataFrame(
            [tuple(getattr(each, name) for name in _PROPOSALS) for each in records.proposals],
            columns=list(_PROPOSALS),
        ),
        provenance=by_engine({**content, "run_hash": json_digest(content)}, chosen),
        sessions_per_year=float(run.calendar.template.sessions_per_year),
        members=members,
    )


def _require_a_step(config: PortfolioConfig, terms: LaneTerms, run: InstrumentRun) -> None:
    """ConfigError where the median size of a lane that sizes by risk or volatility is no step at all."""
    mode, step = terms.sizing[MODE], terms.sizing[STEP]
    if mode == FIXED or not terms.factor:
        return
    wanted = terms.wanted(run.source.matrix[run.rows], run.traded.close)
    median = float(np.nanmedian(wanted)) if np.isfinite(wanted).any() else math.nan
    if median < step:
        needed = config.capital * step / median
        raise ConfigError(
            f"portfolio {config.name}: {terms.symbol} trades from {needed:,.0f} USD, the capital is "
            f"{config.capital:,.0f}: its median size is {median:.2g} of a step of {step:g}; give it more "
            "weight, trade a smaller contract, or leave it out"
        )


def _equity_frame(marks: SetMarks) -> pd.DataFrame:
    days = marks.day.astype(_DAY).astype("datetime64[s]")
    columns = {name: getattr(marks, name) for name in ("equity", "drawdown", "scale", "stopped", "halted")}
    index = pd.DatetimeIndex(marks.stamp.view("M8[ns]"), tz="UTC", name="stamp")
    return pd.DataFrame({"session_date": days, **columns}, index=index)


def portfolio_table(result: PortfolioResult) -> TextTable:
    """Return one row a lane: trades, net profit and costs in USD, proposals and how many were refused."""
    table = TextTable(
        "symbol", number("trades"), number("P&L"), number("costs"), number("proposed"), number("refused"),
        title=result.config.name,
    )  # fmt: skip
    for symbol, each in result.lanes.items():
        mine = result.proposals[result.proposals["symbol"] == symbol]
        costs = each.trades["commission"].sum() + each.trades["slippage_cost"].sum()
        table.add_row(
            symbol, f"{len(each.trades):,}", f"{each.trades['net_pnl'].sum():,.0f}", f"{costs:,.0f}",
            f"{len(mine):,}", f"{int((mine['rule'] != '').sum()):,}",
        )  # fmt: skip
    return table


def portfolio_lines(
    result: PortfolioResult, asked: Engine | None = BACKTRADER, *, verified: bool = False
) -> list[str]:
    """Return what came out of the whole account, in sentences.

    asked      engine that was chosen, None where nobody did; verified: both engines ran and agreed
    """
    lines = [
        f"{result.config.name}: net profit {result.net_profit:,.0f} USD on {result.config.capital:,.0f}, "
        f"deepest drawdown {result.max_drawdown:.1%} of it"
    ]
    if result.refusals:
        told = ", ".join(f"{rule} {count:,}" for rule, count in result.refusals.items())
        lines.append(f"{result.config.name}: refused by {told}")
    else:
        lines.append(f"{result.config.name}: no limit refused anything")
    if result.halted_on is not None:
        lines.append(f"{result.config.name}: halted on {result.halted_on}; nothing was entered after it")
    if asked is None and result.engine == COMPILED:
        lines.append(
            f"{result.config.name}: {sum(len(each.bars) for each in result.lanes.values()):,} bars, so the "
            "compiled engine ran; engine backtrader runs Backtrader, verify both"
        )
    if verified:
        lines.append(
            f"{result.config.name}: both engines agree on {len(result.equity):,} bar sets, "
            f"{len(result.proposals):,} proposals and every record of all lanes"
        )
    return lines
