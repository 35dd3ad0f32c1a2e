"""Everything that a training report shows, measured once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lockstep.market.history import History
from lockstep.metrics import Floats, Integers
from research.backtest.account import Account
from research.statistics.pbo import Overfitting
from research.training.importance import Attribution, FeatureImportance, attribution, importance
from research.training.out_of_sample import OutOfSample, VetoRuns, traced_runs, window_dates
from research.training.outcome import OuterWindow, TrainingOutcome
from research.training.overfitting import Deflation, deflated_gain, search_overfitting
from research.training.probabilities import Calibration, Curve, calibration, precision_recall, roc
from research.training.refit import refitting
from research.training.threshold import ThresholdCurve, threshold_curve

_GROUPS = 10
_LEAST_PER_GROUP = 25


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowResult:
    """One outer window: its model, its session dates, both accounts over them."""

    window: OuterWindow
    first: np.datetime64
    last: np.datetime64
    filtered: Account
    unfiltered: Account


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingReport:
    """One training run, measured; out of sample unless it says otherwise.

    answers          the outer windows' answers, each sample once
    runs, windows    the strategy with and without the veto: one account over all windows in order, and the
                     stretch of it in each window
    thresholds       on the final search's out-of-fold probabilities, where the threshold was chosen
    attribution      SHAP values of the final model in sample, or the sentence why there are none
    deflation, overfitting   see `research.training.overfitting`
    won_by_year      year -> (samples, winners), all samples before the hold-out
    """

    outcome: TrainingOutcome
    answers: OutOfSample
    runs: VetoRuns
    windows: tuple[WindowResult, ...]
    calibration: Calibration
    roc: Curve | None
    precision_recall: Curve | None
    thresholds: ThresholdCurve
    importance: FeatureImportance
    attribution: Attribution | str
    deflation: Deflation
    overfitting: Overfitting | None
    won_by_year: dict[int, tuple[int, int]]

    @property
    def dates(self) -> str:
        """First and last session date of the outer walk-forward, which all figures out of sample are of."""
        return f"{self.windows[0].first} to {self.windows[-1].last}"

    def windows_table(self) -> pd.DataFrame:
        """Return one row per outer window: dates, samples, threshold, accounts without and with the veto."""
        rows = [
            {
                "first": each.first, "last": each.last, "train": each.window.train.size,
                "test": each.window.test.size, "threshold": each.window.threshold,
                **{
                    f"{name.replace('_', ' ')} {which}": account.measures[name]
                    for name in ("trades", "net_profit", "sharpe")
                    for which, account in (("without", each.unfiltered), ("with veto", each.filtered))
                },
            }
            for each in self.windows
        ]  # fmt: skip
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="window"))

    def steps_table(self) -> pd.DataFrame:
        """Return every step of the final search with its parameters, the best first."""
        steps = self.outcome.steps
        rows = [{**each.parameters, "threshold": each.threshold, "score": each.score} for each in steps]
        found = pd.DataFrame(rows, index=pd.Index([each.number + 1 for each in steps], name="step"))
        return found.sort_values("score", ascending=False, kind="stable")

    @property
    def base_rate(self) -> float:
        """Share of winners among the out-of-sample samples."""
        return float(self.answers.target.mean())

    @property
    def development_pnl(self) -> Floats:
        """Net P&L of the samples before the hold-out, float64 (n,), USD."""
        return self.outcome.dataset.net_pnl[self.outcome.development]


def report_data(outcome: TrainingOutcome, history: History, *, trainings: int) -> TrainingReport:
    """Measure a training run. Nothing is read of the hold-out.

    trainings   that the ledger counts on the family over these dates, this one included
    """
    answers, runs = OutOfSample.of(outcome), traced_runs(outcome, history)
    known = outcome.dataset.subset(outcome.development)
    groups = max(1, min(_GROUPS, answers.sample.size // _LEAST_PER_GROUP))
    return TrainingReport(
        outcome=outcome,
        answers=answers,
        runs=runs,
        windows=window_results(outcome, history, runs),
        calibration=calibration(answers.probability, answers.target, groups),
        roc=roc(answers.probability, answers.target),
        precision_recall=precision_recall(answers.probability, answers.target),
        thresholds=threshold_curve(known, outcome.best.probabilities),
        importance=importance(outcome, refitting(outcome)),
        attribution=attribution(outcome),
        deflation=deflated_gain(runs.gain, trainings=trainings),
        overfitting=search_overfitting(outcome),
        won_by_year=_won_by_year(known.decision, known.target),
    )


def window_results(outcome: TrainingOutcome, history: History, runs: VetoRuns) -> tuple[WindowResult, ...]:
    """Return what both accounts of `runs` did in each outer window."""
    dates = window_dates(outcome, history)
    return tuple(
        WindowResult(
            window=window,
            first=first,
            last=last,
            filtered=runs.filtered.between(first, last),
            unfiltered=runs.unfiltered.between(first, last),
        )
        for window, (first, last) in zip(outcome.windows, dates, strict=True)
    )


def _won_by_year(decision: Integers, target: Integers) -> dict[int, tuple[int, int]]:
    years = decision.astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970
    return {
        int(year): (int((years == year).sum()), int(target[years == year].sum())) for year in np.unique(years)
    }
