"""Winners once more, in Backtrader: what is shown as a result is what the engine that trades would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import select

from lockstep.errors import EngineMismatch, ExperimentError
from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from research.experiments.account_store import wanted
from research.experiments.accounts import Leg, backtrader_course, timing_measures
from research.experiments.evaluation import Data
from research.experiments.selection import chosen_by_window, ranking
from research.experiments.store import Record, Store
from research.ledger.tables import PARTS, ExperimentRun

_COMPARED = ("trades", "net_profit")


class RunKey(NamedTuple):
    """Names one run of an experiment."""

    symbol: str
    window: int
    variant: int


Backtest = Callable[[StrategyConfig, Data, DateRange], Mapping[str, float]]


def backtrader(config: StrategyConfig, data: Data, span: DateRange) -> Mapping[str, float]:
    """Return the measures of a run of the real engine, those of its timing among them."""
    course = backtrader_course(config, data, span)
    return {**course.metrics, **timing_measures([course], course.day, data)}


def winners(store: Store, record: Record, *, by: str | None = None, top: int | None = None) -> list[RunKey]:
    """Return the runs of the best variants, and of those that each window of a walk-forward chose."""
    plan = record.plan
    best = ranking(store, record, by=by, limit=top or plan.top)
    found = [
        RunKey(symbol, window, each.variant)
        for each in best
        for symbol in plan.symbols
        for window in range(len(plan.windows))
    ]
    if len(plan.windows) > 1:
        chosen = enumerate(chosen_by_window(store, record, by=by))
        found += [
            RunKey(symbol, window, each.variant)
            for window, each in chosen
            if each is not None
            for symbol in plan.symbols
        ]
    return list(dict.fromkeys(found))


def shown_accounts(
    store: Store, record: Record, *, by: str | None = None, top: int | None = None
) -> dict[str, list[Leg]]:
    """Return the accounts that a result shows: of the best variants, and of a walk-forward's own choices."""
    plan = record.plan
    best = [each.variant for each in ranking(store, record, by=by, limit=top or plan.top)]
    chosen = chosen_by_window(store, record, by=by) if len(plan.windows) > 1 else []
    variants = [None if each is None else each.variant for each in chosen]
    return wanted(record, best, variants, by or plan.select_by)


def verify(
    store: Store,
    record: Record,
    keys: Iterable[RunKey],
    data: Callable[[str], Data],
    *,
    backtest: Backtest = backtrader,
    advance: Callable[[], None] | None = None,
) -> None:
    """Run each of `keys` in Backtrader, unless that was done; EngineMismatch at the first difference.

    Trades and net profit must be equal, bit for bit, on both ranges.
    """
    for key in keys:
        row = _stored(store, record, key)
        if not row["verified"]:
            _compare(record, key, row, data(key.symbol), backtest)
            store.mark_verified(record.id, *key)
        if advance is not None:
            advance()


def _compare(record: Record, key: RunKey, row: Any, data: Data, backtest: Backtest) -> None:
    config = record.plan.space.variant(key.variant).config
    if config is None:
        raise ExperimentError(f"experiment {record.id}: variant {key.variant} has no valid configuration")
    window = record.plan.windows[key.window]
    for part in PARTS:
        dates = window.train if part == "train" else window.test
        found = backtest(config, data, dates)
        for name in _COMPARED:
            kept = row[f"{part}_{name}"]
            if kept != found[name]:
                raise EngineMismatch(
                    f"experiment {record.id}, variant {key.variant} on {key.symbol}, {dates}: {name} is "
                    f"{kept!r} in the sweep and {found[name]!r} in Backtrader; do not use this experiment, "
                    "report the variant"
                )


def _stored(store: Store, record: Record, key: RunKey) -> Any:
    columns = [ExperimentRun.__table__.c[f"{part}_{name}"] for part in PARTS for name in _COMPARED]
    this = (
        ExperimentRun.symbol == key.symbol,
        ExperimentRun.window_number == key.window,
        ExperimentRun.variant == key.variant,
    )
    with store.database.read() as connection:
        row = connection.execute(
            select(ExperimentRun.verified, *columns).where(ExperimentRun.experiment_id == record.id, *this)
        ).one()
    return row._mapping
