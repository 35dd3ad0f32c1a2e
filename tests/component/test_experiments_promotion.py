"""Promotion, strategy log, actual impact: what is refused, what is written, what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from lockstep.errors import ExperimentError, PromotionRefused
from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments import promotion
from research.experiments.execution import Lab
from research.experiments.promotion import PromotionRequest, promote
from research.experiments.realised import record_actual
from research.experiments.selection import ranking
from research.ledger.database import Database
from research.ledger.ledger import Trials
from research.ledger.tables import Genealogy
from research.statistics.gate import GateLimits
from support.experiments import NOON, SPLIT, plan, toy_backtest, toy_lab

LENIENT = GateLimits(max_sharpe_gap=99, min_sharpe_ratio=0, min_test_sharpe=-99, max_pbo=1, min_dsr=1e-9)
STRICT = GateLimits(min_dsr=0.9999)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))
    return toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))


def request_for(folder: Path, **changes: Any) -> PromotionRequest:
    places = {"folder": folder / "strategies", "log": folder / "LOG.md"}
    return PromotionRequest(**{"experiment": 1, "name": "baseline_v2", **places, **changes})


def genealogy(lab: Lab) -> list[Any]:
    with lab.database.read() as connection:
        return list(connection.execute(select(Genealogy.__table__).order_by(Genealogy.id)).all())


class TestPromotion:
    def test_a_winner_within_the_limits(self, lab: Lab, tmp_path: Path) -> None:
        record = lab.run(plan(limits=LENIENT))
        done = promote(lab, request_for(tmp_path, expected_impact="Sharpe +0.2"))
        winner = ranking(lab.store, record)[0]
        config = IbsConfig.load(done.path)
        evaluated = record.plan.space.variant(winner.variant).config
        assert evaluated is not None
        assert config.config_hash == evaluated.config_hash
        assert config.name == "baseline_v2"
        assert done.refusals == ()
        text = done.path.read_text()
        log = (tmp_path / "LOG.md").read_text()
        for line in (
            f"parent: baseline_v1 ({record.config_hash[:10]})",
            "experiment: 1 trial",
            "gate: passed",
            "Sharpe +0.2",
        ):
            assert f"# {line}" in text or line in text
            assert line in log
        assert "## baseline_v2 (2026-01-02)" in log
        assert "- actual impact: not measured yet" in log
        assert f"# code {record.code_hash}" in text

    def test_the_hold_out_is_opened_once_and_counted(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT))
        assert SPLIT.holdout is not None
        assert lab.ledger.looks("NASDAQ100", SPLIT.holdout) == []
        promote(lab, request_for(tmp_path))
        (look,) = lab.ledger.looks("NASDAQ100", SPLIT.holdout)
        assert (look.purpose, look.experiment_id) == ("promotion of baseline_v2", 1)
        with pytest.raises(
            PromotionRefused, match="was opened 1 times before, last for promotion of baseline_v2"
        ):
            promote(lab, request_for(tmp_path, name="baseline_v3"))
        assert len(lab.ledger.looks("NASDAQ100", SPLIT.holdout)) == 1

    def test_a_look_through_another_symbol_of_the_family_is_a_look(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT))
        assert SPLIT.holdout is not None
        lab.ledger.look(lab.family("NQ"), "NQ", SPLIT.holdout, purpose="curiosity", now=NOON)
        with pytest.raises(PromotionRefused, match="last for curiosity"):
            promote(lab, request_for(tmp_path))

    def test_trials_within_the_hold_out_are_looks_too(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT))
        assert SPLIT.holdout is not None
        trials = Trials(
            family="NASDAQ100", symbol="NQ", dates=SPLIT.holdout, kind="grid", evaluations={"x": "ok"}
        )
        lab.ledger.record(trials, now=NOON)
        with pytest.raises(PromotionRefused, match="1 trials were made on NASDAQ100 within the hold-out"):
            promote(lab, request_for(tmp_path))

    @pytest.mark.parametrize(
        ("limits", "sentence"),
        [
            (LENIENT.model_copy(update={"min_dsr": 0.9999}), "trials without skill does as well"),
            (LENIENT.model_copy(update={"min_test_sharpe": 50.0}), "must be above 50"),
            (LENIENT.model_copy(update={"max_pbo": 0.0}), "fails out of sample with a probability"),
            (LENIENT.model_copy(update={"max_sharpe_gap": 1.0}), "falls by 2.00 from training"),
            (LENIENT.model_copy(update={"min_sharpe_ratio": 0.7}), "of the training Sharpe ratio"),
        ],
    )
    def test_each_limit_refuses_and_changes_nothing(
        self, lab: Lab, tmp_path: Path, limits: GateLimits, sentence: str
    ) -> None:
        lab.run(plan(limits=limits))
        if "training" in sentence:
            with lab.database.write() as connection:
                connection.execute(text("UPDATE run SET train_sharpe = test_sharpe + 2"))
        with pytest.raises(PromotionRefused, match=sentence):
            promote(lab, request_for(tmp_path))
        assert not (tmp_path / "strategies").exists()
        assert not (tmp_path / "LOG.md").exists()
        assert genealogy(lab) == []
        assert SPLIT.holdout is not None
        assert lab.ledger.looks("NASDAQ100", SPLIT.holdout) == []

    def test_a_losing_hold_out_refuses_after_the_look(self, lab: Lab, tmp_path: Path) -> None:
        def losing(config: Any, data: Any, span: Any) -> Any:
            found = dict(toy_backtest(config, data, span))
            assert SPLIT.holdout is not None
            return {**found, "sharpe": -1.0} if span.start == SPLIT.holdout.start else found

        losing_lab = replace(lab, backtest=losing)
        losing_lab.run(plan(limits=LENIENT.model_copy(update={"min_test_sharpe": 0.0})))
        with pytest.raises(PromotionRefused, match=r"hold-out Sharpe ratio on COMP is -1.00"):
            promote(losing_lab, request_for(tmp_path))
        assert not (tmp_path / "strategies").exists()
        assert SPLIT.holdout is not None
        assert len(lab.ledger.looks("NASDAQ100", SPLIT.holdout)) == 1

    def test_force_needs_a_reason_and_is_recorded(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=STRICT))
        with pytest.raises(ExperimentError, match="--force needs --reason"):
            promote(lab, request_for(tmp_path, force=True, reason="  "))
        done = promote(lab, request_for(tmp_path, force=True, reason="to see it live"))
        assert any("trials without skill does as well" in each for each in done.refusals)
        log = (tmp_path / "LOG.md").read_text()
        assert "- gate: forced: to see it live" in log
        assert "- overruled: the best of 6 trials without skill" in log
        assert genealogy(lab)[0].forced == "to see it live"

    def test_other_code_refuses(self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lab.run(plan(limits=LENIENT))
        monkeypatch.setattr(promotion, "code_of", lambda plan: "f" * 64)
        with pytest.raises(PromotionRefused, match="the code changed since the experiment"):
            promote(lab, request_for(tmp_path))

    def test_without_a_hold_out_the_log_says_so(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT, split=SPLIT.model_copy(update={"holdout": None})))
        promote(lab, request_for(tmp_path))
        assert "- hold-out: none was sealed" in (tmp_path / "LOG.md").read_text()

    def test_parent_and_grandparent(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT, split=SPLIT.model_copy(update={"holdout": None})))
        first = promote(lab, request_for(tmp_path))
        child = plan(
            limits=LENIENT, strategy=IbsConfig.load(first.path), parameters={"exit.low": (0.6, 0.7)},
            split=SPLIT.model_copy(update={"holdout": None}),
        )  # fmt: skip
        number = lab.run(child).id
        promote(lab, request_for(tmp_path, experiment=number, name="baseline_v3"))
        rows = genealogy(lab)
        assert [(row.strategy, row.parent, row.grandparent) for row in rows] == [
            ("baseline_v2", "baseline_v1", None),
            ("baseline_v3", "baseline_v2", "baseline_v1"),
        ]
        assert json.loads(rows[1].changes).keys() == {"exit.low"}
        assert "grandparent baseline_v1" in (tmp_path / "LOG.md").read_text()

    def test_names_are_never_overwritten(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT, split=SPLIT.model_copy(update={"holdout": None})))
        promote(lab, request_for(tmp_path))
        with pytest.raises(ExperimentError, match="never overwritten"):
            promote(lab, request_for(tmp_path))
        with pytest.raises(ExperimentError, match="use letters"):
            promote(lab, request_for(tmp_path, name="../v3"))

    def test_the_base_must_give_what_was_evaluated(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(plan(limits=LENIENT))
        base = plan().strategy
        for name, changes in (("same", {}), ("other", {"target": {"percent": 3.0}})):
            config = base.replaced(name=name, **changes)
            (tmp_path / f"{name}.yaml").write_text(config.to_yaml())
        with pytest.raises(ExperimentError, match="not the configuration that was evaluated"):
            promote(lab, request_for(tmp_path, base_strategy=tmp_path / "other.yaml"))
        promote(lab, request_for(tmp_path, base_strategy=tmp_path / "same.yaml"))
        assert genealogy(lab)[0].parent == "same"

    def test_selected_by_another_measure(self, lab: Lab, tmp_path: Path) -> None:
        record = lab.run(plan(limits=LENIENT, top=1))
        done = promote(lab, request_for(tmp_path, select_by="calmar"))
        best = ranking(lab.store, record, by="calmar")[0]
        assert done.entry.judgement.winner.variant == best.variant


class TestActual:
    @pytest.fixture
    def promoted(self, lab: Lab, tmp_path: Path) -> Path:
        lab.run(plan(limits=LENIENT, split=SPLIT.model_copy(update={"holdout": None})))
        return promote(lab, request_for(tmp_path)).path

    def run_folder(self, folder: Path, config_hash: str) -> Path:
        folder.mkdir()
        (folder / "metrics.json").write_text(
            json.dumps({"sharpe": 0.5, "cagr": None, "trades": 12, "net_profit": 1234.5})
        )
        provenance = {
            "config_hash": config_hash,
            "symbol": "ES",
            "first_bar": "2026-01-02T",
            "last_bar": "2026-06-30T",
        }
        (folder / "provenance.json").write_text(json.dumps(provenance))
        return folder

    def test_the_place_is_filled_in_once_then_lines_are_added(
        self, lab: Lab, promoted: Path, tmp_path: Path
    ) -> None:
        run = self.run_folder(tmp_path / "run", IbsConfig.load(promoted).config_hash)
        log = tmp_path / "LOG.md"
        measured = record_actual(lab, "baseline_v2", run, log)
        assert "Sharpe 0.50, CAGR undefined" in measured
        first = log.read_text()
        assert f"- actual impact (2026-01-02): {measured}" in first
        assert "not measured yet" not in first
        record_actual(lab, "baseline_v2", run, log)
        assert log.read_text().count("- actual impact (2026-01-02)") == 2

    def test_only_its_own_entry_changes(self, lab: Lab, promoted: Path, tmp_path: Path) -> None:
        log = tmp_path / "LOG.md"
        log.write_text(
            log.read_text() + "\n## baseline_v3 (2026-01-03)\n\n- actual impact: not measured yet\n"
        )
        run = self.run_folder(tmp_path / "run", IbsConfig.load(promoted).config_hash)
        record_actual(lab, "baseline_v2", run, log)
        assert log.read_text().endswith("## baseline_v3 (2026-01-03)\n\n- actual impact: not measured yet\n")

    def test_refusals(self, lab: Lab, promoted: Path, tmp_path: Path) -> None:
        log, config_hash = tmp_path / "LOG.md", IbsConfig.load(promoted).config_hash
        good = self.run_folder(tmp_path / "run", config_hash)
        other = self.run_folder(tmp_path / "other", "0" * 64)
        broken = self.run_folder(tmp_path / "broken", config_hash)
        (broken / "metrics.json").write_text("{")
        paper = tmp_path / "paper.db"
        paper.write_bytes(b"SQLite")
        for name, journal, message in (
            ("baseline_v9", good, "was never promoted"),
            ("baseline_v2", other, "was run with config 0000000000"),
            ("baseline_v2", broken, "is not valid JSON"),
            ("baseline_v2", paper, "is no run folder"),
            ("baseline_v2", tmp_path / "nowhere", "is not there"),
        ):
            with pytest.raises(ExperimentError, match=message):
                record_actual(lab, name, journal, log)
        with pytest.raises(ExperimentError, match="there is no strategy log"):
            record_actual(lab, "baseline_v2", good, tmp_path / "none.md")
        (tmp_path / "empty.md").write_text("# nothing\n")
        with pytest.raises(ExperimentError, match="has no entry of baseline_v2"):
            record_actual(lab, "baseline_v2", good, tmp_path / "empty.md")


def test_a_span_of_the_plan_is_a_pair_of_dates() -> None:
    assert DateRange.model_validate(["2020-01-01", "2020-02-01"]).model_dump() == ["2020-01-01", "2020-02-01"]
