"""Files of vendors for tests: the same bars in many layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.market.bars import Bars
from lockstep.market.reading.files import Loaded, read_bars
from lockstep.market.source import Source
from support.markets import BOOK, utc

ROWS = (
    (4780.25, 4781.5, 4779.75, 4781.0, 1200.0),
    (4781.25, 4782.5, 4780.75, 4782.0, 1210.0),
    (4782.25, 4783.5, 4781.75, 4783.0, 1820000.0),
)
ENDS = [utc(f"2024-01-02 14:{minute}") for minute in (31, 32, 33)]
DAYS = ("2024-01-02", "2024-01-03", "2024-04-02")
CLOSES = [utc("2024-01-02 22:00"), utc("2024-01-03 22:00"), utc("2024-04-02 21:00")]


def minutes(**declared: Any) -> Source:
    values = {
        "name": "s",
        "folder": "s",
        "timeframe": "1min",
        "stamp": "open",
        "session": "CME",
        "timezone": "UTC",
    }
    return Source.model_validate(_without_none(values | {"adjustment": "none"} | declared))


def daily(**declared: Any) -> Source:
    return minutes(
        **({"timeframe": "1d", "stamp": "session_date", "timezone": "America/New_York"} | declared)
    )


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def written(folder: Path, text: str | bytes, name: str = "ES_bt.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def loaded(path: Path, source: Source, *, quarantine: bool = False) -> Loaded[Bars]:
    session = BOOK.session_named(source.session)
    return read_bars(path, symbol="ES", source=source, session=session, quarantine=quarantine)


def assert_holds(path: Path, source: Source, *, volume: tuple[float, ...] | None = None) -> None:
    bars = loaded(path, source).data
    assert bars.end.tolist() == (CLOSES if source.stamp == "session_date" else ENDS)
    values = np.array(ROWS)
    if volume is not None:
        values[:, 4] = volume
    assert np.array_equal(np.column_stack(list(bars.columns().values())), values)


def lines(*rows: str, end: str = "\n") -> str:
    return end.join((*rows, ""))


def table(header: str, stamps: tuple[str, ...], separator: str = ",", form: str = "{} {} {} {} {}") -> str:
    """Return a file of `header` and the rows behind their stamps, values in the order of `form`."""
    texts = (
        form.replace(" ", separator).format(*(f"{value:g}" if value % 1 else f"{value:.0f}" for value in row))
        for row in ROWS
    )
    body = [f"{stamp}{separator}{text}" for stamp, text in zip(stamps, texts, strict=True)]
    return lines(*([header] if header else []), *body)


OPEN = tuple(f"14:{minute}" for minute in (30, 31, 32))
CLOSE = tuple(f"14:{minute}" for minute in (31, 32, 33))
HEADER = "datetime,open,high,low,close,volume"


def at(form: str, times: tuple[str, ...] = OPEN) -> tuple[str, ...]:
    return tuple(form.format(time) for time in times)


def on(form: str) -> tuple[str, ...]:
    return tuple(pd.Timestamp(day).strftime(form) for day in DAYS)
