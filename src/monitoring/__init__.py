"""Monitoring of a desk: comparison of journals and results, alerts. A name is loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.monitoring.alerts import Alert as Alert
    from lockstep.monitoring.alerts import Alerts as Alerts
    from lockstep.monitoring.alerts import Sink as Sink

__all__ = ["Alert", "Alerts", "Sink"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.alerts"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
