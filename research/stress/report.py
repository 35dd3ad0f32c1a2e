"""What a stress test leaves: a table and sentences for people, `stress.json` for machines, a page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.files import replacing_folder
from lockstep.identity import json_digest
from lockstep.market.instrument import traded_symbol
from lockstep.tables import TextTable, number, prose
from research.backtest.folder import write_json
from research.stress.gaps import GapScan
from research.stress.run import ScenarioRow, StressResult

SCHEMA = 1
NO_BARS = "no bars"
_DIGITS = 10


def moment(scan: GapScan, s: int) -> str:
    """Return the end of a set, UTC: its date and time."""
    return str(np.datetime_as_string(scan.stamps[s].view("M8[ns]"), unit="m")).replace("T", " ")


@dataclass(frozen=True, kw_only=True)
class GapRow:
    """What one gap came to at its worst.

    drawdown, loss   deepest of all open bars, and what the gap itself costs there, fractions of the capital
    when             UTC; open_bars: at how many it was tried; over: at how many the gate was reached
    """

    title: str
    drawdown: float
    loss: float
    when: str
    open_bars: int
    over: int
    in_cerebro: bool

    @property
    def remark(self) -> str:
        """What is to be said beside the figures."""
        said = f"worst of {self.open_bars:,} open bars, {self.when}; {self.over:,} over the gate"
        return said + (", equal in Cerebro" if self.in_cerebro else "")


def gap_rows(found: StressResult) -> Iterator[GapRow]:
    """Yield what each gap of the plan came to."""
    scan, gate = found.scan, found.plan.gate
    again = {k for k, _ in found.gaps_in_cerebro}
    for k in range(found.reported):
        worst = scan.worst(k, 1)[0]
        held = scan.drawdowns[k, scan.is_open]
        yield GapRow(
            title=scan.gaps[k].title,
            drawdown=float(scan.drawdowns[k, worst]),
            loss=float(scan.losses[k, worst]),
            when=moment(scan, worst),
            open_bars=int(held.size),
            over=int((held >= gate).sum()),
            in_cerebro=k in again,
        )


def verdict_of(drawdown: float, gate: float) -> str:
    """Return what the gate says of one drawdown."""
    return "-" if math.isnan(drawdown) else "ok" if drawdown < gate else "over the gate"


def remark_of(row: ScenarioRow) -> str:
    """Return what is to be said of a scenario beside its figures."""
    parts = [f"from {row.when}"] if row.when else []
    if row.refused:
        parts.append(NO_BARS if NO_BARS in row.refused else row.refused.rpartition(": ")[2])
    parts += [f"{symbol}: {NO_BARS}" for symbol in dict.fromkeys(map(traded_symbol, row.missing))]
    parts += ["equal in Cerebro"] if row.in_cerebro else []
    return ", ".join(parts)


def stress_table(found: StressResult) -> TextTable:
    """Return one row a scenario: deepest drawdown, net profit in USD, what the gate says."""
    table = TextTable(
        "scenario", number("drawdown"), number("P&L"), "gate", prose("remark"), title=found.config.name
    )
    gate = found.plan.gate
    table.add_row(
        "history as it was", _percent(found.base.drawdown), _usd(found.base.net_profit),
        verdict_of(found.base.drawdown, gate), "",
    )  # fmt: skip
    for gap in gap_rows(found):
        table.add_row(
            gap.title, _percent(gap.drawdown), _usd(-gap.loss * found.config.capital),
            verdict_of(gap.drawdown, gate), gap.remark,
        )  # fmt: skip
    for row in found.rows:
        assert row.scenario is not None
        table.add_row(
            row.scenario.title, _percent(row.drawdown), _usd(row.net_profit), verdict_of(row.drawdown, gate),
            remark_of(row),
        )  # fmt: skip
    return table


def stress_lines(found: StressResult) -> list[str]:
    """Return the verdict, the largest size, and what was compared, in sentences."""
    name, gate, cerebro = found.config.name, found.plan.gate, len(found.gaps_in_cerebro)
    lines = [size_line(found)]
    again = sum(each.in_cerebro for each in found.rows)
    lines.append(
        f"{name}: the worst {cerebro} gaps and {again} other scenarios ran again in Cerebro, equal to the bit"
    )
    lines += [
        f"{each.scenario.title}: {sentence}"
        for each in found.rows
        if each.scenario is not None
        for sentence in dict.fromkeys(each.missing.values())
    ]
    lines += [each.refused for each in found.rows if each.refused]
    verdict = "PASSED" if found.passes else "FAILED"
    lines.append(
        f"{name}: {verdict}: worst drawdown {found.worst:.1%} of the capital, the gate is {gate:.0%}"
    )
    return lines


def size_line(found: StressResult) -> str:
    """Return the sentence about the largest size."""
    name, gate = found.config.name, f"{found.plan.gate:.0%}"
    if found.passes:
        return f"{name}: the present sizes stay under {gate} in every scenario"
    if found.size is None:
        return (
            f"{name}: no size stays under {gate}, not even the smallest step of one lane; give the "
            "account more capital, trade smaller contracts, or leave lanes out"
        )
    size = found.size
    return f"{name}: the largest size under {gate} is {size.scale:.0%} of the present one: {size.sizes}"


def stress_content(found: StressResult) -> dict[str, Any]:
    """Return what `stress.json` holds: plain JSON, None for what is not a number."""
    gate = found.plan.gate
    gaps = [
        {
            "scenario": each.title,
            "drawdown": each.drawdown,
            "loss": each.loss,
            "at": each.when,
            "open_bars": each.open_bars,
            "over_the_gate": each.over,
            "in_cerebro": each.in_cerebro,
        }
        for each in gap_rows(found)
    ]
    size = found.size
    return {
        "schema_version": SCHEMA,
        "portfolio": found.config.name,
        "capital": found.config.capital,
        "gate": gate,
        "passes": found.passes,
        "worst_drawdown": found.worst,
        "history": _row_content(found.base),
        "gaps": gaps,
        "scenarios": [_row_content(each) for each in found.rows],
        "plan": found.plan.model_dump(mode="json"),
        "largest_size": None
        if size is None
        else {"scale": size.scale, "units": dict(size.units), "weights": dict(size.weights)},
        "provenance": dict(found.hashes),
    }


def _row_content(row: ScenarioRow) -> dict[str, Any]:
    return {
        "scenario": row.scenario.title if row.scenario else "history",
        "kind": row.scenario.kind if row.scenario else "history",
        "drawdown": None if math.isnan(row.drawdown) else row.drawdown,
        "net_profit": None if math.isnan(row.net_profit) else row.net_profit,
        "start": row.when or None,
        "missing": dict(row.missing),
        "refused": row.refused or None,
        "in_cerebro": row.in_cerebro,
    }


def save_stress(found: StressResult, folder: Path, *, shared_js: Path | None = None) -> Path:
    """Write stress.json and stress.html into a folder of `folder`, complete or not at all, and return it.

    Equal runs leave equal bytes. `shared_js` as in `page.write_page`.
    """
    from research.stress.page import write_stress_page

    content = stress_content(found)
    final = folder / f"stress-{found.config.name}-{json_digest(content)[:_DIGITS]}"
    with replacing_folder(final) as temporary:
        write_json(temporary / "stress.json", content)
        write_stress_page(found, temporary / "stress.html", shared_js=shared_js)
    return final


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.1%}"


def _usd(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
