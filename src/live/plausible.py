"""The plausibility band: how far a live bar may be from the last accepted close of its series.

A bar that breaks no rule of `Bars` may still be absurd: a missing decimal point, a low of 0, a high of 1e308.
Such a bar is quarantined until the operator decides, see `quarantine.py`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from pydantic import Field

from lockstep.errors import ConfigError
from lockstep.live.messages import Values, iso
from lockstep.market.bars import PRICE_COLUMNS
from lockstep.market.history import SeriesKey
from lockstep.market.schedule import DAY
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings, suggestion

AGREE = "agree with each other: the market may have moved there"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Reference = tuple[int, float]
_VOLUME = 4
_SHORT_OF_ZERO = 0.8


class PlausibleBand(NamedTuple):
    """The band of one series; see `Plausibility`."""

    percent: float
    atr: float
    volume: float


class BandChange(Settings):
    """What differs for one symbol or series; None keeps the desk's value."""

    percent: Positive | None = None
    atr: Positive | None = None
    volume: Positive | None = None


class Plausibility(Settings):
    """The band of a desk. A price may be `percent` or `atr` away, whichever is more.

    percent   of the largest close, without its sign, of the last `bars` bars: for one day; it grows with the
              square root of the days since the last accepted bar
    atr       times the average true range of the last `bars` bars: for one bar; it grows with the square root
              of the bar lengths since the last accepted bar
    bars      of the average true range
    volume    times the largest volume of the last `bars` bars, or of one contract
    agree     so many quarantined bars in a row that agree with each other are pointed out to the operator
    by_symbol   other values by symbol (`CL`) or series (`6E:1min`, which goes before its symbol)
    """

    enabled: bool = True
    percent: Positive = 5.0
    atr: Positive = 10.0
    bars: Annotated[int, Field(ge=1, le=500)] = 20
    volume: Positive = 100_000.0
    agree: Annotated[int, Field(ge=2)] = 3
    by_symbol: Mapping[str, BandChange] = {}

    def band(self, key: SeriesKey) -> PlausibleBand:
        """Return the band of a series."""
        band = PlausibleBand(self.percent, self.atr, self.volume)
        for name in (key.symbol, str(key)):
            if name in self.by_symbol:
                band = band._replace(**self.by_symbol[name].model_dump(exclude_none=True))
        return band

    def require_known(self, keys: Sequence[SeriesKey]) -> None:
        """Raise ConfigError where `by_symbol` names what the desk does not read."""
        known = {name for key in keys for name in (key.symbol, str(key))}
        for name in self.by_symbol:
            if name not in known:
                near = suggestion(name, known) or f"; it reads {', '.join(sorted(map(str, keys)))}"
                raise ConfigError(f"plausible.by_symbol: {name}: is not read by this desk{near}")


@dataclass(slots=True)
class _Past:
    """The newest accepted bars of a series: end and close of the last, and what the band is made of."""

    end: int
    close: float
    closes: deque[float]
    ranges: deque[float]
    volumes: deque[float]


@dataclass
class Bands:
    """Judges bars against what was accepted before. Its state follows from the accepted bars alone.

    settings   None accepts everything
    """

    settings: Plausibility | None = None
    _past: dict[SeriesKey, _Past] = field(default_factory=dict)
    _bands: dict[SeriesKey, PlausibleBand] = field(default_factory=dict)

    @property
    def agree(self) -> int:
        """How many quarantined bars in a row that agree with each other are pointed out."""
        return self.settings.agree if self.settings else 0

    def take(self, key: SeriesKey, end: int, values: Values) -> None:
        """Accept a bar, later than all of its series before it."""
        if self.settings is None:
            return
        _, high, low, close, volume = values
        past = self._past.get(key)
        if past is None:
            closes, ranges, volumes = (deque[float](maxlen=self.settings.bars) for _ in range(3))
            past = self._past[key] = _Past(end, close, closes, ranges, volumes)
            past.ranges.append(high - low)
        else:
            past.ranges.append(max(high, past.close) - min(low, past.close))
        past.end, past.close = end, close
        past.closes.append(abs(close))
        past.volumes.append(volume)

    def reference(self, key: SeriesKey) -> Reference | None:
        """Return (end, close) of the newest accepted bar of a series, None before the first."""
        past = self._past.get(key)
        return None if past is None else (past.end, past.close)

    def fault(self, key: SeriesKey, end: int, values: Values, *, after: Reference | None = None) -> str:
        """Return what is implausible about a bar, with reference and band, or "".

        end     of the bar, or an earlier moment where the band should not have grown since
        after   the reference where it is not the newest accepted bar
        """
        if self.settings is None:
            return ""
        band = self._bands.get(key) or self._bands.setdefault(key, self.settings.band(key))
        past = self._past.get(key)
        reference = after or self.reference(key)
        if reference is None:
            return _against_its_open(values, band)
        return self._against(reference, past, key.timeframe, end, values, band) or _too_much(
            values[_VOLUME], past, band
        )

    def _against(
        self,
        reference: Reference,
        past: _Past | None,
        timeframe: Timeframe,
        end: int,
        values: Values,
        band: PlausibleBand,
    ) -> str:
        since, close = reference
        by_percent = band.percent / 100.0 * max(abs(close), *(past.closes if past else ()))
        by_atr = band.atr * sum(past.ranges) / len(past.ranges) if past else 0.0
        width = _grown(by_percent, by_atr, close, *_elapsed(end - since, timeframe))
        # Every bar of a desk passes here: the names are only looked for where one of the four is outside.
        if abs(values[1] - close) <= width and abs(values[2] - close) <= width:
            return ""
        name, value = _farthest(values, close)
        return (
            f"{name} {value:.10g} is {abs(value - close):.6g} from the last accepted close {close:.10g} of "
            f"{iso(since)}; the band is {close - width:.10g} to {close + width:.10g} "
            f"({band.percent:g} % are {by_percent:.6g}, {band.atr:g} ATR {by_atr:.6g})"
        )


def _grown(by_percent: float, by_atr: float, close: float, days: float, steps: float) -> float:
    """Return the width of the band after so many days and bar lengths without a bar.

    The growth stops short of zero, where the band did not reach it: a missing price is often sent as 0.
    """
    width, grown = max(by_percent, by_atr), max(by_percent * math.sqrt(days), by_atr * math.sqrt(steps))
    return grown if width >= abs(close) else max(width, min(grown, _SHORT_OF_ZERO * abs(close)))


def _elapsed(nanoseconds: int, timeframe: Timeframe) -> tuple[float, float]:
    """Return the days and the bar lengths since the reference, at least 1 each."""
    length = DAY if timeframe.is_session else timeframe.nanoseconds
    return max(nanoseconds / DAY, 1.0), max(nanoseconds / length, 1.0)


def _farthest(values: Values, reference: float) -> tuple[str, float]:
    prices = dict(zip(PRICE_COLUMNS, values, strict=False))
    return max(prices.items(), key=lambda each: abs(each[1] - reference))


def _against_its_open(values: Values, band: PlausibleBand) -> str:
    """Hold the first bar of a series against its own open."""
    open_ = values[0]
    width = band.percent / 100.0 * abs(open_)
    name, value = _farthest(values, open_)
    if abs(value - open_) <= width:
        return ""
    return (
        f"{name} {value:.10g} is {abs(value - open_):.6g} from the open {open_:.10g}; the first bar of a "
        f"series may span {band.percent:g} %, {width:.6g}"
    )


def _too_much(volume: float, past: _Past | None, band: PlausibleBand) -> str:
    largest = max(1.0, *past.volumes) if past else 1.0
    most = band.volume * largest
    if volume <= most:
        return ""
    return f"volume {volume:.10g} is more than {most:.6g}, {band.volume:g} times the largest before"
