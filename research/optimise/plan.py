"""`PortfolioPlan`: what the optimiser makes a portfolio of, from `configs/training/portfolio.yml`.

Lanes, groups, the volatility that is wanted and the drawdown that is declared; sizes and further limits are
what the optimiser finds. Everything in the file is obeyed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from lockstep.errors import ConfigError
from lockstep.identity import json_digest
from lockstep.market.config import InstrumentBook
from lockstep.market.families import load_families
from lockstep.market.instrument import Instrument
from lockstep.models.manifest import Symbol
from lockstep.portfolio.config import (
    Count,
    EnsembleMember,
    Part,
    PortfolioLimits,
    Positive,
    RankRule,
    VersionOrProduction,
    torn_apart,
    traded_twice,
    unfit_lane,
)
from lockstep.settings import Grown, Settings, read_yaml, validated

PLAN = "training/portfolio.yml"
# Keys of the file that was shown and obeyed by nothing, with what says the same now.
_FORMER: Mapping[str, str] = {
    "cash": "capital",
    "instruments": "lanes: [{symbol: ES, version: production}]",
    "risk": "target_volatility, limits.daily_loss.fraction and limits.max_gross",
}


class PlannedLane(Grown):
    """One instrument and what trades it: a version of the model store, a strategy's file, or an ensemble.

    members         of an ensemble, as in a portfolio; the optimiser sizes it as a whole
    max_contracts   largest size; weight_cap: largest notional value, in multiples of the capital
    """

    LATER: ClassVar[frozenset[str]] = frozenset(("members",))

    symbol: Symbol
    version: VersionOrProduction | None = None
    strategy: str | None = None
    members: tuple[EnsembleMember, ...] = ()
    max_contracts: Positive | None = None
    weight_cap: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        for problem in unfit_lane(self.symbol, self.version, self.strategy, self.members):
            raise ValueError(problem)
        return self


class PlannedGroup(Settings):
    """Instruments that are one bet: together they get the risk of one lane that is in no group.

    max_positions, max_gross   limits of the group, as in a portfolio; None: none
    """

    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    max_positions: Count | None = None
    max_gross: Positive | None = None

    @property
    def limited(self) -> bool:
        """Whether the coordinator has anything to hold."""
        return self.max_positions is not None or self.max_gross is not None


class CorrelationRule(Settings):
    """Two lanes whose daily returns of the last `window` sessions correlate more must share a group."""

    max_pairwise: Annotated[float, Field(gt=0, le=1)] = 0.9
    window: Annotated[int, Field(ge=60)] = 252


class DeclaredDrawdown(Settings):
    """The deepest fall, fraction of the capital, that may come with a chance of `probability`.

    The chance is that of as many sessions as the streams hold.
    """

    at: Annotated[float, Field(ge=0.01, le=1)]
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.1


class PortfolioPlan(Grown):
    """What is to be optimised: one account of `capital` USD.

    day                 session template whose dates are the account's days
    target_volatility   standard deviation of a year, fraction of the capital, before whole contracts
    limits              always in force; the optimiser adds to them and loosens none
    rank                as in a portfolio
    neutral             factors of `factors.yml` that the lanes' profit and loss may not depend on

    >>> from lockstep.market.config import shipped_config
    >>> plan = load_plan(shipped_config("training/portfolio.yml"))
    >>> plan.symbols, plan.target_volatility
    (('COMP', 'SPX'), 0.1)
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"neutral"})

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*$")] = "desk"
    capital: Positive
    day: str
    lanes: Annotated[tuple[PlannedLane, ...], Field(min_length=1)]
    groups: dict[str, PlannedGroup] = Field(default_factory=dict)
    correlation: CorrelationRule = CorrelationRule()
    target_volatility: Part
    drawdown: DeclaredDrawdown
    limits: PortfolioLimits = PortfolioLimits()
    rank: RankRule = RankRule()
    neutral: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        symbols = [each.symbol for each in self.lanes]
        yield from traded_twice(symbols)
        homes: dict[str, str] = {}
        for name, group in self.groups.items():
            for symbol in group.symbols:
                if symbol not in symbols:
                    yield f"groups.{name}: {symbol} has no lane; leave it out"
                if symbol in homes:
                    yield f"{symbol}: in groups {homes[symbol]} and {name}; put it in one of them"
                homes[symbol] = name
        if len(set(self.neutral)) < len(self.neutral):
            yield "neutral: a factor is named twice; name each once"
        if self.rank.by == "listed" and sorted(self.rank.order) != sorted(symbols):
            yield f"rank: order {', '.join(self.rank.order)} is not that of the lanes {', '.join(symbols)}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The lanes' symbols, sorted."""
        return tuple(sorted(each.symbol for each in self.lanes))

    @property
    def plan_hash(self) -> str:
        """SHA-256 (hex) of all of it but the order in which lanes are listed."""
        content = self.model_dump(mode="json")
        content["lanes"] = sorted(content["lanes"], key=lambda each: str(each["symbol"]))
        return json_digest(content)

    def lane(self, symbol: str) -> PlannedLane:
        """Return the lane of a symbol that has one."""
        return next(each for each in self.lanes if each.symbol == symbol)

    def group_of(self, symbol: str) -> str:
        """Return the group that holds a symbol, "" for none."""
        return next((name for name, each in self.groups.items() if symbol in each.symbols), "")


def load_plan(path: Path, book: InstrumentBook | None = None) -> PortfolioPlan:
    """Read a plan; ConfigError where it is wrong or names what `book` (None: unchecked) does not declare."""
    content = read_yaml(path)
    for key in content if isinstance(content, Mapping) else ():
        if key in _FORMER:
            raise ConfigError(f"{path}: {key!r} is no key any more; write {_FORMER[key]}")
    plan = validated(PortfolioPlan, content, where=str(path))
    if book is None:
        return plan
    try:
        book.session_named(plan.day)
        instruments = {symbol: book.instrument(symbol) for symbol in plan.symbols}
        groups = {name: each.symbols for name, each in plan.groups.items()}
        for problem in (*torn_apart(groups, instruments), *_apart(plan, instruments)):
            raise ConfigError(problem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return plan


def _apart(plan: PortfolioPlan, instruments: Mapping[str, Instrument]) -> Iterator[str]:
    """Yield what is one market and would be counted as two bets."""
    families = load_families()
    first: dict[str, str] = {}
    for symbol, instrument in instruments.items():
        family = families.of(instrument)
        other = first.setdefault(family, symbol)
        if other != symbol and not (plan.group_of(symbol) == plan.group_of(other) != ""):
            yield f"{other} and {symbol} are one market (family {family}); put both into one of `groups`"
