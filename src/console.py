"""What every command line shares: refusals are one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

from lockstep.errors import LockstepError

REFUSED = 2


def run(app: Callable[[], object]) -> None:
    """Run a command-line app; a LockstepError becomes one line on stderr and exit code 2."""
    try:
        app()
    except LockstepError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(REFUSED)
