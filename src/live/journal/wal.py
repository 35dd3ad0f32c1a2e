"""A damaged write-ahead log: SQLite drops everything behind the damage, silently; the journal refuses.

Layout and checksum are those of https://www.sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then
frames of a 24-byte header and one page. A frame belongs to the log while it carries the salts of the header,
and is read while the running checksum agrees. A writer that is killed leaves no more than an unfinished
transaction at the end. A *finished* one behind a frame that cannot be read is damage.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct(">IIII8sII")
_FRAME = struct.Struct(">II8sII")
_LITTLE_ENDIAN_SUMS, _BIG_ENDIAN_SUMS = 0x377F0682, 0x377F0683
_MASK = 0xFFFFFFFF

Sums = tuple[int, int]
Words = NDArray[np.uint32]


def damage(journal: Path) -> str:
    """Return what in the log of a journal cannot be read although it was committed; empty: nothing.

    Only for a journal that nobody is writing.
    """
    path = journal.with_name(journal.name + "-wal")
    log = path.read_bytes() if path.is_file() else b""
    if len(log) <= _HEADER.size + _FRAME.size:
        return ""
    magic, _, page, _, salts, *stored = _HEADER.unpack_from(log)
    order = {_LITTLE_ENDIAN_SUMS: "<", _BIG_ENDIAN_SUMS: ">"}.get(magic)
    sums = _checksum(log[: _HEADER.size - 8], (0, 0), order or "<")
    if order is None or tuple(stored) != sums:
        return f"{path.name}: its header is damaged, so that none of its transactions can be read"
    lost = _commits_lost(log, page, salts, sums, order)
    return f"{path.name}: damaged in the middle; {lost} committed transactions behind it" if lost else ""


def _commits_lost(log: bytes, page: int, salts: bytes, sums: Sums, order: str) -> int:
    """Return how many frames that end a transaction stand behind the first one that cannot be read."""
    lost, readable = 0, True
    for start in range(_HEADER.size, len(log) - page - _FRAME.size + 1, page + _FRAME.size):
        _, size_after_commit, frame_salts, *stored = _FRAME.unpack_from(log, start)
        if readable:
            content = log[start : start + 8] + log[start + _FRAME.size : start + _FRAME.size + page]
            sums = _checksum(content, sums, order)
            readable = frame_salts == salts and tuple(stored) == sums
        if not readable and frame_salts == salts and size_after_commit:
            lost += 1
    return lost


def _checksum(content: bytes, sums: Sums, order: str) -> Sums:
    """Return the sums continued over `content`, whose length is a multiple of 8.

    SQLite adds word by word, first += one + second and second += other + first, modulo 2^32. That is linear:
    n pairs of words leave A^n sums plus, for the pair that k others follow, A^k (one, one + other), where
    A = (1 1; 1 2). So a frame is four products of arrays.
    """
    words = np.frombuffer(content, dtype=f"{order}u4").astype(np.uint32)
    pairs = words.size // 2
    one, both = words[::2], words[::2] + words[1::2]
    first, second, third = _powers(pairs)
    at_first = int((first[:pairs] * one + second[:pairs] * both).sum(dtype=np.uint32))
    at_second = int((second[:pairs] * one + third[:pairs] * both).sum(dtype=np.uint32))
    a, b, c = (int(each[-1]) for each in (first, second, third))
    return (a * sums[0] + b * sums[1] + at_first) & _MASK, (b * sums[0] + c * sums[1] + at_second) & _MASK


@functools.cache
def _powers(pairs: int) -> tuple[Words, Words, Words]:
    """Return the entries (1, 1), (1, 2) and (2, 2) of A^(pairs - 1) .. A^0, and of A^pairs behind them."""
    rows = [(1, 0, 1)]
    for _ in range(pairs):
        a, b, c = rows[-1]
        rows.append(((a + b) & _MASK, (b + c) & _MASK, (b + 2 * c) & _MASK))
    falling = [*reversed(rows[:-1]), rows[-1]]
    first, second, third = (np.array(column, dtype=np.uint32) for column in zip(*falling, strict=True))
    return first, second, third
