"""The page of a stress test: drawdowns against the gate, losses by the date of the shock, sizes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from research.report import page
from research.report.page import Tile, percent, usd
from research.report.section import Sections, cards
from research.report.theme import ACCENT, BAR, GAIN, LOSS, MUTED, axis, figure, time_axis, titled
from research.stress.report import gap_rows, moment, remark_of, size_line, verdict_of
from research.stress.run import StressResult

STRESS_SECTIONS: Sections[StressResult] = Sections("a stress test")

_ROW_HEIGHT, _MARGIN = 26, 70
_COLOURS = (BAR, GAIN, LOSS, ACCENT)
_MOST_SHOWN = 4_000


def stress_cards(found: StressResult) -> list[Markup]:
    """Return every card that has something to show, for this page and for the risk page."""
    return [each.card(found) for each in STRESS_SECTIONS.values() if each.shown(found)]


def stress_page(found: StressResult, *, library: str | None = None) -> str:
    """Return the page; `library` as in `page.document`."""
    return page.document(_title(found), _body(found), library=library)


def write_stress_page(found: StressResult, path: Path, *, shared_js: Path | None = None) -> Path:
    """Write the page to `path` and return it; `shared_js` as in `page.write_page`."""
    return page.write_page(path, _title(found), _body(found), shared_js=shared_js)


def stress_fragment(found: StressResult) -> str:
    """Return what a notebook shows: header, key figures, scenarios."""
    shown = [each.card(found) for each in STRESS_SECTIONS.values() if each.name == "scenarios"]
    return page.fragment(_head(found), _tiles(found), page.grid(shown))


def _title(found: StressResult) -> str:
    return f"Stress of {found.config.name}"


def _body(found: StressResult) -> Markup:
    return page.joined(_head(found), _tiles(found), cards(STRESS_SECTIONS, found))


def _head(found: StressResult) -> Markup:
    scan = found.scan
    dates = f"{moment(scan, 0)[:10]} to {moment(scan, len(scan.stamps) - 1)[:10]}"
    passes = found.passes
    return page.header(
        _title(found),
        f"{', '.join(found.config.symbols)}, an account of {usd(found.config.capital)}",
        [dates, f"{int(scan.is_open.sum()):,} bars with something open"],
        lead="passed" if passes else "failed",
        lead_class="" if passes else "loss",
        verdict=size_line(found),
        is_loss=not passes,
    )


def _tiles(found: StressResult) -> Markup:
    gate = found.plan.gate
    tiles = [
        Tile(
            "Worst drawdown",
            percent(found.worst),
            f"the gate is {percent(gate, 0)}",
            is_loss=not found.passes,
        ),
        Tile("Drawdown of the history", percent(found.base.drawdown), "as it was"),
    ]
    tiles += [
        Tile(
            _shown(each.title[:1].upper() + each.title[1:]),
            percent(each.drawdown),
            f"of which the gap {percent(each.loss)}",
            is_loss=each.drawdown >= gate,
        )
        for each in gap_rows(found)
    ]
    if not found.passes:
        size = page.UNDEFINED if found.size is None else percent(found.size.scale, 0)
        note = "not even the smallest step" if found.size is None else "of the present one"
        tiles.append(Tile("Largest size under it", size, note))
    return page.key_figures(tiles)


def _shown(title: str) -> str:
    """Return a title with true minus signs before its numbers."""
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", title)


def _outcomes(found: StressResult) -> list[tuple[str, float]]:
    """Return titles and drawdowns of all that ran, in the order of the plan."""
    rows = [("history as it was", found.base.drawdown)]
    rows += [(each.title, each.drawdown) for each in gap_rows(found)]
    rows += [(each.scenario.title, each.drawdown) for each in found.rows if each.scenario is not None]
    return [(title, drawdown) for title, drawdown in rows if not math.isnan(drawdown)]


def drawdown_figure(found: StressResult) -> go.Figure:
    """Return the deepest drawdown of each scenario, a bar each, and the gate."""
    rows, gate = _outcomes(found)[::-1], found.plan.gate
    drawn = figure(_MARGIN + _ROW_HEIGHT * len(rows))
    drawn.add_bar(
        x=[round(100.0 * drawdown, 2) for _, drawdown in rows],
        y=[page.plain(_shown(title)) for title, _ in rows],
        orientation="h",
        marker={"color": [LOSS if drawdown >= gate else GAIN for _, drawdown in rows]},
        text=[percent(drawdown) for _, drawdown in rows],
        textposition="auto",
        insidetextanchor="start",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    drawn.add_vline(x=100.0 * gate, line={"color": MUTED, "width": 1.4, "dash": "dash"})
    drawn.update_layout(
        xaxis=axis(ticksuffix=" %", title=titled("deepest drawdown, % of the capital"), rangemode="tozero"),
        yaxis=axis(showgrid=False, type="category", ticklabelstandoff=6),
    )
    return drawn


def loss_figure(found: StressResult) -> go.Figure | None:
    """Return what each gap would have cost, by its date; None where the plan names no gap.

    Of very many open bars the dearest of every stretch are shown.
    """
    scan = found.scan
    if not found.reported:
        return None
    held = np.flatnonzero(scan.is_open)
    drawn = figure(340)
    for k in range(found.reported):
        rows = _dearest(held, scan.losses[k])
        drawn.add_scattergl(
            x=[moment(scan, s) for s in rows],
            y=(100.0 * scan.losses[k, rows]).round(3).tolist(),
            name=page.plain(_shown(scan.gaps[k].title)), mode="markers",
            marker={"size": 4, "color": _COLOURS[k % len(_COLOURS)]},
            hovertemplate="%{x}: %{y:.1f} %",
        )  # fmt: skip
    drawn.add_hline(y=100.0 * found.plan.gate, line={"color": MUTED, "width": 1.4, "dash": "dash"})
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(ticksuffix=" %", title=titled("loss in the gap, % of the capital"), zeroline=True,
                   zerolinecolor=MUTED),
        showlegend=True,
    )  # fmt: skip
    return drawn


def _dearest(held: np.ndarray, losses: np.ndarray) -> list[int]:
    if held.size <= _MOST_SHOWN:
        return [int(each) for each in held]
    return [int(part[np.argmax(losses[part])]) for part in np.array_split(held, _MOST_SHOWN)]


def _table(found: StressResult) -> Markup:
    gate = found.plan.gate
    rows: list[tuple[str, ...]] = [
        ("history as it was", percent(found.base.drawdown), page.coloured(usd(found.base.net_profit)),
         _said(found.base.drawdown, gate), "")
    ]  # fmt: skip
    for gap in gap_rows(found):
        rows.append((
            _shown(gap.title), percent(gap.drawdown), page.coloured(usd(-gap.loss * found.config.capital)),
            _said(gap.drawdown, gate), page.prose(gap.remark),
        ))  # fmt: skip
    for row in found.rows:
        assert row.scenario is not None
        rows.append((
            _shown(row.scenario.title), percent(row.drawdown), page.coloured(usd(row.net_profit)),
            _said(row.drawdown, gate), page.prose(remark_of(row)),
        ))  # fmt: skip
    return page.table(("scenario", "drawdown", "P&L", "gate", page.prose("remark")), rows)


def _said(drawdown: float, gate: float) -> str:
    said = verdict_of(drawdown, gate)
    return page.failed(said) if said == "over the gate" else said.replace("-", page.UNDEFINED)


def _sizes(found: StressResult) -> Markup:
    size = found.size
    assert size is not None
    rows = []
    for lane in sorted(found.config.lanes, key=lambda each: each.symbol):
        now = lane.units if lane.units is not None else lane.weight
        then = size.units.get(lane.symbol, size.weights.get(lane.symbol, math.nan))
        kind = "units" if lane.units is not None else "weight"
        rows.append((f"{lane.symbol}, {kind}", f"{now:.10g}", f"{then:.4g}"))
    return page.table(("lane", "now", f"at {percent(size.scale, 0)}"), rows)


STRESS_SECTIONS.figure(
    "", "drawdown by scenario", "stress-drawdowns", drawdown_figure, wide=True,
    title="Drawdown by scenario", caption="Deepest drawdown of each run, as a fraction of the capital. The "
    "dashed line is the gate.",
)  # fmt: skip
STRESS_SECTIONS.figure(
    "", "loss by date of the shock", "stress-losses", loss_figure, wide=True,
    title="Loss by date of the shock",
    caption="What a gap would have cost at each bar before which something was held; below zero it would "
    "have earned. Stops fill at the open, behind the gap. The dashed line is the gate.",
    shown=lambda found: found.reported > 0,
)  # fmt: skip
STRESS_SECTIONS.add(
    "", "scenarios", _table, title="Scenarios", wide=True,
    caption="Each scenario changes bars, dates or costs, and the strategies trade what results, features "
    "included. P&L is that of the whole run; of a gap, what the gap itself makes of the account.",
)  # fmt: skip
STRESS_SECTIONS.add(
    "", "sizes", _sizes, title="Largest size under the gate", shown=lambda found: found.size is not None,
    caption="Every whole percent of the present sizes was tried from 99 down, units rounded down to whole "
    "steps, until every scenario stayed below the gate. The capital stays.",
)  # fmt: skip
STRESS_SECTIONS.add(
    "", "provenance", lambda found: page.provenance(dict(found.hashes)), title="Made of", wide=True
)
