"""The one codec of events: a class and the JSON object of its row, each from the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from lockstep.errors import JournalError
from lockstep.live.events import Event, EventRow, Numbers, Plain

CLASSES: tuple[type[Event], ...] = get_args(Event)
KINDS: Mapping[str, type[Event]] = {each.kind: each for each in CLASSES}
"""Classes by the name of their kind on the disk."""


def content_of(event: Event) -> dict[str, Any]:
    """Return the JSON object of an event's row; JournalError where it could not be read back.

    >>> from lockstep.live.events import ClockJudged
    >>> content_of(ClockJudged(good=True, detail="within 3 ms"))
    {'good': True, 'detail': 'within 3 ms'}
    """
    content: dict[str, Any] = {}
    for each in _SHAPES[type(event)]:
        value = getattr(event, each.name)
        if each.name == event.gathers:
            content |= {key: told for key, told in value.items() if key not in content}
        elif value is not None or not each.optional:
            content[each.key] = list(value) if isinstance(value, tuple) else value
    _values(event.kind, type(event), content, event.symbol)
    return content


def event_of(
    kind: str, content: Mapping[str, Any], *, symbol: str = "", time: int = 0, sequence: int = 0
) -> Event:
    """Return the event that `content_of` was given; JournalError for an unknown kind or a wrong field.

    >>> event_of("clock", {"good": True, "detail": "within 3 ms"}).good
    True
    """
    found = KINDS.get(kind)
    if found is None:
        raise JournalError(f"event {kind!r}: no event has this kind; known are {', '.join(sorted(KINDS))}")
    return found(time=time, sequence=sequence, **_values(kind, found, content, symbol))


def with_text(event: Event, change: Callable[[Any], Any]) -> Event:
    """Return an event whose free texts, also those within mappings, were passed through `change`."""
    names = [each.name for each in _SHAPES[type(event)] if each.free] + ["symbol"]
    told = {name: getattr(event, name) for name in dict.fromkeys(names)}
    return replace(event, **{name: change(text) for name, text in told.items() if text is not None})


class EventField(NamedTuple):
    """A field of an event: its names here and on the disk, since which step, and how its value is read.

    free   whether it holds text of any wording
    """

    name: str
    key: str
    since: int
    optional: bool
    free: bool
    spelled: str
    read: Callable[[Any], Any]


def shape_of(kind: type[EventRow]) -> tuple[EventField, ...]:
    """Return the fields of a class in the order of its JSON object.

    Raises: TypeError where a field was added by a step after its class and has no default, or has a type that
    the journal does not keep.
    """
    hints = get_type_hints(kind)
    found: list[EventField] = []
    for each in fields(kind):
        if each.name in ("symbol", "time", "sequence"):
            continue
        since = each.metadata.get("since", kind.since)
        optional = each.default is None
        if since > kind.since and not optional:
            raise TypeError(f"{kind.__name__}.{each.name}: step {since} added it; give it the default None")
        key = each.metadata.get("key", each.name)
        found.append(_field(each.name, key, since, optional, hints[each.name]))
        if each.name == kind.repeats_symbol_after:
            found.append(_field("symbol", "symbol", kind.since, False, str))
    return tuple(found)


def _values(kind: str, of: type[Event], content: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    """Return the fields of a class from its JSON object, `symbol` among them."""
    values: dict[str, Any] = {"symbol": symbol}
    known = {each.key for each in _SHAPES[of] if each.name != of.gathers}
    rest = {key: value for key, value in content.items() if key not in known}
    for each in _SHAPES[of]:
        if each.name == of.gathers:
            values[each.name], rest = rest, {}
        elif each.key in content:
            try:
                values[each.name] = each.read(content[each.key])
            except (OverflowError, TypeError, ValueError) as error:
                raise JournalError(
                    f"event {kind}: {each.key} {content[each.key]!r}: must be {each.spelled}"
                ) from error
        elif not each.optional:
            raise JournalError(f"event {kind}: has no {each.key}")
    if rest:
        raise JournalError(f"event {kind}: {', '.join(map(repr, rest))}: no field of it has this name")
    if values["symbol"] != symbol:
        raise JournalError(f"event {kind}: symbol {values['symbol']!r} within an event of {symbol!r}")
    return values


def _field(name: str, key: str, since: int, optional: bool, hint: Any) -> EventField:
    if get_origin(hint) is UnionType:
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        spelled, read = _reader(name, inner)
        return EventField(name, key, since, optional, inner is str, f"{spelled} or null", _or_null(read))
    return EventField(name, key, since, optional, hint in (str, Plain), *_reader(name, hint))


def _reader(name: str, hint: Any) -> tuple[str, Callable[[Any], Any]]:
    """Return how a type is spelled in a message, and what reads a plain value as one."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint))), functools.partial(_one_of, get_args(hint))
    if hint in _READERS:
        return _READERS[hint]
    raise TypeError(
        f"{name}: {hint!r}: the journal keeps texts, numbers, booleans, mappings and rows of numbers"
    )


def _or_null(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _one_of(known: tuple[str, ...], value: Any) -> Any:
    if value not in known:
        raise ValueError(value)
    return value


def _exactly(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    return float(_exactly(int, value)) if not isinstance(value, float) else value


_READERS: Mapping[Any, tuple[str, Callable[[Any], Any]]] = {
    str: ("text", functools.partial(_exactly, str)),
    int: ("a whole number", functools.partial(_exactly, int)),
    float: ("a number", _number),
    bool: ("true or false", functools.partial(_exactly, bool)),
    Plain: ("a mapping", functools.partial(_exactly, dict)),
    Numbers: ("a row of numbers", lambda value: tuple(map(_number, _exactly(list, value)))),
}

_SHAPES: Mapping[type[Event], tuple[EventField, ...]] = {each: shape_of(each) for each in CLASSES}
