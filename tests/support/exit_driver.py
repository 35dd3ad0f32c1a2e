"""How engines end: each scenario runs `scripts/run_live.py` in a forked child; a program without threads.

    exit_driver.py FOLDER SCENARIO...

Prints one JSON object per scenario: exit code, last status, last line on stderr, states seen on the way.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from lockstep.live import service
from lockstep.live.engine import Engine
from lockstep.live.events import PositionAgreed, PositionDiffers
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.status.status import Status, read_status
from support import papers

ROOT = Path(__file__).resolve().parents[2]
HEADER = "datetime,open,high,low,close,volume\n"
PATIENCE = 60.0


class Child:
    """A process of the engine on the configuration in `folder`."""

    def __init__(self, folder: Path, *options: str, before: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self.seen: list[str] = []
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._run(before, *options))

    def _run(self, before: Callable[[], None], *options: str) -> int:
        os.dup2(os.open(self.folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.argv = ["run_live.py", "--config", str(self.folder / "live.yml"), *options]
        try:
            before()
            runpy.run_path(str(ROOT / "scripts" / "run_live.py"), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    def status(self) -> Status | None:
        """Return the newest status, and note its state."""
        try:
            found = read_status(self.folder / "status.json")
        except LockstepError:
            return None
        told = f"{found.state}: {found.detail}"
        if told not in self.seen:
            self.seen.append(told)
        return found

    def until(self, state: str, also: Callable[[Status], bool] = lambda status: True) -> None:
        """Wait until the status has a state."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.status()) is None or found.state != state or not also(found):
            assert time.monotonic() < deadline, self.seen
            assert os.waitpid(self.pid, os.WNOHANG) == (0, 0), (self.folder / "stderr").read_text()
            time.sleep(0.01)

    def ended(self) -> dict[str, Any]:
        """Wait for its end and return what is known of it."""
        deadline = time.monotonic() + PATIENCE
        while (found := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            self.status()
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)
        status = self.status()
        said = (self.folder / "stderr").read_text().strip().splitlines()
        return {
            "code": os.waitstatus_to_exitcode(found[1]),
            "state": status.state if status else None,
            "detail": status.detail if status else None,
            "said": said[-1] if said else "",
            "seen": self.seen,
        }


def _tails(folder: Path) -> list[dict[str, object]]:
    files = {symbol: folder / f"{symbol}_bt.csv" for symbol in ("COMP", "SPX")}
    for path in files.values():
        path.write_text(HEADER)
    return [
        {"kind": "tail", "symbol": symbol, "path": str(path), "source": "futures_daily", "interval": 0.02}
        for symbol, path in files.items()
    ]


def refusal(folder: Path) -> dict[str, Any]:
    """No version is in production."""
    papers.store(folder / "store")
    papers.config(folder, instruments=[{"symbol": "SPX"}])
    return Child(folder).ended()


def unreadable(folder: Path) -> dict[str, Any]:
    """The configuration cannot be read; the environment says where the status is."""
    (folder / "live.yml").write_text("mode: [")
    os.environ["LOCKSTEP_STATUS"] = str(folder / "status.json")
    try:
        return Child(folder).ended()
    finally:
        del os.environ["LOCKSTEP_STATUS"]


def mismatch(folder: Path) -> dict[str, Any]:
    """The journal holds what this code does not do: a vector is another by its last bit."""
    papers.store(folder / "store")
    papers.config(folder)
    assert Child(folder, "--stop-after", "5").ended()["code"] == 0

    def nudged(record: SetRecord) -> SetRecord:
        (lane,) = record.lanes
        return papers.with_lane(record, vector=bytes([lane.vector[0] ^ 1]) + lane.vector[1:])

    papers.rewritten(folder / "live.db", folder / "nudged.db", nudged)
    for path in folder.glob("live.db*"):
        path.unlink()
    (folder / "nudged.db").rename(folder / "live.db")
    return Child(folder).ended()


def disk(folder: Path) -> dict[str, Any]:
    """The disk takes no more of the journal's log; with room, the next start goes on."""
    papers.store(folder / "store")
    papers.config(folder)
    assert Child(folder, "--stop-after", "2").ended()["code"] == 0
    limit = 300_000
    full = Child(folder, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))).ended()
    return {**full, "after": Child(folder).ended()["code"]}


def feed(folder: Path) -> dict[str, Any]:
    """The file that is followed is replaced by a folder."""
    papers.store(folder / "store")
    papers.config(folder, feeds=_tails(folder))
    child = Child(folder)
    child.until("running")
    (folder / "COMP_bt.csv").unlink()
    (folder / "COMP_bt.csv").mkdir()
    return child.ended()


def lock(folder: Path) -> dict[str, Any]:
    """The journal's lock file is removed: another process could write."""
    papers.store(folder / "store")
    papers.config(folder, feeds=_tails(folder))
    child = Child(folder)
    child.until("running")
    (folder / "live.db.lock").unlink()
    for path in folder.glob("*_bt.csv"):
        with path.open("a") as stream:
            stream.write("2019-01-02,6650,6700,6600,6610,1000000\n")
    return child.ended()


def uncaught(folder: Path) -> dict[str, Any]:
    """A mistake of the program."""
    papers.store(folder / "store")
    papers.config(folder)

    def broken() -> None:
        def consider(self: Engine) -> None:
            raise ZeroDivisionError("planted")

        Engine._consider_halt = consider  # type: ignore[method-assign]

    return Child(folder, before=broken).ended()


def sigterm(folder: Path) -> dict[str, Any]:
    """It is asked to stop while it trades."""
    papers.store(folder / "store")
    papers.config(folder, feeds=_tails(folder))
    child = Child(folder)
    child.until("running")
    os.kill(child.pid, signal.SIGTERM)
    return child.ended()


def sigterm_early(folder: Path) -> dict[str, Any]:
    """It is asked to stop before there is an engine."""
    papers.store(folder / "store")
    papers.config(folder)

    def slow() -> None:
        def history(*arguments: Any) -> None:
            time.sleep(PATIENCE)

        service.settled_bars = history  # type: ignore[assignment]

    child = Child(folder, before=slow)
    while "starting: reading history and filling windows" not in child.seen:
        child.status()
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGTERM)
    return child.ended()


def second(folder: Path) -> dict[str, Any]:
    """Another engine has the journal: its status stays its own."""
    papers.store(folder / "store")
    papers.config(folder, feeds=_tails(folder))
    first = Child(folder)
    first.until("running")
    refused = Child(folder).ended()
    os.kill(first.pid, signal.SIGTERM)
    return {**refused, "first": first.ended()["code"]}


def money(folder: Path) -> dict[str, Any]:
    """Mode live: the position is reconciled with the broker's export as soon as there is one."""
    papers.store(folder / "store")
    positions = folder / "positions.csv"
    papers.config(
        folder, mode="live", feeds=_tails(folder), fills_by_hand=True, positions=str(positions),
        clock={"unchecked": "not in a test"}, rollout={"stages": [{"from_day": 1, "mode": "live"}]},
        traderspost={"tickers": {"COMP": "NQZ2026"}},
    )  # fmt: skip
    os.environ["TRADERSPOST_WEBHOOK_URL"] = "http://localhost/trading/webhook/4f1c9a0b7d3e"
    child = Child(folder)
    child.until("running", lambda status: bool(status.unreconciled))
    waits = read_status(folder / "status.json").unreconciled["COMP"]
    for quantity in (2, 0):
        now = datetime.now(UTC).isoformat()
        positions.write_text(f"symbol,quantity,as_of\nCOMP,{quantity},{now}\n")
        child.until(
            "running", lambda status, held=quantity: ("+2" in str(status.unreconciled)) == (held == 2)
        )
    child.until("running", lambda status: not status.unreconciled)
    os.kill(child.pid, signal.SIGTERM)
    with Journal.open(folder / "live.db", readonly=True) as journal:
        kinds = [event.kind for event in journal.events(PositionAgreed, PositionDiffers)]
    return {**child.ended(), "waits": waits, "kinds": kinds}


SCENARIOS = {
    each.__name__: each
    for each in (
        refusal,
        unreadable,
        mismatch,
        disk,
        feed,
        lock,
        uncaught,
        sigterm,
        sigterm_early,
        second,
        money,
    )
}


def main(folder: Path, *names: str) -> None:
    """Run scenarios, each in a folder of its own."""
    for name in names:
        (folder / name).mkdir()
        print(json.dumps({"scenario": name, **SCENARIOS[name](folder / name)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
