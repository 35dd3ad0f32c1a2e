"""Values of estimators, whether they are there as objects or as what a pickle says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.models.pickle_machine import NUMERIC_KINDS, Named, Pickled, plain_dtype
from lockstep.models.trees import NodeFault

Pair = tuple[str, str]

_SCALAR = ("numpy._core.multiarray", "scalar")
_RECONSTRUCT = ("numpy._core.multiarray", "_reconstruct")
NUMPY: frozenset[Pair] = frozenset((_SCALAR, _RECONSTRUCT))
_MOST_FIELDS = 32
_RECORD_STATE, _ARRAY_STATE = 8, 5


def class_of(value: Any) -> Pair:
    """Return module and name of the class of a value."""
    if isinstance(value, Pickled):
        return (value.named.module, value.named.name)
    return (type(value).__module__, type(value).__qualname__)


def state_of(value: Any, *allowed: Pair) -> Mapping[str, Any]:
    """Return the attributes of a value of one of the allowed classes (none given: of any)."""
    state = value.state if isinstance(value, Pickled) else getattr(value, "__dict__", None)
    if (allowed and class_of(value) not in allowed) or not isinstance(state, Mapping):
        raise NodeFault(f"holds {'.'.join(class_of(value))}, which no bundle may hold")
    return state


def value_of(value: Any) -> Any:
    """Return Python's own number for numpy's, a contiguous array of numbers, anything else as it is."""
    if isinstance(value, Pickled):
        return _unpickled(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _numbers(value)
    return value


def items_of(value: Any) -> list[Any]:
    """Return the items of a list or of an array of objects, in order."""
    if isinstance(value, Pickled):
        value = _state_of_array(value)[4]
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if not isinstance(value, list | tuple):
        raise NodeFault(f"a {type(value).__name__} where a list should be")
    return list(value)


def records_of(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of records of exactly this dtype, (n,)."""
    if isinstance(value, Pickled):
        _, shape, described, _, data = _state_of_array(value)
        if not isinstance(data, bytes) or _record_dtype(described) != dtype:
            raise NodeFault("records of another type than the installed library's")
        value = np.frombuffer(data, dtype)
        if shape != (len(value),):
            raise NodeFault(f"{len(value)} records, announced are {shape}")
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != 1:
        raise NodeFault("records of another type than the installed library's")
    return value


def _unpickled(value: Pickled) -> Any:
    named = class_of(value)
    if named == _SCALAR and len(value.arguments) == 2:
        dtype, data = plain_dtype(value.arguments[0]), value.arguments[1]
        if isinstance(data, bytes) and len(data) == dtype.itemsize:
            return np.frombuffer(data, dtype)[0].item()
    if named == _RECONSTRUCT:
        _, shape, described, by_column, data = _state_of_array(value)
        dtype = plain_dtype(described)
        if isinstance(data, bytes) and isinstance(shape, tuple):
            found = np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")
            return _numbers(found)
    raise NodeFault(f"holds {'.'.join(named)}, which no bundle may hold")


def _state_of_array(value: Pickled) -> tuple[Any, ...]:
    state = value.state
    if class_of(value) != _RECONSTRUCT or not isinstance(state, tuple) or len(state) != _ARRAY_STATE:
        raise NodeFault(f"holds {'.'.join(class_of(value))} where an array should be")
    return state


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in NUMERIC_KINDS:
        raise NodeFault(f"an array of {array.dtype}: a bundle holds arrays of numbers")
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _record_dtype(described: Any) -> np.dtype[Any]:
    """Return the dtype of records that a pickle describes: names, then type and offset of each."""
    state = described.state if isinstance(described, Pickled) else None
    if not isinstance(state, tuple) or len(state) < _RECORD_STATE or not isinstance(state[4], dict):
        raise NodeFault("an array of no records")
    names, fields, size = state[3], state[4], state[5]
    if not isinstance(names, tuple) or len(names) > _MOST_FIELDS or type(size) is not int:
        raise NodeFault("an array of no records")
    return np.dtype({
        "names": list(names),
        "formats": [plain_dtype(fields[name][0]) for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": size,
    })  # fmt: skip


def function_named(value: Any) -> Pair:
    """Return module and name of a function."""
    if isinstance(value, Named):
        return (value.module, value.name)
    return (getattr(value, "__module__", ""), getattr(value, "__qualname__", ""))
