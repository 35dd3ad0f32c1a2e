"""Checks that are kept: what was revised since, what that voids, and the page that shows all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from lockstep.errors import ExperimentError, PoorData
from lockstep.live.service import Service
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.quality import assess
from lockstep.market.quality.revision import HistoryDigest, revision
from lockstep.market.timeframe import DAILY
from lockstep.models import verbs
from lockstep.models.chain import Act
from lockstep.models.evidence import bars_read
from lockstep.models.manifest import Manifest, VersionEntry
from lockstep.models.policy import Policy
from lockstep.models.store import ModelStore
from operations.quality.cli import app
from operations.quality.page import QualityPage, calendar_figure
from operations.quality.voided import voided
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.quality import CheckedSeries, checked, record_check
from research.report.page import document
from support import papers
from support.browser import browser, needs_browser
from support.evidence import NOW, RECORD, evidence
from support.markets import BOOK, CME, NYSE, write_daily
from support.nights import write_bars
from support.pages import assert_escaped

COMP = load_bars("COMP", start="2015-01-02", end="2017-12-29")
NOON = datetime(2018, 1, 2, 12, tzinfo=UTC)
DRAWN = "[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))"


def changed(bars: Bars, day: str, by: float = 0.01) -> Bars:
    """Return bars whose close of a day is another."""
    row = int(np.searchsorted(NYSE.dates(bars.end, bars.timeframe), np.datetime64(day)))
    close = bars.close.copy()
    close[row] += by
    return replace(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))


def shifted(bars: Bars, by: float) -> Bars:
    return replace(bars, **{name: getattr(bars, name) + by for name in ("open", "high", "low", "close")})


class TestRevision:
    BEFORE = HistoryDigest.of(COMP.rows(10, 500), NYSE)

    def test_bars_that_come_before_or_after_revise_nothing(self) -> None:
        for bars in (COMP, COMP.rows(10, 500), COMP.rows(0, 500), COMP.rows(10, len(COMP))):
            assert revision(self.BEFORE, bars, NYSE) is None

    def test_a_close_of_one_cent_more_is_found_in_its_month(self) -> None:
        found = revision(self.BEFORE, changed(COMP, "2015-06-10"), NYSE)
        assert found is not None
        assert found.sentence == (
            "1 month of history changed since it was looked at last: 2015-06 (490 bars before, 490 now)"
        )
        assert (found.severity, found.where, found.count) == ("warning", "2015-06", 1)
        ((first, last),) = found.spans
        dates = NYSE.dates(np.array([first, last]), DAILY).astype(str).tolist()
        assert dates == ["2015-06-01", "2015-06-30"]
        assert revision(self.BEFORE, changed(COMP, "2017-06-12"), NYSE) is None, "nobody had seen that bar"

    def test_bars_that_are_gone_and_bars_that_come_between(self) -> None:
        keep = np.ones(len(COMP), dtype=bool)
        keep[[300, 340]] = False
        less = replace(
            COMP, end=COMP.end[keep], **{name: each[keep] for name, each in COMP.columns().items()}
        )
        found = revision(self.BEFORE, less, NYSE)
        assert found is not None
        assert "2 months of history changed" in found.sentence
        assert "490 bars before, 488 now" in found.sentence
        assert revision(HistoryDigest.of(less, NYSE), COMP, NYSE) is not None
        gone = revision(self.BEFORE, COMP.rows(600, len(COMP)), NYSE)
        assert gone is not None
        assert "none of the 490 bars is there any more" in gone.sentence

    def test_a_roll_changes_all_of_an_adjusted_series_and_is_a_note(self) -> None:
        rolled = revision(self.BEFORE, replace(shifted(COMP, 5.0), adjustment="difference"), NYSE)
        assert rolled is not None
        assert (rolled.severity, "as a roll changes adjusted prices" in rolled.sentence) == ("note", True)
        other = revision(self.BEFORE, shifted(COMP, 5.0), NYSE)
        assert other is not None
        assert other.severity == "warning"


class TestHistory:
    def kept(self, ledger: Ledger, bars: Bars, days: int = 0) -> str:
        report = assess(bars, NYSE)
        found = record_check(ledger, report, bars, NYSE, now=NOON + timedelta(days=days))
        return "" if found is None else found.sentence

    def test_a_check_is_kept_once_and_a_revision_is_found_once(self, ledger: Ledger) -> None:
        assert self.kept(ledger, COMP.rows(0, 500)) == ""
        assert self.kept(ledger, COMP.rows(0, 500), 1) == ""
        assert len(checked(ledger, "COMP:1d")) == 1
        assert self.kept(ledger, COMP.rows(0, 501), 2) == ""
        other = changed(COMP.rows(0, 502), "2015-06-10")
        assert "2015-06" in self.kept(ledger, other, 3)
        assert self.kept(ledger, other, 4) == ""
        found = checked(ledger, "COMP:1d")
        assert [each.digest.bars for each in found] == [500, 501, 502]
        assert [(bool(each.revised), each.is_grave) for each in found] == [
            (False, False), (False, False), (True, True),
        ]  # fmt: skip
        assert [each.shown_score for each in found] == ["100.00"] * 3
        assert checked(ledger, "ES:1d") == []

    def test_it_cannot_be_changed(self, ledger: Ledger) -> None:
        self.kept(ledger, COMP)
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text("UPDATE quality_check SET score = 100"))


def entry() -> VersionEntry:
    return VersionEntry(
        file="ES_v1.joblib", sha256="a" * 64, size=1, target="wins", feature_ids=(), fingerprints={},
        strategy={}, threshold=0.5, record=RECORD,
    )  # fmt: skip


Certified = Callable[[Path], None]


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> Certified:
    """Return what gives the store one version, certified on the bars of a folder as they are."""

    def certify(folder: Path) -> None:
        act = Act(symbol="ES", by="ann", now=NOW, reason="")
        bars = load_bars("ES", folder)
        history = History(bars={SeriesKey("ES", DAILY): bars}, markets={})
        found = evidence("a" * 64, kind="certificate", data=bars_read(history, folder, None))
        registered = verbs.registered(Manifest(), act, "v1", entry(), "register")
        manifest = verbs.attached(registered, act, "v1", found, Policy(promotion=("certificate",)))
        monkeypatch.setattr(ModelStore, "manifest", lambda self: manifest)

    return certify


def futures(tmp_path: Path, bars: Bars) -> Path:
    """Write bars of COMP as those of ES, and return their folder."""
    folder = tmp_path / "futures_daily"
    write_bars(folder, bars, "ES")
    return folder


def test_a_revision_voids_the_certificates_that_rest_on_it(tmp_path: Path, certified: Certified) -> None:
    folder = futures(tmp_path, COMP.rows(0, 300))
    certified(folder)
    assert list(voided("ES:1d")) == []
    futures(tmp_path, COMP.rows(0, 310))
    assert list(voided("ES:1d")) == []
    futures(tmp_path, changed(COMP.rows(0, 310), "2015-06-10"))
    (line,) = voided("ES:1d")
    assert line.startswith(
        "  void: ES v1 (ibs_veto): certificate: bars of ES:1d were revised since, between 2015-01"
    )
    assert list(voided("NQ:1d")) == []


class TestCommand:
    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
        url = f"sqlite:///{tmp_path / 'desk.db'}"
        monkeypatch.setenv("LOCKSTEP_DB", url)
        return Ledger(Database.open(url))

    def run(self, folder: Path, *words: object) -> Any:
        arguments = ["--symbol", "ES", "--data-dir", folder, *words]
        return CliRunner().invoke(app, [str(each) for each in arguments])

    def test_revised_history_is_said_with_what_it_voids(
        self, tmp_path: Path, database: Ledger, certified: Certified
    ) -> None:
        folder = futures(tmp_path, COMP.rows(0, 300))
        certified(folder)
        first = self.run(folder, "--record")
        assert (first.exit_code, "ES:1d: revised" in first.output) == (0, False)
        futures(tmp_path, changed(COMP.rows(0, 310), "2015-06-10"))
        page = tmp_path / "pages" / "es.html"
        second = self.run(folder, "--record", "--strict", "--html", page)
        said = " ".join(second.output.split())
        assert "ES:1d: revised: 1 month of history changed since it was looked at last: 2015-06" in said
        assert "void: ES v1 (ibs_veto): certificate: bars of ES:1d were revised since" in said
        assert second.exit_code == 1
        shown = page.read_text(encoding="utf-8")
        assert "2015-06 (300 bars before, 300 now)" in shown
        assert "Checks before" in shown
        assert len(checked(database, "ES:1d")) == 2

    def test_without_record_nothing_is_kept(self, tmp_path: Path, database: Ledger) -> None:
        folder = futures(tmp_path, COMP.rows(0, 300))
        assert self.run(folder).exit_code == 0
        assert checked(database, "ES:1d") == []

    def test_a_page_that_cannot_be_written_is_one_line(self, tmp_path: Path) -> None:
        folder = futures(tmp_path, COMP.rows(0, 300))
        (tmp_path / "page.html").mkdir()
        failed = self.run(folder, "--html", tmp_path / "page.html")
        assert failed.exit_code != 0
        assert "page.html: cannot be written" in str(failed.exception)


def shown(bars: Bars, **given: Any) -> QualityPage:
    report = assess(bars, CME, BOOK.instrument("ES"))
    return QualityPage(report=report, bars=bars, session=CME, file="ES_bt.csv, source futures_daily", **given)


def poor(tmp_path: Path) -> Bars:
    """Return two months of days, of which three are missing, one is impossible, and one off the grid."""
    rows = []
    days = CME.scheduled_dates(np.datetime64("2018-11-01"), np.datetime64("2019-01-31"))
    for place, day in enumerate(days):
        if place not in (20, 21, 22):
            low = 1.0 if place == 40 else 2_700.0 + place
            close = 2_706.1 + place if place == 50 else 2_710 + place
            rows.append(f"{day},{2_705 + place},{2_711 + place},{low},{close},{9_000 + place},0")
    return load_bars("ES", write_daily(tmp_path, *rows).parent)


def test_the_page_shows_what_was_found(tmp_path: Path) -> None:
    bars = poor(tmp_path)
    page = shown(bars, troubles=["the last line has no end"])
    html = page.write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.write(tmp_path / "again.html").read_text(encoding="utf-8") == html
    for said in (
        "missing_session", "spike", "off_grid", "the last line has no end", "Nov",
        f"{page.report.shown_score} of 100",
    ):  # fmt: skip
        assert said in html
    assert "nan" not in str(page.body()).lower()
    assert_escaped(lambda each: document("quality", each.body()), page, page.file)
    clean = shown(bars.rows(0, 15))
    assert "Nothing suspicious." in str(clean.body())


def test_a_calendar_has_a_cell_for_every_session_and_none_else() -> None:
    days = NYSE.scheduled_dates(np.datetime64("2016-12-01"), np.datetime64("2018-01-31"))
    share = np.linspace(0.5, 1.0, days.size)
    (drawn,) = calendar_figure(days, share).data
    cells = [(text, value) for texts, row in zip(drawn.text, drawn.z, strict=True)
             for text, value in zip(texts, row, strict=True) if value is not None]  # fmt: skip
    assert sorted(text[:10] for text, _ in cells) == days.astype(str).tolist()
    values = {text[:10]: value for text, value in cells}
    assert values[str(days[0])] == 0.5
    assert len(drawn.z) == 3 * 6 - 1, "five weekdays of three years, a row between"


@needs_browser
def test_in_a_browser_it_is_drawn_and_fits_a_phone(tmp_path: Path) -> None:
    history = [
        CheckedSeries(
            series="ES:1d", file="ES_bt.csv", score=score, warnings=2, recorded=f"2019-02-0{day}T02:00:00",
            digest=TestRevision.BEFORE, findings=[], revised="2 months changed" if day == 3 else "",
        )
        for day, score in ((1, 97.0), (2, 98.2), (3, 95.5))
    ]  # fmt: skip
    file = shown(poor(tmp_path), history=history).write(tmp_path / "page.html")
    with browser(tmp_path) as chromium:
        tab = chromium.tab()
        for look in ({"width": 1280, "dark": True}, {"width": 390, "phone": True}):
            tab.look_like(**look)  # type: ignore[arg-type]
            tab.open(file.as_uri())
            tab.wait(DRAWN)
            assert tab.ask("document.documentElement.scrollWidth") <= look["width"]
        assert "2 months changed" in tab.text
        assert (tab.errors, tab.hosts) == ([], {""})


def test_only_a_desk_that_begins_asks_for_the_quality_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that goes on may hold positions: it is not kept from them because of a file."""
    papers.store(tmp_path / "store")
    config = papers.config(tmp_path, history={"min_quality": 90})

    def refused(settled: History, least: float | None) -> None:
        raise PoorData(f"{sorted(map(str, settled.bars))} {least}")

    def run(stop_after: int) -> None:
        with Service(config, mode=None, environment={}, stop_after=stop_after) as service:
            service.run()

    with monkeypatch.context() as patched:
        patched.setattr("lockstep.live.service.require_quality", refused)
        with pytest.raises(PoorData, match=r"COMP:1d.* 90\.0"):
            run(2)
    run(2)
    with monkeypatch.context() as patched:
        patched.setattr("lockstep.live.service.require_quality", refused)
        run(4)
