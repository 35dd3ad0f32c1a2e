"""Messages of nights: each goes to every sink, never twice, and again where a sink refused it.

A message is one effect per sink, so that what one of them took is not sent to it again because another one
was down. Where nobody knows whether a sink took it, it is not sent again; the page says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.errors import AlertFailed, LockstepError
from lockstep.live.config import AlertSettings
from lockstep.monitoring.alerts import Alert, LogSinkSettings, SinkSettings
from lockstep.secrets import Secrets
from research.pipeline.effects import NightEffect, NightEffects

if TYPE_CHECKING:
    from operations.nightly.context import NightContext

TOLD = "message"


@dataclass(frozen=True, kw_only=True)
class OpenMessage:
    """A message that a sink refused, or of which nobody knows whether it came.

    refusal   why it was refused; empty where nobody knows
    """

    subject: str
    sink: str
    night: str
    refusal: str

    def __str__(self) -> str:
        if self.refusal:
            return (
                f"message of {self.subject}, night {self.night}: not delivered by {self.sink}: "
                f"{self.refusal}; the next start sends it again"
            )
        return (
            f"message of {self.subject}, night {self.night}: nobody knows whether {self.sink} took it; it "
            "is not sent again"
        )


def send(context: NightContext, messages: Mapping[str, str]) -> None:
    """Send what is new of some messages, and what was refused of any night before; each attempt is a row.

    messages   sentence by subject, which names it for good
    """
    sinks = sinks_of(context.config.alerts)
    for subject, sentence in {**_refused(context.effects), **messages}.items():
        for name in _wanted(context.effects, subject, list(sinks)):
            if name in sinks:
                content = {"message": subject, "sentence": sentence, "sink": name, "sinks": list(sinks)}
                context.effects.at_most_once(
                    context.night, TOLD, _by(subject, name), content, _sender(context, sinks[name], sentence)
                )


def open_messages(effects: NightEffects, alerts: AlertSettings) -> Sequence[OpenMessage]:
    """Return the messages of all nights that are open; those to a sink that is declared no more are not."""
    names, found, begun = set(sinks_of(alerts)), [], dict[str, str]()
    for each in effects.all():
        begun.setdefault(each.subject, each.night)
    for each in effects.newest():
        refused = bool(each.refusal) and each.content.get("sink") in names
        if each.kind == TOLD and (refused or each.outcome is None):
            sink = str(each.content.get("sink", "any sink"))
            found.append(
                OpenMessage(
                    subject=_message(each), sink=sink, night=begun[each.subject], refusal=each.refusal
                )
            )
    return found


def undelivered(effects: NightEffects, alerts: AlertSettings) -> list[str]:
    """Return what sinks refused, a line for each sink and reason: one that is down refuses all alike."""
    refused = [(each.sink, each.refusal) for each in open_messages(effects, alerts) if each.refusal]
    return [
        f"{_messages(refused.count((sink, why)))} not delivered by {sink}: {why}; the next start tries again"
        for sink, why in dict.fromkeys(refused)
    ]


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def open_effects(effects: NightEffects, alerts: AlertSettings) -> dict[str, list[str]]:
    """Return the messages of all nights that are `undelivered`, and the effects whose end is `unknown`."""
    messages = open_messages(effects, alerts)
    begun = [each for each in effects.newest() if each.outcome is None and each.kind != TOLD]
    return {
        "undelivered": [str(each) for each in messages if each.refusal],
        "unknown": [
            *(str(each) for each in messages if not each.refusal),
            *(f"{each.kind} of {each.subject}, night {each.night}: begun, and its end is not known"
              for each in begun),
        ],
    }  # fmt: skip


def sinks_of(alerts: AlertSettings) -> dict[str, SinkSettings]:
    """Return the log of the process and the declared sinks, by a name of their own."""
    found: dict[str, SinkSettings] = {"log": LogSinkSettings()}
    for each in alerts.sinks:
        if isinstance(each, LogSinkSettings):
            continue
        kind = str(each.kind)
        same = sum(name == kind or name.startswith(f"{kind} ") for name in found)
        found[f"{kind} {same + 1}" if same else kind] = each
    return found


def _refused(effects: NightEffects) -> dict[str, str]:
    return {
        _message(each): str(each.content["sentence"])
        for each in effects.newest()
        if each.kind == TOLD and each.refusal
    }


def _wanted(effects: NightEffects, subject: str, sinks: Sequence[str]) -> Sequence[str]:
    """Return the sinks of a message: those that there were when it was first sent, or that there are now."""
    first = (each for each in effects.all() if each.kind == TOLD and _message(each) == subject)
    known = next(first, None)
    return sinks if known is None else list(known.content.get("sinks", ()))


def _message(effect: NightEffect) -> str:
    return str(effect.content.get("message", effect.subject))


def _by(subject: str, sink: str) -> str:
    return f"{subject}, by {sink}"


def _sender(context: NightContext, settings: SinkSettings, sentence: str) -> Callable[[], str | None]:
    def send_it() -> str | None:
        try:
            sink = settings.sink(Secrets(os.environ).read)
        except LockstepError as error:
            return str(error)
        try:
            sink.send(Alert("monitor", sentence, int(context.now().timestamp()) * 1_000_000_000))
        except AlertFailed as error:
            return None if error.perhaps else str(error)
        return ""

    return send_it
