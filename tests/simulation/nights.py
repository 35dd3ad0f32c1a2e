"""Years of nights by the rules of the night's configuration: whoever waits for a good one included.

The searches are those of `simulation.forward`, 250 nights a year on markets without an edge, fresh variants
or children of the best. Registration follows the shipped rules: as soon as the history is worth enough, and
not within a month of the one before. What forward evidence then does to a candidate is asked of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.metrics import Floats
from lockstep.monitoring.eprocess import FULL, PER_YEAR, PILOT, SESSIONS
from operations.candidates import decisions
from operations.nightly.config import NightlyConfig
from research.ledger.candidates import FULL_SIZE, PILOTED, ForwardCandidate
from simulation.forward import FORWARD, NIGHTS, Cohorts, Rule, cohorts, search, student
from simulation.rates import FORWARD_POWER, bound, budget_bound

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "pipeline" / "nightly.yml"
_DAYS_A_YEAR = 365.25
_CANDIDATES = 400
SIZES = {6: PILOTED, 60: FULL_SIZE}


@cache
def gap() -> int:
    """Return the least number of nights between two registrations."""
    return round(NightlyConfig.load(CONFIG).registrations.days_between * SESSIONS / _DAYS_A_YEAR)


def rule(allowed: float, *, adaptive: bool, **changes: Any) -> Rule:
    """Return the rules of the night, asked in each of them."""
    least = NightlyConfig.load(CONFIG).registrations.least_history
    given: dict[str, Any] = {"nights": tuple(range(1, NIGHTS + 1)), "gap": gap(), "floor": least}
    return Rule(allowed=allowed, adaptive=adaptive, **{**given, **changes})


def years_of_noise(years: int, seed: int, *, learns: bool, allowed: float, **changes: Any) -> list[Cohorts]:
    """Return what is registered and promoted, in pieces of at most 200 years."""
    pieces = (search(min(200, years - at), seed * 10_000 + at, learns=learns) for at in range(0, years, 200))
    return [cohorts(each, rule(allowed, adaptive=learns, **changes)) for each in pieces]


def mean_promoted(found: list[Cohorts]) -> float:
    """Return the mean number of false promotions of a year."""
    return float(np.concatenate([each.promoted for each in found]).mean())


def candidate() -> ForwardCandidate:
    """Return a candidate of a year with twelve registrations, whose history counts for nothing."""
    return ForwardCandidate(
        name="planted", kind="strategy", symbol="COMP", family="NASDAQ100", hash="0" * 64,
        content={"drawdown": 1e9}, sigma=1.0, beta=0.0, searched="adaptive", trials=None, p_value=None,
        e_history=1.0, champion=None, id=1, stamp=0, year=2026, weight=1 / PER_YEAR, recorded="2026-01-01",
    )  # fmt: skip


def _days() -> list[date]:
    return [date(2026, 1, 1) + timedelta(days=number) for number in range(FORWARD)]


def planted(sharpe: float, count: int, seed: int) -> dict[int, Floats]:
    """Return, by threshold, the session (0, 1, …) in which each candidate is promoted; -1: never."""
    x = student(np.random.default_rng((seed, round(10 * sharpe))), (count, FORWARD)) + sharpe / SESSIONS**0.5
    found = {c: np.full(count, -1) for c in SIZES}
    days, subject = _days(), candidate()
    for number, residuals in enumerate(x):
        events = {each.kind: each.session for each in decisions(subject, days, residuals)}
        for c, kind in SIZES.items():
            if kind in events:
                found[c][number] = (events[kind] - days[0]).days
    return found


def off_the_table(count: int, seed: int) -> Iterator[str]:
    """Yield where the share of planted edges that is promoted is not that of the power table."""
    for sharpe in range(4):
        reached = planted(sharpe, count, seed)
        for c, sessions in reached.items():
            for year, stated in enumerate(FORWARD_POWER[c, sharpe], start=1):
                promoted = int(((sessions >= 0) & (sessions < year * SESSIONS)).sum())
                # Full size comes after a pilot that was not retired: there, the table's rate is a bound.
                low = count - bound(1 - stated + 0.03, count) if c == 6 else 0
                if not low <= promoted <= bound(min(1.0, stated + 0.03), count):
                    what = f"Sharpe {sharpe}, threshold {c}, {year} years"
                    yield f"{what}: {promoted} of {count}, {stated} stated"


def soak(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Measure both: `years` of fresh and of learning searches, and as many planted edges of each size."""
    rates: dict[str, float] = {}
    good = True
    for learns in (False, True):
        for allowed in (PILOT, FULL):
            found = years_of_noise(years, seed, learns=learns, allowed=allowed)
            name = f"{'adaptive' if learns else 'fresh'}, {allowed:g} allowed"
            rates[name] = mean_promoted(found)
            good &= rates[name] <= budget_bound(allowed, years)
            rates[f"{name}: registered"] = float(np.concatenate([each.registered for each in found]).mean())
    off = list(off_the_table(min(years, 2_000), seed))
    shares = {
        f"Sharpe {sharpe}, threshold {c}": [
            round(float(((at >= 0) & (at < year * SESSIONS)).mean()), 4) for year in (1, 2, 3)
        ]
        for sharpe in range(4)
        for c, at in planted(sharpe, min(years, 2_000), seed).items()
    }
    return {"false promotions a year": rates, "planted": shares, "off the table": off}, good and not off
