"""A night as a command makes it: what is there, whether it is new, and what is made of it."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lockstep.errors import ExperimentError, PipelineError
from lockstep.files import replace_file
from lockstep.market.config import InstrumentBook, load_instruments
from operations.nightly.config import NightlyConfig
from operations.nightly.telling import open_effects, open_messages
from operations.nightly.world import NightWorld, known_bars, look
from research.ledger.database import Database, default_url
from research.ledger.ledger import Ledger
from research.pipeline.book import BEGUN, FAILED, FINISHED, STEP, NightBook, NightEvent
from research.pipeline.effects import NightEffects
from research.pipeline.execution import Night, StepOutcome, at_work_on, place_of, prune
from research.sweep.cluster import require_workers

if TYPE_CHECKING:
    from operations.nightly.context import NightContext

INGEST, REPORT = "ingest", "report"


def utc_now() -> datetime:
    """Return the moment, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class NightMade:
    """What a start made: the page of the night, and what was left out of it, a line each."""

    night: str
    page: Path
    troubles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Nights:
    """The nights of a configuration and of a ledger."""

    config: NightlyConfig
    ledger: Ledger
    book: InstrumentBook
    now: Callable[[], datetime] = utc_now
    cluster: str | None = None

    @classmethod
    def of(cls, config: Path, *, reading: bool = False, cluster: str | None = None) -> Self:
        """Return the nights of a file; with `reading`, of a database that is not written.

        cluster   address of a Dask scheduler whose workers search and train; None: this machine does.
                  One that cannot be reached is refused before anything is written
        """
        settings = NightlyConfig.load(config)
        require_workers(cluster)
        database = _readable() if reading else Database.open()
        return cls(config=settings, ledger=Ledger(database), book=load_instruments(), cluster=cluster)

    @property
    def steps(self) -> Path:
        """The folder of the steps."""
        return self.config.results / "steps"

    @cached_property
    def nights(self) -> NightBook:
        """What was recorded."""
        return NightBook(ledger=self.ledger, now=self.now)

    @cached_property
    def world(self) -> NightWorld:
        """What there is tonight."""
        newest = next(
            (each for each in reversed(self._events) if each.step == INGEST and each.kind == STEP), None
        )
        folder = None if newest is None else place_of(self.steps, newest.step, newest.key)
        return look(self.config, known_bars(folder), self.book, self.now())

    @cached_property
    def _events(self) -> tuple[NightEvent, ...]:
        return tuple(self.nights.events())

    @property
    def is_complete(self) -> bool:
        """Whether the night that was begun last, if there is one, is finished."""
        begun = [(each.night, each.key) for each in self._events if each.kind == BEGUN]
        return not begun or self._is_finished(*begun[-1])

    @property
    def nothing_new(self) -> str:
        """The newest night, where it is finished and was made of all that there is; empty otherwise.

        Empty too where a sink refused a message: the night goes on with sending it.
        """
        night = self.world.night
        effects = NightEffects(ledger=self.ledger, now=self.now)
        if any(each.refusal for each in open_messages(effects, self.config.alerts)):
            return ""
        return night if self._is_finished(night, self.world.digest) else ""

    def _is_finished(self, night: str, key: str) -> bool:
        """Whether all steps of a night are recorded, and its page is where people look for it."""
        recorded = {(each.night, each.key) for each in self._events if each.kind == FINISHED}
        return (night, key) in recorded and page_of(self.config, night).is_file()

    def make(self, hear: Callable[[StepOutcome], None] = lambda outcome: None) -> NightMade:
        """Make the night; PipelineError where a step failed."""
        night = self._night(hear)
        night.run()
        page = next(each.folder for each in night.outcomes if each.name == REPORT)
        assert page is not None
        return self._kept(night.name, page)

    def rehearse(self) -> list[StepOutcome]:
        """Say what would be done, and change nothing."""
        return self._night(lambda outcome: None).rehearse()

    @cached_property
    def context(self) -> NightContext:
        """What the steps of tonight are given.

        ExperimentError where a space names an unknown path; ConfigError or AgentError where its researcher
        can make no such session.
        """
        # Whatever evaluates is imported only where there is something to do.
        from operations.nightly.context import NightContext
        from research.experiments.evaluation import on_cluster
        from research.experiments.execution import Lab

        lab = Lab(
            database=self.ledger.database, now=self.now, book=self.book, evaluator=on_cluster(self.cluster)
        )
        found = NightContext(
            night=self.world.night,
            config=self.config,
            world=self.world,
            lab=lab,
            now=self.now,
            cluster=self.cluster,
        )
        for space in self.config.declared:
            found.strategy(space)
        if self.config.explored:
            from operations.nightly.sessions import require_researchers

            require_researchers(self.config.explored)
        return found

    def _night(self, hear: Callable[[StepOutcome], None]) -> Night[NightContext]:
        from operations.nightly.pipeline import pipeline

        return Night(
            name=self.world.night, pipeline=pipeline(), context=self.context, book=self.nights,
            folder=self.steps, hear=hear, digest=self.world.digest,
        )  # fmt: skip

    def _kept(self, night: str, folder: Path) -> NightMade:
        """Put the page where people look for it, with its JSON, and remove what no newer night uses.

        The page comes last: where it is, everything is.
        """
        page, content = page_of(self.config, night), (folder / "report.json").read_bytes()
        found = json.loads(content)
        page.parent.mkdir(parents=True, exist_ok=True)
        self._show([each["session"] for each in found["sessions"]])
        replace_file(page.with_suffix(".json"), content)
        replace_file(page, (folder / "report.html").read_bytes())
        prune(self.steps, self.nights, self.config.keep_nights)
        return NightMade(night=night, page=page, troubles=tuple(found["troubles"]))

    def _show(self, sessions: Sequence[int]) -> None:
        """Write the pages of tonight's sessions of agents, with what became of their winners."""
        if not sessions:
            return
        from operations.nightly.sessions import book_of, page_of_session
        from research.agents.report import SessionReport

        for number in sessions:
            report = SessionReport(book_of(self.context), number)
            report.save(page_of_session(self.config.results, number))


def page_of(config: NightlyConfig, night: str) -> Path:
    """Return where the page of a night is."""
    return config.results / f"night-{night}.html"


def _readable() -> Database:
    """Return the database to be read; an empty one, of which nothing stays, where there is none yet."""
    try:
        return Database.reading(default_url())
    except ExperimentError:
        url = default_url()
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
            folder = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return Database.open(f"sqlite:///{folder}/empty.db")
        raise


@dataclass(frozen=True, kw_only=True, eq=False)
class NightHistory:
    """What was recorded of all nights of a configuration's ledger."""

    config: NightlyConfig
    ledger: Ledger
    recorded: tuple[NightEvent, ...]

    @classmethod
    def of(cls, config: Path) -> Self:
        """Read it; nothing is written."""
        settings, ledger = NightlyConfig.load(config), Ledger(_readable())
        events = tuple(NightBook(ledger=ledger, now=utc_now).events())
        return cls(config=settings, ledger=ledger, recorded=events)

    @property
    def nights(self) -> tuple[str, ...]:
        """The names of all nights, in the order in which they began."""
        return tuple(dict.fromkeys(each.night for each in self.recorded))

    @property
    def at_work(self) -> str:
        """Who is making a night now; empty where nobody is."""
        return at_work_on(self.config.results / "steps")

    @property
    def open(self) -> tuple[str, ...]:
        """The messages that a sink refused, and the effects whose end nobody knows, a line each."""
        found = open_effects(NightEffects(ledger=self.ledger, now=utc_now), self.config.alerts)
        return (*found["undelivered"], *found["unknown"])

    def night(self, name: str) -> str:
        """Return the name of a night, the newest by default; PipelineError where there is none."""
        if not self.nights:
            raise PipelineError("no night was made yet; `lockstep pipeline run` makes one")
        if name and name not in self.nights:
            raise PipelineError(f"night {name}: was not made; the newest is {self.nights[-1]}")
        return name or self.nights[-1]

    def events(self, night: str) -> tuple[NightEvent, ...]:
        """Return what was recorded of a night, oldest first."""
        return tuple(each for each in self.recorded if each.night == night)

    def state(self, night: str) -> str:
        """Return whether a night is finished, and why not."""
        events = self.events(night)
        if any(each.kind == FINISHED for each in events):
            return "finished"
        failed = [each for each in events if each.kind == FAILED]
        if failed:
            return f"not finished: {failed[-1].step}: {failed[-1].sentence}"
        return "not finished; `lockstep pipeline resume` goes on with it"

    def sentence(self, night: str) -> str:
        """Return what the report of a night says; empty where it has none."""
        said = [each.sentence for each in self.events(night) if each.step == REPORT and each.kind == STEP]
        return said[-1] if said else ""

    def page(self, night: str) -> Path | None:
        """Return the page of a night, None where there is none any more."""
        found = page_of(self.config, night)
        return found if found.is_file() else None
