"""What a monitor knows, as a value that shows itself: in a terminal, in a notebook, as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import MonitorError
from lockstep.monitoring.alarms import moment
from lockstep.monitoring.curves import CurveWindow, windows
from lockstep.monitoring.outcomes import STATES, SignalKey, SignalOutcome
from lockstep.tables import TextTable, number, prose
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import AGAINST, FRONTIER, LAST_RUN, REFERENCES, STANDINGS
from operations.watch.notes import is_impossible
from operations.watch.streams import DESK, AlarmRaised, place_name

if TYPE_CHECKING:
    import plotly.graph_objects as go


# Quarters of a lane in the table.
_QUARTERS = 4


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """The present state of a watched desk.

    frontier    up to when all outcomes are known, UTC ns; written: when the monitor last ran
    references  by lane: empty, or why alarms are off
    outcomes    of all lanes, newest value of each; standings: one per stream, see `streams.standings`
    alarms      all that were ever raised; drift: newest row of each lane and kind
    notes       bad input that was found, one sentence each
    against     live against backtest by lane, then of the desk: plain rows, see `research.paper.against`
    curves      profit so far of both by the same names
    """

    frontier: int
    written: int
    references: dict[str, str]
    outcomes: tuple[SignalOutcome, ...]
    standings: tuple[dict[str, Any], ...]
    wealth: tuple[dict[str, Any], ...]
    alarms: tuple[AlarmRaised, ...]
    drift: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    against: tuple[dict[str, Any], ...] = ()
    curves: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @property
    def raised(self) -> tuple[AlarmRaised, ...]:
        """What nobody has acknowledged, ALARM first."""
        return tuple(
            sorted(
                (each for each in self.alarms if not each.acknowledged),
                key=lambda one: (one.level, one.place),
            )
        )

    @property
    def is_alarmed(self) -> bool:
        """Whether an ALARM waits to be acknowledged."""
        return any(each.level == "ALARM" for each in self.raised)

    def counts(self) -> dict[str, int]:
        """Return how many signals there are in each state."""
        found = Counter(each.state for each in self.outcomes)
        return {state: found[state] for state in STATES}

    def lines(self) -> Iterable[str]:
        """Yield what is raised, what drifts, and what was wrong with the input, one sentence each."""
        yield from (each.sentence for each in self.raised)
        yield from (row["sentence"] for row in self.drift if row["severity"])
        yield from (f"{lane}: no reference, its alarms are off: {why}" for lane, why in self._absent())
        yield from self.notes

    def _absent(self) -> list[tuple[str, str]]:
        lanes = {each["place"].rpartition(" ")[0] for each in self.standings}
        return [(lane, why) for lane, why in sorted(self.references.items()) if why and lane not in lanes]

    def tables(self) -> tuple[TextTable, ...]:
        """Return outcomes by lane, streams, and the newest look at features, regimes and decay."""
        found = (self._lanes(), self._accuracy(), self._streams(), self._against(), self._features())
        return tuple(each for each in found if each.rows)

    def _lanes(self) -> TextTable:
        table = TextTable("lane", *map(number, STATES), number("P&L of taken"))
        for lane in sorted({each.lane for each in self.outcomes} | set(self.references)):
            own = [each for each in self.outcomes if each.lane == lane]
            found = Counter(each.state for each in own)
            profit = math.fsum(each.pnl for each in own if each.state == "taken")
            table.add_row(lane, *(f"{found[state]:,}" for state in STATES), f"{profit:,.2f}")
        return table

    def quarters(self, lane: str) -> tuple[CurveWindow, ...]:
        """Return the calendar quarters of a lane's decisions, scored once all their signals have settled.

        Signals whose probability is impossible are left out; a note counts them. `reference_hit_rate` is that
        of validation, NaN without a reference.
        """
        own = [each for each in self.outcomes if each.lane == lane and not is_impossible(each.probability)]
        held = (each["estimate"] for each in self.standings if each["place"] == place_name(lane, "win_rate"))
        found = windows(own, reference_hit_rate=next(held, math.nan))
        return tuple(each for each in found if each.kind == "quarter")

    def _accuracy(self) -> TextTable:
        table = TextTable(
            "quarter of decisions", number("signals"), number("hit rate"), number("validation"),
            number("Brier"), number("log loss"), number("AUC"), number("mean P&L"),
        )  # fmt: skip
        for lane in sorted({each.lane for each in self.outcomes}):
            for each in [one for one in self.quarters(lane) if one.is_closed and one.scored][-_QUARTERS:]:
                scores = (_number(rows.plain(value), 3) for value in (each.brier, each.log_loss, each.auc))
                table.add_row(
                    f"{lane} {each.name}", f"{each.scored:,}", _share(rows.plain(each.hit_rate)),
                    _share(rows.plain(each.reference_hit_rate)), *scores, _number(rows.plain(each.mean_pnl)),
                )  # fmt: skip
        return table

    def _streams(self) -> TextTable:
        table = TextTable(
            "stream", number("outcomes"), number("floor"), number("estimate"), number("ALARM, of 20"),
            number("WATCH"), number("of"),
        )  # fmt: skip
        for each in self.standings:
            table.add_row(
                each["place"], f"{each['outcomes']:,}", f"{each['floor']:.4g}", f"{each['estimate']:.4g}",
                f"{each['alarm']:.2f}", f"{each['watch']:.2f}", f"{each['watch_at']:.2f}",
            )  # fmt: skip
        return table

    def _against(self) -> TextTable:
        table = TextTable(
            "account", number("sessions"), number("CAGR"), number("Sharpe"), number("drawdown"),
            number("backtest: CAGR"), number("Sharpe"), number("drawdown"), number("information ratio"),
            number("difference"), title="live against backtest",
        )  # fmt: skip
        for row in self.against:
            sides = [
                text
                for side in ("live", "backtest")
                for text in (
                    _share(row[f"{side}_cagr"]), _number(row[f"{side}_sharpe"]),
                    _share(row[f"{side}_max_drawdown_fraction"]),
                )
            ]  # fmt: skip
            table.add_row(
                row["name"], f"{row['sessions']:,}", *sides, _number(row["information_ratio"]),
                f"{row['tracking_difference']:,.2f}",
            )  # fmt: skip
        return table

    def _features(self) -> TextTable:
        table = TextTable("lane", "look", "session", "verdict", prose("what was found"))
        for row in self.drift:
            table.add_row(row["lane"], row["kind"], row["session"], row["verdict"], row["sentence"])
        return table

    def plot(self) -> go.Figure:
        """Return the wealth of every stream's ALARM bets, with the threshold at which it is raised."""
        from research.report.views import on_paper

        return on_paper(wealth_figure(self.wealth))

    def _repr_html_(self) -> str:
        from operations.watch.page import report_fragment

        return report_fragment(self)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def wealth_figure(points: Sequence[dict[str, Any]]) -> go.Figure:
    """Return the ALARM wealth of streams over time on a logarithmic axis; 20 raises it."""
    from research.report.theme import (
        ACCENT,
        BAR,
        GAIN,
        INK,
        LOSS,
        PRICE,
        axis,
        figure,
        level,
        time_axis,
        titled,
    )

    drawn = figure(
        320, xaxis=time_axis(), yaxis=axis(type="log", dtick=1, title=titled("Wealth of ALARM bets"))
    )
    drawn.update_layout(showlegend=True)
    colours = (GAIN, ACCENT, BAR, PRICE, INK)
    for place, name in enumerate(sorted({each["place"] for each in points})):
        own = [each for each in points if each["place"] == name]
        times = np.array([each["time"] for each in own], dtype="datetime64[ns]").astype("datetime64[s]")
        drawn.add_scatter(
            x=times.astype(str).tolist(), y=[round(max(each["alarm"], 1e-3), 6) for each in own], name=name,
            mode="lines",
            line={"color": LOSS if name == DESK else colours[place % len(colours)], "width": 1.6},
            hovertemplate="%{y:.2f}",
        )  # fmt: skip
    level(drawn, 20.0)
    return drawn


def read_report(path: Path) -> MonitorReport:
    """Return what the monitor of a database knows; MonitorError where it never ran."""
    with MonitorDatabase.open(path, readonly=True) as database:
        written = database.value(LAST_RUN)
        if written is None:
            raise MonitorError(f"{path}: the monitor has not finished a run yet; run it")
        newest: dict[tuple[str, str], dict[str, Any]] = {}
        for row in database.rows("drift"):
            newest[row["lane"], row["kind"]] = row
        against = database.value(AGAINST) or {"rows": (), "curves": {}, "notes": ()}
        notes = [row["sentence"] for row in database.rows("notes")]
        return MonitorReport(
            frontier=rows.state(database, FRONTIER) or 0,
            written=written,
            references=dict(rows.state(database, REFERENCES) or {}),
            outcomes=corrected(database),
            standings=tuple(rows.state(database, STANDINGS) or ()),
            wealth=tuple(database.rows("wealth")),
            alarms=tuple(rows.alarms(database)),
            drift=tuple(newest[key] for key in sorted(newest)),
            notes=(*notes, *against["notes"]),
            against=tuple(against["rows"]),
            curves=dict(against["curves"]),
        )


def corrected(database: MonitorDatabase) -> tuple[SignalOutcome, ...]:
    """Return all outcomes, those whose bars were corrected with their newest value: for curves and tables."""
    newest = {
        SignalKey(row["lane"], row["decision"], row["bundle"]): row for row in database.rows("corrections")
    }
    found = []
    for each in rows.signals(database):
        row, outcome = newest.get(each.outcome.key), each.outcome
        if row is not None and outcome.state == "vetoed":
            outcome = replace(outcome, exit=row["exit"], pnl=row["pnl"], following=row["following"])
        found.append(outcome)
    return tuple(found)


def explanation(database: MonitorDatabase, place: str) -> list[str]:
    """Return how a stream came to where it is, one line each; MonitorError where it is not watched."""
    known = [each["place"] for each in rows.state(database, STANDINGS) or []]
    if place not in (*known, DESK):
        raise MonitorError(f"place {place!r}: is not watched; there are {', '.join((*known, DESK))}")
    standing = next((each for each in rows.state(database, STANDINGS) or [] if each["place"] == place), None)
    lines = []
    for each in rows.alarms(database, "place = ?", place):
        lines.append(each.sentence)
        end = f"; acknowledged at {moment(each.acknowledged)}" if each.acknowledged else "; not acknowledged"
        lines.append(f"  raised at {moment(each.raised)} after {each.outcomes} outcomes of the fall{end}")
    if standing is not None:
        lines.append(
            f"{place}: {standing['outcomes']:,} outcomes, floor {standing['floor']:.4g}, estimate "
            f"{standing['estimate']:.4g}; ALARM wealth {standing['alarm']:.2f} of {standing['alarm_at']:g}, "
            f"WATCH wealth {standing['watch']:.2f} of {standing['watch_at']:.2f}"
        )
        lines.append(standing["visible"])
    points = database.rows("wealth", "place = ?", place)[-20:]
    lines += [
        f"  {moment(each['time'])}  x {each['mean']:.3f}  ALARM {each['alarm']:.3f}  "
        f"WATCH {each['watch']:.3f}"
        for each in points
    ]
    return lines
