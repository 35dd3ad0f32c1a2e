"""Events for tests: with a few fields that matter, or any that there may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from lockstep.live.codec import CLASSES, KINDS, event_of
from lockstep.live.events import Event

_LEAST: Mapping[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}


def an_event(
    kind: str, *, symbol: str = "", time: int = 0, content: Mapping[str, Any] | None = None
) -> Event:
    """Return an event with these fields; the others hold the least that its class takes."""
    of, given = KINDS[kind], dict(content or {})
    hints = get_type_hints(of)
    least = {
        each.metadata.get("key", each.name): _least(hints[each.name])
        for each in fields(of)
        if each.name not in ("symbol", "time", "sequence", of.gathers) and each.default is not None
    }
    if of.repeats_symbol_after:
        least["symbol"] = symbol
    return event_of(kind, {**least, **given}, symbol=symbol, time=time)


def _least(hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if type(None) in get_args(hint):
        return None
    return _LEAST[hint] if hint in _LEAST else ({} if "Mapping" in str(hint) else [])


_TEXTS = st.text(max_size=8)
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_NUMBERS = st.floats() | st.sampled_from([-0.0, 5e-324, -2.2e-308])
_CONTENTS = st.dictionaries(
    _TEXTS.filter(lambda key: key not in ("command", "error")),
    st.recursive(
        st.none() | st.booleans() | _INTEGERS | _NUMBERS | _TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
_VALUES: Mapping[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS,
    int: _INTEGERS,
    float: _NUMBERS,
    bool: st.booleans(),
    tuple[float, ...]: st.lists(_NUMBERS, max_size=6).map(tuple),
    Mapping[str, Any]: _CONTENTS,
}


def any_event() -> st.SearchStrategy[Event]:
    """Return a strategy for events of every class, with any values that their fields may have."""
    return st.one_of([_any_of(each) for each in CLASSES])


def _any_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    hints = get_type_hints(kind)
    drawn = {each.name: _any_value(hints[each.name]) for each in fields(kind) if each.name != "sequence"}
    return st.builds(kind, **drawn)


def _any_value(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if type(None) in get_args(hint):
        return st.none() | _VALUES[get_args(hint)[0]]
    return _VALUES[hint]
