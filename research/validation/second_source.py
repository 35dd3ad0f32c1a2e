"""A second source of feature values: other bars, or values that somebody else computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lockstep.errors import BadBars, ConfigError
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import NOT_RISING, PRICE_COLUMNS, Bars, Stamps
from lockstep.market.columns import BAR_NAMES, STAMP_NAMES, chosen
from lockstep.market.faults import Faults
from lockstep.market.files import read_bars
from lockstep.market.frames import labelled_frame
from lockstep.market.history import History
from lockstep.market.numbers import numbers
from lockstep.market.sessions import Session
from lockstep.market.source import STAMP, Source
from lockstep.market.stamps import utc_stamps
from lockstep.market.table import Layout, Table, read_table
from research.utils.data_loader import in_timeframe


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
