"""How far a winner can be believed: trials behind it, overfitting, deflation, and the verdict of the gate."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.experiments.accounts import SymbolAccount
from research.experiments.kept_returns import (
    block_sums,
    common_variants,
    even_groups,
    pooled_sample,
    sharpe_ratios,
)
from research.experiments.selection import Ranked
from research.experiments.store import KeptReturns, Record, Store
from research.ledger.ledger import Ledger
from research.splits.ranges import consecutive
from research.statistics.gate import GateEvidence, GateVerdict, judge
from research.statistics.pbo import BlockMoments, Overfitting, overfitting
from research.statistics.sharpe import SharpeSample, expected_maximum
from research.statistics.trials import EffectiveTrials, distinct_rows, effective_trials

_BLOCKS = 16
_LEAST_BLOCKS = 4
# Divisions into halves x trials; 12,870 divisions of 16 blocks are all there are.
_PBO_CELLS = 100_000_000
_DIVISIONS = (200, 13_000)


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolEvidence:
    """What was measured on one symbol; Sharpe ratios per session unless called annual.

    counted      trials that the ledger counts on the family over the dates of the search
    effective    independent trials of this search; earlier: those of others that the ledger counts
    overfitting  PBO and what belongs to it; None for a single trial, or for too few sessions
    sample       the winner on the validation ranges; ratios: float64 (n,), all trials there, 0 without trades
    chance       annual Sharpe ratio that the best of as many trials without skill is expected to reach
    dsr          deflated Sharpe ratio, [0, 1]
    """

    symbol: str
    family: str
    counted: int
    effective: EffectiveTrials
    earlier: float
    overfitting: Overfitting | None
    sample: SharpeSample
    ratios: Floats
    sessions_per_year: float
    chance: float
    dsr: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """A winner, the evidence by symbol, and the verdict: the worst symbol decides.

    walk_forward   by symbol, the account in which each window trades what its training range chose; empty for
                   one split, and where an earlier version kept none
    """

    winner: Ranked
    walk_forward: Mapping[str, SymbolAccount]
    symbols: tuple[SymbolEvidence, ...]
    evidence: GateEvidence
    verdict: GateVerdict


def settle(store: Store, ledger: Ledger, record: Record) -> None:
    """Write how many of a finished search's trials were independent, for those that come after it."""
    found = {}
    for symbol in record.plan.symbols:
        kept = store.returns(record.id, symbol, len(record.plan.windows) - 1)
        found[symbol] = (len(record.plan.numbers), _effective(kept, kept.variants).number)
    ledger.settle(record.id, found)


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
    probabilities = [each.overfitting.probability for each in found if each.overfitting is not None]
    evidence = GateEvidence(
        train_sharpe=_number(winner.train["sharpe"]),
        test_sharpe=winner.figure("sharpe"),
        train_of=_train_of(record),
        test_of=_test_of(winner),
        trials=max(variants, *(each.counted for each in found)),
        variants=variants,
        pbo=max(probabilities) if len(probabilities) == len(found) else None,
        p_value=1.0 - min(each.dsr for each in found),
        dsr=min(each.dsr for each in found),
    )
    verdict = judge(evidence, record.plan.limits)
    return Judgement(
        winner=winner, walk_forward=walk_forward, symbols=found, evidence=evidence, verdict=verdict
    )


def _symbol_evidence(
    store: Store, ledger: Ledger, record: Record, winner: Ranked, symbol: str, family: str, per_year: float
) -> SymbolEvidence:
    kept = [store.returns(record.id, symbol, number) for number in range(len(record.plan.windows))]
    ranges = consecutive(record.plan.windows)
    tests = [number for number, part in ranges if part == "test"]
    dates = record.plan.split.searched
    earlier = ledger.earlier(family, dates, experiment_id=record.id, symbol=symbol)
    variants = common_variants(kept)
    effective = _effective(kept[-1], variants)
    ratios = sharpe_ratios([block_sums(kept[number], "test", variants) for number in tests])
    sample = pooled_sample(store, record, winner.variant, symbol, tests)
    variance = max(effective.variance(ratios), 1.0 / (sample.periods - 1))
    chance = expected_maximum(effective.number + earlier, variance) * math.sqrt(per_year)
    return SymbolEvidence(
        symbol=symbol,
        family=family,
        counted=ledger.count(family, dates.start, dates.end),
        effective=effective,
        earlier=earlier,
        overfitting=_overfitting(kept, ranges, variants),
        sample=sample,
        ratios=ratios,
        sessions_per_year=per_year,
        chance=chance,
        dsr=effective.deflated(sample, ratios, earlier=earlier),
    )


def _effective(kept: KeptReturns, variants: NDArray[np.int64]) -> EffectiveTrials:
    sketch = kept.sketch[np.searchsorted(kept.variants, variants)]
    return _counted(sketch.tobytes(), sketch.shape[1])


@functools.lru_cache(maxsize=4)
def _counted(sketches: bytes, width: int) -> EffectiveTrials:
    """Return the independent trials among float16 sketches (n, width); copies are merged first, as bytes.

    Remembered: a search needs it at its end for the ledger, and then for its verdict.
    """
    rows = np.frombuffer(sketches, np.float16).reshape(-1, width)
    first, place = distinct_rows(rows.view(np.int64))
    found = effective_trials(rows[first].astype(np.float64))
    return replace(found, labels=found.labels[place])


def _overfitting(
    kept: Sequence[KeptReturns], ranges: Sequence[tuple[int, str]], variants: NDArray[np.int64]
) -> Overfitting | None:
    """Run CSCV over all history that the search chose on, in blocks of similar length."""
    parts = [block_sums(kept[number], part, variants) for number, part in ranges]
    blocks = np.concatenate([each for each, _ in parts])
    counts = np.concatenate([each for _, each in parts])
    blocks, counts = blocks[counts > 0], counts[counts > 0]
    if variants.size < 2 or counts.size < _LEAST_BLOCKS:
        return None
    group = even_groups(counts)
    sums = np.zeros((group[-1] + 1, variants.size, 2))
    np.add.at(sums, group, blocks)
    moments = BlockMoments(
        sums=sums[:, :, 0], squares=sums[:, :, 1], counts=np.bincount(group, counts).astype(np.float64)
    )
    least, most = _DIVISIONS
    return overfitting(moments, most=max(least, min(most, _PBO_CELLS // variants.size)))


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
