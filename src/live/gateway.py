"""The order gateway: the one place that every order passes before it may leave the house."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lockstep.errors import LiveError
from lockstep.live.context import Context
from lockstep.live.limits import CONDITIONS, ROOM, Limits, Markets, Rule
from lockstep.live.messages import Mode, OrderIntent, Refusal
from lockstep.live.switches import Switches

__all__ = ["Context", "Gateway"]

Rules = tuple[tuple[str, Rule], ...]
Verdict = tuple[str, str] | None


class Gateway:
    """Reviews orders. Pure but for the switches, whose files it reads at every order.

    Exits pass whatever the limits and the kill switch say: only HALT without `flatten`, and an id that
    was let through before, stop them. The kill switch refuses in mode `live` alone; paper and shadow go
    on simulating, and `suppressed` tells what it would have refused. All else holds in every mode.
    """

    def __init__(self, *, limits: Limits, switches: Switches, mode: Mode, markets: Markets) -> None:
        """Take the market of every traded symbol; the first thread that asks for a review owns it."""
        self._limits = limits
        self._switches = switches
        self._mode = mode
        self._markets = dict(markets)
        self._owner: int | None = None

    def review(self, intent: OrderIntent, context: Context) -> Refusal | None:
        """Return why the order may not go, or None.

        LiveError where a second thread asks: two reviews at once could both see room for one order.
        """
        self._require_one_thread()
        if intent.order_id in context.reviewed:
            return Refusal(intent.order_id, "duplicate", "an order with this id was let through before")
        return _refusal(intent, self._switched(intent) or self._limited(intent, context, CONDITIONS + ROOM))

    def review_all(self, intents: Sequence[OrderIntent], context: Context) -> tuple[Refusal | None, ...]:
        """Review orders of one stamp in their order; each sees the ones before it that were let through."""
        verdicts = []
        for intent in intents:
            refusal = self.review(intent, context)
            verdicts.append(refusal)
            context = context if refusal else context.after(intent)
        return tuple(verdicts)

    def release(self, intent: OrderIntent, context: Context) -> Refusal | None:
        """Return why an order that was let through, and waited for the open, may not leave now, or None.

        What may have changed meanwhile is looked at again, with the context of now: switches, UNKNOWN
        orders, market hours, age of the data, price and the day's loss. Its room it has.
        """
        self._require_one_thread()
        return _refusal(intent, self._switched(intent) or self._limited(intent, context, CONDITIONS))

    def suppressed(self, intent: OrderIntent) -> Refusal | None:
        """Return what the kill switch would refuse in mode `live`; for paper and shadow to report."""
        return _refusal(intent, self._killed(intent))

    def _switched(self, intent: OrderIntent) -> Verdict:
        halted = self._switches.halt()
        if halted and (intent.opens or not self._switches.flatten):
            return "halt", halted
        return self._killed(intent) if self._mode == "live" else None

    def _killed(self, intent: OrderIntent) -> Verdict:
        reason = self._switches.kill_switch() if intent.opens else None
        return ("kill_switch", reason) if reason else None

    def _limited(self, intent: OrderIntent, context: Context, rules: Rules) -> Verdict:
        for name, rule in rules if intent.opens else ():
            detail = rule(intent, context, self._limits, self._markets)
            if detail:
                return name, detail
        return None

    def _require_one_thread(self) -> None:
        self._owner = self._owner or threading.get_ident()
        if self._owner != threading.get_ident():
            raise LiveError("gateway: orders are reviewed by the engine's thread alone; hand them to it")


def _refusal(intent: OrderIntent, verdict: Verdict) -> Refusal | None:
    return Refusal(intent.order_id, *verdict) if verdict else None
