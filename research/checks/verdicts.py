"""What the look-ahead check found, and its verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.errors import LookaheadError
from lockstep.market.history import SeriesKey


def clock(stamp: int) -> str:
    """Return UTC nanoseconds as `2018-12-03 21:00Z`."""
    return f"{np.datetime_as_string(np.datetime64(stamp, 'ns'), unit='m')}Z".replace("T", " ")


@dataclass(frozen=True, kw_only=True)
class LookaheadFinding:
    """Something known at a bar that follows from later ones.

    what    a feature id, a part of the decision, or a series
    stamp   end of the first bar concerned, UTC nanoseconds
    cut     end of the last bar left as it was; None where no cut was needed to see it
    """

    what: str
    stamp: int
    cut: int | None
    cause: str

    def __str__(self) -> str:
        behind = "" if self.cut is None else f" (cut at {clock(self.cut)})"
        return f"{self.what} at {clock(self.stamp)}: {self.cause}{behind}"


@dataclass(frozen=True, kw_only=True)
class LookaheadReport:
    """The result of a look-ahead check.

    ids        feature ids that were checked
    cuts       ends of the bars behind which the history was changed, rising
    findings   the first bar of everything that moved: series, then features, then decisions; each by bar
    """

    traded: SeriesKey
    bars: int
    seed: int
    ids: tuple[str, ...]
    cuts: tuple[int, ...]
    findings: tuple[LookaheadFinding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing before a cut moved."""
        return not self.findings

    @property
    def verdict(self) -> str:
        """One line: that nothing moved, or the first finding."""
        if self.passed:
            count = len(self.ids)
            return f"no look-ahead: {count} features and all decisions unchanged at {len(self.cuts)} cuts"
        return f"look-ahead: {self.findings[0]}"

    def _repr_html_(self) -> str:
        from research.report import views

        return views.lookahead(self.traded, self.verdict, self.cuts, self.ids, self.findings)

    def require(self) -> None:
        """Raise LookaheadError, with the first finding, unless the check passed."""
        if not self.passed:
            raise LookaheadError(
                f"{self.traded}: {self.verdict}; do not trust any result with it until it is fixed"
            )
