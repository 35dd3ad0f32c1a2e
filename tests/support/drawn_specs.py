"""Specs and values for property tests, and a slow evaluator that knows nothing of the fast one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.families.rules import RulesConfig
from research.specs.rows import TrainingRows

# Ids with constants that lie within their ranges, 0 among them.
RANGES = {"rsi_2": (0, 100), "rsi_14": (0, 100), "ibs": (0, 1), "ret_1": (-0.1, 0.1), "ret_5~1": (-0.2, 0.2)}
SCORED = ("ibs", "ret_1", "rsi_2")


def constants(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(0, 8).map(lambda step: float(f"{low + (high - low) * step / 8:.4g}"))


@st.composite
def comparisons(draw: st.DrawFn, *, scored: bool) -> dict[str, Any]:
    names = [*RANGES, *(["score"] if scored else [])]
    name = draw(st.sampled_from(names))
    relation = draw(st.sampled_from(("below", "at_most", "above", "at_least", "between", "equals", "id")))
    low, high = RANGES.get(name, (-1, 1))
    if relation == "id" and name != "score":
        other = draw(st.sampled_from([each for each in RANGES if each != name]))
        return {"id": name, draw(st.sampled_from(("below", "at_most", "above", "at_least"))): other}
    if relation == "between":
        found = sorted(draw(st.tuples(constants(low, high), constants(low, high))))
        return {"id": name, "between": found}
    return {"id": name, "below" if relation == "id" else relation: draw(constants(low, high))}


@st.composite
def trees(draw: st.DrawFn, *, scored: bool, levels: int = 3) -> dict[str, Any]:
    kind = draw(st.sampled_from(("is", "is", "all", "any", "not"))) if levels else "is"
    if kind == "is":
        return draw(comparisons(scored=scored))
    inner = trees(scored=scored, levels=levels - 1)
    return {"not": draw(inner)} if kind == "not" else {kind: [draw(inner), draw(inner)]}


@st.composite
def spec_contents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the content of a spec that is daily and valid, but for what only its meaning shows."""
    scored = draw(st.booleans())
    tree = trees(scored=scored)
    content: dict[str, Any] = {"name": "drawn", "max_bars": draw(st.none() | st.integers(1, 5))}
    for part in ("long_entry", "short_entry"):
        if part == "long_entry" or draw(st.booleans()):
            content[part] = draw(tree)
            content[part.replace("entry", "exit")] = draw(tree)
    if scored:
        weights = st.sampled_from((-1.0, -0.5, 0.25, 2.0))
        names = draw(st.lists(st.sampled_from(SCORED), min_size=1, max_size=3, unique=True))
        content["score"] = [{"id": each, "weight": draw(weights)} for each in names]
        content["long_exit"] = {"any": [content["long_exit"], {"id": "score", "above": 1.5}]}
    if draw(st.booleans()):
        content["veto"] = {"id": draw(st.sampled_from(("ibs", "rsi_14"))), "at_least": 0.25}
    if draw(st.booleans()):
        side = draw(st.sampled_from(("long", "short", "both")))
        content["filters"] = [{"feature": "atr_pctile_14_252", "min": 0.2, "max": 0.9, "side": side}]
    return content


_NEAR = np.array([0.0, 0.125, 0.25, 0.5, 1.0, 12.5, 25.0, 50.0, 100.0, -0.1, 0.025])


def values(seed: int, count: int, ids: int) -> NDArray[np.float64]:
    """Return values, float64 (count, ids): most on a constant or beside one, some missing."""
    draw = np.random.default_rng(seed)
    found = draw.choice(_NEAR, (count, ids))
    beside = np.nextafter(found, draw.choice([-np.inf, np.inf], (count, ids)))
    which = draw.random((count, ids))
    found = np.where(which < 0.3, beside, found)
    found = np.where(which > 0.7, draw.uniform(-0.2, 1.2, (count, ids)), found)
    return np.where(which > 0.92, np.nan, found)


def is_true(condition: Any, at: Mapping[str, float], *, negated: bool = False) -> bool:
    """Say whether a condition, as the content of YAML, is true of values by id; the obvious way."""
    if "not" in condition:
        return is_true(condition["not"], at, negated=not negated)
    for name, whole in (("all", all), ("any", any)):
        if name in condition:
            answers = [is_true(part, at, negated=negated) for part in condition[name]]
            return (any if whole is all else all)(answers) if negated else whole(answers)
    content = dict(condition)
    value = at[content.pop("id")]
    ((relation, other),) = content.items()
    other = at[other] if isinstance(other, str) else other
    if math.isnan(value) or (isinstance(other, float) and math.isnan(other)):
        return False
    answer = {
        "below": lambda: value < other,
        "at_most": lambda: value <= other,
        "above": lambda: value > other,
        "at_least": lambda: value >= other,
        "between": lambda: other[0] <= value <= other[1],
        "equals": lambda: value == other,
    }[relation]()
    return bool(answer) != negated


def rows_of(config: RulesConfig, columns: Mapping[str, Any], first: str = "2010-01-04") -> TrainingRows:
    """Return rows of COMP with values that somebody thought of; ids without any are 0.5 throughout."""
    market = load_instruments().markets["COMP"]
    size = len(next(iter(columns.values())))
    every = market.session.scheduled_dates(np.datetime64(first), np.datetime64(first) + 2 * size + 20)
    dates: NDArray[np.datetime64] = every[:size]
    named = [*config.feature_ids, *(each for each in columns if each not in config.feature_ids)]
    matrix = np.column_stack(
        [np.asarray(columns.get(each, np.full(size, 0.5)), dtype=float) for each in named]
    )
    clock = SessionClock(market.session, config.bars).readings(market.session.nominal_close(dates))
    return TrainingRows(
        key=SeriesKey("COMP", config.bars), history=History(bars={}, markets={"COMP": market}),
        span=DateRange(start=dates[0].item(), end=dates[-1].item()), left_out="", dates=dates,
        ids=tuple(named), width=len(config.feature_ids), values=np.ascontiguousarray(matrix), clock=clock,
    )  # fmt: skip
