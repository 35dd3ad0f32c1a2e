"""Strategy: pure decisions and fills, and the Backtrader objects around them.

Configuration and decisions load without Backtrader; `IbsStrategy`, `build_cerebro` and the broker load
it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.family import Family, load_strategy, register
from lockstep.strategy.veto import Veto

if TYPE_CHECKING:
    from lockstep.strategy.backtrader.broker import SimulatedBroker
    from lockstep.strategy.backtrader.cerebro import build_cerebro
    from lockstep.strategy.backtrader.strategy import ParityStrategy
    from lockstep.strategy.ibs_strategy import IbsStrategy
    from lockstep.strategy.lane import Lane

__all__ = [
    "Family",
    "IbsConfig",
    "IbsStrategy",
    "Lane",
    "ParityStrategy",
    "SimulatedBroker",
    "StrategyConfig",
    "Veto",
    "build_cerebro",
    "load_strategy",
    "register",
]

_WITH_BACKTRADER = {
    "IbsStrategy": "ibs_strategy",
    "Lane": "lane",
    "ParityStrategy": "backtrader.strategy",
    "SimulatedBroker": "backtrader.broker",
    "build_cerebro": "backtrader.cerebro",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_BACKTRADER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_BACKTRADER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
