"""The two evaluators of specs against tables written by hand, as the Python that they are compiled from.

One asks for a vector, the other for blocks of bars; nothing is compiled here, so that each planted fault is
found within seconds.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from lockstep.features.driver import drive_modifiers
from lockstep.market.config import load_instruments
from lockstep.settings import validated
from lockstep.strategy import decision as d
from lockstep.strategy.families import rules
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs.program import INSTRUCTION, holds
from research.sweep import signals
from support.interpreted import interpreted

SESSION = load_instruments().session("SPY")
NAN = math.nan
BELOW, AT, ABOVE = 0.25, 0.5, 0.75
FLAT, LONG, SHORT = (0.0, 0.0), (1.0, 1.0), (-1.0, 1.0)
OPEN = (1.0, 30.0, 0.0)

decide = interpreted(rules.decide)
is_true = interpreted(holds)


def spec(**content: Any) -> RulesConfig:
    content = {"name": "x", "family": "rules", "max_bars": 9, **content}
    return validated(RulesConfig, content, where="spec")


def decided(config: RulesConfig, values: list[float], holding: tuple[float, float] = FLAT) -> int:
    found: int = decide(np.array(values), d.PASS, OPEN, holding, config.rules(SESSION), config.filter_rules())
    return found


def entered(config: RulesConfig, *values: float) -> bool:
    return decided(config, list(values)) == d.ENTER_LONG


@pytest.mark.parametrize(
    ("relation", "constant", "true_of"),
    [
        ("below", 0.5, {BELOW}),
        ("at_most", 0.5, {BELOW, AT}),
        ("above", 0.5, {ABOVE}),
        ("at_least", 0.5, {AT, ABOVE}),
        ("equals", 0.5, {AT}),
        ("between", [0.25, 0.5], {BELOW, AT}),
        ("between", [0.5, 0.75], {AT, ABOVE}),
    ],
)
def test_a_comparison_and_its_opposite(relation: str, constant: Any, true_of: set[float]) -> None:
    said = {"id": "ibs", relation: constant}
    plain, negated = spec(long_entry=said), spec(long_entry={"not": said})
    for value in (BELOW, AT, ABOVE):
        assert entered(plain, value) == (value in true_of)
        assert entered(negated, value) == (value not in true_of)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("relation", ["below", "at_most", "above", "at_least", "equals", "between"])
def test_a_missing_value_satisfies_no_exit(relation: str, negated: bool) -> None:
    """Neither a comparison nor its opposite: an exit is judged by what is there."""
    said = {"id": "ibs", relation: [0.25, 0.5] if relation == "between" else 0.5}
    config = spec(long_entry={"id": "rsi_2", "below": 50}, long_exit={"not": said} if negated else said)
    assert config.feature_ids == ("ibs", "rsi_2")
    assert decided(config, [NAN, 10.0], LONG) == d.MISSING


@pytest.mark.parametrize(
    ("relation", "orders"),
    [("below", (-1,)), ("at_most", (-1, 0)), ("above", (1,)), ("at_least", (0, 1))],
)
@pytest.mark.parametrize("negated", [False, True])
def test_two_ids_are_compared_in_their_order(relation: str, orders: tuple[int, ...], negated: bool) -> None:
    said = {"id": "rsi_2", relation: "rsi_14"}
    config = spec(long_entry={"not": said} if negated else said)
    assert config.feature_ids == ("rsi_14", "rsi_2")
    for first, second in product((20.0, 30.0, 40.0), repeat=2):
        order = (first > second) - (first < second)
        assert entered(config, second, first) == ((order in orders) != negated)


def test_junctions() -> None:
    """All, any and their opposites, of three ids, in every combination."""
    low = [{"id": each, "below": 50} for each in ("rsi_14", "rsi_2", "rsi_5")]
    trees = {
        "all": ({"all": low}, lambda a, b, c: a and b and c),
        "any": ({"any": low}, lambda a, b, c: a or b or c),
        "not all": ({"not": {"all": low}}, lambda a, b, c: not (a and b and c)),
        "not any": ({"not": {"any": low}}, lambda a, b, c: not (a or b or c)),
        "nested": ({"any": [{"all": low[:2]}, {"not": low[2]}]}, lambda a, b, c: (a and b) or not c),
        "other": ({"all": [{"any": low[:2]}, low[2]]}, lambda a, b, c: (a or b) and c),
    }
    for name, (tree, wanted) in trees.items():
        config = spec(long_entry=tree)
        assert config.feature_ids == ("rsi_14", "rsi_2", "rsi_5")
        for said in product((True, False), repeat=3):
            values = [10.0 if each else 90.0 for each in said]
            assert entered(config, *values) == wanted(*said), (name, said)


def test_a_weight_keeps_its_sign() -> None:
    config = spec(
        long_entry={"id": "score", "above": 0.2},
        score=[{"id": "ibs", "weight": -1}, {"id": "volume_pctile_20", "weight": 0.5}],
    )
    assert config.feature_ids == ("ibs", "volume_pctile_20")
    assert entered(config, 0.1, 0.8)
    assert not entered(config, 0.8, 0.1)
    assert not entered(config, 0.2, 0.8)


BOTH = {
    "long_entry": {"id": "ibs", "below": 0.6},
    "short_entry": {"id": "ibs", "above": 0.4},
    "long_exit": {"id": "ibs", "above": 0.9},
    "short_exit": {"id": "ibs", "below": 0.1},
}


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.2, d.ENTER_LONG), (0.8, d.ENTER_SHORT), (0.5, d.AMBIGUOUS), (NAN, d.MISSING)],
)
def test_sides(value: float, code: int) -> None:
    """Both true at a bar is neither; a missing value is named, and is not a condition that does not hold."""
    assert decided(spec(**BOTH), [value]) == code


def test_each_side_has_its_exit() -> None:
    config = spec(**BOTH)
    assert decided(config, [0.95], LONG) == decided(config, [0.05], SHORT) == d.EXIT_SIGNAL
    assert decided(config, [0.05], LONG) == decided(config, [0.95], SHORT) == d.HOLD


@pytest.mark.parametrize(
    ("side", "value", "code"),
    [("long", 0.2, d.FILTERED), ("short", 0.8, d.FILTERED), ("long", 0.8, d.ENTER_SHORT)],
)
def test_a_filter_is_of_its_side(side: str, value: float, code: int) -> None:
    config = spec(**BOTH, filters=[{"feature": "rsi_2", "max": 50, "side": side}])
    assert config.feature_ids == ("ibs", "rsi_2")
    assert decided(config, [value, 60.0]) == code


def modified(values: list[float], rank: int, lag: int) -> list[float]:
    out = np.zeros(len(values))
    interpreted(drive_modifiers)(np.array(values), rank, lag, 0, len(values), out, 0)
    return [float(each) for each in out]


def test_lag_and_rank() -> None:
    """A rank counts the values before its own, ties half; a lag of one is the bar before."""
    same = pytest.approx
    assert modified([3.0, 1.0, 2.0, 2.0], 0, 1) == same([NAN, 3.0, 1.0, 2.0], nan_ok=True)
    assert modified([3.0, 1.0, 2.0, 2.0], 0, 2) == same([NAN, NAN, 3.0, 1.0], nan_ok=True)
    assert modified([3.0, 1.0, 2.0, 2.0], 2, 0) == same([NAN, NAN, 0.5, 0.75], nan_ok=True)
    assert modified([3.0, 1.0, 2.0, 9.0, 9.0], 2, 1) == same([NAN, NAN, NAN, 0.5, 1.0], nan_ok=True)
    assert modified([1.0, NAN, 2.0, 3.0], 1, 0) == same([NAN, NAN, NAN, 1.0], nan_ok=True)


# 17 words: a whole block, and one word of the next that is not full.
BARS = 16 * 64 + 37
DRAWN = (
    spec(
        long_entry={"any": [{"all": [{"id": "rsi_2", "below": 40}, {"id": "ibs", "above": 0.3}]},
                            {"not": {"id": "rsi_2", "between": [10, 80]}}]},
        long_exit={"id": "score", "above": 0.3},
        short_entry={"all": [{"id": "rsi_2", "above": "rsi_14"}, {"not": {"id": "ibs", "at_most": 0.4}}]},
        short_exit={"any": [{"id": "ibs", "below": 0.2}, {"id": "rsi_2", "at_most": "rsi_14"}]},
        score=[{"id": "ibs", "weight": 1}, {"id": "rsi_14", "weight": -0.01}],
        filters=[{"feature": "rsi_14", "max": 70, "side": "long"}],
        veto={"id": "ibs", "at_least": 0.05},
    ),
    spec(**BOTH, filters=[{"feature": "rsi_2", "min": 20}]),
)  # fmt: skip


def features_of(config: RulesConfig) -> np.ndarray:
    """Return drawn values, float64 (ids, bars of 17 words): some missing, NaN behind the last bar."""
    draw = np.random.default_rng(4)
    found = draw.integers(0, 11, (len(config.feature_ids), signals.words_of(BARS) * signals.WORD)) / 10.0
    found *= [[1.0 if each == "ibs" else 100.0] for each in config.feature_ids]
    found[draw.random(found.shape) < 0.04] = NAN
    found[:, BARS:] = NAN
    return found


def said_by_blocks(config: RulesConfig, features: np.ndarray) -> np.ndarray:
    """Return the signals of a spec, uint64 (5, words)."""
    own = np.array(config.rules(SESSION))
    found = np.zeros((1, signals.SIGNALS, signals.words_of(BARS)), dtype=np.uint64)
    interpreted(signals.evaluate_programs)(
        own, np.array([0, own.size]), np.array([interpreted(rules.program_bounds)(own)]),
        np.arange(len(features)), np.array([0, len(features)]), features, signals.present_of(features),
        np.empty((signals.WAITING, signals.BLOCK), np.uint64), np.zeros(signals.BLOCK * signals.WORD), found,
    )  # fmt: skip
    return found[0]


@pytest.mark.parametrize("config", DRAWN)
def test_blocks_say_what_the_vector_does(config: RulesConfig) -> None:
    features, own = features_of(config), np.array(config.rules(SESSION))
    bounds = interpreted(rules.program_bounds)(own)
    found, is_set = said_by_blocks(config, features), interpreted(signals.is_set)
    for number in range(signals.PROGRAMS):
        wanted = [is_true(features[:, i], own, bounds[number], bounds[number + 1]) for i in range(BARS)]
        assert not [i for i in range(BARS) if is_set(found[number], i) != wanted[i]]
        assert (bounds[number + 1] - bounds[number]) % INSTRUCTION == 0
        assert 20 < sum(wanted) < BARS - 20


@pytest.mark.parametrize("config", DRAWN)
def test_the_next_entry_is_the_one_that_the_decision_takes(config: RulesConfig) -> None:
    """With the vector of its own bar, whatever filters and a veto read there."""
    features, own = features_of(config), np.array(config.rules(SESSION))
    found = said_by_blocks(config, features)
    codes = [decided(config, features[:, i].tolist()) for i in range(BARS)]
    place = {d.ENTER_LONG: 0, d.ENTER_SHORT: BARS}
    assert {*place, d.FILTERED, d.MISSING} <= set(codes)
    entries = [i + place[code] for i, code in enumerate(codes) if code in place]
    columns = np.arange(len(features))
    at, met = 0, []
    while at < BARS:
        with np.errstate(over="ignore"):  # Whole numbers of 64 bits wrap round, and compiled ones are silent.
            entry = interpreted(signals.next_entry)(
                interpreted(rules.enter), True, found, own, np.array(config.filter_rules()), columns, columns,
                features, np.empty(0), np.empty((0, 3)), np.zeros(len(features)), at, BARS,
            )  # fmt: skip
        met.append(entry)
        at = entry % BARS + 1 if entry < 2 * BARS else BARS
    assert np.array_equal([each for each in met if each < 2 * BARS], entries)
