"""What is measured of a model before it is judged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from lockstep.errors import DataError
from lockstep.strategy.veto import Veto
from research.backtest.account import Account
from research.backtest.run import run_backtest
from research.sweep.kernels import FILL_DECISION
from research.sweep.run import trace
from research.training.gain import Gain, random_veto
from research.training.importance import importance, log_losses, reliance, shuffled
from research.training.out_of_sample import (
    OutOfSample,
    RepeatedAnswers,
    backtest,
    traced_runs,
    trading_span,
    window_dates,
)
from research.training.overfitting import deflated_gain, search_overfitting, step_returns
from research.training.probabilities import calibration, precision_recall, roc, wilson
from research.training.refit import answers_after, refitting
from research.training.threshold import taken_trades, threshold_curve
from support.validation_models import KEY, planted, training_config


def test_sweep_and_backtrader_give_the_same_account() -> None:
    history, outcome = planted()
    traced, run = traced_runs(outcome, history).filtered, Account.of_backtest(backtest(outcome, history))
    assert traced.equity.tobytes() == run.equity.tobytes()
    np.testing.assert_array_equal(traced.ended, run.ended)
    np.testing.assert_allclose(traced.pnl, run.pnl, rtol=0, atol=1e-9)
    assert traced.measures.keys() == run.measures.keys()
    assert 0 < traced.pnl.size < traced_runs(outcome, history).unfiltered.pnl.size


def test_an_account_agrees_with_the_measures_of_a_backtest() -> None:
    history, outcome = planted()
    result = backtest(outcome, history)
    found = Account.of_backtest(result).measures
    for name in ("trades", "net_profit", "sharpe", "profit_factor", "win_rate"):
        assert found[name] == pytest.approx(result.metrics[name], rel=1e-12)
    assert found["max_drawdown"] == pytest.approx(result.metrics["max_drawdown"] / result.config.capital)


def test_windows_are_stretches_of_one_account() -> None:
    history, outcome = planted()
    whole = traced_runs(outcome, history).filtered
    parts = [whole.between(first, last) for first, last in window_dates(outcome, history)]
    assert sum(part.pnl.size for part in parts) == whole.pnl.size
    np.testing.assert_allclose(np.concatenate([part.returns for part in parts]), whole.returns, atol=1e-15)
    assert np.concatenate([part.sessions for part in parts]).tolist() == whole.sessions.tolist()


def test_an_account_that_never_moves_has_a_ratio_of_zero() -> None:
    history, outcome = planted()
    still = traced_runs(outcome, history).filtered
    still = replace(still, equity=np.full_like(still.equity, still.capital), pnl=still.pnl[:0])
    assert math.isnan(still.measures["sharpe"])
    assert still.sharpe == 0.0


def test_each_sample_is_answered_once_by_the_earliest_window() -> None:
    _, outcome = planted()
    first, second, *_ = outcome.windows
    twice = replace(second, test=first.test, probabilities=1.0 - first.probabilities)
    found = OutOfSample.of(replace(outcome, windows=(first, twice)))
    np.testing.assert_array_equal(found.sample, first.test)
    np.testing.assert_array_equal(found.probability, first.probabilities)
    assert set(found.window.tolist()) == {first.number}


def test_nothing_after_the_walk_forward_is_traded() -> None:
    history, outcome = planted()
    span = trading_span(outcome, history)
    last = max(outcome.dataset.exit[each.test].max() for each in outcome.windows)
    assert str(span.end) == str(np.datetime64(int(last), "ns").astype("M8[D]"))
    assert outcome.dataset.decision[outcome.hold_out].min() > last


@pytest.mark.no_cover
def test_a_replay_answers_with_the_bar_that_backtrader_is_at() -> None:
    history, outcome = planted()
    ids = outcome.dataset.feature_ids
    config = training_config().strategy.replaced(features=ids)
    answers = np.zeros(2_600)
    opened = trace(config, history, "SPX").fills[-10, FILL_DECISION]
    answers[int(opened)] = 1.0
    model = RepeatedAnswers(answers, 0)
    veto = Veto(model=model, feature_ids=ids, threshold=0.5)
    trades = run_backtest(config, history, "SPX", veto=veto, on_bar=model.seen).trades
    decided = pd.Timestamp(history.series(KEY).end[int(opened)], tz="UTC")
    assert trades["decision_end"].tolist() == [decided]


def test_calibration_is_right_where_probabilities_are() -> None:
    random = np.random.default_rng(1)
    probability = random.uniform(0.2, 0.8, 20_000)
    target = (random.uniform(size=probability.size) < probability).astype(np.int64)
    found = calibration(probability, target)
    assert found.error < 0.02
    assert ((found.low < found.predicted) & (found.predicted < found.high)).sum() >= 8
    assert found.count.sum() == probability.size
    assert calibration(np.full(100, 0.9), np.zeros(100, np.int64)).error == pytest.approx(0.9)


def test_wilson_interval_of_a_published_example() -> None:
    """81 of 263: Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    low, high = wilson(np.array([81 / 263]), np.array([263]))
    assert low[0] == pytest.approx(0.2553, abs=5e-5)
    assert high[0] == pytest.approx(0.3662, abs=5e-5)


def test_curves_need_what_they_compare() -> None:
    probability = np.array([0.1, 0.4, 0.35, 0.8])
    found = roc(probability, np.array([0, 0, 1, 1]))
    assert found is not None
    assert found.area == 0.75
    assert roc(probability, np.ones(4, np.int64)) is None
    assert precision_recall(probability, np.zeros(4, np.int64)) is None
    with pytest.raises(DataError, match="4 probabilities, 3 labels"):
        roc(probability, np.array([0, 1, 1]))
    with pytest.raises(DataError, match="at least one"):
        calibration(np.empty(0), np.empty(0, np.int64))


def test_threshold_curve_counts_the_trades_that_would_be_taken() -> None:
    _, outcome = planted()
    known, chance = outcome.dataset.subset(outcome.development), outcome.best.probabilities
    found = threshold_curve(known, chance)
    at = 40
    taken = taken_trades(known, chance >= found.threshold[at])
    assert found.trades[at] == taken.sum()
    assert found.net_pnl[at] == pytest.approx(known.net_pnl[taken].sum())
    assert found.kept[0] == 1.0
    assert (np.diff(found.trades) <= known.features.shape[0]).all()


def test_steps_earn_the_returns_that_their_threshold_lets_through() -> None:
    _, outcome = planted()
    failed = replace(outcome.steps[0], number=9, score=-math.inf)
    returns = step_returns(replace(outcome, steps=(*outcome.steps, failed)))
    best = outcome.steps.index(outcome.best)
    through = outcome.best.probabilities >= outcome.best.threshold
    assert returns.shape == (outcome.development.size, 4)
    own = outcome.dataset.net_return[outcome.development]
    assert returns[:, best].tolist() == np.where(through, own, 0.0).tolist()


def test_overfitting_needs_a_choice_and_samples() -> None:
    _, outcome = planted()
    assert search_overfitting(replace(outcome, steps=outcome.steps[:1])) is None
    short = replace(
        outcome,
        development=outcome.development[:12],
        steps=tuple(replace(each, probabilities=each.probabilities[:12]) for each in outcome.steps),
    )
    assert search_overfitting(short) is None
    found = search_overfitting(outcome)
    assert found is not None
    assert 0 <= found.probability <= 1


def test_every_training_deflates_the_gain() -> None:
    history, outcome = planted()
    gain = traced_runs(outcome, history).gain
    one, many = (deflated_gain(gain, trainings=count) for count in (1, 4_000))
    assert (one.trials, one.independent, one.chance) == (1, 1.0, 0.0)
    assert one.dsr == pytest.approx(1.0 - gain.p_value)
    assert (many.trials, many.independent) == (4_000, 4_000.0)
    assert many.chance > 1.0
    assert many.dsr < one.dsr
    assert one.sample.ratio * gain.filtered.sessions_per_year**0.5 == pytest.approx(gain.sharpe)


def test_backtrader_and_sweep_carry_the_same_exposure() -> None:
    history, outcome = planted()
    traced, run = traced_runs(outcome, history).filtered, Account.of_backtest(backtest(outcome, history))
    np.testing.assert_allclose(traced.carried, run.carried, rtol=1e-12)
    parts = [traced.between(first, last) for first, last in window_dates(outcome, history)]
    assert sum(part.carried.sum() for part in parts) == pytest.approx(traced.carried.sum())
    assert traced.exposure == pytest.approx(traced.carried.sum() / traced.date.size)


def test_a_gain_is_taken_at_the_exposure_of_the_strategy_without_the_veto() -> None:
    history, outcome = planted()
    runs = traced_runs(outcome, history)
    gain = runs.gain
    assert gain.scale * runs.filtered.exposure == pytest.approx(runs.unfiltered.exposure)
    assert gain.scale > 1.0
    expected = gain.scale * runs.filtered.returns - runs.unfiltered.returns
    np.testing.assert_allclose(gain.returns, expected, atol=1e-15)
    low, high = gain.interval(seed=1)
    assert low < gain.annual < high
    assert gain.interval(seed=1) == (low, high)
    with pytest.raises(DataError, match="run both over the same dates"):
        Gain(filtered=runs.filtered, unfiltered=runs.unfiltered.between(*window_dates(outcome, history)[0]))


def test_no_veto_and_a_veto_of_everything_gain_nothing() -> None:
    history, outcome = planted()
    plain = traced_runs(outcome, history).unfiltered
    same = Gain(filtered=plain, unfiltered=plain)
    assert not same.returns.any()
    assert math.isnan(same.sharpe)
    assert math.isnan(same.p_value)
    assert same.interval(seed=1) == (0.0, 0.0)
    still = replace(plain, equity=np.full_like(plain.equity, plain.capital), pnl=plain.pnl[:0])
    nothing = Gain(
        filtered=replace(still, ended=plain.ended[:0], carried=plain.carried[:0]), unfiltered=plain
    )
    assert not nothing.comparable
    np.testing.assert_array_equal(nothing.returns, -plain.returns)


def test_lots_trade_as_the_strategy_trades() -> None:
    """Each permutation by the plain rule, one at a time: the same trades, and the same P&L per bar."""
    history, outcome = planted()
    answers = OutOfSample.of(outcome)
    data, ends = outcome.dataset.subset(answers.sample), history.series(KEY).end
    found = random_veto(data, answers.passed, answers.window, ends, seed=5, draws=50)
    held = np.searchsorted(ends, data.exit) - np.searchsorted(ends, data.entry)

    def per_bar(accepted: np.ndarray) -> float:
        taken = taken_trades(data, accepted)
        return float(data.net_pnl[taken].sum() / held[taken].sum())

    assert found.found == pytest.approx(per_bar(answers.passed))
    random, drawn = np.random.default_rng(5), np.tile(answers.passed, (50, 1))
    for number in np.unique(answers.window):
        place = np.flatnonzero(answers.window == number)
        drawn[:, place] = random.permuted(drawn[:, place], axis=1)
        assert (drawn[:, place].sum(axis=1) == answers.passed[place].sum()).all()
    np.testing.assert_allclose(found.drawn, [per_bar(each) for each in drawn])
    assert found.p_value == (1 + found.better) / 51


def test_a_veto_of_everything_is_no_better_than_lots() -> None:
    history, outcome = planted()
    answers, ends = OutOfSample.of(outcome), history.series(KEY).end
    data = outcome.dataset.subset(answers.sample)
    nothing = random_veto(data, np.zeros_like(answers.passed), answers.window, ends, seed=5, draws=9)
    assert math.isnan(nothing.p_value)
    everything = random_veto(data, np.ones_like(answers.passed), answers.window, ends, seed=5, draws=9)
    assert everything.p_value == 1.0


def test_refitting_gives_the_windows_own_model() -> None:
    _, outcome = planted()
    refit = refitting(outcome)
    for each in outcome.windows:
        again = refit(each, outcome.dataset.target).predict_proba(outcome.dataset.features[each.test])
        assert again[:, 1].tobytes() == each.probabilities.tobytes()
        quick = answers_after(outcome, each, outcome.dataset.target)
        assert quick.tobytes() == each.probabilities.tobytes()


def test_importance_finds_what_was_planted() -> None:
    _, outcome = planted()
    found = importance(outcome, refitting(outcome))
    assert set(found.ids[:3]) == {"volume_pctile_20", "range_atr_14", "ibs_prev"}
    assert (found.low[:2] > 0).all()
    assert ((found.low <= found.mean) & (found.mean <= found.high)).all()
    assert found.low[found.ids.index("day_of_week")] < 0.002


def test_a_dropped_feature_has_no_importance() -> None:
    _, outcome = planted()
    windows = tuple(replace(each, selected=each.selected[1:]) for each in outcome.windows)
    found = importance(replace(outcome, windows=windows), refitting(outcome), repeats=1)
    row = found.ids.index(outcome.dataset.feature_ids[0])
    assert (found.mean[row], found.low[row], found.high[row]) == (0.0, 0.0, 0.0)


def test_few_samples_have_no_interval() -> None:
    _, outcome = planted()
    window = outcome.windows[0]
    short = replace(window, test=window.test[:5], probabilities=window.probabilities[:5])
    found = importance(replace(outcome, windows=(short,)), refitting(outcome), repeats=1)
    assert np.isnan(found.low).all()
    assert np.isfinite(found.mean).all()


def test_shuffling_moves_one_column_and_depends_on_the_seed() -> None:
    _, outcome = planted()
    features = outcome.dataset.features[:50]
    one, same, other = (shuffled(outcome.pipeline, features, 0, repeats=2, seed=seed) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_model_that_reads_nothing_relies_on_nothing() -> None:
    _, outcome = planted()
    features = outcome.dataset.features[:50]
    constant = DummyClassifier(strategy="prior").fit(features, outcome.dataset.target[:50])
    assert reliance(constant, features, seed=1).tolist() == [0.0] * 5
    assert (reliance(outcome.pipeline, features, seed=1) > 0).any()


def test_log_losses_of_certain_answers_stay_finite() -> None:
    found = log_losses(np.array([0.0, 1.0, 0.5]), np.array([1, 1, 0]))
    assert np.isfinite(found).all()
    assert found[2] == pytest.approx(math.log(2))
