"""`decide` and its gates, compiled and as Python source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lockstep.compiled import python_source
from lockstep.strategy import decision as d
from lockstep.strategy.config import ACCEPT_ALL
from lockstep.strategy.families.ibs import IbsConfig, decide
from support.scenarios import CME, NYSE

pytestmark = pytest.mark.uncompiled

OPEN = (1.0, 60.0, 0.0)
FLAT = (0.0, 0.0)


@pytest.fixture(params=["compiled", "source"])
def call(request: pytest.FixtureRequest) -> Callable[..., int]:
    function = decide if request.param == "compiled" else python_source(decide)

    def run(
        values: list[float],
        *,
        probability: float = d.PASS,
        clock: d.Clock = OPEN,
        holding: d.Holding = FLAT,
        threshold: float = ACCEPT_ALL,
        **settings: Any,
    ) -> int:
        config = IbsConfig.model_validate({"name": "t", **settings})
        session = CME if config.bars.is_session else NYSE
        arguments = (config.rules(session, threshold), config.filter_rules())
        return function(np.array(values), probability, clock, holding, *arguments)

    return run


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.0, d.ENTER_LONG), (0.2, d.ENTER_LONG), (np.nextafter(0.2, 1), d.NO_SIGNAL), (1.0, d.NO_SIGNAL)],
)
def test_entry_bounds_are_inclusive(call: Callable[..., int], value: float, code: int) -> None:
    assert call([value]) == code


def test_shorts_have_their_own_ranges(call: Callable[..., int]) -> None:
    assert call([0.9], direction="short") == d.ENTER_SHORT
    assert call([0.1], direction="short") == d.NO_SIGNAL
    assert call([0.1], direction="both") == d.ENTER_LONG
    assert call([0.9], direction="both") == d.ENTER_SHORT
    assert call([0.6], direction="short", short_entry=(0.5, 0.7)) == d.ENTER_SHORT


def test_exits(call: Callable[..., int]) -> None:
    assert call([0.8], holding=(1.0, 1.0)) == d.EXIT_SIGNAL
    assert call([0.5], holding=(1.0, 1.0)) == d.HOLD
    assert call([0.2], holding=(-1.0, 1.0)) == d.EXIT_SIGNAL
    assert call([0.5], holding=(-1.0, 1.0)) == d.HOLD
    assert call([0.5], holding=(1.0, 3.0), max_bars=3) == d.EXIT_MAX_BARS
    assert call([0.5], holding=(1.0, 2.0), max_bars=3) == d.HOLD
    assert call([0.5], holding=(1.0, 1.0), clock=(1.0, 60.0, 1.0)) == d.EXIT_SESSION


def test_a_missing_signal_blocks_entries_and_leaves_timed_exits(call: Callable[..., int]) -> None:
    assert call([math.nan]) == d.MISSING
    assert call([math.nan], holding=(1.0, 1.0)) == d.MISSING
    assert call([math.nan], holding=(1.0, 5.0), max_bars=5) == d.EXIT_MAX_BARS


def test_a_bar_outside_the_session_never_decides(call: Callable[..., int]) -> None:
    outside = (0.0, 60.0, 1.0)
    assert call([0.1], clock=outside) == d.OUTSIDE_SESSION
    assert call([0.9], clock=outside, holding=(1.0, 99.0), max_bars=1) == d.OUTSIDE_SESSION


def test_window_and_auto_close(call: Callable[..., int]) -> None:
    window = {"timeframe": "1h", "window": {"start": "10:00", "end": "15:00"}}
    assert call([0.1], clock=(1.0, 30.0, 0.0), **window) == d.ENTER_LONG
    assert call([0.1], clock=(1.0, 29.0, 0.0), **window) == d.OUTSIDE_WINDOW
    assert call([0.1], clock=(1.0, 330.0, 0.0), **window) == d.ENTER_LONG
    assert call([0.1], clock=(1.0, 331.0, 0.0), **window) == d.OUTSIDE_WINDOW
    assert call([0.1], clock=(1.0, 60.0, 1.0), **window) == d.AFTER_AUTO_CLOSE


FILTERS = [
    {"feature": "rsi_2", "max": 10.0},
    {"feature": "volume_pctile_20", "min": 0.3, "max": 0.7},
    {"feature": "rsi_14", "min": 50.0, "side": "long"},
]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([0.1, 10.0, 0.3, 50.0], d.ENTER_LONG),
        ([0.1, 10.1, 0.5, 60.0], d.FILTERED),
        ([0.1, 5.0, 0.71, 60.0], d.FILTERED + 1),
        ([0.1, 5.0, 0.5, 49.0], d.FILTERED + 2),
        ([0.9, 5.0, 0.5, 49.0], d.ENTER_SHORT),
        ([0.1, math.nan, 0.5, 60.0], d.MISSING + 1),
        ([0.1, 99.0, 0.5, math.nan], d.MISSING + 3),
    ],
)
def test_filters(call: Callable[..., int], values: list[float], code: int) -> None:
    assert call(values, filters=FILTERS, direction="both") == code


def test_a_value_that_only_the_model_reads_blocks_too(call: Callable[..., int]) -> None:
    assert call([0.1, math.nan]) == d.MISSING + 1


@pytest.mark.parametrize(
    ("probability", "code"),
    [(0.6, d.ENTER_LONG), (0.61, d.ENTER_LONG), (0.59, d.VETO), (math.nan, d.VETO)],
)
def test_veto(call: Callable[..., int], probability: float, code: int) -> None:
    assert call([0.1], probability=probability, threshold=0.6) == code


def test_every_code_has_a_name_and_a_kind() -> None:
    assert {d.kind_of(code) for code in d.NAMES} == {"entry", "exit", "hold", "no_trade"}
    assert d.kind_of(d.MISSING) == d.kind_of(d.FILTERED + 3) == "no_trade"
    assert len(set(d.NAMES.values())) == len(d.NAMES)
