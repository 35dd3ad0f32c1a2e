"""The paper comparison as tables for the terminal."""

from __future__ import annotations

from rich.console import Console

from lockstep.tables import TextTable, number
from research.paper.bands import Band
from research.paper.verdict import InstrumentComparison, PaperComparison
from research.report.numbers import count, percent, ratio, usd


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
