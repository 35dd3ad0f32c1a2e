"""Write the page of a portfolio: the account as a tear sheet, then its lanes, limits and exposure."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from lockstep import metrics
from research.report import captions, figures_portfolio, sections, sections_record
from research.report.data import DEEPEST, floats
from research.report.figures_account import costs_paid
from research.report.figures_rolling import rolling_sharpe, rolling_volatility, windows
from research.report.figures_trades import monthly_distribution, pnl_distribution
from research.report.page import (
    Tile,
    coloured,
    count,
    document,
    empty_block,
    joined,
    key_figures,
    listing,
    paragraph,
    percent,
    ratio,
    table,
    usd,
    write_page,
)
from research.report.portfolio_data import LaneSheet, PortfolioSheet
from research.report.section import Sections, cards
from research.report.tables import readable
from research.report.thinning import thinning_note

RESULT, LANES, LIMITS, RISK = "Result", "Lanes", "Limits", "Risk"
TRADING, RECORDED = "Trades", "Record"
SECTIONS: Sections[PortfolioSheet] = Sections("a portfolio's page")
"""Every card of the page, in its order."""

# Rows of the table of stops and tiers.
_MOST_STOPS = 12


def write_portfolio_page(report: PortfolioSheet, path: Path, *, shared_js: Path | None = None) -> Path:
    """Write the page of `report` to `path` and return `path`; see `write_tearsheet`."""
    return write_page(path, _title(report), _body(report), shared_js=shared_js)


def portfolio_html(report: PortfolioSheet) -> str:
    """Return the page, the plotting library within."""
    return document(_title(report), _body(report))


def _title(report: PortfolioSheet) -> str:
    return f"{report.account.symbol} · {report.account.title}"


def _body(report: PortfolioSheet) -> Markup:
    own = report.account
    return joined(
        sections.header(own),
        sections.caveats(own),
        key_figures([*sections.tiles(own), _refused_tile(report)]),
        cards(SECTIONS, report),
    )


def _refused_tile(report: PortfolioSheet) -> Tile:
    refused, proposed = int(report.refused.to_numpy().sum()), len(report.proposals)
    share = percent(refused / proposed if proposed else None)
    return Tile("Refused entries", count(refused), f"{share} of {count(proposed)} proposed")


def _account_caption(report: PortfolioSheet) -> str:
    own, told = report.account, []
    if report.stops.size:
        told.append(f"{count(report.stops.size)} days stopped by their loss.")
    smaller = int((floats(own.equity, "scale") < 1.0).sum())
    if smaller:
        told.append(f"New entries were smaller at {percent(smaller / len(own.equity))} of the bar sets.")
    if report.halt is not None:
        told.append(f"Halted on {own.session_dates[report.halt]}: nothing was entered after it.")
    text = (
        "The account on constant capital (dotted), costs included, marked at every bar set; drawdown from "
        "its highest equity, which a limit with a window may count from a lower one."
    )
    return " ".join([text, *told, thinning_note(len(own.equity))]).rstrip()


def lanes(report: PortfolioSheet) -> Markup:
    """Return a row for each lane, and the account's below."""
    head = (
        "Lane", "Strategy", "Trades", "Win rate", "Net P&L", "Share", "Share of risk", "Costs", "Held",
        "Max drawdown", "Proposed", "Refused",
    )  # fmt: skip
    rows = [_lane_row(report, place, each) for place, each in enumerate(report.lanes)]
    own, pnl = report.account, floats(report.account.closed, "net_pnl")
    total = float(report.earned[-1].sum())
    open_sets = (report.notional != 0.0).any(axis=1)
    foot = (
        "Account", "", count(len(own.closed)), percent(metrics.win_rate(pnl)),
        usd(total), percent(np.sign(total) if total else None), percent(1.0), usd(_costs(own.trades)),
        percent(float(open_sets.mean())), usd(-float(report.drawdown.max())), count(len(report.proposals)),
        count(int(report.refused.to_numpy().sum())),
    )  # fmt: skip
    return table(head, rows, foot=foot)


def _lane_row(report: PortfolioSheet, place: int, lane: LaneSheet) -> tuple[str, ...]:
    pnl = floats(lane.trades[lane.trades["status"] == "closed"], "net_pnl")
    earned, total = report.earned[:, place], float(report.earned[-1].sum())
    mine = report.proposals["symbol"].astype(str) == lane.symbol
    return (
        lane.symbol,
        lane.strategy,
        count(pnl.size),
        percent(metrics.win_rate(pnl)),
        coloured(usd(float(earned[-1]))),
        percent(float(earned[-1]) / abs(total) if total else None),
        percent(float(report.risk_shares[place])),
        usd(_costs(lane.trades)),
        percent(float((report.notional[:, place] != 0.0).mean())),
        usd(-float(metrics.drawdowns(metrics.curve_from(0.0, earned)).max())),
        count(int(mine.sum())),
        count(int((mine & (report.proposals["rule"] != "")).sum())),
    )


def _costs(trades: pd.DataFrame) -> float:
    return float(sum(np.nansum(floats(trades, name)) for name in ("commission", "slippage_cost")))


def years_by_lane(report: PortfolioSheet) -> Markup:
    """Return what each lane made in each calendar year, and the account."""
    own = report.account
    year = own.dates.astype("datetime64[Y]")
    rows = []
    for each in np.unique(year):
        made = report.session_pnl[year == each].sum(axis=0)
        cells = [coloured(usd(float(value))) for value in (*made, made.sum())]
        rows.append((str(each), *cells))
    whole = report.session_pnl.sum(axis=0)
    foot = ("All", *(usd(float(value)) for value in (*whole, whole.sum())))
    return table(("Year", *report.symbols, "Account"), rows, foot=foot)


def refused_by_rule(report: PortfolioSheet) -> Markup:
    """Return how many proposals of each lane each rule refused."""
    if report.refused.empty:
        return empty_block("No limit refused anything.")
    counts = report.refused
    rows = [
        (readable(str(rule)), *map(count, row), count(sum(row)))
        for rule, row in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]
    symbol = report.proposals["symbol"].astype(str)
    proposed = [int((symbol == each).sum()) for each in report.symbols]
    refused = counts.to_numpy().sum(axis=0).tolist()
    admitted = [total - mine for total, mine in zip(proposed, refused, strict=True)]
    rows.append(("Admitted", *map(count, admitted), count(sum(admitted))))
    foot = ("Proposed", *map(count, proposed), count(sum(proposed)))
    return table(("Rule", *report.symbols, "All"), rows, foot=foot)


def stops(report: PortfolioSheet) -> Markup:
    """Return the days that a loss ended, the spans of smaller sizes and the halt, the newest first."""
    rows = sorted([*_stopped(report), *_spans(report)], key=lambda row: row[:2], reverse=True)
    if not rows:
        return empty_block("No day was stopped by its loss, and no drawdown made sizes smaller.")
    shown = table(("Date", "Until", "What", "Equity", "Drawdown"), rows[:_MOST_STOPS])
    if len(rows) <= _MOST_STOPS:
        return shown
    rest = f"{count(len(rows) - _MOST_STOPS)} earlier ones are in equity.parquet."
    return joined(shown, paragraph(rest, "caption after"))


def _stopped(report: PortfolioSheet) -> list[tuple[str, ...]]:
    own = report.account
    return [
        _stop_row(report, int(row), str(own.session_dates[row]), "Day stopped by its loss")
        for row in report.stops
    ]


def _spans(report: PortfolioSheet) -> list[tuple[str, ...]]:
    """Return when sizes were smaller, and the halt, which lasts to the end of a run."""
    own = report.account
    scale = np.where(own.equity["halted"].to_numpy(dtype=np.bool_), 0.0, floats(own.equity, "scale"))
    found, first = [], 0
    for value, rows in groupby(scale.tolist()):
        last = first + sum(1 for _ in rows) - 1
        if value < 1.0:
            is_open = last == len(scale) - 1
            until = "the end" if is_open else str(own.session_dates[last])
            what = f"New sizes times {value:g}" if value else "Halted: no entries"
            found.append(_stop_row(report, first, until, what))
        first = last + 1
    return found


def _stop_row(report: PortfolioSheet, row: int, until: str, what: str) -> tuple[str, ...]:
    own = report.account
    return (
        str(own.session_dates[row]), until, what, usd(float(floats(own.equity, "equity")[row])),
        usd(-float(report.drawdown[row])),
    )  # fmt: skip


def _exposure_caption(report: PortfolioSheet) -> str:
    values = np.abs(report.notional).sum(axis=1) / report.account.capital
    if not values.any():
        return "Notional value of all positions over capital."
    return (
        "Notional value of all positions over capital, and how many there are; gross "
        f"{ratio(float(values[values > 0].mean()))} times capital on average while in the market, "
        f"{ratio(float(values.max()))} at most.{_stretched(report)}"
    )


def _stretched(report: PortfolioSheet) -> str:
    stretch = figures_portfolio.stretch_of(report)
    if stretch == 1:
        return ""
    return f" Each point is {stretch} sets: the greatest gross value, the mean net value, the most positions."


def next_session(report: PortfolioSheet) -> Markup:
    """Return risk of the next session by lane, with the numbers of `lockstep risk`."""
    found = report.next_session
    if isinstance(found, str):
        return empty_block(found)
    if not report.exposed.any():
        return empty_block("No position is open at the end and no entry waits: nothing is at risk.")
    head = ["Lane", "Contracts"]
    for tail in found:
        head += [f"VaR {percent(1 - tail, 0)}", f"ES {percent(1 - tail, 0)}", "Share of ES"]
    rows = []
    for place, symbol in enumerate(report.symbols):
        cells = [symbol, f"{report.exposed[place]:+g}".replace("-", "\N{MINUS SIGN}")]
        for each in found.values():
            part, whole = float(each.component_es[place]), each.total.es
            cells += [
                usd(float(each.component_var[place])),
                usd(part),
                percent(part / whole if whole else None),
            ]
        rows.append(cells)
    foot = ["Account", ""]
    for each in found.values():
        foot += [usd(each.total.var), usd(each.total.es), percent(1.0 if each.total.es else None)]
    return table(head, rows, foot=foot)


def _has_others(report: PortfolioSheet) -> bool:
    return len(report.lanes) > 1


def _too_short(report: PortfolioSheet) -> str:
    half, _ = windows(report.account)
    return f"Needs {half} sessions in which equity moves; this run has {len(report.account.sessions)}."


def _rolled_over(report: PortfolioSheet) -> str:
    half, year = windows(report.account)
    return f"{half} and {year} sessions; whole run dotted."


SECTIONS.figure(
    RESULT, "Equity, drawdown and sizes", "account", figures_portfolio.account, fit=True,
    caption=_account_caption, wide=True,
)  # fmt: skip
SECTIONS.add(
    RESULT, "Monthly returns", lambda report: sections.months(report.account),
    caption=lambda report: captions.months(report.account), wide=True,
)  # fmt: skip
SECTIONS.add(
    RESULT, "Years", lambda report: sections.years(report.account),
    caption=lambda report: captions.years(report.account), wide=True,
)  # fmt: skip
SECTIONS.add(
    RESULT, "How far the Sharpe ratio can be trusted",
    lambda report: sections_record.trust(report.account),
    caption="Errors at the observed ratio; Bailey and López de Prado (2012, 2014). They take returns as "
    "independent in time, except where blocks are named.",
)  # fmt: skip
SECTIONS.figure(
    RESULT, "Distribution of monthly returns", "months",
    lambda report: monthly_distribution(report.account),
    empty="Needs three months in which equity moves.",
    caption="Mean dotted. The first and the last month may be partial.",
)  # fmt: skip

SECTIONS.add(
    LANES, "Result by lane", lanes,
    caption="Net P&L with open positions at their last close, and its share of the account's. Share of risk: "
    "covariance of the lane's results by session with the account's, over the account's variance. Held: "
    "share of the bar sets with a position.",
    wide=True,
)  # fmt: skip
SECTIONS.figure(
    LANES, "P&L by lane", "lanes", figures_portfolio.by_lane,
    caption="After each session of the portfolio; the lanes add up to the account.", wide=True,
)  # fmt: skip
SECTIONS.add(
    LANES, "Years by lane", years_by_lane, caption="What each lane made, open positions included.", wide=True
)
SECTIONS.figure(
    LANES, "Correlation of the lanes", "correlations", figures_portfolio.correlations,
    empty="Needs two lanes whose results vary.",
    caption="Of their results by session, days without a position included.",
    shown=_has_others,
)  # fmt: skip
SECTIONS.figure(
    LANES, "Contribution to profit and risk", "contributions", figures_portfolio.contributions,
    empty="No lane made anything.",
    caption="Shares of the account's profit, below zero where it lost, and of its risk.",
    shown=_has_others,
)  # fmt: skip

SECTIONS.figure(
    LIMITS, "Refusals by rule over time", "refusals", figures_portfolio.refusals,
    empty="No limit refused anything.", caption="Proposals that were refused, by the first rule that did.",
    wide=True,
)  # fmt: skip
SECTIONS.add(
    LIMITS, "Refusals by rule and lane", refused_by_rule,
    caption="Each proposal counts once, for the first rule that refused it.", wide=True,
)  # fmt: skip
SECTIONS.add(
    LIMITS, "Stops, tiers and halt", stops,
    caption="Equity and drawdown at the first bar set of each; the newest first.", wide=True,
)  # fmt: skip
SECTIONS.figure(
    LIMITS, "Exposure", "exposure", figures_portfolio.exposure, empty="No position was held.",
    caption=_exposure_caption, wide=True,
)  # fmt: skip

SECTIONS.add(
    RISK, "The next session", next_session, shown=lambda report: bool(report.closes),
    caption="Value at risk and expected shortfall of the positions after the last set, entries that wait "
    "included, by filtered historical simulation. Components: they add up. `lockstep risk` says more.",
    wide=True,
)  # fmt: skip
SECTIONS.add(
    RISK, f"The {DEEPEST} deepest drawdowns", lambda report: sections_record.declines(report.account),
    caption="From a high of equity to the first return to it, in calendar days.", wide=True,
)  # fmt: skip
SECTIONS.figure(
    RISK, "Rolling Sharpe ratio", "rolling", lambda report: rolling_sharpe(report.account),
    empty=_too_short, caption=_rolled_over,
)  # fmt: skip
SECTIONS.figure(
    RISK, "Rolling volatility", "volatility", lambda report: rolling_volatility(report.account),
    empty=_too_short, caption=_rolled_over,
)  # fmt: skip
SECTIONS.add(
    RISK, "The same trades in another order", lambda report: sections_record.other_orders(report.account),
    caption="The order in which trades came is one of very many. Limits, which another order would have met "
    "elsewhere, are not asked again.",
    wide=True,
)  # fmt: skip

SECTIONS.add(TRADING, "Long and short", lambda report: sections_record.sides(report.account), wide=True)
SECTIONS.figure(
    TRADING, "Result per trade", "distribution", lambda report: pnl_distribution(report.account),
    empty="No trade was closed in this run.", caption=lambda report: captions.distribution(report.account),
)  # fmt: skip
SECTIONS.figure(
    TRADING, "Costs paid", "costs", lambda report: costs_paid(report.account),
    empty="No trade, no costs.",
    caption="Cumulative, booked when a trade ends. Slippage is already in the fill prices.",
)  # fmt: skip
SECTIONS.add(
    TRADING, "Exits", lambda report: sections.exit_table(report.account),
    caption="Closed trades by the reason they ended.", wide=True,
)  # fmt: skip

SECTIONS.add(RECORDED, "All measures", lambda report: sections.measures(report.account), wide=True)
SECTIONS.add(
    RECORDED, "Provenance", lambda report: sections.provenance(report.account),
    caption="What this page was computed from.",
)  # fmt: skip
SECTIONS.add(RECORDED, "Portfolio file", lambda report: listing(report.account.config_yaml))
