"""What the packages export is exported on purpose."""

from __future__ import annotations

import importlib

import pytest

EXPORTED = {
    "lockstep.market": {
        "DAILY", "BarSet", "Bars", "History", "Instrument", "InstrumentBook", "Market", "SeriesKey",
        "Session", "Timeframe", "load_instruments",
    },
    "lockstep.features": {
        "BatchFeatures", "Feature", "FeatureRegistry", "FeatureSource", "WindowFeatures", "feature",
    },
    "lockstep.models": {
        "Bundle", "Change", "Evidence", "GoldenVectors", "Manifest", "ModelStore", "Policy", "Portfolio",
        "TrainingRecord", "golden_vectors", "library_versions", "load_bundle", "load_portfolio",
        "read_bundle", "save_bundle",
    },
    "lockstep.strategy": {
        "IbsConfig", "IbsStrategy", "Lane", "ParityStrategy", "SimulatedBroker", "StrategyConfig", "Veto",
        "build_cerebro",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", EXPORTED)
def test_exports_are_pinned_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == EXPORTED[package]
    for name in EXPORTED[package]:
        assert getattr(module, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'IbsStrateggy'"):
        importlib.import_module("lockstep.strategy").IbsStrateggy  # noqa: B018
