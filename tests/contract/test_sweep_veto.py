"""A model's veto in the sweep and in Backtrader: the same trades, the same equity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.veto import Veto
from research.backtest.run import run_backtest
from research.sweep.inputs import Chances
from research.sweep.run import trace
from support.spec_parity import MODEL, Different

CONFIG = IbsConfig.model_validate(
    {"name": "x", "direction": "both", "stop": {"percent": 1.0}, "filters": [{"feature": "rsi_2", "max": 80}]}
)
SPAN = DateRange.of("2012-01-01", "2016-12-31")


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("SPX", timeframe=DAILY)


def backtrader(history: History, veto: Veto) -> tuple[int, bytes]:
    result = run_backtest(CONFIG, history, "SPX", span=SPAN, veto=veto)
    return len(result.trades), result.equity["equity"].to_numpy().tobytes()


def test_a_veto_gives_the_equity_of_backtrader(history: History) -> None:
    trades, equity = backtrader(history, MODEL)
    chances = Chances.of(MODEL, CONFIG, history, "SPX")
    assert trace(CONFIG, history, "SPX", span=SPAN, chances=chances).equity.tobytes() == equity
    unfiltered = run_backtest(CONFIG, history, "SPX", span=SPAN)
    assert 20 < trades < len(unfiltered.trades)


def test_another_threshold_is_noticed(history: History) -> None:
    _, equity = backtrader(history, MODEL)
    chances = Chances.of(replace(MODEL, threshold=0.5), CONFIG, history, "SPX")
    assert trace(CONFIG, history, "SPX", span=SPAN, chances=chances).equity.tobytes() != equity


def test_a_model_that_answers_many_rows_differently_is_asked_bar_by_bar(history: History) -> None:
    different = replace(MODEL, model=Different())
    alone, asked, at_once = (
        Chances.of(each, CONFIG, history, "SPX").probability.tobytes()
        for each in (MODEL, different, replace(different, in_batches=True))
    )
    assert alone == asked != at_once


def test_answers_at_candidate_bars_are_enough(history: History) -> None:
    chances = Chances.of(MODEL, CONFIG, history, "SPX")
    rows = np.flatnonzero(chances.probability > 0.0)
    some = Chances.at(
        rows,
        chances.probability[rows],
        bars=len(chances.probability),
        threshold=MODEL.threshold,
        feature_ids=MODEL.feature_ids,
    )
    first, second = (trace(CONFIG, history, "SPX", span=SPAN, chances=each) for each in (chances, some))
    assert first.equity.tobytes() == second.equity.tobytes()


def test_answers_of_another_history_are_refused(history: History) -> None:
    wrong = Chances.at([0], np.array([0.5]), bars=7, threshold=0.5)
    with pytest.raises(ConfigError, match="one per bar"):
        trace(CONFIG, history, "SPX", chances=wrong)
