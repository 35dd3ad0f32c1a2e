"""What the hash of a behaviour sees: all that decides a trade, as `decide` has it, and no more."""

from __future__ import annotations

import itertools
import random
from datetime import date
from typing import Any

import numpy as np
import pytest

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.settings import validated
from lockstep.strategy import decision as d
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.families.rules import RulesConfig, decide
from research.sweep.behaviour import behaviours
from research.sweep.run import trace
from support import spec_identity, spellings
from support.markets import BOOK, HOURLY, random_bars, utc

SPAN = DateRange(start=date(2014, 3, 3), end=date(2014, 6, 30))


def daily() -> tuple[History, str]:
    return load_history("SPX", start="2013-06-03", end="2014-12-31"), "SPX"


def hourly() -> tuple[History, str]:
    """Hours of ES, every one of the day: some are out of session, and ids of NQ are missing on a third."""
    end = np.arange(utc("2014-01-02 00:00"), utc("2014-07-01 00:00"), 3_600_000_000_000)
    kept = np.random.default_rng(5).random(end.size) < 0.66
    bars = {
        SeriesKey("ES", HOURLY): random_bars(end, HOURLY, "ES", seed=1),
        SeriesKey("NQ", HOURLY): random_bars(end[kept], HOURLY, "NQ", seed=2),
    }
    markets = {name: BOOK.market(name) for name in ("ES", "NQ")}
    return History(bars=bars, markets=markets), "ES"


def spec(**content: Any) -> RulesConfig:
    return validated(RulesConfig, {"family": "rules", "name": "x", **content}, where="spec")


def shown(config: RulesConfig, history: History, symbol: str, span: DateRange) -> tuple[Any, ...]:
    """Return what a spec does at every bar of a range, from `decide`, and what else decides its trades."""
    key, market = SeriesKey(symbol, config.bars), history.markets[symbol]
    bars = history.series(key)
    plan = default_registry().plan(config.feature_ids, key)
    matrix = BatchFeatures(plan, history, max_age=config.max_age.limits).matrix
    clock = SessionClock(market.session, config.bars, config.auto_close).readings(bars.end)
    rules, filters = config.rules(market.session), config.filter_rules()
    rows = span.select(bars, market)
    seen = []
    for side in (0.0, 1.0, -1.0):
        codes = [
            decide(values, d.PASS, tuple(reading), (side, 1.0 if side else 0.0), rules, filters)
            for values, reading in zip(matrix[rows], clock[rows], strict=True)
        ]
        wanted = (d.EXIT_SIGNAL,) if side else (d.ENTER_LONG, d.ENTER_SHORT)
        seen.append(tuple(code if code in wanted else 0 for code in codes))
    flat, long, short = seen
    beside = (config.max_bars, config.stop, config.target, config.size, config.execution, config.auto_close)
    entered = (d.ENTER_LONG in flat, d.ENTER_SHORT in flat)
    return flat, long if entered[0] else (), short if entered[1] else (), str(beside)


def drawn(seed: int, timeframe: str, count: int) -> list[RulesConfig]:
    """Return specs, some of them in other words or with a change, so that many do the same."""
    rng, found = random.Random(seed), list[RulesConfig]()
    while len(found) < count:
        content = {**spellings.drawn(rng, comparisons=4, ids=3), "timeframe": timeframe}
        if rng.random() < 0.3 and timeframe != "1d":
            content |= rng.choice([
                {"window": {"start": "10:00", "end": "14:00"}}, {"auto_close": "15:00"},
            ])  # fmt: skip
        if rng.random() < 0.3 and timeframe != "1d":
            content["features"] = ["rsi_2@NQ"]
        for _ in range(4):
            if (config := spec_identity.spec(content)) is not None:
                found.append(config)
            change = spellings.reworded if rng.random() < 0.4 else spellings.altered
            content, _ = change(content, rng)
    return found[:count]


@pytest.mark.parametrize(("world", "timeframe"), [(daily, "1d"), (hourly, "1h")])
def test_equal_hashes_are_equal_deeds(world: Any, timeframe: str) -> None:
    history, symbol = world()
    configs = drawn(7, timeframe, 60)
    hashes = behaviours(configs, history, symbol, span=SPAN)
    assert hashes is not None
    deeds = [shown(config, history, symbol, SPAN) for config in configs]
    pairs = list(itertools.combinations(range(len(configs)), 2))
    same = [(one, other) for one, other in pairs if hashes[one] == hashes[other]]
    assert same == [(one, other) for one, other in pairs if deeds[one] == deeds[other]]
    assert 20 < len(same) < len(pairs) // 2, "of both kinds there are enough"
    alone = behaviours(configs[:1], history, symbol, span=SPAN)
    assert alone == hashes[:1], "whatever it is worked out beside"


def test_equal_hashes_are_equal_trades() -> None:
    history, symbol = daily()
    configs = drawn(11, "1d", 40)
    hashes = behaviours(configs, history, symbol, span=SPAN)
    assert hashes is not None
    of_hash: dict[str, list[RulesConfig]] = {}
    for name, config in zip(hashes, configs, strict=True):
        of_hash.setdefault(name, []).append(config)
    compared = 0
    for some in of_hash.values():
        traces = [trace(config, history, symbol, span=SPAN) for config in some]
        for other in traces[1:]:
            assert other.fills.tobytes() == traces[0].fills.tobytes()
            assert other.equity.tobytes() == traces[0].equity.tobytes()
            compared += len(other.fills) > 0
    assert compared > 5


DIP: dict[str, Any] = {"long_entry": {"id": "ibs", "below": 0.2}, "long_exit": {"id": "ibs", "above": 0.7}}


@pytest.mark.parametrize(
    "change",
    [
        {"max_bars": 3},
        {"stop": {"percent": 1.0}},
        {"target": {"atr": 2.0}},
        {"size": {"kind": "risk", "risk": 0.01}},
        {"capital": 50_000},
        {"execution": "close"},
        {"features": ["rsi_2@PAIR"]},
        {"long_exit": {"id": "ibs", "above": 0.75}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_a_trade_is_in_it(change: dict[str, Any]) -> None:
    history, symbol = daily()
    if "features" in change:
        # Never there, so that no entry is taken.
        change = {"features": ["ret_lag_250"]}
        history = load_history("SPX", start="2014-03-03", end="2014-12-31")
    one, other = spec(**DIP), spec(**{**DIP, **change})
    found = behaviours([one, other], history, symbol, span=SPAN)
    assert found is not None
    assert found[0] != found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"filters": [{"feature": "rsi_2", "min": 0}]},
        {"long_entry": {"id": "ibs*ibs", "below": 0.04}},
        {"short_entry": {"id": "ibs", "equals": 0.9999}, "short_exit": {"id": "ibs", "below": 0.5}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_nothing_there_is_not(change: dict[str, Any]) -> None:
    history, symbol = daily()
    found = behaviours([spec(**DIP), spec(**{**DIP, **change})], history, symbol, span=SPAN)
    assert found is not None
    assert found[0] == found[1]
