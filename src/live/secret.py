"""No secret enters a journal; the secret that senders of bars must show."""

from __future__ import annotations

import hmac
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.errors import FeedError
from lockstep.live.codec import with_text
from lockstep.live.events import Event
from lockstep.plugs import ReadSecret
from lockstep.secrets import Secrets

if TYPE_CHECKING:
    from lockstep.live.messages import SetRecord
    from lockstep.live.outside import JournalPort


class ScrubbedJournal:
    """A journal that no secret enters, whoever put it into an event."""

    def __init__(self, journal: JournalPort, secrets: Secrets) -> None:
        self._journal = journal
        self._secrets = secrets
        self.recorded = journal.recorded

    def append_set(self, record: SetRecord) -> int:
        """Commit a set; its irregularities and events hold texts from outside."""
        if not (record.release.irregularities or record.events):
            return self._journal.append_set(record)
        irregularities = tuple(
            each._replace(detail=self._secrets.scrub(each.detail)) for each in record.release.irregularities
        )
        release = replace(record.release, irregularities=irregularities)
        events = tuple(map(self._clean, record.events))
        return self._journal.append_set(replace(record, release=release, events=events))

    def append(self, *events: Event) -> tuple[int, ...]:
        """Commit events."""
        return self._journal.append(*map(self._clean, events))

    def _clean(self, event: Event) -> Event:
        return with_text(event, self._secrets.scrubbed)


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
