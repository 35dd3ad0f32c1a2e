"""Reconciliation: is the position that the engine books the one that the broker holds?

Asked in mode live at every start, and again in every session day of an instrument. Until both agree
nothing is opened there; exits go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lockstep.live.brokers.protocol import Holding, Holdings
from lockstep.live.events import Event, PositionAgreed, PositionDiffers
from lockstep.live.messages import iso
from lockstep.live.units import SmallerUnit
from lockstep.market.sessions import Session

_SAME = 1e-9
_AHEAD = 60_000_000_000  # ns that a statement may be ahead of our clock


class EngineAccount(NamedTuple):
    """The engine's side: signed contracts as of a moment, and what a waiting order would add."""

    position: float
    waiting: float


class Reconciliation:
    """Compares both sides, and knows for which instruments that is still to be done.

    sessions   of the traded symbols; started   when this process began, UTC ns: older statements say nothing
               of what happened while no engine ran
    source     read at every look while something is to be done; None where only the operator confirms
    """

    def __init__(self, sessions: Mapping[str, Session], *, started: int, source: Holdings | None) -> None:
        self._sessions = dict(sessions)
        self._started = started
        self._source = source
        self._newest: dict[str, Holding] = {}
        self._done: dict[str, int] = {}
        self._told: dict[str, tuple[int, float, float]] = {}
        self._days: dict[str, tuple[int, int]] = {}
        self._faulty = ""
        self.unreconciled = dict.fromkeys(sessions, "not compared with the broker yet")

    def hear(self, symbol: str, holding: Holding) -> None:
        """Take a holding; the one with the newest moment counts."""
        known = self._newest.get(symbol)
        if known is None or holding.as_of >= known.as_of:
            self._newest[symbol] = holding

    def look(self, now: int, account: Callable[[str, int], EngineAccount]) -> Iterator[Event]:
        """Yield `reconciled` and `unreconciled` events that are news at `now` (UTC ns).

        account   asked for (symbol, moment)
        """
        open_ = [symbol for symbol in self._sessions if self._done.get(symbol) != self._day(symbol, now)]
        if not open_:
            return
        if self._source is not None:
            for symbol, holding in self._source.read(now).items():
                if symbol in self._sessions:
                    self.hear(symbol, holding)
            yield from self._trouble(self._source.trouble)
        for symbol in open_:
            yield from self._compared(symbol, now, account)

    def _trouble(self, trouble: str) -> Iterator[Event]:
        if trouble and trouble != self._faulty:
            yield PositionDiffers(detail=trouble)
        self._faulty = trouble

    def _compared(
        self, symbol: str, now: int, account: Callable[[str, int], EngineAccount]
    ) -> Iterator[Event]:
        day, holding = self._day(symbol, now), self._newest.get(symbol)
        if holding is None or not self._counts(symbol, holding, day, now):
            self.unreconciled[symbol] = self._awaited(symbol, holding)
            return
        ours = account(symbol, holding.as_of)
        both = {**holding._asdict(), "position": ours.position}
        if math.isclose(ours.position, holding.quantity, rel_tol=0.0, abs_tol=_SAME):
            self._done[symbol] = day
            self._told.pop(symbol, None)
            self.unreconciled.pop(symbol, None)
            yield PositionAgreed(symbol=symbol, **both)
            return
        self.unreconciled[symbol] = _difference(symbol, ours, holding)
        numbers = (day, ours.position, holding.quantity)
        if self._told.get(symbol) != numbers:
            self._told[symbol] = numbers
            yield PositionDiffers(symbol=symbol, detail=self.unreconciled[symbol], **both)

    def _counts(self, symbol: str, holding: Holding, day: int, now: int) -> bool:
        """Whether a holding says something of this start and of this session day."""
        if not self._started <= holding.as_of <= now + _AHEAD:
            return False
        return _date(self._sessions[symbol], holding.as_of) == day

    def _awaited(self, symbol: str, holding: Holding | None) -> str:
        told = self._faulty or "there is none yet"
        if holding is not None:
            told = self._faulty or f"the newest is of {iso(holding.as_of)}, which is too old"
        return (
            f"waits for a statement of its position, of this start and this session day: {told}; or confirm "
            f"what the broker shows: lockstep orders reconcile --symbol {symbol} --position N"
        )

    def _day(self, symbol: str, now: int) -> int:
        """Return the session date of `now`, as days since 1970."""
        day, until = self._days.get(symbol, (0, -1))
        if now > until:
            session = self._sessions[symbol]
            day = _date(session, now)
            until = int(session.nominal_close(np.array([day], dtype="M8[D]"))[0])
            self._days[symbol] = (day, max(until, now))
        return day


class UnitHoldings:
    """What a source says, in contracts of the traded instruments, smaller units added; see `Holdings`.

    An instrument and each of its units must be told, 0 for flat: what is missing is not taken for flat. The
    older of their moments counts.
    """

    def __init__(self, source: Holdings, units: Mapping[str, SmallerUnit]) -> None:
        self._source = source
        self._units = dict(units)
        self._missing = ""

    @property
    def trouble(self) -> str:
        """What the source says, or which position it does not tell."""
        return self._source.trouble or self._missing

    def read(self, now: int) -> dict[str, Holding]:
        """Return the newest holding by traded symbol, those left out of which a part is not told."""
        told = self._source.read(now)
        found = {symbol: each for symbol, each in told.items() if symbol not in self._units}
        missing: list[str] = []
        for unit in self._units.values():
            absent = [symbol for symbol in (unit.of, unit.symbol) if symbol not in told]
            missing += absent
            whole = found.pop(unit.of, None)
            if whole is not None and not absent:
                found[unit.of] = _with(whole, told[unit.symbol], unit)
        self._missing = ""
        if told and missing:
            names = ", ".join(sorted(set(missing)))
            self._missing = f"positions: none of {names}; tell each unit of the roll-out, 0 for flat"
        return found


def _with(whole: Holding, part: Holding, unit: SmallerUnit) -> Holding:
    """Return what is held of an instrument and of its unit together."""
    quantity = part.quantity / unit.per_contract
    if math.isfinite(part.quantity):
        quantity = unit.contracts(part.quantity)
    told = f"{unit.of} {whole.quantity:+g} and {unit.symbol} {part.quantity:+g}"
    return Holding(whole.quantity + quantity, min(whole.as_of, part.as_of), f"{whole.source}: {told}")


def _date(session: Session, moment: int) -> int:
    return int(session.dates(np.array([moment], dtype=np.int64)).astype(np.int64)[0])


def _difference(symbol: str, ours: EngineAccount, holding: Holding) -> str:
    waits = f"; an order of {ours.waiting:+g} waits for its fill" if ours.waiting else ""
    return (
        f"the engine holds {ours.position:+g}, the broker {holding.quantity:+g} ({holding.source}, "
        f"{iso(holding.as_of)}){waits}: report the missing fill with lockstep orders fill, or put the "
        f"broker's side right and confirm it: lockstep orders reconcile --symbol {symbol} --position "
        f"{ours.position:g}"
    )
