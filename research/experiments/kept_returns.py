"""Sharpe ratios, samples and blocks from what is kept of the runs' returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.experiments.store import KeptReturns, Record, Store
from research.ledger.tables import PARTS
from research.statistics.sharpe import SharpeSample

_BLOCKS = 16
_MOMENTS = ("test_sharpe_session", "test_sessions", "test_skew", "test_kurtosis")


def common_variants(kept: Sequence[KeptReturns]) -> NDArray[np.int64]:
    """Return the variants that succeeded in every window, rising."""
    common = kept[0].variants
    for each in kept[1:]:
        common = np.intersect1d(common, each.variants, assume_unique=True)
    return common


def block_sums(kept: KeptReturns, part: str, variants: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return sums and sums of squares per block, float64 (S, n, 2), of variants, and the sessions (S,)."""
    rows = np.searchsorted(kept.variants, variants)
    place = PARTS.index(part)
    return kept.blocks[rows, place].astype(np.float64).transpose(1, 0, 2), kept.sessions[place]


def sharpe_ratios(sums: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return each variant's Sharpe ratio per session over all the given blocks, 0 where nothing varies."""
    blocks = np.concatenate([each for each, _ in sums])
    counts = np.concatenate([each for _, each in sums])
    total, count = blocks.sum(axis=0), counts.sum()
    mean: Floats = total[:, 0] / count
    variance = np.maximum(total[:, 1] / count - mean**2, 0.0) * count / max(count - 1.0, 1.0)
    ratios: Floats = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > 0)
    return ratios


def even_groups(counts: Floats) -> NDArray[np.int64]:
    """Return a group for each block, rising: an even number, at most 16, of similar numbers of sessions."""
    middle = np.cumsum(counts) - counts / 2
    group = np.minimum((middle / counts.sum() * _BLOCKS).astype(np.int64), _BLOCKS - 1)
    place: NDArray[np.int64] = np.unique(group, return_inverse=True)[1].astype(np.int64)
    even: NDArray[np.int64] = np.minimum(place, (place[-1] + 1) // 2 * 2 - 1)
    return even


def pooled_sample(
    store: Store, record: Record, variant: int, symbol: str, tests: Sequence[int]
) -> SharpeSample:
    """Return a variant's sample over several test ranges: raw moments add up, standardised ones do not."""
    runs = store.runs(record.id, "symbol", "window_number", *_MOMENTS, variant=variant)
    mine = runs[runs["symbol"] == symbol].set_index("window_number")
    rows = {
        int(number): dict(zip(_MOMENTS, row, strict=True)) for number, *row in mine[[*_MOMENTS]].itertuples()
    }
    if len(tests) == 1:
        return _sample(rows[tests[0]])
    raw = np.zeros(5)
    for number in tests:
        raw += _raw_moments(store.returns(record.id, symbol, number), variant, rows[number])
    return sample_of_moments(raw)


def _sample(row: Mapping[str, float]) -> SharpeSample:
    return SharpeSample(
        ratio=row["test_sharpe_session"],
        periods=int(row["test_sessions"]),
        skew=row["test_skew"],
        kurtosis=row["test_kurtosis"],
    )


def _raw_moments(kept: KeptReturns, variant: int, row: Mapping[str, float]) -> Floats:
    """Return (n, sums of r, r^2, r^3, r^4) of one test range from what is kept of it."""
    blocks, counts = block_sums(kept, "test", np.array([variant]))
    n = float(counts.sum())
    mean, square = (float(each) / n for each in blocks.sum(axis=(0, 1)))
    spread = math.sqrt(max(square - mean**2, 0.0))
    skew, kurtosis = (0.0 if math.isnan(row[name]) else row[name] for name in ("test_skew", "test_kurtosis"))
    third = skew * spread**3 + 3 * mean * square - 2 * mean**3
    fourth = kurtosis * spread**4 + 4 * mean * third - 6 * mean**2 * square + 3 * mean**4
    return n * np.array([1.0, mean, square, third, fourth])


def sample_of_moments(raw: Floats) -> SharpeSample:
    """Return the sample of (n, sums of r, r^2, r^3, r^4), n >= 2."""
    n = float(raw[0])
    mean, square, third, fourth = (float(each) / n for each in raw[1:])
    variance = square - mean**2
    m3 = third - 3 * mean * square + 2 * mean**3
    m4 = fourth - 4 * mean * third + 6 * mean**2 * square - 3 * mean**4
    return SharpeSample(
        ratio=mean / math.sqrt(variance * n / (n - 1)),
        periods=round(n),
        skew=m3 / variance**1.5,
        kurtosis=m4 / variance**2,
    )
