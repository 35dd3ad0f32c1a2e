"""The verbs of a notebook: one line each for the usual case, found on `lockstep` by tab.

`backtest`, `sweep`, `train`, `release`, `validate`, `certify`, `promote`, `rollback`; `optimize_portfolio`,
`risk`, `stress`; `lookahead`; `explain`; `rehearse` and `compare`, which hold research against the live
engine; `monitor`. Each does what the command of its name does, with the same files, the same trial ledger and
the same model store, and returns an object that shows itself. They live on top of the ladder, since `certify`
sees what no lower package may; `lockstep` finds them by name. Each loads what it needs when it is called.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lockstep.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from certify.certificate import Certificate
    from certify.live_run import LiveRun
    from lockstep.market.dates import DateRange, Day
    from lockstep.market.history import History
    from lockstep.models.bundle import Bundle
    from lockstep.models.store import ModelStore
    from lockstep.models.verbs import Change
    from lockstep.monitoring.parity import ParityComparison
    from lockstep.strategy.config import StrategyConfig
    from operations.watch.report import MonitorReport
    from research.backtest.result import BacktestResult
    from research.backtest.run import Engine
    from research.checks.verdicts import LookaheadReport
    from research.experiments.grid import Grid
    from research.experiments.report import ExperimentReport
    from research.model_validation.report import ValidationReport
    from research.optimise.optimise import OptimisedPortfolio
    from research.risk.measured import RiskReport
    from research.specs.explain import Explanation
    from research.splits.ranges import Split
    from research.stress.run import StressResult
    from research.training.config import TrainingConfig
    from research.training.report_data import TrainingReport

# A configuration, the path of its YAML, or the name of a shipped one, such as `ibs_baseline`.
Strategy: TypeAlias = "StrategyConfig | Path | str"
# A model store or its folder; None: the default one.
Store: TypeAlias = "ModelStore | Path | str | None"
# What names a version: what `train` returned, a bundle of a store, or a symbol.
Model: TypeAlias = "TrainedVersion | Bundle | str"
Folder: TypeAlias = "Path | str | None"

_DAY = timedelta(days=1)
_YAML = (".yaml", ".yml")


def backtest(
    strategy: Strategy | Bundle,
    symbol: str = "",
    *,
    start: Day = None,
    end: Day = None,
    data_dir: Folder = None,
    history: History | None = None,
    veto: bool = True,
    seed: int = 0,
    engine: Engine | None = None,
    verify: bool = False,
) -> BacktestResult:
    """Trade a strategy, or a bundle with its veto, over history and return what happened.

    symbol      what to trade; a bundle knows it
    start, end  first and last session date; None: all there is
    data_dir    folder of the bars; None: those that come with Lockstep (COMP and SPX)
    history     bars that are loaded already, instead
    veto        whether the model of a bundle is asked
    engine      `backtrader` or `compiled`, with the same result; None: compiled for 200,000 bars or more
    verify      run both; EngineMismatch, with the first difference, where one record differs

    A run that shows sealed dates says so, and is counted as a look in the ledger (`LOCKSTEP_DB`).

    >>> result = backtest("ibs_baseline", "COMP", start="2017-01-03", end="2018-12-31")
    >>> result.symbol, result.metrics["trades"] > 10
    ('COMP', True)
    >>> backtest("ibs_baseline", "COMP", start="2017-01-03", engine="compiled").engine
    'compiled'
    """
    from lockstep.market.dates import DateRange
    from lockstep.models.bundle import Bundle
    from lockstep.strategy.bundled import config_of, veto_of
    from research.backtest.run import engine_lines, run_backtest

    bundle = strategy if isinstance(strategy, Bundle) else None
    config = config_of(strategy) if isinstance(strategy, Bundle) else strategy_named(strategy)
    symbol = symbol or (bundle.symbol if bundle else "")
    if not symbol:
        raise ConfigError(f"{config.name}: no symbol; give one, such as COMP")
    asked = veto_of(bundle) if bundle and veto else None
    ids = tuple(bundle.feature_ids) if bundle and asked else ()
    history, span = history or _history(config, symbol, data_dir, end, ids), DateRange.of(start, end)
    _count_look(config, history, symbol, span, bundle)
    result = run_backtest(
        config,
        history,
        symbol,
        span=span,
        veto=asked,
        seed=seed,
        model=_origin(bundle) if bundle and veto else None,
        engine=engine,
        verify=verify,
    )
    for line in engine_lines(result, engine, verified=verify):
        print(line)
    return result


def _count_look(
    config: StrategyConfig, history: History, symbol: str, span: DateRange, bundle: Bundle | None
) -> None:
    from lockstep.market.dates import DateRange
    from lockstep.market.history import SeriesKey
    from research.ledger.database import Database
    from research.ledger.doors import open_door
    from research.ledger.ledger import Ledger

    own = bundle.training.get("hold_out") if bundle else None
    purpose = f"backtest of {bundle.sha256 if bundle and bundle.sha256 else config.name}"
    lines = open_door(
        Ledger(Database.open()), history, SeriesKey(symbol, config.bars), span, purpose=purpose, now=_now(),
        also=() if not own else (DateRange.of(*own),),
    )  # fmt: skip
    for line in lines:
        print(line)


def strategy_named(given: Strategy) -> StrategyConfig:
    """Return a configuration: as it is, from its YAML, or a shipped one by its name."""
    from lockstep.strategy.config import StrategyConfig
    from lockstep.strategy.family import load_strategy

    return given if isinstance(given, StrategyConfig) else load_strategy(_strategy_file(given))


def _strategy_file(given: Path | str) -> Path:
    from lockstep.market.config import shipped_config

    path = Path(given)
    return path if path.suffix in _YAML else shipped_config(f"strategies/{given}.yaml")


def _history(
    config: StrategyConfig, symbol: str, data_dir: Folder, end: Day, ids: Sequence[str] = ()
) -> History:
    """Return the bars of every series that a strategy, and a model with the features `ids`, read."""
    from lockstep.features.columns import source_keys
    from lockstep.features.feature_registry import default_registry
    from lockstep.market.config import load_instruments
    from lockstep.market.history import SeriesKey
    from lockstep.market.loader import load_history

    wanted = tuple(dict.fromkeys((*config.feature_ids, *ids)))
    plan = default_registry().plan(wanted, SeriesKey(symbol, config.bars))
    keys = source_keys(plan, load_instruments().markets)
    return load_history(symbol, data_dir, timeframe=config.bars, context=keys, end=end)


def _origin(bundle: Bundle) -> dict[str, Any]:
    """What the provenance of a run names of a bundle, as that of the command does."""
    return {
        "version": bundle.version or "unregistered",
        "sha256": bundle.sha256,
        "threshold": bundle.threshold,
        "fitted_on": bundle.training.get("range") if bundle.has_model else None,
        "hold_out": bundle.training.get("hold_out"),
    }


def sweep(
    strategy: Strategy,
    symbol: str | Sequence[str],
    grid: Mapping[str, Sequence[Any]] | Path | str,
    *,
    start: Day = None,
    end: Day = None,
    test_from: Day = None,
    walk_forward: str | None = None,
    sample: int | None = None,
    by: str = "sharpe",
    name: str = "",
    data_dir: Folder = None,
    seed: int = 0,
) -> ExperimentReport:
    """Evaluate every combination of a grid, check the best in Backtrader and say how far to believe them.

    grid          dotted path -> values, such as {"entry.high": [0.1, 0.2]}; or the path of a grid file, whose
                  dates hold where none are given here
    start, end    first and last session date that is looked at; None: all there is
    test_from     first date of the test range; None: the last third
    walk_forward  train/test/step, such as `4y/1y/1y`, instead of one split
    sample        so many combinations, drawn with `seed`, instead of all
    by            measure of the test range by which the winner is chosen: sharpe, cagr, sortino or calmar

    Every combination is counted as a trial in the ledger (`LOCKSTEP_DB`), as by `lockstep experiments`.
    """
    from rich.console import Console

    from lockstep.settings import validated
    from research.experiments.execution import Lab
    from research.experiments.paths import require_known
    from research.experiments.plan import Plan
    from research.experiments.progress import on_screen
    from research.experiments.report import page_data
    from research.ledger.database import Database

    config, declared = strategy_named(strategy), _grid(grid)
    symbols = (symbol,) if isinstance(symbol, str) else tuple(symbol)
    require_known(declared.parameters, config, where="grid")
    content = {
        "name": name or config.name,
        "strategy": config,
        "symbols": symbols,
        "parameters": dict(declared.parameters),
        "split": _split(declared, symbols[0], data_dir, start, end, test_from),
        "walk_forward": walk_forward,
        "sample": sample,
        "seed": seed,
        "select_by": by,
        "top": declared.top,
        "limits": declared.limits,
        "data_dir": None if data_dir is None else str(data_dir),
    }
    lab, plan = Lab(database=Database.open()), validated(Plan, content, where="sweep")
    with on_screen(Console(), plan) as listener:
        record = lab.run(plan, listener)
    return page_data(lab, record)


def _grid(given: Mapping[str, Sequence[Any]] | Path | str) -> Grid:
    from lockstep.settings import validated
    from research.experiments.grid import Grid

    if isinstance(given, Mapping):
        return validated(Grid, {"parameters": dict(given)}, where="grid")
    return Grid.load(Path(given))


def _split(grid: Grid, symbol: str, data_dir: Folder, start: Day, end: Day, test_from: Day) -> Split:
    """Return the ranges of a search: the grid file's, or the dates given, the last third for the test."""
    from lockstep.market.config import load_instruments
    from lockstep.market.dates import DateRange, as_day
    from lockstep.market.loader import load_bars
    from research.splits.ranges import Split, training_end

    declared = grid.split
    if declared.train and declared.validation and not (start or end or test_from):
        return Split(train=declared.train, validation=declared.validation, holdout=declared.holdout)
    bars = load_bars(symbol, data_dir, start=start, end=end)
    dates = load_instruments().session(symbol).dates(bars.end, bars.timeframe)
    first, last = dates[0].item(), dates[-1].item()
    found = as_day("test_from", test_from) or training_end(first, last) + _DAY
    if not first < found <= last:
        raise ConfigError(f"test_from {found}: must lie after {first} and not after {last}")
    return Split(train=DateRange(start=first, end=found - _DAY), validation=DateRange(start=found, end=last))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedVersion:
    """A training run whose bundle is registered: what `train` returns.

    bundle   as it is in the store, its version included
    report   everything that the training report shows; page   where it was written
    folder   of the run, for `validate`
    """

    bundle: Bundle
    report: TrainingReport
    page: Path
    folder: Path

    @property
    def symbol(self) -> str:
        """What it trades."""
        return self.bundle.symbol

    @property
    def version(self) -> str:
        """Its version in the store, a candidate."""
        return self.bundle.version

    @property
    def windows(self) -> pd.DataFrame:
        """One row per outer window: dates, samples, threshold, and the account with and without the veto."""
        return self.report.windows_table()

    @property
    def steps(self) -> pd.DataFrame:
        """Every step of the final search with its parameters, the best first."""
        return self.report.steps_table()

    def plot(self) -> go.Figure:
        """Return the accounts with and without the veto, out of sample."""
        from research.report.views import on_paper
        from research.training.report_figures import equity

        return on_paper(equity(self.report))

    def _repr_html_(self) -> str:
        from research.training.report import report_fragment

        return report_fragment(self.report, self.version)


def train(
    config: TrainingConfig | Path | str,
    *,
    trials: int | None = None,
    data_dir: Folder = None,
    seed: int = 0,
    jobs: int = -1,
    resume: bool = False,
    store: Store = None,
    out: Folder = None,
    by: str = "",
) -> TrainedVersion:
    """Search, fit and evaluate a veto, write its report and register its bundle as a candidate.

    config   a training configuration, the path of its YAML, or the name of a shipped one, such as `demo/COMP`
    trials   search steps; None: those of the configuration. Each is counted in the ledger (`LOCKSTEP_DB`)
    resume   go on where the same training was interrupted
    out      folder of run folders; None: `training` in the results
    by       who registers it; the user of this process by default
    """
    from lockstep.desk import results_folder
    from lockstep.models.command_line import actor
    from lockstep.models.store import load_bundle
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger
    from research.training.config import TrainingConfig, load_training
    from research.training.report import write_report
    from research.training.report_data import report_data
    from research.training.run import Task, run_training
    from research.training.screen import trainings_so_far

    path = "" if isinstance(config, TrainingConfig) else str(_training_file(config))
    settings = config if isinstance(config, TrainingConfig) else load_training(path)
    task = Task(
        config=settings.with_trials(trials), config_path=path, data_dir=_path(data_dir), seed=seed, jobs=jobs,
        resume=resume, out=_path(out) or results_folder("training"),
    )  # fmt: skip
    models, ledger = _store(store), Ledger(Database.open())
    trained = run_training(task, ledger, now=_now)
    report = report_data(trained.outcome, trained.history, trainings=trainings_so_far(trained, ledger))
    page = write_report(report, trained.history, trained.folder)
    version = models.register(trained.bundle, record=trained.record, by=actor(by), now=_now())
    bundle = load_bundle(trained.bundle.symbol, version, store=models)
    return TrainedVersion(bundle=bundle, report=report, page=page, folder=trained.folder)


def _training_file(given: Path | str) -> Path:
    from lockstep.market.config import shipped_config

    if Path(given).suffix in _YAML:
        return Path(given)
    return shipped_config(f"{given}.yml" if "/" in str(given) else f"training/{given}.yml")


def release(
    strategy: Path | str,
    symbol: str = "",
    *,
    data_dir: Folder = None,
    source: str | None = None,
    store: Store = None,
    reason: str = "",
    by: str = "",
) -> Bundle:
    """Register a strategy that trades without a model as the next version and return its bundle.

    strategy   the path of its YAML, or the name of a shipped one, such as `ibs_baseline`
    symbol     to trade; none: the one that the file names

    The same store, evidence, live engine, promotion and rollback as for one with a model. A strategy that is
    registered already stays the version that it is.
    """
    from lockstep.models.command_line import actor
    from lockstep.models.store import load_bundle
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger
    from research.training.config import load_release
    from research.training.release import register_strategy

    path, models = _strategy_file(strategy), _store(store)
    found = register_strategy(
        load_release(path, symbol, source=source), models, Ledger(Database.open()), by=actor(by), now=_now,
        data_dir=_path(data_dir), path=str(path), reason=reason,
    )  # fmt: skip
    return load_bundle(found.symbol, found.version, store=models)


def validate(
    model: Model,
    version: str = "",
    *,
    data_dir: Folder = None,
    run: Folder = None,
    store: Store = None,
    out: Folder = None,
    by: str = "",
) -> ValidationReport:
    """Ask every check of a version, write the report and attach the verdict to the version.

    model    what `train` returned, a bundle of the store, or a symbol with `version` (none: the newest)
    run      folder of the training run; None: that of `train`, or found by the record
    """
    from lockstep.models.command_line import actor
    from research.model_validation.command import validate_version

    symbol, meant = _named(model, version)
    folder = model.folder if run is None and isinstance(model, TrainedVersion) else _path(run)
    report, _ = validate_version(
        symbol, meant, by=actor(by), store=_store(store).folder, out=_path(out), data_dir=_path(data_dir),
        run=folder,
    )  # fmt: skip
    return report


def certify(
    model: Model,
    version: str = "",
    *,
    start: Day = None,
    end: Day = None,
    restarts: int = 5,
    data_dir: Folder = None,
    source: str | None = None,
    store: Store = None,
    out: Folder = None,
    by: str = "",
) -> Certificate:
    """Compare research, sweep and a killed and restarted live engine, and attach the certificate.

    model       what `train` returned, a bundle of the store, or a symbol with `version` (none: production)
    start, end  first and last session date; None: from the first bar on which every window is full
    restarts    how often the live engine is killed, after random bar sets
    out         folder of the reports; None: `reports` in the store
    """
    from certify import run as engines
    from certify.command import bars_of_training, keep
    from lockstep.models.command_line import actor

    symbol, meant = _named(model, version)
    models, versions = _store(store), {symbol: meant or "production"}
    folder, named = bars_of_training(models, versions, _path(data_dir), source)
    request = engines.CertificateRequest(
        versions=versions, store=models, data_dir=folder, source=named, start=_iso(start), end=_iso(end),
        restarts=restarts,
    )  # fmt: skip
    (found,) = engines.certify(request, now=_now())
    keep(found, _path(out) or models.folder / "reports", models, by=actor(by), now=_now())
    return found


def promote(
    model: Model,
    version: str = "",
    *,
    reason: str = "",
    force: bool = False,
    store: Store = None,
    by: str = "",
) -> Change:
    """Put a version into production, and say what changed.

    EvidenceMissing where the store's policy asks for more than the version has; `force`, with a `reason`,
    sets that aside, and both stay in the history.
    """
    from lockstep.models.command_line import actor
    from research.ledger.versions import promote_version

    symbol, meant = _named(model, version)
    return promote_version(_store(store), symbol, meant, by=actor(by), now=_now(), reason=reason, force=force)


def rollback(symbol: str, *, reason: str, to: str | None = None, store: Store = None, by: str = "") -> Change:
    """Go back to version `to`, by default to what was in production before, and say what changed."""
    from lockstep.models.command_line import actor

    return _store(store).rollback(symbol, to=to, by=actor(by), now=_now(), reason=reason)


def optimize_portfolio(
    plan: Path | str,
    *,
    out: Path | str,
    results: Folder = None,
    runs: Folder = None,
    store: Store = None,
    data_dir: Folder = None,
    start: Day = None,
    end: Day = None,
    seed: int = 0,
) -> OptimisedPortfolio:
    """Make the portfolio of a plan: write its file to `out`, figures and a page to `results`, and return it.

    runs         folder of the training runs, whose walk-forwards are out of sample
    start, end   sessions of the streams; None: all that are out of sample for every lane

    Each configuration that is evaluated is a trial of every family, in the ledger (`LOCKSTEP_DB`).
    """
    from lockstep.desk import results_folder
    from lockstep.market.dates import DateRange
    from research.optimise.command import make_portfolio

    portfolio, _ = make_portfolio(
        Path(plan), out=Path(out), results=_path(results) or results_folder("portfolio"),
        runs=_path(runs) or results_folder("training"), store=_store(store), data_dir=_path(data_dir),
        span=DateRange.of(start, end), seed=seed,
    )  # fmt: skip
    return portfolio


def risk(
    portfolio: Folder = None,
    *,
    desk: Folder = None,
    store: Store = None,
    data_dir: Folder = None,
    start: Day = None,
    end: Day = None,
    seed: int = 0,
) -> RiskReport:
    """Measure what the next session may cost: value at risk and expected shortfall of today's positions.

    portfolio    file of a portfolio: its run, positions at the last set; or
    desk         a live.yml: positions and waiting entries of its journal
    start, end   sessions of the run; seed: of the p-values

    ConfigError unless one of the two is given. Nothing is written; see `research.risk.written`.
    """
    from lockstep.market.dates import DateRange
    from operations.risk_cli import risk_of_desk, risk_of_portfolio

    if (portfolio is None) == (desk is None):
        raise ConfigError("risk: give either the file of a portfolio, or desk=, the live.yml of a desk")
    if desk is not None:
        return risk_of_desk(Path(desk), data_dir=_path(data_dir), seed=seed)
    span = DateRange.of(start, end)
    return risk_of_portfolio(Path(str(portfolio)), _store(store), span, data_dir=_path(data_dir), seed=seed)


def stress(
    portfolio: Path | str,
    *,
    scenarios: Folder = None,
    gate: float | None = None,
    store: Store = None,
    data_dir: Folder = None,
    start: Day = None,
    end: Day = None,
) -> StressResult:
    """Trade crises, gaps at every open bar and other changed bars with a portfolio's own strategies.

    scenarios   YAML of your own; None: those of Lockstep
    gate        drawdown to stay below, fraction of the capital; None: that of the scenarios, 0.4

    The worst ones run again in Backtrader: EngineMismatch unless every bit is equal. Nothing is written.
    """
    from rich.console import Console

    from lockstep.market.dates import DateRange
    from research.stress.loading import PortfolioLoader
    from research.stress.plan import load_plan
    from research.stress.run import run_stress

    span = DateRange.of(start, end)
    loader = PortfolioLoader.of(data_dir=_path(data_dir), source=None, span=span, console=Console())
    loaded = loader.portfolio(Path(portfolio), _store(store))
    plan = None if scenarios is None else load_plan(Path(scenarios))
    return run_stress(loaded.config, loaded.members, loaded.book, plan=plan, span=span, gate=gate)


def lookahead(
    strategy: Strategy,
    symbol: str,
    *,
    cuts: int = 20,
    start: Day = None,
    end: Day = None,
    data_dir: Folder = None,
    seed: int = 0,
) -> LookaheadReport:
    """Change the history behind random bars and see whether anything before them moves: it must not."""
    from lockstep.market.dates import DateRange
    from research.checks.lookahead import check_lookahead

    config = strategy_named(strategy)
    history, span = _history(config, symbol, data_dir, end), DateRange.of(start, end)
    return check_lookahead(config, history, symbol, cuts=cuts, seed=seed, span=span)


def explain(
    spec: Strategy,
    symbol: str = "COMP",
    *,
    start: Day = None,
    end: Day = None,
    data_dir: Folder = None,
) -> Explanation:
    """Say what a spec does, and how often each of its conditions holds on training bars.

    start, end  first and last session date that is looked at; without `end` the last third is left alone

    No sealed date is looked at, see `research.specs.rows`. ConfigError for a strategy of another family.

    >>> found = explain("rsi_2")
    >>> print(found.text.splitlines()[2])
    A long position is sold at the next bar's open when close_sma_atr_5_14 is above 0.
    """
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger
    from research.specs import explain as explaining
    from research.specs.check import require_spec
    from research.specs.rows import training_rows

    config = strategy_named(spec)
    config = require_spec(config, config.name)
    (rows,) = training_rows(
        [config], symbol, data_dir=_path(data_dir), start=start, end=end, ledger=Ledger(Database.open()),
        now=_now(),
    )  # fmt: skip
    return explaining.explain(config, rows)


def rehearse(
    model: Model,
    version: str = "",
    *,
    start: Day,
    end: Day = None,
    kill_after: Sequence[int] = (),
    data_dir: Folder = None,
    store: Store = None,
    folder: Folder = None,
) -> LiveRun:
    """Run the live engine over history as a process of its own, killed and restarted, and read its journal.

    model       what `train` returned, a bundle of the store, or a symbol with `version` (none: production)
    kill_after  numbers of bar sets after which it gets a SIGKILL
    folder      an empty one, where it leaves its journal, `live.db`, and its log; None: a temporary one

    Nothing in the store changes: the engine trades from a copy in which the version is in production.
    """
    from certify.live_run import ReplayRange, run_live
    from lockstep.models.store import ModelStore, load_bundle

    symbol, meant = _named(model, version)
    models = _store(store)
    bundle = load_bundle(symbol, meant or "production", store=models)
    place = Path(folder or tempfile.mkdtemp(prefix="lockstep-rehearsal-")).resolve()
    if place.is_dir() and any(place.iterdir()):
        raise ConfigError(f"folder {place}: is not empty; give another one, a rehearsal begins with nothing")
    place.mkdir(parents=True, exist_ok=True)
    copy, by = ModelStore(place / "store"), "rehearsal"
    copy.folder.mkdir()
    entry = models.manifest().entry(symbol, bundle.version)
    copy.fetch_columns(models, (entry.feature_ids, entry.strategy), by=by, now=_now())
    copied = copy.register(bundle, record=entry.record, by=by, now=_now())
    copy.promote(symbol, copied, by=by, now=_now(), reason="rehearsal", force=True)
    replay = ReplayRange(start=str(start), end=_iso(end), data_dir=_path(data_dir))
    return run_live({symbol: bundle}, replay, place, store=copy.folder, kill_after=kill_after)


def monitor(config: Folder = None) -> MonitorReport:
    """Watch a desk once: read what is new in its journal, and return what there is to say.

    config   the monitoring.yml; None: that of the desk folder, or of `configs`

    The monitor's database and the summary of the desk's status are brought up to date; nobody is told, which
    `lockstep monitor run` does.
    """
    from lockstep.market.command_line import monitoring_file
    from operations.watch.config import MonitoringConfig
    from operations.watch.database import MonitorDatabase, only_monitor
    from operations.watch.monitor import Monitor
    from operations.watch.report import read_report
    from operations.watch.telling import write_summary

    settings = MonitoringConfig.load(_path(config) or monitoring_file())
    watching = Monitor(settings)
    with only_monitor(settings.database), MonitorDatabase.open(settings.database) as database:
        watching.run(database, now=time.time_ns())
    report = read_report(settings.database)
    write_summary(report, settings, watching.desk)
    return report


def compare(first: BacktestResult, second: BacktestResult | LiveRun) -> ParityComparison:
    """Compare a backtest with another one, or with a run of the live engine, bar by bar and bit for bit."""
    from lockstep.monitoring import parity
    from research.backtest.result import BacktestResult, steps_of

    if isinstance(second, BacktestResult):
        steps = steps_of(second)
    else:
        steps = second.steps(first.symbol, first.config.timeframe)
    return parity.compare(steps_of(first), steps, first.vector_ids)


def _store(given: Store) -> ModelStore:
    from lockstep.models.store import ModelStore

    return given if isinstance(given, ModelStore) else ModelStore(_path(given))


def _named(model: Model, version: str) -> tuple[str, str]:
    if isinstance(model, str):
        return model, version
    if not model.version:
        raise ConfigError(f"bundle of {model.symbol}: is in no store; register it, or load it from one")
    return model.symbol, version or model.version


def _path(given: Folder) -> Path | None:
    return None if given is None else Path(given)


def _iso(day: Day) -> str | None:
    return None if day is None else str(day)


def _now() -> datetime:
    return datetime.now(UTC)
