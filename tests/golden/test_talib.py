"""Everything that TA-Lib also has, against TA-Lib: an implementation that shares no code with this one.

TA-Lib's recursions start at the first bar and never forget it; values are compared once that start, and
whatever a finite window leaves out, weighs less than the tolerance. 1e-9 is relative to the scale of what
is compared. Where a long average is a stated compromise, its stated error is the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lockstep.features.canonical import CANONICAL_PAIR, CANONICAL_SYMBOL, canonical_market
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars, Floats
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY

talib = pytest.importorskip("talib", reason="TA-Lib is not installed: no second opinion on the features")

REGISTRY = FeatureRegistry()
SETTLED = 1_500
DAY = 86_400_000_000_000


@dataclass(frozen=True)
class Prices:
    """Bars as TA-Lib takes them, and the pair's closes."""

    history: History
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    pair: Floats

    def feature(self, feature_id: str) -> Floats:
        """Return a feature over the bars, float64 (n,)."""
        bars = self.history.bars[SeriesKey(CANONICAL_SYMBOL, DAILY)]
        return REGISTRY.calculate(feature_id, bars, history=self.history)


def prices_of(columns: dict[str, Floats], pair: Floats) -> Prices:
    n = pair.size
    end = DAY * np.arange(1, n + 1, dtype=np.int64)
    flat = {name: pair for name in ("open", "high", "low", "close")}
    history = History(
        bars={
            SeriesKey(CANONICAL_SYMBOL, DAILY): Bars(
                symbol=CANONICAL_SYMBOL, timeframe=DAILY, end=end, **columns
            ),
            SeriesKey(CANONICAL_PAIR, DAILY): Bars(
                symbol=CANONICAL_PAIR, timeframe=DAILY, end=end, volume=np.ones(n), **flat
            ),
        },
        markets={CANONICAL_SYMBOL: canonical_market()},
    )
    return Prices(history=history, pair=pair, **columns)


def generated() -> Prices:
    """2,600 positive bars on a quarter tick."""
    random = np.random.default_rng(11)
    n = 2_600
    close = 8_000 + np.cumsum(random.integers(-40, 42, n))
    opened = close + random.integers(-30, 31, n)
    columns = {
        "open": opened / 4.0,
        "high": (np.maximum(opened, close) + random.integers(0, 30, n)) / 4.0,
        "low": (np.minimum(opened, close) - random.integers(0, 30, n)) / 4.0,
        "close": close / 4.0,
        "volume": random.integers(0, 2_000_000, n).astype(np.float64),
    }
    return prices_of(columns, (4_000 + np.cumsum(random.integers(-20, 22, n))) / 4.0)


def read(path: Path) -> dict[str, Floats]:
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2, 3, 4, 5))
    names = ("open", "high", "low", "close", "volume")
    return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)}


@pytest.fixture(scope="module", params=["generated", "ES"])
def prices(request: pytest.FixtureRequest) -> Prices:
    """Generated bars, and ES with NQ as its pair where the real bars are at hand."""
    if request.param == "generated":
        return generated()
    folder = request.getfixturevalue("shared_data") / "futures_daily"
    es, nq = read(folder / "ES_bt.csv"), read(folder / "NQ_bt.csv")
    n = min(es["close"].size, nq["close"].size)
    return prices_of({name: values[-n:] for name, values in es.items()}, nq["close"][-n:])


def assert_agree(ours: Floats, theirs: Floats, tolerance: float = 1e-9) -> None:
    """Compare settled values, relative to the largest of them."""
    ours, theirs = ours[SETTLED:], theirs[SETTLED:]
    assert np.isfinite(theirs).all()
    assert np.ptp(theirs) > 0.0, "constant values prove nothing"
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("period", [2, 5, 14])
def test_rsi(prices: Prices, period: int) -> None:
    assert_agree(prices.feature(f"rsi_{period}"), talib.RSI(prices.close, period))


def test_pair_rsi(prices: Prices) -> None:
    assert_agree(prices.feature("pair_rsi_14"), talib.RSI(prices.pair, 14))


def test_atr(prices: Prices) -> None:
    assert_agree(prices.feature("atr_14"), talib.ATR(prices.high, prices.low, prices.close, 14))


@pytest.mark.parametrize(("period", "bars"), [(20, 400), (100, 995)])
def test_a_longer_atr_is_off_by_no_more_than_stated(prices: Prices, period: int, bars: int) -> None:
    """What its window leaves out has a weight of (1 - 1 / period)**bars."""
    theirs = talib.ATR(prices.high, prices.low, prices.close, period)
    left_out = (1.0 - 1.0 / period) ** bars
    assert REGISTRY.parse(f"atr_{period}").terms[0].lookback == bars + 1
    assert_agree(prices.feature(f"atr_{period}"), theirs, tolerance=2.0 * left_out)


def test_true_range(prices: Prices) -> None:
    ours = prices.feature("true_range_atr_14") * prices.feature("atr_14")
    assert_agree(ours, talib.TRANGE(prices.high, prices.low, prices.close))


def test_atr_percentile(prices: Prices) -> None:
    """Ranks of TA-Lib's ATR; no two of its values are equal to 1e-9 here."""
    theirs = talib.ATR(prices.high, prices.low, prices.close, 14)
    ranks = [np.mean(theirs[i - 251 : i] < theirs[i]) for i in range(SETTLED, theirs.size)]
    np.testing.assert_allclose(prices.feature("atr_pctile_14_252")[SETTLED:], ranks, atol=1e-12)


def test_adx(prices: Prices) -> None:
    assert_agree(prices.feature("adx_14"), talib.ADX(prices.high, prices.low, prices.close, 14))


@pytest.mark.parametrize("bars", [20, 200])
def test_sma(prices: Prices, bars: int) -> None:
    ours = prices.close - prices.feature(f"close_sma_atr_{bars}_14") * prices.feature("atr_14")
    assert_agree(ours, talib.SMA(prices.close, bars))


def test_sma_slope_and_spread(prices: Prices) -> None:
    unit = prices.feature("atr_14")
    average = talib.SMA(prices.close, 50)
    assert_agree(prices.feature("sma_slope_atr_50_5_14")[5:] * unit[5:], (average[5:] - average[:-5]) / 5.0)
    theirs = talib.SMA(prices.close, 10) - average
    assert_agree(prices.feature("sma_spread_atr_10_50_14") * unit, theirs)


def test_ema_within_400_bars_is_the_textbooks(prices: Prices) -> None:
    unit = prices.feature("atr_14")
    assert_agree(prices.close - prices.feature("close_ema_atr_20_14") * unit, talib.EMA(prices.close, 20))
    average = talib.EMA(prices.close, 20)
    assert_agree(prices.feature("ema_slope_atr_20_5_14")[5:] * unit[5:], (average[5:] - average[:-5]) / 5.0)
    theirs = talib.EMA(prices.close, 12) - talib.EMA(prices.close, 26)
    assert_agree(prices.feature("ema_spread_atr_12_26_14") * unit, theirs)


def test_a_long_ema_is_off_by_no_more_than_stated(prices: Prices) -> None:
    """EMA-200 runs over 1,000 bars: what is left out weighs e^-10, of at most the whole price range."""
    ours = prices.close - prices.feature("close_ema_atr_200_14") * prices.feature("atr_14")
    error = np.abs(ours - talib.EMA(prices.close, 200))[SETTLED:].max()
    assert 0.0 < error < np.exp(-10.0) * np.ptp(prices.close)


def test_macd_histogram(prices: Prices) -> None:
    ours = prices.feature("macd_hist_atr_12_26_9_14") * prices.feature("atr_14")
    assert_agree(ours, talib.MACD(prices.close, 12, 26, 9)[2])


def test_bollinger_bands(prices: Prices) -> None:
    upper, _, lower = talib.BBANDS(prices.close, 20, 2.0, 2.0)
    assert_agree(prices.feature("pctb_20_2"), (prices.close - lower) / (upper - lower))
    assert_agree(prices.feature("band_distance_20_2"), (upper - prices.close) / (upper - lower))
    assert_agree(prices.feature("bandwidth_20_2_14") * prices.feature("atr_14"), upper - lower)


def test_z_scores(prices: Prices) -> None:
    def score(values: Floats, bars: int) -> Floats:
        return (values - talib.SMA(values, bars)) / talib.STDDEV(values, bars)

    assert_agree(prices.feature("zscore_20"), score(prices.close, 20))
    assert_agree(prices.feature("pair_zscore_20"), score(prices.pair, 20))
    assert_agree(prices.feature("volume_z_20"), score(prices.volume, 20))
    assert_agree(prices.feature("momentum_z_10_60")[10:], score(talib.MOM(prices.close, 10)[10:], 60))
    ratio = np.log(prices.close / prices.pair)
    assert_agree(prices.feature("pair_log_ratio_z_20"), score(ratio, 20), tolerance=1e-8)
    average = talib.ATR(prices.high, prices.low, prices.close, 14)[14:]
    assert_agree(prices.feature("atr_z_14_100")[14:], score(average, 100))


def test_stochastic(prices: Prices) -> None:
    fast_k, fast_d = talib.STOCHF(prices.high, prices.low, prices.close, 14, 3, 0)
    assert_agree(prices.feature("stoch_k_14"), fast_k)
    assert_agree(prices.feature("stoch_d_14_3"), fast_d)
    assert_agree(prices.feature("stoch_k_14"), 100.0 + talib.WILLR(prices.high, prices.low, prices.close, 14))


def test_parabolic_stop(prices: Prices) -> None:
    """The window of 100 bars starts afresh; after its first turns it is on TA-Lib's track."""
    ours = prices.close - prices.feature("psar_distance_0.02_0.2_100_14") * prices.feature("atr_14")
    theirs = talib.SAR(prices.high, prices.low, 0.02, 0.2)
    agree = np.isclose(ours, theirs, rtol=1e-9, atol=0.0)[SETTLED:]
    assert agree.mean() > 0.99


@pytest.mark.parametrize("bars", [1, 5, 20])
def test_returns(prices: Prices, bars: int) -> None:
    assert_agree(prices.feature(f"ret_{bars}"), talib.ROCP(prices.close, bars))


def test_other_returns(prices: Prices) -> None:
    assert_agree(prices.feature("pair_ret_5"), talib.ROCP(prices.pair, 5))
    assert_agree(prices.feature("ret_lag_2")[2:], talib.ROCP(prices.close, 1)[:-2])
    assert_agree(prices.feature("log_ret_20"), talib.LN(talib.ROCR(prices.close, 20)))


def test_drift_and_volatility(prices: Prices) -> None:
    steps = talib.STDDEV(talib.MOM(prices.close, 1)[1:], 20)
    assert_agree(prices.feature("drift_20")[1:], talib.MOM(prices.close, 20)[1:] / (steps * np.sqrt(20.0)))
    logs = talib.STDDEV(talib.LN(talib.ROCR(prices.close, 1))[1:], 20)
    assert_agree(prices.feature("realised_vol_20_252")[1:], logs * np.sqrt(252.0 * 20.0 / 19.0), 1e-8)
    near, far = (talib.ATR(prices.high, prices.low, prices.close, n) for n in (5, 14))
    assert_agree(prices.feature("vol_ratio_5_14"), near / far)


def test_efficiency(prices: Prices) -> None:
    walked = talib.SUM(np.abs(talib.MOM(prices.close, 1))[1:], 10)
    assert_agree(prices.feature("efficiency_ratio_10")[1:], np.abs(talib.MOM(prices.close, 10))[1:] / walked)


def test_correlation_and_beta(prices: Prices) -> None:
    step, pair_step = talib.MOM(prices.close, 1)[1:], talib.MOM(prices.pair, 1)[1:]
    assert_agree(prices.feature("pair_corr_20")[1:], talib.CORREL(step, pair_step, 20))
    assert_agree(prices.feature("volume_price_corr_20")[1:], talib.CORREL(step, prices.volume[1:], 20))
    assert_agree(prices.feature("pair_beta_60"), talib.BETA(prices.pair, prices.close, 60), 1e-8)


def test_on_balance_volume_slope(prices: Prices) -> None:
    slope = talib.LINEARREG_SLOPE(talib.OBV(prices.close, prices.volume), 20)
    assert_agree(prices.feature("obv_slope_20"), slope / talib.SMA(prices.volume, 20))


def test_volume_ratio(prices: Prices) -> None:
    theirs = talib.SMA(prices.volume, 5) / talib.SMA(prices.volume, 20)
    assert_agree(prices.feature("volume_ratio_5_20"), theirs)


def test_extremes(prices: Prices) -> None:
    unit = prices.feature("atr_14")
    top, bottom = talib.MAX(prices.high, 20), talib.MIN(prices.low, 20)
    assert_agree(prices.feature("distance_to_high_20_14") * unit, top - prices.close)
    assert_agree(prices.feature("distance_to_low_20_14") * unit, prices.close - bottom)
    assert_agree(prices.feature("donchian_position_20"), (prices.close - bottom) / (top - bottom))


def test_candles(prices: Prices) -> None:
    ours = prices.feature("body_fraction")
    assert_agree(ours, talib.BOP(prices.open, prices.high, prices.low, prices.close))
    gaps = prices.feature("gap_atr_14") * prices.feature("atr_14")
    assert_agree(gaps[1:], prices.open[1:] - prices.close[:-1])


def test_another_smoothing_is_caught(prices: Prices) -> None:
    """RSI with an exponential average instead of Wilder's: the comparison can fail."""
    with pytest.raises(AssertionError):
        assert_agree(prices.feature("rsi_14"), talib.RSI(prices.close, 15))
    with pytest.raises(AssertionError):
        assert_agree(prices.feature("rsi_14") + 1e-6, talib.RSI(prices.close, 14))
