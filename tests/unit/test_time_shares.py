"""What the time of a search goes into: parts within parts, and nothing where nobody measures."""

from __future__ import annotations

from itertools import count

import pytest

from research.ledger.shares import PARTS_OF_TIME, TimeShares, measured, spent_on


def ticking() -> TimeShares:
    ticks, work = count(), count(step=10)
    return TimeShares(clock=lambda: float(next(ticks)), processor=lambda: float(next(work)))


def test_parts_and_the_rest_add_up_to_the_whole() -> None:
    with measured(ticking()) as shares, spent_on("verification"):
        with spent_on("database"):
            pass
        with pytest.raises(ZeroDivisionError), spent_on("database"), spent_on("loops"):
            raise ZeroDivisionError
    assert {part: seconds for part, seconds in shares.passed.items() if seconds} == {
        "rest": 2.0, "verification": 3.0, "database": 3.0, "loops": 1.0,
    }  # fmt: skip
    assert shares.worked == {part: 10.0 * seconds for part, seconds in shares.passed.items()}
    assert sum(shares.passed.values()) == 9.0
    assert [line.split()[0] for line in shares.lines] == list(PARTS_OF_TIME)
    assert "verification    3.00 s   33%, 30.00 s of the processor: winners" in shares.lines[3]


def test_without_a_measure_a_part_is_nothing() -> None:
    @spent_on("statistics")
    def twice(value: int) -> int:
        return 2 * value

    assert twice(2) == 4
    with measured(ticking()) as shares:
        assert twice(3) == 6
    assert shares.passed["statistics"] == 1.0
    assert twice(4) == 8
    assert shares.passed["statistics"] == 1.0
