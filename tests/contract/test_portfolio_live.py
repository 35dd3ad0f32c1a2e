"""Drawn portfolios in Cerebro and in the live engine: the same answers, orders, fills, states, to the bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import ReplayMismatch
from lockstep.live.messages import SetRecord
from lockstep.live.portfolio import begun_with
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.state import CoordinatorState, ProposalRecord
from lockstep.strategy.admission import REFUSALS, LaneNews, LaneStanding, Settled
from lockstep.strategy.matching import opening_account
from lockstep.strategy.records import MemoryRecorder
from support import desks, portfolios
from support.portfolio_live import engine_of, epoch_of, history_of, models_of, settled
from support.portfolio_parity import LOOSE
from support.portfolios import BOOK, World, run_portfolio_by, terms_of

WORLD = portfolios.with_margins(
    portfolios.world(
        11,
        {
            "BTC-USD": ("1d", 120), "CL": ("1h", 260), "ES": ("1d", 110), "SPY": ("1h", 400),
            "ZC": ("1d", 100),
        },
    )
)  # fmt: skip
ENSEMBLE = portfolios.with_margins(
    portfolios.world(
        5,
        {
            "CL": ("1h", 260), "ES#a": ("1d", 110), "ES#b": ("1h", 260), "ES#c": ("1h", 260),
            "SPY#one": ("1h", 400), "SPY#two": ("1d", 100),
        },
    )
)  # fmt: skip
WORLDS = {"lanes": WORLD, "ensembles": ENSEMBLE}
SEEDS = range(6)


@dataclass
class Watched:
    """A coordinator that keeps what it said."""

    coordinator: Coordinator
    states: list[CoordinatorState] = field(default_factory=list)
    proposals: list[ProposalRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.symbols = self.coordinator.symbols
        self.volatility_id, self.rank_id = self.coordinator.volatility_id, self.coordinator.rank_id

    def settle(self, *told: object) -> Settled:
        answer = self.coordinator.settle(*told)  # type: ignore[arg-type]
        found = self.coordinator.take()
        assert found is not None
        self.states.append(found.state)
        self.proposals += found.proposals
        return answer


def researched(given: World, seed: int) -> tuple[Watched, dict[str, MemoryRecorder]]:
    config = portfolios.drawn_portfolio(given, seed)
    watched = Watched(Coordinator(config, terms_of(given, config), BOOK.session_named(config.day)))
    return watched, run_portfolio_by(given, config, watched)


def lived(given: World, seed: int, folder: Path, stops: tuple[int | None, ...]) -> list[SetRecord]:
    config, journal = portfolios.drawn_portfolio(given, seed), desks.MemoryJournal()
    for stop in stops:
        engine_of(given, config, journal, folder, stop_after=stop, limits=LOOSE).run()
    return journal.sets


def require_same(recorder: MemoryRecorder, sets: list[SetRecord], symbol: str) -> None:
    lanes = [(each.release.stamp, lane) for each in sets for lane in each.lanes if lane.symbol == symbol]
    assert [stamp for stamp, _ in lanes] == list(recorder.stamps)
    assert [lane.code for _, lane in lanes] == list(recorder.codes)
    assert [lane.reason for _, lane in lanes] == list(recorder.reasons)
    assert b"".join(lane.vector for _, lane in lanes) == np.array(recorder.vectors).tobytes()
    marks = [(stamp, *lane.mark) for stamp, lane in lanes]
    assert list(map(repr, marks)) == [repr(tuple(each)) for each in recorder.marks]
    done = [order for _, lane in lanes for order in lane.orders if order.status == "completed"]
    ours = [(each.stamp, each.quantity, each.price, each.commission) for each in done]
    theirs = [
        (each.stamp, each.quantity, each.price, each.commission)
        for each in recorder.orders
        if each.status == "completed"
    ]
    assert ours == theirs


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_research_and_live_agree(kind: str, seed: int, tmp_path: Path) -> None:
    """Stopped after a third of its sets; another engine goes on with the journal of the first."""
    watched, recorders = researched(WORLDS[kind], seed)
    sets = lived(WORLDS[kind], seed, tmp_path, (len(watched.states) // 3, None))
    states, proposals = settled(sets)
    assert list(map(repr, states)) == list(map(repr, watched.states))
    assert list(map(repr, proposals)) == list(map(repr, watched.proposals))
    for symbol, recorder in recorders.items():
        require_same(recorder, sets, symbol)
    assert sum(len(each.trades) for each in recorders.values()) > (10 if kind == "lanes" else 3)


def test_the_drawn_portfolios_refuse_by_many_rules() -> None:
    """What the test above goes through: a rule that is never asked cannot differ."""
    met = Counter(each.rule for seed in SEEDS for each in researched(WORLD, seed)[0].proposals)
    assert met[""] > 50
    assert len(met.keys() & set(REFUSALS)) >= 7, met


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_epoch_goes_on_where_the_old_one_ended(seed: int, tmp_path: Path) -> None:
    """Everything that a coordinator carries is in its state: rooms, peaks, stops, and who has to leave."""
    watched, _ = researched(WORLD, seed)
    config, models = portfolios.drawn_portfolio(WORLD, seed), models_of(WORLD)
    states: list[CoordinatorState] = []
    epoch = epoch_of(WORLD, config)
    while len(states) < len(watched.states):
        journal = desks.MemoryJournal()
        engine_of(WORLD, config, journal, tmp_path, epoch=epoch, stop_after=40).run()
        found, _ = settled(journal.sets)
        states += found
        last = journal.sets[-1].release.stamp
        bars = history_of(WORLD)
        ended = replace(
            epoch,
            number=epoch.number + 1,
            warmup={key: tuple(b for b in desks.kept(bars, key) if b[0] <= last) for key in bars.bars},
            states={
                **epoch.states,
                **{lane.symbol: lane.state for row in journal.sets for lane in row.lanes},
            },
        )
        assert epoch.portfolio is not None
        before = epoch.portfolio._replace(state=found[-1])
        epoch = begun_with(ended, config, models, WORLD.history.markets, before)
        assert epoch.portfolio is not None
        assert repr(epoch.portfolio.state) == repr(found[-1])
    assert epoch.number > 4
    assert list(map(repr, states)) == list(map(repr, watched.states))


def test_a_replay_that_decides_otherwise_stops(tmp_path: Path) -> None:
    """Negative control of the restart: one state, one bit."""
    config, journal = portfolios.drawn_portfolio(WORLD, 0), desks.MemoryJournal()
    engine_of(WORLD, config, journal, tmp_path, stop_after=60).run()
    place = next(n for n, row in enumerate(journal.rows) if isinstance(row, SetRecord) and n > 30)
    row = journal.rows[place]
    assert isinstance(row, SetRecord)
    assert row.settled is not None
    state = row.settled.state
    other = replace(state, equity=float(np.nextafter(state.equity, np.inf)))
    journal.rows[place] = replace(row, settled=replace(row.settled, state=other))
    with pytest.raises(ReplayMismatch, match=r"equity: .* against .* \(portfolio\)"):
        engine_of(WORLD, config, journal, tmp_path).run()


class FreesAtTheDecision(Coordinator):
    """Mutant: a position whose exit is on its way takes no room any more."""

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        rooms = {each.symbol: each.room for each in self.state.lanes}
        leaving = [
            rooms[symbol] != 0.0 and each.account[0] != 0.0 and (told is not None and told.quantity == 0.0)
            for symbol, each, told in zip(self.symbols, standing, news, strict=True)
        ]
        gone = [
            LaneStanding(opening_account(each.account[4]), False) if out else each
            for out, each in zip(leaving, standing, strict=True)
        ]
        return super().settle(stamp, news, gone)


def test_room_that_is_freed_too_early_in_live_alone_is_seen(tmp_path: Path) -> None:
    watched, _ = researched(WORLD, 0)
    config, journal = portfolios.drawn_portfolio(WORLD, 0), desks.MemoryJournal()
    engine_of(WORLD, config, journal, tmp_path, coordinator=FreesAtTheDecision).run()
    states, _ = settled(journal.sets)
    assert list(map(repr, states)) != list(map(repr, watched.states))
