"""Alerts as messages in a Discord channel."""

from __future__ import annotations

from typing import Any

import requests
from discord_webhook import DiscordWebhook
from pydantic import SecretStr

from lockstep.errors import ConfigError
from lockstep.monitoring.errors import AlertFailed
from lockstep.monitoring.throttle import Alert

_LONGEST = 1900  # Discord takes 2,000 characters
_TOO_MANY = 429
_ALLOWED = ("https://", "http://127.0.0.1:", "http://localhost:")


class DiscordSink:
    """Posts alerts to a webhook. The URL is a secret: no error and no log holds it."""

    name = "discord"

    def __init__(self, url: SecretStr, *, timeout_seconds: float = 5.0) -> None:
        """Take a webhook's URL; ConfigError where it is not https (plain http to this machine only)."""
        if not url.get_secret_value().startswith(_ALLOWED):
            raise ConfigError("discord webhook: its URL must begin with https://; copy it again")
        self._url = url
        self._timeout = timeout_seconds

    def send(self, alert: Alert) -> None:
        """Post one alert; AlertFailed on any status but 2xx, with the wait that a 429 asks for."""
        webhook = DiscordWebhook(
            url=self._url.get_secret_value(),
            content=f"**{alert.kind.replace('_', ' ')}** {alert.text}"[:_LONGEST],
            allowed_mentions={"parse": []},
            timeout=self._timeout,
        )
        try:
            # Not `execute`: it fails on empty answers and logs what the server said.
            response = webhook.api_post_request()
        except requests.RequestException as error:
            # The exception quotes the URL, hence it is not chained.
            raise AlertFailed(type(error).__name__) from None
        if not response.ok:
            raise AlertFailed(f"status {response.status_code}", retry_after=_retry_after(response))


def _retry_after(response: Any) -> float | None:
    if response.status_code != _TOO_MANY:
        return None
    try:
        return max(0.0, float(response.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
