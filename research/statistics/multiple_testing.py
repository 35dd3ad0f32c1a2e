"""Corrections of p-values for the number of tests, from statsmodels.

Use them where only p-values are left of the trials. They know nothing of the trials' correlation; where
returns are at hand the tests in `superior.py` use it and have more power.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.statistics.sharpe import finite

Method = Literal["bonferroni", "holm", "benjamini-hochberg"]
_STATSMODELS: dict[Method, str] = {"bonferroni": "bonferroni", "holm": "holm", "benjamini-hochberg": "fdr_bh"}


def adjusted(p_values: Any, method: Method, *, tests: int | None = None) -> Floats:
    """Return adjusted p-values, float64 (k,), [0, 1], in the order given; reject those <= alpha.

    bonferroni           p x k. Chance of one false rejection <= alpha, under any dependence
    holm                 step-down; the same guarantee, never less power.
                         Holm (1979), Scandinavian Journal of Statistics 6, 65-70
    benjamini-hochberg   expected share of false among all rejections <= alpha, for independent or positively
                         dependent tests. Benjamini and Hochberg (1995), JRSS B 57, 289-300

    `tests` is the number of tests really made where only the k best p-values were kept (the ledger knows it);
    the others count as p = 1, which is conservative. DataError for a p-value that is nan or outside [0, 1],
    ConfigError for an unknown method or `tests` below k.
    """
    from statsmodels.stats.multitest import multipletests

    if method not in get_args(Method):
        raise ConfigError(f"correction {method!r}: known are {', '.join(get_args(Method))}")
    values = finite(p_values, "p-values")
    if values.min() < 0 or values.max() > 1:
        raise DataError(f"p-values from {values.min()} to {values.max()}: must lie in [0, 1]")
    number = values.size if tests is None else tests
    if number < values.size:
        raise ConfigError(f"tests {number}: below the {values.size} p-values given; count all that were made")
    padded = np.concatenate((values, np.ones(number - values.size)))
    result = multipletests(padded, method=_STATSMODELS[method])[1]
    return np.asarray(result, dtype=np.float64)[: values.size]
