"""Run a strategy over history and leave a run folder: `python -m research.backtest_runner --help`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lockstep.console import run
from lockstep.errors import ConfigError, DataError, FeatureError, ModelError
from lockstep.market.bars import Bars
from lockstep.market.command_line import (
    ALL,
    App,
    Chosen,
    DataDir,
    Results,
    SourceName,
    Symbols,
    chosen_symbols,
    renamed,
    strategy_file,
)
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import OnLoaded, load_history
from lockstep.market.quality import assess
from lockstep.market.quality.finding import Finding
from lockstep.market.reading.files import Loaded
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe
from lockstep.models.store import ModelStore
from lockstep.portfolio.config import PortfolioConfig, load_portfolio_config
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from research.backtest.portfolio import (
    PortfolioMember,
    PortfolioResult,
    portfolio_lines,
    portfolio_table,
    run_portfolio,
)
from research.backtest.provenance import ReadFile
from research.backtest.result import BacktestResult
from research.backtest.result_table import result_table
from research.backtest.run import COMPILED, MANY_BARS, Engine, context_keys, engine_lines, run_backtest
from research.ledger.database import Database
from research.ledger.doors import open_door
from research.ledger.ledger import Ledger
from research.ledger.versions import TradedVersion, symbols_with
from research.report.external import report_of

_BARS_PER_UPDATE = 1000

app = App()


@app.command(cls=renamed({"--config": "--strategy", "--model": "--version"}))
def main(
    out: Results,
    symbol: Symbols = "",
    data_dir: DataDir = None,
    source: SourceName = None,
    start: Annotated[str | None, typer.Option(help="First session date to trade, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date to trade, YYYY-MM-DD.")] = None,
    config: Annotated[
        Path | None, typer.Option("--strategy", help="Strategy YAML; default: the desk's, or ibs_baseline.")
    ] = None,
    timeframe: Annotated[str | None, typer.Option(help="15min, 1h, 1d …; default: the config's.")] = None,
    model: Annotated[
        str, typer.Option("--version", help="v3 or production: that version, beside no veto.")
    ] = "",
    store: Annotated[Path | None, typer.Option(help="Store of --version; default: the usual one.")] = None,
    portfolio: Annotated[
        Path | None, typer.Option("--portfolio", help="Portfolio YAML: its lanes trade one account.")
    ] = None,
    quarantine: Annotated[bool, typer.Option(help="Reject bad rows to a file and keep the others.")] = False,
    min_quality: Annotated[
        float | None,
        typer.Option("--min-quality", min=0, max=100, help="Refuse traded bars whose score is below this."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Recorded in the provenance.")] = 0,
    engine: Annotated[
        Engine | None,
        typer.Option(help=f"Default: backtrader; compiled from {MANY_BARS:,} bars on. Same results."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run both engines; refuse, unless every record is equal.")
    ] = False,
    benchmark: Annotated[
        Path | None, typer.Option(help="Benchmark CSV; default: buy and hold of the symbol.")
    ] = None,
    trials: Annotated[
        float | None, typer.Option(help="Number of variants tried; deflates the Sharpe ratio.")
    ] = None,
    out_of_sample: Annotated[str | None, typer.Option(help="First out-of-sample date, YYYY-MM-DD.")] = None,
    shared_js: Annotated[
        bool,
        typer.Option("--shared-js", help="Write the plotting library once into --out, not into every page."),
    ] = False,
) -> None:
    """Backtest a strategy on one or more instruments, one account each.

    With --version the strategy, the veto and its threshold are those of a version of the model store, as the
    live engine trades them; the same strategy without the veto runs beside it, each in its own folder.
    The bars are those of the training unless --data-dir or --source names others. With --portfolio the lanes
    of a file trade one account within its limits; each lane brings its own strategy.
    """
    runner = HistoryRunner(
        data_dir=data_dir, source=source, span=DateRange.of(start, end), quarantine=quarantine, seed=seed,
        engine=engine, verify=verify, min_quality=min_quality,
    )  # fmt: skip
    if portfolio is not None:
        given = {
            "SYMBOL": symbol, "--strategy": config, "--version": model, "--timeframe": timeframe,
            "--benchmark": benchmark, "--trials": trials, "--out-of-sample": out_of_sample,
        }  # fmt: skip
        _require_bare(portfolio, given)
        runner.portfolio(portfolio, ModelStore(store), out, shared_js=out if shared_js else None)
        return
    if model:
        _require_alone(model, config, timeframe)
        chosen = symbols_with(symbol, model, ModelStore(store))
        make = partial(runner.version, version=model, store=ModelStore(store))
    else:
        if store is not None:
            raise ConfigError(f"--store {store}: goes with --version; name one, for example --version v3")
        settings = load_strategy(config or strategy_file())
        if timeframe is not None:
            settings = settings.replaced(timeframe=timeframe)
        chosen = chosen_symbols(symbol, runner.book, data_dir, timeframe=settings.bars, source=source)
        make = partial(runner.strategy, settings=settings)
    results = _run_each(chosen, make, runner.console, may_skip=symbol == ALL and len(chosen.symbols) > 1)
    # Before the first folder is written: a wrong benchmark or date leaves nothing behind.
    shown = [
        report_of(result, benchmark=benchmark, trials=trials, out_of_sample=out_of_sample)
        for result in results
    ]
    library = out if shared_js else None
    folders = [result.save(out, each, shared_js=library) for result, each in zip(results, shown, strict=True)]
    report(runner.console, results, folders)


def _run_each(
    chosen: Chosen, make: Callable[[str], Sequence[BacktestResult]], console: Console, *, may_skip: bool
) -> list[BacktestResult]:
    """Return the results of every symbol, and say which were skipped; DataError where all were."""
    results: list[BacktestResult] = []
    skipped = list(chosen.skipped)
    for each in chosen.symbols:
        try:
            results += make(each)
        except (DataError, FeatureError, ModelError) as error:
            if not may_skip:
                raise
            skipped.append(f"{each} is skipped: {error}")
    for line in skipped:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if not results:
        raise DataError(f"--symbol all: every symbol is skipped; first {skipped[0]}")
    return results


def _require_bare(portfolio: Path, given: Mapping[str, object]) -> None:
    """Raise ConfigError where something is given that a portfolio says itself, or that it cannot do."""
    for option, value in given.items():
        if value:
            raise ConfigError(
                f"{option}: does not go with --portfolio {portfolio}, which says all that its lanes trade; "
                "drop one of them"
            )


def _require_alone(model: str, config: Path | None, timeframe: str | None) -> None:
    """Raise ConfigError where something is given that the version brings itself."""
    for option, value in (("--strategy", config), ("--timeframe", timeframe)):
        if value is not None:
            raise ConfigError(f"{option} {value}: --version {model} brings its own; drop one of them")


def run_portfolio_file(
    path: Path,
    store: ModelStore,
    *,
    span: DateRange,
    data_dir: Path | None = None,
    engine: Engine | None = COMPILED,
    console: Console | None = None,
) -> PortfolioResult:
    """Run the portfolio of a file over history and return what happened.

    The look at the dates is counted, as by the command; what there is to say of it goes to the console.
    """
    runner = HistoryRunner(
        data_dir=data_dir, source=None, span=span, quarantine=False, seed=0, engine=engine, verify=False,
        console=console or Console(),
    )  # fmt: skip
    return runner.traded(path, store)


@dataclass(frozen=True, kw_only=True)
class HistoryRunner:
    """Loads and runs, one symbol after the other; `files` are those of the newest history.

    min_quality   score that the traded bars of a file must have, 0 … 100; None: any
    """

    data_dir: Path | None
    source: str | None
    span: DateRange
    quarantine: bool
    seed: int
    engine: Engine | None
    verify: bool
    min_quality: float | None = None
    book: InstrumentBook = field(default_factory=load_instruments)
    console: Console = field(default_factory=Console)
    files: list[ReadFile] = field(default_factory=list)

    def strategy(self, symbol: str, *, settings: StrategyConfig) -> list[BacktestResult]:
        """Run a strategy."""
        history = self._history(symbol, settings, None, self.data_dir, self.source)
        key, purpose = SeriesKey(symbol, settings.bars), f"backtest of {settings.name}"
        self._say(open_door(self.ledger, history, key, self.span, purpose=purpose, now=datetime.now(UTC)))
        return [self._run(symbol, settings, history)]

    def version(self, symbol: str, *, version: str, store: ModelStore) -> list[BacktestResult]:
        """Run the strategy of a version without its veto, then with it; one without a model runs once."""
        traded = TradedVersion.load(symbol, version, store)
        folder, source = traded.record.bars(self.data_dir, self.source)
        history = self._history(symbol, traded.config, traded, folder, source)
        self._say(traded.count_look(history, self.span, self.ledger, now=datetime.now(UTC)))
        beside = (None, traded) if traded.veto is not None else (traded,)
        return [self._run(symbol, traded.config, history, each) for each in beside]

    def portfolio(self, path: Path, store: ModelStore, out: Path, *, shared_js: Path | None) -> None:
        """Run a portfolio, write its folder and print what came out; `shared_js` as in `save`."""
        result = self.traded(path, store)
        folder = result.save(out, shared_js=shared_js)
        self.console.print(portfolio_table(result))
        self._say(
            [
                *portfolio_lines(result, self.engine, verified=self.verify),
                f"portfolio: {folder}",
                f"tear sheet: {folder / 'tearsheet.html'}",
            ]
        )

    def members(self, config: PortfolioConfig, folder: Path, store: ModelStore) -> dict[str, PortfolioMember]:
        """Load what each lane trades, by its name; files are named from `folder`."""
        return {name: self._member(config, name, folder, store) for name in config.names}

    def traded(self, path: Path, store: ModelStore) -> PortfolioResult:
        """Run a portfolio and return what happened."""
        config = load_portfolio_config(path, self.book)
        members = self.members(config, path.parent, store)
        return run_portfolio(
            config, members, self.book, span=self.span, seed=self.seed, engine=self.engine, verify=self.verify
        )

    def _member(self, config: PortfolioConfig, name: str, folder: Path, store: ModelStore) -> PortfolioMember:
        """Load what a lane trades, and count the look that its run is; files are named from `folder`."""
        lane, market = config.lane(name), self.book.market(name)
        symbol = lane.symbol
        if lane.version is not None:
            traded = TradedVersion.load(symbol, lane.version, store)
            LaneTerms.of(config, market, traded.config, traded.veto)
            history = self._history(
                symbol, traded.config, traded, *traded.record.bars(self.data_dir, self.source)
            )
            self._say(traded.count_look(history, self.span, self.ledger, now=datetime.now(UTC)))
            return PortfolioMember(
                strategy=traded.config, history=history, veto=traded.veto, model=traded.origin,
                files=tuple(dict.fromkeys(self.files)),
            )  # fmt: skip
        settings = load_strategy(folder / str(lane.strategy))
        LaneTerms.of(config, market, settings)
        history = self._history(symbol, settings, None, self.data_dir, self.source)
        purpose = f"backtest of {settings.name} in the portfolio {config.name}"
        key = SeriesKey(symbol, settings.bars)
        self._say(open_door(self.ledger, history, key, self.span, purpose=purpose, now=datetime.now(UTC)))
        return PortfolioMember(strategy=settings, history=history, files=tuple(dict.fromkeys(self.files)))

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of this machine: it knows which dates are sealed."""
        return Ledger(Database.open())

    def _say(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _history(
        self,
        symbol: str,
        settings: StrategyConfig,
        version: TradedVersion | None,
        folder: Path | None,
        source: str | None,
    ) -> History:
        veto = None if version is None else version.veto
        self.files.clear()
        found = load_history(
            symbol,
            folder,
            timeframe=settings.bars,
            context=context_keys(settings, self.book.markets, symbol, veto=veto),
            end=self.span.end,
            quarantine=self.quarantine,
            book=self.book,
            source=source,
            on_loaded=noting(self.console, self.files, self.book, settings.bars),
        )
        if self.min_quality is not None:
            # Before anything is run or counted.
            market, bars = self.book.market(symbol), found.series(SeriesKey(symbol, settings.bars))
            assess(bars, market.session, market.instrument).require(self.min_quality)
        return found

    def _run(
        self, symbol: str, settings: StrategyConfig, history: History, version: TradedVersion | None = None
    ) -> BacktestResult:
        bars = len(history.series(SeriesKey(symbol, settings.bars)))
        with _progress(self.console, symbol, bars) as on_bar:
            result = run_backtest(
                settings,
                history,
                symbol,
                span=self.span,
                veto=None if version is None else version.veto,
                model=None if version is None else version.origin,
                seed=self.seed,
                on_bar=on_bar,
                files=tuple(dict.fromkeys(self.files)),
                engine=self.engine,
                verify=self.verify,
            )
        self._say(engine_lines(result, self.engine, verified=self.verify))
        return result


def noting(console: Console, read: list[ReadFile], book: InstrumentBook, traded: Timeframe) -> OnLoaded:
    """Return what takes note of every file that is loaded, for the result, and prints its rejected rows.

    Bars of another timeframe than the `traded` one are assessed as they are: longer ones that are made of
    them hide their holes.
    """

    def on_loaded(loaded: Loaded[Bars] | Loaded[Ticks]) -> None:
        say_rejected(console, loaded)
        found: tuple[Finding, ...] = ()
        if isinstance(loaded.data, Bars) and loaded.data.timeframe != traded:
            session, instrument = book.session_named(loaded.source.session), loaded.data.symbol
            found = assess(loaded.data, session, book.instrument(instrument)).findings
        read.append(ReadFile.of(loaded, found))

    return on_loaded


def say_rejected(console: Console, loaded: Loaded[Bars] | Loaded[Ticks]) -> None:
    """Print how many rows of a file were set aside, and where they are."""
    if loaded.rejected:
        counts = f"{len(loaded.rejected):,} of {loaded.rows:,} rows rejected"
        console.print(f"{loaded.data.source}: {counts}, see {loaded.rejected_path}", soft_wrap=True)


@contextmanager
def _progress(console: Console, symbol: str, bars: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn(symbol),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("bars"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(symbol, total=bars)

        def on_bar(seen: int) -> None:
            if seen % _BARS_PER_UPDATE == 0:
                progress.update(task, completed=seen)

        yield on_bar


def report(console: Console, results: Sequence[BacktestResult], folders: Sequence[Path]) -> None:
    """Print the result table and where the tear sheets are."""
    console.print(result_table(results))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    for folder in folders:
        console.print(f"tear sheet: {folder / 'tearsheet.html'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run(app)
