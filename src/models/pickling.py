"""Pickles of bundles: the same content gives the same bytes, and nothing foreign is run when read.

A plain pickle depends on which equal objects happen to be one object: a string that came back from a worker
process is another object than the constant it equals. Here strings, bytes, plain tuples and dtypes are
told apart by value, sets are written in order, and padding in records is zero.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from joblib.numpy_pickle import NumpyPickler, NumpyUnpickler

from lockstep.models.errors import ForeignPickle, UnfitBundle

_PROTOCOL = 4
_SCALARS = (str, bytes, int, float, bool, type(None))

# Everything that a pipeline may be made of. Types of the packages, and these functions; nothing that runs
# commands, opens files or imports.
_PACKAGES = ("sklearn.", "lightgbm.", "xgboost.", "lockstep.models.")
_PLAIN = {
    "_codecs": {"encode"},
    "builtins": {"bytearray", "complex", "frozenset", "object", "range", "set", "slice"},
    "collections": {"OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor"},
    "joblib.numpy_pickle": {"NumpyArrayWrapper"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.random._mt19937": {"MT19937"},
    "numpy.random._pcg64": {"PCG64"},
    "numpy.random._pickle": {"__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"},
    "numpy.random.bit_generator": {"SeedSequence", "__pyx_unpickle_SeedSequence"},
}


def pickled(value: Any) -> bytes:
    """Return `value` in joblib's format; equal content gives equal bytes, in any process.

    UnfitBundle where it holds what cannot be pickled.
    """
    stream = io.BytesIO()
    try:
        _CanonicalPickler(stream, protocol=_PROTOCOL).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UnfitBundle(f"{type(value).__name__}: {error}; use functions and classes of modules") from error
    return stream.getvalue()


def unpickled(content: bytes, what: str, *, plain: bool = False) -> Any:
    """Return the value behind `content`; ForeignPickle where it is no pickle or holds what it may not.

    `plain` allows numbers, text, containers and arrays only.
    """
    from sklearn.exceptions import InconsistentVersionWarning

    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            # Major and minor versions are checked by the caller; a patch release is the same format.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            return _RestrictedUnpickler(what, stream, plain=plain).load()
    except ForeignPickle:
        raise
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError,
            MemoryError, RecursionError, TypeError, ValueError) as error:  # fmt: skip
        raise ForeignPickle(f"{what}: no bundle of Lockstep: {type(error).__name__} while reading") from error


class _CanonicalPickler(NumpyPickler):
    """Writes equal values as one object."""

    def __init__(self, stream: io.BytesIO, protocol: int) -> None:
        super().__init__(stream, protocol=protocol)
        self._known: dict[tuple[type, Any], Any] = {}

    def save(self, value: Any, *_: object) -> None:
        if type(value) is np.ndarray and (value.dtype.hasobject or value.dtype.names):
            # joblib would give objects to a plain pickler, and write whatever is in the padding of records.
            super(NumpyPickler, self).save(_without_padding(value))
        elif type(value) in (set, frozenset):
            self._save_ordered(value)
        else:
            super().save(self._one_of_equal(value))

    def _one_of_equal(self, value: Any) -> Any:
        if isinstance(value, np.dtype):
            return self._known.setdefault((np.dtype, repr(value)), value)
        if type(value) in (str, bytes):
            return self._known.setdefault((type(value), value), value)
        if type(value) is tuple and _is_plain(value):
            return self._known.setdefault((tuple, repr(value)), value)
        return value

    def _save_ordered(self, value: set[Any] | frozenset[Any]) -> None:
        items = sorted(value, key=lambda item: (type(item).__name__, repr(item)))
        self.save_reduce(type(value), (items,))


def _is_plain(value: tuple[Any, ...]) -> bool:
    return all(type(item) in _SCALARS or (type(item) is tuple and _is_plain(item)) for item in value)


def _without_padding(records: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not records.dtype.names:
        return records
    # Not zeros_like, which sets fields only.
    clean = np.zeros(records.shape, records.dtype)
    for name in records.dtype.names:
        clean[name] = records[name]
    return clean


class _RestrictedUnpickler(NumpyUnpickler):
    """Reads what a bundle may hold, and refuses the rest before it is run."""

    def __init__(self, what: str, stream: io.BytesIO, *, plain: bool) -> None:
        super().__init__("", stream, ensure_native_byte_order=False)
        self._what = what
        self._plain = plain

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if not self._plain and f"{module}.".startswith(_PACKAGES):
            found = super().find_class(module, name)
            if isinstance(found, type) or _restores(found, name):
                return found
        raise ForeignPickle(
            f"{self._what}: holds {module}.{name}, which no bundle may hold; train the model with Lockstep"
        )


def _restores(found: Callable[..., Any], name: str) -> bool:
    """Whether this is a compiled class's own function for being unpickled."""
    return callable(found) and "." not in name and name.startswith("__pyx_unpickle_")
