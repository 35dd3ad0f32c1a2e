"""The people of a desk: who reports fills, resolves orders and writes commands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.live.codec import content_of
from lockstep.live.events import BarIrregular, Event, OrderUnknown, PositionDiffers
from lockstep.live.messages import Irregularity
from lockstep.live.operator.commands import (
    BarCommand,
    Command,
    FillCommand,
    Mailbox,
    ReconcileCommand,
    ResolveCommand,
    RolloutCommand,
)
from lockstep.live.operator.statement import COLUMNS, POSITION_COLUMNS
from simulation.clock import QUIET
from simulation.exchange import Fill, Holding
from simulation.life import iso
from simulation.venues import DAY, SECOND, venue

if TYPE_CHECKING:
    from simulation.world import World

_STATEMENT_DELAY = 20.0
_EXPORT_DELAY = 30.0
_AFTER_THE_ROLL = 240 * SECOND
_REPORTS_TAKE = 7_200.0


class Operator:
    """Hears what the journal says of orders and what the exchange filled; acts after a while.

    lies        symbols whose next resolution will be wrong
    reporting   (symbol, kind of fill, how, seconds) of next reports; how: `late`, `twice`, `again`, `parts`,
                `turned`, `lost`
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._mailbox = Mailbox(world.mailbox)
        self._by_hand = world.life.desk.reports == "hand"
        self._number = 0
        self.lies: list[str] = []
        self.reporting: list[tuple[str, str, str, float]] = []
        self._attention = world.life.desk.attention
        self._quarantined: list[Mapping[str, Any]] = []

    def heard(self, event: Event) -> None:
        """Take note of an entry of the journal: somebody is told of an UNKNOWN order."""
        if isinstance(event, PositionDiffers) and event.position is not None:
            self._mend(event.symbol, event.position)
        if isinstance(event, BarIrregular) and event.problem == "implausible":
            self._quarantined.append(content_of(event))
        if isinstance(event, OrderUnknown):
            order_id, symbol = event.order_id, event.symbol
            self._world.agenda.after(self._attention, lambda: self._resolve(order_id, symbol))

    def _mend(self, symbol: str, position: float) -> None:
        """Look at positions that differ, and put the broker's side right where no report is on its way."""

        def mend() -> None:
            if self._world.audit.facts.held.get(symbol, 0.0) == position:
                self._put_right(symbol, position)

        self._world.agenda.after(max(self._attention, _REPORTS_TAKE), mend)

    def filled(self, fill: Fill) -> None:
        """Report a fill, as it was drawn."""
        how, by = self._how(fill)
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

    # Positions

    def started(self) -> None:
        """An engine starts: it wants the positions of this start."""
        if self._world.life.desk.mode == "live":
            self._world.agenda.after(_EXPORT_DELAY, self._confirm)

    def confirm_daily(self) -> None:
        """Confirm positions after the beginning of every session day of every instrument."""
        life = self._world.life
        if life.desk.mode != "live":
            return
        rolls = {
            roll
            for each in life.traders
            for roll in venue(each.symbol).rolls
            if life.begins - DAY < roll < life.ends
        }
        for roll in sorted(rolls):
            self._world.agenda.at(roll + _AFTER_THE_ROLL, self._confirm)

    def _confirm(self) -> object:
        """Say what the broker shows: by its export, or by hand."""
        how = self._world.life.desk.positions
        if how == "file":
            self._export()
            return QUIET
        if how == "hand":
            for each in self._world.life.traders:
                self._reconcile(each.symbol)
        return None

    def _held(self, symbol: str) -> float:
        holding = self._world.exchange.holdings.get(symbol)
        return holding.quantity if holding else 0.0

    def _export(self) -> None:
        now = iso(self._world.clock.true)
        symbols = (each.symbol for each in self._world.life.traders)
        rows = [f"{symbol},{self._held(symbol):.10g},{now}" for symbol in symbols]
        path = self._world.positions_file
        path.write_text("\n".join((",".join(POSITION_COLUMNS), *rows, "")), encoding="utf-8")

    def _reconcile(self, symbol: str) -> None:
        command = ReconcileCommand(
            symbol=symbol, position=self._held(symbol), stamp=self._world.clock.true, reason="by the terminal"
        )
        self._post(command, f"reconcile-{symbol}")

    def _put_right(self, symbol: str, position: float) -> None:
        """Trade the broker's side to what the engine holds, by hand, and confirm it."""
        holding = self._world.exchange.holdings.setdefault(symbol, Holding())
        holding.quantity = position
        if not position:
            holding.stop = holding.target = math.nan
        self._reconcile(symbol)

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

    def _how(self, fill: Fill) -> tuple[str, float]:
        kinds = {"any", fill.kind, "exit" if "-exit-" in fill.order_id else "entry"}
        for place, (wanted, of, how, by) in enumerate(self.reporting):
            if wanted == fill.symbol and of in kinds:
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
