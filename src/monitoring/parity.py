"""Comparison of two records of the same bars: features, probabilities, decisions, orders, fills, equity.

Research, the sweep and the live engine write down what they did in forms of their own. Each is turned into
one `EngineStep` per bar of a traded series, and compared here, bit for bit. What differs first, in the order
in which one thing follows from another, says what kind of fault it is.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from lockstep.errors import ParityError
from lockstep.market.bars import Floats
from lockstep.portfolio.state import SettledSet
from lockstep.strategy.records import ENTRY, OrderRecord

COMPLETED = "completed"
COLD = "cold"
NO_BAR = "no bar"

BAR = "bar differs"
WARM_UP = "warm-up"
SESSION = "session"
FEATURE_CODE = "code: feature"
BUNDLE = "bundle"
DECISION_CODE = "code: decision"
ORDER = "order"
COST = "cost"
ACCOUNT = "account"
PORTFOLIO = "portfolio"

Context = Mapping[str, Mapping[int, tuple[float, ...]]]


@dataclass(frozen=True, kw_only=True)
class EngineStep:
    """What one engine did with one instrument at one bar. None: this engine does not write that down.

    stamp         end of the bar, UTC ns
    bar           (open, high, low, close, volume), points and contracts
    context       the other bars that features read and that came since the step before, by series (as
                  `SPX:1d (pair)`) and end; the first step has all that its windows may hold
    vector        float64 (k,) as frozen at the decision, raw little-endian bytes
    probability   of the model, NaN where it was not asked
    code, reason  the decision, see `strategy.decision`
    orders        every order state reported at this bar; their running numbers are not compared
    mark          (close, position, cash, equity)
    """

    symbol: str
    stamp: int
    bar: tuple[float, ...] | None = None
    context: Context | None = None
    vector: bytes | None = None
    probability: float | None = None
    code: int | None = None
    reason: str | None = None
    orders: tuple[OrderRecord, ...] | None = None
    mark: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class ParityDifference:
    """The first thing in which two steps differ.

    kind    what kind of fault it is: `bar differs`, `warm-up`, `session`, `code: feature`, `bundle`, …
    stamp   end of the bar at which it shows; of a bar of another series, its own end
    where   `bar`, `bar of SPX:1d (pair)`, the feature id, `probability`, `decision`, `order`, `equity` …
    """

    kind: str
    symbol: str
    stamp: int
    where: str
    first: str
    second: str

    def __str__(self) -> str:
        moment = np.datetime_as_string(np.datetime64(self.stamp, "ns"), unit="s")
        return f"{self.symbol} {moment}Z {self.where}: {self.first} against {self.second} ({self.kind})"


@dataclass
class ParityComparison:
    """How much was compared, and what differed; `limit` differences are kept, all are counted.

    trades   entries that filled
    series   bars of each series in the steps' contexts
    """

    bars: int = 0
    vectors: int = 0
    values: int = 0
    probabilities: int = 0
    decisions: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    marks: int = 0
    different: int = 0
    series: dict[str, int] = field(default_factory=dict)
    differences: list[ParityDifference] = field(default_factory=list)

    @property
    def first(self) -> ParityDifference | None:
        """The earliest difference."""
        return self.differences[0] if self.differences else None

    def __add__(self, other: ParityComparison) -> ParityComparison:
        """Return both together."""
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name not in ("differences", "series")
        }
        series = {
            name: self.series.get(name, 0) + other.series.get(name, 0)
            for name in sorted(self.series.keys() | other.series.keys())
        }
        return ParityComparison(**counts, series=series, differences=[*self.differences, *other.differences])

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.comparison(self)


def compare(
    first: Sequence[EngineStep], second: Sequence[EngineStep], ids: Sequence[str], *, limit: int = 20
) -> ParityComparison:
    """Compare two records of one instrument step by step; ParityError where there is nothing to compare."""
    if not first and not second:
        raise ParityError("nothing to compare: neither engine wrote down a bar")
    found = ParityComparison()
    ours, theirs = ({step.stamp: step for step in steps} for steps in (first, second))
    for stamp in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(stamp), theirs.get(stamp)
        difference: ParityDifference | None
        if one is None or other is None:
            difference = _absent(stamp, one, other)
        else:
            _count(found, one, other)
            difference = next(step_differences(one, other, ids), None)
        if difference is not None:
            found.different += 1
            if len(found.differences) < limit:
                found.differences.append(difference)
    return found


def with_context(steps: Sequence[EngineStep], bars: Context) -> list[EngineStep]:
    """Return the steps, each with the bars by series and end that came since the step before.

    The first step has every bar up to its own; bars that end after the last step belong to none.
    """
    stamps = [step.stamp for step in steps]
    contexts: list[dict[str, dict[int, tuple[float, ...]]]] = [{name: {} for name in bars} for _ in steps]
    for name, found in bars.items():
        for end, values in found.items():
            row = bisect_left(stamps, end)
            if row < len(steps):
                contexts[row][name][end] = values
    return [replace(step, context=context) for step, context in zip(steps, contexts, strict=True)]


def step_differences(first: EngineStep, second: EngineStep, ids: Sequence[str]) -> Iterator[ParityDifference]:
    """Yield what differs in two steps at one stamp, causes before consequences."""

    def differ(kind: str, where: str, one: object, other: object) -> ParityDifference:
        return ParityDifference(
            kind=kind, symbol=first.symbol, stamp=first.stamp, where=where, first=str(one), second=str(other)
        )

    if first.context is not None and second.context is not None:
        yield from _context_differences(first.symbol, first.context, second.context)
    if _both(first.bar, second.bar) and _bits(first.bar) != _bits(second.bar):
        yield differ(BAR, "bar", first.bar, second.bar)
    if _both(first.vector, second.vector) and first.vector != second.vector:
        for name, one, other in _unequal(first.vector, second.vector, ids):
            yield differ(_vector_kind(first, second), name, one, other)
    if _both(first.probability, second.probability):
        one, other = float(first.probability or 0.0), float(second.probability or 0.0)
        if _bits((one,)) != _bits((other,)) and not (math.isnan(one) and math.isnan(other)):
            kind = DECISION_CODE if math.isnan(one) or math.isnan(other) else BUNDLE
            yield differ(kind, "probability", one, other)
    if _both(first.code, second.code) and (first.code, first.reason) != (second.code, second.reason):
        yield differ(_decision_kind(first, second), "decision", first.reason, second.reason)
    if first.orders is not None and second.orders is not None:
        yield from (
            differ(kind, where, one, other)
            for kind, where, one, other in _order_differences(first.orders, second.orders)
        )
    if _both(first.mark, second.mark) and _bits(first.mark) != _bits(second.mark):
        yield differ(ACCOUNT, "equity", first.mark, second.mark)


def settled_differences(
    first: SettledSet | None, second: SettledSet | None, stamp: int
) -> Iterator[ParityDifference]:
    """Yield what differs in what a portfolio decided at one bar set: proposals by rank, then its state."""

    def differ(symbol: str, where: str, one: object, other: object) -> ParityDifference:
        return ParityDifference(
            kind=PORTFOLIO, symbol=symbol, stamp=stamp, where=where, first=str(one), second=str(other)
        )

    if first is None or second is None:
        if first is not second:
            yield differ("", "portfolio", *("settled" if each else "not settled" for each in (first, second)))
        return
    for one, other in zip_longest(first.proposals, second.proposals):
        for symbol, where, left, right in _parts(one, other, "proposal"):
            yield differ(symbol, where, left, right)
    for where, left, right in _unlike(first.state, second.state):
        if where != "lanes":
            yield differ("", where, left, right)
    for room, again in zip_longest(first.state.lanes, second.state.lanes):
        for symbol, where, left, right in _parts(room, again, "lane"):
            yield differ(symbol, where, left, right)


def _parts(one: Any, other: Any, what: str) -> Iterator[tuple[str, str, object, object]]:
    if one is None or other is None:
        yield (one or other).symbol, what, one or "none", other or "none"
        return
    for where, left, right in _unlike(one, other):
        yield one.symbol, where, left, right


def _unlike(one: Any, other: Any) -> Iterator[tuple[str, object, object]]:
    """Yield the fields in which two values of one class differ, NaN equal to NaN."""
    for name in one.__dataclass_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if repr(left) != repr(right):
            yield name, left, right


def _context_differences(symbol: str, first: Context, second: Context) -> Iterator[ParityDifference]:
    """Yield the bars in which two contexts differ, the earliest first."""
    places = {(end, name) for each in (first, second) for name, bars in each.items() for end in bars}
    for end, name in sorted(places):
        one, other = (each.get(name, {}).get(end) for each in (first, second))
        if _bits(one) != _bits(other):
            left, right = (NO_BAR if bar is None else str(bar) for bar in (one, other))
            yield ParityDifference(
                kind=BAR, symbol=symbol, stamp=end, where=f"bar of {name}", first=left, second=right
            )


def _both(one: object, other: object) -> bool:
    return one is not None and other is not None


def _bits(values: tuple[float, ...] | None) -> bytes:
    return struct.pack(f"<{len(values or ())}d", *(values or ()))


def _absent(stamp: int, one: EngineStep | None, other: EngineStep | None) -> ParityDifference:
    there = one or other
    symbol = there.symbol if there else ""
    said = ("a decision", NO_BAR)
    first, second = said if one else said[::-1]
    return ParityDifference(kind=BAR, symbol=symbol, stamp=stamp, where="bar", first=first, second=second)


def _count(found: ParityComparison, one: EngineStep, other: EngineStep) -> None:
    found.bars += 1
    if one.vector is not None and other.vector is not None:
        found.vectors += 1
        found.values += len(one.vector) // 8
    if one.probability is not None and other.probability is not None:
        found.probabilities += not math.isnan(one.probability)
    found.decisions += _both(one.code, other.code)
    if one.orders is not None and other.orders is not None:
        found.orders += len(one.orders)
        completed = [order for order in one.orders if order.status == COMPLETED]
        found.fills += len(completed)
        found.trades += sum(order.intent == ENTRY for order in completed)
    if one.context is not None and other.context is not None:
        for name, bars in one.context.items():
            shared = bars.keys() & other.context.get(name, {}).keys()
            found.series[name] = found.series.get(name, 0) + len(shared)
    found.marks += _both(one.mark, other.mark)


def _unequal(
    first: bytes | None, second: bytes | None, ids: Sequence[str]
) -> Iterator[tuple[str, float | str, float | str]]:
    one, other = (_floats(each) for each in (first, second))
    if one.size != other.size or one.size != len(ids):
        yield "vector", f"{one.size} values", f"{other.size} values"
        return
    for name, left, right in zip(ids, one.tolist(), other.tolist(), strict=True):
        if _bits((left,)) != _bits((right,)) and not (math.isnan(left) and math.isnan(right)):
            yield name, left, right


def _floats(raw: bytes | None) -> Floats:
    return np.frombuffer(raw or b"", dtype="<f8").astype(np.float64)


def _vector_kind(first: EngineStep, second: EngineStep) -> str:
    cold = any((step.reason or "").startswith(COLD) for step in (first, second))
    return WARM_UP if cold else FEATURE_CODE


def _decision_kind(first: EngineStep, second: EngineStep) -> str:
    reasons = {first.reason or "", second.reason or ""}
    if any(reason.startswith(COLD) for reason in reasons):
        return WARM_UP
    timed = {"outside session", "outside window", "after auto-close", "session"}
    return SESSION if reasons & timed else DECISION_CODE


def _order_differences(
    first: tuple[OrderRecord, ...], second: tuple[OrderRecord, ...]
) -> Iterator[tuple[str, str, object, object]]:
    if len(first) != len(second):
        yield ORDER, "orders", [_short(each) for each in first], [_short(each) for each in second]
        return
    for one, other in zip(first, second, strict=True):
        left, right = replace(one, reference=0), replace(other, reference=0)
        if repr(left) == repr(right):
            continue
        costly = replace(right, price=left.price, commission=left.commission, slippage=left.slippage)
        if repr(costly) == repr(left):
            yield COST, "fill" if left.status == COMPLETED else "level", _short(left), _short(right)
        else:
            yield ORDER, "order", _short(left), _short(right)


def _short(order: OrderRecord) -> str:
    return (
        f"{order.intent} {order.quantity:g} {order.status} at {order.price!r} "
        f"(commission {order.commission!r}, slippage {order.slippage!r}, {order.reason})"
    )
