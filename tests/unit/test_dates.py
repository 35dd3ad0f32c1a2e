"""`DateRange` stands on both sides of every equality between engines: it gets oracles of its own."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from pydantic import ValidationError

from lockstep.errors import ConfigError, NoBars
from lockstep.market.dates import FIRST, LAST, DateRange

DATES = np.array(
    ["2020-01-02", "2020-01-03", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[D]"
)


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        (None, None, slice(0, 5)),
        ("2020-01-03", None, slice(1, 5)),
        (None, "2020-01-03", slice(0, 3)),
        ("2020-01-03", "2020-01-03", slice(1, 3)),
        ("2020-01-04", "2020-01-06", slice(3, 4)),
        (date(2020, 1, 7), date(2020, 1, 7), slice(4, 5)),
        ("1999-01-01", "2020-01-01", None),
        ("2020-01-04", "2020-01-05", None),
        ("2020-01-08", None, None),
    ],
)
def test_both_ends_belong_to_a_range(
    start: str | date | None, end: str | date | None, rows: slice | None
) -> None:
    dates = DateRange.of(start, end)
    if rows is None:
        with pytest.raises(NoBars, match=r"bars: nothing from .* to .*: it holds 2020-01-02 to 2020-01-07"):
            dates.rows(DATES, "bars")
    else:
        assert dates.rows(DATES, "bars") == rows


def test_rows_are_those_that_a_plain_comparison_finds() -> None:
    days = [FIRST, *(date(2020, 1, day) for day in range(1, 10)), LAST]
    for start in days:
        for end in days:
            if start > end:
                continue
            chosen = [row for row, day in enumerate(DATES.tolist()) if start <= day <= end]
            if chosen:
                rows = DateRange(start=start, end=end).rows(DATES, "bars")
                assert list(range(rows.start, rows.stop)) == chosen


def test_no_bars_at_all() -> None:
    with pytest.raises(NoBars, match="nothing from the start to the end: it holds no bars at all"):
        DateRange().rows(DATES[:0], "bars")


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ConfigError, match="starts after it ends"):
        DateRange.of("2020-01-02", "2020-01-01")
    with pytest.raises(ValidationError, match="starts after it ends"):
        DateRange.model_validate(["2020-01-02", "2020-01-01"])


@pytest.mark.parametrize("pair", ["2020", [None, "2020-01-01"], ["2020-01-01"], {"start": "soon"}])
def test_a_file_gives_both_dates(pair: object) -> None:
    with pytest.raises(ValidationError):
        DateRange.model_validate(pair)


def test_a_text_that_is_no_date_is_named() -> None:
    with pytest.raises(ConfigError, match="end 'soon': must be a date like 2024-01-31"):
        DateRange.of(end="soon")


def test_every_stamp_is_within_the_open_range() -> None:
    for stamp in (np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max):
        day = np.datetime64(int(stamp), "ns").astype("datetime64[D]").item()
        assert FIRST.year <= day.year + 1
        assert day.year - 1 <= LAST.year


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (("2020-01-01", "2020-01-05"), ("2020-01-05", "2020-01-09"), True),
        (("2020-01-01", "2020-01-05"), ("2020-01-06", "2020-01-09"), False),
        (("2020-01-01", "2020-01-09"), ("2020-01-03", "2020-01-04"), True),
        ((None, None), ("2020-01-03", "2020-01-04"), True),
    ],
)
def test_overlaps(one: tuple[str | None, ...], other: tuple[str | None, ...], share: bool) -> None:
    first, second = DateRange.of(*one), DateRange.of(*other)
    assert first.overlaps(second) is share
    assert second.overlaps(first) is share
