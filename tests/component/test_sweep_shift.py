"""Decisions moved against the bars: they really trade, on bars that stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.errors import NoBars
from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.matching import NO_FILL
from research.sweep import kernels as k
from research.sweep.inputs import Shift
from research.sweep.run import Trace, sweep, trace
from support.oracle import Oracle
from support.scenarios import daily_bars, history_of

SESSIONS, TICK = 400, 0.25
RULES: dict[str, Any] = {
    "direction": "long", "entry": (0.0, 0.25), "exit": (0.75, 1.0), "short_entry": (0.75, 1.0),
    "short_exit": (0.0, 0.2), "max_bars": 4,
}  # fmt: skip
STOP = 0.5

Ticks = list[tuple[int, int, int, int]]


def ticks() -> Ticks:
    draw, close, bars = np.random.default_rng(8), 4_000, []
    for _ in range(SESSIONS):
        opened = close + int(draw.integers(-12, 13))
        low, high = opened - int(draw.integers(0, 30)), opened + int(draw.integers(0, 30))
        close = low + round(float(draw.random()) * (high - low))
        bars.append((opened, high, low, close))
    return bars


BARS = ticks()
HISTORY = history_of(daily_bars((np.array(BARS) * TICK).tolist()))
# The shape of the baseline strategy: its loop is compiled for other tests too.
CONFIG = IbsConfig.model_validate({"name": "x", **RULES, "stop": {"percent": STOP}})


class MovedOracle(Oracle):
    """Decides by the bar that was `shift` sessions earlier, in a circle; trades the bars as they are."""

    shift = 0

    def decide(self, number: int, bar: tuple[int, int, int, int]) -> str | int | None:
        return super().decide(number, self.bars[(number - self.shift) % len(self.bars)])


def expected(shift: int) -> list[tuple[int, float, str]]:
    oracle = MovedOracle(BARS, {**RULES, "stop": STOP, "target": None})
    oracle.shift = shift
    fills = []
    for trade in oracle.run():
        fills.append((trade.entry_bar, trade.entry * TICK, "enter"))
        if trade.exit_bar is not None:
            assert trade.exit is not None
            fills.append((trade.exit_bar, trade.exit * TICK, trade.reason))
    return fills


def traded(found: Trace) -> list[tuple[int, float]]:
    return [(int(fill[k.FILL_BAR]), float(fill[k.FILL_PRICE])) for fill in found.fills]


@pytest.mark.no_cover
@pytest.mark.parametrize("shift", [0, 1, 150, SESSIONS - 1])
def test_trades_are_those_of_the_slow_oracle(shift: int) -> None:
    found = trace(CONFIG, HISTORY, "ES", shift=Shift(sessions=shift))
    wanted = expected(shift)
    assert traded(found) == [(bar, price) for bar, price, _ in wanted]
    stops = sum(reason == "stop" for *_, reason in wanted)
    assert stops == int((found.fills[:, k.FILL_KIND] != NO_FILL).sum()) > 10
    assert len(wanted) > 60
    swept = sweep([CONFIG], HISTORY, "ES", jobs=1, shift=Shift(sessions=shift))
    assert swept.metrics["net_profit"][0] == found.equity[-1] - CONFIG.capital


@pytest.mark.no_cover
def test_the_comparison_can_fail() -> None:
    """Negative control: other bars under the same decisions, as a shift of returns would have it."""
    found = trace(CONFIG, HISTORY, "ES", shift=Shift(sessions=150))
    assert traded(found) != [(bar, price) for bar, price, _ in expected(151)]
    assert traded(found) != traded(trace(CONFIG, HISTORY, "ES"))


def test_none_and_a_whole_circle_are_no_shift_bit_for_bit() -> None:
    configs = [CONFIG, CONFIG.replaced(entry=(0.0, 0.1)), CONFIG.replaced(max_bars=2)]
    plain = sweep(configs, HISTORY, "ES", jobs=1)
    for sessions in (0, SESSIONS, -SESSIONS):
        moved = sweep(configs, HISTORY, "ES", jobs=1, shift=Shift(sessions=sessions))
        assert moved.blocks.tobytes() == plain.blocks.tobytes()
        assert moved.sketch.tobytes() == plain.sketch.tobytes()
        for name, values in plain.metrics.items():
            assert moved.metrics[name].tobytes() == values.tobytes(), name


def test_the_circle_may_be_a_part_of_the_history() -> None:
    days = HISTORY.markets["ES"].session.dates(next(iter(HISTORY.bars.values())).end, CONFIG.bars)
    within = DateRange(start=days[100].item(), end=days[299].item())
    matrix = np.arange(400.0)[:, None]
    moved = Shift(sessions=30, within=within).moved(matrix, days)
    assert moved[:100, 0].tolist() == list(range(100))
    assert moved[300:, 0].tolist() == list(range(300, 400))
    assert moved[100:300, 0].tolist() == [*range(270, 300), *range(100, 270)]
    with pytest.raises(NoBars, match="a shift"):
        Shift(sessions=1, within=DateRange.of("1999-01-01", "1999-12-31")).moved(matrix, days)


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 7])
def test_sessions_of_unequal_length_match_bar_by_bar(shift: int) -> None:
    lengths = [4, 2, 4, 3, 1, 4, 4]
    days = np.repeat(np.arange("2024-01-01", "2024-01-08", dtype="M8[D]"), lengths)
    matrix = np.random.default_rng(1).random((len(days), 2))
    sessions = [matrix[days == day] for day in np.unique(days)]
    wanted = np.full_like(matrix, np.nan)
    row = 0
    for number, length in enumerate(lengths):
        for place in range(length):
            origin = sessions[(number - shift) % len(lengths)]
            if place < len(origin):
                wanted[row] = origin[place]
            row += 1
    moved = Shift(sessions=shift).moved(matrix, days)
    assert np.array_equal(moved, wanted, equal_nan=True)
    assert np.isnan(moved).any() == (shift % len(lengths) != 0)
