"""Drivers: run a feature's kernel over sliding windows, the same compiled code for batch and streaming.

A driver is a few generated lines around one kernel. It is written as a file into the compile cache,
since numba cannot keep code made by `exec` or held in a closure on disk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from lockstep.compiled import generated_module, is_cached_on_disk, kernel, python_source
from lockstep.features.feature import Feature
from lockstep.features.inputs import PAIR_SUFFIX, Window
from lockstep.features.windows import percentile_rank

Driver = Callable[..., None]

_HEADER = '''"""Generated driver of the feature {name}."""

import numpy as np

from lockstep.compiled import kernel
from {module} import {name} as _feature

compute = _feature.compute


'''

_COMPLETE_INPUTS = """\
def drive({arguments}, lookback, start, stop, out, at):
    for i in range(start, stop):
        first = i - lookback + 1
        out[at + i - start] = compute({windows}) if first >= 0 else np.nan
"""

_GAPPY_INPUTS = """\
def drive({arguments}, lookback, start, stop, out, at):
    run = 0
    for i in range(max(0, start - lookback + 1), stop):
        run = run + 1 if {present} else 0
        if i >= start:
            first = i - lookback + 1
            out[at + i - start] = compute({windows}) if run >= lookback else np.nan
"""


def driver_source(feature: Feature) -> str:
    """Return the text of a feature's driver.

    drive(columns..., parameters..., lookback, start, stop, out, at) writes the value at bars
    start <= i < stop to out[at:]; NaN while the window is not full, and, where an input comes from
    another instrument, while any value in the window is missing.
    """
    gappy = [name for name in feature.inputs if name.endswith(PAIR_SUFFIX)]
    windows = [f"{name}[first : i + 1]" for name in feature.inputs]
    template = _GAPPY_INPUTS if gappy else _COMPLETE_INPUTS
    return template.format(
        arguments=", ".join((*feature.inputs, *feature.parameters)),
        windows=", ".join((*windows, *feature.parameters)),
        present=" and ".join(f"np.isfinite({name}[i])" for name in gappy),
    )


@functools.cache
def driver(feature: Feature) -> Driver:
    """Return the compiled driver of `feature`, from the disk cache where it is there."""
    function = python_source(feature.compute)
    if not is_cached_on_disk(function):
        return _driver_in_memory(feature)
    text = _HEADER.format(name=feature.name, module=function.__module__)
    text += "@kernel\n" + driver_source(feature)
    return cast(Driver, generated_module("drivers", feature.name, text).drive)


def _driver_in_memory(feature: Feature) -> Driver:
    """Build the driver of a feature declared outside the project, for example in a notebook."""
    namespace: dict[str, Any] = {"compute": feature.compute, "np": np}
    exec(driver_source(feature), namespace)
    return cast(Driver, kernel(namespace["drive"]))


@kernel
def drive_modifiers(values: Window, rank: int, lag: int, start: int, stop: int, out: Window, at: int) -> None:
    """Write rank and lag of a feature's `values` at bars start <= i < stop to out[at:].

    The value at bar i is that of bar i - lag; with a rank, the share of its `rank` earlier values that lie
    below it, ties counting half. NaN where one of these values is NaN, or before the first bar.
    """
    run = 0
    for newest in range(start - lag - rank, stop - lag):
        run = run + 1 if newest >= 0 and not np.isnan(values[newest]) else 0
        row = at + newest + lag - start
        if row < at:
            continue
        if run <= rank:
            out[row] = np.nan
        elif rank == 0:
            out[row] = values[newest]
        else:
            out[row] = percentile_rank(values[newest - rank : newest + 1])
