"""The operator's commands as the runbooks write them, against a desk that has traded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import papers

ENTRY = "1-live-COMP-1451941200000000000-entry-1"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a desk that replayed three months in mode paper."""
    folder = tmp_path_factory.mktemp("desk")
    papers.store(folder / "store")
    done = papers.run("run_live.py", "--config", str(papers.config(folder)), "--log", str(folder / "log"))
    assert done.returncode == 0, done.stderr
    return folder


def test_paper_against_backtest(desk: Path, tmp_path: Path) -> None:
    arguments = (
        "--journal",
        str(desk / "live.db"),
        "--store",
        str(desk / "store"),
        "--out",
        str(tmp_path),
    )
    done = papers.run("compare_paper.py", *arguments, "--resamples", "300")
    assert done.returncode in (0, 1), done.stderr
    assert "0 bars differ" in done.stdout
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["passed"] == (done.returncode == 0)
    assert (tmp_path / "comparison.html").stat().st_size > 1_000_000
    told = papers.run("compare_paper.py", *arguments, "--resamples", "300", "--json")
    assert json.loads(told.stdout)["instruments"] == content["instruments"]
    refused = papers.run("compare_paper.py", *arguments, "--epoch", "9")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    advanced = papers.run(
        "rollout.py", "advance", "--comparison", str(tmp_path / "comparison.json"), "--reason", "x",
        "--config", str(desk / "live.yml"),
    )  # fmt: skip
    assert advanced.returncode == 2
    assert "knows mode paper only" in advanced.stderr


def test_a_recorded_journal_is_checked(desk: Path) -> None:
    done = papers.run("check_parity.py", "--journal", str(desk / "live.db"), "--store", str(desk / "store"))
    assert done.returncode == 0, done.stderr
    assert "as recorded" in done.stdout


def test_orders_as_the_runbook_writes_them(desk: Path) -> None:
    config = ("--config", str(desk / "live.yml"))
    shown = papers.run("orders.py", "list", *config)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("epoch 1 (paper); engine is not running")
    resolved = papers.run(
        "orders.py", "resolve", ENTRY, "--outcome", "not_placed", "--reason", "not in the log, AB", *config
    )
    filled = papers.run(
        "orders.py", "fill", "--order-id", ENTRY, "--symbol", "COMP", "--quantity", "-1", "--price", "5000.5",
        "--commission", "1.25", "--time", "2026-03-06T14:10:03Z", *config,
    )  # fmt: skip
    for refused, message in ((resolved, "has none of this id"), (filled, "mode paper simulates its fills")):
        assert refused.returncode == 2
        assert message in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_the_roll_out_is_shown(desk: Path) -> None:
    shown = papers.run("rollout.py", "show", "--config", str(desk / "live.yml"))
    assert shown.returncode == 0, shown.stderr
    assert "stage  1 of 4, shadow" in shown.stdout
