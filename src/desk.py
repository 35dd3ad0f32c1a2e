"""A desk folder: the place of instruments, strategies, configurations, store and results outside a checkout.

`lockstep init DIR` makes one; the file `lockstep.yml` marks it. Every command that runs in it, or anywhere
below it, uses its files. What a command takes comes from the first of these that names it: the command's own
option, the environment (`LOCKSTEP_MODEL_STORE`, `LOCKSTEP_DB` and so on), the desk folder, and the default
of a checkout or of the user.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from lockstep.errors import ConfigError
from lockstep.settings import read_yaml, suggestion

MARKER = "lockstep.yml"
HOME = "LOCKSTEP_HOME"

_Model = TypeVar("_Model")


@dataclass(frozen=True, kw_only=True)
class DeskFolder:
    """Where the parts of a desk are: absolute paths; `lockstep.yml` gives them relative to its folder.

    root         the folder itself
    instruments  the user's instruments, on top of the shipped ones
    strategy     what `lockstep backtest` runs where no other strategy is named
    families     folder of strategy families of your own, one Python file each
    live         configuration of the live engine
    store        model store
    database     URL of the experiments and of the trial ledger
    results      run folders, reports, pages

    >>> DeskFolder.under(Path("/home/me/desk")).store
    PosixPath('/home/me/desk/store')
    """

    root: Path
    instruments: Path
    strategy: Path
    families: Path
    live: Path
    store: Path
    database: str
    results: Path

    @classmethod
    def under(cls, root: Path, **declared: str) -> DeskFolder:
        """Return the desk of a folder; `declared` replaces places of the usual layout."""
        given = {**_LAYOUT, **declared}
        paths = {name: root / given[name] for name in _LAYOUT if name != "database"}
        url = given["database"]
        database = url if "://" in url else f"sqlite:///{root / url}"
        return cls(root=root, database=database, **paths)

    @classmethod
    def read(cls, root: Path) -> DeskFolder:
        """Read `lockstep.yml` of a folder; ConfigError where it is not what a desk says of itself."""
        file = root / MARKER
        content = _mapping(file)
        for name, value in content.items():
            if name not in _LAYOUT:
                raise ConfigError(f"{file}: {name}: no such place of a desk{suggestion(str(name), _LAYOUT)}")
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{file}: {name}: {value!r}: expected a path")
        return cls.under(root, **content)

    def live_path(self, name: str) -> Path:
        """Return a path that `live.yml` declares: `journal` or `status`; ConfigError without one."""
        value = _mapping(self.live).get(name)
        if not isinstance(value, str):
            raise ConfigError(f"{self.live}: {name}: expected a path")
        return self.root / value


def _mapping(file: Path) -> dict[str, Any]:
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected values by name, such as `store: store`")
    return content


_LAYOUT = {
    "instruments": "instruments.yml",
    "strategy": "strategies/ibs.yaml",
    "families": "families",
    "live": "live.yml",
    "store": "store",
    "database": "experiments.db",
    "results": "results",
}
assert {field.name for field in fields(DeskFolder)} == {"root", *_LAYOUT}


def desk_folder(start: Path | None = None) -> DeskFolder | None:
    """Return the desk that `LOCKSTEP_HOME` names, else the one that holds a folder, else None.

    start   None: the working folder. LOCKSTEP_HOME, set but empty, means no desk.

    ConfigError where LOCKSTEP_HOME names a folder that is none.
    """
    named = os.environ.get(HOME)
    if named is not None and start is None:
        root = Path(named).expanduser().absolute()
        if named and not (root / MARKER).is_file():
            raise ConfigError(f"{HOME} {named}: no {MARKER} in it; name a desk, or make one: `lockstep init`")
        return DeskFolder.read(root) if named else None
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return DeskFolder.read(folder)
    return None


def results_folder(part: str = "") -> Path:
    """Return where results go: `results` of the desk, else of the working folder; or a folder in it."""
    desk = desk_folder()
    return (Path("results") if desk is None else desk.results) / part


def desk_file(relative: str, otherwise: str = "") -> Path:
    """Return a file of the desk, else `otherwise` (by default the same name) from the working folder."""
    desk = desk_folder()
    return Path(otherwise or relative) if desk is None else desk.root / relative


def anchored(settings: _Model, root: Path) -> _Model:
    """Return settings with the relative paths in them, and in models and tuples within, put under `root`."""
    if isinstance(settings, Path):
        return settings if settings.is_absolute() else root / settings
    if isinstance(settings, tuple):
        return tuple(anchored(each, root) for each in settings)  # type: ignore[return-value]
    names: Any = getattr(type(settings), "model_fields", None)
    if names is None:
        return settings
    changed = {name: anchored(getattr(settings, name), root) for name in names}
    return settings.model_copy(update=changed)  # type: ignore[attr-defined, no-any-return]
