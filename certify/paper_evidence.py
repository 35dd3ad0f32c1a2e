"""A paper comparison as evidence in the manifest: what a policy may ask for before a promotion."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep.errors import ParityError
from lockstep.files import replace_file
from lockstep.live.outside import version_with
from lockstep.market.instrument import traded_symbol
from lockstep.models.content import sha256_of
from lockstep.models.evidence import PAPER, gathered_with
from lockstep.models.manifest import VETO, BarsRead, Evidence
from lockstep.models.store import ModelStore
from research.paper.report import PAGE
from research.paper.verdict import InstrumentComparison, PaperComparison

REPORTS = "reports"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def versions_of(comparison: PaperComparison, store: ModelStore) -> dict[str, str]:
    """Return the one version that traded each instrument.

    ParityError where an instrument was traded by several bundles, by a retired one, or in fewer sessions that
    could be compared than the store's policy asks for, ten at least.
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
    found = {each.symbol: evidence_of(comparison, each, file, store) for each in comparison.instruments}
    for symbol, evidence in found.items():
        store.attach(traded_symbol(symbol), versions[symbol], evidence, by=by, now=now)
    return found


def _version(each: InstrumentComparison, comparison: PaperComparison, store: ModelStore) -> str:
    bundles = comparison.bundles[each.symbol]
    if len(bundles) > 1:
        told = ", ".join(dict.fromkeys(each.versions)) or f"{len(bundles)} bundles"
        raise ParityError(
            f"{each.symbol}: the journal was traded by {told}; evidence covers one bundle: choose an epoch "
            "with --epoch, or let that version run in a journal of its own"
        )
    manifest = store.manifest()
    version = version_with(manifest, traded_symbol(each.symbol), bundles[0])
    if manifest.entry(traded_symbol(each.symbol), version, VETO).status == "retired":
        raise ParityError(f"{each.symbol} {version}: is retired; nothing promotes it any more")
    least = store.policy().paper.sessions
    if each.sessions < least:
        raise ParityError(
            f"{each.symbol} {version}: {each.sessions} sessions compared, evidence rests on at least "
            f"{least}; let it run longer"
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
    comparison: PaperComparison, each: InstrumentComparison, file: Path, store: ModelStore
) -> Evidence:
    """Return the evidence about the one bundle that traded an instrument."""
    symbols, sources = comparison.reads[each.symbol], comparison.sources[each.symbol]
    series = {name: value for name, value in comparison.data.items() if name.rpartition(":")[0] in symbols}
    return Evidence(
        kind=PAPER,
        passed=each.passed,
        bundle_sha256=comparison.bundles[each.symbol][0],
        file=file.relative_to(store.folder).as_posix(),
        file_sha256=sha256_of(file.read_bytes()),
        hashes={
            **gathered_with(PAPER, symbols, sources),
            "journal": comparison.journal_hash,
            **{f"data {name}": value for name, value in series.items()},
        },
        symbols=symbols,
        sources=sources,
        data=_bars_of(comparison, symbols),
        issued=_moment(comparison.time),
        newest_bar=_moment(comparison.newest[each.symbol]),
        counts={
            "bars": each.equality.bars, "sessions": each.sessions, "trades": each.paper_trades
        },
    )  # fmt: skip


def _bars_of(comparison: PaperComparison, symbols: Collection[str]) -> BarsRead | None:
    """Return the bars that one instrument's verdict rests on: those of the symbols that its models read."""
    if comparison.bars is None:
        return None
    series = comparison.bars.series.items()
    own = {name: each for name, each in series if name.rpartition(":")[0] in symbols}
    return BarsRead(data_dir=comparison.bars.data_dir, source=comparison.bars.source, series=own)


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)
