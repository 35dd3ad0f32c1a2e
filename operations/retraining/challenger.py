"""How a challenger is made: trained, validated and certified, on bars up to one day.

Each piece looks first whether its output is there already, by hash, so that it may be repeated after a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from certify.command import keep, lacks
from certify.run import CertificateRequest, certify, history_of, span_of
from lockstep.errors import RetrainingError
from lockstep.live.config import HistorySettings
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.models.content import REPORTS
from lockstep.models.evidence import CERTIFICATE, REFERENCE, VALIDATION, gathered_otherwise
from lockstep.models.manifest import Evidence, TrainingRecord, VersionEntry
from lockstep.models.store import ModelStore, load_bundle
from operations.retraining.book import RetrainingRun, Step
from operations.retraining.config import RetrainingConfig
from research.ledger.ledger import Ledger
from research.model_validation.gathering import ValidationRequest
from research.model_validation.validate import validate
from research.training.config import TrainingConfig, recorded_config
from research.training.run import OUTCOME, SUMMARY, Task, run_training


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step left: plain JSON for its row, a sentence, and why the run ends here ("": it goes on)."""

    outputs: dict[str, Any] = field(default_factory=dict)
    sentence: str
    refusal: str = ""


class ChallengerMaker(Protocol):
    """Makes the challenger of a run; each step may be repeated, and leaves the same then."""

    def train(self, run: RetrainingRun) -> StepResult:
        """Train and register; outputs name `version`, `sha256` and `folder`."""

    def validate(self, run: RetrainingRun) -> StepResult:
        """Run every check but the hold-out's, freeze the reference, attach both."""

    def certify(self, run: RetrainingRun) -> StepResult:
        """Certify on the newest sessions, and attach the certificate."""


def grown_config(
    entry: VersionEntry, content: dict[str, Any], until: date, *, trials: int | None
) -> TrainingConfig:
    """Return the configuration of the version in production with bars up to `until`: nothing else grows.

    content   `training` of its bundle. A hold-out that begins at a date keeps its length: it moves on with
              the bars. Its former days are then searched; the ledger counts that as it counts every search

    RetrainingError where the version has no training, or no bar is newer than its own.
    """
    config = recorded_config(entry.record)
    if not isinstance(config, TrainingConfig) or "hold_out" not in content:
        raise RetrainingError(
            f"{config.symbol}: the version in production has no record of a training; register a model first"
        )
    last = date.fromisoformat(content["hold_out"][1])
    newest = config.data.end or last
    if until <= newest:
        raise RetrainingError(
            f"{config.symbol}: bars are known up to {until}, and production was trained on bars up to "
            f"{newest}; run the monitor after newer sessions"
        )
    data = {**config.data.model_dump(), "end": until}
    hold_out = config.hold_out.model_dump()
    if config.hold_out.start is not None:
        hold_out["start"] = config.hold_out.start + timedelta(days=(until - newest).days)
    return config.replaced(data=data, hold_out=hold_out).with_trials(trials)


@dataclass(frozen=True, kw_only=True, eq=False)
class Workshop:
    """Makes challengers of a desk, as `lockstep train`, `validate` and `certify` would.

    history   the desk's bars: its folder and source take the place of the recorded folder
    ledger    opens the trial ledger; now: the clock; by: who, for the records
    """

    config: RetrainingConfig
    store: ModelStore
    history: HistorySettings
    ledger: Callable[[], Ledger]
    now: Callable[[], datetime]
    by: str

    def train(self, run: RetrainingRun) -> StepResult:
        """As `ChallengerMaker.train`; finished search steps of a killed one are taken up again."""
        settings, seed = config_of(run), int(run.output("seed"))
        mark, champion = f"retraining {run.id}", str(run.output("champion"))
        version = self._registered(run.symbol, mark)
        if version is None:
            task = Task(
                config=settings, config_path=mark, data_dir=self._folder(run), seed=seed,
                jobs=self.config.jobs, cluster=self.config.cluster, resume=True, out=self.config.runs,
            )  # fmt: skip
            trained = run_training(task, self.ledger(), now=self.now)
            version = self.store.register(
                trained.bundle, record=trained.record, by=self.by, now=self.now(), parent=champion,
                supersedes_reason=mark,
            )  # fmt: skip
        entry = self.store.manifest().entry(run.symbol, version)
        folder = self._run_folder(run)
        return StepResult(
            outputs={
                "version": version,
                "sha256": entry.sha256,
                "folder": str(folder),
                "outcome_sha256": hashlib.sha256((folder / OUTCOME).read_bytes()).hexdigest(),
            },
            sentence=f"{run.symbol} {version} is trained on bars up to {settings.data.end}",
        )

    def validate(self, run: RetrainingRun) -> StepResult:
        """As `ChallengerMaker.validate`."""
        entry = challenger_of(self.store, run)
        kinds = (VALIDATION, REFERENCE)
        if not all(self.valid(entry, kind) for kind in kinds):
            request = ValidationRequest(
                symbol=run.symbol, version=str(run.output("version")), store=self.store,
                reports=self.store.folder / REPORTS, data_dir=self._folder(run),
                run=Path(run.output("folder")), runs=self.config.runs, retrained=True,
            )  # fmt: skip
            report, _ = validate(request, self.ledger(), by=self.by, now=self.now())
            entry = challenger_of(self.store, run)
            if not report.verdict.passed or report.reference is None:
                why = report.unfrozen or report.line.reason
                return StepResult(
                    outputs=_named(entry, kinds), sentence="validation refuses the challenger",
                    refusal=f"validation refuses {run.symbol} {run.output('version')}: {why}",
                )  # fmt: skip
        return StepResult(
            outputs=_named(entry, kinds),
            sentence=f"{run.symbol} {run.output('version')} passed validation; its hold-out stays sealed",
        )

    def certify(self, run: RetrainingRun) -> StepResult:
        """As `ChallengerMaker.certify`."""
        entry, version = challenger_of(self.store, run), str(run.output("version"))
        if not self.valid(entry, CERTIFICATE):
            folder, source = entry.record.bars(None, None)
            until = str(config_of(run).data.end)
            request = CertificateRequest(
                versions={run.symbol: version}, store=self.store, data_dir=folder, source=source,
                end=until, restarts=self.config.restarts,
            )  # fmt: skip
            now = self.now()
            (certificate,) = certify(replace(request, start=self._newest_sessions(request)), now=now)
            keep(certificate, self.store.folder / REPORTS, self.store, by=self.by, now=now)
            entry = challenger_of(self.store, run)
            lacking = lacks(certificate, self.store.policy().certificate, now)
            if not certificate.passed or lacking:
                why = "; ".join(lacking) or certificate.sentence
                return StepResult(
                    outputs=_named(entry, (CERTIFICATE,)), sentence="the certificate is refused",
                    refusal=f"certificate of {run.symbol} {version}: {why}",
                )  # fmt: skip
        return StepResult(
            outputs=_named(entry, (CERTIFICATE,)),
            sentence=f"{run.symbol} {version}: research, sweep and live engine agree",
        )

    def valid(self, entry: VersionEntry, kind: str) -> bool:
        """Whether the newest evidence of a kind was passed, is of this code, and its file is intact."""
        found = _newest(entry, kind)
        if found is None or not found.passed or found.bundle_sha256 != entry.sha256:
            return False
        if any(gathered_otherwise(found)):
            return False
        if kind == CERTIFICATE and any(self.store.policy().certificate.lacking(found, self.now())):
            return False
        path = self.store.folder / found.file
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == found.file_sha256

    def _registered(self, symbol: str, mark: str) -> str | None:
        """Return the version that this run has registered; its file must be what was registered."""
        for version, entry in self.store.manifest().model(symbol).versions.items():
            if entry.record.config_path == mark:
                self.store.content(entry)
                return version
        return None

    def _run_folder(self, run: RetrainingRun) -> Path:
        """Return the folder of the training run; RetrainingError where its outcome is gone."""
        for path in sorted(self.config.runs.glob(f"{run.symbol}-*/{SUMMARY}")):
            record = json.loads(path.read_text(encoding="utf-8"))["record"]
            if record["config_path"] == f"retraining {run.id}" and path.with_name(OUTCOME).is_file():
                return path.parent
        raise RetrainingError(
            f"run {run.id}: {self.config.runs} has no outcome of its training; restore the folder, or "
            "abort the run"
        )

    def _folder(self, run: RetrainingRun) -> Path | None:
        recorded = run.at(Step.TRIGGERED)
        assert recorded is not None
        given = recorded.inputs["data_dir"]
        return None if given is None else Path(given)

    def _newest_sessions(self, request: CertificateRequest) -> str:
        """Return the first session of a certificate: so many newest ones, from where all windows are full."""
        models = {
            symbol: TradedModel.of(load_bundle(symbol, version, store=request.store))
            for symbol, version in request.versions.items()
        }
        history = history_of(models, request, load_instruments())
        span = span_of(models, history, request)
        (key,) = (each.key for each in models.values())
        bars, market = history.series(key), history.markets[key.symbol]
        rows = span.select(bars, market)
        dates = np.unique(market.session.dates(bars.end[rows.start : rows.stop], bars.timeframe))
        return str(dates[-self.config.certify_sessions :][0])


def config_of(run: RetrainingRun) -> TrainingConfig:
    """Return the configuration that a run trains with, as its first row recorded it."""
    begun = run.at(Step.TRIGGERED)
    assert begun is not None
    return TrainingConfig.recorded(begun.inputs["config"], where=f"run {run.id}")


def challenger_of(store: ModelStore, run: RetrainingRun) -> VersionEntry:
    """Return the entry of a run's challenger; RetrainingError where the manifest has another bundle there."""
    version = str(run.output("version"))
    entry = store.manifest().entry(run.symbol, version)
    if entry.sha256 != run.output("sha256"):
        raise RetrainingError(
            f"run {run.id}: {run.symbol} {version} is bundle {entry.sha256[:12]} in the manifest, and "
            f"{str(run.output('sha256'))[:12]} was trained; restore the store, or abort the run"
        )
    return entry


def bars_folder(record: TrainingRecord, history: HistorySettings) -> Path | None:
    """Return the folder of a challenger's bars: the desk's where it names one, else the recorded one."""
    return history.data_dir or (Path(record.data_dir) if record.data_dir else None)


def _newest(entry: VersionEntry, kind: str) -> Evidence | None:
    found = [each for each in entry.evidence if each.kind == kind]
    return found[-1] if found else None


def _named(entry: VersionEntry, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return file and hash of the newest evidence of some kinds, as a row names them."""
    newest = {kind: _newest(entry, kind) for kind in kinds}
    return {kind: [each.file, each.file_sha256] for kind, each in newest.items() if each is not None}
