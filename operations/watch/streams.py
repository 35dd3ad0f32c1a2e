"""The streams of a desk, fed anew from its outcomes and acknowledgements: what is raised, and the wealth.

Outcomes come in the order in which they ended, up to a frontier before which nothing can come any more.
Outcomes of one stream do not overlap, so that this is also the order of its decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from lockstep.monitoring.alarm_text import raised, visible
from lockstep.monitoring.alarms import Stamp, StreamState, moment
from lockstep.monitoring.alerts import Severity
from lockstep.monitoring.desk_alarms import DeskPlace, DeskState
from lockstep.monitoring.outcomes import SignalOutcome, thinned
from lockstep.monitoring.readings import StreamKind, of_calibration, of_profit, of_ranks, of_wins
from lockstep.monitoring.reference import MonitoringReference, StreamReference
from lockstep.monitoring.wealth import ALPHA
from operations.watch.join import LaneSwap

DESK = "desk"


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """Somebody took note, after all outcomes that had ended by `time`, UTC ns. place: one, or the desk's."""

    place: str
    time: int


@dataclass(frozen=True, kw_only=True)
class AlarmRaised:
    """One alarm from when it was raised; acknowledged: UTC ns, 0 while it is not. See the table `alarms`."""

    place: str
    level: str
    raised: int
    bundle: str
    stream: str
    since: int
    outcomes: int
    sentence: str
    severity: Severity
    acknowledged: int = 0


@dataclass(frozen=True, kw_only=True)
class WealthPoint:
    """What the bets of a place are worth after an outcome; mean: of x since then, for a chart."""

    place: str
    time: int
    bundle: str
    alarm: float
    watch: float
    outcomes: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class LaneStreams:
    """What feeds the streams of one lane.

    lane       its name; swaps: from when on which bundle trades it, by time
    outcomes   of all its bundles
    sizes      contracts that the strategy itself would have traded, by decision and bundle: a portfolio or a
               roll-out trades others, and the reference is of its own
    references by bundle; a bundle without one is in no stream
    """

    lane: str
    swaps: Sequence[LaneSwap]
    outcomes: Sequence[SignalOutcome]
    references: Mapping[str, MonitoringReference]
    sizes: Mapping[tuple[int, str], float] = field(default_factory=dict)


@dataclass
class WatchedStreams:
    """What the streams say; `desk` is None without any reference."""

    desk: DeskState | None = None
    alarms: list[AlarmRaised] = field(default_factory=list)
    wealth: list[WealthPoint] = field(default_factory=list)


def watched(
    lanes: Iterable[LaneStreams], acknowledgements: Iterable[Acknowledgement], *, frontier: int
) -> WatchedStreams:
    """Return what the streams of a desk say up to `frontier`, UTC ns; pure, and the same for any order."""
    found = list(lanes)
    versions = {(each.lane, swap.bundle): swap.version for each in found for swap in each.swaps}
    feeder = _Feeder(versions)
    events: list[tuple[int, int, str, Any]] = []
    for lane in found:
        events += _events(lane)
    events += [(each.time, _ACKNOWLEDGE, each.place, each) for each in acknowledgements]
    events = sorted((each for each in events if each[0] <= frontier), key=lambda each: each[:3])
    for (time, order), group in groupby(events, key=lambda each: each[:2]):
        if order == _OUTCOME:
            feeder.fed(time, _by_place(group))
        else:
            for *_, what in group:
                feeder.happened(time, what)
    return feeder.found


_OUTCOME, _SWAP, _ACKNOWLEDGE = range(3)


def _by_place(group: Iterable[tuple[int, int, str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _, _, name, x in group:
        found.setdefault(name, []).append(x)
    return found


def _events(lane: LaneStreams) -> Iterator[tuple[int, int, str, Any]]:
    """Yield swaps and values of x with their time and the name of their place."""
    for number, swap in enumerate(lane.swaps):
        until = lane.swaps[number + 1].stamp if number + 1 < len(lane.swaps) else None
        reference = lane.references.get(swap.bundle)
        for stream in reference.streams if reference else ():
            name = place_name(lane.lane, stream.stream)
            place = DeskPlace(name=name, bundle=swap.bundle, reference=stream)
            yield swap.stamp, _SWAP, name, place
            own = [
                each
                for each in lane.outcomes
                if each.bundle == swap.bundle
                and each.decision >= swap.stamp
                and (until is None or each.decision < until)
            ]
            for time, x in stream_values(stream, own, lane.sizes):
                if until is None or time <= until:
                    yield time, _OUTCOME, name, x


def place_name(lane: str, stream: StreamKind) -> str:
    """Return the name of a stream's place on the desk.

    >>> place_name("ES", "win_rate")
    'ES win_rate'
    """
    return f"{lane} {stream}"


def stream_values(
    stream: StreamReference, outcomes: Sequence[SignalOutcome], sizes: Mapping[tuple[int, str], float]
) -> Iterator[tuple[int, float]]:
    """Yield when an outcome ended, UTC ns, and what the stream reads of it, in [0, 1], by time.

    Win rate and profits are of trades that were taken; calibration and information coefficient of taken and
    vetoed signals that do not overlap. Probabilities that are missing or impossible are left out.
    """
    if stream.stream in ("win_rate", "pnl"):
        chosen = sorted((each for each in outcomes if each.state == "taken"), key=lambda each: each.exit)
    else:
        chosen = [each for each in thinned(outcomes) if 0.0 <= each.probability <= 1.0]
    if stream.stream == "ic":
        chosen = [each for each in chosen if each.following == each.following]
    values = _READ[stream.stream](stream, chosen, sizes) if chosen else []
    yield from zip((each.exit for each in chosen), values, strict=True)


def _wins(_: StreamReference, chosen: Sequence[SignalOutcome], sizes: Mapping[Any, float]) -> list[float]:
    found: list[float] = of_wins([each.pnl for each in chosen]).tolist()
    return found


def _profits(
    stream: StreamReference, chosen: Sequence[SignalOutcome], sizes: Mapping[tuple[int, str], float]
) -> list[float]:
    low = -stream.zero * stream.scale
    own = [each.pnl * _share(each, sizes) for each in chosen]
    found: list[float] = of_profit(own, low, low + stream.scale).tolist()
    return found


def _share(each: SignalOutcome, sizes: Mapping[tuple[int, str], float]) -> float:
    """Return what a profit is multiplied by, to be that of the strategy's own size."""
    wanted = abs(sizes.get((each.decision, each.bundle), each.quantity))
    return wanted / abs(each.quantity) if each.quantity and wanted else 1.0


def _calibration(_: StreamReference, chosen: Sequence[SignalOutcome], __: Mapping[Any, float]) -> list[float]:
    found: list[float] = of_calibration(
        [each.probability for each in chosen], [int(each.won) for each in chosen]
    ).tolist()
    return found


def _ranks(stream: StreamReference, chosen: Sequence[SignalOutcome], _: Mapping[Any, float]) -> list[float]:
    found: list[float] = of_ranks(
        [each.probability for each in chosen], [each.following for each in chosen],
        forecasts=stream.forecasts, followings=stream.followings,
    ).tolist()  # fmt: skip
    return found


_READ = {"win_rate": _wins, "pnl": _profits, "calibration": _calibration, "ic": _ranks}


class _Feeder:
    """Feeds a desk's state, and notes what was raised in each step."""

    def __init__(self, versions: Mapping[tuple[str, str], str]) -> None:
        self._versions = versions
        self._open: dict[tuple[str, str], int] = {}
        self.found = WatchedStreams()

    def fed(self, time: int, values: Mapping[str, Sequence[float]]) -> None:
        """Take the outcomes of one moment."""
        desk = self.found.desk
        assert desk is not None, "a lane's first decision comes before its first outcome"
        stamps = {name: Stamp(time=time, values=tuple(sorted(each))) for name, each in values.items()}
        after = desk.after(stamps)
        self.found.desk = after
        for place, stream in zip(after.places, after.streams, strict=True):
            if place.name in stamps:
                self._point(place, stream, stamps[place.name].value)
                self._raised(place, stream)
        self.found.wealth.append(
            WealthPoint(
                place=DESK, time=time, bundle="", alarm=after.wealth, watch=0.0,
                outcomes=sum(each.outcomes for each in after.streams), mean=0.0,
            )
        )  # fmt: skip
        if after.raised and (DESK, "ALARM") not in self._open:
            self._note(_of_desk(after))

    def happened(self, time: int, what: DeskPlace | Acknowledgement) -> None:
        """Take a bundle that takes a place, or an acknowledgement."""
        desk = self.found.desk
        if isinstance(what, Acknowledgement):
            if desk is not None:
                self._acknowledged(desk, what)
        elif desk is None:
            self.found.desk = DeskState.new((what,))
        elif what.name in {each.name for each in desk.places}:
            self._closed(what.name, time)
            self.found.desk = desk.replaced(time, what)
        else:
            self.found.desk = desk.joined(time, what)

    def _acknowledged(self, desk: DeskState, what: Acknowledgement) -> None:
        every = [each.name for each in desk.places]
        if what.place not in (*every, DESK):
            return  # of a stream that is no part of the desk's mean, such as slippage
        self.found.desk = desk.acknowledged(what.time, "" if what.place == DESK else what.place)
        names = every if what.place == DESK else [what.place]
        for name in (*names, *((DESK,) if what.place == DESK else ())):
            self._closed(name, what.time)

    def _closed(self, place: str, time: int) -> None:
        for level in ("ALARM", "WATCH"):
            number = self._open.pop((place, level), None)
            if number is not None:
                alarm = self.found.alarms[number]
                self.found.alarms[number] = replace(alarm, acknowledged=time)

    def _point(self, place: DeskPlace, stream: StreamState, x: float) -> None:
        self.found.wealth.append(
            WealthPoint(
                place=place.name, time=stream.time, bundle=place.bundle, alarm=stream.alarm.total,
                watch=stream.watch.total, outcomes=stream.outcomes, mean=x,
            )
        )  # fmt: skip

    def _raised(self, place: DeskPlace, stream: StreamState) -> None:
        lane = place.name.rpartition(" ")[0]
        name = f"{lane}@{self._versions.get((lane, place.bundle)) or place.bundle[:8]}"
        for each in raised(stream, place.reference, name=name):
            if (place.name, each.level) in self._open:
                continue
            gauge = stream.alarm if each.level == "ALARM" else stream.watch
            page = f"alarm-{each.stream.replace('_', '-')}" if each.level == "ALARM" else "watch"
            self._note(
                AlarmRaised(
                    place=place.name, level=each.level, raised=each.raised, bundle=place.bundle,
                    stream=each.stream, since=each.since, outcomes=gauge.outcomes,
                    sentence=f"{each.sentence} {steps(page, place.name)}",
                    severity="alert" if each.level == "ALARM" else "warning",
                )
            )  # fmt: skip

    def _note(self, alarm: AlarmRaised) -> None:
        self._open[alarm.place, alarm.level] = len(self.found.alarms)
        self.found.alarms.append(alarm)


def standings(desk: DeskState | None) -> list[dict[str, Any]]:
    """Return where every stream is, as plain JSON: wealth and thresholds, floors, what a year shows."""
    if desk is None:
        return []
    return [
        {
            "place": place.name,
            "stream": place.reference.stream,
            "bundle": place.bundle,
            "outcomes": stream.outcomes,
            "floor": place.reference.natural(place.reference.floor),
            "estimate": place.reference.natural(place.reference.estimate),
            "alarm": stream.alarm.total,
            "alarm_at": 1.0 / ALPHA,
            "watch": stream.watch.total,
            "watch_at": place.reference.watch_threshold,
            "visible": visible(place.reference),
        }
        for place, stream in zip(desk.places, desk.streams, strict=True)
    ]


def steps(name: str, place: str) -> str:
    """Return where the steps for an alarm are, and how it is acknowledged."""
    return f'See deploy/runbooks/{name}.md; to acknowledge: lockstep monitor ack "{place}".'


def runbook(name: str) -> str:
    """Return where the steps for an alarm are."""
    return f"See deploy/runbooks/{name}.md."


def _of_desk(desk: DeskState) -> AlarmRaised:
    highest = max(zip(desk.streams, desk.places, strict=True), key=lambda each: each[0].alarm.total)
    stream, place = highest
    since = stream.alarm.since or desk.raised
    return AlarmRaised(
        place=DESK, level="ALARM", raised=desk.raised, bundle="", stream="", since=since,
        outcomes=sum(each.outcomes for each in desk.streams), severity="alert",
        sentence=(
            f"ALARM desk: the mean wealth of its {len(desk.streams)} streams reached {desk.wealth:.1f} of "
            f"{1 / ALPHA:g} at {moment(desk.raised)}; most of it is of {place.name}, since about "
            f"{moment(since)[:10]}. A healthy desk does this in at most one year of {round(1 / ALPHA)}. Stop "
            f"new entries or shrink them, start a challenger, then acknowledge. {steps('alarm-desk', DESK)}"
        ),
    )  # fmt: skip
