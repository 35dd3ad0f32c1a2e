"""A report as a page: the pieces of the page kit, filled with a document."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup

from operations.reports.blocks import Block, ChartBlock, NotesBlock, ReportDocument, TableBlock
from research.report import page
from research.report.theme import BAR, GAIN, LOSS, axis, figure, time_axis

_HEIGHT = 260


def report_page(document: ReportDocument) -> Markup:
    """Return the body of a report's page."""
    head = page.header(document.title, document.subtitle, document.facts, lead=document.lead)
    cards = [
        page.card(
            part.title,
            page.joined(*(_piece(block) for block in part.blocks)),
            caption=part.caption,
            classes="wide",
        )
        for part in document.parts
    ]
    caveats = page.caveats("Before you read the numbers", list(document.caveats))
    return page.joined(head, caveats, page.key_figures(document.tiles), page.grid(cards))


def write_report_page(document: ReportDocument, path: Path) -> Path:
    """Write a report's page in one step and return its path; equal documents give equal bytes."""
    return page.write_page(path, f"{document.title}: {document.subtitle}", report_page(document))


def _piece(block: Block) -> Markup:
    match block:
        case TableBlock():
            return _table(block)
        case ChartBlock():
            return _chart(block)
        case NotesBlock():
            return page.notes(block.sentences)


def _table(block: TableBlock) -> Markup:
    if not block.rows:
        return page.empty_block(block.empty)
    rows = [
        tuple(page.prose(cell) if at in block.prose else _cell(cell) for at, cell in enumerate(row))
        for row in block.rows
    ]
    head = tuple(page.prose(cell) if at in block.prose else cell for at, cell in enumerate(block.head))
    return page.table(head, rows)


def _cell(text: str) -> str:
    """Return a number, a loss in its colour; an interval may begin below zero and is no loss."""
    return text if " " in text else page.coloured(text)


def _chart(block: ChartBlock) -> Markup:
    if block.is_empty:
        return page.empty_block(block.empty)
    drawn = figure(
        _HEIGHT, xaxis=time_axis() if block.kind == "line" else axis(type="category", showgrid=False)
    )
    drawn.update_layout(showlegend=True, yaxis=axis(tickformat=".2~%" if block.percent else ""))
    pattern = "%{y:.2%}" if block.percent else "%{y:,.2f}"
    for line, colour in zip(block.lines, (GAIN, BAR), strict=False):
        shown = LOSS if block.name == "drawdown" else colour
        values, places = list(line.values), list(block.places)
        if block.kind == "line":
            trace: go.Scatter | go.Bar = go.Scatter(
                x=places, y=values, name=page.plain(line.name), mode="lines",
                line={"color": shown, "width": 1.6}, hovertemplate=pattern,
            )  # fmt: skip
        else:
            trace = go.Bar(
                x=places, y=values, name=page.plain(line.name), marker={"color": shown}, hovertemplate=pattern
            )
        drawn.add_trace(trace)
    return page.figure_block(f"report-{block.name}", drawn)
