"""Which scenarios are run, and the gate: `--scenarios FILE`, or those that come with Lockstep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, model_validator

from lockstep.plugs import chosen_by_kind
from lockstep.settings import Settings, read_yaml, validated
from research.stress.scenarios import SCENARIOS, Scenario

GATE = 0.4
_WORST = 5
_SHOCKS = (-0.2, -0.5, -0.7)
_PATH_SESSIONS = (1, 5)
_CRISES = (
    ("2000 to 2002, dot-com", "2000-03-10", "2002-10-09"),
    ("2007 to 2009, credit crisis", "2007-10-09", "2009-03-09"),
    ("2011-08, downgrade of the USA", "2011-07-22", "2011-08-19"),
    ("2015-08, devaluation in China", "2015-08-10", "2015-08-25"),
    ("2018-02, short volatility", "2018-01-26", "2018-02-08"),
    ("2018-12", "2018-10-03", "2018-12-24"),
    ("2020-03, COVID", "2020-02-19", "2020-03-23"),
)


class StressPlan(Settings):
    """A file of scenarios.

    gate        drawdown, fraction of the capital, that the worst scenario must stay below
    worst       how many of the worst gaps, and of the worst other scenarios, Cerebro runs again
    scenarios   each with its `kind`

    >>> plan = StressPlan.model_validate({"scenarios": [{"kind": "gap", "shock": -0.5}]})
    >>> plan.scenarios[0].title, plan.gate
    ('gap -50%', 0.4)
    """

    gate: Annotated[float, Field(gt=0, le=1)] = GATE
    worst: Annotated[int, Field(ge=1, le=100)] = _WORST
    scenarios: Annotated[
        tuple[Annotated[SerializeAsAny[Scenario], chosen_by_kind(SCENARIOS)], ...], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _titles_differ(self) -> StressPlan:
        titles = [each.title for each in self.scenarios]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"scenarios: two are called {title!r}; give one of them a name")
        return self


def default_plan() -> StressPlan:
    """Return the scenarios that come with Lockstep."""
    shocks: list[dict[str, Any]] = [{"kind": "gap", "shock": shock} for shock in _SHOCKS]
    paths = [
        {"kind": "path", "shock": shock, "sessions": sessions}
        for sessions in _PATH_SESSIONS
        for shock in _SHOCKS
    ]
    replays = [{"kind": "replay", "name": name, "start": start, "end": end} for name, start, end in _CRISES]
    others = [
        {"kind": "volatility", "times": 3}, {"kind": "correlation"}, {"kind": "slippage", "times": 5},
    ]  # fmt: skip
    return validated(
        StressPlan, {"scenarios": [*replays, *shocks, *paths, *others]}, where="default scenarios"
    )


def load_plan(path: Path) -> StressPlan:
    """Read a file of scenarios; ConfigError, with field, value and rule, where it is wrong."""
    return validated(StressPlan, read_yaml(path), where=str(path))
