"""Writes the picture of an A/B test's page.

    python -m docs.ab_picture

The test of `configs/ab/core_against_variant.yml` as it would have stood 500 days after 8 March 2010.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import ROOT, of_tests
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from operations.ab.arms import StrategyCandidate
from operations.ab.config import AbConfig
from operations.ab.page import write_ab_page
from operations.ab.tester import StrategyABTester
from operations.contenders import newest
from research.ledger.database import Database
from research.ledger.first_seen import see
from research.ledger.ledger import Ledger

PICTURE = ROOT / "docs/images/ab.png"
WIDTH = 1280
BEGAN = datetime(2010, 3, 8, 12, tzinfo=UTC)
DAYS = 500
_DRAWN = "[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))"


def written(folder: Path) -> Path:
    """Write the page of the test into a folder and return its path."""
    config = AbConfig.load(ROOT / "configs/ab/core_against_variant.yml")
    ledger = Ledger(Database.open(f"sqlite:///{folder / 'picture.db'}"))
    tester = StrategyABTester(ledger=ledger)
    arms = [
        StrategyCandidate.named(text, config.symbol, ledger) for text in (config.champion, config.challenger)
    ]
    key = SeriesKey(config.symbol, arms[0].trades.config.bars)
    bars, markets = load_bars(config.symbol), load_instruments().markets

    def history(moment: datetime) -> History:
        return History(bars={key: newest(bars, len(bars), moment)}, markets=markets)

    test = tester.create_test(config.name, *arms, history(BEGAN), now=BEGAN, insist=True)
    later = BEGAN + timedelta(days=DAYS)
    see(ledger, key, history(later).bars[key], now=later, source="picture")
    return write_ab_page(ledger, tester.count_sessions(test, now=later).test, folder / "ab.html", now=later)


def main() -> None:
    """Write the picture."""
    browsers = of_tests("support.browser")
    with tempfile.TemporaryDirectory() as name, browsers.browser(Path(name)) as chromium:
        page, tab = written(Path(name)), chromium.tab()
        tab.look_like(width=WIDTH)
        tab.open(page.as_uri())
        tab.wait(_DRAWN)
        tab.picture(PICTURE, whole=True)


if __name__ == "__main__":
    main()
