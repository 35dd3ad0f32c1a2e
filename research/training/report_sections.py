"""The parts of the training report that are text and tables."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

import lockstep
from research.backtest.account import Account
from research.report import page, trust
from research.report.page import EN_DASH, UNDEFINED, Tile, count, joined, percent, ratio, strong, table, usd
from research.report.sections_record import orders_table, years_or_never
from research.statistics.sharpe import (
    SharpeSample,
    block_of,
    minimum_backtest_length,
    minimum_track_record,
    probabilistic_sharpe,
)
from research.statistics.superior import Superiority, superior_predictive_ability
from research.training.outcome import TrainingOutcome
from research.training.report_data import TrainingReport, WindowResult

_LIBRARIES = ("scikit-learn", "scikit-optimize", "numpy", "numba", "joblib", "pandas")
_DATED = "datetime64[D]"
_TOP_STEPS = 8


def header(data: TrainingReport, badge: str) -> Markup:
    """Return symbol, strategy, dates, model family, and the warning of a proxy."""
    outcome, config = data.outcome, data.outcome.config
    first, last = (
        outcome.dataset.decision[outcome.development[[0, -1]]].astype("datetime64[ns]").astype(_DATED)
    )
    return page.header(
        config.symbol,
        f"veto of {config.strategy.name}",
        (
            f"samples {first} to {last}",
            f"{config.strategy.timeframe} bars",
            f"{len(outcome.dataset.feature_ids)} features",
            f"{len(data.windows)} outer windows of {config.validation.walk_forward}",
            f"out of sample {data.dates}",
            f"seed {outcome.seed}",
        ),
        lead=config.model.family.replace("_", " "),
        badge=badge,
    )


def key_figures(data: TrainingReport) -> Markup:
    """Return the strip of ten key figures, out of sample, with those of the strategy without a veto.

    Those of the account are of one account over all windows, and name its dates.
    """
    with_, without = data.runs.filtered.measures, data.runs.unfiltered.measures
    pbo = None if data.overfitting is None else data.overfitting.probability
    area = None if data.roc is None else data.roc.area
    accounts = (
        ("Sharpe with veto", ratio, "sharpe"),
        ("Net P&L with veto", usd, "net_profit"),
        ("Trades with veto", count, "trades"),
        ("Profit factor with veto", ratio, "profit_factor"),
        ("Max drawdown with veto", percent, "max_drawdown"),
    )
    tiles = [
        *(
            (title, written(with_[name]), f"without {written(without[name])}; {unbroken(data.dates)}")
            for title, written, name in accounts
        ),
        ("ROC area", ratio(area, 3), "0.5 is chance"),
        ("Calibration error", percent(data.calibration.error), f"base rate {percent(data.base_rate)}"),
        (
            "Gain of the veto",
            f"{percent(data.runs.gain.annual)} a year",
            f"at the same exposure; Sharpe ratio {ratio(data.runs.gain.sharpe)}",
        ),
        ("PBO", percent(pbo), f"over {len(data.outcome.steps)} search steps"),
        (
            "Deflated Sharpe",
            percent(data.deflation.dsr),
            f"of the gain, after {count(data.deflation.trials)} trainings",
        ),
    ]
    return page.key_figures(Tile(*tile) for tile in tiles)


def unbroken(text: str) -> str:
    """Return a text that stays on one line where it can."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def windows(data: TrainingReport) -> Markup:
    """Return one row per outer window, with and without the veto, and the whole account."""
    head = (
        "#", "test", "train", "test", "threshold", "trades", "net P&L", "Sharpe", "profit factor",
        "drawdown", "wins",
    )  # fmt: skip
    foot = (
        "all",
        f"{data.windows[0].first} {EN_DASH} {data.windows[-1].last}",
        "",
        count(data.answers.sample.size),
        "",
        *_pairs(data.runs.unfiltered, data.runs.filtered),
    )
    rows = [_window_row(each) for each in data.windows]
    return table(head, rows, foot=foot)


def _window_row(found: WindowResult) -> tuple[str, ...]:
    return (
        str(found.window.number + 1),
        f"{found.first} {EN_DASH} {found.last}",
        count(found.window.train.size),
        count(found.window.test.size),
        ratio(found.window.threshold),
        *_pairs(found.unfiltered, found.filtered),
    )


def _pairs(before: Account, after: Account) -> tuple[str, ...]:
    """Return `without → with` for every measure."""
    writers: Mapping[str, Any] = {
        "trades": count,
        "net_profit": usd,
        "sharpe": ratio,
        "profit_factor": ratio,
        "max_drawdown": percent,
        "win_rate": percent,
    }
    one, other = before.measures, after.measures
    return tuple(
        joined(f"{write(one[name])} → ", strong(write(other[name]))) for name, write in writers.items()
    )


def steps(outcome: TrainingOutcome) -> Markup:
    """Return the best steps of the final search with their parameters."""
    best = sorted(outcome.steps, key=lambda each: (-each.score, each.number))[:_TOP_STEPS]
    names = list(best[0].parameters)
    head = ("step", *names, "threshold", "score", "spread over splits")
    rows = [
        (
            str(each.number + 1),
            *(_spelled(each.parameters[name]) for name in names),
            ratio(each.threshold),
            ratio(each.score, 4),
            ratio(float(np.std(each.split_scores)), 4),
        )
        for each in best
    ]
    return table(head, rows)


def _spelled(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def luck(data: TrainingReport) -> Markup:
    """Return what deflation and CSCV rest on, and what other tests say of the gain."""
    found, pbo = data.deflation, data.overfitting
    per_year = data.runs.filtered.sessions_per_year**0.5
    blocks, against = SharpeSample.of_blocks(data.runs.gain.returns), against_no_veto(data)
    yearly = found.sample.ratio * per_year
    trained = minimum_backtest_length(max(1, found.trials), yearly) if yearly > 0 else math.inf
    rows = [
        ("Sharpe ratio of the veto's gain, annual", ratio(found.sample.ratio * per_year)),
        ("standard error, annual", ratio(found.sample.standard_error * per_year)),
        ("the same over blocks, with autocorrelation", ratio(blocks.standard_error * per_year)),
        ("probability that it is above zero, with autocorrelation", percent(probabilistic_sharpe(blocks))),
        (
            f"SPA against no veto, blocks of {against.block} sessions: p-value",
            percent(against.consistent),
        ),
        (
            "minimum track record, until it is above zero with 95 %",
            years_or_never(minimum_track_record(blocks) / per_year**2),
        ),
        (
            "minimum backtest length: below it as many trainings without skill are expected to show it",
            years_or_never(trained),
        ),
        ("sessions", count(found.sample.periods)),
        ("skew, kurtosis", f"{ratio(found.sample.skew)}, {ratio(found.sample.kurtosis)}"),
        ("trainings that the ledger counts", count(found.trials)),
        ("best of as many without skill, annual", ratio(found.chance)),
        (strong("probability of skill (deflated Sharpe)"), strong(percent(found.dsr))),
        ("the same for the search's steps", "not valid here: the search learns"),
        (
            strong("probability of backtest overfitting"),
            strong(percent(None if pbo is None else pbo.probability)),
        ),
        ("the chosen step loses out of sample", percent(None if pbo is None else pbo.probability_of_loss)),
    ]
    return table(("", ""), rows)


def against_no_veto(data: TrainingReport) -> Superiority:
    """Test the gain of the veto for superior predictive ability over its own strategy.

    One column: the outer walk-forward is nested, so that nothing was chosen by these sessions. The search's
    own steps were proposed by what it had seen, and no such test is valid for them.
    """
    returns = data.runs.gain.returns
    return superior_predictive_ability(returns[:, None], block=block_of(returns.size))


def other_orders(data: TrainingReport) -> Markup:
    """Return what other orders of the trades with the veto would have given."""
    pnl = data.runs.filtered.pnl
    return orders_table(trust.other_orders(pnl)) if pnl.size > 2 else page.empty_block("Too few trades.")


def features(data: TrainingReport) -> Markup:
    """Return quantiles of every feature, and how far winners and losers stand apart."""
    outcome = data.outcome
    known = outcome.dataset.subset(outcome.development)
    head = ("feature", "5 %", "median", "95 %", "won − lost, in deviations", "in the final model")
    rows = []
    for name in data.importance.ids:
        values = known.features[:, outcome.dataset.feature_ids.index(name)]
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        apart = _apart(values, known.target)
        kept = "yes" if name in outcome.selected else UNDEFINED
        rows.append((name, ratio(low, 3), ratio(middle, 3), ratio(high, 3), ratio(apart), kept))
    return table(head, rows)


def _apart(values: np.ndarray, target: np.ndarray) -> float:
    """Return the difference of means of winners and losers in standard deviations; nan where undefined."""
    spread = float(values.std())
    if spread == 0 or np.ptp(target) == 0:
        return float("nan")
    return float(values[target == 1].mean() - values[target == 0].mean()) / spread


def provenance_of(outcome: TrainingOutcome) -> dict[str, str]:
    """Return what the run depends on: label -> hash, version or seed."""
    return {
        "training config": outcome.config.config_hash,
        "strategy config": outcome.config.strategy.config_hash,
        **{f"{name} of the dataset": value for name, value in outcome.dataset.hashes.items()},
        "seed": str(outcome.seed),
        **environment(),
    }


def environment() -> dict[str, str]:
    """Return the versions that decide the bits: label -> version."""
    return {
        "lockstep": lockstep.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
