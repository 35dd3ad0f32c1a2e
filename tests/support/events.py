"""Events for tests that look at a few of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lockstep.live.codec import KINDS, event_of
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
