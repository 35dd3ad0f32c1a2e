"""Loading a million minute bars: against pyarrow's own reader of CSV, a second time, and in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.measure import Measured, once, process, ratio
from lockstep.market.config import load_instruments
from lockstep.market.loader import load_bars
from lockstep.market.reading import parsed_cache
from lockstep.market.timeframe import Timeframe

BARS = 1_000_000
_MINUTE = 60_000_000_000
_FIRST = 1_578_265_260_000_000_000
_FOLDER = "futures_1min"

# Peak of the process above what it held before, in multiples of six columns of eight bytes. Linux forgets the
# peak of what came earlier (imports, compiling) where it is asked to.
_PEAK = """
from pathlib import Path
from lockstep.market.config import load_instruments
from lockstep.market.loader import load_bars
book = load_instruments()
load_bars("NQ", {folder!r}, book=book)
def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
bars = load_bars("ES", {folder!r}, book=book)
print((kilobytes("VmHWM") - before) * 1024 / (48 * len(bars)))
"""


def loading() -> Iterator[Measured]:
    """Measure the first load, the second one and the peak of memory, on a file of minutes in UTC."""
    with tempfile.TemporaryDirectory() as root, _cache(Path(root) / "cache"):
        folder = Path(root) / _FOLDER
        folder.mkdir()
        path = folder / "ES_bt.csv"
        written(path, BARS)
        written(folder / "NQ_bt.csv", 10_000)
        peak = float(
            process(_PEAK.format(folder=str(folder)), {**os.environ, "LOCKSTEP_CACHE_DIR": f"{root}/other"})
        )
        yield _against_pyarrow(folder, path)
        yield _second(folder)
        what = "peak of memory, bars once"
        yield Measured(what=what, value=peak, unit="x", promise=3, note="of a million minutes, first load")


def _against_pyarrow(folder: Path, path: Path) -> Measured:
    from pyarrow import csv

    book = load_instruments()

    def first() -> None:
        for entry in parsed_cache.folder().glob("*"):
            entry.unlink()
        load_bars("ES", folder, book=book)

    value, ours, theirs = ratio(first, lambda: csv.read_csv(path), runs=9)
    note = f"{ours:.2f} s with every check and the entry of the cache, pyarrow {theirs:.2f} s"
    return Measured(what="a million minutes from CSV", value=value, unit="x pyarrow", promise=2, note=note)


def _second(folder: Path) -> Measured:
    book = load_instruments()
    load_bars("ES", folder, book=book)
    value = min(once(lambda: load_bars("ES", folder, book=book)) for _ in range(9))
    return Measured(what="the second load", value=value, unit="s", promise=0.2, note="hashed and mapped")


def written(path: Path, count: int) -> None:
    """Write `count` minutes of a random walk on the tick grid, over real CME hours."""
    import pandas as pd

    session = load_instruments().session("ES")
    ends = _FIRST + np.arange(2 * count, dtype=np.int64) * _MINUTE
    ends = ends[session.in_session(ends, Timeframe(1))][:count]
    random = np.random.default_rng(7)
    close = 4000 + 0.25 * np.cumsum(random.integers(-4, 5, ends.size))
    opened = close + 0.25 * random.integers(-4, 5, ends.size)
    prices = {
        "open": opened,
        "high": np.maximum(opened, close) + 0.25 * random.integers(0, 4, ends.size),
        "low": np.minimum(opened, close) - 0.25 * random.integers(0, 4, ends.size),
        "close": close,
    }
    stamps = pd.DatetimeIndex(ends).strftime("%Y-%m-%d %H:%M:%S")
    frame = pd.DataFrame({"datetime": stamps, **prices, "volume": random.integers(1, 5000, ends.size)})
    frame.to_csv(path, index=False)


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Keep parsed files in `folder` only."""
    before = os.environ.get("LOCKSTEP_CACHE_DIR")
    os.environ["LOCKSTEP_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCKSTEP_CACHE_DIR"]
        else:
            os.environ["LOCKSTEP_CACHE_DIR"] = before
