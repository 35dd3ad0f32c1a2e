"""Periods of the performance store: nights may come as they like, the rows are the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import metrics
from lockstep.errors import DataError, ExperimentError
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.performance import (
    MeasuredStrategy,
    PeriodPerformance,
    SessionResults,
    periods_of,
    read,
    store,
)
from support.databases import KINDS, fresh_url

NIGHT = datetime(2026, 3, 1, 2, tzinfo=UTC)
CAPITAL, PER_YEAR = 50_000.0, 252.0
SUBJECT = MeasuredStrategy(strategy="f" * 64, name="dip", symbol="ES", mode="shadow", account="candidate 1")
_ACCOUNTS = count()


@pytest.fixture(scope="module", params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with fresh_url(request.param, tmp_path_factory.mktemp("performance")) as url:
        yield Ledger(Database.open(url))


def results(days: Any, pnl: Any, ended: Any = (), trade_pnl: Any = ()) -> SessionResults:
    return SessionResults(
        dates=np.array(days, dtype="M8[D]"), pnl=np.array(pnl, dtype=np.float64), capital=CAPITAL,
        sessions_per_year=PER_YEAR, ended=np.array(ended, dtype="M8[D]"),
        trade_pnl=np.array(trade_pnl, dtype=np.float64),
    )  # fmt: skip


def until(whole: SessionResults, sessions: int) -> SessionResults:
    """Return what a night knows that comes after so many sessions."""
    last = whole.dates[sessions - 1]
    ended = whole.ended <= last
    return replace(
        whole, dates=whole.dates[:sessions], pnl=whole.pnl[:sessions], ended=whole.ended[ended],
        trade_pnl=whole.trade_pnl[ended],
    )  # fmt: skip


@st.composite
def drawn(draw: st.DrawFn) -> SessionResults:
    """Draw sessions with holes of any length, and trades that end in some of them."""
    start = draw(st.dates(date(2019, 12, 1), date(2021, 2, 1)))
    gaps = draw(st.lists(st.sampled_from((1, 1, 1, 1, 3, 4, 9, 33)), min_size=1, max_size=60))
    days = np.datetime64(start) + np.cumsum([0, *gaps])
    money = st.floats(-5_000, 5_000).map(lambda value: round(value, 2))
    pnl = draw(st.lists(money, min_size=days.size, max_size=days.size))
    ended = sorted(draw(st.lists(st.sampled_from(days.tolist()), max_size=20)))
    return results(days, pnl, ended, draw(st.lists(money, min_size=len(ended), max_size=len(ended))))


def expected(whole: SessionResults) -> list[tuple[Any, ...]]:
    """Return period, dates and measures by pandas and the plainest loops."""
    days = pd.DatetimeIndex(whole.dates)
    found = []
    for name, unit in (("day", "D"), ("week", "W-SUN"), ("month", "M")):
        labels, ends = days.to_period(unit), pd.DatetimeIndex(whole.ended).to_period(unit)
        for label in labels.unique():
            if name != "day" and label == labels[-1]:
                continue
            mine, trades = whole.pnl[labels == label], whole.trade_pnl[ends == label]
            so_far = [0.0, *np.cumsum(mine)]
            fall = max(max(so_far[: at + 1]) - value for at, value in enumerate(so_far))
            wins = float((trades > 0).mean()) if trades.size else math.nan
            own = days[labels == label]
            found.append(
                (name, own[0].date(), own[-1].date(), mine.size, trades.size, mine.sum(), fall, wins)
            )
    return found


@settings(deadline=None, max_examples=60)
@given(drawn())
def test_measures_are_those_of_a_plain_loop(whole: SessionResults) -> None:
    made = periods_of(whole)
    for each, (name, first, last, sessions, trades, pnl, fall, wins) in zip(
        made, expected(whole), strict=True
    ):
        assert (each.period, each.first_date, each.last_date) == (name, first, last)
        assert (each.sessions, each.trades) == (sessions, trades)
        assert each.pnl == pytest.approx(pnl, abs=1e-6)
        assert each.result == pytest.approx(pnl / CAPITAL, abs=1e-10)
        assert each.drawdown == pytest.approx(fall / CAPITAL, abs=1e-10)
        assert each.win_rate == pytest.approx(wins, nan_ok=True)
        inside = (whole.dates >= np.datetime64(first)) & (whole.dates <= np.datetime64(last))
        ratio = metrics.sharpe(whole.pnl[inside] / CAPITAL, PER_YEAR)
        if math.isnan(each.sharpe):
            assert math.isnan(ratio) or abs(ratio) > 1e6, "equal gains, but for the rounding of money"
        else:
            assert each.sharpe == pytest.approx(ratio, rel=1e-9)


def rows(ledger: Ledger, subject: MeasuredStrategy) -> list[PeriodPerformance]:
    return [replace(each, subject=SUBJECT, recorded="") for each in read(ledger, account=subject.account)]


@settings(deadline=None, max_examples=40)
@given(drawn(), st.lists(st.integers(1, 61), max_size=8))
def test_any_split_into_nights_gives_the_same_rows(
    ledger: Ledger, whole: SessionResults, ends: list[int]
) -> None:
    at_once, by_night = (replace(SUBJECT, account=f"a{next(_ACCOUNTS)}") for _ in range(2))
    store(ledger, at_once, periods_of(whole), source={}, now=NIGHT)
    nights = sorted({min(each, whole.dates.size) for each in ends} | {whole.dates.size})
    for number, end in enumerate(nights):
        later = NIGHT + timedelta(days=number)
        found = store(ledger, by_night, periods_of(until(whole, end)), source={}, now=later)
        assert found.changed == 0
        again = store(ledger, by_night, periods_of(until(whole, end)), source={}, now=later)
        assert (again.new, again.changed) == (0, 0)
    assert repr(rows(ledger, by_night)) == repr(rows(ledger, at_once))


def test_a_week_without_a_session_of_the_next_one_is_not_stored() -> None:
    days = ["2026-01-30", "2026-02-02", "2026-02-06"]
    kinds = [(each.period, str(each.first_date)) for each in periods_of(results(days, [1.0, 2.0, 3.0]))]
    assert kinds[3:] == [("week", "2026-01-30"), ("month", "2026-01-30")]
    known = periods_of(results(days, [1.0, 2.0, 3.0]), newest=np.datetime64("2026-02-09"))
    assert [(each.period, str(each.first_date)) for each in known[3:]] == [
        ("week", "2026-01-30"), ("week", "2026-02-02"), ("month", "2026-01-30"),
    ]  # fmt: skip


def test_the_first_value_stays_and_a_later_one_is_counted(ledger: Ledger) -> None:
    subject = replace(SUBJECT, account="corrected")
    days = ["2026-01-05", "2026-01-06", "2026-01-12"]
    store(ledger, subject, periods_of(results(days, [100.0, 50.0, 0.0])), source={"bars": "a"}, now=NIGHT)
    before = rows(ledger, subject)
    found = store(
        ledger, subject, periods_of(results(days, [100.0, 60.0, 0.0])), source={"bars": "b"}, now=NIGHT
    )
    # The second day, and the week that it is in.
    assert (found.new, found.changed) == (0, 2)
    assert repr(rows(ledger, subject)) == repr(before)
    # A session that turns up before the first one of a stored week moves the week, and adds a day.
    longer = ["2026-01-05", "2026-01-06", "2026-01-11", "2026-01-12"]
    later = store(ledger, subject, periods_of(results(longer, [100.0, 50.0, 1.0, 0.0])), source={}, now=NIGHT)
    assert (later.new, later.changed) == (1, 1)


def test_undefined_measures_are_null(ledger: Ledger) -> None:
    subject = replace(SUBJECT, account="undefined")
    store(ledger, subject, periods_of(results(["2026-01-05"], [10.0])), source={}, now=NIGHT)
    with ledger.database.read() as connection:
        query = "SELECT sharpe, win_rate, drawdown FROM performance WHERE account = 'undefined'"
        assert connection.exec_driver_sql(query).all() == [(None, None, 0.0)]
    (day,) = read(ledger, account="undefined")
    assert math.isnan(day.sharpe)
    assert (day.row["first_date"], day.row["sharpe"]) == (date(2026, 1, 5), None)


def test_a_transaction_that_fails_leaves_no_row(ledger: Ledger) -> None:
    subject = replace(SUBJECT, account="twice")
    made = periods_of(results(["2026-01-05"], [10.0]))

    def fail() -> None:
        with ledger.database.write() as connection:
            store(ledger, subject, made, source={}, now=NIGHT, connection=connection)
            connection.exec_driver_sql("UPDATE performance SET pnl = 0")

    with pytest.raises(ExperimentError, match="append-only"):
        fail()
    assert read(ledger, account="twice") == [], "nothing of a transaction that fails"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dates": np.array(["2026-01-06", "2026-01-05"], dtype="M8[D]")}, "dates must rise"),
        ({"pnl": np.array([1.0])}, "give one of each"),
        ({"pnl": np.array([1.0, math.nan])}, "must be finite"),
        ({"capital": 0.0}, "above 0"),
    ],
)
def test_results_that_make_no_sense_are_refused(changes: dict[str, Any], told: str) -> None:
    good = results(["2026-01-05", "2026-01-06"], [1.0, 2.0])
    with pytest.raises(DataError, match=told):
        replace(good, **changes)


def test_a_read_only_look_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "look.db"
    writer = Ledger(Database.open(f"sqlite:///{path}"))
    store(writer, SUBJECT, periods_of(results(["2026-01-05"], [10.0])), source={}, now=NIGHT)
    before = path.read_bytes()
    assert len(read(Ledger(Database.reading(f"sqlite:///{path}")), mode="shadow")) == 1
    assert path.read_bytes() == before
