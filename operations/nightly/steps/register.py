"""Winners that are written down for forward evidence: few, by rules, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from lockstep.market.history import History
from lockstep.market.loader import load_history
from operations.contenders import ExperimentOrigin, enrol, of_experiment, terms_of
from operations.nightly.context import REGISTERED, NightContext, NightStep, read_json, write_json
from operations.nightly.steps.candidates import PROPOSER
from research.ledger.candidates import CandidateTerms, ForwardCandidate, candidates
from research.pipeline.graph import Inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class NightWinner:
    """The winner of a search of the night, and what a registration would freeze of it."""

    experiment: int
    trades: int
    origin: ExperimentOrigin
    history: History
    terms: CandidateTerms


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the rules, and who was registered before the night.

    Not what became of them: the night itself decides that later.
    """
    rules = context.config.registrations.model_dump(mode="json")
    return [context.night, rules, [each.name for each in _before(context)]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Register what the rules allow, and write down what was refused and why."""
    winners, refused = [], list[str]()
    for each in read_json(read, "verify")["results"]:
        if each["variant"] is not None:
            try:
                winners.append(_winner(context, each))
            except LockstepError as error:
                refused.append(f"{each['name']}: {error}")
    chosen, reasons = choose(context, winners)
    done = [_registered(context, each) for each in chosen]
    content = {
        "winners": [_about(each.terms) for each in winners], "registered": done,
        "refused": [*refused, *reasons], "budget": _budget(context),
    }  # fmt: skip
    write_json(folder, "register", content)
    if done:
        return f"registered {', '.join(each['name'] for each in done)}"
    return f"nothing registered: {(*reasons, *refused, 'no search of tonight has a winner')[0]}"


def choose(context: NightContext, winners: Sequence[NightWinner]) -> tuple[list[NightWinner], list[str]]:
    """Return the winners that are registered, the best history first, and why the others are not.

    What this night registered before it was killed is left out of account: it is chosen again.
    """
    rules, before = context.config.registrations, _before(context)
    reasons = list(_not_now(context, before))
    if reasons or not winners:
        return [], reasons
    known = {(each.hash, each.symbol): each.name for each in before}
    chosen: list[NightWinner] = []
    for each in sorted(winners, key=lambda one: (-one.terms.e_history, one.experiment)):
        terms = each.terms
        if (terms.hash, terms.symbol) in known:
            reasons.append(
                f"{terms.name}: is {known[terms.hash, terms.symbol]}, which was registered already"
            )
        elif each.trades < rules.least_trades:
            reasons.append(
                f"{terms.name}: has {each.trades:,} trades on its test dates, and {rules.least_trades:,} are "
                "the least"
            )
        elif terms.e_history < rules.least_history:
            reasons.append(
                f"{terms.name}: its history is worth {terms.e_history:.3g} after {_tried(terms)}, and "
                f"{rules.least_history:g} is the least"
            )
        elif len(chosen) >= rules.most_per_night:
            reasons.append(f"{terms.name}: a night registers at most {rules.most_per_night}")
        else:
            chosen.append(each)
            known[terms.hash, terms.symbol] = terms.name
    return chosen, reasons


def _tried(terms: CandidateTerms) -> str:
    return "a search without a bound" if terms.trials is None else f"{terms.trials:,} trials"


def _not_now(context: NightContext, before: Sequence[ForwardCandidate]) -> Iterator[str]:
    """Yield why tonight registers nothing, whatever it found."""
    rules, night = context.config.registrations, date.fromisoformat(context.night)
    if rules.most_per_night == 0:
        yield "the configuration registers nothing"
    own = [each for each in context.effects.all() if each.kind == REGISTERED and each.night < context.night]
    if own:
        newest = max(date.fromisoformat(each.night) for each in own)
        if night - newest < timedelta(days=rules.days_between):
            yield f"the last registration was in night {newest}, less than {rules.days_between} days before"
    year = context.now().year
    spent = [each for each in before if each.year == year]
    most = round(1 / spent[0].weight) if spent else rules.per_year
    if most != rules.per_year:
        yield f"the first registration of {year} decided on {most} a year, and per_year is {rules.per_year}"
    if len(spent) >= most:
        yield f"all {most} registrations of {year} are spent"


def _before(context: NightContext) -> list[ForwardCandidate]:
    """Return the candidates that there were before this night registered any."""
    own = {each.content["name"] for each in context.tonight(REGISTERED)}
    return [each for each in candidates(context.lab.ledger) if each.name not in own]


def _winner(context: NightContext, result: Mapping[str, Any]) -> NightWinner:
    origin = of_experiment(context.lab, result["experiment"], result["symbol"])
    contender, book = origin.contender, context.lab.book
    history = load_history(
        contender.symbol, origin.data_dir, timeframe=contender.config.bars, context=contender.keys(book),
        book=book, source=origin.source,
    )  # fmt: skip
    name = f"{result['name'].removeprefix('night ').replace(' ', '_')}_{contender.hash[:8]}"
    terms = terms_of(
        contender, history, origin.span, origin.provenance, name=name,
        family=context.lab.family(contender.symbol),
    )  # fmt: skip
    return NightWinner(
        experiment=result["experiment"], trades=int(result["trades"] or 0), origin=origin, history=history,
        terms=terms,
    )  # fmt: skip


def _registered(context: NightContext, winner: NightWinner) -> dict[str, Any]:
    """Register a winner once, whatever night asks and however often it dies on the way."""
    terms, ledger = winner.terms, context.lab.ledger
    content = {"name": terms.name, "experiment": winner.experiment, "proposer": PROPOSER}

    def act() -> str:
        if all(each.name != terms.name for each in candidates(ledger)):
            origin = winner.origin
            enrol(
                ledger, origin.contender, winner.history, origin.span, origin.provenance, name=terms.name,
                family=terms.family, now=context.now(), per_year=context.config.registrations.per_year,
            )  # fmt: skip
        return terms.name

    subject = f"{terms.hash} {terms.symbol}"
    context.effects.once(context.night, REGISTERED, subject, content, act)
    return {**_about(terms), "experiment": winner.experiment}


def _about(terms: CandidateTerms) -> dict[str, Any]:
    return {
        "name": terms.name, "symbol": terms.symbol, "hash": terms.hash, "searched": terms.searched,
        "trials": terms.trials, "p_value": terms.p_value, "e_history": terms.e_history,
    }  # fmt: skip


def _budget(context: NightContext) -> dict[str, int]:
    year = context.now().year
    known = [each for each in candidates(context.lab.ledger) if each.year == year]
    most = round(1 / known[0].weight) if known else context.config.registrations.per_year
    return {"year": year, "spent": len(known), "of": most}


STEP: NightStep = NightStep(
    name="register", module=__name__, needs=("verify",), ingredients=ingredients, work=work
)
