"""A desk's nights through `lockstep pipeline run`, one for each session of a year, on markets of one's own.

The command runs in this process, with everything that it runs in one of its own: the same app, the same
files, the same database. Only its clock is given, since the nights of a year are not made in a year.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from typer.testing import CliRunner

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from operations.nightly.cli import app
from operations.nightly.night import Nights
from research.experiments.execution import Lab
from research.ledger.candidates import ForwardCandidate, candidates
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.pipeline.book import STEP, NightBook
from research.pipeline.execution import place_of
from support.nights import write_bars

TRAIN, TEST = ("2010-01-04", "2010-12-31"), ("2011-01-03", "2011-12-30")
FIRST, YEAR, LAST = "2009-11-02", 2012, "2015-12-31"
NOON = time(12, tzinfo=UTC)
_STRATEGY = {
    "name": "closes",
    "timeframe": "1d",
    "direction": "long",
    "entry": [0.0, 0.5],
    "exit": [0.0, 1.0],
}

Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Factory:
    """The nights of one desk in a folder; `bars`: all that its markets will ever have, by symbol.

    rules   of registration; `accepted`: findings of made-up bars that stop no symbol
    """

    folder: Path
    bars: Mapping[str, Bars]
    rules: Mapping[str, Any]
    accepted: tuple[str, ...] = ("stale_open", "spike", "jump", "off_grid")
    _lines: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "closes.yaml").write_text(yaml.safe_dump(_STRATEGY), encoding="utf-8")
        for symbol, bars in self.bars.items():
            path = write_bars(self.folder / "futures_daily", bars, symbol)
            self._lines[symbol] = path.read_text(encoding="utf-8").splitlines(keepends=True)

    def sessions(self, year: int) -> list[date]:
        """Return the sessions of a year, those of its first symbol."""
        symbol, bars = next(iter(self.bars.items()))
        days = load_instruments().session(symbol).dates(bars.end, bars.timeframe)
        found: list[date] = days[days.astype("M8[Y]") == np.datetime64(str(year), "Y")].tolist()
        return found

    @property
    def ledger(self) -> Ledger:
        """What the nights wrote."""
        return self.lab.ledger

    @property
    def lab(self) -> Lab:
        """Where their searches were made."""
        return Lab(database=Database.open(self._database))

    @property
    def registered(self) -> list[ForwardCandidate]:
        """All candidates, oldest first."""
        return candidates(self.ledger)

    @property
    def _database(self) -> str:
        return f"sqlite:///{self.folder / 'experiments.db'}"

    def night(self, day: date, *spaces: Mapping[str, Any], **rules: Any) -> str:
        """Run the command at noon after a session whose bars have just come; return what it printed."""
        for symbol, (head, *lines) in self._lines.items():
            known = [line for line in lines if line[:10] <= str(day)]
            path = self.folder / "futures_daily" / f"{symbol}_bt.csv"
            path.write_text("".join((head, *known)), encoding="utf-8")
        config = {
            "symbols": list(self.bars), "data_dir": str(self.folder / "futures_daily"),
            "results": str(self.folder / "results"), "log": str(self.folder / "STRATEGY_LOG.md"),
            "spaces": list(spaces), "accepted": list(self.accepted), "registrations": {**self.rules, **rules},
        }  # fmt: skip
        path = self.folder / "nightly.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        with at(datetime.combine(day + timedelta(days=1), NOON)):
            done = CliRunner().invoke(
                app, ["run", "--config", str(path)], env={"LOCKSTEP_DB": self._database}
            )
        if done.exit_code:
            raise AssertionError(f"night {day}: {done.output}") from done.exception
        return done.output

    def left(self, step: str, day: date) -> dict[str, Any]:
        """Return what a step of the night of a session left."""
        events = NightBook(ledger=self.ledger, now=lambda: datetime.now(UTC)).events(str(day))
        (key,) = (each.key for each in events if each.kind == STEP and each.step == step)
        place = place_of(self.folder / "results" / "steps", step, key)
        found: dict[str, Any] = json.loads((place / f"{step}.json").read_text(encoding="utf-8"))
        return found


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let the commands of nights take a moment for the present."""
    of: Callable[..., Nights] = Nights.of

    def then(config: Path, **named: Any) -> Nights:
        return replace(of(config, **named), now=lambda: moment)

    with mock.patch.object(Nights, "of", then):
        yield


def space(name: str, values: Values, per_night: int) -> dict[str, Any]:
    """Return a space over closes that are bought, and for how long."""
    return {
        "name": name, "strategy": "closes.yaml", "per_night": per_night, "top": 1,
        "parameters": {path: list(each) for path, each in values.items()},
        "split": {"train": list(TRAIN), "validation": list(TEST)},
    }  # fmt: skip
