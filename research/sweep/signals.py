"""Conditions over all bars at once: the instructions of `specs/program.py`, block by block, a bit a bar.

`holds` evaluates a program for one vector; here each instruction runs over a block of bars before the next
one does, so that the processor compares several values at a time. Both ask `satisfies`, and add up a score in
the same order: every bit is equal. A value that is missing fails every comparison, here as there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import uncounted
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

# Signals of a spec: what its programs say, and where one of the entries is true of a complete vector.
LONG_EXIT, SHORT_EXIT, LONG_ENTRY, SHORT_ENTRY, CANDIDATE = range(5)
PROGRAMS, SIGNALS = 4, 5


def words_of(bars: int) -> int:
    """Return how many words have a bit for each of so many bars.

    >>> words_of(64), words_of(65)
    (1, 2)
    """
    return -(-bars // WORD)


@uncounted
def compare(op: int, values: Floats, others: Floats, low: float, high: float, answers: Words) -> None:
    """Write what a comparison says of each value, of 64 into a word, of the first into its lowest bit."""
    for word in range(answers.size):
        bits = np.uint64(0)
        for place in range(WORD):
            i = word * WORD + place
            bits |= np.uint64(satisfies(op, values[i], others[i], low, high)) << np.uint64(place)
        answers[word] = bits


@uncounted
def evaluate_block(
    rules: Floats,
    start: int,
    until: int,
    columns: Places,
    features: Floats,
    first: int,
    stop: int,
    waiting: Words,
    score: Floats,
    answers: Words,
) -> None:
    """Write what the program in rules[start:until] says of the bars of the words first <= word < stop.

    columns    int64 (k,): the rows of `features` that the columns of the program are
    features   float64 (f, bars), bars a multiple of 64
    waiting    uint64 (64, 16), score: float64 (1024,), zeroed: room to work in; the score is left zeroed
    answers    uint64 (words,)
    """
    count, top, begin, end = stop - first, 0, first * WORD, stop * WORD
    waiting[0, :count] = 0
    for at in range(start, until, INSTRUCTION):
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
            values = features[columns[int(rules[at + 1])], begin:end]
            for i in range(values.size):
                score[i] += rules[at + 2] * values[i]
        elif op == SCORE:
            compare(WITHIN, score, score, rules[at + 2], rules[at + 3], waiting[top, :count])
            score[:] = 0.0
            top += 1
        elif op == WITHIN:
            values = features[columns[int(rules[at + 1])], begin:end]
            compare(WITHIN, values, values, rules[at + 2], rules[at + 3], waiting[top, :count])
            top += 1
        else:
            values = features[columns[int(rules[at + 1])], begin:end]
            others = features[columns[int(rules[at + 2])], begin:end]
            if op == LESS:
                compare(LESS, values, others, 0.0, 0.0, waiting[top, :count])
            else:
                compare(AT_MOST, values, others, 0.0, 0.0, waiting[top, :count])
            top += 1
    for word in range(count):
        answers[first + word] = waiting[0, word]


@uncounted
def evaluate_programs(
    rules: Floats,
    rules_at: Places,
    bounds: Places,
    columns: Places,
    columns_at: Places,
    features: Floats,
    present: Words,
    waiting: Words,
    score: Floats,
    signals: Words,
) -> None:
    """Write the signals of V specs at every bar.

    rules      float64: the rules of one spec behind those of the other, the first of spec v at rules_at[v]
    bounds     int64 (V, 5): where the programs begin in the rules of each, and where the last one ends
    columns    int64: the rows of `features`, float64 (f, bars), that its columns are, from columns_at[v] on
    present    uint64 (f, bars / 64): where these are numbers
    waiting, score   see `evaluate_block`
    signals    uint64 (V, 5, bars / 64)
    """
    words = signals.shape[2]
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
            for word in range(first, stop):
                signals[v, CANDIDATE, word] = signals[v, LONG_ENTRY, word] | signals[v, SHORT_ENTRY, word]
            for place in range(places.size):
                for word in range(first, stop):
                    signals[v, CANDIDATE, word] &= present[places[place], word]


def present_of(features: Floats) -> Words:
    """Return where features, float64 (f, bars), bars a multiple of 64, are numbers; uint64 (f, bars / 64).

    >>> present_of(np.array([[np.nan, 1.0, 2.0] + [np.nan] * 61]))
    array([[6]], dtype=uint64)
    """
    bits = np.packbits(~np.isnan(features), axis=1, bitorder="little")
    return bits.view("<u8").astype(np.uint64, copy=False)


@uncounted
def is_set(signal: Words, i: int) -> bool:
    """Return what a signal says at bar `i`."""
    said: bool = ((signal[i >> 6] >> np.uint64(i & 63)) & np.uint64(1)) != 0
    return said


# A de Bruijn sequence: its 64 shifts begin with different six bits, which say how far it was shifted.
_SEQUENCE = 0x03F79D71B4CB0A89
_SHIFTS = np.argsort([((_SEQUENCE << place) & (2**64 - 1)) >> 58 for place in range(64)])
_FACTOR = np.uint64(_SEQUENCE)


@uncounted
def lowest_place(bits: int) -> int:
    """Return the place of the lowest bit that is set, of the 64 in a word.

    Source: Leiserson, Prokop and Randall, Using de Bruijn sequences to index a 1 in a computer word (1998).
    """
    lowest = bits & (~bits + np.uint64(1))
    place: int = _SHIFTS[(lowest * _FACTOR) >> np.uint64(58)]
    return place


def next_entry(
    enter: Callable[..., int],
    always_open: bool,
    signals: Words,
    rules: Floats,
    filters: Floats,
    columns: Places,
    read: Places,
    features: Floats,
    probability: Floats,
    clock: Floats,
    vector: Floats,
    i: int,
    n: int,
) -> int:
    """Return the first entry from bar `i` on that is taken while flat: its bar, plus n if short; or 2 n.

    enter     of the family, see `lockstep.strategy.family.Signals`; it is asked at the candidates
    signals   uint64 (5, words): of the spec
    read      int64: which of the vector's columns `enter` reads
    vector    float64 (k,): room for the vector of a bar, numbers in it
    """
    while i < n:
        bits = signals[CANDIDATE, i >> 6] >> np.uint64(i & 63)
        if bits == 0:
            i = (i | 63) + 1
            continue
        i += lowest_place(bits)
        for number in range(read.size):
            vector[read[number]] = features[columns[read[number]], i]
        time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
        chance = probability[i] if probability.size > 1 else PASS
        long, short = is_set(signals[LONG_ENTRY], i), is_set(signals[SHORT_ENTRY], i)
        code = enter(long, short, vector, chance, time, rules, filters)
        if code == ENTER_LONG:
            return i
        if code == ENTER_SHORT:
            return i + n
        i += 1
    return 2 * n
