"""What every command line shares: refusals and faults are one line each, with exit codes of their own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from lockstep.errors import EngineFault, LockstepError

REFUSED = 2
FAULT = 75  # EX_TEMPFAIL of sysexits.h


def own_command(*words: str, folder: Path | None = None) -> str:
    """Return a line for the shell that runs `lockstep` with some words, as it is called from a folder.

    folder   None: the working folder

    The program beside the running interpreter, relative to the folder where it is below it; without one, the
    interpreter with the module.
    """
    running, here = Path(sys.executable), folder or Path.cwd()
    program = running.with_name("lockstep")
    found = program if program.is_file() else running
    called = str(found.relative_to(here) if found.is_relative_to(here) else found)
    return shlex.join([called, *(() if found is program else ("-m", "operations.main")), *words])


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
