"""The strategy file that promotion writes, and `STRATEGY_LOG.md`: what was promoted, and what came of it.

Candidates have a section of their own there, a line for each thing that happened to one.
"""

from __future__ import annotations

import errno
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock

from lockstep.errors import ExperimentError, StoreFailure
from lockstep.files import replace_file
from lockstep.market.dates import DateRange
from lockstep.models.manifest import LedgerStamp
from lockstep.strategy.config import StrategyConfig
from research.experiments.accounts import CHOSEN, SymbolAccount, figures_of
from research.experiments.analysis import Judgement
from research.experiments.law import spelled_limits
from research.experiments.variants import spelled
from research.statistics.gate import GateLimits
from research.statistics.verdict import VerdictLine

_TITLE = (
    "# Strategy log\n\nWhat was promoted, why, and what came of it. Written by `lockstep experiments` and "
    "`lockstep candidates`.\n"
)
_UNKNOWN = "- actual impact: not measured yet"
_ACTUAL = "- actual impact"


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One promotion.

    searched   the ranges of the search by name, or the windows of a walk-forward
    changes    path -> (before, after)
    train      by symbol, the account on the training range; empty for a walk-forward, whose training windows
               overlap
    holdout    measures by symbol on `holdout_dates`; empty and None without a hold-out
    verdict    in a word and a reason: not `promoted` where it was forced
    limits     by which it was judged; ledger: where it stood then
    remarks    what else the next reader has to know: earlier attempts, guards that were missing
    """

    name: str
    day: date
    config_hash: str
    parent: str
    parent_hash: str
    grandparent: str | None
    experiment: int
    experiment_name: str
    code_hash: str
    data_hashes: Mapping[str, str]
    symbols: tuple[str, ...]
    searched: str
    changes: Mapping[str, tuple[Any, Any]]
    judgement: Judgement
    train: Mapping[str, SymbolAccount]
    holdout: Mapping[str, Mapping[str, float]]
    holdout_dates: DateRange | None
    verdict: VerdictLine
    limits: GateLimits
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    reason: str
    expected_impact: str
    ledger: LedgerStamp

    def lines(self) -> list[str]:
        """Return the entry's statements, one per line."""
        above = f", grandparent {self.grandparent}" if self.grandparent else ""
        changes = ", ".join(
            f"{path} {spelled(old)} → {spelled(new)}" for path, (old, new) in self.changes.items()
        )
        evidence = self.judgement.evidence
        pbo = "not measured" if evidence.pbo is None else f"{evidence.pbo:.0%}"
        p_value = "not measured" if math.isnan(evidence.p_value) else f"{evidence.p_value:.3f}"
        if evidence.searched == "adaptive":
            p_value = "not valid: the search learned from earlier results"
        gate = f"forced: {self.reason}" if self.refusals else "passed"
        what = f"{self.experiment} {self.experiment_name}, {', '.join(self.symbols)}"
        return [
            f"parent: {self.parent} ({self.parent_hash[:10]}){above}",
            f"experiment: {what}, {self.searched}",
            f"changes: {changes or 'none'}",
            *self._measures(),
            f"evidence: {evidence.trials:,} trials counted, PBO {pbo}, p-value after all of them {p_value}",
            f"verdict: {self.verdict}",
            f"gate: {gate}",
            *(f"overruled: {refusal}" for refusal in self.refusals),
            f"limits: {spelled_limits(self.limits)}",
            *self.remarks,
            f"ledger: {self.ledger}",
            f"expected impact: {self.expected_impact or 'not stated'}",
        ]

    def _measures(self) -> list[str]:
        """Return the figures of every account, each with the dates that `compare` finds it on."""
        evidence, accounts = self.judgement.evidence, self.judgement.winner.accounts
        found = [f"train {account}" for account in self.train.values()]
        found = found or [f"train: Sharpe {evidence.train_sharpe:.2f}, {evidence.train_of}"]
        found += [f"test {account}" for account in accounts.values()]
        if not accounts:
            found.append("test: the version that ran the search kept no account; search again")
        found += [f"{CHOSEN}: {account}" for account in self.judgement.walk_forward.values()]
        found += [
            f"hold-out {symbol} {self.holdout_dates}: {figures_of(measures)}"
            for symbol, measures in self.holdout.items()
        ]
        return found if self.holdout else [*found, "hold-out: none was sealed"]


def strategy_yaml(config: StrategyConfig, entry: LogEntry) -> str:
    """Return the strategy file: the metadata as comments, which the configuration does not read."""
    head = [f"promoted {entry.day} from experiment {entry.experiment}", *entry.lines()]
    head += [f"config {entry.config_hash}", f"code {entry.code_hash}"]
    head += [f"data {symbol} {value}" for symbol, value in entry.data_hashes.items()]
    comments = "".join(f"# {' '.join(line.split())}\n" for line in head)
    return f"{comments}{config.to_yaml()}"


def append_entry(log: Path, entry: LogEntry) -> None:
    """Add an entry to the log, which is made where it is missing."""
    lines = "".join(f"- {' '.join(line.split())}\n" for line in entry.lines())
    _edit(log, lambda text: f"{text.rstrip()}\n\n## {entry.name} ({entry.day})\n\n{lines}{_UNKNOWN}\n")


def fill_in_actual(log: Path, name: str, day: date, measured: str) -> None:
    """Put the actual impact where it was left open, or below an earlier one.

    ExperimentError where the log has no entry of that name.
    """

    def edit(text: str) -> str:
        start = text.find(f"\n## {name} (")
        if start < 0:
            raise ExperimentError(f"{log}: has no entry of {name}; promote it first, or give --log")
        stop = text.find("\n## ", start + 1)
        stop = len(text) if stop < 0 else stop
        line = f"{_ACTUAL} ({day}): {measured}"
        section = text[start:stop]
        section = section.replace(_UNKNOWN, line) if _UNKNOWN in section else f"{section.rstrip()}\n{line}\n"
        return text[:start] + section + text[stop:]

    if not log.is_file():
        raise ExperimentError(f"{log}: there is no strategy log; promote something first, or give --log")
    _edit(log, edit)


def append_marked(log: Path, heading: str, lines: Mapping[str, str]) -> int:
    """Add lines to a section of the log, each once; returns how many were new.

    lines   by a mark, which stands in a comment at the end of its line: a line whose mark is there was
            written before, and is left as it is

    The log is made where it is missing. ExperimentError where it cannot be written; then it is as it was.
    """

    def edit(text: str) -> str:
        new = "".join(f"{each}\n" for each in _unwritten(text, lines))
        title = f"\n## {heading}\n"
        start = text.find(title)
        if start < 0:
            return f"{text.rstrip()}\n{title}\n{new}"
        stop = text.find("\n## ", start + 1)
        stop = len(text) if stop < 0 else stop
        return f"{text[:stop].rstrip()}\n{new}{text[stop:]}"

    try:
        if log.exists() and not log.stat().st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "it is read-only")
        new = _unwritten(log.read_text(encoding="utf-8") if log.is_file() else "", lines)
        if new:
            _edit(log, edit)
    except (OSError, StoreFailure, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ExperimentError(
            f"{log}: cannot be written: {reason}; make it writable, or give --log"
        ) from error
    return len(new)


def _unwritten(text: str, lines: Mapping[str, str]) -> list[str]:
    """Return the lines whose mark ends no line of the text, each with its mark."""
    marked = {mark: f"<!-- {mark} -->" for mark in lines}
    there = {line[line.rfind("<!-- ") :] for line in map(str.rstrip, text.splitlines())}
    return [
        f"- {' '.join(line.split()).replace('<!--', '').replace('-->', '')} {marked[mark]}"
        for mark, line in lines.items()
        if marked[mark] not in there
    ]


def _edit(log: Path, change: Any) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(log.with_name(f".{log.name}.lock")):
        text = change(log.read_text(encoding="utf-8") if log.is_file() else _TITLE)
        replace_file(log, text)
