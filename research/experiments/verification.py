"""Winners once more, in Backtrader: what is shown as a result is what the engine that trades would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select

from lockstep.errors import EngineMismatch, ExperimentError
from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from research.experiments.account_store import wanted
from research.experiments.accounts import Leg, backtrader_course, timing_measures
from research.experiments.evaluation import Data
from research.experiments.selection import Ranked, chosen_by_window, ranking
from research.experiments.store import Record, Store
from research.ledger.shares import spent_on
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


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The best variants of a search by the measure `by`, best first, and what each window of it chose.

    chosen   by window of a walk-forward, None where it chose nothing; empty for one split
    """

    by: str
    ranked: Sequence[Ranked]
    chosen: Sequence[Ranked | None]


def selected(store: Store, record: Record, *, by: str | None = None, top: int | None = None) -> Selected:
    """Return the `top` best variants, as many as the plan says by default, and the choices of its windows."""
    return Selected(
        by=by or record.plan.select_by,
        ranked=ranking(store, record, by=by, limit=top or record.plan.top),
        chosen=chosen_by_window(store, record, by=by) if len(record.plan.windows) > 1 else (),
    )


def winners(record: Record, best: Selected) -> list[RunKey]:
    """Return the runs of the best variants, and of those that each window of a walk-forward chose."""
    symbols, windows = record.plan.symbols, range(len(record.plan.windows))
    found = [
        RunKey(symbol, window, each.variant)
        for each in best.ranked
        for symbol in symbols
        for window in windows
    ]
    found += [
        RunKey(symbol, window, each.variant)
        for window, each in enumerate(best.chosen)
        if each is not None
        for symbol in symbols
    ]
    return list(dict.fromkeys(found))


def shown_accounts(record: Record, best: Selected) -> dict[str, list[Leg]]:
    """Return the accounts that a result shows: of the best variants, and of a walk-forward's own choices."""
    chosen = [None if each is None else each.variant for each in best.chosen]
    return wanted(record, [each.variant for each in best.ranked], chosen, best.by)


@spent_on("verification")
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
