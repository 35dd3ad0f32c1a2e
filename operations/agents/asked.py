"""What a session of agents is asked for, as commands, notebooks and nights spell it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep.errors import ConfigError
from lockstep.settings import suggestion
from research.agents.database import AgentBook
from research.agents.plan import AgentSettings
from research.agents.proposal import KnownModel
from research.agents.router import KINDS

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


def models_of(settings: AgentSettings, book: AgentBook) -> tuple[KnownModel, ...]:
    """Return the models of the zoo that a session is told of.

    One that trains none needs none, nor what loads them.
    """
    if set(settings.kinds) == {"technical"}:
        return ()
    from research.agents.quant import models_of_zoo

    return models_of_zoo(settings.symbol, book)
