"""What is made of finished experiments: samples, sensitivity, page, tables, export, plans, estimates."""

from __future__ import annotations

import json
import math
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs
from rich.console import Console
from sqlalchemy import delete

from lockstep.errors import ConfigError, ExperimentError
from research.experiments import tables
from research.experiments.accounts import figures_of
from research.experiments.comparison import compare
from research.experiments.execution import Lab
from research.experiments.kept_returns import even_groups, pooled_sample, sample_of_moments
from research.experiments.planning import (
    Choices,
    Estimate,
    estimate,
    make_plan,
    require_affordable,
    require_selectable,
    spoken,
)
from research.experiments.progress import ExperimentScreen, on_screen
from research.experiments.report import page_data, page_html, write_experiment
from research.experiments.selection import ranking
from research.experiments.sensitivity import by_pair, by_value, importance, neighbourhood, scores
from research.experiments.service import judged, verified_ranking
from research.experiments.store import Record
from research.experiments.tables import export
from research.ledger.database import Database
from research.ledger.tables import AccountRow
from research.report.page import usd
from research.statistics.sharpe import SharpeSample
from support.experiments import BASELINE, GRID, SPLIT, plan, toy_lab, toy_returns
from support.pages import assert_escaped

WIDE = {
    "entry.high": (0.1, 0.15, 0.2, 0.25, 0.3),
    "exit.low": (0.5, 0.6, 0.7, 0.8),
    "stop.percent": (None, 2.0),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("results")
    return toy_lab(Database.open(f"sqlite:///{folder / 'experiments.db'}"))


@pytest.fixture(scope="module")
def record(lab: Lab) -> Record:
    return lab.run(plan(parameters=WIDE))


@pytest.fixture(scope="module")
def forward(lab: Lab) -> Record:
    return lab.run(plan(name="for/ward", walk_forward="1y/6m/6m", symbols=("COMP", "SPX")))


def printed(print_it: object, *arguments: object) -> str:
    stream = StringIO()
    print_it(Console(file=stream, width=200), *arguments)  # type: ignore[operator]
    return stream.getvalue()


class TestSamples:
    @given(st.integers(10, 400), st.integers(0, 50))
    def test_moments_give_the_sample(self, size: int, seed: int) -> None:
        returns = np.random.default_rng(seed).normal(0.001, 0.01, size)
        raw = np.array([size, *(float((returns**power).sum()) for power in (1, 2, 3, 4))])
        found, expected = sample_of_moments(raw), SharpeSample.of(returns)
        assert found.ratio == pytest.approx(expected.ratio, rel=1e-9)
        assert found.skew == pytest.approx(expected.skew, abs=1e-7)
        assert found.kurtosis == pytest.approx(expected.kurtosis, rel=1e-7)
        assert found.periods == size

    def test_windows_are_pooled_as_if_they_were_one(self, lab: Lab, forward: Record) -> None:
        best = ranking(lab.store, forward)[0]
        tests = range(len(forward.plan.windows))
        found = pooled_sample(lab.store, forward, best.variant, "COMP", list(tests))
        config = forward.plan.space.variant(best.variant).config
        assert config is not None
        parts = []
        for number in tests:
            runs = lab.store.runs(
                forward.id, "symbol", "window_number", "test_sessions", variant=best.variant
            )
            mine = runs[(runs["symbol"] == "COMP") & (runs["window_number"] == number)]
            span = forward.plan.windows[number].test
            parts.append(toy_returns(config, "COMP", span, int(mine["test_sessions"].iloc[0])))
        expected = SharpeSample.of(np.concatenate(parts))
        assert found.periods == expected.periods
        assert found.ratio == pytest.approx(expected.ratio, rel=1e-4)
        assert found.skew == pytest.approx(expected.skew, abs=1e-3)
        assert found.kurtosis == pytest.approx(expected.kurtosis, rel=1e-3)

    @given(st.lists(st.integers(1, 300), min_size=4, max_size=60))
    def test_groups_are_even_rising_and_none_is_empty(self, counts: list[int]) -> None:
        group = even_groups(np.array(counts, dtype=np.float64))
        assert group[0] == 0
        assert set(np.diff(group)) <= {0, 1}
        assert (group[-1] + 1) % 2 == 0 or group[-1] == 0
        assert group[-1] < 16


class TestSensitivity:
    def test_scores_know_their_places(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        assert found.variants.tolist() == list(range(40))
        for variant, places in zip(found.variants, found.places, strict=True):
            assert places.tolist() == list(record.plan.space.places(int(variant)).values())

    def test_a_planted_parameter_is_the_important_one(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        planted = type(found)(
            variants=found.variants,
            places=found.places,
            train=found.train,
            test=found.places[:, 1] + np.random.default_rng(0).normal(0, 0.01, found.test.size),
        )
        measured = importance(record.plan, planted)
        assert measured is not None
        assert next(iter(measured.drop)) == "exit.low"
        assert measured.drop["exit.low"] > 10 * abs(measured.drop["stop.percent"])
        assert measured.explained > 0.5

    def test_on_noise_little_is_explained(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        noise = type(found)(
            variants=found.variants, places=found.places, train=found.train,
            test=np.random.default_rng(1).normal(size=found.test.size),
        )  # fmt: skip
        measured = importance(record.plan, noise)
        assert measured is not None
        assert measured.explained < 0.3

    def test_too_few_runs_have_no_importance(self, lab: Lab, forward: Record) -> None:
        assert importance(forward.plan, scores(lab.store, forward, "sharpe")) is None

    def test_tables_by_value(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        frame = by_value(record.plan, found, "stop.percent")
        assert frame.index.tolist() == ["none", "2"]
        assert frame["count"].tolist() == [20, 20]
        assert frame["max"].max() == found.test.max()
        pair = by_pair(record.plan, found, "entry.high", "stop.percent")
        assert pair.shape == (5, 2)
        assert float(pair.to_numpy().mean()) == pytest.approx(found.test.mean())

    def test_the_neighbourhood_is_one_step_away(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        around = neighbourhood(record.plan, found, 0)
        assert [text for text, _, _ in around.rows] == [
            "stop.percent none → 2", "exit.low 0.5 → 0.6", "entry.high 0.1 → 0.15",
        ]  # fmt: skip
        assert around.worst == min(test for _, _, test in around.rows)
        assert not around.nearest

    def test_among_drawn_runs_the_nearest_are_taken(self, lab: Lab, record: Record) -> None:
        found = scores(lab.store, record, "sharpe")
        keep = np.isin(found.variants, [0, 9, 30, 39])
        few = type(found)(
            variants=found.variants[keep],
            places=found.places[keep],
            train=found.train[keep],
            test=found.test[keep],
        )
        around = neighbourhood(record.plan, few, 0)
        assert around.nearest
        assert len(around.rows) == 3
        alone = type(found)(
            variants=found.variants[:1], places=found.places[:1], train=found.train[:1], test=found.test[:1]
        )
        assert math.isnan(neighbourhood(record.plan, alone, 0).mean)


class TestPage:
    @pytest.mark.no_cover
    def test_the_page_is_complete_and_deterministic(self, lab: Lab, record: Record, tmp_path: Path) -> None:
        first, second = (page_html(page_data(lab, record)) for _ in range(2))
        assert first == second
        for title in (
            "Equity of the winner on COMP", "Verdict", "Top runs", "By symbol", "Training against test",
            "Neighbourhood of the winner",
            "Record of the winner on COMP", "The best against COMP held",
            "All trials on COMP", "Choosing the best on COMP", "Parameter importance",
            "sharpe by exit.low", "Provenance",
        ):  # fmt: skip
            assert f"<h2>{title}</h2>" in first
        assert first.count("<h2>sharpe by ") == 3
        assert '"texttemplate":"%{z:.2f}"' in first
        assert str(tmp_path) not in first

    @pytest.mark.no_cover
    def test_walk_forward_and_names_that_are_no_file_names(
        self, lab: Lab, forward: Record, tmp_path: Path
    ) -> None:
        path = write_experiment(page_data(lab, forward, "cagr"), tmp_path)
        assert path.name == f"experiment-{forward.id}-for-ward.html"
        text = path.read_text()
        assert "<h2>Walk-forward</h2>" in text
        assert "windows above zero" in text
        assert "mean of the windows" in text
        for window in forward.plan.windows[::2]:
            assert f'"x0":"{window.test.start}","x1":"{window.test.end}"' in text
        assert f'"x0":"{forward.plan.windows[0].train.start}"' in text
        best = verified_ranking(lab, forward, by="cagr")[0]
        assert best.accounts.keys() == {"COMP", "SPX"}
        for symbol, account in best.accounts.items():
            assert f"<h2>Equity of the winner on {symbol}</h2>" in text
            assert f"{figures_of(account.metrics)}".replace("&", "&amp;") in text
        assert len(text) - len(get_plotlyjs()) < 1_500_000
        assert "Too few runs" in text
        assert list(tmp_path.iterdir()) == [path]
        small = write_experiment(page_data(lab, forward, "cagr"), tmp_path, shared_js=tmp_path / "js")
        (library,) = (tmp_path / "js").iterdir()
        assert f'src="js/{library.name}"' in small.read_text()
        assert small.stat().st_size < 1_500_000

    @pytest.mark.no_cover
    def test_hostile_names_stay_text(self, lab: Lab, record: Record) -> None:
        data = page_data(lab, record)
        (symbol,) = record.plan.symbols
        (hashed,) = {*record.data_hashes.values()}
        paths = list(record.plan.parameters)
        assert_escaped(page_html, data, record.name, symbol, hashed, record.code_hash, *paths)

    def test_a_single_variant(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'x.db'}"))
        single = lab.run(plan(name="<one>", parameters={"max_bars": (4,)}))
        text = page_html(page_data(lab, single))
        assert "No other run is around it." in text
        assert "nothing to divide" in text
        assert "<one>" not in text


class TestTables:
    def test_summary_and_top(self, lab: Lab, record: Record) -> None:
        assert "40 of 40 runs succeeded (100.0%)" in printed(tables.print_summary, lab.store, record)
        ranked = verified_ranking(lab, record)
        text = printed(tables.print_top, record, ranked, "sharpe")
        assert "entry.high" in text
        assert f"test account: {SPLIT.validation}" in text
        assert "mean" not in text

    def test_list(self, lab: Lab, record: Record) -> None:
        assert "for/ward" in printed(tables.print_list, lab.store.records()) or record.id
        assert "no experiment yet" in printed(tables.print_list, [])

    def test_walk_forward_summary(self, lab: Lab, forward: Record) -> None:
        text = printed(tables.print_summary, lab.store, forward)
        assert "4 windows of 1y/6m/6m from 2010-01-04 to 2012-12-31" in text
        assert "begun 2026-01-02, finished 2026-01-02" in text

    def test_a_mean_over_windows_is_called_one(self, lab: Lab, forward: Record) -> None:
        best = verified_ranking(lab, forward)[0]
        text = printed(tables.print_top, forward, [best], "sharpe")
        assert "ranked by the mean over 2 symbols x 4 windows" in text
        assert "test account: 2011-01-04 to 2012-12-31" in text
        assert "mean test sharpe" in " ".join(text.split())
        for account in best.accounts.values():
            assert f"{account.metrics['profit_factor']:.2f}" in text
            assert f"{100 * account.metrics['max_drawdown_fraction']:.1f}%" in text
            assert usd(account.metrics["net_profit"]) in text
        assert usd(best.test["net_profit"]) not in text

    def test_figures_that_an_earlier_version_did_not_keep_are_left_open(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        record = lab.run(plan(walk_forward="1y/6m/6m"))
        with lab.database.write() as connection:
            connection.execute(delete(AccountRow))
        lab.store.update(record.id, code_hash="0" * 64)
        earlier = lab.store.record(record.id)
        ranked = verified_ranking(lab, earlier)
        text = printed(tables.print_top, earlier, ranked, "sharpe")
        assert "test account: not kept by the earlier version" in text
        found = judged(lab, earlier, ranked[0])
        assert "test Sharpe was not measured" in str(found.verdict)
        assert not found.verdict.passed
        assert "mean training" in page_html(page_data(lab, earlier))

    def test_missing_accounts_are_traded_where_the_code_is_the_same(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        record = lab.run(plan(walk_forward="1y/6m/6m"))
        before = verified_ranking(lab, record)[0].accounts["COMP"]
        with lab.database.write() as connection:
            connection.execute(delete(AccountRow))
        after = verified_ranking(lab, record)[0].accounts["COMP"]
        assert after.metrics == before.metrics
        assert after.equity.tobytes() == before.equity.tobytes()


class TestProgress:
    def test_the_best_so_far_are_shown(self, lab: Lab) -> None:
        search = plan(name="shown", parameters=WIDE)
        listener = ExperimentScreen(search)
        done = lab.run(search, listener)
        assert listener.evaluated == pytest.approx(done.runs)
        text = printed(lambda console: console.print(listener))
        best = ranking(lab.store, done)[0]
        assert "best so far, not yet checked in Backtrader" in text
        assert f"{best.test['sharpe']:.3f}" in text
        assert "runs/s" in text

    def test_on_a_terminal_and_elsewhere(self) -> None:
        for terminal in (True, False):
            stream = StringIO()
            with on_screen(Console(file=stream, force_terminal=terminal), plan()) as listener:
                listener.begin(10, 0)
                listener.advance(5)
            assert bool(stream.getvalue()) is terminal


class TestExport:
    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_all_runs_with_all_digits(self, lab: Lab, record: Record, tmp_path: Path, form: str) -> None:
        path, other = export(lab.store, record, form, tmp_path)
        found = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
        runs = lab.store.runs(record.id)
        assert found["test_sharpe"].tolist() == runs["test_sharpe"].tolist()
        assert found["p.exit.low"].tolist()[:3] == [0.5, 0.5, 0.6]
        assert found["p.stop.percent"].isna().sum() == 20
        assert found["test_start"].unique().tolist() == [str(SPLIT.validation.start)]
        assert sorted(tmp_path.iterdir()) == sorted([path, other])

    def test_every_run_has_the_dates_of_its_window(self, lab: Lab, forward: Record, tmp_path: Path) -> None:
        (path,) = export(lab.store, forward, "json", tmp_path)
        content = json.loads(path.read_text())
        windows = forward.plan.windows
        assert content["schema"] == 1
        assert len(content["runs"]) == forward.runs
        for run in content["runs"]:
            window = windows[run["window_number"]]
            assert [run["train_start"], run["train_end"]] == window.train.model_dump()
            assert [run["test_start"], run["test_end"]] == window.test.model_dump()
        best = verified_ranking(lab, forward)[0]
        rows = {(each["account"], each["symbol"]): each for each in content["accounts"]}
        for symbol, account in best.accounts.items():
            row = rows[f"test {best.variant}", symbol]
            assert row["sharpe"] == account.metrics["sharpe"]
            assert (row["start"], row["end"]) == ("2011-01-04", "2012-12-31")
            assert row["legs"] == [[best.variant, "2011-01-04", "2012-12-31"]]
        assert {label for label, _ in rows} >= {"chosen by sharpe", f"train {best.variant}"}

    def test_parameters_that_are_no_numbers(self, lab: Lab, tmp_path: Path) -> None:
        mixed = lab.run(plan(parameters={"stop": (None, {"percent": 2.0}), "direction": ("long", "short")}))
        found = pd.read_parquet(export(lab.store, mixed, "parquet", tmp_path)[0])
        assert found["p.stop"].tolist() == ["none", "none", '{"percent": 2.0}', '{"percent": 2.0}']
        assert found["p.direction"].tolist() == ["long", "short"] * 2

    def test_unknown_format(self, lab: Lab, record: Record, tmp_path: Path) -> None:
        with pytest.raises(ExperimentError, match="choose one of csv, parquet, json"):
            export(lab.store, record, "xlsx", tmp_path)


WHOLE = """
symbols: [COMP]
parameters: {max_bars: [1, 2]}
split: {train: [2010-01-04, 2011-06-30], validation: [2011-07-01, 2012-01-01]}
"""
PYTHON = re.compile(r"datetime\.|[A-Z]\w+\(|\{'|<class|np\.|\bNone\b|\bTrue\b|\bFalse\b|Path\(|\w+=")


class TestMessages:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("[1, 2]", "[]"), ("[1, 2]", "[null, null]"), ("[1, 2]", "[{a: true}, {a: true}]"),
            ("[1, 2]", "{start: 3, stop: 1, step: 1}"), ("[1, 2]", "{start: a, stop: 1, step: 1}"),
            ("[1, 2]", "{start: 1, stop: 9}"), ("{max_bars: [1, 2]}", "3"), ("max_bars", "3"),
            ("max_bars", "nome"), ("max_bars", "timeframe"), ("[COMP]", "{a: 1}"), ("[COMP]", "[3]"),
            ("2011-07-01", "2011-01-01"), ("2011-07-01", "yesterday"), ("2011-07-01", "null"),
            ("2012-01-01", "2011-01-01"), ("[2010-01-04, 2011-06-30]", "[2010-01-04]"),
            ("[2010-01-04, 2011-06-30]", "2010-01-04"), ("[2010-01-04, 2011-06-30]", "{start: 2010-01-04}"),
            ("\nsplit", "\nlimits: {max_pbo: two}\nsplit"), ("\nsplit", "\nlimits: [1]\nsplit"),
            ("\nsplit", "\ntop: 1000\nsplit"), ("\nsplit", "\nselect_by: beauty\nsplit"), (WHOLE, ""),
            (WHOLE, "- 2010-01-04"), ("2010-01-04", "2030-01-04"), ("train", "holdout"),
        ],
    )  # fmt: skip
    def test_no_message_is_written_in_python(self, tmp_path: Path, old: str, new: str) -> None:
        grid = tmp_path / "grid.yaml"
        grid.write_text(WHOLE.replace(old, new))
        with pytest.raises((ConfigError, ExperimentError)) as caught:
            make_plan(BASELINE, grid, Choices(name="bad"))
        message = str(caught.value).replace(str(tmp_path), "")
        assert not PYTHON.search(message), message
        assert "\n" not in message

    @pytest.mark.parametrize(
        "choices",
        [
            {"walk_forward": "9y/1y/1y"}, {"walk_forward": "5b/5b"}, {"walk_forward": "often"},
            {"sample": -1},
            {"dates": {"train_start": "2012-13-01"}}, {"dates": {"train_start": "2019-01-01"}},
            {"dates": {"holdout_start": "2011-12-01", "holdout_end": "2013-01-01"}},
            {"dates": {"holdout_start": "2013-12-01"}},
        ],
    )  # fmt: skip
    def test_nor_one_about_an_option(self, tmp_path: Path, choices: dict[str, object]) -> None:
        grid = tmp_path / "grid.yaml"
        grid.write_text(WHOLE)
        with pytest.raises((ConfigError, ExperimentError)) as caught:
            make_plan(BASELINE, grid, Choices(name="bad", **choices))  # type: ignore[arg-type]
        assert not PYTHON.search(str(caught.value).replace(str(tmp_path), "")), caught.value

    def test_control_what_python_looks_like(self) -> None:
        for text in ("entry {'train': 1}", "DateRange(start=1)", "datetime.date", "is None", "<class 'int'>"):
            assert PYTHON.search(text)


class TestPlanning:
    def test_flags_go_before_the_file(self) -> None:
        found = make_plan(
            BASELINE, GRID, Choices(name="x", symbols=("SPX", "SPX"), dates={"test_end": "2013-12-31"})
        )
        assert found.symbols == ("SPX",)
        assert str(found.split.validation) == "2011-01-01 to 2013-12-31"
        assert found.split.holdout is not None
        assert found.runs == 600

    @pytest.mark.parametrize(
        ("text", "choices", "message"),
        [
            ("parameters: {entry.hihg: [0.1]}", {}, "did you mean 'entry.high'"),
            ("parameters: {max_bars: [1]}", {"symbols": ()}, "no symbol: give --symbol"),
            ("parameters: {max_bars: [1]}", {}, "no complete train range: give --train-start"),
            (
                "parameters: {max_bars: [1]}",
                {"dates": {"train_start": "yesterday", "train_end": "2012-01-01"}},
                "yesterday",
            ),
            ("parameters: {max_bars: [1]}", {"sample": 0}, "--random 0"),
            (
                "parameters: {max_bars: [1]}\nsplit: {train: [2010-01-01, 2011-06-30]}",
                {"dates": {"test_start": "2011-06-01", "test_end": "2012-01-01"}},
                "overlap",
            ),
            (
                "parameters: {max_bars: [1]}\n"
                "split: {train: [2010-01-01, 2010-12-31], validation: [2011-01-01, 2011-12-31]}",
                {"dates": {"holdout_start": "2012-01-01"}},
                "no complete holdout range",
            ),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: str, choices: dict[str, object], message: str) -> None:
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        with pytest.raises((ExperimentError, ConfigError)) as caught:
            make_plan(BASELINE, path, Choices.model_validate({"name": "x", "symbols": ("COMP",), **choices}))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_search_beyond_the_budget_says_what_to_do(self) -> None:
        found = estimate(plan(parameters=WIDE), 5_000, [])
        assert found.runs == 40
        require_affordable(plan(), found, 60.0)
        with pytest.raises(ExperimentError) as caught:
            require_affordable(plan(parameters=WIDE), Estimate(runs=40, seconds=7_200.0), 600.0)
        assert str(caught.value).startswith("40 combinations, 40 runs: about 2.0 h, the budget is 10.0 min")
        assert "--random 3" in str(caught.value)
        assert "--yes" in str(caught.value)

    def test_past_experiments_correct_the_estimate(self, lab: Lab, record: Record) -> None:
        slow = type(record)(**{**vars(record), "done": 1_000, "bars": 1_000, "seconds": 50.0})
        assert estimate(plan(), 100, [slow]).seconds > 100 * estimate(plan(), 100, []).seconds
        assert estimate(plan(), 100, [record]) == estimate(plan(), 100, [])

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(1.24, "1.2 s"), (30, "30 s"), (150, "2.5 min"), (9_000, "2.5 h"), (200_000, "2.3 days")],
    )
    def test_spoken(self, seconds: float, text: str) -> None:
        assert spoken(seconds) == text

    def test_selectable(self) -> None:
        require_selectable(None)
        with pytest.raises(ExperimentError, match="choose one of sharpe"):
            require_selectable("beauty")


class TestComparison:
    def test_two_strategies_are_measured_and_counted(self, lab: Lab, tmp_path: Path) -> None:
        other = plan().strategy.replaced(name="other", exit=(0.6, 1.0))
        (tmp_path / "other.yaml").write_text(other.to_yaml())
        assert SPLIT.holdout is not None
        dates = {"start": SPLIT.holdout.start, "end": SPLIT.holdout.end, "data_dir": None, "source": None}
        before = lab.ledger.count("NASDAQ100", SPLIT.holdout.start, SPLIT.holdout.end)
        found = compare(lab, (BASELINE, tmp_path / "other.yaml"), "COMP", **dates)
        assert lab.ledger.count("NASDAQ100", SPLIT.holdout.start, SPLIT.holdout.end) == before + 2
        assert found.difference is not None
        assert found.difference.low < found.difference.estimate < found.difference.high
        yearly = found.second.metrics["annual_return"] - found.first.metrics["annual_return"]
        assert found.difference.estimate == pytest.approx(yearly)
        assert 0 < found.correlation < 1
        text = printed(tables.print_comparison, found)
        assert "of capital a year more than baseline_v1" in text
        compare(lab, (BASELINE, tmp_path / "other.yaml"), "COMP", **dates)
        assert lab.ledger.count("NASDAQ100", SPLIT.holdout.start, SPLIT.holdout.end) == before + 2

    def test_a_strategy_against_itself(self, lab: Lab) -> None:
        found = compare(
            lab,
            (BASELINE, BASELINE),
            "COMP",
            start="2013-01-02",
            end="2013-03-01",
            data_dir=None,
            source=None,
        )
        assert found.difference is None
        assert "returns are equal" in printed(tables.print_comparison, found)
