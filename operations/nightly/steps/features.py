"""What the declared spaces read, over the newest sessions: is a value missing, or out of its range?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import LockstepError
from lockstep.features.feature_registry import default_registry
from lockstep.market.history import History
from lockstep.market.loader import load_history
from operations.nightly.config import NightlySpace
from operations.nightly.context import NightContext, NightStep, usable, write_json
from research.backtest.folder import finite
from research.backtest.run import context_keys
from research.experiments.variants import VariantSpace
from research.pipeline.graph import Inputs

SESSIONS = 30


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the spaces with their strategies, and the features' code."""
    registry = default_registry()
    return [
        {each.name: each.digest for each in context.config.declared},
        {
            each: registry.fingerprint(each)
            for space in context.config.declared
            for each in _ids(context, space)
        },
    ]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Write the values of the newest sessions, how many are missing, and which are out of their range."""
    found, troubles = {}, list[str]()
    ids = sorted({each for space in context.config.declared for each in _ids(context, space)})
    for symbol in usable(read) if ids else ():
        try:
            found[symbol] = dict(_values(context, symbol, ids))
        except LockstepError as error:
            troubles.append(f"{symbol}: {error}")
            continue
        troubles += [
            f"{symbol}: {name} is outside of its declared range in the newest {SESSIONS} sessions"
            for name, each in found[symbol].items()
            if each["outside"]
        ]
    write_json(folder, "features", {"symbols": found, "sessions": SESSIONS, "troubles": troubles})
    count = sum(len(each) for each in found.values())
    missing = sum(value["missing"] > 0 for each in found.values() for value in each.values())
    return (
        f"{count} features of the newest {SESSIONS} sessions, {missing or 'none'} of them with missing values"
    )


def _ids(context: NightContext, space: NightlySpace) -> list[str]:
    varied = VariantSpace(base=context.strategy(space), values=space.parameters)
    return sorted({each for config in varied.readers(()) for each in config.feature_ids})


def _values(context: NightContext, symbol: str, ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    history = _history(context, symbol)
    base = next(key for key in history.bars if key.symbol == symbol)
    bars, registry = history.series(base), default_registry()
    matrix = registry.matrix(ids, bars, history=history).iloc[-SESSIONS:]
    for name in ids:
        values = matrix[name].to_numpy(dtype=np.float64)
        known = values[np.isfinite(values)]
        term = registry.parse(name)
        outside = bool(known.size) and not (term.low <= known.min() and known.max() <= term.high)
        yield name, {
            **finite({"newest": float(values[-1]), "lowest": float(known.min()) if known.size else np.nan,
                      "highest": float(known.max()) if known.size else np.nan}),
            "missing": float(np.mean(~np.isfinite(values))), "outside": outside,
        }  # fmt: skip


def _history(context: NightContext, symbol: str) -> History:
    config, book = context.config, context.lab.book
    strategies = [context.strategy(each) for each in config.declared]
    keys = {key for each in strategies for key in context_keys(each, book.markets, symbol)}
    return load_history(
        symbol, config.data_dir, timeframe=strategies[0].bars, context=sorted(keys), book=book,
        source=config.source,
    )  # fmt: skip


STEP: NightStep = NightStep(
    name="features", module=__name__, needs=("quality",), ingredients=ingredients, work=work
)
