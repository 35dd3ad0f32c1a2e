"""What a session of agents is asked for, as commands, notebooks and nights spell it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep.errors import ConfigError
from lockstep.market.config import InstrumentBook
from lockstep.settings import suggestion
from research.agents.database import FROZEN, AgentBook
from research.agents.plan import AgentSettings, SessionPlan, plan_of
from research.agents.proposal import KnownModel
from research.agents.router import KINDS, AgentRouter
from research.agents.team import researcher_named

EACH = 10
"""How many strategies of each kind a session makes at least, unless told otherwise."""


def with_kinds(content: Mapping[str, Any], *, where: str = "kinds") -> dict[str, Any]:
    """Return settings whose `kinds` say how many strategies of each kind there are at least.

    content   its `kinds` are a list, or a text with commas, of which there are `each`; a mapping is kept

    ConfigError, which begins with `where`, for a kind that there is none of.

    >>> with_kinds({"kinds": "technical, ml", "each": 5})
    {'kinds': {'technical': 5, 'ml': 5}}
    """
    found = dict(content)
    each, kinds = found.pop("each", EACH), found.get("kinds", KINDS)
    if isinstance(kinds, str):
        kinds = [kind for kind in (part.strip() for part in kinds.split(",")) if kind]
    if isinstance(kinds, Mapping) or not isinstance(kinds, list | tuple):
        return found
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"{where} {kind!r}: there is no such kind{suggestion(str(kind), KINDS)}")
    return {**found, "kinds": dict.fromkeys(kinds, each)}


def require_possible(settings: AgentSettings) -> None:
    """Raise ConfigError where there is no such researcher, AgentError where it needs a larger budget."""
    researcher = researcher_named(settings.researcher, settings.options)
    AgentRouter(kinds=settings.kinds, screen=researcher.least).require(settings.strategies)


def planned(
    settings: AgentSettings, book: AgentBook, instruments: InstrumentBook | None = None
) -> SessionPlan:
    """Return the plan of a session that is asked for; reads its bars, and writes nothing.

    What was cut goes on with the models that it began with, whatever the zoo has by now; a session that is
    complete is another one where the zoo has other models since. Errors as of `plan_of`.
    """
    plan = plan_of(settings, models=models_of(settings, book), book=instruments)
    cut = (each.plan for each in book.sessions() if FROZEN not in each.events)
    return next((each for each in cut if _without_models(each) == _without_models(plan)), plan)


def _without_models(plan: SessionPlan) -> dict[str, Any]:
    return plan.model_dump(mode="json", exclude={"models"})


def models_of(settings: AgentSettings, book: AgentBook) -> tuple[KnownModel, ...]:
    """Return the models of the zoo that a session is told of.

    One that trains none needs none, nor what loads them.
    """
    if set(settings.kinds) == {"technical"}:
        return ()
    from research.agents.quant import models_of_zoo

    return models_of_zoo(settings.symbol, book)
