"""`Change`: exactly what a verb did, and how the two versions differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from lockstep.models.manifest import Action, VersionEntry


class Difference(BaseModel):
    """One value that is another one in the new version; null where there was none."""

    model_config = ConfigDict(frozen=True)

    what: str
    before: Any = None
    after: Any = None


class Change(BaseModel):
    """What a verb did. `before` and `after` are the production versions."""

    model_config = ConfigDict(frozen=True)

    action: Action
    symbol: str
    name: str
    version: str
    before: str | None
    after: str | None
    reason: str = ""
    overruled: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the change as text: what was done, then each difference to what was in production."""
        done = {"promote": "promoted", "rollback": "rolled back", "retire": "retired"}
        yield (
            f"{self.symbol} {self.name}: {done.get(self.action, self.action)} {self.version}; production "
            f"{self.before or 'none'} -> {self.after or 'none'}"
        )
        yield from (f"  forced, although {fault}" for fault in self.overruled)
        if self.before is not None:
            yield from (f"  {each.what}: {each.before} -> {each.after}" for each in self.differences)


def differences(before: VersionEntry | None, after: VersionEntry | None) -> tuple[Difference, ...]:
    """Return what is not the same in two versions: configuration, features, threshold, data, bundle."""
    one, other = _facts(before), _facts(after)
    return tuple(
        Difference(what=what, before=one.get(what), after=other.get(what))
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


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}", inner)
    else:
        yield path, value
