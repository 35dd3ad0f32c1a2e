"""`PortfolioConfig`: which strategies trade one account together, in which sizes and within which limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import yaml
from pydantic import Field, field_validator, model_validator

from lockstep.errors import ConfigError
from lockstep.identity import json_digest
from lockstep.market.bars import Floats
from lockstep.market.config import InstrumentBook
from lockstep.market.families import load_families
from lockstep.market.instrument import Instrument, lane_name, traded_symbol
from lockstep.models.manifest import Symbol
from lockstep.portfolio.split import SplitArm
from lockstep.settings import Grown, Settings, read_yaml, validated

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Part = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
VersionOrProduction = Annotated[str, Field(pattern=r"^(v[1-9]\d*|production)$")]

_DIGITS = 4
_NOT_NEGATIVE = -1e-8
_SUM = 1e-9
_FINEST = 1_000
VOLATILITY_ID = "realised_vol_20_252"


class EnsembleMember(Grown):
    """One of several strategies that trade an instrument together; `share` of the lane's size is its own.

    version, strategy, split   as of a lane
    """

    LATER: ClassVar[frozenset[str]] = frozenset(("split",))

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    version: VersionOrProduction | None = None
    strategy: str | None = None
    share: Part
    split: SplitArm | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.version is None) == (self.strategy is None):
            raise ValueError(f"{self.name}: give a version or a strategy, and not both")
        return self


class PortfolioLane(Grown):
    """One instrument and what trades it: a strategy, or an ensemble of them.

    version, strategy   version of the model store, or a strategy's file
    members             of an ensemble, each a lane of its own; their orders are netted. A lane has one of
                        version, strategy and members
    units, weight       contracts, for a strategy of fixed size; share of the capital, for one that sizes by
                        risk or volatility; a lane has one of them, and members their shares of it
    max_contracts       largest position; weight_cap: largest notional value, in multiples of the capital.
                        Members count without their signs
    split               the arm of an A/B test that it is: it enters on this arm's signals alone
    """

    LATER: ClassVar[frozenset[str]] = frozenset(("members", "split"))

    symbol: Symbol
    version: VersionOrProduction | None = None
    strategy: str | None = None
    members: tuple[EnsembleMember, ...] = ()
    units: Positive | None = None
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    max_contracts: Positive | None = None
    weight_cap: Positive | None = None
    split: SplitArm | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.units is None) == (self.weight is None):
            raise ValueError(
                f"{self.symbol}: give units (a strategy of fixed size) or a weight (any other), and not both"
            )
        for problem in unfit_lane(self.symbol, self.version, self.strategy, self.members):
            raise ValueError(problem)
        if self.members and self.split is not None:
            raise ValueError(f"{self.symbol}: an ensemble is no arm of a test; give `split` to its members")
        return self

    def member(self, member: EnsembleMember) -> PortfolioLane:
        """Return what a member trades as a lane: its share of the size, the limits of the instrument."""
        return PortfolioLane(
            symbol=self.symbol,
            version=member.version,
            strategy=member.strategy,
            units=None if self.units is None else _share(self.units, member.share),
            weight=None if self.weight is None else self.weight * member.share,
            max_contracts=self.max_contracts,
            weight_cap=self.weight_cap,
            split=member.split,
        )


def _share(units: float, share: float) -> float:
    """Return a part of units, without what decimal fractions leave behind: three tenths of ten are three."""
    part, nearest = units * share, round(units * share)
    return float(nearest) if abs(part - nearest) < _SUM * max(1.0, units) else part


def smallest_step(members: Sequence[EnsembleMember], step: float) -> float:
    """Return the fewest contracts of which every member gets whole steps; `step` without members.

    >>> shares = [("a", 0.4), ("b", 0.3), ("c", 0.3)]
    >>> smallest_step([EnsembleMember(name=name, strategy=name, share=share) for name, share in shares], 1.0)
    10.0
    """
    shares = [Fraction(each.share).limit_denominator(_FINEST) for each in members]
    return step * math.lcm(*(each.denominator for each in shares))


def unfit_lane(
    symbol: str, version: str | None, strategy: str | None, members: Sequence[EnsembleMember]
) -> Iterator[str]:
    """Yield what is wrong with what trades `symbol`, one line each: one of the three has to be given."""
    if [version is None, strategy is None, not members].count(False) != 1:
        yield (
            f"{symbol}: give a version or a strategy, or the members of an ensemble, and only one of these"
        )
    if not members:
        return
    if len(members) == 1:
        yield f"{symbol}: an ensemble of one member; give the lane its {members[0].name} without `members`"
    names = [each.name for each in members]
    traded = [(each.version or each.strategy, each.split) for each in members]
    for name, (what, split) in zip(names, traded, strict=True):
        if names.count(name) > 1:
            yield f"{symbol}: two members are named {name}; name each differently"
        if split is not None and [each.split for each in members].count(split) > 1:
            yield (
                f"{symbol}: two members are the {split.arm} of {split.test!r}, so that both would take its "
                "signals; let one of them be the other arm"
            )
        same = [each for other, each in traded if other == what]
        # Both arms of a test may trade one strategy, since no signal is taken by both.
        if len(same) > 1 and (None in same or len({each.test for each in same if each}) > 1):
            yield f"{symbol}: two members trade {what}: they are one strategy; give one of them both shares"
    total = sum(each.share for each in members)
    if abs(total - 1.0) > _SUM:
        yield f"{symbol}: shares of its members sum to {total:.6g}; they must sum to 1"


class RankRule(Settings):
    """In which order the proposals of one bar set are admitted; those of equal rank by symbol.

    by         symbol; listed: as in `order`; probability: the model's, the largest first; score: the value of
               the feature `id`, the largest first unless `smallest_first`
    top        how many of a set may be admitted, None for all
    """

    by: Literal["symbol", "listed", "probability", "score"] = "symbol"
    order: tuple[Symbol, ...] = ()
    id: str = ""
    smallest_first: bool = False
    top: Count | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, rule, value in (("order", "listed", self.order), ("id", "score", self.id)):
            if bool(value) != (self.by == rule):
                raise ValueError(f"{name} belongs to by: {rule}, which is {self.by}; give both or neither")
        if self.smallest_first and self.by != "score":
            raise ValueError(f"smallest_first belongs to by: score, which is {self.by}; leave it out")
        return self


class PortfolioGroup(Settings):
    """Instruments that move as one: most positions, largest gross value in multiples of the capital."""

    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    max_positions: Count | None = None
    max_gross: Positive | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_positions is None and self.max_gross is None:
            raise ValueError("a group without a limit does nothing; give max_positions or max_gross")
        return self


class VolatilityLimit(Settings):
    """Largest yearly standard deviation of all rooms together, as a fraction of the capital.

    id   feature that measures an instrument's yearly volatility, a fraction of its price
    """

    target: Positive
    id: str = VOLATILITY_ID


class DailyLossLimit(Settings):
    """Loss of a day, fraction of the capital, after which nothing is entered for the rest of the day.

    flatten   whether open positions leave, too
    """

    fraction: Part
    flatten: bool = False


class DrawdownTier(Settings):
    """From a drawdown of `at` (fraction of the capital) on sizes are multiplied by `scale`."""

    at: Part
    scale: Annotated[float, Field(gt=0, lt=1)]


class DrawdownLimit(Settings):
    """What a drawdown from the highest equity of the last `window` sessions does.

    Without a window it could end trading for ever: whole contracts times a scale round down to none, and a
    flat account never makes a new high. With one it is at its high after `window` sessions.

    release   a tier ends below this part of its drawdown
    halt      drawdown from which nothing is entered until an operator ends it; in research: never again
    """

    window: Annotated[int, Field(ge=2, le=2_520)]
    tiers: tuple[DrawdownTier, ...] = ()
    release: Part = 0.5
    halt: Part | None = None

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for lower, upper in itertools.pairwise(self.tiers):
            if not (lower.at < upper.at and lower.scale > upper.scale):
                raise ValueError(
                    f"tiers: at {upper.at:g} scale {upper.scale:g} follows at {lower.at:g} scale "
                    f"{lower.scale:g}; drawdowns must rise and scales must fall"
                )
        if self.halt is not None and self.tiers and self.halt <= self.tiers[-1].at:
            raise ValueError(f"halt {self.halt:g}: comes before the last tier at {self.tiers[-1].at:g}")
        if not self.tiers and self.halt is None:
            raise ValueError("neither tiers nor a halt: the limit does nothing; give one, or leave it out")
        return self


class PortfolioLimits(Settings):
    """Limits of the whole account; None: no such limit. Orders that wait count as positions.

    max_gross, max_net   sum of the absolute, of the signed notional values, in multiples of the capital
    max_margin           margin, fraction of the equity
    """

    max_positions: Count | None = None
    max_total_contracts: Positive | None = None
    max_gross: Positive | None = None
    max_net: Positive | None = None
    volatility: VolatilityLimit | None = None
    max_margin: Positive | None = None
    daily_loss: DailyLossLimit | None = None
    drawdown: DrawdownLimit | None = None


class CorrelationMatrix(Settings):
    """Correlations of the lanes' daily returns, rounded to 1e-4; rows and columns as in `symbols`."""

    symbols: tuple[Symbol, ...]
    matrix: tuple[tuple[float, ...], ...]

    @field_validator("matrix")
    @classmethod
    def _rounded(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(round(each, _DIGITS) for each in row) for row in value)

    @model_validator(mode="after")
    def _valid(self) -> Self:
        n = len(self.symbols)
        if len(self.matrix) != n or any(len(row) != n for row in self.matrix):
            raise ValueError(f"matrix: is not {n} x {n}, one row and column for each of the symbols")
        found = np.array(self.matrix)
        wrong = np.argwhere(~np.isfinite(found) | (found != found.T) | (np.eye(n) * (found - 1.0) != 0.0))
        if wrong.size:
            one, other = (int(each) for each in wrong[0])
            raise ValueError(
                f"matrix: correlation of {self.symbols[one]} and {self.symbols[other]}: "
                f"{found[one, other]}: must be finite, symmetric, with 1 on the diagonal; compute it again"
            )
        values, vectors = np.linalg.eigh(found)
        if values[0] < _NOT_NEGATIVE:
            heaviest = sorted(np.argsort(-np.abs(vectors[:, 0]), kind="stable")[:2].tolist())
            raise ValueError(
                f"matrix: smallest eigenvalue {values[0]:.3g} is negative, so some portfolio would have a "
                f"negative variance; look at {' and '.join(self.symbols[each] for each in heaviest)} first, "
                "and compute all of it from the same dates"
            )
        return self

    def of(self, names: Sequence[str]) -> Floats:
        """Return the matrix for the lanes of these names, float64 (n, n): 1 between those of one symbol."""
        places = [self.symbols.index(traded_symbol(each)) for each in names]
        return np.ascontiguousarray(np.array(self.matrix)[np.ix_(places, places)])


def traded_twice(symbols: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with lanes of these symbols, one line each."""
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            yield (
                f"{symbol}: two lanes trade it; one account holds one position of it: leave one out, or make "
                "them members of an ensemble, `members: [{name, strategy, share}]`"
            )


class PortfolioConfig(Grown):
    """One account: `capital` in USD, which limits are fractions of, and the lanes that trade it.

    day      session template whose dates are the days of the daily loss and of the drawdown's window
    made     how the file was made; shown, and in no decision

    >>> portfolio = PortfolioConfig.model_validate({
    ...     "name": "desk", "capital": 100_000, "day": "CME",
    ...     "lanes": [{"symbol": "ES", "strategy": "ibs.yaml", "units": 1}], "limits": {"max_positions": 1}})
    >>> portfolio.names, portfolio.limits.max_positions
    (('ES',), 1)
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset(("name", "made"))

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*$")]
    capital: Positive
    day: str
    lanes: Annotated[tuple[PortfolioLane, ...], Field(min_length=1)]
    rank: RankRule = RankRule()
    groups: dict[str, PortfolioGroup] = Field(default_factory=dict)
    limits: PortfolioLimits = PortfolioLimits()
    correlation: CorrelationMatrix | None = None
    made: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        symbols = [each.symbol for each in self.lanes]
        yield from traded_twice(symbols)
        weights = [each.weight for each in self.lanes if each.weight is not None]
        if weights and not sum(weights) > 0.0:
            yield "weights sum to 0: nothing would trade; give at least one lane a weight"
        if sum(weights) > 1.0 + _SUM:
            yield f"weights sum to {sum(weights):.6g}: more than the capital; divide them by their sum"
        if self.rank.by == "listed" and sorted(self.rank.order) != sorted(symbols):
            yield f"rank: order {', '.join(self.rank.order)} is not that of the lanes {', '.join(symbols)}"
        for name, group in self.groups.items():
            for symbol in group.symbols:
                if symbol not in symbols:
                    yield f"groups.{name}: {symbol} has no lane; leave it out"
        if self.correlation is not None and sorted(self.correlation.symbols) != sorted(symbols):
            yield (
                f"correlation: has {', '.join(self.correlation.symbols)}, the lanes are "
                f"{', '.join(symbols)}; compute it for these"
            )
        if (self.limits.volatility is None) != (self.correlation is None):
            yield (
                "limits.volatility and correlation belong together: the one is judged with the other; give "
                "both or neither"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The traded symbols, sorted."""
        return tuple(sorted(each.symbol for each in self.lanes))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of everything that trades on its own, sorted: the order of all that is added up.

        A lane's name is its symbol; the members of an ensemble have one each, such as `ES#fast`.
        """
        return tuple(sorted(self._by_name))

    def lane(self, name: str) -> PortfolioLane:
        """Return the lane of that name; a member of an ensemble with its own part of the size."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, PortfolioLane]:
        found = {each.symbol: each for each in self.lanes if not each.members}
        for lane in self.lanes:
            found |= {lane_name(lane.symbol, each.name): lane.member(each) for each in lane.members}
        return found

    @property
    def portfolio_hash(self) -> str:
        """SHA-256 (hex) of everything that decides; the order in which lanes are listed does not."""
        content = self.model_dump(mode="json", exclude=set(self.SHOWN))
        content["lanes"] = sorted(content["lanes"], key=lambda each: str(each["symbol"]))
        for lane in content["lanes"]:
            if "members" in lane:
                lane["members"] = sorted(lane["members"], key=lambda each: str(each["name"]))
        return json_digest(content)

    def to_yaml(self) -> str:
        """Return the portfolio as YAML that reads back as it."""
        content = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        return yaml.safe_dump(content, sort_keys=False, default_flow_style=None)

    def identity(self, strategies: Mapping[str, str], instruments: str) -> str:
        """Return the SHA-256 (hex) of what trades: the file, and what it names.

        strategies    hash of the bundle or of the configuration, by name; instruments: digest of what is
                      declared of them
        """
        if set(strategies) != set(self.names):
            raise ConfigError(
                f"portfolio {self.name}: hashes of {', '.join(sorted(strategies))} for "
                f"{', '.join(self.names)}; give one of each"
            )
        return json_digest(
            {"portfolio": self.portfolio_hash, "strategies": dict(strategies), "instruments": instruments}
        )


def load_portfolio_config(path: Path, book: InstrumentBook) -> PortfolioConfig:
    """Read a portfolio file; ConfigError where it is wrong or names what `book` does not declare."""
    content = read_yaml(path)
    if isinstance(content, Mapping) and "target_volatility" in content:
        raise ConfigError(
            f"{path}: holds what a portfolio is made of, and no sizes; make one of it: `lockstep "
            "optimize-portfolio`"
        )
    config = validated(PortfolioConfig, content, where=str(path))
    try:
        book.session_named(config.day)
        instruments = {symbol: book.instrument(symbol) for symbol in config.symbols}
        groups = {name: each.symbols for name, each in sorted(config.groups.items())}
        for problem in (*_without_margin(config, instruments), *torn_apart(groups, instruments)):
            raise ConfigError(problem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def _without_margin(config: PortfolioConfig, instruments: Mapping[str, Instrument]) -> Iterator[str]:
    if config.limits.max_margin is None:
        return
    for symbol, instrument in instruments.items():
        if not instrument.margin:
            yield (
                f"limits.max_margin: no margin is declared for {symbol}; declare it in your instruments "
                "file, margin: [{since: DATE, initial: USD, overnight: USD, source: TEXT}]"
            )


def torn_apart(groups: Mapping[str, Collection[str]], instruments: Mapping[str, Instrument]) -> Iterator[str]:
    """Yield a sentence for each of `groups` that holds one instrument of a family and leaves another out."""
    families = load_families()
    for name, members in groups.items():
        inside = {families.of(instruments[each]): each for each in members}
        for symbol, instrument in instruments.items():
            family = families.of(instrument)
            if symbol not in members and family in inside:
                yield (
                    f"groups.{name}: has {inside[family]} and not {symbol}, which are one market (family "
                    f"{family}); put both in, or neither"
                )
