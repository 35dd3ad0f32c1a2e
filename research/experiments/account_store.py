"""Accounts of an experiment in the database: which of them a result shows, traded where missing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import delete, func, insert, select

from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from research.experiments.accounts import TIMING, Engine, Leg, SymbolAccount, legs_of, trade
from research.experiments.evaluation import Data
from research.experiments.kept_returns import Residuals
from research.experiments.store import Record, Store
from research.ledger.shares import spent_on
from research.ledger.tables import METRICS, AccountRow
from research.statistics.sharpe import probabilistic_sharpe

ResidualsBySymbol = Callable[[str], Residuals | None]


def wanted(
    record: Record, ranked: Sequence[int], chosen: Sequence[int | None], by: str
) -> dict[str, list[Leg]]:
    """Return the legs of the accounts that a result shows, by their label.

    ranked   variants, best first; of one split the winner's only, since its runs are accounts already
    chosen   per window of a walk-forward, what its training range chose
    """
    windows = record.plan.windows
    forward = len(windows) > 1
    found = {}
    for variant in ranked[:1]:
        found[_label("train", variant)] = [Leg(variant=variant, dates=windows[0].train)]
    for variant in ranked if forward else ranked[:1]:
        found[_label("test", variant)] = legs_of(windows, [variant] * len(windows))
    if forward:
        found[_chosen(by)] = legs_of(windows, chosen)
    return found


def missing(store: Store, record: Record, labels: Iterable[str]) -> list[str]:
    """Return the labels of accounts that are not kept for every symbol."""
    query = select(AccountRow.label, func.count()).where(AccountRow.experiment_id == record.id)
    with store.database.read() as connection:
        there = {row[0]: row[1] for row in connection.execute(query.group_by(AccountRow.label))}
    return [label for label in labels if there.get(label, 0) < len(record.plan.symbols)]


@spent_on("verification")
def keep(
    store: Store,
    record: Record,
    accounts: Mapping[str, list[Leg]],
    data: Callable[[str], Data],
    engine: Engine,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Trade and keep those of `accounts` (legs by label) that are missing; `advance` hears of each."""

    def config_of(variant: int | None) -> StrategyConfig:
        if variant is None:
            return record.plan.strategy
        config = record.plan.space.variant(variant).config
        assert config is not None
        return config

    for label in missing(store, record, accounts):
        found = [trade(accounts[label], config_of, data(symbol), engine) for symbol in record.plan.symbols]
        with store.database.write() as connection:
            this = (AccountRow.experiment_id == record.id, AccountRow.label == label)
            connection.execute(delete(AccountRow).where(*this))
            for each in found:
                connection.execute(insert(AccountRow).values(**_row(record, label, each)))
        advance()


def of_variant(
    store: Store,
    record: Record,
    variant: int,
    part: str = "test",
    *,
    residuals: ResidualsBySymbol | None = None,
) -> dict[str, SymbolAccount]:
    """Return a variant's account by symbol: the test windows as one, or for `train` the first training range.

    Empty where a walk-forward was made by an earlier version that kept none. `residuals` are those of all
    variants, by symbol, where somebody has them at hand.
    """
    found = _read(store, record, _label(part, variant))
    if found or (part == "test" and len(record.plan.windows) > 1):
        return found
    return _of_runs(store, record, variant, part, residuals or partial(Residuals.of, store, record))


def of_walk_forward(store: Store, record: Record, by: str) -> dict[str, SymbolAccount]:
    """Return, by symbol, the account in which every window trades what its training range chose."""
    return _read(store, record, _chosen(by))


def kept(store: Store, record: Record) -> list[tuple[str, SymbolAccount]]:
    """Return every account that is kept, with its label, in order of label and symbol."""
    query = select(AccountRow.__table__).where(AccountRow.experiment_id == record.id)
    with store.database.read() as connection:
        rows = connection.execute(query.order_by(AccountRow.label, AccountRow.symbol)).all()
    return [(row.label, _account_of(row)) for row in rows]


def _label(part: str, variant: int) -> str:
    return f"{part} {variant}"


def _chosen(by: str) -> str:
    return f"chosen by {by}"


def _row(record: Record, label: str, account: SymbolAccount) -> dict[str, Any]:
    legs = [[each.variant, each.dates.start.isoformat(), each.dates.end.isoformat()] for each in account.legs]
    metrics = {name: None if math.isnan(value) else value for name, value in account.metrics.items()}
    return {
        "experiment_id": record.id,
        "symbol": account.symbol,
        "label": label,
        "legs": json.dumps(legs),
        "metrics": json.dumps(metrics),
        "capital": account.capital,
        "days": account.days.astype("datetime64[D]").astype(np.int64).tobytes(),
        "equity": account.equity.tobytes(),
    }


def _read(store: Store, record: Record, label: str) -> dict[str, SymbolAccount]:
    query = select(AccountRow.__table__).where(
        AccountRow.experiment_id == record.id, AccountRow.label == label
    )
    with store.database.read() as connection:
        rows = {row.symbol: row for row in connection.execute(query)}
    return {symbol: _account_of(rows[symbol]) for symbol in record.plan.symbols if symbol in rows}


def _account_of(row: Any) -> SymbolAccount:
    legs = [
        Leg(variant=variant, dates=DateRange.model_validate([start, end]))
        for variant, start, end in json.loads(row.legs)
    ]
    metrics = json.loads(row.metrics)
    return SymbolAccount(
        symbol=row.symbol,
        legs=tuple(legs),
        metrics={name: math.nan if value is None else value for name, value in metrics.items()},
        capital=row.capital,
        days=np.frombuffer(row.days, np.int64).astype("datetime64[D]"),
        equity=np.frombuffer(row.equity, np.float64),
    )


def _of_runs(
    store: Store, record: Record, variant: int, part: str, residuals: ResidualsBySymbol
) -> dict[str, SymbolAccount]:
    """Return the accounts of the first window's runs: their measures are kept, their curves are not."""
    columns = [f"{part}_{name}" for name in METRICS]
    runs = store.runs(record.id, "symbol", "window_number", *columns, variant=variant)
    window = record.plan.windows[0]
    leg = Leg(variant=variant, dates=window.train if part == "train" else window.test)
    mine = runs[runs["window_number"] == 0].set_index("symbol")

    def measures(symbol: str) -> dict[str, float]:
        found = dict(zip(METRICS, map(float, mine.loc[symbol, columns]), strict=True))
        return found | (_timing(residuals(symbol), variant, found) if part == "test" else {})

    return {
        symbol: SymbolAccount(
            symbol=symbol,
            legs=(leg,),
            metrics=measures(symbol),
            capital=record.plan.strategy.capital,
            days=np.empty(0, "datetime64[D]"),
            equity=np.empty(0),
        )
        for symbol in record.plan.symbols
        if symbol in mine.index
    }


def _timing(left: Residuals | None, variant: int, measures: Mapping[str, float]) -> dict[str, float]:
    """Return the measures `accounts.TIMING` of a variant's test range; nothing where none were kept."""
    if left is None or variant not in left.variants:
        return {}
    sample = left.sample(variant)
    annual = measures["sharpe"] / measures["sharpe_session"]
    found = (sample.ratio * annual, 1.0 - probabilistic_sharpe(sample), left.exposure(variant))
    return dict(zip(TIMING, found, strict=True))
