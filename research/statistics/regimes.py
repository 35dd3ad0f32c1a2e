"""Results by market regime, with intervals, and the flag of a strategy that fails in one.

Trades of one stretch of a regime share what happened in it, so that the stretch is the unit, not the trade:
errors are clustered by runs (Liang and Zeger, Longitudinal Data Analysis Using Generalized Linear Models,
Biometrika 73 (1986), pp. 13-22; with few clusters compared with Student's t, Cameron and Miller, A
Practitioner's Guide to Cluster-Robust Inference, Journal of Human Resources 50 (2015), pp. 317-372, section
VI), and intervals resample whole runs (bootstrap-t: Cameron, Gelbach and Miller, Bootstrap-Based Improvements
for Inference with Clustered Errors, Review of Economics and Statistics 90 (2008), pp. 414-427).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lockstep import metrics
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers
from research.statistics.multiple_testing import adjusted
from research.statistics.sharpe import finite

REGIMES = {1.0: "bull", -1.0: "bear", 0.0: "sideways", 2.0: "high volatility"}
"""Names of the codes of the feature `regime`, in the order of tables."""

LEAST_TRADES, LEAST_RUNS = 30, 8
FALSE_RATE = 0.05
FAILS, HOLDS, NOT_ENOUGH = "fails", "no failure found", "not enough"


@dataclass(frozen=True, kw_only=True)
class RegimeResult:
    """What a strategy came to in one regime; amounts in the unit of the trades, mostly USD.

    regime      code of the feature `regime`; name: the word for it
    bars        share of the bars with a known regime, [0, 1]
    trades      decided in it; runs: maximal stretches of it in which at least one of them was decided
    net, mean   of its trades; low, high: 95 % interval of the mean, nan for fewer than 2 runs or no spread
    win_rate, profit_factor   as in `lockstep.metrics`
    p_value     one-sided, of a mean at least this far below that of all other trades; nan: not tested
    adjusted    after Benjamini-Hochberg over the regimes that were tested; nan: not tested
    verdict     `fails`, `no failure found` or `not enough`
    """

    regime: float
    name: str
    bars: float
    trades: int
    runs: int
    net: float
    mean: float
    low: float
    high: float
    win_rate: float
    profit_factor: float
    p_value: float
    adjusted: float
    verdict: str

    @property
    def fails(self) -> bool:
        """Whether the strategy is flagged in this regime."""
        return self.verdict == FAILS

    @property
    def plain(self) -> dict[str, Any]:
        """The result as plain JSON: what is not finite is None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> RegimeResult:
        """Return what `plain` was made of; what was not finite is nan."""
        values: dict[str, Any] = {n: math.nan if v is None else v for n, v in plain.items()}
        return cls(**values)


def regime_runs(regimes: Any) -> Integers:
    """Return the number of the run that each bar belongs to, int64 (bars,), rising from 0; -1 where NaN.

    regimes   float64 (bars,), codes; a run is a maximal stretch of one code, and NaN ends it

    >>> regime_runs([1, 1, float("nan"), 1, 2]).tolist()
    [0, 0, -1, 1, 2]
    """
    codes = np.asarray(regimes, dtype=np.float64)
    known = ~np.isnan(codes)
    before = np.concatenate(([math.nan], codes[:-1])) if codes.size else codes
    begins = known & ~(codes == before)
    return np.where(known, np.cumsum(begins) - 1, -1).astype(np.int64)


def results_by_regime(
    pnl: Any, decided: Any, regimes: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[RegimeResult, ...]:
    """Return what the trades came to in each regime that occurs, in the order of `REGIMES`.

    pnl       float64 (n,), results of closed trades net of costs
    decided   int64 (n,), the bar that decided each entry: its regime was known then
    regimes   float64 (bars,), values of the feature `regime` at every bar, NaN where unknown
    level     of the intervals; resamples, seed: of the bootstrap by runs

    A strategy *fails* in a regime where its mean trade is below 0 and significantly below that of its trades
    in all other regimes: one-sided t-test, errors clustered by run, Benjamini-Hochberg at 5 % over the
    regimes that can be tested. One that loses everywhere fails in no regime: it is only bad. A regime with
    fewer than 30 trades or 8 runs, or without as many elsewhere, is `not enough`. Trades of bars without a
    known regime are left out. DataError for lengths that differ, results that are not finite, unknown codes
    or bars out of range; ConfigError for a level out of (0, 1) or no resamples.

    >>> found = results_by_regime([1.0, -2.0, 3.0], [0, 1, 2], [1.0, 1.0, -1.0])
    >>> [(each.name, each.trades, each.mean, each.verdict) for each in found]
    [('bull', 2, -0.5, 'not enough'), ('bear', 1, 3.0, 'not enough')]
    """
    if not 0 < level < 1:
        raise ConfigError(f"level {level}: must be above 0 and below 1, such as 0.95")
    if resamples < 1:
        raise ConfigError(f"resamples {resamples}: must be positive; 2000 is usual")
    values, codes, runs = _checked(pnl, decided, regimes)
    every = np.asarray(regimes, dtype=np.float64)
    known = every[~np.isnan(every)]
    present = [code for code in REGIMES if (known == code).any()]
    p_values = [_p_value(values, codes == code, runs) for code in present]
    rates = _adjusted(p_values)
    return tuple(
        _result(
            code, float((known == code).mean()), values, codes == code, runs, tested, level, resamples, seed
        )
        for code, tested in zip(present, zip(p_values, rates, strict=True), strict=True)
    )


def judged_together(found: Mapping[str, Sequence[RegimeResult]]) -> dict[str, tuple[RegimeResult, ...]]:
    """Return results of several strategies with one correction over all their tests, by the same names.

    The more strategies are looked at, the more often one fails somewhere by chance.
    """
    tested = [(name, each) for name, results in found.items() for each in results]
    rates = _adjusted([each.p_value for _, each in tested])
    judged: dict[str, list[RegimeResult]] = {name: [] for name in found}
    for (name, each), rate in zip(tested, rates, strict=True):
        judged[name].append(replace(each, adjusted=rate, verdict=_verdict(rate, each.mean)))
    return {name: tuple(results) for name, results in judged.items()}


def _verdict(rate: float, mean: float) -> str:
    if math.isnan(rate):
        return NOT_ENOUGH
    return FAILS if rate <= FALSE_RATE and mean < 0 else HOLDS


def failing_regimes(results: Sequence[RegimeResult]) -> tuple[str, ...]:
    """Return the names of the regimes that a strategy is flagged in."""
    return tuple(each.name for each in results if each.fails)


def regimes_in_words(results: Sequence[RegimeResult]) -> str:
    """Return in which regimes a strategy is flagged, in which it is not, and which cannot be judged.

    >>> regimes_in_words(results_by_regime([1.0, -2.0], [0, 1], [1.0, -1.0]))
    'too few trades to judge it in bull, bear'
    """
    by_verdict = {
        verdict: ", ".join(
            f"{each.name} ({each.trades:,} trades, mean {each.mean:+,.0f})" if each.fails else each.name
            for each in results
            if each.verdict == verdict
        )
        for verdict in (FAILS, HOLDS, NOT_ENOUGH)
    }
    parts = [
        f"fails in {by_verdict[FAILS]}" if by_verdict[FAILS] else "",
        f"no failure found in {by_verdict[HOLDS]}" if by_verdict[HOLDS] else "",
        f"too few trades to judge it in {by_verdict[NOT_ENOUGH]}" if by_verdict[NOT_ENOUGH] else "",
    ]
    return "; ".join(each for each in parts if each) or "no regime is known of its history"


def _checked(pnl: Any, decided: Any, regimes: Any) -> tuple[Floats, Floats, Integers]:
    """Return result, regime and run of each trade whose regime is known."""
    every = np.asarray(regimes, dtype=np.float64)
    values = np.asarray(pnl, dtype=np.float64)
    values = finite(values, "results of trades") if values.size else values
    bars = np.asarray(decided, dtype=np.int64)
    if bars.shape != values.shape:
        raise DataError(f"trades by regime: {values.size} results, {bars.size} decisions; give one of each")
    if bars.size and not 0 <= bars.min() <= bars.max() < every.size:
        raise DataError(
            f"trades by regime: decided at bars {bars.min()} to {bars.max()}, there are {every.size} bars"
        )
    strange = set(every[~np.isnan(every)].tolist()) - REGIMES.keys()
    if strange:
        raise DataError(f"regimes: code {min(strange):g}: known are -1, 0, 1, 2; use the feature `regime`")
    known = ~np.isnan(every[bars])
    return values[known], every[bars][known], regime_runs(every)[bars][known]


@dataclass(frozen=True)
class _Clusters:
    """Trades of one side of a comparison, summed by run: counts and sums, float64 (runs,)."""

    counts: Floats
    sums: Floats

    @classmethod
    def of(cls, values: Floats, runs: Integers) -> _Clusters:
        _, place = np.unique(runs, return_inverse=True)
        sums: Floats = np.bincount(place, weights=values).astype(np.float64)
        return cls(np.bincount(place).astype(np.float64), sums)

    @property
    def runs(self) -> int:
        return self.counts.size

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())

    @property
    def error(self) -> float:
        """Standard error of the mean: the jackknife that leaves out one run after the other; nan for one run.

        It is never too small on average, also where some runs are much longer than others (CR3).
        """
        if self.runs < 2:
            return math.nan
        left = (self.sums - self.mean * self.counts) / (self.counts.sum() - self.counts)
        return float(math.sqrt((left**2).sum() * (self.runs - 1.0) / self.runs))


def _enough(inside: Any, runs: Integers) -> bool:
    return bool(inside.sum() >= LEAST_TRADES and np.unique(runs[inside]).size >= LEAST_RUNS)


def _p_value(values: Floats, inside: Any, runs: Integers) -> float:
    """Return the p-value of a mean inside that is below the one outside; nan where there is not enough."""
    from scipy import stats

    if not (_enough(inside, runs) and _enough(~inside, runs)):
        return math.nan
    here, there = (_Clusters.of(values[each], runs[each]) for each in (inside, ~inside))
    error = math.hypot(here.error, there.error)
    if not error > metrics.arrays.RESIDUE * float(np.abs(values).max()):
        return math.nan
    return float(stats.t.cdf((here.mean - there.mean) / error, min(here.runs, there.runs) - 1))


def _adjusted(p_values: Sequence[float]) -> list[float]:
    tested = [each for each in p_values if not math.isnan(each)]
    rates = iter(adjusted(tested, "benjamini-hochberg").tolist() if tested else ())
    return [math.nan if math.isnan(each) else next(rates) for each in p_values]


def _result(
    code: float, bars: float, values: Floats, inside: Any, runs: Integers, tested: tuple[float, float],
    level: float, resamples: int, seed: int,
) -> RegimeResult:  # fmt: skip
    own, (p_value, rate) = values[inside], tested
    clusters = _Clusters.of(own, runs[inside])
    mean = clusters.mean if own.size else math.nan
    low, high = _interval(clusters, level, resamples, [seed, int(code) + 1])
    return RegimeResult(
        regime=code,
        name=REGIMES[code],
        bars=bars,
        trades=own.size,
        runs=clusters.runs,
        net=float(own.sum()),
        mean=mean,
        low=low,
        high=high,
        win_rate=metrics.win_rate(own),
        profit_factor=metrics.profit_factor(own),
        p_value=p_value,
        adjusted=rate,
        verdict=_verdict(rate, mean),
    )


def _interval(clusters: _Clusters, level: float, resamples: int, seed: Sequence[int]) -> tuple[float, float]:
    """Return the bootstrap-t interval of a mean: whole runs are drawn, each sample has its own error."""
    count = clusters.runs
    if count < 2 or not clusters.error > 0.0:
        return math.nan, math.nan
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=resamples)
    sizes, sums = times @ clusters.counts, times @ clusters.sums
    means = sums / sizes
    left = clusters.sums - means[:, None] * clusters.counts
    errors = np.sqrt((times * left**2).sum(axis=1) * count / (count - 1.0)) / sizes
    usable = errors > 1e-3 * clusters.error
    if not usable.any():
        return math.nan, math.nan
    scaled = (means[usable] - clusters.mean) / errors[usable]
    low, high = np.quantile(scaled, [(1 - level) / 2, (1 + level) / 2])
    return float(clusters.mean - high * clusters.error), float(clusters.mean - low * clusters.error)
