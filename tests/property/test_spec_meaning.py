"""A spec is what it means: other words are no other spec, and what trades otherwise is."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.settings import validated
from lockstep.strategy import decision as d
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.rules import RulesConfig, decide
from lockstep.strategy.specs import meaning
from support import spec_identity, spec_oracle, spellings

# `make soak ARGS=spec_identity` compares 10,000 of each.
COUNT = 500
SESSION = load_instruments().session("SPY")
DIP: dict[str, Any] = {"id": "rsi_2", "below": 10}
STRONG: dict[str, Any] = {"id": "ibs", "above": 0.8}


def spec(**content: Any) -> RulesConfig:
    return validated(RulesConfig, {"name": "x", "family": "rules", "max_bars": 5, **content}, where="spec")


def test_other_words_are_the_same_spec() -> None:
    found = spec_identity.rewordings(COUNT, seed=1)
    assert found.faults == []
    assert found.counts.keys() == {
        each.__name__ for each in (*spellings.TREE_WORDS, *spellings.SPEC_WORDS)
    }, "a way of saying it otherwise was never tried"


def test_what_does_something_else_is_another_spec() -> None:
    found = spec_identity.alterations(COUNT, seed=2)
    assert found.faults == []
    assert found.counts.keys() == {each.__name__ for each in spellings.CHANGES}


@pytest.mark.parametrize("seed", range(40))
def test_a_spec_decides_as_its_words_say(seed: int) -> None:
    """What never matters is not in the vector, and nothing else is gone: values that are missing included."""
    rng = random.Random(seed)
    content = spellings.drawn(rng)
    if spec_identity.spec(content) is None:
        return
    for _ in range(4):
        other, _ = spellings.reworded(content, rng)
        content = other if spec_identity.spec(other) is not None else content
    config = spec_identity.spec(content)
    assert config is not None
    values = spec_oracle.vectors([content], rng, missing=True)
    rows = next(iter(values.values())).size
    sample = rng.sample(range(rows), min(rows, 200))
    values = {name: column[sample] for name, column in values.items()}
    matrix = np.stack([values[name] for name in config.feature_ids], axis=1)
    complete = ~np.isnan(matrix).any(axis=1)
    # What is not in the vector does not matter there: any value stands for it.
    filled = {name: np.where(np.isnan(column), 50.0, column) for name, column in values.items()}
    wanted = np.where(complete, spec_oracle.entered(content, filled), 0)
    assert np.array_equal(decided(config, matrix, 0.0), wanted)
    for side, position in (("long", 1.0), ("short", -1.0)):
        assert np.array_equal(decided(config, matrix, position), spec_oracle.left(content, side, values))


def decided(config: StrategyConfig, matrix: Any, side: float) -> Any:
    """Return 1, -1 or 0 for the entries that are taken; with a position 1 where its condition closes it."""
    rules, filters = config.rules(SESSION), config.filter_rules()
    clock, holding = (1.0, 30.0, 0.0), (side, 1.0 if side else 0.0)
    outcome = {d.ENTER_LONG: 1, d.ENTER_SHORT: -1, d.EXIT_SIGNAL: 1}
    codes = [decide(row, d.PASS, clock, holding, rules, filters) for row in matrix]
    return np.array([outcome.get(code, 0) for code in codes])


def same(one: Any, other: Any, **content: Any) -> bool:
    hashes = {spec(long_entry=tree, **content).config_hash for tree in (one, other)}
    return len(hashes) == 1


class TestEntries:
    def test_a_filter_is_a_condition(self) -> None:
        one = spec(long_entry=DIP, filters=[{"feature": "ibs", "max": 0.3}])
        other = spec(long_entry={"all": [{"id": "ibs", "at_most": 0.3}, DIP]})
        assert one.config_hash == other.config_hash
        short = spec(long_entry=DIP, filters=[{"feature": "ibs", "max": 0.3, "side": "short"}])
        assert short.config_hash != other.config_hash

    def test_a_filter_makes_no_id_idle(self) -> None:
        """What a condition reads is needed, whatever a filter beside it says; within it that is seen."""
        either = {"any": [{"id": "ibs", "at_most": 0.3}, DIP]}
        one = spec(long_entry=either, filters=[{"feature": "ibs", "max": 0.2}])
        other = spec(long_entry={"all": [either, {"id": "ibs", "at_most": 0.2}]})
        assert (one.feature_ids, other.feature_ids) == (("ibs", "rsi_2"), ("ibs",))
        assert one.config_hash != other.config_hash

    def test_filters_come_in_any_order(self) -> None:
        filters = [{"feature": "ibs", "max": 0.3}, {"feature": "rsi_14", "min": 20}]
        hashes = {spec(long_entry=DIP, filters=some).config_hash for some in (filters, filters[::-1])}
        assert len(hashes) == 1

    def test_a_veto_is_a_condition(self) -> None:
        one = spec(long_entry=DIP, veto={"id": "ibs", "at_least": 0.3})
        assert one.config_hash == spec(long_entry={"all": [DIP, {"id": "ibs", "at_least": 0.3}]}).config_hash

    def test_both_is_neither(self) -> None:
        """Where both entries are true, neither is taken: one of them may say so itself."""
        other = {"id": "rsi_2", "above": 90}
        overlapping = {"any": [other, {"id": "rsi_2", "below": 5}]}
        one = spec(long_entry=DIP, short_entry=overlapping)
        two = spec(long_entry={"id": "rsi_2", "between": [5, 9.999]}, short_entry=other)
        three = spec(long_entry={"all": [DIP, {"id": "rsi_2", "at_least": 5}]}, short_entry=other)
        assert one.config_hash == three.config_hash
        assert one.config_hash != two.config_hash, "9.9995 is below 10"

    def test_minus_zero_is_zero(self) -> None:
        assert same({"id": "zscore_20", "below": 0.0}, {"id": "zscore_20", "below": -0.0})
        assert same({"id": "zscore_20", "at_least": 0.0}, {"not": {"id": "zscore_20", "below": 0.0}})
        tiny = {"not": {"id": "zscore_20", "at_least": 5e-324}}
        assert same(tiny, {"id": "zscore_20", "at_most": -0.0})

    def test_an_id_that_never_matters_is_read_nowhere(self) -> None:
        always = {"any": [{"id": "rsi_14", "below": "rsi_5"}, {"id": "rsi_14", "at_least": "rsi_5"}]}
        wordy = spec(long_entry={"all": [DIP, always]})
        assert wordy.feature_ids == ("rsi_2",)
        assert wordy.written_ids == ("rsi_14", "rsi_2", "rsi_5")
        assert wordy.family_rules == spec(long_entry=DIP).family_rules
        assert wordy.config_hash == spec(long_entry=DIP).config_hash

    def test_what_is_recorded_beside_counts_once(self) -> None:
        assert same(DIP, DIP, features=["ibs"])
        assert spec(long_entry=DIP, features=["rsi_2"]).config_hash == spec(long_entry=DIP).config_hash
        assert spec(long_entry=DIP, features=["ibs"]).config_hash != spec(long_entry=DIP).config_hash

    def test_a_stop_by_an_id_has_it_in_the_vector(self) -> None:
        stop = {"atr": 2.0, "feature": "atr_5"}
        one, other = spec(long_entry=DIP, stop=stop), spec(long_entry=DIP, stop=stop, features=["atr_5"])
        assert one.config_hash == other.config_hash
        assert one.config_hash != spec(long_entry=DIP, stop={"atr": 2.0, "feature": "atr_14"}).config_hash


class TestExits:
    def left(self, tree: Any) -> str:
        return spec(long_entry=DIP, long_exit=tree).config_hash

    def test_a_value_may_be_missing(self) -> None:
        """`ibs < 0.5 or ibs >= 0.5` leaves where ibs is there; with `rsi_14` for ibs, where that is."""
        there = [
            {"any": [{"id": name, "below": 0.5}, {"id": name, "at_least": 0.5}]} for name in ("ibs", "rsi_14")
        ]
        assert self.left(there[0]) != self.left(there[1])
        assert self.left({"all": [STRONG, there[1]]}) != self.left(STRONG)
        assert self.left({"all": [STRONG, there[0]]}) == self.left(STRONG), "it is there where it is above"

    def test_an_id_that_never_matters_is_not_in_the_vector(self) -> None:
        never = {"all": [{"id": "rsi_14", "below": 20}, {"id": "rsi_14", "above": 30}]}
        assert spec(long_entry=DIP, long_exit={"any": [STRONG, never]}).feature_ids == ("ibs", "rsi_2")

    def test_a_condition_that_matters_for_one_side_stays(self) -> None:
        one = spec(long_entry=DIP, short_entry={"id": "rsi_2", "above": 90}, long_exit=STRONG)
        other = spec(long_entry=DIP, short_entry={"id": "rsi_2", "above": 90}, short_exit=STRONG)
        assert one.config_hash != other.config_hash


ABOVE: dict[str, Any] = {"id": "score", "above": 1}


class TestScores:
    def test_weights_are_summed_in_one_order(self) -> None:
        weights = [
            {"id": "rsi_2", "weight": 0.1},
            {"id": "ibs", "weight": 0.7},
            {"id": "rsi_14", "weight": 0.3},
        ]
        hashes, rules = set(), set()
        for some in (weights, weights[::-1], [*weights, {"id": "atr_14", "weight": 0}]):
            config = spec(long_entry=ABOVE, score=some)
            hashes.add(config.config_hash)
            rules.add(config.family_rules)
            assert config.feature_ids == ("ibs", "rsi_14", "rsi_2")
        assert len(hashes) == len(rules) == 1

    def test_a_score_that_never_matters(self) -> None:
        weights = [{"id": "rsi_14", "weight": 1}]
        either = {"any": [ABOVE, {"id": "score", "at_most": 1}]}
        config = spec(long_entry={"all": [DIP, either]}, score=weights)
        assert config.feature_ids == ("rsi_2",)
        assert config.config_hash == spec(long_entry=DIP).config_hash

    def test_a_sum_of_nothing_is_0(self) -> None:
        nothing = [{"id": "rsi_14", "weight": 0}]
        at_least = {"id": "score", "at_least": 0}
        assert (
            spec(long_entry={"all": [DIP, at_least]}, score=nothing).config_hash
            == spec(long_entry=DIP).config_hash
        )
        with pytest.raises(ConfigError, match="long_entry is never true, whatever the values"):
            spec(long_entry={"all": [DIP, ABOVE]}, score=nothing)

    def test_another_weight_is_another_score(self) -> None:
        one, other = (spec(long_entry=ABOVE, score=[{"id": "rsi_2", "weight": weight}]) for weight in (1, 2))
        assert one.config_hash != other.config_hash


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"long_entry": {"any": [DIP, {"id": "rsi_2", "at_least": 10}]}},
            "long_entry is true whatever the values; correct it, or drop it",
        ),
        (
            {"long_entry": {"all": [DIP, {"id": "rsi_2", "above": 20}]}},
            "long_entry is never true, whatever the values; correct it, or drop it",
        ),
        (
            {"long_entry": DIP, "short_entry": {"id": "rsi_2", "below": 20}},
            "long_entry is true only where the other entry is too, and then neither is taken",
        ),
        (
            {"long_entry": DIP, "long_exit": {"all": [STRONG, {"id": "ibs", "below": 0.5}]}},
            "long_exit is never true, whatever the values; correct it, or drop it",
        ),
    ],
)
def test_a_condition_that_says_nothing_is_refused(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        spec(**content)


def test_a_condition_that_is_too_large_counts_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "MOST_STEPS", 0)
    spec_identity.forget()
    try:
        parts = [DIP, STRONG, {"id": "rsi_14", "above": "rsi_5"}]
        turned = {"all": [*parts[::-1], DIP]}
        assert same({"all": parts}, turned), "order and repetition are seen"
        assert not same({"all": parts}, {"all": [*parts, {"any": [DIP, {"id": "rsi_2", "below": 5}]}]})
        assert not same({"all": parts}, {"any": parts})
    finally:
        spec_identity.forget()


def test_a_hash_is_found_at_once() -> None:
    """`make bench` says how fast: 5 ms are promised for twelve comparisons a side. This sees a blow-up."""
    took = spec_identity.milliseconds(spec_identity.large(60, seed=3))
    assert float(np.median(took)) < 15.0
    assert max(took) < 60.0


# Negative controls.


def field_by_field(config: RulesConfig) -> str:
    """Return the hash of a configuration as other families have it: of what is written."""
    written = json.dumps(config.model_dump(mode="json", exclude={"name"}), sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()


def test_field_by_field_two_spellings_would_be_two() -> None:
    one, other = spec(long_entry={"all": [DIP, STRONG]}), spec(long_entry={"all": [STRONG, DIP]})
    assert field_by_field(one) != field_by_field(other)
    assert one.config_hash == other.config_hash


def never_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exit is looked at as if every value were there."""
    plain = meaning._Diagrams.__init__
    monkeypatch.setattr(
        meaning._Diagrams, "__init__", lambda self, forms, *, complete: plain(self, forms, complete=True)
    )


def below_is_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = meaning.normal_form

    def blurred(form: Any) -> Any:
        if isinstance(form, meaning.Junction):
            return meaning.Junction(form.connective, tuple(map(blurred, form.parts)))
        if isinstance(form, meaning.Ordering):
            return form
        return meaning.Within(form.id, round(form.low, 9), round(form.high, 9))

    monkeypatch.setattr(meaning, "normal_form", lambda tree: blurred(plain(tree)))


def orders_keep_their_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """`a < b` and `b > a` are about two variables."""
    plain = meaning._variable
    monkeypatch.setattr(
        meaning,
        "_variable",
        lambda leaf: (leaf.left, leaf.right) if isinstance(leaf, meaning.Ordering) else plain(leaf),
    )


def places_are_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(self: Any, variable: int, starts: Sequence[float], branches: list[int]) -> int:
        if len(set(branches)) == 1:
            return branches[0]
        found = (variable, tuple(starts), tuple(branches))
        number: int = self._numbers.setdefault(found, len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append(found)
        return number

    monkeypatch.setattr(meaning._Diagrams, "_node", node)


def both_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning._Diagrams, "unless", lambda self, one, other: one)


def the_least_value_of_a_place_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = meaning._Diagrams.text

    def text(self: Any, roots: Sequence[int]) -> str:
        nodes = [(variable, (0.0,) * len(starts), branches) for variable, starts, branches in self._nodes]
        self._nodes = nodes
        return plain(self, roots)

    monkeypatch.setattr(meaning._Diagrams, "text", text)


@pytest.mark.parametrize(
    ("fault", "compared"),
    [
        (never_missing, spec_identity.alterations),
        (below_is_at_most, spec_identity.alterations),
        (the_least_value_of_a_place_is_lost, spec_identity.alterations),
        (both_is_long, spec_identity.rewordings),
        (orders_keep_their_sides, spec_identity.rewordings),
        (places_are_not_merged, spec_identity.rewordings),
    ],
)
def test_a_fault_in_the_diagrams_is_found(
    fault: Callable[[pytest.MonkeyPatch], None],
    compared: Callable[..., spec_identity.Found],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    spec_identity.forget()
    try:
        assert len(compared(COUNT, seed=2, until_fault=True).faults) == 1
    finally:
        spec_identity.forget()
