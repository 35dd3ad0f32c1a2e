"""The verdict on an experiment, and the second opinions that `--why` tells."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import insert

from lockstep.market.history import SeriesKey
from research.experiments import diagnostics
from research.experiments.diagnostics import opinion_on_search, opinion_on_winner
from research.experiments.execution import Lab
from research.experiments.report import page_data, page_html
from research.experiments.service import diagnosed, judged, verified_ranking
from research.experiments.store import Record
from research.experiments.why import SEALED, conclude, verdict_on, was_promoted
from research.ledger.database import Database
from research.ledger.tables import Genealogy
from research.statistics.verdict import WORDS
from research.sweep.residuals import residuals
from research.sweep.run import sweep
from support.experiments import NOON, plan, toy_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("why")
    return toy_lab(Database.open(f"sqlite:///{folder / 'experiments.db'}"))


@pytest.fixture(scope="module")
def record(lab: Lab) -> Record:
    return lab.run(plan(parameters={"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, 4, 5, 6)}))


def concluded(lab: Lab, record: Record, *, why: bool) -> str:
    stream = StringIO()
    ranked = verified_ranking(lab, record)
    conclude(Console(file=stream, width=160), lab, record, ranked, None, why=why)
    return stream.getvalue()


def test_the_console_gets_one_word_and_one_reason(lab: Lab, record: Record) -> None:
    (line,) = concluded(lab, record, why=False).splitlines()
    word, _, reason = line.partition(": ")
    assert word in WORDS
    assert reason
    assert str(verdict_on(record, judged(lab, record, verified_ranking(lab, record)[0]))) == line


def test_why_tells_every_check_and_the_second_opinions(lab: Lab, record: Record) -> None:
    text = concluded(lab, record, why=True)
    found = judged(lab, record, verified_ranking(lab, record)[0])
    for check in found.verdict.checks:
        assert f"{check.name}: " in text
    for name in (
        "the same with autocorrelation", "minimum track record", "minimum backtest length",
        "in one order of twenty", "SPA against the market", "reality check", "trials that beat it",
        "p Holm", "false discovery rate",
    ):  # fmt: skip
        assert name in text
    assert text.splitlines()[-1] == concluded(lab, record, why=False).strip()


def test_the_page_says_the_same(lab: Lab, record: Record) -> None:
    data = page_data(lab, record)
    text = page_html(data)
    assert f"<b>{data.verdict}</b>" in text
    assert all(each.search is not None and each.winner is not None for each in data.opinions)
    assert "The best against COMP held" in text


def test_of_changed_code_only_the_record_that_was_kept_is_told(tmp_path: Path) -> None:
    lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
    record = lab.run(plan())
    lab.store.update(record.id, code_hash="0" * 64)
    earlier = lab.store.record(record.id)
    ranked = verified_ranking(lab, earlier)
    (found,) = diagnosed(lab, earlier, ranked, judged(lab, earlier, ranked[0]))
    assert found.search is None
    assert "run the search anew" in found.unknown
    assert found.winner is not None
    assert found.winner.orders is None
    assert "the trials were not run again" in concluded(lab, earlier, why=True)


def test_too_many_returns_are_left_to_the_maximum_test(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "CELLS", 2_000)
    ranked = verified_ranking(lab, record)
    (found,) = diagnosed(lab, record, ranked, judged(lab, record, ranked[0]))
    assert found.search is None
    assert "12 trials are" in found.unknown
    assert "the maximum test asks the same" in found.unknown


def test_a_promotion_by_force_is_none(tmp_path: Path) -> None:
    lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
    record = lab.run(plan())
    winner = verified_ranking(lab, record)[0]
    config = record.plan.space.variant(winner.variant).config
    assert config is not None

    def promote(forced: str | None) -> None:
        values: dict[str, Any] = {
            "strategy": "next", "config_hash": config.config_hash, "parent": "baseline_v1",
            "parent_hash": "0", "grandparent": None, "experiment_id": record.id, "changes": "{}",
            "forced": forced,
            "promoted": NOON.isoformat(),
        }  # fmt: skip
        with lab.database.write() as connection:
            connection.execute(insert(Genealogy).values(**values))

    assert not was_promoted(lab, record, winner)
    promote("because I say so")
    assert not was_promoted(lab, record, winner)
    promote(None)
    assert was_promoted(lab, record, winner)


def test_before_promotion_the_reason_is_the_sealed_hold_out(lab: Lab, record: Record) -> None:
    found = judged(lab, record, verified_ranking(lab, record)[0])
    passing = type(found.verdict)(checks=tuple(each for each in found.verdict.checks if each.passed))
    lucky = type(found)(
        winner=found.winner, walk_forward={}, symbols=found.symbols, verdict=passing,
        evidence=type(found.evidence)(**{**vars(found.evidence), "p_value": 0.001}),
    )  # fmt: skip
    assert verdict_on(record, lucky).reason == SEALED
    assert verdict_on(record, lucky, promoted=True).word == "promoted"


def planted(edge: float, seed: int = 3, sessions: int = 500, trials: int = 40) -> Any:
    returns = np.random.default_rng(seed).normal(0.0, 0.01, (sessions, trials))
    returns[:, 7] += edge
    return returns


@pytest.mark.no_cover
def test_a_planted_edge_is_found_by_every_test_and_noise_by_none() -> None:
    arguments: dict[str, Any] = {"counted": 40, "per_year": 252.0}
    good = opinion_on_search(planted(0.0025), range(40), [7, 3], **arguments)
    noise = opinion_on_search(planted(0.0), range(40), [7, 3], **arguments)
    assert good.spa < 0.01
    assert good.superior == 1
    assert good.best[0].timing > 2
    first, second = good.best
    assert max(first.alone, first.holm, first.rate, first.step_down) < 0.01
    assert min(second.holm, second.step_down) > 0.05
    assert noise.spa > 0.05
    assert noise.superior == 0
    # Trials that the ledger counts and that were not run again count, too.
    more = opinion_on_search(planted(0.0025), range(40), [7], counted=40_000, per_year=252.0)
    assert more.best[0].holm == pytest.approx(1_000 * first.holm)
    assert more.best[0].step_down == first.step_down


def test_a_record_is_measured_with_what_it_needs(lab: Lab, record: Record) -> None:
    account = verified_ranking(lab, record)[0].accounts["COMP"]
    found = opinion_on_winner(account, np.array([5.0, -3.0, 4.0]), independent=10.0, per_year=252.0)
    assert found is not None
    assert found.orders is not None
    assert found.years == pytest.approx(account.days.size / 252.0)
    more = opinion_on_winner(account, None, independent=1_000.0, per_year=252.0)
    assert more is not None
    assert more.orders is None
    assert more.backtest > found.backtest or math.isinf(found.backtest)


def test_residuals_in_full_are_those_that_the_sweep_sums_up(lab: Lab, record: Record) -> None:
    """Their sums and squares by block are the sweep's, whatever the number of sessions is to 256."""
    data, plan_ = lab.data(record.plan, "COMP"), record.plan
    configs = [each.config for number in plan_.numbers if (each := plan_.space.variant(number)).config]
    span = plan_.split.searched
    found = residuals(configs, data.history, "COMP", span=span)
    whole = sweep(configs, data.history, "COMP", span=span)
    rows = span.select(data.history.series(SeriesKey("COMP", configs[0].bars)), data.history.markets["COMP"])
    assert found.shape == (rows.stop - rows.start, len(configs))
    assert len(found) % 256
    np.testing.assert_allclose(found.sum(axis=0), whole.timing[:, 0], atol=1e-12)
    np.testing.assert_allclose((found**2).sum(axis=0), whole.timing[:, 1], atol=1e-12)
    np.testing.assert_allclose((found**4).sum(axis=0), whole.timing[:, 3], atol=1e-12)
