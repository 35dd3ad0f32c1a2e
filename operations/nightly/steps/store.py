"""What strategies earned in complete days, weeks and months goes to the performance store; old runs go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.live.config import LiveConfig
from operations.nightly.context import NightContext, NightStep, write_json
from operations.nightly.steps.candidates import mark
from operations.performance import store_periods
from operations.watch.config import MonitoringConfig
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, the watched desk, how long runs are kept."""
    config = context.config
    watched = None if config.monitoring is None else [str(config.monitoring), context.world.desk]
    spaces = [each.name for each in config.spaces]
    return [context.night, watched, config.keep_nights, spaces, list(config.symbols)]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Store complete periods, and delete the runs of old nights; what they tried stays counted."""
    desk = None
    if context.config.monitoring is not None:
        desk = LiveConfig.load(MonitoringConfig.load(context.config.monitoring).desk)
    found = store_periods(context.lab, now=context.now(), desk=desk)
    _forget(context)
    write_json(folder, "store", {"troubles": list(found.troubles)})
    return f"performance of {len(found.stored)} strategies is up to date"


def _forget(context: NightContext) -> None:
    """Delete the experiments of all but the newest nights, space by space."""
    store, names = context.lab.store, context.lab.store.names()
    for space in context.config.spaces:
        for symbol in context.config.symbols:
            start = mark(space, symbol, "")
            own = sorted(number for number, name in names.items() if name.startswith(start))
            for number in own[: -context.config.keep_nights]:
                store.delete(number)


STEP: NightStep = NightStep(
    name="store",
    module=__name__,
    needs=("forward",),
    after=("register", "decide"),
    ingredients=ingredients,
    work=work,
)
