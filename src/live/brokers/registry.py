"""Every kind of broker. To add one: a file that holds settings and broker, an import, and a line here."""

from __future__ import annotations

from lockstep.live.brokers.protocol import BrokerSettings
from lockstep.live.brokers.traderspost import TradersPostConfig
from lockstep.plugs import Registry, kind_of

BROKERS: Registry[type[BrokerSettings]] = Registry(
    "broker",
    (TradersPostConfig,),
    name=kind_of,
)
