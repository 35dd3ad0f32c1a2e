"""Portfolios of lanes without skill: how often the written method is not the simple one, with fixed seeds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lockstep.identity import hash_of
from lockstep.metrics import sharpe
from research.optimise.methods import METHODS, LaneRisk, scaled
from research.optimise.nested import NestedDesign, choose
from support.sizes import bound

LANES = ("6E", "CL", "ES", "GC", "NQ", "SPY", "ZC")
RULE, CONTROLS = "the rule", ("the best in sample", "the best out of sample")
_GROUPS = ((0,), (1,), (2, 4, 5), (3,), (6,))
_SESSIONS, _IN_THE_MARKET, _TARGET = 2520, 0.4, 10_000.0


def drawn(seed: int) -> LaneRisk:
    """Ten years of seven lanes: fat tails, often flat, unequal volatilities; correlated, grouped, or not."""
    random = np.random.default_rng(seed)
    correlation = 0.4 * (seed % 2)
    common = np.sqrt(correlation) * random.standard_t(4, (_SESSIONS, 1))
    own = np.sqrt(1 - correlation) * random.standard_t(4, (_SESSIONS, len(LANES)))
    held = random.random((_SESSIONS, len(LANES))) < _IN_THE_MARKET
    pnl = (common + own) * held * np.exp(random.normal(6.0, 0.6, len(LANES)))
    return LaneRisk.of(pnl, LANES, _GROUPS if seed // 2 % 2 else None)


def best_in_sample(risk: LaneRisk) -> str:
    """Return the method that would have earned most for its risk."""

    def earned(name: str) -> float:
        return sharpe(risk.pnl @ scaled(METHODS[name](risk), risk.covariance, _TARGET))

    return max(METHODS, key=earned)


def not_simple(count: int, seed: int) -> dict[str, Counter[str]]:
    """Return which methods other than the simple one are picked for `count` portfolios, by who picks."""
    simple = next(iter(METHODS))
    found: dict[str, Counter[str]] = {who: Counter() for who in (RULE, *CONTROLS)}
    for number in range(count):
        risk = drawn(seed * 100_000 + number)
        choice = choose(risk, NestedDesign(target=_TARGET))
        for who, name in zip(found, (choice.name, best_in_sample(risk), choice.best), strict=True):
            if name != simple:
                found[who][name] += 1
    return found


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Judge the rule and its controls: it stays within the bound, they do not."""
    most, found = bound(count), not_simple(count, seed)
    good = found[RULE].total() <= most < min(found[who].total() for who in CONTROLS)
    code = hash_of(("research.optimise.nested",))
    return {"optimising code": code, "bound": most, "not the simple one": found}, good
