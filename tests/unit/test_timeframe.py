from __future__ import annotations

import pytest

from lockstep.errors import ConfigError
from lockstep.market.timeframe import DAILY, Timeframe


@pytest.mark.parametrize(
    ("text", "minutes"), [("1min", 1), ("15min", 15), ("90min", 90), ("1h", 60), ("4h", 240), ("1d", 0)]
)
def test_one_spelling_each(text: str, minutes: int) -> None:
    timeframe = Timeframe.parse(text)
    assert timeframe == Timeframe(minutes)
    assert str(timeframe) == text
    assert timeframe.nanoseconds == minutes * 60 * 10**9
    assert timeframe.is_session == (timeframe == DAILY)


@pytest.mark.parametrize("text", ["60min", "2d", "24h", "0h", "1H", "day", "", "1.5h", "1500min", "-1h"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="timeframe"):
        Timeframe.parse(text)
