from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import BadBars
from lockstep.market.ticks import Ticks


def ticks(stamp: list[int], price: list[float], volume: list[float]) -> Ticks:
    return Ticks(
        symbol="ES",
        stamp=np.array(stamp, dtype=np.int64),
        price=np.array(price, dtype=np.float64),
        volume=np.array(volume, dtype=np.float64),
    )


def test_several_trades_at_one_moment_and_negative_prices_are_legal() -> None:
    made = ticks([1, 1, 2], [-37.6, -37.6, 0.0], [1.0, 0.5, 0.0])
    assert len(made) == 3
    assert made.rows(1, 3).price.tolist() == [-37.6, 0.0]


@pytest.mark.parametrize(
    ("stamp", "price", "volume", "rule"),
    [
        ([2, 1], [1.0, 1.0], [1.0, 1.0], "fall"),
        ([1, 2], [1.0, np.nan], [1.0, 1.0], "price"),
        ([1, 2], [1.0, 1.0], [1.0, -1.0], "volume"),
        ([1, 2], [1.0, 1.0], [1.0, np.inf], "volume"),
        ([1, 2], [1.0], [1.0, 1.0], "length"),
    ],
)
def test_a_broken_row_is_refused(
    stamp: list[int], price: list[float], volume: list[float], rule: str
) -> None:
    with pytest.raises(BadBars, match=rule):
        ticks(stamp, price, volume)
