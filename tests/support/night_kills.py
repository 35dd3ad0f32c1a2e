"""Kill a small night at random moments, complete it, and say how what is left differs from one nobody killed.

    night_kills.py FOLDER COUNT COMMANDS SEED

A program of its own, without threads. COUNT nights are forks that die by SIGKILL before or after one of their
writes, half of the time in the middle of a transaction; another fork goes on. COMMANDS more are processes of
their own: the real `pipeline run` is killed at some moment after its first step, the `pipeline resume` after
it is killed as well, and a last one completes the night. Prints JSON; `verdict` says what may differ.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import operations.nightly.pipeline  # noqa: F401  (imported once, before the forks)
from operations.nightly import cli
from operations.nightly.telling import TOLD
from research.pipeline.effects import NightEffects
from research.pipeline.execution import digest_of
from support.kills import NEVER, counting, lived
from support.nights import ROOT, nights, space, written

Row = dict[str, Any]

_SENT = "registered for forward evidence, from experiment"
# By the clock of whoever ran it, or a hash of what is. A link's hashes are over rows with their times.
_TIMES = {"recorded", "started", "finished", "seconds", "seen", "stamp"}
_HASHES = {"digest", "previous", "hash"}
# The one step that says which effects are unknown.
_REPORT = "report"


def config() -> dict[str, Any]:
    """Return a night that registers its winner, whatever its history is worth, and so sends a message."""
    tiny = space(parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6)
    return {"spaces": [tiny], "registrations": {"least_history": 0.0, "least_trades": 0}}


# --- What is left, and how it may differ ---


@dataclass(frozen=True, kw_only=True)
class NightLeft:
    """What a night left.

    rows    of every table by its name, in order, without times and what hashes them
    files   digest of each step's folder and of each page, by name; log: the log of strategies
    report  the report as JSON; sent: the lines that the sink of messages was given, as often as it was
    """

    rows: Mapping[str, Sequence[Row]]
    files: Mapping[str, str]
    report: Mapping[str, Any]
    log: str
    sent: Sequence[str]

    @property
    def unknown(self) -> list[Row]:
        """The messages that were begun, and of which nobody knows whether they were sent."""
        done = {row["effect_id"] for row in self.rows["effect_done"]}
        return [row for row in self.rows["effect"] if row["kind"] == TOLD and row["id"] not in done]


def verdict(whole: NightLeft, left: NightLeft) -> list[str]:
    """Return how a night that was killed differs from one that was not; nothing: it is the same.

    Promised is the same database but for times, the same files, and no effect twice. One thing may differ: a
    message that was begun when the process died is told as one of which nobody knows. Then the row of its
    end is missing with the link over it, and the report, its row and its page say so. Nothing else.
    """
    unknown = left.unknown
    numbers = {row["id"] for row in unknown}
    first, second = _without(whole, numbers), _without(left, numbers)
    found = [f"table {name}" for name in first.rows if first.rows[name] != second.rows.get(name)]
    found += [f"file {name}" for name in sorted({*first.files, *second.files})
              if first.files.get(name) != second.files.get(name)]  # fmt: skip
    found += ["report"] if first.report != second.report else []
    found += ["log of strategies"] if first.log != second.log else []
    found += [f"sent {count} times: {line}" for line, count in Counter(left.sent).items() if count > 1]
    lost = set(whole.sent) - set(left.sent)
    if len(lost) > len(unknown) or set(left.sent) - set(whole.sent):
        found.append(f"sent: {sorted(left.sent)}, and without a kill {sorted(whole.sent)}")
    told, subjects = left.report["unknown"], [json.loads(row["content"])["message"] for row in unknown]
    if len(told) != len(subjects) or any(sum(name in line for line in told) != 1 for name in subjects):
        found.append(f"unknown are the messages of {subjects}, and the report says {told}")
    return found


def _without(night: NightLeft, numbers: set[int]) -> NightLeft:
    """Return a night without what tells apart one whose messages with these effects are unknown."""
    if not numbers:
        return night
    ended = [row for row in night.rows["effect_done"] if row["effect_id"] not in numbers]
    links = Counter(row["table_name"] for row in night.rows["link"])
    links["effect_done"] = len(ended)
    rows = {
        **night.rows,
        "effect_done": [{**row, "id": 0} for row in ended],
        "night": [
            {**row, "key": "", "output": ""} if row["step"] == _REPORT else row for row in night.rows["night"]
        ],
        "link": [{name: count} for name, count in sorted(links.items())],
    }
    files = {name: each for name, each in night.files.items() if _REPORT not in name and "night-" not in name}
    return replace(night, rows=rows, files=files, report={**night.report, "unknown": []})


def left(folder: Path, sent: Sequence[str]) -> NightLeft:
    """Return what a night left in a folder."""
    results = folder / "results"
    steps = {
        each.parent.name: digest_of(each) for each in sorted((results / "steps").glob("*/*")) if each.is_dir()
    }
    pages = {each.name: digest_of(each.parent) for each in sorted(results.glob("night-*"))}
    (report,) = (results / "steps" / _REPORT).glob("*/report.json")
    return NightLeft(
        rows=_rows(folder / "experiments.db"),
        files={**steps, **{name: _file_digest(results / name) for name in pages}},
        report=json.loads(report.read_text(encoding="utf-8")),
        log=(folder / "STRATEGY_LOG.md").read_text(encoding="utf-8"),
        sent=tuple(sent),
    )


def _file_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(database: Path) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        for (name,) in tables:
            gone = _TIMES | (_HASHES if name == "link" else set())
            rows = connection.execute(f'SELECT * FROM "{name}"')
            found[name] = sorted(
                ({key: row[key] for key in row.keys() if key not in gone} for row in rows),
                key=repr,
            )
    return found


# --- Forks that die at a write ---


class _Sent(logging.Handler):
    """Writes every message to a file at once, so that a kill loses none."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        if _SENT in record.getMessage():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{record.getMessage()}\n")


def made(folder: Path, at: int = NEVER, before: Callable[[], None] = lambda: None) -> bool:
    """Make the night of a folder as the command does, in a fork that may die; whether it lived.

    before   is called in the fork: plants a fault
    """
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        logging.getLogger().addHandler(_Sent(folder.parent / "sent"))
        counted = counting(at)
        before()
        cli.make(nights(folder, **config()))
        (folder.parent / "writes").write_text(str(counted()))
        os._exit(0)
    return lived(child)


def killed_at(place: Path, at: int, before: Callable[[], None] = lambda: None) -> NightLeft:
    """Return what is left of a night that died at a write, or by `before`, and was completed.

    at   `NEVER`: it may live
    """
    shutil.rmtree(place / "night", ignore_errors=True)
    (place / "sent").write_text("")
    survived = made(place / "night", at, before)
    assert not survived or at == NEVER, at
    if not survived:
        assert made(place / "night", before=before)
    return left(place / "night", (place / "sent").read_text().splitlines())


def dying_after_a_message(place: Path, *, forgetful: bool) -> Callable[[], None]:
    """Return what lets the first of two processes die when it has sent a message and not written that down.

    forgetful   the control: what was begun before is begun again, as if nobody had written it down
    """

    def before() -> None:
        done, begun, mark = NightEffects._done, NightEffects._begun, place / "died"

        def dying(self: NightEffects, key: str, outcome: str) -> None:
            if not mark.exists() and any(each.key == key and each.kind == TOLD for each in self.all()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            done(self, key, outcome)

        def again(self: NightEffects, night: str, kind: str, subject: str, *rest: Any, attempt: int) -> str:
            known = sum((each.kind, each.subject) == (kind, subject) for each in self.all())
            return begun(self, night, kind, subject, *rest, attempt=known + attempt)

        NightEffects._done = dying  # type: ignore[method-assign]
        if forgetful:
            NightEffects._begun = again  # type: ignore[method-assign]
            NightEffects._attempts = lambda self, kind, subject: []  # type: ignore[method-assign]

    return before


# --- Processes that die at a moment ---


@dataclass(frozen=True, kw_only=True)
class Command:
    """The real command on a folder of its own; it is killed some seconds after it printed its first line."""

    folder: Path

    def called(self, word: str, *, after: float = NEVER) -> tuple[bool, list[str], float]:
        """Return whether it lived, the lines that it printed, and the seconds from its first line on."""
        path = ROOT / "scripts" / "pipeline.py"
        environment = {
            **os.environ, "PYTHONUNBUFFERED": "1",
            "LOCKSTEP_DB": f"sqlite:///{self.folder / 'experiments.db'}",
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        }  # fmt: skip
        words = [sys.executable, str(path), word, "--config", str(self.folder / "nightly.yml")]
        output = self.folder.parent / "output"
        with (
            output.open("wb") as file,
            subprocess.Popen(
                words, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=self.folder
            ) as process,
        ):
            while not output.stat().st_size and process.poll() is None:
                time.sleep(0.005)
            begun = time.monotonic()
            try:
                process.wait(min(after, 600.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
        return process.returncode != -signal.SIGKILL, lines, time.monotonic() - begun

    def begun(self) -> None:
        """Begin anew: nothing but the configuration is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        written(self.folder, **config())


def killed_commands(place: Path, count: int, random_: random.Random) -> dict[str, Any]:
    """Kill `count` nights of the real command, each in `run` and, where it comes to it, in `resume`."""
    command = Command(folder=place / "night")
    killed, different, unknown, day, whole = {"run": 0, "resume": 0}, dict[str, list[str]](), 0, "", None
    for number in range(count):
        # What a night says of a registration has its date: compared are nights of one day.
        if day != f"{datetime.now(UTC):%Y-%m-%d}" or whole is None:
            day = f"{datetime.now(UTC):%Y-%m-%d}"
            command.begun()
            _, lines, seconds = command.called("run")
            whole = left(command.folder, [line for line in lines if _SENT in line])
        command.begun()
        moments = random_.uniform(0, seconds), random_.uniform(0, seconds)
        said = list[str]()
        for word, after in (("run", moments[0]), ("resume", moments[1])):
            survived, lines, _ = command.called(word, after=after)
            said += lines
            killed[word] += not survived
        for word in ("resume", "run"):
            said += command.called(word)[1]
        found = left(command.folder, [line for line in said if _SENT in line])
        unknown += len(found.unknown)
        if how := verdict(whole, found):
            different[f"{number}: {moments[0]:.3f} s, {moments[1]:.3f} s"] = how
    return {"killed commands": killed, "of them unknown": unknown, "commands left otherwise": different}


def after_messages(place: Path, whole: NightLeft) -> dict[str, Any]:
    """Kill a night after a message, with the product's effects, and with some that forget."""
    found = {}
    for forgetful in (False, True):
        (place / "died").unlink(missing_ok=True)
        night = killed_at(place, NEVER, dying_after_a_message(place, forgetful=forgetful))
        found["control" if forgetful else "after a message"] = {
            "unknown": len(night.unknown), "different": verdict(whole, night),
        }  # fmt: skip
    return found


def main(place: Path, count: int, commands: int, seed: int) -> dict[str, Any]:
    """Kill nights in both ways; which of them were left otherwise, and how."""
    # The first one leaves caches outside of its folder.
    killed_at(place, NEVER)
    whole, writes = killed_at(place, NEVER), int((place / "writes").read_text())
    chosen = random.Random(seed)
    drawn = chosen.sample(range(1, writes + 1), min(count, writes))
    different, unknown = dict[str, list[str]](), list[int]()
    for at in drawn:
        found = killed_at(place, at)
        if found.unknown:
            unknown.append(at)
        if how := verdict(whole, found):
            different[str(at)] = how
    return {
        "writes": writes, "killed": len(drawn), "different": different, "told as unknown": sorted(unknown),
        "candidates": len(whole.rows["candidate"]), "effects": len(whole.rows["effect"]),
        **after_messages(place, whole), **killed_commands(place / "commands", commands, chosen),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
