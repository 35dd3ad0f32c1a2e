"""What a report says of a desk beside its account: signals, alarms, drift, fills, candidates, the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lockstep.monitoring.alarms import moment
from lockstep.monitoring.outcomes import STATES
from operations.reports.blocks import ReportPart, TableBlock
from operations.reports.figures import PlanFigure
from operations.reports.numbers import DeskMonth
from operations.watch.streams import AlarmRaised
from research.report.page import UNDEFINED, count, percent, ratio, usd

_NOT_WATCHED = "The desk was not watched."


def desk_parts(desk: DeskMonth) -> Iterator[ReportPart]:
    """Yield the parts of a desk; where it was not watched, each says so."""
    yield ReportPart(
        title="Signals by what became of them",
        caption="By the date of the decision. Vetoed signals are followed as if they had been traded.",
        blocks=(_outcomes(desk),),
    )
    yield ReportPart(title="Alarms of the month", caption=_alarm_words(desk), blocks=(_alarms(desk),))
    yield ReportPart(title="Drift, decay and regime", blocks=(_drift(desk),))
    yield ReportPart(
        title="Live against backtest",
        caption="All sessions up to the month's end, on the same settled bars. On paper both are equal, and "
        "the information ratio is not defined.",
        blocks=(_against(desk),),
    )
    yield ReportPart(
        title="Slippage, realised",
        caption="What reported fills of the month cost beyond the cost model. Only mode live reports any.",
        blocks=(_slippage(desk),),
    )
    yield ReportPart(
        title="Forward evidence of candidates",
        caption="Evidence that a candidate earns something on bars that came after its registration.",
        blocks=(_candidates(desk),),
    )
    yield ReportPart(
        title="The plan's figures",
        caption="Over all time up to the end of the month, with 95% intervals by the bootstrap. They are "
        "shown, and decide nothing.",
        blocks=(_figures(desk),),
    )


def _outcomes(desk: DeskMonth) -> TableBlock:
    rows = [
        (name, *(count(found[state]) for state in STATES))
        for name, found in (("Month", desk.outcomes), ("So far", desk.all_outcomes))
        if found
    ]
    return TableBlock(head=("", *(state.capitalize() for state in STATES)), rows=rows, empty=_NOT_WATCHED)


def _alarm_words(desk: DeskMonth) -> str:
    if desk.watched:
        return ""
    return f"{count(len(desk.raised))} raised, {count(len(desk.acknowledged))} acknowledged."


def _alarms(desk: DeskMonth) -> TableBlock:
    found: dict[tuple[str, str, int], AlarmRaised] = {
        (each.place, each.level, each.raised): each for each in (*desk.raised, *desk.acknowledged)
    }
    rows = [
        (
            each.place, each.level, moment(each.raised)[:10],
            moment(each.acknowledged)[:10] if each.acknowledged else "not yet", each.sentence,
        )
        for each in sorted(found.values(), key=lambda one: (one.raised, one.place, one.level))
    ]  # fmt: skip
    head = ("Stream", "Level", "Raised", "Acknowledged", "What it says")
    empty = _NOT_WATCHED if desk.watched else "None was raised, and none was acknowledged."
    return TableBlock(head=head, rows=rows, prose=frozenset((4,)), empty=empty)


def _drift(desk: DeskMonth) -> TableBlock:
    rows = [
        (f"{row['lane']} {row['kind']}", str(row["session"]), str(row["verdict"]), str(row["sentence"]))
        for row in desk.drift
    ]
    empty = _NOT_WATCHED if desk.watched else "Nothing was found."
    return TableBlock(
        head=("", "Session", "Verdict", "What was found"), rows=rows, prose=frozenset((3,)), empty=empty
    )


def _against(desk: DeskMonth) -> TableBlock:
    rows = [_beside(row) for row in desk.against]
    head = (
        "", "Sessions", "Live: CAGR", "Sharpe", "Trades", "Backtest: CAGR", "Sharpe", "Trades", "Difference",
        "Inf. ratio",
    )  # fmt: skip
    return TableBlock(head=head, rows=rows, empty=_NOT_WATCHED if desk.watched else desk.no_against)


def _beside(row: Mapping[str, Any]) -> tuple[str, ...]:
    sides = [
        text
        for side in ("live", "backtest")
        for text in (
            percent(row[f"{side}_cagr"]), ratio(row[f"{side}_sharpe"]), count(row[f"{side}_trades"]),
        )
    ]  # fmt: skip
    difference = usd(row["tracking_difference"], 2)
    return row["name"], count(row["sessions"]), *sides, difference, ratio(row["information_ratio"])


def _slippage(desk: DeskMonth) -> TableBlock:
    rows = [
        (f"{each.lane} {each.order}", count(each.fills), ratio(each.ticks), usd(each.usd, 2))
        for each in desk.slippage
    ]
    empty = _NOT_WATCHED if desk.watched else "No fill was reported."
    return TableBlock(head=("Orders", "Fills", "Ticks, mean", "Beyond the model"), rows=rows, empty=empty)


def _candidates(desk: DeskMonth) -> TableBlock:
    rows = [
        (each.name, each.symbol, each.status, count(each.sessions), ratio(each.evidence), ratio(each.needed))
        for each in desk.candidates
    ]
    head = ("Candidate", "Symbol", "Status", "Sessions", "Evidence", "Pilot at")
    return TableBlock(head=head, rows=rows, empty=desk.ledger or "None was registered by then.")


def _figures(desk: DeskMonth) -> TableBlock:
    rows = [
        (each.name, _value(each, each.value), _interval(each), count(each.observations), each.sentence)
        for each in desk.figures
    ]
    head = ("", "Value", "95% interval", "Observations", "How it is measured")
    return TableBlock(head=head, rows=rows, prose=frozenset((0, 4)), empty=_NOT_WATCHED)


def _value(figure: PlanFigure, value: float) -> str:
    if figure.observations < figure.least:
        return f"too few: needs {count(figure.least)}" if figure.observations else UNDEFINED
    return usd(value, 2) if figure.unit == "usd" else f"{ratio(value, 1)} {figure.unit}"


def _interval(figure: PlanFigure) -> str:
    if figure.observations < figure.least:
        return UNDEFINED
    return f"{_value(figure, figure.low)} to {_value(figure, figure.high)}"
