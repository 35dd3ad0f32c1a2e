"""`Policy`: the evidence that a promotion asks for, and how much of it, from `policy.json` in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lockstep.errors import ConfigError, ManifestError
from lockstep.models.evidence import (
    CERTIFICATE,
    FORWARD,
    PAPER,
    REFERENCE,
    VALIDATION,
    elsewhere,
    gathered_otherwise,
    revised,
)
from lockstep.models.manifest import Evidence, VersionEntry
from lockstep.models.manifest_file import store_json
from lockstep.settings import Settings, validated

POLICY = "policy.json"

Count = Annotated[int, Field(ge=0, strict=True)]
Days = Annotated[int, Field(ge=1, strict=True)]


class CertificateMinimum(Settings):
    """What a parity certificate must rest on at least: a year of daily bars, or a month of hourly ones.

    bars       of the traded series on which research and the live engine were compared
    sessions   that these bars belong to: 250 bars of a minute are no evidence about a week
    trades     entries that filled
    restarts   kills, each after another bar set, after which the live engine went on
    max_age_days      days since it was issued, at the promotion
    newest_bar_days   days since its newest bar, at the promotion; None: history may end at any time
    """

    bars: Count = 250
    sessions: Count = 20
    trades: Count = 20
    restarts: Count = 1
    max_age_days: Days = 90
    newest_bar_days: Days | None = None

    def lacking(self, evidence: Evidence, now: datetime) -> Iterator[str]:
        """Yield what the evidence of a certificate lacks, one sentence each."""
        if evidence.issued is None and not evidence.counts:
            yield "was issued by an older version, which did not record its size; certify again"
            return
        short = _short(evidence, self, ("bars", "sessions", "trades", "restarts"))
        if short:
            yield f"is too small: {short}; certify a longer stretch, with restarts"
        yield from _aged(evidence, self, now, "certify again")


class PaperMinimum(Settings):
    """What a comparison of paper and backtest must rest on at least.

    sessions   that could be compared; trades   closed in them
    max_age_days, newest_bar_days   as of a certificate
    """

    sessions: Annotated[int, Field(ge=10, strict=True)] = 10
    trades: Count = 0
    max_age_days: Days = 90
    newest_bar_days: Days | None = None

    def lacking(self, evidence: Evidence, now: datetime) -> Iterator[str]:
        """Yield what the evidence of a comparison lacks, one sentence each."""
        short = _short(evidence, self, ("sessions", "trades"))
        if short:
            yield f"is too small: {short}; let it run longer, then compare again"
        yield from _aged(evidence, self, now, "compare again")


class ForwardMinimum(Settings):
    """What forward evidence must have reached.

    size       `full`, or `pilot`, which a year of noise reaches ten times as often
    sessions   scored at least
    """

    size: Literal["pilot", "full"] = "full"
    sessions: Count = 0

    def lacking(self, evidence: Evidence) -> Iterator[str]:
        """Yield what forward evidence lacks, one sentence each."""
        if self.size == "full" and not evidence.counts.get("full"):
            yield "allows a pilot only, the policy asks for full size; wait for more sessions"
        if short := _short(evidence, self, ("sessions",)):
            yield f"is too small: {short}; wait for more sessions"


class Policy(Settings):
    """What a promotion requires.

    promotion     kinds of evidence: each about exactly the bundle's SHA-256, passed, not expired, gathered
                  with the code, the libraries and the instruments of now
    certificate   minimum size of a parity certificate; paper   minimum size of a paper comparison
    forward       what forward evidence must have reached, where `promotion` names it

    >>> Policy(promotion=("certificate",)).certificate.bars
    250
    """

    promotion: tuple[str, ...] = (VALIDATION, CERTIFICATE, REFERENCE)
    certificate: CertificateMinimum = CertificateMinimum()
    paper: PaperMinimum = PaperMinimum()
    forward: ForwardMinimum = ForwardMinimum()

    def missing(self, entry: VersionEntry, now: datetime) -> tuple[str, ...]:
        """Return what speaks against a promotion, one sentence each; the newest evidence of a kind counts."""
        newest = {each.kind: each for each in entry.evidence}
        return tuple(
            f"{kind}: {fault}"
            for kind in self.promotion
            for fault in self._faults(kind, newest.get(kind), entry.sha256, now)
        )

    def data(self, entry: VersionEntry) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which evidence rests on bars that were revised since, and what else is worth knowing.

        The first speaks against a promotion, as what `missing` returns does; the second does not: bars that
        cannot be read again here, another machine. The bars are read, which takes a moment.
        """
        newest = {each.kind: each for each in entry.evidence}
        faults, remarks = [], []
        for kind in filter(newest.__contains__, self.promotion):
            changed, unread = revised(newest[kind])
            faults += [f"{kind}: {fault}" for fault in changed]
            remarks += [f"{kind}: {remark}" for remark in (*unread, elsewhere(newest[kind])) if remark]
        return tuple(faults), tuple(remarks)

    def _faults(self, kind: str, evidence: Evidence | None, sha256: str, now: datetime) -> Iterator[str]:
        if evidence is None:
            # Versions that were validated before there were references have everything else.
            yield "there is none; validate it again" if kind == REFERENCE else "there is none"
            return
        if evidence.bundle_sha256 != sha256:
            yield f"is about another bundle, {evidence.bundle_sha256[:12]}…"
        if not evidence.passed:
            yield "was not passed"
        yield from gathered_otherwise(evidence)
        if evidence.expires is not None and evidence.expires <= now:
            yield f"expired on {evidence.expires:%Y-%m-%d %H:%M}"
        if evidence.kind == CERTIFICATE:
            yield from self.certificate.lacking(evidence, now)
        if evidence.kind == PAPER:
            yield from self.paper.lacking(evidence, now)
        if evidence.kind == FORWARD:
            yield from self.forward.lacking(evidence)


def _short(
    evidence: Evidence, minimum: CertificateMinimum | PaperMinimum | ForwardMinimum, names: Sequence[str]
) -> str:
    """Return which counts of an evidence are below the minimum, empty where none is."""
    asked = {name: getattr(minimum, name) for name in names}
    return _listed([
        f"{evidence.counts.get(name, 0):,} of at least {count:,} {name}"
        for name, count in asked.items()
        if evidence.counts.get(name, 0) < count
    ])  # fmt: skip


def _aged(
    evidence: Evidence, minimum: CertificateMinimum | PaperMinimum, now: datetime, todo: str
) -> Iterator[str]:
    yield from _too_old("was issued on", evidence.issued, minimum.max_age_days, now, todo)
    if minimum.newest_bar_days is not None:
        yield from _too_old("ends with a bar of", evidence.newest_bar, minimum.newest_bar_days, now, todo)


def _too_old(what: str, moment: datetime | None, days: int, now: datetime, todo: str) -> Iterator[str]:
    if moment is None:
        yield f"{what} an unknown day; {todo}"
    elif now - moment > timedelta(days=days):
        yield f"{what} {moment:%Y-%m-%d}, more than {days} days ago; {todo}"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def read_policy(folder: Path) -> Policy:
    """Return the policy of a store, the default where it has no file; ManifestError where that is wrong."""
    path = folder / POLICY
    content = store_json(path)
    if content is None:
        return Policy()
    try:
        return validated(Policy, content, where=str(path))
    except ConfigError as error:
        raise ManifestError(str(error)) from error
