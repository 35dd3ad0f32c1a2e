"""The training report: one self-contained page and its JSON, the same bytes for the same training run.

It judges nothing: verdicts are the business of `research.validation.model`.
"""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.files import replace_file
from lockstep.market.history import History
from research.experiments.figures import logits
from research.report.page import card, document, fragment, grid, joined, listing, notes, provenance
from research.report.section import Sections, cards
from research.report.sections import proxy
from research.training import report_figures as figures
from research.training import report_search_figures as search_figures
from research.training import report_sections as sections
from research.training.importance import Attribution
from research.training.outcome import TrainingOutcome
from research.training.report_data import TrainingReport, report_data
from research.training.report_json import report_json

PAGE, NUMBERS = "report.html", "report.json"
SECTIONS: Sections[TrainingReport] = Sections("the training report")
"""Every card of the training report, in the order of the page."""


def write_training_report(
    outcome: TrainingOutcome, history: History, folder: Path, *, trainings: int
) -> Path:
    """Write `report.html` and `report.json` into `folder`, made where missing, and return the page's path.

    trainings   that the ledger counts on the family over the dates before the hold-out, this one included

    Each file replaces an earlier one in a single step. The hold-out is not looked at.
    """
    return write_report(report_data(outcome, history, trainings=trainings), history, folder)


def write_report(data: TrainingReport, history: History, folder: Path) -> Path:
    """Write the page and the numbers of a training run that is measured already, likewise."""
    proxy_of = history.markets[data.outcome.dataset.symbol].instrument.proxy_of
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / NUMBERS, report_json(data))
    return replace_text(folder / PAGE, report_html(data, proxy_of))


def report_html(data: TrainingReport, proxy_of: str | None = None) -> str:
    """Return the page; it holds no time, host or path."""
    body = joined(sections.header(data, proxy(proxy_of)), sections.key_figures(data), cards(SECTIONS, data))
    return document(f"{data.outcome.dataset.symbol} · training", body)


def report_fragment(data: TrainingReport, version: str) -> str:
    """Return what a notebook shows of a training run: its key figures and its outer windows."""
    caption = f"{version} is a candidate. Out of sample, without veto → with veto."
    windows = card("Outer windows", sections.windows(data), caption=caption, classes="wide")
    return fragment(sections.header(data, ""), sections.key_figures(data), grid([windows]))


def replace_text(path: Path, text: str) -> Path:
    """Write `text` to `path` in a single step and return `path`; StoreFailure where the disk refuses."""
    replace_file(path, text.encode())
    return path


def _roc_caption(data: TrainingReport) -> str:
    return "" if data.roc is None else f"Out of sample. Area {data.roc.area:.3f}; 0.5 is chance (dotted)."


def _precision_caption(data: TrainingReport) -> str:
    curve = data.precision_recall
    if curve is None:
        return ""
    return (
        f"Out of sample. Average precision {curve.area:.3f}; share of winners {data.base_rate:.3f} (dotted)."
    )


def _roc(data: TrainingReport) -> go.Figure | None:
    return None if data.roc is None else figures.roc(data.roc)


def _precision(data: TrainingReport) -> go.Figure | None:
    curve = data.precision_recall
    return None if curve is None else figures.precision_recall(curve, data.base_rate)


def _attribution(data: TrainingReport) -> go.Figure | None:
    found = data.attribution
    return figures.attribution(found) if isinstance(found, Attribution) else None


def _no_attribution(data: TrainingReport) -> str:
    return data.attribution if isinstance(data.attribution, str) else ""


def _convergence(data: TrainingReport) -> go.Figure | None:
    outcome = data.outcome
    return search_figures.convergence(outcome.steps, outcome.config.search.objective)


def _search_caption(data: TrainingReport) -> str:
    outcome = data.outcome
    failed = f" {outcome.failed} steps failed and are counted." if outcome.failed else ""
    if outcome.stopped:
        failed += f" {outcome.stopped} hopeless steps of all searches were stopped early, and are counted."
    return (
        "Final search: mean score over the inner purged splits with its standard error, and the "
        f"best so far. Larger is better.{failed}"
    )


def _logits(data: TrainingReport) -> go.Figure | None:
    return None if data.overfitting is None else logits(data.overfitting)


def _dependence(data: TrainingReport) -> go.Figure | None:
    return search_figures.dependence(data.outcome.steps, data.outcome.best)


def _notes(data: TrainingReport) -> Markup:
    outcome = data.outcome
    sentences = [
        *outcome.idle,
        "Out of sample are the outer windows alone. The final model was fitted on all samples before the "
        "hold-out: what it does on those dates is in sample.",
        f"The hold-out, {outcome.hold_out.size} samples, is sealed; nothing on this page has seen it.",
        f"{outcome.dataset.unfinished} signals had an open trade at the last bar and are no samples.",
    ]
    return notes(sentences)


def _configuration(data: TrainingReport) -> Markup:
    spelled = json.dumps(data.outcome.config.model_dump(mode="json", exclude_defaults=True), indent=1)
    return listing(spelled)


_ONE_CLASS = "All samples are of one class."

SECTIONS.figure(
    "",
    "Out of sample: the strategy with and without the veto",
    "equity",
    figures.equity,
    caption="Outer walk-forward: each window is answered by a model that was searched and fitted on "
    "what came before it, with its own threshold. One continuous run, costs included; below, what "
    "the veto added.",
    wide=True,
)
SECTIONS.add(
    "",
    "Outer windows",
    sections.windows,
    caption="Without veto → with veto. Samples are signals, also those during an open trade; a "
    "trade counts where it ended. The last row is one account over all windows in order, not their "
    "mean. Drawdown in percent of the capital.",
    wide=True,
)
SECTIONS.figure(
    "",
    "Calibration",
    "calibration",
    figures.calibration,
    caption=lambda data: (
        f"Out of sample, in {data.calibration.count.size} groups of equal size with 95 % "
        f"intervals; on the dotted line probabilities are right. Mean distance "
        f"{data.calibration.error:.1%}."
    ),
)
SECTIONS.figure(
    "",
    "Threshold",
    "thresholds",
    figures.thresholds,
    caption="Out-of-fold probabilities of the final search's best step, on which the threshold "
    "(dotted) was chosen: in sample as far as that choice goes. Level line: no veto.",
)
SECTIONS.figure("", "ROC", "roc", _roc, empty=_ONE_CLASS, caption=_roc_caption)
SECTIONS.figure(
    "", "Precision and recall", "precision", _precision, empty=_ONE_CLASS, caption=_precision_caption
)
SECTIONS.figure(
    "",
    "Permutation importance",
    "importance",
    lambda data: figures.importance(data.importance),
    caption="Outer test windows, each with its own model: what shuffling one feature costs on "
    "samples that the model had not seen. 95 % intervals by block bootstrap; blue where above zero.",
)
SECTIONS.figure(
    "",
    "SHAP values",
    "shap",
    _attribution,
    empty=_no_attribution,
    caption="Final model, in sample: mean size of each feature's part in a probability. Blue: a "
    "larger value speaks for the trade; vermilion: against it.",
)
SECTIONS.figure(
    "",
    "Features of winners and losers",
    "distributions",
    search_figures.distributions,
    caption="Samples before the hold-out; the nine most important features. Shares within each "
    "class; ends hold what lies beyond the 0.5 % and 99.5 % quantiles.",
    wide=True,
)
SECTIONS.figure("", "Search", "convergence", _convergence, caption=_search_caption)
SECTIONS.figure(
    "",
    "Choosing the best step",
    "pbo",
    _logits,
    empty="One step, or too few samples: nothing to divide.",
    caption="History divided into halves in every way: rank of the best step of one half in the "
    "other. Left of zero it fell below the median; the share of those is the PBO.",
)
SECTIONS.figure(
    "",
    "Parameters",
    "dependence",
    _dependence,
    empty="No parameter was varied.",
    caption="Score of every step by each parameter; the diamond is the winner.",
    wide=True,
)
SECTIONS.add("", "Best steps", lambda data: sections.steps(data.outcome), wide=True)
SECTIONS.add(
    "",
    "How much is luck",
    sections.luck,
    caption="The out-of-sample Sharpe ratio against what the best of all counted trials would "
    "reach by chance. Errors at the observed ratio.",
)
SECTIONS.add(
    "",
    "The same trades in another order",
    sections.other_orders,
    caption="With the veto, out of sample. Fund the account for the drawdown of one order in twenty.",
    wide=True,
)
SECTIONS.figure(
    "",
    "Labels by year",
    "labels",
    lambda data: search_figures.labels(data.won_by_year),
    caption="Samples before the hold-out, and how many of them won after costs.",
)
SECTIONS.figure(
    "",
    "Result per sample",
    "results",
    lambda data: search_figures.results(data.development_pnl),
    caption="Every signal before the hold-out followed to its own exit, costs included.",
)
SECTIONS.add(
    "",
    "Provenance",
    lambda data: provenance(sections.provenance_of(data.outcome)),
    caption="What this run was computed from.",
)
SECTIONS.add("", "Features", sections.features, wide=True)
SECTIONS.add("", "Notes", _notes, wide=True)
SECTIONS.add("", "Configuration", _configuration, wide=True)
