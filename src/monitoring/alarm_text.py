"""An alarm in one sentence: what fell, since when, how often that would be luck, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lockstep.monitoring.alarms import Gauge, StreamState, moment
from lockstep.monitoring.readings import StreamKind
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.wealth import ALPHA

Level = Literal["ALARM", "WATCH"]

_NAMES: dict[StreamKind, str] = {
    "win_rate": "win rate",
    "pnl": "mean profit of a trade",
    "calibration": "wins beyond what was predicted",
    "ic": "information coefficient",
}
_UNITS: dict[StreamKind, str] = {
    "win_rate": "{:.1%}", "pnl": "{:,.2f}", "calibration": "{:+.1%}", "ic": "{:.3f}",
}  # fmt: skip
_STEPS: dict[Level, str] = {
    "ALARM": "Stop new entries or shrink them, start a challenger, then acknowledge.",
    "WATCH": "Look at the curves and at the fills, leave the desk as it is, then acknowledge.",
}


_RATES: dict[Level, str] = {
    "ALARM": f"at most one year of {round(1 / ALPHA)}, however often it is looked at",
    "WATCH": f"about one year of {round(1 / ALPHA)}, the error of the estimate included",
}


@dataclass(frozen=True, kw_only=True)
class Raised:
    """What is raised now. since and raised are UTC ns: the estimated change, and when it was seen."""

    level: Level
    stream: StreamKind
    since: int
    raised: int
    sentence: str


def raised(state: StreamState, reference: StreamReference, *, name: str) -> tuple[Raised, ...]:
    """Return what a stream has raised and nobody has acknowledged: ALARM first, at most one of each.

    name   of what is watched, as people know it: "COMP@v3"
    """
    return tuple(_raised(state, reference, name))


def _raised(state: StreamState, reference: StreamReference, name: str) -> Iterator[Raised]:
    levels: tuple[tuple[Level, Gauge, float], ...] = (
        ("ALARM", state.alarm, reference.floor),
        ("WATCH", state.watch, reference.estimate),
    )
    for level, gauge, floor in levels:
        if gauge.raised:
            yield Raised(
                level=level,
                stream=reference.stream,
                since=gauge.since or gauge.raised,
                raised=gauge.raised,
                sentence=_sentence(level, gauge, floor, reference, name),
            )


def _sentence(level: Level, gauge: Gauge, floor: float, reference: StreamReference, name: str) -> str:
    unit = _UNITS[reference.stream].format
    against = "floor" if level == "ALARM" else "out-of-sample estimate"
    found, since = "is lower", f"since {moment(gauge.raised)[:10]}"
    if gauge.outcomes:
        found = unit(reference.natural(gauge.sum / gauge.outcomes))
        since = f"over {gauge.outcomes} outcomes since about {moment(gauge.since)[:10]}"
    return (
        f"{level} {name}: {_NAMES[reference.stream]} {found} {since}, against the {against} of "
        f"{unit(reference.natural(floor))}. A healthy stream does this in {_RATES[level]}. "
        f"{visible(reference)} {_STEPS[level]}"
    )


def visible(reference: StreamReference) -> str:
    """Return one sentence on the smallest decay that a year of outcomes shows.

    The fall is from the estimate, to a mean at which ALARM is raised within the year in one case of two.
    """
    year = f"a year of {reference.per_year} outcomes"
    if reference.visible_fall is None:
        return f"No decay shows in {year}: there are too few."
    low = reference.natural(reference.estimate - reference.visible_fall)
    unit = _UNITS[reference.stream].format
    return (
        f"The smallest decay that {year} shows as ALARM is from "
        f"{unit(reference.natural(reference.estimate))} to {unit(low)}, in one case of two."
    )
