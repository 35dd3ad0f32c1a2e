"""What importing the package costs and loads."""

from __future__ import annotations

import statistics

from benchmarks.measure import Measured, process

_IMPORT = """
import sys, time
start = time.perf_counter()
import lockstep
taken = time.perf_counter() - start
heavy = sorted({"backtrader", "pandas", "exchange_calendars"} & set(sys.modules))
print(taken, ",".join(heavy) or "nothing heavy")
"""


def importing() -> Measured:
    """Measure `import lockstep` in fresh processes."""
    answers = [process(_IMPORT).split(" ", 1) for _ in range(5)]
    value = statistics.median(float(taken) for taken, _ in answers)
    return Measured(what="import lockstep", value=value, unit="s", promise=0.3, note=f"loads {answers[0][1]}")
