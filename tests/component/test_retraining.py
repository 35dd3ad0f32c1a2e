"""Retraining from a trigger to its end: nobody present, killed at every write, taken back, refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lockstep.errors import (
    LockstepError,
    ManifestEdited,
    MonitorError,
    RetrainingError,
    StoreFailure,
)
from lockstep.features.driver import Driver, driver
from lockstep.features.feature import Feature
from lockstep.models import store as stores
from lockstep.models.manifest_file import MANIFEST
from lockstep.monitoring.champion import PairedScore
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.outcomes import thinned
from lockstep.monitoring.triggers import RetrainingTrigger
from operations.retraining import cli, plan, shadow
from operations.retraining.book import RetrainingBook, RetrainingRun, Step, only_retraining
from operations.retraining.challenger import grown_config
from operations.retraining.plan import MonitoredDesk, read_plan
from operations.retraining.shadow import faults
from support import papers
from support.references import expected_measures
from support.retraining import (
    BEARABLE,
    NOW,
    TRAINED_TO,
    QuickMaker,
    RetrainedDesk,
    alarmed_desk,
    digest_of_folder,
    moved,
    promoted_desk,
    recorded,
    referred,
    retrained_desk,
    shadowed_desk,
)

SHADOWING = ["TRIGGERED", "TRAINED", "VALIDATED", "CERTIFIED", "SHADOWING"]
WHOLE = [*SHADOWING, "APPROVED", "PROMOTED", "WATCHED", "DONE"]


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> RetrainedDesk:
    return alarmed_desk(tmp_path_factory)


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> RetrainedDesk:
    return shadowed_desk(tmp_path_factory)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> RetrainedDesk:
    return promoted_desk(tmp_path_factory)


def steps(desk: RetrainedDesk) -> list[str]:
    (run,) = desk.runs()
    return [str(each.step) for each in run.steps]


def run_of(desk: RetrainedDesk) -> RetrainingRun:
    (run,) = desk.runs()
    return run


def promotions(desk: RetrainedDesk) -> list[str]:
    return [each.version for each in desk.store.manifest().history if each.action == "promote"]


def call(desk: RetrainedDesk, *arguments: str) -> tuple[int, str]:
    command = [*arguments, "--config", str(desk.retraining)]
    found = CliRunner().invoke(cli.app, command, catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.output


def require_one_line(refusal: pytest.ExceptionInfo[LockstepError]) -> None:
    assert "\n" not in str(refusal.value)
    assert ";" in str(refusal.value), "says what to do"


def test_from_an_alarm_to_a_promotion_with_nobody_present(promoted: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(promoted, tmp_path / "desk")
    desk.retrain()
    assert steps(desk) == WHOLE
    assert desk.production == "v2"
    assert promotions(desk) == ["v1", "v2"]
    last = [each for each in desk.store.manifest().history if each.action == "promote"][-1]
    assert last.overruled == ()
    assert last.by == "auto"
    assert run_of(desk).id in last.reason
    run = run_of(desk)
    assert {each.by for each in run.steps} == {"auto"}
    assert run.steps[0].inputs["kind"] == "alarm"
    assert run.output("before")["signals"] > 50
    assert run.output("after")["signals"] > 5
    desk.trade(320)
    desk.retrain()
    found = desk.runs()[0]
    assert found.now is Step.MEASURED
    measured = found.output("after_90_days")
    assert measured["until"] - measured["since"] == 90 * 86_400_000_000_000 + 1
    assert measured["signals"] > run.output("after")["signals"]


def test_a_trigger_that_is_delivered_ten_times_is_one_run(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    begun = run_of(desk).steps[0]
    trigger = RetrainingTrigger(
        kind="alarm", symbol="COMP", evidence=begun.inputs["evidence"], since=1, sentence="again"
    )
    maker = QuickMaker(desk.store)
    for _ in range(10):
        with desk.machine(maker) as opened:
            opened.begin(trigger)
            opened.run()
    assert promotions(desk) == ["v1", "v2"]
    assert len(desk.runs()) == 1
    assert maker.made == []
    # The next occurrence is another run.
    with desk.machine(maker) as opened, pytest.raises(RetrainingError, match="let it end"):
        opened.begin(replace(trigger, evidence="another"))


def killed(desk: RetrainedDesk, moment: str) -> bool:
    """Let a child retrain, and kill it at its first write; return whether it had none, and lived."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _deadly(moment)
            desk.retrain(QuickMaker(desk.store, reference=BEARABLE))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL
    return not os.WIFSIGNALED(status)


def _deadly(moment: str) -> None:
    """Let the next write of a row or of the manifest kill this process.

    before: nothing is written; within: the row is not committed, or the file not renamed; after: it is
    """

    def dies(write: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if after:
                write(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    def appended(book: RetrainingBook, row: Any) -> RetrainingRun:
        known = {(each.run, each.step) for each in book.rows()}
        done = append(book, row)
        if (row.run, row.step) not in known:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    append = RetrainingBook.append
    if moment == "after":
        RetrainingBook.append = appended  # type: ignore[method-assign]
        stores.write_manifest = dies(stores.write_manifest, after=True)
    else:
        insert = dies(RetrainingBook._insert, after=moment == "within")
        RetrainingBook._insert = insert  # type: ignore[method-assign]
        if moment == "within":
            os.replace = dies(os.replace, after=False)
        else:
            stores.write_manifest = dies(stores.write_manifest, after=False)


def to_the_end(desk: RetrainedDesk) -> int:
    """Kill a retraining at each of its writes until it has none left; return how many it had."""
    for writes in range(40):
        lived = [killed(desk, moment) for moment in ("before", "within", "after")]
        if lived[-1]:
            return writes
        assert lived == [False, False, False]
    raise AssertionError("it never ends")


@pytest.mark.no_cover
def test_killed_before_and_after_every_write_the_end_is_the_same(
    alarmed: RetrainedDesk, promoted: RetrainedDesk, tmp_path: Path
) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    # A version, three pieces of evidence, and five rows.
    assert to_the_end(desk) == 9
    assert steps(desk) == SHADOWING
    desk.trade(220)
    # An approval, the promotion, and its row; then the watch and its end.
    assert to_the_end(desk) == 3
    desk.trade(240)
    assert to_the_end(desk) == 2
    whole = moved(promoted, tmp_path / "whole")
    whole.retrain()
    assert steps(desk) == steps(whole) == WHOLE
    assert desk.production == whole.production == "v2"
    for name in ("champion", "champion_sha256", "version", "sha256", "seed", "fresh_from", "verdict"):
        assert run_of(desk).output(name) == run_of(whole).output(name)
    acts = [(each.action, each.version) for each in desk.store.manifest().history]
    assert acts == [(each.action, each.version) for each in whole.store.manifest().history]


def narrow(low: float, high: float) -> FeatureHistory:
    days = np.busday_offset("2008-01-02", np.arange(400))
    values = np.where(np.arange(400) % 2, low, high)[:, None]
    return FeatureHistory(
        ids=("probability",), sessions=days, values=values, low=[0.0], high=[1.0], gaps=True
    )


PLANTED: dict[str, dict[str, Any]] = {
    "a trade lost": {"expected": expected_measures(worst_trade_pnl=-1.0, worst_session_pnl=-1e6)},
    "session 20": {"expected": expected_measures(worst_trade_pnl=-1e6, worst_session_pnl=-1.0)},
    "its probability is": {**BEARABLE, "probabilities": narrow(0.01, 0.02)},
}


@pytest.mark.parametrize("said", PLANTED)
def test_a_bad_model_is_taken_back_within_one_run(promoted: RetrainedDesk, tmp_path: Path, said: str) -> None:
    desk = moved(promoted, tmp_path / "desk")
    referred(desk.store, "v2", **PLANTED[said])
    desk.retrain()
    assert steps(desk)[-2:] == ["PROMOTED", "ROLLED_BACK"]
    assert desk.production == "v1"
    assert said in run_of(desk).steps[-1].sentence
    last = desk.store.manifest().history[-1]
    assert (last.action, last.by) == ("rollback", "auto")
    assert run_of(desk).id in last.reason
    desk.retrain()
    assert desk.production == "v1"


def test_a_bundle_that_cannot_be_used_is_taken_back(promoted: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(promoted, tmp_path / "desk")
    path = desk.store.path("COMP", "v2")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    desk.retrain()
    assert steps(desk)[-1] == "ROLLED_BACK"
    assert "the bundle cannot be used" in run_of(desk).steps[-1].sentence


def test_decisions_that_do_not_come_out_again_take_it_back(promoted: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(promoted, tmp_path / "desk")
    honest = desk.journal.rename(desk.folder / "honest.db")
    papers.rewritten(
        honest, desk.journal, lambda record: papers.with_lane(record, probability=0.123)
    )  # fmt: skip
    desk.retrain()
    assert steps(desk)[-1] == "ROLLED_BACK"
    assert "parity: " in run_of(desk).steps[-1].sentence


@pytest.mark.parametrize(
    ("off", "above", "said"),
    [
        (0.0, 0.0, "nothing in"),
        (1e-9, 0.0, "golden vectors: zscore_20"),
        # The bars of the golden vectors were never so high.
        (1e-9, 2_100.0, "recorded values do not come out again by this code"),
    ],
)
def test_class_code_that_computes_a_recorded_value_otherwise_takes_it_back(
    promoted: RetrainedDesk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    off: float,
    above: float,
    said: str,
) -> None:
    """Off by nothing, the promotion stays. The fault is around the kernel, whose source is fingerprinted."""

    def planted(feature: Feature) -> Driver:
        drive = driver(feature)

        def drifting(*arguments: Any) -> None:
            drive(*arguments)
            close, *_, start, stop, out, at = arguments
            if feature.name == "zscore":
                out[at : at + stop - start] += np.where(close[start:stop] > above, off, 0.0)

        return drifting

    desk = moved(promoted, tmp_path / "desk")
    for place in ("batch.driver", "batch.batch_driver", "streaming.driver"):
        monkeypatch.setattr(f"lockstep.features.{place}", planted)
    desk.retrain()
    assert steps(desk)[7:] == (["ROLLED_BACK"] if off else ["WATCHED", "DONE"])
    assert desk.production == ("v1" if off else "v2")
    assert said in run_of(desk).steps[7].sentence


def test_unknown_orders_and_refusals_take_it_back(
    promoted: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(promoted, tmp_path / "desk")
    view, run = MonitoredDesk.read(desk.settings()), run_of(desk)
    assert list(faults(view, run)) == []
    sha256 = run.output("sha256")
    refused = tuple(
        replace(each, state="refused") if each.bundle == sha256 else each for each in view.outcomes
    )
    (found,) = faults(replace(view, outcomes=refused), run)
    assert "signals were refused, and" in found
    (one, *others) = (each for each in refused if each.bundle == sha256)
    usual = (one, *(replace(each, state="taken", pnl=1.0) for each in others))
    kept = tuple(each for each in view.outcomes if each.bundle != sha256)
    assert list(faults(replace(view, outcomes=(*kept, *usual)), run)) == []
    counted = {**run.at(Step.PROMOTED).outputs["desk"], "unknown": 2}  # type: ignore[union-attr]
    monkeypatch.setattr("operations.retraining.shadow.state_of_desk", lambda *_: counted)
    assert list(faults(view, run)) == ["2 orders are UNKNOWN, and 0 were at the promotion"]


def test_production_moved_by_hand_while_it_is_watched_ends_the_run(
    promoted: RetrainedDesk, tmp_path: Path
) -> None:
    desk = moved(promoted, tmp_path / "desk")
    desk.store.rollback("COMP", by="AB", now=NOW, reason="I do not like it")
    desk.retrain()
    assert steps(desk)[-1] == "ABORTED"
    assert "moved by hand from v2 to v1" in run_of(desk).steps[-1].sentence
    assert desk.production == "v1"


def test_production_moved_by_hand_in_shadow_ends_the_run(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    desk.store.promote("COMP", "v2", by="AB", now=NOW, reason="I cannot wait", force=True)
    desk.retrain()
    assert steps(desk)[-1] == "ABORTED"
    assert "production is v2, and the challenger was made against v1" in run_of(desk).steps[-1].sentence


def test_a_manifest_that_was_edited_between_steps_stops_it(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    path = desk.store.folder / MANIFEST
    honest = path.read_text()
    path.write_text(honest.replace('"threshold": 0.5', '"threshold": 0.1'))
    with pytest.raises(ManifestEdited) as refusal:
        desk.retrain()
    require_one_line(refusal)
    assert steps(desk) == SHADOWING
    path.write_text(honest)
    desk.retrain()
    assert desk.production == "v2"


def test_a_disk_that_is_full_in_a_step_loses_nothing(
    alarmed: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(alarmed, tmp_path / "desk")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    def fill(step: str) -> None:
        if step == "certify":
            patched.setattr("os.fsync", full)

    with (
        pytest.MonkeyPatch.context() as patched,
        pytest.raises(StoreFailure, match="No space left") as refusal,
    ):
        desk.retrain(QuickMaker(desk.store, on=fill))
    require_one_line(refusal)
    assert steps(desk) == SHADOWING[:3]
    desk.retrain(QuickMaker(desk.store))
    assert steps(desk) == SHADOWING


@pytest.mark.parametrize("step", ["train", "validate", "certify"])
def test_what_is_refused_on_the_way_ends_it(alarmed: RetrainedDesk, tmp_path: Path, step: str) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    desk.retrain(QuickMaker(desk.store, refuse={step: "no good"}))
    assert steps(desk)[-1] == "FAILED"
    assert run_of(desk).steps[-1].sentence == "no good"
    assert desk.production == "v1"
    # It cools down: the alarm is still there, and begins nothing.
    desk.retrain()
    assert len(desk.runs()) == 1


def test_a_challenger_without_evidence_is_never_promoted(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    policy = {"promotion": ["validation", "certificate", "reference", "paper"]}
    (desk.store.folder / "policy.json").write_text(json.dumps(policy))
    desk.retrain()
    assert steps(desk)[-2:] == ["APPROVED", "FAILED"]
    assert "paper: there is none" in run_of(desk).steps[-1].sentence
    assert promotions(desk) == ["v1"]


def test_evidence_that_became_too_old_in_shadow_is_made_again(
    shadowed: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    monkeypatch.setattr("lockstep.identity.code_hash", lambda roots: "other code")
    maker = QuickMaker(desk.store)
    desk.retrain(maker)
    assert maker.made == ["validate", "certify"]
    # This maker makes nothing again where there is something: the policy has the last word.
    assert steps(desk)[-1] == "FAILED"
    assert "was produced with other code" in run_of(desk).steps[-1].sentence
    assert desk.production == "v1"


def test_an_undecided_challenger_is_rejected_in_the_end(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    for days, margin, last in ((1_000, 0.001, "SHADOWING"), (100, 0.001, "REJECTED")):
        desk = moved(shadowed, tmp_path / f"desk-{days}")
        desk.book.unlink()
        begun = run_of(shadowed)
        with RetrainingBook.open(desk.book) as book:
            for row in begun.steps:
                outputs = {
                    **row.outputs,
                    **({"margin": margin, "max_days": days} if row.step == last else {}),
                }
                if row.step is Step.SHADOWING:
                    outputs = {"margin": margin, "max_days": days}
                book.append(replace(row, outputs=outputs))
        desk.retrain()
        assert steps(desk)[-1] == last
        assert desk.production == "v1"
    assert "undecided" in run_of(desk).steps[-1].sentence
    assert "ignorance is not non-inferiority" in run_of(desk).steps[-1].sentence


def scores(challenger: float) -> tuple[PairedScore, ...]:
    return tuple(
        PairedScore(time=number, champion=0.5, challenger=challenger, bound=0.6) for number in range(200)
    )


@pytest.mark.parametrize(
    ("score", "verdict", "last"), [(0.9, "better", "PROMOTED"), (0.1, "worse", "REJECTED")]
)
def test_what_is_better_is_promoted_and_what_is_worse_rejected_at_once(
    shadowed: RetrainedDesk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    score: float,
    verdict: str,
    last: str,
) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    monkeypatch.setattr("operations.retraining.machine.scores_in_shadow", lambda *_: scores(score))
    monkeypatch.setattr(RetrainingRun, "output", _with_margin(0.1))
    desk.retrain()
    assert steps(desk)[-1] == last
    assert run_of(desk).output("verdict") == verdict
    assert desk.production == ("v2" if last == "PROMOTED" else "v1")


def _with_margin(margin: float) -> Callable[[RetrainingRun, str], Any]:
    real = RetrainingRun.output
    return lambda run, name: margin if name == "margin" else real(run, name)


def test_the_challenger_answers_in_shadow_as_it_does_in_production(promoted: RetrainedDesk) -> None:
    view, run = MonitoredDesk.read(promoted.settings()), run_of(promoted)
    own = [each for each in view.of_bundle(run.output("sha256")) if each.probability == each.probability]
    assert len(own) > 5
    found = shadow._answers(view, run, [each.decision for each in own])
    assert found == [each.probability for each in own]
    assert np.isnan(shadow._answers(view, run, [own[0].decision + 1])).all(), "no bar ends there"


def test_every_separate_signal_after_the_training_is_scored(shadowed: RetrainedDesk) -> None:
    view, run = MonitoredDesk.read(shadowed.settings()), run_of(shadowed)
    since = run.output("fresh_from")
    outcomes = view.of_bundle(run.output("champion_sha256"))
    fresh = thinned(each for each in outcomes if each.decision > since)
    assert {each.state for each in fresh} == {"taken", "vetoed"}
    found = shadow.scores_in_shadow(view, run)
    assert [each.time for each in found] == [each.exit for each in fresh]
    assert [each.champion for each in found] == [1 - (each.probability - each.won) ** 2 for each in fresh]
    assert min(each.decision for each in outcomes) < since, "older ones are left out"


def test_a_refusal_of_one_symbol_stops_no_other(
    alarmed: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    real = plan.plan_of

    def refusing(view: MonitoredDesk, symbol: str, *rest: Any) -> Any:
        if symbol != "COMP":
            raise RetrainingError(f"{symbol}: no; mend it")
        return real(view, symbol, *rest)

    monkeypatch.setattr("operations.retraining.machine.plan_of", refusing)
    monkeypatch.setattr(MonitoredDesk, "symbols", ("AAA", "COMP", "ZZZ"))
    with pytest.raises(RetrainingError, match="AAA: no"):
        desk.retrain()
    assert "ZZZ: no; mend it" in desk.told
    assert steps(desk) == SHADOWING


def test_a_person_approves(shadowed: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_now", lambda: NOW)
    desk = moved(shadowed, tmp_path / "desk")
    desk.retrain(approval="person")
    assert steps(desk) == SHADOWING
    name = run_of(desk).id
    assert desk.told[-1].endswith(f"lockstep retrain approve {name}")
    code, said = call(desk, "approve", name[:6], "--by", "AB", "--dry-run")
    assert (code, "would be approved by AB" in said) == (0, True)
    assert steps(desk) == SHADOWING
    code, said = call(desk, "approve", name[:6], "--by", "AB")
    assert code == 0
    assert desk.production == "v2"
    approval = run_of(desk).at(Step.APPROVED)
    assert approval is not None
    assert approval.by == "AB"
    assert desk.store.manifest().history[-1].by == "AB"
    with pytest.raises(RetrainingError, match="is PROMOTED; only one that is SHADOWING") as refusal:
        call(desk, "approve", name)
    require_one_line(refusal)


def test_what_is_undecided_cannot_be_approved(alarmed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    desk.retrain()
    with pytest.raises(RetrainingError, match="cannot be approved yet") as refusal:
        call(desk, "approve", run_of(desk).id)
    require_one_line(refusal)


def test_a_run_is_ended_by_hand(shadowed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(shadowed, tmp_path / "desk")
    name = run_of(desk).id
    with pytest.raises(RetrainingError, match="needs a reason"):
        call(desk, "abort", name)
    code, said = call(desk, "abort", name, "--reason", "the vendor changed", "--by", "AB")
    assert (code, "the vendor changed" in said) == (0, True)
    assert steps(desk)[-1] == "ABORTED"
    with pytest.raises(RetrainingError, match="is ABORTED already"):
        call(desk, "abort", name, "--reason", "again")


@pytest.mark.parametrize("which", ["alarmed", "shadowed", "promoted"])
def test_a_dry_run_changes_no_byte(
    which: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(request.getfixturevalue(which), tmp_path / "desk")
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger' / 'ledger.db'}")
    watched = (desk.store.folder, tmp_path / "ledger")
    books = [each for each in desk.folder.glob("retraining.db*")]
    before = digest_of_folder(*watched), {each.name: each.read_bytes() for each in books}
    for arguments in (("run", "--dry-run"), ("plan",), ("status",)):
        code, said = call(desk, *arguments)
        assert code == 0
        assert "COMP" in said or "no retraining" in said
    assert {each.name: each.read_bytes() for each in desk.folder.glob("retraining.db*")} == before[1]
    assert digest_of_folder(*watched) == before[0]
    if which == "alarmed":
        assert "a retraining of v1 would begin" in call(desk, "run", "--dry-run")[1]
        desk.retrain()
        assert digest_of_folder(*watched) != before[0], "the digest sees what a real run does"


def test_the_command_says_what_happened(alarmed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    assert call(desk, "status")[1].strip() == "no retraining has begun"
    said = call(desk, "plan")[1]
    assert "ALARM of ic" in said
    desk.retrain(QuickMaker(desk.store, refuse={"train": "no good"}))
    name = run_of(desk).id
    code, said = call(desk, "status")
    assert (code, name in said, "FAILED" in said) == (0, True, True)
    said = call(desk, "status", name[:4])[1]
    assert "no good" in said
    code, said = call(desk, "run")
    assert (code, said.strip()) == (0, "no retraining is under way, and nothing calls for one")
    with only_retraining(desk.book), pytest.raises(RetrainingError, match="another retraining is running"):
        call(desk, "run")


def test_without_a_monitor_nothing_is_begun(tmp_path: Path) -> None:
    desk = retrained_desk(tmp_path / "desk")
    for command in ("plan", "run", "approve x", "abort x"):
        with pytest.raises(MonitorError, match="there is no such file; run the monitor first") as refusal:
            call(desk, *command.split())
        require_one_line(refusal)
    assert not desk.book.exists()


def test_a_model_without_reference_is_named(alarmed: RetrainedDesk, tmp_path: Path) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    (path,) = (desk.store.folder / "reports").glob("*-reference.json")
    path.unlink()
    (found,) = read_plan(desk.settings())
    assert found.refusal.startswith("COMP: no reference: ")
    assert desk.retrain() == ()
    assert desk.told == [found.refusal]


def test_a_strategy_without_a_model_has_nothing_to_train(
    alarmed: RetrainedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = moved(alarmed, tmp_path / "desk")
    content = recorded().model_dump(mode="json")
    bare = {name: content[name] for name in ("symbol", "data", "strategy", "hold_out")}
    real = plan.recorded_config
    monkeypatch.setattr(
        plan, "recorded_config", lambda record: real(record.model_copy(update={"config": bare}))
    )
    (found,) = read_plan(desk.settings())
    assert "is a strategy without a model, so that there is nothing to train again" in found.refusal
    assert desk.retrain() == ()


def test_only_the_range_of_the_data_grows(alarmed: RetrainedDesk) -> None:
    entry = alarmed.store.manifest().entry("COMP", "v1")
    content = {"hold_out": ["2009-01-02", TRAINED_TO]}
    until = np.datetime64("2010-01-31").item()
    found, old = grown_config(entry, content, until, trials=None), recorded()
    assert found.data == old.data.model_copy(update={"end": until})
    assert str(found.hold_out.start) == "2009-07-05", "184 days more"
    same = {"data", "hold_out"}
    assert found.model_dump(exclude=same) == old.model_dump(exclude=same)
    assert grown_config(entry, content, until, trials=7).search.trials == 7
    with pytest.raises(RetrainingError, match="trained on bars up to 2009-07-31") as refusal:
        grown_config(entry, content, np.datetime64(TRAINED_TO).item(), trials=None)
    require_one_line(refusal)
    with pytest.raises(RetrainingError, match="no record of a training"):
        grown_config(entry, {}, until, trials=None)
