"""What the models page shows of inputs: drift of features and probabilities, decay, regimes, anomalies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.monitoring.decay import DecaySettings, information_coefficients
from lockstep.monitoring.decay_feed import decay_arrays
from lockstep.monitoring.regimes import NAMES
from operations.dashboard.page import DashboardSources
from operations.dashboard.pages.model_outcomes import left_out
from operations.dashboard.parts import (
    WatchedLane,
    absent,
    add_line,
    drawn_values,
    element_id,
    monitor_rows,
    number,
    thinned_rows,
)
from research.report import page
from research.report.page import count, percent, ratio
from research.report.theme import ACCENT, BAR, GAIN, LOSS, MUTED, axis, figure, level, time_axis, titled

if TYPE_CHECKING:
    from operations.watch.report import MonitorReport

_MOST_LANES, _MOST_FEATURES, _MOST_ANOMALIES, _MOST_RUNS = 12, 60, 100, 1_000
_SHOWN_RUNS = 10
_COLOURS = {NAMES[0]: BAR, NAMES[1]: GAIN, NAMES[2]: LOSS, NAMES[3]: ACCENT}
_FEATURES, _PROBABILITIES, _REGIME, _DECAY = "features", "probabilities", "regime", "decay"
_RANGES = "ranges "
_LOOKS = {_FEATURES: "Features", _PROBABILITIES: "Probabilities"}


def inputs(
    sources: DashboardSources, report: MonitorReport, lanes: Sequence[WatchedLane]
) -> Iterator[Markup]:
    """Yield the verdict on features and on probabilities of each lane, and the table of ranks."""
    newest = {(row["lane"], row["kind"]): row for row in report.drift}
    any_look = False
    for lane in lanes[:_MOST_LANES]:
        readings = _readings(sources, lane.lane)
        for kind, name in _LOOKS.items():
            row = newest.get((lane.lane, kind))
            if row is None:
                continue
            any_look = True
            yield _look(f"{lane.lane}: {name.lower()}", row, readings.get(kind, []))
    if not any_look:
        yield absent(
            "Features and probabilities",
            "No session was compared with history yet: it begins after the last session that the reference "
            "knows, once a session is over.",
        )
    yield from left_out(lanes)


def _readings(sources: DashboardSources, lane: str) -> Mapping[str, list[dict[str, Any]]]:
    rows = monitor_rows(sources, "states", "name = ?", f"readings {lane}")
    found: Mapping[str, list[dict[str, Any]]] = json.loads(rows[0]["content"]) if rows else {}
    return found


def _look(title: str, row: Mapping[str, Any], readings: Sequence[Mapping[str, Any]]) -> Markup:
    years = row["years"] or 0
    rate = (
        f"{_sentence(row)} Without drift a verdict like this comes in one of {years + 1} years."
        if years
        else _sentence(row)
    )
    # The feature furthest from its history first.
    ranked = sorted(readings, key=lambda each: (-_known(each["score"]), each["feature"]))[:_MOST_FEATURES]
    cells = [
        (
            each["feature"], each["what"], ratio(each["distance"], 3), ratio(each["psi"], 3),
            ratio(each["peak"], 3), _rank(each), ratio(each["score"]), page.prose(each["note"]),
        )
        for each in ranked
    ]  # fmt: skip
    header = (
        "feature", "seen as", "distance (KS)", "PSI", "largest of the year", "rank among years",
        "score, deviations", page.prose("note"),
    )  # fmt: skip
    body = page.table(header, cells) if cells else page.empty_block("No reading of a feature yet.")
    cut = f" The first {len(cells)} of {count(len(readings))} readings." if len(readings) > len(cells) else ""
    return page.card(title, body, caption=f"{row['session']}: {rate}{cut}", classes="wide")


def _sentence(row: Mapping[str, Any]) -> str:
    text = str(row["sentence"])
    return text if text.endswith(".") else f"{text}."


def _rank(each: Mapping[str, Any]) -> str:
    if not each["years"]:
        return page.UNDEFINED
    return f"{ratio(each['rank'], 1)} of {count(each['years'] + 1)}"


def _known(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value


def decays(
    sources: DashboardSources, report: MonitorReport, lanes: Sequence[WatchedLane]
) -> Iterator[Markup]:
    """Yield the coefficients by horizon, half-lives by month with their interval, and what is recommended."""
    if not lanes:
        yield absent("Decay", "No signal yet.")
    settings = DecaySettings() if sources.monitoring is None else sources.monitoring.decay
    for lane in lanes[:_MOST_LANES]:
        where = "lane = ? AND kind = ? AND bundle = ?"
        rows = monitor_rows(sources, "drift", where, lane.lane, _DECAY, lane.bundle)
        if not rows:
            yield page.card(
                f"{lane.lane}: decay",
                page.empty_block(
                    "No month with settled signals is over yet; half-lives are judged by month."
                ),
            )
            continue
        yield _by_horizon(sources, report, lane, rows[-1], settings)
        yield _half_lives(lane, rows, settings)
        yield from _recommendation(sources, lane)
    yield from left_out(lanes)


def _by_horizon(
    sources: DashboardSources, report: MonitorReport, lane: WatchedLane, newest: Mapping[str, Any],
    settings: DecaySettings,
) -> Markup:  # fmt: skip
    sessions = monitor_rows(sources, "sessions", "lane = ? AND session <= ?", lane.lane, newest["session"])
    sessions = sessions[-settings.window - 1 :]
    first, last = sessions[0]["stamp"], sessions[-1]["stamp"]
    signals = [
        each
        for each in report.outcomes
        if (each.lane, each.bundle) == (lane.lane, lane.bundle)
        and first <= each.decision <= last
        and each.side
        and 0.0 <= each.probability <= 1.0
        and each.state != "refused"
    ]
    stamps = np.array([each["stamp"] for each in sessions], dtype=np.int64)
    signal, returns = decay_arrays(signals, stamps, number(sessions, "close"))
    found = information_coefficients(signal[1:], returns[1:], settings.horizons)
    drawn = figure(280)
    drawn.add_bar(
        x=list(range(1, settings.horizons + 1)), y=drawn_values(found), marker={"color": GAIN},
        hovertemplate="horizon %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    drawn.update_layout(
        xaxis=axis(showgrid=False, title=titled("Horizon, sessions")),
        yaxis=axis(title=titled("Rank correlation"), zeroline=True, zerolinecolor=MUTED),
    )
    known = np.isfinite(found).any()
    return page.card(
        f"{lane.lane}: information coefficient by horizon",
        page.figure_block(
            element_id("ic", lane.lane), drawn if known else None,
            empty=f"Fewer than 20 signals in {settings.window} sessions.",
        ),
        caption=f"Rank correlation of forecast and return, last {settings.window} sessions up to "
        f"{newest['session']}. {_sentence(newest)}",
    )  # fmt: skip


def _half_lives(lane: WatchedLane, rows: Sequence[Mapping[str, Any]], settings: DecaySettings) -> Markup:
    fitted = [row for row in rows if row["score"] is not None]
    title = f"{lane.lane}: half-life by month"
    if not fitted:
        return page.card(
            title,
            page.empty_block(f"{count(len(rows))} months were judged; none had a measurable edge to decay."),
        )
    shown = thinned_rows(fitted, "score", "highest", limit=1_000)
    at = [row["session"] for row in shown]
    drawn = figure(280, xaxis=time_axis(), hovermode="x unified")
    add_line(
        drawn, at, number(shown, "highest"), "upper end of the interval", ACCENT, "%{y:.1f}", dash="dash"
    )
    add_line(drawn, at, number(shown, "score"), "half-life", GAIN, "%{y:.1f}", mode="lines+markers")
    drawn.update_layout(showlegend=True, yaxis=axis(type="log", title=titled("Sessions")))
    for key in (settings.alert_below, settings.warning_below):
        level(drawn, key)
    return page.card(
        title,
        page.figure_block(element_id("half-life", lane.lane), drawn),
        caption="Only the upper end of the interval acts, where it falls below a key (dotted). It has no "
        "point where the data cannot tell a half-life from any longer one.",
    )


def _recommendation(sources: DashboardSources, lane: WatchedLane) -> Iterator[Markup]:
    assert sources.monitoring is not None
    path = sources.monitoring.database.parent / "rotation" / f"rotation-{lane.lane}.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    title, caption = f"{lane.lane}: recommendation", f"{path}; nothing was changed."
    yield page.card(title, page.listing(text), caption=caption, classes="wide")


def regimes(sources: DashboardSources, lanes: Sequence[WatchedLane]) -> Iterator[Markup]:
    """Yield the regime of each lane over time, and its newest stretches as a table."""
    if not lanes:
        yield absent("Regimes", "No session yet.")
    for lane in lanes[:_MOST_LANES]:
        rows = monitor_rows(sources, "drift", "lane = ? AND kind = ?", lane.lane, _REGIME)
        runs = _runs(rows)[-_MOST_RUNS:]
        if not runs:
            yield page.card(
                f"{lane.lane}: regime",
                page.empty_block("No regime yet: the reference has none, or no session is over."),
            )
            continue
        newest = rows[-1]
        header = ("regime", "from", "to", "sessions", "probability of turbulence at its end")
        cells = [
            (name, first, last, count(many), percent(share, 0))
            for name, first, last, many, share in reversed(runs[-_SHOWN_RUNS:])
        ]
        yield page.card(
            f"{lane.lane}: {newest['verdict']} since {newest['since'] or newest['session']}",
            page.joined(
                page.figure_block(element_id("regime", lane.lane), _strip(runs)), page.table(header, cells)
            ),
            caption=f"Volatility by a filter that was frozen at validation, and trend. {_sentence(newest)}",
            classes="wide",
        )  # fmt: skip
    yield from left_out(lanes)


Stretch = tuple[str, str, str, int, float | None]


def _runs(rows: Sequence[Mapping[str, Any]]) -> list[Stretch]:
    """Return stretches of one regime: name, first and last session, how many, probability of turbulence."""
    found: list[Stretch] = []
    ordered = sorted(rows, key=lambda row: str(row["session"]))
    for name, group in groupby(ordered, key=lambda row: str(row["verdict"])):
        mine = list(group)
        found.append((name, mine[0]["session"], mine[-1]["session"], len(mine), mine[-1]["score"]))
    return found


def _strip(runs: Sequence[Stretch]) -> go.Figure:
    """Draw each stretch in the row of its regime: the row says what the colour says."""
    names = [name for name in NAMES if any(run[0] == name for run in runs)]
    names += sorted({run[0] for run in runs} - set(names))
    drawn = figure(70 + 34 * len(names), xaxis=time_axis())
    for name in names:
        x: list[str | None] = []
        for run, after in zip(runs, (*runs[1:], None), strict=True):
            if run[0] == name:
                # A regime lasts until the next one begins, so that a single session can be seen.
                x += [run[1], run[2] if after is None else after[1], None]
        drawn.add_scatter(
            x=x, y=[None if each is None else name for each in x], mode="lines", name=name,
            line={"color": _COLOURS.get(name, MUTED), "width": 14},
            hovertemplate=f"{name}: %{{x}}<extra></extra>",
        )  # fmt: skip
    rows = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "showgrid": False}
    drawn.update_layout(yaxis=axis(**rows))
    return drawn


def anomalies(report: MonitorReport) -> Iterator[Markup]:
    """Yield broken features, lanes without a reference, and whatever was odd about the input."""
    broken = [row for row in report.drift if str(row["kind"]).startswith(_RANGES)]
    if broken:
        rows = [
            (row["lane"], row["feature"], row["session"], row["verdict"], page.prose(row["sentence"]))
            for row in broken[-_MOST_ANOMALIES:]
        ]
        yield page.card(
            "Features beyond their range",
            page.table(("lane", "feature", "session", "state", page.prose("what was found")), rows),
            classes="wide",
        )
    sentences = [f"{lane}: {why}" for lane, why in sorted(report.references.items()) if why]
    sentences += report.notes
    if sentences:
        cut = len(sentences) - _MOST_ANOMALIES
        more = [f"and {cut:,} more: `lockstep monitor show` has all of them"] if cut > 0 else []
        yield page.card("Notes", page.notes([*sentences[:_MOST_ANOMALIES], *more]), classes="wide")
    if not broken and not sentences:
        yield absent("Anomalies", "Nothing odd was found: no broken feature, no bad input.")
