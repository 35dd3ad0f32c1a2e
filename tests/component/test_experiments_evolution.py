"""Evolutions and replays: counted, resumed, adaptive, and refused where they would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from lockstep.errors import ConfigError, ExperimentError
from research.experiments import search
from research.experiments.cli import app
from research.experiments.declaration import search_hash
from research.experiments.execution import Lab
from research.experiments.progress import ExperimentListener
from research.experiments.replay import replay
from research.experiments.selection import ranking
from research.experiments.service import judged, verified_ranking
from research.ledger.append_only import ReplayRow
from research.ledger.database import Database
from research.statistics.gate import FRESH, MAXIMUM
from research.sweep.run import SweepResult
from support.experiments import BASELINE, BROKEN, plan, toy_lab, toy_sweep

PARAMETERS = {
    "entry.high": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "max_bars": (2, 3, 4, 5, BROKEN, 9),
    "exit.low": (0.5, 0.6, 0.7, 0.8),
}
EVOLUTION: dict[str, Any] = {"parameters": PARAMETERS, "generations": 4, "children": 5, "seed": 2}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search, "_BATCH", (3, 3))
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return fresh(tmp_path, "one")


def fresh(folder: Path, name: str) -> Lab:
    return toy_lab(Database.open(f"sqlite:///{folder / f'{name}.db'}"))


def rows(lab: Lab, number: int) -> pd.DataFrame:
    return lab.store.runs(number).drop(columns="experiment_id")


def toy_mover(better: Callable[[int], float]) -> Callable[..., SweepResult]:
    """Return a sweep whose replays do better than anything by so much, by shift."""
    known: list[SweepResult] = []

    def moved(configs: Any, history: Any, symbol: str, *, jobs: int, shift: Any, **named: Any) -> SweepResult:
        if not shift.sessions:
            known.append(toy_sweep(configs, history, symbol, **named))
            return known[-1]
        ratios = 9.0 * np.sign(better(shift.sessions)) + better(shift.sessions) + np.arange(len(configs))
        return replace(known[0], metrics={"sharpe": ratios})

    return moved


def replay_rows(lab: Lab) -> list[Any]:
    with lab.database.read() as connection:
        return list(connection.execute(select(ReplayRow.__table__)))


class TestEvolution:
    def test_all_that_is_visited_is_counted_and_stored(self, lab: Lab) -> None:
        record = lab.run(plan(**EVOLUTION))
        assert (record.kind, record.runs, record.done) == ("evolution", 20, 20)
        assert len(set(record.plan.picked)) == 20
        assert sorted(record.plan.picked) == record.plan.numbers == rows(lab, 1)["variant"].tolist()
        searched = record.plan.split.searched
        assert lab.ledger.count(lab.family("COMP"), searched.start, searched.end) == 20
        derived = lab.ledger.searched(record.id, "COMP")
        assert (derived.kind, derived.replayable) == ("adaptive", True)

    @pytest.mark.no_cover
    @pytest.mark.parametrize("batches", [1, 2, 5, 8])
    def test_an_interrupted_one_goes_the_same_way(self, lab: Lab, tmp_path: Path, batches: int) -> None:
        whole = lab.run(plan(**EVOLUTION))
        other, left = fresh(tmp_path, "other"), iter(range(batches - 1))

        class Interrupted(ExperimentListener):
            def stored(self, batch: object) -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            other.run(plan(**EVOLUTION), Interrupted())
        resumed = other.resume(1)
        assert resumed.plan == whole.plan
        assert rows(other, 1).equals(rows(lab, 1))
        assert resumed.runs == resumed.done == 20

    def test_several_symbols_and_windows_make_one_score(self, lab: Lab) -> None:
        record = lab.run(plan(**EVOLUTION, symbols=("COMP", "SPX"), walk_forward="1y/1y/6m"))
        assert record.done == 20 * 2 * len(record.plan.windows)
        found = replay(lab, 1, replays=19, mover=toy_mover(lambda _: -1.0))
        assert found.found.objective == pytest.approx(ranking(lab.store, record, limit=1)[0].test["sharpe"])

    def test_a_space_that_ends_early_is_finished(self, lab: Lab) -> None:
        record = lab.run(plan(generations=50, children=4))
        assert record.runs == record.done == 6


class TestReplay:
    @pytest.mark.no_cover
    @pytest.mark.parametrize(("gain", "p_value"), [(-1.0, 0.01), (1.0, 1.0)])
    def test_ranks_the_winner_and_writes_a_row_by_symbol(self, lab: Lab, gain: float, p_value: float) -> None:
        record = lab.run(plan(**EVOLUTION, symbols=("COMP", "SPX")))
        done = replay(lab, 1, mover=toy_mover(lambda _: gain))
        assert done.p_value == pytest.approx(p_value)
        assert done.searched == "adaptive"
        written = replay_rows(lab)
        assert [row.symbol for row in written] == ["COMP", "SPX"]
        assert {row.p_value for row in written} == {done.p_value}
        assert {row.search for row in written} == {search_hash(record)}
        runs = rows(lab, 1)
        winner = runs[runs["variant"] == done.winner.variant]["config_hash"].iloc[0]
        assert {(row.config_hash, row.replays) for row in written} == {(winner, 99)}

    def test_the_gate_reads_the_worst_of_exactly_this_search(self, lab: Lab) -> None:
        record = lab.run(plan(**EVOLUTION))
        (winner,) = verified_ranking(lab, record, top=1)

        def fresh_evidence() -> tuple[float | None, bool]:
            found = judged(lab, record, winner)
            assert found.evidence.searched == "adaptive"
            (check,) = (each for each in found.verdict.checks if each.name == FRESH)
            assert check.applies
            assert not next(each for each in found.verdict.checks if each.name == MAXIMUM).applies
            return found.evidence.replay_p, check.passed

        assert fresh_evidence() == (None, False)
        with lab.database.write() as connection:
            stranger = {
                "experiment_id": 1, "family": lab.family("COMP"), "symbol": "COMP", "search": "another",
                "config_hash": record.plan.space.variant(winner.variant).config.config_hash,  # type: ignore[union-attr]
                "replays": 99, "p_value": 0.01, "recorded": "2026-01-02T12:00:00+00:00",
            }  # fmt: skip
            lab.ledger.append(connection, ReplayRow, [stranger])
        assert fresh_evidence() == (None, False)
        replay(lab, 1, mover=toy_mover(lambda _: -1.0))
        assert fresh_evidence() == (pytest.approx(0.01), True)
        replay(lab, 1, replays=19, mover=toy_mover(lambda _: 1.0))
        assert fresh_evidence() == (1.0, False)

    def test_counts_no_trial(self, lab: Lab) -> None:
        searched = lab.run(plan(**EVOLUTION)).plan.split.searched
        replay(lab, 1, replays=19, mover=toy_mover(lambda _: 0.0))
        assert lab.ledger.count(lab.family("COMP"), searched.start, searched.end) == 20
        assert lab.ledger.searched(1, "COMP").replayable

    def test_the_shifts_are_those_of_the_search(self, lab: Lab) -> None:
        lab.run(plan(**EVOLUTION))
        one, other = (replay(lab, 1, replays=19, mover=toy_mover(lambda s: s / 1e3)) for _ in range(2))
        assert one.found == other.found
        assert len(set(one.found.draws)) == 19

    @pytest.mark.parametrize("changes", [{}, {"sample": 4, "seed": 1}])
    def test_of_a_declared_search_is_for_display(self, lab: Lab, changes: dict[str, Any]) -> None:
        lab.run(plan(**changes))
        assert replay(lab, 1, replays=19, mover=toy_mover(lambda _: 0.0)).searched == "declared"

    def test_a_second_grid_cannot_be_replayed(self, lab: Lab) -> None:
        lab.run(plan())
        lab.run(plan(parameters={"entry.high": (0.19, 0.2, 0.21)}))
        with pytest.raises(ExperimentError, match="how it was drawn is part of the search"):
            replay(lab, 2)
        assert not replay_rows(lab)

    @pytest.mark.parametrize("first", [{}, {**EVOLUTION, "seed": 1}])
    def test_nor_an_evolution_that_did_not_come_first(self, lab: Lab, first: dict[str, Any]) -> None:
        """Of twenty seeds, one is better than 95 % of its replays."""
        lab.run(plan(**first))
        lab.run(plan(**EVOLUTION))
        with pytest.raises(ExperimentError, match="chosen among several"):
            replay(lab, 2)

    def test_nor_one_of_several_that_began_at_once(self, lab: Lab) -> None:
        class Begins(ExperimentListener):
            begun = False

            def begin(self, total: int, done: int) -> None:
                if not Begins.begun:
                    Begins.begun = True
                    lab.run(plan(**{**EVOLUTION, "seed": 1}))

        lab.run(plan(**EVOLUTION), Begins())
        replayable = [lab.ledger.searched(number, "COMP").replayable for number in (1, 2)]
        assert replayable == [True, False]

    def test_the_same_search_again_is_the_same_search(self, lab: Lab) -> None:
        lab.run(plan(**EVOLUTION))
        lab.run(plan(**EVOLUTION))
        assert lab.ledger.searched(2, "COMP").replayable

    def test_another_search_than_the_stored_one_is_noticed(self, lab: Lab) -> None:
        lab.run(plan(**EVOLUTION))

        def other(*arguments: Any, jobs: int, shift: Any, **named: Any) -> SweepResult:
            result = toy_sweep(*arguments, **named)
            return replace(result, metrics={**result.metrics, "sharpe": -result.metrics["sharpe"]})

        with pytest.raises(ExperimentError, match="not the same search"):
            replay(lab, 1, replays=19, mover=other)
        assert not replay_rows(lab)

    def test_a_history_too_short_is_refused(self, lab: Lab) -> None:
        split = {"train": ["2010-01-04", "2010-12-31"], "validation": ["2011-01-03", "2011-12-30"]}
        lab.run(plan(**EVOLUTION, split=split))
        with pytest.raises(ConfigError, match="504 sessions: too few"):
            replay(lab, 1)


def call(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(each) for each in arguments])


GRID = """
symbols: [COMP]
parameters:
  entry.high: [0.1, 0.15, 0.2, 0.25, 0.3]
  exit.low: [0.6, 0.7, 0.8]
  max_bars: [3, 5, 8, 10]
split:
  train: [2009-01-02, 2011-12-30]
  validation: [2012-01-03, 2013-12-31]
  holdout: [2014-01-02, 2014-12-31]
top: 1
"""


class TestCommands:
    """With the real sweep and Backtrader."""

    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")
        (tmp_path / "grid.yaml").write_text(GRID)

    @pytest.mark.no_cover
    def test_evolve_and_replay(self, tmp_path: Path) -> None:
        more = ("--strategy", BASELINE, "--grid", tmp_path / "grid.yaml", "--seed", 1)
        done = call("evolve", "--name", "night", "--generations", 4, "--children", 5, *more)
        assert done.exit_code == 0, done.output
        assert "20 of 20 runs succeeded" in done.output
        assert "searched: adaptive" in done.output
        replayed = call("replay", 1, "--replays", 19, "--jobs", 2)
        assert replayed.exit_code == 0, replayed.output
        assert "moved against the bars, 19 searches found" in replayed.output
        assert "only 19 replays: the smallest p-value they can give is 0.050" in replayed.output
        page = call("show", 1, "--export", "html", "--out", tmp_path)
        assert page.exit_code == 0, page.output
        (path,) = tmp_path.glob("*.html")
        text = path.read_text()
        assert "adaptive: the search chose its trials by the results of those before" in text
        assert "4 generations of 5, seed 1, by sharpe" in text
        (row,) = replay_rows(Lab(database=Database.open()))
        assert f"p = {row.p_value:.3f}" in replayed.output
        assert np.isclose(row.p_value * 20, round(row.p_value * 20))

    def test_declare_several_then_search(self, tmp_path: Path) -> None:
        other = tmp_path / "other.yaml"
        other.write_text(GRID.replace("[3, 5, 8, 10]", "[2, 4]"))
        base = ("--strategy", BASELINE)
        done = call("declare", *base, "--grid", tmp_path / "grid.yaml", "--grid", other)
        assert done.exit_code == 0, done.output
        assert "grid on COMP, 60 variants: declared, declared before any result" in done.output
        assert "other on COMP, 30 variants: declared" in done.output
        searched = call("grid-search", "--name", "first", *base, "--grid", other)
        assert "searched: declared" in searched.output, searched.output
        lab = Lab(database=Database.open())
        assert lab.ledger.searched(1, "COMP").unevaluated == 60
        wrong = call("declare", *base, "--grid", tmp_path / "missing.yaml")
        assert wrong.exit_code != 0

    @pytest.mark.parametrize("flag", ["--generations", "--children"])
    def test_nonsense_is_refused(self, tmp_path: Path, flag: str) -> None:
        more = ("--strategy", BASELINE, "--grid", tmp_path / "grid.yaml")
        done = call("evolve", "--name", "x", *more, flag, 0)
        assert isinstance(done.exception, ExperimentError)
        assert f"{flag} 0: need one or more" in str(done.exception)
