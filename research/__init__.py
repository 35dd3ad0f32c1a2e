"""Everything that only research needs: backtests, sweeps, experiments, training, validation and reports.

The names below are loaded when they are first used. The verbs of a notebook (`backtest`, `sweep`, `train` …)
are on `lockstep`: here `research.backtest` and `research.sweep` are the packages that they use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.backtest.result import BacktestResult as BacktestResult
    from research.backtest.run import run_backtest as run_backtest
    from research.report.external import tearsheet as tearsheet
    from research.training.config import load_training as load_training
    from research.training.dataset import build_dataset as build_dataset
    from research.training.run import load_training_history as load_training_history

_HOMES = {
    "BacktestResult": "research.backtest.result",
    "build_dataset": "research.training.dataset",
    "load_training": "research.training.config",
    "load_training_history": "research.training.run",
    "run_backtest": "research.backtest.run",
    "tearsheet": "research.report.external",
}

__all__ = [
    "BacktestResult",
    "build_dataset",
    "load_training",
    "load_training_history",
    "run_backtest",
    "tearsheet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'research' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
