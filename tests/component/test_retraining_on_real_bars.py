"""A real training, validation and certificate, killed on the way: from an alarm to the shadow period."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from certify import run as certificates
from lockstep.market.dates import DateRange
from lockstep.models.content import REPORTS
from lockstep.models.evidence import CERTIFICATE, REFERENCE, VALIDATION
from lockstep.models.manifest import VersionEntry
from lockstep.models.policy import POLICY
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import frozen_in
from lockstep.monitoring.reference_outcomes import monitoring_reference
from operations.retraining import cli
from operations.retraining.book import RetrainingRun, Step
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.model_validation.gathering import ValidationRequest, gather
from research.model_validation.reference import frozen_reference
from research.training.config import TrainingConfig
from research.training.rebuild import rebuild
from research.training.run import Task, run_training
from support import papers
from support.references import reference_outcomes
from support.retraining import NOW, RetrainedDesk, digest_of_folder, now, recorded, referred
from support.training import SMALL_FOREST

# Every check is made; what a forest of ten trees on five years of an index is worth is not the question here.
LENIENT = {
    "min_trades": 1, "min_sharpe": -99, "min_profit_factor": 0, "max_drawdown": 1, "min_gain": -99,
    "max_random_veto_p": 1, "max_area_p": 1, "min_gain_kept": -99, "min_dsr": 0, "max_shifted_errors": 99,
    "min_veto_share": 0, "max_calibration_z": 99, "min_brier_skill": -99, "max_importance_share": 1,
    "min_probability_spread": 0, "max_challenger_deficit": 99,
}  # fmt: skip


STRATEGY = {
    "name": "small", "entry": [0.0, 0.35], "exit": [0.7, 1.0], "max_bars": 10, "stop": {"percent": 3.0},
}  # fmt: skip


def small() -> TrainingConfig:
    return recorded(
        data={"start": "2001-01-02", "end": "2009-07-31"}, strategy=STRATEGY,
        hold_out={"start": "2009-01-02"},
        model=SMALL_FOREST, search={"trials": 2, "initial": 2, "stop": "none"},
        validation={"groups": 3, "test_groups": 1, "embargo_days": 3, "walk_forward": "3y/1y/1y"},
        acceptance=LENIENT,
    )  # fmt: skip


def disappointing(store: ModelStore) -> None:
    """Attach a reference that promises nine wins of ten: an ALARM is a matter of weeks."""
    won = (np.random.default_rng(1).random(400) < 0.9).astype(np.int64)
    outcomes = reference_outcomes(400, won=won, profits=np.where(won, 120.0, -100.0))
    sha256 = store.manifest().entry("COMP", "v1").sha256
    referred(store, "v1", outcomes=monitoring_reference(outcomes, bundle=sha256))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RetrainedDesk:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")
    folder = tmp_path / "desk"
    (folder / "store").mkdir(parents=True)
    found = RetrainedDesk(folder, ModelStore(folder / "store"))
    task = Task(config=small(), config_path="COMP.yml", jobs=1, seed=4, out=folder / "runs")
    trained = run_training(task, Ledger(Database.open()), now=now)
    found.store.register(trained.bundle, record=trained.record, by="me", now=NOW)
    found.store.promote("COMP", "v1", by="me", now=NOW, reason="test", force=True)
    disappointing(found.store)
    # A year of sessions would show no more of the steps, and take four times as long.
    policy = {"certificate": {"bars": 60, "trades": 1}}
    (found.store.folder / POLICY).write_text(json.dumps(policy))
    papers.config(folder)
    content = {"desk": str(folder / "live.yml"), "database": str(found.database)}
    found.config.write_text(yaml.safe_dump(content))
    content = {
        "monitoring": str(found.config), "database": str(found.book), "runs": str(folder / "runs"),
        "jobs": 1, "certify_sessions": 65, "restarts": 1,
    }  # fmt: skip
    found.retraining.write_text(yaml.safe_dump(content))
    found.trade(220)
    return found


def retrained(desk: RetrainedDesk) -> RetrainingRun:
    """Return the run after one command."""
    done = CliRunner().invoke(cli.app, ["run", "--config", str(desk.retraining)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (run,) = desk.runs()
    return run


def killed_in(desk: RetrainedDesk, spoil: Callable[[Callable[[], None]], None]) -> list[str]:
    """Let a child take steps until `spoil` has it killed; return the steps that are in the book then."""
    child = os.fork()
    if child == 0:
        try:
            spoil(lambda: os.kill(os.getpid(), signal.SIGKILL))
            retrained(desk)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    return [str(each.step) for each in desk.runs()[0].steps]


def in_validation(kill: Callable[[], None]) -> None:
    """Die when the reference is attached, and the verdict is not."""
    attach = ModelStore.attach

    def attached(store: ModelStore, symbol: str, version: str, evidence: Any, **named: Any) -> None:
        if evidence.kind == VALIDATION:
            kill()
        attach(store, symbol, version, evidence, **named)

    ModelStore.attach = attached  # type: ignore[method-assign,assignment]


def in_certificate(kill: Callable[[], None]) -> None:
    """Die when research and sweep agree, and the live engine has yet to trade."""
    certificates.live_over = lambda *_: kill()  # type: ignore[assignment]


def reference_again(desk: RetrainedDesk, run: RetrainingRun, entry: VersionEntry) -> str:
    """Return the text of the reference that validation freezes of a version, made of its training run."""
    request = ValidationRequest(
        symbol="COMP", version=str(run.output("version")), store=desk.store,
        reports=desk.store.folder / REPORTS, run=Path(run.output("folder")), runs=desk.folder / "runs",
    )  # fmt: skip
    found = frozen_reference(gather(request, Ledger(Database.open()), now=NOW))
    assert found.bundle == entry.sha256
    return found.text()


@pytest.mark.no_cover
def test_killed_in_validation_and_certificate_it_goes_from_an_alarm_to_the_shadow_period(
    desk: RetrainedDesk,
) -> None:
    assert killed_in(desk, in_validation) == ["TRIGGERED", "TRAINED"]
    (kept,) = desk.store.manifest().entry("COMP", "v2").evidence
    assert kept.kind == REFERENCE
    assert killed_in(desk, in_certificate) == ["TRIGGERED", "TRAINED", "VALIDATED"]
    run = retrained(desk)
    assert run.now is Step.SHADOWING
    assert run.steps[0].inputs["kind"] == "alarm"
    entry = desk.store.manifest().entry("COMP", "v2")
    # The reference was frozen twice, and is the same.
    assert [(each.kind, each.passed) for each in entry.evidence] == [
        (REFERENCE, True), (REFERENCE, True), (VALIDATION, True), (CERTIFICATE, True),
    ]  # fmt: skip
    assert entry.evidence[0].file_sha256 == entry.evidence[1].file_sha256
    assert set(desk.store.manifest().model("COMP").versions) == {"v1", "v2"}
    assert len(list((desk.folder / "runs").iterdir())) == 2, "it was trained once"
    assert (entry.parent, entry.status) == ("v1", "validated")
    assert desk.store.policy().missing(entry, NOW) == ()
    # It knows more bars than v1, and none of those on which it will be tested.
    ranges = [desk.store.manifest().entry("COMP", each).training_range for each in ("v1", "v2")]
    assert ranges[0] is not None
    assert ranges[1] is not None
    assert ranges[0][1] < ranges[1][1] < run.steps[0].inputs["config"]["data"]["end"]
    assert Ledger(Database.open()).looks("NASDAQ100", DateRange.of("2000-01-03", "2020-01-02")) == []
    # The same command once more finds all of it there.
    before = digest_of_folder(desk.store.folder, desk.folder / "runs")
    assert retrained(desk) == run
    assert digest_of_folder(desk.store.folder, desk.folder / "runs") == before
    # Each model, and what it is held to, comes out again of what the manifest names.
    for version in ("v1", "v2"):
        known = desk.store.manifest().entry("COMP", version)
        assert rebuild(known.record, jobs=1).sha256 == known.sha256
        assert frozen_in(desk.store, "COMP", known.sha256).bundle == known.sha256
    assert reference_again(desk, run, entry) == frozen_in(desk.store, "COMP", entry.sha256).text()
