"""One run of a strategy without Backtrader: the compiled loop, what it is fed, the records it leaves.

The records are those of the same run in Backtrader, bit for bit (`tests/contract/test_engine_equality.py`). A
family's `decide` is compiled into a loop of its own, once; a configuration changes nothing but numbers.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import generated_module
from lockstep.errors import EngineMismatch
from lockstep.features.plan import COLD, FeatureSource
from lockstep.identity import text_digest
from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.history import Market
from lockstep.strategy.decision import ENTRIES, FILTERED, MISSING, NAMES, REFUSED
from lockstep.strategy.family import Family, family_of
from lockstep.strategy.matching import NO_ORDER, opening_account
from lockstep.strategy.records import OrderRecord, TradeRecord
from lockstep.strategy.step import DecisionRules
from research.backtest import loop
from research.backtest.records import Column, RecordColumns, RunRecords, TextCodes

_BARS_AT_A_TIME = 1 << 18
_LEAST_ROOM = 1 << 10
_NAME_LENGTH = 16

_TEMPLATE = '''"""Generated: the loop of a family's backtests; see research/backtest/engine.py."""

from lockstep.compiled import inlined, kernel
from lockstep.strategy.family import family_named
from research.backtest import loop

_run, _find_candidates = inlined(loop.run), inlined(loop.find_candidates)
# Of the family with the fingerprint {code}.
decide = family_named({family!r}, where="backtest").decide


@kernel
def run(
    asks, at_close, stop, ends, prices, clock, values, costs, rules, filters, sizing, exits, answers,
    verdicts, admitted, leaves, codes, probabilities, marks, orders, trades, state, money
):
    return _run(
        decide, asks, at_close, stop, ends, prices, clock, values, costs, rules, filters, sizing, exits,
        answers, verdicts, admitted, leaves, codes, probabilities, marks, orders, trades, state, money
    )


@kernel
def find_candidates(first, stop, clock, values, rules, filters, found):
    _find_candidates(decide, first, stop, clock, values, rules, filters, found)
'''


@functools.cache
def compiled_loop(family: Family) -> ModuleType:
    """Return the compiled `run` and `find_candidates` of a family, from the disk cache if there."""
    code = f"{family.fingerprint} in {family.config.__module__}"
    text = _TEMPLATE.format(family=family.name, code=code)
    return generated_module("backtests", text_digest(text)[:_NAME_LENGTH], text)


@dataclass(frozen=True, kw_only=True, eq=False)
class Admitted:
    """What a portfolio answered to one lane at each of its n bars.

    verdicts   int64 (n,): the decision that an entry proposed there became, 0 where none was
    contracts  float64 (n,): with which it was sent, signed; 0.0 where it was refused
    leaves     int8 (n,): whether everything open had to leave, `loop.AT_BAR` and `loop.BEFORE_BAR` added up
    """

    verdicts: Stamps
    contracts: Floats
    leaves: NDArray[np.int8]

    @classmethod
    def alone(cls) -> Self:
        """Return what one has that is in no portfolio: entries are sent as they are."""
        return cls(verdicts=np.zeros(0, np.int64), contracts=np.zeros(0), leaves=np.zeros(0, np.int8))


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledRun:
    """Everything that a run over n bars reads.

    bars     the traded ones; clock: float64 (n, 3), see `SessionClock.readings`
    values   float64 (n, ids): the decision vectors; source says why a value of theirs is missing
    rules    the strategy and its veto
    admitted what a portfolio answers
    on_bar   called with the number of bars seen, now and then
    """

    bars: Bars
    market: Market
    rules: DecisionRules
    source: FeatureSource
    values: Floats
    clock: Floats
    admitted: Admitted
    on_bar: Callable[[int], None] | None = None

    def records(self) -> RunRecords:
        """Carry the run out and return what happened.

        StrategyError where the model answers with anything but a chance: what fails must not trade.
        """
        bars, n, rules = self.bars, len(self.bars), self.rules
        compiled, answers, admitted = compiled_loop(family_of(rules.config)), Answers(self), self.admitted
        given = (
            bars.end, (bars.open, bars.high, bars.low, bars.close), self.clock, self.values,
            self.market.instrument.costs, rules.rules, rules.filters, rules.sizing, rules.exits,
            answers.known, admitted.verdicts, admitted.contracts, admitted.leaves,
        )  # fmt: skip
        codes, probabilities, marks = np.empty(n, dtype=np.int64), np.empty(n), np.empty((n, 4))
        orders, trades = _opened(_ORDERS), _opened(_TRADES)
        state, money = np.zeros(loop.STATE, dtype=np.int64), np.full(loop.MONEY, math.nan)
        money[: loop.CHANCE] = (*opening_account(rules.config.capital), *NO_ORDER)
        while state[loop.ROW] < n:
            stop = min(n, int(state[loop.ROW]) + _BARS_AT_A_TIME)
            is_lacking = compiled.run(
                rules.veto is not None, rules.config.execution == "close", stop, *given, codes, probabilities,
                marks, orders, trades, state, money,
            )  # fmt: skip
            if is_lacking:
                answers.fetch(int(state[loop.ROW]))
            elif self.on_bar is not None:
                self.on_bar(int(state[loop.ROW]))
            orders = _with_room(orders, int(state[loop.ORDERS]))
            trades = _with_room(trades, int(state[loop.TRADES]))
        self._require_answers(codes)
        reason = self._reason(codes)
        return RunRecords(
            stamps=bars.end,
            vectors=self.values,
            probabilities=probabilities,
            codes=codes,
            reasons=reason.codes,
            reason_names=reason.names,
            marks=marks,
            orders=self._orders(orders, int(state[loop.ORDERS])),
            trades=self._trades(trades, int(state[loop.TRADES])),
        )

    def _require_answers(self, codes: Stamps) -> None:
        """Raise EngineMismatch unless an entry was proposed exactly where the portfolio answered one."""
        verdicts = self.admitted.verdicts
        if not verdicts.size:
            return
        asked = (verdicts != 0) | (codes == 0) | (codes >= REFUSED) | np.isin(codes, list(ENTRIES))
        wrong = np.flatnonzero(asked & (codes != verdicts))
        if wrong.size:
            end = np.datetime_as_string(np.datetime64(int(self.bars.end[wrong[0]]), "ns"), unit="m")
            raise EngineMismatch(
                f"{self.market.instrument.symbol}: at the bar that ended at {end}Z the portfolio answers an "
                "entry that its lane does not propose, or none that it does; believe Backtrader "
                "(--engine backtrader), and report the portfolio and the bars"
            )

    def _reason(self, codes: Stamps) -> TextCodes:
        """Return the decisions in words, names in the order in which they first occur."""
        occurring = np.flatnonzero(np.bincount(codes)).tolist()
        names: dict[str, int] = {}
        number = np.zeros(occurring[-1] + 1, dtype=np.int32)
        for code in occurring:
            number[code] = names.setdefault(self.rules.reason(code), len(names))
        found = number[codes]
        for code in (each for each in occurring if MISSING <= each < FILTERED):
            warm = self._warm_from(code - MISSING)
            cold = names.setdefault(self.rules.reason(code, lambda _: COLD), len(names))
            found[:warm][codes[:warm] == code] = cold
        firsts = {name: int(np.argmax(found == place)) for name, place in names.items()}
        # A name that does not occur is nowhere first: `found` has another one there.
        ordered = sorted((first, name) for name, first in firsts.items() if found[first] == names[name])
        place = np.zeros(len(names), dtype=np.int32)
        place[[names[name] for _, name in ordered]] = np.arange(len(ordered))
        return TextCodes(place[found], tuple(name for _, name in ordered))

    def _warm_from(self, column: int) -> int:
        """Return the first bar at which a value of `column` is not missing because its window is not full."""

        def is_warm(row: int) -> bool:
            return self.source.absence(column, int(self.bars.end[row])) != COLD

        return bisect_left(range(len(self.bars)), True, key=is_warm)

    def _orders(self, book: loop.Books, count: int) -> RecordColumns[OrderRecord]:
        columns = [column[:count] for column in book]
        texts = {
            "symbol": self._symbol(count),
            "intent": TextCodes(columns[loop.INTENT], loop.INTENTS),
            "status": TextCodes(columns[loop.STATUS], loop.STATUSES),
            "reason": _reasons(columns[loop.REASON]),
        }
        return RecordColumns(OrderRecord, _named(OrderRecord, columns) | texts)

    def _trades(self, book: loop.Books, count: int) -> RecordColumns[TradeRecord]:
        columns = [column[:count] for column in book]
        texts = {"symbol": self._symbol(count), "exit_reason": _reasons(columns[loop.LEFT_FOR])}
        return RecordColumns(TradeRecord, _named(TradeRecord, columns) | texts)

    def _symbol(self, count: int) -> TextCodes:
        return TextCodes(np.zeros(count, dtype=np.int8), (self.market.instrument.symbol,))


class Answers:
    """What the model answers, fetched when the loop asks for it.

    known   float64 (n,), NaN where it was not asked yet; (1,) without a model
    """

    def __init__(self, run: CompiledRun) -> None:
        self._run = run
        self._fetched = 0
        self.known = np.full(len(run.bars) if run.rules.veto else 1, math.nan)

    def fetch(self, row: int) -> None:
        """Get the answer at the bar `row`, and where one call answers for many, at those that follow."""
        run, veto = self._run, self._run.rules.veto
        assert veto is not None
        columns = list(run.rules.model_columns)
        if veto.in_batches and row >= self._fetched:
            self._fetched = min(len(run.bars), row + _BARS_AT_A_TIME)
            may_ask = np.zeros(len(run.bars), dtype=np.bool_)
            compiled_loop(family_of(run.rules.config)).find_candidates(
                row, self._fetched, run.clock, run.values, run.rules.rules, run.rules.filters, may_ask
            )
            rows = np.flatnonzero(may_ask)
            self.known[rows] = veto.probabilities(np.ascontiguousarray(run.values[rows][:, columns]))
        if math.isnan(self.known[row]):
            self.known[row] = veto.probability(run.values[row, columns])


_WORDS = (np.int8, np.int16, np.int8)
_ORDERS = (np.int64, np.int64, *_WORDS, np.int64, *4 * (np.float64,))
_TRADES = (
    np.int64, np.float64, np.int64, *4 * (np.float64,), np.int64, np.int64, np.float64, np.int16, np.int64,
)  # fmt: skip
# Reasons by their codes, those of protective orders from the end.
_REASONS = {
    0: "",
    **NAMES,
    **{-place: loop.INTENTS[place] for place in (loop.STOP_LOSS, loop.TAKE_PROFIT)},
}


def _opened(types: tuple[Any, ...]) -> loop.Books:
    """Return empty books."""
    return tuple(np.empty(_LEAST_ROOM, dtype=each) for each in types)


def _with_room(book: loop.Books, count: int) -> loop.Books:
    """Return a book with at least the room that a bar needs, twice as large where it was full."""
    if count + loop.ROOM <= book[0].size:
        return book
    return tuple(np.concatenate((column[:count], np.empty_like(column))) for column in book)


def _reasons(codes: NDArray[Any]) -> TextCodes:
    """Return why orders were sent, from what the loop wrote."""
    order = sorted(_REASONS)
    return TextCodes(np.searchsorted(order, codes).astype(np.int8), tuple(_REASONS[each] for each in order))


def _named(kind: type, columns: list[NDArray[Any]]) -> dict[str, Column]:
    """Return the columns of a book by the fields of a record, in their order; the symbol's is left empty."""
    names = [each.name for each in fields(kind)]
    return dict(zip(names, [TextCodes.of(()), *columns], strict=True))
