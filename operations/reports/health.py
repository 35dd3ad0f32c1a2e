"""The weekly look at every strategy that trades: a line for each lane, and why somebody should look."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.errors import LiveError, MonitorError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.market.instrument import traded_symbol
from lockstep.models.evidence import CERTIFICATE, VALIDATION
from lockstep.models.manifest import VETO, Manifest, VersionEntry
from lockstep.models.store import ModelStore
from lockstep.monitoring.alarms import moment
from lockstep.monitoring.outcomes import STATES
from lockstep.tables import TextTable, number, prose
from operations.watch.report import MonitorReport, read_report
from research.report.page import UNDEFINED, ratio

WEEK = 7 * 86_400 * 1_000_000_000
_DAY = 86_400.0
_NEWEST = """
    SELECT symbol, bundle, max(sequence) FROM decisions GROUP BY symbol ORDER BY symbol
"""


@dataclass(frozen=True, kw_only=True)
class LaneHealth:
    """One lane as it is now.

    version        that decided last, empty where the store does not know its bundle
    outcomes       signals by state, decided in the week; empty where the desk is not watched
    alarms         places of what nobody has acknowledged, with their level
    wealth         largest of the ALARM bets of its streams, 20 raises one; NaN without a stream
    drift          sentences of the newest looks that found something
    reference      empty: there is one; else why its alarms are off
    validation, certificate   days since the newest one that passed; NaN without one
    look           why somebody should look, one sentence each
    """

    lane: str
    version: str
    outcomes: Mapping[str, int]
    alarms: Sequence[str]
    wealth: float
    drift: Sequence[str]
    reference: str
    validation: float
    certificate: float
    look: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DeskHealth:
    """A desk as it is now.

    until     UTC ns of bars up to which outcomes are known: the week ends there; 0 where nobody watches
    watched   empty, or why the monitor should be looked at; desk   what its alarms as a whole say
    """

    until: int
    watched: str
    desk: Sequence[str]
    lanes: Sequence[LaneHealth]

    @property
    def needs_a_look(self) -> bool:
        """Whether somebody should look."""
        return bool(self.watched or self.desk or any(each.look for each in self.lanes))

    def lines(self) -> Iterator[str]:
        """Yield why somebody should look, one sentence each."""
        if self.watched:
            yield self.watched
        yield from self.desk
        yield from (f"{each.lane}: {why}" for each in self.lanes for why in each.look)

    def table(self, *, everything: bool) -> TextTable:
        """Return a row for each lane, or for those that should be looked at."""
        table = TextTable(
            "lane", "version", *map(number, ("taken", "vetoed", "others")), number("ALARM, of 20"),
            number("validated, days"), number("certified, days"), prose("raised"), prose("drift"),
        )  # fmt: skip
        for each in self.lanes:
            if everything or each.look:
                table.add_row(*_cells(each))
        return table

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain JSON; what is not a number is None."""
        lanes = [{name: _plain(value) for name, value in vars(each).items()} for each in self.lanes]
        return {
            "until": self.until, "watched": self.watched, "desk": list(self.desk), "lanes": lanes,
            "needs_a_look": self.needs_a_look,
        }  # fmt: skip


def _cells(lane: LaneHealth) -> tuple[str, ...]:
    counts = lane.outcomes
    others = sum(counts.values()) - sum(counts.get(state, 0) for state in ("taken", "vetoed"))
    known = (f"{counts['taken']:,}", f"{counts['vetoed']:,}", f"{others:,}") if counts else (UNDEFINED,) * 3
    ages = tuple(
        UNDEFINED if math.isnan(age) else f"{age:,.0f}" for age in (lane.validation, lane.certificate)
    )
    drift = "; ".join(lane.drift)
    return lane.lane, lane.version, *known, ratio(lane.wealth), *ages, ", ".join(lane.alarms), drift


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def health_of(config: LiveConfig, monitor: Path | None, *, stale_after: float, now: int) -> DeskHealth:
    """Return how the strategies of a desk are at `now`, UTC ns. Everything is only read.

    monitor       the monitor's database, None where none is configured
    stale_after   seconds after which a monitor that has not run counts as not watching

    LiveError where the journal has no decision yet; JournalError, ModelError where it or the store cannot be
    read. A monitor's database that is absent, or cannot be read, is a reason to look.
    """
    with Journal.open(config.journal, readonly=True) as journal:
        bundles = {lane: bundle for lane, bundle, _ in journal.select(_NEWEST)}
    if not bundles:
        raise LiveError(f"journal {config.journal}: has no decision yet; let the engine run")
    report, why = _watched(monitor, stale_after, now)
    manifest = ModelStore(config.store).manifest()
    lanes = [_lane(lane, bundle, manifest, report, now) for lane, bundle in bundles.items()]
    places = {each.place for each in report.raised if each.level == "ALARM"} if report else set()
    desk = ("ALARM of the desk as a whole is not acknowledged",) if "desk" in places else ()
    return DeskHealth(until=report.frontier if report else 0, watched=why, desk=desk, lanes=tuple(lanes))


def _watched(monitor: Path | None, stale_after: float, now: int) -> tuple[MonitorReport | None, str]:
    if monitor is None:
        return None, "nobody watches the desk: no monitor is configured for it"
    try:
        report = read_report(monitor)
    except MonitorError as error:
        return None, f"nobody watches the desk: {error}"
    if abs(now - report.written) > stale_after * 1e9:
        return report, f"the monitor is stale: it last ran at {moment(report.written)}; see monitor-stale.md"
    return report, ""


def _lane(lane: str, bundle: str, manifest: Manifest, report: MonitorReport | None, now: int) -> LaneHealth:
    version, entry = version_of(manifest, lane, bundle)
    ages = {kind: _age(entry, kind, now) for kind in (VALIDATION, CERTIFICATE)}
    alarms: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    wealth, reference = math.nan, "the desk is not watched"
    look: list[str] = []
    if report is not None:
        mine = [each for each in report.raised if each.place.split(" ")[0] == lane]
        alarms = tuple(f"{each.level} {each.place}" for each in mine)
        look += [f"{each.level} {each.place} is not acknowledged" for each in mine if each.level == "ALARM"]
        found = [row for row in report.drift if row["lane"] == lane and row["severity"]]
        drift = tuple(row["sentence"] for row in found)
        look += [row["sentence"] for row in found if row["severity"] == "alert"]
        counts = _week(report, lane)
        standing = [each["alarm"] for each in report.standings if each["place"].split(" ")[0] == lane]
        wealth = max(standing, default=math.nan)
        reference = report.references.get(lane, "the monitor does not know this lane")
        look += [f"no reference, its alarms are off: {reference}"] if reference else []
    if not version:
        look.append(f"the store does not know its bundle {bundle[:12]}…; restore it")
    look += [
        f"no {kind} of {version} that passed" for kind, age in ages.items() if version and math.isnan(age)
    ]
    return LaneHealth(
        lane=lane, version=version, outcomes=counts, alarms=alarms, wealth=wealth, drift=drift,
        reference=reference, validation=ages[VALIDATION], certificate=ages[CERTIFICATE], look=tuple(look),
    )  # fmt: skip


def version_of(manifest: Manifest, lane: str, bundle: str) -> tuple[str, VersionEntry | None]:
    """Return which version of a lane has this SHA-256, and its entry; "" and None for a strange one."""
    known = manifest.instruments.get(traded_symbol(lane), {}).get(VETO)
    for version, entry in (known.versions if known else {}).items():
        if entry.sha256 == bundle:
            return version, entry
    return "", None


def _age(entry: VersionEntry | None, kind: str, now: int) -> float:
    """Return the days since the newest evidence of a kind; NaN unless it passed and is dated."""
    newest = [each for each in entry.evidence if each.kind == kind][-1:] if entry else []
    if not newest or not newest[0].passed or newest[0].issued is None:
        return math.nan
    return (datetime.fromtimestamp(now / 1e9, UTC) - newest[0].issued).total_seconds() / _DAY


def _week(report: MonitorReport, lane: str) -> dict[str, int]:
    begin = report.frontier - WEEK
    found = Counter(each.state for each in report.outcomes if each.lane == lane and each.decision > begin)
    return {state: found[state] for state in STATES}
