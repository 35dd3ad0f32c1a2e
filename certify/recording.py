"""A journal played again: each recorded decision with what the engine held before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from certify.series import Arrived, labels_of
from lockstep.errors import ParityError
from lockstep.features.streaming import WindowFeatures
from lockstep.live.events import (
    Event,
    ExitAtNextBar,
    ExitWithoutBar,
    FillReported,
    ModelSwapped,
    OrderRefused,
)
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch, LaneRecord, LaneState, Release, SetRecord
from lockstep.live.operator.open_orders import demanded_exit
from lockstep.live.outside import version_with
from lockstep.live.traded import Kept, Memory, TradedModel, push, warm
from lockstep.market.history import Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.parity import Context
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.state import ProposalRecord, SettledSet
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.decision import EXIT_DAILY_LOSS
from lockstep.strategy.matching import POSITION, opening_account
from lockstep.strategy.records import ENTRY

_KEPT = 1_000
_SETTLED = ("completed", "canceled")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One recorded decision.

    model     that decided; before   the state that the bar found; record   what was written down
    labels    of the series that the model reads, see `series.labels_of`; needs   how many bars of each
    memory    the bars that had come, this set included; windows   of the model, filled with them
    context   of these bars, what came since the decision before, see `EngineStep`
    waiting   whether a market order was still waiting when the decision was taken
    forced    code of the exit that handover, HALT or the portfolio required, None without
    factor    what the sizes of the strategy are multiplied by in its portfolio; None: it trades alone
    fills     reported since the decision before, in order (mode live), in contracts of the instrument
    """

    model: TradedModel
    row: SetRecord
    record: LaneRecord
    before: LaneState
    labels: Mapping[SeriesKey, str]
    needs: Mapping[SeriesKey, int]
    memory: Memory
    windows: WindowFeatures
    context: Context
    forced: int | None
    factor: float | None
    fills: tuple[FillReported, ...]

    @property
    def stamp(self) -> int:
        """End of the bar, UTC ns."""
        return self.row.release.stamp

    @property
    def bar(self) -> tuple[float, ...]:
        """The bar that was decided on, as it came."""
        return self.row.release.bars[self.model.key]

    @property
    def held(self) -> Kept:
        """The bars that the windows hold, by series, oldest first."""
        return {key: kept[-self.needs[key] :] for key, kept in self.memory.bars.items() if key in self.needs}

    @property
    def waiting(self) -> bool:
        """Whether a market order was still waiting when the decision was taken."""
        order = self.before.waiting
        done = {each.decision for each in self.record.orders if each.status in _SETTLED}
        return order is not None and order.decision not in done

    @property
    def withdrawn(self) -> bool:
        """Whether the entry that waited was taken back before this bar: its model was superseded."""
        order = self.before.waiting
        gone = {each.decision for each in self.record.orders if each.status == "canceled"}
        return order is not None and order.intent == ENTRY and order.decision in gone

    @property
    def refused(self) -> str:
        """The rule by which the gateway refused the order of this decision, or empty."""
        rules = (e.rule for e in self.row.events if isinstance(e, OrderRefused) and self._mine(e))
        return next(rules, "")

    @property
    def answer(self) -> ProposalRecord | None:
        """What the portfolio said to the entry of this decision, None where there was none."""
        proposals = self.row.settled.proposals if self.row.settled else ()
        return next((each for each in proposals if each.symbol == self.record.symbol), None)

    @property
    def is_leaving(self) -> bool:
        """Whether the portfolio makes the position leave after this bar."""
        settled = self.row.settled
        return settled is not None and _leaves(settled, self.record.symbol)

    def _mine(self, event: Event) -> bool:
        return event.symbol == self.record.symbol


def models_of(journal: Journal, store: ModelStore) -> dict[str, TradedModel]:
    """Return every bundle that traded, by SHA-256; ModelError where the store lacks one."""
    begun = [item for epoch in journal.epochs() for item in epoch.bundles.items()]
    swapped = [(event.symbol, event.to_sha256) for event in journal.events(ModelSwapped)]
    manifest = store.manifest()
    return {
        sha: TradedModel.of(load_bundle(symbol, version_with(manifest, symbol, sha), store=store))
        for symbol, sha in sorted({(traded_symbol(lane), sha) for lane, sha in (*begun, *swapped)})
    }


def _leaves(settled: SettledSet, symbol: str) -> bool:
    return any(each.leaving for each in settled.state.lanes if each.symbol == symbol)


@dataclass
class _Seat:
    model: TradedModel
    labels: Mapping[SeriesKey, str]
    needs: Mapping[SeriesKey, int]
    windows: WindowFeatures
    arrived: Arrived
    state: LaneState
    factor: float | None = None
    forced: int | None = None
    fills: list[FillReported] = field(default_factory=list)


class Hearer(Protocol):
    """Hears of every bar that a tape passes, also of those that no decision followed."""

    def begin(self, epoch: Epoch) -> None:
        """Hear what filled the windows of an epoch."""

    def take(self, release: Release) -> None:
        """Hear the bars of a set."""


class Tape:
    """The decisions of a journal, in order, over all its epochs or one of them."""

    def __init__(
        self,
        journal: Journal,
        models: Mapping[str, TradedModel],
        markets: Mapping[str, Market],
        hearer: Hearer | None = None,
    ) -> None:
        self._hearer = hearer
        self._journal = journal
        self._decided: dict[str, int] = {}
        self._portfolio: PortfolioConfig | None = None
        self._models = models
        self._markets = markets
        needs = [bars for model in models.values() for bars in model.needs(markets).values()]
        self._size = max([_KEPT, *needs])

    def frames(self, epoch: int | None = None) -> Iterator[Frame]:
        """Yield the recorded decisions; ParityError where a bar set has no bar for its decision."""
        for each in self._journal.epochs():
            if epoch in (None, each.number):
                yield from self._epoch(each)

    def _epoch(self, epoch: Epoch) -> Iterator[Frame]:
        memory = Memory(self._size)
        for key, kept in epoch.warmup.items():
            for end, values in kept:
                memory.add(key, end, values)
        if self._hearer is not None:
            self._hearer.begin(epoch)
        self._portfolio = PortfolioConfig.model_validate(epoch.portfolio.content) if epoch.portfolio else None
        seats = {
            name: self._seat(
                name, self._model(sha), memory, epoch.states.get(name), self._unheard(name, memory)
            )
            for name, sha in epoch.bundles.items()
        }
        for row in self._journal.entries(epoch.number):
            if not isinstance(row, SetRecord):
                self._happened(row, seats, memory)
                continue
            memory.take(row.release)
            if self._hearer is not None:
                self._hearer.take(row.release)
            for seat in seats.values():
                push(seat.windows, row.release)
                seat.arrived.hear(row.release)
            yield from (self._frame(record, row, seats[record.symbol], memory) for record in row.lanes)
            if row.settled is not None:
                _make_leave(seats, row.settled)

    def _unheard(self, symbol: str, memory: Memory) -> Kept:
        """Return the bars that came after the last decision of an earlier epoch."""
        last = self._decided.get(symbol, -1)
        return {key: tuple(bar for bar in kept if bar[0] > last) for key, kept in memory.bars.items()}

    def _seat(
        self, name: str, model: TradedModel, memory: Memory, state: LaneState | None, new: Kept
    ) -> _Seat:
        windows = WindowFeatures(model.plan, self._markets, max_age=model.config.max_age.limits)
        warm(windows, memory.bars)
        labels = labels_of(model.plan, self._markets)
        return _Seat(
            model=model,
            labels=labels,
            needs=model.needs(self._markets),
            windows=windows,
            arrived=Arrived(labels, model.key, new),
            state=state or LaneState(account=opening_account(model.config.capital)),
            factor=self._factor(name, model),
        )

    def _factor(self, name: str, model: TradedModel) -> float | None:
        if self._portfolio is None:
            return None
        market = self._markets[model.key.symbol].named(name)
        return LaneTerms.of(self._portfolio, market, model.config, model.veto).factor

    def _model(self, sha: str) -> TradedModel:
        if sha not in self._models:
            raise ParityError(
                f"journal {self._journal.path}: bundle {sha[:12]}… decided nothing; name an epoch"
            )
        return self._models[sha]

    def _happened(self, event: Event, seats: dict[str, _Seat], memory: Memory) -> None:
        seat = seats.get(event.symbol)
        if seat is None:
            return
        if isinstance(event, ModelSwapped):
            successor = self._model(event.to_sha256)
            seats[event.symbol] = replace(
                self._seat(event.symbol, successor, memory, seat.state, memory.bars), fills=seat.fills
            )
        elif isinstance(event, ExitAtNextBar):
            seat.forced = event.code
        elif isinstance(event, ExitWithoutBar):
            seat.state = replace(seat.state, waiting=demanded_exit(event))
        elif isinstance(event, FillReported):
            seat.fills.append(event)

    def _frame(self, record: LaneRecord, row: SetRecord, seat: _Seat, memory: Memory) -> Frame:
        if record.state.account[POSITION] == 0.0:
            seat.forced = None
        frame = Frame(
            model=seat.model, row=row, record=record, before=seat.state, labels=seat.labels, needs=seat.needs,
            memory=memory, windows=seat.windows, context=seat.arrived.at(row.release.stamp),
            forced=seat.forced, factor=seat.factor, fills=tuple(seat.fills),
        )  # fmt: skip
        seat.state, seat.fills = record.state, []
        self._decided[record.symbol] = frame.stamp
        return frame


def _make_leave(seats: Mapping[str, _Seat], settled: SettledSet) -> None:
    """Note which positions must leave at their next bar: those whose exit did not go out with this set."""
    for symbol, seat in seats.items():
        held = seat.state.account[POSITION] != 0.0 and seat.state.waiting is None
        if held and seat.forced is None and _leaves(settled, symbol):
            seat.forced = EXIT_DAILY_LOSS
