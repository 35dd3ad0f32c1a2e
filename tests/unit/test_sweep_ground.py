"""What sweeps over the same bars share: worked out once, and never that of other bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from research.sweep.inputs import Ground, calendar_of
from support.markets import BOOK, HOURLY, MINUTE, random_bars, utc

SESSION = BOOK.market("ES").session
BARS = random_bars(
    np.arange(utc("2018-03-05 00:00"), utc("2018-04-05 00:00"), 60 * MINUTE), HOURLY, symbol="ES"
)


def test_the_ground_of_the_last_sweep_is_kept() -> None:
    calendar = calendar_of(BARS, SESSION)
    whole, part = slice(0, len(BARS)), slice(100, 400)
    first = calendar.ground(BARS, whole, 50.0)
    assert calendar.ground(BARS, whole, 50.0) is first
    cheaper = calendar.ground(BARS, whole, 5.0)
    np.testing.assert_allclose(cheaper.exposure * 10.0, first.exposure)
    cut = calendar.ground(BARS, part, 5.0)
    np.testing.assert_array_equal(cut.prices[:, 3], BARS.close[part])
    assert cut.session[0] == 0
    assert calendar.last == [cut]


def test_other_bars_have_another_ground() -> None:
    """Equal times, other prices: the bars are told apart, not their calendar."""
    other = replace(BARS, close=BARS.low)
    rows = slice(0, len(BARS))
    found: list[Ground] = [calendar_of(each, SESSION).ground(each, rows, 50.0) for each in (BARS, other)]
    np.testing.assert_array_equal(found[1].prices[:, 3], BARS.low)
    assert (found[0].marks != found[1].marks).any()
    np.testing.assert_array_equal(found[0].session, found[1].session)
