"""What an operator's command has to know: configuration, newest epoch, mailbox, whether an engine runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.events import Event, OrderSent, RolloutMoved
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import SymbolPosition, positions_of
from lockstep.live.journal.opening import held
from lockstep.live.journal.rows import series_key, value_of
from lockstep.live.messages import Epoch, Irregularity
from lockstep.live.operator.commands import BarCommand, Command, FillCommand, Mailbox, waiting
from lockstep.live.operator.open_orders import OrderStep, Standing, last_steps
from lockstep.live.quarantine import Quarantine
from lockstep.live.units import OutwardUnits, opened_in
from lockstep.market.config import load_instruments


@dataclass(frozen=True, kw_only=True)
class OperatorDesk:
    """A desk as its files show it; it is only read.

    events      of the newest epoch, oldest first; rollout   its moves in all epochs
    positions   by symbol, where each stands at its newest decision
    quarantine  implausible bars, as far as the journal goes
    posted      commands that the engine has not taken yet, with their names
    running     whether a process writes the journal
    units       smaller units of the roll-out, and those in which the newest orders left
    """

    config: LiveConfig
    epochs: tuple[Epoch, ...]
    events: tuple[Event, ...]
    rollout: tuple[RolloutMoved, ...]
    positions: Mapping[str, SymbolPosition]
    quarantine: Quarantine
    posted: tuple[tuple[str, Command], ...]
    running: bool
    units: OutwardUnits

    @classmethod
    def read(cls, path: Path) -> OperatorDesk:
        """Read the desk of a configuration; JournalError or ConfigError where there is none."""
        config = LiveConfig.load(path)
        with Journal.open(config.journal, readonly=True) as journal:
            epochs = journal.epochs()
            if not epochs:
                raise LiveError(f"journal {config.journal}: it has no epoch yet; start the engine first")
            first = journal.first_entry(epochs[-1].number)
            positions = positions_of(journal, epochs[-1], first)
            events = tuple(journal.events())
            present = tuple(event for event in events if event.sequence >= first)
            quarantine = _quarantine(journal, first, present)
        return cls(
            config=config,
            epochs=epochs,
            events=present,
            rollout=tuple(event for event in events if isinstance(event, RolloutMoved)),
            positions=positions,
            quarantine=quarantine,
            posted=tuple(waiting(config.mailbox)),
            running=held(config.journal),
            units=OutwardUnits(
                known=config.rollout.smaller_units(config.versions, load_instruments()),
                opened=opened_in(
                    (event for event in events if isinstance(event, OrderSent)), epochs[-1].mode
                ),
            ),
        )

    @property
    def epoch(self) -> Epoch:
        """The newest epoch."""
        return self.epochs[-1]

    @property
    def orders(self) -> dict[str, OrderStep]:
        """Where each order of the epoch stands that left the house."""
        return last_steps(self.events)

    def standing(self, symbol: str) -> Standing:
        """Return what an account expects, reports in the mailbox included; LiveError for a foreign symbol."""
        traded = [each.symbol for each in self.config.instruments]
        if symbol not in traded:
            raise LiveError(f"symbol {symbol}: is not traded by this desk; it trades {', '.join(traded)}")
        standing = Standing(symbol=symbol)
        if symbol in self.positions:
            newest = self.positions[symbol]
            since = [event for event in self.events if event.sequence > newest.sequence]
            standing = Standing.of(symbol, newest.state, since)
        for fill in self.posted_fills(symbol):
            standing = standing.after(fill)
        return standing

    def posted_fills(self, symbol: str) -> list[FillCommand]:
        """Return the reported fills of a symbol that the engine has not taken yet."""
        commands = (command for _, command in self.posted)
        return [each for each in commands if isinstance(each, FillCommand) and each.symbol == symbol]

    def posted_decisions(self) -> list[BarCommand]:
        """Return the decisions about quarantined bars that the engine has not taken yet."""
        return [command for _, command in self.posted if isinstance(command, BarCommand)]

    def post(self, command: Command, name: str) -> None:
        """Leave a command for the engine."""
        Mailbox(self.config.mailbox).post(command, name=name)

    @property
    def taken(self) -> str:
        """The sentence that says when a posted command is carried out."""
        if self.running:
            return "an engine is running and will act within seconds, at the latest after the current bar"
        return "NO ENGINE IS RUNNING: it waits in the mailbox for the next start"


def _quarantine(journal: Journal, first: int, events: Iterable[Event]) -> Quarantine:
    """Return the quarantine of the epoch that begins with entry `first`."""
    rows = journal.select(
        "SELECT sequence, kind, symbol, timeframe, end, bar, detail FROM irregularities"
        " WHERE sequence >= ? AND kind IN ('implausible', 'out_of_order')",
        first,
    )
    told: list[tuple[int, Irregularity | Event]] = [(event.sequence, event) for event in events]
    for sequence, kind, symbol, timeframe, end, bar, detail in rows:
        values = None if bar is None else tuple(value_of(bar))
        told.append((sequence, Irregularity(kind, series_key(symbol, timeframe), end, values, detail)))
    found = Quarantine()
    for _, each in sorted(told, key=lambda entry: entry[0]):
        if isinstance(each, Irregularity):
            found.note(each)
        else:
            found.happened(each)
    for key, end in journal.last_stamps().items():
        found.delivered(key, end)
    return found
