"""What a session came to: summary, family tree, verdict in a sentence, page."""

from __future__ import annotations

import math
from collections import Counter as Counts
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from research.agents.critic import review
from research.agents.database import FROZEN, GATE, REGISTERED, AgentBook
from research.agents.family_tree import family_tree
from research.agents.fold_measures import SessionFolds
from research.agents.proposal import Proposal, ResearchContext
from research.agents.report import SessionReport, session_body
from research.agents.summary import SessionSummary
from research.report.page import document
from support.agent_sessions import bars_of_few, book_in, session_in
from support.browser import browser, needs_browser
from support.explorers import Counter, Dice
from support.reports import Page

EVIL = '<script>alert("x")</script>'
FOLDS = SessionFolds.of(np.arange("2006-01-01", "2016-01-01", dtype="M8[D]"))


class Refusing(Dice):
    """Asks at every seventh proposal for what the schema does not hold, and quotes HTML."""

    def propose(self, context: ResearchContext) -> Proposal:
        found = super().propose(context)
        spec = {EVIL: 1} if context.number % 7 == 0 else found.spec
        return replace(found, spec=spec, rationale=EVIL, move="drawn" if context.number % 2 else "random")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> AgentBook:
    made = book_in(tmp_path_factory.mktemp("report"))
    session_in(
        made, bars_of_few(), researcher=Refusing(again=5), bench=Counter(), strategies=20, goal=EVIL
    ).run()  # fmt: skip
    return made


@pytest.fixture(scope="module")
def found(book: AgentBook) -> SessionSummary:
    return SessionSummary.of(book, 1)


def test_the_summary_is_a_recount(found: SessionSummary) -> None:
    trials = [each.trial for each in found.strategies]
    assert {each.name for each in found.kinds} == {"technical", "hybrid", "ml"}
    for part, name in ((found.kinds, "kind"), (found.moves, "move")):
        assert sum(each.tried for each in part) == len(trials) == 20
        for tally in part:
            own = [each for each in trials if getattr(each.proposal, name) == tally.name]
            assert tally.status == {**dict.fromkeys(tally.status, 0), **Counts(each.status for each in own)}
            sharpes = [each.measures.sharpe for each in own if each.status == "evaluated" and each.measures]
            assert tally.mean_sharpe == pytest.approx(fmean(sharpes))
            assert tally.best is not None
            assert tally.best.trial.fitness == max(each.fitness for each in own if each.status == "evaluated")
    assert found.top is not None
    assert found.top.trial.number == found.record.events[FROZEN]["winners"][0]["number"]
    assert len(found.refusals) == 1
    assert found.refusals[0][1] == 2


def test_better_than_its_parent_is_counted_by_hand(found: SessionSummary) -> None:
    fitness = {each.trial.number: each.trial.fitness for each in found.strategies}
    steps = [
        (each.trial.fitness, fitness[each.trial.proposal.parents[0]])
        for each in found.evaluated
        if each.trial.proposal.parents and math.isfinite(fitness[each.trial.proposal.parents[0]])
    ]
    assert sum(each.compared for each in found.moves) == len(steps) > 5
    assert sum(each.better for each in found.moves) == sum(own > parent for own, parent in steps) > 0


def test_models_are_named_from_start_to_end(book: AgentBook, found: SessionSummary) -> None:
    column = "model:COMP_calm_h1@v{}#0123456789ab"
    reading = [
        replace(each, trial=replace(each.trial, versions={"calm": column.format(2)}))
        for each in found.evaluated[:3]
    ]
    frozen = {
        **found.record.events[FROZEN],
        "winners": [{"number": 1, "versions": {"calm": column.format(3)}}],
    }
    record = replace(found.record, events={FROZEN: frozen})
    (model,) = replace(found, strategies=reading, record=record).models
    assert (model.name, model.start, model.end, model.read_by) == ("COMP_calm_h1", "", "v3", 3)
    assert model.mean_sharpe == pytest.approx(fmean(each.trial.measures.sharpe for each in reading))  # type: ignore[union-attr]


def test_what_the_critic_finds_is_counted_by_what_it_is_about(found: SessionSummary) -> None:
    first = found.evaluated[0]
    assert first.trial.measures is not None
    bad = replace(first.trial.measures, largest=0.9, missing=0.5)
    twice = [replace(first, trial=replace(first.trial, measures=bad))] * 2
    assert replace(found, strategies=twice).findings == [
        ("reads what is often missing", 2, True), ("lives on one trade", 2, True),
    ]  # fmt: skip
    assert [each.about for each in review(bad)] == ["reads what is often missing", "lives on one trade"]
    going_on = replace(found, strategies=twice, record=replace(found.record, events={}))
    assert going_on.top is None, "what cannot win leads nothing, before the winners are frozen either"
    assert replace(going_on, strategies=[*twice, found.evaluated[1]]).top is found.evaluated[1]


def test_the_verdict_says_not_promoted_at_every_stage(found: SessionSummary) -> None:
    def verdict(**events: object) -> str:
        return replace(found, record=replace(found.record, events=events)).verdict

    frozen = {FROZEN: found.record.events[FROZEN]}
    gate = {"reason": "the reason", "winner": 1}
    said = [
        verdict(),
        verdict(**{FROZEN: {"winners": [], "ended": ""}}),
        verdict(**frozen),
        verdict(**frozen, **{GATE: {**gate, "verdict": "refused"}}),
        verdict(**frozen, **{GATE: {**gate, "verdict": "passed"}}),
        verdict(**frozen, **{GATE: {**gate, "verdict": "forward"}, REGISTERED: {"candidate": "dip"}}),
    ]
    assert all(each.startswith("Not promoted: ") for each in said)
    assert "resume 1" in said[0]
    assert "enough trades" in said[1]
    assert "since it trains models, and a hundred sessions that train theirs are too many" in said[2]
    settings = found.record.plan.settings.model_copy(update={"kinds": {"technical": 0}})
    plan = found.record.plan.model_copy(update={"settings": settings})
    record = replace(found.record, plan=plan, events=frozen)
    assert replace(found, record=record).verdict.endswith("`lockstep agents gate 1` does.")
    assert said[3] == "Not promoted: the reason."
    assert "register 1" in said[4]
    assert "registered as dip" in said[5]


def test_a_language_models_session_is_split_by_what_it_may_have_read(found: SessionSummary) -> None:
    plan = found.record.plan
    options = {"knowledge_until": "2013-06-30"}
    settings = plan.settings.model_copy(update={"researcher": "llm", "options": options})
    validation = {"before": None, "after": {"measures": {"sharpe": 0.123}}}
    gate = {"winner": 1, "objective": 0.5, "p_value": None, "reason": "why", "verdict": "forward"}
    events = {
        FROZEN: found.record.events[FROZEN],
        GATE: {**gate, "validation": {}, "knowledge": {"validation": validation}},
    }  # fmt: skip
    record = replace(found.record, plan=plan.model_copy(update={"settings": settings}), events=events)
    asked = replace(found, record=record, folds=FOLDS)
    assert asked.knowledge_until == date(2013, 6, 30)
    assert asked.top is not None
    measures = asked.top.trial.measures
    assert measures is not None
    folds = tuple(replace(measures.folds[0], number=each, sharpe=float(each)) for each in range(6))
    top = replace(asked.top, trial=replace(asked.top.trial, measures=replace(measures, folds=folds)))
    split = asked.split(top)
    assert split is not None
    later = [each for each in range(6) if FOLDS.dates(each).start > date(2013, 6, 30)]
    assert 0 < len(later) < 6
    assert split.after is not None
    assert split.after.measures["sharpe"] == fmean(later)
    page = Page(document("session", session_body(report_of(replace(asked, strategies=[top]))))).text
    assert "may have read the history up to 2013-06-30" in page
    assert f"{fmean(later):.2f}" in page
    assert "0.12" in page
    assert found.knowledge_until is None
    assert found.split(top) is None
    assert "may have read" not in session_body(report_of(found))


def report_of(summary: SessionSummary) -> SessionReport:
    report = SessionReport.__new__(SessionReport)
    report.summary, report.tree = summary, None
    return report


def test_a_family_is_drawn_with_an_edge_for_each_parent(book: AgentBook, found: SessionSummary) -> None:
    name = max(found.evaluated, key=lambda each: each.trial.number).name
    tree = family_tree(book, name, generations=3)
    assert [back for back, _ in tree.members] == [0, 1, 2, 3]
    drawn = tree.drawn()
    assert drawn is not None
    assert len(drawn.data) == 3 + 1
    assert [each.name for _, each in tree.members][1:] == [one for (one,) in list(tree.parents.values())[:3]]
    alone = family_tree(book, "1.1", generations=3)
    assert alone.drawn() is None


def test_the_page_escapes_whatever_a_researcher_wrote(book: AgentBook) -> None:
    page = document("session", session_body(SessionReport(book, 1)))
    assert EVIL not in page
    assert EVIL in Page(page).text
    assert "Not promoted: only forward evidence can say" in page
    for title in (
        "By type",
        "Family tree",
        "Under-explored areas",
        "What was learned",
        "What the critic found",
    ):
        assert title in page


@needs_browser
@pytest.mark.no_cover
def test_the_page_is_quiet_and_within_a_phones_width(book: AgentBook, tmp_path: Path) -> None:
    page = SessionReport(book, 1).save(tmp_path / "session.html")
    with browser(tmp_path) as chromium:
        tab = chromium.tab()
        tab.look_like(width=390, phone=True)
        tab.open(page.as_uri())
        tab.wait("[...document.querySelectorAll('.figure')].every((each) => each.querySelector('svg'))")
        assert tab.ask("document.documentElement.scrollWidth") <= 390
        assert (tab.errors, tab.hosts) == ([], {""})
