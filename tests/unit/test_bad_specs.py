"""Specs that nobody can mean: each is refused in one line that says where, what and which rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.errors import ConfigError
from lockstep.strategy.family import load_strategy

LOW = "{id: ibs, below: 0.2}"
NESTED = "{not: " * 400 + LOW + "}" * 400
MANY = ", ".join([LOW] * 10_000)
THIRTEEN = ", ".join(f"{{id: ibs, below: 0.{each + 10}}}" for each in range(13))
BOMB = "\n".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)
IDS = ", ".join(f"{{id: ret_{each}, above: 0}}" for each in range(1, 9))
MORE = ", ".join(f"{{id: zscore_{each}, above: 0}}" for each in range(2, 12))

# What is written below `name` and `max_bars`, and what is said of it.
REFUSED = {
    "unknown field": (
        f"long_entri: {LOW}",
        "unknown key 'long_entri'; did you mean 'long_entry'?",
    ),
    "unknown comparison": (
        "long_entry: {id: ibs, belw: 0.2}",
        "unknown key 'long_entry.belw'; did you mean 'below'?",
    ),
    "unknown group": (
        f"long_entry: {{al: [{LOW}]}}",
        "unknown key 'long_entry.al'; did you mean 'all'?",
    ),
    "empty group": ("long_entry: {all: []}", "long_entry.all []: give at least 1"),
    "empty condition": ("long_entry: {}", "key 'long_entry.id' is missing; add it"),
    "no entry": ("", "gives no entry; give long_entry, short_entry or both"),
    "two groups side by side": (
        f"long_entry: {{all: [{LOW}], any: [{LOW}]}}",
        "long_entry: all and any side by side; put one into the other, such as all: [{any: …}, …]",
    ),
    "a group beside an id": (
        f"long_entry: {{not: {LOW}, id: ibs, above: 0.1}}",
        "long_entry: not and id side by side; put one into the other, such as all: [{any: …}, …]",
    ),
    "two comparisons": (
        "long_entry: {id: ibs, below: 0.2, above: 0.1}",
        "long_entry: condition on ibs: below and above are given; give one of below, at_most, above, "
        "at_least, between, equals",
    ),
    "with itself": (
        "long_entry: {id: ibs, below: ibs}",
        "long_entry: condition on ibs: compares it with itself; name another id",
    ),
    "a boolean": (
        "long_entry: {id: ibs, below: true}",
        "long_entry.below true: expected a number, not true or false",
    ),
    "a number that is text": (
        "long_entry: {id: ret_1, below: 1e-3}",
        "long_entry.below '1e-3': is read as text; write a plain number without quotes, such as 0.001",
    ),
    "17 digits": (
        "long_entry: {id: ibs, below: 0.12345678901234567}",
        "long_entry.below 0.12345678901234566: give at most 4 significant digits: 0.1235",
    ),
    "NaN": ("long_entry: {id: ibs, below: .nan}", "long_entry.below nan: expected a finite number"),
    "infinity": ("long_entry: {id: ibs, above: -.inf}", "long_entry.above -inf: expected a finite number"),
    "outside its range": (
        "long_entry: {id: rsi_2, below: 101}",
        "condition on rsi_2: 101 is outside its range, 0 to 100; correct it",
    ),
    "a rank outside its range": (
        "long_entry: {id: atr_14%252, below: 1.5}",
        "condition on atr_14%252: 1.5 is outside its range, 0 to 1; correct it",
    ),
    "a veto outside its range": (
        f"long_entry: {LOW}\nveto: {{id: volume_pctile_20, at_least: 3}}",
        "condition on volume_pctile_20: 3 is outside its range, 0 to 1; correct it",
    ),
    "bounds the wrong way round": (
        "long_entry: {id: ibs, between: [0.5, 0.2]}",
        "long_entry: condition on ibs: between [0.5, 0.2]: the first must be <= the second",
    ),
    "three bounds": (
        "long_entry: {id: ibs, between: [0, 0.1, 0.2]}",
        "long_entry.between [0, 0.1, 0.2]: give at most 2",
    ),
    "a key twice": (
        "long_entry: {id: ibs, below: 0.2, below: 0.3}",
        "cannot be read as YAML: line 4: key 'below' occurs twice; give it once",
    ),
    "a circle": (
        "long_entry: &a {all: [*a]}",
        "long_entry: nested deeper than 6 levels of all, any, not; make it flatter",
    ),
    "400 levels": (
        f"long_entry: {NESTED}",
        "long_entry: nested deeper than 6 levels of all, any, not; make it flatter",
    ),
    "10,000 comparisons": (
        f"long_entry: {{any: [{MANY}]}}",
        "is 230,054 bytes long; a strategy has at most 64,000, make it simpler",
    ),
    "13 comparisons": (
        f"long_entry: {{any: [{THIRTEEN}]}}",
        "long_entry and long_exit: 13 comparisons; at most 12 a side, make it simpler",
    ),
    "18 ids": (
        f"long_entry: {{all: [{IDS}]}}\nshort_entry: {{all: [{MORE}]}}",
        "reads 18 ids; at most 16, make it simpler",
    ),
    "a name of 20,000 letters": (
        f"long_entry: {LOW}\nfeatures: [{'x' * 20_000}]",
        "is 20,422 bytes long; at most 16,000, make it simpler",
    ),
    "more than it looks": (
        f"a: &a [{', '.join(['x'] * 9)}]\n{BOMB}\nlong_entry: {{all: *g}}",
        "unknown key 'a'; known are",
    ),
    "a sum that nobody asks for": (
        f"long_entry: {LOW}\nscore: [{{id: ibs, weight: 1}}]",
        "score: no condition asks for it; compare `id: score`, or drop it",
    ),
    "an exit without an entry": (
        f"long_entry: {LOW}\nshort_exit: {LOW}",
        "short_exit without short_entry; give short_entry, or drop it",
    ),
}  # fmt: skip


def refusal(folder: Path, text: str) -> str:
    path = folder / "spec.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as found:
        load_strategy(path)
    said = str(found.value)
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    body, expected = REFUSED[case]
    said = refusal(tmp_path, f"family: rules\nname: x\nmax_bars: 5\n{body}\n")
    assert said == expected or (case == "more than it looks" and said.startswith(expected))
    assert "\n" not in said
    assert len(said) <= 500


def test_an_entry_without_an_end(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"family: rules\nname: x\nlong_entry: {LOW}\n") == (
        "long_entry: nothing would ever close the position; give long_exit, stop, target, max_bars or "
        "auto_close"
    )


def test_what_is_within_the_rules_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    tree = "{not: " * 6 + LOW + "}" * 6
    path.write_text(
        f"family: rules\nname: x\nmax_bars: 5\nlong_entry: {tree}\nlong_exit: {{id: ibs, above: 0.123}}\n"
    )
    assert load_strategy(path).name == "x"
