"""From weights to sizes that can be ordered, and the capital from which each instrument can."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.errors import ConfigError
from lockstep.market.config import InstrumentBook
from lockstep.market.families import load_families
from lockstep.market.instrument import Instrument
from lockstep.metrics import Floats
from research.optimise.streams import PortfolioStreams
from research.optimise.whole import whole_contracts


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioSizes:
    """Units of each lane, contracts or weights: what was wanted and what can be ordered. Arrays are (n,).

    needed     USD: the capital from which a lane's usual entry is one step of its instrument, in an ensemble
               that of each member
    smaller    by symbol, contracts of the same market with a smaller multiplier, each with its capital
    distance   USD: volatility per session of what was ordered less what was wanted
    exact      whether no sizes that the caps allow are nearer
    """

    symbols: tuple[str, ...]
    wanted: Floats
    units: Floats
    notional: Floats
    needed: Floats
    smaller: Mapping[str, Mapping[str, float]]
    distance: float
    exact: bool

    @classmethod
    def of(cls, streams: PortfolioStreams, wanted: Floats, covariance: Floats) -> Self:
        """Return the sizes nearest to `wanted` within the plan's caps; ConfigError where no lane gets any."""
        plan, steps = streams.plan, streams.steps
        lanes = [plan.lane(symbol) for symbol in streams.symbols]
        fixed = np.array([streams.lanes[symbol].is_fixed for symbol in streams.symbols])
        most = np.ceil(2.0 * wanted / steps) + 1.0
        for place, lane in enumerate(lanes):
            if lane.max_contracts is not None:
                most[place] = min(
                    most[place], _steps(lane.max_contracts / streams.contracts[place], steps[place])
                )
            if lane.weight_cap is not None:
                largest = lane.weight_cap * plan.capital / streams.notional[place]
                most[place] = min(most[place], _steps(largest, steps[place]))
        takes, budgets = [], []
        if plan.limits.max_gross is not None:
            takes.append(streams.notional * steps)
            budgets.append(plan.limits.max_gross * plan.capital)
        if not fixed.all():
            takes.append(np.where(fixed, 0.0, steps))
            budgets.append(1.0)
        found = whole_contracts(
            wanted / steps, covariance * np.outer(steps, steps), most,
            np.array(takes).reshape(-1, wanted.size), budgets,
        )  # fmt: skip
        instruments = [streams.book.instrument(symbol) for symbol in streams.symbols]
        size_steps = np.array([each.size_step for each in instruments])
        with np.errstate(divide="ignore"):
            needed = plan.capital * size_steps / (wanted * streams.smallest)
            needed = np.maximum(needed, np.where(fixed, plan.capital * steps / wanted, 0.0))
        sizes = cls(
            symbols=streams.symbols,
            wanted=wanted,
            units=found.quantities * steps,
            notional=streams.notional,
            needed=needed,
            smaller={
                each.symbol: {
                    other.symbol: float(capital * other.multiplier / each.multiplier)
                    for other in _smaller(each, streams.book)
                }
                for each, capital in zip(instruments, needed, strict=True)
            },
            distance=found.distance,
            exact=found.exact,
        )
        if not sizes.units.any():
            raise ConfigError(
                f"capital {plan.capital:,.0f} USD: too small for any lane; {sizes.told}. Give more "
                "capital, a larger target_volatility or smaller contracts"
            )
        return sizes

    @property
    def told(self) -> str:
        """From which capital each instrument can be traded, in a sentence."""
        return "; ".join(
            f"{symbol} trades from {capital:,.0f} USD"
            + "".join(f", {other} from {less:,.0f}" for other, less in self.smaller[symbol].items())
            for symbol, capital in zip(self.symbols, self.needed.tolist(), strict=True)
        )

    @property
    def kept(self) -> tuple[str, ...]:
        """The lanes that got a size."""
        return tuple(symbol for symbol, size in zip(self.symbols, self.units, strict=True) if size > 0)

    @property
    def gross(self) -> float:
        """Notional value of all lanes open at once, USD."""
        return float(self.units @ self.notional)

    def by_symbol(self) -> dict[str, float]:
        """Return the units of the lanes that got any."""
        sizes = zip(self.symbols, self.units.tolist(), strict=True)
        return {symbol: size for symbol, size in sizes if size > 0}


def _steps(units: float, step: float) -> float:
    return math.floor(units / step + 1e-9)


def _smaller(instrument: Instrument, book: InstrumentBook) -> Iterator[Instrument]:
    """Yield the futures of the same market that are smaller, in the same session and quoted alike."""
    families = load_families()
    traded = instrument.proxy_of or instrument.symbol
    session = book.instrument(traded).session
    for symbol in sorted(book.instruments):
        other = book.instrument(symbol)
        alike = families.of(other) == families.of(instrument) and other.session == session
        if alike and other.proxy_of is None and other.multiplier < instrument.multiplier:
            yield other
