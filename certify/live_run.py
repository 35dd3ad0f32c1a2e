"""The live engine as a process of its own: fed, killed, restarted, and read back from its journal."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from certify.series import Arrived
from lockstep.errors import ParityError
from lockstep.live.events import EngineStarted
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.rerun import step_of
from lockstep.live.traded import Kept
from lockstep.market.instrument import traded_symbol
from lockstep.models.bundle import Bundle
from lockstep.monitoring.parity import EngineStep

if TYPE_CHECKING:
    import plotly.graph_objects as go

# -P: the working folder is not a place of modules.
_ENGINE = (sys.executable, "-P", "-m", "lockstep.live.main")
_WITHOUT_LIMITS = {
    "max_contracts": 1e6,
    "max_total_contracts": 1e9,
    "max_orders_per_day": 1_000_000,
    "max_daily_loss": 1e12,
    "collar": {"percent": 1e6},
    "stale_seconds": 1e9,
}
_PATIENCE = 600.0


@dataclass(frozen=True, kw_only=True)
class ReplayRange:
    """What is traded: sessions from `start` to `end` (ISO), from files in `data_dir` (None: embedded)."""

    start: str
    end: str | None
    data_dir: Path | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeskRules:
    """What a desk's live.yml says beside what it trades: its portfolio, and the limits of its gateway."""

    portfolio: Mapping[str, Any]
    limits: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """What the live engine did.

    sets           its bar sets; warmup   the bars that filled its windows before the first
    killed_after   number of sets after which it was killed, once per kill
    modes          floating-point mode of its deciding thread, once per start
    """

    sets: tuple[SetRecord, ...]
    warmup: Kept
    killed_after: tuple[int, ...]
    modes: tuple[str, ...]

    @property
    def restarts(self) -> int:
        """How many different kills it went on after; one after the last set leaves nothing to go on with."""
        return len({count for count in self.killed_after if count < len(self.sets)})

    def steps(self, symbol: str, timeframe: str, arrived: Arrived | None = None) -> list[EngineStep]:
        """Return what it did with one instrument; with `arrived`, also the bars that its features read."""
        found = []
        for row in self.sets:
            if arrived is not None:
                arrived.hear(row.release)
            for lane in row.lanes:
                if lane.symbol == symbol:
                    stamp = row.release.stamp
                    step = step_of(lane, stamp, _bar(row, symbol, timeframe))
                    found.append(replace(step, context=arrived.at(stamp)) if arrived else step)
        return found

    def decisions(self, symbol: str = "") -> pd.DataFrame:
        """Return one row per bar of an instrument, the only one by default: reason, probability, account."""
        symbol = symbol or self.sets[0].lanes[0].symbol
        lanes = [
            (row.release.stamp, lane) for row in self.sets for lane in row.lanes if lane.symbol == symbol
        ]
        return pd.DataFrame(
            {
                "reason": [lane.reason for _, lane in lanes],
                "probability": [lane.probability for _, lane in lanes],
                "position": [lane.mark[1] for _, lane in lanes],
                "equity": [lane.mark[3] for _, lane in lanes],
            },
            index=pd.DatetimeIndex(pd.to_datetime([stamp for stamp, _ in lanes], utc=True), name="bar end"),
        )

    def plot(self, symbol: str = "") -> go.Figure:
        """Return the equity of an instrument, with a mark at each kill that the engine went on after."""
        from certify.page import live_figure

        return live_figure(self, symbol)

    def _repr_html_(self) -> str:
        from certify.page import live_fragment

        return live_fragment(self)


def _bar(row: SetRecord, symbol: str, timeframe: str) -> tuple[float, ...]:
    (values,) = (
        values
        for key, values in row.release.bars.items()
        if (key.symbol, str(key.timeframe)) == (traded_symbol(symbol), timeframe)
    )
    return values


def run_live(
    bundles: Mapping[str, Bundle],
    replay: ReplayRange,
    folder: Path,
    *,
    store: Path,
    kill_after: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    rules: DeskRules | None = None,
) -> LiveRun:
    """Run the engine in paper mode over a replay, with SIGKILL after so many bar sets each, to its end.

    store         a model store in which the bundles are in production
    environment   of the process; None for this one's
    rules         of a desk; None: every bundle trades alone, without limits

    ParityError where the engine ends by itself with an error: its last line says why.
    """
    settings = folder / "live.yml"
    content = _settings(bundles, replay, folder, store)
    if rules is not None:
        portfolio = folder / "portfolio.yml"
        portfolio.write_text(yaml.safe_dump(dict(rules.portfolio)), encoding="utf-8")
        content |= {"portfolio": str(portfolio), "instruments": [], "limits": dict(rules.limits)}
    settings.write_text(yaml.safe_dump(content), encoding="utf-8")
    killed = run_killed(settings, folder / "live.db", folder, kill_after, environment)
    with Journal.open(folder / "live.db", readonly=True) as journal:
        rows = list(journal.entries(1))
        (epoch,) = journal.epochs()
    return LiveRun(
        sets=tuple(row for row in rows if isinstance(row, SetRecord)),
        warmup=epoch.warmup,
        killed_after=killed,
        modes=tuple(row.floats or "" for row in rows if isinstance(row, EngineStarted)),
    )


def run_killed(
    settings: Path,
    journal: Path,
    folder: Path,
    kill_after: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> tuple[int, ...]:
    """Run `lockstep live` on a configuration, SIGKILL it after so many bar sets each, and let it end.

    Returns after how many sets it was killed: some more than asked, since it does not wait for that. Logs go
    to `folder`. ParityError where the engine ends with an error.
    """
    killed = []
    for count in (*kill_after, None):
        process = _start(settings, folder, environment)
        try:
            reached = _kill_at(process, journal, count)
        finally:
            process.kill()
            process.wait()
        if reached is None:
            _require_success(process, folder)
            break
        killed.append(reached)
    return tuple(killed)


def _settings(
    bundles: Mapping[str, Bundle], replay: ReplayRange, folder: Path, store: Path
) -> dict[str, object]:
    feed = {"kind": "replay", "start": replay.start} | ({"end": replay.end} if replay.end else {})
    history = {"data_dir": str(replay.data_dir) if replay.data_dir else None, "source": replay.source}
    paths = {name: str(folder / name) for name in ("mailbox", "KILL", "HALT", "status.json", "live.db")}
    return {
        "mode": "paper",
        "store": str(store),
        "journal": paths["live.db"],
        "status": paths["status.json"],
        "mailbox": paths["mailbox"],
        "instruments": [{"symbol": symbol} for symbol in bundles],
        "history": history,
        "feeds": [feed],
        "grace": 0,
        "limits": _WITHOUT_LIMITS,
        "switches": {"kill_file": paths["KILL"], "halt_file": paths["HALT"]},
    }


def _start(settings: Path, folder: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    with (folder / "engine.err").open("ab") as log:
        return subprocess.Popen(
            [*_ENGINE, "--config", str(settings), "--log", str(folder / "engine.jsonl")],
            stderr=log,
            env=dict(os.environ if environment is None else environment),
        )


def _kill_at(process: subprocess.Popen[bytes], journal: Path, count: int | None) -> int | None:
    """Kill the process once its journal holds `count` bar sets; None where it ended by itself before."""
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None:
        if count is not None:
            there = _sets_in(journal)
            if there >= count:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return _sets_in(journal)
            time.sleep(0.002)
        else:
            time.sleep(0.02)
        if time.monotonic() > deadline:
            raise ParityError(f"live engine: no end after {_PATIENCE:.0f} s; see {journal.parent}")
    return None


def _sets_in(journal: Path) -> int:
    if not journal.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM sets").fetchone()[0])
    except sqlite3.Error:
        return 0


def _require_success(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.returncode:
        said = (folder / "engine.err").read_text(encoding="utf-8").strip().splitlines()
        raise ParityError(f"live engine: exit code {process.returncode}: {said[-1] if said else 'no word'}")
