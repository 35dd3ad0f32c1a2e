"""Every kind of alert sink. To add one: a file that holds settings and sink, an import, and a line here."""

from __future__ import annotations

from lockstep.monitoring.alerts import LogSinkSettings, SinkSettings
from lockstep.monitoring.discord import DiscordSinkSettings
from lockstep.plugs import Registry, kind_of

SINKS: Registry[type[SinkSettings]] = Registry(
    "alert sink",
    (
        LogSinkSettings,
        DiscordSinkSettings,
    ),
    name=kind_of,
)
