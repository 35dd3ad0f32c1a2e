"""A search by results over factor weights and portfolio parameters: to be looked at, never written.

It moves towards Sharpe ratio, small drawdown and Calmar ratio on the very sessions that it is judged by, so
that its best is a hypothesis for sessions to come. Every trial is counted, for every family, as adaptive.

Source of the default sampler: Deb and others (2002), A Fast and Elitist Multiobjective Genetic Algorithm:
NSGA-II, IEEE Transactions on Evolutionary Computation 6, 182-197.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.files import replace_file
from lockstep.identity import json_digest
from lockstep.metrics import SESSIONS_PER_YEAR, Floats, curve_from, drawdowns, sharpe
from lockstep.portfolio.config import PortfolioConfig
from research.optimise.counting import Count
from research.optimise.feasible import limit_sets
from research.optimise.optimise import OptimisedPortfolio
from research.optimise.streams import PortfolioStreams

SCHEMA = 1
_DIRECTIONS = ("maximize", "minimize", "maximize")
_REACH, _SETS = 2.0, 200
# So many digits a spec's weight may have.
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class AdaptiveTrial:
    """One try: what was suggested, and what came of it over the streams' sessions.

    sharpe, calmar   of a year; drawdown: the deepest, fraction of the capital
    front            whether no other trial is better in one of the three and as good in the others
    """

    number: int
    parameters: Mapping[str, float]
    sharpe: float
    drawdown: float
    calmar: float
    front: bool = False


def adaptive_search(
    found: OptimisedPortfolio, *, trials: int, seed: int, count: Count
) -> tuple[AdaptiveTrial, ...]:
    """Return `trials` tries around a portfolio; ConfigError where optuna is not installed.

    Of a lane whose spec has a `score` its weights vary, up to twice what they are and of either sign; of the
    portfolio its size from a quarter to twice what is written, and which limits are added.
    """
    optuna = library_for(trials)
    study = optuna.create_study(
        directions=list(_DIRECTIONS), sampler=optuna.samplers.NSGAIISampler(seed=seed)
    )
    made = []
    for number in range(trials):
        asked = study.ask()
        tried = _tried(found, asked, number, count)
        study.tell(asked, [tried.sharpe, tried.drawdown, tried.calmar])
        made.append(tried)
    return tuple(replace(each, front=not any(_dominates(other, each) for other in made)) for each in made)


def library_for(trials: int) -> Any:
    """Return the library that suggests; ConfigError where it is not installed, or for less than one trial."""
    if trials < 1:
        raise ConfigError(f"--optuna {trials}: must be a positive number of trials, such as 200")
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise ConfigError(
            "--optuna: the library optuna is not installed; install the extra `optuna`, or leave --optuna out"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _tried(found: OptimisedPortfolio, asked: Any, number: int, count: Count) -> AdaptiveTrial:
    streams, changed = found.kept, {}
    parameters: dict[str, float] = {}
    for symbol, name, weight in factor_weights(streams):
        reach = _REACH * max(abs(weight), 1e-9)
        told = f"{symbol}.score.{name}"
        parameters[told] = float(f"{asked.suggest_float(told, -reach, reach):.{_DIGITS}g}")
    for symbol in dict.fromkeys(symbol for symbol, _, _ in factor_weights(streams)):
        own = streams.traded[symbol].strategy
        score = [
            {"id": name, "weight": parameters[f"{symbol}.score.{name}"]}
            for lane, name, _ in factor_weights(streams)
            if lane == symbol
        ]
        changed[symbol] = own.replaced(score=score)
    sets = limit_sets(
        found.plan.limits, lanes=len(streams.symbols), gross=found.sizes.gross / found.plan.capital,
        drawdown=found.plan.drawdown.at, volatility=None, most=_SETS,
    )  # fmt: skip
    parameters["size"] = asked.suggest_float("size", 0.25, _REACH)
    parameters["limits"] = asked.suggest_int("limits", 0, len(sets) - 1)
    config = _sized(found, streams, parameters["size"]).model_copy(
        update={"limits": sets[int(parameters["limits"])], "correlation": None}
    )
    count([["adaptive", parameters]])
    profits = streams.sweep_with(changed, [config]).profits[0]
    ratio, deepest, calmar = _measures(profits, found.plan.capital)
    return AdaptiveTrial(
        number=number, parameters=parameters, sharpe=ratio, drawdown=deepest, calmar=calmar
    )  # fmt: skip


def factor_weights(streams: PortfolioStreams) -> Iterator[tuple[str, str, float]]:
    """Yield name, id and weight of every lane without a model whose strategy has a score.

    A model was trained on the entries of its own strategy: another one's are none of its business.
    """
    for name, lane in streams.traded.items():
        if lane.veto is None:
            for each in getattr(lane.strategy, "score", ()):
                yield name, each.id, each.weight


def _sized(found: OptimisedPortfolio, streams: PortfolioStreams, size: float) -> PortfolioConfig:
    """Return the portfolio with all of its lanes larger or smaller by the same factor, one step at least."""
    steps = dict(zip(streams.symbols, streams.steps.tolist(), strict=True))
    lanes = []
    for lane in found.config.lanes:
        name = "units" if lane.units is not None else "weight"
        step = steps[lane.symbol]
        units = max(1, round(getattr(lane, name) * size / step)) * step
        lanes.append(lane.model_copy(update={name: round(units, 9)}))
    return found.config.model_copy(update={"lanes": tuple(lanes)})


def _measures(profits: Floats, capital: float) -> tuple[float, float, float]:
    deepest = float(drawdowns(curve_from(0.0, np.cumsum(profits))).max()) / capital
    yearly = float(profits.mean()) * SESSIONS_PER_YEAR / capital
    ratio = sharpe(profits, SESSIONS_PER_YEAR)
    calmar = yearly / deepest if deepest > 0 else 0.0
    return (ratio if math.isfinite(ratio) else 0.0), deepest, calmar


def _dominates(one: AdaptiveTrial, other: AdaptiveTrial) -> bool:
    better = (one.sharpe, -one.drawdown, one.calmar), (other.sharpe, -other.drawdown, other.calmar)
    return better[0] != better[1] and all(a >= b for a, b in zip(*better, strict=True))


def keep_search(found: OptimisedPortfolio, tried: tuple[AdaptiveTrial, ...], folder: Path) -> Path:
    """Write all trials beside what the run left, by content; a rerun writes the same bytes."""
    content = {
        "schema": SCHEMA,
        "portfolio": found.content_hash,
        "trials": [
            {
                "number": each.number, "parameters": dict(each.parameters), "sharpe": each.sharpe,
                "drawdown": each.drawdown, "calmar": each.calmar, "front": each.front,
            }
            for each in tried
        ],
    }  # fmt: skip
    path = folder / f"optuna-{json_digest(content)[:10]}.json"
    return replace_file(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
