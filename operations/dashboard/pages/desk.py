"""The desk: what it earned and holds, what is switched off, and whether somebody has to look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lockstep.errors import JournalError, LiveError, LockstepError, MonitorError
from lockstep.live.journal import Journal
from lockstep.live.status.status import Status, read_status
from lockstep.models.store import ModelStore
from operations.dashboard.account import DeskProfit, ProfitReader
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.pages import desk_tables
from operations.dashboard.recent import RecentEntries, read_recent
from operations.dashboard.words import ago, minute
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from research.report import page as kit
from research.report.page import Tile
from research.report.thinning import thin

STALE_SECONDS = 60.0
"""Seconds without a heartbeat after which an engine counts as not running."""
POINTS = 2_000
_TRADES = """
    SELECT lane, side, entry, exit, quantity, entry_price, exit_price, pnl, version FROM outcomes
    WHERE state = 'taken' ORDER BY exit DESC LIMIT ?
"""
_RECORD = """
    SELECT lane, sum(1) AS trades, sum(pnl > 0) AS won FROM outcomes WHERE state = 'taken'
    GROUP BY lane ORDER BY lane
"""


@dataclass(frozen=True, kw_only=True)
class DeskView:
    """All that the page shows at one moment; what could not be read is None, and `faults` say why."""

    now: int
    status: Status | None
    recent: RecentEntries | None
    profit: DeskProfit | None
    trades: tuple[Mapping[str, Any], ...] | None
    record: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    kill_switch: str | None
    halt: str | None
    faults: tuple[str, ...]

    @property
    def is_running(self) -> bool:
        """Whether the engine is well, by its own heartbeat."""
        return self.status is not None and self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why the engine is not well; None where it is, or nothing is known."""
        return None if self.status is None else self.status.trouble(self.now, stale_seconds=STALE_SECONDS)

    @property
    def attention(self) -> str | None:
        """Why somebody should look; None where nobody has to."""
        if self.status is None:
            return "no status of an engine"
        return self.status.attention(self.now, stale_seconds=STALE_SECONDS)


class DeskReader:
    """Reads a desk again and again; what the account earned is read only as far as it is new."""

    def __init__(self) -> None:
        self._profits: dict[object, ProfitReader] = {}

    def view(self, sources: DashboardSources, now: int) -> DeskView:
        """Return the desk at `now`, UTC ns."""
        faults: list[str] = []
        status = _status(sources, faults)
        recent, profit = self._journal(sources, faults)
        trades, record = _outcomes(sources.monitoring, faults)
        switches = sources.live.switches
        return DeskView(
            now=now,
            status=status,
            recent=recent,
            profit=profit,
            trades=trades,
            record=record,
            versions=_versions(sources.store, faults),
            kill_switch=switches.kill_switch() or (status.kill_switch if status else None),
            halt=switches.halt(),
            faults=tuple(faults),
        )

    def _journal(
        self, sources: DashboardSources, faults: list[str]
    ) -> tuple[RecentEntries | None, DeskProfit | None]:
        path = sources.live.journal
        try:
            with ExitStack() as stack:
                journal = stack.enter_context(Journal.open(path, readonly=True))
                recent = read_recent(journal, sources.live)
                profit = self._profits.setdefault(path, ProfitReader()).read(journal, recent.last)
                return recent, profit
        except JournalError as error:
            faults.append(str(error))
            return None, None

    def pieces(self, sources: DashboardSources, now: int) -> Sequence[Markup]:
        """Return the page."""
        view = self.view(sources, now)
        return [
            _header(view),
            kit.caveats("What there is to say", list(_sentences(view))),
            kit.key_figures(_tiles(view)),
            _grid(desk_tables.positions(view), desk_tables.working(view)),
            _grid(_equity(view)),
            _grid(desk_tables.watched(view.status, view.now), desk_tables.switches(view)),
            _grid(desk_tables.closed_trades(view), desk_tables.by_day(view), desk_tables.by_lane(view)),
            _grid(desk_tables.fills(view), desk_tables.decisions(view)),
            _grid(desk_tables.bars(view), desk_tables.log(view)),
        ]


def _grid(*cards: Markup) -> Markup:
    shown = [each for each in cards if each]
    return kit.grid(shown) if shown else kit.joined()


def _status(sources: DashboardSources, faults: list[str]) -> Status | None:
    try:
        return read_status(sources.live.status)
    except LiveError as error:
        faults.append(str(error))
        return None


def _outcomes(
    monitoring: MonitoringConfig | None, faults: list[str]
) -> tuple[tuple[Mapping[str, Any], ...] | None, Mapping[str, Mapping[str, Any]]]:
    if monitoring is None:
        return None, {}
    try:
        with MonitorDatabase.open(monitoring.database, readonly=True) as database:
            trades = tuple(database.select(_TRADES, desk_tables.SHOWN))
            return trades, {row["lane"]: row for row in database.select(_RECORD)}
    except MonitorError as error:
        faults.append(str(error))
        return None, {}


def _versions(store: ModelStore, faults: list[str]) -> dict[str, str]:
    """Return the version of each bundle by its SHA-256."""
    try:
        models = [model for each in store.manifest().instruments.values() for model in each.values()]
    except LockstepError as error:
        faults.append(str(error))
        return {}
    return {entry.sha256: version for model in models for version, entry in model.versions.items()}


def _header(view: DeskView) -> Markup:
    status, recent = view.status, view.recent
    epoch = recent.epoch if recent else None
    facts = []
    if status is not None:
        facts += [f"mode {status.mode}", f"heartbeat {ago(status.heartbeat, view.now)}"]
    elif epoch is not None:
        facts.append(f"mode {epoch['mode']}")
    if epoch is not None:
        since = f" since {minute(epoch['started'])}" if epoch["started"] else ""
        facts.append(f"epoch {epoch['number']}{since}")
    if recent is not None and recent.last_bars:
        newest = max(recent.last_bars.values())
        facts.append(f"last bar {minute(newest)}, {ago(newest, view.now)}")
    state = _state(view)
    badge = " and ".join(
        name for name, on in (("KILL SWITCH", view.kill_switch), ("HALT", view.halt)) if on is not None
    )
    attention = view.attention
    return kit.header(
        "Desk",
        "all times UTC",
        facts,
        lead=state,
        lead_class="good" if view.is_running else "loss",
        badge=f"{badge} ON" if badge else "",
        verdict=f"Look: {attention}" if attention else "",
        is_loss=attention is not None,
    )


def _state(view: DeskView) -> str:
    if view.status is None:
        return "no status"
    if view.trouble and view.trouble.startswith("stale"):
        return "engine does not answer"
    return view.status.state


def _sentences(view: DeskView) -> Iterator[str]:
    status, epoch = view.status, view.recent.epoch if view.recent else None
    if status is not None and view.trouble is not None:
        yield (
            f"The engine is not running ({view.trouble}). Below is how it left the desk at "
            f"{minute(status.heartbeat)}; nothing is traded now."
        )
    if view.recent is not None and epoch is None:
        yield "The journal has no epoch yet: the first start of the engine begins one."
    if view.recent is not None and epoch is not None and not view.recent.sets:
        yield (
            f"Epoch {epoch['number']} began at {minute(epoch['started'])} ({epoch['reason']}) and has no bar "
            "set yet; positions are those that it began with."
        )
    if view.kill_switch is not None:
        yield f"Kill switch is on: {view.kill_switch}. Nothing that opens or adds to a position is sent."
    if view.halt is not None:
        yield f"HALT is on: {view.halt}. Nothing is ordered in any mode."
    if status is not None and status.unknown_orders:
        yield f"{len(status.unknown_orders)} orders in state UNKNOWN: look at the broker, then resolve them."
    if status is not None and status.quarantined:
        yield f"{len(status.quarantined)} bars in quarantine wait for your decision: lockstep data bars."
    yield from view.faults


def _tiles(view: DeskView) -> Iterator[Tile]:
    status, profit = view.status, view.profit
    today, note = _today(view)
    yield Tile("P&L today", kit.usd(today), note, today < 0)
    if profit is None:
        for name in ("P&L so far", "Open P&L", "Below the peak", "Positions"):
            yield Tile(name, kit.UNDEFINED, "the journal cannot be read")
        return
    yield Tile("P&L so far", kit.usd(profit.total), _since(profit), profit.total < 0)
    lanes = view.recent.lanes if view.recent else ()
    open_profit = math.fsum(desk_tables.open_profit(each) for each in lanes)
    yield Tile("Open P&L", kit.usd(open_profit), "at the last close", open_profit < 0)
    below = float(profit.drawdowns[-1]) if profit.profit.size else 0.0
    worst = float(profit.drawdowns.max()) if profit.profit.size else 0.0
    yield Tile("Below the peak", kit.usd(below), f"at worst {kit.usd(worst)}", below > 0)
    held = sum(1 for each in lanes if each["mark_position"])
    waiting = desk_tables.waiting_count(view)
    unknown = len(status.unknown_orders) if status else 0
    orders = f"{waiting} orders waiting" + (f", {unknown} UNKNOWN" if unknown else "")
    yield Tile("Positions", f"{held} of {len(lanes)}", orders, unknown > 0)


def _since(profit: DeskProfit) -> str:
    return f"since {minute(int(profit.stamps[0]))[:10]}" if profit.stamps.size else "no bar set yet"


def _today(view: DeskView) -> tuple[float, str]:
    if view.status is not None and view.status.profit_today:
        return math.fsum(view.status.profit_today.values()), "since the last session close"
    if view.profit is not None:
        days, gains = view.profit.by_day()
        if days.size:
            return float(gains[-1]), f"UTC day of the last bar, {days[-1]}"
    return math.nan, "nothing is recorded"


def _equity(view: DeskView) -> Markup:
    from research.report.theme import GAIN, LOSS_SOFT, axis, figure, time_axis, titled

    profit = view.profit
    if profit is None or profit.profit.size < 2:
        return kit.card(
            "Profit so far",
            kit.figure_block("desk-profit", None, empty="There are no two bar sets yet."),
            classes="wide",
        )
    kept = thin(profit.profit, POINTS)
    times = np.datetime_as_string(profit.stamps[kept].astype("datetime64[ns]"), unit="s").tolist()
    peak = np.maximum.accumulate(np.maximum(profit.profit, 0.0))[kept]
    drawn = figure(300, xaxis=time_axis(), yaxis=axis(title=titled("USD"), tickformat=",.0f"))
    drawn.add_scatter(
        x=times, y=np.round(peak, 2).tolist(), name="peak", mode="lines", line={"width": 0}, hoverinfo="skip"
    )  # fmt: skip
    drawn.add_scatter(
        x=times, y=np.round(profit.profit[kept], 2).tolist(), name="profit", mode="lines", fill="tonexty",
        fillcolor=LOSS_SOFT, line={"color": GAIN, "width": 1.6}, hovertemplate="%{y:$,.0f}<extra></extra>",
    )  # fmt: skip
    thinned = "" if kept.size == profit.profit.size else (
        f" Drawn from {profit.profit.size:,} bar sets; no high and no low is left out."
    )  # fmt: skip
    return kit.card(
        "Profit so far",
        kit.figure_block("desk-profit", drawn, fit=True),
        caption="All lanes together, open positions at the close; shaded: below the peak. Drag to zoom, "
        f"double-click for all.{thinned}",
        classes="wide",
    )


PAGE = DashboardPage(name="desk", title="Desk", build=DeskReader().pieces)
