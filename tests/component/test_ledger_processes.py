"""The ledger's chain among real processes: those that add at once, and those that die."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lockstep.market.dates import DateRange
from research.experiments.cli import app
from research.ledger.append_only import LookRow
from research.ledger.database import Database, row_counts
from research.ledger.kinship import Series
from research.ledger.ledger import Ledger, Trials
from support.databases import KINDS, fresh_url
from support.experiments import NOON
from support.ledgers import fill, tamper

ROOT = Path(__file__).resolve().parents[2]
DATES = DateRange.of("2001-01-01", "2009-12-31")
HEAD = """
import os, signal, sys
from datetime import UTC, datetime
from lockstep.market.dates import DateRange
from research.ledger import chain
from research.ledger.database import Database
from research.ledger.ledger import Ledger, Trials
ledger, name, times = Ledger(Database.open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
now, dates = datetime(2026, 1, 2, tzinfo=UTC), DateRange.of("2001-01-01", "2009-12-31")
"""
ADDS = (
    HEAD
    + """
for number in range(times):
    ledger.look("F", "ES", dates, purpose=f"{name} {number}", now=now)
    shared = {f"shared {number}": "ok", f"{name} {number}": "ok"}
    ledger.record(Trials(family="F", symbol="ES", dates=dates, kind="grid", evaluations=shared), now=now)
    print(number, flush=True)
"""
)
DIES = (
    HEAD
    + """
with ledger.database.write() as connection:
    if name == "before the link":
        chain._add_link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    trials = Trials(family="F", symbol="ES", dates=dates, kind="grid", evaluations={"dead": "ok"})
    ledger.record(trials, now=now, connection=connection)
    os.kill(os.getpid(), signal.SIGKILL)
"""
)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.no_cover
def test_processes_that_add_at_once_make_one_chain_and_count_the_same_trial_once(url: str) -> None:
    ledger, times = Ledger(Database.open(url)), 8
    running = [python(ADDS, url, name, times) for name in "ab"]
    for process in running:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    head = ledger.verify()
    assert head.trials == times + 2 * times
    assert len(ledger.looks("F", DATES)) == 2 * times
    assert head.links == 1 + 2 * 2 * times


@pytest.mark.no_cover
@pytest.mark.parametrize("where", ["before the link", "before the commit"])
def test_one_that_is_killed_has_added_rows_and_link_or_nothing(url: str, where: str) -> None:
    ledger = Ledger(Database.open(url))
    fill(ledger.database)
    before = ledger.head()
    process = python(DIES, url, where, 1)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", -signal.SIGKILL)
    assert ledger.verify() == before
    fill(ledger.database)
    assert ledger.verify().trials == before.trials + 1


def test_one_that_is_killed_at_any_moment_leaves_a_whole_chain(url: str) -> None:
    ledger = Ledger(Database.open(url))
    process = python(ADDS, url, "a", 10_000)
    assert process.stdout is not None
    assert process.stderr is not None
    done = [process.stdout.readline() for _ in range(4)]
    process.kill()
    process.wait(timeout=60)
    process.stdout.close()
    process.stderr.close()
    assert done == [f"{number}\n" for number in range(4)]
    assert ledger.verify().trials >= 8
    assert row_counts(ledger.database)[LookRow.__tablename__] >= 4


class TestCommand:
    """`lockstep experiments trials`."""

    def said(self, *arguments: str) -> tuple[int, list[str]]:
        done = CliRunner().invoke(app, ["trials", "--symbol", "COMP", *arguments])
        return done.exit_code, done.output.splitlines()

    @pytest.fixture
    def ledger(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
        url = f"sqlite:///{tmp_path / 'experiments.db'}"
        monkeypatch.setenv("LOCKSTEP_DB", url)
        return Ledger(Database.open(url))

    def test_it_says_which_ledger_it_counts_in(self, ledger: Ledger) -> None:
        assert self.said() == (0, ["NASDAQ100: 0 trials"])
        trials = Trials(family="NASDAQ100", symbol="NQ", dates=DATES, kind="grid", evaluations={"a": "ok"})
        ledger.record(trials, now=NOON)
        head = ledger.head()
        lines = ["NASDAQ100: 1 trials", f"ledger {head.id}: 1 trials in all, 2 links", f"head {head.hash}"]
        assert self.said() == (0, lines)
        whole = "verified: every link and every row is as it was written"
        assert self.said("--verify") == (0, [*lines, whole])

    def test_what_is_wrong_is_named_and_fails(self, ledger: Ledger) -> None:
        fill(ledger.database, times=2)
        with ledger.database.write() as connection:
            tamper(connection, "DELETE FROM look WHERE id = 2")
            tamper(connection, "UPDATE law SET limits = 'x' WHERE id = 1")
        assert self.said()[0] == 0
        code, lines = self.said("--verify")
        assert code == 1
        assert lines[-2:] == [
            "look, rows 2 to 2: 1 of 1 are gone",
            "law, rows 1 to 1: at least one of 1 was changed",
        ]

    def test_relatives_and_guards_are_told(self, ledger: Ledger) -> None:
        days = np.arange(10_000, 10_400, dtype=np.int32)
        returns = np.random.default_rng(1).normal(size=days.size)
        for symbol, family in (("COMP", "NASDAQ100"), ("COMPX", "COMPX")):
            series = Series(symbol=symbol, family=family, bars=symbol, days=days, returns=returns)
            ledger.introduce(series, now=NOON)
        with ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER look_no_delete")
        _, lines = self.said()
        assert lines[1].startswith("COMPX is the same market as COMP (correlation 1.000 on 400 common days)")
        assert lines[-1].startswith("guards were missing or changed, and made again on ")
        assert lines[-1].endswith(": look_no_delete")
