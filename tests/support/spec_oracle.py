"""What a spec does at a bar, worked out from its content alone: plainly, and by none of the code that trades.

Values are arrays over many vectors at once, NaN for missing.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Content = dict[str, Any]
Flags = NDArray[np.bool_]
Values = Mapping[str, NDArray[np.float64]]

CONDITIONS = ("long_entry", "long_exit", "short_entry", "short_exit")
_MOST_ROWS = 2_000
# What a trade depends on beside the conditions.
_BESIDE = ("max_bars", "stop", "target", "size", "window", "auto_close", "timeframe", "capital")


def true_of(tree: Content | None, values: Values, weights: list[Content], negated: bool = False) -> Flags:
    """Return whether a condition holds, or with `negated` its opposite; a missing value makes both false."""
    if tree is None:
        return np.zeros(next(iter(values.values())).size, dtype=np.bool_)
    if "not" in tree:
        return true_of(tree["not"], values, weights, not negated)
    for word in ("all", "any"):
        if word in tree:
            parts = [true_of(part, values, weights, negated) for part in tree[word]]
            return np.logical_and.reduce(parts) if (word == "all") != negated else np.logical_or.reduce(parts)
    value = _value(tree["id"], values, weights)
    ((relation, against),) = [(name, each) for name, each in tree.items() if name != "id"]
    other = _value(against, values, weights) if isinstance(against, str) else against
    if relation == "between":
        found = (value >= other[0]) & (value <= other[1])
        missing = np.isnan(value)
    else:
        found = {
            "below": np.less, "at_most": np.less_equal, "above": np.greater, "at_least": np.greater_equal,
            "equals": np.equal,
        }[relation](value, other)  # fmt: skip
        missing = np.isnan(value) | np.isnan(other)
    return (~found if negated else found) & ~missing


def _value(name: str, values: Values, weights: list[Content]) -> NDArray[np.float64]:
    if name != "score":
        return values[name]
    total = np.zeros(next(iter(values.values())).size)
    for each in sorted(weights, key=lambda each: str(each["id"])):
        if each["weight"] != 0:
            total = total + each["weight"] * values[each["id"]]
    return total


def entered(content: Content, values: Values) -> NDArray[np.int64]:
    """Return 1 where a long entry is taken, -1 for a short one, else 0; the vectors are complete."""
    weights = content.get("score", [])
    long, short = (true_of(content.get(name), values, weights) for name in ("long_entry", "short_entry"))
    taken = {"long": long & ~short, "short": short & ~long}
    for each in content.get("filters", ()):
        value = values[each["feature"]]
        inside = (value >= each.get("min", -math.inf)) & (value <= each.get("max", math.inf))
        for side in taken:
            if each.get("side", "both") in (side, "both"):
                taken[side] = taken[side] & inside
    if content.get("veto"):
        sure = values[content["veto"]["id"]] >= content["veto"]["at_least"]
        taken = {side: each & sure for side, each in taken.items()}
    return taken["long"].astype(np.int64) - taken["short"].astype(np.int64)


def left(content: Content, side: str, values: Values) -> Flags:
    """Return where a position of one side is closed by its condition; values may be missing."""
    return true_of(content.get(f"{side}_exit"), values, content.get("score", []))


def named(content: Content) -> set[str]:
    """Return every id that a spec names."""
    found = {each["feature"] for each in content.get("filters", ())} | set(content.get("features", ()))
    found |= {each["id"] for each in content.get("score", ())}
    found |= {content["veto"]["id"]} if content.get("veto") else set()
    for leaf in leaves(content):
        found |= {each for each in (leaf["id"], *leaf.values()) if isinstance(each, str)}
    return found - {"score"}


def leaves(content: Content) -> Iterator[Content]:
    """Yield every comparison."""
    waiting = [content[name] for name in CONDITIONS if content.get(name)]
    while waiting:
        node = waiting.pop()
        if "id" in node:
            yield node
        waiting += [part for word in ("all", "any") for part in node.get(word, ())]
        waiting += [node["not"]] if "not" in node else []


def vectors(contents: Iterable[Content], rng: random.Random, *, missing: bool) -> Values:
    """Return vectors of all ids of some specs: every place of each id, all combinations where they are few.

    The places are those on, just below and just above each constant, of all ids that are compared.
    """
    contents = list(contents)
    ids = sorted(set[str]().union(*map(named, contents)))
    constants: dict[str, set[float]] = {each: {50.0} for each in ids}
    pairs = []
    for content in contents:
        for leaf in leaves(content):
            against = next(each for name, each in leaf.items() if name != "id")
            if isinstance(against, str):
                pairs.append((leaf["id"], against))
            elif leaf["id"] != "score":
                constants[leaf["id"]] |= {float(each) for each in np.atleast_1d(against)}
        for each in content.get("filters", ()):
            constants[each["feature"]] |= {float(each[bound]) for bound in ("min", "max") if bound in each}
        if content.get("veto"):
            constants[content["veto"]["id"]].add(float(content["veto"]["at_least"]))
    for _ in range(len(ids)):
        for one, other in pairs:
            constants[one] = constants[other] = constants[one] | constants[other]
    choices = [_around(constants[each], missing) for each in ids]
    if math.prod(map(len, choices)) <= _MOST_ROWS:
        rows = np.array(list(itertools.product(*choices)), dtype=np.float64)
    else:
        drawn = np.random.default_rng(rng.getrandbits(32))
        rows = np.stack([drawn.choice(each, _MOST_ROWS) for each in choices], axis=1)
    return dict(zip(ids, rows.T, strict=True))


def _around(constants: set[float], missing: bool) -> list[float]:
    found = {
        near for each in constants for near in (each, math.nextafter(each, 0), math.nextafter(each, 1e3))
    }
    return [*sorted(found), math.nan] if missing else sorted(found)


def differ(one: Content, other: Content, rng: random.Random) -> bool:
    """Whether a vector is found on which two specs do not do the same; or they trade otherwise.

    False is no proof that they do the same.
    """
    if any(one.get(field) != other.get(field) for field in _BESIDE):
        return True
    complete = vectors((one, other), rng, missing=False)
    if (entered(one, complete) != entered(other, complete)).any():
        return True
    some = vectors((one, other), rng, missing=True)
    return any((left(one, side, some) != left(other, side, some)).any() for side in ("long", "short"))
