"""Portfolio and risk: what may be lost, what is held, how much of each limit is used, drawdown, roll-out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.live.config import LiveConfig
from lockstep.live.status.risk import SCHEMA, risk_file
from lockstep.settings import parse_json
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.pages.risk_limits import HeldNow, held_now, limits_used
from operations.dashboard.parts import absent, add_line, guarded, monitor_rows, number, parts_of, thinned_rows
from operations.dashboard.words import minute
from research.report import page
from research.report.page import Tile, coloured, count, percent, ratio, usd
from research.report.theme import GAIN, axis, figure, time_axis, titled

_METHODS = {
    "filtered": "Filtered historical", "historical": "Historical", "normal": "Normal, EWMA",
    "cornish_fisher": "Cornish-Fisher",
}  # fmt: skip
_MEASURE = "lockstep risk --desk"


def build(sources: DashboardSources, now: int) -> Sequence[Markup]:
    """Return the page's pieces; see `DashboardPage`."""
    held = held_now(sources.live)
    title = page.header(
        "Portfolio and risk", "What is held, what may be lost, what is allowed", _facts(held, now)
    )
    troubles = page.caveats("What could not be read", held.trouble)
    parts = {
        "Value at risk of the next session": guarded("Value at risk", lambda: _risk(sources.live, held)),
        "Exposures": guarded("Exposures", lambda: _exposures(sources.live, held)),
        "Limits": guarded("Limits", lambda: limits_used(sources.live, held)),
        "Drawdown": guarded("Drawdown", lambda: _drawdown(sources)),
        "Roll-out": guarded("Roll-out", lambda: _rollout(sources.live, held)),
    }
    return title, troubles, *parts_of(parts)


def _facts(held: HeldNow, now: int) -> list[str]:
    if held.status is None:
        return ["the engine has written no status that can be read"]
    written = f"positions of {minute(held.status.heartbeat)} UTC"
    return [f"mode {held.status.mode}, {held.status.state}", written]


def _risk(live: LiveConfig, held: HeldNow) -> Iterator[Markup]:
    path = risk_file(live.status)
    try:
        content = parse_json(path.read_bytes())
    except OSError:
        yield absent(
            "Value at risk", f"Nothing was measured yet: run `{_MEASURE} live.yml`; it writes {path}."
        )
        return
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("kind") != "desk":
        yield absent(
            "Value at risk", f"{path} is no measurement of a desk that this version reads; measure again."
        )
        return
    capital = float(content["capital"])
    levels = content["levels"][content["method"]]
    yield page.card("Next session", page.key_figures(_level_tiles(levels, capital)), classes="wide")
    doubts = [] if held.status is None else held.status.risk_doubts
    if doubts:
        yield page.card(
            "These numbers no longer hold", page.notes([*doubts, f"measure again: {_MEASURE} live.yml"]),
            classes="wide",
        )  # fmt: skip
    names = list(levels)
    header = ("method", *(f"{name} {level}%, USD" for level in names for name in ("VaR", "ES")))
    rows = [
        (_METHODS.get(method, method), *_level_cells(each, names))
        for method, each in content["levels"].items()
    ]
    yield page.card(
        "By method",
        page.table(header, rows, foot=("own P&L, historical", *_level_cells(content["own"], names))),
        caption=f"Measured after {content['as_of']} (bars up to {minute(int(content['stamp']))} UTC), from "
        f"{count(content['sessions']['count'])} sessions. Losses are positive; ES is the mean beyond VaR.",
        classes="wide",
    )
    yield _by_lane(content, names[-1])


def _level_tiles(levels: Mapping[str, Any], capital: float) -> Iterator[Tile]:
    for level, each in levels.items():
        for key, name in (("var", "VaR"), ("es", "Expected shortfall")):
            value = each.get(key)
            share = percent(value / capital, 2) if value is not None else page.UNDEFINED
            yield Tile(f"{name} {level}%", usd(value), f"USD; {share} of the capital")


def _level_cells(each: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    found = (each.get(level, {}) for level in names)
    return [usd(level.get(key)) for level in found for key in ("var", "es")]


def _by_lane(content: Mapping[str, Any], level: str) -> Markup:
    lanes = content["lanes"][level]
    total = math.fsum(each["component_es"] or 0.0 for each in lanes.values())
    rows = [
        (
            name, ratio(content["positions"].get(name, 0.0), 2), ratio(content["reserved"].get(name, 0.0), 2),
            coloured(usd(each["component_var"])), coloured(usd(each["component_es"])),
            percent((each["component_es"] or 0.0) / total if total else None), usd(each["marginal_es"]),
            usd(0.0 - (each["incremental_es"] or 0.0)), usd(each["alone_es"]),
        )
        for name, each in lanes.items()
    ]  # fmt: skip
    header = (
        "lane", "contracts", "waiting", f"VaR {level}%, USD", "ES, USD", "share of ES", "one more contract",
        "without it", "alone",
    )  # fmt: skip
    return page.card("By lane", page.table(header, rows), caption="ES in USD, by component.", classes="wide")


def _exposures(live: LiveConfig, held: HeldNow) -> Iterator[Markup]:
    if held.status is None:
        yield absent("Exposures", "Positions are those of the engine's status, which cannot be read.")
        return
    rooms = {} if held.state is None else {each.symbol: each.room for each in held.state.lanes}
    lanes = sorted({*live.versions, *held.positions})
    rows = []
    for lane in lanes:
        worth = held.worth(lane)
        room = _size(rooms[lane]) if lane in rooms else page.UNDEFINED
        rows.append((
            lane, _size(held.positions.get(lane, 0.0)), room,
            page.price(held.closes.get(lane)), coloured(usd(worth)),
            coloured(usd(held.status.profit_today.get(lane), 2)),
        ))  # fmt: skip
    worths = [held.worth(lane) for lane in lanes]
    foot = (
        "all lanes", _size(math.fsum(map(abs, held.positions.values()))), "", "",
        f"{usd(math.fsum(map(abs, worths)))} gross", usd(math.fsum(held.status.profit_today.values()), 2),
    )  # fmt: skip
    header = ("lane", "contracts", "room taken", "newest close, points", "worth, USD", "profit today, USD")
    yield page.card(
        "Exposures",
        page.table(header, rows, foot=foot),
        caption="Room is what a lane takes of the portfolio: held, or admitted and waiting to fill.",
        classes="wide",
    )


def _size(value: float) -> str:
    return ratio(value, 4).rstrip("0").rstrip(".")


def _drawdown(sources: DashboardSources) -> Iterator[Markup]:
    rows = monitor_rows(sources, "sessions")
    if not rows:
        why = (
            "no session is over yet"
            if sources.monitoring
            else "it is drawn from the monitor's sessions, and there is none"
        )
        yield absent("Drawdown", f"No drawdown: {why}.")
        return
    points = _equity(rows)
    fallen = points["drawdown"]
    shown = thinned_rows(
        [{"day": day, "drawdown": value} for day, value in zip(points["days"], fallen.tolist(), strict=True)],
        "drawdown",
    )
    deepest = int(np.argmin(fallen))
    yield page.card(
        "Drawdown of the desk",
        page.figure_block("drawdown", _fall(shown)),
        caption="All lanes together, marked after each session, below the highest equity so far, USD. "
        f"Deepest: {usd(float(fallen[deepest]))} on {points['days'][deepest]}; now {usd(float(fallen[-1]))}.",
        classes="wide",
    )


def _equity(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return days, and drawdown in USD after each; a lane without a session keeps its last equity."""
    days = sorted({row["session"] for row in rows})
    total = np.zeros(len(days))
    place = {day: at for at, day in enumerate(days)}
    for lane in sorted({row["lane"] for row in rows}):
        mine = [row for row in rows if row["lane"] == lane]
        values = np.full(len(days), math.nan)
        values[[place[row["session"]] for row in mine]] = number(mine, "equity")
        known = np.flatnonzero(np.isfinite(values))
        if known.size:
            last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), known[0]))
            total += values[last]
    return {"days": days, "drawdown": total - np.maximum.accumulate(total)}


def _fall(shown: Sequence[Mapping[str, Any]]) -> go.Figure:
    drawn = figure(
        260, xaxis=time_axis(), yaxis=axis(tickformat="$,.0f", title=titled("Below the peak, USD"))
    )
    add_line(drawn, [row["day"] for row in shown], number(shown, "drawdown"), "drawdown", GAIN, "$%{y:,.0f}")
    return drawn


def _rollout(live: LiveConfig, held: HeldNow) -> Iterator[Markup]:
    present = held.steps[-1].stage if held.steps else 0
    stages = [
        (
            f"stage {at + 1}",
            f"day {each.from_day}",
            page.prose(each.spelled),
            "present" if at == present else "",
        )
        for at, each in enumerate(live.rollout.stages)
    ]
    yield page.card(
        "Stages",
        page.table(("stage", "from", page.prose("what leaves the house"), "now"), stages),
        caption=f"Mode {live.mode}. The operator moves the roll-out; the calendar never does.",
    )
    steps = [
        (
            minute(each.time),
            f"stage {each.stage + 1}",
            percent(each.fraction, 0),
            page.prose(each.reason or "none given"),
        )
        for each in reversed(held.steps)
    ]
    table = page.table(("moved, UTC", "to", "of the size", page.prose("reason")), steps)
    yield page.card("Moves", table if steps else page.empty_block("It was never moved."))


PAGE = DashboardPage(name="risk", title="Portfolio and risk", build=build)
