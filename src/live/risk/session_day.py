"""What counts per day, orders and profit, where a day ends when the instrument's session does."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.market.sessions import Session


class SessionDays:
    """Orders and profit of the present session day, by instrument.

    Nothing is reset by a timer: every entry carries its session date, and a question about another date
    is answered with nothing. Not thread-safe; it belongs to the engine's thread.
    """

    def __init__(self, sessions: Mapping[str, Session], *, equity: Mapping[str, float]) -> None:
        """Begin with the equity in USD of every instrument's account before its first mark."""
        self._sessions = dict(sessions)
        self._orders: dict[str, tuple[int, int]] = {}
        self._marks = {symbol: (-1, value, value) for symbol, value in equity.items()}

    def ordered(self, symbol: str, moment: int) -> None:
        """Count an order that was let through, due at `moment` (UTC ns)."""
        self._orders[symbol] = (self._date(symbol, moment), self.orders(symbol, moment) + 1)

    def marked(self, symbol: str, stamp: int, equity: float) -> None:
        """Take the equity in USD at the close of the bar that ended at `stamp` (UTC ns)."""
        date, baseline, latest = self._marks[symbol]
        today = self._date(symbol, stamp)
        self._marks[symbol] = (today, baseline if today == date else latest, equity)

    def orders(self, symbol: str, moment: int) -> int:
        """Return how many orders the session day of `moment` has had."""
        date, count = self._orders.get(symbol, (-1, 0))
        return count if date == self._date(symbol, moment) else 0

    def profit(self, symbol: str, moment: int) -> float:
        """Return the USD made since the last mark of the previous session day, open position included."""
        date, baseline, latest = self._marks[symbol]
        return latest - baseline if date == self._date(symbol, moment) else 0.0

    def _date(self, symbol: str, moment: int) -> int:
        # A moment on the close belongs to the session that it ends, as a bar's end does.
        return self._sessions[symbol].day(moment).date
