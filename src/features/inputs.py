"""The input columns that a feature may name as its arguments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import BAR_COLUMNS
from lockstep.market.sessions import CALENDAR_COLUMNS

Window = NDArray[np.float64]

PAIR_SUFFIX = "_pair"
PAIR_COLUMNS = tuple(name + PAIR_SUFFIX for name in BAR_COLUMNS)
INPUT_COLUMNS = frozenset((*BAR_COLUMNS, *CALENDAR_COLUMNS, *PAIR_COLUMNS))
