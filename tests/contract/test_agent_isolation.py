"""A session's process holds no bar that will judge it: whoever looks for one gains not one ulp."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError
from lockstep.market import reach
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.rules import RulesConfig
from operations.agents.cli import app
from research.agents.database import FROZEN, AgentBook
from research.agents.plan import SessionPlan, plan_of
from research.agents.proposal import CatalogueEntry, ResearchContext
from research.ledger.first_seen import see, seen_bars
from research.sweep.run import sweep
from support.agent_cheats import told
from support.agent_sessions import NOON, book_in, settings_of

ROOT = Path(__file__).resolve().parents[2]
STRATEGIES = 10
START, END = date(2006, 1, 3), date(2014, 12, 31)
Found = list[list[Any]]
Made = Callable[[str], Found]


@pytest.fixture(scope="module")
def plan() -> SessionPlan:
    """The dates of the session."""
    return plan_of(settings_of(strategies=STRATEGIES, kinds={"technical": 0}, start=START, end=END))


@pytest.fixture(scope="module")
def made(plan: SessionPlan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Make a session by the command, in its process; what was proposed and found, to the last bit."""
    known: dict[str, Found] = {}

    def run(researcher: str) -> Found:
        if researcher not in known:
            folder = tmp_path_factory.mktemp("session")
            config = folder / "session.yml"
            config.write_text(f"least_trades: 5\noptions: {{until: '{plan.train.end}'}}\n")
            url = f"sqlite:///{folder / 'agents.db'}"
            words = (
                "session", "--researcher", f"support.agent_cheats:{researcher}", "--kinds", "technical",
                "--strategies", str(STRATEGIES), "--each", "0", "--start", str(START), "--end", str(END),
                "--config", str(config),
            )  # fmt: skip
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LOCKSTEP_DB", url)
                patch.chdir(folder)
                done = CliRunner().invoke(app, list(words), catch_exceptions=False)
            assert done.exit_code == 0, done.output
            book = AgentBook.open(url)
            (record,) = book.sessions()
            known[researcher] = [
                [each.trial.proposal.spec, repr(each.trial.measures), each.trial.proposal.rationale]
                for each in book.strategies(record.id)
            ]
            known[researcher].append([record.events[FROZEN]])
        return known[researcher]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        yield run


@pytest.mark.no_cover
@pytest.mark.parametrize("cheat", ["Snoop", "Thief"])
def test_who_looks_for_later_bars_gains_not_one_ulp(made: Made, cheat: str) -> None:
    found = made(cheat)
    assert found == made("Honest")
    assert len(found) == STRATEGIES + 1
    assert not any(str(rationale).startswith("saw") for *_, rationale in found)


def validation(plan: SessionPlan, found: Found) -> float:
    """Return the mean profit of all that was proposed, on validation dates."""
    history = load_history("COMP", start=plan.settings.start, end=plan.validation.end)
    configs = [
        RulesConfig(name=str(number), **spec) for number, (spec, *_) in enumerate(found[:-1])
    ]  # fmt: skip
    metrics = sweep(configs, history, "COMP", span=plan.validation, jobs=1).metrics
    return float(np.mean(metrics["net_profit"]))


@pytest.mark.no_cover
def test_without_the_cut_the_thief_gains(made: Made, plan: SessionPlan) -> None:
    """The planted fault: the same test would find it."""
    honest, found = made("Honest"), made("Burglar")
    assert all(str(rationale).startswith("saw") for *_, rationale in found[:-1])
    assert found != honest
    assert validation(plan, found) > validation(plan, honest)


def test_what_has_no_business_in_a_context_is_found() -> None:
    entry = CatalogueEntry(id="ibs", family="range", low=0, high=1, quantiles=(0.1,), document="bar strength")
    context = ResearchContext(goal="dips", number=1, left=1, seed=0, kinds={}, catalogue=(entry,))
    assert list(told(context)) == []
    late = replace(context, catalogue=(replace(entry, document="best since 2012-05-01"),))
    assert list(told(late)) == ["2012-05-01"]
    bars = load_bars("COMP", start="2018-12-03")
    assert list(told(replace(context, goal=bars))) != []  # type: ignore[arg-type]


class TestReach:
    """The cut itself, at every place where bars come from."""

    @pytest.fixture(autouse=True)
    def until(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reach, "UNTIL", date(2010, 6, 30))

    @pytest.mark.parametrize("symbol", ["COMP", "SPX"])
    def test_files(self, symbol: str) -> None:
        bars = load_bars(symbol)
        assert str(bars.end[-1].astype("M8[ns]").astype("M8[D]")) == "2010-06-30"

    def test_pairs_and_context(self) -> None:
        history = load_history("COMP")
        assert len(history.bars) == 2
        assert {str(each.end[-1].astype("M8[ns]").astype("M8[D]")) for each in history.bars.values()} == {
            "2010-06-30"
        }

    def test_bars_that_the_ledger_has_seen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:  # fmt: skip
        monkeypatch.setattr(reach, "UNTIL", None)
        key, book = SeriesKey("COMP", DAILY), book_in(tmp_path)
        bars = load_bars("COMP", start="2010-06-01", end="2010-07-30")
        see(book.ledger, key, bars, now=NOON, source="test")
        assert len(seen_bars(book.ledger, key)) == len(bars)
        monkeypatch.setattr(reach, "UNTIL", date(2010, 6, 30))
        assert len(seen_bars(book.ledger, key)) == len(load_bars("COMP", start="2010-06-01")) == 22

    def test_ticks(self) -> None:
        history = load_history("COMP", start="2010-06-01")
        session = history.markets["COMP"].session
        hours = np.array(["2010-06-29T15", "2010-06-30T15", "2010-07-01T15"], dtype="M8[ns]").astype("i8")
        ticks = Ticks(symbol="COMP", stamp=hours, price=np.ones(3), volume=np.ones(3))
        assert len(reach.reached_ticks(ticks, session)) == 2
        assert len(reach.reached_ticks(ticks, None)) == 1

    def test_a_date_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(reach.BARS_UNTIL, "june")
        with pytest.raises(ConfigError, match="LOCKSTEP_BARS_UNTIL='june': must be a date like 2024-01-31"):
            reach._declared()
