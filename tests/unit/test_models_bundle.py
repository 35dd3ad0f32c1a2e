"""A bundle is used as it was saved, or not at all; each refusal says what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from lockstep import errors
from lockstep.features.catalogue import catalogue
from lockstep.features.feature import Feature, feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.models import bundle as bundles
from lockstep.models import golden as golden_vectors
from lockstep.models import libraries
from lockstep.models.bundle import Bundle, read_bundle, save_bundle
from lockstep.models.content import sha256_of
from lockstep.models.pickling import pickled, unpickled
from lockstep.models.predictor import Forest, predictor
from lockstep.models.store import ModelStore, load_bundle
from support.first_pickles import first_bundle, first_pickle
from support.models import BASE, IDS, NOW, RECORD, bare_bundle, forest, history, make_bundle, samples


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> ModelStore:
    found = ModelStore(tmp_path)
    found.register(bundle, record=RECORD, by="me", now=NOW)
    return found


def rewritten(store: ModelStore, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `content` into the place of ES v1, as if it had been registered."""
    store.path("ES", "v1").write_bytes(content)
    manifest = store.manifest()
    entry = manifest.entry("ES", "v1").model_copy(update={"sha256": sha256_of(content), "size": len(content)})
    model = manifest.model("ES").model_copy(update={"versions": {"v1": entry}})
    changed = manifest.with_model("ES", "ibs_veto", model)
    monkeypatch.setattr(ModelStore, "manifest", lambda _: changed)


def edited(content: bytes, **changes: Any) -> bytes:
    return pickled({**unpickled(content, "x"), **changes})


def golden(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda content: edited(content, golden={**unpickled(content, "x")["golden"], **changes})


def bars(**changes: Any) -> Callable[[bytes], bytes]:
    """Return what changes the first series of the golden bars."""

    def spoil(content: bytes) -> bytes:
        found = unpickled(content, "x")["golden"]
        for name, value in changes.items():
            found["bars"][0][name] = value(found["bars"][0][name]) if callable(value) else value
        return edited(content, golden=found)

    return spoil


def zone(name: str) -> Callable[[bytes], bytes]:
    def spoil(content: bytes) -> bytes:
        found = unpickled(content, "x")["golden"]
        found["markets"][0]["session"]["timezone"] = name
        return edited(content, golden=found)

    return spoil


def model(node: Any) -> Callable[[bytes], bytes]:
    return lambda content: edited(content, pipeline=node)


def renamed(old: str, new: str) -> Callable[[bytes], bytes]:
    def spoil(content: bytes) -> bytes:
        document = unpickled(content, "x")
        ids = [new if each == old else each for each in document["feature_ids"]]
        prints = {new if name == old else name: value for name, value in document["fingerprints"].items()}
        golden = document["golden"]
        canonical = {new if name == old else name: value for name, value in golden["canonical"].items()}
        return edited(
            content, feature_ids=ids, fingerprints=prints, golden={**golden, "canonical": canonical}
        )

    return spoil


def narrow(node: dict[str, Any]) -> dict[str, Any]:
    """Return a pipeline that hands its forest one column."""
    node["params"]["steps"][0][1]["params"]["columns"] = [0]
    return node


def test_a_bundle_of_the_first_schema_is_the_same_bundle(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "first.joblib"
    path.write_bytes(first_bundle(bundle))
    found = read_bundle(path, expected_sha256=None, symbol="ES")
    assert (found.schema, found.threshold, found.feature_ids) == (1, 0.55, IDS)
    _, features, _ = samples()
    for one, other in (
        (found.pipeline, bundle.pipeline),
        (predictor(found.pipeline), predictor(bundle.pipeline)),
    ):
        assert one.predict_proba(features).tobytes() == other.predict_proba(features).tobytes()
    golden_vectors.verify_golden(found.golden, IDS, found.pipeline)
    # Saved again it is a bundle of this schema, with the bytes that it would have had from the beginning.
    assert save_bundle(found, tmp_path / "again.joblib") == save_bundle(bundle, tmp_path / "now.joblib")


def test_a_bundle_comes_back_as_it_was_saved(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "ES_v1.joblib"
    sha256 = save_bundle(bundle, path)
    found = read_bundle(path, expected_sha256=sha256, symbol="ES")
    assert found.sha256 == sha256 == sha256_of(path.read_bytes())
    assert (found.feature_ids, found.threshold, found.target) == (IDS, 0.55, "trade_wins")
    assert found.metrics["profit_factor"] == float("inf")
    assert found.strategy == bundle.strategy
    _, features, _ = samples()
    expected = bundle.pipeline.predict_proba(features)
    assert found.pipeline.predict_proba(features).tobytes() == expected.tobytes()
    assert save_bundle(found, tmp_path / "again.joblib") == sha256
    assert joblib.load(path)["format"] == "lockstep bundle"


def test_a_bundle_without_a_model_is_as_immutable_as_one_with(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    bare = bare_bundle()
    store.register(bare, record=RECORD, by="me", now=NOW)
    found = load_bundle("ES", "v1", store=store)
    assert (found.has_model, found.threshold, found.target, found.schema) == (False, None, "", 3)
    assert found.golden.answers.size == 0
    assert found.golden.vectors.tobytes() == bare.golden.vectors.tobytes()
    assert save_bundle(found, tmp_path / "again.joblib") == found.sha256
    assert store.manifest().entry("ES", "v1").threshold is None
    # Another scikit-learn changes nothing about a bundle that asks none.
    assert list(libraries.library_versions(None)) == ["numpy"]


def test_a_model_keeps_the_schema_that_earlier_versions_read(tmp_path: Path, bundle: Bundle) -> None:
    assert unpickled(bundles.bundle_bytes(bundle), "x")["schema"] == 2
    assert unpickled(bundles.bundle_bytes(bare_bundle()), "x")["schema"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.5},
        {"target": "trade_wins"},
        {"golden": make_bundle().golden},
        {"pipeline": forest()},
        {"pipeline": forest(), "threshold": 0.5},
    ],
    ids=["threshold", "target", "answers", "pipeline", "no answers"],
)
def test_half_a_model_is_no_bundle(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.UnfitBundle, match=r"no pipeline|must be a probability|0 answers"):
        bundles.bundle_bytes(replace(bare_bundle(), **changes))


@pytest.mark.parametrize("content", ["bare as 2", "model as 3"])
def test_a_schema_and_its_pipeline_belong_together(content: str, bundle: Bundle) -> None:
    whole = bundles.bundle_bytes(bare_bundle() if content == "bare as 2" else bundle)
    with pytest.raises(errors.ForeignPickle, match=r"schema \d with(out)? a pipeline"):
        bundles.bundle_of(edited(whole, schema=int(content[-1])), "x")


def test_golden_vectors_without_a_model_are_compared_too(tmp_path: Path, monkeypatch: Any) -> None:
    store = ModelStore(tmp_path)
    store.register(bare_bundle(), record=RECORD, by="me", now=NOW)
    vectors = bare_bundle().golden.vectors.copy()
    vectors[1, 0] += 1e-9
    rewritten(store, golden(vectors=vectors)(store.path("ES", "v1").read_bytes()), monkeypatch)
    with pytest.raises(errors.GoldenMismatch, match="ibs at"):
        load_bundle("ES", "v1", store=store)


def test_a_loaded_bundle_is_checked_and_says_which_it_is(store: ModelStore) -> None:
    found = load_bundle("ES", "v1", store=store)
    assert (found.version, found.sha256) == ("v1", store.manifest().entry("ES", "v1").sha256)
    assert not found.needs_certificate
    with pytest.raises(errors.UnknownModel, match="no version is in production; promote one of v1"):
        load_bundle("ES", store=store)
    with pytest.raises(errors.UnknownModel, match="'v9': not in the manifest"):
        load_bundle("ES", "v9", store=store)
    with pytest.raises(errors.UnknownModel, match="'EZ': not in the manifest; known are ES"):
        load_bundle("EZ", store=store)
    with pytest.raises(errors.UnknownModel, match="did you mean 'ibs_veto'"):
        load_bundle("ES", store=store, name="ibs_vetoes")


def test_the_excerpt_is_small_and_gives_the_same_vectors(bundle: Bundle) -> None:
    whole, small = history().series(BASE), bundle.golden.history.series(BASE)
    assert len(small) < len(whole)
    assert small.source == "golden vectors"
    assert bundle.golden.vectors.shape == (4, 4)


def damage(content: bytes, how: str) -> bytes | None:
    middle = len(content) // 2
    return {
        "missing": None,
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "truncated": content[:-1],
        "empty": b"",
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }[how]


@pytest.mark.parametrize(
    ("how", "refusal", "message"),
    [
        ("missing", errors.BundleMissing, "fetch the bundle, or rebuild it"),
        ("lfs", errors.LfsPointer, "run `git lfs pull`"),
        ("truncated", errors.TruncatedBundle, r"\d+ bytes, expected \d+; fetch"),
        ("empty", errors.TruncatedBundle, "0 bytes"),
        ("flipped", errors.HashMismatch, "not the registered file; fetch it again"),
    ],
)
def test_a_damaged_file_is_refused_before_it_is_read(
    store: ModelStore, how: str, refusal: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.path("ES", "v1")
    content = damage(path.read_bytes(), how)
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("interpreted before it was checked")

    monkeypatch.setattr(bundles, "unpickled", forbidden)
    with pytest.raises(refusal, match=message):
        load_bundle("ES", "v1", store=store)


def test_the_check_before_reading_would_notice(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The control of the test above: an undamaged file does reach the unpickler.
    monkeypatch.setattr(bundles, "unpickled", lambda *_, **__: None)
    with pytest.raises(errors.ForeignPickle):
        load_bundle("ES", "v1", store=store)


SPOILT: dict[str, tuple[Callable[[bytes], bytes], type[Exception], str]] = {
    "a pickle of something else": (
        lambda _: pickled({"weights": [1.0]}),
        errors.ForeignPickle,
        "not a Lockstep bundle; train the model",
    ),
    "a pipeline alone": (
        lambda _: first_pickle(forest()),
        errors.ForeignPickle,
        r"holds sklearn\.pipeline\.Pipeline, which no file of Lockstep may hold",
    ),
    "a newer schema": (lambda c: edited(c, schema=5), errors.NewerSchema, "reads up to 4; update Lockstep"),
    "a schema of true": (
        lambda c: edited(c, schema=True),
        errors.ForeignPickle,
        "schema bool; train the model",
    ),
    "another symbol": (lambda c: edited(c, symbol="NQ"), errors.WrongSymbol, "for NQ, not for ES"),
    "an older scikit-learn": (
        lambda c: edited(c, libraries={"scikit-learn": "1.2.0"}),
        errors.LibraryMismatch,
        r"fitted with scikit-learn 1\.2\.0, here is scikit-learn .*; install scikit-learn 1\.2",
    ),
    "a library that is not here": (
        lambda c: edited(c, libraries={"catboost": "1.0"}),
        errors.LibraryMismatch,
        "catboost is not installed",
    ),
    "a field less": (
        lambda c: pickled({k: v for k, v in unpickled(c, "x").items() if k != "golden"}),
        errors.ForeignPickle,
        "'golden' is missing",
    ),
    "a threshold in text": (lambda c: edited(c, threshold="0.5"), errors.ForeignPickle, "threshold is a str"),
    "a threshold beyond 1": (
        lambda c: edited(c, threshold=1.5),
        errors.ForeignPickle,
        "must be a probability",
    ),
    "a library of two lines": (
        lambda c: edited(c, libraries={"numpy\n": "2.0"}),
        errors.ForeignPickle,
        "does not name its libraries",
    ),
    "no libraries": (lambda c: edited(c, libraries=[]), errors.ForeignPickle, "does not name its libraries"),
    "fewer answers": (
        golden(probabilities=np.zeros(3)),
        errors.ForeignPickle,
        "4 golden stamps, 4 vectors, 3 answers",
    ),
    "answers of another type": (
        golden(probabilities=np.zeros(4, dtype="f4")),
        errors.ForeignPickle,
        "must be an array of",
    ),
    "golden vectors without end": (
        golden(stamps=np.arange(2000), vectors=np.zeros((2000, 4)), probabilities=np.zeros(2000)),
        errors.ForeignPickle,
        "at most 1024 features and 1024 golden vectors",
    ),
    "bars of other lengths": (
        bars(close=np.zeros(1)),
        errors.ForeignPickle,
        "columns are 1-D and of one length",
    ),
    "bars that fall": (
        bars(end=lambda values: values[::-1].copy()),
        errors.ForeignPickle,
        "stamps must rise strictly",
    ),
    "bars of another adjustment": (bars(adjustment="all"), errors.ForeignPickle, "golden bars must have"),
    "a series of two lines": (
        golden(base=["ES\n", "1d"]),
        errors.ForeignPickle,
        "must be named by symbol and timeframe",
    ),
    "a time zone that is a module": (
        zone("..os/path"),
        errors.ForeignPickle,
        "time zone must be a name like America/New_York",
    ),
    "a window of a billion bars": (
        renamed("ret_5", "ret_900000000"),
        errors.FeaturesChanged,
        "lookback 900000001: must be 1 to 20000 bars",
    ),
    "a pipeline without answers": (
        model({"class": "VarianceThreshold", "params": {}, "fitted": {}}),
        errors.GoldenMismatch,
        "the model has no answer",
    ),
    "a pipeline of other columns": (
        lambda c: model(narrow(unpickled(c, "x")["pipeline"]))(c),
        errors.GoldenMismatch,
        "the model has no answer: X has 1 features",
    ),
    "no value of a feature that was redefined": (
        lambda c: golden(canonical={})(edited(c, fingerprints=dict.fromkeys(IDS, "0"))),
        errors.FeaturesChanged,
        "feature ibs has different values",
    ),
    "no pipeline": (model(None), errors.ForeignPickle, "schema 2 without a pipeline"),
    "a pickle of schema 2": (model(b"N."), errors.ForeignPickle, "no pipeline of Lockstep"),
    "a node of schema 1": (lambda c: edited(c, schema=1), errors.ForeignPickle, "no pickle"),
    "a renamed id": (
        renamed("rsi_2", "rsi_two"),
        errors.FeaturesChanged,
        "no feature 'rsi_two'",
    ),
    "two ids exchanged": (
        lambda c: edited(c, feature_ids=["rsi_2", "ibs", *IDS[2:]]),
        errors.GoldenMismatch,
        r"golden vectors: rsi_2 at 20.*Z is .*, recorded",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bundle_that_cannot_be_used_is_refused(
    store: ModelStore, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, refusal, message = SPOILT[how]
    rewritten(store, spoil(store.path("ES", "v1").read_bytes()), monkeypatch)
    with pytest.raises(refusal, match=message):
        load_bundle("ES", "v1", store=store)


def test_a_rewritten_but_unspoilt_bundle_is_accepted(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(store, edited(store.path("ES", "v1").read_bytes()), monkeypatch)
    assert load_bundle("ES", "v1", store=store).symbol == "ES"


def ibs_with(factor: float) -> Feature:
    if factor == 1.0:

        @feature(family="price_bar", lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
        def ibs(high, low, close):  # type: ignore[no-untyped-def]
            """Where the close sits in the bar's range, spelled differently. 0.5 when high == low."""
            if high[-1] == low[-1]:
                return 0.5
            return (close[-1] - low[-1]) / (high[-1] - low[-1])

        return ibs

    @feature(family="price_bar", lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
    def ibs(high, low, close):  # type: ignore[no-untyped-def]
        """Another definition under the same name. 0.25 when high == low."""
        return 0.25 if high[-1] == low[-1] else (close[-1] - low[-1]) / (high[-1] - low[-1])

    return ibs


def registry_with(other: Feature) -> FeatureRegistry:
    return FeatureRegistry([other if each.name == other.name else each for each in catalogue()])


def test_another_source_with_the_same_values_asks_for_a_certificate(store: ModelStore) -> None:
    found = load_bundle("ES", "v1", store=store, registry=registry_with(ibs_with(1.0)))
    assert found.changed_features == ("ibs",)
    assert found.needs_certificate


def test_a_changed_constant_in_a_feature_is_refused(store: ModelStore) -> None:
    with pytest.raises(errors.FeaturesChanged, match=r"feature ibs has different values .* train again"):
        load_bundle("ES", "v1", store=store, registry=registry_with(ibs_with(0.25)))


def test_a_feature_that_was_removed_is_refused(store: ModelStore) -> None:
    without = FeatureRegistry([each for each in catalogue() if each.name != "ret"])
    with pytest.raises(errors.FeaturesChanged, match="no feature 'ret'"):
        load_bundle("ES", "v1", store=store, registry=without)


def nudged(bundle: Bundle, what: str, by: float) -> Bundle:
    values = getattr(bundle.golden, what).copy()
    values.flat[0] = np.nextafter(values.flat[0], 2.0) if by == 0 else values.flat[0] + by
    return replace(bundle, golden=replace(bundle.golden, **{what: values}))


@pytest.mark.parametrize("what", ["vectors", "answers"])
def test_golden_values_are_compared_bit_for_bit_here(bundle: Bundle, what: str) -> None:
    spoilt = nudged(bundle, what, 0)
    with pytest.raises(errors.GoldenMismatch, match="use the code and libraries that trained it"):
        golden_vectors.verify_golden(spoilt.golden, IDS, bundle.pipeline)


@pytest.mark.parametrize("what", ["vectors", "answers"])
def test_golden_values_are_compared_to_1e_12_elsewhere(
    bundle: Bundle, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_vectors, "arithmetic", lambda _: "another processor")
    golden_vectors.verify_golden(nudged(bundle, what, 0).golden, IDS, bundle.pipeline)
    with pytest.raises(errors.GoldenMismatch, match="golden vectors"):
        golden_vectors.verify_golden(nudged(bundle, what, 1e-9).golden, IDS, bundle.pipeline)


def test_a_fast_path_with_other_answers_is_caught(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Forest.means
    monkeypatch.setattr(Forest, "means", lambda forest, rows: honest(forest, rows)[:, ::-1])
    with pytest.raises(errors.GoldenMismatch, match="the probability at"):
        golden_vectors.verify_golden(bundle.golden, IDS, bundle.pipeline)


def test_golden_bars_without_a_feature_are_refused(bundle: Bundle) -> None:
    with pytest.raises(errors.GoldenMismatch, match="no feature 'nothing'"):
        golden_vectors.verify_golden(bundle.golden, ("nothing_3",), bundle.pipeline)


def test_golden_vectors_need_complete_decisions() -> None:
    with pytest.raises(errors.UnfitBundle, match="no stamp"):
        make_bundle(stamps=[])
    first = int(history().series(BASE).end[0])
    with pytest.raises(errors.UnfitBundle, match="a value is missing"):
        make_bundle(stamps=[first])


def test_a_model_of_several_threads_is_not_saved(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "x.joblib"
    two = forest().set_params(model__n_jobs=2)
    with pytest.raises(errors.UnfitBundle, match="RandomForestClassifier: n_jobs=2"):
        save_bundle(replace(bundle, pipeline=two), path)
    _, features, target = samples()
    inner = CalibratedClassifierCV(RandomForestClassifier(3, n_jobs=1), cv=2).fit(features, target)
    for each in inner.calibrated_classifiers_:
        each.estimator.n_jobs = 2
    with pytest.raises(errors.UnfitBundle, match="n_jobs=2"):
        save_bundle(replace(bundle, pipeline=Pipeline([("model", inner)])), path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.2}, "must be a probability"),
        ({"strategy": {"family": "IbsConfig"}}, "strategy has no config, config_hash"),
        ({"fingerprints": {"ibs": "0"}}, "must be those of the 4 feature ids"),
        (
            {"feature_ids": IDS[:3], "fingerprints": dict.fromkeys(IDS[:3], "0")},
            "golden vectors of 4 columns",
        ),
    ],
)
def test_an_unfit_bundle_is_not_saved(
    tmp_path: Path, bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.UnfitBundle, match=message):
        save_bundle(replace(bundle, **changes), tmp_path / "x.joblib")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, bundle: Bundle, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(errors.StoreFailure, match="No space left on device; nothing was changed"):
        save_bundle(bundle, tmp_path / "x.joblib")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_libraries_are_those_that_a_prediction_runs() -> None:
    assert set(libraries.library_versions(forest())) == {"numpy", "scikit-learn"}
    libraries.require_libraries(libraries.library_versions(forest()), "x")
