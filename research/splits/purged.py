"""Cross-validation for samples whose labels reach into the future: purge, embargo, combinations.

A label that is still open when the test begins has seen the test; so has, the other way round, a training
sample that begins before the last test label is known. Both are **purged**. Features look back over a
window, so that even the samples after that carry test bars in them: an **embargo** removes these too.

Sources: López de Prado (2018), Advances in Financial Machine Learning, section 7.4 (purge: 7.4.1,
embargo: 7.4.2, p. 105-109) and section 12.4 (combinatorial paths, p. 163-166).
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, Integers
from research.splits.labels import Labels, Mask

Split = tuple[Integers, Integers]


class _Purged(ABC):
    """A splitter that cuts the ordered samples into groups and tests on some of them."""

    def __init__(self, groups: int, *, start: Any, end: Any, embargo: int) -> None:
        self.labels = Labels.of(start, end)
        if not 2 <= groups <= self.labels.size:
            raise ConfigError(
                f"groups {groups}: must be between 2 and the {self.labels.size} samples; choose fewer"
            )
        if embargo < 0:
            raise ConfigError(f"embargo {embargo}: must not be negative; give it in the unit of the labels")
        self.embargo = int(embargo)
        self.groups: list[Integers] = np.array_split(np.arange(self.labels.size), groups)

    @abstractmethod
    def test_groups(self) -> list[tuple[int, ...]]:
        """Return the numbers of the groups that are tested on, for each split."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits; the arguments are there for scikit-learn and not read."""
        return len(self.test_groups())

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield (train, test) for each split: positions of samples, int64, rising.

        No label interval in `train` overlaps any label interval in `test`, extended by the embargo.
        `X` is read for its length only, `y` and `groups` not at all. DataError where `X` has another
        length than the labels, or where nothing is left to train on.
        """
        self.labels.require_length(X)
        for number, tested in enumerate(self.test_groups()):
            test = np.concatenate([self.groups[group] for group in tested])
            train = np.flatnonzero(self._kept(tested))
            if not train.size:
                raise DataError(
                    f"split {number}: no training sample is left after purging; "
                    "shorten the labels or the embargo, or use fewer groups"
                )
            yield train, test

    def _kept(self, tested: tuple[int, ...]) -> Mask:
        """Return which samples may train, bool (n,).

        One comparison per group is enough: samples are ordered by start, so whatever begins between the
        first start and the last end of a group overlaps the label that ends last.
        """
        kept = np.ones(self.labels.size, dtype=np.bool_)
        for group in tested:
            members = self.groups[group]
            low = int(self.labels.start[members[0]])
            high = int(self.labels.end[members].max()) + self.embargo
            kept &= ~self.labels.overlap(low, high)
        return kept


class PurgedKFold(_Purged):
    """K contiguous folds, each tested once; training samples purged and embargoed. Follows scikit-learn.

    n_splits     folds, from 2 to the number of samples; sizes differ by one at most
    start, end   label intervals, see `Labels`
    embargo      >= 0, in the unit of the labels: how long after the last test label nothing is trained on

    ConfigError for a wrong number or embargo, DataError for wrong labels.
    """

    def __init__(self, n_splits: int = 5, *, start: Any, end: Any, embargo: int = 0) -> None:
        super().__init__(n_splits, start=start, end=end, embargo=embargo)
        self.n_splits = n_splits

    def test_groups(self) -> list[tuple[int, ...]]:
        """Return one group per split, in order."""
        return [(group,) for group in range(self.n_splits)]


class CombinatorialPurgedCV(_Purged):
    """Every choice of `n_test` out of `n_groups` contiguous groups is tested once. Follows scikit-learn.

    C(n_groups, n_test) splits, from which C(n_groups - 1, n_test - 1) complete paths through history are put
    together: (6, 2) gives 15 splits and 5 paths. A path is a backtest of every sample, always by a model that
    was not trained on it; several paths give a distribution of the Sharpe ratio instead of one number.

    Parameters and errors as in `PurgedKFold`; 1 <= n_test < n_groups.
    """

    def __init__(self, n_groups: int = 6, n_test: int = 2, *, start: Any, end: Any, embargo: int = 0) -> None:
        super().__init__(n_groups, start=start, end=end, embargo=embargo)
        if not 1 <= n_test < n_groups:
            raise ConfigError(f"n_test {n_test}: must be at least 1 and below the {n_groups} groups")
        self.n_groups = n_groups
        self.n_test = n_test

    @property
    def n_paths(self) -> int:
        """The number of paths."""
        return math.comb(self.n_groups - 1, self.n_test - 1)

    def test_groups(self) -> list[tuple[int, ...]]:
        """Return the combinations in lexicographic order."""
        return list(itertools.combinations(range(self.n_groups), self.n_test))

    def paths(self) -> Integers:
        """Return which split feeds each path, int64 (n_paths, n_groups).

        Entry [p, g] is the split whose test of group g belongs to path p: the p-th split that tests g.
        """
        feeding: list[list[int]] = [[] for _ in range(self.n_groups)]
        for number, tested in enumerate(self.test_groups()):
            for group in tested:
                feeding[group].append(number)
        return np.array(feeding, dtype=np.int64).T

    def along_paths(self, values: Sequence[Floats]) -> Floats:
        """Return values per path, float64 (n_paths, n), from the values of each split's test samples.

        `values[s]` is float64 (m,), one value (return, prediction) for each test position that split s
        yields, in its order; DataError where the number of splits or a length differs.
        """
        tested = self.test_groups()
        sizes = [sum(self.groups[group].size for group in groups) for groups in tested]
        if [len(part) for part in values] != sizes:
            raise DataError(f"values of {len(values)} splits: need one value per test sample of each split")
        out = np.empty((self.n_paths, self.labels.size))
        for path, feeding in enumerate(self.paths()):
            for group, number in enumerate(feeding):
                before = sum(self.groups[each].size for each in tested[number] if each < group)
                members = self.groups[group]
                out[path, members] = np.asarray(values[number])[before : before + members.size]
        return out
