"""Is one spec in other words one spec to the hash, and another spec another one? Counted over drawn specs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.settings import validated
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs import meaning
from support import spec_oracle, spellings
from support.spellings import Content

# Of one spec, so many others; each of up to so many steps.
_EACH = 4
_STEPS = 4


@dataclass
class Found:
    """What was compared: how often by what was done, a line for each fault, and how many did the same."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    compared: int = 0
    alike: int = 0


def spec(content: Content) -> RulesConfig | None:
    """Return a spec's configuration; None where it is refused, usually as too large."""
    try:
        return validated(RulesConfig, {"family": "rules", **content}, where="spec")
    except ConfigError:
        return None


def rewordings(count: int, seed: int, *, oracle: int = 10, until_fault: bool = False) -> Found:
    """Compare `count` specs with what they are in other words; every `oracle`-th pair is also evaluated."""
    found = Found()
    for content, one, rng in _drawn(seed):
        for _ in range(_EACH):
            other, steps = _reworded(content, rng)
            if not steps:
                continue
            found.counts.update(steps)
            found.compared += 1
            config = spec(other)
            assert config is not None
            if found.compared % oracle == 0 and spec_oracle.differ(content, other, rng):
                found.faults.append(f"{steps} is no rewording: {content} {other}")
            elif one.config_hash != config.config_hash:
                found.faults.append(f"{steps}: another hash: {content} {other}")
            elif set(one.feature_ids) != set(config.feature_ids):
                found.faults.append(f"{steps}: another vector: {content} {other}")
            if found.compared == count or (found.faults and until_fault):
                return found
    raise AssertionError


def _reworded(content: Content, rng: random.Random) -> tuple[Content, list[str]]:
    steps = []
    for _ in range(rng.randint(1, _STEPS)):
        other, how = spellings.reworded(content, rng)
        if (config := spec(other)) is None or _reads_less(content, config, how):
            continue
        content = other
        steps.append(how)
    return content, steps


def _reads_less(content: Content, other: RulesConfig, how: str) -> bool:
    """Whether a filter that became a condition made another one idle: what that read was needed before."""
    if how != "_filter_as_condition":
        return False
    before = spec(content)
    return before is not None and set(other.feature_ids) < set(before.feature_ids)


def alterations(count: int, seed: int, *, until_fault: bool = False) -> Found:
    """Compare `count` specs with changed ones that were seen to do something else."""
    found = Found()
    for content, one, rng in _drawn(seed):
        for _ in range(_EACH):
            other, how = spellings.altered(content, rng)
            config = spec(other)
            if config is None:
                continue
            if not (
                spec_oracle.differ(content, other, rng) or set(one.feature_ids) != set(config.feature_ids)
            ):
                found.alike += 1
                continue
            found.counts[how] += 1
            found.compared += 1
            if one.config_hash == config.config_hash:
                found.faults.append(f"{how}: the same hash: {content} {other}")
            if found.compared == count or (found.faults and until_fault):
                return found
    raise AssertionError


def _drawn(seed: int) -> Iterator[tuple[Content, RulesConfig, random.Random]]:
    number = 0
    while True:
        rng = random.Random(f"{seed} {number}")
        content = spellings.drawn(rng)
        config = spec(content)
        if config is not None:
            yield content, config, rng
        number += 1


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Compare `count` rewordings and as many alterations; what was found, and whether nothing was wrong."""
    same, other = rewordings(count, seed), alterations(count, seed + 1)
    took = {"a side": milliseconds(large(200, seed)), "an entry": milliseconds(densest(200, seed))}
    told = {
        "reworded": same.compared,
        "by what was done": dict(sorted(same.counts.items())),
        "altered": other.compared,
        "by what was changed": dict(sorted(other.counts.items())),
        "faults": [*same.faults, *other.faults],
        "milliseconds a hash of 200": {
            f"twelve comparisons {where}": {
                name: round(float(np.percentile(each, share)), 2)
                for name, share in (("median", 50), ("99 of 100", 99), ("slowest", 100))
            }
            for where, each in took.items()
        },
    }
    return told, not told["faults"]


def forget() -> None:
    """Forget every meaning that is known, so that the next hash is worked out."""
    from lockstep.strategy.families import rules

    for known in (meaning.entry_meaning, meaning.exit_meaning, rules._entries, rules._compile):
        known.cache_clear()


# As many as a spec may read.
_IDS = (*spellings.IDS, *(f"{each}~1" for each in spellings.IDS[:6]))


def large(count: int, seed: int) -> list[RulesConfig]:
    """Return specs of twelve comparisons a side, entry and exit, over as many ids as a spec may read."""
    rng = random.Random(seed)

    def content() -> Content:
        found: Content = {}
        for side in ("long", "short"):
            entry = rng.randint(5, 9)
            found[f"{side}_entry"] = spellings.tree(rng, list(_IDS), entry)
            found[f"{side}_exit"] = spellings.tree(rng, list(_IDS), 12 - entry)
        return found

    return _specs(count, content)


def densest(count: int, seed: int) -> list[RulesConfig]:
    """Return specs of twelve comparisons in each entry, five levels deep, with filters and a veto beside."""
    rng = random.Random(seed)

    def content() -> Content:
        return {
            **{f"{side}_entry": spellings.tree(rng, list(_IDS), 12, levels=5) for side in ("long", "short")},
            "filters": [
                {"feature": rng.choice(_IDS), "max": rng.randint(40, 90), "side": "both"} for _ in range(2)
            ],
            "veto": {"id": rng.choice(_IDS), "at_least": 30},
        }

    return _specs(count, content)


def _specs(count: int, content: Callable[[], Content]) -> list[RulesConfig]:
    found: list[RulesConfig] = []
    while len(found) < count:
        if (config := spec({"name": "large", "max_bars": 5, **content()})) is not None:
            found.append(config)
    return found


def milliseconds(configs: list[RulesConfig], runs: int = 3) -> list[float]:
    """Return what each hash takes that is not known yet, in ms of this process, the least of some runs."""
    found = [float("inf")] * len(configs)
    for _ in range(runs):
        forget()
        for number, config in enumerate(configs):
            before = time.process_time()
            _ = config.config_hash
            found[number] = min(found[number], (time.process_time() - before) * 1e3)
    return found
