"""What every section of a report holds to; each check raises AssertionError naming the section."""

from __future__ import annotations

import re
from typing import Any

from research.report.section import Section
from support.pages import HOSTILE, renamed
from support.reports import Page

# Numbers that a program writes and no reader should see.
NO_NUMBER = re.compile(r"\b(nan|NaN|NaT|None(?! of)|inf|Infinity|undefined|null)\b")


def require_readable(section: Section[Any], report: Any) -> None:
    """A section that is shown has words, and none of them is what a program calls a missing number."""
    if not section.shown(report):
        return
    seen = Page(str(section.card(report)))
    assert section.name.strip(), "a section has a name"
    assert seen.tags[0] == "section", f"{section.name}: is no card"
    assert len(seen.text.split()) >= 2 or seen.figures, f"{section.name}: shows nothing"
    found = NO_NUMBER.search(seen.text)
    assert found is None, f"{section.name}: shows {found[0]!r}: {seen.text[:200]}"


def require_escaped(section: Section[Any], report: Any, *names: str) -> None:
    """Texts of a report are text: with hostile ones a section has the same tags, attributes and addresses."""
    if not section.shown(report):
        return
    plain = Page(str(section.card(report)))
    hostile = Page(str(section.card(renamed(report, {name: name + HOSTILE for name in names}))))
    assert hostile.tags == plain.tags, f"{section.name}: a text becomes a tag"
    assert hostile.attributes == plain.attributes, f"{section.name}: a text becomes an attribute"
    assert hostile.loads == plain.loads, f"{section.name}: a text is loaded"


def require_same_again(section: Section[Any], report: Any) -> None:
    """The same report gives the same bytes."""
    if section.shown(report):
        assert section.card(report) == section.card(report), f"{section.name}: other bytes for one report"
