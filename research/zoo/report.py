"""The page of a version of a zoo model: how it answers, what it leans on, where it comes from, who reads it.

The same bytes for the same version, bars, rows and code: it holds no time, host or path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.desk import results_folder
from lockstep.market.bars import Floats
from lockstep.models.tasks import answers_with_value, described
from research.report import page
from research.report.page import EN_DASH, UNDEFINED, Tile, coloured, count, percent, ratio
from research.report.section import Sections, cards
from research.report.theme import ACCENT, BAR, GAIN, MUTED, axis, figure, time_axis, titled
from research.statistics.regimes import REGIMES
from research.training import report_figures
from research.training.importance import Attribution
from research.zoo.labels import OUTPUTS, TARGETS
from research.zoo.report_data import CONSTANT, LINEAR, JudgedAnswers, ZooReport
from research.zoo.usage import ZooVersion

SECTIONS: Sections[ZooReport] = Sections("the page of a zoo model")
"""Every card of the page, in its order."""

_DIGITS = 4
_MOST_READERS = 12


def write_zoo_report(found: ZooReport, path: Path | None = None) -> Path:
    """Write the page and return its path; None: `zoo/COMP_volatility_h1_v3.html` among the results."""
    version = found.version
    named = f"{version.symbol}_{version.name}_{version.version}.html"
    return page.write_page(path or results_folder("zoo") / named, _title(found), report_body(found))


def report_body(found: ZooReport) -> Markup:
    """Return the body of the page."""
    return page.joined(
        _header(found),
        page.caveats("Before you read the numbers", list(_caveats(found))),
        page.key_figures(_tiles(found)),
        cards(SECTIONS, found),
    )


def _title(found: ZooReport) -> str:
    version = found.version
    return f"{version.symbol} {version.name} {version.version}"


def _header(found: ZooReport) -> Markup:
    spec, version = found.spec, found.version
    return page.header(
        _title(found),
        f"{TARGETS[spec.task]}: {described(spec.task, OUTPUTS[spec.task], spec.horizon)}",
        [f"trained on {found.build.dates}", f"{spec.estimator}, {len(spec.features)} features"],
        lead=version.status,
        verdict=version.note or "Asked for; no worker released it.",
    )


def _caveats(found: ZooReport) -> Iterator[str]:
    if not math.isnan(found.remeasured):
        yield (
            f"Its record says a loss out of fold of {figures(found.remeasured)}; this checkout measures "
            f"{figures(float(found.out_of_fold.found.loss.mean()))}: code or libraries are others now."
        )
    if len(found.family) > 1:
        yield (
            "The worker chose this version by losses out of fold on most of these bars: they flatter it. "
            "Only the test on the sealed tail, under Lineage, and bars after the training do not."
        )


def _tiles(found: ZooReport) -> Iterator[Tile]:
    judged = found.out_of_fold
    rivals = {name: each for name, each in judged.rivals().items() if name != LINEAR}
    yield Tile("Loss out of fold", figures(_mean(judged.found.loss)), f"{found.loss_name}, walking forward")
    for name, rival in rivals.items():
        gain = 1.0 - _mean(judged.found.loss) / _mean(rival)
        yield Tile("Smaller by", percent(gain), f"than {name}", gain < 0)
    later = found.hold_out
    note = "nobody looked" if later is None else f"on {count(later.found.row.size)} bars after its training"
    yield Tile("Hold-out loss", UNDEFINED if later is None else figures(_mean(later.found.loss)), note)
    yield Tile("Read by", count(found.usage.strategies), "strategies that were evaluated")


def figures(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits and a true minus sign."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


# --- Tables ---


def _folds(found: ZooReport) -> Markup:
    judged = found.out_of_fold
    rows, start = [], 0
    for number, (learned, size) in enumerate(zip(judged.learned, judged.parts, strict=True)):
        part = slice(start, start + size)
        dates = judged.dates[part]
        rows.append(
            (
                f"fold {number + 1}",
                f"{dates[0]} to {dates[-1]}",
                count(learned),
                count(size),
                *_losses(judged, part),
            )
        )
        start += size
    foot = (
        "all",
        f"{judged.dates[0]} to {judged.dates[-1]}",
        "",
        count(start),
        *_losses(judged, slice(None)),
    )
    head = ("", "dates", "learned from", "bars", "loss", "factor score", "linear score", "a constant")
    return page.table(head, rows, foot=foot)


def _losses(judged: JudgedAnswers, part: slice | Floats) -> list[str]:
    every = (judged.found.loss, *judged.rivals().values())
    return [figures(_mean(each[part])) for each in every]


def _by_regime(judged: JudgedAnswers) -> Markup:
    rows = []
    for code, name in REGIMES.items():
        there = judged.regime == code
        if there.any():
            rows.append((name.capitalize(), count(there.sum()), *_losses(judged, there)))
    unknown = np.isnan(judged.regime)
    if unknown.any():
        rows.append(("Not known", count(unknown.sum()), *_losses(judged, unknown)))
    return page.table(("", "bars", "loss", "factor score", "linear score", "a constant"), rows)


def _rivals(judged: JudgedAnswers, horizon: int) -> Markup:
    rows = []
    for name, rival in judged.rivals().items():
        test = judged.against(rival, horizon)
        rows.append(
            (
                name,
                figures(_mean(rival)),
                coloured(figures(test.difference)),
                coloured(ratio(test.z)),
                figures(test.p_value, 2),
            )
        )
    head = ("", "its loss", "smaller by", "z", "p")
    return page.table(head, rows)


def _lineage(found: ZooReport) -> Markup:
    return page.table(
        ("", "loss out of fold", "on the tail", "after", "z", "p", "level", page.prose("what changed")),
        [_version_row(found, each) for each in found.family],
    )


def _version_row(found: ZooReport, version: ZooVersion) -> list[str]:
    test = found.tests.get(version.version, {})
    told = [figures(test.get(name)) for name in ("loss", "champion_loss")]
    told += [ratio(test.get("z")), *(figures(test.get(name), 2) for name in ("p_value", "level"))]
    change = test.get("change") or version.note or "asked for"
    return [
        f"{version.version} ({version.status})", figures(version.metrics.get("loss_out_of_fold")), *told,
        page.prose(change),
    ]  # fmt: skip


def _usage(found: ZooReport) -> Markup:
    if not found.readers:
        return page.empty_block("No strategy that was evaluated reads this version.")
    rows = [(each.name, coloured(ratio(each.sharpe))) for each in found.readers[:_MOST_READERS]]
    used = found.usage
    foot = (f"all {count(used.strategies)}, mean", coloured(ratio(used.mean_sharpe)))
    return page.table(("strategy", "Sharpe ratio"), rows, foot=foot)


# --- Figures ---


def _labels(found: ZooReport) -> go.Figure:
    years = found.label_dates.astype("datetime64[Y]")
    known = np.unique(years)
    drawn = figure(260)
    drawn.add_scatter(
        x=[int(str(each)) for each in known],
        y=[round(_mean(found.labels[years == each]), _DIGITS) for each in known],
        customdata=[int((years == each).sum()) for each in known],
        mode="lines+markers",
        line={"color": BAR, "width": 1.2},
        marker={"size": 7, "color": GAIN},
        hovertemplate="%{x}: mean %{y:.4g} of %{customdata} bars<extra></extra>",
    )
    drawn.update_layout(
        xaxis=axis(showgrid=False, nticks=8),
        yaxis=axis(title=titled("mean label")),
    )
    return drawn


def _labels_caption(found: ZooReport) -> str:
    left = f"; {count(found.left_out)} bars have none, or lack a feature" if found.left_out else ""
    if answers_with_value(found.spec.task):
        low, high = (figures(float(each)) for each in (found.labels.min(), found.labels.max()))
        told = f"mean {figures(_mean(found.labels))}, from {low} to {high}"
    else:
        told = f"{percent(_mean(found.labels))} of them 1"
    learned = f" It learned from the {found.spec.label} label." if found.spec.label else ""
    return f"{count(found.labels.size)} labels, {told}{left}. By year.{learned}"


def _cumulative(judged: JudgedAnswers) -> go.Figure:
    """Draw by how much the losses of each rival exceed the model's, summed up (Goyal and Welch 2008)."""
    drawn = figure(320, hovermode="x unified")
    dates = [str(each) for each in judged.dates]
    # A constant is so much worse that the others would lie on one line.
    rivals = [(name, each) for name, each in judged.rivals().items() if name != CONSTANT]
    for (name, rival), colour in zip(rivals, (GAIN, ACCENT), strict=True):
        drawn.add_scatter(
            x=dates, y=np.cumsum(rival - judged.found.loss).round(_DIGITS).tolist(), name=f"than {name}",
            line={"color": colour, "width": 1.5}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    drawn.update_layout(
        xaxis=time_axis(),
        yaxis=axis(title=titled("sum of smaller losses"), zeroline=True, zerolinecolor=MUTED),
        showlegend=True,
    )
    return drawn


def _reliability(found: ZooReport) -> go.Figure:
    form = ".2f" if answers_with_value(found.spec.task) else ".1%"
    return report_figures.reliability(found.calibration, found.out_of_fold.found.answer, form=form)


def _reliability_caption(found: ZooReport) -> str:
    shown = found.calibration
    if answers_with_value(found.spec.task):
        return (
            f"Out of fold, in {shown.count.size} groups of equal size: mean answer and mean label, with 95 % "
            f"intervals for labels that do not overlap. Mean distance {figures(shown.error)}."
        )
    return (
        f"Out of fold, in {shown.count.size} groups of equal size with 95 % intervals; on the dotted line "
        f"probabilities are right. Mean distance {percent(shown.error)}."
    )


def _attribution(found: ZooReport) -> go.Figure | None:
    shown = found.attribution
    return report_figures.attribution(shown) if isinstance(shown, Attribution) else None


def _no_attribution(found: ZooReport) -> str:
    return found.attribution if isinstance(found.attribution, str) else ""


def _hold_out(found: ZooReport) -> Markup:
    later = found.hold_out
    assert later is not None
    regimes = page.joined(page.paragraph("Mean losses by regime:", "caption"), _by_regime(later))
    return page.joined(_rivals(later, found.spec.horizon), regimes)


def _hold_out_caption(found: ZooReport) -> str:
    later = found.hold_out
    assert later is not None
    return (
        f"This very bundle on {count(later.found.row.size)} bars after its training, {later.dates[0]} to "
        f"{later.dates[-1]}: its loss is {figures(_mean(later.found.loss))}. Its rivals were fitted on its "
        "training bars."
    )


def _provenance(found: ZooReport) -> Markup:
    build, version = found.build, found.version
    return page.provenance({
        "column": version.column, "bundle": found.sha256, "parent": version.parent or UNDEFINED,
        "bars": f"{build.symbol} {build.timeframe}, {build.dates}", "members": str(build.spec.members),
        "parameters": json.dumps(dict(build.spec.parameters), sort_keys=True),
        "features": ", ".join(sorted(build.spec.features)),
    })  # fmt: skip


SECTIONS.add(
    "",
    "Against the factor score",
    lambda found: _rivals(found.out_of_fold, found.spec.horizon),
    caption="Out of fold, on the same bars. The factor score is what a desk would look at without a model: "
    "the range of the last 20 bars for volatility and regime, else the feature that follows the label most "
    "closely; a line on it was fitted where the model was. z is that of the difference, HAC with the horizon "
    "as lag.",
    wide=True,
)
SECTIONS.figure(
    "",
    "When it was better",
    "cumulative",
    lambda found: _cumulative(found.out_of_fold),
    caption="Out of fold: how much smaller its losses were, summed up. A line that rises: the model gains.",
    fit=True,
    wide=True,
)
SECTIONS.add(
    "",
    "Loss by fold",
    _folds,
    caption="Each fold is answered by a model that learned from the bars before it, the horizon left out "
    "between them. Mean losses; the last row is of all bars.",
    wide=True,
)
SECTIONS.add(
    "",
    "Loss by regime",
    lambda found: _by_regime(found.out_of_fold),
    caption="Out of fold, by the market regime that was known at the bar. Mean losses.",
    wide=True,
)
SECTIONS.add(
    "",
    "Hold-out",
    _hold_out,
    caption=_hold_out_caption,
    shown=lambda found: found.hold_out is not None,
    wide=True,
)
SECTIONS.figure(
    "", "Calibration", "reliability", _reliability, caption=_reliability_caption,
)  # fmt: skip
SECTIONS.figure("", "Labels", "labels", _labels, caption=_labels_caption)
SECTIONS.figure(
    "",
    "Permutation importance",
    "importance",
    lambda found: report_figures.importance(found.importance, loss=found.loss_name),
    caption="Out of fold, each fold with its own model: what shuffling one feature costs. 95 % intervals by "
    "block bootstrap; blue where above zero.",
)
SECTIONS.figure(
    "",
    "SHAP values",
    "shap",
    _attribution,
    empty=_no_attribution,
    caption="The bundle's own model, in sample: mean size of each feature's part in an answer. Blue: a "
    "larger value raises it; vermilion: lowers it.",
)
SECTIONS.add(
    "",
    "Lineage",
    _lineage,
    caption="A version, its parent, and so on. On the tail: its loss on bars that its worker never scored, "
    f"after that of its parent, and the level that p had to reach. {EN_DASH}: no test, it was asked for.",
    wide=True,
)
SECTIONS.add(
    "",
    "Usage",
    _usage,
    caption="Strategies of agents' sessions that were evaluated and read this very version; Sharpe ratios of "
    "training folds. Counted from their rows.",
    wide=True,
)
SECTIONS.add("", "Provenance", _provenance, wide=True)
