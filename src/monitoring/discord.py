"""Alerts as messages in a Discord channel."""

from __future__ import annotations

import json

from discord_webhook import DiscordWebhook
from pydantic import SecretStr

from lockstep.http_post import Post, endpoint, post
from lockstep.monitoring.errors import AlertFailed
from lockstep.monitoring.throttle import Alert

_LONGEST = 1900  # Discord takes 2,000 characters
_CUT = " … [cut]"
_TOO_MANY = 429


class DiscordSink:
    """Posts alerts to a webhook. The URL is a secret: no error and no log holds it."""

    name = "discord"

    def __init__(self, url: SecretStr, *, seconds: float = 10.0, post: Post = post) -> None:
        """Take a webhook's URL; ConfigError where it is no https URL (plain http to this machine only).

        seconds   in which an alert is delivered or given up, half of them for the connection
        """
        to = endpoint(url, purpose="Discord webhook")
        path = to.path.get_secret_value()
        # Without `wait` Discord answers before it has taken the message.
        self._endpoint = to._replace(path=SecretStr(f"{path}{'&' if '?' in path else '?'}wait=true"))
        self._seconds = seconds
        self._post = post

    def send(self, alert: Alert) -> None:
        """Post one alert; AlertFailed on any status but 2xx, with the wait that a 429 asks for."""
        text = f"**{alert.kind.replace('_', ' ')}** {alert.text}"
        if len(text) > _LONGEST:
            text = text[: _LONGEST - len(_CUT)] + _CUT
        # It only writes the message. Its own ways to post know no deadline, and log what the server said.
        message = DiscordWebhook(url="", content=text, allowed_mentions={"parse": []}).json
        attempt = self._post(
            self._endpoint,
            json.dumps(message).encode(),
            {"Content-Type": "application/json"},
            connect_seconds=self._seconds / 2,
            answer_seconds=self._seconds / 2,
        )
        if attempt.kind != "answered" or not 200 <= attempt.status < 300:
            wait = None
            if attempt.status == _TOO_MANY:
                wait = 1.0 if attempt.retry_after is None else attempt.retry_after
            raise AlertFailed(attempt.detail, retry_after=wait)
