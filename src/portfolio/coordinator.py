"""`Coordinator`: answers the proposals of each bar set by the rules of one portfolio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lockstep.errors import ConfigError, StrategyError
from lockstep.market.instrument import traded_symbol
from lockstep.market.margin import margin_on
from lockstep.market.sessions import Session
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.kernels import scale_of, settle
from lockstep.portfolio.state import CoordinatorState, LaneRoom, ProposalRecord, SettledSet
from lockstep.portfolio.terms import DrawdownWindow, LaneTerms, PortfolioTerms, volatility_id
from lockstep.strategy.admission import REFUSALS, Admission, LaneNews, LaneStanding, Settled
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT, REFUSED
from lockstep.strategy.matching import CASH, Account, equity, opening_account

_NEVER = 0


class Coordinator:
    """Answers proposals as `admission.Admissions` says.

    All that it remembers is in `state`: a new one with that state answers as this one would have.

    >>> from lockstep.market import load_instruments
    >>> from lockstep.strategy.admission import LaneStanding
    >>> from lockstep.strategy.family import strategy_of
    >>> from lockstep.strategy.matching import opening_account
    >>> book, opening = load_instruments(), LaneStanding(opening_account(100_000.0), False)
    >>> portfolio = PortfolioConfig.model_validate({
    ...     "name": "desk", "capital": 100_000, "day": "CME", "limits": {"max_positions": 1},
    ...     "lanes": [{"symbol": each, "strategy": "ibs.yaml", "units": 1} for each in ("ES", "NQ")]})
    >>> ibs = strategy_of({"name": "ibs"}, where="example")
    >>> terms = [LaneTerms.of(portfolio, book.market(each), ibs) for each in ("ES", "NQ")]
    >>> coordinator = Coordinator(portfolio, terms, book.session_named("CME"))
    >>> wanted = [LaneNews(close, math.nan, 0.0, math.nan, math.nan, 1.0) for close in (5_000.0, 17_000.0)]
    >>> settled = coordinator.settle(1_709_762_400_000_000_000, wanted, [opening, opening])
    >>> [each.quantity for each in settled.admissions], coordinator.take().proposals[1].rule
    ([1.0, 0.0], 'positions')
    """

    def __init__(
        self,
        config: PortfolioConfig,
        lanes: Sequence[LaneTerms],
        day: Session,
        state: CoordinatorState | None = None,
    ) -> None:
        self.symbols = tuple(each.symbol for each in lanes)
        if self.symbols != config.names:
            raise ConfigError(
                f"portfolio {config.name}: lanes {', '.join(self.symbols)} for {', '.join(config.names)}; "
                "give each of them, sorted by name"
            )
        self.config = config
        self.volatility_id, self.rank_id = volatility_id(config), config.rank.id
        self.calendar, self._lanes = day, tuple(lanes)
        self._terms = PortfolioTerms.of(config, lanes)
        n, drawdown = len(lanes), config.limits.drawdown
        self._window = DrawdownWindow(day, drawdown.window) if drawdown else None
        self._state = np.zeros(rules.STATE)
        self._rooms = np.zeros((n, rules.LANE))
        self._peaks = np.zeros((drawdown.window + 2 if drawdown else 0, 2))
        self._margins = np.full((n, 2), math.nan)
        self._news, self._accounts = np.full((n, rules.NEWS), math.nan), np.zeros((n, 5))
        self._entering = np.zeros(n, dtype=np.bool_)
        self._verdicts, self._order = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._quantities, self._needed, self._base = np.zeros(n), np.zeros(n), np.zeros(n)
        self._first_day, self._margin_day, self._is_news = -1.0, -1, False
        self._stamp = _NEVER
        self._restore(state or opening_state(config, lanes))

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        """Answer a set's proposals; StrategyError where it does not come after the one before."""
        if stamp <= self._stamp:
            raise StrategyError(
                f"portfolio {self.config.name}: set {stamp} comes after {self._stamp}; sets are settled "
                "once, in the order of time"
            )
        self._stamp, self._is_news = stamp, True
        day = self.calendar.day(stamp).date
        if day != self._margin_day:
            self._new_day(day)
        self._read(news, standing)
        flatten = settle(
            float(day), self._first_day, self._reserve, self._news, self._accounts, self._entering,
            self._state, self._rooms, self._peaks, *self._terms, self._margins, self._verdicts,
            self._quantities, self._needed, self._order,
        )  # fmt: skip
        return Settled([self._answer(i) for i in range(len(self.symbols))], bool(flatten))

    @property
    def state(self) -> CoordinatorState:
        """What the next answers depend on."""
        state, count = self._state.tolist(), int(self._state[rules.PEAKS])
        return CoordinatorState(
            stamp=self._stamp,
            day=int(state[rules.DAY]),
            baseline=state[rules.BASELINE],
            equity=state[rules.EQUITY],
            high=state[rules.PEAK_OF_DAY],
            tier=int(state[rules.TIER]),
            drawdown=state[rules.DRAWDOWN],
            stopped=state[rules.STOPPED] != 0.0,
            halted=state[rules.HALT] != 0.0,
            reserve=self._reserve,
            peaks=tuple((int(day), high) for day, high in self._peaks[:count].tolist()),
            lanes=tuple(
                LaneRoom(symbol=symbol, close=close, risk=risk, room=room, leaving=leaving != 0.0)
                for symbol, (close, risk, room, leaving) in zip(
                    self.symbols, self._rooms.tolist(), strict=True
                )
            ),
        )

    @property
    def marked(self) -> tuple[int, int, float, float, float, bool, bool]:
        """Of the newest set: stamp, day, equity, drawdown, scale, stopped, halted; see `CoordinatorState`."""
        state = self._state
        return (
            self._stamp, int(state[rules.DAY]), float(state[rules.EQUITY]), float(state[rules.DRAWDOWN]),
            self.scale, bool(state[rules.STOPPED]), bool(state[rules.HALT]),
        )  # fmt: skip

    @property
    def scale(self) -> float:
        """What the amount of new sizes is multiplied by now."""
        return float(scale_of(self._state, self._terms.tiers))

    def take(self) -> SettledSet | None:
        """Return the newest set as it was settled, once; None until the next one."""
        if not self._is_news:
            return None
        self._is_news = False
        return SettledSet(
            state=self.state,
            proposals=tuple(
                self._proposal(place, i) for place, i in enumerate(self._order.tolist()) if i >= 0
            ),
        )

    def change(self, terms: LaneTerms) -> None:
        """Take over what another strategy of a lane wants; its account and its room stay."""
        self._lanes = tuple(terms if each.symbol == terms.symbol else each for each in self._lanes)
        self._terms = PortfolioTerms.of(self.config, self._lanes)

    def resume(self) -> None:
        """End a halt, as an operator does: drawdowns count from the present equity on."""
        self._state[rules.HALT] = self._state[rules.TIER] = self._state[rules.DRAWDOWN] = 0.0
        self._state[rules.PEAKS], self._state[rules.PEAK_OF_DAY] = 0.0, self._state[rules.EQUITY]

    def _new_day(self, day: int) -> None:
        self._margin_day = day
        if self._window is not None:
            self._first_day = float(self._window.first(np.array([day]))[0])
        for i, each in enumerate(self._lanes):
            self._margins[i] = margin_on(each.market.instrument.margin, day)

    def _read(self, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]) -> None:
        for i, (each, stands) in enumerate(zip(news, standing, strict=True)):
            self._accounts[i] = stands.account
            self._entering[i] = stands.is_entering
            if each is None:
                self._news[i], self._base[i] = (math.nan, math.nan, 0.0, 0.0, 0.0, 0.0), 0.0
                continue
            side = math.copysign(1.0, each.quantity) if each.quantity else 0.0
            other = float(side != 0.0 and self._is_of_other_arm(i))
            self._news[i] = (each.close, each.volatility, each.measure, self._key(i, each), side, other)
            self._base[i] = abs(each.quantity)

    def _is_of_other_arm(self, i: int) -> bool:
        lane = self._lanes[i]
        return lane.split is not None and bool(lane.of_other_arm(np.array([self._stamp]))[0])

    def _key(self, i: int, news: LaneNews) -> float:
        rank = self.config.rank
        if rank.by == "probability":
            return -news.probability
        if rank.by == "score":
            return news.score if rank.smallest_first else -news.score
        return float(rank.order.index(traded_symbol(self.symbols[i]))) if rank.by == "listed" else 0.0

    def _answer(self, i: int) -> Admission | None:
        verdict = int(self._verdicts[i])
        if verdict == rules.NO_PROPOSAL:
            return None
        if verdict != rules.ADMITTED:
            return Admission(REFUSED + verdict, 0.0)
        quantity = float(self._quantities[i])
        return Admission(ENTER_LONG if quantity > 0.0 else ENTER_SHORT, quantity)

    def _proposal(self, place: int, i: int) -> ProposalRecord:
        verdict = int(self._verdicts[i])
        return ProposalRecord(
            symbol=self.symbols[i],
            stamp=self._stamp,
            place=place,
            side=float(self._news[i, rules.SIDE]),
            base=float(self._base[i]),
            scale=self.scale,
            quantity=float(self._quantities[i]) if verdict == rules.ADMITTED else 0.0,
            rule="" if verdict == rules.ADMITTED else REFUSALS[verdict],
            margin=float(self._needed[i]),
            equity=float(self._state[rules.EQUITY]),
        )

    def _restore(self, state: CoordinatorState) -> None:
        known = tuple(each.symbol for each in state.lanes)
        if known != self.symbols:
            raise StrategyError(
                f"portfolio {self.config.name}: the state is of {', '.join(known)}, "
                f"the lanes are {', '.join(self.symbols)}; begin without it"
            )
        self._stamp, self._reserve = state.stamp, state.reserve
        self._state[:] = (
            state.day, state.baseline, state.equity, state.high, state.tier, state.stopped, state.halted,
            len(state.peaks), state.drawdown,
        )  # fmt: skip
        if state.peaks:
            self._peaks[: len(state.peaks)] = state.peaks
        self._rooms[:] = [(each.close, each.risk, each.room, each.leaving) for each in state.lanes]


class LaneStart(NamedTuple):
    """A lane as a portfolio finds it.

    account   as in `matching.py`; room: contracts, signed: held, or waiting to fill; close: last, NaN: none
    """

    account: Account
    room: float
    close: float


def opening_state(
    config: PortfolioConfig,
    lanes: Sequence[LaneTerms],
    found: Mapping[str, LaneStart] | None = None,
    before: tuple[float, CoordinatorState] | None = None,
) -> CoordinatorState:
    """Return the state from which a portfolio begins.

    found    by symbol, where accounts are not new
    before   capital, USD, and last state of the portfolio that goes on: what differs in capital was paid in
             or out, so no drawdown or loss follows from it; a lane that is new takes its account's capital
             from the reserve, one that is gone leaves its own there
    """
    known = found or {}
    starts = {
        each.symbol: known.get(each.symbol, LaneStart(opening_account(each.strategy.capital), 0.0, math.nan))
        for each in lanes
    }
    fresh = tuple(
        LaneRoom(symbol=symbol, close=each.close, risk=math.nan, room=each.room, leaving=False)
        for symbol, each in starts.items()
    )
    if before is None:
        reserve = config.capital
        for lane in lanes:
            reserve -= lane.strategy.capital
        total = reserve
        for lane in lanes:
            account, _, close = starts[lane.symbol]
            total += equity(account, close, lane.market.instrument.multiplier)
        return CoordinatorState(
            stamp=_NEVER, day=-1, baseline=total, equity=total, high=-math.inf, tier=0, drawdown=0.0,
            stopped=False, halted=False, reserve=reserve, peaks=(), lanes=fresh,
        )  # fmt: skip
    capital, state = before
    rooms = {each.symbol: each for each in state.lanes}
    paid, reserve = config.capital - capital, state.reserve + config.capital - capital
    for symbol in sorted(starts.keys() - rooms.keys()):
        reserve -= starts[symbol].account[CASH]
    for symbol in sorted(rooms.keys() - starts.keys()):
        reserve += known[symbol].account[CASH]
    return replace(
        state,
        baseline=state.baseline + paid,
        equity=state.equity + paid,
        high=state.high + paid,
        reserve=reserve,
        peaks=tuple((day, high + paid) for day, high in state.peaks),
        lanes=tuple(rooms.get(each.symbol, each) for each in fresh),
    )
