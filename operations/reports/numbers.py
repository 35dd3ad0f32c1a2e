"""`ReportNumbers`: all that a report of a month says, as values; a page and a PDF are two ways to draw it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import make_url

from lockstep.errors import LockstepError, MonitorError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.market.config import load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.metrics import Floats
from lockstep.monitoring.outcomes import STATES, SignalKey, SignalOutcome
from operations.reports.account import AccountNumbers, account_numbers
from operations.reports.desk import DeskAccount, account_of_desk
from operations.reports.figures import PlanFigure, SizedTrade, judged_signals, plan_figures, strengths
from operations.reports.run import account_of_run
from operations.retraining.book import RetrainingBook, Step
from operations.watch import rows
from operations.watch.against import live_against_backtest
from operations.watch.counterfactual import FollowedSignal
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import AGAINST, plain_rows, present_epochs
from operations.watch.report import MonitorReport, corrected, read_report
from operations.watch.streams import AlarmRaised
from research.ledger.candidates import ForwardCandidate, candidates, sessions_of
from research.ledger.database import Database, default_url
from research.ledger.ledger import Ledger

_HOUR = 3_600 * 1e9
_NEVER_COMPARED = "No account was compared yet: run the monitor."
_VECTORS = "SELECT symbol, stamp, vector FROM decisions JOIN sets USING (sequence) ORDER BY sequence, place"


@dataclass(frozen=True, kw_only=True)
class RealisedSlippage:
    """What reported fills of a lane and kind of order cost beyond the cost model; ticks are a mean."""

    lane: str
    order: str
    fills: int
    ticks: float
    usd: float


@dataclass(frozen=True, kw_only=True)
class CandidateEvidence:
    """Forward evidence of a candidate at the end of the month; needed: for a pilot."""

    name: str
    symbol: str
    status: str
    sessions: int
    evidence: float
    needed: float


@dataclass(frozen=True, kw_only=True)
class DeskMonth:
    """What a monitor and the ledger say of a month.

    watched      empty, or why the desk was not watched
    outcomes     signals by state, decided in the month; all_outcomes: up to its end
    raised       alarms of the month, acknowledged: those acknowledged in it, whenever raised
    drift        findings of the month that had a severity, plain rows of `monitor.db`
    against      live against backtest over all sessions up to the month's end, see `research.paper.against`
    no_against   why there is none; empty where there is
    slippage     realised, of fills of the month
    candidates   of the ledger; ledger: empty, or why there are none
    figures      the plan's, over all time up to the end of the month
    """

    watched: str
    outcomes: Mapping[str, int]
    all_outcomes: Mapping[str, int]
    raised: Sequence[AlarmRaised]
    acknowledged: Sequence[AlarmRaised]
    drift: Sequence[Mapping[str, Any]]
    against: Sequence[Mapping[str, Any]]
    no_against: str
    slippage: Sequence[RealisedSlippage]
    candidates: Sequence[CandidateEvidence]
    ledger: str
    figures: Sequence[PlanFigure]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportNumbers:
    """All that the report of one month says.

    title, symbol     of the desk or the run; kind: "desk" or "run"; source: file or folder that was read
    mode              of the desk; timeframe of a run
    month             datetime64[M]; capital   USD that returns refer to
    period            what a return covers; notes   what a reader must know first
    desk              None for a run folder
    """

    title: str
    symbol: str
    kind: str
    source: str
    mode: str
    month: np.datetime64
    capital: float
    account: AccountNumbers
    notes: Sequence[str]
    provenance: Mapping[str, str]
    desk: DeskMonth | None = None


def numbers_of_run(folder: Path, month: np.datetime64 | None) -> ReportNumbers:
    """Return the numbers of a run folder at the end of a month; None: its last one.

    DataError where the folder is incomplete or was changed, or the run has no session in the month.
    """
    record = account_of_run(folder)
    data = record.data
    chosen = data.dates[-1].astype("datetime64[M]") if month is None else month
    return ReportNumbers(
        title=data.title, symbol=data.symbol, kind="run", source=folder.name, mode=f"{data.timeframe} bars",
        month=chosen, capital=data.capital, account=account_numbers(record, chosen), notes=tuple(data.notes),
        provenance=data.provenance,
    )  # fmt: skip


def numbers_of_desk(
    config: LiveConfig,
    month: np.datetime64 | None,
    *,
    monitor: Path | None,
    retrainings: Path | None = None,
    ledger: str = "",
    benchmark: str = "",
) -> ReportNumbers:
    """Return the numbers of a desk at the end of a month; None: the last one with a session.

    monitor     its database, None where none is configured; ledger   URL, empty: the usual one
    retrainings the book of its retrainings, None where none is configured
    benchmark   see `account_of_desk`

    Raises LiveError and JournalError as `account_of_desk` does, DataError without a session in the month. A
    monitor's database that is absent is a sentence of the report; one that cannot be read is a MonitorError.
    """
    desk = account_of_desk(config, benchmark)
    data = desk.record.data
    chosen = data.dates[-1].astype("datetime64[M]") if month is None else month
    account = account_numbers(desk.record, chosen)
    notes = list(data.notes)
    notes.append("Drawdowns are seen at the end of sessions; within one they may have been deeper.")
    return ReportNumbers(
        title=data.title, symbol=data.symbol, kind="desk", source=config.journal.name, mode=desk.mode,
        month=chosen, capital=data.capital, account=account, notes=tuple(notes), provenance=data.provenance,
        desk=_desk_month(config, desk, chosen, monitor, ledger, retrainings),
    )  # fmt: skip


def _desk_month(
    config: LiveConfig,
    desk: DeskAccount,
    month: np.datetime64,
    monitor: Path | None,
    ledger: str,
    retrainings: Path | None,
) -> DeskMonth:
    first, last = _stamps(month)
    known, why = _candidates(ledger, month)
    if monitor is None or not monitor.is_file():
        where = "no monitor is configured" if monitor is None else f"{monitor.name} is absent"
        return DeskMonth(
            watched=f"Not watched: {where}. Outcomes, alarms and drift are not known.",
            outcomes={}, all_outcomes={}, raised=(), acknowledged=(), drift=(), against=(), no_against="",
            slippage=(), candidates=known, ledger=why, figures=(),
        )  # fmt: skip
    report = read_report(monitor)
    with MonitorDatabase.open(monitor, readonly=True) as database:
        drift = [
            row
            for row in database.rows("drift", "severity <> ''")
            if np.datetime64(row["session"], "M") == month
        ]
        fills = database.rows("fills", "stamp BETWEEN ? AND ?", first, last)
        settled = rows.settled(database)
        outcomes = corrected(database)
    signals = judged_signals(outcomes, settled, _scores(config, outcomes), last)
    latencies = None if retrainings is None else latencies_of(retrainings, last)
    so_far = [each for each in report.alarms if each.raised <= last]
    against, no_against = _against(config, report, month)
    return DeskMonth(
        watched="",
        outcomes=_counts(each for each in outcomes if first <= each.decision <= last),
        all_outcomes=_counts(each for each in outcomes if each.decision <= last),
        raised=tuple(each for each in so_far if first <= each.raised),
        acknowledged=tuple(each for each in report.alarms if first <= each.acknowledged <= last),
        drift=tuple(drift),
        against=against,
        no_against=no_against,
        slippage=realised(fills),
        candidates=known,
        ledger=why,
        figures=plan_figures(so_far, signals, _sized(config, desk, settled, last), latencies),
    )


def _stamps(month: np.datetime64) -> tuple[int, int]:
    begin, end = (each.astype("datetime64[ns]").astype(np.int64) for each in (month, month + 1))
    return int(begin), int(end) - 1


def _counts(outcomes: Any) -> dict[str, int]:
    found = Counter(each.state for each in outcomes)
    return {state: found[state] for state in STATES}


def _against(
    config: LiveConfig, report: MonitorReport, month: np.datetime64
) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """Return live against backtest at the end of a month, or why there is nothing to compare.

    The monitor keeps its newest state only. What it said earlier is compared again, on the same settled bars.
    """
    until = (month + 1).astype("datetime64[D]") - 1
    if all(not row["last"] or np.datetime64(row["last"]) <= until for row in report.against):
        told = [each for each in report.notes if each.startswith(AGAINST)]
        return report.against, "" if report.against else (told or [_NEVER_COMPARED])[0]
    try:
        with Journal.open(config.journal, readonly=True) as journal:
            epochs = present_epochs(journal.epochs())
        return plain_rows(live_against_backtest(config, epochs=epochs, until=until)), ""
    except LockstepError as error:
        return (), f"{AGAINST}: {error}"


def latencies_of(book: Path, until: int) -> list[float]:
    """Return the hours from each ALARM's trigger to its challenger in shadow, of runs that got so far.

    until   UTC ns of bars; a run that began on later ones is left out
    """
    with RetrainingBook.open(book, readonly=True) as opened:
        runs = opened.runs()
    found = []
    for run in runs:
        begun, shadow = run.at(Step.TRIGGERED), run.at(Step.SHADOWING)
        if begun is None or shadow is None or begun.desk > until:
            continue
        if begun.inputs.get("kind") == "alarm":
            found.append((shadow.time - begun.time) / _HOUR)
    return found


def realised(fills: Sequence[Mapping[str, Any]]) -> tuple[RealisedSlippage, ...]:
    """Return what rows of the table `fills` cost beyond the cost model, by lane and kind of order."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for fill in fills:
        groups.setdefault((fill["lane"], fill["order_kind"]), []).append(fill)
    return tuple(
        RealisedSlippage(
            lane=lane, order=kind, fills=len(mine), 
            ticks=math.fsum(each["ticks"] for each in mine) / len(mine),
            usd=math.fsum(each["usd"] for each in mine),
        )
        for (lane, kind), mine in sorted(groups.items())
    )  # fmt: skip


def _scores(config: LiveConfig, outcomes: Sequence[SignalOutcome]) -> dict[tuple[str, int], float]:
    values: dict[str, tuple[list[int], list[float]]] = {}
    with Journal.open(config.journal, readonly=True) as journal:
        for lane, stamp, vector in journal.select(_VECTORS):
            stamps, first = values.setdefault(lane, ([], []))
            found = np.frombuffer(vector, dtype="<f8")
            stamps.append(stamp)
            first.append(float(found[0]) if found.size else math.nan)
    decisions: dict[str, list[int]] = {}
    for each in outcomes:
        decisions.setdefault(each.lane, []).append(each.decision)
    series: dict[str, tuple[Sequence[int], Floats]] = {
        lane: (stamps, np.array(first, dtype=np.float64)) for lane, (stamps, first) in values.items()
    }
    return strengths(series, decisions)


def _sized(
    config: LiveConfig, desk: DeskAccount, settled: Mapping[SignalKey, FollowedSignal], last: int
) -> tuple[SizedTrade, ...] | None:
    """Return closed trades of a portfolio beside the strategies' own sizes; None without a portfolio."""
    if config.portfolio is None:
        return None
    own = {(key.lane, key.decision): abs(trip.quantity) for key, trip in settled.items()}
    book, found = load_instruments(), []
    closed = desk.record.data.closed
    stamps = zip(closed["decision_end"], closed["exit_end"], strict=True)
    for (decision, ended), (_, trade) in zip(stamps, closed.iterrows(), strict=True):
        lane = str(trade["symbol"])
        base = own.get((lane, decision.as_unit("ns").value), 0.0)
        if base > 0 and ended.as_unit("ns").value <= last:
            multiplier = book.market(traded_symbol(lane)).instrument.multiplier
            found.append(SizedTrade(
                pnl=float(trade["net_pnl"]), quantity=float(trade["quantity"]), base=base,
                notional=abs(float(trade["entry_price"])) * multiplier,
            ))  # fmt: skip
    return tuple(found)


def _candidates(url: str, month: np.datetime64) -> tuple[tuple[CandidateEvidence, ...], str]:
    """Return candidates with their evidence at the end of a month, or why none are known."""
    spelled = url or default_url()
    try:
        parsed = make_url(spelled)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            return (), "There is no ledger, and so no candidate."
        ledger = Ledger(Database.open(spelled))
        found = [_evidence(ledger, each, month) for each in candidates(ledger)]
    except (LockstepError, ValueError) as error:
        raise MonitorError(f"ledger: {error}") from error
    return tuple(each for each in found if each is not None), "" if found else "No candidate is registered."


def _evidence(ledger: Ledger, candidate: ForwardCandidate, month: np.datetime64) -> CandidateEvidence | None:
    if np.datetime64(candidate.stamp, "ns").astype("datetime64[M]") > month:
        return None
    dates, residuals = sessions_of(ledger, candidate)
    mine = residuals[dates.astype("datetime64[M]") <= month]
    path = candidate.evidence(mine)
    happened = [each.kind for each in candidate.events if np.datetime64(each.session, "M") <= month]
    return CandidateEvidence(
        name=candidate.name, symbol=candidate.symbol, 
        status=happened[-1] if happened else "waiting", sessions=int(mine.size),
        evidence=float(path[-1]) if path.size else candidate.e_history, needed=candidate.threshold("pilot"),
    )  # fmt: skip
