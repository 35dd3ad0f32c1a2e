"""What documents name exists: tests in the parity table, scripts in the runbooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What is not built yet. The table must say so, and a row that has its test must leave this list.
LATER = {25, 38, 42, 43, 45, 46, 47}
ROWS = range(1, 48)
TESTS = re.compile(r"`((?:unit|property|golden|contract|e2e)/\w+\.py)`")


def rows() -> dict[int, str]:
    """Return the rows of the parity table by number; one line may stand for several."""
    found = {}
    for line in (ROOT / "docs/parity.md").read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| ([\d, ]+) \|", line)
        if match:
            found |= {int(number): line for number in match.group(1).split(",")}
    return found


def test_every_row_of_the_parity_table_is_there() -> None:
    assert set(rows()) == set(ROWS)


@pytest.mark.parametrize("number", sorted(set(ROWS) - LATER))
def test_a_row_names_tests_that_exist(number: int) -> None:
    named = TESTS.findall(rows()[number])
    assert named
    for name in named:
        assert (ROOT / "tests" / name).is_file(), name


@pytest.mark.parametrize("number", sorted(LATER))
def test_a_row_of_later_work_says_so_and_claims_no_test(number: int) -> None:
    assert rows()[number].split(" | ")[-1].startswith("later, with ")
    assert not TESTS.findall(rows()[number])


def documents() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("*.md"),
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("deploy/**/*.md"),
            *ROOT.glob("deploy/**/*.sh"),
        ]
    )


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_and_links_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for script in set(re.findall(r"scripts/\w+\.(?:py|sh)", text)):
        assert (ROOT / script).is_file(), script
    for link in set(re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)):
        assert (path.parent / link).exists(), link
