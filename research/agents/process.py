"""The process of a session. It is started with the last day of training in its environment, see `reach.py`.

    python -m research.agents.process        the plan of a session, as JSON, comes in by its input

It holds no bar after that day, whoever asks: a researcher that loads bars itself finds those of the session.
Validation, gate and registration belong to other processes, which begin after this one froze its winners.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.console import run
from lockstep.errors import AgentError
from lockstep.identity import cache_root
from lockstep.market.history import History, SeriesKey
from lockstep.market.reach import BARS_UNTIL, UNTIL
from lockstep.models.store import ModelStore
from research.agents.bench import TrainingBench, evaluator_of, training_history
from research.agents.database import AgentBook, SessionRecord
from research.agents.evaluation import TrainingEvaluator
from research.agents.loop import Exploration
from research.agents.plan import SessionPlan, code_of
from research.agents.proposal import KnownModel, Researcher
from research.agents.router import AgentRouter
from research.agents.session import AgentSession, Hear, deaf
from research.agents.specs import SpecGround
from research.agents.team import researcher_named
from research.ledger.doors import introduce
from research.utils.at_work import only_one

_NAN = float("nan")


def explored(
    book: AgentBook,
    plan: SessionPlan,
    *,
    researcher: Researcher | None = None,
    hear: Hear = deaf,
    begin: Callable[[SessionRecord], None] = lambda record: None,
) -> SessionRecord:
    """Make a session, or what is missing of it, in this process; returns its record.

    researcher   None: that of the plan; begin   hears of the session before its first proposal

    AgentError where this process can see other bars than those of the training, where code or bars are not
    those that the session was begun with, or where another process is at work.
    """
    _require_reach(plan)
    _require_code(plan)
    chosen = researcher or researcher_named(plan.settings.researcher, plan.settings.options)
    router = AgentRouter(kinds=plan.settings.kinds, screen=chosen.least)
    router.require(plan.settings.strategies)
    with only_one_session(book, plan):
        history = training_history(plan)
        key = SeriesKey(plan.settings.symbol, plan.timeframe)
        introduce(book.ledger, history, key, plan.family, now=book.now())
        record = book.begin(plan)
        begin(record)
        evaluator = evaluator_of(plan, history)
        exploration = exploration_of(book, record, history, evaluator, chosen, router)
        session = AgentSession(book=book, record=record, exploration=exploration, hear=hear)
        if plan.has_models:
            # It loads the libraries of all estimators, which technical sessions do without.
            from research.agents.quant import MLQuantAgent

            agent = MLQuantAgent(
                plan=plan, history=history, evaluator=evaluator, ledger=book.ledger, store=ModelStore()
            )
            bench = TrainingBench(evaluator=evaluator, version=agent.get_or_create_model)
            session = replace(session, exploration=replace(exploration, bench=bench), freeze=agent.freeze)
        return session.run()


def exploration_of(
    book: AgentBook, record: SessionRecord, history: History, evaluator: TrainingEvaluator,
    researcher: Researcher, router: AgentRouter,
) -> Exploration:  # fmt: skip
    """Return what does not change while a session goes on; its bench trains no models."""
    plan = record.plan
    models = known_models(plan)
    meanings, behaviours = book.remembered(record)
    return Exploration(
        researcher=researcher,
        router=router,
        ground=SpecGround(
            symbol=plan.settings.symbol, terms=plan.settings.terms, history=history, models=models
        ),
        bench=TrainingBench(evaluator=evaluator),
        strategies=plan.settings.strategies,
        seed=plan.settings.seed,
        goal=plan.settings.goal,
        catalogue=evaluator.catalogue(),
        answers=evaluator.answers(),
        earlier=book.earlier(record),
        meanings=meanings,
        behaviours=behaviours,
    )


def known_models(plan: SessionPlan) -> tuple[KnownModel, ...]:
    """Return the models of the zoo that a session is told of, as they were when it was begun."""
    return tuple(
        KnownModel(
            name=each.name, version=each.version, column=each.column, spec=each.spec, note=each.note,
            used_by=each.used_by, best=each.best,
            mean_sharpe=_NAN if each.mean_sharpe is None else each.mean_sharpe,
        )
        for each in plan.models
    )  # fmt: skip


@contextmanager
def only_one_session(book: AgentBook, plan: SessionPlan) -> Iterator[None]:
    """Hold the lock of the database's sessions; AgentError, saying who has it, where another process does."""
    url = book.ledger.database.engine.url
    named = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database:
        # `sqlite:///trials.db` is another database in another folder.
        named = str(Path(url.database).resolve())
    digest, symbol = hashlib.sha256(named.encode()).hexdigest()[:16], plan.settings.symbol
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    says = f"process {os.getpid()} is at work on a session of {symbol}, since {now} UTC"
    place = cache_root() / "locks" / f"agents-{digest}.lock"
    with only_one(place, says, where=f"a session of {symbol}", error=AgentError):
        yield


def _require_reach(plan: SessionPlan) -> None:
    if UNTIL != plan.train.end:
        seen = "all bars" if UNTIL is None else f"bars until {UNTIL}"
        raise AgentError(
            f"this process can see {seen}, and a session may see none after {plan.train.end}: begin it with "
            f"`lockstep agents session`, or with {BARS_UNTIL}={plan.train.end} in the environment"
        )


def _require_code(plan: SessionPlan) -> None:
    found = code_of(plan.settings.researcher)
    if found != plan.code:
        raise AgentError(
            f"the code is {found[:12]}, and the session was begun with {plan.code[:12]}: what it would do "
            "now is another session; begin one"
        )


def main() -> None:
    """Make the session whose plan is on the input, and print its number, then a line for each trial."""
    plan = SessionPlan.model_validate_json(sys.stdin.read())

    def say(content: dict[str, Any]) -> None:
        print(json.dumps(content), flush=True)

    def hear(trial: Any) -> None:
        fitness = trial.fitness
        say(
            {
                "number": trial.number, "kind": trial.proposal.kind, "status": trial.status,
                "fitness": fitness if abs(fitness) != float("inf") else None,
            }
        )  # fmt: skip

    explored(AgentBook.open(), plan, hear=hear, begin=lambda record: say({"session": record.id}))


if __name__ == "__main__":
    run(main)
