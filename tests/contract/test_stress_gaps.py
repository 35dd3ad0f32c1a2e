"""A gap in one pass equals the whole run over the bars with the gap: to the bit, in both engines."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest

from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy.records import STOP, TARGET
from research.backtest.run import BACKTRADER, COMPILED
from research.stress.gaps import GapGround, GapScan
from support.portfolios import World, drawn_portfolio, mixed_world
from support.stress import GAPS, deepest_fall, gap_ground, stress_world, stressed_run

CHOICES = (
    {"BTC-USD": ("1d", 150), "CL": ("1h", 500), "ES": ("1d", 120), "SPY": ("1h", 800), "ZC": ("1d", 100)},
    {"ES": ("1h", 500), "GC": ("1h", 500), "NQ": ("1h", 450)},
    {"BTC-USD": ("1d", 200), "CL": ("1d", 160), "ES": ("1d", 160), "SPY": ("1d", 160)},
)  # fmt: skip
SEEDS = range(6)
EACH = 10


@functools.cache
def world(seed: int) -> World:
    return mixed_world(seed, CHOICES[seed % len(CHOICES)])


@functools.cache
def ground(seed: int) -> GapGround:
    return gap_ground(world(seed))


def drawn(seed: int) -> PortfolioConfig:
    """Return a portfolio of the world; every other one leaves everything after a small loss."""
    content = drawn_portfolio(world(seed), seed).model_dump()
    content["limits"]["drawdown"] = None
    if seed % 2:
        content["limits"]["daily_loss"] = {"fraction": 0.002, "flatten": True}
    return PortfolioConfig.model_validate(content)


@functools.cache
def scan(seed: int) -> GapScan:
    return ground(seed).scan(drawn(seed))


def tried(seed: int) -> list[tuple[int, int]]:
    """Return some (gap, set) by chance."""
    random, held = np.random.default_rng(seed), np.flatnonzero(scan(seed).is_open)
    sets = random.choice(held, size=EACH, replace=False)
    return [(int(random.integers(len(GAPS))), int(s)) for s in sets]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gap_is_the_whole_run_over_bars_with_the_gap(seed: int) -> None:
    """Equity after the gap, and the deepest fall: equal in the compiled engine at random sets."""
    found, config = scan(seed), drawn(seed)
    for k, s in tried(seed):
        gap = GAPS[k].on_set(int(found.stamps[s]))
        run = stressed_run(world(seed), config, gap.apply(stress_world(world(seed))))
        equity = run.records(COMPILED).marks.equity
        assert found.after[k, s] == equity[-1], (k, s)
        assert found.falls[k, s] == deepest_fall(config.capital, equity), (k, s)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_worst_five_are_equal_in_cerebro(seed: int) -> None:
    found, config = scan(seed), drawn(seed)
    for s in found.worst(1, 5):
        gap = GAPS[1].on_set(int(found.stamps[s]))
        run = stressed_run(world(seed), config, gap.apply(stress_world(world(seed))))
        equity = run.records(BACKTRADER).marks.equity
        assert found.after[1, s] == equity[-1], s
        assert found.falls[1, s] == deepest_fall(config.capital, equity), s


def test_what_a_gap_can_meet_is_met() -> None:
    """Stops and targets that are gapped through, exits and entries that wait, longs and shorts."""
    met: Counter[str] = Counter()
    for seed in SEEDS:
        given, config = world(seed), drawn(seed)
        for k, s in tried(seed):
            gap = GAPS[k].on_set(int(scan(seed).stamps[s]))
            stressed = gap.apply(stress_world(given))
            records = stressed_run(given, config, stressed).records(COMPILED)
            for symbol, lane in records.lanes.items():
                last = int(next(iter(stressed.members.values())).history.series(
                    stress_world(given).key(symbol)
                ).end[-1])  # fmt: skip
                for trade in lane.trades:
                    met["long" if trade.quantity > 0.0 else "short"] += 1
                    if trade.exit_stamp == last:
                        reason = trade.exit_reason
                        met[reason if reason in (STOP, TARGET) else "exit that waited"] += 1
                    elif trade.entry_stamp == last:
                        met["entry that waited"] += 1
                    elif not trade.exit_stamp:
                        met["held through"] += 1
    for what in (
        STOP, TARGET, "exit that waited", "entry that waited", "held through", "long", "short"
    ):  # fmt: skip
        assert met[what] > 0, (what, met)


def test_control_a_gap_differs_from_the_bars_as_they_were() -> None:
    """The comparison can fail: one tick more of a gap is another equity."""
    found = scan(2)
    assert (found.after[0, found.is_open] != found.after[1, found.is_open]).mean() > 0.9
    assert np.isnan(found.after[:, ~found.is_open]).all()
