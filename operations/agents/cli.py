"""`lockstep agents`: sessions that look for strategies, what they found, and what may become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lockstep.errors import ConfigError
from lockstep.market.command_line import App, DataDir, OneSymbol, SourceName
from lockstep.market.dates import as_day
from lockstep.settings import read_yaml, validated
from operations.agents.asked import EACH, planned, require_possible, with_kinds
from operations.agents.tables import (
    gate_lines,
    kinds_table,
    knowledge_lines,
    models_table,
    sessions_table,
    spelled,
    strategies_table,
    winner_lines,
)
from research.agents.database import AgentBook
from research.agents.engine import ResearchEngine
from research.agents.plan import AgentSettings
from research.agents.router import KINDS
from research.statistics.null_replay import REPLAYS

if TYPE_CHECKING:
    from research.agents.summary import SessionSummary

_TOP, _AREAS = 10, 3

app = App(no_args_is_help=True, help="Sessions of research agents: they propose strategies as data.")

Number = Annotated[int, typer.Argument(metavar="SESSION", help="Number of the session.")]
StrategyName = Annotated[str, typer.Argument(metavar="STRATEGY", help="Session and number, such as 3.17.")]


@app.command()
def session(
    goal: Annotated[str, typer.Option(help="What to look for, a text for the researcher.")] = "",
    strategies: Annotated[int, typer.Option("--strategies", "--budget", help="How many proposals.")] = 100,
    researcher: Annotated[
        str, typer.Option(help="screen, evolve, tpe, random, llm, or module:Class of your own.")
    ] = "screen",
    symbol: OneSymbol = "COMP",
    kinds: Annotated[
        str, typer.Option(help="Kinds of strategies: technical, hybrid, ml, separated by commas.")
    ] = ",".join(KINDS),
    each: Annotated[int, typer.Option(help="How many of each kind at least.")] = EACH,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    start: Annotated[str | None, typer.Option(help="First session of the data range.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session of the data range.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with more settings: terms, options, least_trades.")
    ] = None,
    data_dir: DataDir = None,
    source: SourceName = None,
) -> None:
    """Look for strategies on the first two thirds of the bars, and freeze the best.

    Nothing of validation is read. The same command again resumes the session, or says what it found; where it
    has models and the zoo has others since, it begins the next one.
    """
    content = {
        "goal": goal, "symbol": symbol, "researcher": researcher, "strategies": strategies, "seed": seed,
        "start": as_day("start", start), "end": as_day("end", end),
        "data_dir": None if data_dir is None else str(data_dir), "source": source,
        **with_kinds({"kinds": kinds, "each": each}, where="--kinds"),
    }  # fmt: skip
    more = {} if config is None else read_yaml(config)
    if not isinstance(more, Mapping):
        raise ConfigError(f"{config}: expected a mapping with settings of a session")
    if "each" in more or "kinds" in more:
        more = with_kinds({"kinds": kinds, "each": each, **more}, where=f"{config}: kinds")
    _explore(validated(AgentSettings, {**content, **more}, where=str(config or "session")))


@app.command()
def resume(number: Number) -> None:
    """Make what is missing of a session that was interrupted."""
    book = AgentBook.open()
    _explore(book.session(number).plan.settings, number)


@app.command("list")
def list_sessions() -> None:
    """List all sessions, oldest first."""
    book, console = AgentBook.open(), _console()
    records = book.sessions()
    if not records:
        console.print("no session was begun yet; `lockstep agents session` begins one")
        return
    made = Counter(each.session for each in book.strategies())
    console.print(sessions_table(records, made))


@app.command()
def show(number: Number) -> None:
    """Show what a session came to: by kind, its best, what nobody tried, and what became of it."""
    from research.agents.summary import SessionSummary

    _show(SessionSummary.of(AgentBook.open(), number), _console())


@app.command()
def report(
    number: Number,
    out: Annotated[
        Path | None, typer.Option(help="The page; default: agents/session-N.html in results.")
    ] = None,
) -> None:
    """Write the page of a session: its winner's family tree, what nobody tried, and what was learned."""
    from research.agents.report import SessionReport

    _console().print(f"page: {SessionReport(AgentBook.open(), number).save(out)}", markup=False)


@app.command()
def top(
    number: Annotated[int | None, typer.Argument(metavar="[SESSION]", help="Default: of all.")] = None,
    most: Annotated[int, typer.Option(help="How many.")] = _TOP,
) -> None:
    """List the strategies with the greatest fitness, of a session or of all."""
    book, console = AgentBook.open(), _console()
    if number is not None:
        book.session(number)
    found = book.get_top(most, number)
    console.print(strategies_table(found) if found else "no strategy has a fitness yet")


@app.command()
def genealogy(
    strategy: StrategyName, depth: Annotated[int, typer.Option(help="Generations back.")] = 2
) -> None:
    """Show where a strategy comes from: parents, grandparents, and what changed each time."""
    console = _console()
    for back, found in AgentBook.open().get_genealogy(strategy, depth):
        proposal, trial = found.trial.proposal, found.trial
        what = proposal.change or proposal.rationale or proposal.move
        fitness = "" if trial.fitness == float("-inf") else f", fitness {trial.fitness:.3f}"
        console.print(f"{'  ' * back}{found.name} {proposal.move}{fitness}: {what}", markup=False)


@app.command()
def gate(
    number: Number,
    replays: Annotated[
        int, typer.Option(help="How often the session is run again, on redrawn bars.")
    ] = REPLAYS,
    jobs: Annotated[int, typer.Option(help="Replays beside each other.")] = 1,
) -> None:
    """Judge the winner of a session: is it more than the same session finds where there is nothing.

    Exit code 0 whatever it says; what it says is recorded, once.
    """
    from research.agents.gate import judge

    book, console = AgentBook.open(), _console()
    record = book.session(number)
    with _progress(console) as progress:
        task = progress.add_task("replays", total=None)
        found = judge(
            book,
            number,
            replays=replays,
            jobs=jobs,
            begin=lambda total: progress.update(task, total=total),
            advance=lambda: progress.advance(task),
            tell=lambda line: console.print(line, markup=False),
        )
    from research.agents.summary import SessionSummary

    _say(console, [*gate_lines(record, found), SessionSummary.of(book, number).verdict])


@app.command()
def register(
    number: Number,
    name: Annotated[str, typer.Option(help="Of the candidate.")] = "",
    per_year: Annotated[int | None, typer.Option(help="Most registrations this year.")] = None,
) -> None:
    """Register a session's winner for forward evidence: it spends a share of the year's error budget."""
    from operations.agents.registration import register_winner
    from operations.candidates_cli import registered_lines

    book, console = AgentBook.open(), _console()
    found = register_winner(book, number, name=name, per_year=per_year)
    for line in registered_lines(found, book.ledger):
        console.print(line, markup=False)


def _explore(settings: AgentSettings, number: int | None = None) -> None:
    console = _console()
    book = AgentBook.open()
    with _progress(console) as progress:
        task = progress.add_task("strategies", total=settings.strategies)

        def tell(told: Mapping[str, Any]) -> None:
            if "session" in told:
                progress.console.print(f"session {told['session']}", markup=False)
            else:
                progress.update(task, completed=told["number"])

        engine = ResearchEngine(settings=settings, book=book, tell=tell)
        if number is None:
            require_possible(settings)
            record = engine.carry_out(planned(settings, book))
        else:
            record = engine.resume(number)
    from research.agents.report import SessionReport

    report = SessionReport(book, record.id)
    _show(report.summary, console)
    console.print(f"page: {report.save()}", markup=False)


def _show(found: SessionSummary, console: Console) -> None:
    from research.agents.summary import in_words

    record, top = found.record, found.top
    settings = record.plan.settings
    lines = [
        f"session {record.id}: {settings.researcher} on {settings.symbol}, {record.plan.train}, "
        f"{len(found.strategies)} of {settings.strategies} strategies, seed {settings.seed}"
    ]
    if settings.goal:
        lines.append(f"goal: {settings.goal}")
    _say(console, lines)
    console.print(kinds_table(found.kinds))
    if found.models:
        console.print(models_table(found.models))
    if best := found.best(_TOP):
        console.print(strategies_table(best))
    if top is not None:
        _say(console, [f"top performer {top.name}: {spelled(top)}", *knowledge_lines(found)])
    _say(console, [f"not tried: {in_words(niche)}" for niche in found.open[:_AREAS]])
    _say(console, winner_lines(record))
    if "gate" in record.events:
        from research.agents.gate import SessionVerdict

        _say(console, gate_lines(record, SessionVerdict(**record.events["gate"])))
    _say(console, [found.verdict])


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False)


def _progress(console: Console) -> Any:
    if not console.is_terminal:
        return nullcontext(_Silent(console))
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)


class _Silent:
    """Stands in for a progress bar where nobody watches."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def add_task(self, description: str, total: int | None) -> int:
        return 0

    def update(self, task: int, **changes: Any) -> None:
        """Draw nothing."""

    def advance(self, task: int) -> None:
        """Draw nothing."""


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
