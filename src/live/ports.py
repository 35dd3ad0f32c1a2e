"""What the engine asks of the world, as small protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lockstep.live.desk import Model
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import Event, Irregularity, Release, SetRecord, Values, Wanted
from lockstep.live.quarantine import Quarantine
from lockstep.market.history import SeriesKey


class Journal(Protocol):
    """Where everything is committed before its effect; see `journal/`."""

    def append_set(self, record: SetRecord) -> int:
        """Commit one set with all that followed from it."""

    def append(self, *events: Event) -> tuple[int, ...]:
        """Commit events."""

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        """Yield what was committed in an epoch, in its order."""


class Source(Protocol):
    """Where released bar sets come from."""

    @property
    def finished(self) -> bool:
        """Whether no set will come any more."""

    def next(self, until: int | None) -> Release | None:
        """Block until a set is there, the moment `until` (UTC ns) has come, or somebody called `wake`."""

    def reports(self) -> Sequence[Irregularity]:
        """Return what was irregular since the last set and will not come with another one."""

    def settle(self) -> None:
        """Answer whoever delivered bars, now that all sets and reports are journaled."""

    def wake(self) -> None:
        """Make `next` return; may be called from any thread and from a signal handler."""

    def resume(self, known: Mapping[SeriesKey, Sequence[tuple[int, Values]]], quarantine: Quarantine) -> None:
        """Begin to deliver what comes after the bars that the windows hold, oldest first by series.

        quarantine   implausible bars that the journal tells of, with what was decided about them
        """

    def decide(self, key: SeriesKey, end: int, decision: str) -> None:
        """Carry out what the operator decided about a quarantined bar: `accept` or `reject`."""


class Outside(Protocol):
    """What happens outside and is looked at between two sets: manifest, operator, fills, switches."""

    def wanted(self) -> Mapping[str, Wanted]:
        """Return the version to trade by symbol; a symbol of which nothing is known is absent."""

    def model(self, symbol: str, sha256: str) -> Model:
        """Load the version with this SHA-256; a ModelError says why it cannot be used."""

    def commands(self) -> Sequence[Event]:
        """Return the operator's commands and reported fills, oldest first, until `done` names them."""

    def done(self, events: Sequence[Event]) -> None:
        """Say that commands are journaled."""

    def halted(self) -> str | None:
        """Return why HALT is on, or None."""


class Observer(Protocol):
    """Told of everything after it was committed: status, alerts, logs. It must not block nor fail."""

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        """Take a set."""

    def happened(self, event: Event, *, replayed: bool) -> None:
        """Take an event."""

    def beat(self, *, now: int) -> None:
        """Note that the engine is alive."""
