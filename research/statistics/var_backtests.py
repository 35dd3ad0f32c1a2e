"""Were the losses those that value at risk and expected shortfall had forecast?

| test                   | what would show                                       | source                |
|------------------------|-------------------------------------------------------|-----------------------|
| `kupiec`               | too many violations, or too few                       | Kupiec                |
| `independence`         | violations that follow one another                    | Christoffersen        |
| `conditional_coverage` | either of both                                        | Christoffersen        |
| `shortfall_given_hit`  | violations deeper than the expected shortfall         | Acerbi, Szekely: Z1   |
| `shortfall`            | losses beyond the value at risk: too many or too deep | Acerbi, Szekely: Z2   |
| e-process              | the same, and it may be looked at every day           | Wang, Wang and Ziegel |

At 99 % a year has two or three violations, and the asymptotic laws are wrong: their tests reject correct
forecasts in 7 to 10 % of cases instead of 5 %. Each p-value here is by Monte Carlo, with randomised ties,
and exact for every length: Dufour (2006), Monte Carlo tests with nuisance parameters, Journal of Econometrics
133, proposition 2.2; for these Christoffersen and Pelletier (2004), Journal of Financial Econometrics 2.

Kupiec (1995), Techniques for verifying the accuracy of risk measurement models, Journal of Derivatives 3.
Christoffersen (1998), Evaluating interval forecasts, International Economic Review 39. Acerbi and Szekely
(2014), Back-testing expected shortfall, Risk. Wang, Wang and Ziegel (2022), E-backtesting, arXiv:2209.00991.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats, Integers
from lockstep.monitoring.eprocess import e_process

Hits = NDArray[np.bool_]

DRAWS = 999
"""Simulated histories; with the observed one they are 1,000, so that levels of 1 and 5 % are exact."""
REJECTED = 0.05
ALARM = 20.0
"""Height of the e-process that correct forecasts ever reach with a probability of at most 1 / 20."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TailForecasts:
    """What was forecast for each of T sessions, before it; USD, positive for a loss.

    var, es    float64 (T,); es >= var
    severity   float64 (T, k): losses of the forecast's own tail over its expected shortfall; their mean is 1.
               What a violation looks like if the forecast is right
    """

    var: Floats
    es: Floats
    severity: Floats


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """One test: its statistic, and the probability of one at least as bad if the forecasts are right.

    A statistic is NaN where there was no violation to judge.
    """

    __test__ = False

    statistic: float
    p_value: float

    @property
    def is_rejected(self) -> bool:
        """Whether the forecasts are rejected at 5 %."""
        return self.p_value <= REJECTED


@dataclass(frozen=True, kw_only=True, eq=False)
class VarBacktest:
    """How forecasts of one tail did.

    sessions, hits   that were judged, and those whose loss exceeded the value at risk
    expected         hits of correct forecasts, on average
    tests            by name, in the order of the module's table
    evidence         the e-process after each session, (T,); an alarm at 20
    """

    tail: float
    sessions: int
    hits: int
    expected: float
    tests: Mapping[str, TestOutcome]
    evidence: Floats

    @property
    def alarm(self) -> int | None:
        """The first session at which the e-process reached 20, or None."""
        reached = np.flatnonzero(self.evidence >= ALARM)
        return int(reached[0]) if reached.size else None

    @property
    def rejected(self) -> tuple[str, ...]:
        """Names of the tests that reject at 5 %; each does so for one correct forecast in twenty."""
        return tuple(name for name, each in self.tests.items() if each.is_rejected)


def coverage_statistic(hits: Any, sessions: int, tail: float) -> Floats:
    """Return Kupiec's likelihood ratio for counts of hits, any shape, among so many sessions.

    -2 ln(L(tail) / L(hits / sessions)) of a binomial law; 0 x ln 0 is 0.

    >>> coverage_statistic([57], 1043, 0.05).round(5)
    array([0.46147])
    """
    found = np.asarray(hits, dtype=np.float64)
    rest = sessions - found
    free = _weighted_log(found, found / sessions) + _weighted_log(rest, rest / sessions)
    given = found * math.log(tail) + rest * math.log1p(-tail)
    return 2.0 * (free - given)


def independence_statistic(hits: Any) -> Floats:
    """Return Christoffersen's likelihood ratio of a first-order Markov chain, bool (..., T) to (...)."""
    flags = np.asarray(hits, dtype=np.bool_)
    before, after = flags[..., :-1], flags[..., 1:]
    return _chained(before.shape[-1], before.sum(axis=-1), after.sum(axis=-1), (before & after).sum(axis=-1))


def _chained(steps: int, before: Any, after: Any, both: Any) -> Floats:
    """Return the likelihood ratio from counts: steps, those from a hit, to a hit, and from one to another."""
    n11 = np.asarray(both, dtype=np.float64)
    n10, n01 = before - n11, after - n11
    n00 = steps - n11 - n10 - n01
    free = sum(
        _weighted_log(count, _share(count, stay + move))
        for stay, move in ((n00, n01), (n10, n11))
        for count in (stay, move)
    )
    hit, quiet = n01 + n11, n00 + n10
    same = _weighted_log(hit, hit / steps) + _weighted_log(quiet, quiet / steps)
    # The chain is never less likely; what is below zero is rounding.
    ratio: Floats = np.maximum(2.0 * (free - same), 0.0)
    return ratio


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _weighted_log(count: Floats, share: Floats) -> Floats:
    logs = np.log(share, out=np.zeros(np.shape(share)), where=share > 0)
    return count * logs


def shortfall_statistics(hits: Hits, excess: Floats, tail: float) -> tuple[Floats, Floats]:
    """Return Z1 and Z2 of Acerbi and Szekely, (...): 0 on average if the forecasts are right, else below.

    hits     bool (..., T); excess: losses over expected shortfalls, (..., T), read where there is a hit

    Z1 = 1 - mean of the excess over the hits, NaN without one; Z2 = 1 - sum over the hits / (T tail).
    """
    total = np.where(hits, excess, 0.0).sum(axis=-1)
    count = hits.sum(axis=-1)
    mean = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return 1.0 - mean, 1.0 - total / (hits.shape[-1] * tail)


def e_values(loss: Any, var: Any, es: Any, tail: float) -> Floats:
    """Return the e-statistic of expected shortfall, (T,): (loss - VaR)+ / (tail (ES - VaR)).

    Its mean is at most 1 where neither value at risk nor expected shortfall is too low; Wang, Wang and Ziegel
    (2022), eq. 4. NaN, which counts for nothing, where both forecasts are equal and nothing can be divided.

    >>> e_values([100.0, 260.0], [200.0, 200.0], [250.0, 250.0], 0.05)
    array([ 0., 24.])
    """
    losses, low, high = (np.asarray(each, dtype=np.float64) for each in (loss, var, es))
    beyond, room = np.maximum(losses - low, 0.0), tail * (high - low)
    found: Floats = np.divide(beyond, room, out=np.full(losses.shape, np.nan), where=room > 0)
    return found


def e_backtest(loss: Any, var: Any, es: Any, tail: float) -> Floats:
    """Return the e-process of the e-values, (T,): what somebody has won by betting against the forecasts.

    It is that of `lockstep.monitoring.eprocess`, with e - 1 for its gain: the mean of seven fixed stakes from
    1 to 15 % of the wealth. Correct forecasts ever reach 20 with a probability of at most 5 %, whenever one
    looks; where one is sure that they do not, nothing needs to wait for the end of the year.
    """
    return e_process(e_values(loss, var, es, tail) - 1.0)


def backtest_forecasts(
    pnl: Any, forecasts: TailForecasts, tail: float, *, seed: int = 0, draws: int = DRAWS
) -> VarBacktest:
    """Judge forecasts of T sessions by what was earned in them.

    pnl    float64 (T,), T >= 2, oldest first; tail: (0, .5), of both measures
    seed   of the simulated histories; draws: their number. Equal seeds give equal p-values

    Hypothesis: each session is a violation with probability `tail`, whatever came before, and a violation is
    as deep as the tail of its forecast. DataError for other lengths, values that are not finite, or an
    expected shortfall below the value at risk.
    """
    earned = np.asarray(pnl, dtype=np.float64)
    _require(earned, forecasts, tail)
    hits = -earned > forecasts.var
    excess = np.divide(-earned, forecasts.es, out=np.full(earned.shape, np.nan), where=forecasts.es > 0)
    rng = np.random.default_rng(seed)
    session = np.flatnonzero(hits)
    observed = _badness(
        np.zeros(session.size, np.int64), session, np.nan_to_num(excess[session], nan=0.0),
        histories=1, sessions=earned.size, tail=tail,
    )  # fmt: skip
    drawn = _drawn(forecasts.severity, tail, draws, rng)
    statistics = _statistics(hits, excess, tail)
    tests = {
        name: TestOutcome(
            statistic=statistics[name],
            p_value=_p_value(float(observed[place, 0]), drawn[place], rng),
        )
        for place, name in enumerate(NAMES)
    }
    return VarBacktest(
        tail=tail,
        sessions=earned.size,
        hits=int(hits.sum()),
        expected=tail * earned.size,
        tests=tests,
        evidence=e_backtest(-earned, forecasts.var, forecasts.es, tail),
    )


NAMES = ("kupiec", "independence", "conditional_coverage", "shortfall_given_hit", "shortfall")


def _require(earned: Floats, forecasts: TailForecasts, tail: float) -> None:
    if not 0 < tail < 0.5:
        raise DataError(f"tail {tail}: must lie between 0 and 0.5, such as 0.01 for 99 %")
    size = earned.shape
    if len(size) != 1 or size[0] < 2 or forecasts.var.shape != size or forecasts.es.shape != size:
        raise DataError(
            f"backtest: P&L of {earned.shape}, forecasts of {forecasts.var.shape} and {forecasts.es.shape}: "
            "need one of each for at least two sessions"
        )
    if forecasts.severity.ndim != 2 or forecasts.severity.shape[0] != size[0]:
        raise DataError(f"severity of {forecasts.severity.shape}: need one row per session, {size[0]}")
    known = (earned, forecasts.var, forecasts.es, forecasts.severity)
    if not all(np.isfinite(each).all() for each in known):
        raise DataError("backtest: a value is missing or infinite; leave out sessions without a forecast")
    if (forecasts.es < forecasts.var).any():
        session = int(np.flatnonzero(forecasts.es < forecasts.var)[0])
        raise DataError(
            f"session {session}: expected shortfall {forecasts.es[session]:g} below value at risk "
            f"{forecasts.var[session]:g}: the mean of a tail is no less than where it begins"
        )


def _statistics(hits: Hits, excess: Floats, tail: float) -> dict[str, float]:
    uncovered = float(coverage_statistic(hits.sum(), hits.size, tail))
    chained = float(independence_statistic(hits))
    given_hit, whole = shortfall_statistics(hits, excess, tail)
    return dict(
        zip(NAMES, (uncovered, chained, uncovered + chained, float(given_hit), float(whole)), strict=True)
    )


def _badness(
    history: Integers, session: Integers, excess: Floats, *, histories: int, sessions: int, tail: float
) -> Floats:
    """Return what each test orders histories by, the worse the greater, (tests, histories).

    history, session, excess   of each hit, by history and session
    """

    def counted(which: Any = slice(None)) -> Integers:
        return np.bincount(history[which], minlength=histories)

    hits = counted()
    total = np.bincount(history, weights=excess, minlength=histories)
    follows = np.flatnonzero((np.diff(history) == 0) & (np.diff(session) == 1))
    uncovered = coverage_statistic(hits, sessions, tail)
    chained = _chained(sessions - 1, counted(session < sessions - 1), counted(session > 0), counted(follows))
    # Without a violation nothing speaks against their depth.
    depth = np.divide(total, hits, out=np.full(histories, -np.inf), where=hits > 0)
    return np.stack([uncovered, chained, uncovered + chained, depth - 1.0, total / (sessions * tail) - 1.0])


def _drawn(severity: Floats, tail: float, draws: int, rng: np.random.Generator) -> Floats:
    """Return the badness of histories in which the forecasts are right, (tests, draws)."""
    sessions, depth = severity.shape
    # One hit after the other: the gaps between them are geometric.
    places, end = np.empty(0, dtype=np.int64), draws * sessions
    while not places.size or places[-1] < end:
        start = places[-1] if places.size else -1
        gaps = rng.geometric(tail, size=max(64, int(1.1 * (end - start) * tail)))
        places = np.concatenate((places, start + np.cumsum(gaps)))
    history, session = np.divmod(places[places < end], sessions)
    excess = severity[session, rng.integers(depth, size=session.size)]
    return _badness(history, session, excess, histories=draws, sessions=sessions, tail=tail)


def _p_value(observed: float, drawn: Floats, rng: np.random.Generator) -> float:
    """Return (1 + histories that are at least as bad) / (1 + histories), ties in random order."""
    mine, theirs = rng.random(), rng.random(drawn.size)
    worse = (drawn > observed) | ((drawn == observed) & (theirs >= mine))
    return (1 + int(worse.sum())) / (1 + drawn.size)
