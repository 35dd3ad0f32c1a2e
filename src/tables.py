"""Tables for people: laid out for the width at hand, with no number and no name ever cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Cell = str | Text

_GAPS = (2, 1)
# Prose narrower than this is a column of single words.
_LEAST_PROSE = 24
_INDENT = 2
_BETWEEN = "   "


@dataclass(frozen=True)
class Column:
    """A column: `name` keeps a cell on its lines, `number` too and aligns right, `prose` wraps at spaces."""

    title: str
    kind: Literal["name", "number", "prose"] = "name"


def number(title: str) -> Column:
    """Return a column of numbers, which is aligned right."""
    return Column(title, "number")


def prose(title: str) -> Column:
    """Return a column of sentences or lists, which wraps at spaces."""
    return Column(title, "prose")


class TextTable:
    """A table that fits the console that prints it.

    Where a row is too wide for one line, it becomes a block: the first cell as its heading, below it every
    other cell after its title. With `bands` the columns are split instead into several tables that all repeat
    the first column: better where many rows are compared. Cells are plain text, brackets and all; pass a
    `rich.text.Text` for colour. Off a terminal the width is that of `COLUMNS`, or 80.

    Example:
        >>> from rich.console import Console
        >>> table = TextTable("symbol", number("trades"))
        >>> table.add_row("ES", "1,234")
        >>> Console(width=80).print(table)
        symbol  trades
        ──────────────
        ES       1,234
    """

    def __init__(
        self,
        *columns: str | Column,
        title: str = "",
        caption: str = "",
        head: bool = True,
        bands: bool = False,
    ) -> None:
        self.columns = [each if isinstance(each, Column) else Column(each) for each in columns]
        self.title = title
        self.caption = caption
        self.rows: list[tuple[Text, ...]] = []
        self._head = head
        self._bands = bands

    def add_row(self, *cells: Cell) -> None:
        """Add a row with a cell for each column; ValueError for any other number of cells."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells in a table of {len(self.columns)} columns")
        self.rows.append(tuple(each if isinstance(each, Text) else Text(each) for each in cells))

    def cells(self, title: str) -> list[str]:
        """Return the texts of the first column with this title."""
        place = [each.title for each in self.columns].index(title)
        return [row[place].plain for row in self.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold", overflow="fold")
        yield from self._body(options.max_width)
        if self.caption:
            yield Text(self.caption, style="dim", overflow="fold")

    def _body(self, width: int) -> Iterator[Table | Text | Padding]:
        everything = range(len(self.columns))
        fitting = self._fitting(everything, width)
        if fitting is not None:
            yield self._grid(everything, *fitting)
            return
        bands = self._split(width) if self._bands else []
        if not bands:
            yield from self._blocks(width)
        for number_of_band, band in enumerate(bands):
            found = self._fitting(band, width)
            assert found is not None
            if number_of_band:
                yield Text()
            yield self._grid(band, *found)

    def _split(self, width: int) -> list[list[int]]:
        """Return the columns of each band; none where not even one fits beside the first."""
        bands: list[list[int]] = []
        for place in range(1, len(self.columns)):
            if self._fitting([0, place], width) is None:
                return []
            if not bands or self._fitting([*bands[-1], place], width) is None:
                bands.append([0])
            bands[-1].append(place)
        return bands

    def _fitting(self, places: Sequence[int], width: int) -> tuple[list[int], int] | None:
        """Return the columns' widths and the gap between them, None where they do not fit."""
        wanted, least = [], []
        for place in places:
            column = self.columns[place]
            title = column.title if self._head else ""
            widest = max((_widest(row[place].plain.splitlines()) for row in self.rows), default=0)
            words = [title, *(row[place].plain for row in self.rows)] if column.kind == "prose" else [title]
            word = max((_widest(each.split()) for each in words), default=0)
            wanted.append(max(widest, word, cell_len(title)))
            narrow = min(widest, _LEAST_PROSE) if column.kind == "prose" else widest
            least.append(max(narrow, word))
        for gap in _GAPS:
            room = width - gap * (len(places) - 1)
            if sum(least) <= room:
                prose_first = sorted(places, key=lambda place: self.columns[place].kind != "prose")
                order = [list(places).index(place) for place in prose_first]
                return _shared(wanted, least, room, order), gap
        return None

    def _grid(self, places: Sequence[int], widths: Sequence[int], gap: int) -> Table:
        grid = Table(
            box=box.SIMPLE_HEAD if self._head else None,
            show_header=self._head,
            show_edge=False,
            pad_edge=False,
            padding=(0, gap - 1 if self._head else gap, 0, 0),
        )
        for place, width in zip(places, widths, strict=True):
            column = self.columns[place]
            grid.add_column(
                Text(column.title),
                width=width,
                overflow="fold",
                justify="right" if column.kind == "number" else "left",
            )
        for row in self.rows:
            grid.add_row(*(row[place] for place in places))
        return grid

    def _blocks(self, width: int) -> Iterator[Text | Padding]:
        room = width - _INDENT
        lengths = [
            cell_len(f"{column.title} {cell.plain}")
            for row in self.rows
            for column, cell in zip(self.columns[1:], row[1:], strict=True)
            if column.kind != "prose" and "\n" not in cell.plain
        ]
        # What leaves no room for another beside it stands alone, and does not widen the others.
        half = (room - len(_BETWEEN)) // 2
        slot = max((each for each in lengths if each <= half), default=0)
        for first, *others in self.rows:
            yield Text.assemble(first, style="bold", overflow="fold")
            pairs = zip(self.columns[1:], others, strict=True)
            for line in _lines([_pair(column, cell, slot) for column, cell in pairs if cell.plain], room):
                yield Padding(line, (0, 0, 0, _INDENT), expand=False)


def _pair(column: Column, cell: Text, slot: int) -> Text:
    """Return a cell after its title; all but prose as wide as `slot`, so that blocks can be compared."""
    gap = 1 if column.kind == "prose" else max(1, slot - cell_len(f"{column.title}{cell.plain}"))
    return Text.assemble((column.title, "dim"), " " * gap, cell)


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _shared(wanted: Sequence[int], least: Sequence[int], room: int, order: Sequence[int]) -> list[int]:
    """Return widths between `least` and `wanted`; what is left goes to the columns in `order`."""
    widths = list(least)
    for place in order:
        widths[place] += min(wanted[place] - least[place], room - sum(widths))
    return widths


def _lines(pairs: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield lines with as many pairs as fit; a pair of its own width or more stands alone and wraps."""
    line = Text(overflow="fold")
    for pair in pairs:
        alone = line.plain and cell_len(f"{line.plain}{_BETWEEN}{pair.plain}") > width
        if alone or "\n" in pair.plain:
            if line.plain:
                yield line
            line = Text(overflow="fold")
        line = Text.assemble(line, _BETWEEN, pair, overflow="fold") if line.plain else pair.copy()
    if line.plain:
        yield line
