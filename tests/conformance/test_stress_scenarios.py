"""Every kind of stress scenario: valid bars on the tick grid, nothing before its time, the same again.

A kind joins with an example in `EXAMPLES`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market.bars import BAR_COLUMNS
from lockstep.plugs import PlugSettings
from lockstep.settings import validated
from research.stress.changes import Stressed, StressWorld, on_ticks
from research.stress.plan import StressPlan
from research.stress.scenarios import SCENARIOS, Scenario
from support.portfolios import World, mixed_world
from support.stress import stress_world

CHOSEN = {"BTC-USD": ("1d", 150), "CL": ("1h", 500), "ES": ("1d", 150), "SPY": ("1h", 800)}
EXAMPLES: dict[str, dict[str, Any]] = {
    "replay": {"start": "2019-03-04", "end": "2019-03-08"},
    "gap": {"shock": -0.5, "at": "2019-03-05T15:00:00Z"},
    "path": {"shock": -0.5, "sessions": 3, "start": "2019-03-05"},
    "volatility": {"times": 3, "start": "2019-03-04"},
    "correlation": {},
    "slippage": {"times": 5},
}

every_kind = pytest.mark.parametrize("kind", list(SCENARIOS))


@functools.cache
def given() -> World:
    return mixed_world(1, CHOSEN)


@functools.cache
def world() -> StressWorld:
    return stress_world(given())


def scenario(kind: str, **more: Any) -> Scenario:
    plan = validated(
        StressPlan, {"scenarios": [{"kind": kind, **EXAMPLES[kind], **more}]}, where="scenarios.yml"
    )
    return plan.scenarios[0]


@functools.cache
def applied(kind: str) -> Stressed:
    return scenario(kind).apply(world())


def test_every_kind_has_an_example() -> None:
    assert set(EXAMPLES) == set(SCENARIOS)


@every_kind
def test_bars_stay_valid_and_prices_on_the_tick_grid(kind: str) -> None:
    """`Bars` checks the rest when it is made; stamps and volumes are those of the data."""
    stressed = applied(kind)
    assert stressed.members
    for symbol, member in stressed.members.items():
        for key, bars in member.history.bars.items():
            before = world().members[symbol].history.bars[key]
            tick = member.history.markets[key.symbol].instrument.tick_size
            assert (bars.end == before.end[: len(bars)]).all()
            assert (bars.volume == before.volume[: len(bars)]).all()
            for name in BAR_COLUMNS[:4]:
                prices = getattr(bars, name)
                np.testing.assert_allclose(prices, on_ticks(prices, tick), rtol=1e-12, err_msg=str(key))


@every_kind
def test_it_changes_something_and_leaves_the_world_alone(kind: str) -> None:
    hashes = [each.content_hash for each in given().history.bars.values()]
    stressed = scenario(kind).apply(world())
    assert [each.content_hash for each in given().history.bars.values()] == hashes
    assert (
        stressed.span != world().span
        or stressed.missing
        or any(
            each.history.bars[key].content_hash != bars.content_hash
            for symbol, each in stressed.members.items()
            for key, bars in world().members[symbol].history.bars.items()
        )
        or any(
            each.history.markets[symbol].instrument != world().market(symbol).instrument
            for symbol, each in stressed.members.items()
        )
    )


@every_kind
def test_equal_worlds_give_equal_bytes(kind: str) -> None:
    again = scenario(kind).apply(world())
    for symbol, member in applied(kind).members.items():
        for key, bars in member.history.bars.items():
            assert again.members[symbol].history.bars[key].content_hash == bars.content_hash


@every_kind
def test_other_symbols_keep_their_prices(kind: str) -> None:
    if kind == "replay":
        pytest.skip("trades dates, and changes no bar")
    stressed = scenario(kind, symbols=["ES", "SPY"]).apply(world())
    for key, bars in stressed.members["CL"].history.bars.items():
        before = world().members["CL"].history.bars[key]
        if key.symbol not in ("ES", "SPY"):
            assert (bars.close == before.close[: len(bars)]).all(), key


@every_kind
def test_nothing_before_its_time_is_touched(kind: str) -> None:
    """Bars of sessions before the first date that it names stay, to the bit."""
    own = scenario(kind)
    first = getattr(own, "start", None) or getattr(own, "at", None)
    if first is None:
        pytest.skip("names no date")
    edge = np.datetime64(str(first)[:10], "D")
    for symbol, member in applied(kind).members.items():
        for key, bars in member.history.bars.items():
            before = world().members[symbol].history.bars[key]
            rows = member.history.markets[key.symbol].session.dates(bars.end, bars.timeframe) < edge
            assert rows.any()
            for name in BAR_COLUMNS:
                assert (getattr(bars, name)[rows] == getattr(before, name)[: len(bars)][rows]).all()


@every_kind
def test_it_says_what_it_does_and_reads_back(kind: str) -> None:
    own = scenario(kind)
    assert own.title.strip()
    assert isinstance(own, PlugSettings)
    content = own.model_dump(mode="json")
    assert SCENARIOS[kind].model_validate(content) == own


@every_kind
def test_what_it_does_not_know_is_refused_with_the_nearest_name(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"scenarios\.yml.*symbls") as refusal:
        scenario(kind, symbls=["ES"])
    assert "symbols" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@every_kind
def test_an_unknown_instrument_is_refused_with_the_nearest_name(kind: str) -> None:
    with pytest.raises(ConfigError, match="ESS is not traded and not read; did you mean 'ES'"):
        scenario(kind, symbols=["ESS"]).require_known(world())
