"""What the risk page shows of limits: those of gateway and portfolio, and how much of each is used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from lockstep.errors import LockstepError
from lockstep.live.config import LiveConfig
from lockstep.live.events import RolloutMoved
from lockstep.live.journal import Journal
from lockstep.live.status.status import Status, read_status
from lockstep.market.config import load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.state import CoordinatorState
from research.report import page
from research.report.page import percent, ratio, usd

# Entries of the journal among which the newest decision of a lane is looked for.
_RECENT = 50_000
_MOST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class HeldNow:
    """What the desk holds now, as its status and its journal say.

    status        None where it cannot be read; closes   newest, by lane, points
    state         of the portfolio after the newest set, None without one; steps   of the roll-out
    trouble       sentences about what could not be read
    """

    status: Status | None
    closes: Mapping[str, float] = field(default_factory=dict)
    state: CoordinatorState | None = None
    steps: tuple[RolloutMoved, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def positions(self) -> Mapping[str, float]:
        """Signed contracts by lane; none where the status cannot be read."""
        return {} if self.status is None else self.status.positions

    def worth(self, lane: str) -> float:
        """Return the signed value of a position in USD at the newest close; NaN without one."""
        size = self.positions.get(lane, 0.0)
        if not size:
            return 0.0
        multiplier = load_instruments().instrument(lane).multiplier
        return size * self.closes.get(lane, math.nan) * multiplier


def held_now(live: LiveConfig) -> HeldNow:
    """Read what the desk holds; what cannot be read is in `trouble`."""
    trouble: list[str] = []
    status: Status | None = None
    closes: dict[str, float] = {}
    state, steps = None, []
    try:
        status = read_status(live.status)
    except LockstepError as error:
        trouble.append(str(error))
    try:
        with Journal.open(live.journal, readonly=True) as journal:
            ((last, epoch),) = journal.select(
                "SELECT (SELECT max(sequence) FROM entries), (SELECT max(number) FROM epochs)"
            )
            for lane in live.versions:
                found = journal.select(
                    "SELECT mark_price FROM decisions WHERE symbol = ? AND sequence > ?"
                    " ORDER BY sequence DESC LIMIT 1",
                    lane, (last or 0) - _RECENT,
                )  # fmt: skip
                if found and found[0][0] is not None:
                    closes[lane] = float(found[0][0])
            state = journal.newest_settled(epoch) if epoch else None
            steps = list(journal.events(RolloutMoved))[-_MOST_STEPS:]
    except LockstepError as error:
        trouble.append(str(error))
    return HeldNow(status=status, closes=closes, state=state, steps=tuple(steps), trouble=tuple(trouble))


def limits_used(live: LiveConfig, held: HeldNow) -> Iterator[Markup]:
    """Yield the limits of the gateway, and of the portfolio, with how much of each is used."""
    portfolio = live.traded_portfolio()
    rows = [*_gateway_limits(live, held)]
    yield _used("Limits of the gateway", rows, "They hold for whatever opens a position; exits have none.")
    if portfolio is not None:
        caption = f"Portfolio {portfolio.name} on {usd(portfolio.capital)} capital."
        yield _used("Limits of the portfolio", list(_portfolio_limits(portfolio, held)), caption)


Limit = tuple[str, float | None, float, str]


def _used(title: str, rows: Sequence[Limit], caption: str) -> Markup:
    cells = []
    for name, used, allowed, unit in rows:
        share = None if used is None else used / allowed
        text = percent(share, 0)
        reached = share is not None and share >= 1.0
        cells.append((
            name, page.failed(f"{text}, reached") if reached else text, ratio(used), ratio(allowed), unit,
        ))  # fmt: skip
    return page.card(
        title,
        page.table(("limit", "share used", "used", "allowed", "unit"), cells),
        caption=f"{caption} A dash: judged at each order, from what only the engine knows.",
        classes="wide",
    )


def _gateway_limits(live: LiveConfig, held: HeldNow) -> Iterator[Limit]:
    limits, known = live.limits, held.status is not None
    by_symbol: dict[str, float] = {}
    worth: dict[str, float] = {}
    for lane in live.versions:
        symbol = traded_symbol(lane)
        by_symbol[symbol] = by_symbol.get(symbol, 0.0) + held.positions.get(lane, 0.0)
        worth[symbol] = worth.get(symbol, 0.0) + held.worth(lane)
    for symbol, size in sorted(by_symbol.items()):
        allowed = limits.by_symbol.get(symbol, limits.max_contracts)
        yield f"position of {symbol}", abs(size) if known else None, allowed, "contracts"
    total = math.fsum(map(abs, by_symbol.values())) if known else None
    yield "all positions", total, limits.max_total_contracts, "contracts"
    if limits.max_notional is not None:
        for symbol, value in sorted(worth.items()):
            yield f"worth of {symbol}", abs(value) if known else None, limits.max_notional, "USD"
    if limits.max_total_notional is not None:
        everything = math.fsum(map(abs, worth.values())) if known else None
        yield "worth of all positions", everything, limits.max_total_notional, "USD"
    loss: float | None = None
    if held.status is not None:
        loss = max(0.0, -math.fsum(held.status.profit_today.values()))
    yield "loss of the day", loss, limits.max_daily_loss, "USD"
    yield "orders of an instrument a day", None, float(limits.max_orders_per_day), "orders"


def _portfolio_limits(portfolio: PortfolioConfig, held: HeldNow) -> Iterator[Limit]:
    limits, state, capital = portfolio.limits, held.state, portfolio.capital
    rooms = {} if state is None else {each.symbol: each.room for each in state.lanes}
    known = state is not None
    multipliers = {lane: load_instruments().instrument(lane).multiplier for lane in rooms}
    values = {} if state is None else {
        each.symbol: each.room * each.close * multipliers[each.symbol] if each.room else 0.0
        for each in state.lanes
    }  # fmt: skip
    taken: Mapping[str, float] = (
        {}
        if not known
        else {
            "positions": float(sum(bool(room) for room in rooms.values())),
            "contracts": math.fsum(map(abs, rooms.values())),
            "gross": math.fsum(map(abs, values.values())) / capital,
            "net": abs(math.fsum(values.values())) / capital,
        }
    )
    sums: Sequence[tuple[str, float | None, float | None, str]] = (
        ("open positions", taken.get("positions"), limits.max_positions, "positions"),
        ("contracts", taken.get("contracts"), limits.max_total_contracts, "contracts"),
        ("gross value", taken.get("gross"), limits.max_gross, "of the capital"),
        ("net value", taken.get("net"), limits.max_net, "of the capital"),
        ("margin", None, limits.max_margin, "of the equity"),
        (
            "volatility a year",
            None,
            limits.volatility.target if limits.volatility else None,
            "of the capital",
        ),
    )
    for name, used, allowed, unit in sums:
        if allowed is not None:
            yield name, used, float(allowed), unit
    for name, group in portfolio.groups.items():
        mine = [each for each in rooms if traded_symbol(each) in group.symbols]
        if group.max_positions is not None:
            held_now = sum(bool(rooms[each]) for each in mine) if known else None
            yield f"{name}: positions", held_now, float(group.max_positions), "positions"
        if group.max_gross is not None:
            gross = math.fsum(abs(values[each]) for each in mine) / capital if known else None
            yield f"{name}: gross value", gross, group.max_gross, "of the capital"
    if limits.daily_loss is not None:
        loss = None if state is None else max(0.0, (state.baseline - state.equity) / capital)
        yield "loss of the day", loss, limits.daily_loss.fraction, "of the capital"
    if limits.drawdown is not None:
        fallen = None if state is None else state.drawdown
        for tier in limits.drawdown.tiers:
            yield f"drawdown, sizes x {tier.scale:g}", fallen, tier.at, "of the capital"
        if limits.drawdown.halt is not None:
            yield "drawdown, halt", fallen, limits.drawdown.halt, "of the capital"
