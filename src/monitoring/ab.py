"""A/B tests of two strategies: how long one takes, and when it is decided.

What is judged is the *paired difference*: in each session the challenger's result less the champion's, over
the deviation of this difference that was frozen when the test was created. The confidence sequence of its
mean (`eprocess.confidence_sequence`) holds at all sessions at once, so a test may be looked at every day and
ends on the first session that decides it, whenever somebody looks.

**Both arms on every signal (`replay`).** The difference of two series with correlation rho and deviation s
has the deviation s sqrt(2 (1 - rho)): a difference of d in annual Sharpe ratio is an annual Sharpe ratio of

    d / sqrt(2 (1 - rho))

of the paired difference. **Half of the signals each (`split`).** Each arm earns half of the mean with half of
the variance, on different signals: the difference has the mean d s / 2 and the deviation s, a Sharpe ratio of
d / 2, whatever rho and however often the strategy trades. An effect of e a year is seen by one look, with
one-sided error a and power 1 - b, after

    ((z(1 - a) + z(1 - b)) / e)^2

years: the usual sample size of a paired z-test, Lachin (1981), Introduction to sample size determination and
power analysis for clinical trials, Controlled Clinical Trials 2, 93-113, equation 4. Who looks every day pays
for it with about twice the time; `planned` finds how long by simulation of the rule that decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats, Integers
from lockstep.monitoring.eprocess import SESSIONS, confidence_sequence, e_process

LEAST_SESSIONS, LEAST_TRADES = 60, 30
LEVEL = 0.95
ONE_SIDED, POWER = 0.05, 0.8
LONGEST_YEARS = 25
"""No test is planned for longer: its strategies will be others by then."""

# Fewer tests are simulated of long ones: more than these sessions take too long to wait for.
_PATHS, _FEWEST, _DRAWN, _PIECE = 2_000, 400, 3_000_000, 250
# Where power of 80 % is reached, in sessions times squared effect: 13 to 14 for effects that a desk meets.
_REACH = 20.0
_TAILS = 5


class AbMode(StrEnum):
    """How signals are shared: `replay`, both arms take every one; `split`, each takes those of its half."""

    REPLAY = "replay"
    SPLIT = "split"


class AbVerdict(StrEnum):
    """What is known of a test."""

    RUNNING = "running"
    WON = "won"
    LOST = "lost"
    FUTILE = "futile"


def paired_effect(difference: float, *, mode: AbMode, correlation: float = 0.0) -> float:
    """Return the annual Sharpe ratio of the paired difference, for two arms that differ by `difference`.

    difference    of the arms' annual Sharpe ratios, > 0
    correlation   of their session results, below 1; does not matter for `split`

    >>> round(paired_effect(0.5, mode=AbMode.REPLAY, correlation=0.95), 3)
    1.581
    """
    if not (math.isfinite(difference) and difference > 0):
        raise ConfigError(f"difference {difference}: of two Sharpe ratios; must be positive, such as 0.5")
    if mode is AbMode.SPLIT:
        return difference / 2
    if not correlation < 1:
        raise ConfigError(f"correlation {correlation}: must be below 1; arms that never differ need no test")
    return difference / math.sqrt(2 * (1 - correlation))


def years_of_one_look(effect: float, *, error: float = ONE_SIDED, power: float = POWER) -> float:
    """Return after how many years one look sees an annual Sharpe ratio of `effect` of the difference.

    error, power   of the one-sided z-test, (0, 1)

    >>> [round(years_of_one_look(paired_effect(0.5, mode=AbMode.REPLAY, correlation=each)), 1)
    ...  for each in (0.9, 0.95, 0.98)]
    [4.9, 2.5, 1.0]
    >>> round(years_of_one_look(paired_effect(0.5, mode=AbMode.SPLIT)))
    99
    """
    normal = NormalDist()
    return ((normal.inv_cdf(1 - error) + normal.inv_cdf(power)) / effect) ** 2


@dataclass(frozen=True, kw_only=True)
class AbPlan:
    """What is decided before a test's first session.

    difference       of the annual Sharpe ratios that it is to see, > 0
    effect           the same of the paired difference, see `paired_effect`
    one_look_years   what a single look would need
    needed_years     what this test needs for 80 % power; inf: more than 25
    sessions         after so many it ends, decided or not; power   chance that it is won by then if the
                     challenger is better by `difference`
    power_by_year    the same after 1, 2, ... years, up to its end
    least_sessions, least_trades   of each arm, before which nothing is decided
    level            of the confidence sequence
    """

    mode: AbMode
    difference: float
    effect: float
    one_look_years: float
    needed_years: float
    sessions: int
    power: float
    power_by_year: tuple[float, ...]
    least_sessions: int = LEAST_SESSIONS
    least_trades: int = LEAST_TRADES
    level: float = LEVEL

    @property
    def margin(self) -> float:
        """The planned difference of a session, in deviations of the paired difference."""
        return self.effect / math.sqrt(SESSIONS)

    @property
    def years(self) -> float:
        """How long it goes on at most."""
        return self.sessions / SESSIONS


def planned(
    difference: float, *, mode: AbMode, correlation: float = 0.0, trades_a_year: float = math.inf,
    years: float | None = None, paths: int = _PATHS, seed: int = 0,
) -> AbPlan:  # fmt: skip
    """Return the plan of a test, its power by simulation of the rule that decides.

    trades_a_year   of the arm that trades less, > 0: nothing is decided before 30 trades
    years           when to end at the latest; None: where its power is 80 %, after 25 years at most
    paths, seed     tests that are simulated, at most: Student's t with five degrees of freedom

    ConfigError for numbers out of their ranges.
    """
    effect = paired_effect(difference, mode=mode, correlation=correlation)
    if not trades_a_year > 0:
        raise ConfigError("an arm without trades: it cannot be tested; give one that trades in its history")
    if years is not None and not 0 < years <= LONGEST_YEARS:
        raise ConfigError(f"years {years:g}: a test lasts up to {LONGEST_YEARS} years; give 0.5 to 3")
    ready = max(LEAST_SESSIONS, math.ceil(LEAST_TRADES / trades_a_year * SESSIONS))
    margin = effect / math.sqrt(SESSIONS)
    wanted = max(ready, math.ceil(_REACH / margin**2), round((years or 0.0) * SESSIONS))
    horizon = min(LONGEST_YEARS * SESSIONS, wanted)
    wins = _first_wins(margin, horizon, ready, min(paths, max(_FEWEST, _DRAWN // horizon)), seed)
    needed = float(np.quantile(wins, POWER, method="inverted_cdf"))
    sessions = round(years * SESSIONS) if years is not None else int(min(needed, LONGEST_YEARS * SESSIONS))

    def share(session: float) -> float:
        return float(np.mean(wins <= min(session, sessions)))

    return AbPlan(
        mode=mode, difference=difference, effect=effect, one_look_years=years_of_one_look(effect),
        needed_years=needed / SESSIONS, sessions=sessions, power=share(sessions),
        power_by_year=tuple(share(year * SESSIONS) for year in range(1, math.ceil(sessions / SESSIONS) + 1)),
    )  # fmt: skip


def _first_wins(mean: float, sessions: int, ready: int, paths: int, seed: int) -> Floats:
    """Return the session on which each simulated test is won, counted from 1, float64 (paths,); inf: none.

    The lower bound is above 0 where the evidence against 0 has reached 2 / (1 - level): the sequence itself
    looks at 80 other means too, which nobody asks for here.
    """
    random = np.random.default_rng(seed)
    found = []
    for first in range(0, paths, _PIECE):
        count = min(_PIECE, paths - first)
        x = random.standard_t(_TAILS, (count, sessions)) / math.sqrt(_TAILS / (_TAILS - 2)) + mean
        above = e_process(x) >= 2.0 / (1.0 - LEVEL)
        above[:, : ready - 1] = False
        found.append(np.where(above.any(axis=1), above.argmax(axis=1) + 1.0, math.inf))
    return np.concatenate(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class AbJudgement:
    """What the sessions of a test say.

    verdict    with the sentence that says why; at   index of the session that decided, -1 while running
    low, high  float64 (T,): bounds of the mean difference after each session, in deviations; -inf, inf where
               nothing can be said yet
    mean       float64 (T,): of the differences so far
    """

    verdict: AbVerdict
    at: int
    reason: str
    low: Floats
    high: Floats
    mean: Floats


def judge(differences: Any, champion_trades: Any, challenger_trades: Any, plan: AbPlan) -> AbJudgement:
    """Return what the sessions so far say: the first session that decides ends the test.

    differences   float64 (T,): challenger less champion in each session, over the frozen deviation
    champion_trades, challenger_trades   int64 (T,): trades that ended in each session

    From 60 sessions and 30 trades of each arm on: *won* where the sequence lies above 0, *lost* where it lies
    below, *futile* where it lies within plus and minus the planned difference: the arms are alike enough that
    the test was not made to tell them apart. *Futile* too when the plan's sessions are over. DataError where
    a difference is missing or infinite: both arms have every session.
    """
    x = np.asarray(differences, dtype=np.float64)
    trades = np.minimum(np.cumsum(champion_trades), np.cumsum(challenger_trades))
    if x.ndim != 1 or not np.isfinite(x).all() or trades.shape != x.shape:
        raise DataError("sessions of an A/B test: need one finite difference and two counts for each")
    low, high = confidence_sequence(x, level=plan.level)
    verdict, at, reason = decided(low, high, trades, plan)
    mean = np.cumsum(x) / np.arange(1, x.size + 1)
    return AbJudgement(verdict=verdict, at=at, reason=reason, low=low, high=high, mean=mean)


def decided(low: Floats, high: Floats, trades: Integers, plan: AbPlan) -> tuple[AbVerdict, int, str]:
    """Return what the first session that decides says, its index and why; RUNNING, -1 where none does.

    low, high   float64 (T,), see `AbJudgement`; trades   int64 (T,), so far, of the arm that has fewer
    """
    return next(_decisions(low, high, trades, plan), (AbVerdict.RUNNING, -1, ""))


def _decisions(
    low: Floats, high: Floats, trades: Integers, plan: AbPlan
) -> Iterator[tuple[AbVerdict, int, str]]:
    """Yield each session that would decide, in order, with what and why."""
    sessions = np.arange(1, trades.size + 1)
    ready = (sessions >= plan.least_sessions) & (trades >= plan.least_trades)
    over = sessions >= plan.sessions
    won, lost = ready & (low > 0), ready & (high < 0)
    alike = ready & (low > -plan.margin) & (high < plan.margin)
    for at in np.flatnonzero(won | lost | alike | over).tolist():
        seen = f"after {at + 1} sessions"
        if won[at]:
            yield AbVerdict.WON, at, f"{seen} the whole confidence sequence lies above 0"
        elif lost[at]:
            yield AbVerdict.LOST, at, f"{seen} the whole confidence sequence lies below 0"
        elif alike[at]:
            smaller = f"the Sharpe ratios differ by less than the planned {plan.difference:g}"
            yield AbVerdict.FUTILE, at, f"{seen} {smaller}, in one direction or the other"
        else:
            yield AbVerdict.FUTILE, at, f"the planned {plan.sessions:,} sessions are over without a winner"
