"""Sweep and Backtrader: the same trades and the same equity at every bar, bit for bit, for random configs."""

from __future__ import annotations

import functools
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import context_keys, run_backtest
from research.statistics.maximum import SKETCH, sketch_of
from research.sweep.inputs import CalendarBlocks
from research.sweep.run import require_expressible, sweep, trace
from support.examples import examples
from support.sweep_equality import assert_equal, backtrader_fills, sweep_fills

BOOK = load_instruments()
HOURLY = Timeframe.parse("1h")
DAILY_BARS, HOURLY_BARS = 1_200, 4_000


def _trimmed(history: History, symbol: str, timeframe: Timeframe, count: int) -> History:
    key = next(each for each in history.bars if each == (symbol, timeframe))
    last = int(history.bars[key].end[:count][-1])

    def until(bars: Bars) -> Bars:
        return bars.rows(0, int(np.searchsorted(bars.end, last, side="right")))

    return replace(history, bars={each: until(bars) for each, bars in history.bars.items()})


@functools.cache
def history_of(symbol: str, shared: str) -> History:
    if symbol == "SPY":
        config = IbsConfig(name="x", timeframe="1h", features=("ibs@1d",))
        keys = context_keys(config, BOOK.markets, symbol)
        folder = Path(shared) / "equity_hourly"
        return _trimmed(
            load_history(symbol, folder, timeframe=HOURLY, context=keys), symbol, HOURLY, HOURLY_BARS
        )
    folder = Path(shared) / "futures_daily" if shared else None
    return _trimmed(load_history(symbol, folder, timeframe=DAILY), symbol, DAILY, DAILY_BARS)


OWN = {"feature": "rsi_2", "max": 60.0}
SHORT_ONLY = {"feature": "rsi_2", "min": 40.0, "side": "short"}
VOLUME = {"feature": "volume_pctile_20", "min": 0.2, "max": 0.9}
PRODUCT = {"feature": "ibs*rsi_2", "max": 30.0}
CALENDAR = {"feature": "day_of_week", "max": 3.0}
PAIR = {"feature": "pair_zscore_20", "min": -1.5, "max": 1.5}
DAILY_CONTEXT = {"feature": "ibs@1d", "min": 0.1}

# What a configuration uses decides which loop is compiled; its numbers are drawn.
DAILY_SHAPES: list[dict[str, Any]] = [
    {"direction": "long"},
    {"direction": "short", "max_bars": 1, "filters": [OWN]},
    {"direction": "both", "stop": 1, "max_bars": 1},
    {"direction": "both", "target": 1, "size": "risk", "filters": [SHORT_ONLY, VOLUME]},
    {"direction": "both", "stop": 1, "target": 1, "size": "volatility", "filters": [PRODUCT, CALENDAR]},
    {"direction": "both", "stop": 1, "target": 1, "max_bars": 1, "execution": "close"},
    {"direction": "both", "stop": 1, "size": "fixed by regime"},
    {"direction": "both", "target": 1, "size": "risk by regime", "execution": "close"},
]
PAIR_SHAPE: dict[str, Any] = {"direction": "both", "stop": 1, "filters": [PAIR], "max_bars": 1}
HOURLY_SHAPES: list[dict[str, Any]] = [
    {"direction": "both", "stop": 1, "target": 1, "filters": [DAILY_CONTEXT], "auto_close": 1},
    {"direction": "long", "window": 1, "auto_close": 1, "size": "risk"},
    {"direction": "both", "window": 1, "stop": 1, "max_bars": 1},
]

percent = st.builds(lambda value: {"percent": value}, st.sampled_from([0.2, 0.5, 1.0, 1.7, 3.0]))
multiple = st.builds(lambda value: {"atr": value, "feature": "atr_14"}, st.sampled_from([0.5, 1.0, 2.5]))
BY_REGIME: dict[str, Any] = {
    "by_regime": {"feature": "regime_20_0.5_5_30_0.8", "bear": 0.5, "sideways": 0.7, "high_volatility": 0.0}
}
SIZES: dict[str, dict[str, Any]] = {
    "fixed": {"kind": "fixed", "contracts": 2},
    "risk": {"kind": "risk", "risk": 0.02, "feature": "atr_14"},
    "volatility": {"kind": "volatility", "target": 0.4, "feature": "realised_vol_20_252"},
    "fixed by regime": {"kind": "fixed", "contracts": 4, **BY_REGIME},
    "risk by regime": {"kind": "risk", "risk": 0.02, "feature": "atr_14", **BY_REGIME},
}


@st.composite
def configs(draw: st.DrawFn, shapes: list[dict[str, Any]], timeframe: str = "1d") -> IbsConfig:
    shape = draw(st.sampled_from(shapes))
    cut = draw(st.sampled_from([0.15, 0.3, 0.45]))
    optional: dict[str, Any] = {
        "max_bars": st.integers(1, 8),
        "stop": st.one_of(percent, multiple),
        "target": st.one_of(percent, multiple),
        "window": st.sampled_from([{"start": "10:00", "end": "14:00"}, {"start": "11:00", "end": "15:00"}]),
        "auto_close": st.sampled_from(["15:30", "13:00"]),
    }
    return IbsConfig.model_validate(
        {
            "name": "drawn",
            "timeframe": timeframe,
            "direction": shape["direction"],
            "entry": (0.0, cut),
            "exit": (draw(st.sampled_from([0.5, 0.75])), 1.0),
            "short_entry": (1.0 - cut, 1.0),
            "short_exit": (0.0, draw(st.sampled_from([0.2, 0.5]))),
            "size": SIZES[shape.get("size", "fixed")],
            "filters": shape.get("filters", []),
            "execution": shape.get("execution", "next_open"),
            "features": ["atr_14"],
            **{name: draw(values) for name, values in optional.items() if name in shape},
        }
    )


relaxed = settings(
    max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("symbol", ["ES", "NQ", "GC", "CL"])
@relaxed
@given(config=configs(DAILY_SHAPES))
def test_daily_futures(shared_data: Path, symbol: str, config: IbsConfig) -> None:
    assert_equal(config, history_of(symbol, str(shared_data)), symbol)


@relaxed
@given(config=configs([PAIR_SHAPE]))
def test_daily_futures_with_their_pair(shared_data: Path, config: IbsConfig) -> None:
    assert_equal(config, history_of("NQ", str(shared_data)), "NQ")


@relaxed
@given(config=configs(HOURLY_SHAPES, "1h"))
def test_hourly_spy_with_daily_context(shared_data: Path, config: IbsConfig) -> None:
    assert_equal(config, history_of("SPY", str(shared_data)), "SPY")


@pytest.mark.uncompiled
@relaxed
@given(config=configs([*DAILY_SHAPES, PAIR_SHAPE]))
def test_embedded_index(config: IbsConfig) -> None:
    assert_equal(config, history_of("SPX", ""), "SPX")


# Each model alone, those that brokers combine, and one in which some orders pay the minimum and some do not.
COMMISSIONS: dict[str, Any] = {
    "none": 0,
    "per contract": {"per_contract": 0.85},
    "per share with a minimum": {"per_share": 0.5, "minimum": 1.2},
    "basis points": {"basis_points": 7.3},
    "basis points with a minimum": {"basis_points": 0.2, "minimum": 3.0},
    "all": {"per_share": 0.35, "basis_points": 1.1, "minimum": 2.5},
}


def with_commission(history: History, symbol: str, commission: Any) -> History:
    market = history.markets[symbol]
    declared = dict(market.instrument) | {"commission": commission}
    charged = replace(market, instrument=Instrument.model_validate(declared))
    return replace(history, markets={**history.markets, symbol: charged})


@pytest.mark.uncompiled
@pytest.mark.parametrize("model", COMMISSIONS)
@settings(parent=relaxed, max_examples=examples(2))
@given(config=configs(DAILY_SHAPES[-3:]))
def test_every_commission_model(model: str, config: IbsConfig) -> None:
    assert_equal(config, with_commission(history_of("SPX", ""), "SPX", COMMISSIONS[model]), "SPX")


@pytest.mark.parametrize("model", COMMISSIONS)
def test_a_commission_is_what_its_words_say(model: str) -> None:
    """Each fill again, in exact fractions from the declared words; reports show the sum."""
    history = with_commission(history_of("SPX", ""), "SPX", COMMISSIONS[model])
    result = run_backtest(IbsConfig(name="x", size=SIZES["volatility"]), history, "SPX")
    declared = COMMISSIONS[model] or {}
    per_unit = Fraction(str(declared.get("per_share", declared.get("per_contract", 0))))
    share = Fraction(str(declared.get("basis_points", 0))) / 10_000
    least, total = Fraction(str(declared.get("minimum", 0))), Fraction(0)
    minimum_paid = set()
    for order in (each for each in result.records.orders if each.status == "completed"):
        size, price = abs(Fraction(order.quantity)), abs(Fraction(order.price))
        usual = per_unit * size + share * price * size * 50
        minimum_paid.add(usual < least)
        total += max(usual, least)
        assert order.commission == pytest.approx(float(max(usual, least)), rel=1e-12)
    assert minimum_paid == ({True, False} if "minimum" in model else {False})
    if result.trades["status"].iloc[-1] == "closed":
        assert result.trades["commission"].sum() == pytest.approx(float(total), rel=1e-9)


def test_the_comparison_can_fail() -> None:
    """Negative control: another cost in one of the two engines is noticed at the first fill."""
    history = history_of("SPX", "")
    market = history.markets["SPX"]
    dearer = replace(market, instrument=market.instrument.model_copy(update={"slippage_ticks": 2.0}))
    other = replace(history, markets={**history.markets, "SPX": dearer})
    backtest = run_backtest(IbsConfig(name="x"), history, "SPX")
    assert sweep_fills(trace(IbsConfig(name="x"), other, "SPX").fills) != backtrader_fills(backtest)


def test_a_grid_in_chunks_equals_its_variants_alone() -> None:
    history = history_of("SPX", "")
    base = IbsConfig(name="grid", max_bars=6)
    grid = [
        base.replaced(entry=(0.0, low), exit=(high, 1.0), stop=stop, max_bars=longest)
        for low in (0.1, 0.3)
        for high in (0.6, 0.8)
        for stop in (None, {"percent": 1.0})
        for longest in (None, 3)
    ]
    seen: list[int] = []
    whole = sweep(grid, history, "SPX", chunk=3, on_done=lambda positions, _: seen.extend(positions))
    assert sorted(seen) == list(range(len(grid)))
    for position, config in enumerate(grid):
        alone = sweep([config], history, "SPX", jobs=1)
        for name, values in whole.metrics.items():
            assert values[position] == alone.metrics[name][0] or np.isnan(values[position])
        assert np.array_equal(whole.blocks[position], alone.blocks[0])
        assert np.array_equal(whole.sketch[position], alone.sketch[0])
        assert np.array_equal(whole.timing[position], alone.timing[0])


@pytest.mark.uncompiled
def test_block_sums_and_sketch_are_those_of_the_session_returns() -> None:
    history = history_of("SPX", "")
    configs = [
        IbsConfig(name="a"),
        IbsConfig(name="b", entry=(0.0, 0.4)),
        IbsConfig(name="c", direction="short"),
    ]
    swept = sweep(configs, history, "SPX")
    returns = np.array(
        [
            np.diff(run_backtest(config, history, "SPX").equity["equity"], prepend=config.capital)
            / config.capital
            for config in configs
        ]
    )
    bars = history.series(SeriesKey("SPX", DAILY))
    days = BOOK.session("SPX").dates(bars.end, DAILY)
    blocks = CalendarBlocks.of(days)
    assert (swept.block_weeks, swept.first_block) == (blocks.weeks, blocks.first)
    for number, (first, last) in enumerate(pairwise(blocks.edges.tolist())):
        part = returns[:, first:last]
        assert swept.blocks[:, number, 0] == pytest.approx(part.sum(axis=1), abs=1e-12)
        assert swept.blocks[:, number, 1] == pytest.approx((part**2).sum(axis=1), abs=1e-12)
        assert (swept.blocks[:, number, 2] == part.shape[1]).all()
    market = np.diff(bars.close, prepend=bars.open[0]) / np.append(bars.open[0], bars.close[:-1])
    rest = returns - np.outer(swept.timing[:, 4], market)
    assert swept.sketch == pytest.approx(sketch_of(rest, days), abs=1e-12)
    lengths = np.linalg.norm(rest, axis=1)
    error = (swept.sketch @ swept.sketch.T - rest @ rest.T) / np.outer(lengths, lengths)
    assert np.abs(error).max() < 4 * np.sqrt(2 / SKETCH)


def test_what_the_sweep_cannot_express_is_refused_by_name() -> None:
    class Other(StrategyConfig):
        @property
        def signal_ids(self) -> tuple[str, ...]:
            return ("ibs",)

        @property
        def family_rules(self) -> tuple[float, ...]:
            return ()

        @property
        def exit_slots(self) -> tuple[int, ...]:
            return ()

    with pytest.raises(ConfigError, match="nothing to sweep"):
        require_expressible([])
    with pytest.raises(ConfigError, match="other: Other belongs to no registered strategy family"):
        require_expressible([Other(name="other")])
    with pytest.raises(ConfigError, match="hourly: timeframe 1h beside 1d"):
        require_expressible([IbsConfig(name="daily"), IbsConfig(name="hourly", timeframe="1h")])


def test_years_without_sessions_are_the_same_time_in_both() -> None:
    """Growth by the calendar and ratios by the observed frequency: the sweep's are those of the run."""
    history = history_of("SPX", "")
    (key,) = (each for each in history.bars if each.symbol == "SPX")
    bars = history.bars[key]
    years = bars.end.astype("datetime64[ns]").astype("datetime64[Y]").astype(int) + 1970
    kept = (years < 2010) | (years > 2011)
    holed = replace(
        bars,
        **{name: getattr(bars, name)[kept] for name in ("end", "open", "high", "low", "close", "volume")},
    )
    whole, config = replace(history, bars={**history.bars, key: holed}), IbsConfig(name="holed")
    measured = run_backtest(config, whole, "SPX").metrics
    swept = sweep([config], whole, "SPX", jobs=1).metrics
    by_rows = len(np.unique(holed.end)) / 252
    assert measured["years"] > by_rows + 1.5
    for name in ("cagr", "calmar", "sharpe", "sharpe_session", "sortino"):
        assert swept[name][0] == pytest.approx(measured[name], rel=1e-7), name
    assert measured["sharpe"] < measured["sharpe_session"] * 252**0.5 * 0.9
