"""Kill switch and HALT: two files that an operator makes, looked at every time and never remembered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lockstep.settings import Settings

ENVIRONMENT = "POLICY_KILLSWITCH"

_OFF = frozenset({"", "0", "false", "no", "off"})


class Switches(Settings):
    """Where the switches are, and what HALT does with open positions.

    kill_file   while it exists, nothing that opens or adds to a position reaches a real broker
    halt_file   while it exists, nothing is ordered in any mode, simulation included
    flatten     whether HALT lets exits through, and the engine closes what is open
    forced      the kill switch is on whatever the file says

    A switch is on while its file exists, whatever is in it: `touch` is enough, and no content turns it
    off. Its first line is kept as the reason. A file that cannot be read counts as on, and so does a
    folder that is not there.
    """

    kill_file: Path
    halt_file: Path
    flatten: bool = False
    forced: bool = False

    def forced_by(self, environment: Mapping[str, str]) -> Switches:
        """Return switches that POLICY_KILLSWITCH may force on: any value but a clear no does."""
        value = environment.get(ENVIRONMENT, "").strip().lower()
        return self.model_copy(update={"forced": self.forced or value not in _OFF})

    def kill_switch(self) -> str | None:
        """Read the kill switch now: why it is on, or None while it is off."""
        return f"forced by {ENVIRONMENT} or the configuration" if self.forced else _reason(self.kill_file)

    def halt(self) -> str | None:
        """Read HALT now: why it is on, or None while it is off."""
        return _reason(self.halt_file)


def _reason(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return _absence(path)
    except (OSError, UnicodeDecodeError) as error:
        return f"{path.name} cannot be read ({type(error).__name__}) and counts as on"
    return f"{path.name}: {text.splitlines()[0]}" if text else f"{path.name} exists"


def _absence(path: Path) -> str | None:
    """Return None where the file is plainly not there, else why that cannot be said."""
    if path.is_symlink():
        return f"{path.name} is a link to nothing and counts as on"
    if not path.parent.is_dir():
        return f"folder {path.parent.name} of {path.name} is missing; counts as on"
    return None
