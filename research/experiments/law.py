"""The law of a search: limits that may only be tightened, a hold-out, and what was agreed to before.

Who searches does not write the rules by which the winner is judged. Limits may be stricter than the shipped
ones, never looser; some dates stay sealed; and the rules of the first search over a family and dates hold for
those that come after it. What is otherwise is said when a search begins and refuses the promotion of its
winner, which can be forced, with a reason, and is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from lockstep.features.feature_registry import default_registry
from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from research.experiments.plan import Plan
from research.ledger.law import Law
from research.ledger.ledger import Ledger
from research.statistics.gate import GateLimits

SHIPPED = GateLimits()
LEAST_SEALED_DAYS = 90
_TIGHTER = {"max": -1, "min": 1}


def loosened(limits: GateLimits, than: GateLimits = SHIPPED) -> tuple[str, ...]:
    """Return which limits are looser than others, each with both values: `max_pbo 1 instead of 0.5`.

    A limit called `max_...` is looser where it is greater, one called `min_...` where it is less.

    >>> loosened(GateLimits(max_pbo=1, min_dsr=0.99))
    ('max_pbo 1 instead of 0.5',)
    """
    found = []
    for name, value in limits:
        sign, other = _TIGHTER[name.partition("_")[0]], getattr(than, name)
        if sign * value < sign * other:
            found.append(f"{name} {value:g} instead of {other:g}")
    return tuple(found)


def spelled_limits(limits: GateLimits) -> str:
    """Return the limits as they stand beside a verdict: every value, and which of them are too loose."""
    values = ", ".join(f"{name} {value:g}" for name, value in limits)
    looser = loosened(limits)
    if looser:
        return f"{values}; LOOSER THAN SHIPPED: {', '.join(looser)}"
    return f"{values}; {'as shipped' if limits == SHIPPED else 'stricter than shipped'}"


def objections(plan: Plan, laws: Mapping[str, Law]) -> tuple[str, ...]:
    """Return what the law has against a search, one sentence each: its limits and its hold-out.

    laws   by family, what the first search over it and these dates began under
    """
    return tuple(_objections(plan, laws))


def _objections(plan: Plan, laws: Mapping[str, Law]) -> Iterator[str]:
    sealed = plan.split.holdout
    if looser := loosened(plan.limits):
        yield f"the limits are looser than those that are shipped: {', '.join(looser)}"
    if sealed is None:
        yield "there is no hold-out: no date was kept from the search"
    elif _days(sealed) < LEAST_SEALED_DAYS:
        yield f"the hold-out {sealed} has {_days(sealed)} days; at least {LEAST_SEALED_DAYS} are needed"
    for family, first in laws.items():
        if looser := loosened(plan.limits, GateLimits.model_validate(first.limits)):
            yield f"the limits are looser than those of {_told(first)} on {family}: {', '.join(looser)}"
        # It may move on to newer dates as time goes by, not shrink.
        if first.holdout is not None and sealed is not None and _days(sealed) < _days(first.holdout):
            yield (
                f"the hold-out {sealed} has {_days(sealed)} days; {_told(first)} on {family} sealed "
                f"{_days(first.holdout)}, {first.holdout}"
            )


def in_sample(config: StrategyConfig, judged: Iterable[DateRange]) -> tuple[str, ...]:
    """Return which models a configuration reads that were trained on dates it is judged on, a sentence each.

    A model's answers about bars of its own training are remembered, not predicted.
    """
    ranges, found = tuple(judged), []
    for each in config.feature_ids:
        column = default_registry().parse(each).column
        if column is None or column.trained is None:
            continue
        seen = next((dates for dates in ranges if dates.overlaps(column.trained)), None)
        if seen is not None:
            found.append(
                f"{each} was trained on {column.trained}, which overlaps the judged dates {seen}: what it "
                "answers there is in sample; read a model that was trained before them"
            )
    return tuple(found)


def _days(dates: DateRange) -> int:
    return (dates.end - dates.start).days + 1


def enact(ledger: Ledger, plan: Plan, families: Iterable[str], *, experiment_id: int, now: datetime) -> None:
    """Write down under which limits, and with which hold-out, a search begins on its families."""
    for family in families:
        ledger.enact(
            family,
            plan.split.searched,
            limits=plan.limits.model_dump(),
            holdout=plan.split.holdout,
            experiment_id=experiment_id,
            now=now,
        )


def first_laws(ledger: Ledger, plan: Plan, families: Iterable[str]) -> dict[str, Law]:
    """Return, by family, what the first search over it and dates of a plan began under, maybe its own."""
    found = {family: ledger.law(family, plan.split.searched) for family in families}
    return {family: laws[0] for family, laws in found.items() if laws}


def _told(first: Law) -> str:
    what = "search" if first.experiment_id is None else f"search (experiment {first.experiment_id})"
    return f"the first {what}, {first.recorded[:10]},"
