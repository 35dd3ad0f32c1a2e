"""The null replay of an experiment: the whole search again, seed and all, on moved decisions.

In memory, over the test ranges that the search chose on: nothing is stored or counted but the row of the
ledger that says how the search's own result ranks among its replays.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lockstep.errors import ExperimentError
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.config import StrategyConfig
from research.experiments.declaration import search_hash
from research.experiments.evaluation import Data, Evaluator, evaluate
from research.experiments.evolution import evolve
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.selection import Ranked, mean_score, ranking
from research.experiments.service import finished, same_data
from research.experiments.store import Record
from research.experiments.variants import draw, pieces
from research.ledger.append_only import ReplayRow
from research.ledger.spaces import DECLARED
from research.statistics.null_replay import REPLAYS, NullReplay, null_replay, null_shifts
from research.sweep.inputs import Shift
from research.sweep.run import SweepResult, sweep

_PIECE = 10_000
_SEED_DIGITS = 15


class Mover(Protocol):
    """A sweep whose decisions can be moved."""

    def __call__(
        self,
        configs: Sequence[StrategyConfig],
        history: History,
        symbol: str,
        *,
        span: DateRange | None = None,
        jobs: int = -1,
        on_done: Callable[..., None] | None = None,
        shift: Shift | None = None,
    ) -> SweepResult:
        """Return the measures of every configuration."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The replay of an experiment.

    winner         what the search found; p_value: its rank among the replays
    searched       `declared` or `adaptive`: of a declared search it is for display
    """

    winner: Ranked
    searched: str
    found: NullReplay

    @property
    def p_value(self) -> float:
        """(1 + replays that did as well) / (1 + replays)."""
        return self.found.p_value


def replay(
    lab: Lab,
    number: int,
    *,
    replays: int = REPLAYS,
    jobs: int = 1,
    begin: Callable[[int], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
    mover: Mover = sweep,
) -> Replayed:
    """Run the search of a finished experiment again, moved; write the p-value of its winner to the ledger.

    jobs             searches beside each other
    begin, advance   hear how many searches there are, the real one too, and of each that is done

    ExperimentError where running the search again is not all of the search: it was drawn by hand after
    results on the same bars, or it was one of several. Also where code or bars are not those of the search.
    ConfigError where the history is too short.
    """
    record = finished(lab, number)
    searched = _require_replayable(lab, record)
    load = same_data(lab, record)
    data = {symbol: load(symbol) for symbol in record.plan.symbols}
    (winner,) = ranking(lab.store, record, limit=1)
    sessions = min(_sessions(record.plan, each) for each in data.values())
    # The shifts are those of the search: nobody draws them again until they suit him.
    seed = int(search_hash(record)[:_SEED_DIGITS], 16)
    shifts = null_shifts(sessions, replays=replays, seed=seed)
    begin(1 + len(shifts))
    search = functools.partial(objective, record.plan, data, mover=mover)
    found = null_replay(search, shifts, jobs=jobs, advance=advance)
    _require_same_objective(record, winner, found)
    done = Replayed(winner=winner, searched=searched, found=found)
    _write(lab, record, done, data)
    return done


def objective(plan: Plan, data: Mapping[str, Data], shift: int, *, mover: Mover = sweep) -> float:
    """Return the score of the best variant that a search finds on moved decisions; nan where none has one.

    The sessions of the dates that were searched make the circle: train and test see what both saw before.
    """
    moved = Shift(sessions=shift, within=plan.split.searched)
    scores = functools.partial(_scores, plan, data, functools.partial(mover, jobs=1, shift=moved))
    if plan.generations is not None:
        walk = evolve(
            plan.space, generations=plan.generations, children=plan.children, seed=plan.seed, scores=scores
        )
        return walk.score
    found = (score for piece in pieces(plan.numbers, _PIECE) for score in scores(piece).values())
    return max((each for each in found if not math.isnan(each)), default=math.nan)


def _scores(
    plan: Plan, data: Mapping[str, Data], evaluator: Evaluator, numbers: Sequence[int]
) -> dict[int, float]:
    """Return what `selection.scores_of` would read of these variants."""
    drawn = draw(plan.space, sorted(numbers))
    if not drawn.rows.size:
        return {}
    found: dict[int, list[float]] = {int(number): [] for number in drawn.numbers[drawn.rows]}
    for symbol in plan.symbols:
        for window in plan.windows:
            outcome = evaluate(drawn.configs, data[symbol], window.test, evaluator)
            values = outcome.metrics.get(plan.select_by, np.full(drawn.rows.size, np.nan))
            for number, value in zip(found, values.tolist(), strict=True):
                if not math.isnan(value):
                    found[number].append(value)
    return {number: mean_score(values, plan) for number, values in found.items()}


def replay_lines(record: Record, done: Replayed) -> list[str]:
    """Return what a replay says, in sentences."""
    found, by = done.found, record.plan.select_by
    best = sorted(found.objectives)[-1]
    lines = [
        f"experiment {record.id}: the search found a {by} of {found.objective:.3f}; moved against the bars, "
        f"{len(found.objectives)} searches found {statistics.median(found.objectives):.3f} in the median, "
        f"{best:.3f} at best: p = {done.p_value:.3f}"
    ]
    if len(found.objectives) < REPLAYS:
        lines.append(
            f"only {len(found.objectives)} replays: the smallest p-value they can give is "
            f"{1 / (1 + len(found.objectives)):.3f}"
        )
    if done.searched == DECLARED:
        lines.append("the search was declared: its winner is judged by the maximum test, this is for display")
    return lines


def _require_replayable(lab: Lab, record: Record) -> str:
    found = [lab.ledger.searched(record.id, symbol) for symbol in record.plan.symbols]
    for each in found:
        if not each.replayable:
            raise ExperimentError(
                f"experiment {record.id}: {_why(record, each.reason)}; nothing can run that choice again: "
                "register the winner for forward evidence, or search dates that nobody has searched"
            )
    return next((each.kind for each in found if not each.declared), found[0].kind)


def _why(record: Record, reason: str) -> str:
    if record.plan.generations is None:
        return f"{reason}: how it was drawn is part of the search"
    return "other searches or results came before it on these dates, so that it was chosen among several"


def _sessions(plan: Plan, data: Data) -> int:
    key = SeriesKey(data.symbol, plan.strategy.bars)
    bars, market = data.history.series(key), data.history.markets[data.symbol]
    dates = market.session.dates(bars.end, bars.timeframe)
    return int(np.unique(dates[plan.split.searched.rows(dates, bars.source)]).size)


def _require_same_objective(record: Record, winner: Ranked, found: NullReplay) -> None:
    stored = winner.test[record.plan.select_by]
    if stored is None or not math.isclose(stored, found.objective, rel_tol=1e-9, abs_tol=1e-12):
        raise ExperimentError(
            f"experiment {record.id}: the search run again finds {found.objective:.6f} where it found "
            f"{stored}: it is not the same search; search again"
        )


def _write(lab: Lab, record: Record, done: Replayed, data: Mapping[str, Data]) -> None:
    config = record.plan.space.variant(done.winner.variant).config
    assert config is not None
    rows = [
        {
            "experiment_id": record.id,
            "family": each.family,
            "symbol": symbol,
            "search": search_hash(record),
            "config_hash": config.config_hash,
            "replays": len(done.found.objectives),
            "p_value": done.p_value,
            "recorded": lab.now().isoformat(timespec="seconds"),
        }
        for symbol, each in data.items()
    ]
    with lab.database.write() as connection:
        lab.ledger.append(connection, ReplayRow, rows)
