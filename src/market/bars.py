"""`Bars`: the one container of price history, validated when it is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import BadBars
from lockstep.market.timeframe import Timeframe

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.market.rolls import Rolls

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
Flags = NDArray[np.bool_]

Adjustment = Literal["none", "difference", "ratio"]

PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICE_COLUMNS, "volume")
NOT_RISING = "stamps must rise strictly: duplicate or falling stamp"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """History of one instrument at one timeframe; n bars in time order.

    end      int64 (n,): the moment the bar is complete, nanoseconds since 1970 UTC, strictly rising
    open, high, low, close   float64 (n,): finite, negative allowed, low <= open, close <= high
    volume   float64 (n,): >= 0
    source   origin of the bars, for messages
    adjustment   how prices were adjusted for rolls and dividends: `none`, by `difference` or by `ratio`
    rolls    where one contract follows another, of bars that have the prices of their contracts; None: of one

    The arrays are contiguous and read-only. A row that breaks a rule raises BadBars.

    >>> import numpy as np
    >>> from lockstep.market import DAILY
    >>> end = np.array(["2024-03-07T21:00", "2024-03-08T21:00"], dtype="M8[ns]").astype(np.int64)
    >>> bars = Bars(symbol="ES", timeframe=DAILY, end=end, open=[10, 11], high=[12, 12], low=[9, 10],
    ...             close=[11, 10.5], volume=[5, 7])
    >>> bars.close
    array([11. , 10.5])
    >>> bars.to_frame().high.max()
    np.float64(12.0)
    """

    symbol: str
    timeframe: Timeframe
    end: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    source: str = "bars"
    adjustment: Adjustment = "none"
    rolls: Rolls | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", _frozen(self.end, np.int64))
        for name in BAR_COLUMNS:
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float64))
        for name in BAR_COLUMNS:
            if getattr(self, name).shape != self.end.shape or self.end.ndim != 1:
                raise BadBars(
                    source=self.source, line=None, value=name, rule="columns are 1-D and of one length"
                )
        broken = first_violation(self.end, {name: getattr(self, name) for name in BAR_COLUMNS})
        if broken is not None:
            row, value, rule = broken
            raise BadBars(source=self.source, line=None, value=f"bar {row}: {value}", rule=rule)

    def __len__(self) -> int:
        return int(self.end.size)

    def rows(self, start: int, stop: int) -> Bars:
        """Return bars start <= i < stop."""
        return replace(
            self,
            end=self.end[start:stop],
            **{name: getattr(self, name)[start:stop] for name in BAR_COLUMNS},
        )

    def columns(self) -> dict[str, Floats]:
        """Return open, high, low, close and volume by name."""
        return {name: getattr(self, name) for name in BAR_COLUMNS}

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of symbol, timeframe, stamps, values and the rolls up to the last bar."""
        digest = hashlib.sha256(f"{self.symbol} {self.timeframe}".encode())
        for column in (self.end, *self.columns().values()):
            digest.update(column.tobytes())
        if self.rolls is not None and len(self):
            passed = int(self.rolls.contract(self.end[-1:])[0])
            digest.update(self.rolls.since[:passed].tobytes() + self.rolls.offset[: passed + 1].tobytes())
        return digest.hexdigest()

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.bars(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame indexed by `end` (UTC), columns open, high, low, close, volume."""
        import pandas as pd

        return pd.DataFrame(self.columns(), index=pd.DatetimeIndex(self.end, tz="UTC", name="end"))


def _frozen(values: NDArray[np.generic], dtype: type[np.generic]) -> NDArray[np.generic]:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.flags.writeable:
        array = array.copy() if array is values else array
        array.setflags(write=False)
    return array


def value_violations(columns: dict[str, Floats]) -> list[tuple[Flags, str, str]]:
    """Return every rule on the values of a row as (rows that break it (n,), column to show, rule)."""
    low, high = columns["low"], columns["high"]
    finite = [(~np.isfinite(columns[name]), name, "must be a finite number") for name in BAR_COLUMNS]
    return [
        *finite,
        (high < low, "high", "high must be >= low"),
        (low > columns["open"], "open", "open must be >= low"),
        (high < columns["open"], "open", "open must be <= high"),
        (low > columns["close"], "close", "close must be >= low"),
        (high < columns["close"], "close", "close must be <= high"),
        (columns["volume"] < 0, "volume", "volume must be >= 0"),
    ]


def violations(end: Stamps, columns: dict[str, Floats]) -> list[tuple[Flags, str, str]]:
    """Return every rule as (rows that break it (n,), column to show, rule)."""
    not_rising = np.zeros(end.size, dtype=np.bool_)
    not_rising[1:] = end[1:] <= end[:-1]
    return [*value_violations(columns), (not_rising, "end", NOT_RISING)]


def first_violation(end: Stamps, columns: dict[str, Floats]) -> tuple[int, str, str] | None:
    """Return (row, 'column value', rule) of the earliest broken row, or None."""
    best: tuple[int, str, str] | None = None
    for mask, name, rule in violations(end, columns):
        row = int(mask.argmax()) if mask.any() else -1
        if row >= 0 and (best is None or row < best[0]):
            value = (
                np.datetime_as_string(end[row].view("M8[ns]"), unit="s")
                if name == "end"
                else (repr(float(columns[name][row])))
            )
            best = (row, f"{name} {value}", rule)
    return best
