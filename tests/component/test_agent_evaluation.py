"""What training bars say about a spec, against a slow recount from Backtrader, and what it may not see."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep import metrics
from lockstep.errors import ConfigError, FeatureError
from lockstep.features.feature_registry import default_registry
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.config import REGIME_ID
from lockstep.strategy.families.rules import RulesConfig
from research.agents.evaluation import OFFERED, QUANTILES, TrainingEvaluator
from research.agents.fold_measures import SessionFolds
from research.agents.proposal import TrialMeasures
from research.backtest.run import run_backtest
from research.statistics.null_bars import redrawn_history
from research.statistics.regimes import REGIMES
from research.sweep.behaviour import behaviours
from research.sweep.run import trace

SYMBOL, KEY = "COMP", SeriesKey("COMP", DAILY)
SPAN = DateRange.of("2003-01-02", "2009-12-31")
LEAST = 15

SPECS: dict[str, dict[str, Any]] = {
    "dip": {"long_entry": {"id": "ibs", "below": 0.2}, "long_exit": {"id": "ibs", "above": 0.7}},
    "both sides": {
        "long_entry": {"all": [{"id": "rsi_2", "below": 20}, {"id": "close_sma_atr_20_14", "below": 0}]},
        "short_entry": {"id": "rsi_2", "above": 85},
        "max_bars": 3,
        "stop": {"atr": 1.0},
    },
    "target": {"short_entry": {"id": "ret_1", "above": 0.005}, "target": {"percent": 0.8}, "max_bars": 4},
    "rare": {"long_entry": {"id": "rsi_14", "below": 38}, "max_bars": 2},
    "score": {
        "score": [{"id": "ibs", "weight": -1}, {"id": "rsi_2", "weight": -0.01}],
        "long_entry": {"id": "score", "above": -0.4},
        "max_bars": 5,
        "stop": {"percent": 2},
        "veto": {"id": "atr_pctile_14_252", "at_least": 0.3},
    },
}  # fmt: skip


def spec(name: str = "x", **content: Any) -> RulesConfig:
    return RulesConfig.model_validate({"name": name, **content})


@pytest.fixture(scope="module")
def history() -> History:
    return load_history(SYMBOL, start="1999-01-04", end="2012-12-31")


@pytest.fixture(scope="module")
def evaluator(history: History) -> TrainingEvaluator:
    return TrainingEvaluator(history, SYMBOL, SPAN, least_trades=LEAST)


def recounted(config: RulesConfig, history: History, evaluator: TrainingEvaluator) -> dict[str, Any]:
    """Return the measures of a spec from a backtest in Backtrader, by pandas, one fold after the other."""
    market = history.markets[SYMBOL]
    ticks = 2 * market.instrument.slippage_ticks
    dearer = replace(market, instrument=market.instrument.model_copy(update={"slippage_ticks": ticks}))
    costly = replace(history, markets={**history.markets, SYMBOL: dearer})
    result = run_backtest(config, costly, SYMBOL, span=SPAN)
    days = pd.Series(market.session.dates(result.bars.end, DAILY))
    equity = pd.Series(result.equity["equity"].to_numpy(), index=days)
    changes = equity.diff().fillna(equity.iloc[0] - config.capital) / config.capital
    trades = result.trades[result.trades["status"] == "closed"].reset_index(drop=True)
    place = {stamp: number for number, stamp in enumerate(pd.DatetimeIndex(result.equity.index).asi8)}
    entered, left = (
        np.array([place[each] for each in pd.DatetimeIndex(trades[name]).as_unit("ns").asi8], dtype=int)
        for name in ("entry_end", "exit_end")
    )
    codes = default_registry().calculate(REGIME_ID, history.series(KEY), history=history)
    codes = codes[np.isin(history.series(KEY).end, result.bars.end)]
    held = pd.Series(0, index=days)
    for first, last in zip(entered, left, strict=True):
        held.iloc[first : last + 1] = 1
    still = result.trades[result.trades["status"] != "closed"]
    for stamp in pd.DatetimeIndex(still["entry_end"]).as_unit("ns").asi8:
        held.iloc[place[stamp] :] = 1
    found: dict[str, Any] = {"sharpe": [], "trades": [], "result": [], "exposure": [], "holding": []}
    judged = []
    for number in range(6):
        span = evaluator.folds.dates(number)
        inside = (days >= np.datetime64(span.start)) & (days <= np.datetime64(span.end))
        own = changes[inside.to_numpy()].to_numpy()
        ended = inside.to_numpy()[left] if left.size else np.zeros(0, bool)
        judged.append(ended)
        found["sharpe"].append(metrics.sharpe(own, 252.0))
        found["result"].append(own.mean())
        found["trades"].append(int(ended.sum()))
        found["exposure"].append(held[inside.to_numpy()].mean())
        found["holding"].append(np.maximum(left - entered, 1)[ended].mean() if ended.any() else math.nan)
    ended = np.any(judged, axis=0)
    net = trades["net_pnl"].to_numpy(dtype=float)
    first = np.flatnonzero(days >= np.datetime64(evaluator.folds.dates(0).start))[0]
    found["by_regime"] = {}
    for code, name in REGIMES.items():
        own = net[ended & (codes[entered - 1] == code)]
        years = (codes[first:] == code).sum() / 252.0
        ratio = own.mean() / own.std(ddof=1) * math.sqrt(own.size / years) if own.size > 1 else math.nan
        found["by_regime"][name] = ratio
    total = net[ended].sum()
    found["largest"] = net[ended].max() / total if ended.any() and total > 0 else math.nan
    return found


def close(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True))


def differences(found: TrialMeasures, wanted: dict[str, Any]) -> list[str]:
    folds = {
        name: [getattr(each, name) for each in found.folds]
        for name in ("sharpe", "trades", "result", "exposure", "holding")
    }
    different = [name for name, values in folds.items() if not close(values, wanted[name])]
    if not close(list(found.by_regime.values()), [wanted["by_regime"][each] for each in found.by_regime]):
        different.append("by_regime")
    return different + (["largest"] if not close(found.largest, wanted["largest"]) else [])


class TestOracle:
    @pytest.mark.parametrize("name", SPECS)
    def test_measures_are_those_of_a_recount_in_backtrader(
        self, name: str, history: History, evaluator: TrainingEvaluator
    ) -> None:
        config = spec(name, **SPECS[name])
        (found,) = evaluator.evaluate([config])
        wanted = recounted(config, history, evaluator)
        assert sum(wanted["trades"]) > 10
        assert differences(found, wanted) == []
        ratios = np.nan_to_num(wanted["sharpe"])
        assert close(found.sharpe, ratios.mean())
        enough = sum(each >= LEAST for each in wanted["trades"]) >= 4
        fitness = ratios.mean() - ratios.std(ddof=1) / math.sqrt(6) if enough else math.nan
        assert close(found.fitness, fitness)
        assert enough is (name != "rare")

    def test_single_slippage_is_seen(self, history: History, evaluator: TrainingEvaluator) -> None:
        """The control: the recount at the costs that the market has says something else."""
        config = spec(**SPECS["dip"])
        cheap = run_backtest(config, history, SYMBOL, span=SPAN)
        (found,) = evaluator.evaluate([config])
        trades = cheap.trades[cheap.trades["status"] == "closed"]
        assert trades["net_pnl"].sum() > sum(each.result for each in found.folds) * 100_000

    def test_costs_are_a_share_of_what_winners_earned(
        self, history: History, evaluator: TrainingEvaluator
    ) -> None:
        config = spec(**SPECS["target"])
        (found,) = evaluator.evaluate([config])
        instrument = history.markets[SYMBOL].instrument
        result = run_backtest(config, evaluator.history, SYMBOL, span=SPAN)
        trades = result.trades[result.trades["status"] == "closed"]
        span = evaluator.folds.dates(5)
        ended = pd.DatetimeIndex(trades["exit_end"]).tz_localize(None) >= pd.Timestamp(span.start)
        some = trades[ended]
        assert len(some) == found.folds[5].trades
        slips = np.where(some["exit_reason"].astype(str).str.contains("target"), 1, 2)
        ticks = 2 * instrument.slippage_ticks * instrument.tick_size * instrument.multiplier
        paid = some["commission"].to_numpy(dtype=float) + slips * ticks * some["quantity"].abs()
        before = some["net_pnl"].to_numpy(dtype=float) + paid
        assert found.folds[5].cost_share == pytest.approx(paid.sum() / before[before > 0].sum())


class TestWhatItReads:
    def test_later_bars_change_nothing(self, history: History, evaluator: TrainingEvaluator) -> None:
        """Bars beyond the range are not looked at: cut away, they leave every bit as it was."""
        cut = load_history(SYMBOL, start="1999-01-04", end="2009-12-31")
        config = spec(**SPECS["both sides"])
        assert repr(TrainingEvaluator(cut, SYMBOL, SPAN, least_trades=LEAST).evaluate([config])) == repr(
            evaluator.evaluate([config])
        )

    def test_missing_values_are_counted_on_the_judged_bars(self, history: History) -> None:
        young = load_history(SYMBOL, start="2003-01-02", end="2009-12-31")
        evaluator = TrainingEvaluator(young, SYMBOL)
        (warm,) = evaluator.evaluate([spec(long_entry={"id": "rsi_2", "below": 20}, max_bars=2)])
        (cold,) = evaluator.evaluate(
            [spec(long_entry={"id": "close_ema_atr_200_14", "below": 0}, max_bars=2)]
        )
        judged = int(evaluator.folds.edges[-1] - evaluator.folds.edges[0])
        assert warm.missing == 0.0
        assert cold.missing == pytest.approx((999 - evaluator.folds.edges[0]) / judged)

    def test_the_behaviour_is_that_of_the_sweep(self, history: History, evaluator: TrainingEvaluator) -> None:
        configs = [spec(**SPECS["dip"]), spec(**SPECS["score"])]
        dearer = evaluator.history
        assert [each.behaviour for each in evaluator.evaluate(configs)] == behaviours(
            configs, dearer, SYMBOL, span=SPAN
        )
        same = spec(long_entry={"not": {"id": "ibs", "at_least": 0.2}}, long_exit=SPECS["dip"]["long_exit"])
        assert evaluator.behaviour(same) == evaluator.behaviour(configs[0]) != evaluator.behaviour(configs[1])

    @pytest.mark.parametrize(
        ("config", "error"),
        [
            (spec(long_entry={"id": "ibs", "below": 0.2}, max_bars=2, timeframe="1h"), ConfigError),
            (spec(long_entry={"id": "nobody_5", "below": 0.2}, max_bars=2), FeatureError),
        ],
        ids=["other bars", "unknown id"],
    )
    def test_what_cannot_be_evaluated_is_refused(
        self, config: RulesConfig, error: type[Exception], evaluator: TrainingEvaluator
    ) -> None:
        with pytest.raises(error):
            evaluator.evaluate([config])

    def test_too_short_a_range_is_refused(self, history: History) -> None:
        with pytest.raises(ConfigError, match="too few for 6 walk-forward folds"):
            TrainingEvaluator(history, SYMBOL, DateRange.of("2009-12-21", "2009-12-31"))


class TestFolds:
    def test_they_are_equal_and_end_with_the_range(self) -> None:
        days = np.arange("2001-01-01", "2005-01-01", dtype="M8[D]")
        folds = SessionFolds.of(days)
        assert folds.edges[-1] == days.size
        assert set(np.diff(folds.edges)) == {int(0.6 * days.size) // 6}
        assert 0.4 * days.size <= folds.edges[0] < 0.4 * days.size + 6
        for number in range(6):
            assert folds.before(number).end < folds.dates(number).start

    def test_by_fold_equals_the_fold_alone(self, history: History, evaluator: TrainingEvaluator) -> None:
        """Fold by fold the versions may differ: each fold is a run of its own configuration from flat."""
        low, high = (spec(long_entry={"id": "ibs", "below": each}, max_bars=1) for each in (0.2, 0.4))
        mixed = evaluator.evaluate_by_fold([low, low, low, high, high, high])
        alone = [evaluator.evaluate_by_fold([each] * 6) for each in (low, high)]
        assert mixed.folds == alone[0].folds[:3] + alone[1].folds[3:]
        assert mixed.behaviour not in {each.behaviour for each in alone}
        run = run_backtest(low, evaluator.history, SYMBOL, span=evaluator.folds.dates(1))
        closed = run.trades[run.trades["status"] == "closed"]
        assert len(closed) == mixed.folds[1].trades
        with pytest.raises(ConfigError, match="5 configurations for 6 folds"):
            evaluator.evaluate_by_fold([low] * 5)


class TestRedrawn:
    def test_it_measures_on_bars_whose_directions_are_drawn(self, evaluator: TrainingEvaluator) -> None:
        config = spec(**SPECS["both sides"])
        drawn = evaluator.redrawn((5, 1))
        (found,) = drawn.evaluate([config])
        bars = redrawn_history(evaluator.history, (5, 1))
        assert drawn.history.series(KEY).content_hash == bars.series(KEY).content_hash
        # The market of `evaluator.history` is the dearer one already.
        equity = np.concatenate(([config.capital], trace(config, bars, SYMBOL, span=SPAN).equity))
        own = np.diff(equity)[evaluator.folds.edges[0] :] / config.capital
        ratios = [metrics.sharpe(each, 252.0) for each in own.reshape(6, -1)]
        assert close([each.sharpe for each in found.folds], ratios)
        assert found != evaluator.evaluate([config])[0]

    def test_the_catalogue_is_that_of_the_drawn_bars(self, evaluator: TrainingEvaluator) -> None:
        (real,), (drawn,) = (each.catalogue(["ret_20"]) for each in (evaluator, evaluator.redrawn(1)))
        assert drawn.quantiles != real.quantiles
        assert replace(drawn, quantiles=real.quantiles) == real

    def test_by_fold_is_drawn_too(self, evaluator: TrainingEvaluator) -> None:
        config = spec(**SPECS["dip"])
        real = evaluator.evaluate_by_fold([config] * 6)
        assert evaluator.redrawn(1).evaluate_by_fold([config] * 6) != real
        assert evaluator.evaluate_by_fold([config] * 6) == real


class TestAnswers:
    def test_quantiles_are_those_of_the_labels_that_end_in_training(
        self, history: History, evaluator: TrainingEvaluator
    ) -> None:
        found = evaluator.answers()
        bars = history.series(KEY)
        inside = SPAN.select(bars, history.markets[SYMBOL])
        later = np.log((bars.high[1:] - bars.low[1:]) / bars.close[:-1])[inside.start : inside.stop - 1]
        assert found["volatility_h1"] == pytest.approx(np.quantile(later, QUANTILES))
        assert found["return_h5"][0] < 0.0 < found["return_h5"][-1]
        assert {each.split("_")[0] for each in found} == {"return", "volatility"}

    def test_bars_that_rolls_moved_have_no_share_of_the_price(self, history: History) -> None:
        moved = replace(history.series(KEY), adjustment="difference")
        evaluator = TrainingEvaluator(replace(history, bars={KEY: moved}), SYMBOL, SPAN)
        assert {each.split("_")[0] for each in evaluator.answers()} == {"return"}


class TestCatalogue:
    def test_quantiles_are_those_of_the_training_bars(
        self, history: History, evaluator: TrainingEvaluator
    ) -> None:
        ibs, rsi = evaluator.catalogue(["ibs", "rsi_2"])
        bars = history.series(KEY)
        inside = SPAN.select(bars, history.markets[SYMBOL])
        values = default_registry().calculate("rsi_2", bars)[inside]
        assert rsi.quantiles == tuple(np.quantile(values, [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]))
        assert (ibs.family, ibs.low, ibs.high) == ("price_bar", 0.0, 1.0)
        assert "bar strength" in ibs.document

    def test_all_that_is_offered_is_known_and_varies(self, evaluator: TrainingEvaluator) -> None:
        offered = {each.id: each for each in evaluator.catalogue()}
        assert set(offered) == set(OFFERED)
        assert {each.family for each in offered.values()} == set(default_registry().families) - {
            "pair", "regime",
        }  # fmt: skip
        assert all(len(each.quantiles) == 9 and each.document for each in offered.values())

    def test_what_hardly_varies_is_left_out(self, evaluator: TrainingEvaluator) -> None:
        assert [each.id for each in evaluator.catalogue(["inside_bar", "ibs"])] == ["ibs"]
