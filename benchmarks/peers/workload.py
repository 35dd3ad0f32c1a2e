"""What every peer reads, runs and prints; imported by the scripts beside it, in the peers' environment."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


class Workload:
    """Bars of `file` as a frame by end of bar, at most `bars` of them, and pairs of thresholds.

    pairs   (entry, exit): buy one contract at the next open when internal bar strength <= entry, sell it at
            the next open when it is >= exit
    """

    def __init__(self, file: Path, bars: int, pairs: int) -> None:
        arrays = np.load(file)
        names = ("open", "high", "low", "close")
        index = pd.to_datetime(arrays["end"][:bars], utc=True).tz_localize(None)
        self.frame = pd.DataFrame({name.title(): arrays[name][:bars] for name in names}, index=index)
        self.frame["Volume"] = 1.0
        every = len(arrays["pairs"]) // pairs
        self.pairs = [(float(low), float(high)) for low, high in arrays["pairs"][::every][:pairs]]
        span = self.frame["High"] - self.frame["Low"]
        strength = (self.frame["Close"] - self.frame["Low"]) / span.where(span > 0)
        self.ibs = strength.fillna(0.5).to_numpy()

    @property
    def cells(self) -> int:
        """Bars x variants."""
        return len(self.frame) * len(self.pairs)


def main(run: Callable[[Workload], list[int]]) -> None:
    """Time `run`, which returns the closed trades of each variant: FILE BARS PAIRS REPEATS."""
    file, bars, pairs, repeats = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    workload = Workload(file, bars, pairs)
    run(workload)
    taken, trades = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        trades = run(workload)
        taken.append(time.perf_counter() - begun)
    found: dict[str, Any] = {"cells_per_second": workload.cells / min(taken), "trades": trades}
    print(json.dumps(found))
