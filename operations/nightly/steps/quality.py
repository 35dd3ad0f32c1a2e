"""Are tonight's bars to be trusted? What is suspicious about the newest year of a symbol stops it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import PipelineError
from lockstep.market.bars import Bars
from lockstep.market.loader import load_bars
from lockstep.market.quality import assess
from lockstep.market.quality.finding import Finding
from operations.nightly.context import NightContext, NightStep, read_json, write_json
from operations.nightly.telling import send
from operations.quality.voided import voided
from research.ledger.quality import CheckedSeries, checked, record_check
from research.pipeline.graph import Inputs

_NEWEST = np.timedelta64(365, "D")


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: which findings are accepted, the calendars and hours."""
    book, config = context.lab.book, context.config
    sources = [each.name for each in book.sources.values()]
    return [list(config.accepted), config.min_quality, book.digest(config.symbols, sources)]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Write down the findings and the score of each symbol, and which symbols go on; tell what is new."""
    found = {symbol: _checked(context, symbol) for symbol in read_json(read, "ingest")["usable"]}
    troubles = [line for each in found.values() for line in (*each.refusals, *each.revised)]
    usable = [symbol for symbol, each in found.items() if not each.refusals]
    write_json(folder, "quality", {
        "findings": {symbol: list(each.findings) for symbol, each in found.items()},
        "scores": {symbol: each.score for symbol, each in found.items()},
        "usable": usable, "troubles": troubles,
    })  # fmt: skip
    news = [line for each in found.values() for line in each.news]
    if news:
        send(context, {f"quality {context.night}": f"Quality of data, {context.night}: {'; '.join(news)}"})
    if not usable:
        raise PipelineError(f"no symbol has bars to be trusted: {troubles[0]}")
    count = sum(len(each.findings) for each in found.values())
    stopped = sorted(found.keys() - set(usable))
    return f"{count} findings, {', '.join(stopped) or 'no symbol'} stopped by one"


@dataclass(frozen=True, kw_only=True)
class _CheckedSymbol:
    """What a night found in the bars of a symbol.

    findings   for machines; refusals: why the symbol is stopped, a line each
    revised    what of its history changed, and which evidence that voids, a line each
    news       what people should hear of: refusals, revisions, warnings that there were not before
    """

    score: float
    findings: Sequence[Mapping[str, Any]]
    refusals: Sequence[str]
    revised: Sequence[str]
    news: Sequence[str]


def _checked(context: NightContext, symbol: str) -> _CheckedSymbol:
    config, book, ledger = context.config, context.lab.book, context.lab.ledger
    bars = load_bars(symbol, config.data_dir, book=book, source=config.source)
    session = book.session(symbol)
    report = assess(bars, session, book.instrument(symbol))
    grave = [each for each in report.findings if is_grave(each, bars) and each.kind not in config.accepted]
    refusals = [
        f"{symbol}: {each.kind}: {each.sentence}; mend the file, or name {each.kind} under accepted"
        for each in grave
    ]
    if config.min_quality is not None and report.score < config.min_quality:
        refusals.append(
            f"{symbol}: quality {report.shown_score}, below min_quality {config.min_quality:g}; `lockstep "
            "data check` shows why: mend the file, or lower min_quality"
        )
    record_check(ledger, report, bars, session, now=context.now())
    # As it was written down: a night that was killed after that has the same to say.
    *before, newest = checked(ledger, report.series)
    revised = []
    if newest.is_grave:
        revised = [f"{symbol}: revised: {newest.revised}", *(each.strip() for each in voided(report.series))]
    more = _more(before[-1], newest, config.accepted) if before else []
    worse = (
        [f"{symbol} {newest.shown_score}, {before[-1].shown_score} before: {'; '.join(more)}"] if more else []
    )
    return _CheckedSymbol(
        score=report.score,
        findings=[
            {"kind": each.kind, "where": each.where, "count": each.count, "sentence": each.sentence,
             "severity": each.severity, "grave": each in grave}
            for each in report.findings
        ],
        refusals=refusals,
        revised=revised,
        news=[*worse, *refusals, *revised],
    )  # fmt: skip


def _more(before: CheckedSeries, newest: CheckedSeries, accepted: Sequence[str]) -> list[str]:
    """Return the warnings of which there are more than before, but for kinds that are accepted."""
    counts = {each["kind"]: each["count"] for each in before.findings}
    return [
        f"{each['kind']}: {each['sentence']}"
        for each in newest.findings
        if each["severity"] == "warning"
        and each["kind"] not in accepted
        and each["count"] > counts.get(each["kind"], 0)
    ]


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
