"""What nights delete of older ones, and what none may ever delete: what was tried, registered, reported."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.nightly.context import REGISTERED
from operations.nightly.night import Nights, page_of
from operations.nightly.steps import store as deleting
from operations.nightly.steps.candidates import is_marked
from research.experiments.store import Store
from research.ledger.candidates import candidates
from research.ledger.first_seen import seen_bars
from research.pipeline.execution import place_of
from support.nights import bars_until, dump, nights, space, write_bars

DAYS = ("2014-06-27", "2014-06-30", "2014-07-01", "2014-07-02")
TINY = space(
    parameters={"entry.high": [0.1, 0.2, 0.3, 0.4], "max_bars": [3, 5, 8, 10]}, per_night=4,
    split={"train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"]},
)  # fmt: skip
KEPT = {"keep_nights": 2, "registrations": {"least_history": 0.0, "least_trades": 0}}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What there was after each of some nights: the numbers of experiments, and rows by table."""

    folder: Path
    nights: Nights
    experiments: list[list[int]]
    rows: list[dict[str, list[Any]]]


def night_of(folder: Path, day: str, **changes: Any) -> Nights:
    bars = bars_until(day)
    write_bars(folder / "futures_daily", bars.rows(len(bars) - 1_000, len(bars)), "NQ")
    now = datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time(), UTC)
    given = {
        "symbols": ["NQ"], "data_dir": str(folder / "futures_daily"), "spaces": [TINY], **KEPT,
        "accepted": ["off_grid"],
    }  # fmt: skip
    return nights(folder, now=now + timedelta(hours=12), **{**given, **changes})


def numbers(found: Nights) -> list[int]:
    return list(Store(found.ledger.database).names())


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Four nights of which two are kept; the first registers its winner, the others nobody's."""
    folder = tmp_path_factory.mktemp("deleted")
    experiments, rows = [], []
    for day in DAYS:
        found = night_of(folder, day)
        found.make()
        experiments.append(numbers(found))
        rows.append(dump(folder / "experiments.db"))
    return Kept(folder=folder, nights=found, experiments=experiments, rows=rows)


def test_runs_of_old_nights_go_and_those_of_a_registered_candidate_stay(lived: Kept) -> None:
    assert lived.experiments == [[1], [1, 2], [1, 2, 3], [1, 3, 4]]
    (registered,) = (each for each in lived.nights.context.effects.all() if each.kind == REGISTERED)
    assert registered.content["experiment"] == 1
    with_runs = {number: Store(lived.nights.ledger.database).record(number).done for number in (1, 3, 4)}
    assert with_runs == {1: 4, 3: 4, 4: 4}


def test_what_was_tried_stays_counted(lived: Kept) -> None:
    """Every table but those of the runs themselves is only added to."""
    whole = lived.rows[-1]
    for before in lived.rows[:-1]:
        for table in before:
            if table not in ("experiment", "run", "returns", "account", "sqlite_sequence", "genealogy"):
                assert all(row in whole[table] for row in before[table]), table
    of_runs = len(whole["run"])
    assert (of_runs, len(whole["ledger"])) == (12, 16 * len(lived.rows[0]["ledger"]) // 4)
    context = lived.nights.context
    assert candidates(lived.nights.ledger)[0].name.startswith("dips_NQ_0_")
    assert context.lab.store.failed(1) == 0


def test_a_candidate_of_a_deleted_night_is_still_scored(lived: Kept) -> None:
    """Nothing that its evidence needs is among what is deleted."""
    (candidate,) = candidates(lived.nights.ledger)
    assert len(lived.rows[-1]["forward"]) == 2
    from operations.contenders import Contender

    contender = Contender.of_candidate(candidate)
    for key in contender.keys(lived.nights.book):
        assert len(seen_bars(lived.nights.ledger, key)) > 252


def test_pages_and_their_json_stay_and_folders_of_old_nights_go(lived: Kept) -> None:
    config = lived.nights.config
    for day in DAYS:
        page = page_of(config, day)
        assert page.is_file()
        assert page.with_suffix(".json").is_file()
    used = {
        place_of(lived.nights.steps, each.step, each.key)
        for day in DAYS[-2:]
        for each in lived.nights.nights.events(day)
        if each.kind == "step"
    }
    assert {path for path in lived.nights.steps.glob("*/*") if path.is_dir()} == used


def test_a_page_that_was_not_put_in_its_place_is_put_there(lived: Kept, tmp_path: Path) -> None:
    """As after a kill between the last row and the page: neither `run` nor `resume` takes it for complete."""
    folder = lived.folder
    page = page_of(lived.nights.config, DAYS[-1])
    text = page.read_bytes()
    page.unlink()
    again = night_of(folder, DAYS[-1])
    assert not again.nothing_new
    assert not again.is_complete
    rows = dump(folder / "experiments.db")
    again.make()
    assert page.read_bytes() == text
    assert dump(folder / "experiments.db") == rows
    assert night_of(folder, DAYS[-1]).nothing_new == DAYS[-1]


def test_spaces_that_are_no_more_are_forgotten_and_what_others_made_is_not(
    lived: Kept, tmp_path: Path
) -> None:
    shutil.copytree(lived.folder, tmp_path / "copy")
    # The same name as a night gives, and a search of another kind; and a part that somebody calls otherwise.
    found = night_of(tmp_path / "copy", DAYS[-1], spaces=[{**TINY, "name": "others"}], keep_nights=1)
    store = found.context.lab.store
    plan = store.record(4).plan
    by_hand = found.context.lab.begin(plan.whole.model_copy(update={"name": "night dips NQ 9"}))
    named = found.context.lab.begin(plan.model_copy(update={"name": "mine"}))
    deleting._forget(found.context)
    assert numbers(found) == [1, by_hand, named]


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("night dips NQ 0", True), ("night dips NQ 12", True), ("night dips 6E 3", True),
        ("nightly dips NQ 0", False), ("night dips NQ", False), ("night dips NQ 0 again", False),
        ("a night dips NQ 0", False),
    ],
)  # fmt: skip
def test_names_of_nights_are_told_from_others(name: str, marked: bool) -> None:
    assert is_marked(name) is marked
