"""A bundle as plain values and arrays, the content of its file, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from lockstep.market.asof import MaxAge
from lockstep.market.bars import BAR_COLUMNS, Adjustment, Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.rolls import Rolls
from lockstep.market.sessions import Session, SessionTemplate
from lockstep.market.timeframe import Timeframe
from lockstep.models.golden import GoldenVectors

if TYPE_CHECKING:
    from lockstep.models.bundle import Bundle

FORMAT = "lockstep bundle"
_TYPES: Mapping[str, tuple[type, ...]] = {
    "symbol": (str,), "name": (str,), "target": (str,), "fingerprints": (dict,), "strategy": (dict,),
    "threshold": (int, float, type(None)), "training": (dict,), "metrics": (dict,),
}  # fmt: skip
# Of models of the zoo, which came later: a veto's file has the bytes that it always had.
ZOO_SCHEMA = 4
_OF_THE_ZOO: Mapping[str, tuple[type, ...]] = {"task": (str,), "output": (str,), "horizon": (int,)}
_BARS = frozenset(("series", "adjustment", "end", *BAR_COLUMNS))
_ROLLS = {each.name for each in fields(Rolls)}
_ADJUSTMENTS = get_args(Adjustment)
_ZONE = r"[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}"


def bundle_document(
    bundle: Bundle, schema: int, pipeline: Mapping[str, Any] | None, libraries: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is written to the file; mappings are sorted, so that their order does not matter."""
    return {
        "format": FORMAT,
        "schema": schema,
        **{name: plain(getattr(bundle, name)) for name in _types(schema)},
        "libraries": plain(libraries),
        "feature_ids": list(bundle.feature_ids),
        "golden": golden_document(bundle.golden),
        "pipeline": pipeline,
    }


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a bundle, but for its pipeline.

    Raises: KeyError where one is missing, ValueError where one is of another type or shape, and what bars,
    instruments and sessions raise on wrong values.
    """
    known = _types(document["schema"])
    for name, types in known.items():
        if type(document[name]) not in types:
            raise ValueError(f"{name} is a {type(document[name]).__name__}")
    ids = document["feature_ids"]
    texts = [*_list(ids), *document["fingerprints"].values()]
    if not all(type(each) is str for each in texts):
        raise ValueError("ids and fingerprints must be text")
    return {
        **{name: document[name] for name in known},
        "schema": document["schema"],
        "feature_ids": tuple(ids),
        "golden": golden_of(document["golden"]),
    }


def _types(schema: int) -> Mapping[str, tuple[type, ...]]:
    return {**_TYPES, **_OF_THE_ZOO} if schema == ZOO_SCHEMA else _TYPES


def golden_document(golden: GoldenVectors) -> dict[str, Any]:
    """Return golden vectors as plain values and arrays; in files, answers are called probabilities."""
    history = golden.history
    return {
        "base": _spelled(golden.base),
        "max_age": [golden.max_age.bars, golden.max_age.days],
        "bars": [_bars_document(bars) for _, bars in sorted(history.bars.items())],
        "markets": [_market_document(market) for _, market in sorted(history.markets.items())],
        "stamps": golden.stamps,
        "vectors": golden.vectors,
        "probabilities": golden.answers,
        "canonical": dict(sorted(golden.canonical.items())),
        "arithmetic": golden.arithmetic,
    }


def golden_of(document: Mapping[str, Any]) -> GoldenVectors:
    """Return golden vectors from their document; raises as `fields_of` does."""
    series = [_bars_of(each) for each in _list(document["bars"])]
    markets = [_market_of(each) for each in _list(document["markets"])]
    bars, days = _list(document["max_age"])
    if type(bars) is not int or type(days) is not int or type(document["arithmetic"]) is not str:
        raise ValueError("max_age and arithmetic of the golden vectors are of other types")
    stamps = _array(document, "stamps", np.int64, 1)
    vectors = _array(document, "vectors", np.float64, 2)
    answers = _array(document, "probabilities", np.float64, 1)
    # Without a model there are no answers; whether there must be some is for the bundle to say.
    if not stamps.size or len(stamps) != len(vectors) or answers.size not in (0, stamps.size):
        raise ValueError(f"{len(stamps)} golden stamps, {len(vectors)} vectors, {len(answers)} answers")
    return GoldenVectors(
        base=_key(document["base"]),
        max_age=MaxAge(bars=bars, days=days),
        history=History(
            bars={SeriesKey(each.symbol, each.timeframe): each for each in series},
            markets={each.instrument.symbol: each for each in markets},
        ),
        stamps=stamps,
        vectors=vectors,
        answers=answers,
        canonical={
            each: _array(document["canonical"], each, np.float64, 1) for each in document["canonical"]
        },
        arithmetic=document["arithmetic"],
    )


def _array(document: Mapping[str, Any], name: str, dtype: type[np.generic], dimensions: int) -> Any:
    found = document[name]
    if not isinstance(found, np.ndarray) or found.dtype != dtype or found.ndim != dimensions:
        raise ValueError(f"{name} must be an array of {np.dtype(dtype)}, {dimensions}-D")
    return found


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError(f"a {type(value).__name__} where a list should be")
    return value


def plain(value: Any) -> Any:
    """Return nested values with sorted mappings, lists for every other sequence, Python's own numbers."""
    if isinstance(value, Mapping):
        return {str(name): plain(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _spelled(key: SeriesKey) -> list[str]:
    return [key.symbol, str(key.timeframe)]


def _key(spelled: Any) -> SeriesKey:
    symbol, timeframe = _list(spelled)
    if type(symbol) is not str or type(timeframe) is not str or not symbol.isprintable():
        raise ValueError("a series must be named by symbol and timeframe")
    return SeriesKey(symbol, Timeframe.parse(timeframe))


def _bars_document(bars: Bars) -> dict[str, Any]:
    key = SeriesKey(bars.symbol, bars.timeframe)
    return {"series": _spelled(key), "adjustment": bars.adjustment, "end": bars.end, **bars.columns()}


def _bars_of(document: Mapping[str, Any]) -> Bars:
    if set(document) != _BARS or document["adjustment"] not in _ADJUSTMENTS:
        raise ValueError(f"golden bars must have {', '.join(sorted(_BARS))}")
    key = _key(document["series"])
    columns = {name: _array(document, name, np.float64, 1) for name in BAR_COLUMNS}
    return Bars(
        symbol=key.symbol,
        timeframe=key.timeframe,
        adjustment=document["adjustment"],
        end=_array(document, "end", np.int64, 1),
        source="golden vectors",
        **columns,
    )


def _market_document(market: Market) -> dict[str, Any]:
    found = {
        "instrument": market.instrument.model_dump(mode="json"),
        "session": market.session.template.model_dump(mode="json"),
    }
    if market.rolls is not None:
        found["rolls"] = {name: _unboxed(value) for name, value in vars(market.rolls).items()}
    return found


def _unboxed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _rolls_of(document: Any) -> Rolls:
    if type(document) is not dict or set(document) != _ROLLS:
        raise ValueError(f"rolls of a market must have {', '.join(sorted(_ROLLS))}")
    since, offset = (_array(document, name, np.int64, 1) for name in ("since", "offset"))
    leave, names = _array(document, "leave", np.int64, 2), _list(document["contracts"])
    sizes = {since.size + 1, offset.size, len(leave) + 1, len(names)}
    if len(sizes) > 1 or leave.shape[1] != 2 or {type(each) for each in names} != {str}:
        raise ValueError("rolls of a market: a contract more than rolls, and two sessions for each")
    tick = document["tick"]
    if type(tick) is not float or not tick > 0 or type(document["is_open"]) is not bool:
        raise ValueError("rolls of a market: tick must be above 0, is_open true or false")
    return Rolls(
        since=since,
        offset=offset,
        tick=tick,
        contracts=tuple(names),
        leave=leave,
        is_open=document["is_open"],
    )


def _market_of(document: Mapping[str, Any]) -> Market:
    # A zone that is not among the system's is looked for as a module.
    if not re.fullmatch(_ZONE, str(document["session"].get("timezone"))):
        raise ValueError("a session's time zone must be a name like America/New_York")
    return Market(
        instrument=Instrument.model_validate(document["instrument"]),
        session=Session(SessionTemplate.model_validate(document["session"])),
        rolls=_rolls_of(document["rolls"]) if "rolls" in document else None,
    )
