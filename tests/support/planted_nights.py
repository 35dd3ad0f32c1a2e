"""Nights over two markets with planted moves: their finds become pilots, then lose their edge, or fall.

Every other session closes at its low, and the one after it at its high: a strategy that buys weak closes is
in the market on every other day, whatever the move of that day is. Moves are in deviations of its history:

    ES   loses all along, so that a deep fall is nothing new; then it earns, then it loses: its edge is lost
    NQ   earns nothing; then it earns, then it falls once, deeper than in one year of a hundred
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_bars, load_history
from lockstep.models.store import ModelStore
from lockstep.settings import validated
from operations.contenders import CandidateOrigin, Contender, enrol
from operations.nightly.night import Nights
from research.ledger.ledger import Ledger
from research.ledger.versions import TradedVersion
from research.training.config import StrategyRelease
from research.training.release import register_strategy
from support.nights import nights, space, write_bars

FIRST, PILOT, END = "2014-06-30", "2014-07-14", "2014-07-24"
"""The nights: the registrations, the promotions, the ends."""
STRATEGY = {
    "name": "planted", "timeframe": "1d", "direction": "long", "entry": [0.0, 0.2], "exit": [0.8, 1.0],
}  # fmt: skip
HISTORY = DateRange.of("2012-01-03", "2012-12-31")
"""What the registrations of the nights rest on: the dates on which variants are tested."""
_LAST = date(2014, 8, 29)
_DEVIATION, _TICK, _PRICE, _SEED = 0.0015, 0.25, 4_000.0, 3
# The first two sessions find it without a position.
_EARNING = [0.3, 0.3, *[8.0] * 7]
_MOVES = {"ES": (-1.0, [*_EARNING, *[-20.0] * 8]), "NQ": (0.0, [*_EARNING, -60.0])}
SPACE = space(
    "planted", strategy="planted.yaml",
    parameters={"entry.high": [0.1, 0.2], "exit.low": [0.5, 0.6, 0.7, 0.75]}, per_night=8,
    split={
        "train": ["2011-01-03", "2011-12-30"], "validation": ["2012-01-03", "2012-12-31"],
        "holdout": ["2013-01-02", "2013-12-31"],
    },
)  # fmt: skip
RULES = {"least_history": 0.0, "least_trades": 0, "most_per_night": 2, "days_between": 365}


def planted_bars(symbol: str, until: str) -> Bars:
    """Return the bars of a market up to a session."""
    mean, late = _MOVES[symbol]
    base = load_bars("COMP", start=date(2010, 1, 4), end=_LAST)
    days = load_instruments().session("COMP").dates(base.end, base.timeframe)
    first, stop = (int(np.searchsorted(days, np.datetime64(day))) + 1 for day in (FIRST, until))
    # What is searched on earns a little, or nothing would be found.
    means = np.where(days < HISTORY.start, 0.3, mean)
    moves = np.random.default_rng(_SEED).normal(means, 1.0)
    moves[first:] *= 0.1
    moves[first : first + len(late)] = late
    rows, before = [], _PRICE
    for place, move in enumerate(moves):
        strong = place % 2 == 1
        close = round(before * (1 + (move if strong else -move) * _DEVIATION) / _TICK) * _TICK
        # One weak close in ten of the history is less weak, so that variants differ.
        width = max(abs(close - before) * (6 if strong else 12), 40.0)
        low = close - width * (0.15 if place % 20 == 4 and place < first else 0.0)
        high = max(before, close) if strong else min(before, low) + width
        rows.append((before, high, high - width, close, 1_000.0))
        before = close
    columns = dict(zip(("open", "high", "low", "close", "volume"), np.array(rows).T.copy(), strict=True))
    return replace(base, **columns).rows(0, stop)


def planted_night(folder: Path, day: str, **changes: Any) -> Nights:
    """Return the night of a session of both markets, on the day after it."""
    (folder / "planted.yaml").write_text(yaml.safe_dump(STRATEGY), encoding="utf-8")
    for symbol in _MOVES:
        write_bars(folder / "futures_daily", planted_bars(symbol, day), symbol)
    now = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, hours=12)
    content = {
        "symbols": list(_MOVES), "data_dir": str(folder / "futures_daily"), "spaces": [SPACE],
        "registrations": RULES,
        "accepted": ["stale_open", "spike", "jump", "off_grid"],
    }  # fmt: skip
    return nights(folder, now=now, **{**content, **changes})


def released(folder: Path, ledger: Ledger, day: str = FIRST) -> ModelStore:
    """Register the strategy without a model as v1 of NQ, and that as the candidate `version`."""
    store = ModelStore(folder / "store")
    store.folder.mkdir()
    bars = folder / "futures_daily"
    now = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, hours=12)
    release = validated(StrategyRelease, {"symbol": "NQ", "strategy": STRATEGY}, where="test")
    version = register_strategy(release, store, ledger, by="me", now=lambda: now, data_dir=bars).version
    contender = Contender.of_version(TradedVersion.load("NQ", version, store), store)
    book = load_instruments()
    history = load_history(
        "NQ", bars, timeframe=contender.config.bars, context=contender.keys(book), book=book
    )
    enrol(
        ledger, contender, history, HISTORY, CandidateOrigin(searched="adaptive", trials=None),
        name="version", family="NASDAQ100", now=now,
    )  # fmt: skip
    return store
