"""A watched desk whose model can be trained again, and a maker of challengers that takes no time."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

from lockstep.live.journal import Journal
from lockstep.models.content import REPORTS, sha256_of
from lockstep.models.evidence import CERTIFICATE, REFERENCE, VALIDATION, gathered_with
from lockstep.models.manifest import Evidence
from lockstep.models.store import ModelStore
from lockstep.monitoring.reference_outcomes import monitoring_reference
from lockstep.settings import validated
from operations.retraining.book import RetrainingBook, RetrainingRun
from operations.retraining.challenger import StepResult
from operations.retraining.config import RetrainingConfig
from operations.retraining.machine import RetrainingMachine
from operations.retraining.plan import MonitoredDesk
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.training.config import TrainingConfig
from research.training.run import Task, run_training
from support import desks, papers
from support.evidence import RECORD
from support.references import (
    attach_reference,
    expected_measures,
    frozen_reference,
    reference_outcomes,
)
from support.watching import WatchedDesk

TRAINED_TO = "2009-07-31"
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Every check is made; what a forest on a few years of an index is worth is not the question here.
LENIENT = {
    "min_trades": 1, "min_sharpe": -99, "min_profit_factor": 0, "max_drawdown": 1, "min_gain": -99,
    "max_random_veto_p": 1, "max_area_p": 1, "min_gain_kept": -99, "min_dsr": 0, "max_shifted_errors": 99,
    "min_veto_share": 0, "max_calibration_z": 99, "min_brier_skill": -99, "max_importance_share": 1,
    "min_probability_spread": 0, "max_challenger_deficit": 99,
}  # fmt: skip
# Enters more often than the desk's own rules, so that a few years have trades enough.
STRATEGY = {
    "name": "small", "entry": [0.0, 0.35], "exit": [0.7, 1.0], "max_bars": 10, "stop": {"percent": 3.0},
}  # fmt: skip
# No trade of this desk loses so much.
BEARABLE = {"expected": expected_measures(worst_trade_pnl=-1e6, worst_session_pnl=-1e6)}


def now() -> datetime:
    return NOW


def recorded(**changes: Any) -> TrainingConfig:
    """Return the training that the desk's champion says it comes of."""
    content: dict[str, Any] = {
        "symbol": "COMP",
        "data": {"start": "2000-01-03", "end": TRAINED_TO},
        "strategy": desks.CONFIG.model_dump(mode="json"),
        "features": {"ids": list(desks.MODEL_IDS)},
        "hold_out": {"start": "2009-01-02"},
    }
    return validated(TrainingConfig, {**content, **changes}, where="test")


@dataclass
class RetrainedDesk(WatchedDesk):
    """A watched desk with a book of retrainings; `sets` are traded so far."""

    sets: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def retraining(self) -> Path:
        return self.folder / "retraining.yml"

    @property
    def book(self) -> Path:
        return self.folder / "retraining.db"

    def settings(self, **changes: Any) -> RetrainingConfig:
        return RetrainingConfig.load(self.retraining).model_copy(update=changes)

    def trade(self, sets: int) -> None:
        """Let the engine go on to so many sets in all, by what the manifest has in production; then watch."""
        self.sets = sets
        manifest = self.store.manifest()
        models = {each.bundle.sha256: each for each in self.models()}
        entry = manifest.entry("COMP")

        def outside(_: Journal) -> desks.FakeOutside:
            world = desks.FakeOutside(models=models)
            world.production = {"COMP": (manifest.resolve("COMP"), entry.sha256)}
            return world

        first = models[manifest.entry("COMP", "v1").sha256]
        bars = desks.history(papers.WARM + sets)
        papers.traded(self.folder, first, bars, name="live.db", outside=outside)
        self.run()

    def retrain(self, maker: Any = None, **changes: Any) -> tuple[RetrainingRun, ...]:
        """Let retraining go as far as it goes now."""
        with self.machine(maker, **changes) as machine:
            return machine.run()

    def machine(self, maker: Any = None, **changes: Any) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def opened() -> Any:
            with RetrainingBook.open(self.book) as book:
                yield RetrainingMachine(
                    config=self.settings(**changes), view=MonitoredDesk.read(self.settings()), book=book,
                    maker=maker or QuickMaker(self.store), now=now, tell=self.told.append,
                )  # fmt: skip

        return opened()

    def runs(self) -> tuple[RetrainingRun, ...]:
        with RetrainingBook.open(self.book, readonly=True) as book:
            return book.runs()

    @property
    def production(self) -> str:
        return self.store.manifest().resolve("COMP")


def retrained_desk(folder: Path, **changes: Any) -> RetrainedDesk:
    """Return a desk of COMP that has traded nothing yet; its champion v1 has a record and a reference."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").mkdir()
    store = ModelStore(folder / "store")
    registered(store, recorded(), seed=0)
    store.promote("COMP", "v1", by="me", now=NOW, reason="test", force=True)
    referred(store, "v1")
    papers.config(folder)
    desk = RetrainedDesk(folder, store)
    desk.config.write_text(yaml.safe_dump({"desk": str(folder / "live.yml"), "database": str(desk.database)}))
    content = {
        "monitoring": str(desk.config), "database": str(desk.book), "runs": str(folder / "runs"),
        "margin": 0.5, "approval": "auto", **changes,
    }  # fmt: skip
    desk.retraining.write_text(yaml.safe_dump(content))
    return desk


def trained_desk(
    folder: Path, config: TrainingConfig, *, trials: int | None = None, **changes: Any
) -> RetrainedDesk:
    """Return a desk whose champion is trained on real bars, and whose reference promises nine wins of ten.

    An ALARM is a matter of weeks then. trials   search steps of the champion itself; None: those of `config`,
    which is what its record says in any case. The ledger is that of LOCKSTEP_DB.
    """
    (folder / "store").mkdir(parents=True)
    found = RetrainedDesk(folder, ModelStore(folder / "store"))
    task = Task(
        config=config.with_trials(trials), config_path="COMP.yml", jobs=-1 if trials else 1, seed=4,
        out=folder / "runs",
    )  # fmt: skip
    trained = run_training(task, Ledger(Database.open()), now=now)
    record = trained.record.model_copy(update={"config": config.model_dump(mode="json")})
    found.store.register(trained.bundle, record=record, by="me", now=NOW)
    found.store.promote("COMP", "v1", by="me", now=NOW, reason="test", force=True)
    won = (np.random.default_rng(1).random(400) < 0.9).astype(np.int64)
    outcomes = reference_outcomes(400, won=won, profits=np.where(won, 120.0, -100.0))
    sha256 = found.store.manifest().entry("COMP", "v1").sha256
    referred(found.store, "v1", outcomes=monitoring_reference(outcomes, bundle=sha256))
    papers.config(folder)
    content = {"desk": str(folder / "live.yml"), "database": str(found.database)}
    found.config.write_text(yaml.safe_dump(content))
    content = {
        "monitoring": str(found.config), "database": str(found.book), "runs": str(folder / "runs"), **changes,
    }  # fmt: skip
    found.retraining.write_text(yaml.safe_dump(content))
    return found


def registered(
    store: ModelStore, config: TrainingConfig, *, seed: int, mark: str = "COMP.yml", parent: str | None = None
) -> str:
    bundle = replace(
        desks.bundle("COMP", seed=seed),
        training={"range": ["2000-01-03", "2008-12-31"], "hold_out": ["2009-01-02", str(config.data.end)]},
    )
    record = RECORD.model_copy(update={"config": config.model_dump(mode="json"), "config_path": mark})
    return store.register(bundle, record=record, by="me", now=NOW, parent=parent)


def referred(store: ModelStore, version: str, **changes: Any) -> None:
    """Attach a reference that knows bars up to the champion's training, so that the desk has come further."""
    sha256 = store.manifest().entry("COMP", version).sha256
    content = {
        "outcomes": monitoring_reference(reference_outcomes(400), bundle=sha256), "features": None,
        "probabilities": None, "history_end": TRAINED_TO, **changes,
    }  # fmt: skip
    attach_reference(store, "COMP", version, frozen_reference(sha256, **content))


def stated(store: ModelStore, version: str, kind: str) -> None:
    """Attach evidence of a kind that was passed, of everything that is in use."""
    entry = store.manifest().entry("COMP", version)
    if any(each.kind == kind for each in entry.evidence):
        return
    path = store.folder / REPORTS / f"COMP_{version}-{kind}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    symbols, sources = ("COMP",), ("index_daily",)
    evidence = Evidence(
        kind=kind, passed=True, bundle_sha256=entry.sha256, issued=NOW, newest_bar=NOW, symbols=symbols,
        sources=sources, hashes=gathered_with(kind, symbols, sources),
        counts={"bars": 500, "sessions": 500, "trades": 50, "restarts": 2},
        file=path.relative_to(store.folder).as_posix(), file_sha256=sha256_of(path.read_bytes()),
    )  # fmt: skip
    store.attach("COMP", version, evidence, by="me", now=NOW)


@dataclass
class QuickMaker:
    """Makes a challenger as `Workshop` does, in the real store, of a forest that knows as little.

    refuse     step -> why it is refused; on: called with the name of each step before it is made
    reference  changes of the challenger's reference; made: how often each step was asked for
    """

    store: ModelStore
    refuse: dict[str, str] = field(default_factory=dict)
    on: Callable[[str], None] = lambda step: None
    reference: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    seed: int = 3

    def train(self, run: RetrainingRun) -> StepResult:
        self._begin("train")
        mark = f"retraining {run.id}"
        versions = self.store.manifest().model("COMP").versions
        version = next((name for name, each in versions.items() if each.record.config_path == mark), None)
        if version is None:
            config = recorded(data=run.steps[0].inputs["config"]["data"])
            version = registered(self.store, config, seed=self.seed, mark=mark, parent=run.output("champion"))
        sha256 = self.store.manifest().entry("COMP", version).sha256
        outputs = {"version": version, "sha256": sha256, "folder": "none"}
        return StepResult(outputs=outputs, sentence="trained", refusal=self.refuse.get("train", ""))

    def validate(self, run: RetrainingRun) -> StepResult:
        self._begin("validate")
        version = run.output("version")
        if not any(each.kind == REFERENCE for each in self.store.manifest().entry("COMP", version).evidence):
            until = run.steps[0].inputs["config"]["data"]["end"]
            referred(self.store, version, **{"history_end": until, **self.reference})
        stated(self.store, version, VALIDATION)
        return StepResult(sentence="valid", refusal=self.refuse.get("validate", ""))

    def certify(self, run: RetrainingRun) -> StepResult:
        self._begin("certify")
        stated(self.store, run.output("version"), CERTIFICATE)
        return StepResult(sentence="certified", refusal=self.refuse.get("certify", ""))

    def _begin(self, step: str) -> None:
        self.made.append(step)
        self.on(step)


def digest_of_folder(*folders: Path) -> str:
    """Return a hash of the names and bytes of everything in some folders."""
    found = hashlib.sha256()
    for path in sorted(each for folder in folders for each in (folder, *folder.rglob("*")) if each.is_file()):
        found.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def moved(desk: RetrainedDesk, folder: Path) -> RetrainedDesk:
    """Return a copy of a desk in another folder."""
    shutil.copytree(desk.folder, folder, dirs_exist_ok=True)
    for path in folder.glob("*.yml"):
        path.write_text(path.read_text().replace(str(desk.folder), str(folder)))
    return RetrainedDesk(folder, type(desk.store)(folder / "store"), now=desk.now, sets=desk.sets)


def alarmed_desk(factory: pytest.TempPathFactory) -> RetrainedDesk:
    """Return a desk with an ALARM: its made-up reference knows a forecast that this forest is not."""
    return _made_once(factory, "alarmed", 120, retrained_desk)


def shadowed_desk(factory: pytest.TempPathFactory) -> RetrainedDesk:
    """Return the same, with a challenger in shadow for a hundred sessions; nothing is decided yet."""

    def make(folder: Path) -> RetrainedDesk:
        desk = moved(alarmed_desk(factory), folder)
        desk.retrain(QuickMaker(desk.store, reference=BEARABLE))
        return desk

    return _made_once(factory, "shadowed", 220, make)


def promoted_desk(factory: pytest.TempPathFactory) -> RetrainedDesk:
    """Return the same, with the challenger in production and trading for twenty sessions."""

    def make(folder: Path) -> RetrainedDesk:
        desk = moved(shadowed_desk(factory), folder)
        desk.retrain()
        return desk

    return _made_once(factory, "promoted", 240, make)


def _made_once(
    factory: pytest.TempPathFactory, name: str, sets: int, make: Callable[[Path], RetrainedDesk]
) -> RetrainedDesk:
    """Return the desk that `make` leaves, traded to so many sets; all processes of a test run share it."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, ready = root / f"desk-{name}", root / f"desk-{name}.ready"
    with FileLock(root / f"desk-{name}.lock"):
        if not ready.exists():
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("LOCKSTEP_DB", f"sqlite:///{root / f'desk-{name}-ledger.db'}")
                make(folder).trade(sets)
            ready.touch()
    return RetrainedDesk(folder, ModelStore(folder / "store"), now=(2_000_000_000 + sets) * 10**9, sets=sets)
