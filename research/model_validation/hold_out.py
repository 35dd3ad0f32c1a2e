"""The hold-out of one version: opened once, its result kept, and repeated from then on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from lockstep.errors import ConfigError, ModelError
from lockstep.files import replace_file
from lockstep.market.dates import DateRange
from lockstep.models.bundle import Bundle
from lockstep.settings import Settings, read_json, validated
from research.training.out_of_sample import OpenedHoldOut


class HoldOutRecord(Settings):
    """What the hold-out said of one bundle.

    looks                 how often hold-outs of the family over these days had been opened by then, this
                          time included
    dates                 first decision to last exit
    metrics, unfiltered   of the strategy with and without the veto, see `Account`; null: undefined; without
                          a model the second is empty
    judged                `sharpe` and `p_value` of what is judged, see `OpenedHoldOut`; empty in a record of
                          schema 1, which did not measure the gain
    """

    schema_version: Literal[1, 2] = 2
    bundle_sha256: str
    looks: int
    dates: DateRange
    metrics: dict[str, float | None]
    unfiltered: dict[str, float | None]
    judged: dict[str, float | None] = Field(default_factory=dict)

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of what is judged; nan where it did not vary, or was not measured."""
        return self._judged("sharpe")

    @property
    def p_value(self) -> float:
        """Chance of so high a ratio by luck alone; nan as `sharpe`."""
        return self._judged("p_value")

    def _judged(self, name: str) -> float:
        value = self.judged.get(name)
        return math.nan if value is None else value


class HoldOutDoor:
    """Opens the hold-out of a bundle; `folder` keeps the result.

    look   opens it, counted in the ledger; see `training.hold_out`
    """

    def __init__(self, bundle: Bundle, look: Callable[[], OpenedHoldOut], folder: Path) -> None:
        self._bundle, self._look = bundle, look
        self._path = folder / f"hold_out-{bundle.sha256[:16]}.json"

    def __call__(self, may_open: bool) -> HoldOutRecord | None:
        """Return what was found, then or now; None where it was never opened and `may_open` is False.

        TrainingError where the ledger knows of a look whose result is lost: it cannot be taken again.
        """
        if self._path.exists():
            return self._known()
        return self._open() if may_open else None

    def _known(self) -> HoldOutRecord:
        try:
            content = read_json(self._path)
        except ConfigError as error:
            raise ModelError(f"{error}; restore it from a backup") from error
        found = validated(HoldOutRecord, content, where=str(self._path))
        if found.bundle_sha256 != self._bundle.sha256:
            raise ModelError(
                f"{self._path}: is about bundle {found.bundle_sha256[:12]}…; put the file of this one there"
            )
        return found

    def _open(self) -> HoldOutRecord:
        opened = self._look()
        found = HoldOutRecord(
            bundle_sha256=self._bundle.sha256,
            looks=opened.looks,
            dates=opened.dates,
            metrics=_finite(opened.metrics),
            unfiltered=_finite(opened.unfiltered),
            judged=_finite(opened.judged),
        )
        replace_file(self._path, (found.model_dump_json(indent=1) + "\n").encode())
        return found


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
