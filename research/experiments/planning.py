"""From files and flags to a `Plan`, and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import Field

from lockstep.errors import ExperimentError
from lockstep.market.dates import DateRange
from lockstep.settings import Settings, validated
from lockstep.strategy.family import family_of, load_strategy
from research.experiments.grid import SELECTABLE, Grid
from research.experiments.paths import require_known
from research.experiments.plan import Plan
from research.experiments.store import Record
from research.ledger.tables import FINISHED
from research.splits.ranges import Split

_FLAGS = {"train": "train", "validation": "test", "holdout": "holdout"}
_ROUND_SAMPLE = 5_000
# Measured on two cores; finished experiments of this database correct them.
_SECONDS_PER_RUN = 3e-5
_BARS_PER_SECOND = 3e8
_TELLING_RUNS = 200


class Choices(Settings):
    """What a command line may say about a search beside its grid file; None where it says nothing.

    dates   `train_start`, `train_end`, `test_start`, `test_end`, `holdout_start`, `holdout_end` -> ISO date
    """

    name: str
    symbols: tuple[str, ...] = ()
    dates: dict[str, str] = Field(default_factory=dict)
    sample: int | None = None
    seed: int = 0
    generations: int | None = None
    children: int = 20
    walk_forward: str | None = None
    anchored: bool = False
    select_by: str | None = None
    data_dir: str | None = None
    source: str | None = None


def make_plan(strategy_path: Path, grid_path: Path, choices: Choices) -> Plan:
    """Return the plan of a search; flags go before the grid file.

    ExperimentError for an unknown parameter path (with the nearest one), a missing range or symbol, an
    impossible sample; ConfigError for anything else that is wrong in the files.
    """
    strategy = load_strategy(strategy_path)
    grid = Grid.load(grid_path, family_of(strategy))
    require_known(grid.parameters, strategy, where=str(grid_path))
    if choices.sample is not None and choices.sample < 1:
        raise ExperimentError(f"--random {choices.sample}: need a positive number of combinations")
    _require_generations(choices)
    symbols = choices.symbols or grid.symbols
    if not symbols:
        raise ExperimentError(f"no symbol: give --symbol COMP, or symbols: [COMP] in {grid_path}")
    content = {
        **choices.model_dump(exclude={"dates", "select_by"}),
        "symbols": tuple(dict.fromkeys(symbols)),
        "strategy": strategy,
        "parameters": dict(grid.parameters),
        "split": _split(grid, choices.dates, grid_path),
        "select_by": choices.select_by or grid.select_by,
        "top": grid.top,
        "limits": grid.limits,
    }
    plan = validated(Plan, content, where=choices.name)
    _ = plan.windows
    return plan


def _require_generations(choices: Choices) -> None:
    for name in ("generations", "children"):
        if (value := getattr(choices, name)) is not None and value < 1:
            raise ExperimentError(f"--{name} {value}: need one or more")


def _split(grid: Grid, dates: Mapping[str, str], where: Path) -> Split:
    ranges: dict[str, DateRange] = {}
    for name, flag in _FLAGS.items():
        declared: DateRange | None = getattr(grid.split, name)
        edges = {
            edge: dates.get(f"{flag}_{edge}") or (getattr(declared, edge) if declared else None)
            for edge in ("start", "end")
        }
        if all(edges.values()):
            ranges[name] = validated(DateRange, edges, where=f"--{flag}-start, --{flag}-end")
        elif any(edges.values()) or name != "holdout":
            raise ExperimentError(
                f"no complete {flag} range: give --{flag}-start and --{flag}-end, or split.{name} in {where}"
            )
    return validated(Split, ranges, where="split")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Runs of a plan, and the seconds that they will take."""

    runs: int
    seconds: float


def estimate(plan: Plan, bars: int, past: Sequence[Record]) -> Estimate:
    """Return how long a plan takes with `bars` bars per variant and symbol, all windows together.

    Finished experiments of `past` tell how this machine differs from the one that was measured.
    """
    factors = [
        each.seconds / _model(each.done, each.bars)
        for each in past
        if each.status == FINISHED and each.done >= _TELLING_RUNS and each.seconds > 0
    ]
    factor = median(factors[-5:]) if factors else 1.0
    cells = plan.variants * len(plan.symbols) * bars
    return Estimate(runs=plan.runs, seconds=factor * _model(plan.runs, cells))


def _model(runs: int, cells: int) -> float:
    return runs * _SECONDS_PER_RUN + cells / _BARS_PER_SECOND


def require_affordable(plan: Plan, found: Estimate, budget: float) -> None:
    """Raise ExperimentError where a search would take longer than `budget` seconds, saying what to do."""
    if found.seconds <= budget:
        return
    fitting = max(1, int(plan.variants * budget / found.seconds))
    size = min(_ROUND_SAMPLE, fitting)
    raise ExperimentError(
        f"{plan.variants:,} combinations, {found.runs:,} runs: about {spoken(found.seconds)}, the budget "
        f"is {spoken(budget)}; sample some with --random {size}, take fewer values, or run it all with --yes"
    )


def spoken(seconds: float) -> str:
    """Return a duration in the largest fitting unit: `8 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, length, least in (("days", 86_400, 2), ("h", 3_600, 2), ("min", 60, 2)):
        if seconds >= least * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def require_selectable(by: str | None) -> None:
    """Raise ExperimentError unless variants can be selected by the measure."""
    if by is not None and by not in SELECTABLE:
        raise ExperimentError(f"--select-by {by}: choose one of {', '.join(SELECTABLE)}")
