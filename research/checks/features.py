"""The desk's sanity check of features: one month, held against a second source, within 5 %.

`FeatureComparison`: the values of two sources side by side, and whether they agree within 5 %.

A second source of feature values: other bars, or values that somebody else computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.errors import BadBars, ConfigError, DataError
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import NOT_RISING, PRICE_COLUMNS, Bars, Stamps
from lockstep.market.config import load_instruments
from lockstep.market.frames import labelled_frame
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.loader import in_timeframe, load_history
from lockstep.market.reading.columns import BAR_NAMES, STAMP_NAMES, chosen
from lockstep.market.reading.faults import Faults
from lockstep.market.reading.files import read_bars
from lockstep.market.reading.numbers import numbers
from lockstep.market.reading.stamps import utc_stamps
from lockstep.market.reading.table import Layout, Table, read_table
from lockstep.market.sessions import Session
from lockstep.market.source import STAMP, Source
from lockstep.market.timeframe import Timeframe
from research.checks.slow_features import slow_values

TOLERANCE = 0.05
FLOOR = 0.01
ENOUGH = 0.5
RECOMPUTED = "slow formulas"


@dataclass(frozen=True, kw_only=True)
class FeatureComparison:
    """Values of a month beside those of a second source.

    against   file name of the second source, or RECOMPUTED
    bars      open, high, low, close, volume of the month, index `end` (UTC)
    ours, theirs   one column per id, index: ends in the month that either source has, NaN where missing
    widths    per id, the width of its declared range; where that is infinite, the largest size of a value

    Two values agree where they differ by at most 5 % of the larger one; differences up to 1 % of the width
    are always allowed, since percents of a value near 0 mean nothing.
    """

    market: Market
    timeframe: Timeframe
    month: str
    against: str
    bars: pd.DataFrame
    ours: pd.DataFrame
    theirs: pd.DataFrame
    widths: pd.Series

    @property
    def ids(self) -> tuple[str, ...]:
        """The feature ids that were compared."""
        return tuple(self.ours.columns)

    @cached_property
    def allowed(self) -> pd.DataFrame:
        """The largest difference allowed, per end and id."""
        larger = self.ours.abs().combine(self.theirs.abs(), np.fmax)
        return (TOLERANCE * larger).clip(lower=FLOOR * self.widths, axis="columns")

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Whether both sources have a value, per end and id."""
        return self.ours.notna() & self.theirs.notna()

    @cached_property
    def is_outside(self) -> pd.DataFrame:
        """Whether two values do not agree, per end and id; False where one is missing."""
        return self.compared & ((self.ours - self.theirs).abs() > self.allowed)

    @cached_property
    def outside(self) -> pd.DataFrame:
        """Every value out of tolerance: bar, feature, ours, theirs, difference, allowed; by bar."""
        rows, columns = np.nonzero(self.is_outside.to_numpy())
        ours, theirs, allowed = (
            frame.to_numpy()[rows, columns] for frame in (self.ours, self.theirs, self.allowed)
        )
        return pd.DataFrame(
            {
                "bar": [self.labels[row] for row in rows],
                "feature": [self.ids[column] for column in columns],
                "ours": ours,
                "theirs": theirs,
                "difference": ours - theirs,
                "allowed": allowed,
            }
        )

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Per id: bars of the month, compared, outside, missing_ours, missing_theirs."""
        return pd.DataFrame(
            {
                "bars": len(self.ours),
                "compared": self.compared.sum(),
                "outside": self.is_outside.sum(),
                "missing_ours": self.ours.isna().sum(),
                "missing_theirs": self.theirs.isna().sum(),
            }
        )

    @property
    def passed(self) -> bool:
        """Whether no value is out of tolerance and, per id, at least half of the bars were compared."""
        counts = self.counts
        return bool((counts["outside"] == 0).all() and (counts["compared"] >= ENOUGH * counts["bars"]).all())

    @property
    def verdict(self) -> str:
        """The result in one line."""
        counts, name = self.counts, f"{self.market.instrument.symbol} {self.month} against {self.against}"
        if self.passed:
            fewest = int(counts["compared"].min())
            return (
                f"within {TOLERANCE:.0%}: {name}, {', '.join(self.ids)} on {fewest} of {len(self.ours)} bars"
            )
        if len(self.outside):
            first = self.outside.iloc[0]
            return (
                f"not within {TOLERANCE:.0%}: {name}, {len(self.outside)} values; first "
                f"{first['feature']} of {first['bar']}: {first['ours']:.4g} against {first['theirs']:.4g}"
            )
        thin = counts["compared"].idxmin()
        found = f"{thin} could be compared on {counts['compared'].min()} of {len(self.ours)} bars only"
        return f"not confirmed: {name}, {found}"

    @cached_property
    def labels(self) -> list[str]:
        """One label per bar of `ours`: its session date, or its end on the exchange's clock."""
        end = pd.DatetimeIndex(self.ours.index)
        if self.timeframe.is_session:
            dates = self.market.session.dates(end.as_unit("ns").asi8, self.timeframe)
            return [str(date) for date in dates]
        return list(end.tz_convert(self.market.session.template.timezone).strftime("%Y-%m-%d %H:%M"))


def values_from(
    path: Path,
    ids: tuple[str, ...],
    bars: Bars,
    *,
    history: History,
    source: Source,
    registry: FeatureRegistry,
) -> pd.DataFrame:
    """Return feature values from the file at `path`: index bar end (UTC), one column per id.

    A file with the columns open, high, low and close holds bars in the layout and the meaning of stamps that
    `source` declares for `bars`; the ids are computed on them. Any other file holds values: a stamp column
    (datetime, timestamp or date, written like 2018-12-31 15:30; the session date for daily bars) and one
    column per id, empty where unknown.
    """
    table = read_table(path)
    session = history.markets[bars.symbol].session
    if set(PRICE_COLUMNS) <= set(table.names) or _is_laid_out_as(path, source):
        return _computed(path, ids, bars, history=history, source=source, registry=registry)
    missing = [each for each in ids if each.lower() not in table.names]
    if missing:
        raise ConfigError(
            f"{path}: no column {missing[0]} among {', '.join(table.names)}: it must hold bars (open, high, "
            "low, close) or a column for each id; name the ids that it holds by --features"
        )
    end = _ends(table, bars, source, session)
    columns = [_values(table, each) for each in ids]
    return labelled_frame(end, ids, np.column_stack(columns))


def _is_laid_out_as(path: Path, source: Source) -> bool:
    """Whether a file has the columns of bars under the names that the source declares."""
    try:
        chosen(read_table(path, Layout.of(source)), source, BAR_NAMES)
    except BadBars:
        return False
    return True


def _computed(
    path: Path,
    ids: tuple[str, ...],
    bars: Bars,
    *,
    history: History,
    source: Source,
    registry: FeatureRegistry,
) -> pd.DataFrame:
    if source.timeframe is None:
        raise ConfigError(f"{path}: {source.name} declares ticks; give a file with feature values instead")
    session = history.markets[bars.symbol].session
    loaded = read_bars(path, symbol=bars.symbol, source=source, session=session)
    others = in_timeframe(loaded, bars.timeframe, session)
    return registry.matrix(ids, others, history=history)


def _ends(table: Table, bars: Bars, source: Source, session: Session) -> Stamps:
    """Return the end of the bar that each row is about; BadBars on the first stamp that says none."""
    timeframe = bars.timeframe
    meaning = "session_date" if timeframe.is_session else source.stamp
    source = source.model_copy(update={"stamp": meaning, "stamp_format": None})
    faults = Faults(table.lines.size)
    stamps = utc_stamps(table.column(*STAMP_NAMES), source, faults)
    faults.add(np.diff(stamps, prepend=np.iinfo(np.int64).min // 2) <= 0, STAMP, NOT_RISING)
    for row, _, rule in faults.rows()[:1]:
        stamp = table.column(*STAMP_NAMES)[row].as_py()
        raise table.problem(int(table.lines[row]), f"{STAMP} {stamp!r}", rule)
    for line, found in table.ragged[:1]:
        raise table.problem(
            line, f"{found} columns", f"expected {len(table.names)} columns, as in the header"
        )
    if timeframe.is_session:
        return session.nominal_close(stamps.view("M8[ns]").astype("M8[D]"))
    closed = source.stamp != "open"
    return session.bucket_end(stamps, timeframe, closed="right" if closed else "left")


def _values(table: Table, feature_id: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a column of numbers, NaN where empty; BadBars on the first cell that is neither."""
    column = table.column(feature_id.lower())
    values, not_numbers = numbers(column)
    for row in np.flatnonzero(not_numbers):
        text = column[row].as_py()
        if text:
            rule = "must be a number, or empty where unknown"
            raise table.problem(int(table.lines[row]), f"{feature_id} {text!r}", rule)
    return values


DEFAULT_IDS = ("ibs", "rsi_2", "volume_pctile_20")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def check_features(
    symbol: str,
    month: str,
    data_dir: Path | None = None,
    *,
    ids: tuple[str, ...] = DEFAULT_IDS,
    against: Path | None = None,
    timeframe: Timeframe | None = None,
    source: str | None = None,
    registry: FeatureRegistry | None = None,
) -> FeatureComparison:
    """Compare features of `month` (YYYY-MM, by session date) with the file `against`, see `values_from`.

    Without a file they are computed once more by the formulas of `slow_features`. ConfigError on a month
    that is none, DataError where the bars do not reach it; otherwise as `load_history` and `values_from`.
    """
    if not _MONTH.fullmatch(month):
        raise ConfigError(f"month {month!r}: must be a month like 2018-12")
    if not ids:
        raise ConfigError("no feature to check: name at least one, like ibs")
    registry, book = registry or default_registry(), load_instruments()
    declared, _ = book.source(symbol, data_dir, timeframe=timeframe, name=source)
    frame = timeframe or declared.timeframe
    if frame is None:
        raise ConfigError(f"{symbol}: {declared.name} holds ticks; give the --timeframe of the bars to make")
    base = SeriesKey(symbol, frame)
    keys = source_keys(registry.plan(ids, base), book.markets)
    history = load_history(symbol, data_dir, timeframe=frame, context=keys, book=book, source=source)
    bars = history.series(base)
    ours = registry.matrix(ids, bars, history=history)
    if against is None:
        slow = {each: slow_values(registry.parse(each), bars.to_frame()) for each in ids}
        theirs = pd.DataFrame(slow, index=ours.index)
    else:
        theirs = values_from(against, ids, bars, history=history, source=declared, registry=registry)
    return _compared(history, base, month, ours, theirs, registry, against)


def _compared(
    history: History,
    base: SeriesKey,
    month: str,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    registry: FeatureRegistry,
    against: Path | None,
) -> FeatureComparison:
    bars, market = history.series(base), history.markets[base.symbol]
    inside = [_in_month(frame, month, market, base.timeframe) for frame in (ours, theirs)]
    if not len(inside[0]):
        raise _not_there(bars, month, market)
    ends = inside[0].index.union(inside[1].index).rename("end")
    ours, theirs = (frame.reindex(ends) for frame in inside)
    return FeatureComparison(
        market=market,
        timeframe=base.timeframe,
        month=month,
        against=RECOMPUTED if against is None else against.name,
        bars=_in_month(bars.to_frame(), month, market, base.timeframe).reindex(ends),
        ours=ours,
        theirs=theirs,
        widths=pd.Series([_width(registry, str(each), ours, theirs) for each in ours], index=ours.columns),
    )


def _in_month(frame: pd.DataFrame, month: str, market: Market, timeframe: Timeframe) -> pd.DataFrame:
    end = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    dates = market.session.dates(end, timeframe)
    return frame.take(np.flatnonzero(dates.astype("M8[M]") == np.datetime64(month, "M")))


def _not_there(bars: Bars, month: str, market: Market) -> DataError:
    dates = market.session.dates(bars.end[[0, -1]], bars.timeframe)
    return DataError(
        f"{bars.source}: no bar in {month}: it has {dates[0]} to {dates[1]}; choose a month inside"
    )


def _width(registry: FeatureRegistry, each: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    parsed = registry.parse(each)
    declared = parsed.high - parsed.low
    if np.isfinite(declared):
        return float(declared)
    return float(np.nanmax(np.abs([ours[each], theirs[each]]), initial=0.0))
