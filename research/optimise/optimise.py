"""`optimise`: from the lanes' streams to a portfolio's file, and what may be believed of it.

The method by the one rule (ADR 39), scaled to the volatility that is wanted, whole contracts, the fewest
limits under which the declared drawdown is improbable enough. All of it follows from the plan, the streams,
the seed and the code: a rerun gives the same bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.identity import OPTIMISING, code_hash, json_digest
from lockstep.market.bars import Stamps
from lockstep.market.margin import margin_on
from lockstep.metrics import SESSIONS_PER_YEAR, Floats, curve_from, drawdowns, sharpe, sortino
from lockstep.portfolio.config import PortfolioConfig, PortfolioLimits
from lockstep.portfolio.var_decomposition import volatility_contributions
from research.optimise.counting import Count, uncounted_trials
from research.optimise.feasible import LimitSearch, limit_sets, smallest_feasible
from research.optimise.methods import CONTROLS, METHODS, LaneRisk, partition, scaled, weights_of
from research.optimise.nested import RULE, NestedDesign, NestedResult, nested
from research.optimise.plan import PortfolioPlan
from research.optimise.sizes import PortfolioSizes
from research.optimise.streams import PortfolioStreams
from research.statistics.bootstrap import Interval, block_length, confidence_interval

_DIGITS = 4
WRITTEN = "as written"


@dataclass(frozen=True, kw_only=True)
class OptimiserDesign:
    """How much is drawn and tried.

    folder   where the portfolio's file goes: strategies are named from it; plan_folder: where the plan is
    """

    folder: Path
    plan_folder: Path
    seed: int = 0
    limit_sets: int = 2_000
    resamples: int = 1_000
    orders: int = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedMethod:
    """A method out of sample: 95 % intervals over the walk-forward, and the paths of the cross-validation.

    sharpe, sortino   of a year; drawdown: the deepest, fraction of the capital
    paths             float64 (p,): Sharpe ratio of a year of each path; empty for what is in sample
    """

    name: str
    sharpe: Interval
    sortino: Interval
    drawdown: Interval
    paths: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderLuck:
    """The portfolio with its proposals admitted in other orders of the lanes: float64 (orders,) each.

    profit, drawdown in USD; sharpe of a year; refused: proposals that a limit refused
    written   the same three of the order that is written
    """

    profit: Floats
    drawdown: Floats
    sharpe: Floats
    refused: Stamps
    written: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimisedPortfolio:
    """A portfolio with everything that it was made of.

    config       what is written
    streams      of all lanes; `kept`: of those that got a size
    result       choice of the method, and all methods out of sample
    covariance   per session and unit, USD^2, (n, n)
    profits      float64 (T,), USD per session of the portfolio as it is written, in the twin: in sample
    judged       the rule first, then `equal` and the others, then what is written
    leaning      float64 (k,): USD per move of 1 of each `neutral` factor, left by whole contracts; (0,) for
    none
    """

    plan: PortfolioPlan
    config: PortfolioConfig
    streams: PortfolioStreams
    kept: PortfolioStreams
    result: NestedResult
    covariance: Floats
    sizes: PortfolioSizes
    limits: LimitSearch
    luck: OrderLuck
    profits: Floats
    judged: tuple[JudgedMethod, ...]
    leaning: Floats

    @cached_property
    def contributions(self) -> Floats:
        """USD of a year's volatility that each lane contributes, (n,); they add up to `volatility`."""
        parts = volatility_contributions(self.sizes.units, self.covariance)
        return np.asarray(parts * math.sqrt(SESSIONS_PER_YEAR))

    @property
    def volatility(self) -> float:
        """Standard deviation of a year of all units together, before limits, USD."""
        units = self.sizes.units
        return math.sqrt(float(units @ self.covariance @ units) * SESSIONS_PER_YEAR)

    @property
    def margin(self) -> float:
        """Overnight margin of all units at the last session, USD; NaN where one is not declared."""
        last, total = int(self.streams.days[-1]), 0.0
        for symbol, units, contracts in zip(
            self.streams.symbols, self.sizes.units, self.streams.contracts, strict=True
        ):
            if units:
                total += units * contracts * margin_on(self.streams.book.instrument(symbol).margin, last)[1]
        return total

    @property
    def cash(self) -> float:
        """What is left of the capital when every lane is paid in full, USD; 0 where it is more than that."""
        return max(0.0, self.plan.capital - self.sizes.gross)

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the written file's content: names what is kept of the run."""
        return json_digest(self.config.model_dump(mode="json"))

    def plot(self) -> Any:
        """Return the figure of what the rule and equal weights earned out of sample."""
        from research.optimise.report import out_of_sample_figure
        from research.report.views import on_paper

        return on_paper(out_of_sample_figure(self))

    def _repr_html_(self) -> str:
        from research.optimise.report import portfolio_fragment

        return portfolio_fragment(self)


Progress = Callable[[str], None]


def no_progress(text: str) -> None:
    """Tell nobody what is done next."""


def optimise(
    plan: PortfolioPlan,
    streams: PortfolioStreams,
    design: OptimiserDesign,
    *,
    factors: Floats | None = None,
    count: Count = uncounted_trials,
    on_step: Progress = no_progress,
) -> OptimisedPortfolio:
    """Return the portfolio of a plan; ConfigError where it cannot be made, with what to change.

    factors   float64 (T, k), moves of the plan's `neutral` factors in the streams' sessions
    count     is told of every configuration before it is evaluated; on_step: what is done next
    """
    require_grouped(plan, streams)
    if plan.neutral and (factors is None or factors.shape != (streams.days.size, len(plan.neutral))):
        raise ConfigError(
            f"plan {plan.name}: neutral to {', '.join(plan.neutral)}: give the moves of these factors"
        )
    on_step("choosing the method")
    count([["method", name] for name in (*METHODS, *CONTROLS)])
    groups = {name: each.symbols for name, each in plan.groups.items()}
    # Per USD of notional value: what is equal, and what has the least variance, depends on the unit.
    value = streams.notional
    risk = LaneRisk.of(
        streams.pnl / value, streams.symbols, partition(streams.symbols, groups),
        factors if plan.neutral else None, plan.neutral,
    )  # fmt: skip
    target = plan.target_volatility * plan.capital
    result = nested(risk, NestedDesign(target=target, seed=design.seed))
    wanted = scaled(weights_of(METHODS[result.choice.name], risk), risk.covariance, target) / value
    covariance = risk.covariance * np.outer(value, value)
    sizes = PortfolioSizes.of(streams, wanted, covariance)
    kept = streams if sizes.kept == streams.symbols else streams.only(sizes.kept)
    on_step("trying limits")
    limits = _limits(plan, kept, sizes, design, count)
    config = _written(plan, kept, sizes, _found(plan, limits), design)
    on_step("trying orders of the lanes")
    swept = kept.sweep([config])
    luck = _luck(kept, config, swept.profits[0], design)
    on_step("judging out of sample")
    judged = _judged(plan, result, swept.profits[0], design)
    made = _made(plan, streams, sizes, result, limits, kept, design)
    return OptimisedPortfolio(
        plan=plan,
        config=config.model_copy(update={"made": made}),
        streams=streams,
        kept=kept,
        result=result,
        covariance=covariance,
        sizes=sizes,
        limits=limits,
        luck=luck,
        profits=swept.profits[0],
        judged=judged,
        leaning=sizes.units @ (risk.exposures * value[:, None]) if plan.neutral else np.zeros(0),
    )


def require_grouped(plan: PortfolioPlan, streams: PortfolioStreams) -> None:
    """Raise ConfigError where two lanes that share no group correlate more than the plan allows."""
    symbols, found = streams.symbols, streams.measured_correlation
    for one, first in enumerate(symbols):
        for two, second in enumerate(symbols[:one]):
            shared = plan.group_of(first) == plan.group_of(second) != ""
            if found[one, two] > plan.correlation.max_pairwise and not shared:
                raise ConfigError(
                    f"{second} and {first}: their daily changes correlate by {found[one, two]:.2f} over "
                    f"{plan.correlation.window} sessions, more than correlation.max_pairwise "
                    f"{plan.correlation.max_pairwise:g}; put both into one of `groups`"
                )


def _limits(
    plan: PortfolioPlan, kept: PortfolioStreams, sizes: PortfolioSizes, design: OptimiserDesign, count: Count
) -> LimitSearch:
    """Return the search for the fewest limits; ConfigError where not even all of them are enough."""
    sets = limit_sets(
        plan.limits,
        lanes=len(kept.symbols),
        gross=sizes.gross / plan.capital,
        drawdown=plan.drawdown.at,
        volatility=plan.target_volatility if kept.ground.ids[0] else None,
        most=design.limit_sets,
    )

    def profits(some: Sequence[PortfolioLimits]) -> Floats:
        count([["limits", each.model_dump(mode="json")] for each in some])
        return kept.sweep([_written(plan, kept, sizes, each, design) for each in some]).profits

    found = smallest_feasible(
        sets,
        profits,
        bound=plan.drawdown.at * plan.capital,
        probability=plan.drawdown.probability,
        resamples=design.resamples,
        seed=design.seed,
    )
    if found.found is None:
        least = min(chance for _, chance in found.tried)
        raise ConfigError(
            f"drawdown.at {plan.drawdown.at:g}: no set of limits out of {found.sets:,} brings the "
            f"chance of it down to {plan.drawdown.probability:.0%}, the best has {least:.0%}; lower "
            f"target_volatility {plan.target_volatility:g}, or declare a deeper drawdown"
        )
    return found


def _found(plan: PortfolioPlan, limits: LimitSearch) -> PortfolioLimits:
    return plan.limits if limits.found is None else limits.found[0]


def _written(
    plan: PortfolioPlan, kept: PortfolioStreams, sizes: PortfolioSizes, limits: PortfolioLimits,
    design: OptimiserDesign,
) -> PortfolioConfig:  # fmt: skip
    units = sizes.by_symbol()
    groups = {
        name: {**each.model_dump(), "symbols": [symbol for symbol in each.symbols if symbol in units]}
        for name, each in plan.groups.items()
        if each.limited
    }
    lanes = []
    for symbol in kept.symbols:
        lane, size = plan.lane(symbol), round(units[symbol], 9)
        content = lane.model_dump(exclude_none=True)
        for each in (content, *content.get("members", ())):
            if "strategy" in each:
                path = Path(os.path.relpath(design.plan_folder / each["strategy"], design.folder))
                each["strategy"] = path.as_posix()
        lanes.append(content | {"units" if kept.lanes[symbol].is_fixed else "weight": size})
    content = {
        "name": plan.name,
        "capital": plan.capital,
        "day": plan.day,
        "lanes": lanes,
        "rank": _rank(plan, kept.symbols),
        "groups": {name: each for name, each in groups.items() if each["symbols"]},
        "limits": limits.model_dump(),
        "correlation": _matrix(kept) if limits.volatility else None,
    }
    config = PortfolioConfig.model_validate(content)
    return config.model_copy(update={"name": f"{plan.name}-{config.portfolio_hash[:10]}"})


def _rank(plan: PortfolioPlan, symbols: Sequence[str]) -> dict[str, Any]:
    order = tuple(each for each in plan.rank.order if each in symbols)
    return plan.rank.model_dump() | {"order": order}


def _matrix(streams: PortfolioStreams) -> dict[str, Any]:
    return {"symbols": list(streams.symbols), "matrix": streams.correlation.round(_DIGITS).tolist()}


def _luck(
    kept: PortfolioStreams, config: PortfolioConfig, written: Floats, design: OptimiserDesign
) -> OrderLuck:
    """Trade the portfolio with orders of its lanes: by symbol, and others drawn without repeating one."""
    random, count = np.random.default_rng(design.seed), len(kept.symbols)
    orders: dict[tuple[str, ...], None] = {kept.symbols: None}
    while len(orders) < min(design.orders, math.factorial(count)):
        orders[tuple(kept.symbols[each] for each in random.permutation(count))] = None
    ranked = [
        config.model_copy(
            update={"rank": config.rank.model_copy(
                update={"by": "listed", "order": order, "id": "", "smallest_first": False}
            )}
        )
        for order in orders
    ]  # fmt: skip
    swept = kept.sweep(ranked)
    return OrderLuck(
        profit=swept.net_profit,
        drawdown=swept.max_drawdown,
        sharpe=np.array([_sharpe(each) for each in swept.profits]),
        refused=swept.refusals.sum(axis=1),
        written=(float(written.sum()), _drawdown(written), _sharpe(written)),
    )


def _sharpe(profits: Floats) -> float:
    return sharpe(profits, SESSIONS_PER_YEAR)


def _drawdown(profits: Floats) -> float:
    return float(drawdowns(curve_from(0.0, np.cumsum(profits))).max())


def _judged(
    plan: PortfolioPlan, result: NestedResult, written: Floats, design: OptimiserDesign
) -> tuple[JudgedMethod, ...]:
    forward = result.walk_forward
    block = block_length(forward[RULE])

    def judged(name: str, profits: Floats, paths: Floats) -> JudgedMethod:
        def interval(statistic: Callable[[Floats], float]) -> Interval:
            return confidence_interval(
                profits, statistic, block=block, resamples=design.resamples, seed=design.seed
            )

        return JudgedMethod(
            name=name,
            sharpe=interval(_sharpe),
            sortino=interval(lambda each: sortino(each, SESSIONS_PER_YEAR)),
            drawdown=interval(lambda each: _drawdown(each) / plan.capital),
            paths=np.array([_sharpe(each) for each in paths]),
        )

    names = dict.fromkeys((RULE, "equal", *METHODS, *CONTROLS))
    found = [judged(name, forward[name], result.paths[name]) for name in names]
    return (*found, judged(WRITTEN, written[result.sessions], np.zeros((0, 0))))


def _made(
    plan: PortfolioPlan, streams: PortfolioStreams, sizes: PortfolioSizes, result: NestedResult,
    limits: LimitSearch, kept: PortfolioStreams, design: OptimiserDesign,
) -> dict[str, Any]:  # fmt: skip
    assert limits.found is not None
    return {
        "method": result.choice.name,
        "sessions": [str(streams.dates.start), str(streams.dates.end), int(streams.days.size)],
        "wanted": _named(streams.symbols, sizes.wanted),
        "trades_from_usd": _named(streams.symbols, sizes.needed, 0),
        "chance_of_drawdown": limits.found[1],
        "limit_sets_tried": len(limits.tried),
        **({} if _found(plan, limits).volatility else {"correlation": _matrix(kept)}),
        "streams": {
            name: {**each.source, "seen": each.seen} for name, each in streams.traded.items()
        },
        "seed": design.seed,
        "plan_hash": plan.plan_hash,
        "code_hash": code_hash(OPTIMISING),
    }  # fmt: skip


def _named(symbols: Sequence[str], values: Floats, digits: int = _DIGITS) -> dict[str, float]:
    return dict(zip(symbols, values.round(digits).tolist(), strict=True))
