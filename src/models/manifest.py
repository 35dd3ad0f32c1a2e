"""`Manifest`: which models exist, which is in production, and who changed that when and why.

    instruments -> symbol -> model name -> production, versions -> v1, v2 …
    history        every action, append-only, each entry with the hash of the one before (`chain.py`)

A frozen value; `verbs.py` makes the next one of it, `manifest_file.py` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from lockstep.errors import UnknownModel
from lockstep.models.tasks import PROBABILITY, TRADED, Output, Task
from lockstep.settings import Grown, SchemaVersion, Settings, suggestion

SCHEMA = 1
VETO = "ibs_veto"
PRODUCTION = "production"
# Both are parts of file names.
SYMBOL = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"
MODEL_NAME = r"^[a-z][a-z0-9_]*$"

Status = Literal["candidate", "validated", "production", "retired"]
Action = Literal["register", "fetch", "attach", "promote", "rollback", "retire"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^v[1-9]\d*$")]
Symbol = Annotated[str, Field(pattern=SYMBOL)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.joblib$")]


class _Part(Settings):
    model_config = ConfigDict(populate_by_name=True)


class TrainingRecord(_Part):
    """Everything needed to train the same bundle again.

    code_revision   git commit, or "" outside a checkout; code_hash: hash of the sources
    config          the training configuration, and config_path where it was read from
    data_hashes     series -> hash of its bars; data_dir: the data folder, None: embedded data
    lock_hash       hash of the file that pins the libraries; versions: of those that matter, and of python

    >>> record = TrainingRecord(
    ...     code_hash="", config={"symbol": "ES"}, data_hashes={}, seed=7, python="3.11", versions={})
    >>> record.seed
    7
    """

    code_revision: str = ""
    code_hash: str
    config: dict[str, Any]
    config_path: str = ""
    data_hashes: dict[str, str]
    data_dir: str | None = None
    seed: int
    lock_hash: str = ""
    python: str
    versions: dict[str, str]

    def bars(self, data_dir: Path | None, source: str | None) -> tuple[Path | None, str | None]:
        """Return folder and source of the bars: what is given, else those of the training.

        The recorded folder is taken with the recorded source only; a folder that is given goes with it too.
        """
        if source is not None:
            return data_dir, source
        recorded = None if self.data_dir is None else Path(self.data_dir)
        return data_dir or recorded, (self.config.get("data") or {}).get("source")


class BarRange(_Part):
    """Bars of one series: ends (UTC ns) of the first and the last one, and the hash of all of them."""

    first: int
    last: int
    hash: str


class BarsRead(_Part):
    """Which bars something rests on, by series, and from where: as it was given, None by default."""

    data_dir: str | None = None
    source: str | None = None
    series: dict[str, BarRange] = Field(default_factory=dict)


class Evidence(_Part, Grown):
    """A verdict on exactly one bundle.

    kind      `validation`, `certificate`, `reference`, `paper` or `forward`: what a policy requires
    file      name of the report, and file_sha256 its hash, or ""
    expires   time after which it no longer counts; None: never
    hashes    of its other inputs: data, configuration, code, instruments
    symbols, sources   names in instruments.yml that the hash `instruments` covers
    issued    time it was issued; newest_bar   end of its newest bar
    counts    its size: a certificate has `bars`, `sessions`, `trades`, `restarts`
    data      the bars that it covers: appended bars void nothing, revised ones do

    >>> Evidence(kind="validation", passed=False, bundle_sha256="0" * 64).passed
    False
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"symbols", "sources", "issued", "newest_bar", "counts", "data"}
    )

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    passed: bool
    bundle_sha256: Sha256
    file: str = ""
    file_sha256: str = ""
    expires: AwareDatetime | None = None
    hashes: dict[str, str] = Field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    issued: AwareDatetime | None = None
    newest_bar: AwareDatetime | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    data: BarsRead | None = None


class UseStatistics(_Part):
    """How often a version was taken into use, and when first and last."""

    count: int = 0
    first: AwareDatetime | None = None
    last: AwareDatetime | None = None


class VersionEntry(_Part, Grown):
    """One immutable bundle, and what happened to it.

    file, sha256, size   the bundle beside the manifest
    target               what the probability is the chance of, or what the value is; "" without a model
    threshold            least probability of an entry; None: there is no veto
    task, output, horizon   what the model answers, see `tasks.py`
    training_range       first and last day of the training data, ISO
    metrics              by name; null where not finite
    parent               version it was derived from; supersedes: production when it was registered, and why
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"task", "output", "horizon"})

    status: Status = "candidate"
    file: FileName
    sha256: Sha256
    size: int
    target: str
    feature_ids: tuple[str, ...]
    fingerprints: dict[str, str]
    strategy: dict[str, Any]
    threshold: float | None
    training_range: tuple[str, str] | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    parent: Version | None = None
    supersedes: Version | None = None
    supersedes_reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    record: TrainingRecord
    use: UseStatistics = UseStatistics()
    task: Task = TRADED
    output: Output = PROBABILITY
    horizon: int = 0

    @property
    def of_zoo(self) -> bool:
        """Whether it is a model of the zoo, which specs read and nothing trades."""
        return self.task != TRADED


class ModelEntry(_Part):
    """All versions of one model of one instrument, by version, and which is in production."""

    production: Version | None = None
    versions: dict[Version, VersionEntry] = Field(default_factory=dict)

    def with_versions(self, changed: Mapping[str, VersionEntry]) -> ModelEntry:
        """Return a copy in which some versions are new or others; they stay in the order of their numbers."""
        versions = sorted({**self.versions, **changed}.items(), key=lambda item: int(item[0][1:]))
        return self.model_copy(update={"versions": dict(versions)})


class LedgerStamp(_Part):
    """Where the trial ledger stood at a promotion: what a later one compares its own ledger with.

    id, head      hashes of the first and the newest link of its chain
    links         number of links; trials   that were counted by then

    >>> str(LedgerStamp(id="a" * 64, head="b" * 64, links=3, trials=1200))[-22:]
    ', 3 links, 1200 trials'
    """

    id: Sha256
    head: Sha256
    links: Annotated[int, Field(ge=1)]
    trials: Annotated[int, Field(ge=0)]

    def __str__(self) -> str:
        return f"id {self.id}, head {self.head}, {self.links} links, {self.trials} trials"


class HistoryEntry(_Part, Grown):
    """One action: who did what, when and why.

    before, after   production pointer (`from` and `to` in the file)
    sha256          of the bundle it was about
    overruled       what `--force` set aside
    state           hash of all instruments after the action, use statistics left out
    previous, hash  of the entry before ("" for the first), and of this one
    ledger          where the trial ledger stood; None for what does not ask it
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"ledger"})

    number: int
    time: AwareDatetime
    by: str
    action: Action
    symbol: Symbol
    name: ModelName
    version: Version
    before: Version | None = Field(alias="from")
    after: Version | None = Field(alias="to")
    reason: str = ""
    overruled: tuple[str, ...] = ()
    sha256: Sha256
    state: Sha256
    previous: str
    hash: str
    ledger: LedgerStamp | None = None

    def __str__(self) -> str:
        return f"history entry {self.number} ({self.action} {self.symbol} {self.version})"


class Manifest(_Part):
    """The manifest file: all versions by instrument and name, and their history.

    >>> Manifest().instruments
    {}
    """

    schema_version: SchemaVersion = SCHEMA
    instruments: dict[Symbol, dict[ModelName, ModelEntry]] = Field(default_factory=dict)
    history: tuple[HistoryEntry, ...] = ()

    def model(self, symbol: str, name: str = VETO) -> ModelEntry:
        """Return the versions of a model; UnknownModel with the nearest name where there is none."""
        _require_known(self.instruments, symbol, "instrument")
        _require_known(self.instruments[symbol], name, f"{symbol}: model")
        return self.instruments[symbol][name]

    def resolve(self, symbol: str, version: str = PRODUCTION, name: str = VETO) -> str:
        """Return the version that is meant: `v2` or the one in production; UnknownModel where it is not."""
        model = self.model(symbol, name)
        if version != PRODUCTION:
            _require_known(model.versions, version, f"{symbol} {name}: version")
            return version
        if model.production is None:
            raise UnknownModel(
                f"{symbol} {name}: no version is in production; promote one of {', '.join(model.versions)}"
            )
        return model.production

    def entry(self, symbol: str, version: str = PRODUCTION, name: str = VETO) -> VersionEntry:
        """Return the record of a version; UnknownModel where there is none."""
        return self.model(symbol, name).versions[self.resolve(symbol, version, name)]

    def with_model(self, symbol: str, name: str, model: ModelEntry) -> Manifest:
        """Return a copy with other versions of one model; instruments and names stay sorted."""
        models = dict(sorted({**self.instruments.get(symbol, {}), name: model}.items()))
        instruments = dict(sorted({**self.instruments, symbol: models}.items()))
        return self.model_copy(update={"instruments": instruments})


def _require_known(found: Mapping[str, object], name: str, what: str) -> None:
    if name not in found:
        raise UnknownModel(f"{what} {name!r}: not in the manifest{suggestion(name, found)}")
