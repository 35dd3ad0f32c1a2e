"""A paper comparison as evidence in the manifest: what a policy may ask for before a promotion."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lockstep.errors import ParityError
from lockstep.live.world import version_with
from lockstep.models.atomic import replace_file
from lockstep.models.content import sha256_of
from lockstep.models.manifest import VETO, Evidence
from lockstep.models.present import present_hashes
from lockstep.models.store import ModelStore
from research.paper.report import PAGE
from research.paper.verdict import InstrumentComparison, PaperComparison

KIND = "paper"
LEAST_SESSIONS = 10
REPORTS = "reports"


def versions_of(comparison: PaperComparison, store: ModelStore) -> dict[str, str]:
    """Return the one version that traded each instrument.

    ParityError where an instrument was traded by several bundles, by a retired one, or in fewer than ten
    sessions that could be compared.
    """
    return {each.symbol: _version(each, comparison, store) for each in comparison.instruments}


def attach(
    comparison: PaperComparison, written: Path, store: ModelStore, *, by: str, now: datetime
) -> dict[str, Evidence]:
    """Attach the verdict on each instrument, a failed one too, to the version that traded it.

    written   the comparison's JSON, with its page beside it: both are copied into the store's reports

    ParityError as of `versions_of`: nothing is attached then.
    """
    versions = versions_of(comparison, store)
    file = _kept(written, store)
    found = {
        each.symbol: evidence_of(comparison, each, file, store, now=now) for each in comparison.instruments
    }
    for symbol, evidence in found.items():
        store.attach(symbol, versions[symbol], evidence, by=by, now=now)
    return found


def _version(each: InstrumentComparison, comparison: PaperComparison, store: ModelStore) -> str:
    bundles = comparison.bundles[each.symbol]
    if len(bundles) > 1:
        told = ", ".join(dict.fromkeys(each.versions)) or f"{len(bundles)} bundles"
        raise ParityError(
            f"{each.symbol}: the journal was traded by {told}; evidence is about one bundle: choose an epoch "
            "with --epoch, or let that version run in a journal of its own"
        )
    manifest = store.manifest()
    version = version_with(manifest, each.symbol, bundles[0])
    if manifest.entry(each.symbol, version, VETO).status == "retired":
        raise ParityError(f"{each.symbol} {version}: is retired; nothing promotes it any more")
    if each.sessions < LEAST_SESSIONS:
        raise ParityError(
            f"{each.symbol} {version}: {each.sessions} sessions compared, evidence rests on at least "
            f"{LEAST_SESSIONS}; let it run longer"
        )
    return version


def _kept(written: Path, store: ModelStore) -> Path:
    """Copy the comparison and its page into the store's reports; return the JSON there."""
    content = written.read_bytes()
    file = store.folder / REPORTS / f"paper-{sha256_of(content)[:16]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, content)
    replace_file(file.with_suffix(".html"), written.with_name(PAGE).read_bytes())
    return file


def evidence_of(
    comparison: PaperComparison, each: InstrumentComparison, file: Path, store: ModelStore, *, now: datetime
) -> Evidence:
    """Return the evidence about the one bundle that traded an instrument."""
    declared = comparison.declared[each.symbol]
    return Evidence(
        kind=KIND,
        passed=each.passed,
        bundle_sha256=comparison.bundles[each.symbol][0],
        file=file.relative_to(store.folder).as_posix(),
        file_sha256=sha256_of(file.read_bytes()),
        hashes={
            **present_hashes(),
            "instruments": declared.digest,
            "journal": comparison.journal_hash,
            **{f"data {series}": value for series, value in comparison.data.items()},
        },
        symbols=declared.symbols,
        sources=declared.sources,
        issued=now,
        counts={"bars": each.equality.bars, "sessions": each.sessions, "trades": each.paper_trades},
    )
