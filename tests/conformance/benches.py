"""How the suites meet each plug that speaks to something outside: one bench per kind, beside its one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.live.brokers.protocol import BrokerSettings
from lockstep.live.brokers.traderspost import TradersPostConfig
from support.toys.broker import ToyBrokerSettings

SECONDS = 0.4
"""What a plug may take for one attempt at a server of a bench."""


@dataclass(frozen=True, kw_only=True)
class BrokerBench:
    """A broker in front of a server on loopback.

    settings   takes symbols and a file with the server's URL: settings whose attempts end within SECONDS
    accepted   what the server answers to an order that it has taken
    told       answers a question for fills with executions, each a fill with `done`, and positions by symbol;
               None where the broker reports none
    """

    settings: Callable[[tuple[str, ...], Path], BrokerSettings]
    accepted: Mapping[str, Any]
    told: Callable[[list[dict[str, Any]], dict[str, float]], dict[str, Any]] | None = None


def _traderspost(symbols: tuple[str, ...], url_file: Path) -> BrokerSettings:
    return TradersPostConfig(
        tickers={symbol: f"{symbol}Z2026" for symbol in symbols}, url_file=url_file, attempts=2,
        connect_seconds=SECONDS / 2, answer_seconds=SECONDS / 2, patience_seconds=2 * SECONDS,
    )  # fmt: skip


def _toy(symbols: tuple[str, ...], url_file: Path) -> BrokerSettings:
    accounts = {symbol: f"{symbol}-1" for symbol in symbols}
    return ToyBrokerSettings(accounts=accounts, url_file=url_file, seconds=SECONDS, every=0.02)


BROKER_BENCHES: Mapping[str, BrokerBench] = {
    "traderspost": BrokerBench(settings=_traderspost, accepted={"success": True, "id": "7d2f"}),
    "toy": BrokerBench(
        settings=_toy,
        accepted={"success": True},
        told=lambda executions, positions: {"executions": executions, "positions": positions},
    ),
}
