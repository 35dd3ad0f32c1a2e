"""A model that deserves to pass: bars with a planted edge, and everything that training would leave of it.

On the planted bars a buy at a weak close earns what volume, range and the close before it say, plus noise.
The outcome is put together by hand with small forests, so that a test can spoil exactly one thing in it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars, Stamps
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats, Integers
from lockstep.models.bundle import Bundle
from lockstep.models.golden import GoldenVectors, golden_vectors
from lockstep.strategy.families.ibs import IbsConfig
from research.model_validation.case import ModelCase
from research.splits.purged import CombinatorialPurgedCV
from research.training.config import TrainingConfig
from research.training.dataset import Dataset, build_dataset
from research.training.outcome import OuterWindow, SearchStep, TrainingOutcome
from research.training.pipeline import fit_pipeline
from research.training.scheme import embargo_of

SYMBOL = "SPX"
KEY = SeriesKey(SYMBOL, DAILY)
IDS = ("volume_pctile_20", "range_atr_14", "ibs_prev", "day_of_week", "ret_5")
DAY = 86_400_000_000_000
TREES = 25
SEED = 3
HOLD_OUT_DATES = DateRange(start=date(2016, 1, 4), end=date(2016, 12, 30))


@dataclass(frozen=True, kw_only=True)
class HoldOutFound:
    """What a hold-out said."""

    sharpe: float = 1.0
    looks: int = 1
    p_value: float = 0.01
    dates: DateRange = HOLD_OUT_DATES


def planted_history(edge: float = 0.02, seed: int = 2, bars: int = 2_600) -> History:
    """Return daily bars on which `edge` is what one unit of the three planted features earns the next day."""
    real = load_history(SYMBOL, timeframe=DAILY)
    end = real.series(KEY).end[:bars]
    draw = np.random.default_rng(seed)
    volume, span, place = (draw.uniform(size=end.size) for _ in range(3))
    before = np.concatenate(([0.5], place[:-1]))
    known = (1.1 * volume + 1.0 * span + before - 1.55) * (place < 0.35)
    move = edge * np.concatenate(([0.0], known[:-1])) + draw.normal(0.0, 0.006, end.size)
    return drawn_history(end, move, volume=volume, span=span, place=place)


def drawn_history(end: Stamps, move: Floats, *, volume: Floats, span: Floats, place: Floats) -> History:
    """Return daily bars that move so, (n,) each; `span`: their range, `place`: of the close in it."""
    close = 1_000.0 * np.exp(np.cumsum(move - move.mean()))
    open_ = np.concatenate(([1_000.0], close[:-1]))
    width = close * (0.006 + 0.012 * span)
    drawn = Bars(
        symbol=SYMBOL,
        timeframe=DAILY,
        end=end,
        open=open_,
        high=np.maximum(close + (1 - place) * width, np.maximum(open_, close)),
        low=np.minimum(close - place * width, np.minimum(open_, close)),
        close=close,
        volume=1_000.0 * (0.5 + volume),
        source="drawn",
    )
    return History(bars={KEY: drawn}, markets=load_instruments().markets)


def training_config(**changes: Any) -> TrainingConfig:
    """Return a configuration whose trades last one bar: bought at a weak close, sold at the next."""
    content: dict[str, Any] = {
        "symbol": SYMBOL,
        "strategy": {"name": "planted", "entry": [0.0, 0.35], "exit": [0.0, 1.0]},
        "features": {"ids": list(IDS)},
        "hold_out": {"share": 0.15},
        **changes,
    }
    return TrainingConfig.model_validate(content)


def parameters(leaf: int) -> dict[str, Any]:
    grown = {"max_depth": None, "max_samples": 1.0, "class_weight": None}
    return {"n_estimators": TREES, "min_samples_leaf": leaf, "max_features": "sqrt", **grown}


def fitted(config: TrainingConfig, data: Dataset, rows: Integers, leaf: int) -> Pipeline:
    return fit_pipeline(
        config.model,
        parameters(leaf),
        data.subset(rows).samples,
        range(len(data.feature_ids)),
        seed=SEED,
        embargo=embargo_of(config),
    )


def step(config: TrainingConfig, data: Dataset, rows: Integers, number: int, leaf: int) -> SearchStep:
    """Evaluate one configuration by purged combinations; its threshold is 0.5."""
    splitter = CombinatorialPurgedCV(4, 1, start=data.decision[rows], end=data.exit[rows], embargo=DAY)
    chances, scores = np.zeros(rows.size), []
    for train, test in splitter.split():
        answers = fitted(config, data, rows[train], leaf).predict_proba(data.features[rows[test]])[:, 1]
        chances[test] = answers
        scores.append(-float(np.mean((answers - data.target[rows[test]]) ** 2)))
    return SearchStep(
        number=number,
        parameters=parameters(leaf),
        score=float(np.mean(scores)),
        split_scores=np.array(scores),
        threshold=0.5,
        probabilities=chances,
        seconds=0.0,
    )


def window(
    config: TrainingConfig, data: Dataset, number: int, train: Integers, test: Integers, leaf: int
) -> OuterWindow:
    model = fitted(config, data, train, leaf)
    return OuterWindow(
        number=number,
        train=train,
        test=test,
        steps=(),
        parameters=parameters(leaf),
        threshold=0.5,
        selected=data.feature_ids,
        probabilities=model.predict_proba(data.features[test])[:, 1],
    )


def outcome_of(config: TrainingConfig, data: Dataset, windows: int = 4, leaf: int = 30) -> TrainingOutcome:
    """Return what a small training run would have found."""
    develop = np.arange(int(len(data) * 0.85))
    parts = np.array_split(develop, windows + 2)
    outer = tuple(
        window(config, data, number, np.concatenate(parts[: number + 2])[:-1], parts[number + 2], leaf)
        for number in range(windows)
    )
    leaves = (leaf, 2 * leaf, leaf // 2, 3 * leaf)
    steps = tuple(step(config, data, develop, number, each) for number, each in enumerate(leaves))
    best = max(steps, key=lambda each: each.score)
    return TrainingOutcome(
        config=config,
        dataset=data,
        development=develop,
        hold_out=np.arange(develop.size, len(data)),
        windows=outer,
        steps=steps,
        parameters=best.parameters,
        threshold=0.5,
        selected=data.feature_ids,
        pipeline=fitted(config, data, develop, int(best.parameters["min_samples_leaf"])),
        seed=SEED,
    )


def bundle_of(outcome: TrainingOutcome, history: History) -> Bundle:
    """Return the bundle of an outcome."""
    data, strategy = outcome.dataset, outcome.config.strategy
    registry = default_registry()
    return Bundle(
        symbol=data.symbol,
        pipeline=outcome.pipeline,
        feature_ids=data.feature_ids,
        fingerprints={each: registry.fingerprint(each) for each in data.feature_ids},
        strategy=strategy_content(strategy),
        threshold=outcome.threshold,
        training={"range": ["2008-01-02", "2016-12-30"], "seed": outcome.seed},
        metrics={},
        golden=golden_of(outcome, history),
        version="v1",
    )


def strategy_content(strategy: IbsConfig) -> dict[str, Any]:
    return {
        "family": "IbsConfig",
        "config": strategy.model_dump(mode="json"),
        "config_hash": strategy.config_hash,
    }


def golden_of(outcome: TrainingOutcome, history: History) -> GoldenVectors:
    data, strategy = outcome.dataset, outcome.config.strategy
    return golden_vectors(
        history,
        SeriesKey(data.symbol, strategy.bars),
        data.feature_ids,
        outcome.pipeline,
        data.decision[-8:],
        strategy.max_age.limits,
    )


@functools.cache
def planted() -> tuple[History, TrainingOutcome]:
    """Return the planted bars and the training run on them; they are made once."""
    history = planted_history()
    config = training_config()
    return history, outcome_of(config, build_dataset(config, history))


@functools.cache
def planted_case() -> ModelCase:
    """Return the case that passes every check."""
    history, outcome = planted()
    return ModelCase(
        bundle=bundle_of(outcome, history),
        outcome=outcome,
        history=history,
        trials=len(outcome.steps),
        hold_out=lambda may_open: HoldOutFound() if may_open else None,
    )


def changed(case: ModelCase, **changes: Any) -> ModelCase:
    """Return the case with other parts; an outcome brings its pipeline and strategy into the bundle."""
    if "outcome" in changes:
        outcome, strategy = changes["outcome"], changes["outcome"].config.strategy
        golden = case.bundle.golden
        if outcome.pipeline is not case.outcome.pipeline:
            golden = golden_of(outcome, case.history)
        changes["bundle"] = replace(
            case.bundle,
            pipeline=outcome.pipeline,
            strategy=strategy_content(strategy),
            threshold=outcome.threshold,
            golden=golden,
        )
    return replace(case, **changes)


def with_acceptance(case: ModelCase, **limits: Any) -> ModelCase:
    """Return the case with other limits."""
    config = case.outcome.config
    acceptance = config.acceptance.model_copy(update=limits)
    return changed(
        case, outcome=replace(case.outcome, config=config.model_copy(update={"acceptance": acceptance}))
    )


def with_answers(case: ModelCase, answers: list[Floats]) -> ModelCase:
    """Return the case whose walk-forward windows answered this."""
    windows = tuple(
        replace(each, probabilities=values)
        for each, values in zip(case.outcome.windows, answers, strict=True)
    )
    return changed(case, outcome=replace(case.outcome, windows=windows))
