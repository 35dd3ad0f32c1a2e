"""The gate: is the winner of a session more than what such a session finds where there is nothing.

It runs in a process of its own, after the winners were frozen. A session of technical strategies is run again
99 times, seed and all, on bars whose directions are drawn, see `null_bars.py`; its winner is judged by the
rank of its fitness among theirs. A session that trains models is not replayed: its winner needs forward
evidence. The measures of validation are shown beside, and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lockstep.errors import AgentError, NoBars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.strategy.families.rules import RulesConfig
from research.agents.bench import TrainingBench, evaluator_of, training_days, training_history
from research.agents.database import FROZEN, GATE, AgentBook, SessionRecord
from research.agents.evaluation import TrainingEvaluator
from research.agents.fold_measures import SessionFolds
from research.agents.knowledge import LLM, Measured, known_until, split_folds, split_measures
from research.agents.loop import Exploration, objective
from research.agents.plan import code_of
from research.agents.process import exploration_of
from research.agents.router import AgentRouter
from research.agents.team import researcher_named
from research.ledger.append_only import ReplayRow
from research.ledger.doors import open_door
from research.statistics.null_replay import REPLAYS, NullReplay, null_replay, require_replays
from research.sweep.run import sweep

LEVEL = 0.05
PASSED, REFUSED, FORWARD = "passed", "refused", "forward"
SHOWN = ("trades", "sharpe", "cagr", "max_drawdown_fraction", "win_rate", "net_profit")
"""Measures of the winner on validation dates."""

_SEED_DIGITS = 15


@dataclass(frozen=True, kw_only=True)
class SessionVerdict:
    """What the gate says of a session.

    verdict      `passed`; `refused`; `forward`: only bars that come later can say
    reason       a sentence
    winner       number of the trial
    p_value      rank of its fitness among the replays, None where there are none
    replays      how many there were; median, best: what they found, None where it is nothing
    validation   measures of the winner on validation dates, at ordinary costs; None where undefined
    knowledge    where a language model proposed: `training`, `validation`, each as of `KnowledgeSplit.plain`
    """

    verdict: str
    reason: str
    winner: int
    objective: float
    p_value: float | None = None
    replays: int = 0
    median: float | None = None
    best: float | None = None
    validation: Mapping[str, float | None]
    knowledge: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON."""
        return {**vars(self), "validation": dict(self.validation), "knowledge": dict(self.knowledge)}


def judge(
    book: AgentBook,
    number: int,
    *,
    replays: int = REPLAYS,
    jobs: int = 1,
    begin: Callable[[int], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda _: None,
) -> SessionVerdict:
    """Judge the winner of a session, once: a second time says what was said.

    replays          of a technical session; jobs: how many beside each other
    begin, advance   hear how many runs there will be, and of each that is done
    tell             hears what there is to say about validation dates that somebody sealed

    AgentError where the session is not complete, found nothing, or code or bars are not its own.
    """
    record = book.session(number)
    if GATE in record.events:
        return SessionVerdict(**record.events[GATE])
    winner = winner_of(record)
    config = RulesConfig.model_validate(winner["config"])
    found = record.events[FROZEN]["objective"]
    said = _said(book, record)
    replayed = None
    if not said:
        replayed = replay(book, record, replays=replays, jobs=jobs, begin=begin, advance=advance)
        if not math.isclose(replayed.objective, found, rel_tol=1e-9, abs_tol=1e-12):
            raise AgentError(
                f"session {number}: run again it finds {replayed.objective:.6f} where it found {found:.6f}: "
                "it is not the same session; its researcher does not depend on its context alone"
            )
    measure = _opened(book, record, config, tell)
    verdict = replace(
        _verdict(winner["number"], found, said, replayed, measure(record.plan.validation)),
        knowledge=knowledge_of(book, record, winner["number"], measure),
    )
    row = None if replayed is None else _row(book, record, config, replayed)

    def along(connection: Connection) -> None:
        if row is not None:
            book.ledger.append(connection, ReplayRow, [row])

    book.happened(record, GATE, verdict.plain, along=along)
    return verdict


def winner_of(record: SessionRecord) -> Mapping[str, Any]:
    """Return the first winner of a complete session as it was frozen; AgentError where there is none."""
    if FROZEN not in record.events:
        raise AgentError(
            f"session {record.id}: is not complete, so that nothing is frozen; `lockstep agents resume "
            f"{record.id}` completes it"
        )
    winners = record.events[FROZEN]["winners"]
    if not winners:
        raise AgentError(
            f"session {record.id}: found nothing that can win: no strategy with enough trades in enough folds"
        )
    first: Mapping[str, Any] = winners[0]
    return first


def replay(
    book: AgentBook,
    record: SessionRecord,
    *,
    replays: int = REPLAYS,
    jobs: int = 1,
    begin: Callable[[int], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> NullReplay:
    """Run a technical session again in memory, as it was, and on bars that are drawn.

    What is drawn follows from the session's key: nobody draws again until it suits him.
    """
    require_replays(replays)
    plan = record.plan
    if code_of(plan.settings.researcher) != plan.code:
        raise AgentError(
            f"session {record.id}: the code is not the one that it was made with, so that it cannot be run "
            "again; begin another session, or register the winner for forward evidence"
        )
    history = training_history(plan)
    researcher = researcher_named(plan.settings.researcher, plan.settings.options)
    router = AgentRouter(kinds=plan.settings.kinds, screen=researcher.least)
    evaluator = evaluator_of(plan, history)
    exploration = exploration_of(book, record, history, evaluator, researcher, router)
    begin(1 + replays)
    search = search_of(exploration, evaluator, seed=int(record.key[:_SEED_DIGITS], 16))
    return null_replay(search, range(1, 1 + replays), jobs=jobs, advance=advance)


def search_of(exploration: Exploration, evaluator: TrainingEvaluator, *, seed: int) -> Callable[[int], float]:
    """Return a session as a function of the number of its replay; 0 is the session itself. Nothing is stored.

    It gives the fitness of what is found, or NaN, and takes the same steps as the session on record. All
    that a researcher is told of the bars, it is told of those that are drawn.

    evaluator   of the bars as they are; seed: of what is drawn
    """
    offered = [each.id for each in exploration.catalogue]

    def search(number: int) -> float:
        if not number:
            return objective(replace(exploration, bench=TrainingBench(evaluator=evaluator)).run().trials)
        drawn = evaluator.redrawn((seed, number))
        replayed = replace(
            exploration,
            bench=TrainingBench(evaluator=drawn),
            catalogue=drawn.catalogue(offered),
            answers=drawn.answers() if exploration.answers else {},
        )
        return objective(replayed.run().trials)

    return search


def unreplayable(record: SessionRecord) -> str:
    """Return why no session of this kind can be replayed, empty where it can."""
    if record.plan.has_models:
        return "it trains models, and a hundred sessions that train theirs are too many"
    if record.plan.settings.researcher == LLM:
        return "a language model has read the history, and no replay makes it forget"
    return ""


def _said(book: AgentBook, record: SessionRecord) -> str:
    """Return why a session cannot be replayed, empty where it can."""
    if said := unreplayable(record):
        return said
    derived = book.derivation(record)
    if not derived.replayable:
        return "other searches or results came before it on these dates, so that it was chosen among several"
    return ""


def knowledge_of(
    book: AgentBook, record: SessionRecord, number: int, measure: Callable[[DateRange], Measured]
) -> dict[str, Any]:
    """Return a trial's measures before and after what a language model knew; empty without one.

    measure   gives the measures on validation dates
    """
    plan = record.plan
    until = known_until(plan.settings)
    if until is None:
        return {}
    found = {"validation": split_measures(plan.validation, until, measure).plain}
    trial = next(each.trial for each in book.strategies(record.id) if each.trial.number == number)
    if trial.measures is not None:
        folds = SessionFolds.of(training_days(plan, training_history(plan)))
        found["training"] = split_folds(trial.measures, folds, until).plain
    return found


def _opened(
    book: AgentBook, record: SessionRecord, config: RulesConfig,
    tell: Callable[[str], None], instruments: InstrumentBook | None = None,
) -> Callable[[DateRange], dict[str, float | None]]:  # fmt: skip
    """Return what measures the winner on validation dates, opened by this; no bar after them is loaded.

    A gate looks once at sealed dates: killed after it wrote that down, it goes on with the same look.
    """
    plan, settings = record.plan, record.plan.settings
    history = load_history(
        settings.symbol,
        None if settings.data_dir is None else Path(settings.data_dir),
        timeframe=plan.timeframe, start=settings.start, end=plan.validation.end,
        book=instruments or load_instruments(), source=settings.source,
    )  # fmt: skip
    key = SeriesKey(settings.symbol, plan.timeframe)
    purpose = f"gate of session {record.id} of agents"
    if not any(each.purpose == purpose for each in book.ledger.looks(plan.family, plan.validation)):
        for line in open_door(book.ledger, history, key, plan.validation, purpose=purpose, now=book.now()):
            tell(line)

    def measure(span: DateRange) -> dict[str, float | None]:
        try:
            metrics = sweep([config], history, settings.symbol, span=span, jobs=1).metrics
        except NoBars:  # a part of the range may be a weekend
            return dict.fromkeys(SHOWN)
        values = {name: float(metrics[name][0]) for name in SHOWN}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    return measure


def _verdict(
    winner: int, found: float, said: str, replayed: NullReplay | None,
    validation: Mapping[str, float | None],
) -> SessionVerdict:  # fmt: skip
    if replayed is None:
        return SessionVerdict(
            verdict=FORWARD, winner=winner, objective=found, validation=validation,
            reason=f"forward evidence only: {said}",
        )  # fmt: skip
    p_value, count = replayed.p_value, len(replayed.objectives)
    passed = p_value <= LEVEL
    known = [each for each in replayed.objectives if math.isfinite(each)]
    often = sum(each >= replayed.objective for each in replayed.objectives)
    return SessionVerdict(
        verdict=PASSED if passed else REFUSED,
        reason=f"{often} of {count} replays on redrawn bars found as much: p = {p_value:.3f}, "
        f"{'at most' if passed else 'more than'} {LEVEL:.0%}",
        winner=winner,
        objective=found,
        p_value=p_value,
        replays=count,
        median=float(np.median(known)) if known else None,
        best=max(known) if known else None,
        validation=validation,
    )


def _row(book: AgentBook, record: SessionRecord, config: RulesConfig, replayed: NullReplay) -> dict[str, Any]:
    """Return how the session ranks among its replays, as the ledger keeps it."""
    return {
        "experiment_id": None,
        "family": record.plan.family,
        "symbol": record.plan.settings.symbol,
        "search": record.key,
        "config_hash": config.config_hash,
        "replays": len(replayed.objectives),
        "p_value": replayed.p_value,
        "recorded": book.now().isoformat(timespec="seconds"),
    }
