"""`Faults`: which rows of a file break which rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Flags


class Fault(NamedTuple):
    """One broken row: its line in the file, the value that stood there, and the rule."""

    line: int
    value: str
    rule: str


class Broken(NamedTuple):
    """What a row breaks: the column to show, the rule, and the other side of a comparison.

    beside   another column of the same row, or None
    after    another row with the same column, or None
    """

    column: str
    rule: str
    beside: str | None = None
    after: int | None = None


class Faults:
    """Collects broken rows; a row keeps the first rule that it was found to break."""

    def __init__(self, rows: int) -> None:
        self._code = np.zeros(rows, dtype=np.uint8)
        self._rules: list[Broken] = [Broken("", "")]
        self._after: dict[int, NDArray[np.int64]] = {}
        self._any = False

    def add(
        self,
        broken: Flags,
        column: str,
        rule: str,
        *,
        beside: str | None = None,
        after: NDArray[np.int64] | None = None,
    ) -> None:
        """Mark the rows of a mask (n,) with the column to show and the rule.

        beside   the column that the value was compared with
        after    row (n,) that each row was compared with
        """
        if not broken.any():
            return
        fresh = broken & self.good
        if fresh.any():
            self._any = True
            if after is not None:
                self._after[len(self._rules)] = after
            self._code[fresh] = len(self._rules)
            self._rules.append(Broken(column, rule, beside))

    @property
    def found(self) -> bool:
        """Whether any row has a fault."""
        return self._any

    @property
    def good(self) -> Flags:
        """Rows without a fault, bool (n,)."""
        return np.asarray(self._code == 0)

    def rows(self) -> list[tuple[int, str, str]]:
        """Return (row, column, rule) of every broken row, in order."""
        return [(row, broken.column, broken.rule) for row, broken in self.broken()]

    def broken(self) -> list[tuple[int, Broken]]:
        """Return every broken row with what it breaks, in order."""
        found = []
        for row in np.flatnonzero(self._code):
            code = int(self._code[row])
            after = self._after.get(code)
            rule = self._rules[code]
            found.append((int(row), rule if after is None else rule._replace(after=int(after[row]))))
        return found
