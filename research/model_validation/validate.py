"""Validation from end to end: gather, judge, freeze the reference, write the files, attach the evidence."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lockstep.errors import LockstepError
from lockstep.features.columns import source_keys
from lockstep.files import replace_file
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.models.content import sha256_of
from lockstep.models.evidence import REFERENCE, VALIDATION, bars_read, gathered_with
from lockstep.models.manifest import Evidence
from lockstep.monitoring.frozen import FrozenReference
from research.ledger.ledger import Ledger
from research.model_validation.case import ValidationCase
from research.model_validation.checks import judge_model
from research.model_validation.gathering import ValidationRequest, gather
from research.model_validation.reference import frozen_reference
from research.model_validation.report import ValidationReport, write_validation

KIND = VALIDATION


def validate(
    request: ValidationRequest, ledger: Ledger, *, by: str, now: datetime
) -> tuple[ValidationReport, Path]:
    """Judge a version, freeze its reference, attach verdict and reference; return the report and its page.

    Raises: what `gather` raises; nothing is written or attached then.
    """
    request.reports.mkdir(parents=True, exist_ok=True)
    book = load_instruments()
    case = gather(request, ledger, now=now)
    model = request.store.manifest().instruments[request.symbol][request.name]
    promoted = model.production == request.version
    reference, unfrozen = _frozen(case)
    report = ValidationReport(
        case=case,
        verdict=judge_model(case, retrained=request.retrained),
        promoted=promoted,
        reference=reference,
        unfrozen=unfrozen,
    )
    page, numbers = write_validation(report, request.reports)
    attached = [evidence_of(report, numbers, request, book, now=now)]
    if reference is not None:
        attached.insert(0, reference_evidence(case, reference, request, now=now))
    for evidence in attached:
        request.store.attach(request.symbol, request.version, evidence, by=by, now=now, name=request.name)
    return report, page


def _frozen(case: ValidationCase) -> tuple[FrozenReference | None, str]:
    """Return what a desk will be held to, or why that cannot be frozen: the verdict is given all the same."""
    try:
        return frozen_reference(case), ""
    except LockstepError as reason:
        return None, f"Nothing was frozen, so that the version cannot be promoted: {reason}"


def reference_evidence(
    case: ValidationCase, reference: FrozenReference, request: ValidationRequest, *, now: datetime
) -> Evidence:
    """Write the sealed file of a reference and return the evidence that names it.

    It has passed where it was frozen: what of it is off or absent is in the file, and no reason to refuse.
    """
    name = f"{request.symbol}_{request.version}-reference.json"
    path = replace_file(request.reports / name, reference.text())
    return Evidence(
        kind=REFERENCE,
        passed=True,
        bundle_sha256=case.bundle.sha256,
        **_named(path, request),
        hashes=case.hashes,
        data=bars_read(case.history, _folder(request), case.data.source),
        issued=now,
    )


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
    case, folder = report.case, _folder(request)
    symbols = tuple(sorted({key.symbol for key in source_keys(case.plan, case.history.markets)}))
    sources = book.sources_of(symbols, folder, case.data.source)
    return Evidence(
        kind=KIND,
        passed=report.verdict.passed,
        bundle_sha256=case.bundle.sha256,
        **_named(numbers, request),
        hashes={
            **case.hashes,
            **gathered_with(VALIDATION, symbols, sources, book=book),
        },
        symbols=symbols,
        sources=sources,
        data=bars_read(case.history, folder, case.data.source),
        issued=now,
    )


def _named(path: Path, request: ValidationRequest) -> dict[str, str]:
    """Return how evidence names a report, within the store or else by its full path, and its hash."""
    store = request.store.folder.resolve()
    inside = path.resolve().is_relative_to(store)
    return {
        "file": path.resolve().relative_to(store).as_posix() if inside else str(path),
        "file_sha256": sha256_of(path.read_bytes()),
    }


def _folder(request: ValidationRequest) -> Path | None:
    """Return the folder of the bars, as it was given or recorded; None: embedded data."""
    record = request.store.manifest().entry(request.symbol, request.version, request.name).record
    return request.data_dir or (Path(record.data_dir) if record.data_dir else None)
