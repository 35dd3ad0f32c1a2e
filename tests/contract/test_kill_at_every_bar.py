"""The engine dies by SIGKILL at any moment; the union of its runs equals the uninterrupted run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord

ROOT = Path(__file__).resolve().parents[2]


def driven(
    folder: Path, bars: int, how: str, seed: int = 0, desk: str = "two"
) -> tuple[int, list[SetRecord]]:
    """Return how many runs died, and the journal's bar sets without their sequences."""
    folder.mkdir()
    journal = folder / "journal.db"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "support.kill_driver",
            desk,
            str(journal),
            str(folder),
            str(bars),
            how,
            str(seed),
        ],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Journal.open(journal, readonly=True) as opened:
        assert opened.verify() == []
        sets = [row for row in opened.entries(1) if isinstance(row, SetRecord)]
    return int(done.stdout), sets


def plain(sets: list[SetRecord]) -> list[str]:
    """Return bar sets in a form in which equal means equal to the bit, without their sequences."""
    return [
        repr(replace(row, sequence=0, events=tuple(replace(event, sequence=0) for event in row.events)))
        for row in sets
    ]


def test_killed_after_every_bar(tmp_path: Path) -> None:
    """Sixty bars, sixty kills: same decisions, orders, fills and equity, no order twice, none lost."""
    died, pieces = driven(tmp_path / "pieces", 60, "after-each-set")
    none, whole = driven(tmp_path / "whole", 60, "never")
    assert (died, none) == (60, 0)
    assert len(whole) == 60
    assert plain(pieces) == plain(whole)


def test_killed_at_random_points_between_writes(tmp_path: Path) -> None:
    died, pieces = driven(tmp_path / "pieces", 250, "between-writes", 1)
    _, whole = driven(tmp_path / "whole", 250, "never")
    assert died > 5
    assert plain(pieces) == plain(whole)


def test_a_portfolio_killed_around_every_answer_and_after_every_bar_set(tmp_path: Path) -> None:
    """When all lanes have decided, when their entries were answered: no answer is given twice, none lost."""
    days = 8
    none, whole = driven(tmp_path / "whole", days, "never", desk="portfolio")
    told = [row.settled for row in whole if row.settled is not None]
    assert none == 0
    assert {each.rule for settled in told for each in settled.proposals} >= {"", "positions", "daily_loss"}
    assert any(lane.leaving for settled in told for lane in settled.state.lanes)
    for how, kills in (("between-phases", len(told)), ("after-each-set", len(whole))):
        died, pieces = driven(tmp_path / how, days, how, desk="portfolio")
        assert died == kills > 3 * days
        assert plain(pieces) == plain(whole), how
