"""The hold-out of an experiment: unseen until a promotion opens it, and each look is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lockstep.strategy.ibs_decision import IbsConfig
from research.experiments.evaluation import load_data
from research.experiments.execution import Lab
from research.experiments.store import Record


def look_refusals(lab: Lab, record: Record) -> list[str]:
    """Return why the hold-out is no longer unseen: looks at it, and trials within its dates."""
    dates = record.plan.split.holdout
    if dates is None:
        return []
    found = []
    for family in sorted({lab.family(symbol) for symbol in record.plan.symbols}):
        looks = lab.ledger.looks(family, dates)
        if looks:
            found.append(
                f"the hold-out {dates} of {family} was opened {len(looks)} times before, last for "
                f"{looks[-1].purpose}: it is no longer unseen"
            )
        if count := lab.ledger.count(family, dates.start, dates.end):
            found.append(
                f"{count:,} trials were made on {family} within the hold-out {dates}: it is no longer unseen"
            )
    return found


def open_holdout(lab: Lab, record: Record, config: IbsConfig, name: str) -> dict[str, Mapping[str, float]]:
    """Count the look, then run the winner on the hold-out; measures by symbol, empty without a hold-out."""
    plan, dates = record.plan, record.plan.split.holdout
    if dates is None:
        return {}
    for family, symbol in _once_per_family(lab, plan.symbols):
        purpose = f"promotion of {name}"
        lab.ledger.look(family, symbol, dates, purpose=purpose, now=lab.now(), experiment_id=record.id)
    found = {}
    for symbol in plan.symbols:
        data = load_data(plan, lab.book, lab.family(symbol), symbol, dates)
        found[symbol] = lab.backtest(config, data, dates.span)
    return found


def _once_per_family(lab: Lab, symbols: Sequence[str]) -> list[tuple[str, str]]:
    return list({lab.family(symbol): symbol for symbol in reversed(symbols)}.items())


def holdout_refusals(record: Record, holdout: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return on which symbols the hold-out is not what the limits ask for."""
    least = record.plan.limits.min_test_sharpe
    return [
        f"the hold-out Sharpe ratio on {symbol} is {measures['sharpe']:.2f}; it must be above {least:g}"
        for symbol, measures in holdout.items()
        if not measures["sharpe"] > least
    ]
