"""`lockstep.explore`: a session of research agents in one line, as a notebook sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lockstep.market.dates import Day
    from lockstep.strategy.families.rules import RulesConfig
    from research.agents.database import AgentBook, Strategy
    from research.agents.gate import SessionVerdict
    from research.agents.report import SessionReport
    from research.agents.summary import SessionSummary


@dataclass(frozen=True, kw_only=True, eq=False)
class ResearchSession:
    """A session of research agents that is complete: what `explore` returns. It shows itself in a notebook.

    number   by which commands know it: `lockstep agents show 3`
    book     the strategy database that it is in
    page     where its page is
    """

    number: int
    book: AgentBook
    page: Path

    @property
    def report(self) -> SessionReport:
        """The session as its page shows it, as it is now."""
        from research.agents.report import SessionReport

        return SessionReport(self.book, self.number)

    @property
    def summary(self) -> SessionSummary:
        """What it came to: by kind, move, family of features and model; what nobody tried."""
        return self.report.summary

    @property
    def top(self) -> Strategy | None:
        """Its top performer, with measures, parents and what was decided; None where nothing can win."""
        return self.summary.top

    @property
    def winner(self) -> RulesConfig | None:
        """The strategy that was frozen as the best, ready for `backtest`; None where nothing can win."""
        from lockstep.errors import AgentError
        from operations.agents.registration import candidate_of

        try:
            return candidate_of(self.book.session(self.number))
        except AgentError:
            return None

    @property
    def verdict(self) -> str:
        """What may be done with the winner, a sentence."""
        return self.summary.verdict

    def judge(self, *, replays: int = 99, jobs: int = 1) -> SessionVerdict:
        """Judge the winner as `lockstep agents gate` does, once, and write the page anew.

        replays   how often the session is run again on redrawn bars; jobs: how many beside each other

        AgentError where nothing was frozen, or where code or bars are no more those of the session.
        """
        from research.agents.gate import judge

        found = judge(self.book, self.number, replays=replays, jobs=jobs, tell=print)
        self.report.save(self.page)
        return found

    def plot(self) -> go.Figure:
        """Return the fitness of all trials in order, and the best so far."""
        return self.report.plot()

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def explore(
    symbol: str = "COMP",
    *,
    strategies: int = 100,
    researcher: str = "screen",
    goal: str = "",
    kinds: Sequence[str] | str = ("technical", "hybrid", "ml"),
    each: int = 10,
    seed: int = 0,
    start: Day = None,
    end: Day = None,
    options: Mapping[str, Any] | None = None,
    terms: Mapping[str, Any] | None = None,
    least_trades: int = 30,
    data_dir: Path | str | None = None,
    source: str | None = None,
) -> ResearchSession:
    """Let research agents look for strategies, as `lockstep agents session` does, and return what they found.

    strategies   how many proposals; `screen` needs twice as many as the features that it screens (24)
    researcher   screen, evolve, tpe, random, llm, or module:Class of your own; options: its own, by name
    goal         a text for the researcher
    kinds, each  kinds of strategies, and how many of each at least
    seed         of all that is random
    start, end   first and last session date; agents see the first two thirds, None: of all there is
    terms        what no researcher may say: costs, capital, size …, see `SpecTerms`
    least_trades trades that a fold must have to count

    It runs in a process of its own, which holds no later bar, and every proposal is a trial of the ledger
    (`LOCKSTEP_DB`). The same call again resumes it, or returns what it found. The page is among the results.
    ConfigError or AgentError, before anything begins, for what cannot be made.

    >>> found = explore(
    ...     "COMP", strategies=10, researcher="screen", options={"features": 4}, kinds="technical",
    ...     start="2004-01-02", least_trades=10,
    ... )
    >>> found.summary.record.plan.train.end.year, len(found.summary.strategies)
    (2013, 10)
    >>> found.verdict
    'Not promoted: nobody judged the winner yet; `lockstep agents gate 1` does.'
    >>> found.winner.name == f"agents_COMP_1_{found.top.trial.number}"
    True
    """
    from lockstep.market.dates import as_day
    from lockstep.settings import validated
    from operations.agents.asked import planned, require_possible, with_kinds
    from research.agents.database import AgentBook
    from research.agents.engine import ResearchEngine
    from research.agents.plan import AgentSettings
    from research.agents.report import SessionReport

    content = {
        "symbol": symbol, "strategies": strategies, "researcher": researcher, "goal": goal, "seed": seed,
        "start": as_day("start", start), "end": as_day("end", end), "options": dict(options or {}),
        "terms": dict(terms or {}), "least_trades": least_trades, "source": source,
        "data_dir": None if data_dir is None else str(data_dir),
        **with_kinds({"kinds": kinds, "each": each}),
    }  # fmt: skip
    settings = validated(AgentSettings, content, where="explore")
    require_possible(settings)
    book = AgentBook.open()
    record = ResearchEngine(settings=settings, book=book).carry_out(planned(settings, book))
    page = SessionReport(book, record.id).save()
    return ResearchSession(number=record.id, book=book, page=page)
