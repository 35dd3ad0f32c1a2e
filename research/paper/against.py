"""Live beside backtest: two accounts over the same sessions, their measures, their difference, a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.market.sessions import Dates
from lockstep.metrics import Floats, Integers
from lockstep.monitoring.frozen import ExpectedMeasures
from lockstep.monitoring.parity import COMPLETED, EngineStep
from research.paper.bands import AccountStretch, closed_trades
from research.paper.compare import HALF_A_CENT
from research.report.theme import BAR, GAIN, LOSS, MUTED, axis, figure, time_axis, titled
from research.report.thinning import thin

DESK = "desk"
_LEAST_SESSIONS = 2
_RATIOS = ("cagr", "sharpe", "max_drawdown_fraction")


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountSide:
    """What one of the two accounts did over n sessions; amounts in the account's money.

    pnl          float64 (n,): of each session, net, open positions marked at the close
    net_profit   its sum; trades  closed ones; contracts  that were filled, of entries and exits
    cagr, sharpe, max_drawdown_fraction   as in `lockstep.metrics.Performance`, NaN for fewer than two
                 sessions; the drawdown is seen at every bar of a lane, and at every session of the desk
    """

    pnl: Floats
    net_profit: float
    trades: int
    contracts: float
    cagr: float
    sharpe: float
    max_drawdown_fraction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class AgainstBacktest:
    """A lane, or the desk as the sum of its lanes, beside its backtest.

    name       of the lane, or "desk"; versions   of its bundles, in order
    dates      datetime64[D] (n,), sessions of either account; live, backtest   what they did
    capital    what returns refer to, of the strategy or the portfolio
    left_out   bars that no backtest can be run beside
    refused    orders that the gateway refused
    information_ratio     yearly, of the session differences live minus backtest over the capital; NaN where
               they never vary, as on paper, where they are all 0
    tracking_difference   their sum: what the desk made beyond its backtest, money
    expected   what validation measured of the newest bundle; None without a reference, and of the desk
    """

    name: str
    versions: tuple[str, ...]
    dates: Dates
    live: AccountSide
    backtest: AccountSide
    capital: float
    left_out: int
    refused: int
    information_ratio: float
    tracking_difference: float
    expected: ExpectedMeasures | None = None

    @property
    def difference(self) -> Floats:
        """Live minus backtest of each session, float64 (n,); what is less than half a cent counts as 0."""
        return _difference(self.live.pnl, self.backtest.pnl)

    @property
    def row(self) -> dict[str, Any]:
        """All of it but the arrays, by plain names, for a table or an export; NaN stays NaN."""
        found: dict[str, Any] = {
            "name": self.name,
            "first": str(self.dates[0]) if self.dates.size else "",
            "last": str(self.dates[-1]) if self.dates.size else "",
            "sessions": int(self.dates.size),
            "left_out": self.left_out,
            "refused": self.refused,
            "information_ratio": self.information_ratio,
            "tracking_difference": self.tracking_difference,
        }
        for side, account in (("live", self.live), ("backtest", self.backtest)):
            names = (*_RATIOS, "net_profit", "trades", "contracts")
            found |= {f"{side}_{name}": getattr(account, name) for name in names}
        for name in _RATIOS:
            found[f"expected_{name}"] = math.nan if self.expected is None else getattr(self.expected, name)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveAgainstBacktest:
    """A desk beside its backtest.

    mode, epochs   of the journal that were read; known   UTC ns up to which the settled bars of all lanes go
    unsettled      recorded decisions after `known`, which are left out until their bars have settled
    lanes          by name; desk   their sum, on the capital of the portfolio or the sum of theirs
    notes          one sentence for each lane of which nothing can be compared
    """

    mode: str
    epochs: tuple[int, ...]
    known: int
    unsettled: int
    lanes: tuple[AgainstBacktest, ...]
    desk: AgainstBacktest
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """One plain row per lane, then that of the desk."""
        return tuple(each.row for each in (*self.lanes, self.desk))

    def figure(self, name: str = DESK) -> go.Figure:
        """Return profit of both so far, over their difference; `name` of a lane, or "desk".

        In the light colours of the page kit, whose script replaces them where the reader's system is dark.
        DataError for another name.
        """
        known = {each.name: each for each in (*self.lanes, self.desk)}
        if name not in known:
            raise DataError(f"live against backtest: no lane {name}; it has {', '.join(known)}")
        return _drawn(known[name])


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountBars:
    """Changes of an account, bar by bar: dates (n,), never falling; change (n,) money; trades' results."""

    dates: Dates
    change: Floats
    trades: list[float]
    contracts: float

    @classmethod
    def of(
        cls, stretches: Sequence[AccountStretch], dates_of: Callable[[Integers], Dates], multiplier: float
    ) -> AccountBars:
        """Gather stretches of bars; `dates_of` returns the session dates of bar ends, datetime64[D]."""
        steps = [step for each in stretches for step in each.steps]
        ends = np.array([step.stamp for step in steps], dtype=np.int64)
        return cls(
            dates=dates_of(ends),
            change=np.concatenate([np.diff(each.pnl, prepend=0.0) for each in stretches]),
            trades=[net for each in stretches for _, net in closed_trades(each.steps, multiplier)],
            contracts=_contracts(steps),
        )

    def pnl(self, dates: Dates) -> Floats:
        """Return the sum of the changes of each of `dates`."""
        place = np.searchsorted(dates, self.dates)
        return np.asarray(np.bincount(place, weights=self.change, minlength=dates.size), dtype=np.float64)

    def side(self, dates: Dates, capital: float, per_year: float) -> AccountSide:
        """Return its measures; sessions of the other account in which it has no bar earned nothing."""
        absent = np.setdiff1d(dates, self.dates)
        order = np.argsort(np.concatenate((self.dates, absent)), kind="stable")
        change = np.concatenate((self.change, np.zeros(absent.size)))[order]
        every = np.concatenate((self.dates, absent))[order]
        return side_of(self.pnl(dates), every, change, self.trades, self.contracts, capital, per_year)


def side_of(
    pnl: Floats, dates: Dates, change: Floats, trades: Sequence[float], contracts: float, capital: float,
    per_year: float,
) -> AccountSide:  # fmt: skip
    """Return the measures of an account: `pnl` by session, `change` (n,) at `dates` (n,), never falling."""
    measured = metrics.performance(
        equity=capital + np.cumsum(change),
        session=dates,
        trade_pnl=np.array(trades, dtype=np.float64),
        trade_bars_held=np.zeros(len(trades)),
        position=np.zeros(change.size),
        traded_notional=0.0,
        capital=capital,
        sessions_per_year=per_year,
    )
    enough = pnl.size >= _LEAST_SESSIONS
    return AccountSide(
        pnl=pnl,
        net_profit=float(pnl.sum()),
        trades=len(trades),
        contracts=contracts,
        **{name: getattr(measured, name) if enough else math.nan for name in _RATIOS},
    )


def compared(
    name: str, versions: tuple[str, ...], dates: Dates, live: AccountSide, backtest: AccountSide,
    capital: float, per_year: float, **rest: Any,
) -> AgainstBacktest:  # fmt: skip
    """Return two accounts over the same sessions side by side; `rest` are fields kept as they are."""
    apart = _difference(live.pnl, backtest.pnl)
    ratio = math.nan
    if dates.size >= _LEAST_SESSIONS:
        ratio = metrics.information_ratio(apart / capital, np.zeros(dates.size), per_year)
    return AgainstBacktest(
        name=name,
        versions=versions,
        dates=dates,
        live=live,
        backtest=backtest,
        capital=capital,
        information_ratio=ratio,
        tracking_difference=float(apart.sum()),
        **rest,
    )


def _difference(live: Floats, backtest: Floats) -> Floats:
    # The last bits of an account that goes on over swaps are not those of one that begins anew.
    apart = live - backtest
    return np.where(np.abs(apart) < HALF_A_CENT, 0.0, apart)


def _contracts(steps: Sequence[EngineStep]) -> float:
    filled = (order for step in steps for order in step.orders or () if order.status == COMPLETED)
    return math.fsum(abs(order.quantity) for order in filled)


def _drawn(shown: AgainstBacktest) -> go.Figure:
    drawn = figure(420, hovermode="x unified")
    keep = thin(np.cumsum(shown.live.pnl))
    days = [str(each) for each in shown.dates[keep]]
    for name, side, line in (
        ("Backtest", shown.backtest, {"color": BAR, "width": 3.0}),
        ("Live", shown.live, {"color": GAIN, "width": 1.6}),
    ):
        drawn.add_scatter(
            x=days,
            y=np.cumsum(side.pnl)[keep].round(2).tolist(),
            name=name,
            line=line,
            mode="lines",
            hovertemplate="$%{y:,.2f}",
        )
    drawn.add_scatter(
        x=days,
        y=np.cumsum(shown.difference)[keep].round(2).tolist(),
        name="Difference",
        line={"color": LOSS, "width": 1.6, "dash": "dot"},
        mode="lines",
        yaxis="y2",
        hovertemplate="$%{y:,.2f}",
    )
    drawn.update_layout(
        showlegend=True,
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.36, 1.0], tickformat="$,.0f", title=titled("Profit so far")),
        yaxis2=axis(
            domain=[0.0, 0.28], tickformat="$,.2f", title=titled("Live - backtest"), zeroline=True,
            zerolinecolor=MUTED,
        ),
    )  # fmt: skip
    return drawn
