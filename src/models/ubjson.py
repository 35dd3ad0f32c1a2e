"""Universal Binary JSON, as much of it as XGBoost's models are written in: https://ubjson.org.

Numbers are big-endian; an array of one type has its type and length in front and is a numpy array here.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from lockstep.models.trees import NodeFault

_MOST_LEVELS = 16
_SCALARS = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}
_TYPES = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_MARKS = {np.dtype(name).newbyteorder("=").str: (mark.encode(), name) for mark, name in _TYPES.items()}


def ubjson_written(value: Any) -> bytes:
    """Return mappings, lists, text, whole numbers and arrays of numbers as UBJSON."""
    return b"".join(_written(value))


def _written(value: Any) -> Iterator[bytes]:
    kind = type(value)
    if kind is np.ndarray:
        mark, plain = _MARKS[value.dtype.str]
        yield b"[$" + mark + b"#L" + value.size.to_bytes(8, "big")
        yield value.astype(plain).tobytes()
    elif kind is str:
        yield b"S" + _text(value)
    elif kind is int:
        yield b"L" + value.to_bytes(8, "big", signed=True)
    elif kind is list:
        yield b"[#L" + len(value).to_bytes(8, "big")
        for each in value:
            yield from _written(each)
    else:
        yield b"{"
        for name, each in value.items():
            yield _text(name)
            yield from _written(each)
        yield b"}"


@functools.lru_cache(maxsize=256)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"L" + len(encoded).to_bytes(8, "big") + encoded


def ubjson_read(content: bytes) -> Any:
    """Return the value that fills `content`; NodeFault where there is none, or more than one."""
    reader = _Reader(content)
    try:
        found = reader.value(reader.mark(), 0)
    except (struct.error, UnicodeDecodeError) as error:
        raise NodeFault("a model that is damaged") from error
    if reader.at != len(content):
        raise NodeFault("a model that is longer than it says")
    return found


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.content) - self.at:
            raise NodeFault("a model that is shorter than it says")
        self.at += count
        return self.content[self.at - count : self.at]

    def mark(self) -> str:
        return self.take(1).decode("ascii")

    def number(self, mark: str) -> Any:
        if mark not in _SCALARS:
            raise NodeFault(f"a model with a {mark!r} where a number should be")
        return struct.unpack(_SCALARS[mark], self.take(struct.calcsize(_SCALARS[mark])))[0]

    def length(self) -> int:
        mark = self.mark()
        if mark not in "iUIlL":
            raise NodeFault("a model with a length that is no whole number")
        return int(self.number(mark))

    def text(self) -> str:
        return self.take(self.length()).decode()

    def value(self, mark: str, level: int) -> Any:
        if level > _MOST_LEVELS:
            raise NodeFault(f"a model nested deeper than {_MOST_LEVELS} levels")
        if mark == "{":
            return self._mapping(level)
        if mark == "[":
            return self._list(level)
        if mark in "TFZ":
            return {"T": True, "F": False, "Z": None}[mark]
        return self.text() if mark == "S" else self.number(mark)

    def _mapping(self, level: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.content[self.at : self.at + 1] != b"}":
            name = self.text()
            if name in found:
                raise NodeFault(f"a model with two values of {name[:40]!r}")
            found[name] = self.value(self.mark(), level + 1)
        self.take(1)
        return found

    def _list(self, level: int) -> Any:
        mark = self.mark()
        if mark == "$":
            dtype = np.dtype(_TYPES.get(self.mark(), "O"))
            if dtype.hasobject or self.mark() != "#":
                raise NodeFault("a model with an array of no numbers")
            data = self.take(self.length() * dtype.itemsize)
            return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
        if mark == "#":
            # Each value takes a byte at least, so that a false length runs out of bytes.
            return [self.value(self.mark(), level + 1) for _ in range(self.length())]
        found = []
        while mark != "]":
            found.append(self.value(mark, level + 1))
            mark = self.mark()
        return found
