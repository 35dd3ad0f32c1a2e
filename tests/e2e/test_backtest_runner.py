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


def test_pages_share_the_library_and_a_wrong_date_leaves_nothing(tmp_path: Path) -> None:
    dates = (
        "--symbol",
        "COMP",
        "--start",
        "2015-01-01",
        "--end",
        "2016-12-31",
        "--out",
        str(tmp_path / "out"),
    )
    refused = call(*dates, "--out-of-sample", "2031-01-01")
    assert refused.returncode == 2
    assert "not within the results, 2015-01-02 to 2016-12-30" in refused.stderr
    assert not (tmp_path / "out").exists()
    index = tmp_path / "index.csv"
    months = [
        f"{year}-{month:02}-01,{year + month}\n" for year in (2015, 2016, 2017) for month in range(1, 13)
    ]
    index.write_text("date,close\n" + "".join(months))
    done = call(
        *dates, "--shared-js", "--trials", "30", "--out-of-sample", "2016-01-04", "--benchmark", str(index)
    )
    assert done.returncode == 0, done.stderr
    (library,) = (tmp_path / "out").glob("plotly-*.min.js")
    (page,) = (tmp_path / "out").glob("*/tearsheet.html")
    text = page.read_text()
    assert f'src="../{library.name}"' in text
    assert len(text) < 1_000_000
    for words in ("given 30 variants", "Out of sample", "index, from the same capital"):
        assert words in text


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


def test_a_refusal_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = call("--symbol", "CMP", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "symbol 'CMP'" in done.stderr
    assert not (tmp_path / "out").exists()


PORTFOLIO = """
name: two
capital: 200_000.0
day: CME
lanes:
  - {symbol: COMP, strategy: STRATEGY, units: 2}
  - {symbol: SPX, strategy: STRATEGY, units: 1}
limits: {max_positions: 1}
"""


def test_a_portfolio(tmp_path: Path) -> None:
    strategy = ROOT / "configs" / "strategies" / "ibs_baseline.yaml"
    (tmp_path / "portfolio.yml").write_text(PORTFOLIO.replace("STRATEGY", str(strategy)), encoding="utf-8")
    asked = (
        "--portfolio",
        str(tmp_path / "portfolio.yml"),
        "--end",
        "2012-12-31",
        "--out",
        str(tmp_path / "out"),
    )
    refused = call(*asked, "--strategy", str(strategy))
    assert refused.returncode == 2
    assert "--strategy: does not go with --portfolio" in refused.stderr
    done = call(*asked, "--engine", "compiled", "--verify", "--shared-js")
    assert done.returncode == 0, done.stderr
    (folder,) = (each for each in (tmp_path / "out").iterdir() if each.is_dir())
    assert f"portfolio: {folder}" in done.stdout.replace("\n", "")
    assert "Portfolio of 2 lanes" in (folder / "tearsheet.html").read_text(encoding="utf-8")
    assert "two: both engines agree on " in done.stdout
    assert "two: refused by positions " in done.stdout
    proposals = pd.read_parquet(folder / "proposals.parquet")
    assert set(proposals["symbol"]) == {"COMP", "SPX"}
    trades = {each: pd.read_parquet(folder / "lanes" / each / "trades.parquet") for each in ("COMP", "SPX")}
    assert all(len(each) > 20 for each in trades.values())
    # One position at a time: no trade of the one begins within a trade of the other.
    comp, spx = (each[["entry_end", "exit_end"]].to_numpy() for each in trades.values())
    assert not any(((spx[:, 0] >= entry) & (spx[:, 0] < exit_)).any() for entry, exit_ in comp)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["portfolio"]["capital"] == 200_000.0
    assert provenance["engine"] == "compiled"
