"""A spec as a readable Python class, for people. Nothing that trades reads it.

Names and ids come from a file that anybody may have written: they reach the text as string literals only.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from math import inf, nextafter
from typing import Any

from lockstep.strategy.config import Filter
from lockstep.strategy.decision import FAMILY
from lockstep.strategy.families.rules import EXIT_WIDTH, RulesConfig
from lockstep.strategy.specs.conditions import DIGITS, SCORE
from lockstep.strategy.specs.meaning import canonical_score, entry_meaning, exit_meaning
from lockstep.strategy.specs.program import NormalForm, Ordering, Within
from research.specs.occurrence import SIDES
from research.specs.wording import number_words

_WORD = re.compile(r"[A-Za-z0-9]+")
_STEP = "    "
_BODY = _STEP * 2
_WIDTH = 96

_HEAD = '''\
"""A strategy of Lockstep as a Python class, to be read.

Lockstep never runs this file: it trades the spec itself. A missing value is NaN, and every comparison with
NaN is False, in Python as in the spec. No comparison is negated here: `not (x < 10)` would be True of NaN, so
that the opposite of `x < 10` is written `x >= 10`, and that of `x == 0` is `x < 0 or x > 0`.
"""

from math import inf, isnan


'''

_DECIDE = '''\
    def decide(self, v, side=0, bars_held=0, in_session=True, in_window=True, past_auto_close=False):
        """Return what is decided at a complete bar: an entry, an exit, or why there is none.

        v            values by id, NaN for missing
        side         1 long, -1 short, 0 without a position; bars_held: of it, that of the entry included
        in_session, in_window, past_auto_close   what the exchange's clock says at the end of the bar
        """
        if not in_session:
            return "outside session"
        if side > 0 and self.long_exit(v) or side < 0 and self.short_exit(v):
            return "signal"
        if side != 0 and past_auto_close:
            return "session"
        if side != 0 and bars_held >= self.max_bars:
            return "max bars"
        for name in self.signal_ids:
            if isnan(v[name]):
                return "missing " + name
        if side != 0:
            return "hold"
        buys, sells = self.long_entry(v), self.short_entry(v)
        if buys and sells:
            return "ambiguous"
        if not (buys or sells):
            return "no signal"
        if past_auto_close:
            return "after auto-close"
        if not in_window:
            return "outside window"
        for name in self.ids:
            if isnan(v[name]):
                return "missing " + name
        for name, low, high, sides in self.filters:
            if (1 if buys else -1) in sides and (v[name] < low or v[name] > high):
                return "filter " + name
        if not self.veto_passes(v):
            return "veto"
        return "enter long" if buys else "enter short"
'''


def export_python(config: RulesConfig) -> str:
    """Return the source of a class whose `decide`, over values by id, is equal to that of the spec.

    It needs nothing but Python. Orders, such as stop and target, stand in it as they are declared.
    """
    return _HEAD + "\n".join((*_class(config), _DECIDE))


def class_name(name: str) -> str:
    """Return the name of a spec as that of a class.

    >>> class_name("rsi_2 of Connors"), class_name("2nd"), class_name("none")
    ('Rsi2OfConnors', 'Spec2nd', 'SpecNone')
    """
    found = "".join(word[0].upper() + word[1:] for word in _WORD.findall(name))
    return found if found.isidentifier() and not keyword.iskeyword(found) else f"Spec{found}"


def _class(config: RulesConfig) -> Iterator[str]:
    width = int(config.family_rules[EXIT_WIDTH - FAMILY])
    yield f"class {class_name(config.name)}:"
    yield from _assigned("name", _literal(config.name))
    yield from _assigned("timeframe", _literal(config.timeframe))
    yield from _sequence("ids", [_literal(each) for each in config.feature_ids])
    yield from _assigned("signal_ids", f"ids[:{width}]")
    yield f"{_STEP}# Filters of entries: id, least, most, and the sides that each is about."
    yield from _sequence("filters", [_filter(each) for each in config.filters])
    yield from _assigned("max_bars", "inf" if config.max_bars is None else str(config.max_bars))
    yield f"{_STEP}# What follows is told to the broker and to the clock; `decide` does not read it."
    for field in ("window", "auto_close", "stop", "target", "size", "capital", "execution"):
        value = getattr(config, field)
        told = value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else value
        yield from _assigned(field, _literal(told))
    yield ""
    if config.score:
        yield from _score(config)
    for part, form in _forms(config).items():
        yield from _method(part, form)
    veto = config.veto
    passes = "True" if veto is None else f"{_value(veto.id)} >= {number_words(veto.at_least)}"
    yield from (f"{_STEP}def veto_passes(self, v):", f"{_BODY}return {passes}", "")


def _forms(config: RulesConfig) -> dict[str, NormalForm]:
    """Return the conditions as they are evaluated: without what never matters."""
    score = config.score
    long, short = entry_meaning(config.long_entry, config.short_entry, score, ()).forms
    (leave_long,), (leave_short,) = (
        exit_meaning(tree, score).forms for tree in (config.long_exit, config.short_exit)
    )
    return dict(zip(SIDES, (long, leave_long, short, leave_short), strict=True))


def _assigned(name: str, text: str) -> Iterator[str]:
    yield f"{_STEP}{name} = {text}"


def _sequence(name: str, parts: Sequence[str]) -> Iterator[str]:
    line = f"{_STEP}{name} = ({', '.join(parts)}{',' * (len(parts) == 1)})"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield from (f"{_STEP}{name} = (", *(f"{_BODY}{each}," for each in parts), f"{_STEP})")


def _filter(said: Filter) -> str:
    low = "-inf" if said.min is None else number_words(said.min)
    high = "inf" if said.max is None else number_words(said.max)
    sides = {"long": "(1,)", "short": "(-1,)", "both": "(1, -1)"}[said.side]
    return f"({_literal(said.feature)}, {low}, {high}, {sides})"


def _score(config: RulesConfig) -> Iterator[str]:
    yield f"{_STEP}def score(self, v):"
    yield f"{_BODY}total = 0.0"
    for each in canonical_score(config.score):
        yield f"{_BODY}total += {number_words(each.weight)} * {_value(each.id)}"
    yield from (f"{_BODY}return total", "")


def _method(name: str, form: NormalForm) -> Iterator[str]:
    yield f"{_STEP}def {name}(self, v):"
    first, *rest = _expression(form)
    if rest:
        yield from (f"{_BODY}return (", *(f"{_BODY}{_STEP}{each}" for each in (first, *rest)), f"{_BODY})")
    else:
        yield f"{_BODY}return {first}"
    yield ""


def _expression(form: NormalForm) -> list[str]:
    """Return a condition as lines of Python: one for a comparison, more for a group."""
    if isinstance(form, Ordering):
        return [f"{_value(form.left)} {'<=' if form.or_equal else '<'} {_value(form.right)}"]
    if isinstance(form, Within):
        return [_within(form)]
    parts = [_expression(part) for part in form.parts]
    if not parts:
        return ["True" if form.connective == "and" else "False"]
    found: list[str] = []
    for part in parts:
        before = f"{form.connective} " if found else ""
        if len(part) == 1:
            found.append(before + part[0])
        else:
            found += [f"{before}(", *(_STEP + each for each in part), ")"]
    return found


def _within(form: Within) -> str:
    """Return an inclusive interval as it was written: a bound beside a constant excludes it."""
    value, low, high = _value(form.id), _constant(form.low), _constant(form.high)
    if form.low == form.high:
        return f"{value} == {number_words(low)}"
    if form.high == inf:
        return f"{value} {'>=' if low == form.low else '>'} {number_words(low)}"
    if form.low == -inf:
        return f"{value} {'<=' if high == form.high else '<'} {number_words(high)}"
    return f"{number_words(low)} <= {value} <= {number_words(high)}"


def _constant(bound: float) -> float:
    """Return the constant of at most four digits that a bound is, or lies beside."""
    if abs(bound) == nextafter(0.0, 1.0):
        return 0.0
    return float(f"{bound:.{DIGITS}g}")


def _value(feature_id: str) -> str:
    return "self.score(v)" if feature_id == SCORE else f"v[{_literal(feature_id)}]"


def _literal(value: Any) -> str:
    """Return a value as Python writes it, with double quotes where they need no escape."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(name)}: {_literal(each)}' for name, each in value.items())}}}"
    if isinstance(value, float):
        return number_words(value)
    text = repr(value)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
