"""Cells of a results file: numbers and dates in the ways that programs write them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from lockstep.errors import DataError
from lockstep.metrics import Dates
from research.report.data import Floats

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_ISO = ["ISO8601", "%Y%m%d", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y-%m", "%b %d, %Y", "%d %b %Y"]


def numbers_of(source: str, name: str, cells: pd.Series) -> Floats:
    """Return cells as numbers: `1,234.50`, `$5`, `(12.5)`, `1.2%` and, where no cell has a point, `0,5`."""
    if cells.dtype.kind in "fiu":
        values = cells.to_numpy(dtype=np.float64)
    else:
        texts = [_bare(str(cell)) for cell in cells]
        has_point = any("." in text for text in texts)
        values = np.array([_number(text, has_point) for text in texts])
    # pct_change leaves its first row empty.
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size and not (wrong.size == 1 and wrong[0] in (0, values.size - 1)):
        row = int(wrong[wrong > 0][0])
        raise DataError(f"{source}, row {row + 2}: {name} {cells.iloc[row]!r}: not a number")
    return values


def _bare(text: str) -> str:
    text = text.strip().replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", "")
    text = re.sub(r"[%$€£\s]|USD|EUR", "", text)
    return f"-{text[1:-1]}" if text.startswith("(") and text.endswith(")") else text


def _number(text: str, has_point: bool) -> float:
    if "," in text and (has_point or _THOUSANDS.fullmatch(text)):
        text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else ""
    text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


def dates_of(source: str, cells: pd.Series, date_format: str | None) -> Dates:
    """Return cells as dates and times of their own clock, datetime64[ns] (n,); a time zone is left aside."""
    if cells.dtype.kind in "fiu":
        cells = cells.astype("int64").astype(str)
    if cells.dtype.kind != "M" and not isinstance(cells.dtype, pd.DatetimeTZDtype):
        cells = _parsed(source, cells.astype(str).str.strip(), date_format)
    stamps = pd.DatetimeIndex(cells)
    naive = stamps.tz_localize(None) if stamps.tz is not None else stamps
    return np.asarray(naive.as_unit("ns").to_numpy())


def _parsed(source: str, texts: pd.Series, date_format: str | None) -> pd.Series:
    # A clock's offset says where, not when on that clock; the date that the row names is its own.
    texts = texts.str.replace(r"\s*(Z|[+-]\d{2}:?\d{2})$", "", regex=True).where(texts.str.len() > 10, texts)
    for form in [date_format] if date_format else _forms(source, texts):
        parsed = pd.to_datetime(texts, format=form, errors="coerce")
        if not parsed.isna().any():
            return parsed
    bad = pd.to_datetime(texts, format=date_format or "ISO8601", errors="coerce").isna().to_numpy()
    row = int(np.argmax(bad))
    raise DataError(
        f"{source}, row {row + 2}: date {texts.iloc[row]!r}: not a date like 2020-01-31; add --date-format, "
        "such as %d.%m.%Y"
    )


def _forms(source: str, texts: pd.Series) -> list[str]:
    """Return the formats to try; DataError where day and month could be mistaken for each other."""
    parts = texts.str.extract(r"^(\d{1,2})([/.-])(\d{1,2})[/.-](\d{4})(?:[ T](\d{1,2}:\d{2})(:\d{2})?)?$")
    if parts[0].isna().any():
        return _ISO
    first, second = parts[0].astype(int), parts[2].astype(int)
    if (first > 12).any() == (second > 12).any():
        raise DataError(
            f"{source}: dates like {texts.iloc[0]}: day or month first? Say --date-format, such as %d/%m/%Y"
        )
    order = ("%d", "%m") if (first > 12).any() else ("%m", "%d")
    mark = parts[1].iloc[0]
    day = f"{order[0]}{mark}{order[1]}{mark}%Y"
    return [day, f"{day} %H:%M", f"{day} %H:%M:%S"]
