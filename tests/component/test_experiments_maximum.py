"""The maximum test from real sweeps to the verdict: noise, an edge, workers, copies, order, families."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from research.experiments import family_blocks, search
from research.experiments.analysis import Judgement
from research.experiments.execution import Lab
from research.experiments.family_blocks import FamilyOverfitting, Outline
from research.experiments.kept_returns import Residuals, residuals
from research.experiments.maximum_test import settle, settled
from research.experiments.plan import Plan
from research.experiments.selection import ranking
from research.experiments.service import judged, verified_ranking
from research.experiments.store import Record
from research.ledger.append_only import MaximumRow
from research.ledger.database import Database
from research.splits.ranges import Split
from research.statistics.maximum import z_of
from research.statistics.sharpe import SharpeSample
from research.sweep.residuals import residuals as swept_residuals
from research.sweep.run import sweep
from support.experiments import plan, toy_lab, toy_returns
from support.shuffled import ShuffledLab

LONG = Split.model_validate(
    {"train": ["2005-01-03", "2008-12-31"], "validation": ["2009-01-02", "2012-12-31"]}
)
GRID = {"entry.high": (0.1, 0.15, 0.2, 0.25, 0.3), "exit.low": (0.4, 0.5, 0.6, 0.7), "max_bars": (3, 5, 8)}
EDGE = 0.006


def planned(**changes: Any) -> Plan:
    return plan(**{"parameters": GRID, "split": LONG, "top": 1, **changes})


def database(folder: Path, name: str = "x") -> Database:
    return Database.open(f"sqlite:///{folder / name}.db")


def judgement(lab: Lab, record: Record) -> Judgement:
    return judged(lab, record, verified_ranking(lab, record, top=1)[0])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Record]:
    lab = ShuffledLab(database=database(tmp_path_factory.mktemp("noise")), seed=0)
    return lab, lab.run(planned())


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Record]:
    lab = ShuffledLab(database=database(tmp_path_factory.mktemp("edge")), seed=0, edge=EDGE)
    return lab, lab.run(planned())


class TestVerdict:
    def test_the_best_of_noise_is_refused(self, noise: tuple[Lab, Record]) -> None:
        found = judgement(*noise)
        assert found.evidence.p_value > 0.05
        assert "maximum test" in [check.name for check in found.verdict.refusals]
        assert found.symbols[0].maximum.survivors == 0

    def test_a_planted_edge_is_accepted(self, edge: tuple[Lab, Record]) -> None:
        found = judgement(*edge)
        assert found.verdict.passed, str(found.verdict)
        assert found.evidence.p_value <= 0.01
        assert found.symbols[0].maximum.survivors > 20
        assert found.symbols[0].timing_sharpe > 1.5

    def test_a_winner_that_is_not_the_best_is_judged_by_its_own_ratio(self, edge: tuple[Lab, Record]) -> None:
        """Chosen by another measure, or by a mean: whatever the best of the search reached is not its own."""
        lab, record = edge
        worst = ranking(lab.store, record)[-1]
        found = judged(lab, record, worst).symbols[0].maximum
        assert found.z < found.best
        assert found.p_value > judgement(lab, record).evidence.p_value
        best = Residuals.of(lab.store, record, "COMP")
        assert best is not None
        assert found.best == best.z.max()

    def test_sums_over_windows_are_those_of_the_returns(self, edge: tuple[Lab, Record]) -> None:
        """Ratio, error and maximum once more, from all residuals of all test windows in full."""
        lab, _ = edge
        record = lab.run(planned(walk_forward="4y/1y/1y", parameters={"entry.high": (0.1, 0.2, 0.3, 0.4)}))
        left = Residuals.of(lab.store, record, "COMP")
        assert left is not None
        data = lab.data(record.plan, "COMP")
        configs = [found for each in range(4) if (found := record.plan.space.variant(each).config)]
        full = np.concatenate(
            [
                swept_residuals(configs, data.history, "COMP", span=window.test)
                for window in record.plan.windows
            ]
        )
        assert len(record.plan.windows) == 4
        assert left.sessions == len(full)
        for place, column in enumerate(full.T):
            assert left.z[place] == pytest.approx(z_of(SharpeSample.of(column)), rel=1e-6)
            assert left.sample(place).skew == pytest.approx(SharpeSample.of(column).skew, rel=1e-4)
        (sketches,) = left.sketches(lab.store)
        products, cosines = sketches @ sketches.T, np.corrcoef(full.T)
        lengths = np.sqrt(np.diag(products))
        assert np.abs(products / np.outer(lengths, lengths) - cosines).max() < 4 / 16
        assert lengths == pytest.approx(np.sqrt(((full - full.mean(axis=0)) ** 2).sum(axis=0)), rel=0.3)


class TestLedger:
    def test_batches_and_workers_change_no_bit(
        self, noise: tuple[Lab, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "_BATCH", (7, 7))
        for jobs in (1, 2):
            lab = replace(
                noise[0],
                database=database(tmp_path, str(jobs)),
                evaluator=functools.partial(sweep, jobs=jobs, chunk=5),
            )
            record = lab.run(planned())
            mine, other = (settled(each.ledger, 1)["COMP"] for each in (lab, noise[0]))
            assert mine.draws == other.draws
            assert (mine.best, mine.survivors, mine.trials) == (other.best, other.survivors, other.trials)
            assert record.id == 1

    def test_it_is_written_once(self, noise: tuple[Lab, Record]) -> None:
        lab, record = noise
        settle(lab.store, lab.ledger, record, families={"COMP": "NASDAQ100"}, now=lab.now())
        with lab.database.read() as connection:
            assert len(connection.execute(select(MaximumRow.id)).all()) == 1

    def test_copies_cost_nothing_and_order_does_not_matter(self, tmp_path: Path) -> None:
        """Two different grids in both orders, and the first of them three times."""
        grids = [{"entry.high": (0.1, 0.15, 0.2, 0.25), "max_bars": (bars, bars + 1)} for bars in (3, 8)]
        found = []
        for name, order in (("forth", (0, 1)), ("back", (1, 0)), ("often", (0, 0, 1, 0))):
            lab = toy_lab(database(tmp_path, name))
            records = {place: lab.run(plan(parameters=grids[place])) for place in order}
            found.append(judged(lab, records[0], ranking(lab.store, records[0])[0]).symbols[0])
        alone = toy_lab(database(tmp_path, "alone"))
        record = alone.run(plan(parameters=grids[0]))
        first = judged(alone, record, ranking(alone.store, record)[0]).symbols[0]
        assert {each.maximum.p_value for each in found} == {found[0].maximum.p_value}
        assert found[0].maximum.p_value > first.maximum.p_value
        assert {each.overfitting.probability for each in found} == {found[0].overfitting.probability}
        assert {each.overfitting.variants for each in found} == {16}
        assert {each.counted for each in found} == {16}

    def test_another_family_does_not_count(self, tmp_path: Path) -> None:
        lab = toy_lab(database(tmp_path))
        record = lab.run(plan())
        alone = judgement(lab, record)
        lab.run(plan(symbols=("SPX",), parameters={"entry.high": (0.1, 0.2, 0.4, 0.5)}))
        after = judgement(lab, record)
        assert after.evidence.p_value == alone.evidence.p_value
        assert after.symbols[0].overfitting.variants == alone.symbols[0].overfitting.variants
        lab.run(plan(parameters={"entry.high": (0.4, 0.5)}))
        assert judgement(lab, record).evidence.p_value > alone.evidence.p_value

    def test_trials_without_a_maximum_count_by_their_number(
        self, edge: tuple[Lab, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A search that was killed is one: what it tried is in the ledger, and its end was not reached."""
        monkeypatch.setattr(search, "_BATCH", (20, 20))
        lab = replace(edge[0], database=database(tmp_path))
        record = lab.run(planned())
        alone = judgement(lab, record).symbols[0].maximum
        left = iter(range(2))

        def killed(*arguments: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return sweep(*arguments, **named)

        wide = {"entry.high": tuple(0.11 + step / 100 for step in range(20)), "exit.low": (0.45, 0.55)}
        with pytest.raises(KeyboardInterrupt):
            replace(lab, evaluator=killed).run(planned(parameters=wide))
        after = judgement(lab, record).symbols[0].maximum
        assert (alone.unsketched, after.unsketched) == (0, 20)
        expected = 1 - (1 - alone.p_value) * NormalDist().cdf(alone.z) ** after.unsketched
        assert after.p_value == pytest.approx(expected) != alone.p_value
        lab.resume(2)
        assert judgement(lab, record).symbols[0].maximum.unsketched == 0


class TestOverfitting:
    """Of the winner among all variants of the family on these dates, however they were searched."""

    HIGHS = tuple(0.05 + 0.01 * step for step in range(30))

    def measured(self, lab: Lab, record: Record) -> FamilyOverfitting:
        return judgement(lab, record).symbols[0].overfitting

    @pytest.mark.no_cover
    def test_many_small_searches_are_one(self, tmp_path: Path) -> None:
        """And the winner alone is the winner of all."""
        one, many = toy_lab(database(tmp_path, "one")), toy_lab(database(tmp_path, "many"))
        whole = self.measured(one, one.run(plan(parameters={"entry.high": self.HIGHS})))
        pieces = [
            many.run(plan(parameters={"entry.high": self.HIGHS[first : first + 3]}))
            for first in range(0, 30, 3)
        ]
        for each in pieces[:2]:
            found = self.measured(many, each)
            assert found.probability == whole.probability
            assert (found.variants, found.searches) == (30, 10)
        best = ranking(one.store, one.store.record(1))[0].parameters["entry.high"]
        again = one.run(plan(name="alone", parameters={"entry.high": (best,)}))
        found = self.measured(one, again)
        assert found.probability == whole.probability
        assert found.variants == 30
        apart = toy_lab(database(tmp_path, "apart"))
        (first, *_) = pieces
        control = self.measured(apart, apart.run(plan(parameters=first.plan.parameters)))
        assert control.probability != whole.probability, "a search that counts alone gets past it"

    def test_what_was_deleted_is_said_and_most_of_it_makes_it_unmeasured(self, tmp_path: Path) -> None:
        lab = toy_lab(database(tmp_path))
        large = lab.run(plan(parameters={"entry.high": self.HIGHS}))
        small = lab.run(plan(parameters={"max_bars": (2, 4, 6, 8)}))
        before = self.measured(lab, small)
        assert (before.gone, before.variants) == (0, 34)
        lab.store.delete(large.id)
        found = judgement(lab, small)
        assert found.symbols[0].overfitting.gone == 30
        assert found.evidence.pbo is None
        (refusal,) = (each for each in found.verdict.refusals if each.name == "PBO")
        assert refusal.sentence.endswith("the blocks of 30 trials are gone with their experiments")
        # Searched again, they are there again.
        lab.run(plan(parameters={"entry.high": self.HIGHS}))
        assert self.measured(lab, small).gone == 0
        assert self.measured(lab, small).probability == before.probability

    @pytest.mark.no_cover
    def test_blocks_are_joined_by_their_dates(self, edge: tuple[Lab, Record], tmp_path: Path) -> None:
        """One configuration on other ranges: between common dates it has earned the same."""
        lab = replace(edge[0], database=database(tmp_path))
        one = {"entry.high": (0.2,), "exit.low": (0.5,), "max_bars": (3, 5)}
        shifted = Split.model_validate(
            {"train": ["2005-09-14", "2009-03-18"], "validation": ["2009-03-19", "2012-12-31"]}
        )
        first = lab.run(planned(parameters=one))
        second = lab.run(planned(parameters=one, split=shifted))
        third = lab.run(planned(parameters=one, walk_forward="3y/1y/1y"))
        outlines = [
            found
            for each in (first, second, third)
            if (found := Outline.of(lab.store, each.id, each.plan, "COMP")) is not None
        ]
        chosen, edges = family_blocks._aligned(outlines[0], outlines[1:])
        assert len(chosen) == 3
        group = family_blocks._groups(chosen, edges)
        assert group is not None
        assert group.max() >= 7
        sums = []
        for each in chosen:
            moments, sessions = each.moments(lab.store, edges, group)
            assert sessions.tolist() == chosen[0].moments(lab.store, edges, group)[1].tolist()
            sums.append(moments[:, 0, 0])
        scale = np.abs(sums[0]).max()
        for each in sums[1:]:
            # A trade across the first day of a range is not there in the one that begins with it.
            assert np.median(np.abs(each - sums[0])) < 1e-6 * scale
            assert np.median(np.abs(np.roll(each, 1) - sums[0])) > 0.1 * scale
        assert self.measured(lab, second).searches == 3

    def test_a_search_that_merely_touches_these_dates_is_told_apart(self, tmp_path: Path) -> None:
        lab = toy_lab(database(tmp_path))
        record = lab.run(plan())
        alone = self.measured(lab, record)
        later = Split.model_validate(
            {"train": ["2012-06-01", "2012-12-31"], "validation": ["2013-01-02", "2014-12-31"]}
        )
        lab.run(plan(split=later))
        found = self.measured(lab, record)
        assert (found.apart, found.searches) == (6, 1)
        assert found.probability == alone.probability
        assert judgement(lab, record).evidence.trials == 12

    def test_searches_that_are_ranked_among_the_same_divide_them_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab, divided = toy_lab(database(tmp_path)), list[int]()
        divide = family_blocks.overfitting

        def counted(moments: Any, *, most: int) -> Any:
            divided.append(moments.trials)
            return divide(moments, most=most)

        monkeypatch.setattr(family_blocks, "overfitting", counted)
        monkeypatch.setattr(family_blocks, "_known", {})
        first = lab.run(plan(parameters={"entry.high": self.HIGHS}))
        second = lab.run(plan(parameters={"max_bars": (2, 4, 6, 8)}))
        found = [self.measured(lab, each) for each in (first, second)]
        assert divided == [34]
        assert found[0].found is found[1].found
        monkeypatch.setattr(family_blocks, "_known", {})
        assert self.measured(lab, second).probability == found[0].probability
        lab.run(plan(parameters={"max_bars": (11, 12)}))
        assert self.measured(lab, first).variants == 36
        assert divided == [34, 34, 36]

    def test_very_many_are_thinned_evenly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lab = toy_lab(database(tmp_path))
        record = lab.run(plan(parameters={"entry.high": self.HIGHS}))
        whole = self.measured(lab, record)
        monkeypatch.setattr(family_blocks, "_MOST", 10)
        found = self.measured(lab, record)
        assert (whole.variants, found.variants) == (30, 10)
        assert found.probability is not None


def test_rows_of_an_earlier_version_load_and_are_not_tested(tmp_path: Path) -> None:
    """They have no residuals and no dates: the search is shown, and refused until it is run again."""
    lab = toy_lab(database(tmp_path))
    record = lab.run(plan())
    before = judgement(lab, record)
    empty = ", ".join(f"{name} = NULL" for name in ("lengths", "ones", "timing", "calendar"))
    with lab.database.write() as connection:
        connection.execute(text(f"UPDATE returns SET {empty}, sketch = substr(sketch, 1, 6 * 256)"))
    found = judgement(lab, record)
    assert found.symbols[0].timing is None
    assert np.isnan(found.evidence.p_value)
    assert "maximum test was not measured" in str(found.verdict)
    assert found.evidence.pbo == pytest.approx(before.evidence.pbo or 0.0, abs=0.2)
    newer = lab.run(plan(parameters={"entry.high": (0.4, 0.5)}))
    assert judgement(lab, newer).symbols[0].overfitting.apart == 6


def test_several_symbols_and_their_portfolio(tmp_path: Path) -> None:
    """The worst symbol decides; beside it stands the mean of both, as exact sums over dates have it."""
    lab = toy_lab(database(tmp_path))
    record = lab.run(plan(symbols=("COMP", "SPX")))
    found = judgement(lab, record)
    assert found.evidence.p_value == max(each.maximum.p_value for each in found.symbols)
    assert found.portfolio is not None
    both = residuals(lab.store, record, ("COMP", "SPX"))
    assert both is not None
    config = record.plan.space.variant(found.winner.variant).config
    assert config is not None
    span = record.plan.split.validation
    series = [toy_returns(config, symbol, span, both[0].sessions) for symbol in ("COMP", "SPX")]
    exact = SharpeSample.of(np.mean(series, axis=0))
    assert found.portfolio.z == pytest.approx(exact.ratio / (1 / np.sqrt(exact.periods - 1)), rel=0.15)
    assert 0 < found.portfolio.p_value <= 1
    with lab.database.read() as connection:
        names = set(connection.scalars(select(MaximumRow.family)))
    assert names == {"NASDAQ100", "SP500", "NASDAQ100+SP500"}
