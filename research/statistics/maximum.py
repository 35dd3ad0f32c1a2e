"""Test the best of all trials against the best of as many without skill that move together as they do.

A search keeps, of every trial, a sketch of its returns: 256 sums instead of one number per session, from
which every correlation can be told. They replace the question how many independent trials there were.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers
from research.statistics.sharpe import SharpeSample, finite

SKETCH = 256
DRAWS = 1_000

_ROWS = 128
_SEED = 20_260_101
# Squares below this part of those they are left of are rounding.
_ROUNDING = 1e-24
# Of a variance beside the mean square, from sums of powers.
_SUMS = 1e-12
_GRID = np.linspace(0.0, 12.0, 2_401)
_TOLERANCE = 1e-6

_Words = NDArray[np.uint64]


def date_hash(days: Any, block: int = 1) -> tuple[Integers, Floats]:
    """Return the place in a sketch, int64 (S,), 0 ... 255, and the sign there, +-1, of each session.

    days    datetime64 (S,), dates of the sessions
    block   days that share place and sign: returns that depend on those of the days before are then added up
            before they are compared; 1 takes them as independent

    Both depend on the date alone, so that sketches of equal blocks can be added and compared, whatever range
    of dates each search saw. ConfigError for a block below 1.
    """
    if block < 1:
        raise ConfigError(f"block of {block} days: must be at least 1")
    number = _day(days) // block
    words = _mixed(_mixed(number.astype(np.uint64) + np.uint64(0x9E37_79B9_7F4A_7C15)))
    bucket = (words >> np.uint64(56)).astype(np.int64)
    sign = 1.0 - 2.0 * ((words >> np.uint64(55)) & np.uint64(1)).astype(np.float64)
    return bucket, sign


def _day(days: Any) -> Integers:
    return np.asarray(days).astype("datetime64[D]").astype(np.int64)


def _mixed(words: _Words) -> _Words:
    """One round of a mixer of 64 bits; Steele, Lea and Flood (2014), Fast Splittable PRNGs, OOPSLA."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    mixed: _Words = words ^ (words >> np.uint64(31))
    return mixed


def sketch_of(returns: Any, days: Any, block: int = 1) -> Floats:
    """Return the sketches, float64 (n, 256), of the returns of n trials, float64 (n, S), on S dates.

    Each return is added, with the sign of its date, to the sum of its date (`date_hash`). Charikar, Chen and
    Farach-Colton (2004), Finding frequent items in data streams, Theoretical Computer Science 312, 3-15.
    DataError for returns that are not finite.
    """
    values = finite(returns, "returns", dimensions=2)
    bucket, sign = date_hash(days, block)
    order = np.argsort(bucket, kind="stable")
    places, first = np.unique(bucket[order], return_index=True)
    sketch = np.zeros((len(values), SKETCH))
    sketch[:, places] = np.add.reduceat((values * sign)[:, order], first, axis=1)
    return sketch


def centred(sketch: Any, sums: Any, sessions: float, ones: Any) -> Floats:
    """Return the sketches, float64 (n, 256), of returns from which each trial's mean was taken.

    sketch     float64 (n, 256), as of `sketch_of`; sums: float64 (n,), of the returns
    sessions   over which they were summed; ones: float64 (256,), the sketch of 1 over the same sessions

    Sketches, sums, sessions and ones of several ranges are added up before. What rounding alone leaves, as of
    returns that are all the same, becomes zeros.
    """
    raw, one = finite(sketch, "sketches", dimensions=2), np.asarray(ones, dtype=np.float64)
    mean = finite(sums, "sums of returns") / sessions
    left: Floats = mean[:, None] * one
    np.subtract(raw, left, out=left)
    squares = np.einsum("ij,ij->i", left, left)
    # Few come near it: of the others, the squares of what was taken need not be known to the last digit.
    few = np.flatnonzero(squares <= 2.0 * _ROUNDING * mean**2 * (one @ one))
    taken = mean[few, None] * one
    left[few[squares[few] <= _ROUNDING * np.einsum("ij,ij->i", taken, taken)]] = 0.0
    return left


class RunningMaximum:
    """The greatest ratio of n trials without skill, DRAWS times, as their sketches come in.

    A trial's ratio in a draw is u . g: u its centred sketch at length 1, g a vector of independent standard
    normal numbers, the same for all trials and searches. Ratios then have variance 1 and correlate as the
    trials' returns do; the more sessions there are, the more normal are those of real trials.
    Chernozhukov, Chetverikov and Kato (2013), Gaussian approximations and multiplier bootstrap for maxima of
    sums of high-dimensional random vectors, Annals of Statistics 41, 2786-2819.

    draws    float64 (1000,), >= 0: the greatest ratio in each draw; trials: rows so far, copies included

    Neither the order of the trials changes a bit of `draws`, nor how they are divided. It takes
    n x 256 x 1000 multiplications, in single precision, and five megabytes: only trials that may be the
    greatest in a draw, by what single precision can tell, are worked out in full. A trial of zeros (it never
    traded) has the ratio 0.

    >>> one, both = RunningMaximum(), RunningMaximum()
    >>> first, second = np.eye(2, SKETCH)
    >>> one.add([first])
    >>> both.add([second, first, 3.0 * first])
    >>> bool((both.draws >= one.draws).all()), both.trials
    (True, 3)
    """

    def __init__(self) -> None:
        self.trials = 0
        self._draws: Floats = np.zeros(DRAWS)
        # Below this, in single precision, a ratio is not the greatest one of its draw.
        self._floor = -_doubt()
        self._waiting = np.zeros((_ROWS, SKETCH))
        self._count = 0

    @property
    def draws(self) -> Floats:
        """The greatest ratio in each draw."""
        self._work_out()
        return self._draws

    def add(self, sketches: Any) -> None:
        """Add trials by their centred sketches, float64 (n, 256); DataError where one is not finite."""
        rows = finite(sketches, "sketches", dimensions=2, least=0)
        for first in range(0, len(rows), _ROWS):
            self._add(_at_length_one(rows[first : first + _ROWS]))
        self.trials += len(rows)

    def _add(self, rows: Floats) -> None:
        rough = rows.astype(np.float32) @ _rough_directions()
        np.maximum(self._floor, rough.max(axis=0) - _doubt(), out=self._floor)
        left = rows[(rough >= self._floor).any(axis=1)]
        while len(left):
            now = left[: _ROWS - self._count]
            self._waiting[self._count : self._count + len(now)] = now
            self._count += len(now)
            left = left[len(now) :]
            if self._count == _ROWS:
                self._work_out()

    def _work_out(self) -> None:
        """Work out the ratios of the trials that wait."""
        if not self._count:
            return
        # A product of matrices rounds by its shape. The shape is therefore always the same one.
        self._waiting[self._count :] = 0.0
        ratios = self._waiting @ _directions()
        np.maximum(self._draws, ratios.max(axis=0), out=self._draws)
        self._count = 0


def _at_length_one(rows: Floats) -> Floats:
    # By powers of two, which round nothing: squares of very small and very large numbers stay finite.
    power = -np.frexp(np.abs(rows).max(axis=1))[1]
    # Of the smallest numbers that there are, the power itself is too large for a number.
    plain = power.max() < 1_024
    scaled: Floats = rows * np.ldexp(1.0, power)[:, None] if plain else np.ldexp(rows, power[:, None])
    length = np.sqrt((scaled * scaled).sum(axis=1))
    scaled /= np.where(length > 0.0, length, 1.0)[:, None]
    return scaled


@functools.cache
def _directions() -> Floats:
    """Return standard normal numbers, float64 (256, 1000), the same ones for ever."""
    drawn = np.random.Generator(np.random.PCG64(_SEED)).standard_normal((DRAWS, SKETCH))
    return np.ascontiguousarray(drawn.T)


@functools.cache
def _rough_directions() -> NDArray[np.float32]:
    return _directions().astype(np.float32)


@functools.cache
def _doubt() -> NDArray[np.float32]:
    """Return by how much ratios may differ in single precision whose order it cannot tell, float32 (1000,).

    A sum of n products of vectors u and g is off by at most (n + 2) 2^-24 |u| |g|, in any order, their own
    rounding included; |u| is 1. Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1.
    Of two sums, twice that; a tenth more covers what is of second order.
    """
    lengths = np.sqrt((_directions() ** 2).sum(axis=0))
    doubt: NDArray[np.float32] = (2.2 * (SKETCH + 2) * 2.0**-24 * lengths).astype(np.float32)
    return doubt


def joined(*draws: Any) -> Floats:
    """Return the draws, float64 (1000,), of all trials of several searches: the greatest, element by element.

    Copies of a search change nothing, nor does the order. Without any search, zeros.
    """
    for each in draws:
        if np.shape(each) != (DRAWS,):
            raise DataError(f"draws of shape {np.shape(each)}: need ({DRAWS},); read them from the ledger")
    found: Floats = np.max([np.zeros(DRAWS), *draws], axis=0)
    return found


def p_value(z: float, draws: Any, *, unsketched: float = 0) -> float:
    """Return the chance that the best of all trials, none of which has skill, reaches `z`: (0, 1].

    z            of one trial, see `z_of`: the greatest of all, or of another one that was chosen
    draws        float64 (1000,): of all trials that can have been chosen from, this one included
    unsketched   >= 0: further trials of which no sketch is known, taken as independent of all others

    (1 + draws at or above z) / (1 + draws), and with m trials unsketched 1 - (1 - p) Phi(z)^m. nan where z
    is. ConfigError where `unsketched` is negative.

    >>> p_value(1.0, np.zeros(DRAWS))
    0.000999000999000999
    >>> round(p_value(2.0, np.zeros(DRAWS), unsketched=100), 3)
    0.9
    """
    if unsketched < 0:
        raise ConfigError(f"unsketched trials {unsketched}: must not be negative; read the ledger")
    if math.isnan(z):
        return math.nan
    values = finite(draws, "draws")
    sketched = (1 + int(np.count_nonzero(values >= z))) / (1 + values.size)
    return 1.0 - (1.0 - sketched) * NormalDist().cdf(z) ** unsketched if unsketched else sketched


def survivors(
    z: Any, sketches: Callable[[], Iterable[Floats]], draws: Any, *, size: float = 0.05
) -> Integers:
    """Return the trials that have skill, int64 (k,), rising: one or more of them wrongly in `size` of cases.

    z          float64 (n,): of all trials; nan where one has none
    sketches   gives their centred sketches, float64 (m, 256) a piece, in the order of `z`, as often as asked
    draws      float64 (1000,): of the same trials, and of others that count

    Those whose p-value is at most `size` pass; then those that pass among the rest, until none does. Romano
    and Wolf (2005), Stepwise multiple testing as formalized data snooping, Econometrica 73, 1237-1282.
    """
    ratios = np.asarray(z, dtype=np.float64)
    left = np.ones(ratios.size, dtype=np.bool_)
    while True:
        above = np.searchsorted(np.sort(finite(draws, "draws")), ratios)
        passed = left & ~np.isnan(ratios) & ((1.0 + DRAWS - above) / (1.0 + DRAWS) <= size)
        left &= ~passed
        if not passed.any() or not left.any():
            return np.flatnonzero(~left)
        running, first = RunningMaximum(), 0
        for piece in sketches():
            running.add(piece[left[first : first + len(piece)]])
            first += len(piece)
        draws = running.draws


def z_of(sample: SharpeSample) -> float:
    """Return a Sharpe ratio in standard errors; nan if nothing varies.

    The error is that of `SharpeSample.standard_error`, at the observed ratio, and at least what it is where
    the ratio is 0. A few large gains among many days without a trade have a skew that takes it to nothing:
    luck would count as a certainty.

    >>> few = SharpeSample(ratio=0.1, periods=401, skew=11.0, kurtosis=130.0)
    >>> round(0.1 / few.standard_error, 1), z_of(few)
    (4.2, 2.0)
    """
    least = math.sqrt(sample.dependence / (sample.periods - 1))
    error = max(sample.standard_error, least)
    return math.nan if math.isnan(sample.ratio) or not error > 0.0 else sample.ratio / error


def z_of_sums(sums: Any, sessions: float) -> Floats:
    """Return `z_of` for very many trials at once, float64 (n,), of the sums of x, x^2, x^3, x^4: (n, 4).

    nan where returns vary by no more than the rounding of the sums.

    >>> x = np.array([0.02, -0.01, 0.03, 0.01])
    >>> sums = [[(x**power).sum() for power in (1, 2, 3, 4)]]
    >>> bool(np.isclose(z_of_sums(sums, 4)[0], z_of(SharpeSample.of(x))))
    True
    """
    mean, square, third, fourth = (finite(sums, "sums", dimensions=2) / sessions).T
    variance = square - mean**2
    variance[variance <= _SUMS * square] = np.nan
    skew = (third - 3 * mean * square + 2 * mean**3) / variance**1.5
    kurtosis = (fourth - 4 * mean * third + 6 * mean**2 * square - 3 * mean**4) / variance**2
    ratio = mean / np.sqrt(variance * sessions / (sessions - 1))
    unit = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    # At least 1, as in `z_of`; this order of arguments lets nan through.
    z: Floats = ratio / np.sqrt(np.maximum(unit, 1.0) / (sessions - 1))
    return z


def z_of_blocks(returns: Any, days: Any, block: int) -> Floats:
    """Return the ratios, float64 (n,), of n trials' returns (n, S), whose error allows for dependence.

    The sum of returns, divided by the root of the sum of squares of what each block of dates adds to the
    centred ones: the scale of `sketch_of(returns, days, block)`. With K blocks that has Student's law with
    K - 1 degrees of freedom, from which it is brought to the normal one. nan where nothing varies.
    """
    from scipy.special import ndtri_exp, stdtr

    values = finite(returns, "returns", dimensions=2)
    number = np.unique(_day(days) // block, return_inverse=True)[1]
    total = values.sum(axis=1)
    rest = values - total[:, None] / values.shape[1]
    sums = np.zeros((number[-1] + 1, len(values)))
    np.add.at(sums, number, rest.T)
    blocks = len(sums)
    scale = np.sqrt((sums**2).sum(axis=0) * blocks / max(blocks - 1, 1))
    noise = scale <= np.sqrt(_ROUNDING) * np.abs(values).max(axis=1)
    ratio = np.divide(total, scale, where=~noise, out=np.full(len(values), np.nan))
    # From the side on which the probability is small, and so precise.
    z: Floats = -np.sign(ratio) * ndtri_exp(np.log(stdtr(blocks - 1, -np.abs(ratio))))
    return z


def effective(draws: Any) -> float:
    """Return how many independent trials have the same mean maximum: >= 1. Shown, never judged.

    The mean of max(0, best of N) is the integral of 1 - Phi(x)^N over x > 0.
    """
    mean = float(finite(draws, "draws").mean())
    below = np.log1p([-0.5 * math.erfc(x / math.sqrt(2.0)) for x in _GRID.tolist()])
    low, high = 0.0, math.log(1e15)
    while high - low > _TOLERANCE:
        middle = (low + high) / 2.0
        reached = float(np.trapezoid(-np.expm1(math.exp(middle) * below), _GRID))
        low, high = (middle, high) if reached < mean else (low, middle)
    return math.exp(high) if high > _TOLERANCE else 1.0
