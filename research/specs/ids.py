"""What an id means and in which range its values lie, from the documents of the feature registry."""

from __future__ import annotations

import math
import re

from lockstep.errors import FeatureError
from lockstep.features.feature import format_parameter
from lockstep.features.feature_id import Term
from lockstep.features.feature_registry import default_registry
from research.specs.wording import joined

_CODE = re.compile(r"`([^`]*)`")


def meaning(feature_id: str) -> str:
    """Return one sentence on what the values of an id are.

    >>> meaning("ibs@NQ")
    'Internal bar strength: (close - low) / (high - low) (of NQ).'
    >>> meaning("month_end_3")
    "1 on the last 3 sessions of a month, by the exchange's calendar, else 0."
    """
    parsed = default_registry().parse(feature_id)
    if parsed.column is not None:
        return f"What the model answers at the bar, from {joined(parsed.column.inputs)}."
    terms = parsed.terms
    if len(terms) > 1:
        return f"The product of {' and '.join(map(str, terms))}."
    return _of_term(terms[0])


def _of_term(term: Term) -> str:
    numbers = dict(zip(term.feature.parameters, map(format_parameter, term.parameters), strict=True))
    text = term.feature.documentation.splitlines()[0]
    told = set(_CODE.findall(text))
    text = _CODE.sub(lambda found: numbers.get(found[1], found[1]), text)
    more = [f"{name} {value}" for name, value in numbers.items() if name not in told]
    if term.symbol is not None:
        more.append(f"of {term.symbol}")
    if term.timeframe is not None:
        more.append(f"on {term.timeframe} bars")
    if term.lag:
        more.append("one bar earlier" if term.lag == 1 else f"{term.lag} bars earlier")
    before = f"The share of its {term.rank} earlier values that lie below it, of: " if term.rank else ""
    after = f" ({', '.join(more)})" if more else ""
    return f"{before}{text.removesuffix('.')}{after}."


def declared_range(feature_id: str) -> tuple[float, float]:
    """Return the smallest and the largest value that an id can have, infinite where none is declared.

    >>> declared_range("rsi_2"), declared_range("atr_14%252")
    ((0.0, 100.0), (0.0, 1.0))
    """
    try:
        parsed = default_registry().parse(feature_id)
    except FeatureError:
        return -math.inf, math.inf
    return float(parsed.low), float(parsed.high)
