"""What the models page shows of outcomes: scores of closed windows, reliability, alarms and their wealth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.errors import LockstepError, NoReference
from lockstep.market.instrument import traded_symbol
from lockstep.monitoring.curves import STEP, CurveWindow, settled_reliability, windows
from lockstep.monitoring.wealth import ALPHA
from operations.dashboard.page import DashboardSources
from operations.dashboard.parts import (
    MOST_POINTS,
    WatchedLane,
    absent,
    add_line,
    drawn_values,
    element_id,
    monitor_rows,
    number,
    thinned_rows,
    times,
)
from operations.dashboard.words import minute
from research.report import page
from research.report.page import count, percent, ratio, usd
from research.report.theme import ACCENT, BAR, GAIN, LOSS, MUTED, axis, figure, time_axis, titled

if TYPE_CHECKING:
    from lockstep.monitoring.calibration import Reliability
    from lockstep.monitoring.outcomes import SignalOutcome
    from operations.watch.report import MonitorReport
    from operations.watch.streams import AlarmRaised

_ALARM_AT = 1.0 / ALPHA
_MOST_LANES, _MOST_STREAMS, _MOST_ALARMS, _MOST_QUARTERS = 12, 24, 50, 8
# Signals of a lane whose windows are scored: a multiple of the step, so that windows stay as they are.
_MOST_SIGNALS = 30 * STEP
_MOST_RELIABILITY = 5_000
_SEED = 0
# What wealth is drawn within: beyond it nothing new is said.
_LEAST, _MOST = 1e-3, 1e6


def accuracy(
    sources: DashboardSources, report: MonitorReport, lanes: Sequence[WatchedLane]
) -> Iterator[Markup]:
    """Yield scores of the newest closed windows and the reliability curve of each lane's bundle."""
    if not lanes:
        yield absent("Accuracy", "No signal yet.")
    estimates = {each["place"]: each["estimate"] for each in report.standings}
    for lane in lanes[:_MOST_LANES]:
        own = [
            each
            for each in report.outcomes
            if each.lane == lane.lane
            and each.bundle == lane.bundle
            and each.decision <= report.frontier
            # A note counts those with an impossible probability; they feed no score.
            and (math.isnan(each.probability) or 0.0 <= each.probability <= 1.0)
        ]
        own.sort(key=lambda each: each.decision)
        expected = estimates.get(f"{lane.lane} win_rate", math.nan)
        brier = _validated_brier(sources, lane, own)
        yield _scores(lane, own, report.frontier, expected, brier, _trained(sources, lane))
        yield _reliability(lane, own[-_MOST_RELIABILITY:], report.frontier, brier)
    yield from left_out(lanes)


def left_out(lanes: Sequence[WatchedLane]) -> Iterator[Markup]:
    """Yield a card that names the lanes beyond the first 12, which no page draws."""
    if len(lanes) > _MOST_LANES:
        names = ", ".join(each.lane for each in lanes[_MOST_LANES:])
        yield absent("Further lanes", f"Not drawn here: {names}. `lockstep monitor show` has all of them.")


def _trained(sources: DashboardSources, lane: WatchedLane) -> Mapping[str, float | None]:
    try:
        return sources.store.manifest().entry(traded_symbol(lane.lane), lane.version).metrics
    except LockstepError:
        return {}


def _validated_brier(sources: DashboardSources, lane: WatchedLane, own: Sequence[SignalOutcome]) -> str:
    """Return validation's Brier score in words: a dash without a reference, or without probabilities."""
    from lockstep.monitoring.frozen import frozen_in

    try:
        found = frozen_in(sources.store, traded_symbol(lane.lane), lane.bundle)
    except NoReference:
        return page.UNDEFINED
    if found.expected.brier is not None:
        return ratio(found.expected.brier, 3)
    return page.UNDEFINED if all(math.isnan(each.probability) for each in own) else "not recorded"


def _scores(
    lane: WatchedLane, own: Sequence[SignalOutcome], frontier: int, expected: float, brier: str,
    trained: Mapping[str, float | None],
) -> Markup:  # fmt: skip
    title = f"{lane.lane} {lane.version}: scores"
    if not own:
        return page.card(title, page.empty_block("No signal yet."))
    start = max(0, len(own) - _MOST_SIGNALS)
    start += -start % STEP
    closed = [
        each for each in _windows(tuple(own[start:]), expected, frontier) if each.is_closed and each.scored
    ]
    rolling = [each for each in closed if each.kind == "rolling"]
    quarters = [each for each in closed if each.kind == "quarter"]
    quarters = quarters[1 if start else 0 :][-_MOST_QUARTERS:]
    if not closed:
        return page.card(title, page.empty_block("No quarter is closed yet, and no 100 signals are settled."))
    header = ("window", "signals", "Brier", "log loss", "AUC", "hit rate", "mean P&L, USD")
    foot = (
        "validation", page.UNDEFINED, brier,
        ratio(trained.get("log_loss_out_of_sample"), 3), ratio(trained.get("roc_auc_out_of_sample"), 3),
        percent(expected), page.UNDEFINED,
    )  # fmt: skip
    picture = page.figure_block(
        element_id("scores", lane.lane), _rolling(rolling, expected) if rolling else None,
        empty="Rolling windows begin with 100 settled signals.",
    )  # fmt: skip
    return page.card(
        title,
        page.joined(picture, page.table(header, [_window_cells(each) for each in quarters], foot=foot)),
        caption="Windows of 100 signals by the date of the decision, each once all its signals are settled; "
        "below, closed quarters. Scores are of signals taken and vetoed, P&L of those taken; the dotted line "
        "is the hit rate at validation. A Brier score of 0.25 is that of a coin.",
    )


# A page is asked for again and again, and outcomes change once a session. NaN is one object in all of them.
@lru_cache(maxsize=32)
def _windows(own: tuple[SignalOutcome, ...], expected: float, known: int) -> tuple[CurveWindow, ...]:
    return windows(own, reference_hit_rate=expected, known=known)


@lru_cache(maxsize=32)
def _curve(own: tuple[SignalOutcome, ...], known: int) -> Reliability:
    return settled_reliability(own, seed=_SEED, known=known)


def _window_cells(each: CurveWindow) -> tuple[str, ...]:
    return (
        each.name, count(each.scored), ratio(each.brier, 3), ratio(each.log_loss, 3), ratio(each.auc, 3),
        percent(each.hit_rate), usd(each.mean_pnl, 2),
    )  # fmt: skip


def _rolling(found: Sequence[CurveWindow], expected: float) -> go.Figure:
    at = times(each.last for each in found)
    drawn = figure(330, hovermode="x unified")
    add_line(drawn, at, [each.hit_rate for each in found], "hit rate", GAIN, "%{y:.1%}")
    add_line(drawn, at, [each.auc for each in found], "AUC", ACCENT, "%{y:.3f}", dash="dash")
    for name, colour, dash in (("brier", LOSS, "solid"), ("log_loss", BAR, "dashdot")):
        add_line(
            drawn, at, [getattr(each, name) for each in found], name.replace("_", " ").replace("b", "B"),
            colour, "%{y:.3f}", yaxis="y2", dash=dash,
        )  # fmt: skip
    if math.isfinite(expected):
        add_line(
            drawn, [at[0], at[-1]], [expected] * 2, "hit rate at validation", MUTED, "%{y:.1%}", dash="dot"
        )
    drawn.update_layout(
        showlegend=True,
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(domain=[0.54, 1.0], tickformat=".0%", title=titled("Hit rate, AUC")),
        yaxis2=axis(domain=[0.0, 0.44], title=titled("Brier, log loss")),
    )
    return drawn


def _reliability(lane: WatchedLane, own: Sequence[SignalOutcome], frontier: int, brier: str) -> Markup:
    title = f"{lane.lane} {lane.version}: reliability"
    found = _curve(tuple(own), frontier)
    picture = page.figure_block(
        element_id("reliability", lane.lane), _diagram(found) if found.count.size else None,
        empty="Fewer than 50 signals of closed quarters have a probability and an outcome.",
    )  # fmt: skip
    return page.card(
        title,
        picture,
        caption="Share of wins by predicted probability, in bins of at least 50 signals of closed quarters, "
        "with 95% bootstrap intervals; on the dotted line probabilities mean what they say. Brier score: "
        f"{ratio(found.brier, 3)}; at validation: {brier}.",
    )


def _diagram(found: Reliability) -> go.Figure:
    drawn = figure(330)
    ends = [
        float(min(found.predicted.min(), found.low.min())),
        float(max(found.predicted.max(), found.high.max())),
    ]
    add_line(drawn, ends, ends, "as predicted", MUTED, "%{y:.1%}", dash="dot")
    drawn.add_scatter(
        x=drawn_values(found.predicted), y=drawn_values(found.observed), mode="lines+markers",
        name="observed",
        line={"color": GAIN, "width": 1.6}, marker={"color": GAIN, "size": 8},
        error_y={
            "type": "data", "symmetric": False, "array": drawn_values(found.high - found.observed),
            "arrayminus": drawn_values(found.observed - found.low), "color": GAIN, "thickness": 1.2,
        },
        customdata=found.count.tolist(),
        hovertemplate="predicted %{x:.1%}, observed %{y:.1%}, %{customdata:,} signals<extra></extra>",
    )  # fmt: skip
    drawn.update_layout(
        showlegend=True,
        xaxis=axis(tickformat=".0%", title=titled("Predicted probability")),
        yaxis=axis(tickformat=".0%", title=titled("Share of wins")),
    )
    return drawn


def alarms(sources: DashboardSources, report: MonitorReport) -> Iterator[Markup]:
    """Yield what was raised, where every stream is, and its wealth over time with both thresholds."""
    yield _raised(report.alarms, monitor_rows(sources, "acknowledgements"))
    if not report.standings:
        yield absent("Streams", "No stream is watched: no lane has a reference with one. See the references.")
        return
    yield _streams(report.standings)
    by_place: dict[str, list[dict[str, Any]]] = {}
    for row in report.wealth:
        by_place.setdefault(row["place"], []).append(row)
    if "desk" in by_place:
        yield _wealth("desk", by_place["desk"], math.nan, classes="wide")
    nearest = sorted(report.standings, key=lambda each: -each["alarm"])[:_MOST_STREAMS]
    for each in sorted(nearest, key=lambda each: each["place"]):
        bundle = [row for row in by_place.get(each["place"], ()) if row["bundle"] == each["bundle"]]
        yield _wealth(each["place"], bundle, each["watch_at"])
    if len(report.standings) > _MOST_STREAMS:
        yield absent("Further streams", "The streams nearest to ALARM are drawn; the table has all of them.")


def _raised(found: Sequence[AlarmRaised], notes: Sequence[Mapping[str, Any]]) -> Markup:
    if not found:
        return absent("Raised", "Nothing was ever raised.")
    newest = sorted(found, key=lambda each: (not each.acknowledged, each.raised), reverse=True)[:_MOST_ALARMS]
    rows = [
        (
            each.place, page.failed(each.level) if not each.acknowledged else each.level,
            minute(each.raised), minute(each.since)[:10], count(each.outcomes),
            page.prose(_acknowledged(each, notes)),
        )
        for each in newest
    ]  # fmt: skip
    header = ("stream", "level", "raised, UTC", "since about", "outcomes", page.prose("acknowledged"))
    told = [each.sentence for each in newest if not each.acknowledged]
    body = page.joined(page.table(header, rows), page.notes(told) if told else "")
    return page.card("Raised and acknowledged", body, classes="wide")


def _acknowledged(each: AlarmRaised, notes: Sequence[Mapping[str, Any]]) -> str:
    if not each.acknowledged:
        return "open"
    for note in notes:
        if note["time"] == each.acknowledged and note["place"] in (each.place, "desk"):
            return f"{minute(note['given'])} by {note['by']}: {note['reason']}"
    return f"{minute(each.acknowledged)}, with a new bundle"


def _streams(standings: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        (
            each["place"], count(each["outcomes"]), f"{each['floor']:.4g}", f"{each['estimate']:.4g}",
            f"{_fortune(each['alarm'])} of {each['alarm_at']:g}",
            _watch(each),
            page.prose(each["visible"]),
        )
        for each in standings
    ]  # fmt: skip
    header = (
        "stream",
        "outcomes",
        "floor",
        "estimate",
        "ALARM wealth",
        "WATCH wealth",
        "what a year would show",
    )
    return page.card(
        "Streams",
        page.table(header, rows),
        caption="Floor and estimate in the stream's own unit: a share of wins, USD a trade, a probability, a "
        "correlation, ticks a fill. ALARM bets against the floor, WATCH against the estimate.",
        classes="wide",
    )


def _fortune(value: float) -> str:
    return f"over {count(_MOST)}" if value > _MOST else ratio(value)


def _watch(each: Mapping[str, Any]) -> str:
    at = each["watch_at"]
    return f"{_fortune(each['watch'])} of {ratio(at)}" if math.isfinite(at) else "none"


def _wealth(place: str, rows: Sequence[Mapping[str, Any]], watch_at: float, *, classes: str = "") -> Markup:
    caption = f"ALARM is raised at {_ALARM_AT:g} (dotted)"
    if math.isfinite(watch_at):
        caption += f", WATCH at {watch_at:.2f} (dashed and dotted)"
    what = "Mean wealth of the streams' ALARM bets. " if place == "desk" else ""
    drawn = _wealth_figure(rows, watch_at) if rows else None
    return page.card(
        "The desk" if place == "desk" else place.replace("_", " "),
        page.figure_block(element_id("wealth", place), drawn, empty="No outcome yet."),
        caption=f"{what}{caption}; on a logarithmic axis, from {_LEAST:g} to {_MOST:,.0f}.",
        classes=classes,
    )


def _wealth_figure(rows: Sequence[Mapping[str, Any]], watch_at: float) -> go.Figure:
    ordered = sorted(rows, key=lambda row: row["time"])
    shown = thinned_rows(ordered, "alarm", "watch", limit=MOST_POINTS)
    at = times(row["time"] for row in shown)
    ends = [at[0], at[-1]]
    drawn = figure(250, xaxis=time_axis(), hovermode="x unified")
    lines = [("ALARM wealth", "alarm", LOSS, "solid")]
    thresholds = [("ALARM", _ALARM_AT, "dot")]
    if math.isfinite(watch_at):
        lines.append(("WATCH wealth", "watch", GAIN, "dash"))
        thresholds.append(("WATCH", watch_at, "dashdot"))
    for name, column, colour, dash in lines:
        values = [min(max(each, _LEAST), _MOST) for each in number(shown, column).tolist()]
        add_line(drawn, at, values, name, colour, "%{y:.2f}", dash=dash)
    for name, value, dash in thresholds:
        add_line(drawn, ends, [value] * 2, f"{name} at {value:.3g}", MUTED, "%{y:.2f}", dash=dash, width=1)
    drawn.update_layout(showlegend=True, yaxis=axis(type="log", dtick=1, title=titled("Wealth")))
    return drawn
