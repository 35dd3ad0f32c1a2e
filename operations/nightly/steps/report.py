"""What the night was, for people and for machines: one page, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from operations.nightly.context import NightContext, NightStep, read_json, write_json
from operations.nightly.page import night_page
from operations.nightly.sessions import PAGES
from operations.nightly.telling import open_effects, undelivered
from research.pipeline.book import FAILED, NightBook
from research.pipeline.graph import Inputs
from research.report.page import write_page

PAGE = "report.html"
_MOST_EVENTS = 2
_READ = (
    "ingest", "quality", "features", "outcomes", "retrain", "candidates", "sweep", "verify", "agents", "gate",
    "register", "forward", "decide", "ab", "store",
)  # fmt: skip


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: why steps are missing, and effects that are open."""
    return [context.night, dict(_missing(context, read)), _open(context)]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Write the page and its JSON."""
    found = {name: read_json(read, name) for name in _READ}
    report = _report(context, read, found)
    write_json(folder, "report", report)
    write_page(folder / PAGE, f"Night of {context.night}", night_page(report))
    return str(report["sentence"])


def _report(context: NightContext, read: Inputs, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    events = found["decide"].get("events", [])
    results = found["verify"].get("results", [])
    missing = dict(_missing(context, read))
    troubles = [f"{name}: {why}" for name, why in missing.items()]
    troubles += [line for name in _READ for line in found[name].get("troubles", [])]
    troubles += undelivered(context.effects, context.config.alerts)
    registered = found["register"].get("registered", [])
    reasons = found["register"].get("refused", [])
    return {
        "night": context.night,
        "symbols": list(context.world.usable),
        "lead": "something needs you" if troubles else "complete",
        "sentence": _sentence(events, registered, reasons),
        "troubles": troubles,
        "spaces": found["candidates"].get("parts", []),
        "sessions": list(_sessions(found)),
        "session_notes": found["gate"].get("notes", []),
        "results": results,
        "winners": [each for each in results if each["variant"] is not None],
        "registered": registered,
        "refused": reasons,
        "budget": found["register"].get("budget"),
        "candidates": found["forward"].get("candidates", []),
        "events": events,
        "tests": found["ab"].get("tests", []),
        "outcomes": found["outcomes"].get("lanes", []),
        "signals": found["outcomes"].get("total"),
        "retrainings": found["retrain"].get("runs", []),
        "retraining_notes": found["retrain"].get("notes", []),
        **_open(context),
        "quality": [
            {"symbol": symbol, **each}
            for symbol, rows in found["quality"].get("findings", {}).items()
            for each in rows
        ],
        "steps": [
            {"step": name, "sentence": _said(read, name) or f"not made: {missing.get(name, '')}"}
            for name in _READ
        ],
    }


def _sessions(found: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield tonight's sessions of agents, each with the place of its page, seen from that of the night."""
    made = found["gate"] or found["agents"]
    for each in made.get("sessions", []):
        unjudged = {"verdict": "not judged", "reason": "its gate is missing"}
        yield {**unjudged, **each, "page": f"{PAGES}/session-{each['session']}.html"}


def _sentence(events: list[Any], registered: list[Any], reasons: list[str]) -> str:
    """Return the night in a sentence, and why nothing came of it where nothing did."""
    if len(events) > _MOST_EVENTS:
        kinds = dict.fromkeys(each["kind"] for each in events)
        return "; ".join(
            f"{kind}: {', '.join(each['name'] for each in events if each['kind'] == kind)}" for kind in kinds
        )
    if events:
        return "; ".join(each["sentence"] for each in events)
    if registered:
        names = ", ".join(each["name"] for each in registered)
        return f"nothing promoted; registered for forward evidence: {names}"
    why = reasons[0] if reasons else "there was no winner to register, and no candidate came to a decision"
    return f"nothing promoted: {why}"


def _said(read: Inputs, name: str) -> str:
    if name not in read:
        return ""
    return str(json.loads((read[name] / "step.json").read_text(encoding="utf-8"))["sentence"])


def _missing(context: NightContext, read: Inputs) -> Iterator[tuple[str, str]]:
    """Yield the steps that left nothing, with the newest reason that was recorded."""
    book = NightBook(ledger=context.lab.ledger, now=context.now)
    said = {each.step: each.sentence for each in book.events(context.night) if each.kind == FAILED}
    for name in _READ:
        if name not in read:
            yield name, said.get(name, "a step that it needs is missing")


def _open(context: NightContext) -> dict[str, list[str]]:
    return open_effects(context.effects, context.config.alerts)


STEP: NightStep = NightStep(name="report", module=__name__, after=_READ, ingredients=ingredients, work=work)
