"""The stages of the sweep against Backtrader where the market is often shut, also as plain Python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.matching import NO_FILL, SLIPPAGE
from research.backtest.run import run_backtest
from research.statistics.maximum import SKETCH, sketch_of
from research.sweep import account, loops
from research.sweep import kernels as k
from research.sweep.inputs import CalendarBlocks
from research.sweep.run import sweep, trace
from support.interpreted import interpreted
from support.markets import BOOK, HOURLY, MINUTE, random_bars, utc

pytestmark = pytest.mark.uncompiled

BASE: dict[str, Any] = {"name": "x", "timeframe": "1h", "entry": (0.0, 0.4), "exit": (0.6, 1.0)}
STOPPED: dict[str, Any] = {"stop": {"percent": 0.4}, "target": {"percent": 0.6}}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "both sides": {"direction": "both", "entry": (0.0, 0.3), "short_entry": (0.7, 1.0), **STOPPED},
    "window": {"window": {"start": "10:00", "end": "14:00"}, "auto_close": "15:00", "max_bars": 3},
    "at the close": {"execution": "close", "max_bars": 2, **STOPPED},
    "at the close, held": {"execution": "close", "direction": "short", "short_entry": (0.6, 1.0)},
    "sizes of 0": {"size": {"kind": "risk", "risk": 0.0005, "feature": "atr_14"}},
    "sizes of 0 at the close": {
        "size": {"kind": "risk", "risk": 0.0005, "feature": "atr_14"}, "execution": "close", **STOPPED,
    },
    "never": {"entry": (-2.0, -1.0)},
    "never out": {"exit": (2.0, 3.0)},
}  # fmt: skip


def hours(first: str, last: str) -> History:
    """Return hourly bars around the clock, those of nights and weekends outside the session of NYSE."""
    end = np.arange(utc(first), utc(last) + 1, 60 * MINUTE, dtype=np.int64)
    bars = random_bars(end, HOURLY, symbol="SPY")
    return History(bars={SeriesKey("SPY", HOURLY): bars}, markets={"SPY": BOOK.market("SPY")})


def days() -> History:
    """Return daily bars of two years."""
    session, every = BOOK.session("SPY"), np.arange("2018-01-01", "2020-01-01", dtype="M8[D]")
    close = every.astype("M8[ns]").astype(np.int64) + 21 * 60 * MINUTE
    end = close[session.in_session(close - 60 * MINUTE, HOURLY)]
    bars = random_bars(end, DAILY, symbol="SPY")
    return History(bars={SeriesKey("SPY", DAILY): bars}, markets={"SPY": BOOK.market("SPY")})


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("last", ["2019-02-01 20:00", "2019-02-02 20:00"])
def test_equal_to_backtrader(name: str, last: str) -> None:
    """The bars end within a session, where a trade is open, or after it, where an order waits."""
    history = hours("2019-01-01 00:00", last)
    config = IbsConfig.model_validate({**BASE, **CONFIGS[name]})
    backtest = run_backtest(config, history, "SPY")
    equity = backtest.equity["equity"].to_numpy()
    assert trace(config, history, "SPY").equity.tobytes() == equity.tobytes()
    swept = sweep([config], history, "SPY", jobs=1)
    assert swept.metrics["net_profit"][0] == equity[-1] - config.capital
    for measure, values in swept.metrics.items():
        expected = backtest.metrics[measure]
        assert values[0] == pytest.approx(expected, rel=1e-7, abs=1e-9, nan_ok=True), measure


def residual(config: IbsConfig, history: History, symbol: str) -> tuple[float, Floats, NDArray[Any]]:
    """Return beta, the residual (S,) and the dates (S,): from fills, equity and bars, in plain numpy.

    A bar that ends with a position is held from its end to that of the next one; one in which a stop or a
    target is met, half of it.
    """
    found = trace(config, history, symbol)
    bars, market = history.series(SeriesKey(symbol, config.bars)), history.markets[symbol]
    position = np.zeros(len(bars))
    np.add.at(position, found.fills[:, k.FILL_BAR].astype(int), found.fills[:, k.FILL_QUANTITY])
    held = np.cumsum(position)
    at_close, slipped = config.execution == "close", market.instrument.costs[SLIPPAGE]
    for bar, kind, quantity, price, *_ in found.fills:
        gapped = abs(abs(price - bars.open[int(bar)]) - slipped / 2) <= slipped / 2 + 1e-9
        if kind != NO_FILL and (at_close or not gapped):
            held[int(bar)] -= (-0.5 if at_close else 0.5) * quantity
    points = bars.adjustment == "difference" or bars.low.min() <= 0.0
    price = np.ones(len(bars)) if points else bars.close
    contract = price * float(market.instrument.multiplier) / config.capital
    beta = float((held * contract).mean())
    dates = market.session.dates(bars.end, bars.timeframe)
    last = np.flatnonzero(np.append(dates[1:] != dates[:-1], True))
    earned = np.diff(found.equity[last], prepend=config.capital) / config.capital
    marks = np.concatenate((bars.open[:1], bars.close[last]))
    before = np.ones(last.size) if points else marks[:-1]
    return beta, earned - beta * np.diff(marks) / before, dates[last]


RESIDUAL: dict[str, dict[str, Any]] = {
    "long": {},
    "short": {"direction": "short", "short_entry": (0.7, 1.0), "short_exit": (0.0, 0.4)},
    "both, stopped": CONFIGS["both sides"],
    "at the close": CONFIGS["at the close"],
    "closed each day": CONFIGS["window"],
    "still open": CONFIGS["never out"],
    "never": CONFIGS["never"],
    "sized": {"size": {"kind": "risk", "risk": 0.02, "feature": "atr_14"}},
}
# Every shape is compiled by itself, and those of days are used nowhere else here.
BY_DAY = ("both, stopped", "at the close", "sized")


@pytest.mark.parametrize("daily", [False, True])
@pytest.mark.parametrize("points", [False, True])
def test_timing_is_what_the_return_has_beyond_its_mean_exposure(points: bool, daily: bool) -> None:
    """Power sums, beta and sketch, for every side and size, in money and in points, by hours and by days."""
    history = days() if daily else hours("2019-01-01 00:00", "2019-03-01 20:00")
    (key,) = history.bars
    bars = history.bars[key]
    if points:
        below = {name: getattr(bars, name) - 100.0 for name in ("open", "high", "low", "close")}
        bars = replace(bars, **below)
    history = replace(history, bars={key: bars})
    for name, changes in RESIDUAL.items():
        if daily and name not in BY_DAY:
            continue
        timeframe = {"timeframe": "1d"} if daily else {}
        config = IbsConfig.model_validate({**BASE, **changes, **timeframe})
        beta, rest, dates = residual(config, history, "SPY")
        swept = sweep([config], history, "SPY", jobs=1)
        for power, found in zip((1, 2, 3, 4), swept.timing[0].tolist(), strict=False):
            assert abs(found - (rest**power).sum()) <= 1e-9 * np.abs(rest**power).sum(), (name, power)
        assert swept.timing[0, 4] == pytest.approx(beta, rel=1e-9), name
        assert swept.sketch == pytest.approx(sketch_of(rest[None], dates), rel=1e-9, abs=1e-14), name
        assert np.array_equal(swept.ones, sketch_of(np.ones((1, rest.size)), dates)[0]), name
        assert (beta == 0.0) == (name == "never"), name
        assert name != "short" or beta < 0.0, name
        assert rest.any() == (name != "never"), name


def test_declared_adjustment_by_difference_measures_in_points() -> None:
    history = days()
    (key,) = history.bars
    config = IbsConfig.model_validate({**BASE, "timeframe": "1d"})
    shifted = replace(history, bars={key: replace(history.bars[key], adjustment="difference")})
    beta, rest, _ = residual(config, shifted, "SPY")
    swept = sweep([config], shifted, "SPY", jobs=1)
    assert swept.timing[0, [1, 4]] == pytest.approx([(rest**2).sum(), beta], rel=1e-9)
    assert swept.timing[0, 4] != pytest.approx(sweep([config], history, "SPY", jobs=1).timing[0, 4], rel=0.1)


def test_blocks_are_weeks_counted_from_one_monday() -> None:
    """Coarser blocks are unions of finer ones, whatever dates each range begins and ends with."""
    every = np.arange("1999-12-28", "2019-03-02", dtype="M8[D]")
    seen = set()
    for first, last in ((0, 30), (0, 112), (3, 113), (700, 1_500), (5, 7_000)):
        span = every[first:last]
        found = CalendarBlocks.of(span)
        counts = np.diff(found.edges)
        weeks = np.unique((span.astype(np.int64) + 3) // 7).size
        assert counts.sum() == span.size
        assert min(weeks, 9) <= (counts > 0).sum() <= 16
        number = (span.astype(np.int64) + 3) // 7 // found.weeks
        assert np.array_equal(np.repeat(found.first + np.arange(16), counts), number)
        assert span[found.edges[1]].astype(object).weekday() == 0
        assert found.weeks & (found.weeks - 1) == 0
        seen.add(found.weeks)
    assert len(seen) > 3


def test_the_clock_matters_here() -> None:
    """Negative control: there are bars out of session, and trades over nights, in what is compared."""
    history = hours("2019-01-01 00:00", "2019-02-01 20:00")
    bars = history.series(SeriesKey("SPY", HOURLY))
    session = BOOK.session("SPY").in_session(bars.end, HOURLY)
    assert 0.1 < session.mean() < 0.4
    fills = trace(IbsConfig.model_validate(BASE), history, "SPY").fills
    assert len(fills) > 20
    assert session[fills[:, 0].astype(int)].all()


def test_equity_that_falls_below_zero_and_rises_to_a_new_height() -> None:
    """Every mark counts towards the deepest fall, whether a trade is walked bar by bar or not."""
    history = hours("2019-01-01 00:00", "2019-03-01 20:00")
    for capital in (400.0, 5_000.0):
        config = IbsConfig.model_validate(
            {**BASE, "capital": capital, "size": {"kind": "fixed", "contracts": 40}}
        )
        curve = trace(config, history, "SPY").equity
        peak = np.maximum.accumulate(np.concatenate(([capital], curve)))[1:]
        swept = sweep([config], history, "SPY", jobs=1).metrics
        assert swept["max_drawdown"][0] == pytest.approx((peak - curve).max(), rel=1e-9)
        assert swept["max_drawdown_fraction"][0] == pytest.approx(((peak - curve) / peak).max(), rel=1e-9)


def test_variants_that_share_exits_share_nothing_else() -> None:
    history = hours("2019-01-01 00:00", "2019-02-01 20:00")
    configs = [
        IbsConfig.model_validate({**BASE, "entry": (0.0, low), "max_bars": longest})
        for longest in (2, 5)
        for low in (0.1, 0.3, 0.5)
    ]
    together = sweep(configs, history, "SPY", jobs=1)
    for row, config in enumerate(configs):
        alone = sweep([config], history, "SPY", jobs=1)
        for name, values in together.metrics.items():
            np.testing.assert_array_equal(values[row], alone.metrics[name][0], err_msg=name)
        np.testing.assert_array_equal(together.blocks[row], alone.blocks[0])
        np.testing.assert_array_equal(together.sketch[row], alone.sketch[0])


@pytest.mark.parametrize("name", ["plain", "at the close", "both sides", "window", "never", "never out"])
def test_stretches_of_bars_and_shared_entries_change_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trades that are open from one stretch to the next, stretches without an entry, pieces by themselves."""
    history = hours("2019-01-01 00:00", "2019-02-01 20:00")
    config = IbsConfig.model_validate({**BASE, **CONFIGS[name]})
    (low, high), least = config.entry, config.exit[0]
    configs = [
        config.replaced(entry=(low, high - less), exit=(least + more, 3.0))
        for less in (0.0, 0.1)
        for more in (0.0, 0.3)
    ]
    whole = sweep(configs, history, "SPY", jobs=1)
    for bars, cells in ((7, 16_000_000), (40, 16_000_000), (40, 1)):
        monkeypatch.setattr(loops, "STRETCH", bars)
        monkeypatch.setattr(loops, "_ONE_STRETCH", bars)
        monkeypatch.setattr(loops, "_ENTRY_CELLS", cells)
        cut = sweep(configs, history, "SPY", jobs=1)
        for measure, values in whole.metrics.items():
            np.testing.assert_array_equal(values, cut.metrics[measure], err_msg=measure)
        for part in ("blocks", "timing", "sketch"):
            np.testing.assert_array_equal(getattr(whole, part), getattr(cut, part), err_msg=part)
    assert (name == "never") == (not whole.timing[:, 4].any())


def test_sums_over_sessions() -> None:
    random = np.random.default_rng(2)
    market = random.normal(size=40)
    changes = random.normal(size=40) * random.integers(0, 2, 40)
    edges = np.arange(17, dtype=np.int64) * 40 // 16
    bucket = random.integers(0, SKETCH, 40)
    sign = random.choice((-1.0, 1.0), 40)
    measures, blocks = np.zeros(account.MEASURES), np.zeros((account.BLOCKS, 2))
    sketch: Floats = np.zeros(SKETCH)
    measures[account.BETA] = 0.3
    sums_of = interpreted(account.sum_sessions)
    sums_of(changes.copy(), 100.0, edges, market, bucket, sign, measures, blocks, sketch)
    returns = changes / 100.0
    sums = [account.SUM_1, account.SUM_2, account.SUM_3, account.SUM_4]
    assert measures[sums] == pytest.approx([(returns**power).sum() for power in (1, 2, 3, 4)])
    assert measures[account.DOWNSIDE] == pytest.approx((returns[returns < 0] ** 2).sum())
    assert blocks[:, 0] == pytest.approx(np.add.reduceat(returns, edges[:-1]))
    rest = returns - 0.3 * market
    assert measures[account.TIMING] == pytest.approx([*((rest**power).sum() for power in (1, 2, 3, 4)), 0.3])
    assert sketch == pytest.approx(np.bincount(bucket, sign * rest, SKETCH))
    sums_of(30.0 * market, 100.0, edges, market, bucket, sign, measures, blocks, sketch)
    assert not sketch.any(), "what is left of a position that never changes is rounding"
    assert measures[account.TIMING].tolist() == [0.0, 0.0, 0.0, 0.0, 0.3]
