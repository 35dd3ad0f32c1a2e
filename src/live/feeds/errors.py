"""Errors of feeds.

LiveError
├── FeedError        a feed cannot start or go on
├── InboxClosed      the engine stopped reading
└── InboxFull        no room within the time given
"""

from __future__ import annotations

from lockstep.errors import LiveError


class FeedError(LiveError):
    """A feed cannot start or go on."""


class InboxClosed(LiveError):
    """The engine stopped reading."""


class InboxFull(LiveError):
    """No room within the time given."""
