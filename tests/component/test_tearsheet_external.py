"""The tear sheet of other programs' results: what they export is read, what is ambiguous is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lockstep
from lockstep import metrics
from lockstep.errors import ConfigError, DataError, LockstepError
from research.report import sections_record, track_record
from research.report.data import COSTS, TRADES, floats
from research.report.external import benchmark_of, period_of, report_of
from research.report.results_file import results_of
from research.report.tearsheet import tearsheet_html
from support.processes import ROOT, python
from support.reports import Page

DAYS = pd.bdate_range("2019-01-02", periods=600)
RETURNS = pd.Series(np.random.default_rng(21).normal(0.0006, 0.009, 600), index=DAYS)
# Monday to Friday holds 260.9 days a year; 600 of them are about as many as 252 a year gives.
TRADES_CSV = """entry,exit,side,pnl,commission
2020-01-02,2020-01-08,long,150.5,4
2020-01-09,2020-01-10,short,-80.25,4
2020-01-13,2020-01-20,long,40,4
"""


def write(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def series_csv(folder: Path, values: pd.Series, header: str, name: str = "mine.csv") -> Path:
    lines = [header, *(f"{day:%Y-%m-%d},{value!r}" for day, value in values.items())]
    return write(folder, "\n".join(lines) + "\n", name)


def test_returns_give_the_measures_of_their_definitions(tmp_path: Path) -> None:
    report = report_of(series_csv(tmp_path, RETURNS, "date,return"), trials=1)
    growth = float((1 + RETURNS).prod())
    years = (DAYS[-1] - DAYS[0]).days / 365.25 + 1 / 252
    found = report.metrics
    assert found["total_return"] == pytest.approx(growth - 1)
    assert found["cagr"] == pytest.approx(growth ** (1 / years) - 1)
    assert found["sharpe"] == pytest.approx(RETURNS.mean() / RETURNS.std() * 252**0.5)
    assert found["volatility"] == pytest.approx(RETURNS.std() * 252**0.5)
    curve = np.concatenate(([1.0], (1 + RETURNS).cumprod()))
    assert found["max_drawdown_fraction"] == pytest.approx((1 - curve / np.maximum.accumulate(curve)).max())
    assert (report.period, report.compounded, report.known) == ("day", True, frozenset())
    text = Page(lockstep.tearsheet(RETURNS, tmp_path / "page.html").read_text()).text
    for word in ("Trades on price", "Leverage", "Costs paid", "IBS", "Turnover", "Strategy config"):
        assert word not in text
    assert "trades, costs, exposure and leverage are unknown and omitted" in text


def test_the_same_record_in_every_form_is_the_same_page(tmp_path: Path) -> None:
    equity = 100_000.0 * (1 + RETURNS).cumprod()
    start = pd.concat([pd.Series([100_000.0], index=[DAYS[0] - pd.Timedelta(days=1)]), equity])
    semicolons = "Date;Return\n"
    semicolons += "".join(
        f"{day:%d.%m.%Y};{str(value).replace('.', ',')}\n" for day, value in RETURNS.items()
    )
    forms: dict[str, Any] = {
        "fractions": series_csv(tmp_path, RETURNS, "date,return", "a.csv"),
        "pandas": series_csv(tmp_path, RETURNS, ",0", "b.csv"),
        "percent in the name": series_csv(tmp_path, 100 * RETURNS, "Date,Return [%]", "c.csv"),
        "equity": series_csv(tmp_path, start, "Timestamp,Portfolio Value", "d.csv"),
        "newest first": series_csv(tmp_path, RETURNS[::-1], "time,strategy_returns", "e.csv"),
        "decimal commas": write(tmp_path, semicolons, "f.csv"),
        "series": RETURNS,
        "named series": RETURNS.rename("returns"),
        "equity series": start,
        "zoned series": RETURNS.tz_localize("America/New_York"),
        "frame": RETURNS.rename("returns").to_frame(),
    }
    for name, given in forms.items():
        found = report_of(given)
        assert floats(found.sessions, "return") == pytest.approx(RETURNS.to_numpy(), abs=1e-9), name
        assert found.metrics["sharpe"] == pytest.approx(RETURNS.mean() / RETURNS.std() * 252**0.5), name


def test_percent_signs_say_the_unit(tmp_path: Path) -> None:
    text = "date,ret\n" + "".join(f"{day:%Y-%m-%d},{100 * value:.6f}%\n" for day, value in RETURNS.items())
    found = report_of(write(tmp_path, text))
    assert floats(found.sessions, "return") == pytest.approx(RETURNS.to_numpy(), abs=1e-8)


def test_a_unit_that_could_be_either_is_refused(tmp_path: Path) -> None:
    percent = series_csv(tmp_path, 100 * RETURNS, "date,return")
    with pytest.raises(DataError, match="add --unit percent or fraction"):
        report_of(percent)
    assert report_of(percent, unit="percent").metrics["sharpe"] == pytest.approx(
        report_of(RETURNS).metrics["sharpe"]
    )
    wild = series_csv(tmp_path, 5 * RETURNS, "date,return", "wild.csv")
    with pytest.raises(DataError, match=r"percentages \(either is likely\)"):
        report_of(wild)
    assert report_of(wild, unit="fraction").metrics["volatility"] == pytest.approx(
        5 * RETURNS.std() * 252**0.5
    )


def test_constant_size_adds_up_and_compounding_multiplies() -> None:
    added = report_of(RETURNS, constant_size=True, capital=50_000)
    assert added.metrics["net_profit"] == pytest.approx(50_000 * RETURNS.sum())
    assert not added.compounded
    assert added.metrics["sharpe"] == pytest.approx(report_of(RETURNS).metrics["sharpe"])
    amounts = report_of((500 * RETURNS).rename("pnl"), capital=1_000)
    assert amounts.metrics["net_profit"] == pytest.approx(500 * RETURNS.sum())
    with pytest.raises(ConfigError, match="add --capital"):
        report_of((500 * RETURNS).rename("pnl"))


@pytest.mark.parametrize(
    ("freq", "name", "per_year"),
    [
        ("B", "day", 252.0),
        ("D", "day", 365.0),
        ("W-FRI", "week", 52.0),
        ("ME", "month", 12.0),
        ("QE", "quarter", 4.0),
    ],
)
def test_period_and_factor_follow_from_the_dates(freq: str, name: str, per_year: float) -> None:
    dates = pd.date_range("2010-01-01", periods=60, freq=freq)
    returns = pd.Series(np.random.default_rng(3).normal(0.004, 0.02, 60), index=dates, name="returns")
    assert period_of(dates.to_numpy().astype("datetime64[D]")) == (name, per_year)
    report = report_of(returns, unit="fraction")
    assert report.metrics["sharpe"] == pytest.approx(returns.mean() / returns.std() * per_year**0.5)
    assert report.period == name


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("freq", ["B", "YE", "h"])
@pytest.mark.parametrize("kind", ["normal", "flat", "equal", "rounding", "lost", "sparse"])
def test_strange_records_make_a_page_or_are_refused(freq: str, kind: str) -> None:
    random = np.random.default_rng(9)
    for count in (3, 40):
        values = {
            "normal": random.normal(0, 0.01, count),
            "flat": np.zeros(count),
            "equal": np.full(count, 0.001),
            "rounding": random.normal(0, 1e-16, count),
            "lost": np.append(random.normal(0, 0.01, count - 1), -1.0),
            "sparse": np.where(np.arange(count) == 1, 0.01, 0.0),
        }[kind]
        dates = pd.date_range("2001-01-05", periods=count, freq=freq)
        series = pd.Series(values, index=dates, name="returns")
        if freq == "h":
            with pytest.raises(DataError, match="needed are 3 dates"):
                report_of(series, unit="fraction")
            continue
        report = report_of(series, unit="fraction", trials=5)
        text = re.sub(r"<script.*?</script>", "", tearsheet_html(report), flags=re.S)
        assert not re.search(r"(nan|inf)[%<]", text)
        if kind in ("flat", "equal", "rounding"):
            assert np.isnan(report.metrics["sharpe"])


def test_intraday_values_become_days() -> None:
    stamps = pd.date_range("2021-01-04 09:30", periods=3_000, freq="h")
    values = pd.Series(np.random.default_rng(5).normal(0, 0.001, 3_000), index=stamps, name="returns")
    report = report_of(values)
    assert floats(report.sessions, "return")[0] == pytest.approx((1 + values["2021-01-04"]).prod() - 1)
    assert len(report.sessions) == len(np.unique(stamps.date))


def test_missing_years_are_said_of_anybodys_results() -> None:
    holed = RETURNS[(RETURNS.index < "2019-07-01") | (RETURNS.index > "2020-10-01")]
    report = report_of(holed)
    assert report.scale.years == pytest.approx((DAYS[-1] - DAYS[0]).days / 365.25, abs=0.01)
    assert not report.scale.is_regular
    assert report.metrics["sharpe"] < holed.mean() / holed.std() * 252**0.5


def test_benchmark_prices_and_returns_are_the_same_benchmark(tmp_path: Path) -> None:
    moves = pd.Series(np.random.default_rng(8).normal(0.0003, 0.01, 600), index=DAYS)
    prices = series_csv(tmp_path, 50 * (1 + moves).cumprod(), "date,close", "index.csv")
    as_prices, as_returns = report_of(RETURNS, benchmark=prices), report_of(RETURNS, benchmark=moves)
    one, other = track_record.against(as_prices), track_record.against(as_returns)
    assert one is not None
    assert other is not None
    assert one.benchmark == pytest.approx(moves.to_numpy()[1:])
    assert other.benchmark == pytest.approx(one.benchmark)
    slope = np.polyfit(moves.to_numpy()[1:], RETURNS.to_numpy()[1:], 1)[0]
    assert metrics.beta(one.returns, one.benchmark) == pytest.approx(slope)
    assert as_prices.beside is not None
    assert as_prices.beside.name == "index"
    with pytest.raises(DataError, match="cannot be compared with"):
        benchmark_of(RETURNS.rename("pnl"))


def test_trades_count_on_the_day_of_their_exit(tmp_path: Path) -> None:
    report = report_of(write(tmp_path, TRADES_CSV), capital=10_000)
    sessions = report.sessions.set_index("date")["return"]
    assert len(sessions) == 13
    assert sessions[pd.Timestamp("2020-01-08")] == pytest.approx(0.01505)
    assert sessions[pd.Timestamp("2020-01-10")] == pytest.approx(-0.008025)
    assert sessions.astype(bool).sum() == 3
    found = report.metrics
    assert (found["trades"], found["net_profit"]) == (3, pytest.approx(110.25))
    assert found["profit_factor"] == pytest.approx(190.5 / 80.25)
    assert found["average_bars_held"] == pytest.approx((6 + 1 + 7) / 3)
    # Open at the end of 2 to 7, 9 and 13 to 17 January: 4 + 1 + 5 of 13 weekdays.
    assert found["exposure"] == pytest.approx(10 / 13)
    assert report.known == {TRADES, COSTS}
    assert "drawdowns and volatility are understated" in report.notes[0]
    assert "<td>2</td>" in sections_record.sides(report)


@pytest.mark.parametrize(
    ("name", "text"),
    {
        "vectorbt": "Exit Trade Id,Column,Size,Entry Timestamp,Avg Entry Price,Entry Fees,Exit Timestamp,"
        "Avg Exit Price,Exit Fees,PnL,Return,Direction,Status,Position Id\n"
        "0,0,1.0,2020-01-02,10,1,2020-01-08,11,3,150.5,.1,Long,Closed,0\n"
        "1,0,1.0,2020-01-09,10,1,2020-01-10,11,3,-80.25,.1,Short,Closed,1\n"
        "2,0,1.0,2020-01-13,10,2,2020-01-20,11,2,40,.1,Long,Closed,2\n",
        "backtesting.py": "Size,EntryBar,ExitBar,EntryPrice,ExitPrice,SL,TP,PnL,Commission,ReturnPct,"
        "EntryTime,ExitTime,Duration,Tag\n"
        "12,1,2,10,11,,,150.5,4,.1,2020-01-02,2020-01-08,6 days,\n"
        "-12,1,2,10,11,,,-80.25,4,.1,2020-01-09,2020-01-10,1 days,\n"
        "12,1,2,10,11,,,40,4,.1,2020-01-13,2020-01-20,7 days,\n",
        "Backtrader's trade list": "ref,ticker,dir,datein,pricein,dateout,priceout,chng%,pnl,commission\n"
        "1,x,long,2020-01-02,10,2020-01-08,11,1.0,150.5,4\n"
        "2,x,short,2020-01-09,10,2020-01-10,11,1.0,-80.25,4\n"
        "3,x,long,2020-01-13,10,2020-01-20,11,1.0,40,4\n",
        "TradingView": "Trade #,Type,Date/Time,Signal,Price USD,Contracts,Commission,Net P&L USD\n"
        '1,Exit long,2020-01-08 10:00,Close,11,1,4,150.5\n1,Entry long,2020-01-02 10:00,Buy,10,1,4,150.5\n'
        "2,Exit short,2020-01-10 10:00,Close,11,1,4,-80.25\n"
        "2,Entry short,2020-01-09 10:00,Sell,10,1,4,-80.25\n"
        '3,Exit long,2020-01-20 10:00,Close,11,1,4,40\n3,Entry long,2020-01-13 10:00,Buy,10,1,4,40\n',
        "a desk's own": "opened;closed;long/short;profit;fees\n"
        "02.01.2020;08.01.2020;Long;$150.50;4\n09.01.2020;10.01.2020;Short;(80.25);4\n"
        "13.01.2020;20.01.2020;Long;40.00;4\n14.01.2020;;Long;;\n",
    }.items(),
)  # fmt: skip
def test_lists_of_trades_of_other_programs(tmp_path: Path, name: str, text: str) -> None:
    texts = {"plain.csv": TRADES_CSV, "other.csv": text}
    plain, found = (results_of(write(tmp_path, each, file)).trades for file, each in texts.items())
    assert plain is not None
    assert found is not None
    for column in ("side", "pnl", "fees"):
        assert found[column].tolist() == plain[column].tolist(), name
    for column in ("entry", "exit"):
        assert found[column].dt.normalize().tolist() == plain[column].tolist(), name


GOOD = "2020-01-02,0.01\n2020-01-03,-0.01\n2020-01-06,0.02\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "at most one column"),
        ("date\n2020-01-02\n", {}, "at most one column"),
        ("date,return\n", {}, "no rows"),
        ("when,return\n" + GOOD, {}, "no date among its columns when, return"),
        ("date,return\n2020-01-02,0.01\n", {}, "1 values: a tear sheet needs at least 3"),
        (
            "date,return\n" + GOOD + "2020-01-07,oops\n2020-01-08,0.1\n",
            {},
            "row 5: return 'oops': not a number",
        ),
        ("date,return\n" + GOOD + "2020-01-06,0.01\n", {}, "date 2020-01-06 twice"),
        ("date,return\n" + GOOD + "2020-01-03,0.01\n", {}, "after 2020-01-06"),
        ("date,return\n" + GOOD + "2020-02-30,0.01\n", {}, "row 5: date '2020-02-30': not a date"),
        ("date,return\n" + GOOD.replace("0.02", "-1.5"), {"unit": "fraction"}, "return -150% on 2020-01-06"),
        ("date,equity\n" + GOOD, {}, "equity -0.01 on 2020-01-03: an account that is lost"),
        ("date,a,b\n2020-01-02,1,2\n", {}, "add --column NAME"),
        ("date,return,strategy\n2020-01-02,1,2\n", {}, "which one is meant"),
        ("date,x\n2020-01-02,0.1\n2020-01-03,0.2\n2020-01-06,0.3\n", {}, "returns or equity"),
        ("date,return\n01/02/2020,0.01\n02/02/2020,0.01\n03/02/2020,0.02\n", {}, "day or month first"),
        ("date,return\n" + GOOD, {"column": "other"}, "no column other"),
        ("date,return\n" + GOOD, {"trials": 0}, "trials 0: at least"),
        ("date,return\n" + GOOD, {"capital": -5}, "capital -5: must be positive"),
        ("date,return\n" + GOOD, {"out_of_sample": "soon"}, "not a date like"),
        ("date,return\n" + GOOD, {"out_of_sample": "2031-01-01"}, "not within the results"),
        (TRADES_CSV, {}, "add --capital"),
        ("time,ret\n" + "".join(f"2020-01-02 0{h}:00,0.01\n" for h in range(5)), {}, "5 values on 1 dates"),
        (TRADES_CSV.replace("40,4", "x,4"), {"capital": 1e4}, "row 4: pnl 'x': not a number"),
        (TRADES_CSV.replace("2020-01-10", "2020-01-01"), {"capital": 1e4}, "row 3: exit before its entry"),
        ("date,return\n" + GOOD, {"kind": "trades"}, "no column exit time"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LockstepError, match=re.escape(message)) as raised:
        report_of(write(tmp_path, text), **{"unit": "fraction", **options})
    assert "\n" not in str(raised.value)


def test_missing_files_and_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        report_of(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="list: not results"):
        report_of([1.0, 2.0])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00date")
    with pytest.raises(DataError, match="not UTF-8"):
        report_of(tmp_path / "binary.csv")


def test_a_rejected_column_would_have_been_noticed(tmp_path: Path) -> None:
    """What was not used is named on the page."""
    text = "date,return,comment\n" + "".join(line + ",x\n" for line in GOOD.split())
    assert report_of(write(tmp_path, text), unit="fraction").provenance["columns not used"] == "comment"


def test_lockstep_loads_the_tear_sheet_when_it_is_used() -> None:
    code = "import sys, lockstep; sys.exit(bool({'pandas', 'plotly', 'research'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
    assert lockstep.tearsheet.__module__ == "research.report.external"
    with pytest.raises(AttributeError, match="no attribute 'tearsheets'"):
        lockstep.tearsheets  # noqa: B018


def test_command_writes_a_page_or_one_line(tmp_path: Path) -> None:
    mine = series_csv(tmp_path, RETURNS, "date,return")
    out = tmp_path / "pages" / "page.html"
    script = "scripts/tearsheet.py"
    done = python(script, mine, "--benchmark", mine, "--trials", "40", "--out", out, "--shared-js", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("600 days, 2019-01-02 to ")
    assert f"tear sheet: {out}" in done.stdout
    page = Page(out.read_text())
    assert "Deflated Sharpe ratio" in page.text
    assert page.loads == [("script", f"../{next(tmp_path.glob('plotly-*.js')).name}")]
    failed = python(script, mine, "--column", "no", "--out", tmp_path / "no.html")
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "no.html").exists()
