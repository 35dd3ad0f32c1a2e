"""What strategies earned in complete days, weeks and months goes to the performance store; old runs go."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from lockstep.live.config import LiveConfig
from operations.nightly.context import REGISTERED, NightContext, NightStep, write_json
from operations.nightly.steps.candidates import is_marked
from operations.performance import store_periods
from operations.watch.config import MonitoringConfig
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, the watched desk, how long runs are kept."""
    config = context.config
    watched = None if config.monitoring is None else [str(config.monitoring), context.world.desk]
    spaces = [each.name for each in config.declared]
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
    """Delete the experiments of all but the newest nights, space by space, also of spaces that are no more.

    Never those that a registered candidate came from, nor what somebody else called as a night does.
    """
    store, of_space = context.lab.store, defaultdict[str, list[int]](list)
    kept = {each.content.get("experiment") for each in context.effects.all() if each.kind == REGISTERED}
    for number, name in store.names().items():
        if is_marked(name):
            of_space[name.rpartition(" ")[0]].append(number)
    for own in of_space.values():
        for number in sorted(own)[: -context.config.keep_nights]:
            if number not in kept and store.record(number).plan.kind == "part":
                store.delete(number)


STEP: NightStep = NightStep(
    name="store",
    module=__name__,
    needs=("forward",),
    after=("register", "decide"),
    ingredients=ingredients,
    work=work,
)
