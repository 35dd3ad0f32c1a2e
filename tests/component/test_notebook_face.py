"""What a notebook sees: names that load when used, one-line verbs, objects that show themselves."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockstep
from lockstep import IbsConfig, ModelStore, backtest, load_bars, promote, rehearse, release, rollback, sweep
from lockstep.errors import ConfigError, EvidenceMissing
from lockstep.market.config import load_instruments
from lockstep.market.quality import QualityReport
from lockstep.market.quality.finding import Finding
from lockstep.monitoring.parity import compare
from operations import verbs
from research.backtest.result import BacktestResult, steps_of
from research.experiments.report import ExperimentReport
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.report import views
from support import desks
from support.models import RECORD
from support.pages import HOSTILE, assert_escaped
from support.reports import Page, full

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 5, tzinfo=UTC)
HEAVY = {"backtrader", "pandas", "numpy", "numba", "exchange_calendars", "plotly", "pydantic", "sklearn"}
VERBS = {
    "backtest", "sweep", "train", "validate", "certify", "promote", "rollback", "lookahead", "rehearse",
    "release", "compare", "explain", "explore", "optimize_portfolio", "risk", "stress", "monitor",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Return which of the heavy libraries a fresh interpreter has loaded after `code`."""
    told = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    return HEAVY & set(done.stdout.split())


def test_importing_the_packages_loads_nothing_heavy() -> None:
    assert loaded_by("import lockstep, research; dir(lockstep), dir(research)") == set()
    assert loaded_by("from lockstep import LockstepError, backtest, train, certify") == set()


def test_the_search_for_heavy_libraries_finds_them() -> None:
    assert loaded_by("import research; research.run_backtest") >= {"numpy", "pandas"}


def typed_imports(package: str) -> dict[str, str]:
    """Return what a package tells type checkers: name -> module."""
    folder = ROOT / ("src" if package == "lockstep" else package)
    tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
    blocks = [each for each in tree.body if isinstance(each, ast.If)]
    (block,) = [each for each in blocks if ast.unparse(each.test) == "TYPE_CHECKING"]
    imports = [each for each in block.body if isinstance(each, ast.ImportFrom)]
    return {name.name: str(each.module) for each in imports for name in each.names}


@pytest.mark.parametrize("package", ["lockstep", "research"])
def test_type_checkers_are_told_the_same_homes(package: str) -> None:
    module = importlib.import_module(package)
    assert typed_imports(package) == module._HOMES
    assert list(module.__all__) == sorted(name for name in module._HOMES if name != "views")


def test_every_verb_is_on_the_front_door_and_says_what_it_does() -> None:
    assert set(dir(lockstep)) >= VERBS
    for name in VERBS:
        home = importlib.import_module(lockstep._HOMES[name])
        assert getattr(lockstep, name) is getattr(home, name)
        assert getattr(home, name).__doc__


# Verbs


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return backtest("ibs_baseline", "COMP", start="2018-01-02")


def test_a_backtest_is_one_line(result: BacktestResult) -> None:
    config = verbs.strategy_named("ibs_baseline")
    same = backtest(config, "COMP", start="2018-01-02", history=None)
    assert (result.symbol, len(result.equity)) == ("COMP", 251)
    assert same.provenance["run_hash"] == result.provenance["run_hash"]
    with pytest.raises(ConfigError, match="no symbol"):
        backtest(config)


@pytest.mark.no_cover
def test_a_sweep_is_one_line_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'trials.db'}")
    grid = {"entry.high": [0.1, 0.2], "max_bars": [3, 8]}
    found = sweep("ibs_baseline", "COMP", grid, start="2013-01-02", end="2015-12-31")
    assert found.record.runs == 4
    assert str(found.record.plan.split.validation) == "2014-12-31 to 2015-12-31"
    assert list(found.table.columns[:3]) == ["entry.high", "max_bars", "train sharpe"]
    best = found.config
    assert isinstance(best, IbsConfig)
    values = found.table[["entry.high", "max_bars"]].iloc[0]
    assert [best.entry[1], best.max_bars] == [float(each) for each in values]
    assert Ledger(Database.open()).count("NASDAQ100", *_days("2013-01-02", "2015-12-31")) == 4
    assert found.plot().data
    page = found.save(tmp_path)
    assert page.is_file()
    shows(found)
    assert_escaped(ExperimentReport._repr_html_, found, "ibs_baseline", "COMP", "entry.high")
    with pytest.raises(ConfigError, match="test_from"):
        sweep("ibs_baseline", "COMP", grid, start="2013-01-02", end="2015-12-31", test_from="2016-01-04")


def _days(first: str, last: str) -> tuple[Any, Any]:
    return tuple(np.array([first, last], dtype="datetime64[D]").tolist())


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "store")
    made.folder.mkdir()
    for seed in (0, 1):
        made.register(desks.bundle("COMP", seed=seed), record=RECORD, by="me", now=NOW)
    return made


def test_promotion_and_rollback_are_one_line(store: ModelStore) -> None:
    with pytest.raises(EvidenceMissing):
        promote("COMP", "v1", store=store)
    promote("COMP", "v1", store=store.folder, reason="a test", force=True)
    bundle = lockstep.load_bundle("COMP", "v2", store=store)
    change = promote(bundle, store=store, reason=HOSTILE, force=True)
    assert (change.before, change.after) == ("v1", "v2")
    assert HOSTILE in shows(change).text
    assert rollback("COMP", reason="too bold", store=store).after == "v1"
    page = shows(store)
    assert "v1" in page.text
    assert "candidate" in page.text
    with pytest.raises(ConfigError, match="is in no store"):
        promote(replace(bundle, version=""), store=store)


def test_a_rehearsal_begins_with_nothing(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        rehearse("COMP", "v1", start="2016-01-04", store=store, folder=tmp_path)
    assert store.manifest().entry("COMP", "v1").status == "candidate"


def test_a_strategy_without_a_model_takes_the_same_way(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'trials.db'}")
    bundle = release("ibs_baseline", "COMP", store=store)
    assert (bundle.version, bundle.has_model) == ("v3", False)
    assert release("ibs_baseline", "COMP", store=store).version == "v3"
    assert "without a model" in shows(bundle).text
    traded = backtest(bundle, start="2018-01-02")
    assert traded.metrics == backtest("ibs_baseline", "COMP", start="2018-01-02").metrics
    assert promote(bundle, store=store, reason="a test", force=True).after == "v3"


# Objects


def shows(thing: Any) -> Page:
    """Return what a notebook shows of an object: our style, nothing that runs or loads."""
    page = Page(thing._repr_html_())
    assert page.tags[:2] == ["div", "style"]
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert page.loads == []
    return page


def test_a_backtest_shows_itself(result: BacktestResult) -> None:
    page = shows(result)
    assert "COMP" in page.text
    assert "polyline" in page.tags
    assert result.plot().layout.paper_bgcolor == "#ffffff"
    data = full(title="the title", symbol="the symbol", notes=["a note"])
    assert_escaped(views.tear_sheet, data, "the title", "the symbol", "a note")


def test_what_research_reads_shows_itself(store: ModelStore) -> None:
    bars = load_bars("COMP", start="2018-12-03")
    assert "6,635.279785" in shows(bars).text
    assert shows(verbs.strategy_named("ibs_baseline")).text.count("ibs_baseline") == 2
    named = IbsConfig(name="harmless")
    assert_escaped(IbsConfig._repr_html_, named, "harmless")
    bundle = lockstep.load_bundle("COMP", "v1", store=store)
    assert "not registered" in shows(replace(bundle, version="")).text
    assert_escaped(views.bundle, bundle, bundle.symbol, bundle.feature_ids[0])
    report = lockstep.assess(bars, load_instruments().session("COMP"))
    assert "Nothing." in shows(report).text
    finding = Finding(kind="a kind", where="here", count=1, sentence="a sentence")
    odd = replace(report, findings=(finding,))
    assert_escaped(QualityReport._repr_html_, odd, "a kind", "a sentence")


def test_checks_and_comparisons_show_themselves(result: BacktestResult) -> None:
    steps = steps_of(result)
    same = compare(steps, steps, result.vector_ids)
    assert "no difference" in shows(same).text
    assert lockstep.compare(result, result).different == 0
    vector = np.frombuffer(steps[9].vector, dtype="<f8").copy()
    vector[0] = np.nextafter(vector[0], 1.0)
    other = [*steps[:9], replace(steps[9], vector=vector.tobytes()), *steps[10:]]
    assert "1 differences" in shows(compare(steps, other, result.vector_ids)).text
    looked = lockstep.lookahead("ibs_baseline", "COMP", cuts=1, start="2018-06-01")
    assert "Nothing moved." in shows(looked).text


def test_a_line_of_figures_needs_two_numbers() -> None:
    from research.report.page import sparkline

    assert sparkline("none", [1.0, float("nan")]) == ""
    label = Page(sparkline(HOSTILE, [1.0, 3.0, 2.0], level=1.0))
    assert label.tags == ["svg", "line", "polyline"]
    drawn = sparkline("a line", [0.0, 1.0, 0.5])
    assert '"0.0,97.0 500.0,3.0 1000.0,50.0 "' in drawn
