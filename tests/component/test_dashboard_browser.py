"""Every page of the dashboard in a real chromium: nothing foreign, no complaint, keyboard, phone, updates."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from lockstep.live.status.monitor import MonitorSummary, write_monitor
from operations.dashboard.page import DashboardPage
from operations.dashboard.registry import PAGES
from operations.retraining.book import RetrainingBook, Step
from research.report import page as kit
from support import desks
from support.browser import Browser, Tab, browser, needs_browser
from support.dashboards import (
    TOKEN,
    ServedDashboard,
    commit,
    portfolio_desk,
    retrained,
    running,
    served,
    sources_of,
    traded_desk,
)
from support.watching import WatchedDesk

pytestmark = needs_browser

_LIVE = "document.getElementById('connection')?.textContent === 'live'"
_ASKING = "document.readyState === 'complete' && document.activeElement.id === 'token'"
_DRAWN = "[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))"


def _wider(tab: Tab, width: int) -> list[str]:
    """Return what is wider than the page, other than what scrolls within it."""
    is_wide = f"each.getBoundingClientRect().right > {width} + 1 && !each.closest('.scroll, .figure, .skip')"
    found: list[str] = tab.ask(
        f"[...document.querySelectorAll('body *')].filter((each) => {is_wide})"
        ".map((each) => each.outerHTML.slice(0, 90))"
    )
    return found


def _log_in(tab: Tab, dashboard: ServedDashboard) -> None:
    """Give a tab the session that a login begins."""
    session = dashboard.cookie.partition("=")[2]
    tab.call("Network.setCookie", url=dashboard.address, name="lockstep_dashboard", value=session)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    found = traded_desk(tmp_path_factory.mktemp("desk"))
    now = time.time_ns()
    running(found.folder, now)
    retrained(found.folder)
    write_monitor(found.folder / "monitor.json", MonitorSummary(written=now, stale_after=3_600.0))
    return found


@pytest.fixture(scope="module")
def dashboard(desk: WatchedDesk) -> Iterator[ServedDashboard]:
    with served(sources_of(desk.folder)) as found:
        yield found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def tab(chromium: Browser, dashboard: ServedDashboard) -> Tab:
    """A tab that has logged in, by keyboard alone."""
    found = chromium.tab()
    found.look_like(width=1280)
    found.open(f"{dashboard.address}/desk")
    assert found.ask("document.title") == "Lockstep dashboard"
    found.wait(_ASKING)
    found.write("not the token")
    found.press("Enter")
    found.wait("document.querySelector('[role=alert]')?.textContent === 'This is not the token.'")
    found.wait(_ASKING)
    found.write(TOKEN)
    found.press("Enter")
    found.wait(_LIVE)
    found.forget()
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page(tab: Tab, dashboard: ServedDashboard, page: DashboardPage, dark: bool, width: int) -> None:
    tab.forget()
    tab.look_like(width=width, dark=dark, phone=width < 600)
    tab.open(f"{dashboard.address}/{page.name}")
    tab.wait(_LIVE)
    tab.wait(_DRAWN)
    assert tab.ask("document.title") == f"{page.title} - Lockstep"
    assert tab.ask("document.querySelector('h1').innerText")
    assert tab.ask("document.querySelector('[aria-current=page]').innerText") == page.title
    assert tab.hosts == {dashboard.address.removeprefix("http://")}
    assert tab.errors == []
    assert tab.ask("document.documentElement.scrollWidth") <= width
    assert _wider(tab, width) == []
    colour = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(18, 23, 29)" if dark else "rgb(244, 246, 248)")


def test_an_error_a_foreign_request_and_a_wide_page_would_be_seen(
    tab: Tab, dashboard: ServedDashboard
) -> None:
    """The control of all of the above; the policy stops what it is there to stop."""
    tab.look_like(width=390, phone=True)
    tab.open(f"{dashboard.address}/desk")
    tab.wait(_LIVE)
    tab.ask("document.querySelector('h1').style.width = '900px', 1")
    assert _wider(tab, 390) != []
    assert tab.ask("document.documentElement.scrollWidth") > 390
    tab.ask("const script = document.createElement('script'); script.textContent = 'window.isBad = 1';"
            "document.body.append(script); 1")  # fmt: skip
    assert tab.ask("window.isBad") is None
    assert any("Content Security Policy" in each for each in tab.errors)
    assert tab.ask("fetch('http://127.0.0.1:9/').then(() => 0, () => 1)") == 1
    tab.open(f"http://localhost:{dashboard.port}/login")
    assert tab.hosts == {f"{name}:{dashboard.port}" for name in ("127.0.0.1", "localhost")}


def test_the_key_figures_and_the_chart_are_there(tab: Tab, dashboard: ServedDashboard) -> None:
    tab.look_like(width=1280)
    tab.open(f"{dashboard.address}/desk")
    tab.wait(_DRAWN)
    text = tab.text
    for each in ("P&L today", "\N{MINUS SIGN}$195", "Profit so far", "enter long", "No alarm, no drift"):
        assert each in text, each
    drawn = tab.ask("document.getElementById('desk-profit').data[1].x.length")
    assert 2 <= drawn <= 2_000


def test_a_step_of_a_retraining_is_seen_within_two_seconds(
    tab: Tab, dashboard: ServedDashboard, desk: WatchedDesk
) -> None:
    tab.look_like(width=1280)
    tab.open(f"{dashboard.address}/models")
    tab.wait(_LIVE)
    tab.wait(_DRAWN)
    assert "lockstep retrain approve 96c0261b60d135a7 --by NAME" in tab.text
    assert tab.ask("document.getElementById('retraining-COMP').data[0].y.length") == 29
    tab.wait("!isFetching")
    with RetrainingBook.open(desk.folder / "retraining.db") as book:
        (run,) = book.runs()
        book.append(replace(run.steps[-1], step=Step.REJECTED, sentence="ignorance is not non-inferiority"))
    tab.wait("document.body.textContent.includes('COMP: REJECTED')", seconds=2.0)
    assert "lockstep retrain approve" not in tab.text


def test_tables_can_be_read_on_a_phone(tab: Tab, dashboard: ServedDashboard) -> None:
    """Sentences of the log are seen whole; of a table that scrolls the names of rows stay in sight."""
    tab.look_like(width=390, phone=True)
    tab.open(f"{dashboard.address}/desk")
    tab.wait(_DRAWN)
    cells = "[...document.querySelectorAll('.log td:last-child')]"
    ends = f"{cells}.map((one) => one.getBoundingClientRect().right)"
    assert 0 < max(tab.ask(ends)) <= 390
    tab.ask("window.wide = [...document.querySelectorAll('.scroll')].find((one) => "
            "one.scrollWidth > one.clientWidth + 100 && !one.querySelector('.log')), 1")  # fmt: skip
    name = "wide.querySelector('tbody tr').cells[0].getBoundingClientRect().left"
    before = tab.ask(name)
    tab.ask("wide.scrollLeft = 100, 1")
    assert tab.ask("wide.querySelector('tbody tr').cells[1].getBoundingClientRect().left") < before + 100
    assert tab.ask(name) == before
    tab.look_like(width=1280)
    assert max(tab.ask(ends)) > 390, "the control: a wide screen has another form"


def test_it_works_by_keyboard(tab: Tab, dashboard: ServedDashboard) -> None:
    tab.look_like(width=1280)
    tab.open(f"{dashboard.address}/desk")
    tab.press("Tab")
    assert tab.ask("document.activeElement.className") == "skip"
    assert tab.ask("document.activeElement.getBoundingClientRect().left") >= 0, "it is seen"
    for page in PAGES:
        tab.press("Tab")
        assert tab.ask("document.activeElement.innerText") == page.title
        assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.open(f"{dashboard.address}/desk")
    tab.press("Tab")
    tab.press("Enter")
    assert tab.ask("document.activeElement.id") == "main"


def test_a_commit_is_seen_within_two_seconds_and_moves_nothing(
    tab: Tab, dashboard: ServedDashboard, desk: WatchedDesk
) -> None:
    tab.look_like(width=1280, height=500)
    tab.open(f"{dashboard.address}/desk")
    tab.wait(_LIVE)
    tab.wait(_DRAWN)
    tab.ask("window.scrollTo(0, 900), window.chart = document.querySelector('.figure'), 1")
    tab.wait("!isFetching")
    before = tab.text.count("replayed 0")
    began = time.monotonic()
    commit(desk.journal)
    tab.wait(f"document.body.innerText.split('replayed 0').length - 1 > {before}", seconds=2.0)
    assert time.monotonic() - began < 2.0
    assert tab.ask("window.scrollY") == 900
    assert tab.ask("window.chart.isConnected && window.chart === document.querySelector('.figure')")


def test_a_zoomed_chart_stays_zoomed_when_it_is_drawn_anew(tab: Tab, dashboard: ServedDashboard) -> None:
    tab.look_like(width=1280)
    tab.open(f"{dashboard.address}/desk")
    tab.wait(_DRAWN)
    zoom = ["2009-10-01", "2009-12-01"]
    tab.ask(f"Plotly.relayout('desk-profit', {{'xaxis.range': {zoom}}}).then(() => 1)")
    tab.ask("for (const each of main.children) each.dataset.digest = 'old'; refresh(), 1")
    tab.wait("[...main.children].every((each) => each.dataset.digest !== 'old')")
    tab.wait(_DRAWN)
    assert tab.ask("document.getElementById('desk-profit').layout.xaxis.range") == zoom


def test_a_dashboard_that_comes_back_is_found_again(chromium: Browser, desk: WatchedDesk) -> None:
    """The session outlives the server, since it is of the token and not of the process."""
    with served(sources_of(desk.folder)) as first:
        port = first.port
        tab = chromium.tab()
        tab.look_like(width=1280)
        _log_in(tab, first)
        tab.open(f"{first.address}/desk")
        tab.wait(_LIVE)
    tab.wait("document.getElementById('connection').className === 'lost'")
    with served(sources_of(desk.folder), port=port):
        tab.wait(_LIVE)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    return portfolio_desk(tmp_path_factory.mktemp("held"))


def _rows(tab: Tab, card: str) -> dict[str, list[str]]:
    """Return the cells of a card's table as they are seen, by the first of each row."""
    script = (
        "[...document.querySelectorAll('.card')].filter((each) => each.querySelector('h2')?.innerText === "
        f"{json.dumps(card)}).flatMap((each) => [...each.querySelectorAll('tr')])"
        ".map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    found = {name: cells for name, *cells in tab.ask(script)}
    assert found, card
    return found


def test_the_risk_of_a_desk_that_holds_positions(chromium: Browser, held: WatchedDesk) -> None:
    """Positions, VaR, lanes and limits are those of the journal's rows and of what was measured."""
    with closing(sqlite3.connect(held.journal)) as reader:
        marks = {
            symbol: (position, price)
            for symbol, position, price in reader.execute(
                "SELECT symbol, mark_position, mark_price FROM decisions ORDER BY sequence"
            )
        }
    assert marks.keys() == {"COMP", "SPX"}
    assert all(position for position, _ in marks.values())
    markets = desks.load_markets()
    worth = {
        name: size * close * markets[name].instrument.multiplier for name, (size, close) in marks.items()
    }
    measured = json.loads((held.folder / "risk.json").read_text())
    with served(sources_of(held.folder)) as dashboard:
        tab = chromium.tab()
        tab.look_like(width=390, phone=True)
        _log_in(tab, dashboard)
        tab.open(f"{dashboard.address}/risk")
        tab.wait(_LIVE)
        tab.wait(_DRAWN)
        text = tab.text
        assert tab.errors == []
        assert _wider(tab, 390) == []
        for level in measured["levels"]["filtered"].values():
            assert level["var"] > 1_000.0
            assert kit.usd(level["var"]) in text
            assert kit.usd(level["es"]) in text
        assert "no longer hold" not in text
        lanes, exposures = _rows(tab, "By lane"), _rows(tab, "Exposures")
        for name, (size, _) in marks.items():
            assert lanes[name][0] == kit.ratio(size)
            assert lanes[name][3] == kit.usd(measured["lanes"]["99"][name]["component_es"])
            assert exposures[name][:2] == [f"{size:g}", f"{size:g}"]
            assert exposures[name][3] == kit.usd(worth[name])
        parts = [measured["lanes"]["99"][name]["component_es"] for name in marks]
        assert math.fsum(parts) == pytest.approx(measured["levels"]["filtered"]["99"]["es"])
        gross = math.fsum(map(abs, worth.values())) / measured["capital"]
        limits = _rows(tab, "Limits of the portfolio")
        assert limits["open positions"][0] == "100%, reached"
        assert limits["gross value"][:2] == [kit.percent(gross / 2.0, 0), kit.ratio(gross)]
        assert _rows(tab, "Limits of the gateway")["all positions"][1] == "3.00"
        # The control: a position that the journal has not is not what was measured.
        running(held.folder, time.time_ns(), positions={"COMP": 1.0, "SPX": 1.0})
        tab.wait("document.body.innerText.includes('These numbers no longer hold')", seconds=5.0)
        assert "COMP +1 since, +2 measured" in tab.text
