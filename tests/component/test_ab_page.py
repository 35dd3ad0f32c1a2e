"""The page of an A/B test in a browser: drawn, quiet, within a phone's width, names escaped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lockstep.monitoring.ab import AbMode, planned
from lockstep.portfolio.split import CHALLENGER, CHAMPION
from operations.ab.book import AbArm, AbTerms, AbTest, ArmSessions, create, write_sessions
from operations.ab.measures import DRAWDOWN, SHARPE, WIN_RATE, measured_arms
from operations.ab.page import ab_page_body, summary_of, write_ab_page
from operations.ab.tester import standing
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.report.page import document
from support.browser import browser, needs_browser
from support.pages import assert_escaped

NOW = datetime(2029, 12, 31, tzinfo=UTC)
DRAWN = "[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))"
ENOUGH = 300


def terms(name: str) -> AbTerms:
    arm = AbArm(
        name="core", origin="core.yaml", kind="strategy", hash="a" * 64, content={}, sharpe=0.4, exposure=0.1,
        trades_a_year=60.0,
    )  # fmt: skip
    return AbTerms(
        name=name, symbol="COMP", champion=arm,
        challenger=replace(arm, name="variant", hash="b" * 64, exposure=0.4),
        plan=planned(0.5, mode=AbMode.REPLAY, correlation=0.99, paths=100), sigma=0.002, capital=1e5,
        correlation=0.99, history=("2010-01-04", "2019-12-31"), timeframe="1d",
    )  # fmt: skip


def sessions(count: int, *, edge: float = 0.0) -> dict[str, ArmSessions]:
    random = np.random.default_rng(5)
    days = np.datetime64("2030-01-01") + np.arange(count)
    common, own = random.normal(size=(2, count)) * 0.004
    ended = (random.random(count) < 0.4).astype(np.int64)
    champion = ArmSessions(dates=days, results=common, trades=ended, won=ended // 2)
    return {
        CHAMPION: champion,
        CHALLENGER: replace(champion, results=common + own / 2 + edge, won=ended),
    }


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'trials.db'}"))


def running(ledger: Ledger, count: int) -> AbTest:
    test = create(ledger, terms(f"after {count}"), now=NOW)
    write_sessions(ledger, test, sessions(count), now=NOW)
    return test


@needs_browser
def test_in_a_browser(ledger: Ledger, tmp_path: Path) -> None:
    page = write_ab_page(ledger, running(ledger, ENOUGH), tmp_path / "ab.html", now=NOW)
    with browser(tmp_path) as chromium:
        tab = chromium.tab()
        for look in ({"width": 1280}, {"width": 1280, "dark": True}, {"width": 390, "phone": True}):
            tab.look_like(**look)  # type: ignore[arg-type]
            tab.open(page.as_uri())
            tab.wait(DRAWN)
            assert tab.ask("document.documentElement.scrollWidth") <= look["width"]
        assert tab.ask("document.querySelectorAll('.figure').length") == 2
        assert "Both bounds hold after every session at once" in tab.text
        assert "mean exposure was +0.30" in tab.text
        assert (tab.errors, tab.hosts) == ([], {""})


def test_names_are_text(ledger: Ledger) -> None:
    found = standing(ledger, running(ledger, ENOUGH))
    names = (found.test.name, "core", "variant")
    assert_escaped(lambda each: document("A/B test", ab_page_body(each, ["none"])), found, *names)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "the first session that began after its creation is not over yet"),
        (10, "50 more sessions and"),
        (ENOUGH, "by less than the bounds can tell from luck"),
    ],
)
def test_what_is_said_of_a_young_and_of_an_older_test(ledger: Ledger, count: int, told: str) -> None:
    test = running(ledger, count) if count else create(ledger, terms("new"), now=NOW)
    found = standing(ledger, test)
    assert told in summary_of(found)


def test_intervals_hold_what_they_say_and_small_samples_have_none() -> None:
    """Negative control: with an edge the challenger's interval moves, the champion's does not."""
    plain, better = (measured_arms(sessions(ENOUGH, edge=each)) for each in (0.0, 0.002))
    shown = plain[CHALLENGER].shown[SHARPE]
    results = sessions(ENOUGH)[CHALLENGER].results
    assert shown.value == pytest.approx(results.mean() / results.std(ddof=1) * np.sqrt(252))
    assert shown.low < shown.value < shown.high
    assert better[CHAMPION] == plain[CHAMPION]
    assert better[CHALLENGER].shown[SHARPE].low > shown.low
    assert plain[CHALLENGER].shown[WIN_RATE].value == 1.0
    fall = plain[CHAMPION].shown[DRAWDOWN]
    assert 0 < fall.low <= fall.high
    assert np.isnan(measured_arms(sessions(5))[CHAMPION].shown[SHARPE].low)
