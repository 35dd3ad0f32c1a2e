"""`ResearchEngine`: sessions of research agents, each in a process that cannot see what will judge it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockstep.console import REFUSED
from lockstep.errors import AgentError
from lockstep.market.dates import DateRange
from lockstep.market.reach import BARS_UNTIL
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.plan import AgentSettings, SessionPlan, plan_of
from research.agents.proposal import KnownModel
from research.agents.router import AgentRouter
from research.agents.team import researcher_named

Told = Callable[[Mapping[str, Any]], None]


def _deaf(content: Mapping[str, Any]) -> None:
    """No listener."""


@dataclass(frozen=True, kw_only=True)
class ResearchEngine:
    """Runs sessions of one strategy database.

    book       None: that of `LOCKSTEP_DB`
    settings   of its sessions, but for how many strategies and which dates
    tell       hears the number of a session (`session`), then of each trial (`number`, `kind`, `status`,
               `fitness`)
    models     gives the models of the zoo that a session is told of, from its settings and the database
    """

    settings: AgentSettings
    book: AgentBook = field(default_factory=AgentBook.open)
    tell: Told = _deaf
    models: Callable[[AgentSettings, AgentBook], tuple[KnownModel, ...]] = lambda settings, book: ()

    def run_exploration_session(
        self, num_strategies: int | None = None, data_range: DateRange | None = None
    ) -> SessionRecord:
        """Make a session, or what is missing of the one that is the same, and return its record.

        num_strategies   how many proposals, data_range   which sessions; None: as the settings have it

        AgentError where it cannot be made, ConfigError for settings that are none, DataError without bars.
        """
        settings = self.settings
        if num_strategies is not None:
            settings = settings.model_copy(update={"strategies": num_strategies})
        if data_range is not None:
            dates = {"start": data_range.start, "end": data_range.end}
            settings = settings.model_copy(update=dates)
        # Refused here, it costs no process.
        researcher = researcher_named(settings.researcher, settings.options)
        AgentRouter(kinds=settings.kinds, screen=researcher.least).require(settings.strategies)
        return self.carry_out(plan_of(settings, models=self.models(settings, self.book)))

    def resume(self, number: int) -> SessionRecord:
        """Make what is missing of a session; AgentError where it is complete, or code or bars changed."""
        record = self.book.session(number)
        if FROZEN in record.events:
            raise AgentError(f"session {number}: is complete; `lockstep agents show {number}` shows it")
        return self.carry_out(record.plan)

    def carry_out(self, plan: SessionPlan) -> SessionRecord:
        """Make a session in a process of its own, and return its record."""
        environment = {
            **os.environ,
            BARS_UNTIL: plan.train.end.isoformat(),
            "LOCKSTEP_DB": self.book.ledger.database.engine.url.render_as_string(hide_password=False),
        }
        command = [sys.executable, "-m", "research.agents.process"]
        number = None
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(plan.model_dump_json())
            process.stdin.close()
            for line in process.stdout:
                told = json.loads(line)
                number = told.get("session", number)
                self.tell(told)
            process.wait()
            errors.seek(0)
            said = errors.read()
        if process.returncode:
            raise AgentError(_reason(said, process.returncode, number))
        sys.stderr.write(said)
        assert number is not None
        return self.book.session(number)


def _reason(said: str, code: int, number: int | None) -> str:
    """Return why a session's process ended before its time, on one line."""
    lines = [each for each in said.splitlines() if each.strip()]
    if code == REFUSED and lines:
        return lines[-1].removeprefix("error: ")
    what = f"was killed by signal {-code}" if code < 0 else f"failed: {lines[-1] if lines else code}"
    again = "" if number is None else f"; `lockstep agents resume {number}` goes on"
    return f"the process of the session {what}{again}"
