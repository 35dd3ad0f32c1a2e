"""A/B tests of arms without a difference and with one, judged on every session: small in the tests, full in
the soak `ab`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import norm

from lockstep.identity import hash_of
from lockstep.metrics import Floats
from lockstep.monitoring.ab import AbMode, AbPlan, AbVerdict, decided, planned
from lockstep.monitoring.eprocess import SESSIONS, confidence_sequence
from simulation.forward import LAWS
from simulation.rates import bound

CORRELATION, DIFFERENCE = 0.98, 0.5
# The deviation of the difference is estimated from so many sessions of history, as a creation does.
HISTORY = 8 * SESSIONS
THREE_YEARS = 3 * SESSIONS
WITHIN = 0.04
MODULE = "lockstep.monitoring.ab"


def differences(law: str, tests: int, sessions: int, *, seed: int, mean: float = 0.0) -> Floats:
    """Return paired differences over the deviation that a creation would have frozen, (tests, sessions)."""
    random = np.random.default_rng((seed, list(LAWS).index(law)))
    frozen = LAWS[law](random, (tests, HISTORY)).std(axis=1, ddof=1)
    found: Floats = (LAWS[law](random, (tests, sessions)) + mean) / frozen[:, None]
    return found


def verdicts(x: Floats, plan: AbPlan) -> list[AbVerdict]:
    """Return how each test ends that is looked at after every session, with a trade in each."""
    low, high = confidence_sequence(x, level=plan.level)
    trades = np.arange(1, x.shape[1] + 1)
    return [decided(*each, trades, plan)[0] for each in zip(low, high, strict=True)]


def named_by_t_test(x: Floats) -> float:
    """Return the share of tests in which a t-test names a winner on some session from the 60th on."""
    count = np.arange(1, x.shape[1] + 1)
    mean = x.cumsum(axis=1) / count
    deviation = np.sqrt(np.maximum((x**2).cumsum(axis=1) / count - mean**2, 0.0))
    named = np.abs(mean) * np.sqrt(count) > norm.ppf(0.975) * deviation
    return float(named[:, 59:].any(axis=1).mean())


def equal_arms(tests: int, seed: int) -> dict[str, Any]:
    """Return what becomes of tests of equal arms over three years, and what a t-test would have said."""
    plan = planned(DIFFERENCE, mode=AbMode.REPLAY, correlation=CORRELATION, years=3.0, paths=200)
    found: dict[str, Any] = {"tests of each law": tests}
    for law in LAWS:
        x = differences(law, tests, THREE_YEARS, seed=seed)
        ends = verdicts(x, plan)
        found[law] = {
            "won": ends.count(AbVerdict.WON),
            "lost": ends.count(AbVerdict.LOST),
            "futile": ends.count(AbVerdict.FUTILE),
            "share named by a t-test": named_by_t_test(x),
        }
    return found


def most_named(found: dict[str, Any]) -> int:
    """Return the largest number of winners and losers among equal arms over all laws."""
    return max(found[law]["won"] + found[law]["lost"] for law in LAWS)


def power_of(plan: AbPlan, tests: int, seed: int) -> float:
    """Return the share of tests that are won whose challenger is better by what was planned."""
    mean = plan.effect / math.sqrt(SESSIONS)
    x = differences("student", tests, plan.sessions, seed=seed, mean=mean)
    return verdicts(x, plan).count(AbVerdict.WON) / tests


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Measure both with `count` tests of each kind."""
    equal = equal_arms(count, seed)
    good = most_named(equal) <= bound(0.05, count)
    power: dict[str, Any] = {}
    for correlation in (0.97, 0.98, 0.99):
        plan = planned(DIFFERENCE, mode=AbMode.REPLAY, correlation=correlation)
        measured = power_of(plan, count, seed)
        power[f"correlation {correlation}"] = {
            "years": round(plan.years, 2), "stated": plan.power, "measured": measured,
        }  # fmt: skip
        good &= abs(measured - plan.power) <= WITHIN
    return {"judging code": hash_of((MODULE,)), "equal arms": equal, "power": power}, good
