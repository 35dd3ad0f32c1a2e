"""What the statistics ask of an array before they believe it.

How far a Sharpe ratio can be trusted: its error, its probability, its deflation by the number of trials.

**Everything here is per period** (per session, say): a Sharpe ratio of 2.5 a year on 250 days goes in as
2.5 / sqrt(250), a variance of yearly ratios as variance / 250. Kurtosis is 3 for a normal law.

**Which variance.** Every standard error here is that of the ratio *at the ratio that was observed*, the first
formula of BL12: (1 - skew SR + (kurtosis - 1) / 4 SR^2) / (T - 1), not the variance at the ratio of the null
hypothesis, which is 1 / (T - 1) for a null of zero. It holds for returns that are independent in time.
Where they are not, `SharpeSample.of_blocks` multiplies it by `dependence`, measured over blocks.

nan rule: an argument that is nan gives nan. Arguments outside their range raise ConfigError.

Sources: BL12 = Bailey and López de Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2),
3-44; BL14 = Bailey and López de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management
40(5), 94-107; BBLZ14 = Bailey, Borwein, López de Prado and Zhu (2014), Pseudo-Mathematics and Financial
Charlatanism, Notices of the AMS 61(5), 458-471. PR94 = Politis and Romano (1994), The Stationary Bootstrap,
JASA 89, 1303-1313. LW08 = Ledoit and Wolf (2008), Robust Performance Hypothesis Testing with the Sharpe
Ratio, Journal of Empirical Finance 15, 850-859.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers, kurtosis, sharpe, skew
from lockstep.metrics.arrays import RESIDUE


def finite(values: Any, name: str, *, dimensions: int = 1, least: int = 1) -> Floats:
    """Return `values` as contiguous float64; DataError unless it has the shape and every value is finite.

    `least` is the smallest admitted length of the first axis. Statistics of a series with holes would
    silently be those of another series, so missing values are refused, never dropped.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise DataError(f"{name}: {array.ndim} dimensions: need {dimensions}; reshape the array")
    if array.shape[0] < least:
        raise DataError(f"{name}: {array.shape[0]} rows: need at least {least}; use a longer sample")
    if not np.isfinite(array).all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(array)))
        raise DataError(f"{name}{list(where)}: {array[where]}: must be finite; drop or fix the row")
    return array


def stamps(values: Any, name: str) -> Integers:
    """Return `values` as int64 (n,); DataError unless they are integers (or datetime64) of one dimension."""
    array = np.asarray(values)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ns]").astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{name}: {array.dtype} with {array.ndim} dimensions: need int64 stamps (n,); "
            "pass UTC nanoseconds or bar numbers"
        )
    return array.astype(np.int64)


_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class SharpeSample:
    """A Sharpe ratio and what its error depends on.

    ratio      per period, mean / standard deviation (ddof 1)
    periods    number of returns T, >= 2
    skew       third standardised moment, 0 for a symmetric law
    kurtosis   fourth standardised moment, 3 for a normal law, always >= 1 + skew ** 2
    dependence variance of the ratio over that of independent returns, > 0: 1 without autocorrelation
    """

    ratio: float
    periods: int
    skew: float = 0.0
    kurtosis: float = 3.0
    dependence: float = 1.0

    def __post_init__(self) -> None:
        if self.periods < 2:
            raise ConfigError(f"Sharpe ratio of {self.periods} periods: need at least 2; use a longer sample")
        if self.kurtosis < (1 + self.skew**2) * (1 - 1e-6):
            raise ConfigError(
                f"kurtosis {self.kurtosis} with skew {self.skew}: no law has it (kurtosis >= 1 + skew^2); "
                "pass the full kurtosis, 3 for a normal law, not the excess"
            )
        if self.dependence <= 0:
            raise ConfigError(
                f"dependence {self.dependence}: is a ratio of variances; must be above 0, 1 for independence"
            )

    @classmethod
    def of(cls, returns: Any) -> Self:
        """Measure `returns`, float64 (T,); ratio, skew and kurtosis are nan where they do not vary.

        DataError for fewer than 2 returns or one that is not finite.
        """
        values = finite(returns, "returns", least=2)
        return cls(ratio=sharpe(values), periods=values.size, skew=skew(values), kurtosis=kurtosis(values))

    @classmethod
    def of_blocks(cls, returns: Any, block: int | None = None) -> Self:
        """Measure `returns`, float64 (T,), T >= 8, and how much their dependence in time adds to the error.

        A ratio's error is the mean of its influences u - SR / 2 x (u^2 - 1), u = (r - mean) / deviation
        (LW08, section 3.1, by the delta method): independent returns give them the variance of
        `unit_variance`. `dependence` is their variance over blocks, see `block_variance`, divided by their
        plain variance. `block` as there. At phi = .3 and 500 periods a 5 % test on the plain error rejects
        10 to 13 % of the time, on this one 5 to 6 %; with independent returns 5 %.

        nan and errors as in `of`; the dependence of returns that do not vary is 1.
        """
        plain = cls.of(finite(returns, "returns", least=8))
        if math.isnan(plain.ratio):
            return plain
        values = np.asarray(returns, dtype=np.float64)
        units = (values - values.mean()) / values.std(ddof=1)
        influences = units - plain.ratio / 2.0 * (units**2 - 1.0)
        own = float(influences.var())
        if own <= RESIDUE**2:
            return plain
        return replace(plain, dependence=block_variance(influences, block) / own)

    @property
    def unit_variance(self) -> float:
        """Return (1 - skew x SR + (kurtosis - 1) / 4 x SR^2) x dependence: T times the ratio's variance.

        At the observed ratio, not at that of a null hypothesis. Never negative, since kurtosis >= 1 + skew^2.
        BL12, section 2; Mertens (2002).
        """
        value = 1.0 - self.skew * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2
        # Rounding can leave -1e-17; this order of arguments lets nan through.
        return max(value, 0.0) * self.dependence

    @property
    def standard_error(self) -> float:
        """Return sqrt(unit_variance / (T - 1)), per period, at the observed ratio; BL12, section 3."""
        return math.sqrt(self.unit_variance / (self.periods - 1))


def block_of(periods: int) -> int:
    """Return a mean block length that needs no estimate: the whole number from T^(1/3) up, >= 1.

    It grows as the length does that minimises the error of a long-run variance (Politis and White 2004).
    """
    # 1000 ** (1 / 3) is a hair below ten and 8 ** (1 / 3) exactly two; neither may be rounded up.
    return max(1, math.ceil(round(math.cbrt(periods), 9)))


def block_variance(values: Any, block: int | None = None) -> float:
    """Return the long-run variance of `values`, float64 (T,), T >= 8: T times the variance of their mean.

    That of the stationary bootstrap's mean, in closed form (PR94, lemma 1), so that nothing is drawn:
    c(0) + 2 sum over k of (1 - k / T) (1 - 1 / b)^k c(k), with circular autocovariances c and the mean block
    length b: `block`, 1 ... T, by default `block_of(T)`.
    Divided by 1 - (2 b - 1) / T for the mean that was estimated from the same values: with independent values
    its expectation is then their variance. Above a sixth of T the divisor stays at that of a sixth, below
    which too few blocks are left. At least 1 % of the plain variance: an estimate that is a difference must
    not reach zero.

    DataError for fewer than 8 values or one that is not finite, ConfigError for a block out of range.
    """
    array = finite(values, "values", least=8)
    periods = array.size
    length = block_of(periods) if block is None else block
    if not 1 <= length <= periods:
        raise ConfigError(f"block length {length}: must lie in 1 ... {periods}, the number of values")
    spectrum = np.abs(np.fft.rfft(array - array.mean())) ** 2
    covariance = np.fft.irfft(spectrum, periods) / periods
    lag = np.arange(1, periods)
    weight = (1.0 - lag / periods) * (1.0 - 1.0 / length) ** lag
    total = float(covariance[0] + 2.0 * (weight @ covariance[1:]))
    lost = (2 * min(length, periods // 6) - 1) / periods
    return max(total / (1.0 - lost), 0.01 * float(covariance[0]))


def probabilistic_sharpe(sample: SharpeSample, benchmark: float = 0.0) -> float:
    """Probability that the true ratio exceeds `benchmark` (per period): [0, 1].

    PSR = Phi((SR - benchmark) / standard error), the error at the observed ratio; BL12, section 3. For
    returns that are independent in time, unless the sample is `SharpeSample.of_blocks`.
    """
    gap = sample.ratio - benchmark
    if math.isnan(gap) or math.isnan(sample.standard_error):
        return math.nan
    if sample.standard_error == 0.0:
        return 0.5 if gap == 0 else float(gap > 0)
    return _NORMAL.cdf(gap / sample.standard_error)


def expected_maximum(trials: float, variance: float = 1.0) -> float:
    """Expected greatest of `trials` independent ratios that have no skill and this `variance`, >= 0.

    sqrt(V) x ((1 - g) x z(1 - 1 / N) + g x z(1 - 1 / (N e))), g the Euler-Mascheroni constant, z the normal
    quantile; BBLZ14, eq. 4; BL14. 0 for one trial, where nothing was chosen. `trials` >= 1 need not be whole;
    `variance` >= 0 is of the trials' ratios, per period.
    """
    if math.isnan(trials) or math.isnan(variance):
        return math.nan
    if trials < 1:
        raise ConfigError(f"trials {trials}: at least the one that is judged; count it")
    if variance < 0:
        raise ConfigError(f"variance of the trials' Sharpe ratios {variance}: must not be negative")
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    # The approximation is one for many trials and falls below zero near N = 1, where the truth is zero.
    return math.sqrt(variance) * max(0.0, (1.0 - np.euler_gamma) * first + np.euler_gamma * second)


def deflated_sharpe(sample: SharpeSample, *, trials: float, variance: float) -> float:
    """Probability that the chosen trial has skill, given how many were tried: [0, 1].

    DSR = PSR(benchmark = expected_maximum(trials, variance)), with the standard error at the observed ratio;
    BL14. `trials` >= 1 are independent ones, `variance` is that of the trials' ratios per period. It is for
    display: a winner beats the *expected* best of pure luck by 1.64 errors to reach 95 %, which refuses
    more than 19 of 20 lucky ones. What decides is the test of the maximum itself.
    """
    return probabilistic_sharpe(sample, expected_maximum(trials, variance))


def minimum_track_record(sample: SharpeSample, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Periods after which this ratio would exceed `benchmark` with `confidence`; inf where it does not.

    1 + unit_variance x (z(confidence) / (SR - benchmark))^2, the variance at the observed ratio; BL12,
    section 4. `confidence` in (0.5, 1).
    """
    if not 0.5 < confidence < 1:
        raise ConfigError(f"confidence {confidence}: must be above 0.5 and below 1, such as 0.95")
    gap = sample.ratio - benchmark
    if math.isnan(gap):
        return math.nan
    if gap <= 0:
        return math.inf
    return 1.0 + sample.unit_variance * (_NORMAL.inv_cdf(confidence) / gap) ** 2


def minimum_backtest_length(trials: float, yearly_sharpe: float = 1.0) -> float:
    """Years of data below which the best of `trials` without skill is expected to reach `yearly_sharpe`.

    (expected_maximum(N) / yearly Sharpe)^2; BBLZ14, theorem 1 and eq. 6. `yearly_sharpe` > 0.
    """
    if not yearly_sharpe > 0:
        raise ConfigError(
            f"yearly Sharpe ratio {yearly_sharpe}: must be positive; use the one you would trust"
        )
    return (expected_maximum(trials) / yearly_sharpe) ** 2


def one_sided_p_values(ratios: Floats, periods: int) -> Floats:
    """Return p-values of `ratios` (n,), per period, against no skill: 1 - PSR(0), float64 (n,).

    The error is that at the observed ratio, for normal returns: sqrt((1 + SR^2 / 2) / (T - 1)). The input of
    `multiple_testing.adjusted` for trials of which only the ratio was kept; nan stays nan.
    """
    return np.array(
        [1.0 - probabilistic_sharpe(SharpeSample(ratio=float(each), periods=periods)) for each in ratios]
    )
