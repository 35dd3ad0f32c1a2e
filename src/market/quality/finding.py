"""`Finding`: one kind of suspicious thing in a series, with a sentence and its places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from lockstep.market.bars import Stamps

RowSpan = tuple[int, int]
Severity = Literal["warning", "note"]

_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of suspicious thing: where it is, how often, and a sentence that says so.

    severity   `warning`: results may be wrong because of it; `note`: a trait that explains itself
    spans      the places in time, UTC nanoseconds: what happened between the two ends of bars. Empty where
               the whole series is meant
    """

    kind: str
    where: str
    count: int
    sentence: str
    severity: Severity = "warning"
    spans: tuple[RowSpan, ...] = ()


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return "1 hole", "1,204 holes", "2 copies"; plural: where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(texts: Sequence[str], count: int | None = None) -> str:
    """Return the first texts, and how many there are besides; count: of all, where only some are given."""
    rest = (len(texts) if count is None else count) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def runs(rows: Sequence[int] | Stamps) -> list[tuple[int, int]]:
    """Return rising numbers as stretches (first, last) without a gap."""
    numbers = np.asarray(rows, dtype=np.int64)
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    bounds = [0, *breaks.tolist(), numbers.size]
    return [(int(numbers[a]), int(numbers[b - 1])) for a, b in pairwise(bounds) if b > a]


def stretches(rows: Sequence[int] | Stamps, name: Callable[[int], str]) -> str:
    """Return rows by name, the longest stretches first: "from A to B (214), C"."""
    found = sorted(runs(rows), key=lambda run: (run[0] - run[1], run[0]))
    return listed(
        [
            name(first) if first == last else f"from {name(first)} to {name(last)} ({last - first + 1:,})"
            for first, last in found
        ]
    )
