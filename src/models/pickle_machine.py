"""Pickles read as data: a stack machine that builds plain values and arrays, and never an object.

It knows the instructions that Lockstep's files are made of. A name is checked against a list of pairs of
module and name and stays a name: nothing is imported. A call becomes a `Pickled`, a note of what was to be
called; it is not called. Sizes are bounded by the bytes that are there, so that no number in a file asks for
more memory than the file takes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from lockstep.models.content import MOST_BYTES

MOST_LEVELS = 64
NUMERIC_KINDS = "biuf"
WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_NDARRAY, _DTYPE = ("numpy", "ndarray"), ("numpy", "dtype")
ARRAYS = frozenset((WRAPPER, _NDARRAY, _DTYPE))

# A forest of 1,200 trees takes some 200,000 instructions in an old bundle; an instruction makes an object of
# some 100 bytes.
_MOST_STEPS = 3_000_000
MOST_INTEGER = 32
_MOST_DIMENSIONS = 8
_DTYPES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"))
_PLAIN = frozenset((type(None), bool, int, float, str, bytes, list, dict, np.ndarray))
_WRAPPED = frozenset(("subclass", "shape", "order", "dtype", "allow_mmap"))


class PickleFault(Exception):
    """The bytes are no pickle of the expected kind."""


class Named(NamedTuple):
    """A class or function that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Pickled:
    """An object that a pickle would make: by a call of `named` with `arguments`, then with `state`."""

    named: Named
    arguments: tuple[Any, ...]
    state: Any = None


class Machine:
    """Reads one pickle.

    allowed   (module, name) of everything that the pickle may name
    moved     old (module, name) -> where it is now: an old name is read as the new one
    objects   whether calls other than those of arrays may be left in the result, and be shared in it
    """

    def __init__(
        self,
        content: bytes,
        *,
        allowed: Collection[tuple[str, str]],
        moved: Mapping[tuple[str, str], tuple[str, str]] | None = None,
        objects: bool = False,
    ) -> None:
        self._content = content
        self._at = 0
        self._allowed = allowed
        self._moved = moved or {}
        self._objects = objects
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []

    def run(self) -> Any:
        """Return what the pickle holds; PickleFault where it cannot be read, or holds what it may not."""
        if len(self._content) > MOST_BYTES:
            raise PickleFault(f"{len(self._content)} bytes: the largest file is {MOST_BYTES}")
        try:
            found = self._run()
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise PickleFault(f"not a Lockstep file: damaged before byte {self._at}") from error
        if not self._objects:
            _require_plain(found)
        return found

    def _run(self) -> Any:
        content = self._content
        for _ in range(_MOST_STEPS):
            code = content[self._at]
            self._at += 1
            if code == _STOP:
                return self._result()
            step = _STEPS.get(code)
            if step is None:
                raise PickleFault(
                    f"not a Lockstep file: byte {self._at - 1} is no instruction that one holds"
                )
            step(self)
        raise PickleFault(f"not a Lockstep file: more than {_MOST_STEPS} instructions")

    def _result(self) -> Any:
        if self._marks or len(self._stack) != 1 or self._at != len(self._content):
            raise PickleFault(f"not a Lockstep file: it ends at byte {self._at}, unfinished or too early")
        return self._stack[0]

    def _take(self, count: int) -> bytes:
        found = self._content[self._at : self._at + count]
        if len(found) != count:
            raise PickleFault(f"not a Lockstep file: {count} bytes are announced, {len(found)} are left")
        self._at += count
        return found

    def _number(self, form: str) -> int:
        found: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return found

    def _since_mark(self) -> list[Any]:
        found, self._stack = self._stack, self._marks.pop()
        return found

    # What the instructions do, by the names of `pickletools`.

    def _proto(self) -> None:
        if self._number("<B") != 4 or self._at != 2:
            raise PickleFault("not a Lockstep file: another protocol")

    def _frame(self) -> None:
        self._take(8)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _long(self) -> None:
        size = self._number("<B")
        if size > MOST_INTEGER:
            raise PickleFault(f"not a Lockstep file: an integer of {size} bytes")
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _append(self) -> None:
        value = self._stack.pop()
        _list(self._stack[-1]).append(value)

    def _appends(self) -> None:
        found = self._since_mark()
        _list(self._stack[-1]).extend(found)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set(self._stack[-1], [key, value])

    def _set_items(self) -> None:
        found = self._since_mark()
        self._set(self._stack[-1], found)

    def _set(self, target: Any, found: list[Any]) -> None:
        if self._objects and type(target) is Pickled:
            # Entries of another mapping than a dict: no pipeline has any that matter.
            return
        if type(target) is not dict or len(found) % 2:
            raise PickleFault("not a Lockstep file: items of what is no mapping")
        for key, value in zip(found[::2], found[1::2], strict=True):
            if self._objects and type(key) is Pickled:
                continue
            if type(key) is not str and not (self._objects and type(key) is int):
                raise PickleFault(f"not a Lockstep file: a key of type {type(key).__name__}")
            if key in target:
                raise PickleFault(f"not a Lockstep file: key {key!r} is there twice")
            target[key] = value

    def _tuple(self) -> None:
        found = self._since_mark()
        self._stack.append(tuple(found))

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        found = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(found)

    def _memoize(self) -> None:
        self._memo.append(self._stack[-1])

    def _get(self, place: int) -> None:
        found = self._memo[place]
        if not self._objects and not _may_be_shared(found):
            raise PickleFault("not a Lockstep file: a value is there twice")
        self._stack.append(found)

    def _global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is str and type(module) is str:
            module, name = self._moved.get((module, name), (module, name))
        if type(name) is not str or type(module) is not str or (module, name) not in self._allowed:
            raise PickleFault(f"holds {shown(module)}.{shown(name)}, which no file of Lockstep may hold")
        self._stack.append(Named(module, name))

    def _call(self) -> None:
        arguments, named = self._stack.pop(), self._stack.pop()
        if type(named) is not Named or type(arguments) is not tuple:
            raise PickleFault("not a Lockstep file: a call of what is no name")
        if not self._objects and named not in (WRAPPER, _DTYPE):
            raise PickleFault(f"holds a call of {named}, which no file of Lockstep may hold")
        self._stack.append(Pickled(named, arguments))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is not Pickled or target.state is not None:
            raise PickleFault("not a Lockstep file: a state of what has none")
        if target.named == WRAPPER:
            self._stack[-1] = self._array(state)
        else:
            target.state = state

    def _array(self, state: Any) -> np.ndarray[Any, Any]:
        """Return the array behind joblib's wrapper, a copy; its values follow in the file."""
        if type(state) is not dict or not _WRAPPED <= state.keys() or state["subclass"] != _NDARRAY:
            raise PickleFault("not a Lockstep file: an array without its description")
        dtype, shape, order = plain_dtype(state["dtype"]), state["shape"], state["order"]
        if state.get("numpy_array_alignment_bytes") is not None:
            self._take(self._number("<B"))
        count = _count(shape, len(self._content))
        if count * dtype.itemsize > len(self._content) - self._at:
            raise PickleFault(f"not a Lockstep file: an array of shape {shape} is longer than the file")
        data = self._take(count * dtype.itemsize)
        if order not in ("C", "F"):
            raise PickleFault(f"not a Lockstep file: an array in order {shown(order)}")
        if dtype.kind == "b" and data.translate(None, b"\x00\x01"):
            raise PickleFault("not a Lockstep file: an array of truth values holds other bytes")
        return (
            np.frombuffer(data, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="), order="C")
        )


def plain_dtype(described: Any) -> np.dtype[Any]:
    """Return the dtype of numbers that a pickle describes; PickleFault where it is another."""
    fits = type(described) is Pickled and described.named == _DTYPE and len(described.arguments) == 3
    name = described.arguments[0] if fits else None
    if type(name) is not str or name not in _DTYPES:
        raise PickleFault(f"holds an array of {shown(name)}, which no file of Lockstep may hold")
    state = described.state
    order = state[1] if type(state) is tuple and len(state) > 1 else "|"
    if order not in ("<", ">", "|", "="):
        raise PickleFault("not a Lockstep file: an array in an unknown byte order")
    return np.dtype(name).newbyteorder(order)  # type: ignore[arg-type]


def _count(shape: Any, most: int) -> int:
    """Return how many values an array of `shape` has; no dimension may be longer than the file."""
    fits = type(shape) is tuple and len(shape) <= _MOST_DIMENSIONS
    if not fits or not all(type(each) is int and 0 <= each <= most for each in shape):
        raise PickleFault(f"not a Lockstep file: an array of shape {shown(shape)}")
    return prod(shape)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise PickleFault("not a Lockstep file: items of what is no list")
    return value


def _may_be_shared(value: Any) -> bool:
    """Whether a document may refer to it twice: what is shared must not grow when it is written out."""
    if type(value) is tuple:
        return all(type(each) in (str, int, bool, float, type(None)) for each in value)
    return type(value) in (str, bytes, Named) or (type(value) is Pickled and value.named == _DTYPE)


def _require_plain(document: Any) -> None:
    """Raise PickleFault where a value is not plain, or nested too deeply for what reads it next."""
    level, here = 0, [document]
    while here:
        if level > MOST_LEVELS:
            raise PickleFault(f"not a Lockstep file: nested deeper than {MOST_LEVELS} levels")
        for each in here:
            if type(each) not in _PLAIN:
                raise PickleFault(f"holds a {type(each).__name__}, which no file of Lockstep may hold")
        here = [inner for each in here for inner in _inside(each)]
        level += 1


def _inside(value: Any) -> Collection[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def shown(value: Any) -> str:
    """Return something foreign for a message: short, and on one line."""
    text = (
        value if type(value) is str else repr(value) if type(value) in (int, tuple) else type(value).__name__
    )
    return text if len(text) <= 80 and text.isprintable() else f"{text[:40]!r}…"


def _pushed(value: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(value())


def _read(form: str) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(machine._number(form))


def _text(form: str) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(machine._take(machine._number(form)).decode())


def _bytes(form: str) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(machine._take(machine._number(form)))


_STOP = ord(".")
_STEPS: Mapping[int, Callable[[Machine], None]] = {
    0x80: Machine._proto,
    0x95: Machine._frame,
    ord("("): Machine._mark,
    ord("N"): _pushed(lambda: None),
    0x88: _pushed(lambda: True),
    0x89: _pushed(lambda: False),
    ord("K"): _read("<B"),
    ord("M"): _read("<H"),
    ord("J"): _read("<i"),
    0x8A: Machine._long,
    ord("G"): _read(">d"),
    0x8C: _text("<B"),
    ord("X"): _text("<I"),
    0x8D: _text("<Q"),
    ord("C"): _bytes("<B"),
    ord("B"): _bytes("<I"),
    0x8E: _bytes("<Q"),
    ord("]"): _pushed(list),
    ord("}"): _pushed(dict),
    ord(")"): _pushed(tuple),
    ord("a"): Machine._append,
    ord("e"): Machine._appends,
    ord("s"): Machine._set_item,
    ord("u"): Machine._set_items,
    ord("t"): Machine._tuple,
    0x85: lambda machine: machine._tuple_of(1),
    0x86: lambda machine: machine._tuple_of(2),
    0x87: lambda machine: machine._tuple_of(3),
    0x94: Machine._memoize,
    ord("h"): lambda machine: machine._get(machine._number("<B")),
    ord("j"): lambda machine: machine._get(machine._number("<I")),
    0x93: Machine._global,
    ord("R"): Machine._call,
    0x81: Machine._call,
    ord("b"): Machine._build,
}
