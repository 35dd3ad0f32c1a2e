"""`ModelStore`: a folder of bundles with their manifest, and the verbs on it.

The manifest's record of a bundle.

Where the model store is, and how its files are called.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.desk import desk_folder
from lockstep.errors import HashMismatch, StoreFailure, VerbRefused
from lockstep.files import replace_file
from lockstep.models import verbs
from lockstep.models.chain import Act
from lockstep.models.content import sha256_of, verified_content, verified_reports, write_reports
from lockstep.models.document import plain
from lockstep.models.manifest import (
    PRODUCTION,
    VETO,
    Action,
    Evidence,
    LedgerStamp,
    Manifest,
    ModelEntry,
    TrainingRecord,
    UseStatistics,
    VersionEntry,
)
from lockstep.models.manifest_file import locked, read_manifest, write_manifest
from lockstep.models.policy import Policy, read_policy
from lockstep.models.sources import signed_manifest
from lockstep.models.verbs import Change
from lockstep.settings import validated

if TYPE_CHECKING:
    from lockstep.features.feature_registry import FeatureRegistry
    from lockstep.models.bundle import Bundle


def entry_of(
    bundle: Bundle,
    content: bytes,
    *,
    file: str,
    record: TrainingRecord,
    parent: str | None,
    supersedes: str | None,
    supersedes_reason: str,
) -> VersionEntry:
    """Return the record of a bundle whose file holds `content`."""
    return VersionEntry(
        file=file,
        sha256=sha256_of(content),
        size=len(content),
        target=bundle.target,
        feature_ids=bundle.feature_ids,
        fingerprints=plain(bundle.fingerprints),
        strategy=plain(bundle.strategy),
        task=bundle.task,
        output=bundle.output,
        horizon=bundle.horizon,
        threshold=None if bundle.threshold is None else float(bundle.threshold),
        training_range=_range_of(bundle.training),
        metrics={name: _finite(value) for name, value in sorted(bundle.metrics.items())},
        parent=parent,
        supersedes=supersedes,
        supersedes_reason=supersedes_reason,
        record=record,
    )


def _range_of(training: Mapping[str, Any]) -> tuple[str, str] | None:
    found = training.get("range")
    return None if found is None else (str(found[0]), str(found[1]))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


_PACKAGE = Path(__file__).resolve().parents[1]


def default_folder() -> Path:
    """Return `LOCKSTEP_MODEL_STORE`, else the store of the desk folder that the working folder is in.

    Where there is neither: `src/models` of a checkout, or a folder of the user's data.
    """
    declared = os.environ.get("LOCKSTEP_MODEL_STORE")
    if declared:
        return Path(declared)
    if (desk := desk_folder()) is not None:
        return desk.store
    if (_PACKAGE.parent / "setup.cfg").is_file():
        return _PACKAGE / "models"
    root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "lockstep" / "models"


def bundle_file(symbol: str, name: str, version: str) -> str:
    """Return `ES_v3.joblib`, or `ES_regime_v3.joblib` for a model that is not the IBS strategy's veto."""
    return f"{_stem(symbol, name)}_{version}.joblib"


def next_version(folder: Path, symbol: str, name: str, taken: list[str], content: bytes = b"") -> str:
    """Return the version after all that the manifest or the folder holds; a file is never overwritten.

    content   of the bundle to be registered: a file of the same bytes that the manifest does not know was
              left by a registration that was killed, and keeps its number
    """
    pattern = re.compile(rf"{re.escape(_stem(symbol, name))}_v([1-9]\d*)\.joblib")
    known = {bundle_file(symbol, name, version) for version in taken}
    paths = (path for path in folder.glob("*.joblib") if path.name in known or not _holds(path, content))
    files = (pattern.fullmatch(path.name) for path in paths)
    numbers = [int(version[1:]) for version in taken] + [int(found.group(1)) for found in files if found]
    return f"v{max(numbers, default=0) + 1}"


def _holds(path: Path, content: bytes) -> bool:
    return path.stat().st_size == len(content) and path.read_bytes() == content


def _stem(symbol: str, name: str) -> str:
    return symbol if name == VETO else f"{symbol}_{name}"


COLUMN_DIGITS = 12
COLUMN_MODEL = r"model:(?P<symbol>[A-Za-z0-9][A-Za-z0-9.-]*)(?:_(?P<name>[a-z][a-z0-9_]*))?"
_COLUMN = rf"{COLUMN_MODEL}@(?P<version>v[1-9]\d*)#(?P<hash>[0-9a-f]{{{COLUMN_DIGITS}}})"


class ColumnId(NamedTuple):
    """What the feature id of a model's column names; `digits` are the first of the bundle's SHA-256."""

    symbol: str
    name: str
    version: str
    digits: str


def column_id(symbol: str, version: str, sha256: str, *, name: str = VETO) -> str:
    """Return the feature id of what a version answers, `model:COMP@v3#3f2a9c1b04de`; `model_column.py`."""
    return f"model:{_stem(symbol, name)}@{version}#{sha256[:COLUMN_DIGITS]}"


def read_column_id(text: str) -> ColumnId | None:
    """Return what the id of a column names; None where it is not one, as `column_id` spells it."""
    found = re.fullmatch(_COLUMN, text)
    if found is None or found["name"] == VETO:
        return None
    return ColumnId(found["symbol"], found["name"] or VETO, found["version"], found["hash"])


def columns_in(content: Any) -> tuple[str, ...]:
    """Return the ids of models' columns that occur in a value as of JSON, in whatever text, sorted."""
    text = json.dumps(content, ensure_ascii=False)
    return tuple(sorted({found.group() for found in re.finditer(_COLUMN, text)}))


class ModelStore:
    """Bundles `<SYMBOL>_v<N>.joblib` and `manifest.json` in one folder.

    Every verb runs under a lock: either it is done and recorded, or nothing changes. `now` is timezone-aware;
    `version` is written `v2`; methods that read also accept `production`.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = ModelStore(Path(folder))
    ...     store.manifest().instruments, store.policy().promotion
    ({}, ('validation', 'certificate', 'reference'))
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def manifest(self) -> Manifest:
        """Return the manifest, verified; ManifestError where it cannot be trusted."""
        return read_manifest(self.folder)

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.manifest(self.manifest())

    def policy(self) -> Policy:
        """Return what a promotion asks for."""
        return read_policy(self.folder)

    def path(self, symbol: str, version: str = PRODUCTION, *, name: str = VETO) -> Path:
        """Return where the bundle of a version lies; UnknownModel where there is none."""
        return self.folder / self.manifest().entry(symbol, version, name).file

    def register(
        self,
        bundle: Bundle,
        *,
        record: TrainingRecord | Mapping[str, Any],
        by: str,
        now: datetime,
        parent: str | None = None,
        supersedes_reason: str = "",
    ) -> str:
        """Save a bundle as the next version, a candidate, and return the version.

        UnfitBundle where it may not be used as it is, StoreFailure where the disk refuses.
        """
        from lockstep.models.bundle import bundle_bytes

        checked = record if isinstance(record, TrainingRecord) else _training_record(record)
        content = bundle_bytes(bundle)
        act = Act(symbol=bundle.symbol, name=bundle.name, by=by, now=now, reason=supersedes_reason)
        with locked(self.folder):
            manifest = self.manifest()
            model = manifest.instruments.get(bundle.symbol, {}).get(bundle.name, ModelEntry())
            version = next_version(self.folder, bundle.symbol, bundle.name, list(model.versions), content)
            if parent is not None:
                parent = manifest.resolve(bundle.symbol, parent, bundle.name)
            entry = entry_of(
                bundle, content, file=bundle_file(bundle.symbol, bundle.name, version), record=checked,
                parent=parent, supersedes=model.production, supersedes_reason=supersedes_reason,
            )  # fmt: skip
            self._add(manifest, act, version, entry, content, "register")
        return version

    def fetch(
        self,
        source: ModelStore,
        symbol: str,
        version: str,
        *,
        sha256: str | None = None,
        name: str = VETO,
        by: str,
        now: datetime,
    ) -> str:
        """Copy a version from another store, as a candidate, and return the version.

        sha256   of the bundle, known from elsewhere than that store; None: its manifest must be signed by a
                 key that this store trusts (`sources.py`)

        A signed manifest vouches for its evidence, which comes along with its reports; one that is not is
        believed nothing but what the bundle says as well. The version keeps its number; what is there
        already, with the same hash, is left as it is. The models whose columns it reads come along.

        Raises: VerbRefused where nothing pins the bundle, the version is retired there, the manifest tells
        something else than the bundle, or the number is taken by another one; a BundleRefused where the file
        is not the pinned one, or no bundle that can be used here.
        """
        theirs, pinned = self._pinned(source, sha256)
        version = theirs.resolve(symbol, version, name)
        entry = theirs.entry(symbol, version, name)
        act = Act(symbol=symbol, name=name, by=by, now=now, reason=pinned)
        content = _fetchable(source, act, version, entry, sha256)
        fresh = entry.model_copy(
            update={
                "status": "candidate",
                "use": UseStatistics(),
                "evidence": entry.evidence if sha256 is None else (),
            }
        )
        reads = (entry.feature_ids, entry.strategy)
        self.fetch_columns(source, reads, signed=sha256 is None, by=by, now=now)
        with locked(self.folder):
            manifest = self.manifest()
            known = manifest.instruments.get(symbol, {}).get(name, ModelEntry()).versions.get(version)
            if known is not None and known.sha256 != entry.sha256:
                raise VerbRefused(
                    f"{symbol} {name} {version}: bundle {known.sha256[:12]}… here, {entry.sha256[:12]}… in "
                    f"{source.folder}; register it there under another number"
                )
            reports = verified_reports(source.folder, self.folder, (known or fresh).evidence)
            if known is None:
                self._add(manifest, act, version, fresh, content, "fetch")
            elif not (self.folder / known.file).exists():
                replace_file(self.folder / known.file, content)
            write_reports(reports)
        return version

    def fetch_columns(
        self, source: ModelStore, content: Any, *, signed: bool = False, by: str, now: datetime
    ) -> None:
        """Copy the models whose columns are named in `content`, a value as of JSON, where `source` has them.

        signed   its manifest must be signed, as of `fetch`; otherwise the hash in each id pins its bundle.
                 One that is not there is left out: it may be in another store
        """
        theirs = source.manifest()
        for symbol, name, version, digits in filter(None, map(read_column_id, columns_in(content))):
            entry = theirs.instruments.get(symbol, {}).get(name, ModelEntry()).versions.get(version)
            if entry is not None and entry.sha256.startswith(digits):
                pinned = None if signed else entry.sha256
                self.fetch(source, symbol, version, sha256=pinned, name=name, by=by, now=now)

    def _pinned(self, source: ModelStore, sha256: str | None) -> tuple[Manifest, str]:
        """Return the manifest of another store, and by what its bundles are pinned, for the history."""
        if sha256 is not None:
            return source.manifest(), "pinned by SHA-256"
        manifest, key = signed_manifest(source.folder, self.folder)
        signed, number = f"signed with the key of {key} at entry ", len(manifest.history)
        told = [each.reason for each in self.manifest().history if each.action == "fetch"]
        newest = max((int(each.removeprefix(signed)) for each in told if each.startswith(signed)), default=0)
        if number < newest:
            raise VerbRefused(
                f"{source.folder}: its history ends with entry {number}, and entry {newest} was seen before: "
                "an older manifest; if it was restored from a backup, pin the bundle with --sha256"
            )
        return manifest, f"{signed}{number}"

    def _add(
        self, manifest: Manifest, act: Act, version: str, entry: VersionEntry, content: bytes, action: Action
    ) -> None:
        """Write bundle and manifest; where the second fails, the first is taken back."""
        path = self.folder / entry.file
        if path.exists() and not _holds(path, content):
            raise VerbRefused(f"{path}: exists, but is not in the manifest; move it away")
        done = verbs.registered(manifest, act, version, entry, action)
        replace_file(path, content)
        try:
            write_manifest(self.folder, done)
        except StoreFailure:
            path.unlink(missing_ok=True)
            raise

    def content(self, entry: VersionEntry) -> bytes:
        """Return the bytes of a version's file; a BundleRefused where it is not the registered one."""
        return verified_content(
            self.folder / entry.file, expected_sha256=entry.sha256, expected_size=entry.size
        )

    def attach(
        self, symbol: str, version: str, evidence: Evidence, *, by: str, now: datetime, name: str = VETO
    ) -> None:
        """Add evidence to a version; VerbRefused where it is about another bundle."""
        act = Act(symbol=symbol, name=name, by=by, now=now)
        with locked(self.folder):
            done = verbs.attached(self.manifest(), act, version, evidence, self.policy())
            write_manifest(self.folder, done)

    def promote(
        self, symbol: str, version: str, *, by: str, now: datetime, reason: str = "", force: bool = False,
        name: str = VETO, objections: Sequence[str] = (), ledger: LedgerStamp | None = None,
    ) -> Change:  # fmt: skip
        """Make a version the one in production, and say what changed.

        EvidenceMissing where the policy asks for more, or there are `objections` beside it: `force`, with a
        reason, sets that aside and is recorded. ledger   where the trial ledger stands
        """
        act = Act(symbol=symbol, name=name, by=by, now=now, reason=reason, ledger=ledger)
        with locked(self.folder):
            done, change = verbs.promoted(
                self.manifest(), act, version, self.policy(), force=force, objections=objections
            )
            self.content(done.entry(symbol, change.version, name))
            write_manifest(self.folder, done)
        return change

    def rollback(
        self, symbol: str, *, to: str | None = None, by: str, now: datetime, reason: str, name: str = VETO
    ) -> Change:
        """Go back to `to`, by default to what was in production before, and say what changed."""
        act = Act(symbol=symbol, name=name, by=by, now=now, reason=reason)
        with locked(self.folder):
            done, change = verbs.rolled_back(self.manifest(), act, self.policy(), to=to)
            self.content(done.entry(symbol, change.version, name))
            write_manifest(self.folder, done)
        return change

    def retire(
        self, symbol: str, version: str, *, by: str, now: datetime, reason: str, name: str = VETO
    ) -> Change:
        """Withdraw a version that is not in production, for good; its file stays."""
        act = Act(symbol=symbol, name=name, by=by, now=now, reason=reason)
        with locked(self.folder):
            done, change = verbs.retired(self.manifest(), act, version)
            write_manifest(self.folder, done)
        return change

    def used(self, symbol: str, version: str = PRODUCTION, *, now: datetime, name: str = VETO) -> None:
        """Count that a version was taken into use."""
        act = Act(symbol=symbol, name=name, by="", now=now)
        with locked(self.folder):
            write_manifest(self.folder, verbs.used(self.manifest(), act, version))


# What the manifest repeats of a bundle; a foreign one could say something else.
_REPEATED = (
    "target", "feature_ids", "fingerprints", "strategy", "threshold", "training_range", "metrics", "task",
    "output", "horizon",
)  # fmt: skip
_RECORDED = ("code_hash", "config", "data_hashes", "seed")


def _fetchable(source: ModelStore, act: Act, version: str, entry: VersionEntry, sha256: str | None) -> bytes:
    """Return the content of a bundle of another store that is what its entry, and the caller, say it is."""
    from lockstep.models.bundle import bundle_of

    what = f"{act.symbol} {act.name} {version}"
    if sha256 not in (None, entry.sha256):
        raise HashMismatch(
            f"{what}: SHA-256 {entry.sha256[:12]}… in {source.folder}, pinned is {str(sha256)[:12]}…; find "
            "out which bundle is meant"
        )
    if entry.status == "retired":
        raise VerbRefused(f"{what}: is retired in {source.folder}; fetch another version")
    if entry.file != bundle_file(act.symbol, act.name, version):
        raise VerbRefused(f"{what}: file {entry.file!r} in {source.folder}: is another version's name")
    content = source.content(entry)
    bundle = bundle_of(content, entry.file, symbol=act.symbol)
    told = entry_of(
        bundle, content, file=entry.file, record=entry.record, parent=None, supersedes=None,
        supersedes_reason="",
    )  # fmt: skip
    recorded = entry.record.model_dump(mode="json").get
    differing = [each for each in _REPEATED if getattr(entry, each) != getattr(told, each)]
    differing += [each for each in _RECORDED if bundle.training.get(each, recorded(each)) != recorded(each)]
    if differing or bundle.name != act.name:
        raise VerbRefused(
            f"{what}: {', '.join(differing or ['name'])}: the manifest of {source.folder} says other than "
            "the bundle; register it again there"
        )
    return content


def load_bundle(
    symbol: str,
    version: str = PRODUCTION,
    *,
    store: ModelStore | None = None,
    name: str = VETO,
    registry: FeatureRegistry | None = None,
) -> Bundle:
    """Return a bundle of the store (None: the default one) that can be used as it is, here and now.

    Checked in this order: the manifest's entry, a Git LFS pointer, size, SHA-256, a bundle of a known schema,
    its symbol, the libraries, the pipeline, the features' definitions, the golden vectors. A feature whose
    source has changed but not its values sets `needs_certificate`.

    Raises: UnknownModel, ManifestError, or a BundleRefused that says what to do.
    """
    from lockstep.models.bundle import bundle_of
    from lockstep.models.definitions import changed_features
    from lockstep.models.golden import verify_golden
    from lockstep.models.model_column import remember

    store = store or ModelStore()
    remember(store.folder)
    manifest = store.manifest()
    resolved = manifest.resolve(symbol, version, name)
    entry = manifest.entry(symbol, resolved, name)
    bundle = bundle_of(store.content(entry), entry.file, symbol=symbol)
    changed = changed_features(bundle, entry.file, registry=registry)
    verify_golden(bundle.golden, bundle.feature_ids, bundle.pipeline, output=bundle.output, registry=registry)
    return replace(bundle, version=resolved, changed_features=changed)


def _training_record(values: Mapping[str, Any]) -> TrainingRecord:
    return validated(TrainingRecord, values, where="training record")
