"""A journal played again: each recorded decision with what the engine held before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from lockstep.errors import ParityError
from lockstep.features.streaming import WindowFeatures
from lockstep.live.desk import Memory, Model, push, warm
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch, Event, LaneRecord, LaneState, ReportedFill, SetRecord
from lockstep.live.operator import reported_fill
from lockstep.live.orders import demanded_exit
from lockstep.live.world import version_with
from lockstep.market.history import Market
from lockstep.models.store import ModelStore, load_bundle
from lockstep.strategy.matching import POSITION, opening_account
from lockstep.strategy.records import ENTRY

_KEPT = 1_000
_SETTLED = ("completed", "canceled")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One recorded decision.

    model     that decided; before   the state that the bar found; record   what was written down
    memory    the bars that had come, this set included; windows   of the model, filled with them
    waiting   whether a market order was still waiting when the decision was taken
    forced    code of the exit that handover or HALT required, None without
    fills     reported since the decision before, in order (mode live)
    """

    model: Model
    row: SetRecord
    record: LaneRecord
    before: LaneState
    memory: Memory
    windows: WindowFeatures
    forced: int | None
    fills: tuple[ReportedFill, ...]

    @property
    def stamp(self) -> int:
        """End of the bar, UTC ns."""
        return self.row.release.stamp

    @property
    def bar(self) -> tuple[float, ...]:
        """The bar that was decided on, as it came."""
        return self.row.release.bars[self.model.key]

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
        rules = (str(e.content["rule"]) for e in self.row.events if e.kind == "refusal" and self._mine(e))
        return next(rules, "")

    def _mine(self, event: Event) -> bool:
        return event.symbol == self.record.symbol


def models_of(journal: Journal, store: ModelStore) -> dict[str, Model]:
    """Return every bundle that traded, by SHA-256; ModelError where the store lacks one."""
    begun = [item for epoch in journal.epochs() for item in epoch.bundles.items()]
    swapped = [(event.symbol, str(event.content["to_sha256"])) for event in journal.events("swap")]
    manifest = store.manifest()
    return {
        sha: Model.of(load_bundle(symbol, version_with(manifest, symbol, sha), store=store))
        for symbol, sha in sorted({*begun, *swapped})
    }


@dataclass
class _Seat:
    model: Model
    windows: WindowFeatures
    state: LaneState
    forced: int | None = None
    fills: list[ReportedFill] = field(default_factory=list)


class Tape:
    """The decisions of a journal, in order, over all its epochs or one of them."""

    def __init__(self, journal: Journal, models: Mapping[str, Model], markets: Mapping[str, Market]) -> None:
        self._journal = journal
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
        seats = {symbol: self._seat(sha, memory, epoch, symbol) for symbol, sha in epoch.bundles.items()}
        for row in self._journal.entries(epoch.number):
            if isinstance(row, Event):
                self._happened(row, seats, memory)
                continue
            memory.take(row.release)
            for seat in seats.values():
                push(seat.windows, row.release)
            yield from (self._frame(record, row, seats[record.symbol], memory) for record in row.lanes)

    def _seat(self, sha: str, memory: Memory, epoch: Epoch, symbol: str) -> _Seat:
        model = self._model(sha)
        state = epoch.states.get(symbol) or LaneState(account=opening_account(model.config.capital))
        return _Seat(model=model, windows=self._windows(model, memory), state=state)

    def _model(self, sha: str) -> Model:
        if sha not in self._models:
            raise ParityError(
                f"journal {self._journal.path}: bundle {sha[:12]}… decided nothing; name an epoch"
            )
        return self._models[sha]

    def _windows(self, model: Model, memory: Memory) -> WindowFeatures:
        windows = WindowFeatures(model.plan, self._markets, max_age=model.config.max_age.limits)
        warm(windows, memory.bars)
        return windows

    def _happened(self, event: Event, seats: Mapping[str, _Seat], memory: Memory) -> None:
        seat = seats.get(event.symbol)
        if seat is None:
            return
        if event.kind == "swap":
            seat.model = self._model(str(event.content["to_sha256"]))
            seat.windows, seat.forced = self._windows(seat.model, memory), None
        elif event.kind == "must_leave":
            seat.forced = int(event.content["code"])
        elif event.kind == "leave_now":
            seat.state = replace(seat.state, waiting=demanded_exit(event))
        elif event.kind == "fill":
            seat.fills.append(reported_fill(event))

    def _frame(self, record: LaneRecord, row: SetRecord, seat: _Seat, memory: Memory) -> Frame:
        if record.state.account[POSITION] == 0.0:
            seat.forced = None
        frame = Frame(
            model=seat.model, row=row, record=record, before=seat.state, memory=memory, windows=seat.windows,
            forced=seat.forced, fills=tuple(seat.fills),
        )  # fmt: skip
        seat.state, seat.fills = record.state, []
        return frame
