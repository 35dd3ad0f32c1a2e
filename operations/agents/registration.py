"""The winner of a session becomes a candidate: an adaptive one, whose history is worth nothing."""

from __future__ import annotations

from pathlib import Path

from lockstep.errors import AgentError
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.strategy.families.rules import RulesConfig
from operations.contenders import CandidateOrigin, Contender, enrol
from research.agents.database import GATE, REGISTERED, AgentBook, SessionRecord
from research.agents.gate import REFUSED, winner_of
from research.ledger.candidates import ForwardCandidate, candidate_named, candidates


def candidate_of(record: SessionRecord, name: str = "") -> RulesConfig:
    """Return the frozen winner of a session under the name that it has as a candidate.

    name   "" for one made of symbol, session and trial

    AgentError where the session is not complete, or found nothing.
    """
    winner = winner_of(record)
    chosen = name or f"agents_{record.plan.settings.symbol}_{record.id}_{winner['number']}"
    return RulesConfig.model_validate(winner["config"]).replaced(name=chosen)


def register_winner(
    book: AgentBook,
    number: int,
    *,
    name: str = "",
    per_year: int | None = None,
    instruments: InstrumentBook | None = None,
) -> ForwardCandidate:
    """Register the frozen winner of a session for forward evidence, once; returns the candidate.

    name   of the candidate; "" for one made of symbol, session and trial

    AgentError where the session was not judged, was refused by its gate, or is registered already.
    """
    record = book.session(number)
    winner = winner_of(record)
    if GATE not in record.events:
        raise AgentError(f"session {number}: was not judged yet; `lockstep agents gate {number}` does it")
    if record.events[GATE]["verdict"] == REFUSED:
        raise AgentError(
            f"session {number}: its gate refused it, {record.events[GATE]['reason']}; a registration would "
            "spend a share of the year's budget on it: search again, on other ideas"
        )
    if REGISTERED in record.events:
        raise AgentError(
            f"session {number}: its winner is registered as {record.events[REGISTERED]['candidate']}"
        )
    settings, ledger = record.plan.settings, book.ledger
    config = candidate_of(record, name)
    contender, chosen = Contender.of_strategy(config, settings.symbol), config.name
    known = [each for each in candidates(ledger) if (each.hash, each.name) == (contender.hash, chosen)]
    if not known:
        market = instruments or load_instruments()
        history = load_history(
            settings.symbol,
            None if settings.data_dir is None else Path(settings.data_dir),
            timeframe=config.bars, context=contender.keys(market), book=market, source=settings.source,
        )  # fmt: skip
        span = DateRange(start=record.plan.train.start, end=record.plan.validation.end)
        enrol(
            ledger, contender, history, span, CandidateOrigin(searched="adaptive", trials=None),
            name=chosen, family=record.plan.family, now=book.now(), per_year=per_year,
        )  # fmt: skip
    book.happened(record, REGISTERED, {"candidate": chosen, "trial": winner["number"]})
    return candidate_named(ledger, chosen)
