"""What a language model may have known: its measures before and after the day up to which it was trained.

A model has read the history. What it proposes for days that it has read about shows nothing; only what a
strategy does after that day may be called out of sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from lockstep.errors import ConfigError
from lockstep.market.dates import DateRange
from research.agents.fold_measures import SessionFolds
from research.agents.plan import AgentSettings
from research.agents.proposal import FoldMeasures, TrialMeasures

LLM = "llm"
"""The researcher that asks a language model."""

Measured = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class KnownPart:
    """Measures on one side of the day; out_of_sample: whether they may be called so."""

    span: DateRange
    measures: Measured
    out_of_sample: bool


@dataclass(frozen=True, kw_only=True)
class KnowledgeSplit:
    """Measures of a range in two parts, None where it has no day on that side.

    until   last day that the model may have read about; after it nothing is known to it
    """

    until: date
    before: KnownPart | None
    after: KnownPart | None

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "knowledge_until": self.until.isoformat(),
            "before": _plain(self.before),
            "after": _plain(self.after),
        }


def known_until(settings: AgentSettings) -> date | None:
    """Return up to when the researcher of a session may have read the history, None where it reads none.

    ConfigError where a language model is asked and its options do not say so.
    """
    if settings.researcher != LLM:
        return None
    try:
        return date.fromisoformat(str(settings.options["knowledge_until"]))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            "options.knowledge_until: expected a date like 2024-06-30, up to which the model may have read"
        ) from error


def sides(span: DateRange, until: date) -> tuple[DateRange | None, DateRange | None]:
    """Return the parts of a range up to a day and after it, None for one without a day.

    >>> [str(each) for each in sides(DateRange.of("2020-01-01", "2020-12-31"), date(2020, 6, 30))]
    ['2020-01-01 to 2020-06-30', '2020-07-01 to 2020-12-31']
    """
    if until < span.start:
        return None, span
    if until >= span.end:
        return span, None
    return (
        DateRange(start=span.start, end=until),
        DateRange(start=until + timedelta(days=1), end=span.end),
    )


def split_measures(span: DateRange, until: date, measure: Callable[[DateRange], Measured]) -> KnowledgeSplit:
    """Return what `measure` finds on either side of a day."""
    before, after = (
        None if part is None else KnownPart(span=part, measures=measure(part), out_of_sample=beyond)
        for part, beyond in zip(sides(span, until), (False, True), strict=True)
    )
    return KnowledgeSplit(until=until, before=before, after=after)


def split_folds(measures: TrialMeasures, folds: SessionFolds, until: date) -> KnowledgeSplit:
    """Return the mean Sharpe ratio and the trades of the folds before and after a day.

    A fold that the day falls into is before: the model may have read a part of it.
    """
    spans = {each.number: folds.dates(each.number) for each in measures.folds}
    known = [each for each in measures.folds if spans[each.number].start <= until]
    later = [each for each in measures.folds if spans[each.number].start > until]
    before, after = (
        KnownPart(
            span=DateRange(start=spans[part[0].number].start, end=spans[part[-1].number].end),
            measures=_of_folds(part),
            out_of_sample=beyond,
        )
        if part
        else None
        for part, beyond in ((known, False), (later, True))
    )
    return KnowledgeSplit(until=until, before=before, after=after)


def _of_folds(folds: list[FoldMeasures]) -> dict[str, float | None]:
    ratios = [each.sharpe for each in folds if not math.isnan(each.sharpe)]
    return {
        "trades": float(sum(each.trades for each in folds)),
        "sharpe": math.fsum(ratios) / len(ratios) if ratios else None,
    }


def _plain(part: KnownPart | None) -> dict[str, Any] | None:
    if part is None:
        return None
    return {
        "span": part.span.model_dump(mode="json"),
        "measures": dict(part.measures),
        "out_of_sample": part.out_of_sample,
    }
