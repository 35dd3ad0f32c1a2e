"""From a store to a `ValidationCase`: bundle, training run, bars, ledger and the version in production."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from lockstep.desk import results_folder
from lockstep.errors import ModelError, TrainingError, UnknownModel, VerbRefused
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import History
from lockstep.models import ModelStore, load_bundle
from lockstep.models.bundle import Bundle, bundle_of
from lockstep.models.definitions import changed_features
from lockstep.models.manifest import PRODUCTION, VETO, TrainingRecord
from lockstep.models.tasks import NOT_TRADED
from research.backtest.account import Account, bundle_account
from research.ledger.ledger import Ledger
from research.model_validation.case import Champion, ModelCase, StrategyCase, ValidationCase
from research.model_validation.hold_out import HoldOutDoor
from research.training.bundling import data_hashes
from research.training.config import StrategyRelease, TrainingConfig
from research.training.counting import trainings
from research.training.dataset import build_dataset, dates_of
from research.training.out_of_sample import OpenedHoldOut, backtest, open_hold_out, open_release, trading_span
from research.training.outcome import TrainingOutcome
from research.training.release import ReleasedStrategy
from research.training.run import load_outcome, load_training_history, read_history, run_name


@dataclass(frozen=True, kw_only=True)
class ValidationRequest:
    """What is to be judged, and where things lie.

    version    `v3`; `data_dir` None means the folder that the training named
    run        folder of the training run; None: the one in `runs` that the record leads to
    reports    where the report goes, and the hold-out's result is kept
    retrained  a challenger that is tested in shadow: its hold-out stays sealed
    """

    symbol: str
    version: str
    store: ModelStore
    reports: Path
    data_dir: Path | None = None
    run: Path | None = None
    runs: Path = field(default_factory=partial(results_folder, "training"))
    name: str = VETO
    retrained: bool = False


def gather(request: ValidationRequest, ledger: Ledger, *, now: datetime) -> ValidationCase:
    """Return the case of a version.

    Raises: a ModelError where the bundle is refused, the bars are not those of the training, or the run is
    another one; TrainingError where the training run of a model is not there.
    """
    bundle = _bundle(request)
    record = request.store.manifest().entry(request.symbol, request.version, request.name).record
    family = load_families().of(load_instruments().instrument(request.symbol))
    asked = _Asked(request=request, bundle=bundle, record=record, ledger=ledger, family=family, now=now)
    return _model_case(asked) if bundle.has_model else _strategy_case(asked)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request with what both kinds of case begin with."""

    request: ValidationRequest
    bundle: Bundle
    record: TrainingRecord
    ledger: Ledger
    family: str
    now: datetime

    def door(self, look: Callable[..., OpenedHoldOut]) -> HoldOutDoor:
        """Return the door to the hold-out that `look` opens."""
        once = partial(look, self.ledger, family=self.family, version=self.bundle.sha256, now=self.now)
        return HoldOutDoor(self.bundle, once, self.request.reports)


def _model_case(asked: _Asked) -> ModelCase:
    request, bundle = asked.request, asked.bundle
    outcome, history = trained_run(asked.record, request.data_dir, request.runs, request.run)
    require_same_bars(bundle, history)
    dates = dates_of(outcome.dataset, outcome.development)
    return ModelCase(
        bundle=bundle,
        outcome=outcome,
        history=history,
        trials=max(1, trainings(asked.ledger, asked.family, dates)),
        hold_out=asked.door(partial(open_hold_out, outcome, history)),
        champion=_champion(request, trading_span(outcome, history)),
    )


def _strategy_case(asked: _Asked) -> StrategyCase:
    request, bundle = asked.request, asked.bundle
    released = _released(asked.record, request.data_dir)
    require_same_bars(bundle, released.history)
    # Whoever judges it has tried it, if nobody has counted that before.
    released.count(asked.ledger, now=asked.now)
    dates = released.dates.development
    counted = asked.ledger.counted(asked.family, dates)
    return StrategyCase(
        bundle=bundle,
        released=released,
        history=released.history,
        trials=counted.trials,
        independent=max(1.0, counted.independent),
        hold_out=asked.door(partial(open_release, released)),
        champion=_champion(request, dates),
    )


def _released(record: TrainingRecord, data_dir: Path | None) -> ReleasedStrategy:
    release = StrategyRelease.recorded(record.config, where="record of the release")
    return ReleasedStrategy.of(release, read_history(release, data_dir=data_dir or record.data_dir))


def newest(store: ModelStore, symbol: str, name: str = VETO) -> str:
    """Return the newest version that is not retired; UnknownModel where there is none."""
    versions = store.manifest().model(symbol, name).versions
    alive = [version for version, entry in versions.items() if entry.status != "retired"]
    if not alive:
        raise UnknownModel(f"{symbol} {name}: every version is retired; train a new one")
    return max(alive, key=lambda version: int(version[1:]))


def _bundle(request: ValidationRequest) -> Bundle:
    """Return the bundle as it is: whether its golden vectors come out is for a check to say."""
    entry = request.store.manifest().entry(request.symbol, request.version, request.name)
    if entry.of_zoo:
        raise VerbRefused(f"{request.symbol} {request.name} {request.version}: {NOT_TRADED}")
    bundle = bundle_of(request.store.content(entry), entry.file, symbol=request.symbol)
    return replace(bundle, version=request.version, changed_features=changed_features(bundle, entry.file))


def trained_run(
    record: TrainingRecord, data_dir: Path | None, runs: Path, run: Path | None
) -> tuple[TrainingOutcome, History]:
    """Return the outcome of a record's training run, `run` or the one of `runs`, and the bars it was made of.

    TrainingError where the run is not there.
    """
    config = TrainingConfig.recorded(record.config, where="training record")
    history = load_training_history(config, data_dir or record.data_dir)
    if run is None:
        run = runs / run_name(config, build_dataset(config, history), record.seed)
    return load_outcome(run), history


def require_same_bars(bundle: Bundle, history: History) -> None:
    """Raise ModelError where the bars are not those that the bundle was trained on."""
    known, found = bundle.training["data_hashes"], data_hashes(history)
    other = [key for key in known if found.get(key) != known[key]]
    if other:
        raise ModelError(
            f"{bundle.symbol} {bundle.version}: the bars of {', '.join(other)} are not those that it was "
            "trained on; name their folder with --data-dir"
        )


def _champion(request: ValidationRequest, span: DateRange) -> Champion | None:
    """Return the version in production over a span; None where there is none, or it is the one judged."""
    model = request.store.manifest().model(request.symbol, request.name)
    version = model.production
    if version is None or version == request.version:
        return None
    record = model.versions[version].record
    if model.versions[version].threshold is None:
        return _bare_strategy(request, version, record, span)
    try:
        outcome, history = trained_run(record, request.data_dir, request.runs, None)
    except TrainingError:
        return _final_model(request, version, record, span)
    account = Account.of_backtest(backtest(outcome, history))
    return Champion(version=version, account=account, how="its own outer walk-forward")


def _final_model(
    request: ValidationRequest, version: str, record: TrainingRecord, span: DateRange
) -> Champion:
    """Return production by its bundle itself, where its training run is gone."""
    bundle = load_bundle(request.symbol, PRODUCTION, store=request.store, name=request.name)
    config = TrainingConfig.recorded(record.config, where="training record")
    history = load_training_history(config, request.data_dir or record.data_dir)
    return Champion(
        version=version,
        account=bundle_account(bundle, history, span),
        how=f"its final model, fitted on {' to '.join(bundle.training['range'])}: in sample there",
    )


def _bare_strategy(
    request: ValidationRequest, version: str, record: TrainingRecord, span: DateRange
) -> Champion:
    """Return production where it is a strategy without a model."""
    bundle = load_bundle(request.symbol, PRODUCTION, store=request.store, name=request.name)
    account = bundle_account(bundle, _released(record, request.data_dir).history, span)
    return Champion(version=version, account=account, how="its strategy as it is, without a model")
