"""Validation from the store to the manifest: gathering, the hold-out's door, the report, the checklist."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from rich.console import Console
from typer.testing import CliRunner

from lockstep.console import run
from lockstep.errors import DataError, ModelError, TrainingError, UnknownModel
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.features.streaming import WindowFeatures
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models import ModelStore
from lockstep.models.content import sha256_of
from lockstep.monitoring.frozen import FrozenReference, frozen_in
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.model_validation import command
from research.model_validation.case import ModelCase, StrategyCase, ValidationCase
from research.model_validation.check import CheckFinding, ModelCheck, at_least
from research.model_validation.checklist import checklist
from research.model_validation.checks import CHECKS, asked_of, judge_model
from research.model_validation.checks_gain import spelled, winners_rank_higher
from research.model_validation.checks_inputs import streamed
from research.model_validation.checks_luck import hold_out_agrees, sealed
from research.model_validation.checks_model import (
    admitted_shifts,
    least_distance,
    nothing_in_shifted_labels,
    something_is_vetoed,
)
from research.model_validation.command import show, validate_version
from research.model_validation.gathering import ValidationRequest, gather, newest
from research.model_validation.hold_out import HoldOutDoor, HoldOutRecord
from research.model_validation.reference import frozen_reference
from research.model_validation.report import (
    AGAINST_THE_BENCHMARK,
    SECTIONS,
    ValidationReport,
    validation_html,
    validation_json,
    write_validation,
)
from research.model_validation.validate import evidence_of
from research.report.section import Section
from research.statistics.gate import Check, GateVerdict, hold_out_p_limit
from research.training.acceptance import Acceptance, StrategyAcceptance
from research.training.bundling import make_bundle
from research.training.config import TrainingConfig
from research.training.dataset import build_dataset
from research.training.out_of_sample import open_hold_out
from research.training.outcome import TrainingOutcome
from research.training.outcome_file import outcome_bytes
from research.training.refit import refitting
from research.training.run import OUTCOME, Task, load_training_history, run_name, training_record
from support.pages import assert_escaped
from support.sections import require_readable, require_same_again
from support.validation_models import (
    KEY,
    HoldOutFound,
    bundle_of,
    changed,
    outcome_of,
    planted,
    planted_case,
    training_config,
    with_acceptance,
    with_answers,
)

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
FAMILY = "SP500"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'trials.db'}"))


def door(tmp_path: Path, ledger: Ledger) -> HoldOutDoor:
    history, outcome = planted()
    bundle = replace(bundle_of(outcome, history), sha256="ab" * 32)
    look = functools.partial(
        open_hold_out, outcome, history, ledger, family=FAMILY, version=bundle.sha256, now=NOW
    )
    return HoldOutDoor(bundle, look, tmp_path)


@pytest.mark.no_cover
def test_the_hold_out_is_opened_once_and_repeated_afterwards(tmp_path: Path, ledger: Ledger) -> None:
    ask = door(tmp_path, ledger)
    assert ask(False) is None
    first, second, third = ask(True), ask(True), ask(False)
    assert isinstance(first, HoldOutRecord)
    assert first == second == third
    assert first.looks == 1
    assert first.sharpe > 0
    assert len(ledger.looks(FAMILY, first.dates)) == 1
    assert first.dates.start >= np.datetime64("2016-01-01").item()


def test_a_look_whose_result_is_lost_is_not_taken_again(tmp_path: Path, ledger: Ledger) -> None:
    ask = door(tmp_path, ledger)
    ask(True)
    (path,) = tmp_path.glob("hold_out-*.json")
    path.unlink()
    with pytest.raises(TrainingError, match="was opened before"):
        ask(True)


def test_every_version_counts_a_look(tmp_path: Path, ledger: Ledger) -> None:
    history, outcome = planted()
    open_hold_out(outcome, history, ledger, family=FAMILY, version="another", now=NOW)
    found = door(tmp_path, ledger)(True)
    assert found is not None
    assert found.looks == 2


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text.replace("ab" * 32, "cd" * 32), "is about bundle cdcdcdcdcdcd"),
        (lambda text: text[:20], "is no JSON that can be used"),
    ],
    ids=["another bundle", "truncated"],
)
def test_a_result_that_cannot_be_trusted_is_refused(
    tmp_path: Path, ledger: Ledger, spoil: Callable[[str], str], told: str
) -> None:
    ask = door(tmp_path, ledger)
    ask(True)
    (path,) = tmp_path.glob("hold_out-*.json")
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ModelError, match=told):
        ask(True)


def test_an_undefined_hold_out_does_not_pass() -> None:
    dates = {"start": "2016-01-04", "end": "2016-12-30"}
    judged = {"sharpe": None, "p_value": None}
    found = HoldOutRecord.model_validate(
        {"bundle_sha256": "ab", "looks": 1, "dates": dates, "metrics": {}, "unfiltered": {}, "judged": judged}
    )
    assert not hold_out_agrees(replace(planted_case(), hold_out=lambda _: found)).passed


@pytest.mark.no_cover
def test_a_refused_model_leaves_the_hold_out_sealed() -> None:
    asked: list[bool] = []

    def ask(may_open: bool) -> None:
        asked.append(may_open)

    case = replace(with_acceptance(planted_case(), min_sharpe=99.0), hold_out=ask)
    last = judge_model(case).checks[-1]
    assert asked == [False]
    assert not last.passed
    assert "stays sealed: 1 other check refuses" in last.sentence


def test_an_opened_hold_out_is_repeated_for_a_refused_model() -> None:
    case = replace(planted_case(), hold_out=lambda _: HoldOutFound(sharpe=0.7))
    found = sealed(case, failed=3)
    assert found.passed
    assert found.value == 0.7
    never = sealed(replace(case, hold_out=lambda _: None), failed=3)
    assert never.sentence == "stays sealed: 3 other checks refuse the model already"


def test_a_model_without_a_hold_out_does_not_pass() -> None:
    last = hold_out_agrees(replace(planted_case(), hold_out=lambda _: None))
    assert (last.passed, last.sentence) == (False, "there is no hold-out to open")


def test_what_cannot_be_measured_has_not_passed() -> None:
    def refuse(_: ValidationCase) -> CheckFinding:
        raise DataError("no bars here")

    made = [
        ModelCheck(name="x", asks="?", limit="", judge=judge)
        for judge in (
            refuse,
            lambda _: CheckFinding(value=float("nan"), limit=0.0, passed=True, sentence="?"),
        )
    ]
    found = [each(planted_case()) for each in made]
    assert [each.passed for each in found] == [False, False]
    assert found[0].sentence == "not measured: no bars here"


@pytest.mark.parametrize("broken", ["threshold", "features", "symbol", "strategy"])
def test_a_bundle_of_another_run_is_refused(broken: str) -> None:
    case = planted_case()
    changes: dict[str, Any] = {
        "threshold": {"threshold": 0.61},
        "features": {"feature_ids": case.bundle.feature_ids[::-1]},
        "symbol": {"symbol": "COMP"},
        "strategy": {"strategy": {**case.bundle.strategy, "config_hash": "0" * 64}},
    }[broken]
    with pytest.raises(ModelError, match=f"its .*{broken}.* are not those of the training run"):
        replace(case, bundle=replace(case.bundle, **changes))


def test_a_bundle_with_another_pipeline_is_refused() -> None:
    case = planted_case()
    refit = refitting(case.outcome)
    other = replace(case.outcome, pipeline=refit(case.outcome.windows[0], case.outcome.dataset.target))
    with pytest.raises(ModelError, match="answers"):
        replace(case, outcome=other)


@functools.cache
def planted_reference() -> FrozenReference:
    case = planted_case()
    return frozen_reference(replace(case, bundle=replace(case.bundle, sha256="ab" * 32)))


@functools.cache
def report() -> ValidationReport:
    case = planted_case()
    return ValidationReport(case=case, verdict=judge_model(case), reference=planted_reference())


@functools.cache
def refused() -> ValidationReport:
    case = replace(with_acceptance(planted_case(), min_sharpe=99.0), hold_out=lambda _: None)
    return ValidationReport(case=case, verdict=judge_model(case))


def test_equal_models_give_equal_reports(tmp_path: Path) -> None:
    made = [write_validation(report(), tmp_path / name) for name in ("one", "two")]
    assert made[0][0].read_bytes() == made[1][0].read_bytes()
    assert made[0][1].read_bytes() == made[1][1].read_bytes()
    assert made[0][0].name == "SPX_v1-validation.html"


def test_the_report_says_what_was_found() -> None:
    found = json.loads(validation_json(report()))
    assert found["passed"]
    assert [each["name"] for each in found["checks"]] == [each.name for each in asked_of(ModelCase)]
    page = validation_html(report())
    assert "passed every check" in page
    for each in asked_of(ModelCase):
        assert str(escape(each.asks)) in page


def test_the_report_says_what_was_frozen() -> None:
    told = json.loads(validation_json(report()))["reference"]
    assert told["digest"] == planted_reference().digest
    assert list(told["streams"]) == ["win_rate", "pnl", "calibration", "ic"]
    win = planted_reference().outcomes.streams[0]
    assert told["streams"]["win_rate"] == {
        "floor": win.floor, "estimate": win.estimate, "outcomes": win.outcomes, "per_year": win.per_year,
    }  # fmt: skip
    assert told["features"] == {"columns": 6, "sessions": 2_600, "years": 10}
    assert sum(told["regimes"].values()) == pytest.approx(1.0)
    page = validation_html(report())
    assert "10 whole years: false in 1 year of 11 without drift." in page
    assert "Frozen reference" in page
    few = replace(planted_reference(), regime=None, absent=("regime: 120 sessions, a trend needs 200",))
    assert "Off: regime: 120 sessions, a trend needs 200" in validation_html(replace(report(), reference=few))


def test_the_report_says_what_was_refused() -> None:
    made = refused()
    bundle = replace(made.case.bundle, changed_features=("ret_5",))
    page = validation_html(replace(made, case=replace(made.case, bundle=bundle)))
    assert "refused by 2 of 22 checks" in page
    assert "fresh parity certificate" in page
    assert json.loads(validation_json(made))["checks"][-1]["value"] is None


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)
def test_every_section_keeps_the_rules_of_sections(section: Section[ValidationReport]) -> None:
    for judged in (report(), refused()):
        require_readable(section, judged)
        require_same_again(section, judged)


def test_limits_that_were_loosened_are_said() -> None:
    assert json.loads(validation_json(report()))["looser_than_shipped"] == []
    assert "looser limits" not in validation_html(report())
    case = with_acceptance(planted_case(), min_dsr=0.5, max_area_p=0.2, min_sharpe=0.4)
    made = ValidationReport(case=case, verdict=report().verdict)
    told = ["max_area_p 0.2 (shipped 0.05)", "min_dsr 0.5 (shipped 0.95)"]
    assert json.loads(validation_json(made))["looser_than_shipped"] == told
    assert f"Judged by looser limits than the shipped ones: {', '.join(told)}." in validation_html(made)


def test_hostile_names_stay_text() -> None:
    judged = report()
    bundle, first = judged.case.bundle, judged.verdict.checks[0]
    assert_escaped(validation_html, judged, bundle.symbol, bundle.version, first.sentence)
    assert_escaped(ValidationReport._repr_html_, judged, bundle.symbol, first.sentence)
    assert list(judged.table.index) == [each.name for each in judged.verdict.checks]


def test_the_checklist_is_up_to_date() -> None:
    assert (ROOT / "deploy/CHECKLIST.md").read_text(encoding="utf-8") == checklist()


def test_limits_of_the_checklist_are_keys_of_the_configuration() -> None:
    for kind, limits in ((ModelCase, Acceptance), (StrategyCase, StrategyAcceptance)):
        asked = {each.limit for each in CHECKS.values() if each.limit and each.of in (None, kind)}
        assert asked == set(limits.model_fields)


def test_a_veto_that_lets_everything_through_is_none() -> None:
    case = planted_case()
    everything = with_answers(case, [np.full(each.test.size, 0.9) for each in case.outcome.windows])
    found = something_is_vetoed(everything)
    assert (found.passed, found.value) == (False, 0.0)
    assert "must be between 5% and 95%" in found.sentence
    refused = {each.name for each in judge_model(everything).refusals}
    assert {"gain", "random veto", "ROC area", "deflated Sharpe", "share vetoed"} <= refused


def test_a_veto_that_stops_everything_is_no_better_than_lots() -> None:
    case = planted_case()
    nothing = with_answers(case, [np.full(each.test.size, 0.1) for each in case.outcome.windows])
    found = {each.name: each for each in (check(nothing) for check in asked_of(ModelCase)) if not each.passed}
    assert {"gain", "random veto", "ROC area", "gain kept", "trades", "share vetoed"} <= found.keys()
    assert found["random veto"].sentence.startswith("the veto lets no trade through")
    one_class = replace(case.outcome.dataset, target=np.ones_like(case.outcome.dataset.target))
    won = changed(case, outcome=replace(case.outcome, dataset=one_class))
    assert winners_rank_higher(won).sentence.startswith("no outer window holds a winner and a loser")


def test_labels_are_shifted_by_a_year_and_by_all_that_a_label_could_share_with_a_feature() -> None:
    row = np.arange(0, 3_000, 3)
    found = admitted_shifts(row, 252)
    # By 84 places of 3 bars at least, and by as many from the other end.
    assert (found[0], found[-1], found.size) == (84, 1_000 - 84, 1_000 - 2 * 84 + 1)
    for shift in (found[0], found[-1]):
        assert np.abs(np.roll(row, -shift) - row).min() >= 252
    assert admitted_shifts(row[:100], 252).size == 0
    assert admitted_shifts(row[:1], 1).size == 0
    case = planted_case()
    data = case.outcome.dataset
    horizon = int((np.searchsorted(case.history.series(KEY).end, data.exit) - data.row).max())
    assert horizon == 2
    assert least_distance(case) == case.plan.lookback(KEY) + horizon > 252
    looking_at_today = replace(case)
    vars(looking_at_today)["plan"] = case.features.plan(("ibs",), KEY)
    assert least_distance(looking_at_today) == 252


def test_too_short_a_history_leaves_shuffled_labels_unmeasured() -> None:
    case = planted_case()
    short = replace(case.outcome, development=case.outcome.development[:150])
    made = nothing_in_shifted_labels(changed(case, outcome=short))
    assert not made.passed
    assert re.search(
        r"not measured: SPX: there is room for \d shifts of the labels, and 5 are", made.sentence
    )


def test_a_second_look_needs_more_than_a_sign() -> None:
    """The fiftieth look passed at a Sharpe ratio of 0.0 once."""
    case = planted_case()

    def look(**found: float) -> Check:
        return hold_out_agrees(replace(case, hold_out=lambda _: HoldOutFound(**found)))  # type: ignore[arg-type]

    assert look(sharpe=0.0, p_value=0.5, looks=1).passed
    assert not look(sharpe=0.0, p_value=0.5, looks=50).passed
    limit = hold_out_p_limit(2)
    assert look(sharpe=1.9, p_value=limit, looks=2).passed
    refused = look(sharpe=1.9, p_value=limit * 1.01, looks=2)
    assert (refused.passed, refused.limit) == (False, limit)
    assert "it was look 2 of the family at these days" in refused.sentence
    assert not look(sharpe=-0.1, p_value=limit / 2, looks=2).passed


def test_a_hold_out_opened_by_an_earlier_version_has_no_gain(tmp_path: Path, ledger: Ledger) -> None:
    ask = door(tmp_path, ledger)
    ask(True)
    (path,) = tmp_path.glob("hold_out-*.json")
    known = json.loads(path.read_text())
    assert known["schema_version"] == 2
    assert set(known["judged"]) == {"sharpe", "p_value"}
    del known["judged"]
    path.write_text(json.dumps({**known, "schema_version": 1}))
    made = hold_out_agrees(replace(planted_case(), hold_out=ask))
    assert not made.passed
    assert "an earlier version opened it" in made.sentence


def test_vectors_are_streamed_at_the_bars_of_the_traded_series() -> None:
    case = planted_case()
    own = case.history.series(KEY)
    pair = replace(own, symbol="COMP", end=own.end - 60_000_000_000)
    history = History(
        bars={KEY: own, SeriesKey("COMP", DAILY): pair},
        markets={each: load_instruments().market(each) for each in ("SPX", "COMP")},
    )
    plan = default_registry().plan(("pair_ret_1", "ibs"), KEY)
    found = streamed(history, WindowFeatures(plan, history.markets), KEY)
    assert found.tobytes() == BatchFeatures(plan, history).matrix.tobytes()


def test_a_small_p_value_is_not_zero() -> None:
    assert (spelled(0.0312), spelled(0.001), spelled(1e-9)) == ("p = 0.031", "p = 0.001", "p < 0.001")


def test_at_least_refuses_nan() -> None:
    assert not at_least(float("nan"), 0.0, "").passed


@pytest.fixture(scope="module")
def trained() -> tuple[TrainingConfig, TrainingOutcome, Any]:
    """Return a training run on the embedded bars, put together with small forests."""
    config = training_config(data={"end": "2016-12-30"})
    history = load_training_history(config)
    return config, outcome_of(config, build_dataset(config, history)), history


@pytest.fixture
def desk(
    tmp_path: Path, trained: tuple[TrainingConfig, TrainingOutcome, Any], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a folder with a store that holds v1, and the training run beside it."""
    config, outcome, history = trained
    run = tmp_path / "runs" / run_name(config, outcome.dataset, outcome.seed)
    run.mkdir(parents=True)
    (run / OUTCOME).write_bytes(outcome_bytes(outcome))
    record = training_record(Task(config=config, seed=outcome.seed), history, outcome.dataset)
    ModelStore(tmp_path / "store").register(make_bundle(outcome, history), record=record, by="a", now=NOW)
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'trials.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def request(desk: Path, version: str = "v1", **changes: Any) -> ValidationRequest:
    return ValidationRequest(
        symbol="SPX",
        version=version,
        store=ModelStore(desk / "store"),
        reports=desk / "store" / "reports",
        runs=desk / "runs",
        **changes,
    )


def ledger_of(desk: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{desk / 'trials.db'}"))


def test_a_version_is_gathered_from_its_record(desk: Path) -> None:
    case = gather(request(desk), ledger_of(desk), now=NOW)
    assert (case.bundle.version, case.trials, case.champion) == ("v1", 1, None)
    assert len(case.outcome.dataset) == len(case.outcome.development) + len(case.outcome.hold_out)


def test_a_verdict_is_attached_and_written(desk: Path) -> None:
    made, page = validate_version("SPX", "", by="a", store=desk / "store", run=next(desk.glob("runs/*")))
    frozen, evidence = ModelStore(desk / "store").manifest().entry("SPX", "v1").evidence
    assert (frozen.kind, evidence.kind) == ("reference", "validation")
    assert evidence.passed == made.verdict.passed
    assert evidence.file == "reports/SPX_v1-validation.json"
    assert page == desk / "store" / "reports" / "SPX_v1-validation.html"
    book = load_instruments()
    assert (evidence.symbols, evidence.sources) == (("SPX",), ("embedded_spx",))
    assert evidence.hashes["instruments"] == book.digest(["SPX"], ["embedded_spx"])
    assert evidence.issued is not None
    numbers = write_validation(made, desk / "out")[1]
    elsewhere = evidence_of(made, numbers, request(desk), book, now=NOW)
    assert elsewhere.file == str(desk / "out" / "SPX_v1-validation.json")


def test_the_reference_is_frozen_beside_the_verdict_and_found_by_hash(desk: Path) -> None:
    store, run = ModelStore(desk / "store"), next(desk.glob("runs/*"))
    made, _ = validate_version("SPX", "", by="a", store=store.folder, run=run)
    entry = store.manifest().entry("SPX", "v1")
    (frozen,) = (each for each in entry.evidence if each.kind == "reference")
    assert frozen.file == "reports/SPX_v1-reference.json"
    path = store.folder / frozen.file
    assert frozen.file_sha256 == sha256_of(path.read_bytes())
    assert (frozen.passed, frozen.bundle_sha256) == (True, entry.sha256)
    assert frozen.hashes == made.case.hashes
    assert frozen.data is not None
    assert frozen.data == entry.evidence[1].data
    assert made.reference is not None
    assert frozen_in(store, "SPX", entry.sha256).digest == made.reference.digest
    # A verdict that was not passed freezes, too: whoever forces the promotion is watched all the same.
    assert not made.verdict.passed
    assert not [each for each in store.policy().missing(entry, NOW) if each.startswith("reference")]
    before = path.read_bytes()
    validate_version("SPX", "", by="a", store=store.folder, run=run)
    assert path.read_bytes() == before
    assert frozen_in(store, "SPX", entry.sha256).digest == made.reference.digest


def test_reports_elsewhere_hold_the_reference_too(desk: Path) -> None:
    store = ModelStore(desk / "store")
    validate_version("SPX", "", by="a", store=store.folder, run=next(desk.glob("runs/*")), out=desk / "out")
    frozen, _ = store.manifest().entry("SPX", "v1").evidence
    assert frozen.file == str(desk / "out" / "SPX_v1-reference.json")
    assert frozen_in(store, "SPX", frozen.bundle_sha256).bundle == frozen.bundle_sha256


def test_what_cannot_be_frozen_keeps_no_verdict_back(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(case: ValidationCase) -> FrozenReference:
        raise DataError("no trade has a decision")

    monkeypatch.setattr("research.model_validation.validate.frozen_reference", refuse)
    made, page = validate_version("SPX", "", by="a", store=desk / "store", run=next(desk.glob("runs/*")))
    store = ModelStore(desk / "store")
    entry = store.manifest().entry("SPX", "v1")
    assert [each.kind for each in entry.evidence] == ["validation"]
    assert "reference: there is none; validate it again" in store.policy().missing(entry, NOW)
    assert "cannot be promoted: no trade has a decision" in page.read_text()
    assert made.reference is None
    assert json.loads(validation_json(made))["reference"] is None


def test_a_missing_run_is_refused_and_nothing_is_attached(desk: Path) -> None:
    shutil.rmtree(desk / "runs")
    with pytest.raises(TrainingError, match="train the model, or name the folder"):
        validate_version("SPX", "v1", by="a", store=desk / "store")
    assert not ModelStore(desk / "store").manifest().entry("SPX", "v1").evidence


def test_other_bars_are_refused(desk: Path) -> None:
    store = ModelStore(desk / "store")
    entry = store.manifest().entry("SPX", "v1")
    config = {**entry.record.config, "data": {"start": None, "end": "2017-06-30", "source": None}}
    record = entry.record.model_copy(update={"config": config})
    case = gather(request(desk), ledger_of(desk), now=NOW)
    store.register(case.bundle, record=record, by="a", now=NOW)
    with pytest.raises(ModelError, match="are not those that it was trained on"):
        gather(request(desk, "v2", run=next(desk.glob("runs/*"))), ledger_of(desk), now=NOW)


def test_production_is_the_champion(desk: Path) -> None:
    store = ModelStore(desk / "store")
    case = gather(request(desk), ledger_of(desk), now=NOW)
    store.promote("SPX", "v1", by="a", now=NOW, force=True, reason="test")
    record = store.manifest().entry("SPX", "v1").record
    store.register(case.bundle, record=record, by="a", now=NOW)
    champion = gather(request(desk, "v2"), ledger_of(desk), now=NOW).champion
    assert champion is not None
    assert (champion.version, champion.how) == ("v1", "its own outer walk-forward")
    assert champion.account.equity.tobytes() == case.account.equity.tobytes()
    (run,) = desk.glob("runs/*")
    final = gather(
        replace(request(desk, "v2"), runs=desk / "elsewhere", run=run), ledger_of(desk), now=NOW
    ).champion
    assert final is not None
    assert final.how.startswith("its final model, fitted on 20")
    assert final.account.equity.tobytes() == case.in_sample.equity.tobytes()
    assert gather(request(desk), ledger_of(desk), now=NOW).champion is None
    page = validation_html(replace(report(), case=replace(case, champion=final)))
    assert "production, v1" in page


def test_the_newest_version_is_meant(desk: Path) -> None:
    store = ModelStore(desk / "store")
    assert newest(store, "SPX") == "v1"
    store.retire("SPX", "v1", by="a", now=NOW, reason="test")
    with pytest.raises(UnknownModel, match="every version is retired"):
        newest(store, "SPX")


def test_the_screen_shows_a_word_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    show(refused(), Path("x.html"), Console(width=200), as_json=False)
    told = capsys.readouterr().out
    assert told.startswith(f"SPX v1: {refused().line}\n")
    assert refused().line.word == "unproven"
    assert f"failed {len(refused().verdict.refusals)} of " in told
    names = [each.name for each in asked_of(ModelCase)]
    assert not all(name in told for name in names)
    show(refused(), Path("x.html"), Console(width=200), as_json=False, why=True)
    told = capsys.readouterr().out
    assert all(name in told for name in names)
    show(report(), Path("x.html"), Console(width=200), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["report"], found["verdict"]) == ("x.html", report().line.word)


def test_a_model_that_passed_is_unproven_until_it_is_promoted() -> None:
    found = report()
    assert found.line.word == "unproven"
    assert "`lockstep promote`" in found.line.reason
    assert replace(found, promoted=True).line.word == "promoted"
    assert replace(refused(), promoted=True).line.word == "unproven"
    assert f"<b>{found.line}</b>".replace("`", "`") in validation_html(found)


def test_every_test_against_the_benchmark_is_a_check() -> None:
    assert {*AGAINST_THE_BENCHMARK} <= {*CHECKS}


def test_a_model_without_a_gain_is_drift_where_its_strategy_earns() -> None:
    found = report()
    failing = tuple(
        replace(each, passed=False, value=0.1) if each.name == "deflated Sharpe" else each
        for each in found.verdict.checks
    )
    made = replace(found, verdict=GateVerdict(checks=failing))
    assert made.line.word == "drift"
    assert made.line.reason.startswith("it earns, but what the model adds to its strategy may be luck: ")


def test_the_exit_code_is_the_verdict(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(next(desk.glob("runs/*")))
    options = [
        "SPX",
        "--version",
        "v1",
        "--store",
        str(desk / "store"),
        "--run-dir",
        folder,
        "--by",
        "me",
        "--json",
    ]
    found = CliRunner().invoke(command.app, options)
    assert found.exit_code == 1, found.output
    assert not json.loads(found.output)["passed"]
    monkeypatch.setattr(command, "validate_version", lambda *_, **__: (report(), Path("x.html")))
    assert CliRunner().invoke(command.app, options).exit_code == 0


def test_a_refusal_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["validate_model.py", "ES", "--store", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        run(command.app)
    assert stopped.value.code == 2
    assert "'ES': not in the manifest" in capsys.readouterr().err
