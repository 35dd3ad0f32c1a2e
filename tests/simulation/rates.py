"""Rates and power of forward evidence as they are measured: small in the tests, full in the soak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import binom, norm

from lockstep.market.bars import Flags
from lockstep.metrics import Floats
from lockstep.monitoring.eprocess import (
    FULL,
    LARGEST_GAIN,
    PILOT,
    SESSIONS,
    alarm_threshold,
    confidence_sequence,
    e_detector,
    e_process,
    first_reached,
    history_evidence,
)
from simulation.forward import (
    LAWS,
    MARKET_SHARPE,
    SPREAD,
    TOGETHER,
    Rule,
    cohorts,
    search,
    student,
    tried_since,
)
from simulation.genealogy import breed, futures, passed_by_counting, passed_by_maximum

THREE_YEARS = 3 * SESSIONS
# Promoted after one, two and three years by forward evidence alone, by threshold and true Sharpe ratio.
FORWARD_POWER = {
    (6, 0): (0.047, 0.071, 0.085),
    (6, 1): (0.21, 0.39, 0.51),
    (6, 2): (0.55, 0.83, 0.94),
    (6, 3): (0.85, 0.99, 1.0),
    (60, 0): (0.001, 0.004, 0.005),
    (60, 1): (0.01, 0.07, 0.14),
    (60, 2): (0.10, 0.45, 0.69),
    (60, 3): (0.38, 0.87, 0.98),
}
# After one year at 52, by true Sharpe ratio: alone, and with ten years of history as the winner of 350.
POWER_52 = {1: (0.01, 0.16), 2: (0.11, 0.98), 3: (0.41, 1.0)}
WITHIN = 0.03

Table = Mapping[Any, tuple[float, ...]]


def bound(rate: float, count: int) -> int:
    """Return the most of `count` that a true rate exceeds in one run of a thousand."""
    return int(binom.ppf(0.999, count, rate))


def budget_bound(allowed: float, years: int) -> float:
    """Return the mean number of false promotions that `allowed` a year exceeds in one run of a thousand."""
    return allowed + 3.1 * math.sqrt(allowed / years)


def power(seed: int, paths: int) -> tuple[Table, Table]:
    """Return both tables as they are measured; see `FORWARD_POWER` and `POWER_52`.

    The second has a third column: with history, whether or not the candidate won its search.
    """
    random = np.random.default_rng(seed)
    forward: dict[Any, tuple[float, ...]] = {}
    with_history: dict[Any, tuple[float, ...]] = {}
    x, luck = student(random, (paths, THREE_YEARS)), random.normal(size=paths)
    # The best of the 349 others, which have no edge.
    rival = norm.ppf(random.random(paths) ** (1 / 349))
    for sharpe in range(4):
        evidence = e_process(x + sharpe / math.sqrt(SESSIONS))
        for c in (6, 60):
            reached = first_reached(evidence, np.full(paths, c))
            forward[c, sharpe] = tuple(
                float(np.mean((reached >= 0) & (reached < year * SESSIONS))) for year in (1, 2, 3)
            )
        if sharpe:
            highest = np.maximum(evidence[:, :SESSIONS].max(axis=1), 1.0)
            z = sharpe * math.sqrt(10) + luck
            history = np.array([history_evidence(float(p), 350, adaptive=False) for p in norm.sf(z)])
            promoted = history * highest >= 52
            shares = (highest >= 52).mean(), promoted[z > rival].mean(), promoted.mean()
            with_history[sharpe] = tuple(map(float, shares))
    return forward, with_history


def until_alarm(seed: int, threshold: float, paths: int) -> tuple[float, float]:
    """Return the mean sessions until a false alarm over three laws, and its Monte Carlo error.

    Each law is moved so that its mean with gains counted to six deviations is 0: the worst null.
    """
    random = np.random.default_rng(seed)
    times = []
    for law in ("student", "normal", "rare_loss"):
        x = LAWS[law](random, (paths // 3, 100 * SESSIONS))
        x -= np.minimum(x, LARGEST_GAIN).mean()
        first = first_reached(e_detector(x), np.full(len(x), threshold))
        # Whoever raises none in a hundred years counts with a hundred: below the truth.
        times.append(np.where(first < 0, x.shape[1], first + 1))
    found = np.concatenate(times)
    return float(found.mean()), float(found.std() / math.sqrt(found.size))


def by_confidence_sequence(d: Floats) -> Flags:
    """Return whether the confidence sequence names a winner at each look."""
    low, high = confidence_sequence(d)
    return (low > 0) | (high < 0)


def by_t_test(d: Floats) -> Flags:
    """Return whether a t-test does, from 60 sessions on."""
    mean, deviation, count = _estimated(d)
    return (np.abs(mean) * np.sqrt(count) > norm.ppf(0.975) * deviation)[:, 59:]


def by_asymptotic_sequence(d: Floats) -> Flags:
    """Return whether a sequence does that estimates the deviation, tightest at 500 sessions, from 60 on.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Annals of Statistics 52, 2613-2640, theorem 2.2.
    """
    mean, deviation, count = _estimated(d)
    a = -2 * math.log(0.05)
    scaled = count * (a + math.log(a + 1)) / 500
    half = deviation * np.sqrt(2 * (scaled + 1) / (scaled * count) * np.log(np.sqrt(scaled + 1) / 0.05))
    return (np.abs(mean) > half)[:, 59:]


def _estimated(d: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, deviation and number of sessions so far."""
    count = np.arange(1, d.shape[1] + 1)
    mean = d.cumsum(axis=1) / count
    return mean, np.sqrt(np.maximum((d**2).cumsum(axis=1) / count - mean**2, 0.0)), count


def winners_among_equals(looked: Callable[[Floats], Flags], law: str, tests: int, seed: int = 7) -> int:
    """Return in how many of `tests` comparisons of equal arms some night of three years names a winner."""
    d = LAWS[law](np.random.default_rng(seed), (tests, THREE_YEARS))
    return int(looked(d).any(axis=1).sum())


def soak(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Measure all of it: `years` of each market, 20 paths, 1 alarm and 1 comparison for each of them."""
    found: dict[str, Any] = {}
    good = True
    for name, measure in (
        ("false promotions a year", _years),
        ("evidence without an edge", _evidence),
        ("power", _power),
        ("sessions between false alarms", _alarms),
        ("winners among equals", _winners),
        ("genealogy", _genealogy),
    ):
        found[name], held = measure(years, seed)
        print(f"{name}: {'holds' if held else 'FAILS'}: {found[name]}", flush=True)
        good &= bool(held)
    return found, good


def _years(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    markets: dict[str, tuple[dict[str, Any], bool]] = {
        "noise, declared": ({}, False),
        "noise, a search that learns": ({"learns": True}, True),
        "drift alone, declared": ({"market_sharpe": MARKET_SHARPE}, False),
        "drift alone, a search that learns": ({"market_sharpe": MARKET_SHARPE, "learns": True}, True),
    }
    found: dict[str, Any] = {}
    for name, (market, adaptive) in markets.items():
        pieces = [search(min(200, years - at), seed * 10_000 + at, **market) for at in range(0, years, 200)]
        for how, nights in (("spread", SPREAD), ("together", TOGETHER)):
            for allowed in (PILOT, FULL):
                for counted in () if adaptive else (tried_since,):
                    rule = Rule(allowed=allowed, nights=nights, counted=counted)
                    found[f"{name} as tried, {how}, {allowed:g} allowed"] = _mean(pieces, rule)
                rule = Rule(allowed=allowed, nights=nights, adaptive=adaptive)
                found[f"{name}, {how}, {allowed:g} allowed"] = _mean(pieces, rule)
    limits = {allowed: budget_bound(allowed, years) for allowed in (PILOT, FULL)}
    held = all(
        mean <= limits[PILOT if name.endswith(f"{PILOT:g} allowed") else FULL] for name, mean in found.items()
    )
    return found, held


def _mean(pieces: list[Any], rule: Rule) -> float:
    promoted = np.concatenate([cohorts(each, rule).promoted for each in pieces])
    return float(promoted.mean())


def _evidence(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: dict[str, Any] = {}
    held, paths = True, max(20_000, 100 * years)
    for number, (name, law) in enumerate(LAWS.items()):
        value = e_process(law(np.random.default_rng((seed, 1, number)), (paths, SESSIONS // 4)))[:, -1]
        error = float(value.std() / math.sqrt(paths))
        highest = e_process(law(np.random.default_rng((seed, 2, number)), (5 * years, THREE_YEARS))).max(
            axis=1
        )
        reached = {c: int((highest >= c).sum()) for c in (6, 12, 52, 60)}
        found[name] = {"mean after a quarter": float(value.mean()), "error": error, "reached": reached}
        held &= abs(value.mean() - 1) < 3 * error
        held &= all(count <= bound(1 / c, highest.size) for c, count in reached.items())
    return found, held


def _power(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    pieces = [power(seed * 10_000 + number, 2_000) for number in range(max(1, years // 100))]
    tables: list[Table] = [
        {key: tuple(np.mean([piece[at][key] for piece in pieces], axis=0)) for key in pieces[0][at]}
        for at in (0, 1)
    ]
    held = all(
        abs(measured - stated) <= WITHIN
        for table, page in zip(tables, (FORWARD_POWER, POWER_52), strict=True)
        for key, values in page.items()
        for measured, stated in zip(table[key], values, strict=False)
    )
    told = [
        {str(key): [round(float(v), 4) for v in values] for key, values in table.items()} for table in tables
    ]
    return {"forward alone": told[0], "at 52: alone, winner with history, any with history": told[1]}, held


def _alarms(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    pieces = [
        until_alarm(seed * 10_000 + number, alarm_threshold(), 150) for number in range(years // 150 + 1)
    ]
    mean, error = np.mean([each for each, _ in pieces]), np.mean([each for _, each in pieces])
    error /= math.sqrt(len(pieces))
    return {"mean": float(mean), "error": float(error)}, bool(mean >= alarm_threshold() - 3 * error)


def _winners(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: dict[str, Any] = {"comparisons": years}
    ways = {
        "confidence sequence": by_confidence_sequence,
        "sequence that estimates the deviation": by_asymptotic_sequence,
        "t-test": by_t_test,
    }
    for name, looked in ways.items():
        found[name] = {law: winners_among_equals(looked, law, years, seed) for law in LAWS}
    return found, max(found["confidence sequence"].values()) <= bound(0.05, years)


def _genealogy(years: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: dict[str, Any] = {}
    counts: dict[float, list[Any]] = {PILOT: [], FULL: []}
    for each in range(seed, seed + 3):
        bred, alone = breed(each), breed(each, learns=False)
        followed = futures(bred, max(8, years // 20))
        found[f"seed {each}"] = {
            "nights that counting passes": passed_by_counting(bred),
            "every fifth night that the maximum passes": passed_by_maximum(bred),
            "the same without breeding": [passed_by_counting(alone), passed_by_maximum(alone)],
            "registrations": followed.history.size,
            **{
                f"promoted a year, {allowed:g} allowed": float(
                    followed.promoted(followed.history, allowed).mean()
                )
                for allowed in counts
            },
            "with its history, 0.2 allowed": float(followed.promoted(followed.counted, FULL).mean()),
        }
        for allowed, all_of in counts.items():
            all_of.append(followed.promoted(followed.history, allowed))
    held = all(
        np.concatenate(each).mean() <= budget_bound(allowed, np.concatenate(each).size)
        for allowed, each in counts.items()
    )
    return found, held
