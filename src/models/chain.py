"""The chain of hashes over the history: an edit of the past, or of the present by hand, is noticed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from lockstep.errors import ManifestEdited
from lockstep.identity import json_digest
from lockstep.models.manifest import VETO, Action, HistoryEntry, LedgerStamp, Manifest

_NO_HASH = ""


@dataclass(frozen=True, kw_only=True)
class Act:
    """Which model is meant, who acts, when (aware), and why; ledger: where the trial ledger stood."""

    symbol: str
    name: str = VETO
    by: str
    now: datetime
    reason: str = ""
    ledger: LedgerStamp | None = None


def recorded(
    manifest: Manifest,
    act: Act,
    action: Action,
    version: str,
    *,
    before: str | None,
    overruled: tuple[str, ...] = (),
) -> Manifest:
    """Return `manifest`, in which the action has been done, with its entry at the end of the history.

    before   what was in production until now
    """
    last = manifest.history[-1] if manifest.history else None
    entry = HistoryEntry(
        number=len(manifest.history) + 1,
        time=act.now,
        by=act.by,
        action=action,
        symbol=act.symbol,
        name=act.name,
        version=version,
        before=before,
        after=manifest.model(act.symbol, act.name).production,
        reason=act.reason,
        overruled=overruled,
        sha256=manifest.entry(act.symbol, version, act.name).sha256,
        state=state_of(manifest),
        previous=last.hash if last else _NO_HASH,
        hash=_NO_HASH,
        ledger=act.ledger,
    )
    sealed = entry.model_copy(update={"hash": _hash_of(entry)})
    return manifest.model_copy(update={"history": (*manifest.history, sealed)})


def verify(manifest: Manifest, where: str) -> None:
    """Raise ManifestEdited, naming the entry, where history or instruments are not what the verbs wrote."""
    previous = _NO_HASH
    for position, entry in enumerate(manifest.history, start=1):
        if entry.number != position or entry.previous != previous:
            raise ManifestEdited(f"{where}: {entry} does not follow the one before; {_REMEDY}")
        if entry.hash != _hash_of(entry):
            raise ManifestEdited(f"{where}: {entry} was edited; {_REMEDY}")
        previous = entry.hash
    if manifest.history and manifest.history[-1].state != state_of(manifest):
        raise ManifestEdited(f"{where}: instruments were edited after {manifest.history[-1]}; {_REMEDY}")
    if manifest.instruments and not manifest.history:
        raise ManifestEdited(f"{where}: instruments without a history; {_REMEDY}")


_REMEDY = "restore the file from version control or a backup, and use the verbs"


def state_of(manifest: Manifest) -> str:
    """Return the SHA-256 (hex) of all instruments but for use statistics, which change without an action."""
    versions = {"versions": {"__all__": {"use"}}}
    content = {
        symbol: {name: model.model_dump(mode="json", exclude=versions) for name, model in models.items()}
        for symbol, models in manifest.instruments.items()
    }
    return _digest(content)


def _hash_of(entry: BaseModel) -> str:
    return _digest(entry.model_dump(mode="json", by_alias=True, exclude={"hash"}))


def _digest(content: dict[str, Any]) -> str:
    return json_digest(content)
