"""Every gap at every open bar of a portfolio: what each would cost, worked out in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.floats import require_exact
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy.sizing import entry_order
from lockstep.strategy.step import vector_ids
from research.stress.changes import StressWorld, scaled
from research.stress.loop import DISTANCES, try_gaps
from research.stress.scenarios import GapScenario
from research.sweep.portfolio import PortfolioGround, follow_alone


@dataclass(frozen=True, kw_only=True, eq=False)
class GapGround:
    """What no size changes: the bars of b rows of all lanes, and each of K gaps on them.

    ground      of the portfolio; gaps: K scenarios without a moment
    following   int32 (S, n): the set of each lane's first bar from each set on, S for none
    bars        float64 (K, b, 4): every bar as a gap would have it
    distances   float64 (b, 4): of the stop and the target of an entry that is decided at each bar
    """

    ground: PortfolioGround
    gaps: tuple[GapScenario, ...]
    following: np.ndarray
    bars: Floats
    distances: Floats

    @classmethod
    def of(cls, world: StressWorld, ground: PortfolioGround, gaps: Sequence[GapScenario]) -> GapGround:
        """Gap every bar of the ground, which is that of `world`; DataError as of `scaled`."""
        sets = len(ground.stamps)
        following = np.where(ground.rows >= 0, np.arange(sets, dtype=np.int32)[:, None], sets)
        following = np.minimum.accumulate(following[::-1], axis=0)[::-1]
        return cls(
            ground=ground,
            gaps=tuple(gaps),
            following=np.ascontiguousarray(following, dtype=np.int32),
            bars=np.array([_gapped(world, ground, each) for each in gaps]).reshape(-1, len(ground.bars), 4),
            distances=np.concatenate([_distances(world, symbol) for symbol in ground.symbols]),
        )

    def narrowed(self, ground: PortfolioGround, kept: Flags) -> GapGround:
        """Return the same for some of the lanes, bool (n,); `ground` is what `narrowed` made of them."""
        return GapGround(
            ground=ground,
            gaps=self.gaps,
            following=np.ascontiguousarray(self.following[:, kept]),
            bars=self.bars,
            distances=self.distances,
        )

    def scan(self, config: PortfolioConfig) -> GapScan:
        """Try every gap at every set at which the portfolio holds something."""
        require_exact()
        given = follow_alone(self.ground, config)
        (sets, n), gaps = self.ground.rows.shape, len(self.gaps)
        is_open, before = np.zeros(sets, dtype=np.uint8), np.zeros(sets)
        after, falls = np.zeros((gaps, sets)), np.zeros((gaps, sets))
        deepest = try_gaps(
            given, tuple(given), self.following, self.bars, self.distances, np.zeros((n, 5)),
            np.zeros((n, rules.LANE)), is_open, before, after, falls,
        )  # fmt: skip
        return GapScan(
            gaps=self.gaps, stamps=self.ground.stamps, days=self.ground.day, capital=config.capital,
            is_open=is_open != 0, before=before, after=after, falls=falls, fall=float(deepest),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class GapScan:
    """What K gaps at each of S sets would have come to.

    stamps, days    int64 (S,): end of each set, UTC ns, and its date, days since 1970
    is_open         bool (S,): whether something was held before the set, so that gaps were tried
    before          float64 (S,): equity before it, USD
    after, falls    float64 (K, S): equity after the gap, and the deepest fall of the history that ends with
                    it, USD; NaN where nothing was held
    fall            deepest fall without a gap, USD
    """

    gaps: tuple[GapScenario, ...]
    stamps: Stamps
    days: Stamps
    capital: float
    is_open: Flags
    before: Floats
    after: Floats
    falls: Floats
    fall: float

    @property
    def drawdowns(self) -> Floats:
        """`falls` as fractions of the capital, float64 (K, S)."""
        return self.falls / self.capital

    @property
    def losses(self) -> Floats:
        """What each gap itself costs, fraction of the capital, float64 (K, S); negative where it earns."""
        return (self.before - self.after) / self.capital

    @property
    def worst_drawdown(self) -> float:
        """Deepest drawdown of all gaps, fraction of the capital; that without a gap where nothing is held."""
        return float(np.max(self.drawdowns[:, self.is_open], initial=self.fall / self.capital))

    def worst(self, k: int, count: int) -> list[int]:
        """Return the sets at which gap k leaves the deepest drawdowns, deepest first.

        Among equal drawdowns, those of the dearest gaps, then the earliest.
        """
        held = np.flatnonzero(self.is_open)
        order = np.lexsort((held, -self.losses[k, held], -self.drawdowns[k, held]))
        return [int(each) for each in held[order[:count]]]


def _gapped(world: StressWorld, ground: PortfolioGround, gap: GapScenario) -> Floats:
    factors = gap.factors(ground.symbols)
    found = []
    for symbol, factor in zip(ground.symbols, factors, strict=True):
        bars = world.traded(symbol)
        rows = world.rows(symbol)
        bars = scaled(bars.rows(rows.start, rows.stop), factor, world.market(symbol))
        found.append(np.column_stack([bars.open, bars.high, bars.low, bars.close]))
    return np.concatenate(found)


def _distances(world: StressWorld, symbol: str) -> Floats:
    member = world.members[symbol]
    config, ids = member.strategy, vector_ids(member.strategy, member.veto)
    plan = default_registry().plan(ids, world.key(symbol))
    matrix = BatchFeatures(plan, member.history, max_age=config.max_age.limits).matrix[world.rows(symbol)]
    exits = config.exit_rules()
    found = np.empty((len(matrix), DISTANCES))
    for row, values in enumerate(matrix):
        found[row] = entry_order(1.0, values, exits)[1:]
    return found
