"""Sessions of agents by the thousand: how often the gate promotes noise, how often a planted edge is found.

A session is promoted where its null replay says p <= 5 %: with 19 replays, where none of them does as well.
So the replays of a session end with the first that does. A rule that remembers for long gains in trends by
its construction, which a gate must not take for skill: sessions without an edge may read such features.
Beside it two gates that are none: a positive fitness, and a deflated Sharpe ratio of .95 after as many trials
as there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from lockstep.metrics import Floats
from lockstep.strategy.families.rules import RulesConfig
from research.agents.evaluation import OFFERED
from research.agents.gate import search_of
from research.agents.loop import objective, winners
from research.agents.proposal import Researcher, Trial
from research.agents.researchers.evolve import EvolveResearcher
from research.agents.researchers.random import RandomResearcher
from research.agents.researchers.screen import ScreenResearcher
from research.agents.researchers.tpe import TpeResearcher
from research.agents.specs import config_of
from research.statistics.sharpe import SharpeSample, deflated_sharpe
from research.sweep.run import trace
from simulation.agent_worlds import DRIFT, Edge, PlantedWorld
from simulation.genealogy import SYMBOL

SIZE, REPLAYS = 0.05, 19
STRATEGIES = 100
STRONG = 1.5
"""Sharpe ratio at twice the slippage that an edge must have, here and on other days, to count as strong."""

RESEARCHERS: Mapping[str, Researcher] = {
    "screen": ScreenResearcher(),
    "evolve": EvolveResearcher(),
    "map-elites": EvolveResearcher(archive=True),
    "tpe": TpeResearcher(),
    "random": RandomResearcher(),
}


def bound(count: int) -> int:
    """Return how many of so many are promoted at most, at a size of 5 %, but for one time in a thousand."""
    return int(binom.ppf(0.999, count, SIZE))


@dataclass(frozen=True, kw_only=True)
class JudgedSession:
    """What the gates say of one session. replays: that were run."""

    promoted: bool
    positive: bool
    deflated: bool
    replays: int


def judged(world: PlantedWorld, researcher: Researcher, *, strategies: int, seed: int) -> JudgedSession:
    """Run a session over a world and its replays, until one of them does as well."""
    exploration = world.exploration(researcher, strategies, seed)
    trials = exploration.run().trials
    best = objective(trials)
    if np.isnan(best):
        return JudgedSession(promoted=False, positive=False, deflated=False, replays=0)
    run, beaten, search = 0, False, search_of(exploration, world.evaluator, seed=seed)
    while run < REPLAYS and not beaten:
        run += 1
        # A replay that finds nothing is worse than any.
        beaten = search(run) >= best
    return JudgedSession(
        promoted=not beaten, positive=best > 0.0, deflated=_deflated(world, trials), replays=run
    )


def _deflated(world: PlantedWorld, trials: list[Trial]) -> bool:
    """Say whether the winner passes a deflated Sharpe ratio of .95, its trials taken for independent ones."""
    config = winner_of(world, trials)
    assert config is not None
    returns = judged_returns(world, config)
    ratio = deflated_sharpe(SharpeSample.of(returns), trials=len(trials), variance=1 / (returns.size - 1))
    return ratio >= 0.95


def winner_of(world: PlantedWorld, trials: list[Trial]) -> RulesConfig | None:
    """Return the winner of a session, None where there is none."""
    best = winners(trials)
    ground = world.exploration(RESEARCHERS["random"], 1, 0).ground
    return config_of(best[0].proposal, ground) if best else None


def judged_returns(world: PlantedWorld, config: RulesConfig) -> Floats:
    """Return the session results of a spec over the folds, fractions of the capital."""
    equity = trace(config, world.evaluator.history, SYMBOL).equity
    returns: Floats = np.diff(equity, prepend=config.capital) / config.capital
    return returns[world.evaluator.folds.edges[0] :]


def noise(
    count: int, *, first: int = 0, researcher: Researcher, strategies: int, **world: Any
) -> dict[str, int]:
    """Return what each gate promotes where there is nothing to find; every second world drifts."""
    found: Counter[str] = Counter()
    for seed in range(first, first + count):
        made = PlantedWorld.of(seed, drift=DRIFT if seed % 2 else 0.0, **world)
        one = judged(made, researcher, strategies=strategies, seed=seed)
        found += Counter(
            promoted=one.promoted, positive=one.positive, deflated=one.deflated, replays=one.replays
        )
        found["promoted with drift"] += one.promoted and seed % 2
    names = ("promoted", "promoted with drift", "positive", "deflated", "replays")
    return {"sessions": count, "bound": bound(count), **{name: found[name] for name in names}}


@dataclass(frozen=True, kw_only=True)
class PlantedCase:
    """A world with a strong edge, other days with the same one, and what the oracle earns there."""

    world: PlantedWorld
    fresh: PlantedWorld
    oracle: float


def cases(count: int, *, first: int = 0, size: float, sessions: int) -> Iterator[PlantedCase]:
    """Yield worlds with an edge of one feature and of two in turn; those that are not strong are passed over.

    size   of an edge of one feature; that of two is half as large again, as it is rarer
    """
    found, seed = 0, first
    while found < count:
        random, parts = np.random.default_rng((seed, 5)), 1 + found % 2
        edge = Edge.drawn(random, parts=parts, size=size if parts == 1 else 1.5 * size)
        world = PlantedWorld.of(seed, edge=edge, sessions=sessions)
        fresh = world.again(seed + 1_000_000)
        here, there = (max(_sharpes(each, world.oracles())) for each in (world, fresh))
        seed += 1
        if min(here, there) >= STRONG:
            found += 1
            yield PlantedCase(world=world, fresh=fresh, oracle=there)


def _sharpes(world: PlantedWorld, configs: Any) -> list[float]:
    return [each.sharpe for each in world.evaluator.evaluate(configs)]


def hits(case: PlantedCase, researcher: Researcher, *, strategies: int, seed: int) -> tuple[bool, bool]:
    """Return whether a session finds the edge, and whether its winner reads a planted feature.

    It finds it where its winner earns half of what the oracle does, or more, on days that it has not seen.
    """
    trials = case.world.exploration(researcher, strategies, seed).run().trials
    config = winner_of(case.world, trials)
    if config is None:
        return False, False
    (sharpe,) = _sharpes(case.fresh, [config])
    assert case.world.edge is not None
    return sharpe >= 0.5 * case.oracle, bool({*config.written_ids} & {*case.world.edge.ids})


def edges(
    count: int, names: tuple[str, ...], *, first: int = 0, size: float, sessions: int,
    strategies: int = STRATEGIES,
) -> dict[str, Any]:  # fmt: skip
    """Return in how many planted worlds each researcher finds the edge, every second one of two features."""
    found = {name: Counter[str]() for name in names}
    oracles = []
    for number, case in enumerate(cases(count, first=first, size=size, sessions=sessions)):
        oracles.append(case.oracle)
        for name in names:
            hit, reads = hits(case, RESEARCHERS[name], strategies=strategies, seed=number)
            part = "of two features" if number % 2 else "of one feature"
            found[name] += Counter({"hits": hit, part: hit, "reads a planted feature": reads})
    return {
        "worlds": count,
        "Sharpe ratio of the oracle": round(float(np.median(oracles)), 2),
        **{name: dict(sorted(each.items())) for name, each in found.items()},
    }


def power(count: int, *, first: int = 0, size: float, sessions: int, strategies: int = STRATEGIES) -> int:
    """Return how many sessions of planted worlds are promoted."""
    found = 0
    for number, case in enumerate(cases(count, first=first, size=size, sessions=sessions)):
        one = judged(case.world, RESEARCHERS["screen"], strategies=strategies, seed=number)
        found += one.promoted
    return found


# Of the soak: sessions of 40 proposals, 24 of them the screen, over six years, which may read all that a
# session offers; on edges of 100 over ten.
_QUIET: dict[str, Any] = {
    "researcher": ScreenResearcher(features=12), "strategies": 40, "sessions": 1_500, "offered": OFFERED,
}  # fmt: skip
_PLANTED: dict[str, Any] = {"size": 0.9, "sessions": 2_520}
_PIECES = 20


def soak_noise(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return what the gates promote of noise, and whether that is within the bound; on all processors."""
    sizes = [each.size for each in np.array_split(np.arange(count), _PIECES) if each.size]
    firsts = seed * 1_000_000 + np.cumsum([0, *sizes[:-1]])
    found = Counter[str]()
    with ProcessPoolExecutor() as pool:
        parts = [
            pool.submit(noise, size, first=int(begin), **_QUIET)
            for size, begin in zip(sizes, firsts, strict=True)
        ]
        for part in parts:
            found.update(part.result())
            print({name: found[name] for name in ("sessions", "promoted")}, flush=True)
    told = {"replays a session at most": REPLAYS, "strategies": 40, "sessions of bars": 1_500, **found}
    good = found["promoted"] <= bound(count) < found["positive"] / 3
    return {**told, "bound": bound(count)}, good


def soak_edges(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return in how many planted worlds an edge is found, of every fifth whether it is promoted."""
    with ProcessPoolExecutor() as pool:
        finding = pool.submit(edges, count, tuple(RESEARCHERS), first=seed * 1_000_000, **_PLANTED)
        passing = pool.submit(power, max(5, count // 5), first=seed * 1_000_000, **_PLANTED)
        found, promoted = finding.result(), passing.result()
    told = {"strategies": STRATEGIES, "sessions of bars": 2_520, **found}
    judged_ones = max(5, count // 5)
    good = found["screen"].get("hits", 0) >= 0.8 * count and promoted >= 0.8 * judged_ones
    return {**told, "sessions judged": judged_ones, "promoted": promoted}, good
