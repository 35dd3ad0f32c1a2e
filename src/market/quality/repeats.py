"""What repeats itself or stands still: stale opens, flat stretches, copied bars and sessions, no volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import BAR_COLUMNS, Flags, Floats, Stamps
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, counted, listed
from lockstep.market.session_kernels import HOUR

Words = NDArray[np.uint64]

STALE_OPEN_SHARE = 0.20
FLAT_BARS = 5
# How many flat stretches a series may have by chance, on average.
_BY_CHANCE = 0.01
_SESSIONS, _FOR_SURE = 20, 1e3
_MOST_OF_A_DAY = 3.0  # true ranges: what a bar beyond them does is not usual
FLAT_NS = 2 * HOUR  # of intraday bars, whose prices often stand still for minutes
ZERO_VOLUME_SHARE = 0.05
# Volume that is 0 for so long is a feed that lost it, where bars usually have one.
_SILENT_BARS, _SILENT_NS = 3, HOUR // 2
# Equal bars in a row: two sessions are never equal; a quiet minute may be like the one before.
_COPIES, _COPIES_INTRADAY = 2, 5
# Bars of a session that are equal to those of another, to call it a copy.
_LEAST_COPIED = 5
_DISTINCT = 0.5  # of the days must have a volume of their own
# Sessions without a range, and intraday bars, of which quiet minutes have none.
_NO_RANGE, _NO_RANGE_INTRADAY = 0.05, 0.80
# By how much volume changes from a month to the next where its unit does.
_UNIT, _MONTH = 50.0, 21
_ROUNDING = 1e-4
_ENOUGH = 50  # session opens, to judge a share of them
_STALE_MEANS = "a fill at the next open is a fill at the close"


def opening_gaps(case: QualityCase) -> tuple[Floats, Stamps]:
    """Return, for every session but the first, its open less the previous close (points), and its year.

    Only the first bar of a session is looked at: within one, an open at the last close is normal.
    """
    opening = case.starts[1:]
    years = case.dates[opening].astype("M8[Y]").astype(np.int64) + 1970
    return case.bars.open[opening] - case.bars.close[opening - 1], years


def by_chance(gaps: Floats, tick: float) -> float:
    """Return how many gaps of 0 chance explains: as many as there are of one tick, up or down.

    Corn in steps of a quarter cent opens at its previous close on a fifth of the days, and one step beside
    it as often.
    """
    return float(np.isclose(np.abs(gaps), tick, rtol=0.1, atol=0).sum()) / 2 if tick else 0.0


def stale_opens(case: QualityCase) -> list[Finding]:
    """Return the years, and the whole, in which too many sessions open at the previous close."""
    gaps, years = opening_gaps(case)
    moved = np.abs(gaps[gaps != 0])
    # Sums of adjustments leave differences in the last digits, which are no ticks.
    real = moved[moved > _ROUNDING * np.median(moved)] if moved.size else moved
    tick = float(real.min()) if real.size else 0.0
    flagged = []
    for where in ("all", *np.unique(years).tolist()):
        chosen = gaps if where == "all" else gaps[years == where]
        count = int((chosen == 0).sum())
        excess = count - by_chance(chosen, tick)
        if chosen.size >= _ENOUGH and excess > STALE_OPEN_SHARE * chosen.size:
            of = "all opens" if where == "all" else f"the opens of {where}"
            sentence = f"{count / chosen.size:.0%} of {of} equal the previous close: {_STALE_MEANS}"
            flagged.append(Finding(kind="stale_open", where=str(where), count=count, sentence=sentence))
    return flagged


def flat_stretches(case: QualityCase) -> list[Finding]:
    """Return stretches of equal closes that last for days, or for hours of intraday bars.

    Not those that chance explains: in a quiet night prices stand still for hours where a tick is much.
    """
    bars = case.bars
    starts = np.flatnonzero(np.concatenate([[True], np.diff(bars.close) != 0]))
    lengths = np.diff(np.append(starts, len(bars)))
    least = FLAT_BARS if bars.timeframe.is_session else max(FLAT_BARS, FLAT_NS // bars.timeframe.nanoseconds)
    long = lengths >= least
    if not long.any():
        return []
    surprise = np.concatenate([[0.0], np.cumsum(_surprise(case))])
    stops = starts + lengths
    # Volatility that changes within the day makes quiet stretches more likely than they seem.
    enough = np.log(len(bars) / _BY_CHANCE) * (1.0 if bars.timeframe.is_session else 2.0)
    long &= surprise[stops] - surprise[starts + 1] > enough
    if not long.any():
        return []
    lengths = np.where(long, lengths, 0)
    longest = int(lengths.argmax())
    sentence = (
        f"{counted(int(long.sum()), 'stretch', 'stretches')} of {least} or more equal closes, the longest "
        f"{int(lengths[longest]):,} bars from {case.dates[starts[longest]]}"
    )
    return [_stretches(case, "flat", starts[long], lengths[long], sentence)]


def _surprise(case: QualityCase) -> Floats:
    """Return how surprising it is that bars close where the one before did: -log of its probability (n,).

    Where the usual change at that time of day is m > 1 ticks, the close stays with a probability of about
    1 / (e m). Where it is less, a price that diffuses stays within its tick with about exp(-5 m^2) a bar, and
    longer where volatility changes within the day: exp(-3 m^2). A market that never moves is a surprise.
    """
    bars = case.bars
    own = case.session_ranges[case.index]
    # A quiet day is measured by itself.
    scale = np.fmin(case.scale, own)
    points = scale * bars.close if case.in_logs else scale
    moved = np.abs(np.diff(bars.close, prepend=bars.close[:1]))
    known = points > 0
    share = np.minimum(np.where(known, moved / np.where(known, points, 1.0), 0.0), _MOST_OF_A_DAY)
    slots = np.zeros(len(bars), dtype=np.int64) if bars.timeframe.is_session else np.maximum(case.slots, 0)
    # What few sessions say of a minute counts less than what all minutes do.
    usual = np.bincount(slots, weights=share) + _SESSIONS * float(share.mean())
    usual /= np.bincount(slots) + _SESSIONS
    steps = moved[moved > 0]
    # Sums of adjustments leave differences in the last digits, which are no ticks.
    steps = steps[steps > _ROUNDING * np.median(steps)] if steps.size else steps
    if not steps.size:
        return np.full(len(bars), _FOR_SURE)
    tick = float(steps.min())
    ticks = usual[slots] * points / tick
    small = np.minimum(ticks, 3.0 * ticks**2)
    return np.asarray(np.where(ticks < 1.0, small, 1.0 + np.log(np.maximum(ticks, 1.0))))


def _stretches(case: QualityCase, kind: str, starts: Stamps, lengths: Stamps, sentence: str) -> Finding:
    end = case.bars.end
    spans = tuple((int(end[a]), int(end[a + n - 1])) for a, n in zip(starts, lengths, strict=True))
    where = str(case.dates[starts[0]])
    return Finding(kind=kind, where=where, count=int(starts.size), sentence=sentence, spans=spans)


def no_volume(case: QualityCase) -> list[Finding]:
    """Return that many bars have no volume; where few have none, the stretches without any."""
    bars = case.bars
    empty = bars.volume == 0
    count = int(empty.sum())
    if count > ZERO_VOLUME_SHARE * len(bars):
        sentence = f"{count / len(bars):.0%} of the bars have no volume: volume features mean little"
        return [Finding(kind="no_volume", where="all", count=count, sentence=sentence)]
    starts, lengths = _runs(empty)
    step = bars.timeframe.nanoseconds
    least = _SILENT_BARS if bars.timeframe.is_session else max(_SILENT_BARS, _SILENT_NS // step)
    long = lengths >= least
    if not long.any():
        return []
    longest = int(lengths.argmax())
    sentence = (
        f"{counted(int(long.sum()), 'stretch', 'stretches')} of {least} or more bars "
        f"without volume, the longest {int(lengths[longest]):,} bars from {case.names(starts[[longest]])[0]}"
    )
    return [_stretches(case, "silent", starts[long], lengths[long], sentence)]


def copied_bars(case: QualityCase) -> list[Finding]:
    """Return bars that repeat the one before in all prices and the volume, though prices moved within it."""
    bars = case.bars
    equal = bars.high > bars.low
    for name in BAR_COLUMNS:
        column = getattr(bars, name)
        equal[1:] &= column[1:] == column[:-1]
    equal[:1] = False
    starts, lengths = _runs(equal)
    least = (_COPIES if bars.timeframe.is_session else _COPIES_INTRADAY) - 1
    long = lengths >= least
    if not long.any():
        return []
    rows, copies = starts[long], lengths[long]
    longest = int(copies.argmax())
    sentence = (
        f"{counted(int(copies.sum()), 'bar')} that repeat the one before, prices and volume: the longest "
        f"{counted(int(copies[longest]), 'copy', 'copies')} from {case.names(rows[[longest]])[0]}"
    )
    return [_stretches(case, "copied_bar", rows, copies, sentence)]


def copied_sessions(case: QualityCase) -> list[Finding]:
    """Return sessions whose bars are those of an earlier session."""
    bars, starts = case.bars, case.starts
    # Days are told apart by their volume; four prices on a coarse grid come again.
    if bars.timeframe.is_session and np.unique(bars.volume).size < _DISTINCT * len(bars):
        return []
    lengths = np.diff(np.append(starts, len(bars)))
    least = 1 if bars.timeframe.is_session else _LEAST_COPIED
    hashes = np.zeros(starts.size, dtype=np.uint64)
    columns = np.stack([getattr(bars, name).view(np.uint64) for name in BAR_COLUMNS])
    # Words wrap around: that is what a hash does, and only plain Python says so.
    with np.errstate(over="ignore"):
        fill_hashes(columns, np.append(starts, len(bars)), hashes)
    ranged = np.add.reduceat((bars.high > bars.low) & (bars.volume > 0), starts) >= least
    _, first, back = np.unique(hashes, return_index=True, return_inverse=True)
    copied = (first[back] != np.arange(starts.size)) & ranged & (lengths >= least)
    # Sessions in a row that are equal are bars that repeat the one before.
    copied[1:] &= ~((hashes[1:] == hashes[:-1]) & bars.timeframe.is_session)
    rows = np.flatnonzero(copied)
    if not rows.size:
        return []
    days = case.dates[starts]
    named = listed([f"{days[row]} (as {days[first[back[row]]]})" for row in rows])
    last = np.append(starts[1:], len(bars)) - 1
    return [
        Finding(
            kind="copied_session",
            where=str(days[rows[0]]),
            count=int(rows.size),
            sentence=f"{counted(rows.size, 'session')} whose bars are those of another: {named}",
            spans=tuple((int(bars.end[max(starts[row] - 1, 0)]), int(bars.end[last[row]])) for row in rows),
        )
    ]


@kernel
def fill_hashes(columns: Words, bounds: Stamps, out: Words) -> None:
    """Write a hash of the bits of each stretch of columns, bounds[i] to bounds[i + 1] (FNV-1a by words)."""
    for i in range(out.size):
        found = np.uint64(14_695_981_039_346_656_037)
        for row in range(bounds[i], bounds[i + 1]):
            for column in range(columns.shape[0]):
                found = (found ^ columns[column, row]) * np.uint64(1_099_511_628_211)
                found ^= found >> np.uint64(29)
        out[i] = found


def no_range(case: QualityCase) -> list[Finding]:
    """Return that many bars have one price only: a file of closes that was made into bars."""
    bars = case.bars
    without = bars.high == bars.low
    count, most = int(without.sum()), _NO_RANGE if bars.timeframe.is_session else _NO_RANGE_INTRADAY
    if len(bars) < _ENOUGH or count <= most * len(bars):
        return []
    sentence = f"{count / len(bars):.0%} of the bars have no range: their high is their low"
    return [Finding(kind="no_range", where="all", count=count, sentence=sentence)]


def volume_units(case: QualityCase) -> list[Finding]:
    """Return where the volume of a month is fifty times that of the month before, or a fiftieth."""
    volume = np.add.reduceat(case.bars.volume, case.starts)
    if volume.size < 2 * _MONTH:
        return []
    logs = np.log(np.maximum(volume, 1e-9))
    views = np.lib.stride_tricks.sliding_window_view(logs, _MONTH)
    middle, mean = np.median(views, axis=1), views.mean(axis=1)
    beyond = np.abs(middle[_MONTH:] - middle[:-_MONTH]) > np.log(_UNIT)
    # Medians say whether it changes, and means on which day.
    rows = _peaks(np.where(beyond, np.abs(mean[_MONTH:] - mean[:-_MONTH]), 0.0)) + _MONTH
    if not rows.size:
        return []
    starts, days = case.starts, case.dates[case.starts]
    ratios = np.exp(middle[rows] - middle[rows - _MONTH])
    named = listed([f"{days[row]} ({_times(float(each))})" for row, each in zip(rows, ratios, strict=True)])
    return [
        Finding(
            kind="volume_unit",
            where=str(days[rows[0]]),
            count=int(rows.size),
            sentence=f"the unit of volume seems to change: {named}, from month to month",
            spans=case.spans(starts[rows]),
        )
    ]


def _times(ratio: float) -> str:
    return f"times {ratio:,.0f}" if ratio > 1 else f"divided by {1 / ratio:,.0f}"


def _peaks(values: Floats) -> Stamps:
    """Return the row of the largest value of each stretch above 0."""
    stretches = zip(*_runs(values > 0), strict=True)
    return np.array([a + int(np.argmax(values[a : a + n])) for a, n in stretches], dtype=np.int64)


def _runs(flags: Flags) -> tuple[Stamps, Stamps]:
    """Return where stretches of true begin, and how long they are."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    starts = np.flatnonzero(edges == 1)
    return starts, np.flatnonzero(edges == -1) - starts
