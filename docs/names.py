"""Griffe extension: columns of names in a docstring become lists, and examples become code.

Docstrings of this project explain fields and arguments as

    stop, target   protective orders, placed when the entry fills
    max_bars       longest holding period in bars

which Markdown would run together into one paragraph, as it would an example's lines.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ENTRY = re.compile(r"^(?P<names>[\w*`][\w*`,. /|]*?) {2,}(?P<text>\S.*)$")


class Layout(Extension):
    """Rewrites the docstring of every object that is shown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Give the object's docstring the layout that Markdown needs."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring with columns of names as lists and examples as code; the rest is unchanged."""
    return "\n\n".join(_block(block) for block in text.split("\n\n"))


def _block(block: str) -> str:
    lines = block.split("\n")
    if lines[0].startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if not _ENTRY.match(lines[0]):
        return block
    items: list[str] = []
    for line in lines:
        entry = _ENTRY.match(line)
        if entry:
            names = ", ".join(f"`{name.strip('` ')}`" for name in entry["names"].split(","))
            items.append(f"- {names}: {entry['text']}")
        elif line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        else:
            return block
    return "\n".join(items)
