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
from pathlib import Path
from typing import Self

from lockstep.errors import LockstepError, TrainingError
from lockstep.features.columns import source_keys
from lockstep.identity import ZOO, code_hash, json_digest
from lockstep.market.families import load_families
from lockstep.models.store import ModelStore
from research.ledger.ledger import Trials
from research.ledger.tables import FAILED, OK
from research.utils.at_work import only_one
from research.zoo.bundling import ModelBuild, build_of
from research.zoo.improving import ImprovementLoop, Past, catalogue_of
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
from research.zoo.model_spec import ModelSpec
from research.zoo.moves import ModelProposal
from research.zoo.release import level, on_tail, tail_begin, worth_an_attempt
from research.zoo.settings import WorkerSettings
from research.zoo.tested import attempt_line, finite_or_none, improvement_note, tested_content
from research.zoo.zoo import KIND, ModelZoo, ZooModel

_DIGITS = 32
_OTHER = "its bars, settings or code are others now"
# How much more than a failed attempt the next one has to promise, in standard errors on the tail.
_MORE = 1.0


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """What a run did: steps that were taken, versions that were released, the champion, why it ended.

    lines   one for each attempt: the challenger by regime, against champion, factor score and a constant
    """

    run: str
    steps: int
    attempts: int
    released: tuple[str, ...]
    champion: str
    reason: str
    lines: tuple[str, ...] = ()


@dataclass
class _State:
    """Where a run is: the champion and its version, the best spec so far, what came of the proposals.

    least   z that the next attempt has to promise at least, more than one that failed on this champion
    """

    champion: ModelSpec
    version: str
    best: ModelSpec
    past: Past
    least: float = -math.inf
    attempts: int = 0
    released: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


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
            catalogue=begin["catalogue"], most_seconds=settings.step_seconds,
        )  # fmt: skip
        # The clock starts here: what was compiled so far is compiled once, not by every run.
        return cls(
            worker=worker,
            journal=journal,
            loop=loop,
            family=family,
            begin=begin,
            tail=tail,
            spent=worker.clock(),
        )

    def taken(self) -> WorkerReport:
        """Take all steps."""
        spec = ModelSpec.model_validate(self.begin["champion"])
        past = Past(tried=frozenset({spec.digest}))
        state = _State(champion=spec, version=self.begin["version"], best=spec, past=past)
        reason, number = "steps", 0
        for number in range(1, self.worker.settings.steps + 1):
            if self.worker.clock() - self.spent > self.worker.settings.cpu_seconds:
                reason, number = "budget", number - 1
                break
            if not self._step(number, state):
                reason, number = self._nothing_left, number - 1
                break
        self.journal.step(
            number + 1, ENDED, lambda: {"reason": reason, "steps": number, "released": state.released}
        )
        return WorkerReport(
            run=self.journal.run, steps=number, attempts=state.attempts, released=tuple(state.released),
            champion=state.version, reason=reason, lines=tuple(state.lines),
        )  # fmt: skip

    @property
    def _nothing_left(self) -> str:
        return f"nothing left to propose that takes up to {self.worker.settings.step_seconds:.3g} s a step"

    def _step(self, number: int, state: _State) -> bool:
        made = self.journal.step(number, PROPOSED, lambda: self._proposed(number, state))
        if "spec" not in made:
            return False
        spec = ModelSpec.model_validate(made["spec"])
        found = self.journal.step(number, SCORED, lambda: self._scored(spec, state))
        state.past = state.past.after(spec, made["move"], found["better"])
        if found["better"]:
            state.best = spec
        if found["attempt"]:
            state.attempts += 1
            self._attempt(number, spec, made, found, state)
        return True

    def _proposed(self, number: int, state: _State) -> Content:
        found: ModelProposal | None = self.loop.propose(number, state.best, state.past)
        if found is None:
            return {"reason": self._nothing_left}
        return {
            "spec": found.spec.model_dump(mode="json"), "move": found.move, "kind": found.kind,
            "change": found.change,
        }  # fmt: skip

    def _scored(self, spec: ModelSpec, state: _State) -> Content:
        """Score a spec, a trial, against the champion and the best so far; never on the tail."""
        try:
            scored = self.loop.scored(spec)
        except LockstepError as error:
            self._count(spec, FAILED)
            return {"better": False, "attempt": False, "failed": str(error)}
        self._count(spec, OK)
        found = self.loop.compared(spec, state.champion)
        better = found.better
        if state.best != state.champion:
            better &= self.loop.compared(spec, state.best).better
        tail = int(self.begin["tail"])
        promised = min(found.expected(tail), self.loop.against_constant(spec).expected(tail))
        return {
            "loss": float(scored.loss.mean()), "constant": float(scored.constant.mean()),
            "bars": found.whole.n, "difference": finite_or_none(found.whole.difference),
            "z": finite_or_none(found.whole.z), "newer_z": finite_or_none(found.newer.z),
            "promised": finite_or_none(promised),
            "better": better, "attempt": better and self._is_promising(promised, state.least),
        }  # fmt: skip

    def _is_promising(self, promised: float, least: float) -> bool:
        with self.worker.zoo.ledger.database.read() as connection:
            made = attempts(self.worker.zoo.ledger, connection, self.family, self.worker.settings.task)
        return worth_an_attempt(promised, made + 1, self.worker.settings.power, least)

    def _count(self, spec: ModelSpec, status: str) -> None:
        head, zoo = self.loop.bars, self.worker.zoo
        build = ModelBuild.of(spec, head)
        trial = json_digest([build.digest(head), "out of fold"])[:_DIGITS]
        trials = Trials(
            family=self.family, symbol=build.symbol, dates=head.dates, kind=KIND, evaluations={trial: status}
        )
        zoo.ledger.record(trials, now=zoo.now())

    def _attempt(self, number: int, spec: ModelSpec, made: Content, scored: Content, state: _State) -> None:
        """Test a challenger on the tail, and release it where it wins; all of it written once."""
        reserved = self.journal.reserve(
            number, self.family, self.worker.settings.task,
            lambda attempt: {
                "level": level(attempt), "champion": state.version, "spec": spec.model_dump(mode="json"),
                "move": made["move"], "change": made["change"], "promised": scored["promised"],
            },
        )  # fmt: skip
        tested = self.journal.read(number, TESTED)
        released = self.journal.read(number, RELEASED)
        if tested is None:
            bars = self.worker.bars()
            test = on_tail(bars, spec, state.champion)
            wins = test.wins(reserved["level"])
            tested = tested_content(test, wins=wins)
            if wins:
                note = improvement_note(made["change"], tested, reserved)
                model = self._released(spec, bars, state.version, note)
                released = {"version": model.version, "column": model.column, "note": note}
            self.journal.conclude(number, self.worker.settings.symbol, reserved, tested, released)
        state.lines.append(attempt_line(reserved, tested, released))
        if released is None:
            state.least = (scored["promised"] or 0.0) + _MORE
        else:
            state.champion, state.version, state.best = spec, released["version"], spec
            state.released.append(released["version"])
            state.least = -math.inf

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


@contextmanager
def only_worker(folder: Path, slot: str) -> Iterator[None]:
    """Hold the worker's lock of a store; TrainingError, saying who has it, where another process does."""
    says = f"worker {os.getpid()} on {slot} is at work on this store"
    with only_one(folder / ".worker.lock", says, where=str(folder), error=TrainingError):
        yield
