from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import BadBars
from lockstep.market.bars import BAR_COLUMNS, Bars, first_violation, violations
from support.markets import HOURLY, random_bars, stamps

END = stamps(["2024-01-04 10:00", "2024-01-04 11:00", "2024-01-04 12:00"])
BARS = random_bars(END, HOURLY)


def changed(name: str, row: int, value: float) -> dict[str, Any]:
    column = getattr(BARS, name).copy()
    column[row] = value
    return {name: column}


@pytest.mark.parametrize(
    ("name", "row", "value", "rule"),
    [
        ("open", 1, np.nan, "finite"),
        ("high", 2, np.inf, "finite"),
        ("volume", 0, np.nan, "finite"),
        ("high", 1, -1e9, "high must be >= low"),
        ("open", 0, 1e9, "open must be <= high"),
        ("open", 0, -1e9, "open must be >= low"),
        ("close", 0, 1e9, "close must be <= high"),
        ("close", 2, -1e9, "close must be >= low"),
        ("volume", 2, -1.0, "volume must be >= 0"),
    ],
)
def test_a_broken_row_is_named(name: str, row: int, value: float, rule: str) -> None:
    with pytest.raises(BadBars, match=f"bar {row}: {name} .*{rule}"):
        replace(BARS, **changed(name, row, value))


@pytest.mark.parametrize("end", [END[[0, 0, 1]], END[[0, 2, 1]]])
def test_stamps_rise(end: Any) -> None:
    with pytest.raises(BadBars, match="rise strictly"):
        replace(BARS, end=end)


def test_columns_have_one_length() -> None:
    with pytest.raises(BadBars, match="one length"):
        replace(BARS, close=BARS.close[:2])


def test_the_arrays_cannot_be_changed_and_are_not_the_callers() -> None:
    end = END.copy()
    bars = replace(BARS, end=end)
    end[0] = 0
    assert bars.end[0] == END[0]
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0


def test_rows_columns_frame_and_length() -> None:
    assert len(BARS.rows(1, 3)) == 2
    assert tuple(BARS.columns()) == BAR_COLUMNS
    frame = BARS.to_frame()
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    assert frame["close"].tolist() == BARS.close.tolist()


def test_the_hash_is_of_the_content() -> None:
    assert replace(BARS, source="elsewhere").content_hash == BARS.content_hash
    assert replace(BARS, symbol="NQ").content_hash != BARS.content_hash
    assert BARS.rows(0, 2).content_hash != BARS.content_hash


def test_the_earliest_violation_is_found_over_all_rules() -> None:
    columns = BARS.columns() | changed("volume", 1, -1.0) | changed("open", 2, np.nan)
    assert first_violation(END, columns) == (1, "volume -1.0", "volume must be >= 0")
    assert first_violation(END, BARS.columns()) is None
    assert all(mask.shape == END.shape for mask, _, _ in violations(END, columns))


def test_no_bars_are_bars() -> None:
    assert (
        len(Bars(symbol="X", timeframe=HOURLY, end=END[:0], **{n: c[:0] for n, c in BARS.columns().items()}))
        == 0
    )
