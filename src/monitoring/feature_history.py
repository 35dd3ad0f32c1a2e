"""The history that drift is measured against: frozen when a model is validated, and named by its hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.identity import json_digest
from lockstep.metrics.arrays import Dates, Floats
from lockstep.monitoring.evidence import read_sealed, sealed

KIND, SCHEMA = "feature history", 1
DAY = np.dtype("datetime64[D]")


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

    def text(self) -> str:
        """Return the sealed file's text: plain JSON, every number exactly."""
        return sealed(
            {
                "kind": KIND,
                "schema": SCHEMA,
                "ids": list(self.ids),
                "sessions": np.datetime_as_string(self.sessions).tolist(),
                "values": _plain(self.values),
                "low": _plain(self.low),
                "high": _plain(self.high),
                "gaps": self.gaps,
            }
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


def read_feature_history(path: Path) -> FeatureHistory:
    """Return the history in a sealed file, with the digest that it had.

    ParityError where the file is missing, was edited, or is of another kind or schema.

    >>> import tempfile
    >>> days = np.arange("2020-01-01", "2020-01-03", dtype="datetime64[D]")
    >>> written = FeatureHistory(ids=("x",), sessions=days, values=[[0.1], [np.nan]], low=[-np.inf], high=[1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = (Path(folder) / "history.json").write_text(written.text())
    ...     read_feature_history(Path(folder) / "history.json").digest == written.digest
    True
    """
    content = read_sealed(path, kind=KIND, schema=SCHEMA)
    ids = tuple(content["ids"])
    return FeatureHistory(
        ids=ids,
        sessions=np.array(content["sessions"], dtype=DAY),
        values=_numbers(content["values"], math.nan).reshape(-1, len(ids)),
        low=_numbers(content["low"], -math.inf),
        high=_numbers(content["high"], math.inf),
        gaps=content["gaps"],
    )


def _plain(numbers: Floats) -> list[float | None]:
    """Return numbers row by row, None where JSON has none; the field says which it was."""
    return [each if math.isfinite(each) else None for each in numbers.ravel().tolist()]


def _numbers(plain: Sequence[float | None], missing: float) -> Floats:
    return np.array([missing if each is None else each for each in plain], dtype=np.float64)


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
