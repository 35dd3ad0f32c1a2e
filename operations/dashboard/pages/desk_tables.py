"""The tables of the desk page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lockstep.live.operator.open_orders import UNKNOWN, OrderName
from lockstep.live.status.monitor import ALARM, ALERT
from lockstep.live.status.status import Status
from lockstep.strategy.matching import QUANTITY
from operations.dashboard.recent import SHOWN
from operations.dashboard.words import ago, contracts, minute, money
from research.report import page as kit

if TYPE_CHECKING:
    from operations.dashboard.pages.desk import DeskView

__all__ = ["SHOWN"]

_DAYS = 10
_LONGEST = 240  # characters of an event's fields

Fact = tuple[str, str, str]


def open_profit(lane: Mapping[str, Any]) -> float:
    """Return what an open position has earned by its mark, USD; 0 where flat or not marked."""
    if not lane["mark_position"] or lane["mark_equity"] is None or lane["mark_cash"] is None:
        return 0.0
    return float(lane["mark_equity"] - lane["mark_cash"])


def waiting_count(view: DeskView) -> int:
    """Return how many orders wait, in accounts and at the broker."""
    return 0 if view.recent is None else len(list(_waiting(view)))


def _listed(
    title: str, head: Sequence[str], rows: list[Sequence[str]], *, empty: str, caption: str = "",
    classes: str = "", wide: bool = False,
) -> Markup:  # fmt: skip
    content = kit.table(head, rows, classes=classes) if rows else kit.empty_block(empty)
    return kit.card(title, content, caption=caption, classes="wide" if wide else "")


def positions(view: DeskView) -> Markup:
    """Return what each lane holds."""
    if view.recent is None:
        return kit.joined()
    rows: list[Sequence[str]] = []
    for lane in view.recent.lanes:
        held = bool(lane["mark_position"])
        bundle = lane["bundle"]
        rows.append(
            (
                lane["symbol"], contracts(lane["mark_position"]),
                *(kit.price(lane[name]) if held else "" for name in ("entry_price", "mark_price")),
                *(kit.price(lane[name]) if held else "" for name in ("stop", "target")),
                money(open_profit(lane)) if held else "", f"{lane['bars_held']:,}" if held else "",
                view.versions.get(bundle, bundle[:8]),
            )
        )  # fmt: skip
    head = ("lane", "contracts", "entry", "close", "stop", "target", "open P&L", "bars", "version")
    return _listed("Positions", head, rows, empty="No lane is traded yet.", wide=True)


def working(view: DeskView) -> Markup:
    """Return orders that wait to fill, and those about which nobody knows."""
    if view.recent is None and not (view.status and view.status.unknown_orders):
        return kit.joined()
    return _listed(
        "Orders that wait",
        ("lane", "order", "contracts", "decided", "state", "detail"),
        list(_waiting(view)),
        empty="No order waits.",
        classes="words",
        wide=True,
    )


def _waiting(view: DeskView) -> Iterator[Sequence[str]]:
    told = set()
    for order, step in view.recent.working.items() if view.recent else ():
        told.add(order)
        name = OrderName.parse(order)
        state = kit.failed("UNKNOWN") if step.state == UNKNOWN else step.state
        yield name.symbol, name.intent, "", minute(name.decision), state, f"{order} {step.detail}".strip()
    for order in view.status.unknown_orders if view.status else ():
        if order not in told:
            told.add(order)
            yield (
                order.split("-")[2] if order.count("-") > 3 else "",
                "",
                "",
                "",
                kit.failed("UNKNOWN"),
                order,
            )
    for lane in view.recent.lanes if view.recent else ():
        order = lane["waiting"]
        if order is not None and order["order_id"] not in told:
            yield (
                lane["symbol"], order["intent"], contracts(order["terms"][QUANTITY]),
                minute(order["decision"]), "waits for the next bar", order["reason"],
            )  # fmt: skip


def watched(status: Status | None, now: int) -> Markup:
    """Return what the monitor of the desk said: alarms, drift, bad input, and its age."""
    if status is None:
        return kit.joined()
    if status.monitor_fault:
        return kit.card("Monitor", kit.paragraph(status.monitor_fault, "loss"))
    if status.monitor is None:
        text = "Nobody watches this desk. Start with: lockstep monitor run"
        return kit.card("Monitor", kit.empty_block(text))
    found = status.monitor
    rows: list[Sequence[str]] = [
        (kit.failed(each.level) if each.level == ALARM else each.level, each.place, each.sentence)
        for each in found.alarms
    ]
    for look in found.drift:
        word = kit.failed("broken feature") if look.severity == ALERT else look.severity
        rows.append((word, look.lane, look.sentence))
    rows += [("no reference", lane, why) for lane, why in sorted(found.references.items()) if why]
    rows += [("note", "", each) for each in found.notes]
    stale = found.is_stale(now)
    age = f"Last run {ago(found.written, now)}" + (": stale, the desk is not watched." if stale else ".")
    wealth = "" if math.isnan(found.wealth) else f" Mean wealth {found.wealth:.2f}; ALARM at 20."
    known = f" Outcomes are known up to {minute(found.frontier)}." if found.frontier else ""
    summary = kit.paragraph(f"{age}{known}{wealth}", "loss" if stale else "caption")
    table = (
        kit.table(("", "where", "what"), rows, classes="words")
        if rows
        else kit.empty_block("No alarm, no drift, no bad input.")
    )
    return kit.card("Monitor", kit.joined(summary, table))


def switches(view: DeskView) -> Markup:
    """Return what is on and off, and what the engine counts."""
    rows: list[Fact] = [
        ("Kill switch", "", kit.failed(view.kill_switch) if view.kill_switch else "off"),
        ("HALT", "", kit.failed(view.halt) if view.halt else "off"),
    ]
    if view.recent is not None and view.recent.epoch is not None:
        told = view.status.rollout if view.status else ""
        rows.append(("Roll-out", "of orders to a broker", told or view.recent.rollout))
        reason = view.recent.epoch["reason"]
        rows.append(("Epoch", f"since {minute(view.recent.epoch['started'])}", reason))
    rows += _engine(view.status) if view.status else []
    return kit.card("Switches and engine", kit.facts_table(rows))


def _engine(status: Status) -> Iterator[Fact]:
    if status.portfolio:
        held = status.portfolio
        stops = " ".join(
            text for name, text in (("stopped", "no entry today"), ("halted", "HALTED")) if held[name]
        )
        text = f"equity {kit.usd(held['equity'])}, drawdown {kit.percent(held['drawdown'])}"
        sizes = "" if held["scale"] == 1.0 else f", new sizes {kit.TIMES} {held['scale']:g}"
        yield "Portfolio", "", kit.joined(text, sizes, " ", kit.failed(stops) if stops else "")
    if status.risk is not None:
        yield "Risk", "as last measured", status.risk.text
    for name, note, alarming in (
        ("Clock", "not to be trusted", status.clock),
        ("Fills", "the broker's are not heard", status.fills),
        ("Unreconciled", "positions", _pairs(status.unreconciled)),
        ("Waiting versions", "why they wait", _pairs(status.pending_swaps)),
        ("Quarantined bars", "lockstep data bars", ", ".join(status.quarantined)),
        ("Faults", "that a thread survived", _pairs({k: v for k, v in status.faults.items() if v})),
    ):
        if alarming:
            yield name, note, kit.failed(alarming)
    cold = ", ".join(f"{w.symbol} {w.feature} {w.seen} of {w.needed} bars" for w in status.cold_windows)
    for name, note, quiet in (
        ("Cold windows", "no trade before they are full", cold),
        ("Versions", "", _pairs(status.versions)),
        ("Pinned", "", _pairs(status.pinned)),
        ("Queues", "what waits", _pairs(status.queues)),
        ("Alerts", "by fate", _pairs(status.alerts)),
        ("Counted", "since the start", _pairs(status.counters)),
    ):
        if quiet:
            yield name, note, quiet
    yield "Started", "", minute(status.started)


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def closed_trades(view: DeskView) -> Markup:
    """Return the newest round trips, which the monitor follows."""
    if view.trades is None:
        return kit.joined()
    rows: list[Sequence[str]] = [
        (
            each["lane"], contracts(each["quantity"] * each["side"]), minute(each["entry"]),
            kit.price(each["entry_price"]), minute(each["exit"]), kit.price(each["exit_price"]),
            money(each["pnl"]), each["version"],
        )
        for each in view.trades
    ]  # fmt: skip
    head = ("lane", "contracts", "entry", "at", "exit", "at", "P&L", "version")
    return _listed(
        "Closed trades", head, rows, empty="No trade has ended yet.", wide=True,
        caption=f"The newest {SHOWN}, as the monitor knows them.",
    )  # fmt: skip


def by_day(view: DeskView) -> Markup:
    """Return the profit of the newest days."""
    if view.profit is None:
        return kit.joined()
    days, gains = view.profit.by_day()
    rows: list[Sequence[str]] = [
        (str(day), money(gain)) for day, gain in zip(days[-_DAYS:][::-1], gains[-_DAYS:][::-1], strict=True)
    ]
    return _listed(
        "Profit by day", ("day", "P&L"), rows, empty="No bar set yet.",
        caption=f"UTC days of the bars, the newest {_DAYS}.",
    )  # fmt: skip


def by_lane(view: DeskView) -> Markup:
    """Return profit, trades and share of winners by lane."""
    if view.profit is None:
        return kit.joined()
    rows: list[Sequence[str]] = []
    for lane, profit in sorted(view.profit.lanes.items(), key=lambda item: -item[1]):
        known = view.record.get(lane)
        trades, won = (known["trades"], known["won"]) if known else (None, None)
        share = won / trades if trades and won is not None else None
        rows.append((lane, kit.count(trades), kit.percent(share), money(profit)))
    caption = "Trades and winners as the monitor knows them." if view.trades is not None else ""
    return _listed(
        "Profit by lane", ("lane", "trades", "won", "P&L so far"), rows, empty="No bar set yet.",
        caption=caption,
    )  # fmt: skip


def fills(view: DeskView) -> Markup:
    """Return the newest fills."""
    if view.recent is None:
        return kit.joined()
    rows: list[Sequence[str]] = [
        (
            each["symbol"], minute(each["stamp"]), contracts(each["quantity"]), kit.price(each["price"]),
            kit.usd((each["commission"] or 0.0) + (each["slippage"] or 0.0), 2),
            f"{each['intent']}: {each['reason']}" if each["reason"] != each["intent"] else each["intent"],
        )
        for each in view.recent.fills
    ]  # fmt: skip
    head = ("lane", "bar", "contracts", "price", "costs", "why")
    return _listed("Newest fills", head, rows, empty="Nothing has been filled yet.", classes="words")


def decisions(view: DeskView) -> Markup:
    """Return the newest decisions with their reasons."""
    if view.recent is None:
        return kit.joined()
    rows: list[Sequence[str]] = [
        (
            each["symbol"], minute(each["stamp"]), kit.price(each["mark_price"]),
            contracts(each["mark_position"]), kit.ratio(each["probability"], 3), each["reason"],
        )
        for each in view.recent.decisions
    ]  # fmt: skip
    head = ("lane", "bar", "close", "held", "probability", "decision")
    return _listed("Newest decisions", head, rows, empty="No decision in this epoch yet.", classes="words")


def bars(view: DeskView) -> Markup:
    """Return the newest bar of each series and its age."""
    known = dict(view.recent.last_bars) if view.recent else {}
    for series, stamp in view.status.last_bars.items() if view.status else ():
        known[series] = max(stamp, known.get(series, 0))
    rows: list[Sequence[str]] = [
        (series, minute(stamp), ago(stamp, view.now)) for series, stamp in sorted(known.items())
    ]
    return _listed("Last bars", ("series", "end", "age"), rows, empty="No bar has come yet.")


def log(view: DeskView) -> Markup:
    """Return the newest events of the journal."""
    if view.recent is None:
        return kit.joined()
    rows: list[Sequence[str]] = []
    for each in view.recent.events:
        told = _pairs({name: value for name, value in each["content"].items() if value not in ("", None)})
        text = told if len(told) <= _LONGEST else f"{told[:_LONGEST]} …"
        rows.append((minute(each["time"]), each["kind"].replace("_", " "), each["symbol"], text))
    head = ("time", "event", "lane", "what")
    return _listed("Log", head, rows, empty="Nothing has happened yet.", classes="words log")
