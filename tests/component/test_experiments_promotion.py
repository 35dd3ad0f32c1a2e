"""Promotion, strategy log, actual impact: what is refused, what is written, what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from lockstep.errors import ExperimentError, PromotionRefused
from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments import law, promotion
from research.experiments.execution import Lab
from research.experiments.progress import ExperimentListener
from research.experiments.promotion import PromotionRequest, holdout_refusals, promote
from research.experiments.realised import record_actual
from research.experiments.selection import ranking
from research.ledger import promotions
from research.ledger.append_only import LawRow, LookRow, VerdictRow
from research.ledger.database import Database
from research.ledger.ledger import Trials
from research.ledger.tables import Genealogy
from research.statistics.gate import GateLimits
from research.statistics.verdict import WORDS
from support.experiments import NOON, SKILLED, SPLIT, plan, skilled, toy_backtest, toy_lab

SHIPPED = GateLimits()
LOOSE = GateLimits(max_sharpe_gap=99, min_sharpe_ratio=0, min_test_sharpe=-99, max_pbo=1, min_dsr=1e-9)
OPEN = SPLIT.model_copy(update={"holdout": None})
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


def verdicts(lab: Lab) -> list[Any]:
    with lab.database.read() as connection:
        return list(connection.execute(select(VerdictRow.__table__).order_by(VerdictRow.id)).all())


def opened_with(**measures: float) -> Any:
    """Return an engine whose hold-out has these measures."""

    def found(config: Any, data: Any, span: Any) -> Any:
        assert SPLIT.holdout is not None
        measured = dict(toy_backtest(config, data, span))
        return measured | measures if span.start == SPLIT.holdout.start else measured

    return found


class TestPromotion:
    def test_a_winner_within_the_limits(self, lab: Lab, tmp_path: Path) -> None:
        record = lab.run(skilled())
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
            "verdict: promoted: it kept to everything that a promotion asks",
            "gate: passed",
            "Sharpe +0.2",
        ):
            assert f"# {line}" in text or line in text
            assert line in log
        assert "## baseline_v2 (2026-01-02)" in log
        assert "- actual impact: not measured yet" in log
        assert f"# code {record.code_hash}" in text

    def test_a_refusal_is_a_word_and_a_reason_and_force_does_not_change_it(
        self, lab: Lab, tmp_path: Path
    ) -> None:
        lab.run(plan(limits=STRICT, split=OPEN))
        with pytest.raises(PromotionRefused) as refused:
            promote(lab, request_for(tmp_path))
        assert "there is no hold-out" in str(refused.value)
        assert "there is no hold-out" not in refused.value.short
        word, _, reason = refused.value.short.partition(" is refused: ")[2].partition(": ")
        assert word in WORDS[:3]
        assert reason
        assert "; --why has " in reason
        done = promote(lab, request_for(tmp_path, force=True, reason="to see it"))
        assert done.entry.verdict.word == word
        assert f"- verdict: {word}: " in (tmp_path / "LOG.md").read_text()

    def test_the_hold_out_is_opened_once_and_counted(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        assert SPLIT.holdout is not None
        assert lab.ledger.looks("NASDAQ100", SPLIT.holdout) == []
        promote(lab, request_for(tmp_path))
        (look,) = lab.ledger.looks("NASDAQ100", SPLIT.holdout)
        assert (look.purpose, look.experiment_id) == ("promotion of baseline_v2", 1)
        with pytest.raises(
            PromotionRefused, match=r"was opened once before .2026-01-02 for promotion of baseline_v2."
        ):
            promote(lab, request_for(tmp_path, name="baseline_v3"))
        assert len(lab.ledger.looks("NASDAQ100", SPLIT.holdout)) == 1

    def test_a_look_through_another_symbol_of_the_family_is_a_look(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        assert SPLIT.holdout is not None
        lab.ledger.look(lab.family("NQ"), "NQ", SPLIT.holdout, purpose="curiosity", now=NOON)
        with pytest.raises(PromotionRefused, match="2026-01-02 for curiosity"):
            promote(lab, request_for(tmp_path))

    def test_trials_within_the_hold_out_are_looks_too(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
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
            (SHIPPED.model_copy(update={"min_dsr": 0.9999}), "trials without skill does as well"),
            (SHIPPED.model_copy(update={"min_test_sharpe": 50.0}), "must be above 50"),
            (SHIPPED.model_copy(update={"max_pbo": 0.0}), "fails out of sample with a probability"),
            (SHIPPED.model_copy(update={"max_sharpe_gap": 1.0}), "falls by 6.35 from training"),
            (SHIPPED.model_copy(update={"min_sharpe_ratio": 0.7}), "keeps 50% of the training Sharpe ratio"),
        ],
    )
    def test_each_limit_refuses_and_changes_nothing(
        self, lab: Lab, tmp_path: Path, limits: GateLimits, sentence: str
    ) -> None:
        lab.run((plan if limits.min_dsr > SHIPPED.min_dsr else skilled)(limits=limits))
        if "training" in sentence:
            with lab.database.write() as connection:
                connection.execute(text("UPDATE run SET train_sharpe = 2 * test_sharpe"))
        with pytest.raises(PromotionRefused, match=sentence):
            promote(lab, request_for(tmp_path))
        assert not (tmp_path / "strategies").exists()
        assert not (tmp_path / "LOG.md").exists()
        assert genealogy(lab) == []
        assert SPLIT.holdout is not None
        assert lab.ledger.looks("NASDAQ100", SPLIT.holdout) == []
        (verdict,) = verdicts(lab)
        assert (verdict.kind, verdict.subject) == ("refused", "baseline_v2")
        assert GateLimits.model_validate_json(verdict.limits) == limits
        assert sentence in verdict.refusals

    def test_a_losing_hold_out_refuses_after_the_look(self, lab: Lab, tmp_path: Path) -> None:
        def losing(config: Any, data: Any, span: Any) -> Any:
            found = dict(toy_backtest(config, data, span))
            assert SPLIT.holdout is not None
            return {**found, "sharpe": -1.0} if span.start == SPLIT.holdout.start else found

        losing_lab = replace(lab, backtest=losing)
        losing_lab.run(skilled())
        with pytest.raises(PromotionRefused, match=r"hold-out Sharpe ratio on COMP is -1.00"):
            promote(losing_lab, request_for(tmp_path))
        assert not (tmp_path / "strategies").exists()
        assert SPLIT.holdout is not None
        assert len(lab.ledger.looks("NASDAQ100", SPLIT.holdout)) == 1

    def test_a_hold_out_that_only_drifts_refuses_after_the_look(self, lab: Lab, tmp_path: Path) -> None:
        drifting = replace(lab, backtest=opened_with(sharpe=1.5, timing_sharpe=-0.2, timing_p=0.7))
        drifting.run(skilled())
        with pytest.raises(PromotionRefused, match=r"timing Sharpe ratio on COMP, .* is -0.20"):
            promote(drifting, request_for(tmp_path))

    @pytest.mark.parametrize(("p_value", "passed"), [(0.001, True), (0.04, False)])
    def test_a_search_that_learned_waits_for_the_hold_out(
        self, lab: Lab, tmp_path: Path, p_value: float, passed: bool
    ) -> None:
        """Drawn around the first one's winner: its own test range proves nothing any more."""
        opened = replace(lab, backtest=opened_with(sharpe=1.5, timing_sharpe=1.4, timing_p=p_value))
        opened.run(skilled())
        record = opened.run(skilled(parameters={"entry.high": (0.19, 0.2, 0.21), "max_bars": (SKILLED,)}))
        request = request_for(tmp_path, experiment=record.id)
        if passed:
            done = promote(opened, request)
            assert done.entry.judgement.evidence.searched == "adaptive"
            assert "the search learned from earlier results" in (tmp_path / "LOG.md").read_text()
            return
        with pytest.raises(PromotionRefused, match="look 1 at the hold-out: noise does as well"):
            promote(opened, request)
        assert SPLIT.holdout is not None
        assert len(lab.ledger.looks("NASDAQ100", SPLIT.holdout)) == 1

    def test_a_later_look_has_less_to_spend(self, lab: Lab, tmp_path: Path) -> None:
        record = lab.run(skilled())
        measures = {"COMP": {"sharpe": 1.0, "timing_sharpe": 1.0, "timing_p": 0.01}}
        assert [*holdout_refusals(record, measures)] == []
        assert [*holdout_refusals(record, measures, 1)] == []
        (found,) = holdout_refusals(record, measures, 2)
        assert "look 2 at the hold-out of COMP" in found
        assert [*holdout_refusals(record, {"COMP": {**measures["COMP"], "timing_p": 0.005}}, 2)] == []

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
        lab.run(skilled())
        monkeypatch.setattr(promotion, "code_of", lambda plan: "f" * 64)
        with pytest.raises(PromotionRefused, match="the code changed since the experiment"):
            promote(lab, request_for(tmp_path))

    def test_without_a_hold_out_it_takes_force_and_the_log_says_so(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled(split=OPEN))
        with pytest.raises(PromotionRefused, match="there is no hold-out"):
            promote(lab, request_for(tmp_path))
        promote(lab, request_for(tmp_path, force=True, reason="the bars are few"))
        log = (tmp_path / "LOG.md").read_text()
        assert "- hold-out: none was sealed" in log
        assert "- gate: forced: the bars are few" in log

    def test_parent_and_grandparent(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        first = promote(lab, request_for(tmp_path))
        child = skilled(strategy=IbsConfig.load(first.path), parameters={"exit.low": (0.6, 0.7)})
        number = lab.run(child).id
        third = request_for(tmp_path, experiment=number, name="baseline_v3", force=True, reason="a child")
        promote(lab, third)
        rows = genealogy(lab)
        assert [(row.strategy, row.parent, row.grandparent) for row in rows] == [
            ("baseline_v2", "baseline_v1", None),
            ("baseline_v3", "baseline_v2", "baseline_v1"),
        ]
        assert json.loads(rows[1].changes).keys() == {"exit.low"}
        assert "grandparent baseline_v1" in (tmp_path / "LOG.md").read_text()

    def test_names_are_never_overwritten(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        promote(lab, request_for(tmp_path))
        with pytest.raises(ExperimentError, match="never overwritten"):
            promote(lab, request_for(tmp_path))
        with pytest.raises(ExperimentError, match="use letters"):
            promote(lab, request_for(tmp_path, name="../v3"))

    def test_the_base_must_give_what_was_evaluated(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        base = plan().strategy
        for name, changes in (("same", {}), ("other", {"target": {"percent": 3.0}})):
            config = base.replaced(name=name, **changes)
            (tmp_path / f"{name}.yaml").write_text(config.to_yaml())
        with pytest.raises(ExperimentError, match="not the configuration that was evaluated"):
            promote(lab, request_for(tmp_path, base_strategy=tmp_path / "other.yaml"))
        promote(lab, request_for(tmp_path, base_strategy=tmp_path / "same.yaml"))
        assert genealogy(lab)[0].parent == "same"

    def test_selected_by_another_measure(self, lab: Lab, tmp_path: Path) -> None:
        record = lab.run(skilled(top=1))
        done = promote(lab, request_for(tmp_path, select_by="calmar"))
        best = ranking(lab.store, record, by="calmar")[0]
        assert done.entry.judgement.winner.variant == best.variant


class Heard(ExperimentListener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_every_limit_is_one_that_can_be_told_to_be_looser() -> None:
    tighter = GateLimits(
        max_sharpe_gap=0.5, min_sharpe_ratio=0.8, min_test_sharpe=0.1, max_pbo=0.4, min_dsr=0.99
    )
    names = list(GateLimits.model_fields)
    assert [each.split()[0] for each in law.loosened(LOOSE)] == names
    assert [each.split()[0] for each in law.loosened(SHIPPED, tighter)] == names
    assert law.loosened(tighter) == law.loosened(SHIPPED) == ()
    for name in names:
        one = SHIPPED.model_copy(update={name: getattr(LOOSE, name)})
        assert [each.split()[0] for each in law.loosened(one)] == [name]


class TestTheLaw:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"limits": LOOSE}, "looser than those that are shipped: max_sharpe_gap 99 instead of 1, min_"),
            ({"split": OPEN}, "there is no hold-out: no date was kept from the search"),
            (
                {"split": {**SPLIT.model_dump(), "holdout": ["2013-01-02", "2013-01-31"]}},
                "has 30 days; at least 90 are needed",
            ),
        ],
    )
    def test_a_search_outside_it_is_told_at_once_and_promoted_by_force_alone(
        self, lab: Lab, tmp_path: Path, changes: dict[str, Any], sentence: str
    ) -> None:
        heard = Heard()
        record = lab.run(skilled(**changes), heard)
        (note,) = heard.notes
        assert sentence in note
        assert "will need --force and --reason" in note
        with pytest.raises(PromotionRefused, match=sentence):
            promote(lab, request_for(tmp_path))
        done = promote(lab, request_for(tmp_path, force=True, reason="to see"))
        assert [sentence in each for each in done.refusals].count(True) == 1
        log, file = (tmp_path / "LOG.md").read_text(), done.path.read_text()
        for line in (f"limits: {law.spelled_limits(record.plan.limits)}", "gate: forced: to see"):
            assert f"- {line}\n" in log
            assert f"# {line}\n" in file
        assert "- earlier attempts: refused once on NASDAQ100, last baseline_v2 on 2026-01-02: " in log
        assert [each.kind for each in verdicts(lab)] == ["refused", "forced"]
        assert verdicts(lab)[1].reason == "to see"

    def test_within_it_nothing_is_said_and_the_limits_stand_beside_the_verdict(
        self, lab: Lab, tmp_path: Path
    ) -> None:
        heard = Heard()
        lab.run(skilled(), heard)
        assert heard.notes == []
        done = promote(lab, request_for(tmp_path))
        spelled = "max_sharpe_gap 1, min_sharpe_ratio 0.7, min_test_sharpe 0, max_pbo 0.5, min_dsr 0.95"
        assert f"- limits: {spelled}; as shipped\n" in (tmp_path / "LOG.md").read_text()
        assert f"# limits: {spelled}; as shipped\n" in done.path.read_text()
        assert [each.kind for each in verdicts(lab)] == ["promoted"]
        assert "earlier attempts" not in (tmp_path / "LOG.md").read_text()

    def test_what_the_first_search_agreed_to_holds_for_the_next(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled(limits=SHIPPED.model_copy(update={"min_test_sharpe": 0.5})))
        heard = Heard()
        shorter = {**SPLIT.model_dump(), "holdout": ["2013-06-03", "2013-12-31"]}
        lab.run(skilled(name="second", symbols=("COMP",), split=shorter), heard)
        first = "the first search (experiment 1), 2026-01-02,"
        assert (
            f"looser than those of {first} on NASDAQ100: min_test_sharpe 0 instead of 0.5" in heard.notes[0]
        )
        assert f"has 212 days; {first} on NASDAQ100 sealed 364, 2013-01-02 to 2013-12-31" in heard.notes[0]
        with pytest.raises(PromotionRefused, match=r"min_test_sharpe 0 instead of 0\.5"):
            promote(lab, request_for(tmp_path, experiment=2))
        promote(lab, request_for(tmp_path))

    def test_dates_that_no_search_saw_are_free(self, lab: Lab) -> None:
        lab.run(skilled(limits=SHIPPED.model_copy(update={"min_test_sharpe": 0.5})))
        later = {
            "train": ["2014-01-02", "2014-12-31"],
            "validation": ["2015-01-02", "2015-12-31"],
            "holdout": ["2016-01-04", "2016-12-30"],
        }
        heard = Heard()
        lab.run(skilled(split=later), heard)
        assert heard.notes == []

    def test_a_resumed_search_has_one_law(self, lab: Lab) -> None:
        class Interrupted(ExperimentListener):
            def begin(self, total: int, done: int) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            lab.run(skilled(), Interrupted())
        heard = Heard()
        lab.resume(1, heard)
        assert heard.notes == []
        with lab.database.read() as connection:
            rows = connection.execute(select(LawRow.__table__)).all()
        assert [(row.family, row.holdout_first, row.experiment_id) for row in rows] == [
            ("NASDAQ100", date(2013, 1, 2), 1)
        ]


class TestStamps:
    def test_the_next_promotion_finds_the_ledger_of_the_last_one(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        done = promote(lab, request_for(tmp_path))
        (in_log,) = promotions.stamps_in((tmp_path / "LOG.md").read_text())
        assert promotions.stamps_in(done.path.read_text()) == [in_log]
        assert in_log == promotions.stamp_of(lab.ledger)
        assert in_log.trials == 3
        with lab.database.write() as connection:
            lab.ledger.append(connection, LookRow, [LOOK])
        written = promotions.of_strategies(tmp_path / "LOG.md", tmp_path / "strategies")
        assert promotions.faults(lab.ledger, written) == ()

    def test_another_ledger_is_seen_by_the_log_and_by_the_files_alone(self, lab: Lab, tmp_path: Path) -> None:
        lab.run(skilled())
        promote(lab, request_for(tmp_path))
        other = toy_lab(Database.open(f"sqlite:///{tmp_path / 'fresh.db'}"))
        other.run(skilled())
        again = request_for(tmp_path, name="baseline_v3")
        with pytest.raises(PromotionRefused, match=r"LOG.md, baseline_v2: this is another ledger"):
            promote(other, again)
        (tmp_path / "LOG.md").unlink()
        with pytest.raises(PromotionRefused, match=r"baseline_v2.yaml: this is another ledger"):
            promote(other, again)
        forced = replace(again, force=True, reason="the disk died")
        promote(other, forced)
        assert "- overruled: " in (tmp_path / "LOG.md").read_text()
        # From here on the new ledger is the one that the log knows; the old file stays as it was.
        assert [each.where.rsplit("/")[-1] for each in promotions.of_strategies(again.log, again.folder)] == [
            "LOG.md, baseline_v3", "baseline_v2.yaml",
        ]  # fmt: skip


LOOK = {
    "family": "GC", "symbol": "GC", "first_date": date(2020, 1, 1), "last_date": date(2020, 2, 1),
    "experiment_id": None, "purpose": "a test", "recorded": "2026-01-02T12:00:00+00:00",
}  # fmt: skip


class TestActual:
    @pytest.fixture
    def promoted(self, lab: Lab, tmp_path: Path) -> Path:
        lab.run(skilled())
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
