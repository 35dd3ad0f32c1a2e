"""`Executions`: what an adapter needs whose broker fills an order in parts."""

from __future__ import annotations

import math

from lockstep.live.messages import ReportedFill


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
