"""Labels on every bar, what may be learned from, and estimators that answer with a value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models.bundle import bundle_bytes
from research.training.estimators import ESTIMATORS, make_estimator
from research.zoo import learning as learning_bars
from research.zoo.bundling import ModelBuild, built
from research.zoo.fitting import folds, losses_of, out_of_fold
from research.zoo.labels import LABELS, BarLabels, labels
from research.zoo.learning import LabelledBars, LearningBars
from support.zoo import COMP, learning, spec

EVERY = [(task, label) for task, names in LABELS.items() for label in names]
HORIZON = 3

Labelled = Callable[[Bars, str, int, str], BarLabels]


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("COMP", start="2003-01-02", end="2009-12-31")


@pytest.fixture(scope="module")
def bars(history: History) -> Bars:
    return history.series(COMP)


def slow(bars: Bars, task: str, row: int, horizon: int) -> float:
    """Return a usual label as a person would work it out, NaN where there is none."""
    later = range(row + 1, row + horizon + 1)
    if later[-1] >= len(bars.close):
        return math.nan
    moved = bars.close[later[-1]] - bars.close[row]
    if task == "direction":
        return float(moved > 0)
    if task == "return":
        true = [
            max(bars.high[i], bars.close[i - 1]) - min(bars.low[i], bars.close[i - 1])
            for i in range(row - 13, row + 1)
            if i > 0
        ]
        return moved / (sum(true) / 14) if len(true) == 14 else math.nan

    def share(at: int) -> float:
        ahead = slice(at + 1, at + horizon + 1)
        return (max(bars.high[ahead]) - min(bars.low[ahead])) / bars.close[at]

    if task == "volatility":
        return math.log(share(row))
    ended = [share(at) for at in range(row - horizon + 1)]
    return float(share(row) > np.median(ended)) if len(ended) >= 250 else math.nan


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("horizon", [1, 5])
def test_labels_are_what_a_person_would_work_out(bars: Bars, task: str, horizon: int) -> None:
    found = labels(bars, task, horizon).judged  # type: ignore[arg-type]
    size = len(bars.close)
    for row in (0, 12, 13, 14, 248, 249, 251, 300, 700, size - 6, size - 5, size - 2, size - 1):
        assert found[row] == pytest.approx(slow(bars, task, row, horizon), nan_ok=True), (task, row)


def looks_ahead(bars: Bars, task: str, label: str, found: Labelled = labels) -> bool:  # type: ignore[assignment]
    """Whether a label is another one when bars beyond its horizon are not there."""
    whole = found(bars, task, HORIZON, label)
    for stop in (400, 401, 650):
        known = found(bars.rows(0, stop), task, HORIZON, label)
        for one, all_of_it in ((known.taught, whole.taught), (known.judged, whole.judged)):
            if not np.array_equal(one[: stop - HORIZON], all_of_it[: stop - HORIZON], equal_nan=True):
                return True
            if not np.isnan(one[stop - HORIZON :]).all():
                return True
    return False


@pytest.mark.parametrize(("task", "label"), EVERY)
def test_no_label_looks_further_than_its_horizon(bars: Bars, task: str, label: str) -> None:
    assert not looks_ahead(bars, task, label)


def test_a_label_that_looks_further_is_found(bars: Bars) -> None:
    def late(given: Bars, task: str, horizon: int, label: str) -> BarLabels:
        return labels(given, task, horizon + 1, label)  # type: ignore[arg-type]

    def of_all(given: Bars, task: str, horizon: int, label: str) -> BarLabels:
        found = labels(given, "volatility", horizon)
        return BarLabels(taught=found.taught - np.nanmean(found.taught), judged=found.judged)

    assert looks_ahead(bars, "direction", "", late)
    assert looks_ahead(bars, "volatility", "", of_all)


@pytest.mark.parametrize(("task", "label"), [each for each in EVERY if each[1]])
def test_another_label_teaches_and_does_not_judge(bars: Bars, task: str, label: str) -> None:
    usual, other = (labels(bars, task, HORIZON, each) for each in ("", label))  # type: ignore[arg-type]
    assert np.array_equal(usual.judged, other.judged, equal_nan=True)
    there = np.isfinite(other.judged)
    changed = other.taught[there] != other.judged[there]
    assert 0 < changed.sum() < there.sum()
    if label == "clear":
        assert np.isnan(other.taught[there][changed]).all()


def test_what_is_no_label_is_refused_in_one_line(bars: Bars) -> None:
    with pytest.raises(TrainingError, match="COMP direction: label 'clipped': must be one of '', 'clear'"):
        labels(bars, "direction", 1, "clipped")
    with pytest.raises(TrainingError, match="these bars are adjusted by differences; ask for direction"):
        labels(replace(bars, adjustment="difference"), "volatility", 1)
    assert np.isfinite(labels(replace(bars, adjustment="difference"), "return", 1).judged).any()


def test_bars_without_a_range_have_no_volatility(bars: Bars) -> None:
    flat = replace(bars, open=bars.close, high=bars.close, low=bars.close)
    assert np.isnan(labels(flat, "volatility", 1).judged).all()
    assert np.isfinite(labels(flat, "volatility", 2).judged).any()


def later_bars_matter(history: History, monkeypatch: pytest.MonkeyPatch, *, cut: bool) -> bool:
    """Whether a bundle is another one when the bars after its training are others."""
    whole = history.series(COMP)
    stop = int(np.searchsorted(whole.end, learning(history).bars.end[-1], side="right"))
    others = {
        name: np.concatenate([values[:stop], 1.5 * values[stop:]]) for name, values in whole.columns().items()
    }
    changed = History(bars={**history.bars, COMP: replace(whole, **others)}, markets=history.markets)  # type: ignore[arg-type]
    if not cut:
        monkeypatch.setattr(learning_bars, "cut_at", lambda history, *_: history)
    asked = spec(task="regime", horizon=5)
    found = []
    for each in (history, changed):
        taught = learning(each)
        found.append(bundle_bytes(built(ModelBuild.of(asked, taught), taught)))
    return found[0] != found[1]


def test_no_bar_after_the_training_changes_a_byte_of_its_bundle(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not later_bars_matter(history, monkeypatch, cut=True)
    assert later_bars_matter(history, monkeypatch, cut=False)


class TestSamples:
    def test_rows_without_a_feature_are_left_out_and_counted(self, history: History) -> None:
        asked = spec(features=("ibs", "atr_pctile_14_252"))
        taught = LearningBars.of(history, COMP)
        found = taught.samples(asked)
        missing = np.isnan(taught.matrix(sorted(asked.features))).any(axis=1)
        assert missing.sum() > 200
        assert found.left_out == missing.sum() + 1, "and the last bar, whose label has not ended"
        assert found.row.size + found.left_out == taught.size
        assert np.isfinite(found.features).all()

    def test_bars_before_the_range_only_fill_windows(self, history: History) -> None:
        asked, taught = spec(features=("realised_vol_20_252",)), learning(history)
        found = taught.samples(asked)
        assert taught.sessions[found.row[0]].item().isoformat() == "2005-01-03"
        assert found.left_out == 1
        assert taught.bars.end.base is None, "a view would hold what was cut off"

    def test_models_are_no_features_of_models(self, history: History) -> None:
        with pytest.raises(TrainingError, match=r"reads model:COMP_x@v1#0{12}: it reads features only"):
            learning(history).matrix(["model:COMP_x@v1#000000000000"])

    def test_what_moves_with_rolls_is_refused(self, history: History) -> None:
        whole = replace(history.series(COMP), adjustment="difference")
        taught = LearningBars.of(History(bars={COMP: whole}, markets=history.markets), COMP)
        with pytest.raises(TrainingError, match="reads ret_5: it changes with every roll"):
            taught.matrix(["ibs", "ret_5"])


class TestFolds:
    @staticmethod
    def samples(n: int = 500) -> LabelledBars:
        row = np.flatnonzero(np.arange(2 * n) % 7 > 2)[:n]
        values = np.random.default_rng(1).normal(size=n)
        return LabelledBars(row=row, features=values[:, None], taught=values, judged=values, left_out=0)

    @pytest.mark.parametrize("horizon", [1, 5, 20])
    def test_what_is_learned_from_has_ended_before_what_is_asked(self, horizon: int) -> None:
        samples, asked = self.samples(), []
        for learned, tested in folds(samples, horizon):
            assert samples.row[learned].max() + horizon < samples.row[tested].min()
            assert samples.row[learned].max() + horizon >= samples.row[tested].min() - 4, "and no earlier"
            asked += tested.tolist()
        assert asked == list(range(200, 500))

    def test_losses_out_of_fold_are_of_later_bars_and_beside_a_constant(self, history: History) -> None:
        found = out_of_fold(learning(history), spec())
        assert np.all(np.diff(found.row) > 0)
        assert found.loss.shape == found.constant.shape == found.row.shape
        assert found.loss.mean() < found.constant.mean(), "the range of a day is not drawn at random"

    def test_losses(self) -> None:
        chance, came = np.array([0.25, 0.25, 0.0]), np.array([1.0, 0.0, 1.0])
        found = losses_of("direction", chance, came)
        assert found == pytest.approx([math.log(4.0), math.log(4 / 3), math.log(1e6)])
        assert losses_of("return", chance, came) == pytest.approx([0.5625, 0.0625, 1.0])


class TestSpec:
    @pytest.mark.parametrize("family", list(ESTIMATORS))
    def test_every_family_has_both_kinds(self, family: str) -> None:
        random = np.random.default_rng(1)
        features, value = random.normal(size=(300, 2)), random.normal(size=300)
        assert hasattr(make_estimator(family, {}, 1), "predict_proba")
        regressor = make_estimator(family, {}, 1, "volatility")
        assert not hasattr(regressor, "predict_proba")
        one, again = (
            make_estimator(family, {}, 1, "volatility").fit(features, value).predict(features) for _ in "ab"
        )
        assert one.tobytes() == again.tobytes()

    @pytest.mark.parametrize("family", list(ESTIMATORS))
    def test_members_differ_where_they_may_be_several(self, family: str) -> None:
        random = np.random.default_rng(2)
        features, value = random.normal(size=(300, 6)), random.normal(size=300)
        part = {"lightgbm": "colsample_bytree", "xgboost": "colsample_bytree"}.get(family, "max_features")
        for parameters in ({}, {part: 0.5}):
            if not ESTIMATORS[family].drawn(parameters):
                with pytest.raises(ValidationError, match="gives the same model for every seed"):
                    spec(members=2, estimator=family, parameters=parameters)
                continue
            assert spec(members=2, estimator=family, parameters=parameters).members == 2
            seeds = [
                make_estimator(family, parameters, seed, "return").fit(features, value).predict(features)
                for seed in (1, 2)
            ]
            assert not np.array_equal(*seeds), (family, parameters)

    def test_bad_parameters_are_one_line(self, history: History) -> None:
        with pytest.raises(
            TrainingError, match=r"model family random_forest: parameters .*n_tree.*unexpected"
        ):
            make_estimator("random_forest", {"n_tree": 5}, 1, "return")
        with pytest.raises(
            TrainingError, match="volatility_h1: random_forest cannot be fitted: The 'max_depth"
        ):
            out_of_fold(learning(history), spec(parameters={"max_depth": -1}))
        with pytest.raises(ValidationError, match="n_estimators 5000: must be a number up to 2,000"):
            spec(parameters={"n_estimators": 5000})

    def test_too_few_bars_are_one_line(self, history: History) -> None:
        with pytest.raises(TrainingError, match=r"volatility_h1: 83 bars to learn from, .* at least 200"):
            out_of_fold(learning(history, "2005-01-03", "2005-10-31"), spec())
