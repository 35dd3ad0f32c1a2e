"""Sample weights by uniqueness: trades that share their bars with others teach less.

Source: López de Prado (2018), Advances in Financial Machine Learning, sections 4.2-4.4: the concurrency of a
bar is the number of labels open on it, the uniqueness of a label the mean of 1 / concurrency over its bars.
"""

from __future__ import annotations

import numpy as np

from lockstep.metrics import Floats, Integers


def concurrency(first: Integers, last: Integers) -> Integers:
    """Return how many of the label spans cover each bar, int64 (bars,), from bar 0 to the last end.

    first, last   int64 (n,): first and last bar of each label, both included, first <= last
    """
    if not first.size:
        return np.zeros(0, dtype=np.int64)
    change = np.zeros(int(last.max()) + 2, dtype=np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last + 1, -1)
    return np.cumsum(change)[:-1]


def average_uniqueness(first: Integers, last: Integers) -> Floats:
    """Return the average uniqueness of each label, float64 (n,), above 0 and at most 1; see `concurrency`."""
    counts = concurrency(first, last)
    share = np.divide(1.0, counts, out=np.zeros(counts.size), where=counts > 0)
    total = np.concatenate(([0.0], np.cumsum(share)))
    open_share: Floats = total[last + 1] - total[first]
    return open_share / (last - first + 1)


def uniqueness_weights(first: Integers, last: Integers) -> Floats:
    """Return the average uniqueness divided by its mean, float64 (n,), mean 1."""
    weights = average_uniqueness(first, last)
    return weights / weights.mean() if weights.size else weights
