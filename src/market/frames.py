"""pandas at the edge: arrays to labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lockstep.market.bars import Floats, Stamps

if TYPE_CHECKING:
    import pandas as pd


def labelled_frame(end: Stamps, names: Sequence[str], values: Floats) -> pd.DataFrame:
    """Return float64 (n, k) `values` as a DataFrame: index `end` (UTC), columns `names`."""
    import pandas as pd

    return pd.DataFrame(values, index=pd.DatetimeIndex(end, tz="UTC", name="end"), columns=list(names))
