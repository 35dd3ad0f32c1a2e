"""What configurations do on some bars, as a hash: those that are equal in it make the same trades there.

It is over the signals: at which bars an entry would be taken by whoever is flat, with all that has a say in
it, and at which bars the conditions of an exit hold. Beside them it holds what else decides a trade: stop,
target, size, longest hold, and so on. The exit of a side that is never entered does not count.

Known for families with `Signals`; others would have to be run to know what they do.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from types import ModuleType

import joblib
import numpy as np

from lockstep.compiled import generated_module
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import family_of
from research.sweep.inputs import Inputs, Prepared
from research.sweep.run import workers
from research.sweep.signals import Words, words_of
from research.sweep.specs import BATCH, SpecPiece
from research.sweep.variants import Variants
from research.sweep.work import spec_work

# What decides a trade beside the signals. Other fields have a say in these alone.
_BESIDE = (
    "timeframe", "capital", "auto_close", "max_bars", "stop", "target", "size", "execution", "max_age",
)  # fmt: skip


def behaviours(
    configs: Sequence[StrategyConfig],
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    registry: FeatureRegistry | None = None,
) -> list[str] | None:
    """Return the SHA-256 (hex) of what each configuration does; None for a family without `Signals`.

    All are of one family and timeframe. Errors as of a sweep.

    >>> from lockstep.market.loader import load_history
    >>> from lockstep.strategy.family import strategy_of
    >>> content = {"family": "rules", "name": "dip", "long_entry": {"id": "ibs", "below": 0.2}, "max_bars": 2}
    >>> same = {**content, "long_entry": {"id": "ibs*ibs", "below": 0.04}}
    >>> configs = [strategy_of(each, where="example") for each in (content, same, {**content, "max_bars": 3})]
    >>> one, two, three = behaviours(configs, load_history("SPX", start="2017-01-03"), "SPX")
    >>> one == two, one == three
    (True, False)
    """
    variants = Variants.of(configs)
    family = family_of(variants[0])
    if family.signals is None:
        return None
    prepared = Prepared(
        history, symbol, variants[0], span or DateRange(), registry or default_registry(), None
    )
    kind, rows = variants.different(_BESIDE)
    beside = [said_beside(variants[row]) for row in rows.tolist()]
    found = [""] * len(variants)
    with workers(-1) as hands:
        for inputs, work in spec_work(variants, prepared, family, chunk=BATCH, workers=1):
            tasks = (joblib.delayed(acts_of)(piece, inputs) for piece in work)
            for piece, acts in zip(work, hands.run(tasks), strict=True):
                for row, own in zip(piece.positions.tolist(), acts, strict=True):
                    found[row] = behaviour_hash(beside[kind[row]], own)
    return found


def said_beside(config: StrategyConfig) -> bytes:
    """Return what decides a trade beside the signals, as the hash reads it."""
    own = config.model_dump(mode="json", include=set(_BESIDE))
    return f"{family_of(config).name} {json.dumps(own, sort_keys=True)}\n".encode()


def behaviour_hash(beside: bytes, acts: Words) -> str:
    """Return the SHA-256 (hex) of what one configuration does, of `said_beside` and its `acts_of`."""
    return hashlib.sha256(beside + acts.tobytes()).hexdigest()


_TEMPLATE = '''"""Generated: what specs of one family do at every bar; see research/sweep/behaviour.py."""

import numpy as np

from lockstep.compiled import inlined, uncounted
from lockstep.strategy.decision import EXIT_SIGNAL
from lockstep.strategy.family import family_named
from research.sweep import signals as of_bars
from research.sweep.kernels import clock_at
from research.sweep.signals import LONG_EXIT, WORD

next_entry = inlined(of_bars.next_entry)
# Of the family with the fingerprint {code}.
signals = family_named({family!r}, where="sweep").signals
enter = signals.enter
leave = signals.leave
ONE = np.uint64(1)


@uncounted
def write_acts(said, rules, columns, filters, read, features, probability, clock, n, vector, acts):
    """Write where whoever is flat enters, long and short, and where exits hold: uint64 (4, words), zeroed."""
    i, found = 0, 0
    while i < n:
        found = next_entry(
            enter, False, said, rules, filters, columns, read, features, probability, clock, vector, i, n
        )
        if found == 2 * n:
            break
        side = 1 if found >= n else 0
        i = found - side * n
        acts[side, i >> 6] |= ONE << np.uint64(i & 63)
        i += 1
    for side in range(2):
        if not acts[side].any():
            continue
        holding = (-1.0, 1.0) if side else (1.0, 1.0)
        for word in range(acts.shape[1]):
            bits = said[LONG_EXIT + side, word]
            for place in range(WORD):
                i = word * WORD + place
                if i < n and (bits >> np.uint64(place)) & ONE != 0:
                    if leave(True, clock_at(clock, i), holding, rules) == EXIT_SIGNAL:
                        acts[2 + side, word] |= ONE << np.uint64(place)


@uncounted
def write_all(
    said, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, features, probability,
    clock, n, room, acts
):
    """The same for some specs: uint64 (V, 4, words)."""
    for v in range(acts.shape[0]):
        own = columns[columns_at[v] : columns_at[v + 1]]
        write_acts(
            said[v], rules[rules_at[v] : rules_at[v + 1]], own, filters[filters_at[v] : filters_at[v + 1]],
            read[read_at[v] : read_at[v + 1]], features, probability, clock, n, room[: own.size], acts[v]
        )
'''


@functools.cache
def _compiled(family: str, code: str) -> ModuleType:
    text = _TEMPLATE.format(family=family, code=code)
    return generated_module("behaviours", hashlib.sha256(text.encode()).hexdigest()[:16], text)


def acts_of(piece: SpecPiece, inputs: Inputs) -> Words:
    """Return what each spec of a piece does at every bar, uint64 (V, 4, words)."""
    specs = piece.specs
    found = np.zeros((len(specs), 4, words_of(len(inputs.bars))), dtype=np.uint64)
    _compiled(piece.loop.family, piece.loop.code).write_all(
        specs.signals(inputs), *specs.rules, *specs.columns, *specs.filters, *specs.read, inputs.values,
        inputs.probability, inputs.clock, len(inputs.bars), specs.room, found,
    )  # fmt: skip
    return found
