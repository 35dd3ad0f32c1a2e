"""Validation from end to end: gather, judge, write the report, attach the verdict to the manifest."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lockstep.features.columns import source_keys
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.models.content import sha256_of
from lockstep.models.evidence import VALIDATION, bars_read, gathered_with
from lockstep.models.manifest import Evidence
from research.ledger.ledger import Ledger
from research.model_validation.checks import judge_model
from research.model_validation.gathering import ValidationRequest, gather
from research.model_validation.report import ValidationReport, write_validation

KIND = VALIDATION


def validate(
    request: ValidationRequest, ledger: Ledger, *, by: str, now: datetime
) -> tuple[ValidationReport, Path]:
    """Judge a version, write its report, and attach the verdict; return both the report and its page.

    Raises: what `gather` raises; nothing is written or attached then.
    """
    request.reports.mkdir(parents=True, exist_ok=True)
    book = load_instruments()
    case = gather(request, ledger, now=now)
    model = request.store.manifest().instruments[request.symbol][request.name]
    promoted = model.production == request.version
    report = ValidationReport(case=case, verdict=judge_model(case), promoted=promoted)
    page, numbers = write_validation(report, request.reports)
    evidence = evidence_of(report, numbers, request, book, now=now)
    request.store.attach(request.symbol, request.version, evidence, by=by, now=now, name=request.name)
    return report, page


def evidence_of(
    report: ValidationReport,
    numbers: Path,
    request: ValidationRequest,
    book: InstrumentBook,
    *,
    now: datetime,
) -> Evidence:
    """Return the evidence: the verdict on exactly this bundle, and the hash of the report's JSON.

    book   instruments.yml as it was when the validation began
    """
    store, case = request.store.folder, report.case
    inside = numbers.resolve().is_relative_to(store.resolve())
    record = request.store.manifest().entry(request.symbol, request.version, request.name).record
    folder = request.data_dir or (Path(record.data_dir) if record.data_dir else None)
    symbols = tuple(sorted({key.symbol for key in source_keys(case.plan, case.history.markets)}))
    sources = book.sources_of(symbols, folder, case.data.source)
    return Evidence(
        kind=KIND,
        passed=report.verdict.passed,
        bundle_sha256=case.bundle.sha256,
        file=numbers.resolve().relative_to(store.resolve()).as_posix() if inside else str(numbers),
        file_sha256=sha256_of(numbers.read_bytes()),
        hashes={
            **case.hashes,
            **gathered_with(VALIDATION, symbols, sources, book=book),
        },
        symbols=symbols,
        sources=sources,
        data=bars_read(case.history, folder, case.data.source),
        issued=now,
    )
