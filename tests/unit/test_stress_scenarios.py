"""What each kind of scenario makes of prices, and one clear line for each that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError, NoBars
from lockstep.market.dates import DateRange
from lockstep.settings import validated
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.portfolio import PortfolioMember
from research.stress.changes import StressWorld, moved, on_ticks, scaled
from research.stress.plan import StressPlan, default_plan
from research.stress.scenarios import (
    CorrelationScenario,
    GapScenario,
    PathScenario,
    ReplayScenario,
    Scenario,
    SlippageScenario,
    VolatilityScenario,
)
from support.scenarios import CME, ES, daily_bars, history_of

COUNT = 40
SYMBOLS = ("CL", "ES")


def rows(seed: int, level: float = 100.0) -> Sequence[Sequence[float]]:
    random = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(random.normal(0.0, 0.01, COUNT)))
    opened = np.concatenate([[level], close[:-1]])
    prices = [opened, np.maximum(opened, close) + 1.0, np.minimum(opened, close) - 1.0, close]
    return on_ticks(np.column_stack(prices), 0.25).tolist()


def world(**levels: float) -> StressWorld:
    members = {}
    for place, (symbol, level) in enumerate(sorted((levels or {"CL": 60.0, "ES": 100.0}).items())):
        instrument = ES.model_copy(update={"symbol": symbol})
        history = history_of(daily_bars(rows(place, level), symbol=symbol), instrument, CME)
        members[symbol] = PortfolioMember(strategy=IbsConfig(name="dip"), history=history)
    return StressWorld(members=members, span=DateRange())


def closes(given: StressWorld, scenario: Scenario, symbol: str = "ES") -> np.ndarray:
    stressed = scenario.apply(given)
    return StressWorld(members=stressed.members, span=stressed.span).traded(symbol).close


def test_a_path_falls_by_equal_factors_and_stays_down() -> None:
    given = world()
    start, before = given.dates("ES")[10], given.traded("ES").close
    after = closes(given, PathScenario(shock=-0.5, sessions=4, start=start.item()))
    assert (after[:10] == before[:10]).all()
    expected = 0.5 ** (np.array([1, 2, 3, 4, 4, 4]) / 4)
    assert np.abs(after[10:16] / before[10:16] - expected).max() < 0.125 / 40
    assert np.abs(after[16:] - 0.5 * before[16:]).max() <= 0.125


def test_volatility_is_three_times_as_large_and_the_year_ends_where_it_ended() -> None:
    given = world()
    before, after = given.traded("ES").close, closes(given, VolatilityScenario(times=3))
    deviations = [np.diff(np.log(each)).std() for each in (before, after)]
    assert deviations[1] == pytest.approx(3 * deviations[0], rel=0.05)
    assert after[-1] == before[-1]
    # Control: once as large is what there was, but for rounding.
    assert np.abs(closes(given, VolatilityScenario(times=1)) - before).max() <= 0.125


def test_correlation_is_one_and_volatilities_stay() -> None:
    given = world(CL=6_000.0, ES=9_000.0)
    before = [np.diff(np.log(given.traded(each).close)) for each in SYMBOLS]
    assert abs(np.corrcoef(before)[0, 1]) < 0.6
    stressed = CorrelationScenario().apply(given)
    changed = StressWorld(members=stressed.members, span=stressed.span)
    after = [np.diff(np.log(changed.traded(each).close)) for each in SYMBOLS]
    assert np.corrcoef(after)[0, 1] > 0.9999
    for old, new in zip(before, after, strict=True):
        assert new.std() == pytest.approx(old.std(), rel=1e-3)
    # Within a session nothing changes: the close stays as far from the open.
    for symbol in SYMBOLS:
        old_bars, new_bars = given.traded(symbol), changed.traded(symbol)
        assert np.abs(new_bars.close / new_bars.open - old_bars.close / old_bars.open).max() < 1e-3


def test_slippage_is_multiplied_in_the_costs() -> None:
    given = world()
    stressed = SlippageScenario(times=5, symbols=("ES",)).apply(given)
    assert [each.history.markets[name].instrument.costs[2] for name, each in stressed.members.items()] == [
        0.25,
        1.25,
    ]


def test_a_replay_trades_its_dates_and_names_who_lacks_them() -> None:
    given = world()
    late = given.members["CL"]
    bars = {key: each.rows(20, COUNT) for key, each in late.history.bars.items()}
    given = replace(
        given, members={**given.members, "CL": replace(late, history=replace(late.history, bars=bars))}
    )
    days = given.dates("ES")
    stressed = ReplayScenario(start=days[5].item(), end=days[30].item()).apply(given)
    assert list(stressed.members) == ["ES"]
    assert stressed.missing["CL"].startswith(f"CL has no bars from {days[5]} to {days[30]}, only {days[20]}")
    assert (stressed.span.start, stressed.span.end) == (days[5].item(), days[30].item())
    with pytest.raises(NoBars, match=r"scenario old: CL has no bars from 1990.*; ES has no bars") as refusal:
        ReplayScenario(name="old", start="1990-01-02", end="1990-02-01").apply(given)
    assert "\n" not in str(refusal.value)
    # Control: both have the later dates.
    assert not ReplayScenario(start=days[25].item(), end=days[30].item()).apply(given).missing


def test_below_zero_a_fall_is_a_fall() -> None:
    assert moved(np.array([-10.0, 0.0, 10.0]), 0.5).tolist() == [-15.0, 0.0, 5.0]
    bars = daily_bars([(-1.0, 2.0, -3.0, 1.0)] * 3)
    market = history_of(bars).markets["ES"]
    fallen = scaled(bars, 0.5, market)
    assert (fallen.open[0], fallen.high[0], fallen.low[0], fallen.close[0]) == (-1.5, 1.0, -4.5, 0.5)
    with pytest.raises(DataError, match="below zero, where a rise of 100 % or more means nothing"):
        scaled(bars, 2.0, market)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"kind": "gap", "shock": -1.0}, "shock"),
        ({"kind": "gap", "shock": -1.5}, "shock"),
        ({"kind": "gap", "shock": 0.0}, "changes nothing"),
        ({"kind": "path", "shock": -1.0}, "shock"),
        ({"kind": "gapp", "shock": -0.5}, "did you mean 'gap'"),
        ({"shock": -0.5}, "needs a key 'kind'"),
        ({"kind": "gap", "shok": -0.5}, "shock"),
        ({"kind": "replay", "start": "2020-03-02", "end": "2020-02-01"}, "starts after it ends"),
        ({"kind": "volatility", "times": 3, "start": "2020-03-02", "end": "2020-02-01"}, "starts after"),
        ({"kind": "volatility", "times": 0}, "times"),
        ({"kind": "slippage", "times": -1}, "times"),
        ({"kind": "path", "shock": -0.5, "sessions": 0}, "sessions"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(content: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        validated(StressPlan, {"scenarios": [content]}, where="mine.yml")
    message = str(refusal.value)
    assert message.startswith("mine.yml")
    assert says in message
    assert "\n" not in message


def test_a_file_without_scenarios_or_with_two_of_one_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="scenarios"):
        validated(StressPlan, {"scenarios": []}, where="mine.yml")
    same = {"kind": "gap", "shock": -0.5}
    with pytest.raises(ConfigError, match="two are called 'gap -50%'"):
        validated(StressPlan, {"scenarios": [same, same]}, where="mine.yml")


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        (GapScenario(shock=-0.5), "tried at every open bar"),
        (PathScenario(shock=-0.5), "has no first session"),
        (PathScenario(shock=-0.5, start="2030-01-02"), "no lane has bars from 2030-01-02 on"),
        (GapScenario(shock=-0.5, at="2030-01-02T00:00:00Z"), "no lane has a bar from 2030-01-02"),
        (VolatilityScenario(times=3, start="2030-01-02"), "nothing from 2030-01-02"),
        (CorrelationScenario(symbols=("ES",)), "needs two lanes"),
    ],
)
def test_bars_that_are_not_there_are_one_line(scenario: Scenario, says: str) -> None:
    with pytest.raises((ConfigError, NoBars), match=says) as refusal:
        scenario.apply(world())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("scenario", [VolatilityScenario(times=3), CorrelationScenario()])
def test_logarithms_need_positive_prices(scenario: Scenario) -> None:
    with pytest.raises(DataError, match=r"needs positive prices, low -?\d.* leave CL out"):
        scenario.apply(world(CL=0.5, ES=100.0))


def test_the_scenarios_that_come_with_lockstep() -> None:
    kinds = [each.kind for each in default_plan().scenarios]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "replay": 7, "gap": 3, "path": 6, "volatility": 1, "correlation": 1, "slippage": 1,
    }  # fmt: skip
    assert default_plan().gate == 0.4
