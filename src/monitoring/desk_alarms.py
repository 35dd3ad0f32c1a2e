"""One ALARM for a whole desk: the mean wealth of its streams, with the promise of a single stream.

The mean of e-detectors is one, whatever they depend on: at 1 / alpha it is false in at most a share alpha of
desk-years. K streams that are watched one by one may be false K times as often, and name what fell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.alarms import Stamp, StreamState, moment
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.wealth import ALPHA


@dataclass(frozen=True, kw_only=True)
class DeskPlace:
    """A stream's place on the desk, such as "COMP win_rate", with who holds it.

    A new bundle takes over the place of the old one; the number of places is fixed while the desk is. Wealth
    that is divided by fewer places than before would have grown without a bet.
    """

    name: str
    bundle: str
    reference: StreamReference


@dataclass(frozen=True, kw_only=True)
class DeskState:
    """The streams of a desk by name of their place, sorted, and its own ALARM.

    time     UTC ns of the last stamp, acknowledgement or change of bundle; 0 before the first
    raised   UTC ns at which the desk's ALARM was raised; 0 while it is not
    """

    places: tuple[DeskPlace, ...]
    streams: tuple[StreamState, ...]
    time: int = 0
    raised: int = 0

    @classmethod
    def new(cls, places: Iterable[DeskPlace]) -> DeskState:
        """Return the state before the first outcome; ConfigError for no place, or one that occurs twice."""
        found = tuple(sorted(places, key=lambda each: each.name))
        names = [each.name for each in found]
        if not found or len(set(names)) < len(names):
            raise ConfigError(f"places of the desk {names}: at least one is needed, and each only once")
        return cls(
            places=found, streams=tuple(StreamState.new(each.bundle, each.reference) for each in found)
        )

    @property
    def wealth(self) -> float:
        """Return the mean of the streams' ALARM wealth."""
        return math.fsum(each.alarm.total for each in self.streams) / len(self.streams)

    def after(self, stamps: Mapping[str, Stamp]) -> DeskState:
        """Return the state after the outcomes of one moment, by place.

        DataError where they are of several moments, or not later than what was seen; ConfigError for a place
        that the desk does not have.
        """
        unknown = sorted(stamps.keys() - {each.name for each in self.places})
        if unknown:
            raise ConfigError(f"places {unknown}: not on this desk; start it anew with them")
        times = {each.time for each in stamps.values()}
        if len(times) != 1 or min(times) <= self.time:
            raise DataError(
                f"outcomes of the desk at {[moment(each) for each in sorted(times)]} after "
                f"{moment(self.time)}: pass those of one later moment together; rebuild where one came late"
            )
        streams = tuple(
            stream.after(stamps[place.name], place.reference) if place.name in stamps else stream
            for place, stream in zip(self.places, self.streams, strict=True)
        )
        following = replace(self, streams=streams, time=min(times))
        reached = not self.raised and following.wealth >= 1.0 / ALPHA
        return replace(following, raised=following.time) if reached else following

    def acknowledged(self, time: int, place: str = "") -> DeskState:
        """Return the state after somebody took note at `time` (UTC ns) of all that is raised.

        place   only of what this place has raised; the desk's own ALARM stays

        What is not raised goes on. Where the desk's own ALARM was, every stream starts again from zero, or
        the same wealth would raise it twice.
        """
        self._require_now(time)
        if place:
            here, streams = self._place(place), list(self.streams)
            streams[here] = streams[here].acknowledged(time)
            return replace(self, streams=tuple(streams), time=time)
        if self.raised:
            restarted = tuple(each.restarted(time) for each in self.streams)
        else:
            restarted = tuple(each.acknowledged(time) for each in self.streams)
        return replace(self, streams=restarted, time=time, raised=0)

    def joined(self, time: int, place: DeskPlace) -> DeskState:
        """Return the state after a place came to the desk at `time` (UTC ns), its stream without wealth.

        The mean over more places is smaller, so that this wins nothing. A place never goes: a stream whose
        bundle has no reference is fed no more, and its wealth stays what it is. ConfigError where the desk
        has it.
        """
        self._require_now(time)
        names = [each.name for each in self.places]
        if place.name in names:
            raise ConfigError(f"place {place.name}: is on this desk; replace what holds it")
        found = sorted(
            [*zip(self.places, self.streams, strict=True),
             (place, StreamState.new(place.bundle, place.reference))],
            key=lambda each: each[0].name,
        )  # fmt: skip
        places, streams = zip(*found, strict=True)
        return replace(self, places=places, streams=streams, time=time)

    def replaced(self, time: int, place: DeskPlace) -> DeskState:
        """Return the state after another bundle took a place at `time` (UTC ns): its stream is new.

        Each change adds at most one month's start to what a year adds.
        """
        self._require_now(time)
        here = self._place(place.name)
        places, streams = list(self.places), list(self.streams)
        places[here], streams[here] = place, StreamState.new(place.bundle, place.reference)
        return replace(self, places=tuple(places), streams=tuple(streams), time=time)

    def _place(self, name: str) -> int:
        names = [each.name for each in self.places]
        if name not in names:
            raise ConfigError(f"place {name}: not on this desk; it has {', '.join(names)}")
        return names.index(name)

    def _require_now(self, time: int) -> None:
        if time < self.time:
            raise DataError(
                f"desk: {moment(time)} is before what was seen at {moment(self.time)}; rebuild, or act now"
            )
