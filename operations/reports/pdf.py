"""A report as a PDF: A4, numbered pages, text that can be copied, equal bytes for equal documents."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

from lockstep.files import replace_file
from operations.reports.blocks import (
    Block,
    ChartBlock,
    ChartLine,
    NotesBlock,
    ReportDocument,
    ReportPart,
    TableBlock,
)
from operations.reports.pdf_chart import chart_drawing
from research.report.page import Tile
from research.report.theme import INK, LOSS, MUTED, RULE, WELL

PLAIN, BOLD = "Vera", "VeraBd"
MARGIN = 42.0
# reportlab's frames keep six points free on each side.
_EDGE = MARGIN + 6.0
WIDTH = A4[0] - 2 * _EDGE
_SIZES = (7.0, 6.5, 6.0, 5.5, 5.0)
_PADDING = 3.0
_LEAST_PROSE = 90.0
_TILES_A_ROW = 5
_ROWS_KEPT = 12
# Points that a long table needs to begin on a page: its heading and a few rows.
_LEAST_START = 130.0
_MINUS = "\N{MINUS SIGN}"


def pdf_bytes(document: ReportDocument) -> bytes:
    """Return a report as a PDF; equal documents give equal bytes."""
    _register()
    shown = _legible(document)
    buffer = io.BytesIO()
    template = SimpleDocTemplate(
        buffer, pagesize=A4, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN,
        title=f"{shown.title}: {shown.subtitle}", author="Lockstep", lang="en", invariant=1,
    )  # fmt: skip
    story = [*_head(shown), *(flow for part in shown.parts for flow in _part(part))]
    template.build(story, canvasmaker=_canvas(f"{shown.title}: {shown.subtitle}"))
    return buffer.getvalue()


def write_pdf(document: ReportDocument, path: Path) -> Path:
    """Write a report as a PDF in one step and return its path; its folder is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return replace_file(path, pdf_bytes(document))


def _register() -> None:
    """Register the fonts that come with reportlab; a standard one would have no minus sign."""
    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (PLAIN, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def legible(text: str) -> str:
    """Return a text with a question mark for each character that the font does not have."""
    _register()
    known = pdfmetrics.getFont(PLAIN).face.charToGlyph
    return "".join(letter if ord(letter) in known else "?" for letter in text)


def _legible(value: Any) -> Any:
    """Return a document with every text in it legible."""
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, Tile):
        return Tile(legible(value.name), legible(value.value), legible(value.note), value.is_loss)
    if isinstance(value, ReportDocument | ReportPart | TableBlock | ChartBlock | ChartLine | NotesBlock):
        return replace(value, **{name: _legible(each) for name, each in vars(value).items()})
    return type(value)(map(_legible, value)) if isinstance(value, tuple | list) else value


def _canvas(running: str) -> type[Canvas]:
    """Return a canvas that writes `running` and the number of the page at the foot of every page."""

    class _Numbered(Canvas):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self._kept: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._kept.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._kept, 1):
                self.__dict__.update(page)
                self.setFont(PLAIN, 6.5)
                self.setFillColor(HexColor(MUTED))
                self.drawString(_EDGE, MARGIN / 2, running)
                self.drawRightString(A4[0] - _EDGE, MARGIN / 2, f"page {number} of {len(self._kept)}")
                super().showPage()
            super().save()

    return _Numbered


def _style(size: float, *, colour: str = INK, bold: bool = False, **more: Any) -> ParagraphStyle:
    settings = {"leading": size * 1.3, "splitLongWords": 1, **more}
    return ParagraphStyle(
        f"{size}{bold}",
        fontName=BOLD if bold else PLAIN,
        fontSize=size,
        textColor=HexColor(colour),
        **settings,
    )


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(text), style)


def _head(document: ReportDocument) -> Iterator[Flowable]:
    yield _paragraph(document.title, _style(17, bold=True))
    yield _paragraph(document.subtitle, _style(11, colour=MUTED, spaceAfter=4))
    yield _paragraph(" · ".join((document.lead, *document.facts)), _style(7.5, colour=MUTED, spaceAfter=6))
    if document.caveats:
        yield _paragraph("Before you read the numbers", _style(8, bold=True))
        for each in document.caveats:
            yield _bullet(each)
        yield Spacer(1, 6)
    if document.tiles:
        yield _tiles(document.tiles)
        yield Spacer(1, 4)


def _bullet(text: str) -> Paragraph:
    return Paragraph(escape(text), _style(7, leftIndent=9, bulletIndent=2), bulletText="\N{BULLET}")


def _tiles(tiles: Sequence[Tile]) -> Flowable:
    cells = [
        [
            _paragraph(each.name, _style(6, colour=MUTED)),
            _paragraph(each.value, _style(12, colour=LOSS if each.is_loss else INK, bold=True)),
            _paragraph(each.note, _style(6, colour=MUTED)),
        ]
        for each in tiles
    ]
    cells += [[] for _ in range(-len(cells) % _TILES_A_ROW)]
    rows = [cells[at : at + _TILES_A_ROW] for at in range(0, len(cells), _TILES_A_ROW)]
    grid = Table(rows, colWidths=[WIDTH / _TILES_A_ROW] * _TILES_A_ROW)
    grid.setStyle([
        ("GRID", (0, 0), (-1, -1), 0.5, HexColor(RULE)), ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 5), ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 4), ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
    ])  # fmt: skip
    return grid


def _part(part: ReportPart) -> Iterator[Flowable]:
    """Yield a part; its heading stays with its first block, or with the first rows of a long table."""
    is_long = isinstance(part.blocks[0], TableBlock) and len(part.blocks[0].rows) > _ROWS_KEPT
    together: dict[str, Any] = {} if is_long else {"keepWithNext": 1}
    head: list[Flowable] = [
        _paragraph(part.title, _style(10, bold=True, spaceBefore=10, spaceAfter=1, **together))
    ]
    if part.caption:
        head.append(_paragraph(part.caption, _style(6.5, colour=MUTED, spaceAfter=3, **together)))
    first, *rest = [_piece(block) for block in part.blocks]
    if is_long:
        yield CondPageBreak(_LEAST_START)
        yield from (*head, first)
    else:
        yield KeepTogether([*head, first])
    for each in rest:
        yield Spacer(1, 5)
        yield each


def _piece(block: Block) -> Flowable:
    match block:
        case TableBlock():
            return _table(block) if block.rows else _paragraph(block.empty, _style(7, colour=MUTED))
        case ChartBlock():
            if block.is_empty:
                return _paragraph(block.empty, _style(7, colour=MUTED))
            return chart_drawing(block, WIDTH, PLAIN)
        case NotesBlock():
            return KeepTogether([_bullet(each) for each in block.sentences])


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """How a table fits the page: size of its type, widths of its columns, and which of them wrap."""

    size: float
    widths: tuple[float, ...]
    wrapping: frozenset[int]


def table_layout(block: TableBlock) -> TableLayout:
    """Return the largest type at which no number is broken and no column ends beyond the page.

    Columns of prose share what is left. Where numbers leave too little room even in the smallest type, the
    first column wraps as well.
    """
    _register()
    for wrapping in (block.prose, block.prose | {0}):
        for size in _SIZES:
            widths = [
                max(stringWidth(row[at], BOLD, size) for row in (block.head, *block.rows)) + 2 * _PADDING
                for at in range(len(block.head))
            ]
            left = WIDTH - sum(width for at, width in enumerate(widths) if at not in wrapping)
            if wrapping and left >= _LEAST_PROSE * len(wrapping):
                shares = _shared([widths[at] for at in sorted(wrapping)], left)
                for at, share in zip(sorted(wrapping), shares, strict=True):
                    widths[at] = share
                return TableLayout(size=size, widths=tuple(widths), wrapping=wrapping)
            if not wrapping and left >= 0:
                return TableLayout(size=size, widths=tuple(widths), wrapping=wrapping)
    equal = WIDTH / len(block.head)
    everything = frozenset(range(len(block.head)))
    return TableLayout(size=_SIZES[-1], widths=(equal,) * len(block.head), wrapping=everything)


def _shared(wanted: Sequence[float], room: float) -> list[float]:
    """Return widths of at most what is wanted, equal where there is not enough room for all."""
    if sum(wanted) <= room:
        return list(wanted)
    least = room / len(wanted)
    small = [min(each, least) for each in wanted]
    spare, large = room - sum(small), [max(each - least, 0.0) for each in wanted]
    return [each + spare * more / sum(large) for each, more in zip(small, large, strict=True)]


def _table(block: TableBlock) -> Flowable:
    layout = table_layout(block)
    rows = [
        [
            _paragraph(cell, _style(layout.size, bold=not number, colour=MUTED if not number else INK))
            if at in layout.wrapping
            else cell
            for at, cell in enumerate(row)
        ]
        for number, row in enumerate((block.head, *block.rows))
    ]
    table = Table(rows, colWidths=layout.widths, repeatRows=1, hAlign="LEFT")
    numbers = [at for at in range(1, len(block.head)) if at not in layout.wrapping]
    losses = [
        ("TEXTCOLOR", (at, number), (at, number), HexColor(LOSS))
        for number, row in enumerate(block.rows, 1)
        for at in numbers
        if row[at].startswith(_MINUS) and " " not in row[at]
    ]
    table.setStyle([
        ("FONT", (0, 0), (-1, -1), PLAIN, layout.size, layout.size * 1.3),
        ("FONT", (0, 0), (-1, 0), BOLD, layout.size, layout.size * 1.3),
        ("TEXTCOLOR", (0, 0), (-1, -1), HexColor(INK)),
        ("TEXTCOLOR", (0, 0), (-1, 0), HexColor(MUTED)),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.6, HexColor(MUTED)),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor(RULE)),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), (None, HexColor(WELL))),
        ("LEFTPADDING", (0, 0), (-1, -1), _PADDING), ("RIGHTPADDING", (0, 0), (-1, -1), _PADDING),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.0),
        *(("ALIGN", (at, 0), (at, -1), "RIGHT") for at in numbers), *losses,
    ])  # fmt: skip
    return table
