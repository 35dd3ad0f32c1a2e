"""The training report: one self-contained page and its JSON, the same bytes for the same training run.

It judges nothing: verdicts are the business of `research.validation.model`.
"""

from __future__ import annotations

import json
from pathlib import Path

from plotly.offline import get_plotlyjs

from lockstep.market.history import History
from lockstep.models.atomic import replace_file
from research.experiments.figures import logits
from research.report.page import card, escaped, figure_block
from research.report.style import SCRIPT, STYLE
from research.training import report_figures as figures
from research.training import report_search_figures as search_figures
from research.training import report_sections as sections
from research.training.outcome import TrainingOutcome
from research.training.report_data import ReportData, report_data
from research.training.report_json import report_json
from research.training.report_shap import Attribution

PAGE, NUMBERS = "report.html", "report.json"


def write_training_report(outcome: TrainingOutcome, history: History, folder: Path, *, trials: int) -> Path:
    """Write `report.html` and `report.json` into `folder`, made where missing, and return the page's path.

    trials   evaluations that the ledger counts on the family over the dates of the walk-forward

    Each file replaces an earlier one in a single step. The hold-out is not looked at.
    """
    data = report_data(outcome, history, trials=trials)
    proxy_of = history.markets[outcome.dataset.symbol].instrument.proxy_of
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / NUMBERS, report_json(data))
    return replace_text(folder / PAGE, report_html(data, proxy_of))


def report_html(data: ReportData, proxy_of: str | None = None) -> str:
    """Return the page; it holds no time, host or path."""
    cards = "".join(
        (*_account_cards(data), *_probability_cards(data), *_model_cards(data), *_search_cards(data))
    )
    return page_html(
        f"{data.outcome.dataset.symbol} · training",
        f'{sections.header(data, proxy_of)}{sections.key_figures(data)}<div class="grid">{cards}'
        f"{''.join(_record_cards(data))}</div>",
    )


def page_html(title: str, body: str) -> str:
    """Return a self-contained page in the house style; `title` is escaped here, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n<body><main>{body}"
        "<noscript>The charts need JavaScript; the tables do not.</noscript></main>\n"
        f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script></body></html>\n"
    )


def replace_text(path: Path, text: str) -> Path:
    """Write `text` to `path` in a single step and return `path`; StoreFailure where the disk refuses."""
    replace_file(path, text.encode())
    return path


def _account_cards(data: ReportData) -> list[str]:
    return [
        card(
            "Out of sample: the strategy with and without the veto",
            figure_block("equity", figures.equity(data), empty=""),
            caption="Outer walk-forward: each window is answered by a model that was searched and fitted on "
            "what came before it, with its own threshold. One continuous run, costs included; below, what "
            "the veto added.",
            classes="wide",
        ),
        card(
            "Outer windows",
            sections.windows(data),
            caption="Without veto → with veto. Samples are signals, also those during an open trade; a "
            "trade counts where it ended. The last row is one account over all windows in order, not their "
            "mean. Drawdown in percent of the capital.",
            classes="wide",
        ),
    ]


def _probability_cards(data: ReportData) -> list[str]:
    one_class = "All samples are of one class."
    roc, curve = data.roc, data.precision_recall
    return [
        card(
            "Calibration",
            figure_block("calibration", figures.calibration(data), empty=""),
            caption=f"Out of sample, in {data.calibration.count.size} groups of equal size with 95 % "
            f"intervals; on the dotted line probabilities are right. Mean distance "
            f"{data.calibration.error:.1%}.",
        ),
        card(
            "Threshold",
            figure_block("thresholds", figures.thresholds(data), empty=""),
            caption="Out-of-fold probabilities of the final search's best step, on which the threshold "
            "(dotted) was chosen: in sample as far as that choice goes. Level line: no veto.",
        ),
        card(
            "ROC",
            figure_block("roc", None if roc is None else figures.roc(roc), empty=one_class),
            caption="" if roc is None else f"Out of sample. Area {roc.area:.3f}; 0.5 is chance (dotted).",
        ),
        card(
            "Precision and recall",
            figure_block(
                "precision",
                None if curve is None else figures.precision_recall(curve, data.base_rate),
                empty=one_class,
            ),
            caption=""
            if curve is None
            else f"Out of sample. Average precision {curve.area:.3f}; share of winners "
            f"{data.base_rate:.3f} (dotted).",
        ),
    ]


def _model_cards(data: ReportData) -> list[str]:
    found = data.attribution
    drawn = figures.attribution(found) if isinstance(found, Attribution) else None
    return [
        card(
            "Permutation importance",
            figure_block("importance", figures.importance(data.importance), empty=""),
            caption="Outer test windows, each with its own model: what shuffling one feature costs on "
            "samples that the model had not seen. 95 % intervals by block bootstrap; blue where above zero.",
        ),
        card(
            "SHAP values",
            figure_block("shap", drawn, empty=found if isinstance(found, str) else ""),
            caption="Final model, in sample: mean size of each feature's part in a probability. Blue: a "
            "larger value speaks for the trade; vermilion: against it.",
        ),
        card(
            "Features of winners and losers",
            figure_block("distributions", search_figures.distributions(data), empty=""),
            caption="Samples before the hold-out; the nine most important features. Shares within each "
            "class; ends hold what lies beyond the 0.5 % and 99.5 % quantiles.",
            classes="wide",
        ),
    ]


def _search_cards(data: ReportData) -> list[str]:
    outcome = data.outcome
    pbo = None if data.overfitting is None else logits(data.overfitting)
    failed = f" {outcome.failed} steps failed and are counted." if outcome.failed else ""
    if outcome.stopped:
        failed += f" {outcome.stopped} hopeless steps of all searches were stopped early, and are counted."
    return [
        card(
            "Search",
            figure_block(
                "convergence",
                search_figures.convergence(outcome.steps, outcome.config.search.objective),
                empty="",
            ),
            caption="Final search: mean score over the inner purged splits with its standard error, and the "
            f"best so far. Larger is better.{failed}",
        ),
        card(
            "Choosing the best step",
            figure_block("pbo", pbo, empty="One step, or too few samples: nothing to divide."),
            caption="History divided into halves in every way: rank of the best step of one half in the "
            "other. Left of zero it fell below the median; the share of those is the PBO.",
        ),
        card(
            "Parameters",
            figure_block(
                "dependence",
                search_figures.dependence(outcome.steps, outcome.best),
                empty="No parameter was varied.",
            ),
            caption="Score of every step by each parameter; the diamond is the winner.",
            classes="wide",
        ),
        card("Best steps", sections.steps(outcome), classes="wide"),
        card(
            "How much is luck",
            sections.luck(data),
            caption="The out-of-sample Sharpe ratio against what the best of all counted trials would "
            "reach by chance.",
        ),
        card(
            "Labels by year",
            figure_block("labels", search_figures.labels(data.won_by_year), empty=""),
            caption="Samples before the hold-out, and how many of them won after costs.",
        ),
        card(
            "Result per sample",
            figure_block("results", search_figures.results(data.development_pnl), empty=""),
            caption="Every signal before the hold-out followed to its own exit, costs included.",
        ),
        card(
            "Provenance",
            sections.provenance(sections.provenance_of(outcome)),
            caption="What this run was computed from.",
        ),
    ]


def _record_cards(data: ReportData) -> list[str]:
    spelled = json.dumps(data.outcome.config.model_dump(mode="json", exclude_defaults=True), indent=1)
    notes = [
        *data.outcome.idle,
        "Out of sample are the outer windows alone. The final model was fitted on all samples before the "
        "hold-out: what it does on those dates is in sample.",
        f"The hold-out, {data.outcome.hold_out.size} samples, is sealed; nothing on this page has seen it.",
        f"{data.outcome.dataset.unfinished} signals had an open trade at the last bar and are no samples.",
    ]
    return [
        card("Features", sections.features(data), classes="wide"),
        card("Notes", sections.notes(notes), classes="wide"),
        card(
            "Configuration",
            f"<pre>{escaped(spelled)}</pre>",
            classes="wide",
        ),
    ]
