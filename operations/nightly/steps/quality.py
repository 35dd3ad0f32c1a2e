"""Are tonight's bars to be trusted? What is suspicious about the newest year of a symbol stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import PipelineError
from lockstep.market.bars import Bars
from lockstep.market.loader import load_bars
from lockstep.market.quality import assess
from lockstep.market.quality.finding import Finding
from operations.nightly.context import NightContext, NightStep, read_json, write_json
from research.pipeline.graph import Inputs

_NEWEST = np.timedelta64(365, "D")


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: which findings are accepted, the calendars and hours."""
    book = context.lab.book
    sources = [each.name for each in book.sources.values()]
    return [list(context.config.accepted), book.digest(context.config.symbols, sources)]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Write down the findings of each symbol, and which symbols go on."""
    config, book, found, troubles = context.config, context.lab.book, {}, []
    for symbol in read_json(read, "ingest")["usable"]:
        bars = load_bars(symbol, config.data_dir, book=book, source=config.source)
        findings = assess(bars, book.session(symbol), book.instrument(symbol)).findings
        grave = [each for each in findings if is_grave(each, bars) and each.kind not in config.accepted]
        found[symbol] = [
            {"kind": each.kind, "where": each.where, "count": each.count, "sentence": each.sentence,
             "severity": each.severity, "grave": each in grave}
            for each in findings
        ]  # fmt: skip
        troubles += [
            f"{symbol}: {each.kind}: {each.sentence}; mend the file, or name {each.kind} under accepted"
            for each in grave
        ]
    stopped = {symbol for symbol, rows in found.items() if any(row["grave"] for row in rows)}
    usable = [symbol for symbol in found if symbol not in stopped]
    write_json(folder, "quality", {"findings": found, "usable": usable, "troubles": troubles})
    if not usable:
        raise PipelineError(f"no symbol has bars to be trusted: {troubles[0]}")
    count = sum(len(rows) for rows in found.values())
    return f"{count} findings, {', '.join(sorted(stopped)) or 'no symbol'} stopped by one"


def is_grave(finding: Finding, bars: Bars) -> bool:
    """Whether a finding may make results wrong and is about the newest year, or about all of the bars."""
    if finding.severity != "warning":
        return False
    newest = np.datetime64(int(bars.end[-1]), "ns")
    if finding.spans:
        last = max(np.datetime64(int(span[1]), "ns") for span in finding.spans)
        return bool(newest - last <= _NEWEST)
    return not finding.where.isdigit() or finding.where == str(newest.astype("M8[Y]"))


STEP: NightStep = NightStep(
    name="quality", module=__name__, needs=("ingest",), ingredients=ingredients, work=work
)
