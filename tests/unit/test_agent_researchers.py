"""Our researchers: what they may propose, that they forget nothing and remember nothing, what they find."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import NoProposal
from lockstep.strategy.families.rules import RulesConfig
from research.agents.archive import elites, open_niches
from research.agents.proposal import (
    CatalogueEntry,
    KnownModel,
    Niche,
    Proposal,
    ResearchContext,
    Researcher,
    StrategyKind,
    Trial,
)
from research.agents.researchers.board import Board, kind_of
from research.agents.researchers.drafts import (
    HOLDS,
    STOPS,
    Draft,
    EntryTest,
    Ladders,
    drawn,
    neighbours,
    rounded,
)
from research.agents.researchers.evolve import EvolveResearcher
from research.agents.researchers.random import RandomResearcher
from research.agents.researchers.screen import ScreenResearcher
from research.agents.researchers.tpe import TpeResearcher
from research.zoo.model_spec import ModelSpec
from support.landscapes import catalogue, measures, session, trial_of

RESEARCHERS: list[Researcher] = [
    ScreenResearcher(), EvolveResearcher(), EvolveResearcher(archive=True), TpeResearcher(),
    RandomResearcher(),
]  # fmt: skip
NAMES = ["screen", "evolve", "map-elites", "tpe", "random"]
KINDS: list[StrategyKind] = ["technical", "hybrid", "ml"]
EACH = pytest.mark.parametrize("researcher", RESEARCHERS, ids=NAMES)


def flat(draft: Draft) -> float:
    return 0.0


def mixed(number: int) -> StrategyKind:
    return "technical" if number <= 50 else KINDS[number % 3]


def constants(proposal: Proposal) -> list[tuple[str, float]]:
    found = []
    for entry in ("long_entry", "short_entry"):
        tree = proposal.spec.get(entry)
        for part in tree.get("all", [tree]) if tree else []:
            ((_, value),) = ((name, each) for name, each in part.items() if name != "id")
            found.append((part["id"], value))
    return found


def read_back(proposal: Proposal) -> Any:
    return json.loads(json.dumps(proposal.spec))


class TestProposals:
    @EACH
    def test_are_specs_of_the_kind_that_is_asked_for(self, researcher: Researcher) -> None:
        trials = session(researcher, flat, strategies=90, kind=mixed, seed=3)
        ranges = {each.id: (each.low, each.high) for each in catalogue()}
        for each in trials:
            config = RulesConfig.model_validate({"name": "x", **each.proposal.spec})
            models = {f"model:{alias}" for alias in each.proposal.models}
            assert models == {name for name in config.written_ids if name.startswith("model:")}
            kind = "technical" if not models else "ml" if models == set(config.written_ids) else "hybrid"
            assert each.proposal.kind == kind == mixed(each.number)
            for name, value in constants(each.proposal):
                low, high = ranges.get(name, (-1.0, 1.0))
                assert low <= value <= high
                assert float(f"{value:.4g}") == value
            assert all(1 <= parent < each.number for parent in each.proposal.parents)
            assert each.proposal.rationale
        sides = {next(iter(each.proposal.spec)) for each in trials}
        assert sides == {"long_entry", "short_entry"}

    @EACH
    def test_are_never_made_twice(self, researcher: Researcher) -> None:
        trials = session(researcher, flat, strategies=110, kind=mixed)
        specs = [json.dumps(each.proposal.spec, sort_keys=True) for each in trials]
        assert len(set(specs)) == len(specs)

    @EACH
    def test_are_a_pure_function_of_the_context(self, researcher: Researcher) -> None:
        """Asked again, in another order, with trials that were written down and read back: the same."""
        trials = session(researcher, flat, strategies=70, kind=mixed, seed=5)
        contexts = [
            ResearchContext(
                goal="", number=number, left=71 - number, seed=5, kinds={}, catalogue=catalogue(),
                kind=mixed(number),
                trials=tuple(
                    replace(each, proposal=replace(each.proposal, spec=read_back(each.proposal)))
                    for each in trials[: number - 1]
                ),
            )
            for number in (70, 3, 55, 12)
        ]  # fmt: skip
        for context in contexts:
            assert researcher.propose(context) == trials[context.number - 1].proposal

    @EACH
    def test_depend_on_the_seed(self, researcher: Researcher) -> None:
        one, other = (session(researcher, flat, strategies=60, seed=seed) for seed in (1, 2))
        assert [each.proposal.spec for each in one] != [each.proposal.spec for each in other]

    @EACH
    def test_end_where_a_catalogue_does(self, researcher: Researcher) -> None:
        with pytest.raises(NoProposal, match="catalogue is small"):
            session(researcher, flat, strategies=400, features=catalogue(1))

    def test_few_models_are_asked_for(self) -> None:
        trials = session(ScreenResearcher(), flat, strategies=110, kind=mixed)
        asked = {each.digest for trial in trials for each in trial.proposal.models.values()}
        assert 2 <= len(asked) <= 3

    def test_values_are_compared_with_what_they_learn_to_answer(self) -> None:
        """A model of values is asked for where its range is known, and compared with quantiles of it."""
        steps = tuple(-5.0 + 0.123456 * number for number in range(9))
        start = ResearchContext(
            goal="",
            number=1,
            left=1,
            seed=0,
            kinds={},
            catalogue=catalogue(),
            answers={"volatility_h1": steps},
        )
        trials = session(ScreenResearcher(), flat, strategies=110, kind=mixed, start=start)
        read = [
            value
            for each in trials
            for name, value in constants(each.proposal)
            if name.startswith("model:volatility_h1_")
        ]
        assert len(read) > 3
        assert set(read) <= {rounded(each) for each in steps}
        without = session(ScreenResearcher(), flat, strategies=110, kind=mixed)
        assert "volatility" not in str([each.proposal.models for each in without])

    @EACH
    def test_what_others_wrote_is_no_stumbling_block(self, researcher: Researcher) -> None:
        """Trials of another form, or of a language model's fancy, are passed over."""
        trials = session(researcher, flat, strategies=50)
        odd: list[dict[str, object]] = [
            {}, {"long_entry": None}, {"long_entry": {"any": []}, "max_bars": 2}, {"long_entry": "x"},
            {"long_entry": {"id": "f1_2", "below": "f2_2"}, "max_bars": 2},
            {"long_entry": {"all": {"id": 1}}, "max_bars": True, "stop": 5},
            {"long_entry": {"id": ["x"], "above": 1.0}, "max_bars": 3},
        ]  # fmt: skip
        for spec in odd:
            other = replace(trials[-1], number=51, status="refused", measures=None, niche=None)
            other = replace(other, proposal=Proposal(spec=spec))
            context = ResearchContext(
                goal="", number=52, left=1, seed=0, kinds={}, catalogue=catalogue(), trials=(*trials, other)
            )
            assert researcher.propose(context).spec


class TestScreen:
    def test_each_feature_is_tried_low_and_high_first(self) -> None:
        trials = session(ScreenResearcher(), flat)[:48]
        seen = {
            (name, "above" if "above" in each.proposal.spec["long_entry"] else "at_most")
            for each in trials
            for name, _ in constants(each.proposal)
        }
        assert seen == {(each.id, how) for each in catalogue() for how in ("above", "at_most")}
        assert {each.proposal.move for each in trials} == {"screen"}

    def test_a_wide_catalogue_is_screened_across_its_families(self) -> None:
        trials = session(ScreenResearcher(), flat, features=catalogue(60), strategies=48)
        family = {each.id: each.family for each in catalogue(60)}
        counts = [family[name] for each in trials for name, _ in constants(each.proposal)]
        assert {counts.count(each) for each in set(counts)} == {8}

    def test_one_in_ten_is_drawn_at_random_after_it(self) -> None:
        moves = [
            each.proposal.move
            for seed in range(5)
            for each in session(ScreenResearcher(), flat, seed=seed)[48:]
        ]
        assert 0.04 < moves.count("random") / len(moves) < 0.25
        assert {"combine", "shift"} <= set(moves)

    def test_a_loser_is_turned_round(self) -> None:
        trials = session(ScreenResearcher(), lambda draft: -2.0 if draft.side == "long" else 0.0, noise=0.1)
        turned = [each for each in trials if each.proposal.move == "turn"]
        assert turned
        for each in turned:
            parent = trials[each.proposal.parents[0] - 1].proposal
            assert each.proposal.spec["short_entry"] == parent.spec["long_entry"]

    def test_it_screens_less_where_it_is_told_to(self) -> None:
        assert ScreenResearcher(features=5).least == 10
        trials = session(ScreenResearcher(features=5), flat, strategies=12)
        assert [each.proposal.move == "screen" for each in trials].count(True) == 10


def planted(draft: Draft) -> float:
    """One feature at an end of its range gains on the short side."""
    found = 2.0 * (("f7_2", True) in {(each.id, each.above) for each in draft.tests})
    return found - 0.2 * len(draft.tests) if draft.side == "short" else -found


class TestFinding:
    def test_the_screen_finds_what_one_of_its_features_shows(self) -> None:
        """The control: a researcher that does not look at each feature once finds it less often."""

        def found(researcher: Researcher, seed: int) -> bool:
            trials = session(researcher, planted, seed=seed, strategies=56)
            top = max(trials, key=lambda each: each.fitness)
            return "f7_2" in json.dumps(top.proposal.spec) and "short_entry" in top.proposal.spec

        assert sum(found(ScreenResearcher(), seed) for seed in range(8)) == 8
        assert sum(found(RandomResearcher(), seed) for seed in range(8)) < 8


class TestDrafts:
    LADDERS = Ladders.of(catalogue(), {"model:up": (0.5,)})

    @given(st.integers(0, 10_000), st.integers(1, 4))
    def test_are_read_back_as_they_were_written(self, seed: int, tests: int) -> None:
        ids = [*self.LADDERS.steps]
        draft = drawn(self.LADDERS, ids, np.random.default_rng(seed), tests=tests)
        assert self.LADDERS.read(json.loads(json.dumps(self.LADDERS.spec(draft)))) == draft
        for near, change in neighbours(draft, self.LADDERS):
            assert self.LADDERS.read(self.LADDERS.spec(near)) == near != draft
            assert change

    @given(
        st.floats(-1e6, 1e6),
        st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda each: (each[0], each[0] + each[1])),
    )
    def test_constants_have_four_digits_and_stay_within_the_range(
        self, value: float, bounds: tuple[int, int]
    ) -> None:
        low, high = map(float, bounds)
        inside = min(max(value, low), high)
        found = rounded(inside, low, high)
        assert low <= found <= high
        assert float(f"{found:.4g}") == found
        assert abs(found - inside) <= 2e-3 * max(abs(inside), 1e-300) or abs(found - inside) < 1e-300

    def test_a_test_is_true_on_its_share_of_the_bars(self) -> None:
        low, high = self.LADDERS.low("f0_2"), self.LADDERS.high("f0_2")
        assert (low, high) == (EntryTest("f0_2", False, 2), EntryTest("f0_2", True, 6))
        assert self.LADDERS.low("model:up") == EntryTest("model:up", False, 0)

    def test_other_constants_are_no_draft(self) -> None:
        spec = self.LADDERS.spec(Draft("long", (self.LADDERS.low("f0_2"),)))
        assert self.LADDERS.read(spec) is not None
        assert self.LADDERS.read({**spec, "long_entry": {"id": "f0_2", "at_most": 28.961}}) is None
        assert self.LADDERS.read({**spec, "long_exit": {"id": "f0_2", "above": 50.0}}) is None

    def test_steps_stay_within_the_ladder(self) -> None:
        for draft in (
            Draft("long", (EntryTest("f0_2", False, 0),), 1),
            Draft("short", (EntryTest("f0_2", True, 8),), 10),
        ):
            for near, _ in neighbours(draft, self.LADDERS):
                assert near.hold in HOLDS
                assert near.stop in STOPS
                assert all(0 <= each.place < 9 for each in near.tests)

    def test_the_order_of_tests_does_not_matter(self) -> None:
        tests = (EntryTest("f0_2", False, 2), EntryTest("f1_2", True, 6))
        assert Draft("long", tests).key == Draft("long", tests[::-1]).key != Draft("short", tests).key


class TestUpgrades:
    OLD = ModelSpec(task="direction", features=("f0_2",))
    NEW = ModelSpec(task="direction", features=("f0_2", "f1_2"))

    def context(self, *trials: Trial) -> ResearchContext:
        spec = {"long_entry": {"id": "model:up", "above": 0.5}, "max_bars": 2}
        proposal = Proposal(spec=spec, models={"up": self.OLD}, kind="ml")
        earlier = tuple(
            Trial(number=1, id=number, proposal=proposal, status="evaluated", measures=measures(height))
            for number, height in ((70, 0.2), (71, 0.9))
        )
        known = KnownModel(
            name="direction_h1", version="v2", column="model:COMP_direction_h1@v2#0123456789ab",
            spec=self.NEW, note="", used_by=1, mean_sharpe=0.1, best="",
        )  # fmt: skip
        return ResearchContext(
            goal="", number=60 + len(trials), left=5, seed=0, kinds={}, catalogue=catalogue(), kind="ml",
            trials=trials, earlier=earlier, models=(known,),
        )  # fmt: skip

    @pytest.mark.parametrize("researcher", [RESEARCHERS[0], RESEARCHERS[1], RESEARCHERS[3]])
    def test_the_best_earlier_strategy_is_tried_with_the_newer_model(self, researcher: Researcher) -> None:
        first = researcher.propose(self.context())
        assert (first.move, first.from_id, first.models) == ("upgrade", 71, {"up": self.NEW})
        then = researcher.propose(self.context(trial_of(first, self.context(), flat)))
        assert then.from_id == 70
        both = [trial_of(each, self.context(), flat) for each in (first, then)]
        assert researcher.propose(self.context(*both)).move != "upgrade"

    def test_nothing_is_upgraded_to_what_it_read(self) -> None:
        context = self.context()
        same = replace(context, models=(replace(context.models[0], spec=self.OLD),))
        assert ScreenResearcher().propose(same).move != "upgrade"
        assert ScreenResearcher().propose(replace(context, kind="technical")).move != "upgrade"


class TestArchive:
    def trial(
        self, number: int, height: float, niche: Niche, trades: int = 40, largest: float = 0.05
    ) -> Trial:
        found = replace(measures(height, trades=trades), largest=largest)
        proposal = Proposal(spec={})
        return Trial(
            number=number, id=number, proposal=proposal, status="evaluated", measures=found, niche=niche
        )

    def test_one_elite_a_niche(self) -> None:
        one = Niche(feature="trend", side="long", exposure=1, holding=0)
        other = replace(one, side="short")
        trials = [
            self.trial(1, 0.5, one), self.trial(2, 0.9, one), self.trial(3, 0.9, one),
            self.trial(4, 9.9, one, trades=1), self.trial(5, -1.0, other),
            self.trial(6, 9.9, one, largest=0.9), replace(self.trial(7, 9.9, one), status="repeated"),
        ]  # fmt: skip
        found = elites(trials)
        assert {niche: each.number for niche, each in found.items()} == {one: 2, other: 5}

    def test_open_niches_lie_one_step_from_an_elite_and_hold_no_trial(self) -> None:
        niche = Niche(feature="trend", side="long", exposure=0, holding=3)
        better = Niche(feature="returns", side="short", exposure=2, holding=1)
        trials = [
            self.trial(1, 0.1, niche),
            self.trial(2, 0.7, better),
            self.trial(3, 0.0, replace(niche, side="both")),
        ]
        found = open_niches(trials, catalogue())
        tried = {each.niche for each in trials}
        for each in found:
            assert each not in tried
            steps = [
                abs(each.exposure - one.exposure) + abs(each.holding - one.holding)
                + (each.side != one.side) + (each.feature != one.feature)
                for one in tried if one is not None
            ]  # fmt: skip
            assert min(steps) == 1
            assert 0 <= each.exposure <= 3
            assert 0 <= each.holding <= 3
        assert len(set(found)) == len(found)
        assert found[0] == replace(better, side="long")
        assert open_niches(trials, catalogue(), most=2) == found[:2]
        assert open_niches([], catalogue()) == ()


def test_a_model_test_is_one_of_the_menu() -> None:
    board = Board.of(
        ResearchContext(goal="", number=1, left=1, seed=0, kinds={}, catalogue=catalogue(), kind="ml")
    )
    for _ in range(20):
        test = board.model_test()
        assert board.ladders.words(test)
        assert kind_of(Draft("long", (test,))) == "ml"
    none = replace(board.context, catalogue=())
    with pytest.raises(NoProposal):
        Board.of(none).model_test()


def test_names_are_those_of_the_command() -> None:
    assert [each.name for each in RESEARCHERS] == ["screen", "evolve", "evolve", "tpe", "random"]
    assert [each.least for each in RESEARCHERS] == [48, 20, 20, 20, 1]


def test_equal_quantiles_make_one_step() -> None:
    entry = CatalogueEntry(
        id="day",
        family="calendar",
        low=0.0,
        high=4.0,
        quantiles=tuple(map(float, itertools.repeat(1, 9))),
        document="",
    )
    assert Ladders.of([entry], {}).steps["day"] == (1.0,)
    assert math.isfinite(rounded(0.0))
