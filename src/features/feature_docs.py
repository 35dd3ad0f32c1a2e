"""The page `docs/features.md`, written from the registry: `python -m lockstep.features.feature_docs`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

from lockstep.features.feature import Feature, Parameters
from lockstep.features.feature_registry import FeatureRegistry, default_registry

_INTRODUCTION = """\
# The feature catalogue

Written from the registry by `python -m lockstep.features.feature_docs > docs/features.md`; a test keeps it
current. `registry.describe("rsi_2")` says more about an id: its definition in full, its source, its inputs.

An id is a name and its parameters (`rsi_2`). A qualifier takes it from another instrument (`rsi_2@NQ`),
another timeframe (`ibs@1d`) or both (`zscore_20@NQ:1d`); two ids in alphabetical order with `*` between them
are their product (`rsi_2*volume_pctile_20`). `bars` is the lookback: the number of bars, the present one
included, that a value depends on; it is NaN before that many bars were seen and where an input is missing.
`shift` and `scale` say what adding a constant to all prices, or multiplying them, does to the value.

## Rank and lag

Behind the parameters any feature takes a rank, a lag or both, in this order, and before a qualifier:

- `rsi_2~1` is `rsi_2` one bar earlier: 41 + 1 bars.
- `rsi_2%252` is the share of its 252 earlier values that lie below it, ties counting half, from 0 to 1:
  41 + 252 bars.
- `rsi_2%252~1` is that rank one bar earlier: 41 + 252 + 1 bars.
- `ibs~1@1d` is the `ibs` of the daily bar before the newest complete one.
- `ibs%20*volume_z_20~1` is the product of a rank and a lagged value.

Both count bars of the feature's own series, from 1 on; the bars together are at most 20,000. A rank is NaN
where any of the values that it compares is NaN, a lagged value where that earlier value is. Where a shift or
a scale of prices leaves a feature as it is, so it leaves its rank and its lag. A rank may stay where its
feature moves (`atr_14%252`): that is found by computation where it matters, and not promised.

The value stays a pure function of its last bars: in batch and live the feature's own code runs once per bar,
and one small loop ranks or lags what it gave. A cross is written with a lag: `rsi_2` below 10, `rsi_2~1` not.
"""
_HEADER = (
    "| id | definition | range | bars | shift | scale | NaN |",
    "|---|---|---|---|---|---|---|",
)


def feature_page(registry: FeatureRegistry) -> str:
    """Return the page as Markdown: one table per family, one row per feature."""
    sections = (_section(family, registry) for family in registry.families)
    return "\n".join((_INTRODUCTION, *sections))


def _section(family: str, registry: FeatureRegistry) -> str:
    features = [declared for declared in registry if declared.family == family]
    rows = (_row(declared, declared.examples[0]) for declared in features)
    return "\n".join((f"## {family} ({len(features)})\n", *_HEADER, *rows, ""))


def _row(declared: Feature, example: Parameters) -> str:
    cells: Iterable[str] = (
        f"`{declared.spell(example)}`",
        declared.documentation.splitlines()[0].replace("|", "\\|"),
        f"{_bound(declared.low)} to {_bound(declared.high)}",
        str(declared.lookback(example)),
        "same" if declared.shift_invariant else "changes",
        "same" if declared.scale_invariant else "changes",
        declared.nan,
    )
    return f"| {' | '.join(cells)} |"


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "∞" if value > 0 else "-∞"


if __name__ == "__main__":
    sys.stdout.write(feature_page(default_registry()))
