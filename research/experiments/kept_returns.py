"""Samples, blocks, and what the market does not explain, from what is kept of the runs' returns."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Flags, Floats
from research.experiments.store import KeptReturns, Record, Store
from research.ledger.tables import PARTS
from research.splits.ranges import consecutive
from research.statistics.maximum import SKETCH, centred, z_of_sums
from research.statistics.sharpe import SharpeSample

_BLOCKS = 16
# Variants whose sketches are in memory at once, and most windows of which a whole batch is.
_PIECE = 2_000
_AT_HAND = 12
_MOMENTS = ("test_sharpe_session", "test_sessions", "test_skew", "test_kurtosis")


def common_variants(kept: Sequence[KeptReturns]) -> NDArray[np.int64]:
    """Return the variants that succeeded in every window, rising."""
    common = kept[0].variants
    for each in kept[1:]:
        common = np.intersect1d(common, each.variants, assume_unique=True)
    return common


def block_sums(kept: KeptReturns, part: str, variants: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return sums and sums of squares per block, float64 (S, n, 2), of variants, and the sessions (S,)."""
    assert kept.blocks is not None
    rows = np.searchsorted(kept.variants, variants)
    place = PARTS.index(part)
    return kept.blocks[rows, place].astype(np.float64).transpose(1, 0, 2), kept.sessions[place]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """What is left of a search's test returns on a symbol without the market, over all test ranges.

    variants   int64 (n,), rising: those that succeeded in every window
    sums       float64 (n, 4): of x, x^2, x^3, x^4 over `sessions` sessions; tests: windows they are from
    beta       float64 (n,): mean exposure to the market, by sessions
    """

    experiment: int
    symbol: str
    tests: tuple[int, ...]
    variants: NDArray[np.int64]
    sums: Floats
    beta: Floats
    sessions: int

    @classmethod
    def of(cls, store: Store, record: Record, symbol: str) -> Residuals | None:
        """Read them; None where a window has none, as where an earlier version ran the search."""
        tests = tuple(number for number, part in consecutive(record.plan.windows) if part == "test")
        kept = store.outlines(record.id, symbol)
        if len(kept) < len(record.plan.windows):
            return None
        variants = common_variants(kept)
        sums, beta, sessions = np.zeros((variants.size, 4)), np.zeros(variants.size), 0.0
        for each in (kept[number] for number in tests):
            if each.timing is None:
                return None
            timing = each.timing[np.searchsorted(each.variants, variants)]
            count = each.sessions[1].sum()
            sums += timing[:, :4]
            beta += timing[:, 4] * count
            sessions += count
        return cls(
            experiment=record.id, symbol=symbol, tests=tests, variants=variants, sums=sums,
            beta=beta / sessions, sessions=round(sessions),
        )  # fmt: skip

    def only(self, variants: NDArray[np.int64]) -> Residuals:
        """Return those of some of the variants."""
        rows = np.searchsorted(self.variants, variants)
        return replace(self, variants=variants, sums=self.sums[rows], beta=self.beta[rows])

    @property
    def variance(self) -> Floats:
        """Of the residuals per session, float64 (n,), >= 0."""
        mean, square = self.sums[:, 0] / self.sessions, self.sums[:, 1] / self.sessions
        variance: Floats = np.maximum(square - mean**2, 0.0)
        return variance

    def sample(self, variant: int) -> SharpeSample:
        """Return the sample of one variant; its ratio is 0 where nothing is left."""
        row = int(np.searchsorted(self.variants, variant))
        sums = self.sums[row]
        if not _vary(self.sums[row : row + 1], self.sessions)[0]:
            return SharpeSample(ratio=0.0, periods=self.sessions)
        return sample_of_moments(np.array([self.sessions, *sums]))

    def exposure(self, variant: int) -> float:
        """Return the mean exposure of one variant."""
        return float(self.beta[np.searchsorted(self.variants, variant)])

    @property
    def ratios(self) -> Floats:
        """Sharpe ratios per session, float64 (n,); 0 where nothing is left."""
        n = self.sessions
        mean = self.sums[:, 0] / n
        found: Floats = np.zeros(self.variants.size)
        vary = _vary(self.sums, n)
        deviation = np.sqrt(self.variance[vary] * n / (n - 1))
        found[vary] = mean[vary] / deviation
        return found

    @property
    def z(self) -> Floats:
        """Sharpe ratios in their standard errors, float64 (n,); 0 where nothing is left."""
        return np.nan_to_num(z_of_sums(self.sums, self.sessions), nan=0.0)

    def sketches(self, store: Store) -> Iterator[Floats]:
        """Yield centred sketches, float64 (k, 256), of the variants in order, piece by piece."""
        kept = [store.sketches(self.experiment, self.symbol, window) for window in self.tests]
        for first in range(0, self.variants.size, _PIECE):
            rows = slice(first, first + _PIECE)
            mine = self.variants[rows]
            total, ones = np.zeros((mine.size, SKETCH)), np.zeros(SKETCH)
            within = range(int(mine[0]), int(mine[-1]) + 1)
            for window in kept:
                for number, (variants, sketch, of_one) in enumerate(window.within(within)):
                    if variants.size == mine.size == len(within):
                        total += sketch
                    else:
                        wanted = np.isin(variants, mine, assume_unique=True)
                        total[np.searchsorted(mine, variants[wanted])] += sketch[wanted]
                    ones += of_one if number == 0 else 0.0
                if len(kept) > _AT_HAND:
                    window.release()
            yield centred(total, self.sums[rows, 0], self.sessions, ones)


def _vary(sums: Floats, sessions: int) -> Flags:
    mean, square = sums[:, 0] / sessions, sums[:, 1] / sessions
    vary: Flags = square - mean**2 > 1e-12 * square
    return vary


def residuals(store: Store, record: Record, symbols: Sequence[str]) -> list[Residuals] | None:
    """Return those of several symbols for the variants that succeeded on all; None where one has none."""
    found = [each for symbol in symbols if (each := Residuals.of(store, record, symbol)) is not None]
    if len(found) < len(symbols):
        return None
    common = functools.reduce(np.intersect1d, [each.variants for each in found])
    return [each.only(common) for each in found]


def summed(store: Store, found: Sequence[Residuals]) -> Iterator[tuple[Floats, Floats]]:
    """Yield the sums of the symbols' sketches, float64 (k, 256), and what their series have in common, (k,).

    That is the sum over pairs of symbols of the products of their series, as the sketches estimate it.
    """
    for parts in zip(*(each.sketches(store) for each in found), strict=True):
        total = sum(parts[1:], start=parts[0])
        alone = len(parts) == 1
        yield total, np.zeros(len(total)) if alone else _squares(total) - sum(map(_squares, parts))


def _squares(sketches: Floats) -> Floats:
    squares: Floats = np.einsum("ij,ij->i", sketches, sketches)
    return squares


def portfolio_z(found: Sequence[Residuals], cross: Floats) -> Floats:
    """Return mean residuals over symbols, equal capital on each, in their standard errors: float64 (n,).

    The variances are exact; what the symbols have in common is the sketches' estimate. Skew and kurtosis, of
    which little is left in a mean over symbols, are those of a normal law.
    """
    sessions = np.mean([each.sessions for each in found])
    mean = np.sum([each.sums[:, 0] / each.sessions for each in found], axis=0)
    alone = np.sum([each.variance for each in found], axis=0)
    variance = np.maximum(alone + cross / sessions, 0.0)
    error = np.sqrt(variance / (sessions - 1))
    z: Floats = np.divide(mean, error, out=np.zeros_like(mean), where=error > 1e-9 * np.sqrt(alone))
    return z
