"""In what two specs differ: in meaning, in their fields, in their conditions, and in their signals."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from lockstep.market.bars import Flags
from lockstep.settings import shown
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs.program import normal_form
from research.specs.occurrence import SIDES, flat_decisions, true_rows
from research.specs.rows import TrainingRows
from research.specs.wording import lines

_DIGITS = 12

Mark = Literal[" ", "-", "+"]


@dataclass(frozen=True, kw_only=True)
class FieldDifference:
    """A field that is not a condition, as both give it."""

    field: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class SignalDifference:
    """On how many training bars a signal is true in the first, in the second, and in one of them only.

    signal   `long_entry` as it is written; `enters long` and `enters short` as taken while flat
    """

    signal: str
    first: int
    second: int
    differ: int
    first_day: date | None


@dataclass(frozen=True, kw_only=True)
class SpecDifference:
    """What two specs differ in.

    same_meaning   whether they are one trial: their hashes are equal
    conditions     by side, lines of the conditions: " " in both, "-" in the first only, "+" in the second
    signals        on bars of the training; None where they were not compared, and `unlike` says why
    """

    first: RulesConfig
    second: RulesConfig
    same_meaning: bool
    fields: tuple[FieldDifference, ...]
    conditions: dict[str, tuple[tuple[Mark, str], ...]]
    signals: tuple[SignalDifference, ...] | None
    unlike: str = ""

    @property
    def hashes(self) -> str:
        """Their hashes, shortened: one, or both."""
        found = [each.config_hash[:_DIGITS] for each in (self.first, self.second)]
        return found[0] if self.same_meaning else " and ".join(found)


def compare_specs(
    first: RulesConfig, second: RulesConfig, rows: tuple[TrainingRows, TrainingRows] | None, unlike: str = ""
) -> SpecDifference:
    """Compare two specs; `rows` are theirs over the same bars, None where there are none (`unlike`)."""
    return SpecDifference(
        first=first,
        second=second,
        same_meaning=first.config_hash == second.config_hash,
        fields=tuple(_fields(first, second)),
        conditions={part: found for part in SIDES if (found := _aligned(first, second, part))},
        signals=None if rows is None else tuple(_signals((first, second), rows)),
        unlike=unlike,
    )


def _fields(first: RulesConfig, second: RulesConfig) -> Iterator[FieldDifference]:
    for field in RulesConfig.model_fields:
        one, other = (_content(each, field) for each in (first, second))
        if field not in SIDES and one != other:
            yield FieldDifference(field=field, first=shown(one), second=shown(other))


def _content(config: RulesConfig, field: str) -> Any:
    return config.model_dump(mode="json", exclude_none=True).get(field)


def _aligned(first: RulesConfig, second: RulesConfig, part: str) -> tuple[tuple[Mark, str], ...]:
    """Return the lines of both conditions, none where they are written alike."""
    one, other = (
        ["  " * each.depth + each.text for each in lines(getattr(config, part))] for config in (first, second)
    )
    if one == other:
        return ()
    marks: dict[str, Mark] = {" ": " ", "-": "-", "+": "+"}
    return tuple((marks[line[0]], line[2:]) for line in difflib.ndiff(one, other) if line[0] in marks)


def _signals(
    configs: tuple[RulesConfig, RulesConfig], rows: tuple[TrainingRows, TrainingRows]
) -> Iterator[SignalDifference]:
    for part in SIDES:
        if any(getattr(config, part) is not None for config in configs):
            one, other = (_holds(config, part, found) for config, found in zip(configs, rows, strict=True))
            yield _signal(part, one, other, rows[0])
    decisions = [flat_decisions(config, found) for config, found in zip(configs, rows, strict=True)]
    for part, side in (("long_entry", "long"), ("short_entry", "short")):
        if any(getattr(config, part) is not None for config in configs):
            one, other = (found.is_entry(part) for found in decisions)
            yield _signal(f"enters {side} while flat", one, other, rows[0])


def _holds(config: RulesConfig, part: str, rows: TrainingRows) -> Flags:
    condition = getattr(config, part)
    if condition is None:
        return np.zeros(len(rows), dtype=np.bool_)
    return true_rows(normal_form(condition), config, rows)


def _signal(name: str, one: Flags, other: Flags, rows: TrainingRows) -> SignalDifference:
    differ = np.flatnonzero(one != other)
    return SignalDifference(
        signal=name, first=int(one.sum()), second=int(other.sum()), differ=int(differ.size),
        first_day=rows.day(differ[0]) if differ.size else None,
    )  # fmt: skip
