"""The live engine: decision latency, replay throughput, start with a long journal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.desk import SYMBOLS, WARM, desk_engine, desk_history, desk_model
from benchmarks.measure import Measured, once
from lockstep.live.journal import Journal
from lockstep.live.traded import TradedModel
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from research.backtest.run import run_backtest

SETS = 10_000
_MILLISECONDS = 1e3


def live() -> Iterator[Measured]:
    """Measure one run of four instruments, then a restart on its journal, and one plain Backtrader run."""
    history = desk_history(WARM + SETS)
    models = {symbol: desk_model(symbol, history) for symbol in SYMBOLS}
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        with Journal.open(folder / "live.db") as journal:
            engine, timed = desk_engine(folder, models, history, journal)
            elapsed = once(engine.run)
        size = (folder / "live.db").stat().st_size
        with Journal.open(folder / "live.db") as journal:
            began = time.process_time()
            again, _ = desk_engine(folder, models, history, journal)
            again.run()
            restarted = time.process_time() - began
    decided, committed = (np.array(each) * _MILLISECONDS for each in (timed.decided, timed.committed))
    what = f"decision, {len(SYMBOLS)} instruments x 40 features x 200 trees"
    commit = f"commit with its disk sync apart: p50 {_at(committed, 50):.2f}, p99 {_at(committed, 99):.2f} ms"
    yield Measured(what=f"{what}, p50", value=_at(decided, 50), unit="ms", promise=2.0, note=commit)
    yield Measured(what=f"{what}, p99", value=_at(decided, 99), unit="ms", promise=10.0)
    bars = SETS * len(SYMBOLS)
    began = time.process_time()
    _research(history, models)
    plain = bars / (time.process_time() - began)
    yield Measured(
        what="replay through the live engine / research run of the same desk, bars per second of CPU",
        value=bars / restarted / plain,
        unit="x",
        promise=0.6,
        more_is_better=True,
        note=f"{bars / restarted:,.0f} against {plain:,.0f} bars/s; with commits {bars / elapsed:,.0f}",
    )
    yield Measured(
        what=f"start with a journal of {bars:,} bars, per 10,000, CPU",
        value=restarted * SETS / bars,
        unit="s",
        promise=5.0,
        note=f"{restarted:.1f} s for {SETS:,} sets; the journal has {size / SETS / 1e3:.1f} kB per set",
    )


def _research(history: History, models: Mapping[str, TradedModel]) -> None:
    """Run the same desk as research does, one instrument after the other."""
    for symbol, model in models.items():
        first = history.bars[model.key].end[WARM]
        start = np.datetime64(int(first), "ns").astype("M8[D]").item()
        run_backtest(model.config, history, symbol, span=DateRange.of(start), veto=model.veto)


def _at(values: np.ndarray, percentile: float) -> float:
    return float(np.percentile(values, percentile))
