"""Searches of specs: two spellings of one spec are one trial, whatever search they are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from lockstep.strategy.families.rules import RulesConfig
from research.experiments import declaration
from research.experiments.comparison import compare
from research.experiments.declaration import space_of, space_of_one
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.ledger.append_only import LedgerRow
from research.ledger.database import Database
from research.training.config import StrategyRelease
from support.experiments import SPLIT, noon, plan

DIP = {"id": "ibs", "below": 0.2}
CALM = {"id": "rsi_2", "at_most": 60}
BASE = RulesConfig.model_validate(
    {"name": "dip", "long_entry": {"all": [DIP, CALM]}, "long_exit": {"id": "ibs", "above": 0.7}}
)
WORDS: tuple[Any, ...] = (
    {"all": [DIP, CALM]},
    {"not": {"any": [{"id": "rsi_2", "above": 60}, {"not": DIP}]}},
    {"all": [CALM, DIP, {"any": [DIP, CALM]}]},
)
OTHER = {"all": [{"id": "ibs", "below": 0.25}, CALM]}


def specs(*entries: Any, **changes: Any) -> Plan:
    content = {"strategy": BASE, "symbols": ("SPX",), "parameters": {"long_entry": entries}, **changes}
    return plan(**content)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(database=Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"), now=noon)


def counted(lab: Lab) -> int:
    return lab.ledger.count(lab.family("SPX"), SPLIT.train.start, SPLIT.validation.end)


def rows(lab: Lab) -> int:
    with lab.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(LedgerRow)) or 0


def test_two_spellings_are_one_trial_in_one_search_and_in_two(lab: Lab) -> None:
    first = lab.run(specs(*WORDS[:2], OTHER))
    runs = lab.store.runs(first.id)
    assert len(runs) == 3
    assert runs["config_hash"].nunique() == runs["evaluation"].nunique() == 2
    assert runs["evaluation"][0] == runs["evaluation"][1]
    assert (rows(lab), counted(lab)) == (2, 2)
    assert lab.ledger.searched(first.id, "SPX").unevaluated == 0, "what is declared twice is declared once"

    second = lab.run(specs(WORDS[2], OTHER))
    assert lab.store.runs(second.id)["evaluation"].tolist() == runs["evaluation"].tolist()[1:]
    assert (rows(lab), counted(lab)) == (2, 2)
    assert lab.ledger.searched(second.id, "SPX").kind == "declared", "it lies within the first"

    third = lab.run(specs(WORDS[0], {"all": [{"id": "ibs", "below": 0.3}, CALM]}))
    assert counted(lab) == 3
    assert lab.ledger.searched(third.id, "SPX").kind == "adaptive"


def test_by_fields_two_spellings_would_be_two(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the hash of other families counts how a spec is written."""
    monkeypatch.setattr(RulesConfig, "meant_fields", classmethod(lambda cls: frozenset()))
    monkeypatch.setattr(RulesConfig, "meant_together", classmethod(lambda cls: ()))
    lab.run(specs(*WORDS[:2], OTHER))
    assert counted(lab) == 3


class TestDeclared:
    def test_in_other_words(self) -> None:
        wide = space_of(specs(*WORDS[:2], OTHER), "SPX")
        assert (wide.size, len(wide.fields["meaning"])) == (2, 2)
        assert wide.contains(space_of(specs(WORDS[2]), "SPX"))
        assert wide.contains(space_of(specs(OTHER, sample=1), "SPX"))
        assert not wide.contains(space_of(specs({"id": "ibs", "below": 0.2}), "SPX"))
        assert type(wide).read(wide.content) == wide

    def test_of_one(self) -> None:
        other = BASE.replaced(long_entry=WORDS[1], name="other")
        dates = SPLIT.searched
        one, two = (space_of_one(each, "SPX", dates, proposer="compare") for each in (BASE, other))
        assert one.contains(two)
        assert two.contains(one)

    def test_a_combination_that_is_not_valid_is_declared_too(self) -> None:
        never = {"all": [DIP, {"id": "ibs", "above": 0.5}]}
        assert space_of(specs(WORDS[0], never), "SPX").size == 2

    def test_very_many_are_declared_by_their_fields(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(declaration, "_MOST_LISTED", 1)
        space = space_of(specs(*WORDS[:2], OTHER), "SPX")
        assert space.size == 3
        assert len(space.fields["long_entry"]) == 3

    def test_an_evolution_declares_all_that_it_may_come_to(self) -> None:
        space = space_of(specs(*WORDS[:2], OTHER, generations=1, children=1), "SPX")
        assert (space.size, space.learns) == (2, True)


def test_a_comparison_counts_both_spellings_once(lab: Lab, tmp_path: Path) -> None:
    files = []
    for number, words in enumerate(WORDS[:2]):
        config = BASE.replaced(long_entry=words, name=f"spelling_{number}")
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(config.to_yaml(), encoding="utf-8")
    found = compare(
        lab, (files[0], files[1]), "SPX", start="2010-01-04", end="2012-12-31", data_dir=None, source=None
    )
    assert rows(lab) == 1
    one, other = (each.equity["equity"] for each in (found.first, found.second))
    assert one.equals(other)


def test_a_release_in_other_words_is_the_same_release() -> None:
    one, other = (
        StrategyRelease(symbol="SPX", strategy=BASE.replaced(long_entry=words)) for words in (WORDS[0], OTHER)
    )
    same = StrategyRelease(symbol="SPX", strategy=BASE.replaced(long_entry=WORDS[1], name="other"))
    assert one.config_hash == same.config_hash != other.config_hash
