"""Cerebro and the compiled twin trade a portfolio alike: fills, equity, answers and states, to the bit."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market.bars import Stamps
from lockstep.market.dates import DateRange
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy.admission import REFUSALS
from lockstep.strategy.decision import EXIT_DAILY_LOSS, IN_SESSION, OUTSIDE_SESSION, VETO
from research.backtest.portfolio_engine import PortfolioRun
from research.backtest.records import POSITION, PortfolioRecords
from research.backtest.run import COMPILED
from research.sweep import portfolio_loop as twin
from research.sweep.portfolio import PortfolioGround, PortfolioTrace, sweep_portfolio, trace_portfolio
from support import portfolio_parity, portfolios
from support.portfolio_parity import (
    ground_of,
    in_cerebro,
    lane_difference,
    run_of,
    said_by_cerebro,
    said_by_twin,
)
from support.portfolios import BOOK, VOLATILITY, World, drawn_portfolio, mixed_world, portfolio_of

CHOICES = (
    {"BTC-USD": ("1d", 150), "CL": ("1h", 500), "ES": ("1d", 120), "SPY": ("1h", 800), "ZC": ("1d", 100)},
    {"ES": ("1h", 700), "GC": ("1h", 700), "NQ": ("1h", 600)},
    {"CL": ("1d", 200), "ES": ("1d", 200), "GC": ("1d", 200), "NQ": ("1d", 180), "SPY": ("1d", 200),
     "ZC": ("1d", 190), "BTC-USD": ("1d", 260)},
    {"BTC-USD": ("1h", 900), "SPY": ("1h", 900)},
)  # fmt: skip
ENSEMBLES = {
    "CL#fast": ("1h", 500), "CL#slow": ("1h", 500), "ES#a": ("1d", 120), "ES#b": ("1h", 600),
    "ES#c": ("1d", 120), "GC": ("1d", 100),
}  # fmt: skip
LANES, SEEDS = range(24), range(32)


@functools.cache
def world(seed: int) -> World:
    return mixed_world(seed, CHOICES[seed % len(CHOICES)] if seed in LANES else ENSEMBLES)


@functools.cache
def ground(seed: int) -> PortfolioGround:
    return ground_of(world(seed))


def drawn(seed: int) -> PortfolioConfig:
    """Return a portfolio of the world with this seed.

    Half of them leave everything after a small loss, others have limits of two lanes.
    """
    content = drawn_portfolio(world(seed), seed).model_dump()
    if seed // len(CHOICES) % 2 == 0:
        # The last of the choices holds little, and only a small loss comes while the market is closed.
        fraction = 0.00002 if seed % len(CHOICES) == 3 else 0.002
        content["limits"]["daily_loss"] = {"fraction": fraction, "flatten": True}
    elif seed % 2 == 0:
        content["lanes"][0]["max_contracts"] = 1.0
        content["lanes"][1]["weight_cap"] = 0.05
    return PortfolioConfig.model_validate(content)


@functools.cache
def run(seed: int) -> PortfolioRun:
    return run_of(world(seed), drawn(seed))


@functools.cache
def compiled(seed: int) -> PortfolioRecords:
    return run(seed).records(COMPILED)


@pytest.mark.parametrize("seed", SEEDS)
def test_both_engines_say_the_same(seed: int) -> None:
    """Fills, states and answers of the account; and everything that a lane writes down."""
    given, config = world(seed), drawn(seed)
    watched, recorders = in_cerebro(given, config)
    trace = trace_portfolio(ground(seed), config)
    expected, found = said_by_cerebro(watched, recorders), said_by_twin(ground(seed), trace, given)
    for part, content in expected.items():
        assert found[part] == content, part
    for symbol, recorder in recorders.items():
        assert lane_difference(run(seed), compiled(seed), symbol, recorder) == "", symbol


def test_what_is_drawn_happens() -> None:
    """Every rule refuses, both kinds of flattening and waits outside the session occur, models refuse."""
    happened: Counter[str] = Counter()
    for seed in SEEDS:
        given, on = world(seed), ground(seed)
        trace = trace_portfolio(on, drawn(seed))
        rule = trace.proposals[:, twin.P_RULE]
        happened.update(REFUSALS[int(each)] for each in rule[rule != rules.ADMITTED])
        happened["fills"] += len(trace.fills)
        happened["forced"] += int(trace.fills[:, twin.F_FORCED].sum())
        happened["smaller"] += int((trace.proposals[:, twin.P_SCALE] < 1.0).sum())
        for lane, symbol in enumerate(given.symbols):
            clock = given.lane(symbol).clock
            outside = [not clock.at(each)[IN_SESSION] for each in given.traded(symbol).end.tolist()]
            happened["outside"] += sum(outside)
            taken = on.table[on.base[lane] : on.base[lane] + len(outside)]
            waits = taken[(taken[:, 0] != 0.0) & (taken[:, 1] > np.arange(len(outside)) + 1)]
            happened["waits"] += len(waits)
            happened[f"fills of {given.configs[symbol].family}"] += int(
                (trace.fills[:, twin.F_LANE] == lane).sum()
            )
            codes = compiled(seed).lanes[symbol].codes
            happened["vetoes"] += int((codes == VETO).sum())
            # What must leave, and where that was decided at a later bar than the one of the set.
            left = codes == EXIT_DAILY_LOSS
            happened["left"] += int(left.sum())
            flattened = np.isin(given.traded(symbol).end, flattened_at(trace, on))
            happened["left later"] += int((left & ~flattened).sum())
            held = compiled(seed).lanes[symbol].marks[:, POSITION] != 0.0
            happened["closed"] += int((flattened & held & (codes == OUTSIDE_SESSION)).sum())
        happened[f"ranked by {drawn(seed).rank.by}"] += ranked_anew(trace)
    for rule in REFUSALS:
        assert happened[rule] > 0, (rule, happened)
    for what, least in MUST_HAPPEN.items():
        assert happened[what] >= least, (what, happened)


MUST_HAPPEN = {
    "fills": 2_000, "forced": 40, "smaller": 40, "outside": 500, "waits": 50, "fills of ibs": 800,
    "fills of rules": 800, "vetoes": 300, "left": 40, "left later": 5, "closed": 2, "ranked by listed": 10,
    "ranked by probability": 10, "ranked by score": 10,
}  # fmt: skip


def flattened_at(trace: PortfolioTrace, on: PortfolioGround) -> Stamps:
    """Return the ends of the sets that ended a day."""
    stopped, day = trace.states[:, rules.STOPPED], trace.states[:, rules.DAY]
    begins = np.diff(stopped, prepend=0.0) + np.diff(day, prepend=0.0)
    return on.stamps[(stopped > 0.0) & (begins > 0.0)]


def ranked_anew(trace: PortfolioTrace) -> int:
    """Return how many proposals come before one of a lane that is before theirs by symbol."""
    sets, lanes = trace.proposals[:, twin.P_SET], trace.proposals[:, twin.P_LANE]
    return int(((np.diff(sets) == 0.0) & (np.diff(lanes) < 0.0)).sum())


def test_a_sweep_is_many_traces() -> None:
    """Whatever the number of threads; days add up."""
    on, configs = ground(2), [drawn_portfolio(world(2), seed) for seed in range(40)]
    one, two = (sweep_portfolio(on, configs, jobs=jobs, keep_profits=True) for jobs in (1, 3))
    for name in ("net_profit", "max_drawdown", "fills", "stops", "halted", "refusals", "profits"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    for v, config in enumerate(configs):
        trace = trace_portfolio(on, config)
        equity = trace.states[:, rules.EQUITY]
        highest = np.maximum.accumulate(np.concatenate([[config.capital], equity]))[1:]
        assert one.net_profit[v] == equity[-1] - config.capital
        assert one.max_drawdown[v] == (highest - equity).max()
        assert one.fills[v] == len(trace.fills)
        assert one.profits[v].sum() == pytest.approx(one.net_profit[v], abs=1e-6)
        refused = trace.proposals[:, twin.P_RULE]
        assert one.refusals[v].sum() == (refused != rules.ADMITTED).sum()
    assert len(set(one.net_profit.tolist())) > 20


def test_a_range_of_dates_is_a_run_of_these_dates() -> None:
    given, span = world(2), DateRange.of("2019-05-01", "2019-08-30")
    config = drawn_portfolio(given, 3)
    on = PortfolioGround.of(
        given.configs, {each: given.history for each in given.symbols}, BOOK.session_named("CME"), span=span,
        vetoes=given.vetoes, volatility=VOLATILITY, score=given.score,
    )  # fmt: skip
    assert 50 < len(on.stamps) < len(ground(2).stamps)
    assert len(trace_portfolio(on, config).fills) > 10


@pytest.mark.uncompiled
def test_a_price_one_tick_away_is_seen() -> None:
    """Control: a twin whose entries are priced a tick away is not the same. As plain Python without specs."""
    given = portfolios.world(1, CHOICES[2])
    on, config = ground_of(given), drawn_portfolio(given, 1)
    watched, recorders = in_cerebro(given, config)
    expected = said_by_cerebro(watched, recorders)
    table = on.table.copy()
    table[:, 4] += 0.25
    found = said_by_twin(on, trace_portfolio(replace(on, table=table), config), given)
    assert said_by_twin(on, trace_portfolio(on, config), given) == expected
    assert found["trades"] != expected["trades"]
    assert found["states"] != expected["states"]


def test_another_portfolio_is_refused() -> None:
    given = world(1)
    other = portfolio_of(portfolios.world(1, {"ES": ("1h", 700), "GC": ("1h", 700)}))
    with pytest.raises(ConfigError, match="lanes ES, GC on a ground of ES, GC, NQ; prepare it for these"):
        trace_portfolio(ground(1), other)
    with pytest.raises(ConfigError, match="its days are those of NYSE, the ground's of CME"):
        trace_portfolio(ground(1), portfolio_of(given, day="NYSE"))
    bare = PortfolioGround.of(
        given.configs, {each: given.history for each in given.symbols}, BOOK.session_named("CME")
    )
    asking = portfolio_of(given, rank={"by": "score", "id": VOLATILITY})
    with pytest.raises(ConfigError, match=f"needs {VOLATILITY}, the ground holds none"):
        trace_portfolio(bare, asking)
    with pytest.raises(ConfigError, match=r"need rsi_2.*add it to the strategy's `features`"):
        PortfolioGround.of(
            given.configs, {each: given.history for each in given.symbols}, BOOK.session_named("CME"),
            score="rsi_2",
        )  # fmt: skip


def test_the_soak_names_the_engine_that_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small, and with an engine that is wrong, and one that cannot trade what it is asked."""
    found, good = portfolio_parity.soak(3, seed=1)
    assert good
    assert found["compared with Cerebro"] == {"compiled": 3, "live": 1}
    assert found["happened"]["admitted"] > 20
    monkeypatch.setitem(portfolio_parity.ENGINES, "wrong", lambda case: "states")
    monkeypatch.setitem(portfolio_parity.ENGINES, "absent", lambda case: None)
    found, good = portfolio_parity.soak(1, seed=1)
    assert not good
    assert found["parted"] == {"1000000, wrong": "states"}
    assert found["compared with Cerebro"] == {"absent": 0, "compiled": 1, "live": 0, "wrong": 1}
