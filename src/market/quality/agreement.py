"""Agreement of two sources of one series: which bars both have, and how many are equal to the tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.errors import DataError
from lockstep.market.bars import PRICE_COLUMNS, Bars, Flags, Floats, Stamps
from lockstep.market.quality.finding import Finding, counted, listed
from lockstep.market.session_kernels import HOUR
from lockstep.market.sessions import Session

# Below this share of equal bars the difference is a warning.
LEAST_EQUAL = 0.99
# How much larger the share must be at another lag, or at another level, to be the reason.
_BETTER = 0.2
_LAGS = 48  # half hours, either way; and two bars, either way
_HALF_HOUR = HOUR // 2
_SAMPLE = 20_000
_COMMON = 20  # bars, to say anything


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How two series agree on the bars that both have.

    common         bars of both, from the later beginning to the earlier end; only_here, only_there: of one
    equal          share of the common bars whose four prices are equal to half a tick, 0 … 1
    equal_close    share whose closes are; equal_volume: whose volumes are equal
    lag            how much later the stamps are than the other's, ns: where closes agree best
    level          what the other's prices must be moved by (points) to agree best; 0 where that helps nothing
    findings       what is wrong, as findings of the series
    """

    other: str
    common: int
    only_here: int
    only_there: int
    equal: float
    equal_close: float
    equal_volume: float
    lag: int
    level: float
    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """What a reader must know, in a sentence."""
        return (
            f"{self.equal:.2%} of {self.common:,} common bars are equal to {self.other} to the tick (closes "
            f"{self.equal_close:.2%}, volumes {self.equal_volume:.2%}); {self.only_here:,} bars are only "
            f"here, {self.only_there:,} only there"
        )


def agreement(bars: Bars, other: Bars, session: Session, tick: float, *, name: str) -> Agreement:
    """Compare a series with another of the same instrument and timeframe; name: of the other source.

    DataError where the timeframes differ or fewer than twenty bars lie in the time that both cover.
    """
    if bars.timeframe != other.timeframe:
        raise DataError(
            f"{name}: has bars of {other.timeframe}, and {bars.source} of {bars.timeframe}; give --timeframe"
        )
    first, last = max(bars.end[0], other.end[0]), min(bars.end[-1], other.end[-1])
    here, there = (_within(each, int(first), int(last)) for each in (bars, other))
    if min(len(here), len(there)) < _COMMON:
        raise DataError(
            f"{name}: has {len(there):,} bars in the time that both cover, and {bars.source} {len(here):,}; "
            f"at least {_COMMON} are needed"
        )
    rows, others = _pairs(here.end, there.end)
    lag, best = _lag(here, there, tick)
    close = _equal(here.close[rows], there.close[others], tick)
    equal = np.ones(rows.size, dtype=np.bool_)
    for column in PRICE_COLUMNS:
        equal &= _equal(getattr(here, column)[rows], getattr(there, column)[others], tick)
    volume = here.volume[rows] == there.volume[others]
    shares = [float(each.mean()) if rows.size else 0.0 for each in (equal, close, volume)]
    lag = lag if best > shares[1] + _BETTER else 0
    level = 0.0 if lag else _level(here.close[rows], there.close[others], tick, shares[1])
    return Agreement(
        other=name, common=rows.size, only_here=len(here) - rows.size, only_there=len(there) - rows.size,
        equal=shares[0], equal_close=shares[1], equal_volume=shares[2], lag=lag, level=level,
        findings=tuple(_findings(here, there, (rows, others), session, name, shares[0], lag, level, equal)),
    )  # fmt: skip


def _within(bars: Bars, first: int, last: int) -> Bars:
    return bars.rows(*np.searchsorted(bars.end, [first, last + 1]).tolist())


def _pairs(one: Stamps, other: Stamps) -> tuple[Stamps, Stamps]:
    """Return the rows of equal stamps in both."""
    at = np.minimum(np.searchsorted(other, one), other.size - 1)
    rows = np.flatnonzero(other[at] == one)
    return rows, at[rows]


def _equal(one: Floats, other: Floats, tick: float) -> Flags:
    return np.asarray(np.abs(one - other) < tick / 2)


def _lag(here: Bars, there: Bars, tick: float) -> tuple[int, float]:
    """Return by how much stamps are late where most closes agree, and the share that does there."""
    step = here.timeframe.nanoseconds
    if here.timeframe.is_session:
        day = 24 * HOUR
        lags = [each * day for each in (0, 1, -1, 2, -2, 3, -3)]
    else:
        lags = sorted(
            {each * step for each in (-2, -1, 0, 1, 2)}
            | {each * _HALF_HOUR for each in range(-_LAGS, _LAGS + 1)},
            key=abs,
        )
        lags = [each for each in lags if each % step == 0]
    every = max(len(here) // _SAMPLE, 1)
    end, close = here.end[::every], here.close[::every]
    best, share = 0, 0.0
    for each in lags:
        rows, others = _pairs(end - each, there.end)
        if rows.size < _COMMON:
            continue
        found = float(_equal(close[rows], there.close[others], tick).mean())
        if found > share:
            best, share = each, found
    return best, share


def _level(one: Floats, other: Floats, tick: float, share: float) -> float:
    """Return by how much the other must be moved for more closes to agree; 0 where that helps little."""
    if not one.size:
        return 0.0
    moved = float(np.median(one - other))
    return moved if float(_equal(one, other + moved, tick).mean()) > share + _BETTER else 0.0


def _findings(
    here: Bars, there: Bars, pairs: tuple[Stamps, Stamps], session: Session, name: str, share: float,
    lag: int, level: float, equal: Flags,
) -> list[Finding]:  # fmt: skip
    rows, others = pairs
    if lag:
        minutes = abs(lag) // 60_000_000_000
        said = f"stamps are {minutes:,} minutes {'later' if lag > 0 else 'earlier'} than those of {name}"
        return [Finding(kind="against", where="all", count=rows.size, sentence=said)]
    if level:
        said = f"prices are {level:+g} points from those of {name}: one of them is adjusted for rolls"
        return [Finding(kind="against", where="all", count=rows.size, sentence=said)]
    different = np.flatnonzero(~equal)
    if not different.size:
        return []
    dates = session.dates(here.end[rows[different]], here.timeframe)
    named = [
        f"{dates[at]} ({_differences(here, there, int(rows[row]), int(others[row]))})"
        for at, row in enumerate(different[:6].tolist())
    ]
    grave, count = share < LEAST_EQUAL, counted(different.size, "bar")
    return [
        Finding(
            kind="against",
            where=str(dates[0]),
            count=int(different.size),
            sentence=f"{count} other than in {name}: {listed(named, different.size)}",
            severity="warning" if grave else "note",
            spans=tuple(
                (int(here.end[max(row - 1, 0)]), int(here.end[row])) for row in rows[different].tolist()
            ),
        )
    ]


def _differences(here: Bars, there: Bars, row: int, other: int) -> str:
    found = [
        f"{name} {getattr(here, name)[row]:g} and {getattr(there, name)[other]:g}"
        for name in PRICE_COLUMNS
        if getattr(here, name)[row] != getattr(there, name)[other]
    ]
    return ", ".join(found)
