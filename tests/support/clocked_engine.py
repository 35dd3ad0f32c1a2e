"""Run `run_live.py` by a clock that a test sets: `clocked_engine.py CLOCK open|scrubbed ARGUMENTS...`.

CLOCK is a file with UTC nanoseconds. With `open` the scrubber does nothing: a negative control.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from lockstep.live import service
from lockstep.live.feeds.protocol import SteadyClock
from lockstep.secrets import Secrets

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    _, clock, scrubber, *arguments = sys.argv
    service.SteadyClock = lambda: SteadyClock(lambda: int(Path(clock).read_text()))  # type: ignore[assignment, misc]
    if scrubber == "open":
        Secrets.scrub = lambda self, text: text  # type: ignore[method-assign]
    script = str(ROOT / "scripts" / "run_live.py")
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
