"""Bands, sessions and residuals of the paper comparison, against numbers made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError, ParityError
from lockstep.market.config import load_instruments
from lockstep.monitoring.evidence import digest_of, read_sealed, sealed
from lockstep.monitoring.parity import EngineStep
from lockstep.strategy.matching import opening_account
from lockstep.strategy.records import OrderRecord
from research.paper.bands import (
    STATISTICS,
    AccountStretch,
    Sessions,
    bands,
    closed_trades,
    drawn_runs,
    fan,
    statistics,
)
from research.paper.compare import Curves
from research.paper.report import pnl, strip
from research.paper.residuals import market_model, protective_model, residual, summaries

DAY = 86_400_000_000_000
ES = load_instruments().instrument("ES")
NAN = math.nan


def order(stamp: int, quantity: float, price: float, intent: str, status: str = "completed") -> OrderRecord:
    return OrderRecord(
        symbol="ES", reference=0, decision=0, intent=intent, reason="", status=status, stamp=stamp,
        quantity=quantity, price=price, commission=1.25, slippage=0.0,
    )  # fmt: skip


def step(day: int, equity: float, *orders: OrderRecord) -> EngineStep:
    return EngineStep(symbol="ES", stamp=day * DAY, orders=orders, mark=(0.0, 0.0, 0.0, equity))


def days(ends: Any) -> Any:
    return ends.astype("M8[ns]").astype("M8[D]")


def sessions(pnl: Any, closed: Any = None, won: Any = None) -> Sessions:
    values = np.array(pnl, dtype=np.float64)
    none = np.zeros(values.size, dtype=np.int64)
    return Sessions(
        dates=np.datetime64("2020-01-01") + np.arange(values.size),
        pnl=values,
        closed=none if closed is None else np.array(closed),
        won=none if won is None else np.array(won),
        capital=1_000.0,
        per_year=252.0,
    )


# Sessions


def test_a_trade_by_hand() -> None:
    steps = [
        step(1, 99_998.75, order(DAY, 2.0, 100.0, "entry"), order(DAY, -2.0, 99.0, "stop", "accepted")),
        step(2, 100_100.0, order(2 * DAY, -2.0, 101.0, "exit")),
    ]
    assert closed_trades(steps, 50.0) == [(2 * DAY, 1.0 * 2 * 50 - 2.5)]


def test_stretches_are_joined_by_what_they_earned() -> None:
    first = AccountStretch(steps=[step(1, 1_010.0), step(2, 1_005.0)], opening=1_000.0)
    second = AccountStretch(
        steps=[step(3, 905.0, order(3 * DAY, 1.0, 10.0, "entry"), order(3 * DAY, -1.0, 9.0, "stop"))],
        opening=900.0,
    )
    found = Sessions.of([first, second], days, multiplier=1.0, capital=1_000.0, per_year=252.0)
    assert found.pnl.tolist() == [10.0, -5.0, 5.0]
    assert (found.closed.tolist(), found.won.tolist()) == ([0, 0, 1], [0, 0, 0])


def test_bars_of_one_session_are_one_row() -> None:
    steps = [
        step(1, 1_001.0),
        EngineStep(symbol="ES", stamp=DAY + 1, orders=(), mark=(0.0, 0.0, 0.0, 1_003.0)),
    ]
    found = Sessions.of(
        [AccountStretch(steps=steps, opening=1_000.0)], days, multiplier=1.0, capital=1.0, per_year=252.0
    )
    assert (len(found), found.pnl.tolist()) == (1, [3.0])


# Bands


def test_statistics_by_hand() -> None:
    found = statistics(sessions([10.0, -10.0, 30.0], closed=[1, 1, 1], won=[1, 0, 1]))
    returns = np.array([0.01, -0.01, 0.03])
    assert found["return"] == pytest.approx([0.03])
    assert found["sharpe"] == pytest.approx([returns.mean() / returns.std(ddof=1) * math.sqrt(252)])
    assert found["win_rate"] == pytest.approx([2 / 3])
    assert found["trades_per_month"] == pytest.approx([3 / (3 / 21)])


def test_statistics_without_trades_are_undefined() -> None:
    found = statistics(sessions([0.0, 0.0]))
    assert np.isnan(found["win_rate"]).all()
    assert np.isnan(found["sharpe"]).all()
    assert found["return"].tolist() == [0.0]


def judged(paper: Sessions, reference: Sessions, *, level: float = 0.95, seed: int = 0) -> dict[str, Any]:
    rows, _ = drawn_runs(reference, len(paper), resamples=500, seed=seed)
    found = bands(paper, paper, reference, rows, level=level, judged_at_once=4)
    return {each.statistic: each for each in found}


def random_run(count: int, seed: int, drift: float = 0.0) -> Sessions:
    draw = np.random.default_rng(seed)
    closed = draw.integers(0, 2, count)
    return sessions(draw.normal(drift, 10.0, count), closed, closed * draw.integers(0, 2, count))


def test_a_run_of_the_same_kind_is_inside_and_a_drifting_one_is_not() -> None:
    reference = random_run(500, 1)
    assert all(band.inside for band in judged(random_run(20, 2), reference).values())
    worse, better = (judged(random_run(20, 2, drift), reference) for drift in (-25.0, 25.0))
    assert not worse["return"].inside
    assert not better["return"].inside, "better than validated is not as validated"


def test_a_desk_that_does_not_trade_is_noticed() -> None:
    every_day = np.ones(300, dtype=np.int64)
    reference = sessions(np.tile([1.0, -1.0], 150), closed=every_day, won=np.tile([1, 0], 150))
    found = judged(sessions(np.zeros(10)), reference)
    assert not found["trades_per_month"].inside
    assert (found["win_rate"].judged, found["win_rate"].inside) == (False, True)


def test_false_alarms_stay_below_what_is_promised() -> None:
    reference = random_run(600, 3)
    alarms = sum(
        not all(band.inside for band in judged(random_run(15, seed), reference, level=0.9).values())
        for seed in range(100, 160)
    )
    assert alarms <= 12, "10 % of 60, and room for chance"


def test_draws_are_reproducible_and_of_the_length_asked_for() -> None:
    reference = random_run(100, 4)
    rows, block = drawn_runs(reference, 12, resamples=30, seed=5)
    again, _ = drawn_runs(reference, 12, resamples=30, seed=5)
    assert (rows.shape, block >= 1) == ((30, 12), True)
    assert np.array_equal(rows, again)
    found = fan(reference, rows)
    assert (found.low <= found.middle).all()
    assert (found.middle <= found.high).all()


@pytest.mark.parametrize("length", [5, 101])
def test_a_reference_that_is_too_short_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="begin it earlier"):
        drawn_runs(random_run(6 if length == 5 else 100, 4), length, resamples=30, seed=5)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_must_be_a_share(level: float) -> None:
    with pytest.raises(ConfigError, match="level"):
        judged(random_run(10, 1), random_run(50, 1), level=level)


def test_pictures_of_what_is_known_and_unknown() -> None:
    run, reference = random_run(20, 2), random_run(100, 1)
    rows, _ = drawn_runs(reference, 20, resamples=50, seed=0)
    drawn = pnl(Curves(paper=run, backtest=run, fan=fan(reference, rows)))
    assert {trace.name for trace in drawn.data} >= {"paper", "backtest"}
    found = judged(run, reference)
    assert all(strip(found[name]) is not None for name in STATISTICS)
    silent = judged(sessions(np.zeros(10)), sessions(np.zeros(50)))
    assert strip(silent["win_rate"]) is None
    assert strip(silent["return"]) is not None


# Residuals


def test_a_market_order_costs_what_match_says() -> None:
    bar = (5_000.0, 5_010.0, 4_990.0, 5_005.0)
    assert market_model(2.0, bar, ES) == 5_000.25
    assert market_model(-2.0, bar, ES) == 4_999.75


@pytest.mark.parametrize(("quantity", "price"), [(2.0, 5_001.0), (-2.0, 4_999.0)])
def test_a_residual_is_positive_against_us(quantity: float, price: float) -> None:
    model = 5_000.25 if quantity > 0 else 4_999.75
    found = residual(ES, stamp=1, order="market", quantity=quantity, price=price, model=model, commission=3.0)
    assert found.ticks == pytest.approx(3.0)
    assert found.usd == pytest.approx(0.75 * 50 * 2)
    assert found.commission == pytest.approx(3.0 - 2 * ES.commission)


def test_stops_and_targets_by_the_settled_bar() -> None:
    account = (1.0, 5_000.0, 4_950.0, 5_050.0, 0.0)
    touched = (5_000.0, 5_010.0, 4_940.0, 4_960.0)
    assert protective_model("stop", account, 4_950.0, touched, ES) == (4_949.75, True)
    gap = (4_900.0, 4_910.0, 4_890.0, 4_905.0)
    assert protective_model("stop", account, 4_950.0, gap, ES) == (4_899.75, True)
    quiet = (5_000.0, 5_010.0, 4_990.0, 5_005.0)
    assert protective_model("stop", account, 4_950.0, quiet, ES) == (4_949.75, False)
    assert protective_model("target", account, 5_050.0, quiet, ES) == (5_050.0, False)
    up = (5_000.0, 5_060.0, 4_990.0, 5_005.0)
    assert protective_model("target", account, 5_050.0, up, ES) == (5_050.0, True)
    assert opening_account(0.0)[0] == 0.0


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30))
@settings(max_examples=30)
def test_summaries_count_and_add_up(ticks: list[float]) -> None:
    made = [
        residual(
            ES,
            stamp=1,
            order="market",
            quantity=1.0,
            price=5_000 + each * 0.25,
            model=5_000.0,
            commission=0.0,
        )
        for each in ticks
    ]
    (found,) = summaries(made)
    assert found.fills == len(ticks)
    assert found.usd == pytest.approx(sum(ticks) * 12.5, abs=1e-6)
    assert found.worst_ticks == pytest.approx(max(ticks))
    assert summaries([]) == ()


# Evidence


def test_sealed_content_comes_back_and_an_edit_is_noticed(tmp_path: Any) -> None:
    path = tmp_path / "x.json"
    path.write_text(sealed({"kind": "k", "schema": 1, "value": 0.1}))
    content = read_sealed(path, kind="k", schema=1)
    assert content["value"] == 0.1
    assert content["digest"] == digest_of(content)
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(ParityError, match="was changed after"):
        read_sealed(path, kind="k", schema=1)
    with pytest.raises(ParityError, match="is no other of schema 1"):
        read_sealed(path, kind="other", schema=1)
    with pytest.raises(ParityError, match="No such file"):
        read_sealed(tmp_path / "absent", kind="k", schema=1)
    path.write_text("{")
    with pytest.raises(ParityError, match="is no JSON"):
        read_sealed(path, kind="k", schema=1)
    with pytest.raises(ValueError, match="Out of range"):
        sealed({"value": NAN})
