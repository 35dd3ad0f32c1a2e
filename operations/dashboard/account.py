"""What a desk has earned, from the marks of its journal: read once, and then only what is new."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.live.journal.reader import JournalReader

_PIECE = 20_000  # sequences of one query: short, so that the engine's checkpoints find their turn
_MARKS = """
    SELECT stamp, symbol, mark_equity FROM decisions JOIN sets USING (sequence)
    WHERE sequence > ? AND sequence <= ? ORDER BY sequence
"""
_DAY = 86_400 * 1_000_000_000

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class DeskProfit:
    """Profit so far of a desk and of its lanes, open positions at their mark, USD.

    stamps, profit   (n,) UTC ns and USD after each bar set of the newest epochs in a row that have one mode
    lanes            profit so far by lane
    """

    stamps: Stamps
    profit: Floats
    lanes: Mapping[str, float]

    @property
    def total(self) -> float:
        """Profit so far; 0 before the first bar set."""
        return float(self.profit[-1]) if self.profit.size else 0.0

    @property
    def drawdowns(self) -> Floats:
        """How far below its highest value so far the profit is, (n,), at least 0."""
        return np.asarray(np.maximum.accumulate(np.maximum(self.profit, 0.0)) - self.profit)

    def by_day(self) -> tuple[NDArray[np.datetime64], Floats]:
        """Return the UTC days with a bar set, datetime64[D] (d,), and the profit of each, USD (d,)."""
        if not self.profit.size:
            return np.empty(0, dtype="datetime64[D]"), np.empty(0)
        days = self.stamps // _DAY
        last = np.flatnonzero(np.append(np.diff(days) != 0, True))
        return days[last].astype("datetime64[D]"), np.diff(self.profit[last], prepend=0.0)


class ProfitReader:
    """Profits of one journal, kept between two looks, so that a look reads only what was added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin((), 0)

    def _begin(self, source: tuple[object, ...], sequence: int) -> None:
        self._source = source
        self._sequence = sequence
        self._marks: dict[str, tuple[array[int], array[float]]] = {}
        self._found: DeskProfit | None = None

    def read(self, journal: JournalReader, last: int) -> DeskProfit:
        """Return the profits up to entry `last`; a journal that was replaced is read anew."""
        with self._lock:
            epoch, first = _stretch(journal)
            file = journal.path.stat()
            source = (journal.path, file.st_dev, file.st_ino, epoch)
            if source != self._source or last < self._sequence:
                self._begin(source, first - 1)
            if self._found is None or last > self._sequence:
                self._add(journal, last)
                self._found = self._profit(journal, epoch)
            return self._found

    def _add(self, journal: JournalReader, last: int) -> None:
        while self._sequence < last:
            upto = min(self._sequence + _PIECE, last)
            for stamp, symbol, equity in journal.select(_MARKS, self._sequence, upto):
                if equity is not None:
                    stamps, values = self._marks.setdefault(symbol, (array("q"), array("d")))
                    stamps.append(stamp)
                    values.append(equity)
            self._sequence = upto

    def _profit(self, journal: JournalReader, epoch: int) -> DeskProfit:
        marks = {
            symbol: (np.array(stamps, dtype=np.int64), np.array(values, dtype=np.float64))
            for symbol, (stamps, values) in self._marks.items()
        }
        begun: dict[str, float] = {}
        for symbol, cash in journal.select(
            "SELECT symbol, cash FROM states WHERE epoch >= ? ORDER BY epoch", epoch
        ):
            begun.setdefault(symbol, cash or 0.0)
        # A lane that an epoch knows no state of begins with its first mark.
        for symbol, (_, values) in marks.items():
            begun.setdefault(symbol, float(values[0]))
        stamps = np.unique(np.concatenate([each for each, _ in marks.values()] or [np.empty(0, np.int64)]))
        total = np.zeros(stamps.size)
        for symbol, (own, values) in marks.items():
            at = np.searchsorted(own, stamps, side="right") - 1
            total += np.where(at >= 0, values[at] - begun[symbol], 0.0)
        lanes = {symbol: float(values[-1]) - begun[symbol] for symbol, (_, values) in marks.items()}
        return DeskProfit(stamps=stamps, profit=total, lanes=lanes)


def _stretch(journal: JournalReader) -> tuple[int, int]:
    """Return number and first entry of the oldest of the newest epochs in a row that have one mode.

    Accounts of another mode are other accounts: simulated money is not real.
    """
    found, newest = (1, 1), ""
    for number, mode, first in journal.select("SELECT number, mode, first FROM epochs ORDER BY number DESC"):
        newest = newest or mode
        if mode != newest:
            break
        found = (number, first)
    return found
