"""`History`: the bars of several instruments and timeframes that one computation may look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lockstep.errors import DataError
from lockstep.market.bars import Bars
from lockstep.market.instrument import Instrument
from lockstep.market.rolls import Rolls
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe


class SeriesKey(NamedTuple):
    """Names one series of bars.

    >>> from lockstep.market import Timeframe
    >>> str(SeriesKey("ES", Timeframe.parse("1h")))
    'ES:1h'
    """

    symbol: str
    timeframe: Timeframe

    def __str__(self) -> str:
        return f"{self.symbol}:{self.timeframe}"


@dataclass(frozen=True, kw_only=True)
class Market:
    """An instrument, the session it trades in, and the rolls of its contracts where bars have their prices.

    >>> from lockstep.market import load_instruments
    >>> market = load_instruments().market("ES")
    >>> market.instrument.multiplier, market.instrument.session
    (50.0, 'CME')
    """

    instrument: Instrument
    session: Session
    rolls: Rolls | None = None

    def named(self, lane: str) -> Market:
        """Return the market under the name of a lane that trades it, see `Instrument.named`."""
        return (
            self if lane == self.instrument.symbol else replace(self, instrument=self.instrument.named(lane))
        )


class BarSet(NamedTuple):
    """All bars that completed at one moment.

    bars maps a series to (open, high, low, close, volume).

    >>> from lockstep.market import DAILY
    >>> bar_set = BarSet(1_709_931_600_000_000_000, {SeriesKey("ES", DAILY): (10.0, 12.0, 9.0, 11.0, 5.0)})
    >>> [str(key) for key in bar_set.bars]
    ['ES:1d']
    """

    stamp: int
    bars: Mapping[SeriesKey, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class History:
    """Bars by series, and the market of every symbol that occurs in them.

    >>> from lockstep.market import DAILY, load_instruments
    >>> from lockstep.market.loader import load_bars
    >>> key = SeriesKey("COMP", DAILY)
    >>> history = History(bars={key: load_bars("COMP")}, markets=load_instruments().markets)
    >>> history.series(key).close.size > 5000
    True
    >>> next(history.bar_sets()).bars[key][3] == history.series(key).close[0]
    np.True_
    """

    bars: Mapping[SeriesKey, Bars]
    markets: Mapping[str, Market]

    def series(self, key: SeriesKey) -> Bars:
        """Return the bars of `key`; DataError, naming what there is, where they were not loaded."""
        if key not in self.bars:
            loaded = ", ".join(sorted(map(str, self.bars)))
            raise DataError(f"no bars of {key}: loaded are {loaded}; load them or drop what needs them")
        return self.bars[key]

    def bar_sets(self) -> Iterator[BarSet]:
        """Yield all bars in the order in which they completed, those of one stamp together."""
        rows = {key: _rows(bars) for key, bars in self.bars.items()}
        for stamp in sorted({int(end) for bars in self.bars.values() for end in bars.end}):
            yield BarSet(stamp, {key: found[stamp] for key, found in rows.items() if stamp in found})


def _rows(bars: Bars) -> dict[int, tuple[float, ...]]:
    values = zip(*(column.tolist() for column in bars.columns().values()), strict=True)
    return dict(zip(bars.end.tolist(), values, strict=True))
