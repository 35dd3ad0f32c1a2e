"""Which method to write, and what to believe of it: the choice is judged as it is made, out of sample.

A method's weights of one range are applied to the next. The choice is the *simplest method within one
standard error of the best* (Breiman, Friedman, Olshen and Stone (1984), Classification and Regression
Trees, section 3.4.3), where the error is the block bootstrap's own of the best. The rule picks from
several, so its row is not that of the method it picked: it is made again inside each outer training part,
by the same walk-forward, and applied outside.

Outer parts: a walk-forward by years, and combinatorial purged cross-validation, which gives several paths
through the same history; see `research.splits`. Around every test `embargo` sessions are trained on by
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers, sharpe
from research.optimise.methods import CONTROLS, METHODS, LaneRisk, scaled, weights_of
from research.splits.purged import CombinatorialPurgedCV
from research.splits.walk_forward import WalkForward, WindowLength
from research.statistics.bootstrap import sharpe_error

RULE = "rule"


@dataclass(frozen=True, kw_only=True)
class NestedDesign:
    """How methods are judged. Lengths in sessions.

    target      USD of volatility a year to which each method's units are scaled
    first       first training range of the walk-forward; half of what there is where that is less
    year        test range, and by how much it moves on
    groups      of the cross-validation, of which `tested` are tested at a time
    embargo     sessions before and after a test that are not trained on
    resamples   of the bootstrap, and its `seed`

    ConfigError where a length is not positive or an embargo negative.
    """

    target: float
    first: int = 756
    year: int = 252
    groups: int = 10
    tested: int = 2
    embargo: int = 5
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.first, self.year) < 1 or self.embargo < 0:
            raise ConfigError(f"{self}: ranges must be positive and the embargo not negative")

    def walk_forward(self, sessions: Integers) -> WalkForward:
        """Return the walk-forward over `sessions`, int64 (T,): their numbers in the whole history, rising."""
        first = min(self.first, sessions.size // 2)
        spans = [WindowLength(max(1, length), "b") for length in (first, self.year, self.year)]
        walk = WalkForward(train=spans[0], test=spans[1], step=spans[2], anchored=True)
        return walk.on(sessions, sessions + self.embargo)

    def combinations(self, sessions: Integers) -> CombinatorialPurgedCV:
        """Return the cross-validation over `sessions`."""
        end = sessions + self.embargo
        return CombinatorialPurgedCV(self.groups, self.tested, start=sessions, end=end)


@dataclass(frozen=True, kw_only=True)
class MethodChoice:
    """Which method, and why.

    name     the simplest within one standard error of the best
    best     the method with the highest Sharpe ratio
    error    standard error of the best's ratio, per session
    ratios   Sharpe ratio per session of each method that may be chosen, simplest first
    """

    name: str
    best: str
    error: float
    ratios: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class NestedResult:
    """What was chosen, and P&L in USD of each method, control and the rule itself (`RULE`), out of sample.

    choice         of all sessions, by their walk-forward
    sessions       int64 (m,): which sessions the walk-forward tests, rising
    walk_forward   by name: float64 (m,)
    paths          by name: float64 (paths, T) of the cross-validation
    chosen         what the rule took in each outer training part, the walk-forward's first
    """

    choice: MethodChoice
    sessions: Integers
    walk_forward: Mapping[str, Floats]
    paths: Mapping[str, Floats]
    chosen: tuple[str, ...]


def simplest(streams: Mapping[str, Floats], *, resamples: int, seed: int) -> MethodChoice:
    """Return the choice among P&L per session, (T,) each, in the order of simplicity.

    DataError for a stream that does not vary or is not finite.
    """
    ratios = {name: sharpe(stream) for name, stream in streams.items()}
    unknown = [name for name, ratio in ratios.items() if not np.isfinite(ratio)]
    if unknown:
        raise DataError(
            f"method {unknown[0]}: no Sharpe ratio: its P&L is not finite or does not vary; take a "
            "longer range"
        )
    best = max(ratios, key=ratios.__getitem__)
    error = sharpe_error(streams[best], resamples=resamples, seed=seed)
    name = next(name for name, ratio in ratios.items() if ratio >= ratios[best] - error)
    return MethodChoice(name=name, best=best, error=error, ratios=ratios)


def choose(risk: LaneRisk, design: NestedDesign, sessions: Integers | None = None) -> MethodChoice:
    """Return the method that the rule takes of the lanes' P&L, by its walk-forward.

    sessions   int64 (T,): the rows' numbers in the whole history; by default they follow one another

    ConfigError for a range without a test, DataError for a training range that is too short or in which a
    lane does not move.
    """
    numbers = np.arange(risk.pnl.shape[0]) if sessions is None else sessions
    _, streams = _walked(risk, design, numbers)
    return _of_methods(streams, design)


def nested(risk: LaneRisk, design: NestedDesign) -> NestedResult:
    """Return the choice and what it, each method and each control would have earned out of sample.

    Errors as in `choose`.
    """
    numbers = np.arange(risk.pnl.shape[0])
    walked, chosen = [], []
    for train, test in design.walk_forward(numbers).split():
        name, streams = _with_rule(risk, design, train, test)
        chosen.append(name)
        walked.append((test, streams))
    sessions, forward = _joined(walked)
    splitter = design.combinations(numbers)
    tested = []
    for train, test in splitter.split():
        name, streams = _with_rule(risk, design, train, test)
        chosen.append(name)
        tested.append(streams)
    paths = {name: splitter.along_paths([each[name] for each in tested]) for name in forward}
    return NestedResult(
        choice=_of_methods(forward, design),
        sessions=sessions,
        walk_forward=forward,
        paths=paths,
        chosen=tuple(chosen),
    )


def _of_methods(streams: Mapping[str, Floats], design: NestedDesign) -> MethodChoice:
    eligible = {name: streams[name] for name in METHODS}
    return simplest(eligible, resamples=design.resamples, seed=design.seed)


def _with_rule(
    risk: LaneRisk, design: NestedDesign, train: Integers, test: Integers
) -> tuple[str, dict[str, Floats]]:
    """Return what the rule takes of the training part, and P&L of the test with a stream of its own."""
    name = choose(_part(risk, train), design, train).name
    streams = _applied(risk, design, train, test)
    return name, {**streams, RULE: streams[name]}


def _walked(risk: LaneRisk, design: NestedDesign, numbers: Integers) -> tuple[Integers, dict[str, Floats]]:
    splits: Iterator[tuple[Integers, Integers]] = design.walk_forward(numbers).split()
    return _joined([(test, _applied(risk, design, train, test)) for train, test in splits])


def _joined(parts: list[tuple[Integers, dict[str, Floats]]]) -> tuple[Integers, dict[str, Floats]]:
    sessions = np.concatenate([test for test, _ in parts])
    return sessions, {name: np.concatenate([each[name] for _, each in parts]) for name in parts[0][1]}


def _applied(risk: LaneRisk, design: NestedDesign, train: Integers, test: Integers) -> dict[str, Floats]:
    """Return P&L per session of the test, by method and control, with the units that training gives."""
    seen = _part(risk, train)
    return {
        name: risk.pnl[test] @ scaled(weights_of(method, seen), seen.covariance, design.target)
        for name, method in (*METHODS.items(), *CONTROLS.items())
    }


def _part(risk: LaneRisk, rows: Integers) -> LaneRisk:
    factors = None if risk.factors is None else risk.factors[rows]
    return LaneRisk.of(risk.pnl[rows], risk.names, risk.groups, factors, risk.factor_names)
