"""The trial ledger when it is old: a million trials, a hundred markets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Measured, once
from lockstep.market.dates import DateRange
from research.ledger.database import Database
from research.ledger.kinship import Series
from research.ledger.ledger import Ledger, Trials

_TRIALS, _BATCH = 1_000_000, 40_000
_MARKETS, _SESSIONS = 100, 5_000
_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_DATES = DateRange.of("2001-01-01", "2020-12-31")


def old_ledger() -> Iterator[Measured]:
    """Measure the full check of the chain, and how long a new market takes to be compared with all others."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ledger.db'}"
        ledger = Ledger(Database.open(url))
        for first in range(0, _TRIALS, _BATCH):
            names = (f"{number:032x}" for number in range(first, first + _BATCH))
            trials = Trials(
                family="SP500",
                symbol="ES",
                dates=_DATES,
                kind="grid",
                evaluations=dict.fromkeys(names, "ok"),
                experiment_id=first // _BATCH,
            )
            ledger.record(trials, now=_NOW)
        for number in range(_MARKETS):
            ledger.introduce(_market(number), now=_NOW)
        yield Measured(
            what="full check of the ledger's chain, 1,000,000 trials",
            value=min(once(ledger.verify) for _ in range(3)),
            unit="s",
            promise=5.0,
            note="every digest and every link",
        )
        yield Measured(
            what="a market beside 100 others of 20 years",
            value=min(once(partial(ledger.introduce, _market(_MARKETS + run), now=_NOW)) for run in range(3)),
            unit="s",
            promise=1.0,
            note="at every shift of the dates",
        )
        yield Measured(
            what="count of 1,000,000 trials",
            value=min(once(lambda: ledger.counted("SP500", _DATES)) for _ in range(3)),
            unit="s",
            promise=1.0,
        )
        yield Measured(
            what="opening the database, guards looked at",
            value=min(once(lambda: Database.open(url)) for _ in range(5)) * 1000,
            unit="ms",
            promise=20.0,
        )


def _market(number: int) -> Series:
    days = np.arange(10_000, 10_000 + 7 * _SESSIONS // 5, dtype=np.int32)
    days = days[days % 7 < 5]
    returns = 0.01 * np.random.default_rng(number).standard_t(4, days.size)
    return Series(symbol=f"M{number}", family=f"M{number}", bars=f"{number:064x}", days=days, returns=returns)
