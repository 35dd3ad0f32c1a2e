"""The feature check agrees where values agree, and says where they do not."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lockstep.errors import BadBars, ConfigError, DataError, UnknownFeature
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY, Timeframe
from research.checks.features import DEFAULT_IDS, FeatureComparison, check_features
from research.checks.features_report import (
    LISTED,
    NOT_EQUAL,
    comparison_figure,
    page,
    print_check,
    spelled,
    write_page,
)
from research.checks.slow_features import slow_values
from research.report.page import UNDEFINED
from support.markets import NYSE, random_bars, stamps
from support.pages import assert_escaped

MONTH = "2018-12"
HEADER = "datetime,open,high,low,close,volume"

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def comp_values(ids: tuple[str, ...] = DEFAULT_IDS) -> pd.DataFrame:
    """Return our own values of COMP in December 2018 by session date."""
    bars = load_bars("COMP")
    values = default_registry().matrix(ids, bars)
    values.index = pd.Index(NYSE.dates(bars.end, DAILY).astype(str), name="datetime")
    return values.loc[f"{MONTH}-01" :]


@pytest.fixture
def other(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def write(frame: pd.DataFrame) -> Path:
        path = tmp_path / "OTHER.csv"
        frame.to_csv(path)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hourly SPY bars of three weeks of December 2018, stamped by their open."""
    dates = NYSE.scheduled_dates(np.datetime64("2018-11-20"), np.datetime64("2018-12-14"))
    clocks = [f"{date} {hour:02d}:00" for date in dates for hour in range(9, 16)]
    bars = random_bars(stamps(clocks), Timeframe.parse("1h"), "SPY")
    rows = [
        f"{clock}:00,{o},{h},{low},{c},{v}"
        for clock, o, h, low, c, v in zip(clocks, *bars.columns().values(), strict=True)
    ]
    home = tmp_path / "equity_hourly"
    home.mkdir()
    (home / "SPY_bt.csv").write_text("\n".join((HEADER, *rows, "")))
    return home


class TestAgainstSlowFormulas:
    def test_defaults_agree(self) -> None:
        check = check_features("COMP", MONTH)
        assert check.passed
        assert check.verdict == (
            "within 5%: COMP 2018-12 against slow formulas, ibs, rsi_2, volume_pctile_20 on 19 of 19 bars"
        )
        assert check.labels[0] == "2018-12-03"
        assert len(check.labels) == 19, "the markets were closed on the 5th"

    @pytest.mark.parametrize(
        "feature_id",
        [
            "ibs",
            "rsi_2",
            "rsi_14",
            "volume_pctile_20",
            "ret_5",
            "zscore_20",
            "stoch_k_14",
            "ibs%20",
            "ret_5~2",
            "ret_5%60~1",
            "ibs*rsi_2~1",
        ],
    )
    def test_each_formula_is_the_registry_s_to_rounding(self, feature_id: str) -> None:
        bars = load_bars("COMP")
        fast = default_registry().calculate(feature_id, bars)
        slow = slow_values(default_registry().parse(feature_id), bars.to_frame()).to_numpy()
        warm = ~np.isnan(fast)
        assert warm.sum() > 4000
        np.testing.assert_allclose(fast[warm], slow[warm], rtol=0, atol=1e-7)

    def test_formulas_on_flat_bars(self) -> None:
        flat = Bars(
            symbol="COMP",
            timeframe=DAILY,
            end=load_bars("COMP").end[:60],
            **{name: np.full(60, 5.0) for name in ("open", "high", "low", "close", "volume")},
        )
        for each, expected in (("ibs", 0.5), ("rsi_2", 50.0), ("stoch_k_14", 50.0), ("zscore_20", 0.0)):
            slow = slow_values(default_registry().parse(each), flat.to_frame())
            assert slow.iloc[-1] == expected == default_registry().calculate(each, flat)[-1]

    def test_a_short_history_has_no_average_yet(self) -> None:
        few = load_bars("COMP").rows(0, 2)
        assert slow_values(default_registry().parse("rsi_2"), few.to_frame()).isna().all()

    def test_a_product_is_the_product_of_its_factors(self) -> None:
        check = check_features("COMP", MONTH, ids=("rsi_2*volume_pctile_20",))
        assert check.passed
        assert check.widths.iloc[0] == pytest.approx(np.nanmax(check.ours.to_numpy()))

    def test_a_wrong_kernel_does_not_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from research.checks import slow_features

        honest = slow_features._FORMULAS["ibs"]
        monkeypatch.setitem(slow_features._FORMULAS, "ibs", lambda bars: honest(bars).shift(1))
        check = check_features("COMP", MONTH)
        assert not check.passed
        assert set(check.outside["feature"]) == {"ibs"}

    @pytest.mark.parametrize("feature_id", ["adx_14", "ibs@SPX"])
    def test_an_id_without_formula_is_refused(self, feature_id: str) -> None:
        with pytest.raises(ConfigError, match=rf"feature {feature_id}: no second formula .* --against"):
            check_features("COMP", MONTH, ids=(feature_id,))


class TestAgainstValues:
    def test_the_same_values_agree(self, other: Callable[[pd.DataFrame], Path]) -> None:
        check = check_features("COMP", MONTH, against=other(comp_values()))
        assert check.passed
        assert check.against == "OTHER.csv"

    @pytest.mark.parametrize(
        ("ours", "theirs", "agrees"),
        [
            (0.8, 0.8 * 0.951, True),
            (0.8, 0.8 * 0.949, False),
            (0.8, 0.8 / 0.951, True),
            (0.001, 0.0109, True),
            (0.001, 0.0111, False),
            (0.0, 0.0, True),
        ],
    )
    def test_tolerance_is_5_percent_of_the_larger_and_1_percent_of_the_range(
        self, ours: float, theirs: float, agrees: bool
    ) -> None:
        honest = check_features("COMP", MONTH, ids=("ibs",))
        pair = [pd.DataFrame({"ibs": [value]}, index=honest.ours.index[:1]) for value in (ours, theirs)]
        for one, another in (pair, pair[::-1]):
            check = FeatureComparison(
                market=honest.market,
                timeframe=DAILY,
                month=MONTH,
                against="x",
                bars=honest.bars[:1],
                ours=one,
                theirs=another,
                widths=honest.widths,
            )
            assert check.passed is agrees

    def test_rows_out_of_tolerance_are_listed(self, other: Callable[[pd.DataFrame], Path]) -> None:
        values = comp_values()
        values.loc["2018-12-07", "rsi_2"] += 5
        values.loc["2018-12-10", "ibs"] = 0.99
        check = check_features("COMP", MONTH, against=other(values))
        assert not check.passed
        assert list(zip(check.outside["bar"], check.outside["feature"], strict=True)) == [
            ("2018-12-07", "rsi_2"),
            ("2018-12-10", "ibs"),
        ]
        assert check.outside["difference"].iloc[0] == pytest.approx(-5)
        assert "2 values; first rsi_2 of 2018-12-07: " in check.verdict

    def test_missing_days_are_counted_on_both_sides(self, other: Callable[[pd.DataFrame], Path]) -> None:
        values = comp_values().drop(index="2018-12-07").astype(object)
        values.loc["2018-12-10", "ibs"] = ""
        values.loc["2018-12-05"] = 0.5
        check = check_features("COMP", MONTH, against=other(values.sort_index()))
        counts = check.counts
        assert counts.loc["ibs"].tolist() == [20, 17, 0, 1, 2]
        assert counts.loc["rsi_2"].tolist() == [20, 18, 0, 1, 1]
        assert check.passed
        assert "on 17 of 20 bars" in check.verdict

    def test_less_than_half_compared_confirms_nothing(self, other: Callable[[pd.DataFrame], Path]) -> None:
        check = check_features("COMP", MONTH, against=other(comp_values()[:9]))
        assert not check.passed
        assert check.verdict == (
            "not confirmed: COMP 2018-12 against OTHER.csv, ibs could be compared on 9 of 19 bars only"
        )
        assert check_features("COMP", MONTH, against=other(comp_values()[:10])).passed

    def test_hourly_values_join_on_the_bar(self, folder: Path, other: Callable[[pd.DataFrame], Path]) -> None:
        honest = check_features("SPY", MONTH, folder)
        assert honest.passed
        assert honest.labels[:2] == ["2018-12-03 10:00", "2018-12-03 11:00"]
        opens = pd.DatetimeIndex(honest.ours.index).tz_convert("America/New_York") - pd.Timedelta(hours=1)
        values = honest.ours.set_index(pd.Index(opens.tz_localize(None), name="datetime"))
        check = check_features("SPY", MONTH, folder, against=other(values))
        assert check.passed
        assert len(check.ours) == len(honest.ours)
        late = values.set_index(values.index + pd.Timedelta(hours=1))
        assert not check_features("SPY", MONTH, folder, against=other(late)).passed

    def test_daily_values_of_bars_made_of_hours(
        self, folder: Path, other: Callable[[pd.DataFrame], Path]
    ) -> None:
        honest = check_features("SPY", MONTH, folder, ids=("ibs",), timeframe=DAILY)
        values = honest.ours.set_index(pd.Index(honest.labels, name="date"))
        check = check_features("SPY", MONTH, folder, ids=("ibs",), timeframe=DAILY, against=other(values))
        assert check.passed
        assert len(check.labels) == 9


class TestAgainstBars:
    def bars(self, other: Callable[[pd.DataFrame], Path], edit: Edit) -> Path:
        source = load_bars("COMP")
        frame = source.to_frame()
        dates = pd.DatetimeIndex(NYSE.dates(source.end, DAILY).astype("M8[ns]"))
        frame.index = pd.Index(dates.strftime("%m/%d/%Y"), name="Date")
        return other(edit(frame))

    def test_the_same_bars_agree(self, other: Callable[[pd.DataFrame], Path]) -> None:
        assert check_features("COMP", MONTH, against=self.bars(other, lambda frame: frame)).passed

    def test_another_close_does_not(self, other: Callable[[pd.DataFrame], Path]) -> None:
        def edit(frame: pd.DataFrame) -> pd.DataFrame:
            frame.loc["12/07/2018", "close"] = frame.loc["12/07/2018", "high"]
            return frame

        check = check_features("COMP", MONTH, against=self.bars(other, edit))
        assert check.outside.iloc[0][["bar", "feature"]].tolist() == ["2018-12-07", "ibs"]
        assert check.outside.iloc[0]["theirs"] == 1.0

    def test_bars_without_history_have_no_values_yet(self, other: Callable[[pd.DataFrame], Path]) -> None:
        check = check_features("COMP", MONTH, against=self.bars(other, lambda frame: frame[-19:]))
        assert not check.passed
        assert check.counts.loc["ibs", "compared"] == 19
        assert check.counts.loc["rsi_2", "missing_theirs"] == 19
        assert check.verdict.startswith("not confirmed")


class TestRefusals:
    @pytest.mark.parametrize("month", ["2018-13", "2018", "December", "2018-12-01"])
    def test_what_is_no_month(self, month: str) -> None:
        with pytest.raises(ConfigError, match="must be a month like 2018-12"):
            check_features("COMP", month)

    def test_a_month_without_bars(self) -> None:
        with pytest.raises(DataError, match="no bar in 1990-01: it has 1999-01-04 to 2018-12-31"):
            check_features("COMP", "1990-01")

    def test_no_feature(self) -> None:
        with pytest.raises(ConfigError, match="name at least one"):
            check_features("COMP", MONTH, ids=())

    def test_an_unknown_feature(self) -> None:
        with pytest.raises(UnknownFeature, match="did you mean ibs"):
            check_features("COMP", MONTH, ids=("ibss",))

    def test_a_file_without_the_columns(self, other: Callable[[pd.DataFrame], Path]) -> None:
        path = other(comp_values(("ibs",)))
        with pytest.raises(ConfigError, match="no column rsi_2 among datetime, ibs"):
            check_features("COMP", MONTH, against=path)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("2018-12-03,high", r":2: ibs 'high': must be a number, or empty where unknown"),
            ("yesterday,0.5", r":2: datetime 'yesterday': must be a stamp"),
            ("2018-12-03,0.5,0.5", r":2: 3 columns: expected 2 columns"),
            ("2018-12-03,0.5\n2018-12-03,0.6", r":3: datetime '2018-12-03': stamps must rise strictly"),
        ],
    )
    def test_bad_rows_are_named(self, tmp_path: Path, row: str, message: str) -> None:
        path = tmp_path / "values.csv"
        path.write_text(f"datetime,ibs\n{row}\n2018-12-04,0.5\n")
        with pytest.raises(BadBars, match=message):
            check_features("COMP", MONTH, ids=("ibs",), against=path)

    def test_ticks_need_a_timeframe(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from research.checks import features as feature_check

        book = feature_check.load_instruments()
        ticks = book.sources["futures_1min"].model_copy(update={"timeframe": None, "stamp": "trade"})
        ticking = book.model_copy(update={"sources": {"futures_1min": ticks}})
        monkeypatch.setattr(feature_check, "load_instruments", lambda: ticking)
        folder = tmp_path / "futures_1min"
        folder.mkdir()
        lines = [f"2024-01-02T15:{minute:02d}:30Z,{100 + minute},1" for minute in range(5)]
        (folder / "6E_bt.csv").write_text("\n".join(("datetime,price,volume", *lines, "")))
        with pytest.raises(ConfigError, match="holds ticks; give the --timeframe"):
            check_features("6E", "2024-01", folder)
        minutes = Timeframe.parse("1min")
        others = tmp_path / "bars.csv"
        others.write_text(f"{HEADER}\n2024-01-02T15:01:00Z,1,1,1,1,1\n")
        with pytest.raises(ConfigError, match="declares ticks; give a file with feature values"):
            check_features("6E", "2024-01", folder, ids=("ibs",), timeframe=minutes, against=others)
        values = tmp_path / "values.csv"
        values.write_text("datetime,ibs\n2024-01-02T15:01:00Z,0.5\n2024-01-02T15:02:00Z,0.5\n")
        check = check_features("6E", "2024-01", folder, ids=("ibs",), timeframe=minutes, against=values)
        assert check.counts.loc["ibs", "compared"] == 2


class TestOutput:
    @pytest.fixture
    def failing(self, other: Callable[[pd.DataFrame], Path]) -> FeatureComparison:
        values = comp_values().drop(index="2018-12-07")
        values.loc["2018-12-10", "ibs"] = 0.99
        return check_features("COMP", MONTH, against=other(values))

    def printed(self, check: FeatureComparison) -> str:
        console = Console(record=True, width=120, file=StringIO())
        print_check(console, check, Path("somewhere.html"))
        return console.export_text()

    def test_what_is_printed(self, failing: FeatureComparison) -> None:
        text = self.printed(failing)
        assert "≠ 0.9900" in text
        assert "out of tolerance" in text
        assert "plot: somewhere.html" in text
        assert text.rstrip().endswith(failing.verdict)
        row, column = failing.labels.index("2018-12-07"), failing.ids.index("ibs")
        assert spelled(failing, row, column).endswith(f"{NOT_EQUAL} {UNDEFINED}")

    def test_long_months_are_cut_short(self, folder: Path) -> None:
        text = self.printed(check_features("SPY", MONTH, folder))
        assert f"the first {LISTED} of 63 bars" in text

    def test_the_page_is_the_same_every_time_and_needs_nothing_else(
        self, failing: FeatureComparison, tmp_path: Path
    ) -> None:
        path = write_page(failing, tmp_path / "new" / "folder")
        assert path.name == "COMP-1d-2018-12-features.html"
        text = path.read_text()
        assert text == page(failing)
        assert "not within 5%" in text
        assert str(tmp_path) not in text
        assert "<script src" not in text
        assert page(check_features("COMP", MONTH)).count("None.</p>") == 1

    def test_the_figure_shows_every_value(self, failing: FeatureComparison) -> None:
        drawn = comparison_figure(failing)
        named = [(trace.name, list(trace.y)) for trace in drawn.data if trace.type == "scatter"]
        assert len(named) == 3 * len(failing.ids)
        crosses = [value for name, values in named if name == "out of tolerance" for value in values]
        assert [value for value in crosses if value is not None] == [0.99]
        ours = named[0][1]
        assert ours == pytest.approx(failing.ours["ibs"].to_numpy(), abs=1e-6)

    def test_a_folder_that_cannot_be_made(self, failing: FeatureComparison, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(DataError, match="no folder can be made there; check --out"):
            write_page(failing, blocked / "below")


def test_hostile_names_stay_text(other: Callable[[pd.DataFrame], Path]) -> None:
    ids = ("ibs", "rsi_2")
    check = check_features("COMP", MONTH, ids=ids, against=other(comp_values(ids) * 3 + 1))
    assert_escaped(page, check, *ids, "COMP", check.against)


def test_long_lists_of_differences_are_cut_short(other: Callable[[pd.DataFrame], Path]) -> None:
    ids = ("ibs", "rsi_2", "volume_pctile_20", "ret_5", "zscore_20")
    check = check_features("COMP", MONTH, ids=ids, against=other(comp_values(ids) * 3 + 1))
    assert len(check.outside) > LISTED
    assert "more are not listed" in page(check)
    assert f"the first {LISTED} of" in TestOutput().printed(check)


def test_real_bars_agree_with_the_slow_formulas(shared_data: Path) -> None:
    assert check_features("ES", MONTH, shared_data / "futures_daily").passed
