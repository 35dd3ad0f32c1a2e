"""What a report is made of before anybody draws it: texts, tables and charts, the same for a page and a PDF.

All numbers are texts already. Whoever draws a document changes none of them, so that a page and a PDF of the
same document cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from research.report.page import Tile


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """A table: the first column is text, the rest are numbers unless their place is in `prose`.

    prose   places of columns with sentences, which may wrap
    empty   the sentence that stands there where there is no row
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: frozenset[int] = frozenset()
    empty: str = ""


@dataclass(frozen=True, kw_only=True)
class ChartLine:
    """A line or the bars of a chart: a value for each place, None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class ChartBlock:
    """A chart over places that have a text each: ISO dates of a line, names of bars.

    percent   whether values are fractions, to be read in per cent
    empty     the sentence that stands there where there are fewer than two places
    """

    name: str
    kind: Literal["line", "bar"]
    places: Sequence[str]
    lines: Sequence[ChartLine]
    percent: bool = False
    empty: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return len(self.places) < 2 or all(value is None for line in self.lines for value in line.values)

    @property
    def known(self) -> list[float]:
        """Every value that is drawn."""
        return [value for line in self.lines for value in line.values if value is not None]


@dataclass(frozen=True, kw_only=True)
class NotesBlock:
    """Sentences, one below the other."""

    sentences: Sequence[str]


Block = TableBlock | ChartBlock | NotesBlock


@dataclass(frozen=True, kw_only=True)
class ReportPart:
    """Blocks under a heading, with a caption that says how to read them."""

    title: str
    blocks: Sequence[Block]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportDocument:
    """A whole report: its head, what a reader must know first, key figures, parts.

    lead   the first of the facts, in bold

    >>> document = ReportDocument(title="COMP", subtitle="March 2016", lead="paper", facts=(), caveats=(),
    ...                           tiles=(), parts=(ReportPart(title="Notes", blocks=()),))
    >>> [part.title for part in document.parts]
    ['Notes']
    """

    title: str
    subtitle: str
    lead: str
    facts: Sequence[str]
    caveats: Sequence[str]
    tiles: Sequence[Tile]
    parts: Sequence[ReportPart]
