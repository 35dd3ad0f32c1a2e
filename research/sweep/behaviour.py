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
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np

from lockstep.compiled import generated_module
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.sessions import Session
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import Family, family_of
from research.sweep.inputs import Prepared
from research.sweep.variants import Variants

# What decides a trade beside the signals. Other fields have a say in these alone.
_BESIDE = (
    "timeframe", "capital", "auto_close", "max_bars", "stop", "target", "size", "execution", "max_age",
)  # fmt: skip
# Variants whose features are in memory at once.
_AT_A_TIME = 256


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
    session = history.markets[symbol].session
    _, rows = variants.different(("auto_close", "max_age"))
    kinds = {repr((variants[row].auto_close, variants[row].max_age)) for row in rows.tolist()}
    found = [""] * len(variants)
    for kind in sorted(kinds):
        mine = [row for row, each in enumerate(variants) if repr((each.auto_close, each.max_age)) == kind]
        for first in range(0, len(mine), _AT_A_TIME):
            some = mine[first : first + _AT_A_TIME]
            of_rows = [variants[row] for row in some]
            for row, config, signals in zip(
                some, of_rows, _signals(of_rows, prepared, family, session), strict=True
            ):
                found[row] = hashlib.sha256(f"{_beside(config)}\n".encode() + signals).hexdigest()
    return found


def _beside(config: StrategyConfig) -> str:
    return json.dumps(config.model_dump(mode="json", include=set(_BESIDE)), sort_keys=True)


_TEMPLATE = '''"""Generated: what a family does at every bar; see research/sweep/behaviour.py."""

from lockstep.compiled import kernel
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT, EXIT_SIGNAL, PASS
from lockstep.strategy.family import family_named
from research.sweep.kernels import clock_at

# Of the family with the fingerprint {code}.
decide = family_named({family!r}, where="sweep").decide


@kernel
def signals(values, clock, rules, filters, taken, left):
    """Write where whoever is flat enters, long and short, and where exits hold: bool (2, n) each, False."""
    for i in range(values.shape[0]):
        time = clock_at(clock, i)
        code = decide(values[i], PASS, time, (0.0, 0.0), rules, filters)
        taken[0, i] = code == ENTER_LONG
        taken[1, i] = code == ENTER_SHORT
        left[0, i] = decide(values[i], PASS, time, (1.0, 1.0), rules, filters) == EXIT_SIGNAL
        left[1, i] = decide(values[i], PASS, time, (-1.0, 1.0), rules, filters) == EXIT_SIGNAL
'''


@functools.cache
def _compiled(family: str, code: str) -> ModuleType:
    text = _TEMPLATE.format(family=family, code=code)
    return generated_module("behaviours", hashlib.sha256(text.encode()).hexdigest()[:16], text)


def _signals(
    configs: Sequence[StrategyConfig], prepared: Prepared, family: Family, session: Session
) -> Iterator[bytes]:
    """Yield of each configuration, all of one clock, where it enters and where its exits hold."""
    signals = _compiled(family.name, f"{family.fingerprint} in {family.config.__module__}").signals
    every = tuple(dict.fromkeys(each for config in configs for each in config.feature_ids))
    widest = configs[0].model_copy(update={"features": every})
    inputs = prepared.inputs(widest)
    column = {each: place for place, each in enumerate(widest.feature_ids)}
    for config in configs:
        values = np.ascontiguousarray(inputs.values[:, [column[each] for each in config.feature_ids]])
        taken, left = np.zeros((2, 2, len(values)), dtype=np.bool_)
        rules = config.rules(session)
        signals(values, inputs.clock, rules, config.filter_rules(), taken, left)
        left[~taken.any(axis=1)] = False
        yield np.packbits(taken, axis=1).tobytes() + np.packbits(left, axis=1).tobytes()
