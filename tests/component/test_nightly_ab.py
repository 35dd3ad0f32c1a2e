"""The step of a night that evaluates A/B tests: each session counted once, one broken test stops no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.strategy.family import load_strategy
from operations.ab.arms import StrategyCandidate
from operations.ab.tester import StrategyABTester
from operations.contenders import newest
from operations.nightly.steps import ab
from research.ledger.ledger import Ledger
from support.nights import NOON, nights

ROOT = Path(__file__).resolve().parents[2]
CREATED = datetime(2016, 1, 4, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger with a test of two strategies on COMP that was created in January 2016."""
    found = nights(tmp_path).ledger
    bars = load_bars("COMP")
    key = SeriesKey("COMP", bars.timeframe)
    known = History(bars={key: newest(bars, len(bars), CREATED)}, markets=load_instruments().markets)
    base = load_strategy(ROOT / "configs/strategies/ibs_baseline.yaml")
    arms = (base, base.replaced(name="three bars", max_bars=3))
    tester = StrategyABTester(ledger=found)
    tester.create_test(
        "variant", *(StrategyCandidate.of_strategy(each, "COMP", origin="file.yaml") for each in arms), known,
        now=CREATED, insist=True, difference=1.0,
    )  # fmt: skip
    return found


def step(folder: Path, out: Path, *, now: datetime = NOON) -> tuple[str, Any]:
    """Do the step; returns its sentence and what it left."""
    out.mkdir()
    said = ab.work(nights(folder, now=now).context, {}, out)
    return said, json.loads((out / "ab.json").read_text())


def test_sessions_are_counted_once_whichever_night_asks(ledger: Ledger, tmp_path: Path) -> None:
    said, first = step(tmp_path, tmp_path / "a", now=datetime(2017, 1, 5, 12, tzinfo=UTC))
    assert said == "1 A/B tests, 1 of them running"
    assert first["troubles"] == []
    (test,) = first["tests"]
    # From 5 January 2016, the session after that of the creation, to 4 January 2017.
    assert (test["name"], test["symbol"], test["sessions"]) == ("variant", "COMP", 253)
    assert test["low"] < test["mean"] < test["high"]
    assert step(tmp_path, tmp_path / "b", now=datetime(2017, 1, 5, 13, tzinfo=UTC))[1] == first
    later = step(tmp_path, tmp_path / "c", now=datetime(2017, 1, 6, 12, tzinfo=UTC))[1]
    assert later["tests"][0]["sessions"] == 254


def test_a_test_that_is_created_changes_the_key_and_one_that_ends_does_not(
    ledger: Ledger, tmp_path: Path
) -> None:
    context = nights(tmp_path).context
    before = ab.ingredients(context, {})
    StrategyABTester(ledger=ledger).stop_test("variant", reason="tried enough", now=NOON)
    assert ab.ingredients(context, {}) == before
    assert ab.ingredients(nights(tmp_path / "other").context, {}) != before
    assert step(tmp_path, tmp_path / "a")[0] == "1 A/B tests, 0 of them running"


def test_what_cannot_be_evaluated_is_one_line(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.errors import ExperimentError

    def refuse(self: object, name: str, *, now: datetime) -> None:
        raise ExperimentError(f"{name}: is not what it was")

    monkeypatch.setattr(StrategyABTester, "evaluate_test", refuse)
    _, left = step(tmp_path, tmp_path / "a")
    assert left["troubles"] == ["A/B test variant: variant: is not what it was"]
