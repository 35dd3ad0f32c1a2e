"""Whether the features that a model was trained on are still those of this checkout."""

from __future__ import annotations

from lockstep.errors import FeatureError, FeaturesChanged
from lockstep.features.canonical import canonical_values
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.models.bundle import Bundle
from lockstep.models.golden import arithmetic, same_values


def changed_features(
    bundle: Bundle, what: str, *, registry: FeatureRegistry | None = None
) -> tuple[str, ...]:
    """Return the ids whose source is another one, but whose values on the canonical bars are the same.

    Raises: FeaturesChanged where an id has other values, or is not there any more.
    """
    registry = registry or default_registry()
    changed = tuple(each for each in bundle.feature_ids if _is_redefined(bundle, each, what, registry))
    exact = bool(changed) and bundle.golden.arithmetic == arithmetic(bundle.pipeline)
    for each in changed:
        recorded = bundle.golden.canonical.get(each)
        if recorded is None or not same_values(recorded, canonical_values(each, registry), exact=exact):
            raise FeaturesChanged(
                f"{what}: feature {each} has different values than in training; use the code that "
                "trained it, or train again"
            )
    return changed


def _is_redefined(bundle: Bundle, feature_id: str, what: str, registry: FeatureRegistry) -> bool:
    try:
        return registry.fingerprint(feature_id) != bundle.fingerprints[feature_id]
    except FeatureError as error:
        raise FeaturesChanged(f"{what}: {error}; use the code that trained it, or train again") from error
