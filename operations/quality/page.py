"""The page of a check: the score, a calendar of what is there, every finding, and the history of checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.market.bars import Bars, Floats
from lockstep.market.quality.agreement import Agreement
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.coverage import Coverage, calendar_coverage
from lockstep.market.quality.finding import Finding, listed
from lockstep.market.quality.report import WEIGHTS, QualityReport
from lockstep.market.sessions import Dates, Session
from research.ledger.quality import CheckedSeries
from research.report import page
from research.report.page import Shade, Tile, count, percent
from research.report.theme import (
    BAR,
    FAINT,
    GAIN,
    GAIN_RGB,
    LOSS,
    LOSS_RGB,
    axis,
    figure,
    level,
    time_axis,
    titled,
)

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ROW_PIXELS, _FRAME_PIXELS, _LEAST_PIXELS = 9, 90, 240
_HEIGHT = 260
# From red over pale to green; what lacks a tenth is no longer pale.
_SCALE = [[0.0, LOSS], [0.9, FAINT], [1.0, GAIN]]
_PLACES = 3
_WHOLE = 0.99  # of the usual bars of a month: what lacks no more is not worth a look
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOTES = (
    "The score is the share of the sessions, in percent, that no warning is about. A session that several "
    "warnings are about counts once, by the gravest; notes do not count.",
    "A finding says that something is unusual, not which side is wrong: an early end is a file that is cut "
    "off, or an early close that the calendar does not know.",
    "Coverage is measured against the bars that most sessions of the same hours have: minutes in which "
    "hardly anybody trades are not missed.",
)


@dataclass(frozen=True, kw_only=True)
class QualityPage:
    """What a page shows.

    file      name of the file and what its source declares, in words; troubles: of the file as a whole
    history   checks that were recorded before, oldest first; revised: what was revised since the last of them
    compared  with another source
    """

    report: QualityReport
    bars: Bars
    session: Session
    file: str
    troubles: Sequence[str] = ()
    history: Sequence[CheckedSeries] = ()
    revised: Finding | None = None
    compared: Agreement | None = None

    def write(self, path: Path, *, shared_js: Path | None = None) -> Path:
        """Write the page in one step and return its path; equal checks give equal bytes."""
        title = f"Quality of {self.report.symbol} {self.report.timeframe}"
        return page.write_page(path, title, self.body(), shared_js=shared_js)

    def body(self) -> Markup:
        """Return the body of the page."""
        found = self.report
        case = QualityCase(bars=self.bars, session=self.session)
        days, share = calendar_coverage(case)
        head = page.header(
            f"Quality of {found.symbol}",
            f"{found.timeframe} bars, {found.first} to {found.last}",
            (self.file, f"session {self.session.template.name}"),
            lead=f"{found.shown_score} of 100",
            lead_class="" if found.warnings else "good",
            verdict=_verdict(found),
            is_loss=bool(found.warnings),
        )
        caveats = [*self.troubles, *([] if self.revised is None else [_sentence(self.revised)])]
        cards = [
            page.card("Findings", _findings(found), classes="wide"),
            page.card(
                "Coverage by session", page.figure_block("coverage", calendar_figure(days, share)),
                caption="The share of its usual bars that each session has; empty where no session is.",
                classes="wide",
            ),
            page.card("Coverage by month", _months(days, share), classes="wide"),
            *self._minutes(case),
            *self._against(),
            *self._history(),
            page.card("How to read it", page.notes(_NOTES), classes="wide"),
        ]  # fmt: skip
        return page.joined(
            head,
            page.caveats("Before you use these bars", caveats),
            page.key_figures(self._tiles(share)),
            page.grid(cards),
        )

    def _tiles(self, share: Floats) -> Iterator[Tile]:
        found = self.report
        warned, notes = found.warnings, len(found.findings) - found.warnings
        yield Tile("Score", found.shown_score, "of 100", found.score < 100.0)
        yield Tile("Sessions", count(found.sessions), "of the calendar or with bars")
        yield Tile("Bars", count(found.bars), found.timeframe)
        yield Tile("Coverage", percent(float(np.nanmean(share)), 2), "of the usual bars, mean of sessions")
        yield Tile("Warnings", count(warned), f"beside {count(notes)} notes, which cost nothing", warned > 0)

    def _minutes(self, case: QualityCase) -> Iterator[Markup]:
        if case.bars.timeframe.is_session:
            return
        drawn = minutes_figure(case)
        caption = "How many of the sessions that trade then have a bar, by the time of day."
        yield page.card(
            "Coverage by time of day", page.figure_block("minutes", drawn), caption=caption, classes="wide"
        )

    def _against(self) -> Iterator[Markup]:
        found = self.compared
        if found is None:
            return
        rows = [
            ("Common bars", "in the time that both cover", count(found.common)),
            ("Equal", "all four prices to the tick", percent(found.equal, 2)),
            ("Equal closes", "to the tick", percent(found.equal_close, 2)),
            ("Equal volumes", "", percent(found.equal_volume, 2)),
            ("Only here", "bars that the other does not have", count(found.only_here)),
            ("Only there", "bars that are missing here", count(found.only_there)),
        ]
        said = [_sentence(each) for each in found.findings]
        content = page.joined(page.facts_table(rows), *([page.notes(said)] if said else []))
        yield page.card(f"Compared with {found.other}", content, classes="wide")

    def _history(self) -> Iterator[Markup]:
        if not self.history:
            return
        rows = [
            (
                each.recorded[:16].replace("T", " "), each.shown_score, count(each.warnings),
                count(each.digest.bars), page.prose(each.revised or page.UNDEFINED),
            )
            for each in reversed(self.history)
        ]  # fmt: skip
        head = ("checked, UTC", "score", "warnings", "bars", page.prose("history that changed"))
        pieces = [page.table(head, rows)]
        if len(self.history) > 1:
            pieces.insert(0, page.figure_block("scores", scores_figure(self.history)))
        yield page.card("Checks before", page.joined(*pieces), classes="wide")


def _verdict(found: QualityReport) -> str:
    if not found.findings:
        return "Nothing suspicious."
    if not found.warnings:
        return "Nothing that may make results wrong."
    warnings = [each for each in found.findings if each.severity == "warning"]
    grave = max(warnings, key=lambda each: (WEIGHTS.get(each.kind, 1.0), each.count))
    return _sentence(grave)


def _sentence(finding: Finding) -> str:
    return f"{finding.kind.replace('_', ' ')}: {finding.sentence}."


def _findings(found: QualityReport) -> Markup:
    if not found.findings:
        return page.empty_block("Nothing suspicious.")
    ordered = sorted(found.findings, key=lambda each: each.severity != "warning")
    rows = [
        (
            page.failed(each.kind) if each.severity == "warning" else each.kind,
            count(each.count),
            page.prose(each.sentence),
            page.prose(_places(each)),
        )
        for each in ordered
    ]
    return page.table(("finding", "count", page.prose("what it is"), page.prose("from, to (UTC)")), rows)


def _places(finding: Finding) -> str:
    if not finding.spans:
        return "the whole series" if finding.where == "all" else f"from {finding.where}"
    stamps = [[str(np.datetime64(each, "ns").astype("M8[m]")) for each in span] for span in finding.spans]
    return listed([f"{a.replace('T', ' ')}, {b.replace('T', ' ')}" for a, b in stamps[:_PLACES]], len(stamps))


def calendar_figure(days: Dates, share: Floats) -> go.Figure:
    """Return a calendar: a block of weekdays for each year, newest below, one column a week.

    days   rising; share   of its usual bars that each has, 0 … 1
    """
    years = days.astype("M8[Y]").astype(np.int64) + 1970
    first, last = int(years[0]), int(years[-1])
    weekday = (days.astype(np.int64) + 3) % 7
    width = 5 if int(weekday.max()) < 5 else 7
    start = days.astype("M8[Y]").astype("M8[D]").astype(np.int64)
    week = (days.astype(np.int64) - start + (start + 3) % 7) // 7
    # A row of nothing between two years.
    rows = (years - first) * (width + 1) + weekday
    height = (last - first + 1) * (width + 1) - 1
    cells: list[list[float | None]] = [[None] * 54 for _ in range(height)]
    texts = [[""] * 54 for _ in range(height)]
    for row, column, day, value in zip(rows, week, days, share, strict=True):
        cells[row][column] = round(float(value), 4)
        texts[row][column] = f"{day} {_WEEKDAYS[int((day.astype(np.int64) + 3) % 7)]}"
    drawn = figure(max(_LEAST_PIXELS, _FRAME_PIXELS + _ROW_PIXELS * height))
    drawn.add_heatmap(
        z=cells, text=texts, colorscale=_SCALE, zmin=0.0, zmax=1.0, xgap=1, ygap=1,
        hovertemplate="%{text}: %{z:.1%}<extra></extra>", hoverongaps=False,
        colorbar={"tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
    )  # fmt: skip
    middle = [(year - first) * (width + 1) + (width - 1) / 2 for year in range(first, last + 1)]
    drawn.update_layout(
        xaxis=axis(
            showgrid=False, tickvals=[2 + 52 * each / 12 for each in range(12)], ticktext=list(_MONTHS)
        ),
        yaxis=axis(
            showgrid=False, autorange="reversed", tickvals=middle,
            ticktext=[str(year) for year in range(first, last + 1)],
        ),
    )  # fmt: skip
    return drawn


def minutes_figure(case: QualityCase) -> go.Figure:
    """Return how many of the sessions that trade at a time of day have a bar then."""
    coverage = Coverage.of(case)
    longest = int(np.argmax(case.rows.closes - case.rows.opens))
    step, opened = case.bars.timeframe.nanoseconds, int(case.rows.opens[longest])
    known = np.flatnonzero(coverage.scheduled > 0)
    share = coverage.present[known] / coverage.scheduled[known]
    hours = (known + 1) * step / 3.6e12
    every = max(int(hours[-1]) // 12, 1)
    marks = np.arange(0, int(hours[-1]) + 1, every)
    clocks = case.session.wall_clock(opened + (marks * 3.6e12).astype(np.int64))
    drawn = figure(_HEIGHT)
    drawn.add_scatter(
        x=[round(float(each), 4) for each in hours], y=[round(min(float(each), 1.0), 4) for each in share],
        mode="lines", line={"color": BAR, "width": 1, "shape": "hv"},
        hovertemplate="%{y:.1%}<extra></extra>",
    )  # fmt: skip
    zone = case.session.template.timezone
    drawn.update_layout(
        xaxis=axis(tickvals=marks.tolist(), ticktext=[each[11:] for each in clocks], title=titled(zone)),
        yaxis=axis(tickformat=".0%", range=[0.0, 1.02]),
        showlegend=False,
    )
    return drawn


def scores_figure(history: Sequence[CheckedSeries]) -> go.Figure:
    """Return the score of each check that was recorded."""
    drawn = figure(_HEIGHT)
    scores = [round(each.score, 4) for each in history]
    drawn.add_scatter(
        x=[each.recorded[:19] for each in history], y=scores, mode="lines+markers", line={"color": BAR},
        hovertemplate="%{y:.2f}<extra></extra>",
    )  # fmt: skip
    low = min(scores)
    drawn.update_layout(
        xaxis=time_axis(), yaxis=axis(range=[max(0.0, low - 0.1 * (100.5 - low)), 100.5]), showlegend=False
    )
    level(drawn, 100.0)
    return drawn


def _months(days: Dates, share: Floats) -> Markup:
    """Return a table of the mean coverage, a row for each year."""
    months = days.astype("M8[M]").astype(np.int64)
    rows = []
    for year in np.unique(months // 12).tolist():
        cells = [_cell(share[months == year * 12 + month]) for month in range(12)]
        of_year = share[months // 12 == year]
        rows.append((str(1970 + year), cells, percent(float(np.nanmean(of_year)), 1)))
    return page.shaded_table(("year", *_MONTHS, "year"), rows)


def _cell(share: Floats) -> Shade | None:
    if not share.size or np.isnan(share).all():
        return None
    mean = float(np.nanmean(share))
    red, green, blue = GAIN_RGB if mean >= _WHOLE else LOSS_RGB
    depth = 0.25 if mean >= _WHOLE else min(0.2 + (1.0 - mean) * 2.0, 0.8)
    return Shade(
        text=percent(mean, 0 if mean in (0.0, 1.0) else 1), red=red, green=green, blue=blue, share=depth
    )
