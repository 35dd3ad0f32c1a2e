"""`World`: the machine, the people and the market around a desk, in one thread and in simulated time."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from lockstep.errors import ConfigError, LiveError
from lockstep.live.brokers.protocol import Message
from lockstep.live.clock_check import Measured
from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord, Values, Wanted
from lockstep.market.history import SeriesKey
from simulation import models
from simulation.broker import Conduct
from simulation.clock import QUIET, Agenda, SimClock
from simulation.exchange import Exchange, Fill
from simulation.incidents import KINDS, VOLUME, Altered, Trap, sentence
from simulation.invariants import Audit, Broken
from simulation.life import Incident, Life, stamp
from simulation.people import Operator
from simulation.ports import Killed, SimFeed, Store
from simulation.run import Run
from simulation.venues import key_of, venue

_RESTART_AFTER = 5.0
_FAILED_RESTART_AFTER = 3_600.0
_FOR_GOOD = 1e8
_AT_ONCE = 20_000


class World:
    """Everything that a life needs beside the engine.

    life    what happens; folder   for the journal and the files of operator and broker; audit   looks on
    """

    def __init__(self, life: Life, folder: Path, audit: Audit, clock: SimClock) -> None:
        self.life = life
        self.folder = folder
        self.audit = audit
        self.clock = clock
        self.agenda = Agenda(clock)
        self.over = False
        self.run: Run | None = None
        self.runs = 0
        self.kills = 0
        self.down = _RESTART_AFTER
        self.disk: int | None = None
        self.kill_file, self.halt_file = folder / "KILL", folder / "HALT"
        self.mailbox, self.statement_file = folder / "mailbox", folder / "statement.csv"
        self.positions_file = folder / "positions.csv"
        self.status_file = folder / "status.json"
        self.time_server = True
        self.journal_path = folder / "journal-0.db"
        self.armed: list[Trap] = []
        self.conducts: list[tuple[str, str, Conduct]] = []
        self.store = _store(life)
        self.echoes = any(each.told.get("echo") for each in life.incidents)
        keys = frozenset(map(key_of, life.bars))
        self.feed = SimFeed(keys, rereads=life.desk.rereads)
        self.warmup = {key: _warmup(life, key) for key in sorted(keys)}
        self.exchange = Exchange(
            venues={each.symbol: venue(each.symbol) for each in life.traders},
            prices={each.symbol: _prices(life, each.series) for each in life.traders},
            now=lambda: clock.true,
            at=self.agenda.at,
            filled=self._filled,
        )
        self.operator = Operator(self)
        self._still = 0
        self._plan()

    # The life

    def pass_by(self) -> None:
        """Let the whole life happen; raises Broken where an invariant does."""
        while not self.over:
            self._one_run()
            self._sleep(self.down)
        self._one_run()
        self.audit.finished()

    def end(self) -> None:
        """Stop the desk for good."""
        self.over = True
        self.stop("the life is over")

    def stop(self, why: str) -> None:
        """Ask a running engine to stop, as the service manager does."""
        if self.run is not None and self.run.engine is not None:
            self.run.engine.stop(why)

    def _one_run(self) -> None:
        self.run = run = Run(self)
        self.runs += 1
        self.down = _RESTART_AFTER
        how = "stopped"
        self.operator.started()
        try:
            run.go()
            if run.error is not None:
                how, self.down = "failed", _FAILED_RESTART_AFTER
                if isinstance(run.error, ConfigError):
                    self.down = _FOR_GOOD
        except Killed:
            how = "killed"
        if self.audit.broken is not None:
            raise self.audit.broken
        self.audit.ended(run, how)
        run.close()
        self.run = None

    def _sleep(self, seconds: float) -> None:
        """Let time pass while no engine runs."""
        limit = self.clock.true + int(seconds * 1e9)
        while self.agenda.step(limit):
            if self.over:
                return

    def wait(self, seconds: float, until: Callable[[], bool]) -> None:
        """Let time pass for a waiting engine: until something happened, or for some seconds."""
        if until():
            return
        before = self.clock.true
        self.feed.take_answers()
        self.audit.idle()
        self.agenda.step(before + max(int(seconds * 1e9), 1))
        self._still = self._still + 1 if self.clock.true == before else 0
        if self._still > _AT_ONCE:
            raise Broken("time passes", f"the engine does not wait: {_AT_ONCE} looks at one moment")

    def wait_for(self, seconds: float, until: Callable[[], bool]) -> None:
        """Let time pass until a condition holds, for some seconds at most."""
        limit = self.clock.true + int(seconds * 1e9)
        while not until() and self.agenda.step(limit):
            continue

    def counts(self) -> dict[str, int]:
        """Return how much happened."""
        facts = self.audit.facts
        return {
            "runs": self.runs,
            "kills": self.kills,
            "sets": facts.sets,
            "orders": len(facts.decided),
            "sent": sum(order.sent for order in facts.orders.values()),
            "fills": sum(order.filled for order in facts.decided),
            "incidents": len(self.life.incidents),
            "steps": self.audit.steps,
        }

    # The process

    def passed(self, effect: str, when: str) -> None:
        """Die where a trap says so."""
        for trap in self.armed:
            if trap.springs(effect, when):
                self.armed.remove(trap)
                self.kill(trap.down, f"{when} {effect}")

    def kill(self, down: float, why: str) -> None:
        """End the process now, as SIGKILL does: what was committed stays, what was not is gone."""
        run = self.run
        assert run is not None
        self.audit.note(f"SIGKILL {why}")
        self.kills += 1
        run.line.alive = False
        self.down = down
        after = self.folder / f"journal-{self.runs}.db"
        for suffix in ("", "-wal"):
            found = self.journal_path.with_name(self.journal_path.name + suffix)
            if found.exists():
                shutil.copyfile(found, after.with_name(after.name + suffix))
        self.journal_path = after
        raise Killed

    def opened(self, journal: Journal) -> None:
        """Take the journal of a new process: it meets the disk as it is."""
        self.limit_disk()

    def limit_disk(self) -> None:
        """Let the journal grow by `disk` pages at most, or freely."""
        journal = self.run.journal if self.run else None
        if journal is None:
            return
        (pages,) = journal.select("PRAGMA page_count")[0]
        most = 2**30 if self.disk is None else max(pages + self.disk, 1)
        journal.select(f"PRAGMA max_page_count = {most}")

    def committed(self, entry: SetRecord | Event) -> None:
        """Take what the journal has taken."""
        self.audit.committed(entry)
        if isinstance(entry, Event):
            self.operator.heard(entry)
        else:
            self.operator.saw(entry.release.irregularities)

    def switch(self, name: str, *, on: bool) -> None:
        """Make or remove the file of a switch."""
        file = self.halt_file if name == "halt" else self.kill_file
        if on:
            file.touch()
        else:
            file.unlink(missing_ok=True)
        self.audit.switched(name, on=on)

    def open_bundles(self) -> frozenset[str]:
        """Return the SHA-256 of the bundles that the journal needs."""
        if not self.journal_path.exists():
            return frozenset()
        with Journal.open(self.journal_path, readonly=True) as journal:
            return journal.open_bundles()

    def measure(self, clock: Callable[[], int]) -> Measured:
        """Ask the time server how far a clock is ahead."""
        if not self.time_server:
            raise LiveError("NTP server time.example.com: timed out; check the network")
        measured = Measured((clock() - self.clock.true) / 1e9, 0.01)
        self.audit.measured(measured)
        return measured

    # The broker

    def conduct(self, symbol: str, intent: str) -> Conduct:
        """Return how the broker deals with the next order of a symbol, an `entry` or an `exit`."""
        for place, (wanted, of, conduct) in enumerate(self.conducts):
            if wanted == symbol and of in ("any", intent):
                del self.conducts[place]
                return conduct
        return Conduct()

    def place(self, symbol: str, message: Message, conduct: Conduct) -> None:
        """Bring an order to the exchange, a moment after it was sent."""
        self.agenda.after(0.1, lambda: self._place(symbol, message, conduct))

    def _place(self, symbol: str, message: Message, conduct: Conduct) -> object:
        self.exchange.place(symbol, message, share=conduct.share, turns=conduct.turns)
        return QUIET

    def _filled(self, fill: Fill) -> None:
        self.audit.note(f"exchange: {fill.order_id} {fill.kind} {fill.quantity:+g} at {fill.price:.10g}")
        self.operator.filled(fill)

    # The plan

    def _plan(self) -> None:
        life = self.life
        altered: dict[tuple[str, int], Altered] = {}
        for incident in life.incidents:
            kind = KINDS[incident.kind]
            if kind.alters is not None:
                where = (incident.told["series"], stamp(incident.told["end"]))
                kind.alters(altered.setdefault(where, Altered()), incident)
            if kind.happens is not None:
                self.agenda.at(incident.time, functools.partial(self._happen, kind.happens, incident))
        traded = {each.series: each.symbol for each in life.traders}
        for series, bars in life.bars.items():
            key = key_of(series)
            for end, prices in bars.items():
                if end <= life.begins:
                    continue
                values: Values = (*prices, VOLUME)
                for delay, told in altered.get((series, end), Altered()).deliveries(values):
                    self._deliver(key, end, told, delay)
                if series in traded:
                    self._trade(traded[series], end, values)
        self.operator.confirm_daily()
        self.agenda.at(life.ends, self.end)

    def _happen(self, happens: Callable[[World, Incident], None], incident: Incident) -> None:
        self.audit.note(f"-- {sentence(incident)}")
        happens(self, incident)

    def _deliver(self, key: SeriesKey, end: int, values: Values, delay: float) -> None:
        self.agenda.at(end + int(delay * 1e9), lambda: self.feed.deliver(key, end, values))

    def _trade(self, symbol: str, end: int, values: Values) -> None:
        def act() -> object:
            self.exchange.bar(symbol, end, values)
            return QUIET

        self.agenda.at(end, act)


def _store(life: Life) -> Store:
    """Return a store of every version that there is of the traded symbols; the first is in production."""
    store = Store()
    for each in life.traders:
        for name in models.RECIPES:
            sha256 = models.digest(each.symbol, each.timeframe, name)
            store.register(sha256, functools.partial(models.model, each.symbol, each.timeframe, name))
        sha256 = models.digest(each.symbol, each.timeframe, each.model)
        store.wanted[each.symbol] = Wanted(each.model, sha256)
    return store


def _warmup(life: Life, key: SeriesKey) -> tuple[tuple[int, Values], ...]:
    bars = life.bars[str(key)].items()
    return tuple((end, (*prices, VOLUME)) for end, prices in bars if end <= life.begins)


def _prices(life: Life, series: str) -> list[tuple[int, Values]]:
    return [(end, (*prices, VOLUME)) for end, prices in life.bars[series].items()]
