"""A night from bars to its page: what it leaves, what a second start does, kills, clocks, missed nights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lockstep.market.config import load_instruments
from lockstep.market.loader import load_bars
from operations.nightly.context import NightContext
from operations.nightly.night import NightMade, Nights
from operations.nightly.pipeline import STEPS
from operations.nightly.steps import register
from operations.nightly.world import newest_session
from research.experiments.execution import Lab
from research.experiments.service import searched
from research.ledger.candidates import candidates
from research.pipeline.execution import Outcome, StepOutcome, digest_of
from research.pipeline.graph import Inputs
from support.agent_sessions import plan_by_hand
from support.nights import NOON, bars_until, dump, ideas, nights, space, write_bars


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[Nights, NightMade, list[StepOutcome]]:
    heard: list[StepOutcome] = []
    found = nights(folder)
    return found, found.make(heard.append), heard


def report_of(made: NightMade, heard: list[StepOutcome]) -> Any:
    place = next(each.folder for each in heard if each.name == "report")
    assert place is not None
    return json.loads((place / "report.json").read_text())


def test_a_night_goes_from_bars_to_its_page(first: tuple[Nights, NightMade, list[StepOutcome]]) -> None:
    _, made, heard = first
    assert made.night == "2018-12-31"
    assert {each.outcome for each in heard} == {Outcome.DONE}
    report = report_of(made, heard)
    assert [each["variants"] for each in report["spaces"]] == [40]
    assert len(report["winners"]) == 1
    assert report["events"] == []
    assert report["sentence"].startswith("nothing promoted: dips_COMP_0_")
    text = made.page.read_text()
    assert "nothing promoted: dips_COMP_0_" in text
    assert "Not delivered, or not known to be done" in text


def test_a_search_of_a_night_is_declared_within_its_space(
    first: tuple[Nights, NightMade, list[StepOutcome]], folder: Path
) -> None:
    context = first[0].context
    found = searched(context.lab, context.lab.store.record(1))
    assert found.declared
    assert found.reason.startswith("within 120 variants that were declared before any result on NASDAQ100")
    assert found.unevaluated == 80


def test_a_second_start_has_nothing_new_and_makes_no_step(
    first: tuple[Nights, NightMade, list[StepOutcome]], folder: Path
) -> None:
    before, rows = digest_of(folder / "results"), dump(folder / "experiments.db")
    again = nights(folder)
    assert again.nothing_new == "2018-12-31"
    heard: list[StepOutcome] = []
    again.make(heard.append)
    assert {each.outcome for each in heard} == {Outcome.KEPT}
    assert digest_of(folder / "results") == before
    assert dump(folder / "experiments.db") == rows


def test_a_rehearsal_writes_nothing(first: tuple[Nights, NightMade, list[StepOutcome]], folder: Path) -> None:
    changed = nights(folder, registrations={"days_between": 5})
    before = digest_of(folder)
    found = {each.name: each.outcome for each in changed.rehearse()}
    assert digest_of(folder) == before
    assert found["verify"] is Outcome.KEPT
    assert found["register"] is found["report"] is Outcome.WOULD
    assert NOON == changed.now()


TINY = space(
    parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6,
    split={
        "train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"],
        "holdout": ["2013-01-02", "2013-12-31"],
    },
)  # fmt: skip
ALWAYS = {"registrations": {"least_history": 0.0, "least_trades": 0}}


# The clock of New York shows 01:30 twice on 4 November 2018, and never 02:30 on 11 March.
@pytest.mark.parametrize(
    ("moment", "night"),
    [
        ("2018-11-04T05:30", "2018-11-02"),
        ("2018-11-04T06:30", "2018-11-02"),
        ("2018-03-11T06:59", "2018-03-09"),
        ("2018-03-11T07:00", "2018-03-09"),
        ("2018-03-12T19:59", "2018-03-09"),
        ("2018-03-12T20:00", "2018-03-12"),
        ("2018-11-05T20:59", "2018-11-02"),
        ("2018-11-05T21:00", "2018-11-05"),
    ],
)
def test_a_night_is_named_by_its_session_whatever_clocks_show(moment: str, night: str) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert newest_session(load_bars("COMP"), load_instruments().session("COMP"), now) == night


def grown(folder: Path, day: str) -> None:
    write_bars(folder / "futures_daily", bars_until(day), "NQ")


def of_futures(folder: Path, day: str, hour: int = 12, **changes: Any) -> Nights:
    """Return the nights of a folder with the bars of NQ, on the day after a session."""
    now = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, hours=hour)
    content = {
        "symbols": ["NQ"], "data_dir": str(folder / "futures_daily"), "spaces": [TINY], **ALWAYS,
        "accepted": ["off_grid"],
    }  # fmt: skip
    return nights(folder, now=now, **{**content, **changes})


def test_a_winner_of_few_trades_is_not_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(tmp_path, "2014-10-31")
    rules = {"least_history": 0.0, "least_trades": 10_000}
    # What its history is worth decides nothing: it is not worked out.
    monkeypatch.setattr(register, "of_experiment", None)
    heard: list[StepOutcome] = []
    made = of_futures(tmp_path, "2014-10-31", registrations=rules)
    report = report_of(made.make(heard.append), heard)
    assert candidates(made.ledger) == []
    assert "trades on its test dates, and 10,000 are the least" in report["sentence"]
    assert report["sentence"].endswith("its history was not weighed")


def test_an_hour_that_comes_twice_is_one_night(tmp_path: Path) -> None:
    grown(tmp_path, "2014-10-31")
    for hour in (29, 30):
        made = of_futures(tmp_path, "2014-10-31", hour)
        if hour == 29:
            assert made.make().night == "2014-10-31"
        assert made.nothing_new == ("2014-10-31" if hour == 30 else "")
    assert len(candidates(made.ledger)) == 1
    assert len(made.context.effects.all()) == 2


def test_one_night_catches_up_on_those_that_were_missed(tmp_path: Path) -> None:
    """The same evidence, to the bit, as if every night had been made."""
    every, once = tmp_path / "every", tmp_path / "once"
    grown(every, "2014-06-30")
    of_futures(every, "2014-06-30").make()
    shutil.copytree(every, once)
    days = ("2014-07-01", "2014-07-02", "2014-07-03")
    for day in days:
        grown(every, day)
        of_futures(every, day).make()
    grown(once, days[-1])
    of_futures(once, days[-1]).make()
    left = {folder: dump(folder / "experiments.db") for folder in (every, once)}
    for rows in left.values():
        # Who saw a bar is a path.
        rows["first_seen"] = [row[:-1] for row in rows["first_seen"]]
    for table in ("candidate", "first_seen", "forward", "candidate_event"):
        assert left[every][table] == left[once][table], table
    assert len(left[once]["forward"]) == 2
    assert len(left[once]["candidate"]) == 1
    assert len(left[once]["night"]) < len(left[every]["night"])


def test_a_space_is_walked_through_once_and_then_left(tmp_path: Path) -> None:
    small = {**TINY, "per_night": 8}
    seen: list[int] = []
    for day, count in (("2014-06-30", 8), ("2014-07-01", 4), ("2014-07-02", 0)):
        grown(tmp_path, day)
        heard: list[StepOutcome] = []
        made = of_futures(tmp_path, day, spaces=[small])
        report = report_of(made.make(heard.append), heard)
        assert [each["variants"] for each in report["spaces"]] == [count]
    for record in made.context.lab.store.records():
        seen += record.plan.numbers
    assert sorted(seen) == list(range(12))
    assert "every space is used up: nothing is searched" in [each.sentence for each in heard]


def changed(folder: Path, **changes: Any) -> NightContext:
    return nights(folder, **changes).context


def other_bars(context: NightContext) -> NightContext:
    found = context.world.symbols["COMP"]
    symbols = {"COMP": replace(found, files={**found.files, "another.csv": "0"})}
    return replace(context, world=replace(context.world, symbols=symbols, digest="other"))


def other_experiments(read: Inputs, folder: Path) -> Inputs:
    place = folder / "other"
    place.mkdir(exist_ok=True)
    (place / "sweep.json").write_text(json.dumps({"experiments": [{"name": "another", "experiment": 1}]}))
    return {**read, "sweep": place}


def other_sessions(read: Inputs, folder: Path) -> Inputs:
    place = folder / "sessions"
    place.mkdir(exist_ok=True)
    named = {
        "space": "ideas",
        "symbol": "COMP",
        "number": 0,
        "of": 1,
        "plan": plan_by_hand().model_dump_json(),
    }
    (place / "candidates.json").write_text(json.dumps({"sessions": [named]}))
    return {**read, "candidates": place}


CHANGES: Mapping[str, Mapping[str, Callable[[NightContext, Path], NightContext]]] = {
    "ingest": {
        "bars": lambda context, folder: other_bars(context),
        "night": lambda context, folder: replace(context, night="2019-01-02"),
        "journal": lambda context, folder: changed(folder, journal=str(folder / "paper.db")),
    },
    "quality": {"accepted": lambda context, folder: changed(folder, accepted=["flat"])},
    "features": {"space": lambda context, folder: changed(folder, spaces=[space(per_night=41)])},
    "outcomes": {"night": lambda context, folder: replace(context, night="2019-01-02")},
    "retrain": {"night": lambda context, folder: replace(context, night="2019-01-02")},
    "candidates": {
        "night": lambda context, folder: replace(context, night="2019-01-02"),
        "space": lambda context, folder: changed(folder, spaces=[space(seed=1)]),
        "split": lambda context, folder: changed(folder, spaces=[space(split=TINY["split"])]),
    },
    "gate": {"replays": lambda context, folder: changed(folder, spaces=[ideas(replays=29)])},
    "register": {
        "night": lambda context, folder: replace(context, night="2019-01-02"),
        "rules": lambda context, folder: changed(folder, registrations={"days_between": 3}),
        "space": lambda context, folder: changed(folder, spaces=[ideas(registers="forward")]),
    },
    "forward": {"night": lambda context, folder: replace(context, night="2019-01-02")},
    "decide": {
        "log": lambda context, folder: changed(folder, log=str(folder / "OTHER.md")),
        "night": lambda context, folder: replace(context, night="2019-01-02"),
    },
    "store": {
        "keep_nights": lambda context, folder: changed(folder, keep_nights=9),
        "spaces": lambda context, folder: changed(folder, spaces=[space("others")]),
    },
    "report": {"night": lambda context, folder: replace(context, night="2019-01-02")},
    "ab": {"night": lambda context, folder: replace(context, night="2019-01-02")},
}


@pytest.mark.parametrize("step", STEPS, ids=lambda each: each.name)
def test_what_a_step_reads_from_outside_is_in_its_key(
    step: Any, first: tuple[Nights, NightMade, list[StepOutcome]], folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    context = first[0].context
    read = {each.name: each.folder for each in first[2] if each.folder is not None}
    before = step.ingredients(context, read)
    assert step.ingredients(changed(folder), read) == before
    for what, change in CHANGES.get(step.name, {}).items():
        assert step.ingredients(change(context, folder), read) != before, what
    if step.name == "sweep":
        data = Lab.data
        monkeypatch.setattr(Lab, "data", lambda lab, plan, symbol: replace(data(lab, plan, symbol), hash="0"))
        assert step.ingredients(context, read) != before
    if step.name == "agents":
        assert step.ingredients(context, other_sessions(read, folder)) != before
    if step.name == "verify":
        assert step.ingredients(context, other_experiments(read, folder)) != before
    if step.name == "report":
        without = {name: place for name, place in read.items() if name != "sweep"}
        assert step.ingredients(context, without) != before
    assert step.name in CHANGES or step.name in ("sweep", "verify", "agents")
