"""Fingerprints move with what defines a value and with nothing else."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lockstep.errors import FeatureError
from lockstep.features.feature import Feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.fingerprint import normalised_source, reachable

REGISTRY = FeatureRegistry()
_COUNTER = itertools.count()

SOURCE = '''
from lockstep.compiled import kernel
from lockstep.features.feature import feature

SCALE = 2.0
BOUNDS = (0.0, 1.0)


@kernel
def helper(value: float) -> float:
    """Scale it."""
    return value * SCALE


@feature(lookback=3, examples=((2,),))
def sample(close, period: int) -> float:
    """Three closes."""
    # a remark
    return helper(close[-1]) + period + BOUNDS[0]
'''


@pytest.fixture
def fingerprint_of(tmp_path: Path) -> Iterator[object]:
    loaded: list[str] = []

    def fingerprint(source: str, feature_id: str = "sample_2") -> str:
        return FeatureRegistry([declared(source)]).fingerprint(feature_id)

    def declared(source: str) -> Feature:
        module = load(tmp_path / f"sample_{next(_COUNTER)}.py", source)
        loaded.append(module.__name__)
        found = module.sample
        assert isinstance(found, Feature)
        return found

    yield fingerprint
    for name in loaded:
        del sys.modules[name]


def load(path: Path, source: str) -> ModuleType:
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # a remark\n", ""),
        ('"""Three closes."""', '"""Something else altogether."""'),
        ('    """Scale it."""\n', ""),
        ("value * SCALE", "(value   *   SCALE)"),
        ("close, period: int) -> float", "close, period)"),
        ("import kernel\n", "import kernel\n\nUNUSED = 5.0\n"),
    ],
)
def test_form_does_not_matter(fingerprint_of, old: str, new: str) -> None:  # type: ignore[no-untyped-def]
    assert old in SOURCE
    assert fingerprint_of(SOURCE) == fingerprint_of(SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("BOUNDS = (0.0,", "BOUNDS = (0.5,"),
        ("value * SCALE", "value + SCALE"),
        ("close[-1]", "close[-2]"),
        ("lookback=3", "lookback=4"),
        ("close, period", "open, period"),
    ],
)
def test_content_does(fingerprint_of, old: str, new: str) -> None:  # type: ignore[no-untyped-def]
    changed = SOURCE.replace(old, new)
    if new.startswith("open"):
        changed = changed.replace("close[-1]", "open[-1]")
    assert changed != SOURCE
    assert fingerprint_of(SOURCE) != fingerprint_of(changed)


def test_parameters_and_qualifiers_do(fingerprint_of) -> None:  # type: ignore[no-untyped-def]
    ids = ("sample_2", "sample_3", "sample_2@NQ", "sample_2@1d")
    assert len({fingerprint_of(SOURCE, text) for text in ids}) == len(ids)


def test_modifiers_do(fingerprint_of) -> None:  # type: ignore[no-untyped-def]
    ids = ("sample_2", "sample_2~1", "sample_2~2", "sample_2%1", "sample_2%1~1", "sample_2~1@NQ")
    assert len({fingerprint_of(SOURCE, text) for text in ids}) == len(ids)


def test_the_source_of_ranks_counts_for_modified_ids_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(values, rank, lag, start, stop, out, at):  # type: ignore[no-untyped-def]
        out[at] = values[start]

    ids = ("rsi_2", "rsi_2@NQ", "rsi_2~1", "rsi_2%252")
    before = [REGISTRY.fingerprint(text) for text in ids]
    monkeypatch.setattr("lockstep.features.fingerprint.drive_modifiers", other)
    after = [REGISTRY.fingerprint(text) for text in ids]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, True, False, False]


def test_ids_without_modifiers_keep_the_fingerprint_that_bundles_hold() -> None:
    stored = Path(__file__).parents[1] / "fixtures" / "v1" / "store" / "manifest.json"
    entry = json.loads(stored.read_text())["instruments"]["COMP"]["ibs_veto"]["versions"]["v1"]
    assert entry["fingerprints"] == {text: REGISTRY.fingerprint(text) for text in entry["feature_ids"]}


def test_every_id_has_its_own() -> None:
    found = {REGISTRY.fingerprint(text) for text in REGISTRY.list()}
    assert len(found) == len(REGISTRY.list())
    assert all(len(text) == 64 for text in found)


def test_helpers_and_constants_of_other_modules_are_reached() -> None:
    names = {name for _, name in reachable(REGISTRY.parse("atr_14").terms[0].feature.compute)}
    assert {"average_true_range", "true_ranges", "recursion_bars", "recursion_bars:_NEGLIGIBLE"} <= names


def test_what_a_function_around_it_binds_counts() -> None:
    def scaled(factor: float):  # type: ignore[no-untyped-def]
        def inner(value: float) -> float:
            return value * factor

        return inner

    assert set(reachable(scaled(2.0)).values()) != set(reachable(scaled(3.0)).values())
    assert set(reachable(scaled(2.0)).values()) == set(reachable(scaled(2.0)).values())


TABLE = [1.0, 2.0]


def test_what_cannot_be_told_is_refused() -> None:
    from lockstep.features import windows

    def reads_a_list(value: float) -> float:
        return value * TABLE[0]

    def reads_through_a_module(value: float) -> float:
        return float(windows.ratio(value, 2.0, 0.0))

    with pytest.raises(FeatureError, match="reads TABLE, list: its content cannot be fingerprinted"):
        reachable(reads_a_list)
    with pytest.raises(FeatureError, match="reads windows, module"):
        reachable(reads_through_a_module)


def test_only_functions_written_in_files() -> None:
    with pytest.raises(FeatureError, match="written with def, not lambda"):
        normalised_source(lambda value: value)
    scope: dict[str, object] = {}
    exec("def typed(value):\n    return value\n", scope)
    with pytest.raises(FeatureError, match="put it in a file"):
        normalised_source(scope["typed"])  # type: ignore[arg-type]


def test_a_function_of_nothing_but_a_docstring() -> None:
    def empty() -> None:
        """Nothing."""

    assert normalised_source(empty) == "def empty():\n    pass"
