"""The page of an A/B test: what is known, what the test still waits for, and what both arms did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.metrics import Integers
from lockstep.monitoring.ab import AbJudgement, AbMode, AbVerdict
from lockstep.monitoring.eprocess import SESSIONS
from lockstep.portfolio.split import CHALLENGER, CHAMPION
from operations.ab.book import ARMS, AbTest
from operations.ab.gates import open_gates, promotion_command
from operations.ab.measures import DRAWDOWN, SHARPE, WIN_RATE, ArmMeasures, ShownMeasure, measured_arms
from operations.ab.tester import AbStanding, standing
from research.ledger.ledger import Ledger
from research.report import page
from research.report.page import Tile, percent, ratio
from research.report.theme import BAR, GAIN, GAIN_SOFT, MUTED, axis, figure, level, time_axis, titled

_RULES = (
    "Both bounds hold after every session at once: look as often as you like. A winner among equal arms is "
    "named in at most 5 % of tests.",
    "Only the mean difference of sessions decides. Sharpe ratios, win rates and drawdowns are shown with the "
    "intervals that they have by themselves; comparing them by eye is not a test.",
    "A test that is won promotes nothing. Its sessions do not count as forward evidence of a candidate.",
)
_MODES = {
    AbMode.REPLAY: "both arms on every signal, replayed over the bars as first seen",
    AbMode.SPLIT: "half of the desk's signals each, by a hash of the signal",
}


def write_ab_page(ledger: Ledger, test: AbTest, path: Path, *, now: datetime) -> Path:
    """Write the page of a test and return its path."""
    body = ab_page_body(standing(ledger, test), open_gates(ledger, test, now=now))
    return page.write_page(path, f"A/B test {test.name}", body)


def summary_of(found: AbStanding) -> str:
    """Return in one sentence where a test stands."""
    terms, done = found.test.terms, found.differences.size
    if found.test.ending is not None:
        ending = found.test.ending
        return f"{_WORDS[ending.kind]} on {ending.session}: {ending.reason}."
    if done == 0:
        return "Running: the first session that began after its creation is not over yet."
    trades = min(int(found.sessions[arm].trades.sum()) for arm in ARMS)
    left = [
        f"{need - have} more {what}"
        for need, have, what in (
            (terms.plan.least_sessions, done, "sessions"),
            (terms.plan.least_trades, trades, "trades of the arm that has fewer"),
        )
        if have < need
    ]
    waits = f"; nothing is decided before {' and '.join(left)}" if left else ""
    return f"Running: {_leaning(found)}{waits}."


_WORDS = {
    "won": "The challenger won",
    "lost": "The challenger lost",
    "futile": "Futile: the test ended without a winner",
    "stopped": "Stopped by hand",
}


def _leaning(found: AbStanding) -> str:
    mean = float(found.judgement.mean[-1])
    ahead = "the challenger is ahead" if mean > 0 else "the champion is ahead"
    return "both arms are level" if mean == 0 else f"{ahead}, by less than the bounds can tell from luck"


def ab_page_body(found: AbStanding, gates: Sequence[str]) -> Markup:
    """Return the body of a test's page; gates   what a winner still lacks, see `open_gates`."""
    test, terms = found.test, found.test.terms
    measures = measured_arms(found.sessions)
    head = page.header(
        f"A/B test {test.name}",
        f"{terms.symbol}: {terms.challenger.name} against {terms.champion.name}",
        [_MODES[terms.mode], f"since {test.recorded[:10]}", _newest(found)],
        lead=test.status,
        lead_class={"won": "good", "lost": "loss"}.get(test.status, ""),
        verdict=summary_of(found),
        is_loss=test.status == "lost",
    )
    return page.joined(
        head,
        page.caveats("Before it is traded", _before_trading(test, gates)),
        page.key_figures(_tiles(found)),
        page.grid(
            [_sequence_card(found), _profit_card(found), _arms_card(test, measures), _plan_card(found)]
        ),
        page.grid([page.card("How to read it", page.notes(_notes(found)), classes="wide after")]),
    )


def _newest(found: AbStanding) -> str:
    dates = found.sessions[CHAMPION].dates
    return f"sessions up to {dates[-1]}" if dates.size else "no session yet"


def _before_trading(test: AbTest, gates: Sequence[str]) -> list[str]:
    if test.status != AbVerdict.WON:
        return []
    return [f"The challenger is better; to promote it: {promotion_command(test)}", *gates]


def _until(found: AbStanding) -> str:
    """Return about when a running test ends at the latest, in words."""
    if found.test.status != AbVerdict.RUNNING:
        return ""
    left = found.test.terms.plan.sessions - found.differences.size
    dates = found.sessions[CHAMPION].dates
    begun = dates[-1] if dates.size else np.datetime64(found.test.recorded[:10], "D")
    return f", until about {(begun + np.timedelta64(round(left * 365.25 / SESSIONS), 'D')).astype('M8[M]')}"


def _per_year(found: AbStanding, deviations: float) -> float:
    """Return a mean difference in deviations of a session as a fraction of the capital a year."""
    return deviations * found.test.terms.sigma * SESSIONS


def _tiles(found: AbStanding) -> Iterator[Tile]:
    plan, judged = found.test.terms.plan, found.judgement
    done = found.differences.size
    yield Tile("Sessions", page.count(done), f"of {plan.sessions:,} at most{_until(found)}")
    trades = [int(found.sessions[arm].trades.sum()) for arm in ARMS]
    yield Tile("Trades", f"{trades[0]:,} / {trades[1]:,}", "champion / challenger")
    mean = _per_year(found, float(judged.mean[-1])) if done else math.nan
    yield Tile("Challenger ahead by", percent(mean), "of the capital a year so far", mean < 0)
    bounds = (judged.low, judged.high)
    low, high = (_per_year(found, float(each[-1])) if done else math.nan for each in bounds)
    yield Tile("At least", percent(low), f"a year, {plan.level:.0%} together with")
    yield Tile("At most", percent(high), "a year, at every look", high < 0)


def _dates(found: AbStanding) -> list[str]:
    return [str(each) for each in found.sessions[CHAMPION].dates]


def _sequence_card(found: AbStanding) -> Markup:
    margin = percent(_per_year(found, found.test.terms.plan.margin))
    return page.card(
        "Mean difference and its bounds",
        page.figure_block(
            "ab-sequence",
            _sequence(found),
            empty="Nothing can be said yet: bounds begin after about 40 sessions.",
        ),
        caption="Challenger less champion, per cent of the capital a year. The challenger has won when the "
        f"band lies above 0, lost when it lies below; dotted: the planned difference, {margin} either way.",
        classes="wide",
    )


def _sequence(found: AbStanding) -> go.Figure | None:
    judged, scale = found.judgement, found.test.terms.sigma * SESSIONS * 100.0
    known = np.flatnonzero(np.isfinite(judged.low) & np.isfinite(judged.high))
    if known.size < 2:
        return None
    dates = np.array(_dates(found))
    # From the first session on, as the figure below it.
    drawn = figure(330, xaxis=time_axis(range=[dates[0], dates[-1]]), hovermode="x unified")
    drawn.update_layout(yaxis=axis(ticksuffix=" %", title=titled("a year")))
    shown = _thinned(known)
    bands = (("at most", judged.high, None), ("at least", judged.low, "tonexty"))
    for name, values, fill in bands:
        drawn.add_scatter(
            x=dates[shown].tolist(), y=(values[shown] * scale).round(3).tolist(), name=name,
            mode="lines", line={"color": GAIN, "width": 0.8}, fill=fill, fillcolor=GAIN_SOFT,
            hovertemplate="%{y:.1f} %",
        )  # fmt: skip
    drawn.add_scatter(
        x=dates[shown].tolist(), y=(judged.mean[shown] * scale).round(3).tolist(), name="mean",
        mode="lines", line={"color": GAIN, "width": 1.8}, hovertemplate="%{y:.1f} %",
    )  # fmt: skip
    drawn.add_hline(y=0.0, line={"color": MUTED, "width": 1.2})
    margin = found.test.terms.plan.margin * scale
    level(drawn, margin)
    level(drawn, -margin)
    drawn.update_layout(yaxis={"range": _range(judged, known, scale, margin)})
    return drawn


def _thinned(known: Integers, most: int = 800) -> Integers:
    """Return rows that a line is drawn through: the last one always."""
    step = max(1, math.ceil(known.size / most))
    return np.unique(np.append(known[::step], known[-1]))


def _range(judged: AbJudgement, known: Integers, scale: float, margin: float) -> list[float]:
    """Return the axis: the first sessions, whose bounds say nothing, may leave it."""
    late = known[known.size // 4 :]
    edge = float(np.quantile(np.abs(np.concatenate((judged.low[late], judged.high[late]))), 0.9)) * scale
    most = 1.15 * max(edge, margin)
    return [-most, most]


def _profit_card(found: AbStanding) -> Markup:
    return page.card(
        "What both arms made",
        page.figure_block("ab-profit", _profit(found), empty="No session is complete yet."),
        caption="Sum of session results, per cent of the capital, after all costs.",
        classes="wide",
    )


def _profit(found: AbStanding) -> go.Figure | None:
    if found.differences.size < 2:
        return None
    drawn = figure(240, xaxis=time_axis(), yaxis=axis(ticksuffix=" %"), hovermode="x unified")
    drawn.update_layout(showlegend=True)
    terms = found.test.terms
    names = {CHAMPION: terms.champion.name, CHALLENGER: terms.challenger.name}
    rows = _thinned(np.arange(found.differences.size))
    for arm, colour, dash in ((CHAMPION, BAR, "dot"), (CHALLENGER, GAIN, "solid")):
        made = 100.0 * np.cumsum(found.sessions[arm].results)
        drawn.add_scatter(
            x=np.array(_dates(found))[rows].tolist(), y=made[rows].round(4).tolist(),
            name=page.plain(f"{names[arm]} ({arm})"), mode="lines",
            line={"color": colour, "width": 1.8, "dash": dash}, hovertemplate="%{y:.2f} %",
        )  # fmt: skip
    return drawn


def _arms_card(test: AbTest, measures: Mapping[str, ArmMeasures]) -> Markup:
    arms = {CHAMPION: test.terms.champion, CHALLENGER: test.terms.challenger}
    rows = [
        ("Strategy", *(arms[arm].name for arm in ARMS)),
        ("Result", *(percent(measures[arm].total, 2) for arm in ARMS)),
        ("Trades", *(page.count(measures[arm].trades) for arm in ARMS)),
        *(
            (name, *(_with_interval(name, measures[arm].shown[name]) for arm in ARMS))
            for name in (SHARPE, WIN_RATE, DRAWDOWN)
        ),
        ("Sharpe ratio in history", *(ratio(arms[arm].sharpe) for arm in ARMS)),
        ("Mean exposure in history", *(ratio(arms[arm].exposure) for arm in ARMS)),
    ]
    return page.card(
        "The arms",
        page.table(("", "champion", "challenger"), rows, classes="explained"),
        caption="Below each measure its 95 % interval, by blocks of sessions. They decide nothing.",
    )


def _with_interval(name: str, measure: ShownMeasure) -> Markup:
    written = ratio if name == SHARPE else percent
    if math.isnan(measure.low):
        return page.joined(written(measure.value))
    interval = f"{written(measure.low)} to {written(measure.high)}"
    return page.joined(written(measure.value), page.small(interval))


def _plan_card(found: AbStanding) -> Markup:
    terms = found.test.terms
    plan = terms.plan
    needed = "more than 25" if math.isinf(plan.needed_years) else f"{plan.needed_years:.1f}"
    rows = [
        ("Difference to be seen", "of annual Sharpe ratios", ratio(plan.difference)),
        ("Correlation of the arms", f"{terms.history[0]} to {terms.history[1]}", ratio(terms.correlation, 3)),
        ("Years needed", "for a power of 80 %, looked at every day", needed),
        ("A single look would need", "years; it may not be repeated", f"{plan.one_look_years:.1f}"),
        ("Power by its end", f"after {plan.years:.1f} years", percent(plan.power, 0)),
        *(
            (f"Power after {year} year{'s' if year > 1 else ''}", "", percent(share, 0))
            for year, share in enumerate(plan.power_by_year[:5], start=1)
            if year < plan.years
        ),
    ]
    return page.card(
        "The plan", page.facts_table(rows), caption="Fixed at creation, before the first session."
    )


def _notes(found: AbStanding) -> list[str]:
    terms = found.test.terms
    exposed = terms.challenger.exposure - terms.champion.exposure
    told = list(_RULES)
    if terms.mode is AbMode.REPLAY and abs(exposed) >= 0.05:
        told.append(
            f"In history the challenger's mean exposure was {exposed:+.2f} of the capital beside that of the "
            "champion: as much of the market's drift is in the difference. Forward evidence takes it out."
        )
    return told
