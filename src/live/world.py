"""`World`: the manifest, the operator, the statement and the switches, as the engine looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lockstep.errors import ModelError
from lockstep.live.desk import Model
from lockstep.live.messages import Event
from lockstep.live.operator import Mailbox
from lockstep.live.statement import StatementFile
from lockstep.live.switches import Switches
from lockstep.models.manifest import VETO, Manifest
from lockstep.models.store import ModelStore, load_bundle


class World:
    """Looks outside between two sets. What has not changed on the disk is not read again."""

    def __init__(
        self,
        store: ModelStore,
        symbols: Sequence[str],
        mailbox: Mailbox,
        switches: Switches,
        statement: StatementFile | None = None,
    ) -> None:
        self._store = store
        self._symbols = tuple(symbols)
        self._mailbox = mailbox
        self._switches = switches
        self._statement = statement
        self._stat: tuple[int, int] | None = None
        self._productions: dict[str, tuple[str, str]] = {}
        self._models: dict[str, Model] = {}

    def productions(self) -> Mapping[str, tuple[str, str]]:
        """Return (version, SHA-256) of the production versions; see `Outside`.

        A manifest that cannot be read leaves the last one standing: what trades goes on as it is.
        """
        stat = _stat(self._store.folder / "manifest.json")
        if stat != self._stat:
            try:
                self._productions = production_versions(self._store.manifest(), self._symbols)
            except ModelError:
                return self._productions
            self._stat = stat
        return self._productions

    def model(self, symbol: str, sha256: str) -> Model:
        """Load the version with this SHA-256; a ModelError says why it cannot be used."""
        if sha256 not in self._models:
            version = version_with(self._store.manifest(), symbol, sha256)
            self._models[sha256] = Model.of(load_bundle(symbol, version, store=self._store))
            self._store.used(symbol, version, now=datetime.now(UTC))
        return self._models[sha256]

    def commands(self) -> Sequence[Event]:
        """Return commands and fills that are not journaled; see `Outside`."""
        fills = self._statement.read() if self._statement else []
        return [*self._mailbox.read(), *fills]

    def done(self, events: Sequence[Event]) -> None:
        """Say that commands are journaled."""
        self._mailbox.done(events)
        if self._statement:
            self._statement.done([event for event in events if event.kind == "fill"])

    def halted(self) -> str | None:
        """Return why HALT is on, or None."""
        return self._switches.halt()


def production_versions(manifest: Manifest, symbols: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (version, SHA-256) of the production version of each symbol that has one."""
    found = {}
    for symbol in symbols:
        entry = manifest.instruments.get(symbol, {}).get(VETO)
        if entry is not None and entry.production is not None:
            found[symbol] = (entry.production, entry.versions[entry.production].sha256)
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
