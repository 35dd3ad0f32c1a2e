"""How often the plausibility band quarantines real bars, and which planted errors it catches.

    LOCKSTEP_SHARED_DATA=... python -m benchmarks.plausible [--bars 2000]

Every series is judged as the live engine judges it, with the default band: each bar against the bars before
it. Then errors of each kind are planted into `bars` random bars per series, one at a time; caught means that
a rule of bars or the band refuses the bar. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lockstep.live.messages import Values, iso
from lockstep.live.plausible import Bands, Plausibility
from lockstep.live.warmup import read_series
from lockstep.market.bar_rules import broken_rule
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY, Timeframe

SEED = 20_260_301
FILES = [("futures_daily", symbol, "1d") for symbol in ("ES", "NQ", "6E", "GC", "CL", "ZC")] + [
    ("equity_hourly", "SPY", "1d"),
    ("equity_hourly", "SPY", "1h"),
    ("futures_1min", "6E", "1min"),
    ("futures_1min", "6E", "15min"),
]
Random = np.random.Generator
Planted = Callable[[Values, int, Random], Values | None]


def series(book: InstrumentBook, shared: Path | None) -> Iterator[Bars]:
    """Yield the embedded indices since 1999, then what the shared folder holds."""
    for symbol in ("COMP", "SPX"):
        source, path = book.source(symbol, None, timeframe=DAILY)
        whole = source.model_copy(update={"usable_from": None})
        yield read_series(SeriesKey(symbol, DAILY), whole, path, book)
    for folder, symbol, timeframe in FILES if shared else ():
        yield load_bars(symbol, shared / folder, timeframe=Timeframe.parse(timeframe))


def rows_of(bars: Bars) -> list[tuple[int, Values]]:
    """Return (end, values) of every bar."""
    columns = (column.tolist() for column in bars.columns().values())
    return list(zip(bars.end.tolist(), zip(*columns, strict=True), strict=True))


# ---- errors: (values, decimals of a price, random) -> values, None where the error changes nothing


def scaled(factor: float) -> Planted:
    """Return the error of a whole bar that is wrong by a factor."""
    return lambda values, decimals, random: (*(price * factor for price in values[:4]), values[4])


def without_point(values: Values, decimals: int, random: Random) -> Values | None:
    """All prices without their decimal point."""
    return (*(round(price * 10.0**decimals) for price in values[:4]), values[4]) if decimals else None


def one_without_point(values: Values, decimals: int, random: Random) -> Values | None:
    """One price without its decimal point."""
    return replaced(values, random, lambda price: price * 10.0**decimals) if decimals else None


def one_scaled(values: Values, decimals: int, random: Random) -> Values | None:
    """One price ten times too large or too small."""
    factor = 10.0 if random.random() < 0.5 else 0.1
    return replaced(values, random, lambda price: price * factor)


def replaced(values: Values, random: Random, change: Callable[[float], float]) -> Values:
    """Change one of the four prices."""
    row = list(values)
    place = int(random.integers(4))
    row[place] = change(row[place])
    return tuple(row)


def swapped(first: int) -> Planted:
    """Return the error of two neighbouring digits swapped, `first` and the next, in one price."""

    def plant(values: Values, decimals: int, random: Random) -> Values | None:
        place = int(random.integers(4))
        text = f"{abs(values[place]):.{decimals}f}"
        digits = [i for i, letter in enumerate(text) if letter.isdigit()]
        start = next((n for n, i in enumerate(digits) if text[i] != "0"), len(digits))
        chosen = digits[start + first : start + first + 2]
        if len(chosen) < 2 or text[chosen[0]] == text[chosen[1]]:
            return None
        letters = list(text)
        letters[chosen[0]], letters[chosen[1]] = letters[chosen[1]], letters[chosen[0]]
        changed = float("".join(letters)) * (1.0 if values[place] >= 0 else -1.0)
        return (*values[:place], changed, *values[place + 1 :])

    return plant


KINDS: Mapping[str, Planted] = {
    "high 1e308": lambda values, decimals, random: (values[0], 1e308, *values[2:]),
    "low 0.0": lambda values, decimals, random: (*values[:2], 0.0, *values[3:]),
    "all prices 0.0": lambda values, decimals, random: (0.0, 0.0, 0.0, 0.0, values[4]),
    "bar times 10": scaled(10.0),
    "bar divided by 10": scaled(0.1),
    "bar times 100": scaled(100.0),
    "sign lost": lambda values, decimals, random: (-values[0], -values[2], -values[1], -values[3], values[4]),
    "one price by a factor 10": one_scaled,
    "bar without decimal point": without_point,
    "one price without decimal point": one_without_point,
    "digits 1 and 2 swapped": swapped(0),
    "digits 2 and 3 swapped": swapped(1),
    "digits 3 and 4 swapped": swapped(2),
    "volume 1e300": lambda values, decimals, random: (*values[:4], 1e300),
    "volume negative": lambda values, decimals, random: (*values[:4], -1.0),
}


def measured(bars: Bars, decimals: int, count: int) -> dict[str, object]:
    """Return the quarantined bars of a series and the share of planted errors that are caught, by kind."""
    key, rows = SeriesKey(bars.symbol, bars.timeframe), rows_of(bars)
    random = np.random.default_rng(SEED)
    settings = Plausibility()
    bands = Bands(settings)
    chosen = set(
        random.choice(np.arange(settings.bars, len(rows)), min(count, len(rows) // 2), False).tolist()
    )
    false: list[str] = []
    tried: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    by_rules: Counter[str] = Counter()
    for number, (end, values) in enumerate(rows):
        if bands.fault(key, end, values):
            false.append(iso(end))
        for kind, plant in KINDS.items() if number in chosen else ():
            wrong = plant(values, decimals, random)
            if wrong is None or wrong == values:
                continue
            tried[kind] += 1
            by_rules[kind] += bool(broken_rule(wrong))
            caught[kind] += bool(broken_rule(wrong) or bands.fault(key, end, wrong))
        bands.take(key, end, values)
    return {
        "series": str(key),
        "bars": len(rows),
        "quarantined": len(false),
        "at": false,
        "tried": dict(tried),
        "caught": {kind: round(caught[kind] / tried[kind], 4) for kind in tried},
        "by rules alone": {kind: round(by_rules[kind] / tried[kind], 4) for kind in tried},
    }


def main() -> None:
    """Measure every series and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=2_000, help="bars per series that errors are planted in")
    count = parser.parse_args().bars
    folder = os.environ.get("LOCKSTEP_SHARED_DATA")
    book = load_instruments()
    found = [
        measured(bars, _decimals(book.market(bars.symbol).instrument.tick_size), count)
        for bars in series(book, Path(folder) if folder else None)
    ]
    print(json.dumps({"seed": SEED, "band": Plausibility().model_dump(), "series": found}, indent=2))


def _decimals(tick: float) -> int:
    return len(f"{tick:.10f}".rstrip("0").partition(".")[2])


if __name__ == "__main__":
    main()
