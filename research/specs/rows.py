"""Training rows: the bars on which a spec is looked at. None of them is sealed, so a look costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Floats
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.sessions import Dates
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.families.rules import RulesConfig
from research.ledger.doors import introduce
from research.ledger.ledger import Ledger
from research.splits.ranges import training_end

EMBEDDED = "COMP"
"""What a spec is looked at on where neither symbol nor data are named."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """Feature values and clock readings at the training bars of one series.

    span     first and last session date of the rows; left_out: why it ends there, or ""
    dates    session date of each row, datetime64[D] (n,)
    ids      every id that the spec names, those of its decision vector first; width: how many these are
    values   float64 (n, ids), NaN for missing
    clock    float64 (n, 3), see `SessionClock`
    """

    key: SeriesKey
    history: History
    span: DateRange
    left_out: str
    dates: Dates
    ids: tuple[str, ...]
    width: int
    values: Floats
    clock: Floats

    def __len__(self) -> int:
        return self.dates.size

    def __str__(self) -> str:
        told = f"{self.key.symbol}, {self.key.timeframe} bars, {self.span}: {len(self):,} bars"
        return f"{told}; {self.left_out}" if self.left_out else told

    @property
    def vectors(self) -> Floats:
        """The decision vectors, float64 (n, width)."""
        return np.ascontiguousarray(self.values[:, : self.width])

    def column(self, feature_id: str) -> Floats:
        """Return the values of one id, float64 (n,)."""
        column: Floats = self.values[:, self.ids.index(feature_id)]
        return column

    def day(self, row: int) -> date:
        """Return the session date of a row."""
        found: date = self.dates[row].item()
        return found


def training_rows(
    configs: Sequence[RulesConfig],
    symbol: str,
    *,
    data_dir: Path | None = None,
    source: str | None = None,
    start: str | date | None = None,
    end: str | date | None = None,
    ledger: Ledger,
    now: datetime,
) -> list[TrainingRows]:
    """Return the training rows of every configuration, all over the same dates.

    start, end   first and last session date; without `end` the last third of the bars is left alone
    ledger       knows which dates are sealed: the rows end before the first of them

    Configurations must decide on bars of one timeframe. ConfigError where no date is left.
    """
    first = configs[0]
    key = SeriesKey(symbol, first.bars)
    book = load_instruments()
    plans = [default_registry().plan(_named(config), key) for config in configs]
    context = {each for plan in plans for each in source_keys(plan, book.markets)}
    history = load_history(
        symbol, data_dir, timeframe=first.bars, context=sorted(context), end=end, book=book, source=source
    )
    bars, market = history.series(key), history.markets[symbol]
    dates = market.session.dates(bars.end, bars.timeframe)
    span, left_out = _asked(dates, DateRange.of(start, end), is_open=end is None)
    family = load_families().of(market.instrument)
    introduce(ledger, history, key, family, now=now)
    span, left_out = _unsealed(span, left_out, ledger.sealed(family, span), symbol)
    rows = span.rows(dates, bars.source)
    days = dates[rows]
    used = DateRange(start=days[0].item(), end=days[-1].item())
    found = []
    for config, plan in zip(configs, plans, strict=True):
        values = BatchFeatures(plan, history, max_age=config.max_age.limits).matrix
        clock = SessionClock.of(market, config).readings(bars.end[rows])
        found.append(
            TrainingRows(
                key=key, history=history, span=used, left_out=left_out, dates=days, ids=plan.ids,
                width=len(config.feature_ids), values=np.ascontiguousarray(values[rows]), clock=clock,
            )
        )  # fmt: skip
    return found


def _named(config: RulesConfig) -> tuple[str, ...]:
    """Return the ids of the decision vector, then those that are written and never matter."""
    return tuple(dict.fromkeys((*config.feature_ids, *config.written_ids)))


def _asked(dates: Dates, asked: DateRange, *, is_open: bool) -> tuple[DateRange, str]:
    """Return the dates that were asked for; with an open end, the first two thirds of what there is."""
    if not is_open or dates.size == 0:
        return asked, ""
    last = training_end(dates[0].item(), dates[-1].item())
    if asked.start > last:
        raise ConfigError(
            f"--start {asked.start}: lies in the last third of the bars, which is left alone unless --end "
            f"is given; start before {last}, or give --end"
        )
    return DateRange(start=asked.start, end=last), "the last third is left alone"


def _unsealed(
    span: DateRange, left_out: str, sealed: Sequence[DateRange], symbol: str
) -> tuple[DateRange, str]:
    if not sealed:
        return span, left_out
    first = min(each.start for each in sealed)
    if first <= span.start:
        raise ConfigError(
            f"{symbol} {span}: a search sealed {sealed[0]} as its hold-out, and looking at it would count; "
            f"start and end before {first}"
        )
    return DateRange(start=span.start, end=first - _DAY), f"from {first} on they are sealed as a hold-out"
