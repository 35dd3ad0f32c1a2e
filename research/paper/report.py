"""The paper comparison as a self-contained HTML page beside its sealed JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from research.paper.bands import Band
from research.paper.compare import Curves
from research.paper.report_figures import LABELS, pnl, strip
from research.paper.report_table import spelled
from research.paper.verdict import InstrumentComparison, PaperComparison
from research.report.numbers import count, percent, usd
from research.report.page import (
    Tile,
    card,
    document,
    figure_block,
    grid,
    header,
    joined,
    key_figures,
    notes,
    paragraph,
    provenance,
    table,
)
from research.training.report import replace_text

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
