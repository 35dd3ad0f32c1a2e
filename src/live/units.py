"""Smaller units: the contract of the same market in which an order leaves the house, such as `ES: MES`.

Everything inside counts contracts of the traded instrument, fractions included: decisions, accounts, limits,
the journal. What leaves is converted by `OrderIntent.leaving`, what comes back by `inside`; the arithmetic of
both is `SmallerUnit`. See `docs/adr/0043-smaller-units.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lockstep.errors import ConfigError, LiveError
from lockstep.live.events import OrderSent
from lockstep.market.config import InstrumentBook
from lockstep.market.families import load_families
from lockstep.market.instrument import Instrument
from lockstep.settings import suggestion
from lockstep.strategy.matching import on_grid

_WHOLE, _ROUNDING = 1e-9, 1e-14


@dataclass(frozen=True)
class SmallerUnit:
    """The contract `symbol`, of which `per_contract` make one contract of the instrument `of`.

    per_contract   a whole number above 1; step   smallest size step, in contracts of `symbol`

    >>> micro = SmallerUnit("MES", "ES", 10, 1.0)
    >>> micro.portion(1.0, 0.3), micro.count(0.3), micro.contracts(3.0)
    (0.3, 3.0, 0.3)
    """

    symbol: str
    of: str
    per_contract: int
    step: float

    @classmethod
    def between(cls, whole: Instrument, part: Instrument) -> SmallerUnit:
        """Return the unit that one instrument is of another, of which `declared_units` has made sure."""
        return cls(part.symbol, whole.symbol, round(whole.multiplier / part.multiplier), part.size_step)

    def count(self, contracts: float) -> float:
        """Return contracts of `symbol`, signed, for contracts of `of`: the exact inverse of `contracts`."""
        return on_grid(contracts * self.per_contract, self.step, 0.0)

    def contracts(self, count: float) -> float:
        """Return contracts of `of`, signed, for contracts of `symbol`. Equal counts are equal floats."""
        return on_grid(count, self.step, 0.0) / self.per_contract

    def portion(self, contracts: float, fraction: float) -> float:
        """Return the most contracts of `of`, signed, within a fraction of a size that are whole steps."""
        steps = abs(contracts) * fraction * self.per_contract / self.step
        whole = math.floor(steps * (1.0 + _ROUNDING) + _WHOLE)
        return math.copysign(self.contracts(whole * self.step), contracts)


class Inside(NamedTuple):
    """What an order, a fill or a position outside is inside: symbol, signed contracts, its unit or None."""

    symbol: str
    quantity: float
    unit: str | None


def inside(units: Mapping[str, SmallerUnit], symbol: str, quantity: float) -> Inside:
    """Return what `quantity` of `symbol` outside is to the desk; LiveError for no whole steps of a unit.

    units   by their symbols; what is none of them stays as it is

    >>> inside({"MES": SmallerUnit("MES", "ES", 10, 1.0)}, "MES", -3.0)
    Inside(symbol='ES', quantity=-0.3, unit='MES')
    """
    unit = units.get(symbol)
    if unit is None:
        return Inside(symbol, quantity, None)
    if not _is_whole(quantity / unit.step):
        raise LiveError(
            f"{quantity:g} {symbol}: must be whole steps of {unit.step:g}; check the broker's statement"
        )
    return Inside(unit.of, unit.contracts(quantity), symbol)


@dataclass(frozen=True, kw_only=True)
class OutwardUnits:
    """In which unit orders leave: an entry in that of the present stage, what closes it in that of the entry.

    known    every unit of the roll-out, by its symbol
    stage    unit by traded symbol, as the present stage says
    opened   unit of the newest entry, by traded symbol; none for one in contracts of the instrument itself
    """

    known: Mapping[str, SmallerUnit] = field(default_factory=dict)
    stage: Mapping[str, str] = field(default_factory=dict)
    opened: Mapping[str, str] = field(default_factory=dict)

    def of(self, symbol: str, *, opens: bool) -> SmallerUnit | None:
        """Return the unit of an order, or None; LiveError for one that the roll-out no longer names."""
        name = (self.stage if opens else self.opened).get(symbol)
        if name is None:
            return None
        if name not in self.known:
            raise LiveError(_forgotten(symbol, name))
        return self.known[name]

    def moved(self, stage: Mapping[str, str]) -> OutwardUnits:
        """Return the units at another stage. What is open stays in the unit of its entry."""
        return replace(self, stage=dict(stage))

    def entered(self, symbol: str, unit: SmallerUnit | None) -> OutwardUnits:
        """Return the units after an entry."""
        others = {name: each for name, each in self.opened.items() if name != symbol}
        return replace(self, opened=others if unit is None else {**others, symbol: unit.symbol})

    def require_known(self, symbols: Iterable[str]) -> None:
        """Raise LiveError where one of these symbols, which are not flat, is in a unit that is gone."""
        for symbol in symbols:
            self.of(symbol, opens=False)

    def require_told(self, order_id: str, symbol: str, unit: str | None) -> None:
        """Raise LiveError where a fill is told in another unit than the one in which its order left."""
        left, told = self.opened.get(symbol, symbol), unit or symbol
        if told != left:
            raise LiveError(
                f"order {order_id}: left in contracts of {left}, its fill is told in {told}; report {left}"
            )


def opened_in(sent: Iterable[OrderSent], mode: str) -> dict[str, str]:
    """Return the unit of each symbol's newest real order, oldest first; an exit has its entry's.

    mode   of the epoch: a position that is simulated is in no unit, whatever was sent in mode live before it
    """
    found: dict[str, str] = {}
    for event in sent if mode == "live" else ():
        if event.order_id.split("-")[1:2] != [mode]:
            continue
        found.pop(event.symbol, None)
        if event.unit is not None:
            found[event.symbol] = event.unit
    return found


def declared_units(
    stages: Iterable[Mapping[str, str]], traded: Iterable[str], book: InstrumentBook
) -> dict[str, SmallerUnit]:
    """Return every unit that the stages of a roll-out name, by its symbol.

    stages   unit by traded symbol, for each stage; traded   symbols of the desk

    ConfigError for a unit that is not declared or not a whole part of the instrument: of another family or
    session, not smaller, in a ratio, tick or size step that does not fit; and for one that could be mistaken,
    since the desk trades it itself or it is the unit of two instruments.
    """
    ours, found = sorted(set(traded)), dict[str, SmallerUnit]()
    for number, each in enumerate(stages, start=1):
        for symbol, name in each.items():
            unit = _unit(f"rollout: stage {number}: units: {symbol}: {name}", symbol, name, ours, book)
            other = found.setdefault(name, unit)
            if other.of != symbol:
                raise ConfigError(
                    f"rollout: stage {number}: units: {name} is the unit of {other.of} and {symbol}: their "
                    "fills could not be told apart; leave it to one of them"
                )
    return found


def _unit(where: str, symbol: str, name: str, traded: list[str], book: InstrumentBook) -> SmallerUnit:
    if symbol not in traded:
        raise ConfigError(f"{where}: {symbol} is not traded by this desk{suggestion(symbol, traded)}")
    if name in traded:
        raise ConfigError(
            f"{where}: the desk trades {name} itself: fills of both could not be told apart; take it out of "
            "`instruments` or of `units`"
        )
    if name not in book.instruments:
        raise ConfigError(f"{where}: not in instruments.yml{suggestion(name, book.instruments)}")
    whole, part = book.instrument(symbol), book.instrument(name)
    families = load_families()
    if families.of(whole) != families.of(part):
        raise ConfigError(
            f"{where}: is of the family {families.of(part)}, {symbol} of {families.of(whole)}; name a "
            "contract of the same market"
        )
    if whole.session != part.session:
        raise ConfigError(
            f"{where}: trades in session {part.session}, {symbol} in {whole.session}; name a contract of the "
            "same hours"
        )
    return _part(where, whole, part)


def _part(where: str, whole: Instrument, part: Instrument) -> SmallerUnit:
    """Return the unit; ConfigError where it is not smaller or not a whole part."""
    ratio = whole.multiplier / part.multiplier
    points = f"{part.multiplier:g} USD a point, {whole.symbol} {whole.multiplier:g}"
    if ratio < 2.0 - _WHOLE:
        raise ConfigError(f"{where}: is not smaller: {points}; name a smaller contract")
    if not _is_whole(ratio):
        raise ConfigError(f"{where}: {ratio:g} of them make one contract: {points}; the ratio must be whole")
    ticks = part.tick_size / whole.tick_size
    if ticks < 1.0 - _WHOLE or not _is_whole(ticks):
        raise ConfigError(
            f"{where}: its tick is {part.tick_size:g}, that of {whole.symbol} {whole.tick_size:g}: must be "
            "the same or a whole multiple, so that prices mean the same; name another contract"
        )
    if not _is_whole(whole.size_step * ratio / part.size_step):
        raise ConfigError(
            f"{where}: its size step of {part.size_step:g} does not divide that of {whole.symbol}, "
            f"{whole.size_step:g} contracts or {whole.size_step * ratio:g} {part.symbol}"
        )
    return SmallerUnit.between(whole, part)


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < _WHOLE * max(1.0, abs(number))


def _forgotten(symbol: str, name: str) -> str:
    return (
        f"{symbol}: its open position or order is in {name}, which no stage of the roll-out names any more; "
        f"keep `units: {{{symbol}: {name}}}` in a stage until it is flat"
    )
