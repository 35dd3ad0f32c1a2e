"""What became of candidates, in `STRATEGY_LOG.md`: a line for each registration, promotion and end.

The ledger is what counts; the log is what people read. So a line that could not be written is written by the
next command, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from research.experiments.strategy_log import append_marked
from research.ledger.candidates import ForwardCandidate, candidates
from research.ledger.ledger import Ledger
from research.statistics.regimes import regimes_in_words

SECTION = "Candidates"


def log_candidates(ledger: Ledger, log: Path) -> int:
    """Write a line for everything that happened to a candidate and has none yet; returns how many.

    ExperimentError where the log cannot be written.
    """
    lines: dict[str, str] = {}
    for each in candidates(ledger):
        lines |= candidate_lines(each)
    return append_marked(log, SECTION, lines)


def candidate_lines(candidate: ForwardCandidate) -> Mapping[str, str]:
    """Return the lines of a candidate by their marks, oldest first."""
    share = f"one of {round(1 / candidate.weight)} registrations of {candidate.year}"
    what = f"{candidate.symbol}, {candidate.kind} {candidate.hash[:12]}, {candidate.searched} search, {share}"
    lines = {
        mark_of(candidate, "registered"): f"{candidate.recorded[:10]} {candidate.name} registered: {what}; "
        f"its history by market regime: {failing(candidate)}"
    }
    for each in candidate.events:
        lines[mark_of(candidate, each.kind)] = (
            f"{each.session} {candidate.name} {each.in_words}: {each.reason} (evidence {each.evidence:.2f})"
        )
    return lines


def mark_of(candidate: ForwardCandidate, kind: str) -> str:
    """Return by what the line of an event is found again, whoever wrote it; names are unique in a ledger."""
    return f"{candidate.name} {kind}"


def failing(candidate: ForwardCandidate) -> str:
    """Return in which market regimes the history of a candidate fails, in words."""
    if candidate.regimes is None:
        return "not known, an earlier version registered it"
    return regimes_in_words(candidate.regimes)
