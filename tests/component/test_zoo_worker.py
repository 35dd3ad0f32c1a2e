"""The worker: releases on real bars, nothing on noise, killed at every write, alone, no pointer moved."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sqlalchemy import select
from typer.testing import CliRunner

from lockstep.errors import ConfigError, ExperimentError, TrainingError
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore, load_bundle
from research.ledger.append_only import LedgerRow
from research.ledger.chain import append
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.zoo_tables import ModelAttemptRow, ModelBuildRow, WorkerStepRow
from research.zoo import release, worker
from research.zoo.cli import app, seconds_of
from research.zoo.fitting import losses
from research.zoo.journal import WorkerJournal, steps_of
from research.zoo.learning import LearningBars
from research.zoo.settings import WorkerSettings
from research.zoo.usage import get_latest_version, lineage
from research.zoo.worker import MLBackgroundWorker
from research.zoo.zoo import ModelZoo
from support.zoo import COMP, learning, spec, zoo_of

UNLIKE = ("id", "recorded", "key")
# Named before anybody looked what they would do. The worker was made with seeds 1 to 12.
SEEDS = (21, 22)
FORK = multiprocessing.get_context("fork")
QUICK = WorkerSettings(
    symbol="COMP",
    steps=3,
    cpu_seconds=1_000.0,
    seed=1,
    estimators=("random_forest", "logistic"),
    features=("parkinson_20_252", "garman_klass_20_252", "realised_vol_20_252"),
    first=spec(features=("ibs",)),
)


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("COMP", start="2003-01-02", end="2009-12-31")


@pytest.fixture(scope="module")
def load(history: History) -> Callable[[], LearningBars]:
    whole = learning(history)
    return lambda: replace(whole, _columns={}, _labels={})


def at_work(folder: Path, load: Any, **changes: Any) -> MLBackgroundWorker:
    settings = WorkerSettings.model_validate(QUICK.model_dump() | changes)
    return MLBackgroundWorker(zoo=zoo_of(folder), settings=settings, load=load)


def rows(zoo: ModelZoo) -> list[Any]:
    """Return all rows that a worker writes, without ids and dates."""
    found = []
    with zoo.ledger.database.read() as connection:
        for model in (WorkerStepRow, ModelAttemptRow, ModelBuildRow, LedgerRow):
            names = [
                each.name for each in model.__table__.columns if each.name not in ("id", "recorded", "key")
            ]
            found += [
                (model.__tablename__, *(str(getattr(row, name)) for name in names))
                for row in connection.execute(select(model.__table__).order_by(model.id))
            ]
    return found


@pytest.fixture(scope="module", params=SEEDS)
def released(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelZoo, worker.WorkerReport, Manifest]:
    zoo = zoo_of(tmp_path_factory.mktemp("released"))
    settings = WorkerSettings(symbol="COMP", seed=request.param)
    before = zoo.store.manifest()
    report = MLBackgroundWorker(zoo=zoo, settings=settings).once()
    return zoo, report, before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, load: Any) -> tuple[list[Any], int]:
    folder = tmp_path_factory.mktemp("whole") / "desk"
    folder.mkdir()
    writes = counted_writes(lambda: at_work(folder, load).once())
    found = rows(zoo_of(folder))
    assert {each[3] for each in found if each[0] == "worker_step"} >= {
        "begun",
        "proposed",
        "scored",
        "ended",
    }
    assert any(each[0] == "model_attempt" for each in found)
    return found, writes


class TestReleases:
    """COMP from 1999: the worker learns from two thirds; the bars after them are read by this test alone."""

    def test_there_are_three_within_thirty_steps_and_a_minute(self, released: Any) -> None:
        zoo, report, _ = released
        assert report.reason == "steps", "and not the budget of 60 s of CPU"
        assert report.steps <= 30
        assert len(report.released) >= 3
        family = lineage(zoo.store, "COMP", "volatility_h1")
        assert [each.version for each in family] == [f"v{n}" for n in range(len(family), 0, -1)]
        assert all("loss on the sealed tail" in each.note for each in family[:-1])
        assert report.champion == family[0].version

    def test_each_attempt_is_told_by_regime_and_against_the_factor_score(self, released: Any) -> None:
        zoo, report, _ = released
        tests = [found for _, kind, found in steps_of(zoo.ledger, report.run) if kind == "tested"]
        assert len(report.lines) == len(tests) == report.attempts
        for number, (line, found) in enumerate(zip(report.lines, tests, strict=True), 1):
            assert line.startswith(f"attempt {number}, ")
            assert f"factor score (range of the last 20 bars) {found['factor_score']:.4g}" in line
            assert f"linear score {found['linear_score']:.4g}" in line
            assert f"high volatility {found['by_regime']['high volatility']:.2g}" in line
            assert ("released as v" in line) == found["wins"]

    def test_the_last_is_better_than_the_first_on_the_hold_out(self, released: Any) -> None:
        zoo, report, _ = released
        history = load_history("COMP")
        whole = LearningBars.of(history, COMP, DateRange.of("2012-06-01"))
        found = []
        for version in ("v1", report.champion):
            bundle = load_bundle("COMP", version, store=zoo.store, name="volatility_h1")
            assert date.fromisoformat(bundle.training["range"][1]) < date(2012, 6, 1)
            asked = spec(features=bundle.feature_ids)
            samples = whole.samples(asked)
            found.append(losses("volatility", bundle.pipeline, samples.features, samples.judged).mean())
        assert found[1] < found[0]

    def test_no_pointer_moves_and_each_attempt_is_a_row(self, released: Any) -> None:
        zoo, report, before = released
        assert before.instruments == {}
        models = zoo.store.manifest().instruments["COMP"]
        assert set(models) == {"volatility_h1"}
        assert models["volatility_h1"].production is None
        assert {each.status for each in models["volatility_h1"].versions.values()} == {"candidate"}
        assert {each.action for each in zoo.store.manifest().history} == {"register"}
        with zoo.ledger.database.read() as connection:
            attempts = list(
                connection.execute(select(ModelAttemptRow.__table__).order_by(ModelAttemptRow.id))
            )
        assert [each.number for each in attempts] == list(range(1, report.attempts + 1))
        for each in attempts:
            assert bool(each.released) == (each.p_value <= release.level(each.number))


class TestKills:
    """A worker that is killed at any write leaves the rows of one that was not."""

    def test_killed_at_every_write_it_goes_on(
        self, whole: tuple[list[Any], int], tmp_path: Path, load: Any
    ) -> None:
        expected, writes = whole
        folder = tmp_path / "desk"
        folder.mkdir()
        codes = []
        for turn in range(3 * writes):
            process = FORK.Process(target=few_writes, args=(folder, load, 1 + turn % 2))
            process.start()
            process.join(120)
            codes.append(process.exitcode)
            if process.exitcode == 0:
                break
        assert codes[-1] == 0
        assert codes.count(-signal.SIGKILL) >= writes // 2
        assert sorted(map(unfolded, rows(zoo_of(folder)))) == sorted(map(unfolded, expected))
        zoo_of(folder).ledger.verify()

    def test_a_run_that_has_ended_is_not_taken_again(self, tmp_path: Path, load: Any) -> None:
        one, two = (at_work(tmp_path, load, steps=1).once() for _ in "ab")
        assert (one.run, two.run) == ("COMP_volatility_h1-1", "COMP_volatility_h1-2")


def unfolded(row: tuple[str, ...]) -> tuple[str, ...]:
    """Return a row without the hash of the settings, which the folder of the store is part of."""
    return tuple(re.sub(r'"same": "[0-9a-f]+", ', "", each) for each in row)


def counted_writes(call: Callable[[], Any]) -> int:
    count, original = 0, Database.write

    def write(self: Database) -> Any:
        nonlocal count
        count += 1
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "write", write)
        call()
    return count


def few_writes(folder: Path, load: Any, allowed: int) -> None:
    """Let a worker write once or twice, and kill it when it comes to the next write."""
    original, count = Database.write, 0

    def write(self: Database) -> Any:
        nonlocal count
        count += 1
        if count > allowed:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self)

    made = at_work(folder, load)
    Database.write = write  # type: ignore[method-assign]
    made.once()


class TestNoise:
    """Bars without a memory: the rule releases nothing, what releases whatever is better does."""

    @staticmethod
    def bars(history: History, seed: int) -> LearningBars:
        return noise(history, seed)

    def test_nothing_is_released(self, history: History, tmp_path: Path) -> None:
        released = naive = attempts = 0
        for seed in range(4):
            drawn = self.bars(history, seed)
            folder = tmp_path / str(seed)
            folder.mkdir()
            made = at_work(folder, lambda drawn=drawn: drawn, steps=5, seed=seed, power=0.0, features=FEW)
            report = made.once()
            released += bool(report.released)
            attempts += report.attempts
            tested = [found for _, kind, found in steps_of(made.zoo.ledger, report.run) if kind == "tested"]
            naive += any(each["loss"] < each["champion_loss"] for each in tested)
        assert released == 0
        assert attempts >= 3
        assert naive >= 2, "the control"


FEW = ("rsi_2", "ret_5", "parkinson_20_252", "vol_ratio_5_50", "zscore_20")


def noise(history: History, seed: int) -> LearningBars:
    """Return bars of the same dates whose moves and ranges are drawn independently of each other."""
    whole, random = history.series(COMP), np.random.default_rng(seed)
    close = 1_000.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, len(whole.end))))
    opened = np.concatenate([close[:1], close[:-1]])
    above, below = random.exponential(0.004, (2, len(close)))
    high, low = np.maximum(opened, close) * (1 + above), np.minimum(opened, close) * (1 - below)
    drawn = replace(whole, open=opened, high=high, low=low, close=close)
    bars = History(bars={COMP: drawn}, markets=history.markets)
    return LearningBars.of(bars, COMP, DateRange.of("2005-01-03", "2008-12-31"))


class TestRefusals:
    def test_a_budget_of_nothing(self) -> None:
        for changes, line in (
            ({"steps": 0}, "greater than or equal to 1"), ({"cpu_seconds": 0}, "greater than 0"),
            ({"estimators": ("svm",)}, "estimators: 'svm': must be one of"),
        ):  # fmt: skip
            with pytest.raises(ValidationError, match=line):
                WorkerSettings.model_validate(QUICK.model_dump() | changes)

    def test_an_attempt_is_made_where_the_tail_should_show_it(self, tmp_path: Path, load: Any) -> None:
        """Nothing is so much better that 99 % of all tails would show it; of what is better, all is tried."""
        found = []
        for power in (0.99, 0.0):
            folder = tmp_path / str(power)
            folder.mkdir()
            first = spec(features=("parkinson_20_252", "realised_vol_20_252"))
            made = at_work(folder, load, steps=6, power=power, first=first)
            report = made.once()
            scored = [each for _, kind, each in steps_of(made.zoo.ledger, report.run) if kind == "scored"]
            found.append((report.attempts, sum(each["better"] for each in scored)))
        assert found[0][0] == 0 < found[0][1]
        assert found[1][0] == found[1][1] > 0

    def test_a_budget_that_holds_no_proposal(self, tmp_path: Path, load: Any) -> None:
        found = at_work(tmp_path, load, cpu_seconds=0.01, steps=1_000).once()
        assert (found.steps, found.released) == (0, ())

    def test_the_budget_ends_a_run(self, tmp_path: Path, load: Any) -> None:
        seconds = iter(range(0, 1_000_000, 600))
        made = replace(at_work(tmp_path, load), clock=lambda: float(next(seconds)))
        found = made.once()
        assert (found.reason, found.steps) == ("budget", 1)

    def test_a_second_worker_says_who_is_at_work(self, tmp_path: Path, load: Any) -> None:
        made = at_work(tmp_path, load)
        with worker.only_worker(made.zoo.store.folder, "COMP_regime_h5"):
            line = f"worker {os.getpid()} on COMP_regime_h5 is at work on this store; let it finish"
            with pytest.raises(TrainingError, match=line):
                made.once()

    def test_a_database_that_cannot_be_written(self, tmp_path: Path, load: Any) -> None:
        made = at_work(tmp_path, load)
        url = f"sqlite:///{tmp_path / 'trials.db'}"
        reading = Ledger(Database.reading(url))
        blocked = replace(made, zoo=replace(made.zoo, ledger=reading))
        with pytest.raises(ExperimentError, match="attempt to write a readonly database"):
            blocked.once()
        assert get_latest_version(made.zoo.store, "COMP", "volatility_h1") is None

    def test_too_few_bars(self, tmp_path: Path, load: Any) -> None:
        few = replace(load(), first=load().size - 300)
        with pytest.raises(TrainingError, match="leave a tail of 60, at least 100 are needed"):
            at_work(tmp_path, lambda: few).once()

    def test_attempts_count_for_ever(self, tmp_path: Path, load: Any) -> None:
        """Another run, slot or symbol of the family begins at no lower number; nor one that was killed."""
        zoo = zoo_of(tmp_path)
        journals = [WorkerJournal(ledger=zoo.ledger, run=f"X-{n}", now=zoo.now) for n in (1, 2)]
        found = [each.reserve(1, "NASDAQ100", "volatility", lambda k: {"level": k}) for each in journals]
        assert [each["attempt"] for each in found] == [1, 2]
        assert journals[0].reserve(1, "NASDAQ100", "volatility", lambda k: {"level": k}) == found[0]
        other = journals[0].reserve(2, "NASDAQ100", "regime", lambda k: {"level": k})
        assert other["attempt"] == 1
        row = {
            "family": "NASDAQ100", "task": "regime", "number": 7, "symbol": "NQ", "p_value": None,
            "released": "", "content": "{}", "recorded": "",
        }  # fmt: skip
        with zoo.ledger.database.write() as connection:
            append(connection, ModelAttemptRow, [row])
        assert journals[1].reserve(2, "NASDAQ100", "regime", lambda k: {"level": k})["attempt"] == 3


class TestCommands:
    def run(self, folder: Path, *arguments: object) -> str:
        where = ["--store", folder / "store", "--database", f"sqlite:///{folder / 'trials.db'}"]
        done = CliRunner().invoke(app, list(map(str, [*arguments, *where])), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def test_get_or_create_list_show_and_worker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "nice", lambda _: 0)
        asked = (
            "get-or-create", "--symbol", "COMP", "--features", "ibs,ret_5", "--estimator", "random_forest",
            "--parameter", "n_estimators=3", "--parameter", "min_samples_leaf=20", "--end", "2004-12-31",
        )  # fmt: skip
        assert "COMP volatility_h1 v1: trained; a spec reads it as model:COMP_volatility" in self.run(
            tmp_path, *asked
        )
        assert "v1: there already" in self.run(tmp_path, *asked)
        (listed,) = json.loads(self.run(tmp_path, "list", "--json"))
        assert (listed["version"], listed["usage"]["strategies"]) == ("v1", 0)
        told = self.run(
            tmp_path,
            "worker",
            "--once",
            "--symbol",
            "COMP",
            "--steps",
            "1",
            "--end",
            "2004-12-31",
            "--features",
            "rsi_2,parkinson_20_252",
        )
        assert "COMP volatility_h1: 1 steps," in told
        assert "COMP volatility_h1 v1 (candidate), model:COMP" in self.run(
            tmp_path, "show", "COMP", "volatility_h1", "--version", "v1"
        )

    def test_bad_options(self, tmp_path: Path) -> None:
        for arguments, line in (
            (["worker", "--symbol", "COMP"], "give one of --once and --interval"),
            (["worker", "--symbol", "COMP", "--interval", "1x"], "interval '1x': write a number and s, m, h"),
            (["worker", "--symbol", "COMP", "--once", "--steps", "0"], "steps"),
        ):
            with pytest.raises(ConfigError, match=line):
                self.run(tmp_path, *arguments)
        assert seconds_of("30m") == 1_800
        assert not ModelStore(tmp_path / "store").folder.exists()
