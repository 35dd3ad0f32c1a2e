"""Families found by bars, in a real ledger and on real bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import Timeframe
from research.ledger.database import Database, row_counts
from research.ledger.kinship import LEAST_DAYS, Series
from research.ledger.ledger import Ledger, Trials
from support.databases import KINDS, fresh_url
from support.experiments import NOON

DATES = DateRange.of("2001-01-01", "2009-12-31")
BOOK = load_instruments()


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with fresh_url(request.param, tmp_path) as url:
        yield Ledger(Database.open(url))


def introduced(ledger: Ledger, bars: Bars, family: str) -> tuple[str, ...]:
    series = Series.of(bars, BOOK.market("COMP"), family=family)
    return ledger.introduce(series, now=NOON)


def tried(ledger: Ledger, family: str, name: str) -> None:
    trials = Trials(family=family, symbol=family, dates=DATES, kind="grid", evaluations={name: "ok"})
    ledger.record(trials, now=NOON)


def count(ledger: Ledger, family: str) -> int:
    return ledger.count(family, DATES.start, DATES.end)


def comp() -> Bars:
    return load_bars("COMP")


def scaled(bars: Bars, by: float) -> Bars:
    return replace(bars, **{name: by * getattr(bars, name) for name in ("open", "high", "low", "close")})


def hourly(bars: Bars) -> Bars:
    """Return two bars for each session, the second with its close."""
    hour = 3_600_000_000_000
    doubled = {name: np.repeat(values, 2) for name, values in bars.columns().items()}
    for name in ("open", "high", "low", "close"):
        doubled[name][::2] = bars.open
    end = np.repeat(bars.end, 2)
    end[::2] -= hour
    return replace(bars, timeframe=Timeframe.parse("1h"), end=end, **doubled)


@pytest.mark.parametrize(
    "alias",
    [lambda bars: bars, lambda bars: scaled(bars, 0.01), hourly, lambda bars: bars.rows(2000, 4000)],
    ids=["another name", "other prices", "another timeframe", "a part"],
)
def test_a_market_under_another_name_is_counted_with_it(ledger: Ledger, alias: object) -> None:
    tried(ledger, "NASDAQ100", "first")
    assert introduced(ledger, comp(), "NASDAQ100") == ()
    assert count(ledger, "COMPX") == 0
    renamed = replace(alias(comp()), symbol="COMPX")  # type: ignore[operator]
    (said,) = introduced(ledger, renamed, "COMPX")
    assert said.startswith("COMPX is the same market as COMP (correlation ")
    assert said.endswith("trials on COMPX and on NASDAQ100 are counted together")
    assert count(ledger, "COMPX") == count(ledger, "NASDAQ100") == 1
    assert ledger.relatives("COMPX") == ("COMPX", "NASDAQ100")
    assert introduced(ledger, renamed, "COMPX") == (said,)
    assert row_counts(ledger.database)["kinship"] == 1


def test_the_same_bars_declared_as_another_family_are_found(ledger: Ledger) -> None:
    introduced(ledger, comp(), "NASDAQ100")
    (said,) = introduced(ledger, comp(), "MINE")
    assert "trials on MINE and on NASDAQ100 are counted together" in said


def test_merging_is_transitive_and_for_good(ledger: Ledger) -> None:
    for family in ("A", "B", "C"):
        tried(ledger, family, family)
        introduced(ledger, replace(comp(), symbol=family), family)
    assert ledger.relatives("B") == ("B", "A", "C")
    assert [count(ledger, family) for family in ("A", "B", "C")] == [3, 3, 3]


def test_real_indices_of_two_families_are_told_and_counted_apart(ledger: Ledger) -> None:
    """COMP and SPX move together at .95."""
    introduced(ledger, comp(), "NASDAQ100")
    tried(ledger, "NASDAQ100", "first")
    spx = Series.of(load_bars("SPX"), BOOK.market("SPX"), family="SP500")
    (said,) = ledger.introduce(spx, now=NOON)
    assert said.startswith("SPX moves much like COMP (correlation 0.95")
    assert said.endswith("but SP500 and NASDAQ100 are counted apart")
    assert ledger.relatives("SP500") == ("SP500",)
    assert count(ledger, "SP500") == 0
    assert ledger.introduce(spx, now=NOON) == ()


def test_too_few_common_days_and_bars_not_seen_are_said(ledger: Ledger) -> None:
    introduced(ledger, comp().rows(0, 2000), "NASDAQ100")
    tried(ledger, "GOLD", "first")
    short = replace(comp().rows(1900, 2000 + LEAST_DAYS), symbol="COMPX")
    said = introduced(ledger, short, "COMPX")
    assert said[0].startswith("COMPX has fewer than 250 days in common with COMP: ")
    assert said[1].startswith("the ledger holds trials of GOLD whose bars it has not seen")
    assert len(said) == 2
    assert ledger.relatives("COMPX") == ("COMPX",)
    longer = replace(comp().rows(1500, 4000), symbol="COMPX")
    assert introduced(ledger, longer, "COMPX")[-1].startswith("COMPX is the same market as COMP")


def test_tomorrow_s_bars_are_not_another_series(ledger: Ledger) -> None:
    introduced(ledger, comp().rows(0, 3000), "NASDAQ100")
    for more in (1, 100, LEAST_DAYS - 1):
        introduced(ledger, comp().rows(0, 3000 + more), "NASDAQ100")
    assert row_counts(ledger.database)["series"] == 1
    introduced(ledger, comp().rows(0, 3000 + LEAST_DAYS + 1), "NASDAQ100")
    assert row_counts(ledger.database)["series"] == 2


def test_other_bars_under_a_known_name_are_looked_at(ledger: Ledger) -> None:
    """Gold under the symbol COMP does not hide behind the COMP that is known."""
    random = np.random.default_rng(3)
    walk = np.exp(np.cumsum(0.01 * random.standard_normal(len(comp()))))
    gold = replace(comp(), open=walk, high=walk, low=walk, close=walk, symbol="GC")
    introduced(ledger, comp(), "NASDAQ100")
    introduced(ledger, gold, "GOLD")
    said = introduced(ledger, replace(gold, symbol="COMP"), "NASDAQ100")
    assert said == (
        "COMP is the same market as GC (correlation 1.000 on "
        f"{len(comp()) - 1:,} common days): trials on NASDAQ100 and on GOLD are counted together",
    )
