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

## What a model answers

`model:COMP@v3#3f2a9c1b04de` is the probability that version 3 of COMP in the model store gives at the bar:
the bundle's pipeline on the bundle's own feature ids, from 0 to 1, NaN where one of these is. The digits are
the first twelve of the bundle's SHA-256, so that an id means one model for ever; `model:COMP@v3` alone is
refused with the whole id. Of a model of another name than `ibs_veto` it is `model:COMP_regime@v1#…`. A
[model of the zoo](manifest.md#models-of-the-zoo) answers with a value or a state instead:
`model:COMP_volatility_h1@v3#…`.

- It stands wherever an id does: in a filter, a condition, a score, as a feature of a training. The bundle is
  verified like any that is used: hash, libraries, definitions of its features, golden vectors.
- Its features are those of the series that it was trained on. A strategy on other bars reads the newest
  complete ones of that series, as with a qualifier; a model of finer bars than the traded ones is refused.
- One row and many are answered with the same bits; a model that answers otherwise is refused. A linear model
  is asked row by row, however many there are.
- It takes no rank, lag, qualifier or factor. A model that reads the column of another can be a veto, but no
  column. A version without a model, or one that is retired, is refused.
- It is looked up in the stores of the bundles that were loaded, then in the default one. What fetches a
  bundle from another store brings along the models whose columns it reads.
- Its fingerprint is made of the bundle's hash and the fingerprints of its features. Whether a shift or a
  scale of prices moves it is found by computation.

Its answers on the days of its own training are in-sample: `registry.describe` says which days these are, and
a winner that was judged on such days is not promoted.
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
