"""Declared or adaptive follows from the order of the ledger, whatever anybody says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.comparison import compare
from research.experiments.declaration import declare, space_of, space_of_one
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.ledger.append_only import LinkRow, SpaceRow
from research.ledger.database import Database
from research.ledger.ledger import Derivation, Ledger, Trials
from research.ledger.tables import RUNNING
from support.experiments import BASELINE, NOON, plan, toy_lab

BASE = IbsConfig.load(BASELINE)
WIDE = {"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, 5)}


def declared(ledger: Ledger, what: Plan, number: int | None = None) -> Derivation:
    return declare(ledger, what, {"COMP": "NASDAQ"}, now=NOON, experiment_id=number)["COMP"]


def results(ledger: Ledger, names: str, number: int | None = None, **changes: Any) -> None:
    content = {
        "family": "NASDAQ", "symbol": "COMP", "dates": plan().split.searched, "kind": "grid",
        "evaluations": dict.fromkeys(names.split(), "ok"), "experiment_id": number, **changes,
    }  # fmt: skip
    ledger.record(Trials(**content), now=NOON)


def base(**changes: Any) -> IbsConfig:
    return BASE.replaced(**changes)


class TestSubset:
    """`contains` is exact: by the values of every field, not by how a grid file spells them."""

    @pytest.mark.parametrize(
        ("strategy", "parameters", "inside"),
        [
            (BASE, WIDE, True),
            (BASE, {"entry.high": (0.2,), "max_bars": (5,)}, True),
            (BASE, {"max_bars": (3, 5), "entry.high": (0.3, 0.1)}, True),
            (base(name="winner", entry=(BASE.entry[0], 0.2)), {"max_bars": (3, 5)}, True),
            (base(entry=(BASE.entry[0], 0.3), max_bars=5), {"max_bars": (5,)}, True),
            (BASE, {"entry": ([BASE.entry[0], 0.2],), "max_bars": (3,)}, True),
            (BASE, {"entry.high": (0.2,), "max_bars": (5.0,)}, True),
            # Around the winner, beside it, and what was never varied.
            (BASE, {"entry.high": (0.19, 0.2, 0.21), "max_bars": (5,)}, False),
            (BASE, {"entry.high": (0.2,), "max_bars": (4,)}, False),
            (base(max_bars=4), {"entry.high": (0.1, 0.2)}, False),
            (base(capital=BASE.capital * 2), WIDE, False),
            (BASE, {**WIDE, "exit.low": (0.7, 0.71)}, False),
        ],
    )
    def test_of_a_grid(self, strategy: IbsConfig, parameters: dict[str, Any], inside: bool) -> None:
        wide = space_of(plan(parameters=WIDE), "COMP")
        other = space_of(plan(strategy=strategy, parameters=parameters), "COMP")
        assert wide.contains(other) is inside

    def test_dates_and_symbol_are_part_of_it(self) -> None:
        wide = space_of(plan(), "COMP")
        split = {**plan().split.model_dump(), "validation": ["2012-02-01", "2012-12-31"]}
        assert not wide.contains(space_of(plan(split=split), "COMP"))
        assert not wide.contains(space_of(plan(walk_forward="1y/6m/6m"), "COMP"))
        assert not wide.contains(space_of(plan(), "SPY"))

    def test_of_a_sample_are_its_combinations_only(self) -> None:
        drawn = plan(sample=4, seed=3)
        space = space_of(drawn, "COMP")
        assert space.size == 4
        for number in range(drawn.space.size):
            places = drawn.space.places(number)
            values = {path: (drawn.space.values[path][place],) for path, place in places.items()}
            alone = space_of(plan(parameters=values), "COMP")
            assert space.contains(alone) is (number in drawn.numbers)
        assert not space.contains(space_of(plan(), "COMP"))
        assert space_of(plan(), "COMP").contains(space)

    def test_a_veto_is_another_question(self) -> None:
        dates = plan().split.searched
        plain = space_of_one(BASE, "COMP", dates, proposer="compare")
        assert plain.contains(plain)
        assert not plain.contains(space_of_one(BASE, "COMP", dates, proposer="compare", model="ab"))

    def test_what_is_written_is_read(self) -> None:
        space = space_of(plan(sample=3), "COMP")
        assert type(space).read(space.content) == space
        assert space.hash == space_of(plan(sample=3), "COMP").hash != space_of(plan(), "COMP").hash


class TestDerivation:
    def test_first_and_again(self, ledger: Ledger) -> None:
        assert declared(ledger, plan(), 1).kind == "declared"
        results(ledger, "a b c d e f", 1)
        assert declared(ledger, plan(), 2).kind == "declared"
        assert ledger.searched(1, "COMP").kind == "declared"

    def test_a_second_grid_around_the_winner_is_adaptive(self, ledger: Ledger) -> None:
        declared(ledger, plan(), 1)
        results(ledger, "a b c d e f", 1)
        found = declared(ledger, plan(parameters={"entry.high": (0.19, 0.2, 0.21)}), 2)
        assert found.kind == "adaptive"
        assert "after 6 results on NASDAQ" in found.reason
        # Declared now does not help: its first result cannot come before itself.
        results(ledger, "g h i", 2)
        assert ledger.searched(2, "COMP").kind == "adaptive"
        assert declared(ledger, plan(parameters={"entry.high": (0.2,)}), 3).kind == "adaptive"

    def test_the_winner_alone_counts_the_whole_space(self, ledger: Ledger) -> None:
        declared(ledger, plan())
        found = declared(ledger, plan(parameters={"entry.high": (0.2,), "max_bars": (5,)}), 1)
        assert (found.kind, found.unevaluated) == ("declared", 6)
        results(ledger, "a", 1)
        assert ledger.searched(1, "COMP").unevaluated == 5

    def test_everything_declared_counts_evaluated_or_not(self, ledger: Ledger) -> None:
        """A thousand spaces of one variant, opened one after the other, are no free search."""
        for value in (1, 2, 3, 4):
            declared(ledger, plan(parameters={"max_bars": (value,)}), value)
        results(ledger, "a", 1)
        assert ledger.searched(1, "COMP").unevaluated == 3
        results(ledger, "b", 2)
        assert ledger.searched(2, "COMP").unevaluated == 2

    def test_the_same_space_twice_counts_once(self, ledger: Ledger) -> None:
        declared(ledger, plan(), 1)
        declared(ledger, plan(parameters={"max_bars": (3, 5)}, strategy=base(entry=(0.0, 0.2))), 2)
        assert declared(ledger, plan(), 3).unevaluated == 6 + 2 * (BASE.entry[0] != 0.0)

    @pytest.mark.parametrize("kind", ["trial", "look"])
    @pytest.mark.parametrize(
        ("dates", "expected"),
        [
            (("2012-12-31", "2014-01-01"), "adaptive"),
            (("2013-01-01", "2014-01-01"), "declared"),
        ],
    )
    def test_any_result_over_the_dates_ends_it(
        self, ledger: Ledger, kind: str, dates: tuple[str, str], expected: str
    ) -> None:
        span = DateRange.of(*dates)
        if kind == "trial":
            results(ledger, "a", dates=span, kind="compare")
        else:
            ledger.look("NASDAQ", "COMP", span, purpose="by hand", now=NOON)
        assert declared(ledger, plan(), 1).kind == expected

    def test_other_families_do_not(self, ledger: Ledger) -> None:
        results(ledger, "a", family="GOLD", symbol="GC")
        assert declared(ledger, plan(), 1).kind == "declared"

    def test_without_a_space_it_is_adaptive(self, ledger: Ledger) -> None:
        results(ledger, "a", 1)
        assert ledger.searched(1, "COMP").kind == "adaptive"

    def test_a_search_that_learns_is_adaptive_even_as_the_first(self, ledger: Ledger) -> None:
        learner = replace(space_of(plan(), "COMP"), proposer="evolution", learns=True)
        dates = plan().split.searched
        assert ledger.declare(learner, "NASDAQ", dates, now=NOON, experiment_id=1).kind == "adaptive"
        # Nor does it declare anything for others.
        results(ledger, "a", 1)
        assert declared(ledger, plan(), 2).kind == "adaptive"

    def test_a_learner_within_what_was_declared_pays_for_all_of_it(self, ledger: Ledger) -> None:
        declared(ledger, plan())
        learner = replace(space_of(plan(), "COMP"), proposer="evolution", learns=True)
        found = ledger.declare(learner, "NASDAQ", plan().split.searched, now=NOON, experiment_id=1)
        assert (found.kind, found.unevaluated) == ("declared", 6)

    def test_a_space_of_later_dates_is_judged_by_its_own(self, ledger: Ledger) -> None:
        early = {"train": ["2010-01-04", "2010-12-31"], "validation": ["2011-01-03", "2011-12-30"]}
        late = {"train": ["2012-01-03", "2012-12-31"], "validation": ["2013-01-02", "2013-12-31"]}
        declared(ledger, plan(split=early), 1)
        results(ledger, "a", 1, dates=DateRange(start=date(2010, 1, 4), end=date(2011, 12, 30)))
        assert declared(ledger, plan(split=late), 2).kind == "declared"
        assert declared(ledger, plan(), 3).kind == "adaptive"


class TestProduct:
    """Whatever evaluates writes its space down first."""

    def test_a_search_declares_before_its_first_result(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        first = lab.run(plan())
        second = lab.run(plan(parameters={"max_bars": (2, 3)}))
        assert lab.ledger.searched(first.id, "COMP").kind == "declared"
        assert lab.ledger.searched(first.id, "COMP").unevaluated == 0
        assert lab.ledger.searched(second.id, "COMP").kind == "adaptive"
        with lab.database.read() as connection:
            order = list(connection.scalars(select(LinkRow.table_name).order_by(LinkRow.id)))
        # The first link names the ledger itself.
        assert order[1:].index("space") < order[1:].index("ledger")

    def test_an_interrupted_search_stays_what_it_was(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))

        class Interrupted(ExperimentListener):
            def stored(self, batch: object) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            lab.run(plan(symbols=("COMP", "SPX")), Interrupted())
        record = lab.resume(1)
        with lab.database.read() as connection:
            assert connection.scalar(select(func.count()).select_from(SpaceRow)) == 2
        assert {lab.ledger.searched(record.id, each).kind for each in ("COMP", "SPX")} == {"declared"}

    def test_one_that_is_interrupted_before_its_declaration_declares_at_resume(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        record = lab.run(plan())
        number = lab.store.create(
            **{
                "name": "later", "kind": "grid", "status": RUNNING, "plan": record.plan.model_dump_json(),
                "runs": record.runs, "code_hash": record.code_hash,
                "data_hashes": json.dumps(record.data_hashes), "config_hash": record.config_hash,
                "started": record.started, "seconds": 0.0, "bars": 0,
            }
        )  # fmt: skip
        assert lab.ledger.searched(number, "COMP").kind == "adaptive"
        lab.resume(number)
        assert lab.ledger.searched(number, "COMP").kind == "declared"

    def test_what_evaluated_a_strategy_says_which_days_are_not_out_of_sample(self, tmp_path: Path) -> None:
        """A search that evaluated it, under whatever name; neither its neighbours nor a comparison."""
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        other = base(name="mine", entry=(BASE.entry[0], 0.2), max_bars=5)
        assert lab.ledger.last_searched(other.config_hash) is None
        lab.run(plan())
        assert lab.ledger.last_searched(other.config_hash) == plan().split.searched.end
        assert lab.ledger.last_searched(base(max_bars=4).config_hash) is None
        compare(
            lab, (BASELINE, BASELINE), "COMP", start="2012-01-03", end="2012-03-30", data_dir=None,
            source=None,
        )  # fmt: skip
        assert lab.ledger.last_searched(BASE.config_hash) is None

    def test_comparisons_are_results(self, tmp_path: Path) -> None:
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
        compare(
            lab, (BASELINE, BASELINE), "COMP", start="2012-01-03", end="2012-03-30", data_dir=None,
            source=None,
        )  # fmt: skip
        family = lab.family("COMP")
        assert declare(lab.ledger, plan(), {"COMP": family}, now=NOON)["COMP"].kind == "adaptive"
