"""A user's own trade list against a run: made by a plain Backtrader strategy, by pandas, and by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from lockstep.errors import DataError
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.backtest.trade_comparison import Compared, RunFolder, compare_trades
from research.backtest.trade_list import read_trades
from support.processes import ROOT, python
from support.scenarios import NYSE, SPY, backtest, make_bars

CONFIG = IbsConfig(name="plain")
SPAN = DateRange.of("2016-01-04", "2016-12-30")


@pytest.fixture(scope="module")
def bars() -> Bars:
    history = load_history("COMP", timeframe=DAILY, end="2016-12-30")
    known = history.series(SeriesKey("COMP", DAILY))
    rows = SPAN.select(known, history.markets["COMP"])
    return known.rows(rows.start, rows.stop)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a strategy on COMP, 2016."""
    history = load_history("COMP", timeframe=DAILY, end="2016-12-30")
    return run_backtest(CONFIG, history, "COMP", span=SPAN).save(tmp_path_factory.mktemp("runs"))


def frame_of(bars: Bars) -> pd.DataFrame:
    """Return the bars as a notebook would hold them: by date, without a zone."""
    dates = NYSE.dates(bars.end, DAILY).astype("datetime64[ns]")
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(dates, name="date"))


class Plain(bt.Strategy):
    """Buys the next open after a weak close and sells after a strong one, as anybody would write it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sold = 0.0

    def notify_order(self, order: Any) -> None:
        if order.status == order.Completed and not order.isbuy():
            self.sold = order.executed.price

    def notify_trade(self, trade: Any) -> None:
        if trade.isclosed:
            self.rows.append({
                "dtopen": bt.num2date(trade.dtopen), "dtclose": bt.num2date(trade.dtclose),
                "price": trade.price, "exit price": self.sold, "pnl": trade.pnl,
                "pnlcomm": trade.pnlcomm, "commission": trade.commission,
            })  # fmt: skip

    def next(self) -> None:
        bar = self.data
        ibs = (bar.close[0] - bar.low[0]) / (bar.high[0] - bar.low[0])
        if self.position and ibs >= 0.8:
            self.close()
        elif not self.position and ibs <= 0.2:
            self.buy(size=1)


def backtrader_list(bars: Bars, *, slippage: float, commission: float) -> pd.DataFrame:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame_of(bars)))
    cerebro.addstrategy(Plain)
    cerebro.broker.setcash(1e9)
    cerebro.broker.setcommission(commission=commission, mult=20.0, margin=1.0)
    if slippage:
        cerebro.broker.set_slippage_fixed(slippage, slip_open=True, slip_match=True, slip_out=True)
    (done,) = cerebro.run()
    return pd.DataFrame(done.rows)


def pandas_list(bars: Bars) -> pd.DataFrame:
    """Return the trades as a notebook computes them: by the day of the signal, at the next open, no costs."""
    frame = frame_of(bars)
    ibs = (frame["close"] - frame["low"]) / (frame["high"] - frame["low"])
    fill = frame["open"].shift(-1)
    rows, entered = [], None
    for day in frame.index[:-1]:
        if entered is None and ibs[day] <= 0.2:
            entered = day
        elif entered is not None and day > entered and ibs[day] >= 0.8:
            rows.append(
                {"Entry Date": f"{entered:%Y-%m-%d}", "Exit Date": f"{day:%Y-%m-%d}", "Direction": "Long",
                 "Entry Price": fill[entered], "Exit Price": fill[day]}
            )  # fmt: skip
            entered = None
    return pd.DataFrame(rows)


@pytest.fixture
def compared(tmp_path: Path, folder: Path) -> Callable[..., Compared]:
    def compare(rows: pd.DataFrame, where: Path = folder, **options: Any) -> Compared:
        rows.to_csv(tmp_path / "mine.csv", index=False)
        return compare_trades(read_trades(tmp_path / "mine.csv", **options), RunFolder.read(where))

    return compare


def told(found: Compared) -> list[tuple[str, str]]:
    return [(each.what, each.cause) for each in found.differences]


class TestBacktrader:
    def test_a_plain_strategy_makes_the_same_trades(
        self, bars: Bars, folder: Path, compared: Callable[..., Compared]
    ) -> None:
        run = RunFolder.read(folder)
        ticks = run.provenance["instrument"]["slippage_ticks"] * run.provenance["instrument"]["tick_size"]
        found = compared(backtrader_list(bars, slippage=ticks, commission=1.25))
        closed = int((run.trades["status"] == "closed").sum())
        assert closed > 20
        assert found.convention == "the bar that filled the order"
        # All but the trade that is open at the end, which Backtrader does not report.
        assert (found.matched, found.equal) == (closed, closed)
        assert found.missing == len(run.trades) - closed
        assert found.extra == 0

    def test_without_slippage_and_commission_the_cause_is_named(
        self, bars: Bars, compared: Callable[..., Compared]
    ) -> None:
        free = compared(backtrader_list(bars, slippage=0.0, commission=0.0))
        assert free.equal == 0
        assert "lacks the slippage of 0.25 points" in free.differences[0].sentence
        assert {each for each in told(free) if each[0] != "missing"} == {
            ("entry price", "fill"), ("exit price", "fill"), ("commission", "cost"),
        }  # fmt: skip


class TestPandas:
    def test_a_notebook_that_stamps_the_signal_matches(
        self, bars: Bars, folder: Path, compared: Callable[..., Compared]
    ) -> None:
        found = compared(pandas_list(bars))
        assert found.convention == "the bar that decided"
        assert found.matched == int((RunFolder.read(folder).trades["status"] == "closed").sum())
        assert {each for each in told(found) if each[0] != "missing"} <= {
            ("entry price", "fill"), ("exit price", "fill"),
        }  # fmt: skip

    def test_fills_at_the_close_of_the_signal_are_seen(
        self, bars: Bars, compared: Callable[..., Compared]
    ) -> None:
        rows = pandas_list(bars)
        close = frame_of(bars)["close"]
        rows["Entry Price"] = close[pd.DatetimeIndex(rows["Entry Date"])].to_numpy()
        (first, *_) = (each for each in compared(rows).differences if each.what == "entry price")
        assert (
            first.sentence
            == "your price is the close of the bar that decided; the run fills at the next open"
        )


def own_list(folder: Path) -> pd.DataFrame:
    """Return the run's own trades as a list."""
    trades = pd.read_parquet(folder / "trades.parquet")
    return pd.DataFrame({
        "entry": trades["entry_end"].dt.strftime("%Y-%m-%d"),
        "exit": trades["exit_end"].dt.strftime("%Y-%m-%d"),
        "side": np.where(trades["side"] > 0, "long", "short"), "size": trades["quantity"],
        "entry price": trades["entry_price"], "exit price": trades["exit_price"],
        "net pnl": trades["net_pnl"],
    })  # fmt: skip


class TestCauses:
    def test_the_same_list_is_the_same(self, folder: Path, compared: Callable[..., Compared]) -> None:
        found = compared(own_list(folder))
        assert found.same
        assert found.matched == found.equal == len(own_list(folder))

    def test_newest_first_is_the_same_too(self, folder: Path, compared: Callable[..., Compared]) -> None:
        assert compared(own_list(folder).iloc[::-1]).same

    @pytest.mark.parametrize(
        ("column", "change", "expected"),
        [
            ("entry price", 0.25, [("entry price", "fill"), ("net P&L", "cost")]),
            ("exit price", -3.0, [("exit price", "fill")]),
            ("size", 1.0, [("quantity", "size")]),
            ("net pnl", 2.5, [("net P&L", "cost")]),
        ],
    )
    def test_one_change_is_found_with_its_cause(
        self,
        folder: Path,
        compared: Callable[..., Compared],
        column: str,
        change: float,
        expected: list[tuple[str, str]],
    ) -> None:
        rows = own_list(folder)
        rows.loc[5, column] += change
        found = compared(rows)
        assert told(found) == expected[:1]
        assert found.differences[0].when in (rows["entry"][5], rows["exit"][5])
        assert (found.matched, found.equal) == (len(rows), len(rows) - 1)

    def test_gross_results_are_named(self, folder: Path, compared: Callable[..., Compared]) -> None:
        rows = own_list(folder)
        rows["net pnl"] += 2.5
        assert "yours is before the commission of 2.50" in compared(rows).differences[0].sentence

    def test_a_missing_trade(self, folder: Path, compared: Callable[..., Compared]) -> None:
        rows = own_list(folder)
        found = compared(rows.drop(index=7))
        assert told(found) == [("missing", "filter")]
        assert found.differences[0].when == rows["entry"][7]

    def test_a_trade_that_was_still_open(self, folder: Path, compared: Callable[..., Compared]) -> None:
        rows = own_list(folder)
        rows.loc[6, "exit"] = rows.loc[7, "exit"]
        found = compared(rows.drop(index=7))
        assert ("missing", "position") in told(found)
        assert ("exit bar", "exit") in told(found)

    def test_extra_trades_meet_what_the_run_decided(
        self, folder: Path, compared: Callable[..., Compared]
    ) -> None:
        run = RunFolder.read(folder)
        rows, reasons = own_list(folder), run.decisions["reason"]
        for code, cause in (("no signal", "signal"), ("hold", "position")):
            bar = int(np.flatnonzero(reasons.iloc[:-1] == code)[3]) + 1
            extra = pd.DataFrame([{"entry": str(run.dates[bar]), "side": "short", "entry price": 1.0}])
            found = compared(pd.concat((rows, extra)))
            assert told(found) == [("extra", cause)]
            assert f"the run decided: {code}" in found.differences[0].sentence

    def test_a_filter_is_named(self, tmp_path: Path, folder: Path, compared: Callable[..., Compared]) -> None:
        history = load_history("COMP", timeframe=DAILY, end="2016-12-30")
        strict = CONFIG.replaced(filters=[{"feature": "rsi_2", "max": 10.0}])
        other = run_backtest(strict, history, "COMP", span=SPAN).save(tmp_path)
        found = compared(own_list(folder), other)
        extra = [each for each in found.differences if each.what == "extra"]
        assert any(each.cause == "filter" and "rsi_2" in each.sentence for each in extra)

    def test_dates_outside_the_run_and_days_without_a_bar(
        self, folder: Path, compared: Callable[..., Compared]
    ) -> None:
        extra = pd.DataFrame({"entry": ["2015-03-04", "2016-07-04"], "side": "long"})
        found = compared(pd.concat((own_list(folder), extra)))
        assert told(found) == [("extra", "dates"), ("extra", "session")]


class TestIntraday:
    @pytest.fixture
    def hourly(self, tmp_path: Path) -> Path:
        dates = NYSE.scheduled_dates(np.datetime64("2024-03-04"), np.datetime64("2024-05-30"))[:30]
        ends = [
            pd.Timestamp(f"{day} {hour}:30", tz="America/New_York").tz_convert("UTC").tz_localize(None)
            for day in dates for hour in range(10, 16)
        ]  # fmt: skip
        draw = np.random.default_rng(1)
        close = 500 + np.cumsum(draw.normal(0, 2, len(ends)))
        open_ = close + draw.normal(0, 1, len(ends))
        high, low = (
            np.maximum(open_, close) + draw.random(len(ends)),
            np.minimum(open_, close) - draw.random(len(ends)),
        )
        rows = [tuple(map(float, each)) for each in np.round(np.column_stack((open_, high, low, close)), 2)]
        bars = make_bars(rows, ends, symbol="SPY", timeframe=Timeframe.parse("1h"))
        return backtest(bars, instrument=SPY, session=NYSE).save(tmp_path / "runs")

    @pytest.mark.parametrize(
        ("column", "minutes"), [("entry_end", 0), ("entry_end", 60), ("decision_end", 0)]
    )
    @pytest.mark.parametrize("zoned", [True, False])
    def test_stamps_of_every_convention_match(
        self, hourly: Path, compared: Callable[..., Compared], column: str, minutes: int, zoned: bool
    ) -> None:
        trades = pd.read_parquet(hourly / "trades.parquet")
        local = (trades[column] - pd.Timedelta(minutes=minutes)).dt.tz_convert("America/New_York")
        form = "%Y-%m-%d %H:%M:%S%z" if zoned else "%Y-%m-%d %H:%M:%S"
        rows = pd.DataFrame({"opened": local.dt.strftime(form), "entry price": trades["entry_price"]})
        found = compared(rows, hourly, timezone=None if zoned else "America/New_York")
        assert len(rows) > 10
        assert found.same

    def test_times_without_a_zone_are_refused(self, hourly: Path, compared: Callable[..., Compared]) -> None:
        with pytest.raises(DataError, match="have no zone, and bars of 1h need one: add --timezone"):
            compared(pd.DataFrame({"entry": ["2024-03-04 10:30"]}), hourly)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return python(ROOT / "scripts/compare_trades.py", *arguments)


class TestCommand:
    def test_exit_codes_and_table(self, tmp_path: Path, folder: Path) -> None:
        rows = own_list(folder)
        rows.to_csv(tmp_path / "same.csv", index=False)
        rows.loc[5, "entry price"] += 10_000.25
        rows.rename(columns={"entry": "Wann"}).to_csv(tmp_path / "other.csv", index=False, sep=";")
        same = command(tmp_path / "same.csv", folder, "--json")
        assert (same.returncode, same.stderr) == (0, "")
        assert json.loads(same.stdout)["same"] is True
        other = command(tmp_path / "other.csv", folder, "--column", "entry=Wann")
        assert other.returncode == 1
        price = rows["entry price"][5]
        assert f"{price:,.10g}" in other.stdout
        assert f"first difference, {rows['entry'][5]}: entry price (fill)" in other.stdout
        table = other.stdout.splitlines()[3:]
        assert max(map(len, table)) <= 80

    def test_json_names_the_first_difference(self, folder: Path, compared: Callable[..., Compared]) -> None:
        found = json.loads(compared(own_list(folder).drop(index=3)).text)
        assert (found["schema_version"], found["same"], found["missing"]) == (1, False, 1)
        assert found["first"]["what"] == "missing"

    def test_a_refusal_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "mine.csv").write_text("entry\n2016-01-05\n")
        done = command(tmp_path / "mine.csv", tmp_path)
        assert done.returncode == 2
        assert "name the folder that holds trades.parquet" in done.stderr
        assert (done.stderr.count("\n"), done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", {}, "no column with the entry time; the columns are a, b"),
        ("entry,price\nyesterday,2\n", {}, "row 2: entry 'yesterday': no date like 2016-01-04"),
        ("entry,price\n2016-01-05,two\n", {}, "row 2: price 'two': no number"),
        ("entry,side\n2016-01-05,up\n", {}, "row 2: side 'up': neither long nor short"),
        ("a,b\n1,2\n", {"entri": "a"}, "role 'entri'; did you mean 'entry'?"),
        ("Opened on,b\n1,2\n", {"entry": "Opened"}, "column 'Opened'; did you mean 'Opened on'?"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(
    tmp_path: Path, text: str, columns: dict[str, str], message: str
) -> None:
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(DataError) as refused:
        read_trades(tmp_path / "mine.csv", columns=columns)
    assert message in str(refused.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_trades(tmp_path / "mine.csv")


def test_usual_spellings_are_read(tmp_path: Path) -> None:
    """backtesting.py, vectorbt and NinjaTrader, with offsets, thousands and brackets for losses."""
    for text, side, price in (
        ("Size,EntryPrice,ExitPrice,PnL,EntryTime,ExitTime\n-2,\"4,100.50\",4090,(21),2016-01-05,2016-01-06\n",
         -1.0, 4_100.5),
        ("Entry Timestamp,Avg Entry Price,Direction\n2016-01-05 15:00:00+01:00,12.5,Short\n", -1.0, 12.5),
        ("Market pos.;Qty;Entry price;Entry time\nLong;1;7.25;2016-01-05\n", 1.0, 7.25),
    ):  # fmt: skip
        (tmp_path / "mine.csv").write_text(text)
        found = read_trades(tmp_path / "mine.csv")
        assert (found.side[0], found.entry_price[0]) == (side, price)
    zoned = "Entry Timestamp,Price\n2016-01-05 15:00:00+01:00,12.5\n"
    (tmp_path / "mine.csv").write_text(zoned)
    found = read_trades(tmp_path / "mine.csv")
    assert found.clock
    assert str(found.entry[0]).startswith("2016-01-05T14:00")
