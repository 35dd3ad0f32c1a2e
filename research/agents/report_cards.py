"""Cards of a session's page: by type, models, the top performer and its family, what was learned."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from markupsafe import Markup

from research.agents.database import Strategy
from research.agents.family_tree import Kinship
from research.agents.proposal import Niche
from research.agents.summary import EXPOSURES, HOLDINGS, SessionSummary, Tally
from research.report import page
from research.report.page import UNDEFINED, percent, ratio

_MOST_REFUSALS = 6
_MOST_LETTERS = 160


def kinds_card(found: SessionSummary) -> Markup:
    """Return trials by kind of strategy."""
    return page.card(
        "By type",
        page.table(_TALLY_HEAD, [_tally_row(each) for each in found.kinds]),
        caption="Technical strategies read features, ml ones models, hybrid ones both.",
        classes="wide",
    )


_TALLY_HEAD = ("", "tried", "evaluated", "repeated", "refused", "mean Sharpe", "mean fitness", "best")


def _tally_row(tally: Tally) -> list[str]:
    status = tally.status
    best = UNDEFINED if tally.best is None else f"{ratio(tally.best.trial.fitness, 3)} ({tally.best.name})"
    counts = (tally.tried, status["evaluated"], status["repeated"], status["refused"] + status["failed"])
    return [
        tally.name or UNDEFINED, *(page.count(each) for each in counts),
        page.coloured(ratio(tally.mean_sharpe)), page.coloured(ratio(tally.mean_fitness, 3)), best,
    ]  # fmt: skip


def models_card(found: SessionSummary) -> Markup:
    """Return the models that were known or read."""
    rows = [
        (
            each.name, each.start or UNDEFINED, each.end or "folds only", page.count(each.read_by),
            page.coloured(ratio(each.mean_sharpe)),
        )
        for each in found.models
    ]  # fmt: skip
    head = ("model", "at the start", "at the end", "read by", "mean Sharpe")
    return page.card(
        "Models",
        page.table(head, rows) if rows else page.empty_block("No strategy read a model."),
        caption="Newest version when the session began, and the one that a winner is frozen with. In a fold "
        "a strategy reads a version that was trained before it, which nothing else ever reads.",
        classes="wide",
    )


# --- What won ---


def winner_cards(found: SessionSummary, top: Strategy) -> list[Markup]:
    """Return what the top performer is, by regime and fold by fold."""
    trial, measures = top.trial, top.trial.measures
    assert measures is not None
    dates = ["" if found.folds is None else str(found.folds.dates(each.number)) for each in measures.folds]
    rows = [
        (
            f"fold {each.number + 1}", when, page.count(each.trades), page.coloured(ratio(each.sharpe)),
            percent(each.exposure, 0), ratio(each.holding, 1), percent(each.cost_share, 0),
        )
        for each, when in zip(measures.folds, dates, strict=True)
    ]  # fmt: skip
    text = yaml.safe_dump(dict(trial.proposal.spec), sort_keys=False, width=60)
    regimes = [
        (name, "Sharpe ratio", page.coloured(ratio(each))) for name, each in measures.by_regime.items()
    ]
    head = ("", "dates", "trades", "Sharpe", "exposure", "bars held", "costs")
    return [
        page.card(
            f"Top performer: {top.name}",
            page.joined(
                page.listing(text),
                page.paragraph(trial.proposal.rationale or "It came with no rationale.", "caption"),
            ),
            caption=f"{trial.proposal.kind}, found by {trial.proposal.move or 'no move that has a name'}.",
        ),
        page.card(
            "By regime",
            page.facts_table(regimes)
            if regimes
            else page.empty_block("No trade was decided in a known regime."),
            caption="Of the top performer, as the regime was known when each trade was decided.",
        ),
        page.card(
            "Fold by fold",
            page.table(head, rows),
            caption="Of the top performer. Costs: as a share of what its winning trades earned before them.",
            classes="wide",
        ),
    ]


def tree_card(tree: Kinship | None) -> Markup:
    """Return where the top performer comes from."""
    if tree is None:
        drawn = page.empty_block("There is no top performer, and so no family.")
        return page.card("Family tree of the top performer", drawn, classes="wide")
    rows = [
        (
            each.name, _GENERATION_NAMES.get(back, f"{back} generations back"), each.trial.proposal.move,
            ratio(each.trial.fitness, 3),
            page.prose(_cut(each.trial.proposal.change or each.trial.proposal.rationale or UNDEFINED)),
        )
        for back, each in tree.members
    ]  # fmt: skip
    head = ("strategy", "generation", "move", "fitness", page.prose("what changed"))
    return page.card(
        "Family tree of the top performer",
        page.joined(
            page.figure_block("session-tree", tree.drawn(), empty="It was made of no earlier trial."),
            page.table(head, rows),
        ),
        caption="Above each strategy those that it was made of, with their fitness.",
        classes="wide",
    )


_GENERATION_NAMES = {0: "itself", 1: "parent", 2: "grandparent"}


# --- What was learned ---


def moves_card(found: SessionSummary) -> Markup:
    """Return trials by move."""
    rows = [
        [*_tally_row(each), f"{each.better} of {each.compared}" if each.compared else UNDEFINED]
        for each in found.moves
    ]
    return page.card(
        "What was learned: by move",
        page.table((*_TALLY_HEAD, "better than its parent"), rows),
        caption="How proposals were found, and how often a change had more fitness than what it changed.",
        classes="wide",
    )


def families_card(found: SessionSummary) -> Markup:
    """Return trials by family of features."""
    return page.card(
        "What was learned: by family of features",
        page.table(_TALLY_HEAD, [_tally_row(each) for each in found.families]),
        caption="By the family that entries read, the best first; of proposals that could be measured.",
        classes="wide",
    )


def open_card(niches: Sequence[Niche]) -> Markup:
    """Return niches that nobody tried."""
    rows = [
        (each.feature, each.side, EXPOSURES[each.exposure], HOLDINGS[each.holding]) for each in niches
    ]  # fmt: skip
    return page.card(
        "Under-explored areas",
        page.table(("family", "side", "in the market", "held"), rows)
        if rows
        else page.empty_block("No strategy can win, so that nothing lies beside one."),
        caption="No trial lies there, and one that did well lies beside: where the next session may look.",
        classes="wide",
    )


def findings_card(found: SessionSummary) -> Markup:
    """Return what the critic found, and why proposals were refused."""
    rows = [
        (about, page.count(times), "cannot win" if fatal else "is told so")
        for about, times, fatal in found.findings
    ]
    refused = [
        f"{page.count(times)}{page.TIMES} {_cut(why)}" for why, times in found.refusals[:_MOST_REFUSALS]
    ]
    return page.card(
        "What the critic found",
        page.joined(
            page.table(("a strategy that", "trials", "it"), rows)
            if rows
            else page.empty_block("The critic found nothing."),
            page.paragraph("Why proposals were refused, the most frequent reasons first:", "caption")
            if refused
            else "",
            page.notes(refused) if refused else "",
        ),
        caption="It is in the context of the next proposal.",
        classes="wide",
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 1]}…"
