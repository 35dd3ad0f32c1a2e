"""Every kind of feed. To add one: a file that holds its settings and the feed, an import, and a line here."""

from __future__ import annotations

from lockstep.live.feeds.http import HttpFeedSettings
from lockstep.live.feeds.protocol import FeedSettings
from lockstep.live.feeds.replay import ReplayFeedSettings
from lockstep.live.feeds.tail import TailFeedSettings
from lockstep.plugs import Registry, kind_of

FEEDS: Registry[type[FeedSettings]] = Registry(
    "feed",
    (
        ReplayFeedSettings,
        TailFeedSettings,
        HttpFeedSettings,
    ),
    name=kind_of,
)
