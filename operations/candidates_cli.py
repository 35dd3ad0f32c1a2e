"""`lockstep candidates`: register what a search found, score it on new bars, see what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from lockstep.errors import ConfigError, ExperimentError
from lockstep.live.config import LiveConfig
from lockstep.market.bars import Floats
from lockstep.market.command_line import App, DataDir, OneSymbol, SourceName
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models.command_line import Store, actor
from lockstep.models.store import ModelStore
from lockstep.monitoring.eprocess import e_bh
from lockstep.strategy.family import load_strategy
from lockstep.tables import TextTable, prose
from operations.candidates import CandidateProgress, observe_files, observe_journal, update
from operations.candidates_log import failing, log_candidates
from operations.contenders import CandidateOrigin, Contender, enrol, of_experiment
from operations.performance import store_periods
from operations.performance_cli import performance_tables, show_performance
from research.experiments.cli import Log
from research.experiments.execution import Lab
from research.ledger.candidates import (
    BY_HAND,
    FULL_SIZE,
    PILOTED,
    WITHDRAWN,
    ForwardCandidate,
    ForwardEvent,
    candidate_named,
    candidates,
    happened,
    sessions_of,
)
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.performance import read
from research.ledger.versions import TradedVersion, named_strategy
from research.risk.regimes import regimes_text

_RATE = 0.1
_MONTHS = 12

app = App(no_args_is_help=True, help="Forward evidence: on bars that did not exist at registration.")

CandidateName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the candidate.")]
PerYear = Annotated[
    int | None, typer.Option(help="Most registrations this year; the first one decides. Default: 12.")
]


@app.command("register")
def register_candidate(
    name: CandidateName,
    experiment: Annotated[int | None, typer.Option(help="The winner of this experiment.")] = None,
    strategy: Annotated[Path | None, typer.Option(help="A strategy's YAML; needs --symbol.")] = None,
    symbol: OneSymbol = "",
    version: Annotated[str, typer.Option(help="A version of the model store, such as v3.")] = "",
    store: Store = None,
    start: Annotated[str | None, typer.Option(help="First session of its history.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session of its history.")] = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    champion: Annotated[
        str, typer.Option(help="What it must beat: a strategy's YAML, or a version such as production.")
    ] = "",
    per_year: PerYear = None,
    *,
    log: Log,
) -> None:
    """Register a candidate: it spends a share of the year's error budget, which nothing gives back.

    Frozen are its configuration and bundle, the deviation of its results, its exposure to the market, and
    what its history is worth. Only sessions that begin later count.
    """
    if sum((experiment is not None, strategy is not None, bool(version))) != 1:
        raise ConfigError("register what: give exactly one of --experiment, --strategy and --version")
    if experiment is None and not symbol:
        raise ConfigError("register: --strategy and --version need --symbol, such as --symbol ES")
    lab, now = Lab(database=Database.open()), datetime.now(UTC)
    if experiment is not None:
        origin = of_experiment(lab, experiment, symbol)
        contender, span, provenance = origin.contender, origin.span, origin.provenance
        data_dir, source = data_dir or origin.data_dir, source or origin.source
    else:
        contender = _contender(strategy, symbol, version, ModelStore(store))
        # Nobody declared a space before this was chosen, and nothing bounds what was looked at.
        span, provenance = DateRange.of(start, end), CandidateOrigin(searched="adaptive", trials=None)
    if champion:
        named = named_strategy(champion, store)
        beside = (named, "") if isinstance(named, Path) else (None, named.version)
        contender = contender.against(_contender(beside[0], contender.symbol, beside[1], ModelStore(store)))
    history = _history(contender, data_dir, source)
    found = enrol(
        lab.ledger, contender, history, span, provenance,
        name=name, family=lab.family(contender.symbol), now=now, per_year=per_year,
    )  # fmt: skip
    _say(Console(), registered_lines(found, lab.ledger))
    _write_log(lab.ledger, log)


def _contender(strategy: Path | None, symbol: str, version: str, store: ModelStore) -> Contender:
    if strategy is not None:
        return Contender.of_strategy(load_strategy(strategy), symbol)
    return Contender.of_version(TradedVersion.load(symbol, version, store), store)


def _history(contender: Contender, data_dir: Path | None, source: str | None) -> History:
    book = load_instruments()
    return load_history(
        contender.symbol, data_dir, timeframe=contender.config.bars, context=contender.keys(book), book=book,
        source=source,
    )  # fmt: skip


def registered_lines(found: ForwardCandidate, ledger: Ledger) -> list[str]:
    """Return what a registration froze and what it will take, as lines."""
    used = sum(each.year == found.year for each in candidates(ledger))
    past = "does not count: the search could learn from it"
    if found.p_value is not None:
        past = f"p = {found.p_value:.2g} before {found.trials:,} trials, worth {found.e_history:.2f}"
    return [
        f"{found.name}: registration {used} of {round(1 / found.weight)} of {found.year}; it stays spent",
        f"  its history {past}",
        f"  by market regime: {failing(found)}",
        f"  deviation of a session {found.sigma:.3%} of the capital, exposure {found.beta:+.2f}",
        f"  promoted to a pilot at evidence {found.threshold(PILOTED):.0f}, to full size at "
        f"{found.threshold(FULL_SIZE):.0f}; `lockstep candidates update` scores it",
    ]


@app.command("update")
def update_candidates(
    data_dir: DataDir = None,
    source: SourceName = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal of the live engine: its bars are seen first.")
    ] = None,
    desk: Annotated[
        Path | None, typer.Option(help="live.yml of a desk: its journal, and what its lanes earned.")
    ] = None,
    experiment: Annotated[
        list[int] | None, typer.Option(help="Also what the winner of this one earned; again for more.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who does it; default: the user.")] = "",
    *,
    log: Log,
) -> None:
    """See new bars, score every complete session once, and promote or retire by what is known then.

    Days, weeks and months that are over go to the performance store.
    """
    if desk is not None and journal is not None:
        raise ConfigError("--journal and --desk: the desk names its journal; give one of them")
    lab, now, console = Lab(database=Database.open()), datetime.now(UTC), Console()
    ledger, config = lab.ledger, None if desk is None else LiveConfig.load(desk)
    journal = journal if config is None else config.journal
    waiting = [each for each in candidates(ledger) if not each.ended]
    seen = {} if journal is None else observe_journal(ledger, waiting, journal, now=now)
    if journal is None or data_dir is not None:
        seen |= observe_files(ledger, waiting, data_dir, source, now=now)
    lines = []
    for key, each in sorted(seen.items()):
        late = f", {each.corrected:,} corrected since and left as they were" if each.corrected else ""
        lines.append(f"{key}: {each.new:,} new bars{late}")
    done = update(ledger, now=now, by=actor(by))
    lines += [line for each in done for line in _progress_lines(each)]
    earned = store_periods(lab, now=now, desk=config, experiments=experiment or ())
    lines += earned.lines
    _say(console, lines or ["no candidate waits for evidence: register one first"])
    _write_log(ledger, log)
    if earned.troubles or any(each.trouble for each in done):
        raise typer.Exit(1)


def _progress_lines(found: CandidateProgress) -> list[str]:
    if found.trouble:
        return [found.trouble]
    events = [f"{found.candidate.name}: {each.kind}: {each.reason}" for each in found.events]
    return [f"{found.candidate.name}: {found.sessions} sessions scored", *events]


@app.command("list")
def list_candidates(
    rate: Annotated[float, typer.Option(help="False discovery rate of the last column.")] = _RATE,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also the market regimes in which their history fails.")
    ] = False,
) -> None:
    """List all candidates with their evidence, oldest first."""
    ledger, console = Ledger(Database.open()), Console()
    known = candidates(ledger)
    if not known:
        _say(console, ["no candidate was registered yet"])
        return
    console.print(candidates_table(known, [_evidence(ledger, each) for each in known], rate))
    if verbose:
        _say(console, [f"{each.name}, its history by market regime: {failing(each)}" for each in known])


def candidates_table(known: Sequence[ForwardCandidate], paths: Sequence[Floats], rate: float) -> TextTable:
    """Return one row per candidate; `paths` is the evidence of each after every session, float64 (T,)."""
    latest = np.array(
        [path[-1] if path.size else each.e_history for each, path in zip(known, paths, strict=True)]
    )
    stands = e_bh(latest, rate)
    table = TextTable(
        prose("candidate"), "registered", "sessions", "evidence", "needs", f"FDR {rate:.0%}",
        "status",
    )  # fmt: skip
    for each, path, now, kept in zip(known, paths, latest, stands, strict=True):
        table.add_row(
            f"{each.name}: {each.symbol}, {each.searched}", each.recorded[:10], f"{path.size:,}",
            f"{now:.2f}", f"{each.threshold(FULL_SIZE if each.event(PILOTED) else PILOTED):.0f}",
            "yes" if kept else "no", each.status,
        )  # fmt: skip
    return table


def _evidence(ledger: Ledger, candidate: ForwardCandidate) -> Floats:
    return candidate.evidence(sessions_of(ledger, candidate)[1])


@app.command("retire")
def retire(
    name: CandidateName,
    reason: Annotated[str, typer.Option(help="Why; recorded.")],
    *,
    log: Log,
) -> None:
    """Retire a candidate by hand; its share of the budget stays spent."""
    ledger = Ledger(Database.open())
    found = candidate_named(ledger, name)
    if found.ended:
        raise ConfigError(f"candidate {name}: is {found.status} already")
    if not reason.strip():
        raise ConfigError("--reason: must say why; it is recorded, and stands in the strategy log")
    path = _evidence(ledger, found)
    today: date = datetime.now(UTC).date()
    event = ForwardEvent(
        kind=WITHDRAWN, session=today, evidence=float(path[-1]) if path.size else found.e_history,
        reason=reason,
    )  # fmt: skip
    happened(ledger, found, [event], now=datetime.now(UTC))
    _say(Console(), [f"{name}: {BY_HAND}; its share of {found.year}'s budget stays spent"])
    _write_log(ledger, log)


@app.command("show")
def show(name: CandidateName) -> None:
    """Show one candidate: what was frozen, its evidence, its history by regime, what became of it."""
    ledger, console = Ledger(Database.open()), Console()
    found = candidate_named(ledger, name)
    console.print(candidates_table([found], [_evidence(ledger, found)], _RATE))
    _say(console, ["", *registered_lines(found, ledger)])
    if found.regimes:
        console.print(regimes_text({found.symbol: found.regimes}))
    _say(console, [f"{each.session} {each.in_words}: {each.reason}" for each in found.events])
    months = read(ledger, name=found.name, mode="shadow", period="month")
    for table in performance_tables(months[-_MONTHS:]):
        console.print(table)


app.command("performance")(show_performance)


def _write_log(ledger: Ledger, log: Path) -> None:
    """Write what the strategy log has no line of; the ledger has it all, whatever becomes of the log."""
    try:
        log_candidates(ledger, log)
    except ExperimentError as error:
        raise ExperimentError(
            f"{error}; nothing is lost: the next `lockstep candidates update` writes the line"
        ) from error


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
