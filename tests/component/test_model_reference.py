"""From a validated version to its frozen reference: every part against another way to work it out."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lockstep import metrics
from lockstep.errors import TrainingError
from lockstep.features.feature_registry import default_registry
from lockstep.features.streaming import WindowFeatures
from lockstep.market.asof import MaxAge
from lockstep.market.history import History
from lockstep.monitoring.drift_baseline import DriftBaseline
from lockstep.monitoring.frozen import FrozenReference
from lockstep.monitoring.ranges import RangeCheck
from research.model_validation import reference as made_of
from research.model_validation.case import ModelCase, StrategyCase
from research.model_validation.checks_inputs import streamed
from research.model_validation.reference import (
    brier_score,
    expected_measures,
    feature_history,
    frozen_reference,
    probability_history,
    reference_outcomes,
    regime_reference,
)
from research.training.config import StrategyRelease
from research.training.out_of_sample import OutOfSample
from research.training.release import ReleasedStrategy
from support.feature_histories import BASE, Recipe, Stretch, history_of
from support.validation_models import KEY, SYMBOL, changed, planted_case, planted_history

SHA = "ab" * 32


@functools.cache
def case() -> ModelCase:
    known = planted_case()
    return replace(known, bundle=replace(known.bundle, sha256=SHA))


@functools.cache
def found() -> FrozenReference:
    return frozen_reference(case())


def test_everything_is_frozen_and_the_same_each_time() -> None:
    assert (found().bundle, found().absent, found().outcomes.off) == (SHA, (), ())
    assert [each.stream for each in found().outcomes.streams] == ["win_rate", "pnl", "calibration", "ic"]
    fresh = replace(planted_case(), bundle=case().bundle)
    assert frozen_reference(fresh).text() == found().text()
    assert found().history_end == str(case().history.series(KEY).end[-1].astype("M8[ns]").astype("M8[D]"))


def test_trades_are_those_of_the_account_at_their_decisions() -> None:
    outcomes, trades = reference_outcomes(case()), case().result.trades
    assert outcomes.profits.tolist() == case().account.pnl.tolist() == list(found().outcomes.trades)
    closed = trades[trades["status"] == "closed"]
    for stamp, row in zip(outcomes.trade_times.tolist(), closed.itertuples(), strict=True):
        assert np.datetime64(stamp, "ns") == np.datetime64(row.decision_end.tz_localize(None), "ns")
        assert row.decision_end < row.entry_end
    win = found().outcomes.of("win_rate")
    assert win is not None
    assert win.estimate == metrics.win_rate(case().account.pnl)


def test_signals_are_separate_and_what_followed_is_worked_out_bar_by_bar() -> None:
    outcomes, data = reference_outcomes(case()), case().outcome.dataset
    bars, answers = case().history.series(KEY), OutOfSample.of(case().outcome)
    answered = dict(zip(answers.sample.tolist(), answers.probability.tolist(), strict=True))
    taken = [each for each in answers.sample.tolist() if data.taken[each]]
    assert outcomes.signal_times.tolist() == data.decision[taken].tolist()
    assert outcomes.probabilities.tolist() == [answered[each] for each in taken]
    assert outcomes.forecasts.tolist() == outcomes.probabilities.tolist()
    assert outcomes.won.tolist() == [int(data.net_pnl[each] > 0) for each in taken]
    assert (data.decision[taken][1:] >= data.exit[taken][:-1]).all()
    ends = bars.end.tolist()
    for followed, stamp, each in zip(outcomes.followings, outcomes.signal_times, taken, strict=True):
        at = ends.index(stamp)
        move = data.side[each] * (bars.close[at + 1] - bars.close[at])
        assert followed == pytest.approx(move / bars.close[at], abs=1e-15)


def test_features_are_what_a_desk_sees_at_the_last_decision_of_a_session() -> None:
    history = found().features
    assert history is not None
    assert history.ids == case().plan.ids
    bars = case().history.series(KEY)
    assert len(history) == len(bars)
    live = WindowFeatures(case().plan, case().history.markets, max_age=case().strategy.max_age.limits)
    assert np.array_equal(history.values, streamed(case().history, live, KEY), equal_nan=True)
    declared = [default_registry().parse(each) for each in history.ids]
    assert history.low.tolist() == [each.low for each in declared]
    assert history.high.tolist() == [each.high for each in declared]
    # The hold-out's features are part of it; its results are not.
    assert np.datetime64(case().span.end) < history.sessions[-1]
    assert DriftBaseline.of(history).years == 10


def hourly(ids: tuple[str, ...], **changes: Any) -> Any:
    """Return what the history of features asks of a case, on hourly bars of one instrument."""
    stretch = Stretch(bars=200, gap=0, drift=0, noise=9, reach=5, volume=1e3)
    history = history_of(Recipe(seed=3, level=20_000, tick=0.25, stretches=(stretch,)), 40)
    strategy = SimpleNamespace(max_age=SimpleNamespace(limits=MaxAge()))
    parts = {
        "plan": default_registry().plan(ids, BASE),
        "history": history,
        "features": default_registry(),
        "strategy": strategy,
    }
    return SimpleNamespace(**{**parts, **changes})


def test_of_many_bars_of_a_session_the_last_one_counts() -> None:
    asked = hourly(("ibs",))
    bars, made = asked.history.series(BASE), feature_history(asked)
    session = asked.history.markets[BASE.symbol].session
    dates = session.dates(bars.end, BASE.timeframe)
    assert 3 < len(made) < len(bars) / 3
    for day, value in zip(made.sessions, made.values[:, 0], strict=True):
        last = np.flatnonzero(dates == day)[-1]
        ibs = (bars.close[last] - bars.low[last]) / (bars.high[last] - bars.low[last])
        assert value == pytest.approx(ibs)


def test_probabilities_are_those_of_the_last_signal_of_each_session() -> None:
    history = found().probabilities
    assert history is not None
    answers, data = case().out_of_sample, case().outcome.dataset
    assert history.gaps
    assert history.sessions[0] == np.datetime64(case().span.start)
    assert history.sessions[-1] == np.datetime64(case().span.end)
    days = (data.decision[answers.sample].astype("M8[ns]")).astype("M8[D]")
    expected = dict(zip(days.tolist(), answers.probability.tolist(), strict=True))
    for day, value in zip(history.sessions.tolist(), history.values[:, 0].tolist(), strict=True):
        assert math.isnan(value) if day not in expected else value == expected[day]
    assert np.isnan(history.values).any()


def test_of_two_signals_in_a_session_the_later_one_counts() -> None:
    asked = hourly(("ibs",))
    session = asked.history.markets[BASE.symbol].session
    dates = session.dates(asked.history.series(BASE).end, BASE.timeframe)
    first = int(np.flatnonzero(dates[1:] == dates[:-1])[20])
    assert dates[first] == dates[first + 1]
    answers = SimpleNamespace(sample=np.array([0, 1]), probability=np.array([0.3, 0.8]))
    outcome = SimpleNamespace(dataset=SimpleNamespace(row=np.array([first, first + 1])))
    span = SimpleNamespace(start=dates[0].item(), end=dates[-1].item())
    model = ModelCase.__new__(ModelCase)
    vars(model).update(vars(asked), out_of_sample=answers, outcome=outcome, span=span)
    made = probability_history(model)
    assert made is not None
    known = made.values[~np.isnan(made.values)]
    assert known.tolist() == [0.8]
    assert made.sessions[np.flatnonzero(~np.isnan(made.values[:, 0]))[0]] == dates[first]


def test_regimes_are_of_the_changes_of_session_closes() -> None:
    close = case().history.series(KEY).close
    made = regime_reference(case())
    assert made == found().regime
    codes = made_of.RegimeReference.of(np.diff(close) / close[:-1], made.volatility)
    assert codes.shares == made.shares
    assert sum(made.shares) == pytest.approx(1.0)


def test_expected_measures_are_those_of_the_backtest() -> None:
    told, shown = expected_measures(case().account), case().result.metrics
    for name in ("cagr", "sharpe", "max_drawdown_fraction", "win_rate", "worst_session"):
        assert getattr(told, name) == pytest.approx(shown[name], rel=1e-9), name
    assert (told.sessions, told.trades) == (shown["sessions"], shown["trades"])
    assert told.trades_per_year == pytest.approx(shown["trades"] / shown["years"])
    assert told.worst_trade_pnl == case().account.pnl.min()
    assert told.worst_session_pnl == pytest.approx(told.worst_session * told.capital)


def test_the_brier_score_is_of_every_answer_of_the_walk_forward() -> None:
    answers, data = OutOfSample.of(case().outcome), case().outcome.dataset
    won = np.array([data.net_pnl[each] > 0 for each in answers.sample.tolist()], dtype=np.float64)
    assert found().expected.brier == pytest.approx(np.mean((answers.probability - won) ** 2))
    separate = case().separate
    assert found().expected.brier != pytest.approx(np.mean((separate.probability - separate.target) ** 2))
    assert brier_score(StrategyCase.__new__(StrategyCase)) is None, "there is no model"


def test_an_account_without_a_trade_expects_nothing() -> None:
    known = case().account
    flat = replace(
        known, equity=np.full(known.equity.size, known.capital), pnl=np.empty(0), ended=known.ended[:0],
        carried=np.empty(0),
    )  # fmt: skip
    told = expected_measures(flat)
    assert (told.trades, told.trades_per_year, told.worst_session) == (0, 0.0, 0.0)
    assert all(map(math.isnan, (told.sharpe, told.win_rate, told.worst_trade_pnl)))


# What cannot be made


def with_few(trades: int) -> ModelCase:
    made = replace(case())
    kept = made.separate.where(np.arange(made.separate.sample.size) < trades)
    vars(made)["separate"] = kept
    vars(made)["result"] = SimpleNamespace(trades=case().result.trades.iloc[:trades])
    vars(made)["account"] = case().account
    return made


def test_too_few_outcomes_are_off_and_the_rest_is_frozen() -> None:
    few = frozen_reference(with_few(49))
    assert few.outcomes.streams == ()
    assert [each.split(":")[0] for each in few.outcomes.off] == ["win_rate", "pnl", "calibration", "ic"]
    assert few.outcomes.off[0] == "win_rate: outcomes of 49 moments, 50 are needed; its alarms are off"
    assert few.features is not None
    assert few.regime == found().regime
    enough = frozen_reference(with_few(50))
    assert {each.stream for each in enough.outcomes.streams} >= {"win_rate", "pnl"}


def test_one_class_only_is_off() -> None:
    won = replace(case().outcome.dataset, target=np.ones_like(case().outcome.dataset.target))
    made = frozen_reference(changed(case(), outcome=replace(case().outcome, dataset=won)))
    assert made.outcomes.of("calibration") is None
    assert "calibration: outcomes of one class only; its alarms are off" in made.outcomes.off
    assert made.outcomes.of("win_rate") is not None


def test_profits_that_never_vary_are_off() -> None:
    made = replace(case())
    equal = case().result.trades.assign(net_pnl=5.0)
    vars(made)["result"], vars(made)["account"] = SimpleNamespace(trades=equal), case().account
    streams = frozen_reference(made).outcomes
    assert streams.of("pnl") is None
    assert any(each.startswith("pnl: ") and "do not vary" in each for each in streams.off)
    assert any(each.startswith("win_rate: all ") for each in streams.off)


def short(sessions: int) -> History:
    history = case().history
    return History(bars={KEY: history.series(KEY).rows(0, sessions)}, markets=history.markets)


def test_a_short_history_has_no_regime_and_says_so() -> None:
    asked: Any = SimpleNamespace(plan=case().plan, history=short(150))
    absent: list[str] = []
    assert made_of._or_absent("regime", absent, lambda: regime_reference(asked)) is None
    (told,) = absent
    assert told.startswith("regime: regimes: 149 returns, a trend needs 200")


def test_a_value_out_of_its_declared_range_leaves_no_history_and_is_named() -> None:
    class Narrow:
        def parse(self, text: str) -> Any:
            return SimpleNamespace(low=0.0, high=0.5)

    absent: list[str] = []
    asked = hourly(("ibs",), features=Narrow())
    assert made_of._or_absent("features", absent, lambda: feature_history(asked)) is None
    assert absent[0].startswith("features: feature history: ibs is ")
    assert "declared are 0 to 0.5" in absent[0]


def test_a_version_that_reads_no_feature_has_no_history() -> None:
    absent: list[str] = []
    asked = hourly(("ibs",), plan=SimpleNamespace(ids=()))
    assert made_of._or_absent("features", absent, lambda: feature_history(asked)) is None
    assert absent == ["features: the version reads none, so that there is no drift to be watched"]


def test_a_feature_that_was_never_known_is_kept_and_is_not_broken() -> None:
    whole = hourly(("close_sma_atr_200_14", "ibs"))
    bars = {key: each.rows(0, 120) for key, each in whole.history.bars.items()}
    whole.history = History(bars=bars, markets=whole.history.markets)
    history = feature_history(whole)
    assert np.isnan(history.values[:, 0]).all()
    assert not np.isnan(history.values[:, 1]).all()
    check = RangeCheck(history)
    assert [each for day in ("2040-01-02", "2040-01-03") for each in check.observe(day, [5.0, 0.5])] == []


def test_a_strategy_without_a_model_has_trades_only() -> None:
    strategy = {"name": "planted", "entry": [0.0, 0.35], "exit": [0.0, 1.0]}
    content = {"symbol": SYMBOL, "strategy": strategy, "hold_out": {"share": 0.15}}
    released = ReleasedStrategy.of(StrategyRelease.model_validate(content), planted_history())
    made = StrategyCase(
        bundle=replace(released.bundle, sha256=SHA), released=released, history=released.history, trials=1,
        independent=1.0, hold_out=lambda _: None,
    )  # fmt: skip
    frozen = frozen_reference(made)
    assert frozen.probabilities is None
    assert frozen.absent == ()
    assert [each.stream for each in frozen.outcomes.streams] == ["win_rate", "pnl"]
    assert [each.split(":")[0] for each in frozen.outcomes.off] == ["calibration", "ic"]
    assert list(frozen.outcomes.trades) == made.account.pnl.tolist()
    assert frozen.features is not None
    assert frozen.features.ids == made.plan.ids == ("ibs",)


def test_what_the_account_raises_is_raised() -> None:
    made = replace(case())

    class Broken:
        @property
        def trades(self) -> Any:
            raise TrainingError("no account")

    vars(made)["result"] = Broken()
    with pytest.raises(TrainingError, match="no account"):
        frozen_reference(made)
