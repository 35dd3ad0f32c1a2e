"""`MLBackgroundWorker`: improves a model of the zoo step by step, and releases what wins on the sealed tail.

It proposes and scores out of fold on the bars before the tail. A challenger that is better there by so much
that the tail should show it is an attempt, counted before the tail is read; then the bars are loaded whole,
the rule of `release.py` decides, and they are let go again. Every step is a row: a worker that is killed goes
on from there with the same rows. It moves no production pointer.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, field_validator
from scipy.stats import norm

from lockstep.errors import LockstepError, TrainingError
from lockstep.features.columns import source_keys
from lockstep.identity import ZOO, code_hash, json_digest
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.timeframe import Timeframe
from lockstep.models.store import ModelStore
from lockstep.settings import Settings
from research.ledger.ledger import Trials
from research.ledger.tables import FAILED, OK
from research.splits.ranges import training_end
from research.utils.at_work import only_one
from research.zoo.bundling import ModelBuild, build_of
from research.zoo.improving import START, ImprovementLoop, ModelProposal, catalogue_of
from research.zoo.journal import (
    BEGUN,
    ENDED,
    PROPOSED,
    RELEASED,
    SCORED,
    TESTED,
    Content,
    WorkerJournal,
    attempts,
    runs,
)
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec, Task
from research.zoo.release import TailTest, level, on_tail, tail_begin
from research.zoo.zoo import KIND, ModelZoo, ZooModel

FIRST = ("ibs", "range_atr_14", "ret_5")
_DIGITS = 32
# Ten rounds of shallow trees: cautious, and far from all that there is to be learned.
_SMALL = {"max_iter": 10, "max_depth": 2, "learning_rate": 0.1}
_OTHER = "its bars, settings or code are others now"


class WorkerSettings(Settings):
    """What the worker improves, on which bars, and how much it may spend.

    steps         proposals of a run, 1 to 1,000; cpu_seconds: after which no further step is begun, above 0
    start, end    first and last session date that is learned from; None: the first bar, two thirds of the way
    estimators    that it may choose from
    features      ids that it may add; empty: all examples of the catalogue that the bars have
    first         what v1 is where there is no version yet; None: a small model of three features
    boldness      1: an attempt where the tail should show the difference in half of the cases; less is
                  bolder, 0 attempts whatever is better out of fold
    """

    symbol: str
    task: Task = "volatility"
    horizon: Annotated[int, Field(ge=1, le=20)] = 1
    timeframe: str = "1d"
    steps: Annotated[int, Field(ge=1, le=1_000)] = 30
    cpu_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    seed: int = 1
    start: date | None = None
    end: date | None = None
    data_dir: str | None = None
    source: str | None = None
    estimators: tuple[str, ...] = ("hist_gradient_boosting", "random_forest", "logistic")
    features: tuple[str, ...] = ()
    first: ModelSpec | None = None
    boldness: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0

    @field_validator("estimators")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            if each not in START:
                raise ValueError(f"estimators: {each!r}: must be one of {', '.join(START)}")
        return given

    @property
    def name(self) -> str:
        """Name of the model in the manifest."""
        return f"{self.task}_h{self.horizon}"

    @property
    def slot(self) -> str:
        """What a run is about, `COMP_volatility_h1`."""
        return f"{self.symbol}_{self.name}"

    @property
    def begins_with(self) -> ModelSpec:
        """The spec of v1 where there is no version yet."""
        if self.first is not None:
            return self.first
        chosen = self.estimators[0]
        parameters = _SMALL if chosen == "hist_gradient_boosting" else START[chosen]
        return ModelSpec(
            task=self.task, horizon=self.horizon, features=FIRST, estimator=chosen, parameters=parameters
        )

    def bars(self) -> LearningBars:
        """Read the training bars, none after them; NoBars, DataError or ConfigError where there are none."""
        folder = None if self.data_dir is None else Path(self.data_dir)
        frame = Timeframe.parse(self.timeframe)
        book = load_instruments()
        end = self.end
        if end is None:
            whole = load_bars(self.symbol, folder, timeframe=frame, book=book, source=self.source)
            session = book.market(self.symbol).session
            first, last = session.dates(whole.end[[0, -1]], frame).astype("datetime64[D]").tolist()
            end = training_end(first, last)
        history = load_history(self.symbol, folder, timeframe=frame, end=end, book=book, source=self.source)
        return LearningBars.of(history, SeriesKey(self.symbol, frame), DateRange.of(self.start, end))


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """What a run did: steps that were taken, versions that were released, the champion, why it ended."""

    run: str
    steps: int
    attempts: int
    released: tuple[str, ...]
    champion: str
    reason: str


@dataclass
class _State:
    """Where a run is: the champion and its version, the best spec so far, what was tried."""

    champion: ModelSpec
    version: str
    best: ModelSpec
    tried: set[str] = field(default_factory=set)
    attempts: int = 0
    released: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class MLBackgroundWorker:
    """Takes the steps of a run, or goes on with one that was killed; one worker at a time on a store.

    load      reads the training bars, the tail included; of them the loop gets those before the tail
    clock     CPU seconds that were spent, for the budget
    """

    zoo: ModelZoo
    settings: WorkerSettings
    load: Callable[[], LearningBars] | None = None
    clock: Callable[[], float] = time.process_time

    def once(self) -> WorkerReport:
        """Take the steps of one run, up to its budget, and return what it did.

        TrainingError where another worker is at work, or there are too few bars; what the zoo raises.
        """
        with only_worker(self.zoo.store.folder, self.settings.slot):
            return _Run.begun(self).taken()

    def bars(self) -> LearningBars:
        """Return the training bars, the tail included."""
        return (self.load or self.settings.bars)()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    worker: MLBackgroundWorker
    journal: WorkerJournal
    loop: ImprovementLoop
    family: str
    begin: Content
    tail: int
    spent: float

    @classmethod
    def begun(cls, worker: MLBackgroundWorker) -> Self:
        """Begin a run, or find the one that was killed; one of other bars or code is ended first."""
        spent = worker.clock()
        whole = worker.bars()
        tail = tail_begin(whole)
        head = whole.until(tail)
        family = load_families().of(whole.history.markets[whole.key.symbol].instrument)
        journal, begin = _journal(worker, whole, head)
        # From here on nothing holds the bars of the tail.
        del whole
        settings = worker.settings
        loop = ImprovementLoop(
            bars=head, seed=seed_of(settings.seed, journal.run), estimators=settings.estimators,
            catalogue=begin["catalogue"],
        )  # fmt: skip
        return cls(
            worker=worker, journal=journal, loop=loop, family=family, begin=begin, tail=tail, spent=spent
        )

    def taken(self) -> WorkerReport:
        """Take all steps."""
        spec = ModelSpec.model_validate(self.begin["champion"])
        state = _State(champion=spec, version=self.begin["version"], best=spec, tried={spec.digest})
        reason, number = "steps", 0
        for number in range(1, self.worker.settings.steps + 1):
            if self.worker.clock() - self.spent > self.worker.settings.cpu_seconds:
                reason, number = "budget", number - 1
                break
            if not self._step(number, state):
                reason, number = "nothing left to propose", number - 1
                break
        self.journal.step(
            number + 1, ENDED, lambda: {"reason": reason, "steps": number, "released": state.released}
        )
        return WorkerReport(
            run=self.journal.run, steps=number, attempts=state.attempts, released=tuple(state.released),
            champion=state.version, reason=reason,
        )  # fmt: skip

    def _step(self, number: int, state: _State) -> bool:
        made = self.journal.step(number, PROPOSED, lambda: self._proposed(number, state))
        if "spec" not in made:
            return False
        spec = ModelSpec.model_validate(made["spec"])
        state.tried.add(spec.digest)
        found = self.journal.step(number, SCORED, lambda: self._scored(spec, state))
        if not found["better"]:
            return True
        state.best = spec
        if found["attempt"]:
            state.attempts += 1
            self._attempt(number, spec, made, state)
        return True

    def _proposed(self, number: int, state: _State) -> Content:
        found: ModelProposal | None = self.loop.propose(number, state.best, state.tried)
        if found is None:
            return {"reason": "nothing left to propose"}
        return {"spec": found.spec.model_dump(mode="json"), "move": found.move, "change": found.change}

    def _scored(self, spec: ModelSpec, state: _State) -> Content:
        """Score a spec, a trial, against the champion and the best so far; never on the tail."""
        try:
            scored = self.loop.scored(spec)
        except LockstepError as error:
            self._count(spec, FAILED)
            return {"better": False, "attempt": False, "failed": str(error)}
        self._count(spec, OK)
        against, newer = self.loop.compared(spec, state.champion)
        best = (against, newer)
        if state.best != state.champion:
            best = self.loop.compared(spec, state.best)
        better = all(each.difference > 0.0 for each in (against, newer, *best))
        found = {
            "loss": float(scored.loss.mean()), "constant": float(scored.constant.mean()),
            "bars": against.n, "difference": _number(against.difference), "z": _number(against.z),
            "newer_z": _number(newer.z), "better": better,
        }  # fmt: skip
        return found | {"attempt": better and min(newer.z, against.z) >= self._least(newer.n)}

    def _least(self, scored: int) -> float:
        """Return the z out of fold from which the tail should show a difference in half of the cases."""
        with self.worker.zoo.ledger.database.read() as connection:
            made = attempts(self.worker.zoo.ledger, connection, self.family, self.worker.settings.task)
        tail = max(1, self.begin["tail"])
        asked = float(norm.isf(level(made + 1)))
        return self.worker.settings.boldness * asked * math.sqrt(max(1.0, scored / tail))

    def _count(self, spec: ModelSpec, status: str) -> None:
        head, zoo = self.loop.bars, self.worker.zoo
        build = ModelBuild.of(spec, head)
        trial = json_digest([build.digest(head), "out of fold"])[:_DIGITS]
        trials = Trials(
            family=self.family, symbol=build.symbol, dates=head.dates, kind=KIND, evaluations={trial: status}
        )
        zoo.ledger.record(trials, now=zoo.now())

    def _attempt(self, number: int, spec: ModelSpec, made: Content, state: _State) -> None:
        """Test a challenger on the tail, and release it where it wins; all of it written once."""
        reserved = self.journal.reserve(
            number, self.family, self.worker.settings.task,
            lambda attempt: {
                "level": level(attempt), "champion": state.version, "spec": spec.model_dump(mode="json"),
                "move": made["move"], "change": made["change"],
            },
        )  # fmt: skip
        tested = self.journal.read(number, TESTED)
        released = self.journal.read(number, RELEASED)
        if tested is None:
            bars = self.worker.bars()
            test = on_tail(bars, spec, state.champion)
            wins = test.wins(reserved["level"])
            tested = _written(test, wins)
            if wins:
                note = improvement_note(made["change"], test, reserved)
                model = self._released(spec, bars, state.version, note)
                released = {"version": model.version, "column": model.column, "note": note}
            self.journal.conclude(number, self.worker.settings.symbol, reserved, tested, released)
        if released is not None:
            state.champion, state.version, state.best = spec, released["version"], spec
            state.released.append(released["version"])

    def _released(self, spec: ModelSpec, bars: LearningBars, parent: str, note: str) -> ZooModel:
        settings = self.worker.settings
        return self.worker.zoo.get_or_create_model(
            spec, bars, parent=parent, note=note, data_dir=settings.data_dir, source=settings.source
        )


def _journal(
    worker: MLBackgroundWorker, whole: LearningBars, head: LearningBars
) -> tuple[WorkerJournal, Content]:
    """Return the journal of a run that was killed, or of a new one, and how it began."""
    settings, zoo = worker.settings, worker.zoo
    same = json_digest(
        [
            settings.model_dump(mode="json"), code_hash(ZOO), whole.bars.content_hash, str(whole.dates),
            str(zoo.store.folder.resolve()),
        ]
    )  # fmt: skip
    known = runs(zoo.ledger, settings.slot)
    for run, begin, ended in known:
        if ended:
            continue
        journal = WorkerJournal(ledger=zoo.ledger, run=run, now=zoo.now)
        if begin["same"] == same:
            return journal, begin
        journal.step(settings.steps + 2, ENDED, lambda: {"reason": _OTHER, "steps": 0, "released": []})
    journal = WorkerJournal(ledger=zoo.ledger, run=f"{settings.slot}-{len(known) + 1}", now=zoo.now)
    return journal, journal.step(0, BEGUN, lambda: _begun(worker, whole, head, same))


def _begun(worker: MLBackgroundWorker, whole: LearningBars, head: LearningBars, same: str) -> Content:
    settings, zoo = worker.settings, worker.zoo
    version, spec = latest_version(zoo.store, settings.symbol, settings.name), settings.begins_with
    if version is not None:
        spec = build_of(zoo.store.manifest().entry(settings.symbol, version, settings.name).record).spec
    if version is None or not zoo.is_counted(settings.symbol, settings.name, version):
        version = zoo.get_or_create_model(
            spec, whole, note="the first version: where the worker begins", data_dir=settings.data_dir,
            source=settings.source,
        ).version  # fmt: skip
    listed = settings.features or head.registry.list()
    if settings.features:
        head.registry.plan(settings.features, head.key)
    there = [each for each in listed if _there(head, each)]
    return {
        "same": same, "version": version, "champion": spec.model_dump(mode="json"),
        "tail": whole.size - head.size, "dates": str(whole.dates), "head": str(head.dates),
        "catalogue": catalogue_of(head, there, spec),
    }  # fmt: skip


def _there(bars: LearningBars, feature_id: str) -> bool:
    """Whether the series that a feature reads were loaded."""
    try:
        keys = source_keys(bars.registry.plan((feature_id,), bars.key), bars.history.markets)
    except LockstepError:
        return False
    return all(key in bars.history.bars for key in keys)


def latest_version(store: ModelStore, symbol: str, name: str) -> str | None:
    """Return the newest version of a model that was not retired; None where there is none."""
    model = store.manifest().instruments.get(symbol, {}).get(name)
    usable = [] if model is None else [v for v, each in model.versions.items() if each.status != "retired"]
    return max(usable, key=lambda version: int(version[1:]), default=None)


def seed_of(seed: int, run: str) -> int:
    """Return the seed of a run: another one for each run, the same when it goes on."""
    return int(json_digest([seed, run])[:12], 16)


def improvement_note(change: str, test: TailTest, reserved: Content) -> str:
    """Return the sentence that says how a version improves its parent."""
    return (
        f"{change}: loss on the sealed tail {test.loss:.4g} after {test.champion_loss:.4g}, "
        f"p {test.p_value:.2g} at level {reserved['level']:.2g}, attempt {reserved['attempt']}"
    )


def _written(test: TailTest, wins: bool) -> Content:
    return {
        "wins": wins, "p_value": _number(test.p_value), "loss": _number(test.loss),
        "champion_loss": _number(test.champion_loss), "bars": test.champion.n,
        "z": _number(test.champion.z), "z_constant": _number(test.constant.z),
        "by_regime": {name: _number(each) for name, each in test.by_regime.items()},
        "linear_score": _number(test.linear),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@contextmanager
def only_worker(folder: Path, slot: str) -> Iterator[None]:
    """Hold the worker's lock of a store; TrainingError, saying who has it, where another process does."""
    says = f"worker {os.getpid()} on {slot} is at work on this store"
    with only_one(folder / ".worker.lock", says, where=str(folder), error=TrainingError):
        yield
