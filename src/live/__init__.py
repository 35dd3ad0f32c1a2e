"""The live engine: feeds, brokers, journal, gateway, and the loop that joins them.

A feed, a broker or a reader of journals is written against the names below. Each is loaded when it is first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.live.brokers.protocol import FillSource as FillSource
    from lockstep.live.brokers.protocol import OutboundBroker as OutboundBroker
    from lockstep.live.config import LiveConfig as LiveConfig
    from lockstep.live.feeds.protocol import LiveFeed as LiveFeed
    from lockstep.live.journal.journal import Journal as Journal
    from lockstep.live.messages import Arrival as Arrival
    from lockstep.live.messages import OrderIntent as OrderIntent
    from lockstep.live.messages import ReportedFill as ReportedFill
    from lockstep.live.messages import SendResult as SendResult

_HOMES = {
    "Arrival": "messages",
    "FillSource": "brokers.protocol",
    "Journal": "journal.journal",
    "LiveConfig": "config",
    "LiveFeed": "feeds.protocol",
    "OrderIntent": "messages",
    "OutboundBroker": "brokers.protocol",
    "ReportedFill": "messages",
    "SendResult": "messages",
}

__all__ = [
    "Arrival",
    "FillSource",
    "Journal",
    "LiveConfig",
    "LiveFeed",
    "OrderIntent",
    "OutboundBroker",
    "ReportedFill",
    "SendResult",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
