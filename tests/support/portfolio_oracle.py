"""A second implementation of a portfolio's rules: slow, in plain Python, from the sentences of ADR 38.

It keeps every day's high instead of a falling list, every equity as the file's exact numbers add up, and
takes the volatility of the rooms from the eigenvalues of the correlations.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Session
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy import decision as d
from lockstep.strategy.admission import REFUSALS, Admission, LaneNews, LaneStanding, Settled
from lockstep.strategy.matching import POSITION


class PortfolioOracle:
    """Answers as a `Coordinator` should."""

    def __init__(self, config: PortfolioConfig, lanes: Sequence[LaneTerms], session: Session) -> None:
        self.config, self.lanes, self.session = config, lanes, session
        self.symbols = tuple(each.symbol for each in lanes)
        self.volatility_id = config.limits.volatility.id if config.limits.volatility else ""
        self.rank_id = config.rank.id
        self.opening = sum(each.strategy.capital for each in lanes)
        self.highs: dict[int, float] = {}
        self.equities: dict[int, float] = {}
        self.day, self.tier, self.halted = -1, 0, False
        self.stopped_on = -1
        self.close = {each: math.nan for each in self.symbols}
        self.risk = {each: math.nan for each in self.symbols}
        self.room = {each: 0.0 for each in self.symbols}
        self.exact = Fraction(0)
        self.equity = self.drawdown = 0.0

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        units = {each.symbol: each.market.instrument.multiplier for each in self.lanes}
        accounts = {symbol: each.account for symbol, each in zip(self.symbols, standing, strict=True)}
        for symbol, said, stands in zip(self.symbols, news, standing, strict=True):
            if accounts[symbol][POSITION] == 0.0 and not stands.is_entering:
                self.room[symbol] = 0.0
            if said is not None:
                self.close[symbol] = said.close
                if said.volatility == said.volatility:
                    self.risk[symbol] = said.volatility * abs(said.close) * units[symbol]
        flatten = self._mark(stamp, accounts, units)
        proposals = [
            (self._key(symbol, said), symbol, said)
            for symbol, said in zip(self.symbols, news, strict=True)
            if said is not None and said.quantity
        ]
        others = {symbol for _, symbol, _ in proposals if self._is_of_other_arm(symbol, stamp)}
        proposals.sort(
            key=lambda each: (
                each[1] in others,
                each[1] not in others and math.isnan(each[0]),
                0.0 if each[1] in others or math.isnan(each[0]) else each[0],
                each[1],
            )
        )
        answers: dict[str, Admission] = {}
        for place, (key, symbol, said) in enumerate(proposals):
            quantity = math.copysign(self._size(symbol, said), said.quantity)
            rule = "other_arm" if symbol in others else ""
            rule = rule or self._refusing(place, key, symbol, quantity, accounts, units)
            if rule:
                answers[symbol] = Admission(d.REFUSED + REFUSALS.index(rule), 0.0)
            else:
                self.room[symbol] = quantity
                answers[symbol] = Admission(d.ENTER_LONG if quantity > 0 else d.ENTER_SHORT, quantity)
        return Settled([answers.get(symbol) for symbol in self.symbols], flatten)

    def _is_of_other_arm(self, symbol: str, stamp: int) -> bool:
        split = self.config.lane(symbol).split
        if split is None:
            return False
        (terms,) = (each for each in self.lanes if each.symbol == symbol)
        (day,) = terms.market.session.dates(np.array([stamp]), terms.strategy.bars)
        text = f'["{split.test}","{traded_symbol(symbol)}","{day}",{stamp}]'
        return split.arm != ("challenger" if hashlib.sha256(text.encode()).hexdigest() >= "8" else "champion")

    def _mark(self, stamp: int, accounts: dict[str, tuple[float, ...]], units: dict[str, float]) -> bool:
        limits, capital = self.config.limits, self.config.capital
        day = self.session.day(stamp).date
        self.exact = Fraction(capital) - Fraction(self.opening)
        for symbol in self.symbols:
            position, entry, _, _, cash = accounts[symbol]
            self.exact += Fraction(cash)
            if position:
                self.exact += (
                    (Fraction(self.close[symbol]) - Fraction(entry))
                    * Fraction(position)
                    * Fraction(units[symbol])
                )
        self.equity = float(self.exact)
        before = [each for each in self.equities if each < day]
        baseline = self.equities[max(before)] if before else capital
        self.equities[day] = self.equity
        self.highs[day] = max(self.highs.get(day, -math.inf), self.equity)
        days = [day]
        if limits.drawdown:
            first = np.datetime64(day - 2 * limits.drawdown.window - 30, "D")
            dates = self.session.scheduled_dates(first, np.datetime64(day, "D")).astype(np.int64)
            days = dates[-limits.drawdown.window :].tolist()
        peak = max(high for each, high in self.highs.items() if each >= days[0])
        self.drawdown = (peak - self.equity) / capital
        if limits.drawdown:
            tiers = limits.drawdown.tiers
            while self.tier < len(tiers) and self.drawdown >= tiers[self.tier].at:
                self.tier += 1
            while self.tier and self.drawdown < limits.drawdown.release * tiers[self.tier - 1].at:
                self.tier -= 1
            if limits.drawdown.halt is not None and self.drawdown >= limits.drawdown.halt:
                self.halted = True
        loss = limits.daily_loss
        if loss and self.stopped_on != day and baseline - self.equity >= loss.fraction * capital:
            self.stopped_on = day
            self.day = day
            return loss.flatten
        self.day = day
        return False

    @property
    def scale(self) -> float:
        drawdown = self.config.limits.drawdown
        return drawdown.tiers[self.tier - 1].scale if drawdown and self.tier else 1.0

    def _key(self, symbol: str, said: LaneNews) -> float:
        rank = self.config.rank
        return {
            "symbol": 0.0,
            "listed": float(rank.order.index(traded_symbol(symbol))) if rank.order else 0.0,
            "probability": -said.probability,
            "score": said.score if rank.smallest_first else -said.score,
        }[rank.by]

    def _size(self, symbol: str, said: LaneNews) -> float:
        (terms,) = (each for each in self.lanes if each.symbol == symbol)
        mode, amount, _, unit, step, *_ = terms.sizing
        wanted = amount * self.scale
        if not mode and terms.strategy.size.by_regime is not None:
            wanted *= said.measure
        if mode:
            wanted /= said.measure * unit * (abs(said.close) if mode == 2.0 else 1.0)
        steps = math.floor(wanted / step + 1e-9)
        return steps * step if step >= 1 else steps / round(1 / step)

    def _refusing(
        self, place: int, key: float, symbol: str, quantity: float, accounts: dict[str, tuple[float, ...]],
        units: dict[str, float],
    ) -> str:  # fmt: skip
        config, limits, capital = self.config, self.config.limits, self.config.capital
        lane = config.lane(symbol)
        room = {**self.room, symbol: quantity}
        value = {
            each: room[each] * abs(self.close[each]) * units[each] if room[each] else 0.0 for each in room
        }

        def above(found: float, limit: float | None) -> bool:
            return limit is not None and found > limit

        instrument = traded_symbol(symbol)
        own = [each for each in self.symbols if traded_symbol(each) == instrument]
        held = {traded_symbol(each) for each in self.symbols if room[each]}
        groups = [
            above(len(held & set(group.symbols)), group.max_positions)
            or (group.max_gross is not None and sum(abs(value[each]) for each in self.symbols
                                                    if traded_symbol(each) in group.symbols)
                > group.max_gross * capital)
            for group in config.groups.values()
            if instrument in group.symbols
        ]  # fmt: skip
        margin = sum(self._margin(each, room[each], accounts[each]) for each in self.symbols if room[each])
        asked = {
            "halted": self.halted,
            "daily_loss": self.stopped_on == self.day,
            "scale": quantity == 0.0,
            "unknown": math.isnan(key)
            or (limits.volatility is not None and math.isnan(self.risk[symbol]))
            or (limits.max_margin is not None and math.isnan(margin)),
            "rank": config.rank.top is not None and place >= config.rank.top,
            "positions": above(len(held), limits.max_positions),
            "contracts": above(sum(abs(room[each]) for each in own), lane.max_contracts),
            "total_contracts": above(sum(map(abs, room.values())), limits.max_total_contracts),
            "weight_cap": lane.weight_cap is not None
            and sum(abs(value[each]) for each in own) > lane.weight_cap * capital,
            "gross": limits.max_gross is not None
            and sum(abs(value[each]) for each in self.symbols) > limits.max_gross * capital,
            "net": limits.max_net is not None
            and abs(sum(value[each] for each in self.symbols)) > limits.max_net * capital,
            "group": any(groups),
            "volatility": limits.volatility is not None
            and not self._volatility(room) <= limits.volatility.target * capital,
            "margin": limits.max_margin is not None and margin > limits.max_margin * self.equity,
        }
        assert (*asked, "other_arm") == REFUSALS
        return next((rule for rule, refuses in asked.items() if refuses), "")

    def _margin(self, symbol: str, room: float, account: tuple[float, ...]) -> float:
        (terms,) = (each for each in self.lanes if each.symbol == symbol)
        day = np.datetime64(self.day, "D").astype(object)
        declared = [each for each in terms.market.instrument.margin if each.since <= day]
        if not declared:
            return math.nan
        each = declared[-1]
        return abs(room) * (each.overnight if account[POSITION] else max(each.initial, each.overnight))

    def _volatility(self, room: dict[str, float]) -> float:
        assert self.config.correlation is not None
        held = [each for each in self.symbols if room[each]]
        places = [self.config.correlation.symbols.index(traded_symbol(each)) for each in held]
        values, vectors = np.linalg.eigh(np.array(self.config.correlation.matrix)[np.ix_(places, places)])
        along = vectors.T @ np.array([room[each] * self.risk[each] for each in held])
        return (
            math.sqrt(max(float(np.sum(values * along**2)), 0.0)) if not np.isnan(along).any() else math.nan
        )
