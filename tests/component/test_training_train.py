"""Nested training: who saw what, the same bundle whatever the workers, trials counted, hold-out sealed."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from lockstep.errors import TrainingError
from lockstep.market.dates import DateRange
from lockstep.models.bundle import bundle_bytes, read_bundle, save_bundle
from lockstep.models.content import sha256_of
from research.ledger.database import Database
from research.ledger.ledger import Ledger, Trials
from research.training.bundling import make_bundle, metrics_of
from research.training.counting import KIND, dates_of, evaluation_id, searched_dates, trainings, trial_counter
from research.training.out_of_sample import open_hold_out
from research.training.outcome import TrainingOutcome
from research.training.pipeline import probabilities
from research.training.search import SearchAttempt, SearchListener
from research.training.steps import StepFolder
from research.training.threshold import choose_threshold
from research.training.train import train
from support.training import NOON, config, invented, invented_config, noon, spx_dataset, spx_history


class Heard(SearchListener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.total = 0
        self.searches: list[str] = []

    def begin(self, steps: int) -> None:
        self.total = steps

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        self.searches.append(search)


@functools.cache
def outcome() -> TrainingOutcome:
    return train(config(), spx_dataset(), seed=4)


@functools.cache
def toy() -> TrainingOutcome:
    return train(invented_config(), invented(), seed=4)


def bundle_hash(found: TrainingOutcome) -> str:
    return sha256_of(bundle_bytes(make_bundle(found, spx_history())))


class TestOutcome:
    def test_what_can_be_learned_is_learned(self) -> None:
        for window in toy().windows:
            won = toy().dataset.target[window.test] == 1
            assert window.probabilities[won].mean() > window.probabilities[~won].mean() + 0.2
        assert metrics_of(toy())["roc_auc_out_of_sample"] > 0.8

    def test_the_best_step_has_the_parameters_and_the_threshold(self) -> None:
        found = outcome()
        assert (found.parameters, found.threshold) == (found.best.parameters, found.best.threshold)
        assert found.best.score == max(step.score for step in found.steps)
        for step in found.steps:
            assert step.score == step.split_scores.mean()
            assert step.split_scores.shape == (6,)

    def test_the_threshold_is_chosen_on_out_of_fold_probabilities(self) -> None:
        found = outcome()
        known = found.dataset.subset(found.development)
        chosen = choose_threshold(found.config.threshold, known, found.best.probabilities)
        assert found.threshold == chosen
        in_sample = probabilities(found.pipeline, known.features)
        assert not np.allclose(in_sample, found.best.probabilities)

    def test_the_pipeline_is_fitted_on_the_development_part_alone(self) -> None:
        found = outcome()
        known = found.dataset.subset(found.development).samples
        again = RandomForestClassifier(**found.parameters, n_jobs=1, random_state=found.seed)
        again.fit(known.features, known.target, sample_weight=known.weight)
        everything = found.dataset.features
        assert again.predict_proba(everything).tobytes() == found.pipeline.predict_proba(everything).tobytes()

    def test_nothing_after_a_window_changes_it(self) -> None:
        found, dataset = toy(), invented()
        last = int(found.windows[0].test[-1])
        target = dataset.target.copy()
        target[last + 1 :] = 1 - target[last + 1 :]
        other = train(invented_config(), replace(dataset, target=target), seed=4).windows
        assert other[0].probabilities.tobytes() == found.windows[0].probabilities.tobytes()
        assert other[-1].probabilities.tobytes() != found.windows[-1].probabilities.tobytes()

    def test_the_hold_out_changes_nothing(self) -> None:
        dataset = invented()
        sealed = toy().hold_out
        target, features = dataset.target.copy(), dataset.features.copy()
        target[sealed], features[sealed] = 1 - target[sealed], 9.0
        other = train(invented_config(), replace(dataset, target=target, features=features), seed=4)
        probe = dataset.features
        assert other.pipeline.predict_proba(probe).tobytes() == toy().pipeline.predict_proba(probe).tobytes()
        assert other.threshold == toy().threshold

    @pytest.mark.no_cover
    def test_selected_ids_are_told(self) -> None:
        model = {**config().model.model_dump(), "feature_selection": {"kind": "mdi", "keep": 2}}
        found = train(invented_config(model=model), invented(), seed=4)
        assert "ibs" in found.selected
        assert len(found.selected) == 2
        assert found.pipeline.named_steps["select"].columns == tuple(
            found.dataset.feature_ids.index(each) for each in found.selected
        )

    @pytest.mark.parametrize("objective", ["roc_auc", "average_precision"])
    def test_ranks_may_be_the_objective(self, objective: str) -> None:
        found = train(invented_config(search={"trials": 1, "objective": objective}), invented(), seed=4)
        assert 0.8 < found.best.score <= 1.0

    def test_progress_is_heard(self) -> None:
        heard = Heard()
        found = train(invented_config(), invented(), seed=4, listener=heard)
        assert heard.total == len(heard.searches) == 3 * (len(found.windows) + 1)
        assert set(heard.searches) == {*(f"window-{each.number}" for each in found.windows), "final"}

    def test_jobs_must_be_a_number_of_processes(self) -> None:
        with pytest.raises(TrainingError, match="jobs 0"):
            train(invented_config(), invented(), jobs=0)


class TestBundle:
    def test_workers_do_not_change_a_bit(self) -> None:
        assert bundle_hash(train(config(), spx_dataset(), seed=4, jobs=2)) == bundle_hash(outcome())

    def test_another_seed_is_another_bundle(self) -> None:
        assert bundle_hash(train(config(), spx_dataset(), seed=5)) != bundle_hash(outcome())

    def test_it_is_read_back_with_what_it_was_trained_on(self, tmp_path: Path) -> None:
        bundle = make_bundle(outcome(), spx_history())
        digest = save_bundle(bundle, tmp_path / "b.joblib")
        found = read_bundle(tmp_path / "b.joblib", expected_sha256=digest, symbol="SPX")
        assert found.strategy["config_hash"] == config().strategy.config_hash
        assert found.training["config_hash"] == config().config_hash
        assert found.training["dataset_hashes"] == spx_dataset().hashes
        assert found.threshold == outcome().threshold
        assert found.feature_ids == spx_dataset().feature_ids

    def test_a_resumed_run_gives_the_same_bundle(self, tmp_path: Path) -> None:
        class Interrupted(StepFolder):
            def keep(self, search: str, number: int, attempt: SearchAttempt) -> None:
                if search == "window-1" and number == 1:
                    raise KeyboardInterrupt
                super().keep(search, number, attempt)

        def count(search: str, attempt: SearchAttempt) -> None:
            pass

        with pytest.raises(KeyboardInterrupt):
            train(config(), spx_dataset(), seed=4, diary=Interrupted(tmp_path, count))
        folder = StepFolder(tmp_path, count)
        assert folder.finished == 4
        assert bundle_hash(train(config(), spx_dataset(), seed=4, diary=folder)) == bundle_hash(outcome())

    def test_metrics_without_both_classes_have_no_rank(self) -> None:
        lucky = replace(toy(), dataset=replace(toy().dataset, target=np.ones_like(toy().dataset.target)))
        assert "roc_auc_out_of_sample" not in metrics_of(lucky)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'ledger.db'}"))


class TestTrials:
    def test_every_step_is_counted_once(self, ledger: Ledger, tmp_path: Path) -> None:
        dataset, settings = invented(), invented_config()
        count = trial_counter(ledger, "SP500", settings, dataset, seed=4, now=noon)
        for _ in range(2):
            train(settings, dataset, seed=4, diary=StepFolder(tmp_path / "none", count))
            StepFolder(tmp_path / "none", count).forget()
        dates = dates_of(dataset, np.arange(len(dataset)))
        assert ledger.count("SP500", dates.start, dates.end) == 3 * (len(toy().windows) + 1)
        assert ledger.count("GOLD", dates.start, dates.end) == 0

    def test_every_training_is_counted_once_however_many_steps_it_has(self, ledger: Ledger) -> None:
        dataset, settings = invented(), invented_config()
        dates = dates_of(dataset, np.arange(len(dataset)))
        for seed in (4, 5, 4):
            count = trial_counter(ledger, "SP500", settings, dataset, seed=seed, now=noon)
            for number in range(3):
                step = SearchAttempt(parameters={"n": number}, step=None, error="ValueError")
                count("final", step)
        assert ledger.count("SP500", dates.start, dates.end) == 6
        assert trainings(ledger, "SP500", dates) == 2
        assert trainings(ledger, "GOLD", dates) == 0
        later = DateRange.of("2030-01-01", "2030-12-31")
        assert trainings(ledger, "SP500", later) == 0

    def test_steps_of_an_earlier_version_count_as_trainings(self, ledger: Ledger) -> None:
        """It is not known which of them belong together."""
        dataset, settings = invented(), invented_config()
        dates = dates_of(dataset, np.arange(len(dataset)))
        steps = {f"{number:032}": "ok" for number in range(5)}
        before = Trials(family="SP500", symbol="SPX", dates=dates, kind=KIND, evaluations=steps)
        ledger.record(before, now=noon() - timedelta(days=1))
        assert trainings(ledger, "SP500", dates) == 5
        trial_counter(ledger, "SP500", settings, dataset, seed=4, now=noon)
        assert trainings(ledger, "SP500", dates) == 6

    def test_a_failed_step_is_counted(self, ledger: Ledger) -> None:
        dataset, settings = invented(), invented_config()
        count = trial_counter(ledger, "SP500", settings, dataset, seed=4, now=noon)
        count("final", SearchAttempt(parameters={"n": 1}, step=None, error="ValueError"))
        dates = searched_dates(settings, dataset)["final"]
        assert ledger.count("SP500", dates.start, dates.end) == 1
        assert KIND == "training"

    def test_a_search_is_counted_over_the_days_that_it_saw(self) -> None:
        found = searched_dates(invented_config(), invented())
        assert found["final"] == dates_of(invented(), toy().development)
        assert found["window-0"].end < found["final"].end

    @pytest.mark.parametrize("change", ["seed", "search", "parameters", "data", "embargo"])
    def test_what_matters_names_the_trial(self, change: str) -> None:
        dataset, settings = invented(), invented_config()
        asked: dict[str, Any] = {
            "config": settings,
            "dataset": dataset,
            "search": "final",
            "attempt": SearchAttempt(parameters={"n": 1}, step=None),
            "seed": 1,
        }
        same = evaluation_id(**asked)
        embargo = {**settings.validation.model_dump(), "embargo_days": 4}
        other = {
            "seed": {"seed": 2},
            "search": {"search": "window-0"},
            "parameters": {"attempt": SearchAttempt(parameters={"n": 2}, step=None)},
            "data": {"dataset": replace(dataset, hashes={**dataset.hashes, "data": "x"})},
            "embargo": {"config": invented_config(validation=embargo)},
        }
        assert evaluation_id(**{**asked, **other[change]}) != same
        more = invented_config(search={"trials": 99}, acceptance={"min_trades": 1})
        assert evaluation_id(**{**asked, "config": more}) == same


class TestHoldOut:
    def test_it_is_opened_once_per_version_and_counted(self, ledger: Ledger) -> None:
        opened = open_hold_out(outcome(), spx_history(), ledger, family="SP500", version="a" * 64, now=NOON)
        assert opened.looks == 1
        assert opened.probabilities.shape == outcome().hold_out.shape
        assert opened.unfiltered["trades"] >= opened.metrics["trades"]
        assert opened.unfiltered["trades"] == outcome().dataset.taken[outcome().hold_out].sum()
        with pytest.raises(TrainingError, match="was opened before"):
            open_hold_out(outcome(), spx_history(), ledger, family="SP500", version="a" * 64, now=NOON)
        second = open_hold_out(outcome(), spx_history(), ledger, family="SP500", version="b" * 64, now=NOON)
        assert second.looks == 2

    def test_a_look_that_was_interrupted_was_a_look(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("research.training.out_of_sample.probabilities", killed)
        with pytest.raises(KeyboardInterrupt):
            open_hold_out(outcome(), spx_history(), ledger, family="SP500", version="v1", now=NOON)
        assert len(ledger.looks("SP500", dates_of(outcome().dataset, outcome().hold_out))) == 1
