"""A long replay of four instruments, memory and journal watched."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.desk import SYMBOLS, WARM, desk_engine, desk_history, desk_model
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.traded import TradedModel
from lockstep.market.history import History

_PAGE = resource.getpagesize()
_MEBI = 1 << 20


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def long_replay(sets: int, folder: Path) -> dict[str, float]:
    """Run `sets` bar sets and return what was measured; growth counts from the end of the first tenth."""
    history = desk_history(WARM + sets)
    models: Mapping[str, TradedModel] = {symbol: desk_model(symbol, history) for symbol in SYMBOLS}
    return _run(history, models, sets, folder)


def _run(history: History, models: Mapping[str, TradedModel], sets: int, folder: Path) -> dict[str, float]:
    samples: list[int] = []
    with Journal.open(folder / "soak.db") as journal:
        engine, timed = desk_engine(folder, models, history, journal)
        append = timed.append_set

        def sampled(record: SetRecord) -> int:
            if engine.sets % max(sets // 100, 1) == 0:
                samples.append(resident())
                timed.decided.clear()
                timed.committed.clear()
            return append(record)

        timed.append_set = sampled  # type: ignore[method-assign]
        began = time.perf_counter()
        engine.run()
        elapsed = time.perf_counter() - began
    settled = samples[len(samples) // 10 :]
    return {
        "sets": engine.sets,
        "bars/s": engine.sets * len(SYMBOLS) / elapsed,
        "memory after a tenth, MiB": settled[0] / _MEBI,
        "memory at the end, MiB": settled[-1] / _MEBI,
        "growth to the end": settled[-1] / settled[0] - 1.0,
        "growth to the peak": max(settled) / settled[0] - 1.0,
        "journal, MB": (folder / "soak.db").stat().st_size / 1e6,
    }
