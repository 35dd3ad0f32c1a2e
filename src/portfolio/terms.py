"""What a portfolio asks of each lane, and its file as the numbers that the kernels take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lockstep.errors import ConfigError
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.history import Market
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Session
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig, PortfolioLimits
from lockstep.portfolio.split import CHALLENGER, SplitArm, challenger_signals
from lockstep.strategy.config import FixedSize, StrategyConfig
from lockstep.strategy.sizing import SIZING, Sizing, all_contracts, multiplied
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto

_WHOLE = 1e-9
_FINE = 1e-6
_YEAR = 400


@dataclass(frozen=True, kw_only=True)
class LaneTerms:
    """What a portfolio has to know of one lane; made by `of`.

    symbol   the lane's name, and that of `market`
    factor   what the amount of the strategy's sizes is multiplied by: the lane's units or weight
    split    which arm of an A/B test it is, None for a lane that takes every signal
    """

    symbol: str
    market: Market
    strategy: StrategyConfig
    factor: float
    split: SplitArm | None = None

    @classmethod
    def of(
        cls, config: PortfolioConfig, market: Market, strategy: StrategyConfig, veto: Veto | None = None
    ) -> LaneTerms:
        """Return the terms of the lane that trades `market`, which bears the lane's name.

        ConfigError where the strategy does not fit.
        """
        symbol = market.instrument.symbol
        lane, fixed = config.lane(symbol), isinstance(strategy.size, FixedSize)
        require_admittable(symbol, strategy)
        if fixed != (lane.units is not None):
            given, wanted = ("weight", "units") if fixed else ("units", "weight")
            raise ConfigError(
                f"{symbol}: {given} for a strategy whose size is {strategy.size.kind}; give the lane {wanted}"
            )
        step = market.instrument.size_step
        if lane.units is not None and abs(lane.units / step - round(lane.units / step)) > _WHOLE:
            whose = "" if traded_symbol(symbol) == symbol else ", its share of the lane's,"
            raise ConfigError(
                f"{symbol}: units {lane.units:g}{whose} is no multiple of the size step {step:g}"
            )
        if config.rank.by == "probability" and veto is None:
            raise ConfigError(
                f"{symbol}: rank by probability, and its strategy {strategy.name} has no model; rank by "
                "symbol, listed or score"
            )
        ids = vector_ids(strategy, veto)
        for where, wanted in (("limits.volatility", volatility_id(config)), ("rank", config.rank.id)):
            if wanted and wanted not in ids:
                raise ConfigError(
                    f"{symbol}: {where} needs {wanted}, which its strategy {strategy.name} does not read; "
                    "add it to the strategy's `features`"
                )
        factor = _factor(config, symbol, strategy)
        return cls(symbol=symbol, market=market, strategy=strategy, factor=factor, split=lane.split)

    @property
    def sizing(self) -> Sizing:
        """The strategy's sizing with the factor in its amount; see `sizing.contracts`."""
        return multiplied(self.strategy.sizing_rules(self.market.instrument), self.factor)

    def of_other_arm(self, decisions: Stamps) -> Flags:
        """Return which decisions, int64 (n,), UTC ns, belong to the other arm of its test, bool (n,)."""
        if self.split is None:
            return np.zeros(len(decisions), dtype=np.bool_)
        symbol, bars = traded_symbol(self.symbol), self.strategy.bars
        challenger = challenger_signals(self.split.test, symbol, self.market.session, bars, decisions)
        others: Flags = challenger != (self.split.arm == CHALLENGER)
        return others

    def wanted(self, vectors: Floats, closes: Floats) -> Floats:
        """Return the contracts, float64 (n,), of entries at vectors (n, k), not rounded to a step."""
        mode, amount, column, unit, _, regime, bear, sideways, bull, volatile = self.sizing
        exact = (mode, amount, column, unit, _FINE, regime, bear, sideways, bull, volatile)
        return all_contracts(np.ascontiguousarray(vectors), closes, exact)


def require_admittable(symbol: str, strategy: StrategyConfig) -> None:
    """Raise ConfigError where an entry would be filled before anybody could admit it."""
    if strategy.execution != "next_open":
        raise ConfigError(
            f"{symbol}: execution {strategy.execution} fills before its entry can be admitted; set "
            "execution: next_open"
        )


def _factor(config: PortfolioConfig, symbol: str, strategy: StrategyConfig) -> float:
    lane = config.lane(symbol)
    if isinstance(strategy.size, FixedSize):
        assert lane.units is not None
        return lane.units / strategy.size.contracts
    assert lane.weight is not None
    return lane.weight * config.capital / strategy.capital


def volatility_id(config: PortfolioConfig) -> str:
    """Return the id of the decision vector by which the limit of volatility measures, "" without one."""
    return config.limits.volatility.id if config.limits.volatility else ""


class PortfolioTerms(NamedTuple):
    """What a portfolio's file says, as the kernels take it; see `rules.py`."""

    terms: Floats
    sizing: Floats
    limits: Floats
    tiers: Floats
    groups: Floats
    members: Flags
    correlation: Floats
    instruments: Stamps

    @classmethod
    def of(cls, config: PortfolioConfig, lanes: Sequence[LaneTerms]) -> PortfolioTerms:
        """Return the terms of a portfolio with these lanes, sorted by name."""
        capital, drawdown, n = config.capital, config.limits.drawdown, len(lanes)
        groups = [each for _, each in sorted(config.groups.items())]
        traded = [traded_symbol(each.symbol) for each in lanes]
        terms = []
        for each in lanes:
            lane, unit = config.lane(each.symbol), each.market.instrument.multiplier
            terms.append((unit, _or_infinite(lane.max_contracts), _or_infinite(lane.weight_cap) * capital))
        return cls(
            terms=_table(terms, rules.TERM),
            sizing=_table([each.sizing for each in lanes], SIZING),
            limits=_limits(config, config.limits),
            tiers=_table([(each.at, each.scale) for each in drawdown.tiers] if drawdown else [], 2),
            groups=_table(
                [
                    (_or_infinite(each.max_positions), _or_infinite(each.max_gross) * capital)
                    for each in groups
                ],
                2,
            ),
            members=np.array(
                [[symbol in each.symbols for symbol in traded] for each in groups], dtype=np.bool_
            ).reshape(-1, n),
            correlation=config.correlation.of(traded) if config.correlation else np.zeros((0, 0)),
            instruments=np.array([traded.index(symbol) for symbol in traded], dtype=np.int64),
        )


def _table(rows: Sequence[tuple[float, ...]], columns: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, columns)


def _limits(config: PortfolioConfig, limits: PortfolioLimits) -> Floats:
    capital, drawdown, loss = config.capital, limits.drawdown, limits.daily_loss
    found = np.full(rules.LIMIT, math.inf)
    found[rules.CAPITAL] = capital
    found[rules.LOSS] = loss.fraction * capital if loss else math.inf
    found[rules.FLATTEN] = 1.0 if loss and loss.flatten else 0.0
    found[rules.RELEASE] = drawdown.release if drawdown else 0.0
    found[rules.HALT_AT] = _or_infinite(drawdown.halt if drawdown else None)
    found[rules.MOST_POSITIONS] = _or_infinite(limits.max_positions)
    found[rules.MOST_TOTAL] = _or_infinite(limits.max_total_contracts)
    found[rules.MOST_GROSS] = _or_infinite(limits.max_gross) * capital
    found[rules.MOST_NET] = _or_infinite(limits.max_net) * capital
    found[rules.MOST_RISK] = limits.volatility.target * capital if limits.volatility else math.inf
    found[rules.MOST_MARGIN] = _or_infinite(limits.max_margin)
    found[rules.TOP] = _or_infinite(config.rank.top)
    return found


def _or_infinite(limit: float | None) -> float:
    return math.inf if limit is None else float(limit)


class DrawdownWindow:
    """The first session of a window that ends at a session, by the calendar.

    >>> from lockstep.market import load_instruments
    >>> window = DrawdownWindow(load_instruments().session_named("CME"), 3)
    >>> window.first(np.array([19_786, 19_787])).tolist()
    [19782, 19783]
    """

    def __init__(self, session: Session, window: int) -> None:
        self._session, self._window = session, window
        self._dates = np.empty(0, dtype=np.int64)

    def first(self, days: Stamps) -> Stamps:
        """Return the dates `window - 1` sessions before `days`, rising sessions in days since 1970."""
        dates, window = self._dates, self._window
        if not dates.size or not dates[0] + 2 * window <= days[0] <= days[-1] <= dates[-1]:
            first, last = int(days[0]) - 2 * window - _YEAR, int(days[-1]) + _YEAR
            scheduled = self._session.scheduled_dates(np.datetime64(first, "D"), np.datetime64(last, "D"))
            self._dates = dates = scheduled.astype(np.int64)
        place = np.searchsorted(dates, days, side="right") - window
        return dates[np.maximum(place, 0)]
