"""The second phase of a bar set: all proposals are answered at once, then every lane acts on its answer."""

from __future__ import annotations

from typing import Any

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.strategy.backtrader.strategy import ParityStrategy


class ClosingStrategy(bt.Strategy):
    """Comes after all lanes of a Cerebro, so that it is called when each of them has decided.

    Trades nothing. A set in which no lane has a bar is not there for it.
    """

    params = (("admissions", None),)

    def start(self) -> None:
        """Find the lanes; all strategies exist now."""
        running = self.cerebro.runningstrats
        self._lanes: list[ParityStrategy] = [each for each in running if isinstance(each, ParityStrategy)]

    def _next(self) -> None:
        self._settle()

    def _oncepost(self, dt: float) -> None:
        self._settle()

    def _settle(self) -> None:
        stamps = {each.decided_at for each in self._lanes if each.decided_at is not None}
        if not stamps:
            return
        if len(stamps) > 1:
            raise StrategyError(
                f"bar set: lanes have bars of {', '.join(map(str, sorted(stamps)))} ns in one set; "
                "Backtrader cannot tell ends apart that are less than a millisecond away from each other"
            )
        settled = self.p.admissions.settle(
            stamps.pop(), [each.news for each in self._lanes], [each.standing for each in self._lanes]
        )
        for each, admission in zip(self._lanes, settled.admissions, strict=True):
            each.conclude(admission, flatten=settled.flatten)

    def _addnotification(self, *_: Any, **__: Any) -> None:
        """Orders belong to lanes."""
