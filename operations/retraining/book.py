"""`retraining.db`: which retraining took which step, when, by whom, and with what result. Append-only.

One row for each step of a run, never changed and never removed: triggers of the database refuse that, and
each row carries the hash of the one before, so that an edit by hand is noticed when the book is opened.
Beside them, what each look at a shadow period found; that can be derived again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from lockstep.errors import RetrainingAtWork, RetrainingError
from lockstep.identity import json_digest
from lockstep.monitoring.champion import ChallengerVerdict, ChampionComparison

APPLICATION_ID = 0x4C4F4352
SCHEMA = 2
_WITH_LOOKS = 2  # The schema since which there are looks.
RUN_DIGITS = 16
AUTO = "auto"
"""Who takes the steps that no person takes."""


class Step(StrEnum):
    """Where a run is; what follows what is in `FOLLOWING`.

    >>> Step("SHADOWING") is Step.SHADOWING, Step.REJECTED.is_end, Step.TRAINED.is_end
    (True, True, False)
    """

    TRIGGERED = "TRIGGERED"
    TRAINED = "TRAINED"
    VALIDATED = "VALIDATED"
    CERTIFIED = "CERTIFIED"
    SHADOWING = "SHADOWING"
    APPROVED = "APPROVED"
    PROMOTED = "PROMOTED"
    WATCHED = "WATCHED"
    DONE = "DONE"
    REJECTED = "REJECTED"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    MEASURED = "MEASURED"

    @property
    def is_end(self) -> bool:
        """Whether a run that is here goes no further; MEASURED is what DONE looked like 90 days later."""
        return FOLLOWING[self] <= {Step.MEASURED}


_STOPS = frozenset({Step.FAILED, Step.ABORTED})
FOLLOWING: Mapping[Step, frozenset[Step]] = {
    Step.TRIGGERED: _STOPS | {Step.TRAINED},
    Step.TRAINED: _STOPS | {Step.VALIDATED},
    Step.VALIDATED: _STOPS | {Step.CERTIFIED},
    Step.CERTIFIED: _STOPS | {Step.SHADOWING},
    Step.SHADOWING: _STOPS | {Step.APPROVED, Step.REJECTED},
    Step.APPROVED: _STOPS | {Step.PROMOTED},
    Step.PROMOTED: _STOPS | {Step.WATCHED, Step.ROLLED_BACK},
    Step.WATCHED: _STOPS | {Step.DONE, Step.ROLLED_BACK},
    Step.DONE: frozenset({Step.MEASURED}),
    **dict.fromkeys(
        (Step.REJECTED, Step.ROLLED_BACK, Step.FAILED, Step.ABORTED, Step.MEASURED), frozenset[Step]()
    ),
}
"""What may come after a step."""
ENDED_BADLY = frozenset({Step.FAILED, Step.ROLLED_BACK})
"""What somebody should look at, once it has happened."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One step of a run, as it was recorded.

    run      id of the run, see `run_id`; number: of the row, 1, 2, ...
    time     when, UTC ns; desk: up to when the monitor knew the desk by then, UTC ns, 0: not at all
    by       who, or what: a person's name, or `auto`
    inputs   what the step was made of, outputs: what it left, plain JSON: versions, paths and hashes
    sentence what happened, in words; hash: of the row and of all before it
    """

    number: int
    run: str
    symbol: str
    step: Step
    time: int
    desk: int
    by: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    sentence: str = ""
    hash: str = ""


@dataclass(frozen=True, kw_only=True)
class RetrainingRun:
    """All steps of one run so far, in their order.

    >>> row = StepRow(number=1, run="a", symbol="ES", step=Step.TRIGGERED, time=5, desk=0, by="auto",
    ...               outputs={"champion": "v1"})
    >>> run = RetrainingRun(id="a", symbol="ES", steps=(row,))
    >>> run.now, run.is_active, run.output("champion")
    (<Step.TRIGGERED: 'TRIGGERED'>, True, 'v1')
    """

    id: str
    symbol: str
    steps: tuple[StepRow, ...]

    @property
    def now(self) -> Step:
        """Where the run is."""
        return self.steps[-1].step

    @property
    def is_active(self) -> bool:
        """Whether it goes further."""
        return not self.now.is_end

    def at(self, step: Step) -> StepRow | None:
        """Return the row of a step; None where the run has not taken it."""
        return next((each for each in self.steps if each.step is step), None)

    def output(self, name: str) -> Any:
        """Return what the newest step that left something of this name left; None: none did."""
        found = [each.outputs[name] for each in self.steps if name in each.outputs]
        return found[-1] if found else None


@dataclass(frozen=True, kw_only=True)
class ShadowLook:
    """What a shadow period said when a pass looked at it: see `ChampionComparison` for the numbers.

    desk   up to when the monitor knew the desk by then, UTC ns; mean, low, high: None without a signal
    """

    run: str
    desk: int
    verdict: ChallengerVerdict
    signals: int
    e_value: float
    mean: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, run: str, desk: int, found: ChampionComparison) -> Self:
        """Return what a comparison found."""
        known = bool(found.signals)
        return cls(
            run=run, desk=desk, verdict=found.verdict, signals=found.signals, e_value=found.e_value,
            mean=found.mean if known else None, low=found.low if known else None,
            high=found.high if known else None,
        )  # fmt: skip


def awaits_approval(run: RetrainingRun, look: ShadowLook | None) -> bool:
    """Whether a challenger in shadow could be promoted by its newest look, and is not approved yet."""
    return run.now is Step.SHADOWING and look is not None and look.verdict.is_promotable


def run_id(symbol: str, kind: str, evidence: str) -> str:
    """Return what names a run: the same trigger with the same evidence is the same run, hex.

    >>> run_id("ES", "alarm", "a") == run_id("ES", "alarm", "a") != run_id("NQ", "alarm", "a")
    True
    """
    return json_digest([symbol, kind, evidence])[:RUN_DIGITS]


def mark_of(run: str) -> str:
    """Return by what the entries of a run in a model store's history begin; of "", those of all runs."""
    return f"retraining {run}"


_COLUMNS = (
    "number", "run", "symbol", "step", "time", "desk", "by", "inputs", "outputs", "sentence", "previous",
    "hash",
)  # fmt: skip
_LOOK_COLUMNS = ("run", "desk", "verdict", "signals", "e_value", "mean", "low", "high")
_LOOKS = """
CREATE TABLE looks (
    run TEXT NOT NULL, desk INTEGER NOT NULL, verdict TEXT NOT NULL, signals INTEGER NOT NULL,
    e_value REAL NOT NULL, mean REAL, low REAL, high REAL, PRIMARY KEY (run, desk)
) STRICT, WITHOUT ROWID;
"""
_DDL = f"""
CREATE TABLE steps (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, symbol TEXT NOT NULL, step TEXT NOT NULL,
    time INTEGER NOT NULL, desk INTEGER NOT NULL, by TEXT NOT NULL, inputs TEXT NOT NULL,
    outputs TEXT NOT NULL, sentence TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
    UNIQUE (run, step)
) STRICT;
CREATE TRIGGER steps_no_update BEFORE UPDATE ON steps
BEGIN SELECT RAISE(ABORT, 'rows of a book of retrainings are never changed'); END;
CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps
BEGIN SELECT RAISE(ABORT, 'rows of a book of retrainings are never removed'); END;
{_LOOKS}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA};
"""


class RetrainingBook:
    """A book of retrainings, opened to write or to read; its chain is verified when it is opened."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, readonly: bool = False) -> Iterator[Self]:
        """Open the file; a writer makes it where it is missing, a reader finds an empty book there.

        RetrainingError where the file is something else, is damaged or busy, or a row is not what was
        written.
        """
        if readonly and not path.is_file():
            yield cls(path, None)
            return
        try:
            with closing(_connected(path, readonly=readonly)) as connection:
                if not readonly:
                    _prepare(connection)
                _require_ours(path, connection)
                if not readonly:
                    _upgrade(connection)
                book = cls(path, connection)
                book.rows()
                yield book
        except sqlite3.Error as error:
            raise RetrainingError(
                f"{path}: {error}; free the disk or the file, or restore it from a backup, and run again"
            ) from error

    def rows(self) -> tuple[StepRow, ...]:
        """Return all rows in their order; RetrainingError where one is not what was written."""
        if self._connection is None:
            return ()
        query = f"SELECT {', '.join(_COLUMNS)} FROM steps ORDER BY number"
        previous, found = "", []
        for number, values in enumerate(self._connection.execute(query).fetchall(), 1):
            row = dict(zip(_COLUMNS, values, strict=True))
            if (row["number"], row["previous"], row["hash"]) != (number, previous, _hash_of(row)):
                raise RetrainingError(
                    f"{self.path}: row {row['number']} ({row['run']} {row['step']}) is not what was written: "
                    "its hash does not fit; restore the file from a backup"
                )
            previous = row["hash"]
            found.append(_row(row))
        return tuple(found)

    def looks(self) -> tuple[ShadowLook, ...]:
        """Return the looks at all shadow periods, by run and time; a book of older times has none."""
        if self._connection is None or _schema(self._connection) < _WITH_LOOKS:
            return ()
        query = f"SELECT {', '.join(_LOOK_COLUMNS)} FROM looks ORDER BY run, desk"
        found = self._connection.execute(query).fetchall()
        rows = (dict(zip(_LOOK_COLUMNS, row, strict=True)) for row in found)
        return tuple(ShadowLook(**{**row, "verdict": ChallengerVerdict(row["verdict"])}) for row in rows)

    def looked(self, look: ShadowLook) -> None:
        """Keep what a look found, in place of an earlier one at the same moment of the desk."""
        if self._connection is None:
            raise RetrainingError(f"{self.path}: was opened to be read; open it to write")
        query = f"INSERT OR REPLACE INTO looks VALUES ({', '.join('?' * len(_LOOK_COLUMNS))})"
        self._connection.execute(query, [getattr(look, name) for name in _LOOK_COLUMNS])

    def runs(self) -> tuple[RetrainingRun, ...]:
        """Return all runs, in the order in which they began."""
        return runs_of(self.rows())

    def run(self, name: str) -> RetrainingRun:
        """Return the run that an id, or the beginning of one, names; RetrainingError for none or several."""
        found = [each for each in self.runs() if each.id.startswith(name)]
        if len(found) != 1 or not name:
            known = ", ".join(each.id for each in self.runs()) or "none"
            raise RetrainingError(f"run {name!r}: names {len(found)} runs of {self.path}; there are {known}")
        return found[0]

    def append(self, row: StepRow) -> RetrainingRun:
        """Record a step, and return its run; number and hash are given here.

        What the run has recorded already is left as it is. RetrainingError where the step does not follow the
        run's last one, or its symbol has another run that has not ended.
        """
        if self._connection is None:
            raise RetrainingError(f"{self.path}: was opened to be read; open it to write")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            rows = self.rows()
            if not any((each.run, each.step) == (row.run, row.step) for each in rows):
                _require_follows(self.path, row, runs_of(rows))
                self._insert(row, rows)
        except BaseException:
            # A full disk has rolled it back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return next(each for each in self.runs() if each.id == row.run)

    def _insert(self, row: StepRow, rows: Sequence[StepRow]) -> None:
        content = {
            "number": len(rows) + 1, "run": row.run, "symbol": row.symbol, "step": str(row.step),
            "time": row.time, "desk": row.desk, "by": row.by, "inputs": _text(row.inputs),
            "outputs": _text(row.outputs), "sentence": row.sentence,
            "previous": rows[-1].hash if rows else "",
        }  # fmt: skip
        values = [*content.values(), _hash_of(content)]
        assert self._connection is not None
        self._connection.execute(f"INSERT INTO steps VALUES ({', '.join('?' * len(values))})", values)


def runs_of(rows: Sequence[StepRow]) -> tuple[RetrainingRun, ...]:
    """Return rows by run, in the order in which the runs began."""
    found: dict[str, list[StepRow]] = {}
    for each in rows:
        found.setdefault(each.run, []).append(each)
    return tuple(RetrainingRun(id=run, symbol=own[0].symbol, steps=tuple(own)) for run, own in found.items())


@contextmanager
def only_retraining(path: Path) -> Iterator[None]:
    """Be the one process that takes steps while the block runs; RetrainingAtWork where another is."""
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RetrainingAtWork(
            f"{path}: another retraining is running; let it end, then run this again"
        ) from None
    except OSError as error:
        raise RetrainingError(
            f"{path}: cannot be locked for writing: {error.strerror}; free the disk or change the rights"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _connected(path: Path, *, readonly: bool) -> sqlite3.Connection:
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(path, isolation_level=None, timeout=60.0)
    # A reader of a book that nobody writes leaves no file beside it.
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.is_file() and log.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=60.0)


def _prepare(connection: sqlite3.Connection) -> None:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not objects:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE;{_DDL}COMMIT;")
    connection.execute("PRAGMA synchronous = FULL")


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    number = _schema(connection)
    if application != APPLICATION_ID:
        raise RetrainingError(f"{path}: is no book of retrainings; name another file")
    if not 1 <= number <= SCHEMA:
        raise RetrainingError(
            f"{path}: has schema {number}, this version writes {SCHEMA}; use the version that wrote it"
        )


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(connection: sqlite3.Connection) -> None:
    if _schema(connection) < _WITH_LOOKS:
        connection.executescript(f"BEGIN IMMEDIATE;{_LOOKS}PRAGMA user_version = {SCHEMA};COMMIT;")


def _require_follows(path: Path, row: StepRow, runs: Sequence[RetrainingRun]) -> None:
    own = next((each for each in runs if each.id == row.run), None)
    if own is None:
        if row.step is not Step.TRIGGERED:
            raise RetrainingError(f"{path}: run {row.run} cannot begin with {row.step}; begin it first")
        other = next((each for each in runs if each.symbol == row.symbol and each.is_active), None)
        if other is not None:
            raise RetrainingError(
                f"{row.symbol}: run {other.id} is {other.now}; let it end, or end it: lockstep retrain "
                f"abort {other.id}"
            )
    elif row.step not in FOLLOWING[own.now]:
        raise RetrainingError(f"{path}: run {row.run} is {own.now}, and {row.step} does not follow that")


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _hash_of(row: Mapping[str, Any]) -> str:
    return json_digest({name: row[name] for name in _COLUMNS if name != "hash"})


def _row(row: Mapping[str, Any]) -> StepRow:
    return StepRow(
        number=row["number"], run=row["run"], symbol=row["symbol"], step=Step(row["step"]), time=row["time"],
        desk=row["desk"], by=row["by"], inputs=json.loads(row["inputs"]), outputs=json.loads(row["outputs"]),
        sentence=row["sentence"], hash=row["hash"],
    )  # fmt: skip
