"""`Section`: one card of a report. A new one is a file and a line in the registry of its page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.plugs import Registry
from research.report import page

Report = TypeVar("Report")


@dataclass(frozen=True, kw_only=True)
class Section(Generic[Report]):
    """What one card shows of a report.

    name      unique on its page
    part      heading under which it is shown; empty on a page without parts
    title     of the card, `name` where it is empty; may depend on the report, as `caption` may
    content   returns pieces of the page kit, or a text, which is escaped
    shown     whether the report has anything to say here; a section that is not shown is not computed
    """

    name: str
    content: Callable[[Report], str]
    part: str = ""
    title: str | Callable[[Report], str] = ""
    caption: str | Callable[[Report], str] = ""
    wide: bool = False
    shown: Callable[[Report], bool] = lambda report: True

    def card(self, report: Report) -> Markup:
        """Return the card."""
        return page.card(
            _text(self.title, report) or self.name,
            self.content(report),
            caption=_text(self.caption, report),
            classes="wide" if self.wide else "",
        )


class Sections(Registry[Section[Report]], Generic[Report]):
    """The sections of one page, in its order."""

    def __init__(self, page: str) -> None:
        super().__init__(f"section of {page}", name=lambda section: section.name)

    def add(self, part: str, name: str, content: Callable[[Report], str], **more: Any) -> None:
        """Add a section of text or tables; `more` as in `Section`."""
        self.register(Section(part=part, name=name, content=content, **more))

    def figure(
        self,
        part: str,
        name: str,
        block: str,
        drawn: Callable[[Report], go.Figure | None],
        *,
        empty: str | Callable[[Report], str] = "",
        fit: bool = False,
        **more: Any,
    ) -> None:
        """Add a section that is one figure; `block`, `empty` and `fit` as in `page.figure_block`."""

        def content(report: Report) -> Markup:
            return page.figure_block(block, drawn(report), empty=_text(empty, report), fit=fit)

        self.add(part, name, content, **more)


def cards(sections: Sections[Report], report: Report) -> Markup:
    """Return the grid of all sections that are shown, each part under its heading."""
    parts: dict[str, list[Markup]] = {}
    for section in sections.values():
        if section.shown(report):
            parts.setdefault(section.part, []).append(section.card(report))
    return page.grid(page.part(part, found) if part else page.joined(*found) for part, found in parts.items())


def _text(text: str | Callable[[Report], str], report: Report) -> str:
    return text if isinstance(text, str) else text(report)
