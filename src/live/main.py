"""A process of the live engine from its first second to its exit code.

Little is imported before the first status is written: the engine itself takes seconds to load.
`python -m lockstep.live.main --config live.yml` runs it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, get_args

import typer

from lockstep.console import run
from lockstep.desk import desk_folder
from lockstep.errors import LockstepError
from lockstep.live.journal.opening import held
from lockstep.live.messages import Mode
from lockstep.live.starting import Interrupted, Starting
from lockstep.live.status.logs import configure_logs, guard_process
from lockstep.market.command_line import App, LiveFile
from lockstep.secrets import Secrets
from lockstep.settings import read_yaml

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
STATUS = "LOCKSTEP_STATUS"

app = App()


@app.command()
def main(
    config: LiveFile,
    mode: Annotated[Mode | None, typer.Option(help="Mode; default: the configuration's.")] = None,
    log: Annotated[Path | None, typer.Option(help="Log file of JSON lines; default: stderr.")] = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="Stop after this many bar sets.")] = None,
) -> None:
    """Trade until SIGTERM or SIGINT; the current bar set is finished and journaled first."""
    trade(config, mode=mode, log=log, stop_after=stop_after, environment=os.environ)


def trade(
    config: Path,
    *,
    mode: Mode | None,
    log: Path | None,
    stop_after: int | None,
    environment: Mapping[str, str],
) -> None:
    """Trade by a configuration until SIGTERM, SIGINT, or the end of a replay.

    The status file says `starting` at once and `stopped` at the end, whatever the reason was. Raises a
    LockstepError for a refusal, and an EngineFault for something that failed; see `console.run`.
    """
    secrets = Secrets(environment)
    guard_process(secrets)
    handler = configure_logs(secrets, log)
    try:
        with _signals(_interrupt):
            _trade(config, mode, stop_after, environment, secrets)
    except Interrupted:
        return
    finally:
        handler.close()


def _trade(
    config: Path, mode: Mode | None, stop_after: int | None, environment: Mapping[str, str], secrets: Secrets
) -> None:
    starting = _starting(config, mode, environment, secrets)
    with starting.explained():
        starting.tell("loading the program")
        from lockstep.live.service import Service

        service = Service(
            config, mode=mode, environment=environment, stop_after=stop_after, secrets=secrets,
            told=starting.tell,
        )  # fmt: skip
    with _signals(lambda number, _: service.stop(signal.Signals(number).name)), service:
        service.run()


def _starting(config: Path, mode: Mode | None, environment: Mapping[str, str], secrets: Secrets) -> Starting:
    """Return what writes the status until the engine does: nothing where another engine has the journal."""
    try:
        content = read_yaml(config)
        told = content if isinstance(content, Mapping) else {}
    except LockstepError:
        told = {}
    root = Path() if (desk := desk_folder(config.parent)) is None else desk.root
    named = told.get("status") or environment.get(STATUS)
    journal = told.get("journal")
    if not isinstance(named, str) or (isinstance(journal, str) and held(root / journal)):
        return Starting(None, "paper", secrets.scrub)
    declared: Mode = next((each for each in get_args(Mode) if each == told.get("mode")), "paper")
    return Starting(root / named, mode or declared, secrets.scrub)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(f"{signal.Signals(number).name} before it was ready")


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let SIGTERM and SIGINT go to `handler` for a while."""
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


if __name__ == "__main__":
    run(app)
