"""`ModelZoo`: what is asked for twice is trained once, also when eight processes ask at once.

A build has a hash of everything that it depends on. Its row in the ledger's database is unique by that hash
and by the store, and is written under a lock in the store's folder, so that whoever asks meanwhile waits and
then finds it. A process that is killed leaves either nothing, or a version without a row: the next one
trains the same bytes again, finds them in the store, and writes the row. Each training is a trial.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Row, select

from lockstep.errors import LockstepError, StoreFailure, VerbRefused
from lockstep.identity import json_digest
from lockstep.market.families import load_families
from lockstep.models.bundle import Bundle, bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.manifest import Manifest, VersionEntry
from lockstep.models.model_column import remember
from lockstep.models.store import ModelStore, column_id
from research.ledger.chain import hold
from research.ledger.doors import open_door
from research.ledger.ledger import Ledger, Trials
from research.ledger.tables import FAILED, OK
from research.ledger.zoo_tables import ModelBuildRow
from research.zoo.bundling import ModelBuild, built
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec

KIND = "zoo"
"""Of the trials of the ledger that trainings of the zoo are."""

_DIGITS = 32
_LONGEST_SECONDS = 3_600


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """A version that answers what was asked.

    column    id under which a spec reads it, `model:COMP_volatility_h1@v3#3f2a9c1b04de`
    created   whether it was trained by this call; remarks: what the ledger has to say of its bars
    """

    symbol: str
    name: str
    version: str
    sha256: str
    created: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """Id of its column."""
        return column_id(self.symbol, self.version, self.sha256, name=self.name)


@dataclass(frozen=True, kw_only=True)
class ModelZoo:
    """A store with the ledger that counts its trainings; by: who acts, for the store's history.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.market.dates import DateRange
    >>> from lockstep.market.loader import load_history
    >>> from research.ledger.database import Database
    >>> bars = LearningBars.of(
    ...     load_history("COMP"), SeriesKey("COMP", DAILY), DateRange.of("2005-01-03", "2008-12-31"))
    >>> spec = ModelSpec(
    ...     task="volatility", features=("ibs", "range_atr_14"), parameters={"max_iter": 5})
    >>> with TemporaryDirectory() as folder:
    ...     ledger = Ledger(Database.open(f"sqlite:///{folder}/trials.db"))
    ...     zoo = ModelZoo(store=ModelStore(Path(folder) / "store"), ledger=ledger)
    ...     once, again = (zoo.get_or_create_model(spec, bars) for _ in range(2))
    >>> once.version, once.created, again.created, once.column == again.column
    ('v1', True, False, True)
    """

    store: ModelStore
    ledger: Ledger
    by: str = "zoo"
    now: Callable[[], datetime] = field(default=utc_now)

    def get_or_create_model(
        self,
        spec: ModelSpec,
        bars: LearningBars,
        *,
        measured: bool = True,
        parent: str | None = None,
        note: str = "",
        data_dir: str | None = None,
        source: str | None = None,
    ) -> ZooModel:
        """Return the version that answers a spec on these bars; it is trained where there is none.

        bars       all of them are learned from, up to the last label that ends among them
        measured   whether a new one is judged out of fold first
        parent, note   of a new version: what it improves, and how
        data_dir, source   where the bars were read from, for the record of a new version

        Raises: TrainingError where it cannot be trained, a trial that failed; VerbRefused where the version
        was retired; StoreFailure and ExperimentError where store or database do not take it.
        """
        build = ModelBuild.of(spec, bars, measured=measured, data_dir=data_dir, source=source)
        trained = build.digest(bars)
        key = json_digest([trained, str(self.store.folder.resolve())])
        found = self._known(key)
        if found is None:
            with self._alone(key):
                # Whoever held the lock may have trained it meanwhile.
                found = self._known(key)
                if found is None:
                    found = self._trained(build, bars, trained, key, parent=parent, note=note)
        remember(self.store.folder)
        return found

    def is_counted(self, symbol: str, name: str, version: str) -> bool:
        """Whether a version has its row: what trained it may have been killed before it wrote one."""
        table = ModelBuildRow
        sha256 = self.store.manifest().entry(symbol, version, name).sha256
        same = (table.symbol == symbol, table.name == name, table.sha256 == sha256)
        with self.ledger.database.read() as connection:
            return connection.scalar(select(table.id).where(*same).limit(1)) is not None

    def _known(self, key: str) -> ZooModel | None:
        with self.ledger.database.read() as connection:
            row = connection.execute(select(ModelBuildRow.__table__).where(ModelBuildRow.key == key)).first()
        return None if row is None else self._of_row(row)

    def _of_row(self, row: Row[Any]) -> ZooModel:
        entry = self.store.manifest().entry(row.symbol, row.version, row.name)
        require_usable(entry, f"{row.symbol} {row.name} {row.version}")
        return ZooModel(symbol=row.symbol, name=row.name, version=row.version, sha256=entry.sha256)

    def _trained(
        self, build: ModelBuild, bars: LearningBars, trained: str, key: str, *, parent: str | None, note: str
    ) -> ZooModel:
        family = load_families().of(bars.history.markets[build.symbol].instrument)
        remarks = open_door(
            self.ledger, bars.history, bars.key, build.dates, purpose=f"training of {build.spec.name}",
            now=self.now(),
        )  # fmt: skip
        try:
            bundle = built(build, bars)
        except LockstepError:
            self.ledger.record(trial_of(build, family, trained, FAILED), now=self.now())
            raise
        found = self._registered(build, bars, bundle, parent, note)
        content = {
            "build": trained, "spec": build.spec.model_dump(mode="json"), "dates": str(build.dates),
            "metrics": dict(bundle.metrics), "parent": parent, "note": note,
        }  # fmt: skip
        with self.ledger.database.write() as connection:
            hold(connection)
            self.ledger.record(trial_of(build, family, trained, OK), now=self.now(), connection=connection)
            row = {
                "key": key, "symbol": found.symbol, "name": found.name, "version": found.version,
                "sha256": found.sha256, "content": json.dumps(content, sort_keys=True),
                "recorded": self.now().isoformat(timespec="seconds"),
            }  # fmt: skip
            self.ledger.append(connection, ModelBuildRow, [row])
        return ZooModel(
            symbol=found.symbol, name=found.name, version=found.version, sha256=found.sha256, created=True,
            remarks=remarks,
        )  # fmt: skip

    def _registered(
        self, build: ModelBuild, bars: LearningBars, bundle: Bundle, parent: str | None, note: str
    ) -> ZooModel:
        """Register a bundle, or find the version that it is already: of a process that was killed."""
        sha256 = sha256_of(bundle_bytes(bundle))
        version = same_bundle(self.store.manifest(), bundle.symbol, bundle.name, sha256)
        if version is None:
            version = self.store.register(
                bundle, record=build.record(bars), by=self.by, now=self.now(), parent=parent,
                supersedes_reason=note,
            )  # fmt: skip
        require_usable(
            self.store.manifest().entry(bundle.symbol, version, bundle.name),
            f"{bundle.symbol} {bundle.name} {version}",
        )
        return ZooModel(symbol=bundle.symbol, name=bundle.name, version=version, sha256=sha256)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Keep others from training the same build; sixteen locks, so that others are trained beside it."""
        folder = self.store.folder
        lock = FileLock(folder / f".zoo-{key[0]}.lock", timeout=_LONGEST_SECONDS)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise StoreFailure(
                f"{folder}: another process has trained this model for {_LONGEST_SECONDS} s; wait, or end it"
            ) from error
        except OSError as error:
            raise StoreFailure(
                f"{folder}: cannot be locked: {error.strerror}; check its permissions"
            ) from error
        try:
            yield
        finally:
            lock.release()


def trial_of(build: ModelBuild, family: str, trained: str, status: str) -> Trials:
    """Return the trial that a training is, by the hash of everything that it depends on."""
    return Trials(
        family=family, symbol=build.symbol, dates=build.dates, kind=KIND,
        evaluations={trained[:_DIGITS]: status},
    )  # fmt: skip


def same_bundle(manifest: Manifest, symbol: str, name: str, sha256: str) -> str | None:
    """Return the version whose bundle has a hash, None where there is none."""
    model = manifest.instruments.get(symbol, {}).get(name)
    known: Mapping[str, VersionEntry] = {} if model is None else model.versions
    return next((version for version, each in known.items() if each.sha256 == sha256), None)


def require_usable(entry: VersionEntry, what: str) -> None:
    """VerbRefused where a version was retired."""
    if entry.status == "retired":
        raise VerbRefused(f"{what}: it was retired and must not be used again; ask for another spec or range")
