"""How the suites meet each plug that speaks to something outside: one bench per kind, beside its one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.live.brokers.protocol import BrokerSettings
from lockstep.live.brokers.traderspost import TradersPostConfig
from lockstep.live.feeds.http import HttpFeed, HttpFeedSettings
from lockstep.live.feeds.protocol import FeedSettings, LiveFeed
from lockstep.live.feeds.replay import ReplayFeedSettings
from lockstep.live.feeds.tail import TailFeedSettings
from lockstep.live.messages import Values
from lockstep.monitoring.alerts import LogSinkSettings, SinkSettings
from lockstep.monitoring.discord import DiscordSinkSettings
from support.feeds import COMP, TOKEN, iso, posted
from support.http_faults import Behaviour, FaultServer, answer, drop, garbage, hang
from support.toys.broker import ToyBrokerSettings
from support.toys.feed import ToyFeedSettings
from support.toys.sink import PagerSettings

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


Row = tuple[int, Values]


class FeedBench:
    """How rows of COMP's days get to a feed. A feed of files that are there already is not `live`.

    folder   of its own, empty
    """

    live = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self) -> FeedSettings:
        """Return settings of a feed of COMP's days that is quick to look for new ones."""
        raise NotImplementedError

    def began(self, feed: LiveFeed) -> None:
        """Note that a feed was started."""

    def send(self, rows: Sequence[Row]) -> None:
        """Let rows come, in this order."""

    def send_broken(self, row: Row) -> None:
        """Let part of a row come, or one that cannot be read."""

    def stall(self) -> None:
        """Let whatever the feed asks or reads from be slow or dead from now on."""

    def close(self) -> None:
        """End what was begun."""


class _Replay(FeedBench):
    live = False

    def settings(self) -> FeedSettings:
        return ReplayFeedSettings(start=np.datetime64("2009-01-01").item())


class _Tail(FeedBench):
    def settings(self) -> FeedSettings:
        self._path = self.folder / "COMP.csv"
        if not self._path.exists():
            self._path.write_text("datetime,open,high,low,close,volume\n")
        return TailFeedSettings(symbol="COMP", path=self._path, source="futures_daily", interval=0.005)

    def send(self, rows: Sequence[Row]) -> None:
        with self._path.open("a") as handle:
            handle.writelines(self._line(row) for row in rows)

    def send_broken(self, row: Row) -> None:
        with self._path.open("a") as handle:
            handle.write(f"{iso(row[0])[:10]},1,\n")

    def stall(self) -> None:
        with self._path.open("a") as handle:
            handle.write("2009-12-")  # a line that is never finished

    @staticmethod
    def _line(row: Row) -> str:
        return f"{iso(row[0])[:10]},{','.join(map(repr, row[1]))}\n"


class _Http(FeedBench):
    def settings(self) -> FeedSettings:
        (self.folder / "token").write_text(TOKEN)
        (self.folder / "token").chmod(0o600)
        return HttpFeedSettings(port=0, base={"COMP": "1d"}, token_file=self.folder / "token")

    def began(self, feed: LiveFeed) -> None:
        assert isinstance(feed, HttpFeed)
        self._address = feed.address

    def send(self, rows: Sequence[Row]) -> None:
        for row in rows:
            status = self._post(json.dumps(posted(COMP, *row)).encode())
            assert status == 200, status

    def send_broken(self, row: Row) -> None:
        assert self._post(json.dumps(posted(COMP, *row)).encode()[:40]) == 400

    def stall(self) -> None:
        self._stalled = HTTPConnection(*self._address, timeout=5)
        self._stalled.connect()
        self._stalled.sock.sendall(b"POST /bars HTTP/1.1\r\nContent-Le")

    def close(self) -> None:
        if hasattr(self, "_stalled"):
            self._stalled.close()

    def _post(self, body: bytes) -> int:
        connection = HTTPConnection(*self._address, timeout=10)
        try:
            connection.request("POST", "/bars", body, {"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().status
        finally:
            connection.close()


class _Toy(FeedBench):
    """Its server drops, hangs or talks nonsense now and then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: list[Any] = []
        self._asked = 0
        self._stalls = False
        self._server = FaultServer(choose=self._choose)
        self._server.__enter__()

    def settings(self) -> FeedSettings:
        (self.folder / "url").write_text(self._server.url)
        (self.folder / "url").chmod(0o600)
        return ToyFeedSettings(
            symbol="COMP", base="1d", url_file=self.folder / "url", every=0.005, seconds=SECONDS
        )

    def send(self, rows: Sequence[Row]) -> None:
        self._rows += [posted(COMP, *row) for row in rows]

    def send_broken(self, row: Row) -> None:
        self._rows += [{**posted(COMP, *row), "close": "?"}, "half a r"]

    def stall(self) -> None:
        self._stalls = True

    def close(self) -> None:
        self._server.__exit__(None, None, None)

    def _choose(self, request: tuple[str, Any]) -> Behaviour:
        self._asked += 1
        if self._stalls:
            return hang
        faults = {3: drop, 5: garbage, 7: answer(500), 9: answer(200, b'{"rows": [{')}
        return faults.get(self._asked) or answer(200, {"rows": self._rows[request[1]["rows from"] :]})


FEED_BENCHES: Mapping[str, type[FeedBench]] = {
    "replay": _Replay,
    "tail": _Tail,
    "http": _Http,
    "toy": _Toy,
}


SINK_BENCHES: Mapping[str, Callable[[Path], SinkSettings]] = {
    "log": lambda url_file: LogSinkSettings(),
    "discord": lambda url_file: DiscordSinkSettings(url_file=url_file, seconds=SECONDS),
    "pager": lambda url_file: PagerSettings(url_file=url_file, seconds=SECONDS),
}
"""Settings of each alert sink, by the file with its server's URL."""
