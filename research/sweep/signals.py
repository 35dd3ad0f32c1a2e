"""Conditions over all bars at once: the instructions of `specs/program.py`, block by block, a bit a bar.

`holds` evaluates a program for one vector; here each instruction runs over a block of bars before the next
one does, so that the processor compares several values at a time. Both ask `satisfies`, and add up a score in
the same order: every bit is equal. A value that is missing fails every comparison, here as there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import Floats
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT, PASS
from lockstep.strategy.specs.program import (
    ADD,
    AND,
    AT_MOST,
    INSTRUCTION,
    LESS,
    OR,
    SCORE,
    WITHIN,
    satisfies,
)
from research.sweep.kernels import clock_at

Words = NDArray[np.uint64]
Places = NDArray[np.int64]

# Bars in a word, words in a block.
WORD = 64
BLOCK = 16
# Most answers that may wait for AND or OR: `holds` keeps them in the bits of one number.
WAITING = 64

LONG_EXIT, SHORT_EXIT, LONG_ENTRY, SHORT_ENTRY = range(4)
PROGRAMS = 4


def words_of(bars: int) -> int:
    """Return how many words have a bit for each of so many bars.

    >>> words_of(64), words_of(65)
    (1, 2)
    """
    return -(-bars // WORD)


@kernel
def compare(op: int, values: Floats, others: Floats, low: float, high: float, answers: Words) -> None:
    """Write what a comparison says of each value, of 64 into a word, of the first into its lowest bit."""
    for word in range(answers.size):
        bits = np.uint64(0)
        for place in range(WORD):
            i = word * WORD + place
            bits |= np.uint64(satisfies(op, values[i], others[i], low, high)) << np.uint64(place)
        answers[word] = bits


@kernel
def column_of(features: Floats, columns: Places, number: float, first: int, stop: int) -> Floats:
    """Return the values over a block of what a program calls column `number`."""
    column: Floats = features[columns[int(number)]][first * WORD : stop * WORD]
    return column


@kernel
def evaluate_block(
    rules: Floats,
    start: int,
    end: int,
    columns: Places,
    features: Floats,
    first: int,
    stop: int,
    waiting: Words,
    score: Floats,
    answers: Words,
) -> None:
    """Write what the program in rules[start:end] says of the bars of the words first <= word < stop.

    columns    int64 (k,): the rows of `features` that the columns of the program are
    features   float64 (f, bars), bars a multiple of 64
    waiting    uint64 (64, 16), score: float64 (1024,), zeroed: room to work in; the score is left zeroed
    answers    uint64 (words,)
    """
    count, top = stop - first, 0
    waiting[0, :count] = 0
    for at in range(start, end, INSTRUCTION):
        op = int(rules[at])
        if op == AND:
            top -= 1
            for word in range(count):
                waiting[top - 1, word] &= waiting[top, word]
        elif op == OR:
            top -= 1
            for word in range(count):
                waiting[top - 1, word] |= waiting[top, word]
        elif op == ADD:
            values = column_of(features, columns, rules[at + 1], first, stop)
            for i in range(values.size):
                score[i] += rules[at + 2] * values[i]
        elif op == SCORE:
            compare(WITHIN, score, score, rules[at + 2], rules[at + 3], waiting[top, :count])
            score[:] = 0.0
            top += 1
        elif op == WITHIN:
            values = column_of(features, columns, rules[at + 1], first, stop)
            compare(WITHIN, values, values, rules[at + 2], rules[at + 3], waiting[top, :count])
            top += 1
        else:
            values = column_of(features, columns, rules[at + 1], first, stop)
            others = column_of(features, columns, rules[at + 2], first, stop)
            if op == LESS:
                compare(LESS, values, others, 0.0, 0.0, waiting[top, :count])
            else:
                compare(AT_MOST, values, others, 0.0, 0.0, waiting[top, :count])
            top += 1
    for word in range(count):
        answers[first + word] = waiting[0, word]


@kernel
def signals_of(
    rules: Floats,
    rules_at: Places,
    bounds: Places,
    columns: Places,
    columns_at: Places,
    features: Floats,
    signals: Words,
) -> None:
    """Write what the four programs of each of V specs say at every bar.

    rules      float64: the rules of one spec behind those of the other, the first of spec v at rules_at[v]
    bounds     int64 (V, 5): where the programs begin in the rules of each, and where the last one ends
    columns    int64: the rows of `features`, float64 (f, bars), that its columns are, from columns_at[v] on
    signals    uint64 (V, 4, bars / 64)
    """
    words = signals.shape[2]
    waiting, score = np.empty((WAITING, BLOCK), np.uint64), np.zeros(BLOCK * WORD)
    for first in range(0, words, BLOCK):
        stop = min(first + BLOCK, words)
        for v in range(signals.shape[0]):
            own = rules[rules_at[v] : rules_at[v + 1]]
            places = columns[columns_at[v] : columns_at[v + 1]]
            for number in range(PROGRAMS):
                evaluate_block(
                    own, bounds[v, number], bounds[v, number + 1], places, features, first, stop, waiting,
                    score, signals[v, number],
                )  # fmt: skip


@kernel
def is_set(signal: Words, i: int) -> bool:
    """Return what a signal says at bar `i`."""
    return bool((signal[i >> 6] >> np.uint64(i & 63)) & np.uint64(1))


def next_entry(
    enter: Callable[..., int],
    always_open: bool,
    long: Words,
    short: Words,
    rules: Floats,
    filters: Floats,
    columns: Places,
    features: Floats,
    probability: Floats,
    clock: Floats,
    vector: Floats,
    i: int,
    n: int,
) -> int:
    """Return the first entry from bar `i` on that is taken while flat: its bar, plus n if short; or 2 n.

    enter         of the family, see `lockstep.strategy.family.Signals`; it is asked where a signal is true
    long, short   signals of the entries
    vector        float64 (k,): room for the vector of a bar
    """
    while i < n:
        bits = (long[i >> 6] | short[i >> 6]) >> np.uint64(i & 63)
        if bits == 0:
            i = (i | 63) + 1
            continue
        while bits & np.uint64(1) == 0:
            bits >>= np.uint64(1)
            i += 1
        for column in range(vector.size):
            vector[column] = features[columns[column], i]
        time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
        chance = probability[i] if probability.size > 1 else PASS
        code = enter(is_set(long, i), is_set(short, i), vector, chance, time, rules, filters)
        if code == ENTER_LONG:
            return i
        if code == ENTER_SHORT:
            return i + n
        i += 1
    return 2 * n
