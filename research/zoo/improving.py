"""The loop of the worker: proposes changes to a model and scores them, on bars that end before the tail.

A proposal is a pure function of the seed, its number, the best spec so far and what came of earlier
proposals. The search is one by variable neighbourhoods (Mladenović and Hansen 1997, Computers & Operations
Research 24, 1097-1100): a proposal that helped is followed by a feature; after those that brought nothing
come parameters, features again, and at last a move that goes far. Among moves of one kind Thompson sampling
chooses by how often each has helped. A feature is added by how much it knows of what the best spec misses:
its rank correlation with the errors out of fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

from lockstep.features.invariance import scale_sensitive
from lockstep.market.bars import Floats
from research.zoo.fitting import OutOfFold, out_of_fold
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.moves import (
    ADD,
    DROP,
    SWAP,
    ModelProposal,
    changed,
    far_moves,
    feature_moves,
    parameter_moves,
    seconds,
)
from research.zoo.release import PairedTest

LEAST_KNOWN = 0.8
FEATURE, PARAMETER, FAR = "feature", "parameter", "far"
COURSE = (FEATURE, PARAMETER, PARAMETER, FEATURE, PARAMETER, FAR)
"""What is proposed after 0, 1, 2 … proposals in a row that brought nothing; then from the start again."""
# Successes and failures that a move is taken to have had: more features mostly help, fewer seldom do.
_PRIOR: Mapping[str, tuple[int, int]] = {ADD: (4, 1), SWAP: (1, 2), DROP: (1, 3)}

Catalogue = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Past:
    """What came of the proposals so far.

    tried    hashes of specs; helped, failed: by move, how often it made the best spec better, and did not
    vain     how many proposals in a row brought nothing, up to now
    """

    tried: frozenset[str] = frozenset()
    helped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    vain: int = 0

    def after(self, spec: ModelSpec, move: str, better: bool) -> Past:
        """Return the past after one more proposal.

        >>> spec = ModelSpec(task="return", features=("ibs",))
        >>> found = Past().after(spec, "add a feature", False).after(spec, "add a feature", True)
        >>> found.helped, found.failed, found.vain
        ({'add a feature': 1}, {'add a feature': 1}, 0)
        """
        name = "helped" if better else "failed"
        counts = dict(getattr(self, name))
        counts[move] = counts.get(move, 0) + 1
        vain = 0 if better else self.vain + 1
        return replace(self, tried=self.tried | {spec.digest}, vain=vain, **{name: counts})


@dataclass(frozen=True, kw_only=True)
class LossComparison:
    """A spec against another, or a constant, out of fold: on all bars that both answer, and the newer half.

    Markets change: what was better long ago only is not what the tail will show.
    """

    whole: PairedTest
    newer: PairedTest

    @property
    def better(self) -> bool:
        """Whether the losses are smaller on all bars and on the newer half."""
        return self.whole.difference > 0.0 and self.newer.difference > 0.0

    def expected(self, tail: int) -> float:
        """Return the z that a tail of so many bars should show: the smaller one of both, scaled; or NaN."""
        found = [each.z * math.sqrt(tail / max(1, each.n)) for each in (self.whole, self.newer)]
        return math.nan if any(map(math.isnan, found)) else min(found)

    @classmethod
    def of(cls, loss: Floats, other: Floats, lag: int) -> LossComparison:
        """Compare paired losses, float64 (n,) each, in the order of their bars."""
        middle = loss.size // 2
        return cls(
            whole=PairedTest.of(loss, other, lag),
            newer=PairedTest.of(loss[middle:], other[middle:], lag),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ImprovementLoop:
    """Proposes and scores on bars that end before the tail: it holds no others.

    bars         before the tail; estimators: that it may choose from
    catalogue    feature ids that it may add, with how closely each follows the label, 0 to 1
    most_seconds   of CPU that scoring a proposal may take, by a rough estimate
    """

    bars: LearningBars
    seed: int
    estimators: tuple[str, ...]
    catalogue: Catalogue
    most_seconds: float = math.inf
    _scored: dict[str, OutOfFold] = field(default_factory=dict, repr=False)

    def propose(self, number: int, base: ModelSpec, past: Past) -> ModelProposal | None:
        """Return the `number`-th proposal, a change of `base` that was not tried; None where none is left."""
        random = np.random.default_rng((self.seed, number))
        kinds = {
            FEATURE: feature_moves(),
            PARAMETER: parameter_moves(base),
            FAR: far_moves(base, self.estimators),
        }
        due = COURSE[past.vain % len(COURSE)]
        promise = self.promise(base)
        # Where no move of the kind that is due is left, the others have their turn.
        for kind in (due, *(each for each in kinds if each != due)):
            for move in _by_chance(kinds[kind], random, past):
                for found in changed(base, move, random, promise):
                    is_new = found.spec.digest not in past.tried
                    if is_new and seconds(found.spec, self.bars.size) <= self.most_seconds:
                        return found
        return None

    def promise(self, base: ModelSpec) -> Catalogue:
        """Return, by feature, how much it knows of what a spec misses out of fold, 0 to 1.

        It is the absolute rank correlation with its errors.
        """
        if not self._scores:
            return {}
        found = self.scored(base)
        ids, scores = zip(*self._scores.items(), strict=True)
        missed = rankdata(found.judged - found.answer)
        missed -= missed.mean()
        asked = np.stack(scores)[:, found.row]
        asked = asked - asked.mean(axis=1, keepdims=True)
        sizes = np.sqrt((asked**2).sum(axis=1) * (missed**2).sum())
        return dict(zip(ids, np.abs(asked @ missed / np.maximum(sizes, 1e-12)).tolist(), strict=True))

    @cached_property
    def _scores(self) -> dict[str, Floats]:
        """The centred ranks of each feature that may be added, float64 (size,); 0 where unknown."""
        return {each: _ranks(self.bars.matrix([each])[:, 0]) for each in self.catalogue}

    def scored(self, spec: ModelSpec) -> OutOfFold:
        """Return the losses out of fold of a spec; TrainingError where it cannot be fitted."""
        if spec.digest not in self._scored:
            self._scored[spec.digest] = out_of_fold(self.bars, spec)
        return self._scored[spec.digest]

    def compared(self, spec: ModelSpec, other: ModelSpec) -> LossComparison:
        """Compare a spec with another out of fold."""
        one, two = self.scored(spec), self.scored(other)
        _, at, there = np.intersect1d(one.row, two.row, return_indices=True)
        return LossComparison.of(one.loss[at], two.loss[there], spec.horizon)

    def against_constant(self, spec: ModelSpec) -> LossComparison:
        """Compare a spec with the mean label of what it learned from, out of fold."""
        found = self.scored(spec)
        return LossComparison.of(found.loss, found.constant, spec.horizon)


def _by_chance(moves: Sequence[str], random: np.random.Generator, past: Past) -> list[str]:
    """Return moves, first the one whose chance to help is drawn largest (Thompson sampling)."""
    drawn = {}
    for move in moves:
        helped, failed = _PRIOR.get(move, (1, 1))
        drawn[move] = random.beta(helped + past.helped.get(move, 0), failed + past.failed.get(move, 0))
    return sorted(moves, key=lambda move: -drawn[move])


def _ranks(values: Floats) -> Floats:
    known = np.isfinite(values)
    found = np.zeros(values.size)
    if known.any():
        ranks = rankdata(values[known])
        found[known] = ranks - ranks.mean()
    return found


def catalogue_of(bars: LearningBars, ids: Sequence[str], spec: ModelSpec) -> Catalogue:
    """Return the ids that a model may learn from, with how closely each follows the label of a spec.

    Left out are those that are known on less than 80 % of these bars, that never change, or that are in
    points, whose worth was another one long ago. The closeness is the absolute rank correlation.
    """
    found, judged = {}, bars.labels(spec).judged[bars.first :]
    for each in sorted({*ids} - {*scale_sensitive(ids, bars.registry)}):
        values = bars.matrix([each])[bars.first :, 0]
        both = np.isfinite(values) & np.isfinite(judged)
        if both.mean() >= LEAST_KNOWN and np.ptp(values[both]) > 0.0:
            ranks = rankdata(values[both]), rankdata(judged[both])
            found[each] = abs(float(np.corrcoef(*ranks)[0, 1]))
    return found
