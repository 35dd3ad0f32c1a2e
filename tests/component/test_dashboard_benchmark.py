"""What the benchmark of the dashboard leaves: measures with seed and code, and whether promises are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.dashboard import main
from benchmarks.measure import Measured


@pytest.mark.parametrize(("value", "code"), [(1.5, 0), (2.5, 1)])
def test_a_missed_promise_is_written_and_is_the_exit_code(tmp_path: Path, value: float, code: int) -> None:
    def measured(*, seed: int) -> Iterator[Measured]:
        assert seed == 7
        yield Measured(what="start", value=value, unit="s", promise=2.0, note="five")

    path = tmp_path / "dashboard.json"
    assert main(["--seed", "7"], measured, path) == code
    told = json.loads(path.read_text())
    assert (told["benchmark"], told["seed"], told["passed"]) == ("dashboard", 7, code == 0)
    assert told["code"].startswith("c1-")
    assert told["measured"] == [
        {
            "what": "start",
            "value": value,
            "unit": "s",
            "promise": 2.0,
            "kept": code == 0,
            "note": "five",
        }
    ]
