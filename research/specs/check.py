"""Is a spec sound: does every condition say something, is every value there, can it enter at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from lockstep.errors import ConfigError
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs.program import normal_form
from research.specs.ids import declared_range
from research.specs.occurrence import Frequencies, frequencies, true_rows
from research.specs.rows import TrainingRows

MOST_MISSING = 0.05
"""Share of the rows after its first value on which an id may be missing."""
MOST_COLD = 0.5
"""Share of the rows before its first value."""

_SIDES = {"long_entry": "long", "short_entry": "short"}


@dataclass(frozen=True, kw_only=True)
class ReadId:
    """An id that a spec reads, and what its values are on the training rows.

    low, high         declared range; least, greatest: seen, NaN without a value
    first             session date of the first value, None without one
    missing           share of the rows from there on without a value
    cold              share of the rows before
    """

    id: str
    low: float
    high: float
    least: float
    greatest: float
    first: date | None
    missing: float
    cold: float


@dataclass(frozen=True, kw_only=True)
class SpecCheck:
    """What was found about a spec on its training rows; sound where there are no `problems`."""

    config: RulesConfig
    ids: tuple[ReadId, ...]
    frequencies: Frequencies
    problems: tuple[str, ...]


def require_spec(config: StrategyConfig, where: str) -> RulesConfig:
    """Return a configuration of the rules family as such; ConfigError for any other family."""
    if not isinstance(config, RulesConfig):
        raise ConfigError(f"{where}: family {config.family} is no spec; only `family: rules` has conditions")
    return config


def check_spec(config: RulesConfig, rows: TrainingRows) -> SpecCheck:
    """Look at a spec on its training rows and say what is wrong with it, a sentence each."""
    ids = tuple(_read(each, rows) for each in rows.ids)
    found = frequencies(config, rows)
    problems = (
        *_missing(ids, rows),
        *_pointless(config),
        *_idle(found),
        *_both(found),
        *_blocked(config, found),
    )
    return SpecCheck(config=config, ids=ids, frequencies=found, problems=problems)


def _read(feature_id: str, rows: TrainingRows) -> ReadId:
    values = rows.column(feature_id)
    there = np.flatnonzero(~np.isnan(values))
    low, high = declared_range(feature_id)
    seen = values[there] if there.size else np.array([np.nan])
    first = int(there[0]) if there.size else len(rows)
    return ReadId(
        id=feature_id, low=low, high=high, least=float(seen.min()), greatest=float(seen.max()),
        first=rows.day(first) if there.size else None, cold=first / len(rows),
        missing=(len(rows) - first - there.size) / (len(rows) - first) if there.size else 1.0,
    )  # fmt: skip


def _missing(ids: tuple[ReadId, ...], rows: TrainingRows) -> Iterator[str]:
    where = f"{len(rows):,} bars, {rows.span}"
    for each in ids:
        if each.first is None:
            yield f"{each.id} has no value on any of {where}; drop it, or use more history"
        elif each.cold > MOST_COLD:
            yield (
                f"{each.id} has its first value on {each.first}, after {each.cold:.1%} of {where}; drop it, "
                "or use more history"
            )
        elif each.missing > MOST_MISSING:
            yield (
                f"{each.id} is missing on {each.missing:.1%} of the bars from {each.first} on, at most "
                f"{MOST_MISSING:.0%} may be; such a bar is not entered: drop it, or mend the data"
            )


def _pointless(config: RulesConfig) -> Iterator[str]:
    for each in sorted({*config.written_ids} - {*config.feature_ids}):
        yield f"{each} is named in a condition and never changes what comes of it; drop it"


def _idle(found: Frequencies) -> Iterator[str]:
    """Yield a sentence for each condition that is always or never true; its parts are not told again."""
    for each in found.occurrences:
        if each.judged == 0 or 0 < each.true < each.judged:
            continue
        often = "always" if each.true else "never"
        what = each.line.text
        if each.line.is_group:
            what = "all of its conditions together" if what.startswith("all") else "any of its conditions"
            often = f"{'is' if what.startswith('any') else 'are'} {often} true"
        else:
            what, often = f"{what!r}", f"is {often} true"
        span = f"{each.judged:,} bars, {found.rows.span}"
        yield f"{each.part}: {what} {often} on {span}; change the constant or drop it"


def _both(found: Frequencies) -> Iterator[str]:
    if (both := found.decisions.ambiguous).size:
        times = "bar" if both.size == 1 else "bars"
        first = found.rows.day(both[0])
        yield (
            f"long_entry and short_entry are both true on {both.size:,} {times}, first {first}: "
            "neither is taken there (reason `ambiguous`); make one exclude the other"
        )


def _blocked(config: RulesConfig, found: Frequencies) -> Iterator[str]:
    """Yield a sentence for each entry that is true at times and yet never taken."""
    for part, side in _SIDES.items():
        condition = getattr(config, part)
        if condition is None or found.decisions.entries(part).size:
            continue
        wanted = true_rows(normal_form(condition), config, found.rows)
        if wanted.any():
            yield (
                f"{part} is true on {int(wanted.sum()):,} bars, and no {side} entry may be taken: "
                f"{found.decisions.blocked(wanted)}; loosen what stops it"
            )
