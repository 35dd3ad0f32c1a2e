"""How far a winner can be believed: the maximum test, overfitting, deflation, and the verdict of the gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import select

from lockstep.market.bars import Floats
from research.experiments.accounts import SymbolAccount
from research.experiments.declaration import search_hash
from research.experiments.family_blocks import FamilyOverfitting, family_overfitting
from research.experiments.kept_returns import Residuals, pooled_sample
from research.experiments.maximum_test import (
    MaximumEvidence,
    PortfolioEvidence,
    measure,
    measure_portfolio,
    settled,
)
from research.experiments.selection import Ranked
from research.experiments.store import Record, Store
from research.ledger.append_only import ReplayRow
from research.ledger.candidates import forward_multiple
from research.ledger.ledger import Ledger
from research.ledger.spaces import Derivation
from research.splits.ranges import consecutive
from research.statistics.gate import GateEvidence, GateLimits, GateVerdict, judge
from research.statistics.sharpe import SharpeSample


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolEvidence:
    """What was measured on one symbol; Sharpe ratios per session unless called annual.

    counted      trials that the ledger counts on the family over the dates of the search
    searched     whether that was declared before any result, and why
    sample       the winner on all test ranges
    timing       what its returns there have beyond a constant position of its mean size `beta`, in units of
                 capital; None and nan where an earlier version ran the search
    ratios       float64 (n,): timing ratios of all trials of this search, 0 without trades; empty without
    maximum      the winner after all trials of the family
    overfitting  the probability that choosing the best of the family's variants fails, and whose they are
    """

    symbol: str
    family: str
    counted: int
    searched: Derivation
    sample: SharpeSample
    timing: SharpeSample | None
    beta: float
    ratios: Floats
    sessions_per_year: float
    maximum: MaximumEvidence
    overfitting: FamilyOverfitting

    @property
    def timing_sharpe(self) -> float:
        """Annual; nan without timing."""
        return math.nan if self.timing is None else self.timing.ratio * math.sqrt(self.sessions_per_year)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """A winner, the evidence by symbol, and the verdict: the worst symbol decides.

    walk_forward   by symbol, the account in which each window trades what its training range chose; empty for
                   one split, and where an earlier version kept none
    portfolio      of several symbols together, beside; None for one, and without timing
    """

    winner: Ranked
    walk_forward: Mapping[str, SymbolAccount]
    symbols: tuple[SymbolEvidence, ...]
    evidence: GateEvidence
    verdict: GateVerdict
    portfolio: PortfolioEvidence | None = None

    def with_hold_out(
        self, measures: Mapping[str, Mapping[str, float]], look: int, limits: GateLimits
    ) -> Judgement:
        """Return the judgement with what the `look`-th opening of the hold-out gave, measures by symbol."""
        if not measures:
            return self
        p_value = _greatest(each.get("timing_p", math.nan) for each in measures.values())
        evidence = replace(self.evidence, hold_out_p=p_value, hold_out_look=look)
        return replace(self, evidence=evidence, verdict=judge(evidence, limits))


def judgement(
    store: Store,
    ledger: Ledger,
    record: Record,
    winner: Ranked,
    *,
    walk_forward: Mapping[str, SymbolAccount],
    families: Mapping[str, str],
    sessions_per_year: Mapping[str, float],
) -> Judgement:
    """Judge `winner` by the limits of its experiment; both mappings are by symbol."""
    found = tuple(
        _symbol_evidence(store, ledger, record, winner, symbol, families[symbol], sessions_per_year[symbol])
        for symbol in record.plan.symbols
    )
    variants = len(record.plan.numbers)
    measured = [each.overfitting.probability for each in found]
    evidence = GateEvidence(
        train_sharpe=_number(winner.train["sharpe"]),
        test_sharpe=winner.figure("sharpe"),
        train_of=_train_of(record),
        test_of=_test_of(winner),
        trials=max(variants, *(each.counted for each in found)),
        variants=variants,
        pbo=None if None in measured else max(each for each in measured if each is not None),
        pooled=max(each.overfitting.variants for each in found),
        gone=max(each.overfitting.gone for each in found),
        p_value=_greatest(each.maximum.p_value for each in found),
        dsr=min(each.maximum.dsr for each in found),
        searched="declared" if all(each.searched.declared for each in found) else "adaptive",
        replay_p=(
            _replay_p(store, ledger, record, winner)
            if all(each.searched.replayable for each in found)
            else None
        ),
        forward=_forward(store, ledger, record, winner),
    )
    return Judgement(
        winner=winner,
        walk_forward=walk_forward,
        symbols=found,
        portfolio=measure_portfolio(
            store, ledger, record, winner.variant, families, float(np.mean([*sessions_per_year.values()]))
        ),
        evidence=evidence,
        verdict=judge(evidence, record.plan.limits),
    )


def _greatest(values: Iterable[float]) -> float:
    """Return the greatest p-value; nan where one was not measured."""
    return float(np.max(list(values)))


def _symbol_evidence(
    store: Store, ledger: Ledger, record: Record, winner: Ranked, symbol: str, family: str, per_year: float
) -> SymbolEvidence:
    tests = [number for number, part in consecutive(record.plan.windows) if part == "test"]
    dates = record.plan.split.searched
    searched = ledger.searched(record.id, symbol)
    sample = pooled_sample(store, record, winner.variant, symbol, tests)
    left = Residuals.of(store, record, symbol)
    timing = None if left is None else left.sample(winner.variant)
    counted = ledger.counted(family, dates)
    return SymbolEvidence(
        symbol=symbol,
        family=family,
        counted=counted.trials,
        searched=searched,
        sample=sample,
        timing=timing,
        beta=math.nan if left is None else left.exposure(winner.variant),
        ratios=np.empty(0) if left is None else left.ratios,
        sessions_per_year=per_year,
        maximum=measure(
            counted,
            settled(ledger, record.id).get(symbol),
            sample,
            timing,
            unevaluated=searched.unevaluated,
            per_year=per_year,
        ),
        overfitting=family_overfitting(store, ledger, record, symbol, family),
    )


def _forward(store: Store, ledger: Ledger, record: Record, winner: Ranked) -> float | None:
    """Return what forward evidence the winner has, as a multiple of what a pilot needs; None without any.

    Of several symbols the least, and none where one of them has none.
    """
    name = str(store.runs(record.id, "config_hash", variant=winner.variant)["config_hash"].iloc[0])
    found = [forward_multiple(ledger, name, symbol) for symbol in record.plan.symbols]
    return None if None in found else min(each for each in found if each is not None)


def _replay_p(store: Store, ledger: Ledger, record: Record, winner: Ranked) -> float | None:
    """Return the p-value of the null replay of exactly this search and winner; None without one.

    Of several symbols and replays the worst: a replay is not repeated until it pleases.
    """
    runs = store.runs(record.id, "config_hash", variant=winner.variant)
    wanted = select(ReplayRow.symbol, ReplayRow.p_value).where(
        ReplayRow.experiment_id == record.id,
        ReplayRow.search == search_hash(record),
        ReplayRow.config_hash == runs["config_hash"].iloc[0],
    )
    with ledger.database.read() as connection:
        rows = connection.execute(wanted).all()
    if not set(record.plan.symbols) <= {row.symbol for row in rows}:
        return None
    return max(float(row.p_value) for row in rows)


def _train_of(record: Record) -> str:
    """Return what the training measure is of: a range of dates, or the training ranges of a walk-forward."""
    first, last = record.plan.windows[0].train, record.plan.windows[-1].train
    count = len(record.plan.windows)
    return str(first) if count == 1 else f"mean of {count} windows, {first.start} to {last.end}"


def _test_of(winner: Ranked) -> str:
    """Return what the test measure is of: the dates of an account, or of the accounts of several symbols."""
    dates = "; ".join(dict.fromkeys(each.dates for each in winner.accounts.values()))
    return dates if len(winner.accounts) < 2 else f"mean of {len(winner.accounts)} accounts, {dates}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
