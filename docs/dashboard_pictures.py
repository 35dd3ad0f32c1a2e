"""Writes the pictures of the dashboard's pages on models, and on live against backtest.

    python -m docs.dashboard_pictures

Both desks trade embedded bars of COMP with a forest that knows nothing, which the alarms find out. That of
the models is on paper for 1,200 sessions; that of the fills is live for 120, with fills that were reported
up to four ticks worse than the cost model.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, of_tests

PICTURES = ROOT / "docs/images"
WIDTH, HEIGHT = 1280, 1010
SESSIONS = 1_200
WORSE = (0.0, 1.0, -1.0, 4.0)  # ticks
_MINUTES = 4 * 60 * 10**9  # since the monitor ran
_LIVE = "document.getElementById('connection')?.textContent === 'live'"
_DRAWN = "[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))"
_SEEN = "document.querySelector('{}').closest('.card').scrollIntoView(), window.scrollBy(0, -60), 1"


def on_paper(folder: Path) -> int:
    """Make a desk that traded on paper, and let its monitor run; return when it did, UTC ns."""
    papers, watching, desks = (of_tests(f"support.{each}") for each in ("papers", "watching", "desks"))
    desk = watching.watched_desk(folder)
    papers.traded(folder, desk.models()[0], desks.history(papers.WARM + SESSIONS), name="live.db")
    desk.run()
    return int(desk.now)


def live(folder: Path) -> int:
    """Make a desk whose fills were reported, and let its monitor run; return when it did, UTC ns."""
    watching, fills = (of_tests(f"support.{each}") for each in ("watching", "real_fills"))
    desk = watching.watched_desk(folder)
    fills.live(folder, desk.store, lambda number: WORSE[number % len(WORSE)], stops=True)
    desk.run()
    return int(desk.now)


def picture(tab: Any, dashboard: Any, page: str, first: str) -> None:
    """Save what is seen of a page from the card of its figure `first` on; empty: from the top."""
    cookie = dashboard.cookie.partition("=")
    tab.call("Network.setCookie", url=dashboard.address, name=cookie[0], value=cookie[2])
    tab.look_like(width=WIDTH, height=HEIGHT)
    tab.open(f"{dashboard.address}/{page}")
    tab.wait(_LIVE)
    tab.wait(_DRAWN)
    if first:
        tab.ask(_SEEN.format(first))
    tab.picture(PICTURES / f"dashboard-{page}.png")


def main() -> None:
    """Write the pictures."""
    browsers, dashboards = of_tests("support.browser"), of_tests("support.dashboards")
    with tempfile.TemporaryDirectory() as name, browsers.browser(Path(name)) as chromium:
        for page, make, first in (("models", on_paper, "#wealth-COMP-pnl"), ("against", live, "")):
            folder = Path(name) / page
            now = make(folder) + _MINUTES
            with dashboards.served(dashboards.sources_of(folder), clock=partial(int, now)) as dashboard:
                picture(chromium.tab(), dashboard, page, first)


if __name__ == "__main__":
    main()
