"""Events: what the journal keeps beside bar sets, one class per kind.

A row of the journal holds an event's kind, symbol and time, and its other fields as a JSON object; `codec.py`
leads from one to the other. Kinds and fields on the disk never change their meaning, and rows are never
rewritten. The vocabulary grows by numbered steps, one per version of the journal's schema
(`journal/schema.py`): a class or a field that a later step adds names that step in `since`, and an added
field has the default None, because rows of earlier steps do not have it.

Moments are int64 UTC nanoseconds. Fields have the names of the JSON object, except where a class says
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

Numbers = tuple[float, ...]
Plain = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """What the columns of an event's row hold; `symbol` is empty for an event of the whole desk.

    sequence   of its entry in the journal, 0 before it has one
    """

    kind: ClassVar[str]
    since: ClassVar[int] = 1
    repeats_symbol_after: ClassVar[str] = ""
    """The field behind which the JSON object names the symbol once more; empty where it does not."""
    gathers: ClassVar[str] = ""
    """The mapping whose items stand in the JSON object as if they were fields; empty for none."""

    symbol: str = ""
    time: int = 0
    sequence: int = 0


# Orders


@dataclass(frozen=True, kw_only=True)
class OrderSent(EventRow):
    """An order is about to leave: committed before its first byte.

    unit   symbol of the smaller unit in which it leaves, None for contracts of the instrument itself
    """

    kind: ClassVar[Literal["send"]] = "send"

    order_id: str
    broker: str
    message: Plain
    unit: str | None = field(default=None, metadata={"since": 2})


@dataclass(frozen=True, kw_only=True)
class OrderAcknowledged(EventRow):
    """The broker has taken an order."""

    kind: ClassVar[Literal["acknowledged"]] = "acknowledged"

    order_id: str
    outcome: Literal["acknowledged"] = "acknowledged"
    detail: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class OrderRejected(EventRow):
    """Nothing was placed, and nothing will be."""

    kind: ClassVar[Literal["rejected"]] = "rejected"

    order_id: str
    outcome: Literal["rejected"] = "rejected"
    detail: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class OrderUnknown(EventRow):
    """An order may have been placed; it is never resent."""

    kind: ClassVar[Literal["unknown"]] = "unknown"

    order_id: str
    outcome: Literal["unknown"] = "unknown"
    detail: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class OrderResolved(EventRow):
    """The operator found out what became of an UNKNOWN order."""

    kind: ClassVar[Literal["resolved"]] = "resolved"

    command: str
    order_id: str
    outcome: Literal["placed", "not_placed"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class FillReported(EventRow):
    """A fill at the broker.

    quantity   signed, contracts of the instrument; price   points; commission   USD; stamp   when
    unit       symbol of the smaller unit in which it was told, None for the instrument itself
    """

    kind: ClassVar[Literal["fill"]] = "fill"
    repeats_symbol_after: ClassVar[str] = "order_id"

    command: str
    fill_id: str
    order_id: str
    order: Literal["market", "stop", "target"]
    quantity: float
    price: float
    commission: float
    stamp: int
    unit: str | None = field(default=None, metadata={"since": 2})


@dataclass(frozen=True, kw_only=True)
class OrderRefused(EventRow):
    """The gateway did not let an order through; part of the bar set that decided it."""

    kind: ClassVar[Literal["refusal"]] = "refusal"

    order_id: str
    rule: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class OrdersNetted(EventRow):
    """What the members of an ensemble wanted together; part of the bar set that decided it.

    quantity   signed, contracts, the sum over `members`, by the names of their lanes; 0 where nothing leaves
    """

    kind: ClassVar[Literal["netted"]] = "netted"
    since: ClassVar[int] = 3

    order_id: str
    decision: int
    quantity: float
    members: Plain


@dataclass(frozen=True, kw_only=True)
class OrderSuppressed(EventRow):
    """What the kill switch would have refused in mode live, where the simulation goes on."""

    kind: ClassVar[Literal["suppressed"]] = "suppressed"

    order_id: str
    rule: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class OrderWithdrawn(EventRow):
    """An order was taken back before it left.

    An entry whose model was superseded, or an exit whose position a stop or target has closed.
    """

    kind: ClassVar[Literal["withdrawn"]] = "withdrawn"

    order_id: str
    rule: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ExitAtNextBar(EventRow):
    """A position must be closed with the next decision, for the reason of this code."""

    kind: ClassVar[Literal["must_leave"]] = "must_leave"

    code: int


@dataclass(frozen=True, kw_only=True)
class ExitWithoutBar(EventRow):
    """An exit was ordered without a bar, while the instrument's bars are quarantined or overdue.

    decision   stamp of the newest bar that was not delivered; quantity   signed, contracts
    """

    kind: ClassVar[Literal["leave_now"]] = "leave_now"

    code: int
    decision: int
    order_id: str
    quantity: float


# Models


@dataclass(frozen=True, kw_only=True)
class SwapPending(EventRow):
    """Another version is wanted, and waits for its turn; `obstacle` says for what, if for anything.

    On the disk `from_version` and `to_version` are `from` and `to`.
    """

    kind: ClassVar[Literal["swap_pending"]] = "swap_pending"

    from_version: str = field(metadata={"key": "from"})
    from_sha256: str
    to_version: str = field(metadata={"key": "to"})
    to_sha256: str
    obstacle: str


@dataclass(frozen=True, kw_only=True)
class SwapWithdrawn(EventRow):
    """The present version is the wanted one again. Fields as of `SwapPending`."""

    kind: ClassVar[Literal["swap_withdrawn"]] = "swap_withdrawn"

    from_version: str = field(metadata={"key": "from"})
    from_sha256: str
    to_version: str = field(metadata={"key": "to"})
    to_sha256: str
    obstacle: str


@dataclass(frozen=True, kw_only=True)
class ModelSwapped(EventRow):
    """A version takes over. Fields as of `SwapPending`; `position` is what it inherits, signed contracts."""

    kind: ClassVar[Literal["swap"]] = "swap"

    from_version: str = field(metadata={"key": "from"})
    from_sha256: str
    to_version: str = field(metadata={"key": "to"})
    to_sha256: str
    obstacle: str
    policy: Literal["adopt", "manage_out", "flatten"]
    position: float


# The desk


@dataclass(frozen=True, kw_only=True)
class EngineStarted(EventRow):
    """The journal is reproduced and the engine goes live; `floats` says how the process computes."""

    kind: ClassVar[Literal["start"]] = "start"

    replayed: int
    floats: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineStopped(EventRow):
    """The engine ended in order."""

    kind: ClassVar[Literal["stop"]] = "stop"

    why: str


@dataclass(frozen=True, kw_only=True)
class RolloutMoved(EventRow):
    """The roll-out is at `stage` (from 0), at `fraction` of the size; `comparison` is a hash, or empty.

    units   smaller unit by traded symbol in which entries leave, None where all leave as themselves
    """

    kind: ClassVar[Literal["rollout"]] = "rollout"

    command: str
    stage: int
    fraction: float
    comparison: str
    reason: str
    units: Plain | None = field(default=None, metadata={"since": 2})


@dataclass(frozen=True, kw_only=True)
class PortfolioResumed(EventRow):
    """The operator has ended a halt of the portfolio: drawdowns count from the present equity on."""

    kind: ClassVar[Literal["portfolio_resumed"]] = "portfolio_resumed"
    since: ClassVar[int] = 2

    command: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BarIrregular(EventRow):
    """A bar that was recorded and not traded on, or that never came; see `messages.Irregularity`.

    key   the series, like ES:1h; on the disk `problem` is `kind`
    """

    kind: ClassVar[Literal["irregularity"]] = "irregularity"

    problem: str = field(metadata={"key": "kind"})
    key: str
    end: int
    values: Numbers | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class BarJudged(EventRow):
    """The operator decided about a quarantined bar of the series `key`, like ES:1h."""

    kind: ClassVar[Literal["quarantine"]] = "quarantine"
    repeats_symbol_after: ClassVar[str] = "command"

    command: str
    key: str
    end: int
    values: Numbers
    decision: Literal["accept", "reject"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class CommandRefused(EventRow):
    """A command that cannot be read or carried out; `given` is what of it was understood."""

    kind: ClassVar[Literal["bad_command"]] = "bad_command"
    gathers: ClassVar[str] = "given"

    command: str
    given: Plain = field(default_factory=dict)
    error: str


@dataclass(frozen=True, kw_only=True)
class PositionSeen(EventRow):
    """What the operator saw at the broker: signed contracts, as of `stamp`.

    unit   symbol of the smaller unit in which it was told, None for the instrument itself
    """

    kind: ClassVar[Literal["reconcile"]] = "reconcile"
    repeats_symbol_after: ClassVar[str] = "command"

    command: str
    position: float
    stamp: int
    reason: str
    unit: str | None = field(default=None, metadata={"since": 2})


@dataclass(frozen=True, kw_only=True)
class PositionAgreed(EventRow):
    """The broker's `quantity`, as of `as_of`, is the `position` that the engine books."""

    kind: ClassVar[Literal["reconciled"]] = "reconciled"

    quantity: float
    as_of: int
    source: str
    position: float


@dataclass(frozen=True, kw_only=True)
class PositionDiffers(EventRow):
    """The broker holds something else, or its side cannot be read: then only `detail` is known."""

    kind: ClassVar[Literal["unreconciled"]] = "unreconciled"

    quantity: float | None = None
    as_of: int | None = None
    source: str | None = None
    position: float | None = None
    detail: str


@dataclass(frozen=True, kw_only=True)
class ClockJudged(EventRow):
    """The clock became good or bad."""

    kind: ClassVar[Literal["clock"]] = "clock"

    good: bool
    detail: str


Event = (
    OrderSent | OrderAcknowledged | OrderRejected | OrderUnknown | OrderResolved | FillReported
    | OrderRefused | OrderSuppressed | OrdersNetted | OrderWithdrawn | ExitAtNextBar | ExitWithoutBar
    | SwapPending | SwapWithdrawn | ModelSwapped
    | EngineStarted | EngineStopped | RolloutMoved | PortfolioResumed | BarIrregular | BarJudged
    | CommandRefused | PositionSeen | PositionAgreed | PositionDiffers | ClockJudged
)  # fmt: skip
"""Every event there is: the union is closed, so that a type checker finds the one that a reader forgot."""

OrderEvent = (
    OrderSent | OrderAcknowledged | OrderRejected | OrderUnknown | OrderResolved | FillReported
    | OrderWithdrawn | ExitWithoutBar
)  # fmt: skip
"""What happened to an order after it was decided."""

Told = FillReported | OrderResolved | RolloutMoved | PortfolioResumed | BarJudged | PositionSeen
"""What the operator or a source of fills tells the engine; `CommandRefused` where it cannot be."""

AnyEvent = TypeVar("AnyEvent", bound=EventRow)
