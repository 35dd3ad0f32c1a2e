"""Models: what trades each lane, how good its probabilities were, its alarms, its inputs, its decay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from lockstep.errors import LockstepError, NoReference
from lockstep.market.instrument import traded_symbol
from lockstep.models.evidence import REFERENCE
from lockstep.models.manifest import HistoryEntry, Manifest, VersionEntry
from lockstep.models.store import ModelStore
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.pages.model_inputs import anomalies, decays, inputs, regimes
from operations.dashboard.pages.model_outcomes import accuracy, alarms
from operations.dashboard.pages.model_retraining import retrainings
from operations.dashboard.parts import WatchedLane, absent, guarded, head, parts_of, watched, watched_lanes
from operations.dashboard.words import minute
from research.report import page
from research.report.page import Tile, count

if TYPE_CHECKING:
    from operations.watch.report import MonitorReport

_HASH = 12


def build(sources: DashboardSources, now: int) -> Sequence[Markup]:
    """Return the page's pieces; see `DashboardPage`."""
    report = watched(sources)
    title = head("Models", "What trades, how good it was, and whether it still is", report, now)
    if isinstance(report, str):
        return title, absent("Models", report)
    lanes: list[WatchedLane] = []

    def versions() -> Iterator[Markup]:
        lanes.extend(watched_lanes(sources))
        yield _versions(lanes, sources.store, report)

    parts = {
        "Versions and references": guarded("Versions", versions),
        "Retraining": guarded("Retraining", lambda: retrainings(sources)),
        "Alarms": guarded("Alarms", lambda: alarms(sources, report)),
        "Accuracy": guarded("Accuracy", lambda: accuracy(sources, report, lanes)),
        "Features and probabilities": guarded("Features", lambda: inputs(sources, report, lanes)),
        "Information coefficient and decay": guarded("Decay", lambda: decays(sources, report, lanes)),
        "Regimes": guarded("Regimes", lambda: regimes(sources, lanes)),
        "Anomalies": guarded("Anomalies", lambda: anomalies(report)),
    }
    return title, page.key_figures(_tiles(report)), *parts_of(parts)


def _tiles(report: MonitorReport) -> Iterator[Tile]:
    levels = [each.level for each in report.raised]
    for level, note in (("ALARM", "act now"), ("WATCH", "look today")):
        many = levels.count(level)
        yield Tile(f"{level}, open", count(many), f"not acknowledged: {note}" if many else "none", many > 0)
    drifting = sum(bool(row["severity"]) for row in report.drift)
    yield Tile("Drift and regimes", count(drifting), "lanes and looks that say something", drifting > 0)
    counts = report.counts()
    scored = counts["taken"] + counts["vetoed"]
    yield Tile("Signals with an outcome", count(scored), f"{count(counts['taken'])} taken")
    waiting = counts["open"] + counts["unsettled"]
    yield Tile("Signals without one", count(waiting), "held, or not settled")


def _versions(lanes: Sequence[WatchedLane], store: ModelStore, report: MonitorReport) -> Markup:
    if not lanes:
        return absent("Versions", "No lane has decided anything yet.")
    manifest = store.manifest()
    rows = []
    for lane in lanes:
        symbol = traded_symbol(lane.lane)
        entry = _entry(manifest, symbol, lane.version)
        promoted = _promotion(manifest, symbol, lane.version)
        rows.append((
            lane.lane, lane.version, lane.bundle[:_HASH], minute(lane.since),
            page.prose(_told(promoted)), page.prose(_frozen(store, lane, entry)),
            page.prose(report.references.get(lane.lane) or "all streams watched"),
        ))  # fmt: skip
    words = (page.prose(each) for each in ("promoted", "reference", "streams that are off"))
    header = ("lane", "version", "bundle, SHA-256", "trades since, UTC", *words)
    return page.card("Versions and references", page.table(header, rows), classes="wide")


def _entry(manifest: Manifest, symbol: str, version: str) -> VersionEntry | None:
    try:
        return manifest.entry(symbol, version)
    except LockstepError:
        return None


def _promotion(manifest: Manifest, symbol: str, version: str) -> HistoryEntry | None:
    """Return the newest action that put the version into production."""
    for each in reversed(manifest.history):
        if each.symbol == symbol and each.after == version and each.before != version:
            return each
    return None


def _told(entry: HistoryEntry | None) -> str:
    if entry is None:
        return "never: it trades because live.yml pins it"
    forced = "; forced" if entry.overruled else ""
    reason = f": {entry.reason}" if entry.reason else ""
    return f"{entry.time:%Y-%m-%d %H:%M} UTC by {entry.by} ({entry.action}{forced}){reason}"


def _frozen(store: ModelStore, lane: WatchedLane, entry: VersionEntry | None) -> str:
    """Return when the reference was frozen and what it knows, or why there is none."""
    from lockstep.monitoring.frozen import frozen_in

    try:
        found = frozen_in(store, traded_symbol(lane.lane), lane.bundle)
    except NoReference as error:
        return f"none: {error}"
    evidence = (
        [] if entry is None else [each for each in entry.evidence if each.kind == REFERENCE and each.passed]
    )
    issued = evidence[-1].issued if evidence else None
    frozen = f"frozen {issued:%Y-%m-%d}" if issued is not None else "frozen, at a time that is not recorded"
    return "; ".join((f"{frozen}, knows sessions up to {found.history_end}", *found.absent))


PAGE = DashboardPage(name="models", title="Models", build=build)
