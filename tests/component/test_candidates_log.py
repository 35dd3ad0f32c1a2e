"""Candidates in `STRATEGY_LOG.md`: a line for each thing that happened, once, and none lost."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from lockstep.errors import ExperimentError
from operations.candidates_log import log_candidates
from research.experiments.strategy_log import append_marked, fill_in_actual
from research.ledger.candidates import ForwardCandidate, ForwardEvent, happened, register
from research.ledger.ledger import Ledger
from research.ledger.promotions import of_strategies
from support.candidates import NOON, registration

KINDS = {
    "pilot": "pilot", "full": "full", "retired": "retired", "risk": "risk", "withdrawn": "retired by hand",
}  # fmt: skip
WRITTEN_BY_HAND = (
    "# Our log\n\nA note of ours.\n\n## winner (2026-01-02)\n\n- actual impact: not measured yet\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "desk" / "STRATEGY_LOG.md"


def become(ledger: Ledger, candidate: ForwardCandidate, kind: str, reason: str = "so it is") -> None:
    event = ForwardEvent(kind=kind, session=date(2012, 5, 2), evidence=7.25, reason=reason)
    happened(ledger, candidate, [event], now=NOON)


@pytest.mark.parametrize("kind", KINDS)
def test_each_event_leaves_one_line(ledger: Ledger, log: Path, kind: str) -> None:
    candidate = register(ledger, registration("dip"), now=NOON)
    assert log_candidates(ledger, log) == 1
    first = log.read_text()
    assert first.count("2012-03-07 dip registered: COMP, strategy dip, adaptive search, one of 12") == 1
    assert log_candidates(ledger, log) == 0
    assert log.read_text() == first
    become(ledger, candidate, kind)
    assert log_candidates(ledger, log) == 1
    added = log.read_text().removeprefix(first)
    assert added == f"- 2012-05-02 dip {KINDS[kind]}: so it is (evidence 7.25) <!-- dip {kind} -->\n"
    assert log_candidates(ledger, log) == 0


def test_what_others_wrote_stays_and_lines_may_be_edited(ledger: Ledger, log: Path) -> None:
    log.parent.mkdir()
    log.write_text(WRITTEN_BY_HAND)
    first = register(ledger, registration("dip"), now=NOON)
    log_candidates(ledger, log)
    assert log.read_text().startswith(WRITTEN_BY_HAND.rstrip())
    edited = log.read_text().replace("dip registered:", "our dip was registered, see the notes:")
    log.write_text(f"{edited}\n## later (2026-02-02)\n\n- parent: winner\n")
    become(ledger, first, "pilot")
    register(ledger, registration("second"), now=NOON + timedelta(hours=1))
    assert log_candidates(ledger, log) == 2
    text = log.read_text()
    assert text.count("our dip was registered, see the notes") == 1
    assert "dip registered:" not in text
    assert text.index("dip pilot") < text.index("second registered") < text.index("## later (2026-02-02)")
    fill_in_actual(log, "winner", date(2026, 3, 1), "as expected")
    assert log_candidates(ledger, log) == 0
    assert [each.where for each in of_strategies(log, log.parent)] == []


def test_a_line_that_somebody_else_wrote_is_not_written_again(ledger: Ledger, log: Path) -> None:
    become(ledger, register(ledger, registration("dip"), now=NOON), "pilot")
    log.parent.mkdir()
    log.write_text("# Log\n\n- 2012-05-02 dip pilot: told by a night <!-- dip pilot -->\n")
    assert log_candidates(ledger, log) == 1
    assert log.read_text().count("dip pilot") == 2, "the line and its mark"


def test_a_log_that_is_lost_gets_every_line_again(ledger: Ledger, log: Path) -> None:
    become(ledger, register(ledger, registration("dip"), now=NOON), "withdrawn")
    assert log_candidates(ledger, log) == 2
    before = log.read_text()
    log.unlink()
    assert log_candidates(ledger, log) == 2
    assert log.read_text() == before


@pytest.mark.parametrize("how", ["read-only", "a folder", "below a file", "not UTF-8"])
def test_a_log_that_cannot_be_written_is_one_line_and_nothing_is_lost(
    ledger: Ledger, log: Path, how: str
) -> None:
    candidate = register(ledger, registration("dip"), now=NOON)
    blocked = log
    if how == "below a file":
        log.parent.write_text("a file")
    else:
        log_candidates(ledger, log)
        if how == "a folder":
            log.unlink()
            log.mkdir()
        elif how == "not UTF-8":
            log.write_bytes(b"\xff\xfe")
        else:
            log.chmod(0o444)
    become(ledger, candidate, "pilot")
    with pytest.raises(ExperimentError, match=r"STRATEGY_LOG\.md: cannot be written: .*give --log") as told:
        log_candidates(ledger, blocked)
    assert "\n" not in str(told.value)
    if how == "read-only":
        assert "pilot" not in log.read_text()
        log.chmod(0o644)
    elsewhere = log.parent.parent / "elsewhere.md" if how != "read-only" else log
    assert log_candidates(ledger, elsewhere) == (1 if how == "read-only" else 2)
    assert "dip pilot: so it is" in elsewhere.read_text()


def test_a_reason_cannot_pass_for_a_mark(ledger: Ledger, log: Path) -> None:
    candidate = register(ledger, registration("dip"), now=NOON)
    become(ledger, candidate, "pilot", reason="sly\n- x <!-- dip withdrawn -->")
    log_candidates(ledger, log)
    become(ledger, candidate, "withdrawn")
    assert log_candidates(ledger, log) == 1
    assert log.read_text().count("\n- ") == 3


def test_marks_without_lines_change_nothing(log: Path) -> None:
    assert append_marked(log, "Candidates", {}) == 0
    assert not log.exists()
