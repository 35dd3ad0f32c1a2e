"""Lock files are complete for every supported Python and machine, agree with each other, and pin by hash."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from support.locks import (
    LOCKS,
    ROOT,
    Locked,
    installed_requirements,
    problems,
    read_lock,
    recorded_requirements,
    roots,
    unrecorded,
)

KNOWN = recorded_requirements() | installed_requirements()


def text(lock: str) -> str:
    return (ROOT / lock).read_text(encoding="utf-8")


def test_every_lock_file_is_judged() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("**/requirements*.lock")
        if path.relative_to(ROOT).parts[0] not in (".venv", ".venv-peers", "build")
    }
    assert found == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_met_inside_the_lock(lock: str) -> None:
    assert problems(read_lock(text(lock)), roots(lock), KNOWN) == []


@pytest.mark.parametrize(
    ("lock", "key", "expected"),
    [
        (
            "requirements-dev.lock",
            "coverage==",
            r"pytest-cov requires coverage\[toml\]>=.*, which is not locked",
        ),
        (
            "requirements-dev.lock",
            "psycopg-binary==",
            r"psycopg\[binary\] requires psycopg-binary==.* not locked",
        ),
        ("requirements.lock", "joblib==", r"the project requires joblib.*, which is not locked"),
        ("requirements.lock", "patsy==", r"statsmodels requires patsy.*, which is not locked"),
        ("requirements.lock", "numpy==2.5", r"numba requires numpy.* not locked, Python 3.12, linux x86_64"),
        (
            "requirements-notebooks.lock",
            "appnope==",
            r"ipykernel requires appnope.*not locked, .*darwin arm64",
        ),
    ],
)
def test_a_missing_entry_is_named(lock: str, key: str, expected: str) -> None:
    entries = read_lock(text(lock))
    left = [entry for entry in entries if not entry.key.startswith(key)]
    assert len(left) == len(entries) - 1
    assert re.search(expected, "\n".join(problems(left, roots(lock), KNOWN)))


def small(**requirements: tuple[str, ...]) -> list[str]:
    """Judge a lock of `name: version` pairs that the project asks `a[x]` of."""
    known = {key.replace("_", "=="): lines for key, lines in requirements.items()}
    entries = [
        Locked(name=name, version=version, marker=None) for name, version in (k.split("==") for k in known)
    ]
    return problems(entries, ["a[x]"], known)


def test_extras_that_packages_ask_of_one_another_are_followed() -> None:
    asks = {"a_1": ('b[y]; extra == "x"',), "b_1": ('c>=2; extra == "y"', 'd; extra == "z"')}
    (problem,) = {each.partition(",")[0] for each in small(**asks)}
    assert problem == 'b[y] requires c>=2; extra == "y"'
    assert {each.partition(", Python")[0] for each in small(**asks, c_1=())} == {
        'b[y] requires c>=2; extra == "y", locked is 1'
    }
    assert small(**asks, c_2=()) == []
    assert small(**asks, c_2=(), d_1=()) == ["d==1: nothing requires it"]


def test_two_versions_at_once_and_unknown_requirements_are_problems() -> None:
    entries = [Locked(name="a", version=version, marker=None) for version in ("1", "2")]
    found = problems(entries, ["a"], {"a==1": ()})
    assert any("a: two entries count at once" in each for each in found)
    assert any("a==2: nobody knows what it requires" in each for each in found)


def test_one_environment_can_hold_all_locks_but_that_of_the_peers() -> None:
    locks = ("requirements.lock", "requirements-notebooks.lock", "requirements-dev.lock")
    for lesser, larger in pairwise({entry.key for entry in read_lock(text(lock))} for lock in locks):
        assert lesser <= larger


def test_what_is_recorded_is_what_the_installed_packages_declare() -> None:
    recorded, installed = recorded_requirements(), installed_requirements()
    both = recorded.keys() & installed.keys()
    assert both
    assert {key: recorded[key] for key in both} == {key: installed[key] for key in both}
    assert recorded.keys() == unrecorded().keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_by_hash(lock: str) -> None:
    joined = text(lock).replace("\\\n", "")
    lines = [line for line in joined.splitlines() if not line.startswith("#")]
    assert len(lines) == len(read_lock(text(lock)))
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}", line) for line in lines)
