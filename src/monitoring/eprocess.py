"""Evidence that may be looked at every night: e-processes of forward results, and the budget that they spend.

A candidate is registered once; from then on it is judged by what it earned in sessions that did not exist at
registration. An *e-value* is a non-negative number whose mean is at most 1 where there is no edge, so a large
one is rare by luck: P(E >= c) <= 1 / c. An *e-process* keeps that promise at whatever moment somebody looks
(Ville 1939, Étude critique de la notion de collectif). Nothing is assumed of the search that proposed the
candidate, nor of how candidates depend on one another.

**Everything is in deviations.** x is the session's residual result, fully costed, over the deviation that was
frozen at registration; see `standardised`. Arrays hold sessions along their last axis, candidates before it.

**A missing session (nan) is a factor of 1:** it neither adds evidence nor takes any, and counts as not
observed. That is fair where a session is missing whatever it earned. Results that are left out *because* they
were bad are outside every guarantee here, so whoever calls shows `observed` beside the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats, Integers

# The fractions staked per deviation. Together they have power from a Sharpe ratio of about 1 to 3 and more;
# at the largest, the guarantee ends with a loss beyond 1 / .15 = 6.7 deviations in one session.
BETS = (0.01, 0.02, 0.04, 0.06, 0.09, 0.12, 0.15)
# The detector counts gains up to this many deviations; 1 - bet x 6 stays positive at every bet.
LARGEST_GAIN = 6.0
SESSIONS = 252

# Expected false promotions among the registrations of one year: to a pilot size, and to full size.
PILOT, FULL = 2.0, 0.2
PER_YEAR = 12

# 1 - Phi(z) resolves no less than this in float64; taking a p-value for greater is on the safe side.
_LEAST_P = 2.0**-53
_LARGEST_LOG = 700.0
_MEANS = 81


def standardised(returns: Any, market: Any, *, beta: Any, sigma: Any) -> Floats:
    """Return x = (r - beta m) / sigma, float64 (..., T): what the evidence is made of.

    returns   (..., T): session results r of the candidates, fully costed
    market    (T,) or (..., T): what holding one unit of the traded instrument returned in the same sessions
    beta      (...): the candidate's mean signed exposure, frozen at registration. Left in, the market's
              drift makes whoever is merely long look skilful
    sigma     (...): deviation of the residual over history, > 0, frozen at registration. A deviation that is
              estimated again from the sessions it scales makes the mean of the evidence exceed 1

    nan where a result is missing. DataError for an infinite value, ConfigError for a sigma that is not
    positive.
    """
    scale = np.asarray(sigma, dtype=np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ConfigError(
            f"sigma {sigma}: must be positive and finite; measure it over the candidate's history"
        )
    exposure = np.asarray(beta, dtype=np.float64)
    residual = np.asarray(returns, dtype=np.float64) - exposure[..., None] * np.asarray(
        market, dtype=np.float64
    )
    return _sessions(residual / scale[..., None])


def observed(x: Any) -> Integers:
    """Return the number of sessions that are not missing so far, int64 (..., T)."""
    return np.cumsum(~np.isnan(_sessions(x)), axis=-1, dtype=np.int64)


def e_process(x: Any) -> Floats:
    """Return the forward evidence E(t) after each session, float64 (..., T), >= 0.

    E(t) = mean over the bets b of prod_{s <= t} max(1 + b x_s, 0)

    Null hypothesis: E[x_t | past] <= 0. Then the mean of E(t) is at most 1 at every t and every stopping
    time, and P(E ever reaches c) <= 1 / c. Each *factor* is clipped at 0, not x: a floor under x would lift
    the mean of left-skewed results above zero. A loss beyond 1 / b deviations is not counted in full by the
    bet b (6.7 at the largest, 100 at the smallest) and lies outside the guarantee.

    x   float64 (..., T); nan: the session is missing, factor 1. DataError where one is infinite.

    Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86, 1-27.

    >>> e_process([0.5, float("nan"), 1.0]).round(4)
    array([1.035 , 1.035 , 1.1086])
    """
    known = np.nan_to_num(_sessions(x), nan=0.0)
    total = np.zeros(known.shape)
    for bet in BETS:
        # In logarithms, so that a fortune neither overflows nor comes back from a factor of zero.
        with np.errstate(divide="ignore"):
            wealth = np.cumsum(np.log(np.maximum(1.0 + bet * known, 0.0)), axis=-1)
        total += np.exp(np.minimum(wealth, _LARGEST_LOG))
    return total / len(BETS)


def history_evidence(p_value: float, trials: int, *, adaptive: bool) -> float:
    """Return the evidence of history, an e-value to be used once: 1/2 p^(-1/2) with p = min(1, K p_raw).

    p_value    of the candidate's history alone, on its residual, [0, 1]
    trials     K >= 1: all trials since the registration that preceded the candidate's *own first evaluation*,
               and what of its declared space is still to come. Counted from the last registration, the
               second best of an old batch would count as nothing; counted as trials come, whoever waits for a
               lucky night would be corrected too little
    adaptive   whether its search looked at results before it proposed; then no number of trials bounds the
               luck in the p-value, and history counts as 1: neither for nor against

    The mean over a uniform p is 1. Lowest 0.5: a declared search whose winner could be luck pays for it.
    DataError for a p-value outside [0, 1] or nan, ConfigError for fewer trials than the one judged.

    Vovk and Wang (2021), E-values: calibration, combination and applications, Annals of Statistics 49,
    1736-1754.

    >>> round(history_evidence(0.00001, 100, adaptive=False), 2)
    15.81
    >>> history_evidence(0.00001, 100, adaptive=True)
    1.0
    """
    if not 0 <= p_value <= 1:
        raise DataError(f"p-value {p_value}: must lie in [0, 1]; measure it over the candidate's history")
    if trials < 1:
        raise ConfigError(f"trials {trials}: at least the one that is judged; ask the ledger")
    if adaptive:
        return 1.0
    return 0.5 / math.sqrt(min(1.0, trials * max(p_value, _LEAST_P)))


def weight(spent: Sequence[float], *, per_year: int = PER_YEAR) -> float:
    """Return the share of the year's error budget that the next registration gets; 0.0 where none is left.

    spent      the weights of *every* registration of this year: promoted, retired, failed and deleted ones
               too. None is refunded, or trying long enough would promote anything
    per_year   most registrations in a year, >= 1

    The weights of a year never sum to more than 1, also where `per_year` changed during it.

    >>> weight([]), weight([1 / 12] * 12)
    (0.08333333333333333, 0.0)
    """
    if per_year < 1:
        raise ConfigError(f"registrations per year {per_year}: must be at least 1")
    share = 1.0 / per_year
    # A dozen twelfths are one, whatever the last bit of their sum.
    left = 1.0 + 1e-12 - math.fsum(spent)
    return share if len(spent) < per_year and share <= left else 0.0


def promotion_threshold(weight: float, allowed: float) -> float:
    """Return what history evidence x forward evidence must reach: 1 / (allowed x weight); inf at weight 0.

    weight    share of the year's budget that the registration spent, [0, 1]
    allowed   expected number of false promotions among the registrations of one year: `PILOT` or `FULL`

    Each registration is promoted falsely with a probability of at most allowed x weight (Ville), and weights
    sum to at most 1, so the expected number in a year is at most `allowed`, whatever depends on whatever.
    ConfigError outside these ranges, or where the product reaches 1: that would promote at registration.

    >>> round(promotion_threshold(1 / 12, PILOT), 9), round(promotion_threshold(1 / 12, FULL), 9)
    (6.0, 60.0)
    """
    if not 0 <= weight <= 1:
        raise ConfigError(f"weight {weight}: a share of the year's budget; must lie in [0, 1]")
    if not (allowed > 0 and allowed * weight < 1):
        raise ConfigError(
            f"{allowed} false promotions a year at weight {weight}: must be positive, and below 1 for each "
            "registration; allow fewer, or more registrations of less weight"
        )
    return 1.0 / (allowed * weight) if weight > 0 else math.inf


def first_reached(path: Any, threshold: Any) -> Integers:
    """Return the first session in which a path (..., T) is at its threshold (...) or above; -1 for never."""
    reached = np.asarray(path) >= np.asarray(threshold)[..., None]
    # A last column that is always reached: an empty path, that of a candidate of today, has none of its own.
    end = np.ones((*reached.shape[:-1], 1), dtype=np.bool_)
    return np.where(reached.any(axis=-1), np.concatenate((reached, end), axis=-1).argmax(axis=-1), -1)


def e_bh(e_values: Any, rate: float) -> NDArray[np.bool_]:
    """Return which of n candidates stand with a false discovery rate of at most `rate`, bool (n,).

    The k largest, for the largest k whose k-th e-value is at least n / (k rate); under any dependence.
    `e_values` (n,), >= 0, at one moment; `rate` in (0, 1). DataError for one that is negative or nan.

    Wang and Ramdas (2022), False discovery rate control with e-values, JRSS B 84, 822-852.

    >>> e_bh([30.0, 1.0, 60.0], 0.1)
    array([ True, False,  True])
    """
    values = np.asarray(e_values, dtype=np.float64)
    if not 0 < rate < 1:
        raise ConfigError(f"false discovery rate {rate}: must lie between 0 and 1, such as 0.1")
    if values.ndim != 1 or not (values >= 0).all():
        raise DataError("e-values: need one number >= 0 for each candidate, and none missing")
    falling = np.sort(values)[::-1]
    needed = values.size / (rate * np.arange(1, values.size + 1))
    kept = np.flatnonzero(falling >= needed)
    return values >= needed[kept[-1]] if kept.size else np.zeros(values.size, dtype=np.bool_)


def e_detector(x: Any) -> Floats:
    """Return how much speaks for a lost edge after each session, float64 (..., T), >= 0.

    S_b <- (S_b + 1/7) (1 - b min(x, 6)) for each of the seven bets b, from 0; S is their sum.

    Null hypothesis: E[min(x_t, 6) | past] >= 0. Retire where S reaches `alarm_threshold`; no moment of change
    needs to be named, since every session adds a new start. nan: the session is missing, S stays. DataError
    where x is infinite.

    Shin, Ramdas and Rinaldo (2024), E-detectors: a nonparametric framework for sequential change detection,
    New England Journal of Statistics in Data Science 2, 229-260.
    """
    sessions = _sessions(x)
    bets = np.array(BETS)
    started = np.zeros((*sessions.shape[:-1], bets.size))
    path = np.empty(sessions.shape)
    for each in range(sessions.shape[-1]):
        gain = sessions[..., each]
        missing = np.isnan(gain)[..., None]
        factor = 1.0 - bets * np.minimum(gain, LARGEST_GAIN)[..., None]
        grown = np.minimum((started + 1.0 / bets.size) * factor, math.exp(_LARGEST_LOG))
        started = np.where(missing, started, grown)
        path[..., each] = started.sum(axis=-1)
    return path


def alarm_threshold(years: float = 10.0) -> float:
    """Return the height of `e_detector` at which false alarms are at least `years` apart on average.

    Under the null a session adds seven shares of 1/7 and then multiplies by factors whose mean is at most 1,
    so S(t) - t does not rise on average. At the alarm, session tau, c <= E[S(tau)] <= E[tau] by optional
    stopping: the mean time to an alarm at c is at least c sessions. Hence c = 252 x years, whatever the law
    of x.
    """
    if not years > 0:
        raise ConfigError(f"years between false alarms {years}: must be positive, such as 10")
    return SESSIONS * years


def confidence_sequence(x: Any, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of the mean of x after each session, float64 (..., T) each.

    For a paired difference, challenger minus champion in the same session, over its deviation in history. The
    bounds are in deviations too. The true mean lies inside *all* of them at once with a probability of at
    least `level`, so that looking every night and stopping on a whim is allowed: m is outside once E(t) of
    x - m, or of m - x, reaches 2 / (1 - level). Nothing is asked of the law but that its mean stays, and that
    sessions lie within 6.7 deviations of it. (Sequences that estimate the deviation as they go need many
    trades before they are right: where losses are rare, they are wrong several times as often as they say.)

    x       float64 (..., T); nan: missing in one of both, left out. DataError where one is infinite
    level   (0, 1)

    -inf and inf where nothing can be said yet. Bounds are looked for within one deviation, a Sharpe ratio of
    16 a year, and come no closer to the mean than .005, or .08 a year, however long the test.

    Waudby-Smith and Ramdas (2024), as `e_process`, theorem 3 and section 4.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level {level}: must lie between 0 and 1, such as 0.95")
    sessions = _sessions(x)
    return -_upper(-sessions, level), _upper(sessions, level)


def _upper(sessions: Floats, level: float) -> Floats:
    """Return the upper bounds: the least m for which `m - x` has reached the threshold."""
    means = np.linspace(-1.0, 1.0, _MEANS)
    needed = math.log(2.0 / (1.0 - level))
    bound = np.full(sessions.shape, np.inf)
    above = np.full(sessions.shape, np.nan)
    for mean in means[::-1]:
        with np.errstate(divide="ignore"):
            height = np.log(e_process(mean - sessions)) - needed
        # Between two means the logarithm is nearly a line.
        crossing = (height < 0) & (above >= 0)
        step = means[1] - means[0]
        between = np.divide(above, above - height, out=np.ones(sessions.shape), where=crossing)
        bound[crossing] = (mean + step * (1.0 - between))[crossing]
        above = height
    bound[above >= 0] = means[0]
    return bound


def _sessions(values: Any) -> Floats:
    """Return `values` as float64 (..., T); DataError where one is infinite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 1:
        raise DataError("sessions: a single number; give one for each session")
    if np.isinf(array).any():
        raise DataError("sessions: an infinite result; fix it, or pass nan where it is missing")
    return array
