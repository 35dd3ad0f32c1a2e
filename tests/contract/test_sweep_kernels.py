"""The stages of the sweep against Backtrader where the market is often shut, also as plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.sweep import account
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


def test_sums_over_sessions() -> None:
    random = np.random.default_rng(2)
    changes = random.normal(size=40) * random.integers(0, 2, 40)
    edges = np.arange(17, dtype=np.int64) * 40 // 16
    bucket = random.integers(0, account.SKETCH, 40)
    sign = random.choice((-1.0, 1.0), 40)
    measures, blocks = np.zeros(account.MEASURES), np.zeros((account.BLOCKS, 2))
    sketch: Floats = np.zeros(account.SKETCH)
    interpreted(account.sum_sessions)(changes.copy(), 100.0, edges, bucket, sign, measures, blocks, sketch)
    returns = changes / 100.0
    sums = [account.SUM_1, account.SUM_2, account.SUM_3, account.SUM_4]
    assert measures[sums] == pytest.approx([(returns**power).sum() for power in (1, 2, 3, 4)])
    assert measures[account.DOWNSIDE] == pytest.approx((returns[returns < 0] ** 2).sum())
    assert blocks[:, 0] == pytest.approx(np.add.reduceat(returns, edges[:-1]))
    assert sketch == pytest.approx(np.bincount(bucket, sign * returns, account.SKETCH))
