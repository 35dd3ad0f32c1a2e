"""The history that drift is measured against: frozen when a model is validated, and named by its hash."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.identity import json_digest
from lockstep.metrics.arrays import Dates, Floats
from lockstep.settings import Settings

DAY = np.dtype("datetime64[D]")
# A column of so few values is written as places in a list of them, a byte each.
_FEW = 256


class PackedColumn(Settings):
    """A column of float64 in plain text: `values`, or `codes` (uint8) of places in `distinct`; base64.

    Numbers are little endian. JSON of 20 years of 70 features would be twice as large.
    """

    values: str = ""
    distinct: str = ""
    codes: str = ""

    @classmethod
    def of(cls, column: Floats) -> PackedColumn:
        """Pack float64 (n,); equal bits give equal text.

        >>> PackedColumn.of(np.array([0.5, 0.5, 1.0, 0.5])).column().tolist()
        [0.5, 0.5, 1.0, 0.5]
        """
        bits = np.ascontiguousarray(column, dtype="<f8").view("<u8")
        distinct, codes = np.unique(bits, return_inverse=True)
        if distinct.size > _FEW:
            return cls(values=_text(bits))
        return cls(distinct=_text(distinct), codes=_text(codes.astype(np.uint8)))

    def column(self) -> Floats:
        """Return what was packed, float64 (n,); DataError where the text is none of it."""
        try:
            if self.values:
                return np.frombuffer(base64.b64decode(self.values, validate=True), dtype="<f8")
            distinct = np.frombuffer(base64.b64decode(self.distinct, validate=True), dtype="<f8")
            codes = np.frombuffer(base64.b64decode(self.codes, validate=True), dtype=np.uint8)
            return np.asarray(distinct[codes], dtype=np.float64)
        except (ValueError, IndexError) as error:
            raise DataError(f"feature history: a column cannot be read ({error}); freeze it again") from error


class HistoryContent(Settings):
    """A `FeatureHistory` as it is written: plain JSON, every number exactly, null for an infinite bound."""

    ids: tuple[str, ...]
    sessions: tuple[date, ...]
    columns: tuple[PackedColumn, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    gaps: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureHistory:
    """What the features of a model were in each session up to its validation; it cannot be changed.

    ids        canonical ids, in the order of the columns
    sessions   datetime64[D] (n,), rising
    values     float64 (n, ids), at the last decision of each session; NaN where there was none
    low, high  float64 (ids,), inclusive ranges that the registry declares; infinite where it declares none
    gaps       whether missing values are usual, as for the probabilities of signals: their share is no test

    `digest` covers all of it. DataError for shapes that do not fit, ids that come twice, sessions out of
    order, infinite values, and values outside the declared range.

    >>> days = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]")
    >>> history = FeatureHistory(ids=("ibs",), sessions=days, values=[[0.2], [0.9], [0.4]], low=[0], high=[1])
    >>> len(history), history.digest[:8]
    (3, '98258814')
    """

    ids: tuple[str, ...]
    sessions: Dates
    values: Floats
    low: Floats
    high: Floats
    gaps: bool = False

    def __post_init__(self) -> None:
        """Take copies that nobody can write to, and check them."""
        object.__setattr__(self, "ids", tuple(self.ids))
        # A sum with 0 turns -0 into 0, and one NaN stands for all of them: equal values have equal bytes.
        values = np.array(self.values, dtype=np.float64) + 0.0
        values[np.isnan(values)] = np.nan
        _freeze(self, "values", values)
        _freeze(self, "sessions", np.array(self.sessions, dtype=DAY))
        _freeze(self, "low", np.array(self.low, dtype=np.float64) + 0.0)
        _freeze(self, "high", np.array(self.high, dtype=np.float64) + 0.0)
        self._check_shape()
        self._check_values()

    def __len__(self) -> int:
        """Return the number of sessions."""
        return self.sessions.size

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over ids, sessions, values and ranges, the same on every machine."""
        days = np.datetime_as_string(self.sessions).tolist()
        head = json_digest({"ids": self.ids, "sessions": days, "gaps": self.gaps})
        found = hashlib.sha256(head.encode())
        for array in (self.values, self.low, self.high):
            found.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return found.hexdigest()

    @property
    def content(self) -> HistoryContent:
        """All of it as plain values, for a file; equal histories give equal content."""
        return HistoryContent(
            ids=self.ids,
            sessions=tuple(self.sessions.tolist()),
            columns=tuple(map(PackedColumn.of, self.values.T)),
            low=_bounds(self.low),
            high=_bounds(self.high),
            gaps=self.gaps,
        )

    @classmethod
    def of_content(cls, content: HistoryContent) -> FeatureHistory:
        """Return the history that was written, with the digest that it had; DataError where it is none.

        >>> days = np.arange("2020-01-01", "2020-01-03", dtype="datetime64[D]")
        >>> own = FeatureHistory(ids=("x",), sessions=days, values=[[0.1], [np.nan]], low=[-np.inf], high=[1])
        >>> FeatureHistory.of_content(own.content).digest == own.digest
        True
        """
        columns = [each.column() for each in content.columns]
        count = len(content.sessions)
        if any(each.size != count for each in columns):
            sizes = ", ".join(str(each.size) for each in columns[:3])
            raise DataError(
                f"feature history: {count} sessions, columns of {sizes} values; each needs one for each "
                "session; freeze it again"
            )
        return cls(
            ids=content.ids,
            sessions=np.array(content.sessions, dtype=DAY),
            values=np.array(columns, dtype=np.float64).reshape(-1, count).T,
            low=np.array([-math.inf if each is None else each for each in content.low], dtype=np.float64),
            high=np.array([math.inf if each is None else each for each in content.high], dtype=np.float64),
            gaps=content.gaps,
        )

    def row(self, session: Any, values: Sequence[float] | Floats, after: date) -> Floats:
        """Return a session after `after` as a row, float64 (ids,); DataError where it does not fit."""
        row = np.asarray(values, dtype=np.float64)
        day = day_of(session)
        if row.shape != (len(self.ids),):
            raise DataError(
                f"drift, session {day}: {row.size} values for {len(self.ids)} features of the reference "
                f"({', '.join(self.ids[:3])}, ...); give one value each, NaN where there is none"
            )
        if np.isinf(row).any():
            name = self.ids[int(np.flatnonzero(np.isinf(row))[0])]
            raise DataError(f"drift, session {day}: {name} is infinite; give a number, or NaN for none")
        if not day > after:
            raise DataError(
                f"drift, session {day}: does not come after {after}; give sessions in order, each once"
            )
        return row

    def _check_shape(self) -> None:
        count, width = self.sessions.size, len(self.ids)
        if self.values.shape != (count, width) or self.low.shape != (width,) or self.high.shape != (width,):
            raise DataError(
                f"feature history: {count} sessions and {width} ids, but values {self.values.shape}, low "
                f"{self.low.shape}, high {self.high.shape}; need (sessions, ids), (ids,) and (ids,)"
            )
        if not width or len(set(self.ids)) != width:
            raise DataError(f"feature history: ids {', '.join(self.ids)}: need at least one, each once")
        late = np.flatnonzero(np.diff(self.sessions) <= np.timedelta64(0, "D"))
        if late.size:
            raise DataError(
                f"feature history: session {self.sessions[late[0] + 1]} after {self.sessions[late[0]]}; "
                "sessions must rise; sort them and keep one row each"
            )

    def _check_values(self) -> None:
        if not ((self.low <= self.high) & (self.low < np.inf) & (self.high > -np.inf)).all():
            raise DataError("feature history: each range needs low <= high; take them from the registry")
        with np.errstate(invalid="ignore"):
            outside = (self.values < self.low) | (self.values > self.high) | np.isinf(self.values)
        if outside.any():
            row, column = (int(each) for each in np.argwhere(outside)[0])
            raise DataError(
                f"feature history: {self.ids[column]} is {self.values[row, column]:g} in session "
                f"{self.sessions[row]}; declared are {self.low[column]:g} to {self.high[column]:g}, all "
                "finite; compute it again with the features of the bundle"
            )


def _text(numbers: Any) -> str:
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def _bounds(numbers: Floats) -> tuple[float | None, ...]:
    return tuple(each if math.isfinite(each) else None for each in numbers.tolist())


def day_of(session: Any) -> date:
    """Return a session's date, of a date, an ISO text or a datetime64; DataError for anything else.

    >>> day_of("2020-01-04")
    datetime.date(2020, 1, 4)
    """
    try:
        day = np.datetime64(session, "D").item()
    except (TypeError, ValueError):
        day = None
    if not isinstance(day, date):
        raise DataError(f"session {session!r}: is no date; give one such as 2026-01-30")
    return day


def _freeze(owner: FeatureHistory, name: str, array: Any) -> None:
    array.flags.writeable = False
    object.__setattr__(owner, name, array)
