"""A session's process holds no bar that will judge it: whoever looks for one gains not one ulp."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market import reach
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.rules import RulesConfig
from research.agents.plan import SessionPlan, plan_of
from research.agents.proposal import CatalogueEntry, ResearchContext
from research.ledger.first_seen import see, seen_bars
from research.sweep.run import sweep
from support.agent_cheats import told
from support.agent_sessions import NOON, book_in, settings_of
from support.processes import python

ROOT = Path(__file__).resolve().parents[2]
STRATEGIES = 10
Made = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def plan() -> SessionPlan:
    return plan_of(
        settings_of(
            strategies=STRATEGIES, kinds={"technical": 0}, least_trades=5, start=date(2006, 1, 3),
            end=date(2014, 12, 31),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(plan: SessionPlan, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make the session in a process of its own, that sees bars until the end of training, or all."""
    known: dict[tuple[str, bool], dict[str, Any]] = {}

    def run(researcher: str, *, fault: bool = False) -> dict[str, Any]:
        if (researcher, fault) not in known:
            folder = tmp_path_factory.mktemp("session")
            (folder / "plan.json").write_text(plan.model_dump_json())
            environment = {
                **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", reach.BARS_UNTIL: str(plan.train.end),
            }  # fmt: skip
            program = ["-m", "support.agent_cheats", folder, researcher]
            if fault:
                # The cut that is declared, and enforced nowhere.
                code = (
                    "from lockstep.market import reach, reading; from lockstep.market.reading import files; "
                )
                code += "files.reached = lambda bars, session: bars; "
                code += "import sys; from support import agent_cheats; from pathlib import Path; "
                code += "print(agent_cheats.json.dumps(agent_cheats.main(Path(sys.argv[1]), sys.argv[2])))"
                program = ["-c", code, folder, researcher]
            done = python(*program, environment=environment)
            assert done.returncode == 0, done.stderr
            known[researcher, fault] = json.loads(done.stdout.splitlines()[-1])
        return known[researcher, fault]

    return run


@pytest.mark.no_cover
@pytest.mark.parametrize("cheat", ["snoop", "thief"])
def test_who_looks_for_later_bars_gains_nothing(made: Made, cheat: str) -> None:
    honest, found = made("honest"), made(cheat)
    assert found["seen"] == []
    assert found["found"] == honest["found"]
    assert found["frozen"] == honest["frozen"]
    assert len(found["found"]) == STRATEGIES


def validation(plan: SessionPlan, found: dict[str, Any]) -> float:
    """Return the mean profit of all that was proposed, on validation dates."""
    history = load_history("COMP", start=plan.settings.start, end=plan.validation.end)
    configs = [
        RulesConfig(name=str(number), **spec) for number, (spec, *_) in enumerate(found["found"])
    ]  # fmt: skip
    metrics = sweep(configs, history, "COMP", span=plan.validation, jobs=1).metrics
    return float(np.mean(metrics["net_profit"]))


@pytest.mark.no_cover
def test_without_the_cut_the_thief_gains(made: Made, plan: SessionPlan) -> None:
    """The planted fault: the same test would find it."""
    honest, found = made("honest"), made("thief", fault=True)
    assert found["seen"]
    assert found["found"] != honest["found"]
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
