"""How many examples hypothesis draws: few for every change, and what `make soak ARGS=examples` asks for."""

from __future__ import annotations

import os


def examples(few: int) -> int:
    """Return `few`, or LOCKSTEP_EXAMPLES where it is set."""
    return int(os.environ.get("LOCKSTEP_EXAMPLES", few))
