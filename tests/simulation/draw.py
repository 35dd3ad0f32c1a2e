"""From a seed to a life. Each life draws first which kinds of trouble it knows, so that no two are alike."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from random import Random
from typing import Any

import numpy as np

from lockstep.live.handover import Policy
from lockstep.live.messages import Mode
from simulation import models
from simulation.life import Desk, Incident, Life, Prices, Trader
from simulation.troubles import TROUBLES, Stretch
from simulation.venues import DAY, HOUR, LEVELS, key_of, markets, venue

_MODES: tuple[Mode, ...] = ("paper", "shadow", "live", "live", "live")
_POLICIES: tuple[Policy, ...] = ("manage_out", "adopt", "flatten")
_FIRST_DAY, _LAST_DAY = 17_600, 18_500
_HOLIDAYS = tuple(
    int(np.datetime64(day).astype(int))
    for day in ("2018-07-03", "2018-11-19", "2018-12-20", "2019-03-07", "2019-07-01", "2019-10-31",
                "2019-11-25", "2019-12-20", "2020-03-05", "2020-04-07")
)  # fmt: skip
_INTRADAY = {"CMES": "4h", "XNYS": "2h", "24/7": "6h"}
_WARM_BARS = models.LONGEST


def draw(seed: int) -> Life:
    """Return the life of a seed: always the same."""
    random = Random(f"life {seed}")
    intraday = random.random() < 0.12
    symbols = _symbols(random)
    traders = tuple(_trader(random, symbol, intraday=intraday) for symbol in symbols)
    first = random.choice(_HOLIDAYS) if random.random() < 0.4 else random.randrange(_FIRST_DAY, _LAST_DAY)
    days = random.randrange(4, 9) if intraday else random.randrange(12, 45)
    begins = (first - 1) * DAY + 23 * HOUR
    ends = (first + days * 7 // 5) * DAY + 14 * HOUR
    desk = _desk(random, traders)
    bars = {
        series: _bars(Random(f"bars {seed} {series}"), series, begins, ends) for series in _series(traders)
    }
    stretch = Stretch(
        random=random, desk=desk, traders=traders, begins=begins, ends=ends - 6 * HOUR, bars=bars
    )
    return Life(
        seed=seed,
        desk=desk,
        traders=traders,
        begins=begins,
        ends=ends,
        bars=bars,
        incidents=_incidents(stretch),
    )


def _symbols(random: Random) -> list[str]:
    return random.sample(sorted(LEVELS), random.choice((1, 1, 2, 2, 3, 4)))


def _trader(random: Random, symbol: str, *, intraday: bool) -> Trader:
    market = markets()[symbol]
    timeframe = _INTRADAY[market.session.template.calendar] if intraday else "1d"
    return Trader(symbol, timeframe, random.choice(versions(symbol)), random.choice(_POLICIES))


def versions(symbol: str) -> list[str]:
    """Return the versions that a symbol may begin with."""
    paired = markets()[symbol].instrument.pair is not None
    return [name for name in models.RECIPES if name != "hungry" and (paired or name not in models.PAIRED)]


def _desk(random: Random, traders: tuple[Trader, ...]) -> Desk:
    tight = random.random() < 0.5
    contracts = 10.0 if any(each.model == "ten" for each in traders) else random.choice((1.0, 3.0, 5.0))
    limits: dict[str, Any] = {
        "max_contracts": contracts,
        "max_total_contracts": contracts * (1.0 if tight else 4.0),
        "max_orders_per_day": random.choice((1, 2, 8)),
        "max_daily_loss": random.choice((500.0, 2_000.0, 1e6)),
        "collar": {"percent": random.choice((0.5, 3.0))} if random.random() < 0.8 else {"ticks": 40},
        "stale_seconds": random.choice((300.0, 1_800.0)),
    }
    if random.random() < 0.3:
        limits["max_notional"] = random.choice((150_000.0, 1e6))
    reports = random.choice(("statement", "hand"))
    return Desk(
        mode=random.choice(_MODES),
        limits=limits,
        grace=random.choice((1.0, 5.0, 30.0)),
        expire=random.choice((600.0, 3_600.0)),
        flatten=random.random() < 0.5,
        fraction=_fraction(random, traders),
        reports=reports,
        positions=random.choice(("file", "file", "fills" if reports == "statement" else "hand", "hand")),
        attention=random.choice((30.0, 900.0, 20_000.0)),
        memory=random.choice((12, 20)),
        status=random.random() < 0.1,
        rereads=random.random() < 0.5,
    )


def _fraction(random: Random, traders: tuple[Trader, ...]) -> float:
    """Return a stage's fraction; one that would send nothing is rare, since such a desk does not start."""
    if all(each.model == "ten" for each in traders) or random.random() < 0.05:
        return random.choice((1.0, 0.5, 0.1))
    return 1.0


def _series(traders: tuple[Trader, ...]) -> list[str]:
    """Return the traded series and those that a version may read beside them."""
    found = {each.series: None for each in traders}
    for each in traders:
        pair = markets()[each.symbol].instrument.pair
        if pair is not None:
            found.setdefault(f"{pair}:{each.timeframe}")
    return list(found)


def _bars(random: Random, series: str, begins: int, ends: int) -> dict[int, Prices]:
    """Return bars that trade often: each closes near an end of its range, none is far from another."""
    key = key_of(series)
    scheduled = venue(key.symbol).ends(key.timeframe)
    first, last = bisect_right(scheduled, begins) - _WARM_BARS, bisect_left(scheduled, ends)
    tick = markets()[key.symbol].instrument.tick_size
    level = round(LEVELS[key.symbol] / tick)
    return {end: _prices(random, level, tick) for end in scheduled[first:last]}


def _prices(random: Random, level: int, tick: float) -> Prices:
    reach = max(level // 100, 8)
    middle = level + random.randrange(-reach // 2, reach // 2 + 1)
    low = middle - random.randrange(2, reach)
    high = middle + random.randrange(2, reach)
    width = high - low
    place = random.choice((0.0, 0.1, 0.2, 0.9, 1.0, random.random()))
    close = low + round(width * place)
    opened = random.randrange(low, high + 1)
    return tuple(round(ticks * tick, 9) for ticks in (opened, high, low, close))  # type: ignore[return-value]


def _incidents(stretch: Stretch) -> tuple[Incident, ...]:
    """Draw which troubles this life knows and how often, then the incidents themselves."""
    random, found = stretch.random, []
    busy = random.choice((0.4, 1.0, 2.0))
    for trouble in TROUBLES:
        foreign = trouble.modes and stretch.desk.mode not in trouble.modes
        if foreign or random.random() > trouble.share:
            continue
        for moment in _moments(random, stretch, trouble.per_day * busy):
            found += trouble.draw(stretch, moment)
    return tuple(sorted(found, key=lambda each: each.time))


def _moments(random: Random, stretch: Stretch, per_day: float) -> list[int]:
    """Return moments of a Poisson process, whole milliseconds."""
    moments, moment = [], float(stretch.begins)
    while per_day > 0.0:
        moment += random.expovariate(per_day) * DAY
        if moment >= stretch.ends:
            break
        moments.append(int(moment) // 1_000_000 * 1_000_000)
    return moments
