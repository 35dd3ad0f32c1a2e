"""The researchers by name, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError
from lockstep.settings import suggestion
from research.agents.proposal import Researcher

# Module and class, or function, that makes a researcher from the options of a session.
TEAM: Mapping[str, tuple[str, str]] = {
    "screen": ("research.agents.researchers.screen", "ScreenResearcher"),
    "evolve": ("research.agents.researchers.evolve", "EvolveResearcher"),
    "tpe": ("research.agents.researchers.tpe", "TpeResearcher"),
    "random": ("research.agents.researchers.random", "RandomResearcher"),
    "llm": ("research.agents.llm", "LlmResearcher"),
}


def require_known(name: str) -> None:
    """Raise ConfigError, with the nearest name, where there is no such researcher.

    One of your own is named as `module:Class`.
    """
    if name not in TEAM and ":" not in name:
        raise ConfigError(f"researcher {name!r}: there is none of this name{suggestion(name, TEAM)}")


def researcher_named(name: str, options: Mapping[str, Any]) -> Researcher:
    """Return a researcher; ConfigError for an unknown name, or for options that it does not have."""
    require_known(name)
    module, made_by = TEAM[name] if name in TEAM else name.split(":", 1)
    try:
        found: Researcher = getattr(import_module(module), made_by)(**options)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(f"researcher {name!r}: {error}; correct the name, or its options") from error
    return found


def source_of(name: str) -> str | None:
    """Return the source of a researcher of your own, None for one of the team; ConfigError without one."""
    if name in TEAM:
        return None
    module = name.split(":", 1)[0]
    try:
        found = find_spec(module)
        if found is not None and found.origin is not None:
            return Path(found.origin).read_text(encoding="utf-8")
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(f"researcher {name!r}: {error}; correct the name") from error
    raise ConfigError(f"researcher {name!r}: there is no module {module!r}; correct the name")
