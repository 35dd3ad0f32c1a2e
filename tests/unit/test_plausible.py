"""The plausibility band: what passes, what does not, and what it is made of."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from benchmarks.plausible import measured, series
from lockstep.errors import ConfigError
from lockstep.live.config import LiveConfig
from lockstep.live.messages import Values
from lockstep.live.plausible import Bands, Plausibility
from lockstep.market.bar_rules import broken_rule
from lockstep.market.config import load_instruments
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from support import papers
from support.markets import MINUTE, NEW_YORK, ONE_MINUTE, utc

DAY = 86_400_000_000_000
ES, ES_MINUTE = SeriesKey("ES", DAILY), SeriesKey("ES", ONE_MINUTE)
FRIDAY = utc("2024-01-05 17:00", NEW_YORK)
MONDAY = utc("2024-01-08 17:00", NEW_YORK)


def bar(close: float, spread: float = 1.0, volume: float = 1_000.0) -> Values:
    return (close, close + spread / 2, close - spread / 2, close, volume)


def bands(*bars: Values, key: SeriesKey = ES, last: int = FRIDAY, **settings: object) -> Bands:
    """Return the band after bars on consecutive days or minutes, the last of which ends at `last`."""
    made = Bands(Plausibility.model_validate(settings))
    step = DAY if key.timeframe.is_session else key.timeframe.nanoseconds
    for number, values in enumerate(bars):
        made.take(key, last - (len(bars) - 1 - number) * step, values)
    return made


def allowed(made: Bands, key: SeriesKey = ES, end: int = FRIDAY + DAY) -> float:
    """Return the width of the band above the last close, to a millionth, by bisection."""
    reference = made.reference(key)
    assert reference is not None
    low, high = 0.0, 1e9
    while high - low > 1e-6:
        middle = (low + high) / 2
        close = reference[1]
        fits = not made.fault(key, end, (close, close + middle, close, close, 0.0))
        low, high = (middle, high) if fits else (low, middle)
    return low


QUIET = [bar(4_000.0, spread=10.0)] * 30


def test_the_larger_of_percentage_and_range_counts() -> None:
    assert allowed(bands(*QUIET)) == pytest.approx(200.0)
    assert allowed(bands(*QUIET, percent=1.0)) == pytest.approx(100.0)
    assert allowed(bands(*QUIET, percent=1.0, atr=25.0)) == pytest.approx(250.0)


def test_the_range_counts_the_gap_between_bars() -> None:
    """Closes that alternate by 20 with bars of no range: the true range is the gap."""
    made = bands(*[bar(4_000.0 + 20 * (i % 2), spread=0.0) for i in range(40)], percent=0.001)
    assert allowed(made) == pytest.approx(10 * 20.0)


@pytest.mark.parametrize("place", range(4))
def test_each_of_the_four_prices_is_held_against_the_last_close(place: int) -> None:
    made, values = bands(*QUIET), [4_000.0, 4_000.0, 4_000.0, 4_000.0, 1.0]
    values[place] = 4_200.0 if place != 2 else 3_800.0
    assert made.fault(ES, MONDAY - 2 * DAY, tuple(values)) == ""
    values[place] += 0.01 if place != 2 else -0.01
    fault = made.fault(ES, MONDAY - 2 * DAY, (min(values[:4]), max(values[:4]), *values[2:]))
    assert "from the last accepted close 4000 of 2024-01-05T22:00:00Z" in fault
    assert "the band is 3800 to 4200 (5 % are 200, 10 ATR 100)" in fault


def test_the_band_grows_with_the_square_root_of_the_time_without_a_bar() -> None:
    made = bands(*QUIET)
    assert allowed(made, end=MONDAY) == pytest.approx(200.0 * math.sqrt(3))
    assert allowed(made, end=FRIDAY + 100 * DAY) == pytest.approx(2_000.0)
    minutes = bands(*[bar(4_000.0, spread=4.0)] * 30, key=ES_MINUTE)
    assert allowed(minutes, ES_MINUTE, FRIDAY + MINUTE) == pytest.approx(200.0)
    assert allowed(minutes, ES_MINUTE, FRIDAY + 49 * 60 * MINUTE) == pytest.approx(40.0 * math.sqrt(49 * 60))


def test_the_growth_stops_short_of_zero() -> None:
    """After a weekend in a wild market a low of 0 is still no price."""
    made = bands(*[bar(4_000.0, spread=300.0)] * 30)
    assert allowed(made) == pytest.approx(3_000.0)
    assert allowed(made, end=MONDAY) == pytest.approx(3_200.0)
    assert "low 0" in made.fault(ES, MONDAY, (4_000.0, 4_000.0, 0.0, 4_000.0, 1.0))


def test_prices_around_zero_and_below() -> None:
    """A calendar spread, and crude oil in April 2020: a percentage of next to nothing is no band."""
    spread = bands(*[bar(0.25 * (-1) ** i, spread=0.5) for i in range(30)])
    assert allowed(spread) == pytest.approx(10 * sum([0.75] * 20) / 20)
    oil = bands(*[bar(close, spread=3.0) for close in (25.0, 24.0, 22.0, 20.0, 18.0)] * 6)
    assert oil.fault(ES, FRIDAY + DAY, bar(-5.0)) == ""
    assert oil.fault(ES, FRIDAY + DAY, (18.0, 18.0, -40.32, -37.63, 1.0)) != ""
    below = bands(*[bar(-30.0, spread=2.0)] * 30)
    assert below.fault(ES, FRIDAY + DAY, bar(-12.0)) == ""
    assert below.fault(ES, FRIDAY + DAY, bar(30.0)) != ""


def test_the_percentage_is_of_the_largest_close_of_the_window() -> None:
    """A series that fell to next to nothing keeps a band, also where its bars have no range."""
    assert allowed(bands(*[bar(100.0, spread=0.0)] * 19, bar(1.0, spread=0.0), atr=0.001)) > 4.9


def test_flat_bars_leave_the_percentage_and_all_zeros_ask_the_operator() -> None:
    assert allowed(bands(*[bar(4_000.0, spread=0.0)] * 30)) == pytest.approx(200.0)
    nothing = bands(*[bar(0.0, spread=0.0)] * 30)
    assert nothing.fault(ES, FRIDAY + DAY, bar(0.0, spread=0.0)) == ""
    assert nothing.fault(ES, FRIDAY + DAY, bar(0.25, spread=0.0)) != ""


def test_few_bars_and_none() -> None:
    assert allowed(bands(bar(4_000.0, spread=40.0))) == pytest.approx(400.0)
    first = Bands(Plausibility())
    assert first.fault(ES, FRIDAY, (4_000.0, 4_200.0, 3_800.0, 3_900.0, 1.0)) == ""
    for values in ((4_000.0, 1e308, 3_990.0, 4_000.0, 1.0), (4_000.0, 4_000.0, 0.0, 4_000.0, 1.0)):
        assert "from the open 4000" in first.fault(ES, FRIDAY, values)


def test_volume() -> None:
    made = bands(*QUIET)
    assert made.fault(ES, FRIDAY + DAY, bar(4_000.0, volume=1e8)) == ""
    assert "volume 1e+300 is more than 1e+08" in made.fault(ES, FRIDAY + DAY, bar(4_000.0, volume=1e300))
    silent = bands(*[bar(4_000.0, volume=0.0)] * 30)
    assert silent.fault(ES, FRIDAY + DAY, bar(4_000.0, volume=1e5)) == ""
    assert silent.fault(ES, FRIDAY + DAY, bar(4_000.0, volume=1e6)) != ""
    for volume in (-1.0, math.nan, math.inf):
        assert broken_rule(bar(4_000.0, volume=volume)), "a rule of bars, before any band"


def test_the_state_is_that_of_the_newest_bars() -> None:
    """A restart knows fewer bars than the engine saw, and must judge alike."""
    many = [bar(4_000.0 + 7 * math.sin(i), spread=3 + i % 5) for i in range(300)]
    assert allowed(bands(*many)) == allowed(bands(*many[-21:]))


def test_a_symbol_and_a_series_may_have_their_own_band() -> None:
    settings = Plausibility.model_validate(
        {"by_symbol": {"ES": {"percent": 2}, "ES:1min": {"atr": 30}, "CL": {"percent": 40, "volume": 5}}}
    )
    assert settings.band(ES) == (2.0, 10.0, 100_000.0)
    assert settings.band(ES_MINUTE) == (2.0, 30.0, 100_000.0)
    assert settings.band(SeriesKey("CL", DAILY)) == (40.0, 10.0, 5.0)
    assert settings.band(SeriesKey("NQ", DAILY)) == (5.0, 10.0, 100_000.0)
    with pytest.raises(ConfigError, match=r"by_symbol: CL: is not read by this desk; did you mean|known are"):
        settings.require_known([ES, ES_MINUTE])
    settings.require_known([ES, ES_MINUTE, SeriesKey("CL", Timeframe.parse("1h"))])


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": 0}, {"atr": -1}, {"bars": 0}, {"bars": 501}, {"agree": 1}, {"volume": math.inf},
        {"percentage": 5}, {"by_symbol": {"ES": {"bars": 5}}},
    ],
)  # fmt: skip
def test_a_wrong_band_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = papers.config(tmp_path, plausible=wrong)
    with pytest.raises(ConfigError) as refused:
        LiveConfig.load(path)
    assert "plausible" in str(refused.value) or "unknown key" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_band_is_on_by_default_and_off_for_a_replay(tmp_path: Path) -> None:
    tail = {"kind": "tail", "symbol": "COMP", "path": "x.csv", "source": "futures_daily"}
    assert LiveConfig.load(papers.config(tmp_path)).bands is None
    live = LiveConfig.load(papers.config(tmp_path, feeds=[tail]))
    assert live.bands == Plausibility()
    off = papers.config(tmp_path, feeds=[tail], plausible={"enabled": False}, memory_bars=1)
    assert LiveConfig.load(off).bands is None
    wide = papers.config(tmp_path, feeds=[tail], plausible={"bars": 200}, memory_bars=1)
    assert LiveConfig.load(wide).kept_bars == 201, "or a restart would forget what the band is made of"
    assert yaml.safe_load(wide.read_text())["memory_bars"] == 1


CAUGHT = (
    "high 1e308",
    "low 0.0",
    "all prices 0.0",
    "bar times 10",
    "bar divided by 10",
    "bar times 100",
    "sign lost",
    "one price by a factor 10",
    "bar without decimal point",
    "one price without decimal point",
    "volume 1e300",
    "volume negative",
)


def test_twenty_years_of_two_indices_pass_and_planted_errors_do_not() -> None:
    """The quick part of `benchmarks/plausible.py`, on the embedded bars."""
    for bars in series(load_instruments(), None):
        found = measured(bars, 2, 400)
        assert (found["bars"], found["at"]) == (5_031, [])
        assert {kind: found["caught"][kind] for kind in CAUGHT} == dict.fromkeys(CAUGHT, 1.0)
        assert found["caught"]["digits 1 and 2 swapped"] > 0.97
        assert found["caught"]["digits 2 and 3 swapped"] > 0.75
        assert found["by rules alone"]["digits 1 and 2 swapped"] < 0.85, "the band adds something"
