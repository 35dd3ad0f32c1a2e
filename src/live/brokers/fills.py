"""What the adapter of a broker needs that reports its fills: sums of executions, and a thread that asks."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable

from lockstep.errors import LiveError, LockstepError
from lockstep.live.brokers.protocol import OnFill
from lockstep.live.messages import ReportedFill

_LOGGER = logging.getLogger("lockstep.live")
_PATIENCE = 10.0


class Executions:
    """Adds up the executions of an order: the account books one fill per order, when the order is done.

    >>> from lockstep.live.messages import ReportedFill
    >>> parts = Executions()
    >>> first = ReportedFill("x1", "1-live-ES-5-entry-1", "ES", "market", 1.0, 5000.0, 1.25, 7)
    >>> parts.add(first, done=False)
    >>> last = first._replace(fill_id="x2", quantity=3.0, price=5001.0, commission=3.75, stamp=9)
    >>> parts.add(last, done=True)
    ReportedFill(fill_id='1-live-ES-5-entry-1/market', order_id='1-live-ES-5-entry-1', symbol='ES', \
kind='market', quantity=4.0, price=5000.75, commission=5.0, stamp=9)
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], dict[str, ReportedFill]] = {}

    def add(self, execution: ReportedFill, *, done: bool) -> ReportedFill | None:
        """Take an execution under the broker's own id; return the whole fill when the order is done.

        An execution that comes again counts once. The fill's id is made of the order's, so that it stays the
        same however often they are reported. Its price is the mean by quantity, its stamp that of the last
        part. None also where the parts add up to nothing.
        """
        parts = self._parts.setdefault((execution.order_id, execution.kind), {})
        parts[execution.fill_id] = execution
        if not done:
            return None
        quantity = math.fsum(each.quantity for each in parts.values())
        if not quantity:
            return None
        value = math.fsum(each.quantity * each.price for each in parts.values())
        return execution._replace(
            fill_id=f"{execution.order_id}/{execution.kind}",
            quantity=quantity,
            price=value / quantity,
            commission=math.fsum(each.commission for each in parts.values()),
            stamp=max(each.stamp for each in parts.values()),
        )


class PolledFills:
    """A `FillSource` that asks a server again and again, from a thread that survives whatever happens.

    ask       returns every whole fill since a moment (UTC ns), the oldest first; LockstepError where it
              cannot. It has to end by itself, within seconds
    seconds   between two questions
    """

    def __init__(self, ask: Callable[[int], Iterable[ReportedFill]], *, seconds: float = 1.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""

    def start(self, on_fill: OnFill, *, since: int) -> None:
        """See `FillSource`; LiveError where it was started before."""
        if self._thread is not None:
            raise LiveError("source of fills: was started before; make a new one")
        self._thread = threading.Thread(target=self._run, args=(on_fill, since), name="fills", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """See `FillSource`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _run(self, on_fill: OnFill, since: int) -> None:
        while not self._stopping.is_set():
            self.trouble = self._asked(on_fill, since)
            self._stopping.wait(self._seconds)

    def _asked(self, on_fill: OnFill, since: int) -> str:
        """Report what there is; return why that was not possible, or empty."""
        try:
            for fill in self._ask(since):
                on_fill(fill)
        except LockstepError as error:
            return str(error)
        except BaseException as error:
            _LOGGER.exception("source of fills: an unexpected error")
            return f"an unexpected {type(error).__name__}; see the log"
        return ""
