"""Lockstep: what you backtest is exactly what trades live, and you can prove it.

This is the front door, for notebooks first of all: the verbs (`backtest`, `sweep`, `train`, `validate`,
`certify`, `promote` …) and the things that they take and return, found by tab. Importing the package loads
none of the heavy libraries: a name brings what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.errors import LockstepError as LockstepError
    from lockstep.features.feature_registry import FeatureRegistry as FeatureRegistry
    from lockstep.market.bars import Bars as Bars
    from lockstep.market.config import InstrumentBook as InstrumentBook
    from lockstep.market.config import load_instruments as load_instruments
    from lockstep.market.dates import DateRange as DateRange
    from lockstep.market.history import History as History
    from lockstep.market.loader import load_bars as load_bars
    from lockstep.market.loader import load_history as load_history
    from lockstep.market.quality import assess as assess
    from lockstep.models.bundle import Bundle as Bundle
    from lockstep.models.store import ModelStore as ModelStore
    from lockstep.models.store import load_bundle as load_bundle
    from lockstep.strategy.families.ibs import IbsConfig as IbsConfig
    from lockstep.strategy.families.rules import RulesConfig as RulesConfig
    from lockstep.strategy.ibs_strategy import IbsStrategy as IbsStrategy
    from operations.agents.explore import explore as explore
    from operations.verbs import backtest as backtest
    from operations.verbs import certify as certify
    from operations.verbs import compare as compare
    from operations.verbs import explain as explain
    from operations.verbs import lookahead as lookahead
    from operations.verbs import monitor as monitor
    from operations.verbs import optimize_portfolio as optimize_portfolio
    from operations.verbs import promote as promote
    from operations.verbs import rehearse as rehearse
    from operations.verbs import release as release
    from operations.verbs import risk as risk
    from operations.verbs import rollback as rollback
    from operations.verbs import stress as stress
    from operations.verbs import sweep as sweep
    from operations.verbs import train as train
    from operations.verbs import validate as validate
    from research.report import views as views
    from research.report.external import tearsheet as tearsheet

__version__ = "0.1.0"

# Where a name lives. The verbs and the views are built on this package: a plain import of them here would be
# a circle. No module imports a verb from here; the door is for those outside.
_HOMES = {
    "Bars": "lockstep.market.bars",
    "Bundle": "lockstep.models.bundle",
    "DateRange": "lockstep.market.dates",
    "FeatureRegistry": "lockstep.features.feature_registry",
    "History": "lockstep.market.history",
    "IbsConfig": "lockstep.strategy.families.ibs",
    "IbsStrategy": "lockstep.strategy.ibs_strategy",
    "InstrumentBook": "lockstep.market.config",
    "LockstepError": "lockstep.errors",
    "ModelStore": "lockstep.models.store",
    "RulesConfig": "lockstep.strategy.families.rules",
    "assess": "lockstep.market.quality",
    "backtest": "operations.verbs",
    "certify": "operations.verbs",
    "compare": "operations.verbs",
    "explain": "operations.verbs",
    "explore": "operations.agents.explore",
    "load_bars": "lockstep.market.loader",
    "load_bundle": "lockstep.models.store",
    "load_history": "lockstep.market.loader",
    "load_instruments": "lockstep.market.config",
    "lookahead": "operations.verbs",
    "monitor": "operations.verbs",
    "optimize_portfolio": "operations.verbs",
    "promote": "operations.verbs",
    "rehearse": "operations.verbs",
    "release": "operations.verbs",
    "risk": "operations.verbs",
    "rollback": "operations.verbs",
    "stress": "operations.verbs",
    "sweep": "operations.verbs",
    "tearsheet": "research.report.external",
    "train": "operations.verbs",
    "validate": "operations.verbs",
    "views": "research.report",
}

__all__ = [
    "Bars",
    "Bundle",
    "DateRange",
    "FeatureRegistry",
    "History",
    "IbsConfig",
    "IbsStrategy",
    "InstrumentBook",
    "LockstepError",
    "ModelStore",
    "RulesConfig",
    "assess",
    "backtest",
    "certify",
    "compare",
    "explain",
    "explore",
    "load_bars",
    "load_bundle",
    "load_history",
    "load_instruments",
    "lookahead",
    "monitor",
    "optimize_portfolio",
    "promote",
    "rehearse",
    "release",
    "risk",
    "rollback",
    "stress",
    "sweep",
    "tearsheet",
    "train",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lockstep' has no attribute {name!r}")
    if name == "views":
        return import_module("research.report.views")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


if __name__ == "src":
    # Imported by the name of its folder, in a checkout.
    from pathlib import Path

    from src.source_alias import alias_source_folder

    alias_source_folder(Path(__file__).parent)
