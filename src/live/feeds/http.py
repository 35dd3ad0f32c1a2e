"""`HttpFeed`: bars and ticks posted as JSON to a loopback port."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import numpy as np

from lockstep.errors import ConfigError, FeedError, LockstepError
from lockstep.live.feeds.bar_maker import Stream
from lockstep.live.feeds.inbox import Inbox, Worker
from lockstep.live.feeds.intake import Answer, Intake, PostedBar, PostedTick, parse_posts
from lockstep.live.feeds.protocol import Clock, FeedDesk, FeedSettings, Pause, Port, Seconds, nanoseconds_of
from lockstep.live.loopback import LOOPBACK, RECEIVE_SECONDS, LoopbackHandler, LoopbackServer
from lockstep.live.secret import authorised, read_token
from lockstep.market.history import SeriesKey
from lockstep.market.source import TICK
from lockstep.market.timeframe import Timeframe

RETRY_AFTER_SECONDS = 1
_LAST_ANSWERS = 2.0  # seconds that answers may take when the feed ends


class HttpFeedSettings(FeedSettings):
    """Bars or ticks posted to a loopback port; `base` by symbol: the timeframe posted, or `tick`."""

    kind: Literal["http"] = "http"
    port: Port = 8_750
    base: dict[str, str]
    token_file: Path | None = None
    patience_seconds: Pause = 10.0
    settle_seconds: Seconds | None = None

    def feed(self, desk: FeedDesk) -> HttpFeed:
        """See `FeedSettings`."""
        streams = [
            Stream(
                symbol=symbol,
                base=None if base == TICK else Timeframe.parse(base),
                timeframes=desk.timeframes(symbol),
                session=desk.book.session(symbol),
                settle_ns=nanoseconds_of(self.settle_seconds),
            )
            for symbol, base in self.base.items()
        ]
        token = read_token(self.token_file, desk.secret)
        return HttpFeed(
            streams, token=token, clock=desk.clock, port=self.port, patience=self.patience_seconds
        )


class HttpFeed:
    """`POST /bars`, `POST /ticks` (one object or a list), `GET /bars/last`; see `posts.py` for the fields.

    Every request shows `Authorization: Bearer <token>`. 200: journaled, or known already; 202: the same, but
    some rows are part of a bar that is not complete and are held in memory; 400: one line says what is wrong,
    and nothing was taken; 401, 404, 411, 413; 503 with Retry-After: the engine did not answer in time, post
    the same again. `patience` has to be longer than the grace of the synchroniser.

    streams    what is taken; token   see `read_token`
    port       0: a free one, see `address`
    patience   seconds until a 503; limit   largest body, bytes
    interval   seconds between two looks at the clock, see `Stream.settle_ns`
    """

    def __init__(
        self,
        streams: Iterable[Stream],
        *,
        token: str,
        clock: Clock,
        port: int = 0,
        patience: float = 10.0,
        limit: int = 1 << 20,
        interval: float = 1.0,
    ) -> None:
        self.name = "http"
        self.finished = False
        self._streams = tuple(streams)
        for name, count in Counter(map(str, self._streams)).items():
            if count > 1:
                raise ConfigError(
                    f"feed http: {name} is declared twice; name all its timeframes in one stream"
                )
        self.keys = frozenset().union(*(stream.keys for stream in self._streams))
        self._token = token
        self._clock = clock
        self._port = port
        self._patience = patience
        self._limit = limit
        self._interval = interval
        self._server: _Server | None = None
        self._serving = Worker("http", self._serve)
        self._ticking = Worker("http clock", self._watch_clock)

    @property
    def failure(self) -> str | None:
        """See `LiveFeed`."""
        return self._serving.failure or self._ticking.failure

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; FeedError before the start."""
        server = self._listening()
        return LOOPBACK, server.port

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """See `LiveFeed`; FeedError where the port cannot be had."""
        intake = Intake(self._streams, inbox, after, clock=self._clock, patience=self._patience)
        try:
            self._server = _Server(self._port, intake, self._token, self._limit, self._patience)
        except OSError as error:
            rule = "choose another port or end what listens there"
            raise FeedError(f"feed http: port {self._port}: {error.strerror}: {rule}") from error
        self._serving.start()
        self._ticking.start()

    def stop(self) -> None:
        """See `LiveFeed`; whole requests are answered first, others are dropped."""
        self._ticking.stop()
        if self._server is not None:
            self._server.close(_LAST_ANSWERS)
        self._serving.stop()

    def _listening(self) -> _Server:
        if self._server is None:
            raise FeedError("feed http: not started")
        return self._server

    def _serve(self) -> None:
        self._listening().serve()

    def _watch_clock(self) -> None:
        intake = self._listening().intake
        while not self._ticking.stopping.wait(self._interval):
            intake.advance()


class _Server(LoopbackServer):
    """The port of one feed."""

    def __init__(self, port: int, intake: Intake, token: str, limit: int, patience: float) -> None:
        self.intake = intake
        self.token = token
        self.limit = limit
        super().__init__(port, _Handler, answer_seconds=patience + RECEIVE_SECONDS)


class _Handler(LoopbackHandler):
    server: _Server

    def do_POST(self) -> None:
        takes = {"/bars": self._take_bars, "/ticks": self._take_ticks}
        if not self._admitted():
            return
        if self.path not in takes:
            self._refuse(HTTPStatus.NOT_FOUND, f"{self.path}: post to /bars or /ticks")
            return
        body = self.body(self.server.limit)
        if not isinstance(body, bytes):
            self._refuse(*body)
            return
        self.server.received(self.connection)
        try:
            answer = takes[self.path](body)
        except LockstepError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._answer(answer)

    def do_GET(self) -> None:
        if not self._admitted():
            return
        if self.path != "/bars/last":
            self._refuse(HTTPStatus.NOT_FOUND, f"{self.path}: get /bars/last")
            return
        newest = self.server.intake.newest()
        self._send(HTTPStatus.OK, {str(key): _iso(end) for key, end in sorted(newest.items())})

    def _take_bars(self, body: bytes) -> Answer:
        return self.server.intake.bars(parse_posts(PostedBar, body))

    def _take_ticks(self, body: bytes) -> Answer:
        return self.server.intake.ticks(parse_posts(PostedTick, body))

    def _admitted(self) -> bool:
        if authorised(self.headers.get("Authorization"), self.server.token):
            return True
        self._send(HTTPStatus.UNAUTHORIZED, {"error": "a token is needed"}, (("WWW-Authenticate", "Bearer"),))
        return False

    def _answer(self, answer: Answer) -> None:
        if not answer.journaled:
            text = "the engine has not answered: retry the same request"
            retry = (("Retry-After", str(RETRY_AFTER_SECONDS)),)
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"error": text}, retry)
            return
        self._send(HTTPStatus.ACCEPTED if answer.counts["held"] else HTTPStatus.OK, answer.counts)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(status, {"error": " ".join(text.split())})

    def _send(
        self, status: HTTPStatus, content: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.send(status, json.dumps(content).encode() + b"\n", "application/json", headers)


def _iso(end: int) -> str:
    return f"{np.datetime64(end, 'ns')}Z"
