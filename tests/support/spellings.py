"""Specs in other words, and specs that say something else: drawn by a seed.

A spec is its content here, as a YAML file has it. `reworded` says the same in other words; `altered` changes
one thing, which may or may not change what is said: `spec_oracle.differ` knows.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

Content = dict[str, Any]
Tree = dict[str, Any]

IDS = tuple(f"rsi_{period}" for period in range(2, 12))
CONDITIONS = ("long_entry", "long_exit", "short_entry", "short_exit")
_RELATIONS = ("below", "at_most", "above", "at_least")
_MIRRORED = {"below": "above", "at_most": "at_least", "above": "below", "at_least": "at_most"}
_OPPOSITE = {"below": "at_least", "at_most": "above", "above": "at_most", "at_least": "below"}


def drawn(rng: random.Random, *, comparisons: int = 5, ids: int = 5, scored: bool = True) -> Content:
    """Return a spec of at most `comparisons` a side over at most `ids` ids."""
    known = rng.sample(IDS, ids)
    content: Content = {"name": "drawn", "max_bars": rng.choice([3, 5, 9])}
    both = rng.random() < 0.6
    for side in ("long", "short") if both else (rng.choice(["long", "short"]),):
        entry = rng.randint(1, comparisons - 1)
        content[f"{side}_entry"] = tree(rng, known, entry)
        if rng.random() < 0.7:
            content[f"{side}_exit"] = tree(rng, known, rng.randint(1, comparisons - entry))
    if scored and rng.random() < 0.3:
        name = rng.choice([name for name in CONDITIONS if name in content])
        scores = {"id": "score", rng.choice(_RELATIONS): rng.randint(-50, 50)}
        content[name] = {rng.choice(["all", "any"]): [content[name], scores]}
        content["score"] = [
            {"id": each, "weight": rng.choice([-2, -1, 0.5, 1])} for each in rng.sample(known, 2)
        ]
    if rng.random() < 0.3:
        content["filters"] = [_filter(rng, known)]
    if rng.random() < 0.2:
        content["veto"] = {"id": rng.choice(known), "at_least": rng.randint(0, 50)}
    return content


def _filter(rng: random.Random, known: list[str]) -> Content:
    bound = {rng.choice(["min", "max"]): rng.randint(10, 90)}
    return {"feature": rng.choice(known), **bound, "side": rng.choice(["long", "short", "both"])}


def tree(rng: random.Random, known: list[str], comparisons: int, levels: int = 3) -> Tree:
    """Return a condition of some comparisons, nested at most so many levels deep."""
    if comparisons == 1:
        return leaf(rng, known)
    if rng.random() < 0.15 and levels > 1:
        return {"not": tree(rng, known, comparisons, levels - 1)}
    word = rng.choice(["all", "any"])
    if levels == 1:
        return {word: [leaf(rng, known) for _ in range(comparisons)]}
    first = rng.randint(1, comparisons - 1)
    return {word: [tree(rng, known, each, levels - 1) for each in (first, comparisons - first)]}


def leaf(rng: random.Random, known: list[str]) -> Tree:
    """Return a comparison."""
    one, other = rng.sample(known, 2)
    kind = rng.random()
    if kind < 0.2:
        return {"id": one, rng.choice(_RELATIONS): other}
    if kind < 0.35:
        return {"id": one, "between": sorted(rng.sample(range(5, 96, 5), 2))}
    if kind < 0.4:
        return {"id": one, "equals": rng.randrange(5, 96, 5)}
    return {"id": one, rng.choice(_RELATIONS): rng.randrange(5, 96, 5)}


def places(content: Content) -> list[tuple[str, tuple[Any, ...]]]:
    """Return every place of a condition: the field, and the way to it."""
    return [(name, way) for name in CONDITIONS if content.get(name) for way in _ways(content[name])]


def _ways(node: Tree, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    for word in ("all", "any"):
        for number, part in enumerate(node.get(word, ())):
            yield from _ways(part, (*way, word, number))
    if "not" in node:
        yield from _ways(node["not"], (*way, "not"))


def at(content: Content, name: str, way: tuple[Any, ...]) -> Tree:
    """Return what stands at a place."""
    node = content[name]
    for step in way:
        node = node[step]
    return node


def put(content: Content, name: str, way: tuple[Any, ...], node: Tree) -> Content:
    """Return a copy with another condition at a place."""
    changed = copy.deepcopy(content)
    if not way:
        changed[name] = copy.deepcopy(node)
        return changed
    parent = changed[name]
    for step in way[:-1]:
        parent = parent[step]
    parent[way[-1]] = copy.deepcopy(node)
    return changed


# Other words for a condition; None where they do not fit.


class Where(NamedTuple):
    """What is known at a place: that no value is missing, that it is not the opposite which counts."""

    complete: bool
    positive: bool


def _commuted(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    word = _word(node)
    return None if word is None else {word: rng.sample(node[word], len(node[word]))}


def _associated(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    word = _word(node)
    if word is None:
        return None
    inner = [number for number, part in enumerate(node[word]) if word in part]
    if inner:
        number = rng.choice(inner)
        return {word: [*node[word][:number], *node[word][number][word], *node[word][number + 1 :]]}
    if len(node[word]) < 3:
        return {word: [{word: node[word]}]}
    return {word: [{word: node[word][:2]}, *node[word][2:]]}


def _twice_negated(node: Tree, rng: random.Random, where: Where) -> Tree:
    return {"not": {"not": node}}


def _de_morgan(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    if "not" in node and (word := _word(node["not"])) is not None:
        return {_other(word): [{"not": part} for part in node["not"][word]]}
    word = _word(node)
    return None if word is None else {"not": {_other(word): [{"not": part} for part in node[word]]}}


def _split(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    if "equals" in node:
        return {"id": node["id"], "between": [node["equals"], node["equals"]]}
    if "between" not in node:
        return None
    low, high = node["between"]
    return {"all": [{"id": node["id"], "at_least": low}, {"not": {"id": node["id"], "above": high}}]}


def _opposite(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    relation = _relation(node)
    if relation is None:
        return None
    return {"not": {"id": node["id"], _OPPOSITE[relation]: node[relation]}}


def _mirrored(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    relation = _relation(node)
    if relation is None or not isinstance(node[relation], str):
        return None
    return {"id": node[relation], _MIRRORED[relation]: node["id"]}


def _duplicated(node: Tree, rng: random.Random, where: Where) -> Tree:
    return {rng.choice(["all", "any"]): [node, node]}


def _alone(node: Tree, rng: random.Random, where: Where) -> Tree:
    return {rng.choice(["all", "any"]): [node]}


def _distributed(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    word = _word(node)
    if word is None or len(node[word]) != 2:
        return None
    for one, other in (node[word], node[word][::-1]):
        if _word(other) == _other(word):
            return {_other(word): [{word: [one, part]} for part in other[_other(word)]]}
    return None


def _absorbed(node: Tree, rng: random.Random, where: Where) -> Tree:
    word, further = rng.choice(["all", "any"]), leaf(rng, list(IDS))
    return {word: [node, {_other(word): [node, further]}]}


def _redundant(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    relation = _relation(node)
    if relation is None or isinstance(node[relation], str) or node["id"] == "score":
        return None
    word = rng.choice(["all", "any"])
    looser = (word == "all") is (relation in ("below", "at_most"))
    constant = node[relation] + (2 if looser else -2)
    return {word: [node, {"id": node["id"], rng.choice(_same_way(relation)): constant}]}


def _same_way(relation: str) -> tuple[str, str]:
    return ("below", "at_most") if relation in ("below", "at_most") else ("above", "at_least")


def _excluded_middle(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    if not where.complete:
        return None
    one, other = rng.sample(IDS, 2)
    against: Any = other if rng.random() < 0.4 else rng.randrange(5, 96, 5)
    always = {"any": [{"id": one, "below": against}, {"id": one, "at_least": against}]}
    return {"all": [node, always]}


def _contradicted(node: Tree, rng: random.Random, where: Where) -> Tree | None:
    if not (where.complete or where.positive):
        return None
    one, other = rng.sample(IDS, 2)
    against: Any = other if rng.random() < 0.4 else rng.randrange(5, 96, 5)
    never = {"all": [{"id": one, "below": against}, {"id": one, "at_least": against}]}
    return {"any": [node, never]}


def _word(node: Tree) -> str | None:
    return next((word for word in ("all", "any") if word in node), None)


def _other(word: str) -> str:
    return "any" if word == "all" else "all"


def _relation(node: Tree) -> str | None:
    return next((relation for relation in _RELATIONS if relation in node), None)


# Other words for a whole spec.


def _read_again(content: Content, rng: random.Random) -> Content:
    found: Content = yaml.safe_load(yaml.safe_dump(content, sort_keys=rng.random() < 0.5))
    return found


def _renamed(content: Content, rng: random.Random) -> Content:
    return {**content, "name": "another"}


def _filter_as_condition(content: Content, rng: random.Random) -> Content | None:
    """A filter becomes a part of the entries, where they are one side's, and so does a veto."""
    entries = [name for name in ("long_entry", "short_entry") if name in content]
    if len(entries) != 1:
        return None
    (name,) = entries
    if content.get("filters"):
        first, *others = content["filters"]
        if first["side"] not in ("both", name.partition("_")[0]):
            return None
        parts = [
            {"id": first["feature"], relation: first[bound]}
            for bound, relation in (("min", "at_least"), ("max", "at_most"))
            if bound in first
        ]
        return {**content, name: {"all": [content[name], *parts]}, "filters": others}
    if "veto" in content:
        without = {field: value for field, value in content.items() if field != "veto"}
        return {**without, name: {"all": [content[name], content["veto"]]}}
    return None


def _filter_twice(content: Content, rng: random.Random) -> Content | None:
    if not content.get("filters"):
        return None
    return {**content, "filters": rng.sample([*content["filters"]] * 2, 2 * len(content["filters"]))}


def _score_in_another_order(content: Content, rng: random.Random) -> Content | None:
    if "score" not in content:
        return None
    named = {each["id"] for each in content["score"]}
    further = rng.choice([each for each in IDS if each not in named])
    weights = [*content["score"], {"id": further, "weight": 0}]
    return {**content, "score": rng.sample(weights, len(weights))}


def _each_without_the_other(content: Content, rng: random.Random) -> Content | None:
    """Where both entries are true neither is taken: each may say so itself."""
    if "long_entry" not in content or "short_entry" not in content:
        return None
    long, short = content["long_entry"], content["short_entry"]
    return {
        **content,
        "long_entry": {"all": [long, {"not": short}]},
        "short_entry": {"all": [short, {"not": long}]},
    }


def _neither_on_both(content: Content, rng: random.Random) -> Content | None:
    """Where both entries are true neither is taken: so both may be true anywhere else besides."""
    if "long_entry" not in content or "short_entry" not in content:
        return None
    further = {"all": [content["long_entry"], content["short_entry"]]}
    return {**content, "long_entry": {"any": [content["long_entry"], further]}}


def _id_that_is_there(content: Content, rng: random.Random) -> Content | None:
    """An id that is in the vector anyway is listed once more; a filter's is."""
    if not content.get("filters"):
        return None
    return {**content, "features": [content["filters"][0]["feature"]]}


TREE_WORDS: tuple[Callable[[Tree, random.Random, Where], Tree | None], ...] = (
    _commuted, _associated, _twice_negated, _de_morgan, _split, _opposite, _mirrored, _duplicated, _alone,
    _distributed, _absorbed, _redundant, _excluded_middle, _contradicted,
)  # fmt: skip
SPEC_WORDS: tuple[Callable[[Content, random.Random], Content | None], ...] = (
    _read_again, _renamed, _filter_as_condition, _filter_twice, _score_in_another_order,
    _each_without_the_other, _neither_on_both, _id_that_is_there,
)  # fmt: skip


def reworded(content: Content, rng: random.Random) -> tuple[Content, str]:
    """Return a spec in other words, and what was done to it."""
    while True:
        if rng.random() < 0.3:
            whole = rng.choice(SPEC_WORDS)
            if (changed := whole(content, rng)) is not None:
                return changed, whole.__name__
            continue
        words, there = rng.choice(TREE_WORDS), places(content)
        for name, way in rng.sample(there, len(there)):
            where = Where(complete=name.endswith("entry"), positive=way.count("not") % 2 == 0)
            if (node := words(at(content, name, way), rng, where)) is not None:
                return put(content, name, way, node), words.__name__


# Changes.


def _constant_moved(content: Content, rng: random.Random) -> Content | None:
    return _of_a_leaf(content, rng, lambda node: _moved(node, rng))


def _moved(node: Tree, rng: random.Random) -> Tree | None:
    step = rng.choice([-5, -1, 1, 5, 0.5])
    if "between" in node:
        low, high = node["between"]
        return {"id": node["id"], "between": [low, high + 1]} if step > 0 else None
    if "equals" in node:
        return {**node, "equals": node["equals"] + step}
    relation = _relation(node)
    if relation is None or isinstance(node[relation], str):
        return None
    return {**node, relation: node[relation] + step}


def _strictness(content: Content, rng: random.Random) -> Content | None:
    other = {"below": "at_most", "at_most": "below", "above": "at_least", "at_least": "above"}
    return _of_a_leaf(content, rng, lambda node: _with_relation(node, other))


def _direction(content: Content, rng: random.Random) -> Content | None:
    return _of_a_leaf(content, rng, lambda node: _with_relation(node, _MIRRORED))


def _with_relation(node: Tree, other: dict[str, str]) -> Tree | None:
    relation = _relation(node)
    return None if relation is None else {"id": node["id"], other[relation]: node[relation]}


def _operands_swapped(content: Content, rng: random.Random) -> Content | None:
    def swapped(node: Tree) -> Tree | None:
        relation = _relation(node)
        if relation is None or not isinstance(node[relation], str):
            return None
        return {"id": node[relation], relation: node["id"]}

    return _of_a_leaf(content, rng, swapped)


def _another_id(content: Content, rng: random.Random) -> Content | None:
    def changed(node: Tree) -> Tree | None:
        relation = _relation(node)
        if node["id"] == "score" or (relation and isinstance(node[relation], str)):
            return None
        return {**node, "id": rng.choice([each for each in IDS if each != node["id"]])}

    return _of_a_leaf(content, rng, changed)


def _lagged(content: Content, rng: random.Random) -> Content | None:
    def lagged(node: Tree) -> Tree | None:
        return None if node["id"] == "score" else {**node, "id": f"{node['id']}~1"}

    return _of_a_leaf(content, rng, lagged)


def _and_for_or(content: Content, rng: random.Random) -> Content | None:
    name, way = rng.choice(places(content))
    node = at(content, name, way)
    word = _word(node)
    return None if word is None else put(content, name, way, {_other(word): node[word]})


def _negated(content: Content, rng: random.Random) -> Content | None:
    name, way = rng.choice(places(content))
    node = at(content, name, way)
    return put(content, name, way, node["not"] if "not" in node else {"not": node})


def _part_dropped(content: Content, rng: random.Random) -> Content | None:
    name, way = rng.choice(places(content))
    node = at(content, name, way)
    word = _word(node)
    if word is None or len(node[word]) < 2:
        return None
    number = rng.randrange(len(node[word]))
    return put(content, name, way, {word: [*node[word][:number], *node[word][number + 1 :]]})


def _of_a_leaf(content: Content, rng: random.Random, change: Callable[[Tree], Tree | None]) -> Content | None:
    name, way = rng.choice([each for each in places(content) if "id" in at(content, *each)])
    node = change(at(content, name, way))
    return None if node is None else put(content, name, way, node)


def _needs_another_value(content: Content, rng: random.Random) -> Content | None:
    """An exit gets one more part, which is true wherever an id has a value."""
    leaves = [each for each in places(content) if each[0].endswith("exit") and "not" not in each[1]]
    if not leaves:
        return None
    name, way = rng.choice(leaves)
    further, against = rng.choice(IDS), rng.randrange(5, 96, 5)
    there = {"any": [{"id": further, "below": against}, {"id": further, "at_least": against}]}
    return put(content, name, way, {"all": [at(content, name, way), there]})


def _sides_swapped(content: Content, rng: random.Random) -> Content | None:
    other = {
        name: name.replace("long", "!").replace("short", "long").replace("!", "short") for name in CONDITIONS
    }
    return {other.get(field, field): value for field, value in content.items()}


def _exit_for_entry(content: Content, rng: random.Random) -> Content | None:
    side = rng.choice(["long", "short"])
    entry, leave = f"{side}_entry", f"{side}_exit"
    if entry not in content or leave not in content:
        return None
    return {**content, entry: content[leave], leave: content[entry]}


def _another_stop(content: Content, rng: random.Random) -> Content | None:
    return {**content, "stop": {"percent": rng.choice([1, 2, 3])}}


def _another_hold(content: Content, rng: random.Random) -> Content | None:
    return {**content, "max_bars": content["max_bars"] + 1}


def _another_size(content: Content, rng: random.Random) -> Content | None:
    return {**content, "size": {"kind": "fixed", "contracts": rng.choice([2, 3])}}


def _one_more_id(content: Content, rng: random.Random) -> Content | None:
    return {**content, "features": ["atr_14"]}


def _another_filter(content: Content, rng: random.Random) -> Content | None:
    if not content.get("filters"):
        return {**content, "filters": [_filter(rng, list(IDS))]}
    first, *others = content["filters"]
    if rng.random() < 0.3:
        return {**content, "filters": others}
    bound = "min" if "min" in first else "max"
    return {**content, "filters": [{**first, bound: first[bound] + 1}, *others]}


def _another_veto(content: Content, rng: random.Random) -> Content | None:
    if "veto" not in content:
        return {**content, "veto": {"id": rng.choice(IDS), "at_least": 40}}
    return {**content, "veto": {**content["veto"], "at_least": content["veto"]["at_least"] + 1}}


def _another_weight(content: Content, rng: random.Random) -> Content | None:
    if "score" not in content:
        return None
    first, *others = content["score"]
    return {**content, "score": [{**first, "weight": first["weight"] + 1}, *others]}


CHANGES: tuple[Callable[[Content, random.Random], Content | None], ...] = (
    _constant_moved, _strictness, _direction, _operands_swapped, _another_id, _lagged, _and_for_or, _negated,
    _part_dropped, _needs_another_value, _sides_swapped, _exit_for_entry, _another_stop, _another_hold,
    _another_size, _one_more_id, _another_filter, _another_veto, _another_weight,
)  # fmt: skip


def altered(content: Content, rng: random.Random) -> tuple[Content, str]:
    """Return a spec with one change, and its name; it may say the same all the same."""
    while True:
        how = rng.choice(CHANGES)
        changed = how(content, rng)
        if changed is not None:
            return changed, how.__name__
