"""Walk-forward windows by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Integers
from research.splits.walk_forward import DAY, WalkForward, WindowLength


def days(first: str, last: str) -> Integers:
    """Stamps at 21:00 UTC of every weekday."""
    every = np.arange(first, np.datetime64(last) + np.timedelta64(1, "D"), dtype="datetime64[D]")
    weekday = every[np.is_busday(every)]
    return (weekday.astype("datetime64[ns]") + np.timedelta64(21, "h")).astype(np.int64)


def dates(stamps: Integers, samples: Integers) -> tuple[str, str]:
    chosen = stamps[samples].astype("datetime64[ns]").astype("datetime64[D]")
    return str(chosen[0]), str(chosen[-1])


def stamp(date: str) -> int:
    return int(np.datetime64(date, "ns").astype(np.int64))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("4y", WindowLength(4, "y")),
        (" 6M ", WindowLength(6, "m")),
        ("90", WindowLength(90, "d")),
        ("250b", WindowLength(250, "b")),
    ],
)
def test_spans_are_spelled_with_a_unit_or_in_days(text: str, span: WindowLength) -> None:
    assert WindowLength.parse(text) == span
    assert WindowLength.parse(str(span)) == span


@pytest.mark.parametrize("text", ["", "y", "0d", "-3d", "4 weeks", "1.5y"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="need a positive number"):
        WindowLength.parse(text)


@pytest.mark.parametrize(
    ("start", "text", "times", "end"),
    [
        ("2016-02-29", "1y", 1, "2017-02-28"),
        ("2016-02-29", "1y", 4, "2020-02-29"),
        ("2015-12-31", "2m", 1, "2016-02-29"),
        ("2015-12-15", "1m", 1, "2016-01-15"),
        ("2015-12-31", "10d", 2, "2016-01-20"),
        ("1968-12-31", "1y", 2, "1970-12-31"),
    ],
)
def test_calendar_spans_keep_the_day_of_the_month(start: str, text: str, times: int, end: str) -> None:
    hours = 21 * 3_600_000_000_000
    assert WindowLength.parse(text).after(stamp(start) + hours, times) == stamp(end) + hours


def test_bars_are_counted() -> None:
    assert WindowLength(3, "b").after(5, 2) == 11


def test_rolling_bars_by_hand() -> None:
    walk = WalkForward.parse("4b/2b/2b")
    splits = list(walk.split(np.zeros((10, 1))))
    assert [(train.tolist(), test.tolist()) for train, test in splits] == [
        ([0, 1, 2, 3], [4, 5]),
        ([2, 3, 4, 5], [6, 7]),
        ([4, 5, 6, 7], [8, 9]),
    ]
    assert walk.get_n_splits(np.zeros(10)) == 3


def test_anchored_training_grows() -> None:
    splits = list(WalkForward.parse("4b/3b", anchored=True).split(np.zeros(10)))
    assert [(train.tolist(), test.tolist()) for train, test in splits] == [
        ([0, 1, 2, 3], [4, 5, 6]),
        ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9]),
    ]


def test_years_of_a_decade_end_with_the_data() -> None:
    stamps = days("2010-09-01", "2020-08-31")
    walk = WalkForward.parse("4y/1y/1y").on(stamps)
    windows = [(dates(stamps, train), dates(stamps, test)) for train, test in walk.split(stamps)]
    assert len(windows) == walk.get_n_splits() == 6
    assert windows[0] == (("2010-09-01", "2014-08-29"), ("2014-09-01", "2015-08-31"))
    assert windows[-1] == (("2015-09-01", "2019-08-30"), ("2019-09-02", "2020-08-31"))


def test_days_overlap_where_the_step_is_shorter_than_the_test() -> None:
    windows = WalkForward.parse("365/90/30").windows(0, 600 * DAY)
    assert [window.test_start // DAY for window in windows[:3]] == [365, 395, 425]
    assert [(window.train_start // DAY, window.test_end // DAY) for window in windows[:2]] == [
        (0, 455),
        (30, 485),
    ]


@pytest.mark.parametrize(("stop", "ends"), [(8, [6, 8]), (7, [6, 7]), (6, [6])])
def test_a_last_window_needs_half_of_its_length(stop: int, ends: list[int]) -> None:
    windows = WalkForward.parse("4b/2b").windows(0, stop)
    assert [window.test_end for window in windows] == ends


def test_labels_that_are_open_at_the_boundary_do_not_train() -> None:
    start = np.arange(10)
    splits = list(WalkForward.parse("4b/2b/2b").on(start, start + 2).split())
    assert splits[0][0].tolist() == [0, 1]
    assert splits[1][0].tolist() == [2, 3]


def test_dates_bind_as_datetime64() -> None:
    stamps = days("2010-09-01", "2016-08-31")
    bound = WalkForward.parse("4y/1y").on(stamps.astype("datetime64[ns]"))
    assert bound.get_n_splits() == 2


def test_wrong_walk_forwards_are_refused() -> None:
    with pytest.raises(ConfigError, match="train/test/step"):
        WalkForward.parse("4y")
    with pytest.raises(ConfigError, match="do not mix"):
        WalkForward.parse("100b/1y")
    with pytest.raises(ConfigError, match="least 0"):
        WalkForward(
            train=WindowLength(1, "y"), test=WindowLength(1, "y"), step=WindowLength(1, "y"), least=0.0
        )
    with pytest.raises(ConfigError, match="data from 2019-01-01 to 2019-06-01 is too short"):
        WalkForward.parse("4y/1y").windows(stamp("2019-01-01"), stamp("2019-06-01"))
    with pytest.raises(ConfigError, match="from bar 0 to bar 4 is too short"):
        WalkForward.parse("4b/1b").windows(0, 4)
    with pytest.raises(ConfigError, match="nothing to split"):
        WalkForward.parse("4b/1b").get_n_splits()
    with pytest.raises(ConfigError, match="bind them with"):
        list(WalkForward.parse("4y/1y").split(np.zeros(10)))
    with pytest.raises(DataError, match="9 samples, 10 label intervals"):
        list(WalkForward.parse("4b/1b").on(np.arange(10)).split(np.zeros(9)))


def test_a_window_without_samples_is_named() -> None:
    stamps = np.concatenate((days("2010-01-01", "2012-12-31"), days("2016-01-01", "2018-12-31")))
    with pytest.raises(DataError, match="test from 2013-01-01: 782 training and 0 test samples"):
        list(WalkForward.parse("3y/1y").on(stamps).split())


def test_it_serves_scikit_learn() -> None:
    dummy = pytest.importorskip("sklearn.dummy")
    selection = pytest.importorskip("sklearn.model_selection")
    y = np.arange(12.0)
    scores = selection.cross_val_score(
        dummy.DummyRegressor(),
        y[:, None],
        y,
        cv=WalkForward.parse("4b/2b"),
        scoring="neg_mean_absolute_error",
    )
    assert scores.tolist() == [-3.0] * 4
