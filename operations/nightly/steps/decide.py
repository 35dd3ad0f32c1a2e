"""What became of the candidates: promoted, retired, at risk; each event is written, logged and told once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lockstep.errors import AlertFailed
from lockstep.live.secret import Secrets
from lockstep.monitoring.alerts import Alert, LogSink, LogSinkSettings, Sink
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
from research.ledger.candidates import ForwardCandidate, ForwardEvent, happened, sessions_of
from research.pipeline.effects import Happened
from research.pipeline.graph import Inputs

ATTACHED, TOLD = "attach", "message"


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: who is open, the log's place, where alerts go."""
    return [
        context.night, [each.name for each in context.candidates()], str(context.config.log),
        context.config.alerts.model_dump(mode="json"),
    ]  # fmt: skip


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Decide by what is scored now; an event of a night that was killed is completed."""
    found, unknown = [], list[str]()
    for each in context.candidates():
        dates, residuals = sessions_of(context.lab.ledger, each)
        for event in decisions(each, dates.tolist(), residuals):
            _once(context, each, event)
    for each in context.candidates():
        for event in each.events:
            if context.effects.find(EVENT, event_subject(each, event.kind)) is not None:
                found.append(_about(each, event))
                unknown += _followed(context, each, event)
    for effect in context.tonight(REGISTERED):
        name = effect.content["name"]
        said = f"{context.night} {name} registered for forward evidence, from experiment " + str(
            effect.content["experiment"]
        )
        unknown += _told(context, f"{name} registered", said)
    log_candidates(context.lab.ledger, context.config.log)
    tonight = {each.subject for each in context.tonight(EVENT)}
    events = [each for each in found if f"{each['name']} {each['kind']}" in tonight]
    write_json(folder, "decide", {"events": events, "unknown": unknown})
    if not events:
        return "nothing promoted and nothing retired"
    return "; ".join(each["sentence"] for each in events)


def _once(context: NightContext, candidate: ForwardCandidate, event: ForwardEvent) -> None:
    """Write an event down, once."""

    def act() -> str:
        if all(each.kind != event.kind for each in _again(context, candidate).events):
            happened(context.lab.ledger, candidate, [event], now=context.now())
        return event.kind

    subject = event_subject(candidate, event.kind)
    context.effects.once(context.night, EVENT, subject, {"reason": event.reason}, act, repeatable=True)


def _again(context: NightContext, candidate: ForwardCandidate) -> ForwardCandidate:
    return next(each for each in context.candidates() if each.id == candidate.id)


def _followed(context: NightContext, candidate: ForwardCandidate, event: ForwardEvent) -> Iterator[str]:
    """Do what follows from an event: evidence, a message; yield what nobody knows."""
    subject = event_subject(candidate, event.kind)
    if candidate.kind == "model":
        kinds = {each.kind for each in candidate.events}
        sessions = sessions_of(context.lab.ledger, candidate)[1].size

        def attach() -> str:
            attach_forward(candidate, kinds, sessions, now=context.now(), by=context.by)
            return "attached"

        # Evidence may stand twice in a store, with the same content: what counts is the newest.
        context.effects.once(context.night, ATTACHED, subject, {}, attach, repeatable=True)
    yield from _told(context, subject, _about(candidate, event)["sentence"])


def _told(context: NightContext, subject: str, sentence: str) -> Iterator[str]:
    """Send an alert, once; yield where nobody knows whether it came."""
    content = {"sentence": sentence}
    done = context.effects.once(
        context.night, TOLD, subject, content, _sender(context, sentence), repeatable=False
    )
    if done is Happened.UNKNOWN:
        yield f"whether the message of {subject} was sent"


def _about(candidate: ForwardCandidate, event: ForwardEvent) -> dict[str, Any]:
    sentence = f"{event.session} {candidate.name} {event.kind}: {event.reason}"
    return {
        "name": candidate.name, "symbol": candidate.symbol, "kind": event.kind,
        "session": str(event.session), "evidence": event.evidence, "sentence": sentence,
    }  # fmt: skip


def _sender(context: NightContext, sentence: str) -> Callable[[], str]:
    def send() -> str:
        alert = Alert("monitor", sentence, int(context.now().timestamp()) * 1_000_000_000)
        failed = []
        for sink in sinks_of(context):
            try:
                sink.send(alert)
            except AlertFailed as error:
                failed.append(f"{sink.name}: {error}")
        return f"not delivered: {'; '.join(failed)}" if failed else "sent"

    return send


def sinks_of(context: NightContext) -> list[Sink]:
    """Return the log of the process and the declared sinks; LiveError where a secret is missing."""
    secrets = Secrets(os.environ)
    others = (each for each in context.config.alerts.sinks if not isinstance(each, LogSinkSettings))
    return [LogSink(), *(each.sink(secrets.read) for each in others)]


STEP: NightStep = NightStep(
    name="decide",
    module=__name__,
    needs=("forward",),
    after=("register",),
    ingredients=ingredients,
    work=work,
)
