"""Versions of a model store in research commands: the strategy and the veto that the live engine trades."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError, LockstepError, UnknownModel
from lockstep.live.traded import TradedModel
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.models.manifest import TrainingRecord
from lockstep.models.store import ModelStore, load_bundle
from research.backtest.run import context_keys, run_backtest
from research.backtest_runner import app
from research.checks.lookahead import Files, check_files
from research.experiments.cli import app as experiments
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.versions import VersionName, named_strategy
from support import desks
from support.engines import folders_but_for_the_engine

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 5, tzinfo=UTC)
START, END = "2016-01-04", "2016-06-30"
SEALED = ["2016-03-01", "2016-12-30"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """COMP v1 and v2, which differ in their forests only; v3 has a hold-out; SPX v1 was trained elsewhere."""
    found = ModelStore(tmp_path_factory.mktemp("store"))
    plain = {"code_hash": "0", "data_hashes": {}, "seed": 0, "python": "3", "versions": {}}
    here = TrainingRecord(config={}, **plain)  # type: ignore[arg-type]
    away = TrainingRecord(config={"data": {"source": "mine"}}, data_dir="gone", **plain)  # type: ignore[arg-type]
    first, second = (desks.bundle(seed=seed, threshold=0.45) for seed in (0, 5))
    dated = replace(first, training={"range": ["2008-01-02", "2016-02-26"], "hold_out": SEALED})
    for bundle, record in (
        (first, here), (second, here), (dated, here), (desks.bundle("SPX", seed=1), away),
    ):  # fmt: skip
        found.register(bundle, record=record, by="test", now=NOW)
    found.promote("COMP", "v2", by="test", now=NOW, reason="for a test", force=True)
    return found


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")


def arguments(store: ModelStore, model: str, out: Path, **others: str) -> list[str]:
    given = {
        "symbol": "COMP",
        "model": model,
        "store": str(store.folder),
        "start": START,
        "end": END,
        "out": str(out),
    }
    return [part for name, value in {**given, **others}.items() for part in (f"--{name}", value)]


def ran(store: ModelStore, model: str, out: Path, **others: str) -> tuple[str, dict[str, Path]]:
    """Run the command; return what it printed and the folders, by the version in their provenance."""
    done = CliRunner().invoke(app, arguments(store, model, out, **others), catch_exceptions=False)
    assert done.exit_code == 0
    folders = {}
    for path in out.iterdir():
        model_told = json.loads((path / "provenance.json").read_text()).get("model", {})
        folders[model_told.get("version", "")] = path
    return done.output, folders


def traded(store: ModelStore, version: str, *, with_veto: bool = True) -> pd.DataFrame:
    """Return the trades of the bundle as the live desk holds it."""
    model = TradedModel.of(load_bundle("COMP", version, store=store))
    veto = model.veto if with_veto else None
    markets = desks.load_markets()
    history = load_history(
        "COMP", timeframe=model.config.bars, end=END,
        context=context_keys(model.config, markets, "COMP", veto=model.veto),
    )  # fmt: skip
    return run_backtest(model.config, history, "COMP", span=DateRange.of(START, END), veto=veto).trades


class TestBacktest:
    def test_the_veto_acts_as_live_and_stands_beside_the_plain_strategy(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        text, folders = ran(store, "v1", tmp_path / "out")
        assert set(folders) == {"", "v1"}
        filtered, plain = (pd.read_parquet(folders[each] / "trades.parquet") for each in ("v1", ""))
        pd.testing.assert_frame_equal(filtered, traded(store, "v1"), check_exact=True)
        pd.testing.assert_frame_equal(plain, traded(store, "v1", with_veto=False), check_exact=True)
        assert 0 < len(filtered) < len(plain)
        reasons = pd.read_parquet(folders["v1"] / "reasons.parquet")["reason"]
        assert "veto" in set(reasons)
        assert "COMP v1" in text
        assert text.count("tearsheet.html") == 2
        assert "desk · v1" in (folders["v1"] / "tearsheet.html").read_text()

    def test_both_engines_leave_the_same_folders(self, store: ModelStore, tmp_path: Path) -> None:
        for engine in ("backtrader", "compiled"):
            assert len(ran(store, "v1", tmp_path / engine, engine=engine)[1]) == 2
        folders = folders_but_for_the_engine(tmp_path / "compiled")
        assert folders == folders_but_for_the_engine(tmp_path / "backtrader")
        assert [len(files) for files in folders.values()] == [8, 8]

    def test_versions_have_folders_of_their_own_and_production_is_one_of_them(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        _, first = ran(store, "v1", tmp_path / "out")
        _, both = ran(store, "production", tmp_path / "out")
        assert set(both) == {"", "v1", "v2"}
        assert both["v1"] == first["v1"]
        provenance = json.loads((both["v2"] / "provenance.json").read_text())
        assert provenance["model"]["sha256"] == store.manifest().entry("COMP", "v2").sha256
        one, other = (pd.read_parquet(both[each] / "trades.parquet") for each in ("v1", "v2"))
        assert not one.equals(other)

    def test_in_sample_is_said_and_a_look_at_the_hold_out_counted(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        text, _ = ran(store, "v3", tmp_path / "out")
        flat = " ".join(text.split())
        assert "COMP v3 was fitted on 2008-01-02 to 2016-02-26: results there are in sample" in flat
        assert (
            "shows days that a search sealed as its hold-out: 2016-03-01 to 2016-06-30 (look 1 of NASDAQ100"
            in flat
        )
        text, _ = ran(store, "v3", tmp_path / "out", end="2016-02-26")
        assert "sealed" not in text
        sealed = DateRange(start=date.fromisoformat(SEALED[0]), end=date.fromisoformat(SEALED[1]))
        looks = Ledger(Database.open()).looks("NASDAQ100", sealed)
        assert [each.purpose for each in looks] == [
            f"backtest of {store.manifest().entry('COMP', 'v3').sha256}"
        ]

    @pytest.mark.parametrize(
        ("others", "message"),
        [
            ({"config": "x.yaml"}, "--strategy x.yaml: --version v1 brings its own"),
            ({"timeframe": "1d"}, "--timeframe 1d: --version v1 brings its own"),
            ({"model": "v9"}, "version 'v9': not in the manifest"),
            ({"symbol": "GC"}, "instrument 'GC': not in the manifest"),
            ({"symbol": "SPX"}, "gone"),
            ({"model": ""}, "goes with --version"),
        ],
    )
    def test_refusals(
        self, store: ModelStore, tmp_path: Path, others: Mapping[str, str], message: str
    ) -> None:
        given = arguments(store, out=tmp_path / "out", **{"model": "v1", **others})
        done = CliRunner().invoke(app, given)
        assert isinstance(done.exception, LockstepError), done.output
        assert message in str(done.exception)
        assert not (tmp_path / "out").exists()

    def test_all_are_those_that_have_the_version(self, store: ModelStore, tmp_path: Path) -> None:
        text, folders = ran(store, "v2", tmp_path / "out", symbol="all")
        assert set(folders) == {"", "v2"}
        assert "SPX is skipped: SPX ibs_veto: version 'v2': not in the manifest" in " ".join(text.split())


class TestLookahead:
    def test_the_features_of_the_model_are_checked_and_its_decisions(self, store: ModelStore) -> None:
        files = Files(symbol="COMP", start=START, end=END)
        report = check_files(VersionName(version="v1", store=store.folder), files, cuts=2)
        assert report.passed
        assert set(desks.MODEL_IDS) < set(report.ids)
        without = check_files(
            VersionName(version="v1", store=store.folder), files, cuts=1, with_veto=False
        )  # fmt: skip
        assert without.passed
        assert not set(desks.MODEL_IDS) <= set(without.ids)

    def test_another_timeframe_is_refused(self, store: ModelStore) -> None:
        files = Files(symbol="COMP", timeframe="1d")
        with pytest.raises(ConfigError, match="brings its own"):
            check_files(VersionName(version="v1", store=store.folder), files)

    def test_the_script_takes_a_strategy_or_a_version(self, store: ModelStore) -> None:
        spec = importlib.util.spec_from_file_location("script", ROOT / "scripts/check_lookahead.py")
        assert spec is not None
        assert spec.loader is not None
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        of_version = ["--symbol", "COMP", "--version", "v1", "--store", str(store.folder)]
        done = CliRunner().invoke(script.app, [*of_version, "--cuts", "1", "--start", START, "--end", END])
        assert done.exit_code == 0, done.output
        assert done.output.count("no look-ahead:") == 2
        assert done.output.index("with the veto of v1") < done.output.index("without a veto")
        for given, message in (
            (["--symbol", "COMP"], "nothing to check: give --strategy, or --version v3"),
            ([*of_version, "--strategy", "x.yaml"], "check one of them at a time"),
        ):
            assert message in str(CliRunner().invoke(script.app, given).exception)


class TestComparison:
    def test_versions_are_compared_with_each_other_and_with_a_file(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        (tmp_path / "plain.yaml").write_text(desks.CONFIG.to_yaml())
        dates = ["--start", START, "--end", END, "--store", str(store.folder)]
        # What v3 sealed is sealed for whoever comes after it.
        for first, second, title, looks in (
            ("v2", "v1", "desk v1", 0),
            ("v3", "v2", "desk v2", 2),
            (str(tmp_path / "plain.yaml"), "v1", "desk v1", 2),
        ):
            done = CliRunner().invoke(experiments, ["compare", first, second, *dates], catch_exceptions=False)
            assert done.exit_code == 0
            assert title in done.output
            assert " ".join(done.output.split()).count("sealed as its hold-out") == looks
        expected = len(traded(store, "v1"))
        (line,) = (each for each in done.output.splitlines() if each.startswith("trades"))
        assert line.split()[1:3] == [str(len(traded(store, "v1", with_veto=False))), str(expected)]
        # Three versions and the strategy without a veto are four trials.
        assert Ledger(Database.open()).count("NASDAQ100", date(2016, 1, 4), date(2016, 6, 30)) == 4

    def test_names(self) -> None:
        assert named_strategy("v12", None) == VersionName(version="v12")
        assert named_strategy("production", None) == VersionName(version="production")
        assert named_strategy("v12.yaml", None) == Path("v12.yaml")

    def test_an_unknown_version_is_refused(self, store: ModelStore) -> None:
        command: list[Any] = ["compare", "v1", "v9", "--store", str(store.folder)]
        done = CliRunner().invoke(experiments, command)
        assert isinstance(done.exception, UnknownModel)
