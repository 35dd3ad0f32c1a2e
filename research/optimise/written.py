"""A portfolio as text: its file, and the figures of its run as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from lockstep.portfolio.config import PortfolioConfig
from research.optimise.covariance import correlation_of
from research.optimise.optimise import OptimisedPortfolio
from research.statistics.bootstrap import Interval

SCHEMA = 1
_HEADER = (
    "# Written by `lockstep optimize-portfolio`, read by `lockstep backtest --portfolio`. Change the plan\n"
    "# and run it again rather than this file; `made` says what it was made of.\n"
)


def portfolio_text(config: PortfolioConfig) -> str:
    """Return the portfolio's file; what says nothing is left out."""
    content = config.model_dump(mode="json", exclude_none=True)
    content = {key: value for key, value in content.items() if value not in ({}, [])}
    return _HEADER + yaml.safe_dump(content, sort_keys=False, width=110)


def figures(found: OptimisedPortfolio) -> dict[str, Any]:
    """Return the figures of a run as JSON, undefined ones as null."""
    sizes, luck = found.sizes, found.luck
    by_symbol = {
        symbol: {
            "units": sizes.units[place],
            "wanted": sizes.wanted[place],
            "notional": sizes.units[place] * sizes.notional[place],
            "risk": found.contributions[place],
            "trades_from": sizes.needed[place],
            "smaller": dict(sizes.smaller[symbol]),
        }
        for place, symbol in enumerate(sizes.symbols)
    }
    content = {
        "schema": SCHEMA,
        "name": found.config.name,
        "content_hash": found.content_hash,
        "portfolio_hash": found.config.portfolio_hash,
        "method": found.result.choice.name,
        "best": found.result.choice.best,
        "sessions": found.config.made["sessions"],
        "volatility": found.volatility,
        "gross": sizes.gross,
        "cash": found.cash,
        "margin": found.margin,
        "lanes": by_symbol,
        "limits": found.config.limits.model_dump(mode="json", exclude_none=True),
        "chance_of_drawdown": found.config.made["chance_of_drawdown"],
        "correlation": correlation_of(found.covariance).round(6).tolist(),
        "luck": {
            name: [float(each) for each in getattr(luck, name)] for name in ("profit", "drawdown", "sharpe")
        },
        "out_of_sample": {
            each.name: {
                **{name: _bounds(getattr(each, name)) for name in ("sharpe", "sortino", "drawdown")},
                "paths": each.paths.tolist(),
            }
            for each in found.judged
        },
    }
    return dict(_finite(content))


def _bounds(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def limits_text(limits: Mapping[str, Any]) -> str:
    """Return limits as they are in a file, in a line."""
    flow = yaml.safe_dump(dict(limits), default_flow_style=True, sort_keys=False, width=10_000).strip()
    return flow.removeprefix("{").removesuffix("}") or "none"
