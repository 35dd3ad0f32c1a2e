"""Years of nights through the product's command: noise, searched freshly or by looking, and planted edges.

Beside the nights, their rules alone are asked on what the nights found: who is registered in which night at
which weight, and in which session forward evidence decides. Both must say the same, to the last registration.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import LockstepError
from lockstep.metrics import Floats, Integers
from lockstep.monitoring.eprocess import FULL, PER_YEAR, PILOT, SESSIONS, first_reached
from operations.nightly.config import NightlyConfig
from operations.nightly.steps.register import NightWinner, WeighedWinner
from research.ledger.candidates import FULL_SIZE, PILOTED, ForwardCandidate, sessions_of
from simulation.factory import FIRST, LAST, YEAR, Factory, space
from simulation.forward import NIGHTS, Rule, registrations
from simulation.markets import market, sharpe_after
from simulation.nights import CONFIG, SIZES
from simulation.rates import FORWARD_POWER, WITHIN, bound

SYMBOL = "NQ"
PER_NIGHT, CHILDREN = 20, 12
NOTHING_NEW = {"most_per_night": 0}
ALLOWED = {PILOTED: PILOT, FULL_SIZE: FULL}


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Who was registered, (night, name) in order, and the sessions in which events came, by name and kind."""

    registered: tuple[tuple[date, str], ...]
    promoted: Mapping[tuple[str, str], date]


@dataclass(frozen=True, kw_only=True)
class LivedYear:
    """A year that was lived; `winners`: by night, what its search found, None where it found nothing."""

    factory: Factory
    nights: Sequence[date]
    winners: Mapping[date, Mapping[str, Any]]
    adaptive: bool
    size: int

    @property
    def decisions(self) -> Decisions:
        """What the product decided."""
        found = self.factory.registered
        return Decisions(
            registered=tuple((_night_of(each), each.name) for each in found),
            promoted={
                (each.name, event.kind): event.session
                for each in found
                for event in each.events
                if event.kind in ALLOWED
            },
        )

    def by_rules(self, **changes: Any) -> Decisions:
        """Return what the rules of the night decide, on what the nights found and the sessions scored."""
        rules = self.factory.rules
        known = [night for night in self.nights if night in self.winners]
        p_values = np.array([_p_value(self.winners[night], rules, self.adaptive) for night in known])
        evaluated = np.array([night.toordinal() for night in known])
        given: dict[str, Any] = {
            "adaptive": self.adaptive, "nights": evaluated.tolist(), "tonight": True,
            "counted": partial(trials_of_parts, size=self.size), "floor": rules["least_history"],
            "gap": rules["days_between"],
        }  # fmt: skip
        rule = Rule(allowed=PILOT, **{**given, **changes})
        pilots = registrations(p_values, evaluated, rule)
        fulls = registrations(p_values, evaluated, replace(rule, allowed=FULL))
        scored = {each.name: self._scored(each) for each in self.factory.registered}
        registered, promoted = [], {}
        for kind, chosen in ((PILOTED, pilots), (FULL_SIZE, fulls)):
            for place, night, history, threshold in chosen:
                name = str(self.winners[known[place]]["name"])
                if kind == PILOTED:
                    registered.append((date.fromordinal(night), name))
                sessions, x = scored.get(name, ([], np.empty(0)))
                at = int(first_reached(history * rule.evidence(x), threshold)) if x.size else -1
                if at >= 0:
                    promoted[name, kind] = sessions[at]
        return Decisions(registered=tuple(registered), promoted=promoted)

    def _scored(self, candidate: ForwardCandidate) -> tuple[list[date], Floats]:
        sessions, x = sessions_of(self.factory.ledger, candidate)
        found: list[date] = sessions.tolist()
        return found, x


def _night_of(candidate: ForwardCandidate) -> date:
    """Return the night of a registration, which is made on the day after its session."""
    return date.fromisoformat(candidate.recorded[:10]) - timedelta(days=1)


def _p_value(winner: Mapping[str, Any], rules: Mapping[str, Any], adaptive: bool) -> float:
    """Return the p-value of a winner's history; 0 where none is asked for, inf where it may not be taken."""
    if winner["trades"] < rules["least_trades"] or winner["searched"] != (
        "adaptive" if adaptive else "declared"
    ):
        return float("inf")
    return 0.0 if adaptive else float(winner["p_value"])


def trials_of_parts(nights: Integers, registered: Sequence[int], now: int, *, size: int) -> Integers:
    """Return K of winners of parts of one declared space, by the night of their first evaluation.

    All that was tried since the registration before it, and of the space whatever the largest part left.
    """
    before = np.array([-1, *sorted(registered)])[np.searchsorted([*sorted(registered)], nights, side="left")]
    tried = np.array([(nights[nights <= now] > each).sum() for each in before])
    return PER_NIGHT * tried + size - PER_NIGHT


def shipped_rules() -> dict[str, Any]:
    """Return the rules of registration that are shipped."""
    return NightlyConfig.load(CONFIG).registrations.model_dump(mode="json")


def lived(
    folder: Path, seed: int, *, learns: bool, nights: int = NIGHTS, rules: Mapping[str, Any] | None = None,
    years_after: int = 3, edge: float = 0.0,
) -> LivedYear:  # fmt: skip
    """Live a year of nights on a market, then one night that catches up on the years after it.

    learns   each night's space lies around the best so far; else each night takes its part of one space
    edge     of the market, see `markets.market`; without one, whoever is promoted is so by mistake
    """
    factory = Factory(
        folder=folder, bars={SYMBOL: market(SYMBOL, FIRST, LAST, seed, edge=edge)},
        rules=rules or shipped_rules(),
    )  # fmt: skip
    first, *days = factory.sessions(YEAR)[: nights + 1]
    search = Learning(seed) if learns else Walking(nights)
    if learns:
        # The first space of all is declared before any result; from then on everything is adaptive.
        factory.night(first, search.tonight(), **NOTHING_NEW)
    winners: dict[date, Mapping[str, Any]] = {}
    for day in days:
        factory.night(day, search.tonight())
        found = winner_of(factory, day)
        if found is not None:
            winners[day] = found
            search.look(found)
    factory.night(factory.sessions(YEAR + years_after)[-1], search.tonight(), **NOTHING_NEW)
    return LivedYear(factory=factory, nights=days, winners=winners, adaptive=learns, size=search.size)


def winner_of(factory: Factory, day: date) -> dict[str, Any] | None:
    """Return the winner of a night's only search with its history, whether or not the night weighed that."""
    (result,) = factory.left("verify", day)["results"]
    if result["variant"] is None:
        return None
    try:
        weighed = WeighedWinner.of(factory.lab, NightWinner.of(result)).plain
    except LockstepError:
        # It hardly trades, so that nobody can say how its results vary.
        return {**result, "searched": "", "p_value": None}
    known = {each["name"]: each for each in factory.left("register", day)["weighed"]}
    assert known.get(weighed["name"], weighed)["p_value"] == weighed["p_value"]
    return {**result, **weighed}


class Walking:
    """One space that is declared before its first result, a part of it in each night."""

    def __init__(self, nights: int) -> None:
        """Declare as many variants as the nights evaluate."""
        self.size = PER_NIGHT * nights
        highs = np.linspace(0.1, 0.9, self.size // 10).round(5).tolist()
        self._space = space(
            "fresh", {"entry.high": highs, "max_bars": [1, 2, 3, 5, 8], "exit.low": [0.6, 0.96]}, PER_NIGHT
        )

    def tonight(self) -> dict[str, Any]:
        """Return the space."""
        return self._space

    def look(self, winner: Mapping[str, Any]) -> None:
        """Learn nothing."""


class Learning:
    """A space of its own in each night, drawn around the best variant so far."""

    size = 0

    def __init__(self, seed: int) -> None:
        """Begin anywhere."""
        self._random = np.random.default_rng((seed, 1))
        self._best: dict[str, float] = {"entry.high": 0.5, "max_bars": 4, "exit.low": 0.7}
        self._sharpe = -np.inf

    def tonight(self) -> dict[str, Any]:
        """Return variants near the best."""
        high, bars, low = (self._best[name] for name in ("entry.high", "max_bars", "exit.low"))
        values = {
            "entry.high": self._near(high, 3), "exit.low": self._near(low, 2),
            "max_bars": sorted({max(1, int(bars) - 1), int(bars) + 1}),
        }  # fmt: skip
        return space("children", values, CHILDREN)

    def _near(self, value: float, count: int) -> list[float]:
        found: list[float] = (
            np.clip(value + self._random.normal(0, 0.05, count), 0.06, 0.94).round(6).tolist()
        )
        return sorted(found)

    def look(self, winner: Mapping[str, Any]) -> None:
        """Remember the winner where it is the best so far."""
        if (winner["test_sharpe"] or -np.inf) > self._sharpe:
            self._sharpe, self._best = winner["test_sharpe"], dict(winner["parameters"])


PLANTED = ("NQ", "ES", "RTY", "EMD", "GC", "SI", "PL", "CL", "ZT", "ZF", "ZN", "ZB")
# A Sharpe ratio of 3 for whoever buys after all closes in the lower half, and of 2.4 after half of them.
EDGE = 0.378


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One registered winner of a market with an edge.

    sharpe     that it truly has; sessions   after its registration until each event, by kind
    """

    sharpe: float
    sessions: Mapping[str, int]

    def within(self, kind: str, years: int) -> bool:
        """Whether an event came within some years."""
        return self.sessions.get(kind, SESSIONS * 99) <= years * SESSIONS

    def stated(self, threshold: int, years: int) -> float:
        """Return the rate of the power table at its Sharpe ratio."""
        known = [FORWARD_POWER[threshold, sharpe][years - 1] for sharpe in range(4)]
        return float(np.interp(self.sharpe, range(4), known))


def planted(folder: Path, seed: int) -> list[Planted]:
    """Let a desk of twelve markets with an edge find and register it; one night then sees three years.

    What is searched is drawn after results, so that history counts for nothing, as in the table.
    """
    bars = {
        symbol: market(symbol, FIRST, f"{YEAR + 2}-12-31", seed * 100 + number, edge=EDGE)
        for number, symbol in enumerate(PLANTED)
    }
    rules = {**shipped_rules(), "days_between": 0, "least_trades": 0, "most_per_night": len(PLANTED)}
    factory = Factory(folder=folder, bars=bars, rules=rules)
    first, second, *_ = factory.sessions(YEAR)
    factory.night(first, space("opening", {"entry.high": [0.2, 0.8], "max_bars": [1]}, 2), **NOTHING_NEW)
    found = space("closes", {"entry.high": [0.3, 0.4, 0.5, 0.6], "max_bars": [1]}, 4)
    factory.night(second, found)
    factory.night(factory.sessions(YEAR + 2)[-1], found, **NOTHING_NEW)
    return [_planted(factory, each) for each in factory.registered]


def _planted(factory: Factory, candidate: ForwardCandidate) -> Planted:
    assert candidate.searched == "adaptive"
    sessions, _ = sessions_of(factory.ledger, candidate)
    days: list[date] = sessions.tolist()
    assert len(days) >= 3 * SESSIONS
    return Planted(
        sharpe=sharpe_after(candidate.content["config"]["entry"][1], EDGE),
        sessions={event.kind: days.index(event.session) + 1 for event in candidate.events},
    )


def off_the_table(found: Sequence[Planted]) -> Iterator[str]:
    """Yield where the share of planted edges that is promoted is not that of the power table."""
    count = len(found)
    for threshold, kind in SIZES.items():
        for years in (1, 2, 3):
            promoted = sum(each.within(kind, years) for each in found)
            # The rates differ from one to another by their Sharpe ratio: a binomial of their mean is wider.
            stated = float(np.mean([each.stated(threshold, years) for each in found]))
            low = count - bound(min(1.0, 1 - stated + WITHIN), count) if kind == PILOTED else 0
            if not low <= promoted <= bound(min(1.0, stated + WITHIN), count):
                yield f"{kind}, {years} years: {promoted} of {count}, {stated:.3f} stated"


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Live `count` years of each search without an edge, and eight desks of twelve planted ones for each."""
    seeds = [seed * 1_000 + number for number in range(count)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        lived_ = {learns: [pool.submit(_year, learns, each) for each in seeds] for learns in (True, False)}
        desks = [pool.submit(_desk, seed * 1_000 + number) for number in range(8 * count)]
        noise, good = dict[str, Any](), True
        for learns, pending in lived_.items():
            years = [each.result() for each in pending]
            registered = sum(each["registered"] for each in years)
            false = {kind: sum(each[kind] for each in years) for kind in ALLOWED}
            most = {kind: bound(allowed / PER_YEAR, registered) for kind, allowed in ALLOWED.items()}
            good &= all(false[kind] <= most[kind] for kind in ALLOWED)
            good &= all(not each["otherwise by the rules"] for each in years)
            name = "adaptive" if learns else "fresh"
            noise[name] = {"years": years, "false promotions": false, "at most": most}
        edges = [candidate for each in desks for candidate in each.result()]
    off = list(off_the_table(edges))
    found = {"nights of a year": NIGHTS, "noise": noise, "planted": _summary(edges), "off the table": off}
    return found, good and not off


def _desk(seed: int) -> list[Planted]:
    with tempfile.TemporaryDirectory() as folder:
        return planted(Path(folder), seed)


def _year(learns: bool, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        year = lived(Path(folder), seed, learns=learns)
        found, by_rules = year.decisions, year.by_rules()
    print(f"seed {seed}: {len(found.registered)} registered, promoted: {found.promoted}", flush=True)
    return {
        "seed": seed, "nights": len(year.nights), "registered": len(found.registered),
        **{kind: sum(each == kind for _, each in found.promoted) for kind in ALLOWED},
        "otherwise by the rules": [] if found == by_rules else [str(found), str(by_rules)],
    }  # fmt: skip


def _summary(found: Sequence[Planted]) -> dict[str, Any]:
    return {
        "candidates": len(found),
        "mean Sharpe ratio": round(float(np.mean([each.sharpe for each in found])), 3),
        **{
            f"{kind}, {years} years": {
                "promoted": sum(each.within(kind, years) for each in found),
                "stated": round(sum(each.stated(threshold, years) for each in found), 1),
            }
            for threshold, kind in SIZES.items()
            for years in (1, 2, 3)
        },
    }  # fmt: skip
