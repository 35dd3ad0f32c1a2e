"""`FeatureComparison`: the values of two sources side by side, and whether they agree within 5 %."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lockstep.market.history import Market
from lockstep.market.timeframe import Timeframe

TOLERANCE = 0.05
FLOOR = 0.01
ENOUGH = 0.5
RECOMPUTED = "slow formulas"


@dataclass(frozen=True, kw_only=True)
class FeatureComparison:
    """Values of a month beside those of a second source.

    against   file name of the second source, or RECOMPUTED
    bars      open, high, low, close, volume of the month, index `end` (UTC)
    ours, theirs   one column per id, index: ends in the month that either source has, NaN where missing
    widths    per id, the width of its declared range; where that is infinite, the largest size of a value

    Two values agree where they differ by at most 5 % of the larger one; differences up to 1 % of the width
    are always allowed, since percents of a value near 0 mean nothing.
    """

    market: Market
    timeframe: Timeframe
    month: str
    against: str
    bars: pd.DataFrame
    ours: pd.DataFrame
    theirs: pd.DataFrame
    widths: pd.Series

    @property
    def ids(self) -> tuple[str, ...]:
        """The feature ids that were compared."""
        return tuple(self.ours.columns)

    @cached_property
    def allowed(self) -> pd.DataFrame:
        """The largest difference allowed, per end and id."""
        larger = self.ours.abs().combine(self.theirs.abs(), np.fmax)
        return (TOLERANCE * larger).clip(lower=FLOOR * self.widths, axis="columns")

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Whether both sources have a value, per end and id."""
        return self.ours.notna() & self.theirs.notna()

    @cached_property
    def is_outside(self) -> pd.DataFrame:
        """Whether two values do not agree, per end and id; False where one is missing."""
        return self.compared & ((self.ours - self.theirs).abs() > self.allowed)

    @cached_property
    def outside(self) -> pd.DataFrame:
        """Every value out of tolerance: bar, feature, ours, theirs, difference, allowed; by bar."""
        rows, columns = np.nonzero(self.is_outside.to_numpy())
        ours, theirs, allowed = (
            frame.to_numpy()[rows, columns] for frame in (self.ours, self.theirs, self.allowed)
        )
        return pd.DataFrame(
            {
                "bar": [self.labels[row] for row in rows],
                "feature": [self.ids[column] for column in columns],
                "ours": ours,
                "theirs": theirs,
                "difference": ours - theirs,
                "allowed": allowed,
            }
        )

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Per id: bars of the month, compared, outside, missing_ours, missing_theirs."""
        return pd.DataFrame(
            {
                "bars": len(self.ours),
                "compared": self.compared.sum(),
                "outside": self.is_outside.sum(),
                "missing_ours": self.ours.isna().sum(),
                "missing_theirs": self.theirs.isna().sum(),
            }
        )

    @property
    def passed(self) -> bool:
        """Whether no value is out of tolerance and, per id, at least half of the bars were compared."""
        counts = self.counts
        return bool((counts["outside"] == 0).all() and (counts["compared"] >= ENOUGH * counts["bars"]).all())

    @property
    def verdict(self) -> str:
        """The result in one line."""
        counts, name = self.counts, f"{self.market.instrument.symbol} {self.month} against {self.against}"
        if self.passed:
            fewest = int(counts["compared"].min())
            return (
                f"within {TOLERANCE:.0%}: {name}, {', '.join(self.ids)} on {fewest} of {len(self.ours)} bars"
            )
        if len(self.outside):
            first = self.outside.iloc[0]
            return (
                f"not within {TOLERANCE:.0%}: {name}, {len(self.outside)} values; first "
                f"{first['feature']} of {first['bar']}: {first['ours']:.4g} against {first['theirs']:.4g}"
            )
        thin = counts["compared"].idxmin()
        found = f"{thin} could be compared on {counts['compared'].min()} of {len(self.ours)} bars only"
        return f"not confirmed: {name}, {found}"

    @cached_property
    def labels(self) -> list[str]:
        """One label per bar of `ours`: its session date, or its end on the exchange's clock."""
        end = pd.DatetimeIndex(self.ours.index)
        if self.timeframe.is_session:
            dates = self.market.session.dates(end.as_unit("ns").asi8, self.timeframe)
            return [str(date) for date in dates]
        return list(end.tz_convert(self.market.session.template.timezone).strftime("%Y-%m-%d %H:%M"))
