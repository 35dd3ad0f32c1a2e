"""The floating-point mode of the running thread: every bit depends on it, and no hash covers it.

A library that was compiled with -ffast-math makes the processor flush denormals to zero (FTZ) and read them
as zero (DAZ) as soon as it is imported, in the importing thread and in all that it starts. The mode is found
by doing arithmetic in Python, in numpy and in a compiled kernel, since decisions are made of exactly these.
"""

from __future__ import annotations

import re
import struct
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.errors import FloatModeError

EXACT = "round to nearest, denormals kept"
FIELD = "floats"  # under which the mode is recorded

_LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
_LANES = 16  # enough elements for numpy's vectorised loops
_NATIVE = (".so", ".pyd")


def _double(bits: int) -> float:
    """Return the number with these bits: reading a literal may use the very arithmetic that is in doubt."""
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


_ONE = _double(0x3FF0 << 48)
# Two products, then two sums. Exact results: a denormal, a normal number; 1, and the number after 1.
_LEFT = (_double(0x0010 << 48), _double(1), _ONE, _ONE)
_RIGHT = (_double(0x3FE0 << 48), _double(0x7E70 << 48), _double(0x3CA0 << 48), _double(0x3CA8 << 48))


def float_mode() -> str:
    """Return the mode of the calling thread in words: `EXACT`, or what departs from it and where."""
    found: dict[str, list[str]] = {}
    for where, results in (("Python", _in_python()), ("numpy", _in_numpy()), ("kernels", _in_a_kernel())):
        for flaw in _flaws(results):
            found.setdefault(flaw, []).append(where)
    return "; ".join(f"{flaw} ({', '.join(places)})" for flaw, places in found.items()) or EXACT


def require_exact() -> str:
    """Return the mode of the calling thread; FloatModeError where it is not `EXACT`."""
    mode = float_mode()
    if mode == EXACT:
        return mode
    loaded = ", ".join(_suspects())
    known = f" (native packages that are not in {_LOCK.name}: {loaded})" if loaded else ""
    raise FloatModeError(
        f"floating-point mode of thread {threading.current_thread().name}: {mode}; required: {EXACT}. A "
        f"library compiled with -ffast-math changes it when it is imported{known}; remove or rebuild it, and "
        "start again"
    )


def require_still_exact() -> None:
    """Look again by Python's arithmetic alone, in a microsecond; FloatModeError as `require_exact`."""
    if _flaws(_in_python()):
        require_exact()


def _flaws(results: Sequence[float]) -> list[str]:
    product, from_denormal, half_step, most_of_a_step = results
    flaws = {
        # By its bits: where operands are read as zero, a denormal equals zero.
        "denormal results are flushed to zero": _bits(product) == 0,
        "denormal operands are read as zero": from_denormal == 0.0,
        "rounds upward": half_step != _ONE,
        "rounds downward or towards zero": most_of_a_step == _ONE,
    }
    return [flaw for flaw, applies in flaws.items() if applies]


def _bits(number: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


def _in_python() -> tuple[float, float, float, float]:
    (a, b, c, d), (e, f, g, h) = _LEFT, _RIGHT
    return a * e, b * f, c + g, d + h


def _in_numpy() -> list[float]:
    left, right = (np.repeat(np.array(each), _LANES).reshape(len(each), _LANES) for each in (_LEFT, _RIGHT))
    with np.errstate(all="ignore"):
        columns = np.concatenate((left[:2] * right[:2], left[2:] + right[2:]))
    return [float(each) for each in columns[:, -1]]


def _in_a_kernel() -> list[float]:
    out = np.ones(len(_LEFT))
    _probe(np.array(_LEFT), np.array(_RIGHT), out)
    return [float(each) for each in out]


@kernel
def _probe(left: NDArray[np.float64], right: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill `out` (4,) with two products and two sums of `left` and `right`, float64 (4,) each."""
    out[0] = left[0] * right[0]
    out[1] = left[1] * right[1]
    out[2] = left[2] + right[2]
    out[3] = left[3] + right[3]


def _suspects() -> list[str]:
    """Return installed packages with imported native code that the lock file does not name, sorted."""
    if not _LOCK.is_file():
        return []
    locked = set(re.findall(r"^([a-z0-9-]+)==", _LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE))
    files = (Path(str(getattr(module, "__file__", None) or "")) for module in tuple(sys.modules.values()))
    native = {_package(path) for path in files if path.suffix in _NATIVE} - {""}
    owners = packages_distributions()
    return sorted(name for name in native if locked.isdisjoint(map(_as_locked, owners.get(name, ()))))


def _package(path: Path) -> str:
    """Return the top-level name of an installed module, empty for what is not installed by pip."""
    folders = [place for place, part in enumerate(path.parts) if part == "site-packages"]
    return path.parts[folders[-1] + 1].partition(".")[0] if folders else ""


def _as_locked(distribution: str) -> str:
    return re.sub(r"[._]", "-", distribution.lower())
