"""The paper comparison as a self-contained HTML page beside its sealed JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from research.paper.bands import Band
from research.paper.compare import Curves
from research.paper.report_figures import LABELS, pnl, strip
from research.paper.report_table import spelled
from research.paper.verdict import InstrumentComparison, PaperComparison
from research.report.numbers import count, percent, usd
from research.report.page import card, escaped, figure_block, table
from research.report.theme import GAIN, LOSS
from research.training.report import page_html, replace_text
from research.training.report_sections import kpis, notes, provenance

PAGE, NUMBERS = "comparison.html", "comparison.json"


def write_comparison(comparison: PaperComparison, curves: Mapping[str, Curves], folder: Path) -> Path:
    """Write `comparison.json` and `comparison.html` into `folder`, made where missing; return the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / PAGE, comparison_html(comparison, curves))
    return replace_text(folder / NUMBERS, comparison.text)


def comparison_html(comparison: PaperComparison, curves: Mapping[str, Curves]) -> str:
    """Return the page."""
    against = card("What stands against it", notes(comparison.sentences or ["Nothing."]), classes="wide")
    body = [_header(comparison), f'<div class="grid" style="margin-bottom:16px">{against}</div>']
    for each in comparison.instruments:
        body += [_tiles(each), f'<div class="grid">{"".join(_cards(each, curves[each.symbol]))}</div>']
    body.append(f'<div class="grid" style="margin-top:16px">{"".join(_record(comparison))}</div>')
    return page_html(f"{comparison.journal} · paper against backtest", "".join(body))


def _header(comparison: PaperComparison) -> str:
    verdict = "passed" if comparison.passed else "did not pass"
    colour = GAIN if comparison.passed else LOSS
    symbols = ", ".join(each.symbol for each in comparison.instruments)
    return (
        f"<header><h1>{escaped(symbols)}<small>paper against backtest</small></h1>"
        f'<p class="facts"><b style="color:{colour}">{verdict}</b><span>{escaped(comparison.journal)}</span>'
        f"<span>mode {escaped(comparison.mode)}</span>"
        f"<span>all bands together hold {percent(comparison.level, 0)}</span></p></header>"
    )


def _tiles(each: InstrumentComparison) -> str:
    equal = each.equality
    return kpis(
        [
            (f"{each.symbol}, {', '.join(dict.fromkeys(each.versions))}", count(each.sessions),
             f"sessions, {each.start} to {each.end}"),
            ("Different from the backtest", count(equal.different), f"of {count(equal.bars)} bars"),
            ("P&L, paper", usd(each.paper_pnl, 2), f"backtest {usd(each.backtest_pnl, 2)}"),
            ("Trades, paper", count(each.paper_trades), f"backtest {count(each.backtest_trades)}"),
            ("Outside their band", count(sum(not band.inside for band in each.bands)),
             f"of {sum(band.judged for band in each.bands)} statistics judged"),
        ]
    )  # fmt: skip


def _cards(each: InstrumentComparison, curves: Curves) -> list[str]:
    origin = each.reference
    seen = (
        "Training saw some of them, or does not tell: the bands may be too kind. "
        if origin.seen_in_training
        else ""
    )
    return [
        card(
            "P&L of the same sessions",
            figure_block(f"pnl-{each.symbol}", pnl(curves), empty=""),
            caption="Paper over the backtest. Shaded: 90 % of runs of this length, drawn in blocks of "
            f"{origin.block} sessions on average from the validation backtest of {origin.start} to "
            f"{origin.end} ({count(origin.sessions)} sessions). {seen}".rstrip(),
            classes="wide",
        ),
        *(_band_card(each.symbol, band) for band in each.bands),
        card("Compared with the backtest", _equality(each), caption=_left_out(each), classes="wide"),
    ]


def _band_card(symbol: str, band: Band) -> str:
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


def _equality(each: InstrumentComparison) -> str:
    found = each.equality
    names = ("bars", "vectors", "probabilities", "decisions", "orders", "fills", "marks")
    rows = [("compared", *(count(getattr(found, name)) for name in names), count(found.different))]
    head = ("", *names[:-1], "P&amp;L to the cent", "bars that differ")
    first = f'<p class="loss">First difference: {escaped(found.first)}</p>' if found.first else ""
    return f'<div class="scroll">{table(head, rows)}</div>{first}'


def _left_out(each: InstrumentComparison) -> str:
    refused = ", ".join(f"{rule} {count(number)}" for rule, number in each.refused.items())
    return (
        "Vectors, probabilities, decisions, orders and fills bit for bit. "
        f"{count(each.left_out)} bars left out: an inherited position or a required exit, which no backtest "
        f"begins with. Orders that the gateway refused: {refused or 'none'}."
    )


def _record(comparison: PaperComparison) -> list[str]:
    facts = {
        "epochs": ", ".join(map(str, comparison.epochs)),
        **{f"bundle {symbol}": ", ".join(found) for symbol, found in comparison.bundles.items()},
        "code": comparison.code,
        "level, resamples, seed": f"{comparison.level:g}, {comparison.resamples}, {comparison.seed}",
    }
    return [card("Provenance", provenance(facts), classes="wide")]
