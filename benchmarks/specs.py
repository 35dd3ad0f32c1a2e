"""What it costs to know what a spec means: the hash by which it is one trial, however it is written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Measured, of_tests

_SPECS = 200
_PROMISE_MS = 5.0


def hashing() -> Iterator[Measured]:
    """Measure hashes that are not known yet: of large specs, and of the densest that there may be."""
    drawn = of_tests("support.spec_identity")
    kinds = {
        "twelve comparisons a side": drawn.large(_SPECS, seed=3),
        "twelve an entry, 16 ids, a veto": drawn.densest(_SPECS, seed=3),
    }
    for what, configs in kinds.items():
        took = drawn.milliseconds(configs, runs=5)
        for share, named in ((50, "typical"), (99, "99 of 100")):
            value = float(np.percentile(took, share))
            note = f"slowest of {_SPECS}: {max(took):.1f} ms"
            yield Measured(
                what=f"spec hash, {what}: {named}", value=value, unit="ms", promise=_PROMISE_MS, note=note
            )
