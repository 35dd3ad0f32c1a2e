"""The median rule: what is hopeless stops, alike on any number of workers and after an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from lockstep.metrics import Floats
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.splits.purged import CombinatorialPurgedCV
from research.training import search
from research.training.config import ModelSettings, SearchSettings
from research.training.counting import trial_counter
from research.training.estimators import Dimension, Parameters
from research.training.outcome import SearchStep
from research.training.scheme import Fold, FoldRunner, Scored, cross_validate, evaluation_order, fold_workers
from research.training.search import Diary, SearchAttempt, SearchListener, bayesian_search
from research.training.steps import StepFolder
from research.training.stopping import Hopeless, MedianRule, Stopped, first_check, never, spread
from research.training.train import best_of, train
from support.training import DAY, invented, invented_config, noon

SPLITS = 15
POINT = {
    "n_estimators": 5, "max_depth": 3, "min_samples_leaf": 5, "max_features": "sqrt", "max_samples": 0.8,
    "class_weight": None,
}  # fmt: skip


def ruled(*levels: float) -> MedianRule:
    """Return a rule that knows steps of constant scores."""
    rule = MedianRule(range(SPLITS))
    for level in levels:
        rule.complete(np.full(SPLITS, level))
    return rule


class TestRule:
    def test_what_is_below_the_median_stops_after_a_third(self) -> None:
        rule = ruled(-0.5, -0.6, -0.7, -0.8, -0.9)
        assert first_check(SPLITS) == 5
        assert not rule.hopeless(np.full(4, -0.8))
        assert rule.hopeless(np.full(5, -0.8))
        assert rule.hopeless(np.full(14, -0.701))

    def test_what_is_not_below_it_goes_on_and_the_last_split_stops_nothing(self) -> None:
        rule = ruled(-0.5, -0.6, -0.7, -0.8, -0.9)
        assert not rule.hopeless(np.full(5, -0.7))
        assert not rule.hopeless(np.full(5, -0.6))
        assert not rule.hopeless(np.full(SPLITS, -9.0))

    def test_a_few_must_be_complete_before(self) -> None:
        assert not ruled(-0.5, -0.5, -0.5, -0.5).hopeless(np.full(5, -9.0))
        assert ruled(-0.5, -0.5, -0.5, -0.5, -0.5).hopeless(np.full(5, -9.0))

    def test_it_compares_the_same_splits_in_the_order_of_evaluation(self) -> None:
        order = [*range(10, SPLITS), *range(10)]
        rule = MedianRule(order)
        for _ in range(5):
            rule.complete(np.where(np.arange(SPLITS) >= 10, -0.9, -0.1))
        assert not rule.hopeless(np.full(5, -0.8))
        assert rule.hopeless(np.concatenate((np.full(5, -0.9), np.full(5, -0.5))))

    def test_the_surrogate_is_not_flattered(self) -> None:
        rule = MedianRule(range(SPLITS))
        # The first splits are easy: everybody loses 0.2 afterwards.
        easy = np.where(np.arange(SPLITS) < 5, -0.4, -0.7)
        for level in (0.0, 0.0, 0.0, -0.1, -0.2):
            rule.complete(easy + level)
        told = rule.estimate(Stopped(scores=np.full(5, -0.45)))
        assert told == pytest.approx(-0.45 - 0.2)
        assert told < easy.mean()
        # Hard first splits would lift it above the completed: it is held at their median.
        hard = MedianRule(range(SPLITS))
        for _ in range(5):
            hard.complete(np.where(np.arange(SPLITS) < 5, -0.9, -0.3))
        assert hard.estimate(Stopped(scores=np.full(5, -0.9))) == pytest.approx(-0.5)

    def test_early_splits_cover_all_of_history(self) -> None:
        start = DAY * 5 * np.arange(240, dtype=np.int64)
        splits = list(CombinatorialPurgedCV(6, 2, start=start, end=start + DAY, embargo=0).split())
        tested = [test for _, test in splits]
        order = spread(tested, 240)
        assert sorted(order) == list(range(SPLITS))
        assert np.unique(np.concatenate([tested[each] for each in order[:3]])).size == 240
        # As they come, the first third is about the first group in every split.
        assert all(0 in each for each in tested[:5])


def folds(samples: int) -> list[Fold]:
    labels = invented(samples).labels
    splits = CombinatorialPurgedCV(6, 2, start=labels.start, end=labels.end, embargo=DAY).split()
    return [Fold(train=train, test=test, columns=(0, 1, 2, 3)) for train, test in splits]


def evaluated(run: FoldRunner, hopeless: Hopeless) -> Scored | Stopped:
    return cross_validate(
        ModelSettings(), POINT, "log_loss", invented(120).samples, folds(120), run, seed=3, embargo=DAY,
        hopeless=hopeless,
    )  # fmt: skip


@pytest.fixture
def alone() -> Iterator[FoldRunner]:
    with fold_workers(1) as run:
        yield run


class TestFolds:
    def test_what_stops_does_not_depend_on_the_workers(self, alone: FoldRunner) -> None:
        whole = evaluated(alone, never)
        assert isinstance(whole, Scored)
        order = evaluation_order(folds(120), 120)
        with fold_workers(2) as pair:
            assert (alone.workers, pair.workers) == (1, 2)
            for run, last in product((alone, pair), (5, 6, 7, 14)):
                found = evaluated(run, lambda scores, last=last: scores.size == last)  # type: ignore[misc]
                assert isinstance(found, Stopped)
                assert found.scores.tobytes() == whole.split_scores[order[:last]].tobytes()

    def test_a_step_that_is_watched_and_goes_on_has_the_same_bits(self, alone: FoldRunner) -> None:
        asked: list[int] = []

        def watched(scores: Floats) -> bool:
            asked.append(scores.size)
            return False

        whole, found = evaluated(alone, never), evaluated(alone, watched)
        assert isinstance(whole, Scored)
        assert isinstance(found, Scored)
        assert asked == list(range(1, SPLITS + 1))
        assert found.split_scores.tobytes() == whole.split_scores.tobytes()
        assert found.probabilities.tobytes() == whole.probabilities.tobytes()


SPACE = {"x": Dimension(real=(-2.0, 2.0)), "kind": Dimension(choice=("good", "bad"))}


def hill(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep | Stopped:
    """Climb a hill at x = 0.7 on the good side, on splits of which the first are easier."""
    level = -((parameters["x"] - 0.7) ** 2) - (parameters["kind"] == "bad")
    scores = level - 0.01 * np.arange(SPLITS)
    for done in range(1, SPLITS + 1):
        if hopeless(scores[:done]):
            return Stopped(scores=scores[:done])
    return SearchStep(
        number=number, parameters=parameters, score=float(scores.mean()), split_scores=scores,
        threshold=0.5, probabilities=np.zeros(1), seconds=0.0,
    )  # fmt: skip


class Heard(SearchListener):
    def __init__(self) -> None:
        self.attempts: list[SearchAttempt] = []

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        self.attempts.append(attempt)


def searched(
    trial: Any = hill, *, diary: Diary | None = None, stop: bool = True
) -> tuple[tuple[SearchStep, ...], list[SearchAttempt]]:
    heard = Heard()
    steps = bayesian_search(
        "toy", SPACE, SearchSettings(initial=24), trial, trials=24, seed=5, diary=diary or Diary(),
        listener=heard, rule=MedianRule(range(SPLITS)) if stop else None,
    )  # fmt: skip
    return steps, heard.attempts


class TestSearch:
    def test_hopeless_steps_stop_and_the_best_is_found_all_the_same(self) -> None:
        full, _ = searched(stop=False)
        steps, attempts = searched()
        stopped = [each for each in attempts if each.stopped is not None]
        assert len(steps) + len(stopped) == len(attempts) == 24
        assert len(stopped) >= 6
        assert all(each.stopped is not None and each.stopped.scores.size >= 5 for each in stopped)
        assert best_of(steps).score > best_of(full).score - 0.02

    def test_an_interrupted_search_stops_the_same_steps(self, tmp_path: Path) -> None:
        folder = StepFolder(tmp_path / "steps", lambda search, attempt: None)

        def killed(number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep | Stopped:
            if number == 15:
                raise KeyboardInterrupt
            return hill(number, parameters, hopeless)

        with pytest.raises(KeyboardInterrupt):
            searched(killed, diary=folder)
        _, whole = searched()
        _, resumed = searched(diary=folder)
        assert any(each.stopped is not None for each in whole[:15])
        assert [dict(each.parameters) for each in resumed] == [dict(each.parameters) for each in whole]
        for one, other in zip(resumed, whole, strict=True):
            assert (one.stopped is None) == (other.stopped is None)
            if one.stopped is not None and other.stopped is not None:
                assert one.stopped.scores.tobytes() == other.stopped.scores.tobytes()

    def test_the_surrogate_hears_of_stopped_steps_no_better_than_the_median(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[float] = []
        made = search._optimizer

        class Hearing:
            def __init__(self, *arguments: Any) -> None:
                self._own = made(*arguments)

            def ask(self) -> Any:
                return self._own.ask()

            def tell(self, point: Any, cost: float) -> None:
                told.append(cost)
                self._own.tell(point, cost)

        monkeypatch.setattr(search, "_optimizer", Hearing)
        _, attempts = searched()
        complete: list[float] = []
        heard_of_stopped = 0
        for attempt, cost in zip(attempts, told, strict=False):
            if attempt.step is not None:
                assert cost == -attempt.step.score
                complete.append(cost)
            elif attempt.stopped is not None:
                heard_of_stopped += 1
                assert cost >= np.median(complete)
                # The splits that were left out are the hard ones: its mean so far would flatter.
                assert cost > -attempt.stopped.scores.mean()
        assert heard_of_stopped >= 6


class TestTraining:
    def test_stopped_steps_are_trials_and_are_told(self, tmp_path: Path) -> None:
        settings = invented_config(search={"trials": 8, "initial": 8})
        database = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
        count = trial_counter(Ledger(database), "us", settings, invented(), seed=4, now=noon)
        found = train(settings, invented(), seed=4, diary=StepFolder(tmp_path / "steps", count))
        searches = len(found.windows) + 1
        completed = len(found.steps) + sum(len(each.steps) for each in found.windows)
        assert found.stopped >= searches // 2
        assert completed + found.stopped == 8 * searches
        with database.read() as connection:
            rows = connection.execute(text("select status, count(*) from ledger group by status")).all()
        assert [tuple(each) for each in rows] == [("ok", len({*_trials(tmp_path)}))]

    def test_none_carries_every_step_to_its_end(self) -> None:
        settings = invented_config(search={"trials": 8, "initial": 8, "stop": "none"})
        found = train(settings, invented(), seed=4)
        assert (found.stopped, len(found.steps)) == (0, 8)


def _trials(folder: Path) -> list[str]:
    return [path.name for path in (folder / "steps").iterdir()]
