"""`Margin`: what a broker asks for per contract, as the desk declares it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from lockstep.settings import Settings

_Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Margin(Settings):
    """Margin from a date on, USD per contract.

    since       first session date; it holds until the next entry's
    initial     to open a position; overnight: to keep one
    source      where the numbers are from

    >>> from datetime import date
    >>> desk = Margin(since=date(2024, 1, 2), initial=13_000, overnight=12_000, source="declared by the desk")
    >>> margin_on([desk], 19_800)
    (13000.0, 12000.0)
    """

    since: datetime.date
    initial: _Dollars
    overnight: _Dollars
    source: Annotated[str, Field(min_length=1)]


def margin_on(declared: Sequence[Margin], day: int) -> tuple[float, float]:
    """Return (initial, overnight) USD per contract on a date, days since 1970; NaN before the first entry."""
    date = datetime.date.fromordinal(day + _EPOCH)
    found = [each for each in declared if each.since <= date]
    return (found[-1].initial, found[-1].overnight) if found else (math.nan, math.nan)


_EPOCH = datetime.date(1970, 1, 1).toordinal()
