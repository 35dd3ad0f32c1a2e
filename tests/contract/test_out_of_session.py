"""Bars that no session of the calendar has, in research, sweep and live.

Intraday ones are loaded and never decided on. Session bars of settled files are sessions, whatever the
calendar says: it lacks days on which the market did open. A live one waits for the operator:
`test_quarantine.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from lockstep.features.feature_registry import default_registry
from lockstep.live.messages import SetRecord
from lockstep.live.rerun import step_of
from lockstep.live.traded import TradedModel
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import BAR_COLUMNS, Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY
from lockstep.models.bundle import Bundle, golden_vectors
from lockstep.monitoring.parity import ParityComparison, compare
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import IN_SESSION, OUTSIDE_SESSION
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.records import EQUITY
from research.backtest.result import BacktestResult, steps_of
from research.backtest.run import run_backtest
from research.sweep.run import trace
from support import desks
from support.markets import HOURLY, NEW_YORK, NYSE, stamps

COMP, SPX = SeriesKey("COMP", DAILY), SeriesKey("SPX", DAILY)
HOUR, DAY = SeriesKey("SPY", HOURLY), SeriesKey("SPY", DAILY)
WARM = 400
HOURLY_WARM = 147
HOURLY_CONFIG = IbsConfig.model_validate(
    {
        "name": "hours",
        "timeframe": "1h",
        "direction": "both",
        "entry": [0.0, 0.4],
        "exit": [0.6, 1.0],
        "short_entry": [0.6, 1.0],
        "short_exit": [0.0, 0.4],
        "stop": {"percent": 0.5},
        "auto_close": "16:00",
        "filters": [{"feature": "ibs@1d", "min": -1.0, "max": 2.0}],
    }
)


def at_its_low(bars: Bars, row: int, end: int) -> Bars:
    """Return one bar after `row` that closes at its low: a signal for whoever decides on it."""
    close = float(bars.close[row])
    values = dict(zip(BAR_COLUMNS, (close, close * 1.004, close * 0.996, close * 0.9961, 5.0), strict=True))
    columns = {name: np.array([value]) for name, value in values.items()}
    return replace(bars, end=np.array([end], dtype=np.int64), **columns)


def with_bars_at(bars: Bars, ends: Sequence[int]) -> Bars:
    rows = np.searchsorted(bars.end, ends) - 1
    parts = [bars, *(at_its_low(bars, int(row), int(end)) for row, end in zip(rows, ends, strict=True))]
    order = np.argsort(np.concatenate([part.end for part in parts]))
    names = ("end", *BAR_COLUMNS)
    return replace(
        bars, **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names}
    )


def unscheduled_days(session: Session, bars: Bars) -> list[int]:
    """Return the nominal closes of every fourth day without a session: weekends and holidays."""
    first, last = session.dates(bars.end[[WARM + 1, -1]], DAILY)
    closed = np.setdiff1d(np.arange(first, last), session.scheduled_dates(first, last))
    holidays = closed[np.is_busday(closed)]
    return session.nominal_close(np.unique(np.concatenate([closed[::4], holidays]))).tolist()


def daily() -> History:
    """COMP beside SPX with weekend and holiday bars, most of them in both."""
    history = desks.history(WARM + 300)
    added = unscheduled_days(NYSE, history.bars[COMP])
    assert len(added) > 30
    series = {COMP: added, SPX: added[::2]}
    return replace(history, bars={key: with_bars_at(bars, series[key]) for key, bars in history.bars.items()})


def hourly() -> History:
    """SPY around Christmas with prints after early closes, on holidays and Saturdays, and its days."""
    days = np.arange(np.datetime64("2018-10-15"), np.datetime64("2019-01-12"))
    days = days[np.is_busday(days) | (days.astype(np.int64) % 7 == 2)]
    ends = stamps([f"{day} {hour}:00" for day in days for hour in range(10, 17)], NEW_YORK)
    draw = np.random.default_rng(11)
    close = 250 + np.cumsum(draw.normal(scale=0.4, size=ends.size))
    open_ = close + draw.normal(scale=0.2, size=ends.size)
    high, low = np.maximum(open_, close) + 0.1, np.minimum(open_, close) - 0.1
    columns = dict(zip(BAR_COLUMNS, (open_, high, low, close, np.full(ends.size, 9.0)), strict=True))
    hours = Bars(symbol="SPY", timeframe=HOURLY, end=ends, **columns)
    outside = ~NYSE.in_session(ends, HOURLY)
    assert 3 * 7 < outside.sum() < ends.size / 3
    return History(
        bars={HOUR: hours, DAY: aggregate(hours, DAILY, NYSE)}, markets={"SPY": desks.load_markets()["SPY"]}
    )


def hourly_model(history: History) -> TradedModel:
    """A forest that knows nothing, on hours of SPY."""
    ids = ("ibs", "rsi_2")
    draw = np.random.default_rng(3)
    forest = RandomForestClassifier(n_estimators=8, max_depth=4, random_state=3, n_jobs=1)
    pipeline = Pipeline([("model", forest)]).fit(draw.normal(size=(200, 2)), draw.integers(0, 2, 200))
    registry = default_registry()
    stamps_ = history.bars[HOUR].end[[200, 210]]
    golden = golden_vectors(history, HOUR, ids, pipeline, stamps_, HOURLY_CONFIG.max_age.limits)
    strategy: dict[str, Any] = {
        "family": "IbsConfig",
        "config": HOURLY_CONFIG.model_dump(mode="json"),
        "config_hash": HOURLY_CONFIG.config_hash,
    }
    return TradedModel.of(
        Bundle(
            symbol="SPY", pipeline=pipeline, feature_ids=ids, strategy=strategy, threshold=0.3, training={},
            fingerprints={each: registry.fingerprint(each) for each in ids}, metrics={}, golden=golden,
            sha256="hours", version="v1",
        )
    )  # fmt: skip


def live(folder: Path, model: TradedModel, history: History, warm: int) -> list[SetRecord]:
    """Trade a history live; every series is warmed by what completed up to the traded one's `warm`-th bar."""
    until = int(history.bars[model.key].end[warm - 1])
    known = {key: tuple(row for row in desks.kept(history, key) if row[0] <= until) for key in history.bars}
    epoch = replace(desks.first_epoch({model.bundle.symbol: model}, history, 0), warmup=known)
    journal = desks.MemoryJournal()
    desks.engine(folder, {model.bundle.symbol: model}, journal, history, epoch=epoch).run()
    return journal.sets


def research(model: TradedModel, history: History, warm: int) -> BacktestResult:
    span = desks.span_after(history, model.key, warm)
    return run_backtest(model.config, history, model.bundle.symbol, span=span, veto=model.veto)


def compared(result: BacktestResult, sets: Sequence[SetRecord], model: TradedModel) -> ParityComparison:
    rows = [
        step_of(lane, row.release.stamp, row.release.bars[model.key]) for row in sets for lane in row.lanes
    ]
    return compare(steps_of(result), rows, model.plan.ids)


def outside(result: BacktestResult) -> np.ndarray[Any, np.dtype[np.bool_]]:
    session, bars = desks.load_markets()[result.symbol].session, result.bars
    if not bars.timeframe.is_session:
        return np.asarray(~session.in_session(bars.end, bars.timeframe))
    dates = session.dates(bars.end, bars.timeframe)
    return np.asarray(~np.isin(dates, session.scheduled_dates(dates[0], dates[-1] + 1)))


CASES = {
    "days": (desks.model, daily, WARM),
    "hours": (lambda: hourly_model(hourly()), hourly, HOURLY_WARM),
}


class Both(NamedTuple):
    """What research and live made of the same history."""

    case: str
    model: TradedModel
    result: BacktestResult
    sets: list[SetRecord]


@pytest.fixture(scope="module", params=CASES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    make, history_of, warm = CASES[request.param]
    model, history = make(), history_of()
    sets = live(tmp_path_factory.mktemp("desk"), model, history, warm)
    return Both(request.param, model, research(model, history, warm), sets)


def test_live_equals_research(both: Both) -> None:
    case, model, result, sets = both
    found = compared(result, sets, model)
    assert found.first is None, found.first
    assert found.bars == len(result.bars)
    assert found.fills > 20
    closed = outside(result)
    assert closed.sum() > 15
    codes = result.records.codes
    assert ((codes == OUTSIDE_SESSION) == (closed & (case == "hours"))).all()
    ends = set(result.bars.end[closed].tolist())
    on_such_bars = [order for order in result.records.orders if order.stamp in ends or order.decision in ends]
    assert bool(on_such_bars) == (case == "days")


def test_such_bars_are_in_the_windows_and_are_reported(both: Both) -> None:
    reported = [
        each.end
        for row in both.sets
        for each in row.release.irregularities
        if each.kind == "outside" and each.key == both.model.key
    ]
    assert reported == both.result.bars.end[outside(both.result)].tolist()
    assert {each.kind for row in both.sets for each in row.release.irregularities} <= {"outside", "gap"}


@pytest.mark.parametrize("case", CASES)
def test_the_sweep_trades_the_same(case: str) -> None:
    make, history_of, _ = CASES[case]
    model, history = make(), history_of()
    config = model.config
    assert isinstance(config, IbsConfig)
    result = run_backtest(config, history, model.bundle.symbol)
    traced = trace(config, history, model.bundle.symbol)
    assert traced.equity.tolist() == result.records.marks[:, EQUITY].tolist()
    assert outside(result).sum() > 15


def test_mutant_a_print_after_an_early_close_that_counts_as_in_session_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the live desk alone says that the market is open."""
    readings = SessionClock.readings

    def always(self: SessionClock, ends: Any) -> Any:
        table = readings(self, ends)
        table[:, IN_SESSION] = 1.0
        return table

    history = hourly()
    model = hourly_model(history)
    wanted = research(model, history, HOURLY_WARM)
    monkeypatch.setattr(SessionClock, "readings", always)
    found = compared(wanted, live(tmp_path, model, history, HOURLY_WARM), model)
    assert found.first is not None
    assert found.first.stamp in set(wanted.bars.end[outside(wanted)].tolist())
