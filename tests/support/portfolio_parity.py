"""A drawn portfolio in every engine that trades portfolios: what each says, and where they part."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.market.instrument import lane_name
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.state import SettledSet
from lockstep.strategy.admission import REFUSALS, LaneNews, LaneStanding, Settled
from lockstep.strategy.decision import EXIT_DAILY_LOSS, VETO
from lockstep.strategy.records import MemoryRecorder
from research.backtest.portfolio_engine import PortfolioRun
from research.backtest.records import PortfolioRecords, RunRecords
from research.backtest.referee import first_difference
from research.backtest.run import COMPILED, InstrumentRun
from research.sweep.portfolio import PortfolioGround, PortfolioTrace, trace_portfolio
from support import desks, portfolios
from support.portfolio_live import engine_of, settled
from support.portfolios import BOOK, LEVELS, VOLATILITY, World, drawn_portfolio, mixed_world, terms_of


@dataclass
class Watched:
    """A coordinator, and everything that it said."""

    coordinator: Coordinator
    stamps: list[int] = field(default_factory=list)
    told: list[SettledSet] = field(default_factory=list)
    flattened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.symbols = self.coordinator.symbols
        self.volatility_id, self.rank_id = self.coordinator.volatility_id, self.coordinator.rank_id

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        settled = self.coordinator.settle(stamp, news, standing)
        told = self.coordinator.take()
        assert told is not None
        self.stamps.append(stamp)
        self.told.append(told)
        if settled.flatten:
            self.flattened.append(stamp)
        return settled


def in_cerebro(given: World, config: PortfolioConfig) -> tuple[Watched, dict[str, MemoryRecorder]]:
    watched = Watched(Coordinator(config, terms_of(given, config), BOOK.session_named(config.day)))
    return watched, portfolios.run_portfolio_by(given, config, watched)


def said_by_cerebro(watched: Watched, recorders: dict[str, MemoryRecorder]) -> dict[str, Any]:
    """Return what both engines say, comparable to the bit."""
    return {
        "stamps": watched.stamps,
        "trades": {
            symbol: [
                (each.entry_stamp, each.quantity, each.entry_price, each.exit_stamp, repr(each.exit_price))
                for each in recorder.trades
            ]
            for symbol, recorder in recorders.items()
        },
        "states": [
            repr(
                (each.state.day, each.state.baseline, each.state.equity, each.state.high, each.state.tier,
                 each.state.stopped, each.state.halted, each.state.drawdown)
            )
            for each in watched.told
        ],
        "proposals": [
            repr(
                (one.stamp, one.place, one.symbol, one.side, one.base, one.scale, one.quantity, one.rule,
                 one.margin)
            )
            for each in watched.told
            for one in each.proposals
        ],
    }  # fmt: skip


def said_by_twin(on: PortfolioGround, trace: PortfolioTrace, given: World) -> dict[str, Any]:
    stamps = on.stamps.tolist()
    trades: dict[str, list[Any]] = {symbol: [] for symbol in on.symbols}
    ends = {symbol: given.traded(symbol).end.tolist() for symbol in on.symbols}
    for lane, bar, size, price, _ in trace.fills.tolist():
        symbol = on.symbols[int(lane)]
        done, stamp = trades[symbol], ends[symbol][int(bar)]
        if done and done[-1][3] == 0:
            done[-1] = (*done[-1][:3], stamp, repr(price))
        else:
            done.append((stamp, size, price, 0, "nan"))
    return {
        "stamps": stamps,
        "trades": trades,
        "states": [
            repr(
                (int(each[rules.DAY]), each[rules.BASELINE], each[rules.EQUITY], each[rules.PEAK_OF_DAY],
                 int(each[rules.TIER]), each[rules.STOPPED] != 0.0, each[rules.HALT] != 0.0,
                 each[rules.DRAWDOWN])
            )
            for each in trace.states.tolist()
        ],
        "proposals": [
            repr(
                (stamps[int(s)], int(place), on.symbols[int(lane)], side, base, scale, quantity,
                 "" if rule == rules.ADMITTED else REFUSALS[int(rule)], margin)
            )
            for s, place, lane, side, base, scale, quantity, rule, margin in trace.proposals.tolist()
        ],
    }  # fmt: skip


def run_of(given: World, config: PortfolioConfig) -> PortfolioRun:
    """Return the run of a portfolio of the world, whichever engine carries it out."""
    runs = {
        each: InstrumentRun.of(
            given.configs[each], given.history, each, span=None, veto=given.vetoes.get(each)
        )
        for each in given.symbols
    }
    calendar = BOOK.session_named(config.day)
    return PortfolioRun(config=config, runs=runs, terms=terms_of(given, config), calendar=calendar, span=None)


def ground_of(given: World) -> PortfolioGround:
    """Return what every portfolio of the world has in common."""
    return PortfolioGround.of(
        given.configs, {each: given.history for each in given.symbols}, BOOK.session_named("CME"),
        vetoes=given.vetoes, volatility=VOLATILITY, score=given.score,
    )  # fmt: skip


def lane_difference(
    run: PortfolioRun, compiled: PortfolioRecords, symbol: str, recorder: MemoryRecorder
) -> str:
    """Return the first difference in what the lane of a symbol wrote down."""
    ids = run.runs[symbol].source.plan.ids
    return first_difference(compiled.lanes[symbol], RunRecords.of(recorder), ids)


@dataclass(frozen=True, kw_only=True)
class ParityCase:
    """One portfolio, and what Cerebro says of it."""

    given: World
    config: PortfolioConfig
    watched: Watched
    recorders: dict[str, MemoryRecorder]

    @classmethod
    def drawn(cls, seed: int) -> ParityCase:
        """Return the case of a seed: two to seven instruments, daily or hourly, each limit on or off.

        In some, members of an ensemble trade one of the instruments.
        """
        random = np.random.default_rng(seed)
        symbols = random.choice(sorted(LEVELS), size=int(random.integers(2, len(LEVELS) + 1)), replace=False)
        hourly = random.random(symbols.size) < 0.4
        chosen = {
            str(symbol): ("1h", int(random.integers(300, 900))) if by_hour
            else ("1d", int(random.integers(80, 260)))
            for symbol, by_hour in zip(symbols, hourly, strict=True)
        }  # fmt: skip
        apart = np.random.default_rng([seed, 1])
        if apart.random() < 0.3:
            shared = str(apart.choice(sorted(chosen)))
            bars = chosen.pop(shared)
            chosen |= {lane_name(shared, member): bars for member in "abc"[: int(apart.integers(2, 4))]}
        given = mixed_world(seed, chosen)
        content = drawn_portfolio(given, seed).model_dump()
        if random.random() < 0.4:
            fraction = float(10 ** random.uniform(-5.0, -2.5))
            content["limits"]["daily_loss"] = {"fraction": fraction, "flatten": bool(random.random() < 0.8)}
        if random.random() < 0.2:
            content["lanes"][0]["max_contracts"] = float(random.integers(1, 4))
            content["lanes"][1]["weight_cap"] = float(random.uniform(0.02, 0.5))
        config = PortfolioConfig.model_validate(content)
        watched, recorders = in_cerebro(given, config)
        return cls(given=given, config=config, watched=watched, recorders=recorders)


def compiled_difference(case: ParityCase) -> str:
    """Return where the compiled engine parts from Cerebro: account, then lanes."""
    run = run_of(case.given, case.config)
    found = run.records(COMPILED)
    trace = trace_portfolio(run.ground, case.config)
    expected = said_by_cerebro(case.watched, case.recorders)
    for part, content in said_by_twin(run.ground, trace, case.given).items():
        if content != expected[part]:
            return part
    for symbol, recorder in case.recorders.items():
        if difference := lane_difference(run, found, symbol, recorder):
            return difference
    return ""


# The gateway's own limits are never to bind before those of a portfolio.
LOOSE = desks.OPEN_LIMITS.model_copy(
    update={"max_contracts": 1e12, "max_total_contracts": 1e12, "max_orders_per_day": 1_000_000}
)


def live_difference(case: ParityCase) -> str | None:
    """Return where the live engine parts from Cerebro; None behind a model, which its bundles here lack."""
    if case.given.vetoes:
        return None
    journal = desks.MemoryJournal()
    with tempfile.TemporaryDirectory() as folder:
        engine_of(case.given, case.config, journal, Path(folder), limits=LOOSE).run()
    states, proposals = settled(journal.sets)
    told = case.watched.told
    if list(map(repr, states)) != [repr(each.state) for each in told]:
        return "states"
    if list(map(repr, proposals)) != [repr(one) for each in told for one in each.proposals]:
        return "proposals"
    for symbol, recorder in case.recorders.items():
        lanes = [lane for each in journal.sets for lane in each.lanes if lane.symbol == symbol]
        if [lane.code for lane in lanes] != recorder.codes:
            return f"decisions of {symbol}"
        if [repr(tuple(lane.mark)) for lane in lanes] != [repr(tuple(each[1:])) for each in recorder.marks]:
            return f"marks of {symbol}"
        if b"".join(lane.vector for lane in lanes) != np.array(recorder.vectors).tobytes():
            return f"vectors of {symbol}"
    return ""


ENGINES: dict[str, Callable[[ParityCase], str | None]] = {
    "compiled": compiled_difference,
    "live": live_difference,
}
"""Engines beside Cerebro: each says where it parts from it, "" for nowhere, None where it cannot trade the
case. To add one: a function, and a line here."""


def happened(case: ParityCase) -> Counter[str]:
    """Return what a case went through, as counts."""
    found: Counter[str] = Counter([f"ranked by {case.config.rank.by}"])
    for told in case.watched.told:
        found.update(f"refused: {each.rule}" if each.rule else "admitted" for each in told.proposals)
    found["portfolios with an ensemble"] += case.config.names != case.config.symbols
    found["sets"] += len(case.watched.told)
    found["sets after a halt"] += sum(each.state.halted for each in case.watched.told)
    found["days flattened"] += len(case.watched.flattened)
    for symbol, recorder in case.recorders.items():
        found[f"trades of {case.given.configs[symbol].family}"] += len(recorder.trades)
        found["vetoes"] += recorder.codes.count(VETO)
        found["exits that were required"] += recorder.codes.count(EXIT_DAILY_LOSS)
    return found


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Hold every engine against Cerebro on `count` drawn portfolios; good where all bits are equal.

    From 200 portfolios on, every rule must have refused something.
    """
    parted: dict[str, str] = {}
    compared: Counter[str] = Counter()
    met: Counter[str] = Counter()
    began = time.process_time()
    for number in range(count):
        case = ParityCase.drawn(seed * 1_000_000 + number)
        met += happened(case)
        for name, difference in ENGINES.items():
            where = difference(case)
            compared[name] += where is not None
            if where:
                parted[f"{seed * 1_000_000 + number}, {name}"] = where
                print(f"portfolio {number}: {name} parts from Cerebro: {where}", flush=True)
    asked = {f"refused: {rule}" for rule in REFUSALS}
    missing = sorted(asked - met.keys()) if count >= 200 else []
    found = {
        "first portfolio": seed * 1_000_000,
        "compared with Cerebro": dict(sorted(compared.items())),
        "portfolios a CPU second": round(count / (time.process_time() - began), 2),
        "parted": parted,
        "rules that refused nothing": missing,
        "happened": dict(sorted(met.items())),
    }
    return found, not parted and not missing
