"""How much time a run covers, and by what its measures are annualised.

Rows are not time: a file without 2019 and 2020 has two years fewer rows, and its account had two years more.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.errors import DataError
from lockstep.metrics.arrays import Dates

SESSIONS_PER_YEAR = 252.0

_DAYS_PER_YEAR = 365.25
# Holidays move a year's sessions by a few, and a short run by a part of a week.
_SLACK = 5.0
_SLACK_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Annual:
    """The time scale of a run.

    periods            returns in the run
    years              >= 0: the calendar time it covers
    nominal            periods per year of this market
    periods_per_year   scale of ratios and volatility: `nominal`, or periods / years if the run
                       has more or fewer periods than its years should contain

    >>> from lockstep.metrics import annual
    >>> annual(504, years=2.0).periods_per_year
    252.0
    >>> annual(251, years=2.0).periods_per_year  # half of the sessions are missing
    125.5
    """

    periods: int
    years: float
    nominal: float
    periods_per_year: float

    @property
    def is_regular(self) -> bool:
        """Whether the run has about as many periods as its years should have."""
        return self.periods_per_year == self.nominal

    @property
    def expected(self) -> float:
        """Periods that the years should have."""
        return self.years * self.nominal


def calendar_years(dates: Dates, nominal: float = SESSIONS_PER_YEAR) -> float:
    """Return the years from before the first to the last of `dates`, datetime64[D] (n,), never falling.

    (last - first) / 365.25 days, and one period, since a run begins one period before its first date is over.
    0 without dates. DataError where the last date is before the first.
    """
    if not dates.size:
        return 0.0
    days = int((dates[-1].astype("datetime64[D]") - dates[0].astype("datetime64[D]")).astype(int))
    if days < 0:
        raise DataError(f"dates from {dates[0]} to {dates[-1]}: must not fall; sort the periods by time")
    return days / _DAYS_PER_YEAR + 1.0 / nominal


def annual(periods: int, nominal: float = SESSIONS_PER_YEAR, *, years: float | None = None) -> Annual:
    """Return the time scale of `periods` returns; `years` None: as many as the nominal year says.

    Ratios keep the market's usual factor, 252, while the number of periods is within 5 % or 5 periods of what
    the years should have: holidays differ, and results would not compare. Otherwise periods are missing, or
    the market has others than was declared, and the observed frequency is used.
    """
    if years is None:
        years = periods / nominal
    expected = years * nominal
    is_regular = abs(periods - expected) <= max(_SLACK, _SLACK_SHARE * expected)
    return Annual(
        periods=periods,
        years=years,
        nominal=nominal,
        periods_per_year=nominal if is_regular or not years else periods / years,
    )
