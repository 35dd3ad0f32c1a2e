"""Sessions of our researchers on real bars, and their null replays in memory."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from simulation.agent_worlds import IDS

from lockstep.market.loader import load_history
from research.agents.bench import TrainingBench
from research.agents.evaluation import TrainingEvaluator
from research.agents.gate import search_of
from research.agents.loop import Exploration, objective
from research.agents.proposal import Proposal, ResearchContext, Researcher, TrialMeasures
from research.agents.researchers.evolve import EvolveResearcher
from research.agents.researchers.random import RandomResearcher
from research.agents.researchers.screen import ScreenResearcher
from research.agents.researchers.tpe import TpeResearcher
from research.agents.router import AgentRouter
from research.agents.specs import AgentSpec, SpecGround, SpecTerms
from research.statistics.null_replay import null_replay

SYMBOL = "COMP"
SMALL = ScreenResearcher(features=5)


@dataclass
class CountingBench:
    """Counts what it is asked for, by behaviour."""

    evaluator: TrainingEvaluator
    measured: Counter[str] = field(default_factory=Counter)

    def behaviour(self, spec: AgentSpec) -> str:
        return self.evaluator.behaviour(spec.config)

    def measures(self, spec: AgentSpec) -> TrialMeasures:
        self.measured[self.behaviour(spec)] += 1
        return self.evaluator.evaluate([spec.config])[0]

    def versions(self, spec: AgentSpec) -> dict[str, str]:
        return {}


@functools.cache
def evaluator() -> TrainingEvaluator:
    history = load_history(SYMBOL, start="2002-01-02", end="2008-12-31")
    return TrainingEvaluator(history, SYMBOL, least_trades=12)


@functools.cache
def exploration(researcher: Researcher = SMALL, strategies: int = 16, seed: int = 1) -> Exploration:
    history = evaluator().history
    return Exploration(
        researcher=researcher,
        router=AgentRouter(kinds={"technical": 0}, screen=researcher.least),
        ground=SpecGround(symbol=SYMBOL, terms=SpecTerms(), history=history),
        bench=TrainingBench(evaluator=evaluator()),
        strategies=strategies,
        seed=seed,
        catalogue=evaluator().catalogue(IDS[:12]),
    )


@pytest.mark.parametrize(
    "researcher",
    [
        ScreenResearcher(features=12), EvolveResearcher(), EvolveResearcher(archive=True), TpeResearcher(),
        RandomResearcher(),
    ],
    ids=["screen", "evolve", "map-elites", "tpe", "random"],
)  # fmt: skip
def test_nothing_is_refused_and_repeats_are_counted_and_not_evaluated(researcher: Researcher) -> None:
    bench = CountingBench(evaluator())
    trials = replace(exploration(researcher, 45), bench=bench).run().trials
    assert len(trials) == 45
    status = Counter(each.status for each in trials)
    assert set(status) <= {"evaluated", "repeated"}
    assert max(bench.measured.values()) == 1
    assert bench.measured.total() == status["evaluated"] > 35
    assert any(each.fitness > -10 for each in trials)


def test_a_repeat_is_told_as_such() -> None:
    """The control of the one above: a researcher that says one thing again is evaluated once."""

    class Stubborn(RandomResearcher):
        def propose(self, context: ResearchContext) -> Proposal:
            low, same = {"id": "ibs", "below": 0.2}, {"not": {"id": "ibs", "at_least": 0.2}}
            return Proposal(spec={"long_entry": low if context.number % 2 else same, "max_bars": 2})

    bench = CountingBench(evaluator())
    trials = replace(exploration(Stubborn(), 4), bench=bench).run().trials
    assert [each.status for each in trials] == ["evaluated", "repeated", "repeated", "repeated"]
    assert bench.measured.total() == 1


class TestReplay:
    def test_the_first_is_the_session(self) -> None:
        trials = exploration().run().trials
        assert search_of(exploration(), evaluator(), seed=3)(0) == objective(trials)

    def test_it_ranks_the_session_among_those_on_drawn_bars(self) -> None:
        search = search_of(exploration(), evaluator(), seed=3)
        found = null_replay(search, range(1, 20))
        assert found.objective == objective(exploration().run().trials)
        assert len(set(found.objectives)) > 10
        assert null_replay(search, range(1, 20), jobs=2) == found
        assert null_replay(search_of(exploration(), evaluator(), seed=4), range(1, 20)) != found

    def test_a_replay_is_told_of_the_drawn_bars_alone(self) -> None:
        """A researcher that knew a quantile of the real bars would be another one in its replays."""
        told: list[ResearchContext] = []

        class Listening(RandomResearcher):
            def propose(self, context: ResearchContext) -> Proposal:
                told.append(context)
                return super().propose(context)

        session = replace(exploration(Listening(), 3), answers=evaluator().answers())
        for number in (0, 1):
            search_of(session, evaluator(), seed=3)(number)
        real, drawn = told[0], told[3]
        assert [each.id for each in real.catalogue] == [each.id for each in drawn.catalogue]
        pairs = zip(real.catalogue, drawn.catalogue, strict=True)
        # Streaks are whole numbers, whose quantiles may be the same.
        same = {one.id for one, other in pairs if one.quantiles == other.quantiles}
        assert same <= {"bear_streak_10", "bull_streak_10"}
        assert real.answers.keys() == drawn.answers.keys()
        assert real.answers["return_h1"] != drawn.answers["return_h1"]

    def test_bars_that_are_not_drawn_tie(self) -> None:
        """The planted fault: replays on the bars as they are say that nothing was found."""

        class Undrawn(TrainingEvaluator):
            def __init__(self, inner: TrainingEvaluator) -> None:
                self.__dict__.update(inner.__dict__)

            def redrawn(self, seed: int | Sequence[int]) -> TrainingEvaluator:
                return self

        search = search_of(exploration(), Undrawn(evaluator()), seed=3)
        assert null_replay(search, range(1, 20)).p_value == 1.0

    def test_a_session_that_found_nothing_has_no_objective(self) -> None:
        strict = TrainingEvaluator(evaluator().history, SYMBOL, least_trades=5_000)
        assert math.isnan(search_of(exploration(), strict, seed=3)(1))
