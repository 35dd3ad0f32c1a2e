"""The paper comparison as a self-contained HTML page beside its sealed JSON.

Pictures of a paper comparison: both P&Ls on the fan of resampled runs, and each statistic on its band.

The paper comparison as tables for the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from rich.console import Console

from lockstep.metrics import Floats
from lockstep.tables import TextTable, number
from research.paper.bands import Band
from research.paper.compare import Curves
from research.paper.verdict import InstrumentComparison, PaperComparison
from research.report.page import (
    Tile,
    card,
    count,
    document,
    figure_block,
    grid,
    header,
    joined,
    key_figures,
    notes,
    paragraph,
    percent,
    provenance,
    ratio,
    table,
    usd,
)
from research.report.theme import (
    ACCENT,
    BAR,
    GAIN,
    GAIN_SOFT,
    INK,
    LOSS,
    MUTED,
    axis,
    figure,
    time_axis,
    titled,
)
from research.training.report import replace_text

LABELS = {
    "return": "return on capital",
    "sharpe": "Sharpe ratio, annualised",
    "win_rate": "win rate",
    "trades_per_month": "trades per month",
}
_CENTS = 2
_OUTSIDE = 0.06


def pnl(curves: Curves) -> go.Figure:
    """Return the P&L of paper and backtest by session, on the fan of resampled validation runs."""
    dates = np.datetime_as_string(curves.paper.dates).tolist()
    drawn = figure(380, hovermode="x unified")
    for values, filled in ((curves.fan.low, None), (curves.fan.high, "tonexty")):
        drawn.add_scatter(
            x=dates, y=_rounded(values), mode="lines", line={"width": 0}, fill=filled, fillcolor=GAIN_SOFT,
            showlegend=filled is not None, name="90 % of validation runs", hoverinfo="skip",
        )  # fmt: skip
    drawn.add_scatter(
        x=dates, y=_rounded(curves.fan.middle), name="middle of validation runs", mode="lines",
        line={"color": BAR, "width": 1, "dash": "dot"}, hovertemplate="$%{y:,.0f}",
    )  # fmt: skip
    drawn.add_scatter(
        x=np.datetime_as_string(curves.backtest.dates).tolist(), y=_rounded(curves.backtest.pnl.cumsum()),
        name="backtest", mode="lines", line={"color": ACCENT, "width": 4}, opacity=0.5,
        hovertemplate="$%{y:,.2f}",
    )  # fmt: skip
    drawn.add_scatter(
        x=dates, y=_rounded(curves.paper.pnl.cumsum()), name="paper", mode="lines",
        line={"color": GAIN, "width": 1.8}, hovertemplate="$%{y:,.2f}",
    )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(tickformat="$~s", title=titled("P&L"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def strip(band: Band) -> go.Figure | None:
    """Return one statistic on its band; None where there is no band."""
    if band.low is None or band.high is None:
        return None
    drawn = figure(96)
    drawn.update_layout(
        xaxis=axis(range=_range(band), nticks=6, tickformat=_format(band.statistic)),
        yaxis=axis(visible=False, range=[-1, 1]),
    )
    drawn.add_scatter(
        x=[band.low, band.high], y=[0, 0], mode="lines", line={"color": BAR, "width": 10}, hoverinfo="skip"
    )
    for value, symbol, size, colour, name in (
        (band.middle, "line-ns", 13, INK, "middle"),
        (band.backtest, "diamond-open", 18, ACCENT, "backtest"),
        (band.paper, "circle", 9, GAIN if band.inside else LOSS, "paper"),
    ):
        if value is not None:
            line = {"width": 2, "color": colour}
            drawn.add_scatter(
                x=[value], y=[0], mode="markers", name=name,
                marker={"symbol": symbol, "size": size, "color": colour, "line": line},
                hovertemplate=f"{name} %{{x:.4g}}<extra></extra>",
            )  # fmt: skip
    return drawn


def _range(band: Band) -> list[float]:
    known = [each for each in (band.low, band.high, band.paper, band.backtest) if each is not None]
    room = _OUTSIDE * (max(known) - min(known)) or 1.0
    return [min(known) - room, max(known) + room]


def _format(statistic: str) -> str:
    return ".1%" if statistic in ("return", "win_rate") else ".2~f"


def _rounded(values: Floats) -> list[float]:
    rounded: list[float] = values.round(_CENTS).tolist()
    return rounded


def spelled(band: Band, value: float | None) -> str:
    """Return a value of a band's statistic as text."""
    return percent(value, 2) if band.statistic in ("return", "win_rate") else ratio(value)


def print_comparison(console: Console, comparison: PaperComparison) -> None:
    """Print the verdict, one table of statistics per instrument, and what stands against it."""
    verdict = "PASSED" if comparison.passed else "NOT PASSED"
    console.print(
        f"{comparison.journal} ({comparison.mode}): {verdict}", style="bold", highlight=False, markup=False
    )
    for each in comparison.instruments:
        console.print(_summary(each), highlight=False, markup=False, soft_wrap=True)
        console.print(_bands_table(each))
    for sentence in comparison.sentences:
        console.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)


def _summary(each: InstrumentComparison) -> str:
    found = each.equality
    names = ("bars", "vectors", "probabilities", "decisions", "orders", "fills")
    compared = ", ".join(f"{count(getattr(found, name))} {name}" for name in names)
    return (
        f"{each.symbol} {each.start} to {each.end}: {compared} compared, {count(found.different)} bars "
        f"differ, {count(each.left_out)} left out; P&L {usd(each.paper_pnl, 2)}, backtest "
        f"{usd(each.backtest_pnl, 2)}"
    )


def _bands_table(each: InstrumentComparison) -> TextTable:
    origin = each.reference
    seen = ", perhaps seen in training" if origin.seen_in_training else ""
    names = ("paper", "backtest", "low", "middle", "high", "verdict")
    title = f"bands from {origin.start} to {origin.end}, {origin.sessions} sessions{seen}"
    shown = TextTable("statistic", *map(number, names), title=title)
    for band in each.bands:
        values = (band.paper, band.backtest, band.low, band.middle, band.high)
        verdict = "not judged" if not band.judged else "inside" if band.inside else "OUTSIDE"
        shown.add_row(band.statistic.replace("_", " "), *(spelled(band, value) for value in values), verdict)
    return shown


PAGE, NUMBERS = "comparison.html", "comparison.json"


def write_comparison(comparison: PaperComparison, curves: Mapping[str, Curves], folder: Path) -> Path:
    """Write `comparison.json` and `comparison.html` into `folder`, made where missing; return the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / PAGE, comparison_html(comparison, curves))
    return replace_text(folder / NUMBERS, comparison.text)


def comparison_html(comparison: PaperComparison, curves: Mapping[str, Curves]) -> str:
    """Return the page."""
    against = card("What stands against it", notes(comparison.sentences or ["Nothing."]), classes="wide")
    body = [_header(comparison), grid([against], "before")]
    for each in comparison.instruments:
        body += [_tiles(each), grid(_cards(each, curves[each.symbol]))]
    body.append(grid(_record(comparison), "after"))
    return document(f"{comparison.journal} · paper against backtest", joined(*body))


def _header(comparison: PaperComparison) -> Markup:
    return header(
        ", ".join(each.symbol for each in comparison.instruments),
        "paper against backtest",
        (
            comparison.journal,
            f"mode {comparison.mode}",
            f"all bands together hold {percent(comparison.level, 0)}",
        ),
        lead="passed" if comparison.passed else "did not pass",
        lead_class="good" if comparison.passed else "loss",
    )


def _tiles(each: InstrumentComparison) -> Markup:
    equal = each.equality
    tiles = [
            (f"{each.symbol}, {', '.join(dict.fromkeys(each.versions))}", count(each.sessions),
             f"sessions, {each.start} to {each.end}"),
            ("Different from the backtest", count(equal.different), f"of {count(equal.bars)} bars"),
            ("P&L, paper", usd(each.paper_pnl, 2), f"backtest {usd(each.backtest_pnl, 2)}"),
            ("Trades, paper", count(each.paper_trades), f"backtest {count(each.backtest_trades)}"),
            ("Outside their band", count(sum(not band.inside for band in each.bands)),
             f"of {sum(band.judged for band in each.bands)} statistics judged"),
    ]  # fmt: skip
    return key_figures(Tile(*tile) for tile in tiles)


def _cards(each: InstrumentComparison, curves: Curves) -> list[Markup]:
    origin = each.reference
    seen = (
        "Training saw some of them, or does not tell: the bands may be too kind. "
        if origin.seen_in_training
        else ""
    )
    return [
        card(
            "P&L of the same sessions",
            figure_block(f"pnl-{each.symbol}", pnl(curves)),
            caption="Paper over the backtest. Shaded: 90 % of runs of this length, drawn in blocks of "
            f"{origin.block} sessions on average from the validation backtest of {origin.start} to "
            f"{origin.end} ({count(origin.sessions)} sessions). {seen}".rstrip(),
            classes="wide",
        ),
        *(_band_card(each.symbol, band) for band in each.bands),
        card("Compared with the backtest", _equality(each), caption=_left_out(each), classes="wide"),
    ]


def _band_card(symbol: str, band: Band) -> Markup:
    verdict = "not judged: undefined" if not band.judged else "inside" if band.inside else "outside"
    values = ", ".join(
        f"{name} {spelled(band, value)}"
        for name, value in (("paper", band.paper), ("backtest", band.backtest))
    )
    return card(
        f"{LABELS[band.statistic]}: {verdict}",
        figure_block(f"{band.statistic}-{symbol}", strip(band), empty="No run of this length has it."),
        caption=f"{values}; band {spelled(band, band.low)} to {spelled(band, band.high)}, middle (line) "
        f"{spelled(band, band.middle)}. Dot: paper; diamond: backtest.",
    )


def _equality(each: InstrumentComparison) -> Markup:
    found = each.equality
    names = ("bars", "vectors", "probabilities", "decisions", "orders", "fills", "marks")
    rows = [("compared", *(count(getattr(found, name)) for name in names), count(found.different))]
    head = ("", *names[:-1], "P&L to the cent", "bars that differ")
    first = paragraph(f"First difference: {found.first}", "loss") if found.first else ""
    return joined(table(head, rows), first)


def _left_out(each: InstrumentComparison) -> str:
    refused = ", ".join(f"{rule} {count(number)}" for rule, number in each.refused.items())
    return (
        "Vectors, probabilities, decisions, orders and fills bit for bit. "
        f"{count(each.left_out)} bars left out: an inherited position or a required exit, which no backtest "
        f"begins with. Orders that the gateway refused: {refused or 'none'}."
    )


def _record(comparison: PaperComparison) -> list[Markup]:
    facts = {
        "epochs": ", ".join(map(str, comparison.epochs)),
        **{f"bundle {symbol}": ", ".join(found) for symbol, found in comparison.bundles.items()},
        "code": comparison.code,
        "level, resamples, seed": f"{comparison.level:g}, {comparison.resamples}, {comparison.seed}",
    }
    return [card("Provenance", provenance(facts), classes="wide")]
