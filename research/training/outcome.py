"""What a training run found, before it is judged: folds, search steps, probabilities, the fitted model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.metrics import Floats, Integers

if TYPE_CHECKING:
    from research.training.config import TrainingConfig
    from research.training.dataset import Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchStep:
    """One configuration of the model, evaluated by inner purged cross-validation.

    parameters      as the search space names them
    score           mean of `split_scores`; larger is better
    split_scores    float64 (splits,)
    threshold       chosen on `probabilities` only
    probabilities   float64 (n,), out of fold, the mean over the paths; n training samples of this search
    seconds         how long it took; not part of anything that is hashed
    """

    number: int
    parameters: Mapping[str, Any]
    score: float
    split_scores: Floats
    threshold: float
    probabilities: Floats
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class OuterWindow:
    """One window of the outer walk-forward: searched and fitted on `train`, asked once on `test`.

    train, test     int64, rows of the dataset; purged of each other
    steps           the inner search, in order; the best has `parameters` and `threshold`
    selected        ids that the feature selection kept, in order
    probabilities   float64 (test,), by the model fitted on all of `train`
    """

    number: int
    train: Integers
    test: Integers
    steps: tuple[SearchStep, ...]
    parameters: Mapping[str, Any]
    threshold: float
    selected: tuple[str, ...]
    probabilities: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOutcome:
    """Everything that the report, the bundle and the validation are made of.

    development    int64, rows of the dataset before the hold-out, purged of it; the final search saw these
    hold_out       int64, rows of the sealed hold-out; nobody has looked at them
    windows        the outer walk-forward over `development`: the out-of-sample estimate
    steps          the final search over `development`; the best has `parameters` and `threshold`
    pipeline       fitted on all of `development` with `parameters`
    selected       ids that its feature selection kept; all of them still enter the pipeline, in dataset order
    failed         how many search steps failed for numerical reasons, outer windows included
    stopped        how many were stopped since they were hopeless, outer windows included; like failed ones
                   they are counted as trials and are not among `steps`
    """

    config: TrainingConfig
    dataset: Dataset
    development: Integers
    hold_out: Integers
    windows: tuple[OuterWindow, ...]
    steps: tuple[SearchStep, ...]
    parameters: Mapping[str, Any]
    threshold: float
    selected: tuple[str, ...]
    pipeline: Any
    seed: int
    failed: int = 0
    stopped: int = 0

    @property
    def best(self) -> SearchStep:
        """The step that won the final search: the highest score, the earliest of equals."""
        return max(self.steps, key=lambda step: (step.score, -step.number))

    @property
    def idle(self) -> tuple[str, ...]:
        """Where the veto lets everything through, a sentence each."""
        found, probability = [], self.best.probabilities
        if (probability >= self.threshold).all():
            found.append(
                f"The final threshold, {self.threshold:.2f}, vetoes nothing: all {probability.size} "
                "out-of-fold probabilities of the winning step reach it, the lowest is "
                f"{probability.min():.2f}."
            )
        passed = [each for each in self.windows if (each.probabilities >= each.threshold).all()]
        if passed:
            numbers = ", ".join(str(each.number + 1) for each in passed)
            found.append(
                f"In {len(passed)} of {len(self.windows)} outer windows the veto let every signal through: "
                f"number {numbers}. What is shown of them with the veto is the strategy without it."
            )
        return tuple(found)
