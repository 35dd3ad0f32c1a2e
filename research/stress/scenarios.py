"""The kinds of stress scenarios: each is a class of settings that says how bars, dates or costs change.

A new kind is a subclass of `Scenario` in a file of its own and a line in `SCENARIOS`; joining puts it under
`tests/conformance/test_stress_scenarios.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated

import numpy as np
from pydantic import AwareDatetime, Field, field_validator, model_validator

from lockstep.errors import ConfigError, NoBars
from lockstep.market.bars import Bars, Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import Market
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from lockstep.models.manifest import Symbol
from lockstep.plugs import PlugSettings, Registry, kind_of
from lockstep.settings import suggestion
from research.stress.changes import (
    Stressed,
    StressWorld,
    by_date,
    gapped,
    on_ticks,
    require_positive,
    scaled,
    with_prices,
)

Times = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Shock = Annotated[float, Field(gt=-1, le=10, allow_inf_nan=False)]
"""A change of the price as a fraction of it: -0.2 is a fall by a fifth."""


class Scenario(PlugSettings):
    """One scenario; a subclass fixes its `kind`.

    name      what reports call it; default: what it does
    symbols   instruments that it changes; default: all
    """

    kind: str
    name: str = ""
    symbols: tuple[Symbol, ...] = ()

    @property
    def title(self) -> str:
        """What reports call it."""
        return self.name or self.described

    @property
    @abstractmethod
    def described(self) -> str:
        """What it does, in a few words."""

    @abstractmethod
    def apply(self, world: StressWorld) -> Stressed:
        """Return the world as the scenario would have it.

        NoBars where no lane has the bars that it needs; ConfigError or DataError where it cannot be applied.
        """

    def require_known(self, world: StressWorld) -> None:
        """Raise ConfigError where it names an instrument of which nothing is read."""
        known = {key.symbol for each in world.members.values() for key in each.history.bars}
        for symbol in self.symbols:
            if symbol not in known:
                raise ConfigError(
                    f"scenario {self.title}: {symbol} is not traded and not read{suggestion(symbol, known)}"
                )

    def _touched(self, world: StressWorld) -> list[str]:
        """Return the lanes that it changes."""
        return [each for each in world.members if not self.symbols or traded_symbol(each) in self.symbols]


def _require_shock(value: float) -> float:
    if value == 0.0:
        raise ValueError("a shock of 0 changes nothing; give a fraction such as -0.2")
    return value


class ReplayScenario(Scenario):
    """Trade the dates of a crisis again, and nothing else: bars before it only fill the feature windows.

    start, end   first and last session, both included
    """

    kind: str = "replay"
    start: date
    end: date

    @model_validator(mode="after")
    def _rises(self) -> ReplayScenario:
        if self.start > self.end:
            raise ValueError(f"start {self.start}, end {self.end}: starts after it ends; swap the dates")
        return self

    @property
    def described(self) -> str:
        """The dates."""
        return f"replay {self.start} to {self.end}"

    def apply(self, world: StressWorld) -> Stressed:
        """Keep the lanes that have bars on all of these dates; the others are named as missing."""
        missing = {}
        for symbol in world.members:
            if lacking := self._lacking(world, symbol):
                missing[symbol] = lacking
        # An ensemble trades as a whole, or not at all.
        gone = {traded_symbol(each): told for each, told in missing.items()}
        missing = {each: gone[traded_symbol(each)] for each in world.members if traded_symbol(each) in gone}
        members = {symbol: each for symbol, each in world.members.items() if symbol not in missing}
        if not members:
            raise NoBars(f"scenario {self.title}: {'; '.join(dict.fromkeys(missing.values()))}")
        return Stressed(members=members, span=DateRange(start=self.start, end=self.end), missing=missing)

    def _lacking(self, world: StressWorld, symbol: str) -> str:
        """Return what a lane lacks of the dates, in a sentence, "" for nothing."""
        traded = traded_symbol(symbol)
        if self.symbols and traded not in self.symbols:
            return f"{traded} is not in symbols"
        scheduled = world.market(symbol).session.scheduled_dates(
            np.datetime64(self.start), np.datetime64(self.end)
        )
        if not scheduled.size:
            return f"{traded} has no session from {self.start} to {self.end}"
        dates = world.dates(symbol)
        dates = dates[(dates >= np.datetime64(world.span.start)) & (dates <= np.datetime64(world.span.end))]
        there = f"{dates[0]} to {dates[-1]}" if dates.size else "nothing"
        if not dates.size or dates[0] > scheduled[0] or dates[-1] < scheduled[-1]:
            return f"{traded} has no bars from {self.start} to {self.end}, only {there}"
        return ""


class GapScenario(Scenario):
    """A gap at the open: the first bars from a moment on open `shock` away, and history ends with them.

    at   that moment; None: each set of bars before which something is held, one after the other
    """

    kind: str = "gap"
    shock: Shock
    at: AwareDatetime | None = None

    _not_zero = field_validator("shock")(_require_shock)

    @property
    def described(self) -> str:
        """The shock, and the moment."""
        return f"gap {self.shock:+.0%}" + (f" at {self.at:%Y-%m-%d %H:%M}" if self.at else "")

    def on_set(self, stamp: int) -> GapScenario:
        """Return the gap at the bars that are complete at `stamp`, UTC ns."""
        return self.model_copy(update={"at": datetime.fromtimestamp(stamp // 1_000_000_000, UTC)})

    def factors(self, symbols: Iterable[str]) -> list[float]:
        """Return what the price of each of these symbols is multiplied by."""
        return [
            1.0 + self.shock if not self.symbols or traded_symbol(each) in self.symbols else 1.0
            for each in symbols
        ]

    def apply(self, world: StressWorld) -> Stressed:
        """End all bars with the gap; NoBars where no lane has bars from then on."""
        if self.at is None:
            raise ConfigError(f"scenario {self.title}: is tried at every open bar; give a moment, at: TIME")
        stamp = int(np.datetime64(self.at.astimezone(UTC).replace(tzinfo=None), "ns").astype(np.int64))
        if all(world.traded(each).end[-1] < stamp for each in world.members):
            raise NoBars(
                f"scenario {self.title}: no lane has a bar from {self.at} on; choose an earlier time"
            )
        if not self.symbols:
            return world.changed({}, others=gapped(stamp, 1.0 + self.shock))
        return world.changed(
            dict.fromkeys(self.symbols, gapped(stamp, 1.0 + self.shock)), others=gapped(stamp, 1.0)
        )


class PathScenario(Scenario):
    """Fall, or rise, by equal factors over some sessions, and trade on at the new level.

    sessions   how many; the move of each is a gap at its open
    start      its first session; None: where a gap of this shock does most harm
    """

    kind: str = "path"
    shock: Shock
    sessions: Annotated[int, Field(ge=1, le=2_520)] = 5
    start: date | None = None

    _not_zero = field_validator("shock")(_require_shock)

    @property
    def described(self) -> str:
        """The shock, how fast it comes, and when."""
        how = f"over {self.sessions} sessions" if self.sessions > 1 else "in one session, then traded on"
        return f"{self.shock:+.0%} {how}"

    def apply(self, world: StressWorld) -> Stressed:
        """Scale all bars from the first session on; NoBars where no lane has bars from then on."""
        if self.start is None:
            raise ConfigError(f"scenario {self.title}: has no first session; give one, start: DATE")
        start = np.datetime64(self.start)
        if all(world.dates(each)[-1] < start for each in world.members):
            raise NoBars(f"scenario {self.title}: no lane has bars from {self.start} on; start it earlier")

        def change(bars: Bars, market: Market) -> Bars:
            dates = market.session.dates(bars.end, bars.timeframe)
            days, ordinal = np.unique(dates, return_inverse=True)
            done = np.clip(ordinal - np.searchsorted(days, start) + 1, 0, self.sessions)
            return scaled(bars, (1.0 + self.shock) ** (done / self.sessions), market)

        if self.symbols:
            return world.changed(dict.fromkeys(self.symbols, change))
        return world.changed({}, others=change)


class VolatilityScenario(Scenario):
    """Multiply how far prices move from session to session, and keep where each year ends.

    Within a calendar year, the logarithm of a price is moved away from the straight line between the year's
    first and last price, `times` as far: returns are `times` as large about the year's mean, and the level of
    prices stays near that of the data.

    start, end   sessions of the range, both included; default: all
    """

    kind: str = "volatility"
    times: Times
    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _rises(self) -> VolatilityScenario:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start}, end {self.end}: starts after it ends; swap the dates")
        return self

    @property
    def described(self) -> str:
        """By how much, and when."""
        when = f", {DateRange.of(self.start, self.end)}" if self.start or self.end else ""
        return f"volatility x {self.times:g}{when}"

    def apply(self, world: StressWorld) -> Stressed:
        """Change the bars in the range; NoBars where a lane has none there."""
        span = DateRange.of(self.start, self.end)
        for symbol in self._touched(world):
            span.rows(world.dates(symbol), f"scenario {self.title}: {symbol}")

        def change(bars: Bars, market: Market) -> Bars:
            dates = market.session.dates(bars.end, bars.timeframe)
            first = int(np.searchsorted(dates, np.datetime64(span.start)))
            last = int(np.searchsorted(dates, np.datetime64(span.end), side="right"))
            rows = slice(first, last)
            if first >= last:
                return bars
            require_positive(bars, rows, f"scenario {self.title}")
            return _spread(bars, rows, dates[rows], self.times, market)

        if self.symbols:
            return world.changed(dict.fromkeys(self.symbols, change))
        return world.changed({}, others=change)


def _spread(bars: Bars, rows: slice, dates: Dates, times: float, market: Market) -> Bars:
    """Return bars whose prices in some rows are `times` as far from their year's line of constant growth."""
    years = dates.astype("datetime64[Y]")
    line, begin = np.empty(len(dates)), np.log(bars.open[rows.start])
    for year in np.unique(years):
        inside = np.flatnonzero(years == year)
        ordinal = np.unique(dates[inside], return_inverse=True)[1] + 1.0
        end = np.log(bars.close[rows][inside[-1]])
        line[inside] = begin + (end - begin) * ordinal / ordinal[-1]
        begin = end
    tick = market.instrument.tick_size

    def change(prices: Floats) -> Floats:
        found = prices.copy()
        found[rows] = on_ticks(np.exp(line + times * (np.log(prices[rows]) - line)), tick)
        return found

    return with_prices(bars, change)


class CorrelationScenario(Scenario):
    """Let all instruments move as one: correlation 1 from session to session, each with its own volatility.

    The session returns of each are its mean plus its standard deviation times what all have in common, the
    mean of their standardised returns on that date. What happens within a session stays.
    """

    kind: str = "correlation"

    @property
    def described(self) -> str:
        """What it does."""
        return "correlation 1"

    def apply(self, world: StressWorld) -> Stressed:
        """Scale the bars of each session; ConfigError for fewer than two lanes."""
        lanes = self._touched(world)
        if len(lanes) < 2:
            raise ConfigError(f"scenario {self.title}: needs two lanes or more; leave it out")
        closes = {each: self._closes(world, each) for each in lanes}
        days = np.unique(np.concatenate([dates[1:] for dates, _ in closes.values()]))
        standard = np.full((len(lanes), days.size), np.nan)
        for place, (dates, logs) in enumerate(closes.values()):
            returns = np.diff(logs)
            standard[place, np.searchsorted(days, dates[1:])] = (returns - returns.mean()) / returns.std()
        common = np.nanmean(standard, axis=0)
        common = (common - common.mean()) / common.std()
        changes = {}
        for symbol, (dates, logs) in closes.items():
            returns = np.diff(logs)
            shared = returns.mean() + returns.std() * common[np.searchsorted(days, dates[1:])]
            changes[symbol] = by_date(dates, np.exp(np.append(0.0, np.cumsum(shared - returns))))
        return world.changed(changes)

    def _closes(self, world: StressWorld, symbol: str) -> tuple[np.ndarray, Floats]:
        """Return dates (d,) and the logarithm of the last close of each, float64 (d,)."""
        bars, dates = world.traded(symbol), world.dates(symbol)
        require_positive(bars, slice(0, len(bars)), f"scenario {self.title}")
        last = np.append(np.flatnonzero(dates[1:] != dates[:-1]), len(dates) - 1)
        if last.size < 3 or not np.diff(np.log(bars.close[last])).std() > 0.0:
            raise NoBars(f"scenario {self.title}: {symbol} has too few sessions that differ; leave it out")
        return dates[last], np.log(bars.close[last])


class SlippageScenario(Scenario):
    """Multiply the slippage of every market and stop fill; bars stay."""

    kind: str = "slippage"
    times: Times

    @property
    def described(self) -> str:
        """By how much."""
        return f"slippage x {self.times:g}"

    def apply(self, world: StressWorld) -> Stressed:
        """Multiply the ticks of slippage that the instruments declare."""

        def dearer(market: Market) -> Market:
            ticks = self.times * market.instrument.slippage_ticks
            return replace(market, instrument=market.instrument.model_copy(update={"slippage_ticks": ticks}))

        return world.on(dearer, frozenset(self._touched(world)))


SCENARIOS: Registry[type[Scenario]] = Registry(
    "stress scenario",
    (
        ReplayScenario, GapScenario, PathScenario, VolatilityScenario, CorrelationScenario, SlippageScenario,
    ),
    name=kind_of,
)  # fmt: skip
