"""What a terminal shows of sessions of agents: tables and lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from lockstep.tables import TextTable, prose
from research.agents.database import FROZEN, GATE, REGISTERED, SessionRecord, Strategy
from research.agents.gate import SHOWN, SessionVerdict
from research.agents.summary import ModelInSession, SessionSummary, Tally


def sessions_table(records: Sequence[SessionRecord], made: Counter[int]) -> TextTable:
    """Return one row per session; `made`: how many trials each has."""
    table = TextTable("session", "begun", "symbol", "researcher", "trials", "is", prose("goal"))
    for each in records:
        settings = each.plan.settings
        table.add_row(
            str(each.id), each.recorded[:16].replace("T", " "), settings.symbol, settings.researcher,
            f"{made[each.id]} of {settings.strategies}", state(each), settings.goal,
        )  # fmt: skip
    return table


def state(record: SessionRecord) -> str:
    """Return how far a session is, in a word or two."""
    if REGISTERED in record.events:
        return f"registered as {record.events[REGISTERED]['candidate']}"
    if GATE in record.events:
        verdict = record.events[GATE]["verdict"]
        return {"passed": "passed its gate", "refused": "refused by its gate"}.get(verdict, "forward only")
    return "complete" if FROZEN in record.events else "not complete"


def strategies_table(found: Sequence[Strategy]) -> TextTable:
    """Return one row per strategy."""
    table = TextTable("strategy", "kind", "move", "status", "fitness", "Sharpe", "trades", prose("decision"))
    for each in found:
        trial, measures = each.trial, each.trial.measures
        table.add_row(
            each.name, trial.proposal.kind, trial.proposal.move, trial.status,
            _number(None if measures is None else measures.fitness),
            _number(None if measures is None else measures.sharpe),
            "" if measures is None else f"{measures.trades:,}", each.decision,
        )  # fmt: skip
    return table


def kinds_table(found: Sequence[Tally]) -> TextTable:
    """Return one row per kind of strategy: how many, what became of them, and their mean Sharpe ratio."""
    table = TextTable("kind", "proposed", "evaluated", "repeated", "refused", "failed", "mean Sharpe", "best")
    for each in found:
        table.add_row(
            each.name, str(each.tried),
            *(str(each.status[status]) for status in ("evaluated", "repeated", "refused", "failed")),
            _number(each.mean_sharpe), "" if each.best is None else _number(each.best.trial.fitness),
        )  # fmt: skip
    return table


def models_table(found: Sequence[ModelInSession]) -> TextTable:
    """Return one row per model: its version at the start and at the end, and how strategies did with it."""
    table = TextTable("model", "at the start", "at the end", "read by", "mean Sharpe")
    for each in found:
        table.add_row(
            each.name, each.start or "none", each.end or "folds only", str(each.read_by),
            _number(each.mean_sharpe),
        )  # fmt: skip
    return table


def gate_lines(record: SessionRecord, found: SessionVerdict) -> list[str]:
    """Return what the gate says, lines to print."""
    known = {name: found.validation.get(name) for name in SHOWN}
    validation = ", ".join(
        f"{name.replace('_', ' ')} {value:,.3g}" for name, value in known.items() if value is not None
    )
    lines = [
        f"session {record.id}, trial {found.winner}, fitness {found.objective:.3f}: {found.verdict}",
        f"  {found.reason}",
    ]
    if found.median is not None and found.best is not None:
        lines.append(f"  the replays found {found.median:.3f} in the median, {found.best:.3f} at best")
    lines.append(f"  validation, {record.plan.validation}: {validation or 'nothing is defined'}")
    lines += [f"  {name}: {_out_of_sample(split)}" for name, split in sorted(found.knowledge.items())]
    if found.verdict != "refused":
        lines.append(f"  `lockstep agents register {record.id}` begins its forward evidence")
    return lines


def _out_of_sample(split: Mapping[str, Any]) -> str:
    """Return what of a range the language model cannot have read."""
    after, until = split["after"], split["knowledge_until"]
    if after is None:
        return f"the model may have read all of it (up to {until}); nothing of it is out of sample"
    known = ", ".join(
        f"{name} {value:,.3g}" for name, value in after["measures"].items() if value is not None
    )
    return f"out of sample only after {until}: {known or 'nothing is defined'}"


def knowledge_lines(found: SessionSummary) -> list[str]:
    """Return what a language model may have read of the training, lines to print; none without a model."""
    until, top = found.knowledge_until, found.top
    split = None if top is None else found.split(top)
    if until is None or top is None or split is None:
        return []
    before, after = (
        "no fold" if part is None else f"Sharpe {part.measures['sharpe']:.3f}"
        if part.measures["sharpe"] is not None
        else "no trade"
        for part in (split.before, split.after)
    )  # fmt: skip
    return [
        f"{top.name} up to {until}, which the model may have read: {before}; later, out of sample: {after}"
    ]


def winner_lines(record: SessionRecord) -> list[str]:
    """Return what a session froze, lines to print."""
    if FROZEN not in record.events:
        return []
    event = record.events[FROZEN]
    lines = [f"ended early: {event['ended']}"] if event["ended"] else []
    if not event["winners"]:
        return lines
    names = ", ".join(str(each["number"]) for each in event["winners"])
    return [*lines, f"frozen: trials {names}; fitness {event['objective']:.3f}"]


def spelled(strategy: Strategy) -> str:
    """Return the spec of a strategy as a line of YAML."""
    text = yaml.safe_dump(dict(strategy.trial.proposal.spec), default_flow_style=True, width=10_000)
    return str(text).strip()


def _number(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.3f}"
