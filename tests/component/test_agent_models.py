"""Sessions that read models: trained before each fold, frozen whole for the desk, found by the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from lockstep.errors import LockstepError
from lockstep.models import model_column
from lockstep.models.store import ModelStore, read_column_id
from research.agents import process
from research.agents.bench import evaluator_of, training_history
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.plan import AgentSettings, SessionPlan, plan_of
from research.agents.proposal import KnownModel
from research.agents.quant import MLQuantAgent, models_of_zoo
from research.agents.specs import SpecGround, spec_of, stand_in
from support.agent_sessions import NOON, book_in
from support.explorers import CALM

SETTINGS = AgentSettings(
    symbol="COMP", researcher="support.explorers:Dice", strategies=5, kinds={"hybrid": 0}, least_trades=5,
    start="2004-01-02", end="2014-12-31",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Made:
    """A session with a model, and what it left."""

    book: AgentBook
    plan: SessionPlan
    record: SessionRecord
    agent: MLQuantAgent
    models: tuple[KnownModel, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_column, "_opened", {})
        patch.setenv("LOCKSTEP_MODEL_STORE", str(folder / "store"))
        patch.setattr("research.agents.quant.cache_root", lambda: folder / "cache")
        book, plan = book_in(folder), plan_of(SETTINGS)
        patch.setattr(process, "UNTIL", plan.train.end)
        record = process.explored(book, plan)
        history = training_history(plan)
        agent = MLQuantAgent(
            plan=plan, history=history, evaluator=evaluator_of(plan, history), ledger=book.ledger,
            store=ModelStore(),
        )  # fmt: skip
        yield Made(
            book=book, plan=plan, record=record, agent=agent, models=models_of_zoo("COMP", book)
        )  # fmt: skip


def test_a_fold_reads_a_version_that_ends_before_it(made: Made) -> None:
    store = ModelStore(made.agent.folder)
    versions = store.manifest().instruments["COMP"]["volatility_h1"].versions
    assert len(versions) == len(made.agent.evaluator.folds) == 6
    for fold in range(6):
        column = read_column_id(made.agent.get_or_create_model(CALM, fold))
        assert column is not None
        trained = versions[column.version].training_range
        assert trained is not None
        # Windows fill first.
        assert trained[0] > str(made.plan.train.start)
        assert trained[1] < str(made.agent.evaluator.folds.dates(fold).start)
    assert len(store.manifest().instruments["COMP"]["volatility_h1"].versions) == 6, (
        "nothing is trained twice"
    )


def test_strategies_with_models_are_evaluated_and_the_winner_is_whole(made: Made) -> None:
    found = made.book.strategies(made.record.id)
    assert {each.trial.proposal.kind for each in found} == {"hybrid"}
    # Some do the same as others, and are counted.
    assert {each.trial.status for each in found} <= {"evaluated", "repeated"}
    assert sum(each.trial.status == "evaluated" for each in found) >= 2
    assert all(stand_in(CALM) in each.trial.versions for each in found)
    (entry,) = ModelStore().manifest().instruments["COMP"]["volatility_h1"].versions.values()
    assert entry.training_range is not None
    late = str(made.agent.evaluator.folds.dates(5).start)
    assert late < entry.training_range[1] <= str(made.plan.train.end)
    assert entry.status == "candidate"
    assert ModelStore().manifest().instruments["COMP"]["volatility_h1"].production is None
    (model,) = made.models
    winner = made.record.events[FROZEN]["winners"][0]
    assert winner["versions"] == {stand_in(CALM): model.column}
    assert model.column in json.dumps(winner["config"])


def test_the_next_session_is_told_of_the_model_and_its_use(made: Made) -> None:
    (model,) = made.models
    assert (model.name, model.version, model.spec) == ("volatility_h1", "v1", CALM)
    assert model.used_by == 5
    best = made.book.get_top(1)[0]
    assert model.best == best.name
    sharpes = [each.trial.measures.sharpe for each in made.book.strategies() if each.trial.measures]
    assert model.mean_sharpe == pytest.approx(sum(sharpes) / 5)
    plan = plan_of(SETTINGS, models=made.models)
    assert plan.key != made.plan.key
    assert process.known_models(plan) == made.models
    more = plan_of(SETTINGS, models=(replace(model, used_by=9, best="9.9", mean_sharpe=0.0),))
    assert more.key == plan.key, "who used it is no other session"


def test_a_column_stands_for_the_spec_of_its_model(made: Made) -> None:
    (model,) = made.models
    ground = SpecGround(
        symbol="COMP", terms=SETTINGS.terms, history=made.agent.history, models=made.models
    )  # fmt: skip
    (trial,) = (each.trial for each in made.book.get_top(1))
    text = json.dumps(dict(trial.proposal.spec)).replace("model:calm", model.column)
    again = spec_of(replace(trial.proposal, spec=json.loads(text), models={}), ground)
    asked = spec_of(trial.proposal, ground)
    assert again.config.config_hash == asked.config.config_hash
    other = text.replace(model.column, model.column[:-12] + "0" * 12)
    with pytest.raises(LockstepError, match="model reference with another hash: in "):
        spec_of(replace(trial.proposal, spec=json.loads(other), models={}), ground)


def test_a_retired_model_is_refused_in_one_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = made.models
    # A process that begins a session has opened no other store.
    monkeypatch.setattr(model_column, "_opened", {})
    ModelStore().retire("COMP", "v1", name="volatility_h1", reason="test", by="test", now=NOON)
    assert models_of_zoo("COMP", made.book) == ()
    ground = SpecGround(symbol="COMP", terms=SETTINGS.terms, history=made.agent.history)
    proposal = made.book.get_top(1)[0].trial.proposal
    text = json.dumps(dict(proposal.spec)).replace("model:calm", model.column)
    with pytest.raises(LockstepError, match="v1 of COMP volatility_h1 is retired in "):
        spec_of(replace(proposal, spec=json.loads(text), models={}), ground)
    with pytest.raises(LockstepError, match="it was retired and must not be used again"):
        made.agent.get_or_create_model(CALM)
