"""What the engine asks of the world, as small protocols.

`World`: the manifest, the operator, reported fills and the switches, as the engine looks at them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lockstep.errors import LiveError, LockstepError, ModelError
from lockstep.live.brokers.protocol import FillSource
from lockstep.live.events import CommandRefused, Event, FillReported, Told
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import Irregularity, Release, ReportedFill, SetRecord, Values, Wanted
from lockstep.live.operator.commands import FillCommand, Mailbox
from lockstep.live.quarantine import Quarantine
from lockstep.live.risk.switches import Switches
from lockstep.live.traded import TradedModel
from lockstep.live.units import SmallerUnit
from lockstep.market.history import SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.models.manifest import PRODUCTION, VETO, Manifest, ModelEntry
from lockstep.models.store import ModelStore, load_bundle
from lockstep.settings import validated


class JournalPort(Protocol):
    """Where everything is committed before its effect; see `journal/`."""

    def append_set(self, record: SetRecord) -> int:
        """Commit one set with all that followed from it."""

    def append(self, *events: Event) -> tuple[int, ...]:
        """Commit events."""

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        """Yield what was committed in an epoch, in its order."""


class SetSource(Protocol):
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

    def model(self, symbol: str, sha256: str) -> TradedModel:
        """Load the version with this SHA-256; a ModelError says why it cannot be used."""

    def commands(self) -> Sequence[Told | CommandRefused]:
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


class Fills(Protocol):
    """Fills that are not journaled yet: those of a statement, or of a broker that reports them."""

    def read(self) -> Sequence[FillReported | CommandRefused]:
        """Return them, the oldest first, until `done` names them."""

    def done(self, events: Sequence[Event]) -> None:
        """Note that events are journaled; those of others are ignored."""


class World:
    """Looks outside between two sets. What has not changed on the disk is not read again.

    versions   by traded symbol, as live.yml says: `production` or a pinned one
    """

    def __init__(
        self,
        store: ModelStore,
        versions: Mapping[str, str],
        mailbox: Mailbox,
        switches: Switches,
        fills: Sequence[Fills] = (),
    ) -> None:
        self._store = store
        self._versions = dict(versions)
        self._mailbox = mailbox
        self._switches = switches
        self._fills = list(fills)
        self._stat: tuple[int, int] | None = None
        self._wanted: dict[str, Wanted] = {}
        self._models: dict[str, TradedModel] = {}
        self.pinned: dict[str, str] = {}

    def hear(self, fills: Fills) -> None:
        """Look at one more source of fills."""
        self._fills.append(fills)

    def wanted(self) -> Mapping[str, Wanted]:
        """Return the version to trade of every symbol; see `Outside`.

        A manifest that cannot be read leaves the last one standing: what trades goes on as it is.
        """
        stat = _stat(self._store.folder / "manifest.json")
        if stat != self._stat:
            try:
                manifest = self._store.manifest()
            except ModelError:
                return self._wanted
            self._wanted = wanted_versions(manifest, self._versions)
            self.pinned = pinned_versions(manifest, self._versions)
            self._stat = stat
        return self._wanted

    def model(self, symbol: str, sha256: str) -> TradedModel:
        """Load the version with this SHA-256; a ModelError says why it cannot be used.

        symbol   or the name of the lane that trades it
        """
        symbol = traded_symbol(symbol)
        if sha256 not in self._models:
            version = version_with(self._store.manifest(), symbol, sha256)
            self._models[sha256] = TradedModel.of(load_bundle(symbol, version, store=self._store))
            self._store.used(symbol, version, now=datetime.now(UTC))
        return self._models[sha256]

    def commands(self) -> Sequence[Told | CommandRefused]:
        """Return commands and fills that are not journaled; see `Outside`."""
        return [*self._mailbox.read(), *(event for source in self._fills for event in source.read())]

    def done(self, events: Sequence[Event]) -> None:
        """Say that commands are journaled."""
        self._mailbox.done(events)
        for source in self._fills:
            source.done(events)

    def halted(self) -> str | None:
        """Return why HALT is on, or None."""
        return self._switches.halt()


class BrokerFills:
    """Holds what a source reports until the engine has journaled it. One `read` and `done` per look.

    seen    ids of the fills that the journal holds already: they may be reported again and are left out
    since   from when on the source reports, UTC ns: the start of the journal, so that a fill which happened
            while no engine ran, or between two epochs, is heard of
    units   smaller units of the roll-out, by their symbols: fills in them become fills of the instrument
    """

    def __init__(
        self,
        source: FillSource,
        *,
        seen: Iterable[str],
        since: int,
        units: Mapping[str, SmallerUnit] | None = None,
    ) -> None:
        self._source = source
        self._seen = set(seen)
        self._since = since
        self._units = units or {}
        self._lock = threading.Lock()
        self._waiting: dict[str, FillReported | CommandRefused] = {}

    @property
    def trouble(self) -> str:
        """See `FillSource`."""
        return self._source.trouble

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to listen; `wake` is called after each fill that is news, from a thread of the source."""

        def take(fill: ReportedFill) -> None:
            with self._lock:
                if fill.fill_id in self._seen or fill.fill_id in self._waiting:
                    return
                self._waiting[fill.fill_id] = _reported(fill, self._units)
            wake()

        self._source.start(take, since=self._since)

    def stop(self) -> None:
        """End; what was not journaled is reported again after the next start."""
        self._source.stop()

    def read(self) -> list[FillReported | CommandRefused]:
        """Return what is not journaled yet, in the order in which it was reported."""
        with self._lock:
            return list(self._waiting.values())

    def done(self, events: Sequence[Event]) -> None:
        """Note that events are journaled."""
        with self._lock:
            for event in events:
                fill_id = _fill_id(event)
                if self._waiting.pop(fill_id, None) is not None:
                    self._seen.add(fill_id)


def wanted_versions(manifest: Manifest, versions: Mapping[str, str]) -> dict[str, Wanted]:
    """Return what `versions` mean in a manifest: the version in production, or the pinned one.

    versions   by symbol, those of an ensemble's members by the names of their lanes
    """
    return {lane: _wanted(manifest, traded_symbol(lane), version) for lane, version in versions.items()}


def require_wanted(manifest: Manifest, versions: Mapping[str, str], folder: Path) -> dict[str, Wanted]:
    """Return `wanted_versions`; LiveError, with the store's folder, where there is none for a symbol."""
    found = wanted_versions(manifest, versions)
    for symbol, each in found.items():
        if each.absence:
            raise LiveError(f"{symbol}: {each.absence} (store {folder})")
    return found


def _wanted(manifest: Manifest, symbol: str, version: str) -> Wanted:
    model = manifest.instruments.get(symbol, {}).get(VETO, ModelEntry())
    meant = model.production if version == PRODUCTION else version
    if meant is None:
        return Wanted(absence="no version is in production; promote one with lockstep promote")
    if meant not in model.versions:
        there = ", ".join(model.versions) or "none"
        return Wanted(absence=f"version {meant} is not in the manifest; it has {there}")
    if model.versions[meant].status == "retired":
        return Wanted(absence=f"version {meant} is retired; choose another one")
    return Wanted(meant, model.versions[meant].sha256)


def pinned_versions(manifest: Manifest, versions: Mapping[str, str]) -> dict[str, str]:
    """Return, for each pinned symbol, its version and the one in production, in words."""
    found = {}
    for symbol, version in versions.items():
        if version != PRODUCTION:
            entry = manifest.instruments.get(traded_symbol(symbol), {}).get(VETO, ModelEntry())
            production = entry.production
            there = f"production is {production}" if production else "no version is in production"
            found[symbol] = f"{version} ({'also in production' if production == version else there})"
    return found


def version_with(manifest: Manifest, symbol: str, sha256: str) -> str:
    """Return the version of a symbol whose bundle has this SHA-256; ModelError where none has."""
    entry = manifest.instruments.get(symbol, {}).get(VETO)
    for version, each in (entry.versions if entry else {}).items():
        if each.sha256 == sha256:
            return version
    raise ModelError(
        f"{symbol}: no version of the store is the bundle {sha256[:12]}…; restore it, or begin a new epoch"
    )


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _fill_id(event: Event) -> str:
    """Return the id of the fill that an event reports, or of one that could not be read; empty for others."""
    if isinstance(event, FillReported):
        return event.fill_id
    return str(event.given.get("fill_id", "")) if isinstance(event, CommandRefused) else ""


def _reported(fill: ReportedFill, units: Mapping[str, SmallerUnit]) -> FillReported | CommandRefused:
    """Return a report as the engine takes it; what cannot be right becomes a bad command that says why."""
    told = fill._asdict()
    kind = told.pop("kind")
    try:
        where = f"fill {fill.fill_id} of the broker"
        command = validated(FillCommand, {**told, "order": kind}, where=where).inside(units)
    except LockstepError as error:
        return CommandRefused(
            command=f"broker-{fill.fill_id}", given={"fill_id": fill.fill_id}, error=str(error)
        )
    return command.event(f"broker-{fill.fill_id}")
