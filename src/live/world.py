"""`World`: the manifest, the operator, the statement and the switches, as the engine looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lockstep.errors import LiveError, ModelError
from lockstep.live.desk import Model
from lockstep.live.messages import Event, Wanted
from lockstep.live.operator import Mailbox
from lockstep.live.statement import StatementFile
from lockstep.live.switches import Switches
from lockstep.models.manifest import PRODUCTION, VETO, Manifest, ModelEntry
from lockstep.models.store import ModelStore, load_bundle


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
        statement: StatementFile | None = None,
    ) -> None:
        self._store = store
        self._versions = dict(versions)
        self._mailbox = mailbox
        self._switches = switches
        self._statement = statement
        self._stat: tuple[int, int] | None = None
        self._wanted: dict[str, Wanted] = {}
        self._models: dict[str, Model] = {}
        self.pinned: dict[str, str] = {}

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


def wanted_versions(manifest: Manifest, versions: Mapping[str, str]) -> dict[str, Wanted]:
    """Return what `versions`, by symbol, mean in a manifest: the version in production, or the pinned one."""
    return {symbol: _wanted(manifest, symbol, version) for symbol, version in versions.items()}


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
        return Wanted(absence="no version is in production; promote one with scripts/promote_model.py")
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
            production = manifest.instruments.get(symbol, {}).get(VETO, ModelEntry()).production
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
