"""Sessions of researchers without bars: what a draft comes to is read off a made-up landscape."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from research.agents.proposal import (
    CatalogueEntry,
    FoldMeasures,
    Niche,
    Proposal,
    ResearchContext,
    Researcher,
    StrategyKind,
    Trial,
    TrialMeasures,
)
from research.agents.researchers.board import Board
from research.agents.researchers.drafts import Draft

Height = Callable[[Draft], float]
"""Mean Sharpe ratio of a draft."""

FAMILIES = ("calendar", "oscillators", "price_bar", "returns", "trend", "volatility")


def catalogue(features: int = 24) -> tuple[CatalogueEntry, ...]:
    """Return made-up features, some on a range and some on the whole line."""
    found = []
    for number in range(features):
        low, high = (0.0, 100.0) if number % 3 == 0 else (-math.inf, math.inf)
        center, scale = (50.0, 25.0) if number % 3 == 0 else (0.0, 10.0 ** (number % 5 - 3))
        steps = (-1.6449, -1.2816, -0.8416, -0.5244, 0.0, 0.5244, 0.8416, 1.2816, 1.6449)
        found.append(
            CatalogueEntry(
                id=f"f{number}_2", family=FAMILIES[number % len(FAMILIES)], low=low, high=high,
                quantiles=tuple(center + scale * each for each in steps), document="made up",
            )
        )  # fmt: skip
    return tuple(found)


def measures(height: float, noise: Sequence[float] = (0.0,) * 6, trades: int = 40) -> TrialMeasures:
    """Return measures whose folds have these Sharpe ratios."""
    ratios = [height + each for each in noise]
    folds = tuple(
        FoldMeasures(
            number=number, trades=trades, sharpe=ratio, result=ratio / 1_000, cost_share=0.1, exposure=0.3,
            holding=2.0,
        )
        for number, ratio in enumerate(ratios)
    )  # fmt: skip
    mean = float(np.mean(ratios))
    return TrialMeasures(
        fitness=mean - float(np.std(ratios, ddof=1)) / math.sqrt(6) if trades >= 30 else math.nan,
        sharpe=mean,
        folds=folds,
        by_regime={},
        largest=0.05,
        missing=0.0,
        behaviour="",
    )


def judged(draft: Draft | None, height: Height, noise: float, seed: int) -> TrialMeasures:
    """Return what a draft comes to: its height and a noise of its own, the same whenever it is asked for."""
    if draft is None:
        return measures(-1.0)
    # Nothing of how the classes are called.
    content = (seed, sorted(map(tuple, draft.tests)), draft.side, draft.hold, draft.stop)
    digest = hashlib.sha256(repr(content).encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(0.0, noise, 6)
    return measures(height(draft), drawn.tolist(), trades=round(120 * 0.4 ** len(draft.tests)) + 20)


def session(
    researcher: Researcher,
    height: Height,
    *,
    strategies: int = 100,
    seed: int = 0,
    noise: float = 0.5,
    kind: Callable[[int], StrategyKind] = lambda number: "technical",
    features: tuple[CatalogueEntry, ...] | None = None,
    start: ResearchContext | None = None,
) -> list[Trial]:
    """Run a session; `kind` says which one each proposal is asked for."""
    context = start or ResearchContext(
        goal="", number=1, left=strategies, seed=seed, kinds={}, catalogue=features or catalogue()
    )
    trials: list[Trial] = []
    for number in range(1, strategies + 1):
        context = replace(
            context, number=number, left=strategies - number + 1, trials=tuple(trials), kind=kind(number)
        )
        trials.append(trial_of(researcher.propose(context), context, height, noise))
    return trials


def trial_of(proposal: Proposal, context: ResearchContext, height: Height, noise: float = 0.5) -> Trial:
    """Return what comes of a proposal."""
    draft = Board.of(context).ladders.read(proposal.spec)
    found = judged(draft, height, noise, context.seed)
    side = "long" if "long_entry" in proposal.spec else "short"
    return Trial(
        number=context.number, id=context.number, proposal=proposal, status="evaluated", measures=found,
        niche=Niche(feature=str(context.number % 5), side=side, exposure=1, holding=1),
    )  # fmt: skip
