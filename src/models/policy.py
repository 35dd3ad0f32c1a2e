"""`Policy`: the kinds of evidence that a promotion asks for, from `policy.json` in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lockstep.errors import ConfigError
from lockstep.market.validation import validated
from lockstep.models.errors import ManifestError
from lockstep.models.manifest import Evidence, VersionEntry
from lockstep.models.manifest_file import store_json
from lockstep.models.present import present_hashes

POLICY = "policy.json"


class Policy(BaseModel):
    """`promotion`: kinds of evidence, each about exactly the bundle's SHA-256, passed, not expired.

    Evidence that names the code or the lock file it was gathered with counts with exactly these only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    promotion: tuple[str, ...] = ("validation", "certificate")

    def missing(
        self, entry: VersionEntry, now: datetime, present: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Return what speaks against a promotion, one sentence each; the newest evidence of a kind counts.

        present   hashes by name that evidence must agree with; None: those of this code and lock file
        """
        here = present_hashes() if present is None else present
        newest = {each.kind: each for each in entry.evidence}
        return tuple(
            f"{kind}: {fault}"
            for kind in self.promotion
            for fault in _faults(newest.get(kind), entry.sha256, now, here)
        )


def _faults(
    evidence: Evidence | None, sha256: str, now: datetime, present: Mapping[str, str]
) -> Iterator[str]:
    if evidence is None:
        yield "there is none"
        return
    if evidence.bundle_sha256 != sha256:
        yield f"is about another bundle, {evidence.bundle_sha256[:12]}…"
    if not evidence.passed:
        yield "was not passed"
    for name, value in present.items():
        if evidence.hashes.get(name, value) != value:
            yield f"was gathered with another {name}; gather it again"
    if evidence.expires is not None and evidence.expires <= now:
        yield f"expired on {evidence.expires:%Y-%m-%d %H:%M}"


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
