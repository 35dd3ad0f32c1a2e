"""`src.…` in a checkout is `lockstep.…`: the same modules, the same classes.

The package lives in `src`, so in a checkout `from src.strategy.ibs_strategy import IbsStrategy` finds a
file by its folder. Without this, Python would run the file a second time and make a second class, which no
registry, no `isinstance` and no pickle takes for the first.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_FOLDER, _PACKAGE = "src", "lockstep"


class _SameModule(Loader):
    """Gives an import the module that exists already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just put the alias's spec there.
        module.__spec__ = self._spec


class _Alias(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{_FOLDER}."):
            return None
        name = _PACKAGE + fullname.removeprefix(_FOLDER)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                return None  # The import system says that there is no src.….
            raise
        return ModuleSpec(fullname, _SameModule(module), is_package=hasattr(module, "__path__"))


def alias_source_folder(folder: Path) -> None:
    """Make `src` and all below it names of `lockstep`; ImportError where that is another folder's package.

    folder   of this package; where nothing is installed, it becomes `lockstep`
    """
    try:
        package = importlib.import_module(_PACKAGE)
    except ModuleNotFoundError as error:
        if error.name != _PACKAGE:
            raise
        package = _imported_from(folder)
    found = Path(str(package.__file__)).resolve().parent
    if found != folder.resolve():
        raise ImportError(
            f"{folder}: {_PACKAGE} is imported from {found}, another copy of it; import from {_PACKAGE}, or "
            "install this checkout with make"
        )
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())
    for name in [name for name in sys.modules if name.startswith(f"{_FOLDER}.")]:
        del sys.modules[name]
    sys.modules[_FOLDER] = package


def _imported_from(folder: Path) -> ModuleType:
    spec = spec_from_file_location(_PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    return package
