"""Monthly factors of Fama and French, 1926-07 to 2018-11, as they come inside the wheel of `arch`.

Fama and French, Common Risk Factors in the Returns on Stocks and Bonds, Journal of Financial Economics 33
(1993), pp. 3-56; Kenneth French's data library. Fractions per month, not percent.
"""

from __future__ import annotations

import numpy as np

from lockstep.metrics import Floats
from lockstep.metrics.arrays import Dates
from research.factors.series import FactorMoves

NAMES = ("market", "smb", "hml")
_COLUMNS = ("Mkt-RF", "SMB", "HML")


def french_months() -> tuple[FactorMoves, Floats]:
    """Return the moves of the three factors by month, and the rate of bills, float64 (T,), fractions.

    dates of the moves are the first days of the months, datetime64[D].

    >>> factors, bills = french_months()
    >>> str(factors.dates[0])[:7], str(factors.dates[-1])[:7], factors.moves.shape
    ('1926-07', '2018-11', (1109, 3))
    """
    from arch.data import frenchdata

    frame = frenchdata.load()
    # The wheel's index holds YYYYMM; pandas 3 takes it for nanoseconds since 1970.
    stamps = np.asarray(frame.index.astype("int64"), dtype=np.int64)
    months = ((stamps // 100 - 1970) * 12 + stamps % 100 - 1).astype("datetime64[M]")
    moves = frame[list(_COLUMNS)].to_numpy(dtype=np.float64) / 100.0
    dates: Dates = months.astype("datetime64[D]")
    bills = frame["RF"].to_numpy(dtype=np.float64) / 100.0
    return FactorMoves(dates=dates, moves=moves, names=NAMES, absent={}), bills


def monthly(dates: Dates, returns: Floats) -> tuple[Dates, Floats]:
    """Return months (first days) and sums of daily returns on constant capital, (m,).

    >>> days = np.array(["2018-01-30", "2018-01-31", "2018-02-01"], dtype="datetime64[D]")
    >>> months, sums = monthly(days, np.array([0.01, 0.02, 0.03]))
    >>> months.astype(str).tolist(), sums.round(2).tolist()
    (['2018-01-01', '2018-02-01'], [0.03, 0.03])
    """
    months, place = np.unique(dates.astype("datetime64[M]"), return_inverse=True)
    sums: Floats = np.bincount(place, weights=returns, minlength=months.size).astype(np.float64)
    return months.astype("datetime64[D]"), sums
