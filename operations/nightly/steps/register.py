"""Winners that are written down for forward evidence: few, by rules, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

from lockstep.errors import LockstepError
from lockstep.market.history import History
from lockstep.market.loader import load_history
from operations.agents.registration import register_winner
from operations.contenders import (
    CandidateOrigin,
    ExperimentOrigin,
    HistoryWorth,
    enrol,
    measured,
    of_experiment,
)
from operations.nightly.context import REGISTERED, NightContext, NightStep, read_json, write_json
from operations.nightly.sessions import book_of, said_by_gate
from operations.nightly.steps.candidates import PROPOSER
from research.agents.database import REGISTERED as IN_BOOK
from research.agents.gate import FORWARD, PASSED
from research.experiments.execution import Lab
from research.ledger.candidates import ForwardCandidate, candidates
from research.pipeline.graph import Inputs

_AGENTS = CandidateOrigin(searched="adaptive", trials=None)


@dataclass(frozen=True, kw_only=True)
class NightWinner:
    """The winner of a search of the night: what is known of it before its history is weighed.

    experiment   of the search; session: of the agents; one of them is None
    """

    name: str
    experiment: int | None = None
    session: int | None = None
    symbol: str
    hash: str
    trades: int

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Return the winner of a result of `verify`."""
        name = f"{result['name'].removeprefix('night ').replace(' ', '_')}_{result['hash'][:8]}"
        return cls(
            name=name, experiment=result["experiment"], symbol=result["symbol"], hash=result["hash"],
            trades=int(result["trades"] or 0),
        )  # fmt: skip

    @classmethod
    def of_session(cls, judged: Mapping[str, Any]) -> Self:
        """Return the winner of a session of agents that `gate` did not refuse."""
        return cls(
            name=judged["name"], session=judged["session"], symbol=judged["symbol"], hash=judged["hash"],
            trades=int(judged["trades"] or 0),
        )  # fmt: skip

    @property
    def place(self) -> tuple[bool, int]:
        """Its place among winners of equal worth: searches by number, then sessions by number."""
        return self.experiment is None, self.experiment or self.session or 0


@dataclass(frozen=True, kw_only=True, eq=False)
class WeighedWinner:
    """A winner, how it was found, and what its history is worth after all that was tried.

    past   of a search: where it comes from, and its bars; None for a session, whose history counts nothing
    """

    winner: NightWinner
    provenance: CandidateOrigin
    worth: HistoryWorth
    past: tuple[ExperimentOrigin, History] | None = None

    @classmethod
    def of(cls, lab: Lab, winner: NightWinner) -> Self:
        """Trade the winner of a search over its history again; LockstepError where that cannot be done."""
        if winner.experiment is None:
            return cls(winner=winner, provenance=_AGENTS, worth=HistoryWorth(p_value=None, e_value=1.0))
        origin = of_experiment(lab, winner.experiment, winner.symbol)
        contender, book = origin.contender, lab.book
        history = load_history(
            contender.symbol, origin.data_dir, timeframe=contender.config.bars, context=contender.keys(book),
            book=book, source=origin.source,
        )  # fmt: skip
        worth = HistoryWorth.of(measured(contender, history, origin.span), origin.provenance)
        return cls(winner=winner, provenance=origin.provenance, worth=worth, past=(origin, history))

    @property
    def plain(self) -> dict[str, Any]:
        """What the step writes of it, for the page and for machines."""
        return {
            "name": self.winner.name, "symbol": self.winner.symbol, "hash": self.winner.hash,
            "searched": self.provenance.searched, "trials": self.provenance.trials,
            "p_value": self.worth.p_value, "e_history": self.worth.e_value,
        }  # fmt: skip


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the rules, and who was registered before the night.

    Not what became of them: the night itself decides that later.
    """
    rules = context.config.registrations.model_dump(mode="json")
    return [context.night, rules, _enough(context), [each.name for each in _before(context)]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Register what the rules allow, and write down what was refused and why."""
    results = read_json(read, "verify")["results"]
    winners = [NightWinner.of(each) for each in results if each["variant"] is not None]
    judged, enough = read_json(read, "gate").get("sessions", ()), _enough(context)
    winners += [
        NightWinner.of_session(each) for each in judged if each["verdict"] in enough.get(each["space"], ())
    ]
    found = choose(context, winners)
    done = [_registered(context, each) for each in found.chosen]
    reasons = [*found.reasons, *_turned_away(judged, enough)]
    content = {
        "weighed": [each.plain for each in found.weighed], "registered": done, "refused": reasons,
        "budget": _budget(context),
    }  # fmt: skip
    write_json(folder, "register", content)
    if done:
        return f"registered {', '.join(each['name'] for each in done)}"
    return f"nothing registered: {(*reasons, 'no search of tonight has a winner')[0]}"


def _enough(context: NightContext) -> dict[str, tuple[str, ...]]:
    """Return, by the name of a space, what its gate may say of a winner that is registered."""
    verdicts = {"passed": (PASSED,), "forward": (PASSED, FORWARD)}
    return {each.name: verdicts[each.registers] for each in context.config.explored}


def _turned_away(
    judged: Sequence[Mapping[str, Any]], enough: Mapping[str, Sequence[str]]
) -> Iterator[str]:  # fmt: skip
    """Yield why winners of sessions of agents are not even weighed."""
    for each in judged:
        if each["verdict"] in enough.get(each["space"], ()):
            continue
        how = "; the space registers what passed" if each["verdict"] == FORWARD else ""
        yield f"session {each['session']} of agents: {said_by_gate(each)}{how}"


@dataclass(frozen=True, kw_only=True, eq=False)
class NightChoice:
    """Whose history was weighed, which of them are registered, and why the others are not, a line each."""

    weighed: Sequence[WeighedWinner] = ()
    chosen: Sequence[WeighedWinner] = ()
    reasons: Sequence[str] = ()


def choose(context: NightContext, winners: Sequence[NightWinner]) -> NightChoice:
    """Return the winners that are registered, the best history first, and why the others are not.

    A history is weighed, which takes a moment, where it could decide: not where nothing may be registered
    tonight, nor of a winner that is known or trades too little. What this night registered before it was
    killed, or while a session of agents could not be made, is chosen again, before any other.
    """
    rules, before = context.config.registrations, _before(context)
    own = {each.content["name"] for each in context.tonight(REGISTERED)}
    reasons = list(_not_now(context, before))
    if reasons:
        return NightChoice(reasons=reasons)
    known = {(each.hash, each.symbol): each.name for each in before}
    weighed = list[WeighedWinner]()
    for each in winners:
        if reason := _out_of_question(each, known, rules.least_trades):
            reasons.append(reason)
            continue
        try:
            weighed.append(WeighedWinner.of(context.lab, each))
        except LockstepError as error:
            reasons.append(f"{each.name}: {error}")
    chosen, gone = list[WeighedWinner](), own - {each.winner.name for each in weighed}
    for found in sorted(
        weighed, key=lambda one: (one.winner.name not in own, -one.worth.e_value, one.winner.place)
    ):
        winner, worth = found.winner, found.worth.e_value
        if reason := _out_of_question(winner, known, rules.least_trades):
            reasons.append(reason)
        elif worth < rules.least_history:
            reasons.append(
                f"{winner.name}: its history is worth {worth:.3g} after {_tried(found.provenance)}, and "
                f"{rules.least_history:g} is the least"
            )
        elif len(gone) + len(chosen) >= rules.most_per_night:
            reasons.append(f"{winner.name}: a night registers at most {rules.most_per_night}")
        else:
            chosen.append(found)
            known[winner.hash, winner.symbol] = winner.name
    return NightChoice(weighed=weighed, chosen=chosen, reasons=reasons)


def _out_of_question(winner: NightWinner, known: Mapping[tuple[str, str], str], least: int) -> str:
    """Return why a winner is not registered, whatever its history is worth; empty where that decides."""
    if (winner.hash, winner.symbol) in known:
        return f"{winner.name}: is {known[winner.hash, winner.symbol]}, which was registered already"
    if winner.trades < least:
        return (
            f"{winner.name}: has {winner.trades:,} trades on its test dates, and {least:,} are the least; "
            "its history was not weighed"
        )
    return ""


def _tried(provenance: CandidateOrigin) -> str:
    trials = provenance.trials
    return "a search without a bound" if trials is None else f"{trials:,} trials"


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


def _registered(context: NightContext, found: WeighedWinner) -> dict[str, Any]:
    """Register a winner once, whatever night asks and however often it dies on the way."""
    winner = found.winner
    origin = {"experiment": winner.experiment} if winner.session is None else {"session": winner.session}
    content = {"name": winner.name, "proposer": PROPOSER, **origin}

    def act() -> str:
        if winner.session is not None:
            _enrol_of_session(context, winner.name, winner.session)
        elif all(each.name != winner.name for each in candidates(context.lab.ledger)):
            _enrol_of_search(context, found)
        return winner.name

    subject = f"{winner.hash} {winner.symbol}"
    context.effects.once(context.night, REGISTERED, subject, content, act)
    return {**found.plain, **origin}


def _enrol_of_session(context: NightContext, name: str, number: int) -> None:
    book = book_of(context)
    if IN_BOOK not in book.session(number).events:
        most = context.config.registrations.per_year
        register_winner(book, number, name=name, per_year=most, instruments=context.lab.book)


def _enrol_of_search(context: NightContext, found: WeighedWinner) -> None:
    assert found.past is not None
    origin, history = found.past
    enrol(
        context.lab.ledger, origin.contender, history, origin.span, origin.provenance,
        name=found.winner.name, family=context.lab.family(found.winner.symbol), now=context.now(),
        per_year=context.config.registrations.per_year,
    )  # fmt: skip


def _budget(context: NightContext) -> dict[str, int]:
    year = context.now().year
    known = [each for each in candidates(context.lab.ledger) if each.year == year]
    most = round(1 / known[0].weight) if known else context.config.registrations.per_year
    return {"year": year, "spent": len(known), "of": most}


STEP: NightStep = NightStep(
    name="register", module=__name__, needs=("verify",), after=("gate",), ingredients=ingredients, work=work
)
