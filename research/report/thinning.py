"""Long series thinned for a figure without losing an extreme."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lockstep.metrics.arrays import Floats

POINT_LIMIT = 6_000  # of a figure as wide as the page: twenty years of days, five values to a pixel
NARROW_LIMIT = 1_000  # of one that is half as wide, or a line among several
_KEPT_PER_BUCKET = 4


def thin(values: Floats, limit: int = POINT_LIMIT) -> NDArray[np.intp]:
    """Return rising positions of at most `limit` values that draw the same picture; all if they are few.

    The series is cut into equal stretches; each keeps its first, lowest, highest and last value, so that no
    spike and no drawdown disappears. A plain every-k-th sample would lose them. NaN and infinity are gaps, in
    which no line is drawn: one value of a gap stays between what is kept on its two sides, for which
    stretches are twice as long.

    >>> import numpy as np
    >>> thin(np.array([1.0, 9.0, 1.0, 2.0, 2.0, np.nan, -5.0, 2.0, 2.0, 3.0]), limit=9).tolist()
    [0, 1, 5, 6, 9]
    """
    if values.size <= limit:
        return np.arange(values.size)
    known = np.flatnonzero(np.isfinite(values))
    is_whole = known.size == values.size
    # Between any two values that are kept, and at both ends, may be a gap.
    stretches = limit // _KEPT_PER_BUCKET if is_whole else (limit - 1) // (2 * _KEPT_PER_BUCKET)
    edges = np.searchsorted(known, np.linspace(0, values.size, stretches + 1).astype(np.intp))
    seen = values if is_whole else values[known]
    kept: list[int] = []
    for start, stop in pairwise(edges):
        if start < stop:
            part = seen[start:stop]
            kept += [start, start + int(part.argmin()), start + int(part.argmax()), stop - 1]
    drawn = np.unique(np.array(kept, dtype=np.intp))
    return drawn if is_whole else _with_gaps(known, drawn, values.size)


def _with_gaps(known: NDArray[np.intp], drawn: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return positions of the `drawn` known values, and one of each gap between two of them, or at an end.

    Between two neighbours lie as many unknown values as their positions are further apart than their places
    among the known ones.
    """
    at = np.concatenate(([-1], known[drawn], [count]))
    place = np.concatenate(([-1], drawn, [known.size]))
    has_gap = np.diff(at) > np.diff(place)
    unknown = np.setdiff1d(np.arange(count), known, assume_unique=True)
    # The first unknown value behind a kept one: as many are before it as before the kept one itself.
    before = (at - place)[:-1][has_gap]
    return np.union1d(known[drawn], unknown[before])


def thinning_note(bars: int, limit: int = POINT_LIMIT) -> str:
    """Return the sentence that tells of thinning, or nothing where all bars are drawn."""
    if bars <= limit:
        return ""
    stretches = limit // _KEPT_PER_BUCKET
    return (
        f"Drawn from {bars:,} bars in {stretches:,} stretches, each with its first, lowest, highest and last "
        "value; all figures are computed from every bar."
    )
