"""A chart of a report as vector graphics for a PDF: lines or bars, an axis with round numbers, a legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from reportlab.graphics.shapes import Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from operations.reports.blocks import ChartBlock, ChartLine
from research.report.theme import BAR, GAIN, LOSS, MUTED, RULE

_HEIGHT, _SIZE = 130.0, 6.5
_LEFT, _RIGHT, _BOTTOM, _TOP = 34.0, 6.0, 16.0, 14.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_WANTED_TICKS = 4
_MOST_DATES = 6
_BAR_SHARE = 0.8
_MINUS = "\N{MINUS SIGN}"
Height = Callable[[float], float]


def ticks(chart: ChartBlock) -> list[float]:
    """Return the round numbers beside the vertical axis, rising; the first and the last frame all values."""
    low, high = min(chart.known), max(chart.known)
    if chart.kind == "bar":
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span / _WANTED_TICKS))
    step = next(each * size for each in _STEPS if each * size * _WANTED_TICKS >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, max(last, first + 1) + 1)]


def tick_texts(chart: ChartBlock) -> list[str]:
    """Return what stands beside the ticks, with as many digits as tell them apart."""
    found = ticks(chart)
    scale = 100.0 if chart.percent else 1.0
    digits = max(0, -math.floor(math.log10((found[1] - found[0]) * scale) + 1e-9))
    after = "%" if chart.percent else ""
    # A step of 2.5 needs a digit more than its size says.
    if any(abs(each * scale - round(each * scale, digits)) > 1e-9 * scale for each in found):
        digits += 1
    return [_signed(each * scale, digits) + after for each in found]


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    return f"{_MINUS}{text}" if value < 0 and text.strip("0.,") else text


def shown_places(chart: ChartBlock, width: float, font: str) -> list[int]:
    """Return the places whose text stands below the horizontal axis of a chart of so many points."""
    last = len(chart.places) - 1
    if chart.kind == "line":
        days = np.array(chart.places, dtype="datetime64[D]").astype(np.int64)
        wanted = np.linspace(days[0], days[-1], min(_MOST_DATES, len(chart.places)))
        return sorted({0, last, *np.searchsorted(days, wanted[1:-1]).tolist()})
    widest = max(stringWidth(each, font, _SIZE) for each in chart.places) + 4
    every = max(1, math.ceil(widest * len(chart.places) / (width - _LEFT - _RIGHT)))
    return list(range(0, len(chart.places), every))


def axis_texts(chart: ChartBlock, width: float, font: str) -> list[str]:
    """Return every text beside the axes of a chart."""
    return [*tick_texts(chart), *(chart.places[at] for at in shown_places(chart, width, font))]


def chart_drawing(chart: ChartBlock, width: float, font: str) -> Drawing:
    """Return a chart that is so many points wide; `font` is a registered one."""
    drawing = Drawing(width, _HEIGHT)
    marks = ticks(chart)
    low, high = marks[0], marks[-1]

    def height(value: float) -> float:
        return _BOTTOM + (_HEIGHT - _BOTTOM - _TOP) * (value - low) / (high - low)

    for mark, text in zip(marks, tick_texts(chart), strict=True):
        drawing.add(
            Line(
                _LEFT, height(mark), width - _RIGHT, height(mark), strokeColor=HexColor(RULE), strokeWidth=0.5
            )
        )
        drawing.add(_text(_LEFT - 4, height(mark) - _SIZE / 3, text, font, "end"))
    across = _across(chart, width)
    for at in shown_places(chart, width, font):
        anchor = (
            "middle"
            if chart.kind == "bar" or 0 < at < len(chart.places) - 1
            else "start"
            if at == 0
            else "end"
        )
        drawing.add(_text(across[at], _BOTTOM - _SIZE - 3, chart.places[at], font, anchor))
    for number, line in enumerate(chart.lines):
        colour = _colour(chart, number)
        if chart.kind == "line":
            for points in _stretches(line, across, height):
                drawing.add(PolyLine(points, strokeColor=colour, strokeWidth=1.0))
        else:
            _bars(drawing, chart, number, across, height, colour)
    if low < 0.0 < high:
        drawing.add(
            Line(
                _LEFT, height(0.0), width - _RIGHT, height(0.0), strokeColor=HexColor(MUTED), strokeWidth=0.6
            )
        )
    _legend(drawing, chart, font)
    return drawing


def _colour(chart: ChartBlock, number: int) -> Color:
    return HexColor(LOSS if chart.name == "drawdown" else (GAIN, BAR)[number % 2])


def _text(x: float, y: float, text: str, font: str, anchor: str) -> String:
    return String(x, y, text, fontName=font, fontSize=_SIZE, fillColor=HexColor(MUTED), textAnchor=anchor)


def _across(chart: ChartBlock, width: float) -> list[float]:
    """Return where each place is on the horizontal axis."""
    room, count = width - _LEFT - _RIGHT, len(chart.places)
    if chart.kind == "bar":
        return [_LEFT + room * (at + 0.5) / count for at in range(count)]
    # Thinned lines keep more points where more happens: a place is where its date is.
    days = np.array(chart.places, dtype="datetime64[D]").astype(np.int64)
    return [_LEFT + room * share for share in ((days - days[0]) / (days[-1] - days[0])).tolist()]


def _stretches(line: ChartLine, across: Sequence[float], height: Height) -> list[list[float]]:
    """Return the points of a line, one list for each stretch without a gap."""
    found: list[list[float]] = []
    open_stretch = False
    for x, value in zip(across, line.values, strict=True):
        if value is None:
            open_stretch = False
            continue
        if not open_stretch:
            found.append([])
            open_stretch = True
        found[-1] += [round(x, 2), round(height(value), 2)]
    return [each for each in found if len(each) > 2]


def _bars(
    drawing: Drawing, chart: ChartBlock, number: int, across: Sequence[float], height: Height, colour: Color
) -> None:
    pitch = across[1] - across[0]
    wide = pitch * _BAR_SHARE / len(chart.lines)
    for x, value in zip(across, chart.lines[number].values, strict=True):
        if value:
            left = x - pitch * _BAR_SHARE / 2 + number * wide
            bottom, top = sorted((height(0.0), height(value)))
            drawing.add(
                Rect(
                    round(left, 2),
                    round(bottom, 2),
                    round(wide, 2),
                    round(top - bottom, 2),
                    fillColor=colour,
                    strokeColor=None,
                )
            )


def _legend(drawing: Drawing, chart: ChartBlock, font: str) -> None:
    x = _LEFT
    for number, line in enumerate(chart.lines):
        drawing.add(Rect(x, _HEIGHT - _SIZE - 1, 8, 4, fillColor=_colour(chart, number), strokeColor=None))
        drawing.add(_text(x + 11, _HEIGHT - _SIZE - 2, line.name, font, "start"))
        x += 20 + stringWidth(line.name, font, _SIZE)
