"""What a sweep keeps of each trial's returns: count, sum and sum of squares in each block of time.

Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

The blocks of history are divided into halves in every possible way. In each, the trial that is best in one
half is looked up in the other: if it falls below the median there as often as not, then choosing the best
says nothing. Bailey, Borwein, López de Prado and Zhu (2017), The Probability of Backtest Overfitting, Journal
of Computational Finance 20(4), 39-69, section 3; degradation and probability of loss: section 4.
"""

from __future__ import annotations

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import joblib
import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers
from research.statistics.sharpe import finite

# Sums of squares lose digits against the squared mean; spreads below this part of it are rounding.
_ROUNDING = 1e-12
# Sharpe ratios per period that differ by less are equal: blocks are kept in single precision.
_NOISE = 1e-6
# Rows that are compared at a time, and columns by which different ones are sorted.
_ROWS = 4_096
_SORTED = 4
# Trials whose blocks stay in the processor's cache.
_STRIP = 256


@kernel
def sums_to_ratios(line: Floats, square: Floats, count: float) -> None:
    """Turn sums of `count` returns, float64 (n,), into Sharpe ratios in place; see `BlockMoments.sharpe`.

    square   float64 (n,): sums of their squares
    """
    for trial in range(line.size):
        mean = line[trial] / count
        about_zero = square[trial] / count
        variance = about_zero - mean * mean
        flat = variance <= _ROUNDING * about_zero
        deviation = math.sqrt(1.0 if flat else variance * (count / (count - 1.0)))
        line[trial] = 0.0 if flat else mean / deviation


@kernel
def sum_rows(rows: Floats, first: int, chosen: Integers, total: Floats) -> None:
    """Write the sums over chosen rows of a table, added in the order of `chosen`, int64 (k,).

    total   float64 (m,): of the columns from `first` on
    """
    total[:] = 0.0
    stop = first + total.size
    # Four at a time: the sums are read and written less often.
    fours = chosen.size // 4 * 4
    for four in range(0, fours, 4):
        one, two = rows[chosen[four], first:stop], rows[chosen[four + 1], first:stop]
        three, last = rows[chosen[four + 2], first:stop], rows[chosen[four + 3], first:stop]
        for place in range(total.size):
            total[place] = (((total[place] + one[place]) + two[place]) + three[place]) + last[place]
    for number in range(fours, chosen.size):
        row = rows[chosen[number], first:stop]
        for place in range(total.size):
            total[place] += row[place]


@kernel
def ratios_of_halves(
    chosen: Floats, sums: Floats, squares: Floats, counts: Floats, inside: Floats, outside: Floats
) -> None:
    """Write the Sharpe ratios of n trials in c sets of S blocks, and in what each leaves, as `sharpe` does.

    chosen   float64 (c, S) of 0 and 1; sums, squares, counts: of `BlockMoments`
    inside, outside   float64 (c, n): are written

    Blocks are added in their order. Some trials at a time, so that all blocks of them stay in the
    processor's cache for all sets.
    """
    room = np.empty(_STRIP)
    for first in range(0, sums.shape[1], _STRIP):
        last = min(first + _STRIP, sums.shape[1])
        total = room[: last - first]
        for row in range(chosen.shape[0]):
            for side in range(2):
                blocks = np.flatnonzero((chosen[row] > 0.0) == (side == 0))
                ratios = inside[row, first:last] if side == 0 else outside[row, first:last]
                sum_rows(sums, first, blocks, ratios)
                sum_rows(squares, first, blocks, total)
                sums_to_ratios(ratios, total, counts[blocks].sum())


@kernel
def count_ranks(
    inside: Floats, outside: Floats, best: Floats, reached: Floats, noise: float, counts: Integers
) -> None:
    """Count, in each of c rows of n trials, those that are below, not above and alike, within `noise`.

    best, reached   float64 (c,): what the chosen one has inside and outside
    counts          int64 (c, 3): below it outside, not above it outside, alike inside; are written
    """
    for row in range(inside.shape[0]):
        low, high, alike_from = reached[row] - noise, reached[row] + noise, best[row] - noise
        below, not_above, alike = 0, 0, 0
        for trial in range(inside.shape[1]):
            value = outside[row, trial]
            below += value < low
            not_above += value <= high
            alike += inside[row, trial] >= alike_from
        counts[row, 0], counts[row, 1], counts[row, 2] = below, not_above, alike


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMoments:
    """Moments of n trials in S blocks of time that follow each other.

    sums      float64 (S, n): sum of returns
    squares   float64 (S, n): sum of squared returns
    counts    float64 (S,): number of returns, >= 1, the same for all trials

    S is even and at least 4, n at least 2. DataError otherwise, and for values that are not finite.
    """

    sums: Floats
    squares: Floats
    counts: Floats

    def __post_init__(self) -> None:
        sums = finite(self.sums, "block sums", dimensions=2)
        squares = finite(self.squares, "block squares", dimensions=2)
        counts = finite(self.counts, "block counts")
        if sums.shape != squares.shape or sums.shape[:1] != counts.shape:
            raise DataError(
                f"block sums {sums.shape}, squares {squares.shape}, counts {counts.shape}: "
                "need (S, n), (S, n) and (S,)"
            )
        if sums.shape[0] < 4 or sums.shape[0] % 2:
            raise DataError(f"{sums.shape[0]} blocks: need an even number, at least 4; 16 is usual")
        if sums.shape[1] < 2:
            raise DataError(f"{sums.shape[1]} trials: overfitting is a choice among at least 2")
        if counts.min() < 1:
            raise DataError(f"block counts: {counts.min()}: every block needs a return; use fewer blocks")
        for name, array in (("sums", sums), ("squares", squares), ("counts", counts)):
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, returns: Any, blocks: int = 16) -> Self:
        """Measure `returns`, float64 (T, n), in `blocks` parts whose lengths differ by one at most."""
        values = finite(returns, "returns", dimensions=2, least=max(blocks, 1))
        if blocks < 1:
            raise ConfigError(f"blocks {blocks}: must be positive; 16 is usual")
        parts = np.array_split(values, blocks)
        return cls(
            sums=np.array([part.sum(axis=0) for part in parts]),
            squares=np.array([(part**2).sum(axis=0) for part in parts]),
            counts=np.array([float(part.shape[0]) for part in parts]),
        )

    @property
    def blocks(self) -> int:
        """The number of blocks S."""
        return int(self.sums.shape[0])

    @property
    def trials(self) -> int:
        """The number of trials n."""
        return int(self.sums.shape[1])

    def sharpe(self, chosen: Floats) -> Floats:
        """Sharpe ratios per period of all trials over c sets of blocks, float64 (c, n).

        `chosen` is float64 (c, S) of 0 and 1: which blocks belong to each set.
        Standard deviation with ddof 1. A trial without variance, such as one that did not trade in those
        blocks, has the ratio 0: it must rank somewhere, and it gained nothing.
        """
        sums, squares, counts = chosen @ self.sums, chosen @ self.squares, chosen @ self.counts
        for line, square, count in zip(sums, squares, counts.tolist(), strict=True):
            sums_to_ratios(line, square, count)
        return sums


_CELLS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Overfitting:
    """What CSCV found over c divisions into halves.

    probability           PBO: share of divisions with a logit <= 0, [0, 1]
    standard_error        of `probability`, from sampling divisions: sqrt(p (1 - p) / c); 0 where all were
                          visited. It is not the error from having one history: on noise PBO scatters
                          around 0.5 by about 0.2 from one set of trials to the next
    logits                float64 (c,): ln(w / (1 - w)), w = rank out of sample / (n + 1); ties within
                          rounding share ranks, in sample too
    chosen                int64 (c,): the trial that is best in sample, the first of equals
    in_sample             float64 (c,): its Sharpe ratio there, per period
    out_of_sample         float64 (c,): its Sharpe ratio in the other half, the mean of equals
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
    pieces = [halves[low : low + size] for low in range(0, halves.shape[0], size)]
    with ThreadPoolExecutor(joblib.effective_n_jobs(-1)) as pool:
        parts = list(pool.map(functools.partial(_judge, moments), pieces))
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
    inside, outside = np.empty((2, len(halves), moments.trials))
    ratios_of_halves(halves, moments.sums, moments.squares, moments.counts, inside, outside)
    chosen = inside.argmax(axis=1)
    row = np.arange(chosen.size)
    best, reached = inside[row, chosen], outside[row, chosen]
    counts = np.empty((chosen.size, 3), dtype=np.int64)
    count_ranks(inside, outside, best, reached, _NOISE, counts)
    rank = 0.5 * (counts[:, 0] + counts[:, 1] + 1.0)
    for each in np.flatnonzero(counts[:, 2] > 1).tolist():
        # Which of them is first depends on the order of the trials alone: all of them are meant.
        tied, ordered = outside[each, inside[each] >= best[each] - _NOISE], np.sort(outside[each])
        ends = np.searchsorted(ordered, tied - _NOISE), np.searchsorted(ordered, tied + _NOISE, "right")
        rank[each], reached[each] = 0.5 * (np.add(*ends) + 1.0).mean(), tied.mean()
    return chosen, best, reached, np.log(rank / (moments.trials + 1.0 - rank))


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Return (slope, intercept, R^2) of y on x; R^2 is 0 for a y that does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    across, along, up = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    if across == 0:
        return math.nan, math.nan, math.nan
    slope = along / across
    return slope, float(y.mean() - slope * x.mean()), along * slope / up if up > 0 else 0.0


def distinct_rows(table: Integers) -> Integers:
    """Return a row of each kind, int64 (k,), of a table of 64-bit words (n, d): copies are one trial.

    Rows are compared by a digest of each, which takes a part of the time of sorting whole rows, and then as
    they are. Kinds are in the order of their first columns, whatever the order of the rows.
    """
    parts = [slice(first, first + _ROWS) for first in range(0, len(table), _ROWS)]
    digests = np.concatenate([_digests(table[part]) for part in parts])
    _, rows, kinds = np.unique(digests, return_index=True, return_inverse=True)
    like = rows[kinds]
    if not all(np.array_equal(table[part], table[like[part]]) for part in parts):
        # One pair of different rows in some 10^19 shares a digest.
        _, rows = np.unique(table, axis=0, return_index=True)
    order = np.lexsort(table[rows, :_SORTED].T[::-1])
    found: Integers = rows[order]
    return found


def distinct_by(keys: Integers, table: Integers) -> Integers:
    """Return a row of each kind, int64 (k,), of a table of 64-bit words (n, d) whose copies have equal keys.

    keys   of few columns, 64-bit words (n, c): rows with equal ones are held against each other, the others
           need not be looked at
    """
    _, rows, kinds = np.unique(_digests(keys), return_index=True, return_inverse=True)
    like = rows[kinds]
    copies = np.flatnonzero(like != np.arange(len(table)))
    found: Integers = rows
    return found if np.array_equal(table[copies], table[like[copies]]) else distinct_rows(table)


def _digests(numbers: Integers) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(numbers).view(np.uint64) * _factors(numbers.shape[1])
    digests: NDArray[np.uint64] = _mixed(words).sum(axis=1, dtype=np.uint64)
    return digests


@functools.cache
def _factors(count: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(29))
    return mixed * np.uint64(0x9E37_79B9_7F4A_7C15)
