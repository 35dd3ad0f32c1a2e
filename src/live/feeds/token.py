"""The secret that senders of bars must show."""

from __future__ import annotations

import hmac
from pathlib import Path

from lockstep.live.feeds.errors import FeedError
from lockstep.plugs import ReadSecret

VARIABLE = "LOCKSTEP_FEED_TOKEN"
_SHORTEST = 16


def read_token(path: Path | None, secret: ReadSecret) -> str:
    """Return the token from a file, else from LOCKSTEP_FEED_TOKEN; it is kept out of what is written.

    LiveError where it is absent or others can read the file, FeedError where it is too short or would not
    pass through a header.
    """
    purpose = "token of the http feed"
    token = secret(purpose, variable=VARIABLE, file=path).get_secret_value()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise FeedError(f"{purpose}: must be at least {_SHORTEST} visible ASCII characters; make a new one")
    return token


def authorised(header: str | None, token: str) -> bool:
    """Return whether an Authorization header is `Bearer <token>`, in a time that does not tell the token."""
    given, expected = (header or "").encode("utf-8", "replace"), f"Bearer {token}".encode()
    return hmac.compare_digest(given, expected)
