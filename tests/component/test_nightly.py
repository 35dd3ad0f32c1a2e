"""A night from bars to its page: what it leaves, what it leaves out, and what a second start does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operations.nightly.night import NightMade, Nights
from research.experiments.service import searched
from research.pipeline.execution import Outcome, StepOutcome, digest_of
from support.nights import NOON, dump, nights


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
    assert "What nobody knows" in text


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
