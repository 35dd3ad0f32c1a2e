from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.timeframe import DAILY
from support.markets import CME, FIFTEEN, HOURLY

FAR = 10**18


def rows(target: list[int], source: list[int], limit: int = FAR) -> list[int]:
    return asof_rows(np.array(target, dtype=np.int64), np.array(source, dtype=np.int64), limit).tolist()


def test_the_bar_that_completes_at_the_moment_is_known() -> None:
    assert rows([9, 10, 11, 20], [10, 20]) == [-1, 0, 0, 1]


def test_a_bar_as_old_as_the_limit_counts_and_an_older_one_is_missing() -> None:
    assert rows([15, 16], [10], limit=5) == [0, -1]


def test_without_bars_all_is_missing() -> None:
    assert rows([1, 2], []) == [-1, -1]
    assert rows([], [1]) == []


def test_the_limit_is_in_bars_or_in_calendar_days() -> None:
    age = MaxAge(bars=2, days=4)
    assert age.nanoseconds(HOURLY) == 2 * 3600 * 10**9
    assert age.nanoseconds(FIFTEEN) == 2 * 900 * 10**9
    assert age.nanoseconds(DAILY) == 4 * 86400 * 10**9


def test_a_long_weekend_is_not_too_old_and_a_missing_week_is() -> None:
    closes = CME.nominal_close(np.array(["2024-01-12", "2024-01-16", "2024-01-19"], dtype="M8[D]"))
    limit = MaxAge().nanoseconds(DAILY)
    assert asof_rows(closes[1:] - 1, closes[:1], limit).tolist() == [0, -1]


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(ConfigError, match="negative"):
        MaxAge(days=-1)


@given(
    st.lists(st.integers(0, 60), max_size=15),
    st.sets(st.integers(0, 60), max_size=15),
    st.integers(0, 20),
)
def test_it_agrees_with_looking_at_every_bar(target: list[int], source: set[int], limit: int) -> None:
    ordered = sorted(source)
    expected = []
    for moment in target:
        known = [i for i, end in enumerate(ordered) if end <= moment and moment - end <= limit]
        expected.append(known[-1] if known else -1)
    assert rows(target, ordered, limit) == expected
