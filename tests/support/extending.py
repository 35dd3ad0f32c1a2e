"""The files that `docs/extending.md` shows: `python tests/support/extending.py` copies them into the page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
_SHOWN = re.compile(r"<!-- (tests/\S+\.py) -->\n(?:\n```python\n.*?\n```\n)?", re.DOTALL)


def shown(text: str) -> list[Path]:
    """Return the files that a page shows."""
    return [ROOT / name for name in _SHOWN.findall(text)]


def with_files(text: str) -> str:
    """Return the page with each file below the comment that names it."""
    return _SHOWN.sub(lambda found: f"<!-- {found[1]} -->\n\n```python\n{_source(found[1])}```\n", text)


def _source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(with_files(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
