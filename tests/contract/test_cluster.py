"""The same sweep on a real Dask cluster of two worker processes, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from lockstep.errors import ClusterError, RetrainingError
from lockstep.live.config import HistorySettings
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from operations.nightly.cli import app as pipeline
from operations.nightly.pipeline import STEPS
from operations.nightly.steps import retrain
from operations.retraining.book import RetrainingRun, Step, StepRow
from operations.retraining.challenger import Workshop
from operations.retraining.cli import app as retraining
from operations.retraining.config import RetrainingConfig
from research.experiments.cli import app
from research.experiments.execution import Lab
from research.experiments.store import Store
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.pipeline.execution import digest_of
from research.sweep.cluster import Scheduler
from research.sweep.run import SweepResult, sweep
from research.training.cli import train_app as training
from research.training.search import SearchAttempt, SearchListener
from research.training.train import train
from support.experiments import BASELINE, plan
from support.nights import ROOT, dump, nights, written
from support.retraining import LENIENT, STRATEGY, TRAINED_TO, now, recorded, retrained_desk
from support.training import SMALL_FOREST, invented, invented_config

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


NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.sweep.cluster._PATIENCE", "500ms")


@pytest.mark.usefixtures("impatient")
def test_an_address_where_nobody_listens_is_refused(history: History) -> None:
    with pytest.raises(ClusterError, match=r"cluster tcp://127\.0\.0\.1:9: no scheduler answers"):
        sweep(GRID[:2], history, "COMP", cluster=NOBODY)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("words", ["night", "grid", "train", "retrain"])
def test_a_cluster_that_is_not_there_is_refused_before_anything_is_written(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")
    grid = tmp_path / "grid.yaml"
    grid.write_text(SEARCH)
    night, desk = written(tmp_path), tmp_path / "retraining.yml"
    files = {"monitoring": tmp_path / "monitoring.yml", "database": tmp_path / "r.db", "runs": tmp_path}
    desk.write_text(yaml.safe_dump({name: str(path) for name, path in files.items()}))
    before = digest_of(tmp_path)
    called: dict[str, tuple[Any, list[str]]] = {
        "night": (pipeline, ["run", "--config", str(night)]),
        "grid": (app, ["grid-search", "--name", "x", "--strategy", str(BASELINE), "--grid", str(grid)]),
        "train": (training, ["--config", str(ROOT / "configs/training/COMP.yml"), "--out", str(tmp_path)]),
        "retrain": (retraining, ["run", "--config", str(desk)]),
    }
    commands, arguments = called[words]
    done = CliRunner().invoke(commands, [*arguments, "--cluster", NOBODY])
    assert isinstance(done.exception, ClusterError), done.exception
    line = str(done.exception)
    assert line.startswith(f"cluster {NOBODY}: no scheduler answers: ")
    assert line.endswith("check the address")
    assert "\n" not in line
    assert digest_of(tmp_path) == before


def test_a_cluster_that_dies_makes_no_variant_a_failure(tmp_path: Path) -> None:
    """What was not evaluated is missing, so that `resume` does it."""

    def gone(*arguments: Any, **named: Any) -> Any:
        raise ClusterError("cluster tcp://there: workers died with the work")

    lab = Lab(database=Database.open(f"sqlite:///{tmp_path / 'e.db'}"), evaluator=gone)
    with pytest.raises(ClusterError, match="workers died with the work"):
        lab.run(plan())
    assert lab.store.record(1).done == 0
    whole = replace(lab, evaluator=sweep)
    record = whole.resume(1)
    assert (record.done, whole.store.failed(1)) == (record.runs, 0)


def killing(cluster: Any, at: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill a worker before the piece of work of number `at` is sent; returns its process, once it is dead."""
    submit, sent, killed = Scheduler._submit, [0], list[int]()

    def counted(self: Scheduler, *call: Any) -> Any:
        sent[0] += 1
        if sent[0] == at:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)
        return submit(self, *call)

    monkeypatch.setattr(Scheduler, "_submit", counted)
    return killed


@pytest.mark.filterwarnings("ignore")
def test_a_night_on_a_cluster_is_the_one_made_here(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    nights(here).make()
    killed = killing(cluster, 2, monkeypatch)
    replace(nights(there), cluster=cluster.scheduler_address).make()
    assert len(killed) == 1
    rows = {folder: dump(folder / "experiments.db") for folder in (here, there)}
    for table in ("run", "ledger", "returns", "behaviour"):
        assert rows[here][table] == rows[there][table], table
    assert len(rows[there]["run"]) == 40


@pytest.mark.filterwarnings("ignore")
def test_a_challenger_is_the_same_wherever_it_is_trained(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retraining's configuration names the cluster, of whose workers one is killed in the search."""
    settings = recorded(
        data={"start": "2001-01-02", "end": TRAINED_TO}, strategy=STRATEGY, model=SMALL_FOREST,
        search={"trials": 2, "initial": 2, "stop": "none"}, acceptance=LENIENT,
        validation={"groups": 3, "test_groups": 1, "embargo_days": 3, "walk_forward": "3y/1y/1y"},
    )  # fmt: skip
    inputs = {"config": settings.model_dump(mode="json"), "data_dir": None}
    triggered = StepRow(
        number=1, run="1", symbol="COMP", step=Step.TRIGGERED, time=0, desk=0, by="auto", inputs=inputs,
        outputs={"champion": "v1", "seed": 4},
    )  # fmt: skip
    run, found = RetrainingRun(id="1", symbol="COMP", steps=(triggered,)), {}
    killed = killing(cluster, 3, monkeypatch)
    for name, address in (("here", None), ("there", cluster.scheduler_address)):
        monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / name}.db")
        desk = retrained_desk(tmp_path / name)
        maker = Workshop(
            config=desk.settings(jobs=1).on(address), store=desk.store, history=HistorySettings(),
            ledger=lambda: Ledger(Database.open()), now=now, by="auto",
        )  # fmt: skip
        found[name] = maker.train(run).outputs
    assert len(killed) == 1
    assert found["here"]["sha256"] == found["there"]["sha256"]


def test_the_retraining_of_a_night_is_on_the_cluster_of_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, seen = retrained_desk(tmp_path / "desk"), list[str | None]()

    def refused(settings: RetrainingConfig, say: Any, **named: Any) -> Any:
        seen.append(settings.cluster)
        raise RetrainingError("not here")

    monkeypatch.setattr(retrain, "one_machine", refused)
    of_night = nights(tmp_path, monitoring=str(desk.config), retraining=str(desk.retraining))
    for address in ("tcp://night:8786", None):
        context = replace(of_night.context, cluster=address)
        with pytest.raises(RetrainingError):
            retrain.work(context, {}, tmp_path)
    assert seen == ["tcp://night:8786", None]


def test_a_step_has_the_same_name_on_whatever_machine(tmp_path: Path) -> None:
    of_night = nights(tmp_path)
    for step in STEPS[:6]:
        there = replace(of_night.context, cluster="tcp://night:8786")
        assert step.ingredients(of_night.context, {}) == step.ingredients(there, {}), step.name
