"""One decision of a strategy as a function of values: the engine takes it, a certificate takes it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lockstep.compiled import kernel
from lockstep.errors import StrategyError
from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.admission import refusal
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.decision import (
    COLUMN_CODES,
    ENTER_LONG,
    ENTRIES,
    EXITS,
    FILTERED,
    HOLD,
    MISSING,
    NAMES,
    ORDER_WAITING,
    OUTSIDE_SESSION,
    PASS,
    REFUSED,
    SIZE_ZERO,
    Clock,
)
from lockstep.strategy.family import family_of
from lockstep.strategy.matching import NO_ORDER, Order
from lockstep.strategy.sizing import Exits, Sizing, contracts, entry_order, multiplied
from lockstep.strategy.veto import Veto

_FLAT = 0.0
# Compiled code takes no sets.
_ENTRIES, _EXITS = tuple(sorted(ENTRIES)), tuple(sorted(EXITS))
_ORDERS = ENTRIES | EXITS


class PositionState(NamedTuple):
    """What the traded account holds when a bar is complete.

    position    contracts, negative for shorts, 0 when flat
    bars_held   of the open trade, this bar included
    waiting     whether a market order was sent and has not filled
    required    code of an exit that handover, HALT or the operator wants; HOLD for none
    """

    position: float
    bars_held: int
    waiting: bool
    required: int = HOLD


class Decided(NamedTuple):
    """A decision: its code, the probability (NaN where the model was not asked), the order that it sends."""

    code: int
    probability: float
    order: Order | None


@dataclass(frozen=True, kw_only=True)
class DecisionRules:
    """Everything that a strategy's decisions depend on and that does not change from bar to bar.

    ids             of the decision vector; model_columns: places in it of what the model reads
    rules, filters  the flat arrays of `decide`
    """

    config: StrategyConfig
    ids: tuple[str, ...]
    decide: Callable[..., int]
    rules: Floats
    filters: Floats
    sizing: Sizing
    exits: Exits
    veto: Veto | None
    model_columns: tuple[int, ...]

    @classmethod
    def of(
        cls,
        config: StrategyConfig,
        market: Market,
        veto: Veto | None,
        ids: tuple[str, ...],
        *,
        decide: Callable[..., int] | None = None,
        factor: float = 1.0,
    ) -> DecisionRules:
        """Flatten a configuration; StrategyError where the vector's `ids` are not its own.

        decide   in place of the family's own
        factor   what the amount of its sizes is multiplied by
        """
        if ids != vector_ids(config, veto):
            raise StrategyError(f"{config.name}: vector {ids} is not {vector_ids(config, veto)}")
        return cls(
            config=config,
            ids=ids,
            decide=decide or family_of(config).decide,
            rules=config.rules(market.session, veto.threshold if veto else ACCEPT_ALL),
            filters=config.filter_rules(),
            sizing=multiplied(config.sizing_rules(market.instrument), factor),
            exits=config.exit_rules(),
            veto=veto,
            model_columns=tuple(ids.index(each) for each in veto.feature_ids) if veto else (),
        )

    def reason(self, code: int, absence: Callable[[int], str] = lambda _: "missing") -> str:
        """Return a decision in words: names the rule that refused, the filter, or the missing id and why.

        absence   says why the value of a column is missing
        """
        if code < COLUMN_CODES:
            return NAMES[code]
        if code >= REFUSED:
            return f"refused: {refusal(code)}"
        if code >= FILTERED:
            return f"filter {self.config.filters[code - FILTERED].feature}"
        column = code - MISSING
        return f"{absence(column)} {self.ids[column]}"


def vector_ids(config: StrategyConfig, veto: Veto | None) -> tuple[str, ...]:
    """Return the ids of the decision vector: the config's, then those that only the model reads."""
    return tuple(dict.fromkeys((*config.feature_ids, *(veto.feature_ids if veto else ()))))


def step(rules: DecisionRules, values: Floats, close: float, clock: Clock, state: PositionState) -> Decided:
    """Decide on a completed bar.

    values   (k,) in the order of `rules.ids`, NaN for missing; close: of the bar, points
    """
    code, probability = _asked(rules, values, clock, state)
    if code not in _ORDERS:
        return Decided(code, probability, None)
    code, order = carried_out(code, state.position, state.waiting, values, close, rules.sizing, rules.exits)
    return Decided(code, probability, order if code in _ORDERS else None)


@kernel
def is_entry(code: int) -> bool:
    """Return whether a decision is an entry: the model is asked about those."""
    return code in _ENTRIES


@kernel
def is_order(code: int) -> bool:
    """Return whether a decision sends an order, unless one waits or its size is zero."""
    return code in _ENTRIES or code in _EXITS


@kernel
def carried_out(
    code: int, position: float, waiting: bool, values: Floats, close: float, sizing: Sizing, exits: Exits
) -> tuple[int, Order]:
    """Return what becomes of an entry or an exit, and the order that it sends: NO_ORDER for none.

    position   contracts held; waiting: whether a market order was sent and has not filled
    """
    if waiting:
        return ORDER_WAITING, NO_ORDER
    if code in _EXITS:
        return code, exit_order(position)
    quantity = contracts(values, close, sizing)
    if quantity == 0.0:
        return SIZE_ZERO, NO_ORDER
    return code, entry_order(quantity if code == ENTER_LONG else -quantity, values, exits)


@kernel
def exit_order(position: float) -> Order:
    """Return the market order that closes a position, contracts, without stop and target."""
    return (-position, math.nan, math.nan, math.nan, math.nan)


def _asked(rules: DecisionRules, values: Floats, clock: Clock, state: PositionState) -> tuple[int, float]:
    """Return (code, probability) of the rules and the model; the model is asked about entries only."""
    position = state.position
    held = (math.copysign(1.0, position), float(state.bars_held)) if position != _FLAT else (0.0, 0.0)
    code = rules.decide(values, PASS, clock, held, rules.rules, rules.filters)
    if state.required != HOLD and position != _FLAT and code != OUTSIDE_SESSION:
        return state.required, math.nan
    if rules.veto is None or code not in ENTRIES:
        return code, math.nan
    probability = rules.veto.probability(values[list(rules.model_columns)])
    return rules.decide(values, probability, clock, held, rules.rules, rules.filters), probability
