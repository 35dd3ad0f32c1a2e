"""Decay of an edge: information coefficients by horizon and time, and a half-life with its interval.

The information coefficient of horizon h is Spearman's rank correlation of a signal with the return of the
h-th session after it (Grinold and Kahn, Active Portfolio Management, 2nd ed. (2000), chapters 6 and 13).
Where an edge fades at a constant rate it is a 2^(-(h - 1) / half-life).

One year of sessions says little about a half-life: a true 8 days is fitted as anything from 2 to 41. So
nothing acts on the estimate. The interval is the projection of a joint region of half-life and size: errors
at neighbouring horizons are correlated as the signal is, which it knows, and where the data cannot tell a
half-life from any longer one, its upper end is infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats, Integers
from lockstep.settings import Settings

ALERT, WARNING, NOTHING, NOT_ENOUGH, NO_EDGE = "alert", "warning", "nothing found", "not enough", "no edge"


class DecaySettings(Settings):
    """When a half-life calls for action; days are sessions.

    alert_below, warning_below   half-lives; the interval's upper end must lie below them
    window         sessions that are looked at, the last ones
    least          observations at horizon 1 without which nothing is said
    horizons       that are fitted, 1 to this one
    level          of the interval; significance: of the edge at horizon 1, one-sided
    """

    alert_below: float = Field(default=8.0, gt=0)
    warning_below: float = Field(default=15.0, gt=0)
    window: int = Field(default=252, ge=20)
    least: int = Field(default=60, ge=20)
    horizons: int = Field(default=20, ge=3)
    level: float = Field(default=0.95, gt=0, lt=1)
    significance: float = Field(default=0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> DecaySettings:
        if self.alert_below > self.warning_below:
            raise ValueError(
                f"alert_below {self.alert_below:g} is above warning_below {self.warning_below:g}; swap them"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class DecayVerdict:
    """What is known of an edge's decay.

    verdict        `alert` or `warning`: the interval's upper end lies below the key; `nothing found`;
                   `no edge`: not significant at horizon 1, so that there is no half-life to speak of;
                   `not enough`
    observations   at horizon 1
    coefficients   float (horizons,), the information coefficient of each, NaN where there is too little
    p_value        one-sided, of the coefficient at horizon 1, autocorrelation allowed for; NaN: not tested
    half_life      estimate in sessions, inf: no decay; low, high: its interval, 0 to inf: nothing is known
    settings       the keys that it was judged by
    """

    verdict: str
    observations: int
    coefficients: tuple[float, ...]
    p_value: float
    half_life: float
    low: float
    high: float
    settings: DecaySettings

    @property
    def sentence(self) -> str:
        """What was found, and what to do."""
        window, fitted = self.settings.window, self._fitted
        if self.verdict == NOT_ENOUGH:
            return (
                f"decay: {self.observations} observations in {window} sessions; needs "
                f"{self.settings.least}; wait, or lengthen the window"
            )
        if self.verdict == NO_EDGE:
            return (
                f"decay: the coefficient at horizon 1 is {self.coefficients[0]:.3f} (p {self.p_value:.2f}) "
                f"in {window} sessions, no measurable edge; without one there is no half-life, see the alarms"
            )
        if self.verdict == NOTHING:
            below = self.half_life < self.settings.warning_below
            doubt = "; the estimate is below a key, its interval is not, so do nothing yet" if below else ""
            return f"decay: {fitted}{doubt}"
        key = self.settings.alert_below if self.verdict == ALERT else self.settings.warning_below
        return f"decay, {self.verdict}: {fitted}, all below {key:g}, in the last {window} sessions; {_ROTATE}"

    def recommendation(self, name: str) -> str:
        """Return the written recommendation for the model or feature `name`, empty where there is none."""
        if self.verdict not in (ALERT, WARNING):
            return ""
        horizon = max(1, math.floor(self.high))
        return (
            f"Rotate {name}: {self._fitted}. Write a challenger configuration that holds positions for at "
            f"most {horizon} sessions or replaces {name}, and register it; it counts in the ledger like any "
            "other. Nothing was changed."
        )

    @property
    def _fitted(self) -> str:
        return (
            f"half-life {self.half_life:.1f} sessions, {self.settings.level:.0%} interval {self.low:.1f} to "
            f"{self.high:.1f}"
        )


_ROTATE = "register a challenger (see the recommendation)"


def information_coefficients(signal: Any, returns: Any, horizons: int, *, least: int = 20) -> Floats:
    """Return Spearman's correlation of signal(t) with return(t + h) for h = 1 .. horizons: float64 (k,).

    signal    float64 (n,), what was said at the end of each session, such as probabilities; NaN: nothing
    returns   float64 (n,), of each session; NaN: none
    least     pairs below which a coefficient is NaN; so it is where one side does not vary

    Ties get midranks. DataError for lengths that differ or infinite values, ConfigError for no horizon.

    >>> information_coefficients([1, 2, 3, 4, 5], [0, 1, 2, 3, 4], 2, least=3)
    array([1., 1.])
    """
    x, y = _checked(signal, returns)
    if horizons < 1:
        raise ConfigError(f"horizons {horizons}: must be at least 1 session; 20 is usual")
    return np.array([_spearman(*_pairs(x, y, h), least) for h in range(1, horizons + 1)])


def coefficients_over_time(
    signal: Any, returns: Any, settings: DecaySettings | None = None, *, every: int = 21
) -> tuple[Integers, Floats]:
    """Return the coefficients of one window after the other: where each ends, int64 (k,), and (k, horizons).

    Windows end at the last session and at every 21st before it; a coefficient at one end depends on nothing
    that came later. Arguments and errors as of `information_coefficients`; NaN below `least` pairs.
    """
    chosen = settings or DecaySettings()
    x, y = _checked(signal, returns)
    if every < 1:
        raise ConfigError(f"every {every}: must be at least 1 session; 21 is a month")
    ends = np.arange(x.size, chosen.window - 1, -every, dtype=np.int64)[::-1]
    rows = [
        information_coefficients(
            x[end - chosen.window : end], y[end - chosen.window : end], chosen.horizons, least=chosen.least
        )
        for end in ends
    ]
    return ends - 1, np.array(rows).reshape(ends.size, chosen.horizons)


def edge_p_value(signal: Any, returns: Any) -> float:
    """Return the one-sided p-value of a coefficient above 0 at horizon 1, [0, 1].

    By regression of ranks on ranks with Newey-West errors of 4 (n / 100)^(2/9) lags (Newey and West,
    Automatic Lag Selection in Covariance Matrix Estimation, Review of Economic Studies 61 (1994), 631-653).
    NaN where one side does not vary, or there are fewer than 20 pairs.
    """
    from scipy import stats  # late: every configuration of a desk loads this file

    x, y = _pairs(*_checked(signal, returns), 1)
    if x.size < _LEAST_PAIRS or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return math.nan
    import statsmodels.api as sm

    ranks = [stats.rankdata(each) / each.size for each in (x, y)]
    lags = math.floor(4.0 * (x.size / 100.0) ** (2.0 / 9.0))
    model = sm.OLS(ranks[1], sm.add_constant(ranks[0]))
    fitted = model.fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    return float(stats.t.sf(fitted.tvalues[1], x.size - 2))


def half_life(coefficients: Any, covariance: Any, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the half-life of a 2^(-(h - 1) / half-life), a >= 0, and its interval, in sessions, [0, inf].

    coefficients   float64 (horizons,), finite
    covariance     float64 (horizons, horizons) of their errors, positive definite; see `error_covariance`

    Generalised least squares over a grid from 0 (gone after one session) to inf (no decay). The interval has
    every half-life of the joint region of half-life and a (chi-square, two degrees of freedom), which holds
    the truth however little a tells of it; one degree would hold a true 8 sessions in 88 to 92 % of the years
    instead of 95. (Dufour, Some Impossibility Theorems in Econometrics with Applications to Structural and
    Dynamic Models, Econometrica 65 (1997), pp. 1365-1387: projection.)

    >>> low, found, high = sorted(half_life([0.8, 0.4, 0.2, 0.1], np.eye(4) * 1e-6))
    >>> bool(low < 1 < high), round(found, 2)
    (True, 1.0)
    """
    from scipy import stats

    ic = np.asarray(coefficients, dtype=np.float64)
    steps = np.arange(ic.size)
    shapes = np.vstack(
        [(steps == 0).astype(np.float64), 2.0 ** (-steps / _HALF_LIVES[1:-1, None]), np.ones(ic.size)]
    )
    whitened = np.linalg.inv(np.linalg.cholesky(np.asarray(covariance, dtype=np.float64)))
    errors, curves = whitened @ ic, shapes @ whitened.T
    height = np.maximum(curves @ errors, 0.0) / (curves**2).sum(axis=1)
    distance = ((errors - height[:, None] * curves) ** 2).sum(axis=1)
    inside = np.flatnonzero(distance <= distance.min() + stats.chi2.ppf(level, 2))
    # The next values of the grid were rejected: the interval ends somewhere before them.
    low, high = max(int(inside[0]) - 1, 0), min(int(inside[-1]) + 1, _HALF_LIVES.size - 1)
    return float(_HALF_LIVES[distance.argmin()]), float(_HALF_LIVES[low]), float(_HALF_LIVES[high])


def error_covariance(signal: Any, counts: Any) -> Floats:
    """Return the covariance of coefficients' errors over horizons, float64 (horizons, horizons).

    signal   float64 (n,), NaN: nothing; counts: pairs at each horizon, (horizons,)

    Where returns are not autocorrelated, the errors at horizons h and k are correlated as the signal is with
    itself |h - k| sessions later: each is a mean of signal times return.
    """
    from scipy import stats

    x = np.asarray(signal, dtype=np.float64)
    known = ~np.isnan(x)
    scores = np.zeros(x.size)
    scores[known] = stats.rankdata(x[known]) - (known.sum() + 1.0) / 2.0
    pairs = np.asarray(counts, dtype=np.float64)
    own = np.array([float(scores[: x.size - lag] @ scores[lag:]) for lag in range(pairs.size)])
    lags = np.abs(np.subtract.outer(np.arange(pairs.size), np.arange(pairs.size)))
    covariance = (own / own[0])[lags] / np.sqrt(np.outer(pairs, pairs))
    return np.asarray(covariance + np.eye(pairs.size) * 1e-9, dtype=np.float64)


def decay(signal: Any, returns: Any, settings: DecaySettings | None = None) -> DecayVerdict:
    """Return how a signal's edge decays in the last window; arguments as of `information_coefficients`.

    >>> decay([0.1, 0.2, 0.3], [0.0, 0.1, 0.2]).sentence
    'decay: 2 observations in 252 sessions; needs 60; wait, or lengthen the window'
    """
    chosen = settings or DecaySettings()
    x, y = (each[-chosen.window :] for each in _checked(signal, returns))
    ic = information_coefficients(x, y, chosen.horizons)
    counts = [_pairs(x, y, h)[0].size for h in range(1, chosen.horizons + 1)]
    p_value = edge_p_value(x, y)
    fitted = (math.nan, 0.0, math.inf)
    if counts[0] < chosen.least or not np.isfinite(ic).all() or math.isnan(p_value):
        verdict = NOT_ENOUGH
    elif p_value > chosen.significance:
        verdict = NO_EDGE
    else:
        fitted = half_life(ic, error_covariance(x, counts), level=chosen.level)
        verdict = _judged(fitted[2], chosen)
    return DecayVerdict(
        verdict=verdict,
        observations=counts[0],
        coefficients=tuple(ic.tolist()),
        p_value=p_value,
        half_life=fitted[0],
        low=fitted[1],
        high=fitted[2],
        settings=chosen,
    )


def _judged(high: float, settings: DecaySettings) -> str:
    if high < settings.alert_below:
        return ALERT
    return WARNING if high < settings.warning_below else NOTHING


_LEAST_PAIRS = 20
_HALF_LIVES = np.concatenate(([0.0], np.geomspace(0.2, 500.0, 400), [math.inf]))


def _checked(signal: Any, returns: Any) -> tuple[Floats, Floats]:
    x, y = (np.asarray(each, dtype=np.float64) for each in (signal, returns))
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"decay: signal {x.shape}, returns {y.shape}; give one of each for every session")
    if np.isinf(x).any() or np.isinf(y).any():
        raise DataError("decay: a signal or return is infinite; give numbers, or NaN where there is none")
    return x, y


def _pairs(x: Floats, y: Floats, horizon: int) -> tuple[Floats, Floats]:
    said, came = x[: max(0, x.size - horizon)], y[horizon:]
    known = ~(np.isnan(said) | np.isnan(came))
    return said[known], came[known]


def _spearman(x: Floats, y: Floats, least: int) -> float:
    from scipy import stats

    if x.size < max(least, 2) or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return math.nan
    first, second = (stats.rankdata(each) - (x.size + 1.0) / 2.0 for each in (x, y))
    return float(first @ second / math.sqrt(float(first @ first) * float(second @ second)))
