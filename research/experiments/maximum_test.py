"""The maximum test of a search: what its best would reach without skill, and what its winner did reach.

A search writes it down once, at its end, for all that come after it: 1,000 numbers by symbol. They are made
of the sketches of all test ranges, which add up, whatever the number of windows. Only one piece of the
variants is in memory at a time, 10,000 of them: 160,000 variants in four windows take 170 MB and six seconds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import select

from lockstep.market.bars import Floats
from research.experiments.kept_returns import portfolio_z, residuals, summed
from research.experiments.store import Record, Store
from research.ledger.append_only import MaximumRow
from research.ledger.counting import Counted
from research.ledger.ledger import Ledger
from research.ledger.shares import spent_on
from research.splits.ranges import consecutive
from research.statistics.maximum import (
    DRAWS,
    RunningMaximum,
    effective,
    p_value,
    survivors,
    z_of,
)
from research.statistics.pbo import distinct_by
from research.statistics.sharpe import SharpeSample, deflated_sharpe, expected_maximum

_NAME = 32


@spent_on("statistics")
def settle(
    store: Store, ledger: Ledger, record: Record, *, families: Mapping[str, str], now: datetime
) -> None:
    """Write the maximum of a finished search by symbol, and of its portfolio, once and in one transaction."""
    named: dict[tuple[str, str], tuple[str, ...]] = {
        (families[symbol], symbol): (symbol,) for symbol in record.plan.symbols
    }
    if len(record.plan.symbols) > 1:
        named[portfolio_name(record.plan.symbols, families)] = record.plan.symbols
    known = settled(ledger, record.id)
    found = [
        _row(record, *name, measured, now)
        for name, symbols in named.items()
        if name[1] not in known and (measured := _measured(store, record, symbols)) is not None
    ]
    with ledger.database.write() as connection:
        ledger.append(connection, MaximumRow, found)


def portfolio_name(symbols: Sequence[str], families: Mapping[str, str]) -> tuple[str, str]:
    """Return how the portfolio of several symbols is named in the ledger: its family, and its symbol.

    That is no family of a symbol, so that none counts it.
    """
    return _short("+".join(sorted(families[each] for each in symbols))), _short("+".join(sorted(symbols)))


def _short(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name if len(name) <= _NAME else f"{name[: _NAME - 9]}~{digest}"


def settled(ledger: Ledger, experiment: int) -> dict[str, Any]:
    """Return what was written of an experiment, by symbol."""
    wanted = select(MaximumRow.__table__).where(MaximumRow.experiment_id == experiment)
    with ledger.database.read() as connection:
        return {row.symbol: row for row in connection.execute(wanted)}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    draws: Floats
    best: float
    survivors: int


def _measured(store: Store, record: Record, symbols: Sequence[str]) -> _Measured | None:
    found = residuals(store, record, symbols)
    if found is None:
        return None
    running, cross, first = RunningMaximum(), [], 0
    keys = np.column_stack([column for each in found for column in (each.sums, each.beta)])
    for sketches, products in summed(store, found):
        some = keys[first : first + len(sketches)]
        # Copies cannot be greater than the first of them, and grids are full of them.
        running.add(sketches[distinct_by(some.view(np.int64), sketches.view(np.int64))])
        cross.append(products)
        first += len(sketches)
    z = found[0].z if len(found) == 1 else portfolio_z(found, np.concatenate(cross))

    def again() -> Iterator[Floats]:
        return (sketches for sketches, _ in summed(store, found))

    passed = survivors(z, again, running.draws)
    return _Measured(draws=running.draws, best=float(z.max(initial=0.0)), survivors=passed.size)


def _row(record: Record, family: str, symbol: str, found: _Measured, now: datetime) -> dict[str, Any]:
    tests = [
        record.plan.windows[number].test
        for number, part in consecutive(record.plan.windows)
        if part == "test"
    ]
    return {
        "experiment_id": record.id,
        "family": family,
        "symbol": symbol,
        "first_date": tests[0].start,
        "last_date": tests[-1].end,
        "trials": len(record.plan.numbers),
        "best": found.best,
        "survivors": found.survivors,
        "draws": found.draws.tobytes(),
        "recorded": now.isoformat(timespec="seconds"),
    }


@dataclass(frozen=True, kw_only=True)
class MaximumEvidence:
    """The winner of a search on a symbol after all trials of the family; nan where its timing is not known.

    z            timing ratio in standard errors; p_value   of it after all trials, (0, 1]
    p_zero       the same of the plain ratio, against zero instead of a constant position: drift may pass
    best         greatest z of this search; survivors   its trials that pass at 5 %, step by step
    searches     that made the trials, this one included; unsketched   how many of these, with declared
                 variants that nobody evaluated, are known by their number alone
    effective    independent trials with the same maximum, >= 1; chance   the annual timing Sharpe ratio that
                 the best of them is expected to reach without skill; dsr   deflated Sharpe ratio of the
                 timing, [0, 1]: displayed, never judged
    """

    z: float
    p_value: float
    p_zero: float
    best: float
    survivors: int
    searches: int
    unsketched: float
    effective: float
    chance: float
    dsr: float


def measure(
    counted: Counted,
    own: Any,
    sample: SharpeSample,
    timing: SharpeSample | None,
    *,
    unevaluated: int,
    per_year: float,
) -> MaximumEvidence:
    """Test a winner with the sample `sample`, of which `timing` is left without the market.

    counted       all trials of the family; own: the row of this search among its maxima, None without one
    unevaluated   declared variants that nobody evaluated
    """
    draws = _draws(counted)
    unsketched = counted.without + unevaluated
    independent = effective(draws)
    z = math.nan if timing is None else z_of(timing)
    variance = 1.0 / (sample.periods - 1)
    return MaximumEvidence(
        z=z,
        p_value=math.nan if timing is None else p_value(z, draws, unsketched=unsketched),
        p_zero=p_value(z_of(sample), draws, unsketched=unsketched),
        best=math.nan if own is None else own.best,
        survivors=0 if own is None else own.survivors,
        searches=counted.searches,
        unsketched=unsketched,
        effective=independent,
        chance=expected_maximum(independent + unsketched, variance * per_year),
        dsr=math.nan
        if timing is None
        else deflated_sharpe(timing, trials=independent + unsketched, variance=variance),
    )


def _draws(counted: Counted) -> Floats:
    return np.zeros(DRAWS) if counted.draws is None else counted.draws


@dataclass(frozen=True, kw_only=True)
class PortfolioEvidence:
    """A winner's mean residual over several symbols, equal capital on each; beside, never judged.

    z   in standard errors; p_value   after all searches on the same families, (0, 1]; sharpe   annual
    """

    z: float
    p_value: float
    sharpe: float


def measure_portfolio(
    store: Store, ledger: Ledger, record: Record, variant: int, families: Mapping[str, str], per_year: float
) -> PortfolioEvidence | None:
    """Test a winner on all symbols of its search together; None for one symbol, or without residuals."""
    found = residuals(store, record, record.plan.symbols) if len(record.plan.symbols) > 1 else None
    if found is None:
        return None
    mine = [each.only(np.array([variant])) for each in found]
    ((_, cross),) = summed(store, mine)
    (z,) = portfolio_z(mine, cross).tolist()
    family, _ = portfolio_name(record.plan.symbols, families)
    draws = _draws(ledger.counted(family, record.plan.split.searched))
    periods = float(np.mean([each.sessions for each in mine]))
    return PortfolioEvidence(z=z, p_value=p_value(z, draws), sharpe=z * math.sqrt(per_year / (periods - 1)))
