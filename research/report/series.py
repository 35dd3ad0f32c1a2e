"""Series of a report as plotly wants them: texts of time, and long series thinned without losing extremes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.metrics import Dates
from research.report.data import Floats, ReportData

POINT_LIMIT = 6_000  # of a figure as wide as the page: twenty years of days, five values to a pixel
NARROW_LIMIT = 1_000  # of one that is half as wide, or a line among several
_KEPT_PER_BUCKET = 4


def stamp_texts(stamps: pd.DatetimeIndex) -> NDArray[np.object_]:
    """Return UTC stamps as `2012-03-04 14:30`, None for NaT."""
    naive = stamps.tz_convert("UTC").tz_localize(None) if stamps.tz is not None else stamps
    texts = np.datetime_as_string(naive.to_numpy().astype("datetime64[m]")).astype(object)
    texts[np.asarray(naive.isna())] = None
    return np.char.replace(texts.astype(str), "T", " ").astype(object) if texts.size else texts


def bar_texts(report: ReportData, at: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.object_]:
    """Return the time of the bars `at` some positions: session date of daily bars, else the end in UTC."""
    if report.is_daily:
        return np.datetime_as_string(report.session_dates[at]).astype(object)
    return stamp_texts(pd.DatetimeIndex(report.equity.index[at]))


def shown_dates(dates: Dates) -> list[str]:
    """Return dates as `2012-03-04`."""
    texts: list[str] = np.datetime_as_string(dates.astype("datetime64[D]")).tolist()
    return texts


def times_of(report: ReportData, stamps: pd.Series) -> list[str | None]:
    """Return the time of the bars that end at `stamps`, as `bar_texts` writes it; None for NaT."""
    wanted = pd.DatetimeIndex(pd.to_datetime(stamps, utc=True))
    position = np.asarray(pd.DatetimeIndex(report.equity.index).get_indexer(wanted), dtype=np.intp)
    known, own = bar_texts(report, np.maximum(position, 0)), stamp_texts(wanted)
    return [
        None if missing else (bar if at >= 0 else text)
        for at, bar, text, missing in zip(position, known, own, wanted.isna(), strict=True)
    ]


def thin(values: Floats, limit: int = POINT_LIMIT) -> NDArray[np.intp]:
    """Return rising positions of at most `limit` values that draw the same picture; all if they are few.

    The series is cut into equal stretches; each keeps its first, lowest, highest and last value, so that no
    spike and no drawdown disappears. A plain every-k-th sample would lose them.
    """
    if values.size <= limit:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, limit // _KEPT_PER_BUCKET + 1).astype(np.intp)
    kept: list[int] = []
    for start, stop in pairwise(edges):
        part = np.nan_to_num(values[start:stop])
        kept += [start, start + int(part.argmin()), start + int(part.argmax()), stop - 1]
    return np.unique(np.array(kept, dtype=np.intp))


def thinning_note(bars: int, limit: int = POINT_LIMIT) -> str:
    """Return the sentence that tells of thinning, or nothing where all bars are drawn."""
    if bars <= limit:
        return ""
    stretches = limit // _KEPT_PER_BUCKET
    return (
        f"Drawn from {bars:,} bars in {stretches:,} stretches, each with its first, lowest, highest and last "
        "value; all figures are computed from every bar."
    )
