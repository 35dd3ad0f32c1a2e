"""The catalogue: one file per family. A file or a function that is added here is found by itself."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from lockstep.features.feature import Feature


@functools.cache
def catalogue() -> tuple[Feature, ...]:
    """Return every feature declared in this package, by family and then in the order of the file."""
    found: list[Feature] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, Feature) and value.family == module_info.name
        ]
    return tuple(found)
