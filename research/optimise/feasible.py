"""How probable it is that a set of limits breaks its declared drawdown.

Whole sessions are drawn in blocks, the same ones for every set of limits: two sets that meet equal sessions
differ by themselves and not by luck. Politis and Romano (1994), The Stationary Bootstrap, JASA 89, 1303-1313.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from lockstep.portfolio.config import PortfolioLimits
from research.statistics.bootstrap import block_length, resampled_rows
from research.statistics.sharpe import finite

# Sets whose sessions lie side by side in one cache line.
_TOGETHER = 8
# Limits that may be added, from loose to tight: positions; parts of the gross value of all lanes, of the
# declared drawdown lost in a day, of the volatility target; tiers (part of that drawdown, scale of sizes).
_POSITIONS = 4
_GROSS = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2)
_LOSS = (0.5, 0.25, 0.12, 0.06)
_VOLATILITY = (2.0, 1.5, 1.0, 0.75, 0.5)
_TIERS = (
    ((0.75, 0.5),), ((0.5, 0.5),), ((0.25, 0.5),),
    ((0.5, 0.5), (0.75, 0.25)), ((0.5, 0.25),), ((0.25, 0.25),),
)  # fmt: skip
_WINDOW = 252
_AT_ONCE = 16


def drawdown_probabilities(pnl: Any, rows: NDArray[np.int32], bound: float) -> Floats:
    """Return for each set of limits the share of samples whose maximum drawdown is above `bound`, (V,).

    pnl     float64 (V, D), USD: profit and loss per session of each set
    rows    int32 (R, D'), sessions of each sample, from `resampled_rows`
    bound   USD, > 0

    A drawdown is from the highest equity so far, the start included. ConfigError for another bound, DataError
    for P&L that is not finite or rows that are no sessions.
    """
    values = finite(pnl, "P&L of the limit sets", dimensions=2)
    if not (math.isfinite(bound) and bound > 0):
        raise ConfigError(f"drawdown {bound}: must be a positive number of USD")
    if not rows.size or rows.min() < 0 or rows.max() >= values.shape[1]:
        raise DataError(f"bootstrap rows: must be numbers of the {values.shape[1]} sessions")
    sets = values.shape[0]
    padded = np.zeros((math.ceil(sets / _TOGETHER) * _TOGETHER, values.shape[1]))
    padded[:sets] = values
    broken = [
        _broken(np.ascontiguousarray(part.T), rows, bound)
        for part in np.split(padded, range(_TOGETHER, len(padded), _TOGETHER))
    ]
    shares: Floats = np.concatenate(broken)[:sets] / rows.shape[0]
    return shares


@kernel
def _broken(pnl: Floats, rows: NDArray[np.int32], bound: float) -> Floats:
    """Return how many samples break the bound, (_TOGETHER,), of P&L (D, _TOGETHER)."""
    out = np.zeros(_TOGETHER)
    equity, peak, worst = np.empty(_TOGETHER), np.empty(_TOGETHER), np.empty(_TOGETHER)
    for sample in range(rows.shape[0]):
        for each in range(_TOGETHER):
            equity[each] = peak[each] = worst[each] = 0.0
        for place in range(rows.shape[1]):
            row = rows[sample, place]
            for each in range(_TOGETHER):
                equity[each] += pnl[row, each]
                peak[each] = max(peak[each], equity[each])
                worst[each] = max(worst[each], peak[each] - equity[each])
        for each in range(_TOGETHER):
            if worst[each] > bound:
                out[each] += 1.0
    return out


@dataclass(frozen=True, kw_only=True)
class LimitSearch:
    """Sets of limits in their order, as far as they were tried.

    tried          with the chance that the declared drawdown is broken, each
    sets           how many there were to try
    probability    the largest chance that is accepted
    """

    tried: tuple[tuple[PortfolioLimits, float], ...]
    sets: int
    probability: float

    @property
    def found(self) -> tuple[PortfolioLimits, float] | None:
        """The first set that holds, with its chance; None where none did."""
        return next((each for each in self.tried if each[1] <= self.probability), None)


def limit_sets(
    base: PortfolioLimits, *, lanes: int, gross: float, drawdown: float, volatility: float | None, most: int
) -> list[PortfolioLimits]:
    """Return `base` and what can be added to it: fewest limits first, and of as many the loosest first.

    lanes        that may be open at once; gross: notional value of all of them, in multiples of the capital
    drawdown     that is declared, fraction of the capital
    volatility   target of a year, fraction of the capital; None: no lane says what it has

    The order knows nothing of any profit. A limit of `base` is tightened or left, never loosened; a drawdown
    rule of its own stays as it is.
    """
    positions = list(range(lanes - 1, 0, -1))[:_POSITIONS]
    choices: dict[str, list[Any]] = {
        "max_positions": _tighter(positions, base.max_positions),
        "max_gross": _tighter([round(part * gross, 4) for part in _GROSS], base.max_gross),
        "daily_loss": [
            {"fraction": part, "flatten": base.daily_loss.flatten if base.daily_loss else False}
            for part in _tighter(
                [round(part * drawdown, 4) for part in _LOSS],
                base.daily_loss.fraction if base.daily_loss else None,
            )
        ],
        "drawdown": [] if base.drawdown else [_tiers(drawdown, *each) for each in _TIERS],
        "volatility": [],
    }
    if volatility is not None:
        known = base.volatility.target if base.volatility else None
        targets = _tighter([round(part * volatility, 4) for part in _VOLATILITY], known)
        choices["volatility"] = [{"target": each} for each in targets]
    levels = itertools.product(*(range(len(each) + 1) for each in choices.values()))
    ordered = sorted(levels, key=lambda each: (sum(level > 0 for level in each), sum(each), each))
    return [_with(base, choices, each) for each in ordered[:most]]


def _with(base: PortfolioLimits, choices: dict[str, list[Any]], levels: tuple[int, ...]) -> PortfolioLimits:
    chosen = {
        name: values[level - 1]
        for (name, values), level in zip(choices.items(), levels, strict=True)
        if level
    }
    return PortfolioLimits.model_validate(base.model_dump() | chosen)


def _tighter(values: list[Any], limit: float | None) -> list[Any]:
    return [each for each in dict.fromkeys(values) if each > 0 and (limit is None or each < limit)]


def _tiers(drawdown: float, *tiers: tuple[float, float]) -> dict[str, Any]:
    return {
        "window": _WINDOW,
        "tiers": [{"at": round(part * drawdown, 4), "scale": scale} for part, scale in tiers],
    }


def smallest_feasible(
    sets: Sequence[PortfolioLimits],
    profits: Callable[[Sequence[PortfolioLimits]], Floats],
    *,
    bound: float,
    probability: float,
    resamples: int,
    seed: int,
) -> LimitSearch:
    """Try sets of limits in their order until one breaks the bound with at most `probability`.

    profits   of sets: float64 (V, D), USD per session
    bound     USD, > 0: the drawdown that is declared

    Samples are as long as the history; all sets meet the same ones, in blocks of the length that the first
    set asks for. What comes after the first that holds is not tried, and so is no trial.
    """
    tried: list[tuple[PortfolioLimits, float]] = []
    rows = np.zeros((0, 0), dtype=np.int32)
    for part in _batches(sets):
        found = profits(part)
        if not tried:
            block = block_length(found[0])
            rows = resampled_rows(found.shape[1], block=block, resamples=resamples, seed=seed)
        tried += zip(part, drawdown_probabilities(found, rows, bound).tolist(), strict=True)
        if min(chance for _, chance in tried) <= probability:
            break
    return LimitSearch(tried=tuple(tried), sets=len(sets), probability=probability)


def _batches(sets: Sequence[PortfolioLimits]) -> Iterator[Sequence[PortfolioLimits]]:
    """Yield the first set alone, since it is mostly enough, then many at once."""
    yield sets[:1]
    for first in range(1, len(sets), _AT_ONCE):
        yield sets[first : first + _AT_ONCE]
