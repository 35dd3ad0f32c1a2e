"""One run of a portfolio in either engine: Backtrader, or the compiled twin and the compiled lanes below it.

The twin says what the account admits and fills; each lane's loop then writes down what a single run would,
its entries answered as the twin answered them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lockstep.errors import EngineMismatch
from lockstep.market.bars import Flags
from lockstep.market.dates import DateRange
from lockstep.market.sessions import Session
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.state import ProposalRecord
from lockstep.portfolio.terms import LaneTerms, volatility_id
from lockstep.strategy.admission import REFUSALS, LaneNews, LaneStanding, Settled
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT, REFUSED
from lockstep.strategy.records import MemoryRecorder
from research.backtest import loop
from research.backtest.engine import Admitted
from research.backtest.portfolio_referee import first_portfolio_difference, own_difference
from research.backtest.records import FilledRow, PortfolioRecords, RunRecords, SetMarks, fills_of
from research.backtest.run import BACKTRADER, COMPILED, Engine, InstrumentRun
from research.sweep import portfolio_loop as twin
from research.sweep.portfolio import PortfolioGround, PortfolioTrace, trace_portfolio


@dataclass(frozen=True, kw_only=True)
class PortfolioRun:
    """One run, whichever engine carries it out.

    runs    of each lane, by symbol; terms: of each lane, sorted by symbol
    calendar   of the portfolio's days
    """

    config: PortfolioConfig
    runs: Mapping[str, InstrumentRun]
    terms: Sequence[LaneTerms]
    calendar: Session
    span: DateRange | None

    @property
    def bars(self) -> int:
        """Traded bars of all lanes."""
        return sum(len(each.traded) for each in self.runs.values())

    def records(self, engine: Engine) -> PortfolioRecords:
        """Run an engine and return what it wrote down."""
        return self._compiled() if engine == COMPILED else self._backtrader()

    def require_agreement(self, records: PortfolioRecords, engine: Engine) -> None:
        """Run the other engine; EngineMismatch where its records differ."""
        other = self.records(BACKTRADER if engine == COMPILED else COMPILED)
        compiled, referee = (records, other) if engine == COMPILED else (other, records)
        ids = {symbol: each.source.plan.ids for symbol, each in self.runs.items()}
        self._refuse(first_portfolio_difference(compiled, referee, ids))

    def require_one_account(self, compiled: PortfolioRecords) -> None:
        """Raise EngineMismatch where the twin and the lanes below it have other fills."""
        self._refuse(own_difference(compiled))

    def _refuse(self, difference: str) -> None:
        if difference:
            raise EngineMismatch(
                f"portfolio {self.config.name}: {difference}; nothing is written. Believe Backtrader "
                "(--engine backtrader), and report the portfolio and the bars"
            )

    def _backtrader(self) -> PortfolioRecords:
        recorders = {each.symbol: MemoryRecorder() for each in self.terms}
        watched = Watched(Coordinator(self.config, self.terms, self.calendar))
        lanes = [
            self.runs[each.symbol].lane(recorders[each.symbol], factor=each.factor) for each in self.terms
        ]
        build_cerebro(lanes, admissions=watched).run()
        written = {symbol: RunRecords.of(each) for symbol, each in recorders.items()}
        return PortfolioRecords(
            marks=watched.marks,
            proposals=watched.proposals,
            fills={symbol: fills_of(each.trades) for symbol, each in written.items()},
            lanes=written,
        )

    def _compiled(self) -> PortfolioRecords:
        ground = self.ground
        trace = trace_portfolio(ground, self.config)
        flattened = self._flattened(trace)
        written = {
            each.symbol: self.runs[each.symbol].compiled(
                _admitted(ground, trace, flattened, lane), factor=each.factor
            )
            for lane, each in enumerate(self.terms)
        }
        return PortfolioRecords(
            marks=self._marks(ground, trace),
            proposals=_proposals(ground, trace),
            fills={symbol: _fills(ground, trace, lane) for lane, symbol in enumerate(ground.symbols)},
            lanes=written,
        )

    @cached_property
    def ground(self) -> PortfolioGround:
        """What the twin reads, whatever the sizes and limits are."""
        runs = self.runs
        return PortfolioGround.of(
            {symbol: each.config for symbol, each in runs.items()},
            {symbol: each.history for symbol, each in runs.items()},
            self.calendar,
            vetoes={symbol: each.veto for symbol, each in runs.items() if each.veto is not None},
            span=self.span,
            volatility=volatility_id(self.config),
            score=self.config.rank.id,
        )

    def _flattened(self, trace: PortfolioTrace) -> Flags:
        """Return the sets in which everything open had to leave, bool (S,): those that stopped a day."""
        loss = self.config.limits.daily_loss
        day, stopped = trace.states[:, rules.DAY], trace.states[:, rules.STOPPED] != 0.0
        is_first = np.append(True, ~stopped[:-1] | (day[1:] != day[:-1]))
        found: Flags = stopped & is_first & (loss is not None and loss.flatten)
        return found

    def _marks(self, ground: PortfolioGround, trace: PortfolioTrace) -> SetMarks:
        drawdown, states = self.config.limits.drawdown, trace.states
        scales = np.array([1.0, *(each.scale for each in drawdown.tiers)] if drawdown else [1.0])
        return SetMarks(
            stamp=ground.stamps,
            day=states[:, rules.DAY].astype(np.int64),
            equity=states[:, rules.EQUITY],
            drawdown=states[:, rules.DRAWDOWN],
            scale=scales[states[:, rules.TIER].astype(np.int64)],
            stopped=states[:, rules.STOPPED] != 0.0,
            halted=states[:, rules.HALT] != 0.0,
        )


def _admitted(ground: PortfolioGround, trace: PortfolioTrace, flattened: Flags, lane: int) -> Admitted:
    """Return what the twin answered to one lane, bar by bar."""
    rows, proposals = ground.rows[:, lane], trace.proposals
    there = rows >= 0
    bars = int(there.sum())
    mine = proposals[proposals[:, twin.P_LANE] == lane]
    proposed = rows[mine[:, twin.P_SET].astype(np.int64)]
    rule, side = mine[:, twin.P_RULE], mine[:, twin.P_SIDE]
    verdicts, contracts = np.zeros(bars, dtype=np.int64), np.zeros(bars)
    verdicts[proposed] = np.where(
        rule == rules.ADMITTED, np.where(side > 0.0, ENTER_LONG, ENTER_SHORT), REFUSED + rule
    )
    contracts[proposed] = mine[:, twin.P_QUANTITY]
    leaves = np.zeros(bars + 1, dtype=np.int8)
    leaves[rows[flattened & there]] |= loop.AT_BAR
    leaves[np.cumsum(there)[flattened & ~there]] |= loop.BEFORE_BAR
    return Admitted(verdicts=verdicts, contracts=contracts, leaves=leaves[:bars])


def _proposals(ground: PortfolioGround, trace: PortfolioTrace) -> list[ProposalRecord]:
    stamps, equity = ground.stamps.tolist(), trace.states[:, rules.EQUITY].tolist()
    return [
        ProposalRecord(
            symbol=ground.symbols[int(lane)],
            stamp=stamps[int(s)],
            place=int(place),
            side=side,
            base=base,
            scale=scale,
            quantity=quantity,
            rule="" if rule == rules.ADMITTED else REFUSALS[int(rule)],
            margin=margin,
            equity=equity[int(s)],
        )
        for s, place, lane, side, base, scale, quantity, rule, margin in trace.proposals.tolist()
    ]


def _fills(ground: PortfolioGround, trace: PortfolioTrace, lane: int) -> list[FilledRow]:
    ends = ground.stamps[ground.rows[:, lane] >= 0].tolist()
    own = trace.fills[trace.fills[:, twin.F_LANE] == lane].tolist()
    return [(ends[int(bar)], size, price) for _, bar, size, price, _ in own]


@dataclass
class Watched:
    """A coordinator, and what it said set by set."""

    coordinator: Coordinator
    proposals: list[ProposalRecord] = field(default_factory=list)
    _rows: list[tuple[int, int, float, float, float, bool, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.symbols = self.coordinator.symbols
        self.volatility_id, self.rank_id = self.coordinator.volatility_id, self.coordinator.rank_id

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        """Answer as the coordinator does, and keep it."""
        settled = self.coordinator.settle(stamp, news, standing)
        self._rows.append(self.coordinator.marked)
        if any(settled.admissions):
            told = self.coordinator.take()
            assert told is not None
            self.proposals += told.proposals
        return settled

    @property
    def marks(self) -> SetMarks:
        """What was marked so far."""
        return SetMarks(*(np.array(column) for column in zip(*self._rows, strict=True)))
