"""Training: 60 search steps x 15 purged splits on 600 samples x 40 features, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Measured
from research.training.config import Model, Search
from research.training.folds import Fold, Run, cross_validate, fold_workers
from research.training.outcome import SearchStep
from research.training.pipeline import Samples
from research.training.search import Diary, Listener, bayesian_search
from research.training.space import Parameters
from research.validation.labels import Labels
from research.validation.purged import CombinatorialPurgedCV

_SAMPLES, _FEATURES, _STEPS, _JOBS = 600, 40, 60, 2
_DAY = 86_400_000_000_000


def samples() -> Samples:
    """Return one signal every five days, held for three, of which one feature says a little."""
    random = np.random.default_rng(1)
    features = random.normal(size=(_SAMPLES, _FEATURES))
    start = _DAY * 5 * np.arange(_SAMPLES, dtype=np.int64)
    return Samples(
        features=features,
        target=(features[:, 0] + random.normal(scale=2.0, size=_SAMPLES) > -0.7).astype(np.int64),
        weight=np.ones(_SAMPLES),
        labels=Labels.of(start, start + 3 * _DAY),
    )


def search() -> Iterator[Measured]:
    """Measure a whole search with the default space of the random forest on two processes."""
    known, model = samples(), Model()
    splits = CombinatorialPurgedCV(6, 2, start=known.labels.start, end=known.labels.end, embargo=5 * _DAY)
    columns = tuple(range(_FEATURES))
    folds = [Fold(train=train, test=test, columns=columns) for train, test in splits.split()]
    in_folds: list[float] = []

    def trial(run: Run, number: int, parameters: Parameters) -> SearchStep:
        begun = time.perf_counter()
        scored = cross_validate(model, parameters, "log_loss", known, folds, run, seed=1, embargo=0)
        in_folds.append(time.perf_counter() - begun)
        return SearchStep(
            number=number,
            parameters=parameters,
            score=float(scored.split_scores.mean()),
            split_scores=scored.split_scores,
            threshold=0.5,
            probabilities=scored.probabilities,
            seconds=in_folds[-1],
        )

    begun = time.perf_counter()
    with fold_workers(_JOBS) as run:
        bayesian_search(
            "benchmark",
            model.searched,
            Search(),
            lambda number, parameters: trial(run, number, parameters),
            trials=_STEPS,
            seed=1,
            diary=Diary(),
            listener=Listener(),
        )
    total = time.perf_counter() - begun
    fitting = sum(in_folds)
    yield Measured(
        what="training search, 60 steps x 15 splits",
        value=total,
        unit="s",
        promise=300.0,
        note=f"{total / _STEPS:.2f} s a step, {fitting / total:.0%} in forests, the rest in the surrogate",
    )


if __name__ == "__main__":
    for found in search():
        print(f"{found.what}: {found.value:.0f} {found.unit} of {found.promise:.0f}; {found.note}")
