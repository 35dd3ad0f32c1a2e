"""Public names are exported on purpose, shown by examples that run, and listed in the reference."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"lockstep": "src", "research": "research", "certify": "certify", "operations": "operations"}

EXPORTED = {
    "lockstep": {
        "Bars", "Bundle", "DateRange", "FeatureRegistry", "History", "IbsConfig", "IbsStrategy",
        "InstrumentBook", "LockstepError", "ModelStore", "RulesConfig", "assess", "backtest", "certify",
        "compare", "explain", "explore", "load_bars", "load_bundle", "load_history", "load_instruments",
        "lookahead", "monitor", "optimize_portfolio", "promote", "rehearse", "release", "risk", "rollback",
        "stress", "sweep", "tearsheet", "train", "validate",
    },
    "research": {
        "BacktestResult", "build_dataset", "load_training", "load_training_history",
        "run_backtest", "tearsheet",
    },
    "lockstep.live": {
        "Arrival", "FillSource", "Journal", "LiveConfig", "LiveFeed", "OrderIntent", "OutboundBroker",
        "ReportedFill", "SendResult",
    },
    "lockstep.monitoring": {"Alert", "Alerts", "Sink"},
    "lockstep.market": {
        "DAILY", "BarSet", "Bars", "History", "Instrument", "InstrumentBook", "Market", "SeriesKey",
        "Session", "Timeframe", "load_instruments",
    },
    "lockstep.features": {
        "BatchFeatures", "Feature", "FeatureRegistry", "FeatureSource", "WindowFeatures", "feature",
    },
    "lockstep.metrics": {
        "SESSIONS_PER_YEAR", "Annual", "Dates", "Drawdown", "Floats", "Integers", "Performance",
        "Relative", "annual", "average_loss", "average_win", "beta", "cagr", "calendar_years",
        "correlation", "curve_from", "deepest_drawdowns", "downside_deviation", "drawdown_fractions",
        "drawdowns", "expectancy", "expected_shortfall", "exposure", "information_ratio", "kurtosis",
        "longest_drawdown", "longest_run", "market_returns", "max_drawdown",
        "omega", "payoff_ratio", "performance",
        "period_returns", "profit_factor", "recovery_factor", "relative", "resolution", "rolling_beta",
        "rolling_sharpe", "rolling_sortino", "rolling_volatility", "session_equity", "session_ordinals",
        "sharpe", "skew", "sortino", "summary", "tail_ratio", "time_scale", "timing_returns", "ulcer_index",
        "value_at_risk", "volatility", "win_rate",
    },
    "lockstep.models": {
        "Bundle", "Change", "Evidence", "GoldenVectors", "Manifest", "ModelStore", "Policy",
        "TrainingRecord", "golden_vectors", "library_versions", "load_bundle", "read_bundle", "save_bundle",
    },
    "lockstep.portfolio": {"calculate_cvar", "calculate_var", "var_decomposition"},
    "lockstep.strategy": {
        "Family", "IbsConfig", "IbsStrategy", "Lane", "ParityStrategy", "SimulatedBroker", "StrategyConfig",
        "Veto", "build_cerebro", "load_strategy", "register",
    },
}  # fmt: skip

EXAMPLES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sources() -> dict[str, Path]:
    """Return the file of every module of ours, by the module's name."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def exporting() -> set[str]:
    """Return `lockstep`, `lockstep.<package>` and the other top-level packages that assign `__all__`."""
    return {
        name
        for name, path in sources().items()
        if path.name == "__init__.py"
        and re.fullmatch(r"lockstep(\.\w+)?|\w+", name)
        and re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.M)
    }


def classes() -> list[tuple[str, str]]:
    named = [(package, name) for package, names in EXPORTED.items() for name in names]
    return sorted(each for each in named if inspect.isclass(_exported(*each)))


def _exported(package: str, name: str) -> object:
    return getattr(importlib.import_module(package), name)


def test_every_package_that_exports_names_is_pinned() -> None:
    assert exporting() == set(EXPORTED)


@pytest.mark.parametrize("package", EXPORTED)
def test_exports_are_pinned_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == EXPORTED[package]
    for name in EXPORTED[package]:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", EXPORTED)
def test_tab_completion_finds_the_exports(package: str) -> None:
    assert set(dir(importlib.import_module(package))) >= EXPORTED[package]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'IbsStrateggy'"):
        importlib.import_module("lockstep.strategy").IbsStrateggy  # noqa: B018


@pytest.mark.parametrize("package", EXPORTED)
def test_the_reference_has_a_page_of_the_package(package: str) -> None:
    page = ROOT / "docs/reference" / f"{package.removeprefix('lockstep.')}.md"
    assert re.search(rf"^::: {re.escape(package)}$", page.read_text(encoding="utf-8"), re.M)


def examples_of(documented: object) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(documented) or "")


@pytest.mark.parametrize(("package", "name"), classes(), ids=lambda text: text)
def test_every_exported_class_shows_an_example(package: str, name: str) -> None:
    assert examples_of(_exported(package, name))


def test_a_class_without_an_example_would_be_noticed() -> None:
    class Bare:
        """No example."""

    assert not examples_of(Bare)


def with_examples() -> list[str]:
    """Return the modules in which a docstring shows an example."""
    return [name for name, path in sources().items() if _shows_an_example(path)]


def _shows_an_example(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    if ">>>" not in text:
        return False
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return any(
        ">>>" in (ast.get_docstring(node) or "") for node in ast.walk(tree) if isinstance(node, documented)
    )


def run_examples(module: ModuleType) -> doctest.TestResults:
    return doctest.testmod(module, optionflags=EXAMPLES, verbose=False)


@pytest.mark.parametrize("name", with_examples())
def test_examples_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A ledger of its own: what other tests left there would be told beside the example's answer.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    results = run_examples(importlib.import_module(name))
    assert results.attempted
    assert results.failed == 0, capsys.readouterr().out


def test_an_example_that_is_wrong_fails() -> None:
    module = ModuleType("wrong", ">>> 1 + 1\n3\n")
    assert run_examples(module).failed == 1
