"""The engine: one thread that decides, commits, lets effects out, and looks at what happened outside.

Cerebro runs and pulls bars; everything else happens between two bar sets, in `_advance`. See
`docs/adr/0011-live-engine.md` for the order of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lockstep.floats import require_exact, require_still_exact
from lockstep.live.backtrader.feed import BarSetStage
from lockstep.live.conditions import Conditions, Doubts
from lockstep.live.effects import Effects
from lockstep.live.events import (
    CommandRefused,
    EngineStarted,
    EngineStopped,
    Event,
    ExitAtNextBar,
    OrderRejected,
    OrderWithdrawn,
    Told,
)
from lockstep.live.handover import Handover, swap_event
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import OrderIntent, Refusal, Release, SendResult, SetRecord
from lockstep.live.netting import netted, told
from lockstep.live.operator.open_orders import credible, demand
from lockstep.live.quarantine import Quarantine, irregular
from lockstep.live.reconciliation import EngineAccount
from lockstep.live.rerun import rehearsed, require_same
from lockstep.live.setup import Setup
from lockstep.live.traded import Memory, Seat, released_sets, warm
from lockstep.market.history import BarSet
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.decision import EXIT_HALT, EXIT_HANDOVER, HOLD
from lockstep.strategy.matching import POSITION, QUANTITY
from lockstep.strategy.records import ENTRY, EXIT


class Engine:
    """One run of a desk: replays the newest epoch of its journal, then goes on with live bars."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._now = setup.now
        self._memory = Memory(setup.memory, setup.epoch.warmup)
        stage = BarSetStage(self._advance)
        self.seats = {symbol: setup.seat(symbol, stage) for symbol in setup.models}
        self._conditions = Conditions(
            unknown=lambda: self._outbox.unknown if self._outbox else frozenset(),
            superseded=lambda: self.handover.superseded,
            reconciliation=setup.reconciliation,
            clock=setup.clock,
        )
        self._gate = setup.gate(self.seats, exposure=self._exposure, doubts=self._conditions.at)
        self._outbox = setup.outbox(setup.journal.append, self._gate.release)
        self._broker = setup.inner_broker(
            stage,
            self._gate,
            version=lambda symbol: self.seats[symbol].model.bundle.version,
            passed=self._passed,
            sized=self._sized,
        )
        lanes = [seat.lane for seat in self.seats.values()]
        self._coordinator = setup.portfolio.coordinator if setup.portfolio else None
        self._cerebro = build_cerebro(lanes, live=True, broker=self._broker, admissions=self._coordinator)
        self._script = rehearsed(setup.journal.recorded(setup.epoch.number), self.seats)
        self._release: Release | None = None
        self._expected: StoredSet | None = None
        self._intents: list[OrderIntent] = []
        self._stopping = ""
        self.live = False
        self.sets = self.replayed = 0
        self.handover = Handover(
            setup.policies,
            setup.outside.model,
            setup.markets,
            self._memory,
            fits=setup.portfolio.terms if setup.portfolio else None,
        )
        self.effects = Effects(
            setup,
            seats=self.seats,
            strategies=lambda: self.strategies,
            memory=self._memory,
            broker=self._broker,
            outbox=self._outbox,
            handover=self.handover,
            conditions=self._conditions,
            place=self._place,
        )
        for seat in self.seats.values():
            warm(seat.windows, setup.epoch.warmup)

    def run(self) -> None:
        """Run until the source has ended or `stop` was asked for; LockstepError where it must not go on."""
        require_exact()
        try:
            self._cerebro.run()
        finally:
            if self._outbox is not None and self.live:
                self._outbox.close(timeout=10.0)
                self._take_results()

    def stop(self, why: str) -> None:
        """Ask for a stop after the present set; safe in a signal handler."""
        self._stopping = why
        self._setup.source.wake()

    def profits(self) -> dict[str, float]:
        """Return the USD made in the present session day, by symbol."""
        return self._gate.profits(self._now())

    @property
    def portfolio(self) -> dict[str, float]:
        """What the status shows of the portfolio, see `Status`; empty without one."""
        if self._coordinator is None:
            return {}
        _, _, equity, drawdown, scale, stopped, halted = self._coordinator.marked
        numbers = {"equity": equity, "drawdown": drawdown, "scale": scale}
        return {**numbers, "stopped": float(stopped), "halted": float(halted)}

    @property
    def unknown_orders(self) -> tuple[str, ...]:
        """Ids of orders of which nobody knows what became."""
        return self._outbox.unknown_orders if self._outbox else ()

    @property
    def doubts(self) -> Doubts:
        """What stands against opening risk now."""
        return self._conditions.at(self._now())

    # What its parts ask of it

    def _passed(self, intent: OrderIntent) -> None:
        self._intents.append(intent)
        if intent.opens:
            self.effects.units = self.effects.units.entered(intent.symbol, intent.unit)

    def _sized(self, intent: OrderIntent) -> OrderIntent | Refusal:
        unit = self.effects.units.of(intent.symbol, opens=intent.opens)
        wanted = self._setup.sized(intent, self.effects.fraction, unit)
        if isinstance(wanted, Refusal):
            self._gate.refusals.append(wanted)
        return wanted

    def _exposure(self) -> tuple[dict[str, float], dict[str, float]]:
        positions, pending = {}, {}
        for symbol, seat in self.seats.items():
            feed = seat.lane.feed
            positions[symbol] = self._broker.account(feed)[POSITION]
            waiting = self._broker.waiting(feed)
            pending[symbol] = waiting.terms[QUANTITY] if waiting and waiting.intent == "entry" else 0.0
        return positions, pending

    @property
    def quarantine(self) -> Quarantine:
        """Implausible bars that wait for the operator."""
        return self.effects.quarantine

    @property
    def strategies(self) -> dict[str, ParityStrategy]:
        """The running strategies by symbol; none before Cerebro has made them."""
        running = getattr(self._cerebro, "runningstrats", ())
        return {each.symbol: each for each in running if isinstance(each, ParityStrategy)}

    # Between two sets

    def _advance(self) -> Release | None:
        """Finish the present set and return the next one: the journal's first, then live; None at the end."""
        self._finish()
        for entry, bar_sets in self._script:
            if self._stopping:
                return None
            if isinstance(entry, StoredSet):
                self._expected = entry
                return self._begin(entry.release, bar_sets, entry.events)
            self.effects.carry_out(entry, replayed=True)
            self._setup.observer.happened(entry, replayed=True)
        if not self.live:
            self._go_live()
        return self._wait()

    def _begin(
        self, release: Release, bar_sets: tuple[BarSet, ...], recorded: tuple[Event, ...] | None
    ) -> Release:
        # A library that a new version imports may change the mode of this thread at any time.
        require_still_exact()
        self._memory.take(release)
        self.effects.quarantine.released(release)
        for seat in self.seats.values():
            for bar_set in bar_sets:
                seat.windows.push(bar_set)
        self._gate.begin(release, recorded)
        self._release = release
        return release

    def _finish(self) -> None:
        """Commit what the present set led to, or compare it with the journal; then let its effects out."""
        if self._release is None:
            return
        self.effects.reports.booked()
        record, expected = self._record(self._release), self._expected
        self._release, self._expected = None, None
        for lane in record.lanes:
            self._gate.marked(lane.symbol, record.release.stamp, lane.mark[3])
        if expected is not None:
            require_same(expected, record, self.seats)
            self.replayed += 1
        else:
            record = replace(record, sequence=self._setup.journal.append_set(record))
            self.sets += 1
        self._place()
        self._setup.observer.decided(record, replayed=expected is not None)

    def _place(self) -> None:
        """Hand over the orders whose reason is committed."""
        intents, self._intents = self._intents, []
        if self._outbox is not None:
            self._outbox.place(each for each in netted(intents, self._setup.order_id) if each.quantity)

    def _record(self, release: Release) -> SetRecord:
        strategies = self.strategies
        lanes = (seat.recorder.take(strategies[symbol].state) for symbol, seat in self.seats.items())
        return SetRecord(
            release=release,
            lanes=tuple(lane for lane in lanes if lane is not None),
            events=(*self._gate.events, *told(netted(self._intents, self._setup.order_id))),
            settled=self._coordinator.take() if self._coordinator else None,
        )

    def _go_live(self) -> None:
        """The journal is reproduced: open the gateway, and doubt what was being sent when it ended."""
        self.live = True
        self._setup.source.resume(self._memory.bars, self.effects.quarantine)
        self._record_event(EngineStarted(replayed=self.replayed, floats=require_exact()))
        if self._outbox is not None:
            self._outbox.open(self._setup.source.wake)
            for result in self._outbox.doubtful():
                self._settle(result)

    def _wait(self) -> Release | None:
        """Look outside, then wait for a set; None when it is time to stop."""
        setup = self._setup
        while True:
            self._look_outside()
            enough = setup.stop_after is not None and self.sets >= setup.stop_after
            if self._stopping or enough:
                self._record_event(EngineStopped(why=self._stopping or "asked for"))
                return None
            if self._outbox is not None:
                for late in self._outbox.send(self._now()):
                    self._settle(late)
            release = setup.source.next(self._outbox.next_due if self._outbox else None)
            if release is not None:
                # What was promoted while it waited counts for this set, and for an entry that it would fill.
                self._consider_versions()
                return self._begin(release, released_sets(release), None)
            if setup.source.finished:
                self._record_event(EngineStopped(why="the source has ended"))
                return None

    def _look_outside(self) -> None:
        setup = self._setup
        setup.observer.beat(now=self._now())
        self._take_results()
        self._record_events([irregular(each) for each in setup.source.reports()])
        setup.source.settle()
        commands = setup.outside.commands()
        for command in commands:
            self._record_event(self._credible(command))
        setup.outside.done(commands)
        self._take_back_exits()
        for event in self._conditions.news(self._now(), self._account):
            self._record_event(event)
        self._consider_versions()
        self._consider_halt()

    def _credible(self, command: Told | CommandRefused) -> Told | CommandRefused:
        states = {symbol: strategy.state for symbol, strategy in self.strategies.items()}
        effects = self.effects
        return credible(
            command,
            mode=self._setup.epoch.mode,
            halted=self._coordinator is not None and self._coordinator.state.halted,
            states=states,
            reports=effects.reports,
            bars=effects.quarantine,
            units=effects.units,
        )

    def _account(self, symbol: str, moment: int) -> EngineAccount:
        return self.effects.reports.account(symbol, self.strategies[symbol].state, moment)

    def _take_results(self) -> None:
        for result in self._outbox.results() if self._outbox else ():
            self._settle(result)

    def _settle(self, result: SendResult) -> None:
        assert self._outbox is not None
        settled = self._outbox.settle(result, self._now())
        if settled is None:
            return
        event, intent = settled
        if isinstance(event, OrderRejected):
            self.effects.withdraw(intent)
        self._setup.observer.happened(event, replayed=False)

    # Events: journaled first, then carried out; a replay carries them out again

    def _record_event(self, event: Event) -> None:
        self._record_events([event])

    def _record_events(self, events: Sequence[Event]) -> None:
        """Journal events, all of them in one transaction, and carry them out."""
        now = self._now()
        stamped = [replace(event, time=now) for event in events]
        if stamped:
            self._setup.journal.append(*stamped)
        for event in stamped:
            self._setup.observer.happened(event, replayed=False)
            self.effects.carry_out(event, replayed=False)

    def _consider_versions(self) -> None:
        wanted = self._setup.outside.wanted()
        for symbol, seat in self.seats.items():
            if symbol in wanted:
                news = self.handover.consider(seat, wanted[symbol])
                if news is not None:
                    self._record_event(news)
            if symbol in self.handover.candidates:
                self._take_back_entry(seat)
                self._hand_over(seat)

    def _take_back_entry(self, seat: Seat) -> None:
        """Withdraw an entry of a superseded model that waits for the next open.

        In mode live one that has begun to leave is at the broker or may be: that risk was taken before, and
        the position that it leads to is handed over like any other.
        """
        waiting = self._broker.waiting(seat.lane.feed)
        if waiting is None or waiting.intent != ENTRY:
            return
        if self._setup.epoch.mode == "live" and not (self._outbox and self._outbox.waits(waiting.order_id)):
            return
        detail = self.handover.superseded[seat.symbol]
        self._record_event(
            OrderWithdrawn(symbol=seat.symbol, order_id=waiting.order_id, rule="superseded", detail=detail)
        )

    def _take_back_exits(self) -> None:
        """Withdraw an exit that waits for the open, and whose position a stop or target has closed."""
        for symbol, seat in self.seats.items():
            waiting = self._broker.waiting(seat.lane.feed)
            if waiting is None or waiting.intent != EXIT or not self._broker.leaves(seat.lane.feed):
                continue
            if self._outbox is not None and self._outbox.waits(waiting.order_id):
                detail = "a stop or target at the broker has closed the position"
                self._record_event(
                    OrderWithdrawn(
                        symbol=symbol, order_id=waiting.order_id, rule="position closed", detail=detail
                    )
                )

    def _hand_over(self, seat: Seat) -> None:
        self.handover.try_again(seat, self._now())
        state = self.strategies[seat.symbol].state
        ready = self.handover.ready(seat, state.account[POSITION], waiting=state.waiting is not None)
        if ready is not None:
            policy = self.handover.policy(seat.symbol)
            self._record_event(swap_event(seat, ready, policy, state.account))
        elif self.handover.must_leave(seat.symbol):
            self._make_leave(seat.symbol, EXIT_HANDOVER)

    def _consider_halt(self) -> None:
        if self._setup.flatten and self._setup.outside.halted():
            for symbol in self.seats:
                self._make_leave(symbol, EXIT_HALT)
                self._leave_blindly(symbol)

    def _make_leave(self, symbol: str, code: int) -> None:
        strategy = self.strategies[symbol]
        if strategy.required_exit == HOLD and strategy.state.account[POSITION]:
            self._record_event(ExitAtNextBar(symbol=symbol, code=code))

    def _leave_blindly(self, symbol: str) -> None:
        """Send the exit that HALT demands at once where bars are quarantined or overdue: none may come.

        A rejected one is sent again when another bar was quarantined.
        """
        state = self.strategies[symbol].state
        newest = self.effects.quarantine.undelivered(self.seats[symbol].model.key)
        if newest is None or not state.account[POSITION] or state.waiting:
            return
        if self.effects.left.get(symbol) != newest:
            order_id = self._setup.order_id(symbol, newest, EXIT)
            self._record_event(demand(symbol, order_id, EXIT_HALT, newest, state))
