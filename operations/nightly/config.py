"""`NightlyConfig`: what `configs/pipeline/nightly.yml` says. Frozen; unknown fields are refused."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lockstep.desk import anchored, desk_folder
from lockstep.errors import ConfigError
from lockstep.identity import json_digest
from lockstep.live.config import AlertSettings
from lockstep.market.config import shipped_config
from lockstep.settings import Settings, read_bytes, read_yaml, validated
from operations.agents.asked import with_kinds
from research.agents.plan import AgentSettings
from research.experiments.grid import SelectBy, Values
from research.splits.ranges import Split
from research.statistics.null_replay import REPLAYS

_MOST = 20_000_000
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class NightlySpace(Settings):
    """A declared space: a grid over a strategy on fixed dates, walked through a part a night.

    strategy     its file, beside the file of the configuration, else one that is shipped
    parameters   as in a grid file: dotted path -> values, or {start, stop, step}
    split        as in a grid file; another split is another space
    per_night    combinations that a night evaluates for each symbol, 0 < per_night
    seed         of the order in which the nights come to them
    top          how many of a night's best Backtrader runs again; select_by   the measure that ranks them
    """

    name: _Name
    strategy: Path
    parameters: Annotated[dict[str, Values], Field(min_length=1)]
    split: Split
    per_night: Annotated[int, Field(ge=2, le=1_000_000)]
    seed: Annotated[int, Field(ge=0)] = 0
    top: Annotated[int, Field(ge=1, le=100)] = 3
    select_by: SelectBy = "sharpe"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size > _MOST:
            raise ValueError(
                f"space {self.name}: {self.size:,} combinations, at most {_MOST:,}; take fewer values"
            )
        return self

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(len(values) for values in self.parameters.values())

    @cached_property
    def content(self) -> bytes:
        """Its strategy's file as it was first read: an edit in the middle of a night is the next night's."""
        return read_bytes(self.strategy)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that it says, and of its strategy's file."""
        content = hashlib.sha256(self.content).hexdigest()
        return json_digest([self.model_dump(mode="json", exclude={"strategy"}), content])


# What the night says of all its spaces, and no session by itself.
_OF_THE_NIGHT = ("symbol", "data_dir", "source")


class AgentSpace(Settings):
    """A space that research agents search: a session a night, in a process of its own.

    agents     as `lockstep agents session` spells it, `kinds` as a list with `each`; symbol and bars are the
               night's. Without `end` the range ends with the newest session of the first night, for good
    sessions   how many there are for each symbol, one a night, with seeds from `agents.seed` on; each is told
               what the earlier ones found
    replays    by which the gate judges a winner
    registers  `passed`: a winner that passed its gate; `forward`: also one of which only bars that come later
               can say, which is a registration without any evidence so far
    """

    name: _Name
    agents: AgentSettings
    sessions: Annotated[int, Field(ge=1, le=10_000)] = 1
    replays: Annotated[int, Field(ge=19, le=9_999)] = REPLAYS
    registers: Literal["passed", "forward"] = "passed"

    @field_validator("agents", mode="before")
    @classmethod
    def _as_the_command_has_it(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = next((name for name in _OF_THE_NIGHT if name in given), None)
        if own is not None:
            raise ValueError(f"{own} is that of the night; leave it out")
        try:
            return {**with_kinds(given), "symbol": ""}
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that it says."""
        return json_digest(self.model_dump(mode="json"))

    def asked(self, number: int, symbol: str, config: NightlyConfig) -> AgentSettings:
        """Return what a session is asked for, on a symbol; number: 0 for the first."""
        return self.agents.model_copy(
            update={
                "symbol": symbol, "seed": (self.agents.seed + number) % 2**32, "source": config.source,
                "data_dir": None if config.data_dir is None else str(config.data_dir),
            }
        )  # fmt: skip


def _kind_of_space(given: Any) -> str:
    by_agents = "agents" in given if isinstance(given, Mapping) else isinstance(given, AgentSpace)
    return "(agents)" if by_agents else "(declared)"


Space = Annotated[
    Annotated[NightlySpace, Tag("(declared)")] | Annotated[AgentSpace, Tag("(agents)")],
    Discriminator(_kind_of_space),
]


class RegistrationRules(Settings):
    """When a night registers a winner for forward evidence; each registration spends the year's budget.

    days_between     between two registrations of nights, whatever they register
    most_per_night   registrations of one night
    least_history    what a winner's history must be worth at least, e_hist >= 0; see docs/forward.md
    least_trades     of a winner on its test dates: what few trades earned says little, and their p-value errs
    per_year         registrations of a year; the first of a year decides
    """

    days_between: Annotated[int, Field(ge=0, le=3_650)] = 30
    most_per_night: Annotated[int, Field(ge=0, le=12)] = 1
    least_history: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    least_trades: Annotated[int, Field(ge=0)] = 30
    per_year: Annotated[int, Field(ge=1, le=100)] = 12


class NightlyConfig(Settings):
    """What a night does; paths are relative to the working or the desk folder.

    symbols      each has its bars, its searches and its registrations; what stops one stops no other
    spaces       what is searched: grids, all of which is declared before their first result, and what agents
                 search, which is not
    results      folder of the nights: steps, pages
    data_dir, source   where bars come from, as for the backtest runner
    accepted     kinds of findings of `lockstep data check` that stop no symbol
    min_quality  score below which a symbol is stopped, 0 … 100; None: none is, by its score
    registrations   when a winner is registered; log   the log of strategies
    journal      of the live engine: its bars are seen first; None without one
    monitoring, retraining   configurations of the monitor and of retrainings; None: no desk is watched
    keep_nights  nights whose runs and folders are kept; what was tried stays counted
    alerts       where alerts go beside the log of the process
    """

    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    spaces: Annotated[tuple[Space, ...], Field(min_length=1)]
    results: Path
    data_dir: Path | None = None
    source: str | None = None
    accepted: tuple[str, ...] = ()
    min_quality: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    registrations: RegistrationRules = RegistrationRules()
    log: Path = Path("STRATEGY_LOG.md")
    journal: Path | None = None
    monitoring: Path | None = None
    retraining: Path | None = None
    keep_nights: Annotated[int, Field(ge=1, le=1_000)] = 5
    alerts: AlertSettings = AlertSettings()

    @field_validator("symbols", "spaces")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [each if isinstance(each, str) else each.name for each in given]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} occurs twice; name it once")
        return given

    @model_validator(mode="after")
    def _desk_for_retraining(self) -> Self:
        if self.retraining is not None and self.monitoring is None:
            raise ValueError("retraining without monitoring: its triggers are the monitor's; give both")
        return self

    @property
    def declared(self) -> tuple[NightlySpace, ...]:
        """The spaces that are declared."""
        return tuple(each for each in self.spaces if isinstance(each, NightlySpace))

    @property
    def explored(self) -> tuple[AgentSpace, ...]:
        """The spaces that agents search."""
        return tuple(each for each in self.spaces if isinstance(each, AgentSpace))

    @classmethod
    def load(cls, path: Path) -> NightlyConfig:
        """Read a YAML file; ConfigError naming file, field, value and rule.

        Relative paths in a file of a desk folder are relative to that folder.
        """
        settings = validated(cls, read_yaml(path), where=str(path))
        spaces = tuple(
            each.model_copy(update={"strategy": _beside(path, each.strategy)})
            if isinstance(each, NightlySpace)
            else each
            for each in settings.spaces
        )
        desk = desk_folder(path.parent)
        if desk is not None:
            settings = anchored(settings, desk.root)
        return settings.model_copy(update={"spaces": spaces})


def _beside(path: Path, strategy: Path) -> Path:
    folders = (path.parent, shipped_config("pipeline/nightly.yml").parent)
    found = next((folder / strategy for folder in folders if (folder / strategy).is_file()), None)
    if found is None:
        raise ConfigError(f"{path}: strategy {strategy}: there is no such file beside it; correct the path")
    return found
