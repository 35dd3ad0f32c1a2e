"""What the engine asks of a broker: to take orders, and, where it can, to report fills and positions.

The shadow broker: writes down what would be sent, and sends nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from lockstep.errors import LiveError
from lockstep.live.messages import OrderIntent, ReportedFill, SendResult
from lockstep.market.history import Market
from lockstep.plugs import PlugSettings, ReadSecret

Message = Mapping[str, Any]
OnResult = Callable[[SendResult], None]
OnFill = Callable[[ReportedFill], None]


class OutboundBroker(Protocol):
    """Accepts orders and reports the outcome of their messages. Every submitted id gets exactly one result.

    name            for journal and status
    waiting         number of messages waiting or in flight
    faults          number of unexpected errors that its threads survived; should be 0
    takes_net       whether a message can move a position from any size to any other, through 0 as well: what
                    an ensemble needs. Such an order carries no stop and no target

    >>> from lockstep.live.brokers.protocol import ShadowBroker
    >>> all(hasattr(ShadowBroker, name) for name in ("check", "message", "start", "submit", "stop"))
    True
    """

    @property
    def name(self) -> str:
        """The broker's name."""

    @property
    def waiting(self) -> int:
        """How many messages have no result yet."""

    @property
    def faults(self) -> int:
        """How many unexpected errors there were."""

    @property
    def takes_net(self) -> bool:
        """Whether it takes net orders."""

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse (LiveError) symbols that it cannot trade; the value says whether entries carry a stop."""

    def message(self, intent: OrderIntent) -> Message:
        """Return what would be sent for an order, as plain JSON: no secret is in it. Pure."""

    def start(self, on_result: OnResult) -> None:
        """Begin; `on_result` is called from any thread, must be quick, and must not block."""

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Take the message of an order without waiting. LiveError for an id that was submitted before.

        Exits leave before entries, and no instrument waits for another: see `send_queue.py`.
        """

    def stop(self, timeout: float) -> None:
        """Send what is queued, for at most `timeout` seconds; afterwards every id has had its result."""


class FillSource(Protocol):
    """Reports the fills of our orders at a broker: each at least once, under a unique id.

    A fill is reported once, when its order is complete: an account books one fill per order. Of partial
    executions the source reports the sum; see `Executions`. It stores nothing on disk: after a restart it
    reports everything since `since` again, and the engine recognises by the id what is already in its
    journal. So a crash between report and journal loses no fill and books none twice.

    trouble   why no fills can be received at the moment, in words without secrets, or empty. Status and
              alerts show it; a source that cannot reach its server retries by itself and never gives up

    >>> from lockstep.live.brokers.fills import PolledFills
    >>> all(hasattr(PolledFills, name) for name in ("start", "stop"))
    True
    """

    @property
    def trouble(self) -> str:
        """Why no fills can be received at the moment, or empty."""

    def start(self, on_fill: OnFill, *, since: int) -> None:
        """Report fills since `since` (UTC ns) from a thread of its own, the oldest of a symbol first."""

    def stop(self) -> None:
        """End; returns when none of its threads is running, within seconds."""


class Holding(NamedTuple):
    """What a source says of the broker's side: signed contracts as of a moment (UTC ns)."""

    quantity: float
    as_of: int
    source: str


class Holdings(Protocol):
    """A source of holdings that is read again and again, in the engine's thread: it answers at once."""

    def read(self, now: int) -> Mapping[str, Holding]:
        """Return the newest holding by symbol, those that are not known left out."""

    @property
    def trouble(self) -> str:
        """Why it could not be read, or empty."""


class Connection(NamedTuple):
    """A broker as the engine has it: where orders go, and what it tells by itself.

    fills       None: they come from a statement, or from the operator
    positions   what positions are reconciled with where no export is configured; None: it tells none
    """

    orders: OutboundBroker
    fills: FillSource | None = None
    positions: Holdings | None = None


@dataclass(frozen=True, kw_only=True)
class BrokerDesk:
    """What a connection is made from.

    markets   of the traded instruments
    scrub     cuts secrets out of what a server says
    live      False in mode shadow: only messages are asked for, and no secret must be needed
    """

    markets: Mapping[str, Market]
    secret: ReadSecret
    scrub: Callable[[str], str]
    live: bool


class BrokerSettings(PlugSettings):
    """The section `broker` of live.yml; a subclass fixes `kind` and adds the broker's own keys.

    reports_fills   whether its connections bring a source of fills; else mode live needs another one
    """

    reports_fills: ClassVar[bool] = False

    @abstractmethod
    def connect(self, desk: BrokerDesk) -> Connection:
        """Return the connection; ConfigError or LiveError where it cannot be made as declared.

        Nothing is sent and no thread begins before its parts are started.
        """


_KEPT = 1000


class ShadowBroker:
    """Acknowledges every message itself. `of` is the broker whose messages it writes; it is never started.

    sent    the newest (order id, message) pairs; the journal has all of them
    """

    name = "shadow"
    waiting = 0
    faults = 0

    def __init__(self, of: OutboundBroker) -> None:
        self._of = of
        self.takes_net = of.takes_net
        self._on_result: OnResult | None = None
        self.sent: deque[tuple[str, Message]] = deque(maxlen=_KEPT)

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse what the real broker would refuse."""
        self._of.check(protected)

    def message(self, intent: OrderIntent) -> Message:
        """Return the real broker's message."""
        return self._of.message(intent)

    def start(self, on_result: OnResult) -> None:
        """Begin."""
        self._on_result = on_result

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Keep the message and acknowledge it."""
        if self._on_result is None:
            raise LiveError(f"order {intent.order_id}: the shadow broker was not started")
        self.sent.append((intent.order_id, message))
        self._on_result(SendResult(intent.order_id, "acknowledged", "shadow: nothing was sent", 0))

    def stop(self, timeout: float) -> None:
        """Nothing is on its way."""
