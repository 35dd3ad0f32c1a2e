"""What a file of an A/B test says, such as `configs/ab/core_against_variant.yml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lockstep.monitoring.ab import LONGEST_YEARS, AbMode
from lockstep.settings import Settings, read_yaml, validated

_STRATEGY_FILES = (".yaml", ".yml")


class AbConfig(Settings):
    """A test before it is created.

    name         what it is called from then on; symbol   instrument that both arms trade
    champion, challenger   a strategy's YAML, relative to this file; a version such as `v3` or `production`;
                 or the name of a registered candidate
    mode         `replay`: both arms on every signal; `split`: half of a desk's signals each
    difference   of annual Sharpe ratios that it is to see; years   when to end at the latest; None: where its
                 power is 80 %
    desk         live.yml of the desk whose signals are split, relative to this file; challenger_desk   of
                 the desk that trades the challenger, where that is another one
    by_receiver  the desk takes every signal by one lane, and whoever receives its orders asks
                 `lockstep.portfolio.split.arm_of` which arm it is
    """

    name: Annotated[str, Field(min_length=1, max_length=80)]
    symbol: str
    champion: str
    challenger: str
    mode: AbMode = AbMode.REPLAY
    difference: Annotated[float, Field(gt=0, le=10)] = 0.5
    years: Annotated[float, Field(gt=0, le=LONGEST_YEARS)] | None = None
    desk: Path | None = None
    challenger_desk: Path | None = None
    by_receiver: bool = False

    @classmethod
    def load(cls, path: Path) -> AbConfig:
        """Read a YAML file; ConfigError naming file, field, value and rule."""
        found = validated(cls, read_yaml(path), where=str(path))
        arms = {arm: _beside(path, getattr(found, arm)) for arm in ("champion", "challenger")}
        desks = {
            name: Path(_beside(path, str(each)))
            for name in ("desk", "challenger_desk")
            if (each := getattr(found, name)) is not None
        }
        return found.model_copy(update={**arms, **desks})


def _beside(file: Path, text: str) -> str:
    """Return the path of a YAML file that is named in another one; anything else as it is."""
    return os.path.normpath(file.parent / text) if text.endswith(_STRATEGY_FILES) else text
