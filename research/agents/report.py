"""The page of a session: what was tried, what won and where it comes from, and what was learned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.desk import results_folder
from research.agents.critic import may_win
from research.agents.database import FROZEN, GATE, AgentBook
from research.agents.family_tree import Kinship, family_tree
from research.agents.gate import SHOWN
from research.agents.knowledge import KnownPart
from research.agents.report_cards import (
    families_card,
    findings_card,
    kinds_card,
    models_card,
    moves_card,
    open_card,
    tree_card,
    winner_cards,
)
from research.agents.summary import SessionSummary, mean_of
from research.report import page
from research.report.page import Tile, ratio
from research.report.theme import ACCENT, GAIN, INK, LOSS, axis, figure, titled

_GENERATIONS = 6
_KIND_MARKS = (("technical", GAIN, "circle"), ("hybrid", LOSS, "diamond"), ("ml", ACCENT, "square"))
_RULES = (
    "Fitness is the mean less one standard error of six walk-forward folds' Sharpe ratios, after costs at "
    "twice the slippage; it needs 30 trades, or as many as the session asks for, in four folds.",
    "All measures are of training bars, and the first of a list is the best of many: what it made there is "
    "no estimate of what it will make.",
    "A proposal that means or does the same as an earlier one is not evaluated again, and counts too.",
    "The session's process held no bar of validation or hold-out. Its gate is another process, which began "
    "after the winners were frozen.",
)


class SessionReport:
    """A session of research agents as it shows itself in a notebook, and as a page.

    summary   what it came to; tree: where its winner comes from, None without one
    """

    def __init__(self, book: AgentBook, number: int) -> None:
        """Read a session; AgentError where there is none of this number."""
        self.summary = SessionSummary.of(book, number)
        top = self.summary.top
        self.tree: Kinship | None = (
            None if top is None else family_tree(book, top.name, generations=_GENERATIONS)
        )

    def plot(self) -> go.Figure:
        """Draw the fitness of all trials in order, and the best so far; an empty figure without any."""
        from research.report.views import on_paper  # It brings pandas, which no command here needs.

        return on_paper(_course(self.summary) or figure(120))

    def save(self, path: Path | str | None = None) -> Path:
        """Write the page and return its path; None: among the results, under the session's number."""
        return write_session_page(self, None if path is None else Path(path))

    def _repr_html_(self) -> str:
        return page.fragment(
            _header(self.summary),
            page.key_figures(_tiles(self.summary)),
            page.grid([kinds_card(self.summary)]),
        )


def write_session_page(report: SessionReport, path: Path | None = None) -> Path:
    """Write the page of a session and return its path; None: `agents/session-N.html` among the results."""
    number = report.summary.record.id
    target = path or results_folder("agents") / f"session-{number}.html"
    return page.write_page(target, f"Session {number} of research agents", session_body(report))


def session_body(report: SessionReport) -> Markup:
    """Return the body of a session's page."""
    found = report.summary
    until = found.knowledge_until
    cards = [
        _course_card(found),
        kinds_card(found),
        models_card(found),
        *([] if found.top is None else winner_cards(found, found.top)),
        tree_card(report.tree),
        moves_card(found),
        families_card(found),
        open_card(found.open),
        findings_card(found),
        *([] if until is None else [_knowledge_card(found, until)]),
        _gate_card(found),
    ]
    return page.joined(
        _header(found),
        page.caveats("Before you read the numbers", _caveats(found)),
        page.key_figures(_tiles(found)),
        page.grid(cards),
        page.grid(
            [
                page.card("How to read it", page.notes(_RULES), classes="wide after"),
                page.card("What it was made with", page.provenance(_provenance(found)), classes="wide"),
            ]
        ),
    )


# --- The head ---


def _header(found: SessionSummary) -> Markup:
    plan = found.record.plan
    settings = plan.settings
    facts = [f"training {plan.train}", f"begun {found.record.recorded[:16].replace('T', ' ')}"]
    if settings.goal:
        facts.append(f"goal: {settings.goal}")
    return page.header(
        f"Session {found.record.id} of research agents",
        f"{settings.researcher} on {settings.symbol}, seed {settings.seed}",
        facts,
        lead=f"{len(found.strategies)} of {settings.strategies} strategies",
        verdict=found.verdict,
        is_loss=True,
    )


def _caveats(found: SessionSummary) -> list[str]:
    told = []
    if found.top is not None:
        told.append(
            f"The best of {len(found.strategies)} trials is shown. A search finds something where there is "
            "nothing, too: only the gate, and bars that come later, tell the two apart."
        )
    if found.knowledge_until is not None:
        told.append(
            f"A language model proposed, which may have read the history up to {found.knowledge_until}: what "
            "its strategies did on these days shows nothing."
        )
    if ended := found.record.events.get(FROZEN, {}).get("ended"):
        told.append(f"The session ended early: {ended}.")
    return told


def _tiles(found: SessionSummary) -> Iterator[Tile]:
    made = {
        name: sum(each.status[name] for each in found.kinds) for name in ("repeated", "refused", "failed")
    }
    yield Tile("Trials", page.count(len(found.strategies)), "all of them count, in the ledger too")
    lost = made["refused"] + made["failed"]
    yield Tile("Evaluated", page.count(len(found.evaluated)), f"{made['repeated']} repeats, {lost} refused")
    top = found.top
    fitness = math.nan if top is None else top.trial.fitness
    note = "nothing can win" if top is None else f"{top.name}, {top.trial.proposal.kind}"
    yield Tile("Best fitness", ratio(fitness, 3), note, fitness < 0)
    sharpe = mean_of([each.trial.measures.sharpe for each in found.evaluated if each.trial.measures])
    yield Tile("Mean Sharpe ratio", ratio(sharpe), "of all that were evaluated", sharpe < 0)
    yield Tile("Niches", page.count(found.niches), "kinds of ideas that have an elite")


# --- What was tried ---


def _course_card(found: SessionSummary) -> Markup:
    without = len(found.strategies) - sum(math.isfinite(each.trial.fitness) for each in found.evaluated)
    return page.card(
        "Fitness, trial by trial",
        page.figure_block("session-course", _course(found), empty="No trial has a fitness."),
        caption=f"The line is the best so far; what cannot win is hollow. Not drawn: {without} trials "
        "without a fitness of their own, which are repeats, refused ones, and those with too few trades.",
        classes="wide",
    )


def _course(found: SessionSummary) -> go.Figure | None:
    known = [each for each in found.evaluated if math.isfinite(each.trial.fitness)]
    if not known:
        return None
    drawn = figure(
        320, xaxis=axis(title=titled("trial"), showgrid=False), yaxis=axis(title=titled("fitness"))
    )
    drawn.update_layout(showlegend=True)
    able = [each.trial for each in known if may_win(each.trial)]
    line = list(itertools.accumulate((each.fitness for each in able), max))
    drawn.add_scatter(
        x=[each.number for each in able], y=[round(each, 4) for each in line], mode="lines",
        name="best so far", line={"color": INK, "width": 1.2, "shape": "hv"}, hoverinfo="skip",
    )  # fmt: skip
    for kind, colour, symbol in _KIND_MARKS:
        own = [each for each in known if each.trial.proposal.kind == kind]
        if own:
            drawn.add_scatter(
                x=[each.trial.number for each in own], y=[round(each.trial.fitness, 4) for each in own],
                mode="markers", name=kind, 
                marker={
                    "color": colour, "size": 7,
                    "symbol": [symbol if may_win(each.trial) else f"{symbol}-open" for each in own],
                },
                text=[page.plain(each.trial.proposal.move) for each in own],
                hovertemplate="%{x}, %{text}: %{y:.3f}",
            )  # fmt: skip
    return drawn


# --- What may be believed ---


def _knowledge_card(found: SessionSummary, until: date) -> Markup:
    splits = [each for each in map(found.split, found.evaluated) if each is not None]
    rows = []
    if splits:
        means = [
            mean_of([_sharpe_of(each.before if side == 0 else each.after) for each in splits])
            for side in (0, 1)
        ]
        rows.append(("training, all that were evaluated", *(page.coloured(ratio(each)) for each in means)))
    if found.top is not None and (own := found.split(found.top)) is not None:
        values = [_sharpe_of(each) for each in (own.before, own.after)]
        rows.append((f"training, {found.top.name}", *(page.coloured(ratio(each)) for each in values)))
    told = found.record.events.get(GATE, {}).get("knowledge", {}).get("validation")
    if told is not None:
        values = [_told_sharpe(told[side]) for side in ("before", "after")]
        rows.append(("validation, the winner", *(page.coloured(ratio(each)) for each in values)))
    head = ("mean Sharpe ratio", f"up to {until}", "later, out of sample")
    return page.card(
        "What the language model may have read",
        page.table(head, rows) if rows else page.empty_block("Nothing is known of either side."),
        caption="A fold counts as later where it began after that day. No other measure of this session may "
        "be called out of sample.",
        classes="wide",
    )


def _sharpe_of(part: KnownPart | None) -> float:
    found = None if part is None else part.measures.get("sharpe")
    return math.nan if found is None else found


def _told_sharpe(part: Mapping[str, Any] | None) -> float:
    found = None if part is None else part["measures"].get("sharpe")
    return math.nan if found is None else float(found)


def _gate_card(found: SessionSummary) -> Markup:
    event = found.record.events.get(GATE)
    if event is None:
        return page.card("The gate", page.empty_block(found.verdict), classes="wide")
    plan = found.record.plan
    rows = [("Fitness of the winner", f"trial {event['winner']}", ratio(event["objective"], 3))]
    if event["p_value"] is not None:
        rows += [
            ("Rank among replays", f"of {event['replays']}, at most 5% passes", ratio(event["p_value"], 3)),
            ("What replays found", "median", ratio(event["median"], 3)),
            ("", "the best one", ratio(event["best"], 3)),
        ]
    known = [(name, event["validation"].get(name)) for name in SHOWN]
    rows += [
        (name.replace("_", " ").capitalize(), f"validation, {plan.validation}", f"{value:,.3g}")
        for name, value in known
        if value is not None
    ]
    return page.card(
        "The gate",
        page.facts_table(rows),
        caption=f"{found.verdict} Validation decides nothing.",
        classes="wide",
    )


def _provenance(found: SessionSummary) -> dict[str, str]:
    plan = found.record.plan
    return {
        "session": found.record.key, "code": plan.code, "bars": plan.bars,
        "validation": f"{plan.validation}, not read by the session",
    }  # fmt: skip
