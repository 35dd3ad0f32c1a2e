"""Which evidence of the model store rests on bars that were revised since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lockstep.errors import LockstepError
from lockstep.models.evidence import revised
from lockstep.models.store import ModelStore


def voided(series: str, store: Path | None = None) -> Iterator[str]:
    """Yield a line for each version whose newest evidence of a kind read other bars than there are.

    series   "ES:1d"; store   None: the usual one

    The bars are read again as each evidence read them: one from other files is not touched. A store that
    cannot be read is a line, too.
    """
    try:
        instruments = ModelStore(store).manifest().instruments
    except LockstepError as error:
        yield f"  whether evidence is void cannot be told: {error}"
        return
    for symbol, models in instruments.items():
        for name, model in models.items():
            for version, entry in model.versions.items():
                newest = {each.kind: each for each in entry.evidence}
                for kind, evidence in newest.items():
                    if evidence.data is None or series not in evidence.data.series:
                        continue
                    changed, _ = revised(evidence)
                    for each in changed:
                        yield f"  void: {symbol} {version} ({name}): {kind}: {each}"
