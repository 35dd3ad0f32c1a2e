"""What the sweep of specs knows of all bars, beside what the programs say of each."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.strategy.config import ACCEPT_ALL
from lockstep.strategy.families.rules import RULES, RulesConfig, first_missing
from lockstep.strategy.specs.program import AT_MOST, LESS, holds
from research.experiments.variants import VariantSpace, draw
from research.sweep.packing import Ragged, Specs
from research.sweep.signals import (
    BLOCK,
    CANDIDATE,
    LONG_ENTRY,
    PROGRAMS,
    SHORT_ENTRY,
    SIGNALS,
    WAITING,
    WORD,
    evaluate_programs,
    is_set,
    lowest_place,
    present_of,
    words_of,
)
from support.markets import BOOK

# Two blocks and a part of a word more.
BARS = 2 * BLOCK * WORD + 70
ROWS = {"ibs": 0, "rsi_2": 1, "rsi_5": 2, "atr_14": 3}
SPECS = [
    RulesConfig.model_validate({"name": "drawn", "max_bars": 3, **content})
    for content in (
        {"long_entry": {"id": "rsi_2", "below": "rsi_5"}, "long_exit": {"id": "ibs", "at_least": 0.75}},
        {
            "long_entry": {"any": [{"id": "ibs", "between": [0.25, 0.5]}, {"id": "rsi_2", "above": 75}]},
            "short_entry": {"all": [{"id": "ibs", "at_most": 0.25}, {"not": {"id": "rsi_5", "equals": 50}}]},
            "short_exit": {"id": "rsi_2", "at_most": "rsi_5"},
        },
        {
            "score": [{"id": "ibs", "weight": 2}, {"id": "rsi_2", "weight": -0.02}],
            "long_entry": {"id": "score", "above": 0.5},
            "long_exit": {"any": [{"id": "score", "below": 0.0}, {"id": "rsi_5", "above": 50}]},
            "features": ["atr_14"],
        },
    )
]


def columns() -> np.ndarray:
    """Return few different values, so that many are equal, with holes; NaN behind the bars."""
    random = np.random.default_rng(4)
    found = np.full((len(ROWS), words_of(BARS) * WORD), np.nan)
    found[:, :BARS] = random.integers(0, 5, (len(ROWS), BARS)) / 4.0
    found[1:3] *= 100.0
    found[:, :BARS][random.random((len(ROWS), BARS)) < 0.05] = np.nan
    return found


def signals(specs: Specs, values: np.ndarray) -> np.ndarray:
    found = np.empty((len(specs), SIGNALS, words_of(BARS)), dtype=np.uint64)
    room = np.empty((WAITING, BLOCK), np.uint64), np.zeros(BLOCK * WORD)
    evaluate_programs(*specs.rules, specs.bounds, *specs.columns, values, present_of(values), *room, found)
    return found


def packed() -> Specs:
    return Specs.of(SPECS, BOOK.market("ES"), ROWS, ACCEPT_ALL)


def test_every_signal_is_that_of_the_program_at_the_bar() -> None:
    values, specs = columns(), packed()
    found = signals(specs, values)
    assert RULES.signals is not None
    for v, config in enumerate(SPECS):
        rules = config.rules(BOOK.market("ES").session)
        bounds = RULES.signals.programs(rules)
        own = np.ascontiguousarray(values[[ROWS[each] for each in config.feature_ids], :BARS].T)
        said = np.array([[is_set(signal, i) for i in range(BARS)] for signal in found[v]])
        for number in range(PROGRAMS):
            expected = [holds(row, rules, bounds[number], bounds[number + 1]) for row in own]
            assert said[number].tolist() == expected
        complete = np.array([first_missing(row, row.size) == row.size for row in own])
        either = said[LONG_ENTRY] | said[SHORT_ENTRY]
        assert said[CANDIDATE].tolist() == (either & complete).tolist()
        assert said[CANDIDATE].any()
        assert (either & ~complete).any() or config is SPECS[1]
    assert not (found[:, CANDIDATE, -1] >> np.uint64(BARS % WORD)).any()


def test_another_comparison_is_another_signal() -> None:
    """Negative control: of values that are often equal, `below` and `at_most` say different things."""
    values, specs = columns(), packed()
    other = specs.rules.content.copy()
    place = specs.bounds[0, LONG_ENTRY]
    assert other[place] == LESS
    other[place] = AT_MOST
    changed = replace(specs, rules=Ragged(other, specs.rules.at))
    before, after = signals(specs, values), signals(changed, values)
    assert (before[0, LONG_ENTRY] != after[0, LONG_ENTRY]).any()
    np.testing.assert_array_equal(before[1:], after[1:])


@settings(deadline=None)
@given(st.integers(1, 2**64 - 1))
def test_the_lowest_bit(bits: int) -> None:
    assert lowest_place(np.uint64(bits)) == (bits & -bits).bit_length() - 1


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
def test_ragged_arrays_are_cut_as_lists_are(parts: list[list[int]], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(parts) - 1))
    last = data.draw(st.integers(first + 1, len(parts)))
    found = Ragged.of(parts, np.int64).part(first, last)
    cut = [found.content[a:b].tolist() for a, b in zip(found.at, found.at[1:], strict=False)]
    assert cut == parts[first:last]


VARIED = VariantSpace(
    base=RulesConfig.model_validate(
        {
            "name": "varied", "max_bars": 3, "long_entry": {"id": "rsi_2", "below": 20},
            "long_exit": {"id": "ibs", "above": 0.6},
            "filters": [{"feature": "rsi_5", "min": 10}, {"feature": "ibs", "max": 0.9, "side": "long"}],
        }
    ),
    values={
        "long_entry.id": ("rsi_2", "rsi_5"),
        "max_bars": (2, 3),
        "veto": (None, {"id": "ibs", "at_least": 0.1}, {"id": "rsi_5", "at_least": 5.0}),
        "stop": (None, {"percent": 2.0}, {"atr": 2.0}),
        "size": ({"kind": "fixed"}, {"kind": "risk", "risk": 0.01}),
        "features": ((), ("atr_14",)),
        "filters.0.feature": ("rsi_5", "rsi_2"),
        "filters.0.min": (10, 20),
    },
)  # fmt: skip


def test_specs_that_are_packed_together_are_as_each_alone() -> None:
    """Parts are made once for all that are equal in what they depend on: an id's column is part of that."""
    numbers = np.random.default_rng(3).permutation(VARIED.size)[:150]
    configs = draw(VARIED, numbers).configs
    together = Specs.of(configs, BOOK.market("ES"), ROWS, ACCEPT_ALL)
    assert len({config.feature_ids for config in configs}) == 8
    assert len({*map(bytes, together.sizing)}) > 2
    for row, config in enumerate(configs):
        alone, mine = Specs.of([config], BOOK.market("ES"), ROWS, ACCEPT_ALL), together.part(row, row + 1)
        for each in fields(Specs):
            kept, found = getattr(alone, each.name), getattr(mine, each.name)
            for one, other in zip(kept, found, strict=True):
                assert np.array_equal(one, other, equal_nan=True), (row, each.name)
        assert mine.rules.content.tolist() == config.rules(BOOK.session("ES")).tolist()
        assert mine.filters.content.tolist() == config.filter_rules().tolist()
        assert [*map(float, mine.columns.content)] == [ROWS[name] for name in config.feature_ids]
