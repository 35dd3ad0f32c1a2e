"""What became of the candidates: promoted, retired, at risk; each event is written, logged and told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from operations.candidates import attach_forward, decisions
from operations.candidates_log import log_candidates
from operations.nightly.context import (
    EVENT,
    REGISTERED,
    NightContext,
    NightStep,
    event_subject,
    write_json,
)
from operations.nightly.telling import open_messages, send
from research.ledger.candidates import ForwardCandidate, ForwardEvent, candidates, happened, sessions_of
from research.pipeline.graph import Inputs

ATTACHED = "attach"

Told = tuple[ForwardCandidate, ForwardEvent]


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: who is open, the log's place, alerts that were refused.

    So what a sink refused is sent again by the next start, and by no step where nothing was refused.
    """
    alerts = context.config.alerts
    refused = [str(each) for each in open_messages(context.effects, alerts) if each.refusal]
    return [
        context.night, [each.name for each in context.candidates()], str(context.config.log),
        alerts.model_dump(mode="json"), refused, len(context.effects.all()) if refused else 0,
    ]  # fmt: skip


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Decide by what is scored now; an event of a night that was killed is completed."""
    known = _written(context)
    for each in context.candidates():
        dates, residuals = sessions_of(context.lab.ledger, each)
        # What a night wrote down before it died comes first: then all is as if it had not.
        before = [event for event in each.events if event_subject(each, event.kind) in known]
        for event in (*before, *decisions(each, dates.tolist(), residuals)):
            _once(context, each, event)
    decided = list(_decided(context))
    troubles = list(_attached(context, decided))
    log_candidates(context.lab.ledger, context.config.log)
    send(context, {**_of_events(decided), **_of_registrations(context)})
    tonight = {each.subject for each in context.tonight(EVENT)}
    events = [_about(*each) for each in decided if event_subject(each[0], each[1].kind) in tonight]
    write_json(folder, "decide", {"events": events, "troubles": troubles})
    if not events:
        return "nothing promoted and nothing retired"
    return "; ".join(each["sentence"] for each in events)


def _once(context: NightContext, candidate: ForwardCandidate, event: ForwardEvent) -> None:
    """Write an event down, once."""

    def act() -> str:
        if _again(context, candidate).event(event.kind) is None:
            happened(context.lab.ledger, candidate, [event], now=context.now())
        return event.kind

    subject = event_subject(candidate, event.kind)
    context.effects.once(context.night, EVENT, subject, {"reason": event.reason}, act)


def _written(context: NightContext) -> set[str]:
    return {each.subject for each in context.effects.all() if each.kind == EVENT}


def _again(context: NightContext, candidate: ForwardCandidate) -> ForwardCandidate:
    return next(each for each in candidates(context.lab.ledger) if each.id == candidate.id)


def _decided(context: NightContext) -> Iterator[Told]:
    """Yield every event that a night decided, whichever it was: what follows from it may be missing."""
    known = _written(context)
    for each in candidates(context.lab.ledger):
        for event in each.events:
            if event_subject(each, event.kind) in known:
                yield each, event


def _attached(context: NightContext, decided: list[Told]) -> Iterator[str]:
    """Attach what events say of versions of models; yield why one could not be, which stops no other."""
    for candidate, event in decided:
        if candidate.kind != "model":
            continue
        kinds = {each.kind for each in candidate.events}
        sessions = sessions_of(context.lab.ledger, candidate)[1].size

        def attach(each: ForwardCandidate = candidate, kinds: set[str] = kinds, count: int = sessions) -> str:
            attach_forward(each, kinds, count, now=context.now(), by=context.by)
            return "attached"

        # Evidence may stand twice in a store, with the same content: what counts is the newest.
        try:
            context.effects.once(context.night, ATTACHED, event_subject(candidate, event.kind), {}, attach)
        except LockstepError as error:
            yield f"candidate {candidate.name}: its forward evidence is not attached: {error}"


def _of_events(decided: list[Told]) -> dict[str, str]:
    return {event_subject(each, event.kind): _about(each, event)["sentence"] for each, event in decided}


def _of_registrations(context: NightContext) -> dict[str, str]:
    return {
        f"{each.content['name']} registered": f"{each.night} {each.content['name']} registered for forward "
        f"evidence, from {_origin(each.content)}"
        for each in context.tonight(REGISTERED)
    }


def _origin(content: Mapping[str, Any]) -> str:
    if "session" in content:
        return f"session {content['session']} of agents"
    return f"experiment {content['experiment']}"


def _about(candidate: ForwardCandidate, event: ForwardEvent) -> dict[str, Any]:
    sentence = f"{event.session} {candidate.name} {event.kind}: {event.reason}"
    return {
        "name": candidate.name, "symbol": candidate.symbol, "kind": event.kind,
        "session": str(event.session), "evidence": event.evidence, "sentence": sentence,
    }  # fmt: skip


STEP: NightStep = NightStep(
    name="decide",
    module=__name__,
    needs=("forward",),
    after=("register",),
    ingredients=ingredients,
    work=work,
)
