"""What documents name exists: tests in the parity table, scripts in the runbooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from operations.lazy_commands import walk
from operations.main import contents

ROOT = Path(__file__).resolve().parents[2]
# What is not built yet. The table must say so, and a row that has its test must leave this list.
LATER = {38, 45, 46}
ROWS = range(1, 48)
TESTS = re.compile(r"`((?:unit|component|conformance|property|golden|contract|e2e)/\w+\.py)`")


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


PATHS = re.compile(
    r"(?<![\w/.-])((?:src|research|certify|operations|scripts|configs|benchmarks|tests)/[\w/.-]*\w/?)"
)
# Written when they are first needed, or by the reader.
NOT_IN_THE_CHECKOUT = {
    "configs/portfolio_config.yml",
    "configs/strategies/best.yaml",
    "src/models/manifest.json",
    "src/models/manifest.json.lock",
    "tests/simulation/histories/late-fill.json",
}


def missing_paths(text: str) -> set[str]:
    """Return the paths of the checkout that a text names and that do not exist."""
    return {
        path for path in PATHS.findall(text) if not (ROOT / path).exists() and path not in NOT_IN_THE_CHECKOUT
    }


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


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_of_the_checkout_exist(path: Path) -> None:
    assert missing_paths(path.read_text(encoding="utf-8")) == set()


def test_a_path_that_moved_is_noticed() -> None:
    text = "`src/market/` and `research/validation/gate.py` and https://x.org/src/nothing/ and results/a"
    assert missing_paths(text) == {"research/validation/gate.py"}


# A word of the command, then that of a subcommand, where a line or a code span begins with `lockstep`.
COMMAND = re.compile(r"(?:^ *|`|: \"|=\")lockstep ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.MULTILINE)


def unknown_commands(text: str) -> set[str]:
    """Return the `lockstep` commands that a text names and that do not exist."""
    groups = {words for words, entry in walk(contents.entries) if entry.entries}
    known = {words for words, _ in walk(contents.entries)}
    named = {(first, second) for first, second in COMMAND.findall(text)}
    return {
        f"{first} {second}".strip()
        for first, second in named
        if (first,) not in known or ((first,) in groups and second and (first, second) not in known)
    }


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(path: Path) -> None:
    assert unknown_commands(path.read_text(encoding="utf-8")) == set()


def test_a_command_that_does_not_exist_is_noticed() -> None:
    text = (
        "lockstep bactkest --symbol ES\nuse `lockstep data chekc`, `lockstep data check`, `lockstep status`"
    )
    assert unknown_commands(text) == {"bactkest", "data chekc"}
