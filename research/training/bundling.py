"""The bundle of a training run: nothing in it depends on when, where or by whom it was trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.identity import training_versions
from lockstep.market.history import History, SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.models.golden import golden_vectors
from lockstep.strategy.bundled import bundled_strategy
from research.training.dataset import dates_of
from research.training.outcome import TrainingOutcome
from research.training.threshold import SCORES, taken_trades

_GOLDEN = 8


def make_bundle(
    outcome: TrainingOutcome, history: History, *, registry: FeatureRegistry | None = None
) -> Bundle:
    """Return the bundle: pipeline, ids, threshold, what it was trained on, its measures, golden vectors.

    The golden vectors are those of the last samples before the hold-out.
    """
    registry = registry or default_registry()
    config, dataset = outcome.config, outcome.dataset
    strategy = config.strategy
    return Bundle(
        symbol=config.symbol,
        pipeline=outcome.pipeline,
        feature_ids=dataset.feature_ids,
        fingerprints={each: registry.fingerprint(each) for each in dataset.feature_ids},
        strategy=bundled_strategy(strategy),
        threshold=outcome.threshold,
        training=training_content(outcome, history),
        metrics=metrics_of(outcome),
        golden=golden_vectors(
            history,
            SeriesKey(config.symbol, strategy.bars),
            dataset.feature_ids,
            outcome.pipeline,
            dataset.decision[outcome.development[-_GOLDEN:]],
            strategy.max_age.limits,
            registry=registry,
        ),
    )


def training_content(outcome: TrainingOutcome, history: History) -> dict[str, Any]:
    """Return what the fit depended on, by name."""
    config, dataset = outcome.config, outcome.dataset
    dates, sealed = (dates_of(dataset, rows) for rows in (outcome.development, outcome.hold_out))
    return {
        "range": [dates.start.isoformat(), dates.end.isoformat()],
        "hold_out": [sealed.start.isoformat(), sealed.end.isoformat()],
        "config": config.model_dump(mode="json"),
        "config_hash": config.config_hash,
        "data_hashes": data_hashes(history),
        "adjustments": {str(key): bars.adjustment for key, bars in sorted(history.bars.items())},
        "dataset_hashes": dict(dataset.hashes),
        "code_hash": dataset.hashes["code"],
        "seed": outcome.seed,
        "samples": int(outcome.development.size),
        "selected": list(outcome.selected),
        "parameters": dict(outcome.parameters),
        "failed_steps": outcome.failed,
        "versions": training_versions(),
    }


def data_hashes(history: History) -> dict[str, str]:
    """Return the hash of the bars of each series."""
    return {str(key): bars.content_hash for key, bars in sorted(history.bars.items())}


def metrics_of(outcome: TrainingOutcome) -> dict[str, float]:
    """Return measures of the model: inner score, and what the outer windows answered out of sample.

    Trades and net P&L (USD) are those of the strategy with and without the veto, one position at a time.
    """
    dataset = outcome.dataset
    rows = np.concatenate([window.test for window in outcome.windows])
    chance = np.concatenate([window.probabilities for window in outcome.windows])
    accepted = np.concatenate([window.probabilities >= window.threshold for window in outcome.windows])
    tested = dataset.subset(rows)
    before = taken_trades(tested, np.ones(rows.size, dtype=np.bool_))
    after = taken_trades(tested, accepted)
    found = {
        "inner_score": outcome.best.score,
        "samples_out_of_sample": float(rows.size),
        "log_loss_out_of_sample": -SCORES["log_loss"](tested.target, chance, tested.weight),
        "trades_unfiltered": float(before.sum()),
        "trades_filtered": float(after.sum()),
        "net_pnl_unfiltered": float(tested.net_pnl[before].sum()),
        "net_pnl_filtered": float(tested.net_pnl[after].sum()),
    }
    if np.unique(tested.target).size == 2:
        found["roc_auc_out_of_sample"] = SCORES["roc_auc"](tested.target, chance, tested.weight)
    return found
