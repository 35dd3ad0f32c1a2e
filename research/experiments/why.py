"""The verdict on an experiment in a word and a reason, and what `--why` tells beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy import select

from lockstep.tables import TextTable, number, prose
from research.experiments.accounts import CHOSEN
from research.experiments.analysis import Judgement, SymbolEvidence
from research.experiments.diagnostics import SearchOpinion, SymbolDiagnostics, WinnerOpinion
from research.experiments.execution import Lab
from research.experiments.selection import Ranked
from research.experiments.service import diagnosed, judged
from research.experiments.store import Record
from research.experiments.variants import spelled
from research.ledger.tables import Genealogy
from research.report.page import percent, ratio, usd
from research.report.sections_record import years_or_never
from research.report.trust import OtherOrders
from research.statistics.verdict import VerdictLine, of_gate

Why = Annotated[
    bool, typer.Option("--why", help="Also print every check, and what other tests say of all trials.")
]

SEALED = "every check passed; the hold-out is still sealed, and `lockstep experiments promote` opens it"
UNSEALED = "every check passed, but no hold-out was set aside that could confirm it"


def verdict_on(
    record: Record, found: Judgement, *, promoted: bool = False, further: Sequence[str] = ()
) -> VerdictLine:
    """Return the verdict on the winner of an experiment.

    promoted   whether it was promoted without force, see `was_promoted`
    further    refusals of a promotion that are not the gate's
    """
    return of_gate(
        found.evidence,
        found.verdict,
        record.plan.limits.size,
        against_zero=_against_zero(found),
        further=further,
        promoted=promoted,
        waiting=SEALED if record.plan.split.holdout else UNSEALED,
    )


def was_promoted(lab: Lab, record: Record, winner: Ranked) -> bool:
    """Return whether this variant was promoted, and not by force."""
    config = record.plan.space.variant(winner.variant).config
    if config is None:
        return False
    wanted = select(Genealogy.forced).where(
        Genealogy.experiment_id == record.id, Genealogy.config_hash == config.config_hash
    )
    with lab.database.read() as connection:
        return any(forced is None for forced in connection.scalars(wanted))


def _against_zero(found: Judgement) -> float:
    """P-value of the winner against zero on its worst symbol, with the market left in, after all trials."""
    values = [each.maximum.p_zero for each in found.symbols]
    return math.nan if any(map(math.isnan, values)) else max(values)


def conclude(
    console: Console, lab: Lab, record: Record, ranked: Sequence[Ranked], by: str | None, *, why: bool
) -> None:
    """Print the verdict on the winner, the first of `ranked`; with `why` everything behind it before that."""
    found = judged(lab, record, ranked[0], by)
    if why:
        print_why(console, record, found, diagnosed(lab, record, ranked, found))
    print_verdict(console, verdict_on(record, found, promoted=was_promoted(lab, record, ranked[0])))


def print_verdict(console: Console, found: VerdictLine) -> None:
    """Print the verdict: a word in bold, and the reason."""
    line = Text.assemble((found.word, "bold"), f": {found.reason}")
    console.print(line, soft_wrap=True)


def print_why(
    console: Console, record: Record, found: Judgement, opinions: Sequence[SymbolDiagnostics]
) -> None:
    """Print every check of the gate, the evidence by symbol, and the second opinions."""
    for check in found.verdict.checks:
        mark = ("passed" if check.passed else "failed") if check.applies else "–"
        line = f"  {mark:6}  {check.name}: {check.sentence}"
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if found.winner.repeats:
        line = f"the winner does what an earlier trial did on the training range: {found.winner.repeats}"
        console.print(line, highlight=False, soft_wrap=True)
    for account in found.walk_forward.values():
        console.print(f"{CHOSEN}: {account}", highlight=False, soft_wrap=True)
    for each in found.symbols:
        console.print(evidence_line(each), highlight=False, soft_wrap=True)
    for opinion in opinions:
        if opinion.winner is not None or opinion.search is not None:
            console.print(_facts_table(opinion))
        if opinion.search is not None:
            console.print(_best_table(record, opinion.symbol, opinion.search))
        if opinion.unknown:
            line = f"{opinion.symbol}: the trials were not run again: {opinion.unknown}"
            console.print(line, style="dim", highlight=False, soft_wrap=True, markup=False)


def evidence_line(found: SymbolEvidence) -> str:
    """Return trials, noise, timing and overfitting of one symbol in a sentence."""
    tested, pbo = found.maximum, found.overfitting.probability
    unknown = f", {tested.unsketched:,.0f} of them by their number alone" if tested.unsketched else ""
    return (
        f"{found.symbol}: the ledger counts {found.counted:,} trials on {found.family} over these dates"
        f"{unknown}. The best of them without skill would reach a timing Sharpe of {tested.chance:.2f}; the "
        f"winner has {ratio(found.timing_sharpe)}, p-value {percent(tested.p_value)}. {tested.survivors:,} "
        f"variants of this search pass at 5%. PBO {'not measured' if pbo is None else percent(pbo)}, "
        f"deflated Sharpe {percent(tested.dsr)} (about {tested.effective:,.0f} independent trials)"
    )


def record_facts(found: WinnerOpinion) -> list[tuple[str, str, str]]:
    """Return what is said of the winner's record: name, note, value."""
    return [
        ("Sharpe ratio of the test account", f"over {ratio(found.years, 1)} years", ratio(found.sharpe)),
        ("probability that it is above zero", "as if sessions were independent", percent(found.above_zero)),
        (
            "the same with autocorrelation",
            f"error over blocks: {ratio(found.wider)} times the plain one",
            percent(found.over_blocks),
        ),
        (
            "minimum track record",
            "until this ratio is above zero with 95% confidence",
            years_or_never(found.track_record),
        ),
        (
            "minimum backtest length",
            "below it as many independent trials without skill are expected to show this ratio",
            years_or_never(found.backtest),
        ),
    ]


def order_facts(found: OtherOrders | None) -> list[tuple[str, str, str]]:
    """Return what is said of other orders of the winner's trades; nothing where they are not known."""
    if found is None:
        return []
    shuffled, drawn = found.shuffled, found.drawn
    return [
        ("drawdown of its trades", "in the order in which they came", usd(-shuffled.drawdown)),
        (
            "in one order of twenty",
            f"the same trades shuffled; {percent(shuffled.worse)} of orders fall deeper than the real one",
            usd(-shuffled.drawdown_quantile(0.95)),
        ),
        (
            "net P&L, one draw in twenty",
            f"as many trades drawn from them; {percent(drawn.lost)} of the draws lose",
            usd(drawn.profit_quantile(0.05)),
        ),
    ]


def search_facts(found: SearchOpinion) -> list[tuple[str, str, str]]:
    """Return what is said of all trials: name, note, value."""
    return [
        (
            "SPA against the market",
            f"p-value: no trial beats holding as much, blocks of {found.block} sessions (Hansen)",
            percent(found.spa),
        ),
        ("reality check", "the same, with every bad trial counted (White)", percent(found.white)),
        (
            "trials that beat it",
            f"of {found.trials:,}, with at most 5% risk of one false among them (Romano and Wolf)",
            f"{found.superior:,}",
        ),
    ]


def second_opinions(found: SymbolDiagnostics) -> list[tuple[str, str, str]]:
    """Return all that is known of a symbol's winner and trials: name, note, value."""
    return [*record_opinions(found), *other_opinions(found)]


def record_opinions(found: SymbolDiagnostics) -> list[tuple[str, str, str]]:
    """Return what is known of the winner's record."""
    return [] if found.winner is None else record_facts(found.winner)


def other_opinions(found: SymbolDiagnostics) -> list[tuple[str, str, str]]:
    """Return what is known of all trials, and of other orders of the winner's trades."""
    search = [] if found.search is None else search_facts(found.search)
    return search if found.winner is None else [*search, *order_facts(found.winner.orders)]


def _facts_table(found: SymbolDiagnostics) -> TextTable:
    table = TextTable("", prose(""), number(""), title=f"second opinions on {found.symbol}", head=False)
    for fact in second_opinions(found):
        table.add_row(*fact)
    return table


SEARCH_HEAD = ("timing Sharpe", "p alone", "p step-down", "p Holm", "false discovery rate")


def search_row(found: SearchOpinion, place: int) -> tuple[str, ...]:
    """Return the measures of `SEARCH_HEAD` of one of the best."""
    each = found.best[place]
    return (
        ratio(each.timing),
        *(f"{value:.3f}" for value in (each.alone, each.step_down, each.holm, each.rate)),
    )


def _best_table(record: Record, symbol: str, found: SearchOpinion) -> TextTable:
    title = f"the best against as much of {symbol}, held all the time"
    table = TextTable(number("#"), prose("parameters"), *map(number, SEARCH_HEAD), title=title)
    for place, each in enumerate(found.best):
        parameters = json.loads(record.plan.space.variant(each.variant).parameters)
        named = ", ".join(f"{path} {spelled(value)}" for path, value in parameters.items())
        table.add_row(str(place + 1), named, *search_row(found, place))
    return table
