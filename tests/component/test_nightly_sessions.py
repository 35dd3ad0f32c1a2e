"""Which session of agents a night makes, and what becomes of a night where one cannot be made or judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import AgentError, ConfigError, PipelineError
from operations.agents import asked
from operations.nightly import sessions
from operations.nightly.config import NightlyConfig
from operations.nightly.context import REGISTERED, read_json, write_json
from operations.nightly.night import NightMade, Nights
from operations.nightly.sessions import NightSession, next_session
from operations.nightly.steps import candidates, register
from operations.nightly.steps.register import NightWinner, WeighedWinner, choose
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.engine import ResearchEngine
from research.agents.loop import Exploration
from research.agents.plan import SessionPlan
from research.agents.proposal import KnownModel
from research.agents.router import AgentRouter
from research.agents.session import AgentSession
from research.agents.specs import SpecGround
from research.pipeline.execution import Outcome, StepOutcome
from research.zoo.model_spec import ModelSpec
from support.agent_sessions import bars_of_few
from support.explorers import Counter, Dice
from support.nights import ROOT, ideas, nights, space

CALM = KnownModel(
    name="volatility_h1", version="v1", column="model:COMP_volatility_h1@v1#0123456789ab",
    spec=ModelSpec(task="volatility", features=("ibs",)), note="", used_by=0, mean_sharpe=0.5, best="",
)  # fmt: skip


def of(folder: Path, *spaces: dict[str, Any], **changes: Any) -> Nights:
    return nights(folder, spaces=list(spaces) or [ideas()], **changes)


def next_of(found: Nights) -> NightSession:
    return next_session(found.context, found.config.explored[0], "COMP")


def plan_of(found: Nights) -> SessionPlan:
    plan = next_of(found).plan
    assert plan is not None
    return plan


def begun(found: Nights, plan: SessionPlan, *, complete: bool = False) -> SessionRecord:
    book = AgentBook(found.ledger, now=found.now)
    record = book.begin(plan)
    return book.happened(record, FROZEN, {"winners": [], "ended": ""}) if complete else record


class TestWhichIsNext:
    def test_a_session_a_night_until_all_are_made(self, tmp_path: Path) -> None:
        found = of(tmp_path, ideas({"seed": 7}, sessions=2))
        seeds = []
        for number in range(2):
            each = next_of(found)
            assert (each.number, each.plan is None) == (number, False)
            seeds.append(plan_of(found).settings.seed)
            begun(found, plan_of(found), complete=True)
        assert seeds == [7, 8]
        assert next_of(found).plan is None
        assert next_of(found).sentence == "space ideas: all 2 sessions on COMP are made"

    def test_without_an_end_the_first_night_sets_it_for_good(self, tmp_path: Path) -> None:
        early = of(tmp_path, ideas({"end": None}, sessions=2))
        symbol = early.world.symbols["COMP"]
        for newest, seed in (("2014-06-30", 0), ("2014-07-01", 1)):
            world = replace(early.world, symbols={"COMP": replace(symbol, newest=newest)})
            each = next_session(replace(early.context, world=world), early.config.explored[0], "COMP")
            assert each.plan is not None
            assert (str(each.plan.settings.end), each.plan.settings.seed) == ("2014-06-30", seed)
            begun(early, each.plan, complete=True)

    def test_what_was_cut_goes_on_although_the_zoo_has_grown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = of(tmp_path, ideas({"kinds": ["technical", "hybrid"]}))
        plan = plan_of(found)
        begun(found, plan)
        monkeypatch.setattr(asked, "models_of", lambda settings, book: (CALM,))
        assert plan_of(found) == plan
        begun(found, plan, complete=True)
        assert next_of(found).plan is None

    def test_what_was_cut_by_other_code_is_begun_anew(self, tmp_path: Path) -> None:
        found = of(tmp_path)
        plan = plan_of(found)
        begun(found, plan.model_copy(update={"code": "another"}))
        assert plan_of(found) == plan

    def test_other_code_of_agents_names_the_step_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = of(tmp_path).context
        before = candidates.ingredients(context, {})
        monkeypatch.setattr(candidates, "code_of", lambda researcher: "other")
        assert candidates.ingredients(context, {}) != before

    def test_options_with_a_date_are_found_again(self, tmp_path: Path) -> None:
        """In a file of YAML a date is a date, and in what is recorded a text."""
        found = of(tmp_path, ideas({"options": {"again": 0}}))
        dated = found.config.explored[0].agents.model_copy(update={"options": {"day": date(2017, 12, 29)}})
        own = found.config.explored[0].model_copy(update={"agents": dated})
        each = next_session(found.context, own, "COMP")
        assert each.plan is not None
        begun(found, each.plan, complete=True)
        assert next_session(found.context, own, "COMP").plan is None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"strategis": 3}, "unknown key 'spaces.0.agents.strategis'; did you mean 'strategies'?"),
    "a kind": ({"kinds": ["technicl"]}, "kinds 'technicl': there is no such kind; did you mean 'technical'?"),
    "what is the night's": ({"symbol": "COMP"}, "spaces.0.agents: symbol is that of the night; leave it out"),
    "nobody": ({"researcher": "scren"}, "space ideas: researcher 'scren': there is none of this name; did"),
    "budget 0": ({"strategies": 0}, "space ideas: 0 strategies: a session tries at least 1"),
    "below the screen": ({"researcher": "screen"}, "space ideas: 6 strategies: 48 of the researcher's"),
    "an option": ({"options": {"dots": 3}}, "space ideas: researcher 'support.explorers:Dice': "),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_no_night(case: str, tmp_path: Path) -> None:
    given, expected = BAD[case]
    with pytest.raises((ConfigError, AgentError)) as refused:
        of(tmp_path, ideas(given)).make()
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "results").exists()


def test_a_range_that_is_too_short_stops_no_other_space(tmp_path: Path) -> None:
    heard: list[StepOutcome] = []
    found = of(tmp_path, ideas({"start": "2013-01-02"}), tiny())
    made = found.make(heard.append)
    assert {each.outcome for each in heard} == {Outcome.DONE}
    assert made.troubles[0].startswith(
        "space ideas: COMP, 2013-01-02 to 2014-12-31: 335 sessions to train on"
    )
    assert len(found.context.lab.store.names()) == 1


def tiny() -> dict[str, Any]:
    """Return a declared space of few variants."""
    return space(parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6)


def on_a_counter(engine: ResearchEngine, plan: SessionPlan) -> SessionRecord:
    """Make a session in this process, on a bench that needs no bars."""
    exploration = Exploration(
        researcher=Dice(), router=AgentRouter(kinds=plan.settings.kinds), bench=Counter(),
        ground=SpecGround(symbol="COMP", terms=plan.settings.terms, history=bars_of_few()),
        strategies=plan.settings.strategies,
    )  # fmt: skip
    return AgentSession(book=engine.book, record=engine.book.begin(plan), exploration=exploration).run()


def made(found: Nights) -> tuple[NightMade | PipelineError, dict[str, StepOutcome]]:
    heard: list[StepOutcome] = []
    try:
        return found.make(heard.append), {each.name: each for each in heard}
    except PipelineError as error:
        return error, {each.name: each for each in heard}


def test_a_session_that_is_cut_fails_its_step_and_the_rest_of_the_night_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registration waits for nobody; resumed, the night chooses again, and what it registered first."""
    rules = {"registrations": {"least_history": 0.0, "least_trades": 0}}
    with monkeypatch.context() as patched:
        patched.setattr(ResearchEngine, "carry_out", killed)
        said, heard = made(of(tmp_path, ideas(), tiny(), **rules))
    assert str(said) == "night 2018-12-31: agents: the process of the session was killed by signal 9"
    assert heard["agents"].outcome is Outcome.FAILED
    assert heard["gate"].outcome is Outcome.LEFT_OUT
    assert heard["report"].outcome is Outcome.DONE
    (own,) = registered(of(tmp_path, ideas(), tiny(), **rules))

    monkeypatch.setattr(ResearchEngine, "carry_out", on_a_counter)
    said, heard = made(of(tmp_path, ideas(), tiny(), **rules))
    assert isinstance(said, NightMade)
    assert heard["sweep"].outcome is Outcome.KEPT
    assert heard["register"].outcome is Outcome.DONE
    assert registered(of(tmp_path, ideas(), tiny(), **rules)) == [own]


def killed(engine: ResearchEngine, plan: SessionPlan) -> SessionRecord:
    raise AgentError("the process of the session was killed by signal 9")


def registered(found: Nights) -> list[str]:
    effects: Callable[[], Any] = found.context.effects.all
    return [each.content["name"] for each in effects() if each.kind == REGISTERED]


def test_a_session_that_cannot_be_made_again_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a bench of hashes it found what nobody finds on bars: the gate says so; nothing is registered."""
    monkeypatch.setattr(ResearchEngine, "carry_out", on_a_counter)
    found = of(tmp_path, ideas(), registrations={"least_trades": 0})
    said, _ = made(found)
    assert isinstance(said, NightMade)
    assert "run again it finds" in said.troubles[0]
    assert "it is not the same session" in said.troubles[0]
    assert registered(found) == []
    assert (tmp_path / "results/agents/session-1.html").is_file()


class TestChoice:
    """Whose winner is registered, where searches and agents have one."""

    @pytest.fixture
    def night(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
        known = WeighedWinner.of

        def weighed(lab: Any, winner: NightWinner) -> WeighedWinner:
            if winner.session is not None:
                return known(lab, winner)
            worth = register.HistoryWorth(p_value=0.01, e_value=float(winner.name))
            return WeighedWinner(
                winner=winner, provenance=register.CandidateOrigin(searched="declared", trials=9), worth=worth
            )

        monkeypatch.setattr(WeighedWinner, "of", weighed)
        return of(tmp_path)

    @staticmethod
    def names(found: Nights, *winners: NightWinner) -> list[str]:
        return [each.winner.name for each in choose(found.context, winners).chosen]

    def test_a_history_that_speaks_comes_before_one_that_counts_nothing(self, night: Nights) -> None:
        agents = NightWinner(name="agents", session=1, symbol="COMP", hash="a", trades=99)
        strong, weak = (
            NightWinner(name=name, experiment=2, symbol="COMP", hash=name, trades=99) for name in ("3", "0.5")
        )
        assert self.names(night, agents, weak) == ["agents"]
        assert self.names(night, agents, strong) == ["3"]
        few = replace(strong, trades=2)
        assert self.names(night, agents, few) == ["agents"]

    def test_where_more_is_asked_of_a_history_no_session_is_enough(self, tmp_path: Path) -> None:
        found = of(tmp_path, registrations={"least_history": 2.0})
        agents = NightWinner(name="agents", session=1, symbol="COMP", hash="a", trades=99)
        chosen = choose(found.context, [agents])
        assert chosen.chosen == []
        assert chosen.reasons == [
            "agents: its history is worth 1 after a search without a bound, and 2 is the least"
        ]


def test_a_winner_that_the_gate_refused_is_not_registered(tmp_path: Path) -> None:
    """Nor one that it could not judge. Without any evidence one is registered where the space says so."""
    about = {
        "session": 1,
        "space": "ideas",
        "symbol": "COMP",
        "name": "agents_COMP_1_2",
        "hash": "ab",
        "trades": 99,
    }
    read = {"verify": {"results": []}, "gate": {"sessions": []}}

    def worked(verdict: str, **changes: Any) -> dict[str, Any]:
        found = of(tmp_path, ideas(**changes), registrations={"least_trades": 0})
        read["gate"] = {"sessions": [{**about, "verdict": verdict, "reason": "a reason"}]}
        for name, content in read.items():
            write_json(tmp_path, name, content)
        inputs = dict.fromkeys(read, tmp_path)
        register.work(found.context, inputs, tmp_path)
        return read_json({"register": tmp_path}, "register")

    for verdict in ("refused", "not judged", "forward"):
        how = "; the space registers what passed" if verdict == "forward" else ""
        assert worked(verdict)["registered"] == []
        assert worked(verdict)["refused"] == [f"session 1 of agents: {verdict}: a reason{how}"]
    # Whoever is registered is looked for, and here is nobody.
    for verdict, changes in (("passed", {}), ("forward", {"registers": "forward"})):
        with pytest.raises(AgentError, match="session 1: there is none"):
            worked(verdict, **changes)


def test_the_shipped_example_is_a_night(tmp_path: Path) -> None:
    config = NightlyConfig.load(ROOT / "configs/pipeline/agents.yml")
    (own,) = config.explored
    sessions.require_researchers([own])
    assert own.agents.strategies == 100
