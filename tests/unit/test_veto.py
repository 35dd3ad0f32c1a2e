"""The model's veto, end to end: what it blocks, what it sees, what it may answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lockstep.errors import StrategyError
from lockstep.strategy.veto import Veto
from support.scenarios import backtest, daily_bars

SIGNAL = (100.0, 104.0, 100.0, 100.5)
STRONG = (102.0, 105.0, 101.0, 104.75)
ROWS = [SIGNAL, STRONG, STRONG] * 12


@dataclass
class Fixed:
    """Answers each call with the next of `answers`, and keeps what it was asked."""

    answers: list[float]
    asked: list[Any] = field(default_factory=list)

    def predict_proba(self, features: Any, /) -> Any:
        self.asked.append(features.copy())
        chance = self.answers[len(self.asked) % len(self.answers)]
        return np.array([[1.0 - chance, chance]])


def run(model: Any, *ids: str, threshold: float = 0.5) -> Any:
    return backtest(daily_bars(ROWS), veto=Veto(model=model, feature_ids=ids, threshold=threshold))


def test_a_low_probability_sends_nothing() -> None:
    """PARITY 15."""
    result = run(Fixed([0.49]), "ibs")
    assert len(result.orders) == 0
    assert set(result.reasons["reason"]) == {"veto", "no signal"}
    vetoed = result.decisions[result.decisions["reason"] == "veto"]
    assert vetoed["probability"].tolist() == [0.49] * 12 * 1


def test_a_high_probability_changes_nothing() -> None:
    with_model, without = run(Fixed([0.5]), "ibs"), backtest(daily_bars(ROWS))
    assert with_model.trades.drop(columns="probability").equals(without.trades.drop(columns="probability"))
    assert with_model.trades["probability"].eq(0.5).all()
    assert without.trades["probability"].isna().all()


def test_only_some_are_vetoed() -> None:
    result = run(Fixed([0.9, 0.1]), "ibs")
    assert 0 < len(result.trades) < 12


def test_the_model_is_asked_at_entries_only_with_its_ids_in_its_order() -> None:
    model = Fixed([0.9])
    result = run(model, "ret_1", "ibs")
    entries = result.features.loc[result.decisions["kind"] == "entry", ["ret_1", "ibs"]]
    assert np.array_equal(np.vstack(model.asked), entries.to_numpy())
    assert tuple(result.features.columns) == ("ibs", "ret_1")


def test_a_missing_value_of_the_model_never_reaches_it() -> None:
    """PARITY 2 and 6."""
    model = Fixed([0.9])
    result = run(model, "zscore_20", "ibs")
    assert "cold zscore_20" in set(result.reasons["reason"])
    assert not any(np.isnan(row).any() for row in model.asked)


@pytest.mark.parametrize(
    "answer", [[[0.5]], [[0.2, math.nan]], [[0.2, 1.2]], [[0.5, 0.5], [0.5, 0.5]]], ids=str
)
def test_an_answer_that_is_no_chance_stops_the_run(answer: list[list[float]]) -> None:
    class Broken:
        def predict_proba(self, features: Any, /) -> Any:
            return np.array(answer)

    with pytest.raises(StrategyError, match="expected one row of two"):
        run(Broken(), "ibs")
