"""`python -m research.backtest_runner` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = {
    "trades.parquet",
    "orders.parquet",
    "equity.parquet",
    "features.parquet",
    "reasons.parquet",
    "metrics.json",
    "provenance.json",
    "tearsheet.html",
}


def call(*arguments: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "research.backtest_runner", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def folder_of(out: Path) -> Path:
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same run twice, by two processes, into two places."""
    folders = []
    for seed in (1, 2):
        out = tmp_path_factory.mktemp("out")
        dates = ("--start", "2015-01-01", "--end", "2016-12-31")
        done = call("--symbol", "COMP", *dates, "--out", str(out), hash_seed=seed)
        assert done.returncode == 0, done.stderr
        assert "COMP" in done.stdout
        assert str(folder_of(out) / "tearsheet.html") in done.stdout
        folders.append(folder_of(out))
    return folders


def test_same_inputs_give_identical_bytes(runs: list[Path]) -> None:
    """PARITY 26."""
    first, second = runs
    assert first.name == second.name
    assert {path.name for path in first.iterdir()} == ARTEFACTS
    for name in ARTEFACTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_artefacts_hold_no_path_host_or_time(runs: list[Path]) -> None:
    for name in ARTEFACTS:
        content = (runs[0] / name).read_bytes()
        assert str(ROOT).encode() not in content
        assert str(runs[0].parent).encode() not in content


def test_the_dates_are_those_asked_for_with_warm_windows(runs: list[Path]) -> None:
    equity = pd.read_parquet(runs[0] / "equity.parquet")
    assert str(equity["session_date"].iloc[0].date()) == "2015-01-02"
    assert str(equity["session_date"].iloc[-1].date()) == "2016-12-30"
    assert pd.read_parquet(runs[0] / "features.parquet").notna().all(axis=None)


def test_provenance(runs: list[Path]) -> None:
    provenance = json.loads((runs[0] / "provenance.json").read_text())
    assert set(provenance["data_hashes"]) == {"COMP:1d"}
    assert "ibs" in provenance["feature_fingerprints"]
    assert provenance["instrument"]["proxy_of"] == "NQ"
    assert provenance["run_hash"].startswith(runs[0].name.rpartition("-")[2])


def test_start_does_not_change_what_follows(tmp_path: Path) -> None:
    """PARITY 8: vectors do not depend on where the traded range begins."""
    done = call(
        "--symbol", "COMP", "--start", "2016-01-01", "--end", "2016-12-31", "--out", str(tmp_path / "a")
    )
    assert done.returncode == 0
    done = call(
        "--symbol", "COMP", "--start", "2014-01-01", "--end", "2016-12-31", "--out", str(tmp_path / "b")
    )
    late = pd.read_parquet(folder_of(tmp_path / "a") / "features.parquet")
    early = pd.read_parquet(folder_of(tmp_path / "b") / "features.parquet")
    assert late.equals(early.loc[late.index])


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("exit_price", "no feature 'exit_price'"),
        ("rsi_02", "parameter '02'"),
        ("rsi", "rsi takes 1 parameters: write rsi_<period>, for example rsi_2"),
        ("rsii_2", "did you mean rsi_2?"),
        ("pair_zscore_20@1h", "1h is finer than the traded 1d"),
        ("ibs@XX", "XX"),
    ],
)
def test_only_registry_ids_are_features(tmp_path: Path, feature: str, message: str) -> None:
    """PARITY 3 and 5."""
    config = tmp_path / "config.yaml"
    config.write_text(f"name: x\nfeatures: ['{feature}']\n")
    done = call("--symbol", "COMP", "--config", str(config), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no symbol"),
        (("--symbol", "CMP"), "symbol 'CMP'"),
        (("--symbol", "ES"), "no data comes with Lockstep"),
        (("--symbol", "COMP", "--start", "2031-01-01"), "nothing from 2031-01-01"),
        (("--symbol", "COMP", "--start", "Monday"), "start 'Monday'"),
        (("--symbol", "COMP", "--timeframe", "1h"), "cannot be made of"),
        (("--symbol", "COMP", "--config", "none.yaml"), "none.yaml"),
        (("--symbol", "COMP", "--data-dir", "nowhere"), "nowhere"),
        (("--symbols", "all", "--data-dir", "docs"), "--symbols all: no file"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = call(*arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
