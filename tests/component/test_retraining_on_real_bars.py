"""A real training, validation and certificate, killed on the way: from an alarm to the shadow period."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from certify import run as certificates
from lockstep.market.dates import DateRange
from lockstep.models.content import REPORTS
from lockstep.models.evidence import CERTIFICATE, REFERENCE, VALIDATION
from lockstep.models.manifest import VersionEntry
from lockstep.models.policy import POLICY
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import frozen_in
from operations.retraining import cli
from operations.retraining.book import RetrainingRun, Step
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.model_validation.gathering import ValidationRequest, gather
from research.model_validation.reference import frozen_reference
from research.training.config import TrainingConfig
from research.training.rebuild import rebuild
from support.retraining import (
    LENIENT,
    NOW,
    STRATEGY,
    TRAINED_TO,
    RetrainedDesk,
    digest_of_folder,
    recorded,
    trained_desk,
)
from support.training import SMALL_FOREST


def small() -> TrainingConfig:
    return recorded(
        data={"start": "2001-01-02", "end": TRAINED_TO}, strategy=STRATEGY, model=SMALL_FOREST,
        search={"trials": 2, "initial": 2, "stop": "none"},
        validation={"groups": 3, "test_groups": 1, "embargo_days": 3, "walk_forward": "3y/1y/1y"},
        acceptance=LENIENT,
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RetrainedDesk:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")
    found = trained_desk(tmp_path / "desk", small(), jobs=1, certify_sessions=65, restarts=1)
    # A year of sessions would show no more of the steps, and take four times as long.
    policy = {"certificate": {"bars": 60, "trades": 1}}
    (found.store.folder / POLICY).write_text(json.dumps(policy))
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
