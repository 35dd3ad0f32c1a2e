"""Second opinions on a finished search, for the reader who asks why: none of them decides.

The gate tests the maximum of all trials on sketches. Here the same trials are run again over the test range,
for their returns in full, and other tests that the field knows look at them: Hansen's SPA and White's reality
check against the exposure-matched market, Romano and Wolf's step-down p-values, Holm and the false discovery
rate over the best; and of the winner the record that its Sharpe ratio needs, and other orders of its trades.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.errors import ExperimentError
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.metrics import curve_from, period_returns, sharpe
from lockstep.strategy.config import StrategyConfig
from research.experiments.accounts import Engine, SymbolAccount
from research.experiments.evaluation import Data
from research.experiments.selection import Ranked
from research.experiments.store import Record
from research.report.trust import OtherOrders, other_orders
from research.splits.ranges import consecutive
from research.statistics.multiple_testing import adjusted
from research.statistics.sharpe import (
    SharpeSample,
    minimum_backtest_length,
    minimum_track_record,
    one_sided_p_values,
    probabilistic_sharpe,
)
from research.statistics.superior import (
    reality_check,
    step_down_p_values,
    superior_predictive_ability,
    superior_trials,
)
from research.sweep.residuals import residuals

# Returns of all trials together: 64 MB, and some seconds of resampling.
CELLS = 8_000_000
_LEAST = 8

ResidualsOf = Callable[[Sequence[StrategyConfig], Data, DateRange], Floats]


def swept_residuals(configs: Sequence[StrategyConfig], data: Data, dates: DateRange) -> Floats:
    """Return timing residuals from the sweep, float64 (S, V)."""
    return residuals(configs, data.history, data.symbol, span=dates)


@dataclass(frozen=True, kw_only=True)
class TrialOpinion:
    """What the tests say of one of the best, its p-values against the exposure-matched market.

    timing                 annual Sharpe ratio of its residual
    alone, holm, rate      as if it were the only trial; after Holm and Benjamini-Hochberg over all counted
    step_down              Romano and Wolf's, which know how the trials move together
    """

    variant: int
    timing: float
    alone: float
    holm: float
    rate: float
    step_down: float


@dataclass(frozen=True, kw_only=True)
class SearchOpinion:
    """What the tests say of all trials of a search on a symbol, over the sessions of its test ranges.

    spa, white   p-values of "no trial beats the market at its own exposure": Hansen's consistent, White's
    superior     trials whose step-down p-value is 5 % at most; trials: all that were run again
    block        average block length of the bootstrap, sessions: the median over the trials
    """

    spa: float
    white: float
    superior: int
    trials: int
    block: int
    best: tuple[TrialOpinion, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class WinnerOpinion:
    """How long a record the winner's account on a symbol needs, and how its trades might have come.

    sharpe, above_zero   annual ratio, and the probability that the true one is positive; over_blocks: with
                         autocorrelation
    wider                error over blocks, relative to the plain one
    years, track_record  years that there are, and that would make the ratio positive with 95 % confidence
    backtest             years below which as many independent trials without skill are expected to show it
    orders               other orders of its closed trades; None for fewer than three, or where they are lost
    """

    sharpe: float
    above_zero: float
    over_blocks: float
    wider: float
    years: float
    track_record: float
    backtest: float
    orders: OtherOrders | None


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolDiagnostics:
    """Second opinions on one symbol; `unknown` says why one is missing, in a sentence."""

    symbol: str
    winner: WinnerOpinion | None
    search: SearchOpinion | None
    unknown: str = ""


def opinion_on_search(
    returns: Floats, variants: Sequence[int], shown: Sequence[int], *, counted: int, per_year: float
) -> SearchOpinion:
    """Return what the tests say of residuals, float64 (S, k), S >= 8, of the trials `variants` (k,).

    shown     those of them whose p-values are told; counted: trials that the ledger knows, k at least
    per_year  sessions of a year, which annualise
    """
    found = superior_predictive_ability(returns)
    again = {"block": found.block}
    step_down = step_down_p_values(returns, **again)
    ratios = np.nan_to_num([sharpe(column) for column in returns.T])
    alone = one_sided_p_values(ratios, returns.shape[0])
    tests = max(counted, len(variants))
    holm, rate = (adjusted(alone, method, tests=tests) for method in ("holm", "benjamini-hochberg"))
    place = {variant: row for row, variant in enumerate(variants)}
    best = tuple(
        TrialOpinion(
            variant=each,
            timing=float(ratios[row]) * math.sqrt(per_year),
            alone=float(alone[row]),
            holm=float(holm[row]),
            rate=float(rate[row]),
            step_down=float(step_down[row]),
        )
        for each in shown
        if (row := place.get(each)) is not None
    )
    return SearchOpinion(
        spa=found.consistent,
        white=reality_check(returns, **again),
        superior=len(superior_trials(step_down)),
        trials=len(variants),
        block=found.block,
        best=best,
    )


def opinion_on_winner(
    account: SymbolAccount, pnl: Floats | None, *, independent: float, per_year: float
) -> WinnerOpinion | None:
    """Return what the record of an account says; None where its curve was not kept, or does not vary.

    pnl           of its closed trades, float64 (n,), USD; None where they are not known
    independent   trials that were as good as independent, >= 1
    """
    if account.equity.size < _LEAST:
        return None
    returns = period_returns(curve_from(account.capital, account.equity), account.capital)
    plain, blocks = SharpeSample.of(returns), SharpeSample.of_blocks(returns)
    if math.isnan(plain.ratio):
        return None
    yearly = plain.ratio * math.sqrt(per_year)
    return WinnerOpinion(
        sharpe=yearly,
        above_zero=probabilistic_sharpe(plain),
        over_blocks=probabilistic_sharpe(blocks),
        wider=math.sqrt(blocks.dependence),
        years=plain.periods / per_year,
        track_record=minimum_track_record(blocks) / per_year,
        backtest=minimum_backtest_length(independent, yearly) if yearly > 0 else math.inf,
        orders=other_orders(pnl) if pnl is not None and pnl.size > 2 else None,
    )


def diagnose(
    record: Record,
    ranked: Sequence[Ranked],
    *,
    variants: Mapping[str, Sequence[int]],
    counted: Mapping[str, int],
    independent: Mapping[str, float],
    per_year: Mapping[str, float],
    load: Callable[[str], Data],
    residuals_of: ResidualsOf,
    engine: Engine,
) -> tuple[SymbolDiagnostics, ...]:
    """Return the second opinions by symbol; of what cannot be run again, why.

    variants   that succeeded in every window, rising; counted, independent: trials by the ledger, and as many
               independent ones; per_year: sessions. All by symbol, as `load` is, which refuses with
               ExperimentError where code or bars changed since
    """
    found = []
    for symbol in record.plan.symbols:
        account = ranked[0].accounts.get(symbol)
        pnl, search, unknown = None, None, ""
        try:
            data = load(symbol)
            pnl = None if account is None else _trades(record, account, data, engine)
            search, unknown = _search(record, data, variants[symbol], ranked, counted, per_year, residuals_of)
        except ExperimentError as error:
            unknown = str(error)
        own = {"independent": max(1.0, independent[symbol]), "per_year": per_year[symbol]}
        winner = None if account is None else opinion_on_winner(account, pnl, **own)
        found.append(SymbolDiagnostics(symbol=symbol, winner=winner, search=search, unknown=unknown))
    return tuple(found)


def _search(
    record: Record,
    data: Data,
    variants: Sequence[int],
    ranked: Sequence[Ranked],
    counted: Mapping[str, int],
    per_year: Mapping[str, float],
    residuals_of: ResidualsOf,
) -> tuple[SearchOpinion | None, str]:
    windows = record.plan.windows
    tests = [windows[number].test for number, part in consecutive(windows) if part == "test"]
    years = sum((each.end - each.start).days + 1 for each in tests) / 365.25
    if (cells := years * per_year[data.symbol] * len(variants)) > CELLS:
        return None, (
            f"{len(variants):,} trials are {cells / 1e6:,.0f} million returns, and {CELLS / 1e6:.0f} is the "
            "most that is run again: the maximum test asks the same of sketches"
        )
    configs = [record.plan.space.variant(each).config for each in variants]
    known = [each for each in configs if each is not None]
    returns = np.concatenate([residuals_of(known, data, dates) for dates in tests])
    if len(returns) < _LEAST:
        return None, f"{len(returns)} sessions are too few to resample"
    shown = [each.variant for each in ranked]
    return opinion_on_search(
        returns, variants, shown, counted=counted[data.symbol], per_year=per_year[data.symbol]
    ), ""


def _trades(record: Record, account: SymbolAccount, data: Data, engine: Engine) -> Floats:
    """Return net results of the account's closed trades in order, float64 (n,), USD."""
    courses = []
    for leg in account.legs:
        config = None if leg.variant is None else record.plan.space.variant(leg.variant).config
        if config is not None:
            courses.append(engine(config, data, leg.dates))
    return np.concatenate([each.pnl[each.exit > 0] for each in courses] or [np.empty(0)])
