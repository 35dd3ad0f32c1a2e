"""What an optimisation leaves: the portfolio's file, its figures as JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.files import replace_file
from lockstep.metrics import Floats
from research.optimise.covariance import correlation_of
from research.optimise.nested import RULE
from research.optimise.optimise import WRITTEN, JudgedMethod, OptimisedPortfolio
from research.optimise.written import figures, limits_text, portfolio_text
from research.report import page
from research.report.page import Shade, Tile, percent, ratio, usd
from research.report.section import Sections, cards
from research.report.theme import ACCENT, BAR, GAIN, MUTED, axis, figure, time_axis, titled
from research.statistics.bootstrap import Interval

DIGITS = 10
_CURRENT, _RUNS = "portfolio_config.yml", "runs.json"
_CENT = 0.01
_RED, _BLUE = (200, 81, 43), (42, 111, 158)


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """What a run left: the current portfolio, and by its hash the same file, its figures and its page.

    search   the trials of a search by results, None without one
    """

    config: Path
    kept: Path
    figures: Path
    page: Path
    search: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioReport:
    """A portfolio beside the one of the run before, None for the first."""

    found: OptimisedPortfolio
    before: Mapping[str, Any] | None


def keep(found: OptimisedPortfolio, current: Path, folder: Path) -> KeptRun:
    """Write the portfolio to `current`, and the run to `folder`; a rerun writes the same bytes.

    The run before is the one that was kept before this one for the first time. The portfolio itself is
    written last: where something fails, the current one is still what it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = found.content_hash[:DIGITS]
    runs = _runs(folder)
    known = runs.index(name) if name in runs else len(runs)
    before = _figures(folder, runs[known - 1]) if known else None
    text = portfolio_text(found.config)
    left = KeptRun(
        config=current,
        kept=folder / f"portfolio_config-{name}.yml",
        figures=folder / f"portfolio-{name}.json",
        page=folder / f"portfolio-{name}.html",
    )
    replace_file(left.kept, text)
    replace_file(left.figures, json.dumps(figures(found), indent=1, sort_keys=True) + "\n")
    replace_file(left.page, portfolio_page(PortfolioReport(found=found, before=before)))
    if name not in runs:
        replace_file(folder / _RUNS, json.dumps([*runs, name], indent=1) + "\n")
    current.parent.mkdir(parents=True, exist_ok=True)
    replace_file(left.config, text)
    return left


def _runs(folder: Path) -> list[str]:
    path = folder / _RUNS
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _figures(folder: Path, name: str) -> Mapping[str, Any] | None:
    path = folder / f"portfolio-{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


SECTIONS: Sections[PortfolioReport] = Sections("a portfolio")


def portfolio_page(report: PortfolioReport) -> str:
    """Return the page, self-contained."""
    head, tiles = _top(report.found)
    return page.document(report.found.config.name, page.joined(head, tiles, cards(SECTIONS, report)))


def portfolio_fragment(found: OptimisedPortfolio) -> str:
    """Return what a notebook shows: header, key figures, sizes and methods."""
    report = PortfolioReport(found=found, before=None)
    shown = [each.card(report) for each in SECTIONS.values() if each.name in ("lanes", "out of sample")]
    return page.fragment(*_top(found), page.grid(shown))


def _top(found: OptimisedPortfolio) -> tuple[Markup, Markup]:
    plan, written = found.plan, _row(found, WRITTEN)
    start, end, sessions = found.config.made["sessions"]
    head = page.header(
        found.config.name,
        f"{len(found.kept.symbols)} of {len(found.streams.symbols)} lanes, an account of {usd(plan.capital)}",
        [f"{start} to {end}", f"{sessions:,} sessions out of sample", f"seed {found.config.made['seed']}"],
        lead=f"method {found.result.choice.name}",
    )
    tiles = page.key_figures([
        Tile(
            "Volatility a year",
            percent(found.volatility / plan.capital),
            f"wanted {percent(plan.target_volatility)}",
        ),
        Tile("Gross value", ratio(found.sizes.gross / plan.capital), "of the capital, all lanes open"),
        Tile("Cash", usd(found.cash), "if all of it is paid in full"),
        Tile("Margin", usd(found.margin), "overnight, as declared"),
        Tile(
            f"Chance of {percent(plan.drawdown.at, 0)} drawdown",
            percent(found.config.made["chance_of_drawdown"]),
            f"at most {percent(plan.drawdown.probability, 0)}",
        ),
        Tile("Sharpe, rule", ratio(_row(found, RULE).sharpe.estimate), "out of sample"),
        Tile("Sharpe, as written", ratio(written.sharpe.estimate), "in sample: the choice saw it"),
    ])  # fmt: skip
    return head, tiles


def _row(found: OptimisedPortfolio, name: str) -> JudgedMethod:
    return next(each for each in found.judged if each.name == name)


def _lanes(report: PortfolioReport) -> Markup:
    found, sizes = report.found, report.found.sizes
    rows = [
        (
            symbol,
            page.prose(found.streams.lanes[symbol].seen),
            ratio(sizes.wanted[place], 3),
            ratio(sizes.units[place], 3).rstrip("0").rstrip("."),
            usd(sizes.units[place] * sizes.notional[place]),
            usd(found.contributions[place]),
            percent(found.contributions[place] / found.volatility),
        )
        for place, symbol in enumerate(sizes.symbols)
    ]
    total = float(found.contributions.sum())
    foot = ("all", "", "", "", usd(sizes.gross), usd(total), percent(total / found.volatility))
    head = ("lane", "stream", "wanted", "units", "gross value", "risk", "share")
    return page.table(head, rows, foot=foot)


def _capital(report: PortfolioReport) -> Markup:
    sizes = report.found.sizes
    rows = [
        (
            symbol,
            usd(sizes.needed[place]),
            ", ".join(f"{other} {usd(less)}" for other, less in sizes.smaller[symbol].items())
            or page.UNDEFINED,
        )
        for place, symbol in enumerate(sizes.symbols)
    ]
    return page.table(("lane", "trades from", "smaller contracts of the market"), rows)


def _shaded(symbols: Sequence[str], matrix: Floats) -> Markup:
    rows = [
        (
            symbol,
            [
                Shade(ratio(each), *(_BLUE if each >= 0 else _RED), round(min(1.0, abs(each)) * 0.8, 3))
                for each in row
            ],
            "",
        )
        for symbol, row in zip(symbols, matrix.tolist(), strict=True)
    ]
    return page.shaded_table(("", *symbols, ""), rows)


def _out_of_sample(report: PortfolioReport) -> Markup:
    rows = []
    for each in report.found.judged:
        paths = each.paths
        between = (
            f"{ratio(np.median(paths))} ({ratio(paths.min())} to {ratio(paths.max())})"
            if paths.size
            else page.UNDEFINED
        )
        bold = page.strong(each.name) if each.name in (RULE, report.found.result.choice.name) else each.name
        rows.append((
            bold, _interval(each.sharpe), _interval(each.sortino), _interval(each.drawdown, percent), between,
        ))  # fmt: skip
    return page.table(("method", "Sharpe", "Sortino", "max drawdown", "CPCV paths, Sharpe"), rows)


def _interval(interval: Interval, text: Any = ratio) -> str:
    return f"{text(interval.estimate)} ({text(interval.low)} to {text(interval.high)})"


def out_of_sample_figure(found: OptimisedPortfolio) -> go.Figure:
    """Return the summed P&L of the walk-forward: the rule, equal weights, the control."""
    dates = np.datetime_as_string(found.streams.days[found.result.sessions].astype("datetime64[D]")).tolist()
    drawn = figure(320, hovermode="x unified")
    for name, colour, width in ((RULE, GAIN, 2.0), ("equal", BAR, 1.4), ("max_sharpe", ACCENT, 1.0)):
        earned = np.cumsum(found.result.walk_forward[name]).round(2).tolist()
        drawn.add_scatter(
            x=dates, y=earned, name=name, mode="lines", line={"color": colour, "width": width},
            hovertemplate="$%{y:,.0f}",
        )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def _luck_figure(report: PortfolioReport) -> go.Figure | None:
    luck = report.found.luck
    if not _depends_on_order(report):
        return None
    drawn = figure(260)
    profit = np.sort(luck.profit).round(2)
    drawn.add_scatter(
        x=list(range(1, profit.size + 1)), y=profit.tolist(), mode="markers+lines", name="another order",
        line={"color": BAR, "width": 1}, marker={"color": GAIN, "size": 7}, hovertemplate="$%{y:,.0f}",
    )  # fmt: skip
    drawn.add_hline(y=luck.written[0], line={"color": ACCENT, "width": 2})
    drawn.update_layout(
        xaxis=axis(title=titled("orders of the lanes, from worst to best")),
        yaxis=axis(tickformat="$~s", title=titled("net profit")),
    )
    return drawn


def _depends_on_order(report: PortfolioReport) -> bool:
    return bool(np.ptp(report.found.luck.profit) >= _CENT)


def _luck_caption(report: PortfolioReport) -> str:
    luck = report.found.luck
    if not _depends_on_order(report):
        return (
            f"All {luck.profit.size} orders of the lanes end with {usd(luck.profit[0])}: no limit makes one "
            "lane's entry depend on another's."
        )
    return (
        f"The same sizes and limits with proposals admitted in {luck.profit.size} orders: net profit from "
        f"{usd(luck.profit.min())} to {usd(luck.profit.max())}, Sharpe ratio from {ratio(luck.sharpe.min())} "
        f"to {ratio(luck.sharpe.max())}. The line is the order that is written, {usd(luck.written[0])}, "
        "which was not chosen by its profit. In sample."
    )


def _limits(report: PortfolioReport) -> Markup:
    limits = report.found.limits
    rows = []
    for each, chance in limits.tried[:12]:
        said = each.model_dump(mode="json", exclude_none=True)
        rows.append((page.prose(limits_text(said)), percent(chance)))
    return page.table(("limits", "chance of the drawdown"), rows)


def _limits_caption(report: PortfolioReport) -> str:
    limits, plan = report.found.limits, report.found.plan
    kept = report.found.kept
    without = [symbol for symbol, each in kept.lanes.items() if not each.reads_volatility]
    told = (
        f"{len(limits.tried):,} of {limits.sets:,} sets tried, in the order of how much they limit: the "
        f"first that keeps the chance of a {percent(plan.drawdown.at, 0)} drawdown over {kept.days.size:,} "
        f"sessions at {percent(plan.drawdown.probability, 0)} or below is written, whatever it earned."
    )
    if without:
        told += f" No volatility limit could be tried: {', '.join(without)} read no realised_vol_20_252."
    return told


def _changes(report: PortfolioReport) -> Markup:
    before, now = report.before, figures(report.found)
    assert before is not None
    rows = [
        ("portfolio", before["name"], now["name"]),
        ("method", before["method"], now["method"]),
        ("last session", before["sessions"][1], now["sessions"][1]),
        ("volatility", usd(before["volatility"]), usd(now["volatility"])),
        ("gross value", usd(before["gross"]), usd(now["gross"])),
        ("Sharpe of the rule", *(ratio(each["out_of_sample"][RULE]["sharpe"][0]) for each in (before, now))),
        ("chance of the drawdown", *(percent(each["chance_of_drawdown"]) for each in (before, now))),
        ("limits", *(page.prose(limits_text(each["limits"])) for each in (before, now))),
    ]  # fmt: skip
    for symbol in sorted({*before["lanes"], *now["lanes"]}):
        units = [each["lanes"].get(symbol, {}).get("units") for each in (before, now)]
        rows.append((f"{symbol} units", *(page.UNDEFINED if each is None else f"{each:g}" for each in units)))
    return page.table(("", "run before", "this run"), rows)


def _provenance(report: PortfolioReport) -> Markup:
    made = report.found.config.made
    entries = {
        "content": report.found.content_hash,
        "portfolio": report.found.config.portfolio_hash,
        "plan": made["plan_hash"],
        "code": made["code_hash"],
    }
    for symbol, each in made["streams"].items():
        entries[f"{symbol} strategy"] = each["strategy"]
        if "bundle" in each:
            entries[f"{symbol} {each['version']}"] = each["bundle"]
    return page.provenance(entries)


SECTIONS.add(
    "", "lanes", _lanes, title="Sizes and risk", wide=True,
    caption="Units are contracts, or a share of the capital for a strategy that sizes itself. Risk is the "
    "part of the year's volatility, USD, that a lane contributes; the parts add up. A lane without units is "
    "too small to trade.",
)  # fmt: skip
SECTIONS.add(
    "", "out of sample", _out_of_sample, title="Out of sample", wide=True,
    caption=lambda report: (
        "Walk-forward by years with 95 % bootstrap intervals; CPCV (10, 2) as median and range of nine "
        f"paths. The rule chose {report.found.result.choice.name}, the simplest method within one standard "
        f"error of the best ({report.found.result.choice.best}). max_sharpe is a control and never written; "
        "the last row is in sample."
    ),
)  # fmt: skip
SECTIONS.figure(
    "", "P&L out of sample", "forward", lambda report: out_of_sample_figure(report.found), wide=True,
    title="P&L of the walk-forward", caption="At the target volatility, in parts of contracts, no limits.",
)  # fmt: skip
SECTIONS.add(
    "", "correlation of P&L",
    lambda report: _shaded(report.found.streams.symbols, correlation_of(report.found.covariance)),
    title="Correlation of the lanes' P&L", caption="Shrunk (Ledoit and Wolf); what the methods see.",
)  # fmt: skip
SECTIONS.add(
    "", "correlation of changes",
    lambda report: _shaded(report.found.streams.symbols, report.found.streams.correlation),
    title="Correlation of the instruments",
    caption=lambda report: (
        f"Daily changes of the last {report.found.plan.correlation.window} sessions, shrunk: what a "
        "volatility limit is judged with."
    ),
)  # fmt: skip
SECTIONS.figure(
    "",
    "order luck",
    "luck",
    _luck_figure,
    title="Luck of the order",
    caption=_luck_caption,
    wide=True,
    empty="Nothing to draw: one line for all orders.",
)
SECTIONS.add("", "limits", _limits, title="Limits", caption=_limits_caption, wide=True)
SECTIONS.add(
    "", "capital", _capital, title="Capital that is needed",
    caption="From which capital a lane's usual entry is one contract, at the same target volatility.",
)  # fmt: skip
SECTIONS.add(
    "", "changes", _changes, title="Against the run before",
    shown=lambda report: report.before is not None,
)  # fmt: skip
SECTIONS.add("", "provenance", _provenance, title="Made of", wide=True)
