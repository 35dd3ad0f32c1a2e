"""The page of a zoo model: its numbers by hand, what it says where something is missing, and the command."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from lockstep.errors import TrainingError
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.loader import load_history
from lockstep.models.store import load_bundle
from research.ledger.agent_tables import AgentOutcomeRow, AgentProposalRow
from research.ledger.append_only import LookRow
from research.ledger.chain import append
from research.statistics.regimes import REGIMES
from research.training.importance import Attribution
from research.zoo import report_data as measuring
from research.zoo.cli import app
from research.zoo.fitting import fit, folds, losses
from research.zoo.journal import WorkerJournal
from research.zoo.report import report_body, write_zoo_report
from research.zoo.report_data import ZooReport, calibration_of_values, report_data
from research.zoo.usage import record_strategy_usage
from research.zoo.zoo import ModelZoo, ZooModel
from support.evidence import NOW
from support.zoo import learning, spec, zoo_of

READ_BY = {3: 1.5, 4: None, 7: -0.25}
BETTER = spec(features=("ibs", "parkinson_20_252", "ret_5"), members=2)


def released(zoo: ModelZoo) -> ZooModel:
    """Register v1, and v2 as its release: by a row as the worker writes it."""
    bars = learning(load_history("COMP", end="2008-12-31"))
    zoo.get_or_create_model(spec(), bars, measured=False)
    model = zoo.get_or_create_model(BETTER, bars, parent="v1", note="with parkinson_20_252")
    journal = WorkerJournal(ledger=zoo.ledger, run="COMP_volatility_h1-1", now=zoo.now)
    reserved = journal.reserve(
        1, "NASDAQ_COMPOSITE", "volatility",
        lambda _: {"level": 0.03, "spec": BETTER.model_dump(mode="json"), "change": "with parkinson_20_252"},
    )  # fmt: skip
    tested = {"loss": 0.123, "champion_loss": 0.234, "z": 3.25, "p_value": 0.0006}
    journal.conclude(1, "COMP", reserved, tested, {"version": "v2"})
    return model


def read_by(zoo: ModelZoo, model: ZooModel) -> None:
    """Write strategies that read a model, with these Sharpe ratios."""
    with zoo.ledger.database.write() as connection:
        for number, sharpe in READ_BY.items():
            proposal = {
                "session_id": 1, "number": number, "kind": "hybrid", "config_hash": "", "content": "{}",
                "recorded": "",
            }  # fmt: skip
            (id,) = append(connection, AgentProposalRow, [proposal])
            row = {
                "proposal_id": id, "status": "evaluated", "fitness": None, "sharpe": sharpe,
                "content": json.dumps(record_strategy_usage({}, {"m": model})), "recorded": "",
            }  # fmt: skip
            append(connection, AgentOutcomeRow, [row])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> ModelZoo:
    found = zoo_of(tmp_path_factory.mktemp("report"))
    read_by(found, released(found))
    return found


@pytest.fixture(scope="module")
def asked(zoo: ModelZoo) -> Callable[..., ZooReport]:
    return lambda *version, **more: report_data(
        zoo.store, zoo.ledger, "COMP", "volatility_h1", *version, now=NOW, **more
    )


@pytest.fixture(scope="module")
def found(asked: Callable[..., ZooReport]) -> ZooReport:
    return asked()


class TestNumbers:
    def test_losses_by_fold_are_those_of_the_record(self, zoo: ModelZoo, found: ZooReport) -> None:
        entry = zoo.store.manifest().entry("COMP", "v2", "volatility_h1")
        judged = found.out_of_fold
        assert judged.found.loss.mean() == pytest.approx(entry.metrics["loss_out_of_fold"], abs=1e-12)
        assert judged.found.constant.mean() == pytest.approx(entry.metrics["loss_of_a_constant"], abs=1e-12)
        assert math.isnan(found.remeasured)
        assert sum(judged.parts) == judged.found.row.size
        assert list(judged.learned) == sorted(judged.learned)
        assert judged.dates.size == judged.regime.size == judged.linear.size == judged.factor.loss.size

    def test_a_loss_that_is_not_the_recorded_one_is_told(
        self, found: ZooReport, asked: Callable[..., ZooReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(measuring, "_same", lambda *_: False)
        other = asked()
        assert other.remeasured == pytest.approx(other.out_of_fold.found.loss.mean())
        assert "code or libraries are others now" in report_body(other)
        assert "code or libraries" not in report_body(found)

    def test_importance_is_the_rise_of_the_loss_by_hand(self, found: ZooReport) -> None:
        """The first fold and feature: shuffled by the same seed, asked of the fold's own model."""
        bars = learning(load_history("COMP", end="2008-12-31"))
        samples = bars.samples(BETTER)
        learned, part = next(folds(samples, 1))
        pipeline, features = fit(BETTER, samples, learned), samples.features[part]
        random = np.random.default_rng([1, 0])
        after = []
        for _ in range(5):
            moved = features.copy()
            moved[:, 0] = random.permutation(moved[:, 0])
            after.append(losses("volatility", pipeline, moved, samples.judged[part]))
        before = losses("volatility", pipeline, features, samples.judged[part])
        rises = measuring._moved(BETTER, pipeline, samples, part, 0)
        assert rises[0] == pytest.approx(np.mean(after, axis=0) - before)
        assert set(found.importance.ids[:2]) == {"parkinson_20_252", "ret_5"}
        assert found.importance.low[0] > 0.0

    def test_shap_values_of_an_ensemble_are_the_mean_of_its_members(
        self, zoo: ModelZoo, found: ZooReport
    ) -> None:
        shap = pytest.importorskip("shap")
        bundle = load_bundle("COMP", "v2", store=zoo.store, name="volatility_h1")
        rows = learning(load_history("COMP", end="2008-12-31")).samples(BETTER).features
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, 300).astype(np.int64))]
        members = bundle.pipeline.steps[-1][1].members_
        assert len(members) == 2
        values = np.mean([shap.TreeExplainer(each).shap_values(chosen) for each in members], axis=0)
        assert isinstance(found.attribution, Attribution)
        expected = dict(zip(bundle.feature_ids, np.abs(values).mean(axis=0), strict=True))
        assert dict(zip(found.attribution.ids, found.attribution.mean, strict=True)) == pytest.approx(
            expected
        )

    def test_usage_equals_a_recount_of_the_readers(self, found: ZooReport) -> None:
        known = [each for each in READ_BY.values() if each is not None]
        assert [each.name for each in found.readers] == ["session 1 #3", "session 1 #7", "session 1 #4"]
        assert found.usage.strategies == len(found.readers) == len(READ_BY)
        assert found.usage.mean_sharpe == pytest.approx(sum(known) / len(known))
        assert found.usage.best == found.readers[0].name

    def test_the_test_of_a_release_is_that_of_its_row(
        self, found: ZooReport, asked: Callable[..., ZooReport]
    ) -> None:
        assert {version: each["loss"] for version, each in found.tests.items()} == {"v2": 0.123}
        assert [each.version for each in found.family] == ["v2", "v1"]
        assert asked("v1").tests == {}, "v1 was asked for"

    def test_values_are_calibrated_by_hand(self) -> None:
        answer, judged = np.array([3.0, 1.0, 2.0, 4.0]), np.array([2.0, 0.0, 1.0, 6.0])
        shown = calibration_of_values(answer, judged, 2)
        assert shown.predicted.tolist() == [1.5, 3.5]
        assert shown.observed.tolist() == [0.5, 4.0]
        assert shown.high - shown.observed == pytest.approx(1.959964 * np.sqrt([0.5, 8.0]) / np.sqrt(2.0))
        assert shown.error == pytest.approx(0.75)


class TestHoldOut:
    def test_the_bundle_is_judged_on_later_bars_and_the_look_is_counted(
        self, zoo: ModelZoo, asked: Callable[..., ZooReport]
    ) -> None:
        later = asked(hold_out=True).hold_out
        assert later is not None
        assert str(later.dates[0]) == "2009-01-02"
        bundle = load_bundle("COMP", "v2", store=zoo.store, name="volatility_h1")
        whole = learning(load_history("COMP"), end="2018-12-31").samples(BETTER)
        row = np.isin(whole.row, later.found.row)
        expected = losses("volatility", bundle.pipeline, whole.features[row], whole.judged[row])
        assert later.found.loss == pytest.approx(expected)

    def test_days_that_a_search_sealed_are_a_look(self, tmp_path: Path) -> None:
        own = zoo_of(tmp_path)
        bars = learning(load_history("COMP", end="2008-12-31"))
        own.get_or_create_model(spec(), bars, measured=False)
        family = load_families().of(bars.history.markets["COMP"].instrument)
        sealed = DateRange.of("2009-01-02", "2012-12-31")
        own.ledger.enact(family, bars.dates, limits={}, holdout=sealed, now=NOW)
        looks = []
        for hold_out in (False, True):
            report_data(own.store, own.ledger, "COMP", "volatility_h1", hold_out=hold_out, now=NOW)
            with own.ledger.database.read() as connection:
                looks.append(len(connection.execute(select(LookRow.__table__)).all()))
        assert looks == [0, 1]


class TestPage:
    def test_it_holds_everything(self, found: ZooReport) -> None:
        body = report_body(found)
        for each in (
            "COMP volatility_h1 v2", "Against the factor score", "range of the last 20 bars", "Loss by fold",
            "Loss by regime", "Calibration", "Permutation importance", "SHAP values", "Lineage",
            "with parkinson_20_252", "0.234", "session 1 #3", "all 3, mean", "nobody looked",
        ):  # fmt: skip
            assert each in body, each
        assert "Hold-out</h" not in body
        names = {
            REGIMES[code] for code in np.unique(found.out_of_fold.regime[~np.isnan(found.out_of_fold.regime)])
        }
        assert len(names) >= 2
        assert all(name.capitalize() in body for name in names)

    def test_equal_bytes_and_no_path(self, found: ZooReport, tmp_path: Path, zoo: ModelZoo) -> None:
        one, other = (write_zoo_report(found, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
        assert one == other
        assert str(zoo.store.folder).encode() not in one

    def test_without_shap_it_says_so_in_one_line(
        self, asked: Callable[..., ZooReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = importlib.import_module

        def absent(name: str, *more: Any) -> Any:
            if name == "shap":
                raise ImportError(name)
            return original(name, *more)

        monkeypatch.setattr(importlib, "import_module", absent)
        told = asked()
        line = "SHAP values need the package shap; run scripts/environment.sh requirements-dev.lock."
        assert told.attribution == line
        assert line in report_body(told)

    def test_nobody_reads_it(self, found: ZooReport) -> None:
        unread = replace(found, readers=(), usage=replace(found.usage, strategies=0))
        assert "No strategy that was evaluated reads this version." in report_body(unread)


@pytest.mark.parametrize(("task", "estimator"), [("direction", "logistic"), ("regime", "random_forest")])
def test_a_chance_has_a_page_too(tmp_path: Path, task: str, estimator: str) -> None:
    """Reliability in per cent, log loss, and exact SHAP values of a linear model."""
    zoo = zoo_of(tmp_path)
    parameters = {"n_estimators": 4, "min_samples_leaf": 20} if estimator == "random_forest" else {"C": 0.1}
    model = spec(task=task, estimator=estimator, parameters=parameters)
    bars = learning(load_history("COMP", end="2008-12-31"))
    zoo.get_or_create_model(model, bars, measured=False)
    found = report_data(zoo.store, zoo.ledger, "COMP", f"{task}_h1", now=NOW)
    assert found.loss_name == "log loss"
    assert 0.0 <= found.calibration.predicted.min() <= found.calibration.predicted.max() <= 1.0
    assert isinstance(found.attribution, Attribution)
    assert "probabilities are right" in report_body(found)
    if estimator == "logistic":
        bundle = load_bundle("COMP", "v1", store=zoo.store, name=f"{task}_h1")
        rows = bars.samples(model).features
        scaled = bundle.pipeline.steps[0][1].transform(rows)
        explained = scaled[np.unique(np.linspace(0, len(rows) - 1, 300).astype(np.int64))]
        values = (explained - scaled.mean(axis=0)) * bundle.pipeline.steps[-1][1].coef_[0]
        expected = dict(zip(bundle.feature_ids, np.abs(values).mean(axis=0), strict=True))
        assert dict(zip(found.attribution.ids, found.attribution.mean, strict=True)) == pytest.approx(
            expected
        )


class TestRefusals:
    def test_other_bars(self, asked: Callable[..., ZooReport], monkeypatch: pytest.MonkeyPatch) -> None:
        original = measuring.bars_of
        monkeypatch.setattr(measuring, "bars_of", lambda *given: original(*given).until(1_000))
        with pytest.raises(TrainingError, match=r"COMP:1d: these bars are not those of the record; give the"):
            asked()

    def test_a_version_that_is_not_there(self, asked: Callable[..., ZooReport]) -> None:
        with pytest.raises(TrainingError, match="no version v9"):
            asked("v9")


def test_the_command_writes_the_page(zoo: ModelZoo, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    database = zoo.ledger.database.engine.url.render_as_string(hide_password=False)
    done = CliRunner().invoke(app, [
        "report", "COMP", "volatility_h1", "--version", "v1", "--out", str(page),
        "--store", str(zoo.store.folder), "--database", database,
    ], catch_exceptions=False)  # fmt: skip
    assert (done.exit_code, done.stdout.strip()) == (0, str(page))
    assert "COMP volatility_h1 v1" in page.read_text()


def test_the_dates_after_the_training_begin_the_day_after(found: ZooReport) -> None:
    assert found.build.dates.end is not None
    assert found.build.dates.end + timedelta(days=1) > found.label_dates[-1].astype(object)
