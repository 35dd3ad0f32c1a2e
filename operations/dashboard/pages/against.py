"""Live against backtest: accounts beside their backtests, and what fills cost beyond the cost model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.monitoring.slippage import STREAMS, TOLERANCE, running
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.parts import (
    absent,
    add_line,
    element_id,
    guarded,
    head,
    monitor_rows,
    number,
    parts_of,
    thinned_rows,
    times,
    watched,
)
from research.report import page
from research.report.page import Tile, coloured, count, percent, ratio, usd
from research.report.theme import ACCENT, BAR, GAIN, LOSS, axis, figure, level, time_axis, titled

if TYPE_CHECKING:
    from operations.watch.report import MonitorReport

_DESK = "desk"
# Charts of further lanes are left out, and those whose difference is largest are shown; tables have all.
_MOST_CHARTS = 12
# Fills of a stream from which the running mean and its bounds are made.
_MOST_FILLS = 5_000
_MEASURES = (
    ("CAGR, a year", "cagr", percent),
    ("Sharpe ratio, a year", "sharpe", ratio),
    ("Deepest drawdown", "max_drawdown_fraction", percent),
    ("Net profit, USD", "net_profit", usd),
    ("Closed trades", "trades", count),
    ("Contracts filled", "contracts", count),
)


def build(sources: DashboardSources, now: int) -> Sequence[Markup]:
    """Return the page's pieces; see `DashboardPage`."""
    report = watched(sources)
    title = head("Live against backtest", "The same bundles on settled bars", report, now)
    if isinstance(report, str):
        return title, absent("Live against backtest", report)
    rows = sorted(report.against, key=lambda row: (row["name"] != _DESK, row["name"]))
    accounts = guarded("Live against backtest", lambda: _accounts(rows, report))
    fills = guarded("Slippage", lambda: _slippage(monitor_rows(sources, "fills", "ticks IS NOT NULL")))
    tiles = guarded("Live against backtest", lambda: [page.key_figures(_tiles(each)) for each in rows[:1]])
    return title, *tiles, *parts_of({"Accounts": accounts, "Fills": fills})


def _tiles(row: Mapping[str, Any]) -> Iterator[Tile]:
    for side in ("live", "backtest"):
        profit = row[f"{side}_net_profit"]
        trades = f"{count(row[f'{side}_trades'])} closed trades"
        yield Tile(f"Net profit, {side}", usd(profit), trades, (profit or 0.0) < 0.0)
    apart = row["tracking_difference"]
    yield Tile("Difference", usd(apart, 2), "live minus backtest, USD", (apart or 0.0) < 0.0)
    yield Tile("Information ratio", ratio(row["information_ratio"]), "of the difference, a year")
    yield Tile("Sessions", count(row["sessions"]), f"{row['first']} to {row['last']}")


def _accounts(rows: Sequence[Mapping[str, Any]], report: MonitorReport) -> Iterator[Markup]:
    told = [each for each in report.notes if each.startswith("live against backtest: ")]
    if not rows:
        yield absent("Accounts", told[0] if told else "No account was compared yet: run the monitor.")
        return
    shown = sorted(rows, key=lambda row: (row["name"] != _DESK, -abs(row["tracking_difference"] or 0.0)))
    drawn = {row["name"] for row in shown[:_MOST_CHARTS]}
    alone = len(rows) == 2
    for row in rows:
        # A desk of one lane is that lane.
        if row["name"] in drawn and not (alone and row["name"] == _DESK):
            yield _account(row, report.curves.get(row["name"]), classes="wide" if alone else "")
    yield page.card(
        "All accounts",
        page.table(
            ("account", "sessions", "profit, live", "profit, backtest", "difference",
             "information ratio, a year", "refused orders", "bars left out"),
            [
                (row["name"], count(row["sessions"]), coloured(usd(row["live_net_profit"])),
                 coloured(usd(row["backtest_net_profit"])), coloured(usd(row["tracking_difference"], 2)),
                 ratio(row["information_ratio"]), count(row["refused"]), count(row["left_out"]))
                for row in rows
            ],
        ),
        caption="Bars are left out where no backtest can be run beside the account. The information ratio "
        "is undefined where the difference never varies, as on paper.",
        classes="wide",
    )  # fmt: skip


def _account(row: Mapping[str, Any], curve: Mapping[str, list[Any]] | None, *, classes: str = "") -> Markup:
    name = row["name"]
    cells = [
        (label, *(write(row.get(f"{side}_{key}")) for side in ("live", "backtest", "expected")))
        for label, key, write in _MEASURES
    ]
    picture = page.figure_block(
        element_id("against", name), _profit(curve) if curve and curve["dates"] else None,
        empty="No session was compared yet.",
    )  # fmt: skip
    expects = "The desk as a whole was not validated." if name == _DESK else ""
    return page.card(
        "The desk" if name == _DESK else name,
        page.joined(picture, page.table(("", "live", "backtest", "validation"), cells)),
        caption=f"Profit so far, USD, and live minus backtest below. The drawdown is a share of "
        f"the peak; validation is what it expected. {expects}".strip(),
        classes=classes,
    )


def _profit(curve: Mapping[str, list[Any]]) -> go.Figure:
    apart = [live - backtest for live, backtest in zip(curve["live"], curve["backtest"], strict=True)]
    drawn = figure(340, hovermode="x unified")
    money = "$%{y:,.2f}"
    add_line(drawn, curve["dates"], curve["backtest"], "backtest", BAR, money, width=3.2)
    add_line(drawn, curve["dates"], curve["live"], "live", GAIN, money)
    add_line(drawn, curve["dates"], apart, "live minus backtest", LOSS, money, yaxis="y2", dash="dot")
    drawn.update_layout(
        showlegend=True,
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.36, 1.0], tickformat="$,.0f", title=titled("Profit so far")),
        yaxis2=axis(domain=[0.0, 0.26], tickformat="$,.0f", title=titled("Difference"), nticks=4),
    )
    return drawn


def _slippage(rows: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    if not rows:
        yield absent("Slippage", "No fill was reported yet. In modes paper and shadow fills are simulated.")
        return
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["lane"], row["order_kind"]), []).append(row)
    yield _summary(groups)
    streams = sorted((len(mine), place) for place, mine in groups.items() if place[1] in STREAMS)
    drawn = {place for _, place in streams[-_MOST_CHARTS:]}
    for place, mine in sorted(groups.items()):
        if place in drawn:
            yield _running(*place, sorted(mine, key=lambda row: (row["stamp"], row["number"])))


def _summary(groups: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> Markup:
    cells = []
    for (lane, kind), mine in sorted(groups.items()):
        ticks = sorted(row["ticks"] for row in mine)
        middle = (ticks[(len(ticks) - 1) // 2] + ticks[len(ticks) // 2]) / 2
        money, fees = (math.fsum(row[name] or 0.0 for row in mine) for name in ("usd", "commission"))
        cells.append((
            f"{lane} {kind}", count(len(mine)), ratio(math.fsum(ticks) / len(ticks)), ratio(middle),
            ratio(ticks[-1]), usd(money, 2), usd(fees, 2),
        ))  # fmt: skip
    header = (
        "lane, order", "fills", "mean, ticks", "median, ticks", "worst, ticks", "slippage, USD",
        "commission beyond the model, USD",
    )  # fmt: skip
    return page.card(
        "Slippage beyond the cost model",
        page.table(header, cells),
        caption="Realised minus modelled price of each fill, on settled bars; above 0 it costs more than the "
        "backtest assumes.",
        classes="wide",
    )


def _running(lane: str, kind: str, mine: Sequence[Mapping[str, Any]]) -> Markup:
    newest = mine[-_MOST_FILLS:]
    found = running(number(newest, "ticks"))
    rows = [
        {"time": row["stamp"], "mean": mean, "low": low, "high": high}
        for row, mean, low, high in zip(newest, found.mean, found.low, found.high, strict=True)
    ]
    shown = thinned_rows(rows, "mean", "low", "high")
    at = times(row["time"] for row in shown)
    drawn = figure(260, xaxis=time_axis(), yaxis=axis(title=titled("Ticks per fill")), hovermode="x unified")
    for bound in ("high", "low"):
        add_line(
            drawn, at, number(shown, bound), f"{bound} bound", ACCENT, "%{y:.2f} ticks", dash="dash", width=1
        )
    add_line(drawn, at, number(shown, "mean"), "mean so far", GAIN, "%{y:.2f} ticks")
    level(drawn, TOLERANCE)
    drawn.update_layout(showlegend=True)
    since = f" of its newest {_MOST_FILLS:,} fills" if len(mine) > _MOST_FILLS else ""
    return page.card(
        f"{lane}: {kind} orders",
        page.figure_block(element_id("slippage", lane, kind), drawn),
        caption=f"Running mean{since}, each clipped as the alarm clips it, with bounds that hold at all "
        f"moments at once with 95%; {TOLERANCE:g} ticks (dotted) are tolerated. A bound is missing while "
        "nothing can be said.",
    )


PAGE = DashboardPage(name="against", title="Live against backtest", build=build)
