"""Everything that may happen to a desk: a new kind is a function and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.live.messages import Values, Wanted
from simulation import models
from simulation.broker import Conduct
from simulation.life import Incident, stamp
from simulation.venues import key_of

if TYPE_CHECKING:
    from simulation.world import World

USUAL_DELAY = 0.5
VOLUME = 100.0


@dataclass
class Altered:
    """How one bar reaches the desk: usually once, half a second after its end.

    delay   seconds; None for never; first   what is delivered instead of the true values
    more    further deliveries: seconds after the end, and values, None for the true ones
    """

    delay: float | None = USUAL_DELAY
    first: Values | None = None
    more: list[tuple[float, Values | None]] = field(default_factory=list)

    def deliveries(self, true: Values) -> list[tuple[float, Values]]:
        """Return (seconds after the end, values) of every delivery."""
        told = [] if self.delay is None else [(self.delay, self.first or true)]
        return told + [(delay, values or true) for delay, values in self.more]


@dataclass
class Trap:
    """Kills the process at an effect: after `skip` others of its kind; `any` is every kind."""

    effect: str
    when: str
    skip: int
    down: float

    def springs(self, effect: str, when: str) -> bool:
        """Count an effect, and return whether the process dies there."""
        if self.effect not in ("any", effect) or (self.when != when and self.effect != "any"):
            return False
        self.skip -= 1
        return self.skip < 0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of incident.

    sentence   what it is, with its particulars in braces
    alters     changes how the bar (`series`, `end`) is delivered; happens   does something at its time
    """

    sentence: str
    alters: Callable[[Altered, Incident], None] | None = None
    happens: Callable[[World, Incident], None] | None = None


# Bars


def _late(bar: Altered, incident: Incident) -> None:
    bar.delay = incident.told["by"]


def _missing(bar: Altered, incident: Incident) -> None:
    bar.delay = None


def _twice(bar: Altered, incident: Incident) -> None:
    bar.more.append((incident.told["by"], None))


def _corrected(bar: Altered, incident: Incident) -> None:
    bar.more.append((incident.told["by"], (*incident.told["values"], VOLUME)))


def _false_first(bar: Altered, incident: Incident) -> None:
    bar.first = (*incident.told["values"], VOLUME)
    bar.more.append((incident.told["by"], None))


def _foreign(world: World, incident: Incident) -> None:
    told = incident.told
    world.feed.deliver(key_of(told["series"]), stamp(told["end"]), (*told["values"], VOLUME))


# The operator


def _production(world: World, incident: Incident) -> None:
    symbol, version = incident.told["symbol"], incident.told["to"]
    trader = next(each for each in world.life.traders if each.symbol == symbol)
    world.store.wanted[symbol] = Wanted(version, models.digest(symbol, trader.timeframe, version))


def _nothing(world: World, incident: Incident) -> None:
    world.store.wanted[incident.told["symbol"]] = Wanted(absence="its version is retired; choose another one")


def _retired(world: World, incident: Incident) -> None:
    """Delete the file of a version, unless it is in production or the journal needs it."""
    symbol, version = incident.told["symbol"], incident.told["version"]
    trader = next(each for each in world.life.traders if each.symbol == symbol)
    sha256 = models.digest(symbol, trader.timeframe, version)
    needed = world.open_bundles() | {wanted.sha256 for wanted in world.store.wanted.values()}
    if sha256 not in needed:
        world.store.remove(sha256)


def _switch(name: str, *, on: bool) -> Callable[[World, Incident], None]:
    def happens(world: World, incident: Incident) -> None:
        world.switch(name, on=on)

    return happens


def _rollout(world: World, incident: Incident) -> None:
    world.operator.roll_out(incident.told["stage"], incident.told["fraction"])


def _judge(world: World, incident: Incident) -> None:
    world.operator.judge(incident.told["decision"])


def _garbage(world: World, incident: Incident) -> None:
    world.operator.leave(f"garbage-{incident.time}", incident.told["text"])


def _stray(world: World, incident: Incident) -> None:
    told = incident.told
    world.operator.stray(told["symbol"], told["order"], told["quantity"], told["price"], told["kind"])


def _lie(world: World, incident: Incident) -> None:
    world.operator.lies.append(incident.told["symbol"])


# The process and its machine


def _trap(world: World, incident: Incident) -> None:
    told = incident.told
    world.armed.append(Trap(told["effect"], told["when"], told["skip"], told["down"]))


def _kill(world: World, incident: Incident) -> None:
    if world.run is not None and world.run.engine is not None:
        world.kill(incident.told["down"], "while it waits")


def _stop(world: World, incident: Incident) -> None:
    world.down = incident.told["down"]
    world.stop("SIGTERM")


def _disk_full(world: World, incident: Incident) -> None:
    world.disk = incident.told["pages"]
    world.limit_disk()


def _disk_free(world: World, incident: Incident) -> None:
    world.disk = None
    world.limit_disk()


def _time_server(*, on: bool) -> Callable[[World, Incident], None]:
    def happens(world: World, incident: Incident) -> None:
        world.time_server = on

    return happens


def _clock(world: World, incident: Incident) -> None:
    world.clock.offset += int(incident.told["by"] * 1e9)


# The broker, and who reports its fills


def _conduct(world: World, incident: Incident) -> None:
    told = incident.told
    fields = {name: value for name, value in told.items() if name not in ("symbol", "of")}
    world.conducts.append((told["symbol"], told["of"], Conduct(**fields)))


def _report(world: World, incident: Incident) -> None:
    told = incident.told
    world.operator.reporting.append((told["symbol"], told["of"], told["how"], told["by"]))


KINDS: dict[str, Kind] = {
    "late bar": Kind(sentence="the bar {series} of {end} comes {by:g} s after its end", alters=_late),
    "missing bar": Kind(sentence="the bar {series} of {end} never comes", alters=_missing),
    "bar twice": Kind(sentence="the bar {series} of {end} comes again after {by:g} s", alters=_twice),
    "corrected bar": Kind(
        sentence="the bar {series} of {end} is corrected after {by:g} s to {values}", alters=_corrected
    ),
    "absurd bar": Kind(
        sentence="the bar {series} of {end} comes as {values}, and right after {by:g} s", alters=_false_first
    ),
    "broken bar": Kind(
        sentence="the bar {series} of {end} comes broken as {values}, and right after {by:g} s",
        alters=_false_first,
    ),
    "foreign bar": Kind(
        sentence="a bar {series} comes that the calendar does not have: {end} {values}", happens=_foreign
    ),
    "promotion": Kind(sentence="{symbol} {to} is promoted", happens=_production),
    "rollback": Kind(sentence="{symbol} is rolled back to {to}", happens=_production),
    "nothing wanted": Kind(sentence="no version of {symbol} is to be traded any more", happens=_nothing),
    "retirement": Kind(sentence="{symbol} {version} is retired and its file deleted", happens=_retired),
    "HALT": Kind(sentence="the HALT file is made", happens=_switch("halt", on=True)),
    "HALT ends": Kind(sentence="the HALT file is removed", happens=_switch("halt", on=False)),
    "KILL": Kind(sentence="the kill switch is made", happens=_switch("kill", on=True)),
    "KILL ends": Kind(sentence="the kill switch is removed", happens=_switch("kill", on=False)),
    "roll-out": Kind(
        sentence="the roll-out goes to stage {stage}: {fraction:.0%} of the size", happens=_rollout
    ),
    "judgement": Kind(sentence="the operator decides on every quarantined bar: {decision}", happens=_judge),
    "garbage": Kind(sentence="the mailbox gets {text!r}", happens=_garbage),
    "stray fill": Kind(
        sentence="a fill is reported that nobody asked for: {kind} {quantity:+g} {symbol} of {order!r}",
        happens=_stray,
    ),
    "false resolution": Kind(sentence="the next resolution of {symbol} is wrong", happens=_lie),
    "trap": Kind(
        sentence="killed {when} effect {effect!r} after {skip} others; down for {down:g} s", happens=_trap
    ),
    "kill": Kind(sentence="killed while it waits; down for {down:g} s", happens=_kill),
    "stop": Kind(sentence="SIGTERM; down for {down:g} s", happens=_stop),
    "disk full": Kind(sentence="the disk has room for {pages} pages", happens=_disk_full),
    "disk free": Kind(sentence="the disk has room again", happens=_disk_free),
    "no time": Kind(sentence="the time server does not answer", happens=_time_server(on=False)),
    "no time ends": Kind(sentence="the time server answers again", happens=_time_server(on=True)),
    "clock": Kind(sentence="the wall clock jumps by {by:+g} s", happens=_clock),
    "conduct": Kind(
        sentence="the broker answers the next order ({of}) of {symbol} with {answer!r} after {after:g} s; "
        "placed {placed}, filled {share:.0%}, echoes {echo}, turns {turns}",
        happens=_conduct,
    ),
    "report": Kind(sentence="the next fill ({of}) of {symbol} is reported {how} ({by:g} s)", happens=_report),
}
"""Every kind of incident by its name."""


def sentence(incident: Incident) -> str:
    """Return an incident in words."""
    return KINDS[incident.kind].sentence.format(**incident.told)
