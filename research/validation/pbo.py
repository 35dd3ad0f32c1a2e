"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

The blocks of history are divided into halves in every possible way. In each, the trial that is best in one
half is looked up in the other: if it falls below the median there as often as not, then choosing the best
says nothing. Bailey, Borwein, López de Prado and Zhu (2017), The Probability of Backtest Overfitting, Journal
of Computational Finance 20(4), 39-69, section 3; degradation and probability of loss: section 4.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from lockstep.errors import ConfigError
from lockstep.metrics import Floats, Integers
from research.validation.block_moments import BlockMoments

_CELLS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Overfitting:
    """What CSCV found over c divisions into halves.

    probability           PBO: share of divisions with a logit <= 0, [0, 1]
    standard_error        of `probability`, from sampling divisions: sqrt(p (1 - p) / c); 0 where all were
                          visited. It is not the error from having one history: on noise PBO scatters
                          around 0.5 by about 0.2 from one set of trials to the next
    logits                float64 (c,): ln(w / (1 - w)), w = rank out of sample / (n + 1); ties share ranks
    chosen                int64 (c,): the trial that is best in sample, the first of equals
    in_sample             float64 (c,): its Sharpe ratio there, per period
    out_of_sample         float64 (c,): its Sharpe ratio in the other half
    slope, intercept      of out_of_sample on in_sample, least squares; nan if in_sample does not vary
    r_squared             of that line, [0, 1]; nan likewise
    probability_of_loss   share of divisions in which the chosen trial has a ratio below 0 out of sample
    """

    probability: float
    standard_error: float
    logits: Floats
    chosen: Integers
    in_sample: Floats
    out_of_sample: Floats
    slope: float
    intercept: float
    r_squared: float
    probability_of_loss: float


def overfitting(moments: BlockMoments, *, most: int = 13_000, seed: int = 0) -> Overfitting:
    """Run CSCV over `moments`.

    All C(S, S / 2) divisions are visited where they are at most `most` (16 blocks: 12,870), otherwise `most`
    random ones, drawn with `seed`. ConfigError where `most` is not positive.
    """
    if most < 1:
        raise ConfigError(f"divisions {most}: must be positive; 13000 covers 16 blocks completely")
    complete = math.comb(moments.blocks, moments.blocks // 2) <= most
    halves = _all_halves(moments.blocks) if complete else _random_halves(moments.blocks, most, seed)
    size = max(1, _CELLS // moments.trials)
    parts = [_judge(moments, halves[low : low + size]) for low in range(0, halves.shape[0], size)]
    chosen, inside, outside, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
    probability = float(np.mean(logits <= 0))
    slope, intercept, r_squared = _line(inside, outside)
    error = 0.0 if complete else math.sqrt(probability * (1 - probability) / logits.size)
    return Overfitting(
        probability=probability,
        standard_error=error,
        logits=logits,
        chosen=chosen,
        in_sample=inside,
        out_of_sample=outside,
        slope=slope,
        intercept=intercept,
        r_squared=r_squared,
        probability_of_loss=float(np.mean(outside < 0)),
    )


def _all_halves(blocks: int) -> Floats:
    picks = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    return _marked(picks, blocks)


def _random_halves(blocks: int, number: int, seed: int) -> Floats:
    keys = np.random.default_rng(seed).random((number, blocks))
    return _marked(keys.argsort(axis=1)[:, : blocks // 2], blocks)


def _marked(picks: Integers, blocks: int) -> Floats:
    halves = np.zeros((picks.shape[0], blocks))
    np.put_along_axis(halves, picks, 1.0, axis=1)
    return halves


def _judge(moments: BlockMoments, halves: Floats) -> tuple[Integers, Floats, Floats, Floats]:
    """Return (chosen, in sample, out of sample, logit), each (c,), for the given divisions."""
    inside = moments.sharpe(halves)
    outside = moments.sharpe(1.0 - halves)
    chosen = inside.argmax(axis=1)
    row = np.arange(chosen.size)
    reached = outside[row, chosen]
    below = np.count_nonzero(outside < reached[:, None], axis=1)
    not_above = np.count_nonzero(outside <= reached[:, None], axis=1)
    rank = 0.5 * (below + not_above + 1.0)
    return chosen, inside[row, chosen], reached, np.log(rank / (moments.trials + 1.0 - rank))


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Return (slope, intercept, R^2) of y on x; R^2 is 0 for a y that does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    across, along, up = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    if across == 0:
        return math.nan, math.nan, math.nan
    slope = along / across
    return slope, float(y.mean() - slope * x.mean()), along * slope / up if up > 0 else 0.0
