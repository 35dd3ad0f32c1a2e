"""Alerts as messages in a Discord channel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from lockstep.errors import AlertFailed
from lockstep.http_post import Post, endpoint, post
from lockstep.monitoring.alerts import Alert, SinkSettings
from lockstep.plugs import ReadSecret

_LONGEST = 1900  # Discord takes 2,000 characters, and does not say of what kind
_CUT = " … [cut]"
# What throttle and coalescer say of alerts that they held back; the end of a text, and its most telling part.
_HELD_BACK = re.compile(r"(?: \(and [\d,]+ more[^()]{0,200}\))+$")
# Discord reads these as markup anywhere, and the second kind where a line begins.
_MARKUP = frozenset("\\*_~`|<>[]")
_OPENING = re.compile(r"[ \t]*(?:[#+-]|\d+(?=[.)]))")
_INVISIBLE = "\u200b"
_TOO_MANY = 429


class DiscordSinkSettings(SinkSettings):
    """A channel, by its webhook: the URL is in a file, preferred, or in an environment variable.

    seconds   in which an alert is delivered or given up
    """

    kind: Literal["discord"] = "discord"
    url_file: Path | None = None
    url_variable: str = "DISCORD_WEBHOOK_URL"
    seconds: Annotated[float, Field(gt=0, le=60)] = 10.0

    def sink(self, secret: ReadSecret) -> DiscordSink:
        """See `SinkSettings`."""
        url = secret("Discord webhook", variable=self.url_variable, file=self.url_file)
        return DiscordSink(url, seconds=self.seconds)


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
        head = f"**{alert.head}** "
        text = head + _shortened(alert.text, _LONGEST - len(head))
        # It only writes the message. Its own ways to post know no deadline, and log what the server said.
        # It brings an HTTP client of its own, which takes longer to load than all the rest.
        from discord_webhook import DiscordWebhook

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
            raise AlertFailed(attempt.detail, retry_after=wait, perhaps=attempt.kind == "unanswered")


def _shortened(text: str, most: int) -> str:
    """Return a text as Discord shows it unchanged, in at most so many UTF-16 units, marked where it was cut.

    The count of alerts that were held back stays.
    """
    whole = "".join(_escaped(text))
    if _units(whole) <= most:
        return whole
    found = _HELD_BACK.search(text)
    end = "".join(_escaped(found[0])) if found else ""
    left, kept = most - _units(_CUT + end), []
    for part in _escaped(text):
        left -= _units(part)
        if left < 0:
            break
        kept.append(part)
    return "".join(kept) + _CUT + end


def _escaped(text: str) -> Iterator[str]:
    """Yield each character of a text so that it is no markup, link or mention, none of them torn apart."""
    openings = {match.end() - 1 for match in _OPENING.finditer(text) if _begins_line(text, match.start())}
    for place, character in enumerate(text):
        if character == "@":
            yield character + _INVISIBLE
        elif character == ":" and text.startswith("//", place + 1):
            yield ":\\"
        elif character.isdigit() and place in openings:
            yield character + "\\"
        elif character in _MARKUP or place in openings:
            yield "\\" + character
        else:
            yield character


def _begins_line(text: str, place: int) -> bool:
    return place == 0 or text[place - 1] == "\n"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
