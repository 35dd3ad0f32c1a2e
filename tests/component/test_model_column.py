"""Columns of models: the bundle's own answers at every door, and one clear line for what is none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from certify.recorded import check_recorded
from certify.sweep_side import compare_with_sweep
from lockstep.errors import FeatureError, PromotionRefused, UnknownFeature
from lockstep.features import derived
from lockstep.features.batch import BatchFeatures
from lockstep.features.canonical import canonical_values
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.invariance import price_levels, shift_sensitive
from lockstep.features.streaming import WindowFeatures
from lockstep.live.traded import TradedModel
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.models import model_column
from lockstep.models.bundle import Bundle, golden_vectors
from lockstep.models.model_column import ModelColumn
from lockstep.models.store import ModelStore, column_id, columns_in, load_bundle
from lockstep.strategy.bundled import bundled_strategy, veto_of
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.experiments.promotion import Promotion, PromotionRequest, promote
from research.ledger.database import Database
from research.training.dataset import build_dataset
from support import desks, papers
from support import training as trainings
from support.experiments import BASELINE, skilled, toy_lab
from support.feature_checks import (
    batch,
    check_batch_equals_streaming,
    check_blind_to_future,
    check_start_invariant,
    prepared,
    streamed,
)
from support.feature_histories import BASE as CANONICAL
from support.feature_histories import Recipe, Stretch, history_of
from support.models import BASE, IDS, NOW, RECORD, bare_bundle, forest, history, make_bundle, samples

REGISTRY = default_registry()
COMP = SeriesKey("COMP", DAILY)
THRESHOLD = 0.45
RECIPE = Recipe(seed=5, level=20_000, tick=0.25, stretches=(Stretch(60, 5, 0, 6, 5, 700.0),))


@pytest.fixture(autouse=True)
def no_store_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds the models of another, nor those of the desk."""
    monkeypatch.setattr(model_column, "_opened", {})
    monkeypatch.setenv("LOCKSTEP_MODEL_STORE", str(tmp_path / "default"))


def registered(store: ModelStore, bundle: Bundle) -> str:
    """Register a bundle and return the id of its column."""
    version = store.register(bundle, record=RECORD, by="test", now=NOW)
    sha256 = store.manifest().entry(bundle.symbol, version, bundle.name).sha256
    return column_id(bundle.symbol, version, sha256, name=bundle.name)


def trained_on(*days: str) -> Bundle:
    bundle = desks.bundle("COMP")
    return replace(bundle, training={**bundle.training, "range": days})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """The default store."""
    return ModelStore(tmp_path / "default")


@pytest.fixture
def column(store: ModelStore) -> str:
    """The column of a forest of ES."""
    return registered(store, make_bundle())


MODELS: dict[str, Callable[[], Any]] = {
    "compiled forest": forest,
    "scaled forest": lambda: Pipeline(
        [("s", StandardScaler()), ("m", RandomForestClassifier(4, random_state=1))]
    ),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=3),
    "logistic": lambda: Pipeline([("s", StandardScaler()), ("m", LogisticRegression())]),
    "calibrated": lambda: CalibratedClassifierCV(
        RandomForestClassifier(4, random_state=1), cv=2, ensemble=False
    ),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("name", MODELS)
def test_a_column_is_what_the_bundle_answers_row_by_row(store: ModelStore, name: str) -> None:
    """Compiled, as it is, or row by row: whole histories, single bars and blocks alike."""
    made = MODELS[name]()
    pipeline = made if isinstance(made, Pipeline) else Pipeline([("model", made)])
    column = registered(store, make_bundle(pipeline=pipeline.fit(*samples()[1:])))
    ids, bars = ("ibs", column, "ibs*ret_5"), history(bars=700 if name == "compiled forest" else 120)
    found, inputs = batch(REGISTRY, ids, bars, BASE), batch(REGISTRY, IDS, bars, BASE)
    complete = ~np.isnan(inputs).any(axis=1)
    expected = [pipeline.predict_proba(row.reshape(1, -1))[0, 1] for row in inputs[complete]]
    assert found[complete, 1].tolist() == expected
    assert np.isnan(found[~complete, 1]).all()
    assert np.count_nonzero(~complete) == 40
    assert len(set(expected)) > 4
    check_batch_equals_streaming(REGISTRY, ids, bars, BASE)


def test_a_gap_in_one_input_is_a_gap_in_the_column(store: ModelStore) -> None:
    """Of all the inputs one is sometimes missing: its pair has no bar there."""
    bars = desks.history(500)
    column = registered(store, desks.bundle("COMP", ids=("ibs", "pair_ibs")))
    pair = SeriesKey("SPX", DAILY)
    kept = np.ones(len(bars.bars[pair]), dtype=bool)
    kept[100:108] = False
    series = bars.bars[pair]
    fewer = replace(series, end=series.end[kept], **{n: v[kept] for n, v in series.columns().items()})
    gappy = replace(bars, bars={**bars.bars, pair: fewer})
    found = batch(REGISTRY, (column, "pair_ibs", "ibs"), gappy, COMP)
    assert 0 < np.isnan(found[:, 0]).sum() < 10
    assert np.array_equal(np.isnan(found[:, 0]), np.isnan(found[:, 1]))
    assert not np.isnan(found[:, 2]).any()
    check_batch_equals_streaming(REGISTRY, (column, "ibs"), gappy, COMP)


def test_inputs_are_shared_and_cold_until_the_longest_is_full(column: str) -> None:
    plan = REGISTRY.plan((column, "rsi_2"), BASE)
    assert [str(term) for term in plan.terms] == list(IDS)
    assert plan.factors == ((0, 1, 2, 3), (1,))
    windows = WindowFeatures(plan, history().markets)
    sets = list(history().bar_sets())
    windows.push_all(sets[:40])
    assert windows.absence(0, sets[39].stamp) == "cold"
    assert windows.filling() == {"rsi_2": (40, 41)}


def test_on_other_bars_it_reads_its_own_series(store: ModelStore) -> None:
    column = registered(store, desks.bundle("COMP", ids=("ibs", "rsi_2@SPX", "pair_ibs*zscore_20")))
    bars, spx = desks.history(500), SeriesKey("SPX", DAILY)
    plan = REGISTRY.plan(("ibs", column), spx)
    assert [str(term) for term in plan.terms] == [
        "ibs", "ibs@COMP", "rsi_2@SPX", "pair_ibs@COMP", "zscore_20@COMP",
    ]  # fmt: skip
    assert source_keys(plan, bars.markets) == (COMP, spx)
    own, other = batch(REGISTRY, (column,), bars, COMP), batch(REGISTRY, ("ibs", column), bars, spx)
    assert np.array_equal(bars.bars[COMP].end, bars.bars[spx].end)
    assert own[:, 0].tobytes() == other[:, 1].tobytes()
    check_batch_equals_streaming(REGISTRY, ("ibs", column), bars, spx)
    hourly = REGISTRY.plan((column,), SeriesKey("COMP", Timeframe(60)))
    assert [str(term) for term in hourly.terms][:2] == ["ibs@1d", "rsi_2@SPX:1d"]


def test_a_model_of_finer_bars_is_refused(
    store: ModelStore, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelColumn, "base", SeriesKey("ES", Timeframe(60)))
    with pytest.raises(FeatureError, match=rf"feature id '{column}': 1h is finer than the traded 1d"):
        REGISTRY.plan((column,), BASE)


def test_what_is_known_of_a_column(store: ModelStore, column: str) -> None:
    sha256 = store.manifest().entry("ES", "v1").sha256
    parsed = REGISTRY.parse(column)
    assert (str(parsed), parsed.low, parsed.high) == (column, 0.0, 1.0)
    told = REGISTRY.describe(column)
    assert f"bundle      {sha256}" in told
    assert "2024-01-08 to 2026-01-08: its answers there are in-sample" in told
    assert REGISTRY.fingerprint(column) in told
    values = canonical_values(column, REGISTRY)
    inputs = np.column_stack([canonical_values(each, REGISTRY) for each in IDS])
    complete = ~np.isnan(inputs).any(axis=1)
    assert values[complete].tolist() == forest().predict_proba(inputs[complete])[:, 1].tolist()
    assert np.isnan(values[~complete]).all()
    assert 0 < np.count_nonzero(~complete) < 100, "where prices are negative"
    assert shift_sensitive([column, "ibs"], REGISTRY) == (column,), "ret_5 is an input"
    assert price_levels([column], REGISTRY) == ()
    assert column not in REGISTRY.list()


def test_the_fingerprint_is_that_of_the_bundle_and_its_inputs(
    store: ModelStore, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = registered(store, make_bundle(pipeline=forest(seed=6)))
    before = REGISTRY.fingerprint(column)
    assert before != REGISTRY.fingerprint(other)
    assert before == REGISTRY.fingerprint(column) == FeatureRegistry().fingerprint(column)
    of_ibs = REGISTRY.parse("ibs").terms[0].feature
    changed = replace(of_ibs, lookback_rule=2)
    parsed = REGISTRY.parse(column)
    moved = derived_with(parsed, {of_ibs: changed})
    from lockstep.features.fingerprint import fingerprint

    assert fingerprint(parsed) == before
    assert fingerprint(moved) != before


def derived_with(parsed: Any, features: dict[Any, Any]) -> Any:
    inputs = tuple(
        replace(each, terms=tuple(replace(t, feature=features.get(t.feature, t.feature)) for t in each.terms))
        for each in parsed.inputs
    )
    return type(parsed).derived(str(parsed), parsed.column, inputs)


# Doors


def with_filter(column: str) -> IbsConfig:
    """Return the desk's strategy that enters where the column reaches the threshold."""
    filters = [*(each.model_dump() for each in desks.CONFIG.filters), {"feature": column, "min": THRESHOLD}]
    return IbsConfig.model_validate({**desks.CONFIG.model_dump(), "filters": filters})


def trading(config: IbsConfig) -> Bundle:
    """Return the bundle of a strategy that trades as it is."""
    ids = config.feature_ids
    stamps = desks.history().bars[COMP].end[[300, 400]]
    golden = golden_vectors(desks.history(), COMP, ids, None, stamps, config.max_age.limits)
    return replace(
        desks.bare_bundle("COMP"),
        feature_ids=ids,
        fingerprints={each: REGISTRY.fingerprint(each) for each in ids},
        strategy=bundled_strategy(config),
        golden=golden,
    )


class TestInSample:
    """Nothing is promoted on what its model remembers."""

    def test_a_winner_judged_on_days_of_the_training_is_refused(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        column = registered(store, trained_on("2011-01-03", "2012-06-29"))
        with pytest.raises(PromotionRefused) as refused:
            self.promoted(tmp_path, column)
        assert (
            f"{column} was trained on 2011-01-03 to 2012-06-29, which overlaps the judged dates "
            "2012-01-03 to 2012-12-31: what it answers there is in sample; read a model that was trained "
            "before them" in str(refused.value)
        )

    def test_the_hold_out_counts_too(self, store: ModelStore, tmp_path: Path) -> None:
        column = registered(store, trained_on("2013-12-02", "2014-12-31"))
        with pytest.raises(PromotionRefused, match=r"the judged dates 2013-01-02 to 2013-12-31"):
            self.promoted(tmp_path, column)

    def test_a_model_of_earlier_days_is_none_of_its_business(self, store: ModelStore, tmp_path: Path) -> None:
        column = registered(store, trained_on("2005-01-03", "2011-12-30"))
        assert self.promoted(tmp_path, column).refusals == ()

    def promoted(self, folder: Path, column: str) -> Promotion:
        """Return the promotion of a winner that passes everything else."""
        lab = toy_lab(Database.open(f"sqlite:///{folder / 'trials.db'}"))
        lab.run(skilled(strategy=IbsConfig.load(BASELINE).replaced(features=("ibs", column))))
        places = {"folder": folder / "strategies", "log": folder / "LOG.md"}
        return promote(lab, PromotionRequest(experiment=1, name="v2", **places))


@pytest.mark.no_cover
def test_a_filter_on_the_column_is_the_veto_of_the_model(store: ModelStore) -> None:
    """Backtrader, the sweep and the live engine; the veto is another way through all of them."""
    column = registered(store, desks.bundle("COMP", threshold=THRESHOLD))
    config, bars = with_filter(column), desks.history(600)
    veto = veto_of(load_bundle("COMP", "v1", store=store))
    filtered, vetoed = run_backtest(config, bars, "COMP"), run_backtest(desks.CONFIG, bars, "COMP", veto=veto)
    assert 50 < len(filtered.trades) < len(run_backtest(desks.CONFIG, bars, "COMP").trades) - 50
    assert filtered.trades.drop(columns="probability").equals(vetoed.trades.drop(columns="probability"))
    assert filtered.equity.equals(vetoed.equity)
    assert filtered.provenance["feature_fingerprints"][column] == REGISTRY.fingerprint(column)
    swept = compare_with_sweep(filtered, config, bars, "COMP", span=DateRange(), veto=None)
    assert swept.first is None
    assert swept.fills > 100
    other = with_filter(registered(store, desks.bundle("COMP", seed=1, threshold=THRESHOLD)))
    assert not run_backtest(other, bars, "COMP").equity.equals(filtered.equity)


def test_the_live_engine_trades_it_and_its_journal_comes_out_again(tmp_path: Path) -> None:
    """The store of the bundle is not the default one; restarted in the middle; computed again from files."""
    own = ModelStore(tmp_path / "own")
    column = registered(own, desks.bundle("COMP", threshold=THRESHOLD))
    load_bundle("COMP", "v1", store=own)
    registered(own, trading(with_filter(column)))
    model = TradedModel.of(load_bundle("COMP", "v2", store=own))
    assert model.plan.ids[-1] == column
    papers.traded(tmp_path, model, stop_after=papers.SETS // 2)
    journal = papers.traded(tmp_path, model)
    report = check_recorded(journal, store=own)
    assert report.passed
    assert (report.vectors, report.values) == (papers.SETS, 3 * papers.SETS)

    def spoilt(record: Any) -> Any:
        (lane,) = record.lanes
        vector = np.frombuffer(lane.vector).copy()
        vector[-1] = np.nextafter(vector[-1], 2.0)
        return papers.with_lane(record, vector=vector.tobytes())

    wrong = papers.rewritten(journal, tmp_path / "wrong.db", spoilt)
    assert not check_recorded(wrong, store=own).passed, "the last bit of the column counts"


def test_a_store_takes_the_models_along_that_a_bundle_reads(tmp_path: Path) -> None:
    own, copy = ModelStore(tmp_path / "own"), ModelStore(tmp_path / "copy")
    column = registered(own, desks.bundle("COMP", threshold=THRESHOLD))
    load_bundle("COMP", "v1", store=own)
    registered(own, trading(with_filter(column)))
    theirs = own.manifest().entry("COMP", "v2")
    assert columns_in([theirs.strategy, theirs.feature_ids]) == (column,)
    copy.folder.mkdir()
    copy.fetch(own, "COMP", "v2", sha256=theirs.sha256, by="test", now=NOW)
    found = copy.manifest().model("COMP").versions
    assert {version: each.sha256 for version, each in found.items()} == {
        "v1": own.manifest().entry("COMP", "v1").sha256, "v2": theirs.sha256,
    }  # fmt: skip
    model_column._opened.clear()
    assert load_bundle("COMP", "v2", store=copy).feature_ids[-1] == column


def test_a_training_takes_it_as_a_feature(store: ModelStore) -> None:
    column = registered(store, desks.bundle("COMP"))
    ids = ["ibs", "rsi_2", column]
    config = trainings.config(
        symbol="COMP", features={"ids": ids}, data={"start": "2008-01-02", "end": "2011-12-30"}
    )
    data = build_dataset(config, desks.history())
    assert data.feature_ids == tuple(ids)
    assert len(data) > 100
    whole = batch(REGISTRY, tuple(ids), desks.history(), COMP)
    assert data.features.tobytes() == np.ascontiguousarray(whole[data.row]).tobytes()


# What is refused


def test_a_hash_decides_which_model_is_meant(store: ModelStore, column: str) -> None:
    wrong = f"{column[:-12]}{'0' * 12}"
    with pytest.raises(
        FeatureError, match=rf"'{wrong}': model reference with another hash: in .* it is {column}"
    ):
        REGISTRY.parse(wrong)


@pytest.mark.parametrize(
    ("spell", "error", "reason"),
    [
        (lambda it: it.replace("v1", "v2"), FeatureError, "another version: this hash is that of {column};"),
        (lambda it: f"{it[:-12]}{'0' * 12}".replace("v1", "v2"), UnknownFeature, "'v2': not in the manifest"),
        (lambda it: it.replace("ES", "EX"), UnknownFeature, "instrument 'EX': not in the manifest"),
        (lambda it: it.replace("ES", "ES_regime"), FeatureError, "another task: .* that of {column}"),
        (
            lambda it: f"{it[:-12]}{'0' * 12}".replace("ES", "ES_regime"),
            UnknownFeature,
            "model 'regime': not in the manifest",
        ),
        (lambda it: it.partition("#")[0], FeatureError, "write model:NAME@vN#HASH, .*: {column}$"),
        (lambda it: "model:ES", FeatureError, "write model:NAME@vN#HASH, .*: {column}$"),
        (lambda it: "model:ES@production", FeatureError, "write model:NAME@vN#HASH, .*: {column}$"),
        (lambda it: "model:ES@latest", FeatureError, "write model:NAME@vN#HASH, .*: {column}$"),
        (lambda it: it[:-1], FeatureError, ": {column}$"),
        (lambda it: it[:-12] + it[-12:].upper() + "A", FeatureError, "write model:NAME@vN#HASH"),
        (lambda it: it.replace("ES", "ES_ibs_veto"), FeatureError, ": {column}$"),
        (lambda it: "model:", FeatureError, "for example model:COMP@v3#3f2a9c1b04de"),
        (lambda it: it.replace("v1", "v01"), FeatureError, "for example model:ES@v3#3f2a9c1b04de"),
        (lambda it: f"{it}~1", FeatureError, "'~1': a model's column takes no rank, .*; write {column}$"),
        (lambda it: f"{it}%252", FeatureError, "'%252': a model's column takes no rank"),
        (lambda it: f"{it}@NQ", FeatureError, "'@NQ': a model's column takes no rank, lag, qualifier"),
        (lambda it: f"{it}*rsi_2", FeatureError, "a model's column takes no rank, lag, qualifier or factor"),
        (lambda it: f"ibs*{it}", FeatureError, "a model's column is no factor of a product; list both ids"),
    ],
)  # fmt: skip
def test_what_is_no_column_is_told_in_one_line(
    column: str, spell: Callable[[str], str], error: type[FeatureError], reason: str
) -> None:
    with pytest.raises(error, match=reason.format(column=column)) as caught:
        REGISTRY.parse(spell(column))
    assert str(caught.value).startswith("feature id 'model:") or "*" in spell(column)
    assert "\n" not in str(caught.value)


def test_a_version_that_was_retired_is_refused_from_then_on(store: ModelStore, column: str) -> None:
    REGISTRY.parse(column)
    store.retire("ES", "v1", by="test", now=NOW, reason="worse than none")
    with pytest.raises(FeatureError, match=r"v1 of ES ibs_veto is retired in .*; name another version"):
        REGISTRY.parse(column)


def test_a_version_without_a_model_is_refused(store: ModelStore) -> None:
    with pytest.raises(FeatureError, match="v1 of ES ibs_veto holds no model; name one that does"):
        REGISTRY.parse(registered(store, bare_bundle()))


def test_a_model_that_reads_a_column_is_a_veto_and_no_column(store: ModelStore) -> None:
    column = registered(store, desks.bundle("COMP"))
    nested = registered(store, replace(desks.bundle("COMP", ids=("ibs", column)), name="second"))
    assert veto_of(load_bundle("COMP", "v1", store=store, name="second")).feature_ids == ("ibs", column)
    with pytest.raises(FeatureError, match=rf"v1 of COMP second reads {column}, the column of another model"):
        REGISTRY.parse(nested)


def test_a_bundle_is_verified_before_anything_in_it_is_read(store: ModelStore, column: str) -> None:
    path = store.path("ES", "v1")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FeatureError, match=rf"feature id '{column}': .*SHA-256"):
        REGISTRY.parse(column)
    path.unlink()
    with pytest.raises(FeatureError, match=rf"feature id '{column}': .*ES_v1.joblib"):
        REGISTRY.parse(column)


@dataclass(frozen=True, kw_only=True)
class Fickle:
    """A model whose answer to a row depends on the rows beside it."""

    pipeline: Any

    def predict_proba(self, features: Any, /) -> Any:
        chances = self.pipeline.predict_proba(features)
        return chances if len(features) == 1 else np.clip(chances + 2**-50, 0.0, 1.0)


def test_a_model_that_answers_otherwise_among_others_is_refused(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_column._loaded.cache_clear()
    monkeypatch.setattr(model_column, "predictor", lambda pipeline: Fickle(pipeline=pipeline))
    with pytest.raises(FeatureError, match="answers a row otherwise among others than alone"):
        REGISTRY.parse(column)


def test_a_model_that_answers_otherwise_than_recorded_is_refused(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking the wrong one of the two probabilities, for example."""
    model_column._loaded.cache_clear()
    monkeypatch.setattr(
        ModelColumn, "answers", lambda self, rows: np.asarray(self.model.predict_proba(rows))[:, 0]
    )
    with pytest.raises(FeatureError, match="golden vectors are not answered as recorded"):
        REGISTRY.parse(column)


# Columns of any kind: the checks of the catalogue, and faults that they find


@dataclass(frozen=True, kw_only=True)
class Toy:
    """The mean of two features; with a fault, of the rows beside it too, or out of range."""

    fault: str = ""
    base: SeriesKey = CANONICAL
    inputs: tuple[str, ...] = ("ibs", "volume_pctile_20%30~2")
    low: float = 0.0
    high: float = 1.0
    definition: str = "0"
    trained: DateRange | None = None

    def describe(self) -> str:
        return "A toy."

    def answers(self, rows: np.ndarray) -> np.ndarray:
        if self.fault == "range":
            return rows.sum(axis=1)
        if self.fault == "shape":
            return rows
        return rows.mean(axis=1) if self.fault == "" else np.full(len(rows), rows.mean())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what makes `toy:NAME` answer with a column; it returns the first of the ids."""

    def answer(**columns: Toy) -> str:
        module = ModuleType("toys")
        vars(module)["derived_column"] = lambda text, registry: columns[text.removeprefix("toy:")]
        monkeypatch.setattr(derived, "import_module", lambda name: module)
        monkeypatch.setattr(derived, "_ANSWERED_BY", {"toy:": "toys"})
        return f"toy:{next(iter(columns))}"

    return answer


def test_a_column_is_under_the_checks_of_features(toy: Callable[..., str]) -> None:
    ids, bars = (toy(mean=Toy()), "rsi_2"), history_of(RECIPE, 60)
    check_batch_equals_streaming(REGISTRY, ids, bars)
    check_blind_to_future(REGISTRY, ids, bars, 80, 1)
    check_start_invariant(REGISTRY, ids, bars, 3)


def test_a_column_that_looks_at_other_rows_is_caught(toy: Callable[..., str]) -> None:
    ids, bars = (toy(mean=Toy(fault="rows")), "rsi_2"), history_of(RECIPE, 60)
    with pytest.raises(AssertionError, match="toy:mean: batch and streaming differ"):
        check_batch_equals_streaming(REGISTRY, ids, bars)
    with pytest.raises(AssertionError, match="toy:mean: depends on later bars"):
        check_blind_to_future(REGISTRY, ids, bars, 80, 1)


@pytest.mark.parametrize("source", [batch, streamed, functools.partial(prepared, size=9)])
def test_an_answer_outside_its_range_is_no_value(toy: Callable[..., str], source: Callable[..., Any]) -> None:
    with pytest.raises(
        FeatureError, match=r"toy:mean: answered .*, outside 0 to 1; validate the bundle again"
    ):
        source(REGISTRY, (toy(mean=Toy(fault="range")),), history_of(RECIPE, 60))


def test_a_row_without_an_answer_is_an_error(toy: Callable[..., str]) -> None:
    with pytest.raises(FeatureError, match=r"toy:mean: answers of shape \(\d+, 2\) to \d+ rows"):
        BatchFeatures(REGISTRY.plan((toy(mean=Toy(fault="shape")),), CANONICAL), history_of(RECIPE, 60))


def test_a_column_of_a_column_is_refused(toy: Callable[..., str]) -> None:
    text = toy(outer=Toy(inputs=("ibs", "toy:mean")), mean=Toy())
    with pytest.raises(
        FeatureError, match=r"'toy:outer': reads toy:mean: a derived column reads features only"
    ):
        REGISTRY.parse(text)
