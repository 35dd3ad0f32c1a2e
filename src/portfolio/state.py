"""What a coordinator carries from one bar set to the next, and what it said of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LaneRoom:
    """What one lane takes of the portfolio.

    close     last known, points; NaN before the first bar
    risk      USD a year of one contract by the last known volatility, NaN: never known
    room      contracts, signed: held, or admitted and waiting to fill
    leaving   whether the position has to leave because everything open must
    """

    symbol: str
    close: float
    risk: float
    room: float
    leaving: bool


@dataclass(frozen=True, kw_only=True)
class CoordinatorState:
    """Everything that the next set's answers depend on, besides the set and the accounts.

    stamp      end of the newest set, UTC ns; 0 before the first
    day        its date, days since 1970; -1 before the first
    baseline   equity of the last set of the day before, USD; equity: of the newest; high: highest of this day
    tier       how many tiers of the drawdown limit hold; drawdown: fraction of the capital
    stopped    whether today's loss has ended entries for today; halted: whether a drawdown has ended them
    reserve    of the capital, USD: what no lane's account holds
    peaks      (day, its high in USD) of finished days within the window, falling
    lanes      by symbol
    """

    stamp: int
    day: int
    baseline: float
    equity: float
    high: float
    tier: int
    drawdown: float
    stopped: bool
    halted: bool
    reserve: float
    peaks: tuple[tuple[int, float], ...]
    lanes: tuple[LaneRoom, ...]


@dataclass(frozen=True, kw_only=True)
class ProposalRecord:
    """One proposal and its answer.

    place      in the ranking of its set, from 0
    side       +1.0 or -1.0; base: contracts by the strategy's own size
    quantity   admitted, contracts, signed; 0.0 if refused
    scale      what the drawdown's tier multiplies sizes by
    rule       that refused, "" if admitted
    margin     USD of all rooms with this one, NaN where margins are not declared; equity: of the set, USD
    """

    symbol: str
    stamp: int
    place: int
    side: float
    base: float
    scale: float
    quantity: float
    rule: str
    margin: float
    equity: float


@dataclass(frozen=True, kw_only=True)
class SettledSet:
    """One bar set as it was settled: the state after it, and its proposals in the order of the ranking."""

    state: CoordinatorState
    proposals: tuple[ProposalRecord, ...]
