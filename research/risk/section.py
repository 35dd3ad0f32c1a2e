"""`RiskMeasure`: what the risk page shows beside value at risk. A new part is one plug in `RISK_PARTS`.

A measure looks at the subject and returns a part, or None where it has nothing to say of it. Its errors are
sentences on the page: a part that cannot be measured does not take the others with it.

Example, in a module of its own that the command imports:

    class LongestPosition:
        name = "longest_position"

        def measure(self, subject: RiskSubject) -> RiskPart | None: ...

    RISK_PARTS.register(LongestPosition())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup
from rich.console import RenderableType

from lockstep.errors import LockstepError
from lockstep.plugs import Registry
from research.report import page
from research.risk.subject import RiskSubject


@dataclass(frozen=True, kw_only=True)
class RiskPart:
    """One part of the risk page, of the terminal's output and of `risk.json`.

    title     heading of the part on the page
    cards     of the page kit (`page.card`), in their order
    content   plain JSON, under the measure's name in `risk.json`; a number that is not finite is None
    lines     sentences for the terminal; tables: for the terminal, before them
    failed    whether a gate of this part has failed: the command then exits with 1
    """

    title: str
    cards: Sequence[Markup]
    content: Mapping[str, Any]
    lines: Sequence[str] = ()
    tables: Sequence[RenderableType] = ()
    failed: bool = False


class RiskMeasure(Protocol):
    """A plug: `name` is its key in `risk.json`."""

    name: str

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        """Return the part, or None where there is nothing to say; errors of the house become its sentence."""


RISK_PARTS: Registry[RiskMeasure] = Registry("part of the risk page", name=lambda measure: measure.name)
"""Parts of the page after value at risk, in their order."""


def measured_parts(subject: RiskSubject) -> dict[str, RiskPart]:
    """Return every part that has something to say of a subject, by name."""
    found = {name: part_of(RISK_PARTS[name], subject) for name in RISK_PARTS}
    return {name: part for name, part in found.items() if part is not None}


def part_of(measure: RiskMeasure, subject: RiskSubject) -> RiskPart | None:
    """Return what a measure says of a subject; where it refuses, the sentence that it refuses with."""
    try:
        return measure.measure(subject)
    except LockstepError as error:
        title, sentence = measure.name.replace("_", " ").capitalize(), str(error)
        return RiskPart(
            title=title,
            cards=(page.card(title, page.empty_block(sentence), classes="wide"),),
            content={"refused": sentence},
            lines=(f"{title}: {sentence}",),
        )
