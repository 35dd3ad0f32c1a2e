"""Families found by bars: a market under another name is the same market, and its trials are counted with it.

Every series of bars that somebody searches on is introduced: its daily returns are compared with those of
every series that the ledger knows. On all days in common (at least 250), a correlation of .98 or more, of
either sign, merges two families for good; one of .9 to .98 is only told. So a copy under another symbol, with
other prices, of another timeframe, or a fund that moves the other way, is found; the S&P 500 and the Nasdaq
100 (.92) stay apart. A copy whose dates were moved is found too: all shifts are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select

from lockstep.market.bars import Bars, Floats
from lockstep.market.continuous import levels
from lockstep.market.history import Market
from research.ledger.append_only import KinshipRow, LedgerRow, SeriesRow
from research.ledger.chain import append

LEAST_DAYS = 250
MERGED, CLOSE = "merged", "close"
_MERGES, _TELLS = 0.98, 0.90
_CLIP = 3.0
_SHOWN = 5
# A normal distribution's standard deviation over its median absolute deviation.
_NORMAL = 1.4826

Days = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Daily returns of one market.

    bars      SHA-256 (hex) of the bars
    days      int32 (n,): session dates since 1970-01-01, strictly rising
    returns   float64 (n,): close over the close of the session before, minus 1; finite
    """

    symbol: str
    family: str
    bars: str
    days: Days
    returns: Floats

    @classmethod
    def of(cls, bars: Bars, market: Market, *, family: str) -> Self:
        """Return the series of some bars: the last close of each session counts.

        Sessions after a close of zero or less have no return, and are left out.
        """
        dates = market.session.dates(bars.end, bars.timeframe).astype("M8[D]").astype(np.int64)
        last = np.append(np.flatnonzero(np.diff(dates)), dates.size - 1) if dates.size else np.array([], int)
        days, close, seen = dates[last], bars.close[last], levels(bars).close[last]
        valid = (np.diff(days) > 0) & (close[:-1] > 0)
        # Over a roll, a close is compared with that of the contract before, as seen from its own.
        before = close[:-1] if bars.rolls is None else close[1:] - np.diff(seen)
        returns = close[1:][valid] / before[valid] - 1.0
        return cls(
            symbol=bars.symbol, family=family, bars=bars.content_hash, days=days[1:][valid].astype(np.int32),
            returns=returns,
        )  # fmt: skip


class Alike(NamedTuple):
    """How two series move together: correlation, days it was measured on, days the second one is late."""

    correlation: float
    days: int
    lag: int


def alike(first: Series, second: Series) -> Alike | None:
    """Return the correlation of two series on all common days; None for fewer than 250 of them.

    It is measured as it is, and with returns beyond three standard deviations as three, so that a few wrong
    ticks hide nothing; the stronger counts. Where the dates as
    they are do not show one market, every shift by whole days is tried that leaves at least half of the
    shorter series, and counts if it shows one.
    """
    return _alike(_Grid(first), _Grid(second))


def _alike(one: _Grid, other: _Grid) -> Alike | None:
    plain = _at_lag(one, other, 0)
    if plain is not None and abs(plain.correlation) >= _MERGES:
        return plain
    moved = _best_shift(one, other)
    return moved if moved is not None and abs(moved.correlation) >= _MERGES else plain


class _Grid:
    """Returns by calendar day from `start` on; `values`: clipped; `there`: 1 where there is one, else 0."""

    def __init__(self, series: Series) -> None:
        self.start = int(series.days[0]) if series.days.size else 0
        places = series.days - self.start
        self.returns, self.values, self.there = np.zeros((3, int(places[-1]) + 1 if places.size else 1))
        self.returns[places], self.values[places] = series.returns, _clipped(series.returns)
        self.there[places] = 1.0
        self._spectra: dict[int, tuple[NDArray[np.complex128], ...]] = {}

    def spectra(self, size: int) -> tuple[NDArray[np.complex128], ...]:
        """Return the transforms of days and values, each complex128 (size / 2 + 1,)."""
        if size not in self._spectra:
            self._spectra[size] = (np.fft.rfft(self.there, size), np.fft.rfft(self.values, size))
        return self._spectra[size]


def _clipped(returns: Floats) -> Floats:
    if not returns.size:
        return returns
    middle = np.median(returns)
    spread = _NORMAL * np.median(np.abs(returns - middle)) or returns.std() or 1.0
    clipped: Floats = np.clip((returns - middle) / spread, -_CLIP, _CLIP)
    return clipped


def _at_lag(one: _Grid, other: _Grid, lag: int) -> Alike | None:
    """Compare each day of the first with the day `lag` days later of the second."""
    begin = max(one.start, other.start - lag)
    end = min(one.start + one.values.size, other.start - lag + other.values.size)
    if end - begin < LEAST_DAYS:
        return None
    here = slice(begin - one.start, end - one.start)
    there = slice(begin + lag - other.start, end + lag - other.start)
    common = (one.there[here] * other.there[there]).astype(bool)
    count = int(common.sum())
    if count < LEAST_DAYS:
        return None
    pairs = (
        (one.returns[here][common], other.returns[there][common]),
        (one.values[here][common], other.values[there][common]),
    )
    found = [float(np.corrcoef(x, y)[0, 1]) for x, y in pairs if np.ptp(x) and np.ptp(y)]
    return Alike(max(found, key=abs), count, lag) if found else None


def _best_shift(one: _Grid, other: _Grid) -> Alike | None:
    """Return the correlation at the shift with the greatest mean product, found for all shifts at once."""
    size = 1 << (one.values.size + other.values.size - 2).bit_length()
    (here, values), (there, others) = one.spectra(size), other.spectra(size)
    count = np.rint(np.fft.irfft(here * there.conj(), size))
    products = np.abs(np.fft.irfft(values * others.conj(), size))
    enough = count >= max(LEAST_DAYS, min(one.there.sum(), other.there.sum()) / 2)
    if not enough.any():
        return None
    place = int(np.argmax(np.where(enough, products / np.maximum(count, 1), -1.0)))
    # Place p has the products of one[t + p] and other[t]; those beyond the end of `one` are negative shifts.
    moved = place if place < one.values.size else place - size
    return _at_lag(one, other, other.start - one.start - moved)


def relatives(connection: Connection, family: str) -> tuple[str, ...]:
    """Return a family and all that were found to be the same market, itself first: an equivalence."""
    pairs = connection.execute(
        select(KinshipRow.family, KinshipRow.other).where(KinshipRow.verdict == MERGED)
    ).all()
    return family, *sorted(_reached(family, [(one, other) for one, other in pairs]) - {family})


def _reached(family: str, pairs: Sequence[tuple[str, str]]) -> set[str]:
    found, before = {family}, 0
    while len(found) > before:
        before = len(found)
        found |= {each for pair in pairs if not found.isdisjoint(pair) for each in pair}
    return found


def introduce(connection: Connection, series: Series, *, now: datetime) -> tuple[str, ...]:
    """Compare a series with all that the ledger knows and remember it; returns what the user should read.

    The connection must be one that writes: two series that are introduced at once must see each other.
    """
    known = _stored(connection)
    told = list(_unmeasured(connection, series, known))
    found: dict[str, tuple[Series, Alike]] = {}
    grid = _Grid(series)
    for other in known:
        if other.family == series.family or (how := _alike(grid, _Grid(other))) is None:
            continue
        best = found.get(other.family)
        if best is None or abs(how.correlation) > abs(best[1].correlation):
            found[other.family] = other, how
    for other, how in found.values():
        if abs(how.correlation) >= _TELLS:
            told += _related(connection, series, other, how, now)
    row = {
        "symbol": series.symbol,
        "family": series.family,
        "bars": series.bars,
        "days": series.days.astype("<i4").tobytes(),
        "returns": series.returns.astype("<f8").tobytes(),
        "recorded": now.isoformat(timespec="seconds"),
    }
    append(connection, SeriesRow, [row])
    return tuple(told)


def is_known(connection: Connection, series: Series) -> bool:
    """Whether introducing a series would tell nothing new.

    It does not where these bars were introduced, or bars of this symbol that moved the same way on all but
    250 of its days: tomorrow's bars are today's and one more.
    """
    family = SeriesRow.family == series.family
    if connection.scalar(select(SeriesRow.id).where(family, SeriesRow.bars == series.bars)) is not None:
        return True
    for row in connection.execute(
        select(SeriesRow.__table__).where(family, SeriesRow.symbol == series.symbol)
    ):
        other = _series(row)
        if np.setdiff1d(series.days, other.days).size >= LEAST_DAYS:
            continue
        how = _at_lag(_Grid(series), _Grid(other), 0)
        if how is not None and how.correlation >= _MERGES:
            return True
    return False


def merged_with(connection: Connection, family: str) -> tuple[str, ...]:
    """Return a sentence for each series by which a family was found to be one market with others."""
    members = relatives(connection, family)
    if len(members) == 1:
        return ()
    rows = connection.execute(
        select(KinshipRow.__table__)
        .where(KinshipRow.verdict == MERGED, KinshipRow.family.in_(members))
        .order_by(KinshipRow.id)
    )
    return tuple(_sentence(row) for row in rows)


def _related(
    connection: Connection, series: Series, other: Series, how: Alike, now: datetime
) -> tuple[str, ...]:
    """Write down, once, that two families are one market, or close to it; the sentence where it is new."""
    verdict = MERGED if abs(how.correlation) >= _MERGES else CLOSE
    pair = (series.family, other.family)
    written = connection.execute(
        select(KinshipRow.family, KinshipRow.other).where(KinshipRow.verdict == verdict)
    )
    if {pair, pair[::-1]} & {(one, another) for one, another in written}:
        return ()
    row = {
        "family": series.family,
        "other": other.family,
        "symbol": series.symbol,
        "other_symbol": other.symbol,
        "correlation": how.correlation,
        "days": how.days,
        "lag": how.lag,
        "verdict": verdict,
        "recorded": now.isoformat(timespec="seconds"),
    }
    (number,) = append(connection, KinshipRow, [row])
    return (_sentence(connection.execute(select(KinshipRow.__table__).where(KinshipRow.id == number)).one()),)


def _sentence(row: Row[Any]) -> str:
    moved = f" when moved by {abs(row.lag)} days" if row.lag else ""
    measured = f"(correlation {row.correlation:.3f} on {row.days:,} common days{moved})"
    if row.verdict == CLOSE:
        return (
            f"{row.symbol} moves much like {row.other_symbol} {measured}: trials on one say something about "
            f"the other, but {row.family} and {row.other} are counted apart"
        )
    return (
        f"{row.symbol} is the same market as {row.other_symbol} {measured}: trials on {row.family} and on "
        f"{row.other} are counted together"
    )


def _unmeasured(connection: Connection, series: Series, known: Sequence[Series]) -> Iterator[str]:
    """Yield what cannot be told: too few common days, and trials on markets whose bars nobody introduced."""
    there = {each.family for each in known}
    if series.family in there:
        return
    short = {
        each.family: each.symbol for each in known if np.intersect1d(each.days, series.days).size < LEAST_DAYS
    }
    if short:
        yield (
            f"{series.symbol} has fewer than {LEAST_DAYS} days in common with {_listed(short.values())}: "
            f"whether they are one market cannot be told; {series.family} is counted apart"
        )
    counted = set(connection.scalars(select(LedgerRow.family).distinct())) - there - {series.family}
    if counted:
        yield (
            f"the ledger holds trials of {_listed(counted)} whose bars it has not seen: whether "
            f"{series.symbol} is one of these markets shows when they are searched or run again"
        )


def _listed(names: Iterable[str]) -> str:
    shown = sorted(set(names))
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _stored(connection: Connection) -> list[Series]:
    return [_series(row) for row in connection.execute(select(SeriesRow.__table__).order_by(SeriesRow.id))]


def _series(row: Row[Any]) -> Series:
    return Series(
        symbol=row.symbol,
        family=row.family,
        bars=row.bars,
        days=np.frombuffer(row.days, "<i4").astype(np.int32),
        returns=np.frombuffer(row.returns, "<f8").astype(np.float64),
    )
