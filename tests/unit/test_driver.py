"""Drivers: the generated loops around a kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lockstep.compiled import cache_directory, python_source
from lockstep.features.canonical import canonical_history
from lockstep.features.driver import drive_modifiers, driver, driver_source
from lockstep.features.feature import Feature, feature, kernel_source
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.inputs import Window
from lockstep.features.streaming import WindowFeatures

REGISTRY = FeatureRegistry()
FEATURES = {declared.name: declared for declared in REGISTRY}


@feature(lookback=lambda bars: bars, examples=((3,),))
def total(close: Window, bars: int) -> float:
    """Sum of the closes."""
    found = 0.0
    for i in range(bars):
        found += close[i]
    return found


@feature(lookback=2)
def spread_change(close: Window, close_pair: Window) -> float:
    """Change of the difference to the pair."""
    return float((close[-1] - close_pair[-1]) - (close[0] - close_pair[0]))


def run(declared: Feature, *arguments: object, size: int) -> np.ndarray:
    out = np.full(size, -1.0)
    driver(declared)(*arguments, out, 0)
    return out


def test_windows_slide_over_the_columns() -> None:
    close = np.arange(1.0, 7.0)
    np.testing.assert_array_equal(
        run(total, close, 3, 3, 0, 6, size=6), [np.nan, np.nan, 6.0, 9.0, 12.0, 15.0]
    )


def test_a_part_is_the_same_as_the_whole() -> None:
    """Only rows start to stop are written, from out[at] on."""
    close = np.arange(1.0, 7.0)
    out = np.full(5, -1.0)
    driver(total)(close, 3, 3, 4, 6, out, 2)
    np.testing.assert_array_equal(out, [-1.0, -1.0, 12.0, 15.0, -1.0])


def test_a_gap_in_the_pair_makes_every_window_over_it_missing() -> None:
    close = np.arange(6.0)
    pair = np.array([0.0, 0.0, np.nan, 0.0, 0.0, 0.0])
    found = run(spread_change, close, pair, 2, 0, 6, size=6)
    np.testing.assert_array_equal(found, [np.nan, 1.0, np.nan, np.nan, 1.0, 1.0])
    later = np.empty(1)
    driver(spread_change)(close, pair, 2, 3, 4, later, 0)
    assert np.isnan(later[0])


def test_the_drivers_source_runs_uncompiled_too() -> None:
    """The text of both templates, run as Python, gives what the compiled driver gives."""
    close, pair = np.arange(6.0) ** 2, np.array([0.0, 1.0, np.nan, 3.0, 5.0, 9.0])
    for declared, arguments in ((total, (close, 3, 3, 0, 6)), (spread_change, (close, pair, 2, 0, 6))):
        scope = {"compute": kernel_source(declared), "np": np}
        exec(driver_source(declared), scope)
        out = np.empty(6)
        scope["drive"](*arguments, out, 0)  # type: ignore[operator]
        np.testing.assert_array_equal(out, run(declared, *arguments, size=6))


def test_a_driver_of_the_catalogue_is_a_file_in_the_cache() -> None:
    """Numba can keep only code from files on disk; the folder is keyed by all sources."""
    path = Path(python_source(driver(FEATURES["rsi"])).__code__.co_filename)
    assert path == cache_directory() / "drivers" / "rsi.py"
    assert "from lockstep.features.catalogue.oscillators import rsi as _feature" in path.read_text()


def test_a_driver_is_made_once() -> None:
    assert driver(FEATURES["rsi"]) is driver(FEATURES["rsi"])


def test_a_damaged_driver_file_is_written_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "drivers" / "ibs.py"
    path.parent.mkdir()
    path.write_text("raise RuntimeError\n")
    monkeypatch.setattr("lockstep.compiled.cache_directory", lambda: tmp_path)
    driver.cache_clear()
    try:
        bar = (np.array([price]) for price in (4.0, 2.0, 3.0))
        assert run(FEATURES["ibs"], *bar, 1, 0, 1, size=1)[0] == 0.5
    finally:
        driver.cache_clear()
    assert "RuntimeError" not in path.read_text()
    assert [file.name for file in path.parent.glob("*.tmp")] == []


@pytest.mark.parametrize("name", list(FEATURES))
def test_every_driver_names_inputs_and_parameters(name: str) -> None:
    declared = FEATURES[name]
    header = driver_source(declared).partition("\n")[0]
    arguments = ", ".join((*declared.inputs, *declared.parameters, "lookback", "start", "stop", "out", "at"))
    assert header == f"def drive({arguments}):"


def test_one_compilation_serves_all_parameters() -> None:
    compiled = driver(FEATURES["rsi"])
    if not hasattr(compiled, "signatures"):
        pytest.skip("the compiler is off")
    close = np.arange(500.0)
    close.setflags(write=False)
    out = np.empty(500)
    compiled(close, 2, 41, 0, 500, out, 0)
    before = len(compiled.signatures)
    compiled(close, 14, 374, 0, 500, out, 0)
    assert len(compiled.signatures) == before


VALUES = np.array([np.nan, 3.0, 1.0, 2.0, 2.0, np.nan, 5.0, 1.0])
VALUES.setflags(write=False)


@pytest.mark.parametrize(
    ("rank", "lag", "expected"),
    [
        (0, 0, [np.nan, 3.0, 1.0, 2.0, 2.0, np.nan, 5.0, 1.0]),
        (0, 2, [np.nan, np.nan, np.nan, 3.0, 1.0, 2.0, 2.0, np.nan]),
        (1, 0, [np.nan, np.nan, 0.0, 1.0, 0.5, np.nan, np.nan, 0.0]),
        (2, 0, [np.nan, np.nan, np.nan, 0.5, 0.75, np.nan, np.nan, np.nan]),
        (2, 1, [np.nan, np.nan, np.nan, np.nan, 0.5, 0.75, np.nan, np.nan]),
        (0, 9, [np.nan] * 8),
    ],
)
def test_ranks_and_lags(rank: int, lag: int, expected: list[float]) -> None:
    """One missing value makes every rank over it missing; every part is the same as the whole."""
    out = np.full(8, -1.0)
    for run_modifiers in (drive_modifiers, python_source(drive_modifiers)):
        run_modifiers(VALUES, rank, lag, 0, 8, out, 0)
        np.testing.assert_array_equal(out, expected)
        for start in range(8):
            part = np.full(10, -1.0)
            run_modifiers(VALUES, rank, lag, start, 8, part, 2)
            np.testing.assert_array_equal(part[2 : 10 - start], expected[start:])
            assert set(part[:2]) | set(part[10 - start :]) == {-1.0}


def test_one_compilation_serves_all_modifiers_of_all_features() -> None:
    if not hasattr(drive_modifiers, "signatures"):
        pytest.skip("the compiler is off")
    history = canonical_history(80)
    key, bars = next(iter(history.bars.items()))
    compiled: list[int] = []
    for ids in (("ibs~1",), ("ibs%20", "rsi_2~3", "rsi_2%5~9")):
        plan = REGISTRY.plan(ids, key)
        windows = WindowFeatures(plan, history.markets)
        windows.push_all(list(history.bar_sets())[:40])
        windows.push(list(history.bar_sets())[40])
        REGISTRY.matrix(ids, bars, history=history)
        compiled.append(len(drive_modifiers.signatures))
    assert compiled[0] == compiled[1]
