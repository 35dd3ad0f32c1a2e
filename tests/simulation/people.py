"""The people of a desk: who reports fills, resolves orders and writes commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.live.messages import Event, Irregularity
from lockstep.live.operator import BarCommand, Command, FillCommand, Mailbox, ResolveCommand, RolloutCommand
from lockstep.live.statement import COLUMNS
from simulation.exchange import Fill
from simulation.life import iso

if TYPE_CHECKING:
    from simulation.world import World

_STATEMENT_DELAY = 20.0


class Operator:
    """Hears what the journal says of orders and what the exchange filled; acts after a while.

    lies        symbols whose next resolution will be wrong
    reporting   (symbol, how, seconds) of next reports: `late`, `twice`, `again`, `parts`, `turned`, `lost`
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._mailbox = Mailbox(world.mailbox)
        self._by_hand = world.life.desk.reports == "hand"
        self._number = 0
        self.lies: list[str] = []
        self.reporting: list[tuple[str, str, float]] = []
        self._attention = world.life.desk.attention
        self._quarantined: list[Mapping[str, Any]] = []

    def heard(self, event: Event) -> None:
        """Take note of an entry of the journal: somebody is told of an UNKNOWN order."""
        if event.kind == "irregularity" and event.content["kind"] == "implausible":
            self._quarantined.append(event.content)
        if event.kind == "unknown":
            order_id, symbol = str(event.content["order_id"]), event.symbol
            self._world.agenda.after(self._attention, lambda: self._resolve(order_id, symbol))

    def filled(self, fill: Fill) -> None:
        """Report a fill, as it was drawn."""
        how, by = self._how(fill.symbol)
        usual = self._attention if self._by_hand else _STATEMENT_DELAY
        delay = by if how == "late" else usual
        if how == "lost":
            return
        reports = [fill]
        if how == "parts" and abs(fill.quantity) >= 2.0:
            first = fill.quantity // 2
            reports = [
                fill._replace(fill_id=f"{fill.fill_id}{name}", quantity=part, commission=fill.commission / 2)
                for name, part in (("a", first), ("b", fill.quantity - first))
            ]
        if how == "turned":
            self._report(fill._replace(fill_id=f"{fill.fill_id}t", quantity=-fill.quantity), usual / 2)
        for each in reports:
            self._report(each, delay)
        if how == "twice":
            self._report(fill, delay + by)
        if how == "again":
            self._report(fill._replace(fill_id=f"{fill.fill_id}x"), delay + by)

    def stray(self, symbol: str, order: str, quantity: float, price: float, kind: str) -> None:
        """Report a fill of an order that may never have been."""
        self._number += 1
        now = self._world.clock.true
        self._report(Fill(f"stray-{self._number}", order, symbol, kind, quantity, price, 2.5, now), 0.0)

    def roll_out(self, stage: int, fraction: float) -> None:
        """Record a step of the roll-out."""
        self._post(
            RolloutCommand(stage=stage, fraction=fraction, comparison="", reason="as planned"), "rollout"
        )

    def judge(self, decision: str) -> None:
        """Decide on every bar that the journal calls implausible and that was not decided on."""
        for told in self._quarantined:
            content = {
                "symbol": told["key"].rpartition(":")[0],
                "decision": decision,
                "reason": "looked it up",
            }
            command = BarCommand.model_validate(
                {**content, "key": told["key"], "end": told["end"], "values": tuple(told["values"])}
            )
            self._post(command, "bar")
        self._quarantined.clear()

    def saw(self, irregular: Iterable[Irregularity]) -> None:
        """Take note of irregular bars: somebody is told of those that are quarantined."""
        for each in irregular:
            if each.kind == "implausible":
                self._quarantined.append({"key": str(each.key), "end": each.end, "values": each.values})

    def leave(self, name: str, text: str) -> None:
        """Leave whatever it is in the mailbox."""
        (self._world.mailbox / f"{name}.json").write_text(text, encoding="utf-8")

    def _how(self, symbol: str) -> tuple[str, float]:
        for place, (wanted, how, by) in enumerate(self.reporting):
            if wanted == symbol:
                del self.reporting[place]
                return how, by
        return "usual", 0.0

    def _resolve(self, order_id: str, symbol: str) -> None:
        placed = order_id in self._world.exchange.placed
        if symbol in self.lies:
            self.lies.remove(symbol)
            placed = not placed
        outcome = "placed" if placed else "not_placed"
        command = ResolveCommand.model_validate(
            {"order_id": order_id, "outcome": outcome, "reason": "looked at the broker's list"}
        )
        self._post(command, f"resolve-{order_id}")

    def _report(self, fill: Fill, delay: float) -> None:
        report = self._command if self._by_hand else self._row
        self._world.agenda.after(delay, lambda: report(fill))

    def _row(self, fill: Fill) -> None:
        """Append a row to the broker's statement."""
        path = self._world.statement_file
        told = (
            fill.fill_id, fill.order_id, fill.symbol, fill.kind, f"{fill.quantity:.10g}",
            f"{fill.price:.10g}", f"{fill.commission:.10g}", iso(fill.stamp),
        )  # fmt: skip
        with path.open("a", encoding="utf-8") as statement:
            if statement.tell() == 0:
                statement.write(",".join(COLUMNS) + "\n")
            statement.write(",".join(told) + "\n")

    def _command(self, fill: Fill) -> None:
        rank = 0 if fill.kind == "market" else 1
        command = FillCommand.model_validate(
            {
                "fill_id": fill.fill_id,
                "order_id": fill.order_id,
                "symbol": fill.symbol,
                "order": fill.kind,
                "quantity": fill.quantity,
                "price": fill.price,
                "commission": fill.commission,
                "stamp": fill.stamp,
            }
        )
        self._post(command, f"fill-{fill.stamp:020d}-{rank}-{fill.fill_id}")

    def _post(self, command: Command, name: str) -> None:
        self._number += 1
        unique = name if name.startswith(("fill-", "resolve-")) else f"{name}-{self._number}"
        self._world.audit.note(f"operator posts {unique}")
        self._mailbox.post(command, name=unique)
