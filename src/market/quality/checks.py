"""The registry of checks: a new one is a function of a `QualityCase` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.clock import shifted_clocks
from lockstep.market.quality.coverage import thin_coverage
from lockstep.market.quality.finding import Finding
from lockstep.market.quality.grid import off_grid
from lockstep.market.quality.minutes import odd_minutes
from lockstep.market.quality.prices import odd_prices
from lockstep.market.quality.repeats import (
    copied_bars,
    copied_sessions,
    flat_stretches,
    no_range,
    no_volume,
    stale_opens,
    volume_units,
)
from lockstep.market.quality.schedule import missing_sessions, odd_hours, unknown_sessions


@dataclass(frozen=True, kw_only=True)
class QualityCheck:
    """A check of a series.

    kinds      the findings that it may return
    intraday   whether bars of whole sessions are nothing to it
    """

    find: Callable[[QualityCase], Iterable[Finding]]
    kinds: tuple[str, ...]
    intraday: bool = False


CHECKS: tuple[QualityCheck, ...] = (
    QualityCheck(find=stale_opens, kinds=("stale_open",)),
    QualityCheck(find=flat_stretches, kinds=("flat",)),
    QualityCheck(find=no_volume, kinds=("no_volume", "silent")),
    QualityCheck(find=volume_units, kinds=("volume_unit",)),
    QualityCheck(find=no_range, kinds=("no_range",)),
    QualityCheck(find=copied_bars, kinds=("copied_bar",)),
    QualityCheck(find=copied_sessions, kinds=("copied_session",)),
    QualityCheck(find=missing_sessions, kinds=("missing_session",)),
    QualityCheck(find=unknown_sessions, kinds=("unknown_session",)),
    QualityCheck(find=odd_hours, kinds=("outside", "early_end", "late_start"), intraday=True),
    QualityCheck(find=shifted_clocks, kinds=("shifted_clock",), intraday=True),
    QualityCheck(find=thin_coverage, kinds=("hole", "thin_session", "thin_minute"), intraday=True),
    QualityCheck(find=off_grid, kinds=("off_grid",)),
    QualityCheck(find=odd_prices, kinds=("spike", "jump", "scale")),
    QualityCheck(find=odd_minutes, kinds=("print", "outlier"), intraday=True),
)
"""In the order in which a report names them."""
