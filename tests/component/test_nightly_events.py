"""By bars and nights alone: registrations become pilots, one loses its edge, another falls too deep."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.models.evidence import FORWARD
from lockstep.models.store import ModelStore
from operations.contenders import Contender
from operations.nightly.night import NightHistory
from operations.watch import monitor
from research.ledger.candidates import ENDINGS, ForwardCandidate, candidates, sessions_of
from research.ledger.ledger import Ledger
from research.pipeline.effects import NightEffects
from research.pipeline.execution import Outcome, StepOutcome, digest_of
from support.nights import dump
from support.planted_nights import END, FIRST, PILOT, planted_night, released
from support.retraining import alarmed_desk, moved
from support.watching import WatchedDesk

LATER = "2014-07-17"
"""A night on the way from the promotions to the ends."""


@dataclass
class World:
    """A folder in which nights are made, the same for all that begin with one of its copies.

    before   copies of the folder as the night of a session found it; reports: of each night
    """

    place: Path
    before: dict[str, Path]
    reports: dict[str, Any]
    left: dict[str, Any]

    def made(self, day: str) -> None:
        """Let a night begin with what it found, and make it."""
        shutil.rmtree(self.place)
        shutil.copytree(self.before[day], self.place)

    def candidates(self) -> dict[str, ForwardCandidate]:
        ledger = planted_night(self.place, END).ledger
        return {
            each.name.split("_")[1] if "_" in each.name else each.name: each for each in candidates(ledger)
        }


def remaining(place: Path) -> tuple[Any, ...]:
    """Return the rows of the ledger, the folders of steps and the log, without times and locks."""
    for path in (*place.rglob("*.lock"), *place.rglob("running.txt")):
        path.unlink()
    manifest = (
        json.loads((place / "store" / "manifest.json").read_text()) if (place / "store").is_dir() else {}
    )
    kinds = [each["action"] for each in manifest.get("history", [])]
    log = (place / "STRATEGY_LOG.md").read_text()
    return dump(place / "experiments.db"), digest_of(place / "results" / "steps"), log, kinds


def night(place: Path, day: str) -> tuple[Any, list[StepOutcome]]:
    heard: list[StepOutcome] = []
    planted_night(place, day).make(heard.append)
    folder = next(each.folder for each in heard if each.name == "report")
    assert folder is not None
    return json.loads((folder / "report.json").read_text()), heard


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("planted")
    place, found = base / "night", World(base / "night", {}, {}, {})
    place.mkdir()
    for day in (FIRST, PILOT, LATER, END):
        if day == PILOT:
            released(place, planted_night(place, FIRST).ledger)
        found.before[day] = base / day
        shutil.copytree(place, found.before[day])
        found.reports[day], _ = night(place, day)
        found.left[day] = remaining(place)
    shutil.copytree(place, base / "end")
    found.before["end"] = base / "end"
    return found


@pytest.fixture
def over(world: World) -> World:
    """The world when all of its nights are over."""
    world.made("end")
    return world


def test_what_became_of_each_is_decided_by_its_bars(over: World) -> None:
    found = over.candidates()
    kinds = {name: [each.kind for each in one.events] for name, one in found.items()}
    assert kinds == {"ES": ["pilot", "retired"], "NQ": ["pilot", "risk"], "version": ["pilot", "risk"]}
    assert found["ES"].searched == found["NQ"].searched == "declared"
    words = {one.name: [each["kind"] for each in over.reports[PILOT]["events"]] for one in found.values()}
    assert set(map(tuple, words.values())) == {("pilot", "pilot", "pilot")}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("ES", "pilot", r"the evidence \d+\.\d reached 6\.0 in session \d+"),
        ("ES", "retired", "its edge is lost: such a run without loss of edge comes once in ten years"),
        ("NQ", "risk", r"its drawdown exceeds \d+\.\d deviations, the 1 % band of its registration"),
        ("version", "risk", r"its drawdown exceeds \d+\.\d deviations, the 1 % band of its registration"),
    ],
)
def test_an_event_has_its_evidence_its_sentence_its_line_and_its_page(
    over: World, name: str, kind: str, said: str
) -> None:
    candidate = over.candidates()[name]
    event = candidate.event(kind)
    assert event is not None
    assert re.fullmatch(said, event.reason)
    rows = [
        (day, each)
        for day, report in over.reports.items()
        for each in report["events"]
        if (each["name"], each["kind"]) == (candidate.name, kind)
    ]
    ((day, row),) = rows
    assert row["evidence"] == event.evidence
    assert row["sentence"] == f"{event.session} {candidate.name} {kind}: {event.reason}"
    line = f"- {event.session} {candidate.name} {kind}: {event.reason} (evidence {event.evidence:.2f})"
    assert (over.place / "STRATEGY_LOG.md").read_text().count(line) == 1
    page = (over.place / "results" / f"night-{day}.html").read_text()
    assert row["sentence"] in page
    told = [each for each in NightEffects(ledger=ledger_of(over), now=None).all() if each.kind == "message"]  # type: ignore[arg-type]
    assert [each.content["sentence"] for each in told].count(row["sentence"]) == 1
    assert candidate.name in history(over).sentence(day)


def ledger_of(world: World) -> Ledger:
    return planted_night(world.place, END).ledger


def history(world: World) -> NightHistory:
    found = planted_night(world.place, END)
    return NightHistory(config=found.config, ledger=found.ledger, recorded=tuple(found.nights.events()))


def test_the_session_of_an_event_is_the_first_that_reaches_its_threshold(over: World) -> None:
    """From raw rows, by other arithmetic than the product's."""
    with closing(sqlite3.connect(over.place / "experiments.db")) as connection:
        found = connection.execute(
            "SELECT c.name, c.weight, c.e_history, e.session FROM candidate c JOIN candidate_event e"
            " ON e.candidate_id = c.id WHERE e.kind = 'pilot'"
        ).fetchall()
        for name, weight, history, session in found:
            rows = connection.execute(
                "SELECT f.session, f.residual FROM forward f JOIN candidate c ON c.id = f.candidate_id"
                " WHERE c.name = ? ORDER BY f.session", (name,),
            ).fetchall()  # fmt: skip
            wealth, reached = [1.0] * 7, ""
            for day, residual in rows:
                bets = (0.01, 0.02, 0.04, 0.06, 0.09, 0.12, 0.15)
                wealth = [own * max(1 + bet * residual, 0) for own, bet in zip(wealth, bets, strict=True)]
                if not reached and history * sum(wealth) / 7 >= 1 / (2.0 * weight):
                    reached = day
            assert reached == session, name
    assert len(found) == 3


def test_what_the_market_earned_is_taken_off_in_the_unit_of_the_registration(over: World) -> None:
    """Bars as first seen do not say that rolls moved them; their candidate does."""
    candidate = over.candidates()["NQ"]
    assert candidate.content["points"] is True
    contender = Contender.of_candidate(candidate)
    book = load_instruments()
    history = load_history(
        "NQ",
        over.place / "futures_daily",
        timeframe=contender.config.bars,
        context=contender.keys(book),
        book=book,
    )
    dates, residuals = sessions_of(ledger_of(over), candidate)
    span = DateRange.of(str(dates[0]), str(dates[-1]))
    run = replace(contender, points=None).run(history, span)
    assert np.array_equal((run.returns - candidate.beta * run.market) / candidate.sigma, residuals)
    # As a fraction, next to nothing of the market would be taken off: drift would be evidence.
    wrong = replace(contender, points=False).run(history, span)
    assert np.abs((wrong.returns - candidate.beta * wrong.market) / candidate.sigma - residuals).max() > 4


def test_the_store_of_a_version_has_its_forward_evidence(over: World) -> None:
    entry = ModelStore(over.place / "store").manifest().entry("NQ", "v1")
    attached = [each for each in entry.evidence if each.kind == FORWARD]
    assert [each.passed for each in attached] == [True, False]
    assert [each.hashes["candidate"] for each in attached] == ["version", "version"]
    assert attached[0].counts["full"] == 0


def test_what_has_ended_is_scored_and_told_of_no_more(over: World) -> None:
    report, _ = night(over.place, "2014-07-25")
    assert report["events"] == []
    assert report["candidates"] == []
    assert not any(each.event(kind) is None for each in over.candidates().values() for kind in ("pilot",))
    assert all(
        sum(each.event(kind) is not None for kind in ENDINGS) == 1 for each in over.candidates().values()
    )


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(place: Path, day: str, kind: str, subject: str, *, after: bool) -> None:
    """Make a night in a fork that dies at an effect whose row is there, `after` it happened or before."""
    child = os.fork()
    if not child:
        begun, done = NightEffects._begun, NightEffects._done
        current: list[str] = []

        def begin(self: NightEffects, night: str, its: str, about: str, *rest: Any, **named: Any) -> str:
            key = begun(self, night, its, about, *rest, **named)
            if its == kind and subject in about:
                current.append(key)
                if not after:
                    die()
            return key

        def end(self: NightEffects, key: str, outcome: str) -> None:
            if key in current:
                die()
            done(self, key, outcome)

        NightEffects._begun, NightEffects._done = begin, end  # type: ignore[method-assign]
        planted_night(place, day).make()
        os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"nothing of kind {kind} and subject {subject} was begun"


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("day", "kind", "subject", "after"),
    [
        (FIRST, "register", " ES", True),
        (PILOT, "event", "ES_0", True),
        (PILOT, "attach", "version pilot", True),
        (END, "event", "retired", True),
        (LATER, "event", "NQ_0", False),
    ],
    ids=lambda each: str(each).strip(),
)
def test_a_night_that_dies_at_an_effect_ends_as_one_that_does_not(
    world: World, day: str, kind: str, subject: str, after: bool
) -> None:
    world.made(day)
    killed_at(world.place, day, kind, subject, after=after)
    night(world.place, day)
    rows, steps, log, store = remaining(world.place)
    wanted = world.left[day]
    assert [name for name in rows if rows[name] != wanted[0][name]] == []
    assert (steps, log) == wanted[1:3]
    # Evidence may stand twice in a store, with the same content: what counts is the newest.
    assert store == (wanted[3] if kind != "attach" else [*wanted[3], "attach"])


@pytest.mark.no_cover
@pytest.mark.parametrize("after", [True, False])
def test_a_message_at_which_a_night_died_is_the_only_difference_it_leaves(world: World, after: bool) -> None:
    world.made(PILOT)
    killed_at(world.place, PILOT, "message", "ES_0", after=after)
    report, _ = night(world.place, PILOT)
    rows, wanted = remaining(world.place)[0], world.left[PILOT][0]
    different = {name for name in rows if rows[name] != wanted[name]}
    assert different == {"effect_done", "night", "link"}
    changed = [row for row in rows["night"] if row not in wanted["night"]]
    assert {row[3] for row in changed} == {"report"}
    assert len(wanted["effect_done"]) - len(rows["effect_done"]) == 1
    (line,) = report["unknown"]
    assert re.match(
        r"message of planted_ES_0_\w+ pilot, night 2014-07-14: nobody knows whether log took it", line
    )


def test_the_work_of_a_night_that_was_never_completed_is_on_the_page_of_the_next(world: World) -> None:
    """An end that a night wrote down before it died: its message, its line and its row are the next one's."""
    world.made(END)
    killed_at(world.place, END, "event", "retired", after=True)
    report, _ = night(world.place, "2014-07-25")
    (event,) = report["events"]
    assert event["kind"] == "retired"
    assert (world.place / "STRATEGY_LOG.md").read_text().count(event["sentence"]) == 1
    found = NightEffects(ledger=ledger_of(world), now=None)  # type: ignore[arg-type]
    told = [each for each in found.all() if each.content.get("sentence") == event["sentence"]]
    assert [each.outcome for each in told] == ["done"]


class TestBadFilesWithADesk:
    """A vendor's file, and the bars of the desk, cost the evidence of no other market."""

    @pytest.fixture
    def desk(self, world: World, tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
        found = moved(alarmed_desk(tmp_path_factory), world.place.parent / "desk")
        # Its monitor last passed in another year than these nights are made in.
        found.database.unlink()
        return found

    @pytest.mark.parametrize("fault", ["half-written", "shrunken"])
    def test_the_other_market_is_scored_and_decided(
        self, world: World, desk: WatchedDesk, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.made(PILOT)
        made = planted_night(world.place, PILOT, monitoring=str(desk.config))
        path = world.place / "futures_daily" / "ES_bt.csv"
        whole = path.read_text()
        shrunken = "\n".join(whole.splitlines()[:-30]) + "\n"
        path.write_text(whole[:-30] if fault == "half-written" else shrunken)
        heard: list[StepOutcome] = []
        with monkeypatch.context() as patched:
            patched.setattr(monitor, "settled_bars", unreadable)
            troubles = made.make(heard.append).troubles
        assert {each.outcome for each in heard} <= {Outcome.DONE}
        said = {each.name: each.sentence for each in heard}
        assert said["outcomes"].endswith("the monitor could not go on")
        assert any("COMP.csv:7: half of a line" in line for line in troubles)
        assert any(line.startswith("ES") or "ES_bt.csv" in line for line in troubles)
        kinds = {name: [each.kind for each in one.events] for name, one in world.candidates().items()}
        assert kinds == {"ES": [], "NQ": ["pilot"], "version": ["pilot"]}
        path.write_text(whole)
        again = planted_night(world.place, PILOT, monitoring=str(desk.config))
        assert not any("COMP.csv" in line for line in again.make().troubles)
        for table in ("forward", "candidate_event"):
            rows = dump(world.place / "experiments.db")[table]
            assert sorted(row[1:] for row in rows) == sorted(row[1:] for row in world.left[PILOT][0][table])


def unreadable(*_: Any) -> Any:
    raise DataError("COMP.csv:7: half of a line; fetch it again")
