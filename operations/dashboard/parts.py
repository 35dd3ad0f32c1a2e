"""What the pages share: the monitor's report, cards for what is absent, bounded lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.errors import LockstepError
from lockstep.metrics.arrays import Floats
from operations.dashboard.page import DashboardSources
from operations.dashboard.words import ago, minute
from research.report import page
from research.report.thinning import thin

if TYPE_CHECKING:
    from operations.watch.report import MonitorReport

MOST_POINTS = 2_000
_NOT_WATCHED = (
    "This desk is not watched: it has no monitoring.yml. Write one and run `lockstep monitor run`; "
    "docs/monitoring.md says how."
)


def watched(sources: DashboardSources) -> MonitorReport | str:
    """Return what the monitor of the desk knows, or one sentence why there is nothing to know."""
    if sources.monitoring is None:
        return _NOT_WATCHED
    # Imported here: the backtest beside the desk belongs to it, and a server should start at once.
    from operations.watch.report import read_report

    try:
        return read_report(sources.monitoring.database)
    except LockstepError as error:
        return str(error)
    except (KeyError, TypeError, ValueError) as error:
        return _unreadable(error)


def head(title: str, subtitle: str, report: MonitorReport | str, now: int, *facts: str) -> Markup:
    """Return the header of a page that shows what the monitor knows: up to when, and when it last ran."""
    if isinstance(report, str):
        return page.header(title, subtitle, list(facts))
    known = (
        f"outcomes known up to {minute(report.frontier)} UTC" if report.frontier else "no outcome known yet"
    )
    return page.header(title, subtitle, [known, f"the monitor ran {ago(report.written, now)}", *facts])


def absent(title: str, sentence: str) -> Markup:
    """Return a card that says in words why there is nothing to show."""
    return page.card(title, page.empty_block(sentence), classes="wide")


def parts_of(parts: Mapping[str, Iterable[Markup]]) -> list[Markup]:
    """Return a piece for each part of a page, cards by heading: what did not change is not drawn anew."""
    return [page.grid([page.part(name, cards)], "after") for name, cards in parts.items()]


def guarded(title: str, make: Callable[[], Iterable[Markup]]) -> list[Markup]:
    """Return the cards that `make` yields; where a source cannot be read, one card that says why."""
    try:
        return list(make())
    except LockstepError as error:
        return [absent(title, str(error))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A file that was edited by hand, or written by another release, is a source that cannot be read.
        return [absent(title, _unreadable(error))]


def _unreadable(error: Exception) -> str:
    return f"Cannot be read ({type(error).__name__}: {error}); `lockstep monitor rebuild` makes it again."


def times(stamps: Iterable[int]) -> list[str]:
    """Return moments, UTC ns, as texts for a time axis, to the second."""
    texts: list[str] = (
        np.array(list(stamps), dtype="datetime64[ns]").astype("datetime64[s]").astype(str).tolist()
    )
    return texts


def thinned_rows(
    rows: Sequence[Mapping[str, Any]], *columns: str, limit: int = MOST_POINTS
) -> list[Mapping[str, Any]]:
    """Return at most `limit` rows that draw the same lines of some columns, extremes kept."""
    if len(rows) <= limit:
        return list(rows)
    kept = [thin(number(rows, column), limit // len(columns)) for column in columns]
    return [rows[place] for place in np.unique(np.concatenate(kept)).tolist()]


def number(rows: Iterable[Mapping[str, Any]], column: str) -> Floats:
    """Return a column as float64 (n,), NaN where there is nothing."""
    return np.array([math.nan if row[column] is None else row[column] for row in rows], dtype=np.float64)


def drawn_values(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Return values as a figure takes them: rounded, and None where there is no finite number."""
    return [round(float(each), digits) if math.isfinite(each) else None for each in values]


def add_line(
    drawn: go.Figure, x: Sequence[Any], y: Iterable[float], name: str, colour: str, hover: str, **line: Any
) -> None:
    """Add a line to a figure; the name is in the legend and in the hover."""
    drawn.add_scatter(
        x=list(x), y=drawn_values(y), name=name, mode=line.pop("mode", "lines"), yaxis=line.pop("yaxis", "y"),
        line={"color": colour, "width": 1.6, **line}, hovertemplate=hover,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WatchedLane:
    """What trades a lane: its version and the SHA-256 (hex) of its bundle, and since when, UTC ns."""

    lane: str
    version: str
    bundle: str
    since: int


def watched_lanes(sources: DashboardSources) -> list[WatchedLane]:
    """Return what trades each lane now, by name; MonitorError where the database cannot be read."""
    newest = {row["lane"]: row for row in monitor_rows(sources, "swaps")}
    return [
        WatchedLane(lane=lane, version=row["version"], bundle=row["bundle"], since=row["stamp"])
        for lane, row in sorted(newest.items())
    ]


def monitor_rows(
    sources: DashboardSources, table: str, where: str = "", *parameters: Any
) -> list[dict[str, Any]]:
    """Return rows of a table of the monitor's database, as `MonitorDatabase.rows`; none without one."""
    from operations.watch.database import MonitorDatabase

    if sources.monitoring is None:
        return []
    with MonitorDatabase.open(sources.monitoring.database, readonly=True) as database:
        return database.rows(table, where, *parameters)


def element_id(*words: str) -> str:
    """Return the name of a figure on the page: letters, digits and hyphens.

    >>> element_id("wealth", "ES#fast win_rate")
    'wealth-ES-fast-win-rate'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-")
