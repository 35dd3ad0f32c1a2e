"""The four words, over the whole domain of what decides them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from research.statistics import verdict as module
from research.statistics.gate import GateEvidence, GateLimits, judge
from research.statistics.verdict import WORDS, VerdictLine, chance, of_gate, verdict

SIZE = GateLimits().size


def documented() -> list[list[str]]:
    """The rows of the table in the docstring: edge, profit, lacking, promoted, word."""
    lines = [line.strip() for line in (verdict.__doc__ or "").splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def meant(edge: bool | None, profit: bool, lacking: bool, promoted: bool) -> list[str]:
    """The words of all documented rows that fit."""
    said = {True: "yes", False: "no", None: "none"}[edge]
    others = ("yes" if profit else "no", "something" if lacking else "nothing", "yes" if promoted else "no")
    return [
        row[4]
        for row in documented()
        if said in row[0].split(", ")
        and all(cell in ("any", value) for cell, value in zip(row[1:4], others, strict=True))
    ]


@pytest.mark.parametrize("edge", [True, False, None])
@pytest.mark.parametrize("profit", [True, False])
@pytest.mark.parametrize("lacking", [(), ("one thing",), ("one thing", "another")])
@pytest.mark.parametrize("promoted", [True, False])
def test_the_table_is_the_function(
    edge: bool | None, profit: bool, lacking: tuple[str, ...], promoted: bool
) -> None:
    found = verdict(edge=edge, profit=profit, because="luck does as well", lacking=lacking, promoted=promoted)
    assert [found.word] == meant(edge, profit, bool(lacking), promoted)
    assert found.reason
    # Whatever is lacking is told, once.
    told = [found.reason, *found.why]
    assert all(told.count(each) == 1 for each in lacking)
    if edge is False:
        assert found.reason == "luck does as well"


def test_every_word_is_reached_and_force_reaches_none_of_them() -> None:
    domain = itertools.product((True, False, None), (True, False), ((), ("it was forced",)), (True, False))
    found = {
        case: verdict(edge=case[0], profit=case[1], because="x", lacking=case[2], promoted=case[3]).word
        for case in domain
    }
    assert set(found.values()) == set(WORDS)
    promoted = [case for case, word in found.items() if word == "promoted"]
    assert all(
        edge is not False and not lacking and was_promoted for edge, _, lacking, was_promoted in promoted
    )


def evidence(**changes: Any) -> GateEvidence:
    known: dict[str, Any] = {
        "train_sharpe": 1.2, "test_sharpe": 1.1, "trials": 600, "variants": 600, "pbo": 0.1, "p_value": 0.01,
    }  # fmt: skip
    return GateEvidence(**{**known, **changes})


def word_of(against_zero: float = 0.001, further: tuple[str, ...] = (), **changes: Any) -> VerdictLine:
    known = evidence(**changes)
    return of_gate(known, judge(known), SIZE, against_zero=against_zero, further=further)


@pytest.mark.parametrize("p_value", [0.001, 0.05, 0.0500001, 0.4, 1.0, math.nan])
@pytest.mark.parametrize("against_zero", [0.001, 0.05, 0.06, 1.0, math.nan])
def test_a_declared_search_is_judged_by_the_maximum_test(p_value: float, against_zero: float) -> None:
    found = word_of(against_zero, p_value=p_value)
    if p_value > SIZE:
        assert found.word == ("drift" if against_zero <= SIZE else "no edge")
    else:
        assert found.word == "unproven"
    if math.isnan(p_value):
        assert found.reason == "maximum test was not measured"


def test_the_reason_of_no_edge_says_how_often_luck_does_as_well() -> None:
    found = word_of(0.3, p_value=0.38, pbo=0.7)
    assert str(found) == (
        "no edge: the best of 600 trials without skill does as well in 38 of 100 cases; "
        "at most 5% is admitted"
    )
    assert found.why == (judge(evidence(pbo=0.7)).refusals[0].sentence,)
    assert found.is_loss


def test_drift_names_the_market() -> None:
    found = word_of(0.01, p_value=0.2)
    assert found.word == "drift"
    assert "holding as much of the market" in found.reason
    assert "20 of 100 cases" in found.reason


def test_an_edge_with_a_failed_check_is_unproven_and_says_which() -> None:
    found = word_of(pbo=0.6, further=("the hold-out was opened before",))
    assert found.word == "unproven"
    assert "overfit" in found.reason or "fails out of sample" in found.reason
    assert found.why == ("the hold-out was opened before",)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "unproven"),
        ({"replay_p": 0.01}, "unproven"),
        ({"replay_p": 0.3}, "no edge"),
        ({"replay_p": 0.3, "forward": 1.2}, "unproven"),
        ({"forward": 0.5}, "unproven"),
    ],
)
def test_a_search_that_learned_is_judged_by_fresh_evidence(changes: dict[str, Any], word: str) -> None:
    found = word_of(0.2, searched="adaptive", p_value=math.nan, **changes)
    assert found.word == word
    if not changes or changes == {"forward": 0.5}:
        assert found.reason.startswith("the search learned from earlier results")
    if word == "no edge":
        assert "shifted decisions" in found.reason


def test_promoted_needs_a_gate_without_refusals() -> None:
    known = evidence()
    given = {"size": SIZE, "against_zero": 0.01, "promoted": True}
    assert of_gate(known, judge(known), **given).word == "promoted"
    refused = evidence(pbo=0.9)
    assert of_gate(refused, judge(refused), **given).word == "unproven"
    unlucky = evidence(p_value=0.5)
    assert of_gate(unlucky, judge(unlucky), **given).word == "drift"


def test_probabilities_in_words() -> None:
    assert [chance(each) for each in (0.38, 0.05, 0.0094, 0.001, 0.0009)] == [
        "38 of 100 cases",
        "5 of 100 cases",
        "9 of 1,000 cases",
        "1 of 1,000 cases",
        "fewer than 1 of 1,000 cases",
    ]


def test_the_docstring_names_every_word() -> None:
    assert all(f"\n{word} " in (module.__doc__ or "") for word in WORDS)
