"""What every command line shares: refusals and faults are one line each, with exit codes of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable

from lockstep.errors import EngineFault, LockstepError

REFUSED = 2
FAULT = 75  # EX_TEMPFAIL of sysexits.h


def run(app: Callable[[], object]) -> None:
    """Run a command-line app; a LockstepError becomes one line on stderr, its hint follows as it is.

    The exit code is 75 for an EngineFault, which may be over a moment later, and 2 for every other refusal.
    """
    try:
        app()
    except LockstepError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        if error.hint:
            print(f"\n{error.hint.rstrip()}", file=sys.stderr)
        sys.exit(FAULT if isinstance(error, EngineFault) else REFUSED)
