"""Features that no library has: values worked out by hand on a few bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lockstep.errors import FeatureError
from lockstep.features.canonical import CANONICAL_PAIR, CANONICAL_SYMBOL, CanonicalSession, canonical_market
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.timeframe import Timeframe
from support.interpreted import interpreted

REGISTRY = FeatureRegistry()
HOURLY = Timeframe(60)
HOUR = 3_600_000_000_000

Row = tuple[float, float, float, float] | tuple[float, float, float, float, float]


def bars_of(rows: Sequence[Row], symbol: str = CANONICAL_SYMBOL) -> Bars:
    """Return bars of (open, high, low, close[, volume])."""
    table = np.array([(*row, 1.0)[:5] for row in rows])
    end = HOUR * np.arange(1, len(rows) + 1, dtype=np.int64)
    names = ("open", "high", "low", "close", "volume")
    columns = {name: table[:, i] for i, name in enumerate(names)}
    return Bars(symbol=symbol, timeframe=HOURLY, end=end, **columns)


def of_closes(closes: Sequence[float], volumes: Sequence[float] | None = None) -> list[Row]:
    volumes = volumes or [1.0] * len(closes)
    return [(close, close, close, close, volume) for close, volume in zip(closes, volumes, strict=True)]


def value(feature_id: str, rows: Sequence[Row], pair: Sequence[Row] | None = None) -> float:
    """Return the value at the last bar; flat bars at the first open are put in front to fill the window."""
    missing = max(0, REGISTRY.parse(feature_id).terms[0].lookback - len(rows))
    padded = [(rows[0][0],) * 4] * missing + list(rows)
    bars = bars_of(padded)
    other = [(pair[0][0],) * 4] * missing + list(pair) if pair else padded
    history = History(
        bars={SeriesKey(CANONICAL_PAIR, HOURLY): bars_of(other, CANONICAL_PAIR)},
        markets={CANONICAL_SYMBOL: canonical_market()},
    )
    return float(REGISTRY.calculate(feature_id, bars, history=history)[-1])


def test_one_bar() -> None:
    """Open 102, high 110, low 100, close 104: of a range of 10."""
    bar = [(102.0, 110.0, 100.0, 104.0)]
    assert value("ibs", bar) == 0.4
    assert value("body_fraction", bar) == 0.2
    assert value("upper_wick", bar) == 0.6
    assert value("lower_wick", bar) == 0.2


def test_previous_ibs() -> None:
    rows = [(0.0, 10.0, 0.0, 3.0), (0.0, 10.0, 0.0, 9.0)]
    assert value("ibs_prev", rows) == 0.3
    assert value("ibs_prev", [(5.0, 5.0, 5.0, 5.0), rows[0]]) == 0.5


def test_a_bar_without_range_is_neutral() -> None:
    bar = [(5.0, 5.0, 5.0, 5.0)]
    found = [value(text, bar) for text in ("ibs", "body_fraction", "upper_wick", "lower_wick")]
    assert found == [0.5, 0.0, 0.0, 0.0]


def test_range_and_true_range_over_atr() -> None:
    """Period 1: the ATR is the bar's own true range, 10 - 2 = 8; its range is 4."""
    rows = [(2.0, 2.0, 2.0, 2.0), (7.0, 10.0, 6.0, 9.0)]
    assert value("range_atr_1", rows) == 0.5
    assert value("true_range_atr_1", rows) == 1.0
    assert value("gap_atr_1", rows) == 5.0 / 8.0
    assert value("atr_1", rows) == 8.0


def test_inside_bar() -> None:
    mother = (5.0, 10.0, 0.0, 5.0)
    assert value("inside_bar", [mother, (5.0, 9.0, 1.0, 5.0)]) == 1.0
    assert value("inside_bar", [mother, (5.0, 10.0, 0.0, 5.0)]) == 1.0
    assert value("inside_bar", [mother, (5.0, 10.5, 1.0, 5.0)]) == 0.0
    assert value("inside_bar", [mother, (5.0, 9.0, -0.5, 5.0)]) == 0.0


def test_narrowest_range() -> None:
    wide, narrow = (5.0, 10.0, 0.0, 5.0), (5.0, 6.0, 4.0, 5.0)
    assert value("nr_4", [wide, wide, wide, narrow]) == 1.0
    assert value("nr_4", [wide, narrow, wide, narrow]) == 0.0
    assert value("nr_3", [narrow, wide, wide, narrow]) == 1.0


def test_distance_to_extremes() -> None:
    """High 20 three bars ago, low 2 now; period 1: the ATR is the last true range, 8 - 2 = 6."""
    rows = [(10.0, 20.0, 10.0, 12.0), (12.0, 12.0, 8.0, 8.0), (8.0, 8.0, 2.0, 5.0)]
    assert value("distance_to_high_3_1", rows) == 15.0 / 6.0
    assert value("distance_to_high_2_1", rows) == 7.0 / 6.0
    assert value("distance_to_low_3_1", rows) == 0.5


def test_streaks_are_capped() -> None:
    rising = of_closes([1.0, 2.0, 3.0, 4.0, 5.0])
    assert value("bull_streak_3", rising) == 3.0
    assert value("bull_streak_10", rising) == 4.0
    assert value("bear_streak_10", rising) == 0.0
    assert value("bear_streak_10", of_closes([5.0, 6.0, 4.0, 3.0])) == 2.0
    assert value("bull_streak_10", of_closes([5.0, 6.0, 6.0])) == 0.0


def test_returns() -> None:
    rows = of_closes([100.0, 110.0, 99.0])
    assert value("ret_1", rows) == pytest.approx(-0.1)
    assert value("ret_2", rows) == pytest.approx(-0.01)
    assert value("ret_lag_1", rows) == pytest.approx(0.1)
    assert value("log_ret_2", rows) == pytest.approx(np.log(0.99))


@pytest.mark.parametrize("base", [0.0, -37.63])
def test_returns_on_prices_that_are_not_positive(base: float) -> None:
    rows = of_closes([base, 10.0])
    assert np.isnan(value("ret_1", rows))
    assert np.isnan(value("log_ret_1", rows))
    assert value("ret_1", of_closes([10.0, -5.0])) == -1.5
    assert np.isnan(value("log_ret_1", of_closes([10.0, -5.0])))


def test_drift() -> None:
    """Changes 1, 3: mean 2, deviation 1, so 4 / (1 * sqrt 2)."""
    assert value("drift_2", of_closes([0.0, 1.0, 4.0])) == pytest.approx(4.0 / np.sqrt(2.0))
    assert value("drift_2", of_closes([0.0, 1.0, 2.0])) == 0.0


def test_efficiency() -> None:
    """2 up, 1 down, 1 up: net 2 of a path of 4; over two bars 0 of 2; over one 1 of 1."""
    rows = of_closes([0.0, 2.0, 1.0, 2.0])
    assert value("efficiency_ratio_3", rows) == 0.5
    assert value("efficiency_mix_1_2_3", rows) == pytest.approx((3.0 * 1.0 + 2.0 * 0.0 + 1.0 * 0.5) / 6.0)


def test_momentum_z() -> None:
    """1-bar changes 1, 1, 4: mean 2, deviation sqrt 2."""
    assert value("momentum_z_1_3", of_closes([0.0, 1.0, 2.0, 6.0])) == pytest.approx(np.sqrt(2.0))


def test_volatilities_by_hand() -> None:
    e = float(np.e)
    assert value("parkinson_1_252", [(1.0, e, 1.0, 1.0)]) == pytest.approx(np.sqrt(252 / (4 * np.log(2.0))))
    expected = np.sqrt(252 * (0.5 - (2.0 * np.log(2.0) - 1.0)))
    assert value("garman_klass_1_252", [(1.0, e, 1.0, e)]) == pytest.approx(expected)
    logs = np.log([1.0, 1.1, 0.99])
    expected = np.std(np.diff(logs), ddof=1) * np.sqrt(252)
    assert value("realised_vol_2_252", of_closes([1.0, 1.1, 0.99])) == pytest.approx(expected)


def test_volatilities_are_missing_on_prices_that_are_not_positive() -> None:
    rows = [(1.0, 2.0, -1.0, 1.0), (1.0, 1.0, 1.0, 1.0)]
    assert np.isnan(value("parkinson_2_252", rows))
    assert np.isnan(value("garman_klass_2_252", rows))
    assert np.isnan(value("realised_vol_2_252", of_closes([1.0, 0.0, 1.0])))


def test_compression() -> None:
    """Ranges 8, 8, 8, 8, 2, 2: over the last two bars the mean is 2, over four 5: depth 0.6.

    One bar earlier 5 against 6.5 is compressed too; two bars earlier 8 against 8 is not: a streak of 2 of 4.
    """
    wide, narrow = (5.0, 9.0, 1.0, 5.0), (5.0, 6.0, 4.0, 5.0)
    rows = [wide] * 8 + [narrow] * 2
    assert value("compression_2_4_4", rows) == pytest.approx(0.6 * 2.0 / 4.0)
    assert value("compression_2_4_2", rows) == pytest.approx(0.6)
    assert value("compression_2_4_4", [*rows, wide, wide]) == 0.0


def test_regime() -> None:
    """Trend over 2 bars: changes 1 and 3, mean 2, deviation 1: 4 / sqrt 2 = 2.83. The last move is no larger.

    Period 1: the average true range is the bar's own, here 4 twice and 3: none of two earlier lie below 3.
    """
    rising, falling = [0.0, 4.0, 0.0, 1.0, 4.0], [0.0, -4.0, 0.0, -1.0, -4.0]
    assert value("regime_2_2.8_1_3_0.5", of_closes(rising)) == 1.0
    assert value("regime_2_2.9_1_3_0.5", of_closes(rising)) == 0.0
    assert value("regime_2_2.8_1_3_0.5", of_closes(falling)) == -1.0
    assert value("regime_2_0_1_3_0.5", of_closes([0.0, 2.0, 1.0, 2.0, 1.0])) == 0.0


def test_regime_of_high_volatility() -> None:
    """True ranges 1, 1, 2: both earlier ones lie below. With 1, 2, 2 one does and one ties: 0.75."""
    assert value("regime_2_2.8_1_3_0.9", of_closes([0.0, 1.0, 0.0, 2.0])) == 2.0
    assert value("regime_2_9_1_3_1", of_closes([0.0, 1.0, 0.0, 2.0])) == 0.0
    assert value("regime_2_9_1_3_0.7", of_closes([0.0, 1.0, 3.0, 1.0])) == 2.0
    assert value("regime_2_9_1_3_0.75", of_closes([0.0, 1.0, 3.0, 1.0])) == 0.0


def test_a_market_that_stands_still_is_sideways() -> None:
    assert value("regime_5_0_1_3_0.5", of_closes([7.0] * 8)) == 0.0
    assert value("regime_5_0_1_3_0.5", of_closes([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])) == 0.0


def test_volume() -> None:
    rows = of_closes([1.0, 2.0, 1.0, 2.0], [4.0, 2.0, 2.0, 8.0])
    assert value("volume_pctile_4", rows) == 1.0
    assert value("volume_ratio_1_4", rows) == 2.0
    assert value("volume_ratio_1_4", of_closes([1.0] * 4, [0.0] * 4)) == 1.0
    assert value("volume_pctile_3", rows[:3]) == 0.25


def test_on_balance_volume_slope() -> None:
    """Balance +2, 0 (no change), +8 -> 2, 2, 10: slope 4 per bar; mean volume 5."""
    rows = of_closes([1.0, 2.0, 2.0, 3.0], [9.0, 2.0, 5.0, 8.0])
    assert value("obv_slope_3", rows) == pytest.approx(4.0 / 5.0)
    falling = of_closes([3.0, 2.0, 1.0], [9.0, 4.0, 4.0])
    assert value("obv_slope_2", falling) == pytest.approx(-1.0)


def test_donchian() -> None:
    rows = [(5.0, 10.0, 0.0, 5.0), (5.0, 8.0, 4.0, 7.5)]
    assert value("donchian_position_2", rows) == 0.75
    assert value("donchian_proximity_2", rows) == 0.5


def test_pivot_position() -> None:
    """A pivot high at 9 and, after it, a pivot low at 1."""
    highs, lows = [5.0, 9.0, 6.0, 5.0, 6.0, 6.0], [4.0, 8.0, 3.0, 1.0, 3.0, 3.0]
    rows = [(low, high, low, low) for high, low in zip(highs, lows, strict=True)]
    for close, expected in ((10.0, 1.0), (9.0, 0.0), (5.0, 0.0), (1.0, 0.0), (0.5, -1.0)):
        last = (close, max(close, 6.5), min(close, 2.0), close)
        assert value("pivot_position_1_7", [*rows, last]) == expected


def test_no_pivot_no_position() -> None:
    assert value("pivot_position_1_5", of_closes([1.0, 2.0, 3.0, 4.0, 5.0])) == 0.0
    assert value("supply_zone_distance_1_5_1", of_closes([1.0, 2.0, 3.0, 4.0, 5.0])) == 10.0


def test_supply_zone_distance() -> None:
    """Zone from the body's top 9 at the pivot high 10; close 5, last true range 2: two ATRs."""
    rows = [(4.0, 5.0, 4.0, 4.0), (9.0, 10.0, 4.0, 5.0), (5.0, 6.0, 4.0, 5.0), (5.0, 6.0, 4.0, 5.0)]
    assert value("supply_zone_distance_1_4_1", rows) == 2.0


def test_pair() -> None:
    ours, theirs = of_closes([10.0, 11.0, 12.1]), of_closes([10.0, 10.5, 11.025])
    assert value("pair_ret_1", ours, theirs) == pytest.approx(0.05)
    assert value("pair_ibs", ours, [(5.0, 10.0, 0.0, 2.0)] * 3) == 0.2
    assert value("pair_log_ratio_z_3", ours, theirs) == pytest.approx(np.sqrt(1.5))
    assert value("pair_zscore_3", ours, of_closes([1.0, 2.0, 3.0])) == pytest.approx(np.sqrt(1.5))
    assert value("pair_rsi_2", ours, of_closes([3.0, 2.0, 1.0])) == 0.0


def test_pair_beta_and_correlation() -> None:
    """Returns 0.2, -0.1, 0.4 against half of each: a beta of 2; a pair that stands still: 0."""
    ours = of_closes([100.0, 120.0, 108.0, 151.2])
    theirs = of_closes([100.0, 110.0, 104.5, 125.4])
    assert value("pair_beta_3", ours, theirs) == pytest.approx(2.0)
    assert value("pair_beta_3", ours, of_closes([5.0] * 4)) == 0.0
    assert np.isnan(value("pair_beta_3", ours, of_closes([5.0, -1.0, 5.0, 6.0])))
    assert value("pair_corr_3", of_closes([0.0, 1.0, 3.0, 2.0]), of_closes([5.0, 3.0, -1.0, 1.0])) == -1.0
    assert np.isnan(value("pair_log_ratio_z_3", ours, of_closes([5.0, -1.0, 5.0, 6.0])))
    assert np.isnan(value("pair_ret_1", ours, of_closes([5.0, 5.0, -1.0, 6.0])))


class OneMoment(CanonicalSession):
    """A calendar in which every bar stands at one given place."""

    def __init__(self, **columns: float) -> None:
        super().__init__()
        self._columns = columns

    def columns(self, end: np.ndarray, timeframe: Timeframe) -> dict[str, np.ndarray]:
        found = super().columns(end, timeframe)
        return found | {name: np.full(end.size, given) for name, given in self._columns.items()}


def at(feature_id: str, **columns: float) -> float:
    market = Market(instrument=canonical_market().instrument, session=OneMoment(**columns))
    history = History(bars={}, markets={CANONICAL_SYMBOL: market})
    return float(REGISTRY.calculate(feature_id, bars_of(of_closes([1.0])), history=history)[0])


@pytest.mark.parametrize("name", ["day_of_week", "month", "day_of_month", "trading_day_of_month", "hour"])
def test_calendar_columns_pass_through(name: str) -> None:
    assert at(name, **{name: 4.0}) == 4.0


def test_month_end() -> None:
    assert at("month_end_1", trading_days_left_in_month=0.0) == 1.0
    assert at("month_end_1", trading_days_left_in_month=1.0) == 0.0
    assert at("month_end_3", trading_days_left_in_month=2.0) == 1.0


def test_minutes_since_open() -> None:
    assert at("minutes_since_open", minute_of_session=-30.0) == -30.0


@pytest.mark.parametrize(
    ("minute", "length", "segment"),
    [
        (1, 400, 0),
        (100, 400, 0),
        (101, 400, 1),
        (400, 400, 3),
        (-5, 400, 0),
        (500, 400, 3),
        (150, 200, 2),
        (5, 0, 0),
    ],
)
def test_session_segment(minute: float, length: float, segment: float) -> None:
    assert at("session_segment_4", minute_of_session=float(minute), session_minutes=float(length)) == segment
    source = interpreted(REGISTRY.parse("session_segment_4").terms[0].feature.compute)
    assert source(np.array([float(minute)]), np.array([float(length)]), 4) == segment


@pytest.mark.parametrize(
    ("feature_id", "rule"),
    [
        ("macd_hist_atr_26_12_9_14", "needs fast < slow"),
        ("sma_spread_atr_50_50_14", "needs fast < slow"),
        ("ema_spread_atr_50_20_14", "needs fast < slow"),
        ("vol_ratio_50_5", "needs short < long"),
        ("compression_20_5_10", "needs short < long"),
        ("volume_ratio_20_20", "needs short < long"),
        ("efficiency_mix_5_20_10", "needs short < middle < long"),
        ("psar_distance_0.3_0.2_100_14", "needs step <= limit <= 1"),
        ("pivot_position_2_4", r"needs bars > 2 \* wing"),
        ("supply_zone_distance_3_6_14", r"needs bars > 2 \* wing"),
        ("nr_1", "must be at least 2"),
        ("regime_200_0.5_14_252_1.5", "needs calm <= 1"),
        ("regime_1_0.5_14_252_0.8", "bars = 1: must be at least 2"),
        ("pctb_20_0.01", "must be at least 0.1"),
    ],
)
def test_parameters_without_meaning_are_refused(feature_id: str, rule: str) -> None:
    with pytest.raises(FeatureError, match=rule):
        REGISTRY.parse(feature_id)
