"""Canonical bars and the values of features on them: a fingerprint of behaviour, beside that of source.

The bars are integer arithmetic written out here, on a tick of 1/4, so that they are the same bits on every
machine. A long flat beginning fills every window with one price and no volume; then come trends, constant
stretches, bars without a range, gaps, a contraction, huge and zero volumes, negative prices and streaks.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from lockstep.features.feature_id import FeatureId, Term
from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.sessions import CALENDAR_COLUMNS, Session, SessionTemplate
from lockstep.market.timeframe import Timeframe

CANONICAL_VALUES = 256
CANONICAL_SYMBOL = "BASE"
CANONICAL_PAIR = "PAIR"
_HOURLY = Timeframe(60)
_HOUR = 3_600_000_000_000
_DAY = 24 * _HOUR
_FIRST_END = 1_577_836_800_000_000_000  # 2020-01-01 00:00 UTC
_TICK = 0.25
_FLAT_TICKS = 800
_HUGE = 10**15


class _Stretch(NamedTuple):
    """Some bars of one kind; prices in ticks.

    gap      from the last close to the first open
    drift    mean change from open to close
    noise    largest deviation from it
    reach    largest extension of high and low beyond open and close
    volume   scale of the volume
    """

    bars: int
    gap: int
    drift: int
    noise: int
    reach: int
    volume: int


_STRETCHES = (
    _Stretch(bars=32, gap=0, drift=2, noise=6, reach=5, volume=1_000),
    _Stretch(bars=32, gap=3, drift=-2, noise=6, reach=5, volume=1_500),
    _Stretch(bars=16, gap=0, drift=0, noise=0, reach=0, volume=0),
    _Stretch(bars=16, gap=-5, drift=0, noise=0, reach=7, volume=800),
    _Stretch(bars=24, gap=200, drift=0, noise=12, reach=12, volume=3_000),
    _Stretch(bars=16, gap=-90, drift=0, noise=1, reach=1, volume=200),
    _Stretch(bars=16, gap=7, drift=1, noise=4, reach=6, volume=_HUGE),
    _Stretch(bars=14, gap=11, drift=3, noise=0, reach=2, volume=900),
    _Stretch(bars=14, gap=-11, drift=-3, noise=0, reach=2, volume=900),
    _Stretch(bars=36, gap=-1_100, drift=1, noise=9, reach=8, volume=4_000),
    _Stretch(bars=32, gap=1_300, drift=-1, noise=8, reach=10, volume=1_200),
)
_ACTIVE_BARS = sum(stretch.bars for stretch in _STRETCHES)


class Resolver(Protocol):
    """What the functions here need of a `FeatureRegistry`."""

    def parse(self, text: str) -> FeatureId:
        """Return the parsed id."""

    def calculate(self, feature_id: str, bars: Bars, *, history: History | None = None) -> Floats:
        """Return one feature over `bars`."""


def canonical_values(feature_id: str, registry: Resolver) -> Floats:
    """Return an id's values on the canonical bars: float64 (256,), NaN as the feature declares.

    Each term is computed on a series of its own whose windows are all full. Qualifiers (`@NQ`, `@1d`) do
    not matter here: what is certified is the feature, the join has its own tests.
    """
    return registry.parse(feature_id).value(
        lambda term: term_values(term, registry, canonical_history(term.lookback))
    )


def term_values(term: Term, registry: Resolver, history: History) -> Floats:
    """Return the last 256 values of an unqualified term on the base series of `history`."""
    bars = history.series(SeriesKey(CANONICAL_SYMBOL, _HOURLY))
    return registry.calculate(str(term.unqualified), bars, history=history)[-CANONICAL_VALUES:]


def canonical_history(lookback: int) -> History:
    """Return canonical bars and pair bars that give 256 values of a feature with this lookback."""
    n = lookback - 1 + CANONICAL_VALUES
    symbols = (CANONICAL_SYMBOL, CANONICAL_PAIR)
    return History(
        bars={SeriesKey(symbol, _HOURLY): canonical_bars(n, symbol, _HOURLY) for symbol in symbols},
        markets={CANONICAL_SYMBOL: canonical_market()},
    )


def canonical_market() -> Market:
    """Return the market of the canonical bars: BASE, paired with PAIR, on a synthetic session."""
    instrument = Instrument(
        symbol=CANONICAL_SYMBOL, multiplier=1.0, tick_size=_TICK, session="canonical", pair=CANONICAL_PAIR
    )
    return Market(instrument=instrument, session=CanonicalSession())


def canonical_bars(n: int, symbol: str, timeframe: Timeframe) -> Bars:
    """Return n bars: the last 248 run through every kind of stretch, all before them are flat.

    The symbol seeds the deviations, so that two symbols move differently.
    """
    rows = [(_FLAT_TICKS,) * 4 + (0,)] * max(0, n - _ACTIVE_BARS) + _active_rows(symbol)
    table = np.array(rows[-n:], dtype=np.float64)
    step = _DAY if timeframe.is_session else timeframe.nanoseconds
    return Bars(
        symbol=symbol,
        timeframe=timeframe,
        end=_FIRST_END + step * np.arange(n, dtype=np.int64),
        open=table[:, 0] * _TICK,
        high=table[:, 1] * _TICK,
        low=table[:, 2] * _TICK,
        close=table[:, 3] * _TICK,
        volume=table[:, 4],
        source="canonical bars",
    )


class _Dice:
    """A linear congruential generator modulo 2**32; only its upper bits are used."""

    def __init__(self, seed: str) -> None:
        self._state = sum(ord(letter) * 31**place for place, letter in enumerate(seed))

    def draw(self, sides: int) -> int:
        """Return an integer 0 <= x < sides, sides <= 65,536."""
        self._state = (1_664_525 * self._state + 1_013_904_223) % 2**32
        return int((self._state >> 16) % sides)


def _active_rows(symbol: str) -> list[tuple[int, ...]]:
    dice = _Dice(symbol)
    rows: list[tuple[int, ...]] = []
    close = _FLAT_TICKS
    for stretch in _STRETCHES:
        for position in range(stretch.bars):
            open_ = close + (stretch.gap if position == 0 else 0)
            # A stretch without drift and noise but with a reach: bars of no range at changing prices.
            leap = stretch.reach if stretch.drift == stretch.noise == 0 else 0
            open_ += dice.draw(2 * leap + 1) - leap
            close = open_ + stretch.drift + dice.draw(2 * stretch.noise + 1) - stretch.noise
            reach = 0 if leap else stretch.reach
            high = max(open_, close) + dice.draw(reach + 1)
            low = min(open_, close) - dice.draw(reach + 1)
            volume = stretch.volume * (1 + dice.draw(100)) // 50
            rows.append((open_, high, low, close, volume))
    return rows


class CanonicalSession(Session):
    """Calendar columns by plain arithmetic on the stamp: no exchange calendar is loaded or can change."""

    def __init__(self) -> None:
        super().__init__(
            SessionTemplate(name="canonical", calendar="24/7", timezone="UTC", open="00:00", close="24:00")
        )

    def columns(self, end: Stamps, timeframe: Timeframe) -> dict[str, Floats]:
        """Return CALENDAR_COLUMNS: 4 hourly bars a day, 20 days a month, every fifth day a half-day.

        The first bar of a day ends before its session opens, the last bar of a half-day after it closes.
        """
        hours = (end - _FIRST_END) // _HOUR
        day = hours // 4
        columns = (
            day % 5,
            day // 20 % 12 + 1,
            day % 20 + 1,
            day % 20 + 1,
            19 - day % 20,
            hours % 24,
            hours % 4 * 120 - 60,
            np.where(day % 5 == 4, 240, 480),
            hours % 4 > 0,
        )
        return {
            name: values.astype(np.float64) for name, values in zip(CALENDAR_COLUMNS, columns, strict=True)
        }

    def column_row(self, end: int, timeframe: Timeframe) -> Floats:
        """Return CALENDAR_COLUMNS of one bar, float64 (9,)."""
        columns = self.columns(np.array([end], dtype=np.int64), timeframe)
        return np.array([values[0] for values in columns.values()])
