"""What the dashboard's pages show: every number from its source, in bounds, and words where there is none."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.status.status import Status, write_status
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import frozen_in
from lockstep.monitoring.slippage import running
from operations.contenders import measured_as
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.pages import against, experiments, models, risk
from operations.dashboard.parts import MOST_POINTS, guarded
from operations.desk_risk import subject_of_desk
from operations.retraining.book import Step
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import AGAINST, STANDINGS
from operations.watch.rows import keep_state
from research.experiments.store import Record
from research.ledger.candidates import CandidateTerms, ForwardEvent, happened, register, score
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.performance import SessionResults, periods_of, store
from research.report import page
from research.report.theme import LOSS
from research.risk.measured import measure
from research.risk.written import write_risk
from research.statistics.regimes import RegimeResult
from support import live_portfolios
from support.dashboards import retrained
from support.experiments import NOON, plan, toy_lab
from support.real_fills import live_desk
from support.references import attach_reference
from support.watching import WatchedDesk, watched_desk

PAGES = (against.PAGE, models.PAGE, risk.PAGE, experiments.PAGE)
OPEN = '<b class="loss">ALARM</b>'
NOW = 2_000_000_090_000_000_000


def sources(desk: WatchedDesk, **changes: Any) -> DashboardSources:
    settings = LiveConfig.load(desk.folder / "live.yml")
    found = DashboardSources(
        live=settings, monitoring=MonitoringConfig.load(desk.config), store=ModelStore(settings.store),
        ledger=f"sqlite:///{desk.folder / 'experiments.db'}", results=desk.folder / "results",
    )  # fmt: skip
    return replace(found, **changes)


def shown(of: DashboardPage, given: DashboardSources) -> str:
    html = page.document(of.title, page.joined(*of.build(given, NOW)))
    assert "Traceback" not in html
    return html


def figure(html: str, name: str) -> dict[str, Any]:
    found = re.search(rf'id="{name}-data">(.*?)</script>', html)
    assert found is not None, name
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def line(drawn: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in drawn["data"] if each["name"] == name)
    return dict(found)


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A live desk on embedded bars whose fills were reported, some of them worse, watched and measured."""
    desk = live_desk(tmp_path_factory.mktemp("desk"))
    settings = LiveConfig.load(desk.folder / "live.yml")
    with Journal.open(settings.journal, readonly=True) as journal:
        newest = journal.last_set()
    assert newest is not None
    stamp = newest.release.stamp
    write_status(settings.status, Status(
        mode="live", state="running", epoch=1, started=stamp, heartbeat=stamp, positions={"COMP": 1.0},
        profit_today={"COMP": -120.5}, last_bars={"COMP:1d": stamp},
    ))  # fmt: skip
    subject = subject_of_desk(desk.folder / "live.yml")
    recent = replace(subject, dates=subject.dates[-600:], changes=subject.changes[-600:], own=None)
    write_risk(measure(recent), settings.status.parent)
    return desk


@pytest.fixture
def desk(traded: WatchedDesk, tmp_path: Path) -> WatchedDesk:
    """A copy that a test may spoil."""
    for path in traded.folder.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    shutil.copytree(traded.store.folder, tmp_path / "store")
    for name in ("live.yml", "monitoring.yml"):
        path = tmp_path / name
        path.write_text(path.read_text().replace(str(traded.folder), str(tmp_path)))
    return WatchedDesk(tmp_path, ModelStore(tmp_path / "store"))


@pytest.mark.parametrize("of", PAGES, ids=lambda each: each.name)
def test_a_watched_desk_fills_every_page(traded: WatchedDesk, of: DashboardPage) -> None:
    html = shown(of, sources(traded))
    assert "Cannot be read" not in html
    assert "could not be read" not in html


def test_live_against_backtest_shows_what_the_monitor_compared(traded: WatchedDesk) -> None:
    html, report = shown(against.PAGE, sources(traded)), traded.report()
    (row,) = (each for each in report.against if each["name"] == "COMP")
    assert row["tracking_difference"] != 0.0
    for value in (page.usd(row["tracking_difference"], 2), page.ratio(row["information_ratio"])):
        assert f">{value}<" in html
    cells = "</td><td>".join(
        (
            page.percent(row["live_cagr"]),
            page.percent(row["backtest_cagr"]),
            page.percent(row["expected_cagr"]),
        )
    )
    assert cells in html
    drawn = figure(html, "against-COMP")
    assert line(drawn, "live")["y"][-1] == pytest.approx(row["live_net_profit"], abs=0.01)
    apart = line(drawn, "live minus backtest")["y"][-1]
    assert apart == pytest.approx(row["tracking_difference"], abs=0.02)


def test_slippage_is_that_of_the_fills(traded: WatchedDesk) -> None:
    html = shown(against.PAGE, sources(traded))
    rows = [each for each in traded.rows("fills") if each["order_kind"] == "market"]
    ticks = [each["ticks"] for each in sorted(rows, key=lambda each: (each["stamp"], each["number"]))]
    cells = (len(ticks), np.mean(ticks), np.median(ticks), max(ticks))
    written = [page.count(cells[0]), *(page.ratio(float(each)) for each in cells[1:])]
    assert f"COMP market</th><td>{'</td><td>'.join(written)}</td>" in html
    mean = line(figure(html, "slippage-COMP-market"), "mean so far")["y"]
    assert mean == pytest.approx(running(ticks).mean.tolist(), abs=1e-6)


def test_models_show_version_reference_and_both_thresholds(traded: WatchedDesk) -> None:
    html, report = shown(models.PAGE, sources(traded)), traded.report()
    bundle = traded.models()[0].bundle.sha256
    assert bundle[:12] in html
    assert "by me (promote; forced): test" in html
    assert f"knows sessions up to {'2012-04-20'}" in html
    for each in report.standings:
        drawn = figure(html, f"wealth-{each['place'].replace(' ', '-').replace('_', '-')}")
        levels = [set(one["y"]) for one in drawn["data"] if " at " in one["name"]]
        wanted = [{20.0}] + ([{round(each["watch_at"], 6)}] if math.isfinite(each["watch_at"]) else [])
        assert levels == wanted, each["place"]
    assert "ALARM COMP@v1: information coefficient" in html
    assert "2009 Q4</th>" in html
    assert "2010 Q1</th>" not in html, "it is not over"


def retraining_of(desk: WatchedDesk, *steps: Step, **changes: Any) -> str:
    """Return the models page of a desk with a run of these steps."""
    retrained(desk.folder, *steps, **changes)
    return shown(models.PAGE, sources(desk, retraining=RetrainingConfig.load(desk.folder / "retraining.yml")))


def test_a_retraining_shows_what_it_waits_for_and_how_its_challenger_compares(desk: WatchedDesk) -> None:
    html = retraining_of(desk)
    assert "COMP: SHADOWING</h2>" in html
    assert "lockstep retrain approve 96c0261b60d135a7 --by NAME" in html
    assert "COMP: it is SHADOWING &lt;now&gt;" in html, "text is text"
    for what, value in (
        ("Signals so far", "29"), ("Evidence that it is better", "3.90"), ("Verdict", "not worse"),
        ("Lower bound of the difference", "\N{MINUS SIGN}0.0172"), ("Waits for", "a person"),
    ):  # fmt: skip
        assert value in html.partition(what)[2][:400], what
    assert "not worse above \N{MINUS SIGN}0.0200" in html
    drawn = figure(html, "retraining-COMP")
    assert line(drawn, "evidence")["y"] == [round(1.0 + day / 10, 6) for day in range(1, 30)]
    assert set(line(drawn, "better at 20")["y"]) == {20.0}
    assert set(line(drawn, "margin")["y"]) == {-0.02}
    assert line(drawn, "lower bound")["y"][-1] == pytest.approx(-1 / 58, abs=1e-6)


WAYS: dict[str, tuple[tuple[Step, ...], dict[str, Any], str, str]] = {
    "auto": ((), {"approval": "auto"}, "which promotes it: approval is auto", "lockstep retrain run<"),
    "undecided": ((), {"looks": 5}, "undecided after 2010-05-25 of the desk", ""),
    "nobody looked": ((), {"looks": 0}, "nobody looked at it", ""),
    "failed": (
        (Step.TRIGGERED, Step.FAILED), {"looks": 0}, "look at what was seen",
        "retrain status 96c0261b60d135a7<"
    ),
    "on the way": ((Step.TRIGGERED,), {"looks": 0}, "which goes on from here", "lockstep retrain run<"),
    "aborted": ((Step.TRIGGERED, Step.ABORTED), {"looks": 0}, "it has ended", ""),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_retraining_says_for_whom_it_waits(desk: WatchedDesk, way: str) -> None:
    steps, changes, told, command = WAYS[way]
    html = retraining_of(desk, *steps, **changes)
    assert told in html
    assert ("lockstep retrain approve" in html) is False
    typed = re.findall(r"<pre[^>]*>([^<]*)<", html)
    assert any(f"{each}<".endswith(command) for each in typed) if command else typed == []
    assert ('class="loss">FAILED' in html) == (way == "failed")


def test_without_retrainings_the_page_says_so(desk: WatchedDesk) -> None:
    assert "this desk has no retraining.yml" in shown(models.PAGE, sources(desk))
    book = retrained(desk.folder)
    given = sources(desk, retraining=RetrainingConfig.load(desk.folder / "retraining.yml"))
    before = {each.name: each.read_bytes() for each in desk.folder.glob("retraining.db*")}
    assert "SHADOWING" in shown(models.PAGE, given)
    assert {each.name: each.read_bytes() for each in desk.folder.glob("retraining.db*")} == before
    book.unlink()
    assert "No retraining has begun" in shown(models.PAGE, given)
    assert not book.exists(), "a page makes none"
    book.write_text("notes of mine" * 100)
    assert "retraining.db: file is not a database" in shown(models.PAGE, given)


def test_scores_and_reliability_have_the_brier_score_of_validation(desk: WatchedDesk) -> None:
    scored = [
        (each.probability - each.won) ** 2
        for each in desk.report().outcomes
        if each.state in ("taken", "vetoed") and each.decision < quarter_of(2010, 1)
    ]
    before = shown(models.PAGE, sources(desk))
    assert "at validation: not recorded" in before
    assert "validation</th><td>–</td><td>not recorded</td>" in before
    assert f"Brier score: {page.ratio(float(np.mean(scored)), 3)}; at validation:" in before
    (model,) = desk.models()
    known = frozen_in(desk.store, "COMP", model.bundle.sha256)
    measured = known.expected.model_copy(update={"brier": 0.2411})
    attach_reference(desk.store, "COMP", "v1", replace(known, expected=measured))
    html = shown(models.PAGE, sources(desk))
    assert "at validation: 0.241" in html
    assert "validation</th><td>–</td><td>0.241</td>" in html
    shutil.rmtree(desk.store.folder / "reports")
    assert "at validation: –" in shown(models.PAGE, sources(desk)), "there is no reference"


def quarter_of(year: int, number: int) -> int:
    """Return when a quarter begins, UTC ns."""
    return int(np.datetime64(f"{year}-{3 * number - 2:02}", "ns").astype(np.int64))


def spoil_wealth(path: Path, count: int) -> float:
    """Write so many points of a stream, one of which stands out; return that one."""
    with MonitorDatabase.open(path) as database, database.step():
        (row, *_) = database.rows("wealth", "place = 'COMP win_rate'")
        random = np.random.default_rng(0).uniform(0.5, 2.0, count)
        random[count // 3 + 1] = 17.25
        database.replace("wealth", (
            {**row, "time": 1_000_000_000 * (at + 1), "alarm": float(value), "watch": 1.0}
            for at, value in enumerate(random)
        ), "place = 'COMP win_rate'")  # fmt: skip
    return 17.25


def test_long_lines_are_bounded_and_keep_their_extremes(desk: WatchedDesk) -> None:
    highest = spoil_wealth(desk.database, 9_000)
    values = line(figure(shown(models.PAGE, sources(desk)), "wealth-COMP-win-rate"), "ALARM wealth")["y"]
    assert len(values) <= MOST_POINTS
    assert max(values) == highest
    every = [row["alarm"] for row in desk.rows("wealth", "place = 'COMP win_rate'")]
    assert highest not in every[:: len(every) // MOST_POINTS + 1], "a plain sample would lose it"


def test_an_acknowledgement_names_who_and_why(traded: WatchedDesk, desk: WatchedDesk) -> None:
    with MonitorDatabase.open(desk.database) as database, database.step():
        (row, *_) = database.rows("alarms", "place = 'COMP ic' AND level = 'ALARM'")
        database.put("alarms", [{**row, "acknowledged": 77}])
        note = {"place": "COMP ic", "time": 77, "by": "AB", "reason": "v2 <in> shadow", "given": 88}
        database.put("acknowledgements", [note])
    html = shown(models.PAGE, sources(desk))
    assert "by AB: v2 &lt;in&gt; shadow" in html
    assert shown(models.PAGE, sources(traded)).count(OPEN) == html.count(OPEN) + 1


def test_an_impossible_probability_spoils_no_score(traded: WatchedDesk, desk: WatchedDesk) -> None:
    with MonitorDatabase.open(desk.database) as database, database.step():
        rows = [row for row in database.rows("outcomes") if row["state"] in ("taken", "vetoed")]
        database.put("outcomes", [{**rows[0], "probability": 1.5}])
    quarter = r"2009 Q3</th><td>(\d+)"
    counts = [
        int(found[1])
        for each in (traded, desk)
        if (found := re.search(quarter, shown(models.PAGE, sources(each)))) is not None
    ]
    assert counts[1] == counts[0] - 1


def drift(lane: str, kind: str, session: str, bundle: str, **values: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("since", "feature", "what", "sentence", "severity"), "")
    row = {"lane": lane, "kind": kind, "session": session, "bundle": bundle, "years": 0, "score": None}
    return {**row, "highest": None, "verdict": "", **empty, **values}


def test_inputs_regimes_and_decay_are_drawn_from_the_monitors_rows(desk: WatchedDesk) -> None:
    bundle = desk.models()[0].bundle.sha256
    names = ["calm, up"] * 5 + ["turbulent, down"] + ["calm, up"] * 4
    regimes = [
        drift("COMP", "regime", f"2010-03-{day:02}", bundle, verdict=name, since="2010-03-01", score=0.25)
        for day, name in enumerate(names, start=1)
    ]
    rows = [
        *regimes,
        drift("COMP", "decay", "2009-11-30", bundle, verdict="warning", score=6.5, highest=14.0,
              sentence="COMP: decay, warning: half-life 6.5 sessions"),
        drift("COMP", "features", "2010-03-10", bundle, verdict="warning", years=12, sentence="COMP: drift"),
        drift("COMP", "ranges rsi_2", "2010-03-10", bundle, verdict="broken", feature="rsi_2",
              sentence="COMP: rsi_2 is 4,000", severity="alert"),
    ]  # fmt: skip
    reading = {
        "feature": "rsi_2", "what": "level", "distance": 0.31, "psi": 0.2, "peak": 0.4, "rank": 1.0,
        "years": 12, "score": 3.25, "streamed": True, "wanders": False, "note": "",
    }  # fmt: skip
    with MonitorDatabase.open(desk.database) as database, database.step():
        database.put("drift", rows)
        keep_state(database, "readings COMP", {"features": [reading]})
    rotation = desk.folder / "rotation"
    rotation.mkdir()
    (rotation / "rotation-COMP.md").write_text("Rotate COMP@v1", encoding="utf-8")
    html = shown(models.PAGE, sources(desk))
    assert "one of 13 years" in html
    assert "1.0 of 13" in html
    assert "Rotate COMP@v1" in html
    assert "COMP: rsi_2 is 4,000" in html
    assert line(figure(html, "half-life-COMP"), "half-life")["y"] == [6.5]
    strip = figure(html, "regime-COMP")
    turbulent = line(strip, "turbulent, down")
    assert turbulent["x"][-3:-1] == ["2010-03-06", "2010-03-07"], "it lasts until the next one begins"
    assert turbulent["y"][0] == "turbulent, down", "the row says what the colour says"
    assert turbulent["line"]["color"] == LOSS


def test_risk_shows_what_was_measured_and_that_it_no_longer_holds(desk: WatchedDesk) -> None:
    given = sources(desk)
    content = json.loads((desk.folder / "risk.json").read_text())
    levels = content["levels"][content["method"]]["99"]
    html = shown(risk.PAGE, given)
    assert f">{page.usd(levels['var'])}<" in html
    assert f"Measured after {content['as_of']}" in html
    held = content["positions"]["COMP"] + content["reserved"].get("COMP", 0.0)
    write_status(given.live.status, Status(
        mode="live", state="running", epoch=1, started=1, heartbeat=1, positions={"COMP": held + 5.0},
        last_bars={"COMP:1d": content["stamp"]},
    ))  # fmt: skip
    assert "These numbers no longer hold" in shown(risk.PAGE, given)
    write_status(given.live.status, Status(
        mode="live", state="running", epoch=1, started=1, heartbeat=1, positions={"COMP": held},
        last_bars={"COMP:1d": content["stamp"]},
    ))  # fmt: skip
    assert "These numbers no longer hold" not in shown(risk.PAGE, given)


def test_limits_say_how_much_of_each_is_used(desk: WatchedDesk) -> None:
    given = sources(desk)
    limits = given.live.limits.model_copy(update={"max_contracts": 1.0, "max_daily_loss": 241.0})
    html = shown(risk.PAGE, replace(given, live=given.live.model_copy(update={"limits": limits})))
    assert 'position of COMP</th><td><b class="loss">100%, reached</b></td><td>1.00</td><td>1.00</td>' in html
    assert "loss of the day</th><td>50%</td><td>120.50</td><td>241.00</td><td>USD</td>" in html


def test_a_portfolio_has_its_limits_and_groups(tmp_path: Path) -> None:
    path = live_portfolios.desk(tmp_path)
    settings = LiveConfig.load(path)
    given = DashboardSources(
        live=settings, monitoring=None, store=ModelStore(settings.store), ledger="sqlite://", results=tmp_path
    )
    html = shown(risk.PAGE, given)
    for name in ("open positions", "gross value", "us_equity: gross value", "loss of the day"):
        assert f'<th scope="row">{name}</th><td>' in html


@pytest.fixture
def ledger(desk: WatchedDesk) -> tuple[Ledger, Record]:
    """A ledger of two experiments, one candidate that reached pilot, and a look."""
    lab = toy_lab(Database.open(sources(desk).ledger))
    record = lab.run(plan())
    terms = CandidateTerms(
        name="dip", kind="strategy", symbol="COMP", family="NASDAQ", hash="h",
        content={"drawdown": 20.0, "regimes": [planted_failure().plain]},
        sigma=0.01, beta=0.1, searched="adaptive",
    )  # fmt: skip
    candidate = register(lab.ledger, terms, now=NOON)
    days = np.arange("2026-01-05", "2026-01-15", dtype="datetime64[D]")
    score(lab.ledger, candidate, days, np.full(days.size, 1.5), now=NOON)
    event = ForwardEvent(
        kind="pilot", session=date(2026, 1, 14), evidence=7.0, reason="the evidence reached 6"
    )
    happened(lab.ledger, candidate, [event], now=NOON)
    earned = SessionResults(
        dates=days, pnl=np.full(days.size, -100.0), capital=1e5, sessions_per_year=252.0, ended=days[:2],
        trade_pnl=np.array([5.0, -5.0]),
    )  # fmt: skip
    months = periods_of(earned, newest=np.datetime64("2026-02-02"))
    store(lab.ledger, measured_as(candidate, "shadow"), months, source={}, now=NOON)
    return lab.ledger, record


def planted_failure() -> RegimeResult:
    """Return what a history came to that fails in bear markets."""
    return RegimeResult(
        regime=-1.0, name="bear", bars=0.2, trades=40, runs=9, net=-4_000.0, mean=-100.0, low=-150.0,
        high=-50.0, win_rate=0.3, profit_factor=0.5, p_value=0.001, adjusted=0.004, verdict="fails",
    )  # fmt: skip


def test_experiments_show_trials_candidates_and_promotions(
    desk: WatchedDesk, ledger: tuple[Ledger, Record]
) -> None:
    html = shown(experiments.PAGE, sources(desk))
    assert "Cannot be read" not in html
    assert f"{ledger[1].id} trial</th><td>grid</td><td>finished</td><td>6</td>" in html
    assert "pilot; the evidence reached 6" in html
    assert "bear" in html.partition("its history fails in")[2].partition("</table>")[0]
    month = html.partition("Candidates by month")[2].partition("</table>")[0]
    assert "2026-01" in month
    assert "−$1,000" in month
    assert "−1.00%" in month
    assert "by me" not in html
    assert "<td>promote</td><td>–</td><td>v1</td><td>me</td>" in html
    drawn = figure(html, "candidate-1")
    assert len(line(drawn, "evidence")["y"]) == 10
    assert [each["y"][0] for each in drawn["data"][1:]] == pytest.approx([6.0, 60.0])


def test_reading_a_ledger_changes_no_byte_and_makes_none(
    desk: WatchedDesk, ledger: tuple[Ledger, Record], tmp_path: Path
) -> None:
    path = desk.folder / "experiments.db"
    before = path.read_bytes()
    shown(experiments.PAGE, sources(desk))
    assert path.read_bytes() == before
    nowhere = tmp_path / "none" / "experiments.db"
    html = shown(experiments.PAGE, sources(desk, ledger=f"sqlite:///{nowhere}"))
    assert "there is none yet" in html
    assert not nowhere.parent.exists()
    Database.open(f"sqlite:///{nowhere}")
    assert nowhere.exists(), "what a writer does"


@pytest.mark.parametrize("of", PAGES, ids=lambda each: each.name)
def test_absent_sources_are_said_in_words(tmp_path: Path, of: DashboardPage) -> None:
    desk = watched_desk(tmp_path, reference=False)
    assert 'class="empty"' in shown(of, sources(desk)), "nothing has run yet"
    assert 'class="empty"' in shown(of, sources(desk, monitoring=None, store=ModelStore(tmp_path / "no")))


@pytest.mark.parametrize("of", PAGES, ids=lambda each: each.name)
@pytest.mark.parametrize("name", ["monitor.db", "risk.json", "status.json", "store/manifest.json", "live.db"])
def test_damaged_sources_are_said_in_words(desk: WatchedDesk, of: DashboardPage, name: str) -> None:
    (desk.folder / name).write_text('{"schema": 1, "kind": "desk"')
    for each in desk.folder.glob(f"{Path(name).name}-*"):
        each.unlink()
    shown(of, sources(desk))


def test_rows_that_make_no_sense_are_said_in_words(desk: WatchedDesk) -> None:
    with MonitorDatabase.open(desk.database) as database, database.step():
        keep_state(database, STANDINGS, [{"place": "COMP ic"}])
        database.set_value(AGAINST, {"rows": [{"name": "COMP"}], "curves": {}, "notes": []})
    for of in (models.PAGE, against.PAGE):
        assert "Cannot be read (KeyError" in shown(of, sources(desk))


def test_a_fault_of_the_page_itself_is_not_hidden() -> None:
    with pytest.raises(NameError):
        guarded("a card", lambda: [undefined_name])  # type: ignore[name-defined] # noqa: F821
