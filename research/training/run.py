"""A training run from files to files: bars in, run folder and registered bundle out."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from lockstep.desk import results_folder
from lockstep.errors import TrainingError
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import default_registry
from lockstep.files import replace_file
from lockstep.floats import require_exact
from lockstep.identity import checkout_root, code_revision, json_digest, lock_hash, training_versions
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.families import load_families
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.models.bundle import Bundle
from lockstep.models.content import file_content
from lockstep.models.manifest import TrainingRecord
from research.ledger.doors import introduce
from research.ledger.ledger import Ledger
from research.ledger.spaces import ADAPTIVE
from research.sweep.cluster import require_workers
from research.training.bundling import data_hashes, make_bundle
from research.training.config import StrategyRelease, TrainingConfig
from research.training.counting import trial_counter
from research.training.dataset import Dataset, build_dataset, save_dataset
from research.training.outcome import TrainingOutcome
from research.training.outcome_file import outcome_bytes, outcome_of
from research.training.search import SearchListener
from research.training.steps import StepFolder
from research.training.train import train

OUTCOME, DATASET, SUMMARY, STEPS = "outcome.joblib", "dataset.parquet", "training.json", "steps"
SCHEMA = 1
# How far the first and the last bar may lie inside the range that the configuration asks for: holidays.
_SLACK_DAYS = 10
_NAME_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be trained, and where things lie; `data_dir` None means the embedded bars.

    config_path   where the configuration came from, for the record
    cluster       address of a Dask scheduler whose workers search, None for `jobs` processes of this machine
    resume        go on from the steps that an interrupted run of the same training left in `out`
    """

    config: TrainingConfig
    config_path: str = ""
    data_dir: Path | None = None
    seed: int = 0
    jobs: int = -1
    cluster: str | None = None
    resume: bool = False
    out: Path = field(default_factory=partial(results_folder, "training"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A finished run: its folder, what the bundle is made of, and the record that rebuilds it."""

    folder: Path
    outcome: TrainingOutcome
    history: History
    bundle: Bundle
    record: TrainingRecord
    family: str


def run_training(
    task: Task, ledger: Ledger, *, now: Callable[[], datetime], listener: SearchListener | None = None
) -> Trained:
    """Train, count every step, and leave outcome, dataset and summary in the run's folder.

    Raises: what `load_history`, `build_dataset` and `train` raise; StoreFailure where the disk refuses;
    ClusterError, before anything is written, where `cluster` cannot be reached.
    """
    require_exact()
    require_workers(task.cluster)
    book = load_instruments()
    config = task.config
    history = load_training_history(config, task.data_dir, book=book)
    dataset = build_dataset(config, history)
    folder = task.out / run_name(config, dataset, task.seed)
    family = load_families().of(book.instrument(config.symbol))
    for line in introduce(ledger, history, SeriesKey(config.symbol, config.strategy.bars), family, now=now()):
        (listener or SearchListener()).note(line)
    count = trial_counter(ledger, family, config, dataset, seed=task.seed, now=now)
    steps = StepFolder(_made(folder / STEPS), count)
    if not task.resume:
        steps.forget()
    outcome = train(
        config, dataset, seed=task.seed, jobs=task.jobs, cluster=task.cluster, diary=steps, listener=listener
    )
    bundle = make_bundle(outcome, history)
    record = training_record(task, history, dataset)
    _write(folder, outcome, bundle, record)
    return Trained(
        folder=folder, outcome=outcome, history=history, bundle=bundle, record=record, family=family
    )


def load_training_history(
    config: TrainingConfig, data_dir: Path | str | None = None, *, book: InstrumentBook | None = None
) -> History:
    """Return the bars of every series that strategy and features read, none after the configured end.

    NoBars and DataError where bars are missing; TrainingError where they cover less than the range.
    """
    registry = default_registry()
    members = [each for family in config.features.families for each in registry.list(family)]
    return read_history(config, (*members, *config.features.ids), data_dir, book=book)


def read_history(
    config: TrainingConfig | StrategyRelease,
    ids: Iterable[str] = (),
    data_dir: Path | str | None = None,
    *,
    book: InstrumentBook | None = None,
) -> History:
    """Return the bars of every series that the strategy and the features `ids` read; see above."""
    book = book or load_instruments()
    key = SeriesKey(config.symbol, config.strategy.bars)
    wanted = dict.fromkeys((*config.strategy.feature_ids, *ids))
    history = load_history(
        config.symbol,
        data_dir,
        timeframe=key.timeframe,
        context=source_keys(default_registry().plan(tuple(wanted), key), book.markets),
        end=config.data.end,
        book=book,
        source=config.data.source,
    )
    _require_range(config, history)
    return history


def run_name(config: TrainingConfig, dataset: Dataset, seed: int) -> str:
    """Return the name of a run's folder: the symbol and a hash of everything that decides the result."""
    content = [config.config_hash, dict(dataset.hashes), seed, training_versions()]
    return f"{config.symbol}-{json_digest(content)[:_NAME_DIGITS]}"


def training_record(task: Task, history: History, dataset: Dataset) -> TrainingRecord:
    """Return what `lockstep models rebuild` needs."""
    versions = training_versions()
    return TrainingRecord(
        code_revision=code_revision(checkout_root()),
        code_hash=dataset.hashes["code"],
        config=task.config.model_dump(mode="json"),
        config_path=task.config_path,
        data_hashes=data_hashes(history),
        data_dir=None if task.data_dir is None else str(task.data_dir),
        seed=task.seed,
        lock_hash=lock_hash(),
        python=versions["python"],
        versions=versions,
    )


def load_outcome(folder: Path) -> TrainingOutcome:
    """Return the outcome that a run left in its folder; TrainingError where none can be read."""
    path = folder / OUTCOME
    if not path.is_file():
        raise TrainingError(f"{path}: is not there; train the model, or name the folder of its run")
    try:
        return outcome_of(file_content(path), str(path))
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; train the model again") from error
    except TrainingError as error:
        raise TrainingError(f"{error}; train the model again") from error


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def user() -> str:
    """Return the name of whoever runs this, for records that ask who."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _require_range(config: TrainingConfig | StrategyRelease, history: History) -> None:
    key = SeriesKey(config.symbol, config.strategy.bars)
    bars = history.series(key)
    dates = history.markets[config.symbol].session.dates(bars.end[[0, -1]], bars.timeframe)
    first, last = (day.item() for day in dates)
    wanted, until = config.data.start or first, config.data.end or last
    if (first - wanted).days > _SLACK_DAYS or (until - last).days > _SLACK_DAYS:
        raise TrainingError(
            f"{config.symbol}: the configuration asks for {_spelled(wanted, until)}, {bars.source} holds "
            f"{_spelled(first, last)}; add the missing bars, or change data.start and data.end"
        )


def _spelled(first: date, last: date) -> str:
    return f"{first} to {last}"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be made: {error.strerror}; choose another --out") from error
    return folder


def _write(folder: Path, outcome: TrainingOutcome, bundle: Bundle, record: TrainingRecord) -> None:
    """Write outcome, dataset and summary, each in one step."""
    replace_file(folder / OUTCOME, outcome_bytes(outcome))
    save_dataset(outcome.dataset, folder / DATASET)
    summary = {
        "schema": SCHEMA,
        "symbol": bundle.symbol,
        "searched": ADAPTIVE,
        "threshold": bundle.threshold,
        "metrics": dict(bundle.metrics),
        "training": dict(bundle.training),
        "record": record.model_dump(mode="json"),
    }
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False) + "\n"
    replace_file(folder / SUMMARY, text.encode())
