"""The same sweep on a real Dask cluster of two worker processes, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.cli import app
from research.experiments.store import Store
from research.ledger.database import Database
from research.sweep.run import SweepResult, sweep
from research.training.search import SearchAttempt, SearchListener
from research.training.train import train
from support.experiments import BASELINE
from support.training import invented, invented_config

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

GRID = [
    IbsConfig(name="grid", entry=(0.0, low), exit=(high, 1.0), max_bars=longest)
    for low in np.linspace(0.05, 0.4, 10).round(3).tolist()
    for high in np.linspace(0.5, 0.9, 10).round(3).tolist()
    for longest in (3, 5, 8, 13)
]


SEARCH = """
symbols: [COMP]
parameters: {entry.high: [0.1, 0.2, 0.3], exit.low: [0.6, 0.8], stop.percent: [null, 3.0]}
split: {train: [2012-01-03, 2012-12-31], validation: [2013-01-02, 2013-12-31]}
"""


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("COMP", timeframe=DAILY)


@pytest.fixture
def cluster() -> Iterator[object]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


def assert_same(first: SweepResult, second: SweepResult) -> None:
    for name, values in first.metrics.items():
        assert np.array_equal(values, second.metrics[name], equal_nan=True), name
    assert np.array_equal(first.blocks, second.blocks)
    assert np.array_equal(first.sketch, second.sketch)


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_costs_nothing_but_time(history: History, cluster: object) -> None:
    counted: list[int] = []
    killed: list[int] = []

    def on_done(positions: Sequence[int], _: SweepResult) -> None:
        counted.extend(positions)
        if len(counted) > len(GRID) // 4 and not killed:
            killed.append(next(iter(cluster.workers.values())).pid)  # type: ignore[attr-defined]
            os.kill(killed[0], signal.SIGKILL)

    address = cluster.scheduler_address  # type: ignore[attr-defined]
    result = sweep(GRID, history, "COMP", cluster=address, chunk=5, on_done=on_done)
    assert len(killed) == 1
    assert sorted(counted) == list(range(len(GRID)))
    assert_same(result, sweep(GRID, history, "COMP"))


@pytest.mark.filterwarnings("ignore")
def test_an_experiment_on_a_cluster_is_the_one_made_here(
    cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(SEARCH)
    address = cluster.scheduler_address  # type: ignore[attr-defined]
    found = []
    for name, more in (("here", ()), ("there", ("--cluster", address))):
        url = f"sqlite:///{tmp_path / name}.db"
        monkeypatch.setenv("LOCKSTEP_DB", url)
        command = (
            "grid-search",
            "--name",
            "same",
            "--strategy",
            str(BASELINE),
            "--grid",
            str(grid),
        )
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code == 0, done.output
        found.append(Store(Database.open(url)).runs(1))
    pd.testing.assert_frame_equal(*found, check_exact=True)
    assert len(found[0]) == 12


class Killing(SearchListener):
    """Kills the first worker after the first step."""

    def __init__(self, cluster: object) -> None:
        self.cluster = cluster
        self.killed = 0

    def stepped(self, search: str, attempt: SearchAttempt, best: float) -> None:
        if not self.killed:
            self.killed = next(iter(self.cluster.workers.values())).pid  # type: ignore[attr-defined]
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore")
def test_a_training_on_a_cluster_is_the_one_made_here(cluster: object) -> None:
    """A worker is killed in the middle of the search; its calls are run again by another one."""
    listener = Killing(cluster)
    address = cluster.scheduler_address  # type: ignore[attr-defined]
    there = train(invented_config(), invented(), seed=4, cluster=address, listener=listener)
    here = train(invented_config(), invented(), seed=4)
    assert listener.killed
    assert there.threshold == here.threshold
    assert [each.parameters for each in there.steps] == [each.parameters for each in here.steps]
    for mine, other in zip(there.steps, here.steps, strict=True):
        assert np.array_equal(mine.probabilities, other.probabilities)


def test_an_address_where_nobody_listens_is_refused(history: History) -> None:
    with pytest.raises(ConfigError, match=r"cluster tcp://127\.0\.0\.1:9: no scheduler answers"):
        sweep(GRID[:2], history, "COMP", cluster="tcp://127.0.0.1:9")
