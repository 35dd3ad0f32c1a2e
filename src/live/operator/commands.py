"""What an operator tells a running engine: commands in a folder, read at bar boundaries.

The engine is the journal's one writer, so that nobody else writes a fill or a resolution into it. A command
is a JSON file that appears whole in the mailbox folder; the engine journals it, carries it out and removes
the file. A command that was journaled before a crash is known by its id and not carried out twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from lockstep.errors import LiveError, LockstepError
from lockstep.files import replace_file
from lockstep.live.events import (
    BarJudged,
    CommandRefused,
    Event,
    FillReported,
    OrderResolved,
    PortfolioResumed,
    PositionSeen,
    RolloutMoved,
    Told,
)
from lockstep.live.messages import ReportedFill
from lockstep.live.units import SmallerUnit, inside
from lockstep.settings import Settings, read_json, validated


class FillCommand(Settings):
    """A fill at the real broker. quantity signed, contracts; price in points; commission in USD.

    unit   smaller unit in which it was told; symbol and quantity are those of the instrument, see `inside`
    """

    kind: Literal["fill"] = "fill"
    fill_id: str = Field(min_length=1)
    order_id: str = ""
    symbol: str
    order: Literal["market", "stop", "target"] = "market"
    quantity: float = Field(allow_inf_nan=False)
    price: float = Field(allow_inf_nan=False)
    commission: float = Field(ge=0, allow_inf_nan=False)
    stamp: int
    unit: str | None = None

    def inside(self, units: Mapping[str, SmallerUnit]) -> FillCommand:
        """Return the fill in contracts of its instrument; LiveError for no whole steps of a smaller unit."""
        told = inside(units, self.symbol, self.quantity)
        return self if told.unit is None else self.model_copy(update=told._asdict())

    def event(self, name: str) -> FillReported:
        """Return the fill as the journal keeps it; `name` is the command's."""
        return FillReported(command=name, **self.model_dump(exclude={"kind"}))


class ResolveCommand(Settings):
    """What became of an UNKNOWN order: it was placed (its fill will be reported), or it was not."""

    kind: Literal["resolved"] = "resolved"
    order_id: str = Field(min_length=1)
    outcome: Literal["placed", "not_placed"]
    reason: str = Field(min_length=1)

    def event(self, name: str) -> OrderResolved:
        """Return the resolution as the journal keeps it; `name` is the command's."""
        return OrderResolved(command=name, **self.model_dump(exclude={"kind"}))


class RolloutCommand(Settings):
    """A recorded step of the roll-out: to `stage`, at `fraction` of the size; 0 where nothing is sent.

    units   smaller unit by traded symbol, None where there is none
    """

    kind: Literal["rollout"] = "rollout"
    stage: int = Field(ge=0)
    fraction: float = Field(ge=0, le=1)
    comparison: str
    reason: str = Field(min_length=1)
    units: dict[str, str] | None = None

    def event(self, name: str) -> RolloutMoved:
        """Return the step as the journal keeps it; `name` is the command's."""
        return RolloutMoved(command=name, **self.model_dump(exclude={"kind"}))


class ResumeCommand(Settings):
    """End a halt of the portfolio."""

    kind: Literal["portfolio_resumed"] = "portfolio_resumed"
    reason: str = Field(min_length=1)

    def event(self, name: str) -> PortfolioResumed:
        """Return the end of the halt as the journal keeps it; `name` is the command's."""
        return PortfolioResumed(command=name, **self.model_dump(exclude={"kind"}))


class BarCommand(Settings):
    """What to do with a quarantined bar: the market was there (`accept`), or it was not (`reject`).

    key      series, like ES:1h; end   of the bar, UTC ns
    values   (open, high, low, close, volume) that the operator saw: another bar may take its place
    """

    kind: Literal["quarantine"] = "quarantine"
    symbol: str
    key: str
    end: int
    values: tuple[float, ...]
    decision: Literal["accept", "reject"]
    reason: str = Field(min_length=1)

    def event(self, name: str) -> BarJudged:
        """Return the decision as the journal keeps it; `name` is the command's."""
        return BarJudged(command=name, **self.model_dump(exclude={"kind"}))


class ReconcileCommand(Settings):
    """What the broker shows: signed contracts of a symbol, as of `stamp` (UTC ns); unit as of a fill."""

    kind: Literal["reconcile"] = "reconcile"
    symbol: str = Field(min_length=1)
    position: float = Field(allow_inf_nan=False)
    stamp: int
    reason: str = Field(min_length=1)
    unit: str | None = None

    def event(self, name: str) -> PositionSeen:
        """Return the position as the journal keeps it; `name` is the command's."""
        return PositionSeen(command=name, **self.model_dump(exclude={"kind"}))


Command = FillCommand | ResolveCommand | RolloutCommand | ResumeCommand | BarCommand | ReconcileCommand
_KINDS: Mapping[str, type[Command]] = {
    "fill": FillCommand,
    "resolved": ResolveCommand,
    "rollout": RolloutCommand,
    "portfolio_resumed": ResumeCommand,
    "quarantine": BarCommand,
    "reconcile": ReconcileCommand,
}
COMMANDS = (*get_args(Told), CommandRefused)
"""The events that commands become."""


class Mailbox:
    """A folder of commands. `seen` are the ids of commands that the journal holds already."""

    def __init__(self, folder: Path, seen: Iterable[str] = ()) -> None:
        self._folder = folder
        self._seen = set(seen)
        self._handed: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def post(self, command: Command, *, name: str) -> Path:
        """Leave a command under a name that orders it among others; it appears whole or not at all."""
        final = self._folder / f"{name}.json"
        return replace_file(final, command.model_dump_json(indent=2), error=LiveError)

    def read(self) -> list[Told | CommandRefused]:
        """Return the commands that are there, in the order of their names; LiveError names a bad one."""
        events = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stem in self._seen:
                path.unlink(missing_ok=True)
            else:
                self._handed.add(path.stem)
                events.append(_event(path))
        return events

    def done(self, events: Sequence[Event]) -> None:
        """Remove commands that are journaled. Others than those of this folder are not its business."""
        for name in self._handed & {event.command for event in events if isinstance(event, COMMANDS)}:
            self._seen.add(name)
            (self._folder / f"{name}.json").unlink(missing_ok=True)


def waiting(folder: Path) -> list[tuple[str, Command]]:
    """Return (name, command) of what was posted and not yet taken, in the order in which it will be."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(FileNotFoundError, ValueError, LockstepError):
            found.append((path.stem, _command(path)))
    return found


def _command(path: Path) -> Command:
    content = read_json(path)
    kind = str(content.get("kind")) if isinstance(content, dict) else ""
    if kind not in _KINDS:
        raise LiveError(f"kind {kind!r}: known are {', '.join(_KINDS)}")
    return validated(_KINDS[kind], content, where=path.name)


def _event(path: Path) -> Told | CommandRefused:
    """Return a command as an event; one that cannot be read is set aside and becomes an event too."""
    try:
        return _command(path).event(path.stem)
    except (ValueError, LockstepError) as error:
        with suppress(FileNotFoundError):
            path.rename(path.with_suffix(".rejected"))
        return CommandRefused(command=path.stem, error=str(error))


def reported_fill(event: FillReported) -> ReportedFill:
    """Return the fill that an event reports."""
    return ReportedFill(
        fill_id=event.fill_id,
        order_id=event.order_id,
        symbol=event.symbol,
        kind=event.order,
        quantity=event.quantity,
        price=event.price,
        commission=event.commission,
        stamp=event.stamp,
    )
