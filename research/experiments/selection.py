"""Which variants are best: by their mean over symbols and windows, on the ranges that did not train them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from research.experiments.accounts import SymbolAccount
from research.experiments.plan import Plan
from research.experiments.store import METRIC_COLUMNS, Record, Store
from research.experiments.variants import Parameters, pieces
from research.ledger.tables import METRICS, PARTS, ExperimentRun

_PIECE = 500


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A variant with its score and its accounts.

    train, test   means of its measures over symbols and windows, None where one is undefined: variants are
                  ranked by them, and of a walk-forward they are nobody's account
    verified      whether Backtrader gave the same in every run that the means are of
    accounts      by symbol, all test windows as one account; empty where an earlier version kept none
    same_as       by symbol, the trial of the ledger that did the same before on the training range
    """

    variant: int
    parameters: Parameters
    train: dict[str, float | None]
    test: dict[str, float | None]
    verified: bool
    accounts: Mapping[str, SymbolAccount] = field(default_factory=dict)
    same_as: Mapping[str, int] = field(default_factory=dict)

    @property
    def repeats(self) -> str:
        """Which trials did the same before: `same as #123`, of several symbols with each; '' for none."""
        named = [
            f"#{trial}{f' on {symbol}' if len(self.accounts) > 1 else ''}"
            for symbol, trial in self.same_as.items()
        ]
        return f"same as {', '.join(named)}" if named else ""

    def figure(self, name: str) -> float:
        """Return a measure of the test account, the mean over those of several symbols; nan without."""
        found = [each.metrics[name] for each in self.accounts.values()]
        return sum(found) / len(found) if found else math.nan


def ranking(
    store: Store,
    record: Record,
    *,
    by: str | None = None,
    limit: int | None = None,
    part: str = "test",
    symbols: Sequence[str] = (),
    windows: Sequence[int] = (),
) -> list[Ranked]:
    """Return the variants whose measure `by` is defined everywhere, best first; equals by their number.

    part      `test`: by the validation range; `train`: by the training range
    symbols, windows   only these; all by default
    """
    chosen_symbols = symbols or record.plan.symbols
    chosen_windows = windows or range(len(record.plan.windows))
    score: ColumnElement[Any] = ExperimentRun.__table__.c[f"{part}_{by or record.plan.select_by}"]
    meant = (
        ExperimentRun.experiment_id == record.id,
        ExperimentRun.symbol.in_(chosen_symbols),
        ExperimentRun.window_number.in_(chosen_windows),
    )
    best = _scores(score, meant, len(chosen_symbols) * len(chosen_windows)).limit(limit).subquery()
    # The other measures of these few only: a search has very many rows, and each of them thirty.
    query = (
        _means()
        .join(best, best.c.variant == ExperimentRun.variant)
        .where(*meant)
        .group_by(ExperimentRun.variant, best.c.score)
        .order_by(best.c.score.desc(), ExperimentRun.variant)
    )
    with store.database.read() as connection:
        rows = connection.execute(query).all()
    return [_ranked(row._mapping) for row in rows]


def scores_of(store: Store, record: Record, numbers: Sequence[int]) -> dict[int, float]:
    """Return the score of variants: the mean of what they are selected by, nan unless defined everywhere."""
    score: ColumnElement[Any] = ExperimentRun.__table__.c[f"test_{record.plan.select_by}"]
    found: dict[int, list[float]] = {number: [] for number in numbers}
    with store.database.read() as connection:
        for piece in pieces(numbers, _PIECE):
            wanted = select(ExperimentRun.variant, score).where(
                ExperimentRun.experiment_id == record.id,
                ExperimentRun.variant.in_(piece),
                score.is_not(None),
            )
            for variant, value in connection.execute(wanted):
                found[variant].append(value)
    return {number: mean_score(values, record.plan) for number, values in found.items()}


def mean_score(values: Sequence[float], plan: Plan) -> float:
    """Return the mean over symbols and windows, the same in any order; nan unless there is one for each."""
    defined = len(values) == len(plan.symbols) * len(plan.windows)
    return math.fsum(values) / len(values) if defined and values else math.nan


def chosen_by_window(store: Store, record: Record, *, by: str | None = None) -> list[Ranked | None]:
    """Return, per window, the variant that is best on its training range; None where none is defined."""
    found = []
    for number in range(len(record.plan.windows)):
        best = ranking(store, record, by=by, limit=1, part="train", windows=[number])
        found.append(best[0] if best else None)
    return found


def _scores(score: ColumnElement[Any], meant: Sequence[ColumnElement[bool]], runs: int) -> Select[Any]:
    """Return the variants whose score is defined in all of so many runs, with its mean, best first."""
    if runs == 1:
        # A mean of one needs no groups.
        query = select(ExperimentRun.variant, score.label("score")).where(*meant, score.is_not(None))
        return query.order_by(score.desc(), ExperimentRun.variant)
    query = select(ExperimentRun.variant, func.avg(score).label("score")).where(*meant)
    query = query.group_by(ExperimentRun.variant).having(func.count(score) == runs)
    return query.order_by(func.avg(score).desc(), ExperimentRun.variant)


def _means() -> Select[Any]:
    measures = [func.avg(ExperimentRun.__table__.c[name]).label(name) for name in METRIC_COLUMNS]
    return select(
        ExperimentRun.variant,
        func.min(ExperimentRun.parameters).label("parameters"),
        func.min(ExperimentRun.verified).label("verified"),
        *measures,
    )


def _ranked(row: Any) -> Ranked:
    train, test = ({name: row[f"{part}_{name}"] for name in METRICS} for part in PARTS)
    return Ranked(
        variant=row["variant"],
        parameters=json.loads(row["parameters"]),
        train=train,
        test=test,
        verified=bool(row["verified"]),
    )
