"""The compiled engine and Backtrader leave the same run: every bit of every record, every byte of the folder.

`run_backtest(..., verify=True)` compares every record of the two. What is in a run's folder is made of those
records alone: folders of some runs are compared byte by byte.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, EngineMismatch, StrategyError
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.bundled import veto_of
from lockstep.strategy.families.ibs import IBS, IbsConfig
from lockstep.strategy.ibs_strategy import IbsStrategy
from lockstep.strategy.veto import Veto
from research.backtest import engine as compiled_engine
from research.backtest import loop
from research.backtest.result import BacktestResult
from research.backtest.run import Engine, run_backtest
from support import desks
from support.engines import folders_but_for_the_engine
from support.examples import examples
from support.markets import HOURLY, random_bars
from support.scenarios import CME, daily_bars, history_of
from support.spec_parity import Different, Logistic

BOOK = load_instruments()
relaxed = settings(
    max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HOUR = 3_600_000_000_000
# The week before Thanksgiving to mid-December: two half-days of the NYSE and of the CME, a holiday.
FIRST_HOUR = 1_574_035_200_000_000_000


@functools.cache
def spx() -> History:
    return load_history("SPX", None, start="2010-01-04", end="2013-12-31")


@functools.cache
def hourly(symbol: str) -> History:
    """Return bars of every hour of four weeks, most outside the NYSE's session, with their context."""
    ends = FIRST_HOUR + np.arange(24 * 28, dtype=np.int64) * HOUR
    bars = {}
    for number, each in enumerate((symbol, "NQ")):
        made = random_bars(ends, HOURLY, symbol=each, seed=number)
        tick = BOOK.instrument(each).tick_size
        grid = {
            name: np.round(getattr(made, name) / tick) * tick for name in ("open", "high", "low", "close")
        }
        bars[SeriesKey(each, HOURLY)] = replace(made, **grid)
        days = CME.scheduled_dates(np.datetime64("2018-06-01"), np.datetime64("2019-12-20"))
        closes = BOOK.session(each).nominal_close(days)
        bars[SeriesKey(each, DAILY)] = random_bars(closes, DAILY, symbol=each, seed=number + 5)
    return History(bars=bars, markets={each: BOOK.market(each) for each in (symbol, "NQ")})


def adjusted() -> History:
    """Return daily bars around zero that were shifted at every roll."""
    drawn = np.random.default_rng(3).normal(0, 1.0, (400, 2)).cumsum(axis=0) * 0.5
    rows = [(a, max(a, b) + 0.5, min(a, b) - 0.5, b) for a, b in (np.round(drawn * 4) / 4 + 0.1).tolist()]
    return history_of(replace(daily_bars(rows, first="2022-01-03"), adjustment="difference"))


percent = st.builds(lambda value: {"percent": value}, st.sampled_from([0.2, 0.5, 1.0, 1.7, 3.0]))
multiple = st.builds(lambda value: {"atr": value, "feature": "atr_14"}, st.sampled_from([0.5, 1.0, 2.5]))
BY_REGIME = {
    "by_regime": {
        "feature": "regime_20_0.5_5_30_0.8", "bull": 0.75, "bear": 0.5, "sideways": 0.0,
        "high_volatility": 0.3,
    }
}  # fmt: skip
sizes = st.sampled_from(
    [
        {"kind": "fixed", "contracts": 2},
        {"kind": "fixed", "contracts": 0.3},
        {"kind": "risk", "risk": 0.02, "feature": "atr_14"},
        {"kind": "risk", "risk": 0.0005, "feature": "atr_14"},
        {"kind": "volatility", "target": 0.4, "feature": "realised_vol_20_252"},
        {"kind": "volatility", "target": 0.4, "feature": "realised_vol_20_252", **BY_REGIME},
        {"kind": "risk", "risk": 0.02, "feature": "atr_14", **BY_REGIME},
        {"kind": "fixed", "contracts": 4, **BY_REGIME},
    ]
)
DAILY_FILTERS = (
    {"feature": "rsi_2", "max": 80.0},
    {"feature": "rsi_2", "min": 30.0, "side": "short"},
    {"feature": "volume_pctile_20", "min": 0.2},
    {"feature": "ibs*rsi_2", "max": 40.0},
    {"feature": "day_of_week", "max": 3.0},
)
HOURLY_FILTERS = (
    {"feature": "ibs@1d", "min": 0.05},
    {"feature": "pair_zscore_20", "min": -2.0, "max": 2.0},
    {"feature": "rsi_2", "max": 90.0, "side": "long"},
)


@st.composite
def configs(draw: st.DrawFn, timeframe: str, filters: tuple[dict[str, Any], ...]) -> IbsConfig:
    """Any rules together: no configuration needs a loop of its own."""
    cut = draw(st.sampled_from([0.15, 0.3, 0.45]))
    content: dict[str, Any] = {
        "name": "drawn",
        "timeframe": timeframe,
        "direction": draw(st.sampled_from(["long", "short", "both"])),
        "entry": (0.0, cut),
        "exit": (draw(st.sampled_from([0.5, 0.75])), 1.0),
        "short_entry": (1.0 - cut, 1.0),
        "short_exit": (0.0, draw(st.sampled_from([0.2, 0.5]))),
        "execution": draw(st.sampled_from(["next_open", "close"])),
        "filters": draw(st.lists(st.sampled_from(filters), max_size=3, unique_by=repr)),
        "capital": draw(st.sampled_from([100_000.0, 900.0])),
    }
    optional = {
        "max_bars": st.integers(1, 8),
        "stop": st.one_of(percent, multiple),
        "target": st.one_of(percent, multiple),
        "size": sizes,
    }
    if timeframe != "1d":
        optional |= {
            "window": st.sampled_from(
                [{"start": "10:00", "end": "14:00"}, {"start": "11:00", "end": "15:00"}]
            ),
            "auto_close": st.sampled_from(["15:30", "13:00"]),
        }
    return IbsConfig.model_validate(content | draw(st.fixed_dictionaries({}, optional=optional)))


IDS = ("zscore_20", "ibs")
VETOES = {
    "none": None,
    "asked at once": Veto(model=Logistic(), feature_ids=IDS, threshold=0.55, in_batches=True),
    "asked row by row": Veto(model=Different(), feature_ids=IDS, threshold=0.55),
}
SPANS = (None, DateRange.of("2010-03-01", "2012-06-30"), DateRange.of("2013-12-20"))


def both(config: IbsConfig, history: History, symbol: str, **given: Any) -> BacktestResult:
    """Run both engines; EngineMismatch where they differ."""
    return run_backtest(config, history, symbol, engine="compiled", verify=True, **given)


def shown_trades(result: BacktestResult) -> set[str]:
    return set(result.records.trades.text("exit_reason").texts())


class TestEveryRecord:
    @relaxed
    @given(
        config=configs("1d", DAILY_FILTERS),
        span=st.sampled_from(SPANS),
        veto=st.sampled_from(list(VETOES.values())),
    )
    @example(
        config=IbsConfig.model_validate(
            {
                "name": "all",
                "direction": "both",
                "stop": {"percent": 0.5},
                "target": {"percent": 0.5},
                "max_bars": 2,
            }
        ),
        span=None,
        veto=VETOES["asked at once"],
    )
    def test_daily(self, config: IbsConfig, span: DateRange | None, veto: Veto | None) -> None:
        both(config, spx(), "SPX", span=span, veto=veto)

    @pytest.mark.parametrize("symbol", ["ES", "SPY"])
    @relaxed
    @given(data=st.data(), veto=st.sampled_from(list(VETOES.values())))
    def test_hourly_around_half_days_with_bars_outside_the_session(
        self, symbol: str, data: st.DataObject, veto: Veto | None
    ) -> None:
        filters = HOURLY_FILTERS if symbol == "ES" else HOURLY_FILTERS[:1]
        both(data.draw(configs("1h", filters)), hourly(symbol), symbol, veto=veto)

    @relaxed
    @given(config=configs("1d", DAILY_FILTERS[:1]))
    def test_prices_below_zero_on_an_adjusted_series(self, config: IbsConfig) -> None:
        history = adjusted()
        (key,) = history.bars
        assert (history.series(key).low < 0.0).any()
        both(config, history, "ES")

    @relaxed
    @given(
        config=configs("1d", DAILY_FILTERS),
        room=st.sampled_from([loop.ROOM, loop.ROOM + 1, 31]),
        bars=st.sampled_from([1, 7, 100]),
        veto=st.sampled_from(list(VETOES.values())),
    )
    def test_wherever_the_loop_stops_and_goes_on(
        self, config: IbsConfig, room: int, bars: int, veto: Veto | None
    ) -> None:
        small = mock.patch.multiple(compiled_engine, _LEAST_ROOM=room, _BARS_AT_A_TIME=bars)
        with small:
            both(config, spx(), "SPX", span=SPANS[2], veto=veto)
            both(config, spx(), "SPX", span=DateRange.of("2012-01-01", "2012-12-31"), veto=veto)


@pytest.mark.real_data
@pytest.mark.parametrize(("symbol", "timeframe"), [("NQ", "1d"), ("CL", "1d"), ("SPY", "1h"), ("6E", "1min")])
def test_real_bars(shared_data: Path, symbol: str, timeframe: str) -> None:
    folder = {"1d": "futures_daily", "1h": "equity_hourly", "1min": "futures_1min"}[timeframe]
    whole = load_history(symbol, shared_data / folder, timeframe=Timeframe.parse(timeframe))
    key = SeriesKey(symbol, Timeframe.parse(timeframe))
    bars = whole.series(key)
    some = replace(whole, bars={key: bars.rows(0, min(len(bars), 3_000))})
    config = IbsConfig.model_validate(
        {"name": "real", "timeframe": timeframe, "direction": "both", "stop": {"atr": 1.5}, "max_bars": 6}
    )
    result = both(config, some, symbol)
    assert {"stop", "signal", "max bars"} <= shown_trades(result)


def reasons_of(result: BacktestResult) -> set[str]:
    return set(result.records.reason_names)


@pytest.mark.uncompiled
class TestWhatIsComparedIsNotNothing:
    """The draws above reach all that an engine can do; each is seen here once."""

    def test_rules(self) -> None:
        config = IbsConfig.model_validate(
            {
                "name": "x",
                "direction": "both",
                "stop": {"percent": 1.0},
                "target": {"percent": 1.5},
                "max_bars": 3,
                "size": {"kind": "risk", "risk": 0.015, "feature": "atr_14"},
                "filters": [{"feature": "rsi_2", "max": 80.0}],
            }
        )
        result = both(config, spx(), "SPX", veto=VETOES["asked at once"])
        assert shown_trades(result) >= {"stop", "target", "signal", "max bars"}
        assert reasons_of(result) >= {
            "size zero", "veto", "cold atr_14", "filter rsi_2", "enter long", "enter short", "hold",
        }  # fmt: skip
        assert set(result.records.orders.text("status").texts()) == {"accepted", "completed", "canceled"}

    def test_sessions(self) -> None:
        content: dict[str, Any] = {"name": "x", "timeframe": "1h", "auto_close": "15:00", "entry": (0.0, 0.4)}
        windowed = IbsConfig.model_validate({**content, "window": {"start": "11:00", "end": "14:00"}})
        result = both(windowed, hourly("SPY"), "SPY")
        assert shown_trades(result) >= {"session", "signal"}
        assert reasons_of(result) >= {"outside session", "outside window", "after auto-close"}
        aged = IbsConfig.model_validate(
            {**content, "filters": [{"feature": "ibs@1d", "min": 0.0}], "max_age": {"days": 0}}
        )
        assert "missing ibs@1d" in reasons_of(both(aged, hourly("SPY"), "SPY"))
        # An order that is sent at a close waits through the bars of the night.
        late = IbsConfig.model_validate(content | {"auto_close": None})
        orders = both(late, hourly("SPY"), "SPY").orders
        filled = orders[orders["status"] == "completed"]
        assert (filled["stamp"] - filled["decision"]).max().total_seconds() > 12 * 3_600

    def test_ends(self) -> None:
        until = DateRange.of("2010-01-04", "2010-02-10")
        still = both(IbsConfig(name="open", exit=(0.999, 1.0)), spx(), "SPX", span=until)
        assert still.trades["status"].iloc[-1] == "open"
        assert both(IbsConfig(name="poor", capital=500.0), spx(), "SPX").ruined_at is not None
        assert both(IbsConfig(name="close", execution="close"), spx(), "SPX").trades["bars_held"].max() > 1


class TestTheModel:
    @pytest.mark.parametrize("answer", [math.nan, 1.5, -0.1])
    @pytest.mark.parametrize("in_batches", [True, False])
    def test_what_is_no_chance_is_refused_as_in_backtrader(self, answer: float, in_batches: bool) -> None:
        class Broken:
            def predict_proba(self, features: Any, /) -> Any:
                return np.column_stack((np.full(len(features), 0.5), np.full(len(features), answer)))

        veto = Veto(model=Broken(), feature_ids=IDS, threshold=0.5, in_batches=in_batches)
        messages = []
        for engine in ("backtrader", "compiled"):
            with pytest.raises(StrategyError, match="expected one row of two probabilities") as refused:
                run_backtest(IbsConfig(name="x"), spx(), "SPX", veto=veto, engine=engine)  # type: ignore[arg-type]
            messages.append(str(refused.value))
        assert messages[0] == messages[1]

    def test_an_answer_that_is_never_asked_for_refuses_nothing(self) -> None:
        class Late:
            def predict_proba(self, features: Any, /) -> Any:
                chance = np.where(features[:, 1] > 0.15, math.nan, 0.9)
                return np.column_stack((1.0 - chance, chance))

        veto = Veto(model=Late(), feature_ids=IDS, threshold=0.5, in_batches=True)
        config = IbsConfig(name="x", entry=(0.0, 0.15))
        assert len(both(config, spx(), "SPX", veto=veto).trades) > 20

    def test_many_rows_are_one_call(self) -> None:
        calls = []

        class Counting(Logistic):
            def predict_proba(self, features: Any, /) -> Any:
                calls.append(len(features))
                return super().predict_proba(features)

        veto = Veto(model=Counting(), feature_ids=IDS, threshold=0.55, in_batches=True)
        result = run_backtest(IbsConfig(name="x"), spx(), "SPX", veto=veto, engine="compiled")
        asked = int(np.isfinite(result.records.probabilities).sum())
        assert len(calls) == 1
        assert calls[0] >= asked > 50

    def test_a_bundle_answers_many_rows_as_it_answers_each(self) -> None:
        bundle = desks.bundle(seed=3, threshold=0.5)
        veto = veto_of(bundle)
        assert veto is not None
        assert veto.in_batches
        result = both(desks.CONFIG, desks.history(), "COMP", veto=veto)
        assert np.isfinite(result.records.probabilities).sum() > 20


FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "all daily rules": (
        {"direction": "both", "stop": {"percent": 1.0}, "target": {"atr": 2.0}, "max_bars": 4,
         "filters": DAILY_FILTERS[:2], "size": {"kind": "volatility", "target": 0.4}},
        "SPX",
    ),
    "ruined in hours": (
        {"timeframe": "1h", "direction": "both", "stop": {"percent": 0.5}, "auto_close": "15:30",
         "filters": HOURLY_FILTERS[:2], "capital": 500.0},
        "ES",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_every_byte_of_the_folder(name: str, tmp_path: Path) -> None:
    content, symbol = FOLDERS[name]
    history = spx() if symbol == "SPX" else hourly(symbol)
    config = IbsConfig.model_validate({"name": "folder", **content})
    for engine in get_args(Engine):
        result = run_backtest(config, history, symbol, engine=engine, veto=VETOES["asked at once"])
        result.save(tmp_path / engine, shared_js=tmp_path / engine)
    folders = folders_but_for_the_engine(tmp_path / "compiled")
    assert folders == folders_but_for_the_engine(tmp_path / "backtrader")
    assert [len(files) for files in folders.values()] == [8]


def test_a_family_has_one_loop_whatever_it_runs() -> None:
    run = compiled_engine.compiled_loop(IBS).run
    if hasattr(run, "signatures"):
        both(IbsConfig(name="x"), spx(), "SPX")
        both(IbsConfig(name="x", timeframe="1h", features=("rsi_2",), max_bars=3), hourly("ES"), "ES")
        both(IbsConfig(name="x"), adjusted(), "ES", veto=VETOES["asked at once"])
        assert len(run.signatures) == 1


class TestReferee:
    """Negative controls: whatever is planted in a record, the referee names it."""

    @contextmanager
    def planted(self, change: Any) -> Iterator[None]:
        """Let the compiled loop do its work, and then change what it wrote."""
        right = compiled_engine.compiled_loop(IBS)

        def run(*given: Any) -> bool:
            lacking = bool(right.run(*given))
            codes, probabilities, marks, orders, trades, state, _ = given[-7:]
            if state[loop.ROW] == len(codes):
                change(codes, probabilities, marks, orders, trades, state)
            return lacking

        wrong = SimpleNamespace(run=run, find_candidates=right.find_candidates)
        with mock.patch.object(compiled_engine, "compiled_loop", return_value=wrong):
            yield

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda c, p, m, o, t, s: m.__setitem__((5, 3), m[5, 3] + 1e-9), "the equity"),
            (lambda c, p, m, o, t, s: m.__setitem__((5, 2), m[5, 2] * (1 + 1e-15)), "the cash"),
            (lambda c, p, m, o, t, s: m.__setitem__((5, 1), -0.0), "the position"),
            (lambda c, p, m, o, t, s: p.__setitem__(5, 0.5), "the probability"),
            (lambda c, p, m, o, t, s: c.__setitem__(5, 11), "the decision"),
            (lambda c, p, m, o, t, s: o[loop.PRICE].__setitem__(1, 0.0), "the price of an order"),
            (lambda c, p, m, o, t, s: o[loop.REFERENCE].__setitem__(1, 9), "the reference of an order"),
            (lambda c, p, m, o, t, s: o[loop.REASON].__setitem__(1, 5), "the reason of an order"),
            (lambda c, p, m, o, t, s: o[loop.STATUS].__setitem__(1, 2), "the status of an order"),
            (lambda c, p, m, o, t, s: o[loop.STAMP].__iadd__(1), "the stamp of an order"),
            (lambda c, p, m, o, t, s: t[loop.BARS_HELD].__setitem__(0, 77), "the bars_held of a trade"),
            (lambda c, p, m, o, t, s: t[loop.LEFT_FOR].__setitem__(0, 5), "the exit_reason of a trade"),
            (lambda c, p, m, o, t, s: t[loop.PAID].__setitem__(0, 77.0), "the commission of a trade"),
            (
                lambda c, p, m, o, t, s: s.__setitem__(loop.TRADES, s[loop.TRADES] - 1),
                "a trade is not there in the compiled one",
            ),
            (
                lambda c, p, m, o, t, s: s.__setitem__(loop.ORDERS, s[loop.ORDERS] - 1),
                "an order is not there in the compiled one",
            ),
        ],
    )
    def test_it_names_what_differs(self, change: Any, what: str) -> None:
        with self.planted(change), pytest.raises(EngineMismatch) as refused:
            both(IbsConfig(name="ibs"), spx(), "SPX")
        message = str(refused.value)
        assert message.startswith("SPX ibs: the engines part at the bar that ended at 20")
        assert what in message
        assert "\n" not in message

    def test_the_first_difference_in_time_is_named(self) -> None:
        def change(c: Any, p: Any, marks: Any, orders: Any, trades: Any, state: Any) -> None:
            marks[500, 3] += 1.0
            orders[loop.PRICE][3] += 1.0

        with self.planted(change), pytest.raises(EngineMismatch, match=r"2010-01-.* the price of an order"):
            both(IbsConfig(name="ibs"), spx(), "SPX")

    def test_nothing_planted_passes(self) -> None:
        with self.planted(lambda *given: None):
            both(IbsConfig(name="ibs"), spx(), "SPX")


class TestChoice:
    def test_few_bars_run_in_backtrader_and_many_are_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = IbsConfig(name="x")
        assert run_backtest(config, spx(), "SPX", engine=None).engine == "backtrader"
        monkeypatch.setattr("research.backtest.run.MANY_BARS", 1_006)
        assert len(spx().series(SeriesKey("SPX", DAILY))) == 1_006
        assert run_backtest(config, spx(), "SPX", engine=None).engine == "compiled"
        assert run_backtest(config, spx(), "SPX").engine == "backtrader"
        short = DateRange.of("2010-01-05")
        assert run_backtest(config, spx(), "SPX", engine=None, span=short).engine == "backtrader"

    def test_what_cannot_be_compiled_or_is_no_engine_is_refused(self) -> None:
        config = IbsConfig(name="x")
        with pytest.raises(ConfigError, match="not those of IbsStrategy"):
            run_backtest(config, spx(), "SPX", engine="compiled", strategy=IbsStrategy)
        with pytest.raises(ConfigError, match="not those of IbsStrategy"):
            run_backtest(config, spx(), "SPX", verify=True, strategy=IbsStrategy)
        with pytest.raises(ConfigError, match="engine 'fast': unknown; choose backtrader or compiled"):
            run_backtest(config, spx(), "SPX", engine="fast")  # type: ignore[arg-type]

    def test_progress_is_told(self) -> None:
        seen: list[int] = []
        run_backtest(IbsConfig(name="x"), spx(), "SPX", engine="compiled", on_bar=seen.append)
        assert seen[-1] == 1_006
