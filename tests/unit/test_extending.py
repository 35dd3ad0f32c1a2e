"""`docs/extending.md` shows the very files that the conformance suites load, and names what exists."""

from __future__ import annotations

import re

from support.extending import PAGE, ROOT, shown, with_files

TOYS = ROOT / "tests" / "support" / "toys"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_shows_the_files_as_they_are() -> None:
    """Copy them again with `python tests/support/extending.py`."""
    assert with_files(TEXT) == TEXT


def test_every_toy_is_on_the_page_and_in_a_suite() -> None:
    suites = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/conformance").glob("*.py"))
    for path in TOYS.glob("*.py"):
        assert path in shown(TEXT), path
        names = (f"support.toys.{path.stem}", f"support/toys/{path.name}")
        assert any(name in suites for name in names), f"{path.name}: no suite loads it"


def test_the_table_names_registries_and_suites_that_exist() -> None:
    table = [line for line in TEXT.splitlines() if line.startswith("| ")]
    paths = [
        each for line in table for each in re.findall(r"`((?:src|research|tests)/[\w/]+(?:\.py|/))`", line)
    ]
    assert len(paths) > 15
    for path in paths:
        assert (ROOT / path).exists(), path


def test_a_file_that_has_changed_is_noticed() -> None:
    edited = TEXT.replace("return 0.0", "return 0.1", 1)
    assert with_files(edited) == TEXT != edited
