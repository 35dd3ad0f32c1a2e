"""What the parameters do: their importance, the measure over their values, the winner's neighbourhood."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.experiments.plan import Plan
from research.experiments.store import Record, Store
from research.experiments.variants import spelled

_MOST_RUNS = 5_000
_LEAST_RUNS = 20
_TREES = 100
_REPEATS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Successful variants with their places on the grid and mean scores over symbols and windows.

    variants   int64 (n,), rising
    places     int64 (n, p): index of the variant's value in the list of each path
    test, train   float64 (n,): means of the measure, NaN left out: every variant here has both
    """

    variants: NDArray[np.int64]
    places: NDArray[np.int64]
    train: Floats
    test: Floats


@dataclass(frozen=True, kw_only=True)
class ParameterImportance:
    """How much of the measure is lost when one parameter is shuffled, by path, most important first.

    explained   R^2 of the forest on runs that it did not see; below about 0.3 the order means little
    """

    drop: dict[str, float]
    spread: dict[str, float]
    explained: float


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """The variants around the winner: one step of one parameter away, or the nearest that were drawn.

    rows    per neighbour (what differs, train score, test score)
    kept    mean test score of the neighbours / the winner's; nan unless the winner's is positive
    """

    winner: float
    rows: tuple[tuple[str, float, float], ...]
    mean: float
    worst: float
    kept: float
    nearest: bool


def scores(store: Store, record: Record, by: str) -> Scores:
    """Return every variant whose measure is defined on all symbols and windows."""
    runs = store.runs(record.id, "variant", f"train_{by}", f"test_{by}")
    whole = len(record.plan.symbols) * len(record.plan.windows)
    grouped = runs.groupby("variant", sort=True)
    complete = grouped.count().min(axis=1) == whole
    means = grouped.mean()[complete]
    variants = means.index.to_numpy(dtype=np.int64)
    return Scores(
        variants=variants,
        places=_places(record.plan, variants),
        train=means[f"train_{by}"].to_numpy(),
        test=means[f"test_{by}"].to_numpy(),
    )


def _places(plan: Plan, variants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the digits of the variants' numbers: the last path varies fastest."""
    sizes = [len(values) for values in plan.parameters.values()]
    places = np.empty((variants.size, len(sizes)), dtype=np.int64)
    rest = variants.copy()
    for column in range(len(sizes) - 1, -1, -1):
        rest, places[:, column] = np.divmod(rest, sizes[column])
    return places


def importance(plan: Plan, found: Scores) -> ParameterImportance | None:
    """Return the permutation importance of a random forest of the test score; None for too few runs.

    Breiman (2001), Random Forests, Machine Learning 45, section 10. At most 5,000 runs are used, evenly
    spaced; a third of them is kept from the forest and shuffled.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    varying = [column for column in range(found.places.shape[1]) if np.ptp(found.places[:, column]) > 0]
    if found.variants.size < _LEAST_RUNS or not varying or np.ptp(found.test) == 0:
        return None
    rows = np.unique(np.linspace(0, found.variants.size - 1, _MOST_RUNS).astype(np.int64))
    rows = np.random.default_rng(0).permutation(rows)
    seen, unseen = rows[rows.size // 3 :], rows[: rows.size // 3]
    x = found.places[:, varying].astype(np.float64)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=3, random_state=0, n_jobs=1)
    forest.fit(x[seen], found.test[seen])
    result = permutation_importance(
        forest, x[unseen], found.test[unseen], n_repeats=_REPEATS, random_state=0, n_jobs=1
    )
    paths = list(plan.parameters)
    order = np.argsort(-result.importances_mean, kind="stable")
    return ParameterImportance(
        drop={paths[varying[each]]: float(result.importances_mean[each]) for each in order},
        spread={paths[varying[each]]: float(result.importances_std[each]) for each in order},
        explained=float(forest.score(x[unseen], found.test[unseen])),
    )


def by_value(plan: Plan, found: Scores, path: str) -> pd.DataFrame:
    """Return, per value of a path, quartiles, mean and best of the test score: rows in the grid's order."""
    column = list(plan.parameters).index(path)
    grouped = pd.Series(found.test).groupby(found.places[:, column])
    frame = grouped.describe()[["count", "mean", "25%", "50%", "75%", "max"]]
    return frame.set_axis(_names(plan, path, frame.index), axis=0)


def by_pair(plan: Plan, found: Scores, first: str, second: str) -> pd.DataFrame:
    """Return the mean test score per pair of values: rows of `first`, columns of `second`, NaN where none."""
    paths = list(plan.parameters)
    rows, columns = (found.places[:, paths.index(path)] for path in (first, second))
    frame = pd.DataFrame({"row": rows, "column": columns, "score": found.test})
    table = frame.pivot_table(index="row", columns="column", values="score", aggfunc="mean")
    return table.set_axis(_names(plan, first, table.index), axis=0).set_axis(
        _names(plan, second, table.columns), axis=1
    )


def _names(plan: Plan, path: str, places: pd.Index) -> pd.Index:
    return pd.Index([spelled(plan.parameters[path][int(place)]) for place in places.tolist()], name=path)


def neighbourhood(plan: Plan, found: Scores, winner: int) -> Neighbourhood:
    """Return the scores around a winner: a peak without a hill around it is luck more often than not."""
    row = int(np.searchsorted(found.variants, winner))
    steps = np.abs(found.places - found.places[row]).sum(axis=1)
    around = np.flatnonzero(steps == 1)
    nearest = not around.size
    if nearest:
        others = np.flatnonzero(steps > 0)
        around = others[np.argsort(steps[others], kind="stable")[: 2 * found.places.shape[1]]]
    score = float(found.test[row])
    mean = float(found.test[around].mean()) if around.size else math.nan
    return Neighbourhood(
        winner=score,
        rows=tuple(
            (
                _difference(plan, found.places[row], found.places[each]),
                float(found.train[each]),
                float(found.test[each]),
            )
            for each in around
        ),
        mean=mean,
        worst=float(found.test[around].min()) if around.size else math.nan,
        kept=mean / score if score > 0 else math.nan,
        nearest=nearest,
    )


def _difference(plan: Plan, one: NDArray[np.int64], other: NDArray[np.int64]) -> str:
    changes = [
        f"{path} {spelled(values[one[column]])} → {spelled(values[other[column]])}"
        for column, (path, values) in enumerate(plan.parameters.items())
        if one[column] != other[column]
    ]
    return ", ".join(changes)
