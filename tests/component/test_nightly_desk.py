"""A night with a desk: a journal of the live engine, its monitor, its models, a retraining that is due."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore
from lockstep.strategy.family import load_strategy
from operations.contenders import Contender, enrol
from operations.nightly import desk as desk_module
from operations.nightly.context import NightContext
from operations.nightly.night import Nights
from operations.nightly.steps import forward, ingest, outcomes, retrain, store
from operations.retraining import cli
from operations.retraining.book import AUTO, Step, only_retraining
from operations.watch import cli as watching
from operations.watch.cli import acknowledge
from operations.watch.database import MonitorDatabase, only_monitor
from research.ledger.candidates import WITHDRAWN, ForwardEvent, happened
from research.ledger.first_seen import see
from research.ledger.versions import TradedVersion
from research.pipeline.execution import Outcome, StepOutcome
from support import desks
from support.candidates import BASELINE, FREE, enrolled, until
from support.nights import nights, space, write_bars
from support.retraining import (
    BEARABLE,
    QuickMaker,
    RetrainedDesk,
    alarmed_desk,
    moved,
    recorded,
    registered,
)
from support.watching import ChannelSink

NOW = datetime(2033, 6, 1, 12, tzinfo=UTC)
STEPS = [Step.TRIGGERED, Step.TRAINED, Step.VALIDATED, Step.CERTIFIED, Step.SHADOWING]
SPACE = space(
    parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5]}, per_night=6,
    split={
        "train": ["2007-01-03", "2007-12-31"], "validation": ["2008-01-02", "2008-12-31"],
        "holdout": ["2009-01-02", "2009-12-31"],
    },
)  # fmt: skip


class MachineStore(ModelStore):
    """A store in which everything is done by the machine, as the workshop that trains does it."""

    def register(self, *arguments: Any, **named: Any) -> str:
        return super().register(*arguments, **{**named, "by": AUTO})

    def attach(self, *arguments: Any, **named: Any) -> None:
        super().attach(*arguments, **{**named, "by": AUTO})


def quick_maker(desk: RetrainedDesk) -> QuickMaker:
    return QuickMaker(MachineStore(desk.store.folder), reference=BEARABLE)


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> QuickMaker:
    """What makes challengers, in no time; in the place of the workshop that trains them."""
    found = QuickMaker(None, reference=BEARABLE)  # type: ignore[arg-type]
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")
    monkeypatch.setattr(cli, "Workshop", lambda **_: found)
    return found


@pytest.fixture
def desk(maker: QuickMaker, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> RetrainedDesk:
    """A desk whose engine traded 120 sessions, with an ALARM of its monitor."""
    found = moved(alarmed_desk(tmp_path_factory), tmp_path / "desk")
    maker.store = MachineStore(found.store.folder)
    return found


def night_of(desk: RetrainedDesk, **changes: Any) -> Nights:
    """Return the night of the desk's newest session, on bars of a market that it does not trade."""
    folder = desk.folder.parent
    day = str(desk.rows("sessions")[-1]["session"])
    bars = folder / "futures_daily"
    if not bars.is_dir():
        write_bars(bars, load_bars("COMP", start="2006-01-03", end=day), "NQ")
    content = {
        "symbols": ["NQ"], "data_dir": str(bars), "spaces": [SPACE], "accepted": ["stale_open", "off_grid"],
        "monitoring": str(desk.config), "retraining": str(desk.retraining), "journal": str(desk.journal),
    }  # fmt: skip
    return nights(folder, now=NOW, **{**content, **changes})


def read(heard: list[StepOutcome], step: str) -> Any:
    place = next(each.folder for each in heard if each.name == step)
    assert place is not None
    return json.loads((place / f"{step}.json").read_text())


def test_signals_are_scored_and_what_is_due_is_trained_again_once(
    desk: RetrainedDesk, maker: QuickMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[StepOutcome] = []
    made = night_of(desk).make(heard.append)
    assert {each.outcome for each in heard} == {Outcome.DONE}
    assert capsys.readouterr().out == "", "the monitor speaks between the lines of the night"
    report = read(heard, "report")
    assert report["outcomes"] == [{"lane": "COMP", **recount(desk, made.night)}]
    assert report["signals"] == recount(desk, made.night)
    assert report["signals"]["taken"] > 0 < report["signals"]["vetoed"]
    assert maker.made == ["train", "validate", "certify"]
    (run,) = desk.runs()
    assert [each.step for each in run.steps] == STEPS
    (shown,) = report["retrainings"]
    assert (shown["run"], shown["is"], shown["from"], shown["to"]) == (run.id, "SHADOWING", "v1", "v2")
    text = made.page.read_text()
    for said in ("Signals of the last 30 days", "Signals in 30 days", run.id[:8], "COMP v2 is in shadow"):
        assert said in text
    assert any("ALARM" in line or "win rate" in line for line in made.troubles), "the alarm needs somebody"

    # What the night did itself is no news: neither to it, nor to any of its steps.
    again = night_of(desk)
    assert again.nothing_new == made.night
    heard.clear()
    again.make(heard.append)
    assert {each.outcome for each in heard} == {Outcome.KEPT}
    assert len(maker.made) == 3


def recount(desk: RetrainedDesk, night: str) -> dict[str, Any]:
    """Return from the raw rows of monitor.db what the signals of 30 days came to."""
    since = datetime.fromisoformat(night).replace(tzinfo=UTC) - timedelta(days=30)
    with closing(sqlite3.connect(desk.database)) as connection:
        rows = connection.execute(
            "SELECT state, probability, pnl FROM outcomes WHERE decision >= ? ORDER BY decision",
            (int(since.timestamp()) * 10**9,),
        ).fetchall()
    states = [state for state, _, _ in rows]
    taken = [(probability, pnl) for state, probability, pnl in rows if state == "taken"]
    return {
        "signals": len(rows), "taken": len(taken), "vetoed": states.count("vetoed"),
        "waiting": states.count("open") + states.count("unsettled"),
        "hit_rate": sum(pnl > 0 for _, pnl in taken) / len(taken),
        "brier": pytest.approx(sum((p - (pnl > 0)) ** 2 for p, pnl in taken) / len(taken)),
        "pnl": pytest.approx(sum(pnl for _, pnl in taken)),
    }  # fmt: skip


def work(context: NightContext, step: Any, name: str) -> Any:
    """Do a step; returns what it left, with its sentence."""
    folder = context.config.results / name
    folder.mkdir(parents=True)
    said = step.work(context, {}, folder)
    file = step.__name__.rpartition(".")[2]
    return {"said": said, **json.loads((folder / f"{file}.json").read_text())}


@pytest.mark.no_cover
def test_a_retraining_goes_on_where_its_night_was_killed(desk: RetrainedDesk, maker: QuickMaker) -> None:
    context = night_of(desk).context
    child = os.fork()
    if not child:
        maker.on = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == "certify" else None
        retrain.work(context, {}, context.config.results)
        os._exit(3)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = work(context, retrain, "a")
    assert maker.made == ["certify"]
    (run,) = desk.runs()
    assert [each.step for each in run.steps] == STEPS
    assert list(desk.store.manifest().model("COMP").versions) == ["v1", "v2"]
    assert left["said"] == "1 retrainings, 1 of them under way"


def test_a_retraining_that_fails_is_a_line_of_its_night_alone(desk: RetrainedDesk, maker: QuickMaker) -> None:
    maker.refuse = {"validate": "validation refuses it"}
    context = night_of(desk).context
    first = work(context, retrain, "a")
    line = f"retraining {desk.runs()[0].id} of COMP: FAILED: validation refuses it"
    assert first["troubles"] == [line]
    assert work(context, retrain, "b")["troubles"] == [line], "a night that is begun again says the same"
    later = replace(context, night="2031-01-02", now=lambda: NOW + timedelta(days=1))
    left = work(later, retrain, "c")
    assert left["troubles"] == []
    assert left["runs"][0]["is"] == "FAILED"


def test_who_is_at_work_elsewhere_is_left_alone(desk: RetrainedDesk, maker: QuickMaker) -> None:
    context = night_of(desk).context
    with only_monitor(desk.database), only_retraining(desk.book):
        seen = work(context, outcomes, "a")
        assert seen["said"].endswith("; another process keeps the monitor up to date")
        assert seen["total"]["signals"] > 0
        (note,) = work(context, retrain, "b")["notes"]
    assert "another retraining is running" in note
    assert maker.made == []


def test_an_alert_that_no_sink_took_is_on_the_page(
    desk: RetrainedDesk, maker: QuickMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = ChannelSink()
    channel.down = True
    monkeypatch.setattr(watching, "sinks_of", lambda *_: [channel])
    monkeypatch.setattr(cli, "sinks_of", lambda *_: [channel])
    maker.refuse = {"validate": "validation refuses it"}
    with MonitorDatabase.open(desk.database) as database, database.step():
        database.clear(["deliveries"])
    context = night_of(desk).context
    line = "alert not delivered, the next run tries again: no answer"
    assert line in work(context, outcomes, "a")["troubles"]
    assert line in work(context, retrain, "b")["troubles"]


Change = Callable[[RetrainedDesk, pytest.MonkeyPatch], None]


def rewritten(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def noted(desk: RetrainedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    with MonitorDatabase.open(desk.database) as database:
        acknowledge(database, desk.report().raised[0].place, by="AB", reason="seen", now=desk.now + 1)


def aborted(desk: RetrainedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.retrain(quick_maker(desk))
    with desk.machine() as machine:
        machine.abort(machine.book.runs()[0], by="AB", reason="not now")


def other_bars(desk: RetrainedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "_digest", lambda path: "0")


DESK = {"outcomes", "retrain", "store"}
BY_OTHERS: dict[str, tuple[Change, set[str]]] = {
    "journal": (lambda desk, _: desk.trade(desk.sets + 1), DESK),
    "acknowledged": (noted, DESK),
    "models": (lambda desk, _: str(registered(desk.store, recorded(), seed=9)), DESK),
    "monitoring": (lambda desk, _: rewritten(desk.config, open_sessions=9), DESK),
    "live": (lambda desk, _: rewritten(desk.folder / "live.yml", grace=1), DESK),
    "bars": (other_bars, DESK),
    "retraining": (lambda desk, _: rewritten(desk.retraining, months=3), {"retrain"}),
    "said of a run": (aborted, {"retrain"}),
}


@pytest.mark.parametrize("what", BY_OTHERS)
def test_what_others_do_to_a_desk_makes_its_steps_anew(
    what: str, desk: RetrainedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, steps = BY_OTHERS[what]
    before, digest = keys(desk)
    change(desk, monkeypatch)
    after, changed = keys(desk)
    assert {name for name in before if before[name] != after[name]} == steps
    assert changed != digest, "no night would begin"


def keys(desk: RetrainedDesk) -> tuple[dict[str, Any], str]:
    context = night_of(desk, journal=None).context
    named = {"outcomes": outcomes, "retrain": retrain, "store": store}
    # Another session of the journal is not another night here.
    context = replace(context, night="2010-01-25")
    return {name: step.ingredients(context, {}) for name, step in named.items()}, context.world.digest


def test_what_the_night_does_to_a_desk_makes_no_step_anew(desk: RetrainedDesk) -> None:
    before = keys(desk)
    desk.run()
    desk.retrain(quick_maker(desk))
    (desk.folder / "status.json").write_text("{}")
    desk.journal.with_name("live.db-wal").touch()
    os.utime(desk.journal)
    assert desk.store.manifest().model("COMP").versions.keys() == {"v1", "v2"}
    assert keys(desk) == before


def test_the_state_of_a_journal_is_its_newest_entry(desk: RetrainedDesk) -> None:
    before = night_of(desk).context
    assert len(before.world.journal) == 64
    desk.trade(desk.sets + 1)
    after = night_of(desk).context
    assert after.world.journal != before.world.journal
    assert ingest.ingredients(before, {})[2] != ingest.ingredients(after, {})[2]


def test_a_journal_that_cannot_be_read_costs_no_evidence_of_files(
    desk: RetrainedDesk, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"nothing")
    left = work(night_of(desk, journal=str(damaged)).context, ingest, "a")
    (line,) = left["troubles"]
    assert line.startswith("its bars were not seen first: ")
    assert "damaged.db" in line
    assert left["usable"] == ["NQ"]


class TestForward:
    """Whoever waits for evidence, their bars as first seen, and the bundles that they are."""

    @pytest.fixture
    def context(self, desk: RetrainedDesk) -> NightContext:
        found = night_of(desk).context
        moment = datetime(2009, 6, 1, 12, tzinfo=UTC)
        enrolled(found.lab.ledger, load_strategy(BASELINE), load_bars("COMP"), now=moment)
        contender = Contender.of_version(TradedVersion.load("COMP", "v1", desk.store), desk.store)
        history = desks.history(400 + desk.sets)
        known = replace(history, bars={key: until(each, moment) for key, each in history.bars.items()})
        enrol(
            found.lab.ledger, contender, known, DateRange(), FREE, name="version", family="NASDAQ", now=moment
        )
        return found

    def test_each_thing_that_it_reads_is_in_its_key(self, context: NightContext, desk: RetrainedDesk) -> None:
        ledger, seen = context.lab.ledger, [forward.ingredients(context, {})]

        def changed() -> bool:
            seen.append(forward.ingredients(context, {}))
            return seen[-1] != seen[-2]

        assert not changed()
        bars = load_bars("COMP", start="2009-05-01", end="2009-07-31")
        see(ledger, SeriesKey("COMP", DAILY), bars.rows(0, 40), now=NOW, source="file")
        assert changed(), "bars as first seen"
        see(ledger, SeriesKey("COMP", DAILY), bars.rows(0, 40), now=NOW, source="file")
        assert not changed(), "the same bars again"
        see(ledger, SeriesKey("ES", DAILY), replace(bars, symbol="ES"), now=NOW, source="file")
        assert not changed(), "bars that no candidate reads"
        first = context.candidates()[0]
        reason = ForwardEvent(kind=WITHDRAWN, session=date(2009, 7, 1), evidence=1.0, reason="enough")
        happened(ledger, first, [reason], now=NOW)
        assert changed(), "who waits"
        path = desk.store.folder / desk.store.manifest().entry("COMP", "v1").file
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert changed(), "the bundle of a version"
        path.write_bytes(content)
        assert forward.ingredients(context, {}) == seen[-2]
