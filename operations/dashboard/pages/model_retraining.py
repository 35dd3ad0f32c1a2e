"""What the models page shows of retrainings: where each is, what it waits for, how challengers compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.monitoring.champion import BETTER_AT
from operations.dashboard.page import DashboardSources
from operations.dashboard.parts import MOST_POINTS, absent, add_line, element_id, times
from operations.dashboard.words import minute
from research.report import page
from research.report.page import count, ratio
from research.report.theme import ACCENT, GAIN, LOSS, MUTED, axis, figure, time_axis, titled

if TYPE_CHECKING:
    from operations.retraining.book import RetrainingRun, ShadowLook
    from operations.retraining.config import RetrainingConfig

_MOST_RUNS = 50
_TICKS = (1, 2, 5, 10, 20, 50, 100, 1_000)
_DAY = 86_400_000_000_000
_NOT_RETRAINED = (
    "Nothing here is trained again: this desk has no retraining.yml. Write one and run `lockstep retrain "
    "plan`; docs/retraining.md says how."
)
_NONE = "No retraining has begun. `lockstep retrain plan` says what would begin one."


def retrainings(sources: DashboardSources) -> Iterator[Markup]:
    """Yield what waits for whom, the comparison and steps of each symbol's newest run, and all runs."""
    # Imported here: a server should start at once.
    from operations.retraining.book import RetrainingBook

    if sources.retraining is None:
        yield absent("Retraining", _NOT_RETRAINED)
        return
    with RetrainingBook.open(sources.retraining.database, readonly=True) as book:
        runs, looks = book.runs(), book.looks()
    if not runs:
        yield absent("Retraining", _NONE)
        return
    for run in {each.symbol: each for each in runs}.values():
        own = [each for each in looks if each.run == run.id]
        yield _now(run, own, sources.retraining)
        yield _comparison(run, own)
        yield _steps(run)
    yield _table(runs)


def _now(run: RetrainingRun, looks: Sequence[ShadowLook], config: RetrainingConfig) -> Markup:
    whom, command = _waits(run, looks[-1] if looks else None, config)
    begun = run.steps[0]
    rows = [
        ("Last step", run.steps[-1].sentence, minute(run.steps[-1].time)[:10]),
        ("Trigger", begun.sentence, str(begun.inputs.get("kind", page.UNDEFINED))),
        ("Champion, challenger", "in production when it began; trained again", _versions(run)),
        ("Waits for", whom[1], whom[0]),
    ]
    typed = page.listing(command) if command else ""
    return page.card(f"{run.symbol}: {run.now}", page.joined(page.facts_table(rows), typed))


def _word(run: RetrainingRun) -> Markup:
    from operations.retraining.book import ENDED_BADLY

    return (page.failed if run.now in ENDED_BADLY else page.strong)(str(run.now))


def _versions(run: RetrainingRun) -> str:
    return f"{run.output('champion') or page.UNDEFINED}, {run.output('version') or page.UNDEFINED}"


def _waits(
    run: RetrainingRun, look: ShadowLook | None, config: RetrainingConfig
) -> tuple[tuple[str, str], str]:
    """Return for whom or what a run waits, with a sentence, and the command that a person types."""
    from operations.retraining.book import ENDED_BADLY, Step, awaits_approval

    if run.now in ENDED_BADLY:
        return ("nobody", "it has ended; look at what was seen"), f"lockstep retrain status {run.id}"
    if not run.is_active:
        ended = "it has ended" if run.now is not Step.DONE else "it is measured 90 days after it took over"
        return ("nobody", ended), ""
    if awaits_approval(run, look):
        if config.approval == "auto":
            return ("the next pass", "which promotes it: approval is auto"), "lockstep retrain run"
        told = f"lockstep retrain approve {run.id} --by NAME\nlockstep retrain abort {run.id} --reason WHY"
        return ("a person", "to promote the challenger, or to end the run"), told
    if run.now is Step.SHADOWING:
        last = int(run.output("fresh_from")) + int(run.output("max_days")) * _DAY
        return ("signals", f"undecided after {minute(last)[:10]} of the desk's time, it is rejected"), ""
    if run.now is Step.PROMOTED:
        hours = f"{config.watch_hours:g} hours of the desk's time after the first decision"
        return ("the desk", f"{hours}, in which a fault takes it back"), ""
    return ("the next pass", "which goes on from here"), "lockstep retrain run"


def _comparison(run: RetrainingRun, looks: Sequence[ShadowLook]) -> Markup:
    title = f"{run.symbol}: champion and challenger"
    if not looks:
        return page.card(title, page.empty_block("The shadow period has not begun, or nobody looked at it."))
    newest, margin = looks[-1], float(run.output("margin"))
    rows = [
        ("Verdict", "on the signals after the challenger's training", page.strong(str(newest.verdict))),
        ("Signals so far", "separate ones, taken and vetoed", count(newest.signals)),
        ("Evidence that it is better", f"promotable at {BETTER_AT:g}", ratio(newest.e_value)),
        ("Lower bound of the difference", f"not worse above {ratio(-margin, 4)}", ratio(newest.low, 4)),
        ("Mean", "a signal's score, challenger minus champion", ratio(newest.mean, 4)),
        ("Upper bound", f"worse below {ratio(-margin, 4)}", ratio(newest.high, 4)),
    ]  # fmt: skip
    drawn = [each for each in looks if each.signals][-MOST_POINTS:]
    picture = page.figure_block(
        element_id("retraining", run.symbol), _figure(drawn, margin) if len(drawn) > 1 else None,
        empty="A line is drawn from the second look with a signal on.",
    )  # fmt: skip
    return page.card(
        title,
        page.joined(page.facts_table(rows), picture),
        caption="By the desk's time at each pass. Both bounds hold at 95 % at all moments at once: look "
        "whenever you like.",
    )


def _figure(looks: Sequence[ShadowLook], margin: float) -> go.Figure:
    at = times(each.desk for each in looks)
    ends = [at[0], at[-1]]
    drawn = figure(330, hovermode="x unified")
    add_line(drawn, at, [each.e_value for each in looks], "evidence", GAIN, "%{y:.2f}")
    add_line(drawn, ends, [BETTER_AT] * 2, f"better at {BETTER_AT:g}", MUTED, "%{y:.0f}", dash="dot", width=1)
    for name, values, dash in (
        ("upper bound", [each.high for each in looks], "dash"),
        ("mean", [each.mean for each in looks], "solid"),
        ("lower bound", [each.low for each in looks], "dash"),
    ):
        known = [float("nan") if value is None else value for value in values]
        colour = ACCENT if name == "mean" else LOSS
        add_line(drawn, at, known, name, colour, "%{y:+.4f}", yaxis="y2", dash=dash)
    add_line(drawn, ends, [-margin] * 2, "margin", MUTED, "%{y:+.4f}", yaxis="y2", dash="dashdot", width=1)
    drawn.update_layout(
        showlegend=True,
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(type="log", tickvals=_TICKS, domain=[0.58, 1.0], title=titled("Evidence")),
        yaxis2=axis(domain=[0.0, 0.48], title=titled("Difference")),
    )
    return drawn


def _steps(run: RetrainingRun) -> Markup:
    rows = [
        (str(each.step), minute(each.time), minute(each.desk)[:10], each.by, page.prose(each.sentence))
        for each in run.steps
    ]
    header = ("step", "recorded, UTC", "desk at", "by", page.prose("what happened"))
    return page.card(f"{run.symbol}: steps of run {run.id}", page.table(header, rows), classes="wide")


def _table(runs: Sequence[RetrainingRun]) -> Markup:
    newest = list(reversed(runs))[:_MOST_RUNS]
    rows = [
        (
            each.id, each.symbol, minute(each.steps[0].time)[:10],
            str(each.steps[0].inputs.get("kind", page.UNDEFINED)), _word(each), _versions(each),
            page.prose(each.steps[-1].sentence),
        )
        for each in newest
    ]  # fmt: skip
    header = ("run", "symbol", "began", "trigger", "step", "from, to", page.prose("what happened last"))
    left = f"The newest {_MOST_RUNS} of {len(runs)}; " if len(runs) > _MOST_RUNS else ""
    caption = f"{left}`lockstep retrain status` has all of them."
    return page.card("All retrainings", page.table(header, rows), caption=caption, classes="wide")
