"""The parts of the training report that are text and tables."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import lockstep
from research.report.numbers import EN_DASH, UNDEFINED, count, percent, ratio, usd
from research.report.page import escaped, table
from research.training.outcome import TrainingOutcome
from research.training.report_data import ReportData, WindowResult
from research.validation.model.account import Account

_LIBRARIES = ("scikit-learn", "scikit-optimize", "numpy", "numba", "joblib", "pandas")
_DATED = "datetime64[D]"
_TOP_STEPS = 8


def header(data: ReportData, proxy_of: str | None) -> str:
    """Return symbol, strategy, dates, model family, and the warning of a proxy."""
    outcome, config = data.outcome, data.outcome.config
    first, last = (
        outcome.dataset.decision[outcome.development[[0, -1]]].astype("datetime64[ns]").astype(_DATED)
    )
    proxy = (
        f'<span class="proxy">Index proxy for {escaped(proxy_of)}: not tradable as is</span>'
        if proxy_of
        else ""
    )
    return (
        f"<header><h1>{escaped(config.symbol)}<small>veto of {escaped(config.strategy.name)}</small></h1>"
        f'<p class="facts"><b>{escaped(config.model.family.replace("_", " "))}</b>'
        f"<span>samples {first} to {last}</span><span>{escaped(config.strategy.timeframe)} bars</span>"
        f"<span>{len(outcome.dataset.feature_ids)} features</span>"
        f"<span>{len(data.windows)} outer windows of {escaped(config.validation.walk_forward)}</span>"
        f"<span>out of sample {data.dates}</span>"
        f"<span>seed {outcome.seed}</span>{proxy}</p></header>"
    )


def key_figures(data: ReportData) -> str:
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
        ("Deflated Sharpe", percent(data.deflation.dsr), f"best of noise {ratio(data.deflation.chance)}"),
        ("PBO", percent(pbo), f"over {len(data.outcome.steps)} search steps"),
        (
            "Trials counted",
            count(data.deflation.trials),
            f"{count(data.deflation.independent)} of them independent",
        ),
    ]
    return kpis(tiles)


def unbroken(text: str) -> str:
    """Return a text that stays on one line where it can."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def kpis(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Return a strip of figures: what it is, the figure, and a word on it; all are escaped here."""
    cells = "".join(
        f'<div class="kpi"><span>{escaped(name)}</span><b>{escaped(value)}</b>'
        f"<span>{escaped(note)}</span></div>"
        for name, value, note in tiles
    )
    return f'<div class="kpis">{cells}</div>'


def windows(data: ReportData) -> str:
    """Return one row per outer window, with and without the veto, and the whole account."""
    head = (
        "#", "test", "train", "test", "threshold", "trades", "net P&amp;L", "Sharpe", "profit factor",
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
    return f'<div class="scroll">{table(head, rows, foot=foot)}</div>'


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
    return tuple(f"{write(one[name])} → <b>{write(other[name])}</b>" for name, write in writers.items())


def steps(outcome: TrainingOutcome) -> str:
    """Return the best steps of the final search with their parameters."""
    best = sorted(outcome.steps, key=lambda each: (-each.score, each.number))[:_TOP_STEPS]
    names = list(best[0].parameters)
    head = ("step", *map(escaped, names), "threshold", "score", "spread over splits")
    rows = [
        (
            str(each.number + 1),
            *(escaped(_spelled(each.parameters[name])) for name in names),
            ratio(each.threshold),
            ratio(each.score, 4),
            ratio(float(np.std(each.split_scores)), 4),
        )
        for each in best
    ]
    return f'<div class="scroll">{table(head, rows)}</div>'


def _spelled(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def luck(data: ReportData) -> str:
    """Return what deflation and CSCV rest on."""
    found, pbo = data.deflation, data.overfitting
    per_year = data.runs.filtered.sessions_per_year**0.5
    rows = [
        ("Sharpe ratio with veto, annual", ratio(found.sample.ratio * per_year)),
        ("standard error, annual", ratio(found.sample.standard_error * per_year)),
        ("sessions", count(found.sample.periods)),
        ("skew, kurtosis", f"{ratio(found.sample.skew)}, {ratio(found.sample.kurtosis)}"),
        ("trials that the ledger counts", count(found.trials)),
        ("independent among them", ratio(found.independent, 1)),
        ("best of as many without skill, annual", ratio(found.chance)),
        ("<b>probability of skill (deflated Sharpe)</b>", f"<b>{percent(found.dsr)}</b>"),
        (
            "<b>probability of backtest overfitting</b>",
            f"<b>{percent(None if pbo is None else pbo.probability)}</b>",
        ),
        ("the chosen step loses out of sample", percent(None if pbo is None else pbo.probability_of_loss)),
    ]
    return table(("", ""), rows)


def features(data: ReportData) -> str:
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
        rows.append((escaped(name), ratio(low, 3), ratio(middle, 3), ratio(high, 3), ratio(apart), kept))
    return f'<div class="scroll">{table(head, rows)}</div>'


def _apart(values: np.ndarray, target: np.ndarray) -> float:
    """Return the difference of means of winners and losers in standard deviations; nan where undefined."""
    spread = float(values.std())
    if spread == 0 or np.ptp(target) == 0:
        return float("nan")
    return float(values[target == 1].mean() - values[target == 0].mean()) / spread


def provenance(entries: Mapping[str, str]) -> str:
    """Return a table of labels with hashes, versions or seeds."""
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>'
        for name, value in entries.items()
    )
    return f'<table class="provenance"><tbody>{rows}</tbody></table>'


def provenance_of(outcome: TrainingOutcome) -> dict[str, str]:
    """Return what the run depends on: label -> hash, version or seed."""
    return {
        "training config": outcome.config.config_hash,
        "strategy config": outcome.config.strategy.config_hash,
        **{f"{name} of the dataset": value for name, value in outcome.dataset.hashes.items()},
        "seed": str(outcome.seed),
        "lockstep": lockstep.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def notes(sentences: Sequence[str]) -> str:
    """Return sentences as a list."""
    return '<ul class="notes">' + "".join(f"<li>{escaped(each)}</li>" for each in sentences) + "</ul>"
