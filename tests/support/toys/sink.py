"""An alert sink: a pager that takes one JSON object per alert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from lockstep.errors import AlertFailed
from lockstep.http_post import Endpoint, endpoint, post
from lockstep.monitoring.alerts import Alert, SinkSettings
from lockstep.plugs import ReadSecret


class PagerSettings(SinkSettings):
    """`alerts: {sinks: [{kind: pager, url_file: ...}]}` in live.yml."""

    kind: Literal["pager"] = "pager"
    url_file: Path | None = None
    seconds: float = 10.0

    def sink(self, secret: ReadSecret) -> Pager:
        """See `SinkSettings`."""
        url = secret("pager", variable="PAGER_URL", file=self.url_file)
        return Pager(endpoint(url, purpose="pager"), self.seconds)


class Pager:
    """A `Sink`. The URL is a secret: no error holds it."""

    name = "pager"

    def __init__(self, to: Endpoint, seconds: float) -> None:
        self._to, self._half = to, seconds / 2

    def send(self, alert: Alert) -> None:
        """Post one alert; AlertFailed on any status but 2xx."""
        body = json.dumps({"kind": alert.kind, "text": alert.text}).encode()
        attempt = post(self._to, body, {}, connect_seconds=self._half, answer_seconds=self._half)
        if not 200 <= attempt.status < 300:
            raise AlertFailed(attempt.detail, retry_after=attempt.retry_after)
