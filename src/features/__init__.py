"""Features: pure functions of their last bars, one registry, one kernel for batch and streaming."""

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature import Feature, feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.plan import FeatureSource
from lockstep.features.streaming import WindowFeatures

__all__ = ["BatchFeatures", "Feature", "FeatureRegistry", "FeatureSource", "WindowFeatures", "feature"]
