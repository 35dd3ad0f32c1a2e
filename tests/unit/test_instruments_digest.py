"""The digest of declared instruments: every value that decides is in it, nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lockstep.errors import ConfigError
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.instrument import Instrument
from lockstep.market.session_template import SessionTemplate
from lockstep.market.source import Source

OTHER: dict[str, dict[str, Any]] = {
    "instruments.ES": {
        "multiplier": 51, "tick_size": 0.5, "size_step": 2.0, "commission": 9.0, "slippage_ticks": 3.0,
        "session": "NYSE", "pair": "GC", "proxy_of": "NQ",
        "commission_basis_points": 5.0, "commission_minimum": 1.0,
        "margin": ({"since": "2024-01-02", "initial": 13_000.0, "overnight": 12_000.0, "source": "desk"},),
    },
    "sessions.CME": {
        "calendar": "XNYS", "timezone": "UTC", "open": "17:30", "close": "16:45", "grid": "clock",
        "pause": ("12:00", "12:30"), "rolls": "17:30", "earlier": (), "exceptions": (),
    },
    "sources.futures_daily": {
        "folder": "elsewhere", "file": "{symbol}", "symbols": ("ES",), "timezone": "UTC",
        "stamp_format": "%Y", "session": "NYSE", "adjustment": "none", "usable_from": "2001-01-01",
        "suffix": ".txt", "epoch": "s", "columns": {"close": "Last"}, "volume": "none", "header": False,
        "separator": ";", "decimal": ",", "thousands": "'", "scale": 0.01, "encoding": "cp1252",
        "order": "any", "select": {"symbol": "ESH4"}, "ignore": ("symbol",), "max_rejected": 0.5,
    },
}  # fmt: skip
# Keys, display names, the one currency that there is, what a daily file fixes, and a preset (its keys count).
FIXED = {
    "instruments.ES": {"symbol", "name", "currency"},
    "sessions.CME": {"name"},
    # Months belong to files of contracts alone: see below.
    "sources.futures_daily": {"name", "package", "timeframe", "stamp", "like", "months"},
}
MODELS: dict[str, type[BaseModel]] = {
    "instruments.ES": Instrument,
    "sessions.CME": SessionTemplate,
    "sources.futures_daily": Source,
}


@pytest.fixture(scope="module")
def book() -> InstrumentBook:
    return load_instruments()


def digest(book: InstrumentBook) -> str:
    return book.digest(["ES"], ["futures_daily"])


def changed(book: InstrumentBook, place: str, **values: Any) -> InstrumentBook:
    section, name = place.split(".")
    entries = dict(getattr(book, section))
    entries[name] = type(entries[name]).model_validate({**dict(entries[name]), **values})
    return book.model_copy(update={section: entries})


@pytest.mark.parametrize(
    ("place", "field"), [(place, each) for place, found in OTHER.items() for each in found]
)
def test_every_declared_value_counts(book: InstrumentBook, place: str, field: str) -> None:
    assert digest(changed(book, place, **{field: OTHER[place][field]})) != digest(book)
    assert digest(changed(book, place)) == digest(book)


def test_delivery_months_count(book: InstrumentBook) -> None:
    of_contracts = changed(book, "sources.futures_daily", file="{symbol}{contract}_bt", adjustment="none")
    assert digest(changed(of_contracts, "sources.futures_daily", months="HMUZ")) != digest(of_contracts)


def test_no_declared_field_was_forgotten() -> None:
    """A field or section that is added must be in the digest, and here."""
    for place, model in MODELS.items():
        assert set(OTHER[place]) | FIXED[place] == set(model.model_fields)
    assert set(InstrumentBook.model_fields) == {place.split(".")[0] for place in MODELS}


class Grown(Source):
    """A source as a later version may know it."""

    spread: float = 0.0


def test_a_field_that_came_later_counts_once_it_differs_from_its_default(book: InstrumentBook) -> None:
    declared = dict(book.sources["futures_daily"])

    def with_spread(value: float) -> str:
        grown = Grown.model_validate({**declared, "spread": value})
        return digest(book.model_copy(update={"sources": {**book.sources, "futures_daily": grown}}))

    assert with_spread(0.0) == digest(book) != with_spread(0.5)


def test_nothing_else_counts(book: InstrumentBook) -> None:
    gold = changed(book, "instruments.GC", tick_size=7.0)
    assert digest(gold) == digest(changed(book, "sessions.CRYPTO", open="01:00")) == digest(book)
    assert digest(changed(book, "instruments.ES", name="S&P")) == digest(book)
    assert gold.digest(["GC", "ES"], []) != book.digest(["ES", "GC"], [])
    assert book.digest(["GC", "ES", "ES"], []) == book.digest(["ES", "GC"], [])


def test_names_that_are_not_declared_are_refused(book: InstrumentBook) -> None:
    with pytest.raises(ConfigError, match=r"symbol 'SPS': not in instruments\.yml; did you mean 'SPY'"):
        book.digest(["SPS"], [])
    with pytest.raises(ConfigError, match=r"source 'futures_dayly': not in instruments\.yml; did you mean"):
        book.digest(["ES"], ["futures_dayly"])


def test_the_sources_that_may_serve_a_symbol(book: InstrumentBook) -> None:
    assert book.sources_of(["COMP", "SPX"], None) == ("embedded_comp", "embedded_spx")
    assert book.sources_of(["SPY"], Path("/nowhere/equity_hourly")) == ("equity_daily", "equity_hourly")
    assert book.sources_of(["ES"], Path("/nowhere"), "futures_daily") == ("futures_daily",)
    with pytest.raises(ConfigError, match="no source describes it"):
        book.sources_of(["ES"], Path("/nowhere"))
