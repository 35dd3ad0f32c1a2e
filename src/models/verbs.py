"""What can be done to a manifest, as pure functions: manifest in, manifest and what changed out.

`Change`: exactly what a verb did, and how the two versions differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from lockstep.errors import EvidenceMissing, VerbRefused
from lockstep.models.chain import Act, recorded
from lockstep.models.manifest import (
    Action,
    Evidence,
    HistoryEntry,
    Manifest,
    ModelEntry,
    Status,
    UseStatistics,
    VersionEntry,
)
from lockstep.models.policy import Policy
from lockstep.models.tasks import NOT_TRADED, described


class BundleDifference(BaseModel):
    """One value that is another one in the new version; null where there was none."""

    model_config = ConfigDict(frozen=True)

    what: str
    before: Any = None
    after: Any = None


class Change(BaseModel):
    """The result of a verb. `before` and `after` are the production versions.

    overruled   objections overridden by force; remarks   other things worth knowing

    >>> Change(action="promote", symbol="ES", name="ibs_veto", version="v3", before="v2", after="v3").after
    'v3'
    """

    model_config = ConfigDict(frozen=True)

    action: Action
    symbol: str
    name: str
    version: str
    before: str | None
    after: str | None
    reason: str = ""
    overruled: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    differences: tuple[BundleDifference, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the change as text: what was done, then each difference to what was in production."""
        done = {"promote": "promoted", "rollback": "rolled back", "retire": "retired"}
        yield (
            f"{self.symbol} {self.name}: {done.get(self.action, self.action)} {self.version}; production "
            f"{self.before or 'none'} -> {self.after or 'none'}"
        )
        yield from (f"  forced, although {fault}" for fault in self.overruled)
        yield from (f"  note: {remark}" for remark in self.remarks)
        if self.before is not None:
            yield from (
                f"  {each.what}: {_told(each.before)} -> {_told(each.after)}" for each in self.differences
            )

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.change(self)


def differences(before: VersionEntry | None, after: VersionEntry | None) -> tuple[BundleDifference, ...]:
    """Return what is not the same in two versions: configuration, features, threshold, data, bundle."""
    one, other = _facts(before), _facts(after)
    return tuple(
        BundleDifference(what=what, before=one.get(what), after=other.get(what))
        for what in dict.fromkeys((*one, *other))
        if one.get(what) != other.get(what)
    )


def _facts(entry: VersionEntry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    features = {f"feature {each}": entry.fingerprints.get(each, "")[:12] for each in entry.feature_ids}
    return {
        "bundle": entry.sha256[:12],
        "threshold": "none, there is no model" if entry.threshold is None else entry.threshold,
        "target": entry.target or None,
        "training range": " to ".join(entry.training_range) if entry.training_range else None,
        **dict(_flat("strategy", entry.strategy)),
        **features,
    }


def _told(value: Any) -> str:
    return "none" if value is None else str(value)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}", inner)
    else:
        yield path, value


def registered(manifest: Manifest, act: Act, version: str, entry: VersionEntry, action: Action) -> Manifest:
    """Return the manifest with a further version, which changes nothing in production."""
    model = manifest.instruments.get(act.symbol, {}).get(act.name, ModelEntry())
    _require_same_question(model, entry, f"{act.symbol} {act.name} {version}")
    wider = manifest.with_model(act.symbol, act.name, model.with_versions({version: entry}))
    return recorded(wider, act, action, version, before=model.production)


def attached(manifest: Manifest, act: Act, version: str, evidence: Evidence, policy: Policy) -> Manifest:
    """Return the manifest with evidence on a version; VerbRefused where it is about another bundle."""
    version, entry, what = _meant(manifest, act, version)
    if evidence.bundle_sha256 != entry.sha256:
        raise VerbRefused(
            f"{what}: the {evidence.kind} is about bundle {evidence.bundle_sha256[:12]}…, this is "
            f"{entry.sha256[:12]}…; judge this bundle"
        )
    richer = entry.model_copy(update={"evidence": (*entry.evidence, evidence)})
    if entry.status in ("candidate", "validated"):
        richer = _with_status(richer, _judged(richer, policy, act.now))
    verdict = f"{evidence.kind} {'passed' if evidence.passed else 'not passed'}"
    model = manifest.model(act.symbol, act.name)
    done = manifest.with_model(act.symbol, act.name, model.with_versions({version: richer}))
    return recorded(done, replace(act, reason=verdict), "attach", version, before=model.production)


def promoted(
    manifest: Manifest,
    act: Act,
    version: str,
    policy: Policy,
    *,
    force: bool = False,
    objections: Sequence[str] = (),
) -> tuple[Manifest, Change]:
    """Make a version the one in production.

    objections   what speaks against it beside the policy, one sentence each

    Raises:
        EvidenceMissing: the policy asks for more, and `force` is not given
        VerbRefused: it is in production already, or retired, or force has no reason
    """
    version, entry, what = _meant(manifest, act, version)
    if entry.status == "production":
        raise VerbRefused(f"{what}: is in production already; nothing to do")
    _require_traded(entry, what)
    _require_not_retired(entry, what)
    if force and not act.reason:
        raise VerbRefused(f"{what}: force needs a reason; say why the evidence may be skipped")
    revised, remarks = policy.data(entry)
    faults = (*policy.missing(entry, act.now), *revised, *objections)
    if faults and not force:
        raise EvidenceMissing(
            f"{what}: cannot be promoted: {'; '.join(faults)}; provide it, or force with a reason"
        )
    done, change = _moved(manifest, act, "promote", version, policy, overruled=faults)
    return done, change.model_copy(update={"remarks": remarks})


def rolled_back(
    manifest: Manifest, act: Act, policy: Policy, *, to: str | None = None
) -> tuple[Manifest, Change]:
    """Go back to `to`, by default the version that was in production before the present one.

    VerbRefused without a reason, where there was none before, or where it is retired.
    """
    production = manifest.model(act.symbol, act.name).production
    if not act.reason:
        raise VerbRefused(f"{act.symbol} {act.name}: a rollback needs a reason; say what was wrong")
    if to is not None:
        _require_traded(*_meant(manifest, act, to)[1:])
    wanted = to if to is not None else _earlier(manifest, act)
    if wanted is None:
        raise VerbRefused(
            f"{act.symbol} {act.name}: nothing was in production before {production}; name a version"
        )
    version, entry, what = _meant(manifest, act, wanted)
    if version == production:
        raise VerbRefused(f"{what}: is in production; name the version to go back to")
    _require_not_retired(entry, what)
    return _moved(manifest, act, "rollback", version, policy)


def retired(manifest: Manifest, act: Act, version: str) -> tuple[Manifest, Change]:
    """Withdraw a version for good; VerbRefused for the one in production, or without a reason."""
    version, entry, what = _meant(manifest, act, version)
    if entry.status == "production":
        raise VerbRefused(f"{what}: is in production; promote another version or roll back first")
    _require_not_retired(entry, what)
    if not act.reason:
        raise VerbRefused(f"{what}: a retirement needs a reason; say why it must not be used again")
    model = manifest.model(act.symbol, act.name)
    withdrawn = model.with_versions({version: _with_status(entry, "retired")})
    done = manifest.with_model(act.symbol, act.name, withdrawn)
    done = recorded(done, act, "retire", version, before=model.production)
    return done, _change(done.history[-1])


def used(manifest: Manifest, act: Act, version: str) -> Manifest:
    """Count that a version was taken into use; statistics are no action and leave no history."""
    version, entry, _ = _meant(manifest, act, version)
    use = UseStatistics(count=entry.use.count + 1, first=entry.use.first or act.now, last=act.now)
    model = manifest.model(act.symbol, act.name)
    counted = model.with_versions({version: entry.model_copy(update={"use": use})})
    return manifest.with_model(act.symbol, act.name, counted)


def _meant(manifest: Manifest, act: Act, version: str) -> tuple[str, VersionEntry, str]:
    """Return the version that is meant, its entry, and its name for messages."""
    resolved = manifest.resolve(act.symbol, version, act.name)
    entry = manifest.entry(act.symbol, resolved, act.name)
    return resolved, entry, f"{act.symbol} {act.name} {resolved}"


def _moved(
    manifest: Manifest,
    act: Act,
    action: Action,
    version: str,
    policy: Policy,
    *,
    overruled: tuple[str, ...] = (),
) -> tuple[Manifest, Change]:
    """Move the production pointer; what was there becomes what its evidence says."""
    model = manifest.model(act.symbol, act.name)
    new = model.versions[version]
    changed = {version: _with_status(new, "production")}
    old = None
    if model.production is not None:
        old = model.versions[model.production]
        changed[model.production] = _with_status(old, _judged(old, policy, act.now))
    moved = model.with_versions(changed).model_copy(update={"production": version})
    done = manifest.with_model(act.symbol, act.name, moved)
    done = recorded(done, act, action, version, before=model.production, overruled=overruled)
    return done, _change(done.history[-1]).model_copy(update={"differences": differences(old, new)})


def _change(entry: HistoryEntry) -> Change:
    return Change(
        action=entry.action,
        symbol=entry.symbol,
        name=entry.name,
        version=entry.version,
        before=entry.before,
        after=entry.after,
        reason=entry.reason,
        overruled=entry.overruled,
    )


def _earlier(manifest: Manifest, act: Act) -> str | None:
    """Return what was in production before the present version, rollbacks taken back."""
    stack: list[str] = []
    for entry in manifest.history:
        if (entry.symbol, entry.name) == (act.symbol, act.name):
            _follow(stack, entry)
    return stack[-2] if len(stack) > 1 else None


def _follow(stack: list[str], entry: HistoryEntry) -> None:
    if entry.action == "rollback" and entry.version in stack:
        del stack[len(stack) - stack[::-1].index(entry.version) :]
    elif entry.action in ("promote", "rollback"):
        stack.append(entry.version)


def _judged(entry: VersionEntry, policy: Policy, now: datetime) -> Status:
    return "candidate" if policy.missing(entry, now) else "validated"


def _require_not_retired(entry: VersionEntry, what: str) -> None:
    if entry.status == "retired":
        raise VerbRefused(f"{what}: is retired; register it again, or choose another version")


def _require_traded(entry: VersionEntry, what: str) -> None:
    if entry.of_zoo:
        raise VerbRefused(f"{what}: {NOT_TRADED}")


def _require_same_question(model: ModelEntry, entry: VersionEntry, what: str) -> None:
    """Raise VerbRefused where the versions of a model answer another question than `entry`."""
    asked = (entry.task, entry.output, entry.horizon)
    for version, each in model.versions.items():
        if (each.task, each.output, each.horizon) != asked:
            raise VerbRefused(
                f"{what}: answers {described(*asked)}; {version} under this name answers "
                f"{described(each.task, each.output, each.horizon)}; register it under another name"
            )


def _with_status(entry: VersionEntry, status: Status) -> VersionEntry:
    return entry.model_copy(update={"status": status})
