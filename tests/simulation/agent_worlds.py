"""Worlds for sessions of agents: NASDAQ days in another order, with nothing to find or a planted edge.

Days keep their shape and lose their order, see `genealogy.py`, so that a feature tells nothing of the next
day. In a world with drift all days gain a little. In one with an edge, the day after one or two features were
low moves up from open to close, and the day after they were high moves down, or the other way round: an edge
on both sides, that leaves the market without drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lockstep.features.feature_registry import default_registry
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.strategy.families.rules import RulesConfig
from research.agents.bench import TrainingBench
from research.agents.evaluation import TrainingEvaluator
from research.agents.loop import Exploration
from research.agents.proposal import CatalogueEntry, Researcher
from research.agents.router import AgentRouter
from research.agents.specs import SpecGround, SpecTerms
from simulation.genealogy import SYMBOL, made_of, shuffled

SESSIONS = 2_520
LEAST_TRADES = 20
"""As 30 of the 350 sessions of a fold of fourteen years of training, for ten years; fewer for fewer."""

DRIFT = 0.0004
IDS = (
    "rsi_2", "rsi_5", "stoch_k_14", "pctb_20_2", "ibs", "body_fraction", "upper_wick", "lower_wick",
    "bear_streak_10", "bull_streak_10", "ret_1", "ret_5", "ret_20", "ret_lag_1", "zscore_20",
    "efficiency_ratio_10", "momentum_z_10_60", "drift_10", "donchian_position_20", "compression_5_20_10",
    "range_atr_14", "gap_atr_14", "day_of_week", "trading_day_of_month",
)  # fmt: skip
_KEY = SeriesKey(SYMBOL, DAILY)
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What is planted: after a day on which all of `where` hold, the next one moves by `size` deviations.

    where   (id, whether high, share): its values in the highest or lowest share of the bars; where all are in
            the opposite share, the next day moves the other way
    sign    1 or -1: up or down
    """

    where: tuple[tuple[str, bool, float], ...]
    sign: int
    size: float

    @classmethod
    def drawn(cls, random: np.random.Generator, *, parts: int, size: float) -> Edge:
        """Draw one of one feature at a share of 20 %, or of two at 40 % each."""
        ids = random.permutation(len(IDS))[:parts]
        share = 0.2 if parts == 1 else 0.4
        where = tuple((IDS[each], bool(random.random() < 0.5), share) for each in ids.tolist())
        return cls(where=where, sign=1 if random.random() < 0.5 else -1, size=size)

    @property
    def ids(self) -> tuple[str, ...]:
        """What it is made of."""
        return tuple(name for name, _, _ in self.where)


@dataclass(frozen=True, kw_only=True)
class PlantedWorld:
    """Bars of one world, with the edge that is planted and the constants of its conditions.

    offered   ids that a session may read
    """

    history: History
    edge: Edge | None = None
    levels: tuple[tuple[float, float], ...] = ()
    offered: tuple[str, ...] = IDS

    @classmethod
    def of(
        cls, seed: int, *, edge: Edge | None = None, drift: float = 0.0, sessions: int = SESSIONS,
        levels: tuple[tuple[float, float], ...] = (), offered: tuple[str, ...] = IDS,
    ) -> PlantedWorld:  # fmt: skip
        """Make a world; `levels` are the constants of the edge, its quantiles here where none are given."""
        _, days = shuffled(np.random.default_rng((seed, 31)))
        days = days[:sessions] * (1.0 + drift)
        if edge is None:
            return cls(history=made_of(days), offered=offered)
        plain = _columns(made_of(days), edge)
        if not levels:
            shares = (share for _, _, share in edge.where)
            levels = tuple(
                (float(np.nanquantile(values, share)), float(np.nanquantile(values, 1.0 - share)))
                for values, share in zip(plain, shares, strict=True)
            )
        planted = days
        for _ in range(_ROUNDS):
            planted = _with_edge(days, edge, _columns(made_of(planted), edge), levels)
        return cls(history=made_of(planted), edge=edge, levels=levels, offered=offered)

    def again(self, seed: int) -> PlantedWorld:
        """Return a world with the same edge and other days."""
        return PlantedWorld.of(seed, edge=self.edge, levels=self.levels)

    @cached_property
    def evaluator(self) -> TrainingEvaluator:
        """What measures specs on all of it."""
        sessions = self.history.series(_KEY).end.size
        return TrainingEvaluator(self.history, SYMBOL, least_trades=round(LEAST_TRADES * sessions / SESSIONS))

    @cached_property
    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What a researcher is told of the features."""
        return self.evaluator.catalogue(self.offered)

    def oracles(self) -> tuple[RulesConfig, RulesConfig]:
        """Return the specs that trade the edge and nothing else, one for each side."""
        assert self.edge is not None
        found = []
        for turned in (False, True):
            tests = [
                {"id": name, "above" if high != turned else "at_most": float(f"{levels[high != turned]:.4g}")}
                for (name, high, _), levels in zip(self.edge.where, self.levels, strict=True)
            ]
            side = "long_entry" if (self.edge.sign > 0) != turned else "short_entry"
            content = {"name": "oracle", side: {"all": tests}, "max_bars": 1}
            found.append(RulesConfig.model_validate(content))
        return found[0], found[1]

    def exploration(self, researcher: Researcher, strategies: int, seed: int) -> Exploration:
        """Return a technical session over it."""
        return Exploration(
            researcher=researcher,
            router=AgentRouter(kinds={"technical": 0}, screen=researcher.least),
            ground=SpecGround(symbol=SYMBOL, terms=SpecTerms(), history=self.history),
            bench=TrainingBench(evaluator=self.evaluator),
            strategies=strategies,
            seed=seed,
            catalogue=self.catalogue,
        )


def _columns(history: History, edge: Edge) -> list[Floats]:
    bars, registry = history.series(_KEY), default_registry()
    return [registry.calculate(name, bars, history=history) for name in edge.ids]


def _with_edge(
    days: Floats, edge: Edge, columns: list[Floats], levels: tuple[tuple[float, float], ...]
) -> Floats:
    """Return the days with the edge in those after its condition; their mean stays."""
    moved, drift = days.copy(), days[:, 3].mean()
    move = edge.sign * edge.size * float((days[:, 3] / days[:, 0] - 1.0).std())
    for turned in (False, True):
        holds = np.ones(len(days), dtype=bool)
        for values, (low, high), (_, is_high, _) in zip(columns, levels, edge.where, strict=True):
            holds &= (values > high) if is_high != turned else (values <= low)
        after = 1 + np.flatnonzero(holds[:-1])
        moved[after, 1:] *= 1.0 - move if turned else 1.0 + move
    moved[:, 1] = np.maximum(moved[:, 1], moved[:, 0])
    moved[:, 2] = np.minimum(moved[:, 2], moved[:, 0])
    return moved / moved[:, 3].mean() * drift
