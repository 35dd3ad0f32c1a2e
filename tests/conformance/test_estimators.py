"""Every estimator: repeats itself, answers with probabilities, comes back from a bundle, refuses no data."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from skopt.space import Space as SkoptSpace

from lockstep.errors import ConfigError, TrainingError, UnfitBundle
from lockstep.models.libraries import require_single_threaded
from lockstep.models.nodes import KINDS, pipeline_node, pipeline_of
from lockstep.models.pickling import pickled, unpickled
from lockstep.models.predictor import predictor
from lockstep.settings import validated
from research.training.config import ModelSettings
from research.training.estimators import ESTIMATORS, decoded, preparation, rounded
from research.training.pipeline import Samples, fit_pipeline, probabilities
from support.toys.estimator import EXTRA_TREES
from support.training import DAY, invented

NAMES = (*ESTIMATORS, EXTRA_TREES.name)
SMALL = {"n_estimators": 20, "max_iter": 20}

every_estimator = pytest.mark.parametrize("family", NAMES)


@pytest.fixture(autouse=True)
def _joined() -> Iterator[None]:
    with ESTIMATORS.joined(EXTRA_TREES):
        yield


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Skip what needs a library that is not everywhere."""
    family = getattr(request.node, "callspec", None) and request.node.callspec.params.get("family")
    if family in ("lightgbm", "xgboost"):
        pytest.importorskip(family)


@functools.cache
def samples() -> Samples:
    return invented(160).samples


def smallest(family: str) -> dict[str, Any]:
    """Return the lower end of every dimension of a search."""
    space = ESTIMATORS[family].space
    point = [0 if each.choice else (each.integer or each.real or (0,))[0] for each in space.values()]
    found = decoded(space, point)
    return {**found, **{name: value for name, value in SMALL.items() if name in found}}


def fitted(family: str, known: Samples | None = None, *, seed: int = 3) -> Any:
    given = samples() if known is None else known
    columns = range(given.features.shape[1])
    return fit_pipeline(
        ModelSettings(family=family), smallest(family), given, columns, seed=seed, embargo=DAY
    )


@functools.cache
def once(family: str) -> Any:
    return fitted(family)


def answers(pipeline: Any) -> bytes:
    return probabilities(pipeline, samples().features).tobytes()


@every_estimator
def test_a_configuration_may_name_it(family: str) -> None:
    found = validated(ModelSettings, {"family": family}, where="model")
    assert found.searched == ESTIMATORS[family].space
    with pytest.raises(ConfigError, match=f"did you mean '{family}'"):
        validated(ModelSettings, {"family": family[:-1]}, where="model")


@every_estimator
def test_it_is_the_same_for_the_same_seed(family: str) -> None:
    assert answers(fitted(family)) == answers(once(family))


@every_estimator
def test_it_learns_and_answers_with_probabilities(family: str) -> None:
    pipeline, known = once(family), samples()
    both = pipeline.predict_proba(known.features)
    assert both.shape == (len(known), 2)
    assert ((both >= 0) & (both <= 1)).all()
    np.testing.assert_allclose(both.sum(axis=1), 1.0, atol=1e-6)
    assert roc_auc_score(known.target, both[:, 1]) > 0.8


@every_estimator
def test_it_heeds_the_weights_of_its_samples(family: str) -> None:
    known = samples()
    doubted = replace(known, weight=np.where(known.features[:, 0] > 0, 5.0, 0.2))
    assert answers(fitted(family, doubted)) != answers(once(family))


@every_estimator
def test_it_runs_on_one_thread(family: str) -> None:
    require_single_threaded(once(family))


@every_estimator
def test_it_comes_back_from_a_bundle_with_the_same_bits(family: str) -> None:
    pipeline = once(family)
    again = pipeline_of(unpickled(pickled(pipeline_node(pipeline)), "x"), "x")
    assert answers(again) == answers(pipeline)
    row = samples().features[:1]
    live = predictor(again).predict_proba(row)
    assert np.asarray(live)[0, 1].tobytes() == pipeline.predict_proba(row)[0, 1].tobytes()
    for each in (ESTIMATORS[family].make(smallest(family), 1), *(step for _, step in preparation(family))):
        assert (type(each).__module__, type(each).__qualname__) in KINDS, "live must be able to load it"


@pytest.mark.parametrize("known", ["no samples", "one class"])
@every_estimator
def test_without_anything_to_learn_it_is_refused(family: str, known: str) -> None:
    given = samples().rows(np.arange(0 if known == "no samples" else 5))
    one_class = replace(given, target=np.ones_like(given.target))
    with pytest.raises(TrainingError, match=r"training samples: all \d+ samples (won|lost): a model needs"):
        fitted(family, one_class)


@every_estimator
def test_every_point_of_its_space_is_decoded(family: str) -> None:
    space = ESTIMATORS[family].space
    for point in SkoptSpace([each.for_search() for each in space.values()]).rvs(100, random_state=1):
        used = rounded(space, point)
        assert rounded(space, used) == used
        for name, value in decoded(space, used).items():
            dimension = space[name]
            if dimension.choice is not None:
                assert value in dimension.choice
            elif value is None:
                assert dimension.or_none
            else:
                low, high = dimension.integer or dimension.real or (0, 0)
                assert low <= value <= high


# --- negative controls


def broken(**changes: Any) -> Any:
    return replace(EXTRA_TREES, name="broken", **changes)


def test_one_that_draws_lots_is_caught() -> None:
    def without_seed(parameters: Any, seed: int) -> Any:
        return ExtraTreesClassifier(**parameters, n_jobs=1, random_state=None)

    with ESTIMATORS.joined(broken(make=without_seed)), pytest.raises(AssertionError):
        test_it_is_the_same_for_the_same_seed("broken")


def test_one_on_several_threads_is_caught() -> None:
    def threaded(parameters: Any, seed: int) -> Any:
        return ExtraTreesClassifier(**parameters, n_jobs=2, random_state=seed)

    once.cache_clear()
    with ESTIMATORS.joined(broken(make=threaded)), pytest.raises(UnfitBundle, match="several threads"):
        test_it_runs_on_one_thread("broken")
    once.cache_clear()
