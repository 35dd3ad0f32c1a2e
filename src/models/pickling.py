"""Plain values and arrays as joblib files: the same content gives the same bytes, and nothing in them is run.

A pickle is a program, and whoever reads it with `pickle` runs what a stranger wrote. Here the writer emits
the few instructions that plain values and arrays need, without references, so that the bytes depend on values
only; `joblib.load` reads them. The reader (`pickle_machine.py`) takes them as data.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from lockstep.errors import ForeignPickle, UnfitBundle
from lockstep.models.content import MOST_BYTES
from lockstep.models.pickle_machine import (
    ARRAYS,
    MOST_INTEGER,
    MOST_LEVELS,
    NUMERIC_KINDS,
    WRAPPER,
    Machine,
    PickleFault,
)

_ALIGNMENT = 16


def pickled(document: Any) -> bytes:
    """Return None, bools, ints, floats, text, bytes, lists, mappings and numeric arrays as a joblib file.

    Keys are text. UnfitBundle where something else is in it, or the file would be too large to be read.
    """
    out = bytearray(b"\x80\x04")
    try:
        _write(out, document, 0)
    except (UnicodeEncodeError, OverflowError, struct.error) as error:
        raise UnfitBundle(f"a text or number that no bundle may hold: {error}; write plain values") from error
    out += b"."
    if len(out) > MOST_BYTES:
        raise UnfitBundle(f"{len(out)} bytes: the largest file is {MOST_BYTES}; train a smaller model")
    return bytes(out)


def unpickled(content: bytes, what: str) -> Any:
    """Return the document in the bytes of a joblib file; its arrays are copies and may be written to.

    ForeignPickle where there is anything but plain values and numeric arrays, or the file is damaged.
    """
    try:
        found = Machine(content, allowed=ARRAYS).run()
    except PickleFault as fault:
        raise ForeignPickle(f"{what}: {fault}; train the model with Lockstep") from fault
    return found


def _write(out: bytearray, value: Any, level: int) -> None:
    kind = type(value)
    if level > MOST_LEVELS:
        raise UnfitBundle(f"nested deeper than {MOST_LEVELS} levels; write plain values")
    if kind is dict:
        out += b"}("
        for key, each in value.items():
            if type(key) is not str:
                raise UnfitBundle(f"key {key!r}: must be text")
            _write(out, key, level + 1)
            _write(out, each, level + 1)
        out += b"u"
    elif kind is list:
        out += b"]("
        for each in value:
            _write(out, each, level + 1)
        out += b"e"
    elif kind is np.ndarray:
        _write_array(out, value)
    else:
        out += _scalar(value)


def _scalar(value: object) -> bytes:
    if value is None:
        return b"N"
    if type(value) is bool:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        return b"\x8a\x20" + value.to_bytes(MOST_INTEGER, "little", signed=True)
    if type(value) is float:
        return b"G" + struct.pack(">d", value)
    if type(value) is str:
        encoded = value.encode()
        return b"X" + struct.pack("<I", len(encoded)) + encoded
    if type(value) is bytes:
        return b"B" + struct.pack("<I", len(value)) + value
    kind = type(value).__name__
    raise UnfitBundle(f"a {kind} is no plain value; a bundle holds numbers, text, lists and arrays")


def _write_array(out: bytearray, array: np.ndarray[Any, Any]) -> None:
    """Write what joblib writes for an array: its wrapper, padding to 16 bytes, the values in C order."""
    dtype = array.dtype
    if dtype.kind not in NUMERIC_KINDS:
        raise UnfitBundle(f"array of {dtype}: a bundle holds arrays of numbers only")
    byte_order = "|" if dtype.itemsize == 1 else "<"
    plain = np.ascontiguousarray(array, dtype=dtype.newbyteorder("<")).reshape(array.shape)
    state = (
        b"\x8c\x08subclass" + _named("numpy", "ndarray"),
        b"\x8c\x05shape(" + b"".join(map(_scalar, plain.shape)) + b"t",
        b"\x8c\x05order\x8c\x01C",
        b"\x8c\x05dtype"
        + _named("numpy", "dtype")
        + _scalar(f"{dtype.kind}{dtype.itemsize}")
        + b"\x89\x88\x87R",
        b"(K\x03" + _scalar(byte_order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"\x8c\x0aallow_mmap\x89",
        b"\x8c\x1bnumpy_array_alignment_bytesK\x10",
    )
    out += _named(*WRAPPER) + b")\x81}(" + b"".join(state) + b"ub"
    padding = _ALIGNMENT - (len(out) + 1) % _ALIGNMENT
    out += bytes([padding]) + b"\xff" * padding
    out += plain.tobytes()


def _named(module: str, name: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(each)]) + each.encode() for each in (module, name)) + b"\x93"
