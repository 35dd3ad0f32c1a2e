"""Training: 60 search steps x 15 purged splits on 600 samples x 40 features, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmarks.measure import Measured, ratio
from research.splits.labels import Labels
from research.splits.purged import CombinatorialPurgedCV
from research.training.config import ModelSettings, SearchSettings
from research.training.estimators import Parameters
from research.training.outcome import SearchStep
from research.training.pipeline import Samples, forest_answers
from research.training.scheme import Fold, FoldRunner, cross_validate, evaluation_order, fold_workers
from research.training.search import Diary, SearchAttempt, SearchListener, bayesian_search
from research.training.stopping import Hopeless, MedianRule, Stopped
from research.training.train import best_of

_SAMPLES, _FEATURES, _STEPS, _JOBS = 600, 40, 60, 2
_DAY = 86_400_000_000_000


def samples(seed: int = 1) -> Samples:
    """Return one signal every five days, held for three, of which one feature says a little."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(_SAMPLES, _FEATURES))
    start = _DAY * 5 * np.arange(_SAMPLES, dtype=np.int64)
    return Samples(
        features=features,
        target=(features[:, 0] + random.normal(scale=2.0, size=_SAMPLES) > -0.7).astype(np.int64),
        weight=np.ones(_SAMPLES),
        labels=Labels.of(start, start + 3 * _DAY),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """A whole search: its completed steps, how many were stopped, seconds in all and in forests."""

    steps: Sequence[SearchStep]
    stopped: int
    seconds: float
    in_folds: float

    @property
    def best(self) -> SearchStep:
        """The step that won."""
        return best_of(self.steps)


class _Tally(SearchListener):
    def __init__(self) -> None:
        self.stopped = 0

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        self.stopped += attempt.stopped is not None


@dataclass(frozen=True)
class _Trial:
    """Evaluates one step and notes how long it took."""

    known: Samples
    folds: Sequence[Fold]
    run: FoldRunner
    took: list[float]

    def __call__(self, number: int, parameters: Parameters, hopeless: Hopeless) -> SearchStep | Stopped:
        begun = time.perf_counter()
        scored = cross_validate(
            ModelSettings(), parameters, "log_loss", self.known, self.folds, self.run, seed=1, embargo=0,
            hopeless=hopeless,
        )  # fmt: skip
        self.took.append(time.perf_counter() - begun)
        if isinstance(scored, Stopped):
            return scored
        return SearchStep(
            number=number,
            parameters=parameters,
            score=float(scored.split_scores.mean()),
            split_scores=scored.split_scores,
            threshold=0.5,
            probabilities=scored.probabilities,
            seconds=self.took[-1],
        )


def searched(seed: int, *, stop: bool, trials: int = _STEPS) -> Searched:
    """Run a search with the default space of the random forest on two processes."""
    known, settings = samples(seed), SearchSettings()
    splits = CombinatorialPurgedCV(6, 2, start=known.labels.start, end=known.labels.end, embargo=5 * _DAY)
    columns = tuple(range(_FEATURES))
    folds = [Fold(train=train, test=test, columns=columns) for train, test in splits.split()]
    tally = _Tally()
    took: list[float] = []
    begun = time.perf_counter()
    with fold_workers(_JOBS) as run:
        steps = bayesian_search(
            "benchmark", ModelSettings().searched, settings, _Trial(known, folds, run, took), trials=trials,
            seed=seed, diary=Diary(), listener=tally,
            rule=MedianRule(evaluation_order(folds, len(known))) if stop else None,
        )  # fmt: skip
    return Searched(
        steps=steps, stopped=tally.stopped, seconds=time.perf_counter() - begun, in_folds=sum(took)
    )


def search() -> Iterator[Measured]:
    """Measure a whole search, hopeless steps stopped."""
    found = searched(1, stop=True)
    yield Measured(
        what="training search, 60 steps x 15 splits",
        value=found.seconds,
        unit="s",
        promise=150.0,
        note=f"{found.stopped} steps stopped, {found.in_folds / found.seconds:.0%} in forests, the rest in "
        "the surrogate",
    )


def forests() -> Iterator[Measured]:
    """Measure forests that only answer against scikit-learn's, at two ends of the default space."""
    known = samples()
    parts = (known.features[:400], known.target[:400], known.weight[:400])
    for name, leaf, depth in (("shallow", 50, 4), ("deep", 5, None)):
        parameters: Parameters = {
            "n_estimators": 200, "max_depth": depth, "min_samples_leaf": leaf, "max_features": "sqrt",
            "max_samples": 0.7, "class_weight": None,
        }  # fmt: skip
        forest = RandomForestClassifier(**parameters, n_jobs=1, random_state=1)
        value, theirs, ours = ratio(
            lambda forest=forest: forest.fit(*parts).predict_proba(known.features[400:]),
            lambda asked=parameters: forest_answers(asked, *parts, known.features[400:], seed=1),
        )
        note = f"{ours * 1e3:.0f} ms instead of {theirs * 1e3:.0f} ms for 200 trees"
        yield Measured(
            what=f"{name} forests of a search / scikit-learn", value=value, unit="x faster", promise=1.5,
            note=note, more_is_better=True,
        )  # fmt: skip


def stopping(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Search `count` histories with and without the median rule; return what was found, and whether it holds.

    It holds where the score of the step that the rule's search chose is within one standard error (of the
    splits) of the full search's.
    """
    found: dict[str, Any] = {}
    good = True
    for each in range(seed, seed + count):
        full, ruled = (searched(each, stop=stop) for stop in (False, True))
        error = float(full.best.split_scores.std(ddof=1) / full.best.split_scores.size**0.5)
        behind = (full.best.score - ruled.best.score) / error
        good &= behind <= 1.0
        found[f"seed {each}"] = {
            "full": round(full.best.score, 5),
            "with the rule": round(ruled.best.score, 5),
            "behind, in standard errors": round(behind, 3),
            "stopped": ruled.stopped,
            "seconds full": round(full.seconds, 1),
            "seconds with the rule": round(ruled.seconds, 1),
        }
        print(found[f"seed {each}"], flush=True)
    return found, good


if __name__ == "__main__":
    for measured in (*forests(), *search()):
        print(
            f"{measured.what}: {measured.value:.3g} {measured.unit} of {measured.promise:g}; {measured.note}"
        )
