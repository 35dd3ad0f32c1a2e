"""A watched desk as a notebook shows it: what is raised, outcomes, streams, the newest look at features."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from lockstep.monitoring.alarms import moment
from operations.watch.report import MonitorReport, wealth_figure
from research.report import page
from research.report.page import Tile


def report_fragment(report: MonitorReport) -> str:
    """Return what a notebook shows."""
    head = page.header(
        "Watched desk",
        "Outcomes, alarms and drift",
        [f"outcomes are known up to {moment(report.frontier)}"],
        lead="ALARM" if report.is_alarmed else "no ALARM",
        lead_class="loss" if report.is_alarmed else "good",
    )
    lines = page.caveats("What there is to say", list(report.lines()))
    return page.fragment(head, lines, page.key_figures(_tiles(report)), page.grid(list(_cards(report))))


def _tiles(report: MonitorReport) -> Iterator[Tile]:
    counts = report.counts()
    for state in ("taken", "vetoed", "refused", "censored"):
        yield Tile(state.capitalize(), page.count(counts[state]), "signals")
    waiting = counts["open"] + counts["unsettled"]
    yield Tile("Without an outcome", page.count(waiting), "signals that are held or not settled")


def _cards(report: MonitorReport) -> Iterator[Markup]:
    if report.standings:
        yield page.card(
            "Wealth of ALARM bets",
            page.figure_block("watch-wealth", wealth_figure(report.wealth)),
            caption="One line for each stream, and their mean. ALARM is raised at 20 (dotted), which a "
            "healthy stream reaches in at most one year of twenty, however often it is looked at.",
            classes="wide",
        )
        rows = [
            (each["place"], page.count(each["outcomes"]), f"{each['floor']:.4g}", f"{each['estimate']:.4g}",
             f"{each['alarm']:.2f}", f"{each['watch']:.2f} of {each['watch_at']:.2f}")
            for each in report.standings
        ]  # fmt: skip
        head = ("stream", "outcomes", "floor", "estimate", "ALARM", "WATCH")
        yield page.card("Streams", page.table(head, rows), classes="wide")
    if report.drift:
        found = [(row["lane"], row["kind"], row["session"], row["verdict"]) for row in report.drift]
        yield page.card("Features, probabilities, regime", page.table(("lane", "", "session", ""), found))
