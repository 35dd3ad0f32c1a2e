"""The look-ahead check catches every planted look-ahead, and passes what has none."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lockstep.errors import ConfigError, LookaheadError
from lockstep.features import batch, columns
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature import Feature, feature
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.aggregator import aggregate
from lockstep.market.asof import asof_rows
from lockstep.market.bars import BAR_COLUMNS, Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.sizing import contracts
from lockstep.strategy.veto import Veto
from research.checks.changed_bars import dropped, early_bars, perturbed
from research.checks.computations import Observations, features_of, moves, servable_ids
from research.checks.lookahead import (
    Files,
    check_files,
    check_lookahead,
    draw_cuts,
    lookahead_findings,
    lookahead_table,
)
from research.checks.verdicts import LookaheadFinding, LookaheadReport
from research.statistics.markov import turbulent_probabilities
from support.scenarios import CME, NYSE, SPY, daily_bars, history_of, make_bars

ROOT = Path(__file__).resolve().parents[2]
HOURLY = Timeframe.parse("1h")
BASELINE = IbsConfig(name="baseline", features=("rsi_2",))


def rows(n: int, seed: int = 3) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return n random (open, high, low, close) rows on a grid of quarter points."""
    draw = np.random.default_rng(seed)
    close = 1000 + np.cumsum(draw.normal(0, 8, n))
    open_ = close + draw.normal(0, 5, n)
    high = np.maximum(open_, close) + draw.random(n) * 4
    low = np.minimum(open_, close) - draw.random(n) * 4
    return np.asarray(np.round(np.column_stack([open_, high, low, close]) * 4) / 4)


@pytest.fixture(scope="module")
def daily() -> History:
    return history_of(daily_bars(rows(120)))


def hourly_bars(days: int = 15) -> Bars:
    dates = NYSE.scheduled_dates(np.datetime64("2024-03-18"), np.datetime64("2024-06-30"))[:days]
    close = NYSE.nominal_close(dates)
    ends = (close[:, None] - 3_600_000_000_000 * np.arange(6, -1, -1)).ravel()
    return make_bars(rows(ends.size), ends.view("M8[ns]"), symbol="SPY", timeframe=HOURLY)


def with_context(traded: Bars, context: Bars) -> History:
    history = history_of(traded, SPY, NYSE)
    return History(bars={**history.bars, SeriesKey("SPY", DAILY): context}, markets=history.markets)


def with_pair(history: History) -> History:
    """Return the ES history with daily NQ bars as its pair."""
    market = history.markets["ES"]
    paired = market.instrument.model_copy(update={"pair": "NQ"})
    other = market.instrument.model_copy(update={"symbol": "NQ", "pair": "ES"})
    return History(
        bars={**history.bars, SeriesKey("NQ", DAILY): daily_bars(rows(120, seed=8), symbol="NQ")},
        markets={
            "ES": Market(instrument=paired, session=CME),
            "NQ": Market(instrument=other, session=CME),
        },
    )


@feature(lookback=1)
def planted(close: Any) -> float:
    """Close of the bar, honest in itself; tests replace what drives it."""
    return float(close[-1])


def plant(monkeypatch: pytest.MonkeyPatch, drive: Any) -> FeatureRegistry:
    """Return a registry with `planted`, driven over whole columns by `drive` (close -> values)."""
    honest = batch.driver

    def driver(declared: Feature) -> Any:
        if declared is not planted:
            return honest(declared)

        def run(close: Any, lookback: int, start: int, stop: int, out: Any, at: int) -> None:
            out[at : at + stop - start] = drive(close)[start:stop]

        return run

    monkeypatch.setattr(batch, "driver", driver)
    registry = FeatureRegistry()
    registry.register(planted)
    return registry


def one_bar_ahead(close: Any) -> Any:
    return np.append(close[1:], close[-1:])


def whole_file_z(close: Any) -> Any:
    return (close - close.mean()) / close.std() if close.size else close


def check(history: History, registry: FeatureRegistry | None = None, **changes: Any) -> LookaheadReport:
    config = BASELINE.replaced(**changes.pop("config", {}))
    return check_lookahead(config, history, "ES", registry=registry, cuts=changes.pop("cuts", 5), **changes)


class TestPasses:
    def test_honest_strategy_has_no_lookahead(self, daily: History) -> None:
        report = check(daily)
        assert report.passed
        assert report.verdict == "no look-ahead: 2 features and all decisions unchanged at 5 cuts"
        report.require()

    def test_honest_feature_passes_where_the_planted_ones_fail(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = plant(monkeypatch, lambda close: close)
        assert check(daily, registry, config={"features": ("planted",)}).passed

    def test_strategy_with_stop_veto_and_span(self, daily: History) -> None:
        class Model:
            def predict_proba(self, features: Any, /) -> Any:
                return np.array([[0.3, 0.7]])

        veto = Veto(model=Model(), feature_ids=("ret_5",), threshold=0.5)
        report = check(daily, veto=veto, span=DateRange.of("2024-02-01"), config={"stop": {"percent": 1.0}})
        assert report.passed
        assert report.ids == ("ibs", "rsi_2", "ret_5")
        assert min(report.cuts) >= np.datetime64("2024-02-01", "ns").astype(np.int64)

    def test_daily_context_made_by_the_aggregator(self) -> None:
        traded = hourly_bars()
        history = with_context(traded, aggregate(traded, DAILY, NYSE))
        config = IbsConfig(name="context", timeframe="1h", features=("ibs@1d", "ret_1@1d"))
        assert check_lookahead(config, history, "SPY", cuts=10).passed

    def test_context_from_another_vendor_at_another_level_is_not_accused(self) -> None:
        traded = hourly_bars()
        daily = aggregate(traded, DAILY, NYSE)
        other = replace(daily, **{name: getattr(daily, name) + 300 for name in BAR_COLUMNS[:4]})
        config = IbsConfig(name="context", timeframe="1h", features=("ibs@1d",))
        assert check_lookahead(config, with_context(traded, other), "SPY", cuts=5).passed


class TestPlantedFeatures:
    def test_driver_that_reads_one_bar_ahead(self, daily: History, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = plant(monkeypatch, one_bar_ahead)
        report = check(daily, registry, config={"features": ("rsi_2", "planted")})
        first = report.findings[0]
        assert first.what == "planted"
        assert first.stamp == first.cut == report.cuts[0], "the bar at the earliest cut is the first to move"
        bars = daily.series(SeriesKey("ES", DAILY))
        row = int(np.searchsorted(bars.end, first.stamp))
        assert first.cause == (
            f"moves when later bars are dropped: {bars.close[row + 1]:.6g} -> {bars.close[row]:.6g}"
        )
        assert {found.what for found in report.findings} == {"planted", "decision vector planted"}

    def test_normalisation_over_the_whole_file(self, daily: History, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = plant(monkeypatch, whole_file_z)
        report = check(daily, registry, config={"features": ("planted",)})
        bars = daily.series(SeriesKey("ES", DAILY))
        assert report.findings[0].what == "planted"
        assert report.findings[0].stamp == bars.end[0], "every bar moves, so the first one is named"
        with pytest.raises(LookaheadError, match=r"ES:1d: look-ahead: planted at 2024-01-08 .* -> "):
            report.require()

    def test_context_of_a_feature_that_reads_ahead(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = plant(monkeypatch, one_bar_ahead)
        traded = hourly_bars()
        history = with_context(traded, aggregate(traded, DAILY, NYSE))
        config = IbsConfig(name="context", timeframe="1h", features=("planted@1d",))
        report = check_lookahead(config, history, "SPY", registry=registry, cuts=5)
        assert report.findings[0].what == "planted@1d"

    def test_catalogue_names_the_planted_feature_alone(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plant(monkeypatch, one_bar_ahead)
        registry = FeatureRegistry(
            [default_registry().parse(each).terms[0].feature for each in ("ibs", "rsi_2")]
        )
        registry.register(planted)
        report = check(daily, registry, catalogue=True)
        assert set(report.ids) == {"ibs", "rsi_2", "rsi_14", "rsi_5", "planted"}
        assert [found.what for found in report.findings] == ["planted"]


class TestPlantedSeries:
    def test_daily_bars_stamped_at_their_open(self) -> None:
        traded = hourly_bars()
        daily = aggregate(traded, DAILY, NYSE)
        early = replace(daily, end=NYSE.scheduled_open(daily.end))
        config = IbsConfig(name="context", timeframe="1h", features=("ibs@1d",))
        report = check_lookahead(config, with_context(traded, early), "SPY", cuts=3)
        assert str(report.findings[0]) == (
            "SPY:1d at 2024-03-18 13:30Z: not stamped at its session's close, 2024-03-18 20:00Z: "
            "it may show a running session"
        )

    def test_daily_bars_one_row_early(self) -> None:
        traded = hourly_bars()
        daily = aggregate(traded, DAILY, NYSE)
        shifted = replace(daily.rows(1, len(daily)), end=daily.end[:-1])
        config = IbsConfig(name="context", timeframe="1h", features=("ibs@1d",))
        report = check_lookahead(config, with_context(traded, shifted), "SPY", cuts=3)
        assert report.findings[0].what == "SPY:1d"
        assert "it shows the running bar" in report.findings[0].cause
        assert report.findings[0].stamp == daily.end[0]

    def test_pair_stamped_at_its_open(self, daily: History) -> None:
        honest = with_pair(daily)
        key = SeriesKey("NQ", DAILY)
        bars = honest.series(key)
        early = replace(bars, end=CME.scheduled_open(bars.end))
        history = replace(honest, bars={**honest.bars, key: early})
        report = check(history, config={"features": ("pair_ibs",)})
        assert report.findings[0].what == "NQ:1d"

    def test_context_built_inside_from_the_running_day(self) -> None:
        """A computation that aggregates by itself and shows today's bar from the morning on."""
        traded = hourly_bars()

        def compute(history: History) -> Observations:
            bars = history.series(SeriesKey("SPY", HOURLY))
            dates = NYSE.dates(bars.end, HOURLY)
            high = np.array([bars.high[dates == date].max() for date in dates])
            return Observations(end=bars.end, columns={"day_high": high})

        found = lookahead_findings(compute, history_of(traded, SPY, NYSE), draw_cuts(traded, 20, 0))
        assert [one.what for one in found] == ["day_high"]

    def test_bars_that_later_ones_bring_into_being(self, daily: History) -> None:
        def compute(history: History) -> Observations:
            end = history.series(SeriesKey("ES", DAILY)).end
            return Observations(end=end[end.size % 2 :], columns={})

        bars = daily.series(SeriesKey("ES", DAILY))
        cut = int(bars.end[10])
        found = lookahead_findings(compute, daily, [cut])
        assert [(one.what, one.stamp) for one in found] == [("bars", bars.end[0])]
        assert "a bar -> no bar" in found[0].cause

    def test_join_that_sees_the_pair_s_next_bar(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def joined(target: Any, source: Any, max_age_ns: int) -> Any:
            return np.minimum(asof_rows(target, source, max_age_ns) + 1, source.size - 1)

        history = with_pair(daily)
        config = {"features": ("pair_ibs",)}
        assert check(history, config=config).passed
        monkeypatch.setattr(columns, "asof_rows", joined)
        assert check(history, config=config).findings[0].what == "pair_ibs"

    def test_context_that_ends_before_the_traded_bars_begin_says_nothing(self) -> None:
        traded = hourly_bars()
        daily = aggregate(traded, DAILY, NYSE)
        history = with_context(traded.rows(35, len(traded)), daily.rows(0, 4))
        assert early_bars(history, SeriesKey("SPY", HOURLY)) == ()
        assert early_bars(with_context(traded, daily.rows(0, 0)), SeriesKey("SPY", HOURLY)) == ()


class TestPlantedDecisions:
    def test_source_that_returns_the_next_row(self, daily: History, monkeypatch: pytest.MonkeyPatch) -> None:
        def next_row(source: BatchFeatures, stamp: int) -> Any:
            return source.matrix[min(source.row(stamp) + 1, len(source.matrix) - 1)]

        monkeypatch.setattr(BatchFeatures, "vector", next_row)
        report = check(daily)
        assert report.findings[0].what == "decision vector ibs"
        assert "although no feature does" in report.findings[0].cause
        assert report.findings[0].stamp in report.cuts

    def test_size_that_knows_how_the_history_ends(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = {"close": 0.0}
        from lockstep.strategy import step
        from research.checks import computations

        honest = computations.run_backtest

        def knowing(config: Any, history: History, symbol: str, **options: Any) -> Any:
            last["close"] = float(history.series(SeriesKey("ES", DAILY)).close[-1])
            return honest(config, history, symbol, **options)

        def sized(values: Any, close: float, rule: Any) -> float:
            return contracts(values, close, rule) * (2.0 if last["close"] > close else 1.0)

        monkeypatch.setattr(computations, "run_backtest", knowing)
        # What is compiled holds the sizing that it was compiled with; as plain Python it looks the name up.
        monkeypatch.setattr(step, "carried_out", step.carried_out.py_func)
        monkeypatch.setattr(step, "contracts", sized)
        report = check(daily, cuts=20)
        moved = {found.what for found in report.findings}
        assert {"fills", "position", "equity"} <= moved
        assert not any(what.startswith("decision vector") for what in moved)


class TestParts:
    def test_without_any_change_nothing_is_found(
        self, daily: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The planted look-ahead is found by the changes, not by anything else."""
        from research.checks import lookahead

        registry = plant(monkeypatch, one_bar_ahead)
        monkeypatch.setattr(lookahead, "dropped", lambda history, cut: history)
        monkeypatch.setattr(lookahead, "perturbed", lambda history, cut, draw: history)
        assert check(daily, registry, config={"features": ("planted",)}).passed

    def test_perturbation_finds_what_dropping_cannot(self, daily: History) -> None:
        """A value remembered from the first run looks unmoved when bars are only missing."""
        key = SeriesKey("ES", DAILY)
        remembered = one_bar_ahead(daily.series(key).close)

        def compute(history: History) -> Observations:
            bars = history.series(key)
            peeked = one_bar_ahead(bars.close) if len(bars) == 120 else remembered[: len(bars)]
            return Observations(end=bars.end, columns={"peek": peeked})

        cut = int(daily.series(key).end[80])
        (found,) = lookahead_findings(compute, daily, [cut])
        assert "perturbed" in found.cause
        assert found.stamp == cut

    @given(cut=st.integers(-1, 59), seed=st.integers(0, 99))
    def test_other_futures_keep_the_past_and_change_all_the_rest(self, cut: int, seed: int) -> None:
        bars = daily_bars(rows(60, seed))
        history = history_of(bars)
        key = SeriesKey("ES", DAILY)
        stamp = (
            int(bars.end[cut]) if 0 <= cut < 60 else (int(bars.end[0]) - 1 if cut < 0 else int(bars.end[-1]))
        )
        known = int(np.searchsorted(bars.end, stamp, side="right"))
        other = perturbed(history, stamp, np.random.default_rng(seed)).series(key)
        fewer = dropped(history, stamp).series(key)
        assert len(fewer) == known
        assert np.array_equal(other.end, bars.end)
        for name in BAR_COLUMNS:
            before, after = getattr(bars, name), getattr(other, name)
            assert before[:known].tobytes() == after[:known].tobytes() == getattr(fewer, name).tobytes()
            assert (before[known:] != after[known:]).all()

    def test_flat_bars_without_volume_are_perturbed_too(self) -> None:
        bars = replace(daily_bars([(5.0,) * 4] * 10), volume=np.zeros(10))
        other = perturbed(history_of(bars), int(bars.end[4]), np.random.default_rng(0))
        assert np.ptp(other.series(SeriesKey("ES", DAILY)).close[5:]) > 0

    def test_differences_are_found_to_the_last_bit(self) -> None:
        end = np.arange(3, dtype=np.int64)
        one = Observations(end=end, columns={"x": np.array([np.nan, 0.3, 1.0])})
        other = Observations(end=end, columns={"x": np.array([np.nan, np.nextafter(0.3, 1), 2.0])})
        (move,) = moves(one, other, 2)
        assert (move.stamp, move.before, move.after) == (1, "0.3", "0.30000000000000004")
        assert not list(moves(one, one, 2))
        assert not list(moves(one, other, 0)), "what follows the cut may differ"

    def test_cuts_are_seeded_rising_and_leave_something_behind(self, daily: History) -> None:
        bars = daily.series(SeriesKey("ES", DAILY))
        cuts = draw_cuts(bars, 20, 1)
        assert cuts == draw_cuts(bars, 20, 1) != draw_cuts(bars, 20, 2)
        assert list(cuts) == sorted(set(cuts))
        assert cuts[-1] < bars.end[-1]
        assert len(draw_cuts(bars.rows(0, 8), 20, 1)) == 5

    @pytest.mark.parametrize(("cuts", "bars"), [(0, 100), (5, 1)])
    def test_too_little_to_cut_is_refused(self, daily: History, cuts: int, bars: int) -> None:
        with pytest.raises(ConfigError, match=f"{cuts} cuts in {bars} bars"):
            draw_cuts(daily.series(SeriesKey("ES", DAILY)).rows(0, bars), cuts, 0)

    def test_ids_that_the_data_cannot_serve_are_left_out(self, daily: History) -> None:
        registry, key = default_registry(), SeriesKey("ES", DAILY)
        without = servable_ids(registry, daily, key)
        assert "ibs" in without
        assert not any(each.startswith("pair_") for each in without)
        assert servable_ids(registry, with_pair(daily), key) == registry.list()

    def test_features_are_observed_by_id(self, daily: History) -> None:
        key = SeriesKey("ES", DAILY)
        observed = features_of(BASELINE, default_registry(), ("ibs", "rsi_2"), key)(daily)
        assert list(observed.columns) == ["ibs", "rsi_2"]
        expected = default_registry().calculate("ibs", daily.series(key))
        assert np.array_equal(observed.columns["ibs"], expected)


class TestFiles:
    def test_report_on_embedded_bars(self) -> None:
        config = ROOT / "configs" / "strategies" / "ibs_baseline.yaml"
        files = Files(symbol="COMP", timeframe="1d", start="2017-01-03")
        report = check_files(config, files, cuts=1)
        assert report.passed
        console = Console(record=True, width=100, file=StringIO())
        console.print(lookahead_table(report))
        text = console.export_text()
        assert "no bit at or before a cut moves" in text
        assert "5,031 bars, features: 3, cuts: 1, seed 0" in text

    def test_findings_are_listed_first_one_on_top(self, daily: History) -> None:
        key = SeriesKey("ES", DAILY)
        stamp = int(daily.series(key).end[0])
        found = (
            LookaheadFinding(what="ibs", stamp=stamp, cut=stamp, cause="moves"),
            LookaheadFinding(what="NQ:1d", stamp=stamp, cut=None, cause="early"),
        )
        report = LookaheadReport(traded=key, bars=9, seed=1, ids=("ibs",), cuts=(stamp,), findings=found)
        console = Console(record=True, width=100, file=StringIO())
        console.print(lookahead_table(report))
        lines = console.export_text().splitlines()
        (first,) = [number for number, line in enumerate(lines) if line.startswith("ibs ")]
        (second,) = [number for number, line in enumerate(lines) if line.startswith("NQ:1d ")]
        assert first < second
        assert lines[first].count("2024-01-08 22:00Z") == 2
        assert lines[second].count("2024-01-08 22:00Z") == 1


def markov_changes(close: Any) -> Any:
    """Return the one-bar changes that a Markov model is fitted on, float64 (n,); the first is 0."""
    return np.diff(close, prepend=close[:1])


def smoothed(close: Any) -> Any:
    """Probabilities of the state of larger variance as textbooks draw them: by a fit to everything."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    model = MarkovRegression(markov_changes(close), k_regimes=2, switching_variance=True)
    fitted = model.fit(disp=False)
    return np.asarray(fitted.smoothed_marginal_probabilities)[:, int(np.argmax(fitted.params[-2:]))]


def filtered_with_the_whole_fit(close: Any) -> Any:
    """Filtered, yet with parameters that know all bars: half of the same mistake."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    fitted = MarkovRegression(markov_changes(close), k_regimes=2, switching_variance=True).fit(disp=False)
    return np.asarray(fitted.filtered_marginal_probabilities)[:, int(np.argmax(fitted.params[-2:]))]


def walked_forward(close: Any) -> Any:
    if close.size <= 110:
        return np.full(close.size, np.nan)
    found = turbulent_probabilities(markov_changes(close), window=110, refit=500)
    return np.where(np.isnan(found), 0.0, found)


@pytest.mark.filterwarnings("ignore")
class TestMarkov:
    """Smoothed probabilities know the future; what a report may show does not."""

    @pytest.fixture
    def switching(self) -> History:
        """Return 220 daily bars that are calm and wild in turn."""
        random = np.random.default_rng(4)
        steps = random.normal(0, 1, 220) * np.where(np.arange(220) // 25 % 2, 12.0, 2.0)
        close = np.round((3000.0 + np.cumsum(steps)) * 4) / 4
        return history_of(daily_bars([(c, c + 2.0, c - 2.0, c) for c in close.tolist()]))

    @pytest.mark.parametrize("drive", [smoothed, filtered_with_the_whole_fit])
    def test_probabilities_that_know_the_future_are_caught(
        self, switching: History, drive: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = plant(monkeypatch, drive)
        report = check(switching, registry, cuts=1, config={"features": ("planted",)})
        assert not report.passed
        assert "planted" in {finding.what for finding in report.findings}

    def test_walked_forward_they_pass(self, switching: History, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = plant(monkeypatch, walked_forward)
        assert check(switching, registry, cuts=1, config={"features": ("planted",)}).passed
