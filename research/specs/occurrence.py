"""How often the conditions of a spec hold on its training rows, by the code that trades it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import Flags, Floats
from lockstep.strategy.decision import (
    AMBIGUOUS,
    ENTER_LONG,
    ENTER_SHORT,
    IN_SESSION,
    PASS,
)
from lockstep.strategy.families.rules import RulesConfig, decide
from lockstep.strategy.specs.meaning import canonical_score
from lockstep.strategy.specs.program import NormalForm, holds, ids_of, program
from lockstep.strategy.step import DecisionRules
from research.specs.rows import TrainingRows
from research.specs.wording import Line, filter_line, lines, veto_line

SIDES = ("long_entry", "long_exit", "short_entry", "short_exit")


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """How often one condition holds.

    part     of the spec: `long_entry`, `filters`, `veto` …; line: the condition
    judged   rows in session on which every value that it reads is there; true: those on which it holds
    first, last   session dates of the first and the last of them, None without one
    """

    part: str
    line: Line
    judged: int
    true: int
    first: date | None
    last: date | None

    @property
    def share(self) -> float:
        """Share of the judged rows on which it holds; NaN without one."""
        return self.true / self.judged if self.judged else float("nan")


@dataclass(frozen=True, kw_only=True)
class FlatDecisions:
    """What a spec would decide at each training row if it held nothing.

    codes    int64 (n,), see `decision.py`
    reason   returns a code in words
    """

    codes: NDArray[np.int64]
    reason: Callable[[int], str]

    def is_entry(self, part: str) -> Flags:
        """Return whether `long_entry` or `short_entry` is taken, bool (n,)."""
        taken: Flags = self.codes == (ENTER_LONG if part == "long_entry" else ENTER_SHORT)
        return taken

    def entries(self, part: str) -> NDArray[np.int64]:
        """Return the rows at which it is."""
        return np.flatnonzero(self.is_entry(part))

    @property
    def ambiguous(self) -> NDArray[np.int64]:
        """Return the rows on which both entries are true."""
        return np.flatnonzero(self.codes == AMBIGUOUS)

    def blocked(self, wanted: Flags) -> str:
        """Return why no entry is taken at the `wanted` rows, bool (n,): the most frequent reason."""
        ((code, count),) = Counter(self.codes[wanted].tolist()).most_common(1)
        return f"{self.reason(code)} on {count:,} of them"


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """How often every condition of a spec holds on its training rows, and what it would do while flat."""

    rows: TrainingRows
    occurrences: tuple[Occurrence, ...]
    decisions: FlatDecisions


def frequencies(config: RulesConfig, rows: TrainingRows) -> Frequencies:
    """Look at every condition of a spec: each side, each part of it, filters and veto."""
    found = tuple(_occurrence(part, line, config, rows) for part, line in conditions(config))
    return Frequencies(rows=rows, occurrences=found, decisions=flat_decisions(config, rows))


def conditions(config: RulesConfig) -> Iterator[tuple[str, Line]]:
    """Yield every condition of a spec with the part of it that it belongs to, as they are written."""
    for part in SIDES:
        for line in lines(getattr(config, part)):
            yield part, line
    for said in config.filters:
        yield "filters", filter_line(said)
    if config.veto is not None:
        yield "veto", veto_line(config.veto)


def _occurrence(part: str, line: Line, config: RulesConfig, rows: TrainingRows) -> Occurrence:
    read = ids_of(line.form, canonical_score(config.score))
    whole = ~np.isnan(rows.values[:, [rows.ids.index(each) for each in sorted(read)]]).any(axis=1)
    judged = whole & (rows.clock[:, IN_SESSION] != 0.0)
    found = np.flatnonzero(true_rows(line.form, config, rows) & judged)
    return Occurrence(
        part=part, line=line, judged=int(judged.sum()), true=int(found.size),
        first=rows.day(found[0]) if found.size else None, last=rows.day(found[-1]) if found.size else None,
    )  # fmt: skip


def true_rows(form: NormalForm, config: RulesConfig, rows: TrainingRows) -> Flags:
    """Return where a condition is true, bool (n,); where a value that it needs is missing it is not."""
    column = {each: place for place, each in enumerate(rows.ids)}
    rules = np.array(program(form, column, canonical_score(config.score)), dtype=np.float64)
    out = np.empty(len(rows), dtype=np.bool_)
    _fill_true(rows.values, rules, out)
    return out


def flat_decisions(config: RulesConfig, rows: TrainingRows) -> FlatDecisions:
    """Return what the spec decides at each row while it holds nothing, window, filters and veto included."""
    market = rows.history.markets[rows.key.symbol]
    rules = DecisionRules.of(config, market, None, config.feature_ids)
    codes = np.empty(len(rows), dtype=np.int64)
    _fill_flat(rows.vectors, rows.clock, rules.rules, rules.filters, codes)
    return FlatDecisions(codes=codes, reason=rules.reason)


@kernel
def _fill_true(values: Floats, rules: Floats, out: Flags) -> None:
    for row in range(out.size):
        out[row] = holds(values[row], rules, 0, rules.size)


@kernel
def _fill_flat(values: Floats, clock: Floats, rules: Floats, filters: Floats, out: NDArray[np.int64]) -> None:
    for row in range(out.size):
        reading = (clock[row, 0], clock[row, 1], clock[row, 2])
        out[row] = decide(values[row], PASS, reading, (0.0, 0.0), rules, filters)
