"""How probabilities are scored: larger is better, whatever the objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from lockstep.metrics import Floats, Integers

Score = Callable[[Integers, Floats, Floats], float]


def _log_loss(target: Integers, probability: Floats, weight: Floats) -> float:
    return -float(log_loss(target, probability, sample_weight=weight, labels=[0, 1]))


def _roc_auc(target: Integers, probability: Floats, weight: Floats) -> float:
    return float(roc_auc_score(target, probability, sample_weight=weight))


def _average_precision(target: Integers, probability: Floats, weight: Floats) -> float:
    return float(average_precision_score(target, probability, sample_weight=weight))


# (target, probability, weight), each (n,) -> score
SCORES: Mapping[str, Score] = {
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
}
