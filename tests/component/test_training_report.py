"""The training report: what it shows, and that it is the same bytes for the same run."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.report.page import percent, ratio
from research.report.section import Section
from research.statistics.sharpe import SharpeSample
from research.statistics.superior import superior_predictive_ability
from research.training import importance as report_shap
from research.training.importance import Attribution, attribution
from research.training.outcome import TrainingOutcome
from research.training.report import SECTIONS, report_fragment, report_html, write_training_report
from research.training.report_data import TrainingReport, report_data
from research.training.report_figures import thresholds
from research.training.report_json import report_json
from research.training.report_search_figures import dependence, distributions
from research.training.report_sections import against_no_veto, features, luck, other_orders
from support.pages import assert_escaped
from support.sections import require_readable, require_same_again
from support.validation_models import planted

TRIALS = 60


@pytest.fixture(scope="module")
def data() -> TrainingReport:
    history, outcome = planted()
    return report_data(outcome, history, trainings=TRIALS)


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    history, outcome = planted()
    pages = [
        write_training_report(outcome, history, tmp_path / name, trainings=TRIALS) for name in ("one", "two")
    ]
    for name in ("report.html", "report.json"):
        first, second = ((page.parent / name).read_bytes() for page in pages)
        assert first == second
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["report.html", "report.json"]


def test_the_hold_out_is_not_read(data: TrainingReport) -> None:
    history, outcome = planted()
    features, net_pnl = outcome.dataset.features.copy(), outcome.dataset.net_pnl.copy()
    features[outcome.hold_out], net_pnl[outcome.hold_out] = np.nan, np.nan
    blind = replace(outcome, dataset=replace(outcome.dataset, features=features, net_pnl=net_pnl))
    assert report_html(report_data(blind, history, trainings=TRIALS)) == report_html(data)


def test_the_page_is_self_contained_and_says_what_matters(data: TrainingReport) -> None:
    page = report_html(data, proxy_of="ES")
    body = page[page.index("<main>") : page.index("</main>")]
    assert "http" not in body
    for words in (
        "Index proxy for ES", "Deflated Sharpe", "PBO", "Calibration", "Permutation importance",
        "SHAP values", "Provenance", "is sealed", f"{len(data.windows)} outer windows",
    ):  # fmt: skip
        assert words in body
    assert "Index proxy" not in report_html(data)


def test_how_much_is_luck_is_asked_of_the_gain(data: TrainingReport) -> None:
    text = luck(data)
    gain = data.runs.gain.returns
    blocks = SharpeSample.of_blocks(gain)
    annual = data.runs.filtered.sessions_per_year**0.5
    found = against_no_veto(data)
    p_value = superior_predictive_ability(gain[:, None], block=found.block).consistent
    assert found.consistent == p_value
    for words in (
        "the same over blocks, with autocorrelation", ratio(blocks.standard_error * annual),
        f"SPA against no veto, blocks of {found.block} sessions", percent(p_value), "minimum track record",
        "minimum backtest length",
    ):  # fmt: skip
        assert words in text
    orders = other_orders(data)
    assert "Drawdown, the same trades shuffled" in orders
    assert "Net P&amp;L, as many drawn from them" in orders


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)
def test_every_section_keeps_the_rules_of_sections(
    section: Section[TrainingReport], data: TrainingReport
) -> None:
    require_readable(section, data)
    require_same_again(section, data)


def test_numbers_for_machines(data: TrainingReport) -> None:
    found = json.loads(report_json(data))
    assert found["schema_version"] == 1
    windows = found["out_of_sample"]["windows"]
    total = found["out_of_sample"]["with_veto"]
    assert sum(each["with_veto"]["trades"] for each in windows) == total["trades"]
    assert sum(each["with_veto"]["net_profit"] for each in windows) == pytest.approx(total["net_profit"])
    assert found["luck"]["trainings"] == TRIALS
    assert len(found["search"]["steps"]) == 4
    assert {each["feature"] for each in found["importance"]} == set(data.outcome.dataset.feature_ids)


def test_what_is_undefined_is_null(data: TrainingReport) -> None:
    one_class = replace(data, roc=None, precision_recall=None, overfitting=None)
    found = json.loads(report_json(one_class))
    assert found["roc_area"] is None
    assert found["luck"]["pbo"] is None
    page = report_html(one_class)
    assert page.count("All samples are of one class.") == 2
    assert "nothing to divide" in page


def test_nothing_that_did_not_vary_is_drawn(data: TrainingReport) -> None:
    best = data.outcome.best
    assert dependence([best, best], best) is None
    assert "No parameter was varied." in report_html(
        replace(data, outcome=replace(data.outcome, steps=(best,)))
    )


def test_parameters_of_several_kinds_are_drawn(data: TrainingReport) -> None:
    best = data.outcome.best
    steps = [
        replace(best, number=number, parameters={"depth": depth, "kind": kind, "same": 1, "rate": number / 7})
        for number, (depth, kind) in enumerate(((3, "a"), (None, "b"), (12, "a")))
    ]
    drawn = dependence(steps, steps[1])
    assert drawn is not None
    assert list(drawn.layout.xaxis.categoryarray) == ["3", "12", "none"]
    assert list(drawn.layout.xaxis2.categoryarray) == ["a", "b"]
    assert drawn.layout.xaxis3.type is None


def test_a_threshold_beyond_all_probabilities_is_not_marked(data: TrainingReport) -> None:
    beyond = replace(data, outcome=replace(data.outcome, threshold=0.0))
    assert len(thresholds(beyond).layout.shapes) == len(thresholds(data).layout.shapes) - 1


def test_features_that_do_not_vary_are_said_to_be_so(data: TrainingReport) -> None:
    values = data.outcome.dataset.features.copy()
    values[:, 0] = 1.0
    dataset = replace(data.outcome.dataset, features=values)
    flat = replace(data, outcome=replace(data.outcome, dataset=dataset))
    assert "1.000" in features(flat)
    assert distributions(flat).data


def test_failed_steps_are_told(data: TrainingReport) -> None:
    assert "2 steps failed" in report_html(replace(data, outcome=replace(data.outcome, failed=2)))


def test_shap_explains_the_final_forest() -> None:
    _, outcome = planted()
    found = attribution(outcome)
    if isinstance(found, str):
        pytest.skip("the shap extra is not installed")
    assert found.ids[0] in ("volume_pctile_20", "range_atr_14")
    assert found.slope[found.ids.index("volume_pctile_20")] > 0.5
    assert (np.diff(found.mean) <= 0).all()


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch, data: TrainingReport) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    _, outcome = planted()
    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", absent)
        told = attribution(outcome)
    assert told == "SHAP values need the package shap; run scripts/environment.sh requirements-dev.lock."
    assert "requirements-dev.lock" in report_html(replace(data, attribution=told))


def test_other_families_have_no_shap_values() -> None:
    assert "tree models" in str(attribution(with_model({"family": "logistic"})))
    assert "tree models" in str(attribution(with_model({"calibration": "sigmoid"})))


def with_model(changes: dict[str, str]) -> TrainingOutcome:
    _, outcome = planted()
    config = outcome.config.model_copy(update={"model": outcome.config.model.model_copy(update=changes)})
    return replace(outcome, config=config)


def test_two_layouts_of_shap_values_are_read() -> None:
    wide = np.arange(12.0).reshape(2, 3, 2)
    assert report_shap._of_winning(wide).tolist() == wide[:, :, 1].tolist()
    assert report_shap._of_winning(wide[:, :, 0]).tolist() == wide[:, :, 0].tolist()


def test_a_feature_that_stands_still_pushes_nowhere() -> None:
    assert report_shap._rank_correlation(np.ones(5), np.arange(5.0)) == 0.0


def test_direction_and_size_are_in_the_numbers(data: TrainingReport) -> None:
    made = Attribution(ids=("ibs",), mean=np.array([0.1]), slope=np.array([math.nan]))
    found = json.loads(report_json(replace(data, attribution=made)))
    assert found["shap"] == [{"feature": "ibs", "mean": 0.1, "direction": None}]


def test_hostile_names_stay_text(data: TrainingReport) -> None:
    config = data.outcome.config
    assert_escaped(
        report_html, data, data.outcome.dataset.symbol, config.strategy.name, *data.importance.ids[:2],
        next(iter(data.outcome.steps[0].parameters)),
    )  # fmt: skip


def test_a_notebook_shows_the_run_with_its_tables(data: TrainingReport) -> None:
    def render(given: TrainingReport) -> str:
        return report_fragment(given, "v1")

    assert_escaped(render, data, data.outcome.dataset.symbol, data.outcome.config.strategy.name)
    assert len(data.windows_table()) == len(data.windows)
    steps = data.steps_table()
    assert steps["score"].is_monotonic_decreasing
    assert set(steps.index) == {each.number + 1 for each in data.outcome.steps}
