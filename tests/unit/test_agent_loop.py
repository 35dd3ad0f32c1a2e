"""The steps of a session, without its records: who proposes, what is recognised, refused, found, chosen."""

from __future__ import annotations

import math
from collections import Counter as Counts
from dataclasses import replace

import pytest

from lockstep.errors import AgentError, BudgetSpent, NoProposal
from lockstep.market.history import History
from lockstep.market.loader import load_history
from research.agents.critic import may_win, review
from research.agents.loop import Exploration, Explored, Remembered, objective, one_line, winners
from research.agents.proposal import FoldMeasures, Proposal, ResearchContext, Trial
from research.agents.router import KINDS, AgentRouter
from research.agents.specs import SpecGround, SpecTerms, spec_of
from support.explorers import Counter, Dice, measures_of

NAN = math.nan


@pytest.fixture(scope="module")
def ground() -> SpecGround:
    history = load_history("COMP", start="2018-01-02")
    only = {key: bars for key, bars in history.bars.items() if key.symbol == "COMP"}
    return SpecGround(
        symbol="COMP", terms=SpecTerms(), history=History(bars=only, markets=history.markets)
    )  # fmt: skip


def session(ground: SpecGround, bench: Counter, **changes: object) -> Exploration:
    usual = Exploration(
        researcher=Dice(), router=AgentRouter(kinds={"technical": 0}), ground=ground, bench=bench,
        strategies=30,
    )  # fmt: skip
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_meaning_is_evaluated_once_and_counted_each_time(ground: SpecGround) -> None:
    bench = Counter()
    trials = session(ground, bench, researcher=Dice(again=3)).run().trials
    assert len(trials) == 30
    repeated = [each for each in trials if each.status == "repeated"]
    assert len(repeated) >= 9
    assert len(bench.evaluated) == len(set(bench.evaluated)) == 30 - len(repeated)
    first = trials[repeated[0].same_as - 1] if repeated[0].same_as else None
    assert first is not None
    assert repeated[0].measures == first.measures
    assert repeated[0].findings == (
        f"means the same as trial {first.number}: counted, and not evaluated again",
    )


def test_a_behaviour_is_evaluated_once(ground: SpecGround) -> None:
    bench = Counter(alike=True)
    trials = session(ground, bench).run().trials
    repeated = [each for each in trials if each.status == "repeated"]
    assert repeated
    assert len(bench.evaluated) == 30 - len(repeated)
    assert any(each.findings[0].startswith("does the same as trial ") for each in repeated)


def test_what_an_earlier_session_evaluated_is_not_evaluated_again(ground: SpecGround) -> None:
    first = session(ground, Counter()).run()
    meanings = {
        spec_of(each.proposal, ground).config.config_hash: Remembered(
            session=4, number=each.number, measures=each.measures
        )
        for each in first.trials
        if each.measures is not None
    }
    bench = Counter()
    again = session(ground, bench, meanings=meanings).run()
    assert bench.evaluated == []
    assert {each.status for each in again.trials} == {"repeated"}
    assert again.trials[0].findings[0].startswith("means the same as trial 1 of session 4")
    assert again.trials[0].same_as is None
    assert winners(again.trials) == ()


def test_a_walk_goes_on_where_another_ended(ground: SpecGround) -> None:
    whole = session(ground, Counter()).run().trials
    walk = Explored(session(ground, Counter()))
    for each in range(7):
        walk.take(walk.judged(each + 1, walk.propose()))
    late = Explored(walk.exploration)
    for trial in walk.trials:
        late.take(late.judged(trial.id, trial.proposal))
    while len(late.trials) < 30:
        late.take(late.judged(len(late.trials) + 1, late.propose()))
    assert late.trials == whole


def test_owed_kinds_come_first_and_then_what_earns(ground: SpecGround) -> None:
    router = AgentRouter(kinds={"technical": 4, "hybrid": 4, "ml": 4}, screen=6)
    trials = session(ground, Counter(), router=router, strategies=40).run().trials
    kinds = [each.proposal.kind for each in trials]
    assert kinds[:6] == ["technical"] * 6
    assert Counts(kinds[6:14]) == {"hybrid": 4, "ml": 4}
    assert min(Counts(kinds).values()) >= 4


def test_what_earns_is_asked_for_more_often() -> None:
    router = AgentRouter(kinds=dict.fromkeys(KINDS, 0))
    proposal = {kind: Proposal(spec={}, kind=kind) for kind in KINDS}
    trials = [
        Trial(
            number=number, id=number, proposal=proposal[kind], status="evaluated",
            measures=measures_of(0.5 if kind == "hybrid" else -0.5),
        )
        for number, kind in enumerate(KINDS * 10, start=1)
    ]  # fmt: skip
    drawn = Counts(router.next_kind(trials, seed=seed) for seed in range(100))
    assert drawn["hybrid"] > 90
    assert len(Counts(router.next_kind([], seed=seed) for seed in range(100))) == 3


@pytest.mark.parametrize(
    ("strategies", "kinds", "screen", "said"),
    [
        (0, {"technical": 0}, 0, "0 strategies: a session tries at least 1; give --strategies 100"),
        (30, {"technical": 10}, 48, "30 strategies: 48 of the researcher's screen are 48 by themselves"),
        (60, {"technical": 10, "ml": 10, "hybrid": 10}, 48, "60 strategies: 48 of the researcher's screen"),
        (10, {"technical": 5, "ml": 6}, 0, "10 strategies: 5 technical and 6 ml are 11 by themselves"),
        (10, {}, 0, "no kind of strategy: give --kinds with one of technical, hybrid, ml"),
    ],
)  # fmt: skip
def test_too_small_a_budget_is_refused(strategies: int, kinds: object, screen: int, said: str) -> None:
    with pytest.raises(AgentError) as found:
        AgentRouter(kinds=kinds, screen=screen).require(strategies)  # type: ignore[arg-type]
    assert str(found.value).startswith(said)
    AgentRouter(kinds={"technical": 10, "ml": 10, "hybrid": 10}, screen=48).require(68)


class Silent:
    """Has nothing to say, and then nothing to spend."""

    name, least = "silent", 0

    def propose(self, context: ResearchContext) -> Proposal:
        if context.number > 2:
            raise BudgetSpent("requests: 2 of 2 are spent")
        raise NoProposal("the server\nsaid 429")


def test_no_proposal_counts_and_a_spent_budget_ends(ground: SpecGround) -> None:
    walk = Explored(session(ground, Counter(), researcher=Silent()))
    for _ in range(2):
        walk.take(walk.judged(1, walk.propose()))
    assert [(each.status, each.findings) for each in walk.trials] == [
        ("refused", ("the server said 429",))
    ] * 2
    with pytest.raises(BudgetSpent):
        walk.propose()


def test_another_kind_than_the_session_makes_is_refused(ground: SpecGround) -> None:
    class Wayward(Dice):
        def propose(self, context: ResearchContext) -> Proposal:
            return super().propose(replace(context, kind="ml"))

    bench = Counter()
    trials = session(ground, bench, researcher=Wayward(), strategies=3).run().trials
    assert {each.findings for each in trials} == {
        ("proposal: is of the kind ml; this session makes technical strategies",)
    }
    assert bench.evaluated == []


def fold(**changes: object) -> tuple[FoldMeasures, ...]:
    return (replace(measures_of(0.5).folds[0], **changes),) * 6  # type: ignore[arg-type]


CASES = {
    "sound": ({}, (), True),
    "no trades": ({"folds": fold(trades=0), "fitness": NAN}, ("never trades",), False),
    "always in": ({"folds": fold(exposure=0.99)}, ("is in the market in 99% of the sessions",), False),
    "missing": ({"missing": 0.4}, ("reads a value that is missing on 40% of the bars",), False),
    "one trade": ({"largest": 0.8}, ("makes 80% of its result in one trade",), False),
    "costs": ({"folds": fold(cost_share=0.7)}, ("pays 70% of its gains as costs",), True),
    "regimes": (
        {"by_regime": {"bull": 1.2, "bear": -0.8, "sideways": NAN, "high volatility": -0.9}},
        ("gains, but loses when the market is: high volatility (-0.90), bear (-0.80)",),
        True,
    ),
    "loses anyway": ({"fitness": -1.0, "sharpe": -0.5, "by_regime": {"bear": -0.8}}, (), True),
    "few": ({"fitness": NAN, "folds": fold(trades=9)}, ("has 9 trades in a fold",), False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_critic_says_what_is_suspicious(case: str) -> None:
    changes, expected, able = CASES[case]
    measures = measures_of(**changes)  # type: ignore[arg-type]
    said = [each.text for each in review(measures)]
    assert len(said) == len(expected)
    assert all(text.startswith(begin) for text, begin in zip(said, expected, strict=True))
    trial = Trial(number=1, id=1, proposal=Proposal(spec={}), status="evaluated", measures=measures)
    assert may_win(trial) is able
    assert math.isnan(objective([trial])) is not able


def test_a_line_is_a_line() -> None:
    assert one_line(AgentError("a\n b")) == "a b"
    assert len(one_line(AgentError("x" * 9_000))) == 500
