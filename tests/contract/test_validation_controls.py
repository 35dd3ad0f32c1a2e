"""Every check on a model has a control: a model that was built to fail exactly that check does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from lockstep.compiled import kernel
from lockstep.features.catalogue import catalogue
from lockstep.features.feature import feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.inputs import Window
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from research.model_validation.case import Champion, ModelCase
from research.model_validation.checks import asked_of, judge_model
from research.training.outcome import OuterWindow
from support.validation_models import (
    KEY,
    HoldOutFound,
    changed,
    fitted,
    planted_case,
    with_acceptance,
    with_answers,
)

NAMES = tuple(each.name for each in asked_of(ModelCase))


@kernel
def _coin() -> float:
    return np.random.random()  # noqa: NPY002 - a compiled kernel has no other


@feature(lookback=1, range=(0, 1), family="test")
def coin(close: Window) -> float:
    """Another number at every call: what no feature may be. Range [0, 1]. Never NaN. Source: none."""
    return _coin() + 0.0 * close[-1]


def foreign_feature() -> ModelCase:
    """Record a feature of an instrument that live does not deliver for this one."""
    case = planted_case()
    own, other = case.history.series(KEY), SeriesKey("GC", DAILY)
    history = History(
        bars={KEY: own, other: replace(own, symbol="GC")},
        markets={**case.history.markets, "GC": load_instruments().market("GC")},
    )
    return replace(recording(case, "rsi_2@GC"), history=history)


def drawn_feature() -> ModelCase:
    """Record a feature that is not a function of its window."""
    case = recording(planted_case(), "coin")
    return replace(case, registry=FeatureRegistry((*catalogue(), coin)))


def recording(case: ModelCase, feature_id: str) -> ModelCase:
    """Return the case of a strategy that records one more feature with each decision."""
    strategy = case.outcome.config.strategy.replaced(features=(feature_id,))
    config = case.outcome.config.model_copy(update={"strategy": strategy})
    return changed(case, outcome=replace(case.outcome, config=config))


def other_probabilities() -> ModelCase:
    """Record golden probabilities that the pipeline does not give."""
    case = planted_case()
    golden = replace(case.bundle.golden, answers=case.bundle.golden.answers + 1e-6)
    return changed(case, bundle=replace(case.bundle, golden=golden))


def few_trades() -> ModelCase:
    return with_acceptance(planted_case(), min_trades=planted_case().account.pnl.size + 1)


def low_sharpe() -> ModelCase:
    return with_acceptance(planted_case(), min_sharpe=planted_case().account.sharpe + 0.01)


def low_profit_factor() -> ModelCase:
    return with_acceptance(planted_case(), min_profit_factor=10.0)


def deep_drawdown() -> ModelCase:
    return with_acceptance(planted_case(), max_drawdown=0.01)


def learned_by_heart() -> ModelCase:
    """Put a model in the bundle that knows its samples by heart; half of each answer to others is a lot."""
    case = planted_case()
    data, config = case.outcome.dataset, case.outcome.config
    model = fitted(config, data, case.outcome.development, leaf=1)
    half = with_answers(case, [0.5 * each.probabilities + 0.5 * lots(each) for each in case.outcome.windows])
    return changed(half, outcome=replace(half.outcome, pipeline=model))


def lots(window: OuterWindow) -> Floats:
    """Return the window's answers in another order."""
    return np.random.default_rng([1, window.number]).permutation(window.probabilities)


def many_trials() -> ModelCase:
    return replace(planted_case(), trials=10**13)


def one_feature() -> ModelCase:
    """Fit the bundle on one column; the others are there and read by nobody."""
    case = planted_case()
    return changed(case, outcome=replace(case.outcome, pipeline=only(case, "volume_pctile_20")))


def calendar() -> ModelCase:
    """Fit the bundle on labels that are largely a matter of the weekday."""
    case = with_acceptance(planted_case(), max_importance_share=1.0)
    data = case.outcome.dataset
    weekday = data.features[:, data.feature_ids.index("day_of_week")]
    dated = replace(data, target=np.where(weekday < 2, 1, data.target))
    model = fitted(case.outcome.config, dated, case.outcome.development, leaf=30)
    return changed(case, outcome=replace(case.outcome, pipeline=model))


def only(case: ModelCase, name: str) -> object:
    data = case.outcome.dataset
    features = np.zeros_like(data.features)
    column = data.feature_ids.index(name)
    features[:, column] = data.features[:, column]
    return fitted(case.outcome.config, replace(data, features=features), case.outcome.development, leaf=30)


def seen_test() -> ModelCase:
    """Train every window on its own test samples too: the walls between the folds have a hole."""
    case = planted_case()
    leaking = tuple(
        replace(each, train=each.test, parameters={"n_estimators": 20, "min_samples_leaf": 1})
        for each in case.outcome.windows
    )
    return changed(case, outcome=replace(case.outcome, windows=leaking))


def decided() -> ModelCase:
    """Answer 0 or 1 and nothing between."""
    case = planted_case()
    return with_answers(case, [np.round(each.probabilities) for each in case.outcome.windows])


def constant_model() -> ModelCase:
    """Put a bundle beside the walk-forward that gives every trade the same chance."""
    case = planted_case()
    data = case.outcome.dataset
    model = DummyClassifier(strategy="prior").fit(data.features, data.target)
    return changed(case, outcome=replace(case.outcome, pipeline=model))


def little_decided() -> ModelCase:
    """Ask for a veto that stops nearly half and lets nearly half through."""
    return with_acceptance(planted_case(), min_veto_share=0.45)


def timid() -> ModelCase:
    """Pull every answer towards one half: the same order, the same trades, chances that are too cautious."""
    case = planted_case()
    return with_answers(case, [0.5 + 0.5 * (each.probabilities - 0.5) for each in case.outcome.windows])


def better_champion() -> ModelCase:
    """Keep something in production that earns more on every session."""
    case = planted_case()
    ours = case.account
    better = replace(ours, equity=ours.equity + 120.0 * np.arange(1, ours.equity.size + 1))
    return replace(case, champion=Champion(version="v0", account=better, how="its own outer walk-forward"))


def losing_hold_out() -> ModelCase:
    return replace(planted_case(), hold_out=lambda _: HoldOutFound(sharpe=-0.5))


# What each control builds, and which other checks cannot but fail with it: they measure the same thing.
CONTROLS: dict[str, tuple[Callable[[], ModelCase], frozenset[str]]] = {
    "live feeds": (foreign_feature, frozenset()),
    "streaming equals batch": (drawn_feature, frozenset()),
    "golden vectors": (other_probabilities, frozenset()),
    "gain": (lambda: with_acceptance(planted_case(), min_gain=0.5), frozenset()),
    "random veto": (lambda: with_acceptance(planted_case(), max_random_veto_p=0.0005), frozenset()),
    "ROC area": (lambda: with_acceptance(planted_case(), max_area_p=0.0), frozenset()),
    "gain kept": (learned_by_heart, frozenset()),
    "trades": (few_trades, frozenset()),
    "Sharpe ratio": (low_sharpe, frozenset()),
    "profit factor": (low_profit_factor, frozenset()),
    "drawdown": (deep_drawdown, frozenset()),
    "challenger": (better_champion, frozenset()),
    "deflated Sharpe": (many_trials, frozenset()),
    "shuffled labels": (seen_test, frozenset()),
    "share vetoed": (little_decided, frozenset()),
    "calibration": (timid, frozenset()),
    "Brier skill": (lambda: with_acceptance(planted_case(), min_brier_skill=0.5), frozenset()),
    "spread of probabilities": (constant_model, frozenset(("gain kept", "no single feature"))),
    "undecided probabilities": (decided, frozenset(("calibration", "Brier skill"))),
    "no single feature": (one_feature, frozenset()),
    "no calendar artefact": (calendar, frozenset()),
    "hold-out": (losing_hold_out, frozenset()),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_control_fails_its_check_and_no_other(name: str) -> None:
    build, related = CONTROLS[name]
    refused = {each.name for each in judge_model(build()).refusals}
    # A model that is refused anyway leaves the hold-out sealed.
    assert refused == {name, "hold-out"} | related


def test_every_check_has_a_control() -> None:
    assert tuple(CONTROLS) == NAMES


def test_a_veto_that_draws_lots_keeps_the_strategys_edge_and_is_refused() -> None:
    """As many signals pass as before, and the filtered strategy earns: only the comparison tells."""
    case = planted_case()
    drawn = with_answers(case, [lots(each) for each in case.outcome.windows])
    refused = {each.name for each in judge_model(drawn).refusals}
    assert {"gain", "random veto", "ROC area", "gain kept", "deflated Sharpe", "Brier skill"} <= refused
    assert not refused & {"trades", "Sharpe ratio", "profit factor", "drawdown", "share vetoed"}


def test_a_deserving_model_passes_every_check() -> None:
    verdict = judge_model(planted_case())
    assert verdict.passed, str(verdict)
    for each in verdict.checks:
        assert len(each.sentence.split()) >= 3, f"{each.name}: a verdict has a reason"
        assert "nan" not in each.sentence.split(), each.sentence
    assert tuple(each.name for each in verdict.checks) == NAMES
