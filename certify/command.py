"""`lockstep certify`: certify versions, or check a recorded journal; print, write, attach."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from certify.certificate import Certificate, write_certificate
from certify.page import certificate_html
from certify.run import CertificateRequest, certify
from lockstep.errors import ConfigError, DataError
from lockstep.files import replace_file
from lockstep.live.config import LiveConfig
from lockstep.market.command_line import App, Symbols
from lockstep.models.evidence import CERTIFICATE
from lockstep.models.manifest import Evidence
from lockstep.models.policy import CertificateMinimum
from lockstep.models.store import ModelStore
from research.ledger.versions import symbols_with

NOT_EQUAL, TOO_LITTLE = 1, 3

app = App()


@app.command()
def main(
    symbol: Symbols = "",
    version: Annotated[str, typer.Option(help="Version of each symbol: v3, or production.")] = "production",
    store: Annotated[Path | None, typer.Option(help="Model store; default: the usual one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the files; default: the training's.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; default: the training's.")] = None,
    start: Annotated[str | None, typer.Option(help="First session, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session, YYYY-MM-DD.")] = None,
    restarts: Annotated[int, typer.Option(min=0, help="Number of times the live engine is killed.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed for the times of the kills.")] = 0,
    by: Annotated[str, typer.Option(help="Name to record in the manifest.")] = "check_parity",
    out: Annotated[Path | None, typer.Option(help="Folder of the reports; default: the store's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificates as JSON lines.")] = False,
    journal: Annotated[Path | None, typer.Option(help="Verify a recorded journal instead.")] = None,
    desk: Annotated[
        Path | None, typer.Option(help="live.yml: certify its portfolio, with its limits, instead.")
    ] = None,
) -> None:
    """Compare research, sweep and a killed and restarted live engine.

    Exit code 1: they differ; 3: they agree, but on less than the store's policy requires.
    """
    if journal is not None:
        sys.exit(_recorded(journal, store, data_dir, source, as_json=as_json))
    console = Console(stderr=as_json)
    config = None if desk is None else LiveConfig.load(desk)
    models = ModelStore(store or (config.store if config else None))
    if config is not None:
        if symbol:
            raise ConfigError("--symbol and --desk: a portfolio is certified as a whole; give one of them")
        request = _desk_request(config, models, data_dir, source)
        request = replace(request, start=start, end=end, restarts=restarts, seed=seed)
        sys.exit(_portfolio(config, request, out, console, as_json=as_json))
    if not symbol:
        raise ConfigError(
            "no symbol: give --symbol COMP, --desk live.yml for a portfolio, or --journal for a recording"
        )
    chosen = symbols_with(symbol, version, models)
    for line in chosen.skipped:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    versions = dict.fromkeys(chosen.symbols, version)
    bars = bars_of_training(models, versions, data_dir, source)
    if bars != (data_dir, source):
        console.print(f"bars of the training: {_bars(*bars)}", style="dim", soft_wrap=True, highlight=False)
    request = CertificateRequest(
        versions=versions,
        store=models,
        data_dir=bars[0],
        source=bars[1],
        start=start,
        end=end,
        restarts=restarts,
        seed=seed,
    )
    now = datetime.now(UTC)
    minimum = models.policy().certificate
    issued = certify(request, now=now, tell=lambda text: console.print(text, style="dim"))
    folder = out or models.folder / "reports"
    for certificate in issued:
        path = keep(certificate, folder, models, by=by, now=now)
        if as_json:
            print(certificate.model_dump_json())
        else:
            say(console, certificate, path)
        for lack in lacks(certificate, minimum, now):
            console.print(
                f"{certificate.symbol} {certificate.version}: {lack}", soft_wrap=True, highlight=False
            )
    sys.exit(exit_code(issued, minimum, now))


def _desk_request(
    desk: LiveConfig, models: ModelStore, data_dir: Path | None, source: str | None
) -> CertificateRequest:
    """Return what to certify of a desk, on the bars that are given, else on those of its history section."""
    given = (data_dir, source) if data_dir or source else (desk.history.data_dir, desk.history.source)
    folder, name = given if any(given) else bars_of_training(models, desk.versions, None, None)
    return CertificateRequest(versions=desk.versions, store=models, data_dir=folder, source=name)


def _portfolio(
    desk: LiveConfig, request: CertificateRequest, out: Path | None, console: Console, *, as_json: bool
) -> int:
    from certify.page import portfolio_certificate_html
    from certify.portfolio import certify_portfolio, write_portfolio_certificate

    def tell(text: str) -> None:
        console.print(text, style="dim")

    issued = certify_portfolio(desk, request, now=datetime.now(UTC), tell=tell)
    path = write_portfolio_certificate(issued, out or request.store.folder / "reports")
    page = path.with_suffix(".html")
    replace_file(page, portfolio_certificate_html(issued), error=DataError)
    if as_json:
        print(issued.model_dump_json())
        return 0 if issued.passed else NOT_EQUAL
    verdict = "parity holds" if issued.passed else "PARITY DOES NOT HOLD"
    console.print(f"portfolio {issued.portfolio}: {verdict}", style="bold", highlight=False)
    console.print(f"  {issued.sentence}", highlight=False, soft_wrap=True)
    killed = ", ".join(map(str, issued.killed_after)) or "never"
    console.print(f"  live engine killed and restarted after bar set {killed}", highlight=False)
    if issued.first:
        console.print(f"  first: {issued.first}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"  certificate: {page}", soft_wrap=True, highlight=False)
    return 0 if issued.passed else NOT_EQUAL


def bars_of_training(
    store: ModelStore, versions: Mapping[str, str], data_dir: Path | None, source: str | None
) -> tuple[Path | None, str | None]:
    """Return folder and source of the bars: what is given, else what the versions were trained on.

    ConfigError where the versions were trained on different ones.
    """
    manifest = store.manifest()
    trained = {
        symbol: manifest.entry(symbol, version).record.bars(data_dir, source)
        for symbol, version in versions.items()
    }
    (first, found), *others = trained.items()
    for symbol, other in others:
        if other != found:
            raise ConfigError(
                f"{first} was trained on {_bars(*found)}, {symbol} on {_bars(*other)}: one certificate run "
                "reads one; certify them one at a time, or give --data-dir and --source"
            )
    return found


def _bars(folder: Path | None, source: str | None) -> str:
    return f"{folder or 'embedded data'}{f' (source {source})' if source else ''}"


def lacks(certificate: Certificate, minimum: CertificateMinimum, now: datetime) -> tuple[str, ...]:
    """Return in what a certificate falls short of a policy's minimum, as a promotion would say it."""
    return tuple(f"the certificate {each}" for each in minimum.lacking(evidence_of(certificate), now))


def exit_code(issued: Sequence[Certificate], minimum: CertificateMinimum, now: datetime) -> int:
    """Return 0 where every certificate may count for a promotion, else why not; a difference comes first."""
    if not all(each.passed for each in issued):
        return NOT_EQUAL
    return TOO_LITTLE if any(lacks(each, minimum, now) for each in issued) else 0


def keep(certificate: Certificate, folder: Path, store: ModelStore, *, by: str, now: datetime) -> Path:
    """Write the certificate as JSON and HTML, attach it to its version, and return the HTML."""
    path = write_certificate(certificate, folder)
    page = path.with_suffix(".html")
    replace_file(page, certificate_html(certificate), error=DataError)
    named = {
        "file": str(path.relative_to(store.folder)) if path.is_relative_to(store.folder) else path.name,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    evidence = evidence_of(certificate).model_copy(update=named)
    store.attach(certificate.symbol, certificate.version, evidence, by=by, now=now)
    return page


def evidence_of(certificate: Certificate) -> Evidence:
    """Return what a manifest keeps of a certificate, without the file."""
    return Evidence(
        kind=CERTIFICATE,
        passed=certificate.passed,
        bundle_sha256=certificate.bundle_sha256,
        expires=certificate.expires,
        hashes=certificate.hashes,
        symbols=certificate.symbols,
        sources=certificate.sources,
        issued=certificate.issued,
        newest_bar=certificate.newest_bar,
        counts=certificate.counts,
        data=certificate.data,
    )


def say(console: Console, certificate: Certificate, page: Path) -> None:
    """Print the result in a few lines."""
    verdict = "parity holds" if certificate.passed else "PARITY DOES NOT HOLD"
    console.print(f"{certificate.symbol} {certificate.version}: {verdict}", style="bold", highlight=False)
    console.print(f"  {certificate.sentence}", highlight=False)
    killed = ", ".join(map(str, certificate.killed_after)) or "never"
    console.print(f"  live engine killed and restarted after bar set {killed}", highlight=False)
    if certificate.first:
        console.print(f"  first difference: {certificate.first}", highlight=False, markup=False)
    console.print(f"  certificate: {page}", soft_wrap=True, highlight=False)


def _recorded(
    journal: Path, store: Path | None, data_dir: Path | None, source: str | None, *, as_json: bool
) -> int:
    from certify.recorded import check_recorded

    report = check_recorded(journal, store=ModelStore(store), data_dir=data_dir, source=source)
    if as_json:
        print(report.model_dump_json())
    else:
        report.show(Console())
    return 0 if report.passed else NOT_EQUAL
