"""A feed that asks a vendor's web API for new bars, again and again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lockstep.errors import ConfigError
from lockstep.http_post import Endpoint, endpoint, post
from lockstep.live.feeds.bar_maker import BarMaker, Stream
from lockstep.live.feeds.inbox import Inbox, Item, Worker
from lockstep.live.feeds.intake import nanoseconds
from lockstep.live.feeds.protocol import Clock, FeedDesk, FeedSettings, Pause
from lockstep.live.messages import Irregularity
from lockstep.market.bars import BAR_COLUMNS
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.settings import parse_json


class ToyFeedSettings(FeedSettings):
    """`{kind: toy, symbol: ES, base: 1h, url_file: ...}` under `feeds` in live.yml."""

    kind: Literal["toy"] = "toy"
    symbol: str
    base: str
    url_file: Path | None = None
    every: Pause = 5.0
    seconds: Pause = 5.0

    def feed(self, desk: FeedDesk) -> ToyFeed:
        """See `FeedSettings`."""
        url = desk.secret("toy feed", variable="TOY_FEED_URL", file=self.url_file)
        stream = Stream(
            symbol=self.symbol,
            base=Timeframe.parse(self.base),
            timeframes=desk.timeframes(self.symbol),
            session=desk.book.session(self.symbol),
        )
        return ToyFeed(endpoint(url, purpose="toy feed"), stream, desk.clock, self)


class ToyFeed:
    """A `LiveFeed`. The server numbers its rows; a row that cannot be read is reported and left out."""

    def __init__(self, to: Endpoint, stream: Stream, clock: Clock, settings: ToyFeedSettings) -> None:
        self.name = f"toy {stream}"
        self.keys = stream.keys
        self.finished = False
        self._to, self._stream, self._clock, self._settings = to, stream, clock, settings
        self._taken = 0
        self._worker = Worker(self.name, self._run)

    @property
    def failure(self) -> str | None:
        """See `LiveFeed`."""
        return self._worker.failure

    def start(self, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        """See `LiveFeed`."""
        self._inbox = inbox
        self._maker = BarMaker(self._stream, self.name, after)
        self._worker.start()

    def stop(self) -> None:
        """See `LiveFeed`."""
        self._worker.stop()

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            rows = self._new_rows()
            self._inbox.put([item for row in rows for item in self._items(row)])
            self._taken += len(rows)
            self._worker.stopping.wait(self._settings.every)

    def _new_rows(self) -> Sequence[Any]:
        """Return what the server has since the last time; nothing where it does not answer: ask again."""
        half = self._settings.seconds / 2
        question = json.dumps({"rows from": self._taken}).encode()
        attempt = post(self._to, question, {}, connect_seconds=half, answer_seconds=half)
        try:
            rows = parse_json(attempt.body)["rows"] if attempt.status == 200 else []
        except (LookupError, TypeError, ConfigError):
            return []
        return rows if isinstance(rows, list) else []

    def _items(self, row: Any) -> list[Item]:
        now = self._clock()
        try:
            end = np.array([nanoseconds(datetime.fromisoformat(row["end"]))])
            columns = {name: np.array([float(row[name])]) for name in BAR_COLUMNS}
        except (LookupError, TypeError, ValueError) as error:
            key = SeriesKey(self._stream.symbol, self._stream.timeframes[0])
            return [Irregularity("bad", key, 0, None, f"{self.name}: {str(row)[:80]}: {error}")]
        return self._maker.push(end, columns, now).items
