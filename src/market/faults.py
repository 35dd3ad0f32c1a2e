"""`Faults`: which rows of a file break which rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lockstep.market.bars import Flags


class Fault(NamedTuple):
    """One broken row: its line in the file, the value that stood there, and the rule."""

    line: int
    value: str
    rule: str


class Faults:
    """Collects broken rows; a row keeps the first rule that it was found to break."""

    def __init__(self, rows: int) -> None:
        self._code = np.zeros(rows, dtype=np.int64)
        self._rules: list[tuple[str, str]] = [("", "")]

    def add(self, broken: Flags, column: str, rule: str) -> None:
        """Mark the rows of a mask (n,) with the column to show and the rule."""
        fresh = broken & self.good
        if fresh.any():
            self._code[fresh] = len(self._rules)
            self._rules.append((column, rule))

    @property
    def good(self) -> Flags:
        """Rows without a fault, bool (n,)."""
        return np.asarray(self._code == 0)

    def rows(self) -> list[tuple[int, str, str]]:
        """Return (row, column, rule) of every broken row, in order."""
        return [(int(row), *self._rules[self._code[row]]) for row in np.flatnonzero(self._code)]
