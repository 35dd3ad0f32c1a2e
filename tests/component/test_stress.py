"""`lockstep stress`: scenarios through a portfolio and a single strategy, the gate, files, refusals."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError, DataError, EngineMismatch, LockstepError, NoBars
from lockstep.market.dates import DateRange
from lockstep.portfolio.config import PortfolioConfig
from lockstep.settings import validated
from research.backtest.portfolio import run_portfolio
from research.backtest.run import COMPILED
from research.report.section import Section
from research.risk.section import RISK_PARTS
from research.stress import command
from research.stress.gaps import GapScan
from research.stress.page import STRESS_SECTIONS, stress_cards, stress_page
from research.stress.plan import StressPlan
from research.stress.report import save_stress, stress_content, stress_lines
from research.stress.risk_part import StressPart
from research.stress.run import StressResult, run_stress
from support.pages import Page
from support.portfolios import BOOK, World, portfolio_of, world
from support.sections import require_readable, require_same_again
from support.stress import stress_world

CHOSEN = {"ES": ("1d", 90), "NQ": ("1d", 90)}
SCENARIOS: list[dict[str, Any]] = [
    {"kind": "replay", "name": "spring", "start": "2019-03-04", "end": "2019-04-05"},
    {"kind": "gap", "shock": -0.2},
    {"kind": "gap", "shock": -0.6},
    {"kind": "path", "shock": -0.5, "sessions": 3},
    {"kind": "correlation"},
    {"kind": "slippage", "times": 5},
]


@functools.cache
def given() -> World:
    return world(2, CHOSEN, stop={"percent": 3.0})


def plan(*scenarios: dict[str, Any], **more: Any) -> StressPlan:
    return validated(StressPlan, {"scenarios": list(scenarios) or SCENARIOS, "worst": 2, **more}, where="x")


def portfolio(**changes: Any) -> PortfolioConfig:
    return portfolio_of(given(), capital=2_000_000.0, **changes)


@functools.cache
def found() -> StressResult:
    return run_stress(portfolio(), stress_world(given()).members, BOOK, plan=plan())


@functools.cache
def held() -> StressResult:
    """Return a stress test of an account that is large enough."""
    return run_stress(large(), stress_world(given()).members, BOOK, plan=plan())


def large() -> PortfolioConfig:
    lanes = [
        {"symbol": "ES", "strategy": "x.yaml", "units": 2},
        {"symbol": "NQ", "strategy": "x.yaml", "weight": 0.01},
    ]
    return portfolio_of(given(), capital=100_000_000.0, lanes=lanes, limits={"max_positions": 1})


def test_each_scenario_is_the_backtest_of_its_bars() -> None:
    """Drawdown and profit are those of `run_portfolio` over what the scenario makes of the world."""
    plain = run_portfolio(portfolio(), stress_world(given()).members, BOOK, engine=COMPILED)
    assert found().base.drawdown == plain.max_drawdown
    for row in found().rows:
        assert row.scenario is not None
        stressed = row.scenario.apply(stress_world(given()))
        other = run_portfolio(portfolio(), stressed.members, BOOK, span=stressed.span, engine=COMPILED)
        assert (row.drawdown, row.net_profit) == (other.max_drawdown, other.net_profit), row.scenario.title


def test_a_path_begins_where_a_gap_of_its_shock_does_most_harm() -> None:
    path = next(each for each in found().rows if each.scenario and each.scenario.kind == "path")
    scan = found().scan
    assert [each.shock for each in scan.gaps] == [-0.2, -0.6, -0.5]
    assert found().reported == 2
    worst = scan.worst(2, 1)[0]
    assert path.when == str(np.datetime64(int(scan.days[worst]), "D"))


def test_the_gate_fails_and_the_largest_size_stays_under_it() -> None:
    result = found()
    assert not result.passes
    size = result.size
    assert size is not None
    members = {symbol: each for symbol, each in stress_world(given()).members.items()
               if symbol in size.config.symbols}  # fmt: skip
    again = run_stress(size.config, members, BOOK, plan=plan(*[each for each in SCENARIOS
                       if each["kind"] != "correlation" or len(members) > 1]))  # fmt: skip
    assert again.passes
    assert again.worst < 0.4
    lines = stress_lines(result)
    assert any("the largest size under 40% is" in each for each in lines)
    assert lines[-1].startswith("drawn: FAILED: worst drawdown")


def test_a_large_account_passes() -> None:
    assert held().passes
    assert held().size is None
    assert "PASSED" in stress_lines(held())[-1]
    assert "the present sizes stay under 40% in every scenario" in stress_lines(held())[0]


def test_a_gate_of_ones_own_decides() -> None:
    strict = run_stress(held().config, stress_world(given()).members, BOOK, plan=plan(), gate=1e-6)
    assert not strict.passes
    assert strict.plan.gate == 1e-6
    assert strict.size is None
    assert "no size stays under" in stress_lines(strict)[0]


def test_the_worst_ran_again_in_cerebro() -> None:
    result = found()
    assert len(result.gaps_in_cerebro) == 2
    assert all(k == 1 for k, _ in result.gaps_in_cerebro)
    ranked = sorted(result.rows, key=lambda each: -each.drawdown)
    assert [each.in_cerebro for each in ranked] == [True, True, False, False]


def test_a_loop_that_is_wrong_by_a_cent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = found().scan
    assert isinstance(scan, GapScan)
    wrong = replace(scan, falls=scan.falls + 0.01)
    monkeypatch.setattr("research.stress.gaps.GapGround.scan", lambda *_: wrong)
    with pytest.raises(EngineMismatch, match=r"deepest fall .* in the stress loop") as refusal:
        run_stress(portfolio(), stress_world(given()).members, BOOK, plan=plan())
    assert "\n" not in str(refusal.value)


def test_the_files_are_whole_and_the_same_again(tmp_path: Path) -> None:
    folder = save_stress(found(), tmp_path / "a")
    other = save_stress(found(), tmp_path / "b")
    assert sorted(each.name for each in folder.iterdir()) == ["stress.html", "stress.json"]
    for name in ("stress.html", "stress.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    content = json.loads((folder / "stress.json").read_text())
    assert content == json.loads(json.dumps(stress_content(found())))
    assert content["schema_version"] == 1
    assert content["passes"] is False
    assert content["worst_drawdown"] == found().worst
    assert [each["scenario"] for each in content["gaps"]] == ["gap -20%", "gap -60%"]
    assert StressPlan.model_validate(content["plan"]) == found().plan


@pytest.mark.parametrize("which", [found, held])
@pytest.mark.parametrize("section", STRESS_SECTIONS.values(), ids=lambda section: section.name)
def test_a_section_is_readable_and_the_same_again(section: Section[StressResult], which: Any) -> None:
    require_readable(section, which())
    require_same_again(section, which())


def test_the_page_shows_the_gate_and_every_scenario() -> None:
    seen = Page(stress_page(found(), library="plotly.js"))
    for word in ("failed", "spring", "correlation 1", "slippage x 5", "over the gate"):
        assert word in seen.text, word
    assert len(seen.figures) == 2
    assert "−20%" in seen.text


def test_a_lane_without_the_dates_of_a_replay_is_named_and_the_others_trade() -> None:
    members = dict(stress_world(given()).members)
    member = members["NQ"]
    late = {
        key: each.rows(60, 90) if key.symbol == "NQ" else each for key, each in member.history.bars.items()
    }
    members["NQ"] = replace(member, history=replace(member.history, bars=late))
    result = run_stress(portfolio(), members, BOOK, plan=plan(SCENARIOS[0], SCENARIOS[1]))
    (replay,) = result.rows
    assert list(replay.missing) == ["NQ"]
    assert replay.drawdown >= 0.0
    assert any("NQ has no bars from 2019-03-04 to 2019-04-05" in each for each in stress_lines(result))


def test_of_a_file_a_replay_without_bars_is_refused_and_of_the_defaults_it_is_named() -> None:
    members = stress_world(given()).members
    old = {"kind": "replay", "start": "2008-01-02", "end": "2008-12-31"}
    with pytest.raises(NoBars, match="has no bars from 2008-01-02 to 2008-12-31"):
        run_stress(portfolio(), members, BOOK, plan=plan(old, SCENARIOS[1]))
    usual = run_stress(large(), members, BOOK)
    dotcom = next(each for each in usual.rows if each.scenario and "dot-com" in each.scenario.title)
    assert "no bars" in dotcom.refused
    assert np.isnan(dotcom.drawdown)
    assert usual.passes


def test_a_portfolio_that_holds_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="holds nothing at any bar"):
        run_stress(portfolio(limits={"max_gross": 1e-9}), stress_world(given()).members, BOOK, plan=plan())


def test_an_unknown_instrument_of_a_scenario_is_refused() -> None:
    wrong = {"kind": "gap", "shock": -0.5, "symbols": ["NQQ"]}
    with pytest.raises(ConfigError, match="NQQ is not traded and not read; did you mean 'NQ'"):
        run_stress(portfolio(), stress_world(given()).members, BOOK, plan=plan(wrong))


def stressed(*arguments: str, **files: str) -> Any:
    return CliRunner().invoke(command.app, [*arguments], env={"COLUMNS": "120"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give --portfolio FILE, or --symbol"),
        (("--portfolio", "p.yml", "--symbol", "COMP"), "give --portfolio FILE, or --symbol"),
        (("--portfolio", "p.yml", "--version", "v1"), "drop --strategy or --version"),
        (("--symbol", "COMP", "--strategy", "a.yml", "--version", "v1"), "brings its own"),
        (("--symbol", "COMP", "--gate", "1.5"), "must be a fraction of the capital"),
        (("--symbol", "COMP", "--scenarios", "nowhere.yml"), "nowhere.yml"),
        (("--symbol", "COMP", "--start", "soon"), "soon"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = stressed(*arguments, "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, LockstepError), done.output
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_single_strategy_is_a_portfolio_of_one_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path}/ledger.db")
    scenarios = tmp_path / "mine.yml"
    scenarios.write_text("worst: 1\nscenarios:\n  - {kind: gap, shock: -0.5}\n")
    arguments = [
        "--symbol", "COMP", "--strategy", "configs/strategies/ibs_baseline.yaml", "--start", "2008-01-02",
        "--end", "2008-12-31", "--scenarios", str(scenarios), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = stressed(*arguments)
    (folder,) = (tmp_path / "out").iterdir()
    content = json.loads((folder / "stress.json").read_text())
    assert done.exit_code == (0 if content["passes"] else command.FAILED), done.output
    assert content["gaps"][0]["open_bars"] > 20
    assert "equal to the bit" in done.output
    strict = stressed(*arguments, "--gate", "0.000001")
    assert strict.exit_code == command.FAILED
    assert "FAILED" in strict.output


def test_dates_that_are_not_traded_are_not_replayed() -> None:
    spring = SCENARIOS[0]
    with pytest.raises(NoBars, match="has no bars from 2019-03-04 to 2019-04-05, only 2019-03-11"):
        run_stress(
            portfolio(), stress_world(given()).members, BOOK, plan=plan(spring),
            span=DateRange.of("2019-03-11", "2019-04-30"),
        )  # fmt: skip


def test_the_risk_page_has_the_same_numbers() -> None:
    """The part of a portfolio's run, over its dates; a desk, which has no run, has no part."""
    span = DateRange.of("2019-02-01", "2019-04-30")
    members = stress_world(given()).members
    ran = run_portfolio(portfolio(), members, BOOK, span=span, engine=COMPILED)
    part = StressPart().measure(SimpleNamespace(run=ran, members=members))  # type: ignore[arg-type]
    assert part is not None
    own = run_stress(portfolio(), members, BOOK, span=span)
    assert part.content == stress_content(own)
    assert part.content["history"]["drawdown"] == ran.max_drawdown
    assert part.failed == (not own.passes)
    assert list(part.cards) == stress_cards(own)
    assert StressPart().measure(SimpleNamespace(run=None, members=None)) is None  # type: ignore[arg-type]
    assert RISK_PARTS["stress"].name == StressPart.name


def test_the_module_names_its_steps() -> None:
    steps: list[str] = []
    run_stress(portfolio(), stress_world(given()).members, BOOK, plan=plan(), on_step=steps.append)
    assert steps[0] == "the history as it was"
    assert steps[-1] == "the largest size that stays under the gate"


def test_an_ensemble_is_stressed_as_a_whole() -> None:
    """Its worst gaps are those of Cerebro, and a smaller size leaves every member whole contracts."""
    drawn = world(4, dict.fromkeys(("ES#a", "ES#b", "NQ"), ("1d", 90)), stop={"percent": 3.0})
    config = portfolio_of(drawn, capital=2_000_000.0)
    result = run_stress(config, stress_world(drawn).members, BOOK, plan=plan(gate=0.2))
    assert len(result.gaps_in_cerebro) == 2
    assert all(row.in_cerebro for row in sorted(result.rows, key=lambda row: -row.drawdown)[:1])
    assert not result.passes
    assert result.size is not None
    smaller = {each.symbol: each for each in result.size.config.lanes}
    if "ES" in smaller:
        units = smaller["ES"].units
        assert units is not None
        assert units % 2 == 0
    # Control: one of the two instruments alone, so that symbols reach the members of an ensemble.
    one = run_stress(
        config, stress_world(drawn).members, BOOK,
        plan=plan({"kind": "gap", "shock": -0.5, "symbols": ["ES"]}, gate=0.2),
    )  # fmt: skip
    assert one.scan.falls.shape == result.scan.falls[:1].shape
    assert np.nanmax(one.scan.falls) > 0.0
