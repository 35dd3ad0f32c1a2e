"""Years of a research factory on markets without an edge, and the laws that forward evidence is tried on.

A year has 250 nights of 50 variants each. A variant is a row of decisions, in the market or out of it, that
were drawn without looking at returns or, for a search that learns, copied from the best so far with some of
them changed. So no variant has skill, whatever its history says. Registration, weights, thresholds and
evidence are the product's own functions; a `Rule` holds them, so that a wrong one can take their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lockstep.metrics import Floats, Integers
from lockstep.monitoring.eprocess import (
    PER_YEAR,
    SESSIONS,
    e_process,
    first_reached,
    history_evidence,
    promotion_threshold,
    standardised,
    weight,
)

NIGHTS, VARIANTS = 250, 50
HISTORY, FORWARD = 256, 3 * SESSIONS
# One decision in eight is changed in a child: three random bits that are all set.
_FLIPS = 3
# Registrations every 20 nights, or all twelve of a year in one night near its end.
SPREAD = tuple(range(20, NIGHTS, 20))
TOGETHER = (240,) * 12

DEVIATION = 0.01
MARKET_SHARPE = 0.8


def student(random: np.random.Generator, shape: Any) -> Floats:
    """Return sessions with heavy tails, mean 0, deviation 1: Student's t with five degrees of freedom."""
    return random.standard_t(5, shape) / np.sqrt(5 / 3)


def normal(random: np.random.Generator, shape: Any) -> Floats:
    """Return normal sessions."""
    return random.normal(size=shape)


def rare_loss(random: np.random.Generator, shape: Any) -> Floats:
    """Return small gains and a rare loss of nearly as much as the guarantee admits; mean 0, deviation 1."""
    loss = 6.0
    chance = 1 / (1 + loss**2)
    return np.where(random.random(shape) < chance, -loss, 1 / loss)


def rare_gain(random: np.random.Generator, shape: Any) -> Floats:
    """Return small losses and a rare gain; mean 0, deviation 1."""
    return -rare_loss(random, shape)


def clustered(random: np.random.Generator, shape: Any) -> Floats:
    """Return sessions whose deviation follows the size of the one before: dependent, mean 0 at any past."""
    x = student(random, shape)
    for each in range(1, shape[-1]):
        x[..., each] *= np.sqrt(0.5 + 0.5 * np.minimum(x[..., each - 1] ** 2, 6.0))
    return x


LAWS: dict[str, Callable[[np.random.Generator, Any], Floats]] = {
    law.__name__: law for law in (student, normal, rare_loss, rare_gain, clustered)
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What Y years of nights left: the best dozen of each night, and the market of each year, (Y, sessions).

    p_value, beta, sigma   (Y, 250, 12) each, over the 256 sessions before the night
    """

    p_value: Floats
    beta: Floats
    sigma: Floats
    market: Floats
    seed: int

    @property
    def years(self) -> int:
        """How many there are."""
        return len(self.market)

    def first(self, years: int) -> Searched:
        """Return some of the years."""
        names = ("p_value", "beta", "sigma", "market")
        return replace(self, **{name: getattr(self, name)[:years] for name in names})


def search(
    years: int, seed: int, *, learns: bool = False, market_sharpe: float = 0.0, residual: bool = True
) -> Searched:
    """Live `years` of nights.

    learns     each night's variants are children of the best so far
    residual   whether the market is taken out of results; without, beta is 0
    """
    random = np.random.default_rng((seed, learns, round(market_sharpe * 100)))
    drift = market_sharpe / np.sqrt(SESSIONS)
    market = DEVIATION * (student(random, (years, HISTORY + NIGHTS + FORWARD)) + drift)
    found = np.empty((3, years, NIGHTS, PER_YEAR))
    best = random.integers(0, 2, (years, 1, HISTORY), dtype=np.uint8)
    for night in range(NIGHTS):
        drawn = random.integers(0, 256, (_FLIPS if learns else 1, years, VARIANTS, HISTORY // 8), np.uint8)
        decisions = np.unpackbits(np.bitwise_and.reduce(drawn, axis=0), axis=-1)
        if learns:
            # History moves on by a session; what the best did in the new one is drawn. It stays a candidate.
            new = random.integers(0, 2, (years, 1, 1), dtype=np.uint8)
            best = np.concatenate((best[..., 1:], new), axis=-1)
            decisions[:, 0] = 0
            decisions ^= best
        measured = _measured(decisions, market[:, night : night + HISTORY], residual)
        # Nobody registers more than a dozen of one night.
        order = np.argpartition(-measured[0], PER_YEAR, axis=1)[:, :PER_YEAR]
        found[:, :, night] = np.take_along_axis(measured, order[None], axis=2)
        best = np.take_along_axis(decisions, measured[0].argmax(axis=1)[:, None, None], axis=1)
    return Searched(p_value=norm.sf(found[0]), beta=found[1], sigma=found[2], market=market, seed=seed)


def _measured(decisions: NDArray[np.uint8], market: Floats, residual: bool) -> Floats:
    """Return z of the mean, beta and deviation of each variant, (3, Y, 50)."""
    held = decisions.astype(np.float32)
    powers = np.stack((market, market**2), axis=-1)
    gained, squares = np.moveaxis((held @ powers.astype(np.float32)).astype(np.float64), -1, 0)
    beta = held.mean(axis=-1, dtype=np.float64) * residual
    total, total_squares = np.moveaxis(powers.sum(axis=1)[:, None], -1, 0)
    mean = (gained - beta * total) / HISTORY
    sigma = np.sqrt((squares * (1 - 2 * beta) + beta**2 * total_squares) / HISTORY - mean**2)
    return np.stack((mean / sigma * np.sqrt(HISTORY), beta, sigma))


def declared_since(nights: Integers, registered: Sequence[int], now: int) -> Integers:
    """Return K of variants first evaluated in `nights`, of the year's one declared space.

    All of the space that was not evaluated before the registration that preceded them, also what is still to
    come: a K that only grew with the nights would let whoever waits for a lucky one correct it by too little.
    """
    return VARIANTS * (NIGHTS - _before(nights, registered))


def tried_since(nights: Integers, registered: Sequence[int], now: int) -> Integers:
    """Return K likewise, of the trials made so far only."""
    return VARIANTS * (now - _before(nights, registered))


def _before(nights: Integers, registered: Sequence[int]) -> Integers:
    """Return the night of the last registration before each first evaluation, 0 for none."""
    before = np.array([0, *sorted(set(registered))])
    return before[np.searchsorted(before, nights, side="left") - 1]


def live_weights(spent: Sequence[float], ages: Sequence[int]) -> Sequence[float]:
    """Return what counts as spent: all of it."""
    return spent


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How candidates are registered and promoted; the defaults are the product's.

    adaptive   what the search is taken for
    counted    (nights of first evaluation, nights of registration, now) -> K
    spent      (weights, nights since each registration) -> what counts as spent
    evidence   of forward sessions
    floor      history evidence that whoever registers waits for; gap: nights between two registrations
    tonight    whether a night may register what it found itself, and nothing that an earlier one found
    """

    allowed: float
    adaptive: bool = False
    nights: Sequence[int] = SPREAD
    counted: Callable[[Integers, Sequence[int], int], Integers] = declared_since
    spent: Callable[[Sequence[float], Sequence[int]], Sequence[float]] = live_weights
    evidence: Callable[[Floats], Floats] = e_process
    floor: float = 0.0
    gap: int = 0
    tonight: bool = False


@dataclass(frozen=True, kw_only=True)
class Cohorts:
    """Registrations of each year and those of them promoted within three years, int64 (Y,).

    history   mean over years of the sum of weight x history evidence: at most 1, or the budget is overdrawn
    """

    registered: Integers
    promoted: Integers
    history: float

    @property
    def mean(self) -> float:
        """Mean number of false promotions in a year's cohort."""
        return float(self.promoted.mean())


def cohorts(searched: Searched, rule: Rule) -> Cohorts:
    """Register and judge by `rule` in each year; every promotion is a false one."""
    random = np.random.default_rng((searched.seed, 7))
    registered, promoted, said = [], [], []
    for year in range(searched.years):
        chosen = _registrations(searched, rule, year)
        history, thresholds = (np.array([each[at] for each in chosen]) for at in (2, 3))
        x = _forward(searched, rule, year, chosen, random)
        reached = first_reached(history[:, None] * rule.evidence(x), thresholds)
        registered.append(len(chosen))
        promoted.append(int((reached >= 0).sum()))
        said.append(sum(each[2] for each in chosen) / PER_YEAR)
    return Cohorts(registered=np.array(registered), promoted=np.array(promoted), history=float(np.mean(said)))


Chosen = tuple[int, int, float, float]


def _registrations(searched: Searched, rule: Rule, year: int) -> list[Chosen]:
    evaluated = np.repeat(np.arange(1, NIGHTS + 1), PER_YEAR)
    return registrations(searched.p_value[year].ravel(), evaluated, rule)


def registrations(p_values: Floats, evaluated: Integers, rule: Rule) -> list[Chosen]:
    """Return (place of the variant, night, history evidence, threshold) of each registration of a year.

    p_values    (n,) of the variants, inf for one that may not be registered
    evaluated   int64 (n,): the night in which each first was, counted as `rule` counts them
    """
    taken = np.zeros(p_values.size, dtype=bool)
    chosen: list[Chosen] = []
    weights: list[float] = []
    for night in rule.nights:
        before = [each[1] for each in chosen]
        share = weight(rule.spent(weights, [night - each for each in before]))
        if share == 0.0 or (before and night - before[-1] < rule.gap):
            continue
        trials = rule.counted(evaluated, before, night)
        known = (evaluated == night if rule.tonight else evaluated <= night) & ~taken & np.isfinite(p_values)
        if not known.any():
            continue
        # Whoever registers takes what looks best: after correction, or as it is where none is possible.
        looks = p_values * (1.0 if rule.adaptive else np.maximum(trials, 1))
        place = int(np.where(known, looks, np.inf).argmin())
        history = history_evidence(float(p_values[place]), max(1, int(trials[place])), adaptive=rule.adaptive)
        if history < rule.floor:
            continue
        taken[place] = True
        weights.append(share)
        chosen.append((place, night, history, promotion_threshold(share, rule.allowed)))
    return chosen


def _forward(
    searched: Searched, rule: Rule, year: int, chosen: Sequence[Chosen], random: np.random.Generator
) -> Floats:
    """Return the three years after each registration in deviations, (registrations, 756)."""
    places, nights = (np.array([each[at] for each in chosen], dtype=np.int64) for at in (0, 1))
    market = searched.market[year, HISTORY + nights[:, None] + np.arange(FORWARD)]
    held = random.integers(0, 2, market.shape)
    beta, sigma = (of[year].ravel()[places] for of in (searched.beta, searched.sigma))
    return standardised(held * market, market, beta=beta, sigma=sigma)
