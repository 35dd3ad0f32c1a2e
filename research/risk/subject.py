"""`RiskSubject`: whose risk is measured: positions, and what one contract of each earned in every session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lockstep.metrics.arrays import Dates, Floats
from lockstep.portfolio.session_changes import SessionCloses

if TYPE_CHECKING:
    from research.backtest.portfolio import PortfolioMember, PortfolioResult


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnResults:
    """What the account itself made: session dates (S,), P&L of each (S,), and what was held at its end.

    positions   float64 (S, n), contracts after each session, columns as of the subject; None: not known
    """

    dates: Dates
    pnl: Floats
    positions: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskSubject:
    """A portfolio's run, or a desk, as everything that measures risk sees it.

    as_of       session date of the positions; stamp: of the newest bar set that they follow, UTC ns
    capital     USD
    positions   contracts held, signed, by symbol in their order; reserved: of entries that were admitted and
                wait to be filled, signed
    dates       datetime64[D] (T,): sessions that all instruments have; changes float64 (T, n): USD that one
                contract earned from the session before to this one, points x multiplier
    closes      by symbol, whole; own: results of the account itself, None where there are none
    run, members   of a portfolio that was run in research, else None
    notes       what a reader must know first
    data_dir    where bars of other instruments are, for factors; None: those that come with Lockstep
    """

    kind: Literal["portfolio", "desk"]
    name: str
    as_of: date
    stamp: int
    capital: float
    positions: Mapping[str, float]
    reserved: Mapping[str, float]
    dates: Dates
    changes: Floats
    closes: Mapping[str, SessionCloses]
    own: OwnResults | None = None
    run: PortfolioResult | None = None
    members: Mapping[str, PortfolioMember] | None = None
    notes: Sequence[str] = field(default=())
    data_dir: Path | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments in the order of the columns."""
        return tuple(self.positions)

    @property
    def exposed(self) -> Floats:
        """Contracts that are measured, (n,): held and reserved."""
        return np.array([self.positions[each] + self.reserved.get(each, 0.0) for each in self.symbols])

    @property
    def pnl(self) -> Floats:
        """What today's positions would have earned in each session, float64 (T, n), USD."""
        return np.asarray(self.changes * self.exposed)
