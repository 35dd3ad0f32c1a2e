"""A bundle as plain values and arrays, the content of its file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.market.asof import MaxAge
from lockstep.market.bars import Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.sessions import Session, SessionTemplate
from lockstep.market.timeframe import Timeframe
from lockstep.models.golden import GoldenVectors

if TYPE_CHECKING:
    from lockstep.models.bundle import Bundle

FORMAT = "lockstep bundle"
PLAIN_FIELDS = (
    "schema", "symbol", "name", "target", "fingerprints", "strategy", "threshold", "training", "metrics",
)  # fmt: skip


def bundle_document(bundle: Bundle, pipeline: bytes, libraries: Mapping[str, str]) -> dict[str, Any]:
    """Return what is written to the file; mappings are sorted, so that their order does not matter."""
    return {
        "format": FORMAT,
        **{name: plain(getattr(bundle, name)) for name in PLAIN_FIELDS},
        "libraries": plain(libraries),
        "feature_ids": list(bundle.feature_ids),
        "golden": golden_document(bundle.golden),
        "pipeline": pipeline,
    }


def golden_document(golden: GoldenVectors) -> dict[str, Any]:
    """Return golden vectors as plain values and arrays."""
    history = golden.history
    return {
        "base": _spelled(golden.base),
        "max_age": [golden.max_age.bars, golden.max_age.days],
        "bars": [_bars_document(bars) for _, bars in sorted(history.bars.items())],
        "markets": [_market_document(market) for _, market in sorted(history.markets.items())],
        "stamps": golden.stamps,
        "vectors": golden.vectors,
        "probabilities": golden.probabilities,
        "canonical": dict(sorted(golden.canonical.items())),
        "arithmetic": golden.arithmetic,
    }


def golden_of(document: Mapping[str, Any]) -> GoldenVectors:
    """Return golden vectors from their document."""
    series = [_bars_of(each) for each in document["bars"]]
    markets = [_market_of(each) for each in document["markets"]]
    bars, days = document["max_age"]
    return GoldenVectors(
        base=_key(document["base"]),
        max_age=MaxAge(bars=bars, days=days),
        history=History(
            bars={SeriesKey(each.symbol, each.timeframe): each for each in series},
            markets={each.instrument.symbol: each for each in markets},
        ),
        **{
            name: document[name] for name in ("stamps", "vectors", "probabilities", "canonical", "arithmetic")
        },
    )


def plain(value: Any) -> Any:
    """Return nested values with sorted mappings, lists for every other sequence, Python's own numbers."""
    if isinstance(value, Mapping):
        return {str(name): plain(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _spelled(key: SeriesKey) -> list[str]:
    return [key.symbol, str(key.timeframe)]


def _key(spelled: list[str]) -> SeriesKey:
    return SeriesKey(spelled[0], Timeframe.parse(spelled[1]))


def _bars_document(bars: Bars) -> dict[str, Any]:
    key = SeriesKey(bars.symbol, bars.timeframe)
    return {"series": _spelled(key), "adjustment": bars.adjustment, "end": bars.end, **bars.columns()}


def _bars_of(document: Mapping[str, Any]) -> Bars:
    values = {name: value for name, value in document.items() if name != "series"}
    key = _key(document["series"])
    return Bars(symbol=key.symbol, timeframe=key.timeframe, source="golden vectors", **values)


def _market_document(market: Market) -> dict[str, Any]:
    return {
        "instrument": market.instrument.model_dump(mode="json"),
        "session": market.session.template.model_dump(mode="json"),
    }


def _market_of(document: Mapping[str, Any]) -> Market:
    return Market(
        instrument=Instrument.model_validate(document["instrument"]),
        session=Session(SessionTemplate.model_validate(document["session"])),
    )
