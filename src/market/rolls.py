"""Rolls: which contract of a future is traded when, and how far one stands from the next.

The roll table is data, `rolls/<SYMBOL>.csv` beside the contracts' files: who built it, by which rule and from
which bars is written in it, and nothing that is written there changes later.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from lockstep.errors import DataError
from lockstep.files import replace_file
from lockstep.market.bars import Floats, Stamps
from lockstep.market.sessions import Session
from lockstep.market.timeframe import NANOSECONDS_PER_MINUTE, Timeframe

AHEAD, NEXT = 2.0, 3.0
# Before the last close of a contract: room for an order to fill where not every minute trades.
LEAVING = 10 * NANOSECONDS_PER_MINUTE

COLUMNS = ("from", "to", "at", "spread", "rule", "source")
FOLDER = "rolls"

_ON_GRID = 1e-6


class Roll(NamedTuple):
    """One row of a roll table: from session `at` on, `to` is traded in place of `before`.

    spread   ticks by which `to` stands above `before`, at the newest close that both have before `at`; None
             while that is ahead, in the last row only
    rule     how the date was chosen, such as `volume` or `calendar 5`
    source   SHA-256 (first 16 hex digits) of the bars before `at`; empty while they are ahead
    """

    before: str
    to: str
    at: date
    spread: int | None
    rule: str
    source: str

    def __str__(self) -> str:
        spread = "still open" if self.spread is None else f"{self.spread:+d} ticks"
        return f"{self.before} to {self.to} at {self.at}, spread {spread}"


@dataclass(frozen=True, kw_only=True)
class RollTable:
    """The rolls of one symbol, in their order.

    >>> table = RollTable(symbol="ES", rolls=(
    ...     Roll("ESH24", "ESM24", date(2024, 3, 11), 218, "volume", "0" * 16),
    ...     Roll("ESM24", "ESU24", date(2024, 6, 17), 236, "volume", "0" * 16),
    ... ))
    >>> table.contracts
    ('ESH24', 'ESM24', 'ESU24')
    >>> table.contract_on(date(2024, 3, 8)), table.contract_on(date(2024, 3, 11))
    ('ESH24', 'ESM24')
    """

    symbol: str
    rolls: tuple[Roll, ...]

    @property
    def contracts(self) -> tuple[str, ...]:
        """Names of the contracts, the earliest first."""
        return (self.rolls[0].before, *(each.to for each in self.rolls))

    def contract_on(self, day: date) -> str:
        """Return the contract that is traded in the session of a date: its name goes to the broker."""
        return self.contracts[sum(each.at <= day for each in self.rolls)]

    def until(self, last: date) -> RollTable:
        """Return the table without what is decided for sessions after `last`, but for the first roll."""
        kept = tuple(each for each in self.rolls if each.at <= last)
        return RollTable(symbol=self.symbol, rolls=kept or self.rolls[:1])

    @classmethod
    def read(cls, path: Path, symbol: str) -> Self:
        """Read a table; DataError names the file, the line and the rule that it breaks."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}: no roll table can be read ({error}); `lockstep data rolls build --symbol {symbol}` "
                "makes one"
            ) from error
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        if not rows or tuple(rows[0]) != COLUMNS:
            raise DataError(f"{path}:1: must be {','.join(COLUMNS)}; build the table anew")
        rolls = tuple(_roll(f"{path}:{line}", row) for line, row in enumerate(rows[1:], start=2))
        if not rolls:
            raise DataError(f"{path}: holds no roll; build it from the files of two contracts or more")
        for line, (earlier, later) in enumerate(pairwise(rolls), start=3):
            _require_follows(f"{path}:{line}", earlier, later)
        return cls(symbol=symbol, rolls=rolls)

    def write(self, path: Path) -> None:
        """Write the table, whole or not at all; DataError where that cannot be done."""
        rows = [",".join(COLUMNS)]
        rows += [
            f"{r.before},{r.to},{r.at},{'' if r.spread is None else r.spread},{r.rule},{r.source}"
            for r in self.rolls
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, "\n".join([*rows, ""]), error=DataError)


def _roll(where: str, row: Sequence[str]) -> Roll:
    if len(row) != len(COLUMNS):
        raise DataError(f"{where}: {len(row)} values: a roll has {', '.join(COLUMNS)}; build the table anew")
    before, to, at, spread, rule, source = (each.strip() for each in row)
    try:
        roll = Roll(before, to, date.fromisoformat(at), int(spread) if spread else None, rule, source)
    except ValueError as error:
        raise DataError(
            f"{where}: at {at!r}, spread {spread!r}: {error}; write a date and whole ticks"
        ) from error
    if not before or not to or before == to:
        raise DataError(f"{where}: from {before!r} to {to!r}: must be two contracts; build the table anew")
    return roll


def _require_follows(where: str, earlier: Roll, later: Roll) -> None:
    if earlier.spread is None:
        raise DataError(f"{where}: the roll before it has no spread; build the table anew")
    if later.before != earlier.to:
        raise DataError(f"{where}: from {later.before}, but {earlier.to} is traded; correct one of the rows")
    if later.at <= earlier.at:
        raise DataError(f"{where}: at {later.at} after {earlier.at}: dates must rise; correct one of them")


def _sessions_before(session: Session, at: np.datetime64) -> list[int]:
    """Return the last session but one before a date, and the last one, days since 1970."""
    known = session.scheduled_dates(at - np.timedelta64(21), at - np.timedelta64(1))
    return [int(each) for each in known[-2:].astype("M8[D]").astype(np.int64)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rolls:
    """A roll table on the clock of its session: what bars are moved by, whatever their timeframe.

    since       int64 (rolls,): bars that end after it are of the next contract; UTC nanoseconds, rising
    offset      int64 (rolls + 1,): ticks by which each contract stands above the first
    tick        points of a tick
    contracts   (rolls + 1,) names
    leave       int64 (rolls, 2), days since 1970: the last session but one and the last one before each roll
    is_open     whether the spread of the last roll is not known yet: then no bar after it can be seen

    A price p of contract i, seen from contract k, is p + (offset[k] - offset[i]) ticks.

    >>> from lockstep.market import load_instruments
    >>> market = load_instruments().market("ES")
    >>> table = RollTable(symbol="ES", rolls=(
    ...     Roll("ESH24", "ESM24", date(2024, 3, 11), 218, "volume", "0" * 16),))
    >>> rolls = Rolls.of(table, market.session, market.instrument.tick_size)
    >>> ends = np.array(["2024-03-08T22:00", "2024-03-10T23:00"], dtype="M8[ns]").astype(np.int64)
    >>> rolls.contract(ends)
    array([0, 1])
    >>> rolls.seen_from(1, ends, np.array([5100.0, 5160.25]))
    array([5154.5 , 5160.25])
    """

    since: Stamps
    offset: Stamps
    tick: float
    contracts: tuple[str, ...]
    leave: Stamps
    is_open: bool = False

    @classmethod
    def of(cls, table: RollTable, session: Session, tick: float) -> Self:
        """Return the rolls of a table; DataError for a date that is no session."""
        dates = np.array([each.at for each in table.rolls], dtype="M8[D]")
        days = {day.date: day for day in session.days(dates)}
        for each, number in zip(table.rolls, dates.astype(np.int64).tolist(), strict=True):
            if number not in days:
                raise DataError(
                    f"roll of {table.symbol} {each}: no session of {session.template.name}; correct it"
                )
        since = [days[number].after for number in dates.astype(np.int64).tolist()]
        spreads = [each.spread or 0 for each in table.rolls]
        return cls(
            since=np.array(since, dtype=np.int64),
            offset=np.concatenate(([0], np.cumsum(spreads))).astype(np.int64),
            tick=tick,
            contracts=table.contracts,
            leave=np.array([_sessions_before(session, each) for each in dates], dtype=np.int64),
            is_open=table.rolls[-1].spread is None,
        )

    def contract(self, ends: Stamps) -> Stamps:
        """Return the number of each bar's contract, int64 (n,); DataError beyond an open roll."""
        found = np.searchsorted(self.since, ends, side="left").astype(np.int64)
        if self.is_open and found.size and int(found.max()) == self.since.size:
            raise DataError(
                f"{self.contracts[-1]} is traded in place of {self.contracts[-2]}, and the roll "
                f"table does not say "
                "by how much it stands above it; `lockstep data rolls build` adds that"
            )
        return found

    def nearness(
        self, ends: Stamps, timeframe: Timeframe, session: Session, *, at_close: bool = False
    ) -> Floats:
        """Return 0, or by which of two reasons a position is left at a bar, float64 (n,); see `decision.py`.

        AHEAD   the last bar whose order fills in the contract: of session bars the last but one, of others
                those that end in the last minutes of its last session
        NEXT    of session bars the last one: its order fills at the next contract's open. Where orders fill
                at the close of their bar (`at_close`), it is AHEAD, and no other is
        """
        days = session.dates(ends, timeframe).astype("M8[D]").astype(np.int64)
        last = np.isin(days, self.leave[:, 1])
        if timeframe.is_session:
            if at_close:
                return np.where(last, AHEAD, 0.0)
            return np.where(np.isin(days, self.leave[:, 0]), AHEAD, np.where(last, NEXT, 0.0))
        margin = max(LEAVING, timeframe.nanoseconds)
        return np.where(last & (ends >= session.scheduled_close(ends) - margin), AHEAD, 0.0)

    def ticks(self, ends: Stamps) -> Stamps:
        """Return by how many ticks the contract of each bar stands above the first, int64 (n,)."""
        return self.offset[self.contract(ends)]

    def seen_from(self, contract: int, ends: Stamps, prices: Floats) -> Floats:
        """Return prices of bars (n,) as they are seen from one contract, float64 (n,)."""
        return moved(prices, self.offset[contract] - self.ticks(ends), self.tick)


def moved(prices: Floats, ticks: Stamps | int, tick: float) -> Floats:
    """Return prices moved by whole ticks, element by element; float64 of their shape, NaN stays NaN.

    One on the tick grid comes out as the number that a file holds for that price; one that stays, as it was.

    >>> moved(np.array([100.1, 100.25, 0.3]), np.array([2, 0, -1]), 0.1)
    array([100.3 , 100.25,   0.2 ])
    """
    per_point = np.floor(1.0 / tick + 0.5) if tick < 1.0 else 1.0 / tick
    steps = prices * per_point
    nearest = np.floor(steps + 0.5)
    onto = nearest + ticks
    on_grid = onto / per_point if tick < 1.0 else onto * tick
    found = np.where(np.abs(steps - nearest) <= _ON_GRID, on_grid, prices + ticks * tick)
    return np.where(np.equal(ticks, 0), prices, found)
