"""What the first version wrote, `tests/fixtures/v0`."""

from __future__ import annotations

from pathlib import Path

import yaml

FIRST = Path(__file__).resolve().parents[1] / "fixtures" / "v0"
# Bar sets in its journal, and in the year that its desk replays.
SETS, WHOLE_YEAR = 96, 251


def desk(folder: Path) -> Path:
    """Write the desk's configuration with the paths of the copy, and return its file."""
    content = yaml.safe_load((folder / "live.yml").read_text())
    content |= {name: str(folder / Path(content[name]).name) for name in ("journal", "status", "mailbox")}
    content["switches"] = {name: str(folder / name) for name in ("kill_file", "halt_file")}
    content["store"] = str(folder / "store")
    content["feeds"][0].pop("speed")
    path = folder / "desk.yml"
    path.write_text(yaml.safe_dump(content))
    return path
