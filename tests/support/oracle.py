"""A slow, obvious second engine: integer ticks, exact fractions, no code shared with the product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass
class OracleTrade:
    side: int
    entry_bar: int
    entry: int
    exit_bar: int | None = None
    exit: int | None = None
    reason: str = ""


def ibs(bar: tuple[int, int, int, int]) -> float:
    _, high, low, close = bar
    return 0.5 if high == low else float(Fraction(close - low, high - low))


class Oracle:
    """Trades bars of whole ticks by the rules of the design, written down a second time."""

    def __init__(self, bars: list[tuple[int, int, int, int]], config: dict[str, Any], slip: int = 1) -> None:
        self.bars, self.config, self.slip = bars, config, slip
        self.trades: list[OracleTrade] = []
        self.open: OracleTrade | None = None
        self.stop: int | None = None
        self.target: int | None = None

    def run(self) -> list[OracleTrade]:
        pending: str | int | None = None
        for number, bar in enumerate(self.bars):
            if pending in (1, -1):
                self.enter(number, bar[0], int(pending))
            elif pending is not None:
                assert self.open is not None
                self.leave(number, bar[0] - self.open.side * self.slip, str(pending))
            if self.open is not None:
                self.protect(number, bar)
            pending = self.decide(number, bar)
        return self.trades

    def enter(self, number: int, at_open: int, side: int) -> None:
        price = at_open + side * self.slip
        self.open = OracleTrade(side=side, entry_bar=number, entry=price)
        self.trades.append(self.open)
        self.stop = self.level("stop", price, -side)
        self.target = self.level("target", price, side)

    def level(self, name: str, price: int, direction: int) -> int | None:
        percent = self.config.get(name)
        if percent is None:
            return None
        exact = price + direction * abs(price) * Fraction(str(percent)) / 100
        return math.ceil(exact) if direction > 0 else math.floor(exact)

    def protect(self, number: int, bar: tuple[int, int, int, int]) -> None:
        assert self.open is not None
        side = self.open.side
        at_open, high, low, _ = bar
        worst, best = (low, high) if side > 0 else (high, low)
        candidates: list[tuple[bool, int, str]] = []
        if self.stop is not None:
            candidates.append(((at_open - self.stop) * side <= 0, at_open - side * self.slip, "stop"))
        if self.target is not None:
            candidates.append(((at_open - self.target) * side >= 0, at_open, "target"))
        if self.stop is not None:
            candidates.append(((worst - self.stop) * side <= 0, self.stop - side * self.slip, "stop"))
        if self.target is not None:
            candidates.append(((best - self.target) * side >= 0, self.target, "target"))
        for hit, price, reason in candidates:
            if hit:
                self.leave(number, price, reason)
                return

    def leave(self, number: int, price: int, reason: str) -> None:
        assert self.open is not None
        self.open.exit_bar, self.open.exit, self.open.reason = number, price, reason
        self.open = None

    def decide(self, number: int, bar: tuple[int, int, int, int]) -> str | int | None:
        value = ibs(bar)
        if self.open is not None:
            low, high = self.config["exit"] if self.open.side > 0 else self.config["short_exit"]
            if low <= value <= high:
                return "signal"
            held = number - self.open.entry_bar + 1
            return "max bars" if held >= self.config["max_bars"] else None
        direction = self.config["direction"]
        if direction != "short" and self.config["entry"][0] <= value <= self.config["entry"][1]:
            return 1
        if direction != "long" and self.config["short_entry"][0] <= value <= self.config["short_entry"][1]:
            return -1
        return None
