"""Factors as series: what each moved from session to session, or why it is not there."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import ConfigError, DataError, LockstepError
from lockstep.market.continuous import levels
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats
from lockstep.metrics.arrays import Dates
from research.factors.config import (
    LEAST_COINS,
    LEAST_RANKED,
    Factor,
    FileFactor,
    IlliquidityFactor,
    InstrumentFactor,
    MomentumFactor,
    SizeFactor,
    VolatilityFactor,
)

_DAY = "datetime64[D]"
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class DailyBars:
    """What factors read of an instrument: its sessions.

    dates   datetime64[D] (T,), rising; closes float64 (T,), the last of each session; volumes (T,), summed
    """

    dates: Dates
    closes: Floats
    volumes: Floats

    @classmethod
    def of(cls, history: History, key: SeriesKey) -> DailyBars:
        """Return the sessions of a series; DataError where it has no bars."""
        bars = levels(history.series(key))
        if not len(bars):
            raise DataError(f"{key}: no bars")
        days = history.markets[key.symbol].session.dates(bars.end, bars.timeframe).astype(_DAY)
        last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
        first = np.concatenate(([0], last[:-1] + 1))
        return cls(dates=days[last], closes=bars.close[last], volumes=np.add.reduceat(bars.volume, first))


Find = Callable[[str], DailyBars]
"""Returns the sessions of a symbol; an error of the house where there are none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorSeries:
    """A factor that could be built.

    dates   datetime64[D] (T,), rising
    level   float64 (T,): sums of its moves, so that the move between any two dates is a difference
    has_gaps   dates that lie between two of its own and are none of them may not be asked for
    """

    name: str
    dates: Dates
    level: Floats
    has_gaps: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorMoves:
    """Factors over common sessions.

    dates   datetime64[D] (T,); moves float64 (T, k), since the session before; names (k,)
    absent  by name: why a declared factor is left out
    """

    dates: Dates
    moves: Floats
    names: tuple[str, ...]
    absent: Mapping[str, str]


def build_factors(
    factors: Mapping[str, Factor], find: Find, folder: Path | None = None
) -> tuple[tuple[FactorSeries, ...], dict[str, str]]:
    """Return the factors that could be built, and why the others could not, by name.

    find     gives the bars of an instrument; folder: files are named from it

    A file that is wrong is refused at once; an instrument without bars is a sentence.
    """
    built, absent = [], {}
    for name, each in factors.items():
        if isinstance(each, FileFactor):
            built.append(read_factor(name, (folder or Path()) / each.path))
            continue
        try:
            dates, level = _level(each, find)
        except LockstepError as error:
            absent[name] = " ".join(str(error).split())
        else:
            built.append(FactorSeries(name=name, dates=dates, level=level))
    return tuple(built), absent


def common_moves(
    series: Sequence[FactorSeries], dates: Dates, absent: Mapping[str, str] | None = None
) -> FactorMoves:
    """Return the moves of factors between those of `dates`, (D,), that all of them have.

    A factor that none of the dates has is named in `absent`. DataError for a file with gaps, or fewer than
    two common dates.
    """
    known = [each for each in series if np.isin(dates, each.dates).any()]
    missing = dict(absent or {}) | {
        each.name: f"its dates {each.dates[0]} to {each.dates[-1]} are not those of the account"
        for each in series
        if not np.isin(dates, each.dates).any()
    }
    common = dates
    for each in known:
        _require_whole(each, dates)
        common = common[np.isin(common, each.dates)]
    if common.size < 2:
        raise DataError(
            f"factors: {common.size} sessions that all of "
            f"{', '.join(each.name for each in series) or 'none'} and the account have; at least 2 are needed"
        )
    levels = [each.level[np.searchsorted(each.dates, common)] for each in known]
    moves = np.diff(np.array(levels, dtype=np.float64).reshape(len(known), common.size), axis=1).T
    return FactorMoves(
        dates=common[1:],
        moves=np.ascontiguousarray(moves),
        names=tuple(each.name for each in known),
        absent=missing,
    )


def _require_whole(each: FactorSeries, dates: Dates) -> None:
    if not each.has_gaps:
        return
    inside = dates[(dates >= each.dates[0]) & (dates <= each.dates[-1])]
    missing = inside[~np.isin(inside, each.dates)]
    if missing.size:
        raise DataError(
            f"factor {each.name}: {each.has_gaps}: no value for {missing.size} sessions, the first "
            f"{missing[0]}; add them"
        )


def read_factor(name: str, path: Path) -> FactorSeries:
    """Read a CSV file of session dates and moves; ConfigError naming the line where it is wrong."""
    dates, moves = [], []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"factor {name}: {path}: cannot be read: {error}") from error
    for line, row in enumerate(rows[1:], start=2):
        try:
            day, text = row
            dates.append(date.fromisoformat(day.strip()))
            moves.append(float(text))
        except ValueError as error:
            raise ConfigError(f"factor {name}: {path}:{line}: needs a date and a number: {row}") from error
        if not math.isfinite(moves[-1]) or (line > 2 and dates[-1] <= dates[-2]):
            raise ConfigError(f"factor {name}: {path}:{line}: dates must rise and moves be finite: {row}")
    if not dates:
        raise ConfigError(f"factor {name}: {path}: no rows below the header; give a date and a move in each")
    return FactorSeries(
        name=name, dates=np.array(dates, dtype=_DAY), level=np.cumsum(np.array(moves)), has_gaps=str(path)
    )


def _level(factor: Factor, find: Find) -> tuple[Dates, Floats]:
    """Return dates and level of a factor that is built of bars."""
    if isinstance(factor, InstrumentFactor):
        bars = find(factor.symbol)
        return bars.dates, factor.sign * np.cumsum(_returns(factor.symbol, bars))
    if isinstance(factor, VolatilityFactor):
        bars = find(factor.symbol)
        returns = _returns(factor.symbol, bars)[1:]
        return _logs(factor.symbol, bars.dates[factor.bars :], _moving(returns**2, factor.bars), 0.5)
    if isinstance(factor, IlliquidityFactor):
        bars = find(factor.symbol)
        ratios = np.abs(_returns(factor.symbol, bars)[1:]) / _value(factor.symbol, bars)[1:]
        return _logs(factor.symbol, bars.dates[factor.bars :], _moving(ratios, factor.bars), 1.0)
    assert isinstance(factor, MomentumFactor | SizeFactor)
    return _ranked(factor, find)


def _returns(symbol: str, bars: DailyBars) -> Floats:
    """Return simple returns, (T,), the first 0; DataError where a close is not positive."""
    if not (bars.closes > 0).all():
        day = bars.dates[np.flatnonzero(~(bars.closes > 0))[0]]
        raise DataError(f"{symbol}: its close of {day} is not positive: it has no return from there")
    return np.concatenate(([0.0], bars.closes[1:] / bars.closes[:-1] - 1.0))


def _value(symbol: str, bars: DailyBars) -> Floats:
    """Return close x volume, (T,); DataError where a session has none."""
    value = bars.closes * bars.volumes
    if not (value > 0).all():
        day = bars.dates[np.flatnonzero(~(value > 0))[0]]
        raise DataError(f"{symbol}: no volume on {day}: its traded value is not known")
    return value


def _moving(values: Floats, bars: int) -> Floats:
    """Return the means of each `bars` values in a row, (T - bars + 1,); DataError for fewer values."""
    if values.size < bars:
        raise DataError(f"{values.size} returns: {bars} are needed")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, bars).mean(axis=1), dtype=np.float64)


def _logs(symbol: str, dates: Dates, values: Floats, power: float) -> tuple[Dates, Floats]:
    if not (values > 0).all():
        raise DataError(f"{symbol}: its price stands still for a whole window: the logarithm is not defined")
    return dates, power * np.log(values)


def _ranked(factor: MomentumFactor | SizeFactor, find: Find) -> tuple[Dates, Floats]:
    """Return the level of a long and a short half that are ranked after each session for the next."""
    found, gone = {}, []
    for symbol in factor.symbols:
        try:
            bars = find(symbol)
            found[symbol] = (bars, _returns(symbol, bars))
        except LockstepError:
            gone.append(symbol)
    least = LEAST_COINS if isinstance(factor, SizeFactor) else LEAST_RANKED
    if len(found) < least:
        what = "coins" if isinstance(factor, SizeFactor) else "instruments"
        without = f" ({', '.join(gone)}: no bars)" if gone else ""
        raise DataError(f"needs {least} {what} with bars, {len(found)} have them{without}")
    dates = _shared([bars.dates for bars, _ in found.values()])
    scores, moves = [], []
    for symbol, (bars, returns) in found.items():
        rows = np.searchsorted(bars.dates, dates)
        moves.append(np.diff(np.cumsum(returns)[rows], prepend=0.0))
        scores.append(_score(factor, symbol, bars, rows))
    return _halves(dates, np.array(scores), np.array(moves))


def _shared(dates: Sequence[Dates]) -> Dates:
    common = dates[0]
    for each in dates[1:]:
        common = common[np.isin(common, each)]
    return common


def _score(factor: MomentumFactor | SizeFactor, symbol: str, bars: DailyBars, rows: Places) -> Floats:
    """Return by what an instrument is ranked after each shared session, NaN where it is not known yet."""
    size = rows.size
    found = np.full(size, math.nan)
    if isinstance(factor, MomentumFactor):
        closes = bars.closes[rows]
        if size > factor.bars:
            found[factor.bars :] = (
                closes[factor.bars - factor.skip : size - factor.skip] / closes[: size - factor.bars]
            )
        return found
    values = _value(symbol, bars)[rows]
    if size >= factor.bars:
        found[factor.bars - 1 :] = -_moving(values, factor.bars)
    return found


def _halves(dates: Dates, scores: Floats, moves: Floats) -> tuple[Dates, Floats]:
    """Return the level of the higher half less the lower half by the scores of the session before."""
    known = np.flatnonzero(np.isfinite(scores).all(axis=0))
    if known.size < 2:
        raise DataError(f"{dates.size} shared sessions: too few to rank by")
    first, count = int(known[0]), len(scores)
    # Equal scores keep the order of the file, so that the same bars give the same factor.
    order = np.argsort(-scores[:, first:-1], axis=0, kind="stable")
    half = count // 2
    ahead = np.take_along_axis(moves[:, first + 1 :], order, axis=0)
    spread = ahead[:half].mean(axis=0) - ahead[count - half :].mean(axis=0)
    return dates[first:], np.concatenate(([0.0], np.cumsum(spread)))


def moves_on(series: FactorSeries, days: Dates) -> Floats:
    """Return the moves of a factor in each of `days`, (D,): since its last session before the day before.

    A day that the factor does not have moves nothing, and the next one moves by both. DataError where the
    factor begins after the first day or ends before the last.
    """
    if not series.dates[0] < days[0] <= days[-1] <= series.dates[-1]:
        raise DataError(
            f"factor {series.name}: known from {series.dates[0]} to {series.dates[-1]}, asked for "
            f"{days[0]} to {days[-1]}; give bars of these dates"
        )
    _require_whole(series, days)
    place = np.searchsorted(series.dates, days, side="right") - 1
    first = int(np.searchsorted(series.dates, days[0])) - 1
    return np.diff(series.level[place], prepend=series.level[first])
