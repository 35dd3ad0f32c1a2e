"""Small nights on embedded bars: their configuration, files that grow, and a dump of all that they wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.loader import load_bars
from operations.nightly.config import NightlyConfig
from operations.nightly.night import Nights
from research.ledger.database import Database
from research.ledger.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPLIT = {
    "train": ["2009-01-02", "2011-12-30"],
    "validation": ["2012-01-03", "2013-12-31"],
    "holdout": ["2014-01-02", "2014-12-31"],
}


def space(name: str = "dips", **changes: Any) -> dict[str, Any]:
    """Return a space of 120 variants, of which a night takes 40."""
    return {
        "name": name,
        "strategy": str(ROOT / "configs/strategies/ibs_baseline.yaml"),
        "parameters": {
            "entry.high": [0.1, 0.15, 0.2, 0.25, 0.3],
            "exit.low": [0.5, 0.6, 0.7, 0.8],
            "max_bars": [2, 3, 5, 8, 10, 15],
        },
        "split": SPLIT,
        "per_night": 40,
        "top": 1,
        **changes,
    }


def ideas(agents: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a space that agents search, six strategies a session; agents: changes of what is asked for."""
    asked = {
        "researcher": "support.explorers:Dice", "strategies": 6, "kinds": ["technical"], "each": 0,
        "start": "2004-01-02", "end": "2014-12-31", "least_trades": 5, "terms": {"capital": 50_000},
    }  # fmt: skip
    return {"name": "ideas", "agents": {**asked, **(agents or {})}, "replays": 19, **changes}


def written(folder: Path, **changes: Any) -> Path:
    """Write the configuration of a small night into a folder, and return its file."""
    content = {
        "symbols": ["COMP"],
        "results": str(folder / "results"),
        "log": str(folder / "STRATEGY_LOG.md"),
        "spaces": [space()],
        **changes,
    }
    path = folder / "nightly.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def nights(folder: Path, *, now: datetime = NOON, **changes: Any) -> Nights:
    """Return the nights of a folder, at a moment."""
    ledger = Ledger(Database.open(f"sqlite:///{folder / 'experiments.db'}"))
    config = NightlyConfig.load(written(folder, **changes))
    return Nights(config=config, ledger=ledger, book=load_instruments(), now=lambda: now)


def bars_until(day: str, symbol: str = "COMP") -> Bars:
    """Return the embedded bars up to a session."""
    return load_bars(symbol, end=date.fromisoformat(day))


def write_bars(folder: Path, bars: Bars, symbol: str) -> Path:
    """Write daily bars under a symbol, as a file that the sources of a folder `futures_daily` read."""
    folder.mkdir(parents=True, exist_ok=True)
    session = load_instruments().session(bars.symbol)
    days = session.dates(bars.end, bars.timeframe)
    lines = ["datetime,Open,High,Low,Close,volume,openinterest"]
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    for day, *values in zip(days, *columns, strict=True):
        lines.append(
            ",".join((str(np.datetime_as_string(day)), *(repr(float(each)) for each in values), "0"))
        )
    path = folder / f"{symbol}_bt.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


_OF_TIME = {"recorded", "started", "finished", "seconds", "seen"}
# The hashes of the chain are over rows with their times.
_OF_LINKS = {"digest", "previous", "hash"}


def dump(database: Path) -> dict[str, list[Any]]:
    """Return every row of every table, without times and without what hashes them."""
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for (name,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{name}"')
            left_out = _OF_TIME | (_OF_LINKS if name == "link" else set())
            kept = [at for at, each in enumerate(rows.description) if each[0] not in left_out]
            found[name] = sorted((tuple(row[at] for at in kept) for row in rows), key=repr)
    return found
