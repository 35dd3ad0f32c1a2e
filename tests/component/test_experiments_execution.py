"""Searches: run, killed, resumed, failed, verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from lockstep.errors import EngineMismatch, ExperimentError, NoBars
from lockstep.features.feature_registry import default_registry
from lockstep.identity import TRIALS, code_hash
from research.experiments import search
from research.experiments.evaluation import code_of, trial_code
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.experiments.selection import chosen_by_window, ranking
from research.experiments.service import finished, judged, same_data, verified_ranking
from research.experiments.store import Batch
from research.ledger.append_only import MaximumRow
from research.ledger.database import Database
from research.ledger.tables import FINISHED, MISMATCH, RUNNING, UNSUCCESSFUL
from support.databases import KINDS, fresh_url
from support.experiments import BROKEN, SPLIT, plan, slow_sweep, toy_backtest, toy_lab, toy_sweep

SEARCHED = (SPLIT.train.start, SPLIT.validation.end)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search, "_BATCH", (2, 2))
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(params=KINDS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    with fresh_url(request.param, tmp_path) as url:
        yield toy_lab(Database.open(url))


@pytest.fixture
def sqlite_lab(tmp_path: Path) -> Lab:
    return toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))


def rows(lab: Lab, number: int) -> pd.DataFrame:
    return lab.store.runs(number).drop(columns="experiment_id")


def maxima(lab: Lab) -> list[tuple[object, ...]]:
    """Return what the ledger says of each search's maximum, to the last bit, but for its number."""
    with lab.database.read() as connection:
        rows = connection.execute(select(MaximumRow.__table__).order_by(MaximumRow.id)).all()
    return [tuple(row)[1:] for row in rows]


class Killed(BaseException):
    """Stands for the end of the process."""


def killing_after(calls: int) -> Callable[..., Any]:
    left = iter(range(calls))

    def sweep(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return toy_sweep(*arguments, **named)

    return sweep


class TestRun:
    def test_every_run_is_stored_counted_and_the_winners_verified(self, lab: Lab) -> None:
        record = lab.run(plan())
        assert (record.status, record.done, record.runs) == (FINISHED, 6, 6)
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6
        best = ranking(lab.store, record, limit=5)
        assert all(each.verified for each in best)
        frame = lab.store.runs(record.id)
        assert [each.variant for each in best] == (
            frame.sort_values("test_sharpe", ascending=False)["variant"].head(5).tolist()
        )
        assert frame["verified"].sum() == 5
        assert json.loads(frame["parameters"].iloc[0]) == {"entry.high": 0.1, "max_bars": 3}

    def test_metrics_are_those_of_the_evaluator_to_the_last_bit(self, lab: Lab) -> None:
        record = lab.run(plan())
        data = lab.data(record.plan, "COMP")
        for row in lab.store.runs(record.id).itertuples():
            config = record.plan.space.variant(int(row.variant)).config
            assert config is not None
            found = toy_backtest(config, data, SPLIT.validation)
            assert row.test_net_profit == found["net_profit"]
            assert row.test_sharpe == found["sharpe"]
            assert row.config_hash == config.config_hash

    def test_returns_are_kept_in_order(self, lab: Lab) -> None:
        record = lab.run(plan())
        kept = lab.store.returns(record.id, "COMP", 0)
        assert kept.variants.tolist() == list(range(6))
        assert kept.blocks.shape == (6, 2, 16, 2)
        runs = lab.store.runs(record.id)
        assert kept.sessions.sum(axis=1).tolist() == [runs["train_sessions"][0], runs["test_sessions"][0]]
        total = kept.blocks[:, 1, :, 0].sum(axis=1) * record.plan.strategy.capital
        assert total == pytest.approx(runs["test_net_profit"].to_numpy(), rel=1e-4)

    def test_the_same_search_again_is_counted_once(self, lab: Lab) -> None:
        first, second = lab.run(plan()), lab.run(plan(name="another name"))
        assert rows(lab, first.id).equals(rows(lab, second.id))
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6

    def test_deleting_and_renaming_do_not_reduce_the_count(self, lab: Lab) -> None:
        record = lab.run(plan())
        lab.store.update(record.id, name="innocent")
        assert lab.store.record(record.id).name == "innocent"
        lab.store.delete(record.id)
        assert lab.store.records() == []
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6
        with pytest.raises(ExperimentError, match="not in the database"):
            lab.store.delete(record.id)
        assert lab.run(plan()).id > record.id

    def test_other_dates_are_other_trials(self, lab: Lab) -> None:
        lab.run(plan())
        later = SPLIT.model_copy(
            update={"validation": SPLIT.validation.model_copy(update={"end": date(2012, 12, 28)})}
        )
        lab.run(plan(split=later))
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 12

    def test_several_symbols_are_ranked_by_their_mean(self, lab: Lab) -> None:
        record = lab.run(plan(symbols=("COMP", "SPX")))
        frame = lab.store.runs(record.id)
        means = frame.groupby("variant")["test_sharpe"].mean().sort_values(ascending=False)
        best = ranking(lab.store, record)
        assert [each.variant for each in best] == means.index.tolist()
        assert best[0].test["sharpe"] == pytest.approx(means.iloc[0])
        assert lab.ledger.count("SP500", *SEARCHED) == lab.ledger.count("NASDAQ100", *SEARCHED) == 6

    def test_random_search(self, lab: Lab) -> None:
        record = lab.run(plan(sample=3, seed=4))
        assert record.kind == "random"
        assert lab.store.runs(record.id)["variant"].tolist() == record.plan.numbers

    def test_walk_forward_counts_a_variant_once(self, lab: Lab) -> None:
        record = lab.run(plan(walk_forward="1y/6m/6m"))
        windows = len(record.plan.windows)
        assert windows == 4
        assert record.done == 6 * windows
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6
        chosen = chosen_by_window(lab.store, record)
        frame = lab.store.runs(record.id)
        for number, each in enumerate(chosen):
            mine = frame[frame["window_number"] == number]
            assert each is not None
            assert each.variant == mine["variant"].iloc[mine["train_sharpe"].argmax()]
            assert each.verified

    def test_nothing_is_evaluated_where_a_window_has_no_bars(self, sqlite_lab: Lab) -> None:
        empty = plan(
            split=SPLIT.model_validate(
                {"train": ["1990-01-01", "1991-01-01"], "validation": ["2012-01-01", "2012-12-31"]}
            )
        )
        with pytest.raises(NoBars):
            sqlite_lab.run(empty)
        assert sqlite_lab.store.records() == []


class TestFailures:
    def test_a_failed_variant_fails_alone_and_counts(self, lab: Lab) -> None:
        record = lab.run(plan(parameters={"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, BROKEN)}))
        frame = lab.store.runs(record.id).set_index("variant")
        assert frame["status"].tolist() == ["ok", "failed"] * 3
        assert "is broken here" in frame.loc[1, "error"]
        assert pd.isna(frame.loc[1, "test_sharpe"])
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6
        assert lab.store.returns(record.id, "COMP", 0).variants.tolist() == [0, 2, 4]

    def test_impossible_combinations_fail_and_count(self, sqlite_lab: Lab) -> None:
        record = sqlite_lab.run(plan(parameters={"entry.low": (0.0, 0.25), "entry.high": (0.2, 0.3)}))
        frame = sqlite_lab.store.runs(record.id)
        assert frame["status"].tolist() == ["ok", "ok", "failed", "ok"]
        assert frame["config_hash"].isna().tolist() == [False, False, True, False]
        assert sqlite_lab.ledger.count("NASDAQ100", *SEARCHED) == 4

    def test_an_unknown_feature_fails_its_variants(self, sqlite_lab: Lab) -> None:
        lab = replace(sqlite_lab, evaluator=slow_sweep)
        base = plan().strategy.replaced(filters=[{"feature": "rsi_2", "max": 90.0}])
        short = SPLIT.model_validate(
            {"train": ["2010-01-04", "2010-02-26"], "validation": ["2010-03-01", "2010-04-30"]}
        )
        search = plan(
            strategy=base,
            split=short,
            parameters={"filters.0.feature": ("rsi_2", "rsi2"), "exit.low": (0.6, 0.8)},
            select_by="cagr",
        )
        toyed = replace(lab, backtest=toy_backtest)
        with pytest.raises(EngineMismatch):
            toyed.run(search)
        frame = toyed.store.runs(1)
        assert frame["status"].tolist() == ["ok", "ok", "failed", "failed"]
        assert "rsi2" in frame["error"].iloc[2]

    def test_no_successful_run(self, sqlite_lab: Lab) -> None:
        with pytest.raises(
            ExperimentError, match=r"no successful run of 3: 3 failed, the first with: .*broken here"
        ):
            sqlite_lab.run(plan(parameters={"entry.high": (0.1, 0.2, 0.3), "max_bars": (BROKEN,)}))
        assert sqlite_lab.store.record(1).status == UNSUCCESSFUL
        with pytest.raises(ExperimentError, match="experiment 1 is unsuccessful"):
            finished(sqlite_lab, 1)
        assert sqlite_lab.ledger.count("NASDAQ100", *SEARCHED) == 3

    def test_all_runs_alike(self, sqlite_lab: Lab) -> None:
        lab = replace(
            sqlite_lab,
            evaluator=lambda configs, *a, **k: toy_sweep([plan().strategy] * len(configs), *a, **k),
        )
        with pytest.raises(ExperimentError, match="all 6 runs are alike"):
            lab.run(plan())

    def test_no_trades(self, sqlite_lab: Lab) -> None:
        with pytest.raises(ExperimentError, match="no variant traded on the test range"):
            replace(sqlite_lab, evaluator=slow_sweep).run(
                plan(parameters={"entry": ((-2.0, -1.0), (-3.0, -1.0))})
            )

    @pytest.mark.parametrize("measure", ["trades", "net_profit"])
    def test_a_difference_between_the_engines_is_an_error(self, sqlite_lab: Lab, measure: str) -> None:
        """The mutant: one more trade, or one more bit of profit, in one of the engines."""

        def other(*arguments: Any) -> Any:
            found = dict(toy_backtest(*arguments))
            found[measure] *= 1.0 + 2.0**-52
            return found

        lab = replace(sqlite_lab, backtest=other)
        with pytest.raises(EngineMismatch, match=f"{measure} is .* in the sweep and .* in Backtrader"):
            lab.run(plan())
        assert lab.store.record(1).status == MISMATCH
        with pytest.raises(ExperimentError, match="sweep and Backtrader disagree"):
            finished(lab, 1)


class TestResume:
    @pytest.mark.no_cover
    @pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
    def test_what_was_interrupted_ends_as_if_it_had_not_been(
        self, lab: Lab, tmp_path: Path, calls: int
    ) -> None:
        whole = toy_lab(Database.open(f"sqlite:///{tmp_path / 'whole.db'}"))
        expected = rows(whole, whole.run(plan()).id)
        with pytest.raises(Killed):
            replace(lab, evaluator=killing_after(calls)).run(plan())
        record = lab.store.record(1)
        assert record.status == RUNNING
        assert record.done == calls // 2 * 2
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == record.done
        with pytest.raises(
            ExperimentError, match=f"{record.done} of 6 runs are done; `lockstep .* resume 1`"
        ):
            finished(lab, 1)
        assert lab.resume(1).status == FINISHED
        pd.testing.assert_frame_equal(rows(lab, 1), expected, check_exact=True)
        assert lab.ledger.count("NASDAQ100", *SEARCHED) == 6
        kept, other = (each.store.returns(1, "COMP", 0).blocks for each in (lab, whole))
        assert kept is not None
        assert other is not None
        assert kept.tobytes() == other.tobytes()
        assert maxima(lab) == maxima(whole)

    def test_killed_while_winners_are_checked(self, lab: Lab) -> None:
        def killed(*_: Any) -> Any:
            raise Killed

        with pytest.raises(Killed):
            replace(lab, backtest=killed).run(plan())
        assert lab.store.record(1).status == RUNNING
        assert lab.resume(1).status == FINISHED

    def test_only_what_is_missing_is_evaluated(self, sqlite_lab: Lab) -> None:
        with pytest.raises(Killed):
            replace(sqlite_lab, evaluator=killing_after(2)).run(plan())
        seen: list[int] = []

        def counting(configs: Any, *arguments: Any, **named: Any) -> Any:
            seen.append(len(configs))
            return toy_sweep(configs, *arguments, **named)

        replace(sqlite_lab, evaluator=counting).resume(1)
        assert sum(seen) == 2 * 4

    def test_a_finished_one_has_nothing_to_resume(self, sqlite_lab: Lab) -> None:
        sqlite_lab.run(plan())
        with pytest.raises(ExperimentError, match="is finished; `show 1`"):
            sqlite_lab.resume(1)
        with pytest.raises(ExperimentError, match="experiment 5: not in the database; the newest are 1"):
            sqlite_lab.resume(5)

    @pytest.mark.parametrize("column", ["code_hash", "data_hashes"])
    def test_other_code_or_data_is_refused(self, sqlite_lab: Lab, column: str) -> None:
        with pytest.raises(Killed):
            replace(sqlite_lab, evaluator=killing_after(2)).run(plan())
        other = f"c1-{'0' * 61}" if column == "code_hash" else '{"COMP": "00"}'
        sqlite_lab.store.update(1, **{column: other})
        with pytest.raises(ExperimentError, match="changed since it was begun"):
            sqlite_lab.resume(1)
        sqlite_lab.store.update(1, code_hash="0" * 64)
        with pytest.raises(
            ExperimentError, match="experiment 1: its code hash is that of an earlier version"
        ):
            sqlite_lab.resume(1)

    def test_two_processes_do_not_share_an_experiment(self, sqlite_lab: Lab) -> None:
        class Resuming(ExperimentListener):
            def stored(self, batch: Batch) -> None:
                sqlite_lab.resume(1)

        with pytest.raises(ExperimentError, match="another process is working on it"):
            sqlite_lab.run(plan(), Resuming())


class TestService:
    def test_another_measure_verifies_other_winners(self, sqlite_lab: Lab) -> None:
        record = sqlite_lab.run(plan(top=1))
        assert sqlite_lab.store.runs(record.id)["verified"].sum() == 1
        best = verified_ranking(sqlite_lab, record, by="cagr", top=3)
        assert [each.test["cagr"] for each in best] == sorted(
            (each.test["cagr"] for each in best), reverse=True
        )
        assert all(each.verified for each in best)

    def test_what_cannot_be_checked_any_more_is_refused(self, sqlite_lab: Lab) -> None:
        record = sqlite_lab.run(plan(top=1))
        changed = replace(record, data_hashes={"COMP": "00"})
        with pytest.raises(ExperimentError, match="bars of COMP changed"):
            verified_ranking(sqlite_lab, changed, top=3)
        with pytest.raises(ExperimentError, match="the code changed since"):
            same_data(sqlite_lab, replace(record, code_hash=f"c1-{'0' * 61}"))

    @pytest.mark.no_cover
    @pytest.mark.parametrize("changes", [{}, {"walk_forward": "1y/6m/6m"}, {"symbols": ("COMP", "SPX")}])
    def test_a_judgement_on_every_kind_of_search(self, lab: Lab, changes: dict[str, Any]) -> None:
        record = lab.run(plan(**changes))
        best = verified_ranking(lab, record)[0]
        found = judged(lab, record, best)
        assert len(found.symbols) == len(record.plan.symbols)
        assert len(found.verdict.applicable) == 5
        for each in found.symbols:
            assert each.counted == 6
            assert each.overfitting.probability is not None
            assert 0 <= each.overfitting.probability <= 1
            assert each.overfitting.variants == 6
            assert 0 < each.maximum.p_value <= 1
            assert 0 <= each.maximum.dsr <= 1
            assert (each.maximum.searches, each.maximum.unsketched) == (1, 0)
            assert each.ratios.size == 6
        assert found.evidence.trials == 6
        assert (found.portfolio is None) == (len(record.plan.symbols) == 1)
        assert len(maxima(lab)) == (3 if found.portfolio else 1)

    def test_earlier_searches_make_the_winner_less_sure(self, lab: Lab) -> None:
        first = lab.run(plan())
        best = ranking(lab.store, first)[0]
        alone = judged(lab, first, best)
        second = lab.run(plan(parameters={"exit.low": tuple(0.5 + 0.02 * step for step in range(20))}))
        crowded = judged(lab, lab.store.record(first.id), best)
        assert crowded.evidence.trials == 26
        assert crowded.symbols[0].maximum.searches == 2
        assert crowded.evidence.p_value > alone.evidence.p_value
        lab.store.delete(second.id)
        assert judged(lab, first, best).evidence.p_value == crowded.evidence.p_value

    def test_one_variant_is_no_choice(self, sqlite_lab: Lab) -> None:
        record = sqlite_lab.run(plan(parameters={"max_bars": (3,)}))
        found = judged(sqlite_lab, record, verified_ranking(sqlite_lab, record)[0])
        assert found.evidence.pbo is None
        assert found.symbols[0].maximum.effective == pytest.approx(1, abs=0.1)
        assert found.verdict.checks[3].sentence == "one variant was tried: no choice that could overfit"
        sqlite_lab.run(plan())
        again = judged(sqlite_lab, record, verified_ranking(sqlite_lab, record)[0])
        assert again.evidence.pbo is not None
        assert again.symbols[0].overfitting.variants == 6


def test_the_code_of_a_plan_knows_the_features_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    search = plan(parameters={"max_bars": (1, 2)})
    before, other = code_of(search), search.strategy.replaced(
        filters=({"feature": "rsi_2", "max": 50.0},)
    )  # fmt: skip
    assert before != code_of(plan(strategy=other, parameters={"max_bars": (1, 2)}))
    assert before == code_of(plan(parameters={"max_bars": (1, 2, 3)}))
    assert trial_code(["no_such_feature"]) == code_hash(TRIALS)
    registry = default_registry()
    monkeypatch.setattr(type(registry), "fingerprint", lambda _, each: "edited" if each == "ibs" else "same")
    edited = code_of(search)
    monkeypatch.setattr(
        type(registry), "fingerprint", lambda _, each: "edited" if each == "atr_14" else "same"
    )
    assert edited != code_of(search) == trial_code(search.strategy.feature_ids)


def test_the_plan_survives_the_database() -> None:
    search = plan(
        sample=3, walk_forward="1y/6m/6m", parameters={"stop": (None, {"percent": 2.0}), "max_bars": (1, 2)}
    )
    again = Plan.model_validate_json(search.model_dump_json())
    assert again == search
    assert [again.space.variant(number) for number in again.numbers] == [
        search.space.variant(number) for number in search.numbers
    ]
