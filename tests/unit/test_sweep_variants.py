"""Variants as arrays: what a loop gets for a variant is what its configuration says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.market.config import load_instruments
from lockstep.strategy.families.ibs import IBS, IbsConfig
from research.sweep.kernels import LONG, SHORT, link_entries, number_entries
from research.sweep.loops import desk, pieces
from research.sweep.variants import (
    Parts,
    Slots,
    Variants,
    combinations,
    entry_parts,
    exit_parts,
    group_variants,
)

MARKET = load_instruments().market("ES")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "direction": st.sampled_from(["long", "short"]),
    "entry": st.sampled_from([(0.0, 0.1), (0.0, 0.2)]),
    "short_entry": st.sampled_from([(0.7, 1.0), (0.8, 1.0)]),
    "exit": st.sampled_from([(0.5, 1.0), (0.7, 1.0)]),
    "short_exit": st.sampled_from([(0.0, 0.2), (0.0, 0.4)]),
    "max_bars": st.sampled_from([None, 2, 5]),
    "stop": st.sampled_from([None, {"percent": 1.0}, {"percent": 2.0}, {"atr": 2.0, "feature": "atr_14"}]),
    "target": st.sampled_from([None, {"percent": 3.0}, {"atr": 1.0, "feature": "atr_5"}]),
    "filters": st.sampled_from([[], [{"feature": "rsi_2", "max": 3.0}], [{"feature": "rsi_2", "min": 5.0}]]),
    "window": st.sampled_from([None, {"start": "10:00", "end": "12:00"}]),
    "auto_close": st.sampled_from([None, "15:00"]),
    "size": st.sampled_from(
        [{"kind": "fixed", "contracts": 1}, {"kind": "fixed", "contracts": 3},
         {"kind": "risk", "risk": 0.01, "feature": "atr_14"},
         {"kind": "risk", "risk": 0.01, "feature": "atr_14", "by_regime": {"bear": 0.5}},
         {"kind": "fixed", "contracts": 3, "by_regime": {"bull": 0.5}}]
    ),
    "capital": st.sampled_from([100_000.0, 200_000.0]),
    "execution": st.sampled_from(["next_open", "close"]),
    "features": st.sampled_from([(), ("atr_14",)]),
    "signal": st.sampled_from(["ibs", "rsi_2"]),
    "max_age": st.sampled_from([{}, {"bars": 1}]),
}  # fmt: skip
configs = st.lists(
    st.fixed_dictionaries({}, optional=FIELDS).map(
        lambda values: IbsConfig.model_validate({"name": "x", "timeframe": "1h", **values})
    ),
    min_size=1,
    max_size=12,
)


def filled(slots: Slots, parameters: Any) -> list[float]:
    """Return the numbers that a loop reads: a slot's literal, or the parameter at its place."""
    literals = {"NAN": math.nan, "INF": math.inf, "-INF": -math.inf}
    flat = [slot for part in slots for slot in part]
    return [number if slot is None else literals[slot] for slot, number in zip(flat, parameters, strict=True)]


def flat(parts: Parts) -> list[float]:
    return [number for part in parts for number in part]


@settings(max_examples=80, deadline=None)
@given(drawn=configs)
def test_a_loop_reads_what_each_configuration_says(drawn: list[IbsConfig]) -> None:
    seen: list[int] = []
    for group in group_variants(drawn, MARKET, always_open=False, threshold=0.5):
        for row, position in enumerate(group.positions.tolist()):
            config = drawn[position]
            seen.append(position)
            entry = filled(group.shape.entry, group.entry_parameters[group.entry_of[row]])
            exits = filled(group.shape.exit, group.exit_parameters[group.exit_of[row]])
            np.testing.assert_array_equal(entry, flat(entry_parts(config, MARKET, 0.5)))
            np.testing.assert_array_equal(exits, flat(exit_parts(config, MARKET)))
            assert group.config.feature_ids == config.feature_ids
            assert group.config.auto_close == config.auto_close
            assert group.config.capital == config.capital
            assert group.config.max_age == config.max_age
            assert group.shape.at_close == (config.execution == "close")
        assert (np.diff(group.exit_of) >= 0).all()
    assert sorted(seen) == list(range(len(drawn)))


def test_every_field_is_read_by_some_stage() -> None:
    read = {*IBS.layout_fields, *IBS.entry_fields, *IBS.exit_fields, "name", "family", "timeframe"}
    assert read == set(IbsConfig.model_fields)


def test_the_stages_see_every_rule_once() -> None:
    config = IbsConfig(name="x", max_bars=4, direction="both")
    entry, exits = entry_parts(config, MARKET, 0.5)[0], exit_parts(config, MARKET)[0]
    both = config.rules(MARKET.session, 0.5)
    for slot, value in enumerate(both):
        assert [entry[slot], exits[slot]].count(value) == 1
        assert math.isnan(entry[slot]) != math.isnan(exits[slot])


@settings(max_examples=40, deadline=None)
@example(drawn=[IbsConfig(name="x")] * 4, chunk=5, workers=3)
@given(drawn=configs, chunk=st.integers(1, 5), workers=st.integers(1, 3))
def test_pieces_hold_every_variant_once(drawn: list[IbsConfig], chunk: int, workers: int) -> None:
    for group in group_variants(drawn, MARKET, always_open=False):
        found = pieces(group, chunk, bars=100, sessions=100, workers=workers)
        assert np.concatenate([each.positions for each in found]).tolist() == group.positions.tolist()
        assert all(each.positions.size <= chunk for each in found)
        assert len(found) >= min(workers, group.positions.size)
        exits = np.concatenate([each.exit_parameters[each.exit_of] for each in found])
        np.testing.assert_array_equal(exits, group.exit_parameters[group.exit_of])
        entries = np.concatenate([each.rules[each.entry_of] for each in found])
        np.testing.assert_array_equal(entries, group.entry_of)


class TestVariants:
    CONFIGS = tuple(
        IbsConfig(name="x", max_bars=number, entry=(0.0, 0.1 * number)) for number in (1, 2, 1, 3)
    )

    def test_a_sequence_of_equal_configurations(self) -> None:
        variants = Variants.of(self.CONFIGS)
        assert tuple(variants) == self.CONFIGS
        assert list(variants[1:3]) == list(self.CONFIGS[1:3])
        assert Variants.of(variants) is variants
        assert [each.config_hash for each in variants] == [each.config_hash for each in self.CONFIGS]
        with pytest.raises(IndexError):
            variants[4]

    def test_their_groups_are_found_once_for_a_market_and_a_clock(self) -> None:
        variants = Variants.of([IbsConfig(name="x", timeframe="1h", max_bars=bars) for bars in (None, 2, 5)])
        found = group_variants(variants, MARKET, always_open=False)
        assert group_variants(variants, MARKET, always_open=False) is found
        always = group_variants(variants, MARKET, always_open=True)
        assert always[0].shape.always_open != found[0].shape.always_open
        micro = load_instruments().market("MES")
        other = group_variants(variants, micro, always_open=False)
        assert other is not found
        alike = Variants.of([*variants])
        assert group_variants(alike, MARKET, always_open=False) is not found
        vetoed = group_variants(variants, MARKET, always_open=False, threshold=0.5)
        assert not np.array_equal(vetoed[0].entry_parameters, found[0].entry_parameters)

    def test_combinations(self) -> None:
        numbers, rows = Variants.of(self.CONFIGS).different(("max_bars", "exit"))
        assert numbers.tolist() == [0, 1, 0, 2]
        assert [self.CONFIGS[row].max_bars for row in rows] == [1, 2, 3]

    def test_more_combinations_than_fit_into_a_number(self) -> None:
        random = np.random.default_rng(0)
        columns = [(random.integers(0, 2**20, 500), 2**20) for _ in range(8)]
        table = np.column_stack([column for column, _ in columns])
        table[250:] = table[:250]
        numbers, rows = combinations([(column, 2**20) for column in table.T], 500)
        assert rows.size == 250
        assert (table[rows][numbers] == table).all()


def test_a_desk_is_aligned_and_used_again() -> None:
    with desk(entries=14, sessions=3, variants=2, rows=1) as first:
        assert first.outcomes.shape == first.booked.shape == first.links.shape == (14, 8)
        assert first.changes.shape == (1, 3)
        assert first.progress.shape == (2, 3)
        assert first.outcomes.ctypes.data % 64 == first.booked.ctypes.data % 64 == 0
        first.outcomes[:], first.booked[:] = 1.0, 2.0
        first.links[:], first.changes[:], first.progress[:] = 3, 4.0, 5.0
        assert (first.outcomes == 1.0).all()
        assert (first.links == 3).all()
        address = first.outcomes.ctypes.data
        with desk(entries=14, sessions=3, variants=2, rows=1) as other:
            assert not np.shares_memory(first.outcomes, other.outcomes)
    with desk(entries=10, sessions=3, variants=1, rows=1) as again:
        assert again.outcomes.ctypes.data == address


sides = st.sampled_from([0, LONG, SHORT])


@settings(max_examples=60, deadline=None)
@example(drawn=[[0, 0, 0]])
@given(
    drawn=st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(sides, min_size=n, max_size=n), min_size=1, max_size=4)
    )
)
def test_entries_are_numbered_by_their_bars_and_linked(drawn: list[list[int]]) -> None:
    table = np.array(drawn, dtype=np.uint8)
    n = table.shape[1]
    bars, first = np.empty(2 * n, dtype=np.int32), np.empty(n + 1, dtype=np.int32)
    count = number_entries(table, np.zeros(n, dtype=np.uint8), bars, first)
    found = [(bar % n, SHORT if bar >= n else LONG) for bar in bars[:count].tolist()]
    assert found == sorted({(bar, side) for row in drawn for bar, side in enumerate(row) if side})
    assert first.tolist() == [sum(bar < i for bar, _ in found) for i in range(n + 1)]
    following = np.empty((len(table), count + 1), dtype=np.int32)
    link_entries(table, bars[:count], following)
    for row, links in zip(table, following.tolist(), strict=True):
        taken = [number for number, (bar, side) in enumerate(found) if row[bar] == side]
        expected = [next((each for each in taken if each >= i), count) for i in range(count + 1)]
        assert links == expected
